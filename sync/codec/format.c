/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/format.h"

const struct format *format_of(enum object_format format)
{
	switch (format) {
	case OBJECT_PROTO:
		return &format_proto;
	case OBJECT_JSON:
		return &format_json;
	case OBJECT_CBOR:
		return &format_cbor;
	case OBJECT_OPAQUE:
		break;
	}
	return NULL;
}

bool items_add(struct work *work, struct items *items, struct item item)
{
	if (items->count == items->capacity) {
		size_t capacity = items->capacity ? items->capacity * 2 : 16;
		struct item *grown = arena_alloc(work->arena, capacity * sizeof(*grown));

		if (!grown) {
			work->no_memory = true;
			return false;
		}
		if (items->count)
			memcpy(grown, items->list, items->count * sizeof(*grown));
		items->list = grown;
		items->capacity = capacity;
	}
	items->list[items->count++] = item;
	return true;
}

int column_id_compare(const struct column_id *a, const struct column_id *b)
{
	int order = bytes_compare(a->field, b->field);

	if (!order)
		order = bytes_compare(a->sub, b->sub);
	if (!order)
		order = (int)a->part - (int)b->part;
	if (!order)
		order = bytes_compare(a->entry, b->entry);
	if (!order)
		order = a->layout < b->layout ? -1 : a->layout > b->layout;
	return order;
}

bool column_id_equal(const struct column_id *a, const struct column_id *b)
{
	return !column_id_compare(a, b);
}
