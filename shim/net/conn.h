/* SPDX-License-Identifier: Apache-2.0 */
/* conn.h - one client connection: socket bytes -> TLS -> protocol -> sessions, and back.
 *
 *	START ----> HANDSHAKE ----> SNIFF ----> H2 or HTTP1 ----> LINGER ----> CLOSED
 *	   \----------(plaintext)---^   \--(ALPN)--^
 *
 * START waits for the first byte, which decides between TLS and plaintext; SNIFF for the first
 * bytes where ALPN has not said which protocol it is; LINGER has sent everything and drops what
 * still arrives, so that the last answer is not lost to a reset.  Any state may go to CLOSED.
 * Ownership: a connection belongs to its host and frees itself when its socket is closed.
 * Threads: the loop's.
 * Limits: below.  What a peer does not take stays in its streams: a connection holds one run of
 * h2_pull() or http1_pull() on its way to the socket, and pulls no more until it has gone. */
#ifndef SHIM_NET_CONN_H
#define SHIM_NET_CONN_H

#include "shim/base/list.h"
#include "shim/net/server.h"
#include "shim/net/tls.h"

#define CONN_READ_BYTES (64 * 1024)	     /* read from a socket at one go */
#define CONN_WRITE_BYTES (128 * 1024)	     /* first size of a write buffer */
#define CONN_OUT_BYTES_MAX (4 * 1024 * 1024) /* one run with TLS overhead; beyond: closed */
#define CONN_TURN_BYTES (1024 * 1024)	  /* written for one connection before others get a turn */
#define CONN_SPARE_BUFFERS 16		  /* write buffers kept for the next connection */
#define CONN_HANDSHAKE_TIMEOUT_MS 10000	  /* accept to end of TLS handshake, as etcd */
#define CONN_FIRST_BYTES_TIMEOUT_MS 30000 /* accept to the end of the HTTP/2 preface */
#define CONN_HTTP1_REQUEST_TIMEOUT_MS 30000 /* first byte of a request to last of its answer */
#define CONN_HTTP1_IDLE_TIMEOUT_MS 300000   /* between two requests */
#define CONN_LAST_WORDS_TIMEOUT_MS 5000	    /* for the peer to take the last answer */
#define CONN_LINGER_TIMEOUT_MS 1000	    /* dropping what arrives after the last answer */

/* What all connections of a server share. */
struct conn_host {
	struct loop *loop;
	const struct server_config *config;
	const struct server_config *http_config; /* for http_urls: no methods */
	struct tls_context *tls;		 /* NULL without TLS */
	struct server_stats stats;
	struct list conns;
	struct list dirty;	/* may have something to send */
	struct loop_task flush; /* sends it, once per turn of the loop */
	bool is_flush_due;
	size_t conns_max;
	bool is_draining;
	void (*on_conn_closed)(struct conn_host *host);
	int64_t warned_ns; /* when a refused connection was last logged */
	unsigned unlogged; /* ... and how many were not since */
	struct buffer spare[CONN_SPARE_BUFFERS];
	size_t spare_count;
	uint8_t read_bytes[CONN_READ_BYTES];  /* borrowed during one read */
	uint8_t plain_bytes[CONN_READ_BYTES]; /* borrowed during one decryption */
};

void conn_host_init(struct conn_host *host); /* zeroed before; the caller sets what it gives */
void conn_host_fini(struct conn_host *host); /* without connections */

/* Whether to log a refused connection now; a flood of them must not become a flood of lines. */
bool conn_host_may_log(struct conn_host *host);

/* How a connection came in. */
struct conn_origin {
	struct conn_host *host;
	bool is_unix;
	bool is_secure;	  /* TLS is accepted */
	bool is_insecure; /* plaintext is accepted */
	bool is_http_only;
};

/* Takes the connection that waits at the listener; one over the limit is closed at once.  False
 * without memory: it still waits, try again when another connection has closed. */
bool conn_accept(const struct conn_origin *origin, uv_stream_t *listener);

/* Asks every connection to end: no new requests, those under way finish. */
void conn_drain_all(struct conn_host *host);
/* Ends them now. */
void conn_close_all(struct conn_host *host);

#endif
