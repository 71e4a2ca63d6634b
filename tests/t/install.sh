#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
# scripts/vm: --tool make --file Makefile
#
# make install-module and uninstall-module on a machine on which the other module
# is loaded: what they say about it is what is to be done.

# shellcheck disable=SC2317 # tests are called by their names

set -uo pipefail
cd "$(dirname "$0")/../.." || exit
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

files=$(mktemp -d)
defer rm -rf "$files"
[[ -n ${WGTRUNK_OWN_KO:-} ]] || { echo "1..0 # SKIP not both modules are installed here"; exit; }

# As if it was never installed, but built; a tree that has nothing to build.
set_up()
{
	[[ -e Makefile ]] || fail "needs the Makefile" || return
	mv "$WGTRUNK_OWN_KO" wireguard.ko && depmod || return
	printf 'modules:\n' >"$files/Makefile"
}

in_make()
{
	make -s KDIR="$files" "$@" >"$files/said" 2>&1
	local status=$?

	cat "$files/said"
	return "$status"
}

# is_loaded FILE
is_loaded()
{
	[[ $(cat /sys/module/wireguard/srcversion) == "$(modinfo -F srcversion "$1")" ]]
}

# would_load FILE: the next time.
would_load()
{
	[[ $(realpath "$(modinfo -F filename wireguard)") == "$(realpath "$1")" ]]
}

# Without its leave, nothing is taken out.
test_install()
{
	ip link add wg0 type wireguard && is_loaded "$WGTRUNK_IN_TREE_KO" || fail "not the in-tree module" || return
	in_make install-module || return
	grep -q 'A wireguard module is loaded already' "$files/said" || fail "does not say so" || return
	[[ $(stat -c %a "$WGTRUNK_OWN_KO") == 644 ]] && would_load "$WGTRUNK_OWN_KO" || return
	is_loaded "$WGTRUNK_IN_TREE_KO" && ip link show wg0
}

# follow: the commands that make printed, once the interfaces are down. (Those that
# are not would go with the module.)
follow()
{
	local commands

	commands=$(grep -o 'rmmod wireguard && modprobe wireguard' "$files/said" | head -n 1)
	[[ -n $commands ]] || fail "no commands" || return
	ip link del wg0 && bash -c "$commands"
}

test_change_over()
{
	follow && is_loaded "$WGTRUNK_OWN_KO" && ip link add wg0 type wireguard &&
		ethtool -i wg0 | grep -q 'bus-info: wgtrunk'
}

test_uninstall()
{
	in_make uninstall-module && [[ ! -e $WGTRUNK_OWN_KO ]] && would_load "$WGTRUNK_IN_TREE_KO" || return
	is_loaded wireguard.ko && ip link show wg0 || fail "it is gone already" || return
	follow && is_loaded "$WGTRUNK_IN_TREE_KO"
}

test_not_loaded()
{
	rmmod wireguard && in_make install-module && [[ ! -s $files/said ]] || return
	ip link add wg0 type wireguard && is_loaded "$WGTRUNK_OWN_KO"
}

set_up || { echo "Bail out! nothing to install"; exit 1; }
check "make install-module: the in-tree module is loaded, and stays; it says so" test_install
check "what it says to do brings ours" test_change_over
check "make uninstall-module: what it says to do brings the in-tree one" test_uninstall
check "make install-module, nothing loaded: it says nothing, and ours is next" test_not_loaded
finish
