#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# tool-install.sh: what `make install` puts where, for wgtrunk, and that all of it
# is good: manuals, completion, example, unit (TAP). Nothing of this machine is
# changed.

# shellcheck disable=SC2317 # tests are called by their names

set -uo pipefail
cd "$(dirname "$0")/.." || exit
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

SOURCE=$PWD/tools/wgtrunk
files=$(mktemp -d)
defer rm -rf "$files"
root=$files/root
umask 077

# in_make TARGET: with all of it under $root. Not with what an outer make was told.
in_make()
{
	env -u MAKEFLAGS -u MAKELEVEL make -s -C "$SOURCE" DESTDIR="$root" PREFIX=/usr/local "$1"
}

# installed: each file, and folder of ours, with its mode.
installed()
{
	(cd "$root" && find . \( -type f -o -path './etc/*' -o -path '*/doc/*' \) -printf '%m %p\n' | sort -k 2)
}

test_install()
{
	in_make install || return
	diff - <(installed) <<-END
		700 ./etc/wgtrunk
		644 ./usr/local/lib/systemd/system/wgtrunk@.service
		755 ./usr/local/sbin/wgtrunk
		644 ./usr/local/share/bash-completion/completions/wgtrunk
		755 ./usr/local/share/doc/wgtrunk
		755 ./usr/local/share/doc/wgtrunk/examples
		644 ./usr/local/share/doc/wgtrunk/examples/example.conf
		644 ./usr/local/share/man/man5/wgtrunk.conf.5
		644 ./usr/local/share/man/man8/wgtrunk.8
	END
}

# What is in /etc/wgtrunk is the user's, and its mode, too.
test_again()
{
	echo mine >"$root/etc/wgtrunk/west.conf"
	chmod 750 "$root/etc/wgtrunk"
	in_make install && [[ $(<"$root/etc/wgtrunk/west.conf") == mine &&
		$(stat -c %a "$root/etc/wgtrunk") == 750 ]] || return
	"$root/usr/local/sbin/wgtrunk" --help >"$files/help"
}

# Nothing at all may be said of them.
test_manuals()
{
	local page said

	for page in "$SOURCE/wgtrunk.8" "$SOURCE/wgtrunk.conf.5"; do
		said=$(groff -man -ww -Tutf8 "$page" 2>&1 >/dev/null
			groff -mdoc -ww -Tutf8 "$page" 2>&1 >/dev/null
			LC_ALL=C.UTF-8 MANROFFSEQ='' man -l --warnings=w "$page" 2>&1 >/dev/null)
		[[ -z $said ]] || fail "$said" || return
	done
}

test_mandoc()
{
	local said

	# Other manuals may or may not be installed.
	said=$(mandoc -Tlint "$SOURCE/wgtrunk.8" "$SOURCE/wgtrunk.conf.5" 2>&1 |
		grep -v 'outdated mandoc.db\|referenced manual not found')
	[[ -z $said ]] || fail "$said"
}

# All commands that the program lists, all options and all keys that it knows.
test_manuals_are_complete()
{
	local word page

	page=$(man -l "$SOURCE/wgtrunk.8" | col -b)
	mapfile -t words < <(sed -n 's/^  \([a-z][a-z]*\) .*/\1/p' "$files/help"
		grep -o -- '--[a-z-]*' "$files/help" | sort -u
		sed -n 's/^.*{ "\([a-z-]*\)", [a-z]*_argument, NULL.*/--\1/p' "$SOURCE"/*.c | sort -u)
	((${#words[@]} > 4)) || fail "hardly any words in the help" || return
	for word in "${words[@]}"; do
		[[ $page == *"$word"* ]] || fail "wgtrunk(8) has no $word" || return
	done
	page=$(man -l "$SOURCE/wgtrunk.conf.5" | col -b)
	mapfile -t words < <(sed -n 's/^.*{ "\(Trunk\|Site\)", "\([A-Za-z]*\)", .*/\2/p' "$SOURCE/config.c")
	((${#words[@]} > 10)) || fail "hardly any keys in config.c" || return
	for word in "${words[@]}"; do
		[[ $page == *"     $word = "* ]] || fail "wgtrunk.conf(5) has no $word" || return
		grep -q "^#\?$word = " "$SOURCE/example.conf" ||
			fail "example.conf has no $word" || return
	done
}

# blocks: the configurations in wgtrunk.conf(5), as east.conf and west.conf.
blocks()
{
	awk -v folder="$1" '/^\.Bd -literal/ { out = folder "/" (n++ ? "west" : "east") ".conf"; next }
		/^\.Ed/ { out = "" }
		out { print >out }' "$SOURCE/wgtrunk.conf.5"
}

# The example as it is, and with all that is commented out; those of the manual.
test_examples()
{
	local wgtrunk=$root/usr/local/sbin/wgtrunk folder=$files/examples name

	mkdir -p "$folder/out"
	"$wgtrunk" keygen east -n 4 -o "$folder/east.key" >"$folder/west.pub" &&
		"$wgtrunk" keygen west -n 4 -o "$folder/west.key" >"$folder/east.pub" || return
	cp "$root/usr/local/share/doc/wgtrunk/examples/example.conf" "$folder/east.conf"
	"$wgtrunk" export "$folder/east.conf" --near -o "$folder/out" || return
	sed -i 's/^#\([A-Za-z]* = \)/\1/' "$folder/east.conf"
	grep -q '^MTU = auto' "$folder/east.conf" || fail "no MTU in it" || return
	rm -f "$folder/out"/*
	"$wgtrunk" export "$folder/east.conf" -o "$folder/out" || return
	blocks "$folder"
	for name in east west; do
		rm -f "$folder/out"/*
		"$wgtrunk" export "$folder/$name.conf" --near -o "$folder/out" || return
	done
	# The lower number of lanes.
	[[ $(find "$folder/out" -name 'west.*.conf' | wc -l) == 3 ]]
}

# complete WORDS...: what bash would offer for the last of them, in one line.
complete_words()
{
	# shellcheck disable=SC2016
	bash -c '. "$1"; _wgtrunk_folder=$2
		COMP_WORDS=("${@:3}") COMP_CWORD=$(($# - 3))
		_wgtrunk
		printf "%s\n" "${COMPREPLY[@]}"' bash "$SOURCE/wgtrunk.bash" "$files/names" "$@" | sort | xargs
}

# offers WANT WORDS...
offers()
{
	local want=$1 got

	shift
	got=$(complete_words "$@" 2>&1)
	[[ $got == "$want" ]] || fail "for '$*': '$got', not '$want'"
}

test_completion()
{
	local name=$files/names

	mkdir -p "$name/sub" && touch "$name"/{east,west,wide}.conf "$name/west.key" || return
	offers "check" wgtrunk ch && offers "scale show" wgtrunk s &&
		offers "east west wide" wgtrunk up "" && offers "west wide" wgtrunk reload w &&
		offers "west" wgtrunk up --dry-run we && offers "" wgtrunk up west "" &&
		offers "" wgtrunk scale west "" && offers "--dry-run --verbose" wgtrunk up west - &&
		offers "--verbose" wgtrunk scale west 2 --v &&
		offers "--json" wgtrunk show --j && offers "--fix" wgtrunk check - &&
		offers "--key-file --near --output -k -o" wgtrunk export west - &&
		offers "$name/sub" wgtrunk export west -o "$name/" &&
		offers "$name/west.key" wgtrunk export west -k "$name/west.k" &&
		offers "west wide" wgtrunk export -o "$name" w &&
		offers "" wgtrunk keygen west -n "" && offers "" wgtrunk fly "" &&
		offers "$name/west.conf $name/wide.conf" wgtrunk up "$name/w" &&
		offers "$name/sub/" wgtrunk up "$name/s" || return
	rm -r "$name" && offers "" wgtrunk up ""
}

test_completion_shellcheck()
{
	command -v shellcheck >/dev/null || { skip "no shellcheck here"; return; }
	shellcheck "$SOURCE/wgtrunk.bash"
}

# Each command of the help can be completed, and the other way round.
test_completion_commands()
{
	diff <(complete_words wgtrunk "" | tr ' ' '\n' | grep -v '^help$') \
		<(sed -n 's/^  \([a-z][a-z]*\) .*/\1/p' "$files/help" | sort)
}

# With the program where it was installed to, for systemd to find.
test_unit()
{
	local unit=$files/unit/wgtrunk@.service said

	command -v systemd-analyze >/dev/null || { skip "no systemd here"; return; }
	grep -q '^ExecStart=/usr/local/sbin/wgtrunk up %i$' "$root/usr/local/lib/systemd/system/wgtrunk@.service" ||
		fail "not the installed program" || return
	mkdir -p "$files/unit"
	sed "s|=/usr/local/sbin|=$root&|; s|=\(.*\)=/usr|=\1/usr|" \
		"$root/usr/local/lib/systemd/system/wgtrunk@.service" >"$unit"
	said=$(MANPATH=$root/usr/local/share/man systemd-analyze verify "$unit" 2>&1)
	[[ -z $said ]] || fail "$said" || return
	# It says what is wrong.
	sed -i 's/^ProtectHome=.*/ProtectHouse=no/' "$unit"
	[[ -n $(systemd-analyze verify --man=no "$unit" 2>&1) ]] || fail "sees nothing"
}

test_uninstall()
{
	local left

	in_make uninstall && [[ $(<"$root/etc/wgtrunk/west.conf") == mine ]] || return
	rm "$root/etc/wgtrunk/west.conf"
	# A second time, too.
	in_make uninstall || return
	left=$(find "$root" -name '*wgtrunk*' -o ! -type d)
	[[ -z $left ]] || fail "$left"
}

check "make install: files and modes" test_install
check "make install again: /etc/wgtrunk stays as it is" test_again
check "manuals: groff has nothing to say" test_manuals
check "manuals: mandoc has nothing to say" test_mandoc
check "manuals: all commands, options and keys are in them" test_manuals_are_complete
check "examples are good configurations" test_examples
check "completion: commands, options, names, files" test_completion
check "completion: the commands are those of the help" test_completion_commands
check "completion: shellcheck has nothing to say" test_completion_shellcheck
check "unit: systemd has nothing to say" test_unit
check "make uninstall leaves nothing" test_uninstall
finish
