/* SPDX-License-Identifier: Apache-2.0 */
/* sync.h - the face of the store for the sync engine: merging and stamping on the writer, and small
 * durable records.
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

#endif
