# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""Keeps the CPUs of a user-mode Linux machine on cores of their own.

They are threads of this machine, and its scheduler puts two of them on one core for a while where they sleep and wake each
other, as it likes: what is measured then is that. Processes in the machine are processes here, too, and inherit the core of
whoever made them, though they run for any of its CPUs: they may run anywhere. The programs of a machine with one CPU stay on
that one's core: only one of all runs at a time, and a switch to another core takes as long as the cores are apart.
"""
import os
import threading

EVERY_S = 0.1


def parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


def is_below(pid, ancestor):
    while pid > 1:
        if pid == ancestor:
            return True
        pid = parent(pid)
    return False


class Cores(threading.Thread):
    """Looks for the machine among this process's descendants, from start() to stop()."""

    def __init__(self, kernel, cpus):
        super().__init__(daemon=True)
        self.program = os.path.realpath(os.path.join(kernel, "linux"))
        self.cpus = cpus
        self.cores = sorted(os.sched_getaffinity(0))
        self.for_programs = self.cores if cpus > 1 else self.cores[:1]
        self.over = threading.Event()
        self.seen = set()
        self.machine = None
        # Whether all its CPUs are on their cores.
        self.pinned = False

    def is_machine(self, pid):
        """What the machine made is the same program for a moment, too."""
        def runs_it(process):
            return os.path.realpath(f"/proc/{process}/exe") == self.program

        return runs_it(pid) and not runs_it(parent(pid)) and is_below(pid, os.getpid())

    def look_at(self, pid):
        """Nobody has been seen to the end before the machine is known: it becomes that program only after it was made."""
        if self.machine:
            if parent(pid) == self.machine:
                os.sched_setaffinity(pid, self.for_programs)
            self.seen.add(pid)
        elif self.is_machine(pid):
            self.machine = pid

    def pin(self):
        """Its CPUs are its first threads; returns whether all are there."""
        threads = sorted(int(name) for name in os.listdir(f"/proc/{self.machine}/task"))[:self.cpus]
        for core, thread in enumerate(threads):
            os.sched_setaffinity(thread, [self.cores[core % len(self.cores)]])
        return len(threads) == self.cpus

    def run(self):
        while not self.over.wait(EVERY_S):
            pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
            self.seen &= pids
            for pid in pids - self.seen:
                try:
                    self.look_at(pid)
                except (OSError, ValueError):
                    # It is gone.
                    continue
            if self.machine and not self.pinned:
                try:
                    self.pinned = self.pin()
                except OSError:
                    continue

    def stop(self):
        self.over.set()
        if self.is_alive():
            self.join()
