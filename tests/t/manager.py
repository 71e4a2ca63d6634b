#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
# scripts/vm: --cpus 4 --file tools/wgtrunk/wgtrunk:/usr/local/bin/wgtrunk
"""wgtrunk, the manager: up, down, reload, scale, show."""

import base64
import json
import os
import random
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from net import Background, Namespace, sh, veth, wait_until
from tap import Skip, Suite
from wglane import Lanes

LANES = 4

suite = Suite()
FOLDER = sh("mktemp -d").strip()


class Site:
    """One end; its trunk is called after the other one."""

    def __init__(self, name, trunk, number):
        self.ns, self.trunk, self.number = Namespace(name), trunk, number
        self.address, self.address6 = f"10.255.0.{number}", f"fd00:ff::{number}"
        self.path = f"{FOLDER}/{trunk}.conf"
        self.other, self.netlink = None, Lanes(self.ns)

    def keygen(self, lanes=LANES):
        """Returns the public keys, which go to the other side."""
        sh(f"rm -f {FOLDER}/{self.trunk}.key")
        public = sh(f"wgtrunk keygen {self.trunk} -n {lanes} -o {FOLDER}/{self.trunk}.key")
        with open(f"{FOLDER}/{self.other.trunk}.pub", "w") as file:
            file.write(public)
        return public.split()

    def configure(self, site=(), drop=(), **trunk):
        """Writes the configuration; @trunk and @site change keys, @drop leaves some out."""
        other = self.other
        keys = {"Lanes": LANES, "ListenPort": 51820, "KeyFile": f"{self.trunk}.key", "Choice": "hash",
                "Address": f"{self.address}/30, {self.address6}/64", "Prefixes": f"10.{self.number}.0.0/16",
                "CPUs": ", ".join(str(i % os.cpu_count()) for i in range(LANES)) if os.cpu_count() >= LANES else "auto"}
        far = {"Endpoint": f"192.168.1.{other.number}:51820", "KeysFile": f"{self.trunk}.pub",
               "Prefixes": f"10.{other.number}.0.0/16, fd0{other.number}::/32",
               "Address": f"{other.address}/30, {other.address6}/64"}
        keys.update(trunk)
        far.update(site)
        with open(self.path, "w") as file:
            for section, pairs in (("Trunk", keys), ("Site", far)):
                file.write(f"[{section}]\n")
                file.writelines(f"{k} = {v}\n" for k, v in pairs.items() if k not in drop)

    def tool(self, command, check=True, timeout=60, before=""):
        """wgtrunk in this namespace; @check: it must go well. Returns what it says, both outputs."""
        done = subprocess.run(["ip", "netns", "exec", self.ns.name, "bash", "-c", f"{before} wgtrunk {command}"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
        self.status = done.returncode
        if check and done.returncode:
            raise AssertionError(f"wgtrunk {command}: status {done.returncode}: {done.stdout}")
        return done.stdout

    def show(self):
        return json.loads(self.tool(f"show {self.trunk} --json"))["trunks"][0]

    def lanes(self):
        return self.show()["lanes"]

    def sent(self):
        """Packets that each lane sent."""
        return [sum(cpu["tx_packets"] for cpu in self.netlink.counters(f"{self.trunk}.{i}").values()) for i in range(LANES)]

    def active(self):
        return [lane["number"] for lane in self.lanes() if lane["active"]]

    def interfaces(self):
        return sorted(name for name in self.ns.run("ls /sys/class/net").split() if name not in ("lo", "eth0"))

    def state(self):
        """All that can be seen of it, to be compared."""
        text = self.ns.run("ip -d link; ip address; ip -4 route show table all; ip -6 route show table all; wg show all dump")
        # What goes on by itself, on the wire, too.
        text = "\n".join(line for line in text.splitlines() if not re.search(r"eth0|fe80::", line))
        return re.sub(r"\t\d+\t\d+\t\d+\t(\d+|off)$|expires \S+|valid_lft \S+|preferred_lft \S+|linkdown", "", text, flags=re.M)

    def refused(self, command, *texts, status=1):
        """It says so in one line, and nothing is changed."""
        before = self.state()
        said = self.tool(command, check=False)
        assert self.status == status, f"{command}: status {self.status}: {said}"
        assert len(said.strip().splitlines()) == 1, f"not one line: {said}"
        for text in texts:
            assert text in said, f"'{text}' is not in: {said}"
        assert self.state() == before, "something was changed"


a, b = Site("a", "west", 1), Site("b", "east", 2)
a.other, b.other = b, a
veth(a.ns, b.ns)
for each in (a, b):
    each.ns.ip(f"address add 192.168.1.{each.number}/24 dev eth0")


def from_nothing():
    """Both ends down, with new keys."""
    for site in (a, b):
        site.tool(f"down {site.trunk}", check=False)
        site.keygen()


def fresh(**options):
    """Both ends up, with sessions in all lanes."""
    from_nothing()
    for site in (a, b):
        site.configure(**options)
    # At the same time, so that neither waits for the other; but initiations that cross come to nothing, for 5 s.
    threads = [threading.Thread(target=site.tool, args=("up " + site.path,)) for site in (a, b)]
    for thread in threads:
        thread.start()
        time.sleep(0.5)
    for thread in threads:
        thread.join()
    wait_until(lambda: all(lane["peer"]["latest_handshake"] for lane in a.lanes() + b.lanes()), 60, "sessions")
    # On a slow machine, after up had waited for them.
    for site in (a, b):
        if len(site.active()) < LANES:
            site.tool(f"reload {site.path}")
    return a.show()


def hardly_the_kernels():
    """Of a test that takes a while: once will do."""
    if os.environ.get("WGTRUNK_KERNEL") == "6.1" and "--long" not in sys.argv:
        raise Skip("on 6.12, and here with --long")


def ping(site, address, count=2):
    site.ns.run(f"ping -q -c {count} -i 0.1 -W 5 {address}")


@suite.test("two sites from nothing to traffic, both families, in four commands")
def _():
    before = a.state(), b.state()
    for site in (a, b):
        site.keygen()
    for site in (a, b):
        site.configure()
    said = a.tool(f"up {a.path}")
    assert "no session" in said, said
    said = b.tool(f"up {b.path}")
    assert not said, said
    for address in (b.address, b.address6):
        ping(a, address)
    for i, lane in enumerate(a.lanes()):
        assert lane["name"] == f"west.{i}" and lane["listen_port"] == 51820 + i and lane["active"] and lane["in_trunk"], lane
        assert lane["peer"]["endpoint"] == f"192.168.1.2:{51820 + i}" and lane["peer"]["persistent_keepalive"] == 25, lane
        assert os.cpu_count() < LANES or lane["home_cpu"] == i, lane
    shown = a.show()
    assert shown["active"] == LANES and shown["carrier"] and shown["choice"] == "hash" and shown["mtu"] == 1420, shown
    assert set(shown["addresses"]) == {"10.255.0.1/30", "fd00:ff::1/64"}, shown
    assert set(shown["routes"]) == {"10.2.0.0/16", "fd02::/32", "10.255.0.2/32", "fd00:ff::2/128"}, shown
    assert "src 10.255.0.1" in a.ns.run("ip route get 10.2.3.4")
    for site in (a, b):
        site.tool(f"down {site.trunk}")
    for site, was in zip((a, b), before):
        same(site, plain(was), "down left something behind")


@suite.test("show: for people, and no private key in either form")
def _():
    fresh()
    ping(a, b.address)
    for said in (a.tool("show"), a.tool("show --json"), a.tool("show west"), a.tool("up --dry-run " + a.path)):
        with open(f"{FOLDER}/west.key") as file:
            assert not any(key in said for key in file.read().split()), "a private key"
    said = a.tool("show")
    assert re.search(r"^trunk west: up, 4 of 4 lanes send, chosen by hash, MTU 1420$", said, re.M), said
    assert len(re.findall(r"^  west\.\d +\d+ +active +\d+s ", said, re.M)) == LANES, said
    a.refused("show nowhere", "nowhere is not up")
    # Another namespace has none.
    other = Namespace("other")
    suite.defer(other.remove)
    assert json.loads(other.run("wgtrunk show --json")) == {"trunks": []}


@suite.test("up again, and reload: nothing to do, and sessions stay")
def _():
    fresh()
    before = a.state(), [lane["peer"]["latest_handshake"] for lane in a.lanes()]
    assert a.tool("up --verbose " + a.path) == ""
    assert a.tool("reload --verbose " + a.path) == ""
    assert (a.state(), [lane["peer"]["latest_handshake"] for lane in a.lanes()]) == before


@suite.test("reload: private keys with bits that the curve does not use are the same ones")
def _():
    fresh()
    with open(f"{FOLDER}/west.key") as file:
        keys = [base64.b64decode(line) for line in file]
    with open(f"{FOLDER}/west.key", "w") as file:
        file.writelines(base64.b64encode(bytes([key[0] ^ 1]) + key[1:]).decode() + "\n" for key in keys)
    assert a.tool("reload --verbose " + a.path) == ""
    said = a.tool("check " + a.path, check=False)
    assert "not the private key" not in said, said


@suite.test("bad input: one line, with file and line, and nothing is changed")
def _():
    hardly_the_kernels()
    from_nothing()
    b.configure()

    def bad(*texts, **change):
        a.configure(**change)
        a.refused(f"up {a.path}", a.path, *texts)
    bad(":2: Lanes: not a whole number", Lanes="many")
    a.refused(f"up --dry-run {a.path}", a.path, ":2: Lanes: not a whole number")
    bad(":8: CPU 99 is not online here", CPUs="99", Lanes=1)
    bad(":3: 4 lanes from ListenPort 65534 on go past port 65535", ListenPort=65534)
    bad(":9: 4 lanes from the port in 192.0.2.1:65534 on go past port 65535", Endpoint="192.0.2.1:65534")
    bad(":12: 10.2.0.0/16 and 10.2.1.0/24 overlap", site={"Prefixes": "10.2.0.0/16, 10.2.1.0/24"})
    bad(":12: the far end's own address is in 192.168.0.0/16", site={"Prefixes": "192.168.0.0/16"})
    bad(":13: the far end's own address is in 192.168.1.2/32", site={"Address": "192.168.1.2/24"})
    bad(":10: nowhere.invalid can't be looked up", site={"Endpoint": "nowhere.invalid:51820"})
    bad("[Trunk]", drop=("KeyFile",))
    a.configure(KeyFile="none.key")
    a.refused(f"up {a.path}", "none.key: No such file")
    a.configure(Lanes=2, CPUs="auto", Prefixes=", ".join(f"10.1.{i}.0/24" for i in range(30)))
    a.refused(f"up {a.path}", ":7: a line of more than 198 characters")
    os.chown(f"{FOLDER}/west.key", 65534, 0)
    a.configure()
    # Root reads it all the same.
    a.refused(f"up {a.path}", "west.key: belongs to another user")
    os.chown(f"{FOLDER}/west.key", 0, 0)
    a.configure(Lanes=5, CPUs="auto")
    a.refused(f"up {a.path}", "4 keys for 5 lanes")
    a.configure()
    os.chmod(f"{FOLDER}/west.key", 0o644)
    a.refused(f"up {a.path}", "west.key: others may read these private keys")
    os.chmod(f"{FOLDER}/west.key", 0o600)
    for command in ("down west", "scale west 2", f"reload {a.path}"):
        a.refused(command, "west is not up")
    a.refused("up nowhere", "/etc/wgtrunk/nowhere.conf: No such file")
    for command in ("up", "up a b", "down", "scale west", "show a b", "up --what west"):
        a.tool(command, check=False)
        assert a.status == 2, command
    a.refused("scale west 257", "0 to 256")


@suite.test("without privilege: one line")
def _():
    fresh()
    before = a.state()
    for command in (f"down {a.trunk}", "scale west 2"):
        said = a.tool(command, check=False, before="setpriv --bounding-set=-net_admin --inh-caps=-net_admin")
        assert a.status == 1 and "not permitted" in said.lower() and len(said.splitlines()) == 1, said
    assert a.state() == before


@suite.test("interfaces of somebody else are not touched")
def _():
    for site in (a, b):
        site.tool(f"down {site.trunk}", check=False)
    a.configure()
    for name, kind in (("west", "dummy"), ("west", "wgtrunk"), ("west.2", "wireguard"), ("west.0", "dummy")):
        a.ns.ip(f"link add {name} type {kind}")
        a.refused(f"up {a.path}", f"an interface {name} already")
        a.refused("down west", "west is not up")
        a.ns.ip(f"link del {name}")
    # One that is ours in name only stays when ours go.
    a.tool(f"up {a.path}")
    a.ns.ip("link add west.9 type wireguard", "link add west.x type dummy")
    a.tool("down west")
    assert a.interfaces() == ["west.9", "west.x"], a.interfaces()
    a.ns.ip("link del west.9", "link del west.x")


@suite.test("an up that fails half-way undoes itself")
def _():
    from_nothing()
    a.configure()
    # What is called as a lane would be that nobody asked for is somebody else's, though it has no alias.
    a.ns.ip("link add west.9 type wireguard")
    before = a.state()
    with a.ns.udp("0.0.0.0", 51822):
        said = a.tool(f"up {a.path}", check=False)
    assert a.status == 1 and "west.2" in said, said
    assert a.state() == before and not os.path.exists("/run/wgtrunk/west.json"), a.interfaces()
    # Where it was up before, what is there stays.
    fresh()
    a.configure(ListenPort=51830)
    with a.ns.udp("0.0.0.0", 51832):
        said = a.tool(f"reload {a.path}", check=False)
    assert a.status == 1 and "51832" in said and len(a.interfaces()) == LANES + 2, said
    a.tool(f"reload {a.path}")
    assert [lane["listen_port"] for lane in a.lanes() if lane["number"] < LANES] == [51830 + i for i in range(LANES)]
    a.ns.ip("link del west.9")


@suite.test("nobody reads what up says: it goes on to its end")
def _():
    hardly_the_kernels()
    from_nothing()
    a.configure()
    a.ns.run(f"wgtrunk up {a.path} 2>&1 | true")
    assert a.active() == list(range(LANES)), a.active()


@suite.test("an up that fails where interfaces were removed behind its back undoes itself, too")
def _():
    hardly_the_kernels()
    from_nothing()
    a.configure()
    before = a.state()
    a.tool(f"up {a.path}")
    a.ns.ip(*(f"link del {name}" for name in a.interfaces()))
    with a.ns.udp("0.0.0.0", 51822):
        said = a.tool(f"up {a.path}", check=False)
    assert a.status == 1 and "west.2" in said, said
    assert not a.interfaces() and not os.path.exists("/run/wgtrunk/west.json"), a.interfaces()
    same(a, plain(before), "after it failed")


# Packets a second that the probes have to have really sent; where machines are emulated, as many as there are.
RATE = int(os.environ.get("WGTRUNK_RATE", 0))


class Stream:
    """Numbered datagrams from A to B, while `with` lasts: 40 flows, RATE or nominally 10000 in all a second.

    Flows differ in their datagrams' sizes, so that on the wire, where all is encrypted, it can be seen which lane each one takes.
    """

    FLOWS, SIZE, STEP, PORT = 40, 100, 16, 8888
    PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tools/bin/stream")

    def __init__(self):
        self.gap = self.FLOWS * 1000000 // (RATE or 10000)

    def start(self, site, *arguments):
        return subprocess.Popen(["ip", "netns", "exec", site.ns.name, self.PROGRAM, *map(str, arguments)],
                                stdout=subprocess.PIPE, text=True)

    def wire(self, cpus, backlog):
        """Has packets of the wire received on @cpus, a mask, and so many of them wait for one."""
        for site in (a, b):
            site.ns.run(f"for q in /sys/class/net/eth0/queues/rx-*/rps_cpus; do echo {cpus} >$q; done")
        sh(f"echo {backlog} >/proc/sys/net/core/netdev_max_backlog")

    def __enter__(self):
        # Whichever CPU sends, one receives all of the wire: else that alone would put packets out of order. And a CPU
        # of this machine may be away for a while, as may be its host's.
        self.wire(1, 100000)
        self.receiver = self.start(b, "receive", self.PORT, self.FLOWS, 1500)
        wait_until(lambda: f":{self.PORT}" in b.ns.run("ss -Hlun"), 10, "the receiver")
        self.sender = self.start(a, "send", b.address, self.PORT, self.FLOWS, 0, f"{self.SIZE}+{self.STEP}", f"={self.gap}" if RATE else self.gap, 0)
        self.began = time.monotonic()
        self.moved, self.late_moved, self.where, self.late_then = 0, 0, self.lanes(), self.report()
        return self

    def lanes(self):
        """{flow: lane}, by the wire; what TCP sends may have such a size, too, but not most of it."""
        seen, end = {flow: [] for flow in range(self.FLOWS)}, time.monotonic() + 20
        with b.ns.sniffer("eth0", 0x0800) as sniffer:
            while (least := min(map(len, seen.values()))) < 7:
                assert time.monotonic() < end, f"only {least} packets of a flow seen"
                packet = sniffer.recv(2000)[14:]
                source, port, length = struct.unpack(">HHH", packet[20:26])
                if packet[9] != socket.IPPROTO_UDP or packet[12:16] != socket.inet_aton("192.168.1.1") or packet[28] != 4:
                    continue
                # UDP's header, WireGuard's and its tag are 40 bytes; inside, IP's and UDP's are 28, and then a multiple of 16.
                flow, rest = divmod(length - 40 - (self.SIZE + 28 + 15) // 16 * 16, self.STEP)
                if not rest and 0 <= flow < self.FLOWS:
                    seen[flow].append(port - 51820)
        return {flow: statistics.mode(lanes) for flow, lanes in seen.items()}

    def report(self):
        """{flow: late} so far."""
        self.receiver.send_signal(signal.SIGUSR1)
        late = {}
        while not (line := self.receiver.stdout.readline()).startswith("all "):
            assert line, "the receiver ended"
            if line.startswith("flow "):
                late[int(line.split()[1][:-1])] = int(re.search(r"late (\d+)", line)[1])
        return late

    def step(self, what):
        """Since the last one: returns ({flow: lane} before, and now). None was late but of flows that moved."""
        time.sleep(0.3)
        before, now, late = self.where, self.lanes(), self.report()
        for flow in range(self.FLOWS):
            came_late = late[flow] - self.late_then[flow]
            if before[flow] == now[flow]:
                assert not came_late, f"{what}: {came_late} late of flow {flow}, which stayed on lane {now[flow]}"
            else:
                self.moved += 1
                self.late_moved += came_late
        self.where, self.late_then = now, late
        return before, now

    def __exit__(self, *_):
        self.sender.terminate()
        self.sender.wait()
        self.wire(0, 1000)
        self.seconds = time.monotonic() - self.began
        self.said = self.receiver.stdout.read()
        self.receiver.wait(timeout=60)
        last = self.said.strip().splitlines()[-1]
        self.received, self.lost, self.late = (int(re.search(rf"{what} (\d+)", last)[1]) for what in ("received", "lost", "late"))
        self.rate = self.received / self.seconds
        print(f"# {self.rate:.0f} packets/s for {self.seconds:.0f} s, {self.lost} lost; {self.moved} moves of flows, "
              f"{self.late_moved} late of those, {self.late - self.late_moved} of others; dropped: {self.drops()}")

    def drops(self):
        """{lane: {counter: value}} of both ends, those that are not 0; and what the receiver had no time for."""
        found = {f"{site.trunk}.{i}": {what: n for what, n in site.ns.counters(f"{site.trunk}.{i}").items() if "drop" in what and n}
                 for site in (a, b) for i in range(LANES)}
        names, values = (line.split() for line in b.ns.run("grep ^Udp: /proc/net/snmp").splitlines())
        found["receiver"] = {what: int(n) for what, n in zip(names, values) if what == "RcvbufErrors" and int(n)}
        return {who: counters for who, counters in found.items() if counters}

    def went_well(self):
        assert self.received and not self.lost, self.said
        assert self.late == self.late_moved, self.said
        assert self.rate >= RATE * 0.95, f"{self.rate:.0f} packets/s, not {RATE}"


@suite.test("scale 4, 1, 3 under load: nothing is lost, connections stay")
def _():
    fresh()
    server = b.ns.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.bind((b.address, 5000))
    server.listen(16)
    broken, moved = [], [0]

    def take(connection):
        try:
            while piece := connection.recv(65536):
                moved[0] += len(piece)
        except OSError as error:
            broken.append(error)

    def accept():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=take, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    clients = [a.ns.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(8)]
    for client in clients:
        client.settimeout(30)
        client.connect((b.address, 5000))

    def talk():
        for client in clients:
            # Larger than what any of the probe's flows sends.
            client.send(bytes(1300))
        time.sleep(0.02)

    def changed(what, before, count):
        """No flow moved that had not to, about as many as had to."""
        old, now = stream.step(what)
        moved = [flow for flow in old if old[flow] != now[flow]]
        if count < before:
            had_to = [flow for flow in old if old[flow] >= count]
            assert moved == had_to, f"{what}: {moved} moved, {had_to} had to; {old} {now}"
        elif count > before:
            assert all(now[flow] >= before for flow in moved), f"{what}: to lanes that were there; {old} {now}"
            share = (count - before) / count
            spread = 4 * (stream.FLOWS * share * (1 - share)) ** 0.5
            assert abs(len(moved) - stream.FLOWS * share) <= spread, f"{what}: {len(moved)} of {stream.FLOWS} moved, {share:.0%} had to"
        else:
            assert not moved, f"{what}: {moved} moved"
        print(f"# {what}: {len(moved)} of {stream.FLOWS} flows moved")

    with Stream() as stream, Background(talk):
        before = LANES
        for count in (4, 1, 3, 4, 2, 1, 3):
            for site in (a, b):
                site.tool(f"scale {site.trunk} {count}")
            assert a.active() == list(range(count)), a.active()
            changed(f"scale {before} to {count}", before, count)
            before = count
        a.tool(f"reload {a.path}")
        assert a.active() == list(range(LANES))
        changed(f"reload {before} to {LANES}", before, LANES)
    for client in clients:
        client.close()
    server.close()
    assert moved[0] and not broken, broken
    stream.went_well()
    a.refused("scale west 5", "west has only 4 lanes")


@suite.test("scale: no more flows move than have to")
def _():
    fresh()
    flows = 60
    socks = [a.ns.udp(a.address, 20000 + i) for i in range(flows)]

    def lane_of(sock):
        before = a.sent()
        sock.sendto(b"?", (b.address, 9))
        grown = [i for i, (x, y) in enumerate(zip(before, a.sent())) if y > x]
        return grown[0] if len(grown) == 1 else None

    first = [lane_of(sock) for sock in socks]
    a.tool("scale west 3")
    second = [lane_of(sock) for sock in socks]
    known = [(x, y) for x, y in zip(first, second) if x is not None and y is not None]
    assert len(known) > flows * 0.8, f"only {len(known)}"
    moved = sum(x != y for x, y in known)
    had_to = sum(x == 3 for x, y in known)
    assert moved == had_to and 0 < had_to < len(known) / 2, f"{moved} moved, {had_to} had to, of {len(known)}"


@suite.test("reload of one lane under load: others lose nothing, their sessions stay")
def _():
    fresh()
    before = [lane["peer"]["latest_handshake"] for lane in a.lanes()]
    keys = open(f"{FOLDER}/west.key").read().split()
    with Stream() as stream:
        time.sleep(0.5)
        # Lane 2 gets another key pair: first it stops sending at the far end.
        one = sh("wg genkey").strip()
        public = sh("wg pubkey", stdin=one).strip()
        keys[2] = one
        for site in (a, b):
            site.tool(f"scale {site.trunk} 2")
        stream.step("scale to 2")
        with open(f"{FOLDER}/west.key", "w") as file:
            file.write("\n".join(keys) + "\n")
        theirs = open(f"{FOLDER}/east.pub").read().split()
        theirs[2] = public
        with open(f"{FOLDER}/east.pub", "w") as file:
            file.write("\n".join(theirs) + "\n")
        # One end alone can have no session with it.
        said = a.tool(f"reload {a.path}")
        assert "west.2 has no session" in said, said
        stream.step("reload of A")
        b.tool(f"reload {b.path}")
        stream.step("reload of B")
        a.tool(f"reload {a.path}")
        stream.step("reload of A again")
    lanes = a.lanes()
    assert [lane["active"] for lane in lanes] == [True] * LANES, lanes
    assert lanes[2]["public_key"] == public and lanes[2]["peer"]["latest_handshake"] >= before[2]
    for i in (0, 1, 3):
        assert lanes[i]["peer"]["latest_handshake"] == before[i], f"lane {i} has another session"
    stream.went_well()


@suite.test("reload: lanes come and go, prefixes, addresses, MTU, choice")
def _():
    fresh()
    for site in (a, b):
        site.configure(Lanes=2, CPUs="auto", Choice="cpu", MTU=1380, Address=f"{site.address}/29",
                       site={"Prefixes": f"10.{site.other.number}.0.0/17, 10.77.{site.other.number}.0/24",
                             "Address": f"{site.other.address}/29"})
        site.tool(f"reload {site.path}")
    assert a.interfaces() == ["west", "west.0", "west.1"], a.interfaces()
    shown = a.show()
    assert (shown["mtu"], shown["choice"], shown["addresses"]) == (1380, "cpu", ["10.255.0.1/29"]), shown
    assert set(shown["routes"]) == {"10.2.0.0/17", "10.77.2.0/24", "10.255.0.2/32"}, shown
    assert all(set(lane["peer"]["allowed_ips"]) == set(shown["routes"]) and lane["mtu"] == 1380 for lane in shown["lanes"])
    ping(a, b.address)
    for site in (a, b):
        site.configure()
        site.tool(f"reload {site.path}")
    shown = a.show()
    assert len(shown["lanes"]) == LANES and shown["mtu"] == 1420 and shown["choice"] == "hash", shown
    ping(a, b.address6)


@suite.test("reload: another address in the same network, another length, ports that move up by one")
def _():
    fresh()
    a.configure(Address="10.255.0.1/29, fd00:ff::1/48", ListenPort=51821, site={"Prefixes": "10.2.0.0/17"})
    b.configure(site={"Endpoint": "192.168.1.1:51821"})
    for site in (a, b):
        site.tool(f"reload {site.path}")
    shown = a.show()
    assert set(shown["addresses"]) == {"10.255.0.1/29", "fd00:ff::1/48"}, shown
    assert set(shown["routes"]) == {"10.2.0.0/17", "10.255.0.2/32", "fd00:ff::2/128"}, shown
    assert [lane["listen_port"] for lane in shown["lanes"]] == [51821 + i for i in range(LANES)]
    for address in (b.address, b.address6):
        ping(a, address)
    a.configure(Address="10.255.0.3/29", ListenPort=51821, site={"Prefixes": "10.2.0.0/17"})
    a.tool(f"reload {a.path}")
    shown = a.show()
    assert shown["addresses"] == ["10.255.0.3/29"] and "10.2.0.0/17" in shown["routes"], shown
    assert "src 10.255.0.3" in a.ns.run("ip route get 10.2.3.4")
    assert a.tool(f"reload --verbose {a.path}") == ""


@suite.test("a link-local address of the trunk comes, stays and goes, and is no route's source")
def _():
    hardly_the_kernels()

    def link_local():
        return {line.split()[1] for line in a.ns.run("ip -6 address show dev west scope link").splitlines() if "inet6" in line}
    fresh()
    # So that there is one of the kernel's own, too: a random one.
    a.ns.sysctl("net/ipv6/conf/west/addr_gen_mode", 3)
    kernels = link_local()
    assert kernels
    a.configure(Address=f"fe80::7/64, {a.address}/30, {a.address6}/64")
    a.tool(f"reload {a.path}")
    assert link_local() == kernels | {"fe80::7/64"}, link_local()
    assert "src fd00:ff::1" in a.ns.run("ip -6 route show fd02::/32")
    assert a.tool(f"reload --verbose {a.path}") == ""
    assert "fe80::7/64" in a.show()["addresses"]
    said = a.tool("check " + a.path, check=False)
    assert "has not its address" not in said, said
    a.configure()
    a.tool(f"reload {a.path}")
    assert link_local() == kernels, link_local()
    assert a.tool(f"reload --verbose {a.path}") == ""


@suite.test("a prefix that is the trunk's own network, too: that is the kernel's route")
def _():
    hardly_the_kernels()
    fresh()
    a.tool("down west")
    a.configure(Address="10.2.255.1/16")
    a.tool(f"up {a.path}")
    shown = a.show()
    assert "10.2.0.0/16" not in shown["routes"] and "10.2.0.0/16" in shown["lanes"][0]["peer"]["allowed_ips"], shown
    assert "dev west" in a.ns.run("ip route get 10.2.3.4")
    assert a.tool(f"reload --verbose {a.path}") == ""
    said = a.tool("check " + a.path, check=False)
    assert "there is no route to 10.2.0.0/16" not in said, said
    for address in (f"{a.address}/30", "10.2.255.1/16", "10.2.255.1/24"):
        a.configure(Address=address)
        a.tool(f"reload {a.path}")
        assert ("10.2.0.0/16" in a.show()["routes"]) == (address != "10.2.255.1/16"), a.show()
        assert a.tool(f"reload --verbose {a.path}") == ""


def settled(site, lanes, port, mtu=1420):
    """Reloaded, it is so, and there is nothing left to do."""
    site.tool(f"reload {site.path}")
    shown = site.show()
    assert [lane["listen_port"] for lane in shown["lanes"]] == [port + i for i in range(lanes)], shown
    assert [shown["mtu"]] + [lane["mtu"] for lane in shown["lanes"]] == [mtu] * (lanes + 1), shown
    assert site.tool(f"reload --verbose {site.path}") == ""


def all_send(lanes):
    """Reloaded until they do: initiations that cross come to nothing, for 5 s."""
    for _ in range(5):
        for site in (b, a):
            site.tool(f"reload {site.path}")
        if a.active() == b.active() == list(range(lanes)):
            return
    raise AssertionError(f"{a.active()} and {b.active()} of {lanes} lanes send")


@suite.test("reload: fewer lanes and a larger MTU; ports that lanes to go have, or one that was removed had")
def _():
    fresh(MTU=1380)
    for site, port in ((a, 51822), (b, 51820)):
        site.configure(Lanes=2, CPUs="auto", ListenPort=port, site={"Endpoint": f"192.168.1.{site.other.number}:"
                                                                    f"{51820 if site is a else 51822}"})
        settled(site, 2, port)
    ping(a, b.address)
    # One of three is missing, the others' ports are each other's new ones.
    b.configure(Lanes=3, CPUs="auto", site={"Endpoint": "192.168.1.1:51822"})
    a.configure(Lanes=3, CPUs="auto", ListenPort=51822)
    for site in (a, b):
        site.tool(f"reload {site.path}")
    all_send(3)
    a.ns.ip("link del west.0")
    a.configure(Lanes=3, CPUs="auto", ListenPort=51823)
    settled(a, 3, 51823)
    a.ns.run("wg set west.0 listen-port 999; wg set west.1 listen-port 51823; wg set west.0 listen-port 51824")
    settled(a, 3, 51823)
    # Without IPv6, which the kernel takes away then, no address or route of it can be set.
    a.ns.ip("link set west mtu 1000")
    settled(a, 3, 51823)
    assert len(a.show()["addresses"]) == 2


def scale_fails():
    """To lane 0, which has no session: the others go on."""
    said = a.tool("scale west 1", check=False)
    assert a.status == 1 and "none of the lanes 0 to 0 has a session" in said, said
    assert set(a.active()) >= {1, 2, 3}, a.active()


@suite.test("scale to lanes that have no session: those that have go on")
def _():
    hardly_the_kernels()
    fresh()
    key = sh("wg genkey | wg pubkey").strip()
    a.ns.run(f"wg set west.0 peer {a.lanes()[0]['peer']['public_key']} remove peer {key} endpoint 192.168.1.2:51820 "
             "persistent-keepalive 25")
    scale_fails()


@suite.test("reload: a lane that was down does not send before it has a session again")
def _():
    hardly_the_kernels()
    fresh()
    b.ns.ip("link set east.1 down")
    a.ns.ip("link set west.1 down")
    # It is up by the second time, but the handshake it had before is worth nothing.
    for _ in range(2):
        said = a.tool(f"reload {a.path}")
        assert "west.1 has no session" in said and a.active() == [0, 2, 3], said
    all_send(LANES)


@suite.test("scale to a lane that is down: the others go on")
def _():
    hardly_the_kernels()
    fresh()
    a.ns.ip("link set west.0 down")
    scale_fails()


@suite.test("without keepalives: scale to lanes that nothing was sent through yet")
def _():
    hardly_the_kernels()
    from_nothing()
    for site in (a, b):
        site.configure(site={"PersistentKeepalive": "off"})
    for site in (a, b):
        site.tool(f"up {site.path}")
    # A flow that takes another lane than the first.
    for port in range(20000, 20050):
        with a.ns.udp(a.address, port) as sock:
            sock.sendto(b"?", (b.address, 9))
        if any(lane["peer"]["latest_handshake"] for lane in a.lanes()[1:]):
            break
        time.sleep(0.1)
    a.tool("scale west 1")
    assert a.active() == [0]
    ping(a, b.address)


@suite.test("show: somebody else's interface that is called as a lane")
def _():
    fresh()
    a.ns.ip("link add west.7 type dummy")
    suite.defer(a.ns.ip, "link del west.7")
    assert len(a.lanes()) == LANES and "west.7" not in a.tool("show west")


@suite.test("a list that goes on with its key given again")
def _():
    for site in (a, b):
        site.keygen()
    a.configure()
    with open(a.path, "a") as file:
        file.write("Prefixes = 10.99.0.0/24\n")
    assert "route to 10.99.0.0/24" in a.tool(f"up --dry-run {a.path}")
    with open(a.path, "a") as file:
        file.write("Prefixes = 10.99.0.0/25\n")
    a.refused(f"up {a.path}", ":15: 10.99.0.0/24 and 10.99.0.0/25 overlap")
    for prefix, wrong in (("192.168.1.0/24", "the far end's own address is in 192.168.1.0/24"),
                          ("10.1.9.0/24", "10.1.0.0/16 here and 10.1.9.0/24 behind the far side overlap")):
        a.configure()
        with open(a.path, "a") as file:
            file.write(f"Prefixes = {prefix}\n")
        a.refused(f"up {a.path}", f":14: {wrong}")


@suite.test("a route of somebody else stays")
def _():
    from_nothing()
    a.ns.ip("link add dummy0 type dummy", "link set dummy0 up", "route add 10.2.0.0/16 dev dummy0")
    suite.defer(a.ns.ip, "link del dummy0")
    a.configure()
    before = a.state()
    said = a.tool(f"up {a.path}", check=False)
    assert a.status == 1 and "there is a route to 10.2.0.0/16 already" in said, said
    same(a, plain(before), "after it failed")


@suite.test("what is in /run is root's")
def _():
    fresh()
    for path in ("/run/wgtrunk", "/run/wgtrunk/west.lock"):
        assert os.stat(path).st_mode & 0o077 == 0, oct(os.stat(path).st_mode)


@suite.test("what somebody changed by hand is mended by reload")
def _():
    hardly_the_kernels()
    fresh()
    want = a.state()
    for damage in ("ip link del west.1", "ip link set west.2 nomaster", "ip link set west down", "ip link set west.0 down",
                   "ip address del 10.255.0.1/30 dev west", "ip route del 10.2.0.0/16", "wg set west.3 listen-port 999",
                   "ip link set west.1 mtu 1300", "ip link del west", "wg set west.0 private-key <(wg genkey)",
                   f"wg set west.0 peer {a.lanes()[0]['peer']['public_key']} remove"):
        a.ns.run(damage)
        assert a.state() != want, damage
        a.tool(f"reload {a.path}")
        ping(a, b.address, 1)
        shown = a.show()
        assert shown["active"] == LANES and len(shown["lanes"]) == LANES, f"{damage}: {shown}"
        # Of links that were made anew, the numbers are others.
        same(a, plain(want), f"after {damage}")


def same(site, others, what):
    """Its state becomes that; a carrier, and what hangs on it, takes the kernel a second."""
    end = time.monotonic() + 3
    while (lines := plain(site.state())) != others and time.monotonic() < end:
        time.sleep(0.1)
    more, less = set(lines) - set(others), set(others) - set(lines)
    assert lines == others, f"{what}: there is {sorted(more)}, there is not {sorted(less)}"


def plain(state):
    lines = []
    for line in state.splitlines():
        line = re.sub(r"^\d+: |@\S+:|qdisc \S+|qlen \d+|link/\S+.*|metric \d+|pref \S+|state \S+|index \S+", "", line)
        lines.append(re.sub(r"\s+", " ", line).strip())
    return sorted(line for line in lines if line)


@suite.test("a far end with fewer lanes: those two are used")
def _():
    from_nothing()
    a.configure()
    b.configure(Lanes=2, CPUs="auto")
    b.tool(f"up {b.path}")
    said = a.tool(f"up {a.path}")
    assert "west.2 has no session" in said and "west.3 has no session" in said, said
    assert a.active() == [0, 1]
    ping(a, b.address)
    # By the number of its keys, it is known before.
    public = open(f"{FOLDER}/west.pub").read().split()[:2]
    with open(f"{FOLDER}/west.pub", "w") as file:
        file.write("\n".join(public) + "\n")
    a.tool(f"reload {a.path}")
    assert a.interfaces() == ["west", "west.0", "west.1"]


@suite.test("a far end with fewer lanes, that begins: those two are used")
def _():
    hardly_the_kernels()
    from_nothing()
    a.configure(drop=("Endpoint",))
    b.configure(Lanes=2, CPUs="auto")
    for site in (a, b):
        site.tool(f"up {site.path}")
    wait_until(lambda: all(lane["peer"]["latest_handshake"] for lane in a.lanes()[:2]), 20, "sessions")
    said = a.tool(f"reload {a.path}")
    assert "west.2 has no session" in said and "west.3 has no session" in said, said
    assert a.active() == [0, 1]
    ping(a, b.address)


@suite.test("a far end with fewer lanes: what has a session sends before up has done waiting")
def _():
    hardly_the_kernels()
    from_nothing()
    a.configure()
    b.configure(Lanes=2, CPUs="auto")
    b.tool(f"up {b.path}")
    thread = threading.Thread(target=a.tool, args=(f"up {a.path}",))
    thread.start()
    try:
        wait_until(lambda: "answered" in a.ns.run(f"ping -q -c 1 -W 1 {b.address} && echo answered", check=False), 9, "an answer")
        assert thread.is_alive(), "up had done waiting"
    finally:
        thread.join()
    assert a.active() == [0, 1]


def all_are_waited_for(late):
    """A comes up with all lanes, though those of the far end in @late answer only after so many seconds."""
    hardly_the_kernels()
    from_nothing()
    for site in (a, b):
        site.configure()
    b.tool(f"up {b.path}")
    b.ns.ip(*(f"link set east.{lane} down" for lane in late))
    timers = [threading.Timer(after, b.ns.ip, (f"link set east.{lane} up",)) for lane, after in late.items()]
    for timer in timers:
        timer.start()
    said = a.tool(f"up {a.path}")
    for timer in timers:
        timer.join()
    assert not said and a.active() == list(range(LANES)), f"{a.active()}: {said}"


@suite.test("lanes of the far end that come up one after the other are all waited for")
def _():
    all_are_waited_for({2: 8, 3: 17})


@suite.test("a lane whose first two handshakes come to nothing is not left out")
def _():
    # As when two cross, twice.
    all_are_waited_for({2: 8})


@suite.test("a far end that moved stays where it is, until the configuration has another place")
def _():
    fresh()
    b.ns.ip("address del 192.168.1.2/24 dev eth0", "address add 192.168.1.22/24 dev eth0")
    suite.defer(b.ns.ip, "address del 192.168.1.22/24 dev eth0", "address add 192.168.1.2/24 dev eth0")
    ping(b, a.address, 1)
    ends = [lane["peer"]["endpoint"] for lane in a.lanes()]
    assert any(end.startswith("192.168.1.22:") for end in ends), ends
    a.tool(f"reload {a.path}")
    assert [lane["peer"]["endpoint"] for lane in a.lanes()] == ends
    a.configure(site={"Endpoint": "192.168.1.22:51820"})
    a.tool(f"reload {a.path}")
    assert [lane["peer"]["endpoint"] for lane in a.lanes()] == [f"192.168.1.22:{51820 + i}" for i in range(LANES)]
    ping(a, b.address, 1)


@suite.test("one waits for another, and says for whom")
def _():
    fresh()
    with open("/run/wgtrunk/west.lock", "r+") as file:
        import fcntl
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("wgtrunk reload, process 4711\n")
        file.flush()
        result = []
        thread = threading.Thread(target=lambda: result.append(a.tool("scale west 3")))
        thread.start()
        time.sleep(0.7)
        assert not result, "it did not wait"
    thread.join()
    assert "waiting for wgtrunk reload, process 4711" in result[0], result
    assert a.active() == [0, 1, 2]


@suite.test("killed at any message to the kernel: the next one completes it")
def _():
    hardly_the_kernels()
    shim = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tools/lib/die.so")
    fresh()
    want = plain(a.state())
    a.tool("down west")
    none = a.state()
    for command, then in ((f"up {a.path}", f"up {a.path}"), (f"up {a.path}", f"reload {a.path}"), (f"up {a.path}", "down west"),
                          ("down west", f"up {a.path}"), ("down west", "down west")):
        for number in range(random.randrange(1, 20), 300, 1 if "--long" in sys.argv else 20):
            if command.startswith("down"):
                a.tool(f"up {a.path}")
            a.tool(command, check=False, before=f"DIE_AT={number} LD_PRELOAD={shim}")
            done = a.status == 0
            if not done:
                assert a.status in (-9, 137), f"status {a.status}"
                # It may have died before it changed anything.
                nothing = a.state() == none and not os.path.exists("/run/wgtrunk/west.json")
                a.tool(then, check=not (nothing and then != f"up {a.path}"))
            elif not command.startswith("down") and then == "down west":
                a.tool("down west")
            if then == "down west":
                same(a, plain(none), f"{command}, killed at message {number}, {then}")
            elif not (not done and nothing and then.startswith("reload")) and not (done and command.startswith("down")):
                same(a, want, f"{command}, killed at message {number}, {then}")
            a.tool("down west", check=False)
            same(a, plain(none), "down")
            if done:
                break
        else:
            raise AssertionError("never got to its end")


@suite.test("32 connections by hash: each lane has a share; 1024 flows: within 25% of even")
def _():
    fresh()
    before = a.sent()
    for port in range(20000, 21024):
        with a.ns.udp(a.address, port) as sock:
            sock.sendto(b"?", (b.address, 9))
    got = [x - y for x, y in zip(a.sent(), before)]
    assert all(abs(n - 256) <= 64 for n in got), got
    server = b.ns.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.bind((b.address, 5001))
    server.listen(64)
    before = a.sent()
    for _ in range(32):
        with a.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            sock.connect((b.address, 5001))
            sock.send(b"hello")
    server.close()
    got = [x - y for x, y in zip(a.sent(), before)]
    assert all(got), got


@suite.test("by CPU: flows pinned one a CPU stay on their lane's home CPU both ways, no hand-overs")
def _():
    if os.cpu_count() < LANES:
        raise Skip(f"needs {LANES} CPUs")
    fresh(Choice="cpu")

    def work(cpu, result):
        os.sched_setaffinity(0, {cpu})
        sock, sink = a.ns.udp(a.address), b.ns.udp(b.address, 7000 + cpu)
        for i in range(300):
            sock.sendto(bytes(100), (b.address, 7000 + cpu))
            data, who = sink.recvfrom(200)
            sink.sendto(data, who)
            sock.recv(200)
        result.append(cpu)

    before = {site: site.lanes() for site in (a, b)}
    result = []
    threads = [threading.Thread(target=work, args=(cpu, result)) for cpu in range(LANES)]
    for thread in threads:
        thread.start()
        thread.join()
    assert len(result) == LANES, result
    for site in (a, b):
        for old, new in zip(before[site], site.lanes()):
            home = new["home_cpu"]
            cpus = {cpu["cpu"]: cpu for cpu in new["cpus"]}
            was = {cpu["cpu"]: cpu for cpu in old["cpus"]}
            for what in ("rx_packets", "tx_packets"):
                grown = {n: c[what] - was.get(n, {what: 0})[what] for n, c in cpus.items()}
                assert grown[home] >= 300 and sum(grown.values()) - grown[home] < 20, f"{new['name']} {what}: {grown}"
            handed = new["handed_over"] - old["handed_over"]
            assert handed < 20, f"{new['name']}: {handed} handed over"


if __name__ == "__main__":
    suite.run_and_exit()
