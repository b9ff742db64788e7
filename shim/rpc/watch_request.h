/* SPDX-License-Identifier: Apache-2.0 */
/* watch_request.h - WatchRequest messages, read by hand: most are empty or a few bytes.
 *
 * Ownership: slices point into the message.
 * Errors: MALFORMED for what is not protobuf; unknown fields and filters are skipped, as etcd does.
 */
#ifndef SHIM_RPC_WATCH_REQUEST_H
#define SHIM_RPC_WATCH_REQUEST_H

#include "shim/base/err.h"
#include "shim/watch/hub.h"

struct watch_request {
	enum { WATCH_NOTHING, WATCH_CREATE, WATCH_CANCEL, WATCH_PROGRESS } kind;
	struct watch_spec spec; /* CREATE */
	int64_t watch_id;	/* CANCEL */
};

enum err watch_request_read(struct bytes message, struct watch_request *ret_request);

#endif
