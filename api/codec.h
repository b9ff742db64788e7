/* SPDX-License-Identifier: Apache-2.0 */
/* codec.h - requests from the wire into the plain structs of op.h, and the rare ones into
 * protobuf-c's.
 *
 * KV requests are read without a copy: keys and values point into the message, which must stay.
 * Ownership: arrays come from the codec's arena.
 * Errors: MALFORMED, with `problem` set to the text that follows "grpc: error unmarshalling
 * request: "; NOMEM; TOO_MANY_OPS beyond the limits below.  Fields that nobody knows, and known
 * fields of the wrong wire type, are skipped, as Go's implementation does.
 * Limits: transactions nest to TXN_DEPTH_MAX levels and hold TXN_TOTAL_MAX compares and operations
 * over all levels; both are checked before memory or stack is taken for what lies beyond.  etcd has
 * no total, and its depth limit is that every level uses up some of --max-txn-ops. */
#ifndef API_CODEC_H
#define API_CODEC_H

#include "shim/store/op.h"

#include <protobuf-c/protobuf-c.h>

#define TXN_TOTAL_MAX 65536 /* compares and operations of one request; about 7 MiB when decoded */

struct codec {
	struct arena *arena;
	const char *problem; /* set on MALFORMED */
	size_t txn_total;
	bool out_of_memory;
};

#define CODEC_INIT(a) ((struct codec){.arena = (a)})

enum err codec_range(struct codec *codec, struct bytes message, struct range_op *ret_op);
enum err codec_put(struct codec *codec, struct bytes message, struct put_op *ret_op);
enum err codec_delete(struct codec *codec, struct bytes message, struct delete_op *ret_op);

/* A RequestOp with nothing in it becomes REQUEST_TXN with a NULL txn, which check_txn() refuses.  A
 * compare whose number or value was sent for another target has zero or nothing, as in etcd. */
enum err codec_txn(struct codec *codec, struct bytes message, struct txn_op *ret_op);

/* The first `count` varint fields of a flat request, in order of their number from 1 on; what is
 * absent is 0.  Serves Compact, the Lease requests and their like. */
enum err codec_numbers(struct codec *codec, struct bytes message, uint64_t *ret_numbers,
		       size_t count);

/* Everything else.  The result lives in the arena and must not be freed. */
enum err codec_unpack(struct codec *codec, const ProtobufCMessageDescriptor *type,
		      struct bytes message, ProtobufCMessage **ret_message);

#endif
