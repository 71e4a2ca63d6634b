/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Tracepoints at the stages of the data path, events/wgtrunk/ in tracefs. A
 * packet's stages are on one CPU, one after the other, but for a hand-over.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM wgtrunk

#if !defined(WGT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define WGT_TRACE_H

#include <linux/netdevice.h>
#include <linux/tracepoint.h>

#include "counters.h"

DECLARE_EVENT_CLASS(wgt_stage,
	TP_PROTO(const struct net_device *dev, unsigned int packets, unsigned int bytes),
	TP_ARGS(dev, packets, bytes),
	TP_STRUCT__entry(
		__array(char, dev, IFNAMSIZ)
		__field(int, ifindex)
		__field(unsigned int, packets)
		__field(unsigned int, bytes)
	),
	TP_fast_assign(
		memcpy(__entry->dev, dev->name, IFNAMSIZ);
		__entry->ifindex = dev->ifindex;
		__entry->packets = packets;
		__entry->bytes = bytes;
	),
	TP_printk("dev=%s packets=%u bytes=%u", __entry->dev, __entry->packets, __entry->bytes)
);

/* a batch of messages came from UDP, or from another CPU */
DEFINE_EVENT(wgt_stage, wgt_received,
	TP_PROTO(const struct net_device *dev, unsigned int packets, unsigned int bytes),
	TP_ARGS(dev, packets, bytes)
);

/* those that are authentic, new and from an address of the peer; bytes of IP */
DEFINE_EVENT(wgt_stage, wgt_decrypted,
	TP_PROTO(const struct net_device *dev, unsigned int packets, unsigned int bytes),
	TP_ARGS(dev, packets, bytes)
);

/* they went to the stack */
DEFINE_EVENT(wgt_stage, wgt_delivered,
	TP_PROTO(const struct net_device *dev, unsigned int packets, unsigned int bytes),
	TP_ARGS(dev, packets, bytes)
);

/* a packet, or GSO packet, came from the stack; bytes of IP */
DEFINE_EVENT(wgt_stage, wgt_taken,
	TP_PROTO(const struct net_device *dev, unsigned int packets, unsigned int bytes),
	TP_ARGS(dev, packets, bytes)
);

/* a message or superpacket was made of it */
DEFINE_EVENT(wgt_stage, wgt_encrypted,
	TP_PROTO(const struct net_device *dev, unsigned int packets, unsigned int bytes),
	TP_ARGS(dev, packets, bytes)
);

/* it was handed to IP, which may drop it still */
DEFINE_EVENT(wgt_stage, wgt_sent,
	TP_PROTO(const struct net_device *dev, unsigned int packets, unsigned int bytes),
	TP_ARGS(dev, packets, bytes)
);

TRACE_EVENT(wgt_handed_over,
	TP_PROTO(const struct net_device *dev, int to_cpu, unsigned int packets,
		 unsigned int waiting),
	TP_ARGS(dev, to_cpu, packets, waiting),
	TP_STRUCT__entry(
		__array(char, dev, IFNAMSIZ)
		__field(int, ifindex)
		__field(int, to_cpu)
		__field(unsigned int, packets)
		__field(unsigned int, waiting)
	),
	TP_fast_assign(
		memcpy(__entry->dev, dev->name, IFNAMSIZ);
		__entry->ifindex = dev->ifindex;
		__entry->to_cpu = to_cpu;
		__entry->packets = packets;
		__entry->waiting = waiting;
	),
	TP_printk("dev=%s to_cpu=%d packets=%u waiting=%u", __entry->dev, __entry->to_cpu,
		  __entry->packets, __entry->waiting)
);

TRACE_EVENT(wgt_dropped,
	TP_PROTO(const struct net_device *dev, unsigned int reason, unsigned int packets),
	TP_ARGS(dev, reason, packets),
	TP_STRUCT__entry(
		__array(char, dev, IFNAMSIZ)
		__field(int, ifindex)
		__field(unsigned int, reason)
		__array(char, name, WGT_COUNTER_NAME_LEN)
		__field(unsigned int, packets)
		__field(unsigned int, cpu)
	),
	TP_fast_assign(
		memcpy(__entry->dev, dev->name, IFNAMSIZ);
		__entry->ifindex = dev->ifindex;
		__entry->reason = reason;
		strscpy(__entry->name, wgt_counter_name(reason), WGT_COUNTER_NAME_LEN);
		__entry->packets = packets;
		__entry->cpu = raw_smp_processor_id();
	),
	TP_printk("dev=%s reason=%s packets=%u cpu=%u", __entry->dev, __entry->name,
		  __entry->packets, __entry->cpu)
);

#endif /* WGT_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
