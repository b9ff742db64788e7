/* SPDX-License-Identifier: Apache-2.0 */
/* http.h - the plain HTTP paths of etcd: /version, /health, /livez, /readyz and /metrics.
 *
 * Bodies, headers and status codes are those of etcd 3.7 (server/etcdserver/api/etcdhttp), since
 * probes and scrapers compare them; the checks of a verbose answer come in a fixed order.
 * Ownership: the caller owns the struct and what its context points to.
 * Threads: the loop's; the functions below must not block. */
#ifndef SHIM_RPC_HTTP_H
#define SHIM_RPC_HTTP_H

#include "shim/net/http.h"
#include "shim/store/op.h"

/* What the paths tell about; main fills it in. */
struct http_endpoints {
	bool (*has_alarm)(void *context, enum alarm alarm);
	/* Whether one key can be read, as a client would. */
	enum err (*read)(void *context, bool is_serializable);
	/* Appends the Prometheus text; false without memory. */
	bool (*write_metrics)(void *context, struct buffer *out);
	void (*on_health)(void *context, bool is_healthy); /* a /health answer; may be NULL */
	/* A check of "livez" or "readyz"; may be NULL. */
	void (*on_check)(void *context, const char *type, const char *name, bool is_ok);
	void *context;
};

void http_endpoints_serve(const struct http_endpoints *endpoints,
			  const struct http_request *request, struct http_reply *ret_reply);

#endif
