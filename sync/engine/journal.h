/* SPDX-License-Identifier: Apache-2.0 */
/* journal.h - the closed siblings: values that a client's write superseded without its client
 * having seen them.
 *
 * A write must supersede what it cannot see, or an acknowledged put could not be read; so nothing
 * is lost silently only because what it closed is kept here.  `kedge conflicts` lists and restores.
 *
 * Threads: writing runs on the writer.  Limits: JOURNAL_BYTES_MAX and JOURNAL_DAYS_MAX, the oldest
 * go first (journal_prune). */
#ifndef SYNC_ENGINE_JOURNAL_H
#define SYNC_ENGINE_JOURNAL_H

#include "sync/merge/visible.h"

struct apply;
struct stamper;

/* Notes what `new` no longer has of the old state and the client had not seen.  The write has its
 * old value split. */
enum err journal_closed(struct stamper *stamper, struct apply *apply, const struct write *write,
			struct bytes key, const struct state *new);

/* One closed sibling, as listed.  All of a write that have the same uid belong together. */
struct closed {
	struct bytes key;
	struct dot by;	  /* the write that closed it */
	hlc_stamp at;	  /* its stamp */
	struct bytes uid; /* of the object that the sibling was part of */
	struct column_id id;
	struct sibling sibling;
};

bool journal_decode(struct bytes value, struct closed *ret_closed);

#endif
