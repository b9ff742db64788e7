/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/causal/vector.h"

#include <assert.h>
#include <stdlib.h>

void vector_fini(struct vector *vector)
{
	for (size_t i = 0; i < vector->count; i++)
		revset_fini(&vector->entries[i].revisions);
	free(vector->entries);
	*vector = (struct vector){0};
}

enum err vector_copy(const struct vector *vector, struct vector *ret_copy)
{
	struct vector copy = {0};
	enum err e = vector_merge(&copy, vector);

	if (e)
		vector_fini(&copy);
	else
		*ret_copy = copy;
	return e;
}

/* The first entry whose actor is not before this one. */
static size_t find(const struct vector *vector, const struct actor *actor)
{
	size_t low = 0, high = vector->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (actor_compare(&vector->entries[middle].actor, actor) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct revset *revisions_of(const struct vector *vector, const struct actor *actor)
{
	size_t i = find(vector, actor);

	if (i == vector->count || actor_compare(&vector->entries[i].actor, actor) != 0)
		return NULL;
	return &vector->entries[i].revisions;
}

static enum err grow(struct vector *vector)
{
	size_t capacity = vector->capacity ? vector->capacity * 2 : 4;
	struct vector_entry *grown;

	if (vector->count < vector->capacity)
		return ERR_OK;
	if (vector->count >= VECTOR_ACTORS_MAX)
		return ERR_REQUEST_TOO_LARGE;
	grown = reallocarray(vector->entries, capacity, sizeof(*grown));
	if (!grown)
		return fault(ERR_NOMEM, "a vector of %zu actors", capacity);
	vector->entries = grown;
	vector->capacity = capacity;
	return ERR_OK;
}

static void remove_entry(struct vector *vector, size_t i)
{
	revset_fini(&vector->entries[i].revisions);
	vector->count--;
	memmove(vector->entries + i, vector->entries + i + 1,
		(vector->count - i) * sizeof(*vector->entries));
}

/* The entry of an actor, made empty where there is none; the caller fills or removes it. */
static enum err entry_of(struct vector *vector, const struct actor *actor, size_t *ret_index)
{
	size_t i = find(vector, actor);
	enum err e;

	*ret_index = i;
	if (i < vector->count && !actor_compare(&vector->entries[i].actor, actor))
		return ERR_OK;
	e = grow(vector);
	if (e)
		return e;
	memmove(vector->entries + i + 1, vector->entries + i,
		(vector->count - i) * sizeof(*vector->entries));
	vector->count++;
	vector->entries[i] = (struct vector_entry){.actor = *actor};
	return ERR_OK;
}

static enum err end_entry(struct vector *vector, size_t i, enum err e)
{
	if (!vector->entries[i].revisions.count)
		remove_entry(vector, i);
	return e;
}

enum err vector_add(struct vector *vector, const struct actor *actor, int64_t first, int64_t last)
{
	size_t i;
	enum err e = entry_of(vector, actor, &i);

	if (e)
		return e;
	return end_entry(vector, i, revset_add(&vector->entries[i].revisions, first, last));
}

enum err vector_merge(struct vector *into, const struct vector *from)
{
	assert(into != from);
	for (size_t j = 0; j < from->count; j++) {
		size_t i;
		enum err e = entry_of(into, &from->entries[j].actor, &i);

		if (e)
			return e;
		e = end_entry(
			into, i,
			revset_merge(&into->entries[i].revisions, &from->entries[j].revisions));
		if (e)
			return e;
	}
	return ERR_OK;
}

enum err vector_subtract(struct vector *into, const struct vector *from)
{
	assert(into != from);
	for (size_t i = into->count; i > 0; i--) {
		struct vector_entry *entry = &into->entries[i - 1];
		const struct revset *taken = revisions_of(from, &entry->actor);
		enum err e = ERR_OK;

		if (taken)
			e = end_entry(into, i - 1, revset_subtract(&entry->revisions, taken));
		if (e)
			return e;
	}
	return ERR_OK;
}

void vector_cut(struct vector *vector, const struct actor *actor, int64_t last)
{
	size_t i = find(vector, actor);

	if (i == vector->count || actor_compare(&vector->entries[i].actor, actor) != 0)
		return;
	revset_cut(&vector->entries[i].revisions, last);
	end_entry(vector, i, ERR_OK);
}

bool vector_has(const struct vector *vector, const struct dot *dot)
{
	const struct revset *revisions = revisions_of(vector, &dot->actor);

	return revisions && revset_contains(revisions, dot->revision);
}

bool vector_covers(const struct vector *vector, const struct vector *other)
{
	for (size_t i = 0; i < other->count; i++) {
		const struct revset *revisions = revisions_of(vector, &other->entries[i].actor);

		if (!revisions || !revset_covers(revisions, &other->entries[i].revisions))
			return false;
	}
	return true;
}

bool vector_equal(const struct vector *a, const struct vector *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (actor_compare(&a->entries[i].actor, &b->entries[i].actor) != 0 ||
		    !revset_equal(&a->entries[i].revisions, &b->entries[i].revisions))
			return false;
	return true;
}

int64_t vector_last(const struct vector *vector, const struct actor *actor)
{
	const struct revset *revisions = revisions_of(vector, actor);

	return revisions ? revset_last(revisions) : 0;
}

/* --- encoding: the number of actors; for each its name and its intervals ---------------------- */

/* An interval is the gap before it and its length, each less the least it can be. */
static bool put_revisions(struct buffer *buffer, const struct revset *set)
{
	int64_t free_from = 1;

	if (!wire_put_number(buffer, set->count - 1))
		return false;
	for (size_t i = 0; i < set->count; i++) {
		struct interval interval = set->intervals[i];

		if (!wire_put_number(buffer, (uint64_t)(interval.first - free_from)) ||
		    !wire_put_number(buffer, (uint64_t)(interval.last - interval.first)))
			return false;
		free_from = interval.last + 2;
	}
	return true;
}

bool vector_encode(const struct vector *vector, struct buffer *buffer)
{
	if (!wire_put_number(buffer, vector->count))
		return false;
	for (size_t i = 0; i < vector->count; i++)
		if (!actor_put(buffer, &vector->entries[i].actor) ||
		    !put_revisions(buffer, &vector->entries[i].revisions))
			return false;
	return true;
}

static enum err take_revisions(struct wire *wire, struct revset *set)
{
	int64_t free_from = 1;
	uint64_t more, gap, length;

	if (!wire_take_number(wire, VECTOR_INTERVALS_MAX - 1, &more))
		return ERR_MALFORMED;
	for (uint64_t i = 0; i <= more; i++) {
		enum err e;

		if (free_from > REV_MAIN_MAX ||
		    !wire_take_number(wire, (uint64_t)(REV_MAIN_MAX - free_from), &gap) ||
		    !wire_take_number(wire, (uint64_t)(REV_MAIN_MAX - free_from) - gap, &length))
			return ERR_MALFORMED;
		free_from += (int64_t)gap;
		e = revset_add(set, free_from, free_from + (int64_t)length);
		if (e)
			return e;
		free_from += (int64_t)length + 2;
	}
	return ERR_OK;
}

static enum err take_entry(struct wire *wire, struct vector *vector)
{
	struct vector_entry *last = vector->count ? &vector->entries[vector->count - 1] : NULL;
	struct actor actor;
	size_t i;
	enum err e;

	if (!actor_take(wire, &actor) || (last && actor_compare(&last->actor, &actor) >= 0))
		return ERR_MALFORMED;
	e = entry_of(vector, &actor, &i);
	if (e)
		return e;
	return end_entry(vector, i, take_revisions(wire, &vector->entries[i].revisions));
}

enum err vector_decode(struct wire *wire, struct vector *ret_vector)
{
	struct vector vector = {0};
	uint64_t count;
	enum err e = ERR_OK;

	*ret_vector = vector;
	if (!wire_take_number(wire, VECTOR_ACTORS_MAX, &count))
		return ERR_MALFORMED;
	for (uint64_t i = 0; i < count && !e; i++)
		e = take_entry(wire, &vector);
	if (e)
		vector_fini(&vector);
	else
		*ret_vector = vector;
	return e;
}
