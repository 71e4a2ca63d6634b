#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# A tunnel is a network device like others: what the rest of the stack does with
# devices works, and packets of all shapes go through.

# shellcheck disable=SC2317 # tests are called by their names

set -uo pipefail
cd "$(dirname "$0")" || exit
# shellcheck source=tests/lib/tap.sh
. ../lib/tap.sh
# shellcheck source=tests/lib/net.sh
. ../lib/net.sh

PORT=7000
files=$(mktemp -d)
defer rm -rf "$files"
A='' B='' C=''

# A and B have a tunnel; C is behind A, and knows the way to B's end through A.
set_up()
{
	ns_new A B C && tunnel "$A" "$B" && veth "$A" "$C" eth1 eth0 &&
		ip -n "$A" address add 10.3.0.1/24 dev eth1 &&
		ip -n "$C" address add 10.3.0.2/24 dev eth0 &&
		ip -n "$A" address add fd03::1/64 dev eth1 &&
		ip -n "$C" address add fd03::2/64 dev eth0 &&
		ip -n "$C" route add default via 10.3.0.1 &&
		ip -n "$C" route add default via fd03::1 &&
		run "$A" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 &&
		ip -n "$B" route add 10.3.0.0/24 dev wg0 &&
		ip -n "$B" route add fd03::/64 dev wg0 &&
		wg_peer "$B" wg0 "$A" 10.0.0.1/32,fd00::1/128,10.3.0.0/24,fd03::/64 &&
		wire_keeps_order "$A" "$B" "$C" && acquainted "$A" 10.0.0.2 &&
		acquainted "$A" fd01::2 && acquainted "$C" 10.0.0.2 && acquainted "$C" fd00::2
}

# acquainted FROM ADDRESS: everybody on the way knows its neighbours. What waits
# for that is sent late, by whichever CPU hears the answer, while others already
# send the packets that follow.
acquainted()
{
	ping_works "$@"
}

# stream FROM ADDRESS TO [COUNT [SIZE]]: datagrams come, all of them and in order.
stream()
{
	local receiver

	PORT=$((PORT + 1))
	rm -f "$files/stream"
	run "$3" "$TOOLS/stream" receive "$PORT" 1 800 >"$files/stream" &
	receiver=$!
	busywait 10 grep -q ready "$files/stream" || return
	run "$1" "$TOOLS/stream" send "$2" "$PORT" 1 "${4:-100}" "${5:-1000}" 100 0 || return
	wait "$receiver"
	cat "$files/stream"
	grep -q "^all .* received ${4:-100} .* lost 0 late 0 twice 0 corrupt 0" "$files/stream"
}

# transfer FROM ADDRESS TO BYTES: over TCP, with checksums.
transfer()
{
	local server address=$2

	[[ $address != *:* ]] || address=[$address]
	PORT=$((PORT + 1))
	head -c "$4" /dev/urandom >"$files/in"
	rm -f "$files/out"
	run "$3" timeout 60 socat -u "TCP6-LISTEN:$PORT,ipv6only=0,reuseaddr" "CREATE:$files/out" &
	server=$!
	if ! busywait 10 listens "$3" ||
		! run "$1" timeout 60 socat -u -b 262144 "OPEN:$files/in" "TCP:$address:$PORT"; then
		kill "$server"
		fail "no transfer"
		return
	fi
	wait "$server"
	cmp "$files/in" "$files/out"
}

listens()
{
	run "$1" ss -Htln "sport = :$PORT" | grep -q .
}

# --- packet filters and their like ---

test_nft_nat()
{
	local status

	run "$A" nft -f - <<-'END' || return
		table ip nat {
			chain post {
				type nat hook postrouting priority srcnat
				oifname wg0 counter masquerade
			}
		}
	END
	# B has no route back to C but by this.
	ip -n "$B" route del 10.3.0.0/24 dev wg0
	stream "$C" 10.0.0.2 "$B" && transfer "$C" 10.0.0.2 "$B" 300000 && ping_works "$C" 10.0.0.2
	status=$?
	run "$A" conntrack -L 2>/dev/null | tee "$files/conntrack"
	ip -n "$B" route add 10.3.0.0/24 dev wg0
	run "$A" nft delete table ip nat
	((status == 0)) && grep -q 'src=10.3.0.2 dst=10.0.0.2 .*src=10.0.0.2 dst=10.0.0.1' "$files/conntrack"
}

test_iptables_dnat()
{
	local status

	run "$A" iptables -t nat -A PREROUTING -i wg0 -p udp --dport 7777 \
		-j DNAT --to 10.3.0.2:"$PORT" || return
	rm -f "$files/stream"
	run "$C" "$TOOLS/stream" receive "$PORT" 1 800 >"$files/stream" &
	local receiver=$!
	busywait 10 grep -q ready "$files/stream" &&
		run "$B" "$TOOLS/stream" send 10.0.0.1 7777 1 100 1000 100 0
	wait "$receiver"
	grep "received 100 .* lost 0 late 0 twice 0 corrupt 0" "$files/stream"
	status=$?
	run "$A" iptables -t nat -L -v
	run "$A" iptables -t nat -F
	return "$status"
}

test_nft_drop()
{
	local status=0

	run "$B" nft -f - <<-'END' || return
		table inet f {
			chain in {
				type filter hook input priority 0
				iifname wg0 meta l4proto icmp counter drop
			}
		}
	END
	! run "$A" ping -q -c 1 -W 1 10.0.0.2 || status=1
	stream "$A" 10.0.0.2 "$B" || status=1
	run "$B" nft list table inet f | grep 'packets 1 ' || status=1
	run "$B" nft delete table inet f
	return "$status"
}

test_flowtable()
{
	local status=0

	run "$A" nft -f - <<-'END' || fail "no flow tables" || return
		table inet f {
			flowtable ft {
				hook ingress priority 0
				devices = { eth1, wg0 }
			}
			chain forward {
				type filter hook forward priority 0
				meta l4proto { tcp, udp } flow add @ft
				counter
			}
		}
	END
	transfer "$C" 10.0.0.2 "$B" 3000000 && stream "$C" fd00::2 "$B" 300 1000 || status=1
	run "$A" grep -c OFFLOAD /proc/net/nf_conntrack || status=1
	# The forward chain saw the beginnings only.
	run "$A" nft list chain inet f forward | tee "$files/chain"
	(($(sed -n 's/.*counter packets \([0-9]*\).*/\1/p' "$files/chain") < 200)) || status=1
	run "$A" nft delete table inet f
	return "$status"
}

test_tc()
{
	local status=0 way

	for way in ingress egress; do
		tc -n "$A" qdisc add dev wg0 clsact || return
		tc -n "$A" filter add dev wg0 "$way" protocol ip u32 match ip protocol 1 0xff \
			action drop || { fail "no u32 filter"; status=1; }
		! run "$A" ping -q -c 1 -W 1 10.0.0.2 || { fail "not dropped, $way"; status=1; }
		stream "$A" 10.0.0.2 "$B" || status=1
		tc -s -n "$A" filter show dev wg0 "$way" | grep 'dropped [1-9]' ||
			{ fail "nothing counted, $way"; status=1; }
		tc -n "$A" qdisc del dev wg0 clsact
	done
	ping_works "$A" 10.0.0.2 && return "$status"
}

test_tc_bpf()
{
	local status=0 way

	bpf_file tc || fail "no BPF program" || return
	tc -n "$A" qdisc add dev wg0 clsact || return
	for way in ingress egress; do
		# In its namespace ip and tc have no file system of BPF's.
		nsenter --net="/run/netns/$A" tc filter add dev wg0 "$way" bpf da pinned "$bpf" || status=1
		! run "$A" ping -q -c 1 -W 1 10.0.0.2 || { fail "not dropped, $way"; status=1; }
		stream "$A" 10.0.0.2 "$B" && ping_works "$A" fd00::2 || status=1
		tc -n "$A" filter del dev wg0 "$way"
	done
	tc -n "$A" qdisc del dev wg0 clsact
	ping_works "$A" 10.0.0.2 && return "$status"
}

# bpf_file KIND: a pinned program; its file in $bpf.
bpf_file()
{
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf || return
	bpf=/sys/fs/bpf/wgt-$1-$$
	[[ -e $bpf ]] || { "$TOOLS/bpf" "$1" "$bpf" && defer rm -f "$bpf"; }
}

test_xdp()
{
	local status=0

	bpf_file xdp || fail "no BPF program" || return
	nsenter --net="/run/netns/$A" ip link set dev wg0 xdpgeneric pinned "$bpf" || return
	! run "$A" ping -q -c 1 -W 1 10.0.0.2 || { fail "not dropped"; status=1; }
	stream "$B" 10.0.0.1 "$A" && stream "$B" fd00::1 "$A" && transfer "$B" 10.0.0.1 "$A" 500000 ||
		status=1
	ip -n "$A" link set dev wg0 xdpgeneric off
	ping_works "$A" 10.0.0.2 && return "$status"
}

test_capture()
{
	local pid

	rm -f "$files/tcpdump"
	ip netns exec "$A" tcpdump --immediate-mode -U -n -v -i wg0 -w "$files/capture" 2>"$files/tcpdump" &
	pid=$!
	busywait 10 grep -q listening "$files/tcpdump" || fail "no tcpdump" || return
	ping_works "$A" 10.0.0.2 && ping_works "$A" fd00::2
	busywait 5 captured "fd00::2 > fd00::1: .*echo reply"
	kill "$pid"
	wait "$pid"
	tcpdump -n -r "$files/capture" 2>&1 | head -20
	captured '10.0.0.1 > 10.0.0.2: ICMP echo request' &&
		captured '10.0.0.2 > 10.0.0.1: ICMP echo reply' &&
		captured 'fd00::1 > fd00::2: .*echo request' &&
		captured 'fd00::2 > fd00::1: .*echo reply'
}

captured()
{
	tcpdump -n -r "$files/capture" 2>/dev/null | grep -q -- "$1"
}

# What a packet socket sends, also one that does not say what protocol it is.
test_injection()
{
	rm -f "$files/stream"
	run "$B" "$TOOLS/stream" receive "$PORT" 1 800 >"$files/stream" &
	local receiver=$!
	busywait 10 grep -q ready "$files/stream" || return
	run "$A" python3 - "$PORT" <<-'END' || { kill "$receiver"; return 1; }
		import socket, struct, sys
		sys.path.insert(0, "../lib")
		from net import udp4
		for number, protocol in enumerate((0x800, 0)):
		    payload = struct.pack(">II", 0, number)
		    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
		    s.bind(("wg0", protocol))
		    s.send(udp4("10.0.0.1", "10.0.0.2", payload, dport=int(sys.argv[1])))
		s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
		s.sendto(udp4("10.0.0.1", "10.0.0.2", struct.pack(">II", 0, 2), dport=int(sys.argv[1])),
		         ("wg0", 0x800))
		# This one is neither IPv4 nor IPv6.
		try:
		    s.sendto(bytes(60), ("wg0", 0x0806))
		except OSError as error:
		    print("refused:", error)
	END
	wait "$receiver"
	cat "$files/stream"
	grep -q '^all .* received 3 ' "$files/stream"
}

# --- shapes of packets ---

test_fragments()
{
	# C learns the MTU of the path.
	run "$C" ping -q -c 3 -w 3 -s 1400 fd00::2
	ping_works "$A" 10.0.0.2 -s 65000 && ping_works "$A" fd00::2 -s 65000 &&
		ping_works "$C" 10.0.0.2 -s 65000 && stream "$A" 10.0.0.2 "$B" 30 60000 &&
		stream "$C" fd00::2 "$B" 30 20000
}

test_large_mtu()
{
	local mtu status=0 size ns

	for ns in "$A" "$B"; do
		ip -n "$ns" link set eth0 mtu 65535
	done
	for mtu in 9000 60000; do
		for ns in "$A" "$B"; do
			ip -n "$ns" link set wg0 mtu "$mtu"
		done
		for size in $((mtu - 28)) $((mtu - 29)) $((mtu / 2)) 1; do
			ping_works "$A" 10.0.0.2 -M "do" -s "$size" || status=1
			ping_works "$B" fd00::1 -M "do" -s $((size > 40 ? size - 20 : size)) || status=1
		done
		stream "$A" 10.0.0.2 "$B" 50 $((mtu - 28)) || status=1
		transfer "$A" fd00::2 "$B" 3000000 || status=1
	done
	# With an outer packet in many fragments.
	for ns in "$A" "$B"; do
		ip -n "$ns" link set eth0 mtu 1500
	done
	# More pieces than the in-tree module takes.
	if [[ -n $OWN ]]; then
		ping_works "$A" 10.0.0.2 -s 59972 || status=1
		stream "$B" 10.0.0.1 "$A" 20 59000 || status=1
	fi
	for ns in "$A" "$B"; do
		ip -n "$ns" link set wg0 mtu 1420
		ip -n "$ns" address replace "fd01::$([[ $ns == "$A" ]] && echo 1 || echo 2)/64" dev eth0
	done
	ping_works "$A" fd00::2 || status=1
	return "$status"
}

# offloads STATE: of the wire, and of what is behind A. Not GRO: with it a veth
# device has a short queue of its own, and drops what does not fit.
offloads()
{
	local ns dev

	for ns in "$A" "$B" "$C"; do
		for dev in eth0 eth1; do
			run "$ns" ethtool -K "$dev" tx "$1" gso "$1" tso "$1" sg "$1" >/dev/null 2>&1
		done
	done
	return 0
}

test_offloads_off()
{
	local status=0

	offloads off
	stream "$A" 10.0.0.2 "$B" 200 1392 && stream "$C" fd00::2 "$B" 200 1300 &&
		transfer "$A" 10.0.0.2 "$B" 2000000 && transfer "$B" fd00::1 "$A" 2000000 &&
		transfer "$C" 10.0.0.2 "$B" 2000000 && segments "$A" 10.0.0.2 "$B" 1300 40 || status=1
	offloads on
	return "$status"
}

test_tso()
{
	transfer "$A" 10.0.0.2 "$B" 5000000 && transfer "$A" fd00::2 "$B" 5000000 &&
		transfer "$C" 10.0.0.2 "$B" 3000000 && transfer "$B" 10.3.0.2 "$C" 3000000
}

# segments FROM ADDRESS TO SEGMENT SEGMENTS: UDP GSO
segments()
{
	local receiver

	PORT=$((PORT + 1))
	rm -f "$files/gso"
	run "$3" "$TOOLS/gso" receive "$PORT" "$4" 800 >"$files/gso" &
	receiver=$!
	busywait 10 grep -q ready "$files/gso" || return
	run "$1" "$TOOLS/gso" send "$2" "$PORT" "$4" "$5" 10 || return
	wait "$receiver"
	cat "$files/gso"
	grep -q "^good $((10 * $5)) wrong 0" "$files/gso"
}

test_udp_gso()
{
	segments "$A" 10.0.0.2 "$B" 1300 50 && segments "$A" fd00::2 "$B" 1200 50 &&
		segments "$A" 10.0.0.2 "$B" 1392 2 && segments "$A" 10.0.0.2 "$B" 100 64 &&
		segments "$C" 10.0.0.2 "$B" 1300 40
}

# gro_lists STATE: what comes to A from C is merged into lists of whole packets.
gro_lists()
{
	local timeout=0

	# What is merged so keeps the checksums that it came with.
	run "$C" ethtool -K eth0 tx "$([[ $1 == on ]] && echo off || echo on)" >/dev/null
	# A poll finds but one packet here: they wait for one another.
	[[ $1 == off ]] || timeout=20000000
	run "$A" sh -c "echo $timeout >/sys/class/net/eth1/gro_flush_timeout" &&
		run "$A" ethtool -K eth1 gro "$1" rx-gro-list "$1" >/dev/null
}

test_gro_lists()
{
	local status=0 before merged address

	gro_lists on || { gro_lists off; fail "no GRO to lists"; return; }
	before=$(counter "$A" wg0 tx_superpackets)
	for address in 10.0.0.2 fd00::2; do
		# Of one length, and some of which each is shorter than the padding.
		burst "$C" "$address" "$B" 1000 && burst "$C" "$address" "$B" 33 &&
			transfer "$C" "$address" "$B" 1000000 || status=1
	done
	merged=$(($(counter "$A" wg0 tx_superpackets) - before))
	[[ -z $OWN ]] || ((merged > 0)) || { fail "nothing was merged"; status=1; }
	# There is no session: they are staged.
	flush_sessions
	burst "$C" 10.0.0.2 "$B" 1000 || status=1
	gro_lists off
	ping_works "$C" 10.0.0.2 && return "$status"
}

# Aggregates of that kind outside of the tunnel, which it does not ask for.
test_gro_lists_outside()
{
	local status=0

	[[ -n $OWN ]] || { skip "about our switches"; return; }
	run "$B" ethtool --set-priv-flags wg0 aggregates-in off &&
		run "$B" sh -c "echo 20000000 >/sys/class/net/eth0/gro_flush_timeout" &&
		run "$B" ethtool -K eth0 gro on rx-gro-list on >/dev/null || status=1
	burst "$A" 10.0.0.2 "$B" 1000 && segments "$A" 10.0.0.2 "$B" 1300 40 &&
		transfer "$A" fd00::2 "$B" 500000 || status=1
	run "$B" ethtool -K eth0 gro off rx-gro-list off >/dev/null
	run "$B" sh -c "echo 0 >/sys/class/net/eth0/gro_flush_timeout"
	run "$B" ethtool --set-priv-flags wg0 aggregates-in on
	ping_works "$A" 10.0.0.2 && return "$status"
}

# burst FROM ADDRESS TO SIZE: fifty datagrams without a pause, all of which come.
burst()
{
	local receiver

	PORT=$((PORT + 1))
	rm -f "$files/stream"
	run "$3" "$TOOLS/stream" receive "$PORT" 1 1500 >"$files/stream" &
	receiver=$!
	busywait 10 grep -q ready "$files/stream" || return
	run "$1" "$TOOLS/stream" send "$2" "$PORT" 1 50 "$4" 0 0 || return
	wait "$receiver"
	cat "$files/stream"
	grep -q "^all .* received 50 .* lost 0 late 0 twice 0 corrupt 0" "$files/stream"
}

# IPv6 packets of more than 64 KiB, which become many.
test_big_tcp()
{
	local status=0 pids=() ns

	[[ -n $OWN ]] || { skip "the in-tree module takes no packets of that size"; return; }
	ip -n "$A" link set wg0 gso_max_size 131072 || fail "no BIG TCP" || return
	# Then TCP makes packets as long as it may, how slow this machine ever is.
	run "$A" sysctl -qw net.ipv4.tcp_tso_rtt_log=30
	for ns in "$A" "$B"; do
		rm -f "$files/big-$ns"
		ip netns exec "$ns" tcpdump --immediate-mode -U -n -s 100 -i wg0 -w "$files/big-$ns.pcap" \
			ip6 2>"$files/big-$ns" &
		pids+=($!)
		busywait 10 grep -q listening "$files/big-$ns" || status=1
	done
	# On a busy machine TCP does not have as much to send each time.
	for _ in 1 2 3 4 5; do
		run "$A" ip tcp_metrics flush
		transfer "$A" fd00::2 "$B" 6000000 || status=1
		sleep 0.5
		! tcpdump -n -r "$files/big-$A.pcap" 'greater 65577' 2>/dev/null | grep -q . || break
	done
	kill "${pids[@]}"
	wait "${pids[@]}"
	ip -n "$A" link set wg0 gso_max_size 65536
	run "$A" sysctl -qw net.ipv4.tcp_tso_rtt_log=9
	tcpdump -n -r "$files/big-$A.pcap" 'greater 65577' 2>/dev/null | grep -q . ||
		{ fail "no packet had more than 64 KiB"; status=1; }
	# A hop-by-hop header is for what is longer than a length field can say.
	! tcpdump -n -r "$files/big-$B.pcap" 'ip6[6] = 0' 2>/dev/null | grep -m 3 . ||
		{ fail "with a jumbo option"; status=1; }
	return "$status"
}

test_device_offloads_off()
{
	local status=0

	run "$A" ethtool -K wg0 tx off gso off sg off >/dev/null || return
	transfer "$A" 10.0.0.2 "$B" 500000 && stream "$A" fd00::2 "$B" || status=1
	# Kernels before 6.11 refuse UDP GSO where there is no checksum offload.
	run "$A" ethtool -K wg0 tx on >/dev/null
	segments "$A" 10.0.0.2 "$B" 1300 40 || status=1
	run "$A" ethtool -K wg0 tx on gso on sg on >/dev/null
	return "$status"
}

# --- sockets and routes ---

test_port_zero()
{
	local port again

	wg_new "$A" wg5 five 0 || return
	port=$(run "$A" wg show wg5 listen-port)
	((port > 0)) && run "$A" ss -Huln "sport = :$port" | tee "$files/ss" &&
		(($(wc -l <"$files/ss") == 2)) || fail "port $port" || return
	# It stays while the device goes down and up.
	ip -n "$A" link set wg5 down && ip -n "$A" link set wg5 up
	again=$(run "$A" wg show wg5 listen-port)
	ip -n "$A" link del wg5
	((port == again)) || fail "port $port became $again"
}

test_port_taken()
{
	local status=0

	wg_new "$A" wg5 five 1500 || return
	ip -n "$A" link add wg6 type wireguard
	run "$A" wg set wg6 listen-port 1500
	! ip -n "$A" link set wg6 up || { fail "two devices on one port"; status=1; }
	# Refused while up, too: then the old port stays.
	run "$A" wg set wg6 listen-port 1501 && ip -n "$A" link set wg6 up || status=1
	! run "$A" wg set wg6 listen-port 1500 || { fail "changed to a port that is taken"; status=1; }
	ip -n "$A" link del wg5
	ip -n "$A" link del wg6
	return "$status"
}

# All traffic goes into the tunnel, but for what the tunnel itself sends.
test_fwmark()
{
	local status=0

	wg_peer "$A" wg0 "$B" 0.0.0.0/0,fd00::2/128 &&
		run "$A" wg set wg0 fwmark 0x1234 &&
		ip -n "$A" rule add not fwmark 0x1234 table 100 priority 100 &&
		ip -n "$A" route add default dev wg0 table 100 || status=1
	# Also to B's end of the wire.
	rm -f "$files/tcpdump"
	ip netns exec "$B" tcpdump --immediate-mode -l -n -i wg0 icmp >"$files/dump" 2>"$files/tcpdump" &
	busywait 10 grep -q listening "$files/tcpdump"
	ping_works "$A" 192.168.1.2 -I 10.0.0.1 || status=1
	busywait 5 grep '10.0.0.1 > 192.168.1.2: ICMP echo request' "$files/dump" || status=1
	kill %tcpdump 2>/dev/null || kill $! 2>/dev/null
	ip -n "$A" rule del priority 100
	ip -n "$A" route flush table 100
	run "$A" wg set wg0 fwmark 0
	wg_peer "$A" wg0 "$B" 10.0.0.2/32,fd00::2/128
	ping_works "$A" 10.0.0.2 && return "$status"
}

test_link_local()
{
	local address status=0

	address=$(ip -n "$B" -o -6 address show dev eth0 scope link | awk '{ print $4 }')
	address=${address%/*}
	[[ -n $address ]] || fail "no link-local address" || return
	wg_peer "$A" wg0 "$B" 10.0.0.2/32,fd00::2/128 "[$address%eth0]:1002" || return
	flush_sessions
	ping_works "$A" 10.0.0.2 || status=1
	run "$A" wg show wg0 endpoints | tee /dev/stderr | grep -qF "[$address%eth0]:1002" || status=1
	run "$B" wg show wg0 endpoints | tee /dev/stderr | grep -q 'fe80::.*%eth0' || status=1
	# It answers there, too.
	ping_works "$B" 10.0.0.1 || status=1
	wg_peer "$A" wg0 "$B" 10.0.0.2/32,fd00::2/128 192.168.1.2:1002
	ping_works "$A" 10.0.0.2 && return "$status"
}

flush_sessions()
{
	ip -n "$A" link set wg0 down && ip -n "$A" link set wg0 up &&
		ip -n "$A" address replace fd00::1/64 dev wg0
}

test_outer_ipv6()
{
	local status=0

	wg_peer "$A" wg0 "$B" 10.0.0.2/32,fd00::2/128 "[fd01::2]:1002" &&
		stream "$A" 10.0.0.2 "$B" && transfer "$A" fd00::2 "$B" 1000000 &&
		ping_works "$A" 10.0.0.2 -s 30000 || status=1
	wg_peer "$A" wg0 "$B" 10.0.0.2/32,fd00::2/128 192.168.1.2:1002
	ping_works "$A" 10.0.0.2 && return "$status"
}

# One socket, two peers, of which one does not answer: packets wait for it, as
# many as would fill the socket's buffer. To the other one it can send all the same.
test_silent_peer()
{
	local status=0

	wg_peer "$A" wg0 silent 10.0.0.79/32 192.168.1.2:9
	run "$A" python3 - <<-'END' || status=1
		import socket
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.setblocking(False)
		refused = 0
		for _ in range(500):
		    try:
		        s.sendto(bytes(1000), ("10.0.0.79", 9))
		    except BlockingIOError:
		        refused += 1
		print(refused, "of 500 to the silent peer were refused")
		s.sendto(bytes(1000), ("10.0.0.2", 9))
		assert not refused
	END
	run "$A" wg set wg0 peer "$(key silent)" remove
	return "$status"
}

# --- what there is nobody for ---

test_no_peer()
{
	local status=0 before

	before=$(statistic "$A" wg0 tx_errors)
	run "$A" ping -n -c 1 -W 1 10.0.0.77 >"$files/ping" 2>&1 && status=1
	grep -q 'Required key not available' "$files/ping" || status=1
	grep -q 'Host Unreachable' "$files/ping" || status=1
	run "$A" ping -n -c 1 -W 1 fd00::77 >>"$files/ping" 2>&1 && status=1
	(($(grep -c 'Required key not available' "$files/ping") == 2)) || status=1
	grep -q 'Address unreachable' "$files/ping" || status=1
	# Whoever is behind A gets to know as well.
	ip -n "$A" route add 10.8.0.0/24 dev wg0
	run "$C" ping -n -c 1 -W 1 10.8.0.1 >"$files/behind" 2>&1 && status=1
	grep -q 'From 10.[0-9.]* .*Host Unreachable' "$files/behind" || status=1
	ip -n "$A" route del 10.8.0.0/24 dev wg0
	cat "$files/ping" "$files/behind"
	(($(statistic "$A" wg0 tx_errors) == before + 3)) ||
		{ fail "$(($(statistic "$A" wg0 tx_errors) - before)) errors counted"; status=1; }
	return "$status"
}

test_no_endpoint()
{
	local status=0

	wg_peer "$A" wg0 nobody 10.0.0.78/32,fd00::78/128
	run "$A" ping -n -c 1 -W 1 10.0.0.78 >"$files/ping" 2>&1 && status=1
	grep -q 'Destination address required' "$files/ping" || status=1
	grep -q 'Host Unreachable' "$files/ping" || status=1
	run "$A" ping -n -c 1 -W 1 fd00::78 >>"$files/ping" 2>&1 && status=1
	grep -q 'Address unreachable' "$files/ping" || status=1
	cat "$files/ping"
	run "$A" wg set wg0 peer "$(key nobody)" remove
	return "$status"
}

# --- how it looks ---

test_statistics()
{
	local before after name status=0

	before=$(statistic "$A" wg0 tx_packets)
	local bytes rx
	bytes=$(statistic "$A" wg0 tx_bytes)
	rx=$(statistic "$B" wg0 rx_packets)
	stream "$A" 10.0.0.2 "$B" 50 1000 || return
	after=$(statistic "$A" wg0 tx_packets)
	echo "$((after - before)) packets, $(($(statistic "$A" wg0 tx_bytes) - bytes)) bytes"
	((after - before >= 50 && after - before < 55)) || status=1
	((after - before - ($(statistic "$B" wg0 rx_packets) - rx) < 5)) || status=1
	for name in rx_errors rx_dropped tx_dropped tx_carrier_errors; do
		[[ $(statistic "$B" wg0 "$name") == 0 ]] || { fail "$name is not 0"; status=1; }
	done
	return "$status"
}

test_driver()
{
	run "$A" ethtool -i wg0 | tee /dev/stderr | grep -qx 'driver: wireguard' &&
		ip -n "$A" -d link show wg0 | tee /dev/stderr | grep -q 'POINTOPOINT,NOARP,UP' &&
		ip -n "$A" -d link show wg0 | grep -q ' wireguard ' &&
		ip -n "$A" -o link show type wireguard | grep -q wg0 &&
		[[ $(run "$A" cat /sys/class/net/wg0/type) == 65534 ]] &&
		grep -qx DEVTYPE=wireguard <(run "$A" cat /sys/class/net/wg0/uevent)
}

test_module()
{
	modinfo -F alias wireguard | sort | tee /dev/stderr >"$files/alias"
	grep -qx rtnl-link-wireguard "$files/alias" &&
		grep -qx 'net-pf-16-proto-16-family-wireguard' "$files/alias"
}

sysctl -qw net.core.netdev_max_backlog=100000
set_up || { echo "Bail out! no tunnel"; exit 1; }
check "nftables: masquerading and connection tracking" test_nft_nat
check "iptables: DNAT of what comes out of a tunnel" test_iptables_dnat
check "nftables: dropping by protocol" test_nft_drop
check "nftables: a flow table between a tunnel and a wire" test_flowtable
check "tc: filters in both directions" test_tc
check "tc: BPF filters in both directions" test_tc_bpf
check "generic XDP" test_xdp
check "capture sees both directions" test_capture
check "packets that a packet socket sends" test_injection
check "fragments" test_fragments
check "tunnels with an MTU of 9000 and 60000" test_large_mtu
check "TCP with segmentation offload" test_tso
check "UDP with segmentation offload" test_udp_gso
check "GRO to lists of packets, forwarded into a tunnel" test_gro_lists
check "GRO to lists of packets, outside of a tunnel" test_gro_lists_outside
check "TCP over IPv6 in packets of more than 64 KiB" test_big_tcp
check "a wire without any offloads" test_offloads_off
check "a tunnel without any offloads" test_device_offloads_off
check "listen port 0" test_port_zero
check "a listen port that is taken" test_port_taken
check "fwmark and policy routing" test_fwmark
check "IPv6 outside" test_outer_ipv6
check "a link-local endpoint with a scope" test_link_local
check "a socket that sends to a silent peer, and to another one" test_silent_peer
check "no peer for an address: the sender gets to know" test_no_peer
check "a peer without an endpoint: the sender gets to know" test_no_endpoint
check "statistics of the device" test_statistics
check "driver information and kind" test_driver
check "the module is found by the names it is asked for" test_module
finish
