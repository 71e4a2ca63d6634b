#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""Handshakes and sessions of a wireguard device, as seen by a peer written in Python.

    scripts/vm --python 6.12 -- tests/t/handshake.py [WORD...]

Both are in one namespace: the peer is a UDP socket on 127.0.0.1, and packets
for 10.9.0.2 go through the tunnel to it.
"""

import contextlib
import itertools
import json
import os
import signal
import socket
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
import net  # noqa: E402
import tap  # noqa: E402
import wgproto as wg  # noqa: E402

# How long to wait for an answer, and for there being none.
PATIENCE, SILENCE = 10, 0.5
OUR_IP, PEER_IP = "10.9.0.1", "10.9.0.2"
TIMESTAMP_GRAIN = 2**24
HANDSHAKE_TOS = 0x88

suite = tap.Suite()


class Clock:
    """Timestamps that only go up, however the guest's clock goes."""

    def __init__(self):
        self.last = time.time_ns()

    def next(self):
        self.last = max(self.last + 1, time.time_ns())
        return wg.tai64n(self.last)


class Rig:
    """A new device, and the socket of its only peer."""

    ns = None

    def __init__(self, psk=wg.ZERO, device_private=None, peer_private=None):
        self.device_private = device_private or wg.generate_private()
        self.peer_private = peer_private or wg.generate_private()
        self.device_public = wg.public_of(self.device_private)
        self.peer_public = wg.public_of(self.peer_private)
        self.psk, self.clock, self.pings = psk, Clock(), itertools.count(1)
        # All have the same namespace: to make one takes longer than most tests.
        Rig.ns = Rig.ns or net.Namespace("handshake")
        self.sock = self.udp()
        suite.defer(self.ns.run, "ip link del wg0")
        self.port = int(self.ns.run(f"""
            set -e
            read -r private; read -r psk
            ip link add wg0 type wireguard
            ip addr add {OUR_IP}/24 dev wg0
            wg set wg0 private-key <(echo $private) peer {net.b64(self.peer_public)} \\
                preshared-key <(echo $psk) allowed-ips {PEER_IP}/32 \\
                endpoint 127.0.0.1:{self.port_of(self.sock)}
            ip link set wg0 up
            wg show wg0 listen-port
        """, stdin=f"{net.b64(self.device_private)}\n{net.b64(psk)}\n"))
        self.initiator = wg.Initiator(self.peer_private, self.device_public, psk)
        self.responder = wg.Responder(self.peer_private, {self.device_public: psk})

    def udp(self, address="127.0.0.1"):
        sock = self.ns.udp(address, timeout=PATIENCE)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        suite.defer(sock.close)
        return sock

    @staticmethod
    def port_of(sock):
        return sock.getsockname()[1]

    def set_peer(self, options, **more):
        self.ns.run(f"wg set wg0 peer {net.b64(self.peer_public)} {options}", **more)

    def shown(self, what):
        """The peer's row of `wg show`, without the key."""
        return self.ns.wg("wg0", what)[0][1:]

    def send(self, message, sock=None):
        sock = sock or self.sock
        host = "::1" if sock.family == socket.AF_INET6 else "127.0.0.1"
        sock.sendto(message, (host, self.port))

    def poll(self, kind, sock=None, seconds=PATIENCE):
        """The next message of one type, or None; others, and keepalives, are left out."""
        end = time.monotonic() + seconds
        sock = sock or self.sock
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                message = sock.recv(65536)
            except socket.timeout:
                break
            if wg.message_type(message) == kind and len(message) != wg.DATA_MIN_LEN:
                return message
        return None

    def receive(self, kind, sock=None):
        message = self.poll(kind, sock)
        assert message, f"no message of type {kind} within {PATIENCE} s"
        return message

    def expect_none(self, kind, sock=None, why=""):
        message = self.poll(kind, sock, SILENCE)
        assert not message, f"an answer {why}: {message.hex()}"

    # --- we begin ---

    def initiation(self, **options):
        options.setdefault("timestamp", self.clock.next())
        # Two within 20 ms would be one too many.
        time.sleep(0.05)
        return self.initiator.create_initiation(**options)

    def establish(self, confirm=True):
        self.send(self.initiation())
        session = self.initiator.consume_response(self.receive(wg.RESPONSE))
        if confirm:
            self.send(session.encrypt())
        return session

    # --- the device begins ---

    def provoke(self):
        """Have the device want to send, through its own stack."""
        with contextlib.closing(self.ns.udp()) as sock:
            sock.sendto(b"provoked", (PEER_IP, 9))

    def provoked_initiation(self):
        self.provoke()
        return self.receive(wg.INITIATION)

    def answer(self, initiation, **options):
        return self.responder.create_response(self.responder.consume_initiation(initiation),
                                              **options)

    # --- packets ---

    def echo(self, session, reply_session=None, counter=None):
        """Sends a ping through the tunnel; returns the counter that its answer came with."""
        number = next(self.pings)
        self.send(session.encrypt(ping(number), counter))
        counter, packet = (reply_session or session).decrypt(self.receive(wg.DATA))
        assert len(packet) % 16 == 0, f"padded to {len(packet)}"
        assert parse_pong(packet) == number, packet.hex()
        return counter

    def expect_no_echo(self, session, *counters, why):
        for counter in counters or (None,):
            self.send(session.encrypt(ping(0), counter))
        self.expect_none(wg.DATA, why=why)

    def refused(self, *initiations, why):
        for initiation in initiations:
            self.send(initiation)
            # So that it is not refused for being the second within 20 ms.
            time.sleep(0.05)
        self.expect_none(wg.RESPONSE, why=why)


def ping(number):
    icmp = struct.pack(">BBHHH", 8, 0, 0, 0x1234, number) + b"abcdefg"
    icmp = icmp[:2] + struct.pack(">H", net.checksum(icmp)) + icmp[4:]
    return net.ip4(PEER_IP, OUR_IP, icmp, protocol=1)


def parse_pong(packet):
    """The number of an echo reply, None where it is none."""
    addresses = socket.inet_aton(OUR_IP) + socket.inet_aton(PEER_IP)
    length = struct.unpack_from(">H", packet, 2)[0]
    if packet[9] != 1 or packet[12:20] != addresses or packet[20] != 0:
        return None
    if packet[length:].strip(b"\0") or packet[28:length] != b"abcdefg":
        return None
    return struct.unpack_from(">H", packet, 26)[0]


def refuses(function, *args):
    try:
        function(*args)
    except wg.ProtocolError:
        return
    raise AssertionError(f"{function.__name__} accepted what it must not")


def replace(message, offset, piece):
    return message[:offset] + piece + message[offset + len(piece):]


def flip(message, offset):
    return replace(message, offset, bytes([message[offset] ^ 0x10]))


# --- the device as responder ---

for with_psk in (False, True):
    title = "with a psk" if with_psk else "without a psk"

    @suite.test(f"responder, {title}: every field of the response, then data both ways")
    def _(with_psk=with_psk):
        rig = Rig(os.urandom(32) if with_psk else wg.ZERO)
        rig.send(rig.initiation(index=0xfeedc0de))
        message = rig.receive(wg.RESPONSE)
        response = wg.Response.parse(message)
        assert response.receiver == 0xfeedc0de
        assert rig.initiator.reader.has_mac1(message)
        assert response.mac2 == bytes(16)
        session = rig.initiator.consume_response(message)
        assert rig.echo(session) == 0, "first counter of the responder"
        assert rig.echo(session) == 1
        assert time.time() - int(rig.shown("latest-handshakes")[0]) < 60

    @suite.test(f"initiator, {title}: every field of the initiation, then data both ways")
    def _(with_psk=with_psk):
        rig = Rig(os.urandom(32) if with_psk else wg.ZERO)
        before = time.time_ns()
        rig.provoke()
        rig.sock.settimeout(PATIENCE)
        message, control, _, source = rig.sock.recvmsg(65536, 64)
        assert source == ("127.0.0.1", rig.port)
        assert [c[2][0] for c in control if c[1] == socket.IP_TOS] == [HANDSHAKE_TOS]
        initiation = wg.Initiation.parse(message)
        assert initiation.mac2 == bytes(16)
        request = rig.responder.consume_initiation(message)
        assert request.static == rig.device_public
        seconds, nanoseconds = struct.unpack(">QI", request.timestamp)
        assert nanoseconds % TIMESTAMP_GRAIN == 0, nanoseconds
        when = (seconds - wg.TAI64_BASE) * 10**9 + nanoseconds
        assert before - 2 * TIMESTAMP_GRAIN < when < time.time_ns(), (before, when)

        response, session = rig.responder.create_response(request, index=0)
        rig.send(response)
        counter, packet = session.decrypt(rig.receive(wg.DATA))
        assert counter == 0 and b"provoked" in packet
        assert rig.echo(session) == 1


with open(os.path.join(HERE, "../noise/vectors.json"), encoding="ascii") as f:
    vectors = json.load(f)

for vector in vectors:
    @suite.test(f"responder: the fixed vector {vector['name']} is accepted")
    def _(vector=vector):
        v = {k: bytes.fromhex(t) for k, t in vector.items() if k != "name"}
        rig = Rig(v["psk"], v["responder_private"], v["initiator_private"])
        again = rig.initiation(index=0x01020304, ephemeral=v["initiator_ephemeral"],
                               timestamp=v["timestamp"])
        assert again == v["initiation"], again.hex()
        rig.send(v["initiation"])
        rig.echo(rig.initiator.consume_response(rig.receive(wg.RESPONSE)))


@suite.test("responder: any sender index will do")
def _():
    rig = Rig()
    for index in (0, 1, 0x80000000, 0xffffffff):
        rig.send(rig.initiation(index=index))
        rig.echo(rig.initiator.consume_response(rig.receive(wg.RESPONSE)))


@suite.test("responder: a replayed initiation is refused")
def _():
    rig = Rig()
    initiation = rig.initiation()
    rig.send(initiation)
    session = rig.initiator.consume_response(rig.receive(wg.RESPONSE))
    time.sleep(0.1)
    rig.refused(initiation, why="to a replayed initiation")
    rig.echo(session)


@suite.test("responder: a timestamp that is old or the same is refused, a newer one is not")
def _():
    rig = Rig()
    now = time.time_ns()
    rig.send(rig.initiation(timestamp=wg.tai64n(now)))
    rig.initiator.consume_response(rig.receive(wg.RESPONSE))
    rig.refused(*(rig.initiation(timestamp=wg.tai64n(now - older))
                  for older in (0, 1, 10**9, 3600 * 10**9, now)), why="to an old timestamp")
    rig.send(rig.initiation(timestamp=wg.tai64n(now + 1)))
    rig.echo(rig.initiator.consume_response(rig.receive(wg.RESPONSE)))


@suite.test("responder: of two initiations within 20 ms one is answered")
def _():
    rig = Rig()
    for _ in range(100):
        first, second = (rig.initiation() for _ in range(2))
        rig.send(first)
        rig.receive(wg.RESPONSE)
        rig.send(second)
        if not rig.poll(wg.RESPONSE, seconds=SILENCE):
            rig.establish()
            return
        # That may have been more than 20 ms: the guest is slow.
    raise AssertionError("both were answered, a hundred times")


@suite.test("responder: a wrong mac1 is refused")
def _():
    rig = Rig()
    initiation = rig.initiation()
    rig.refused(flip(initiation, 116), flip(initiation, 4),
                wg.MacWriter(rig.peer_public).stamp(initiation),
                initiation[:-32] + bytes(32), why="to a wrong mac1")
    rig.send(initiation)
    rig.receive(wg.RESPONSE)


@suite.test("responder: mac2 does not matter while there is no load")
def _():
    rig = Rig()
    rig.send(rig.initiation()[:-16] + os.urandom(16))
    rig.echo(rig.initiator.consume_response(rig.receive(wg.RESPONSE)))


@suite.test("responder: a stranger is refused")
def _():
    rig = Rig()
    stranger = wg.Initiator(wg.generate_private(), rig.device_public)
    rig.refused(stranger.create_initiation(), why="to a stranger")
    rig.establish()


@suite.test("responder: one who knows another public key of ours is refused")
def _():
    rig = Rig()
    rig.initiator.remote_public = wg.public_of(wg.generate_private())
    rig.refused(rig.initiation(), why="to an initiation for another key, under our mac1")


@suite.test("responder: an initiation with any part changed is refused, and changes nothing")
def _():
    rig = Rig()
    session = rig.establish()
    initiation = rig.initiation()
    stamp = rig.initiator.macs.stamp
    rig.refused(*(stamp(flip(initiation, offset))
                  for offset in (1, 3, 8, 30, 39, 40, 71, 87, 88, 99, 115)),
                why="to a flipped bit")
    rig.refused(*(stamp(replace(initiation, 8, point))
                  for point in (bytes(32), b"\1" + bytes(31))),
                why="to an ephemeral key of low order")
    rig.echo(session)
    # Its own timestamp is as good as ever: none of those above was remembered.
    rig.send(initiation)
    rig.echo(rig.initiator.consume_response(rig.receive(wg.RESPONSE)))


@suite.test("responder: a static key of low order is refused")
def _():
    rig = Rig()
    # For `wg` it is a key as any other, but there is no secret with it.
    point = bytes(32)
    rig.ns.run(f"wg set wg0 peer {net.b64(point)} allowed-ips 10.9.0.3/32")
    transcript = wg.Transcript(rig.device_public)
    ephemeral = wg.generate_private()
    transcript.mix_ephemeral(wg.public_of(ephemeral))
    transcript.mix_key(wg.dh(ephemeral, rig.device_public))
    sealed_static = transcript.seal(point)
    transcript.mix_key(bytes(32))
    message = wg.Initiation.build(1, wg.public_of(ephemeral), sealed_static,
                                  transcript.seal(wg.tai64n()), bytes(16), bytes(16))
    rig.refused(rig.initiator.macs.stamp(message), why="to a static key of low order")


@suite.test("responder: lengths other than 148 are refused")
def _():
    rig = Rig()
    initiation = rig.initiation()
    lengths = (0, 1, 3, 4, 16, 31, 32, 92, 116, 132, 147, 149, 164, 1400)
    cut = [(initiation + bytes(1400))[:length] for length in lengths]
    rig.refused(*cut, why="to another length")
    rig.refused(*(rig.initiator.macs.stamp(c) for c in cut if len(c) >= 36),
                why="to another length under its own mac1")
    rig.send(initiation)
    rig.receive(wg.RESPONSE)


@suite.test("responder: another psk gives other keys")
def _():
    rig = Rig(os.urandom(32))
    rig.initiator.psk = os.urandom(32)
    rig.send(rig.initiation())
    refuses(rig.initiator.consume_response, rig.receive(wg.RESPONSE))


@suite.test("responder: a psk changed meanwhile holds from the next handshake on")
def _():
    rig = Rig()
    session = rig.establish()
    psk = os.urandom(32)
    rig.set_peer("preshared-key /dev/stdin", stdin=net.b64(psk))
    rig.echo(session)
    rig.send(rig.initiation())
    refuses(rig.initiator.consume_response, rig.receive(wg.RESPONSE))
    rig.initiator.psk = psk
    rig.echo(rig.establish())


# --- the device as initiator ---

@suite.test("initiator: a response with any part changed is refused, the right one still taken")
def _():
    rig = Rig()
    response, session = rig.answer(rig.provoked_initiation())
    macs = rig.responder.macs[rig.device_public]
    for offset in (1, 8, 12, 20, 43, 44, 59):
        rig.send(macs.stamp(flip(response, offset)))
    for point in (bytes(32), b"\1" + bytes(31)):
        rig.send(macs.stamp(replace(response, 12, point)))
    rig.send(flip(response, 60))
    for length in (12, 60, 91, 93, 148):
        rig.send((response + bytes(64))[:length])
    rig.expect_none(wg.DATA, why="to a broken response")
    assert rig.shown("latest-handshakes") == ["0"]
    rig.send(response)
    assert b"provoked" in session.decrypt(rig.receive(wg.DATA))[1]


@suite.test("initiator: a response under another psk is refused")
def _():
    rig = Rig(os.urandom(32))
    rig.responder.psks[rig.device_public] = os.urandom(32)
    response, _ = rig.answer(rig.provoked_initiation())
    rig.send(response)
    rig.expect_none(wg.DATA, why="under another psk")


@suite.test("initiator: a response is taken once")
def _():
    rig = Rig()
    response, session = rig.answer(rig.provoked_initiation())
    rig.send(response)
    rig.receive(wg.DATA)
    for _ in range(3):
        rig.send(response)
    rig.expect_none(wg.DATA, why="to a response that came again")
    assert rig.echo(session) == 1


@suite.test("initiator: a response to another index, to a session, or to no initiation is refused")
def _():
    rig = Rig()
    initiation = rig.provoked_initiation()
    macs = rig.responder.macs[rig.device_public]
    request = rig.responder.consume_initiation(initiation)
    response, session = rig.responder.create_response(request)
    rig.send(macs.stamp(replace(response, 8, struct.pack("<I", request.sender ^ 1))))
    rig.expect_none(wg.DATA, why="to a response for another index")
    rig.send(response)
    rig.receive(wg.DATA)
    # The index is that of a session by now. And this one is ours, not a handshake of the device's.
    rig.send(rig.answer(initiation)[0])
    newer = rig.establish()
    rig.send(rig.answer(initiation)[0])
    forged = replace(response, 8, struct.pack("<I", newer.remote_index))
    rig.send(macs.stamp(forged))
    rig.expect_none(wg.DATA, why="to a response for a session")
    assert rig.echo(session, newer) == 0
    rig.echo(newer)


@suite.test("initiator: tries again after 5 s, all anew, and the first response comes too late")
def _():
    rig = Rig()
    first = rig.provoked_initiation()
    start = time.monotonic()
    second = rig.receive(wg.INITIATION)
    waited = time.monotonic() - start
    assert 4.5 < waited < 7.5, waited
    one, two = wg.Initiation.parse(first), wg.Initiation.parse(second)
    assert one.sender != two.sender and one.ephemeral != two.ephemeral
    requests = [rig.responder.consume_initiation(m) for m in (first, second)]
    assert requests[0].timestamp < requests[1].timestamp
    rig.send(rig.responder.create_response(requests[0])[0])
    rig.expect_none(wg.DATA, why="to a late response")
    response, session = rig.responder.create_response(requests[1])
    rig.send(response)
    rig.receive(wg.DATA)
    rig.echo(session)


@suite.test("initiator: a cookie goes into the next mac2, unless it is broken")
def _():
    rig = Rig()
    here = ("127.0.0.1", rig.port)
    reader = rig.responder.reader
    first = rig.provoked_initiation()
    good = reader.create_cookie_reply(first, here)
    rig.send(flip(good, 40))
    rig.send(flip(good, 10))
    rig.send(reader.create_cookie_reply(replace(first, 120, b"????"), here))
    rig.send(good[:-1])
    rig.send(good + b"\0")
    second = rig.receive(wg.INITIATION)
    assert second[-16:] == bytes(16), "a broken cookie was used"
    # A cookie for a message that is no longer the last is of no use, either.
    rig.send(good)
    rig.send(reader.create_cookie_reply(second, here))
    rig.send(wg.MacReader(rig.peer_public).create_cookie_reply(second, here))
    third = rig.receive(wg.INITIATION)
    assert reader.has_mac1(third)
    assert reader.has_mac2(third, here), "the cookie was not used"
    response, session = rig.answer(third)
    rig.send(response)
    assert b"provoked" in session.decrypt(rig.receive(wg.DATA))[1]
    # Responses carry it, too.
    rig.send(rig.initiation())
    message = rig.receive(wg.RESPONSE)
    assert reader.has_mac2(message, here)
    rig.echo(rig.initiator.consume_response(message))


@suite.test("initiator: its own initiation is forgotten for one that comes in")
def _():
    rig = Rig()
    initiation = rig.provoked_initiation()
    session = rig.establish()
    assert b"provoked" in session.decrypt(rig.receive(wg.DATA))[1]
    rig.send(rig.answer(initiation)[0])
    rig.expect_none(wg.DATA, why="to a response that nobody waits for")
    assert rig.echo(session) == 1


# --- under load ---

@contextlib.contextmanager
def cpus_to_ourselves():
    """No work queue gets to run meanwhile, so that what is sent to it piles up."""
    cpus = sorted(os.sched_getaffinity(0))
    children = [spin_on(cpu) for cpu in cpus[1:]]
    os.sched_setaffinity(0, cpus[:1])
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, cpus)
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def spin_on(cpu):
    """A child that takes all the time of one CPU; it does when this returns."""
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        os.sched_setaffinity(0, [cpu])
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.write(tell, b".")
        # Never for long, whatever becomes of the parent.
        end = time.monotonic() + 5
        while time.monotonic() < end:
            pass
        os._exit(0)
    os.close(tell)
    os.read(ready, 1)
    os.close(ready)
    return child


class Flood:
    """Makes a device busy: initiations whose mac1 is right, and nothing else."""

    BATCH = 60

    def __init__(self, rig):
        self.rig, self.sock = rig, rig.udp()
        self.macs = wg.MacWriter(rig.device_public)
        self.batch = b"".join(self.rubbish() for _ in range(self.BATCH))
        # UDP_SEGMENT: one call, many datagrams
        self.sock.setsockopt(socket.IPPROTO_UDP, 103, wg.INITIATION_LEN)

    def rubbish(self, cookie=None):
        self.macs.cookie = cookie
        return self.macs.stamp(wg.Initiation.build(0xf100d, os.urandom(32), bytes(48), bytes(28),
                                                   bytes(16), bytes(16)))

    def pour(self, batches=20):
        for _ in range(batches):
            self.rig.send(self.batch, self.sock)

    def cookie_reply(self, initiation, sock=None):
        """What @initiation is answered with while the device is busy."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with cpus_to_ourselves():
                self.pour()
                self.rig.send(initiation, sock)
            reply = self.rig.poll(wg.COOKIE_REPLY, sock, 0.5)
            if reply:
                return reply
        raise AssertionError("no cookie reply in a minute of flood")

    def cookie(self, sock):
        """For the address of @sock."""
        writer = wg.MacWriter(self.rig.device_public)
        reply = self.cookie_reply(writer.stamp(self.rubbish()), sock)
        writer.consume_cookie_reply(reply)
        return writer.cookie

    def settle(self):
        """Counters, once all that was sent has been looked at."""
        def settled():
            c = self.rig.ns.counters("wg0")
            done = sum(v for k, v in c.items() if k.startswith("handshake_drop_"))
            return c if c["handshake_rx"] == done + c["handshake_cookie_sent"] else None
        return net.wait_until(settled, 60, "the flood to be over")

    def refused_by_rate(self, *messages):
        """Sends (socket, message) pairs, cookies and all, while the device is busy.

        Returns how many of them were refused for their rate, and how long it all took.
        """
        for _ in range(5):
            before, start = self.settle(), time.monotonic()
            with cpus_to_ourselves():
                self.pour()
                for sock, message in messages:
                    self.rig.send(message, sock)
                self.pour(5)
            after = self.settle()
            took = time.monotonic() - start
            new = {name: after[name] - before[name] for name in after}
            refused = new["handshake_drop_rate_limited"]
            # The first of the flood may find nobody busy and are invalid then: some, not as many
            # as the last, who have no cookies and get one each if it is still busy.
            early = new["handshake_drop_invalid"] - (len(messages) - refused)
            if early < 5 * self.BATCH:
                return refused, took
            time.sleep(1)
        raise AssertionError(f"the device would not stay busy: {new}")


@suite.test("under load: a cookie reply, which opens and whose cookie is accepted")
def _():
    rig = Rig()
    flood = Flood(rig)
    reply = flood.cookie_reply(rig.initiation())
    fields = wg.CookieReply.parse(reply)
    assert fields.receiver == rig.initiator.index
    assert rig.initiator.macs.consume_cookie_reply(reply) == rig.initiator.index
    net.drain(rig.sock)

    def accepted():
        with cpus_to_ourselves():
            flood.pour()
            rig.send(rig.initiation())
        return rig.poll(wg.RESPONSE, seconds=1)
    message = net.wait_until(accepted, 60, "a response to an initiation with a cookie")
    rig.initiator.consume_response(message)


@suite.test("under load: a cookie is for one address and port")
def _():
    rig = Rig()
    flood = Flood(rig)
    cookies = [flood.cookie(sock) for sock in (rig.sock, rig.udp(), rig.sock)]
    assert cookies[0] == cookies[2], "the cookie changed within seconds"
    assert cookies[0] != cookies[1], "the cookie is that of another port"


@suite.test("under load: 5 at once and 20 in a second from one IPv4 address, others unharmed")
def _():
    rig = Rig()
    if not rig.ns.counters("wg0"):
        raise tap.Skip("this module does not count")
    flood = Flood(rig)
    cookie = flood.cookie(rig.sock)
    sent = [(rig.sock, flood.rubbish(cookie)) for _ in range(200)]
    refused, took = flood.refused_by_rate(*sent)
    assert 5 <= len(sent) - refused <= 6 + 20 * took, (refused, took)
    # A bucket that was left alone for so long is gone, or full.
    time.sleep(2.5)
    refused, took = flood.refused_by_rate(*sent[:5])
    assert refused == 0, (refused, took)
    # Another port is the same source, another address is not.
    second, third = rig.udp(), rig.udp("127.0.0.2")
    cookies = {sock: flood.cookie(sock) for sock in (second, third)}
    time.sleep(1)
    refused, took = flood.refused_by_rate(
        *((third, flood.rubbish(cookies[third])) for _ in range(5)),
        *sent[:100], *((second, flood.rubbish(cookies[second])) for _ in range(100)))
    assert 10 <= 205 - refused <= 5 + 6 + 20 * took, (refused, took)


@suite.test("under load: the same from an IPv6 /64, others unharmed")
def _():
    rig = Rig()
    if not rig.ns.counters("wg0"):
        raise tap.Skip("this module does not count")
    flood = Flood(rig)
    same = [f"2001:db8:1:1:{i}::1" for i in range(1, 13)]
    others = [f"2001:db8:1:{i}::1" for i in range(2, 5)]
    rig.ns.ip(*(f"address add {a}/128 dev lo nodad" for a in same + others))

    def five_each(addresses):
        for address in addresses:
            sock = rig.udp(address)
            cookie = flood.cookie(sock)
            yield from [(sock, flood.rubbish(cookie)) for _ in range(5)]

    sent = list(five_each(same))
    time.sleep(1)
    refused, took = flood.refused_by_rate(*sent)
    assert 5 <= len(sent) - refused <= 6 + 20 * took and refused, (refused, took)
    refused, took = flood.refused_by_rate(*five_each(others))
    assert refused == 0, (refused, took)


# --- sessions ---

@suite.test("session: a counter is accepted once, in any order, 8000 back, no further than 8192")
def _():
    rig = Rig()
    session = rig.establish(confirm=False)
    for counter in (5, 3, 4, 0, 10000, 9999, 2000, 10001, 100000, 92000, 99999):
        rig.echo(session, counter=counter)
    rig.expect_no_echo(session, 5, 10000, 100000, 92000, 99999, 1, 10001, why="to a replay")
    rig.expect_no_echo(session, 100000 - 8192, 100000 - 10000, 6, why="to what is too old")
    rig.echo(session, counter=100001)


@suite.test("session: counters up to 2^64 - 2^13 - 2 are accepted")
def _():
    rig = Rig()
    session = rig.establish()
    last = wg.REJECT_AFTER_MESSAGES - 1
    # The in-tree module is a word of its window more generous.
    rig.expect_no_echo(session, 2**64 - 1, 2**64 - 8128, why="to the highest counters")
    if net.OWN:
        rig.expect_no_echo(session, last + 1, why="to the first that is too high")
    rig.echo(session)
    rig.echo(session, counter=last)
    rig.expect_no_echo(session, last, why="to the last one again")
    rig.echo(session, counter=last - 8000)


@suite.test("session: broken data is dropped and the endpoint stays")
def _():
    rig = Rig()
    session = rig.establish()
    rig.echo(session)
    endpoint = rig.shown("endpoints")
    elsewhere = rig.udp()
    good = session.encrypt(ping(7))
    for offset in (1, 4, 8, 16, 30, len(good) - 1):
        rig.send(flip(good, offset), elsewhere)
    for length in (16, 31, len(good) - 1):
        rig.send(good[:length], elsewhere)
    rig.send(good + b"\0", elsewhere)
    rig.expect_none(wg.DATA, elsewhere, "to broken data")
    rig.expect_none(wg.DATA, why="to broken data")
    assert rig.shown("endpoints") == endpoint
    # None of that used the counter up. The same from elsewhere is roaming.
    rig.send(good, elsewhere)
    assert parse_pong(session.decrypt(rig.receive(wg.DATA, elsewhere))[1]) == 7
    assert rig.shown("endpoints") == [f"127.0.0.1:{rig.port_of(elsewhere)}"]


@suite.test("session: the responder sends under a new one only when it is confirmed")
def _():
    rig = Rig()
    old = rig.establish()
    rig.echo(old)
    new = rig.establish(confirm=False)
    assert rig.echo(old) == 1
    rig.provoke()
    assert b"provoked" in old.decrypt(rig.receive(wg.DATA))[1]
    assert rig.echo(new) == 0
    assert rig.echo(old, new) == 1, "the old one still receives"


@suite.test("session: one that is two back is gone, and so is one never confirmed")
def _():
    rig = Rig()
    first = rig.establish()
    rig.echo(first)
    second = rig.establish()
    rig.echo(second)
    third = rig.establish(confirm=False)
    rig.expect_no_echo(first, why="under the previous session, once there is a next")
    rig.echo(second)
    fourth = rig.establish(confirm=False)
    rig.expect_no_echo(third, why="under a session that another took the place of")
    rig.echo(fourth)
    rig.echo(second, fourth)


@suite.test("session: made as initiator it is used at once, and the one before still receives")
def _():
    rig = Rig()
    old = rig.establish()
    rig.echo(old)
    # While it has a session the device begins none for 2 minutes.
    rig.ns.ip("link set wg0 down", "link set wg0 up")
    rig.expect_no_echo(old, why="after the interface was down")
    one = rig.answer(rig.provoked_initiation())
    rig.send(one[0])
    rig.receive(wg.DATA)
    rig.echo(one[1])
    two = rig.establish()
    rig.echo(two)
    rig.echo(one[1], two)


@suite.test("session: gone with a removed peer, and with a new private key")
def _():
    rig = Rig()
    session = rig.establish()
    rig.echo(session)
    rig.ns.run("wg set wg0 private-key /dev/stdin", stdin=net.b64(wg.generate_private()))
    rig.refused(rig.initiation(), why="with the key that was")
    rig.ns.run("wg set wg0 private-key /dev/stdin", stdin=net.b64(rig.device_private))
    session = rig.establish()
    rig.echo(session)
    rig.set_peer("remove")
    rig.expect_no_echo(session, why="under a session of a removed peer")
    rig.refused(rig.initiation(), why="to a removed peer")


@suite.test("session: a device without a private key neither begins nor answers")
def _():
    rig = Rig()
    rig.ns.run("wg set wg0 private-key /dev/stdin", stdin=net.b64(wg.ZERO))
    rig.provoke()
    rig.expect_none(wg.INITIATION, why="without a key")
    rig.refused(rig.initiation(), why="without a key")
    zero_mac1 = wg.MacWriter(b"")
    zero_mac1.mac1_key = wg.ZERO
    rig.refused(zero_mac1.stamp(rig.initiation()), why="without a key, under a mac1 of zero")


@suite.test("session: data for indices that do not exist is dropped")
def _():
    rig = Rig()
    session = rig.establish()
    for index in itertools.chain(range(16), (session.remote_index ^ 1, 0xffffffff)):
        rig.send(session.encrypt(ping(1), receiver=index))
    rig.expect_none(wg.DATA, why="to data for nobody")
    rig.echo(session)


try:
    suite.run_and_exit()
finally:
    if Rig.ns:
        Rig.ns.remove()
