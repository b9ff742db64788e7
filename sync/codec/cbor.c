/* SPDX-License-Identifier: Apache-2.0 */
/* cbor.c - CBOR of definite lengths, as apiservers write it.  Anything else is refused here,
 * and the value is opaque. */
#include "sync/codec/format.h"
#include "sync/limits.h"

enum major {
	MAJOR_UNSIGNED,
	MAJOR_NEGATIVE,
	MAJOR_BYTES,
	MAJOR_TEXT,
	MAJOR_ARRAY,
	MAJOR_MAP,
	MAJOR_TAG,
	MAJOR_OTHER
};

/* The first byte and the number behind it.  Floats and simple values have bits, not lengths. */
static bool take_head(struct wire *wire, enum major *ret_major, uint64_t *ret_number)
{
	struct bytes bytes;
	unsigned low;

	if (!wire_take_fixed(wire, 1, &bytes))
		return false;
	*ret_major = (enum major)(bytes.data[0] >> 5);
	low = bytes.data[0] & 31;
	*ret_number = low;
	if (low < 24)
		return true;
	if (low > 27 || !wire_take_fixed(wire, (size_t)1 << (low - 24), &bytes))
		return false;
	*ret_number = 0;
	for (size_t i = 0; i < bytes.size; i++)
		*ret_number = *ret_number << 8 | bytes.data[i];
	return true;
}

static bool take_string(struct wire *wire, struct bytes *ret_text)
{
	enum major major;
	uint64_t size;

	return take_head(wire, &major, &size) && (major == MAJOR_BYTES || major == MAJOR_TEXT) &&
	       size <= wire_left(wire) && wire_take_fixed(wire, (size_t)size, ret_text);
}

/* How many items follow inside; strings are taken whole. */
static bool take_start(struct wire *wire, uint64_t *ret_inside)
{
	const uint8_t *start = wire->at;
	enum major major;
	struct bytes text;

	if (!take_head(wire, &major, ret_inside))
		return false;
	switch (major) {
	case MAJOR_BYTES:
	case MAJOR_TEXT:
		wire->at = start;
		*ret_inside = 0;
		return take_string(wire, &text);
	case MAJOR_ARRAY:
		return *ret_inside <= wire_left(wire);
	case MAJOR_MAP:
		if (*ret_inside > wire_left(wire))
			return false;
		*ret_inside *= 2;
		return true;
	case MAJOR_TAG:
		*ret_inside = 1;
		return true;
	case MAJOR_UNSIGNED:
	case MAJOR_NEGATIVE:
	case MAJOR_OTHER:
		break;
	}
	*ret_inside = 0;
	return true;
}

static bool take_value(struct wire *wire, struct bytes *ret_value)
{
	const uint8_t *start = wire->at;
	uint64_t open[CODEC_DEPTH_MAX]; /* items still to come at each level */
	size_t depth = 0;

	open[depth++] = 1;
	while (depth) {
		uint64_t inside;

		if (!open[depth - 1]) {
			depth--;
			continue;
		}
		open[depth - 1]--;
		if (!take_start(wire, &inside))
			return false;
		if (!inside)
			continue;
		if (depth == CODEC_DEPTH_MAX)
			return false;
		open[depth++] = inside;
	}
	*ret_value = bytes_of(start, (size_t)(wire->at - start));
	return true;
}

static bool read_all(struct work *work, struct bytes bytes, enum major wanted,
		     struct items *ret_items)
{
	struct wire wire = wire_of(bytes);
	enum major major;
	uint64_t count;

	*ret_items = (struct items){0};
	if (!take_head(&wire, &major, &count) || major != wanted)
		return false;
	for (; count; count--) {
		const uint8_t *start = wire.at;
		struct item item = {0};

		if (wanted == MAJOR_MAP && !take_string(&wire, &item.name))
			return false;
		if (!take_value(&wire, &item.value))
			return false;
		item.whole = bytes_of(start, (size_t)(wire.at - start));
		if (!items_add(work, ret_items, item))
			return false;
	}
	return !wire_left(&wire);
}

static bool read_fields(struct work *work, struct bytes container, struct items *ret_items)
{
	return read_all(work, container, MAJOR_MAP, ret_items);
}

static bool read_map(struct work *work, const struct item *field, struct items *ret_items)
{
	return read_all(work, field->value, MAJOR_MAP, ret_items);
}

static bool read_list(struct work *work, const struct item *field, struct items *ret_items)
{
	return read_all(work, field->value, MAJOR_ARRAY, ret_items);
}

static bool read_text(struct bytes value, struct bytes *ret_text)
{
	struct wire wire = wire_of(value);

	return take_string(&wire, ret_text) && !wire_left(&wire);
}

/* The order of encoded names, whose first bytes are their length. */
static int compare_names(struct bytes a, struct bytes b)
{
	if (a.size != b.size)
		return a.size < b.size ? -1 : 1;
	return bytes_compare(a, b);
}

static int compare_fields(const struct item *a, const struct item *b)
{
	return compare_names(a->name, b->name);
}

static bool put_head(struct buffer *buffer, enum major major, uint64_t number)
{
	uint8_t head[9] = {(uint8_t)(major << 5)};
	unsigned size = number < 24	       ? 0
			: number <= UINT8_MAX  ? 1
			: number <= UINT16_MAX ? 2
			: number <= UINT32_MAX ? 4
					       : 8;

	head[0] |= (uint8_t)(size == 0	 ? number
			     : size == 1 ? 24
			     : size == 2 ? 25
			     : size == 4 ? 26
					 : 27);
	for (unsigned i = 0; i < size; i++)
		head[1 + i] = (uint8_t)(number >> (8 * (size - 1 - i)));
	return buffer_append(buffer, bytes_of(head, 1 + size));
}

static bool put_items(struct buffer *buffer, enum major major, const struct item *items,
		      size_t count)
{
	if (!put_head(buffer, major, count))
		return false;
	for (size_t i = 0; i < count; i++)
		if (!buffer_append(buffer, items[i].whole))
			return false;
	return true;
}

static bool put_name(struct buffer *buffer, struct bytes name)
{
	return put_head(buffer, MAJOR_BYTES, name.size) && buffer_append(buffer, name);
}

static bool put_container(struct buffer *buffer, const struct item *items, size_t count)
{
	return put_items(buffer, MAJOR_MAP, items, count);
}

static bool put_struct(struct buffer *buffer, struct frame frame, struct bytes container)
{
	return put_name(buffer, frame.name) && buffer_append(buffer, container);
}

static bool put_map(struct buffer *buffer, struct frame frame, const struct item *items,
		    size_t count)
{
	return put_name(buffer, frame.name) && put_items(buffer, MAJOR_MAP, items, count);
}

static bool put_list(struct buffer *buffer, struct frame frame, const struct item *items,
		     size_t count)
{
	return put_name(buffer, frame.name) && put_items(buffer, MAJOR_ARRAY, items, count);
}

const struct format format_cbor = {
	.format = OBJECT_CBOR,
	.read_fields = read_fields,
	.read_map = read_map,
	.read_list = read_list,
	.read_text = read_text,
	.compare_fields = compare_fields,
	.compare_names = compare_names,
	.put_container = put_container,
	.put_struct = put_struct,
	.put_map = put_map,
	.put_list = put_list,
};
