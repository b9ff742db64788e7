/* SPDX-License-Identifier: Apache-2.0 */
/* datadir.h - the data directory: made when missing, and owned by one server at a time.
 *
 * Errors: in words, in `problem`. */
#ifndef SHIM_STORE_DATADIR_H
#define SHIM_STORE_DATADIR_H

#include "shim/store/store.h"

/* Makes the directory (mode 0700) with its parents and takes its lock file, which the kernel lets
 * go when the process ends, however it ends. */
enum err datadir_lock(const char *data_dir, int *ret_lock_fd, char problem[STORE_PROBLEM_BYTES]);
void datadir_unlock(int lock_fd); /* accepts -1 */

/* Makes durable that the folder is there, and what names are in it: syncs it and all above it. */
enum err datadir_sync(const char *data_dir, char problem[STORE_PROBLEM_BYTES]);

/* data_dir/name in malloc'ed memory; NULL when memory is out. */
char *datadir_path(const char *data_dir, const char *name);

#endif
