// SPDX-License-Identifier: GPL-2.0
/*
 * Copyright (C) 2026 The wgtrunk authors
 *
 * What takes minutes, or 2^60 messages, or another machine, at once. Written to
 * parameter "poke", in the writer's network namespace:
 *
 *	DEVICE pass SECONDS		all of its peers' clocks are so much further
 *	DEVICE born SLOT SECONDS	the key pair there was derived so long ago
 *	DEVICE sent SLOT NUMBER		it has taken so many nonces
 *	DEVICE unreadable in|out|no	packets for it, or through it, have
 *					fragments that the CPU can't read
 *	vmfork				this machine is a copy of another one
 *	dawdle MS [FUNCTION]		who returns from that function of the module,
 *					by default from sending a handshake message,
 *					is away for so long; 0: no more
 *
 * SLOT is current, previous or next. Parameter "pairs" shows those of the device
 * that was poked last: peer, slot, number, nonces taken, send_valid, recv_valid.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/ethtool.h>
#include <linux/ip.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter_ipv4.h>
#include <linux/nsproxy.h>
#include <linux/random.h>
#include <linux/udp.h>
#include <net/net_namespace.h>

#include "device.h"
#include "keypair.h"
#include "peer.h"
#include "timers.h"

/* Of all that is below: written and read one at a time. */
static DEFINE_MUTEX(lock);
static char last_dev[IFNAMSIZ];

static const char * const slots[] = { "current", "previous", "next" };

/* A device of the module that this was built with, by its name, held; or NULL. */
static struct net_device *find_device(const char *name)
{
	struct net_device *dev = dev_get_by_name(current->nsproxy->net_ns, name);
	struct ethtool_drvinfo info = {};

	if (!dev)
		return NULL;
	if (dev->ethtool_ops && dev->ethtool_ops->get_drvinfo)
		dev->ethtool_ops->get_drvinfo(dev, &info);
	if (!strcmp(info.driver, "wireguard") && !strncmp(info.bus_info, "wgtrunk-", 8))
		return dev;
	dev_put(dev);
	return NULL;
}

/* Its keypairs.lock is held. */
static struct wgt_keypair *pair_in(struct wgt_peer *peer, int slot)
{
	struct wgt_keypairs *pairs = &peer->keypairs;
	struct wgt_keypair __rcu *at[] = { pairs->current_pair, pairs->previous, pairs->next };

	return rcu_dereference_protected(at[slot], lockdep_is_held(&pairs->lock));
}

static void age(struct wgt_keypair *pair, u64 ns)
{
	if (pair)
		WRITE_ONCE(pair->born, pair->born - ns);
}

static void pass(struct wgt_peer *peer, u64 seconds)
{
	u64 ns = seconds * NSEC_PER_SEC;
	unsigned long when;
	int i;

	spin_lock_bh(&peer->keypairs.lock);
	for (i = 0; i < ARRAY_SIZE(slots); i++)
		age(pair_in(peer, i), ns);
	spin_unlock_bh(&peer->keypairs.lock);
	if (atomic64_read(&peer->last_initiation_sent))
		atomic64_sub(ns, &peer->last_initiation_sent);

	for (i = 0; i < WGT_DL_COUNT; i++) {
		when = READ_ONCE(peer->timers.deadline[i]);
		if (!when)
			continue;
		when = (when - seconds * HZ) ?: 1;
		WRITE_ONCE(peer->timers.deadline[i], when);
		smp_mb(); /* as in timers.c: the timer sees it, or is queued */
		timer_reduce(&peer->timers.timer, when);
	}
}

/* Returns whether there is a pair. */
static bool set_pair(struct wgt_peer *peer, int slot, bool sent, u64 value)
{
	struct wgt_keypair *pair;

	spin_lock_bh(&peer->keypairs.lock);
	pair = pair_in(peer, slot);
	if (pair && sent)
		atomic64_set(&pair->sent, value);
	else if (pair)
		WRITE_ONCE(pair->born, ktime_get_coarse_boottime_ns() - value * NSEC_PER_SEC);
	spin_unlock_bh(&peer->keypairs.lock);
	return pair;
}

#ifdef WGT_HAVE_FRAGS_READABLE
static struct net_device *hooked;

/* For its port. */
static unsigned int hook_in(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct wgt_device *wg = netdev_priv(hooked);
	const struct udphdr *udp;
	struct udphdr buffer;

	if (ip_hdr(skb)->protocol != IPPROTO_UDP)
		return NF_ACCEPT;
	udp = skb_header_pointer(skb, ip_hdrlen(skb), sizeof(buffer), &buffer);
	if (udp && ntohs(udp->dest) == READ_ONCE(wg->port))
		skb->unreadable = 1;
	return NF_ACCEPT;
}

/* Straight to the device: the core drops such packets before most. */
static unsigned int hook_out(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	if (state->out != hooked)
		return NF_ACCEPT;
	skb->unreadable = 1;
	local_bh_disable();
	hooked->netdev_ops->ndo_start_xmit(skb, hooked);
	local_bh_enable();
	return NF_STOLEN;
}

static struct nf_hook_ops hook = { .pf = NFPROTO_IPV4, .priority = NF_IP_PRI_LAST };

static void unhook(void)
{
	if (!hooked)
		return;
	nf_unregister_net_hook(dev_net(hooked), &hook);
	dev_put(hooked);
	hooked = NULL;
}

static int unreadable(struct net_device *dev, const char *which)
{
	int err;

	unhook();
	if (!strcmp(which, "no"))
		return 0;
	if (!strcmp(which, "in")) {
		hook.hook = hook_in;
		hook.hooknum = NF_INET_LOCAL_IN;
	} else if (!strcmp(which, "out")) {
		hook.hook = hook_out;
		hook.hooknum = NF_INET_POST_ROUTING;
	} else {
		return -EINVAL;
	}
	dev_hold(dev);
	hooked = dev;
	err = nf_register_net_hook(dev_net(dev), &hook);
	if (err) {
		hooked = NULL;
		dev_put(dev);
	}
	return err;
}
#else
static void unhook(void)
{
}

static int unreadable(struct net_device *dev, const char *which)
{
	return -EOPNOTSUPP;
}
#endif

/* Not exported: kprobes know where it is. */
static int vmfork(void)
{
#ifdef CONFIG_KPROBES
	struct kprobe probe = { .symbol_name = "add_vmfork_randomness" };
	void (*function)(const void *id, size_t len);
	u8 id[16];

	if (register_kprobe(&probe))
		return -EOPNOTSUPP;
	function = (void *)probe.addr;
	unregister_kprobe(&probe);
	get_random_bytes(id, sizeof(id));
	function(id, sizeof(id));
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

#ifdef CONFIG_KRETPROBES
static char dawdle_at[64];
static unsigned int dawdle_ms;

static int dawdle_now(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	mdelay(dawdle_ms);
	return 0;
}

static struct kretprobe dawdler = {
	.kp.symbol_name = dawdle_at,
	.handler = dawdle_now,
};

static int dawdle(unsigned int ms, const char *function)
{
	int err = 0;

	if (ms > 1000)
		return -ERANGE;
	mutex_lock(&lock);
	if (dawdle_ms)
		unregister_kretprobe(&dawdler);
	dawdle_ms = ms;
	if (ms) {
		strscpy(dawdle_at, function, sizeof(dawdle_at));
		/* What is left from the last time would not do. */
		dawdler.kp.addr = NULL;
		dawdler.kp.flags = 0;
		err = register_kretprobe(&dawdler);
		if (err)
			dawdle_ms = 0;
	}
	mutex_unlock(&lock);
	return err;
}
#else
static int dawdle(unsigned int ms, const char *function)
{
	return ms ? -EOPNOTSUPP : 0;
}
#endif

static int poke_device(struct net_device *dev, int argc, char **argv)
{
	struct wgt_device *wg = netdev_priv(dev);
	const char *what = argv[1];
	bool sent = !strcmp(what, "sent");
	int slot = 0, err = -ENOENT;
	struct wgt_peer *peer;
	u64 value;

	if (!strcmp(what, "unreadable"))
		return argc == 3 ? unreadable(dev, argv[2]) : -EINVAL;
	if (argc < 3 || kstrtou64(argv[argc - 1], 0, &value))
		return -EINVAL;
	if (sent || !strcmp(what, "born")) {
		slot = argc == 4 ? match_string(slots, ARRAY_SIZE(slots), argv[2]) : -EINVAL;
		if (slot < 0)
			return slot;
	} else if (strcmp(what, "pass") || argc != 3) {
		return -EINVAL;
	}

	mutex_lock(&wg->config);
	list_for_each_entry(peer, &wg->peers, list) {
		if (argc == 3)
			pass(peer, value);
		if (argc == 3 || set_pair(peer, slot, sent, value))
			err = 0;
	}
	mutex_unlock(&wg->config);
	return err;
}

static int split(char *text, char **argv, int most)
{
	char *word;
	int argc = 0;

	while ((word = strsep(&text, "\n "))) {
		if (*word && argc == most)
			return -EINVAL;
		if (*word)
			argv[argc++] = word;
	}
	return argc;
}

static int set_poke(const char *value, const struct kernel_param *kp)
{
	struct net_device *dev;
	char text[80], *argv[4];
	unsigned int ms;
	int argc, err;

	if (strscpy(text, value, sizeof(text)) < 0)
		return -EINVAL;
	argc = split(text, argv, ARRAY_SIZE(argv));
	if (argc == 1 && !strcmp(argv[0], "vmfork"))
		return vmfork();
	if (argc < 2)
		return -EINVAL;
	if (!strcmp(argv[0], "dawdle"))
		return argc <= 3 && !kstrtouint(argv[1], 0, &ms) ?
		       dawdle(ms, argc == 3 ? argv[2] : "wgt_socket_send_buffer") : -EINVAL;
	dev = find_device(argv[0]);
	if (!dev)
		return -ENODEV;
	mutex_lock(&lock);
	strscpy(last_dev, dev->name, sizeof(last_dev));
	err = poke_device(dev, argc, argv);
	mutex_unlock(&lock);
	dev_put(dev);
	return err;
}

static int show_pair(struct wgt_peer *peer, int slot, char *to, int room)
{
	struct wgt_keypair *pair;
	int len = 0;

	spin_lock_bh(&peer->keypairs.lock);
	pair = pair_in(peer, slot);
	if (pair)
		len = scnprintf(to, room, "%llu %s %llu %llu %d %d\n", peer->id, slots[slot],
				pair->id, (u64)atomic64_read(&pair->sent),
				READ_ONCE(pair->send_valid), READ_ONCE(pair->recv_valid));
	spin_unlock_bh(&peer->keypairs.lock);
	return len;
}

static int get_pairs(char *buffer, const struct kernel_param *kp)
{
	struct net_device *dev;
	struct wgt_device *wg;
	struct wgt_peer *peer;
	int len = 0, i;

	mutex_lock(&lock);
	dev = find_device(last_dev);
	mutex_unlock(&lock);
	if (!dev)
		return -ENODEV;
	wg = netdev_priv(dev);
	mutex_lock(&wg->config);
	list_for_each_entry(peer, &wg->peers, list)
		for (i = 0; i < ARRAY_SIZE(slots); i++)
			len += show_pair(peer, i, buffer + len, PAGE_SIZE - len);
	mutex_unlock(&wg->config);
	dev_put(dev);
	return len;
}

static const struct kernel_param_ops poke_ops = { .set = set_poke };
module_param_cb(poke, &poke_ops, NULL, 0200);
MODULE_PARM_DESC(poke, "what is to be changed");

static const struct kernel_param_ops pairs_ops = { .get = get_pairs };
module_param_cb(pairs, &pairs_ops, NULL, 0400);
MODULE_PARM_DESC(pairs, "key pairs of the device that was poked last");

static int __init poke_init(void)
{
	return 0;
}
module_init(poke_init);

static void __exit poke_exit(void)
{
	unhook();
	dawdle(0, NULL);
}
module_exit(poke_exit);

MODULE_DESCRIPTION("Limits and lifetimes of wireguard devices at once, for tests");
MODULE_LICENSE("GPL");
