// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nl.h"
#include "util.h"

/* Dumps have messages of up to 32 KiB. */
#define RECEIVE_MAX	65536

/* The kernel has no errors past it. */
#define ERRNO_MAX	4095

/* How often a dump that was interrupted is made again. */
#define TRIES		10

/* Private keys come through here. */
static char received[RECEIVE_MAX];

struct mnl_socket *nl_open(int protocol)
{
	struct mnl_socket *socket = mnl_socket_open2(protocol, SOCK_CLOEXEC);
	int on = 1;

	if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID)) {
		fail(NULL, 0, "netlink: %s", strerror(errno));
		if (socket)
			mnl_socket_close(socket);
		return NULL;
	}
	/* Old kernels may lack them; what they are for is checked again here. */
	mnl_socket_setsockopt(socket, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(socket, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	/* Without it, keys could be written to a swap device. */
	sodium_mlock(received, sizeof(received));
	return socket;
}

struct nlmsghdr *nl_begin(void *buffer, unsigned int type, unsigned int flags)
{
	struct nlmsghdr *message;

	memset(buffer, 0, sizeof(*message));
	message = mnl_nlmsg_put_header(buffer);
	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	return message;
}

struct nlmsghdr *nl_begin_generic(void *buffer, unsigned int family, unsigned int command,
				  unsigned int flags)
{
	struct nlmsghdr *message = nl_begin(buffer, family, flags);
	struct genlmsghdr *generic = mnl_nlmsg_put_extra_header(message, sizeof(*generic));

	generic->cmd = command;
	generic->version = 1;
	return message;
}

void nl_attributes(const void *first, size_t length, const struct nlattr **table,
		   unsigned int max)
{
	const char *at = first;
	struct nlattr header;
	unsigned int type;

	memset(table, 0, (max + 1) * sizeof(*table));
	while (length >= sizeof(header)) {
		memcpy(&header, at, sizeof(header));
		if (header.nla_len < sizeof(header) || header.nla_len > length)
			return;
		type = header.nla_type & NLA_TYPE_MASK;
		if (type <= max)
			table[type] = (const struct nlattr *)at;
		if ((size_t)MNL_ALIGN(header.nla_len) >= length)
			return;
		at += MNL_ALIGN(header.nla_len);
		length -= MNL_ALIGN(header.nla_len);
	}
}

void nl_message_attributes(const struct nlmsghdr *message, size_t header,
			   const struct nlattr **table, unsigned int max)
{
	size_t length = mnl_nlmsg_get_payload_len(message), aligned = MNL_ALIGN(header);

	nl_attributes((const char *)mnl_nlmsg_get_payload(message) + aligned,
		      length > aligned ? length - aligned : 0, table, max);
}

void nl_nested(const struct nlattr *nest, const struct nlattr **table, unsigned int max)
{
	nl_attributes(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), table, max);
}

bool nl_copy(const struct nlattr *attribute, void *to, size_t length)
{
	if (!attribute || mnl_attr_get_payload_len(attribute) < length)
		return false;
	memcpy(to, mnl_attr_get_payload(attribute), length);
	return true;
}

uint8_t nl_u8(const struct nlattr *attribute)
{
	uint8_t value = 0;

	nl_copy(attribute, &value, sizeof(value));
	return value;
}

uint16_t nl_u16(const struct nlattr *attribute)
{
	uint16_t value = 0;

	nl_copy(attribute, &value, sizeof(value));
	return value;
}

uint32_t nl_u32(const struct nlattr *attribute)
{
	uint32_t value = 0;

	nl_copy(attribute, &value, sizeof(value));
	return value;
}

uint64_t nl_u64(const struct nlattr *attribute)
{
	uint64_t value = 0;

	nl_copy(attribute, &value, sizeof(value));
	return value;
}

void nl_text(const struct nlattr *attribute, char *to, size_t size)
{
	size_t length = attribute ? mnl_attr_get_payload_len(attribute) : 0;

	if (length)
		length = strnlen(mnl_attr_get_payload(attribute), length);
	if (length >= size)
		length = size - 1;
	if (length)
		memcpy(to, mnl_attr_get_payload(attribute), length);
	to[length] = '\0';
}

/* An error or an acknowledgement, maybe with words; after an error the question stands in between. */
static int verdict(const struct nlmsghdr *message, char *why)
{
	const struct nlattr *said[NLMSGERR_ATTR_MAX + 1];
	size_t before = sizeof(int);
	int error;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(error))
		return -EPROTO;
	memcpy(&error, mnl_nlmsg_get_payload(message), sizeof(error));
	if (message->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *about = mnl_nlmsg_get_payload(message);

		if (mnl_nlmsg_get_payload_len(message) < sizeof(*about))
			return -EPROTO;
		before = sizeof(*about);
		if (!(message->nlmsg_flags & NLM_F_CAPPED) && about->msg.nlmsg_len > MNL_NLMSG_HDRLEN)
			before += MNL_ALIGN(about->msg.nlmsg_len) - MNL_NLMSG_HDRLEN;
	}
	if (error && why && message->nlmsg_flags & NLM_F_ACK_TLVS) {
		nl_message_attributes(message, before, said, NLMSGERR_ATTR_MAX);
		nl_text(said[NLMSGERR_ATTR_MSG], why, NL_WORDS);
	}
	return error > 0 || error < -ERRNO_MAX ? -EPROTO : error;
}

/* mnl_nlmsg_ok() takes lengths of 2 GiB and more for negative ones. */
static bool is_whole(const struct nlmsghdr *message, int length)
{
	return mnl_nlmsg_ok(message, length) && message->nlmsg_len <= (unsigned int)length;
}

/* What one datagram brought. Returns 1 where more is to come, 0 at the end, or an error. */
static int take_all(int length, unsigned int seq, const struct nl_answer *answer, char *why,
		    bool *interrupted)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)received;

	for (; is_whole(message, length); message = mnl_nlmsg_next(message, &length)) {
		if (message->nlmsg_seq != seq)
			continue;
		*interrupted |= !!(message->nlmsg_flags & NLM_F_DUMP_INTR);
		if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE)
			return verdict(message, why);
		if (message->nlmsg_type >= NLMSG_MIN_TYPE && answer &&
		    !answer->take(message, answer->data))
			return -EPROTO;
	}
	return 1;
}

static int ask_once(struct mnl_socket *socket, struct nlmsghdr *message,
		    const struct nl_answer *answer, char *why, bool *interrupted)
{
	static unsigned int seq;
	ssize_t length;
	int ret = 1;

	*interrupted = false;
	if (why)
		*why = '\0';
	message->nlmsg_seq = ++seq;
	if (mnl_socket_sendto(socket, message, message->nlmsg_len) < 0)
		return -errno;
	while (ret > 0) {
		length = mnl_socket_recvfrom(socket, received, sizeof(received));
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return -errno;
		ret = take_all(length, seq, answer, why, interrupted);
	}
	return ret;
}

int nl_ask(struct mnl_socket *socket, struct nlmsghdr *message, const struct nl_answer *answer,
	   char *why)
{
	bool interrupted;
	int tries, ret;

	for (tries = 0; tries < TRIES; tries++) {
		ret = ask_once(socket, message, answer, why, &interrupted);
		if (ret || !interrupted)
			break;
		ret = -EINTR;
		if (answer && answer->again)
			answer->again(answer->data);
	}
	sodium_memzero(received, sizeof(received));
	sodium_memzero(message, message->nlmsg_len);
	return ret;
}

static bool error_message(int error, const char *why, const char *format, va_list args)
{
	char *what;

	if (vasprintf(&what, format, args) < 0)
		abort();
	if (why && *why)
		fail(NULL, 0, "%s: %s (%s)", what, strerror(-error), why);
	else
		fail(NULL, 0, "%s: %s", what, strerror(-error));
	free(what);
	return false;
}

bool nl_error(int error, const char *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	error_message(error, why, format, args);
	va_end(args);
	return false;
}

bool nl_tell(struct mnl_socket *socket, struct nlmsghdr *message, const char *format, ...)
{
	char why[NL_WORDS];
	int ret = nl_ask(socket, message, NULL, why);
	va_list args;

	if (!ret)
		return true;
	va_start(args, format);
	error_message(ret, why, format, args);
	va_end(args);
	return false;
}
