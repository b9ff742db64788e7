/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/pin.h"

#include <assert.h>

void pins_init(struct pins *pins, int64_t compacted)
{
	pthread_mutex_init(&pins->lock, NULL);
	list_init(&pins->all);
	atomic_init(&pins->compacted, compacted);
}

void pins_fini(struct pins *pins)
{
	assert(list_is_empty(&pins->all));
	pthread_mutex_destroy(&pins->lock);
}

enum err pins_hold(struct pins *pins, struct pin *pin, int64_t pin_revision, int64_t needs_revision)
{
	enum err e = ERR_OK;

	pthread_mutex_lock(&pins->lock);
	if (needs_revision < atomic_load_explicit(&pins->compacted, memory_order_relaxed)) {
		e = ERR_COMPACTED;
	} else {
		pin->revision = pin_revision;
		list_append(&pins->all, &pin->node);
	}
	pthread_mutex_unlock(&pins->lock);
	return e;
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

int64_t pins_floor(struct pins *pins)
{
	int64_t lowest;

	pthread_mutex_lock(&pins->lock);
	lowest = atomic_load_explicit(&pins->compacted, memory_order_relaxed);
	list_for_each (node, &pins->all) {
		const struct pin *pin = container_of(node, struct pin, node);

		if (pin->revision < lowest)
			lowest = pin->revision;
	}
	pthread_mutex_unlock(&pins->lock);
	return lowest;
}
