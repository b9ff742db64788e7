/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - time behind a table, so that tests replace it.
 *
 * Threads: the functions may be called from any thread.
 * monotonic_ns() does not count while the machine sleeps, as Go's does not, nor follows the date:
 * what a client could not renew because it slept, too, is still there when both wake up.  It is
 * the clock of libuv and of the condition variables, so that a deadline and the wait for it agree.
 * wall_ns() is for people and logs only. */
#ifndef SHIM_BASE_CLOCK_H
#define SHIM_BASE_CLOCK_H

#include <stdint.h>

struct clock {
	int64_t (*monotonic_ns)(void *context);
	int64_t (*wall_ns)(void *context);
	void *context;
};

extern const struct clock clock_system;

#define NS_PER_SECOND INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

static inline int64_t clock_now_ns(const struct clock *clock)
{
	return clock->monotonic_ns(clock->context);
}

#endif
