/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/batch.h"

#include <assert.h>
#include <stdlib.h>

#define SCRATCH_BYTES_MAX ((size_t)CALL_ARENA_BYTES_MAX)
#define CHANGES_KEPT_MAX 8192 /* a list that an unusual op blew up beyond this is let go */

void batch_init(struct batch *batch, struct store *store, struct conn *conn)
{
	*batch = (struct batch){
		.store = store,
		.conn = conn,
		.head = atomic_load(&store->head),
		.compacted = NEVER_COMPACTED,
	};
	arena_init(&batch->scratch, SCRATCH_BYTES_MAX);
	arena_init(&batch->reads, SCRATCH_BYTES_MAX);
}

void batch_fini(struct batch *batch)
{
	for (size_t i = 0; i < batch->event_count; i++)
		event_batch_unref(batch->events[i]);
	arena_fini(&batch->scratch);
	arena_fini(&batch->reads);
	free(batch->changes);
	free(batch->leases);
	free(batch->events);
	*batch = (struct batch){0};
}

/* Makes room for one more element. */
static bool grow(void **list, size_t *capacity, size_t count, size_t element_bytes)
{
	size_t wanted = *capacity ? *capacity * 2 : 64;
	void *grown;

	if (count < *capacity)
		return true;
	grown = reallocarray(*list, wanted, element_bytes);
	if (!grown)
		return false;
	*list = grown;
	*capacity = wanted;
	return true;
}

static bool grow_changes(struct batch *batch)
{
	void *list = batch->changes;
	bool grown =
		grow(&list, &batch->change_capacity, batch->change_count, sizeof(*batch->changes));

	batch->changes = list;
	return grown;
}

static bool grow_events(struct batch *batch)
{
	void *list = batch->events;
	bool grown =
		grow(&list, &batch->event_capacity, batch->event_count, sizeof(*batch->events));

	batch->events = list;
	return grown;
}

/* --- begin, commit, abort -------------------------------------------------------------------- */

enum err batch_broken(struct batch *batch, enum err e)
{
	if (e && !batch->failed)
		batch->failed = e;
	return e;
}

enum err batch_begin(struct batch *batch)
{
	assert(!batch->change_count && !batch->lease_count && !batch->event_count);
	assert(batch->head == atomic_load(&batch->store->head));
	return batch_broken(batch, conn_do(batch->conn, STMT_BEGIN));
}

enum err batch_commit(struct batch *batch)
{
	return batch_broken(batch, conn_do(batch->conn, STMT_COMMIT));
}

void batch_clear(struct batch *batch)
{
	for (size_t i = 0; i < batch->event_count; i++)
		event_batch_unref(batch->events[i]);
	batch->event_count = 0;
	batch->change_count = 0;
	batch->revision_changes = 0;
	batch->lease_count = 0;
	batch->compacted = NEVER_COMPACTED;
	batch->alarms_raised = batch->alarms_cleared = 0;
	batch->puts = batch->deletes = batch->txns = batch->granted = batch->revoked = 0;
	batch->failed = ERR_OK;
	if (batch->change_capacity > CHANGES_KEPT_MAX) {
		free(batch->changes);
		batch->changes = NULL;
		batch->change_capacity = 0;
	}
	if (batch->scratch.used_bytes) {
		arena_fini(&batch->scratch);
		arena_init(&batch->scratch, SCRATCH_BYTES_MAX);
	}
}

/* Removes the newest change from the index and hangs its key where it hung before. */
static enum err undo_change(struct batch *batch)
{
	const struct change *change = &batch->changes[--batch->change_count];
	struct store *store = batch->store;
	struct bytes key = change->event.kv.key;
	const struct version *before;
	enum err e = ERR_OK;

	pthread_rwlock_wrlock(&store->index_lock);
	index_undo(store->index, key, change->row - 1);
	pthread_rwlock_unlock(&store->index_lock);
	if (!change->visible)
		return ERR_OK;
	before = index_get(store->index, key, INT64_MAX);
	pthread_mutex_lock(&store->lease_lock);
	if (before && !before->tombstone && before->lease)
		e = lessor_attach(store->lessor, key, before->lease);
	else
		lessor_detach(store->lessor, key);
	pthread_mutex_unlock(&store->lease_lock);
	return e == ERR_LEASE_NOT_FOUND ? ERR_OK : e;
}

static void undo_op(struct batch *batch)
{
	sqlite3_stmt *stmt;

	if (batch->op.has_savepoint) {
		batch_broken(batch, conn_do(batch->conn, STMT_OP_UNDO));
		batch_broken(batch, conn_do(batch->conn, STMT_OP_KEEP));
	}
	batch->head = batch->op.head;
	while (batch->event_count > batch->op.event_count)
		event_batch_unref(batch->events[--batch->event_count]);
	if (batch->change_count == batch->op.change_count)
		return;
	while (batch->change_count > batch->op.change_count)
		batch_broken(batch, undo_change(batch));
	batch->revision_changes = batch->change_count;
	stmt = conn_stmt(batch->conn, STMT_ROWS_UNDO);
	if (stmt)
		sqlite3_bind_int64(stmt, 1, ROW_OF(batch->head, REV_SUB_MAX));
	batch_broken(batch, conn_run(batch->conn, stmt));
}

void batch_begin_op(struct batch *batch)
{
	batch->op = (struct op_start){batch->change_count, batch->event_count, batch->head, false};
}

enum err batch_end_op(struct batch *batch, enum err e)
{
	if (batch->failed)
		return e;
	if (e)
		undo_op(batch);
	else if (batch->op.has_savepoint)
		e = batch_broken(batch, conn_do(batch->conn, STMT_OP_KEEP));
	batch->op.has_savepoint = false;
	return e;
}

enum err batch_savepoint(struct batch *batch)
{
	if (batch->op.has_savepoint)
		return ERR_OK;
	batch->op.has_savepoint = true;
	return batch_broken(batch, conn_do(batch->conn, STMT_OP_BEGIN));
}

static enum err undo_lease(struct batch *batch, const struct lease_change *change)
{
	struct store *store = batch->store;
	enum err e;

	pthread_mutex_lock(&store->lease_lock);
	if (change->ttl_seconds)
		e = lessor_grant(store->lessor, change->id, change->ttl_seconds,
				 clock_now_ns(store->config.clock));
	else
		e = lessor_revoke(store->lessor, change->id);
	pthread_mutex_unlock(&store->lease_lock);
	return e;
}

enum err batch_abort(struct batch *batch)
{
	enum err e = ERR_OK;

	if (conn_in_transaction(batch->conn))
		e = conn_do(batch->conn, STMT_ROLLBACK);
	/* Leases first: keys are hung back on leases that are there again. */
	while (batch->lease_count && !e)
		e = undo_lease(batch, &batch->leases[--batch->lease_count]);
	while (batch->change_count && !e)
		e = undo_change(batch);
	batch->head = atomic_load(&batch->store->head);
	batch_clear(batch);
	return e;
}

void batch_forget_reads(struct batch *batch)
{
	arena_fini(&batch->reads);
}

/* --- writing a row --------------------------------------------------------------------------- */

/* Asks the hook what sync must know of the new row.  After an invisible merge the newest row has
 * the meta, the visible one the value. */
static enum err stamp(struct batch *batch, const struct row_write *write, struct row *row)
{
	const struct store_stamp *hook = &batch->store->config.stamp;
	struct apply apply = {.batch = batch, .in_hook = true};
	struct apply_row old;
	struct stamp_row now = {
		.key = row->key,
		.value = row->value,
		.tombstone = write->tombstone,
		.revision = row_main(row->rev),
	};
	enum err e = apply_get(&apply, write->key, &old);

	if (!e) {
		now.old_meta = old.meta;
		now.old_present = old.live;
		now.old_value = old.kv.value;
		e = hook->stamp(hook->context, &apply, &now, &row->meta);
	}
	batch_forget_reads(batch);
	return batch->failed ? batch->failed : e;
}

static void fill_change(struct change *change, const struct row *row,
			const struct version *previous)
{
	struct event *event = &change->event;

	*change = (struct change){
		.meta = row->meta, .row = row->rev, .visible = !(row->flags & ROW_INVISIBLE)};
	event->type = row->flags & ROW_TOMBSTONE ? EVENT_DELETE : EVENT_PUT;
	event->kv.key = row->key;
	event->kv.mod_revision = row_main(row->rev);
	if (event->type == EVENT_PUT) {
		event->kv.value = row->value;
		event->kv.create_revision = row->create_revision;
		event->kv.version = row->version;
		event->kv.lease = row->lease;
	}
	event_set_prev(event, previous);
}

static enum err hang(struct batch *batch, struct bytes key, int64_t lease, int64_t old_lease)
{
	struct store *store = batch->store;
	enum err e = ERR_OK;

	if (lease == old_lease && !lease)
		return ERR_OK;
	pthread_mutex_lock(&store->lease_lock);
	if (lease)
		e = lessor_attach(store->lessor, key, lease);
	else
		lessor_detach(store->lessor, key);
	pthread_mutex_unlock(&store->lease_lock);
	/* Sync may write a key with a lease of another site. */
	return e == ERR_LEASE_NOT_FOUND ? ERR_OK : e;
}

static enum err add_to_index(struct batch *batch, const struct row *row)
{
	struct version version = row_version(row);
	struct store *store = batch->store;
	enum err e;

	pthread_rwlock_wrlock(&store->index_lock);
	e = index_add(store->index, row->key, &version);
	pthread_rwlock_unlock(&store->index_lock);
	return e;
}

static void number_row(struct row *row, const struct row_write *write, const struct version *live)
{
	if (write->tombstone)
		return;
	row->lease = write->lease;
	if (write->invisible) { /* clients go on seeing the visible one's numbers */
		row->create_revision = live ? live->create_revision : 0;
		row->version = live ? live->version : 0;
		return;
	}
	row->create_revision = live ? live->create_revision : row_main(row->rev);
	row->version = live ? live->version + 1 : 1;
}

enum err batch_write(struct batch *batch, const struct row_write *write)
{
	struct store *store = batch->store;
	int64_t main_revision = batch->head + 1;
	size_t sub = batch->change_count - batch->revision_changes;
	const struct version *visible = index_get(store->index, write->key, main_revision);
	bool live = visible && !visible->tombstone;
	const struct version *previous = visible;
	int64_t old_lease = live ? visible->lease : 0;
	struct row row = {
		.rev = ROW_OF(main_revision, sub),
		.key = write->key,
		.value = write->tombstone ? bytes_of(NULL, 0) : write->value,
		.meta = write->meta,
		.flags = (write->tombstone ? ROW_TOMBSTONE : 0) |
			 (write->invisible ? ROW_INVISIBLE : 0) | (write->merged ? ROW_MERGED : 0),
	};
	enum err e = ERR_OK;

	assert(main_revision <= REV_MAIN_MAX);
	if (sub > REV_SUB_MAX)
		return ERR_REQUEST_TOO_LARGE;
	if (!grow_changes(batch))
		return fault(ERR_NOMEM, "list of %zu changes", batch->change_count);
	number_row(&row, write, live ? visible : NULL);
	/* prev is the state before this revision, also where the revision writes a key twice. */
	if (visible && row_main(visible->row) == main_revision)
		previous = index_get(store->index, write->key, batch->head);
	if (!write->has_meta && store->config.stamp.stamp &&
	    store->config.stamp.in_scope(store->config.stamp.context, write->key))
		e = stamp(batch, write, &row);
	/* The hook's memory is its own again at the next row. */
	if (!e && row.meta.size && !arena_copy(&batch->scratch, row.meta, &row.meta))
		e = fault(ERR_NOMEM, "a meta of %zu bytes", row.meta.size);
	if (e)
		return e;
	fill_change(&batch->changes[batch->change_count], &row, previous);
	e = batch_broken(batch, conn_row_insert(batch->conn, &row));
	if (!e)
		e = batch_broken(batch, add_to_index(batch, &row));
	if (e)
		return e;
	batch->change_count++;
	if (write->invisible)
		return ERR_OK;
	return hang(batch, write->key, row.lease, old_lease);
}

/* The rows of the revision in progress become the events of this one. */
static enum err close_revision(struct batch *batch, int64_t revision)
{
	struct event_batch *events;
	enum err e;

	if (!grow_events(batch))
		return fault(ERR_NOMEM, "list of %zu revisions", batch->event_count);
	e = event_batch_new(batch->store, revision, batch->changes + batch->revision_changes,
			    batch->change_count - batch->revision_changes, &events);
	if (e)
		return e;
	batch->events[batch->event_count++] = events;
	batch->revision_changes = batch->change_count;
	batch->head = revision;
	return ERR_OK;
}

enum err batch_end_revision(struct batch *batch)
{
	return batch_dirty(batch) ? close_revision(batch, batch->head + 1) : ERR_OK;
}

enum err batch_jump(struct batch *batch, int64_t revision)
{
	enum err e;

	if (revision <= batch->head)
		return ERR_COMPACTED;
	if (revision > JUMP_REVISION_MAX)
		return ERR_FUTURE_REVISION;
	e = close_revision(batch, revision); /* no events, but progress */
	return e ? e : batch_set_compacted(batch, revision);
}
