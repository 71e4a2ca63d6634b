#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# fuzz.sh [SECONDS]: the fuzzers of tests/fuzz (TAP), each over its seeds, then for so
# many seconds (15), under address and undefined-behaviour sanitizers. Nothing may
# crash, leak, take long or need much memory; faults that are planted must be found.

# shellcheck disable=SC2317 # tests are called by their names

set -uo pipefail
cd "$(dirname "$0")/.." || exit
seconds=${1:-15}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "usage: fuzz.sh [SECONDS]" >&2; exit 2; }
# It does not choose tests.
set --
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

found=build/fuzz/found
declare -A longest=([config]=4096 [netlink]=20000)
files=$(mktemp -d -p /dev/shm) || exit
defer rm -rf "$files"
export TMPDIR=$files
mkdir -p "$found"

# fuzz PROGRAM ARG...: what it says is in $files/log. What is wrong with is kept.
fuzz()
{
	local status=0

	"$1" -timeout=20 -rss_limit_mb=1024 -print_final_stats=1 "${@:2}" >"$files/log" 2>&1 || status=$?
	((status == 0)) && ! grep -qaE 'ERROR: |runtime error: ' "$files/log"
}

# number NAME: one of libFuzzer's statistics of the last run.
number()
{
	sed -n "s/^stat::$1: *//p" "$files/log"
}

test_seeds()
{
	local seed

	for seed in tests/fuzz/seeds/"$1"/*; do
		fuzz "build/fuzz/fuzz-$1" "$seed" || { tail -n 60 "$files/log"; fail "with $seed"; return; }
	done
}

test_fuzz()
{
	mkdir -p "$files/$1"
	if ! fuzz "build/fuzz/fuzz-$1" -seed=1 -max_total_time="$seconds" -max_len="${longest[$1]}" \
		-artifact_prefix="$found/$1-" "$files/$1" "tests/fuzz/seeds/$1"; then
		tail -n 80 "$files/log"
		fail "mend it, and keep the input in tests/fuzz/seeds/$1 as found-..."
		return
	fi
	(($(number number_of_executed_units) >= 100)) || fail "next to nothing was run"
}

# said: coverage (edges) and so on of what was run.
said()
{
	local cov

	cov=$(sed -n 's/^#[0-9].* \(cov: [0-9]* ft: [0-9]* corp: [^ ]*\) .*/\1/p' "$files/log" | tail -n 1)
	diag "$1: $(number number_of_executed_units) runs, ${cov:-nothing new}, at most $(number peak_rss_mb) MB"
}

# test_planted NAME FILE SED REPORT: with FILE changed so, a report like that comes.
test_planted()
{
	local planted=$files/planted-$1

	mkdir -p "$planted/corpus"
	cp tools/wgtrunk/*.[ch] "$planted/"
	sed -i "$3" "$planted/$2"
	! cmp -s "tools/wgtrunk/$2" "$planted/$2" || fail "nothing planted in $2" || return
	make -s -C tests/fuzz TOOL="$planted" OUT="$planted" "$planted/fuzz-$1" || return
	! fuzz "$planted/fuzz-$1" -timeout=5 -seed=1 -max_total_time=60 -max_len="${longest[$1]}" \
		-artifact_prefix="$planted/" "$planted/corpus" "tests/fuzz/seeds/$1" ||
		fail "not found" || return
	grep -qa "$4" "$files/log" || { tail -n 60 "$files/log"; fail "something else was found"; }
}

make -s -C tests/fuzz || { echo "Bail out! they do not build"; exit 1; }
for name in config netlink; do
	check "$name: seeds" test_seeds "$name"
	check "$name: $seconds s" test_fuzz "$name"
	said "$name"
done
check "config: finds memory that is not freed" \
	test_planted config prefix.c 's/^\tfree(copy);//' 'LeakSanitizer: detected memory leaks'
check "netlink: finds an attribute that is longer than its message" \
	test_planted netlink nl.c 's/ || header.nla_len > length//' 'AddressSanitizer: use-after-poison'
check "netlink: finds a message that never ends" \
	test_planted netlink nl.c 's/ && message->nlmsg_len <= (unsigned int)length//' \
	'libFuzzer: timeout\|AddressSanitizer'
finish
