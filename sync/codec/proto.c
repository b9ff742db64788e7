/* SPDX-License-Identifier: Apache-2.0 */
#include "api/reader.h"
#include "sync/codec/format.h"

#define TYPE_BYTES 2 /* wire type of length-delimited fields */

static bool next_item(struct reader *reader, struct item *ret_item)
{
	const uint8_t *start = reader->at;
	struct field field;

	if (!reader_next(reader, &field))
		return false;
	if (field.type == FIELD_GROUP) {
		reader->malformed = true;
		return false;
	}
	*ret_item = (struct item){
		.number = field.number,
		.whole = bytes_of(start, (size_t)(reader->at - start)),
		.value = field.type == FIELD_BYTES ? field.bytes : bytes_of(NULL, 0),
	};
	return true;
}

static bool read_fields(struct work *work, struct bytes container, struct items *ret_items)
{
	struct reader reader = reader_of(container);
	struct item item;

	*ret_items = (struct items){0};
	while (next_item(&reader, &item)) {
		struct item *last =
			ret_items->count ? &ret_items->list[ret_items->count - 1] : NULL;

		if (last && last->number == item.number)
			last->whole.size += item.whole.size; /* they stand side by side */
		else if (!items_add(work, ret_items, item))
			return false;
	}
	return !reader.malformed;
}

/* The records of one repeated field; all must be length-delimited. */
static bool read_list(struct work *work, const struct item *field, struct items *ret_items)
{
	struct reader reader = reader_of(field->whole);
	struct item item;

	*ret_items = (struct items){0};
	while (next_item(&reader, &item))
		if ((item.whole.data[0] & 7) != TYPE_BYTES || !items_add(work, ret_items, item))
			return false;
	return !reader.malformed;
}

/* An entry is a message of key 1 and value 2. */
static bool read_map(struct work *work, const struct item *field, struct items *ret_items)
{
	if (!read_list(work, field, ret_items))
		return false;
	for (size_t i = 0; i < ret_items->count; i++) {
		struct reader reader = reader_of(ret_items->list[i].value);
		struct field key;

		if (!reader_next(&reader, &key) || key.number != 1 || key.type != FIELD_BYTES)
			return false;
		ret_items->list[i].name = key.bytes;
	}
	return true;
}

static bool read_text(struct bytes value, struct bytes *ret_text)
{
	*ret_text = value;
	return true;
}

static int compare_fields(const struct item *a, const struct item *b)
{
	return a->number < b->number ? -1 : a->number > b->number;
}

static bool put_container(struct buffer *buffer, const struct item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!buffer_append(buffer, items[i].whole))
			return false;
	return true;
}

static bool put_struct(struct buffer *buffer, struct frame frame, struct bytes container)
{
	return wire_put_number(buffer, (uint64_t)frame.number << 3 | TYPE_BYTES) &&
	       wire_put_bytes(buffer, container);
}

static bool put_entries(struct buffer *buffer, struct frame frame, const struct item *items,
			size_t count)
{
	(void)frame; /* each entry has its tag */
	return put_container(buffer, items, count);
}

const struct format format_proto = {
	.format = OBJECT_PROTO,
	.read_fields = read_fields,
	.read_map = read_map,
	.read_list = read_list,
	.read_text = read_text,
	.compare_fields = compare_fields,
	.compare_names = bytes_compare,
	.put_container = put_container,
	.put_struct = put_struct,
	.put_map = put_entries,
	.put_list = put_entries,
};
