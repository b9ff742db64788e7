/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/rpc/encode.h"

#include <assert.h>

enum range_field { RANGE_HEADER = 1, RANGE_KVS, RANGE_MORE, RANGE_COUNT };
enum put_field { PUT_HEADER = 1, PUT_PREV_KV };
enum delete_field { DELETE_HEADER = 1, DELETE_DELETED, DELETE_PREV_KVS };
enum txn_field { TXN_HEADER = 1, TXN_SUCCEEDED, TXN_RESPONSES };
enum response_field { RESPONSE_RANGE = 1, RESPONSE_PUT, RESPONSE_DELETE, RESPONSE_TXN };

static enum err make_room(struct buffer *out, uint64_t size)
{
	if (size > SIZE_MAX || !buffer_reserve(out, (size_t)size))
		return fault(ERR_NOMEM, "an answer of %llu bytes", (unsigned long long)size);
	return ERR_OK;
}

/* What was written ends where it was sized to end. */
static void wrote(struct buffer *out, const uint8_t *end, uint64_t size)
{
	assert(end == buffer_end(out) + size);
	out->size += (size_t)size;
}

/* --- parts that several answers share --- */

static size_t header_field_size(const struct wire_header *header)
{
	return wire_message_size(RANGE_HEADER, wire_header_size(header)); /* field 1 everywhere */
}

static uint8_t *put_header_field(uint8_t *to, const struct wire_header *header)
{
	to = wire_put_message(to, RANGE_HEADER, wire_header_size(header));
	return wire_put_header(to, header);
}

static size_t kvs_size(unsigned field, const struct kv *kvs, size_t count)
{
	size_t size = 0;

	for (size_t i = 0; i < count; i++)
		size += wire_message_size(field, wire_kv_size(&kvs[i]));
	return size;
}

static uint8_t *put_kvs(uint8_t *to, unsigned field, const struct kv *kvs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		to = wire_put_message(to, field, wire_kv_size(&kvs[i]));
		to = wire_put_kv(to, &kvs[i]);
	}
	return to;
}

size_t encode_range_head_size(const struct wire_header *header)
{
	return header_field_size(header);
}

uint8_t *encode_range_head(uint8_t *to, const struct wire_header *header)
{
	return put_header_field(to, header);
}

size_t encode_range_tail_size(const struct range_result *result)
{
	return wire_uint_size(RANGE_MORE, result->more) + wire_int_size(RANGE_COUNT, result->count);
}

uint8_t *encode_range_tail(uint8_t *to, const struct range_result *result)
{
	to = wire_put_uint(to, RANGE_MORE, result->more);
	return wire_put_int(to, RANGE_COUNT, result->count);
}

size_t encode_kv_head_size(const struct kv *kv)
{
	return wire_message_size(RANGE_KVS, wire_kv_size(kv)) - wire_kv_size(kv) +
	       wire_kv_head_size(kv);
}

uint8_t *encode_kv_head(uint8_t *to, const struct kv *kv)
{
	to = wire_put_message(to, RANGE_KVS, wire_kv_size(kv));
	return wire_put_kv_head(to, kv);
}

/* --- the bodies of the plain answers --- */

static size_t range_size(const struct wire_header *header, const struct range_result *result)
{
	return header_field_size(header) + kvs_size(RANGE_KVS, result->kvs, result->kv_count) +
	       encode_range_tail_size(result);
}

static uint8_t *put_range(uint8_t *to, const struct wire_header *header,
			  const struct range_result *result)
{
	to = put_header_field(to, header);
	to = put_kvs(to, RANGE_KVS, result->kvs, result->kv_count);
	return encode_range_tail(to, result);
}

static size_t put_size(const struct wire_header *header, const struct put_result *result)
{
	return header_field_size(header) + kvs_size(PUT_PREV_KV, &result->prev, result->has_prev);
}

static uint8_t *put_put(uint8_t *to, const struct wire_header *header,
			const struct put_result *result)
{
	to = put_header_field(to, header);
	return put_kvs(to, PUT_PREV_KV, &result->prev, result->has_prev);
}

static size_t delete_size(const struct wire_header *header, const struct delete_result *result)
{
	return header_field_size(header) + wire_int_size(DELETE_DELETED, result->deleted) +
	       kvs_size(DELETE_PREV_KVS, result->prevs, result->prev_count);
}

static uint8_t *put_delete(uint8_t *to, const struct wire_header *header,
			   const struct delete_result *result)
{
	to = put_header_field(to, header);
	to = wire_put_int(to, DELETE_DELETED, result->deleted);
	return put_kvs(to, DELETE_PREV_KVS, result->prevs, result->prev_count);
}

enum err encode_range(const struct wire_header *header, const struct range_result *result,
		      struct buffer *out)
{
	size_t size = range_size(header, result);
	enum err e = make_room(out, size);

	if (!e)
		wrote(out, put_range(buffer_end(out), header, result), size);
	return e;
}

enum err encode_put(const struct wire_header *header, const struct put_result *result,
		    struct buffer *out)
{
	size_t size = put_size(header, result);
	enum err e = make_room(out, size);

	if (!e)
		wrote(out, put_put(buffer_end(out), header, result), size);
	return e;
}

enum err encode_delete(const struct wire_header *header, const struct delete_result *result,
		       struct buffer *out)
{
	size_t size = delete_size(header, result);
	enum err e = make_room(out, size);

	if (!e)
		wrote(out, put_delete(buffer_end(out), header, result), size);
	return e;
}

/* --- transactions: the size of each message is computed once and kept, in the order of writing --
 */

static size_t count_responses(const struct txn_result *result)
{
	size_t count = result->response_count;

	for (size_t i = 0; i < result->response_count; i++) {
		if (result->responses[i].kind == REQUEST_TXN)
			count += count_responses(&result->responses[i].as.txn);
	}
	return count;
}

/* Inside of a transaction a header is the revision alone, and that of a transaction is empty. */
static struct wire_header inner_header(int64_t revision)
{
	return (struct wire_header){.revision = revision};
}

static size_t txn_size(const struct wire_header *header, const struct txn_result *result,
		       size_t **sizes);

static size_t response_size(const struct response *response, size_t **sizes)
{
	struct wire_header header;

	switch (response->kind) {
	case REQUEST_RANGE:
		header = inner_header(response->as.range.revision);
		return range_size(&header, &response->as.range);
	case REQUEST_PUT:
		header = inner_header(response->as.put.revision);
		return put_size(&header, &response->as.put);
	case REQUEST_DELETE:
		header = inner_header(response->as.delete_range.revision);
		return delete_size(&header, &response->as.delete_range);
	case REQUEST_TXN:
		break;
	}
	header = inner_header(0);
	return txn_size(&header, &response->as.txn, sizes);
}

static size_t txn_size(const struct wire_header *header, const struct txn_result *result,
		       size_t **sizes)
{
	size_t size = header_field_size(header) + wire_uint_size(TXN_SUCCEEDED, result->succeeded);

	for (size_t i = 0; i < result->response_count; i++) {
		size_t *mine = (*sizes)++;
		size_t member;

		*mine = response_size(&result->responses[i], sizes);
		member = wire_message_size(RESPONSE_RANGE, *mine);
		size += wire_message_size(TXN_RESPONSES, member);
	}
	return size;
}

static uint8_t *put_txn(uint8_t *to, const struct wire_header *header,
			const struct txn_result *result, const size_t **sizes);

static uint8_t *put_response(uint8_t *to, const struct response *response, const size_t **sizes)
{
	struct wire_header header;

	switch (response->kind) {
	case REQUEST_RANGE:
		header = inner_header(response->as.range.revision);
		return put_range(to, &header, &response->as.range);
	case REQUEST_PUT:
		header = inner_header(response->as.put.revision);
		return put_put(to, &header, &response->as.put);
	case REQUEST_DELETE:
		header = inner_header(response->as.delete_range.revision);
		return put_delete(to, &header, &response->as.delete_range);
	case REQUEST_TXN:
		break;
	}
	header = inner_header(0);
	return put_txn(to, &header, &response->as.txn, sizes);
}

static uint8_t *put_txn(uint8_t *to, const struct wire_header *header,
			const struct txn_result *result, const size_t **sizes)
{
	static const unsigned fields[] = {
		[REQUEST_RANGE] = RESPONSE_RANGE,
		[REQUEST_PUT] = RESPONSE_PUT,
		[REQUEST_DELETE] = RESPONSE_DELETE,
		[REQUEST_TXN] = RESPONSE_TXN,
	};

	to = put_header_field(to, header);
	to = wire_put_uint(to, TXN_SUCCEEDED, result->succeeded);
	for (size_t i = 0; i < result->response_count; i++) {
		const struct response *response = &result->responses[i];
		size_t mine = *(*sizes)++;

		to = wire_put_message(to, TXN_RESPONSES, wire_message_size(RESPONSE_RANGE, mine));
		to = wire_put_message(to, fields[response->kind], mine);
		to = put_response(to, response, sizes);
	}
	return to;
}

enum err encode_txn(const struct wire_header *header, const struct txn_result *result,
		    struct arena *arena, struct buffer *out)
{
	size_t *sizes = arena_calloc(arena, count_responses(result) + 1, sizeof(*sizes));
	size_t *next = sizes;
	const size_t *written = sizes;
	size_t size;
	enum err e;

	if (!sizes)
		return fault(ERR_NOMEM, "the answer of a transaction");
	size = txn_size(header, result, &next);
	e = make_room(out, size);
	if (!e)
		wrote(out, put_txn(buffer_end(out), header, result, &written), size);
	return e;
}

/* --- a RangeResponse out of a cursor --- */

size_t encode_part_kv_size(const struct range_cursor *cursor, size_t index)
{
	return wire_message_size(RANGE_KVS, wire_kv_size(store_range_peek(cursor, index)));
}

uint64_t encode_part_size(const struct range_part *part)
{
	uint64_t size = 0;

	if (part->header)
		size = encode_range_head_size(part->header) +
		       encode_range_tail_size(store_range_head(part->cursor));
	for (size_t i = 0; i < part->count; i++)
		size += encode_part_kv_size(part->cursor, part->first + i);
	return size;
}

static enum err put_cursor_kv(struct range_cursor *cursor, size_t index, uint8_t **to)
{
	const struct kv *kv = store_range_peek(cursor, index);
	struct bytes value = {0};
	enum err e = kv->value.size ? store_range_value(cursor, index, &value) : ERR_OK;

	if (e)
		return e;
	assert(value.size == kv->value.size);
	*to = encode_kv_head(*to, kv);
	*to = wire_put_raw(*to, value);
	*to = wire_put_kv_tail(*to, kv);
	return ERR_OK;
}

enum err encode_part(const struct range_part *part, uint64_t part_size, struct buffer *out)
{
	enum err e = make_room(out, part_size);
	uint8_t *to = e ? NULL : buffer_end(out);

	if (!e && part->header)
		to = encode_range_head(to, part->header);
	for (size_t i = 0; !e && i < part->count; i++)
		e = put_cursor_kv(part->cursor, part->first + i, &to);
	if (e)
		return e;
	if (part->header)
		to = encode_range_tail(to, store_range_head(part->cursor));
	wrote(out, to, part_size);
	return ERR_OK;
}
