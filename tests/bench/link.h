/* SPDX-License-Identifier: Apache-2.0 */
/* link.h - gRPC calls over plaintext HTTP/2 connections (nghttp2 on epoll), as cheap as can be.
 *
 * Ownership: links belong to the set; a call belongs to the caller, who keeps it until on_end.
 * Threads: one.
 * Errors: a call ends with a problem text or without one.  A connection that breaks ends the
 * program: a benchmark that lost a server has no figures. */
#ifndef TESTS_BENCH_LINK_H
#define TESTS_BENCH_LINK_H

#include "shim/base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

#define CALL_PROBLEM_BYTES 160

struct link;
struct link_set;

struct call {
	/* set by the owner before call_begin(); all may be called from inside links_turn() */
	void (*on_message)(struct call *call, struct bytes message);
	void (*on_end)(struct call *call);
	void *owner;
	struct buffer request; /* one message; its length prefix lives in the headroom */
	/* kept by link.c */
	struct link *link;
	int32_t stream; /* 0: not in progress */
	bool is_open;	/* more messages may follow */
	bool has_message;
	size_t sent;	      /* of prefix and message */
	struct buffer answer; /* a message that came in pieces */
	int http_status;
	int grpc_status;
	char problem[CALL_PROBLEM_BYTES]; /* empty when all went well */
};

struct link_set *links_open(uint16_t port, unsigned count);
void links_close(struct link_set *set);
struct link *links_get(struct link_set *set, unsigned number);

/* Waits timeout_ns at most, handles all that arrived, sends all that was begun. */
void links_turn(struct link_set *set, int64_t timeout_ns);

void call_init(struct call *call, void *owner);
void call_fini(struct call *call);
/* Sends call->request to path; the call ends by itself unless is_stream. */
void call_begin(struct call *call, struct link *link, const char *path, bool is_stream);
/* The next message of a stream: request holds it, and the one before was sent. */
void call_send(struct call *call);
void call_cancel(struct call *call);

#endif
