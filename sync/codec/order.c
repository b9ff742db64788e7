/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/order.h"

#include "sync/codec/layout.h"
#include "sync/limits.h"

#include <stdlib.h>

struct ranked {
	struct item item;
	uint64_t rank;
	const struct order *how;
};

static int compare_usual(const struct order *how, const struct item *a, const struct item *b)
{
	if (how->kind == ORDER_ENTRIES)
		return how->format->compare_names(a->sort, b->sort);
	return how->format->compare_fields(a, b);
}

static int compare_ranked(const void *left, const void *right)
{
	const struct ranked *a = left, *b = right;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return compare_usual(a->how, &a->item, &b->item);
}

static struct ranked *ranked_new(struct work *work, const struct order *how,
				 const struct items *items)
{
	struct ranked *list = arena_alloc(work->arena, (items->count + 1) * sizeof(*list));

	if (!list) {
		work->no_memory = true;
		return NULL;
	}
	for (size_t i = 0; i < items->count; i++)
		list[i] = (struct ranked){.item = items->list[i], .how = how};
	return list;
}

static bool in_order(const struct ranked *list, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (compare_ranked(&list[i - 1], &list[i]) >= 0)
			return false;
	return true;
}

/* Nearly always; so it costs no memory. */
static bool in_usual_order(const struct order *how, const struct items *items)
{
	for (size_t i = 1; i < items->count; i++)
		if (compare_usual(how, &items->list[i - 1], &items->list[i]) >= 0)
			return false;
	return true;
}

static void rank_as_go(const struct order *how, struct ranked *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		list[i].rank = layout_go_rank(how->kind == ORDER_METADATA, list[i].item.sort);
}

static bool may_be_go(const struct order *how)
{
	return how->format->format == OBJECT_JSON &&
	       (how->kind == ORDER_METADATA || how->kind == ORDER_TOP);
}

static bool names_of(struct work *work, const struct items *items, struct bytes *ret_names)
{
	struct buffer buffer = BUFFER_INIT(CALL_ARENA_BYTES_MAX);
	bool ok = true;

	for (size_t i = 0; i < items->count && ok; i++)
		ok = wire_put_bytes(&buffer, items->list[i].sort);
	ok = ok && arena_copy(work->arena, buffer_bytes(&buffer), ret_names);
	buffer_fini(&buffer);
	work->no_memory |= !ok;
	return ok;
}

bool order_find(struct work *work, const struct order *how, const struct items *items,
		bool *ret_recorded, struct bytes *ret_names)
{
	struct ranked *list;

	*ret_names = bytes_of(NULL, 0);
	*ret_recorded = !in_usual_order(how, items);
	if (!*ret_recorded)
		return true;
	list = ranked_new(work, how, items);
	if (!list)
		return false;
	if (may_be_go(how)) {
		rank_as_go(how, list, items->count);
		if (in_order(list, items->count))
			return true;
		for (size_t i = 0; i < items->count; i++)
			list[i].rank = 0;
	}
	qsort(list, items->count, sizeof(*list), compare_ranked);
	return in_order(list, items->count) && names_of(work, items, ret_names);
}

struct named {
	struct bytes name;
	uint64_t rank;
};

static int compare_named(const void *left, const void *right)
{
	const struct named *a = left, *b = right;

	return bytes_compare(a->name, b->name);
}

static bool rank_as_named(struct work *work, const struct order *how, struct ranked *list,
			  size_t count)
{
	struct wire wire = wire_of(how->names);
	struct bytes name;
	size_t named_count = 0;
	struct named *named;

	while (wire_left(&wire)) {
		if (!wire_take_bytes(&wire, wire_left(&wire), &name))
			return false;
		named_count++;
	}
	named = arena_alloc(work->arena, (named_count + 1) * sizeof(*named));
	if (!named) {
		work->no_memory = true;
		return false;
	}
	wire = wire_of(how->names);
	for (size_t i = 0; i < named_count; i++) {
		if (!wire_take_bytes(&wire, wire_left(&wire), &name))
			return false;
		named[i] = (struct named){name, i};
	}
	qsort(named, named_count, sizeof(*named), compare_named);
	for (size_t i = 0; i < count; i++) {
		struct named wanted = {.name = list[i].item.sort};
		const struct named *found =
			bsearch(&wanted, named, named_count, sizeof(*named), compare_named);

		list[i].rank = found ? found->rank : named_count;
	}
	return true;
}

/* Takes from the fixed and the sorted ones whichever comes first. */
static void join(const struct ranked *list, size_t count, size_t fixed, struct items *items)
{
	size_t i = 0, j = fixed;

	for (size_t at = 0; at < count; at++)
		if (i == fixed || (j < count && compare_ranked(&list[j], &list[i]) < 0))
			items->list[at] = list[j++].item;
		else
			items->list[at] = list[i++].item;
}

bool order_apply(struct work *work, const struct order *how, struct items *items, size_t fixed)
{
	struct ranked *list;

	if (!how->recorded && in_usual_order(how, items))
		return true;
	list = ranked_new(work, how, items);
	if (!list)
		return false;
	if (how->recorded && !how->names.size)
		rank_as_go(how, list, items->count);
	else if (how->recorded && !rank_as_named(work, how, list, items->count))
		return false;
	qsort(list + fixed, items->count - fixed, sizeof(*list), compare_ranked);
	join(list, items->count, fixed, items);
	return true;
}
