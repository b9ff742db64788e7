/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/read.h"

#include <assert.h>
#include <stdlib.h>

/* Keys looked at under one shared lock: a long scan lets the writer in between, for the pin keeps
 * what it reads from changing. */
#define SCAN_SLICE_KEYS 2000

static bool default_order(const struct range_op *op)
{
	return op->order == SORT_NONE || (op->target == SORT_KEY && op->order == SORT_ASCEND);
}

static bool has_filters(const struct range_op *op)
{
	return op->min_mod_revision || op->max_mod_revision || op->min_create_revision ||
	       op->max_create_revision;
}

/* etcd's FastKeysOnly: answered from its index, which does not know leases. */
static bool fast_keys_only(const struct range_op *op)
{
	return op->keys_only && op->target != SORT_VALUE;
}

/* --- gathering ------------------------------------------------------------------------------- */

struct gather {
	const struct range_op *op;
	struct range_set *set;
	size_t fetch_max;  /* etcd's limit + 1 where nothing is filtered or sorted; else SIZE_MAX */
	size_t slice;	   /* keys looked at under this lock */
	struct bytes last; /* the last key looked at */
	bool cut;	   /* stopped for the lock's sake */
	enum err err;
};

static bool filtered_out(const struct range_op *op, const struct version *version)
{
	int64_t mod = row_main(version->row);
	int64_t create = version->create_revision;

	return (op->max_mod_revision && mod > op->max_mod_revision) ||
	       (op->min_mod_revision && mod < op->min_mod_revision) ||
	       (op->max_create_revision && create > op->max_create_revision) ||
	       (op->min_create_revision && create < op->min_create_revision);
}

static bool set_grow(struct range_set *set)
{
	size_t capacity = 4 * set->capacity;
	struct range_item *items;

	if (set->count < set->capacity)
		return true;
	items = reallocarray(set->items == set->inline_items ? NULL : set->items, capacity,
			     sizeof(*items));
	if (!items)
		return false;
	if (set->items == set->inline_items)
		memcpy(items, set->inline_items, sizeof(set->inline_items));
	set->items = items;
	set->capacity = capacity;
	return true;
}

static bool add_item(struct gather *gather, struct bytes key, const struct version *version)
{
	struct range_set *set = gather->set;
	struct range_item *item;

	if (!set_grow(set)) {
		gather->err = fault(ERR_NOMEM, "a range of more than %zu keys", set->count);
		return false;
	}
	item = &set->items[set->count++];
	item->row = version->row;
	item->kv = (struct kv){
		.key = key,
		.value = bytes_of(NULL, version->value_bytes),
		.create_revision = version->create_revision,
		.mod_revision = row_main(version->row),
		.version = version->version,
		.lease = fast_keys_only(gather->op) ? 0 : version->lease,
	};
	return true;
}

static bool visit(void *context, struct bytes key, const struct version *version)
{
	struct gather *gather = context;

	gather->last = key;
	gather->set->total++;
	if (!filtered_out(gather->op, version) && !add_item(gather, key, version))
		return false;
	if (gather->set->count >= gather->fetch_max)
		return false;
	gather->cut = ++gather->slice >= SCAN_SLICE_KEYS;
	return !gather->cut;
}

static void lock_shared(const struct range_source *source)
{
	if (source->index_lock)
		pthread_rwlock_rdlock(source->index_lock);
}

static void unlock_shared(const struct range_source *source)
{
	if (source->index_lock)
		pthread_rwlock_unlock(source->index_lock);
}

static void gather_one(const struct range_source *source, int64_t revision, struct gather *gather)
{
	const struct version *version;

	lock_shared(source);
	version = index_get(source->index, gather->op->key, revision);
	if (version && !version->tombstone) {
		gather->set->total = 1;
		if (!gather->op->count_only && !filtered_out(gather->op, version))
			add_item(gather, gather->op->key, version);
	}
	unlock_shared(source);
}

/* A key that follows `last` directly, in memory that grows as needed. */
static enum err next_key(struct bytes last, uint8_t **room, struct bytes *ret_key)
{
	uint8_t *grown = realloc(*room, last.size + 1);

	if (!grown)
		return fault(ERR_NOMEM, "a key of %zu bytes", last.size);
	*room = grown;
	memcpy(grown, last.data, last.size);
	grown[last.size] = 0;
	*ret_key = bytes_of(grown, last.size + 1);
	return ERR_OK;
}

static enum err gather_many(const struct range_source *source, int64_t revision,
			    struct gather *gather)
{
	struct bytes from = gather->op->key;
	uint8_t *room = NULL;

	do {
		gather->cut = false;
		gather->slice = 0;
		lock_shared(source);
		index_scan(source->index, from, gather->op->end, revision, visit, gather);
		unlock_shared(source);
		if (gather->cut && !gather->err)
			gather->err = next_key(gather->last, &room, &from);
	} while (gather->cut && !gather->err);
	free(room);
	return gather->err;
}

/* --- order ----------------------------------------------------------------------------------- */

struct sort_entry {
	const struct range_item *item;
	const uint8_t *value; /* for SORT_VALUE */
};

struct sort_rule {
	enum sort_target target;
	bool descending;
};

static int compare_numbers(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_entries(const void *left, const void *right, void *context)
{
	const struct sort_entry *a = left, *b = right;
	const struct sort_rule *rule = context;
	int order = 0;

	switch (rule->target) {
	case SORT_KEY:
		order = bytes_compare(a->item->kv.key, b->item->kv.key);
		break;
	case SORT_VERSION:
		order = compare_numbers(a->item->kv.version, b->item->kv.version);
		break;
	case SORT_CREATE:
		order = compare_numbers(a->item->kv.create_revision, b->item->kv.create_revision);
		break;
	case SORT_MOD:
		order = compare_numbers(a->item->kv.mod_revision, b->item->kv.mod_revision);
		break;
	case SORT_VALUE:
		order = bytes_compare(bytes_of(a->value, a->item->kv.value.size),
				      bytes_of(b->value, b->item->kv.value.size));
		break;
	}
	if (order)
		return rule->descending ? -order : order;
	/* Ties keep key order, as etcd's insertion sort of short lists does. */
	return a->item < b->item ? -1 : a->item > b->item;
}

static enum err wishes_of(const struct range_set *set, struct value_wish **ret_wishes,
			  size_t *ret_bytes)
{
	struct value_wish *wishes = calloc(set->count ? set->count : 1, sizeof(*wishes));
	size_t bytes = 0;

	if (!wishes)
		return fault(ERR_NOMEM, "a range of %zu keys", set->count);
	for (size_t i = 0; i < set->count; i++) {
		wishes[i] = (struct value_wish){set->items[i].row, set->items[i].kv.value.size};
		bytes += wishes[i].value_bytes;
	}
	*ret_wishes = wishes;
	*ret_bytes = bytes;
	return ERR_OK;
}

/* All values in one allocation, for sorting by them. */
static enum err load_values(struct conn *conn, const struct range_set *set, uint8_t **ret_values)
{
	struct value_wish *wishes;
	uint8_t *values;
	size_t bytes;
	enum err e = wishes_of(set, &wishes, &bytes);

	if (e)
		return e;
	values = bytes > CALL_ARENA_BYTES_MAX ? NULL : malloc(bytes + 1);
	e = values ? conn_values_read(conn, wishes, set->count, values)
		   : fault(ERR_NOMEM, "%zu bytes of values to sort by", bytes);
	free(wishes);
	if (e)
		free(values);
	else
		*ret_values = values;
	return e;
}

static enum err sort_set(const struct range_source *source, const struct range_op *op,
			 struct range_set *set)
{
	struct sort_rule rule = {op->target, op->order == SORT_DESCEND};
	struct sort_entry *entries = NULL;
	struct range_item *sorted = NULL;
	uint8_t *values = NULL;
	size_t offset = 0;
	enum err e = ERR_OK;

	if (op->target == SORT_VALUE)
		e = load_values(source->conn, set, &values);
	entries = calloc(set->count, sizeof(*entries));
	sorted = calloc(set->count, sizeof(*sorted));
	if (!e && (!entries || !sorted))
		e = fault(ERR_NOMEM, "sorting %zu keys", set->count);
	for (size_t i = 0; i < set->count && !e; i++) {
		entries[i].item = &set->items[i];
		entries[i].value = values ? values + offset : NULL;
		offset += set->items[i].kv.value.size;
	}
	if (!e) {
		qsort_r(entries, set->count, sizeof(*entries), compare_entries, &rule);
		for (size_t i = 0; i < set->count; i++)
			sorted[i] = *entries[i].item;
		memcpy(set->items, sorted, set->count * sizeof(*sorted));
	}
	free(values);
	free(entries);
	free(sorted);
	return e;
}

/* --- the whole ------------------------------------------------------------------------------- */

void range_set_fini(struct range_set *set)
{
	if (set->items != set->inline_items)
		free(set->items);
	set->items = NULL;
}

static void count_rest(const struct range_source *source, const struct range_op *op,
		       int64_t revision, struct range_set *set)
{
	lock_shared(source);
	set->total = index_count(source->index, op->key, op->end, revision);
	unlock_shared(source);
}

static enum err gather_range(const struct range_source *source, const struct range_op *op,
			     int64_t revision, struct range_set *set)
{
	struct gather gather = {.op = op, .set = set, .fetch_max = SIZE_MAX};
	bool limited = op->limit > 0 && default_order(op) && !has_filters(op) &&
		       (uint64_t)op->limit < SIZE_MAX - 1;
	enum err e;

	if (range_is_single(op->end)) {
		gather_one(source, revision, &gather);
		return gather.err;
	}
	if (op->count_only) {
		count_rest(source, op, revision, set);
		return ERR_OK;
	}
	if (limited)
		gather.fetch_max = (size_t)op->limit + 1;
	e = gather_many(source, revision, &gather);
	if (!e && limited && set->count >= gather.fetch_max)
		count_rest(source, op, revision, set);
	return e;
}

enum err range_gather(const struct range_source *source, const struct range_op *op,
		      int64_t revision, struct range_set *set)
{
	enum err e;

	set->items = set->inline_items;
	set->count = 0;
	set->capacity = RANGE_ITEMS_INLINE;
	set->total = 0;
	set->more = false;
	e = gather_range(source, op, revision, set);
	/* A target without an order sorts upwards, but only what the limit had let through. */
	if (!e && set->count > 1 && op->target != SORT_KEY)
		e = sort_set(source, op, set);
	else if (!e && set->count > 1 && op->order == SORT_DESCEND)
		e = sort_set(source, op, set);
	if (e) {
		range_set_fini(set);
		return e;
	}
	if (op->limit > 0 && (uint64_t)op->limit < set->count) {
		set->count = (size_t)op->limit;
		set->more = true;
	}
	for (size_t i = 0; op->keys_only && i < set->count; i++)
		set->items[i].kv.value.size = 0;
	return ERR_OK;
}

static enum err deliver_values(const struct range_source *source, const struct range_set *set,
			       struct arena *arena, struct kv *kvs)
{
	struct value_wish one, *wishes = &one;
	size_t bytes = 0;
	uint8_t *room;
	enum err e = ERR_OK;

	if (set->count == 1) {
		one = (struct value_wish){set->items[0].row, set->items[0].kv.value.size};
		bytes = one.value_bytes;
	} else {
		e = wishes_of(set, &wishes, &bytes);
	}
	if (e)
		return e;
	room = arena_alloc(arena, bytes + 1);
	e = room ? conn_values_read(source->conn, wishes, set->count, room)
		 : fault(ERR_NOMEM, "an answer of %zu bytes", bytes);
	for (size_t i = 0; i < set->count && !e; i++) {
		kvs[i].value.data = kvs[i].value.size ? room : NULL;
		room += kvs[i].value.size;
	}
	if (wishes != &one)
		free(wishes);
	return e;
}

enum err range_deliver(const struct range_source *source, const struct range_op *op,
		       const struct range_set *set, struct arena *arena,
		       struct range_result *ret_result)
{
	struct range_result result = {.count = set->total, .more = set->more};
	enum err e;

	if (set->count) {
		result.kvs = arena_calloc(arena, set->count, sizeof(*result.kvs));
		if (!result.kvs)
			return fault(ERR_NOMEM, "an answer of %zu keys", set->count);
		result.kv_count = set->count;
		for (size_t i = 0; i < set->count; i++) {
			result.kvs[i] = set->items[i].kv;
			if (!arena_copy(arena, set->items[i].kv.key, &result.kvs[i].key))
				return fault(ERR_NOMEM, "an answer of %zu keys", set->count);
		}
		e = op->keys_only ? ERR_OK : deliver_values(source, set, arena, result.kvs);
		if (e)
			return e;
	}
	result.revision = ret_result->revision;
	*ret_result = result;
	return ERR_OK;
}
