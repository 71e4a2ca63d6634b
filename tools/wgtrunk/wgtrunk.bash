# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# Completion of wgtrunk's command line in bash; needs nothing but this file.

_wgtrunk_folder=/etc/wgtrunk

# Names of the configurations, or, for a word with a slash, files of configurations.
_wgtrunk_names()
{
	local word=$1 file

	if [[ $word == */* ]]; then
		compgen -d -S / -- "$word"
		compgen -G "$word*.conf"
		return
	fi
	for file in "$_wgtrunk_folder"/*.conf; do
		[[ -e $file ]] || continue
		file=${file##*/}
		[[ $file != "$word"* ]] || printf '%s\n' "${file%.conf}"
	done
}

_wgtrunk_options_of()
{
	case $1 in
	keygen) echo "-n --number -o --output" ;;
	up | down | reload | scale) echo "--dry-run --verbose" ;;
	show) echo "--json" ;;
	check) echo "--fix" ;;
	export) echo "--near -o --output -k --key-file" ;;
	esac
}

# Whether the command has its NAME: the words between it and the one that is being
# written, without options and what belongs to them.
_wgtrunk_has_name()
{
	local i

	for ((i = 2; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-n | -o | -k | --number | --output | --key-file) ((i++)) ;;
		-*) ;;
		*) return 0 ;;
		esac
	done
	return 1
}

_wgtrunk()
{
	local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
	local before=${COMP_WORDS[COMP_CWORD - 1]}

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W \
			"keygen up down reload scale show check top export help" -- "$word")
		return
	fi
	case $command:$before in
	export:-o | export:--output)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
		return
		;;
	keygen:-o | keygen:--output | export:-k | export:--key-file)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	keygen:-n | keygen:--number) return ;;
	esac
	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_wgtrunk_options_of "$command")" -- "$word")
		return
	fi
	case $command in
	keygen | up | down | reload | scale | show | check | top | export)
		_wgtrunk_has_name || mapfile -t COMPREPLY < <(_wgtrunk_names "$word")
		;;
	esac
	# A folder is not the end of a path.
	if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == */ ]]; then
		compopt -o nospace 2>/dev/null
	fi
}

complete -F _wgtrunk wgtrunk
