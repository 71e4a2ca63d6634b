#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# bench-host.sh [KERNEL]: bench/host runs on a stock kernel (TAP): on one machine
# with namespaces, and with a far end that is reached by a command. That one is
# a namespace of the same virtual machine here.

set -uo pipefail
cd "$(dirname "$0")/.." || exit

kernel=${1:-6.12}
bound=$PWD/build/bench/bound-$kernel
mkdir -p "$bound"
if ! {
	cp bench/bound/Kbuild bench/bound/bound.c "$bound/" &&
		make -s -C "$(scripts/kernel headers "$kernel")" M="$bound" modules &&
		make -s -C bench/tools
} >"$bound/log" 2>&1; then
	cat "$bound/log"
	echo "Bail out! the bench's module and programs do not build for $kernel"
	exit 1
fi
exec scripts/vm --own --python --memory 2048 --timeout 840 --file "$bound/wgt_bound.ko:/wgtrunk/wgt_bound.ko" \
	"$kernel" -- bash tests/bench-guest.sh
