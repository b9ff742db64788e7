/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/queue.h"

#include <assert.h>
#include <stdlib.h>

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->number < b->number;
}

void queue_fini(struct queue *queue)
{
	free(queue->heap);
	*queue = (struct queue){0};
}

void queue_put(struct queue *queue, struct sim_event event)
{
	size_t at = queue->count++;

	if (queue->count > queue->capacity) {
		queue->capacity = queue->capacity ? 2 * queue->capacity : 64;
		queue->heap = realloc(queue->heap, queue->capacity * sizeof(*queue->heap));
		assert(queue->heap);
	}
	event.number = queue->next_number++;
	for (; at && before(&event, &queue->heap[(at - 1) / 2]); at = (at - 1) / 2)
		queue->heap[at] = queue->heap[(at - 1) / 2];
	queue->heap[at] = event;
}

const struct sim_event *queue_first(const struct queue *queue)
{
	return queue->count ? &queue->heap[0] : NULL;
}

struct sim_event queue_take(struct queue *queue)
{
	struct sim_event first = queue->heap[0], last;
	size_t at = 0;

	assert(queue->count);
	last = queue->heap[--queue->count];
	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= queue->count)
			break;
		child += child + 1 < queue->count &&
			 before(&queue->heap[child + 1], &queue->heap[child]);
		if (!before(&queue->heap[child], &last))
			break;
		queue->heap[at] = queue->heap[child];
		at = child;
	}
	queue->heap[at] = last;
	return first;
}
