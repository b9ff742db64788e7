/* SPDX-License-Identifier: Apache-2.0 */
/* view.h - a view in the making.  Internal to sync/merge. */
#ifndef SYNC_MERGE_VIEW_H
#define SYNC_MERGE_VIEW_H

#include "sync/merge/visible.h"

/* A cell of the shown uid; births of one uid may have a cell each for one column. */
struct pooled {
	const struct cell *cell;
};

/* A column whose choice others follow: they show nothing that was written together with a value
 * that it does not show. */
struct lead {
	const struct column_id *id; /* NULL: nothing was to be chosen, nobody follows */
	const struct sibling *shown;
	const struct dot **hidden;
	size_t hidden_count;
};

struct view {
	struct judge judge;
	struct arena *arena;
	struct pooled *pool; /* ascending by column */
	size_t pool_count;
	struct lead type;
	struct lead spec;
	struct column *columns;
	const struct sibling **shown; /* beside columns */
	size_t count;
	size_t spec_extra; /* siblings beyond one of the column of spec that has most */
	size_t generation_extra;
	int64_t generation_max;
};

static inline bool is(struct bytes name, const char *text)
{
	return bytes_equal(name, bytes_of_string(text));
}

static inline bool is_metadata(const struct column_id *id, const char *sub)
{
	return is(id->field, "metadata") && is(id->sub, sub);
}

/* The chosen columns of all births of this uid. */
enum err view_make(const struct state *state, const struct policy *policy, struct bytes uid,
		   struct arena *arena, struct view *ret_view);

/* --- lead.c ----------------------------------------------------------------------------------- */

/* Chooses the type and the spec, which others follow.  false: the arena is full. */
bool view_find_leads(struct view *view);
/* Whom a column follows; NULL: nobody. */
const struct lead *view_lead(const struct view *view, const struct column_id *id);
bool lead_hides(const struct lead *lead, const struct sibling *sibling);
/* > 0 when a is shown rather than b in a column that follows. */
int lead_compare(const struct view *view, const struct lead *lead, const struct sibling *a,
		 const struct sibling *b);
/* Leaves one controller among owners that several writes named. */
enum err view_settle_owners(struct view *view);

/* An object's deletion and its finalizers are never undone by the choice of another column. */
bool column_is_apart(const struct column_id *id);

#endif
