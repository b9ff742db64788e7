/* SPDX-License-Identifier: Apache-2.0 */
/* h2_peer.h - an HTTP/2 client on nghttp2 that talks to an h2_session through memory.
 *
 * Ownership: the peer owns its streams; the server session stays the test's.
 * Threads: one.  Errors: any that a test does not expect is an assertion.
 * Limits: PEER_STREAMS_MAX streams are remembered, by the order of their ids. */
#ifndef TESTS_HARNESS_H2_PEER_H
#define TESTS_HARNESS_H2_PEER_H

#include "shim/base/buffer.h"
#include "shim/net/h2.h"

#include <nghttp2/nghttp2.h>

#define PEER_STREAMS_MAX 4096
#define PEER_TEXT_BYTES 512

struct peer_stream {
	int32_t id;
	int http_status; /* 0: no headers yet */
	char content_type[PEER_TEXT_BYTES];
	int grpc_status; /* -1: none yet */
	char grpc_message[PEER_TEXT_BYTES];
	char allow[PEER_TEXT_BYTES];
	unsigned headers_frames;
	unsigned data_frames;
	struct buffer data; /* all DATA so far */
	bool is_ended;	    /* END_STREAM came */
	bool is_closed;
	uint32_t error_code;
	/* to be sent */
	struct buffer upload;
	size_t upload_sent;
	bool upload_ends;
};

struct h2_peer {
	struct h2_session *server;
	nghttp2_session *ng;
	struct peer_stream *streams[PEER_STREAMS_MAX];
	bool is_greedy; /* gives windows back as data comes; else the test does */
	bool has_goaway;
	uint32_t goaway_code;
	int32_t goaway_last_id;
	char goaway_text[PEER_TEXT_BYTES];
	unsigned pings;	    /* from the server */
	unsigned ping_acks; /* of ours */
	unsigned resets;
	size_t pulled_runs;
	enum err receive_error; /* of the last h2_receive() that failed */
};

struct h2_peer_options {
	bool is_stingy;		/* never updates windows by itself */
	uint32_t stream_window; /* 0: nghttp2's 65535 */
};

void h2_peer_init(struct h2_peer *peer, struct h2_session *server,
		  const struct h2_peer_options *options);
void h2_peer_fini(struct h2_peer *peer);

struct peer_header {
	const char *name; /* NULL ends the list */
	const char *value;
};

/* Headers as given. */
int32_t h2_peer_request(struct h2_peer *peer, const struct peer_header *headers, bool ends);
/* A gRPC request with further headers, or NULL. */
int32_t h2_peer_call(struct h2_peer *peer, const char *path, const struct peer_header *more);
void h2_peer_write(struct h2_peer *peer, int32_t id, struct bytes raw, bool ends);
void h2_peer_message(struct h2_peer *peer, int32_t id, struct bytes message, bool ends);
struct peer_stream *h2_peer_stream(struct h2_peer *peer, int32_t id);
/* The next message among the received ones, from *offset; false when there is no whole one. */
bool h2_peer_next(struct h2_peer *peer, int32_t id, size_t *offset, struct bytes *ret_message);

/* Moves bytes both ways until nothing moves. */
void h2_peer_exchange(struct h2_peer *peer);
/* One turn of a loop: all that waits to be sent arrives at once, then one run comes back. */
void h2_peer_turn(struct h2_peer *peer);
/* Bytes straight to the server, behind what is queued. */
void h2_peer_inject(struct h2_peer *peer, struct bytes raw);
/* One frame straight to the server. */
void h2_peer_frame(struct h2_peer *peer, uint8_t type, uint8_t flags, int32_t id,
		   struct bytes payload);

#endif
