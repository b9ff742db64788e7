/* SPDX-License-Identifier: Apache-2.0 */
/* value_cache.h - values that were written or read lately, by row number, and metas that were
 * written lately, by ~row number: where sync is on each write begins with the row before it.
 *
 * A commit throws away what every other connection of SQLite has cached, and most reads ask for
 * what was just written: an update's previous value, an object's newest one, a list of them.  Rows
 * are immutable, so what is here never becomes wrong; rows that a sweep removes fade out.
 *
 * Ownership: the cache copies in and copies out.
 * Threads: all functions from any thread; each part of the cache has a lock of its own, a leaf.
 * Errors: none; without memory a value is just not kept.
 * Limits: bytes_max over all parts, with what the entries themselves take; a value larger than one
 * part is not kept.  Eviction is second chance: the oldest that nobody asked for since goes. */
#ifndef SHIM_STORE_VALUE_CACHE_H
#define SHIM_STORE_VALUE_CACHE_H

#include "shim/base/arena.h"
#include "shim/base/err.h"

struct value_cache;

struct value_cache_stats {
	uint64_t bytes;
	uint64_t hits;
	uint64_t misses;
};

enum err value_cache_new(size_t bytes_max, struct value_cache **ret_cache);
void value_cache_free(struct value_cache *cache);

/* Copies the row's value into room; false when it is not there with exactly this size. */
bool value_cache_get(struct value_cache *cache, int64_t row, size_t value_bytes, uint8_t *room);
/* Copies what is there, of whatever size, into the arena; false when nothing is, or no memory. */
bool value_cache_copy(struct value_cache *cache, int64_t row, struct arena *arena,
		      struct bytes *ret_value);
/* Only for committed rows: a row number that a failed commit had used comes again. */
void value_cache_put(struct value_cache *cache, int64_t row, struct bytes value);

struct value_cache_stats value_cache_stats(struct value_cache *cache);

#endif
