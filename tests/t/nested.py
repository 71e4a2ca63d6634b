#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""WireGuard in WireGuard, as deep as it goes, and tunnels that lead into themselves.

No stack overflows (that would end the machine), what is refused is counted, and
a packet that goes round in circles ends some time.
"""

import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import wgproto
from net import OWN, Namespace, Talker, b64, sh, udp4, udp6, veth, wireguard
from tap import Suite

PORT = 51820
HOST4 = "192.168.1.1"
OWN4, OWN6 = "10.0.0.1", "fd00::1"
MAX_UDP = 65507
SOL_UDP, UDP_SEGMENT = 17, 103
SO_RCVBUFFORCE = 33

suite = Suite()
# Fragments of these are many.
sh("sysctl -qw net.core.netdev_max_backlog=5000")


class Place:
    """A device wg0, and a peer of it in another namespace that is written in Python."""

    def __init__(self):
        self.host, self.world = Namespace("host"), Namespace("world")
        suite.defer(self.world.remove)
        suite.defer(self.host.remove)
        veth(self.host, self.world)
        self.host.ip(f"address add {HOST4}/24 dev eth0")
        self.world.ip("address add 192.168.1.2/24 dev eth0")
        private = wgproto.generate_private()
        wireguard(self.host, "wg0", private, PORT, (f"{OWN4}/24", f"{OWN6}/64"))
        self.public = wgproto.public_of(private)
        self.peer = Talker(self.world.udp("192.168.1.2"), (HOST4, PORT), self.public)
        self.peer.ip4, self.peer.ip6 = "10.0.0.2", "fd00::2"
        self.host.run(f"wg set wg0 peer {b64(self.peer.public)} allowed-ips 10.0.0.2/32,fd00::2/128")
        self.peer.handshake()
        self.sink = self.host.udp(OWN4, 2000)

    def counter(self, name):
        return self.host.counters("wg0").get(name, 0)

    def onion(self, levels, core, six=False):
        """A message in which each packet is a message to the same port, @core the last packet."""
        for level in range(levels):
            message = self.peer.session.encrypt(core, pad=False)
            if six:
                core = udp6(self.peer.ip6, OWN6, message, dport=PORT, sport=4000 + level)
            else:
                core = udp4(self.peer.ip4, OWN4, message, dport=PORT, sport=4000 + level)
        return message

    def still_works(self):
        self.peer.handshake()
        mark = os.urandom(16)
        self.peer.send_packet(udp4(self.peer.ip4, OWN4, mark))
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if self.sink.recv(65536) == mark:
                return
        raise AssertionError("the tunnel does not work any more")


def receive_levels(levels, six=False, times=1):
    place = Place()
    before = place.counter("rx_nested"), place.counter("rx_drop_nested_full")
    marks = {os.urandom(8) for _ in range(times)}
    onions = [place.onion(levels, udp4(place.peer.ip4, OWN4, mark), six) for mark in marks]
    size = len(onions[0])
    for message in onions:
        place.peer.send(message)
    got = {place.sink.recv(65536) for _ in range(times)}
    assert got == marks, f"{len(got & marks)} of {times} came out"
    if OWN:
        nested = place.counter("rx_nested") - before[0]
        # At least every other level was inside of a packet being delivered.
        assert times * levels / 3 <= nested <= times * (levels + 1), f"{nested} counted as nested"
        assert place.counter("rx_drop_nested_full") == before[1]
    place.still_works()
    return size


@suite.test("24 levels in one packet are received")
def _():
    size = receive_levels(24)
    assert size <= 1472, f"{size} bytes: not one packet"


@suite.test("a burst of such packets")
def _():
    receive_levels(24, times=40)


@suite.test("17 levels of IPv6 in one packet")
def _():
    assert receive_levels(17, six=True) <= 1472


@suite.test("a thousand levels in a fragmented datagram of 64 KiB")
def _():
    levels = (MAX_UDP - 70) // 60
    assert levels > 1000
    if not OWN:
        levels = 500  # the in-tree module drops what is in many fragments
    receive_levels(levels)


@suite.test("several of them in a row")
def _():
    receive_levels(700 if OWN else 400, times=3)


@suite.test("nested messages that are bad are refused at their level")
def _():
    place = Place()
    before = place.counter("rx_drop_replay"), place.counter("rx_drop_bad_tag")
    core = udp4(place.peer.ip4, OWN4, b"core")
    inner = place.peer.session.encrypt(core)
    wrapped = [place.onion(5, udp4(place.peer.ip4, OWN4, inner, dport=PORT)) for _ in range(2)]
    bad = inner[:-1] + bytes([inner[-1] ^ 1])
    wrapped.append(place.onion(5, udp4(place.peer.ip4, OWN4, bad, dport=PORT)))
    for message in wrapped:
        place.peer.send(message)
    assert place.sink.recv(100) == b"core"
    place.peer.send_packet(udp4(place.peer.ip4, OWN4, b"after"))
    assert place.sink.recv(100) == b"after", "a replay inside was delivered"
    if OWN:
        assert place.counter("rx_drop_replay") == before[0] + 1
        assert place.counter("rx_drop_bad_tag") == before[1] + 1


@suite.test("a handshake inside a tunnel of the same device")
def _():
    place = Place()
    initiation = place.peer.noise.create_initiation()
    place.peer.send(place.onion(3, udp4(place.peer.ip4, OWN4, initiation, dport=PORT)))
    time.sleep(1)
    place.still_works()


# --- sending: a chain of devices, each of whose endpoints is behind the next ---

class Chain:
    """@depth tunnels between two namespaces, each through the next, the last over a wire."""

    def __init__(self, depth):
        self.depth = depth
        self.ends = Namespace("near"), Namespace("far")
        veth(*self.ends)
        keys = [[wgproto.generate_private() for _ in range(depth)] for _ in range(2)]
        for end, ns in enumerate(self.ends):
            suite.defer(ns.remove)
            ns.ip(f"address add {self.address(depth, end)}/24 dev eth0")
            for level in range(depth):
                dev = f"wg{level}"
                wireguard(ns, dev, keys[end][level], 2000 + level,
                          [f"{self.address(level, end)}/24"])
                ns.run(f"wg set {dev} peer {b64(wgproto.public_of(keys[1 - end][level]))} "
                       f"allowed-ips {self.address(level, 1 - end)}/32 "
                       f"endpoint {self.address(level + 1, 1 - end)}:{2000 + level}")

    @staticmethod
    def address(level, end):
        return f"10.{10 + level}.0.{end + 1}"

    def ping(self, level=0, count=3, seconds=10, size=56):
        """Through tunnel @level and so all after it; returns whether an answer came."""
        shown = self.ends[0].run(f"ping -n -q -i 0.3 -c {count} -w {seconds} -s {size} "
                                 f"{self.address(level, 1)}", check=False)
        return " 0 received" not in shown and "received" in shown

    def too_deep(self):
        return sum(self.ends[0].counters(f"wg{n}").get("tx_drop_nested_too_deep", 0)
                   for n in range(self.depth))


@suite.test("three tunnels in one another, both directions")
def _():
    chain = Chain(3)
    for level in (2, 1, 0):
        assert chain.ping(level, count=5), f"no answer through level {level}"
    assert chain.ping(0, size=4000), "no answer to what must be fragmented"
    assert chain.too_deep() == 0


@suite.test("18 tunnels in one another, both directions; one more is refused and counted")
def _():
    deepest = 18
    chain = Chain(deepest + 1)
    for level in range(deepest, 0, -1):
        assert chain.ping(level, count=1), f"no answer through {deepest + 1 - level} tunnels"
    assert chain.ping(1, count=5), "no second answer"
    assert chain.ping(1, count=1, size=4000), "no answer to what must be fragmented"
    if OWN:
        assert chain.too_deep() == 0
        assert not chain.ping(0, count=1, seconds=2), "too deep, and answered"
        assert chain.too_deep() > 0, "nothing was counted"
    assert chain.ping(deepest), "the last tunnel does not work any more"


@suite.test("a stream through eight tunnels, in order and whole")
def _():
    chain = Chain(8)
    for level in range(7, -1, -1):
        assert chain.ping(level, count=1), f"no answer through {8 - level} tunnels"
    near, far = chain.ends
    # Who sends from one CPU and then from another may be reordered by the wire.
    os.sched_setaffinity(0, {0})
    suite.defer(lambda: os.sched_setaffinity(0, range(os.cpu_count())))
    sink = far.udp(chain.address(0, 1), 3000)
    sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    out = near.udp()
    count = 2000
    for n in range(count):
        out.sendto(n.to_bytes(4, "big") + bytes(600), (chain.address(0, 1), 3000))
        if n % 50 == 49:
            time.sleep(0.02)
    sink.settimeout(3)
    got = [int.from_bytes(sink.recv(1000)[:4], "big") for _ in range(count)]
    assert got == list(range(count)), f"{sum(a > b for a, b in zip(got, got[1:]))} of {len(got)} out of order"


# --- circles ---

def traffic(devices):
    return sum(ns.statistics(dev)["tx"]["bytes"] for ns, dev in devices)


def goes_round(devices, start, limit):
    """Sends a few packets by @start; all that (namespace, device) send because of it must end."""
    before = traffic(devices)
    start()
    last, quiet, end = -1, 0, time.monotonic() + 30
    while quiet < 2:
        assert time.monotonic() < end, f"it still goes round: {traffic(devices) - before} bytes"
        time.sleep(0.5)
        # A handshake message now and then is no circle.
        now = traffic(devices)
        quiet = quiet + 1 if now - last < 1000 else 0
        last = now
    print(f"# {now - before} bytes sent")
    assert now - before < limit, f"{now - before} bytes went round"


@suite.test("an endpoint behind its own tunnel, without and with a session")
def _():
    place = Place()

    def ping():
        place.host.run("ping -n -q -c 3 -i 0.2 -W 1 10.0.0.2", check=False)

    place.host.run(f"wg set wg0 peer {b64(place.peer.public)} endpoint 10.0.0.2:{PORT}")
    goes_round([(place.host, "wg0")], ping, 70000)
    if OWN:
        assert place.counter("tx_drop_nested_too_deep") > 0
    place.still_works()
    place.host.ip("link set wg0 down", "link set wg0 up")
    place.host.run(f"wg set wg0 peer {b64(place.peer.public)} endpoint 10.0.0.2:{PORT}")
    goes_round([(place.host, "wg0")], ping, 70000)
    place.still_works()


@suite.test("large packets and GSO into a tunnel that leads into itself")
def _():
    place = Place()
    place.host.run(f"wg set wg0 peer {b64(place.peer.public)} endpoint 10.0.0.2:{PORT}")

    def send():
        for size, segment in ((60000, 0), (60000, 0), (1300 * 40, 1300)):
            out = place.host.udp()
            out.setsockopt(SOL_UDP, UDP_SEGMENT, segment)
            out.sendto(bytes(size), ("10.0.0.2", 9))
            out.close()

    # Each of some 180 packets 18 times, in two fragments from the second time on.
    goes_round([(place.host, "wg0")], send, 40_000_000)
    place.still_works()


@suite.test("two tunnels, each endpoint behind the other one")
def _():
    place = Place()
    private = wgproto.generate_private()
    wireguard(place.host, "wg1", private, PORT + 1, ("10.1.0.1/24",))
    other = Talker(place.world.udp("192.168.1.2"), (HOST4, PORT + 1), wgproto.public_of(private))
    place.host.run(f"wg set wg1 peer {b64(other.public)} allowed-ips 10.1.0.2/32")
    other.handshake()
    place.host.run(f"wg set wg0 peer {b64(place.peer.public)} endpoint 10.1.0.2:{PORT}")
    place.host.run(f"wg set wg1 peer {b64(other.public)} endpoint 10.0.0.2:{PORT}")
    goes_round([(place.host, "wg0"), (place.host, "wg1")],
               lambda: place.host.run("ping -n -q -c 3 -i 0.2 -W 1 10.0.0.2", check=False), 70000)
    place.still_works()


@suite.test("a circle of two namespaces that forward into a tunnel each")
def _():
    near, far, world = Namespace("near"), Namespace("far"), Namespace("world")
    for ns in (near, far, world):
        suite.defer(ns.remove)
    veth(near, far, "wire", "wire")
    for n, ns in enumerate((near, far), 1):
        veth(ns, world, "eth0", f"eth{n}")
        ns.ip(f"address add 192.168.{n}.1/24 dev eth0", f"address add 172.16.0.{n}/24 dev wire")
        world.ip(f"address add 192.168.{n}.2/24 dev eth{n}")
        ns.sysctl("net/ipv4/ip_forward", 1)
        private = wgproto.generate_private()
        wireguard(ns, "wg0", private, PORT, (f"10.0.{n}.1/24",))
        peer = Talker(world.udp(f"192.168.{n}.2"), (f"192.168.{n}.1", PORT),
                      wgproto.public_of(private))
        ns.run(f"wg set wg0 peer {b64(peer.public)} allowed-ips 0.0.0.0/0")
        peer.handshake()
        ns.run(f"wg set wg0 peer {b64(peer.public)} endpoint 10.{n}.{n}.{n}:9")
    # What near's tunnel sends goes to far, which sends it into its tunnel, and so on.
    near.ip("route add 10.1.1.0/24 via 172.16.0.2", "route add 10.2.2.0/24 dev wg0")
    far.ip("route add 10.2.2.0/24 via 172.16.0.1", "route add 10.1.1.0/24 dev wg0")
    goes_round([(near, "wg0"), (far, "wg0")],
               lambda: near.run("ping -n -q -c 1 -W 1 10.0.1.2", check=False), 100000)
    assert traffic([(far, "wg0")]) > 2000, "it never was a circle"


suite.run_and_exit()
