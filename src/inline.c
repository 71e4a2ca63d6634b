// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * The inline pipeline. A packet's whole way runs in one go on the CPU that it
 * came to: UDP hook, look-up, decryption, replay and source checks, GRO, stack;
 * and ndo_start_xmit, nonce, encryption, UDP send. Nothing is queued between
 * CPUs, so nothing waits for a wake-up; but for a device with a home CPU, to
 * which what lands elsewhere is handed over.
 */
#include <linux/cpuhotplug.h>
#include <linux/delay.h>
#include <linux/netdevice.h>
#include <linux/workqueue.h>

#include "device.h"
#include "inline.h"
#include "pipeline.h"

struct wgt_cpu __percpu *wgt_cpus;
static struct net_device *napi_dev;
static int hotplug_state;

bool wgt_gro_open(struct wgt_cpu *self)
{
	if (!READ_ONCE(self->gro_open) && napi_schedule_prep(&self->napi)) {
		WRITE_ONCE(self->gro_open, true);
		__napi_schedule(&self->napi);
	}
	return READ_ONCE(self->gro_open);
}

static bool has_work(const struct wgt_cpu *cpu)
{
	return cpu->backlog || !llist_empty(&cpu->inbox) || !skb_queue_empty(&cpu->pieces) ||
	       !skb_queue_empty_lockless(&cpu->later);
}

void wgt_gro_close(struct wgt_cpu *cpu)
{
	bool again;

	WRITE_ONCE(cpu->gro_open, false);
	again = !napi_complete_done(&cpu->napi, 0);
	/* Pairs with the barrier in wait_for_flush(). */
	smp_store_release(&cpu->flushes, cpu->flushes + 1);
	if (unlikely(cpu != wgt_this_cpu())) {
		if (has_work(cpu))
			napi_schedule(&cpu->napi);
		return;
	}
	/* Asked for once more meanwhile: then it is scheduled again. */
	if (again)
		WRITE_ONCE(cpu->gro_open, true);
	/* This was not the poll, which would have done it, or the poll did not do all. */
	else if (unlikely(has_work(cpu)))
		wgt_gro_open(cpu);
}

/*
 * All that the NAPI of @owner has to do: of this CPU, or of one that died whose
 * NAPI the core moved here. To close GRO schedules it again if something is left.
 */
static void work(struct wgt_cpu *self, struct wgt_cpu *owner)
{
	struct wgt_settle settle;

	rcu_read_lock();
	self->polling = true;
	/* The last piece of an aggregate did not come. */
	if (unlikely(!skb_queue_empty(&owner->pieces)))
		wgt_inbound_pieces(self, owner);
	wgt_inbox_work(self, owner, &settle);
	if (unlikely(!skb_queue_empty_lockless(&owner->later)))
		wgt_outbound_later(self, owner);
	self->polling = false;
	rcu_read_unlock();

	self->rx_busy = true;
	if (unlikely(owner != self && self->gro_open))
		wgt_gro_close(self);
	wgt_gro_close(owner);
	self->rx_busy = false;
	wgt_inbox_settle(&settle);
}

static int inline_poll(struct napi_struct *napi, int budget)
{
	if (likely(budget))
		work(wgt_this_cpu(), container_of(napi, struct wgt_cpu, napi));
	return 0;
}

/* Its poll moves to another CPU, if there was one to be: this one, back again, starts afresh. */
static int cpu_is_dead(unsigned int cpu)
{
	struct wgt_cpu *dead = per_cpu_ptr(wgt_cpus, cpu);

	WRITE_ONCE(dead->gro_open, false);
	local_bh_disable();
	wgt_inbox_take_over(dead);
	local_bh_enable();
	return 0;
}

/*
 * What was in GRO lists or among the pieces of that CPU has gone to the stack:
 * it has closed them twice since, or they are closed now.
 */
static void wait_for_flush(struct wgt_cpu *cpu)
{
	unsigned int seen = READ_ONCE(cpu->flushes);

	while (test_bit(NAPI_STATE_SCHED, &cpu->napi.state) &&
	       READ_ONCE(cpu->flushes) - seen < 2)
		usleep_range(20, 200);
	/* Before what its device needs is freed. */
	smp_mb();
}

void wgt_inline_flush(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		wait_for_flush(per_cpu_ptr(wgt_cpus, cpu));
}

/*
 * The sockets are closed, and a grace period has passed: packets of the device
 * can only be in inboxes and GRO lists still, or wait to be sent.
 */
static void inline_quiesce(struct wgt_device *wg)
{
	/* Pieces of an aggregate whose last one did not come are handed over by a poll. */
	wgt_inline_flush();
	while (atomic_read(&wg->handed) || atomic_read(&wg->later))
		usleep_range(50, 500);
	wgt_inline_flush();
}

const struct wgt_pipeline wgt_pipeline_inline = {
	.name = "inline",
	.receive = wgt_inbound,
	.transmit = wgt_outbound,
	.drain = wgt_outbound_drain,
	.purge = wgt_outbound_purge,
	.quiesce = inline_quiesce,
};

int wgt_inline_module_init(void)
{
	int cpu, ret = -ENOMEM;

	napi_dev = wgt_dummy_alloc();
	if (!napi_dev)
		return -ENOMEM;
	wgt_cpus = alloc_percpu(struct wgt_cpu);
	if (!wgt_cpus)
		goto free_dev;
	ret = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "net/wgtrunk:dead", NULL,
					cpu_is_dead);
	if (ret < 0)
		goto free_cpus;
	hotplug_state = ret;

	for_each_possible_cpu(cpu) {
		struct wgt_cpu *each = per_cpu_ptr(wgt_cpus, cpu);

		__skb_queue_head_init(&each->pieces);
		skb_queue_head_init(&each->later);
		wgt_inbox_init(each);
		set_bit(NAPI_STATE_NO_BUSY_POLL, &each->napi.state);
		netif_napi_add(napi_dev, &each->napi, inline_poll);
		napi_enable(&each->napi);
	}
	return 0;

free_cpus:
	free_percpu(wgt_cpus);
free_dev:
	wgt_dummy_free(napi_dev);
	return ret;
}

static void nothing(void *unused)
{
}

void wgt_inline_module_exit(void)
{
	int cpu;

	cpuhp_remove_state_nocalls(hotplug_state);
	/* A kick whose batch somebody else's poll took may be under way still: these come after it. */
	on_each_cpu(nothing, NULL, 1);
	for_each_possible_cpu(cpu) {
		struct napi_struct *napi = &per_cpu_ptr(wgt_cpus, cpu)->napi;

		wgt_inbox_exit(per_cpu_ptr(wgt_cpus, cpu));
		napi_disable(napi);
		netif_napi_del(napi);
	}
	synchronize_net();
	free_percpu(wgt_cpus);
	wgt_dummy_free(napi_dev);
}
