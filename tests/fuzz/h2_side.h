/* SPDX-License-Identifier: Apache-2.0 */
/* h2_side.h - a server's end of an HTTP/2 connection, with a small gRPC service behind it and a
 * record of what was said.
 *
 * The service f.Z has methods Unary, Server, Client and Bidi; the first letter of a message says
 * what is done with it: f fails, q ends with odd text, z sends as many thousand bytes as the last
 * byte says, s is silent, r and b answer from a source that is good or bad, all else is echoed as
 * zeros.
 * Ownership: side_open() .. side_close(), which judges that what began has ended.  Threads: one. */
#ifndef TESTS_FUZZ_H2_SIDE_H
#define TESTS_FUZZ_H2_SIDE_H

#include "shim/net/h2_internal.h"
#include "tests/fuzz/fuzz.h"

#define STREAMS_MAX 128 /* that are watched */
#define SILENT_MAX 8

/* What the server has said on one stream. */
struct seen_stream {
	bool has_headers;
	bool is_ended;
	int64_t data_bytes;
	int64_t window; /* that the client gave */
};

struct side {
	struct h2_session *session;
	struct server_config server;
	struct server_stats stats;
	struct clock clock;
	int64_t now_ns;
	unsigned opened, ended, started, finished, sources, sources_closed;
	struct call *silent[SILENT_MAX]; /* calls that nobody has answered */
	int32_t next_id;
	bool is_over;	   /* the session takes no more input */
	bool is_preface;   /* what the client sends is well-formed from the beginning */
	bool is_predicted; /* ... and its windows are known */
	struct seen_stream seen[STREAMS_MAX];
	int64_t seen_bytes; /* DATA on all streams */
	int64_t window;
	int64_t stream_window;
	bool has_settings;
	bool has_goaway;
	bool is_continued; /* a header block is open */
};

/* flags: 1 plain HTTP too, 2 keepalive is enforced, 4 three streams at most, 8 own pings. */
void side_open(struct side *side, unsigned flags);
void side_close(struct side *side);
/* A message of that many bytes; the last one of a call with is_last. */
void side_send_zeros(struct call *call, size_t size, bool is_last);

#endif
