// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * How fast this kernel's chacha20poly1305 is: what a tunnel could do at most if
 * all the rest of it cost nothing.
 *
 *	echo "SIZE CPUS MS" > /sys/module/wgt_bound/parameters/measure
 *	cat /sys/module/wgt_bound/parameters/measure
 *
 * encrypts and decrypts packets of SIZE bytes for MS milliseconds, on CPUs 0 to
 * CPUS - 1 at the same time, and says
 *
 *	SIZE CPUS MS encrypted-packets encrypt-ns decrypted-packets decrypt-ns
 *
 * summed over the CPUs: nanoseconds are those spent in the cipher. The packets
 * are as many as a data path may have in its hands, so that they come from the
 * same caches.
 *
 *	cat /sys/module/wgt_bound/parameters/hop
 *
 * says how many nanoseconds a cache line needs from CPU 0 to CPU 1 and back, at
 * best; 0 where there is one CPU.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <crypto/chacha20poly1305.h>
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>

#define PACKETS		64
#define SIZE_MAX_BYTES	(64 << 10)
#define MS_MAX		60000

/* Round trips that are timed together, and for how long that is done. */
#define HOPS		100
#define HOP_MS		3

struct job {
	struct completion done;
	unsigned int size;
	unsigned int ms;
	u64 packets;
	u64 encrypt_ns;
	u64 decrypt_ns;
	int ret;
};

static DEFINE_MUTEX(lock);
static struct {
	unsigned int size, cpus, ms;
	u64 packets, encrypt_ns, decrypt_ns;
} last;

static int run(struct job *job, u8 *const packet[PACKETS])
{
	static const u8 key[CHACHA20POLY1305_KEY_SIZE] = { 1, 2, 3 };
	u64 begin = ktime_get_ns(), end = begin + (u64)job->ms * NSEC_PER_MSEC;
	u64 nonce = 0, middle;
	int i;

	while (begin < end) {
		for (i = 0; i < PACKETS; i++)
			chacha20poly1305_encrypt(packet[i], packet[i], job->size, NULL, 0,
						 nonce + i, key);
		middle = ktime_get_ns();
		job->encrypt_ns += middle - begin;
		for (i = 0; i < PACKETS; i++)
			if (!chacha20poly1305_decrypt(packet[i], packet[i],
						      job->size + CHACHA20POLY1305_AUTHTAG_SIZE,
						      NULL, 0, nonce + i, key))
				return -EBADMSG;
		begin = ktime_get_ns();
		job->decrypt_ns += begin - middle;
		job->packets += PACKETS;
		nonce += PACKETS;
		cond_resched();
		begin = ktime_get_ns();
	}
	return 0;
}

static int worker(void *data)
{
	u8 *packet[PACKETS] = {};
	struct job *job = data;
	int i;

	job->ret = -ENOMEM;
	for (i = 0; i < PACKETS; i++) {
		packet[i] = kzalloc(job->size + CHACHA20POLY1305_AUTHTAG_SIZE, GFP_KERNEL);
		if (!packet[i])
			goto out;
	}
	job->ret = run(job, packet);
out:
	for (i = 0; i < PACKETS; i++)
		kfree(packet[i]);
	complete(&job->done);
	return 0;
}

static int measure(unsigned int size, unsigned int cpus, unsigned int ms)
{
	struct task_struct *task;
	unsigned int cpu, begun;
	struct job *jobs;
	int ret = 0;

	jobs = kcalloc(cpus, sizeof(*jobs), GFP_KERNEL);
	if (!jobs)
		return -ENOMEM;
	for (cpu = 0; cpu < cpus; cpu++) {
		init_completion(&jobs[cpu].done);
		jobs[cpu].size = size;
		jobs[cpu].ms = ms;
		task = kthread_create(worker, &jobs[cpu], "wgt_bound/%u", cpu);
		if (IS_ERR(task)) {
			ret = PTR_ERR(task);
			break;
		}
		kthread_bind(task, cpu);
		wake_up_process(task);
	}
	begun = cpu;
	for (cpu = 0; cpu < begun; cpu++) {
		wait_for_completion(&jobs[cpu].done);
		ret = ret ?: jobs[cpu].ret;
	}
	if (!ret) {
		memset(&last, 0, sizeof(last));
		last.size = size;
		last.cpus = cpus;
		last.ms = ms;
		for (cpu = 0; cpu < cpus; cpu++) {
			last.packets += jobs[cpu].packets;
			last.encrypt_ns += jobs[cpu].encrypt_ns;
			last.decrypt_ns += jobs[cpu].decrypt_ns;
		}
	}
	kfree(jobs);
	return ret;
}

static int set_measure(const char *val, const struct kernel_param *param)
{
	unsigned int size, cpus, ms;
	int ret;

	if (sscanf(val, "%u %u %u", &size, &cpus, &ms) != 3)
		return -EINVAL;
	if (!size || size > SIZE_MAX_BYTES || !cpus || cpus > num_online_cpus() || !ms ||
	    ms > MS_MAX)
		return -ERANGE;
	mutex_lock(&lock);
	ret = measure(size, cpus, ms);
	mutex_unlock(&lock);
	return ret;
}

static int get_measure(char *buffer, const struct kernel_param *param)
{
	int len;

	mutex_lock(&lock);
	len = sysfs_emit(buffer, "%u %u %u %llu %llu %llu %llu\n", last.size, last.cpus, last.ms,
			 last.packets, last.encrypt_ns, last.packets, last.decrypt_ns);
	mutex_unlock(&lock);
	return len;
}

/* --- from CPU to CPU --- */

struct hop {
	struct completion done;
	atomic_t ball;
	bool over;
	u64 best;
};

static int bounce(void *data)
{
	struct hop *hop = data;

	while (!READ_ONCE(hop->over))
		if (atomic_read(&hop->ball))
			atomic_set(&hop->ball, 0);
	complete(&hop->done);
	return 0;
}

static int serve(void *data)
{
	u64 begin = ktime_get_ns(), end = begin + HOP_MS * NSEC_PER_MSEC, now;
	struct hop *hop = data;
	int i;

	do {
		for (i = 0; i < HOPS; i++) {
			atomic_set(&hop->ball, 1);
			while (atomic_read(&hop->ball))
				;
		}
		now = ktime_get_ns();
		hop->best = min(hop->best, now - begin);
		begin = now;
	} while (now < end);
	WRITE_ONCE(hop->over, true);
	complete(&hop->done);
	return 0;
}

/* Both or none of them begin: each waits for the other. */
static int time_hop(struct hop *hop)
{
	static int (*const players[])(void *) = { bounce, serve };
	struct task_struct *tasks[2];
	int i;

	for (i = 0; i < 2; i++) {
		tasks[i] = kthread_create(players[i], hop, "wgt_hop/%d", i);
		if (IS_ERR(tasks[i])) {
			if (i)
				kthread_stop(tasks[0]);
			return PTR_ERR(tasks[i]);
		}
		kthread_bind(tasks[i], !i);
	}
	for (i = 0; i < 2; i++)
		wake_up_process(tasks[i]);
	for (i = 0; i < 2; i++)
		wait_for_completion(&hop->done);
	return 0;
}

static int get_hop(char *buffer, const struct kernel_param *param)
{
	struct hop hop = { .best = U64_MAX };
	int ret;

	if (!cpu_online(0) || num_possible_cpus() < 2 || !cpu_online(1))
		return sysfs_emit(buffer, "0\n");
	init_completion(&hop.done);
	ret = time_hop(&hop);
	return ret ?: sysfs_emit(buffer, "%llu\n", div_u64(hop.best, HOPS));
}

static const struct kernel_param_ops hop_ops = {
	.get = get_hop,
};

module_param_cb(hop, &hop_ops, NULL, 0400);
MODULE_PARM_DESC(hop, "Read: nanoseconds of a cache line to CPU 1 and back");

static const struct kernel_param_ops measure_ops = {
	.set = set_measure,
	.get = get_measure,
};

module_param_cb(measure, &measure_ops, NULL, 0600);
MODULE_PARM_DESC(measure, "Write: size, CPUs, milliseconds; read: what came of it");

static int __init bound_init(void)
{
	return 0;
}

static void __exit bound_exit(void)
{
}

module_init(bound_init);
module_exit(bound_exit);
MODULE_DESCRIPTION("Times chacha20poly1305 on packets");
MODULE_LICENSE("GPL");
