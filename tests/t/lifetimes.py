#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""Limits of keys, section 6 of the paper: how long they are used, and for how many messages.

    scripts/vm --own --python --dyndbg 6.12 -- tests/t/lifetimes.py [WORD...]

Nobody waits for 2^60 messages: a module for this test alone, tests/poke, moves
clocks and counters of a device on. The peer is written in Python.
"""

import itertools
import os
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
import net  # noqa: E402
import tap  # noqa: E402
import wgproto as wg  # noqa: E402

# How long to wait for what must come, and for what must not.
PATIENCE, SILENCE = 10, 0.5
# Seconds and messages, as in section 6.1.
REKEY_AFTER, REJECT_AFTER, ERASE_AFTER = 120, 180, 540
RETRY_AFTER = 5
REKEY_ON_RECEIVE = 180 - 10 - 5
REKEY_MESSAGES, REJECT_MESSAGES = 2**60, wg.REJECT_AFTER_MESSAGES
# What an emulated machine may take between two lines of this file.
SLOW = 8
SEGMENT, SOL_UDP, UDP_SEGMENT, SO_RCVBUFFORCE = 100, 17, 103, 33
POKE = "/sys/module/poke/parameters/"

suite = tap.Suite()
ns = net.Namespace("lifetimes")
numbers = itertools.count()


def poke(command):
    """In the namespace; see tests/poke/poke.c."""
    with ns.entered():
        fd = os.open(POKE + "poke", os.O_WRONLY)
        try:
            os.write(fd, command.encode())
        finally:
            os.close(fd)


def dawdle(ms, function=""):
    """Who returns from that function of the module is away for so long, until the test ends; see tests/poke/poke.c."""
    if "kretprobe" not in open("/proc/kallsyms", encoding="ascii").read():
        raise tap.Skip("no kretprobes")
    poke(f"dawdle {ms} {function}")
    suite.defer(poke, "dawdle 0")


class Tunnel:
    """A new device, and its only peer: a socket in Python."""

    def __init__(self):
        number = next(numbers)
        self.dev, net_part = f"wg{number}", f"10.10.{number}"
        self.own, self.far = f"{net_part}.1", f"{net_part}.2"
        private, peer_private = wg.generate_private(), wg.generate_private()
        public = wg.public_of(private)
        self.sock = ns.udp("127.0.0.1", timeout=PATIENCE)
        suite.defer(self.sock.close)
        net.wireguard(ns, self.dev, private, addresses=[f"{self.own}/24"])
        suite.defer(ns.run, f"ip link del {self.dev}")
        ns.run(f"wg set {self.dev} peer {net.b64(wg.public_of(peer_private))} allowed-ips "
               f"{self.far}/32 endpoint 127.0.0.1:{self.sock.getsockname()[1]}")
        port = int(ns.run(f"wg show {self.dev} listen-port"))
        self.talker = net.Talker(self.sock, ("127.0.0.1", port), public, peer_private)
        self.responder = wg.Responder(peer_private, {public: wg.ZERO})
        self.inner = ns.udp(self.own, 2000, timeout=PATIENCE)
        suite.defer(self.inner.close)

    def poke(self, command):
        poke(f"{self.dev} {command}")

    def pairs(self):
        """By slot: (number, nonces taken, may send, may receive)."""
        self.poke("pass 0")
        with ns.entered(), open(POKE + "pairs", encoding="ascii") as file:
            rows = [line.split() for line in file]
        return {row[1]: tuple(int(word) for word in row[2:]) for row in rows}

    def count(self, name):
        return ns.counters(self.dev)[name]

    # --- sessions ---

    def begun_by_peer(self):
        return self.talker.handshake()

    def begun_by_device(self):
        """By a packet; it and what else the device had to say is taken off the socket."""
        self.send()
        session = self.answer(self.wait_for(wg.INITIATION))
        session.decrypt(self.wait_for(wg.DATA))
        self.quiet(session)
        return session

    def session(self, by_device):
        return self.begun_by_device() if by_device else self.begun_by_peer()

    def answer(self, initiation):
        response, session = self.responder.create_response(
            self.responder.consume_initiation(initiation))
        self.talker.send(response)
        return session

    def quiet(self, session):
        """The device has heard from its peer after all that it sent: it waits for nothing."""
        before = self.count("rx_keepalive")
        self.talker.send(session.encrypt())
        net.wait_until(lambda: self.count("rx_keepalive") > before, what="keepalive")

    # --- what the device sends ---

    def send(self, segments=1):
        """A datagram into the tunnel, numbered; or one GSO packet of several."""
        payload = b"".join(struct.pack(">I", number).ljust(SEGMENT, b".")
                           for number in range(segments))
        with ns.udp(self.own) as sock:
            if segments > 1:
                sock.setsockopt(SOL_UDP, UDP_SEGMENT, SEGMENT)
            sock.sendto(payload, (self.far, 9))

    def wait_for(self, kind):
        """The next message of a kind, but for keepalives."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            message = self.sock.recv(65536)
            if wg.message_type(message) == kind and len(message) > wg.DATA_MIN_LEN:
                return message
        raise AssertionError(f"no message of type {kind}")

    def heard(self, initiations=0, data=0, silence=SILENCE):
        """(initiations, data that is no keepalive): so many at least, and what comes soon after."""
        kinds, now = {wg.INITIATION: [], wg.DATA: []}, time.monotonic()
        patience, quiet = now + PATIENCE, None
        while (left := (quiet or patience) - time.monotonic()) > 0:
            if len(kinds[wg.INITIATION]) >= initiations and len(kinds[wg.DATA]) >= data:
                quiet = quiet or time.monotonic() + silence
                left = min(left, silence)
            if select.select([self.sock], [], [], left)[0]:
                message = self.sock.recv(65536)
                if len(message) > wg.DATA_MIN_LEN:
                    kinds.setdefault(wg.message_type(message), []).append(message)
        return kinds[wg.INITIATION], kinds[wg.DATA]

    def says(self, initiations, counters, session, why):
        """A packet is sent now; so many initiations and data with these counters come of it."""
        self.send()
        got, data = self.heard(initiations, len(counters))
        data = [session.decrypt(message)[0] for message in data]
        assert (len(got), data) == (initiations, counters), f"{why}: {len(got)}, {data}"
        return got

    # --- what it receives ---

    def offer(self, session):
        payload = os.urandom(8)
        self.talker.send(session.encrypt(net.udp4(self.far, self.own, payload)))
        return payload

    def delivers(self, session):
        """Does what the peer sends arrive?"""
        payload = self.offer(session)
        return self.inner.recv(65536) == payload

    def refuses(self, session, reason):
        """It does not, and that is counted."""
        before = self.count(reason)
        self.offer(session)
        net.wait_until(lambda: self.count(reason) > before, what=reason)
        assert self.count(reason) == before + 1 and not net.drain(self.inner), reason


def messages_about(dev, what):
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
    return [int(number) for number in re.findall(rf"{dev}: Keypair (\d+) {what}", log)]


# --- time ---

@suite.test("an answer that comes before the initiation's sender goes on is an answer: no other initiation follows")
def _():
    # Which CPU's worker takes an answer changes; that of the sender can't while it is away.
    tunnels = [Tunnel() for _ in range(6)]
    dawdle(200)
    for tunnel in tunnels:
        tunnel.begun_by_device()
    poke("dawdle 0")
    for number, tunnel in enumerate(tunnels):
        tunnel.poke(f"pass {RETRY_AFTER + 1}")
        assert tunnel.heard() == ([], []), f"tunnel {number} of {len(tunnels)}"


@suite.test("an initiation whose deadline is over before its sender goes on is followed by another one")
def _():
    tunnel = Tunnel()
    dawdle(900)
    tunnel.send()
    tunnel.wait_for(wg.INITIATION)
    tunnel.poke(f"pass {RETRY_AFTER + 1}")
    time.sleep(2)
    tunnel.poke(f"pass {RETRY_AFTER + 1}")
    assert len(tunnel.heard(1)[0]) == 1


for begun_by in ("device", "peer"):
    @suite.test(f"what was staged, and is the first of a session that the {begun_by} began, wants an answer as any other")
    def _(by_device=begun_by == "device"):
        tunnel = Tunnel()
        tunnel.send()
        initiation = tunnel.wait_for(wg.INITIATION)
        if by_device:
            session = tunnel.answer(initiation)
        else:
            session = tunnel.begun_by_peer()
        assert session.decrypt(tunnel.wait_for(wg.DATA))[1]
        tunnel.poke("pass 16")
        assert len(tunnel.heard(1)[0]) == 1


@suite.test("a key that a clock, which stepped back, calls younger than new is good")
def _():
    tunnel = Tunnel()
    session = tunnel.begun_by_device()
    tunnel.poke(f"born current {2**64 - 1}")
    counter = tunnel.pairs()["current"][1]
    tunnel.says(0, [counter], session, "sending")
    assert tunnel.delivers(session), "receiving"


@suite.test("a peer is never there without its pre-shared key")
def _():
    tunnel = Tunnel()
    private, psk = wg.generate_private(), wg.generate_private()
    sock = ns.udp("127.0.0.1", timeout=0.3)
    suite.defer(sock.close)
    talker = net.Talker(sock, tunnel.talker.remote, tunnel.talker.noise.remote_public, private)
    dawdle(900, "wgt_peer_create")
    setter = subprocess.Popen(["ip", "netns", "exec", ns.name, "bash", "-c",
                               f"wg set {tunnel.dev} peer {net.b64(wg.public_of(private))} "
                               f"preshared-key <(echo {net.b64(psk)}) allowed-ips {tunnel.far}0/32"])
    answers, end = 0, time.monotonic() + PATIENCE
    while setter.poll() is None or not answers:
        assert time.monotonic() < end, "it never answers"
        talker.send(talker.noise.create_initiation())
        try:
            message = sock.recv(65536)
        except socket.timeout:
            continue
        answers += 1
        try:
            talker.noise.consume_response(message)
        except wg.ProtocolError:
            continue
        raise AssertionError("a session without it")


@suite.test("the side that began a session renews it with the first packet after 120 s")
def _():
    tunnel = Tunnel()
    session = tunnel.begun_by_device()
    tunnel.poke(f"pass {REKEY_AFTER - SLOW}")
    tunnel.says(0, [1], session, "before")
    tunnel.quiet(session)
    tunnel.poke(f"pass {SLOW + 1}")
    initiation, = tunnel.says(1, [2], session, "after that")
    newer = tunnel.answer(initiation)
    net.wait_until(lambda: "previous" in tunnel.pairs(), what="the new session")
    tunnel.says(0, [1], newer, "under the new key, which a keepalive has confirmed")


@suite.test("the other side does not, as long as the session is good")
def _():
    tunnel = Tunnel()
    session = tunnel.begun_by_peer()
    tunnel.poke(f"pass {REJECT_AFTER - SLOW}")
    tunnel.says(0, [0], session, "shortly before the end")


@suite.test("the side that began it renews it on receiving from 165 s on, the other one does not")
def _():
    tunnel, other = Tunnel(), Tunnel()
    session, passive = tunnel.begun_by_device(), other.begun_by_peer()
    tunnel.poke(f"pass {REKEY_ON_RECEIVE - SLOW}")
    tunnel.quiet(session)
    assert tunnel.heard() == ([], [])
    tunnel.poke(f"pass {SLOW + 1}")
    other.poke(f"pass {REKEY_ON_RECEIVE + 1}")
    tunnel.quiet(session)
    other.quiet(passive)
    initiation, = tunnel.heard(1)[0]
    assert other.heard() == ([], [])
    newer = tunnel.answer(initiation)
    tunnel.quiet(newer)
    tunnel.says(0, [1], newer, "under the new key")


for by_device in (False, True):
    @suite.test("after 180 s a session neither receives nor sends, and the next packet begins another: "
                "one begun by " + ("the device" if by_device else "its peer"))
    def _(by_device=by_device):
        tunnel = Tunnel()
        session = tunnel.session(by_device)
        tunnel.poke(f"pass {REJECT_AFTER - SLOW}")
        assert tunnel.delivers(session), "refused before its time"
        # Here the device may want a new one.
        tunnel.heard(silence=0.2)
        tunnel.poke(f"born current {REJECT_AFTER + 1}")
        tunnel.refuses(session, "rx_drop_key_expired")
        tunnel.poke("pass 6")
        net.drain(tunnel.sock)
        tunnel.send()
        newer = tunnel.answer(tunnel.wait_for(wg.INITIATION))
        # Nothing came under the old key: that would not decrypt.
        assert newer.decrypt(tunnel.wait_for(wg.DATA))[0] == 0
        assert tunnel.delivers(newer)
        tunnel.refuses(session, "rx_drop_key_expired")


@suite.test("a key that is too old to send with is not used again, were the clock to go back")
def _():
    tunnel = Tunnel()
    session = tunnel.begun_by_peer()
    tunnel.poke(f"born current {REJECT_AFTER + 1}")
    tunnel.says(0, [], session, "too early for another initiation")
    tunnel.poke("born current 1")
    tunnel.says(0, [], session, "after a step back")
    assert tunnel.pairs()["current"][1:3] == (0, 0), tunnel.pairs()


@suite.test("what comes late under the session before is received until that is 180 s old")
def _():
    tunnel = Tunnel()
    first = tunnel.begun_by_peer()
    second = tunnel.begun_by_peer()
    net.wait_until(lambda: "previous" in tunnel.pairs(), what="the second session")
    tunnel.poke(f"born previous {REJECT_AFTER - SLOW}")
    assert tunnel.delivers(first) and tunnel.delivers(second)
    tunnel.poke(f"born previous {REJECT_AFTER + 1}")
    tunnel.refuses(first, "rx_drop_key_expired")
    assert tunnel.delivers(second)


@suite.test("a session that its initiator did not confirm within 180 s can't be any more")
def _():
    tunnel = Tunnel()
    session = tunnel.talker.handshake(confirm=False)
    tunnel.poke(f"born next {REJECT_AFTER + 1}")
    tunnel.refuses(session, "rx_drop_key_expired")
    assert set(tunnel.pairs()) == {"next"}, tunnel.pairs()


@suite.test("540 s after the last session its keys, and the ones before, are erased")
def _():
    tunnel = Tunnel()
    tunnel.begun_by_peer()
    session = tunnel.begun_by_peer()
    net.wait_until(lambda: "previous" in tunnel.pairs(), what="the second session")
    numbers_of = {pair[0] for pair in tunnel.pairs().values()}
    tunnel.poke(f"pass {ERASE_AFTER - SLOW}")
    tunnel.refuses(session, "rx_drop_key_expired")
    assert {pair[0] for pair in tunnel.pairs().values()} == numbers_of, "erased too early"
    assert not messages_about(tunnel.dev, "destroyed")
    net.wait_until(lambda: not tunnel.pairs(), 2 * SLOW, "no keys any more")
    assert set(messages_about(tunnel.dev, "destroyed")) == numbers_of
    # Nobody knows them any more.
    tunnel.refuses(session, "rx_drop_no_key")
    tunnel.send()
    newer = tunnel.answer(tunnel.wait_for(wg.INITIATION))
    assert newer.decrypt(tunnel.wait_for(wg.DATA))[0] == 0


# --- numbers of messages ---

for by_device in (False, True):
    @suite.test("after 2^60 messages the sender begins a new session, whoever began the old one: "
                + ("it did" if by_device else "its peer did"))
    def _(by_device=by_device):
        tunnel = Tunnel()
        session = tunnel.session(by_device)
        tunnel.poke(f"sent current {REKEY_MESSAGES - 1}")
        tunnel.poke("pass 6")
        tunnel.says(0, [REKEY_MESSAGES - 1], session, "the last that is all right")
        initiation, = tunnel.says(1, [REKEY_MESSAGES], session, "one more")
        newer = tunnel.answer(initiation)
        tunnel.quiet(newer)
        # The first one was the keepalive that confirmed it.
        tunnel.says(0, [1], newer, "under the new key")


@suite.test("no message is sent with a counter of 2^64 - 2^13 - 1, and the key is done with")
def _():
    tunnel = Tunnel()
    session = tunnel.begun_by_peer()
    tunnel.poke(f"sent current {REJECT_MESSAGES - 2}")
    tunnel.poke("pass 6")
    initiation, = tunnel.says(1, [REJECT_MESSAGES - 2], session, "the last but one")
    tunnel.says(0, [REJECT_MESSAGES - 1], session, "the last")
    tunnel.says(0, [], session, "the first that is too much")
    assert tunnel.pairs()["current"][2:] == (0, 1), tunnel.pairs()
    # Receiving is another matter.
    assert tunnel.delivers(session)
    # Whatever the counter does.
    tunnel.poke("sent current 5")
    tunnel.says(0, [], session, "the counter has gone round")
    newer = tunnel.answer(initiation)
    for _ in range(2):
        newer.decrypt(tunnel.wait_for(wg.DATA))


def straddle(tunnel, session, segments, room):
    """A GSO packet of so many, where so many nonces are left.

    Returns the initiation, what came under the old key, and how many superpackets that was.
    """
    before = tunnel.count("tx_superpackets")
    tunnel.poke(f"sent current {REJECT_MESSAGES - room}")
    tunnel.poke("pass 6")
    tunnel.send(segments)
    initiations, data = tunnel.heard(1, segments if segments <= room else 0)
    assert len(initiations) == 1, initiations
    whole = tunnel.count("tx_superpackets") - before
    return initiations[0], [session.decrypt(message) for message in data], whole


def numbers_in(packets):
    return [struct.unpack_from(">I", packet, 28)[0] for packet in packets]


@suite.test("a superpacket for which nonces just suffice takes the last of them")
def _():
    tunnel = Tunnel()
    session = tunnel.begun_by_peer()
    _, got, whole = straddle(tunnel, session, 12, 12)
    assert whole == 1, "no superpacket"
    assert [counter for counter, _ in got] == list(range(REJECT_MESSAGES - 12, REJECT_MESSAGES))
    assert numbers_in(packet for _, packet in got) == list(range(12))
    tunnel.says(0, [], session, "one more")


for room in (11, 1, 0):
    @suite.test(f"a superpacket of 12 for which {room} nonces are left goes under the next key, whole")
    def _(room=room):
        tunnel = Tunnel()
        session = tunnel.begun_by_peer()
        initiation, got, _ = straddle(tunnel, session, 12, room)
        assert not got, got
        assert tunnel.pairs()["current"][2] == 0, tunnel.pairs()
        newer = tunnel.answer(initiation)
        got = [newer.decrypt(tunnel.wait_for(wg.DATA)) for _ in range(12)]
        assert [counter for counter, _ in got] == list(range(12))
        assert numbers_in(packet for _, packet in got) == list(range(12))


@suite.test("all CPUs at once run into the limit: no nonce beyond it, none twice")
def _():
    tunnel = Tunnel()
    session = tunnel.begun_by_peer()
    # All of it must fit: the reader is slow.
    tunnel.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    tunnel.poke(f"sent current {REJECT_MESSAGES - 3000}")
    gate = threading.Barrier(4)

    def sender(segments):
        gate.wait()
        for _ in range(4000 // segments):
            tunnel.send(segments)

    threads = [threading.Thread(target=sender, args=(n,)) for n in (40, 17, 3, 33)]
    for thread in threads:
        thread.start()
    counters = []
    while any(thread.is_alive() for thread in threads) or select.select([tunnel.sock], [], [], 0.5)[0]:
        if select.select([tunnel.sock], [], [], 0.1)[0]:
            message = tunnel.sock.recv(65536)
            if wg.message_type(message) == wg.DATA:
                counters.append(session.decrypt(message)[0])
    assert len(set(counters)) == len(counters), "a nonce was used twice"
    assert counters and max(counters) < REJECT_MESSAGES, max(counters)
    # Nothing is left out up to the superpacket that did not fit.
    assert max(counters) >= REJECT_MESSAGES - 40, REJECT_MESSAGES - max(counters)
    assert len(counters) == max(counters) - min(counters) + 1, len(counters)


# --- a copy of the machine ---

def fork_vm():
    try:
        poke("vmfork")
    except OSError as error:
        raise tap.Skip("this kernel knows nothing of copies of virtual machines") from error


@suite.test("a machine that was copied has forgotten all keys, and makes new ones at once")
def _():
    tunnels = [Tunnel(), Tunnel()]
    sessions = [tunnels[0].begun_by_peer(), tunnels[1].begun_by_device()]
    # One is in the midst of a handshake, too.
    tunnels[0].poke(f"born current {REJECT_AFTER + 1}")
    tunnels[0].poke("pass 6")
    tunnels[0].send()
    initiation = tunnels[0].wait_for(wg.INITIATION)
    known = [pair[0] for tunnel in tunnels for pair in tunnel.pairs().values()]
    assert len(known) == 2, known
    fork_vm()
    assert not any(tunnel.pairs() for tunnel in tunnels), [tunnel.pairs() for tunnel in tunnels]
    gone = [number for tunnel in tunnels for number in messages_about(tunnel.dev, "destroyed")]
    assert sorted(gone) == sorted(known), (gone, known)
    for tunnel, session in zip(tunnels, sessions):
        tunnel.refuses(session, "rx_drop_no_key")
    # The answer to what it began before comes too late.
    invalid = tunnels[0].count("handshake_drop_invalid")
    tunnels[0].answer(initiation)
    net.wait_until(lambda: tunnels[0].count("handshake_drop_invalid") > invalid, what="a refusal")
    assert not tunnels[0].pairs()
    for tunnel in tunnels:
        start = time.monotonic()
        tunnel.send()
        newer = tunnel.answer(tunnel.wait_for(wg.INITIATION))
        assert time.monotonic() - start < 3, "a pause of 5 s is for what had no answer"
        newer.decrypt(tunnel.wait_for(wg.DATA))
        assert tunnel.delivers(newer)
        assert tunnel.delivers(tunnel.begun_by_peer())


@suite.test("a machine that is copied while it sends never goes on with an old key")
def _():
    tunnel = Tunnel()
    session = tunnel.begun_by_peer()
    with net.Background(lambda: tunnel.send(10)):
        for _ in range(4):
            net.wait_until(lambda: tunnel.pairs()["current"][1] > 50, what="traffic")
            fork_vm()
            # For what was under way.
            time.sleep(0.1)
            net.drain(tunnel.sock)
            _, data = tunnel.heard(silence=0.3)
            assert not data, "a message under a key that should be gone"
            session = tunnel.begun_by_peer()
    assert session


# --- packets that the CPU can't read ---

def fragments_can_be_unreadable(tunnel):
    try:
        tunnel.poke("unreadable no")
    except OSError as error:
        raise tap.Skip("on this kernel the CPU can read all packets") from error


@suite.test("what the CPU can't read is dropped and counted, in and out; what it can is not")
def _():
    tunnel = Tunnel()
    session = tunnel.begun_by_peer()
    fragments_can_be_unreadable(tunnel)
    suite.defer(tunnel.poke, "unreadable no")
    tunnel.poke("unreadable in")
    tunnel.refuses(session, "rx_drop_unreadable")
    tunnel.poke("unreadable out")
    assert tunnel.delivers(session)
    before = tunnel.count("tx_drop_unreadable")
    tunnel.says(0, [], session, "unreadable")
    assert tunnel.count("tx_drop_unreadable") == before + 1
    tunnel.poke("unreadable no")
    tunnel.says(0, [0], session, "readable again")
    assert tunnel.delivers(session)


def load():
    """The module for this kernel, as `make -C tests/poke` made it."""
    if not net.OWN:
        print("1..0 # SKIP it knows the insides of our own module only")
        sys.exit()
    kernel = os.environ.get("WGTRUNK_KERNEL", "uml")
    file = os.path.join(HERE, f"../poke/bin/{kernel}/poke.ko")
    if not os.path.exists(file):
        sys.exit(f"{file} is missing: make -C tests/poke KERNELS={kernel}")
    net.sh(f"insmod {file}")


load()
try:
    suite.run_and_exit()
finally:
    ns.remove()
    net.sh("rmmod poke")
