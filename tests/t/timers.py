#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""Timers of a peer, section 6 of the paper, against the clock.

    scripts/vm --python 6.12 -- tests/t/timers.py [--long]

All devices run at the same time, each with a peer in Python that behaves in its
own way; what they send is noted with its time, and looked at afterwards. What
takes minutes (rekeying after 120 s, giving up after 90 s) is for --long.
"""

import os
import select
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
import net  # noqa: E402
import tap  # noqa: E402
import wgproto as wg  # noqa: E402

LONG = "--long" in sys.argv
sys.argv = [word for word in sys.argv if word != "--long"]
WATCH = 130 if LONG else 26
# An emulated machine may be late, never early. A jiffy is 4 ms.
LATE, EARLY = 1.5, 0.05

suite = tap.Suite()


class Case:
    """A device, the socket of its only peer, and what came there: (seconds, message)."""

    cases = []

    def __init__(self, name, keepalive=0):
        self.name = name
        self.dev = f"wg{len(Case.cases)}"
        self.addr = f"10.8.{len(Case.cases)}"
        self.private = wg.generate_private()
        self.public = wg.public_of(self.private)
        self.sock = ns.udp("127.0.0.1", timeout=10)
        peer_private = wg.generate_private()
        self.responder = wg.Responder(peer_private, {self.public: wg.ZERO})
        net.wireguard(ns, self.dev, self.private, addresses=[f"{self.addr}.1/24"])
        self.port = int(ns.run(f"wg show {self.dev} listen-port"))
        ns.run(f"wg set {self.dev} peer {net.b64(wg.public_of(peer_private))} "
               f"allowed-ips {self.addr}.2/32 endpoint 127.0.0.1:{self.sock.getsockname()[1]} "
               f"persistent-keepalive {keepalive}")
        self.talker = net.Talker(self.sock, ("127.0.0.1", self.port), self.public, peer_private)
        self.log, self.begun, self.session = [], 0, None
        self.on_message = lambda message: None
        Case.cases.append(self)

    def packet(self, size=40):
        """From the host into the tunnel."""
        with ns.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(bytes(size), (f"{self.addr}.2", 9))

    def from_peer(self):
        self.talker.send_packet(net.udp4(f"{self.addr}.2", f"{self.addr}.1", b"x"))

    def begin(self):
        self.begun = time.monotonic()

    def answer(self, message):
        """As responder, to an initiation of the device."""
        request = self.responder.consume_initiation(message)
        response, self.session = self.responder.create_response(request)
        self.talker.send(response)

    def note(self):
        message = self.sock.recv(65536)
        self.log.append((time.monotonic() - self.begun, message))
        self.on_message(message)

    def times(self, kind, empty=None):
        """When messages of a kind came; data: those with nothing in them, or those with something."""
        return [when for when, message in self.log if wg.message_type(message) == kind and
                (empty is None or (len(message) == 32) == empty)]


def near(value, want, more=0.0):
    return want - EARLY <= value <= want + more + LATE


def watch():
    """Runs all cases until the end of time."""
    end = time.monotonic() + WATCH
    while time.monotonic() < end:
        ready, _, _ = select.select(Case.cases_socks, [], [], 0.2)
        for sock in ready:
            Case.by_sock[sock].note()


ns = net.Namespace("timers")
suite.defer(ns.remove)

# No one is there: initiations only.
alone = Case("alone")
# A session by the peer's initiation; then one packet from the peer.
passive = Case("passive")
passive.talker.handshake()
# Somebody listens, or an ICMP error would be an answer.
sink = ns.udp(f"{passive.addr}.1", 2000)
# Same, then one packet to the peer, which never says anything any more.
deaf = Case("deaf")
deaf.talker.handshake()
# A session, and persistent keepalives.
alive = Case("alive", keepalive=3)
alive.talker.handshake()
# The device begins, the peer answers, data, too; for a rekey after two minutes of sending.
busy = Case("busy")


def answer_all(message):
    if wg.message_type(message) == wg.INITIATION:
        busy.answer(message)
    elif len(message) > 32:
        busy.talker.send(busy.session.encrypt())


busy.on_message = answer_all

Case.cases_socks = [case.sock for case in Case.cases]
Case.by_sock = {case.sock: case for case in Case.cases}
for each in Case.cases:
    # What the set-up left in the socket is not of interest.
    net.drain(each.sock)
    each.begin()
    each.sock.settimeout(10)
alone.packet()
passive.from_peer()
deaf.packet()
busy.packet()
if LONG:
    def keep_busy():
        busy.packet()
        time.sleep(1)
    with net.Background(keep_busy):
        watch()
else:
    watch()


@suite.test("an initiation without an answer is sent again every 5 s, with jitter up to 1/3 s")
def _():
    times = alone.times(wg.INITIATION)
    assert times and near(times[0], 0), times
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert len(gaps) >= 4, times
    assert all(near(gap, 5, 0.334) for gap in gaps), gaps


@suite.test("each of them is a new one")
def _():
    ephemerals = [m[8:40] for _, m in alone.log if wg.message_type(m) == wg.INITIATION]
    senders = [m[4:8] for _, m in alone.log if wg.message_type(m) == wg.INITIATION]
    assert len(set(ephemerals)) == len(ephemerals) and len(set(senders)) == len(senders)


@suite.test("data that nothing answers brings one keepalive, after 10 s")
def _():
    times = passive.times(wg.DATA, empty=True)
    assert len(times) == 1 and near(times[0], 10), times
    assert not passive.times(wg.INITIATION), passive.times(wg.INITIATION)


@suite.test("data that brings no answer at all brings a new handshake, after 15 s")
def _():
    sent = deaf.times(wg.DATA, empty=False)
    times = deaf.times(wg.INITIATION)
    assert len(sent) == 1 and times and near(times[0] - sent[0], 15, 0.334), (sent, times)


@suite.test("persistent keepalives come at their interval")
def _():
    times = alive.times(wg.DATA, empty=True)
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert len(gaps) >= 6 and all(near(gap, 3) for gap in gaps), gaps


@suite.test("a peer that answers gets no more initiations, and what was staged")
def _():
    times = busy.times(wg.INITIATION)
    assert near(times[0], 0), times
    assert LONG or len(times) == 1, times
    assert busy.times(wg.DATA, empty=False), busy.log


@suite.test("a session that we began is renewed after 120 s of use")
def _():
    if not LONG:
        raise tap.Skip("takes over two minutes: --long")
    times = busy.times(wg.INITIATION)
    assert len(times) == 2 and near(times[1], 120, 1), times


@suite.test("who does not answer for 90 s is given up")
def _():
    if not LONG:
        raise tap.Skip("takes over two minutes: --long")
    times = alone.times(wg.INITIATION)
    # The first, and 18 more at 5 s and the jitter.
    assert 19 <= len(times) <= 20 and times[-1] < 20 * 5.4 + LATE, times


suite.run_and_exit()
