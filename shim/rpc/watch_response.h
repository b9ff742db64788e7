/* SPDX-License-Identifier: Apache-2.0 */
/* watch_response.h - what the hub says, as WatchResponse messages.
 *
 * Ownership: the item stays the caller's; a message is given to the caller.
 * Threads: the item's.
 * Errors: NOMEM, and what reading a previous value from the store gives.
 * Limits: a watcher that asked for fragments gets messages below fragment_bytes unless one event
 * alone is larger; the others get a revision in one message, whatever its size (up to gRPC's own
 * limit), because etcd's clients rely on it. */
#ifndef SHIM_RPC_WATCH_RESPONSE_H
#define SHIM_RPC_WATCH_RESPONSE_H

#include "shim/base/buffer.h"
#include "shim/rpc/wire.h"
#include "shim/watch/hub.h"

/* What goes into every message of a stream. */
struct watch_voice {
	struct store_reader *reader; /* for previous values */
	struct store_identity identity;
	size_t fragment_bytes;
};

/* How far the events of an item have been sent. */
struct watch_cursor {
	size_t match;
	size_t event; /* index in the match's batch; meaningless when count is 0 */
	size_t count; /* events sent */
};

/* Encodes the next message of the item and moves the cursor, which starts zeroed.  ret_done: it was
 * the last one.  Until then no other item may be sent: clients join fragments that follow each
 * other. */
enum err watch_response_next(const struct watch_voice *voice, const struct hub_item *item,
			     struct watch_cursor *cursor, struct buffer *ret_message,
			     bool *ret_done);

#endif
