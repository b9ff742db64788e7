/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/disk/book.h"

#include <stdio.h>
#include <stdlib.h>

void book_init(struct book *book, int64_t first)
{
	memset(book, 0, sizeof(*book));
	book->first = book->last = first;
}

/* The cells of a revision, which begins as its predecessor was. */
static struct book_cell *cells_at(struct book *book, int64_t revision)
{
	if (revision - book->first >= BOOK_REVISIONS_MAX || revision < book->last) {
		fprintf(stderr, "the book has no page for revision %lld\n", (long long)revision);
		abort();
	}
	while (book->last < revision) {
		book->last++;
		memcpy(book->cells[book->last - book->first],
		       book->cells[book->last - book->first - 1], sizeof(book->cells[0]));
	}
	return book->cells[revision - book->first];
}

void book_put(struct book *book, int64_t revision, int key, uint32_t value, int64_t lease)
{
	struct book_cell *cell = &cells_at(book, revision)[key];

	*cell = (struct book_cell){
		.value = value,
		.mod_revision = revision,
		.create_revision = cell->value ? cell->create_revision : revision,
		.version = cell->value ? cell->version + 1 : 1,
		.lease = lease,
	};
}

void book_delete(struct book *book, int64_t revision, int key)
{
	cells_at(book, revision)[key] = (struct book_cell){0};
}

uint32_t book_value_new(struct book *book)
{
	return ++book->value_count;
}

struct bytes book_key(int key, char *room)
{
	return bytes_of(room, (size_t)snprintf(room, BOOK_KEY_BYTES, "key%02d", key));
}

struct bytes book_value(uint32_t value, uint8_t *room)
{
	struct rig_random random = {value * UINT64_C(7919)};
	size_t size = rig_random(&random, 300);

	if (value % 7 == 0) /* on overflow pages */
		size = 1500 + rig_random(&random, 6000);
	if (value % 40 == 0)
		size = BOOK_VALUE_BYTES_MAX - rig_random(&random, 9);
	for (size_t i = 0; i < size; i++)
		room[i] = (uint8_t)rig_random(&random, 256);
	return bytes_of(room, size);
}

/* --- check ----------------------------------------------------------------------------------- */

static bool wrong(char *why, const char *what, int64_t is, int64_t low, int64_t high)
{
	snprintf(why, BOOK_WHY_BYTES, "%s is %lld, not in %lld .. %lld", what, (long long)is,
		 (long long)low, (long long)high);
	return false;
}

static bool between(int64_t is, int64_t low, int64_t high)
{
	return is >= low && is <= high;
}

static bool cell_matches(const struct book_cell *cell, const struct kv *kv)
{
	uint8_t room[BOOK_VALUE_BYTES_MAX];

	return kv->mod_revision == cell->mod_revision &&
	       kv->create_revision == cell->create_revision && kv->version == cell->version &&
	       kv->lease == cell->lease && bytes_equal(kv->value, book_value(cell->value, room));
}

static bool check_contents(const struct book *book, int64_t revision, struct rig *rig, char *why)
{
	const struct book_cell *cells = book->cells[revision - book->first];
	struct range_op op = {
		.key = BYTES_LITERAL("key"), .end = BYTES_LITERAL("kez"), .revision = revision};
	struct range_result result = {0};
	enum err e = store_range(rig->reader, &op, &rig->arena, &result);
	size_t at = 0;

	if (e) {
		snprintf(why, BOOK_WHY_BYTES, "revision %lld cannot be read: %s",
			 (long long)revision, err_name(e));
		return false;
	}
	for (int key = 0; key < BOOK_KEYS; key++) {
		char room[BOOK_KEY_BYTES];

		if (!cells[key].value)
			continue;
		if (at >= result.kv_count ||
		    !bytes_equal(result.kvs[at].key, book_key(key, room)) ||
		    !cell_matches(&cells[key], &result.kvs[at])) {
			snprintf(why, BOOK_WHY_BYTES,
				 "at revision %lld key %d is missing or wrong (%zu keys read)",
				 (long long)revision, key, result.kv_count);
			return false;
		}
		at++;
	}
	return at == result.kv_count ||
	       wrong(why, "count of keys", (int64_t)result.kv_count, (int64_t)at, (int64_t)at);
}

static bool check_leases(unsigned must, unsigned may, struct rig *rig, char *why)
{
	unsigned found = 0;
	int64_t *ids;
	size_t count;

	if (store_lease_list(rig->store, &rig->arena, &ids, &count)) {
		snprintf(why, BOOK_WHY_BYTES, "leases cannot be listed");
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		struct lease_info info;

		if (!between(ids[i] - BOOK_LEASE_FIRST, 0, BOOK_LEASES - 1) ||
		    store_lease_info(rig->store, ids[i], false, &rig->arena, &info) ||
		    info.granted_seconds != BOOK_LEASE_TTL) {
			snprintf(why, BOOK_WHY_BYTES, "lease %lld was never granted so",
				 (long long)ids[i]);
			return false;
		}
		found |= 1u << (ids[i] - BOOK_LEASE_FIRST);
	}
	if ((found & must) == must && !(found & ~may))
		return true;
	snprintf(why, BOOK_WHY_BYTES, "leases are %x, must be %x and may be %x", found, must, may);
	return false;
}

/* Keys hang on their leases. */
static bool check_attached(const struct book *book, int64_t head, struct rig *rig, char *why)
{
	const struct book_cell *cells = book->cells[head - book->first];

	for (int lease = 0; lease < BOOK_LEASES; lease++) {
		struct lease_info info;
		size_t attached = 0;

		if (store_lease_info(rig->store, BOOK_LEASE_FIRST + lease, true, &rig->arena,
				     &info) ||
		    info.remaining_seconds < 0)
			continue;
		for (int key = 0; key < BOOK_KEYS; key++)
			attached += cells[key].lease == BOOK_LEASE_FIRST + lease;
		if (info.key_count != attached)
			return wrong(why, "keys of a lease", (int64_t)info.key_count,
				     (int64_t)attached, (int64_t)attached);
	}
	return true;
}

bool book_check(const struct book *book, const struct book_mark *before,
		const struct book_mark *after, struct rig *rig, char why[BOOK_WHY_BYTES])
{
	struct store_identity identity = store_identity(rig->store);
	int64_t head = store_head(rig->store);
	int64_t compacted = store_compacted(rig->store);
	unsigned must = before->leases & after->leases, may = before->leases | after->leases;
	unsigned alarms = store_alarms(rig->store);
	int64_t head_max = before->head_max > after->head ? before->head_max : after->head;
	int64_t oldest = compacted > book->first ? compacted : book->first;

	rig_forget(rig);
	if (!between(head, before->head, head_max))
		return wrong(why, "the head", head, before->head, head_max);
	if (!between(compacted, before->compacted, after->compacted))
		return wrong(why, "the compaction revision", compacted, before->compacted,
			     after->compacted);
	if (identity.term <= before->term)
		return wrong(why, "the term", (int64_t)identity.term, (int64_t)before->term + 1,
			     INT64_MAX);
	if (before->cluster_id && identity.cluster_id != before->cluster_id)
		return wrong(why, "the cluster id", (int64_t)identity.cluster_id,
			     (int64_t)before->cluster_id, (int64_t)before->cluster_id);
	if ((alarms & before->alarms & after->alarms) != (before->alarms & after->alarms) ||
	    (alarms & ~(before->alarms | after->alarms)))
		return wrong(why, "alarms", alarms, before->alarms, after->alarms);
	if (!check_contents(book, head, rig, why) || !check_contents(book, oldest, rig, why) ||
	    !check_contents(book, oldest + (head - oldest) / 2, rig, why))
		return false;
	return check_leases(must, may, rig, why) && check_attached(book, head, rig, why);
}
