/* SPDX-License-Identifier: Apache-2.0 */
/* queue.h - what is to happen, in the order of simulated time; what is due at
 * one millisecond happens in the order in which it was put in.
 *
 * Ownership: zeroed memory .. queue_fini; an event's data is its maker's. */
#ifndef TESTS_SIM_QUEUE_H
#define TESTS_SIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum event_kind {
	EVENT_DELIVER, /* data: struct parcel */
	EVENT_TURN,    /* a site's disk has time for what waits */
	EVENT_TICK,
	EVENT_CONNECT, /* a link is tried */
	EVENT_STALLED, /* a link that carries nothing one way is given up */
	EVENT_RETRY,   /* data: a client tries again */
};

struct sim_event {
	int64_t at_ms;
	uint64_t number;
	enum event_kind kind;
	unsigned target; /* a site or a link */
	uint64_t life;	 /* what it was meant for; a later life ignores it */
	void *data;
};

struct queue {
	struct sim_event *heap;
	size_t count;
	size_t capacity;
	uint64_t next_number;
};

void queue_fini(struct queue *queue);
void queue_put(struct queue *queue, struct sim_event event);
const struct sim_event *queue_first(const struct queue *queue); /* NULL: nothing is to happen */
struct sim_event queue_take(struct queue *queue);

#endif
