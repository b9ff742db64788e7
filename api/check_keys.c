/* SPDX-License-Identifier: Apache-2.0 */
/* check_keys.c - no key of a transaction is written twice.
 *
 * etcd's rule (checkIntervals() in server/etcdserver/api/v3rpc/key.go) has corners that clients can
 * see, so they are kept:
 *  K1 two puts of one key clash, wherever in the branch they are, unless one is in the then-part
 * and the other in the else-part of the same nested transaction; K2 a put clashes with a delete
 * that stands beside it or above it, before or after it, and with a delete inside of a nested
 * transaction that comes before the one that holds the put, but not with one inside of a later
 * nested transaction; K3 two deletes never clash; K4 a range that ends in "\0", i.e. is open, is
 * compared as it is written and so covers no put. Each level hands its sorted sets to the one
 * above; joining two sets costs their size, and the bounds on depth and on all operations (codec.h)
 * bound the whole. */
#include "api/check.h"

#include <assert.h>
#include <stdlib.h>

struct span {
	struct bytes first;
	struct bytes end; /* exclusive; unused in a set of single keys */
};

/* Ascending by first.  Ranges are also kept apart from each other. */
struct set {
	struct span *spans;
	size_t count;
};

/* What a branch writes. */
struct written {
	struct set puts;
	struct set points; /* deleted single keys */
	struct set ranges; /* deleted ranges */
};

static void set_fini(struct set *set)
{
	free(set->spans);
	*set = (struct set){0};
}

static void written_fini(struct written *written)
{
	set_fini(&written->puts);
	set_fini(&written->points);
	set_fini(&written->ranges);
}

static enum err no_memory(void)
{
	return fault(ERR_NOMEM, "checking the keys of a transaction");
}

static int compare_spans(const void *a, const void *b)
{
	return bytes_compare(((const struct span *)a)->first, ((const struct span *)b)->first);
}

/* Puts overlapping ranges into one, so that a search has to look at one place only. */
static void set_fold(struct set *set)
{
	size_t kept = 0;

	for (size_t i = 0; i < set->count; i++) {
		struct span *last = kept ? &set->spans[kept - 1] : NULL;

		if (!last || bytes_compare(set->spans[i].first, last->end) > 0)
			set->spans[kept++] = set->spans[i];
		else if (bytes_compare(set->spans[i].end, last->end) > 0)
			last->end = set->spans[i].end;
	}
	set->count = kept;
}

/* Moves all of `from` into `into`; equal keys become one and set *shared. */
static enum err set_join(struct set *into, struct set *from, bool *shared)
{
	struct set joined = {0};
	size_t a = 0, b = 0;

	if (!into->count || !from->count) {
		struct set *full = into->count ? into : from;

		joined = *full;
		*full = (struct set){0};
		set_fini(into);
		set_fini(from);
		*into = joined;
		return ERR_OK;
	}
	joined.spans = malloc((into->count + from->count) * sizeof(*joined.spans));
	if (!joined.spans)
		return no_memory();
	while (a < into->count || b < from->count) {
		int order = a == into->count   ? 1
			    : b == from->count ? -1
					       : compare_spans(&into->spans[a], &from->spans[b]);
		struct span *next = &joined.spans[joined.count++];

		*next = order <= 0 ? into->spans[a++] : from->spans[b];
		if (!order) {
			*shared = true;
			if (bytes_compare(from->spans[b].end, next->end) > 0)
				next->end = from->spans[b].end;
		}
		b += order >= 0;
	}
	set_fini(into);
	set_fini(from);
	*into = joined;
	return ERR_OK;
}

/* The last span that begins at or before the key. */
static const struct span *set_find(const struct set *set, struct bytes key)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (bytes_compare(set->spans[middle].first, key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &set->spans[low - 1] : NULL;
}

static bool is_deleted(const struct written *written, struct bytes key)
{
	const struct span *point = set_find(&written->points, key);
	const struct span *range = set_find(&written->ranges, key);

	return (point && bytes_equal(point->first, key)) ||
	       (range && bytes_compare(key, range->end) < 0);
}

static bool is_any_deleted(const struct written *written, const struct set *puts)
{
	if (!written->points.count && !written->ranges.count)
		return false;
	for (size_t i = 0; i < puts->count; i++) {
		if (is_deleted(written, puts->spans[i].first))
			return true;
	}
	return false;
}

/* Adds puts that stand beside what is already there. */
static enum err add_puts(struct written *written, struct set *puts)
{
	bool shared = false;
	enum err e;

	if (is_any_deleted(written, puts))
		return ERR_DUPLICATE_KEY;
	e = set_join(&written->puts, puts, &shared);
	return e ? e : shared ? ERR_DUPLICATE_KEY : ERR_OK;
}

static enum err add_deletes(struct written *written, struct written *from)
{
	bool shared = false; /* K3: of no interest */
	enum err e = set_join(&written->points, &from->points, &shared);

	if (!e)
		e = set_join(&written->ranges, &from->ranges, &shared);
	if (!e)
		set_fold(&written->ranges);
	return e;
}

/* --- the deletes and puts of one level --- */

static bool is_range(const struct delete_op *op)
{
	return !range_is_single(op->end) && bytes_compare(op->key, op->end) < 0; /* K4 */
}

static bool set_init(struct set *set, size_t count_max)
{
	*set = (struct set){.spans = malloc((count_max + 1) * sizeof(*set->spans))};
	return set->spans;
}

static enum err gather_deletes(struct written *written, const struct request *requests,
			       size_t count)
{
	if (!set_init(&written->points, count) || !set_init(&written->ranges, count))
		return no_memory();
	for (size_t i = 0; i < count; i++) {
		const struct delete_op *op = &requests[i].as.delete_range;

		if (requests[i].kind != REQUEST_DELETE)
			continue;
		if (is_range(op))
			written->ranges.spans[written->ranges.count++] =
				(struct span){op->key, op->end};
		else if (range_is_single(op->end))
			written->points.spans[written->points.count++] =
				(struct span){op->key, {0}};
	}
	qsort(written->points.spans, written->points.count, sizeof(struct span), compare_spans);
	qsort(written->ranges.spans, written->ranges.count, sizeof(struct span), compare_spans);
	set_fold(&written->ranges);
	return ERR_OK;
}

static enum err gather_puts(struct written *written, const struct request *requests, size_t count)
{
	struct set puts;
	enum err e = ERR_OK;

	if (!set_init(&puts, count))
		return no_memory();
	for (size_t i = 0; i < count; i++) {
		if (requests[i].kind == REQUEST_PUT)
			puts.spans[puts.count++] = (struct span){requests[i].as.put.key, {0}};
	}
	qsort(puts.spans, puts.count, sizeof(struct span), compare_spans);
	for (size_t i = 1; !e && i < puts.count; i++) {
		if (!compare_spans(&puts.spans[i - 1], &puts.spans[i]))
			e = ERR_DUPLICATE_KEY;
	}
	if (!e)
		e = add_puts(written, &puts);
	set_fini(&puts);
	return e;
}

/* --- all levels --- */

static enum err check_branch(const struct request *requests, size_t count, struct written *written);

static enum err check_nested(const struct txn_op *op, struct written *written)
{
	struct written then_part = {0}, else_part = {0};
	bool shared = false; /* K1: the parts exclude each other */
	enum err e = check_branch(op->success, op->success_count, &then_part);

	if (!e)
		e = check_branch(op->failure, op->failure_count, &else_part);
	if (!e)
		e = set_join(&then_part.puts, &else_part.puts, &shared);
	if (!e)
		e = add_puts(written, &then_part.puts);
	if (!e)
		e = add_deletes(written, &then_part); /* after the puts: K2 */
	if (!e)
		e = add_deletes(written, &else_part);
	written_fini(&then_part);
	written_fini(&else_part);
	return e;
}

static enum err check_branch(const struct request *requests, size_t count, struct written *written)
{
	enum err e = gather_deletes(written, requests, count);

	for (size_t i = 0; !e && i < count; i++) {
		if (requests[i].kind == REQUEST_TXN) {
			assert(requests[i].as.txn); /* check_txn() was here before */
			e = check_nested(requests[i].as.txn, written);
		}
	}
	return e ? e : gather_puts(written, requests, count);
}

/* One plain operation clashes with nothing: kube-apiserver's transactions stop here. */
static bool is_single(const struct request *requests, size_t count)
{
	return count == 0 || (count == 1 && requests[0].kind != REQUEST_TXN);
}

enum err check_txn_keys(const struct txn_op *op)
{
	struct written written = {0};
	enum err e = ERR_OK;

	if (!is_single(op->success, op->success_count))
		e = check_branch(op->success, op->success_count, &written);
	written_fini(&written);
	if (!e && !is_single(op->failure, op->failure_count))
		e = check_branch(op->failure, op->failure_count, &written);
	written_fini(&written);
	return e;
}
