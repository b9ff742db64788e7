/* SPDX-License-Identifier: Apache-2.0 */
/* tap.h - every operation on files of this process under one folder is told to a tap, which may
 * refuse it: what SQLite writes, truncates, reads and maps through a VFS of ours that stands before
 * SQLite's own, and what SQLite and the store do around it (creations, removals, renames, syncs of
 * files and folders) through our definitions of the calls of libc.
 *
 * Ownership: one tap per process.  Threads: operations are told one at a time, in the order in
 * which they take effect.
 * Programs that link this file have its definitions of open(), fsync() and so on in place of
 * libc's, for their own code and for SQLite's. */
#ifndef TESTS_DISK_TAP_H
#define TESTS_DISK_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tap_op {
	TAP_CREATE, /* a file that was not there */
	TAP_MKDIR,
	TAP_RENAME,
	TAP_UNLINK,
	TAP_RMDIR,
	TAP_WRITE,
	TAP_TRUNCATE,
	TAP_SYNC, /* of a file */
	TAP_SYNC_FOLDER,
	TAP_OPEN, /* of a file by SQLite; the next three are SQLite's, too */
	TAP_READ,
	TAP_SIZE,
	TAP_SHM,
	TAP_OP_COUNT,
};

struct tap_call {
	enum tap_op op;
	const char *path;    /* absolute */
	const char *path_to; /* of a rename */
	int64_t offset;	     /* or the new size */
	const void *data;    /* written */
	size_t size;
};

/* What becomes of a call. */
#define TAP_DO 0
#define TAP_PRETEND (-1) /* says that it was done */
#define TAP_SHORT (-2)	 /* a read that ends early */
/* Above 0 an errno: it fails; a write that does not fit (ENOSPC) leaves its first half. */

struct tap {
	int (*before)(void *context, const struct tap_call *call); /* may be NULL: all are done */
	void (*after)(void *context, const struct tap_call *call); /* was done; may be NULL */
	void *context;
};

/* Registers the VFS as SQLite's default; first of all. */
void tap_install(void);
/* Tells operations under `root` from now on; NULL ends it.  The tap stays the caller's. */
void tap_set(const struct tap *tap, const char *root);
const char *tap_op_name(enum tap_op op);

#endif
