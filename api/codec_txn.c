/* SPDX-License-Identifier: Apache-2.0 */
/* codec_txn.c - the one request that holds itself.
 *
 * A level is read twice: once to count its members, which are stepped over by their length, and
 * once to read them.  So arrays have their right size, and the limits are known to hold before
 * anything is taken for them. */
#include "api/codec.h"

#include "api/reader.h"
#include "shim/base/limits.h"

enum txn_field { TXN_COMPARE = 1, TXN_SUCCESS = 2, TXN_FAILURE = 3 };

static enum err finish(struct codec *codec, const struct reader *reader)
{
	if (!reader->malformed)
		return ERR_OK;
	codec->problem = "proto: cannot parse invalid wire-format data";
	return ERR_MALFORMED;
}

static enum err no_memory(void)
{
	return fault(ERR_NOMEM, "a transaction's operations");
}

/* The oneof of a compare: what was set last, and what it was. */
struct compare_union {
	int target; /* -1: nothing was set */
	uint64_t number;
	struct bytes value;
};

/* Field 4 is VERSION, and so on in the order of the targets. */
static bool is_union_field(const struct field *field)
{
	if (field->number == 4 + COMPARE_VALUE)
		return field->type == FIELD_BYTES;
	return field->number >= 4 && field->number <= 4 + COMPARE_LEASE &&
	       field->type == FIELD_VARINT;
}

static enum err decode_compare(struct codec *codec, struct bytes message, struct compare *ret)
{
	struct reader reader = reader_of(message);
	struct compare_union set = {.target = -1};
	struct field field;

	while (reader_next(&reader, &field)) {
		if (is_union_field(&field))
			set = (struct compare_union){(int)field.number - 4, field.value,
						     field.bytes};
		else if (field.type == FIELD_VARINT && field.number == 1)
			ret->result = (int32_t)field.value;
		else if (field.type == FIELD_VARINT && field.number == 2)
			ret->target = (int32_t)field.value;
		else if (field.type == FIELD_BYTES && field.number == 3)
			ret->key = field.bytes;
		else if (field.type == FIELD_BYTES && field.number == 64)
			ret->end = field.bytes;
	}
	/* A number for another target does not count: the one looked at is then zero. */
	if (set.target == ret->target) {
		ret->number = (int64_t)set.number;
		ret->value = set.value;
	}
	return finish(codec, &reader);
}

/* The same member of a oneof sent twice is one message in two parts, which protobuf defines to be
 * the same as the parts put together. */
static enum err join(struct codec *codec, struct bytes *first, struct bytes second)
{
	uint8_t *both = arena_alloc(codec->arena, first->size + second.size + 1);

	if (!both)
		return no_memory();
	if (first->size)
		memcpy(both, first->data, first->size);
	if (second.size)
		memcpy(both + first->size, second.data, second.size);
	*first = bytes_of(both, first->size + second.size);
	return ERR_OK;
}

static enum err decode_level(struct codec *codec, struct bytes message, size_t depth,
			     struct txn_op *ret_op);

static enum err decode_nested(struct codec *codec, struct bytes message, size_t depth,
			      struct txn_op **ret_op)
{
	struct txn_op *op;

	if (depth == TXN_DEPTH_MAX)
		return ERR_TOO_MANY_OPS;
	op = arena_new(codec->arena, struct txn_op);
	if (!op)
		return no_memory();
	*ret_op = op;
	return decode_level(codec, message, depth + 1, op);
}

static enum err decode_request(struct codec *codec, struct bytes message, size_t depth,
			       struct request *ret)
{
	struct reader reader = reader_of(message);
	struct field field;
	struct bytes body = {0};
	uint32_t member = 0;
	enum err e = ERR_OK;

	while (!e && reader_next(&reader, &field)) {
		if (field.type != FIELD_BYTES || field.number > 4)
			continue;
		if (member == field.number)
			e = join(codec, &body, field.bytes);
		else
			body = field.bytes;
		member = field.number;
	}
	if (!e)
		e = finish(codec, &reader);
	if (e)
		return e;
	switch (member) {
	case 1:
		ret->kind = REQUEST_RANGE;
		return codec_range(codec, body, &ret->as.range);
	case 2:
		ret->kind = REQUEST_PUT;
		return codec_put(codec, body, &ret->as.put);
	case 3:
		ret->kind = REQUEST_DELETE;
		return codec_delete(codec, body, &ret->as.delete_range);
	case 4:
		ret->kind = REQUEST_TXN;
		return decode_nested(codec, body, depth, &ret->as.txn);
	default:
		ret->kind = REQUEST_TXN;
		ret->as.txn = NULL;
		return ERR_OK;
	}
}

static enum err count_members(struct codec *codec, struct bytes message, struct txn_op *ret_op)
{
	struct reader reader = reader_of(message);
	struct field field;

	while (reader_next(&reader, &field)) {
		if (field.type != FIELD_BYTES)
			continue;
		ret_op->compare_count += field.number == TXN_COMPARE;
		ret_op->success_count += field.number == TXN_SUCCESS;
		ret_op->failure_count += field.number == TXN_FAILURE;
	}
	codec->txn_total += ret_op->compare_count + ret_op->success_count + ret_op->failure_count;
	if (codec->txn_total > TXN_TOTAL_MAX)
		return ERR_TOO_MANY_OPS;
	return finish(codec, &reader);
}

static bool take_arrays(struct arena *arena, struct txn_op *op)
{
	op->compares = arena_calloc(arena, op->compare_count + 1, sizeof(*op->compares));
	op->success = arena_calloc(arena, op->success_count + 1, sizeof(*op->success));
	op->failure = arena_calloc(arena, op->failure_count + 1, sizeof(*op->failure));
	return op->compares && op->success && op->failure;
}

static enum err decode_level(struct codec *codec, struct bytes message, size_t depth,
			     struct txn_op *ret_op)
{
	struct reader reader = reader_of(message);
	struct compare *compare;
	struct request *success, *failure;
	struct field field;
	enum err e = count_members(codec, message, ret_op);

	if (e)
		return e;
	if (!take_arrays(codec->arena, ret_op))
		return no_memory();
	compare = ret_op->compares;
	success = ret_op->success;
	failure = ret_op->failure;
	while (!e && reader_next(&reader, &field)) {
		if (field.type != FIELD_BYTES)
			continue;
		if (field.number == TXN_COMPARE)
			e = decode_compare(codec, field.bytes, compare++);
		else if (field.number == TXN_SUCCESS)
			e = decode_request(codec, field.bytes, depth, success++);
		else if (field.number == TXN_FAILURE)
			e = decode_request(codec, field.bytes, depth, failure++);
	}
	return e;
}

enum err codec_txn(struct codec *codec, struct bytes message, struct txn_op *ret_op)
{
	*ret_op = (struct txn_op){0};
	return decode_level(codec, message, 1, ret_op);
}
