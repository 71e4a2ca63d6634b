#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# What all other tests rely on (TAP): that scripts/splat finds what kernels
# complain of and nothing else, and that scripts/vm passes on how a command, or
# the machine, ended.

# shellcheck disable=SC2317 # tests are called by their names

set -uo pipefail
cd "$(dirname "$0")/.." || exit
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

KERNEL=6.12
files=$(mktemp -d)
defer rm -rf "$files"

# --- splat ---

# Lines of a kernel's log that mean trouble. Each one is found by itself.
bad_lines()
{
	cat <<-'END'
		[   12.345678] BUG: kernel NULL pointer dereference, address: 0000000000000010
		[   12.345678] BUG: unable to handle page fault for address: ffffc90000a3b000
		[   12.345678] kernel BUG at net/core/skbuff.c:192!
		[   12.345678] WARNING: CPU: 1 PID: 77 at net/core/dev.c:3210 skb_warn_bad_offload+0x8a/0xf0
		[   12.345678] ------------[ cut here ]------------
		[   12.345678] Oops: 0002 [#1] PREEMPT SMP NOPTI
		[   12.345678] Call Trace:
		[   12.345678] general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP
		[   12.345678] INFO: task kworker/0:1:9 blocked for more than 120 seconds.
		[   12.345678] INFO: trying to register non-static key.
		[   12.345678] WARNING: possible circular locking dependency detected
		[   12.345678] WARNING: suspicious RCU usage
		[   12.345678] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
		[   12.345678] rcu: INFO: rcu_sched self-detected stall on CPU
		[   12.345678] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [ip:311]
		[   12.345678] watchdog: Watchdog detected hard LOCKUP on cpu 0
		[   12.345678] BUG: KASAN: slab-use-after-free in wg_peer_put+0x31/0x40
		[   12.345678] UBSAN: array-index-out-of-bounds in src/index.c:12:3
		[   12.345678] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
		[   12.345678] unreferenced object 0xffff888003a1c000 (size 512):
		[   12.345678] BUG: sleeping function called from invalid context at mm/slab.h:401
		[   12.345678] BUG: scheduling while atomic: ip/311/0x00000201
		[   12.345678] refcount_t: underflow; use-after-free.
		[   12.345678] unregister_netdevice: waiting for wg0 to become free. Usage count = 2
		[   12.345678] NETDEV WATCHDOG: eth0 (virtio_net): transmit queue 0 timed out
		[   12.345678] list_add corruption. prev->next should be next (ffff), but was dead.
		[   12.345678] ip: page allocation failure: order:9, mode:0x40dc0
		[   12.345678] Out of memory: Killed process 77 (python3) total-vm:123kB
		[   12.345678] wg0: hw csum failure
		[   12.345678] Kernel panic - not syncing: Fatal exception in interrupt
		[   12.345678] BUG: Bad page state in process ip  pfn:03a1c
		[   12.345678] invalid opcode: 0000 [#1] SMP
	END
}

# What kernels say on any day, and what the guest's first process says.
good_lines()
{
	cat <<-'END'
		[    0.000000] Linux version 6.12.0 (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP
		[    0.000000] Command line: console=ttyS0 panic=-1 log_buf_len=4M
		[    0.012345] rcu: Hierarchical RCU implementation.
		[    0.012345] rcu: RCU restricting CPUs from NR_CPUS=512 to nr_cpu_ids=2.
		[    0.012345] NMI watchdog: Perf NMI watchdog permanently disabled
		[    0.212345] Spectre V2 : Mitigation: Retpolines
		[    0.212345] WARNING is a word
		[    0.312345] debug: unmapping init of memory
		[    1.234567] wireguard: loading out-of-tree module taints kernel.
		[    1.234567] wireguard: module verification failed: signature and/or required key missing - tainting kernel
		[    2.345678] wireguard: wg0: Interface created
		[    2.345678] wireguard: wg0: Receiving handshake initiation from peer 3 (192.168.1.1:1001)
		[    2.345678] wireguard: wg0: Packet has unallowed src IP (10.0.0.9) from peer 4
		[    2.345678] wireguard: wg0: Keypair 12 destroyed for peer 3
		[    3.456789] IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready
		[    4.567890] net_ratelimit: 12 callbacks suppressed
		[    5.678901] vm-init: exit status 1
		[    5.678901] sysrq: Resetting
	END
}

# splat_says STATUS ARG...: that it is the exit status. What it prints is in
# $files/said.
splat_says()
{
	local want=$1 got=0

	shift
	scripts/splat "$@" >"$files/said" 2>&1 || got=$?
	((got == want)) || { cat "$files/said"; fail "status $got instead of $want: splat $*"; }
}

test_splat_finds()
{
	local line status=0 number=0

	while IFS= read -r line; do
		number=$((number + 1))
		{ good_lines; printf '%s\r\n' "$line"; good_lines; } >"$files/log"
		splat_says 1 "$files/log" || { echo "not found: $line"; status=1; continue; }
		# That line and no other, with its number.
		[[ $(tr -d '\r' <"$files/said") == "$(($(good_lines | wc -l) + 1)):$line" ]] ||
			{ cat "$files/said"; status=1; }
	done < <(bad_lines)
	((number > 30)) && return "$status"
}

test_splat_finds_nothing()
{
	good_lines >"$files/log"
	splat_says 0 "$files/log" && [[ ! -s $files/said ]]
}

# A log may have anything in it.
test_splat_binary()
{
	{ good_lines; printf '\0\377\n'; bad_lines | head -n 1; } >"$files/log"
	splat_says 1 "$files/log" && grep -qa 'NULL pointer' "$files/said"
}

test_splat_ignore()
{
	{ good_lines; bad_lines | grep 'page allocation'; } >"$files/log"
	splat_says 0 --ignore 'page allocation failure: order:[0-9]' "$files/log" || return
	# What else there is counts all the same.
	bad_lines | grep refcount >>"$files/log"
	splat_says 1 --ignore 'page allocation failure: order:[0-9]' "$files/log" &&
		grep -q refcount "$files/said" && ! grep -q 'page allocation' "$files/said"
}

test_splat_arguments()
{
	good_lines >"$files/log"
	bad_lines >"$files/log2"
	splat_says 2 && splat_says 2 "$files/nothing" && splat_says 2 --what "$files/log" &&
		splat_says 2 --ignore && splat_says 1 "$files/log" "$files/log2" &&
		grep -qx "$files/log2:" "$files/said" && ! grep -qx "$files/log:" "$files/said"
}

# --- package lists of trixie ---

# lists STATUS: fetches them, with an apt-get that has no network, and ends so.
lists()
{
	local want=$1 got=0

	mkdir -p "$files/bin"
	cat >"$files/bin/apt-get" <<-'END'
		#!/bin/sh
		case " $* " in
		*" update "*) echo "E: no network" >&2; exit 100 ;;
		esac
		exec /usr/bin/apt-get "$@"
	END
	chmod 755 "$files/bin/apt-get"
	# shellcheck disable=SC2016 # for that shell
	PATH=$files/bin:$PATH XDG_CACHE_HOME=$files/cache bash -c '
		set -euo pipefail; . scripts/lib.sh; apt_trixie echo found' lists >"$files/said" 2>&1 || got=$?
	cat "$files/said"
	((got == want)) && grep -q 'E: no network' "$files/said"
}

test_no_lists()
{
	lists 1 && grep -q 'no package lists .* network' "$files/said"
}

# From long ago.
test_old_lists()
{
	local dir=$files/cache/wgtrunk/apt-trixie

	mkdir -p "$dir"
	touch -d '13 hours ago' "$dir/updated"
	lists 0 && grep -q 'those fetched before are used' "$files/said" && grep -qx found "$files/said" &&
		[[ -n $(find "$dir/updated" -mmin +720) ]]
}

# --- vm ---

# machine STATUS ARG... -- COMMAND...: scripts/vm ends so. What came out of it is
# in $files/out and $files/err, what the console had in $files/console.
machine()
{
	local want=$1 got=0 start=$SECONDS

	shift
	rm -f "$files"/{out,err,console}
	scripts/vm --in-tree --log "$files/console" --timeout 100 "$@" \
		>"$files/out" 2>"$files/err" </dev/null || got=$?
	echo "status $got after $((SECONDS - start)) s"
	((got == want)) || { cat "$files/out" "$files/err"; fail "status $got instead of $want"; }
}

# One machine for all that a good run shows.
test_status()
{
	echo brought >"$files/file"
	# shellcheck disable=SC2016 # for the guest
	machine 7 --file "$files/file:/root/file" --env "WORDS=two words" "$KERNEL" -- bash -c '
		echo "out $WORDS $*"; echo err >&2; cat /root/file; uname -r
		echo "$WGTRUNK_KERNEL $WGTRUNK_MODULE $PWD"; exit 7' bash "a  b" '$c' || return
	diff "$files/out" - <<-END || return
		out two words a  b \$c
		brought
		$(scripts/kernel release "$KERNEL")
		$KERNEL in-tree /wgtrunk
	END
	grep -qx err "$files/err" && grep -q 'end of the kernel log' "$files/err" &&
		grep -q 'vm-init: exit status 7' "$files/console"
}

# complains COMMAND LINE: 123 though the command gives 0, and LINE is shown.
complains()
{
	machine 123 "$KERNEL" -- bash -c "$1; exit 0" || return
	if ! grep -q 'the kernel complained' "$files/err" || ! grep -q "$2" "$files/err"; then
		cat "$files/err"
		fail "not shown: $2"
	fi
}

# A line like those in the log; the kernel itself is not tainted.
test_complaint()
{
	complains 'echo "INFO: task planted:1 blocked for more than 120 seconds." >/dev/kmsg' \
		'(taint 0)' && grep -q planted "$files/err"
}

# A warning's taint, without a line.
test_taint()
{
	complains 'echo 512 >/proc/sys/kernel/tainted' '(taint 512)'
}

# dies COMMAND [ARG...]: while it was to go on. 125.
dies()
{
	local command=$1

	shift
	machine 125 "$@" "$KERNEL" -- bash -c "echo 1 >/proc/sys/kernel/sysrq; echo begun; $command; sleep 90" || return
	cat "$files/out" "$files/err"
	grep -qx begun "$files/out" && grep -q 'without an exit status' "$files/err"
}

# A real one: what it says and who was to blame.
test_panic()
{
	dies 'echo c >/proc/sysrq-trigger' && grep -q 'the kernel complained' "$files/err" &&
		grep -q 'sysrq triggered crash' "$files/err"
}

# It does not even boot.
test_no_boot()
{
	machine 125 --append ' rdinit=/nothing root=/dev/nothing' "$KERNEL" -- true &&
		grep -q 'Unable to mount root\|VFS: Cannot open root' "$files/err"
}

# QEMU's -S: the CPUs do not start before its monitor says so.
test_late()
{
	machine 125 --qemu -S --boot-timeout 3 "$KERNEL" -- true || return
	cat "$files/err"
	grep -q 'did not come up in 3 s (see .*): once more' "$files/err" && [[ -e $files/console.late ]] &&
		[[ $(grep -c 'did not come up in 3 s' "$files/err") == 2 ]]
}

# go_on SOCKET: starts the CPUs of the second machine.
go_on()
{
	busywait 60 grep -qs 'once more' "$files/err" && busywait 30 test -S "$1" &&
		printf '%s\n' '{"execute": "qmp_capabilities"}' '{"execute": "cont"}' |
		socat -t 5 - "UNIX-CONNECT:$1"
}

test_second_boot()
{
	local socket=$files/qmp helper

	rm -f "$files/err"
	go_on "$socket" &
	helper=$!
	machine 7 --qemu -S --qemu -qmp --qemu "unix:$socket,server=on,wait=off" \
		--boot-timeout 25 "$KERNEL" -- sh -c 'echo begun; exit 7'
	set -- $?
	kill "$helper" 2>/dev/null
	cat "$files/err"
	(($1 == 0)) && [[ $(<"$files/out") == begun ]] && grep -q 'once more' "$files/err"
}

# A machine of a pair is not alone: the other one waits for it.
test_late_peer()
{
	machine 125 --qemu -S --boot-timeout 3 --peer "listen:$files/peer" "$KERNEL" -- true &&
		! grep -q 'once more' "$files/err" && grep -q 'did not come up in 3 s' "$files/err"
}

# Before that it writes what everybody waits for.
test_time()
{
	local start=$SECONDS

	machine 124 --timeout 35 "$KERNEL" -- bash -c 'echo begun; exec sleep 1000' || return
	((SECONDS - start < 60)) || fail "$((SECONDS - start)) s" || return
	grep -qx begun "$files/out" && grep -q 'time limit' "$files/err" &&
		grep -q 'vm-init: time is nearly over' "$files/console" &&
		grep -q 'vm-init: .*sleep 1000' "$files/console"
}

test_arguments()
{
	machine 2 || return
	machine 1 9.9 -- true && machine 1 --what "$KERNEL" -- true &&
		machine 1 --cpus many "$KERNEL" -- true && machine 1 --own "$KERNEL" -- true &&
		machine 1 --file "$files/nothing" "$KERNEL" -- true &&
		machine 1 --disk "$files/nothing" "$KERNEL" -- true &&
		machine 1 "$KERNEL" true && grep -q 'put -- before' "$files/err"
}

# And where all is well, not a word.
test_disk()
{
	truncate -s 8M "$files/disk"
	mke2fs -q -t ext4 "$files/disk" || return
	machine 0 --disk "$files/disk" "$KERNEL" -- sh -c 'echo written >/mnt/disk1/file' &&
		[[ ! -s $files/out && ! -s $files/err ]] || return
	[[ $(debugfs -R 'cat file' "$files/disk" 2>/dev/null) == written ]]
}

check "splat finds all kinds of complaints" test_splat_finds
check "splat finds nothing in a good log" test_splat_finds_nothing
check "splat reads logs that are no text" test_splat_binary
check "splat --ignore takes out what it names, and no more" test_splat_ignore
check "splat's arguments" test_splat_arguments
check "package lists that cannot be fetched: why" test_no_lists
check "package lists that cannot be fetched anew: older ones will do" test_old_lists
check "vm: the command's output and exit status" test_status
check "vm: 0 and not a word; a disk is written to" test_disk
check "vm: 123 where the log has a complaint" test_complaint
check "vm: 123 where the kernel is tainted" test_taint
check "vm: 125 where the kernel panics" test_panic
check "vm: 125 where it does not boot" test_no_boot
check "vm: 125 where it is late, twice" test_late
check "vm: a machine that is late is started once more" test_second_boot
check "vm: one of a pair is not" test_late_peer
check "vm: 124 where the time is over" test_time
check "vm: wrong arguments" test_arguments
finish
