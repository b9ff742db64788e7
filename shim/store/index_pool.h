/* SPDX-License-Identifier: Apache-2.0 */
/* index_pool.h - memory for the small objects of the index, without a header per object.
 *
 * malloc costs 8 bytes of header and rounds up to 16; with a key of 45 bytes that is a sixth of
 * what the index needs.  Pieces are cut from chunks; freed ones wait for another of their size.
 * Ownership: pool_fini() frees everything.  Chunks are not given back before that.
 * Threads: none of its own.  Errors: pool_alloc() gives NULL when memory is out.
 * Limits: none; sizes above POOL_PIECE_BYTES_MAX go to malloc. */
#ifndef SHIM_STORE_INDEX_POOL_H
#define SHIM_STORE_INDEX_POOL_H

#include <stddef.h>
#include <stdint.h>

#define POOL_GRAIN_BYTES 8	 /* sizes are rounded up to this; also the alignment */
#define POOL_PIECE_BYTES_MAX 512 /* rarer, bigger pieces are not worth a free list */
#define POOL_CHUNK_BYTES 32768	 /* small enough not to burden an empty store */

struct pool_chunk;
struct pool_piece;

struct pool {
	struct pool_chunk *chunks;
	uint8_t *fresh; /* the uncut rest of the newest chunk */
	size_t fresh_bytes;
	struct pool_piece *free[POOL_PIECE_BYTES_MAX / POOL_GRAIN_BYTES + 1]; /* by size */
	size_t held_bytes;
};

void pool_init(struct pool *pool);
void pool_fini(struct pool *pool);

/* Pieces bigger than POOL_PIECE_BYTES_MAX must be freed before pool_fini(). */
void *pool_alloc(struct pool *pool, size_t size);
void pool_free(struct pool *pool, void *piece, size_t size); /* size as asked for */

#endif
