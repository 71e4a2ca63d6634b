#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
# scripts/vm: --file tools/wgtrunk/wgtrunk:/usr/local/bin/wgtrunk
"""wgtrunk check: names what was planted, and mends it with --fix.

Where a test's name has "(fake ethtool)", tests/tools/fake-ethtool.c stands for
a NIC with queues, a receive hash and flow rules, which the VM does not have.
"""

import fcntl
import os
import re
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from net import Namespace, sh, veth, wait_until
from tap import Skip, Suite
from wglane import Lanes

HERE = os.path.dirname(os.path.abspath(__file__))
SHIM = os.path.join(HERE, "../tools/lib/fake-ethtool.so")
LANES, PORT = 3, 51820
# Interrupts that no machine has.
IRQ = 9000
FEATURES = "feature rx-gro on\nfeature tx-checksum-ip-generic on\nfeature rx-ntuple-filter on\n"

suite = Suite()
folder = tempfile.mkdtemp()


class Site:
    def __init__(self, name, number, other, other_number):
        self.name, self.number, self.other, self.other_number = name, number, other, other_number
        self.ns = Namespace(name)
        self.lanes = Lanes(self.ns)
        self.conf = f"{folder}/{name}.conf"
        sh(f"wgtrunk keygen {name} -n {LANES} -o {folder}/{name}.key >{folder}/{name}.pub")

    def configure(self, lanes=LANES, more="", begins=True):
        endpoint = f"Endpoint = 192.168.1.{self.other_number}:{PORT}" if begins else ""
        with open(self.conf, "w") as file:
            file.write(f"""[Trunk]
Lanes = {lanes}
ListenPort = {PORT}
KeyFile = {self.name}.key
Address = 10.255.0.{self.number}/30
Prefixes = 10.{self.number}.0.0/16
{more}
[Site]
{endpoint}
KeysFile = {self.other}.pub
Prefixes = 10.{self.other_number}.0.0/16
Address = 10.255.0.{self.other_number}/30
PersistentKeepalive = 25
""")

    def tool(self, command, *more, fake=None):
        """(status, what it says)"""
        environment = fake.environment() if fake else ""
        said = self.ns.run(f"{environment} wgtrunk {command} {self.conf} {' '.join(more)} 2>&1; echo status $?")
        said, status = said.rsplit("status ", 1)
        return int(status), said

    def must(self, command, *more, fake=None):
        status, said = self.tool(command, *more, fake=fake)
        assert not status, f"{command}: {status}\n{said}"
        return said

    def homes(self):
        return [self.lanes.show(f"{self.name}.{i}")["home_cpu"] for i in range(LANES)]


class FakeNic:
    """eth0 of a site, with two queues whose interrupts are on CPUs 0 and 1."""

    def __init__(self, text, cpus=(0, 1)):
        if not os.path.exists(SHIM):
            raise AssertionError("make -C tests/tools")
        self.root = tempfile.mkdtemp(dir=folder)
        self.file = f"{self.root}/nic"
        self.write(text)
        os.makedirs(f"{self.root}/sys/class/net/eth0/device/msi_irqs")
        with open(f"{self.root}/proc-interrupts", "w") as names:
            for queue, cpu in enumerate(cpus):
                irq = IRQ + queue
                names.write(f"{irq}:   0   0  PCI-MSI 1-edge      eth0-TxRx-{queue}\n")
                open(f"{self.root}/sys/class/net/eth0/device/msi_irqs/{irq}", "w").close()
                os.makedirs(f"{self.root}/proc/irq/{irq}")
                with open(f"{self.root}/proc/irq/{irq}/smp_affinity_list", "w") as file:
                    file.write(f"{cpu}\n")
        os.rename(f"{self.root}/proc-interrupts", f"{self.root}/proc/interrupts")

    def environment(self):
        return f"FAKE_ETHTOOL_DEV=eth0 FAKE_ETHTOOL_FILE={self.file} FAKE_ETHTOOL_ROOT={self.root} LD_PRELOAD={SHIM}"

    def write(self, text):
        with open(self.file, "w") as file:
            file.write(text)

    def read(self):
        with open(self.file) as file:
            return file.read()

    def change(self, pattern, to):
        text, count = re.subn(pattern, to, self.read(), flags=re.M)
        assert count, f"no {pattern} in\n{text}"
        self.write(text)

    def interrupt(self, queue):
        with open(f"{self.root}/proc/irq/{IRQ + queue}/smp_affinity_list") as file:
            return int(file.read())


a, b = Site("west", 1, "east", 2), Site("east", 2, "west", 1)
veth(a.ns, b.ns)
for site in (a, b):
    site.ns.ip(f"address add 192.168.1.{site.number}/24 dev eth0")
    # Off on virtual ones, unless asked for.
    site.ns.run("ethtool -K eth0 gro on")
    site.configure()
    for family in ("all", "default"):
        site.ns.sysctl(f"net/ipv4/conf/{family}/rp_filter", 0)
    site.ns.sysctl("net/ipv4/conf/eth0/rp_filter", 0)


def each(function, apart=0):
    threads = [threading.Thread(target=function, args=(site,)) for site in (a, b)]
    for thread in threads:
        thread.start()
        time.sleep(apart)
    for thread in threads:
        thread.join()


def up():
    # Initiations that cross come to nothing, for 5 s.
    each(lambda site: site.tool("up"), 0.5)
    a.ns.run(f"ping -q -c 2 -W 5 10.255.0.{b.number}")


def down():
    each(lambda site: site.tool("down"))


up()


def is_well(site=a, fake=None):
    status, said = site.tool("check", fake=fake)
    assert not status, said
    return said


def mends(*words, site=a, fake=None, command=None):
    """What is planted is named by each of @words in one finding, and mended."""
    suite.defer(site.tool, "reload")
    status, said = site.tool("check", fake=fake)
    named = [line for line in said.splitlines() if all(word in line for word in words)]
    assert status == 1 and named and named[0].split()[0] in ("slow", "wrong"), f"{status}\n{said}"
    if command:
        assert re.search(rf"^ {{9}}{command}$", said, re.M), f"no {command} in\n{said}"
    status, said = site.tool("check", "--fix", fake=fake)
    assert not status, f"{status}\n{said}"
    assert any(line.split()[0] == "mended" and all(word in line for word in words)
               for line in said.splitlines()), said
    said = is_well(site, fake)
    assert not any(all(word in line for word in words) for line in said.splitlines()), said


@suite.test("two sites as they came up: nothing found")
def _():
    for site in (a, b):
        said = is_well(site)
        assert f"{site.name}: {LANES} lanes, by eth0 to 192.168.1.{site.other_number}" in said, said
        assert "slow" not in said and "wrong" not in said, said
    said = a.ns.run("wgtrunk check; true")
    assert "west: 3 lanes" in said, said


@suite.test("a lane's UDP port differs from the configuration")
def _():
    a.ns.run("wg set west.1 listen-port 9999")
    mends("west.1: not the UDP port of the configuration", command="wgtrunk reload \\S+")
    assert a.ns.run("wg show west.1 listen-port").strip() == str(PORT + 1)


@suite.test("a lane is gone, its far end's key is wrong, an address and a route are not there")
def _():
    a.ns.run("wg set west.1 peer $(wg genkey | wg pubkey) allowed-ips 10.9.0.0/16")
    mends("west.1: not the far end's public key")
    a.ns.ip("address del 10.255.0.1/30 dev west")
    mends("west has not its address 10.255.0.1/30")
    a.ns.ip("route del 10.2.0.0/16 dev west")
    mends("there is no route to 10.2.0.0/16 by west")
    a.ns.ip("link del west.2")
    mends("west.2: there is no such interface")


@suite.test("a lane is down, or not in the trunk")
def _():
    a.ns.ip("link set west.1 down")
    mends("west.1 is down", command="ip link set dev west.1 up")
    a.ns.ip("link set west.1 nomaster")
    mends("west.1 is not in west", command="ip link set dev west.1 master west")
    a.ns.ip("link set west down")
    mends("west is down")


@suite.test("MTUs: lanes that differ, a path that is too small, a trunk below its lanes")
def _():
    def mtu(dev):
        return int(a.ns.run(f"cat /sys/class/net/{dev}/mtu"))
    a.ns.ip("link set west.1 mtu 1300")
    mends("MTU of west.1: not the 1420", command="ip link set dev west.1 mtu 1420")
    assert mtu("west.1") == 1420
    a.ns.ip("link set west mtu 1280")
    mends("MTU of west is 1280", command="ip link set dev west mtu 1420")
    assert mtu("west") == 1420
    suite.defer(a.ns.ip, "link set eth0 mtu 1500")
    a.ns.ip("link set eth0 mtu 1400")
    mends("MTU of west.0 to west.2", "more than the 1400",
          command=r"for i in 0 1 2; do ip link set dev west.\$i mtu 1320; done")
    assert (mtu("west.0"), mtu("west")) == (1320, 1320)
    # In the configuration, nobody changes it for the user.
    a.configure(more="MTU = 1400")
    suite.defer(a.configure)
    a.must("reload")
    status, said = a.tool("check", "--fix")
    assert status == 1 and "MTU = 1400 is configured" in said and "1 left" in said, said


@suite.test("no superpackets, no aggregates on a lane")
def _():
    a.lanes.change("west.1", superpackets_out=0)
    mends("superpackets-out is off on west.1", command="ethtool --set-priv-flags west.1 superpackets-out on")
    a.lanes.change("west.2", aggregates_in=0)
    mends("aggregates-in is off on west.2")
    shown = a.lanes.show("west.1"), a.lanes.show("west.2")
    assert shown[0]["superpackets_out"] and shown[1]["aggregates_in"], shown


@suite.test("offloads of the underlay are off")
def _():
    a.ns.run("ethtool -K eth0 gro off")
    mends("rx-gro is off on eth0", command="ethtool -K eth0 rx-gro on")
    a.ns.run("ethtool -K eth0 tx-udp-segmentation off")
    mends("tx-udp-segmentation is off on eth0")
    a.ns.run("ethtool -K eth0 tx off")
    mends("tx-checksum-ip-generic is off on eth0")


@suite.test("receive packet steering of the underlay, and of the trunk")
def _():
    for dev in ("eth0", "west"):
        path = f"/sys/class/net/{dev}/queues/rx-0/rps_cpus"
        a.ns.run(f"echo 3 >{path}")
        mends(f"receive packet steering of {dev}, rx-0, is on (3)", command=f"echo 0 >{path}")
        assert int(a.ns.run(f"cat {path}"), 16) == 0


@suite.test("a strict reverse path filter that drops what comes through the trunk")
def _():
    a.ns.ip("route add 10.2.3.0/24 via 192.168.1.2")
    suite.defer(a.ns.run, "ip route del 10.2.3.0/24 via 192.168.1.2")
    suite.defer(a.ns.sysctl, "net/ipv4/conf/west/rp_filter", 0)
    said = is_well()
    assert "note   10.2.3.0/24, behind the far end, is reached by eth0" in said, said
    b.ns.ip("address add 10.2.3.1/32 dev lo")
    suite.defer(b.ns.ip, "address del 10.2.3.1/32 dev lo")

    def arrives():
        before = a.ns.run("nstat -asz TcpExtIPReversePathFilter; true")
        b.ns.run("ping -q -c 1 -W 1 -I 10.2.3.1 10.255.0.1", check=False)
        return before == a.ns.run("nstat -asz TcpExtIPReversePathFilter; true")
    a.ns.sysctl("net/ipv4/conf/west/rp_filter", 1)
    assert not arrives(), "it is not dropped: the finding would be wrong"
    mends("rp_filter is strict on west, and 10.2.3.0/24 is reached by eth0",
          command="echo 2 >/proc/sys/net/ipv4/conf/west/rp_filter")
    assert arrives()


@suite.test("lanes crowd on one CPU, or have no home")
def _():
    if os.cpu_count() < 2:
        raise Skip("one CPU")
    before = a.homes()
    for i in range(LANES):
        a.lanes.change(f"west.{i}", home_cpu=0)
    # Of three, two stay there.
    mends("CPU 0 is home of west.", "and of a lane before it", "CPU 1 of none")
    assert sorted(a.homes()) == sorted(before), f"{before} {a.homes()}"
    a.lanes.change("west.2", home_cpu=-1)
    mends("west.2 has no home CPU")
    assert sorted(a.homes()) == sorted(before), f"{before} {a.homes()}"


@suite.test("a home CPU is offline")
def _():
    path = "/sys/devices/system/cpu/cpu1/online"
    if not os.path.exists(path) or os.cpu_count() != 2:
        raise Skip("no such CPU")
    lane = a.homes().index(1)

    def switch(on):
        with open(path, "w") as file:
            file.write(str(on))
    suite.defer(b.tool, "reload")
    suite.defer(switch, 1)
    switch(0)
    mends(f"CPU 1, home of west.{lane}, is offline")
    assert set(a.homes()) == {0}, a.homes()
    switch(1)
    mends("CPU 0 is home of west.", "CPU 1 of none")


@suite.test("the far end has fewer lanes: one is active without a session")
def _():
    b.configure(lanes=LANES - 1)
    suite.defer(up)
    suite.defer(down)
    suite.defer(b.configure)
    b.must("reload")
    a.ns.ip("link del west.2")
    a.tool("reload")
    a.lanes.change("west.2", active=1)
    wait_until(lambda: a.tool("check")[0] == 1, 10, "a finding")
    mends("west.2: active, and no session, as if the far end had only 2 lanes", command=r"wgtrunk scale \S+ 2")
    assert [a.lanes.show(f"west.{i}")["active"] for i in range(LANES)] == [1, 1, 0]
    for i in range(LANES):
        a.lanes.change(f"west.{i}", active=0)
    mends("no lane is active: west sends nothing")


@suite.test("the far end, which begins, has fewer lanes: one is active that nobody called")
def _():
    suite.defer(up)
    suite.defer(b.configure)
    suite.defer(a.configure)
    suite.defer(down)
    down()
    a.configure(begins=False)
    a.must("up")
    said = a.tool("check")[1]
    assert "no session" not in said, said
    b.configure(lanes=LANES - 1)
    b.must("up")
    wait_until(lambda: a.tool("check")[0] == 1, 20, "a finding")
    mends("west.2: active, and no session, as if the far end had only 2 lanes", command=r"wgtrunk scale \S+ 2")
    assert [a.lanes.show(f"west.{i}")["active"] for i in range(LANES)] == [1, 1, 0]


@suite.test("Active = 0: no lane is active, as configured")
def _():
    suite.defer(a.tool, "reload")
    suite.defer(a.configure)
    a.configure(more="Active = 0")
    a.must("reload")
    is_well()
    a.must("check", "--fix")
    assert not any(a.lanes.show(f"west.{i}")["active"] for i in range(LANES))


@suite.test("somebody else's interfaces that are called as lanes are none")
def _():
    a.ns.ip("link add west.7 type dummy")
    suite.defer(a.ns.ip, "link del west.7")
    said = a.ns.run("wgtrunk check; true")
    assert "west: 3 lanes" in said, said
    is_well()
    a.ns.ip("link del west.2", "link add west.2 type dummy")
    suite.defer(a.tool, "reload")
    suite.defer(a.ns.ip, "link del west.2")
    said = a.tool("check")[1]
    assert "west.2 was not made by wgtrunk" in said and "no such interface" not in said, said


@suite.test("CPUs of lanes that the far end has not are none of ours")
def _():
    suite.defer(a.tool, "reload")
    suite.defer(a.configure)
    public = open(f"{folder}/east.pub").read()

    def write(text):
        with open(f"{folder}/east.pub", "w") as file:
            file.write(text)
    suite.defer(write, public)
    write("".join(public.splitlines(True)[:2]))
    a.configure(more="CPUs = 0, 1, 99")
    a.must("reload")
    said = a.tool("check")[1]
    assert "CPU 99" not in said, said


@suite.test("another module would be loaded next time")
def _():
    kernel = sh("uname -r").strip()
    if not os.path.exists(f"/lib/modules/{kernel}/updates/wireguard.ko"):
        raise Skip("ours is not installed")
    with open(f"{folder}/depmod.conf", "w") as file:
        file.write("search built-in\noverride wireguard * kernel/drivers/net/wireguard\n")
    suite.defer(sh, "depmod -a")
    sh(f"depmod -C {folder}/depmod.conf")
    if "updates" in sh("modinfo -n wireguard"):
        raise Skip("depmod can't be told to take the other one")
    mends("would be loaded next time, which is not wgtrunk's", command="depmod -a")
    assert "updates" in sh("modinfo -n wireguard")


@suite.test("(fake ethtool) up sets hash and rules, down puts back what was there")
def _():
    text = "rings 2 2\nrss udp4 30\nrss udp6 30\nrules 16\n" + FEATURES
    nic = FakeNic(text)
    suite.defer(up)
    down()
    each(lambda site: site.tool("up", fake=nic if site is a else None))
    is_well(fake=nic)
    now = nic.read()
    assert "rss udp4 f0" in now and "rss udp6 f0" in now, now
    homes = a.homes()
    for i in range(LANES):
        assert re.search(rf"^rule \d+ udp4 {PORT + i} {homes[i]}$", now, re.M), f"lane {i}, {homes}\n{now}"
    assert "flow rules" in a.must("show", fake=nic)
    a.must("down", fake=nic)
    b.must("down")
    assert nic.read() == text, nic.read()


@suite.test("(fake ethtool) up and down in another namespace leave this one's settings, and what is known of them")
def _():
    text = "rings 2 2\nrss udp4 30\nrss udp6 30\nrules 16\n" + FEATURES
    nic, another = FakeNic(text), FakeNic(text)
    other = Namespace("other")
    other.ip("link add eth0 type dummy", "link set eth0 up", "address add 192.168.1.9/24 dev eth0")
    suite.defer(up)
    suite.defer(other.remove)

    def there(command, fake):
        return other.run(f"{fake.environment()} wgtrunk {command} {a.conf} 2>&1; echo status $?")
    down()
    a.must("up", fake=nic)
    changed = nic.read()
    assert changed != text
    said = there("down", another)
    assert "west is not up" in said and "status 1" in said, said
    assert os.path.exists("/run/wgtrunk/west.json")
    assert "status 0" in there("up", another)
    assert another.read() != text
    assert "status 0" in there("reload", another)
    a.must("reload", fake=nic)
    assert nic.read() == changed, nic.read()
    assert "status 0" in there("down", another)
    assert another.read() == text, another.read()
    said = there("down", another)
    assert "west is not up" in said and "status 1" in said, said
    a.must("down", fake=nic)
    assert nic.read() == text, nic.read()
    assert not os.path.exists("/run/wgtrunk/west.json")


class South:
    """Another trunk of A, by the same NIC; nobody is at its far end."""

    def __init__(self):
        self.conf = f"{folder}/south.conf"
        sh(f"cd {folder} && rm -f south.key far.key && wgtrunk keygen south -n 2 -o south.key && wgtrunk keygen far -n 2 -o far.key >far.pub")
        with open(self.conf, "w") as file:
            file.write(f"[Trunk]\nLanes = 2\nListenPort = 6000\nKeyFile = south.key\nPrefixes = 10.3.0.0/16\n"
                       f"[Site]\nEndpoint = 192.168.1.2:6000\nKeysFile = far.pub\nPrefixes = 10.4.0.0/16\n"
                       f"PersistentKeepalive = off\n")

    def must(self, command, fake):
        said = a.ns.run(f"{fake.environment()} wgtrunk {command} {self.conf} 2>&1; echo status $?")
        assert said.endswith("status 0\n"), f"{command}: {said}"
        return said


def rules_of(nic, port, lanes):
    """Families and ports that it has rules for, of those of a trunk."""
    found = re.findall(r"^rule \d+ (udp[46]) (\d+) ", nic.read(), re.M)
    return sorted((family, int(number)) for family, number in found if port <= int(number) < port + lanes)


def all_rules(port, lanes):
    return sorted((family, port + i) for family in ("udp4", "udp6") for i in range(lanes))


@suite.test("(fake ethtool) two trunks over one NIC: each takes back its own, the last one the hash")
def _():
    south = South()
    suite.defer(up)
    for first in ("west", "south"):
        text = "rings 2 2\nrss udp4 30\nrss udp6 30\nrules 32\n" + FEATURES
        nic = FakeNic(text)
        down()
        a.tool("up", fake=nic)
        south.must("up", nic)
        # Again, over what is there.
        a.tool("reload", fake=nic)
        assert rules_of(nic, PORT, LANES) == all_rules(PORT, LANES) and rules_of(nic, 6000, 2) == all_rules(6000, 2), nic.read()
        stays = all_rules(6000, 2) if first == "west" else []
        if first == "west":
            a.must("down", fake=nic)
        else:
            south.must("down", nic)
        assert rules_of(nic, 6000, 2) == stays, nic.read()
        assert rules_of(nic, PORT, LANES) == ([] if first == "west" else all_rules(PORT, LANES)), nic.read()
        assert "rss udp4 f0" in nic.read() and "rss udp6 f0" in nic.read(), f"the other one's hash is gone\n{nic.read()}"
        if first == "west":
            south.must("down", nic)
        else:
            a.must("down", fake=nic)
        assert nic.read() == text, nic.read()


@suite.test("(fake ethtool) two trunks at the same time over one NIC: neither undoes what the other does")
def _():
    south = South()
    suite.defer(up)
    down()
    text = "rings 2 2\nrss udp4 30\nrss udp6 30\nrules 32\n" + FEATURES + "slow\n"
    for _ in range(2):
        nic = FakeNic(text)
        errors = []

        def both(command):
            def work(function):
                try:
                    function()
                except Exception as error:
                    errors.append(error)
            threads = [threading.Thread(target=work, args=(function,))
                       for function in (lambda: a.must(command, fake=nic), lambda: south.must(command, nic))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not errors, errors
        both("up")
        assert rules_of(nic, PORT, LANES) == all_rules(PORT, LANES) and rules_of(nic, 6000, 2) == all_rules(6000, 2), nic.read()
        both("down")
        assert nic.read() == text, nic.read()


@suite.test("(fake ethtool) up waits for another trunk that changes the NIC, and says so")
def _():
    suite.defer(up)
    down()
    nic = FakeNic("rings 2 2\nrss udp4 30\nrss udp6 30\nrules 16\n" + FEATURES)
    said = []
    inode = a.ns.run("stat -L -c %i /proc/self/ns/net").strip()
    with open(f"/run/wgtrunk/nic.eth0.{inode}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("wgtrunk for south, process 4711\n")
        lock.flush()
        thread = threading.Thread(target=lambda: said.append(a.must("up", fake=nic)))
        thread.start()
        wait_until(lambda: a.ns.run("ip link show west up", check=False), 10, "the trunk")
        thread.join(12)
        assert thread.is_alive(), "it did not wait"
        assert "rss udp4 30" in nic.read() and "\nrule " not in nic.read(), nic.read()
    thread.join()
    assert "waiting for wgtrunk for south, process 4711, which is changing eth0" in said[0], said
    assert "rss udp4 f0" in nic.read() and rules_of(nic, PORT, LANES) == all_rules(PORT, LANES), nic.read()
    a.must("down", fake=nic)


@suite.test("(fake ethtool) what down can't put back, it says, a line each")
def _():
    suite.defer(up)
    text = "rings 2 2\nrss udp4 30\nrss udp6 30\nrules 16\n" + FEATURES

    def said_of(change):
        nic = FakeNic(text)
        a.tool("up", fake=nic)
        change(nic)
        return a.must("down", fake=nic).splitlines(), nic
    down()
    lines, nic = said_of(lambda nic: None)
    assert not lines and nic.read() == text, lines
    lines, nic = said_of(lambda nic: nic.write(nic.read() + "refuse rss\n"))
    assert len(lines) == 2 and all(f"eth0: {family} is still spread by sdfn, and was by sd: it can't be changed" in line
                                   for family, line in zip(("udp6", "udp4"), lines)), lines
    lines, nic = said_of(lambda nic: nic.write(nic.read() + "refuse remove\n"))
    assert len(lines) == 2 * LANES and len(set(lines)) == 2 * LANES, lines
    assert any(f"eth0: the flow rule for udp4 to port {PORT + 1} can't be removed" in line for line in lines), lines
    # Those that somebody else has changed are not ours any more.
    lines, nic = said_of(lambda nic: nic.change("^rss udp4 f0", "rss udp4 b0"))
    assert len(lines) == 1 and "eth0: udp4 is spread by sdn now, which somebody else has set, and stays; it was sd" in lines[0], lines
    lines, nic = said_of(lambda nic: nic.change(rf"^(rule \d+ udp6 {PORT}) .*", r"\1 -1"))
    assert len(lines) == 1 and f"eth0: the flow rule for udp6 to port {PORT} leads elsewhere now, and stays" in lines[0], lines
    lines, nic = said_of(lambda nic: nic.change("^feature rx-ntuple-filter on", "feature rx-ntuple-filter off"))
    assert len(lines) == 2 * LANES and all("can't be looked for" in line for line in lines), lines


def with_nic(text="rings 2 2\nrss udp4 f0\nrss udp6 f0\nrules 16\n" + FEATURES, cpus=(0, 1)):
    """A NIC that a trunk is set up on."""
    nic = FakeNic(text, cpus)
    suite.defer(a.tool, "reload")
    suite.defer(lambda: a.tool("reload", fake=nic))
    a.must("reload", fake=nic)
    return nic


@suite.test("(fake ethtool) the hash has no ports")
def _():
    nic = with_nic()
    nic.change("^rss udp4 f0", "rss udp4 30")
    mends("eth0 spreads udp4 by sd, without ports", fake=nic, command="ethtool -N eth0 rx-flow-hash udp4 sdfn")
    assert "rss udp4 f0" in nic.read()
    nic.change("^rss udp6 f0", "rss udp6 30")
    mends("eth0 spreads udp6 by sd", fake=nic)


@suite.test("(fake ethtool) flow rules that are gone, lead elsewhere, drop, or are off")
def _():
    nic = with_nic()
    home = a.homes()[1]
    nic.change(rf"^rule \d+ udp4 {PORT + 1} .*\n", "")
    mends("west.1: eth0 has flow rules, and none takes their udp4 ports", fake=nic)
    assert re.search(f"udp4 {PORT + 1} {home}$", nic.read(), re.M), nic.read()
    nic.change(rf"^(rule \d+ udp4 {PORT + 1}) .*", rf"\1 {1 - home}")
    mends(f"takes udp4 to port {PORT + 1}, of west.1, to queue {1 - home}", fake=nic)
    assert re.search(f"udp4 {PORT + 1} {home}$", nic.read(), re.M), nic.read()
    nic.change(rf"^(rule \d+ udp4 {PORT + 1}) .*", r"\1 -1")
    mends(f"drops udp4 to port {PORT + 1}, of west.1", fake=nic)
    nic.change("^feature rx-ntuple-filter on", "feature rx-ntuple-filter off")
    mends("flow rules, which are off", fake=nic, command="ethtool -K eth0 ntuple on")


@suite.test("(fake ethtool) check --fix looks again at a rule once nobody else changes the trunk")
def _():
    nic = with_nic()
    home = a.homes()[1]
    nic.change(rf"^(rule \d+ udp4 {PORT + 1}) .*", rf"\1 {1 - home}")
    place = re.search(rf"^rule (\d+) udp4 {PORT + 1} ", nic.read(), re.M)[1]
    said = []
    with open("/run/wgtrunk/west.lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: said.append(a.tool("check", "--fix", fake=nic)))
        thread.start()
        thread.join(10)
        assert thread.is_alive(), "it did not wait"
        assert re.search(rf"^rule {place} udp4 {PORT + 1} {1 - home}$", nic.read(), re.M), f"changed meanwhile\n{nic.read()}"
        # Somebody mends it, and has another rule in its place.
        nic.change(rf"^rule {place} udp4 {PORT + 1} .*", f"rule {place} udp4 9999 0\nrule 0 udp4 {PORT + 1} {home}")
    thread.join()
    assert re.search(rf"^rule {place} udp4 9999 0$", nic.read(), re.M), f"it took another rule\n{said}\n{nic.read()}"
    assert re.search(rf"^rule 0 udp4 {PORT + 1} {home}$", nic.read(), re.M), nic.read()
    nic.change(rf"^rule {place} udp4 9999 0\n", "")


@suite.test("(fake ethtool) fewer queues than lanes' CPUs, where there could be more")
def _():
    nic = with_nic()
    nic.change("^rings 2 2", "rings 1 2")
    mends("eth0 uses 1 receive queue for lanes on 2 CPUs", fake=nic, command="ethtool -L eth0 combined 2")
    nic.change("^rings 2 2", "rings 1 1")
    assert "note   eth0 has 1 receive queue for lanes on 2 CPUs" in is_well(fake=nic)


@suite.test("(fake ethtool) interrupts that come to no lane's home")
def _():
    nic = with_nic(cpus=(0, 0))
    mends("no receive interrupt of eth0 comes to CPU 1", fake=nic,
          command=f"echo 1 >/proc/irq/{IRQ + 1}/smp_affinity_list")
    assert (nic.interrupt(0), nic.interrupt(1)) == (0, 1)
    home = a.homes()[1]
    assert re.search(f"udp4 {PORT + 1} {home}$", nic.read(), re.M), nic.read()


@suite.test("without --fix nothing is changed")
def _():
    a.ns.ip("link set west.1 down")
    suite.defer(a.tool, "check", "--fix")
    for _ in range(2):
        status, said = a.tool("check")
        assert status == 1 and "west.1 is down" in said and f"wgtrunk check {a.conf} --fix" in said, said


@suite.test("a trunk that is not up")
def _():
    down()
    suite.defer(up)
    status, said = a.tool("check")
    assert status == 1 and "west is not up" in said and "wgtrunk up" in said, said


if __name__ == "__main__":
    try:
        suite.run_and_exit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
