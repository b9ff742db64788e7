/* SPDX-License-Identifier: Apache-2.0 */
/* call.h - one gRPC call, unary or streaming, as its handler sees it.
 *
 *	        headers              message, half close           call_reply/call_finish
 *	(none) ---------> OPEN -------------------------> OPEN ------------------------> ENDED
 *	                    \--- reset by peer, deadline, connection lost ----------------^
 *
 * Ownership: the connection owns the call; call_hold() keeps its memory (and arena, and the request
 * of a unary call) past its end until call_release().  on_end runs exactly once, on the loop, when
 * the call is over for whatever reason, but never inside one of the functions below: a handler that
 * answered can still use its state until it returns.  Once a call is answered or over, every
 * sending function is a quiet no-op.
 * Threads: all functions on the call's loop thread, but call_post() from any.
 * Errors: the peer's mistakes (size, compression, framing, unknown method) are answered below, the
 * handler never sees them.
 * Limits: arena CALL_ARENA_BYTES_MAX; a stream is throttled by call_is_full(). */
#ifndef SHIM_NET_CALL_H
#define SHIM_NET_CALL_H

#include "shim/base/arena.h"
#include "shim/base/buffer.h"
#include "shim/base/err.h"
#include "shim/net/loop.h"

struct call;

enum method_kind { METHOD_UNARY, METHOD_CLIENT_STREAM, METHOD_SERVER_STREAM, METHOD_BIDI_STREAM };

/* A row of the method table.  UNARY and SERVER_STREAM: on_message comes at most once; for UNARY as
 * soon as the message is there, for SERVER_STREAM after the client's half close (a call with too
 * few or too many messages is answered below, as grpc-go does).  The others: for each message in
 * order, then on_half_close.  A stream that is full (call_is_full) gets no messages until it has
 * drained.  Unused functions are NULL. */
struct method {
	const char *service; /* "etcdserverpb.KV" */
	const char *name;    /* "Range" */
	enum method_kind kind;
	size_t state_bytes; /* zeroed room for the handler, see call_state() */
	void (*on_open)(struct call *call);
	void (*on_message)(struct call *call, struct bytes message);
	void (*on_half_close)(struct call *call);
	void (*on_writable)(struct call *call); /* was full, now has room */
	void (*on_end)(struct call *call);
};

void *call_state(struct call *call);   /* state_bytes of the method, for the call's lifetime */
void *call_context(struct call *call); /* the server's handler_context */
const struct method *call_method(const struct call *call);
struct arena *call_arena(struct call *call);
struct loop *call_loop(struct call *call);
bool call_is_ended(const struct call *call);

/* First value of a request header (metadata), or NULL. */
const char *call_metadata(const struct call *call, const char *name);

struct call_peer {
	const char *address;	 /* "127.0.0.1:4711", "@" for a unix socket */
	const char *common_name; /* of a verified client certificate, else NULL */
};
struct call_peer call_peer(const struct call *call);

/* Memory that the handler keeps for the call besides its arena: counted against the connection. */
void call_set_held(struct call *call, size_t bytes);

/* The message of a UNARY or SERVER_STREAM call stays valid until the call's memory goes; that of
 * a stream only during on_message. */

/* --- answering -------------------------------------------------------------------------------- */

/* Queues one message.  Takes the buffer's contents (it is re-initialised), whatever the outcome. */
void call_send(struct call *call, struct buffer *message);
/* A message and status OK. */
void call_reply(struct call *call, struct buffer *message);
/* Ends the call; what is queued is sent before.  text may be NULL. */
void call_finish(struct call *call, enum status status, const char *text);
/* Ends the call with the answer of the error table. */
void call_fail(struct call *call, enum err e);

/* A message of known size that is produced in pieces as the peer takes it; then status OK. */
struct call_source {
	/* Appends at most max bytes (at least one unless it fails) to out; an error resets the
	 * stream, since the length is already on its way. */
	enum err (*produce)(void *context, struct buffer *out, size_t max);
	void (*close)(void *context); /* once, at the end, also when the peer went away */
	void *context;
};
void call_reply_source(struct call *call, uint64_t message_bytes, const struct call_source *source);

size_t call_unsent_bytes(const struct call *call);
/* More than CALL_SEND_HIGH_BYTES unsent: stop; on_writable tells when below CALL_SEND_LOW_BYTES. */
bool call_is_full(const struct call *call);

/* --- between threads -------------------------------------------------------------------------- */

void call_hold(struct call *call);
void call_release(struct call *call);
/* From any thread, by whoever holds the call: runs fn(call) on its loop.  One post at a time. */
void call_post(struct call *call, void (*fn)(struct call *call));
/* As call_post(), but only adds to a chain, which its owner gives to loop_post_chain(). */
void call_post_later(struct call *call, void (*fn)(struct call *call), struct inbox_chain *chain);

#endif
