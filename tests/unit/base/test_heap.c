/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define ITEMS 300

struct item {
	struct heap_node node; /* first, so that a cast leads back */
	uint32_t rank;
	uint32_t number; /* breaks ties, so that the order is known */
	bool inside;
};

static struct item *item_of(struct heap_node *node)
{
	return (struct item *)(void *)node;
}

static bool item_before(const struct heap_node *a, const struct heap_node *b)
{
	const struct item *left = (const struct item *)(const void *)a;
	const struct item *right = (const struct item *)(const void *)b;

	return left->rank != right->rank ? left->rank < right->rank : left->number < right->number;
}

static int item_order(const void *a, const void *b)
{
	const struct item *left = *(struct item *const *)a;
	const struct item *right = *(struct item *const *)b;

	return item_before(&left->node, &right->node) ? -1 : 1;
}

struct visit {
	struct item *seen[ITEMS];
	size_t count;
	size_t stop_after;
};

static bool visit_one(void *context, struct heap_node *node)
{
	struct visit *visit = context;

	visit->seen[visit->count++] = item_of(node);
	return visit->count != visit->stop_after;
}

static void check(struct heap *heap, struct item *items, size_t stop_after)
{
	struct visit visit = {.stop_after = stop_after};
	struct item *expected[ITEMS];
	size_t count = 0;

	for (size_t i = 0; i < ITEMS; i++) {
		if (items[i].inside)
			expected[count++] = &items[i];
	}
	assert_int_equal(heap->count, count);
	if (!count) {
		assert_null(heap_first(heap));
		return;
	}
	qsort(expected, count, sizeof(expected[0]), item_order);
	heap_visit(heap, visit_one, &visit);
	assert_int_equal(visit.count, stop_after && stop_after < count ? stop_after : count);
	for (size_t i = 0; i < visit.count; i++)
		assert_ptr_equal(visit.seen[i], expected[i]);
	assert_ptr_equal(item_of(heap_first(heap)), expected[0]);
	for (size_t i = 0; i < heap->count; i++)
		assert_int_equal(heap->nodes[i]->at, i);
}

static void random_changes_keep_the_order(void **state)
{
	static struct item items[ITEMS];
	uint32_t random = 12345;
	struct heap heap;

	(void)state;
	heap_init(&heap, item_before);
	for (uint32_t i = 0; i < ITEMS; i++)
		items[i] = (struct item){.number = i};
	for (int step = 0; step < 20000; step++) {
		struct item *item;

		random = random * 1664525u + 1013904223u;
		item = &items[(random >> 8) % ITEMS];
		if (!item->inside) {
			item->rank = random >> 24;
			assert_true(heap_push(&heap, &item->node));
			item->inside = true;
		} else if (random >> 31) {
			item->rank = random >> 23 & 0xff;
			heap_moved(&heap, &item->node);
		} else {
			heap_remove(&heap, &item->node);
			item->inside = false;
		}
		if (step % 16 == 0)
			check(&heap, items, step % 5 ? (size_t)step % 40 : 0);
	}
	for (uint32_t i = 0; i < ITEMS; i++) {
		if (items[i].inside)
			heap_remove(&heap, &items[i].node);
		items[i].inside = false;
	}
	check(&heap, items, 0);
	heap_fini(&heap);
}

static void an_empty_heap_answers(void **state)
{
	struct visit visit = {0};
	struct heap heap;

	(void)state;
	heap_init(&heap, item_before);
	assert_null(heap_first(&heap));
	heap_visit(&heap, visit_one, &visit);
	assert_int_equal(visit.count, 0);
	heap_fini(&heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_changes_keep_the_order),
		cmocka_unit_test(an_empty_heap_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
