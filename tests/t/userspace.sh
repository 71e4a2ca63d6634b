#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# wg and wg-quick, as people use them: configurations in files go in, come out
# the same and are changed under way; and whoever asks for WireGuard, by whatever
# name, gets the module that is installed.

# shellcheck disable=SC2317 # tests are called by their names

set -uo pipefail
cd "$(dirname "$0")" || exit
# shellcheck source=tests/lib/tap.sh
. ../lib/tap.sh
# shellcheck source=tests/lib/net.sh
. ../lib/net.sh

files=$(mktemp -d)
defer rm -rf "$files"
umask 077
A='' B='' C=''

# --- who loads it ---

# is_ours: whether what is loaded is the file that should be.
is_ours()
{
	local file=${WGTRUNK_OWN_KO:-} want got

	[[ -n $OWN ]] || file=$WGTRUNK_IN_TREE_KO
	want=$(modinfo -F srcversion "$file")
	got=$(cat /sys/module/wireguard/srcversion) || return
	echo "loaded: $got; $file: $want"
	[[ -n $want && $got == "$want" ]]
}

# loads COMMAND...: that does it, and it is the right one.
loads()
{
	[[ ! -e /sys/module/wireguard ]] || rmmod wireguard || fail "it is in use" || return
	[[ ! -e /sys/module/wireguard ]] || return
	"$@" || return
	is_ours
}

# installed COMMAND...: where modules are.
installed()
{
	[[ -n ${WGTRUNK_IN_TREE_KO:-} ]] || { skip "no modules are installed here"; return; }
	"$@"
}

# They could not be told apart otherwise.
test_two_modules()
{
	local own in_tree

	[[ -n ${WGTRUNK_OWN_KO:-} ]] || { skip "only one module is installed"; return; }
	own=$(modinfo -F srcversion "$WGTRUNK_OWN_KO")
	in_tree=$(modinfo -F srcversion "$WGTRUNK_IN_TREE_KO")
	echo "$WGTRUNK_OWN_KO: $own, $WGTRUNK_IN_TREE_KO: $in_tree"
	[[ -n $own && -n $in_tree && $own != "$in_tree" ]] || return
	# Of the two, the one in updates/ is preferred.
	[[ $(modinfo -F filename wireguard) == */updates/wireguard.ko ]]
}

test_load_by_name()
{
	loads modprobe wireguard
}

# load_by_link KIND
load_by_link()
{
	local status=0

	loads ip link add load0 type "$1" || status=1
	ip -d link show load0 || status=1
	ip -o link show type "$1" | grep -q ': load0:' || status=1
	ip link del load0
	return "$status"
}

test_load_by_link()
{
	load_by_link wireguard
}

test_load_by_trunk()
{
	[[ -n $OWN ]] || { skip "about our link kind"; return; }
	load_by_link wgtrunk
}

# get_family NAME: prints its number; CTRL_CMD_GETFAMILY is the first thing that
# the client does.
get_family()
{
	python3 - "$1" <<-'END'
		import sys
		sys.path.insert(0, "../lib")
		import wgnl
		wgnl.Netlink.FAMILY = sys.argv[1]
		number = wgnl.Netlink().family
		print(sys.argv[1], "is", number)
		assert number > 16
	END
}

test_load_by_family()
{
	command -v python3 >/dev/null || { skip "no python3"; return; }
	# A family that nobody has loads nothing.
	! get_family wireguards || fail "there is a family wireguards" || return
	loads get_family wireguard
}

test_load_by_our_family()
{
	command -v python3 >/dev/null || { skip "no python3"; return; }
	[[ -n $OWN ]] || { skip "about our family"; return; }
	loads get_family wg_lane
}

# --- wg: configurations ---

# A has two tunnels, to B and to C, with a configuration that is all of a kind of
# things. $files/a is that of its device.
set_up()
{
	local ns number=1

	ns_new A B C && veth "$A" "$B" eth0 eth0 && veth "$A" "$C" eth1 eth0 || return
	ip -n "$A" address add 192.168.1.1/24 dev eth0
	ip -n "$A" address add 192.168.2.1/24 dev eth1
	ip -n "$A" address add fd01::1/64 dev eth0
	ip -n "$A" address add fd02::1/64 dev eth1
	key a >/dev/null && wg genpsk >"$files/psk" || return
	for ns in "$B" "$C"; do
		ip -n "$ns" address add "192.168.$number.2/24" dev eth0
		ip -n "$ns" address add "fd0$number::2/64" dev eth0
		number=$((number + 1))
		wg_new "$ns" wg0 "$ns" 1002 "10.0.0.$number/24" "fd00::$number/64" || return
		wg_peer "$ns" wg0 a 10.0.0.1/32,fd00::1/128 "" preshared-key "$files/psk" || return
	done
	{
		interface
		peer_b
		peer_c
	} >"$files/a"
	ip -n "$A" link add wg0 type wireguard && run "$A" wg setconf wg0 "$files/a" &&
		ip -n "$A" address add 10.0.0.1/24 dev wg0 &&
		ip -n "$A" address add fd00::1/64 dev wg0 && ip -n "$A" link set wg0 up
}

interface()
{
	cat <<-END
		[Interface]
		PrivateKey = $(<"$WG_KEYS/a")
		ListenPort = 1001
		FwMark = 0x1234
	END
}

peer_b()
{
	cat <<-END

		# A comment
		[Peer]
		PublicKey = $(key "$B")
		PresharedKey = $(<"$files/psk")
		AllowedIPs = 10.0.0.2/32, fd00::2/128 # another one
		Endpoint = 192.168.1.2:1002
	END
}

peer_c()
{
	cat <<-END

		[Peer]
		PublicKey = $(key "$C")
		PresharedKey = $(<"$files/psk")
		AllowedIPs = 10.0.0.3/32
		AllowedIPs = fd00::3/128
		Endpoint = [fd02::2]:1002
		PersistentKeepalive = 25
	END
}

# field FILE KEY NUMBER: of the peer, in what `wg show dump` printed.
field()
{
	awk -F '\t' -v key="$2" -v n="$3" '$1 == key { print $n }' "$1"
}

test_setconf()
{
	ping_works "$A" 10.0.0.2 && ping_works "$A" fd00::2 &&
		ping_works "$A" 10.0.0.3 && ping_works "$A" fd00::3
}

test_dump()
{
	local dump=$files/dump b c psk

	b=$(key "$B") c=$(key "$C") psk=$(<"$files/psk")
	run "$A" wg show wg0 dump >"$dump" || return
	cat "$dump"
	diff <(cut -f 1-4 "$dump") - <<-END || return
		$(<"$WG_KEYS/a")	$(key a)	1001	0x1234
		$b	$psk	192.168.1.2:1002	10.0.0.2/32,fd00::2/128
		$c	$psk	[fd02::2]:1002	10.0.0.3/32,fd00::3/128
	END
	[[ $(field "$dump" "$b" 8) == off && $(field "$dump" "$c" 8) == 25 ]] ||
		fail "wrong keepalive" || return
	for key in "$b" "$c"; do
		(($(date +%s) - $(field "$dump" "$key" 5) < 60)) || fail "no time of a handshake" || return
		# A handshake and ten echos, at least.
		(($(field "$dump" "$key" 6) > 1000 && $(field "$dump" "$key" 7) > 1000)) ||
			fail "too few bytes" || return
	done
	# All devices: the same lines with the name before each.
	diff <(run "$A" wg show all dump | cut -f 1-5) <(sed 's/^/wg0\t/' "$dump" | cut -f 1-5)
}

# What one device says makes another one the same.
test_showconf()
{
	local status=0

	run "$A" wg showconf wg0 >"$files/one" || return
	# As often as it says it.
	(($(grep -c '^\[Peer\]' "$files/one") == 2)) || return
	ns_new D || return
	ip -n "$D" link add wg0 type wireguard && run "$D" wg setconf wg0 "$files/one" &&
		run "$D" wg showconf wg0 | diff "$files/one" - || status=1
	# A bad one changes nothing.
	{ cat "$files/one"; echo "AllowedIPs = 10.0.0.0/33"; } >"$files/bad"
	! run "$D" wg setconf wg0 "$files/bad" || { fail "accepted"; status=1; }
	run "$D" wg showconf wg0 | diff "$files/one" - || status=1
	ns_end "$D"
	return "$status"
}

# remember: how peers stand. The clock of handshakes has whole seconds.
remember()
{
	sleep 1.1
	run "$A" wg show wg0 dump >"$files/before"
}

# has_session KEY: it goes on since then: no new handshake, counters grow on.
has_session()
{
	run "$A" wg show wg0 dump >"$files/after"
	(($(field "$files/after" "$1" 5) == $(field "$files/before" "$1" 5))) ||
		fail "another handshake with $1" || return
	(($(field "$files/after" "$1" 6) > $(field "$files/before" "$1" 6) &&
		$(field "$files/after" "$1" 7) > $(field "$files/before" "$1" 7))) ||
		fail "counters of $1 did not go on"
}

test_syncconf_same()
{
	remember
	run "$A" wg syncconf wg0 "$files/a" || return
	ping_works "$A" 10.0.0.2 && ping_works "$A" fd00::3 || return
	has_session "$(key "$B")" && has_session "$(key "$C")"
}

# Of B the prefixes change, C goes, another one comes.
test_syncconf()
{
	key d >/dev/null
	{
		interface
		peer_b | sed 's|fd00::2/128|fd00::2/128, 10.7.0.0/16|'
		printf '[Peer]\nPublicKey = %s\nAllowedIPs = 10.0.0.4/32\n' "$(key d)"
	} >"$files/b-only"
	remember
	run "$A" wg syncconf wg0 "$files/b-only" || return
	ping_works "$A" 10.0.0.2 && has_session "$(key "$B")" || return
	run "$A" wg show wg0 allowed-ips | sort | diff - <(printf '%s\t%s\n' \
		"$(key "$B")" "10.0.0.2/32 fd00::2/128 10.7.0.0/16" "$(key d)" 10.0.0.4/32 | sort) || return
	! run "$A" ping -q -c 1 -W 1 10.0.0.3 || fail "C is still there"
}

# C comes back, and B is as it was.
test_addconf()
{
	remember
	peer_c >"$files/c"
	run "$A" wg addconf wg0 "$files/c" || return
	ping_works "$A" 10.0.0.3 && ping_works "$A" fd00::3 && ping_works "$A" 10.0.0.2 &&
		has_session "$(key "$B")" || return
	run "$A" wg show wg0 peers | sort | diff - <(printf '%s\n' "$(key "$B")" "$(key "$C")" "$(key d)" | sort)
}

# setconf begins anew, even with the same.
test_setconf_again()
{
	remember
	run "$A" wg setconf wg0 "$files/a" || return
	# The one with a keepalive begins by itself.
	(($(run "$A" wg show wg0 latest-handshakes | awk -v key="$(key "$B")" '$1 == key { print $2 }') == 0)) ||
		fail "B kept its session" || return
	ping_works "$A" 10.0.0.2 && ping_works "$A" 10.0.0.3 || return
	! has_session "$(key "$B")" && ! has_session "$(key "$C")" || fail "a session went on" || return
	run "$A" wg show wg0 peers | sort | diff - <(printf '%s\n' "$(key "$B")" "$(key "$C")" | sort)
}

# --- wg-quick ---

# quick WORD...
quick()
{
	local name=${*: -1}

	# Where the kernel refuses, it would try another implementation.
	WG_QUICK_USERSPACE_IMPLEMENTATION=false run "$A" wg-quick "${@:1:$#-1}" "$files/$name.conf"
}

# is_kernels DEVICE: and with our module it is ours.
is_kernels()
{
	ip -n "$A" -o link show type wireguard | grep -q ": $1: " || fail "$1 is not the kernel's" || return
	[[ -z $OWN ]] || run "$A" ethtool -i "$1" | grep -q 'bus-info: wgtrunk' || fail "$1 is not ours"
}

# is_gone DEVICE: with rules, routes and filters.
is_gone()
{
	! ip -n "$A" link show "$1" 2>/dev/null || fail "the device stayed" || return
	[[ -z $(ip -n "$A" rule | grep -v 'lookup \(local\|main\|default\)$'
		ip -n "$A" -6 rule | grep -v 'lookup \(local\|main\)$') ]] || fail "a rule stayed" || return
	[[ -z $(ip -n "$A" route show table all | grep "dev $1\\b"
		ip -n "$A" -6 route show table all | grep "dev $1\\b") ]] || fail "a route stayed" || return
	! run "$A" nft list ruleset | grep "$1" || fail "a filter stayed"
}

# through_tunnel N: B's device had at least so many packets since $seen.
through_tunnel()
{
	local now

	now=$(statistic "$B" wg0 rx_packets)
	echo "$((now - seen)) packets came through the tunnel"
	((now - seen >= $1))
}

test_quick()
{
	local status=0 seen

	{
		cat <<-END
			[Interface]
			PrivateKey = $(<"$WG_KEYS/a")
			ListenPort = 1001
			Address = 10.0.0.1/24, fd00::1/64
			Address = 10.0.5.1/32
			PreUp = echo pre-up %i >>$files/hooks
			PostUp = ip -o link show %i | grep -o UP | head -n 1 >>$files/hooks
			PreDown = ip -o link show %i | grep -o UP | head -n 1 >>$files/hooks
			PostDown = echo post-down %i >>$files/hooks
		END
		peer_b
		echo 'AllowedIPs = 10.9.0.0/24'
	} >"$files/wgq0.conf"
	seen=$(statistic "$B" wg0 rx_packets)
	quick up wgq0 || return
	is_kernels wgq0 && ping_works "$A" 10.0.0.2 && ping_works "$A" fd00::2 || status=1
	through_tunnel 10 || status=1
	ip -n "$A" -o address show dev wgq0 | awk '{ print $4 }' | sort | diff - <(
		printf '%s\n' 10.0.0.1/24 10.0.5.1/32 fd00::1/64) || status=1
	ip -n "$A" route show 10.9.0.0/24 | grep -q 'dev wgq0' || { fail "no route"; status=1; }
	# 1500 less what it takes outside.
	[[ $(run "$A" cat /sys/class/net/wgq0/mtu) == 1420 ]] || { fail "wrong MTU"; status=1; }
	! quick up wgq0 || { fail "twice"; status=1; }
	# Changed in the file, while it is up.
	sed -i 's/10.9.0.0/10.8.0.0/' "$files/wgq0.conf"
	run "$A" wg syncconf wgq0 <(wg-quick strip "$files/wgq0.conf") || status=1
	run "$A" wg show wgq0 allowed-ips | grep -q 10.8.0.0/24 || { fail "not changed"; status=1; }
	ping_works "$A" 10.0.0.2 || status=1
	quick down wgq0 && is_gone wgq0 || status=1
	printf '%s\n' "pre-up wgq0" UP UP "post-down wgq0" | diff "$files/hooks" - || status=1
	return "$status"
}

# All that A sends, but for what the tunnel itself sends; it had another way.
test_quick_default_route()
{
	local status=0 seen address

	ip -n "$B" address add 10.77.0.1/32 dev lo
	ip -n "$B" address add fd77::1/128 dev lo
	ip -n "$A" route add default via 192.168.1.2
	ip -n "$A" -6 route add default via fd01::2
	{
		cat <<-END
			[Interface]
			PrivateKey = $(<"$WG_KEYS/a")
			ListenPort = 1001
			Address = 10.0.0.1/24, fd00::1/64
		END
		peer_b
		echo 'AllowedIPs = 0.0.0.0/0, ::/0'
	} >"$files/wgq1.conf"
	quick up wgq1 || return
	is_kernels wgq1 || status=1
	[[ $(run "$A" wg show wgq1 fwmark) == 0xca6c ]] || { fail "no mark"; status=1; }
	ip -n "$A" rule
	for address in 10.77.0.1 fd77::1; do
		seen=$(statistic "$B" wg0 rx_packets)
		ping_works "$A" "$address" && through_tunnel 5 || status=1
	done
	# What is near stays out of it, and so does what it sends itself.
	seen=$(statistic "$B" wg0 rx_packets)
	ping_works "$A" 192.168.1.2 || status=1
	! through_tunnel 1 || { fail "the wire's own network goes into the tunnel"; status=1; }
	[[ $(run "$A" wg show wgq1 endpoints | cut -f 2) == 192.168.1.2:1002 ]] || status=1
	quick down wgq1 && is_gone wgq1 || status=1
	seen=$(statistic "$B" wg0 rx_packets)
	ping_works "$A" 10.77.0.1 && ping_works "$A" fd77::1 || status=1
	! through_tunnel 1 || { fail "still through the tunnel"; status=1; }
	ip -n "$A" route del default
	ip -n "$A" -6 route del default
	return "$status"
}

test_quick_table()
{
	local status=0

	{
		cat <<-END
			[Interface]
			PrivateKey = $(<"$WG_KEYS/a")
			Address = 10.0.0.1/32
			FwMark = 0x77
			Table = 1234
			MTU = 1380
			ListenPort = 1001
		END
		peer_b
	} >"$files/wgq2.conf"
	quick up wgq2 || return
	is_kernels wgq2 || status=1
	[[ $(run "$A" wg show wgq2 fwmark) == 0x77 ]] || { fail "no mark"; status=1; }
	[[ $(run "$A" cat /sys/class/net/wgq2/mtu) == 1380 ]] || { fail "wrong MTU"; status=1; }
	ip -n "$A" route show table 1234 | grep '^10.0.0.2 dev wgq2' || { fail "no route there"; status=1; }
	! ip -n "$A" route show | grep wgq2 || { fail "a route in the main table"; status=1; }
	ip -n "$A" rule add to 10.0.0.2 table 1234
	ping_works "$A" 10.0.0.2 || status=1
	ip -n "$A" rule del to 10.0.0.2 table 1234
	quick down wgq2 && is_gone wgq2 || status=1
	# Nor any routes at all.
	sed -i 's/^Table = .*/Table = off/' "$files/wgq2.conf"
	quick up wgq2 || return
	! ip -n "$A" route show table all | grep '^10.0.0.2 ' || { fail "a route"; status=1; }
	! ip -n "$A" -6 route show table all | grep '^fd00::2 ' || { fail "a route"; status=1; }
	quick down wgq2 && is_gone wgq2 && return "$status"
}

# What was changed meanwhile is in the file afterwards, and comes up again.
test_quick_save()
{
	local status=0

	{
		cat <<-END
			[Interface]
			PrivateKey = $(<"$WG_KEYS/a")
			ListenPort = 1001
			Address = 10.0.0.1/24
			SaveConfig = true
		END
		peer_b
	} >"$files/wgq3.conf"
	quick up wgq3 || return
	is_kernels wgq3 || status=1
	run "$A" wg set wgq3 fwmark 0x99 peer "$(key "$C")" preshared-key "$files/psk" \
		endpoint '[fd02::2]:1002' allowed-ips 10.0.0.3/32 persistent-keepalive 21 || status=1
	quick save wgq3 || status=1
	cat "$files/wgq3.conf"
	grep -q "^PublicKey = $(key "$C")" "$files/wgq3.conf" || { fail "not saved"; status=1; }
	ip -n "$A" address add fd00::1/64 dev wgq3
	run "$A" wg set wgq3 peer "$(key "$B")" allowed-ips 10.0.0.2/32,fd00::2/128,10.6.0.0/16 || status=1
	quick down wgq3 && is_gone wgq3 || status=1
	quick up wgq3 || return
	ping_works "$A" 10.0.0.2 && ping_works "$A" fd00::2 && ping_works "$A" 10.0.0.3 || status=1
	run "$A" wg show wgq3 dump | cut -f 1-4,8 | sort | diff - <(
		{
			printf '%s\t' "$(<"$WG_KEYS/a")" "$(key a)" 1001 && echo 0x99
			printf '%s\t' "$(key "$B")" "$(<"$files/psk")" 192.168.1.2:1002 \
				10.0.0.2/32,fd00::2/128,10.6.0.0/16 && echo off
			printf '%s\t' "$(key "$C")" "$(<"$files/psk")" '[fd02::2]:1002' 10.0.0.3/32 && echo 21
		} | sort) || status=1
	quick down wgq3 && is_gone wgq3 && return "$status"
}

check "there are two modules, and ours comes first" installed test_two_modules
check "loaded by its name" installed test_load_by_name
check "loaded by a link of kind wireguard" installed test_load_by_link
check "loaded by a link of kind wgtrunk" installed test_load_by_trunk
check "loaded by who asks for the family wireguard" installed test_load_by_family
check "loaded by who asks for the family wg_lane" installed test_load_by_our_family
set_up || { echo "Bail out! no tunnel"; exit 1; }
check "wg setconf: tunnels of a file" test_setconf
check "wg show dump: all there is" test_dump
check "wg showconf: makes the same device" test_showconf
check "wg syncconf with the same: sessions go on" test_syncconf_same
check "wg syncconf: peers change, go and come, a session goes on" test_syncconf
check "wg addconf: a peer more, a session goes on" test_addconf
check "wg setconf with the same: begins anew" test_setconf_again
ip -n "$A" link del wg0
check "wg-quick: addresses, routes, hooks" test_quick
check "wg-quick: the default route, of both families" test_quick_default_route
check "wg-quick: a table and a mark of one's own, and no routes" test_quick_table
check "wg-quick: SaveConfig" test_quick_save
finish
