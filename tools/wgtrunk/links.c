// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/* rtnetlink: links, addresses, routes. */

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "nl.h"
#include "util.h"

/* --- links --- */

struct links {
	struct link *links;
	unsigned int count;
};

static void take_kind(const struct nlattr *info, struct link *link)
{
	const struct nlattr *in[IFLA_INFO_MAX + 1], *data[IFLA_WGTRUNK_MAX + 1];

	nl_nested(info, in, IFLA_INFO_MAX);
	nl_text(in[IFLA_INFO_KIND], link->kind, sizeof(link->kind));
	if (strcmp(link->kind, KIND_TRUNK) || !in[IFLA_INFO_DATA])
		return;
	nl_nested(in[IFLA_INFO_DATA], data, IFLA_WGTRUNK_MAX);
	if (data[IFLA_WGTRUNK_CHOICE])
		link->choice = nl_u8(data[IFLA_WGTRUNK_CHOICE]);
}

static bool take_link(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *in[IFLA_MAX + 1];
	struct rtnl_link_stats64 stats;
	const struct ifinfomsg *info;
	struct links *links = data;
	struct link *link;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info))
		return false;
	info = mnl_nlmsg_get_payload(message);
	nl_message_attributes(message, sizeof(*info), in, IFLA_MAX);
	links->links = xrealloc(links->links, links->count + 1, sizeof(*link));
	link = &links->links[links->count++];
	memset(link, 0, sizeof(*link));
	link->index = info->ifi_index;
	link->up = info->ifi_flags & IFF_UP;
	link->choice = -1;
	link->mtu = nl_u32(in[IFLA_MTU]);
	link->master = nl_u32(in[IFLA_MASTER]);
	link->carrier = nl_u8(in[IFLA_CARRIER]);
	nl_text(in[IFLA_IFNAME], link->name, sizeof(link->name));
	nl_text(in[IFLA_IFALIAS], link->alias, sizeof(link->alias));
	if (in[IFLA_LINKINFO])
		take_kind(in[IFLA_LINKINFO], link);
	if (nl_copy(in[IFLA_STATS64], &stats, sizeof(stats))) {
		link->rx_packets = stats.rx_packets;
		link->rx_bytes = stats.rx_bytes;
		link->tx_packets = stats.tx_packets;
		link->tx_bytes = stats.tx_bytes;
	}
	return true;
}

static void forget_links(void *data)
{
	struct links *links = data;

	links->count = 0;
}

bool links_read(struct kernel *kernel, struct link **found, unsigned int *count)
{
	struct links links = { };
	const struct nl_answer answer = { take_link, forget_links, &links };
	char buffer[NL_REQUEST_MAX], why[NL_WORDS];
	struct nlmsghdr *message = nl_begin(buffer, RTM_GETLINK, NLM_F_DUMP);
	int ret;

	mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	ret = nl_ask(kernel->route, message, &answer, why);
	*found = links.links;
	*count = links.count;
	return !ret || nl_error(ret, why, "could not list the interfaces");
}

/* A change of one link, by name. */
static struct nlmsghdr *begin_link(void *buffer, unsigned int flags, const char *name)
{
	struct nlmsghdr *message = nl_begin(buffer, RTM_NEWLINK, flags);

	mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(message, IFLA_IFNAME, name);
	return message;
}

static void put_kind(struct nlmsghdr *message, const char *kind, const unsigned int *choice)
{
	struct nlattr *info = mnl_attr_nest_start(message, IFLA_LINKINFO), *data;

	mnl_attr_put_strz(message, IFLA_INFO_KIND, kind);
	if (choice) {
		data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
		mnl_attr_put_u8(message, IFLA_WGTRUNK_CHOICE, *choice);
		mnl_attr_nest_end(message, data);
	}
	mnl_attr_nest_end(message, info);
}

bool trunk_create(struct kernel *kernel, const char *name, unsigned int choice)
{
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = begin_link(buffer, NLM_F_CREATE | NLM_F_EXCL, name);

	put_kind(message, KIND_TRUNK, &choice);
	return nl_tell(kernel->route, message, "could not make the trunk %s", name);
}

bool lane_create(struct kernel *kernel, const char *name, unsigned int mtu)
{
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = begin_link(buffer, NLM_F_CREATE | NLM_F_EXCL, name);

	if (mtu)
		mnl_attr_put_u32(message, IFLA_MTU, mtu);
	put_kind(message, KIND_LANE, NULL);
	return nl_tell(kernel->route, message, "could not make the lane %s", name);
}

bool trunk_set_choice(struct kernel *kernel, const char *name, unsigned int choice)
{
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = begin_link(buffer, 0, name);

	put_kind(message, KIND_TRUNK, &choice);
	return nl_tell(kernel->route, message, "could not set how %s chooses lanes", name);
}

bool link_delete(struct kernel *kernel, const char *name)
{
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = nl_begin(buffer, RTM_DELLINK, 0);

	mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(message, IFLA_IFNAME, name);
	return nl_tell(kernel->route, message, "could not delete %s", name);
}

bool link_set_up(struct kernel *kernel, const char *name, bool up)
{
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = begin_link(buffer, 0, name);
	struct ifinfomsg *info = mnl_nlmsg_get_payload(message);

	info->ifi_change = IFF_UP;
	info->ifi_flags = up ? IFF_UP : 0;
	return nl_tell(kernel->route, message, "could not set %s %s", name, up ? "up" : "down");
}

bool link_set_mtu(struct kernel *kernel, const char *name, unsigned int mtu)
{
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = begin_link(buffer, 0, name);

	mnl_attr_put_u32(message, IFLA_MTU, mtu);
	return nl_tell(kernel->route, message, "could not set the MTU of %s to %u", name, mtu);
}

bool link_set_alias(struct kernel *kernel, const char *name, const char *alias)
{
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = begin_link(buffer, 0, name);

	mnl_attr_put_strz(message, IFLA_IFALIAS, alias);
	return nl_tell(kernel->route, message, "could not set the alias of %s", name);
}

bool link_set_master(struct kernel *kernel, const char *name, unsigned int master)
{
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = begin_link(buffer, 0, name);

	mnl_attr_put_u32(message, IFLA_MASTER, master);
	return nl_tell(kernel->route, message, "could not make %s a lane", name);
}

/* --- addresses --- */

struct addresses {
	unsigned int index;
	unsigned int before;
	struct prefix_list *list;
};

static size_t bytes_of(int family)
{
	return prefix_bits(family) / 8;
}

/* Whether it is one of those families, with a length that it can have. */
static bool take_prefix(const struct nlattr *attribute, int family, unsigned int length,
			struct prefix *prefix)
{
	if ((family != AF_INET && family != AF_INET6) || length > bytes_of(family) * 8)
		return false;
	memset(prefix, 0, sizeof(*prefix));
	prefix->family = family;
	prefix->length = length;
	return !attribute || nl_copy(attribute, prefix->bytes, bytes_of(family));
}

static bool take_address(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *in[IFA_MAX + 1];
	struct addresses *addresses = data;
	struct prefix_list *list = addresses->list;
	const struct ifaddrmsg *info;
	struct prefix prefix;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info))
		return false;
	info = mnl_nlmsg_get_payload(message);
	nl_message_attributes(message, sizeof(*info), in, IFA_MAX);
	if (info->ifa_index != addresses->index ||
	    (info->ifa_scope != RT_SCOPE_UNIVERSE &&
	     (!in[IFA_PROTO] || nl_u8(in[IFA_PROTO]) != ADDRESS_PROTOCOL)) ||
	    !take_prefix(in[IFA_LOCAL] ? in[IFA_LOCAL] : in[IFA_ADDRESS], info->ifa_family,
			 info->ifa_prefixlen, &prefix))
		return true;
	list->prefixes = xrealloc(list->prefixes, list->count + 1, sizeof(prefix));
	list->prefixes[list->count++] = prefix;
	return true;
}

static void forget_addresses(void *data)
{
	struct addresses *addresses = data;

	addresses->list->count = addresses->before;
}

bool addresses_read(struct kernel *kernel, unsigned int index, struct prefix_list *list)
{
	struct addresses addresses = { index, list->count, list };
	const struct nl_answer answer = { take_address, forget_addresses, &addresses };
	char buffer[NL_REQUEST_MAX], why[NL_WORDS];
	struct nlmsghdr *message = nl_begin(buffer, RTM_GETADDR, NLM_F_DUMP);
	struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
	int ret;

	info->ifa_index = index;
	ret = nl_ask(kernel->route, message, &answer, why);
	return !ret || nl_error(ret, why, "could not list the addresses");
}

bool address_change(struct kernel *kernel, unsigned int index, const struct prefix *address,
		    bool add)
{
	char buffer[NL_REQUEST_MAX], text[PREFIX_TEXT], why[NL_WORDS];
	struct nlmsghdr *message = nl_begin(buffer, add ? RTM_NEWADDR : RTM_DELADDR,
					    add ? NLM_F_CREATE | NLM_F_REPLACE : 0);
	struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
	int ret;

	info->ifa_family = address->family;
	info->ifa_prefixlen = address->length;
	info->ifa_index = index;
	info->ifa_scope = RT_SCOPE_UNIVERSE;
	/* Nobody else is on this link: there are no duplicates to wait for. */
	info->ifa_flags = address->family == AF_INET6 ? IFA_F_NODAD : 0;
	mnl_attr_put(message, IFA_LOCAL, bytes_of(address->family), address->bytes);
	mnl_attr_put(message, IFA_ADDRESS, bytes_of(address->family), address->bytes);
	if (prefix_is_link_local(address))
		mnl_attr_put_u8(message, IFA_PROTO, ADDRESS_PROTOCOL);
	ret = nl_ask(kernel->route, message, NULL, why);
	/* What was to go is gone, maybe with the first address of its network. */
	if (!add && (ret == -EADDRNOTAVAIL || ret == -ENODEV))
		ret = 0;
	return !ret || nl_error(ret, why, "could not %s address %s", add ? "add" : "remove",
				prefix_text(address, text));
}

/* --- routes --- */

/* @before: how many there were when the dump began, which are of the other family. */
struct routes {
	unsigned int index;
	unsigned int before;
	unsigned int count;
	struct route *routes;
};

static bool take_route(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *in[RTA_MAX + 1];
	struct routes *routes = data;
	struct route route = { };
	const struct rtmsg *info;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info))
		return false;
	info = mnl_nlmsg_get_payload(message);
	nl_message_attributes(message, sizeof(*info), in, RTA_MAX);
	if (info->rtm_protocol != ROUTE_PROTOCOL || nl_u32(in[RTA_OIF]) != routes->index ||
	    info->rtm_flags & RTM_F_CLONED ||
	    !take_prefix(in[RTA_DST], info->rtm_family, info->rtm_dst_len, &route.to))
		return true;
	if (in[RTA_PREFSRC] &&
	    !take_prefix(in[RTA_PREFSRC], info->rtm_family, bytes_of(info->rtm_family) * 8,
			 &route.source))
		return false;
	routes->routes = xrealloc(routes->routes, routes->count + 1, sizeof(route));
	routes->routes[routes->count++] = route;
	return true;
}

static void forget_routes(void *data)
{
	struct routes *routes = data;

	routes->count = routes->before;
}

bool routes_read(struct kernel *kernel, unsigned int index, struct route **found,
		 unsigned int *count)
{
	static const int families[] = { AF_INET, AF_INET6 };
	struct routes routes = { .index = index };
	const struct nl_answer answer = { take_route, forget_routes, &routes };
	char buffer[NL_REQUEST_MAX], why[NL_WORDS];
	unsigned int i;
	int ret = 0;

	for (i = 0; i < 2 && !ret; i++) {
		struct nlmsghdr *message = nl_begin(buffer, RTM_GETROUTE, NLM_F_DUMP);
		struct rtmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));

		info->rtm_family = families[i];
		routes.before = routes.count;
		ret = nl_ask(kernel->route, message, &answer, why);
		/* A kernel without IPv6. */
		if (families[i] == AF_INET6 && ret == -EOPNOTSUPP)
			ret = 0;
	}
	*found = routes.routes;
	*count = routes.count;
	return !ret || nl_error(ret, why, "could not list the routes");
}

bool route_change(struct kernel *kernel, unsigned int index, const struct route *route,
		  enum route_change change)
{
	static const unsigned int flags[] = {
		[ROUTE_ADD] = NLM_F_CREATE | NLM_F_EXCL,
		[ROUTE_REPLACE] = NLM_F_CREATE | NLM_F_REPLACE,
		[ROUTE_REMOVE] = 0,
	};
	bool add = change != ROUTE_REMOVE;
	char buffer[NL_REQUEST_MAX], text[PREFIX_TEXT], why[NL_WORDS];
	struct nlmsghdr *message = nl_begin(buffer, add ? RTM_NEWROUTE : RTM_DELROUTE,
					    flags[change]);
	struct rtmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
	int ret;

	info->rtm_family = route->to.family;
	info->rtm_dst_len = route->to.length;
	info->rtm_table = RT_TABLE_MAIN;
	info->rtm_protocol = ROUTE_PROTOCOL;
	info->rtm_type = RTN_UNICAST;
	info->rtm_scope = route->to.family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	mnl_attr_put(message, RTA_DST, bytes_of(route->to.family), route->to.bytes);
	if (add && route->source.family != AF_UNSPEC)
		mnl_attr_put(message, RTA_PREFSRC, bytes_of(route->source.family),
			     route->source.bytes);
	mnl_attr_put_u32(message, RTA_OIF, index);
	ret = nl_ask(kernel->route, message, NULL, why);
	/* It goes with its source address. */
	if (!add && (ret == -ESRCH || ret == -ENODEV))
		ret = 0;
	if (ret == -EEXIST)
		return fail(NULL, 0, "there is a route to %s already, not of wgtrunk's",
			    prefix_text(&route->to, text));
	return !ret || nl_error(ret, why, "could not %s the route to %s", add ? "make" : "remove",
				prefix_text(&route->to, text));
}

struct way {
	unsigned int index;
	unsigned int mtu;
};

static bool take_way(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *in[RTA_MAX + 1], *metrics[RTAX_MAX + 1];
	struct way *way = data;

	nl_message_attributes(message, sizeof(struct rtmsg), in, RTA_MAX);
	way->index = nl_u32(in[RTA_OIF]);
	if (in[RTA_METRICS]) {
		nl_nested(in[RTA_METRICS], metrics, RTAX_MAX);
		way->mtu = nl_u32(metrics[RTAX_MTU]);
	}
	return true;
}

bool route_get(struct kernel *kernel, const struct sockaddr_storage *to, unsigned int *index,
	       unsigned int *mtu)
{
	const struct sockaddr_in6 *to6 = (const struct sockaddr_in6 *)to;
	struct way way = { };
	const struct nl_answer answer = { take_way, NULL, &way };
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = nl_begin(buffer, RTM_GETROUTE, 0);
	struct rtmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));

	info->rtm_family = to->ss_family;
	info->rtm_dst_len = bytes_of(to->ss_family) * 8;
	if (to->ss_family == AF_INET)
		mnl_attr_put(message, RTA_DST, 4, &((const struct sockaddr_in *)to)->sin_addr);
	else
		mnl_attr_put(message, RTA_DST, 16, &to6->sin6_addr);
	if (to->ss_family == AF_INET6 && to6->sin6_scope_id)
		mnl_attr_put_u32(message, RTA_OIF, to6->sin6_scope_id);
	if (nl_ask(kernel->route, message, &answer, NULL) || !way.index)
		return false;
	*index = way.index;
	*mtu = way.mtu;
	return true;
}
