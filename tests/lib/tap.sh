# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# Results in the Test Anything Protocol, for tests in shell. To be sourced after
# `set -uo pipefail` (not -e: a test looks at what failed). Tests are functions:
#
#	test_this() { run "$A" ping -c 1 10.0.0.2; }
#	check "this works" test_this
#	finish
#
# A test fails where its function returns other than 0; it is skipped where that
# is TAP_SKIP, which skip() does. What it prints is shown where it did not pass.

TAP_SKIP=77
tap_count=0
tap_failures=0
tap_why=$(mktemp)
tap_output=
tap_chosen=("$@")

# defer COMMAND...: run at the end, last first, whatever happens.
tap_deferred=()
defer()
{
	tap_deferred+=("$(printf '%q ' "$@")")
}

tap_clean_up()
{
	local i

	# Nor a child that was forked just before it was killed.
	[[ $BASHPID == "$$" ]] || return 0
	# A test that ended the script.
	if [[ -n $tap_output ]]; then
		sed 's/^/# /' "$tap_output"
		echo "Bail out! the test after number $((tap_count - 1)) ended it all"
		rm -f "$tap_output"
	fi
	for ((i = ${#tap_deferred[@]} - 1; i >= 0; i--)); do
		eval "${tap_deferred[i]}" >/dev/null 2>&1
	done
	tap_deferred=()
	rm -f "$tap_why"
}
trap tap_clean_up EXIT
trap 'exit 130' INT TERM

# diag TEXT...: a comment in the results.
diag()
{
	printf '# %s\n' "$*"
}

# fail TEXT...: says what is wrong, returns 1.
fail()
{
	printf '%s\n' "$*"
	return 1
}

# skip REASON...: ends a test as skipped: `skip "why"; return` in it.
skip()
{
	printf '%s' "$*" >"$tap_why"
	return "$TAP_SKIP"
}

# busywait SECONDS COMMAND...: until COMMAND succeeds; fails where it does not
# within so many seconds.
busywait()
{
	local end=$((SECONDS + $1 + 1))

	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || return 1
		sleep 0.05
	done
}

# check NAME COMMAND...: one test. Words given to the script choose tests whose
# names have them all.
check()
{
	local name=$1 status start=$SECONDS word

	shift
	for word in "${tap_chosen[@]}"; do
		[[ $word == --* || $name == *"$word"* ]] || return 0
	done
	tap_count=$((tap_count + 1))
	tap_output=$(mktemp)
	"$@" >"$tap_output" 2>&1
	status=$?
	case $status in
	0) printf 'ok %d - %s\n' $tap_count "$name" ;;
	"$TAP_SKIP") printf 'ok %d - %s # SKIP %s\n' $tap_count "$name" "$(<"$tap_why")" ;;
	*)
		printf 'not ok %d - %s\n' $tap_count "$name"
		diag "status $status after $((SECONDS - start)) s"
		sed 's/^/# /' "$tap_output"
		tap_failures=$((tap_failures + 1))
		;;
	esac
	((SECONDS - start < 10)) || diag "$((SECONDS - start)) s"
	rm -f "$tap_output"
	tap_output=
}

# finish: prints the plan, ends the script with 0, or 1 where a test failed.
finish()
{
	printf '1..%d\n' $tap_count
	((tap_count && !tap_failures))
	exit
}
