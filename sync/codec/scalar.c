/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/scalar.h"

#include "api/reader.h"
#include "sync/codec/format.h"
#include "sync/codec/peek.h"

#include <inttypes.h>
#include <stdio.h>

#define NUMBER_BYTES 32
#define GENERATION_TAG 0x38 /* field 7, varint */
#define GENERATION BYTES_LITERAL("generation")

/* A varint, or the seconds of a Timestamp. */
static bool read_proto(struct bytes column, int64_t *ret_number)
{
	struct reader reader = reader_of(column);
	struct field field;

	if (!reader_next(&reader, &field))
		return false;
	if (field.type == FIELD_BYTES) {
		struct reader inside = reader_of(field.bytes);

		if (!reader_next(&inside, &field) || field.number != 1)
			return false;
	}
	*ret_number = (int64_t)field.value;
	return field.type == FIELD_VARINT;
}

/* What follows the name. */
static struct bytes after_name(struct bytes column, struct bytes name, size_t around)
{
	size_t skipped = name.size + around;

	if (column.size <= skipped)
		return bytes_of(NULL, 0);
	return bytes_of(column.data + skipped, column.size - skipped);
}

static bool read_json(struct bytes value, int64_t *ret_number, struct bytes *ret_text)
{
	bool negative = value.size && value.data[0] == '-';
	uint64_t number = 0;

	if (value.size && value.data[0] == '"')
		return format_json.read_text(value, ret_text);
	if (value.size == (size_t)negative || value.size > 18)
		return false;
	for (size_t i = negative; i < value.size; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return false;
		number = number * 10 + (uint64_t)(value.data[i] - '0');
	}
	*ret_number = negative ? -(int64_t)number : (int64_t)number;
	return true;
}

static bool read_cbor(struct bytes value, int64_t *ret_number, struct bytes *ret_text)
{
	unsigned low = value.size ? value.data[0] & 31u : 31;
	size_t more = low < 24 ? 0 : (size_t)1 << (low - 24);
	uint64_t number = low;

	if (format_cbor.read_text(value, ret_text))
		return true;
	if (!value.size || low > 27 || value.data[0] >> 5 > 1 || value.size != 1 + more)
		return false;
	for (size_t i = 0; i < more; i++)
		number = (i ? number << 8 : 0) | value.data[1 + i];
	if (number > INT64_MAX)
		return false;
	*ret_number = value.data[0] >> 5 ? -1 - (int64_t)number : (int64_t)number;
	return true;
}

bool scalar_read(const struct column_id *id, struct bytes column, int64_t *ret_number,
		 struct bytes *ret_text)
{
	*ret_text = bytes_of(NULL, 0);
	*ret_number = 0;
	switch (peek_metadata_format(id)) {
	case OBJECT_PROTO:
		return read_proto(column, ret_number);
	case OBJECT_JSON: /* "name": */
		return read_json(after_name(column, id->sub, 3), ret_number, ret_text);
	case OBJECT_CBOR: /* these names have 10 to 26 bytes: a head of one, or of two from 24 on */
		return read_cbor(after_name(column, id->sub, id->sub.size < 24 ? 1 : 2), ret_number,
				 ret_text);
	case OBJECT_OPAQUE:
		break;
	}
	return false;
}

int scalar_compare(const struct column_id *id, struct bytes a, struct bytes b)
{
	int64_t numbers[2];
	struct bytes texts[2];

	if (!scalar_read(id, a, &numbers[0], &texts[0]) ||
	    !scalar_read(id, b, &numbers[1], &texts[1]))
		return 0;
	if (texts[0].size || texts[1].size)
		return bytes_compare(texts[0], texts[1]);
	return numbers[0] < numbers[1] ? -1 : numbers[0] > numbers[1];
}

static bool put_number(struct buffer *buffer, enum object_format format, int64_t number)
{
	struct frame frame = {.name = GENERATION};
	uint8_t bytes[9] = {27};
	char text[NUMBER_BYTES];
	size_t more = number < 24	     ? 0
		      : number <= UINT8_MAX  ? 1
		      : number <= UINT16_MAX ? 2
		      : number <= UINT32_MAX ? 4
					     : 8;

	if (format == OBJECT_PROTO)
		return buffer_append(buffer, bytes_of(&(uint8_t){GENERATION_TAG}, 1)) &&
		       wire_put_number(buffer, (uint64_t)number);
	if (format == OBJECT_JSON) {
		snprintf(text, sizeof text, "%" PRId64, number);
		return format_json.put_struct(buffer, frame, bytes_of_string(text));
	}
	bytes[0] = (uint8_t)(more == 0	 ? number
			     : more == 1 ? 24
			     : more == 2 ? 25
			     : more == 4 ? 26
					 : 27);
	for (size_t i = 0; i < more; i++)
		bytes[1 + i] = (uint8_t)(number >> (8 * (more - 1 - i)));
	return format_cbor.put_struct(buffer, frame, bytes_of(bytes, 1 + more));
}

bool scalar_put_generation(const struct column_id *id, int64_t generation, struct arena *arena,
			   struct bytes *ret_column)
{
	struct buffer buffer = BUFFER_INIT(NUMBER_BYTES * 2);
	bool ok = put_number(&buffer, peek_metadata_format(id), generation) &&
		  arena_copy(arena, buffer_bytes(&buffer), ret_column);

	buffer_fini(&buffer);
	return ok;
}
