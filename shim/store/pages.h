/* SPDX-License-Identifier: Apache-2.0 */
/* pages.h - a checksum in every page of the database file: an SQLite VFS that stands before the
 * system's own, adds it to each page that is written and compares it at each read.
 *
 * The last PAGE_SUM_BYTES of a page, which SQLite leaves alone (its "reserved" bytes), are the
 * CRC-32C (little endian) of the page number and of all bytes before them.  So a bit that flips
 * anywhere, a page in a wrong place and a page of zeros are noticed: the read fails with
 * SQLITE_IOERR_DATA, which conn_error() makes DAMAGED, and the log names the page.  SQLite's WAL
 * has checksums of its own (see wal.h); pages get theirs when they leave it.
 *
 * Files of other programs are passed through, so that they can be told apart.
 * Threads: a file belongs to its connection.  Registered once, by conn_configure_library(). */
#ifndef SHIM_STORE_PAGES_H
#define SHIM_STORE_PAGES_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#define PAGES_VFS "kedge" /* for sqlite3_open_v2() */
#define PAGE_SUM_BYTES 4

void pages_register(void);

/* Room for checksums in a file that is to be made; ahead of the first statement. */
int pages_reserve(sqlite3 *db);

/* For the search for damage: pages that fail are noted here, once each and in no order, and handed
 * out as they are. */
#define PAGES_NOTED_MAX 1024

struct pages_noted {
	uint32_t pages[PAGES_NOTED_MAX];
	size_t count; /* of all, also of those that found no room */
};

/* From now on, for this connection. */
int pages_note(sqlite3 *db, struct pages_noted *noted);

#endif
