#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# Loading by itself, and what becomes of keys when the machine sleeps or the
# interface goes down: they are erased, and the next packet makes new ones.

set -u
# shellcheck source=tests/lib/result.sh
. "$(dirname "$0")/../lib/result.sh"

# skip TEXT WHY
skip()
{
	count=$((count + 1))
	printf 'ok %d - %s # SKIP %s\n' "$count" "$1" "$2"
}

# shellcheck disable=SC2317 # called by the trap
cleanup()
{
	ip link del wg0
	ip netns del power
} 2>/dev/null
trap cleanup EXIT

module_is_ours()
{
	[[ $(modinfo -n wireguard) == */updates/* ]] &&
		[[ $(cat /sys/module/wireguard/version) == "$(modinfo -F version wireguard)" ]] &&
		modinfo -F description wireguard | grep -q wgtrunk
}

rmmod wireguard 2>/dev/null
[[ ! -e /sys/module/wireguard ]]
result $? "not loaded at first"
ip link add wg0 type wireguard && module_is_ours
result $? "\`ip link add type wireguard\` loads it"
ip link del wg0
rmmod wireguard
modprobe net-pf-16-proto-16-family-wireguard && module_is_ours
result $? "so does the netlink family's alias"
echo 'module wireguard +p' >/sys/kernel/debug/dynamic_debug/control

# Two ends on this machine, one of them in a namespace.
ip netns add power
ip -n power link set lo up
ip link add veth-power type veth peer name eth0 netns power
ip addr add 192.168.77.1/24 dev veth-power
ip link set veth-power up
ip -n power addr add 192.168.77.2/24 dev eth0
ip -n power link set eth0 up
umask 077
wg genkey >/tmp/key0
wg genkey >/tmp/key1
ip link add wg0 type wireguard
ip -n power link add wg1 type wireguard
wg set wg0 private-key /tmp/key0 listen-port 1000 peer "$(wg pubkey </tmp/key1)" \
	allowed-ips 10.77.0.2/32 endpoint 192.168.77.2:2000
ip netns exec power wg set wg1 private-key /tmp/key1 listen-port 2000 \
	peer "$(wg pubkey </tmp/key0)" allowed-ips 10.77.0.1/32
ip addr add 10.77.0.1/24 dev wg0
ip -n power addr add 10.77.0.2/24 dev wg1
ip link set wg0 up
ip -n power link set wg1 up

pairs()
{
	dmesg | grep -c "wg0: Keypair [0-9]* $1"
}

ping -q -c 1 -W 5 10.77.0.2 >/dev/null && ping -q -c 1 -W 5 10.77.0.2 >/dev/null
result $? "traffic flows"
[[ $(pairs created) == 1 && $(pairs destroyed) == 0 ]]
result $? "under one key pair"

ip link set wg0 down
[[ $(pairs destroyed) == 1 ]]
result $? "which is destroyed when the interface goes down"
ip link set wg0 up
ping -q -c 1 -W 8 10.77.0.2 >/dev/null && [[ $(pairs created) == 2 ]]
result $? "and another one made when it is up again"

# A disk to hibernate to is missing: the machine prepares, which is when keys
# must go, and gives up. Sleep itself an emulated machine does not wake up from.
if grep -qw disk /sys/power/state; then
	before=$(pairs destroyed)
	echo shutdown >/sys/power/disk
	! { echo disk >/sys/power/state; } 2>/dev/null
	result $? "the machine prepares to hibernate, and fails for want of a disk"
	[[ $(pairs destroyed) == $((before + 1)) ]]
	result $? "the keys were erased first"
	ping -q -c 1 -W 8 10.77.0.2 >/dev/null && [[ $(pairs created) == 3 ]]
	result $? "traffic flows again, under new ones"
else
	skip "keys are erased before the machine sleeps" "this kernel can't hibernate"
fi
end_results
