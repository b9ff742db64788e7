/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/lease.h"

#include "shim/base/clock.h"
#include "shim/base/crc32c.h"
#include "shim/base/heap.h"
#include "shim/base/list.h"

#include <assert.h>
#include <stdlib.h>

/* --- a chained hash table of nodes that live inside their objects --- */

#define TABLE_BUCKETS_FIRST 64 /* a power of two, as ever after */

struct table_node {
	struct table_node *next;
	uint64_t hash;
};

struct table {
	struct table_node **buckets;
	size_t bucket_count;
	size_t count;
};

static bool table_init(struct table *table)
{
	table->buckets = calloc(TABLE_BUCKETS_FIRST, sizeof(struct table_node *));
	table->bucket_count = TABLE_BUCKETS_FIRST;
	table->count = 0;
	return table->buckets != NULL;
}

static struct table_node **table_bucket(const struct table *table, uint64_t hash)
{
	return &table->buckets[hash & (table->bucket_count - 1)];
}

/* Without memory for more buckets the chains get longer, which is slower but not wrong. */
static void table_grow(struct table *table)
{
	struct table bigger = {.bucket_count = table->bucket_count * 2, .count = table->count};

	bigger.buckets = calloc(bigger.bucket_count, sizeof(struct table_node *));
	if (!bigger.buckets)
		return;
	for (size_t i = 0; i < table->bucket_count; i++) {
		while (table->buckets[i]) {
			struct table_node *node = table->buckets[i];
			struct table_node **bucket = table_bucket(&bigger, node->hash);

			table->buckets[i] = node->next;
			node->next = *bucket;
			*bucket = node;
		}
	}
	free(table->buckets);
	*table = bigger;
}

static void table_add(struct table *table, struct table_node *node, uint64_t hash)
{
	struct table_node **bucket;

	if (table->count >= table->bucket_count)
		table_grow(table);
	bucket = table_bucket(table, hash);
	node->hash = hash;
	node->next = *bucket;
	*bucket = node;
	table->count++;
}

static void table_remove(struct table *table, struct table_node *node)
{
	struct table_node **link = table_bucket(table, node->hash);

	while (*link != node) {
		assert(*link);
		link = &(*link)->next;
	}
	*link = node->next;
	table->count--;
}

/* --- what the lessor holds -------------------------------------------------------------------- */

struct lessor {
	struct table leases; /* by id */
	struct table keys;   /* attachments by key */
	struct heap by_expiry;
};

struct lease {
	struct table_node node;
	struct heap_node place;
	struct list keys; /* attachments */
	size_t key_count;
	int64_t id;
	int64_t ttl_seconds;
	int64_t expiry_ns;
};

struct attachment {
	struct table_node node;
	struct list on_lease;
	struct lease *lease;
	size_t key_bytes;
	uint8_t key[];
};

static uint64_t id_hash(int64_t id)
{
	uint64_t hash = (uint64_t)id;

	/* The finisher of splitmix64: ids that clients choose are often consecutive. */
	hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
	return hash ^ hash >> 31;
}

static uint64_t key_hash(struct bytes key)
{
	return crc32c((uint32_t)key.size, key);
}

static const struct lease *lease_at(const struct heap_node *place)
{
	const char *start = (const char *)place - offsetof(struct lease, place);

	return (const struct lease *)(const void *)start;
}

/* Ids break ties, so that lists and expiry come in a known order. */
static bool lease_before(const struct heap_node *a, const struct heap_node *b)
{
	const struct lease *left = lease_at(a);
	const struct lease *right = lease_at(b);

	if (left->expiry_ns != right->expiry_ns)
		return left->expiry_ns < right->expiry_ns;
	return left->id < right->id;
}

static struct lease *lease_find(const struct lessor *lessor, int64_t id)
{
	uint64_t hash = id_hash(id);
	struct table_node *node = *table_bucket(&lessor->leases, hash);

	for (; node; node = node->next) {
		struct lease *lease = container_of(node, struct lease, node);

		if (lease->id == id)
			return lease;
	}
	return NULL;
}

static struct bytes attachment_bytes(const struct attachment *attachment)
{
	return bytes_of(attachment->key, attachment->key_bytes);
}

static struct attachment *attachment_find(const struct lessor *lessor, struct bytes key)
{
	uint64_t hash = key_hash(key);
	struct table_node *node = *table_bucket(&lessor->keys, hash);

	for (; node; node = node->next) {
		struct attachment *attachment = container_of(node, struct attachment, node);

		if (node->hash == hash && bytes_equal(attachment_bytes(attachment), key))
			return attachment;
	}
	return NULL;
}

enum err lessor_new(struct lessor **ret_lessor)
{
	struct lessor *lessor = calloc(1, sizeof(*lessor));

	if (!lessor || !table_init(&lessor->leases) || !table_init(&lessor->keys)) {
		lessor_free(lessor);
		return fault(ERR_NOMEM, "no memory for the table of leases");
	}
	heap_init(&lessor->by_expiry, lease_before);
	*ret_lessor = lessor;
	return ERR_OK;
}

void lessor_free(struct lessor *lessor)
{
	const struct heap_node *place;

	if (!lessor)
		return;
	while ((place = heap_first(&lessor->by_expiry)))
		lessor_revoke(lessor, lease_at(place)->id);
	heap_fini(&lessor->by_expiry);
	free(lessor->leases.buckets);
	free(lessor->keys.buckets);
	free(lessor);
}

/* --- grants ----------------------------------------------------------------------------------- */

/* The longest TTL and a long uptime together pass what 64 bits of nanoseconds hold. */
static int64_t expiry_after(int64_t now_ns, int64_t ttl_seconds)
{
	int64_t ttl_ns;
	int64_t expiry_ns;

	if (__builtin_mul_overflow(ttl_seconds, NS_PER_SECOND, &ttl_ns) ||
	    __builtin_add_overflow(now_ns, ttl_ns, &expiry_ns))
		return INT64_MAX;
	return expiry_ns;
}

enum err lessor_grant(struct lessor *lessor, int64_t id, int64_t ttl_seconds, int64_t now_ns)
{
	struct lease *lease;

	assert(ttl_seconds > 0);
	if (lease_find(lessor, id))
		return ERR_LEASE_EXISTS;
	lease = calloc(1, sizeof(*lease));
	if (lease) {
		list_init(&lease->keys);
		lease->id = id;
		lease->ttl_seconds = ttl_seconds;
		lease->expiry_ns = expiry_after(now_ns, ttl_seconds);
	}
	if (!lease || !heap_push(&lessor->by_expiry, &lease->place)) {
		free(lease);
		return fault(ERR_NOMEM, "no memory for one more lease");
	}
	table_add(&lessor->leases, &lease->node, id_hash(id));
	return ERR_OK;
}

static void attachment_free(struct lessor *lessor, struct attachment *attachment)
{
	list_remove(&attachment->on_lease);
	attachment->lease->key_count--;
	table_remove(&lessor->keys, &attachment->node);
	free(attachment);
}

enum err lessor_revoke(struct lessor *lessor, int64_t id)
{
	struct lease *lease = lease_find(lessor, id);

	if (!lease)
		return ERR_LEASE_NOT_FOUND;
	list_for_each_safe (node, after, &lease->keys)
		attachment_free(lessor, container_of(node, struct attachment, on_lease));
	table_remove(&lessor->leases, &lease->node);
	heap_remove(&lessor->by_expiry, &lease->place);
	free(lease);
	return ERR_OK;
}

bool lessor_has(const struct lessor *lessor, int64_t id)
{
	return lease_find(lessor, id) != NULL;
}

/* --- attachments ------------------------------------------------------------------------------ */

static struct attachment *attachment_new(struct lessor *lessor, struct bytes key)
{
	struct attachment *attachment;

	if (key.size > SIZE_MAX - sizeof(*attachment))
		return NULL;
	attachment = malloc(sizeof(*attachment) + key.size);
	if (!attachment)
		return NULL;
	list_init(&attachment->on_lease);
	attachment->key_bytes = key.size;
	if (key.size)
		memcpy(attachment->key, key.data, key.size);
	table_add(&lessor->keys, &attachment->node, key_hash(key));
	return attachment;
}

enum err lessor_attach(struct lessor *lessor, struct bytes key, int64_t id)
{
	struct attachment *attachment;
	struct lease *lease;

	if (!id) {
		lessor_detach(lessor, key);
		return ERR_OK;
	}
	lease = lease_find(lessor, id);
	if (!lease)
		return ERR_LEASE_NOT_FOUND;
	attachment = attachment_find(lessor, key);
	if (attachment) {
		list_remove(&attachment->on_lease);
		attachment->lease->key_count--;
	} else {
		attachment = attachment_new(lessor, key);
		if (!attachment)
			return fault(ERR_NOMEM, "no memory for one more key on a lease");
	}
	attachment->lease = lease;
	list_append(&lease->keys, &attachment->on_lease);
	lease->key_count++;
	return ERR_OK;
}

void lessor_detach(struct lessor *lessor, struct bytes key)
{
	struct attachment *attachment = attachment_find(lessor, key);

	if (attachment)
		attachment_free(lessor, attachment);
}

static int key_order(const void *a, const void *b)
{
	return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* The slices of all keys of a lease; the array is the caller's. */
static struct bytes *lease_keys(const struct lease *lease)
{
	struct bytes *keys = calloc(lease->key_count, sizeof(*keys));
	size_t count = 0;

	if (!keys)
		return NULL;
	list_for_each (node, &lease->keys)
		keys[count++] = attachment_bytes(container_of(node, struct attachment, on_lease));
	return keys;
}

static enum err keys_sorted(const struct lease *lease, lessor_key_fn *fn, void *context)
{
	struct bytes *keys = lease_keys(lease);

	if (!keys)
		return fault(ERR_NOMEM, "no memory to sort the %zu keys of a lease",
			     lease->key_count);
	qsort(keys, lease->key_count, sizeof(*keys), key_order);
	for (size_t i = 0; i < lease->key_count; i++) {
		if (!fn(context, keys[i]))
			break;
	}
	free(keys);
	return ERR_OK;
}

enum err lessor_keys(const struct lessor *lessor, int64_t id, bool sorted, lessor_key_fn *fn,
		     void *context)
{
	struct lease *lease = lease_find(lessor, id);

	if (!lease)
		return ERR_LEASE_NOT_FOUND;
	if (!lease->key_count)
		return ERR_OK;
	if (sorted)
		return keys_sorted(lease, fn, context);
	list_for_each (node, &lease->keys) {
		if (!fn(context, attachment_bytes(container_of(node, struct attachment, on_lease))))
			break;
	}
	return ERR_OK;
}

size_t lessor_key_count(const struct lessor *lessor, int64_t id)
{
	const struct lease *lease = lease_find(lessor, id);

	return lease ? lease->key_count : 0;
}

/* --- time ------------------------------------------------------------------------------------- */

enum err lessor_renew(struct lessor *lessor, int64_t id, int64_t now_ns, int64_t *ret_ttl_seconds)
{
	struct lease *lease = lease_find(lessor, id);

	/* A lease that is due is about to be revoked: a client that is told "renewed" now would
	 * lose its keys all the same. */
	if (!lease || lease->expiry_ns <= now_ns)
		return ERR_LEASE_NOT_FOUND;
	lease->expiry_ns = expiry_after(now_ns, lease->ttl_seconds);
	heap_moved(&lessor->by_expiry, &lease->place);
	*ret_ttl_seconds = lease->ttl_seconds;
	return ERR_OK;
}

enum err lessor_times(const struct lessor *lessor, int64_t id, int64_t now_ns,
		      int64_t *ret_granted_seconds, int64_t *ret_remaining_seconds)
{
	const struct lease *lease = lease_find(lessor, id);

	if (!lease)
		return ERR_LEASE_NOT_FOUND;
	*ret_granted_seconds = lease->ttl_seconds;
	*ret_remaining_seconds = (lease->expiry_ns - now_ns) / NS_PER_SECOND;
	return ERR_OK;
}

size_t lessor_count(const struct lessor *lessor)
{
	return lessor->leases.count;
}

struct id_list {
	int64_t *ids;
	size_t count;
	size_t max;
	int64_t upto_ns; /* leases that expire later end the list */
};

static bool id_list_add(void *context, struct heap_node *node)
{
	struct id_list *list = context;
	const struct lease *lease = lease_at(node);

	if (list->count == list->max || lease->expiry_ns > list->upto_ns)
		return false;
	list->ids[list->count++] = lease->id;
	return list->count < list->max;
}

size_t lessor_list(const struct lessor *lessor, int64_t *ids, size_t max)
{
	return lessor_due(lessor, INT64_MAX, ids, max);
}

int64_t lessor_next_due_ns(const struct lessor *lessor)
{
	const struct heap_node *place = heap_first(&lessor->by_expiry);

	return place ? lease_at(place)->expiry_ns : INT64_MAX;
}

size_t lessor_due(const struct lessor *lessor, int64_t now_ns, int64_t *ids, size_t max)
{
	struct id_list list = {.ids = ids, .max = max, .upto_ns = now_ns};

	heap_visit(&lessor->by_expiry, id_list_add, &list);
	return list.count;
}
