/* SPDX-License-Identifier: Apache-2.0 */
/* server.h - the face of net: listeners, and calls for their handlers.
 *
 * One port serves gRPC over HTTP/2 and plain HTTP/1.1; over TLS also plain HTTP/2 requests.
 * Bytes -> TLS (where configured) -> protocol by ALPN or by the HTTP/2 preface -> calls.
 * Ownership: config is copied as far as needed; the method table and handler_context must outlive
 * the server.  Threads: new/listen/stop from main; all work happens on the loop.
 * Errors: problem says in words what is wrong and what mends it (busy port, unreadable key, bad
 * URL). */
#ifndef SHIM_NET_SERVER_H
#define SHIM_NET_SERVER_H

#include "shim/net/call.h"
#include "shim/net/http.h"
#include "shim/net/memory.h"

struct server;

struct tls_config {
	const char *cert_file; /* NULL: no TLS unless auto_tls */
	const char *key_file;
	const char *trusted_ca_file;
	const char *crl_file;
	bool client_cert_auth;
	bool auto_tls; /* a self-signed certificate in auto_tls_dir */
	const char *auto_tls_dir;
	int self_signed_years;
	const char
		*allowed_hostnames; /* comma list: the client certificate must be valid for one */
	const char *min_version;    /* "TLS1.2" (default) or "TLS1.3" */
	const char *max_version;    /* NULL: newest */
	const char *cipher_suites;  /* comma list of IANA names, NULL: OpenSSL's defaults */
};

struct server_config {
	const char *const *client_urls; /* http://, https://, unix://, unixs:// ; NULL-terminated */
	const char *const
		*http_urls; /* HTTP only: --listen-metrics-urls; NULL-terminated or NULL */
	struct tls_config tls;
	const struct method *methods;
	size_t method_count;
	void *handler_context;
	http_handler_fn *on_http;
	uint32_t concurrent_streams_max; /* per connection */
	size_t message_bytes_max;	 /* request message: max-request-bytes + overhead */
	int64_t keepalive_min_time_ms;	 /* pings more often are struck */
	int64_t keepalive_interval_ms;	 /* our own ping on an idle connection; 0: off */
	int64_t keepalive_timeout_ms;
	struct net_memory *memory; /* bound of all calls together, or NULL */
	uint32_t connections_max;  /* 0: as many as file descriptors allow */
	/* Told of every finished call, for metrics; may be NULL. */
	void (*on_call_started)(void *context, const struct method *method);
	void (*on_call_ended)(void *context, const struct method *method, enum status status,
			      int64_t took_ns);
	void (*on_message)(void *context, const struct method *method, bool sent);
};

#define SERVER_PROBLEM_BYTES 512

enum err server_new(struct loop *loop, const struct server_config *config,
		    struct server **ret_server, char problem[SERVER_PROBLEM_BYTES]);
/* Binds all listeners and accepts; call before loop_start(). */
enum err server_listen(struct server *server, char problem[SERVER_PROBLEM_BYTES]);
/* The URL of the index-th listener with the port it got, client_urls before http_urls; NULL beyond.
 * After server_listen(), as long as the server. */
const char *server_address(const struct server *server, size_t index);
/* From any thread: stops accepting, lets unary calls finish until grace_ms, ends streams with
 * UNAVAILABLE (clients then resume elsewhere), closes; the loop's thread can then end. */
void server_stop(struct server *server, int64_t grace_ms);
void server_free(struct server *server); /* after loop_join() */

struct server_stats {
	uint64_t connections;
	uint64_t connections_total;
	uint64_t connections_refused; /* TLS failures and over the limit */
	uint64_t received_bytes;      /* gRPC payload, as etcd counts */
	uint64_t sent_bytes;
	uint64_t memory_bytes; /* of calls, see memory.h */
	uint64_t memory_closed;
	uint64_t memory_refused;
};
/* On the loop's thread, or when it has ended. */
void server_stats(const struct server *server, struct server_stats *ret_stats);

#endif
