#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# uml.sh [--in-tree] [planted] [suite] [faults] [own [NAME...]]
# uml.sh churn [ROUNDS]
#
# Tests in debug user-mode Linux (TAP): that it finds what it is there to find
# (planted), the in-tree suite (suite), failing allocations (faults), and our
# own tests, those of tests/t, or some of them (own). By default all. Against
# our module, or with --in-tree the kernel's own. Logs go to build/log/uml.
# Of these tests, churn is one of the own ones, for so many rounds.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
cd "$WGTRUNK_ROOT"

count=0
failures=0

# result OK NAME: OK is 0 or not.
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

# note FILE: the end of a log, as comments.
note()
{
	tail -n "${2:-25}" "$1" | sed 's/^/# /'
}

# run NAME ARG...: scripts/uml with its output in $logs/NAME and the console in
# $logs/NAME.console; sets rc.
run()
{
	local name=$1

	shift
	rc=0
	scripts/uml --kernel "$kernel" --log "$logs/$name.console" "$@" >"$logs/$name" 2>&1 </dev/null || rc=$?
}

# bug NAME REPORT [COMMAND]: the run that commits it must fail, and the
# console's log must have a line that matches REPORT.
bug()
{
	local name=$1 report=$2 ok=0
	local command=${3:-"echo $name >/sys/module/planted/parameters/plant"}

	run "planted-$name" --timeout 200 --module "$planted" -- bash -c "$command"
	((rc == 123)) || ok=1
	grep -qE "$report" "$logs/planted-$name.console" || ok=1
	result $ok "planted $name is reported"
	if ((ok)); then
		echo "# exit status $rc, looked for: $report"
		note "$logs/planted-$name"
		note "$logs/planted-$name.console"
	fi
}

test_planted()
{
	local dir ok

	dir=build/planted
	mkdir -p "$dir"
	cp tests/planted/Kbuild tests/planted/planted.c "$dir/"
	if ! make -s ARCH=um -C "$kernel" M="$PWD/$dir" >"$logs/planted-build" 2>&1; then
		result 1 "the module of planted bugs builds"
		note "$logs/planted-build"
		return
	fi
	planted=$dir/planted.ko

	# Without a bug nothing is reported: else the rest says nothing.
	ok=0
	run planted-nothing --timeout 100 --module "$planted" -- bash -c '
		echo nothing >/sys/module/planted/parameters/plant &&
			ip netns add planted && ip -n planted link add planted0 type dummy'
	((rc == 0)) || ok=1
	result $ok "without a bug nothing is reported"
	((ok == 0)) || { note "$logs/planted-nothing"; note "$logs/planted-nothing.console"; }

	bug use-after-free 'KASAN: slab-use-after-free in plant_use_after_free'
	bug lock-inversion 'possible circular locking dependency'
	bug leak 'kmemleak: 1 objects leaked'
	bug sleep-in-atomic 'sleeping function called from invalid context'
	bug undefined-shift 'UBSAN: shift-out-of-bounds'
	bug device-reference 'unregister_netdevice: waiting for planted0' '
		ip netns add planted && ip -n planted link add planted0 type dummy
		ip netns exec planted bash -c "echo device-reference >/sys/module/planted/parameters/plant"'
	bug namespace-reference '1 network namespaces never went away' '
		ip netns add planted
		ip netns exec planted bash -c "echo namespace-reference >/sys/module/planted/parameters/plant"'

	# All of the module's allocations fail, nobody else's do, and afterwards none.
	ok=0
	run planted-faults --timeout 100 --module "$planted" --faults 100 -- bash -c '
		for try in 1 2 3; do
			! echo nothing >/sys/module/planted/parameters/plant || exit 1
			/bin/true && ip link add dummy1 type dummy && ip link del dummy1 || exit 2
		done'
	((rc == 0)) || ok=1
	result $ok "fault injection makes the module's allocations fail, and only those"
	((ok == 0)) || { note "$logs/planted-faults"; note "$logs/planted-faults.console"; }
}

test_suite()
{
	local suite ok attempt objects seconds

	suite=$(scripts/kernel source 7.3)/tools/testing/selftests/wireguard/netns.sh
	# It waits for fixed times, down to a tenth of a second, and now and then a busy machine is slower than that, whichever
	# module it tests. So it has a second try, but not if the kernel has complained.
	for attempt in 1 2; do
		seconds=$SECONDS
		ok=0
		run "suite$variant" "${module[@]}" --dyndbg --new-wg --timeout 1500 -- bash "$suite"
		((rc != 0)) || break
		ok=1
		echo "# attempt $attempt: exit status $rc after $((SECONDS - seconds)) s"
		note "$logs/suite$variant" 40
		((rc != 123)) || break
	done
	result $ok "the in-tree suite passes"
	((ok)) || echo "# $((SECONDS - seconds)) s"

	# What its leak check reads: as many objects made as destroyed, and some.
	ok=0
	objects=$(grep -cE 'wireguard: .* created' "$logs/suite$variant.console" || :)
	((objects > 0)) || ok=1
	((objects == $(grep -cE 'wireguard: .* destroyed' "$logs/suite$variant.console" || :))) || ok=1
	result $ok "its leak check counted objects"
	echo "# $objects made, $(grep -cE 'wireguard: .* destroyed' "$logs/suite$variant.console" || :) destroyed"
}

# A test that prints TAP of its own is one result here; what it skipped is told.
run_tap()
{
	local name=$1 test=$2 ok=0 seconds=$SECONDS

	shift 2
	run "own-$name$variant" "${module[@]}" --dyndbg --timeout 1200 "$@" -- "$test"
	((rc == 0)) || ok=1
	! grep -q '^not ok' "$logs/own-$name$variant" || ok=1
	grep -qE '^(ok|1\.\.0)' "$logs/own-$name$variant" || ok=1
	result $ok "$name: $(grep -c '^ok' "$logs/own-$name$variant" || :) passed"
	echo "# $((SECONDS - seconds)) s"
	grep -E '^ok .*# SKIP' "$logs/own-$name$variant" | sed 's/^/# /' || :
	if ((ok)); then
		echo "# exit status $rc"
		grep '^not ok' "$logs/own-$name$variant" | sed 's/^/# /' || :
		note "$logs/own-$name$variant"
	fi
}

test_own()
{
	local test

	((${#own[@]})) || own=(tests/t/*)
	if [[ " ${own[*]} " == *"/lifetimes.py "* ]]; then
		make -s -C tests/poke KERNELS=uml
	fi
	for test in "${own[@]}"; do
		if [[ $test == */trace.sh ]]; then
			result 0 "trace.sh # SKIP user-mode Linux has no function tracer"
		elif [[ -f $test && -x $test ]]; then
			run_tap "$(basename "$test")" "$test"
		fi
	done
}

test_faults()
{
	run_tap faults tests/uml-faults.sh --faults 20
}

# Some two seconds a round, several where the machine has other things to do.
test_churn()
{
	run_tap churn.py tests/t/churn.py --timeout $((300 + 6 * rounds)) --env "ROUNDS=$rounds"
	grep '^# [0-9]* rounds' "$logs/own-churn.py$variant" | tail -n 1 || :
}

variant=
tests=()
own=()
rounds=1000
while (($#)); do
	case $1 in
	--in-tree) variant=-in-tree ;;
	planted | suite | faults) tests+=("$1") ;;
	churn)
		tests+=(churn)
		rounds=${2:-$rounds}
		break
		;;
	own)
		tests+=(own)
		shift
		own=("${@/#/tests/t/}")
		break
		;;
	*) sed -n '/^# uml.sh \[/,/^$/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
	shift
done
((${#tests[@]})) || tests=(planted suite faults own)

logs=build/log/uml
mkdir -p "$logs"
kernel=$(scripts/uml-kernel debug)
if [[ $variant ]]; then
	module=(--in-tree)
else
	with_lock build-uml scripts/build -q uml >"$logs/build" 2>&1 || {
		cat "$logs/build"
		echo "Bail out! the module does not build"
		exit 1
	}
	module=(--module build/uml/wireguard.ko)
fi
for test in "${tests[@]}"; do
	"test_$test"
done
echo "1..$count"
((failures == 0))
