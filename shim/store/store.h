/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - the face of the store: one append-only log in SQLite, one ordered index in memory, one
 * writer, one revision sequence.
 *
 * Ownership: store_open() .. store_close(); readers, cursors and ops belong to who made them and
 * must be gone before store_close().
 * Threads: every function may be called from any thread unless its comment says otherwise; a reader
 * and its cursors belong to one thread at a time.  The writer thread is the store's own.
 * Errors: answers are etcd's (COMPACTED, FUTURE_REVISION, LEASE_NOT_FOUND, NO_SPACE ...); a full
 * disk is one of them; any other failure of a commit stops the store: only a restart knows what is
 * on disk, and every later op gets STOPPED.
 * Guarantees: an op is answered after its COMMIT was synced and its revision published; readers see
 * a revision whole or not at all; revisions are never given out twice, not after a crash, not after
 * a restore; the head never goes below the compaction revision. */
#ifndef SHIM_STORE_STORE_H
#define SHIM_STORE_STORE_H

#include "shim/base/clock.h"
#include "shim/store/event.h"
#include "shim/store/op.h"

struct store;
struct store_reader;

/* One group commit, handed to the listener on the writer's thread.  The listener takes its own
 * lock, calls store_commit_publish() exactly once (which moves the head that readers see), hands
 * the batches out, and lets the lock go: so nobody can see an event before a read would see its
 * revision, and a progress answer made under that lock covers all that was published. */
struct store_commit {
	struct store *store;
	struct event_batch *const *batches; /* ascending revisions, one per revision */
	size_t batch_count;
	int64_t head_revision; /* after this commit */
};

void store_commit_publish(const struct store_commit *commit);

struct store_listener {
	void (*on_commit)(void *context, const struct store_commit *commit);
	/* The log was compacted at `revision`; called after it is durable. */
	void (*on_compact)(void *context, int64_t revision);
	/* on_done was called for the ops of a commit: whoever gathered them hands them on now. */
	void (*on_answered)(void *context);
	/* A fault stopped the store; the process should end. */
	void (*on_fault)(void *context, enum err e);
	void *context;
};

/* Sync's eager stamping: called on the writer while a local write to an in-scope key is applied, it
 * says what the new row's meta is, whose memory is the hook's until its next call.  It may read
 * rows, and read and write state records, through `apply` (sync.h); it writes no rows.  Its error
 * fails the op and undoes all of it, state records too. */
struct stamp_row;

struct store_stamp {
	bool (*in_scope)(void *context, struct bytes key);
	enum err (*stamp)(void *context, struct apply *apply, const struct stamp_row *row,
			  struct bytes *ret_meta);
	void *context;
};

struct store_config {
	const char *data_dir; /* made when missing, mode 0700 */
	int64_t quota_bytes;  /* 0: the default, < 0: off */
	bool no_fsync;	      /* --unsafe-no-fsync: for tests only */
	const struct clock *clock;
	struct store_listener listener;
	struct store_stamp stamp; /* zeroed where sync is off */
};

#define STORE_PROBLEM_BYTES 512

/* On failure the problem says in words what is wrong and what mends it (foreign or newer database,
 * unreadable folder, another server on the same data, failed checksum). */
enum err store_open(const struct store_config *config, struct store **ret_store,
		    char problem[STORE_PROBLEM_BYTES]);
enum err store_start(struct store *store); /* starts the writer */
void store_stop(struct store *store);	   /* finishes what is queued, then joins the writer */
/* Where the writer was not started: does what is to be done now (ops that wait, leases that are
 * due, the sweep) on the caller's thread and returns when nothing is left but what the clock will
 * bring.  For programs that decide the order of everything, like a simulation.  STOPPED after a
 * fault; what waited has been answered. */
enum err store_turn(struct store *store);
void store_close(struct store *store);

/* --- writes ----------------------------------------------------------------------------------- */

/* Gives the op to the writer; on an error it stays the caller's and on_done is not called. */
enum err store_submit(struct store *store, struct op *op);
/* A chain of ops, by their nodes, with one wake-up; all or none, as above. */
enum err store_submit_chain(struct store *store, struct inbox_chain *ops);

/* etcd's check before Put, Txn and LeaseGrant: file size + cost >= quota raises the alarm and
 * answers NO_SPACE.  cost_bytes: 256 + key + value for a put, 64 for a grant, the dearer branch of
 * a transaction. */
enum err store_quota_check(struct store *store, int64_t cost_bytes);

/* --- reads ------------------------------------------------------------------------------------ */

int64_t store_head(const struct store *store);	    /* newest published revision, >= 1 */
int64_t store_compacted(const struct store *store); /* -1 when never compacted */

/* A read connection with its statements; about 100 KiB. */
enum err store_reader_new(struct store *store, struct store_reader **ret_reader);
void store_reader_free(struct store_reader *reader);

/* A whole small answer in the arena: values are copied. */
enum err store_range(struct store_reader *reader, const struct range_op *op, struct arena *arena,
		     struct range_result *ret_result);

/* A big answer in slices.  Opening decides everything (which keys, count, more, header revision)
 * and pins the rows; kvs come with value sizes known, so that a message can be sized before any
 * value is read.  keys_only: value sizes are 0.  A pin outlives no cursor; cursors that a slow
 * client holds too long are ended by their owner. */
struct range_cursor;

enum err store_range_open(struct store_reader *reader, const struct range_op *op,
			  struct range_cursor **ret_cursor);
void store_range_close(struct range_cursor *cursor);
/* revision, count, more, kv_count; kvs is NULL. */
/* Memory that the cursor holds. */
size_t store_range_bytes(const struct range_cursor *cursor);
const struct range_result *store_range_head(const struct range_cursor *cursor);
/* Meta data of the index-th kv: value.size is right, value.data NULL. */
const struct kv *store_range_peek(const struct range_cursor *cursor, size_t index);
/* The index-th value; valid until another value is asked for, or the cursor is closed. */
enum err store_range_value(struct range_cursor *cursor, size_t index, struct bytes *ret_value);

/* History for a watcher: whole revisions in ascending order, from `from` on, of keys in (key, end),
 * as batches that hold only what matches.  Stops after rows_max rows looked at or bytes_max bytes
 * gathered (but always finishes a revision) or at revision `to`; ret_next is the first revision not
 * looked at.  COMPACTED when from < compacted revision.  Batches are the caller's (unref). */
struct history_op {
	struct bytes key;
	struct bytes end;
	int64_t from;
	int64_t to; /* inclusive; <= head */
	size_t rows_max;
	size_t bytes_max;
};

enum err store_history(struct store_reader *reader, const struct history_op *op,
		       struct event_batch **batches, size_t batches_max, size_t *ret_count,
		       int64_t *ret_next);

/* --- leases: durable grants, renewal in memory ------------------------------------------------ */

/* Remaining time back to the full granted TTL; LEASE_NOT_FOUND for an unknown or expired one. */
enum err store_lease_renew(struct store *store, int64_t id, int64_t *ret_ttl_seconds);

struct lease_info {
	int64_t id;
	int64_t granted_seconds;
	int64_t remaining_seconds; /* truncated; -1 unknown lease */
	struct bytes *keys;
	size_t key_count;
};

/* with_keys: keys are copied into the arena, in no fixed order. */
enum err store_lease_info(struct store *store, int64_t id, bool with_keys, struct arena *arena,
			  struct lease_info *ret_info);
/* Ids of all leases, soonest expiry first. */
enum err store_lease_list(struct store *store, struct arena *arena, int64_t **ret_ids,
			  size_t *ret_count);

/* --- maintenance ------------------------------------------------------------------------------ */

struct store_hash {
	uint32_t hash;
	int64_t hash_revision;
	int64_t compact_revision; /* -1 when never compacted */
};

/* etcd's HashKV: same history, same hash.  Reads every row: call it off the loop. */
enum err store_hash_kv(struct store_reader *reader, int64_t revision, struct store_hash *ret_hash);
/* A hash over the whole database contents.  Reads every row. */
enum err store_hash(struct store_reader *reader, uint32_t *ret_hash);

/* A consistent copy of the state at the published head, written as a fresh database file (padded to
 * a multiple of 512 bytes, synced).  Slow; call it off the loop. */
enum err store_snapshot_write(struct store_reader *reader, const char *path);

struct store_identity {
	uint64_t cluster_id;
	uint64_t member_id;
	uint64_t term; /* grows by one at each start */
};

#define STORE_COMMIT_BUCKETS 14 /* etcd's; what took longer is only in commits and the sum */

struct store_stats {
	int64_t file_bytes;   /* the database's pages; its WAL (at most some 16 MiB) not counted */
	int64_t in_use_bytes; /* <= file_bytes: without free pages */
	int64_t quota_bytes;  /* as reported by Status */
	int64_t key_count;    /* live keys */
	int64_t lease_count;
	uint64_t value_cache_bytes;
	uint64_t value_cache_hits;
	uint64_t value_cache_misses;
	uint64_t commits;
	uint64_t puts;
	uint64_t deletes;
	uint64_t txns;
	uint64_t ranges;
	uint64_t compacted_rows;
	uint64_t leases_granted;
	uint64_t leases_revoked;
	uint64_t leases_renewed;
	uint64_t leases_expired;
	uint64_t slow_commits; /* over 100 ms */
	uint64_t pending_ops;
	/* [i]: commits that took at most 0.001 * 2^i s and more than [i - 1]'s: not summed up. */
	uint64_t commit_seconds_bucket[STORE_COMMIT_BUCKETS];
	double commit_seconds_sum;
};

struct store_identity store_identity(const struct store *store);
void store_stats(const struct store *store, struct store_stats *ret_stats);
/* Bit 1 << ALARM_NOSPACE etc. for each raised alarm. */
unsigned store_alarms(const struct store *store);

/* --- offline, on files ------------------------------------------------------------------------ */

struct snapshot_status {
	uint32_t hash;
	int64_t revision;
	int64_t total_keys;
	int64_t total_bytes;
};

enum err store_snapshot_status(const char *path, struct snapshot_status *ret_status,
			       char problem[STORE_PROBLEM_BYTES]);
/* A snapshot of a data directory, whose server may be running, without asking that server. */
enum err store_snapshot_save(const char *data_dir, const char *path,
			     char problem[STORE_PROBLEM_BYTES]);
/* Makes a new data directory from a snapshot: new identity, revision moved forward by
 * `bump_revision` (0: by a default of one billion, so that no informer mistakes it), and the old
 * history marked compacted, so that watchers relist.  data_dir must not hold a database. */
enum err store_snapshot_restore(const char *path, const char *data_dir, int64_t bump_revision,
				char problem[STORE_PROBLEM_BYTES]);

#endif
