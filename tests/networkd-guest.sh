#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# In the guest of networkd.sh: systemd-networkd makes a tunnel to B and C, which
# are namespaces, behind one wire each.

# shellcheck disable=SC2317 # tests are called by their names

set -uo pipefail
cd "$(dirname "$0")" || exit
# shellcheck source=tests/lib/tap.sh
. lib/tap.sh
# shellcheck source=tests/lib/net.sh
. lib/net.sh

FOLDER=/etc/systemd/network
B='' C=''

set_up()
{
	local ns number=1

	ns_new B C && key a >/dev/null && (umask 077 && wg genpsk >"$WG_KEYS/psk") || return
	# networkd reads the keys as a user of its own.
	chmod 711 "$WG_KEYS" && chgrp systemd-network "$WG_KEYS"/{a,psk} &&
		chmod 640 "$WG_KEYS"/{a,psk} || return
	for ns in "$B" "$C"; do
		ip link add "wire$number" type veth peer name eth0 netns "$ns" &&
			ip -n "$ns" link set eth0 up &&
			ip -n "$ns" address add "192.168.$number.2/24" dev eth0 &&
			ip -n "$ns" address add "fd0$number::2/64" dev eth0 || return
		number=$((number + 1))
		wg_new "$ns" wg0 "$ns" 1002 "10.0.0.$number/24" "fd00::$number/64" &&
			wg_peer "$ns" wg0 a 10.0.0.1/32,fd00::1/128 "" preshared-key "$WG_KEYS/psk" || return
	done
	for number in 1 2; do
		cat >"$FOLDER/10-wire$number.network" <<-END
			[Match]
			Name=wire$number
			[Network]
			Address=192.168.$number.1/24
			Address=fd0$number::1/64
			LinkLocalAddressing=ipv6
			IPv6AcceptRA=no
			IPv6DuplicateAddressDetection=0
		END
	done
	cat >"$FOLDER/20-wg0.network" <<-END
		[Match]
		Name=wg0
		[Network]
		Address=10.0.0.1/24
		Address=fd00::1/64
		IPv6DuplicateAddressDetection=0
	END
	netdev "$B" 192.168.1.2 10.0.0.2 fd00::2
}

# netdev NAMESPACE ENDPOINT IPV4 IPV6: the tunnel, with that peer.
netdev()
{
	cat >"$FOLDER/20-wg0.netdev" <<-END
		[NetDev]
		Name=wg0
		Kind=wireguard
		MTUBytes=1400
		[WireGuard]
		PrivateKeyFile=$WG_KEYS/a
		ListenPort=1001
		FirewallMark=0x1234
		RouteTable=main
		[WireGuardPeer]
		PublicKey=$(key "$1")
		PresharedKeyFile=$WG_KEYS/psk
		AllowedIPs=$3/32,$4/128,10.9.0.0/24
		Endpoint=$2:1002
		PersistentKeepalive=25
	END
}

# soon COMMAND...: networkd brings it about; if not, what it says.
soon()
{
	busywait 30 "$@" && return
	networkctl --no-pager status wg0
	journalctl --no-pager -u systemd-networkd | tail -n 30
	wg show
	fail "never came: $*"
}

# is_routable DEVICE: networkd thinks that it is done with it.
is_routable()
{
	networkctl --no-legend list "$1" | grep -q 'routable *configured'
}

pings()
{
	ping -q -n -i 0.2 -c 5 -w 12 "$1" >/dev/null || fail "no answer from $1"
}

test_comes_up()
{
	systemctl is-system-running --wait
	systemctl restart systemd-networkd && soon is_routable wire1 && soon is_routable wg0 || return
	ip -o link show type wireguard | grep -q ': wg0: .* mtu 1400 ' || fail "no such device" || return
	ethtool -i wg0 | tee /dev/stderr | grep -q 'bus-info: wgtrunk' || fail "not ours" || return
	[[ $(cat /sys/module/wireguard/srcversion) == "$(modinfo -F srcversion "$WGTRUNK_OWN_KO")" ]]
}

test_configuration()
{
	wg show wg0 dump | cut -f 1-4 | diff - <(
		printf '%s\t%s\t1001\t0x1234\n' "$(<"$WG_KEYS/a")" "$(key a)"
		# It says them to the kernel from the last to the first.
		printf '%s\t%s\t192.168.1.2:1002\t10.9.0.0/24,fd00::2/128,10.0.0.2/32\n' \
			"$(key "$B")" "$(<"$WG_KEYS/psk")") || return
	[[ $(wg show wg0 persistent-keepalive | cut -f 2) == 25 ]] || fail "wrong keepalive" || return
	ip route show 10.9.0.0/24 | grep 'dev wg0 .*proto static' || fail "no route"
}

test_traffic()
{
	pings 10.0.0.2 && pings fd00::2 && ping_works "$B" 10.0.0.1 && ping_works "$B" fd00::1 || return
	(($(statistic "$B" wg0 rx_packets) >= 20)) || fail "not through the tunnel"
}

# is_with KEY: that is the only peer.
is_with()
{
	[[ $(wg show wg0 peers) == "$1" ]]
}

# The device is the same; networkd 252 sets it anew when it starts.
test_peer_changes()
{
	local index

	index=$(cat /sys/class/net/wg0/ifindex)
	netdev "$C" '[fd02::2]' 10.0.0.3 fd00::3
	systemctl restart systemd-networkd && soon is_with "$(key "$C")" && soon is_routable wg0 || return
	[[ $(cat /sys/class/net/wg0/ifindex) == "$index" ]] || fail "another device" || return
	pings 10.0.0.3 && pings fd00::3 && ! ping -q -c 1 -W 1 10.0.0.2 || return
	[[ $(wg show wg0 endpoints | cut -f 2) == '[fd02::2]:1002' ]]
}

# One that is made anew, by a reload.
test_reload()
{
	netdev "$B" '[fd01::2]' 10.0.0.2 fd00::2
	networkctl delete wg0 && ! ip link show wg0 && networkctl reload || return
	soon is_with "$(key "$B")" && soon is_routable wg0 || return
	pings 10.0.0.2 && pings fd00::2
}

# And addresses of one that stays.
test_reload_network()
{
	local index

	index=$(cat /sys/class/net/wg0/ifindex)
	sed -i 's|^Address=10.0.0.1/24|&\nAddress=10.0.7.1/32|' "$FOLDER/20-wg0.network"
	networkctl reload && soon ip route get 10.0.0.2 from 10.0.7.1 || return
	[[ $(cat /sys/class/net/wg0/ifindex) == "$index" ]] || fail "another device" || return
	run "$B" wg set wg0 peer "$(key a)" allowed-ips 10.0.0.1/32,fd00::1/128,10.0.7.1/32
	ip -n "$B" route add 10.0.7.1/32 dev wg0
	ping_works "$B" 10.0.7.1 && pings 10.0.0.2
}

set_up || { echo "Bail out! no namespaces"; exit 1; }
check "networkd: a tunnel comes up, by our module" test_comes_up
check "networkd: it is as it was told" test_configuration
check "networkd: traffic in it" test_traffic
check "networkd: another peer, on the same device" test_peer_changes
check "networkd: a reload makes the device again" test_reload
check "networkd: a reload changes addresses, on the same device" test_reload_network
finish
