#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# The part of bench-host.sh that runs in the virtual machine.

set -uo pipefail
cd "$(dirname "$0")/.." || exit

given=(--quick --cpus 2 --own "$WGTRUNK_OWN_KO" --in-tree "$WGTRUNK_IN_TREE_KO" --bound /wgtrunk/wgt_bound.ko)
count=0
failed=0

# works NAME ROW ARG...: bench/host ends well, has figures of both for ROW, and
# says nothing of counters that do not add up.
works()
{
	local name=$1 row=$2 out ok=1 word=ok

	shift 2
	out=$(mktemp)
	bench/host "${given[@]}" "$@" >"$out" 2>&1 || ok=0
	grep -qE "^2 .*  $row.* [0-9.]+ \([0-9.]+ to [0-9.]+\)" "$out" || ok=0
	! grep '^invalid:' "$out" | grep -qv ': too slow: ' || ok=0
	count=$((count + 1))
	((ok)) || { word="not ok" failed=1; }
	printf '%s %d - %s\n' "$word" "$count" "$name"
	((ok)) || sed 's/^/# /' "$out"
}

works "namespaces of one machine" 'forward 1400 bytes, presorted overload' \
	--only 'forward/superpackets' --only 'bulk/plain' --only 'pile-up/*'

ip netns add far
ip link add near0 type veth peer name far0 netns far
ip address add 192.0.2.1/24 dev near0
ip link set near0 up
ip -n far address add 192.0.2.2/24 dev far0
ip -n far link set far0 up
works "a far end behind a command" 'UDP GSO bulk' --far 'nsenter --net=/run/netns/far sh -c' \
	--addresses 192.0.2.1,192.0.2.2 --only 'forward/nic' --only 'bulk/nic'

# Ctrl-C goes to all of them, and bench/host asks measure to end besides.
ip netns del far
count=$((count + 1))
env --default-signal=INT setsid bench/host "${given[@]}" --only 'forward/plain' >/tmp/interrupted 2>&1 &
pid=$!
for ((tries = 0; tries < 600; tries++)); do
	[[ ! -e /run/netns/wgb-S ]] || break
	sleep 0.1
done
kill -INT -- "-$pid"
sleep 0.2
kill -INT -- "-$pid" 2>/dev/null
rc=0
wait "$pid" || rc=$?
left=$(ls -d /run/netns/* /sys/module/wireguard /sys/module/wgt_bound 2>/dev/null)
if ((tries == 600 || rc != 130)) || [[ -n $left || $(</sys/kernel/rcu_expedited) != 0 ]]; then
	failed=1
	printf 'status %s\n%s\n%s\nnot ' "$rc" "$left" "$(</tmp/interrupted)"
fi
echo "ok $count - leaves nothing behind where it is interrupted"

# refuses WHERE NAME [IP-OPTION...]: there is an interface of that name, and stays.
refuses()
{
	local out

	count=$((count + 1))
	if out=$(bench/host "${given[@]}" 2>&1) || [[ $out != *"has WireGuard interfaces ($2)"* ]] ||
		! ip "${@:3}" link show "$2" >/dev/null; then
		failed=1
		printf '%s\nnot ' "$out"
	fi
	echo "ok $count - refuses where there are WireGuard interfaces$1"
}

ip netns add vpn
ip -n vpn link add wg8 type wireguard
refuses ", in another namespace" wg8 -n vpn
ip -n vpn link del wg8
ip link add wg7 type wireguard
refuses "" wg7
printf '1..%d\n' "$count"
((!failed))
