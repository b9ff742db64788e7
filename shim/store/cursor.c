/* SPDX-License-Identifier: Apache-2.0 */
/* cursor.c - reads of clients: small answers whole, big ones in slices. */
#include "shim/store/read.h"

#include <assert.h>
#include <stdlib.h>

enum err store_hold_read(struct store *store, int64_t asked, struct pin *pin, int64_t *ret_revision,
			 int64_t *ret_head)
{
	int64_t head = store_head(store);
	int64_t revision = asked > 0 ? asked : head;
	enum err e;

	if (revision > head)
		return ERR_FUTURE_REVISION;
	e = pins_hold(&store->pins, pin, revision, revision);
	/* A compaction at a newer head came in between: the newest state is never compacted. */
	while (e == ERR_COMPACTED && asked <= 0) {
		head = revision = store_head(store);
		e = pins_hold(&store->pins, pin, revision, revision);
	}
	if (e)
		return e;
	*ret_revision = revision;
	*ret_head = head;
	return ERR_OK;
}

void store_release(struct store *store, struct pin *pin)
{
	pins_release(&store->pins, pin);
}

static struct range_source reader_source(struct store_reader *reader)
{
	struct store *store = reader->store;

	return (struct range_source){store->index, &store->index_lock, &reader->conn};
}

enum err store_range(struct store_reader *reader, const struct range_op *op, struct arena *arena,
		     struct range_result *ret_result)
{
	struct range_source source = reader_source(reader);
	struct range_result result = {0};
	struct range_set set;
	struct pin pin;
	int64_t revision;
	enum err e =
		store_hold_read(reader->store, op->revision, &pin, &revision, &result.revision);

	if (e)
		return e;
	count_up(&reader->store->counters.ranges, 1);
	e = range_gather(&source, op, revision, &set);
	if (!e) {
		e = range_deliver(&source, op, &set, arena, &result);
		range_set_fini(&set);
	}
	store_release(reader->store, &pin);
	if (!e)
		*ret_result = result;
	return e;
}

/* --- cursors --------------------------------------------------------------------------------- */

struct range_cursor {
	struct store_reader *reader;
	struct pin pin;
	struct range_set set;
	struct range_result head;
	/* Values [ahead_first, ahead_end), read in one short transaction, one after the other; so
	 * no transaction is open when the caller has the control. */
	uint8_t *ahead;
	size_t ahead_bytes;
	size_t ahead_first;
	size_t ahead_end;
	size_t next_offset; /* of value next_index */
	size_t next_index;
};

enum err store_range_open(struct store_reader *reader, const struct range_op *op,
			  struct range_cursor **ret_cursor)
{
	struct range_source source = reader_source(reader);
	struct range_cursor *cursor = calloc(1, sizeof(*cursor));
	int64_t revision;
	enum err e;

	if (!cursor)
		return fault(ERR_NOMEM, "a cursor");
	e = store_hold_read(reader->store, op->revision, &cursor->pin, &revision,
			    &cursor->head.revision);
	if (e) {
		free(cursor);
		return e;
	}
	count_up(&reader->store->counters.ranges, 1);
	e = range_gather(&source, op, revision, &cursor->set);
	if (e) {
		store_release(reader->store, &cursor->pin);
		free(cursor);
		return e;
	}
	cursor->reader = reader;
	cursor->head.kv_count = cursor->set.count;
	cursor->head.count = cursor->set.total;
	cursor->head.more = cursor->set.more;
	*ret_cursor = cursor;
	return ERR_OK;
}

void store_range_close(struct range_cursor *cursor)
{
	if (!cursor)
		return;
	store_release(cursor->reader->store, &cursor->pin);
	range_set_fini(&cursor->set);
	free(cursor->ahead);
	free(cursor);
}

const struct range_result *store_range_head(const struct range_cursor *cursor)
{
	return &cursor->head;
}

size_t store_range_bytes(const struct range_cursor *cursor)
{
	size_t bytes = sizeof(*cursor) + SOURCE_SLICE_BYTES;

	if (cursor->set.items != cursor->set.inline_items)
		bytes += cursor->set.capacity * sizeof(*cursor->set.items);
	return bytes;
}

const struct kv *store_range_peek(const struct range_cursor *cursor, size_t index)
{
	assert(index < cursor->set.count);
	return &cursor->set.items[index].kv;
}

/* How many values from `first` on make a slice, at least one. */
static size_t slice_end(const struct range_cursor *cursor, size_t first, size_t *ret_bytes)
{
	const struct range_item *items = cursor->set.items;
	size_t bytes = items[first].kv.value.size;
	size_t end = first + 1;

	while (end < cursor->set.count && bytes + items[end].kv.value.size <= SOURCE_SLICE_BYTES)
		bytes += items[end++].kv.value.size;
	*ret_bytes = bytes;
	return end;
}

static enum err read_slice(struct range_cursor *cursor, size_t first)
{
	size_t bytes;
	size_t end = slice_end(cursor, first, &bytes);
	struct value_wish one, *wishes = end - first == 1 ? &one : NULL;
	enum err e;

	cursor->ahead_first = cursor->ahead_end = 0;
	if (bytes > cursor->ahead_bytes || !cursor->ahead) {
		free(cursor->ahead);
		cursor->ahead = malloc(bytes + 1);
		cursor->ahead_bytes = bytes;
	}
	if (!wishes)
		wishes = calloc(end - first, sizeof(*wishes));
	if (!wishes || !cursor->ahead) {
		e = fault(ERR_NOMEM, "a slice of %zu bytes", bytes);
	} else {
		for (size_t i = first; i < end; i++)
			wishes[i - first] = (struct value_wish){cursor->set.items[i].row,
								cursor->set.items[i].kv.value.size};
		e = conn_values_read(&cursor->reader->conn, wishes, end - first, cursor->ahead);
	}
	if (wishes != &one)
		free(wishes);
	if (e)
		return e;
	cursor->ahead_first = cursor->next_index = first;
	cursor->ahead_end = end;
	cursor->next_offset = 0;
	return ERR_OK;
}

enum err store_range_value(struct range_cursor *cursor, size_t index, struct bytes *ret_value)
{
	enum err e;

	assert(index < cursor->set.count);
	if (!cursor->set.items[index].kv.value.size) { /* keys_only, or empty */
		*ret_value = bytes_of(NULL, 0);
		return ERR_OK;
	}
	if (index < cursor->ahead_first || index >= cursor->ahead_end) {
		e = read_slice(cursor, index);
		if (e)
			return e;
	}
	if (index < cursor->next_index) {
		cursor->next_index = cursor->ahead_first;
		cursor->next_offset = 0;
	}
	while (cursor->next_index < index)
		cursor->next_offset += cursor->set.items[cursor->next_index++].kv.value.size;
	*ret_value = bytes_of(cursor->ahead + cursor->next_offset,
			      cursor->set.items[index].kv.value.size);
	return ERR_OK;
}
