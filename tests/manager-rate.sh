#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# manager-rate.sh [RATE]
#
# The tests of t/manager.py that change a trunk under load, with RATE (10000)
# packets a second that were really sent: at native speed, in user-mode Linux
# with four CPUs. An emulated machine does not get there.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
cd "$WGTRUNK_ROOT"

kernel=$(scripts/uml-kernel fast)
module=$(scripts/build -q -o build/fast "$kernel" -- ARCH=um | tail -n 1)
exec scripts/uml --kernel "$kernel" --module "$module" --cpus 4 --timeout 240 \
	--env "WGTRUNK_RATE=${1:-10000}" --env "PATH=/wgtrunk/tools/wgtrunk:$PATH" -- \
	tests/t/manager.py 'under load'
