# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# Namespaces, tunnels and counters, for tests in shell that run as root in a
# guest. To be sourced after tap.sh.

# Whether the module is ours, with its counters.
# shellcheck disable=SC2034 # for those who source this
[[ ${WGTRUNK_MODULE:-own} == own ]] && OWN=1 || OWN=

# shellcheck disable=SC2034 # for those who source this
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")/../tools" && pwd)/bin

# ns_new VARIABLE...: makes namespaces, and stores their names, which end in
# something random. They go away with the script.
ns_new()
{
	local variable name

	for variable; do
		name=${variable,,}-$(mktemp -u XXXXXX)
		ip netns add "$name" || return 1
		defer ns_end "$name"
		ip -n "$name" link set lo up
		run "$name" sysctl -qw net.ipv6.conf.all.accept_dad=0 \
			net.ipv6.conf.default.accept_dad=0
		printf -v "$variable" '%s' "$name"
	done
}

# ns_end NAME: with all that runs in it.
ns_end()
{
	local pids

	[[ -e /run/netns/$1 ]] || return 0
	pids=$(ip netns pids "$1" 2>/dev/null)
	# shellcheck disable=SC2086 # many
	[[ -z $pids ]] || kill -KILL $pids 2>/dev/null
	ip netns del "$1"
}

# run NAMESPACE COMMAND...
run()
{
	ip netns exec "$@"
}

# veth A B [NAME_A [NAME_B [MTU]]]: joins two namespaces, eth0 in both by default.
veth()
{
	ip link add "${3:-eth0}" netns "$1" mtu "${5:-1500}" type veth \
		peer name "${4:-eth0}" netns "$2" mtu "${5:-1500}" &&
		ip -n "$1" link set "${3:-eth0}" up &&
		ip -n "$2" link set "${4:-eth0}" up
}

# wire_keeps_order NAMESPACE...: whichever CPU sends, one CPU receives all that the
# wires to these bring. Else those who send from one CPU and then from another
# find their packets in the queues of both.
wire_keeps_order()
{
	local queue ns

	for ns; do
		for queue in $(run "$ns" sh -c 'echo /sys/class/net/eth*/queues/rx-*'); do
			run "$ns" sh -c "echo 1 >$queue/rps_cpus" || return 1
		done
	done
}

# Keys are files: $WG_KEYS/NAME and $WG_KEYS/NAME.pub
WG_KEYS=$(mktemp -d)
defer rm -rf "$WG_KEYS"

# key NAME: makes one, if there is none yet; prints the public key.
key()
{
	if [[ ! -e $WG_KEYS/$1 ]]; then
		(umask 077 && wg genkey >"$WG_KEYS/$1") || return 1
		wg pubkey <"$WG_KEYS/$1" >"$WG_KEYS/$1.pub"
	fi
	cat "$WG_KEYS/$1.pub"
}

# wg_new NAMESPACE DEVICE KEY [PORT [ADDRESS...]]: a device that is up.
wg_new()
{
	local ns=$1 dev=$2 key=$3 port=${4:-0} address

	shift 3
	(($# == 0)) || shift
	key "$key" >/dev/null
	ip -n "$ns" link add "$dev" type wireguard &&
		run "$ns" wg set "$dev" private-key "$WG_KEYS/$key" listen-port "$port" ||
		return 1
	for address; do
		ip -n "$ns" address add "$address" dev "$dev" || return 1
	done
	ip -n "$ns" link set "$dev" up
}

# wg_peer NAMESPACE DEVICE KEY ALLOWED_IPS [ENDPOINT [ARG...]]
wg_peer()
{
	local args=(peer "$(key "$3")" allowed-ips "$4")

	[[ -z ${5:-} ]] || args+=(endpoint "$5")
	run "$1" wg set "$2" "${args[@]}" "${@:6}"
}

# tunnel A B [DEVICE]: two namespaces, A and B, joined by a wire (192.168.1.1 and
# .2, fd01::1 and ::2) and a tunnel over it (10.0.0.1 and .2, fd00::1 and ::2).
tunnel()
{
	local a=$1 b=$2 dev=${3:-wg0}

	veth "$a" "$b" &&
		ip -n "$a" address add 192.168.1.1/24 dev eth0 &&
		ip -n "$b" address add 192.168.1.2/24 dev eth0 &&
		ip -n "$a" address add fd01::1/64 dev eth0 &&
		ip -n "$b" address add fd01::2/64 dev eth0 &&
		wg_new "$a" "$dev" "$a" 1001 10.0.0.1/24 fd00::1/64 &&
		wg_new "$b" "$dev" "$b" 1002 10.0.0.2/24 fd00::2/64 &&
		wg_peer "$a" "$dev" "$b" 10.0.0.2/32,fd00::2/128 192.168.1.2:1002 &&
		wg_peer "$b" "$dev" "$a" 10.0.0.1/32,fd00::1/128 192.168.1.1:1001
}

# ping_works NAMESPACE ADDRESS [ARG...]: within a few tries.
ping_works()
{
	local ns=$1 address=$2

	shift 2
	run "$ns" ping -q -n -i 0.2 -c 5 -w 12 -W 10 "$@" "$address" >/dev/null && return
	fail "no answer from $address ($*)"
}

# counter NAMESPACE DEVICE NAME: prints one of the module's, 0 where it has none.
counter()
{
	run "$1" ethtool -S "$2" 2>/dev/null | awk -v name="$3:" '
		$1 == name { n = $2 }
		END { print n + 0 }'
}

# statistic NAMESPACE DEVICE NAME: prints one of the device's, e.g. tx_bytes.
statistic()
{
	run "$1" cat "/sys/class/net/$2/statistics/$3"
}
