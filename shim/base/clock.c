/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/clock.h"

#include <time.h>

static int64_t read_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

static int64_t system_monotonic_ns(void *context)
{
	(void)context;
	return read_ns(CLOCK_MONOTONIC);
}

static int64_t system_wall_ns(void *context)
{
	(void)context;
	return read_ns(CLOCK_REALTIME);
}

const struct clock clock_system = {
	.monotonic_ns = system_monotonic_ns,
	.wall_ns = system_wall_ns,
};
