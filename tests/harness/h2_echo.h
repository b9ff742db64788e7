/* SPDX-License-Identifier: Apache-2.0 */
/* h2_echo.h - a small service that does what its messages say, with a session, a peer and a clock
 * around it.
 *
 * Methods of test.Echo: Unary, Client, Server, Bidi, Watch.  Messages to Unary: "fail", "silent"
 * (no answer, the call stays in last_call), "big N", "source N", "badsource N", anything else is
 * echoed.  Server "N" sends N messages of 1000 bytes.  Client answers with the number of bytes it
 * got.  Bidi echoes and ends with the half close; Watch sends nothing by itself.
 * Ownership: the fixture owns all its parts.
 * Threads: one. */
#ifndef TESTS_HARNESS_H2_ECHO_H
#define TESTS_HARNESS_H2_ECHO_H

#include "shim/base/clock.h"
#include "tests/harness/h2_peer.h"

struct echo_log {
	unsigned opened, messages, half_closes, writables, ends;
	unsigned hook_started, hook_ended, hook_received, hook_sent;
	unsigned source_slices, sources_closed;
	size_t source_slice_max;
	enum status last_status;
	int64_t last_took_ns;
	size_t last_message_bytes;
	struct call *last_call;	 /* the one opened last */
	struct bytes last_unary; /* of a "silent" call */
	unsigned http_requests;
};

struct h2_fixture {
	struct server_config server;
	struct server_stats stats;
	struct clock clock;
	int64_t now_ns;
	struct echo_log log;
	struct h2_config config;
	struct h2_session *session;
	struct h2_peer peer;
	unsigned wants_send;
};

/* Opens with a standard configuration; `change` (may be NULL) alters it first. */
void h2_fixture_open(struct h2_fixture *f, const struct h2_peer_options *options,
		     void (*change)(struct h2_fixture *f));
void h2_fixture_close(struct h2_fixture *f);

/* Sends one unary call with the text as its message and exchanges; gives the stream. */
struct peer_stream *h2_fixture_unary(struct h2_fixture *f, const char *text);
/* A message of `size` bytes that differ from each other in a known way. */
struct buffer h2_pattern(size_t size);
bool h2_is_pattern(struct bytes bytes);
/* Queues a message of `size` pattern bytes on a call. */
void h2_send_pattern(struct call *call, size_t size);

#define ECHO_PATH(name) "/test.Echo/" name

#endif
