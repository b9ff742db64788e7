/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>

#define BLOCK_BYTES_MIN 2048

struct arena_block {
	struct arena_block *next;
	size_t size;
	size_t used;
	alignas(max_align_t) uint8_t data[];
};

void arena_init(struct arena *arena, size_t bytes_max)
{
	*arena = (struct arena){.bytes_max = bytes_max};
}

void arena_fini(struct arena *arena)
{
	struct arena_block *block = arena->blocks;

	while (block) {
		struct arena_block *next = block->next;

		if (arena->meter)
			meter_sub(arena->meter, block->size);
		free(block);
		block = next;
	}
	arena->blocks = NULL;
	arena->used_bytes = 0;
}

/* A request larger than what is usual gets a block of its own size, placed behind the current one
 * so that the current one's room is not lost. */
static void *arena_grow(struct arena *arena, size_t size)
{
	size_t block_size = size > BLOCK_BYTES_MIN ? size : BLOCK_BYTES_MIN;
	struct arena_block *block = malloc(sizeof *block + block_size);

	if (!block)
		return NULL;
	block->size = block_size;
	if (arena->meter)
		meter_add(arena->meter, block_size);
	block->used = size;
	if (arena->blocks && size > BLOCK_BYTES_MIN / 2) {
		block->next = arena->blocks->next;
		arena->blocks->next = block;
	} else {
		block->next = arena->blocks;
		arena->blocks = block;
	}
	return block->data;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	const size_t align = alignof(max_align_t);
	struct arena_block *block = arena->blocks;
	void *memory;

	if (size > arena->bytes_max || arena->used_bytes > arena->bytes_max - size)
		return NULL;
	size = (size + align - 1) & ~(align - 1);
	if (!size)
		size = align;
	if (block && block->size - block->used >= size) {
		memory = block->data + block->used;
		block->used += size;
	} else {
		memory = arena_grow(arena, size);
	}
	if (memory)
		arena->used_bytes += size;
	return memory;
}

void *arena_calloc(struct arena *arena, size_t count, size_t size)
{
	size_t total;
	void *memory;

	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	memory = arena_alloc(arena, total);
	if (memory)
		memset(memory, 0, total);
	return memory;
}

bool arena_copy(struct arena *arena, struct bytes source, struct bytes *ret_copy)
{
	uint8_t *memory;

	if (!source.size) {
		*ret_copy = bytes_of(NULL, 0);
		return true;
	}
	memory = arena_alloc(arena, source.size);
	if (!memory)
		return false;
	memcpy(memory, source.data, source.size);
	*ret_copy = bytes_of(memory, source.size);
	return true;
}
