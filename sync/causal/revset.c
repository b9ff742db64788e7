/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/causal/revset.h"

#include "sync/limits.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void revset_fini(struct revset *set)
{
	free(set->intervals);
	*set = (struct revset){0};
}

static enum err reserve(struct revset *set, size_t count)
{
	struct interval *grown;
	size_t capacity = set->capacity ? set->capacity : 1;

	if (count <= set->capacity)
		return ERR_OK;
	if (count > VECTOR_INTERVALS_MAX)
		return ERR_REQUEST_TOO_LARGE;
	while (capacity < count)
		capacity *= 2;
	grown = reallocarray(set->intervals, capacity, sizeof(*grown));
	if (!grown)
		return fault(ERR_NOMEM, "a set of %zu intervals", capacity);
	set->intervals = grown;
	set->capacity = capacity;
	return ERR_OK;
}

/* The first interval that ends at or behind the revision; count when there is none. */
static size_t find(const struct revset *set, int64_t revision)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (set->intervals[middle].last < revision)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

enum err revset_add(struct revset *set, int64_t first, int64_t last)
{
	/* Neighbours melt together too, so everything from first - 1 to last + 1 is looked at. */
	size_t begin = find(set, first - 1), end = begin;
	struct interval added = {first, last};
	enum err e;

	assert(first >= 1 && first <= last && last <= REV_MAIN_MAX);
	while (end < set->count && set->intervals[end].first <= last + 1)
		end++;
	if (begin == end) {
		e = reserve(set, set->count + 1);
		if (e)
			return e;
	} else {
		if (set->intervals[begin].first < added.first)
			added.first = set->intervals[begin].first;
		if (set->intervals[end - 1].last > added.last)
			added.last = set->intervals[end - 1].last;
	}
	memmove(set->intervals + begin + 1, set->intervals + end,
		(set->count - end) * sizeof(added));
	set->count = set->count + 1 - (end - begin);
	set->intervals[begin] = added;
	return ERR_OK;
}

/* Appends behind everything there, melting with the last. */
static enum err append(struct revset *set, struct interval interval)
{
	struct interval *last = set->count ? &set->intervals[set->count - 1] : NULL;
	enum err e;

	if (last && interval.first <= last->last + 1) {
		if (interval.last > last->last)
			last->last = interval.last;
		return ERR_OK;
	}
	e = reserve(set, set->count + 1);
	if (!e)
		set->intervals[set->count++] = interval;
	return e;
}

/* Puts a finished result in the place of a set, or drops it. */
static enum err replace(struct revset *set, struct revset *result, enum err e)
{
	if (e) {
		revset_fini(result);
		return e;
	}
	free(set->intervals);
	*set = *result;
	return ERR_OK;
}

enum err revset_merge(struct revset *into, const struct revset *from)
{
	struct revset result = {0};
	size_t i = 0, j = 0;
	enum err e = ERR_OK;

	assert(into != from);
	if (revset_covers(into, from))
		return ERR_OK;
	if (from->count == 1) /* nearly always */
		return revset_add(into, from->intervals[0].first, from->intervals[0].last);
	while (!e && (i < into->count || j < from->count)) {
		if (j == from->count ||
		    (i < into->count && into->intervals[i].first <= from->intervals[j].first))
			e = append(&result, into->intervals[i++]);
		else
			e = append(&result, from->intervals[j++]);
	}
	return replace(into, &result, e);
}

enum err revset_subtract(struct revset *into, const struct revset *from)
{
	struct revset result = {0};
	enum err e = ERR_OK;

	assert(into != from);
	for (size_t i = 0; i < into->count && !e; i++) {
		struct interval rest = into->intervals[i];

		for (size_t j = find(from, rest.first);
		     j < from->count && from->intervals[j].first <= rest.last; j++) {
			struct interval taken = from->intervals[j];

			if (taken.first > rest.first && !e)
				e = append(&result, (struct interval){rest.first, taken.first - 1});
			rest.first = taken.last + 1;
		}
		if (rest.first <= rest.last && !e)
			e = append(&result, rest);
	}
	return replace(into, &result, e);
}

void revset_cut(struct revset *into, int64_t last)
{
	while (into->count && into->intervals[into->count - 1].first > last)
		into->count--;
	if (into->count && into->intervals[into->count - 1].last > last)
		into->intervals[into->count - 1].last = last;
}

bool revset_contains(const struct revset *set, int64_t revision)
{
	size_t i = find(set, revision);

	return i < set->count && set->intervals[i].first <= revision;
}

bool revset_covers(const struct revset *set, const struct revset *other)
{
	for (size_t i = 0; i < other->count; i++) {
		size_t j = find(set, other->intervals[i].last);

		if (j == set->count || set->intervals[j].first > other->intervals[i].first)
			return false;
	}
	return true;
}

bool revset_equal(const struct revset *a, const struct revset *b)
{
	return a->count == b->count &&
	       (!a->count || !memcmp(a->intervals, b->intervals, a->count * sizeof(*a->intervals)));
}

int64_t revset_last(const struct revset *set)
{
	return set->count ? set->intervals[set->count - 1].last : 0;
}
