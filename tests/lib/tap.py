# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""Results in the Test Anything Protocol, for tests in Python."""

import sys
import time
import traceback


class Skip(Exception):
    """Raised by a test that can't run here; says why."""


class Suite:
    """Tests are functions, run in the order they are declared:

        suite = Suite()

        @suite.test("what holds")
        def _():
            assert 1 + 1 == 2, "arithmetic is broken"

        suite.run_and_exit()

    A test fails by any exception. run_and_exit() takes words that choose tests
    by their name from the command line.
    """

    def __init__(self):
        self.tests = []
        self.cleanups = []

    def test(self, name):
        def declare(function):
            self.tests.append((name, function))
            return function
        return declare

    def defer(self, function, *args):
        """Have @function called at the end of the test that runs, last first."""
        self.cleanups.append((function, args))

    def run_one(self, number, name, function):
        """Prints the result; returns whether it was good."""
        start = time.monotonic()
        result, trouble = f"ok {number} - {name}", []
        try:
            function()
        except Skip as reason:
            result += f" # SKIP {reason}"
        except Exception:
            trouble.append(traceback.format_exc())
        while self.cleanups:
            cleanup, args = self.cleanups.pop()
            try:
                cleanup(*args)
            except Exception:
                trouble.append(traceback.format_exc())
        print(f"not {result}" if trouble else result)
        for line in "".join(trouble).splitlines():
            print(f"# {line}")
        print(f"# {time.monotonic() - start:.1f} s", flush=True)
        return not trouble

    def run_and_exit(self):
        words = [w for w in sys.argv[1:] if not w.startswith("-")]
        chosen = [t for t in self.tests if all(w in t[0] for w in words)]
        print("TAP version 13")
        print(f"1..{len(chosen)}")
        good = [self.run_one(n, *t) for n, t in enumerate(chosen, 1)]
        sys.exit(0 if good and all(good) else 1)
