# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
"""What bench/run and bench/profile build before they measure."""
import os
import shutil
import subprocess
import sys

BENCH = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(BENCH)
OUT = os.path.join(ROOT, "build", "bench")
MEMORY_MB = 3072
DISK_FREE = 6 << 30
# Modules that either wireguard module may need where they are not built in.
NEEDS = ["udp_tunnel", "ip6_udp_tunnel", "libchacha20poly1305", "libcurve25519"]


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def die(text):
    say(text)
    sys.exit(1)


def script(*args):
    """The last line that one of the project's scripts prints; its progress goes to stderr."""
    done = subprocess.run([os.path.join(ROOT, "scripts", args[0]), *args[1:]], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        die(f"scripts/{' '.join(args)} failed; what it says above tells why")
    return (done.stdout.strip().splitlines() or [""])[-1]


def make(*args):
    done = subprocess.run(["make", "-s", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        die(f"make {' '.join(args)} failed:\n{done.stdout}")


def prepare(variant):
    """Kernel (see scripts/uml-kernel), modules, programs. Returns the kernel's folder and its release."""
    # Before anything is fetched: a message is better than half a kernel.
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    os.makedirs(cache, exist_ok=True)
    if shutil.disk_usage(cache).free < DISK_FREE:
        say(f"less than {DISK_FREE >> 30} GB are free at {cache}: if a kernel has to be built, it will not fit. "
            "Make room there, or name a folder that has some in XDG_CACHE_HOME")
    subprocess.run([os.path.join(ROOT, "scripts", "setup"), "build", "uml", "bench"], check=True)
    kernel = script("uml-kernel", variant)
    os.makedirs(OUT, exist_ok=True)
    built = script("build", "-q", "-o", os.path.join(OUT, "tree"), kernel, "--", "ARCH=um")
    for folder, files in (("own", [built]), ("bound", [os.path.join(BENCH, "bound", f) for f in ("Kbuild", "bound.c")])):
        os.makedirs(os.path.join(OUT, folder), exist_ok=True)
        for file in files:
            shutil.copy2(file, os.path.join(OUT, folder))
    make("ARCH=um", "-C", kernel, f"M={os.path.join(OUT, 'bound')}", "modules")
    make("-C", os.path.join(BENCH, "tools"))
    return kernel, os.listdir(os.path.join(kernel, "modules", "lib", "modules"))[0]


def modules_for(release):
    """Where measure finds them in the machine."""
    base = f"/usr/lib/modules/{release}"
    return {"own": f"{base}/updates/wireguard.ko", "in_tree": f"{base}/kernel/drivers/net/wireguard/wireguard.ko",
            "bound": "/wgtrunk/build/bench/bound/wgt_bound.ko", "traffic": "/wgtrunk/bench/tools/bin/traffic"}
