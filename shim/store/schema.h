/* SPDX-License-Identifier: Apache-2.0 */
/* schema.h - the tables, who may open them, and the few numbers beside the log.
 *
 * Errors: what keeps a server from starting is put into words in `problem`, with what mends it. */
#ifndef SHIM_STORE_SCHEMA_H
#define SHIM_STORE_SCHEMA_H

#include "shim/store/conn.h"
#include "shim/store/store.h"

#define SCHEMA_APPLICATION_ID 0x6b656467 /* "kedg", PRAGMA application_id */
#define SCHEMA_VERSION 1		 /* PRAGMA user_version */

#define SWEEPING_UNKNOWN (-2) /* before schema_start() has put that right */

struct schema_numbers {
	struct store_identity identity;
	int64_t head;	   /* the head is never below it */
	int64_t compacted; /* NEVER_COMPACTED when it is so */
	int64_t swept;	   /* the same; below compacted: the sweep goes on */
	int64_t sweeping;  /* the same: rows above it are all there */
	unsigned alarms;   /* bits 1 << enum alarm */
};

/* Looks at a file before anything is changed in it.  ret_fresh: missing or empty. */
enum err schema_probe(const char *path, bool *ret_fresh, char problem[STORE_PROBLEM_BYTES]);

/* Tables and identity in an empty database, in one transaction. */
enum err schema_create(struct conn *conn, const struct store_identity *identity);

/* New random ids, term 0. */
enum err schema_identity_new(struct store_identity *ret_identity);

/* Raises the term durably and reads the numbers.  A database that no start of this version has seen
 * may be in the middle of a sweep that left no note: then all that is compacted counts as swept. */
enum err schema_start(struct conn *conn, struct schema_numbers *ret_numbers);
/* Reads the numbers only. */
enum err schema_numbers_read(struct conn *conn, struct schema_numbers *ret_numbers);

/* Writes a problem and returns e. */
enum err schema_problem(char problem[STORE_PROBLEM_BYTES], enum err e, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
