#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# netns.sh KERNEL
#
# Runs the selftest of the in-tree driver, unmodified, against our module on
# Debian's stock kernel KERNEL. It comes from that kernel's source package.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"

kernel=${1:?which kernel?}
cd "$WGTRUNK_ROOT"
suite=$(scripts/kernel source "$kernel")/tools/testing/selftests/wireguard/netns.sh
rc=0
log=build/test/netns-$kernel.out
mkdir -p build/test
scripts/vm --own --new-wg --dyndbg --timeout 1100 --file "$suite:/wgtrunk/netns.sh" \
	--env "DEBUG_KERNEL=no" "$kernel" -- tests/netns-guest.sh 2>&1 | tee "$log" || rc=$?
exit "$rc"
