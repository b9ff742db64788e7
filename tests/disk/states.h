/* SPDX-License-Identifier: Apache-2.0 */
/* states.h - a disk that loses power: from a trace, every state in which it may be found.
 *
 * What was synced is there.  Of what was not, any part may be: each sector of 512 bytes is as it
 * was at the last sync or as any write since left it, a file may have grown without its data (zeros
 * or garbage instead), and each creation, removal and rename may be there or not until its folder
 * was synced.  A sync that failed promises nothing, and a later one that succeeds does not cover
 * what it was for: that is what Linux does.
 *
 * Sectors are whole: a disk that damages bytes next to those it writes is not modelled, nor does
 * SQLite expect it (SQLITE_IOCAP_POWERSAFE_OVERWRITE).
 *
 * Ownership: disk_new() .. disk_free().  Threads: one. */
#ifndef TESTS_DISK_STATES_H
#define TESTS_DISK_STATES_H

#include "tests/disk/trace.h"

struct disk_model;

struct disk_model *disk_new(void);
void disk_free(struct disk_model *model);
/* The next event of the trace; marks are not the model's. */
void disk_apply(struct disk_model *model, const struct trace_event *event);

/* Things that may or may not have reached the disk. */
size_t disk_pending(const struct disk_model *model);

/* Which of them have. */
enum choice_kind {
	CHOICE_NONE,
	CHOICE_ALL,
	CHOICE_SUBSET_NUMBER, /* bit i of `number`: the i-th */
	CHOICE_PREFIX,	      /* the first `number`, and a part of the next one */
	CHOICE_ONE,	      /* the `number`-th alone */
	CHOICE_ALL_BUT_ONE,
	CHOICE_SUBSET,	/* each or not */
	CHOICE_SECTORS, /* each sector or not */
	CHOICE_KIND_COUNT,
};

struct choice {
	enum choice_kind kind;
	uint64_t number;
	uint64_t seed; /* decides what kind and number leave open */
};

const char *choice_name(enum choice_kind kind);
/* Writes the state to a folder, which must be empty, and returns a hash over it. */
uint64_t disk_hash(struct disk_model *model, const struct choice *choice);
void disk_write(struct disk_model *model, const struct choice *choice, const char *folder);

#endif
