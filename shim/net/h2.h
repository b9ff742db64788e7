/* SPDX-License-Identifier: Apache-2.0 */
/* h2.h - one HTTP/2 connection as bytes in, bytes out: an nghttp2 session, its calls, its limits.
 *
 * Knows no socket, no TLS, and time only through a table: tests feed it frames.  The connection
 * (conn.c) feeds received bytes, pulls bytes to send, and calls tick with the time.
 * Ownership: the connection owns the session; h2_session_free() ends all calls (on_end).
 * Threads: the loop's.
 * Errors: h2_receive() gives an error when the peer broke the protocol; what is pulled afterwards
 * (a GOAWAY with the reason) should still be sent before closing.
 * Limits: streams, header bytes, resets, PINGs and SETTINGS per connection; see grpc.h for
 * messages. */
#ifndef SHIM_NET_H2_H
#define SHIM_NET_H2_H

#include "shim/net/server.h"

struct h2_session;

struct h2_config {
	const struct server_config *server; /* methods, limits, hooks */
	struct loop *loop;
	bool plain_http; /* also answer plain HTTP/2 requests (TLS only, as etcd does) */
	bool enforce_keepalive;
	const char *peer_address;     /* live as long as the session */
	const char *peer_common_name; /* or NULL */
	/* Bytes became available to pull outside h2_receive()/h2_tick()/h2_pull(); told once until
	 * the next h2_pull().  Comes from inside the call_ functions, so it must neither pull nor
	 * free the session: schedule that (loop_later). */
	void (*on_wants_send)(void *context);
	void *context;
	struct server_stats *stats; /* shared by all sessions of the loop; byte counters */
	const struct clock *clock;  /* NULL: clock_system; tests bring their own */
};

enum err h2_session_new(const struct h2_config *config, struct h2_session **ret_session);
void h2_session_free(struct h2_session *session);

enum err h2_receive(struct h2_session *session, struct bytes input);
/* The next run of bytes to send, valid until the next call; size 0: nothing now. */
enum err h2_pull(struct h2_session *session, struct bytes *ret_output);
/* Deadlines, keepalive.  Returns when it wants to be called next (INT64_MAX: never), on the clock
 * of the configuration. */
int64_t h2_tick(struct h2_session *session, int64_t now_ns);
/* The same answer without doing anything.  Ask again after h2_receive(): a new call may have
 * brought an earlier deadline. */
int64_t h2_next_tick_ns(const struct h2_session *session);
/* GOAWAY: no new streams.  unary calls go on; streaming calls end with UNAVAILABLE. */
void h2_drain(struct h2_session *session);
/* Nothing left to receive or send, or the peer is dead: close.  Ask when h2_pull() gave 0 bytes. */
/* Close at once, whatever is on its way: the peer does not answer, or memory is out. */
bool h2_is_dead(const struct h2_session *session);
bool h2_is_done(const struct h2_session *session);
size_t h2_call_count(const struct h2_session *session);

#endif
