# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""What bench/run and bench/host share: their options, the rows, and what becomes of the results."""
import base64
import contextlib
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

import report
from build import BENCH, NEEDS, OUT, ROOT, die, say


# How many set-ups a round has of those contenders that ratios are made from, where figures scatter between set-ups.
TURNS = 4


def forward_rows(flows, loss_free):
    return [{"kind": "forward", "name": f"forward {size} bytes, {flows}", "size": size, "flows": flows,
             "loss_free": loss_free} for size in (64, 512, 1400)]


def groups(cpus, wires):
    """What is measured between two changes of contender."""
    found = []
    for wire in wires:
        # What a trunk costs shows best where there is one lane, on one CPU.
        found.append({"name": "forward", "wire": wire, "turns": TURNS if cpus > 1 else 1, "scaling": cpus > 1,
                      "trunk": cpus == 1, "rows": forward_rows("presorted", True)})
        if cpus > 1:
            found.append({"name": "forward hashed", "wire": wire, "turns": TURNS, "scaling": True, "trunk": True,
                          "rows": forward_rows("hashed", False)})
        bulk = [{"kind": "gso", "name": "UDP GSO bulk"}]
        if cpus == 1:
            bulk += [{"kind": "tcp", "name": f"TCP {n} flow{'s' * (n > 1)}, writes of 128 KB", "flows": n, "write": 128 << 10}
                     for n in (1, 2, 8)]
        else:
            bulk += [{"kind": "gso", "name": "UDP GSO 1 flow", "flows": 1}]
            # As on two machines: who sends and who receives do not take turns on one CPU.
            bulk += [{"kind": "tcp", "name": "TCP 1 flow, writes of 128 KB", "flows": 1, "write": 128 << 10, "apart": True},
                     {"kind": "tcp", "name": "TCP 1 flow, writes of 1 MB", "flows": 1, "write": 1 << 20, "apart": True},
                     {"kind": "tcp", "name": "TCP a flow a lane", "flows": cpus, "write": 128 << 10, "pinned": True},
                     {"kind": "tcp", "name": "TCP 2 flows", "flows": 2, "write": 128 << 10},
                     {"kind": "tcp", "name": "TCP 8 flows", "flows": 8, "write": 128 << 10}]
        # What it grew from is the machine with one CPU: here programs, and with them softirqs, go where they like.
        found.append({"name": "bulk", "wire": wire, "turns": TURNS if cpus > 1 else 2, "homes": cpus > 1,
                      "rows": bulk})
        # After the forwarding rows: those find the rates.
        found.append({"name": "latency", "wire": wire,
                      "without": ["in-tree 1 tunnel", f"in-tree {cpus} tunnels threaded"] * (cpus > 1),
                      "rows": [{"kind": "latency", "name": "latency 1400 bytes", "size": 1400}]})
    if cpus > 1:
        found.append({"name": "pile-up", "wire": wires[0], "scaling": True, "without": ["in-tree 1 tunnel"],
                      "rows": [{"kind": "pile-up", "name": name, "size": 1400, "rules": rules}
                               for name, rules in (("overload", 0), ("long packet filter", 10000))]})
    # Peers are on one tunnel.
    found.append({"name": "peers", "wire": wires[0],
                  "without": [f"in-tree {cpus} tunnels{how}" for how in ("", " threaded", " pinned")] * (cpus > 1),
                  "rows": [{"kind": "peers", "name": "peers", "counts": [1, 1000, 10000], "removed": 50}]})
    return found


def plan_for(cpus, options, keys, wires):
    """What bench/measure is told, but for the paths of what it loads and starts; None where no group was chosen."""
    chosen = [g for g in groups(cpus, wires)
              if any(fnmatch.fnmatch(f"{g['name']}/{g['wire']}", pattern) for pattern in options.only)]
    if not chosen:
        return None
    plan = {"cpus": cpus, "quick": options.quick, "rounds": options.rounds, "seconds": options.seconds, "trial": 0.2,
            "trials": 2, "trials_most": 20, "search_from": 1, "connections": 1, "groups": chosen, "public_keys": keys,
            "bound_sizes": [64, 512, 1408], "needs": NEEDS}
    if options.quick:
        plan.update(trial=0.1, trials=1, trials_most=2, search_from=0.25)
        for group in chosen:
            group.pop("turns", None)
            group.pop("without", None)
            for row in group["rows"]:
                if row["kind"] == "peers":
                    row["counts"] = [1, 1000]
    return plan


def public_keys(count):
    """Random ones: what is set for others than ourselves needs no private half."""
    return [base64.b64encode(os.urandom(32)).decode() for _ in range(count)]


def machine():
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"model": model, "cpus": os.cpu_count()}


def commit():
    try:
        said = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], stdout=subprocess.PIPE, text=True)
    except OSError:
        return "unknown"
    return said.stdout.strip() or "unknown"


def collect(command, cpus):
    """Runs measure, by @command; returns an exit status, not 0 where it did not come to its end, and its records."""
    lines, ended = [], False
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            line = line.strip()
            try:
                record = json.loads(line)
            except ValueError:
                if line:
                    say(line)
                continue
            ended |= record["kind"] == "end"
            record["boot_cpus"] = cpus
            lines.append(record)
    finally:
        # It puts back what it changed, which is to be waited for. Where the terminal has interrupted it, it has begun to.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait()
        signal.signal(signal.SIGINT, before)
    return process.returncode or (0 if ended else 1), lines


def add_options(parser):
    parser.add_argument("--quick", action="store_true", help="all rows once, for a moment each: a smoke test, no figures")
    parser.add_argument("--rounds", type=int, help="how often all of it is measured (5)")
    parser.add_argument("--seconds", type=float, help="how long one measurement is (0.4)")
    parser.add_argument("--only", action="append", metavar="GROUP/WIRE", help="groups of rows, e.g. 'bulk/*'")
    parser.add_argument("--name", help="of the results (the time)")


# What an hour's results take, and some more.
RESULTS_FREE = 64 << 20


def results_folder(options):
    return OUT if options.quick else os.path.join(BENCH, "results")


def settle(parser, options):
    """Fills in what was not said, and sees that there is room for the results: it would be late to miss that afterwards."""
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.15 if options.quick else 0.4)
    options.only = options.only or ["*"]
    options.name = options.name or ("quick" if options.quick else time.strftime("%Y%m%d-%H%M%S"))
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("rounds and seconds must be more than nothing")
    folder = results_folder(options)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        die(f"results cannot be written to {folder}: {error.strerror}")
    if shutil.disk_usage(folder).free < RESULTS_FREE:
        die(f"less than {RESULTS_FREE >> 20} MB are free for the results at {folder}: make room there first")


def new_result(options, place, release):
    return {"format": 1, "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "place": place, "machine": machine(),
            "kernel": release, "commit": commit(), "quick": options.quick, "rounds": options.rounds,
            "seconds": options.seconds, "measurements": []}


def write_results(path, result):
    """All or nothing."""
    try:
        with open(path + ".new", "w") as file:
            json.dump(result, file, indent=None, separators=(",", ":"))
            file.write("\n")
        os.rename(path + ".new", path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path + ".new")
        raise


def finish(result, options):
    """Writes the results, shows them, draws charts; ends the program where a row has no figure."""
    folder = results_folder(options)
    path = os.path.join(folder, options.name + ".json")
    try:
        write_results(path, result)
    except OSError as error:
        elsewhere = os.path.join(tempfile.gettempdir(), f"wgtrunk-{options.name}.json")
        write_results(elsewhere, result)
        die(f"{path}: {error.strerror}: the results are in {elsewhere}, for bench/report.py show")
    bad = report.show(result)
    if not options.quick:
        report.charts(result, os.path.join(folder, options.name))
    say(f"results: {os.path.relpath(path, ROOT)}")
    if bad:
        die(f"{bad} rows have no valid figure")
