/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/layout.h"
#include "sync/codec/order.h"
#include "sync/codec/type.h"
#include "sync/limits.h"

struct splice {
	struct work work;
	const struct format *format;
	struct type type;
	const struct kind_layout *kind;
	const struct column **columns; /* those of the type's layouts */
	size_t count;
};

/* Columns that stand side by side and make one field. */
struct group {
	const struct column *const *columns;
	size_t count;
};

static const struct column *part_of(struct group group, enum column_part part)
{
	for (size_t i = 0; i < group.count && group.columns[i]->id.part <= part; i++)
		if (group.columns[i]->id.part == part)
			return group.columns[i];
	return NULL;
}

/* The columns from `at` on that share field, or field and sub. */
static struct group group_at(struct group all, size_t at, bool with_sub)
{
	const struct column_id *first = &all.columns[at]->id;
	size_t end = at;

	while (end < all.count && bytes_equal(all.columns[end]->id.field, first->field) &&
	       (!with_sub || bytes_equal(all.columns[end]->id.sub, first->sub)))
		end++;
	return (struct group){all.columns + at, end - at};
}

static bool keep(struct splice *splice, struct buffer *buffer, bool ok, struct bytes *ret_bytes)
{
	if (!ok || !arena_copy(splice->work.arena, buffer_bytes(buffer), ret_bytes)) {
		splice->work.no_memory = true; /* buffers fail for nothing else */
		ok = false;
	}
	buffer_fini(buffer);
	return ok;
}

/* A field that was cut out whole tells its own number. */
static bool number_of(const struct splice *splice, struct item *item)
{
	struct items items;
	struct work work = splice->work;

	if (splice->format->format != OBJECT_PROTO)
		return true;
	if (!format_proto.read_fields(&work, item->whole, &items) || items.count != 1)
		return false;
	item->number = items.list[0].number;
	return true;
}

static bool put_entries(struct splice *splice, const struct field_layout *row, struct items *items,
			struct bytes *ret_whole)
{
	struct buffer buffer = BUFFER_INIT(CALL_ARENA_BYTES_MAX);
	struct frame frame = {bytes_of_string(row->name), row->number};
	bool ok = row->mode == FIELD_MODE_MAP
			  ? splice->format->put_map(&buffer, frame, items->list, items->count)
			  : splice->format->put_list(&buffer, frame, items->list, items->count);

	return keep(splice, &buffer, ok, ret_whole);
}

/* From the columns of one field that is not cut further inside. */
static bool build_leaf(struct splice *splice, const struct field_layout *row, struct group group,
		       struct item *ret_item)
{
	const struct column *whole = part_of(group, PART_WHOLE);
	const struct column *order = part_of(group, PART_ORDER);
	struct order how = {.format = splice->format, .kind = ORDER_ENTRIES};
	struct items items = {0};

	for (size_t i = 0; i < group.count && !whole; i++)
		if (group.columns[i]->id.part == PART_ENTRY &&
		    !items_add(&splice->work, &items,
			       (struct item){.whole = group.columns[i]->bytes,
					     .sort = group.columns[i]->id.entry}))
			return false;
	if (!whole && !items.count)
		whole = part_of(group, PART_EMPTY);
	if (whole) {
		ret_item->whole = whole->bytes;
		return number_of(splice, ret_item);
	}
	if (!items.count) /* an order of what is gone */
		return true;
	if (!row)
		return false;
	how.recorded = order;
	how.names = order ? order->bytes : bytes_of(NULL, 0);
	ret_item->number = row->number;
	return order_apply(&splice->work, &how, &items, 0) &&
	       put_entries(splice, row, &items, &ret_item->whole);
}

static bool add_rest(struct splice *splice, const struct field_layout *row,
		     const struct column *rest, struct items *items)
{
	struct items read;

	if (!splice->format->read_fields(&splice->work, rest->bytes, &read))
		return false;
	for (size_t i = 0; i < read.count; i++) {
		read.list[i].sort = read.list[i].name;
		if (splice->format->format == OBJECT_PROTO &&
		    !layout_inner_name(&splice->work, row, read.list[i].number, &read.list[i].sort))
			return false;
		if (!items_add(&splice->work, items, read.list[i]))
			return false;
	}
	return true;
}

static bool gather_inner(struct splice *splice, const struct field_layout *row, struct group group,
			 struct items *ret_items, size_t *ret_fixed)
{
	*ret_items = (struct items){0};
	*ret_fixed = 0;
	for (size_t at = 0; at < group.count;) {
		struct group part = group_at(group, at, true);
		struct bytes sub = part.columns[0]->id.sub;
		struct item item = {.name = sub, .sort = sub};
		const struct column *rest = sub.size ? NULL : part_of(part, PART_REST);

		at += part.count;
		if (rest && !add_rest(splice, row, rest, ret_items))
			return false;
		if (!sub.size) { /* the first part */
			*ret_fixed = ret_items->count;
			continue;
		}
		if (!build_leaf(splice, layout_of_inner(row, sub), part, &item) ||
		    (item.whole.size && !items_add(&splice->work, ret_items, item)))
			return false;
	}
	return true;
}

static bool build_struct(struct splice *splice, const struct field_layout *row, struct group group,
			 struct item *ret_item)
{
	struct group own = group_at(group, 0, true);
	const struct column *order = own.columns[0]->id.sub.size ? NULL : part_of(own, PART_ORDER);
	struct order how = {.format = splice->format,
			    .kind = row->apart ? ORDER_METADATA : ORDER_FIELDS,
			    .recorded = order,
			    .names = order ? order->bytes : bytes_of(NULL, 0)};
	struct frame frame = {bytes_of_string(row->name), row->number};
	struct buffer inner = BUFFER_INIT(CALL_ARENA_BYTES_MAX), outer = inner;
	struct bytes container;
	struct items items;
	size_t fixed;
	bool ok;

	if (!gather_inner(splice, row, group, &items, &fixed) ||
	    !order_apply(&splice->work, &how, &items, fixed))
		return false;
	ok = splice->format->put_container(&inner, items.list, items.count);
	if (!keep(splice, &inner, ok, &container))
		return false;
	ret_item->number = row->number;
	ok = splice->format->put_struct(&outer, frame, container);
	return keep(splice, &outer, ok, &ret_item->whole);
}

static bool build_field(struct splice *splice, struct group group, struct item *ret_item)
{
	struct bytes name = group.columns[0]->id.field;
	const struct field_layout *row = layout_of_field(splice->kind, name);
	struct group own = group_at(group, 0, true);
	bool undivided = !own.columns[0]->id.sub.size && part_of(own, PART_WHOLE);

	*ret_item = (struct item){.name = name, .sort = name};
	if (row && row->mode == FIELD_MODE_STRUCT && !undivided)
		return build_struct(splice, row, group, ret_item);
	return build_leaf(splice, row, own, ret_item);
}

static bool add_type_field(struct splice *splice, struct bytes name, struct bytes value,
			   struct items *items)
{
	struct buffer buffer = BUFFER_INIT(CALL_ARENA_BYTES_MAX);
	struct item item = {.name = name, .sort = name};
	bool ok = splice->format->put_struct(&buffer, (struct frame){.name = name}, value);

	return keep(splice, &buffer, ok, &item.whole) && items_add(&splice->work, items, item);
}

static bool build_top(struct splice *splice, struct bytes *ret_container)
{
	struct group all = {splice->columns, splice->count};
	struct order how = {.format = splice->format, .kind = ORDER_TOP};
	struct buffer buffer = BUFFER_INIT(CALL_ARENA_BYTES_MAX);
	struct items items = {0};

	for (size_t at = 0; at < all.count;) {
		struct group group = group_at(all, at, false);
		const struct column *order = part_of(group, PART_ORDER);
		struct item item;

		at += group.count;
		if (!group.columns[0]->id.field.size) {
			how.recorded = order;
			how.names = order ? order->bytes : bytes_of(NULL, 0);
			continue;
		}
		if (!build_field(splice, group, &item) ||
		    (item.whole.size && !items_add(&splice->work, &items, item)))
			return false;
	}
	if (splice->format->format != OBJECT_PROTO &&
	    (!add_type_field(splice, BYTES_LITERAL("apiVersion"), splice->type.api_version,
			     &items) ||
	     !add_type_field(splice, BYTES_LITERAL("kind"), splice->type.kind, &items)))
		return false;
	return order_apply(&splice->work, &how, &items, 0) &&
	       keep(splice, &buffer,
		    splice->format->put_container(&buffer, items.list, items.count), ret_container);
}

/* Finds the type and leaves out what is not of its layouts. */
static bool choose(struct splice *splice, const struct column *columns, size_t count)
{
	const struct column *type = NULL;

	for (size_t i = 0; i < count; i++)
		if (columns[i].id.part == PART_TYPE)
			type = &columns[i];
	if (!type || !type_read(type->bytes, &splice->type))
		return false;
	splice->columns = arena_alloc(splice->work.arena, count * sizeof(*splice->columns));
	if (!splice->columns) {
		splice->work.no_memory = true;
		return false;
	}
	for (size_t i = 0; i < count; i++)
		if (&columns[i] != type &&
		    columns[i].id.layout == type_layout(&splice->type.known, columns[i].id.field,
							columns[i].id.part))
			splice->columns[splice->count++] = &columns[i];
	return true;
}

static bool build(struct splice *splice, struct bytes *ret_value)
{
	struct buffer buffer = BUFFER_INIT(CALL_ARENA_BYTES_MAX);
	struct bytes container;

	splice->format = format_of(splice->type.known.format);
	if (!splice->format) {
		struct group all = {splice->columns, splice->count};
		const struct column *value = part_of(all, PART_VALUE);

		if (value)
			*ret_value = value->bytes;
		return value;
	}
	splice->kind = layout_of_kind(splice->type.known.kind);
	return build_top(splice, &container) &&
	       keep(splice, &buffer, type_put(&splice->type, container, &buffer), ret_value);
}

enum err object_splice(const struct column *columns, size_t count, struct arena *arena,
		       struct bytes *ret_value)
{
	struct splice splice = {.work = {.arena = arena}};

	if (choose(&splice, columns, count) && build(&splice, ret_value))
		return ERR_OK;
	if (splice.work.no_memory)
		return fault(ERR_NOMEM, "a value of %zu columns", count);
	return ERR_MALFORMED;
}
