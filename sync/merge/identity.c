/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/merge/identity.h"

#include "sync/merge/view.h"

/* Whether this is the first birth of its uid. */
static bool is_first(const struct state *state, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (bytes_equal(state->births[i].uid, state->births[at].uid))
			return false;
	return true;
}

/* What tells two objects apart that say the same. */
static bool is_identity(const struct column_id *id)
{
	return is_metadata(id, "uid") || is_metadata(id, "creationTimestamp") ||
	       is_metadata(id, "resourceVersion") || is_metadata(id, "generation") ||
	       is_metadata(id, "managedFields") || (is_metadata(id, "") && id->part == PART_ORDER);
}

static size_t skip_identity(const struct view *view, size_t at)
{
	while (at < view->count && is_identity(&view->columns[at].id))
		at++;
	return at;
}

static bool say_the_same(const struct view *a, const struct view *b)
{
	size_t i = skip_identity(a, 0), j = skip_identity(b, 0);

	while (i < a->count && j < b->count) {
		if (!column_id_equal(&a->columns[i].id, &b->columns[j].id) ||
		    !bytes_equal(a->columns[i].bytes, b->columns[j].bytes))
			return false;
		i = skip_identity(a, i + 1);
		j = skip_identity(b, j + 1);
	}
	return i == a->count && j == b->count;
}

enum err state_identity(const struct state *state, const struct policy *policy, struct arena *arena,
			struct identity *ret_identity)
{
	struct identity identity = {0};
	struct view first, view;
	enum err e = ERR_OK;

	for (size_t i = 0; i < state->count; i++)
		identity.uids += is_first(state, i);
	identity.adopted = identity.uids > 1;
	if (identity.adopted)
		e = view_make(state, policy, state->births[0].uid, arena, &first);
	for (size_t i = 1; !e && identity.adopted && i < state->count; i++) {
		if (!is_first(state, i))
			continue;
		e = view_make(state, policy, state->births[i].uid, arena, &view);
		if (!e)
			identity.adopted = say_the_same(&first, &view);
	}
	if (!e)
		*ret_identity = identity;
	return e;
}

bool visible_uid_changed(const struct visible *before, const struct visible *after)
{
	return before->present && after->present && !bytes_equal(before->uid, after->uid);
}
