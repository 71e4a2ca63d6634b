#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""Superpackets, byte for byte: each datagram on the wire holds what a single packet would have.

A GSO packet is captured on the tunnel as the stack handed it over, and cut here.
A peer written in Python decrypts what came over the wire. Both must be the same,
with nonces that leave nothing out.
"""

import fcntl
import os
import random
import re
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import wgproto
from net import OWN, Namespace, Talker, b64, checksum, sh, veth, wait_until, wireguard
from tap import Skip, Suite

PORT, MTU = 51820, 1420
HOST, WORLD = ("192.168.1.1", "fd01::1"), ("192.168.1.2", "fd01::2")
PACKET_OUTGOING, SOL_UDP, UDP_SEGMENT, SO_RCVBUFFORCE = 4, 17, 103, 33
SIOCOUTQ = 0x5411
FIN, SYN, PSH, ACK, ECE, CWR = 1, 2, 8, 16, 0x40, 0x80
TUNSETIFF, IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x400454ca, 1, 0x1000, 0x4000
NEEDS_CSUM, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, GSO_ECN = 1, 1, 4, 5, 0x80

suite = Suite()
rng = random.Random(11)
host, world = Namespace("host"), Namespace("world")
private = wgproto.generate_private()

veth(host, world)
host.ip(*(f"address add {a}/{64 if ':' in a else 24} dev eth0" for a in HOST))
world.ip(*(f"address add {a}/{64 if ':' in a else 24} dev eth0" for a in WORLD))
wireguard(host, "wg0", private, PORT, ("10.0.0.1/24", "fd00::1/64"), MTU)
host.sysctl("net/ipv4/ip_forward", 1)
host.sysctl("net/ipv6/conf/all/forwarding", 1)
host.sysctl("net/ipv4/tcp_ecn", 1)

talker = Talker(world.udp(WORLD[0]), (HOST[0], PORT), wgproto.public_of(private))
talker.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
host.run(f"wg set wg0 peer {b64(talker.public)} allowed-ips 10.0.0.2/32,fd00::2/128,10.7.0.0/16,fd07::/64")
host.ip("route add 10.7.0.0/16 dev wg0", "route add fd07::/64 dev wg0")
talker.handshake()
sniffer = host.sniffer("wg0")
sniffer.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
marker = host.udp("10.0.0.1")


def switch(**flags):
    for name, on in flags.items():
        host.run(f"ethtool --set-priv-flags wg0 {name.replace('_', '-')} {'on' if on else 'off'}")


# --- cutting ---

def transport_of(packet):
    """(offset, whether TCP)"""
    if packet[0] >> 4 == 4:
        return (packet[0] & 15) * 4, packet[9] == 6
    return 40, packet[6] == 6


def pseudo_header(packet, length):
    if packet[0] >> 4 == 4:
        return packet[12:20] + struct.pack(">HH", packet[9], length)
    return packet[8:40] + struct.pack(">II", length, packet[6])


def finish(packet):
    """Lengths and checksums of a packet as they must be."""
    packet, (at, tcp) = bytearray(packet), transport_of(packet)
    length = len(packet) - at
    if packet[0] >> 4 == 4:
        packet[2:4] = struct.pack(">H", len(packet))
        packet[10:12] = bytes(2)
        packet[10:12] = struct.pack(">H", checksum(bytes(packet[:at])))
    else:
        packet[4:6] = struct.pack(">H", length)
    field = at + (16 if tcp else 6)
    if not tcp:
        packet[at + 4:at + 6] = struct.pack(">H", length)
    packet[field:field + 2] = bytes(2)
    total = checksum(pseudo_header(packet, length) + bytes(packet[at:]))
    packet[field:field + 2] = struct.pack(">H", total if tcp or total else 0xffff)
    return bytes(packet)


def cut(packet, size):
    """What single packets this GSO packet stands for (RFC 9293, and what Linux does with flags)."""
    at, tcp = transport_of(packet)
    header = at + ((packet[at + 12] >> 4) * 4 if tcp else 8)
    payload, pieces = packet[header:], []
    for offset in range(0, max(len(payload), 1), size):
        piece = bytearray(packet[:header] + payload[offset:offset + size])
        if piece[0] >> 4 == 4:
            number = struct.unpack_from(">H", piece, 4)[0] + offset // size
            piece[4:6] = struct.pack(">H", number & 0xffff)
        if tcp:
            sequence = struct.unpack_from(">I", piece, at + 4)[0] + offset
            piece[at + 4:at + 8] = struct.pack(">I", sequence & 0xffffffff)
            if offset:
                piece[at + 13] &= ~CWR & 0xff
            if offset + size < len(payload):
                piece[at + 13] &= ~(FIN | PSH) & 0xff
        pieces.append(finish(piece))
    return pieces


def padded(packet, mtu=MTU):
    return packet + bytes(min(mtu, (len(packet) + 15) & ~15) - len(packet))


# --- both ends ---

def taken():
    """What the stack handed to the tunnel since the last look."""
    got = []
    sniffer.settimeout(0)
    while True:
        try:
            data, address = sniffer.recvfrom(1 << 18)
        except BlockingIOError:
            return got
        if address[2] == PACKET_OUTGOING:
            got.append(without_jumbo_option(data))


def without_jumbo_option(packet):
    """That header only says how long a GSO packet is; later kernels do without."""
    if packet[0] >> 4 == 6 and packet[6] == 0 and packet[40:44] == b"\x06\0\xc2\4":
        assert packet[4:6] == b"\0\0" and len(packet) > 65536
        return packet[:6] + packet[40:41] + packet[7:40] + packet[48:]
    return packet


def in_nonce_order(numbered):
    """The packets of [(nonce, packet)], whose nonces leave nothing out. The wire may have two queues."""
    numbered.sort()
    for (before, _), (after, _) in zip(numbered, numbered[1:]):
        assert after == before + 1, f"nonce {after} after {before}"
    return [packet for _, packet in numbered]


def arrived(mark):
    """[plain packet] up to a marker."""
    got = []
    while True:
        counter, packet, _ = talker.receive_packet()
        got.append((counter, packet))
        if mark in packet:
            return in_nonce_order(got)[:-1]


def expect(send, size_of, mtu=MTU):
    """@send hands packets to the tunnel; each is what size_of(packet) cuts it into. Returns them."""
    if time.monotonic() - talker.session_born > 100:
        talker.handshake()
    taken()
    send()
    mark = os.urandom(16)
    marker.sendto(mark, ("10.0.0.2", 9))
    got = arrived(mark)
    packets = [p for p in taken() if mark not in p]
    wanted = [padded(piece, mtu) for p in packets for piece in cut(p, size_of(p))]
    assert len(got) == len(wanted), f"{len(got)} packets where {len(wanted)} were to be"
    for i, (mine, theirs) in enumerate(zip(wanted, got)):
        assert mine == theirs, f"packet {i} of {len(wanted)}: {theirs[:80].hex()} where it should be {mine[:80].hex()}"
    return packets


def counted(what):
    return host.counters("wg0")[what]


class SuperpacketsCounted:
    """At least so many packets were sent in superpackets meanwhile; or, with 0, none."""

    def __init__(self, least):
        self.least = least

    def __enter__(self):
        self.before = counted("tx_superpacket_segments")

    def __exit__(self, kind, *_):
        if kind:
            return
        sent = counted("tx_superpacket_segments") - self.before
        assert sent >= self.least and (self.least or not sent), f"{sent} in superpackets, not {self.least}"


# --- UDP ---

def udp_gso(family, payload, size):
    sock = host.udp("10.0.0.1" if family == 4 else "fd00::1")
    with sock:
        sock.setsockopt(SOL_UDP, UDP_SEGMENT, size)
        sock.sendto(payload, ("10.0.0.2" if family == 4 else "fd00::2", 7777))


def check_udp(family, total, size, whole=True):
    segments = -(-total // size)
    with SuperpacketsCounted(segments if whole and segments > 1 else 0):
        packets = expect(lambda: udp_gso(family, rng.randbytes(total), size), lambda p: size)
    assert len(packets) == 1, f"{len(packets)} packets handed over"


@suite.test("UDP: the last datagram shorter, as long, of one byte; over IPv4 and IPv6")
def _():
    for family in (4, 6):
        for total, size in ((2000, 1000), (1999, 1000), (1001, 1000), (3 * 1372, 1372), (3 * 1372 - 5, 1372),
                            (2 * 1372 + 1, 1372), (1000, 1000), (1, 1000)):
            check_udp(family, total, size)


@suite.test("UDP: sizes at random, segments of odd sizes")
def _():
    for family in (4, 6) * 10:
        size = rng.randrange(1, 1372)
        check_udp(family, rng.randrange(1, min(65400, size * 64) + 1), size)


@suite.test("UDP: as many bytes, and as many segments, as there can be")
def _():
    for family, size in ((4, 1392), (6, 1372), (4, 1024)):
        check_udp(family, 65400 if size > 1024 else 64 * 1024 - 100, size)
    for family in (4, 6):
        check_udp(family, 64 * 3, 3)


@suite.test("UDP: an MTU that is no multiple of 16, and a small one")
def _():
    for mtu in (1403, 1281):
        host.ip(f"link set wg0 mtu {mtu}")
        try:
            for family in (4, 6):
                size = mtu - (28 if family == 4 else 48)
                expect(lambda: udp_gso(family, rng.randbytes(size * 9 + 77), size), lambda p: size, mtu)
        finally:
            host.ip(f"link set wg0 mtu {MTU}")


@suite.test("the switch: with superpackets off, the same packets, one by one; on again")
def _():
    switch(superpackets_out=False)
    try:
        for family in (4, 6):
            check_udp(family, 9999, 1000, whole=False)
    finally:
        switch(superpackets_out=True)
    check_udp(4, 9999, 1000)


@suite.test("no offloads on the wire: the stack cuts")
def _():
    features = "tso off gso off tx off sg off tx-udp-segmentation off"
    host.run(f"ethtool -K eth0 {features}", check=False)
    try:
        for family in (4, 6):
            check_udp(family, 20000, 1111)
    finally:
        host.run(f"ethtool -K eth0 {features.replace('off', 'on')}", check=False)


@suite.test("feature bits of the wire off one by one")
def _():
    for feature in ("tx-udp-segmentation", "tx-checksum-ip-generic", "scatter-gather", "generic-segmentation-offload",
                    "tx-scatter-gather-fraglist", "highdma"):
        host.run(f"ethtool -K eth0 {feature} off", check=False)
        check_udp(4, 12345, 1234)
        check_udp(6, 12345, 1234)
        host.run(f"ethtool -K eth0 {feature} on", check=False)


@suite.test("a wire whose MTU is too small: fragments, which come together again")
def _():
    host.ip("link set eth0 mtu 1300")
    world.ip("link set eth0 mtu 1300")
    try:
        check_udp(4, 6000, 1372)
    finally:
        host.ip("link set eth0 mtu 1500")
        world.ip("link set eth0 mtu 1500")


@suite.test("the endpoint's IPv6 address")
def _():
    global talker
    old = talker
    talker = Talker(world.udp(WORLD[1]), (HOST[1], PORT), wgproto.public_of(private), old.private)
    talker.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    try:
        talker.handshake()
        for family in (4, 6):
            check_udp(family, 65400, 1372)
            check_udp(family, 5000, 999)
    finally:
        talker = old
        talker.handshake()


# --- TCP: a far end that acknowledges ---

class TcpSink:
    """The far end of one connection; packets that came are kept, and acknowledged."""

    def __init__(self, family, mss, rarely=False):
        self.family, self.mss, self.rarely = family, mss, rarely
        self.next, self.unanswered = None, 0
        self.packets, self.ece, self.cwr_seen = [], False, False

    def answer(self, packet, flags, ack, options=b""):
        at, _ = transport_of(packet)
        sport, dport = struct.unpack_from(">HH", packet, at)
        stamp = at + packet[at:].index(b"\x08\x0a", 20) + 2
        stamp = packet[stamp:stamp + 4]
        options += b"\1\1\x08\x0a" + struct.pack(">I", 1) + stamp
        tcp = struct.pack(">HHIIBBHHH", dport, sport, 1 if flags & SYN else 2, ack,
                          (20 + len(options)) // 4 << 4, flags, 65535, 0, 0) + options
        if self.family == 4:
            whole = struct.pack(">BBHHHBBH", 0x45, 0, 0, 0, 0, 64, 6, 0) + packet[16:20] + packet[12:16] + tcp
        else:
            whole = struct.pack(">IHBB", 6 << 28, 0, 6, 64) + packet[24:40] + packet[8:24] + tcp
        talker.send_packet(finish(whole))

    def handle(self, counter, packet):
        length = struct.unpack_from(">H", packet, 2)[0] if self.family == 4 else struct.unpack_from(">H", packet, 4)[0] + 40
        self.packets.append((counter, packet))
        packet = packet[:length]
        at, _ = transport_of(packet)
        sequence, flags = struct.unpack_from(">I", packet, at + 4)[0], packet[at + 13]
        payload = length - at - (packet[at + 12] >> 4) * 4
        if flags & SYN:
            self.next = (sequence + 1) & 0xffffffff
            self.answer(packet, SYN | ACK | ECE, self.next, struct.pack(">BBHBBBB", 2, 4, self.mss, 1, 3, 3, 9) + b"\1\1\4\2")
            return
        self.cwr_seen |= bool(flags & CWR and payload)
        if sequence == self.next and (payload or flags & FIN):
            self.next = (self.next + payload + bool(flags & FIN)) & 0xffffffff
            mark = ECE if self.ece and not self.cwr_seen else 0
            self.unanswered += 1
            if not self.rarely or self.unanswered == 10 or flags & (PSH | FIN):
                self.unanswered = 0
                self.answer(packet, ACK | mark, self.next)
        elif self.rarely and payload:
            self.answer(packet, ACK, self.next)


def tcp_transfer(family, mss, size, congested=False, rarely=False, charged=None):
    """Sends @size bytes over TCP; compares all of its packets. @charged: gets what the idle socket is charged for."""
    if time.monotonic() - talker.session_born > 60:
        talker.handshake()
    sink = TcpSink(family, mss, rarely)
    taken()
    sock = host.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    sock.settimeout(30)
    mark = os.urandom(16)

    def send():
        with sock:
            sock.connect(("10.0.0.2" if family == 4 else "fd00::2", 5000))
            # The one that congestion is told about may be on its way as a whole: the answer to that is in the next.
            pieces = 3 if congested else 2
            for _ in range(pieces):
                sock.sendall(rng.randbytes(size // pieces))
                sink.ece = congested
                time.sleep(0.3)
            wait_until(lambda: not struct.unpack("i", fcntl.ioctl(sock, SIOCOUTQ, bytes(4)))[0], 20, "acknowledgement")
            if charged is not None:
                time.sleep(0.5)
                charged.append(int(re.search(r"skmem:.*,t(\d+),", host.run("ss -tmnH state established"))[1]))
            sock.shutdown(socket.SHUT_WR)
            time.sleep(0.5)
        marker.sendto(mark, ("10.0.0.2", 9))

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    while True:
        counter, packet, _ = talker.receive_packet()
        if mark in packet:
            break
        if transport_of(packet)[1]:
            sink.handle(counter, packet)
    thread.join()
    got = in_nonce_order(sink.packets)
    segment = mss - 12
    packets = [p for p in taken() if transport_of(p)[1]]
    wanted = [padded(piece) for p in packets for piece in cut(p, segment)]
    assert len(got) == len(wanted), f"{len(got)} packets where {len(wanted)} were to be"
    for i, (mine, theirs) in enumerate(zip(wanted, got)):
        assert mine == theirs, f"packet {i} of {len(wanted)}: {theirs[:100].hex()} where it should be {mine[:100].hex()}"
    return packets


@suite.test("TCP of the host itself, IPv4 and IPv6")
def _():
    for family, mss in ((4, 1380), (6, 1360), (4, 700)):
        # How many is the congestion control's affair.
        with SuperpacketsCounted(40):
            packets = tcp_transfer(family, mss, 300000)
        assert max(map(len, packets)) > mss + 60, f"the longest packet has {max(map(len, packets))} bytes"


@suite.test("TCP that reduces its congestion window, and says so")
def _():
    for family, mss in ((4, 1380), (6, 1360)):
        packets = tcp_transfer(family, mss, 400000, congested=True)
        said = [p for p in packets[1:] if p[transport_of(p)[0] + 13] & CWR]
        assert said, "no packet said it"


@suite.test("packets that were taken off their socket on the way: it is charged for none of them any more")
def _():
    # Delayed, they are the queue's.
    host.run("tc qdisc add dev wg0 root netem delay 5ms")
    try:
        charged = []
        with SuperpacketsCounted(10):
            tcp_transfer(4, 1380, 300000, charged=charged)
        assert charged == [0], charged
    finally:
        host.run("tc qdisc del dev wg0 root")


@suite.test("TCP over IPv6 in packets of more than 64 KiB")
def _():
    if not OWN:
        raise Skip("the in-tree module takes no packets of that size")
    host.ip("link set wg0 gso_max_size 150000")
    # TCP is to make packets as long as it may, how slow this machine ever is.
    control = host.run("sysctl -n net.ipv4.tcp_congestion_control").strip()
    host.sysctl("net/ipv4/tcp_tso_rtt_log", 30)
    host.sysctl("net/ipv4/tcp_congestion_control", "reno")
    try:
        for whole in (True, False):
            switch(superpackets_out=whole)
            longest = []
            while max(longest, default=0) <= 66000:
                # How long they get is TCP's affair, and on a busy machine not always so much.
                assert len(longest) < 5, f"the longest packets have {longest} bytes"
                # Else it remembers how congested earlier tests were.
                host.ip("tcp_metrics flush")
                with SuperpacketsCounted(100 if whole else 0):
                    packets = tcp_transfer(6, 1360, 2000000, rarely=True)
                longest.append(max(map(len, packets)))
    finally:
        switch(superpackets_out=True)
        host.ip("link set wg0 gso_max_size 65536")
        host.sysctl("net/ipv4/tcp_tso_rtt_log", 9)
        host.sysctl("net/ipv4/tcp_congestion_control", control)


# --- forwarded, from a machine that is not trusted with it ---

class Tun:
    def __init__(self):
        sh("modprobe tun", check=False)  # where it is not built in
        with host.entered():
            self.file = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(self.file, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR))
        host.ip("link set tun0 mtu 65535 up", "address add 10.8.0.1/24 dev tun0", "address add fd08::1/64 dev tun0")

    def send(self, packet, kind, size, at, tcp):
        header = struct.pack("=BBHHHH", NEEDS_CSUM, kind, 0, size, at, 16 if tcp else 6)
        os.write(self.file, header + packet)


def forwarded(family, payload, options=b"", flags=ACK | PSH, tcp=True):
    """A packet with only the pseudo header's sum for a checksum."""
    if tcp:
        inner = struct.pack(">HHIIBBHHH", 4000, 5000, rng.randrange(2**32), 7, (20 + len(options)) // 4 << 4, flags,
                            500, 0, 0) + options
    else:
        inner = struct.pack(">HHHH", 4000, 5000, 8 + len(payload), 0)
    inner += payload
    if family == 4:
        packet = struct.pack(">BBHHHBBH", 0x45, 2, 20 + len(inner), rng.randrange(65536), 0x4000, 64, 6 if tcp else 17, 0)
        packet += socket.inet_aton("10.8.0.9") + socket.inet_aton("10.7.0.9")
        packet = packet[:10] + struct.pack(">H", checksum(packet)) + packet[12:]
    else:
        packet = struct.pack(">IHBB", 6 << 28 | 2 << 20, len(inner), 6 if tcp else 17, 64)
        packet += socket.inet_pton(socket.AF_INET6, "fd08::9") + socket.inet_pton(socket.AF_INET6, "fd07::9")
    at, field = len(packet), len(packet) + (16 if tcp else 6)
    packet += inner
    total = checksum(pseudo_header(packet, len(inner))) ^ 0xffff
    return packet[:field] + struct.pack(">H", total) + packet[field + 2:], at


@suite.test("forwarded TCP with options, any size, any segment size")
def _():
    tun = Tun()
    suite.defer(os.close, tun.file)
    for family in (4, 6) * 12:
        options = rng.randbytes(4 * rng.randrange(11))
        largest = MTU - 80 - len(options)
        size = rng.choice((rng.randrange(8, largest), largest, 1000))
        total = rng.randrange(size + 1, min(65535 - 100 - len(options), size * 300))
        ecn = rng.random() < 0.5
        flags = ACK | rng.choice((0, PSH, FIN | PSH)) | (CWR if ecn else 0)
        packet, at = forwarded(family, rng.randbytes(total), options, flags)
        kind = (GSO_TCPV4 if family == 4 else GSO_TCPV6) | (GSO_ECN if ecn else 0)
        with SuperpacketsCounted(2):
            packets = expect(lambda: tun.send(packet, kind, size, at, True), lambda p: size)
        assert len(packets) == 1, f"{len(packets)} packets forwarded"


@suite.test("forwarded UDP")
def _():
    if os.uname().release.startswith("6.1."):
        raise Skip("tun takes no UDP segmentation before Linux 6.2")
    tun = Tun()
    suite.defer(os.close, tun.file)
    for family in (4, 6) * 6:
        size = rng.randrange(8, MTU - 48)
        packet, at = forwarded(family, rng.randbytes(rng.randrange(size + 1, min(65000, size * 120))), tcp=False)
        packets = expect(lambda: tun.send(packet, GSO_UDP_L4, size, at, False), lambda p: size)
        assert len(packets) == 1, f"{len(packets)} packets forwarded"


@suite.test("headers that make no sense are not forwarded as more than one packet, or at all")
def _():
    tun = Tun()
    suite.defer(os.close, tun.file)
    for family in (4, 6):
        packet, at = forwarded(family, rng.randbytes(5000))
        for offset, value in ((12, 0x10), (12, 0xf0), (12, 0)):
            bad = packet[:at + offset] + bytes([value]) + packet[at + offset + 1:]
            try:
                tun.send(bad, GSO_TCPV4 if family == 4 else GSO_TCPV6, 1000, at, True)
            except OSError:
                pass
    mark = os.urandom(16)
    marker.sendto(mark, ("10.0.0.2", 9))
    arrived(mark)


if __name__ == "__main__":
    suite.run_and_exit()
