#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# Devices, peers and namespaces come, change and go while packets go through
# them: nothing crashes, nothing stays behind, and what is left works.
#
# Suspending the machine is not tested: the guests can't be woken up.

# shellcheck disable=SC2317 # tests are called by their names

set -uo pipefail
cd "$(dirname "$0")" || exit
# shellcheck source=tests/lib/tap.sh
. ../lib/tap.sh
# shellcheck source=tests/lib/net.sh
. ../lib/net.sh

PORT=7000
LOOP_SECONDS=2
LOOP_TIMES=4
A='' B='' C=''
traffic=()

# traffic_on FROM ADDRESS [SIZE]: datagrams without end. Not by run(): what is to
# be killed is the sender, not a shell that waits for it.
traffic_on()
{
	ip netns exec "$1" "$TOOLS/stream" send "$2" "$PORT" 1 0 "${3:-1200}" 1000 50 >/dev/null 2>&1 &
	traffic+=($!)
}

# KILL, which nothing can be in the way of: a shell that was just forked, and is no
# sender yet, would take another signal for its parent's, or lose it.
traffic_off()
{
	((${#traffic[@]})) || return 0
	kill -KILL "${traffic[@]}" 2>/dev/null
	wait "${traffic[@]}" 2>/dev/null
	traffic=()
}

# both_ways: traffic in the tunnel of A and B.
both_ways()
{
	traffic_on "$A" 10.0.0.2
	traffic_on "$B" 10.0.0.1
	traffic_on "$A" fd00::2 200
}

# pair: a fresh tunnel between fresh namespaces A and B, with traffic in it.
pair()
{
	ns_new A B && tunnel "$A" "$B" && ping_works "$A" 10.0.0.2 && both_ways
}

unpair()
{
	traffic_off
	ns_end "$A"
	ns_end "$B"
}

# churn COMMAND: COMMAND N again and again for some seconds in the midst of
# traffic between A and B; then their tunnel must work.
churn()
{
	local end=$((SECONDS + LOOP_SECONDS)) n=0

	while ((SECONDS < end || n < LOOP_TIMES)); do
		"$@" "$n" || fail "$* $n failed" || return
		n=$((n + 1))
	done
	echo "$n times"
	busywait 20 run "$A" ping -q -c 1 -W 1 10.0.0.2 || fail "the tunnel does not work any more"
}

# --- changes under traffic ---

flap_link()
{
	ip -n "$A" link set wg0 down && ip -n "$A" link set wg0 up
}

flap_peer()
{
	run "$A" wg set wg0 peer "$(key "$B")" remove &&
		wg_peer "$A" wg0 "$B" 10.0.0.2/32,fd00::2/128 192.168.1.2:1002
}

add_peers()
{
	local i=$(($1 % 50))

	wg_peer "$A" wg0 "extra$i" "10.5.$i.0/24" "192.168.1.2:$((3000 + i))" persistent-keepalive 1 &&
		{ ((i % 3)) || run "$A" wg set wg0 peer "$(key "extra$((i / 2))")" remove; }
}

churn_allowed_ips()
{
	case $(($1 % 4)) in
	0) wg_peer "$A" wg0 "$B" 10.0.0.0/24,10.9.0.0/16,fd00::/64 ;;
	1) wg_peer "$A" wg0 "$B" 10.0.0.2/32 ;;
	2) wg_peer "$A" wg0 other 10.0.0.2/32,0.0.0.0/0,::/0 ;;
	3) wg_peer "$A" wg0 "$B" 10.0.0.2/32,fd00::2/128,0.0.0.0/1,128.0.0.0/1 ;;
	esac && wg_peer "$A" wg0 "$B" 10.0.0.2/32,fd00::2/128
}

change_port()
{
	run "$A" wg set wg0 listen-port $((1100 + $1 % 20))
}

change_key()
{
	key spare >/dev/null
	run "$A" wg set wg0 private-key "$WG_KEYS/spare" &&
		run "$A" wg set wg0 private-key "$WG_KEYS/$A"
}

change_mark()
{
	run "$A" wg set wg0 fwmark $(($1 % 3))
}

change_psk()
{
	wg genpsk >"$WG_KEYS/psk" &&
		run "$A" wg set wg0 peer "$(key "$B")" preshared-key "$WG_KEYS/psk" &&
		run "$B" wg set wg0 peer "$(key "$A")" preshared-key "$WG_KEYS/psk"
}

change_mtu()
{
	ip -n "$A" link set wg0 mtu $((1280 + $1 % 300)) && ip -n "$B" link set wg0 mtu 1420
}

change_endpoint()
{
	wg_peer "$A" wg0 "$B" 10.0.0.2/32,fd00::2/128 192.168.1.77:1002 &&
		wg_peer "$A" wg0 "$B" 10.0.0.2/32,fd00::2/128 "[fd01::2]:1002" &&
		wg_peer "$A" wg0 "$B" 10.0.0.2/32,fd00::2/128 192.168.1.2:1002
}

change_address()
{
	ip -n "$A" address add 192.168.1.50/25 dev eth0 &&
		ip -n "$A" address del 192.168.1.1/24 dev eth0 &&
		ip -n "$A" address add 192.168.1.1/24 dev eth0 &&
		ip -n "$A" address del 192.168.1.50/25 dev eth0
}

flap_wire()
{
	ip -n "$A" link set eth0 down && ip -n "$A" link set eth0 up &&
		ip -n "$A" address replace fd01::1/64 dev eth0
}

make_and_delete()
{
	ip -n "$A" link add wg9 type wireguard &&
		run "$A" wg set wg9 private-key "$WG_KEYS/$A" listen-port 1999 &&
		wg_peer "$A" wg9 other 10.9.0.0/24 192.168.1.2:1998 persistent-keepalive 1 &&
		ip -n "$A" link set wg9 up && ip -n "$A" link del wg9
}

# --- namespaces ---

test_moved()
{
	local status

	# The device goes to C, its sockets stay in A.
	pair && ns_new C && ip -n "$A" link set wg0 netns "$C" &&
		ip -n "$C" address add 10.0.0.1/24 dev wg0 && ip -n "$C" link set wg0 up &&
		traffic_on "$C" 10.0.0.2 && ping_works "$C" 10.0.0.2 &&
		run "$A" ss -uln | grep -q :1001 && ! run "$C" ss -uln | grep -q :1001 &&
		! run "$C" ip link show eth0 2>/dev/null
	status=$?
	((status == 0)) || fail "it does not work from another namespace"
	# C goes, and the device and its sockets with it.
	traffic_off
	traffic_on "$B" 10.0.0.1
	traffic_on "$C" 10.0.0.2
	sleep 0.5
	ip netns pids "$C" | xargs -r kill -KILL 2>/dev/null
	ip netns del "$C"
	busywait 20 no_socket "$A" || { fail "its socket is still there"; status=1; }
	unpair
	return "$status"
}

no_socket()
{
	! run "$1" ss -uln | grep -q :1001
}

test_birth_dies()
{
	local status=0

	pair && ns_new C && ip -n "$A" link set wg0 netns "$C" &&
		ip -n "$C" address add 10.0.0.1/24 dev wg0 && ip -n "$C" link set wg0 up &&
		ping_works "$C" 10.0.0.2 && traffic_on "$C" 10.0.0.2
	status=$?
	((status == 0)) || fail "it does not work from another namespace"
	sleep 0.3
	ns_end "$A"
	busywait 20 no_carrier || { fail "the device of the dead namespace has a carrier"; status=1; }
	# It can be looked at, changed, and deleted, but it can't be used.
	run "$C" wg show wg0 >/dev/null || { fail "wg show fails"; status=1; }
	! run "$C" ping -q -c 1 -W 1 10.0.0.2 || { fail "something answers"; status=1; }
	ip -n "$C" link set wg0 down
	! ip -n "$C" link set wg0 up || { fail "it can be set up"; status=1; }
	run "$C" wg set wg0 listen-port 1005
	ip -n "$C" link del wg0 || { fail "it can't be deleted"; status=1; }
	ns_end "$C"
	unpair
	return "$status"
}

no_carrier()
{
	ip -n "$C" link show wg0 | grep -q NO-CARRIER
}

test_delete_namespaces()
{
	local round

	for round in 1 2; do
		pair || { unpair; return 1; }
		sleep 0.5
		# Not first the traffic, as unpair does.
		ip netns del "$A"
		ip netns del "$B"
		sleep 0.2
		traffic_off
	done
}

test_delete_device()
{
	local round status=0

	for round in 1 2; do
		pair || { unpair; return 1; }
		ip -n "$A" link del wg0 || status=1
		sleep 0.2
		ip -n "$B" link del wg0 || status=1
		unpair
	done
	return "$status"
}

# --- the module ---

test_unload()
{
	local round status=0 left

	for round in 1 2; do
		pair || { unpair; return 1; }
		sleep 0.3
		# Devices don't hold it: they go with it.
		rmmod wireguard || { fail "rmmod: round $round"; status=1; }
		left=$(run "$A" ip -o link show type wireguard; run "$B" ip -o link show type wireguard)
		[[ -z $left ]] || { fail "still there: $left"; status=1; }
		! grep -q '^wireguard ' /proc/modules || { fail "still loaded"; status=1; }
		traffic_off
		ns_end "$A"
		ns_end "$B"
	done
	# Loaded again by whoever makes a device.
	pair || { fail "not after loading it again"; status=1; }
	unpair
	return "$status"
}

# Writes to it come and go while it is loaded and unloaded.
test_unload_with_netlink()
{
	local poll n

	ns_new A
	while :; do run "$A" wg show all dump; done >/dev/null 2>&1 &
	poll=$!
	for n in 1 2 3 4; do
		ip -n "$A" link add wg0 type wireguard
		ip -n "$A" link set wg0 up
		busywait 10 rmmod wireguard || { kill -KILL "$poll"; fail "round $n"; return 1; }
	done
	kill -KILL "$poll"
	wait "$poll" 2>/dev/null
	ip -n "$A" link add wg0 type wireguard
}

# --- nothing stalls ---

grown()
{
	(($(statistic "$1" wg0 rx_packets) > $2))
}

# There is a session and nothing to send. For a moment there is no way to the peer.
test_keepalive_survives()
{
	local before

	ns_new A B && tunnel "$A" "$B" && ping_works "$A" 10.0.0.2 &&
		run "$A" wg set wg0 peer "$(key "$B")" persistent-keepalive 1 || return
	before=$(statistic "$B" wg0 rx_packets)
	busywait 5 grown "$B" $((before + 1)) || fail "no keepalives at all" || return
	ip -n "$A" link set eth0 down
	sleep 4
	ip -n "$A" link set eth0 up
	ip -n "$A" address replace fd01::1/64 dev eth0
	before=$(statistic "$B" wg0 rx_packets)
	busywait 8 grown "$B" $((before + 2)) || fail "no keepalives any more"
}

# Set while there is no way to the peer: that one comes to nothing, later ones go.
test_keepalive_begins()
{
	local before

	ns_new A B && tunnel "$A" "$B" && ping_works "$A" 10.0.0.2 || return
	ip -n "$A" link set eth0 down
	run "$A" wg set wg0 peer "$(key "$B")" persistent-keepalive 1
	sleep 2
	ip -n "$A" link set eth0 up
	before=$(statistic "$B" wg0 rx_packets)
	busywait 8 grown "$B" $((before + 2)) || fail "no keepalives"
}

# It can't be made, for want of a private key: what waits for that is not forgotten.
test_initiation_again()
{
	local control=/proc/dynamic_debug/control

	[[ -n $OWN ]] || { skip "about our messages"; return; }
	echo 'module wireguard func retry_handshake +p' >"$control" || { skip "no dynamic debug here"; return; }
	ns_new A && ip -n "$A" link add wg0 type wireguard && wg_peer "$A" wg0 nobody 10.0.0.2/32 127.0.0.1:9 &&
		ip -n "$A" address add 10.0.0.1/24 dev wg0 && ip -n "$A" link set wg0 up || return
	dmesg -C
	run "$A" ping -c 1 -W 1 10.0.0.2
	busywait 8 sh -c "dmesg | grep -q 'wg0: No answer from peer [0-9]*, initiation 2 follows'" ||
		fail "not tried again"
}

shook_hands()
{
	(($(run "$1" wg show wg0 latest-handshakes | cut -f 2) > 0))
}

# A answers B, which does not hear it and forgets about it. Then A has a packet.
test_response_lost()
{
	ns_new A B && tunnel "$A" "$B" && run "$B" nft -f - <<-'END' || return
		table inet deaf {
			chain input {
				type filter hook input priority 0
				udp sport 1001 @th,64,8 2 counter drop
			}
		}
	END
	run "$B" ping -c 1 -W 1 10.0.0.1
	response_dropped() { run "$B" nft list table inet deaf | grep -q 'packets 1 '; }
	busywait 10 response_dropped || fail "no response" || return
	run "$B" nft delete table inet deaf
	ip -n "$B" link set wg0 down && ip -n "$B" link set wg0 up || return
	before=$(statistic "$B" wg0 rx_packets)
	run "$A" ping -c 1 -W 1 10.0.0.2
	# An initiation, the packet, and what comes of it.
	busywait 10 run "$A" sh -c "wg show wg0 latest-handshakes | grep -v '	0\$'" ||
		fail "no handshake: the packet waits for another one"
}

pair || exit
check "up and down under traffic" churn flap_link
check "a peer removed and added under traffic" churn flap_peer
check "other peers added and removed under traffic" churn add_peers
check "allowed IPs changed under traffic" churn churn_allowed_ips
check "listen port changed under traffic" churn change_port
check "private key changed under traffic" churn change_key
check "pre-shared key changed under traffic" churn change_psk
check "fwmark changed under traffic" churn change_mark
check "MTU changed under traffic" churn change_mtu
check "endpoint changed under traffic" churn change_endpoint
check "addresses of the wire changed under traffic" churn change_address
check "wire up and down under traffic" churn flap_wire
check "other devices made and deleted under traffic" churn make_and_delete
unpair
check "a device moved to another namespace, which dies under traffic" test_moved
check "the namespace it was made in dies first" test_birth_dies
check "namespaces deleted under traffic" test_delete_namespaces
check "devices deleted under traffic" test_delete_device
check "persistent keepalives after a time without a route" test_keepalive_survives
check "persistent keepalives that begin without a route" test_keepalive_begins
check "an initiation that could not be made is tried again" test_initiation_again
check "a packet that comes when a response was lost" test_response_lost
check "the module unloaded under traffic" test_unload
check "the module unloaded while somebody asks for devices" test_unload_with_netlink
finish
