/* SPDX-License-Identifier: Apache-2.0 */
/* sync.h - the face of the store for the sync engine: merging and stamping on the writer, small
 * durable records, the log by revision, all keys at one moment.
 *
 * Threads: what takes a struct apply runs on the writer, inside the function that was given it; the
 * rest is like store.h's.
 * Errors: as store.h's.  On the writer any error may be returned as it is: the op is undone and
 * answered with it. */
#ifndef SHIM_STORE_SYNC_H
#define SHIM_STORE_SYNC_H

#include "shim/store/store.h"

/* --- on the writer: the function of an OP_APPLY, and the stamping hook ------------------------ *
 *
 * The function of an OP_APPLY sees what was written before it, its own rows too, and writes one or
 * several revisions.  All of them are committed in one transaction of SQLite, with the state
 * records; an error undoes all.  Slices that a read gives live until the function (the hook)
 * returns, at most CALL_ARENA_BYTES_MAX of them. */

/* What the log knows of one key. */
struct apply_row {
	bool found;		  /* any row is there */
	bool merged;		  /* the newest row was written by apply_put() or apply_delete() */
	bool live;		  /* a visible version is there and is no deletion */
	struct bytes meta;	  /* of the newest row of any kind */
	int64_t newest_revision;  /* ... and its main revision */
	int64_t visible_revision; /* of the newest visible row, a deletion too; 0: none is left */
	struct kv kv;		  /* the visible version, when live */
};

/* The newest state of the key. */
enum err apply_get(struct apply *apply, struct bytes key, struct apply_row *ret_row);

/* visible: takes effect for clients and watchers.  Not visible: the row takes a revision and keeps
 * meta, but no value, and clients see neither an event nor another mod_revision.  Of kv, key, value
 * and lease count; create_revision and version follow from the log.  Everything is copied.  Such
 * rows are marked as merged.  Not for the hook. */
enum err apply_put(struct apply *apply, const struct kv *kv, struct bytes meta, bool visible);
enum err apply_delete(struct apply *apply, struct bytes key, struct bytes meta, bool visible);

/* The main revision that the next row gets, or in the hook that its row has. */
int64_t apply_revision(const struct apply *apply);
/* Closes the revision in progress, so that rows that follow get the next one; nothing happens where
 * none was written in it.  Each revision is one batch of events.  Not for the hook. */
enum err apply_next_revision(struct apply *apply);

/* Small durable records, by name in the order of its bytes: cursors, clocks, superseded siblings.
 * REQUEST_TOO_LARGE beyond STATE_NAME_BYTES_MAX and STATE_VALUE_BYTES_MAX. */
enum err apply_set_state(struct apply *apply, struct bytes name, struct bytes value);
enum err apply_get_state(struct apply *apply, struct bytes name, bool *ret_found,
			 struct bytes *ret_value);
enum err apply_delete_state(struct apply *apply, struct bytes name);
/* Those in [from, end), an empty end meaning all from `from` on; the first `limit` of them. */
enum err apply_delete_states(struct apply *apply, struct bytes from, struct bytes end,
			     int64_t limit, int64_t *ret_deleted);

/* What the stamping hook is told of the write (store.h). */
struct stamp_row {
	struct bytes key;
	struct bytes old_meta;	/* of the newest row of the key, visible or not */
	struct bytes old_value; /* of the visible version before */
	bool old_present;	/* there was one, and it was no deletion */
	bool tombstone;
	struct bytes value;
	int64_t revision; /* main revision being written */
};

/* --- state records, from any thread ----------------------------------------------------------- */

/* The value is copied into the arena. */
enum err store_state_get(struct store_reader *reader, struct bytes name, struct arena *arena,
			 bool *ret_found, struct bytes *ret_value);

/* Records in [from, end) in order of names (an empty end: to the last), until fn returns false.
 * Read in slices, so that a long list holds back no checkpoint: each record is as it was committed,
 * all of them are not of one moment.  The slices live during the call; fn may use the reader. */
typedef bool state_visit_fn(void *context, struct bytes name, struct bytes value);
enum err store_state_scan(struct store_reader *reader, struct bytes from, struct bytes end,
			  state_visit_fn *fn, void *context);

/* --- the log by revision ---------------------------------------------------------------------- */

struct log_row {
	int64_t revision;
	int64_t sub; /* place in its revision; gaps where the sweep took others */
	struct bytes key;
	struct bytes value; /* none in a deletion and in an invisible row */
	struct bytes meta;
	int64_t create_revision;
	int64_t version;
	int64_t lease;
	bool tombstone;
	bool invisible;
	bool merged; /* written by apply_put() or apply_delete() */
};

/* Slices live during the call; an error ends the reading and is its answer.  A read transaction is
 * open meanwhile: fn is quick, and reads nothing with the same reader, which is behind the head. */
typedef enum err log_visit_fn(void *context, const struct log_row *row);

struct log_op {
	int64_t from; /* exclusive */
	int64_t to;   /* inclusive; beyond the head: up to the head */
	size_t rows_max;
	size_t bytes_max; /* keys, values and metas */
	bool no_values;	  /* value.data is NULL, its size is known: long values cost no reading */
};

/* All rows of the main revisions in (from, ret_to], in the order of their writing: invisible ones
 * and deletions too.  Whole revisions, at least one where there is one; stops after the revision in
 * which a limit was reached.  COMPACTED when rows after `from` may have been swept. */
enum err store_log(struct store_reader *reader, const struct log_op *op, log_visit_fn *fn,
		   void *context, int64_t *ret_to);

/* What was known of one key at a revision >= store_swept(): else COMPACTED; above the head
 * FUTURE_REVISION.  A key that was deleted then, with nothing in its meta, may not be found.  The
 * slices are in the arena. */
enum err store_key_at(struct store_reader *reader, struct bytes key, int64_t revision,
		      struct arena *arena, struct apply_row *ret_row);

/* All rows whose main revision is above it are still in the log, whatever was compacted; 0: all
 * that ever were. */
int64_t store_swept(const struct store *store);
/* The sweep goes no further than this revision until it is moved; INT64_MAX: no hold, as after
 * store_open().  What was swept before stays swept, so it is set before store_start(). */
void store_log_hold(struct store *store, int64_t revision);

/* --- all keys at one moment ------------------------------------------------------------------- */

struct keys_op {
	struct bytes key; /* a range as everywhere: see range_contains() */
	struct bytes end;
	bool values; /* wanted; else value.data is NULL */
};

/* One key that is visible and alive, or of which sync knows something. */
struct keys_row {
	struct bytes key;
	struct bytes meta;  /* of the newest row of any kind */
	struct bytes value; /* of the visible version, when live */
	bool live;
	bool merged; /* the newest row is */
	int64_t newest_revision;
	int64_t visible_revision; /* of the newest visible row, a deletion too; 0: none is left */
	int64_t lease;		  /* of the visible version, when live */
};

/* The scan sees the published head at which it was opened, and pins it: while it is open the sweep
 * leaves all that the scan may show.  It holds no lock and no transaction between calls, and some
 * KEYS_SLICE_BYTES and one row of memory. */
struct store_keys;

enum err store_keys_open(struct store_reader *reader, const struct keys_op *op,
			 struct store_keys **ret_keys, int64_t *ret_revision);
/* Slices live until the next call.  ret_found is false at the end. */
enum err store_keys_next(struct store_keys *keys, struct keys_row *ret_row, bool *ret_found);
/* One key, in the range or not, at the scan's revision, with its value; its slices live until the
 * next store_keys_get(). */
enum err store_keys_get(struct store_keys *keys, struct bytes key, struct keys_row *ret_row,
			bool *ret_found);
void store_keys_close(struct store_keys *keys);

#endif
