/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/pin.h"

#include <assert.h>

void pins_init(struct pins *pins, int64_t compacted)
{
	pthread_mutex_init(&pins->lock, NULL);
	list_init(&pins->all);
	atomic_init(&pins->compacted, compacted);
	atomic_init(&pins->swept, NEVER_COMPACTED);
	pins->sweep_max = INT64_MAX;
}

void pins_fini(struct pins *pins)
{
	assert(list_is_empty(&pins->all));
	pthread_mutex_destroy(&pins->lock);
}

/* Takes the pin unless the revision that is needed lies below `bound`. */
static enum err hold(struct pins *pins, struct pin *pin, int64_t needs_revision,
		     const _Atomic int64_t *bound)
{
	enum err e = ERR_OK;

	pthread_mutex_lock(&pins->lock);
	if (needs_revision < atomic_load_explicit(bound, memory_order_relaxed))
		e = ERR_COMPACTED;
	else
		list_append(&pins->all, &pin->node);
	pthread_mutex_unlock(&pins->lock);
	return e;
}

enum err pins_hold(struct pins *pins, struct pin *pin, int64_t pin_revision, int64_t needs_revision)
{
	pin->revision = pin_revision;
	return hold(pins, pin, needs_revision, &pins->compacted);
}

enum err pins_hold_log(struct pins *pins, struct pin *pin, int64_t revision)
{
	pin->revision = revision;
	return hold(pins, pin, revision, &pins->swept);
}

void pins_add(struct pins *pins, struct pin *pin, int64_t revision)
{
	pin->revision = revision;
	pthread_mutex_lock(&pins->lock);
	list_append(&pins->all, &pin->node);
	pthread_mutex_unlock(&pins->lock);
}

void pins_release(struct pins *pins, struct pin *pin)
{
	pthread_mutex_lock(&pins->lock);
	list_remove(&pin->node);
	pthread_mutex_unlock(&pins->lock);
}

void pins_compact(struct pins *pins, int64_t revision)
{
	pthread_mutex_lock(&pins->lock);
	assert(revision > atomic_load_explicit(&pins->compacted, memory_order_relaxed));
	atomic_store_explicit(&pins->compacted, revision, memory_order_release);
	pthread_mutex_unlock(&pins->lock);
}

void pins_bound_sweep(struct pins *pins, int64_t revision)
{
	pthread_mutex_lock(&pins->lock);
	pins->sweep_max = revision;
	pthread_mutex_unlock(&pins->lock);
}

/* Under the lock. */
static int64_t lowest(const struct pins *pins)
{
	int64_t least = atomic_load_explicit(&pins->compacted, memory_order_relaxed);

	if (pins->sweep_max < least)
		least = pins->sweep_max;
	list_for_each (node, &pins->all) {
		const struct pin *pin = container_of(node, struct pin, node);

		if (pin->revision < least)
			least = pin->revision;
	}
	return least;
}

int64_t pins_floor(struct pins *pins)
{
	int64_t floor;

	pthread_mutex_lock(&pins->lock);
	floor = lowest(pins);
	pthread_mutex_unlock(&pins->lock);
	return floor;
}

int64_t pins_begin_sweep(struct pins *pins)
{
	int64_t floor;

	pthread_mutex_lock(&pins->lock);
	floor = lowest(pins);
	if (floor > atomic_load_explicit(&pins->swept, memory_order_relaxed))
		atomic_store_explicit(&pins->swept, floor, memory_order_release);
	pthread_mutex_unlock(&pins->lock);
	return floor;
}
