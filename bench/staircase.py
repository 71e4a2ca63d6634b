# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""The search for a loss-free rate."""


class Staircase:
    """Finds the rate at which half of the trials are good: a step up after one that was, a step down after one that was not
    (Levitt 1971, "Transformed up-down methods in psychoacoustics"). Steps get smaller wherever it turns, and trials count
    from the smallest on. It goes on from one set-up to the next, so that many of them count and none decides.
    """

    FIRST, LAST = 1.6, 1.12

    def __init__(self, rate):
        self.rate, self.step, self.up = rate, self.FIRST, None

    def trial(self, good, offered):
        """How a trial at self.rate went, and the rate that was really offered. Returns its rate, or None where it does not count."""
        rate, limited = self.rate, offered < 0.95 * self.rate
        counts = self.step == self.LAST
        if self.up not in (None, good):
            self.step = max(self.LAST, self.step ** 0.5)
        self.up = good
        if not good:
            self.rate /= self.step
        elif not limited:
            self.rate *= self.step
        # More than the generator can do is not to be had.
        return min(rate, offered) if counts or (good and limited) else None
