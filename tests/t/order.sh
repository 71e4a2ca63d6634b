#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# Numbered datagrams through a tunnel: none comes late, twice or changed, also
# while there is no session yet, across a new one, with senders that wander from
# CPU to CPU, and while `threaded` is written.
#
# --long: across the rekeying that time brings, which takes two minutes more.

# shellcheck disable=SC2317 # tests are called by their names

set -uo pipefail
cd "$(dirname "$0")" || exit
# shellcheck source=tests/lib/tap.sh
. ../lib/tap.sh
# shellcheck source=tests/lib/net.sh
. ../lib/net.sh

PORT=7000
results=$(mktemp -d)
defer rm -rf "$results"
A='' B=''

set_up()
{
	sysctl -qw net.core.netdev_max_backlog=200000
	ns_new A B && tunnel "$A" "$B" && wire_keeps_order "$A" "$B"
}

# receive FLOWS: a receiver in B, in the background; its PID in $receiver.
receive()
{
	rm -f "$results/received"
	run "$B" "$TOOLS/stream" receive "$PORT" "$1" 1000 >"$results/received" &
	receiver=$!
	busywait 10 grep -q ready "$results/received" || fail "no receiver"
}

# value NAME: of the sum over all flows
value()
{
	awk -v name="$1" '$1 == "all" { for (i = 1; i < NF; i++) if ($i == name) print $(i + 1) }' \
		"$results/received"
}

# in_order [FLOWS COUNT]: the receiver has ended and saw nothing wrong. Where
# told how many there were, the last of each flow must have come.
in_order()
{
	local last

	wait "$receiver"
	cat "$results/received"
	(($(value received) > 0)) || fail "nothing came" || return
	(($(value late) + $(value twice) + $(value corrupt) == 0)) || return
	[[ -n ${1:-} ]] || return 0
	last=$(grep -c " last $(($2 - 1)) " "$results/received")
	((last == $1)) || fail "the last datagram of $last of $1 flows came"
}

no_loss()
{
	(($(value lost) == 0)) || fail "$(value lost) were lost"
}

send()
{
	run "$A" "$TOOLS/stream" send "${to:-10.0.0.2}" "$PORT" "$@"
}

no_session()
{
	# IPv6 addresses go away with that.
	ip -n "$A" link set wg0 down && ip -n "$A" link set wg0 up &&
		ip -n "$A" address replace fd00::1/64 dev wg0
}

# What the module dropped on the way to B because too much waited for a session.
stage_drops()
{
	counter "$A" wg0 tx_drop_stage_full
}

# first_session FLOWS COUNT SIZE GAP MIGRATE: from before there is a session on
first_session()
{
	local before after

	no_session || return
	before=$(stage_drops)
	receive "$1" || return
	send "$@" || return
	in_order "$1" "$2" || return
	after=$(stage_drops)
	echo "dropped before the session: $((after - before))"
	[[ -n $OWN ]] || return 0
	(($1 * $2 == $(value received) + after - before)) ||
		fail "sent $(($1 * $2)), received $(value received), counted $((after - before))"
}

test_first_few()
{
	# Fewer than are kept: all of them come.
	local round

	for round in 1 2 3; do
		first_session 2 50 200 0 3 || return
		(($(value received) == 100)) || fail "round $round: $(value received) of 100" || return
	done
}

test_first_many()
{
	first_session 1 3000 1000 0 0 && first_session 1 3000 100 0 7 &&
		first_session 4 1000 1000 0 50
}

test_first_slow()
{
	# The session comes while there are some in the queue, and others just coming.
	local round

	for round in 1 2 3; do
		first_session 3 100 100 1500 1 || return
	done
}

test_first_ipv6()
{
	local to=fd00::2

	first_session 2 1500 1200 0 11
}

test_migration()
{
	ping_works "$A" 10.0.0.2 && receive 1 && send 1 4000 1300 0 1 && in_order 1 4000 &&
		no_loss || return
	receive 8 && send 8 700 800 0 5 && in_order 8 700 && no_loss
}

test_both_ways()
{
	local back

	run "$A" "$TOOLS/stream" receive "$PORT" 2 3000 >"$results/back" &
	back=$!
	receive 2 && {
		run "$B" "$TOOLS/stream" send 10.0.0.1 "$PORT" 2 1500 1000 0 9 &
		send 2 1500 1000 0 9
		in_order 2 1500 && no_loss
	} || return
	wait "$back"
	cat "$results/back"
	grep -q 'all 2: received 3000 .* lost 0 late 0 twice 0 corrupt 0' "$results/back"
}

# threaded_loop FILE: writes until it is killed; counts in FILE.
threaded_loop()
{
	local file=$1 good=0 bad=0 ns value

	trap 'echo "$good $bad" >"$file"; exit' TERM
	while :; do
		for value in 1 0; do
			for ns in "$A" "$B"; do
				if run "$ns" sh -c "echo $value >/sys/class/net/wg0/threaded"; then
					good=$((good + 1))
				else
					bad=$((bad + 1))
				fi
			done
		done
	done
}

test_threaded()
{
	local loop good bad

	threaded_loop "$results/threaded" &
	loop=$!
	receive 3 && send 3 1500 1000 0 20 && in_order 3 1500 && no_loss &&
		first_session 3 500 500 500 20
	local status=$?
	kill -TERM "$loop"
	wait "$loop"
	((status == 0)) || return
	read -r good bad <"$results/threaded"
	echo "threaded: $good writes succeeded, $bad failed"
	((good > 4 && bad == 0))
}

latest_handshake()
{
	run "$A" wg show wg0 latest-handshakes | cut -f 2
}

# A hears nothing from B but handshakes, so after 15 s it begins a new one, while
# the session that there is stays good.
test_rekey()
{
	local before after

	no_session && ping_works "$A" 10.0.0.2 || return
	run "$B" nft -f - <<-'END' || return
		table inet quiet {
			chain output {
				type filter hook output priority 0
				oifname eth0 udp sport 1002 udp length 40-100 @th,64,8 4 counter drop
			}
		}
	END
	before=$(latest_handshake)
	receive 3 && send 3 6000 400 2800 13 && in_order 3 6000
	local status=$?
	after=$(latest_handshake)
	run "$B" nft list table inet quiet
	run "$B" nft delete table inet quiet
	((status == 0)) || return
	no_loss || return
	((after > before)) || fail "there was no new handshake"
}

# B forgets A and learns of it again: it begins a session while A sends.
test_lost_peer()
{
	local forgetter

	ping_works "$A" 10.0.0.2 || return
	{
		for _ in 1 2 3 4; do
			sleep 1.2
			run "$B" wg set wg0 peer "$(key "$A")" remove
			wg_peer "$B" wg0 "$A" 10.0.0.1/32,fd00::1/128 192.168.1.1:1001
			run "$B" ping -c 1 -W 2 10.0.0.1
		done
	} &
	forgetter=$!
	receive 2 && send 2 3000 500 1500 17
	wait "$forgetter"
	# The last can be lost here, where B does not know A.
	in_order || return
	ping_works "$A" 10.0.0.2
}

test_rekey_by_time()
{
	local before after

	[[ " $* " == *" --long "* ]] || { skip "takes more than two minutes: --long"; return; }
	no_session && ping_works "$A" 10.0.0.2 || return
	before=$(latest_handshake)
	receive 2 && send 2 27000 400 5000 100 && in_order 2 27000 && no_loss || return
	after=$(latest_handshake)
	((after > before)) || fail "there was no new handshake"
}

set_up || exit
check "few datagrams before there is a session: all come, in order" test_first_few
check "many before there is a session: the oldest are dropped, the rest in order" test_first_many
check "a trickle before there is a session, senders on changing CPUs" test_first_slow
check "order over IPv6, from before there is a session" test_first_ipv6
check "order with senders that change CPUs" test_migration
check "order in both directions at once" test_both_ways
check "order across a new session, without a loss" test_rekey
check "order while the other end forgets us, and begins anew" test_lost_peer
check "order while threaded is written, and each write succeeds" test_threaded
check "order across a rekey by time, without a loss" test_rekey_by_time "$@"
finish
