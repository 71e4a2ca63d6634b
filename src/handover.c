// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * The inline pipeline, home CPUs. A batch that lands elsewhere goes over once,
 * whole, as it came: an entry in the home CPU's inbox, and an interrupt where
 * that was empty.
 *
 * Order within a flow: its packets land on one CPU, and an inbox keeps the order
 * they were added in. Homes change only while no batch of the device is in an
 * inbox: whoever is about to add one claims that first, in @handed, and looks
 * where home is only then. But a home CPU with more to do than it can always has
 * some: it is left after a while all the same.
 */
#include <linux/netdevice.h>

#include "device.h"
#include "inline.h"
#include "pipeline.h"
#include "trace.h"

/* So many bytes of memory may wait for a device's home CPU. */
#define HANDED_MAX	(8 << 20)

/* So much is done in one poll, at least one batch. */
#define POLL_PACKETS	64
#define POLL_BYTES	(256 << 10)

/* So long a change waits for packets that are under way. */
#define CHANGE_WAITS	HZ

/* After a change, packets of before may be in GRO lists for about that long. */
#define CHANGE_SETTLES	(HZ / 10 + 1)

static void move(struct wgt_device *wg)
{
	WRITE_ONCE(wg->home_now, READ_ONCE(wg->home));
	WRITE_ONCE(wg->home_since, jiffies);
}

/* Takes effect where nothing is under way to the old home, or has not for too long. */
static void try_to_move(struct wgt_device *wg)
{
	/* Who claims meanwhile adds to this, and spins. */
	preempt_disable();
	if (!atomic_cmpxchg(&wg->handed, 0, INT_MIN)) {
		move(wg);
		atomic_sub(INT_MIN, &wg->handed);
	} else if (time_after(jiffies, READ_ONCE(wg->home_asked) + CHANGE_WAITS)) {
		/* Packets may change places, once. */
		move(wg);
	}
	preempt_enable();
}

/* Returns the device's total. Home does not move until this is given back. */
static int claim(struct wgt_device *wg, int amount)
{
	int all = atomic_add_return(amount, &wg->handed);

	while (unlikely(all < 0)) {
		cpu_relax();
		all = atomic_read(&wg->handed);
	}
	return all;
}

/* What was borrowed goes; the batch becomes one entry of an llist. */
static struct llist_node *pack(struct wgt_device *wg, struct sk_buff_head *batch, int amount)
{
	struct sk_buff *first = __skb_dequeue(batch), *last = first, *skb;

	wgt_cb(first)->wg = wg;
	wgt_cb(first)->amount = amount;
	/* The entry's own link is in next; the others hang on prev. */
	do {
		skb_dst_drop(last);
		skb_orphan(last);
		last->dev = wg->dev;
		skb = __skb_dequeue(batch);
		last->prev = skb;
		last = skb;
	} while (last);
	return &first->ll_node;
}

static void unpack(struct llist_node *node, struct sk_buff_head *batch)
{
	struct sk_buff *skb = llist_entry(node, struct sk_buff, ll_node), *next;

	__skb_queue_head_init(batch);
	for (; skb; skb = next) {
		next = skb->prev;
		__skb_queue_tail(batch, skb);
	}
}

static bool is_for_us(struct wgt_cpu *self, struct wgt_cpu *home)
{
	return home == self && !self->backlog && llist_empty(&self->inbox);
}

static void drop(struct wgt_device *wg, struct sk_buff_head *batch)
{
	struct sk_buff *skb;

	wgt_drop(wg, RX_HANDOVER_FULL, skb_queue_len(batch));
	while ((skb = __skb_dequeue(batch))) {
		dev_core_stats_rx_dropped_inc(wg->dev);
		kfree_skb(skb);
	}
}

bool wgt_hand_over(struct wgt_cpu *self, struct wgt_device *wg, struct sk_buff_head *batch)
{
	unsigned int packets = skb_queue_len(batch);
	const struct sk_buff *skb;
	struct wgt_cpu *home;
	int amount = 0, all;
	int cpu;

	if (unlikely(READ_ONCE(wg->home_now) != READ_ONCE(wg->home)))
		try_to_move(wg);
	if (likely(READ_ONCE(wg->home_now) < 0))
		return false;

	skb_queue_walk(batch, skb)
		amount += skb->truesize;
	all = claim(wg, amount);
	cpu = READ_ONCE(wg->home_now);
	home = cpu < 0 ? self : per_cpu_ptr(wgt_cpus, cpu);
	if (cpu < 0 || !cpu_online(cpu) || is_for_us(self, home)) {
		atomic_sub(amount, &wg->handed);
		return false;
	}
	if (unlikely(all > HANDED_MAX)) {
		atomic_sub(amount, &wg->handed);
		drop(wg, batch);
		return true;
	}

	/* What came before this and stayed here must not be overtaken. */
	if (unlikely(self->gro_open && !self->rx_busy && !self->polling &&
		     time_before(jiffies, READ_ONCE(wg->home_since) + CHANGE_SETTLES))) {
		self->rx_busy = true;
		wgt_gro_close(self);
		self->rx_busy = false;
	}
	if (home == self) {
		/* Behind what was handed over, by a poll that is scheduled. */
		llist_add(pack(wg, batch, amount), &home->inbox);
		wgt_gro_open(self);
		return true;
	}
	wgt_count(wg, RX_HANDOVERS, 1);
	wgt_count(wg, RX_HANDED_OVER, packets);
	trace_wgt_handed_over(wg->dev, cpu, packets, all);
	/* One kick at a time: one under way will see this batch, too. */
	if (llist_add(pack(wg, batch, amount), &home->inbox) && !xchg(&home->kicking, 1) &&
	    unlikely(smp_call_function_single_async(cpu, &home->kick)))
		wgt_inbox_take_over(home);
	return true;
}

/* On the home CPU. Where its NAPI is scheduled already, it polls once more. */
static void schedule_poll(struct wgt_cpu *self)
{
	xchg(&self->kicking, 0);
	if (napi_schedule_prep(&self->napi)) {
		WRITE_ONCE(self->gro_open, true);
		__napi_schedule(&self->napi);
	}
}

/*
 * In hardirq. With PREEMPT_RT, where an idle CPU takes kicks outside of interrupts,
 * an interrupt of its own follows: what that raises, the CPU sees.
 */
static void kicked(void *data)
{
	struct wgt_cpu *self = data;

	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		irq_work_queue(&self->rouse);
	else
		schedule_poll(self);
}

static void rouse(struct irq_work *work)
{
	schedule_poll(container_of(work, struct wgt_cpu, rouse));
}

/* Not as schedule_poll(): the GRO lists do not become those of @cpu by that. */
void wgt_inbox_take_over(struct wgt_cpu *cpu)
{
	xchg(&cpu->kicking, 0);
	if (!llist_empty(&cpu->inbox))
		napi_schedule(&cpu->napi);
}

static void note(struct wgt_settle *settle, struct wgt_device *wg, int amount)
{
	unsigned int last = settle->count - 1;

	if (settle->count && settle->wg[last] == wg) {
		settle->amount[last] += amount;
		return;
	}
	settle->wg[settle->count] = wg;
	settle->amount[settle->count++] = amount;
}

void wgt_inbox_work(struct wgt_cpu *self, struct wgt_cpu *owner, struct wgt_settle *settle)
{
	unsigned int packets = 0, bytes = 0;
	struct sk_buff_head batch;
	struct llist_node *node;
	struct wgt_device *wg;
	int amount;

	settle->count = 0;
	for (;;) {
		if (!owner->backlog) {
			if (llist_empty(&owner->inbox))
				return;
			owner->backlog = llist_reverse_order(llist_del_all(&owner->inbox));
		}
		if (packets >= POLL_PACKETS || bytes >= POLL_BYTES ||
		    settle->count == ARRAY_SIZE(settle->wg))
			return;
		node = owner->backlog;
		owner->backlog = node->next;
		unpack(node, &batch);
		wg = wgt_cb(skb_peek(&batch))->wg;
		amount = wgt_cb(skb_peek(&batch))->amount;
		packets += skb_queue_len(&batch);
		bytes += amount;
		wgt_inbound_batch(self, wg, &batch);
		note(settle, wg, amount);
	}
}

void wgt_inbox_settle(const struct wgt_settle *settle)
{
	unsigned int i;

	for (i = 0; i < settle->count; i++)
		atomic_sub(settle->amount[i], &settle->wg[i]->handed);
}

void wgt_inbox_init(struct wgt_cpu *cpu)
{
	init_llist_head(&cpu->inbox);
	INIT_CSD(&cpu->kick, kicked, cpu);
	/* Not in a thread, which a CPU on its way down parks while it still takes kicks. */
	cpu->rouse = IRQ_WORK_INIT_HARD(rouse);
}

void wgt_inbox_exit(struct wgt_cpu *cpu)
{
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		irq_work_sync(&cpu->rouse);
}
