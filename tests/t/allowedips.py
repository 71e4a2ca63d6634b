#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""Cryptokey routing, by packets, against a model that tries all prefixes.

Peers written in Python have sessions with a device. A packet for any address,
handed to the device through a packet socket, comes out at the peer that the
trie chose, sealed under its session. A packet from any address, sent by a
peer, comes in only if the trie finds that peer for it.
"""

import os
import random
import select
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import wgnl
import wgproto
from net import OWN, Namespace, Talker, wait_until
from tap import Suite
from wgnl import (DEV_REPLACE_PEERS, IP_REMOVE_ME, PEER_ALLOWEDIPS, PEER_REMOVE_ME,
                  PEER_REPLACE_ALLOWEDIPS, Netlink, allowed_ip, device_flags, ifname, listen_port,
                  nest, peer, peers, private_key)

V4, V6 = socket.AF_INET, socket.AF_INET6
PORT, BATCH, PACKET_OUTGOING, SO_RCVBUFFORCE = 51820, 256, 4, 33
ETHERTYPE = {V4: 0x0800, V6: 0x86dd}
WIDTH = {V4: 32, V6: 128}
WG = ifname("wg0")

suite = Suite()
seed = int(os.environ.get("SEED", "0")) or random.randrange(1, 2**32)
rng = random.Random(seed)


# --- the model ---

def cut(family, value, cidr):
    spare = WIDTH[family] - cidr
    return value >> spare << spare


class Model:
    """Which peer has which prefix; a prefix is (family, value, length)."""

    def __init__(self):
        self.owner = {}

    def add(self, number, prefix):
        """Last in the order of its peer, wherever it was before."""
        self.owner.pop(prefix, None)
        self.owner[prefix] = number

    def remove(self, number, prefix):
        if self.owner.get(prefix) == number:
            del self.owner[prefix]

    def clear(self, number):
        self.owner = {p: n for p, n in self.owner.items() if n != number}

    def of(self, number):
        return [p for p, n in self.owner.items() if n == number]

    def find(self, family, value):
        best, found = -1, None
        for (fam, start, cidr), number in self.owner.items():
            if fam == family and cidr > best and cut(family, value, cidr) == start:
                best, found = cidr, number
        return found


class Pool:
    """Random prefixes and addresses that have much in common."""

    def __init__(self, seeds=6):
        self.seeds = {f: [rng.getrandbits(WIDTH[f]) for _ in range(seeds)] for f in WIDTH}

    def value(self, family):
        """One of the seeds up to some bit, and anything after."""
        width = WIDTH[family]
        if rng.random() < 0.05:
            return rng.getrandbits(width)
        keep = rng.randrange(width + 1)
        return cut(family, rng.choice(self.seeds[family]), keep) | rng.getrandbits(width) >> keep

    def prefix(self):
        family = rng.choice((V4, V6))
        cidr = rng.randrange(WIDTH[family] + 1)
        if rng.random() < 0.1:
            cidr = rng.choice((0, 1, WIDTH[family] // 2, WIDTH[family] - 1, WIDTH[family]))
        return family, cut(family, self.value(family), cidr), cidr

    def addresses(self, model, count):
        """At the edges of the model's prefixes, just outside of them, and anywhere."""
        prefixes, found = list(model.owner), []
        while len(found) < count:
            if prefixes and rng.random() < 0.8:
                family, start, cidr = rng.choice(prefixes)
                size = 1 << WIDTH[family] - cidr
                value = start + rng.choice((0, size - 1, rng.randrange(size), -1, size))
                value %= 1 << WIDTH[family]
            else:
                family = rng.choice((V4, V6))
                value = self.value(family)
            found.append((family, value))
        return found


# --- the device, and packets ---

def packed(family, value):
    return value.to_bytes(WIDTH[family] // 8, "big")


def for_netlink(prefix):
    family, value, cidr = prefix
    return family, packed(family, value), cidr


def bare_header(family, source, destination, ident):
    """An IP packet of nothing but a header."""
    if family == V4:
        return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20, ident, 0, 64, 59, 0,
                           packed(family, source), packed(family, destination))
    return struct.pack(">IHBB16s16s", 6 << 28 | ident, 0, 59, 64,
                       packed(family, source), packed(family, destination))


def read_header(packet):
    """(family, source, destination, ident)"""
    if packet[0] >> 4 == 4:
        source, destination, ident = packet[12:16], packet[16:20], packet[4:6]
        family = V4
    else:
        source, destination, ident = packet[8:24], packet[24:40], packet[2:4]
        family = V6
    return (family, *(int.from_bytes(x, "big") for x in (source, destination, ident)))


class Router:
    """A device whose peers are ours."""

    def __init__(self, count):
        self.ns = Namespace("trie")
        suite.defer(self.ns.remove)
        self.ns.ip("link add wg0 type wireguard")
        self.nl = Netlink(self.ns)
        suite.defer(self.nl.close)
        self.nl.set(WG, private_key(wgproto.generate_private()), listen_port(PORT))
        self.ns.ip("link set wg0 up")
        self.sock = self.ns.udp("127.0.0.1", timeout=10)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        suite.defer(self.sock.close)
        self.inside = self.ns.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        suite.defer(self.inside.close)
        self.model = Model()
        self.by_index = {}
        public = self.nl.get("wg0").public_key
        self.talkers = [Talker(self.sock, ("127.0.0.1", PORT), public) for _ in range(count)]
        self.nl.set(WG, peers(*(peer(t.public) for t in self.talkers)))
        for number in range(count):
            self.begin_session(number)

    def begin_session(self, number):
        talker = self.talkers[number]
        talker.handshake()
        self.by_index[talker.session.local_index] = number
        # It is confirmed by the keepalive, whose bytes are counted when it is.
        wait_until(lambda: self.nl.get("wg0").peer(talker.public).rx_bytes >= 148 + 32)

    # Changes, in the model and the device:

    def add(self, number, prefixes):
        for prefix in prefixes:
            self.model.add(number, prefix)
        self.nl.set(WG, peers(peer(self.talkers[number].public,
                                   allowed=map(for_netlink, prefixes))))

    def remove(self, number, prefixes):
        for prefix in prefixes:
            self.model.remove(number, prefix)
        ips = (allowed_ip(for_netlink(p), IP_REMOVE_ME) for p in prefixes)
        self.nl.set(WG, peers(peer(self.talkers[number].public, nest(PEER_ALLOWEDIPS, *ips))))

    def replace(self, number, prefixes):
        self.model.clear(number)
        for prefix in prefixes:
            self.model.add(number, prefix)
        self.nl.set(WG, peers(peer(self.talkers[number].public, flags=PEER_REPLACE_ALLOWEDIPS,
                                   allowed=map(for_netlink, prefixes))))

    # Looking:

    def check_dump(self):
        device = self.nl.get("wg0")
        for number, talker in enumerate(self.talkers):
            shown = device.peer(talker.public)
            wanted = list(map(for_netlink, self.model.of(number)))
            assert (shown.allowed if shown else []) == wanted, f"peer {number}"

    def send_inside(self, family, value, ident):
        try:
            self.inside.sendto(bare_header(family, 0, value, ident),
                               ("wg0", ETHERTYPE[family]))
        except OSError:
            pass	# Nobody has it: some kernels tell.

    def received(self, timeout):
        """(number, family, destination, ident) of one packet that a peer got, or None."""
        end = time.monotonic() + timeout
        while True:
            left = max(0, end - time.monotonic())
            if not select.select([self.sock], [], [], left)[0]:
                return None
            message = self.sock.recv(65536)
            if message[0] != wgproto.DATA:
                continue
            number = self.by_index[struct.unpack_from("<I", message, 4)[0]]
            _, packet = self.talkers[number].session.decrypt(message)
            if packet:
                family, _, destination, ident = read_header(packet)
                return number, family, destination, ident

    def check_destinations(self, addresses):
        """Packets to each of them come out where the model says, and nowhere else."""
        for start in range(0, len(addresses), BATCH):
            batch = addresses[start:start + BATCH]
            wanted = {i: self.model.find(*a) for i, a in enumerate(batch)}
            wanted = {i: n for i, n in wanted.items() if n is not None}
            for ident, (family, value) in enumerate(batch):
                self.send_inside(family, value, ident)
            got = {}
            while True:
                one = self.received(5 if len(got) < len(wanted) else 0.02)
                if not one:
                    break
                number, family, value, ident = one
                assert batch[ident] == (family, value) and ident not in got
                got[ident] = number
            if got != wanted:
                self.explain(batch, got, wanted)

    def check_sources(self, addresses):
        """Packets from each of them come in from the peer that has it, and from no other."""
        sniffer = self.ns.sniffer("wg0")
        try:
            for start in range(0, len(addresses), BATCH):
                self.check_sources_batch(addresses[start:start + BATCH], sniffer)
        finally:
            sniffer.close()

    def check_sources_batch(self, batch, sniffer):
        wanted = set()
        for ident, (family, value) in enumerate(batch):
            number = owner = self.model.find(family, value)
            if owner is None or rng.random() < 0.5:
                number = rng.randrange(len(self.talkers))
            if number == owner:
                wanted.add(ident)
            self.talkers[number].send_packet(bare_header(family, value, 1, ident))
        got = set()
        while select.select([sniffer], [], [], 5 if len(got) < len(wanted) else 0.05)[0]:
            packet, sender = sniffer.recvfrom(65536)
            if sender[2] == PACKET_OUTGOING:
                continue
            family, source, _, ident = read_header(packet)
            if batch[ident] == (family, source):
                got.add(ident)
        assert got == wanted, (f"seed {seed}: wrongly in {[batch[i] for i in got - wanted]}, "
                               f"wrongly out {[batch[i] for i in wanted - got]}")

    def explain(self, batch, got, wanted):
        lines = [f"seed {seed}"]
        for i, (family, value) in enumerate(batch):
            if got.get(i) != wanted.get(i):
                text = wgnl.text_of((family, packed(family, value), WIDTH[family]))
                lines.append(f"{text}: peer {got.get(i)} instead of {wanted.get(i)}")
        raise AssertionError("\n".join(lines[:20]))


def check_all(router, pool, count):
    router.check_dump()
    router.check_destinations(pool.addresses(router.model, count))


# --- tests ---

@suite.test("destinations, from no prefix to hundreds")
def _():
    router, pool = Router(8), Pool()
    check_all(router, pool, 100)
    for size in (1, 2, 3, 5, 10, 30, 100, 300):
        for number in range(8):
            router.replace(number, [])
        for _ in range(size):
            router.add(rng.randrange(8), [pool.prefix()])
        check_all(router, pool, 300)


@suite.test("sources: only what a peer may send comes in")
def _():
    router, pool = Router(6), Pool()
    for _ in range(120):
        router.add(rng.randrange(6), [pool.prefix()])
    router.check_dump()
    router.check_sources(pool.addresses(router.model, 1500))


@suite.test("every length of one address, added and taken away in any order")
def _():
    router, pool = Router(5), Pool(1)
    for family in (V4, V6):
        value = pool.seeds[family][0]
        chain = [(family, cut(family, value, n), n) for n in range(WIDTH[family] + 1)]
        rng.shuffle(chain)
        owner = {p: rng.randrange(5) for p in chain}
        half = len(chain) // 2
        for prefix in chain:
            router.add(owner[prefix], [prefix])
        check_all(router, pool, 400)
        for prefix in chain[:half]:
            if OWN:
                router.remove(owner[prefix], [prefix])
        check_all(router, pool, 400)
        for number in range(5):
            router.replace(number, [])
        assert not router.model.owner
        check_all(router, pool, 50)


@suite.test("prefixes come, go and change hands at random")
def _():
    router, pool = Router(8), Pool()
    for _ in range(25):
        for _ in range(12):
            number = rng.randrange(8)
            known = list(router.model.owner)
            some = [rng.choice(known) for _ in range(rng.randrange(6))] if known else []
            action = rng.random()
            if action < 0.45:
                router.add(number, [pool.prefix() for _ in range(rng.randrange(1, 12))])
            elif action < 0.6:
                router.add(number, some)
            elif action < 0.95:
                if OWN:
                    router.remove(number, some + [pool.prefix()])
                    own = router.model.of(number)
                    router.remove(number, rng.sample(own, len(own) // 2))
            else:
                router.replace(number, [pool.prefix() for _ in range(rng.randrange(12))])
        check_all(router, pool, 150)


@suite.test("peers that are removed leave nothing behind")
def _():
    router, pool = Router(6), Pool()
    for _ in range(150):
        router.add(rng.randrange(6), [pool.prefix()])
    check_all(router, pool, 200)
    for number in rng.sample(range(6), 4):
        router.nl.set(WG, peers(peer(router.talkers[number].public, flags=PEER_REMOVE_ME)))
        router.model.clear(number)
        check_all(router, pool, 200)
        if rng.random() < 0.5:
            router.add(number, [pool.prefix() for _ in range(10)])
            router.begin_session(number)
            check_all(router, pool, 200)
    router.nl.set(WG, device_flags(DEV_REPLACE_PEERS))
    router.model = Model()
    check_all(router, pool, 100)


# What changes while packets are sent, and which peers may get them. Peers: 0 keeps what it has, 1
# has what is around, 2 and 3 come and go.
STABLE = [(V4, 0x0a010203, 32), (V4, 0x0a014000, 18), (V4, 0x0a018001, 32), (V4, 0x0a01ff00, 24),
          (V6, 0xfd010002000300040005000600070008, 128), (V6, 0xfd0100028000 << 80, 48)]
AROUND = [(V4, 0x0a000000, 8), (V6, 0xfd << 120, 8)]
# In the other half of what is around, where nothing else hides it when one of these is missed.
MOVED = [(V4, 0x0a820000, 16), (V6, 0xfd82 << 112, 16)]
COMING = [(V4, 0x0a830000, 16), (V6, 0xfd83 << 112, 16)]


def neighbours(prefix):
    """Above a stable prefix and beside it at each bit: each changes the way to it."""
    family, value, cidr = prefix
    near = []
    for n in range(10, cidr):
        near.append((family, cut(family, value, n), n))
        near.append((family, cut(family, value ^ 1 << WIDTH[family] - n - 1, n + 1), n + 1))
    return [p for p in near if p not in STABLE]


def change_forever(router):
    """In a process of its own."""
    nl, order = Netlink(router.ns), random.Random(seed)
    near = [p for prefix in STABLE for p in neighbours(prefix)]
    publics = [t.public for t in router.talkers]
    while True:
        some = [for_netlink(p) for p in order.sample(near, 30)]
        a, b = order.sample((2, 3), 2)
        nl.set(WG, peers(
            peer(publics[a], allowed=some + [for_netlink(p) for p in MOVED]),
            peer(publics[b], allowed=some[::2] + [for_netlink(p) for p in MOVED + COMING])))
        if OWN and order.random() < 0.5:
            gone = nest(PEER_ALLOWEDIPS, *(allowed_ip(p, IP_REMOVE_ME)
                                           for p in some + list(map(for_netlink, COMING))))
            nl.set(WG, peers(peer(publics[2], gone), peer(publics[3], gone)))
        else:
            # What is moved stays somebody's: first to one of both, then the other is emptied.
            nl.set(WG, peers(peer(publics[a], allowed=[for_netlink(p) for p in MOVED]),
                             peer(publics[b], flags=PEER_REPLACE_ALLOWEDIPS)))


def inside_of(prefix):
    family, value, cidr = prefix
    return family, value | rng.getrandbits(WIDTH[family]) >> cidr if cidr < WIDTH[family] else value


def probe():
    """An address, and the peers that may have it at any time."""
    kind = rng.random()
    if kind < 0.5:
        return inside_of(rng.choice(STABLE)), {0}
    if kind < 0.65:
        return inside_of(rng.choice(MOVED)), {2, 3}
    if kind < 0.8:
        return inside_of(rng.choice(COMING)), {1, 2, 3}
    family = rng.choice((V4, V6))
    top = 0x0aff0000 if family == V4 else 0xfdff << 112
    return (family, top | rng.getrandbits(16)), {1}


def probe_while_changing(router, seconds):
    sent = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        probes = [probe() for _ in range(BATCH)]
        for ident, ((family, value), _) in enumerate(probes):
            router.send_inside(family, value, ident)
        for _ in probes:
            one = router.received(5)
            assert one, f"seed {seed}: a packet was lost"
            number, family, value, ident = one
            address, allowed = probes[ident]
            assert address == (family, value)
            assert number in allowed, f"seed {seed}: {address} went to {number}, not {allowed}"
        sent += len(probes)
    return sent


@suite.test("look-ups while prefixes around them come and go find no wrong peer")
def _():
    router = Router(4)
    router.add(1, AROUND)
    router.add(0, STABLE)
    router.add(2, MOVED)
    changer = os.fork()
    if not changer:
        try:
            change_forever(router)
        finally:
            os._exit(1)
    try:
        before = time.monotonic()
        sent = probe_while_changing(router, 25)
        print(f"# {sent} look-ups in {time.monotonic() - before:.0f} s")
        assert os.waitpid(changer, os.WNOHANG) == (0, 0), "the changes came to an end"
    finally:
        os.kill(changer, signal.SIGKILL)
        os.waitpid(changer, 0)
    assert sent > 1000
    # After all that the trie is what the dump says.
    device = router.nl.get("wg0")
    for number, talker in enumerate(router.talkers):
        router.model.clear(number)
        for family, address, cidr in device.peer(talker.public).allowed:
            router.model.add(number, (family, int.from_bytes(address, "big"), cidr))
    router.check_destinations(Pool().addresses(router.model, 500))


@suite.test("a peer's removal costs what it has, not what the others have")
def _():
    router = Router(2)
    big = [(V4, 0x0b000000 + i * 7 % (1 << 24), 32) for i in range(60000)]
    begin = time.monotonic()
    for start in range(0, len(big), 1500):
        router.nl.set(WG, peers(peer(router.talkers[0].public,
                                     allowed=map(for_netlink, big[start:start + 1500]))))
    filled = time.monotonic() - begin
    small = [wgproto.generate_private() for _ in range(20)]
    for i, key in enumerate(small):
        router.nl.set(WG, peers(peer(key, allowed=[(V4, packed(V4, 0x0c000000 + i), 32)])))
    begin = time.monotonic()
    for key in small:
        router.nl.set(WG, peers(peer(key, flags=PEER_REMOVE_ME)))
    each = (time.monotonic() - begin) / len(small)
    print(f"# {len(big)} prefixes put in in {filled:.1f} s; a small peer removed in {each * 1000:.1f} ms")
    # A walk over all of them takes longer than this, even where the machine is emulated.
    assert each < 0.5
    router.model.owner = {p: 0 for p in rng.sample(big, 50)}
    router.check_destinations([(f, v) for f, v, _ in router.model.owner])
    begin = time.monotonic()
    router.nl.set(WG, device_flags(DEV_REPLACE_PEERS))
    print(f"# all removed in {time.monotonic() - begin:.1f} s")


print(f"# SEED={seed}")
suite.run_and_exit()
