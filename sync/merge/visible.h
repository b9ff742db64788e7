/* SPDX-License-Identifier: Apache-2.0 */
/* visible.h - what clients see of a key's state, by rule.
 *
 * A pure function of state and policy, so equal state and equal rules give equal bytes at every
 * site.  It never changes the state: what it does not choose stays a sibling.
 *
 * The object: births are grouped by uid; the best birth's uid is shown.  The columns: of each the
 * best sibling.  Siblings are ordered by the column's own order where it has one (below), then by
 * the policy's rank of their actor, then by stamp, then by dot.
 *   deletionTimestamp, deletionGracePeriodSeconds: the earlier, the smaller
 *   immutable: true; a Namespace's status.phase: Terminating
 *   generation: the highest, plus one for each sibling that it or a column of spec has beyond one:
 *   two sites that changed a spec apart each counted one change, and controllers must see another.
 *
 * Some columns follow another one, their lead: of them nothing is shown that was written together
 * with a value of the lead that is not shown, and what was written with the shown one goes before
 * all else.  A column of which nothing is left is not shown.
 *   the spec leads the managers of the object itself in managedFields (those of a subresource
 *   claim nothing in it) and kubectl's last-applied-configuration: both speak of one spec.
 *   Under an atomic policy the type leads all but deletionTimestamp, grace period and finalizers:
 *   each write wrote every column, so all that is shown is of one write.
 * Of owners with controller: true that several writes made one is shown, that of the shown spec.
 *
 * "Written together" is read from the dots, and no more can be read from them: whether the shown
 * spec's writer had seen another column is not in the state.
 *
 * Ownership: the value is in the arena.  Errors: NOMEM (a fault). */
#ifndef SYNC_MERGE_VISIBLE_H
#define SYNC_MERGE_VISIBLE_H

#include "sync/merge/state.h"

/* What a policy finds in the state itself before it ranks anybody; the policy alone reads it. */
struct facts {
	struct site creator; /* of the birth that is shown */
	bool has_home;
	struct site home;
	int owner; /* the policy's number for it */
	struct site owner_site;
};

struct policy {
	const void *context;
	/* Called once for each view of a state in which there is something to choose; best is the
	 * birth whose uid is shown.  ret_facts is zeroed.  NULL: there are no facts. */
	enum err (*look)(const struct policy *policy, const struct state *state,
			 const struct birth *best, struct arena *arena, struct facts *ret_facts);
	/* Higher ranks win; equal ones leave it to the stamp.  NULL: all are equal. */
	int (*rank)(const struct policy *policy, const struct facts *facts,
		    const struct column_id *id, const struct actor *actor);
	/* The same for whole objects of one name with different uids. */
	int (*rank_birth)(const struct policy *policy, const struct birth *birth);
	bool update_wins; /* for writes: see state.h */
	bool atomic;	  /* all columns from one write; a write writes all of them */
};

struct visible {
	bool present; /* false: deleted, or births without a type: nothing can be shown */
	struct bytes uid;
	struct bytes value;
	/* An object that an apiserver would remove in the update that led to this state, and that
	 * nobody will remove if the last finalizers went at different sites. */
	bool deletion_due;
};

enum err state_visible(const struct state *state, const struct policy *policy, struct arena *arena,
		       struct visible *ret_visible);

/* The birth whose object is shown; the state has one. */
const struct birth *state_shown_birth(const struct state *state, const struct policy *policy);

/* What a policy looks at (zeroed where there is nothing to choose). */
enum err state_facts(const struct state *state, const struct policy *policy, struct arena *arena,
		     struct facts *ret_facts);

/* A policy and what it found. */
struct judge {
	const struct policy *policy;
	struct facts facts;
};

/* > 0 when sibling a is shown rather than b. */
int sibling_compare(const struct judge *judge, const struct column_id *id, const struct sibling *a,
		    const struct sibling *b);

/* --- a client's write ------------------------------------------------------------------------- */

struct write {
	const struct state *old;
	struct bytes old_value; /* visible before; counts where old_present */
	bool old_present;
	struct bytes value; /* counts where not deleted */
	bool deleted;
	const struct object *old_object; /* both values split, where the caller has that; or NULL */
	const struct object *object;
	struct dot dot;
	hlc_stamp stamp;
};

/* The state after a write by a client that saw old_value: columns that differ are superseded with
 * all their siblings, the others stay as they are.  The new state's visible value is the written
 * one: what an apiserver got acknowledged can be read.  ret_state is not the old one. */
enum err state_write(const struct write *write, const struct policy *policy, struct arena *arena,
		     struct state *ret_state);

#endif
