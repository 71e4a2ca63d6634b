// SPDX-License-Identifier: GPL-2.0
/*
 * Copyright (C) 2026 The wgtrunk authors
 *
 * One of each kind of bug that the debug kernel is there to find, to see that
 * it finds them. Writing a bug's name to this module's parameter "plant"
 * commits it, in the writer's network namespace.
 */
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <net/net_namespace.h>

static DEFINE_SPINLOCK(lock_a);
static DEFINE_SPINLOCK(lock_b);
static int *volatile object;

/* Returns 0 if memory was to be had: with fault injection it is not. */
static int plant_nothing(void)
{
	object = kmalloc(sizeof(*object), GFP_ATOMIC | __GFP_NOWARN);
	if (!object)
		return -ENOMEM;
	kfree(object);
	object = NULL;
	return 0;
}

static int plant_use_after_free(void)
{
	int *freed = kmalloc(sizeof(*freed), GFP_KERNEL);

	if (!freed)
		return -ENOMEM;
	object = freed;
	kfree(freed);
	*object = 1;
	object = NULL;
	return 0;
}

/* No deadlock: one task takes them both ways, one after the other. */
static int plant_lock_inversion(void)
{
	spin_lock(&lock_a);
	spin_lock(&lock_b);
	spin_unlock(&lock_b);
	spin_unlock(&lock_a);

	spin_lock(&lock_b);
	spin_lock(&lock_a);
	spin_unlock(&lock_a);
	spin_unlock(&lock_b);
	return 0;
}

static int plant_leak(void)
{
	object = kmalloc(100, GFP_KERNEL);
	if (!object)
		return -ENOMEM;
	object = NULL;
	return 0;
}

/* Of the interface "planted0". */
static int plant_device_reference(void)
{
	static netdevice_tracker tracker;

	if (!netdev_get_by_name(current->nsproxy->net_ns, "planted0", &tracker,
				GFP_KERNEL))
		return -ENODEV;
	return 0;
}

static int plant_namespace_reference(void)
{
	static netns_tracker tracker;

	get_net_track(current->nsproxy->net_ns, &tracker, GFP_KERNEL);
	return 0;
}

static int plant_sleep_in_atomic(void)
{
	spin_lock(&lock_a);
	might_sleep();
	spin_unlock(&lock_a);
	return 0;
}

static int plant_undefined_shift(void)
{
	static volatile int bits = 40;

	bits = 1 << bits;
	return 0;
}

static const struct {
	const char *name;
	int (*commit)(void);
} bugs[] = {
	{ "nothing", plant_nothing },
	{ "use-after-free", plant_use_after_free },
	{ "lock-inversion", plant_lock_inversion },
	{ "leak", plant_leak },
	{ "device-reference", plant_device_reference },
	{ "namespace-reference", plant_namespace_reference },
	{ "sleep-in-atomic", plant_sleep_in_atomic },
	{ "undefined-shift", plant_undefined_shift },
};

static int plant(const char *value, const struct kernel_param *kp)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bugs); i++)
		if (sysfs_streq(value, bugs[i].name))
			return bugs[i].commit();
	return -EINVAL;
}

static const struct kernel_param_ops plant_ops = { .set = plant };
module_param_cb(plant, &plant_ops, NULL, 0200);
MODULE_PARM_DESC(plant, "name of the bug to commit");

static int __init planted_init(void)
{
	return 0;
}
module_init(planted_init);

static void __exit planted_exit(void)
{
}
module_exit(planted_exit);

MODULE_DESCRIPTION("Bugs for the debug kernel to find");
MODULE_LICENSE("GPL");
