/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/peek.h"

#include "shim/base/crc32c.h"
#include "sync/codec/format.h"
#include "sync/limits.h"

#define CBOR_TRUE 0xf5

enum object_format peek_metadata_format(const struct column_id *id)
{
	if (id->layout == crc32c(0, BYTES_LITERAL("p")))
		return OBJECT_PROTO;
	if (id->layout == crc32c(0, BYTES_LITERAL("j")))
		return OBJECT_JSON;
	return id->layout == crc32c(0, BYTES_LITERAL("c")) ? OBJECT_CBOR : OBJECT_OPAQUE;
}

/* What stands behind the column's name or tag: a container that holds nothing else is read. */
static bool unwrap(struct work *work, const struct format *format, struct bytes column,
		   struct bytes *ret_value)
{
	struct buffer buffer = BUFFER_INIT(CALL_ARENA_BYTES_MAX);
	struct item item = {.whole = column};
	struct bytes container = {0};
	struct items items;
	bool ok = format->put_container(&buffer, &item, 1) &&
		  arena_copy(work->arena, buffer_bytes(&buffer), &container);

	buffer_fini(&buffer);
	work->no_memory |= !ok;
	if (!ok || !format->read_fields(work, container, &items) || items.count != 1)
		return false;
	*ret_value = items.list[0].value;
	return true;
}

static bool read_inside(struct work *work, const struct format *format, const struct column *column,
			struct items *ret_items)
{
	bool bare = column->id.part == PART_REST ||
		    (column->id.part == PART_ENTRY && format->format != OBJECT_PROTO);
	struct bytes inside = column->bytes;

	return (bare || unwrap(work, format, column->bytes, &inside)) &&
	       format->read_fields(work, inside, ret_items);
}

static bool is_true(const struct format *format, const struct item *item)
{
	if (format->format == OBJECT_JSON)
		return bytes_equal(item->value, BYTES_LITERAL("true"));
	if (format->format == OBJECT_CBOR)
		return item->value.size == 1 && item->value.data[0] == CBOR_TRUE;
	/* A tag of one byte and a varint. */
	return item->whole.size == 2 && item->whole.data[1] == 1;
}

enum err peek_column(const struct peek *peek, const struct column *column, struct arena *arena,
		     struct peeked *ret_peeked)
{
	const struct format *format = format_of(peek->format);
	struct work work = {.arena = arena};
	struct items items = {0};
	bool read;

	*ret_peeked = (struct peeked){0};
	if (!format)
		return ERR_OK;
	read = read_inside(&work, format, column, &items);
	if (work.no_memory)
		return fault(ERR_NOMEM, "a look into a column of %zu bytes", column->bytes.size);
	for (size_t i = 0; read && i < items.count; i++) {
		const struct item *item = &items.list[i];

		if (format->format == OBJECT_PROTO
			    ? item->number != peek->number
			    : !bytes_equal(item->name, bytes_of_string(peek->name)))
			continue;
		ret_peeked->found = true;
		ret_peeked->truth = is_true(format, item);
		if (!format->read_text(item->value, &ret_peeked->text))
			ret_peeked->text = bytes_of(NULL, 0);
	}
	return ERR_OK;
}

enum err peek_entry(enum object_format name, struct bytes column, struct arena *arena,
		    struct bytes *ret_text)
{
	const struct format *format = format_of(name);
	struct work work = {.arena = arena};
	struct peek value = {name, "", 2}; /* an entry is a message of key and value */
	struct column entry = {.id = {.part = PART_ENTRY}, .bytes = column};
	struct peeked peeked = {0};
	enum err e;

	*ret_text = bytes_of(NULL, 0);
	if (name == OBJECT_PROTO) {
		e = peek_column(&value, &entry, arena, &peeked);
		*ret_text = peeked.text;
		return e;
	}
	if (!format || !unwrap(&work, format, column, &column))
		return work.no_memory ? fault(ERR_NOMEM, "an entry of %zu bytes", column.size)
				      : ERR_OK;
	if (!format->read_text(column, ret_text))
		*ret_text = bytes_of(NULL, 0);
	return ERR_OK;
}
