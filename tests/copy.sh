#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# copy.sh [--same] [KERNEL]
#
# A virtual machine with two tunnels up is saved to a file, in the midst of
# traffic, and goes on as another one, as from a snapshot: under a new identity,
# which QEMU's "VM generation ID" device tells it. Its keys must be gone, since
# whoever else was made of that file has them, too; and its tunnels go on.
#
#   --same  the identity stays, which nobody notices: the test must fail
#
# Output: TAP. KERNEL is 6.12: older ones here have no driver for that device.

set -u

# shellcheck source=tests/lib/result.sh
. "$(dirname "$0")/lib/result.sh"

# ------------------------------------------------------------------ in the guest

# pairs DEVICE created|destroyed: numbers of key pairs, in order
pairs()
{
	dmesg | sed -n "s/.*: $1: Keypair \([0-9]*\) $2 .*/\1/p" | sort -n
}

# within SECONDS COMMAND...: whether it succeeds in that time
within()
{
	local end=$((SECONDS + $1))

	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.2
	done
}

# gone DEVICE NUMBERS: just these are destroyed
gone()
{
	[[ $(pairs "$1" destroyed) == "$2" ]]
}

notified()
{
	dmesg | grep -q 'crng reseeded due to virtual machine fork'
}

ping_through()
{
	ping -q -c 1 -W 1 10.77.0.2 >/dev/null
}

in_guest()
{
	local before0 before1

	ip netns add far
	ip link add veth0 type veth peer name veth1 netns far
	ip addr add 192.168.77.1/24 dev veth0
	ip link set veth0 up
	ip -n far addr add 192.168.77.2/24 dev veth1
	ip -n far link set veth1 up
	umask 077
	wg genkey >/tmp/key0
	wg genkey >/tmp/key1
	ip link add wg0 type wireguard
	ip -n far link add wg1 type wireguard
	wg set wg0 private-key /tmp/key0 listen-port 1000 peer "$(wg pubkey </tmp/key1)" \
		allowed-ips 10.77.0.2/32 endpoint 192.168.77.2:2000
	ip netns exec far wg set wg1 private-key /tmp/key1 listen-port 2000 \
		peer "$(wg pubkey </tmp/key0)" allowed-ips 10.77.0.1/32
	ip addr add 10.77.0.1/24 dev wg0
	ip -n far addr add 10.77.0.2/24 dev wg1
	ip link set wg0 up
	ip -n far link set wg1 up

	within 20 ping_through && ping -i 0.2 10.77.0.2 >/tmp/pings &
	within 20 grep -qs icmp_seq=3 /tmp/pings
	result $? "traffic flows"
	before0=$(pairs wg0 created)
	before1=$(pairs wg1 created)
	[[ $before0 && $before1 && -z $(pairs wg0 destroyed) && -z $(pairs wg1 destroyed) ]]
	result $? "under a key pair at each end"

	echo 'copy this machine' >/dev/kmsg
	within 60 notified
	result $? "the kernel was told that this is a copy"
	within 10 gone wg0 "$before0"
	result $? "the keys of one end are gone"
	within 10 gone wg1 "$before1"
	result $? "and those of the other"
	within 20 ping_through
	result $? "traffic flows again"
	[[ $(comm -13 <(echo "$before0") <(pairs wg0 created)) && $(comm -13 <(echo "$before1") <(pairs wg1 created)) ]]
	result $? "under new ones"
	kill %1
	ip link del wg0
	ip netns del far
	end_results
}

# ------------------------------------------------------------------ outside

[[ ${1:-} != in-guest ]] || in_guest
set -e
cd "$(dirname "$0")/.."
identities="5cb5ee6c-a1a9-4b7c-8b1f-9d1f7ad0aa01 5cb5ee6c-a1a9-4b7c-8b1f-9d1f7ad0aa02"
case ${1:-} in
--same) identities="${identities%% *} ${identities%% *}" && shift ;;
-*)
	sed -n '/^# copy.sh \[/,/^$/s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
folder=$(mktemp -d "${TMPDIR:-/tmp}/wgtrunk-copy.XXXXXX")
trap 'rm -rf "$folder"' EXIT
qemu=$(scripts/qemu)
COPY_QEMU=$qemu COPY_FOLDER=$folder COPY_IDENTITIES=$identities PATH=$PWD/tests/copy:$PATH \
	scripts/vm --own --dyndbg --timeout 250 --log "$folder/log" "${1:-6.12}" -- bash tests/copy.sh in-guest
