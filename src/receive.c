// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/udp.h>
#include <net/ip.h>

#include "device.h"
#include "handshake.h"
#include "messages.h"
#include "pipeline.h"

/* Strips the UDP header. skb->len is what the outer headers say it is, or less. */
static bool pull_udp(struct sk_buff *skb)
{
	unsigned int len;

	if (!pskb_may_pull(skb, sizeof(struct udphdr) + sizeof(__le32)))
		return false;
	skb_reset_transport_header(skb);
	len = ntohs(udp_hdr(skb)->len);
	if (len < sizeof(struct udphdr) || len > skb->len || pskb_trim(skb, len))
		return false;
	__skb_pull(skb, sizeof(struct udphdr));
	return skb->len >= sizeof(__le32);
}

/* Type of the message whose length is right for it, and whose head is linear; else 0. */
static u32 message_type(struct sk_buff *skb)
{
	static const unsigned int fixed[] = {
		[WGT_MSG_INITIATION] = sizeof(struct wgt_msg_initiation),
		[WGT_MSG_RESPONSE] = sizeof(struct wgt_msg_response),
		[WGT_MSG_COOKIE] = sizeof(struct wgt_msg_cookie),
	};
	u32 type = le32_to_cpup((__le32 *)skb->data);

	switch (type) {
	case WGT_MSG_DATA:
		return skb->len >= WGT_DATA_OVERHEAD &&
		       pskb_may_pull(skb, sizeof(struct wgt_msg_data)) ? type : 0;
	case WGT_MSG_INITIATION:
	case WGT_MSG_RESPONSE:
	case WGT_MSG_COOKIE:
		return skb->len == fixed[type] && !skb_linearize(skb) ? type : 0;
	default:
		return 0;
	}
}

static u8 outer_tos(const struct sk_buff *skb)
{
	return skb->protocol == htons(ETH_P_IPV6) ? ipv6_get_dsfield(ipv6_hdr(skb)) :
						    ip_hdr(skb)->tos;
}

int wgt_receive(struct sock *sk, struct sk_buff *skb)
{
	struct wgt_device *wg = rcu_dereference_sk_user_data(sk);
	/* UDP cuts an aggregate, and comes here for each piece of that list in turn. */
	bool more = skb->next;

	skb_mark_not_on_list(skb);
	if (unlikely(!wg)) {
		kfree_skb(skb);
		return 0;
	}
	if (unlikely(!skb_frags_readable(skb))) {
		wgt_drop(wg, RX_UNREADABLE, 1);
		goto drop;
	}
	skb = skb_share_check(skb, GFP_ATOMIC);
	if (unlikely(!skb)) {
		wgt_drop(wg, RX_NO_MEMORY, 1);
		return 0;
	}
	if (unlikely(!pull_udp(skb)))
		goto malformed;

	switch (message_type(skb)) {
	case WGT_MSG_DATA:
		wgt_cb(skb)->tos = outer_tos(skb);
		wg->pipeline->receive(wg, skb, more);
		return 0;
	case WGT_MSG_INITIATION:
	case WGT_MSG_RESPONSE:
	case WGT_MSG_COOKIE:
		wgt_handshake_receive(wg, skb);
		return 0;
	}

malformed:
	wgt_drop(wg, RX_MALFORMED, 1);
drop:
	DEV_STATS_INC(wg->dev, rx_errors);
	kfree_skb(skb);
	return 0;
}
