/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/value_cache.h"

#include "shim/base/list.h"

#include <pthread.h>
#include <stdlib.h>

#define PARTS 8
#define BYTES_PER_BUCKET 1024	  /* of what a part may hold */
#define ALLOCATOR_BYTES 16	  /* what malloc adds to an entry */
#define MIX 0x9e3779b97f4a7c15ULL /* 2^64 / golden ratio: spreads neighbouring rows */

struct entry {
	struct list node;   /* part->entries, oldest first */
	struct entry *next; /* in its bucket */
	int64_t row;
	size_t bytes;
	bool is_used; /* asked for since it came, or since it was spared */
	uint8_t value[];
};

struct part {
	pthread_mutex_t lock; /* guards all below */
	struct list entries;
	struct entry **buckets;
	size_t bytes;
	uint64_t hits;
	uint64_t misses;
};

struct value_cache {
	size_t part_bytes_max;
	size_t bucket_mask;
	struct part parts[PARTS];
};

static uint64_t hash_of(int64_t row)
{
	return (uint64_t)row * MIX;
}

static struct part *part_of(struct value_cache *cache, int64_t row)
{
	return &cache->parts[hash_of(row) >> 61];
}

static struct entry **bucket_of(const struct value_cache *cache, struct part *part, int64_t row)
{
	return &part->buckets[hash_of(row) >> 32 & cache->bucket_mask];
}

static size_t cost(size_t value_bytes)
{
	return sizeof(struct entry) + ALLOCATOR_BYTES + value_bytes;
}

static struct entry *find(struct entry *first, int64_t row)
{
	while (first && first->row != row)
		first = first->next;
	return first;
}

bool value_cache_get(struct value_cache *cache, int64_t row, size_t value_bytes, uint8_t *room)
{
	struct part *part = part_of(cache, row);
	struct entry *entry;
	bool found;

	pthread_mutex_lock(&part->lock);
	entry = find(*bucket_of(cache, part, row), row);
	found = entry && entry->bytes == value_bytes;
	if (found) {
		entry->is_used = true;
		memcpy(room, entry->value, value_bytes);
		part->hits++;
	} else {
		part->misses++;
	}
	pthread_mutex_unlock(&part->lock);
	return found;
}

bool value_cache_copy(struct value_cache *cache, int64_t row, struct arena *arena,
		      struct bytes *ret_value)
{
	struct part *part = part_of(cache, row);
	struct entry *entry;
	bool found;

	pthread_mutex_lock(&part->lock);
	entry = find(*bucket_of(cache, part, row), row);
	found = entry && arena_copy(arena, bytes_of(entry->value, entry->bytes), ret_value);
	if (found)
		entry->is_used = true;
	part->hits += found;
	part->misses += !found;
	pthread_mutex_unlock(&part->lock);
	return found;
}

static void evict(struct value_cache *cache, struct part *part, struct entry *entry)
{
	struct entry **link = bucket_of(cache, part, entry->row);

	while (*link != entry)
		link = &(*link)->next;
	*link = entry->next;
	list_remove(&entry->node);
	part->bytes -= cost(entry->bytes);
	free(entry);
}

/* Ends, because each entry is spared once at the most. */
static void make_room(struct value_cache *cache, struct part *part, size_t bytes)
{
	while (part->bytes + bytes > cache->part_bytes_max) {
		struct entry *oldest = container_of(part->entries.next, struct entry, node);

		if (!oldest->is_used) {
			evict(cache, part, oldest);
			continue;
		}
		oldest->is_used = false;
		list_remove(&oldest->node);
		list_append(&part->entries, &oldest->node);
	}
}

void value_cache_put(struct value_cache *cache, int64_t row, struct bytes value)
{
	struct part *part = part_of(cache, row);
	struct entry **bucket, *entry;

	if (!value.size || cost(value.size) > cache->part_bytes_max)
		return;
	entry = malloc(sizeof(*entry) + value.size);
	if (!entry)
		return;
	*entry = (struct entry){.row = row, .bytes = value.size};
	memcpy(entry->value, value.data, value.size);
	pthread_mutex_lock(&part->lock);
	bucket = bucket_of(cache, part, row);
	if (find(*bucket, row)) { /* two readers missed it at once */
		free(entry);
	} else {
		make_room(cache, part, cost(value.size));
		entry->next = *bucket;
		*bucket = entry;
		list_append(&part->entries, &entry->node);
		part->bytes += cost(value.size);
	}
	pthread_mutex_unlock(&part->lock);
}

struct value_cache_stats value_cache_stats(struct value_cache *cache)
{
	struct value_cache_stats stats = {0};

	for (size_t i = 0; i < PARTS; i++) {
		struct part *part = &cache->parts[i];

		pthread_mutex_lock(&part->lock);
		stats.bytes += part->bytes;
		stats.hits += part->hits;
		stats.misses += part->misses;
		pthread_mutex_unlock(&part->lock);
	}
	return stats;
}

enum err value_cache_new(size_t bytes_max, struct value_cache **ret_cache)
{
	struct value_cache *cache = calloc(1, sizeof(*cache));
	size_t buckets = 1;
	bool complete = cache;

	while (buckets < bytes_max / PARTS / BYTES_PER_BUCKET)
		buckets *= 2;
	for (size_t i = 0; i < PARTS && cache; i++) {
		struct part *part = &cache->parts[i];

		pthread_mutex_init(&part->lock, NULL);
		list_init(&part->entries);
		part->buckets = calloc(buckets, sizeof(*part->buckets));
		complete = complete && part->buckets;
	}
	if (!complete) {
		value_cache_free(cache);
		return fault(ERR_NOMEM, "a cache of %zu buckets", buckets);
	}
	cache->part_bytes_max = bytes_max / PARTS;
	cache->bucket_mask = buckets - 1;
	*ret_cache = cache;
	return ERR_OK;
}

void value_cache_free(struct value_cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < PARTS; i++) {
		struct part *part = &cache->parts[i];

		list_for_each_safe (node, after, &part->entries)
			free(container_of(node, struct entry, node));
		free(part->buckets);
		pthread_mutex_destroy(&part->lock);
	}
	free(cache);
}
