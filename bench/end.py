# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""One end of the tunnels: what measure does in the namespaces of a machine, this one or another.

An End works on this machine, as root. A Remote has the same methods and passes them to an End elsewhere, through a command
such as `ssh host`, that starts this file there: a line of JSON each way per call. The process has one thread; where a method
takes a namespace, it is in it while the method runs.
"""
import contextlib
import ctypes
import glob
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

CLONE_NEWNET = 0x40000000
# Of each CPU's trace: room for some 400,000 polls.
TRACE_KB = 16384

libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """Something that measure can go on after, or ends with a message."""


def ns_name(ns):
    return f"wgb-{ns}"


def ns_path(ns):
    return f"/run/netns/{ns_name(ns)}"


def enter(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        if libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {path}")
    finally:
        os.close(fd)


@contextlib.contextmanager
def within(ns):
    """This process in another namespace; where it is if @ns is None."""
    if ns is None:
        yield
        return
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    enter(ns_path(ns))
    try:
        yield
    finally:
        libc.setns(own, CLONE_NEWNET)
        os.close(own)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def interfaces():
    names = ("rx_bytes", "rx_packets", "rx_errs", "rx_drop", None, None, None, None,
             "tx_bytes", "tx_packets", "tx_errs", "tx_drop")
    found = {}
    with open("/proc/net/dev") as file:
        for line in file.readlines()[2:]:
            dev, rest = line.split(":", 1)
            found[dev.strip()] = {n: int(v) for n, v in zip(names, rest.split()) if n}
    return found


def cpu_times():
    """Of each CPU, in ticks."""
    cpus = []
    with open("/proc/stat") as file:
        for line in file:
            if re.match(r"cpu\d", line):
                v = [int(x) for x in line.split()[1:]]
                cpus.append({"user": v[0] + v[1], "system": v[2], "idle": v[3] + v[4], "softirq": v[5] + v[6]})
    return cpus


def net_rx_softirqs():
    with open("/proc/softirqs") as file:
        for line in file:
            if "NET_RX" in line:
                return [int(x) for x in line.split()[1:]]
    return []


def wait_for(condition, what):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise Failed(f"waited in vain for {what}")


# --- netlink: the few things that neither ip nor wg can say ---

# Python does not know the latter.
NETLINK_ROUTE, NETLINK_GENERIC = 0, 16
NLM_F_REQUEST, NLM_F_ACK, NLMSG_ERROR = 1, 4, 2
RTM_NEWLINK, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA = 16, 18, 1, 2
GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 16, 3, 1, 2
# uapi/linux/wg_lane.h
WG_LANE_CMD_SET, WG_LANE_A_IFNAME, WG_LANE_A_HOME_CPU = 2, 2, 3
IFLA_WGTRUNK_CHOICE, CHOICES = 1, {"cpu": 0, "hash": 1}


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def netlink(protocol, kind, body, flags=NLM_F_ACK):
    """The first answer's payload; the kernel's error is raised."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as sock:
        sock.settimeout(10)
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | flags, 1, 0) + body)
        answer = sock.recv(65536)
    if struct.unpack_from("=H", answer, 4)[0] == NLMSG_ERROR:
        code = -struct.unpack_from("=i", answer, 16)[0]
        if code:
            raise OSError(code, f"netlink: {os.strerror(code)}")
    return answer[16:]


def genetlink(family, command, body):
    asked = netlink(NETLINK_GENERIC, GENL_ID_CTRL, struct.pack("=BBH", CTRL_CMD_GETFAMILY, 1, 0) +
                    attribute(CTRL_ATTR_FAMILY_NAME, family.encode() + b"\0"), flags=0)
    at = 4
    while struct.unpack_from("=H", asked, at + 2)[0] != CTRL_ATTR_FAMILY_ID:
        at += (struct.unpack_from("=H", asked, at)[0] + 3) & ~3
    return netlink(NETLINK_GENERIC, struct.unpack_from("=H", asked, at + 4)[0], struct.pack("=BBH", command, 1, 0) + body)


class End:
    def __init__(self):
        self.processes = {}
        self.pktgen = None
        self.files = tempfile.TemporaryDirectory(prefix="wgb.")

    def boot_id(self):
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()

    def machine(self):
        return {"kernel": os.uname().release, "cpus": os.cpu_count()}

    # --- set-up ---

    def run(self, ns, args, stdin=None, check=True):
        """A program's output; Failed where it fails, unless not @check."""
        with within(ns):
            done = subprocess.run(args, input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if check and done.returncode:
            raise Failed(f"{' '.join(args)}: {done.stdout.strip() or done.returncode}")
        return done.stdout

    def timed(self, ns, args):
        begin = time.monotonic()
        self.run(ns, args)
        return time.monotonic() - begin

    def put(self, ns, path, text):
        with within(ns):
            write(path, text)

    def file(self, name, text):
        """A file of the run, for root only; returns its path."""
        path = os.path.join(self.files.name, name)
        write(path, text)
        return path

    def batch(self, ns, lines):
        """Commands for ip, all at once."""
        self.run(ns, ["ip", "-batch", "-"], "\n".join(lines) + "\n")

    def modprobe(self, modules):
        """What is missing is built in, or nobody needs it here."""
        for module in modules:
            self.run(None, ["modprobe", module], check=False)

    def load(self, path):
        self.unload()
        self.run(None, ["insmod", path])

    def unload(self):
        for _ in range(50):
            if not os.path.exists("/sys/module/wireguard"):
                return
            self.run(None, ["rmmod", "wireguard"], check=False)
            time.sleep(0.05)
        raise Failed("the wireguard module can't be removed")

    def hop(self):
        """Nanoseconds of a cache line to the next CPU and back; 0 where there is none. The bound's module must be there."""
        with open("/sys/module/wgt_bound/parameters/hop") as file:
            return int(file.read())

    def make_namespaces(self, namespaces):
        self.batch(None, [f"netns add {ns_name(ns)}" for ns in namespaces])
        for ns in namespaces:
            with within(ns):
                base = "/proc/sys/net/"
                write(base + "ipv6/conf/default/disable_ipv6", "1")
                write(base + "ipv6/conf/all/disable_ipv6", "1")
                for conf in ("all", "default"):
                    write(base + f"ipv4/conf/{conf}/rp_filter", "0")
                write(base + "ipv4/ip_forward", "1")
                write(base + "ipv4/fib_multipath_hash_policy", "1")

    def remove_namespaces(self, namespaces):
        for ns in namespaces:
            if os.path.exists(ns_path(ns)):
                for pid in self.run(None, ["ip", "netns", "pids", ns_name(ns)], check=False).split():
                    with contextlib.suppress(OSError, ValueError):
                        os.kill(int(pid), signal.SIGKILL)
                self.run(None, ["ip", "netns", "del", ns_name(ns)], check=False)

    def expedite(self, on):
        """Set-up waits for RCU's grace periods most of the time; nothing is measured meanwhile."""
        with contextlib.suppress(OSError):
            write("/sys/kernel/rcu_expedited", "1" if on else "0")

    def set_threaded(self, ns, dev, on):
        """NAPI in threads or in softirq, of a tunnel whose peers are set: each peer has one."""
        self.run(None, ["ip", "netns", "exec", ns_name(ns), "sh", "-c", f"echo {int(on)} >/sys/class/net/{dev}/threaded"])

    @staticmethod
    def threads(pattern):
        """The kernel's threads of that name."""
        found = []
        for path in glob.glob("/proc/[0-9]*/comm"):
            with contextlib.suppress(OSError), open(path) as file:
                if re.fullmatch(pattern, file.read().strip()):
                    found.append(int(path.split("/")[2]))
        return found

    def pin_threads(self, dev, cpu):
        """NAPI's threads of all devices called so: to a CPU."""
        wait_for(lambda: self.threads(f"napi/{dev}-.*"), f"the threads of {dev}")
        for pid in self.threads(f"napi/{dev}-.*"):
            os.sched_setaffinity(pid, [cpu % os.cpu_count()])

    def queue_per_cpu(self, ns, dev, cpus):
        """CPU i sends through queue i, as drivers of NICs set it (XPS)."""
        if cpus > 1:
            self.run(None, ["ip", "netns", "exec", ns_name(ns), "sh", "-c", "; ".join(
                f"echo {1 << i:x} >/sys/class/net/{dev}/queues/tx-{i}/xps_cpus" for i in range(cpus))])

    def make_trunk(self, ns, name, lanes, choice):
        """One interface over all tunnels; by CPU, tunnel i is at home on CPU i."""
        self.batch(ns, [f"link add {name} type wgtrunk"] + [f"link set wg{i} master {name}" for i in range(lanes)])
        data = attribute(IFLA_WGTRUNK_CHOICE, struct.pack("=B", CHOICES[choice]))
        with within(ns):
            netlink(NETLINK_ROUTE, RTM_NEWLINK, struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(name), 0, 0) +
                    attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"wgtrunk\0") + attribute(IFLA_INFO_DATA, data)))
        for i in range(lanes if choice == "cpu" else 0):
            self.set_home(ns, f"wg{i}", i)

    def set_home(self, ns, dev, cpu):
        """The CPU that a tunnel receives on."""
        with within(ns):
            genetlink("wg_lane", WG_LANE_CMD_SET, attribute(WG_LANE_A_IFNAME, dev.encode() + b"\0") +
                      attribute(WG_LANE_A_HOME_CPU, struct.pack("=i", cpu)))

    def hardware_address(self, ns, dev):
        return json.loads(self.run(ns, ["ip", "-j", "link", "show", "dev", dev]))[0]["address"]

    def module_symbols(self):
        with open("/proc/kallsyms") as file:
            return [line.strip() for line in file if line.rstrip().endswith("]")]

    # --- counters ---

    def counters(self, namespaces):
        """One look at everything; time in seconds of this machine's clock."""
        found = {"time": {}, "dev": {}, "cpu": cpu_times(), "softirqs": net_rx_softirqs()}
        for ns in namespaces:
            with within(ns):
                found["time"][ns] = time.monotonic()
                found["dev"][ns] = interfaces()
        return found

    def own_counters(self, ns, lanes):
        """The module's counters, summed over the lanes."""
        total = {}
        for lane in range(lanes):
            text = self.run(None, ["ip", "netns", "exec", ns_name(ns), "ethtool", "-S", f"wg{lane}"], check=False)
            for line in text.splitlines():
                name, colon, value = line.strip().partition(": ")
                if colon and value.isdigit():
                    total[name] = total.get(name, 0) + int(value)
        return total

    def polls(self, devices, seconds):
        """Packets that each CPU's polls of devices, a pattern, took: of each hundredth of a second {device: [by CPU]}, from the
        first to the last with a poll; None where the kernel can't tell. A poll counts when it ends."""
        tracing = "/sys/kernel/tracing"
        event = f"{tracing}/events/napi/napi_poll"
        if not os.path.exists(event):
            return None
        with open(f"{tracing}/buffer_size_kb") as file:
            size = file.read().split()[0]
        write(f"{tracing}/buffer_size_kb", str(max(TRACE_KB, int(size))))
        write(f"{event}/filter", f'dev_name ~ "{devices}"')
        write(f"{tracing}/trace", "")
        write(f"{event}/enable", "1")
        time.sleep(seconds)
        write(f"{event}/enable", "0")
        write(f"{event}/filter", "0")
        found, lost = {}, 0
        cpus = os.sysconf("SC_NPROCESSORS_CONF")
        for cpu in range(cpus):
            with open(f"{tracing}/per_cpu/cpu{cpu}/stats") as file:
                lost += int(re.search(r"^overrun: (\d+)", file.read(), re.M).group(1))
        with open(f"{tracing}/trace") as file:
            for line in file:
                poll = re.search(r" \[(\d+)\] .* (\d+)\.(\d\d)\d*: napi_poll: .* device (\S+) work (\d+)", line)
                if poll:
                    cpu, second, hundredth, device, packets = poll.groups()
                    by_cpu = found.setdefault(int(second + hundredth), {}).setdefault(device, [0] * cpus)
                    by_cpu[int(cpu)] += int(packets)
        write(f"{tracing}/buffer_size_kb", size)
        write(f"{tracing}/trace", "")
        if lost:
            raise Failed(f"{lost} polls did not fit into the trace")
        return [found.get(when, {}) for when in range(min(found), max(found) + 1)] if found else []

    # --- processes ---

    def spawn(self, ns, args):
        """Starts a program; returns its number."""
        with within(ns):
            process = subprocess.Popen(args, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.processes[process.pid] = process
        return process.pid

    def line(self, number):
        """The next line that it prints."""
        process = self.processes[number]
        if not select.select([process.stdout], [], [], 20)[0]:
            raise Failed(f"{process.args[0]} {process.args[1]} does not say that it is ready")
        return process.stdout.readline()

    def finish(self, number, timeout):
        """The rest of what it prints until it ends."""
        process = self.processes[number]
        try:
            return process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{process.args[0]} {process.args[1]} does not end within {timeout} s") from error

    def kill(self, number):
        """Whether it was still there."""
        process = self.processes.pop(number)
        alive = process.poll() is None
        process.kill()
        process.communicate()
        return alive

    # --- pktgen ---

    def pktgen_set(self, ns, commands, idle):
        """@commands: for each CPU its device and the lines for that. @idle: whether they give way to whoever wants to run."""
        for pid in self.threads(r"kpktgend_\d+"):
            os.sched_setscheduler(pid, os.SCHED_IDLE if idle else os.SCHED_OTHER, os.sched_param(0))
        with within(ns):
            for cpu, (dev, lines) in enumerate(commands):
                # Of a set-up's devices each is on one thread from its first use on: to remove it takes a thread's time.
                if not os.path.exists(f"/proc/net/pktgen/{dev}"):
                    write(f"/proc/net/pktgen/kpktgend_{cpu}", "rem_device_all\n")
                    wait_for(lambda: not self.pktgen_has(cpu, "Running|Stopped"), f"pktgen's thread {cpu} to be free")
                    write(f"/proc/net/pktgen/kpktgend_{cpu}", f"add_device {dev}\n")
                for line in lines:
                    write(f"/proc/net/pktgen/{dev}", line + "\n")

    def pktgen_start(self, ns):
        """Writing "start" returns when it has been stopped; this returns when packets are being sent."""
        self.pktgen = os.fork()
        if not self.pktgen:
            try:
                enter(ns_path(ns))
                write("/proc/net/pktgen/pgctrl", "start\n")
            finally:
                os._exit(0)

        with within(ns):
            wait_for(lambda: self.pktgen_has(0, "Running"), "pktgen to start")

    @staticmethod
    def pktgen_has(cpu, state):
        """Are there devices in that state?"""
        with open(f"/proc/net/pktgen/kpktgend_{cpu}") as file:
            return re.search(rf"^({state}): +\S", file.read(), re.M)

    def pktgen_stop(self, ns):
        def stopped():
            # Again and again: one that comes before the start has no effect.
            write("/proc/net/pktgen/pgctrl", "stop\n")
            return os.waitpid(self.pktgen, os.WNOHANG)[0]

        with within(ns):
            wait_for(stopped, "pktgen to stop")

    def close(self):
        for number in list(self.processes):
            self.kill(number)
        self.files.cleanup()


class Remote:
    """An End elsewhere; @command starts a shell's command line there, e.g. ["ssh", "root@host"]."""

    def __init__(self, command, path):
        self.process = subprocess.Popen([*command, f"python3 -B {path}"], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def call(self, name, args):
        try:
            self.process.stdin.write(json.dumps([name, args]) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise Failed("the other machine does not answer any more")
        what, value = json.loads(answer)
        if what == "failed":
            raise Failed(f"the other machine: {value}")
        return value

    def __getattr__(self, name):
        return lambda *args: self.call(name, args)


def serve():
    end = End()
    try:
        for line in sys.stdin:
            name, args = json.loads(line)
            try:
                answer = ["ok", getattr(end, name)(*args)]
            except (Failed, OSError) as error:
                answer = ["failed", str(error)]
            print(json.dumps(answer), flush=True)
    finally:
        end.close()


if __name__ == "__main__":
    serve()
