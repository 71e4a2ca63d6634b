// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/* The inline pipeline, inwards: decrypt, check, deliver. */
#include <linux/netdevice.h>
#include <net/inet_ecn.h>
#include <net/ip.h>
#include <net/ip_tunnels.h>

#include "allowedips.h"
#include "device.h"
#include "handshake.h"
#include "index.h"
#include "inline.h"
#include "keypair.h"
#include "peer.h"
#include "pipeline.h"
#include "seal.h"
#include "socket.h"
#include "trace.h"

static unsigned int bytes_of(struct sk_buff_head *batch)
{
	unsigned int bytes = 0;
	struct sk_buff *skb;

	skb_queue_walk(batch, skb)
		bytes += skb->len;
	return bytes;
}

static void deliver_nested(struct wgt_device *wg, struct sk_buff *skb)
{
	wgt_count(wg, RX_NESTED, 1);
	if (netif_rx(skb) != NET_RX_SUCCESS)
		wgt_drop(wg, RX_NESTED_FULL, 1);
}

/*
 * To the stack, in order; the list is empty afterwards. What came alone may
 * wait in GRO for the poll, for others that came alone. An aggregate is merged
 * as far as it can be, and does not wait.
 */
static void deliver(struct wgt_cpu *self, struct wgt_device *wg, struct sk_buff_head *batch,
		    bool aggregate)
{
	struct sk_buff *skb;

	if (unlikely(self->rx_busy)) {
		while ((skb = __skb_dequeue(batch)))
			deliver_nested(wg, skb);
		return;
	}

	if (trace_wgt_delivered_enabled())
		trace_wgt_delivered(wg->dev, skb_queue_len(batch), bytes_of(batch));
	self->rx_busy = true;
	if (likely(wgt_gro_open(self))) {
		while ((skb = __skb_dequeue(batch)))
			napi_gro_receive(&self->napi, skb);
		if (aggregate && !self->polling)
			wgt_gro_close(self);
	} else {
		wgt_count(wg, RX_NO_GRO, skb_queue_len(batch));
		while ((skb = __skb_dequeue(batch)))
			netif_receive_skb(skb);
	}
	self->rx_busy = false;
}

/* Length that the inner header claims, or 0 where it makes no sense. */
static unsigned int inner_length(struct sk_buff *skb)
{
	switch (skb->protocol) {
	case htons(ETH_P_IP):
		return ntohs(ip_hdr(skb)->tot_len) < sizeof(struct iphdr) ? 0 :
			ntohs(ip_hdr(skb)->tot_len);
	case htons(ETH_P_IPV6):
		return ntohs(ipv6_hdr(skb)->payload_len) + sizeof(struct ipv6hdr);
	default:
		return 0;
	}
}

/*
 * Congestion that the outer packet met is told to the inner one (RFC 6040). One
 * that can't be told is delivered all the same.
 */
static void copy_congestion(struct sk_buff *skb)
{
	u8 inner = skb->protocol == htons(ETH_P_IP) ? ip_hdr(skb)->tos :
						      ipv6_get_dsfield(ipv6_hdr(skb));

	INET_ECN_decapsulate(skb, wgt_cb(skb)->tos, inner);
}

/* Is this authenticated packet one that may go to the stack? Counts why not. */
static bool inner_is_good(struct wgt_device *wg, struct wgt_peer *peer, struct sk_buff *skb)
{
	unsigned int len;

	skb->protocol = ip_tunnel_parse_protocol(skb);
	len = inner_length(skb);
	if (unlikely(!len || len > skb->len)) {
		DEV_STATS_INC(wg->dev, rx_errors);
		DEV_STATS_INC(wg->dev, rx_length_errors);
		wgt_drop(wg, RX_BAD_INNER, 1);
		return false;
	}
	if (unlikely(pskb_trim(skb, len))) {
		wgt_drop(wg, RX_NO_MEMORY, 1);
		return false;
	}
	if (unlikely(wgt_allowedips_find_src(&wg->allowedips, skb) != peer)) {
		net_dbg_ratelimited("%s: Packet from peer %llu has a source that is not its own\n",
				    wg->dev->name, peer->id);
		DEV_STATS_INC(wg->dev, rx_errors);
		DEV_STATS_INC(wg->dev, rx_frame_errors);
		wgt_drop(wg, RX_BAD_SOURCE, 1);
		return false;
	}
	copy_congestion(skb);
	/* The tag vouches for more than any checksum inside does. */
	skb->ip_summed = CHECKSUM_UNNECESSARY;
	skb->csum_level = SKB_MAX_CSUM_LEVEL;
	return true;
}

/* The key of @received messages, or NULL, counted. */
static struct wgt_keypair *receiving_pair(struct wgt_device *wg, const struct wgt_msg_data *msg,
					  unsigned int received)
{
	struct wgt_index_entry *entry = wgt_index_find(wg, msg->receiver);
	struct wgt_keypair *pair;

	if (unlikely(!entry || entry->kind != WGT_INDEX_KEYPAIR)) {
		wgt_drop(wg, RX_NO_KEY, received);
		return NULL;
	}
	pair = container_of(entry, struct wgt_keypair, entry);
	if (unlikely(!READ_ONCE(pair->recv_valid) ||
		     wgt_keypair_age_over(pair, WGT_REJECT_AFTER_TIME))) {
		WRITE_ONCE(pair->recv_valid, false);
		wgt_drop(wg, RX_KEY_EXPIRED, received);
		return NULL;
	}
	return pair;
}

/* Decrypted and authentic; or NULL, counted. Takes @skb. */
static struct sk_buff *open_one(struct wgt_cpu *self, struct wgt_device *wg,
				struct wgt_keypair *pair, struct sk_buff *skb)
{
	wgt_cb(skb)->counter = le64_to_cpu(((struct wgt_msg_data *)skb->data)->counter);
	skb = wgt_open(skb, pair, wgt_cb(skb)->counter, wg->dev, &self->napi);
	if (!IS_ERR(skb))
		return skb;
	if (PTR_ERR(skb) == -ENOMEM) {
		wgt_drop(wg, RX_NO_MEMORY, 1);
		dev_core_stats_rx_dropped_inc(wg->dev);
	} else {
		wgt_drop(wg, RX_BAD_TAG, 1);
		DEV_STATS_INC(wg->dev, rx_errors);
	}
	return NULL;
}

/* Takes those out of the list that came before. */
static void drop_replayed(struct wgt_device *wg, struct wgt_keypair *pair,
			  struct sk_buff_head *opened)
{
	struct sk_buff_head replayed;
	struct sk_buff *skb, *next;

	__skb_queue_head_init(&replayed);
	spin_lock(&pair->replay.lock);
	skb_queue_walk_safe(opened, skb, next) {
		if (likely(wgt_replay_accept(&pair->replay, wgt_cb(skb)->counter)))
			continue;
		__skb_unlink(skb, opened);
		__skb_queue_tail(&replayed, skb);
	}
	spin_unlock(&pair->replay.lock);

	while (unlikely(skb = __skb_dequeue(&replayed))) {
		net_dbg_ratelimited("%s: Message %llu under key pair %llu came before or is too old\n",
				    wg->dev->name, wgt_cb(skb)->counter, pair->id);
		wgt_drop(wg, RX_REPLAY, 1);
		dev_core_stats_rx_dropped_inc(wg->dev);
		kfree_skb(skb);
	}
}

/* A key that we began with and that soon must not be received with: time for a new one. */
static void refresh_after_receive(struct wgt_peer *peer, struct wgt_keypair *pair)
{
	if (!pair->initiator || READ_ONCE(peer->timers.rekey_on_receive))
		return;
	/* One that is left over has been replaced already. */
	if (pair != rcu_access_pointer(peer->keypairs.current_pair))
		return;
	if (wgt_keypair_age_over(pair, WGT_REJECT_AFTER_TIME - WGT_KEEPALIVE_TIMEOUT -
				       WGT_REKEY_TIMEOUT)) {
		WRITE_ONCE(peer->timers.rekey_on_receive, true);
		wgt_handshake_initiate(peer, false);
	}
}

static void count_received(struct net_device *dev, unsigned int packets, unsigned int bytes)
{
	struct pcpu_sw_netstats *own = this_cpu_ptr(dev->tstats);

	u64_stats_update_begin(&own->syncp);
	u64_stats_add(&own->rx_packets, packets);
	u64_stats_add(&own->rx_bytes, bytes);
	u64_stats_update_end(&own->syncp);
}

/* Once per batch: its messages were authentic, so the peer is there, and where they came from. */
static void note_batch(struct wgt_peer *peer, struct wgt_keypair *pair,
		       const struct wgt_endpoint *from, unsigned int count, unsigned int bytes,
		       bool data)
{
	wgt_peer_set_endpoint(peer, from);
	/* Before what was staged is sent, which waits for an answer of its own. */
	wgt_timers_any_received(peer);
	wgt_timers_any_traversal(peer);
	if (data)
		wgt_timers_data_received(peer);
	if (unlikely(wgt_keypair_confirm(peer, pair))) {
		wgt_timers_handshake_complete(peer);
		peer->wg->pipeline->drain(peer);
	}
	refresh_after_receive(peer, pair);
	atomic64_add(bytes, &peer->rx_bytes);
	count_received(peer->wg->dev, count, bytes);
}

/* The packets of a lane are its trunk's; false where that is down, and they are gone. */
static bool receive_for(struct net_device *trunk, struct wgt_device *wg, struct sk_buff_head *good)
{
	struct sk_buff *skb;

	if (unlikely(!netif_running(trunk))) {
		wgt_drop(wg, RX_TRUNK_DOWN, skb_queue_len(good));
		while ((skb = __skb_dequeue(good)))
			kfree_skb(skb);
		return false;
	}
	skb_queue_walk(good, skb)
		skb->dev = trunk;
	wgt_trunk_count_received(trunk, skb_queue_len(good), bytes_of(good));
	return true;
}

void wgt_inbound_batch(struct wgt_cpu *self, struct wgt_device *wg, struct sk_buff_head *batch)
{
	const struct wgt_msg_data *msg = (struct wgt_msg_data *)skb_peek(batch)->data;
	unsigned int received = skb_queue_len(batch), count, bytes = 0;
	struct sk_buff_head opened, good;
	struct wgt_endpoint from;
	struct net_device *trunk = rcu_dereference(wg->lane.trunk);
	struct wgt_keypair *pair;
	struct wgt_peer *peer;
	struct sk_buff *skb;
	bool data = false;

	if (trace_wgt_received_enabled())
		trace_wgt_received(wg->dev, received, bytes_of(batch));
	pair = receiving_pair(wg, msg, received);
	if (unlikely(!pair || wgt_endpoint_from_skb(&from, skb_peek(batch)))) {
		DEV_STATS_ADD(wg->dev, rx_errors, received);
		goto free;
	}
	peer = pair->entry.peer;
	if (unlikely(READ_ONCE(peer->dead))) {
		wgt_drop(wg, RX_NO_KEY, received);
		goto free;
	}

	__skb_queue_head_init(&opened);
	while ((skb = __skb_dequeue(batch))) {
		skb = open_one(self, wg, pair, skb);
		if (likely(skb))
			__skb_queue_tail(&opened, skb);
	}
	drop_replayed(wg, pair, &opened);
	count = skb_queue_len(&opened);
	if (unlikely(!count))
		return;

	__skb_queue_head_init(&good);
	while ((skb = __skb_dequeue(&opened))) {
		bytes += WGT_DATA_OVERHEAD + skb->len;
		if (!skb->len) {
			wgt_count(wg, RX_KEEPALIVE, 1);
			consume_skb(skb);
			continue;
		}
		data = true;
		if (inner_is_good(wg, peer, skb))
			__skb_queue_tail(&good, skb);
		else
			kfree_skb(skb);
	}
	note_batch(peer, pair, &from, count, bytes, data);
	if (trunk && !receive_for(trunk, wg, &good))
		return;
	if (trace_wgt_decrypted_enabled())
		trace_wgt_decrypted(wg->dev, skb_queue_len(&good), bytes_of(&good));
	if (received > 1) {
		wgt_count(wg, RX_BATCHES, 1);
		wgt_count(wg, RX_BATCHED, received);
	}
	if (!skb_queue_empty(&good))
		deliver(self, wg, &good, received > 1);
	return;
free:
	while ((skb = __skb_dequeue(batch)))
		kfree_skb(skb);
}

/* To the home CPU, or worked on here. */
static void receive(struct wgt_cpu *self, struct wgt_device *wg, struct sk_buff_head *batch)
{
	if (!wgt_hand_over(self, wg, batch))
		wgt_inbound_batch(self, wg, batch);
}

void wgt_inbound_pieces(struct wgt_cpu *self, struct wgt_cpu *owner)
{
	struct sk_buff_head batch;

	__skb_queue_head_init(&batch);
	skb_queue_splice_init(&owner->pieces, &batch);
	receive(self, owner->pieces_wg, &batch);
}

/* Is it under the same receiver index and from the same source? */
static bool belongs_to(const struct sk_buff *skb, const struct sk_buff *first)
{
	const struct wgt_msg_data *a = (struct wgt_msg_data *)first->data;
	const struct wgt_msg_data *b = (struct wgt_msg_data *)skb->data;

	if (a->receiver != b->receiver || first->protocol != skb->protocol ||
	    first->skb_iif != skb->skb_iif || udp_hdr(first)->source != udp_hdr(skb)->source)
		return false;
	if (skb->protocol == htons(ETH_P_IP))
		return ip_hdr(first)->saddr == ip_hdr(skb)->saddr &&
		       ip_hdr(first)->daddr == ip_hdr(skb)->daddr;
	return ipv6_addr_equal(&ipv6_hdr(first)->saddr, &ipv6_hdr(skb)->saddr) &&
	       ipv6_addr_equal(&ipv6_hdr(first)->daddr, &ipv6_hdr(skb)->daddr);
}

void wgt_inbound(struct wgt_device *wg, struct sk_buff *skb, bool more)
{
	struct wgt_cpu *self = wgt_this_cpu();
	struct sk_buff_head batch;

	if (unlikely(!skb_queue_empty(&self->pieces)) &&
	    (self->pieces_wg != wg || !belongs_to(skb, skb_peek(&self->pieces))))
		wgt_inbound_pieces(self, self);

	/* Inside of a batch there is no poll to come if the last piece does not. */
	if ((!more && skb_queue_empty(&self->pieces)) || self->rx_busy || !wgt_gro_open(self)) {
		__skb_queue_head_init(&batch);
		__skb_queue_tail(&batch, skb);
		receive(self, wg, &batch);
		return;
	}
	/* They may outlive what these are borrowed from. */
	skb_dst_drop(skb);
	skb_orphan(skb);
	skb->dev = wg->dev;
	self->pieces_wg = wg;
	__skb_queue_tail(&self->pieces, skb);
	if (!more)
		wgt_inbound_pieces(self, self);
}
