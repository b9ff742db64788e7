/* SPDX-License-Identifier: Apache-2.0 */
/* revset.h - a set of revisions of one actor, as intervals in normal form.
 *
 * Normal form: ascending, none empty, none touching the next; so equal sets are equal memory, and a
 * site that heard everything up to a revision is one interval.
 *
 * Ownership: revset_init (or zeroed memory) .. revset_fini; functions never keep a pointer to
 * another set, and `into` may not be `from`.
 * Errors: NOMEM (a fault), REQUEST_TOO_LARGE beyond VECTOR_INTERVALS_MAX; the set then stays what
 * it was.  Revisions outside 1 .. REV_MAIN_MAX are a bug of the caller. */
#ifndef SYNC_CAUSAL_REVSET_H
#define SYNC_CAUSAL_REVSET_H

#include "shim/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct interval {
	int64_t first;
	int64_t last; /* inclusive */
};

struct revset {
	struct interval *intervals;
	size_t count;
	size_t capacity;
};

void revset_fini(struct revset *set);

enum err revset_add(struct revset *set, int64_t first, int64_t last);
enum err revset_merge(struct revset *into, const struct revset *from);
/* Takes out of `into` what `from` has. */
enum err revset_subtract(struct revset *into, const struct revset *from);
/* Leaves in `into` what is not above the revision. */
void revset_cut(struct revset *into, int64_t last);

bool revset_contains(const struct revset *set, int64_t revision);
/* Whether `set` has all that `other` has. */
bool revset_covers(const struct revset *set, const struct revset *other);
bool revset_equal(const struct revset *a, const struct revset *b);
int64_t revset_last(const struct revset *set); /* 0 when empty */

#endif
