# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""A client of generic netlink family "wireguard" that can say anything, right or wrong.

    nl = Netlink()
    nl.set(ifname("wg0"), private_key(key), peers(peer(public, allowed=["10.0.0.0/8"])))
    device = nl.get("wg0")
    device.peers[0].allowed

Requests are made of attributes, which are bytes: attr() makes any, right or
wrong. What the kernel refuses raises NetlinkError.
"""

import errno
import ipaddress
import os
import socket
import struct

NETLINK_GENERIC = 16
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 1, 2, 4, 0x10, 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS = 1, 2
NLA_F_NESTED, NLA_F_NET_BYTEORDER = 0x8000, 0x4000
GENL_ID_CTRL, CTRL_CMD_GETFAMILY = 16, 3
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 1, 2

GET_DEVICE, SET_DEVICE = 0, 1
(DEV_IFINDEX, DEV_IFNAME, DEV_PRIVATE_KEY, DEV_PUBLIC_KEY, DEV_FLAGS, DEV_LISTEN_PORT,
 DEV_FWMARK, DEV_PEERS) = range(1, 9)
(PEER_PUBLIC_KEY, PEER_PRESHARED_KEY, PEER_FLAGS, PEER_ENDPOINT, PEER_KEEPALIVE,
 PEER_LAST_HANDSHAKE, PEER_RX_BYTES, PEER_TX_BYTES, PEER_ALLOWEDIPS, PEER_VERSION) = range(1, 11)
IP_FAMILY, IP_ADDR, IP_CIDR, IP_FLAGS = range(1, 5)
DEV_REPLACE_PEERS = 1
PEER_REMOVE_ME, PEER_REPLACE_ALLOWEDIPS, PEER_UPDATE_ONLY = 1, 2, 4
IP_REMOVE_ME = 1


class NetlinkError(OSError):
    """An error that the kernel answered; .extack is its text, .echo what it sent back of ours."""

    def __init__(self, code, extack=None, echo=b"", offset=None):
        super().__init__(code, os.strerror(code))
        self.extack, self.echo, self.offset = extack, echo, offset

    def __str__(self):
        return f"{errno.errorcode.get(self.errno, self.errno)} ({self.extack})"


# --- writing attributes ---

def attr(kind, payload=b"", length=None):
    """One attribute; @length overrides the one in its header."""
    length = 4 + len(payload) if length is None else length
    return struct.pack("=HH", length, kind) + payload + bytes(-len(payload) % 4)


def nest(kind, *attrs):
    return attr(kind | NLA_F_NESTED, b"".join(attrs))


def u8(kind, value):
    return attr(kind, struct.pack("=B", value))


def u16(kind, value):
    return attr(kind, struct.pack("=H", value))


def u32(kind, value):
    return attr(kind, struct.pack("=I", value))


def ifname(name):
    return attr(DEV_IFNAME, name.encode() + b"\0")


def ifindex(number):
    return u32(DEV_IFINDEX, number)


def private_key(key):
    return attr(DEV_PRIVATE_KEY, key)


def device_flags(flags):
    return u32(DEV_FLAGS, flags)


def listen_port(port):
    return u16(DEV_LISTEN_PORT, port)


def fwmark(mark):
    return u32(DEV_FWMARK, mark)


def peers(*each):
    return nest(DEV_PEERS, *each)


def sockaddr(address, port, scope=0):
    """struct sockaddr_in or _in6"""
    if ":" in address:
        return struct.pack("=HHI16sI", socket.AF_INET6, socket.htons(port), 0,
                           socket.inet_pton(socket.AF_INET6, address), scope)
    return struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), socket.inet_aton(address))


def allowed_ip(prefix, flags=None):
    """@prefix: a text like 10.0.0.0/8, or (family, bytes, length)"""
    family, address, cidr = prefix_of(prefix) if isinstance(prefix, str) else prefix
    parts = [u16(IP_FAMILY, family), attr(IP_ADDR, address), u8(IP_CIDR, cidr)]
    if flags is not None:
        parts.append(u32(IP_FLAGS, flags))
    return nest(0, *parts)


def prefix_of(text):
    """(family, bytes, length) of a text; bits beyond the length are kept"""
    address, _, cidr = text.partition("/")
    address = ipaddress.ip_address(address)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return family, address.packed, int(cidr or address.max_prefixlen)


def text_of(prefix):
    _, address, cidr = prefix
    return f"{ipaddress.ip_address(address)}/{cidr}"


def peer(public_key, *more, psk=None, flags=None, endpoint=None, keepalive=None, allowed=None):
    """@endpoint: (address, port); @allowed: texts or tuples; @more: further attributes"""
    parts = [attr(PEER_PUBLIC_KEY, public_key)]
    if flags is not None:
        parts.append(u32(PEER_FLAGS, flags))
    if psk is not None:
        parts.append(attr(PEER_PRESHARED_KEY, psk))
    if endpoint is not None:
        parts.append(attr(PEER_ENDPOINT, sockaddr(*endpoint)))
    if keepalive is not None:
        parts.append(u16(PEER_KEEPALIVE, keepalive))
    if allowed is not None:
        parts.append(nest(PEER_ALLOWEDIPS, *map(allowed_ip, allowed)))
    return nest(0, *parts, *more)


# --- reading ---

def parse(data):
    """[(type without flags, payload)]; raises where attributes don't add up."""
    found = []
    while data:
        length, kind = struct.unpack_from("=HH", data)
        if not 4 <= length <= len(data):
            raise ValueError(f"attribute {kind} of {length} bytes where {len(data)} are left")
        found.append((kind & 0x3fff, data[4:length]))
        data = data[(length + 3) & ~3:]
    return found


class Message:
    """One netlink message."""

    def __init__(self, data):
        self.length, self.kind, self.flags, self.seq, self.portid = \
            struct.unpack_from("=IHHII", data)
        self.payload = data[16:self.length]

    def attributes(self):
        return parse(self.payload[4:])

    @property
    def interrupted(self):
        return bool(self.flags & NLM_F_DUMP_INTR)


class Peer:
    """A peer as dumped; put together from adjacent pieces."""

    def __init__(self, attributes):
        self.present = [kind for kind, _ in attributes]
        got = dict(attributes)
        self.public_key = got[PEER_PUBLIC_KEY]
        self.psk = got.get(PEER_PRESHARED_KEY)
        self.endpoint = got.get(PEER_ENDPOINT)
        self.keepalive = _number(got.get(PEER_KEEPALIVE))
        self.last_handshake = struct.unpack("=qq", got.get(PEER_LAST_HANDSHAKE, bytes(16)))
        self.rx_bytes = _number(got.get(PEER_RX_BYTES))
        self.tx_bytes = _number(got.get(PEER_TX_BYTES))
        self.version = _number(got.get(PEER_VERSION))
        self.allowed = [_prefix(p) for _, p in parse(got.get(PEER_ALLOWEDIPS, b""))]

    def config(self):
        return (self.public_key, self.psk, self.endpoint, self.keepalive, tuple(self.allowed))

    def prefixes(self):
        return [text_of(p) for p in self.allowed]


class Device:
    """All messages of a dump."""

    def __init__(self, messages):
        self.messages = messages
        self.interrupted = any(m.interrupted for m in messages)
        self.peers = []
        first = dict(messages[0].attributes())
        self.ifindex = _number(first.get(DEV_IFINDEX))
        self.ifname = first[DEV_IFNAME].rstrip(b"\0").decode()
        self.private_key = first.get(DEV_PRIVATE_KEY)
        self.public_key = first.get(DEV_PUBLIC_KEY)
        self.listen_port = _number(first.get(DEV_LISTEN_PORT))
        self.fwmark = _number(first.get(DEV_FWMARK))
        for message in messages:
            for kind, payload in message.attributes():
                if kind == DEV_PEERS:
                    for _, one in parse(payload):
                        self._add(Peer(parse(one)))

    def _add(self, piece):
        last = self.peers[-1] if self.peers else None
        if last and last.public_key == piece.public_key:
            last.allowed += piece.allowed
        else:
            self.peers.append(piece)

    def peer(self, public_key):
        return next((p for p in self.peers if p.public_key == public_key), None)

    def config(self):
        """What is configured, without what traffic changes: for comparisons."""
        return (self.ifindex, self.ifname, self.private_key, self.public_key, self.listen_port,
                self.fwmark, tuple(p.config() for p in self.peers))


def _number(data):
    return None if data is None else int.from_bytes(data, "little")


def _prefix(data):
    got = dict(parse(data))
    return _number(got[IP_FAMILY]), got[IP_ADDR], _number(got[IP_CIDR])


# --- talking ---

class Netlink:
    """A socket; @namespace: a net.Namespace to make it in.

    @size: of the datagrams that it reads, and so what the kernel makes: a dump
    comes in pieces of that size.
    """

    FAMILY = "wireguard"

    def __init__(self, namespace=None, timeout=60, size=65536):
        self.size = size
        make = namespace.socket if namespace else socket.socket
        self.sock = make(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        self.sock.bind((0, 0))
        self.sock.settimeout(timeout)
        self.sock.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self.seq = 0
        self.family = GENL_ID_CTRL
        self.family = self._resolve(self.FAMILY)

    def close(self):
        self.sock.close()

    def _resolve(self, name):
        answer = self.request(CTRL_CMD_GETFAMILY, attr(CTRL_ATTR_FAMILY_NAME, name.encode() + b"\0"))
        return _number(dict(answer[0].attributes())[CTRL_ATTR_FAMILY_ID])

    def send(self, command, payload=b"", flags=NLM_F_ACK, version=1, reserved=0, length=None):
        self.seq += 1
        body = struct.pack("=BBH", command, version, reserved) + payload
        length = 16 + len(body) if length is None else length
        self.sock.send(struct.pack("=IHHII", length, self.family, NLM_F_REQUEST | flags,
                                   self.seq, 0) + body)

    def receive(self):
        """One datagram: (messages, whether it has the end of the answer)."""
        data, messages, end = self.sock.recv(self.size), [], False
        while len(data) >= 16:
            message = Message(data)
            data = data[(message.length + 3) & ~3:]
            if message.seq != self.seq:
                continue
            if message.kind in (NLMSG_ERROR, NLMSG_DONE):
                self._raise_error(message)
                end = True
            else:
                messages.append(message)
        return messages, end

    @staticmethod
    def _raise_error(message):
        code = struct.unpack_from("=i", message.payload)[0]
        if not code:
            return
        rest, echo = message.payload[4:], b""
        if message.kind == NLMSG_ERROR:
            length = 16 if message.flags & NLM_F_CAPPED else struct.unpack_from("=I", rest)[0]
            echo, rest = rest[:length], rest[(length + 3) & ~3:]
        tlvs = dict(parse(rest)) if message.flags & NLM_F_ACK_TLVS else {}
        text = tlvs.get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode() or None
        raise NetlinkError(-code, text, echo, _number(tlvs.get(NLMSGERR_ATTR_OFFS)))

    def request(self, command, payload=b"", **options):
        """All messages of the answer."""
        self.send(command, payload, **options)
        messages, end = [], False
        while not end:
            more, end = self.receive()
            messages += more
        return messages

    def set(self, *attrs, **options):
        return self.request(SET_DEVICE, b"".join(attrs), **options)

    def dump(self, *attrs, **options):
        return self.request(GET_DEVICE, b"".join(attrs), flags=NLM_F_DUMP, **options)

    def get(self, name, **options):
        return Device(self.dump(ifname(name), **options))
