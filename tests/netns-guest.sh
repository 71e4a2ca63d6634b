#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# In the guest: the in-tree suite, which only says by its status how it went,
# as TAP; and whether its leak check had anything to look at.

set -u
# shellcheck source=tests/lib/result.sh
. "$(dirname "$0")/lib/result.sh"
cd /wgtrunk || exit 1

modprobe wireguard dyndbg=+p
[[ $(cat /sys/module/wireguard/version) != 1.0.0 ]]
result $? "the module is ours"

bash ./netns.sh >/tmp/netns.out 2>&1
rc=$?
sed 's/\x1b\[[0-9;]*m//g; s/^/# /' /tmp/netns.out | tail -n 400
result "$rc" "the in-tree suite passes, unmodified"

# What it went through last: a run that ended early would not get there.
created=$(dmesg | grep -c 'wg[0-9]*: .* created')
destroyed=$(dmesg | grep -c 'wg[0-9]*: .* destroyed')
printf '# %d objects made, %d destroyed\n' "$created" "$destroyed"
((created > 100 && created == destroyed))
result $? "its leak check had $created objects to count, and none is left"
! grep -q 'does not do the right thing' /tmp/netns.out
result $? "its routing loop ends by itself"
end_results
