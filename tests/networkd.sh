#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# networkd.sh KERNEL: systemd-networkd with this module, on a root disk of Debian
# 12 with systemd (TAP).

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
cd "$WGTRUNK_ROOT"

if ((EUID)); then
	echo "ok 1 - networkd # SKIP only root can make a root disk"
	echo "1..1"
	exit
fi
image=$(scripts/vm-rootfs)
exec scripts/vm --own --root-disk "$image" --timeout 400 "$1" -- tests/networkd-guest.sh
