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

ip link add wg7 type wireguard
count=$((count + 1))
if out=$(bench/host "${given[@]}" 2>&1) || [[ $out != *"has WireGuard interfaces (wg7)"* ]] ||
	! ip link show wg7 >/dev/null; then
	failed=1
	printf '%s\nnot ' "$out"
fi
echo "ok $count - refuses where there are WireGuard interfaces"
printf '1..%d\n' "$count"
((!failed))
