/* SPDX-License-Identifier: Apache-2.0 */
/* http.h - the few plain HTTP requests of the client port, over HTTP/1.1 or HTTP/2.
 *
 * Ownership: the request is valid during the handler; the reply's body buffer becomes the
 * connection's.  Threads: the handler runs on the loop and must not block.
 * Limits: a body is read and dropped up to HTTP_BODY_BYTES_MAX, beyond it the answer is 413. */
#ifndef SHIM_NET_HTTP_H
#define SHIM_NET_HTTP_H

#include "shim/base/buffer.h"

#define HTTP_BODY_BYTES_MAX (64 * 1024)

struct http_request {
	const char *method; /* "GET" */
	const char *path;   /* without the query, percent-encoding as sent */
	const char *query;  /* after '?', or "" */
	const char *host;   /* Host or :authority, or "" */
	const char *peer_address;
	bool on_http_url; /* came in by one of server_config.http_urls */
};

struct http_header {
	const char *name;  /* lower case, static text; NULL ends a list */
	const char *value; /* static text */
};

struct http_reply {
	int status;
	const char *content_type;	   /* static text, or NULL */
	const char *allow;		   /* Allow header for 405, or NULL */
	const struct http_header *headers; /* further ones, or NULL */
	struct buffer body;
};

typedef void http_handler_fn(void *context, const struct http_request *request,
			     struct http_reply *ret_reply);

#endif
