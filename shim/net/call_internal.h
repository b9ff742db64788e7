/* SPDX-License-Identifier: Apache-2.0 */
/* call_internal.h - what h2*.c and call*.c share about one call.
 *
 *	HEADERS --> OPEN --> ENDED		answered, or over for another reason
 *	       \--> HTTP --> ENDED		not gRPC: a plain HTTP request
 *	       \--> ENDED			refused before a handler saw it
 *
 * The stream has a life of its own: after ENDED it may still send what is queued, and it may close
 * before.  When both are over and on_end has run, the session lets go of the call; its memory goes
 * back to the session's pool with the last call_release().
 * Threads: the loop's. */
#ifndef SHIM_NET_CALL_INTERNAL_H
#define SHIM_NET_CALL_INTERNAL_H

#include "shim/base/heap.h"
#include "shim/base/list.h"
#include "shim/net/call.h"
#include "shim/net/grpc.h"
#include "shim/net/memory.h"
#include "shim/net/server.h"

#include <nghttp2/nghttp2.h>

struct h2_session;

enum call_phase { CALL_HEADERS, CALL_OPEN, CALL_HTTP, CALL_ENDED };

/* The request headers that the server itself reads; the others are metadata. */
enum call_field {
	FIELD_METHOD,
	FIELD_PATH,
	FIELD_AUTHORITY,
	FIELD_HOST,
	FIELD_CONTENT_TYPE,
	FIELD_TIMEOUT,
	FIELD_ENCODING,
	FIELD_COUNT
};

/* References to nghttp2's own decoded strings, so that headers are never copied. */
struct call_header {
	nghttp2_rcbuf *name;
	nghttp2_rcbuf *value;
};

#define CALL_HEADERS_INLINE 12

/* One message, or one slice of a source, on its way out. */
struct out_message {
	struct out_message *next;
	struct buffer buffer;
	struct bytes left; /* not yet in the output */
};

/* Callbacks that wait until nobody stands on the call. */
enum call_due { DUE_END = 1, DUE_WRITABLE = 2, DUE_INPUT = 4 };

struct call {
	struct h2_session *session; /* NULL once the connection is gone */
	struct loop *loop;
	const struct server_config *server;
	const struct method *method;
	void *state;
	struct arena arena;
	struct list node;	  /* session->calls, or ->kept when only holds are left */
	struct list due_node;	  /* session->due */
	struct list ready_node;	  /* session->ready: the request is there, its turn is not */
	struct list waiting_node; /* session->waiting: its next message has no room yet */
	unsigned due;
	int32_t stream_id;
	unsigned refs;
	enum call_phase phase;
	enum status status; /* when ENDED */
	bool is_started;    /* on_call_started was told */
	bool is_opened;	    /* the handler knows of it, so on_end is owed */
	bool is_over;	    /* on_end has run, or none is owed */
	bool is_closed;	    /* the stream is gone */
	int64_t started_ns;

	/* deadline */
	struct heap_node deadline_node;
	int64_t deadline_ns;
	bool has_deadline;
	bool is_timed; /* sits in the heap of deadlines */

	/* memory.c */
	struct net_memory *memory; /* or NULL */
	size_t charged_bytes;
	size_t message_bytes; /* of the one that is arriving or worked on */
	size_t held_bytes;    /* declared by the handler */
	bool is_admitted;     /* ... that message */
	int64_t progress_ns;  /* when DATA last came or went */
	size_t waiting_bytes; /* of the message that waits */
	int64_t waiting_ns;   /* since when */

	/* request */
	nghttp2_rcbuf *field[FIELD_COUNT];
	struct call_header *headers;
	struct call_header headers_inline[CALL_HEADERS_INLINE];
	size_t header_count;
	size_t header_capacity;
	size_t header_bytes;
	bool is_rejected; /* its headers are too large: a reset is on its way */
	struct grpc_reader reader;
	struct bytes request; /* of a SERVER_STREAM, until the half close */
	bool has_request;
	bool is_half_closed;
	bool is_input_told; /* the half close was acted upon */
	bool is_paused;	    /* the handler's stream is full: input waits in backlog */
	struct buffer backlog;
	size_t body_bytes; /* of a plain HTTP request, read and dropped */

	/* answer */
	struct out_message *out_first;
	struct out_message **out_last;
	struct out_message out_inline; /* the one message of most calls */
	bool is_inline_used;
	size_t unsent_bytes;
	bool was_full;
	struct call_source source;
	uint64_t source_left; /* bytes still to be produced */
	bool has_source;
	bool is_source_begun;	 /* the length has gone out */
	struct buffer slice;	 /* memory for the next piece */
	bool is_answering;	 /* response headers are submitted */
	bool is_finishing;	 /* nothing follows what is queued */
	bool is_sealed;		 /* trailers or a reset are submitted: no more DATA */
	bool is_deferred;	 /* nghttp2 waits for call_resume() */
	const char *status_text; /* percent-encoded */
	char http_status[4];

	/* call_post() */
	struct loop_task task;
	void (*posted)(struct call *call);
};

/* --- call.c: life --- */

/* A call in phase HEADERS with one reference, the session's; NULL when memory is out. */
struct call *call_new(struct h2_session *session, int32_t stream_id);
bool call_header_add(struct call *call, nghttp2_rcbuf *name, nghttp2_rcbuf *value);
/* The end, whatever the reason: on_end becomes due.  Sends nothing. */
void call_end(struct call *call, enum status status);
/* The stream is closed, or the connection lost: nothing can be sent any more. */
void call_stream_closed(struct call *call);
/* Lets go of a call that is over and closed. */
void call_detach_if_done(struct call *call);
/* The connection is gone: what others still hold loses its session. */
void call_orphan(struct call *call);
void call_destroy(struct call *call); /* frees a pooled call */
void call_mark_due(struct call *call, enum call_due due);
/* Runs the callbacks that are due. */
void call_run_due(struct call *call);

/* --- memory.c --- */

/* Counts anew what the call holds. */
void call_recount(struct call *call);
/* Whether a message of that length may come in now; if not, DUE_INPUT will tell. */
bool call_admit(struct call *call, size_t message_bytes);
/* The message was handed over, and nobody needs it any more. */
void call_message_done(struct call *call);
void call_wait_no_more(struct call *call);
void call_forget(struct call *call); /* its memory is free again */

/* --- call_request.c: from headers to the handler --- */

void call_dispatch(struct call *call);
void call_refuse_content_type(struct call *call);
/* END_STREAM has come. */
void call_half_closed(struct call *call);

/* --- call_receive.c --- */

/* Bytes of DATA; gives back their flow control credit when they have been used. */
void call_receive(struct call *call, struct bytes chunk);
void call_receive_end(struct call *call);
/* A request that waited for its turn. */
void call_serve(struct call *call);
/* There is room again: goes on with what waited. */
void call_receive_resume(struct call *call);

/* --- call_send.c --- */

/* Answers with an HTTP status and a gRPC status in one HEADERS frame; not from a handler. */
void call_refuse(struct call *call, int http_status, enum status status, const char *text);
void call_reset(struct call *call, uint32_t error_code, enum status status);
/* An HTTP reply whose body, if any, is queued. */
void call_http_answer(struct call *call, const nghttp2_nv *headers, size_t count);
/* Appends to the queue; takes the buffer if it could.  With prefix_bytes of the message's length in
 * front, unless that is negative. */
bool call_queue(struct call *call, struct buffer *buffer, int64_t message_bytes);
void call_queue_drop(struct call *call);
/* nghttp2's callbacks for DATA. */
ssize_t call_read_data(nghttp2_session *session, int32_t stream_id, uint8_t *buffer, size_t length,
		       uint32_t *flags, nghttp2_data_source *source, void *context);
/* Moves `length` queued bytes to out. */
void call_take_unsent(struct call *call, uint8_t *out, size_t length);

/* --- call_http.c --- */

void call_http_finish(struct call *call); /* the request is complete: asks the HTTP handler */

static inline struct bytes call_field(const struct call *call, enum call_field field)
{
	nghttp2_vec vec;

	if (!call->field[field])
		return bytes_of(NULL, 0);
	vec = nghttp2_rcbuf_get_buf(call->field[field]);
	return bytes_of(vec.base, vec.len);
}

/* nghttp2 wants pointers to bytes that it does not change. */
static inline nghttp2_nv call_nv(struct bytes name, struct bytes value, uint8_t flags)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name.data, (uint8_t *)(uintptr_t)value.data,
			    name.size, value.size, flags};
}

#endif
