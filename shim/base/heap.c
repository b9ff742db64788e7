/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/heap.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_CAPACITY_FIRST 16

void heap_init(struct heap *heap, heap_before_fn *before)
{
	*heap = (struct heap){.before = before};
}

void heap_fini(struct heap *heap)
{
	free(heap->nodes);
	heap_init(heap, heap->before);
}

static void node_put(const struct heap *heap, size_t at, struct heap_node *node)
{
	heap->nodes[at] = node;
	node->at = at;
}

static void node_rise(const struct heap *heap, struct heap_node *node)
{
	size_t at = node->at;

	while (at > 0) {
		size_t parent = (at - 1) / 2;

		if (!heap->before(node, heap->nodes[parent]))
			break;
		node_put(heap, at, heap->nodes[parent]);
		at = parent;
	}
	node_put(heap, at, node);
}

/* count: how many slots take part, which heap_visit() makes fewer than there are. */
static void node_sink(const struct heap *heap, size_t count, struct heap_node *node)
{
	size_t at = node->at;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= count)
			break;
		if (child + 1 < count && heap->before(heap->nodes[child + 1], heap->nodes[child]))
			child++;
		if (!heap->before(heap->nodes[child], node))
			break;
		node_put(heap, at, heap->nodes[child]);
		at = child;
	}
	node_put(heap, at, node);
}

static bool heap_grow(struct heap *heap)
{
	size_t capacity = heap->capacity ? heap->capacity * 2 : HEAP_CAPACITY_FIRST;
	struct heap_node **nodes;

	if (capacity > SIZE_MAX / sizeof(struct heap_node *))
		return false;
	nodes = realloc(heap->nodes, capacity * sizeof(struct heap_node *));
	if (!nodes)
		return false;
	heap->nodes = nodes;
	heap->capacity = capacity;
	return true;
}

bool heap_push(struct heap *heap, struct heap_node *node)
{
	if (heap->count == heap->capacity && !heap_grow(heap))
		return false;
	node_put(heap, heap->count++, node);
	node_rise(heap, node);
	return true;
}

void heap_moved(struct heap *heap, struct heap_node *node)
{
	assert(node->at < heap->count && heap->nodes[node->at] == node);
	node_rise(heap, node);
	node_sink(heap, heap->count, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
	size_t at = node->at;
	struct heap_node *last;

	assert(at < heap->count && heap->nodes[at] == node);
	last = heap->nodes[--heap->count];
	if (last == node)
		return;
	node_put(heap, at, last);
	heap_moved(heap, last);
}

struct heap_node *heap_first(const struct heap *heap)
{
	return heap->count ? heap->nodes[0] : NULL;
}

/* Visited nodes are parked behind the shrunken heap, then taken in again. */
void heap_visit(const struct heap *heap, heap_visit_fn *fn, void *context)
{
	size_t count = heap->count;
	bool more = true;

	while (more && count) {
		struct heap_node *first = heap->nodes[0];
		struct heap_node *last = heap->nodes[--count];

		more = fn(context, first);
		node_put(heap, 0, last);
		node_put(heap, count, first);
		if (count)
			node_sink(heap, count, last);
	}
	for (; count < heap->count; count++)
		node_rise(heap, heap->nodes[count]);
}
