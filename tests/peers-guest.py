#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""In the guest of a job of its own: a device with as many peers as there may be, 2^20."""

import errno
import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

import wgnl
import wgproto
from net import Namespace, Talker, sh, udp4, wireguard
from tap import Suite


PEERS = 1 << 20
BATCH = 800  # an attribute has at most 64 KiB
DEVICE = wgnl.ifname("wg0")

suite = Suite()
ns = Namespace("peers")
private = wgproto.generate_private()
wireguard(ns, "wg0", private, 51820, addresses=["100.64.0.1/10"])
nl = wgnl.Netlink(ns, timeout=300)
sock = ns.udp("127.0.0.1")
talker = Talker(sock, ("127.0.0.1", 51820), wgproto.public_of(private))


def public(number):
    return struct.pack(">I", number) * 8


def address(number):
    return bytes([100]) + (0x400000 + number).to_bytes(3, "big")


# A peer with one prefix, with holes for its key and its address.
TEMPLATE = wgnl.peer(b"K" * 32, allowed=["65.65.65.65/32"])
BEFORE, BETWEEN, AFTER = (part for key in TEMPLATE.split(b"K" * 32) for part in key.split(b"AAAA"))


def one(number):
    return BEFORE + public(number) + BETWEEN + address(number) + AFTER


def add(first, end):
    nl.set(DEVICE, wgnl.peers(*map(one, range(first, end))))


def memory():
    """What is available, in MiB."""
    with open("/proc/meminfo") as file:
        return int(dict(line.split(":") for line in file)["MemAvailable"].split()[0]) >> 10


def dumped():
    """The public keys that a dump has, in order; without making more of them than that."""
    nl.send(wgnl.GET_DEVICE, DEVICE, flags=wgnl.NLM_F_DUMP)
    end = False
    while not end:
        messages, end = nl.receive()
        for message in messages:
            assert not message.interrupted
            data = dict(message.attributes()).get(wgnl.DEV_PEERS, b"")
            at = 0
            while at < len(data):
                # The key comes first in each.
                assert struct.unpack_from("=HH", data, at + 4) == (36, wgnl.PEER_PUBLIC_KEY)
                yield data[at + 8:at + 40]
                at += (struct.unpack_from("=H", data, at)[0] + 3) & ~3


@suite.test(f"{PEERS} peers are made")
def _():
    before, start = memory(), time.monotonic()
    for first in range(0, PEERS - 1, BATCH):
        add(first, min(PEERS - 1, first + BATCH))
        if first // BATCH % 200 == 0:
            print(f"# {first}: {time.monotonic() - start:.0f} s, {before - memory()} MiB", flush=True)
    nl.set(DEVICE, wgnl.peers(wgnl.peer(talker.public, allowed=["10.9.9.9/32"])))
    ns.ip("route add 10.9.9.9/32 dev wg0")
    print(f"# {before - memory()} MiB")


@suite.test("not one more")
def _():
    try:
        add(PEERS, PEERS + 1)
    except wgnl.NetlinkError as error:
        # As the in-tree module says.
        assert error.errno == errno.ENOMEM, error
    else:
        raise AssertionError("there is one more")
    # One that is there already can be changed, and there is room where one goes.
    nl.set(DEVICE, wgnl.peers(wgnl.peer(public(7), keepalive=7)))
    nl.set(DEVICE, wgnl.peers(wgnl.peer(public(0), flags=wgnl.PEER_REMOVE_ME)))
    add(PEERS, PEERS + 1)


@suite.test("the last one is reached, in both directions")
def _():
    talker.handshake()
    sink = ns.udp("100.64.0.1", 2000)
    suite.defer(sink.close)
    talker.send_packet(udp4("10.9.9.9", "100.64.0.1", b"from the last"))
    assert sink.recv(100) == b"from the last"
    sink.sendto(b"to the last", ("10.9.9.9", 2000))
    assert b"to the last" in talker.receive_packet()[1]


@suite.test("a dump has them all, once")
def _():
    start, expected = time.monotonic(), [*range(1, PEERS - 1), None, PEERS]
    count = 0
    for key, number in zip(dumped(), expected, strict=True):
        assert key == (talker.public if number is None else public(number)), count
        count += 1
    assert count == PEERS
    print(f"# {time.monotonic() - start:.0f} s")


@suite.test("all are gone with the device, and so is their memory")
def _():
    before, start = memory(), time.monotonic()
    ns.ip("link del wg0")
    print(f"# {time.monotonic() - start:.0f} s")
    end = time.monotonic() + 60
    while (got := memory() - before) < PEERS >> 10 and time.monotonic() < end:
        time.sleep(1)
    print(f"# {got} MiB came back")
    assert got >= PEERS >> 10, "less than 1 KiB for each"
    # The module can go, too.
    nl.close()
    ns.remove()
    sh("rmmod wireguard")


suite.run_and_exit()
