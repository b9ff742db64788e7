/* SPDX-License-Identifier: Apache-2.0 */
/* compactor.h - automatic compaction, etcd's --auto-compaction-mode and -retention.
 *
 * periodic: the head is remembered ten times per retention (per hour, where that is longer), and
 * once per retention (hour) the one that is a whole retention old is compacted.
 * revision: every five minutes all but the newest N revisions are compacted.
 * Ownership: started and stopped by serve.c.  Threads: the loop's; the op goes to the writer.
 * Limits: COMPACTOR_SAMPLES_MAX remembered heads. */
#ifndef SHIM_COMPACTOR_H
#define SHIM_COMPACTOR_H

#include "shim/net/loop.h"
#include "shim/store/store.h"

#define COMPACTOR_SAMPLES_MAX 16384 /* heads; with one per 6 min that is over two months */

struct compactor;

/* ret_compactor is NULL when retention is 0.  problem: what is wrong with the retention text. */
enum err compactor_new(struct store *store, const char *mode, const char *retention,
		       struct compactor **ret_compactor, char *problem, size_t problem_bytes);
void compactor_start(struct compactor *compactor,
		     struct loop *loop);	  /* on the loop; accepts NULL */
void compactor_stop(struct compactor *compactor); /* on the loop; accepts NULL */
void compactor_free(struct compactor *compactor); /* after the store was stopped */

#endif
