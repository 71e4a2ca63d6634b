#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# bench.sh: the benchmark runs (TAP): every row has a figure, counters add up,
# the kernel does not complain. Not how fast anything is.

set -uo pipefail
cd "$(dirname "$0")/.." || exit

out=build/test/bench.out
mkdir -p "${out%/*}"
bench/run --quick --name check >"$out" 2>&1
rc=$?
count=0
failed=0

# result OK NAME
result()
{
	count=$((count + 1))
	if (($1)); then
		printf 'ok %d - %s\n' "$count" "$2"
	else
		printf 'not ok %d - %s\n' "$count" "$2"
		failed=1
	fi
}

result $((rc == 0)) "the benchmark ends well"
for row in 'forward 64 bytes, presorted overload' 'forward 1400 bytes, hashed overload' 'UDP GSO bulk' \
	'TCP 1 flow, writes of 1 MB' 'latency 1400 bytes' 'peers: 1000 set'; do
	result $((0 < $(grep -cE "^[12] .*  $row.* [0-9.]+ \([0-9.]+ to [0-9.]+\)" "$out"))) "figures of both: $row"
done
result $((0 < $(grep -cE 'long packet filter  in-tree .*wg0: .* [0-9]+ % \(|^invalid: .*long packet filter: in-tree .*: too slow: ' "$out"))) \
	"who delivers the in-tree tunnels' packets"
# Packets nobody knows the whereabouts of, programs that failed; not speed.
result $((0 == $(grep '^invalid:' "$out" | grep -vc ': too slow: '))) "counters add up"
grep '^invalid:' "$out" | sed 's/^/# /'
((!failed)) || sed 's/^/# /' "$out"
printf '1..%d\n' "$count"
((!failed))
