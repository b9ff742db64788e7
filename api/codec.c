/* SPDX-License-Identifier: Apache-2.0 */
#include "api/codec.h"

#include "api/reader.h"
#include "shim/base/limits.h"

static enum err malformed(struct codec *codec, const char *problem)
{
	codec->problem = problem;
	return ERR_MALFORMED;
}

static enum err finish(struct codec *codec, const struct reader *reader)
{
	if (reader->malformed)
		return malformed(codec, "proto: cannot parse invalid wire-format data");
	return ERR_OK;
}

/* --- plain requests --- */

static void range_number(struct range_op *op, uint32_t number, uint64_t value)
{
	switch (number) {
	case 3:
		op->limit = (int64_t)value;
		break;
	case 4:
		op->revision = (int64_t)value;
		break;
	case 5:
		op->order = (enum sort_order)(int32_t)value;
		break;
	case 6:
		op->target = (enum sort_target)(int32_t)value;
		break;
	case 8:
		op->keys_only = value;
		break;
	case 9:
		op->count_only = value;
		break;
	case 10:
		op->min_mod_revision = (int64_t)value;
		break;
	case 11:
		op->max_mod_revision = (int64_t)value;
		break;
	case 12:
		op->min_create_revision = (int64_t)value;
		break;
	case 13:
		op->max_create_revision = (int64_t)value;
		break;
	default: /* 7, serializable: every read of a single server is linearizable */
		break;
	}
}

enum err codec_range(struct codec *codec, struct bytes message, struct range_op *ret_op)
{
	struct reader reader = reader_of(message);
	struct range_op op = {0};
	struct field field;

	while (reader_next(&reader, &field)) {
		if (field.type == FIELD_VARINT)
			range_number(&op, field.number, field.value);
		else if (field.type == FIELD_BYTES && field.number == 1)
			op.key = field.bytes;
		else if (field.type == FIELD_BYTES && field.number == 2)
			op.end = field.bytes;
	}
	*ret_op = op;
	return finish(codec, &reader);
}

static void put_number(struct put_op *op, uint32_t number, uint64_t value)
{
	switch (number) {
	case 3:
		op->lease = (int64_t)value;
		break;
	case 4:
		op->prev_kv = value;
		break;
	case 5:
		op->ignore_value = value;
		break;
	case 6:
		op->ignore_lease = value;
		break;
	default:
		break;
	}
}

enum err codec_put(struct codec *codec, struct bytes message, struct put_op *ret_op)
{
	struct reader reader = reader_of(message);
	struct put_op op = {0};
	struct field field;

	while (reader_next(&reader, &field)) {
		if (field.type == FIELD_VARINT)
			put_number(&op, field.number, field.value);
		else if (field.type == FIELD_BYTES && field.number == 1)
			op.key = field.bytes;
		else if (field.type == FIELD_BYTES && field.number == 2)
			op.value = field.bytes;
	}
	*ret_op = op;
	return finish(codec, &reader);
}

enum err codec_delete(struct codec *codec, struct bytes message, struct delete_op *ret_op)
{
	struct reader reader = reader_of(message);
	struct delete_op op = {0};
	struct field field;

	while (reader_next(&reader, &field)) {
		if (field.type == FIELD_VARINT && field.number == 3)
			op.prev_kv = field.value;
		else if (field.type == FIELD_BYTES && field.number == 1)
			op.key = field.bytes;
		else if (field.type == FIELD_BYTES && field.number == 2)
			op.end = field.bytes;
	}
	*ret_op = op;
	return finish(codec, &reader);
}

enum err codec_numbers(struct codec *codec, struct bytes message, uint64_t *ret_numbers,
		       size_t count)
{
	struct reader reader = reader_of(message);
	struct field field;

	for (size_t i = 0; i < count; i++)
		ret_numbers[i] = 0;
	while (reader_next(&reader, &field)) {
		if (field.type == FIELD_VARINT && field.number <= count)
			ret_numbers[field.number - 1] = field.value;
	}
	return finish(codec, &reader);
}

/* --- the rare ones, through protobuf-c --- */

/* The requests read this way are flat: numbers and texts. */
static bool is_as_declared(const struct field *field, const ProtobufCFieldDescriptor *known)
{
	bool has_length = known->type == PROTOBUF_C_TYPE_STRING ||
			  known->type == PROTOBUF_C_TYPE_BYTES ||
			  known->type == PROTOBUF_C_TYPE_MESSAGE;

	return field->type == (has_length ? FIELD_BYTES : FIELD_VARINT);
}

/* protobuf-c ends texts with NUL; one inside becomes another control character, which no name, URL
 * or version may hold either. */
static void replace_nul(uint8_t *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (!text[i])
			text[i] = 0x7f;
	}
}

/* What protobuf-c can read.  It refuses groups and fields of the wrong type, which Go skips, and
 * does not look at the contents of strings, where proto3 wants UTF-8. */
static enum err copy_known(struct codec *codec, const ProtobufCMessageDescriptor *type,
			   struct bytes message, struct bytes *ret_known)
{
	struct reader reader = reader_of(message);
	const uint8_t *start = reader.at;
	uint8_t *copy = arena_alloc(codec->arena, message.size + 1), *to = copy;
	struct field field;

	if (!copy)
		return fault(ERR_NOMEM, "request of %zu bytes of type %s", message.size,
			     type->name);
	for (; reader_next(&reader, &field); start = reader.at) {
		const ProtobufCFieldDescriptor *known =
			protobuf_c_message_descriptor_get_field(type, field.number);

		if (!known || !is_as_declared(&field, known))
			continue;
		memcpy(to, start, (size_t)(reader.at - start));
		to += reader.at - start;
		if (known->type != PROTOBUF_C_TYPE_STRING)
			continue;
		if (!utf8_is_valid(field.bytes))
			return malformed(codec, "string field contains invalid UTF-8");
		replace_nul(to - field.bytes.size, field.bytes.size);
	}
	*ret_known = bytes_of(copy, (size_t)(to - copy));
	return finish(codec, &reader);
}

static void *take_from_arena(void *context, size_t size)
{
	struct codec *codec = context;
	void *memory = arena_alloc(codec->arena, size ? size : 1);

	if (!memory)
		codec->out_of_memory = true;
	return memory;
}

static void leave_to_arena(void *context, void *memory)
{
	(void)context;
	(void)memory;
}

enum err codec_unpack(struct codec *codec, const ProtobufCMessageDescriptor *type,
		      struct bytes message, ProtobufCMessage **ret_message)
{
	ProtobufCAllocator allocator = {take_from_arena, leave_to_arena, codec};
	ProtobufCMessage *unpacked;
	struct bytes known;
	enum err e = copy_known(codec, type, message, &known);

	if (e)
		return e;
	unpacked = protobuf_c_message_unpack(type, &allocator, known.size, known.data);
	if (codec->out_of_memory)
		return fault(ERR_NOMEM, "request of %zu bytes of type %s", message.size,
			     type->name);
	if (!unpacked)
		return malformed(codec, "proto: cannot parse invalid wire-format data");
	*ret_message = unpacked;
	return ERR_OK;
}
