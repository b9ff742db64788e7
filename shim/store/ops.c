/* SPDX-License-Identifier: Apache-2.0 */
/* ops.c - what each kind of op does inside a batch, but for transactions (txn.c) and sync
 * (apply.c).
 *
 * Rule: an op is checked before its first write, so that an answer leaves nothing to undo.
 * Source: etcd's server/etcdserver/txn/put.go, delete.go, apply/ and server/lease/lessor.go. */
#include "shim/store/batch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

/* --- reading inside the batch ---------------------------------------------------------------- */

enum err batch_kv(struct batch *batch, struct bytes key, const struct version *version,
		  struct arena *arena, struct kv *ret_kv)
{
	struct kv kv = {
		.create_revision = version->create_revision,
		.mod_revision = row_main(version->row),
		.version = version->version,
		.lease = version->lease,
	};
	uint8_t *room;
	enum err e;

	if (!arena)
		arena = &batch->scratch;
	room = arena_alloc(arena, version->value_bytes + 1u);
	if (!room || !arena_copy(arena, key, &kv.key))
		return fault(ERR_NOMEM, "a value of %u bytes", version->value_bytes);
	e = conn_value_read(batch->conn, version->row, version->value_bytes, room);
	if (e)
		return e;
	kv.value = bytes_of(room, version->value_bytes);
	*ret_kv = kv;
	return ERR_OK;
}

struct key_list {
	struct arena *arena;
	struct bytes *keys;
	size_t count;
	size_t capacity;
	bool failed;
};

static bool collect_key(void *context, struct bytes key, const struct version *version)
{
	struct key_list *list = context;

	(void)version;
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 16;
		struct bytes *keys = arena_calloc(list->arena, capacity, sizeof(*keys));

		if (!keys) {
			list->failed = true;
			return false;
		}
		if (list->count)
			memcpy(keys, list->keys, list->count * sizeof(*keys));
		list->keys = keys;
		list->capacity = capacity;
	}
	list->keys[list->count++] = key;
	return true;
}

enum err batch_keys(struct batch *batch, struct bytes key, struct bytes end,
		    struct bytes **ret_keys, size_t *ret_count)
{
	struct key_list list = {.arena = &batch->scratch};

	index_scan(batch->store->index, key, end, batch_sees(batch), collect_key, &list);
	if (list.failed)
		return fault(ERR_NOMEM, "more than %zu keys to delete", list.count);
	*ret_keys = list.keys;
	*ret_count = list.count;
	return ERR_OK;
}

/* --- put, delete ----------------------------------------------------------------------------- */

static const struct version *live_version(const struct batch *batch, struct bytes key)
{
	const struct version *version = index_get(batch->store->index, key, batch_sees(batch));

	return version && !version->tombstone ? version : NULL;
}

enum err batch_put_check(struct batch *batch, const struct put_op *put)
{
	struct store *store = batch->store;
	bool known = true;

	if (put->lease) {
		pthread_mutex_lock(&store->lease_lock);
		known = lessor_has(store->lessor, put->lease);
		pthread_mutex_unlock(&store->lease_lock);
	}
	if (!known)
		return ERR_LEASE_NOT_FOUND;
	if ((put->ignore_value || put->ignore_lease) && !live_version(batch, put->key))
		return ERR_KEY_NOT_FOUND;
	return ERR_OK;
}

enum err batch_put(struct batch *batch, const struct put_op *put, struct arena *arena,
		   struct put_result *ret_result)
{
	const struct version *old = NULL;
	struct put_result result = {.revision = batch->head + 1};
	struct row_write write = {.key = put->key, .value = put->value, .lease = put->lease};
	enum err e;

	if (put->prev_kv || put->ignore_value || put->ignore_lease)
		old = live_version(batch, put->key);
	if (!old && (put->ignore_value || put->ignore_lease))
		return ERR_KEY_NOT_FOUND; /* an earlier op of the transaction deleted it */
	if (put->ignore_lease)
		write.lease = old->lease;
	if (old && ((put->prev_kv && arena) || put->ignore_value)) {
		result.has_prev = put->prev_kv && arena;
		e = batch_kv(batch, put->key, old, result.has_prev ? arena : NULL, &result.prev);
		if (e)
			return e;
	}
	if (put->ignore_value)
		write.value = result.prev.value;
	e = batch_write(batch, &write);
	if (e)
		return e;
	batch->puts++;
	*ret_result = result;
	return ERR_OK;
}

static enum err delete_keys(struct batch *batch, const struct bytes *keys, size_t count)
{
	enum err e = ERR_OK;

	for (size_t i = 0; i < count && !e; i++)
		e = batch_write(batch, &(struct row_write){.key = keys[i], .tombstone = true});
	return e;
}

static enum err delete_prevs(struct batch *batch, const struct bytes *keys, struct arena *arena,
			     struct delete_result *result)
{
	size_t count = (size_t)result->deleted;
	enum err e = ERR_OK;

	result->prevs = arena_calloc(arena, count, sizeof(*result->prevs));
	if (!result->prevs)
		return fault(ERR_NOMEM, "%zu previous values", count);
	for (size_t i = 0; i < count && !e; i++)
		e = batch_kv(batch, keys[i], live_version(batch, keys[i]), arena,
			     &result->prevs[i]);
	result->prev_count = count;
	return e;
}

enum err batch_delete(struct batch *batch, const struct delete_op *op, struct arena *arena,
		      struct delete_result *ret_result)
{
	struct delete_result result = {0};
	struct bytes *keys, one = op->key;
	size_t count;
	enum err e;

	if (range_is_single(op->end)) {
		keys = &one;
		count = live_version(batch, op->key) != NULL;
	} else {
		e = batch_keys(batch, op->key, op->end, &keys, &count);
		if (e)
			return e;
	}
	result.deleted = (int64_t)count;
	if (count && op->prev_kv && arena) {
		e = delete_prevs(batch, keys, arena, &result);
		if (e)
			return e;
	}
	e = delete_keys(batch, keys, count);
	if (e)
		return e;
	result.revision = batch_sees(batch);
	batch->deletes += count;
	*ret_result = result;
	return ERR_OK;
}

/* --- leases ---------------------------------------------------------------------------------- */

static struct lease_change *add_lease_change(struct batch *batch)
{
	if (batch->lease_count == batch->lease_capacity) {
		size_t capacity = batch->lease_capacity ? 2 * batch->lease_capacity : 16;
		struct lease_change *grown = reallocarray(batch->leases, capacity, sizeof(*grown));

		if (!grown)
			return NULL;
		batch->leases = grown;
		batch->lease_capacity = capacity;
	}
	return &batch->leases[batch->lease_count];
}

static enum err new_lease_id(struct store *store, int64_t *ret_id)
{
	int64_t id = 0;

	do {
		if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
			return fault(ERR_STORAGE, "no random numbers: %s", strerror(errno));
		id &= INT64_MAX;
	} while (!id || lessor_has(store->lessor, id));
	*ret_id = id;
	return ERR_OK;
}

static enum err grant(struct batch *batch, int64_t asked_id, int64_t ttl_seconds, int64_t *ret_id,
		      int64_t *ret_ttl_seconds)
{
	struct store *store = batch->store;
	struct lease_change *change = add_lease_change(batch);
	int64_t id = asked_id;
	sqlite3_stmt *stmt;
	enum err e = ERR_OK;

	if (!change)
		return fault(ERR_NOMEM, "list of leases");
	if (ttl_seconds > LEASE_TTL_SECONDS_MAX)
		return ERR_LEASE_TTL_TOO_LARGE;
	if (ttl_seconds < LEASE_TTL_SECONDS_MIN)
		ttl_seconds = LEASE_TTL_SECONDS_MIN;
	pthread_mutex_lock(&store->lease_lock);
	if (!id)
		e = new_lease_id(store, &id);
	if (!e)
		e = lessor_grant(store->lessor, id, ttl_seconds, clock_now_ns(store->config.clock));
	pthread_mutex_unlock(&store->lease_lock);
	if (e)
		return e;
	*change = (struct lease_change){.id = id};
	batch->lease_count++;
	batch->granted++;
	stmt = conn_stmt(batch->conn, STMT_LEASE_SET);
	if (stmt) {
		sqlite3_bind_int64(stmt, 1, id);
		sqlite3_bind_int64(stmt, 2, ttl_seconds);
	}
	*ret_id = id;
	*ret_ttl_seconds = ttl_seconds;
	return batch_broken(batch, conn_run(batch->conn, stmt));
}

static bool collect_lease_key(void *context, struct bytes key)
{
	struct key_list *list = context;
	struct bytes copy;

	/* The lessor's bytes go when the key is detached, so they are copied. */
	if (!arena_copy(list->arena, key, &copy)) {
		list->failed = true;
		return false;
	}
	return collect_key(list, copy, NULL);
}

/* All keys of the lease go in one revision, sorted; without keys there is no revision. */
static enum err revoke(struct batch *batch, int64_t id)
{
	struct store *store = batch->store;
	struct key_list list = {.arena = &batch->scratch};
	struct lease_change *change = add_lease_change(batch);
	int64_t ttl_seconds = 0, remaining_seconds;
	sqlite3_stmt *stmt;
	enum err e;

	if (!change)
		return fault(ERR_NOMEM, "list of leases");
	pthread_mutex_lock(&store->lease_lock);
	e = lessor_times(store->lessor, id, clock_now_ns(store->config.clock), &ttl_seconds,
			 &remaining_seconds);
	if (!e)
		e = lessor_keys(store->lessor, id, true, collect_lease_key, &list);
	pthread_mutex_unlock(&store->lease_lock);
	if (!e && list.failed)
		e = fault(ERR_NOMEM, "keys of a lease");
	for (size_t i = 0; i < list.count && !e; i++)
		if (live_version(batch, list.keys[i]))
			e = delete_keys(batch, &list.keys[i], 1);
	if (!e)
		e = batch_end_revision(batch);
	if (e)
		return e;
	/* From here on nothing fails that does not abort the batch. */
	pthread_mutex_lock(&store->lease_lock);
	e = lessor_revoke(store->lessor, id);
	pthread_mutex_unlock(&store->lease_lock);
	assert(!e);
	*change = (struct lease_change){.id = id, .ttl_seconds = ttl_seconds};
	batch->lease_count++;
	stmt = conn_stmt(batch->conn, STMT_LEASE_DELETE);
	if (stmt)
		sqlite3_bind_int64(stmt, 1, id);
	return batch_broken(batch, conn_run(batch->conn, stmt));
}

enum err batch_expire(struct batch *batch, int64_t lease)
{
	batch_begin_op(batch);
	return batch_end_op(batch, revoke(batch, lease));
}

/* --- compaction, alarms ---------------------------------------------------------------------- */

enum err batch_set_compacted(struct batch *batch, int64_t revision)
{
	enum err e = conn_setting_set(batch->conn, SETTING_COMPACTED, revision);

	if (!e) /* the rows that tell the head may be swept one day */
		e = conn_setting_set(batch->conn, SETTING_HEAD, batch->head);
	if (!e)
		batch->compacted = revision;
	return batch_broken(batch, e);
}

static enum err compact(struct batch *batch, int64_t revision)
{
	if (revision <= batch_compacted(batch))
		return ERR_COMPACTED;
	if (revision > batch->head)
		return ERR_FUTURE_REVISION;
	return batch_set_compacted(batch, revision);
}

static enum err set_alarm(struct batch *batch, enum alarm alarm, bool raise, bool *ret_changed)
{
	unsigned bit = 1u << alarm;
	sqlite3_stmt *stmt;
	enum err e;

	*ret_changed = false;
	if (alarm == ALARM_NONE || (!raise && !(batch_alarms(batch) & bit)))
		return ERR_OK;
	*ret_changed = !!(batch_alarms(batch) & bit) != raise;
	stmt = conn_stmt(batch->conn, raise ? STMT_ALARM_SET : STMT_ALARM_DELETE);
	if (stmt)
		sqlite3_bind_int(stmt, 1, (int)alarm);
	e = batch_broken(batch, conn_run(batch->conn, stmt));
	batch->alarms_raised = raise ? batch->alarms_raised | bit : batch->alarms_raised & ~bit;
	batch->alarms_cleared = raise ? batch->alarms_cleared & ~bit : batch->alarms_cleared | bit;
	return e;
}

/* --- one op ---------------------------------------------------------------------------------- */

/* etcd's applierV3Corrupt and applierV3Capped. */
static enum err alarm_refuses(const struct batch *batch, const struct op *op)
{
	unsigned alarms = batch_alarms(batch);
	bool corrupt = alarms & (1u << ALARM_CORRUPT);
	bool no_space = alarms & (1u << ALARM_NOSPACE);

	if (!alarms)
		return ERR_OK;
	switch (op->kind) {
	case OP_PUT:
	case OP_LEASE_GRANT:
		return corrupt ? ERR_CORRUPT : no_space ? ERR_NO_SPACE : ERR_OK;
	case OP_TXN:
		if (corrupt && !txn_is_readonly(&op->in.txn))
			return ERR_CORRUPT;
		return no_space && txn_has_put(&op->in.txn) ? ERR_NO_SPACE : ERR_OK;
	case OP_DELETE:
	case OP_COMPACT:
	case OP_LEASE_REVOKE:
	case OP_APPLY:
	case OP_JUMP:
		return corrupt ? ERR_CORRUPT : ERR_OK;
	case OP_ALARM_SET:
	case OP_ALARM_CLEAR:
	case OP_DEFRAGMENT:
		return ERR_OK;
	}
	return ERR_OK;
}

static enum err run(struct batch *batch, struct op *op)
{
	switch (op->kind) {
	case OP_PUT: {
		enum err e = batch_put_check(batch, &op->in.put);

		return e ? e : batch_put(batch, &op->in.put, op->arena, &op->out.put);
	}
	case OP_DELETE:
		return batch_delete(batch, &op->in.delete_range, op->arena, &op->out.delete_range);
	case OP_TXN:
		return batch_txn(batch, &op->in.txn, op->arena, &op->out.txn);
	case OP_COMPACT:
		return compact(batch, op->in.compact.revision);
	case OP_LEASE_GRANT:
		return grant(batch, op->in.lease_grant.id, op->in.lease_grant.ttl_seconds,
			     &op->out.lease.id, &op->out.lease.ttl_seconds);
	case OP_LEASE_REVOKE: {
		enum err e = revoke(batch, op->in.lease_revoke.id);

		batch->revoked += !e;
		return e;
	}
	case OP_ALARM_SET:
		return set_alarm(batch, op->in.alarm, true, &op->out.alarm_changed);
	case OP_ALARM_CLEAR:
		return set_alarm(batch, op->in.alarm, false, &op->out.alarm_changed);
	case OP_APPLY:
		return batch_apply(batch, op->in.apply.fn, op->in.apply.context);
	case OP_JUMP:
		return batch_jump(batch, op->in.jump.revision);
	case OP_DEFRAGMENT:
		break;
	}
	assert(!"an op that cannot run inside a batch");
	return ERR_STORAGE;
}

void batch_run(struct batch *batch, struct op *op)
{
	enum err e = alarm_refuses(batch, op);

	batch_begin_op(batch);
	if (!e)
		e = run(batch, op);
	if (!e)
		e = batch_end_revision(batch);
	e = batch_end_op(batch, e);
	/* SQLite ends a transaction by itself after some I/O errors. */
	if (e && !batch->failed && !conn_in_transaction(batch->conn))
		batch_broken(batch, ERR_STORAGE);
	op->err = e;
	op->revision = batch->head;
}
