/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the files of the store share; nobody above the store includes it.
 *
 * Locks, each a leaf, none held across SQLite: index_lock guards `index` (readers take the shared
 * side for one slice of a scan, the writer the exclusive one for each change; the writer reads
 * without it, for nobody else changes the index); lease_lock guards `lessor`; pins.lock guards the
 * pins.  What is marked atomic needs none. */
#ifndef SHIM_STORE_INTERNAL_H
#define SHIM_STORE_INTERNAL_H

#include "shim/base/inbox.h"
#include "shim/store/conn.h"
#include "shim/store/index.h"
#include "shim/store/lease.h"
#include "shim/store/pin.h"
#include "shim/store/store.h"

#include <stdatomic.h>

#define STORE_DB_NAME "kedge.db" /* inside the data directory */
#define STORE_LOCK_NAME "kedge.lock"

struct writer;

struct counters {
	_Atomic uint64_t commits;
	_Atomic uint64_t puts;
	_Atomic uint64_t deletes;
	_Atomic uint64_t txns;
	_Atomic uint64_t ranges;
	_Atomic uint64_t compacted_rows;
	_Atomic uint64_t leases_granted;
	_Atomic uint64_t leases_revoked;
	_Atomic uint64_t leases_renewed;
	_Atomic uint64_t leases_expired;
	_Atomic uint64_t slow_commits;
	_Atomic uint64_t pending_ops;
	_Atomic uint64_t commit_ns;
	_Atomic uint64_t commit_bucket[STORE_COMMIT_BUCKETS];
};

struct store {
	struct store_config config; /* data_dir points to our copy */
	char *data_dir;
	char *db_path;
	int lock_fd;
	int64_t quota_bytes; /* 0: off */
	struct store_identity identity;

	pthread_rwlock_t index_lock;
	struct index *index;
	pthread_mutex_t lease_lock;
	struct lessor *lessor;
	struct pins pins;
	struct value_cache *values;

	_Atomic int64_t head; /* newest published revision */
	_Atomic unsigned alarms;
	_Atomic int64_t file_bytes;
	_Atomic int64_t in_use_bytes;
	atomic_bool stopped; /* a fault: every op gets STOPPED */
	struct counters counters;
	struct meter events; /* of all batches that somebody holds */

	struct inbox inbox;
	struct writer *writer;
};

struct store_reader {
	struct store *store;
	struct conn conn;
};

/* A row as the index knows it. */
static inline struct version row_version(const struct row *row)
{
	return (struct version){
		.row = row->rev,
		.create_revision = row->create_revision,
		.version = row->version,
		.lease = row->lease,
		.value_bytes = (uint32_t)row->value.size,
		.tombstone = row->flags & ROW_TOMBSTONE,
		.invisible = row->flags & ROW_INVISIBLE,
		.merged = row->flags & ROW_MERGED,
		.has_meta = row->meta.size > 0,
	};
}

static inline void count_up(_Atomic uint64_t *counter, uint64_t by)
{
	atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

/* Checks an asked-for revision as etcd does and pins what it means: asked <= 0 is the head, above
 * the head is FUTURE_REVISION, below the compaction COMPACTED. */
enum err store_hold_read(struct store *store, int64_t asked, struct pin *pin, int64_t *ret_revision,
			 int64_t *ret_head);
void store_release(struct store *store, struct pin *pin);

/* Sets the in-memory alarm and asks the writer to make it durable. */
void store_raise_alarm(struct store *store, enum alarm alarm);

#endif
