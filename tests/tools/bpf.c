// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Loads a small BPF program and pins it, without a compiler for BPF or a loader:
 *
 *	bpf xdp|tc PATH
 *
 * It drops IPv4 packets that carry ICMP and lets all others pass, seen from a
 * device whose packets begin with their IP header. To be attached with
 * `ip link set dev DEV xdpgeneric pinned PATH` or `tc filter ... bpf da pinned`.
 */

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROTOCOL_OFFSET	9
#define HEADER		20
#define ICMP		1

#define INSN(c, d, s, o, i)	((struct bpf_insn) { .code = c, .dst_reg = d, .src_reg = s, \
						     .off = o, .imm = i })
#define LOAD(size, d, s, o)	INSN(BPF_LDX | BPF_MEM | size, d, s, o, 0)
#define MOVE(d, s)		INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define SET(d, i)		INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD(d, i)		INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define JUMP(op, d, i, o)	INSN(BPF_JMP | op | BPF_K, d, 0, o, i)
#define EXIT			INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

static int bpf(int cmd, union bpf_attr *attr)
{
	return syscall(__NR_bpf, cmd, attr, sizeof(*attr));
}

int main(int argc, char **argv)
{
	int xdp = argc == 3 && !strcmp(argv[1], "xdp");
	int data = xdp ? offsetof(struct xdp_md, data) : offsetof(struct __sk_buff, data);
	int end = xdp ? offsetof(struct xdp_md, data_end) : offsetof(struct __sk_buff, data_end);
	struct bpf_insn program[] = {
		LOAD(BPF_W, 2, 1, data),
		LOAD(BPF_W, 3, 1, end),
		MOVE(4, 2),
		ADD(4, HEADER),
		INSN(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 6, 0),	/* shorter: pass */
		LOAD(BPF_B, 5, 2, 0),
		JUMP(BPF_JNE, 5, 0x45, 4),			/* not IPv4: pass */
		LOAD(BPF_B, 5, 2, PROTOCOL_OFFSET),
		JUMP(BPF_JNE, 5, ICMP, 2),			/* not ICMP: pass */
		SET(0, xdp ? XDP_DROP : TC_ACT_SHOT),
		EXIT,
		SET(0, xdp ? XDP_PASS : TC_ACT_OK),
		EXIT,
	};
	static char log[16384];
	union bpf_attr attr;
	int fd;

	if (argc != 3 || (!xdp && strcmp(argv[1], "tc"))) {
		fputs("bpf xdp|tc PATH\n", stderr);
		return 2;
	}
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = xdp ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS;
	attr.insns = (uintptr_t)program;
	attr.insn_cnt = sizeof(program) / sizeof(program[0]);
	attr.license = (uintptr_t)"GPL";
	attr.log_buf = (uintptr_t)log;
	attr.log_size = sizeof(log);
	attr.log_level = 1;
	fd = bpf(BPF_PROG_LOAD, &attr);
	if (fd < 0) {
		perror("bpf: load");
		fputs(log, stderr);
		return 1;
	}
	memset(&attr, 0, sizeof(attr));
	attr.pathname = (uintptr_t)argv[2];
	attr.bpf_fd = fd;
	if (bpf(BPF_OBJ_PIN, &attr)) {
		perror("bpf: pin");
		return 1;
	}
	return 0;
}
