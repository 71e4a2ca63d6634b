# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""Results of bench/run: medians, ratios, tables and charts.

In each round contenders are measured in turn, some of them several times. A ratio is the median of all pairs of a turn of the one
and a turn of the other (Hodges and Lehmann, "Estimates of location based on rank tests", 1963); its range is that of the same
median in single rounds. The best in-tree contender of a row is the one with the best median.

A virtual machine's CPUs may be cores beside each other at one time, and far apart at another, which is nobody's merit; each
figure says how far they were. What was measured far apart is in Row.far, a column of its own where ratios are shown.
"""
import json
import os
import statistics
import subprocess
import sys

SCALING = "wgtrunk 1 lane on 1 CPU"
VARIANTS = ("trunk by hash", "trunk by CPU", "lanes with home CPUs")
# Set-ups whose CPUs are so many times as far apart as they were at best are not averaged with others.
APART = 2
BOUND = "bound"
# Where SCALING says what N lanes grew from: its programs' softirqs would go where they like.
BULK = "bulk"
# Of bulk rows with several CPUs, the row of the machine with one that they are compared with.
ON_ONE_CPU = {"UDP GSO bulk": "UDP GSO bulk", "TCP a flow a lane": "TCP 1 flow, writes of 128 KB",
              "TCP 2 flows": "TCP 2 flows, writes of 128 KB", "TCP 8 flows": "TCP 8 flows, writes of 128 KB"}
# A ratio of fewer figures than these, of either side, says how many they were.
ENOUGH = 5
THROUGHPUT = ("packets/s", "bit/s")
SLOW = "too slow: "
# Bytes that the cipher works on for a packet of so many: padded to 16.
PADDED = {64: 64, 512: 512, 1400: 1408}


def median_ratio(ones, others):
    return statistics.median(one / other for one in ones for other in others if other)


def ratio_of(ones, others, enough=0):
    """Of turns by round: the median of all ratios, the lowest and the highest of a round or all, and how many figures that side had
    which had fewer, or None where they were enough; None where no round has both."""
    rounds = [median_ratio(ones[number], others[number]) for number in ones if number in others and all(others[number])]
    if not rounds:
        return None
    # Turns of rounds that have one of them only count, too.
    turns = [[value for values in side.values() for value in values] for side in (ones, others)]
    ratio = median_ratio(*turns)
    fewest = min(map(len, turns))
    return ratio, min(ratio, *rounds), max(ratio, *rounds), fewest if fewest < enough else None


class Row:
    """One line of the table: values of all contenders, by round."""

    def __init__(self, cpus, group, wire, name, enough=0):
        self.cpus, self.group, self.wire, self.name = cpus, group, wire, name
        # How many figures a ratio is to have without a word.
        self.enough = enough
        self.unit = ""
        # What the turns gave, by contender and round.
        self.values = {}
        # The same row, measured while the CPUs were far apart; None where they never were.
        self.far = None
        # Where they were, if not near.
        self.where = ""
        # Of the pile-up: what was measured besides, by contender, wherever the CPUs were.
        self.piles = {}
        self.invalid = []

    def key(self):
        return self.cpus, self.group, self.wire, self.name

    def lower_is_better(self):
        return self.unit == "s"

    def add(self, contender, number, value):
        self.values.setdefault(contender, {}).setdefault(number, []).append(value)

    def turns(self, contender):
        return [value for values in self.values.get(contender, {}).values() for value in values]

    def median(self, contender):
        values = self.turns(contender)
        return statistics.median(values) if values else None

    def ours(self):
        return next((c for c in self.values if c.startswith("wgtrunk") and c != SCALING), None)

    def best_in_tree(self):
        known = [c for c in self.values if c.startswith("in-tree")]
        if not known:
            return None
        # One that was there once or twice, when others were more often, may have been lucky.
        most = max(len(self.values[c]) for c in known)
        known = [c for c in known if 2 * len(self.values[c]) >= most]
        return (min if self.lower_is_better() else max)(known, key=self.median)

    def ratio(self, one, other):
        """See ratio_of()."""
        return ratio_of(self.values.get(one, {}), self.values.get(other, {}), self.enough)


def limits_of(result):
    """Of each boot with several CPUs, the limit in ns of what is near: {CPUs: limit}."""
    hops = {}
    if result["quick"]:
        # Where each is measured once, there is nothing to choose from.
        return {}
    for m in result["measurements"]:
        if m["kind"] == "measurement" and m["boot_cpus"] > 1 and m.get("hops"):
            hops.setdefault(m["boot_cpus"], []).extend(m["hops"])
    # Not the smallest: that may have been a moment's.
    return {cpus: APART * sorted(found)[len(found) // 20] for cpus, found in hops.items()}


def place_of(measurement, limits):
    """Where the CPUs were: "near" (or nobody knows), "far", or None where that changed meanwhile."""
    limit = limits.get(measurement["boot_cpus"])
    if not limit or not measurement.get("hops"):
        return "near"
    far = {hop > limit for hop in measurement["hops"]}
    return None if len(far) > 1 else "far" if far.pop() else "near"


def rows_of(result):
    """All rows in order, and the bound: packets/s by (cpus, group, wire, round, size, CPUs used)."""
    rows, bound, anywhere = {}, {}, {}
    limits = limits_of(result)
    # Where each is measured once or twice, that goes without saying.
    enough = ENOUGH if result["rounds"] >= ENOUGH else 0
    for m in result["measurements"]:
        if m["kind"] != "measurement":
            continue
        details = m["details"]
        if m["contender"] == BOUND:
            bound[m["boot_cpus"], m["group"], m["wire"], m["round"], details["size"], details["cpus"]] = m["value"]
            continue
        key = (m["boot_cpus"], m["group"], m["wire"], m["row"])
        if m["contender"] == SCALING and m["group"] == BULK:
            continue
        row = rows.setdefault(key, Row(*key, enough))
        row.unit = row.unit or m["unit"]
        if details.get("invalid"):
            row.invalid.append(f"{m['contender']}, round {m['round'] + 1}: {details['invalid']}")
            continue
        if m["group"] == "pile-up":
            row.piles.setdefault(m["contender"], []).append({"share": m["value"], **details})
        turn = m["contender"], m["round"], m["value"]
        anywhere.setdefault(row, []).append(turn)
        # Who is on one CPU is not far from itself.
        place = "near" if m["contender"] == SCALING else place_of(m, limits)
        if not place:
            continue
        if place == "far":
            row.far = row.far or Row(*key, enough)
            row.far.unit = row.unit
        (row.far if place == "far" else row).add(*turn)
    for row in rows.values():
        # Where they were hardly ever near: better that than nothing.
        if not to_best(row) and row.far and to_best(row.far):
            row.values, row.far, row.where = row.far.values, None, "CPUs far apart"
        elif not to_best(row):
            row.values, row.where = {}, "wherever CPUs were"
            for turn in anywhere.get(row, ()):
                row.add(*turn)
    return list(rows.values()), bound


def size_of(row):
    return next((s for s in PADDED if f" {s} bytes" in row.name), 1400)


def share_of_bound(row, contender, bound, cpus=None):
    """The contender's part of what the cipher alone could do on as many CPUs; None for rows that are not throughput."""
    size = PADDED[size_of(row)]
    shares = []
    for number, values in row.values.get(contender, {}).items():
        value = statistics.fmean(values)
        most = bound.get((row.cpus, row.group, row.wire, number, size, cpus or row.cpus))
        if most:
            if row.unit == "bit/s":
                value /= 8 * size
            elif row.unit != "packets/s":
                return None
            shares.append(value / most)
    return statistics.median(shares) if shares else None


def figure(value, unit):
    if value is None:
        return "-"
    if unit == "s":
        return f"{value * 1e6:.0f} us" if value < 0.1 else f"{value:.2f} s"
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.2f} {letter}{unit.replace('packets/s', 'pps')}"
    return f"{value:.0f} {unit}"


def to_best(row):
    """Our ratio to the best in-tree contender; None where there is none."""
    return row.ratio(row.ours(), row.best_in_tree()) if row and row.ours() and row.best_in_tree() else None


def places_table(result):
    """How far CPUs were apart, and how often."""
    limits, places = limits_of(result), {}
    for m in result["measurements"]:
        if m["kind"] == "measurement" and m["boot_cpus"] in limits and m.get("hops"):
            places.setdefault((m["boot_cpus"], place_of(m, limits) or "changing"), []).append(statistics.fmean(m["hops"]))
    lines = [[cpus, place, len(hops), f"{statistics.median(hops):.0f} ns"] for (cpus, place), hops in sorted(places.items())]
    return table(["CPUs", "they were", "figures", "a cache line from one to another and back"], lines) if lines else []


def three(ratio, where=""):
    if not ratio:
        return "-"
    few = f"{ratio[3]} figure{'s' * (ratio[3] > 1)}" if ratio[3] else ""
    return ", ".join([f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})", *filter(None, (few, where))])


def table(head, lines):
    widths = [max(len(str(line[i])) for line in [head] + lines) for i in range(len(head))]
    for line in [head, ["-" * w for w in widths]] + lines:
        yield "  ".join(str(cell).ljust(width) for cell, width in zip(line, widths)).rstrip()


def throughput_table(rows, bound):
    lines = []
    for row in rows:
        if row.unit == "share":
            continue
        ours, tree = row.ours(), row.best_in_tree()
        share = share_of_bound(row, ours, bound) if ours else None
        lines.append([row.cpus, row.wire, row.name, figure(row.median(ours), row.unit), figure(row.median(tree), row.unit),
                      (tree or "-").replace("in-tree ", ""), three(to_best(row), row.where), three(to_best(row.far)),
                      f"{100 * share:.0f}%" if share else "-"])
    return table(["CPUs", "wire", "row", "wgtrunk", "in-tree", "the best of it", "ratio (range)", "CPUs far apart", "bound"], lines)


def growth(row, rows):
    """Our ratio, with as many lanes as CPUs, to one lane on one CPU; what that was measured as; or None."""
    if row.cpus == 1 or not row.ours() or row.unit not in THROUGHPUT:
        return None
    if SCALING in row.values:
        ratio, what = row.ratio(row.ours(), SCALING), "1 lane on 1 CPU"
    else:
        one = next((r for r in rows if (r.cpus, r.group, r.wire, r.name) == (1, row.group, row.wire, ON_ONE_CPU.get(row.name))), None)
        ratio, what = one and one.ours() and ratio_of(row.values[row.ours()], one.values[one.ours()], row.enough), "the machine with 1 CPU"
    return (ratio, what) if ratio else None


def growth_lines(rows, *more):
    """Of each row that grew: it, how, from what; @more gives further columns of a row."""
    found = ((row, growth(row, rows)) for row in rows)
    return [[row.name, row.wire, three(grown[0], row.where), *(column(row) for column in more), grown[1]] for row, grown in found if grown]


GROWTH_HEAD = ["row", "wire", "ratio (range)", "to"]


def variant_lines(rows):
    """Of each row with trunks, or lanes set up otherwise: each one's ratio to bare lanes, and to the best in-tree contender."""
    lines = []
    for row in rows:
        for variant in VARIANTS:
            if variant in row.values and row.unit != "share":
                lines.append([row.cpus, row.wire, row.name, variant] +
                             [three(row.ratio(variant, other)) if other else "-" for other in (row.ours(), row.best_in_tree())])
    return lines


VARIANT_HEAD = ["CPUs", "wire", "row", "", "to bare lanes (range)", "to the best in-tree contender"]


def shares_of_time(samples):
    """Of each CPU: the part of its time that went where, over all rounds."""
    cpus = []
    for cpu in range(min(len(s) for s in samples)):
        total = {k: sum(s[cpu][k] for s in samples) for k in samples[0][cpu]}
        ticks = sum(total.values()) or 1
        cpus.append({k: v / ticks for k, v in total.items()})
    return cpus


def pile_up_rows(rows):
    return [r for r in rows if r.group == "pile-up" and r.piles]


def delivered_by(piles):
    """Which CPUs deliver which tunnel's packets, over all set-ups."""
    totals = {}
    for window in [window for pile in piles for window in pile["polls"] or []]:
        for dev, packets in window.items():
            totals[dev] = [a + b for a, b in zip(totals.get(dev, [0] * len(packets)), packets)]
    return ", ".join(f"{dev}: " + " / ".join(f"{100 * p / (sum(packets) or 1):.0f}" for p in packets)
                     for dev, packets in sorted(totals.items()))


PILE_UP_HEAD = ["wire", "row", "contender", "softirq / system / idle of each CPU, %", "offered", "delivered",
                "each tunnel's packets by CPU, %", "busiest CPU in 10 ms"]


def pile_up_lines(rows):
    lines = []
    for row in pile_up_rows(rows):
        for contender, piles in row.piles.items():
            shares = [pile["share"] for pile in piles if pile["share"]]
            times = [f"{100 * p['softirq']:.0f} / {100 * p['system']:.0f} / {100 * p['idle']:.0f}"
                     for p in shares_of_time([pile["cpu"] for pile in piles])]
            rates = [figure(statistics.median(pile[name] for pile in piles), "packets/s") for name in ("offered_pps", "pps")]
            lines.append([row.wire, row.name, contender, ", ".join(times), *rates, delivered_by(piles),
                          f"{100 * statistics.median(shares):.0f} % ({100 * min(shares):.0f} to {100 * max(shares):.0f})" if shares else ""])
    return lines


def show(result, file=sys.stdout):
    """Prints everything; returns how many rows have no valid figure of ours or of the in-tree module's. In a quick run a
    row may have none because the machine was too busy."""
    rows, bound = rows_of(result)
    bad = 0
    print(f"\n{result['place']} {result['kernel']}, {result['machine']['model']}, {result['rounds']} rounds of "
          f"{result['seconds']} s, {result['commit']}" + (", QUICK: not for comparison" if result["quick"] else "") + "\n",
          file=file)
    for line in throughput_table(rows, bound):
        print(line, file=file)
    variants, pile_ups, growths = variant_lines(rows), pile_up_lines(rows), growth_lines(rows)
    for title, lines in (("How far CPUs were apart", places_table(result)), ("Growth with the CPUs", table(GROWTH_HEAD, growths) if growths else []),
                         ("Trunks and home CPUs", table(VARIANT_HEAD, variants) if variants else []),
                         ("Pile-up: where 1400-byte packets are delivered", table(PILE_UP_HEAD, pile_ups) if pile_ups else [])):
        if lines:
            print(f"\n{title}\n", file=file)
            for line in lines:
                print(line, file=file)
    print(file=file)
    for row in rows:
        for why in row.invalid:
            print(f"invalid: {row.cpus} CPU, {row.wire}, {row.name}: {why}", file=file)
        if row.median(row.ours()) is None or row.median(row.best_in_tree()) is None:
            print(f"no figure: {row.cpus} CPU, {row.wire}, {row.name}", file=file)
            if not (result["quick"] and row.invalid and all(f": {SLOW}" in why for why in row.invalid)):
                bad += 1
    file.flush()
    return bad


# --- charts, by gnuplot ---

def quote(text):
    return '"' + str(text).replace('"', "'") + '"'


def plot(path, title, body, data):
    """Two files: path.svg and path.png. @data: {name: lines}, to be plotted as $name."""
    blocks = "".join(f"${name} << EOD\n" + "\n".join(lines) + "\nEOD\n" for name, lines in data.items())
    for terminal, ending in (("svg size 900,520 dynamic font 'sans,13'", "svg"), ("pngcairo size 900,520 font 'sans,11'", "png")):
        commands = (f"set terminal {terminal}\nset output {quote(path + '.' + ending)}\nset title {quote(title)}\n"
                    f"set style data histograms\nset style fill solid 0.8 border -1\nset boxwidth 0.9\nset grid ytics\n"
                    f"set key outside bottom center horizontal\nset yrange [0:*]\n{blocks}{body}\n")
        done = subprocess.run(["gnuplot"], input=commands, text=True, stderr=subprocess.PIPE)
        if done.returncode:
            raise OSError(f"gnuplot: {done.stderr.strip()}")


def clustered(rows, contenders, scale):
    lines = ["row " + " ".join(quote(c) for c in contenders)]
    for label, row in rows:
        lines.append(quote(label) + " " + " ".join(f"{(row.median(c) or 0) / scale:.6g}" for c in contenders))
    return lines


def chart_throughput(rows, bound, folder):
    for cpus in sorted({r.cpus for r in rows}):
        for wire in sorted({r.wire for r in rows}):
            found = [(f"{size_of(r)} bytes", r) for r in rows if (r.cpus, r.wire, r.group) == (cpus, wire, "forward")
                     and r.name.endswith("overload")]
            if not found:
                continue
            contenders = [c for c in found[0][1].values if c != SCALING]
            lines = clustered(found, contenders, 1e6)
            limit = []
            for i, (_, row) in enumerate(found):
                most = [v for (c, g, w, _, s, n), v in bound.items()
                        if (c, g, w, s, n) == (cpus, row.group, wire, PADDED[size_of(row)], cpus)]
                limit.append(f"{i} {statistics.median(most) / 1e6:.6g}")
            body = ("set ylabel 'million packets/s'\nset logscale y\nset yrange [0.01:*]\nplot " +
                    ", ".join(f"$rows using {i + 2}:xtic(1) title {quote(c)}" for i, c in enumerate(contenders)) +
                    ", $bound using 1:2 with linespoints lw 2 dt 2 lc 'black' title 'the cipher alone'")
            plot(os.path.join(folder, f"throughput-{cpus}cpu-{wire}"),
                 f"Forwarded packets, {cpus} CPU, {wire} wire (logarithmic)", body, {"rows": lines[1:], "bound": limit})


def chart_scaling(rows, folder):
    found = [(row, growth(row, rows)) for row in rows if not any(word in row.name for word in ("loss-free", "64", "512"))]
    found = [(row, grown[0]) for row, grown in found if grown]
    lines = [f"{quote(row.name.replace(' overload', '') + ' / ' + row.wire)} " + " ".join(f"{value:.4g}" for value in ratio[:3])
             for row, ratio in found]
    if lines:
        plot(os.path.join(folder, "scaling"), f"{found[0][0].cpus} lanes on {found[0][0].cpus} CPUs over 1 lane on 1 CPU",
             "set xtics rotate by -35\nunset key\nset bmargin 9\nplot $rows using 2:xtic(1), '' using 0:2:3:4 with yerrorbars "
             "lc 'black' pt 0", {"rows": lines})


def chart_latency(rows, folder):
    for cpus in sorted({r.cpus for r in rows}):
        found = [r for r in rows if r.group == "latency" and r.cpus == cpus and "best in-tree" in r.name and r.ours()]
        if not found:
            continue
        contenders = list(found[0].values)
        lines = clustered([(f"{r.name.rsplit(', ', 1)[1]} / {r.wire}", r) for r in found], contenders, 1e-6)
        plot(os.path.join(folder, f"latency-{cpus}cpu"),
             f"One-way latency at half of the best in-tree loss-free rate, {cpus} CPU",
             "set xtics rotate by -20\nset bmargin 7\nset ylabel 'microseconds'\nset logscale y\nset yrange [1:*]\nplot " +
             ", ".join(f"$rows using {i + 2}:xtic(1) title {quote(c)}" for i, c in enumerate(contenders)), {"rows": lines[1:]})


PALETTE = "set palette defined (0 '#f7fbff', 50 '#fd8d3c', 100 '#800026')\nset cbrange [0:100]\nunset key\n"


def bands(names, what):
    """How gnuplot draws one band of colours above another, of 0 to 100 % of @what."""
    labels = ", ".join(f"{quote(n)} {i}" for i, n in enumerate(names))
    return f"{PALETTE}set yrange [-0.5:{len(names) - 0.5}]\nset ytics ({labels})\nset cblabel {quote(what)}\n"


def chart_heat(row, path):
    lines, names, cpus = [], list(row.piles), 0
    for y, contender in enumerate(names):
        shares = shares_of_time([pile["cpu"] for pile in row.piles[contender]])
        cpus = max(cpus, len(shares))
        for x, part in enumerate(shares):
            lines.append(f"{x} {y} {100 * part['softirq']:.1f}")
    ticks = ", ".join(f'"CPU {i}" {i}' for i in range(cpus))
    body = (f"{bands(names, 'softirq, % of the time')}set xrange [-0.5:{cpus - 0.5}]\nset xtics ({ticks})\nset lmargin 26\n"
            "plot $rows using 1:2:3 with image, '' using 1:2:(sprintf('%.0f%%', $3)) with labels")
    plot(path, f"Softirq time per CPU, 1400-byte packets, {row.wire} wire, {row.name}", body, {"rows": lines})


def chart_pile_up(row, path):
    """Over the time of a set-up, which CPU delivers what part of the packets."""
    lines, names, longest = [], [], 0
    for contender, piles in row.piles.items():
        windows = [[sum(packets) for packets in zip(*window.values())] for window in piles[0]["polls"] or []]
        longest = max(longest, len(windows))
        for cpu in range(max(map(len, windows), default=0)):
            for x, packets in enumerate(windows):
                if packets:
                    lines.append(f"{10 * x} {len(names)} {100 * packets[cpu] / (sum(packets) or 1):.1f}")
            names.append(f"{contender}, CPU {cpu}")
    if not lines:
        return
    body = (bands(names, "% of all tunnels' packets") + f"set xrange [-5:{10 * longest - 5}]\nset xlabel 'ms'\nset lmargin 32\n"
            "plot $rows using 1:2:(5):(0.45):3 "
            "with boxxyerror fs solid 1 noborder lc palette")
    plot(path, f"Who delivers, in each 10 ms: {row.wire} wire, {row.name}", body, {"rows": lines})


def chart_pile_ups(rows, folder):
    for row in pile_up_rows(rows):
        name = f"{row.wire}-{row.name.replace(' ', '-')}"
        chart_heat(row, os.path.join(folder, f"heat-{name}"))
        chart_pile_up(row, os.path.join(folder, f"pile-up-{name}"))


def charts(result, folder):
    """SVG and PNG into @folder, which is made anew."""
    rows, bound = rows_of(result)
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        if name.endswith((".svg", ".png")):
            os.unlink(os.path.join(folder, name))
    chart_throughput(rows, bound, folder)
    chart_scaling(rows, folder)
    chart_latency(rows, folder)
    chart_pile_ups(rows, folder)


# --- by hand: report.py show|markdown|compare FILE... ---

def markdown(result, again=None):
    """The tables of docs/performance.md; with the ratios of another run, if there is one, beside this one's."""
    rows, bound = rows_of(result)
    other_rows = rows_of(again)[0] if again else []
    # The other run's column.
    beside = ["again" if again["commit"] == result["commit"] else "another run"] if again else []
    others = {r.key(): r for r in other_rows}

    def print_table(title, head, lines):
        if not lines:
            return
        print(f"**{title}**\n")
        print("| " + " | ".join(head) + " |")
        print("|" + " --- |" * len(head))
        for line in lines:
            print("| " + " | ".join(str(cell) for cell in line) + " |")
        print()

    def second(row, of):
        """The other run's figure."""
        found = row.key() in others and of(others[row.key()])
        return f"{found[0]:.2f}" if found else "-"

    def second_growth(row):
        return second(row, lambda other: (growth(other, other_rows) or (None,))[0])

    def ratio_tables(chosen, shares):
        for cpus, wire in dict.fromkeys((r.cpus, r.wire) for r in sorted(chosen, key=lambda r: r.cpus)):
            there = [r for r in chosen if (r.cpus, r.wire) == (cpus, wire) and r.ours() and r.best_in_tree()]
            far = any(to_best(r.far) for r in there)
            head = (["row", "best in-tree contender", "ratio (range)"] + beside + ["CPUs far apart"] * far +
                    ["share of the bound"] * shares)
            lines = []
            for row in there:
                ours, tree = row.ours(), row.best_in_tree()
                line = ([row.name, tree.replace("in-tree ", ""), three(to_best(row), row.where)] + [second(row, to_best)] * bool(again) +
                        [three(to_best(row.far))] * far)
                share = share_of_bound(row, ours, bound)
                lines.append(line + [f"{100 * share:.0f} %" if share else "-"] * shares)
            print_table(f"{cpus} CPU{'s' * (cpus > 1)}, {wire} wire", head, lines)

    ratio_tables([r for r in rows if r.unit in THROUGHPUT], True)
    print_table("Growth with the CPUs", GROWTH_HEAD[:3] + beside + GROWTH_HEAD[3:],
                growth_lines(rows, *[second_growth] * bool(again)))
    print_table("Trunks, and lanes with home CPUs, as many as CPUs", VARIANT_HEAD, variant_lines(rows))
    ratio_tables([r for r in rows if r.unit == "s"], False)
    print_table("Pile-up", PILE_UP_HEAD, pile_up_lines(rows))


def compared(first, second):
    """What to compare of two runs, (row, what of it, ratio, ratio): rows that one of them lacks have None."""
    rows, others = ({r.key(): r for r in rows_of(result)[0] if r.unit in THROUGHPUT} for result in (first, second))
    for key in dict.fromkeys([*rows, *others]):
        row, other = rows.get(key), others.get(key)
        yield row or other, "", to_best(row), to_best(other)
        if not row or not other:
            continue
        a, b = to_best(row.far), to_best(other.far)
        # By chance they may have been far apart once or twice.
        if a and b and 2 * min(len(r.far.values[c]) for r in (row, other) for c in (r.far.ours(), r.far.best_in_tree())) >= first["rounds"]:
            yield row, ", CPUs far apart", a, b
        a, b = ((growth(r, list(all_rows.values())) or (None,))[0] for r, all_rows in ((row, rows), (other, others)))
        if a and b:
            yield row, ", growth", a, b


def compare(first, second, limit=0.10):
    """How far the throughput ratios of two runs are apart; returns how many are more than @limit, or in one of them only."""
    lines, bad = [], 0
    for row, what, a, b in compared(first, second):
        apart = abs(b[0] / a[0] - 1) if a and b else None
        wrong = apart is None or apart > limit
        bad += wrong
        lines.append([row.cpus, row.wire, row.name + what, *(f"{ratio[0]:.2f}" if ratio else "-" for ratio in (a, b)),
                      ("-" if apart is None else f"{100 * apart:.0f}%") + " !" * wrong])
    for line in table(["CPUs", "wire", "row", "first", "second", "apart"], lines):
        print(line)
    for name, result in (("first", first), ("second", second)):
        print(f"\n{name} run:")
        for line in places_table(result):
            print(line)
    print(f"\n{bad} of {len(lines)} are more than {100 * limit:.0f}% apart, or in one run only")
    return bad


def main(arguments):
    commands = {"show": ((1,), lambda result: 1 if show(result) else 0),
                "markdown": ((1, 2), lambda *both: markdown(*both) or 0),
                "compare": ((2,), lambda *both: 1 if compare(*both) else 0)}
    counts, command = commands.get(arguments[0] if arguments else "", ((), None))
    if len(arguments) - 1 not in counts:
        print("usage: report.py show FILE\n       report.py markdown FILE [FILE]\n       report.py compare FILE FILE", file=sys.stderr)
        return 2
    results = []
    for path in arguments[1:]:
        try:
            with open(path) as file:
                results.append(json.load(file))
        except (OSError, ValueError) as error:
            print(f"report.py: {path}: {error}", file=sys.stderr)
            return 1
    return command(*results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
