# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""For perf script -s: prints each sample's stack as addresses, innermost first, one sample a line.

What perf prints by itself is the place in the file that is mapped there, which for a module of user-mode Linux is the
machine's memory.
"""


def process_event(sample):
    print(*(f"{entry['ip']:x}" for entry in sample["callchain"] or [sample["sample"]]))
