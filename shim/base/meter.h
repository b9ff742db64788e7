/* SPDX-License-Identifier: Apache-2.0 */
/* meter.h - bytes that many objects hold together, counted from any thread.
 *
 * Only counts: who adds looks at the sum and decides. */
#ifndef SHIM_BASE_METER_H
#define SHIM_BASE_METER_H

#include <stdatomic.h>
#include <stddef.h>

struct meter {
	_Atomic size_t bytes;
};

static inline void meter_add(struct meter *meter, size_t bytes)
{
	atomic_fetch_add_explicit(&meter->bytes, bytes, memory_order_relaxed);
}

static inline void meter_sub(struct meter *meter, size_t bytes)
{
	atomic_fetch_sub_explicit(&meter->bytes, bytes, memory_order_relaxed);
}

static inline size_t meter_bytes(const struct meter *meter)
{
	return atomic_load_explicit(&meter->bytes, memory_order_relaxed);
}

#endif
