# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# What one side of an interoperation cell can do. Sourced by the agent that acts
# for the side: on this machine, in a namespace of it, or on the other machine.
# Processes cost much in an emulated machine, so there are few.
#
# Side NUMBER (1 or 2) has in CELL the interface wgCELLnNUMBER, the addresses
# 10.100.CELL.NUMBER and fd64:CELL::NUMBER on its LINK, 10.200.CELL.NUMBER and
# fdc8:CELL::NUMBER on the interface, and UDP port 20000 + CELL. One that has
# roamed has the address 1NUMBER or the port 30000 + CELL.

umask 077

# prepare NUMBER SIZE...: what a side needs once: a place where handshake
# messages that leave are counted, addresses that stay when the first one of
# their network goes, and files of random bytes. Prints their checksums.
prepare()
{
	local number=$1 size
	shift

	sysctl -q net.ipv4.conf.all.promote_secondaries=1
	nft -f - <<-'END'
		add table inet interop
		add chain inet interop out { type filter hook output priority 0; }
	END
	for size; do
		head -c "$size" /dev/urandom >"/tmp/payload.$number.$size"
		sha256sum <"/tmp/payload.$number.$size"
	done
}

# make KIND LINK CELL NUMBER KEY PEER [PSK [ENDPOINT]]: sets the side up. KEY is
# its private key, PEER the other side's public key.
make()
{
	local kind=$1 link=$2 cell=$3 number=$4 peer=$((3 - $4)) name=wg$3n$4
	local mark=$((0x1000 + cell)) add="link add $name type wireguard"
	local options=(allowed-ips "10.200.$cell.$peer/32,fdc8:$cell::$peer/128")

	if [[ $kind == go ]]; then
		wireguard-go "$name" >/dev/null 2>&1
		add=
	fi
	ip -batch - <<-END
		$add
		address add 10.100.$cell.$number/24 dev $link
		address add fd64:$cell::$number/64 dev $link nodad
		address add 10.200.$cell.$number/24 dev $name
		address add fdc8:$cell::$number/64 dev $name nodad
		link set $name mtu 1420 up
	END
	[[ -z ${8:-} ]] || options+=(endpoint "$8")
	if [[ -n ${7:-} ]]; then
		printf '%s\n' "$7" >"/tmp/psk.$cell.$number"
		options+=(preshared-key "/tmp/psk.$cell.$number")
	fi
	# The mark is for the counters: of initiations, type 1, and responses.
	wg set "$name" fwmark "$mark" listen-port $((20000 + cell)) \
		private-key <(printf '%s\n' "$5") peer "$6" "${options[@]}"
	nft -f - <<-END
		add counter inet interop c${cell}t1
		add counter inet interop c${cell}t2
		add rule inet interop out meta mark $mark meta l4proto udp @th,64,8 1 counter name c${cell}t1
		add rule inet interop out meta mark $mark meta l4proto udp @th,64,8 2 counter name c${cell}t2
	END
}

# remove LINK CELL NUMBER: takes all of that away but for the counters.
remove()
{
	ip -force -batch - <<-END >/dev/null 2>&1 || :
		link del wg$2n$3
		address del 10.100.$2.$3/24 dev $1
		address del fd64:$2::$3/64 dev $1
		address del 10.100.$2.1$3/24 dev $1
		address del fd64:$2::1$3/64 dev $1
	END
}

# roam WHAT LINK CELL NUMBER: from now on this side has another port or another
# address.
roam()
{
	[[ ${INTEROP_PLANT:-} != roam ]] || return 0
	case $1 in
	port)
		wg set "wg$3n$4" listen-port $((30000 + $3))
		;;
	address)
		ip -batch - <<-END
			address add 10.100.$3.1$4/24 dev $2
			address add fd64:$3::1$4/64 dev $2 nodad
			address del 10.100.$3.$4/24 dev $2
			address del fd64:$3::$4/64 dev $2
		END
		;;
	esac
}

# report CELL NUMBER: prints the time of the last handshake, the initiations and
# responses sent, the bytes received and sent that the peer and then the
# interface have counted, and where the other side is believed to be.
report()
{
	local name=wg$1n$2 list dump line counted=() fields

	list=$(nft "list counter inet interop c$1t1; list counter inet interop c$1t2")
	while read -r -a line; do
		[[ ${line[0]} != packets ]] || counted+=("${line[1]}")
	done <<<"$list"
	dump=$(wg show "$name" dump)
	IFS=$'\t' read -r -a fields <<<"${dump#*$'\n'}"
	list=/sys/class/net/$name/statistics
	printf '%s ' "${fields[4]}" "${counted[@]}" "${fields[5]}" "${fields[6]}" \
		"$(<"$list/rx_bytes")" "$(<"$list/tx_bytes")"
	printf '%s\n' "${fields[2]}"
}

# reach ADDRESS SECONDS: the first packet.
reach()
{
	ping -n -q -c 1 -W "$2" "$1" >/dev/null
}

# identity KIND: says whose module or program makes the interfaces.
identity()
{
	local info

	case $1 in
	kernel) ip link add probe type wireguard ;;
	go) wireguard-go probe >/dev/null 2>&1 ;;
	esac
	info=$(ethtool -i probe | sed -n 's/^\(driver\|bus-info\): *//p')
	ip link del probe
	printf '%s\n' "${info//$'\n'/ }"
}

# exchange OWN FOREIGN PORT FILE SECONDS PATIENCE [COMMAND...]: takes what comes to
# address OWN and meanwhile sends FILE to FOREIGN, each over one connection to
# PORT, and prints the checksum of what came. FILE goes in pieces of equal size
# that are spread over SECONDS, if those are not 0, and COMMAND is run when half
# of them are gone. PATIENCE is how much longer all that may take.
exchange()
{
	local own=$1 foreign=$2 port=$3 file=$4 seconds=$5 limit=$(($5 + $6))
	local receiver tries
	shift 6

	timeout "$limit" nc -d -l "$own" "$port" | sha256sum &
	receiver=$!
	for ((tries = 0; ; tries++)); do
		# shellcheck disable=SC2188
		! { exec {to}>"/dev/tcp/$foreign/$port"; } 2>/dev/null || break
		((tries < 200)) || return
		sleep 0.1
	done
	# shellcheck disable=SC2154 # exec sets it
	if ((seconds)); then
		pace "$file" "$seconds" "$@" | spoil >&"$to"
	else
		spoil <"$file" >&"$to"
	fi
	exec {to}>&-
	wait "$receiver"
}

# spoil: passes all on, but in a run that is to show that the test can fail.
spoil()
{
	if [[ ${INTEROP_PLANT:-} == corrupt ]]; then
		tr '\000' '\001'
	else
		cat
	fi
}

# pace FILE SECONDS [COMMAND...]
pace()
{
	local file=$1 seconds=$2 pieces size piece start now due
	shift 2

	pieces=$((seconds < 12 ? 12 : seconds))
	size=$(stat -c %s "$file")
	size=$(((size + pieces - 1) / pieces))
	start=${EPOCHREALTIME/./}
	for ((piece = 0; piece < pieces; piece++)); do
		((piece != pieces / 2)) || "$@"
		dd if="$file" bs="$size" skip="$piece" count=1 status=none
		now=${EPOCHREALTIME/./}
		due=$((start + (piece + 1) * seconds * 1000000 / pieces))
		((now >= due)) || sleep "$(((due - now) / 1000))e-3"
	done
}
