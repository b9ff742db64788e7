/* SPDX-License-Identifier: Apache-2.0 */
/* serve.h - `kedge serve`: builds the graph bottom-up (store, hub, rpc, server, loop), waits for a
 * signal or a fault, takes it down top-down.
 *
 * Threads: the caller's becomes the one that waits for signals. */
#ifndef SHIM_SERVE_H
#define SHIM_SERVE_H

/* Exit statuses of the program. */
#define EXIT_OK 0
#define EXIT_FAILED 1 /* could not start: the log or stderr says why */
#define EXIT_USAGE 2  /* the command line or configuration is wrong */
#define EXIT_FAULT 3  /* the store stopped on a disk fault; a restart reads what is on disk */
#define EXIT_DAMAGED                                                                               \
	4 /* the data is damaged: a restart changes nothing, so none should be tried by itself */

int serve_main(int arg_count, char **args);

#endif
