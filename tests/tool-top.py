#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""wgtrunk top on a terminal, with made-up trunks, and its arithmetic: tool-top.c,
built with sanitizers. Needs neither root nor a module.
"""

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
import tap  # noqa: E402

TOOL = os.path.join(HERE, "../tools/wgtrunk")
suite = tap.Suite()
folder = tempfile.mkdtemp()
PROGRAM = os.path.join(folder, "tool-top")
# What curses allocates for the process's life is no leak of ours.
NO_LEAKS = os.path.join(folder, "no-leaks")
with open(NO_LEAKS, "w", encoding="ascii") as no_leaks:
    no_leaks.write("leak:libncurses\nleak:libtinfo\n")
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="exitcode=99", UBSAN_OPTIONS="exitcode=99",
                   LSAN_OPTIONS=f"suppressions={NO_LEAKS}:print_suppressions=0")


def build():
    sources = [os.path.join(TOOL, name) for name in ("top.c", "rates.c", "words.c", "util.c")]
    subprocess.run(
        ["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wshadow", "-Werror",
         "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wformat=2", "-O1", "-g",
         "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I", TOOL,
         "-I", os.path.join(HERE, "../include"), "-o", PROGRAM,
         os.path.join(HERE, "tool-top.c"), *sources, "-lncurses", "-ltinfo"], check=True)


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, *args, size=(24, 100), **env):
        self.said = ""
        self.pid, self.fd = pty.fork()
        if not self.pid:
            env = dict(ENVIRONMENT, TERM="linux", LC_ALL="C.UTF-8", **env)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
            os.execve(PROGRAM, [PROGRAM, "top", *args], env)
        suite.defer(self.close)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def hang_up(self):
        os.close(self.fd)
        self.fd = None

    def read(self, seconds):
        """Reads on for so long, or to the end; returns what came."""
        came, end = "", time.monotonic() + seconds
        if self.fd is None:
            return came
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                break
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                break
            if not data:
                break
            came += data.decode()
        self.said += came
        return came

    def wait_for(self, *texts, seconds=30):
        """Until all of @texts are on the screen, which is drawn anew each time."""
        came, end = self.read(0.5), time.monotonic() + seconds
        while not all(text in came for text in texts):
            assert time.monotonic() < end, f"not all of {texts} in {came!r}"
            self.press("\f")
            came = self.read(0.5)

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def status(self):
        """How it ends, within 10 s."""
        for _ in range(100):
            self.read(0.1)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.1)
        raise AssertionError(f"it does not end: {self.said!r}")

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.fd is not None:
            os.close(self.fd)


@suite.test("rates, shares and their texts")
def _():
    done = subprocess.run([PROGRAM, "rates"], capture_output=True, text=True)
    print("".join(f"# {line}\n" for line in done.stdout.splitlines()), end="")
    assert done.returncode == 0 and "not ok" not in done.stdout, done.stderr


@suite.test("without a terminal it is refused, in one line")
def _():
    done = subprocess.run([PROGRAM, "top"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count("\n") == 1 and "needs a terminal" in done.stderr, done.stderr


@suite.test("lanes and CPUs are shown, q ends it")
def _():
    terminal = Terminal()
    terminal.wait_for("east.0", "west.0", "west.2", "spare", "choice hash", "never", "softirq",
                      "q quits")
    # The second round has rates: 1, 2 and 4 Mbit/s, the last one's bar full.
    terminal.wait_for("1.00M", "2.00M", "4.00M", "full bar is 6.00M")
    terminal.press("q")
    assert terminal.status() == 0


@suite.test("one trunk by its name")
def _():
    terminal = Terminal("west")
    terminal.wait_for("west.2", "q quits")
    terminal.press("q")
    assert terminal.status() == 0
    assert "east" not in terminal.said


@suite.test("a trunk that is not there")
def _():
    terminal = Terminal("north")
    assert terminal.status() == 1
    assert terminal.said == "wgtrunk: top: no trunk 'north' is up\r\n", terminal.said


@suite.test("a terminal that nobody knows")
def _():
    env = dict(ENVIRONMENT, TERM="no-such-terminal")
    master, slave = pty.openpty()
    done = subprocess.run([PROGRAM, "top"], stdin=slave, stdout=slave, stderr=subprocess.PIPE,
                          env=env, text=True)
    os.close(master)
    os.close(slave)
    assert done.returncode == 1 and "'no-such-terminal'" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@suite.test("resizing, down to nothing and back, and scrolling")
def _():
    terminal = Terminal()
    terminal.wait_for("q quits")
    for rows, columns in ((10, 60), (3, 20), (2, 2), (1, 1), (200, 300), (24, 80)):
        terminal.resize(rows, columns)
        terminal.read(0.3)
    terminal.resize(6, 80)
    terminal.read(1.5)
    # East's head is at the top; after a page down it is not.
    terminal.press("\x1b[6~" * 40)
    terminal.wait_for("lanes at home")
    terminal.press("\x1b[A" * 100)
    terminal.wait_for("east: up, 1 lane,")
    terminal.press("q")
    assert terminal.status() == 0


@suite.test("what fails while it runs is shown in the last line, and it goes on")
def _():
    terminal = Terminal(GONE="2")
    terminal.wait_for("west.2")
    terminal.wait_for("the kernel has no west any more", "west: is not up")
    terminal.read(1.5)
    terminal.press("q")
    assert terminal.status() == 0
    # The message went nowhere else.
    assert "any more\r\n" not in terminal.said, terminal.said


@suite.test("signals, and a terminal that goes, end it; the screen is put back")
def _():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        terminal = Terminal()
        terminal.wait_for("q quits")
        os.kill(terminal.pid, number)
        assert terminal.status() == 0, number
        # The cursor is seen again.
        assert terminal.said.rfind("\x1b[?25h") > terminal.said.rfind("\x1b[?25l"), terminal.said
    terminal = Terminal()
    terminal.wait_for("q quits")
    terminal.press("\x03")
    assert terminal.status() == 0
    terminal = Terminal()
    terminal.wait_for("q quits")
    terminal.hang_up()
    assert terminal.status() == 0


try:
    build()
    suite.run_and_exit()
finally:
    shutil.rmtree(folder)
