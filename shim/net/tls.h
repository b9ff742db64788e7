/* SPDX-License-Identifier: Apache-2.0 */
/* tls.h - TLS on the server's side as bytes in, bytes out.
 *
 * Knows no socket: ciphertext is fed in, plaintext is read out, and what has to be sent is appended
 * to a buffer.  A context holds certificate, key, CA and revocation list; every new session looks
 * whether their files have changed, so that renewing them needs no restart.
 * Ownership: the context outlives its sessions; a session goes on with the certificate it began
 * with.
 * Threads: tls_context_new() anywhere, all else on the loop.
 * Errors: files that cannot be used any more leave the former certificate in service and are logged
 * once; a revocation list that cannot be read refuses everyone, as etcd does.
 * Limits: what is appended obeys the buffer's own maximum. */
#ifndef SHIM_NET_TLS_H
#define SHIM_NET_TLS_H

#include "shim/base/buffer.h"
#include "shim/net/server.h"

struct tls_context;
struct tls_session;

/* Strings of the config are NULL or not empty.  certificate_hosts (NULL-terminated) go into a
 * certificate made for auto_tls. */
enum err tls_context_new(const struct tls_config *config, const char *const *certificate_hosts,
			 struct tls_context **ret_context, char problem[SERVER_PROBLEM_BYTES]);
void tls_context_free(struct tls_context *context);

enum err tls_session_new(struct tls_context *context, struct tls_session **ret_session);
void tls_session_free(struct tls_session *session);

/* The ciphertext that the following calls may take; they take all of it before they ask for more.
 */
void tls_feed(struct tls_session *session, struct bytes ciphertext);

enum tls_state { TLS_WANTS_INPUT, TLS_READY, TLS_CLOSED, TLS_FAILED };

enum tls_state tls_handshake(struct tls_session *session, struct buffer *out);
/* Sets ret_size when TLS_READY; TLS_CLOSED: the peer said good-bye. */
enum tls_state tls_read(struct tls_session *session, void *plaintext, size_t plaintext_bytes,
			size_t *ret_size, struct buffer *out);
/* False when the session is broken or out is full. */
bool tls_write(struct tls_session *session, struct bytes plaintext, struct buffer *out);
/* Appends our good-bye. */
void tls_close(struct tls_session *session, struct buffer *out);

enum tls_protocol { TLS_PROTOCOL_NONE, TLS_PROTOCOL_H2, TLS_PROTOCOL_HTTP1 };

/* What ALPN agreed on. */
enum tls_protocol tls_protocol(const struct tls_session *session);
/* Of the verified client certificate, else NULL; lives as long as the session. */
const char *tls_common_name(const struct tls_session *session);

#define TLS_REASON_BYTES 512

/* For the log: why the handshake failed, whom the client asked for, and what its certificate says
 * ("" where there is none). */
struct tls_failure {
	char reason[TLS_REASON_BYTES];
	char server_name[256];
	char ip_addresses[TLS_REASON_BYTES];
	char dns_names[TLS_REASON_BYTES];
};
void tls_failure(const struct tls_session *session, struct tls_failure *ret_failure);

#endif
