#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# tool.sh: wgtrunk on this machine (TAP), under valgrind and built with
# sanitizers: keys, configurations good and bad, exported files.

# shellcheck disable=SC2317 # tests are called by their names

set -uo pipefail
cd "$(dirname "$0")/.." || exit
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

make -s -C tools/wgtrunk all sanitize || { echo "Bail out! it does not build"; exit 1; }
files=$(mktemp -d)
defer rm -rf "$files"
umask 022

# tool ARG...: both builds must say the same and give the same status, which is
# this one's; what they say is in $said. 99: a sanitizer or valgrind complained.
tool()
{
	local plain=0 checked=0 other

	rm -f "$files/made"/* 2>/dev/null
	other=$(ASAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=exitcode=99 tools/wgtrunk/wgtrunk.sanitize "$@" 2>&1) ||
		checked=$?
	rm -f "$files/made"/* 2>/dev/null
	said=$(valgrind -q --error-exitcode=99 --leak-check=full tools/wgtrunk/wgtrunk "$@" 2>&1) || plain=$?
	printf '%s\n' "$said"
	((plain != 99 && checked != 99)) || { printf '%s\n' "$other"; return 99; }
	((plain == checked)) || { printf '%s\n' "$other"; fail "status $plain and $checked"; return 98; }
	return "$plain"
}

# config: a good configuration on stdout, with a key file and the far side's.
config()
{
	cat <<-END
		[Trunk]
		Lanes = 4
		ListenPort = 51820
		KeyFile = west.key
		Address = 10.255.0.1/30, fd00:ff::1/64
		Prefixes = 10.1.0.0/16, fd01::/32
		Endpoint = 192.0.2.1:51820
		MTU = auto
		CPUs = 0-2, 5
		Choice = cpu
		Active = 3

		# The far end
		[Site]
		Endpoint = [2001:db8::2]:41820
		KeysFile = $files/east.pub
		Prefixes = 10.2.0.0/16 fd02::/32
		Address = 10.255.0.2/30
		PersistentKeepalive = 25
	END
}

keys()
{
	rm -f "$files"/west.key "$files"/east.key
	tools/wgtrunk/wgtrunk keygen west -n 4 -o "$files/west.key" >"$files/west.pub" &&
		tools/wgtrunk/wgtrunk keygen east -n 4 -o "$files/east.key" >"$files/east.pub"
}

# says STATUS TEXT COMMAND...: it ends so, in one line that has TEXT.
says()
{
	local want=$1 text=$2 rc=0

	shift 2
	"$@" || rc=$?
	((rc == want)) || fail "status $rc, not $want" || return
	[[ $said == *"$text"* ]] || fail "not in it: $text" || return
	((want != 1)) || (($(wc -l <<<"$said") == 1)) || fail "more than one line"
}

test_keygen()
{
	local line

	tool keygen west -n 3 -o "$files/made/west.key" || return
	[[ $(stat -c %a "$files/made/west.key") == 600 ]] || fail "others can read it" || return
	# wg(8) derives the same public halves.
	[[ $(while read -r line; do wg pubkey <<<"$line"; done <"$files/made/west.key") == "$said" ]] ||
		fail "not their public halves" || return
	(($(sort -u <<<"$said" | wc -l) == 3)) || fail "not three keys"
}

test_keygen_refuses()
{
	echo old >"$files/there"
	says 1 "$files/there: is there already" tool keygen west -n 1 -o "$files/there" &&
		[[ $(<"$files/there") == old ]] &&
		says 1 "1 to 256" tool keygen west -n 257 -o "$files/made/x" &&
		says 1 "1 to 256" tool keygen west -n 4x -o "$files/made/x" &&
		says 1 "is not a name" tool keygen twelveletter -n 1 -o "$files/made/x" &&
		says 1 "is not a name" tool keygen a/b -n 1 -o "$files/made/x" &&
		says 1 "No such file" tool keygen west -n 1 -o "$files/nowhere/x" &&
		says 2 "usage" tool keygen west -o "$files/made/x" &&
		says 2 "usage" tool keygen -n 1 -o "$files/made/x" &&
		[[ ! -e $files/made/x ]]
}

test_usage()
{
	says 2 "usage" tool && says 0 "keygen NAME" tool --help &&
		says 2 "no command 'fly'" tool fly && says 2 "usage" tool export &&
		says 2 "usage" tool export a b && says 2 "usage" tool export --what a
}

test_export()
{
	local i

	config >"$files/west.conf"
	tool export "$files/west.conf" -o "$files/made" || return
	for i in 0 1 2 3; do
		[[ $(stat -c %a "$files/made/west.$i.conf") == 600 ]] || return
		cat "$files/made/west.$i.conf"
		# What wg-quick(8) makes of it is what wg(8) takes.
		wg-quick strip "$files/made/west.$i.conf" >"$files/strip" || return
		grep -qx "ListenPort = $((41820 + i))" "$files/strip" &&
			grep -qxF "PublicKey = $(sed -n $((i + 1))p "$files/west.pub")" "$files/strip" &&
			grep -qx "Endpoint = 192.0.2.1:$((51820 + i))" "$files/strip" &&
			grep -qx "AllowedIPs = 10.1.0.0/16, fd01::/32, 10.255.0.1/32, fd00:ff::1/128" "$files/strip" &&
			grep -qx "PersistentKeepalive = 25" "$files/strip" ||
			fail "lane $i is not so" || return
		# No private key is in it.
		! grep -qF -f "$files/west.key" "$files/made/west.$i.conf" &&
			! grep -qF -f "$files/east.key" "$files/made/west.$i.conf" || return
	done
	grep -qx "Address = 10.255.0.2/30" "$files/made/west.0.conf" &&
		! grep -q "^Address" "$files/made/west.1.conf" &&
		grep -qx "PostUp = ip -4 route replace 10.1.0.0/16 src 10.255.0.2 nexthop dev west.0 nexthop dev west.1 nexthop dev west.2 nexthop dev west.3" "$files/made/west.3.conf" &&
		grep -qF " '/etc/wgtrunk/west.key' | sed -n 3p) && " "$files/made/west.2.conf" &&
		! grep -q "ip -4 route" "$files/made/west.2.conf" &&
		# To wg-quick, what is behind a # is no part of the command.
		! grep "^PostUp.*#" "$files/made"/west.*.conf
}

test_export_near()
{
	config >"$files/west.conf"
	tool export "$files/west.conf" --near -o "$files/made" || return
	cat "$files/made/west.3.conf"
	grep -qx "Endpoint = \[2001:db8::2\]:41823" "$files/made/west.3.conf" &&
		grep -qxF "PublicKey = $(sed -n 4p "$files/east.pub")" "$files/made/west.3.conf" &&
		grep -qx "ListenPort = 51823" "$files/made/west.3.conf" &&
		grep -qF "'$files/west.key' | sed -n 4p" "$files/made/west.3.conf" &&
		grep -qx "PostUp = ip -6 route replace fd02::/32 src fd00:ff::1 nexthop via fe80::1 dev west.0 .*nexthop via fe80::1 dev west.3" "$files/made/west.3.conf"
}

# Nobody knows in which folder the far machine is.
test_export_key_file()
{
	config >"$files/west.conf"
	says 1 "export: -k keys/west.key: a path on the far machine begins with /" \
		tool export "$files/west.conf" -k keys/west.key -o "$files/made" || return
	[[ -z $(ls "$files/made") ]] || fail "it wrote files" || return
	tool export "$files/west.conf" -k /keys/west.key -o "$files/made" &&
		grep -qF " '/keys/west.key' | sed -n 3p) && " "$files/made/west.2.conf"
}

# A route's source can't be an address that is of one link only.
test_export_link_local()
{
	config | sed 's|^Address = 10.255.0.1.*|Address = fe80::1/64, fd00:ff::1/64|' >"$files/west.conf"
	tool export "$files/west.conf" --near -o "$files/made" || return
	grep "^PostUp = ip" "$files/made/west.3.conf"
	grep -q "replace fd02::/32 src fd00:ff::1 " "$files/made/west.3.conf"
}

# wg-quick is run in another folder than this.
test_export_from_here()
{
	local -a given
	local key

	config >"$files/west.conf"
	for key in "" "$(realpath --relative-to=. "$files/west.key")"; do
		given=(${key:+-k "$key"})
		tool export "$(realpath --relative-to=. "$files/west.conf")" --near "${given[@]}" -o "$files/made" || return
		key=$(sed -n "s/.*' '\([^']*\)' | sed -n 4p.*/\1/p" "$files/made/west.3.conf")
		[[ $key == /* && $key -ef $files/west.key ]] || fail "the key file is '$key'" || return
	done
}

test_export_undoes()
{
	config >"$files/west.conf"
	mkdir -p "$files/half"
	echo mine >"$files/half/west.2.conf"
	says 1 "$files/half/west.2.conf: is there already" tool export "$files/west.conf" -o "$files/half" || return
	ls "$files/half"
	[[ $(ls "$files/half") == west.2.conf && $(<"$files/half/west.2.conf") == mine ]] || return
	says 1 "No such file" tool export "$files/west.conf" -o "$files/nowhere"
}

# bad LINE REPLACEMENT TEXT: with this line of the good one replaced, that is said
# of that line. With LINE 0: of the whole, by a sed command.
bad()
{
	local where

	if (($1)); then
		config | sed "$1s|.*|$2|" >"$files/bad.conf"
		where="$files/bad.conf:$1: $3"
	else
		config | sed "$2" >"$files/bad.conf"
		where="$files/bad.conf:$3"
	fi
	if ! says 1 "$where" tool export "$files/bad.conf" -o "$files/made" || [[ -n $(ls "$files/made") ]]; then
		fail "for: $2"
	fi
}

test_bad_lines()
{
	bad 2 'Lanse = 4' "no key 'Lanse' is known in [Trunk]" &&
		bad 2 'Lanes = 0' "Lanes: not a whole number from 1 to 256" &&
		bad 2 'Lanes = 257' "Lanes: not a whole number" &&
		bad 2 'Lanes = 4.5' "Lanes: not a whole number" &&
		bad 2 'Lanes = -1' "Lanes: not a whole number" &&
		bad 2 'Lanes = 99999999999999999999' "Lanes: not a whole number" &&
		bad 2 'Lanes =' "Lanes has no value" &&
		bad 2 'Lanes' "neither a [section] nor a key = value" &&
		bad 3 'Lanes = 4' "Lanes twice" &&
		bad 3 'ListenPort = 65536' "ListenPort: not a whole number from 1 to 65535" &&
		bad 5 'Address = 10.255.0.300/30' "Address: '10.255.0.300/30' is not an address" &&
		bad 5 'Address = 10.255.0.3/33' "Address: '10.255.0.3/33' is not an address" &&
		bad 5 'Address = ,' "Address: an empty list" &&
		bad 6 'Prefixes = 10.1.0.1/16' "Prefixes: '10.1.0.1/16' has bits set" &&
		bad 6 'Prefixes = 10.1.0.0/16, 10.1.2.0/24' "10.1.0.0/16 and 10.1.2.0/24 overlap" &&
		bad 7 'Endpoint = 192.0.2.1' "Endpoint: not of the form host:port" &&
		bad 7 'Endpoint = 2001:db8::1:51820' "Endpoint: an IPv6 address as endpoint wants brackets" &&
		bad 7 'Endpoint = [2001:db8::1:51820' "Endpoint: not of the form" &&
		bad 7 'Endpoint = :51820' "Endpoint: not of the form" &&
		bad 7 'Endpoint = a:0' "Endpoint: not of the form" &&
		bad 8 'MTU = 1279' "MTU: not a whole number from 1280" &&
		bad 9 'CPUs = 0-' "CPUs: not a list of CPUs" &&
		bad 9 'CPUs = 3-1' "CPUs: a range of CPUs that ends before it begins" &&
		bad 9 'CPUs = 0-3,2' "CPUs: the same CPU twice" &&
		bad 9 'CPUs = 0-99999' "CPUs: not a list of CPUs" &&
		bad 10 'Choice = both' "Choice: neither cpu nor hash" &&
		bad 15 'Endpoint = east' "Endpoint: not of the form" &&
		bad 17 'Prefixes = 10.2.0.0/16 10.2.0.0/16' "10.2.0.0/16 and 10.2.0.0/16 overlap" &&
		bad 19 'PersistentKeepalive = 65536' "PersistentKeepalive: not a whole number" &&
		test_bad_section
}

# Of as many characters as a line can have, and of one more.
test_line_lengths()
{
	local line

	line=$(printf '%-198s' "Choice = cpu ; ends in" | tr ' ' '_' | sed 's/_=_/ = /; s/_;_/ ; /')
	((${#line} == 198)) || fail "${#line} characters" || return
	config | sed "10s|.*|$line|" >"$files/west.conf"
	says 0 "" tool export "$files/west.conf" -o "$files/made" || return
	rm -f "$files/made"/*
	bad 10 "${line}_" "a line of more than 198 characters"
}

# Noticed at the first key in it.
test_bad_section()
{
	config | sed 's/^\[Site\]/[Sites]/' >"$files/bad.conf"
	says 1 "$files/bad.conf:15: no section [Sites]" tool export "$files/bad.conf" -o "$files/made"
}

test_bad_whole()
{
	bad 0 '/^Lanes/d' " no Lanes in [Trunk]" &&
		bad 0 '/^KeysFile/d' " no KeysFile in [Site]" &&
		bad 0 's/51820$/65534/' "3: 4 lanes from ListenPort 65534 on go past port 65535" &&
		bad 0 's/41820/65533/' "15: 4 lanes from the far side's port 65533 on go past" &&
		bad 0 's/^Active.*/Active = 5/' "11: Active is 5, of 4 lanes" &&
		bad 0 's/^CPUs.*/CPUs = 1,2/' "9: CPUs names 2 CPUs for 4 lanes" &&
		bad 0 's/10.2.0.0/10.0.0.0/; s/0\/16 fd02/0\/8 fd02/' "17: 10.1.0.0/16 here and 10.0.0.0/8 behind the far side overlap" &&
		bad 0 '/^Prefixes = 10.1/d' " no Prefixes in [Trunk]" || return
	says 1 "No such file" tool export "$files/none.conf" -o "$files/made" &&
		says 1 "not called NAME.conf" tool export "$files/east.pub" -o "$files/made" || return
	mkdir "$files/folder.conf"
	says 1 "$files/folder.conf: Is a directory" tool export "$files/folder.conf" -o "$files/made" || return
	# Of two lines that are wrong the first is named, for what is wrong with it.
	config | sed '2s/.*/Lanes/; 10s/.*/Choice = both/' >"$files/bad.conf"
	says 1 "$files/bad.conf:2: neither a [section] nor a key = value" tool export "$files/bad.conf" -o "$files/made" || return
	config | sed '2s/.*/Lanes = 0/; 10s/.*/Choice/' >"$files/bad.conf"
	says 1 "$files/bad.conf:2: Lanes: not a whole number" tool export "$files/bad.conf" -o "$files/made"
}

# bad_keys TEXT: with the key files as they are, that is said.
bad_keys()
{
	config >"$files/west.conf"
	says 1 "$1" tool export "$files/west.conf" -o "$files/made" && [[ -z $(ls "$files/made") ]]
	local status=$?
	keys
	return "$status"
}

test_bad_keys()
{
	chmod 640 "$files/west.key"
	bad_keys "$files/west.key: others may read these private keys: chmod 600" || return
	rm "$files/west.key"
	bad_keys "$files/west.key: No such file" || return
	sed -i 3d "$files/west.key"
	bad_keys "$files/west.key: 3 keys for 4 lanes" || return
	# The lower number of lanes wins.
	sed -i 4d "$files/east.pub"
	config >"$files/west.conf"
	tool export "$files/west.conf" --near -o "$files/made" || return
	[[ -e $files/made/west.2.conf && ! -e $files/made/west.3.conf ]] || fail "not three lanes" || return
	keys
	rm "$files/made"/*
	sed -i '2s/.$/x/' "$files/east.pub"
	bad_keys "$files/east.pub:2: not a key" || return
	sed -i '2s/^..../ab c/' "$files/west.key"
	bad_keys "$files/west.key:2: not a key" || return
	sed -i '3{p}' "$files/east.pub"
	bad_keys "$files/east.pub:4: the same key twice" || return
	cp "$files/west.pub" "$files/east.pub"
	bad_keys "$files/east.pub: key 1 is this side's own, of lane 0" || return
	: >"$files/east.pub"
	bad_keys "$files/east.pub: no key in it" || return
	rm "$files/east.pub" && mkfifo "$files/east.pub"
	config >"$files/west.conf"
	says 1 "$files/east.pub: not a file" tool export "$files/west.conf" -o "$files/made" || return
	rm "$files/east.pub" && mkdir "$files/east.pub"
	bad_keys "$files/east.pub: not a file"
	local status=$?
	rmdir "$files/east.pub" 2>/dev/null
	keys
	return "$status"
}

# Anything at all ends in a message, not a crash.
test_garbage()
{
	local i rc

	for i in $(seq 60); do
		if ((i % 2)); then
			head -c $((i * 40)) /dev/urandom >"$files/bad.conf"
		else
			config | dd bs=1 seek=$((i * 7)) conv=notrunc of="$files/bad.conf" 2>/dev/null
			head -c $((i * 5)) /dev/urandom |
				dd bs=1 seek=$((i * 6)) conv=notrunc of="$files/bad.conf" 2>/dev/null
		fi
		rm -f "$files/made"/*
		rc=0
		ASAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=exitcode=99 tools/wgtrunk/wgtrunk.sanitize \
			export "$files/bad.conf" -o "$files/made" >"$files/said" 2>&1 || rc=$?
		((rc <= 1)) || { cat "$files/said"; fail "status $rc at $i"; return; }
	done
}

# What another version was built with is built anew.
test_version()
{
	! make -s -C tools/wgtrunk -q -W ../../src/version.h wgtrunk &&
		! make -s -C tools/wgtrunk -q -W ../../src/version.h wgtrunk.sanitize
}

mkdir -p "$files/made"
keys || { echo "Bail out! no keys"; exit 1; }
check "keygen: private keys in a file for their owner, public ones printed" test_keygen
check "keygen: refuses, and leaves what is there" test_keygen_refuses
check "usage and unknown commands" test_usage
check "export: files that wg and wg-quick take, for the far end" test_export
check "export: for the near end" test_export_near
check "export: the key file of the near end by its whole path" test_export_from_here
check "export: the key file of the far end has to be named by its whole path" test_export_key_file
check "export: a link-local address is no route's source" test_export_link_local
check "export: nothing stays of what was not finished" test_export_undoes
check "configuration: what is wrong with a line is said with file and line" test_bad_lines
check "configuration: lines of the most characters, and of one more" test_line_lengths
check "configuration: what is wrong with the whole" test_bad_whole
check "key files: missing, readable, too few, wrong" test_bad_keys
check "make: another version is another program" test_version
check "configuration: garbage" test_garbage
finish
