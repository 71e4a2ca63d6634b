#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# What can be said of the sources without running them: they build without a
# warning on all kernels, sparse and checkpatch have nothing to say, the shell
# scripts pass shellcheck. Each tool is given something bad, too: it must see it.

set -euo pipefail
cd "$(dirname "$0")/.."

OUT=build/lint
COUNT=0
FAILED=0

# check NAME COMMAND...: passes where COMMAND prints nothing and succeeds.
check()
{
	local name=$1 said rc=0

	shift
	said=$("$@" 2>&1) || rc=$?
	COUNT=$((COUNT + 1))
	if ((rc == 0)) && [[ -z $said ]]; then
		printf 'ok %d - %s\n' "$COUNT" "$name"
		return
	fi
	FAILED=$((FAILED + 1))
	printf '%s\n' "$said" | sed 's/^/# /'
	printf 'not ok %d - %s\n' "$COUNT" "$name"
}

# finds PATTERN COMMAND...: silent where COMMAND says something that matches.
finds()
{
	local pattern=$1 said

	shift
	said=$("$@" 2>&1) || :
	grep -q -- "$pattern" <<<"$said" || {
		printf 'nothing like "%s" in:\n%s\n' "$pattern" "$said"
		return 1
	}
}

# build SOURCE TARGET MAKE-ARG...: prints warnings and errors only.
build()
{
	local log rc=0

	rm -rf "${OUT:?}/$2"
	log=$(scripts/build -q -s "$1" -o "$OUT" "$2" -- "${@:3}" 2>&1) || rc=$?
	printf '%s\n' "$log" >"$OUT/$2.out"
	((rc == 0)) || printf '%s\n' "$log"
	grep -E '(warning|error|WARNING|ERROR)[: ]' "$OUT/$2/build.log" || :
}

# bad_copy LINES: a copy of the sources with LINES at the end of main.c.
bad_copy()
{
	rm -rf "$OUT/bad"
	mkdir -p "$OUT/bad"
	cp -r Kbuild src include "$OUT/bad/"
	printf '%s\n' "$1" >>"$OUT/bad/src/main.c"
}

checkpatch()
{
	perl "$PATCH" --no-tree --no-summary --terse "$@" 2>&1 || :
}

# What checkpatch asks of all C, but can't of a program: those macros and functions
# are the kernel's, a signal's handler has a volatile variable, what a linker or a
# fuzzer calls is declared where it is defined, and a program's name may be what one
# of its functions is called. Planted bugs are volatile lest compilers remove them.
NOT_OF_PROGRAMS=ARRAY_SIZE,PREFER_DEFINED_ATTRIBUTE_MACRO,STRCPY,VOLATILE,AVOID_EXTERNS,EMBEDDED_FUNCTION_NAME

mkdir -p "$OUT"
for target in 6.1 6.12 6.12-rt; do
	check "builds for $target, W=1 and sparse C=2 say nothing" build . "$target" W=1 C=2
done
check "builds for 7.3 (user-mode Linux), W=1 says nothing" build . uml W=1
check "builds for arm64 6.1, W=1 says nothing" build . arm64-6.1 W=1

bad_copy 'int wgt_planted(int a); int wgt_planted(int a) { int b; return a; }'
check "W=1 sees an unused variable" finds 'unused variable' build "$OUT/bad" 6.12 W=1
bad_copy 'int __user *wgt_planted(int *a); int __user *wgt_planted(int *a) { return a; }'
check "sparse sees a wrong address space" finds 'different address spaces' \
	build "$OUT/bad" 6.12 C=2
bad_copy 'int wgt_planted( int a ) { return a; }'
PATCH=$(scripts/kernel source 6.12)/scripts/checkpatch.pl
check "checkpatch sees bad spacing" finds 'space prohibited' checkpatch -f "$OUT/bad/src/main.c"
mapfile -t module_files < <(git ls-files 'src/*.[ch]' 'include/*.h' 'bench/bound/*.c' 'tests/poke/*.c')
mapfile -t program_files < <(git ls-files 'tests/*.[ch]' 'bench/*.[ch]' | grep -v '^bench/bound/\|^tests/poke/')
check "checkpatch has nothing to say of ${#module_files[@]} files of the module" \
	checkpatch -f "${module_files[@]}"
check "checkpatch has nothing to say of ${#program_files[@]} files of tests and benchmarks" \
	checkpatch --ignore "$NOT_OF_PROGRAMS" -f "${program_files[@]}"

mapfile -t scripts < <(git ls-files | while read -r file; do
	head -n 1 "$file" 2>/dev/null | grep -qaE '^#!/bin/(ba)?sh' && printf '%s\n' "$file"
done)
check "shellcheck has nothing to say of ${#scripts[@]} scripts" shellcheck -x "${scripts[@]}"
# shellcheck disable=SC2016
check "shellcheck sees an unquoted variable" finds SC2086 shellcheck - <<<'#!/bin/sh
rm $1'
check "only the compat folder knows kernel versions" \
	bash -c '! grep -n "LINUX_VERSION_CODE\|KERNEL_VERSION" src/*.[ch]'
mapfile -t pythons < <(git ls-files | while read -r file; do
	[[ $file == *.py ]] || head -n 1 "$file" 2>/dev/null | grep -qaE '^#!.*python3' && printf '%s\n' "$file"
done)
check "${#pythons[@]} Python files compile" python3 -B -c '
import ast, sys
for name in sys.argv[1:]:
    ast.parse(open(name).read(), name)' "${pythons[@]}"

printf '1..%d\n' "$COUNT"
((!FAILED))
