// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/random.h>
#include <linux/rhashtable.h>
#include <linux/siphash.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "ratelimit.h"

/* A bucket holds time: a message costs some, and it fills up as fast as the clock goes. */
#define COST		(NSEC_PER_SEC / 20)
#define CAPACITY	(5 * COST)
/* A bucket idle for so long is full, as a new one would be. */
#define IDLE		((u64)NSEC_PER_SEC)

/* No padding: it is hashed and compared as a whole. */
struct source {
	unsigned long net;
	unsigned long is_ipv6;
	__be32 prefix[2];
};

struct bucket {
	struct rhash_head node;
	struct source source;
	spinlock_t lock;	/* for the rest */
	u64 filled;		/* when @content was right */
	u64 content;
	struct rcu_head rcu;
};

static void collect_idle(struct work_struct *work);

static DEFINE_MUTEX(users_lock);
static unsigned int users;
static struct rhashtable buckets;
static atomic_t bucket_count;
static int max_buckets;
static siphash_key_t hash_secret __read_mostly;
static DECLARE_DELAYED_WORK(collector, collect_idle);

/* Sources are chosen by others: the hash must not be predictable. */
static u32 hash_source(const void *key, u32 len, u32 seed)
{
	siphash_key_t seeded = hash_secret;

	seeded.key[0] ^= seed;
	return siphash(key, sizeof(struct source), &seeded);
}

static const struct rhashtable_params bucket_params = {
	.key_len = sizeof_field(struct bucket, source),
	.key_offset = offsetof(struct bucket, source),
	.head_offset = offsetof(struct bucket, node),
	.hashfn = hash_source,
	.automatic_shrinking = true,
};

static void free_bucket(struct rcu_head *rcu)
{
	kfree(container_of(rcu, struct bucket, rcu));
}

static void drop_bucket(void *bucket, void *unused)
{
	kfree(bucket);
}

static bool is_idle(struct bucket *bucket, u64 now)
{
	bool idle;

	spin_lock_bh(&bucket->lock);
	idle = bucket->filled + IDLE < now;
	spin_unlock_bh(&bucket->lock);
	return idle;
}

static void collect_idle(struct work_struct *work)
{
	u64 now = ktime_get_coarse_boottime_ns();
	struct rhashtable_iter iter;
	struct bucket *bucket;

	rhashtable_walk_enter(&buckets, &iter);
	rhashtable_walk_start(&iter);
	while ((bucket = rhashtable_walk_next(&iter))) {
		/* The table was resized: some are seen again, some are left for next time. */
		if (IS_ERR(bucket))
			continue;
		if (is_idle(bucket, now) &&
		    !rhashtable_remove_fast(&buckets, &bucket->node, bucket_params)) {
			atomic_dec(&bucket_count);
			call_rcu(&bucket->rcu, free_bucket);
		}
		if (need_resched()) {
			rhashtable_walk_stop(&iter);
			cond_resched();
			rhashtable_walk_start(&iter);
		}
	}
	rhashtable_walk_stop(&iter);
	rhashtable_walk_exit(&iter);

	if (atomic_read(&bucket_count))
		queue_delayed_work(system_power_efficient_wq, &collector, HZ);
}

/* Add a full bucket, or find the one that another CPU just added. */
static struct bucket *add_bucket(const struct source *source)
{
	struct bucket *bucket, *other;

	if (atomic_inc_return(&bucket_count) > max_buckets)
		goto none;
	bucket = kmalloc(sizeof(*bucket), GFP_ATOMIC | __GFP_NOWARN);
	if (!bucket)
		goto none;
	bucket->source = *source;
	spin_lock_init(&bucket->lock);
	bucket->filled = ktime_get_coarse_boottime_ns();
	bucket->content = CAPACITY;

	other = rhashtable_lookup_get_insert_fast(&buckets, &bucket->node, bucket_params);
	if (other) {
		kfree(bucket);
		atomic_dec(&bucket_count);
		return IS_ERR(other) ? NULL : other;
	}
	queue_delayed_work(system_power_efficient_wq, &collector, HZ);
	return bucket;
none:
	atomic_dec(&bucket_count);
	return NULL;
}

static bool take_from(struct bucket *bucket)
{
	bool enough;
	u64 now;

	spin_lock_bh(&bucket->lock);
	now = ktime_get_boottime_ns();
	if (now > bucket->filled) {
		bucket->content = min_t(u64, bucket->content + now - bucket->filled, CAPACITY);
		bucket->filled = now;
	}
	enough = bucket->content >= COST;
	if (enough)
		bucket->content -= COST;
	spin_unlock_bh(&bucket->lock);
	return enough;
}

bool wgt_ratelimit_allow(struct sk_buff *skb, struct net *net)
{
	struct source source = { .net = (unsigned long)net };
	struct bucket *bucket;
	bool allowed;

	if (skb->protocol == htons(ETH_P_IP)) {
		source.prefix[0] = ip_hdr(skb)->saddr;
	} else if (skb->protocol == htons(ETH_P_IPV6)) {
		source.is_ipv6 = true;
		memcpy(source.prefix, &ipv6_hdr(skb)->saddr, sizeof(source.prefix));
	} else {
		return false;
	}

	rcu_read_lock();
	bucket = rhashtable_lookup(&buckets, &source, bucket_params);
	if (!bucket)
		bucket = add_bucket(&source);
	allowed = bucket && take_from(bucket);
	rcu_read_unlock();
	return allowed;
}

/* One for each 64 KiB of memory, so that they can't take more than about 0.2% of it. */
static int fit_to_memory(void)
{
	return clamp_t(unsigned long, totalram_pages() >> (16 - min(16, PAGE_SHIFT)), 1 << 10,
		       1 << 16);
}

int wgt_ratelimit_get(void)
{
	int err = 0;

	mutex_lock(&users_lock);
	if (users++)
		goto out;
	max_buckets = fit_to_memory();
	get_random_bytes(&hash_secret, sizeof(hash_secret));
	err = rhashtable_init(&buckets, &bucket_params);
	if (err)
		users--;
out:
	mutex_unlock(&users_lock);
	return err;
}

void wgt_ratelimit_put(void)
{
	mutex_lock(&users_lock);
	if (--users)
		goto out;
	/* No device is left to ask: the collector is the last who uses the table. */
	cancel_delayed_work_sync(&collector);
	rhashtable_free_and_destroy(&buckets, drop_bucket, NULL);
	atomic_set(&bucket_count, 0);
	rcu_barrier();
out:
	mutex_unlock(&users_lock);
}
