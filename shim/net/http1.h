/* SPDX-License-Identifier: Apache-2.0 */
/* http1.h - one HTTP/1.x connection as bytes in, bytes out; the few plain requests of http.h.
 *
 * Knows no socket: received bytes are fed in, bytes to send are pulled.  Requests are answered in
 * their order, pipelined or not.  What cannot be parsed is answered (400, 413, 414, 417, 431) and
 * ends the connection; gRPC over HTTP/1.1 is answered 505, because it cannot work.
 * Ownership: the connection owns the session; peer_address and context live as long as it.
 * Threads: the loop's.
 * Errors: ERR_NOMEM, and ERR_MALFORMED for whoever was fed on while full; the peer's mistakes are
 * answers.
 * Limits: below; while HTTP1_UNSENT_BYTES_MAX wait to be pulled no further request is looked at,
 * and http1_is_full() asks not to be fed. */
#ifndef SHIM_NET_HTTP1_H
#define SHIM_NET_HTTP1_H

#include "shim/net/http.h"
#include "shim/net/server.h"

#define HTTP1_URL_BYTES_MAX (8 * 1024)	    /* beyond: 414; our paths are short */
#define HTTP1_HEADER_BYTES_MAX (64 * 1024)  /* of one request, its URL included; beyond: 431 */
#define HTTP1_UNSENT_BYTES_MAX (256 * 1024) /* answers to pipelined requests that wait */
#define HTTP1_STASH_BYTES_MAX (256 * 1024)  /* received, but not looked at while full */

struct http1_session;

struct http1_config {
	http_handler_fn *on_request;
	void *context;
	const char *peer_address;
};

enum err http1_session_new(const struct http1_config *config, struct http1_session **ret_session);
void http1_session_free(struct http1_session *session);

enum err http1_receive(struct http1_session *session, struct bytes input);
/* The next run of bytes to send, valid until the next call; size 0: nothing now. */
enum err http1_pull(struct http1_session *session, struct bytes *ret_output);
bool http1_is_full(const struct http1_session *session);
bool http1_is_idle(const struct http1_session *session);	   /* between two requests */
bool http1_is_done(const struct http1_session *session);	   /* nothing left to send: close */
uint64_t http1_request_count(const struct http1_session *session); /* answered so far */
/* The request under way is the last one; an idle session is done. */
void http1_drain(struct http1_session *session);

#endif
