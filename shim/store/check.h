/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - the search for damage in a data folder, and its repair from a snapshot.
 *
 * Threads: the caller's.  A server may run beside a check, not beside a repair.
 * Errors: DAMAGED when there is damage (or some is left); others are in words in `problem`. */
#ifndef SHIM_STORE_CHECK_H
#define SHIM_STORE_CHECK_H

#include "shim/store/store.h"

#include <stdio.h>

struct check_report {
	FILE *out;	  /* a line for each finding; NULL: none */
	int64_t findings; /* pages, rows, structures */
	int64_t rows;	  /* looked at */
	int64_t rows_damaged;
	int64_t rows_repaired;
};

/* Reads and verifies everything: WAL, every page in use, the structure of the database, every row
 * with its value.  Changes nothing. */
enum err store_check(const char *data_dir, struct check_report *report,
		     char problem[STORE_PROBLEM_BYTES]);

/* Puts rows from a snapshot, in which they stand with the same revision, in place of damaged ones.
 * All or nothing: the database is written anew, and the old one is kept beside it as
 * kedge.db.damaged.  Identity, revisions, leases and all sound rows stay as they are. */
enum err store_repair(const char *data_dir, const char *snapshot, struct check_report *report,
		      char problem[STORE_PROBLEM_BYTES]);

#endif
