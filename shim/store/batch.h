/* SPDX-License-Identifier: Apache-2.0 */
/* batch.h - one group commit in the making: rows go into SQLite and into the index at once, with
 * revisions above the published head, so that readers do not see them before the commit.
 *
 * Threads: the writer's alone.
 * Undo: an op that fails after its first write takes back its own rows, of all its revisions, and
 * what it did to state records (batch_end_op); a full disk takes back all (batch_abort).  Both walk
 * the list of changes backwards, because each key that a change names is still known when its turn
 * comes.  State records come back with a savepoint, which the first change to one of them sets: an
 * op without any has none.
 * Errors: `failed` is set when a write to SQLite failed; then only batch_abort() or the end of the
 * server is left.  Every other error belongs to the op in which it arose. */
#ifndef SHIM_STORE_BATCH_H
#define SHIM_STORE_BATCH_H

#include "shim/store/event_make.h"
#include "shim/store/internal.h"
#include "shim/store/sync.h"

struct lease_change {
	int64_t id;
	int64_t ttl_seconds; /* > 0: was revoked with it; 0: was granted */
};

/* Where the op in progress began: what an undo goes back to. */
struct op_start {
	size_t change_count;
	size_t event_count;
	int64_t head;
	bool has_savepoint;
};

/* What a function of sync holds (sync.h). */
struct apply {
	struct batch *batch;
	bool in_hook; /* the stamping hook: writes no rows */
};

struct batch {
	struct store *store;
	struct conn *conn;
	int64_t head; /* newest revision, this batch's included */

	struct change *changes;
	size_t change_count;
	size_t change_capacity;
	size_t revision_changes; /* changes before the revision in progress */

	struct lease_change *leases;
	size_t lease_count;
	size_t lease_capacity;

	struct event_batch **events;
	size_t event_count;
	size_t event_capacity;

	struct op_start op; /* the op in progress */

	int64_t compacted;	/* NEVER_COMPACTED: no compaction in this batch */
	unsigned alarms_raised; /* bits to set and to clear after the commit */
	unsigned alarms_cleared;
	uint64_t puts;
	uint64_t deletes;
	uint64_t txns;
	uint64_t granted;
	uint64_t revoked;
	struct arena scratch; /* dies with the batch */
	struct arena reads;   /* for one function of sync; dies when it returns */
	enum err failed;
};

void batch_init(struct batch *batch, struct store *store, struct conn *conn);
void batch_fini(struct batch *batch);

enum err batch_begin(struct batch *batch);
/* COMMIT alone: publishing is the writer's. */
enum err batch_commit(struct batch *batch);
/* Takes everything back: SQLite, index, lessor. */
enum err batch_abort(struct batch *batch);
/* Forgets what was published, ready for the next. */
void batch_clear(struct batch *batch);

/* Runs one op and fills its err, revision and result; never OP_DEFRAGMENT. */
void batch_run(struct batch *batch, struct op *op);
/* Revokes a lease that is due: as OP_LEASE_REVOKE, but nobody is told. */
enum err batch_expire(struct batch *batch, int64_t lease);

/* --- for the files that implement ops -------------------------------------------------------- */

/* One row to write. */
struct row_write {
	struct bytes key; /* stays valid until the batch is done */
	struct bytes value;
	int64_t lease;
	bool tombstone;
	bool invisible;
	bool merged;
	bool has_meta; /* else the stamping hook decides */
	struct bytes meta;
};

enum err batch_write(struct batch *batch, const struct row_write *write);
/* Closes the revision in progress, if a row was written: one event batch, head + 1. */
enum err batch_end_revision(struct batch *batch);
void batch_begin_op(struct batch *batch);
/* Keeps what the op did, or undoes it where e says that it failed; returns e. */
enum err batch_end_op(struct batch *batch, enum err e);
/* Before the first change to a state record in an op. */
enum err batch_savepoint(struct batch *batch);
/* Frees what a function of sync has read. */
void batch_forget_reads(struct batch *batch);

static inline bool batch_dirty(const struct batch *batch) /* the revision in progress has rows */
{
	return batch->change_count > batch->revision_changes;
}

/* The revision whose state the op in progress sees: its own writes included. */
static inline int64_t batch_sees(const struct batch *batch)
{
	return batch->head + batch_dirty(batch);
}

/* Notes a failed write to SQLite. */
enum err batch_broken(struct batch *batch, enum err e);

/* A kv of the log in full, copied into the arena (NULL: the batch's scratch). */
enum err batch_kv(struct batch *batch, struct bytes key, const struct version *version,
		  struct arena *arena, struct kv *ret_kv);

/* Keys in the range that live at batch_sees(), in key order, in scratch memory; the bytes are the
 * index's. */
enum err batch_keys(struct batch *batch, struct bytes key, struct bytes end,
		    struct bytes **ret_keys, size_t *ret_count);

enum err batch_put(struct batch *batch, const struct put_op *put, struct arena *arena,
		   struct put_result *ret_result);
enum err batch_put_check(struct batch *batch, const struct put_op *put);
enum err batch_delete(struct batch *batch, const struct delete_op *op, struct arena *arena,
		      struct delete_result *ret_result);
enum err batch_txn(struct batch *batch, const struct txn_op *txn, struct arena *arena,
		   struct txn_result *ret_result);
enum err batch_apply(struct batch *batch, apply_fn *fn, void *context);
enum err batch_jump(struct batch *batch, int64_t revision);
/* All below `revision` is compacted from here on. */
enum err batch_set_compacted(struct batch *batch, int64_t revision);

/* The compaction revision as this batch leaves it. */
static inline int64_t batch_compacted(const struct batch *batch)
{
	int64_t compacted = atomic_load(&batch->store->pins.compacted);

	return batch->compacted > compacted ? batch->compacted : compacted;
}

/* The alarms as this batch leaves them. */
static inline unsigned batch_alarms(const struct batch *batch)
{
	return (atomic_load(&batch->store->alarms) | batch->alarms_raised) & ~batch->alarms_cleared;
}

bool txn_is_readonly(const struct txn_op *txn);
bool txn_has_put(const struct txn_op *txn); /* on either branch, at any depth */

#endif
