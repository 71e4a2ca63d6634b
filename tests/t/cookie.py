#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""A flood of handshake messages: cookies, the rate limiter, and good peers meanwhile.

The flood are initiations with a valid mac1 and nothing else, from many sources.
Bursts of them, by a small C program, keep more than the 512 waiting that make a
device be under load for the next second.
"""

import os
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import wgproto
from net import OWN, Namespace, Talker, b64, drain, sh, udp4, veth, wait_until, wireguard
from tap import Suite

PORT = 51820
HOST4 = "192.168.1.1"
FLOOD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools", "bin", "flood")

suite = Suite()
host, world, third = Namespace("host"), Namespace("world"), Namespace("third")
private = wgproto.generate_private()
public = wgproto.public_of(private)


def set_up():
    sh("sysctl -qw net.core.netdev_max_backlog=20000")
    veth(host, world)
    host.ip(f"address add {HOST4}/24 dev eth0", "address add fd01::1/64 dev eth0",
            "route add 172.16.0.0/12 via 192.168.1.2")
    world.ip("address add fd01::2/64 dev eth0",
             *(f"address add 192.168.1.{n}/24 dev eth0" for n in range(2, 12)))
    # Cookies for the flood's sources end here.
    world.ip("route add blackhole 172.16.0.0/12")
    veth(host, third, "eth1", "eth0")
    host.ip("address add 192.168.2.1/24 dev eth1")
    third.ip("address add 192.168.2.2/24 dev eth0")
    wireguard(host, "wg0", private, PORT, ("10.0.0.1/24",))
    host.ip("link set wg0 txqueuelen 1000")


def talker(number, source="192.168.1.2"):
    """A peer, configured in the host, that has not said anything yet."""
    six = ":" in source
    new = Talker(world.udp(source, timeout=3), ("fd01::1" if six else HOST4, PORT), public)
    new.ip4 = f"10.0.0.{number}"
    host.run(f"wg set wg0 peer {b64(new.public)} allowed-ips {new.ip4}/32")
    return new


class Flood:
    """Initiations with a valid mac1, that are none otherwise; for as long as it is entered."""

    def __init__(self, burst=900, pause=250, seconds=30, how=""):
        body = struct.pack("<II", 1, 0xbadbad) + os.urandom(108)
        self.payload = wgproto.MacWriter(public).stamp(body + bytes(32))
        self.command = ["ip", "netns", "exec", world.name, *how.split(), FLOOD, HOST4, str(PORT), "172.16.0.0",
                        "50000", str(burst), str(pause), str(seconds)]

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL)
        self.process.stdin.write(self.payload)
        self.process.stdin.close()

    def __enter__(self):
        before = host.counters("wg0").get("handshake_cookie_sent", 0)
        self.start()
        if OWN:
            wait_until(lambda: host.counters("wg0")["handshake_cookie_sent"] > before + 100, 15,
                       "cookies for the flood")
        else:
            time.sleep(2)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def calm():
    """Not under load any more: an initiation is answered with a response."""
    deadline = time.monotonic() + 20
    probe = talker(99)
    while time.monotonic() < deadline:
        time.sleep(1.2)
        drain(probe.sock)
        probe.send(probe.noise.create_initiation())
        try:
            if wgproto.message_type(probe.sock.recv(1000)) == wgproto.RESPONSE:
                return
        except TimeoutError:
            pass
    raise AssertionError("still under load 20 s after the flood")


def receive(peer, kind, tries=8):
    """The next message of a kind, while initiations are sent: a flood's queue may drop some."""
    for _ in range(tries):
        peer.send(peer.noise.create_initiation())
        end = time.monotonic() + 3
        while time.monotonic() < end:
            try:
                message = peer.sock.recv(1000)
            except TimeoutError:
                break
            if wgproto.message_type(message) == kind:
                return message
    raise AssertionError(f"no message of type {kind}")


def have_cookie(peer):
    message = receive(peer, wgproto.COOKIE_REPLY)
    assert len(message) == 64, f"a cookie reply of {len(message)} bytes"
    index = peer.noise.macs.consume_cookie_reply(message)
    assert index == peer.noise.index, "a cookie reply for another index"
    drain(peer.sock)


@suite.test("without load there are no cookies, and mac2 is not looked at")
def _():
    peer = talker(2)
    peer.noise.macs.cookie = os.urandom(16)  # mac2 is wrong
    peer.handshake()
    if OWN:
        assert host.counters("wg0")["handshake_cookie_sent"] == 0


@suite.test("under load: a cookie that can be decrypted, then mac2 is good for a session")
def _():
    for number, source in ((3, "192.168.1.3"), (4, "fd01::2")):
        peer = talker(number, source)
        with Flood():
            have_cookie(peer)
            peer.session = peer.noise.consume_response(receive(peer, wgproto.RESPONSE))
        peer.send_packet(udp4(peer.ip4, "10.0.0.1", b"x"))
        wait_until(lambda: any(row[0] == b64(peer.public) and int(row[1])
                               for row in host.wg("wg0", "latest-handshakes")), 5, "a session")


@suite.test("under load: a wrong mac2 gets a cookie, nothing else")
def _():
    peer = talker(5)
    with Flood(seconds=60):
        peer.noise.macs.cookie = os.urandom(16)
        message = receive(peer, wgproto.COOKIE_REPLY)
        peer.noise.macs.consume_cookie_reply(message)
        good = peer.noise.macs.cookie
        # A cookie is for one address and port.
        elsewhere = world.udp("192.168.1.4", timeout=3)
        got = None
        for _ in range(20):
            drain(elsewhere)
            elsewhere.sendto(peer.noise.create_initiation(), (HOST4, PORT))
            try:
                got = wgproto.message_type(elsewhere.recv(1000))
            except TimeoutError:
                continue
            if got == wgproto.COOKIE_REPLY:
                break
            # There was no load just then, so nobody looked at mac2.
            time.sleep(0.3)
        assert got == wgproto.COOKIE_REPLY, f"message of type {got} to another port"
        peer.noise.macs.cookie = good
        receive(peer, wgproto.RESPONSE)


@suite.test("under load: a wrong mac1 gets nothing at all")
def _():
    peer = talker(6)
    with Flood():
        have_cookie(peer)
        before = host.counters("wg0").get("handshake_drop_bad_mac", 0)
        message = bytearray(peer.noise.create_initiation())
        message[-32] ^= 1
        peer.sock.settimeout(2)
        for _ in range(3):
            peer.send(bytes(message))
        try:
            got = peer.sock.recv(1000)
            raise AssertionError(f"an answer of type {wgproto.message_type(got)}")
        except TimeoutError:
            pass
        if OWN:
            wait_until(lambda: host.counters("wg0")["handshake_drop_bad_mac"] > before, 5, "bad mac")


@suite.test("under load: a source with a cookie that sends too much is refused, others are not")
def _():
    peer, other = talker(7, "192.168.1.7"), talker(8, "192.168.1.8")
    with Flood():
        have_cookie(peer)
        have_cookie(other)
        # Five are allowed at once, and one more each fifty milliseconds. The load comes and
        # goes, as messages are worked on the faster under load: try more than once.
        for _ in range(10 if OWN else 1):
            time.sleep(1)
            messages = [peer.noise.create_initiation() for _ in range(20)]
            before = host.counters("wg0").get("handshake_drop_rate_limited", 0)
            for message in messages:
                peer.send(message)
            time.sleep(0.5)
            refused = host.counters("wg0").get("handshake_drop_rate_limited", 0) - before
            if refused >= 8:
                break
        assert not OWN or refused >= 8, f"only {refused} of 20 were refused"
        receive(other, wgproto.RESPONSE)
        time.sleep(1)
        drain(peer.sock)
        receive(peer, wgproto.RESPONSE)


@suite.test("under load: another kernel's tunnel comes up by its cookie")
def _():
    key = wgproto.generate_private()
    wireguard(third, "wg0", key, 0, ("10.0.0.50/24",))
    host.run(f"wg set wg0 peer {b64(wgproto.public_of(key))} allowed-ips 10.0.0.50/32")
    sniffer = third.sniffer("eth0", 0x800)
    with Flood(burst=700, pause=300, seconds=60):
        # A burst may find a machine that takes it without being under load.
        for _ in range(5):
            drain(sniffer)
            # Not before, nor the same one again: it would have a cookie already, and need no other.
            third.run(f"wg set wg0 peer {b64(public)} remove")
            third.run(f"wg set wg0 peer {b64(public)} allowed-ips 10.0.0.1/32 "
                      f"endpoint 192.168.2.1:{PORT} persistent-keepalive 1")
            wait_until(lambda: "0 received" not in third.run("ping -n -q -c 1 -W 2 10.0.0.1", check=False),
                       40, "an answer through the tunnel")
            kinds = [wgproto.message_type(p[42:]) for p in drain(sniffer) if len(p) > 46]
            if wgproto.COOKIE_REPLY in kinds:
                break
            time.sleep(0.4)
        assert wgproto.COOKIE_REPLY in kinds, f"no cookie among {kinds}"
    sniffer.close()
    third.ip("link del wg0")


@suite.test("under load: an established session goes on")
def _():
    peer = talker(9)
    peer.handshake()
    sink = host.udp("10.0.0.1", 2000)
    with Flood():
        for n in range(50):
            peer.send_packet(udp4(peer.ip4, "10.0.0.1", struct.pack("<I", n)))
            assert sink.recv(100) == struct.pack("<I", n)


@suite.test("a flood beyond the queue is dropped and counted, the next second is calm")
def _():
    before = host.counters("wg0")
    drops = host.statistics("wg0")["rx"]["dropped"]
    # In front of all else on both CPUs, so that nobody comes to work on the queue.
    floods = [Flood(8000, 0, 2, f"chrt -f 10 taskset -c {cpu}") for cpu in (0, 1)]
    for flood in floods:
        flood.start()
    for flood in floods:
        flood.process.wait(60)
    if OWN:
        assert host.counters("wg0")["handshake_drop_queue_full"] > \
            before["handshake_drop_queue_full"], "the queue was never full"
        assert host.statistics("wg0")["rx"]["dropped"] > drops
    calm()
    if OWN:
        after = host.counters("wg0")
        sent = after["handshake_cookie_sent"]
        peer = talker(10)
        peer.handshake()
        assert host.counters("wg0")["handshake_cookie_sent"] == sent, "still under load"


@suite.test("the device goes down and away during a flood")
def _():
    with Flood(burst=2000, pause=20):
        for _ in range(5):
            host.ip("link set wg0 down", "link set wg0 up")
            time.sleep(0.2)
        host.ip("link del wg0")
        wireguard(host, "wg0", private, PORT, ("10.0.0.1/24",))
        time.sleep(0.5)
    calm()


set_up()
try:
    suite.run_and_exit()
finally:
    for each in (host, world, third):
        each.remove()
