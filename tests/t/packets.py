#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""What arrives at a tunnel, good and bad, byte for byte, and what leaves it.

A peer written in Python talks to a device in another namespace. Whatever is
refused must be counted where it should be, and leave no trace otherwise: no
packet on the device, no endpoint moved.
"""

import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import wgproto
from net import (OWN, Namespace, Talker, drain, ip4, udp4, udp6, veth, wait_until, wireguard)
from tap import Suite

PORT = 51820
HOST4, HOST6 = "192.168.1.1", "fd01::1"
OWN4, OWN6 = "10.0.0.1", "fd00::1"	# of the tunnel
MTU = 1420
PACKET_OUTGOING = 4
# The in-tree module's is a little more than the paper's.
REJECT_AFTER_MESSAGES = wgproto.REJECT_AFTER_MESSAGES if OWN else 2**64 - 8130

suite = Suite()
rng = random.Random(4)

host, world = Namespace("host"), Namespace("world")
private = wgproto.generate_private()
public = wgproto.public_of(private)


def set_up():
    veth(host, world)
    host.ip(f"address add {HOST4}/24 dev eth0", f"address add {HOST6}/64 dev eth0",
            "address add 192.168.1.11/24 dev eth0")
    world.ip("address add 192.168.1.2/24 dev eth0", "address add 192.168.1.3/24 dev eth0",
             "address add fd01::2/64 dev eth0")
    wireguard(host, "wg0", private, PORT, (f"{OWN4}/24", f"{OWN6}/64"), MTU)


def peer(number):
    """A peer with addresses ending in @number, with a session."""
    talker = Talker(world.udp("192.168.1.2"), (HOST4, PORT), public)
    talker.ip4, talker.ip6 = f"10.0.0.{number}", f"fd00::{number:x}"
    host.run(f"wg set wg0 peer {wgproto_b64(talker)} allowed-ips {talker.ip4}/32,{talker.ip6}/128")
    talker.handshake()
    return talker


def wgproto_b64(talker):
    import base64
    return base64.b64encode(talker.public).decode()


def endpoint_of(talker):
    return dict(host.wg("wg0", "endpoints"))[wgproto_b64(talker)]


def packet(payload=b"something", source=None, **options):
    return udp4(source or main.ip4, OWN4, payload, **options)


# What moves to another CPU may overtake what it sent before.
os.sched_setaffinity(0, {0})
set_up()
main, fence = peer(2), peer(3)
sink = host.udp(OWN4, 2000)
sink6 = host.udp(OWN6, 2000)
sniffer = host.sniffer("wg0")
stranger = world.udp("192.168.1.3")


def arrived_on_device():
    """Packets that the device delivered since the last look, raw."""
    got = []
    sniffer.settimeout(0)
    try:
        while True:
            data, address = sniffer.recvfrom(65536)
            if address[2] != PACKET_OUTGOING:
                got.append(data)
    except BlockingIOError:
        pass
    return got


def settle():
    """All that was sent until now has been worked on: a packet of another peer's came through."""
    mark = os.urandom(16)
    if time.monotonic() - fence.session_born > 100:
        fence.handshake()
    fence.send_packet(udp4(fence.ip4, OWN4, mark))
    while sink.recv(65536) != mark:
        pass
    if not OWN:
        time.sleep(0.1)


def forget():
    settle()
    drain(sink)
    drain(sink6)
    arrived_on_device()


def is_mark(data):
    return data[12:16] == socket.inet_aton(fence.ip4)


def errors():
    rx = host.statistics("wg0")["rx"]
    return rx["errors"] + rx["dropped"]


def refused(messages, counter, how_many=None, sock=None, on_device=False):
    """Sends messages that must be refused and counted; all of them as @counter."""
    messages = list(messages)
    expected = len(messages) if how_many is None else how_many
    assert messages
    forget()
    before, before_errors, endpoint = host.counters("wg0"), errors(), endpoint_of(main)
    for message in messages:
        main.send(message, sock or stranger)
    settle()
    if OWN and counter:
        wait_until(lambda: host.counters("wg0")[counter] - before[counter] >= expected, 5, counter)
        after = host.counters("wg0")
        got = after[counter] - before[counter]
        assert got == expected, f"{counter}: {got}, not {expected}"
        for name in after:
            if name.startswith("rx_drop_") and name != counter:
                assert after[name] == before[name], f"{name} counted, too"
        got = errors() - before_errors
        assert got == expected, f"{got} errors and drops of the device, not {expected}"
    assert endpoint_of(main) == endpoint, "the endpoint moved"
    delivered = [d for d in arrived_on_device() if not is_mark(d)]
    if not on_device:
        assert not delivered, f"{len(delivered)} packets on the device, first {delivered[0].hex()}"
    assert not [d for d in drain(sink) if len(d) != 16], "a socket got something"
    assert not drain(sink6), "an IPv6 socket got something"
    works()


def works():
    """The session is as good as before."""
    payload = os.urandom(20)
    main.send_packet(packet(payload))
    got = sink.recv(65536)
    assert got == payload, "the session does not work any more"


def flip(message, bit):
    return message[:bit // 8] + bytes([message[bit // 8] ^ 1 << bit % 8]) + message[bit // 8 + 1:]


# --- what is no message ---

@suite.test("data messages cut to less than 32 bytes")
def _():
    message = main.session.encrypt()
    refused((message[:n] for n in range(32)), "rx_drop_malformed")


@suite.test("handshake messages of wrong lengths")
def _():
    lengths = {1: 148, 2: 92, 3: 64}
    refused((struct.pack("<I", kind) + rng.randbytes(n - 4)
             for kind, right in lengths.items()
             for n in (4, 5, 12, right - 1, right + 1, right + 16, 1400)), "rx_drop_malformed")


@suite.test("unknown types and reserved bytes that are not zero")
def _():
    kinds = [0, 5, 6, 7, 8, 255, 0x80000004] + [4 | 1 << n for n in range(8, 32)] + \
        [1 | 1 << n for n in range(8, 32)]
    refused((struct.pack("<I", kind) + rng.randbytes(144) for kind in kinds), "rx_drop_malformed")


@suite.test("garbage that is no WireGuard at all")
def _():
    dns = bytes.fromhex("123401000001000000000000076578616d706c6503636f6d0000010001")
    quic = bytes.fromhex("c300000001088394c8f03e515704") + rng.randbytes(1186)
    stun = bytes.fromhex("000100002112a442") + rng.randbytes(12)
    noise = [bytes([rng.randrange(5, 256)]) + rng.randbytes(n) for n in range(0, 1472, 37)]
    refused([dns, quic, stun, *noise], "rx_drop_malformed")


@suite.test("handshake messages of right lengths with a wrong mac1")
def _():
    before = host.counters("wg0")
    messages = [struct.pack("<I", kind) + rng.randbytes(n - 4) for kind, n in ((1, 148), (2, 92))
                for _ in range(20)]
    refused(messages, None)
    if OWN:
        wait_until(lambda: host.counters("wg0")["handshake_drop_bad_mac"] -
                   before["handshake_drop_bad_mac"] == 40, 5, "handshake_drop_bad_mac")


@suite.test("responses and cookie replies that answer nothing")
def _():
    before = host.counters("wg0")
    macs = wgproto.MacWriter(public)
    responses = [macs.stamp(wgproto.Response.build(7, rng.getrandbits(32), *(
        rng.randbytes(n) for n in (32, 16, 16, 16)))) for _ in range(10)]
    cookies = [wgproto.CookieReply.build(rng.getrandbits(32), rng.randbytes(24), rng.randbytes(32))
               for _ in range(10)]
    refused(responses + cookies, None)
    if OWN:
        wait_until(lambda: host.counters("wg0")["handshake_drop_invalid"] -
                   before["handshake_drop_invalid"] >= 10, 5, "handshake_drop_invalid")


# --- data that is not authentic ---

@suite.test("data for a receiver that nobody is")
def _():
    refused((main.session.encrypt(packet(), receiver=rng.getrandbits(32)) for _ in range(200)),
            "rx_drop_no_key")


@suite.test("each bit of the header flipped")
def _():
    message = main.session.encrypt(packet())
    refused((flip(message, n) for n in range(32)), "rx_drop_malformed")
    refused((flip(message, n) for n in range(32, 64)), "rx_drop_no_key")
    refused((flip(message, n) for n in range(64, 128)), "rx_drop_bad_tag")


@suite.test("a bit of each byte of the packet and its tag flipped")
def _():
    message = main.session.encrypt(packet(rng.randbytes(64)))
    refused((flip(message, 8 * n + rng.randrange(8)) for n in range(16, len(message))),
            "rx_drop_bad_tag")


@suite.test("data that was cut, or has more at its end")
def _():
    message = main.session.encrypt(packet(rng.randbytes(500)))
    shorter = [message[:n] for n in range(32, len(message), 7)]
    longer = [message + rng.randbytes(n) for n in (1, 15, 16, 17, 700)]
    refused(shorter + longer + [message[:16] + bytes(n) for n in (16, 32, 1400)], "rx_drop_bad_tag")


@suite.test("data sealed with a key of another session or direction")
def _():
    index = main.session.remote_index
    theirs = fence.session.encrypt(packet(), counter=5, receiver=index)
    mirrored = main.session.encrypt(counter=6)[:16] + \
        wgproto.seal(main.session.recv_key, 6, packet())
    refused([theirs, mirrored], "rx_drop_bad_tag")


@suite.test("a large datagram in fragments that is not authentic")
def _():
    message = main.session.encrypt(packet(rng.randbytes(8000)))
    refused([flip(message, 8 * n) for n in (20, 1479, 1480, 1481, 5000, len(message) - 1)],
            "rx_drop_bad_tag")


@suite.test("a UDP header that claims less than there is")
def _():
    message = main.session.encrypt(packet(rng.randbytes(100)))
    raw = world.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)

    def send(length):
        udp = struct.pack(">HHHH", 4000, PORT, 8 + length, 0)
        raw.sendto(udp + message, (HOST4, 0))

    forget()
    before, endpoint = host.counters("wg0"), endpoint_of(main)
    lengths = [0, 3, 4, 15, 31, 32, 47, 64, len(message) - 1]
    for length in lengths:
        send(length)
    settle()
    if OWN:
        after = host.counters("wg0")
        got = {name: after[name] - before[name] for name in after
               if name.startswith("rx_drop_") and after[name] != before[name]}
        short = sum(length < 32 for length in lengths)
        assert got == {"rx_drop_malformed": short, "rx_drop_bad_tag": len(lengths) - short}, got
    assert endpoint_of(main) == endpoint
    assert not [d for d in arrived_on_device() if not is_mark(d)]
    raw.close()


# --- replays ---

@suite.test("replays of one message, at once and later")
def _():
    message = main.session.encrypt(packet())
    main.send(message)
    sink.recv(65536)
    refused([message] * 50, "rx_drop_replay")
    for _ in range(100):
        main.send_packet(packet(b"x" * 16))
    refused([message] * 3, "rx_drop_replay")


@suite.test("replayed keepalives")
def _():
    message = main.session.encrypt()
    main.send(message)
    refused([message] * 10, "rx_drop_replay")


class Window:
    """What must, and what must not be accepted. Between both reaches either is right."""

    MUST, MAY = 8000, 8192

    def __init__(self):
        self.seen, self.top = set(), -1

    def expects(self, counter):
        if counter in self.seen or counter >= REJECT_AFTER_MESSAGES:
            return False
        if self.top - counter > self.MAY:
            return False
        return True if self.top - counter <= self.MUST else None

    def accepted(self, counter):
        self.seen.add(counter)
        self.top = max(self.top, counter)


def fresh_window():
    """A new session now, and another one after the test."""
    main.handshake()
    suite.defer(main.handshake)
    window = Window()
    window.accepted(0)  # the keepalive that confirmed it
    return window


def replay_round(window, counters):
    """Sends messages under these counters, compares what arrives with the window."""
    drain(sink)
    for n, counter in enumerate(counters):
        main.send_packet(packet(struct.pack("<I", n)), counter=counter)
    end = max([window.top] + [c for c in counters if c < REJECT_AFTER_MESSAGES]) + 1
    main.send_packet(packet(b"end"), counter=end)
    got = []
    while True:
        data = sink.recv(65536)
        if data == b"end":
            break
        got.append(struct.unpack("<I", data)[0])
    assert got == sorted(got), "delivered out of order"
    accepted = set(got)
    assert len(accepted) == len(got), "delivered twice"
    for n, counter in enumerate(counters):
        expected = window.expects(counter)
        if expected is not None:
            assert (n in accepted) == expected, \
                f"counter {counter} after {window.top}: {'not ' * expected}accepted"
        if n in accepted:
            window.accepted(counter)
    window.accepted(end)
    return len(got)


@suite.test("reordered messages: all of a window once, nothing beyond it")
def _():
    window = fresh_window()
    top = 20000
    assert replay_round(window, [top]) == 1
    edge = window.top
    # From the far end of the window, each boundary of a word, and around both ends.
    inside = [edge - d for d in (8000, 7999, 7936, 4096, 129, 128, 127, 65, 64, 63, 1)]
    assert replay_round(window, inside) == len(inside) - 1  # edge - 1 is top itself
    assert replay_round(window, inside) == 0
    assert replay_round(window, [window.top - d for d in (8193, 8200, 10000, 20000)]) == 0
    assert replay_round(window, [0, 1, 2]) == 0
    # The whole of it, backwards, in part.
    edge = window.top
    counters = [edge - d for d in range(1, 8000, 11)]
    for start in range(0, len(counters), 100):
        replay_round(window, counters[start:start + 100])


@suite.test("replay window against a model, random counters")
def _():
    window = fresh_window()
    sent = accepted = 0
    for turn in range(40):
        low = max(0, window.top - 9000)
        step = rng.choice((20, 300, 3000, 8100, 8192, 8256, 9000, 20000))
        counters = []
        for _ in range(100):
            counters.append(rng.choice((
                rng.randint(low, window.top + step),
                max(0, window.top - rng.choice((0, 1, 63, 64, 65, 7999, 8000, 8193, 8300))),
                rng.choice(counters) if counters else window.top,
                window.top + rng.randint(1, 64))))
        accepted += replay_round(window, counters)
        sent += len(counters)
    assert 0.2 * sent < accepted < 0.9 * sent, f"{accepted} of {sent}: not much of a test"


@suite.test("a window that jumps far ahead forgets what was")
def _():
    window = fresh_window()
    for top in (8191, 8194, 16384, 2**20, 2**32 - 1, 2**32 + 5, 2**40, 2**60, 2**63 - 2, 2**63 + 9):
        assert replay_round(window, [top]) == 1
        replay_round(window, [top - d for d in (0, 1, 64, 1000, 8000, 8200, 16384) if top > d])


@suite.test("counters up to the last are accepted, later ones are not")
def _():
    last = REJECT_AFTER_MESSAGES - 1
    window = fresh_window()
    assert replay_round(window, [last - 50]) == 1
    beyond = [last + 1, last + 2, last + 4096, 2**64 - 2, 2**64 - 1]
    assert replay_round(window, beyond) == 0
    before = host.counters("wg0")
    endpoint = endpoint_of(main)
    for counter in beyond:
        main.send(main.session.encrypt(packet(), counter=counter), stranger)
    settle()
    if OWN:
        after = host.counters("wg0")
        drops = sum(after[name] - before[name] for name in after if name.startswith("rx_drop_"))
        assert drops == len(beyond), f"{drops} drops counted, not {len(beyond)}"
    assert endpoint_of(main) == endpoint
    assert replay_round(window, [last - 2, last - 3, last - 2]) == 2  # and last - 1
    main.send_packet(packet(b"last"), counter=last)
    assert sink.recv(65536) == b"last"


# --- authentic, but what is inside is bad ---

def sealed(packets, pad=True):
    return [main.session.encrypt(p, pad=pad) for p in packets]


@suite.test("inner packets of no known version")
def _():
    good = packet(bytes(40))
    refused(sealed(bytes([version << 4 | 5]) + good[1:]
                   for version in range(16) if version not in (4, 6)),
            "rx_drop_bad_inner", sock=main.sock)


@suite.test("inner packets shorter than an IP header")
def _():
    four, six = packet(bytes(40)), udp6(main.ip6, OWN6, bytes(40))
    refused(sealed([four[:n] for n in range(1, 20)] + [six[:n] for n in range(1, 40)], pad=False),
            "rx_drop_bad_inner", sock=main.sock)


@suite.test("inner packets that claim to be longer than they are")
def _():
    bad = [packet(bytes(36), length=n) for n in (65, 66, 80, 1500, 65535)] + \
        [udp6(main.ip6, OWN6, bytes(16), length=n) for n in (25, 26, 40, 65535)]
    refused(sealed(bad), "rx_drop_bad_inner", sock=main.sock)


@suite.test("inner IPv4 packets that claim to be shorter than their header")
def _():
    refused(sealed(packet(bytes(36), length=n) for n in (0, 1, 4, 8, 19)),
            "rx_drop_bad_inner", sock=main.sock)


@suite.test("inner IPv4 headers with a wrong header length end in the stack")
def _():
    refused(sealed([packet(bytes(36), ihl=n) for n in (0, 1, 4, 15)] +
                   [ip4(main.ip4, OWN4, b"", ihl=6)]),
            None, sock=main.sock, on_device=True)


@suite.test("inner sources that are not the peer's")
def _():
    sources = [fence.ip4, OWN4, "10.0.0.4", "0.0.0.0", "255.255.255.255", "127.0.0.1", "192.168.1.2"]
    refused(sealed([packet(source=s) for s in sources] +
                   [udp6(s, OWN6, b"x") for s in (fence.ip6, OWN6, "::", "::1", "fe80::1", "fd01::2")]),
            "rx_drop_bad_source", sock=main.sock)


@suite.test("a keepalive is no packet, and no error")
def _():
    forget()
    before, before_errors = host.counters("wg0"), errors()
    for _ in range(7):
        main.send_packet()
    settle()
    if OWN:
        got = host.counters("wg0")["rx_keepalive"] - before["rx_keepalive"]
        assert got == 7, f"{got} keepalives counted"
    assert errors() == before_errors
    assert not [d for d in arrived_on_device() if not is_mark(d)]


@suite.test("inner packets lose what is behind their end")
def _():
    forget()
    for extra in (0, 1, 15, 16, 100, 1000):
        for good in (packet(b"payload"), udp6(main.ip6, OWN6, b"payload")):
            main.send_packet(good + rng.randbytes(extra), pad=False)
            receiver = sink if good[0] >> 4 == 4 else sink6
            assert receiver.recv(65536) == b"payload"
            got = arrived_on_device()
            assert got == [good], f"{extra} bytes more: {[g.hex() for g in got]}"


@suite.test("all inner lengths, padded or not, come through unharmed")
def _():
    forget()
    for n in list(range(0, 70)) + list(range(1360, 1430)):
        payload = rng.randbytes(n)
        main.send_packet(packet(payload), pad=n % 2 == 0)
        got = sink.recv(65536)
        assert got == payload, f"{n} bytes"


@suite.test("large inner packets in fragments of the outer one come through unharmed")
def _():
    lengths = (1500, 2960, 4100, 9000, 16000, 32768)
    # The in-tree module drops what is in more than some 25 pieces.
    for n in lengths + (49000, 60000, 65379) if OWN else lengths:
        for receiver, make, source, destination in ((sink, udp4, main.ip4, OWN4),
                                                    (sink6, udp6, main.ip6, OWN6)):
            payload = rng.randbytes(n)
            main.send_packet(make(source, destination, payload))
            try:
                got = receiver.recv(65536)
            except TimeoutError:
                got = b""
            assert got == payload, f"{n} bytes to {destination}: {len(got)} came"


# --- what leaves ---

def send_out(payload, destination=None, tos=None):
    """A datagram of @payload from the host to the peer, as data message: (padded packet, message)."""
    out = host.udp()
    if tos is not None:
        out.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
    out.sendto(payload, (destination or main.ip4, 9))
    out.close()
    _, inner, message = main.receive_packet()
    return inner, message


@suite.test("padding: zeros up to 16, never more than the MTU")
def _():
    works()
    for n in list(range(0, 40)) + list(range(MTU - 28 - 40, MTU - 28 + 1)):
        payload = rng.randbytes(n)
        inner, _ = send_out(payload)
        length = 28 + n
        padded = min(-(-length // 16) * 16, MTU)
        assert len(inner) == padded, f"{length} bytes padded to {len(inner)}, not {padded}"
        assert inner[28:length] == payload and not any(inner[length:])


@suite.test("padding never exceeds the MTU of a route or a device either")
def _():
    try:
        host.ip(f"route add {main.ip4}/32 dev wg0 mtu 1301")
        for n in (1280, 1290, 1296, 1297, 1300, 1301):
            inner, _ = send_out(bytes(n - 28))
            assert len(inner) == min(-(-n // 16) * 16, 1301), f"{n} padded to {len(inner)}"
        host.ip(f"route del {main.ip4}/32 dev wg0", "link set wg0 mtu 1293")
        for n in (1270, 1280, 1281, 1288, 1289, 1293):
            inner, _ = send_out(bytes(n - 28))
            assert len(inner) == min(-(-n // 16) * 16, 1293), f"{n} padded to {len(inner)}"
    finally:
        host.run(f"ip route del {main.ip4}/32 dev wg0", check=False)
        host.ip(f"link set wg0 mtu {MTU}")


@suite.test("an MTU that is small, odd or large")
def _():
    try:
        for mtu in (68, 69, 1279, 9001, 65535):
            host.ip(f"link set wg0 mtu {mtu}")
            for n in (28, 60, 68, min(mtu, 9001), min(mtu, 60000)):
                if 28 <= n <= mtu:
                    inner, _ = send_out(bytes(n - 28))
                    assert len(inner) == min(-(-n // 16) * 16, mtu), \
                        f"MTU {mtu}: {n} padded to {len(inner)}"
    finally:
        host.ip(f"link set wg0 mtu {MTU}", f"address replace {OWN6}/64 dev wg0")
        main.handshake()


@suite.test("nonces count up by one")
def _():
    main.handshake()
    out = host.udp()
    for _ in range(50):
        out.sendto(b"x", (main.ip4, 9))
    counters = [main.receive_packet()[0] for _ in range(50)]
    assert counters == list(range(counters[0], counters[0] + 50)), counters


def with_tos(sock, trigger):
    """Calls @trigger, returns the next message and the TOS of its outer header."""
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    drain(sock)
    trigger()
    message, notes, _, _ = sock.recvmsg(65536, 1024)
    tos = [data[0] for level, kind, data in notes
           if (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS)]
    return message, tos[0]


@suite.test("outwards ECN is copied, DSCP is not")
def _():
    def trigger(dscp_and_ecn, six):
        out = host.udp(OWN6 if six else OWN4)
        if six:
            out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp_and_ecn)
        else:
            out.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp_and_ecn)
        out.sendto(b"x", (main.ip6 if six else main.ip4, 9))
        out.close()

    works()
    for six in (False, True):
        for dscp in (0, 0x28, 0xb8, 0xfc):
            # Congestion is told again on the way: it starts as capable (RFC 6040).
            for ecn, expected in ((0, 0), (1, 1), (2, 2), (3, 2)):
                message, tos = with_tos(main.sock, lambda: trigger(dscp | ecn, six))
                inner = main.session.decrypt(message)[1]
                inner_tos = struct.unpack_from(">H", inner)[0] >> 4 & 0xff if six else inner[1]
                assert inner_tos == dscp | ecn, f"inner TOS {inner_tos:#x}"
                assert tos == expected, f"inner {dscp | ecn:#x}: outer {tos:#x}"


# RFC 6040: by outer and inner ECN, what the inner one becomes.
DECAPSULATED = {0: (0, 1, 2, 3), 1: (0, 1, 1, 3), 2: (0, 1, 2, 3), 3: (0, 3, 3, 3)}


@suite.test("inwards congestion outside becomes congestion inside, DSCP does not change")
def _():
    forget()
    for outer in (0, 1, 2, 3, 0xb8, 0xbb):
        main.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, outer)
        for ecn in range(4):
            inner = 0x28 | ecn
            expected = 0x28 | DECAPSULATED[outer & 3][ecn]
            main.send_packet(packet(tos=inner))
            sink.recv(65536)
            got = arrived_on_device()
            assert len(got) == 1 and got[0][1] == expected, \
                f"outer {outer:#x} inner {inner:#x}: {got[0][1]:#x}"
            main.send_packet(udp6(main.ip6, OWN6, b"y", tos=inner))
            sink6.recv(65536)
            got = arrived_on_device()
            assert struct.unpack_from(">H", got[0])[0] >> 4 & 0xff == expected, \
                f"IPv6, outer {outer:#x} inner {inner:#x}"
    main.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0)


@suite.test("handshake messages are marked AF41, keepalives are not")
def _():
    # A response.
    initiation = main.noise.create_initiation()
    message, tos = with_tos(main.sock, lambda: main.send(initiation))
    assert wgproto.message_type(message) == wgproto.RESPONSE
    assert tos == 0x88, f"response with {tos:#x}"
    main.session = main.noise.consume_response(message)
    main.send_packet()
    # An initiation, to a new peer.
    sock = world.udp("192.168.1.2")
    key = wgproto.generate_private()
    other = Talker(sock, (HOST4, PORT), public, key)

    def begin():
        host.run(f"wg set wg0 peer {wgproto_b64(other)} allowed-ips 10.0.0.9/32 "
                 f"endpoint 192.168.1.2:{sock.getsockname()[1]} && echo x >/dev/udp/10.0.0.9/9")

    message, tos = with_tos(sock, begin)
    assert wgproto.message_type(message) == wgproto.INITIATION
    assert tos == 0x88, f"initiation with {tos:#x}"
    # Data after we answer; then a keepalive, to data that we send.
    responder = wgproto.Responder(key, {public: bytes(32)})
    response, other.session = responder.create_response(responder.consume_initiation(message))
    message, tos = with_tos(sock, lambda: other.send(response))
    _, inner = other.session.decrypt(message)
    assert tos == 0 and inner[9] == 17, f"staged packet with {tos:#x}"
    host.run(f"wg set wg0 peer {wgproto_b64(other)} persistent-keepalive 1")
    message, tos = with_tos(sock, lambda: None)
    _, inner = other.session.decrypt(message)
    assert tos == 0 and inner == b"", f"keepalive with {tos:#x}, {len(inner)} bytes"
    host.run(f"wg set wg0 peer {wgproto_b64(other)} remove")


# --- roaming ---

@suite.test("an authentic packet from elsewhere moves the endpoint, to IPv6 and back, too")
def _():
    works()
    home = main.sock
    others = [world.udp("192.168.1.2"), world.udp("192.168.1.3"), world.udp("fd01::2"), home]
    for sock in others:
        address = sock.getsockname()
        six = sock.family == socket.AF_INET6
        payload = os.urandom(12)
        sock.sendto(main.session.encrypt(packet(payload)), (HOST6 if six else HOST4, PORT))
        assert sink.recv(65536) == payload
        expected = f"[{address[0]}]:{address[1]}" if six else f"{address[0]}:{address[1]}"
        wait_until(lambda: endpoint_of(main) == expected, 2, f"endpoint {expected}")
        host.udp().sendto(b"reply", (main.ip4, 9))
        _, inner, _ = main.receive_packet(sock)
        assert inner[28:33] == b"reply"
    # A keepalive does, too.
    others[0].sendto(main.session.encrypt(), (HOST4, PORT))
    wait_until(lambda: endpoint_of(main).endswith(f":{others[0].getsockname()[1]}"), 2, "roaming")
    works()
    wait_until(lambda: endpoint_of(main).endswith(f":{home.getsockname()[1]}"), 2, "way back")


@suite.test("a handshake from elsewhere moves the endpoint")
def _():
    sock = world.udp("192.168.1.3")
    other = Talker(sock, (HOST4, PORT), public, main.private)
    other.handshake(confirm=False)
    expected = f"192.168.1.3:{sock.getsockname()[1]}"
    assert endpoint_of(main) == expected, endpoint_of(main)
    main.handshake()
    works()


@suite.test("replies leave from the address that was reached, while there is one")
def _():
    def reply_source():
        host.udp().sendto(b"reply", (main.ip4, 9))
        message, address = main.sock.recvfrom(65536)
        main.session.decrypt(message)
        return address[0]

    def reach(address):
        main.sock.sendto(main.session.encrypt(packet()), (address, PORT))
        sink.recv(65536)
        drain(main.sock)

    for address in ("192.168.1.11", HOST4, "192.168.1.11"):
        reach(address)
        for _ in range(3):
            got = reply_source()
            assert got == address, f"{got}, not {address}"
    host.ip("address del 192.168.1.11/24 dev eth0")
    got = reply_source()
    assert got == HOST4, f"{got} after its removal"
    host.ip("address add 192.168.1.11/24 dev eth0")
    assert reply_source() == HOST4
    # The same over IPv6.
    six = world.udp("fd01::2")
    host.ip("address add fd01::11/64 dev eth0")
    for address in ("fd01::11", HOST6):
        six.sendto(main.session.encrypt(packet()), (address, PORT))
        sink.recv(65536)
        host.udp().sendto(b"reply", (main.ip4, 9))
        got = six.recvfrom(65536)[1][0]
        assert got == address, f"{got}, not {address}"
    six.sendto(main.session.encrypt(packet()), ("fd01::11", PORT))
    sink.recv(65536)
    host.ip("address del fd01::11/64 dev eth0")
    host.udp().sendto(b"reply", (main.ip4, 9))
    got = six.recvfrom(65536)[1][0]
    assert got == HOST6, f"{got} after its removal"
    works()


@suite.test("the device's statistics: nothing was an error but what was refused")
def _():
    forget()
    before = host.statistics("wg0")
    for _ in range(20):
        main.send_packet(packet(b"a" * 100))
        sink.recv(65536)
    after = host.statistics("wg0")
    for kind in ("errors", "dropped"):
        assert after["rx"][kind] == before["rx"][kind], kind
    assert after["rx"]["packets"] - before["rx"]["packets"] == 20
    # 128 bytes of packet and 32 of message.
    got = after["rx"]["bytes"] - before["rx"]["bytes"]
    assert got == 20 * 160, f"{got} bytes"


try:
    suite.run_and_exit()
finally:
    host.remove()
    world.remove()
