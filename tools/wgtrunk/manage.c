// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "found.h"
#include "manage.h"
#include "run.h"
#include "steer.h"
#include "util.h"
#include "wanted.h"
#include "words.h"

/*
 * Handshakes that both ends begin at once may spoil each other; they are tried again
 * after 5 s, and may do so again. A lane that others are ahead of gets a third one. A
 * far end may bring up one lane after the other: it counts from the last that came.
 */
#define SESSION_WAIT_MS	7000
#define NEXT_SESSION_WAIT_MS	12000
#define ALL_SESSIONS_WAIT_MS	60000
#define SESSION_POLL_MS	100

/* For packets that are under way to a lane when it stops sending. */
#define DRAIN_MS	1000

/* How often the kernel is asked for a port that no lane is to have. */
#define PORT_TRIES	20

struct work;

/**
 * struct step - one thing to do
 * @run: does it; there is a message where it returns false
 * @says: what that is
 * @lane: of which lane
 * @what: prefix, route or key that it is about
 * @value: or a number
 */
struct step {
	bool (*run)(struct work *work, const struct step *step);
	char *says;
	unsigned int lane;
	const void *what;
	int value;
};

/**
 * struct work - from what there is to what is wanted
 * @config: NULL where only what there is counts
 * @remembered: there was a state of it in RUN_FOLDER, of this namespace
 * @active: how many lanes are to send
 * @touched: lanes that have no session yet, or none any more
 * @since: a session of a touched lane is younger
 * @port: that each lane has, when the steps so far are done
 * @stays: lanes beyond @active go on, as only they have a session
 */
struct work {
	struct kernel *kernel;
	const struct config *config;
	const struct manner *manner;
	const char *name;
	struct wanted wanted;
	struct found found;
	json_t *state;
	bool remembered;
	unsigned int lanes;
	unsigned int active;
	bool touched[LANES_MAX];
	struct timespec since[LANES_MAX];
	unsigned int port[LANES_MAX];
	bool stays;
	struct step *steps;
	unsigned int count;
};

static void add(struct work *work, bool (*run)(struct work *, const struct step *),
		unsigned int lane, const void *what, int value, char *says)
{
	work->steps = xrealloc(work->steps, work->count + 1, sizeof(*work->steps));
	work->steps[work->count++] = (struct step){ run, says, lane, what, value };
}

static void pause_ms(unsigned int ms)
{
	const struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&time, NULL);
}

/* Whether a list has prefixes that another one has not. */
static bool has_more(const struct prefix_list *list, const struct prefix_list *other)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (!prefix_list_has(other, &list->prefixes[i]))
			return true;
	return false;
}

/* --- the steps --- */

static bool mark_as_ours(struct work *work, const char *interface)
{
	char *alias = xprintf(ALIAS_FORMAT, work->name);
	bool good = link_set_alias(work->kernel, interface, alias);

	free(alias);
	return good;
}

static bool do_trunk_create(struct work *work, const struct step *step)
{
	return trunk_create(work->kernel, work->name, step->value) &&
	       mark_as_ours(work, work->name);
}

static bool do_trunk_alias(struct work *work, const struct step *step)
{
	(void)step;
	return mark_as_ours(work, work->name);
}

static bool do_trunk_choice(struct work *work, const struct step *step)
{
	return trunk_set_choice(work->kernel, work->name, step->value);
}

static bool do_trunk_mtu(struct work *work, const struct step *step)
{
	return link_set_mtu(work->kernel, work->name, step->value);
}

static bool do_trunk_up(struct work *work, const struct step *step)
{
	(void)step;
	return link_set_up(work->kernel, work->name, true);
}

static bool do_trunk_delete(struct work *work, const struct step *step)
{
	(void)step;
	return link_delete(work->kernel, work->name);
}

static bool do_lane_create(struct work *work, const struct step *step)
{
	char name[IFNAMSIZ];

	lane_name(work->name, step->lane, name);
	return lane_create(work->kernel, name, work->wanted.mtu) && mark_as_ours(work, name);
}

static bool do_lane_alias(struct work *work, const struct step *step)
{
	char name[IFNAMSIZ];

	return mark_as_ours(work, lane_name(work->name, step->lane, name));
}

static bool do_lane_tunnel(struct work *work, const struct step *step)
{
	char name[IFNAMSIZ];

	/* What was with its old key does not count. */
	clock_gettime(CLOCK_REALTIME, &work->since[step->lane]);
	return tunnel_set(work->kernel, lane_name(work->name, step->lane, name),
			  work->config->private.keys[step->lane],
			  work->config->trunk.port + step->lane);
}

/* But none that a lane is to have. */
static bool do_lane_any_port(struct work *work, const struct step *step)
{
	unsigned int first = work->config->trunk.port, index, tries, port;
	struct tunnel tunnel;
	char name[IFNAMSIZ];

	index = if_nametoindex(lane_name(work->name, step->lane, name));
	for (tries = 0; tries < PORT_TRIES; tries++) {
		if (!tunnel_set_any_port(work->kernel, name) ||
		    !tunnel_read(work->kernel, index, &tunnel))
			return false;
		port = tunnel.port;
		tunnel_free(&tunnel);
		if (port < first || port >= first + work->lanes)
			break;
	}
	return true;
}

/* What the peer's endpoint is to be set to; AF_UNSPEC where it stays. */
static struct sockaddr_storage endpoint_for(const struct work *work, unsigned int lane,
					    const struct peer *now)
{
	const struct tunnel *tunnel = &work->found.lane[lane].tunnel;
	const struct sockaddr_storage *wanted = &work->wanted.endpoint;
	static const struct sockaddr_storage stays;

	if (wanted->ss_family != AF_UNSPEC &&
	    (work->wanted.new_endpoint || !now || now->endpoint.ss_family == AF_UNSPEC))
		return endpoint_of_lane(wanted, lane);
	/* Another key, but the same place. */
	return !now && tunnel->count ? tunnel->peers[0].endpoint : stays;
}

static const struct peer *peer_with(const struct tunnel *tunnel, const unsigned char *key)
{
	unsigned int i;

	for (i = 0; i < tunnel->count; i++)
		if (!memcmp(tunnel->peers[i].key, key, KEY_BYTES))
			return &tunnel->peers[i];
	return NULL;
}

/* What is to be done with a lane's peer. */
enum peer_change {
	/* What differs. */
	PEER_SET,
	/* Its keepalive goes off first: when it comes on, and there is no session, one begins. */
	PEER_CALL,
	/* Its session is gone, so the kernel is to forget that there was one; and call. */
	PEER_ANEW,
};

static bool do_lane_peer(struct work *work, const struct step *step)
{
	const unsigned char *key = work->config->public.keys[step->lane];
	const struct peer *now = peer_with(&work->found.lane[step->lane].tunnel, key);
	struct peer peer = { .allowed = work->wanted.allowed };
	bool call = step->value != PEER_SET, replace;
	char name[IFNAMSIZ];

	lane_name(work->name, step->lane, name);
	memcpy(peer.key, key, KEY_BYTES);
	peer.endpoint = endpoint_for(work, step->lane, now);
	replace = now && has_more(&now->allowed, &peer.allowed);
	if (now && step->value == PEER_ANEW) {
		if (peer.endpoint.ss_family == AF_UNSPEC)
			peer.endpoint = now->endpoint;
		if (!peer_remove(work->kernel, name, key))
			return false;
	}
	if (call && !peer_set(work->kernel, name, &peer, replace))
		return false;
	peer.keepalive = work->config->site.keepalive;
	return peer_set(work->kernel, name, &peer, replace && !call);
}

static bool do_lane_peer_remove(struct work *work, const struct step *step)
{
	char name[IFNAMSIZ];

	return peer_remove(work->kernel, lane_name(work->name, step->lane, name), step->what);
}

static bool do_lane_mtu(struct work *work, const struct step *step)
{
	char name[IFNAMSIZ];

	return link_set_mtu(work->kernel, lane_name(work->name, step->lane, name), step->value);
}

static bool do_lane_home(struct work *work, const struct step *step)
{
	char name[IFNAMSIZ];

	return place_set(work->kernel, lane_name(work->name, step->lane, name), step->value,
			 PLACE_KEEP);
}

static bool do_lane_active(struct work *work, const struct step *step)
{
	char name[IFNAMSIZ];

	return place_set(work->kernel, lane_name(work->name, step->lane, name), PLACE_KEEP,
			 step->value);
}

/* A lane that is to stop, unless those that are to go on instead can't. */
static bool do_lane_spare(struct work *work, const struct step *step)
{
	return work->stays || do_lane_active(work, step);
}

static bool do_lane_join(struct work *work, const struct step *step)
{
	unsigned int trunk = if_nametoindex(work->name);
	char name[IFNAMSIZ];

	lane_name(work->name, step->lane, name);
	if (!trunk)
		return fail(NULL, 0, "%s is gone: somebody else removed it", work->name);
	return link_set_master(work->kernel, name, trunk) &&
	       place_set(work->kernel, name, PLACE_KEEP, 0);
}

static bool do_lane_up(struct work *work, const struct step *step)
{
	char name[IFNAMSIZ];

	return link_set_up(work->kernel, lane_name(work->name, step->lane, name), true);
}

static bool do_lane_delete(struct work *work, const struct step *step)
{
	char name[IFNAMSIZ];

	return link_delete(work->kernel, lane_name(work->name, step->lane, name));
}

static bool do_address(struct work *work, const struct step *step)
{
	return address_change(work->kernel, if_nametoindex(work->name), step->what, step->value);
}

static bool do_route(struct work *work, const struct step *step)
{
	return route_change(work->kernel, if_nametoindex(work->name), step->what, step->value);
}

static bool do_drain(struct work *work, const struct step *step)
{
	(void)work;
	pause_ms(step->value);
	return true;
}

/* --- lanes that are to send: when they have a session --- */

/**
 * struct session - what a lane is like now
 * @active: it sends
 * @has: a session
 * @calls: it begins one by itself; none comes means that it can't
 * @called: only the far end, which is not known yet, can begin one
 * @waits: for a packet to begin one
 */
struct session {
	bool active;
	bool has;
	bool calls;
	bool called;
	bool waits;
};

/* Where it keeps itself alive, it is renewed long before its end. */
static bool has_session(const struct work *work, unsigned int lane, const struct peer *peer)
{
	const struct timespec *since = &work->since[lane];

	if (work->touched[lane])
		return peer->handshake > since->tv_sec ||
		       (peer->handshake == since->tv_sec && peer->handshake_ns >= since->tv_nsec);
	return peer->handshake &&
	       (!peer->keepalive || since->tv_sec - peer->handshake < SESSION_SECONDS);
}

static bool look_at(struct work *work, unsigned int lane, struct session *session)
{
	struct tunnel tunnel;
	char name[IFNAMSIZ];
	struct place place;
	unsigned int index = if_nametoindex(lane_name(work->name, lane, name)), i;
	bool good = index && tunnel_read(work->kernel, index, &tunnel);

	if (!index)
		return fail(NULL, 0, "%s is gone: somebody else removed it", name);
	memset(session, 0, sizeof(*session));
	for (i = 0; good && i < tunnel.count; i++) {
		const struct peer *peer = &tunnel.peers[i];

		session->has |= has_session(work, lane, peer);
		if (peer->endpoint.ss_family == AF_UNSPEC)
			session->called = true;
		else if (peer->keepalive)
			session->calls = true;
		else
			session->waits = true;
	}
	tunnel_free(&tunnel);
	good = good && place_read(work->kernel, index, &place);
	session->active = good && place.active;
	return good;
}

/* Of lanes that are to send: those that have a session do from now on. Adds to @count, of such. */
static bool look_at_all(struct work *work, struct session *sessions, unsigned int *count)
{
	char name[IFNAMSIZ];
	unsigned int i;

	for (i = 0; i < work->active; i++) {
		if (!look_at(work, i, &sessions[i]))
			return false;
		if (!sessions[i].has)
			continue;
		++*count;
		if (!sessions[i].active &&
		    !place_set(work->kernel, lane_name(work->name, i, name), PLACE_KEEP, 1))
			return false;
		sessions[i].active = true;
	}
	return true;
}

/* When it ends, if no other lane gets a session; @last: then one did. */
static unsigned int end_of_wait(bool any, unsigned int last)
{
	if (!any)
		return SESSION_WAIT_MS;
	last += NEXT_SESSION_WAIT_MS;
	return last < ALL_SESSIONS_WAIT_MS ? last : ALL_SESSIONS_WAIT_MS;
}

/*
 * Until each lane that is to send has a session, or none comes. @any: one has: then the
 * far end is there, and can begin others.
 */
static bool wait_for_sessions(struct work *work, struct session *sessions, bool *any)
{
	unsigned int before = 0, last = 0, i, waited;
	bool more = true;

	*any = false;
	for (waited = 0; more && waited <= end_of_wait(*any, last); waited += SESSION_POLL_MS) {
		unsigned int count = 0;

		if (waited)
			pause_ms(SESSION_POLL_MS);
		more = false;
		if (!look_at_all(work, sessions, &count))
			return false;
		*any = count;
		if (count > before)
			last = waited;
		before = count;
		for (i = 0; i < work->active; i++)
			more |= !sessions[i].has &&
				(sessions[i].calls || (*any && sessions[i].called));
	}
	return true;
}

/* Whether a lane that is to become spare, but stays, sends and has a session. */
static bool others_go_on(struct work *work, bool *go_on)
{
	struct session session;
	unsigned int i;

	*go_on = false;
	for (i = work->active; i < work->lanes && i < work->found.lanes; i++) {
		if (!work->found.lane[i].ours || !work->found.lane[i].place.active)
			continue;
		if (!look_at(work, i, &session))
			return false;
		*go_on |= session.active && session.has;
	}
	return true;
}

/*
 * Where some have a session, those without it stay spare, as the far end may have
 * fewer lanes. Where none has, it is not there yet; or they are out of order, and
 * those that send, and could, do so still.
 */
static bool do_activate(struct work *work, const struct step *step)
{
	struct session sessions[LANES_MAX] = { };
	bool any, send, waits = false;
	char name[IFNAMSIZ];
	unsigned int i;

	(void)step;
	if (!wait_for_sessions(work, sessions, &any))
		return false;
	for (i = 0; i < work->active; i++)
		waits |= sessions[i].waits;
	if (!any && !waits && !others_go_on(work, &work->stays))
		return false;
	if (work->stays) {
		note("%s: none of the lanes 0 to %u has a session with the far end; those that "
		     "have go on sending", work->name, work->active - 1);
		return true;
	}
	if (!any)
		note("%s: no session with the far end yet", work->name);
	for (i = 0; i < work->active; i++) {
		lane_name(work->name, i, name);
		send = sessions[i].has || !any || sessions[i].waits;
		if (!send)
			note("%s has no session with the far end and stays spare; "
			     "wgtrunk reload looks again", name);
		if (send != sessions[i].active &&
		    !place_set(work->kernel, name, PLACE_KEEP, send))
			return false;
	}
	return true;
}

/* --- from what there is to what is wanted --- */

static bool has_route(const struct route *routes, unsigned int count, const struct route *route)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (prefix_same(&routes[i].to, &route->to) &&
		    routes[i].source.family == route->source.family &&
		    !memcmp(routes[i].source.bytes, route->source.bytes,
			    sizeof(route->source.bytes)))
			return true;
	return false;
}

static void plan_trunk(struct work *work)
{
	const struct link *link = &work->found.link;
	unsigned int choice = work->config->trunk.choice == CHOICE_HASH ? WG_TRUNK_CHOICE_HASH :
									 WG_TRUNK_CHOICE_CPU;

	if (!link->index) {
		add(work, do_trunk_create, 0, NULL, choice, xprintf("make the trunk %s", work->name));
		return;
	}
	if (!*link->alias)
		add(work, do_trunk_alias, 0, NULL, 0, xprintf("mark %s as ours", work->name));
	if (link->choice != (int)choice)
		add(work, do_trunk_choice, 0, NULL, choice,
		    xprintf("%s: choose lanes by %s", work->name, choice_text(choice)));
}

static bool same_endpoint(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return a4->sin_port == b4->sin_port && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	return a6->sin6_port == b6->sin6_port && a6->sin6_scope_id == b6->sin6_scope_id &&
	       !memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr));
}

static bool peer_is_so(const struct work *work, unsigned int lane, const struct peer *peer)
{
	struct sockaddr_storage endpoint = endpoint_for(work, lane, peer);

	return peer->keepalive == work->config->site.keepalive &&
	       !has_more(&peer->allowed, &work->wanted.allowed) &&
	       !has_more(&work->wanted.allowed, &peer->allowed) &&
	       (endpoint.ss_family == AF_UNSPEC || same_endpoint(&endpoint, &peer->endpoint));
}

/* Another port alone leaves the session as it is. */
static bool keys_are_so(const struct work *work, unsigned int lane)
{
	const struct tunnel *tunnel = &work->found.lane[lane].tunnel;

	return !sodium_memcmp(tunnel->private, work->config->private.keys[lane], KEY_BYTES) &&
	       peer_with(tunnel, work->config->public.keys[lane]);
}

/* Whether a lane that is left alone sends. */
static bool another_sends(const struct work *work)
{
	unsigned int i;

	for (i = 0; i < work->lanes; i++)
		if (!work->touched[i] && work->found.lane[i].place.active)
			return true;
	return false;
}

/* A port that another lane of ours has still, which moves later, or goes: that takes any other. */
static void plan_port(struct work *work, unsigned int lane)
{
	unsigned int port = work->config->trunk.port + lane, i;
	char name[IFNAMSIZ];

	for (i = 0; i < work->found.lanes; i++) {
		if (i == lane || work->port[i] != port)
			continue;
		add(work, do_lane_any_port, i, NULL, 0,
		    xprintf("%s: another port meanwhile", lane_name(work->name, i, name)));
		work->port[i] = 0;
	}
	work->port[lane] = port;
}

/* Key, port, and peer of a lane. */
static void plan_tunnel(struct work *work, unsigned int lane, const char *name)
{
	const struct found_lane *found = &work->found.lane[lane];
	const struct peer *peer = peer_with(&found->tunnel, work->config->public.keys[lane]);
	bool key = sodium_memcmp(found->tunnel.private, work->config->private.keys[lane],
				 KEY_BYTES);
	bool tunnel = key || work->port[lane] != work->config->trunk.port + lane;
	enum peer_change change = PEER_SET;
	unsigned int i;

	if (found->link.index && (key || !found->link.up))
		change = PEER_ANEW;
	else if (found->link.index && (tunnel || !peer))
		change = PEER_CALL;

	/* Its flows go elsewhere meanwhile. */
	if (work->touched[lane] && found->place.active && another_sends(work))
		add(work, do_lane_active, lane, NULL, 0, xprintf("%s: spare", name));
	if (tunnel) {
		plan_port(work, lane);
		add(work, do_lane_tunnel, lane, NULL, 0,
		    xprintf("%s: key, and port %u", name, work->config->trunk.port + lane));
	}
	if (tunnel || change != PEER_SET || !peer || !peer_is_so(work, lane, peer))
		add(work, do_lane_peer, lane, NULL, change,
		    xprintf("%s: the far end's key, address and prefixes", name));
	for (i = 0; i < found->tunnel.count; i++)
		if (&found->tunnel.peers[i] != peer)
			add(work, do_lane_peer_remove, lane, found->tunnel.peers[i].key, 0,
			    xprintf("%s: remove another peer", name));
}

static void plan_lane(struct work *work, unsigned int lane)
{
	const struct found_lane *found = &work->found.lane[lane];
	const struct link *link = &found->link;
	int home = work->wanted.home[lane];
	char name[IFNAMSIZ];

	lane_name(work->name, lane, name);
	if (!link->index)
		add(work, do_lane_create, lane, NULL, 0, xprintf("make the lane %s", name));
	else if (!*link->alias)
		add(work, do_lane_alias, lane, NULL, 0, xprintf("mark %s as ours", name));
	if (link->index && link->mtu != work->wanted.mtu)
		add(work, do_lane_mtu, lane, NULL, work->wanted.mtu,
		    xprintf("%s: MTU %u", name, work->wanted.mtu));
	plan_tunnel(work, lane, name);
	if (!link->index || found->place.home != home)
		add(work, do_lane_home, lane, NULL, home, xprintf("%s: home CPU %d", name, home));
	if (!link->index || !work->found.link.index || link->master != work->found.link.index)
		add(work, do_lane_join, lane, NULL, 0,
		    xprintf("%s: into the trunk, as a spare", name));
	if (!link->up)
		add(work, do_lane_up, lane, NULL, 0, xprintf("%s: up", name));
}

static void add_route_step(struct work *work, const struct route *route, enum route_change change)
{
	char text[PREFIX_TEXT];

	add(work, do_route, 0, route, change,
	    xprintf("%s: %s route to %s", work->name, change == ROUTE_REMOVE ? "remove" : "add",
		    prefix_text(&route->to, text)));
}

static void add_address_step(struct work *work, const struct prefix *address, bool wanted)
{
	char text[PREFIX_TEXT];

	add(work, do_address, 0, address, wanted,
	    xprintf("%s: %s address %s", work->name, wanted ? "add" : "remove",
		    prefix_text(address, text)));
}

static bool reaches(const struct route *routes, unsigned int count, const struct prefix *to)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (prefix_same(&routes[i].to, to))
			return true;
	return false;
}

/*
 * Addresses and routes. What nobody wants goes first: with an address that goes, others of
 * its network may go, too, and routes that have it as their source; so all are made anew then.
 */
static void plan_ways(struct work *work)
{
	const struct prefix_list *want = &work->config->trunk.addresses;
	const struct prefix_list *have = &work->found.addresses;
	const struct wanted *wanted = &work->wanted;
	const struct found *found = &work->found;
	bool anew = has_more(have, want);
	unsigned int i;

	for (i = 0; i < found->route_count; i++)
		if (!reaches(wanted->routes, wanted->route_count, &found->routes[i].to))
			add_route_step(work, &found->routes[i], ROUTE_REMOVE);
	for (i = 0; i < have->count; i++)
		if (!prefix_list_has(want, &have->prefixes[i]))
			add_address_step(work, &have->prefixes[i], false);
	for (i = 0; i < want->count; i++)
		if (anew || !prefix_list_has(have, &want->prefixes[i]))
			add_address_step(work, &want->prefixes[i], true);
	if (!work->found.link.up)
		add(work, do_trunk_up, 0, NULL, 0, xprintf("%s: up", work->name));
	for (i = 0; i < wanted->route_count; i++)
		if (anew || !has_route(found->routes, found->route_count, &wanted->routes[i]))
			add_route_step(work, &wanted->routes[i],
				       reaches(found->routes, found->route_count,
					       &wanted->routes[i].to) ? ROUTE_REPLACE : ROUTE_ADD);
}

/* Lanes that send and those that do not, and lanes that nobody wants. */
static void plan_activity(struct work *work)
{
	bool wait = false, drain = false;
	char name[IFNAMSIZ];
	unsigned int i;

	for (i = 0; i < work->active; i++)
		wait |= work->touched[i] || !work->found.lane[i].place.active ||
			!work->found.lane[i].link.master ||
			!work->found.lane[i].tunnel.count ||
			!has_session(work, i, &work->found.lane[i].tunnel.peers[0]);
	if (wait)
		add(work, do_activate, 0, NULL, 0,
		    xprintf("%s: lanes 0 to %u send, each once it has a session, or no lane has after %d s",
			    work->name, work->active - 1, SESSION_WAIT_MS / 1000));
	for (i = work->active; i < work->found.lanes; i++) {
		if (!work->found.lane[i].ours || !work->found.lane[i].place.active)
			continue;
		drain |= i >= work->lanes;
		add(work, i < work->lanes ? do_lane_spare : do_lane_active, i, NULL, 0,
		    xprintf("%s: spare%s", lane_name(work->name, i, name),
			    wait && i < work->lanes ? ", unless only such have a session" : ""));
	}
	if (drain)
		add(work, do_drain, 0, NULL, DRAIN_MS, xprintf("wait for what is under way"));
	for (i = work->lanes; i < work->found.lanes; i++)
		if (work->found.lane[i].ours)
			add(work, do_lane_delete, i, NULL, 0,
			    xprintf("remove %s", lane_name(work->name, i, name)));
}

/* It can have no more than any lane has, those that go in the end, too. */
static void plan_trunk_mtu(struct work *work)
{
	unsigned int mtu = work->wanted.mtu, i;
	char name[IFNAMSIZ];

	for (i = work->lanes; i < work->found.lanes; i++)
		if (work->found.lane[i].ours && work->found.lane[i].link.mtu < mtu)
			add(work, do_lane_mtu, i, NULL, mtu,
			    xprintf("%s: MTU %u", lane_name(work->name, i, name), mtu));
	add(work, do_trunk_mtu, 0, NULL, mtu, xprintf("%s: MTU %u", work->name, mtu));
}

static void plan_up(struct work *work)
{
	bool join = !work->found.link.index, up = false;
	unsigned int i;

	for (i = 0; i < work->lanes; i++)
		work->touched[i] = !keys_are_so(work, i) || !work->found.lane[i].link.up;
	for (i = 0; i < work->found.lanes; i++)
		work->port[i] = work->found.lane[i].tunnel.port;
	plan_trunk(work);
	/* Where ports move up, each to one that the lane after it has left. */
	for (i = 0; i < work->lanes; i++)
		up |= work->port[i] && work->port[i] < work->config->trunk.port + i;
	for (i = 0; i < work->lanes; i++) {
		const struct link *link = &work->found.lane[i].link;

		join |= !link->index || link->mtu != work->wanted.mtu;
		plan_lane(work, up ? work->lanes - 1 - i : i);
	}
	if (join || work->found.link.mtu != work->wanted.mtu)
		plan_trunk_mtu(work);
	plan_ways(work);
	plan_activity(work);
}

static void plan_down(struct work *work)
{
	char name[IFNAMSIZ];
	unsigned int i;

	if (work->found.link.index && work->found.ours)
		add(work, do_trunk_delete, 0, NULL, 0, xprintf("remove the trunk %s", work->name));
	for (i = 0; i < work->found.lanes; i++)
		if (work->found.lane[i].ours)
			add(work, do_lane_delete, i, NULL, 0,
			    xprintf("remove %s", lane_name(work->name, i, name)));
}

/* --- doing it --- */

static bool run_steps(struct work *work)
{
	unsigned int i;

	for (i = 0; i < work->count; i++) {
		const struct step *step = &work->steps[i];

		if (work->manner->dry || work->manner->verbose)
			printf("%s\n", step->says);
		if (!work->manner->dry && !step->run(work, step))
			return false;
	}
	return true;
}

static void drop_steps(struct work *work)
{
	while (work->count)
		free(work->steps[--work->count].says);
	free(work->steps);
	work->steps = NULL;
}

/* Names that are taken by interfaces of somebody else. */
static bool names_are_free(const struct work *work)
{
	const struct found *found = &work->found;
	unsigned int i;

	if (found->link.index && !found->ours)
		return fail(NULL, 0, "there is an interface %s already, not a trunk of wgtrunk's",
			    found->link.name);
	for (i = 0; i < work->lanes; i++)
		if (found->lane[i].link.index && !found->lane[i].ours)
			return fail(NULL, 0,
				    "there is an interface %s already, not a lane of wgtrunk's",
				    found->lane[i].link.name);
	return true;
}

static bool anything(const struct found *found)
{
	unsigned int i;

	for (i = 0; i < found->lanes; i++)
		if (found->lane[i].ours)
			return true;
	return found->link.index && found->ours;
}

/* The host's settings are put back. What was done in another namespace stays remembered. */
static void forget(struct work *work)
{
	json_t *settings = json_object_get(work->state, "settings");
	bool here = run_is_here(work->state);

	steer_down(work->name, work->state);
	if (here && !json_array_size(settings)) {
		run_forget(work->name);
		return;
	}
	if (here) {
		json_object_del(work->state, "namespace");
		json_object_del(work->state, "endpoint");
		json_object_set_new(work->state, "complete", json_true());
	}
	run_save(work->name, work->state);
}

/* What was made goes again; what could not be, is said. */
static void undo(struct work *work)
{
	const struct manner quiet = { work->manner->command, false, false };

	note("%s: that failed, what was made is removed", work->name);
	drop_steps(work);
	found_free(&work->found);
	work->manner = &quiet;
	if (!found_read(work->kernel, work->name, work->lanes, &work->found))
		return;
	plan_down(work);
	/* What is left is ours to the next one only while it is remembered. */
	if (run_steps(work))
		forget(work);
}

/* Those that are wanted, and those of ours that there are. */
static unsigned int lanes_at_work(const struct work *work)
{
	unsigned int lanes = work->lanes, i;

	for (i = lanes; i < work->found.lanes; i++)
		if (work->found.lane[i].ours)
			lanes = i + 1;
	return lanes;
}

static void steer(struct work *work)
{
	if (*work->wanted.nic)
		steer_up(work->wanted.nic, work->config, work->wanted.home, work->name,
			 work->state);
}

static bool run_up(struct work *work)
{
	char *endpoint;

	if (work->manner->dry)
		return run_steps(work);
	/* Until it is complete, what has the right name and no alias is ours. */
	json_object_set_new(work->state, "complete", json_false());
	json_object_set_new(work->state, "namespace", json_integer(run_namespace()));
	json_object_set_new(work->state, "lanes", json_integer(lanes_at_work(work)));
	if (!run_save(work->name, work->state) || !run_steps(work))
		return false;
	steer(work);
	endpoint = wanted_endpoint_text(work->config);
	json_object_set_new(work->state, "endpoint", json_string(endpoint));
	free(endpoint);
	json_object_set_new(work->state, "complete", json_true());
	return run_save(work->name, work->state);
}

/* Reads what there is; the lock is held unless it is a dry run. */
static bool begin(struct work *work, int *lock)
{
	unsigned int i;

	*lock = work->manner->dry ? -1 : run_lock(work->name, work->manner->command);
	if (*lock < 0 && !work->manner->dry)
		return false;
	clock_gettime(CLOCK_REALTIME, &work->since[0]);
	for (i = 1; i < LANES_MAX; i++)
		work->since[i] = work->since[0];
	work->state = run_load(work->name);
	work->remembered = run_remembered(work->name, work->state);
	return work->state && found_read(work->kernel, work->name,
					 run_begun(work->name, work->state), &work->found);
}

static void end(struct work *work, int lock)
{
	drop_steps(work);
	wanted_free(&work->wanted);
	found_free(&work->found);
	json_decref(work->state);
	run_unlock(lock);
}

bool manage_up(struct kernel *kernel, const struct config *config, bool must_be,
	       const struct manner *manner)
{
	struct work work = { .kernel = kernel, .config = config, .manner = manner,
			     .name = config->name, .lanes = config->trunk.lanes,
			     .active = config->trunk.active };
	bool fresh = false, good;
	int lock;

	good = begin(&work, &lock) && names_are_free(&work);
	if (good && must_be && !work.remembered && !anything(&work.found))
		good = fail(NULL, 0, "%s is not up", work.name);
	good = good && wanted_make(kernel, config, &work.found, work.state, &work.wanted);
	if (good) {
		fresh = !anything(&work.found);
		plan_up(&work);
		good = run_up(&work);
		if (!good && fresh && !manner->dry)
			undo(&work);
	}
	end(&work, lock);
	return good;
}

bool manage_down(struct kernel *kernel, const char *name, const struct manner *manner)
{
	struct work work = { .kernel = kernel, .manner = manner, .name = name };
	bool good;
	int lock;

	good = begin(&work, &lock);
	if (good && !work.remembered && !anything(&work.found))
		good = fail(NULL, 0, "%s is not up", name);
	if (good) {
		plan_down(&work);
		good = run_steps(&work);
	}
	if (good && !manner->dry)
		forget(&work);
	end(&work, lock);
	return good;
}

/* Lanes in the trunk, from the first on. */
static unsigned int lanes_of(const struct found *found)
{
	unsigned int lanes = 0;

	while (lanes < found->lanes && found->lane[lanes].ours &&
	       found->lane[lanes].link.master == found->link.index)
		lanes++;
	return lanes;
}

bool manage_scale(struct kernel *kernel, const char *name, unsigned int active,
		  const struct manner *manner)
{
	struct work work = { .kernel = kernel, .manner = manner, .name = name, .active = active };
	unsigned int i;
	bool good;
	int lock;

	good = begin(&work, &lock);
	if (good && (!work.found.link.index || !work.found.ours))
		good = fail(NULL, 0, "%s is not up", name);
	/* Nothing else than activity changes. What is down has no session. */
	work.lanes = LANES_MAX;
	for (i = 0; good && i < work.found.lanes; i++)
		work.touched[i] = !work.found.lane[i].link.up;
	if (good && active > lanes_of(&work.found))
		good = fail(NULL, 0, "%s has only %u lanes", name, lanes_of(&work.found));
	if (good) {
		plan_activity(&work);
		good = run_steps(&work) && !work.stays;
	}
	end(&work, lock);
	return good;
}
