// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/checksum.h>

#include "keypair.h"
#include "pipeline.h"
#include "seal.h"
#include "superpacket.h"

/* A message is in one piece, so that the cipher runs over it in one go. */
#define PIECE_MAX	(PAGE_SIZE << PAGE_ALLOC_COSTLY_ORDER)

/* UDP's and IP's lengths have 16 bits. */
#define PAYLOAD_MAX	(IP_MAX_MTU - sizeof(struct ipv6hdr) - sizeof(struct udphdr))

/* What is segmented here; of others the kernel knows how. */
#define GSO_TCP		(SKB_GSO_TCPV4 | SKB_GSO_TCPV6)
#define GSO_KNOWN	(GSO_TCP | SKB_GSO_TCP_ECN | SKB_GSO_TCP_FIXEDID | SKB_GSO_UDP_L4 | \
			 SKB_GSO_DODGY)

/* Flags in the TCP header's byte 13 (RFC 9293, section 3.1). */
#define TCP_FLAGS	13
#define TCP_FIN		0x01
#define TCP_PSH		0x08
#define TCP_CWR		0x80

/* IPv6 GSO packets longer than IPv6's length can say have a jumbo option, but on later kernels. */
#define JUMBO_ABOVE	(U16_MAX + sizeof(struct ipv6hdr))

/**
 * struct jumbo_header - hop-by-hop options that are just that (RFC 2675)
 * @next: header that follows
 * @length: of this one, 0
 * @option: IPV6_TLV_JUMBO
 * @option_length: of @payload_length
 * @payload_length: not needed here
 */
struct jumbo_header {
	u8 next;
	u8 length;
	u8 option;
	u8 option_length;
	__be32 payload_length;
};

/**
 * struct super - a superpacket being filled
 * @skb: it
 * @size: of each message but the last
 * @frag: where the next goes
 * @offset: same, within the fragment
 */
struct super {
	struct sk_buff *skb;
	unsigned int size;
	unsigned int frag;
	unsigned int offset;
};

/**
 * struct cutter - a GSO packet being cut into segments
 * @skb: it
 * @header: bytes of IP and transport header
 * @transport: where the latter begins
 * @payload: bytes behind
 * @size: of them in each segment
 * @count: segments
 * @fixed_id: all have the same IPv4 identification
 */
struct cutter {
	struct sk_buff *skb;
	unsigned int header;
	unsigned int transport;
	unsigned int payload;
	unsigned int size;
	unsigned int count;
	bool fixed_id;
};

static bool cutter_init(struct cutter *cutter, struct sk_buff *skb)
{
	const struct skb_shared_info *shared = skb_shinfo(skb);
	unsigned int least = skb->protocol == htons(ETH_P_IP) ? sizeof(struct iphdr) :
								sizeof(struct ipv6hdr);
	unsigned int transport = skb_transport_offset(skb);
	bool udp = shared->gso_type & SKB_GSO_UDP_L4;
	unsigned int header;

	if (shared->gso_type & ~GSO_KNOWN || skb->encapsulation ||
	    skb->ip_summed != CHECKSUM_PARTIAL || !shared->gso_size ||
	    !skb_transport_header_was_set(skb) || transport < least || transport > U16_MAX ||
	    skb_checksum_start_offset(skb) != transport)
		return false;
	header = transport + (udp ? sizeof(struct udphdr) : sizeof(struct tcphdr));
	if (!pskb_may_pull(skb, header))
		return false;
	if (!udp) {
		if (tcp_hdrlen(skb) < sizeof(struct tcphdr))
			return false;
		header = transport + tcp_hdrlen(skb);
		if (!pskb_may_pull(skb, header))
			return false;
	}
	if (skb->len <= header)
		return false;

	cutter->skb = skb;
	cutter->header = header;
	cutter->transport = transport;
	cutter->payload = skb->len - header;
	cutter->size = skb_shinfo(skb)->gso_size;
	cutter->count = DIV_ROUND_UP(cutter->payload, cutter->size);
	cutter->fixed_id = skb_shinfo(skb)->gso_type & SKB_GSO_TCP_FIXEDID;
	return true;
}

/* Length of segment @i, with its headers. */
static unsigned int segment_length(const struct cutter *cutter, unsigned int i)
{
	unsigned int payload = cutter->size;

	if (i == cutter->count - 1)
		payload = cutter->payload - i * cutter->size;
	return cutter->header + payload;
}

static void renumber_ip(const struct cutter *cutter, u8 *to, unsigned int len, unsigned int i)
{
	struct ipv6hdr *ip6 = (struct ipv6hdr *)to;
	struct iphdr *ip = (struct iphdr *)to;

	if (ip->version != 4) {
		ip6->payload_len = htons(len - sizeof(*ip6));
		return;
	}
	ip->tot_len = htons(len);
	if (!cutter->fixed_id)
		ip->id = htons(ntohs(ip->id) + i);
	ip_send_check(ip);
}

/* The checksum field holds the pseudo header's sum; its length, that of @all, becomes @len. */
static __wsum pseudo_header(__sum16 sum, unsigned int all, unsigned int len)
{
	return csum_add(csum_sub(csum_unfold(sum), (__force __wsum)htonl(all)),
			(__force __wsum)htonl(len));
}

static void renumber_tcp(const struct cutter *cutter, u8 *to, unsigned int len, unsigned int i,
			 __wsum sum)
{
	struct tcphdr *tcp = (struct tcphdr *)(to + cutter->transport);
	u8 *flags = (u8 *)tcp + TCP_FLAGS;

	sum = csum_add(sum, pseudo_header(tcp->check, cutter->skb->len - cutter->transport,
					  len - cutter->transport));
	tcp->seq = htonl(ntohl(tcp->seq) + i * cutter->size);
	if (i)
		*flags &= ~TCP_CWR;
	if (i != cutter->count - 1)
		*flags &= ~(TCP_FIN | TCP_PSH);
	tcp->check = 0;
	tcp->check = csum_fold(csum_partial(tcp, cutter->header - cutter->transport, sum));
}

static void renumber_udp(const struct cutter *cutter, u8 *to, unsigned int len, __wsum sum)
{
	struct udphdr *udp = (struct udphdr *)(to + cutter->transport);

	sum = csum_add(sum, pseudo_header(udp->check, ntohs(udp->len), len - cutter->transport));
	udp->len = htons(len - cutter->transport);
	udp->check = 0;
	udp->check = csum_fold(csum_partial(udp, sizeof(*udp), sum)) ?: CSUM_MANGLED_0;
}

/* Segment @i at @to; its checksum is computed as its payload is copied. */
static void cut_segment(const struct cutter *cutter, unsigned int i, u8 *to)
{
	unsigned int len = segment_length(cutter, i);
	__wsum sum;

	memcpy(to, cutter->skb->data, cutter->header);
	sum = skb_copy_and_csum_bits(cutter->skb, cutter->header + i * cutter->size,
				     to + cutter->header, len - cutter->header);
	renumber_ip(cutter, to, len, i);
	if (skb_shinfo(cutter->skb)->gso_type & SKB_GSO_UDP_L4)
		renumber_udp(cutter, to, len, sum);
	else
		renumber_tcp(cutter, to, len, i, sum);
}

/* Adds a fragment with room for up to @count messages; returns for how many. */
static unsigned int add_fragment(struct super *super, unsigned int count)
{
	unsigned int index = skb_shinfo(super->skb)->nr_frags;
	int order, least = get_order(super->size);
	struct page *page;

	if (unlikely(index == MAX_SKB_FRAGS))
		return 0;
	count = min_t(unsigned int, count, PIECE_MAX / super->size);
	for (order = get_order(count * super->size); order >= least; order--) {
		page = alloc_pages(GFP_ATOMIC | __GFP_NOWARN | __GFP_COMP |
				   (order ? __GFP_NORETRY | __GFP_NOMEMALLOC : 0), order);
		if (likely(page))
			break;
	}
	if (unlikely(order < least))
		return 0;
	count = min_t(unsigned int, count, (PAGE_SIZE << order) / super->size);
	skb_add_rx_frag(super->skb, index, page, 0, count * super->size, PAGE_SIZE << order);
	return count;
}

/* Room for @count messages of @size; the last may turn out shorter. */
static bool super_init(struct super *super, unsigned int size, unsigned int count)
{
	struct sk_buff *skb = alloc_skb(WGT_HEADROOM, GFP_ATOMIC | __GFP_NOWARN);
	unsigned int n;

	if (unlikely(!skb))
		return false;
	skb_reserve(skb, WGT_HEADROOM);
	super->skb = skb;
	super->size = size;
	super->frag = 0;
	super->offset = 0;
	for (; count; count -= n) {
		n = add_fragment(super, count);
		if (unlikely(!n)) {
			kfree_skb(skb);
			return false;
		}
	}
	return true;
}

static u8 *super_next(struct super *super)
{
	const skb_frag_t *frag = &skb_shinfo(super->skb)->frags[super->frag];
	u8 *at = (u8 *)skb_frag_address(frag) + super->offset;

	super->offset += super->size;
	if (super->offset == skb_frag_size(frag)) {
		super->frag++;
		super->offset = 0;
	}
	return at;
}

/* It is filled: the last of its @count messages has @last bytes. */
static struct sk_buff *super_finish(struct super *super, unsigned int count, unsigned int last)
{
	struct skb_shared_info *shared = skb_shinfo(super->skb);
	unsigned int excess = super->size - last;
	struct sk_buff *skb = super->skb;

	skb_frag_size_sub(&shared->frags[shared->nr_frags - 1], excess);
	skb->data_len -= excess;
	skb->len -= excess;
	if (count > 1) {
		shared->gso_type = SKB_GSO_UDP_L4;
		shared->gso_size = super->size;
		shared->gso_segs = count;
		skb->ip_summed = CHECKSUM_PARTIAL;
		skb->csum_start = skb_headroom(skb) - sizeof(struct udphdr);
		skb->csum_offset = offsetof(struct udphdr, check);
	}
	return skb;
}

/*
 * The kernel's own segmentation takes it out, too; on 6.1 wrongly, where there
 * is no Ethernet header in front.
 */
bool wgt_super_plain(struct sk_buff *skb)
{
	const struct jumbo_header *jumbo;
	u8 transport;

	if (likely(skb->len <= JUMBO_ABOVE) || skb->protocol != htons(ETH_P_IPV6))
		return true;
	if (!pskb_may_pull(skb, sizeof(struct ipv6hdr) + sizeof(*jumbo)))
		return false;
	jumbo = (const struct jumbo_header *)(skb->data + sizeof(struct ipv6hdr));
	if (ipv6_hdr(skb)->nexthdr != NEXTHDR_HOP || jumbo->length ||
	    jumbo->option != IPV6_TLV_JUMBO)
		return true;
	transport = jumbo->next;
	if (skb_cow_head(skb, 0))
		return false;
	memmove(skb->data + sizeof(*jumbo), skb->data, sizeof(struct ipv6hdr));
	__skb_pull(skb, sizeof(*jumbo));
	skb_reset_mac_header(skb);
	skb_reset_network_header(skb);
	ipv6_hdr(skb)->nexthdr = transport;
	return true;
}

unsigned int wgt_super_segments(struct sk_buff *skb, unsigned int mtu)
{
	struct cutter cutter;

	if (!cutter_init(&cutter, skb) || cutter.count < 2 ||
	    wgt_message_length(segment_length(&cutter, 0), mtu) > PIECE_MAX)
		return 0;
	return cutter.count;
}

/* Segments from @first on, @count of them, go into one superpacket. */
static struct sk_buff *seal_segments(const struct cutter *cutter, unsigned int first,
				     unsigned int count, struct wgt_keypair *pair, u64 counter)
{
	unsigned int mtu = wgt_cb(cutter->skb)->mtu;
	unsigned int i, len, message = 0;
	struct super super;
	u8 *to;

	if (!super_init(&super, wgt_message_length(segment_length(cutter, first), mtu), count))
		return NULL;
	for (i = first; i < first + count; i++) {
		to = super_next(&super);
		len = segment_length(cutter, i);
		message = wgt_message_length(len, mtu);
		cut_segment(cutter, i, to + sizeof(struct wgt_msg_data));
		wgt_seal_flat(to, len, message, pair, counter + i);
	}
	return super_finish(&super, count, message);
}

int wgt_super_seal_gso(struct sk_buff *skb, struct wgt_keypair *pair, u64 counter,
		       struct sk_buff_head *out)
{
	unsigned int limit, parts, i, first = 0, count;
	struct sk_buff_head made;
	struct cutter cutter;
	struct sk_buff *each;

	if (WARN_ON_ONCE(!cutter_init(&cutter, skb)))
		return -ENOMEM;
	limit = PAYLOAD_MAX / wgt_message_length(segment_length(&cutter, 0), wgt_cb(skb)->mtu);
	limit = clamp_t(unsigned int, limit, 1, WGT_SUPER_SEGMENTS);
	/* Where one does not hold all, none is much smaller than the others. */
	parts = DIV_ROUND_UP(cutter.count, limit);

	__skb_queue_head_init(&made);
	for (i = 0; i < parts; i++) {
		count = DIV_ROUND_UP(cutter.count - first, parts - i);
		each = seal_segments(&cutter, first, count, pair, counter);
		if (unlikely(!each))
			goto fail;
		skb_copy_hash(each, skb);
		wgt_cb(each)->tos = wgt_cb(skb)->tos;
		__skb_queue_tail(&made, each);
		first += count;
	}
	wgt_move_owner(skb_peek_tail(&made), skb);
	skb_queue_splice_tail(&made, out);
	consume_skb(skb);
	return 0;
fail:
	while ((each = __skb_dequeue(&made)))
		kfree_skb(each);
	return -ENOMEM;
}

static unsigned int length_of(struct sk_buff *skb)
{
	return wgt_message_length(skb->len, wgt_cb(skb)->mtu);
}

/* How many of the first can go into one superpacket. */
static unsigned int count_equal(struct sk_buff_head *list)
{
	struct sk_buff *first = skb_peek(list), *skb;
	unsigned int size = length_of(first), len, count = 0, bytes = 0;

	if (size > PIECE_MAX)
		return 1;
	skb_queue_walk(list, skb) {
		len = length_of(skb);
		bytes += len;
		if (len > size || bytes > PAYLOAD_MAX || wgt_cb(skb)->tos != wgt_cb(first)->tos)
			break;
		count++;
		if (len < size || count == WGT_SUPER_SEGMENTS)
			break;
	}
	return count;
}

struct sk_buff *wgt_super_seal_list(struct sk_buff_head *list, struct wgt_keypair *pair,
				    u64 counter)
{
	unsigned int count = count_equal(list), i, message = 0;
	struct sk_buff *skb, *out;
	struct super super;
	u8 *to;

	if (count < 2 || !super_init(&super, length_of(skb_peek(list)), count))
		return NULL;
	out = super.skb;
	skb_copy_hash(out, skb_peek(list));
	wgt_cb(out)->tos = wgt_cb(skb_peek(list))->tos;
	for (i = 0; i < count; i++) {
		skb = __skb_dequeue(list);
		to = super_next(&super);
		message = length_of(skb);
		wgt_flatten(skb, to + sizeof(struct wgt_msg_data));
		wgt_seal_flat(to, skb->len, message, pair, counter + i);
		if (i == count - 1)
			break;
		consume_skb(skb);
	}
	super_finish(&super, count, message);
	wgt_move_owner(out, skb);
	consume_skb(skb);
	return out;
}

bool wgt_super_split(struct sk_buff_head *batch)
{
	struct sk_buff *skb = __skb_dequeue(batch), *segments, *next;
	struct wgt_cb cb = *wgt_cb(skb);

	segments = skb_gso_segment(skb, 0);
	if (IS_ERR_OR_NULL(segments)) {
		*wgt_cb(skb) = cb;
		__skb_queue_tail(batch, skb);
		return false;
	}
	/* Of a list of packets it is the first segment itself, with one reference more. */
	consume_skb(skb);
	cb.segments = 1;
	skb_list_walk_safe(segments, skb, next) {
		skb_mark_not_on_list(skb);
		*wgt_cb(skb) = cb;
		__skb_queue_tail(batch, skb);
	}
	return true;
}
