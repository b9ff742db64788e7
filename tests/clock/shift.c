/* SPDX-License-Identifier: Apache-2.0 */
/* shift.c - loaded before libc (LD_PRELOAD) it shows a program wrong clocks, which can be set while
 * it runs.
 *
 * KEDGE_TEST_CLOCKS names a file of three numbers (int64_t): seconds to add to the clocks that show
 * the date, to CLOCK_BOOTTIME, and to CLOCK_MONOTONIC.  What the kernel does by itself (timeouts of
 * poll and of condition variables) stays in true time. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum shift { SHIFT_DATE, SHIFT_BOOT, SHIFT_MONOTONIC, SHIFT_COUNT };

static const volatile int64_t *shifts;

__attribute__((constructor)) static void map_shifts(void)
{
	const char *path = getenv("KEDGE_TEST_CLOCKS");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *map;

	if (fd < 0)
		return;
	map = mmap(NULL, SHIFT_COUNT * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		shifts = map;
}

static int64_t shift_of(clockid_t id)
{
	if (!shifts)
		return 0;
	switch (id) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		return shifts[SHIFT_DATE];
	case CLOCK_BOOTTIME:
		return shifts[SHIFT_BOOT];
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_COARSE:
		return shifts[SHIFT_MONOTONIC];
	default:
		return 0;
	}
}

int clock_gettime(clockid_t id, struct timespec *ret_time)
{
	int result = (int)syscall(SYS_clock_gettime, id, ret_time);

	if (!result)
		ret_time->tv_sec += shift_of(id);
	return result;
}

time_t time(time_t *ret_time)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_REALTIME, &now);
	if (ret_time)
		*ret_time = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
	struct timespec now = {0};

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	ret_time->tv_sec = now.tv_sec;
	ret_time->tv_usec = now.tv_nsec / 1000;
	return 0;
}
