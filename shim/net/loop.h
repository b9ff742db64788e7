/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h - one event loop thread and the ways into it.
 *
 * Ownership: tasks, timers and jobs are embedded in their owner and must stay until they ran or
 * were stopped; a stopped timer may be freed at once.
 * Threads: loop_post() from any thread; everything else on the loop's own thread (asserted).
 * Before loop_start() and after loop_join() there is none and the caller stands in for it.
 * Limits: LOOP_INBOX_TASKS_MAX posted tasks; posting never fails below it, and one task is never
 * posted twice at once. */
#ifndef SHIM_NET_LOOP_H
#define SHIM_NET_LOOP_H

#include "shim/base/err.h"
#include "shim/base/inbox.h"

#include <uv.h>

struct loop;

enum err loop_new(struct loop **ret_loop);
/* After loop_join(), or when it was never started: runs what was posted too late, then frees. */
void loop_free(struct loop *loop);
enum err loop_start(struct loop *loop); /* starts its thread */
void loop_join(struct loop *loop);	/* waits for the thread; it ends when nothing is open */
uv_loop_t *loop_uv(struct loop *loop);
bool loop_is_current(const struct loop *loop); /* whether the caller runs on its thread */
/* Without the loop's thread: one turn on the caller's; false when nothing is left to run.  For an
 * owner that closes things on a loop that was never started. */
bool loop_turn(struct loop *loop);

struct loop_task {
	struct inbox_node node;
	void (*fn)(struct loop_task *task);
};

/* Runs the task on the loop's thread; one wake-up serves all that were posted meanwhile. */
void loop_post(struct loop *loop, struct loop_task *task);

/* The same for a chain of tasks that is not empty; it is empty afterwards. */
void loop_post_chain(struct loop *loop, struct inbox_chain *tasks);

/* Runs task->fn on the next turn; for work that goes on in slices.  Loop thread only. */
void loop_later(struct loop *loop, struct loop_task *task);

/* Zeroed memory is a stopped timer; the owner sets fn, the rest is the loop's.  A running timer
 * keeps the loop alive. */
struct loop_timer {
	void (*fn)(struct loop_timer *timer);
	struct loop *loop; /* while it runs, else NULL */
	uint64_t due_ms;
	uint64_t repeat_ms;
	struct loop_timer *child;    /* pairing heap: first child, */
	struct loop_timer *next;     /* next sibling, */
	struct loop_timer *previous; /* sibling before it, or the parent of a first child */
};

/* repeat_ms 0: once.  Starting a running timer sets it anew.  The least wait is one ms. */
void loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t first_ms,
		      uint64_t repeat_ms);
void loop_timer_stop(struct loop_timer *timer); /* stopping twice is harmless */

/* Work that would hold up the loop (a hash over all rows, a snapshot): `work` runs on a pool
 * thread, then `done` on the loop. */
struct loop_job {
	uv_work_t request;
	void (*work)(struct loop_job *job);
	void (*done)(struct loop_job *job);
};

enum err loop_offload(struct loop *loop, struct loop_job *job);

#endif
