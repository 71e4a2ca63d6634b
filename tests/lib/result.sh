# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# TAP for a script that goes on from one result to the next (tap.sh is for tests
# that are functions):
#
#	ping -c 1 10.0.0.2
#	result $? "there is an answer"
#	end_results

count=0
failed=0

# result STATUS TEXT
result()
{
	count=$((count + 1))
	if (($1 == 0)); then
		printf 'ok %d - %s\n' "$count" "$2"
	else
		failed=1
		printf 'not ok %d - %s\n' "$count" "$2"
	fi
}

# end_results: prints the plan, ends the script with 0, or 1 where something failed.
end_results()
{
	printf '1..%d\n' "$count"
	exit "$failed"
}
