/* SPDX-License-Identifier: Apache-2.0 */
/* machine spin                   how much faster two busy threads are than one (2.0 at best), and
 *                                the share of a core that the worse one got (1.0)
 * machine disk FOLDER            one JSON line: a bare write and fdatasync, again and again
 * machine echo PORT KEYS VALUE   a gRPC server without a store (echo.h) */
#include "tests/bench/common.h"
#include "tests/bench/echo.h"
#include "tests/bench/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPIN_NS INT64_C(300000000)
#define BLOCK_BYTES 4096
#define DISK_WRITES 2000
#define PREALLOCATED_BLOCKS 2048 /* 8 MiB, as large as a write-ahead log that is used again */

/* --- the processor ----------------------------------------------------------------------- */

struct spinner {
	uint64_t turns;
	double share; /* of the time that it was given a core */
};

static void *spin(void *argument)
{
	struct spinner *spinner = argument;
	int64_t begun = now_ns(), now = begun;
	struct timespec cpu;
	uint64_t x = 1;

	while (now < begun + SPIN_NS) {
		for (int i = 0; i < 1000; i++)
			x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		spinner->turns += 1 + (x == 0);
		now = now_ns();
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	spinner->share = ((double)cpu.tv_sec * 1e9 + (double)cpu.tv_nsec) / (double)(now - begun);
	return NULL;
}

static void spin_gate(void)
{
	struct spinner alone = {0}, together[2] = {{0}};
	pthread_t threads[2];

	for (int i = 0; i < 3; i++) {
		struct spinner *spinner = i == 0 ? &alone : &together[i - 1];

		if (pthread_create(&threads[i == 2], NULL, spin, spinner))
			die("no thread can be started");
		if (i == 0)
			pthread_join(threads[0], NULL);
	}
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	printf("%.2f %.2f\n", (double)(together[0].turns + together[1].turns) / (double)alone.turns,
	       together[0].share < together[1].share ? together[0].share : together[1].share);
}

/* --- the disk ---------------------------------------------------------------------------- */

static void write_block(int fd, off_t at)
{
	static uint8_t block[BLOCK_BYTES];

	block[0]++;
	if (pwrite(fd, block, sizeof block, at) != sizeof block)
		die("write: %s", strerror(errno));
	if (fdatasync(fd))
		die("fdatasync: %s", strerror(errno));
}

static void time_writes(const char *name, int fd, bool grows)
{
	static struct histogram histogram;
	int64_t begun = now_ns(), last = begun;

	memset(&histogram, 0, sizeof histogram);
	for (int i = 0; i < DISK_WRITES; i++) {
		int64_t now;

		write_block(fd, (off_t)(grows ? i : i % PREALLOCATED_BLOCKS) * BLOCK_BYTES);
		now = now_ns();
		histogram_add(&histogram, now - last);
		last = now;
	}
	printf("{\"disk\": \"%s\", \"rate\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", name,
	       DISK_WRITES / ((double)(last - begun) / 1e9), histogram_us(&histogram, 0.5),
	       histogram_us(&histogram, 0.99));
}

static int open_file(const char *folder, const char *name)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	unlink(path);
	return fd;
}

static void disk(const char *folder)
{
	static uint8_t zeros[BLOCK_BYTES];
	int written = open_file(folder, "bench-again"), grown = open_file(folder, "bench-grown");

	for (off_t i = 0; i < PREALLOCATED_BLOCKS; i++) {
		if (pwrite(written, zeros, sizeof zeros, i * BLOCK_BYTES) != sizeof zeros)
			die("write: %s", strerror(errno));
	}
	fsync(written);
	time_writes("overwrite", written, false);
	time_writes("append", grown, true);
	close(written);
	close(grown);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "spin"))
		spin_gate();
	else if (argc == 3 && !strcmp(argv[1], "disk"))
		disk(argv[2]);
	else if (argc == 5 && !strcmp(argv[1], "echo"))
		echo_serve((uint16_t)strtoul(argv[2], NULL, 10), strtoull(argv[3], NULL, 10),
			   strtoull(argv[4], NULL, 10));
	else
		die("usage: machine spin | disk FOLDER | echo PORT KEYS VALUE");
	return 0;
}
