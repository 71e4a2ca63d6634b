#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""A client of generic netlink family "wg_lane".

    lanes = Lanes(namespace)
    lanes.change("wg0", home_cpu=1)
    lanes.show("wg0")["home_cpu"]
    lanes.counters("wg0")[1]["rx_handed_over"]

As a program, in the namespace it is run in:

    wglane.py DEVICE [NAME=VALUE...]    # change, and show
    wglane.py DEVICE counters           # by CPU, those that are not 0
"""

import os
import re
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from wgnl import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_ERROR, Netlink, NetlinkError, attr, ifname, nest, parse, u8, u32

HEADER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../include/uapi/linux/wg_lane.h")
GET, SET, GET_COUNTERS = 1, 2, 3
(IFINDEX, IFNAME, HOME_CPU, SUPERPACKETS_OUT, AGGREGATES_IN, MODULE_VERSION, CPU, TRUNK, ACTIVE,
 WEIGHT) = range(1, 11)
CPU_PAD, CPU_NUMBER, CPU_RX_PACKETS, CPU_RX_BYTES, CPU_TX_PACKETS, CPU_TX_BYTES, CPU_COUNTERS = range(1, 8)


def s32(kind, value):
    return attr(kind, struct.pack("=i", value))


CHANGES = {"home_cpu": lambda value: s32(HOME_CPU, value),
           "superpackets_out": lambda value: u8(SUPERPACKETS_OUT, value),
           "aggregates_in": lambda value: u8(AGGREGATES_IN, value),
           "active": lambda value: u8(ACTIVE, value),
           "weight": lambda value: u32(WEIGHT, value)}

CHOICE_CPU, CHOICE_HASH = 0, 1
RTM_NEWLINK, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_WGTRUNK_CHOICE = 16, 18, 1, 2, 1


def counter_names():
    """{number: name} as the public header has them."""
    with open(HEADER) as file:
        body = file.read().split("enum wg_lane_counter {")[1].split("}")[0]
    return dict(enumerate(name.lower() for name in re.findall(r"^\tWG_LANE_C_(\w+),", body, re.M)))


class Lanes(Netlink):
    FAMILY = "wg_lane"

    @staticmethod
    def _device(message):
        found = dict(message.attributes())
        lane = {}
        if TRUNK in found:
            lane = {"trunk": struct.unpack("=I", found[TRUNK])[0], "active": found[ACTIVE][0],
                    "weight": struct.unpack("=I", found[WEIGHT])[0]}
        return {**lane, "ifindex": struct.unpack("=I", found[IFINDEX])[0], "ifname": found[IFNAME][:-1].decode(),
                "home_cpu": struct.unpack("=i", found[HOME_CPU])[0], "superpackets_out": found[SUPERPACKETS_OUT][0],
                "aggregates_in": found[AGGREGATES_IN][0], "module_version": found[MODULE_VERSION][:-1].decode()}

    def show(self, name):
        return self._device(self.request(GET, ifname(name))[0])

    def show_all(self):
        return [self._device(m) for m in self.request(GET, flags=NLM_F_DUMP)]

    def change(self, name, **what):
        return self.request(SET, ifname(name) + b"".join(CHANGES[k](v) for k, v in what.items()))

    def counters(self, name):
        """{CPU: {counter: value}}"""
        names, result = counter_names(), {}
        for message in self.request(GET_COUNTERS, ifname(name), flags=NLM_F_DUMP):
            cpu = dict(parse(dict(message.attributes())[CPU]))
            own = {what: struct.unpack("=Q", cpu[kind])[0]
                   for what, kind in (("rx_packets", CPU_RX_PACKETS), ("rx_bytes", CPU_RX_BYTES),
                                      ("tx_packets", CPU_TX_PACKETS), ("tx_bytes", CPU_TX_BYTES))}
            for kind, value in parse(cpu[CPU_COUNTERS]):
                if names.get(kind) != "pad":
                    own[names.get(kind, f"unknown_{kind}")] = struct.unpack("=Q", value)[0]
            result[struct.unpack("=I", cpu[CPU_NUMBER])[0]] = own
        return result


def set_choice(namespace, index, choice):
    """Of the trunk with interface index @index; ip(8) can't say it."""
    data = nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"wgtrunk\0"), nest(IFLA_INFO_DATA, u8(IFLA_WGTRUNK_CHOICE, choice)))
    body = struct.pack("=BxHiII", 0, 0, index, 0, 0) + data
    with namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(10)
        sock.send(struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body)
        answer = sock.recv(65536)
    kind, code = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, 16)[0]
    assert kind == NLMSG_ERROR
    if code:
        raise NetlinkError(-code)


def main():
    lanes, name = Lanes(), sys.argv[1]
    if sys.argv[2:] == ["counters"]:
        for cpu, values in lanes.counters(name).items():
            print(f"cpu{cpu}", *(f"{what}={value}" for what, value in values.items() if value))
        return
    if sys.argv[2:]:
        lanes.change(name, **{what: int(value) for what, value in (arg.split("=") for arg in sys.argv[2:])})
    print(*(f"{what}={value}" for what, value in lanes.show(name).items()))


if __name__ == "__main__":
    main()
