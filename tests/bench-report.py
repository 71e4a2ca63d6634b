#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""What the benchmark makes of figures: the search for a loss-free rate against made-up machines, and the report of made-up
results; and that a machine's CPUs are kept on cores. Needs neither root nor a module.
"""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
sys.path.insert(0, os.path.join(HERE, "../bench"))
import report  # noqa: E402
import tap  # noqa: E402
from cores import Cores  # noqa: E402
from staircase import Staircase  # noqa: E402

suite = tap.Suite()


def program(name):
    """One of bench's programs, as a module."""
    loader = importlib.machinery.SourceFileLoader(name, os.path.join(HERE, "../bench", name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


sys.dont_write_bytecode = True
measure = program("measure")


def climb(stairs, trials, is_good, most=float("inf")):
    """The rates of the trials that counted."""
    tried = []
    for _ in range(trials):
        counted = stairs.trial(is_good(stairs.rate), min(stairs.rate, most))
        if counted:
            tried.append(counted)
    return tried


@suite.test("a staircase comes to the rate at which half of the trials are good, from above and from below")
def _():
    for seed in range(20):
        chance = random.Random(seed)
        for start in (20e3, 60e3, 300e3):
            # What a machine can do differs from trial to trial.
            tried = climb(Staircase(start), 200, lambda rate: rate < 60e3 * chance.lognormvariate(0, 0.2))
            found = statistics.geometric_mean(tried)
            assert len(tried) > 180, f"{len(tried)} of 200 trials counted"
            assert 0.88 * 60e3 < found < 1.12 * 60e3, f"{found:.0f}, from {start:.0f}, seed {seed}"


@suite.test("a staircase ends where the generator does")
def _():
    tried = climb(Staircase(50e3), 40, lambda rate: True, most=80e3)
    assert len(tried) > 30 and set(tried) == {80e3}, tried
    # What was not good there is no limit of the generator's.
    stairs = Staircase(100e3)
    assert stairs.trial(False, 80e3) is None and stairs.rate < 100e3


@suite.test("steps get smaller where it turns, and only there")
def _():
    stairs = Staircase(1000)
    stairs.trial(False, 1000)
    stairs.trial(False, 625)
    assert stairs.step == Staircase.FIRST
    assert stairs.trial(True, 391) is None
    assert abs(stairs.step - Staircase.FIRST ** 0.5) < 1e-9
    for good in (False, True):
        assert stairs.trial(good, stairs.rate) is None
    rate = stairs.rate
    assert stairs.trial(False, rate) == rate


def result_of(figures, unit="packets/s", invalid=(), hops=lambda number: [], quick=False):
    """@figures: {contender: [[values of the turns of a round]...]}; @invalid: (contender, round, turn); @hops: of a round."""
    measurements = []
    for contender, rounds in figures.items():
        for number, values in enumerate(rounds):
            for turn, value in enumerate(values):
                why = "counters do not add up" if (contender, number, turn) in invalid else None
                measurements.append({"kind": "measurement", "boot_cpus": 2, "group": "forward", "wire": "plain",
                                     "row": "forward 64 bytes", "contender": contender, "round": number, "turn": turn, "hops": hops(number),
                                     "value": value, "unit": unit, "details": {"invalid": why}})
    return {"place": "a test", "kernel": "7.3", "machine": {"model": "none"}, "rounds": 3, "seconds": 1, "commit": "0",
            "quick": quick, "measurements": measurements}


FIGURES = {"in-tree 2 tunnels": [[100, 300], [100, 100], [400, 400]],
           "in-tree 1 tunnel": [[90], [90], [90]],
           "wgtrunk 2 lanes": [[600], [300], [800]],
           "wgtrunk 1 lane on 1 CPU": [[300], [150], [500]]}


ALL_OF_THEM = ((800 / 300 + 3) / 2, 2, 4, None)


def only_row(result):
    rows, _ = report.rows_of(result)
    assert len(rows) == 1
    return rows[0]


@suite.test("a ratio is the median of all pairs of turns, its range that of the rounds")
def _():
    row = only_row(result_of(FIGURES))
    assert row.values["in-tree 2 tunnels"] == {0: [100, 300], 1: [100, 100], 2: [400, 400]}
    assert row.best_in_tree() == "in-tree 2 tunnels" and row.median("in-tree 2 tunnels") == 200
    assert report.to_best(row) == ALL_OF_THEM
    assert row.ratio(row.ours(), report.SCALING) == (2, 1.6, 2, None)
    # A contender's bad turn, and one of luck, do not move it.
    spread = {"in-tree 2 tunnels": [[100, 99, 101]] * 5, "wgtrunk 2 lanes": [[300, 300, 300]] * 4 + [[900, 300, 30]]}
    assert abs(report.to_best(only_row(result_of(spread)))[0] - 3) < 0.04


@suite.test("what is invalid is not averaged, and said")
def _():
    row = only_row(result_of(FIGURES, invalid={("in-tree 2 tunnels", 0, 1)}))
    assert row.values["in-tree 2 tunnels"][0] == [100]
    assert row.invalid == ["in-tree 2 tunnels, round 1: counters do not add up"]


@suite.test("a row without a figure is bad")
def _():
    all_turns = {("wgtrunk 2 lanes", number, 0) for number in range(3)}
    for invalid, bad in (((), 0), (all_turns, 1)):
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            assert report.show(result_of(FIGURES, invalid=invalid), text) == bad
        assert ("no figure: 2 CPU" in text.getvalue()) == bool(bad)


@suite.test("of the pile-up, CPUs' time, rates, and who delivered which tunnel's packets")
def _():
    ticks = [{"softirq": 1, "system": 1, "user": 0, "idle": 2}] * 2
    polls = [{"wg0": [90, 10]}, {}, {"wg0": [0, 20], "wg1": [0, 80]}]
    result = result_of({"in-tree 2 tunnels": [[0.9], [0.8], [0.95]], "wgtrunk 2 lanes": [[0]]}, unit="share")
    for m in result["measurements"]:
        m.update(group="pile-up", details={"cpu": ticks, "polls": polls if m["value"] else None, "pps": 31000, "offered_pps": 41000,
                                           "invalid": None})
    lines = report.pile_up_lines(report.rows_of(result)[0])
    assert [line[3:6] for line in lines] == [["25 / 25 / 50, 25 / 25 / 50", "41.00 kpps", "31.00 kpps"]] * 2, lines
    assert [line[6:] for line in lines] == [["wg0: 75 / 25, wg1: 0 / 100", "90 % (80 to 95)"], ["", ""]], lines


@suite.test("for seconds, the best is the lowest")
def _():
    row = only_row(result_of(FIGURES, unit="s"))
    assert row.best_in_tree() == "in-tree 1 tunnel"


@suite.test("two runs are compared by what was best in each")
def _():
    other = dict(FIGURES, **{"in-tree 1 tunnel": [[210], [210], [212]]})
    for second, bad in ((FIGURES, 0), (other, 0), (dict(other, **{"wgtrunk 2 lanes": [[800], [400], [1000]]}), 1)):
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            assert report.compare(result_of(FIGURES), result_of(second)) == 2 * bad, text.getvalue()
        # A growth is compared, too.
        assert f"\n{2 * bad} of 2 are more than 10% apart" in text.getvalue()


@suite.test("a row that one of two runs lacks is no row that agrees")
def _():
    less = result_of(FIGURES, invalid={("wgtrunk 2 lanes", number, 0) for number in range(3)})
    for both in ((result_of(FIGURES), less), (less, result_of(FIGURES)),
                 (result_of(FIGURES), dict(less, measurements=[])), (dict(less, measurements=[]), result_of(FIGURES))):
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            assert report.compare(*both) == 1, text.getvalue()


@suite.test("a ratio of few figures says so, and one of CPUs that were not near")
def _():
    figures = {"in-tree 2 tunnels": [[100]] * 5, "wgtrunk 2 lanes": [[300]] * 5}
    for hops, words in ((lambda number: [80, 80], "3.00 (3.00 to 3.00)"),
                        (lambda number: [80, 80] if number < 4 else [400, 400], "3.00 (3.00 to 3.00), 4 figures"),
                        (lambda number: [80, 80] if not number else [400, 400], "3.00 (3.00 to 3.00), 1 figure"),
                        (lambda number: [80, 400], "3.00 (3.00 to 3.00), wherever CPUs were")):
        result = dict(result_of(figures, hops=hops), rounds=5)
        row = only_row(result)
        assert report.three(report.to_best(row), row.where) == words, report.three(report.to_best(row), row.where)
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            report.markdown(result)
        assert f"| {words} |" in text.getvalue(), text.getvalue()


@suite.test("bulk grew from the machine with one CPU, not from one lane beside programs that are anywhere")
def _():
    result = result_of({"in-tree 2 tunnels": [[100]] * 3, "wgtrunk 2 lanes": [[300]] * 3, report.SCALING: [[290]] * 3}, "bit/s")
    for m in result["measurements"]:
        m.update(group="bulk", row="TCP 8 flows")
    one = result_of({"in-tree 1 tunnel": [[100]] * 3, "wgtrunk 1 lane": [[200], [100], [150]]}, "bit/s")
    for m in one["measurements"]:
        m.update(group="bulk", row="TCP 8 flows, writes of 128 KB", boot_cpus=1)
    assert report.growth_lines(report.rows_of(result)[0]) == []
    result["measurements"] += one["measurements"]
    lines = report.growth_lines(report.rows_of(result)[0])
    assert lines == [["TCP 8 flows", "plain", "2.00 (1.50 to 3.00)", "the machine with 1 CPU"]], lines


@suite.test("what was measured with CPUs far apart is another column, what while that changed is in none")
def _():
    row = only_row(result_of(FIGURES, hops=lambda number: ([80, 90], [400, 380], [85, 390])[number]))
    assert row.values["in-tree 2 tunnels"] == {0: [100, 300]} and row.far.values["in-tree 2 tunnels"] == {1: [100, 100]}
    assert report.to_best(row) == (4, 4, 4, None) and report.to_best(row.far) == (3, 3, 3, None)
    assert row.median(report.SCALING) == 300, "wherever the other CPU was"
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        once = result_of(FIGURES, hops=lambda number: ([80, 90], [400, 380], [85, 90])[number])
        assert report.compare(once, once) == 0
    assert "CPUs far apart" not in text.getvalue(), "one round of three is no ratio to compare"
    row = only_row(result_of(FIGURES, hops=lambda number: [380, 400]))
    assert row.far is None and report.to_best(row) == ALL_OF_THEM, "all far: nobody knows that"
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        report.show(result_of(FIGURES, hops=lambda number: ([80, 90], [400, 380], [85, 390])[number]), text)
    for words in ("near       5        85 ns", "far        5        390 ns", "changing   5        238 ns"):
        assert words in text.getvalue(), text.getvalue()


@suite.test("a row has a figure wherever the CPUs were")
def _():
    def moved(result):
        for m in result["measurements"]:
            m["hops"] = [80, 80] if m["contender"].startswith("wgtrunk") else [80, 400]
        return result

    for result in (moved(result_of(FIGURES)), result_of(FIGURES, hops=lambda number: [80, 400]),
                   moved(result_of(FIGURES, quick=True))):
        row = only_row(result)
        assert report.to_best(row) == ALL_OF_THEM, row.values
        assert row.far is None or not report.to_best(row.far)


@suite.test("one that was there once, when others were more often, is not the best")
def _():
    row = only_row(result_of(dict(FIGURES, **{"in-tree 1 tunnel": [[900]]})))
    assert row.best_in_tree() == "in-tree 2 tunnels"


@suite.test("tables for the documentation, with another run's ratios beside")
def _():
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        report.markdown(result_of(FIGURES), result_of(FIGURES))
    assert "| forward 64 bytes | 2 tunnels | 2.83 (2.00 to 4.00) | 2.83 | - |" in text.getvalue(), text.getvalue()
    assert "| forward 64 bytes | plain | 2.00 (1.60 to 2.00) | 2.00 | 1 lane on 1 CPU |" in text.getvalue(), text.getvalue()


@suite.test("a percentile is one of all that were sent: who was lost was slow")
def _():
    delays = list(range(1, 1001))
    assert [measure.percentile(delays, 1000, part) for _, part in measure.PERCENTILES] == [500, 990, 999]
    assert [measure.percentile(delays[:985], 1000, part) for _, part in measure.PERCENTILES] == [500, 985, 985]
    assert measure.percentile([], 1000, 0.5) == 0


class Site:
    """Enough of one to measure rows of a made-up kind; it fails so many times when it is set up."""

    fail = 0

    def __init__(self, plan, contender, wire, near, far):
        self.plan, self.contender, self.near = plan, contender, self

    def __enter__(self):
        if Site.fail:
            Site.fail -= 1
            raise measure.Failed("no such luck")
        return self

    def __exit__(self, *what):
        pass

    def hop(self):
        return 80


def rows_measured(kind, fail=0, quick=False):
    """What becomes of a row with two figures, that is measured by @kind."""
    plan = {"quick": quick}
    group = {"name": "test", "wire": "plain", "rows": [{"kind": "forward", "name": "forward", "loss_free": True}]}
    known = measure.KINDS["forward"], measure.Site
    measure.KINDS["forward"], measure.Site, Site.fail = kind, Site, fail
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return plan, [(name, value, details["invalid"]) for name, value, _, details, _ in measure.measure_set_up(
                plan, measure.Contender("wgtrunk 1 lane", "own", 1), group, None, None)]
    finally:
        measure.KINDS["forward"], measure.Site = known


@suite.test("each row that was to be measured has a figure, or says why it has none")
def _():
    def good(site, row, emit):
        for name in measure.forward_names(row):
            emit(name, 7, "packets/s", {"invalid": None})

    def first_only(site, row, emit):
        emit("forward overload", 0, "packets/s", {"invalid": "too slow: nothing arrived"})

    def fails(site, row, emit):
        emit("forward overload", 7, "packets/s", {"invalid": None})
        raise measure.Failed("broken")

    both = [("forward overload", 7, None), ("forward loss-free", 7, None)]
    assert rows_measured(good)[1] == both
    assert rows_measured(first_only)[1] == [("forward overload", 0, "too slow: nothing arrived"),
                                            ("forward loss-free", 0, "too slow: nothing arrived")]
    assert rows_measured(fails)[1] == [("forward overload", 7, None), ("forward loss-free", 0, "broken")]
    assert rows_measured(good, fail=1)[1] == both, "a set-up that fails is made once more"
    plan, found = rows_measured(good, fail=2)
    assert found == [("forward overload", 0, "set-up: no such luck"), ("forward loss-free", 0, "set-up: no such luck")]
    assert plan["failed"] == 1


@suite.test("who cannot be set up at all is given up on")
def _():
    plan = {"quick": False, "failed": 2}
    known, measure.Site, Site.fail = measure.Site, Site, 9
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            measure.measure_set_up(plan, measure.Contender("wgtrunk 1 lane", "own", 1), {"wire": "plain", "rows": []}, None, None)
    except measure.Failed as error:
        assert str(error) == "set-up: no such luck"
        return
    finally:
        measure.Site = known
    assert False, "it goes on"


# A machine of so many CPUs; what it forks says whether it may run on as many cores within some seconds, and then stay there.
MACHINE = """
import os, sys, threading, time
cpus, programs_on = map(int, sys.argv[1:])
for _ in range(cpus - 1):
    threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
cores = sorted(os.sched_getaffinity(os.getppid()))[:cpus]
while sorted(list(os.sched_getaffinity(int(t))) for t in os.listdir("/proc/self/task")) != [[c] for c in cores]:
    time.sleep(0.05)
print("each on one", flush=True)
for program in range(3):
    pid = os.fork()
    if not pid:
        for _ in range(60):
            if len(os.sched_getaffinity(0)) == programs_on:
                time.sleep(0.3)
                os._exit(len(os.sched_getaffinity(0)) != programs_on)
            time.sleep(0.05)
        os._exit(1)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


def said_on_cores(cpus, programs_on):
    if len(os.sched_getaffinity(0)) < 2:
        raise tap.Skip("there is one CPU")
    folder = tempfile.mkdtemp()
    suite.defer(shutil.rmtree, folder)
    # The machine is a program of its own, and what it forks is the same one.
    shutil.copy2(os.path.realpath(sys.executable), os.path.join(folder, "linux"))
    cores = Cores(folder, cpus)
    cores.start()
    suite.defer(cores.stop)
    # It becomes that program when it has been seen already.
    said = subprocess.run(["sh", "-c", 'sleep 0.5; exec "$@"', "sh", os.path.join(folder, "linux"), "-c", MACHINE, str(cpus),
                           str(programs_on)], stdout=subprocess.PIPE,
                          text=True, timeout=25, env=dict(os.environ, PYTHONHOME=sys.base_prefix))
    return said.stdout.splitlines()


@suite.test("a machine's CPUs are kept on cores of their own, and its programs are not")
def _():
    said = said_on_cores(2, len(os.sched_getaffinity(0)))
    assert said == ["each on one", "0", "0", "0"], said


@suite.test("the programs of a machine with one CPU are kept on that one's core")
def _():
    said = said_on_cores(1, 1)
    assert said == ["each on one", "0", "0", "0"], said


suite.run_and_exit()
