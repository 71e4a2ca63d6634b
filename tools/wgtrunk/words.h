/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* What state trunks and lanes are in, in a word or two, for show and top. */
#ifndef WGTRUNK_WORDS_H
#define WGTRUNK_WORDS_H

#include "found.h"

/* in_trunk() - whether a lane is one of the trunk's, not only by its name. */
bool in_trunk(const struct found *found, const struct found_lane *lane);

/* found_state(), lane_state(), choice_text() - of a trunk, of a lane, how lanes are chosen: a word or two. */
const char *found_state(const struct found *found);
const char *lane_state(const struct found *found, const struct found_lane *lane);
const char *choice_text(int choice);

#endif /* WGTRUNK_WORDS_H */
