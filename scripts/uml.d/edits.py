# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""Edits of a kernel source tree that refuse to guess: each piece of text to be replaced must be there exactly once."""
import os
import sys


class Tree:
    def __init__(self, root):
        self.root = root

    def _fail(self, path, what):
        sys.exit(f"{os.path.basename(sys.argv[0])}: {path}: {what}; "
                 "this edit was written for another version of the source")

    def edit(self, path, *changes):
        """Replace, in order, each (old, new) of `changes` in the file `path`."""
        name = os.path.join(self.root, path)
        with open(name, encoding="utf-8") as f:
            text = f.read()
        for old, new in changes:
            found = text.count(old)
            if found != 1:
                self._fail(path, f"found {found} times: {old.strip().splitlines()[0]!r}")
            text = text.replace(old, new)
        with open(name, "w", encoding="utf-8") as f:
            f.write(text)

    def replace_between(self, path, first, last, new):
        """Replace what stands from `first` up to, not including, the next `last`."""
        name = os.path.join(self.root, path)
        with open(name, encoding="utf-8") as f:
            text = f.read()
        if text.count(first) != 1:
            self._fail(path, f"not found once: {first!r}")
        begin = text.index(first)
        end = text.find(last, begin)
        if end < 0:
            self._fail(path, f"not found: {last!r}")
        with open(name, "w", encoding="utf-8") as f:
            f.write(text[:begin] + new + text[end:])

    def create(self, path, text):
        """Make a file that the source must not have yet."""
        name = os.path.join(self.root, path)
        if os.path.exists(name):
            self._fail(path, "exists already")
        os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "w", encoding="utf-8") as f:
            f.write(text)


def tree():
    if len(sys.argv) != 2 or not os.path.isfile(os.path.join(sys.argv[1], "Kbuild")):
        sys.exit(f"usage: {os.path.basename(sys.argv[0])} LINUX_SOURCE_FOLDER")
    return Tree(sys.argv[1])
