/* SPDX-License-Identifier: Apache-2.0 */
/* check_internal.h - what the search for damage and the repair share: a connection that reads
 * damaged pages, too, and notes them. */
#ifndef SHIM_STORE_CHECK_INTERNAL_H
#define SHIM_STORE_CHECK_INTERNAL_H

#include "shim/store/check.h"
#include "shim/store/conn.h"
#include "shim/store/pages.h"

struct examined {
	struct conn conn;
	struct pages_noted noted;
	struct check_report *report;
	int64_t structure_findings;
};

void check_found(struct check_report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
enum err check_open(struct examined *examined, const char *db_path, bool writable);
/* SQLite's own look at how pages and tables hang together. */
enum err check_structure(struct examined *examined);

/* Each row with its value; `sound` tells whether its checksums are right. */
typedef enum err check_row_fn(void *context, const struct row *row, bool sound);
enum err check_rows(struct examined *examined, check_row_fn *fn, void *context);

#endif
