/* SPDX-License-Identifier: Apache-2.0 */
/* conn_internal.h - one connection's state, shared by conn.c (bytes in, life) and conn_out.c (bytes
 * out) and nobody else. */
#ifndef SHIM_NET_CONN_INTERNAL_H
#define SHIM_NET_CONN_INTERNAL_H

#include "shim/net/conn.h"
#include "shim/net/h2.h"
#include "shim/net/http1.h"

#define CONN_PREFACE_BYTES 24 /* of HTTP/2 */
#define CONN_ADDRESS_BYTES 64 /* "[", 45 characters, "]:65535" */

enum conn_phase {
	CONN_START,
	CONN_HANDSHAKE,
	CONN_SNIFF,
	CONN_H2,
	CONN_HTTP1,
	CONN_LINGER,
	CONN_CLOSED,
};

struct conn {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} socket;
	struct conn_origin origin;
	enum conn_phase phase;
	bool is_reading;
	bool at_eof;	   /* the peer will send nothing more */
	bool is_ending;	   /* send what there is, then linger */
	bool is_shut_down; /* our side of the socket is closed */
	struct tls_session *tls;
	struct h2_session *h2;
	struct http1_session *http1;
	uint8_t first[CONN_PREFACE_BYTES]; /* while sniffing */
	size_t first_size;

	struct buffer out;     /* to be written next; borrowed from the host while in use */
	struct buffer writing; /* libuv holds it while is_writing */
	uv_write_t write;
	bool is_writing;
	struct list dirty_node; /* in host->dirty */

	struct loop_timer timer; /* fires at armed_ns, at the latest when either of these is due */
	int64_t armed_ns;
	int64_t deadline_ns; /* of the phase */
	int64_t tick_ns;     /* of the HTTP/2 session */
	bool is_http1_busy;
	uint64_t http1_answered;

	struct list node; /* in host->conns */
	char address[CONN_ADDRESS_BYTES];
};

/* --- conn.c ----------------------------------------------------------------------------------- */
void conn_drop(struct conn *conn);
void conn_end(struct conn *conn); /* sends what there is, then lingers, then closes */
void conn_end_sessions(struct conn *conn);
void conn_update_reading(struct conn *conn);
void conn_set_deadline(struct conn *conn, int64_t timeout_ms);
void conn_arm(struct conn *conn);
/* Counts and logs a refused client; without a reason TLS knows it. */
void conn_reject(struct conn *conn, const char *reason);

/* --- conn_out.c ------------------------------------------------------------------------------- */
void conn_mark_dirty(struct conn *conn); /* flushed before the loop waits again */
bool conn_borrow_out(struct conn *conn); /* conn->out can be appended to; false without memory */
void conn_return_buffers(struct conn *conn);

#endif
