#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# Runs in a debug kernel with fault injection (scripts/uml --faults PERCENT):
# sessions, traffic, configuration and removal while the module's allocations
# fail. What fails is dropped, counted and refused; afterwards all works again.
# Prints TAP.

set -euo pipefail
umask 077

count=0
failures=0

# result STATUS NAME
result()
{
	count=$((count + 1))
	if (($1 == 0)); then
		echo "ok $count - $2"
	else
		echo "not ok $count - $2"
		failures=$((failures + 1))
	fi
}

# probability PERCENT
probability()
{
	local kind

	for kind in failslab fail_page_alloc fail_skb_realloc; do
		echo "$1" >/sys/kernel/debug/$kind/probability
	done
}

# dropped: the sum of both sides' counters of drops for want of memory
dropped()
{
	local side

	for side in 1 2; do
		ip netns exec "faults$side" ethtool -S wg0
	done | awk '/_no_memory:/ { n += $2 } END { print n + 0 }'
}

percent=$(cat /sys/kernel/debug/failslab/probability)
probability 0

declare -A public
for side in 1 2; do
	wg genkey >"/tmp/key$side"
	public[$side]=$(wg pubkey <"/tmp/key$side")
	ip netns add "faults$side"
done
ip link add veth1 netns faults1 type veth peer name veth2 netns faults2
for side in 1 2; do
	other=$((3 - side))
	ip -n "faults$side" addr add "192.0.2.$side/24" dev "veth$side"
	ip -n "faults$side" link set "veth$side" up
	ip -n "faults$side" link add wg0 type wireguard
	ip netns exec "faults$side" wg set wg0 private-key "/tmp/key$side" listen-port 5182$side \
		peer "${public[$other]}" allowed-ips 0.0.0.0/0 endpoint "192.0.2.$other:5182$other"
	ip -n "faults$side" addr add "198.51.100.$side/24" dev wg0
	ip -n "faults$side" link set wg0 up
done

ping_through()
{
	ip netns exec faults1 ping -q "$@" 198.51.100.2
}

reconnect()
{
	# Without a peer there is no session: the next packet begins one anew.
	ip netns exec faults1 wg set wg0 peer "${public[2]}" remove &&
		ip netns exec faults1 wg set wg0 peer "${public[2]}" allowed-ips 0.0.0.0/0 endpoint 192.0.2.2:51822
}

ok=0
ping_through -c 3 -W 5 >/dev/null || ok=1
result $ok "a tunnel before any failure"

# fail_skb_realloc moves a packet wherever it may move: pointers into it that were kept go stale.
probability "$percent"
ping_through -f -c 1500 -s 1300 -W 1 -w 60 >/tmp/ping || :
ping_through -f -c 300 -s 9000 -W 1 -w 60 >>/tmp/ping || :
probability 0
sed -n '/transmitted/s/^/# /p' /tmp/ping
ok=0
grep -q ' [1-9][0-9]* received' /tmp/ping || ok=1
result $ok "under failed allocations some packets still come through"
probability "$percent"
timeout 60 ip netns exec faults2 iperf3 -s -1 >/dev/null 2>&1 &
sleep 1
timeout 40 ip netns exec faults1 iperf3 -c 198.51.100.2 -n 4M >/tmp/iperf 2>&1 || :
probability 0
kill %1 2>/dev/null || :
wait || :
ok=0
ping_through -c 3 -W 5 >/dev/null || ok=1
result $ok "the tunnel works after a bulk transfer under failures"

# A sender that keeps its packets (TCP) has them encrypted into new ones; others are encrypted where they are.
ok=0
drops=$(dropped)
((drops > 0)) || ok=1
result $ok "packets that there was no memory for are counted"
echo "# $drops"

probability "$percent"
for _ in $(seq 20); do
	reconnect 2>/dev/null || :
	ping_through -c 1 -W 1 >/dev/null || :
done
probability 0
ok=0
reconnect || ok=1
ping_through -c 5 -W 5 >/dev/null || ok=1
result $ok "a session is made after handshakes and changes under failures"

probability "$percent"
made=0
for number in $(seq 40); do
	! ip -n faults1 link add "many$number" type wireguard 2>/dev/null || made=$((made + 1))
	! ip -n faults1 link set "many$number" up 2>/dev/null || :
	ip -n faults1 link del "many$number" 2>/dev/null || :
done
probability 0
ok=0
! ip -n faults1 -o link | grep many || ok=1
ip -n faults1 link add many0 type wireguard || ok=1
ip -n faults1 link set many0 up || ok=1
result $ok "interfaces made under failures are refused or removed, none is left"
echo "# $made of 40 were made"

probability "$percent"
ip -n faults1 link del wg0 || :
ip netns del faults2
probability 0
ok=0
! ip -n faults1 link show wg0 >/dev/null 2>&1 || ok=1
result $ok "removal under failures succeeds"

echo "1..$count"
((failures == 0))
