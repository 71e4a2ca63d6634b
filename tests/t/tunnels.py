#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""A thousand tunnels come up, carry something, and go: nothing of them stays.

What the module says in its debug messages is counted: each interface, peer and
key pair that was made must have been destroyed. Memory must be as before.
"""

import contextlib
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import wgnl
import wgproto
from net import OWN, Namespace, sh, veth, wait_until, wireguard
from tap import Skip, Suite

TUNNELS = 1000
BATCH = 250
DEBUG = "/sys/kernel/debug/dynamic_debug/control"
KINDS = {
    "interface": (r"Interface created", r"Interface destroyed"),
    "peer": (r"Peer \d+ created", r"Peer \d+ \(.*\) destroyed"),
    "key pair": (r"Keypair \d+ created", r"Keypair \d+ destroyed"),
}

suite = Suite()


class Tunnels:
    """A number of devices in one namespace, each with a session with a hub in another one."""

    def __init__(self, count):
        self.count = count
        self.near, self.far = Namespace("near"), Namespace("far")
        veth(self.near, self.far)
        keys = [wgproto.generate_private() for _ in range(count)]
        hub = wgproto.generate_private()
        for number, ns in enumerate((self.near, self.far), 1):
            ns.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
            ns.ip(f"address add 192.168.1.{number}/24 dev eth0")
        wireguard(self.far, "wg0", hub, 2000)
        self.far.ip("route add 10.0.0.0/16 dev wg0", "route add local 10.1.0.0/16 dev lo")
        with wgnl_in(self.far) as nl:
            nl.set(wgnl.ifname("wg0"),
                   wgnl.peers(*(wgnl.peer(wgproto.public_of(key), allowed=[self.address(n)])
                                for n, key in enumerate(keys))))
        self.near.ip(*(f"link add wg{n} type wireguard" for n in range(count)),
                     *(f"address add {self.address(n)} peer {self.hub_address(n)} dev wg{n}"
                       for n in range(count)))
        peers = wgnl.peers(wgnl.peer(wgproto.public_of(hub), endpoint=("192.168.1.2", 2000),
                                     allowed=["0.0.0.0/0"], keepalive=25))
        with wgnl_in(self.near) as nl:
            for n, key in enumerate(keys):
                nl.set(wgnl.ifname(f"wg{n}"), wgnl.private_key(key), peers)
        # Each greets when it comes up.
        self.near.ip(*(f"link set wg{n} up" for n in range(count)))

    @staticmethod
    def address(n):
        return f"10.0.{n // 256}.{n % 256}"

    @staticmethod
    def hub_address(n):
        return f"10.1.{n // 256}.{n % 256}"

    def have_sessions(self):
        with wgnl_in(self.far) as nl:
            wait_until(lambda: all(peer.rx_bytes >= 148 + 32 for peer in nl.get("wg0").peers), 60,
                       "a session in each tunnel")

    def carry(self):
        """A datagram through each."""
        sink = self.far.udp("0.0.0.0", 9000)
        out = self.near.udp()
        for n in range(self.count):
            out.sendto(str(n).encode(), (self.hub_address(n), 9000))
        got = {int(sink.recv(100)) for _ in range(self.count)}
        assert got == set(range(self.count))
        sink.close()
        out.close()

    def delete_devices(self):
        """A few of them: one by one they take much longer than with their namespace."""
        self.near.ip(*(f"link del wg{n}" for n in range(0, self.count, 10)))
        self.far.ip("link del wg0")

    def remove(self):
        self.near.remove()
        self.far.remove()


def wgnl_in(ns):
    return contextlib.closing(wgnl.Netlink(ns))


def memory():
    """Kernel memory in KiB."""
    with open("/proc/meminfo") as file:
        fields = dict(re.findall(r"(\w+): *(\d+) kB", file.read()))
    return {name: int(fields[name]) for name in ("SUnreclaim", "Percpu", "KernelStack")}


def count_messages():
    log = sh("dmesg")
    return {kind: tuple(len(re.findall(rf"wireguard: \S+: {text}", log)) for text in texts)
            for kind, texts in KINDS.items() if OWN or kind != "key pair"}


def one_batch(count):
    tunnels = Tunnels(count)
    try:
        tunnels.have_sessions()
        tunnels.carry()
        tunnels.delete_devices()
    finally:
        tunnels.remove()


@suite.test(f"{TUNNELS} tunnels are made and deleted, nothing of them stays")
def _():
    if not os.path.exists(DEBUG):
        raise Skip("no dynamic debug")
    sh("modprobe wireguard")
    sh(f"echo 'module wireguard +p' >{DEBUG}")
    suite.defer(sh, f"echo 'module wireguard -p' >{DEBUG}")
    one_batch(20)  # what is allocated once is, then
    time.sleep(1)
    sh("dmesg --clear")
    before, start = memory(), time.monotonic()
    for _ in range(TUNNELS // BATCH):
        one_batch(BATCH)
    print(f"# {time.monotonic() - start:.0f} s")

    def all_gone():
        counts = count_messages()
        return counts if all(made == gone for made, gone in counts.values()) else None

    try:
        wait_until(all_gone, 90, "the last destroyed")
    finally:
        print("# made and destroyed:", count_messages())
    counts = count_messages()
    assert counts["interface"][0] == TUNNELS + TUNNELS // BATCH, counts
    assert counts["peer"][0] == 2 * TUNNELS, counts
    # The in-tree module does not say all of these.
    assert not OWN or counts["key pair"][0] >= 2 * TUNNELS, counts
    after = memory()
    print("# memory in KiB:", before, after)
    # A tunnel takes some ten KiB; the slack is for the rest of the system.
    for name, value in after.items():
        assert value - before[name] < 5 * TUNNELS, f"{name} grew by {value - before[name]} KiB"


suite.run_and_exit()
