/* SPDX-License-Identifier: Apache-2.0 */
/* book.h - what a store must hold, kept by those who wrote to it: every key at every revision, and
 * marks of what was acknowledged when.
 *
 * Threads: one. */
#ifndef TESTS_DISK_BOOK_H
#define TESTS_DISK_BOOK_H

#include "tests/harness/store_rig.h"

#define BOOK_KEYS 40
#define BOOK_REVISIONS_MAX 4096
#define BOOK_LEASES 16 /* ids BOOK_LEASE_FIRST and up, each a bit */
#define BOOK_LEASE_FIRST 100
#define BOOK_LEASE_TTL 100000 /* seconds: none expires */
#define BOOK_KEY_BYTES 8

struct book_cell {
	uint32_t value; /* its number; 0: no such key */
	int64_t mod_revision;
	int64_t create_revision;
	int64_t version;
	int64_t lease;
};

struct book {
	int64_t first; /* revision of cells[0] */
	int64_t last;
	uint32_t value_count;
	struct book_cell cells[BOOK_REVISIONS_MAX][BOOK_KEYS];
};

/* What a store has promised. */
struct book_mark {
	bool exists; /* it was opened, or restored, with success */
	int64_t head;
	int64_t head_max; /* what was tried in vain may be there up to here; 0: nothing was */
	int64_t compacted;
	uint64_t term;
	uint64_t cluster_id; /* 0: not known yet */
	unsigned alarms;
	unsigned leases;
};

void book_init(struct book *book, int64_t first);
void book_put(struct book *book, int64_t revision, int key, uint32_t value, int64_t lease);
void book_delete(struct book *book, int64_t revision, int key);
/* A number of a value that was not used yet. */
uint32_t book_value_new(struct book *book);

/* Text of a key and of a value; buffers of BOOK_KEY_BYTES and BOOK_VALUE_BYTES_MAX. */
#define BOOK_VALUE_BYTES_MAX 16384
struct bytes book_key(int key, char *room);
struct bytes book_value(uint32_t value, uint8_t *room);

/* Whether an open store is at a state between two marks, with all that belongs to it.  What is
 * wrong is written to `why`. */
#define BOOK_WHY_BYTES 512
bool book_check(const struct book *book, const struct book_mark *before,
		const struct book_mark *after, struct rig *rig, char why[BOOK_WHY_BYTES]);

#endif
