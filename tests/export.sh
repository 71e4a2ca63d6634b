#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# export.sh [OPTION...] [KERNEL]
#
# A far end with the in-tree module and nothing but exported files carries the
# same traffic. Two virtual machines on a link: side A is KERNEL (6.1, or 6.12,
# without an argument) with this project's module and a trunk of 4 lanes, brought
# up by wgtrunk; side B is the other kernel with its own module, and `wg-quick up`
# of each file that `wgtrunk export` wrote. Checksummed payload goes both ways
# over 16 TCP connections, at IPv4 and at IPv6, and while A is scaled to 2 lanes.
#
#   --plant WHAT  plant an error, to see checks fail: corrupt (the payload that B
#                 sends is not the one that A expects), lane (all that B sends
#                 goes through lane 0), lost (a connection is killed)
#
# Output: TAP. Exit status: 0, or 1 if a check failed.

# shellcheck disable=SC2317 # tests are called by their names

LANES=4 CONNECTIONS=16
# Each connection I of an exchange sends so many bytes of its side's payload, from
# I * STEP on. Those of `scale` must outlast a call of wgtrunk, on any machine.
declare -A size=([v4]=$((1 << 20)) [v6]=$((1 << 18)) [scale]=$((6 << 20)))
STEP=10007
# The link, and the networks behind the sides.
declare -A link=([A]=192.0.2.1 [B]=192.0.2.2)
declare -A inner4=([A]=10.1.0.1 [B]=10.2.0.1) inner6=([A]=fd01::1 [B]=fd02::1)
declare -A trunk4=([A]=10.255.0.1 [B]=10.255.0.2) trunk6=([A]=fd00:ff::1 [B]=fd00:ff::2)
declare -A other=([A]=B [B]=A)
FILES=/root/export

# ------------------------------------------------------------------ in the guests

# meet NAME: waits for the other side. Without it there is nothing to test.
meet()
{
	barrier "$1" 60 || { echo "Bail out! nobody at '$1'"; exit 1; }
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for()
{
	local deadline=$((SECONDS + $1))

	until "${@:2}"; do
		((SECONDS < deadline)) || return 1
		sleep 0.2
	done
}

set_up_link()
{
	ip -batch - <<-END
		link set eth0 up
		address add ${link[$side]}/24 dev eth0
		address add ${inner4[$side]}/32 dev lo
		address add ${inner6[$side]}/128 dev lo
	END
}

# Handshake initiations that come, for each lane.
count_initiations()
{
	local i

	nft add table inet lanes
	nft add chain inet lanes in '{ type filter hook input priority 0; }'
	for ((i = 0; i < LANES; i++)); do
		nft add counter inet lanes "lane$i"
		nft add rule inet lanes in udp dport $((51820 + i)) @th,64,8 1 counter name "lane$i"
	done
}

all_called()
{
	local list count=0 line

	list=$(nft list counters)
	while read -r line; do
		[[ $line != "packets "* || $line == "packets 0 "* ]] || count=$((count + 1))
	done <<<"$list"
	((count == LANES))
}

test_far_end_calls()
{
	wait_for 45 all_called || { nft list counters; fail "not all lanes"; }
}

test_module()
{
	local info

	info=$(ethtool -i west.0) || return
	printf '%s\n' "$info"
	if [[ $side == A ]]; then
		[[ $WGTRUNK_MODULE == own && $info == *"bus-info: wgtrunk-"* ]]
	else
		[[ $WGTRUNK_MODULE == in-tree && $info != *wgtrunk-* ]]
	fi
}

test_wgtrunk_up()
{
	local said

	said=$(wgtrunk up west 2>&1) || fail "status $?: $said" || return
	[[ -z $said ]] || fail "$said"
}

test_no_key()
{
	mv /etc/wgtrunk/west.key /etc/wgtrunk/none.key
	! wg-quick up west.0 || fail "it came up" || return
	[[ ! -e /sys/class/net/west.0 ]] || fail "it is there" || return
	head -n 2 /etc/wgtrunk/none.key >/etc/wgtrunk/west.key
	! wg-quick up west.2 || fail "it came up with a file of two keys" || return
	mv /etc/wgtrunk/none.key /etc/wgtrunk/west.key
}

test_wg_quick_up()
{
	local i

	for ((i = 0; i < LANES; i++)); do
		wg-quick up "west.$i" || fail "west.$i does not come up" || return
	done
	ip -4 route
	ip -6 route
	(($(ip -6 route show "${inner6[A]}/32" | grep -c nexthop) == LANES)) || fail "no routes over all"
}

all_have_sessions()
{
	local list

	list=$(wg show all latest-handshakes)
	(($(grep -c $'^west\\..*\t[1-9]' <<<"$list") == LANES))
}

test_sessions()
{
	wait_for 45 all_have_sessions || { wg show all dump | cut -f 1,4-; fail "not all of them"; }
}

# test_pings FAMILY: of the other side's address in the trunk, and behind it.
test_pings()
{
	local far=${other[$side]} to from

	if (($1 == 4)); then
		to=("${trunk4[$far]}" "${inner4[$far]}") from=${inner4[$side]}
	else
		to=("${trunk6[$far]}" "${inner6[$far]}") from=${inner6[$side]}
	fi
	ping -n -q -c 3 -i 0.2 -W 5 "${to[0]}" && ping -n -q -c 3 -i 0.2 -W 5 -I "$from" "${to[1]}"
}

# exchange NAME CLIENT FAMILY: the connections, all at the same time, each of them
# with payload both ways. Both sides call it; side CLIENT connects. What came is
# in files NAME.0 and so on.
exchange()
{
	local name=$1 client=$2 family=$3 far=${other[$side]} i bad=0 own to file pids=()
	local options=(-t 60 -T 60)

	if ((family == 4)); then
		own=${inner4[$side]} to=${inner4[$far]}
	else
		own=[${inner6[$side]}] to=[${inner6[$far]}]
	fi
	if [[ $side == "$client" ]]; then
		barrier "$name" 60 || return
	fi
	for ((i = 0; i < CONNECTIONS; i++)); do
		file="OPEN:$FILES/payload.$side,rdonly,seek=$((i * STEP)),readbytes=${size[$name]}!!CREATE:$FILES/$name.$i"
		if [[ $side == "$client" ]]; then
			socat "${options[@]}" "TCP$family:$to:$((7000 + i)),bind=$own,connect-timeout=30" "$file" &
		else
			socat "${options[@]}" "TCP$family-LISTEN:$((7000 + i)),bind=$own,reuseaddr,accept-timeout=90" \
				"$file" &
		fi
		pids+=($!)
	done
	if [[ $side != "$client" ]]; then
		wait_for 30 all_listen || fail "not all listen"
		barrier "$name" 60 || return
	fi
	for ((i = 0; i < CONNECTIONS; i++)); do
		wait "${pids[i]}" || bad=$((bad + 1))
	done
	((!bad)) || fail "$bad connections broke" || return
	grep " $FILES/$name\." "$FILES/sums.$side" >"$FILES/$name.sums"
	sha256sum -c --quiet "$FILES/$name.sums" && (($(wc -l <"$FILES/$name.sums") == CONNECTIONS))
}

all_listen()
{
	(($(ss -Hltn | grep -c ':70[01][0-9] ') == CONNECTIONS))
}

# lanes: bytes received and sent of each lane, in order.
lanes()
{
	wg show all transfer | sort | cut -f 3-
}

# grown BEFORE AFTER: sets the arrays rx and tx to what they grew by, in kB.
grown()
{
	local old new i=0

	rx=() tx=()
	while read -r -a old <&3 && read -r -a new <&4; do
		rx[i]=$(((new[0] - old[0]) / 1000)) tx[i]=$(((new[1] - old[1]) / 1000))
		i=$((i + 1))
	done 3<<<"$1" 4<<<"$2"
	((i == LANES))
}

# share FAMILY BEFORE: at least two of the lanes had payload in each direction. By
# chance, all connections are on one lane in one of 4^15 runs.
share()
{
	local rx tx i receive=0 send=0 least=${size[v$1]}

	grown "$2" "$(lanes)" || fail "not $LANES lanes" || return
	for ((i = 0; i < LANES; i++)); do
		receive=$((receive + (rx[i] * 1000 >= least))) send=$((send + (tx[i] * 1000 >= least)))
	done
	diag "IPv$1, kB received by lane: ${rx[*]}, sent: ${tx[*]}" >&5
	((receive >= 2 && send >= 2)) || fail "IPv$1: $receive lanes receive, $send send"
}

test_exchange()
{
	local before

	before=$(lanes)
	exchange "v$1" "$2" "$1" && share "$1" "$before"
}

# Of 32 connections, a lane has none in one of 2500 runs.
test_each_lane()
{
	local rx tx i least=${size[v6]}

	grown "$1" "$(lanes)" || fail "not $LANES lanes" || return
	for ((i = 0; i < LANES; i++)); do
		((rx[i] * 1000 >= least && tx[i] * 1000 >= least)) ||
			fail "lane $i: ${rx[i]} kB received, ${tx[i]} sent" || return
	done
}

# came NAME BYTES: so much has been received by all connections together.
came()
{
	(($(cat "$FILES/$1".[0-9]* 2>/dev/null | wc -c) >= $2))
}

trouble()
{
	nstat -asz TcpEstabResets TcpAttemptFails TcpExtTCPAbortOnTimeout | grep -v '^#'
}

# count_open: prints how many connections to the other side have not ended.
count_open()
{
	ss -Htn state connected dst "${inner4[B]}" | grep -cv TIME-WAIT
}

test_scale()
{
	local before after end transfer left rx tx

	before=$(trouble)
	exchange scale A 4 &
	transfer=$!
	wait_for 60 came scale $((2 << 20)) || fail "no traffic" || return
	wgtrunk scale west 2 || return
	sleep 0.2
	after=$(lanes)
	left=$(count_open)
	[[ $EXPORT_PLANT != lost ]] || ss -K dst "${inner4[B]}" dport = 7003 >/dev/null
	wait "$transfer" || fail "a connection was lost, or its payload" || return
	end=$(lanes)
	[[ $(trouble) == "$before" ]] || fail "$before; then $(trouble)" || return
	diag "$left connections were under way when it was scaled" >&5
	((left >= CONNECTIONS / 2)) || fail "those were too few" || return
	grown "$after" "$end" || return
	diag "after scale, kB received by lane: ${rx[*]}, sent: ${tx[*]}" >&5
	((tx[0] + tx[1] >= 1000)) || fail "nothing was sent after it" || return
	((tx[2] + tx[3] <= 20)) || fail "spare lanes sent ${tx[2]} and ${tx[3]} kB" || return
	# The far end spreads what it sends as before.
	((rx[2] + rx[3] >= 100)) || fail "spare lanes received ${rx[2]} and ${rx[3]} kB"
}

test_scale_far()
{
	local before

	before=$(trouble)
	exchange scale A 4 || return
	[[ $(trouble) == "$before" ]] || fail "$before; then $(trouble)"
}

# test_show ACTIVE: what `show` says, in both of its forms.
test_show()
{
	local said json i want line

	said=$(wgtrunk show west) || return
	diag "$ wgtrunk show west" >&5
	while IFS= read -r line; do
		diag "$line" >&5
	done <<<"$said"
	grep -qx "trunk west: up, $1 of $LANES lanes send, chosen by hash, MTU 1420" <<<"$said" || return
	json=$(wgtrunk show west --json) || return
	printf '%s\n' "$json"
	for ((i = 0; i < LANES; i++)); do
		want=active
		((i < $1)) || want=spare
		grep -qE "^  west\.$i +[0-9-]+ +$want +[0-9hms]+ .* 192\.0\.2\.2:$((41820 + i))$" <<<"$said" ||
			fail "not so: lane $i" || return
	done
	jq -e --argjson active "$1" --argjson lanes "$LANES" '.trunks | length == 1 and (.[0] |
		.name == "west" and .up and .carrier and .active == $active and .choice == "hash" and
		(.lanes | length == $lanes and all(.up and .in_trunk and .peer.latest_handshake > 0 and
			.peer.rx_bytes > 0 and .peer.tx_bytes > 0)))' <<<"$json" >/dev/null || fail "the JSON is not so"
}

test_wgtrunk_down()
{
	local said

	said=$(wgtrunk down west 2>&1) || fail "status $?: $said" || return
	[[ -z $said && ! -e /sys/class/net/west && ! -e /sys/class/net/west.0 ]] || fail "$said"
}

test_wg_quick_down()
{
	local i

	for ((i = LANES - 1; i >= 0; i--)); do
		wg-quick down "west.$i" || fail "west.$i does not go down" || return
	done
	! { ip -4 route && ip -6 route; } | grep west
}

# guest: what a side does, in step with the other.
guest()
{
	local before i

	side=$WGTRUNK_SIDE
	exec 5>&1
	set_up_link
	if [[ $side == A ]]; then
		count_initiations
	else
		check "without its key in the key file, no exported lane comes up" test_no_key
	fi
	meet link
	if [[ $side == B ]]; then
		check "wg-quick brings up the exported lanes, one after the other" test_wg_quick_up
		[[ $EXPORT_PLANT != lane ]] ||
			ip -batch - <<-END
				route replace 10.1.0.0/16 src ${trunk4[B]} dev west.0
				route del fd01::/32
				route add fd01::/32 src ${trunk6[B]} dev west.0
			END
	else
		check "before it is up, the far end calls it by itself, on each lane" test_far_end_calls
	fi
	meet far-up
	[[ $side == B ]] || check "wgtrunk up" test_wgtrunk_up
	meet up
	check "the module is the one it should be" test_module
	check "all lanes have a session" test_sessions
	meet sessions
	check "ping, IPv4" test_pings 4
	check "ping, IPv6" test_pings 6
	meet pinged
	before=$(lanes)
	check "$CONNECTIONS TCP connections over IPv4, from A, both ways: nothing is wrong with the payload" test_exchange 4 A
	meet v4-done
	check "$CONNECTIONS TCP connections over IPv6, from B, both ways: nothing is wrong with the payload" test_exchange 6 B
	check "each lane carried payload in both directions" test_each_lane "$before"
	meet v6-done
	if [[ $side == A ]]; then
		check "show, 4 lanes" test_show 4
		check "scale to 2 under load: no connection is lost, spare lanes only receive" test_scale
		check "show, 2 lanes of 4" test_show 2
	else
		check "the far end scales to 2 under load: no connection is lost" test_scale_far
	fi
	meet scaled
	if [[ $side == A ]]; then
		check "wgtrunk down" test_wgtrunk_down
	else
		check "wg-quick down, and no route stays" test_wg_quick_down
	fi
	finish
}

if [[ -n ${WGTRUNK_SIDE:-} ]]; then
	set -uo pipefail
	# shellcheck source=tests/lib/tap.sh
	. tests/lib/tap.sh
	guest
fi

# -------------------------------------------------------------------- on the host

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"

kernel='' plant='' results=0 failed=0
while (($#)); do
	case $1 in
	--plant)
		[[ ${2:-} =~ ^(corrupt|lane|lost)$ ]] || die "cannot plant '${2:-}'"
		plant=$2
		shift
		;;
	-h | --help)
		sed -n '/^# export.sh \[/,/^$/s/^# \{0,1\}//p' "$0"
		exit
		;;
	-*) die "no option $1 (see --help)" ;;
	*)
		[[ -z $kernel ]] || die "one KERNEL: the far end has the other"
		kernel=$1
		;;
	esac
	shift
done
case ${kernel:=6.12} in
6.12) far_kernel=6.1 ;;
6.1) far_kernel=6.12 ;;
*) die "KERNEL is 6.1 or 6.12, not '$kernel'" ;;
esac
declare -A name=([A]="$kernel wgtrunk" [B]="$far_kernel in-tree")

cd "$WGTRUNK_ROOT"
run=$(mktemp -d "${TMPDIR:-/tmp}/wgtrunk-export.XXXXXX")
trap 'rm -rf "$run"' EXIT
trap 'exit 130' INT TERM

# result ok|"not ok" NAME
result()
{
	results=$((results + 1))
	[[ $1 == ok ]] || failed=$((failed + 1))
	printf '%s %d - %s\n' "$1" "$results" "$2"
}

# make_files: keys, configurations, what is exported. Each side gets what it would
# have at home: its own private keys, and the far side's public ones or files.
make_files()
{
	mkdir -p "$run"/{A,B}/{etc,payload} "$run/B/wg-quick"
	tool keygen west -n "$LANES" -o "$run/A/etc/west.key" >"$run/A.pub"
	tool keygen west -n "$LANES" -o "$run/B/etc/west.key" >"$run/A/etc/far.pub"
	cat >"$run/A/etc/west.conf" <<-END
		[Trunk]
		Lanes = $LANES
		ListenPort = 51820
		KeyFile = west.key
		Address = ${trunk4[A]}/30, ${trunk6[A]}/64
		Prefixes = 10.1.0.0/16, fd01::/32
		Endpoint = ${link[A]}:51820
		Choice = hash

		[Site]
		Endpoint = ${link[B]}:41820
		KeysFile = far.pub
		Prefixes = 10.2.0.0/16, fd02::/32
		Address = ${trunk4[B]}/30, ${trunk6[B]}/64
	END
	tool export "$run/A/etc/west.conf" -o "$run/B/wg-quick"
}

tool()
{
	tools/wgtrunk/wgtrunk "$@"
}

# make_payload: random bytes for each side, and the checksums of what connections
# will carry to the other one.
make_payload()
{
	local from to i exchange

	for from in A B; do
		head -c $((CONNECTIONS * STEP + size[scale])) /dev/urandom >"$run/$from/payload/payload.$from"
	done
	for from in A B; do
		to=${other[$from]}
		for exchange in v4 v6 scale; do
			for ((i = 0; i < CONNECTIONS; i++)); do
				printf '%s  %s/%s.%d\n' "$(sum "$run/$from/payload/payload.$from" $((i * STEP)) "${size[$exchange]}")" \
					"$FILES" "$exchange" "$i"
			done
		done >"$run/$to/payload/sums.$to"
	done
	[[ $plant != corrupt ]] || printf 'x' |
		dd of="$run/B/payload/payload.B" bs=1 seek=200000 conv=notrunc status=none
}

# sum FILE FROM SIZE
sum()
{
	local line

	line=$(dd if="$1" iflag=skip_bytes,count_bytes skip="$2" count="$3" bs=64K status=none | sha256sum)
	printf '%s\n' "${line%% *}"
}

# read_results: numbers what the sides print, and misses what they do not.
read_results()
{
	local line at
	local -A planned=([A]=0 [B]=0) seen=([A]=0 [B]=0)

	while IFS= read -r line; do
		line=${line%$'\r'}
		at=${line%%: *} line=${line#*: }
		[[ $at == [AB] ]] || at=A
		case $line in
		"ok "* | "not ok "*)
			seen[$at]=$((seen[$at] + 1))
			result "${line%% [0-9]*}" "${name[$at]}: ${line#*ok * - }"
			;;
		"1.."*) planned[$at]=${line#1..} ;;
		*) printf '# %s: %s\n' "$at" "${line#\# }" ;;
		esac
	done
	for at in A B; do
		((planned[$at] > 0 && seen[$at] == planned[$at])) ||
			result "not ok" "${name[$at]}: ${seen[$at]} results of ${planned[$at]}"
	done
}

echo 'TAP version 13'
make -s -C tools/wgtrunk >&2
scripts/build -q "$kernel" >/dev/null
make_files
if grep -rqF -e "$(<"$run/A/etc/west.key")" -e "$(<"$run/B/etc/west.key")" "$run/B/wg-quick"; then
	result "not ok" "export: no private key is in the files"
else
	result ok "export: no private key is in the files"
fi
make_payload

mkfifo "$run/out"
setpriv --pdeathsig TERM scripts/vm-pair --timeout 700 --own-a --in-tree-b --env "EXPORT_PLANT=$plant" \
	--file-a tools/wgtrunk/wgtrunk:/usr/local/bin/wgtrunk \
	--file-a "$run/A/etc:/etc/wgtrunk" --file-a "$run/A/payload:$FILES" \
	--file-b "$run/B/etc:/etc/wgtrunk" --file-b "$run/B/wg-quick:/etc/wireguard" \
	--file-b "$run/B/payload:$FILES" \
	"$kernel" "$far_kernel" -- tests/export.sh -- tests/export.sh >"$run/out" 2>"$run/errors" &
machines=$!
read_results <"$run/out"
status=0
wait "$machines" || status=$?
if ((status == 0 || (status == 1 && failed))); then
	result ok "the machines ended well and no kernel complained"
else
	result "not ok" "the machines ended well and no kernel complained"
	printf '# exit status: %s\n' "$status"
	tail -n 100 "$run/errors" | sed 's/^/# /'
fi
printf '# %d s\n1..%d\n' "$SECONDS" "$results"
((failed == 0))
