// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/scatterlist.h>
#include <linux/udp.h>
#include <net/sock.h>

#include "keypair.h"
#include "pipeline.h"
#include "seal.h"

/* The longest packet that is put into one piece of memory, of order 3 at most. */
#define LINEAR_MAX	(SKB_WITH_OVERHEAD(PAGE_SIZE << PAGE_ALLOC_COSTLY_ORDER) - \
			 WGT_HEADROOM - WGT_DATA_OVERHEAD - 2 * WGT_PADDING)
/* Of longer ones this much is linear, so that headers are. */
#define PAGED_HEAD	256

#define GFP_PACKET	(GFP_ATOMIC | __GFP_NOWARN)

/* Padding to 16 bytes, but not beyond the MTU (section 5.4.6). */
static unsigned int padding_of(unsigned int len, unsigned int mtu)
{
	unsigned int padded = ALIGN(len, WGT_PADDING);

	if (!mtu)
		return padded - len;
	/* More than one MTU in one packet: the last piece is what counts. */
	if (len > mtu)
		len %= mtu;
	return min(mtu, ALIGN(len, WGT_PADDING)) - len;
}

/* Nothing of its former life must show: as the peer sent it, or as a tunnel makes it. */
static void scrub(struct sk_buff *skb, bool keep_hash)
{
	bool sw_hash = skb->sw_hash, l4_hash = skb->l4_hash;
	u16 alloc_cpu = skb->alloc_cpu;
	u32 hash = skb->hash;

	skb_scrub_packet(skb, true);
	skb_metadata_clear(skb);
	skb_gso_reset(skb);
	__vlan_hwaccel_clear_tag(skb);
	memset(&skb->headers, 0, sizeof(skb->headers));
	/* Where its memory goes back to. */
	skb->alloc_cpu = alloc_cpu;
	skb->nohdr = 0;
	skb->peeked = 0;
	if (keep_hash) {
		skb->hash = hash;
		skb->sw_hash = sw_hash;
		skb->l4_hash = l4_hash;
	}
	skb->mac_len = 0;
	skb->queue_mapping = 0;
	skb_reset_mac_header(skb);
	skb_reset_network_header(skb);
	skb_reset_transport_header(skb);
	skb_reset_inner_headers(skb);
}

static bool writable_in_place(const struct sk_buff *skb)
{
	return !skb_is_nonlinear(skb) && !skb_cloned(skb) && !skb_shared(skb);
}

/*
 * The only two owners whose accounting may move to another skb. One that a queue
 * took the packet from, as netem does, still has the socket, which is charged for
 * nothing any more.
 */
static bool owner_can_move(const struct sk_buff *skb)
{
	return skb->sk && skb->destructor && skb->destructor != sock_efree &&
	       (skb->destructor == sock_wfree || (sk_fullsock(skb->sk) && sk_is_tcp(skb->sk)));
}

void wgt_move_owner(struct sk_buff *to, struct sk_buff *from)
{
	int delta = to->truesize - from->truesize;

	if (!owner_can_move(from))
		return;
	to->sk = from->sk;
	to->destructor = from->destructor;
	from->sk = NULL;
	from->destructor = NULL;
	/*
	 * The last segment of a GSO packet was charged for all of it: that stays
	 * so until it is sent.
	 */
	if (delta > 0)
		refcount_add(delta, &to->sk->sk_wmem_alloc);
	else
		to->truesize = from->truesize;
}

static struct sk_buff *alloc_linear(unsigned int headroom, unsigned int len)
{
	struct sk_buff *skb = alloc_skb(headroom + len, GFP_PACKET);

	if (likely(skb))
		skb_reserve(skb, headroom);
	return skb;
}

/* @len bytes of skb->len, of which @head are linear; memory of order 3 at most. */
static struct sk_buff *alloc_paged(unsigned int headroom, unsigned int head, unsigned int len)
{
	struct sk_buff *skb;
	int err;

	skb = alloc_skb_with_frags(headroom + head, len - head, PAGE_ALLOC_COSTLY_ORDER, &err,
				   GFP_PACKET);
	if (!skb)
		return NULL;
	skb_reserve(skb, headroom);
	skb_put(skb, head);
	skb->data_len = len - head;
	skb->len += len - head;
	return skb;
}

/* Copies @len bytes of @from, from @from_offset on, to @offset of @to, which has pages. */
static int copy_to_paged(struct sk_buff *to, unsigned int offset, struct sk_buff *from,
			 unsigned int from_offset, unsigned int len)
{
	struct skb_seq_state state;
	unsigned int done = 0, n;
	const u8 *data;
	int ret = 0;

	skb_prepare_seq_read(from, from_offset, from_offset + len, &state);
	while (done < len) {
		n = skb_seq_read(done, &data, &state);
		/* It gives whole pieces, the last of which may be longer than was asked for. */
		n = min(n, len - done);
		ret = n ? skb_store_bits(to, offset + done, data, n) : -EFAULT;
		if (ret)
			break;
		done += n;
	}
	skb_abort_seq_read(&state);
	return ret;
}

static void write_header(struct wgt_msg_data *msg, const struct wgt_keypair *pair, u64 counter)
{
	msg->type = cpu_to_le32(WGT_MSG_DATA);
	msg->receiver = pair->remote_index;
	msg->counter = cpu_to_le64(counter);
}

unsigned int wgt_message_length(unsigned int len, unsigned int mtu)
{
	return WGT_DATA_OVERHEAD + len + padding_of(len, mtu);
}

void wgt_seal_flat(u8 *message, unsigned int len, unsigned int size, struct wgt_keypair *pair,
		   u64 counter)
{
	u8 *plain = message + sizeof(struct wgt_msg_data);

	memset(plain + len, 0, size - WGT_DATA_OVERHEAD - len);
	chacha20poly1305_encrypt(plain, plain, size - WGT_DATA_OVERHEAD, NULL, 0, counter,
				 pair->send_key);
	write_header((struct wgt_msg_data *)message, pair, counter);
}

static struct sk_buff *seal_in_place(struct sk_buff *skb, struct wgt_keypair *pair, u64 counter,
				     unsigned int padding)
{
	unsigned int plain = skb->len + padding;

	__skb_put_zero(skb, padding);
	__skb_put(skb, WGT_TAG_LEN);
	chacha20poly1305_encrypt(skb->data, skb->data, plain, NULL, 0, counter, pair->send_key);
	scrub(skb, true);
	write_header(__skb_push(skb, sizeof(struct wgt_msg_data)), pair, counter);
	return skb;
}

void wgt_flatten(struct sk_buff *skb, u8 *to)
{
	if (skb->ip_summed == CHECKSUM_PARTIAL) {
		__sum16 *sum = (__sum16 *)(to + skb_checksum_start_offset(skb) + skb->csum_offset);

		skb_copy_and_csum_dev(skb, to);
		/* UDP's zero means that there is none; to others both zeros are the same. */
		if (!*sum)
			*sum = CSUM_MANGLED_0;
	} else {
		skb_copy_bits(skb, 0, to, skb->len);
	}
}

static struct sk_buff *seal_to_linear(struct sk_buff *skb, struct wgt_keypair *pair, u64 counter,
				      unsigned int padding)
{
	unsigned int plain = skb->len + padding;
	struct sk_buff *out;
	u8 *message;

	out = alloc_linear(WGT_HEADROOM, plain + WGT_DATA_OVERHEAD);
	if (!out)
		return NULL;
	message = __skb_put(out, plain + WGT_DATA_OVERHEAD);
	if (!padding && !skb_is_nonlinear(skb) && skb->ip_summed != CHECKSUM_PARTIAL) {
		write_header((struct wgt_msg_data *)message, pair, counter);
		chacha20poly1305_encrypt(message + sizeof(struct wgt_msg_data), skb->data, plain,
					 NULL, 0, counter, pair->send_key);
		return out;
	}
	wgt_flatten(skb, message + sizeof(struct wgt_msg_data));
	wgt_seal_flat(message, skb->len, out->len, pair, counter);
	return out;
}

/* Own function for its scatterlist, which the usual way should not have on its stack. */
static noinline struct sk_buff *seal_to_paged(struct sk_buff *skb, struct wgt_keypair *pair,
					      u64 counter, unsigned int padding)
{
	unsigned int plain = skb->len + padding;
	static const u8 zeros[WGT_PADDING];
	struct scatterlist sg[MAX_SKB_FRAGS + 1];
	struct sk_buff *out;
	int n;

	if (skb->ip_summed == CHECKSUM_PARTIAL && skb_checksum_help(skb))
		return NULL;
	out = alloc_paged(WGT_HEADROOM, PAGED_HEAD, plain + WGT_DATA_OVERHEAD);
	if (!out)
		return NULL;
	write_header((struct wgt_msg_data *)out->data, pair, counter);
	if (copy_to_paged(out, sizeof(struct wgt_msg_data), skb, 0, skb->len) ||
	    skb_store_bits(out, sizeof(struct wgt_msg_data) + skb->len, zeros, padding))
		goto fail;
	sg_init_table(sg, ARRAY_SIZE(sg));
	n = skb_to_sgvec(out, sg, sizeof(struct wgt_msg_data), WGT_SEALED(plain));
	if (n < 0 || !chacha20poly1305_encrypt_sg_inplace(sg, plain, NULL, 0, counter,
							  pair->send_key))
		goto fail;
	return out;
fail:
	kfree_skb(out);
	return NULL;
}

struct sk_buff *wgt_seal(struct sk_buff *skb, struct wgt_keypair *pair, u64 counter)
{
	unsigned int padding = padding_of(skb->len, wgt_cb(skb)->mtu);
	struct sk_buff *out;

	if (writable_in_place(skb) && skb_tailroom(skb) >= padding + WGT_TAG_LEN &&
	    skb_headroom(skb) >= WGT_HEADROOM + sizeof(struct wgt_msg_data) &&
	    (skb->ip_summed != CHECKSUM_PARTIAL || !skb_checksum_help(skb)))
		return seal_in_place(skb, pair, counter, padding);

	if (skb->len <= LINEAR_MAX)
		out = seal_to_linear(skb, pair, counter, padding);
	else
		out = seal_to_paged(skb, pair, counter, padding);
	if (unlikely(!out)) {
		kfree_skb(skb);
		return NULL;
	}
	skb_copy_hash(out, skb);
	wgt_move_owner(out, skb);
	consume_skb(skb);
	return out;
}

/* Where @len bytes from @offset on lie in one piece, or NULL. */
static const u8 *one_piece(const struct sk_buff *skb, unsigned int offset, unsigned int len)
{
	const skb_frag_t *frag;
	int i;

	if (offset + len <= skb_headlen(skb))
		return skb->data + offset;
	if (offset < skb_headlen(skb) || skb_has_frag_list(skb))
		return NULL;
	offset -= skb_headlen(skb);
	for (i = 0; i < skb_shinfo(skb)->nr_frags; i++) {
		frag = &skb_shinfo(skb)->frags[i];
		if (offset < skb_frag_size(frag))
			return offset + len <= skb_frag_size(frag) &&
			       !PageHighMem(skb_frag_page(frag)) ?
				       skb_frag_address(frag) + offset : NULL;
		offset -= skb_frag_size(frag);
	}
	return NULL;
}

static struct sk_buff *open_in_place(struct sk_buff *skb, struct wgt_keypair *pair, u64 counter)
{
	u8 *sealed = __skb_pull(skb, sizeof(struct wgt_msg_data));

	if (!chacha20poly1305_decrypt(sealed, sealed, skb->len, NULL, 0, counter, pair->recv_key))
		return ERR_PTR(-EBADMSG);
	__skb_trim(skb, skb->len - WGT_TAG_LEN);
	skb_orphan(skb);
	scrub(skb, false);
	return skb;
}

/* Of a page's fragments, where it is no longer than that: GRO takes those over as they are. */
static struct sk_buff *alloc_for_gro(struct napi_struct *napi, unsigned int headroom,
				     unsigned int len)
{
	struct sk_buff *skb = napi_alloc_skb(napi, headroom + len);

	if (likely(skb))
		skb_reserve(skb, headroom);
	return skb;
}

static struct sk_buff *open_to_linear(struct sk_buff *skb, struct wgt_keypair *pair, u64 counter,
				      struct napi_struct *napi)
{
	unsigned int sealed = skb->len - sizeof(struct wgt_msg_data);
	struct sk_buff *out;
	const u8 *from;
	u8 *to;

	/* Forwarded packets want to be sealed or framed again in place. */
	out = alloc_for_gro(napi, WGT_HEADROOM + sizeof(struct wgt_msg_data), sealed + WGT_PADDING);
	if (!out)
		return ERR_PTR(-ENOMEM);
	to = __skb_put(out, sealed);
	from = one_piece(skb, sizeof(struct wgt_msg_data), sealed);
	if (!from) {
		skb_copy_bits(skb, sizeof(struct wgt_msg_data), to, sealed);
		from = to;
	}
	if (!chacha20poly1305_decrypt(to, from, sealed, NULL, 0, counter, pair->recv_key)) {
		kfree_skb(out);
		return ERR_PTR(-EBADMSG);
	}
	__skb_trim(out, sealed - WGT_TAG_LEN);
	return out;
}

static noinline struct sk_buff *open_to_paged(struct sk_buff *skb, struct wgt_keypair *pair,
					      u64 counter)
{
	unsigned int sealed = skb->len - sizeof(struct wgt_msg_data);
	struct scatterlist sg[MAX_SKB_FRAGS + 1];
	struct sk_buff *out;
	int n, err = -ENOMEM;

	out = alloc_paged(WGT_HEADROOM, PAGED_HEAD, sealed);
	if (!out)
		return ERR_PTR(-ENOMEM);
	if (copy_to_paged(out, 0, skb, sizeof(struct wgt_msg_data), sealed))
		goto fail;
	sg_init_table(sg, ARRAY_SIZE(sg));
	n = skb_to_sgvec(out, sg, 0, sealed);
	if (n < 0)
		goto fail;
	if (!chacha20poly1305_decrypt_sg_inplace(sg, sealed, NULL, 0, counter, pair->recv_key)) {
		err = -EBADMSG;
		goto fail;
	}
	if (pskb_trim(out, sealed - WGT_TAG_LEN))
		goto fail;
	return out;
fail:
	kfree_skb(out);
	return ERR_PTR(err);
}

struct sk_buff *wgt_open(struct sk_buff *skb, struct wgt_keypair *pair, u64 counter,
			 struct net_device *dev, struct napi_struct *napi)
{
	struct wgt_cb cb = *wgt_cb(skb);
	struct sk_buff *out;

	if (writable_in_place(skb))
		out = open_in_place(skb, pair, counter);
	else if (skb->len <= LINEAR_MAX)
		out = open_to_linear(skb, pair, counter, napi);
	else
		out = open_to_paged(skb, pair, counter);

	if (out != skb) {
		if (IS_ERR(out))
			kfree_skb(skb);
		else
			consume_skb(skb);
	}
	if (IS_ERR(out))
		return out;
	skb_reset_mac_header(out);
	skb_reset_network_header(out);
	skb_reset_transport_header(out);
	*wgt_cb(out) = cb;
	out->dev = dev;
	return out;
}
