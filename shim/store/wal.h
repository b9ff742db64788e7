/* SPDX-License-Identifier: Apache-2.0 */
/* wal.h - SQLite's write-ahead log as an earlier process left it, looked at before SQLite does.
 *
 * SQLite reads a WAL up to the first frame that fails its checksum: after a power cut that is the
 * end of what was synced.  Where a commit and its successor follow such a frame it is not: every
 * commit was synced before the next one began, so something acknowledged is damaged.
 * Threads: before there are any others. */
#ifndef SHIM_STORE_WAL_H
#define SHIM_STORE_WAL_H

#include "shim/store/store.h"

/* DAMAGED, in words, when commits follow a damaged frame. */
enum err wal_check(const char *db_path, char problem[STORE_PROBLEM_BYTES]);

/* Writes the WAL, if there is one, over itself and syncs it.  After a sync that failed Linux takes
 * the pages for clean: they can be read, the next sync succeeds, and they are not on the disk.  A
 * server that is started after that must not build on them. */
enum err wal_rewrite(const char *db_path, char problem[STORE_PROBLEM_BYTES]);

#endif
