/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */
#ifndef WGT_VERSION_H
#define WGT_VERSION_H

#define WGT_VERSION "0.1.0"

#endif /* WGT_VERSION_H */
