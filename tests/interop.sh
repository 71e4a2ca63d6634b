#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# interop.sh [OPTION...] [KERNEL...]
#
# Does this project's module understand the others? On each KERNEL (6.1 and
# 6.12) against the in-tree module of the same kernel, in two virtual machines
# on a link, and against wireguard-go, in namespaces of one: either side
# initiates, outer IPv4 and IPv6, inner both, with and without a preshared key,
# and either side roams. The bytes that go through are compared. One cell for
# each kernel has 100 MB each way, across a renewal of the session, the others
# have 2 MB. tests/interop/cells tells the details.
#
#   --long         100 MB across a renewal in all cells
#   --only WHAT    pair (the in-tree module) or go (wireguard-go)
#   --cells REGEX  only the cells whose names match
#   --plant WHAT   plant an error, to see cells fail: corrupt (bytes change on
#                  the way), psk (the sides' preshared keys differ where there
#                  are any), roam (nobody does), rekey (the time is too short
#                  for one), in-tree (that module is on both sides)
#
# Output: TAP. Exit status: 0, or 1 if a cell failed.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"

usage()
{
	sed -n '/^# interop.sh \[/,/^$/s/^# \{0,1\}//p' "$0"
}

long='' plant='' only='' cells='' kernels=() results=0 failed=0

while (($#)); do
	case $1 in
	--long) long=1 ;;
	--only)
		[[ ${2:-} == pair || ${2:-} == go ]] || die "--only takes pair or go"
		only=$2
		shift
		;;
	--cells)
		(($# >= 2)) || die "--cells takes a regular expression"
		cells=$2
		shift
		;;
	--plant)
		[[ ${2:-} =~ ^(corrupt|psk|roam|rekey|in-tree)$ ]] ||
			die "cannot plant '${2:-}'"
		plant=$2
		shift
		;;
	-h | --help)
		usage
		exit
		;;
	-*) die "no option $1 (see --help)" ;;
	*) kernels+=("$1") ;;
	esac
	shift
done
((${#kernels[@]})) || kernels=(6.1 6.12)

run=$(mktemp -d "${TMPDIR:-/tmp}/wgtrunk-interop.XXXXXX")
trap 'rm -rf "$run"' EXIT

# result ok|"not ok" NAME
result()
{
	results=$((results + 1))
	[[ $1 == ok ]] || failed=$((failed + 1))
	printf '%s %d - %s\n' "$1" "$results" "$2"
}

# read_results NAME: numbers what a guest prints, and misses what it does not.
read_results()
{
	local line planned=0 seen=0

	while IFS= read -r line; do
		line=${line%$'\r'}
		line=${line#A: }
		case $line in
		"plan "*) planned=${line#plan } ;;
		"ok - "* | "not ok - "*)
			seen=$((seen + 1))
			result "${line%% - *}" "$1: ${line#*ok - }"
			;;
		*) printf '# %s\n' "${line#\# }" ;;
		esac
	done
	((planned > 0 && seen == planned)) ||
		result "not ok" "$1: $seen results of $planned"
}

# pair KERNEL: side a of the cells is the first machine, side b the second.
pair()
{
	local kernel=$1 own=(--own-a) name="$1, in-tree module"

	[[ $plant != in-tree ]] || own=(--in-tree-a)
	on "$name" vm-pair "${own[@]}" --in-tree-b --cpus 2 "$kernel" "$kernel" \
		-- tests/interop/cells pair -- tests/interop/agent listen 10.99.0.2
}

go()
{
	local kernel=$1 own=(--own) name="$1, wireguard-go"

	[[ $plant != in-tree ]] || own=(--in-tree)
	on "$name" vm "${own[@]}" --cpus 2 "$kernel" -- tests/interop/cells go
}

# on NAME SCRIPT ARGUMENT...: starts vm or vm-pair and turns what it prints, and
# how it ends, into results.
on()
{
	local name=$1 script=$WGTRUNK_ROOT/scripts/$2 status=0
	local memory=1024 limit=700 machine
	shift 2

	[[ -z $long ]] || memory=3072 limit=3600
	rm -f "$run/out"
	mkfifo "$run/out"
	setpriv --pdeathsig TERM "$script" --timeout "$limit" \
		--memory "$memory" --env INTEROP_LONG="$long" \
		--env INTEROP_PLANT="$plant" --env INTEROP_CELLS="$cells" "$@" >"$run/out" 2>"$run/errors" &
	machine=$!
	read_results "$name" <"$run/out"
	wait "$machine" || status=$?
	if ((status == 0)); then
		result ok "$name: the machines ended well and no kernel complained"
	else
		result "not ok" "$name: the machines ended well and no kernel complained"
		printf '# exit status: %s\n' "$status"
		tail -n 100 "$run/errors" | sed 's/^/# /'
	fi
}

echo 'TAP version 13'
for kernel in "${kernels[@]}"; do
	[[ $plant == in-tree ]] ||
		"$WGTRUNK_ROOT/scripts/build" -q "$kernel" >/dev/null
	[[ $only == go ]] || pair "$kernel"
	[[ $only == pair ]] || go "$kernel"
	printf '# %s: %d s so far\n' "$kernel" "$SECONDS"
done
printf '1..%d\n' "$results"
((failed == 0))
