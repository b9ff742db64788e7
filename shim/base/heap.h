/* SPDX-License-Identifier: Apache-2.0 */
/* heap.h - an intrusive binary heap: the soonest of many is found at once.
 *
 * Ownership: a heap owns its array, not the nodes; a node sits in at most one heap.
 * Threads: whoever owns the heap.  Errors: heap_push() is false when memory is out.
 * Limits: none of its own. */
#ifndef SHIM_BASE_HEAP_H
#define SHIM_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>

struct heap_node {
	size_t at; /* its slot */
};

/* A strict order: true when a comes out before b. */
typedef bool heap_before_fn(const struct heap_node *a, const struct heap_node *b);

struct heap {
	struct heap_node **nodes;
	size_t count;
	size_t capacity;
	heap_before_fn *before;
};

void heap_init(struct heap *heap, heap_before_fn *before);
void heap_fini(struct heap *heap);

bool heap_push(struct heap *heap, struct heap_node *node);
void heap_remove(struct heap *heap, struct heap_node *node);
/* Called after what the order looks at has changed in the node. */
void heap_moved(struct heap *heap, struct heap_node *node);
struct heap_node *heap_first(const struct heap *heap); /* NULL when empty */

/* Calls fn for the nodes in order until it returns false; costs log(count) for each.  It needs no
 * memory because it rearranges the array on the way, so it is a change as far as threads are
 * concerned.  fn must leave the heap and the order alone. */
typedef bool heap_visit_fn(void *context, struct heap_node *node);
void heap_visit(const struct heap *heap, heap_visit_fn *fn, void *context);

#endif
