/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* All that wgtrunk asks the kernel, one function each: for the fuzzer and for the recorder. */
#ifndef WGTRUNK_QUESTIONS_H
#define WGTRUNK_QUESTIONS_H

#include "kernel.h"

/* The trunk that is asked for. */
#define TRUNK_NAME	"west"

/**
 * struct question - something to ask
 * @name: function of kernel.h or found.h, or "all"
 * @ask: asks it with all that there is to say, looks at what came, and frees it
 */
struct question {
	const char *name;
	void (*ask)(struct kernel *kernel, unsigned int index, bool begun);
};

extern const struct question questions[];
extern const unsigned int questions_count;

#endif /* WGTRUNK_QUESTIONS_H */
