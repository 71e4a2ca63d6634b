#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""The trunk device: one interface over several tunnels."""

import contextlib
import errno
import os
import re
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import wgproto
from net import Background, Namespace, b64, drain, sh, udp4, veth, wait_until, wireguard
from tap import Skip, Suite
from wglane import CHOICE_CPU, CHOICE_HASH, Lanes, set_choice
from wgnl import NetlinkError

LANES, CPUS = 4, os.cpu_count()
SOL_UDP, UDP_SEGMENT, SO_RCVBUFFORCE = 17, 103, 33
PACKET_OUTGOING = 4
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20

suite = Suite()


class Site:
    def __init__(self, name, number):
        self.ns, self.number = Namespace(name), number
        self.keys = [wgproto.generate_private() for _ in range(LANES)]
        self.lanes = Lanes(self.ns)

    def make(self, other):
        ip, wg = ["link add west type wgtrunk"], []
        for i in range(LANES):
            wireguard(self.ns, f"w{i}", self.keys[i], 1000 + i)
            wg.append(f"wg set w{i} peer {b64(wgproto.public_of(other.keys[i]))} allowed-ips 0.0.0.0/0,::/0 "
                      f"endpoint 192.168.1.{other.number}:{1000 + i}")
            ip.append(f"link set w{i} master west")
        self.ns.run("; ".join(wg))
        self.ns.ip(*ip, f"address add 10.0.0.{self.number}/24 dev west", f"address add fd00::{self.number}/64 dev west",
                   "link set west up")

    def remove(self):
        sh("; ".join(f"ip -n {self.ns.name} link del {dev}" for dev in ["west", *(f"w{i}" for i in range(LANES))]), check=False)

    def reset(self):
        self.choose(CHOICE_HASH)
        for i in range(LANES):
            self.lanes.change(f"w{i}", active=1, weight=1, home_cpu=-1)

    def index(self, dev="west"):
        return int(self.ns.run(f"cat /sys/class/net/{dev}/ifindex"))

    def choose(self, choice):
        set_choice(self.ns, self.index(), choice)

    def sent(self):
        """Packets that each lane sent."""
        return [sum(cpu["tx_packets"] for cpu in self.lanes.counters(f"w{i}").values()) for i in range(LANES)]

    def carrier(self):
        return self.ns.run("cat /sys/class/net/west/carrier").strip()


a, b = Site("a", 1), Site("b", 2)
veth(a.ns, b.ns)
for site in (a, b):
    site.ns.ip(f"address add 192.168.1.{site.number}/24 dev eth0")


def fresh():
    """New trunks on both sides, with a session in each lane."""
    for site in (a, b):
        site.remove()
    a.make(b)
    b.make(a)
    for site in (a, b):
        site.choose(CHOICE_HASH)
    sock = a.ns.udp("10.0.0.1")
    for i in range(LANES):
        for other in range(LANES):
            a.lanes.change(f"w{other}", active=int(other == i))
        sock.sendto(b"?", ("10.0.0.2", 9))
        wait_until(lambda: a.ns.wg(f"w{i}", "latest-handshakes")[0][1] != "0", 30, "a handshake")
    sock.close()
    both()


def both():
    """As they were made."""
    for site in (a, b):
        site.reset()


fresh()


def refused(code, function, *args, **options):
    try:
        function(*args, **options)
    except NetlinkError as error:
        assert error.errno == code, f"{error}, not {errno.errorcode[code]}"
        return error.extack
    raise AssertionError("accepted")


@suite.test("IPv4 and IPv6 over it; captures see the trunk alone")
def _():
    both()
    sniffers = {dev: a.ns.sniffer(dev, timeout=0.3) for dev in ("west", *(f"w{i}" for i in range(LANES)))}
    a.ns.run("ping -q -c 3 -i 0.1 -W 5 10.0.0.2")
    a.ns.run("ping -q -c 3 -i 0.1 -W 5 fd00::2")
    seen = {dev: len(drain(sniffer)) for dev, sniffer in sniffers.items()}
    assert seen["west"] >= 12, seen
    assert not any(n for dev, n in seen.items() if dev != "west"), seen
    for name in ("rx", "tx"):
        assert a.ns.statistics("west")[name]["packets"] >= 6


@suite.test("only tunnels can be lanes, 256 of them, and only once")
def _():
    a.ns.ip("link add dummy0 type dummy")
    suite.defer(sh, f"ip -n {a.ns.name} link del dummy0", False)
    said = sh(f"ip -n {a.ns.name} link set dummy0 master west 2>&1", check=False)
    assert "only WireGuard" in said, said
    said = sh(f"ip -n {a.ns.name} link set west master west 2>&1", check=False)
    assert said, "a trunk over itself"
    a.ns.ip("link add more type wgtrunk")
    suite.defer(sh, f"ip -n {a.ns.name} link del more", False)
    # A lane of one trunk goes over to another.
    a.ns.ip("link set w3 master more", "link set w3 master west")
    assert a.lanes.show("w3")["trunk"] == a.index()
    a.ns.ip(*(f"link add x{i} type wireguard" for i in range(257)))
    a.ns.ip(*(f"link set x{i} master more" for i in range(256)))
    said = sh(f"ip -n {a.ns.name} link set x256 master more 2>&1", check=False)
    assert "no more lanes" in said, said
    a.ns.ip(*(f"link del x{i}" for i in range(257)))


@suite.test("made with fewer queues, a trunk has no more lanes than that")
def _():
    a.ns.ip("link add few numtxqueues 2 type wgtrunk", *(f"link add x{i} type wireguard" for i in range(3)))
    suite.defer(sh, f"ip -n {a.ns.name} link del few; for i in 0 1 2; do ip -n {a.ns.name} link del x$i; done", False)
    a.ns.ip("link set x0 master few", "link set x1 master few")
    said = sh(f"ip -n {a.ns.name} link set x2 master few 2>&1", check=False)
    assert "no more lanes" in said, said


@suite.test("active and weight: what is bad is refused")
def _():
    assert "not a lane" in refused(errno.EINVAL, b.lanes.change, lone(), active=1)
    for what in ({"weight": 0}, {"weight": 65536}, {"active": 2}):
        refused(errno.ERANGE, a.lanes.change, "w0", **what)
    refused(errno.ERANGE, set_choice, a.ns, a.index(), 2)
    shown = a.lanes.show("w0")
    assert (shown["active"], shown["weight"], shown["trunk"]) == (1, 1, a.index()), shown


def lone():
    b.ns.ip("link add lone type wireguard")
    suite.defer(sh, f"ip -n {b.ns.name} link del lone", False)
    return "lone"


def lane_of(number, sock={}):
    """Which lane a flow takes, by sending a packet of it; once more where another lane had a keepalive to send."""
    for _ in range(5):
        before = a.sent()
        flow_socket(number).sendto(b"?", ("10.0.0.2", 9))
        after = a.sent()
        grown = [i for i in range(LANES) if after[i] > before[i]]
        if len(grown) == 1:
            return grown[0]
    raise AssertionError(f"{before} {after}")


flow_sockets = {}


def flow_socket(number):
    if number not in flow_sockets:
        flow_sockets[number] = a.ns.udp("10.0.0.1", 20000 + number)
    return flow_sockets[number]


@suite.test("by hash: 1024 flows, each lane within 25% of even; by weight")
def _():
    both()
    before = a.sent()
    for number in range(1024):
        flow_socket(number).sendto(b"?", ("10.0.0.2", 9))
    got = [x - y for x, y in zip(a.sent(), before)]
    assert all(abs(n - 1024 / LANES) < 1024 / LANES / 4 for n in got), got
    a.lanes.change("w0", weight=3)
    before = a.sent()
    for number in range(1024):
        flow_socket(number).sendto(b"?", ("10.0.0.2", 9))
    got = [x - y for x, y in zip(a.sent(), before)]
    assert abs(got[0] - 512) < 128, got


@suite.test("a lane becomes spare, and active again: only as many flows move as must")
def _():
    both()
    flows = 150
    first = [lane_of(n) for n in range(flows)]
    a.lanes.change("w2", active=0)
    second = [lane_of(n) for n in range(flows)]
    assert 2 not in second, "a spare lane sent"
    moved = sum(x != y for x, y in zip(first, second))
    assert moved == first.count(2), f"{moved} moved, {first.count(2)} had to"
    a.lanes.change("w2", active=1)
    third = [lane_of(n) for n in range(flows)]
    moved = sum(x != y for x, y in zip(second, third))
    assert moved == third.count(2) and abs(moved - flows / 4) < flows / 6, f"{moved} moved, {third.count(2)} there"


@suite.test("no active lane: no carrier, the sender gets to know; and back")
def _():
    both()
    assert a.carrier() == "1"
    for i in range(LANES):
        a.lanes.change(f"w{i}", active=0)
    assert a.carrier() == "0"
    wait_until(lambda: "Unreachable" in a.ns.run("ping -c 1 -W 1 10.0.0.2", check=False), 5, "unreachable")
    assert "nreachable" in a.ns.run("ping -c 1 -W 1 fd00::2", check=False)
    with a.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        try:
            sock.connect(("10.0.0.2", 9))
            raise AssertionError("connected")
        except OSError as error:
            assert error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH), error
    a.lanes.change("w3", active=1)
    assert a.carrier() == "1"
    a.ns.run("ping -q -c 1 -W 5 10.0.0.2")
    a.ns.ip("link set w3 down")
    assert a.carrier() == "0"
    a.ns.ip("link set w3 up")
    assert a.carrier() == "1"
    a.ns.run("ping -q -c 1 -W 5 10.0.0.2")


@suite.test("by CPU: what a CPU sends goes through the lane at home there, whole way there")
def _():
    both()
    for site in (a, b):
        site.choose(CHOICE_CPU)
        for i in range(LANES):
            site.lanes.change(f"w{i}", home_cpu=i if i < CPUS else -1)
    for cpu in range(CPUS):
        result = []

        def work():
            os.sched_setaffinity(0, {cpu})
            before, far = a.sent(), b.lanes.counters(f"w{cpu}")
            sock = a.ns.udp("10.0.0.1")
            for _ in range(200):
                sock.sendto(b"x" * 100, ("10.0.0.2", 9))
            with contextlib.suppress(AssertionError):
                wait_until(lambda: sum(c["rx_packets"] for c in b.lanes.counters(f"w{cpu}").values()) >=
                           sum(c["rx_packets"] for c in far.values()) + 200, 10, "packets")
            after = b.lanes.counters(f"w{cpu}")
            result.append([x - y for x, y in zip(a.sent(), before)])
            result.append([after[c]["rx_packets"] - far[c]["rx_packets"] for c in range(CPUS)])
            result.append(sum(after[c]["rx_handed_over"] - far[c]["rx_handed_over"] for c in range(CPUS)))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        sent, received, handed = result
        assert sent[cpu] >= 200 and sum(sent) - sent[cpu] < 20, f"CPU {cpu}: sent {sent}"
        assert received[cpu] >= 200 and sum(received) - received[cpu] < 20, f"CPU {cpu}: received {received}"
        assert handed < 20, f"{handed} handed over"


@suite.test("by CPU: TCP keeps its lane, whatever queue the underlay's device chooses")
def _():
    fresh()
    # Whatever happens on these CPUs has a lane at home there: what takes another one was sent there by somebody else.
    cpus = range(min(CPUS, 2))
    homes = {LANES - 1 - cpu: cpu for cpu in cpus}
    a.ns.ip("link add many0 numtxqueues 2 numrxqueues 2 type veth "
            f"peer name many0 netns {b.ns.name} numtxqueues 2 numrxqueues 2",
            "address add 192.168.2.1/24 dev many0", "link set many0 up")
    suite.defer(sh, f"ip -n {a.ns.name} link del many0", False)
    b.ns.ip("address add 192.168.2.2/24 dev many0", "link set many0 up")
    # Where there is XPS, each CPU has a queue.
    a.ns.run("; ".join(f"echo {1 << i} >/sys/class/net/many0/queues/tx-{i}/xps_cpus" for i in (0, 1)), check=False)
    # Slow, so that packets are under way.
    a.ns.run("tc qdisc replace dev many0 root tbf rate 50mbit burst 100k limit 1m")

    def go_by(net):
        for site, other in ((a, b), (b, a)):
            site.ns.run("; ".join(f"wg set w{i} peer {b64(wgproto.public_of(other.keys[i]))} "
                                  f"endpoint 192.168.{net}.{other.number}:{1000 + i}" for i in range(LANES)))

    go_by(2)
    suite.defer(go_by, 1)
    a.choose(CHOICE_CPU)
    for lane in range(LANES):
        a.lanes.change(f"w{lane}", home_cpu=homes.get(lane, -1))
    server = b.ns.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.bind(("10.0.0.2", 5001))
    server.listen(1)
    length, before, received = 8 << 20, a.sent(), []

    def serve():
        os.sched_setaffinity(0, cpus)
        connection, _ = server.accept()
        with connection:
            while piece := connection.recv(1 << 16):
                received.append(len(piece))

    def talk():
        os.sched_setaffinity(0, cpus)
        with a.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(60)
            sock.connect(("10.0.0.2", 5001))
            sock.sendall(bytes(length))

    threads = [threading.Thread(target=work, daemon=True) for work in (serve, talk)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(received) == length, f"{sum(received)} of {length} bytes came"
    got = [x - y for x, y in zip(a.sent(), before)]
    assert sum(got[lane] for lane in homes) >= length / 1400, got
    assert sum(got) - sum(got[lane] for lane in homes) < 20, f"{got}, at home are {list(homes)}"


@suite.test("MTU and features follow the lanes")
def _():
    both()

    def mtu():
        return int(a.ns.run("cat /sys/class/net/west/mtu"))
    assert mtu() == 1420
    a.ns.ip("link set w1 mtu 1300")
    assert mtu() == 1300
    a.ns.ip("link set w1 mtu 1500")
    assert mtu() == 1420
    said = sh(f"ip -n {a.ns.name} link set west mtu 1421 2>&1", check=False)
    assert said, "an MTU that is too large was accepted"
    a.ns.ip("link set west mtu 1280", "link set w1 mtu 1400")
    assert mtu() == 1280
    a.ns.ip("link set west mtu 1400", "link set w1 mtu 1420", "link set west mtu 1420")
    a.ns.run("ethtool -K w2 tx-udp-segmentation off")
    assert re.search(r"tx-udp-segmentation: off", a.ns.run("ethtool -k west"))
    a.ns.run("ethtool -K w2 tx-udp-segmentation on")
    assert re.search(r"tx-udp-segmentation: on", a.ns.run("ethtool -k west"))


@suite.test("a new trunk takes the MTU of lanes with a larger one than usual")
def _():
    b.ns.ip("link add jumbo0 mtu 8920 type wireguard", "link add jumbo type wgtrunk", "link set jumbo0 master jumbo")
    suite.defer(sh, f"ip -n {b.ns.name} link del jumbo; ip -n {b.ns.name} link del jumbo0", False)
    assert b.ns.run("cat /sys/class/net/jumbo/mtu").strip() == "8920"
    b.ns.ip("link set jumbo mtu 1400", "link set jumbo0 mtu 8000")
    assert b.ns.run("cat /sys/class/net/jumbo/mtu").strip() == "1400", "what was set was lost"


@suite.test("without lanes, a trunk takes any MTU")
def _():
    b.ns.ip("link add lone type wgtrunk", "link add lone0 mtu 1300 type wireguard", "link set lone0 master lone")
    suite.defer(sh, f"ip -n {b.ns.name} link del lone; ip -n {b.ns.name} link del lone0", False)
    assert sh(f"ip -n {b.ns.name} link set lone mtu 1301 2>&1", check=False), "an MTU that is too large was accepted"
    b.ns.ip("link set lone0 nomaster")
    assert b.ns.run("cat /sys/class/net/lone/mtu").strip() == "1300"
    b.ns.ip("link set lone mtu 9000", "link set lone0 master lone")
    assert b.ns.run("cat /sys/class/net/lone/mtu").strip() == "1300"
    # It leaves its lanes behind.
    c = Namespace("c")
    suite.defer(c.remove)
    b.ns.ip(f"link set lone netns {c.name}")
    c.ip("link set lone mtu 9000")


@suite.test("a GSO packet stays whole")
def _():
    both()
    before = sum(a.ns.counters(f"w{i}")["tx_superpackets"] for i in range(LANES))
    sink = b.ns.udp("10.0.0.2", 7777)
    sock = a.ns.udp("10.0.0.1")
    sock.setsockopt(SOL_UDP, UDP_SEGMENT, 1000)
    data = os.urandom(30500)
    sock.sendto(data, ("10.0.0.2", 7777))
    got = b"".join(sink.recv(2000) for _ in range(31))
    assert got == data
    after = sum(a.ns.counters(f"w{i}")["tx_superpackets"] for i in range(LANES))
    assert after == before + 1, f"{after - before} superpackets"


@suite.test("TCP in many connections, intact, each lane with a share")
def _():
    both()
    before = a.sent()
    server = b.ns.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.bind(("10.0.0.2", 5000))
    server.listen(64)
    data, bad = os.urandom(200000), []

    def serve():
        for _ in range(32):
            connection, _ = server.accept()
            threading.Thread(target=take, args=(connection,)).start()

    def take(connection):
        with connection:
            got = b""
            while piece := connection.recv(65536):
                got += piece
            connection.sendall(b"ok" if got == data else b"no")

    def talk():
        with a.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(60)
            sock.connect(("10.0.0.2", 5000))
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            if sock.recv(2) != b"ok":
                bad.append(1)

    threading.Thread(target=serve, daemon=True).start()
    talkers = [threading.Thread(target=talk) for _ in range(32)]
    for thread in talkers:
        thread.start()
    for thread in talkers:
        thread.join()
    got = [x - y for x, y in zip(a.sent(), before)]
    assert not bad, f"{len(bad)} of 32 connections"
    assert all(got), got


class Stream:
    """Numbered datagrams, a few flows; what is missing or out of order at the end."""

    def __init__(self, flows=6):
        self.flows = flows
        self.sink = b.ns.udp("10.0.0.2", 8888, timeout=0.3)
        self.sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.socks = [a.ns.udp("10.0.0.1", 30000 + i) for i in range(flows)]
        self.number = 0

    def send(self):
        for sock in self.socks:
            sock.sendto(struct.pack("=I", self.number), ("10.0.0.2", 8888))
        self.number += 1
        time.sleep(0.001)

    def check(self):
        got = {}
        try:
            while True:
                data, (_, port) = self.sink.recvfrom(100)
                got.setdefault(port, []).append(struct.unpack("=I", data)[0])
        except socket.timeout:
            pass
        for each in (self.sink, *self.socks):
            each.close()
        lost = self.number * self.flows - sum(map(len, got.values()))
        return lost, {port: sum(x > y for x, y in zip(numbers, numbers[1:])) for port, numbers in got.items()}


@suite.test("number of active lanes changed under load: nothing is lost")
def _():
    both()
    stream = Stream()
    with Background(stream.send):
        for active in (4, 1, 3, 4, 2, 1, 4) * 3:
            for site in (a, b):
                for i in range(LANES):
                    site.lanes.change(f"w{i}", active=int(i < active))
            time.sleep(0.1)
    lost, reordered = stream.check()
    assert not lost, f"{lost} of {stream.number * stream.flows} lost, out of order {reordered}"


@suite.test("lanes leave, come, and are deleted under load")
def _():
    fresh()
    stream = Stream()
    with Background(stream.send):
        for round in range(6):
            a.ns.ip("link set w1 nomaster")
            time.sleep(0.1)
            a.ns.ip("link set w1 master west")
            b.ns.ip("link set w2 nomaster", "link set w2 master west")
            time.sleep(0.1)
        a.ns.ip("link del w3")
        time.sleep(0.3)
    # Or it would answer through it.
    b.lanes.change("w3", active=0)
    lost, _ = stream.check()
    total = stream.number * stream.flows
    assert lost < total / 4, f"{lost} of {total} lost"
    a.ns.run("ping -q -c 2 -W 5 10.0.0.2")


@suite.test("moved to other namespaces, trunk and lanes: it is left out, and works again")
def _():
    fresh()
    other = Namespace("other")
    suite.defer(other.remove)
    # The far end sends through a lane that has lost its keys here until that speaks up.
    a.ns.run(f"wg set w0 peer {b64(wgproto.public_of(b.keys[0]))} persistent-keepalive 25")
    with Background(Stream().send):
        for _ in range(3):
            a.ns.ip(f"link set w0 netns {other.name}")
            assert "w0" not in a.ns.run("ls /sys/class/net/west")
            other.ip(f"link set w0 netns {a.ns.name}")
            a.ns.ip("link set w0 master west", "link set w0 up")
    a.ns.ip(f"link set west netns {other.name}")
    assert "trunk" not in a.lanes.show("w1"), "still a lane"
    other.ip(f"link set west netns {a.ns.name}")
    a.ns.ip(*(f"link set w{i} master west" for i in range(LANES)), "address add 10.0.0.1/24 dev west", "link set west up")
    a.ns.run("ping -q -c 2 -W 5 10.0.0.2")


@suite.test("a lane without a socket, whose first namespace has died: it is left out")
def _():
    fresh()
    born = Namespace("born")
    wireguard(born, "w9", a.keys[0])
    born.ip(f"link set w9 netns {a.ns.name}")
    a.ns.ip("link set w9 master west", "link set w9 up")
    suite.defer(sh, f"ip -n {a.ns.name} link del w9", False)
    for i in range(LANES):
        a.lanes.change(f"w{i}", active=0)
    assert a.carrier() == "1"
    born.remove()
    wait_until(lambda: a.carrier() == "0", 60, "no carrier")
    a.lanes.change("w0", active=1)
    for _ in range(20):
        a.ns.run("ping -q -c 1 -W 5 10.0.0.2")
    assert not a.ns.statistics("w9")["tx"]["packets"] + a.ns.statistics("w9")["tx"]["errors"]


@suite.test("a lane whose far end is routed through the trunk: dropped, and counted")
def _():
    both()

    def too_deep():
        return sum(a.ns.counters(f"w{i}")["tx_drop_nested_too_deep"] for i in range(LANES))
    before = too_deep()
    a.ns.ip("route add 192.168.1.2/32 dev west")
    a.ns.run("ping -q -c 1 -W 1 10.0.0.2", check=False)
    a.ns.ip("route del 192.168.1.2/32 dev west")
    assert too_deep() > before
    a.ns.run("ping -q -c 1 -W 5 10.0.0.2")


@suite.test("trunks deleted and made under load")
def _():
    for _ in range(4):
        fresh()
        stop = threading.Event()

        def send():
            sock = a.ns.udp("10.0.0.1")
            while not stop.is_set():
                try:
                    sock.sendto(bytes(500), ("10.0.0.2", 9))
                except OSError:
                    time.sleep(0.001)

        thread = threading.Thread(target=send)
        thread.start()
        time.sleep(0.3)
        b.ns.ip("link del west")
        a.ns.ip("link del west")
        stop.set()
        thread.join()
        for site in (a, b):
            assert "trunk" not in site.lanes.show("w0"), "still a lane"


@suite.test("a trunk that is down: what its lanes receive is dropped, and counted")
def _():
    fresh()
    b.ns.ip("link set west down")
    sock = a.ns.udp("10.0.0.1")
    for _ in range(20):
        sock.sendto(b"x", ("10.0.0.2", 9))
    wait_until(lambda: sum(b.ns.counters(f"w{i}")["rx_drop_trunk_down"] for i in range(LANES)) >= 20, 5, "drops")


@suite.test("a packet socket that bypasses queues sends through the trunk")
def _():
    fresh()
    before = sum(a.sent())
    with a.ns.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        sock.sendto(udp4("10.0.0.1", "10.0.0.2", b"x"), ("west", 0x0800))
    assert sum(a.sent()) == before + 1


if __name__ == "__main__":
    suite.run_and_exit()
