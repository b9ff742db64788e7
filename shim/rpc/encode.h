/* SPDX-License-Identifier: Apache-2.0 */
/* encode.h - the answers of KV as bytes.
 *
 * Errors: NOMEM, also for an answer that no gRPC message could hold; what the cursor says.
 * Each function appends to a buffer that it first makes large enough at one go. */
#ifndef SHIM_RPC_ENCODE_H
#define SHIM_RPC_ENCODE_H

#include "shim/base/buffer.h"
#include "shim/rpc/wire.h"
#include "shim/store/store.h"

enum err encode_range(const struct wire_header *header, const struct range_result *result,
		      struct buffer *out);
enum err encode_put(const struct wire_header *header, const struct put_result *result,
		    struct buffer *out);
enum err encode_delete(const struct wire_header *header, const struct delete_result *result,
		       struct buffer *out);
/* The arena takes the sizes of the nested messages. */
enum err encode_txn(const struct wire_header *header, const struct txn_result *result,
		    struct arena *arena, struct buffer *out);

/* --- a RangeResponse out of a cursor --- */

/* Some of the cursor's kvs, with header, more and count only where `header` is not NULL. */
struct range_part {
	struct range_cursor *cursor;
	const struct wire_header *header;
	size_t first;
	size_t count;
};

/* The size of one kv as a field of the message. */
size_t encode_part_kv_size(const struct range_cursor *cursor, size_t index);
uint64_t encode_part_size(const struct range_part *part);
/* part_size: what encode_part_size() gave. */
enum err encode_part(const struct range_part *part, uint64_t part_size, struct buffer *out);

/* The pieces around the values, for those who send them one by one. */
size_t encode_range_head_size(const struct wire_header *header);
uint8_t *encode_range_head(uint8_t *to, const struct wire_header *header);
size_t encode_range_tail_size(const struct range_result *result);
uint8_t *encode_range_tail(uint8_t *to, const struct range_result *result);
size_t encode_kv_head_size(const struct kv *kv);
uint8_t *encode_kv_head(uint8_t *to, const struct kv *kv);

#endif
