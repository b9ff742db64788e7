/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/index_pool.h"

#include <stdlib.h>
#include <string.h>

struct pool_chunk {
	struct pool_chunk *next;
	uint64_t space[];
};

struct pool_piece {
	struct pool_piece *next;
};

static size_t size_rounded(size_t size)
{
	return (size + POOL_GRAIN_BYTES - 1) & ~(size_t)(POOL_GRAIN_BYTES - 1);
}

void pool_init(struct pool *pool)
{
	memset(pool, 0, sizeof(*pool));
}

void pool_fini(struct pool *pool)
{
	while (pool->chunks) {
		struct pool_chunk *chunk = pool->chunks;

		pool->chunks = chunk->next;
		free(chunk);
	}
	pool_init(pool);
}

/* The rest of the old chunk is kept as a free piece, so that no byte of it is lost. */
static void fresh_retire(struct pool *pool)
{
	size_t size = pool->fresh_bytes;

	if (size >= sizeof(struct pool_piece) && size <= POOL_PIECE_BYTES_MAX) {
		struct pool_piece *piece = (struct pool_piece *)(void *)pool->fresh;

		piece->next = pool->free[size / POOL_GRAIN_BYTES];
		pool->free[size / POOL_GRAIN_BYTES] = piece;
	}
	pool->fresh_bytes = 0;
}

static int chunk_add(struct pool *pool)
{
	struct pool_chunk *chunk = malloc(POOL_CHUNK_BYTES);

	if (!chunk)
		return -1;
	fresh_retire(pool);
	chunk->next = pool->chunks;
	pool->chunks = chunk;
	pool->fresh = (uint8_t *)chunk->space;
	pool->fresh_bytes = POOL_CHUNK_BYTES - sizeof(*chunk);
	pool->held_bytes += POOL_CHUNK_BYTES;
	return 0;
}

void *pool_alloc(struct pool *pool, size_t size)
{
	size_t rounded = size_rounded(size ? size : 1);
	struct pool_piece *piece;

	if (size > POOL_PIECE_BYTES_MAX) {
		void *big = malloc(size);

		pool->held_bytes += big ? size : 0;
		return big;
	}
	piece = pool->free[rounded / POOL_GRAIN_BYTES];
	if (piece) {
		pool->free[rounded / POOL_GRAIN_BYTES] = piece->next;
		return piece;
	}
	if (pool->fresh_bytes < rounded && chunk_add(pool) < 0)
		return NULL;
	piece = (struct pool_piece *)(void *)pool->fresh;
	pool->fresh += rounded;
	pool->fresh_bytes -= rounded;
	return piece;
}

void pool_free(struct pool *pool, void *memory, size_t size)
{
	size_t rounded = size_rounded(size ? size : 1);
	struct pool_piece *piece = memory;

	if (size > POOL_PIECE_BYTES_MAX) {
		pool->held_bytes -= size;
		free(memory);
		return;
	}
	piece->next = pool->free[rounded / POOL_GRAIN_BYTES];
	pool->free[rounded / POOL_GRAIN_BYTES] = piece;
}
