/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/layout.h"
#include "sync/codec/order.h"
#include "sync/codec/type.h"
#include "sync/limits.h"

#include <stdlib.h>

struct split {
	struct work work;
	const struct format *format;
	struct type type;
	const struct kind_layout *kind;
	struct bytes uid;
	enum err fault; /* logged where it arose */
	struct column *columns;
	size_t count;
	size_t capacity;
};

/* Where the column stands; the layout follows from it. */
struct place {
	struct bytes field;
	struct bytes sub;
};

static bool add(struct split *split, struct place place, enum column_part part, struct bytes entry,
		struct bytes bytes)
{
	if (split->count == split->capacity) {
		size_t capacity = split->capacity ? split->capacity * 2 : 64;
		struct column *grown;

		if (split->count >= CODEC_COLUMNS_MAX)
			return false;
		grown = arena_alloc(split->work.arena, capacity * sizeof(*grown));
		if (!grown) {
			split->work.no_memory = true;
			return false;
		}
		if (split->count)
			memcpy(grown, split->columns, split->count * sizeof(*grown));
		split->columns = grown;
		split->capacity = capacity;
	}
	split->columns[split->count++] = (struct column){
		.id = {.layout = type_layout(&split->type.known, place.field, part),
		       .field = place.field,
		       .sub = place.sub,
		       .part = part,
		       .entry = entry},
		.bytes = bytes,
	};
	return true;
}

static bool put_in_arena(struct split *split, const struct items *items, struct bytes *ret_bytes)
{
	struct buffer buffer = BUFFER_INIT(CALL_ARENA_BYTES_MAX);
	bool ok = split->format->put_container(&buffer, items->list, items->count) &&
		  arena_copy(split->work.arena, buffer_bytes(&buffer), ret_bytes);

	buffer_fini(&buffer);
	split->work.no_memory |= !ok;
	return ok;
}

/* --- entries of maps and lists ---------------------------------------------------------------- */

static const struct item *find_key(const struct format *format, const struct items *fields,
				   struct list_key key)
{
	for (size_t i = 0; i < fields->count; i++) {
		const struct item *item = &fields->list[i];

		if (format->format == OBJECT_PROTO
			    ? item->number == key.number
			    : bytes_equal(item->name, bytes_of_string(key.name)))
			return item;
	}
	return NULL;
}

/* The key of a list's element: its key fields with NULs between them. */
static bool element_key(struct split *split, const struct field_layout *row,
			const struct item *element, struct bytes *ret_key)
{
	struct buffer buffer = BUFFER_INIT(CALL_ARENA_BYTES_MAX);
	struct items fields;
	bool ok = split->format->read_fields(&split->work, element->value, &fields);

	for (size_t i = 0; ok && i < LIST_KEYS_MAX && row->keys[i].name; i++) {
		const struct item *field = find_key(split->format, &fields, row->keys[i]);
		struct bytes text = {0};

		ok = (!i || buffer_append(&buffer, bytes_of("", 1))) &&
		     (!field || split->format->read_text(field->value, &text)) &&
		     buffer_append(&buffer, text);
	}
	if (ok && !arena_copy(split->work.arena, buffer_bytes(&buffer), ret_key)) {
		split->work.no_memory = true;
		ok = false;
	}
	buffer_fini(&buffer);
	return ok;
}

static bool read_entries(struct split *split, const struct field_layout *row,
			 const struct item *field, struct items *ret_items)
{
	const struct format *format = split->format;

	if (row->mode == FIELD_MODE_MAP ? !format->read_map(&split->work, field, ret_items)
					: !format->read_list(&split->work, field, ret_items))
		return false;
	if (ret_items->count > CODEC_ENTRIES_MAX)
		return false;
	for (size_t i = 0; i < ret_items->count; i++) {
		struct item *item = &ret_items->list[i];

		if (row->mode == FIELD_MODE_MAP)
			item->sort = item->name;
		else if (row->mode == FIELD_MODE_SET ? !format->read_text(item->value, &item->sort)
						     : !element_key(split, row, item, &item->sort))
			return false;
	}
	return true;
}

static bool cut_entries(struct split *split, const struct field_layout *row,
			const struct item *field, struct place place)
{
	struct order how = {.format = split->format, .kind = ORDER_ENTRIES};
	struct bytes none = {0}, names;
	struct items items;
	bool recorded;

	if (!read_entries(split, row, field, &items))
		return false;
	if (!items.count)
		return add(split, place, PART_EMPTY, none, field->whole);
	if (!order_find(&split->work, &how, &items, &recorded, &names))
		return false;
	if (recorded &&
	    (row->mode == FIELD_MODE_MAP || !add(split, place, PART_ORDER, none, names)))
		return false; /* nobody writes maps like that */
	for (size_t i = 0; i < items.count; i++)
		if (!add(split, place, PART_ENTRY, items.list[i].sort, items.list[i].whole))
			return false;
	return true;
}

/* --- fields ----------------------------------------------------------------------------------- */

/* A field that is not cut further inside, or in entries. */
static bool cut_leaf(struct split *split, const struct field_layout *row, const struct item *field,
		     struct place place)
{
	size_t before = split->count;

	if (row && row->mode != FIELD_MODE_ONE && row->mode != FIELD_MODE_STRUCT) {
		if (cut_entries(split, row, field, place))
			return true;
		split->count = before;
	}
	return add(split, place, PART_WHOLE, bytes_of(NULL, 0), field->whole);
}

static bool name_inner(struct split *split, const struct field_layout *row, struct items *items)
{
	for (size_t i = 0; i < items->count; i++) {
		struct item *item = &items->list[i];

		item->sort = item->name;
		if (split->format->format == OBJECT_PROTO &&
		    !layout_inner_name(&split->work, row, item->number, &item->sort))
			return false;
	}
	return true;
}

static bool cut_inner(struct split *split, const struct field_layout *row, struct items *items,
		      struct bytes field)
{
	struct items rest = {0};
	struct bytes container;

	for (size_t i = 0; i < items->count; i++) {
		const struct item *item = &items->list[i];
		const struct field_layout *inner = layout_of_inner(row, item->sort);
		struct place place = {field, item->sort};

		if (!row->apart && !inner) {
			if (!items_add(&split->work, &rest, *item))
				return false;
			continue;
		}
		if (row->apart && bytes_equal(item->sort, BYTES_LITERAL("uid")) &&
		    !split->format->read_text(item->value, &split->uid))
			return false;
		if (!cut_leaf(split, inner, item, place))
			return false;
	}
	if (row->apart)
		return true;
	return put_in_arena(split, &rest, &container) &&
	       add(split, (struct place){field, {0}}, PART_REST, bytes_of(NULL, 0), container);
}

static bool cut_struct(struct split *split, const struct field_layout *row,
		       const struct item *field, struct bytes name)
{
	struct order how = {.format = split->format,
			    .kind = row->apart ? ORDER_METADATA : ORDER_FIELDS};
	struct place place = {.field = name};
	struct bytes names;
	struct items items;
	bool recorded;

	if (!split->format->read_fields(&split->work, field->value, &items) ||
	    !name_inner(split, row, &items) ||
	    !order_find(&split->work, &how, &items, &recorded, &names))
		return false;
	if (recorded && !add(split, place, PART_ORDER, bytes_of(NULL, 0), names))
		return false;
	return cut_inner(split, row, &items, name);
}

static bool cut_field(struct split *split, const struct item *field)
{
	const struct field_layout *row = layout_of_field(split->kind, field->sort);
	struct place place = {.field = field->sort};
	size_t before = split->count;

	if (row && row->mode == FIELD_MODE_STRUCT) {
		if (cut_struct(split, row, field, field->sort))
			return true;
		if (row->apart)
			return false; /* without metadata it is no object */
		split->count = before;
	}
	return cut_leaf(split, row, field, place);
}

/* --- objects ---------------------------------------------------------------------------------- */

static bool is_type_field(const struct split *split, struct bytes name)
{
	return split->format->format != OBJECT_PROTO &&
	       (bytes_equal(name, BYTES_LITERAL("apiVersion")) ||
		bytes_equal(name, BYTES_LITERAL("kind")));
}

static bool cut_top(struct split *split, struct bytes container)
{
	struct order how = {.format = split->format, .kind = ORDER_TOP};
	struct place top = {0};
	struct bytes names;
	struct items items;
	bool recorded;

	if (!split->format->read_fields(&split->work, container, &items))
		return false;
	for (size_t i = 0; i < items.count; i++) {
		items.list[i].sort = items.list[i].name;
		if (split->format->format == OBJECT_PROTO &&
		    !layout_name(&split->work, split->kind, items.list[i].number,
				 &items.list[i].sort))
			return false;
	}
	if (!order_find(&split->work, &how, &items, &recorded, &names))
		return false;
	if (recorded && !add(split, top, PART_ORDER, bytes_of(NULL, 0), names))
		return false;
	for (size_t i = 0; i < items.count; i++)
		if (!is_type_field(split, items.list[i].sort) && !cut_field(split, &items.list[i]))
			return false;
	return split->uid.size > 0;
}

static int compare_columns(const void *left, const void *right)
{
	const struct column *a = left, *b = right;

	return column_id_compare(&a->id, &b->id);
}

/* Whether the columns give the value back; sorts them. */
static bool proven(struct split *split, struct bytes value)
{
	struct bytes again;
	enum err e;

	qsort(split->columns, split->count, sizeof(*split->columns), compare_columns);
	e = object_splice(split->columns, split->count, split->work.arena, &again);
	if (e == ERR_NOMEM)
		split->fault = e;
	return !e && bytes_equal(value, again);
}

static bool cut(struct split *split, struct bytes value)
{
	struct bytes container;

	if (!type_find(&split->work, value, &split->type, &container))
		return false;
	split->format = format_of(split->type.known.format);
	split->kind = layout_of_kind(split->type.known.kind);
	return add(split, (struct place){0}, PART_TYPE, bytes_of(NULL, 0), split->type.column) &&
	       cut_top(split, container) && proven(split, value);
}

enum err object_split(struct bytes value, struct arena *arena, struct object *ret_object)
{
	struct split split = {.work = {.arena = arena}};

	if (!cut(&split, value) && !split.work.no_memory && !split.fault) {
		split = (struct split){.work = {.arena = arena}};
		type_opaque(&split.type);
		add(&split, (struct place){0}, PART_TYPE, bytes_of(NULL, 0), split.type.column);
		add(&split, (struct place){0}, PART_VALUE, bytes_of(NULL, 0), value);
		if (split.count == 2)
			qsort(split.columns, 2, sizeof(*split.columns), compare_columns);
	}
	if (split.fault)
		return split.fault;
	if (split.work.no_memory)
		return fault(ERR_NOMEM, "columns of a value of %zu bytes", value.size);
	*ret_object = (struct object){
		.format = split.type.known.format,
		.api_version = split.type.known.api_version,
		.kind = split.type.known.kind,
		.uid = split.uid,
		.columns = split.columns,
		.count = split.count,
	};
	return ERR_OK;
}
