#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""Trunks and lanes made, enslaved, freed, moved, deleted, and the module unloaded, under traffic, round after round.

    churn.py [--long] [ROUNDS [SEED]]

What lies below stays: namespaces, the wire, senders, which go on when their device is gone. A round makes a trunk with two
to four lanes on either side, waits until packets of each sender have come through it, does to it what the round's number
says and something else, unloads the module, and loads it again.
"""

import ctypes
import errno
import os
import random
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import links as L
import wgproto
from net import CLONE_NEWNET, Namespace, _libc, sh, veth, wait_until
from tap import Suite
from wglane import CHOICE_CPU, CHOICE_HASH, IFLA_WGTRUNK_CHOICE, Lanes
from wgnl import Netlink, ifname, listen_port, peer, peers, private_key, u8

SYS_DELETE_MODULE, SYS_FINIT_MODULE = 176, 313
LANES_MAX = 4
GAP = 20000                     # microseconds between the datagrams of a flow
PARAMETERS = b"dyndbg=+p" if "--dyndbg" in sys.argv else b""
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tools/bin/stream")

numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
# Emulated, a machine has not got the time for more.
LONG = 100 if "WGTRUNK_KERNEL" in os.environ else 1000
ROUNDS = numbers[0] if numbers else int(os.environ.get("ROUNDS") or (LONG if "--long" in sys.argv else 20))
SEED = numbers[1] if len(numbers) > 1 else random.randrange(1 << 16)
sys.argv[1:] = []

suite = Suite()
chance = random.Random(SEED)


class Site:
    def __init__(self, name, number):
        self.ns, self.number = Namespace(name), number
        self.links = L.Links(self.ns)
        self.keys = [wgproto.generate_private() for _ in range(LANES_MAX)]
        self.public = [wgproto.public_of(key) for key in self.keys]
        self.fd = os.open(f"/run/netns/{self.ns.name}", os.O_RDONLY)

    def families(self):
        """Those of the module that is loaded now."""
        self.wg, self.lanes = Netlink(self.ns), Lanes(self.ns)

    def make(self, other, count, choice, index):
        """Everything but the trunk's coming up."""
        self.count, self.index = count, index
        names = [f"w{i}" for i in range(count)]
        self.links.do(L.add("west", "wgtrunk", u8(IFLA_WGTRUNK_CHOICE, choice), index),
                      *(L.add(name, "wireguard") for name in names))
        for i, name in enumerate(names):
            self.configure(name, other, i)
        self.links.do(*(L.change(name, master=index) for name in names), *(L.change(name, up=True) for name in names),
                      L.address(f"10.0.0.{self.number}/24", index), L.address(f"fd00::{self.number}/64", index))

    def configure(self, name, other, i):
        self.wg.set(ifname(name), private_key(self.keys[i]), listen_port(1000 + i),
                    peers(peer(other.public[i], endpoint=(f"192.168.1.{other.number}", 1000 + i), allowed=["0.0.0.0/0", "::/0"])))

    def again(self, *names):
        """A trunk that lost @names gets them back, and its addresses where it lost those."""
        self.links.do(*(L.change(name, master=self.index) for name in names), *(L.change(name, up=True) for name in names))

    def close(self):
        self.wg.close()
        self.lanes.close()


a, b = Site("a", 1), Site("b", 2)
host = Namespace("host")
veth(a.ns, b.ns)
veth(a.ns, host, "eth1", "eth0")
for site in (a, b):
    site.ns.ip(f"address add 192.168.1.{site.number}/24 dev eth0")
a.ns.ip("address add 192.168.2.1/24 dev eth1")
a.ns.sysctl("net/ipv4/ip_forward", 1)
host.ip("address add 192.168.2.2/24 dev eth0", "route add default via 192.168.2.1")


class Sink:
    """Where a sender's packets go."""

    def __init__(self, ns, address, port):
        self.sock = ns.udp(address, port, timeout=0)
        self.got = 0

    def count(self):
        try:
            while True:
                self.sock.recv(2000)
                self.got += 1
        except BlockingIOError:
            return self.got


class Sender:
    """Goes on for ever, whatever becomes of its device: from @ns to @address, where @sink is."""

    def __init__(self, ns, address, port, sink_ns, flows):
        self.what = f"{ns.name.split('-')[0]} to {address}"
        self.ns, self.args = ns, [address, port, flows, 0, 300, GAP, 50]
        self.sink = Sink(sink_ns, "::" if ":" in address else "0.0.0.0", port)
        self.process = None

    def start(self):
        self.process = subprocess.Popen(["ip", "netns", "exec", self.ns.name, PROGRAM, "send", *map(str, self.args)])


senders = [Sender(a.ns, "10.0.0.2", 7000, b.ns, 3), Sender(b.ns, "10.0.0.1", 7001, a.ns, 3),
           Sender(a.ns, "fd00::2", 7002, b.ns, 1), Sender(host, "10.0.0.2", 7003, b.ns, 2)]


def new_namespace():
    """A namespace without a name; it dies with its last descriptor, and what is in it."""
    made = []

    def work():
        if _libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return made[0]


class Other:
    """Such a namespace, with a netlink socket, which must be closed for it to die."""

    def __init__(self):
        self.fd = new_namespace()
        self.links = L.Links(self)

    def socket(self, *args):
        made = []

        def work():
            if _libc.setns(self.fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.socket(*args))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return made[0]

    def kill(self):
        self.links.sock.close()
        os.close(self.fd)


# --- what is done to a trunk: each gives whether it sends afterwards, too ---

def lane_deleted(site, far):
    site.links.do(L.delete("w0"))
    return True


def all_lanes_deleted(site, far):
    site.links.do(*(L.delete(f"w{i}") for i in range(site.count)))
    return False


def trunk_deleted(site, far):
    site.links.do(L.delete("west"))
    assert "trunk" not in site.lanes.show("w0"), "still a lane"
    return False


def freed_and_enslaved(site, far):
    for i in range(site.count):
        site.links.do(L.change(f"w{i}", master=0))
        site.links.do(L.change(f"w{i}", master=site.index))
    return True


def over_to_another_trunk(site, far):
    site.links.do(L.add("more", "wgtrunk", index=site.index + 1), L.change("more", up=True))
    site.links.do(L.change("w0", master=site.index + 1))
    site.links.do(L.change("w0", master=site.index), L.delete("more"))
    return True


def lane_moved(site, far):
    other = Other()
    site.links.do(L.change("w1", namespace=other.fd))
    assert not site.links.there("w1")
    other.links.do(L.change("w1", namespace=site.fd))
    site.again("w1")
    other.kill()
    return True


def lane_dies_elsewhere(site, far):
    other = Other()
    site.links.do(L.change("w1", namespace=other.fd))
    other.links.do(L.change("w1", up=True))
    other.kill()
    return True


def trunk_moved(site, far):
    other = Other()
    site.links.do(L.change("west", namespace=other.fd))
    assert "trunk" not in site.lanes.show("w0"), "still a lane"
    other.links.do(L.change("west", namespace=site.fd))
    site.again(*(f"w{i}" for i in range(site.count)))
    site.links.do(L.address(f"10.0.0.{site.number}/24", site.index), L.address(f"fd00::{site.number}/64", site.index),
                  L.change("west", up=True))
    other.kill()
    return True


def all_die_elsewhere(site, far):
    other = Other()
    names = [f"w{i}" for i in range(site.count)]
    site.links.do(*(L.change(name, namespace=other.fd) for name in ("west", *names)))
    other.links.do(*(L.change(name, master=site.index) for name in names), *(L.change(name, up=True) for name in ("west", *names)))
    other.kill()
    return False


def birth_dies(site, far):
    """A lane whose UDP socket is in a namespace that has no other life."""
    other = Other()
    other.links.do(L.add("born", "wireguard"))
    other.links.do(L.change("born", namespace=site.fd))
    site.configure("born", far, LANES_MAX - 1)
    site.links.do(L.change("born", master=site.index), L.change("born", up=True))
    other.kill()
    return True


def scaled(site, far):
    for active in (1, site.count, site.count - 1, site.count):
        for i in range(site.count):
            site.lanes.change(f"w{i}", active=int(i < active), weight=1 + (i + active) % 3)
    return True


def none_active(site, far):
    for active in (0, 1):
        for i in range(site.count):
            site.lanes.change(f"w{i}", active=active)
    return True


def choice_changed(site, far):
    for choice in (CHOICE_CPU, CHOICE_HASH, CHOICE_CPU):
        site.links.do(L.change_kind(site.index, "wgtrunk", u8(IFLA_WGTRUNK_CHOICE, choice)))
        for i in range(site.count):
            site.lanes.change(f"w{i}", home_cpu=(i + choice) % os.cpu_count() if i else -1)
    return True


def lanes_flapped(site, far):
    for i in range(site.count):
        site.links.do(L.change(f"w{i}", up=False), L.change(f"w{i}", up=True))
    return True


def all_deleted_at_once(site, far):
    """Lanes first and trunk first, in one datagram."""
    names = ["west", *(f"w{i}" for i in range(site.count))]
    chance.shuffle(names)
    site.links.do(*map(L.delete, names))
    return False


def nothing(site, far):
    """All is there when the module goes."""
    return True


CHANGES = [lane_deleted, trunk_deleted, freed_and_enslaved, lane_moved, scaled, trunk_moved, choice_changed, all_die_elsewhere,
           nothing, over_to_another_trunk, lane_dies_elsewhere, all_lanes_deleted, birth_dies, none_active, lanes_flapped,
           all_deleted_at_once]
# After these there is something left for another one to be done to.
KEEP = [freed_and_enslaved, over_to_another_trunk, lane_moved, trunk_moved, scaled, none_active, choice_changed, lanes_flapped]


# --- the module ---

def find_module():
    if "WGTRUNK_OWN_KO" in os.environ:
        return os.environ["WGTRUNK_OWN_KO"]
    return sh("modinfo -n wireguard").strip()


def load(path):
    fd = os.open(path, os.O_RDONLY)
    if _libc.syscall(SYS_FINIT_MODULE, fd, PARAMETERS, 0) and ctypes.get_errno() != errno.EEXIST:
        raise OSError(ctypes.get_errno(), f"load {path}")
    os.close(fd)


def unload():
    """Devices don't hold it; somebody who asks about them does, for a moment."""
    end = time.monotonic() + 20
    while _libc.syscall(SYS_DELETE_MODULE, b"wireguard", os.O_NONBLOCK):
        code = ctypes.get_errno()
        assert code == errno.EAGAIN and time.monotonic() < end, f"unload: {os.strerror(code)}"
        time.sleep(0.01)


class Asker(threading.Thread):
    """Asks for lanes and their counters all the time, as a live view does."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stopped, self.answers, self.error = threading.Event(), 0, None

    def run(self):
        lanes = None
        try:
            while not self.stopped.is_set():
                try:
                    lanes = lanes or Lanes(a.ns)
                    lanes.show_all()
                    lanes.counters("w0")
                    self.answers += 1
                except (OSError, KeyError):
                    # No such family, no such device.
                    if lanes:
                        lanes.close()
                    lanes = None
                time.sleep(0.1)
        except Exception as error:
            self.error = error


def through(index):
    """Each sender's packets come; each side's trunk, made in this round, counts both ways."""
    before = [sender.sink.count() for sender in senders]
    counted = {}

    def all_came():
        for sender in senders:
            assert sender.process is None or sender.process.poll() is None, f"the sender from {sender.what} ended"
        for site in (a, b):
            counted[site] = site.links.statistics("west")
        return all(sender.sink.count() >= was + 3 for sender, was in zip(senders, before)) and \
            all(counted[site][what] >= 3 for site in (a, b) for what in ("rx_packets", "tx_packets"))

    try:
        wait_until(all_came, 60, "packets through the trunk")
    except AssertionError as error:
        came = [f"{sender.what}: {sender.sink.count() - was}" for sender, was in zip(senders, before)]
        raise AssertionError(f"{error}; {', '.join(came)}; {[counted.get(site) for site in (a, b)]}")
    return sum(counted[site]["rx_packets"] for site in (a, b))


def one_round(number, spent):
    marks = [time.monotonic()]
    # Grace periods of both kinds.
    with open("/sys/kernel/rcu_expedited", "w") as file:
        file.write(str(number % 2))

    def mark(what):
        marks.append(time.monotonic())
        spent[what] = spent.get(what, 0) + marks[-1] - marks[-2]

    first = CHANGES[number % len(CHANGES)]
    then = chance.choice(KEEP)
    where, far = chance.sample((a, b), 2)
    index = 1000 + 2 * number
    for site, other in ((b, a), (a, b)):
        site.families()
        site.make(other, 2 + number % (LANES_MAX - 1), chance.choice((CHOICE_CPU, CHOICE_HASH)), index)
    # From now on lanes answer on both sides: no handshake has to be tried again.
    b.links.do(L.change("west", up=True))
    # Two that begin one with each other at the same time would both be for nothing, and again after 5 s.
    time.sleep(0.05)
    a.links.do(L.change("west", up=True))
    if not senders[0].process:
        for sender in senders:
            sender.start()
    mark("make")
    packets = through(index)
    mark("traffic")
    for change in (then, first):
        sends = change(where, far)
        if sends:
            before = where.links.statistics("west")["tx_packets"]
            wait_until(lambda: where.links.statistics("west")["tx_packets"] > before, 10, f"packets after {change.__name__}")
    mark("change")
    a.close()
    b.close()
    unload()
    for site in (a, b):
        assert not any(site.links.there(name) for name in ("west", "w0", "w1")), "devices without a module"
    mark("unload")
    load(module)
    mark("load")
    return packets


def hasten_rcu():
    """Most of a round is waiting for grace periods, some of a tenth of a second: they need not wait for a tick to begin."""
    for name, value in (("jiffies_till_first_fqs", 0), ("jiffies_till_next_fqs", 1)):
        try:
            with open(f"/sys/module/rcutree/parameters/{name}", "w") as file:
                file.write(str(value))
        except OSError:
            pass


sh("modprobe wireguard")
module = find_module()
hasten_rcu()


@suite.test(f"{ROUNDS} rounds")
def _():
    asker, spent, packets, began = Asker(), {}, 0, time.monotonic()
    print(f"# seed {SEED}", flush=True)
    suite.defer(lambda: [sender.process.kill() for sender in senders if sender.process])
    asker.start()
    for number in range(ROUNDS):
        try:
            packets += one_round(number, spent)
        except Exception as error:
            raise AssertionError(f"round {number}, {CHANGES[number % len(CHANGES)].__name__}, seed {SEED}: {error}") from error
        assert not asker.error, asker.error
        if (number + 1) % 25 == 0 or number + 1 == ROUNDS:
            seconds = time.monotonic() - began
            print(f"# {number + 1} rounds, {seconds / (number + 1):.2f} s a round: "
                  f"{', '.join(f'{what} {took / (number + 1):.2f}' for what, took in spent.items())}; "
                  f"{packets} packets, {asker.answers} answers", flush=True)
    asker.stopped.set()
    asker.join()
    assert asker.answers >= ROUNDS, f"only {asker.answers} answers"


if __name__ == "__main__":
    suite.run_and_exit()
