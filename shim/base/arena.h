/* SPDX-License-Identifier: Apache-2.0 */
/* arena.h - memory with a limit that dies together.
 *
 * Ownership: everything taken from an arena belongs to it and is freed by arena_fini().
 * Threads: one at a time; passing the arena's owner to another thread passes the arena.
 * Errors: arena_alloc() gives NULL when memory is out or bytes_max would be passed.
 * Limits: bytes_max, set at birth, counts what was asked for; a meter, where there is one, counts
 * the blocks of many arenas together. */
#ifndef SHIM_BASE_ARENA_H
#define SHIM_BASE_ARENA_H

#include "shim/base/bytes.h"
#include "shim/base/meter.h"

struct arena_block;

struct arena {
	struct arena_block *blocks;
	size_t used_bytes; /* asked for so far */
	size_t bytes_max;
	struct meter *meter; /* or NULL; outlives the arena */
};

void arena_init(struct arena *arena, size_t bytes_max);
void arena_fini(struct arena *arena);

/* Aligned for any object, not zeroed. */
void *arena_alloc(struct arena *arena, size_t size);
/* Zeroed; checks count * size for overflow. */
void *arena_calloc(struct arena *arena, size_t count, size_t size);
/* A private copy of the slice; ret_copy gets {NULL, 0} for an empty one. */
bool arena_copy(struct arena *arena, struct bytes source, struct bytes *ret_copy);

#define arena_new(arena, type) ((type *)arena_calloc((arena), 1, sizeof(type)))

#endif
