#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""The netlink family wg_lane, and what it sets: home CPU, switches, counters."""

import errno
import os
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import wgproto
from net import Background, Namespace, b64, sh, veth, wait_until, wireguard
from tap import Skip, Suite
from wglane import (AGGREGATES_IN, GET, GET_COUNTERS, HOME_CPU, IFINDEX, SET, SUPERPACKETS_OUT, Lanes, counter_names, s32)
from wgnl import NLM_F_DUMP, NetlinkError, attr, ifname, u8, u32

CPUS = os.cpu_count()
SO_RCVBUFFORCE = 33
SOL_UDP, UDP_SEGMENT, SEGMENT, SEGMENTS = 17, 103, 1300, 45
ETH_P_ALL, LISTENERS = 3, 300

suite = Suite()
a, b = Namespace("a"), Namespace("b")
keys = {ns: wgproto.generate_private() for ns in (a, b)}
lanes = Lanes(a)
far = Lanes(b)


def set_up():
    veth(a, b)
    for ns, n in ((a, 1), (b, 2)):
        ns.ip(f"address add 192.168.1.{n}/24 dev eth0")
    make_tunnel()


def make_tunnel():
    for ns, other, n, m in ((a, b, 1, 2), (b, a, 2, 1)):
        wireguard(ns, "wg0", keys[ns], 1000, (f"10.0.0.{n}/24",))
        ns.run(f"wg set wg0 peer {b64(wgproto.public_of(keys[other]))} allowed-ips 10.0.0.{m}/32 "
               f"endpoint 192.168.1.{m}:1000")
    a.run("ping -c 1 -W 5 10.0.0.2")


set_up()


def refused(code, *attrs, command=SET, flags=None):
    before = lanes.show("wg0")
    options = {} if flags is None else {"flags": flags}
    try:
        lanes.request(command, b"".join(attrs), **options)
    except NetlinkError as error:
        assert error.errno == code, f"{error}, not {errno.errorcode[code]}"
        assert lanes.show("wg0") == before, "something changed"
        return error.extack
    raise AssertionError("accepted")


@suite.test("a device as it is at first; all devices")
def _():
    found = lanes.show("wg0")
    index = int(a.run("cat /sys/class/net/wg0/ifindex"))
    version = open("/sys/module/wireguard/version").read().strip()
    assert found == {"ifindex": index, "ifname": "wg0", "home_cpu": -1, "superpackets_out": 1, "aggregates_in": 1,
                     "module_version": version}, found
    a.ip(*(f"link add many{i} type wireguard" for i in range(300)))
    names = {d["ifname"] for d in lanes.show_all()}
    a.ip(*(f"link del many{i}" for i in range(300)))
    assert names == {"wg0"} | {f"many{i}" for i in range(300)}, len(names)


@suite.test("what is set is shown, by name and by number, here and by ethtool")
def _():
    for home in (CPUS - 1, 0, -1):
        lanes.change("wg0", home_cpu=home)
        assert lanes.show("wg0")["home_cpu"] == home
    for out, into in ((0, 1), (1, 0), (0, 0), (1, 1)):
        lanes.change("wg0", superpackets_out=out, aggregates_in=into)
        found = lanes.show("wg0")
        assert (found["superpackets_out"], found["aggregates_in"]) == (out, into)
        shown = a.run("ethtool --show-priv-flags wg0").split()
        on = {0: "off", 1: "on"}
        assert [word for word in shown if word in on.values()] == [on[out], on[into]], shown
    a.run("ethtool --set-priv-flags wg0 aggregates-in off")
    assert lanes.show("wg0")["aggregates_in"] == 0
    lanes.request(SET, u32(IFINDEX, lanes.show("wg0")["ifindex"]) + u8(AGGREGATES_IN, 1))
    assert lanes.show("wg0")["aggregates_in"] == 1


@suite.test("bad requests: an error that says why, and nothing changed")
def _():
    index = lanes.show("wg0")["ifindex"]
    off = u8(SUPERPACKETS_OUT, 0)
    assert "index or a name" in refused(errno.EINVAL, off)
    assert "index or a name" in refused(errno.EINVAL, u32(IFINDEX, index), ifname("wg0"), off)
    refused(errno.ENODEV, ifname("wg7"), off)
    refused(errno.ENODEV, u32(IFINDEX, 99999), off)
    assert "not a WireGuard" in refused(errno.EOPNOTSUPP, ifname("eth0"), off)
    refused(errno.ERANGE, u32(IFINDEX, 0), off)
    refused(errno.ERANGE, ifname("wg0"), off, s32(HOME_CPU, -2))
    for cpu in (100000, 2**31 - 1):
        assert "no such CPU" in refused(errno.EINVAL, ifname("wg0"), off, s32(HOME_CPU, cpu))
    refused(errno.ERANGE, ifname("wg0"), s32(HOME_CPU, 0), u8(SUPERPACKETS_OUT, 2))
    refused(errno.ERANGE, ifname("wg0"), s32(HOME_CPU, 0), u8(AGGREGATES_IN, 255))
    refused(errno.EINVAL, ifname("wg0"), off, attr(HOME_CPU, b"\0"))
    refused(errno.EINVAL, ifname("w" * 16), off)
    refused(errno.EINVAL, ifname("wg0"), attr(99, b"1234"), off)
    refused(errno.EINVAL, command=GET_COUNTERS, flags=NLM_F_DUMP)
    refused(errno.ENODEV, ifname("wg7"), command=GET)


@suite.test("without CAP_NET_ADMIN: shown, not set")
def _():
    result = []

    def work():
        # This thread alone: the system call, not the C library's wrapper.
        import ctypes
        assert not ctypes.CDLL(None).syscall(117, 65534, 65534, 65534)
        own = Lanes(None)
        result.append(own.request(GET, flags=NLM_F_DUMP))
        try:
            own.change("wg0", home_cpu=0)
        except NetlinkError as error:
            result.append(error.errno)

    with a.entered():
        pass
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(result) == 2 and result[1] == errno.EPERM, result


def sums(which=lanes):
    total = {}
    for values in which.counters("wg0").values():
        for what, value in values.items():
            total[what] = total.get(what, 0) + value
    return total


@suite.test("counters by CPU: those of ethtool, those of the device, and they only grow")
def _():
    before = lanes.counters("wg0")
    a.run("ping -q -i 0.01 -c 50 10.0.0.2")
    after = lanes.counters("wg0")
    assert set(before) == set(range(CPUS)), set(before)
    for cpu in before:
        assert set(before[cpu]) == {"rx_packets", "rx_bytes", "tx_packets", "tx_bytes"} | \
            set(counter_names().values()) - {"unspec", "pad"}
        for what, value in before[cpu].items():
            assert after[cpu][what] >= value, f"{what} of CPU {cpu}"
    total, device, shown = sums(), a.statistics("wg0"), a.counters("wg0")
    for what in ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes"):
        way, unit = what.split("_")
        assert total[what] == device[way][unit], what
    assert total["tx_packets"] >= 50 and total["rx_packets"] >= 50
    assert sum(shown.values()) == sum(v for k, v in total.items() if k in counter_names().values())


# --- home CPU ---

class Flows:
    """Numbered datagrams from a to b, a flow a CPU; what comes is checked for order."""

    def __init__(self, count=CPUS):
        self.sinks = []
        self.sent = [0] * count
        self.received = [0] * count
        self.last = [-1] * count
        self.reordered = 0
        self.count = count
        for i in range(count):
            sock = b.udp("10.0.0.2", 3000 + i, timeout=0.2)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
            self.sinks.append(sock)

    def sender(self, i, gap=0.0005):
        sock = a.udp("10.0.0.1")
        os.sched_setaffinity(0, {i % CPUS})

        def once():
            sock.sendto(struct.pack("=I", self.sent[i]) + bytes(200), ("10.0.0.2", 3000 + i))
            self.sent[i] += 1
            time.sleep(gap)
        return once

    def reader(self, i):
        def once():
            try:
                number = struct.unpack_from("=I", self.sinks[i].recv(2048))[0]
            except socket.timeout:
                return
            self.reordered += number <= self.last[i]
            self.last[i] = number
            self.received[i] += 1
        return once

    def run(self, seconds, during=lambda: time.sleep(0.01)):
        readers = [Background(self.reader(i)) for i in range(self.count)]
        for reader in readers:
            reader.__enter__()
        stop = time.monotonic() + seconds

        def send(i):
            once = self.sender(i)
            while time.monotonic() < stop:
                once()
        threads = [threading.Thread(target=send, args=(i,)) for i in range(self.count)]
        for thread in threads:
            thread.start()
        while time.monotonic() < stop:
            during()
        for thread in threads:
            thread.join()
        try:
            wait_until(lambda: sum(self.received) == sum(self.sent), 5,
                       f"all {sum(self.sent)} datagrams, {sum(self.received)} so far,")
        finally:
            for reader in readers:
                reader.__exit__()
            for sock in self.sinks:
                sock.close()


@suite.test("home CPU: all is decrypted there, what lands elsewhere is handed over once")
def _():
    for home in range(CPUS):
        far.change("wg0", home_cpu=home)
        a.run("ping -q -c 1 10.0.0.2")
        before = far.counters("wg0")
        flows = Flows()
        flows.run(1.5)
        after = far.counters("wg0")
        grown = {cpu: {k: after[cpu][k] - before[cpu][k] for k in after[cpu]} for cpu in after}
        received = sum(g["rx_packets"] for g in grown.values())
        handed = sum(g["rx_handed_over"] for g in grown.values())
        assert received >= sum(flows.sent), f"{received} of {sum(flows.sent)}"
        assert grown[home]["rx_packets"] == received, f"home {home}: {grown}"
        assert grown[home]["rx_handed_over"] == 0 or CPUS == 1, "handed over to itself"
        assert handed > received // (2 * CPUS), f"only {handed} of {received} handed over"
        assert flows.reordered == 0, f"{flows.reordered} out of order"
    far.change("wg0", home_cpu=-1)


@suite.test("home CPU changed under load, and taken away: nothing is lost or out of order")
def _():
    if CPUS < 2:
        raise Skip("one CPU")
    homes = [h for _ in range(50) for h in (*range(CPUS), -1)]
    state = {"n": 0}

    def during():
        far.change("wg0", home_cpu=homes[state["n"] % len(homes)])
        state["n"] += 1
        time.sleep(0.003)

    flows = Flows()
    flows.run(5, during)
    far.change("wg0", home_cpu=-1)
    assert state["n"] > 20, state
    assert flows.reordered == 0, f"{flows.reordered} of {sum(flows.received)} out of order after {state['n']} changes"


def flood(cpu):
    """What a CPU can send, in the largest units there are, from another one than CPU 0."""
    sock = a.udp("10.0.0.1")
    sock.setsockopt(SOL_UDP, UDP_SEGMENT, SEGMENT)
    payload = bytes(SEGMENT * SEGMENTS)

    def once():
        os.sched_setaffinity(0, {cpu})
        sock.sendto(payload, ("10.0.0.2", 9))
    return once


@suite.test("a home CPU with more to do than it can is left all the same")
def _():
    if CPUS < 2:
        raise Skip("one CPU")
    far.change("wg0", home_cpu=0)
    suite.defer(lambda: far.change("wg0", home_cpu=-1))
    # Each takes a copy of each packet, so that receiving costs more than sending.
    with b.entered():
        listeners = [socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) for _ in range(LISTENERS)]
    for listener in listeners:
        listener.bind(("wg0", ETH_P_ALL))
        suite.defer(listener.close)
    senders = [Background(flood(cpu)) for cpu in range(1, CPUS)]
    for sender in senders:
        sender.__enter__()
    try:
        wait_until(lambda: far.counters("wg0")[0]["rx_packets"] > 200, 60, "packets at CPU 0")
        # Until there is always something under way to it.
        time.sleep(1)
        far.change("wg0", home_cpu=1)
        before = far.counters("wg0")[1]["rx_packets"]
        wait_until(lambda: far.counters("wg0")[1]["rx_packets"] > before + 100, 60, "packets at CPU 1")
    finally:
        for sender in senders:
            sender.__exit__()


@suite.test("home CPU goes offline and comes back under load")
def _():
    switch = f"/sys/devices/system/cpu/cpu{CPUS - 1}/online"
    if CPUS < 2 or not os.path.exists(switch):
        raise Skip("no CPU can be taken offline")
    far.change("wg0", home_cpu=CPUS - 1)
    state = {"n": 0}

    def during():
        with open(switch, "w") as file:
            file.write(str(state["n"] % 2))
        state["n"] += 1
        time.sleep(0.3)

    flows = Flows(1)
    flows.run(4, during)
    with open(switch, "w") as file:
        file.write("1")
    far.change("wg0", home_cpu=-1)
    assert state["n"] >= 2, state


@suite.test("what is under way to a home CPU that goes offline does not wait for it to come back")
def _():
    switch = f"/sys/devices/system/cpu/cpu{CPUS - 1}/online"
    if CPUS < 2 or not os.path.exists(switch):
        raise Skip("no CPU can be taken offline")
    far.change("wg0", home_cpu=CPUS - 1)

    def write(text):
        with open(switch, "w") as file:
            file.write(text)

    def during():
        time.sleep(0.1)
        write("0")

    try:
        for _ in range(10):
            # Ends with all received, and the CPU offline.
            Flows(1).run(0.3, during)
            write("1")
    finally:
        write("1")
        far.change("wg0", home_cpu=-1)


@suite.test("a device with batches under way to its home CPU is deleted")
def _():
    for round in range(6):
        b.ip("link add wg9 type wireguard", "address add 10.9.0.2/24 dev wg9", "link set wg9 up")
        b.run("wg set wg9 private-key /dev/stdin listen-port 1009", stdin=b64(keys[b]))
        b.run(f"wg set wg9 peer {b64(wgproto.public_of(keys[a]))} allowed-ips 10.9.0.1/32")
        a.ip("link add wg9 type wireguard", "address add 10.9.0.1/24 dev wg9", "link set wg9 up")
        a.run("wg set wg9 private-key /dev/stdin", stdin=b64(keys[a]))
        a.run(f"wg set wg9 peer {b64(wgproto.public_of(keys[b]))} allowed-ips 10.9.0.2/32 endpoint 192.168.1.2:1009")
        far.change("wg9", home_cpu=round % CPUS)
        sock = a.udp("10.9.0.1")
        with Background(lambda: sock.sendto(bytes(1000), ("10.9.0.2", 9))):
            time.sleep(0.3)
            b.ip("link del wg9")
        sock.close()
        a.ip("link del wg9")


@suite.test("the module is unloaded while a CPU that packets were handed to is offline")
def _():
    switch = f"/sys/devices/system/cpu/cpu{CPUS - 1}/online"
    if CPUS < 2 or not os.path.exists(switch):
        raise Skip("no CPU can be taken offline")

    def during():
        time.sleep(0.1)
        sh(f"echo 0 >{switch}")

    for _ in range(6):
        Lanes(b).change("wg0", home_cpu=CPUS - 1)
        try:
            Flows(1).run(0.3, during)
            for ns in (a, b):
                ns.ip("link del wg0")
            unload = subprocess.Popen(["rmmod", "wireguard"])
            wait_until(lambda: unload.poll() is not None, 20, "the module's end")
        finally:
            sh(f"echo 1 >{switch}")
        assert unload.returncode == 0
        sh("modprobe wireguard")
        make_tunnel()


if __name__ == "__main__":
    suite.run_and_exit()
