# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# Helpers that the scripts share: messages, the cache folder, downloads.
# To be sourced by bash, after `set -euo pipefail`.

shopt -s inherit_errexit

# The repository's top folder.
# shellcheck disable=SC2034 # for those who source this
WGTRUNK_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
WGTRUNK_PROG=${0##*/}

# warn TEXT...: one line on stderr, with the script's name before it.
warn()
{
	progress_done
	printf '%s: %s\n' "$WGTRUNK_PROG" "$*" >&2
}

# die TEXT...: the same, and the script ends with status 1.
die()
{
	warn "$@"
	exit 1
}

# progress TEXT...: says what is being done. One line that is written over on
# a terminal, a line each elsewhere.
progress()
{
	if [[ -t 2 ]]; then
		printf '\r\033[K%s: %s ' "$WGTRUNK_PROG" "$*" >&2
		WGTRUNK_PROGRESS=1
	else
		printf '%s: %s\n' "$WGTRUNK_PROG" "$*" >&2
	fi
}

# progress_done: clears the progress line.
progress_done()
{
	if [[ -n ${WGTRUNK_PROGRESS:-} ]]; then
		printf '\r\033[K' >&2
		WGTRUNK_PROGRESS=
	fi
}

# cache_dir: prints the folder for everything that can be made again.
cache_dir()
{
	local dir=${XDG_CACHE_HOME:-$HOME/.cache}/wgtrunk

	mkdir -p "$dir/lock" "$dir/tmp"
	printf '%s\n' "$dir"
}

# with_lock NAME COMMAND...: runs COMMAND while no other process holds NAME.
# COMMAND does not inherit the lock, so that what it leaves behind holds none.
with_lock()
{
	local name=${1//\//_} fd rc=0

	shift
	exec {fd}>"$(cache_dir)/lock/$name"
	if ! flock -n "$fd"; then
		progress "waiting for another run ($name)"
		flock "$fd"
		progress_done
	fi
	"$@" {fd}>&- || rc=$?
	exec {fd}>&-
	return "$rc"
}

# key_of TEXT...: a short name for a set of inputs.
key_of()
{
	printf '%s\n' "$@" | sha256sum | cut -c1-16
}

# cached NAME FUNCTION ARG...: prints the path of cache entry NAME, a folder.
# If it is not there yet, FUNCTION FOLDER ARG... fills an empty folder, which
# takes its name only when FUNCTION has succeeded. FUNCTION runs in a shell of
# its own (all functions, no variables), under `set -e`; what it prints goes to
# stderr. Parallel callers wait for the first one.
cached()
{
	local entry

	entry=$(cache_dir)/$1
	if [[ ! -d $entry ]]; then
		with_lock "$1" fill_cache "$entry" "${@:2}" >&2
	fi
	# For cache_trim, which takes what was not used for long.
	touch -c "$entry" 2>/dev/null || :
	printf '%s\n' "$entry"
}

fill_cache()
{
	local entry=$1 temp

	[[ ! -d $entry ]] || return 0
	mkdir -p "${entry%/*}"
	temp=$(mktemp -d "$(cache_dir)/tmp/fill.XXXXXX")
	chmod 755 "$temp"
	if ! bash -c "set -euo pipefail; shopt -s inherit_errexit
WGTRUNK_ROOT=\$1 WGTRUNK_PROG=\$2; shift 2
$(declare -f)
\"\$@\"" "$WGTRUNK_PROG" "$WGTRUNK_ROOT" "$WGTRUNK_PROG" "$2" "$temp" \
			"${@:3}"; then
		rm -rf "$temp"
		die "cannot make $entry"
	fi
	progress_done
	mv -T "$temp" "$entry"
}

# cache_trim PATTERN COUNT: removes cache entries that match the glob PATTERN,
# but for
# the COUNT that were used last.
cache_trim()
{
	local entry

	# shellcheck disable=SC2012,SC2086 # names are ours, PATTERN is a glob
	{ cd "$(cache_dir)" && { ls -dt $1 2>/dev/null || :; }; } |
		tail -n +"$(($2 + 1))" | while read -r entry; do
		rm -rf "$(cache_dir)/${entry:?}"
	done
}

# as_root COMMAND...: runs COMMAND as root, by sudo where that is needed.
as_root()
{
	if ((EUID == 0)); then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "needs root: $*"
	fi
}

# apt_update: fetches the machine's package lists, once per run of a script.
apt_update()
{
	[[ -z ${WGTRUNK_APT_UPDATED:-} ]] || return 0
	progress "apt-get update"
	as_root apt-get -qq -o DPkg::Lock::Timeout=600 update >&2 ||
		warn "apt-get update failed, going on with the lists at hand"
	progress_done
	WGTRUNK_APT_UPDATED=1
}

# apt_mirror SUITE: prints "URI SIGNED_BY" of the first of the machine's own apt
# sources that has SUITE main.
apt_mirror()
{
	local uri suite component signed keyring

	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	# shellcheck disable=SC2016 # apt expands these
	while IFS='|' read -r uri suite component signed; do
		if [[ $suite == "$1" && $component == main ]]; then
			[[ $signed == /* ]] || signed=$keyring
			printf '%s %s\n' "$uri" "$signed"
			return 0
		fi
	done < <(apt-get indextargets --format \
		'$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)' \
		'Created-By: Packages')
	die "no apt source with '$1 main' on this machine"
}

# apt_trixie COMMAND...: runs an apt program on trixie and trixie-backports,
# from the mirror that the machine takes bookworm from, with configuration,
# lists and cache of its own: the machine's apt is not touched.
apt_trixie()
{
	local dir

	dir=$(cache_dir)/apt-trixie
	if [[ -z $(find "$dir/updated" -mmin -720 2>/dev/null) ]]; then
		with_lock apt-trixie refresh_trixie "$dir"
	fi
	APT_CONFIG=$dir/apt.conf "$@"
}

refresh_trixie()
{
	local dir=$1 mirror uri signed suite

	[[ -z $(find "$dir/updated" -mmin -720 2>/dev/null) ]] || return 0
	progress "fetching the package lists of trixie-backports"
	mirror=$(apt_mirror bookworm)
	read -r uri signed <<<"$mirror"
	mkdir -p "$dir"/{parts,lists/partial,cache/archives/partial}
	for suite in trixie trixie-backports; do
		printf 'deb [signed-by=%s] %s %s main\n' "$signed" "$uri" \
			"$suite"
	done >"$dir/sources.list"
	cat >"$dir/apt.conf" <<-END
		Dir::Etc::sourcelist "$dir/sources.list";
		Dir::Etc::sourceparts "$dir/parts";
		Dir::State::Lists "$dir/lists";
		Dir::Cache "$dir/cache";
		APT::Sandbox::User "root";
	END
	# By default it is content with less than it was asked for.
	if APT_CONFIG=$dir/apt.conf apt-get -qq -o APT::Update::Error-Mode=any update >&2; then
		progress_done
		touch "$dir/updated"
	elif [[ -e $dir/updated ]]; then
		warn "no new package lists of trixie and trixie-backports (what apt says above tells why): those fetched before are used"
	else
		die "no package lists of trixie and trixie-backports: what apt says above tells whether the network is down or the mirror of bookworm lacks them"
	fi
}

# unpack_deb FOLDER PACKAGE[=VERSION] [APT-WRAPPER]: downloads a package and
# unpacks it, without installing it.
unpack_deb()
{
	local dir=$1 package=$2 wrapper=${3:-env} temp

	mkdir -p "$dir"
	temp=$(mktemp -d "$(cache_dir)/tmp/deb.XXXXXX")
	progress "downloading ${package%%=*}"
	(cd "$temp" && "$wrapper" apt-get -qq -o APT::Sandbox::User=root \
		download "$package" >&2) || {
		rm -rf "$temp"
		die "cannot download $package"
	}
	progress "unpacking ${package%%=*}"
	dpkg-deb -x "$temp"/*.deb "$dir"
	rm -rf "$temp"
	progress_done
}
