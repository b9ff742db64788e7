/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - the site's revision vectors, one a group, as of now and as of any revision of the log
 * at which a window may be cut.
 *
 * What the site wrote itself is not kept: at revision R it is all of its present incarnation up to
 * the newest client's write that is not above R.  Merges take revisions too, but they are no
 * writes: if the vector grew with them, two sites would tell each other of their merges for ever.
 * What it took over came in merges; each is a step, with the first and the last revision that it
 * wrote.  A window must not end inside a step, for the rows of a merge mean something only beside
 * the whole of its step.  Steps are folded into a base when nobody needs the revisions between
 * them.
 *
 * Ownership: zeroed memory .. clock_fini.  Threads: the engine's; the writer reads `now` of a clock
 * that nobody changes while an op is under way.
 * Errors: those of sync/causal/vector.h; DAMAGED (a fault) for records that cannot be read. */
#ifndef SYNC_ENGINE_CLOCK_H
#define SYNC_ENGINE_CLOCK_H

#include "shim/store/store.h"
#include "shim/store/sync.h"
#include "sync/causal/vector.h"
#include "sync/message/message.h"

struct clock_step {
	int64_t first;
	int64_t last;
	struct vector delta;
};

struct group_clock {
	struct vector now; /* base and all steps */
	struct vector base;
	int64_t base_revision; /* windows end here or later */
	struct clock_step *steps;
	size_t count;
	size_t capacity;
};

struct node_clock {
	struct actor self;
	int64_t begin; /* the incarnation's revisions are above */
	/* For each group the newest revision of a client's write, done or undone; the stamper's. */
	const _Atomic int64_t *written;
	struct group_clock groups[GROUPS];
};

void clock_fini(struct node_clock *clock);

/* Everything known at the revision, own writes included.  revision >= base_revision. */
enum err clock_at(const struct node_clock *clock, enum group group, int64_t revision,
		  struct vector *ret_vector);
/* Where a window that reaches `revision` must end. */
int64_t clock_cut(const struct node_clock *clock, enum group group, int64_t revision);

/* Notes what a merge that wrote (first .. last) brought; first > last: it wrote no row, and counts
 * from revision `last` on. */
enum err clock_step(struct node_clock *clock, enum group group, const struct clock_step *step);
/* Folds steps up to the revision. */
enum err clock_fold(struct node_clock *clock, enum group group, int64_t revision);

/* --- records of the store ------------------------------------------------------------------- */

enum err clock_put_step(struct apply *apply, enum group group, const struct clock_step *step);
/* All that is known at the revision, and a step that is not noted yet (NULL: none), as its base,
 * and no step up to it. */
enum err clock_put_base(struct apply *apply, const struct node_clock *clock, enum group group,
			int64_t revision, const struct vector *step);
enum err clock_load(struct node_clock *clock, struct store_reader *reader);

#endif
