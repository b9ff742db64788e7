/* SPDX-License-Identifier: Apache-2.0 */
/* damage.h - a small real database, its history known, and ways to damage a copy of it.
 *
 * The history is the same in every process: puts of all sizes, deletes, transactions, leases and a
 * compaction, some of it folded into the database, the rest still in its WAL.
 * Ownership: one base per process, made on first use.  Threads: one. */
#ifndef TESTS_FUZZ_DAMAGE_H
#define TESTS_FUZZ_DAMAGE_H

#include "shim/store/store.h"
#include "tests/fuzz/fuzz.h"

struct damage_base {
	struct bytes db;       /* kedge.db */
	struct bytes wal;      /* kedge.db-wal */
	struct bytes snapshot; /* of the same state, without a trailer */
	int64_t head;
	int64_t compacted;
	size_t key_count; /* that live at the head */
};

const struct damage_base *damage_base(void);

/* Whether the base's history has exactly this version of a key. */
bool damage_is_true(const struct kv *kv);

/* Copies to damage: data is malloc'ed, with room to grow by DAMAGE_GROWTH. */
#define DAMAGE_GROWTH 8192
struct damage_file {
	uint8_t *data;
	size_t size;
};

void damage_copy(struct bytes source, struct damage_file *ret_file);
/* One change that the input describes: bits, bytes, pages, length. */
void damage_bytes(struct fuzz_input *input, struct damage_file *file);
/* Makes the checksums of all pages of a database right again. */
void damage_mend_pages(struct damage_file *db);
/* Makes the checksums of all frames of a WAL right again. */
void damage_mend_wal(struct damage_file *wal);
/* A change that SQLite itself makes to the database at the path. */
void damage_sql(struct fuzz_input *input, const char *path);

/* Everything that a store answers is true or an error; gives how many keys live at its head, or -1
 * when that read failed. */
int64_t damage_judge(struct store *store);

#endif
