# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""Namespaces, tunnels and counters, for tests in Python that run as root in a guest."""

import base64
import contextlib
import ctypes
import json
import os
import random
import re
import socket
import struct
import subprocess
import threading
import time

import wgproto

CLONE_NEWNET = 0x40000000
OWN = os.environ.get("WGTRUNK_MODULE", "own") == "own"

_libc = ctypes.CDLL(None, use_errno=True)
_serial = random.randrange(16**6)


def sh(command, check=True, timeout=300, stdin=None):
    """Runs a line of shell; returns what it prints. Raises where it fails, unless @check is off."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True,
                          timeout=timeout, input=stdin)
    if check and done.returncode:
        raise RuntimeError(f"{command}: status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def b64(key):
    return base64.b64encode(key).decode()


def wait_until(condition, seconds=10, what="condition"):
    """Polls @condition; returns its first true value, raises after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


class Namespace:
    """A network namespace with a random name, which remove() deletes."""

    def __init__(self, name):
        global _serial
        _serial += 1
        self.name = f"{name}-{_serial:06x}"
        sh(f"ip netns add {self.name} && ip -n {self.name} link set lo up")
        for family in ("all", "default"):
            self.sysctl(f"net/ipv6/conf/{family}/accept_dad", 0)

    def remove(self):
        sh(f"ip netns del {self.name}", check=False)

    @contextlib.contextmanager
    def entered(self):
        """This thread is in the namespace: sockets made meanwhile belong to it."""
        with open("/proc/thread-self/ns/net") as home, \
                open(f"/run/netns/{self.name}") as there:
            self._setns(there)
            try:
                yield
            finally:
                self._setns(home)

    @staticmethod
    def _setns(where):
        if _libc.setns(where.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def run(self, command, **options):
        """Runs a line of shell in the namespace."""
        quoted = command.replace("'", "'\\''")
        return sh(f"ip netns exec {self.name} bash -c '{quoted}'", **options)

    def ip(self, *lines):
        """Runs lines of ip(8), without the `ip`."""
        sh(f"ip -n {self.name} -batch -", stdin="\n".join(lines) + "\n")

    def sysctl(self, path, value):
        with self.entered(), open(f"/proc/sys/{path}", "w") as file:
            file.write(str(value))

    def socket(self, *args):
        with self.entered():
            return socket.socket(*args)

    def udp(self, address=None, port=0, timeout=5):
        """A bound UDP socket."""
        family = socket.AF_INET6 if address and ":" in address else socket.AF_INET
        sock = self.socket(family, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if address is not None:
            sock.bind((address, port))
        sock.settimeout(timeout)
        return sock

    def sniffer(self, dev, protocol=3, timeout=2):
        """A packet socket on one interface."""
        # With a protocol from the start it would hear all interfaces until it is bound.
        sock = self.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.bind((dev, protocol))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.settimeout(timeout)
        return sock

    def counters(self, dev):
        """What the module counts for a device, by name; {} where it doesn't."""
        shown = self.run(f"ethtool -S {dev}", check=False)
        return {m[1]: int(m[2]) for m in re.finditer(r"(\w+): (\d+)$", shown, re.M)}

    def statistics(self, dev):
        """Of the device: {"rx": {"packets": ...}, "tx": {...}}"""
        return json.loads(self.run(f"ip -j -s -s link show {dev}"))[0]["stats64"]

    def wg(self, dev, what):
        """The rows of `wg show`, split."""
        return [line.split("\t") for line in self.run(f"wg show {dev} {what}").splitlines()]


def veth(a, b, name_a="eth0", name_b="eth0", mtu=1500):
    """Joins two namespaces."""
    sh(f"ip link add {name_a} netns {a.name} mtu {mtu} type veth "
       f"peer name {name_b} netns {b.name} mtu {mtu}")
    a.ip(f"link set {name_a} up")
    b.ip(f"link set {name_b} up")


def wireguard(ns, dev, private, port=0, addresses=(), mtu=1420, up=True):
    """Makes a device with a private key and addresses."""
    ns.ip(f"link add {dev} mtu {mtu} type wireguard")
    ns.run(f"wg set {dev} private-key /dev/stdin listen-port {port}", stdin=b64(private))
    ns.ip(*(f"address add {a} dev {dev}" for a in addresses))
    if up:
        ns.ip(f"link set {dev} up")


def udp4(source, destination, payload, sport=1000, dport=2000, tos=0, **fields):
    """An IPv4 packet with UDP inside; @fields overrides parts of the IP header."""
    udp = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload
    return ip4(source, destination, udp, tos=tos, **fields)


def ip4(source, destination, payload, protocol=17, tos=0, version=4, ihl=5, length=None,
        ttl=64, ident=0, fragment=0):
    header = struct.pack(">BBHHHBBH4s4s", version << 4 | ihl, tos,
                         20 + len(payload) if length is None else length, ident, fragment, ttl,
                         protocol, 0, socket.inet_aton(source), socket.inet_aton(destination))
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


def udp6(source, destination, payload, sport=1000, dport=2000, tos=0, length=None, version=6):
    """An IPv6 packet with UDP inside."""
    source, destination = (socket.inet_pton(socket.AF_INET6, a) for a in (source, destination))
    udp_len = 8 + len(payload)
    udp = struct.pack(">HHHH", sport, dport, udp_len, 0) + payload
    pseudo = source + destination + struct.pack(">II", udp_len, 17)
    udp = udp[:6] + struct.pack(">H", checksum(pseudo + udp) or 0xffff) + payload
    return struct.pack(">IHBB", version << 28 | tos << 20, udp_len if length is None else length,
                       17, 64) + source + destination + udp


def checksum(data):
    """Of the Internet, RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def drain(sock):
    """All that waits in a socket now."""
    got = []
    timeout = sock.gettimeout()
    sock.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            got.append(sock.recv(65536))
    sock.settimeout(timeout)
    return got


class Background:
    """Runs @function until stopped, in a thread of its own; its error is raised at the end."""

    def __init__(self, function):
        self.stopped = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self._work, args=(function,), daemon=True)

    def _work(self, function):
        try:
            while not self.stopped.is_set():
                function()
        except Exception as error:
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
        if self.error:
            raise self.error


class Talker:
    """A WireGuard peer written in Python, that talks to a device through one UDP socket."""

    def __init__(self, sock, remote, remote_public, private=None):
        self.sock, self.remote = sock, remote
        self.private = private or wgproto.generate_private()
        self.public = wgproto.public_of(self.private)
        self.noise = wgproto.Initiator(self.private, remote_public)
        self.session, self.session_born = None, 0

    def send(self, message, sock=None):
        (sock or self.sock).sendto(message, self.remote)

    def send_packet(self, packet=b"", sock=None, **options):
        """Sealed under the session; a keepalive without @packet."""
        self.send(self.session.encrypt(packet, **options), sock)

    def handshake(self, confirm=True):
        """A new session; @confirm: known to the device as good for sending, too."""
        for _ in range(5):
            self.send(self.noise.create_initiation())
            end = time.monotonic() + 3
            while time.monotonic() < end:
                try:
                    message = self.sock.recv(65536)
                except socket.timeout:
                    break
                if wgproto.message_type(message) == wgproto.RESPONSE:
                    self.session = self.noise.consume_response(message)
                    self.session_born = time.monotonic()
                    if confirm:
                        self.send_packet()
                    return self.session
        raise AssertionError("no response to our initiation")

    def receive_packet(self, sock=None):
        """The next data that isn't a keepalive: (counter, padded packet, message)."""
        while True:
            message = (sock or self.sock).recv(65536)
            if wgproto.message_type(message) == wgproto.DATA:
                counter, packet = self.session.decrypt(message)
                if packet:
                    return counter, packet, message
