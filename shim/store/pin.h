/* SPDX-License-Identifier: Apache-2.0 */
/* pin.h - revisions that readers still need, and the compaction revision they are checked against.
 *
 * Ownership: a pin lives in the object that holds it.
 * Threads: any; one lock, a leaf.
 * Rule: a pin is taken under the same lock under which the compaction revision moves.  So a reader
 * that found its revision not compacted keeps all rows needed at it until it lets go: the sweep
 * never goes above the lowest pin nor above the compaction revision.  The same holds for who reads
 * the log itself, which begins where the sweep has been: the sweep claims its target under the lock
 * before it takes the first row. */
#ifndef SHIM_STORE_PIN_H
#define SHIM_STORE_PIN_H

#include "shim/base/err.h"
#include "shim/base/list.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define NEVER_COMPACTED (-1) /* etcd's compact revision before the first compaction */

struct pins {
	pthread_mutex_t lock;
	struct list all;	   /* under lock */
	_Atomic int64_t compacted; /* changes under lock */
	_Atomic int64_t swept;	   /* ... too: rows above it are all there */
	int64_t sweep_max;	   /* under lock: the sweep goes no higher */
};

struct pin {
	struct list node;
	int64_t revision;
};

void pins_init(struct pins *pins, int64_t compacted);
void pins_fini(struct pins *pins); /* no pin may be left */

/* COMPACTED when needs_revision is below the compaction revision; else holds pin->revision. */
enum err pins_hold(struct pins *pins, struct pin *pin, int64_t pin_revision,
		   int64_t needs_revision);
/* Without a check: the caller knows that the rows are there (the writer, for its own commit). */
void pins_add(struct pins *pins, struct pin *pin, int64_t revision);
/* Holds all rows above `revision`, and those needed at it; COMPACTED when the sweep may have been
 * there. */
enum err pins_hold_log(struct pins *pins, struct pin *pin, int64_t revision);
void pins_release(struct pins *pins, struct pin *pin);

void pins_compact(struct pins *pins, int64_t revision);
/* No sweep above `revision` that has not begun; INT64_MAX: no such bound. */
void pins_bound_sweep(struct pins *pins, int64_t revision);
/* The highest revision that a sweep may use. */
int64_t pins_floor(struct pins *pins);
/* The same, for a sweep that begins now: from here on that revision counts as swept. */
int64_t pins_begin_sweep(struct pins *pins);

#endif
