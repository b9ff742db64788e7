/* SPDX-License-Identifier: Apache-2.0 */
/* info.c - leases as clients ask for them, identity, figures. */
#include "shim/store/internal.h"

enum err store_lease_renew(struct store *store, int64_t id, int64_t *ret_ttl_seconds)
{
	int64_t now_ns = clock_now_ns(store->config.clock);
	enum err e;

	pthread_mutex_lock(&store->lease_lock);
	e = lessor_renew(store->lessor, id, now_ns, ret_ttl_seconds);
	pthread_mutex_unlock(&store->lease_lock);
	if (!e)
		count_up(&store->counters.leases_renewed, 1);
	return e;
}

struct lease_keys {
	struct arena *arena;
	struct bytes *keys;
	size_t count;
	bool failed;
};

static bool copy_key(void *context, struct bytes key)
{
	struct lease_keys *copy = context;

	copy->failed = !arena_copy(copy->arena, key, &copy->keys[copy->count]);
	copy->count++;
	return !copy->failed;
}

/* Under lease_lock. */
static enum err copy_keys(const struct lessor *lessor, int64_t id, struct arena *arena,
			  struct lease_info *info)
{
	size_t count = lessor_key_count(lessor, id);
	struct lease_keys copy = {.arena = arena};
	enum err e;

	if (!count)
		return ERR_OK;
	copy.keys = arena_calloc(arena, count, sizeof(*copy.keys));
	if (!copy.keys)
		return fault(ERR_NOMEM, "%zu keys of a lease", count);
	e = lessor_keys(lessor, id, false, copy_key, &copy);
	if (!e && copy.failed)
		e = fault(ERR_NOMEM, "%zu keys of a lease", count);
	info->keys = copy.keys;
	info->key_count = copy.count;
	return e;
}

enum err store_lease_info(struct store *store, int64_t id, bool with_keys, struct arena *arena,
			  struct lease_info *ret_info)
{
	struct lease_info info = {.id = id};
	int64_t now_ns = clock_now_ns(store->config.clock);
	enum err e;

	pthread_mutex_lock(&store->lease_lock);
	e = lessor_times(store->lessor, id, now_ns, &info.granted_seconds, &info.remaining_seconds);
	if (!e && with_keys)
		e = copy_keys(store->lessor, id, arena, &info);
	pthread_mutex_unlock(&store->lease_lock);
	if (e == ERR_LEASE_NOT_FOUND) { /* not an error on the wire */
		info = (struct lease_info){.id = id, .remaining_seconds = -1};
		e = ERR_OK;
	}
	if (!e)
		*ret_info = info;
	return e;
}

enum err store_lease_list(struct store *store, struct arena *arena, int64_t **ret_ids,
			  size_t *ret_count)
{
	int64_t *ids = NULL;
	size_t count;

	pthread_mutex_lock(&store->lease_lock);
	count = lessor_count(store->lessor);
	if (count)
		ids = arena_calloc(arena, count, sizeof(*ids));
	if (ids)
		count = lessor_list(store->lessor, ids, count);
	pthread_mutex_unlock(&store->lease_lock);
	if (count && !ids)
		return fault(ERR_NOMEM, "%zu leases", count);
	*ret_ids = ids;
	*ret_count = count;
	return ERR_OK;
}

struct store_identity store_identity(const struct store *store)
{
	return store->identity;
}

unsigned store_alarms(const struct store *store)
{
	return atomic_load_explicit(&store->alarms, memory_order_acquire);
}

static uint64_t counted(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void store_stats(const struct store *store, struct store_stats *ret_stats)
{
	/* The locks do not change what the caller sees of the store. */
	struct store *locked = (struct store *)(uintptr_t)store;
	const struct counters *counters = &store->counters;
	struct store_stats stats = {
		.file_bytes = atomic_load(&store->file_bytes),
		.in_use_bytes = atomic_load(&store->in_use_bytes),
		.quota_bytes = store->quota_bytes,
		.commits = counted(&counters->commits),
		.puts = counted(&counters->puts),
		.deletes = counted(&counters->deletes),
		.txns = counted(&counters->txns),
		.ranges = counted(&counters->ranges),
		.compacted_rows = counted(&counters->compacted_rows),
		.leases_granted = counted(&counters->leases_granted),
		.leases_revoked = counted(&counters->leases_revoked),
		.leases_renewed = counted(&counters->leases_renewed),
		.leases_expired = counted(&counters->leases_expired),
		.slow_commits = counted(&counters->slow_commits),
		.pending_ops = counted(&counters->pending_ops),
		.commit_seconds_sum = (double)counted(&counters->commit_ns) / (double)NS_PER_SECOND,
	};
	struct value_cache_stats values;

	for (size_t i = 0; i < STORE_COMMIT_BUCKETS; i++)
		stats.commit_seconds_bucket[i] = counted(&counters->commit_bucket[i]);
	pthread_rwlock_rdlock(&locked->index_lock);
	stats.key_count = index_key_count(store->index);
	pthread_rwlock_unlock(&locked->index_lock);
	pthread_mutex_lock(&locked->lease_lock);
	stats.lease_count = (int64_t)lessor_count(store->lessor);
	pthread_mutex_unlock(&locked->lease_lock);
	values = value_cache_stats(store->values);
	stats.value_cache_bytes = values.bytes;
	stats.value_cache_hits = values.hits;
	stats.value_cache_misses = values.misses;
	*ret_stats = stats;
}
