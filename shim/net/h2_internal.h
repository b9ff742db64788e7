/* SPDX-License-Identifier: Apache-2.0 */
/* h2_internal.h - the session as h2*.c and call*.c see it.
 *
 * Threads: the loop's. */
#ifndef SHIM_NET_H2_INTERNAL_H
#define SHIM_NET_H2_INTERNAL_H

#include "shim/base/clock.h"
#include "shim/base/limits.h"
#include "shim/net/call_internal.h"
#include "shim/net/h2.h"

/* An allowance that comes back with time. */
struct h2_allowance {
	int64_t left;
	int64_t refilled_ns;
};

#define H2_RECENT_METHODS 16

struct h2_session {
	struct h2_config config;
	nghttp2_session *ng;
	struct list calls;   /* streams and calls that are not over */
	struct list kept;    /* over and closed, but held by somebody */
	struct list due;     /* calls with callbacks to run */
	struct list ready;   /* calls with a request that waits for its turn */
	int64_t turn_ns;     /* when this turn began */
	size_t call_count;   /* of calls */
	size_t open_count;   /* streams that grpc-go would call active */
	size_t memory_count; /* of calls and kept */
	struct list pool;
	size_t pool_count;
	struct call *header_call; /* whose header block is being read */
	struct heap deadlines;
	const struct method *recent[H2_RECENT_METHODS]; /* by a hash of the path */

	/* output */
	uint8_t *output;
	size_t output_size;
	size_t output_capacity;
	size_t unsent_bytes;   /* queued in all calls */
	size_t withheld_bytes; /* connection credit held back while too much is unsent */
	unsigned busy;	       /* inside an entry point: no need to tell of bytes to send */
	bool is_told;	       /* on_wants_send was called since the last pull */

	/* memory.c */
	struct list memory_node; /* memory->sessions */
	size_t charged_bytes;
	struct list waiting;	  /* calls whose next message has no room yet, oldest first */
	struct list waiting_node; /* memory->waiting while there are such */

	/* time */
	int64_t now_ns; /* as of the last entry */
	int64_t read_ns;
	int64_t ping_sent_ns; /* 0: none outstanding */
	int64_t pinged_ns;    /* when the peer's last PING came; 0: never */
	unsigned ping_strikes;
	bool is_strike_reset;	/* DATA or HEADERS went out since the last PING */
	int32_t last_stream_id; /* the highest seen */
	struct h2_allowance resets;
	struct h2_allowance useless;

	/* the end */
	bool is_draining;
	int64_t drain_ns;    /* when the second GOAWAY is due; 0: not waiting for it */
	bool is_closing;     /* a GOAWAY with an error is queued: input is ignored */
	bool is_goaway_sent; /* ... and out */
	bool is_dead;	     /* keepalive failed or memory is out: close without a word */
};

int64_t h2_now_ns(struct h2_session *session); /* reads the clock */
/* Tells the connection of bytes to send unless it will ask anyway. */
void h2_wake(struct h2_session *session);
/* The peer is told why in debug data, then the connection ends. */
void h2_shut(struct h2_session *session, uint32_t error_code, const char *reason);
/* A negative answer of nghttp2: memory is out, or the call no longer has a stream. */
void h2_check(struct h2_session *session, int outcome);
/* Gives flow control credit back for bytes that were used. */
void h2_consume_stream(struct h2_session *session, int32_t stream_id, size_t size);
void h2_consume_connection(struct h2_session *session, size_t size);
/* Makes the stream's window large enough for a message of that size. */
void h2_widen_stream(struct h2_session *session, int32_t stream_id, size_t size);
/* Whether another call may begin in this turn. */
bool h2_may_serve(struct h2_session *session);

/* --- memory.c --- */
void h2_memory_add(struct h2_session *session);
void h2_memory_remove(struct h2_session *session);
void h2_memory_run(struct h2_session *session); /* while calls wait for memory */

/* --- h2_frames.c: nghttp2's callbacks --- */
enum err h2_frames_callbacks(nghttp2_session_callbacks **ret_callbacks);

/* --- h2_guard.c: keepalive, abuse, draining */
void h2_ping_received(struct h2_session *session);
void h2_ping_answered(struct h2_session *session, const uint8_t payload[8]);
void h2_reset_seen(struct h2_session *session);
void h2_useless_frame(struct h2_session *session);
void h2_closed_stream_headers(struct h2_session *session, int32_t stream_id);
void h2_allowance_fill(struct h2_session *session);
bool h2_deadline_add(struct h2_session *session, struct call *call);
void h2_deadline_remove(struct h2_session *session, struct call *call);
void h2_deadlines_run(struct h2_session *session);
void h2_keepalive_run(struct h2_session *session);
void h2_drain_start(struct h2_session *session);
void h2_drain_run(struct h2_session *session, bool is_answered); /* the second GOAWAY, when due */
bool h2_deadline_before(const struct heap_node *a, const struct heap_node *b);

#endif
