# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""A client of rtnetlink for interfaces and addresses: many changes in one datagram, no process started.

    links = Links(namespace)
    links.do(add("wg0", "wireguard"), change("wg0", up=True))
    links.statistics("wg0")["rx_packets"]
"""

import ipaddress
import socket
import struct

from wgnl import NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, NETLINK_EXT_ACK, SOL_NETLINK, Message, Netlink, attr, nest, parse, u32

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWADDR = 16, 17, 18, 20
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO, IFLA_STATS64, IFLA_NET_NS_FD = 3, 10, 18, 23, 28
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS, IFA_F_NODAD = 1, 2, 8, 2
IFF_UP = 1
STATISTICS = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped")


def _link(kind, name, flags=0, index=0, up=None, *attrs):
    body = struct.pack("=BxHiII", 0, 0, index, int(bool(up)) * IFF_UP, IFF_UP if up is not None else 0)
    if name:
        attrs = (attr(IFLA_IFNAME, name.encode() + b"\0"), *attrs)
    return kind, flags, body + b"".join(attrs)


def _info(kind, data):
    return nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, kind.encode() + b"\0"), *([nest(IFLA_INFO_DATA, data)] if data else []))


def add(name, kind, data=b"", index=0):
    """@data: the attributes of the kind; @index: which one the interface is to have."""
    return _link(RTM_NEWLINK, name, NLM_F_CREATE | NLM_F_EXCL, index, None, _info(kind, data))


def change(name, up=None, master=None, namespace=None):
    """@master: an index, 0 for none; @namespace: a file descriptor."""
    attrs = []
    if master is not None:
        attrs.append(u32(IFLA_MASTER, master))
    if namespace is not None:
        attrs.append(u32(IFLA_NET_NS_FD, namespace))
    return _link(RTM_NEWLINK, name, 0, 0, up, *attrs)


def change_kind(index, kind, data):
    """What is particular to its kind, of the interface with that index."""
    return _link(RTM_NEWLINK, None, 0, index, None, _info(kind, data))


def delete(name):
    return _link(RTM_DELLINK, name)


def address(text, index):
    """An address with its prefix's length, on the interface with that index."""
    interface = ipaddress.ip_interface(text)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    packed = interface.ip.packed
    return (RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL,
            struct.pack("=BBBBi", family, interface.network.prefixlen, 0, 0, index) +
            attr(IFA_LOCAL, packed) + attr(IFA_ADDRESS, packed) + (u32(IFA_FLAGS, IFA_F_NODAD) if interface.version == 6 else b""))


class Links:
    def __init__(self, namespace):
        self.sock = namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self.sock.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self.sock.settimeout(60)
        self.seq = 0

    def do(self, *messages):
        """All of them, in their order; the first error is raised, after the others were tried, too."""
        first = self.seq + 1
        data = b""
        for kind, flags, body in messages:
            self.seq += 1
            data += struct.pack("=IHHII", 16 + len(body), kind, flags | NLM_F_REQUEST | NLM_F_ACK, self.seq, 0) + body
        if data:
            self.sock.send(data)
        answered, trouble, other = 0, None, []
        while answered < len(messages):
            got = self.sock.recv(1 << 17)
            while len(got) >= 16:
                message = Message(got)
                got = got[(message.length + 3) & ~3:]
                if message.seq < first:
                    continue
                if message.kind != NLMSG_ERROR:
                    other.append(message)
                    continue
                answered += 1
                try:
                    Netlink._raise_error(message)
                except OSError as error:
                    trouble = trouble or error
        if trouble:
            raise trouble
        return other

    def statistics(self, name):
        """{name: value}; raises where there is no such interface."""
        message = self.do(_link(RTM_GETLINK, name))[0]
        values = struct.unpack_from(f"={len(STATISTICS)}Q", dict(parse(message.payload[16:]))[IFLA_STATS64])
        return dict(zip(STATISTICS, values))

    def there(self, name):
        try:
            self.do(_link(RTM_GETLINK, name))
        except OSError:
            return False
        return True
