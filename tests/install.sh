#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# install.sh: the top Makefile, in a copy of the sources (TAP): what it installs
# where, and that it says what is wrong, and changes nothing, where it can't.
# t/install.sh has what concerns modules that are loaded.

# shellcheck disable=SC2317 # tests are called by their names

set -uo pipefail
cd "$(dirname "$0")/.." || exit
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

files=$(mktemp -d)
defer rm -rf "$files"
copy=$PWD/build/install
root=$files/root
RELEASE=$(scripts/kernel release 6.12) && TREE=$(scripts/kernel headers 6.12) || exit
umask 022

# in_make ARG...: what it says in $files/said. Not with what an outer make was told.
in_make()
{
	env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -C "$copy" KVER="$RELEASE" KDIR="$TREE" \
		PREFIX=/usr/local "$@" >"$files/said" 2>&1
}

# copy_sources: anew; those under way, too.
copy_sources()
{
	rm -rf "$copy" "$root"
	mkdir -p "$copy"
	git ls-files -z | tar -c --null --files-from=- | tar -x -C "$copy"
}

# installed: each file with its mode, in lines.
installed()
{
	[[ ! -d $root ]] || (cd "$root" && find . -type f -printf '%m %p\n' | sort -k 2)
}

# state: of the machine's own modules, which nothing here may touch.
state()
{
	find /lib/modules -maxdepth 2 \( -name 'modules.dep*' -o -name updates \) -printf '%p %T@\n' 2>/dev/null
}

# refuses TEXT ARG...: fails, says that, and there is neither a module nor anything
# installed.
refuses()
{
	local text=$1

	shift
	! in_make DESTDIR="$root" "$@" || fail "done: $*" || return
	grep -q "$text" "$files/said" || { cat "$files/said"; fail "does not say: $text"; } || return
	[[ ! -e $copy/wireguard.ko && ! -e $root ]] || fail "something was made"
}

test_unsupported()
{
	local version

	for version in 5.19 6.0 7.4 8.0; do
		refuses "wgtrunk supports Linux 6.1 to 7.3, not $version" install-module \
			VERSION="${version%.*}" PATCHLEVEL="${version#*.}" || return
	done
	# Not the manager alone either.
	refuses "supports Linux 6.1 to 7.3" install VERSION=5 PATCHLEVEL=10 &&
		refuses "CONFIG_PREEMPT_RT_NEEDS_BH_LOCK" install-module CONFIG_PREEMPT_RT=y \
			VERSION=7 PATCHLEVEL=1
}

test_no_headers()
{
	refuses "no kernel headers at $files/tree" install KDIR="$files/tree" &&
		grep -q "Install linux-headers-$RELEASE" "$files/said"
}

test_install_module()
{
	local before

	before=$(state)
	in_make DESTDIR="$root" install-module || { cat "$files/said"; return 1; }
	diff <(installed) - <<<"644 ./lib/modules/$RELEASE/updates/wireguard.ko" || return
	cmp "$copy/wireguard.ko" "$root/lib/modules/$RELEASE/updates/wireguard.ko" || return
	[[ $(modinfo -F vermagic "$copy/wireguard.ko") == "$RELEASE "* ]] || fail "for another kernel" || return
	# A package's build is not about this machine.
	! grep -q 'loaded already' "$files/said" || fail "speaks of what is loaded" || return
	[[ $(state) == "$before" ]] || fail "the machine's modules changed"
}

test_install()
{
	in_make DESTDIR="$root" install || { tail -n 20 "$files/said"; return 1; }
	installed | tee "$files/installed"
	grep -qx "644 ./lib/modules/$RELEASE/updates/wireguard.ko" "$files/installed" &&
		grep -qx '755 ./usr/local/sbin/wgtrunk' "$files/installed"
}

# The folder for modules may be another one.
test_modlib()
{
	in_make DESTDIR="$root" MODLIB="$root/other" install-module &&
		cmp "$copy/wireguard.ko" "$root/other/updates/wireguard.ko" &&
		in_make DESTDIR="$root" MODLIB="$root/other" uninstall-module && [[ ! -e $root/other/updates/wireguard.ko ]]
}

test_uninstall()
{
	local before

	before=$(state)
	in_make DESTDIR="$root" uninstall || return
	[[ -z $(installed) ]] || fail "left: $(installed)" || return
	# A second time, too.
	in_make DESTDIR="$root" uninstall && [[ $(state) == "$before" ]]
}

test_clean()
{
	in_make clean && (cd "$copy" && find . -type f | sed 's|^\./||' | sort) |
		diff - <(git ls-files | sort)
}

copy_sources
check "a kernel that is not supported: which ones are, and nothing is done" test_unsupported
check "no headers: which ones are missing, and nothing is done" test_no_headers
check "make install-module DESTDIR: one file there, none elsewhere" test_install_module
check "make install DESTDIR: the module and the manager" test_install
check "make install-module MODLIB" test_modlib
check "make uninstall DESTDIR: nothing is left" test_uninstall
check "make clean: the sources as they were" test_clean
defer rm -rf "$copy"
finish
