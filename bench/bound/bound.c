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
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <crypto/chacha20poly1305.h>
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>

#define PACKETS		64
#define SIZE_MAX_BYTES	(64 << 10)
#define MS_MAX		60000

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
