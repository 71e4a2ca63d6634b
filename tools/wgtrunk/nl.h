/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* Netlink by libmnl: questions, answers, errors in the kernel's words. */
#ifndef WGTRUNK_NL_H
#define WGTRUNK_NL_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>

/* Longest message that is sent. */
#define NL_REQUEST_MAX	16384

/* nl_open() - a socket of a netlink protocol, or NULL with a message. */
struct mnl_socket *nl_open(int protocol);

/* nl_begin() - a message in @buffer, of NL_REQUEST_MAX bytes. @flags: beside NLM_F_REQUEST and NLM_F_ACK. */
struct nlmsghdr *nl_begin(void *buffer, unsigned int type, unsigned int flags);

/* nl_begin_generic() - one of a generic family, version 1. */
struct nlmsghdr *nl_begin_generic(void *buffer, unsigned int family, unsigned int command,
				  unsigned int flags);

/**
 * struct nl_answer - what becomes of the answers
 * @take: for each message; false ends with EPROTO
 * @again: forget what was taken, since a dump was interrupted and is made again
 * @data: for both
 */
struct nl_answer {
	bool (*take)(const struct nlmsghdr *message, void *data);
	void (*again)(void *data);
	void *data;
};

/**
 * nl_ask() - send a message and take all that is answered
 * @message: is wiped, whatever was in it
 * @answer: or NULL where only an acknowledgement is expected
 * @why: for the kernel's own words where there is an error, or NULL; NL_WORDS bytes
 *
 * Return: 0, or a negative error number.
 */
#define NL_WORDS	256
int nl_ask(struct mnl_socket *socket, struct nlmsghdr *message, const struct nl_answer *answer,
	   char *why);

/**
 * nl_tell() - nl_ask() for an acknowledgement
 * @format: what could not be done, for the message where it could not
 */
bool nl_tell(struct mnl_socket *socket, struct nlmsghdr *message, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* nl_error() - a message of what nl_ask() returned; returns false. */
bool nl_error(int error, const char *why, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * nl_attributes() - sort attributes by their types
 * @first: byte that they begin at
 * @length: bytes of them; what does not fit in there is left out
 * @table: one of each type up to @max, or NULL
 */
void nl_attributes(const void *first, size_t length, const struct nlattr **table,
		   unsigned int max);

/* nl_message_attributes() - those of a message that has a header of @header bytes of its own. */
void nl_message_attributes(const struct nlmsghdr *message, size_t header,
			   const struct nlattr **table, unsigned int max);

/* nl_nested() - those inside of another. */
void nl_nested(const struct nlattr *nest, const struct nlattr **table, unsigned int max);

/* nl_u32() and so on - what is in an attribute; 0 where there is none or it is too short. */
uint8_t nl_u8(const struct nlattr *attribute);
uint16_t nl_u16(const struct nlattr *attribute);
uint32_t nl_u32(const struct nlattr *attribute);
uint64_t nl_u64(const struct nlattr *attribute);

/* nl_copy() - @length bytes of it to @to; false, and @to as it was, where it has not so many. */
bool nl_copy(const struct nlattr *attribute, void *to, size_t length);

/* nl_text() - a string, cut to what @to of @size bytes has room for. */
void nl_text(const struct nlattr *attribute, char *to, size_t size);

#endif /* WGTRUNK_NL_H */
