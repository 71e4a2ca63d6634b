#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""The netlink family: what goes in comes out again, and what is malformed changes nothing.

The error numbers are those of the in-tree module: with `scripts/vm --in-tree`
the same tests pass, but for the few that say that they are about ours.
"""

import contextlib
import ctypes
import errno
import os
import pickle
import random
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import wgnl
import wgproto
from net import OWN, Background, Namespace, Talker, sh
from tap import Skip, Suite
from wgnl import (DEV_FLAGS, DEV_FWMARK, DEV_IFINDEX, DEV_IFNAME, DEV_LISTEN_PORT, DEV_PEERS,
                  DEV_PRIVATE_KEY, DEV_PUBLIC_KEY, DEV_REPLACE_PEERS, GET_DEVICE, IP_ADDR,
                  IP_CIDR, IP_FAMILY, IP_FLAGS, IP_REMOVE_ME, NLA_F_NESTED, NLA_F_NET_BYTEORDER,
                  NLM_F_ACK, NLM_F_DUMP, PEER_ALLOWEDIPS, PEER_ENDPOINT, PEER_FLAGS,
                  PEER_KEEPALIVE, PEER_LAST_HANDSHAKE, PEER_PRESHARED_KEY, PEER_PUBLIC_KEY,
                  PEER_REMOVE_ME, PEER_REPLACE_ALLOWEDIPS, PEER_RX_BYTES, PEER_TX_BYTES,
                  PEER_UPDATE_ONLY, PEER_VERSION, SET_DEVICE, Device, Netlink, NetlinkError,
                  allowed_ip, attr, device_flags, fwmark, ifindex, ifname, listen_port, nest, peer,
                  peers, private_key, sockaddr, u8, u16, u32)

WG, OTHER, LONG = ifname("wg0"), ifname("wg1"), "wgabcdefghijklm"
KEY, PEER, PSK, ZERO = bytes(range(1, 33)), b"P" * 32, b"s" * 32, bytes(32)
CLAMPED = wgproto.clamp(KEY)
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000

suite = Suite()
rng = random.Random(7)
ns = Namespace("netlink")
libc = ctypes.CDLL(None, use_errno=True)


def fresh(name="wg0"):
    """An empty device, down; and a socket."""
    ns.ip(f"link add {name} type wireguard")
    suite.defer(sh, f"ip -n {ns.name} link del {name}", False)
    nl = Netlink(ns)
    suite.defer(nl.close)
    return nl


def public(number):
    return struct.pack(">I", number) * 8


def refused(code, function, *args, **options):
    try:
        function(*args, **options)
    except NetlinkError as error:
        assert error.errno == code, f"{error} instead of {errno.errorcode[code]}"
        return error
    raise AssertionError(f"accepted, instead of {errno.errorcode[code]}")


def need_own(what):
    if not OWN:
        raise Skip(f"the in-tree module {what}")


# --- what goes in comes out ---

@suite.test("a device's attributes come back")
def _():
    nl = fresh()
    device = nl.get("wg0")
    assert device.ifname == "wg0" and device.ifindex > 0
    assert (device.private_key, device.public_key) == (None, None)
    assert (device.listen_port, device.fwmark, device.peers) == (0, 0, [])
    nl.set(WG, private_key(KEY), listen_port(65535), fwmark(0xfedcba98))
    by_index = Device(nl.dump(ifindex(device.ifindex)))
    for device in (nl.get("wg0"), by_index):
        assert device.private_key == CLAMPED
        assert device.public_key == wgproto.public_of(CLAMPED)
        assert (device.listen_port, device.fwmark) == (65535, 0xfedcba98)
    nl.set(ifindex(device.ifindex), fwmark(0), listen_port(0))
    device = nl.get("wg0")
    assert (device.listen_port, device.fwmark, device.private_key) == (0, 0, CLAMPED)
    nl.set(WG, private_key(ZERO))
    device = nl.get("wg0")
    assert (device.private_key, device.public_key) == (None, None)


@suite.test("a peer's attributes come back, and are changed one by one")
def _():
    nl = fresh()
    nl.set(WG, peers(peer(PEER)))
    now = nl.get("wg0").peers[0]
    assert (now.psk, now.endpoint, now.keepalive, now.allowed) == (ZERO, None, 0, [])
    assert (now.rx_bytes, now.tx_bytes, now.last_handshake, now.version) == (0, 0, (0, 0), 1)
    assert PEER_ENDPOINT not in now.present
    wanted = list(now.config())
    for place, change, value in (
            (1, {"psk": PSK}, PSK), (1, {"psk": ZERO}, ZERO), (1, {"psk": KEY}, KEY),
            (2, {"endpoint": ("192.0.2.1", 1)}, sockaddr("192.0.2.1", 1)),
            (2, {"endpoint": ("2001:db8::1", 65535)}, sockaddr("2001:db8::1", 65535)),
            (2, {"endpoint": ("fe80::1", 5, 7)}, sockaddr("fe80::1", 5, 7)),
            (3, {"keepalive": 65535}, 65535), (3, {"keepalive": 0}, 0), (3, {"keepalive": 25}, 25),
            (4, {"allowed": ["10.0.0.0/8"]}, ((socket.AF_INET, b"\n\0\0\0", 8),))):
        nl.set(WG, peers(peer(PEER, **change)))
        wanted[place] = value
        assert nl.get("wg0").peers[0].config() == tuple(wanted), change


@suite.test("prefixes of every length come back without the bits beyond it")
def _():
    nl = fresh()
    bits4, bits6 = rng.getrandbits(32), rng.getrandbits(128)
    given = [(socket.AF_INET, bits4.to_bytes(4, "big"), n) for n in range(33)]
    given += [(socket.AF_INET6, bits6.to_bytes(16, "big"), n) for n in range(129)]
    rng.shuffle(given)
    nl.set(WG, peers(peer(PEER, allowed=given)))

    def cut(address, cidr):
        width = len(address) * 8
        value = int.from_bytes(address, "big") >> (width - cidr) << (width - cidr)
        return value.to_bytes(len(address), "big")

    assert nl.get("wg0").peers[0].allowed == [(f, cut(a, n), n) for f, a, n in given]


@suite.test("1000 peers come back, in order")
def _():
    nl = fresh()
    wanted = []
    for start in range(0, 1000, 100):
        some = []
        for i in range(start, start + 100):
            endpoint = (f"10.9.{i >> 8}.{i & 255}", i + 1) if i % 3 else (f"fd00::{i:x}", i + 1)
            some.append(dict(psk=rng.randbytes(32), endpoint=endpoint, keepalive=i,
                             allowed=[f"10.{i >> 8}.{i & 255}.0/24", f"fd00:{i:x}::/32"]))
            wanted.append((public(i), some[-1]["psk"], sockaddr(*endpoint), i,
                           tuple(wgnl.prefix_of(p) for p in some[-1]["allowed"])))
        nl.set(WG, peers(*(peer(public(start + i), **o) for i, o in enumerate(some))))
    device = nl.get("wg0")
    assert not device.interrupted
    assert len(device.messages) > 1, "all in one message: nothing was put together"
    assert [p.config() for p in device.peers] == wanted
    nl.set(WG, device_flags(DEV_REPLACE_PEERS))
    assert nl.get("wg0").peers == []


@suite.test("3000 prefixes of a peer come back, whatever the messages' size")
def _():
    nl = fresh()
    wanted = {}
    for number in range(3):
        prefixes = [f"10.{number}.{i >> 8}.{i & 255}/32" for i in range(1500)]
        prefixes += [f"fd00::{number + 1}:{i + 1:x}/128" for i in range(1500)]
        rng.shuffle(prefixes)
        wanted[public(number)] = prefixes
        for start in range(0, 3000, 1000):
            nl.set(WG, peers(peer(public(number), allowed=prefixes[start:start + 1000])))
    nl.set(WG, peers(peer(public(3)), peer(public(4), allowed=["::/0"])), private_key(KEY))
    wanted |= {public(3): [], public(4): ["::/0"]}
    for size in (4096, 5000, 9999, 65536):
        small = Netlink(ns, size=size)
        device = small.get("wg0")
        small.close()
        assert not device.interrupted
        assert [p.public_key for p in device.peers] == list(wanted)
        for p in device.peers:
            assert p.prefixes() == wanted[p.public_key], f"size {size}"
        check_layout(device.messages)


def check_layout(messages):
    """Everything is said once: of the device in the first message, of a peer in its first piece."""
    assert len(messages) > 1
    described = set()
    for number, message in enumerate(messages):
        kinds = [kind for kind, _ in message.attributes()]
        assert len(kinds) == len(set(kinds))
        if not number:
            assert DEV_LISTEN_PORT in kinds, kinds
        elif OWN:	# The in-tree module repeats it as long as it is at the first peer.
            assert set(kinds) <= {DEV_IFNAME, DEV_PEERS}, f"message {number}: {kinds}"
        for _, one in wgnl.parse(dict(message.attributes()).get(DEV_PEERS, b"")):
            piece = wgnl.Peer(wgnl.parse(one))
            if piece.public_key in described:
                assert set(piece.present) == {PEER_PUBLIC_KEY, PEER_ALLOWEDIPS}
            else:
                assert {PEER_PRESHARED_KEY, PEER_VERSION, PEER_RX_BYTES} <= set(piece.present)
            described.add(piece.public_key)


# --- flags ---

@suite.test("flags of devices and peers: replace, remove, update only")
def _():
    nl = fresh()

    def keys():
        return [p.public_key[3] for p in nl.get("wg0").peers]

    def prefixes(number):
        return nl.get("wg0").peer(public(number)).prefixes()

    nl.set(WG, peers(*(peer(public(i), allowed=[f"10.0.{i}.0/24", f"10.1.{i}.0/24"])
                       for i in range(5))))
    assert keys() == [0, 1, 2, 3, 4]
    nl.set(WG, device_flags(0), peers(peer(public(5), flags=0)))
    assert keys() == [0, 1, 2, 3, 4, 5]
    nl.set(WG, peers(peer(public(1), flags=PEER_REMOVE_ME), peer(public(77), flags=PEER_REMOVE_ME)))
    assert keys() == [0, 2, 3, 4, 5]
    nl.set(WG, peers(peer(public(9), flags=PEER_UPDATE_ONLY, allowed=["10.0.0.0/24"]),
                     peer(public(2), flags=PEER_UPDATE_ONLY, keepalive=9)))
    assert keys() == [0, 2, 3, 4, 5]
    assert nl.get("wg0").peer(public(2)).keepalive == 9
    assert prefixes(0) == ["10.0.0.0/24", "10.1.0.0/24"], "one that was not made took it"
    nl.set(WG, peers(peer(public(3), flags=PEER_REPLACE_ALLOWEDIPS, allowed=["10.7.0.0/16"]),
                     peer(public(4), flags=PEER_REPLACE_ALLOWEDIPS)))
    assert (prefixes(3), prefixes(4)) == (["10.7.0.0/16"], [])
    nl.set(WG, peers(peer(public(6), flags=PEER_REPLACE_ALLOWEDIPS, allowed=["10.8.0.0/16"])))
    assert prefixes(6) == ["10.8.0.0/16"]
    nl.set(WG, peers(peer(public(6), flags=PEER_REMOVE_ME | PEER_UPDATE_ONLY),
                     peer(public(6), flags=PEER_REMOVE_ME | PEER_REPLACE_ALLOWEDIPS)))
    assert keys() == [0, 2, 3, 4, 5]
    nl.set(WG, peers(peer(public(0), flags=PEER_REMOVE_ME), peer(public(0), keepalive=1)))
    assert keys() == [2, 3, 4, 5, 0] and prefixes(0) == []
    nl.set(WG, device_flags(DEV_REPLACE_PEERS), peers(peer(public(8)), peer(public(3))))
    assert keys() == [8, 3] and prefixes(3) == []
    nl.set(WG, device_flags(DEV_REPLACE_PEERS))
    assert keys() == []


@suite.test("a prefix given to another peer leaves the first, and goes to the end of the list")
def _():
    nl = fresh()
    nl.set(WG, peers(peer(public(1), allowed=["10.0.0.0/8", "10.0.0.1", "fd00::/8", "0.0.0.0/0"]),
                     peer(public(2), allowed=["10.0.0.2"])))

    def lists():
        return [p.prefixes() for p in nl.get("wg0").peers]

    nl.set(WG, peers(peer(public(2), allowed=["10.99.99.99/8", "fd00::/9"])))
    assert lists() == [["10.0.0.1/32", "fd00::/8", "0.0.0.0/0"],
                       ["10.0.0.2/32", "10.0.0.0/8", "fd00::/9"]]
    nl.set(WG, peers(peer(public(1), allowed=["10.0.0.1"])))
    assert lists()[0] == ["fd00::/8", "0.0.0.0/0", "10.0.0.1/32"]
    nl.set(WG, peers(peer(public(1), flags=PEER_REMOVE_ME)))
    assert lists() == [["10.0.0.2/32", "10.0.0.0/8", "fd00::/9"]]


@suite.test("WGALLOWEDIP_F_REMOVE_ME takes a prefix from the peer that has it, and from no other")
def _():
    need_own("of this kernel does not have it")
    nl = fresh()
    first = ["10.0.0.0/8", "10.0.0.1/32", "10.64.0.0/10", "fd00::/8"]
    nl.set(WG, peers(peer(public(1), allowed=first), peer(public(2), allowed=["10.0.0.2/32"])))

    def take(number, *prefixes):
        ips = nest(PEER_ALLOWEDIPS, *(allowed_ip(p, IP_REMOVE_ME) for p in prefixes))
        nl.set(WG, peers(peer(public(number), ips)))
        return [p.prefixes() for p in nl.get("wg0").peers]

    untouched = [first, ["10.0.0.2/32"]]
    assert take(2, "10.0.0.0/8") == untouched, "of another peer"
    assert take(1, "10.0.0.0/9", "10.0.0.0/7", "0.0.0.0/0", "fd00::/7", "10.0.0.3/32",
                "10.0.0.2/32") == untouched, "that is not there"
    assert take(1, "10.1.2.3/8") == [first[1:], ["10.0.0.2/32"]]
    assert take(1, "fd01::/8", "10.0.0.1/32") == [["10.64.0.0/10"], ["10.0.0.2/32"]]
    both = nest(PEER_ALLOWEDIPS, allowed_ip("10.5.0.0/16", 0), allowed_ip("10.64.0.0/10", 1),
                allowed_ip("10.5.0.0/16", 1), allowed_ip("10.6.0.0/16", 0))
    nl.set(WG, peers(peer(public(1), both)))
    assert nl.get("wg0").peers[0].prefixes() == ["10.6.0.0/16"]
    nl.set(WG, peers(peer(public(9), nest(PEER_ALLOWEDIPS, allowed_ip("10.0.0.2", 1)),
                          flags=PEER_UPDATE_ONLY)))
    assert len(nl.get("wg0").peers) == 2


# --- keys and ports ---

@suite.test("nobody is their own peer")
def _():
    nl = fresh()
    own = wgproto.public_of(CLAMPED)

    def count():
        return len(nl.get("wg0").peers)

    nl.set(WG, private_key(KEY), peers(peer(own), peer(PEER)))
    assert count() == 1
    nl.set(WG, peers(peer(own, allowed=["10.0.0.0/8"])))
    assert count() == 1
    nl.set(WG, private_key(ZERO), peers(peer(own, allowed=["10.0.0.0/8"])))
    assert count() == 2
    nl.set(WG, private_key(KEY))
    assert count() == 1 and nl.get("wg0").peers[0].public_key == PEER
    assert nl.get("wg0").peers[0].allowed == []


@suite.test("the port is kept while down, bound while up, and survives one that is taken")
def _():
    nl = fresh()
    fresh("wg1")

    def bound():
        lines = ns.run("ss -Hlun").splitlines()
        return sorted(int(line.split()[3].rsplit(":", 1)[1]) for line in lines)

    nl.set(WG, listen_port(777))
    assert bound() == []
    ns.ip("link set wg0 up")
    assert bound() == [777, 777] and nl.get("wg0").listen_port == 777
    nl.set(WG, listen_port(778))
    assert bound() == [778, 778]
    nl.set(WG, listen_port(0))
    chosen = nl.get("wg0").listen_port
    assert chosen not in (0, 778) and bound() == [chosen, chosen]
    nl.set(WG, listen_port(777))

    nl.set(OTHER, listen_port(777))
    failed = subprocess.run(["ip", "-n", ns.name, "link", "set", "wg1", "up"],
                            capture_output=True, text=True, check=False)
    assert "Address already in use" in failed.stderr, failed
    nl.set(OTHER, listen_port(779))
    ns.ip("link set wg1 up")
    refused(errno.EADDRINUSE, nl.set, OTHER, listen_port(777))
    assert nl.get("wg1").listen_port == 779 and bound() == [777, 777, 779, 779]
    ns.ip("link set wg1 down")
    assert nl.get("wg1").listen_port == 779 and bound() == [777, 777]


@suite.test("a port that is taken leaves the rest of the message without effect, too")
def _():
    need_own("sets the mark before")
    nl = fresh()
    fresh("wg1")
    nl.set(WG, listen_port(777))
    nl.set(OTHER, listen_port(779), fwmark(1), private_key(KEY), peers(peer(PEER)))
    ns.ip("link set wg0 up", "link set wg1 up")
    before = nl.get("wg1").config()
    refused(errno.EADDRINUSE, nl.set, OTHER, fwmark(5), private_key(PSK), listen_port(777),
            device_flags(DEV_REPLACE_PEERS), peers(peer(public(1))))
    assert nl.get("wg1").config() == before


def session_with_device(nl):
    sock = ns.udp("127.0.0.1", timeout=3)
    suite.defer(sock.close)
    nl.set(WG, private_key(CLAMPED), listen_port(51820))
    talker = Talker(sock, ("127.0.0.1", 51820), nl.get("wg0").public_key)
    nl.set(WG, peers(peer(talker.public, allowed=["10.0.0.2"])))
    ns.ip("address add 10.0.0.1/24 dev wg0", "link set wg0 up")
    talker.handshake()
    return talker


def next_kind(talker):
    """What the device sends when it has a packet for the peer."""
    with contextlib.suppress(socket.timeout):
        talker.sock.settimeout(0.3)
        while True:
            talker.sock.recv(65536)
    talker.sock.settimeout(3)
    with ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside:
        inside.sendto(b"x", ("10.0.0.2", 9))
    return wgproto.message_type(talker.sock.recv(65536))


@suite.test("the same private key again leaves sessions alone, another one ends them")
def _():
    nl = fresh()
    talker = session_with_device(nl)
    assert next_kind(talker) == wgproto.DATA
    nl.set(WG, private_key(CLAMPED), listen_port(51820), fwmark(0))
    assert next_kind(talker) == wgproto.DATA
    nl.set(WG, private_key(PSK))
    assert next_kind(talker) == wgproto.INITIATION


@suite.test("traffic and time of a session are shown")
def _():
    nl = fresh()
    before = int(time.time())
    talker = session_with_device(nl)
    next_kind(talker)
    shown = nl.get("wg0").peers[0]
    seconds, nanoseconds = shown.last_handshake
    assert before <= seconds <= time.time() + 1 and 0 <= nanoseconds < 10**9
    # An initiation of 148 bytes and a keepalive of 32; a response of 92 and the packet: 29 bytes
    # and padding in a header and a tag.
    assert (shown.rx_bytes, shown.tx_bytes) == (148 + 32, 92 + 64), (shown.rx_bytes, shown.tx_bytes)
    assert shown.endpoint == sockaddr(*talker.sock.getsockname())


@suite.test("a persistent keepalive begins at once where the device is up, and only there")
def _():
    nl = fresh()
    sock = ns.udp("127.0.0.1", timeout=3)
    suite.defer(sock.close)
    nl.set(WG, private_key(KEY), peers(peer(PEER, endpoint=sock.getsockname())))
    nl.set(WG, peers(peer(PEER, keepalive=1000)))
    sock.settimeout(0.5)
    with contextlib.suppress(socket.timeout):
        sock.recv(2000)
        raise AssertionError("sent while down")
    nl.set(WG, peers(peer(PEER, keepalive=0)))
    ns.ip("link set wg0 up")
    with contextlib.suppress(socket.timeout):
        sock.recv(2000)
        raise AssertionError("sent without being asked")
    nl.set(WG, peers(peer(PEER, keepalive=1000)))
    sock.settimeout(3)
    assert wgproto.message_type(sock.recv(2000)) == wgproto.INITIATION


# --- malformed messages ---

def rows(error, *cases):
    return [(error, name, data) for name, data in cases]


def sizes(error, what, kind, lengths, wrap=lambda one: one):
    """An attribute of wrong lengths."""
    return [(error, f"{what} of {n} bytes", wrap(attr(kind, bytes(n)))) for n in lengths]


def one_peer(*attributes, **options):
    return peers(peer(PEER, *attributes, **options))


def one_ip(*attributes):
    return one_peer(nest(PEER_ALLOWEDIPS, nest(0, *attributes)))


V4, V6 = u16(IP_FAMILY, socket.AF_INET), u16(IP_FAMILY, socket.AF_INET6)
ADDR4, ADDR6, CIDR = attr(IP_ADDR, b"\n\0\0\1"), attr(IP_ADDR, bytes(16)), u8(IP_CIDR, 24)

DEVICE_CASES = (
    sizes("ERANGE", "private key", DEV_PRIVATE_KEY, (0, 31, 33, 64)) +
    sizes("ERANGE", "public key", DEV_PUBLIC_KEY, (0, 31, 33)) +
    sizes("EINVAL", "flags", DEV_FLAGS, (0, 2, 5, 8)) +
    sizes("EINVAL", "listen port", DEV_LISTEN_PORT, (0, 1, 3, 4)) +
    sizes("EINVAL", "mark", DEV_FWMARK, (0, 2, 5, 8)) +
    rows("EOPNOTSUPP",
         ("unknown flag", device_flags(2)), ("unknown flag beside a known one", device_flags(3)),
         ("highest flag", device_flags(1 << 31))) +
    rows("EINVAL",
         ("peers that are not nested", attr(DEV_PEERS, peer(PEER))),
         ("no peers that are not nested", attr(DEV_PEERS)),
         ("a peer that is not nested", nest(DEV_PEERS, attr(0, attr(PEER_PUBLIC_KEY, PEER)))),
         ("attribute 0", attr(0, b"xxxx")), ("attribute 9", attr(9, b"xxxx")),
         ("attribute 200", attr(200)),
         ("a port that is nested", attr(DEV_LISTEN_PORT | NLA_F_NESTED, b"\1\2")),
         ("an attribute longer than the message", attr(DEV_LISTEN_PORT, b"\1\2", length=60)),
         ("an attribute shorter than its header", attr(DEV_LISTEN_PORT, b"\1\2", length=2)),
         ("1 byte left over", b"x"), ("3 bytes left over", b"xxx")) +
    rows("ERANGE",
         ("peers of 1 byte", attr(DEV_PEERS | NLA_F_NESTED, b"x")),
         ("peers of 3 bytes", attr(DEV_PEERS | NLA_F_NESTED, b"xxx"))))

PEER_CASES = (
    sizes("ERANGE", "public key", PEER_PUBLIC_KEY, (0, 31, 33), lambda a: peers(nest(0, a))) +
    sizes("ERANGE", "pre-shared key", PEER_PRESHARED_KEY, (0, 31, 33), one_peer) +
    sizes("EINVAL", "flags", PEER_FLAGS, (0, 2, 5, 8), one_peer) +
    sizes("ERANGE", "endpoint", PEER_ENDPOINT, (0, 2, 15), one_peer) +
    sizes("EINVAL", "keepalive interval", PEER_KEEPALIVE, (0, 1, 3, 4), one_peer) +
    sizes("ERANGE", "time of handshake", PEER_LAST_HANDSHAKE, (0, 8, 15, 17), one_peer) +
    sizes("EINVAL", "received bytes", PEER_RX_BYTES, (0, 4, 7, 9), one_peer) +
    sizes("EINVAL", "sent bytes", PEER_TX_BYTES, (0, 4, 7, 9), one_peer) +
    sizes("EINVAL", "protocol version", PEER_VERSION, (1, 2, 5, 8), one_peer) +
    rows("EOPNOTSUPP",
         ("unknown flag", one_peer(flags=8)), ("highest flag", one_peer(flags=1 << 31)),
         ("unknown flag beside known ones", one_peer(flags=15))) +
    rows("EPFNOSUPPORT",
         ("protocol version 0", one_peer(u32(PEER_VERSION, 0))),
         ("protocol version 2", one_peer(u32(PEER_VERSION, 2))),
         ("protocol version 2 of one to be removed",
          one_peer(u32(PEER_VERSION, 2), flags=PEER_REMOVE_ME))) +
    rows("EINVAL",
         ("nothing", peers(nest(0))), ("no public key", peers(nest(0, attr(2, PSK)))),
         ("attribute 0", one_peer(attr(0, b"xxxx"))), ("attribute 11", one_peer(attr(11, b"xxxx"))),
         ("prefixes that are not nested",
          one_peer(attr(PEER_ALLOWEDIPS, allowed_ip("10.0.0.0/8")))),
         ("flags that are nested", one_peer(attr(PEER_FLAGS | NLA_F_NESTED, bytes(4)))),
         ("bytes left over", peers(attr(NLA_F_NESTED, attr(PEER_PUBLIC_KEY, PEER) + b"xx")))) +
    rows("ERANGE",
         ("prefixes of 2 bytes", one_peer(attr(PEER_ALLOWEDIPS | NLA_F_NESTED, b"xx")))))

IP_CASES = (
    sizes("EINVAL", "family", IP_FAMILY, (0, 1, 3, 4), lambda a: one_ip(a, ADDR4, CIDR)) +
    sizes("ERANGE", "address", IP_ADDR, (0, 3), lambda a: one_ip(V4, a, CIDR)) +
    sizes("EINVAL", "IPv4 address", IP_ADDR, (5, 8, 15, 16, 17, 32),
          lambda a: one_ip(V4, a, CIDR)) +
    sizes("EINVAL", "IPv6 address", IP_ADDR, (4, 5, 8, 15, 17, 32),
          lambda a: one_ip(V6, a, CIDR)) +
    sizes("EINVAL", "length", IP_CIDR, (0, 2, 4), lambda a: one_ip(V4, ADDR4, a)) +
    [("EINVAL", f"family {n} with {size} bytes",
      one_ip(u16(IP_FAMILY, n), attr(IP_ADDR, bytes(size)), CIDR))
     for n in (0, 1, 7, 0xffff, 0x200, 0xa00) for size in (4, 16)] +
    [("EINVAL", f"IPv4 prefix of {n} bits", one_ip(V4, ADDR4, u8(IP_CIDR, n)))
     for n in (33, 128, 255)] +
    [("EINVAL", f"IPv6 prefix of {n} bits", one_ip(V6, ADDR6, u8(IP_CIDR, n)))
     for n in (129, 255)] +
    rows("EINVAL",
         ("nothing", one_ip()), ("no family", one_ip(ADDR4, CIDR)),
         ("no address", one_ip(V4, CIDR)), ("no length", one_ip(V4, ADDR4)),
         ("attribute 0", one_ip(V4, ADDR4, CIDR, attr(0, b"xxxx"))),
         ("attribute 5", one_ip(V4, ADDR4, CIDR, attr(5, b"xxxx"))),
         ("a prefix that is not nested",
          one_peer(nest(PEER_ALLOWEDIPS, attr(0, V4 + ADDR4 + CIDR)))),
         ("bytes left over", one_peer(nest(PEER_ALLOWEDIPS,
                                           attr(NLA_F_NESTED, V4 + ADDR4 + CIDR + b"xx"))))))

IP_FLAG_CASES = (
    sizes("EINVAL", "flags", IP_FLAGS, (0, 2, 5, 8), lambda a: one_ip(V4, ADDR4, CIDR, a)) +
    rows("EOPNOTSUPP",
         ("unknown flag", one_ip(V4, ADDR4, CIDR, u32(IP_FLAGS, 2))),
         ("unknown flag beside the known one", one_ip(V4, ADDR4, CIDR, u32(IP_FLAGS, 3))),
         ("highest flag", one_ip(V4, ADDR4, CIDR, u32(IP_FLAGS, 1 << 31)))))

# Malformed or of no use, but accepted: as it always was.
ACCEPTED = (
    ("public key", attr(DEV_PUBLIC_KEY, PSK)),
    ("no peers", peers()),
    ("peers that begin with zeroes", attr(DEV_PEERS | NLA_F_NESTED, bytes(4))),
    ("peers that run over", attr(DEV_PEERS | NLA_F_NESTED, b"\xff\xff\0\x80")),
    ("2 bytes after the peers", attr(DEV_PEERS | NLA_F_NESTED, peer(PEER) + b"xx")),
    ("peer of type 77", nest(DEV_PEERS, nest(77, attr(PEER_PUBLIC_KEY, PEER)))),
    ("network byte order bit", attr(DEV_FWMARK | NLA_F_NET_BYTEORDER, bytes(4))),
    ("time and bytes", one_peer(attr(PEER_LAST_HANDSHAKE, bytes(16)),
                                attr(PEER_RX_BYTES, bytes(8)), attr(PEER_TX_BYTES, bytes(8)))),
    ("version 1", one_peer(u32(PEER_VERSION, 1))),
    ("no prefixes", one_peer(nest(PEER_ALLOWEDIPS))),
    ("bytes after the prefixes",
     one_peer(attr(PEER_ALLOWEDIPS | NLA_F_NESTED, allowed_ip("10.0.0.0/8") + b"xx"))),
    ("bad prefix of one to be removed",
     peers(peer(public(99), nest(PEER_ALLOWEDIPS, nest(0)), flags=PEER_REMOVE_ME))),
)


def configured(nl):
    nl.set(WG, private_key(KEY), listen_port(5), fwmark(6), peers(
        peer(PEER, psk=PSK, endpoint=("192.0.2.1", 3), keepalive=4,
             allowed=["10.0.0.1", "fd00::/8"]),
        peer(public(1), allowed=["10.0.0.0/8"])))
    return nl.get("wg0").config()


def check_refused(cases):
    """Each alone, and at the end of a message of which all else is good."""
    nl = fresh()
    before = configured(nl)
    good = (private_key(PSK) + listen_port(99) + fwmark(98) + device_flags(DEV_REPLACE_PEERS))
    good_peer = peer(public(2), psk=KEY, allowed=["10.0.0.1/32", "10.7.0.0/16"])
    wrong = []
    for name, what, data in cases:
        code = getattr(errno, name)
        messages = [data]
        if OWN:
            messages += [good + data, peers(good_peer) + data]
            if len(data) > 8 and data[2:4] == struct.pack("=H", DEV_PEERS | NLA_F_NESTED):
                messages.append(peers(good_peer, data[4:]))
                messages.append(good + peers(good_peer, data[4:]))
        for number, message in enumerate(messages):
            try:
                nl.set(WG, message)
                wrong.append(f"{what}: accepted ({number})")
            except NetlinkError as error:
                if error.errno != code:
                    wrong.append(f"{what}: {error} instead of {name} ({number})")
            if OWN and nl.get("wg0").config() != before:
                wrong.append(f"{what}: changed something ({number})")
                nl.set(WG, device_flags(DEV_REPLACE_PEERS))
                before = configured(nl)
    assert not wrong, "\n".join(["", *wrong])


@suite.test(f"{len(DEVICE_CASES)} malformed device attributes: error, nothing changed")
def _():
    check_refused(DEVICE_CASES)


@suite.test(f"{len(PEER_CASES)} malformed peer attributes: error, nothing changed")
def _():
    check_refused(PEER_CASES)


@suite.test(f"{len(IP_CASES)} malformed prefixes: error, nothing changed")
def _():
    check_refused(IP_CASES)


@suite.test(f"{len(IP_FLAG_CASES)} malformed flags of prefixes: error, nothing changed")
def _():
    need_own("of this kernel has no flags of prefixes")
    check_refused(IP_FLAG_CASES)


@suite.test("errors tell which attribute it was")
def _():
    need_own("tells only of those that policy rejects")
    nl = fresh()
    for data, offset in ((device_flags(2), 0), (one_peer(flags=8), 4 + 4 + 36),
                         (one_ip(V4, ADDR4, u8(IP_CIDR, 33)), 4 + 4 + 36 + 4 + 4 + 8 + 8)):
        error = refused(errno.EINVAL if offset > 50 else errno.EOPNOTSUPP, nl.set, WG, data)
        assert error.extack and error.offset == 20 + len(WG) + offset, (error.offset, offset)


@suite.test("oddities that were always accepted still are")
def _():
    nl = fresh()
    wrong = []
    for name, data in ACCEPTED:
        try:
            nl.set(WG, data)
        except NetlinkError as error:
            wrong.append(f"{name}: {error}")
    assert not wrong, wrong


@suite.test("an endpoint that is of neither family is passed over")
def _():
    nl = fresh()
    nl.set(WG, peers(peer(PEER, endpoint=("192.0.2.1", 3))))
    kept = sockaddr("192.0.2.1", 3)
    for family in (0, 1, socket.AF_INET, socket.AF_INET6, 0xffff):
        for length in (16, 17, 24, 27, 28, 29, 40, 128):
            data = (struct.pack("=HH", family, 7) + b"\1" * 130)[:length]
            right = (family, length) in ((socket.AF_INET, 16), (socket.AF_INET6, 28))
            nl.set(WG, one_peer(attr(PEER_ENDPOINT, data)))
            kept = data if right else kept
            assert nl.get("wg0").peers[0].endpoint == kept, (family, length)


NAMES = (
    [("EBADR", "no device", b""), ("EBADR", "name and index", WG + ifindex(2)),
     ("ENODEV", "unknown name", ifname("nope")), ("ENODEV", "no name", ifname("")),
     ("ENODEV", "index 0", ifindex(0)), ("ENODEV", "unknown index", ifindex(99999)),
     ("ENODEV", "index -1", ifindex(2**32 - 1)),
     ("EOPNOTSUPP", "loopback", ifname("lo")), ("EOPNOTSUPP", "loopback's index", ifindex(1)),
     ("EINVAL", "name of 0 bytes", attr(DEV_IFNAME)),
     ("EINVAL", "name without end", attr(DEV_IFNAME, b"wg0")),
     ("EINVAL", "long name without end", attr(DEV_IFNAME, LONG.encode())),
     ("EINVAL", "name too long", attr(DEV_IFNAME, b"a" * 16 + b"\0")),
     ("EINVAL", "name too long, without end", attr(DEV_IFNAME, b"a" * 16))] +
    sizes("EINVAL", "index", DEV_IFINDEX, (0, 2, 3, 5, 8)))


@suite.test("devices are named by index or by name, and must be ours")
def _():
    nl = fresh()
    fresh(LONG)
    nl.set(ifname(LONG), fwmark(3))
    assert nl.get(LONG).fwmark == 3
    wrong = []
    for name, what, data in NAMES:
        for action in (lambda: nl.set(data), lambda: nl.dump(data),
                       lambda: nl.set(data, peers(nest(0)), device_flags(99))):
            try:
                action()
                wrong.append(f"{what}: accepted")
            except NetlinkError as error:
                # What is wrong with a key or a peer is looked at after the device was found.
                if error.errno != getattr(errno, name):
                    wrong.append(f"{what}: {error} instead of {name}")
    assert not wrong, "\n".join(["", *wrong])


@suite.test("malformed requests for a dump")
def _():
    nl = fresh()
    before = configured(nl)
    for name, what, data in DEVICE_CASES:
        if name == "EOPNOTSUPP" or "a peer that" in what:
            continue	# Nobody looks at those.
        refused(getattr(errno, name), nl.dump, WG, data)
    assert Device(nl.dump(WG, device_flags(2), peers(nest(0)))).config() == before


@suite.test("commands and headers")
def _():
    nl = fresh()
    for command, flags in ((SET_DEVICE, NLM_F_DUMP), (GET_DEVICE, NLM_F_ACK), (GET_DEVICE, 0x100),
                           (2, NLM_F_ACK), (2, NLM_F_DUMP), (255, NLM_F_ACK)):
        refused(errno.EOPNOTSUPP, nl.request, command, WG, flags=flags)
    for options in ({"version": 0}, {"version": 2}, {"reserved": 5}):
        nl.request(SET_DEVICE, WG, **options)
        assert nl.request(GET_DEVICE, WG, flags=NLM_F_DUMP, **options)


@suite.test("secrets do not come back with an error")
def _():
    nl = fresh()
    secrets = private_key(b"S" * 32) + peers(peer(PEER, psk=b"T" * 32),
                                             peer(public(1), psk=b"T" * 32, flags=8))
    error = refused(errno.EOPNOTSUPP, nl.set, WG, secrets)
    assert len(error.echo) > len(secrets), "the request did not come back"
    assert PEER in error.echo
    assert b"SSSS" not in error.echo and b"TTTT" not in error.echo
    if OWN:
        error = refused(errno.ENODEV, nl.set, ifname("nope"), secrets)
        assert b"SSSS" not in error.echo and b"TTTT" not in error.echo


# --- who may ---

def in_child(function, clone=0, uid=None):
    """Runs it in a process of its own, maybe in new namespaces; returns its value or error number.

    @function gets a function that waits until this process has done its part.
    """
    def begin(report, orders):
        if uid is not None:
            os.setgroups([])
            os.setuid(uid)
        if clone and libc.unshare(clone):
            raise OSError(ctypes.get_errno(), "unshare")
        os.write(report[1], b"ready")
        assert os.read(orders[0], 2) == b"go"
        return function()

    report, orders = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        try:
            result = begin(report, orders)
        except OSError as error:
            result = error.errno
        except BaseException as error:
            result = repr(error)
        os.write(report[1], pickle.dumps(result))
        os._exit(0)
    assert os.read(report[0], 5) == b"ready"
    yield pid
    os.write(orders[1], b"go")
    value = pickle.loads(os.read(report[0], 65536))
    os.waitpid(pid, 0)
    for end in report + orders:
        os.close(end)
    yield value


@suite.test("the unprivileged may neither look nor change")
def _():
    nl = fresh()
    before = configured(nl)
    made_before = Netlink(ns)	# by root: whose privileges it has does not matter

    def inside():
        results = []
        own = Netlink()
        for action in (lambda: own.get("wg0"), lambda: own.set(WG, fwmark(1)),
                       lambda: made_before.set(WG, fwmark(1)), lambda: own.get("nope"),
                       lambda: own.set(WG, private_key(bytes(3)))):
            try:
                action()
                results.append(0)
            except NetlinkError as error:
                results.append(error.errno)
        return results

    with ns.entered():
        child = in_child(inside, uid=65534)
        next(child)
        value = next(child)
    assert value == [errno.EPERM] * 5, value
    assert nl.get("wg0").config() == before
    made_before.close()


@suite.test("a user namespace's root changes devices given to it, but not their outer side")
def _():
    nl = fresh()
    configured(nl)
    index = nl.get("wg0").ifindex
    pub = nl.get("wg0").public_key

    def inside():
        own = Netlink()
        results = []
        for data in (fwmark(6), fwmark(9), listen_port(5), listen_port(9),
                     fwmark(9) + peers(peer(PSK))):
            try:
                own.set(ifindex(index), data)
                results.append(0)
            except NetlinkError as error:
                results.append(error.errno)
        own.set(ifindex(index), peers(peer(KEY, allowed=["10.99.0.0/16"])))
        device = Device(own.dump(ifindex(index)))
        return results, device.fwmark, device.listen_port, device.public_key, len(device.peers)

    child = in_child(inside, CLONE_NEWUSER | CLONE_NEWNET)
    pid = next(child)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write("0 0 1")
    ns.ip(f"link set wg0 netns {pid}")
    value = next(child)
    assert value == ([errno.EPERM] * 5, 6, 5, pub, 3), value


@suite.test("devices of another namespace are not seen")
def _():
    fresh()
    elsewhere = Namespace("elsewhere")
    suite.defer(elsewhere.remove)
    nl = Netlink(elsewhere)
    suite.defer(nl.close)
    refused(errno.ENODEV, nl.get, "wg0")
    refused(errno.ENODEV, nl.set, WG, fwmark(1))


@suite.test("the socket's side belongs to the namespace of birth when the device moves")
def _():
    nl = fresh()
    elsewhere = Namespace("elsewhere")
    suite.defer(elsewhere.remove)
    ns.ip(f"link set wg0 netns {elsewhere.name}")
    there = Netlink(elsewhere)
    suite.defer(there.close)
    refused(errno.ENODEV, nl.get, "wg0")
    there.set(WG, listen_port(777), fwmark(4))
    elsewhere.ip("link set wg0 up")
    assert "777" in ns.run("ss -Hlun") and elsewhere.run("ss -Hlun") == ""
    there.set(WG, listen_port(778))
    assert "778" in ns.run("ss -Hlun")


# --- dumps and changes at the same time ---

PEERS, PREFIXES = 20, 200


def many_peers(nl, name="wg0"):
    for i in range(PEERS):
        nl.set(ifname(name), peers(peer(public(i), allowed=[f"10.{i}.{j}.0/24"
                                                            for j in range(PREFIXES)])))


def dump_with(change, after=1):
    """A dump in small pieces, with @change called once so many were read; ours read 2 ahead."""
    slow = Netlink(ns, size=8192, timeout=10)
    try:
        slow.send(GET_DEVICE, WG, flags=NLM_F_DUMP)
        messages, end = slow.receive()
        while not end:
            if len(messages) == after:
                change()
            more, end = slow.receive()
            messages += more
        return Device(messages)
    finally:
        slow.close()


@suite.test("a dump that nothing disturbs is not marked, one with a change in between is")
def _():
    nl = fresh()
    many_peers(nl)
    device = dump_with(lambda: None)
    assert not device.interrupted and len(device.messages) > 10
    complete = device.config()
    device = dump_with(lambda: nl.set(WG, fwmark(1)))
    assert device.interrupted and device.config()[6] == complete[6]


@suite.test("a dump goes on when peers or prefixes that it has sent are removed")
def _():
    nl = fresh()

    def change_some(flags, numbers):
        return lambda: nl.set(WG, peers(*(peer(public(i), flags=flags) for i in numbers)))

    for flags in (PEER_REMOVE_ME, PEER_REPLACE_ALLOWEDIPS):
        for numbers in ((0,), (1, 2), range(5), (3, 4, 5, 6), range(8, 20), range(20)):
            nl.set(WG, device_flags(DEV_REPLACE_PEERS))
            many_peers(nl)
            device = dump_with(change_some(flags, numbers), 3)
            assert device.interrupted
            keys = [p.public_key for p in device.peers]
            assert len(keys) == len(set(keys)), "a peer came twice"
            if OWN and flags == PEER_REPLACE_ALLOWEDIPS:
                assert len(keys) == PEERS
            if OWN and numbers in ((0,), (1, 2)):
                assert [p.public_key for p in device.peers if p.public_key not in
                        map(public, numbers)] == [public(i) for i in range(PEERS)
                                                  if i not in numbers]
            for p in device.peers:
                number = p.public_key[3]
                wanted = [f"10.{number}.{j}.0/24" for j in range(PREFIXES)]
                if number not in numbers and OWN:
                    assert p.prefixes() == wanted, number
                else:
                    assert set(p.prefixes()) <= set(wanted)


@suite.test("a dump that nobody goes on reading does not keep a device from being deleted")
def _():
    need_own("waits for the reader")
    nl = fresh()
    many_peers(nl)
    slow = Netlink(ns, size=8192, timeout=10)
    slow.send(GET_DEVICE, WG, flags=NLM_F_DUMP)
    slow.receive()
    sh(f"timeout 50 ip -n {ns.name} link del wg0")
    with contextlib.suppress(NetlinkError):
        while not slow.receive()[1]:
            pass
        raise AssertionError("came to an end as if nothing had happened")
    ns.ip("link add wg0 type wireguard")
    slow.close()


@suite.test("dumps while devices come and go and change: each unmarked one is of one state")
def _():
    nl = fresh()
    many_peers(nl)
    changer, deleter = Netlink(ns), Netlink(ns)
    value, took = [0], [0.1]
    done = {"whole": 0, "marked": 0}

    def change():
        value[0] = (value[0] + 1) % 65536
        changer.set(WG, peers(*(peer(public(i), keepalive=value[0]) for i in range(PEERS))))
        # Some dumps are to get through between two changes, however slow the machine is.
        time.sleep(rng.random() * 3 * took[0])

    def come_and_go():
        ns.ip("link add wg1 type wireguard")
        many_peers(deleter, "wg1")
        ns.ip("link del wg1")

    def look(name, size):
        one = Netlink(ns, size=size, timeout=10)
        try:
            device = one.get(name)
        except NetlinkError as error:
            assert name == "wg1" and error.errno == errno.ENODEV, error
            return
        finally:
            one.close()
        if name == "wg0":
            done["marked" if device.interrupted else "whole"] += 1
            if not device.interrupted:
                assert len(device.peers) == PEERS
                assert len({p.keepalive for p in device.peers}) == 1
        if not device.interrupted:
            assert all(len(p.allowed) == PREFIXES for p in device.peers)

    with Background(change), Background(come_and_go), Background(lambda: look("wg1", 8192)):
        begin = time.monotonic()
        while (now := time.monotonic()) < begin + 8 or (now < begin + 300 and not all(done.values())):
            look("wg0", rng.choice((8192, 16384, 65536)))
            took[0] = time.monotonic() - now
    print(f"# {done}")
    assert done["whole"] and done["marked"]


@suite.test("two writers and the trie: every prefix belongs to exactly one peer in the end")
def _():
    nl = fresh()
    prefixes = [f"10.{i}.0.0/{n}" for i in range(60) for n in (16, 17, 24, 32)]

    def writer(number):
        own, order = Netlink(ns), random.Random(number)
        for _ in range(60):
            own.set(WG, peers(peer(public(order.randrange(6)), allowed=order.sample(prefixes, 60))))
        own.close()

    threads = [threading.Thread(target=writer, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    nl.set(WG, peers(peer(public(0), allowed=prefixes)))
    shown = [p for one in nl.get("wg0").peers for p in one.prefixes()]
    assert sorted(shown) == sorted(prefixes)


suite.run_and_exit()
