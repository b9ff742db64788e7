/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/scalar.h"
#include "sync/merge/view.h"

/* --- which sibling ---------------------------------------------------------------------------- */

/* The column's own order; 0 where it has none or they are equal. */
static int compare_own(const struct column_id *id, struct bytes a, struct bytes b)
{
	if (is(id->field, "metadata") &&
	    (is(id->sub, "deletionTimestamp") || is(id->sub, "deletionGracePeriodSeconds")))
		return -scalar_compare(id, a, b);
	/* false and Active are before true and Terminating in the bytes of every encoding. */
	if (is(id->field, "immutable") || (is(id->field, "status") && is(id->sub, "phase")))
		return bytes_compare(a, b);
	return 0;
}

int sibling_compare(const struct judge *judge, const struct column_id *id, const struct sibling *a,
		    const struct sibling *b)
{
	const struct policy *policy = judge->policy;
	int order = compare_own(id, a->value, b->value);

	if (!order && policy->rank)
		order = policy->rank(policy, &judge->facts, id, &a->dot.actor) -
			policy->rank(policy, &judge->facts, id, &b->dot.actor);
	if (!order)
		order = a->stamp < b->stamp ? -1 : a->stamp > b->stamp;
	return order ? order : dot_compare(&a->dot, &b->dot);
}

/* --- which object ----------------------------------------------------------------------------- */

/* When the object was created, for births that no rule ranks: the older one wins. */
static int compare_ages(const struct birth *a, const struct birth *b)
{
	const struct birth *births[2] = {a, b};
	const struct cell *found[2] = {NULL, NULL};

	for (int i = 0; i < 2; i++)
		for (size_t j = 0; j < births[i]->count; j++)
			if (is(births[i]->cells[j].id.sub, "creationTimestamp") &&
			    is(births[i]->cells[j].id.field, "metadata"))
				found[i] = &births[i]->cells[j];
	if (!found[0] || !found[1] || !column_id_equal(&found[0]->id, &found[1]->id))
		return 0;
	return -scalar_compare(&found[0]->id, found[0]->siblings[0].value,
			       found[1]->siblings[0].value);
}

static int birth_compare(const struct policy *policy, const struct birth *a, const struct birth *b)
{
	int order = 0;

	if (policy->rank_birth)
		order = policy->rank_birth(policy, a) - policy->rank_birth(policy, b);
	if (!order)
		order = compare_ages(a, b);
	if (!order)
		order = -bytes_compare(a->uid, b->uid);
	return order ? order : -dot_compare(&a->dot, &b->dot);
}

const struct birth *state_shown_birth(const struct state *state, const struct policy *policy)
{
	const struct birth *best = &state->births[0];

	for (size_t i = 1; i < state->count; i++)
		if (birth_compare(policy, &state->births[i], best) > 0)
			best = &state->births[i];
	return best;
}

static bool is_settled(const struct state *state)
{
	for (size_t i = 0; i < state->births[0].count; i++)
		if (state->births[0].cells[i].count > 1)
			return false;
	return state->count == 1;
}

enum err state_facts(const struct state *state, const struct policy *policy, struct arena *arena,
		     struct facts *ret_facts)
{
	*ret_facts = (struct facts){0};
	if (!policy->look || !state->count || is_settled(state))
		return ERR_OK;
	return policy->look(policy, state, state_shown_birth(state, policy), arena, ret_facts);
}
