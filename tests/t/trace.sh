#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# One packet's whole way through two tunnel ends, as the kernel's own tracer
# sees it: on one CPU, with no work queue in between.

set -u
tracing=/sys/kernel/tracing
[[ -e $tracing/trace ]] || tracing=/sys/kernel/debug/tracing

# shellcheck disable=SC2317 # called by the trap
cleanup()
{
	echo nop >"$tracing/current_tracer"
	echo 0 >"$tracing/events/enable"
	echo >"$tracing/set_ftrace_filter"
	ip netns del trace-a
	ip netns del trace-b
} 2>/dev/null
trap cleanup EXIT

keys=$(mktemp -d)
for side in a b; do
	(umask 077 && wg genkey >"$keys/$side")
	ip netns add trace-$side
	ip -n trace-$side link set lo up
done
ip -n trace-a link add eth0 type veth peer name eth0 netns trace-b

# side NAME NUMBER OTHER NUMBER
side()
{
	ip -n "trace-$1" addr add "192.168.99.$2/24" dev eth0
	ip -n "trace-$1" link set eth0 up
	ip -n "trace-$1" link add "wg-$1" type wireguard
	ip netns exec "trace-$1" wg set "wg-$1" private-key "$keys/$1" listen-port 51820 \
		peer "$(wg pubkey <"$keys/$3")" allowed-ips "10.99.0.$4/32" \
		endpoint "192.168.99.$4:51820"
	ip -n "trace-$1" addr add "10.99.0.$2/24" dev "wg-$1"
	ip -n "trace-$1" link set "wg-$1" up
}
side a 1 b 2
side b 2 a 1

# The handshake, neighbours and caches first: it is the usual packet that counts.
ip netns exec trace-a ping -q -c 3 -i 0.2 -W 5 10.99.0.2 >/dev/null
sleep 1

cd "$tracing" || exit 1
echo 0 >tracing_on
echo 4096 >buffer_size_kb
for name in 'wgt_*:mod:wireguard' 'inline_poll:mod:wireguard' \
	'split:mod:wireguard' 'deliver:mod:wireguard' udp_tunnel_xmit_skb veth_xmit \
	udp_rcv ip_rcv icmp_rcv chacha20poly1305_encrypt chacha20poly1305_decrypt \
	napi_gro_receive; do
	echo "$name" >>set_ftrace_filter 2>/dev/null
done
for event in workqueue napi/napi_poll net/net_dev_xmit net/netif_rx net/netif_receive_skb \
	net/napi_gro_receive_entry irq; do
	echo 1 >"events/$event/enable"
done
echo function_graph >current_tracer
echo 1 >options/funcgraph-proc 2>/dev/null
echo >trace
echo 1 >tracing_on
ip netns exec trace-a taskset -c 1 ping -q -c 1 -W 5 10.99.0.2 >/dev/null
rc=$?
echo 0 >tracing_on
cp trace /tmp/trace
cd /wgtrunk || exit 1

# From the sender's ndo_start_xmit to icmp_rcv at the other site, which is the
# inner packet delivered: of that CPU only.
awk '
	/^#/ { next }
	{ cpu = $1 }
	!begun && /wgt_xmit/ { begun = 1; home = cpu }
	begun && cpu == home { print }
	begun && /icmp_rcv/ { exit }' /tmp/trace >/tmp/way
sed 's/^/# /' /tmp/way

# shellcheck source=tests/lib/result.sh
. "$(dirname "$0")/../lib/result.sh"

# in_order PATTERN...: the way has these, one after the other.
in_order()
{
	local line

	while (($#)) && IFS= read -r line; do
		[[ $line != *$1* ]] || shift
	done </tmp/way
	(($# == 0)) || echo "# not found in order: $1"
	(($# == 0))
}

result "$rc" "the packet is answered"
in_order wgt_xmit wgt_outbound wgt_seal chacha20poly1305_encrypt wgt_socket_send \
	udp_tunnel_xmit_skb veth_xmit
result $? "sent: look-up, encryption and UDP send inside ndo_start_xmit"
in_order veth_xmit wgt_receive wgt_inbound wgt_open chacha20poly1305_decrypt \
	wgt_replay_accept wgt_allowedips_find_src napi_gro_receive icmp_rcv
result $? "received: decryption, checks and delivery after the UDP hook, on the same CPU"
! grep -q 'workqueue_' /tmp/way
result $? "no work queue event in between"
# That one would be seen is shown by the handshake of a new session.
echo >"$tracing/trace"
echo 1 >"$tracing/tracing_on"
ip -n trace-a link set wg-a down
ip -n trace-a link set wg-a up
ip netns exec trace-a ping -q -c 1 -W 5 10.99.0.2 >/dev/null
echo 0 >"$tracing/tracing_on"
grep -q 'workqueue_queue_work.*function=\(initiate\|receive\)_work_fn' "$tracing/trace"
result $? "the handshake's work queue events are seen"
end_results
