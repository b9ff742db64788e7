/* SPDX-License-Identifier: Apache-2.0 */
/* stats.h - latencies in a log-linear histogram, and what the kernel knows about the server.
 *
 * Limits: a latency is known to 1.6 %; above 2^40 ns (18 minutes) it counts as that. */
#ifndef TESTS_BENCH_STATS_H
#define TESTS_BENCH_STATS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_BITS 40
#define HISTOGRAM_SLOTS ((HISTOGRAM_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
	uint64_t count;
	uint64_t slots[HISTOGRAM_SLOTS];
};

void histogram_add(struct histogram *histogram, int64_t ns);
/* The latency in us that the given share of all stayed below; 0 when there are none. */
double histogram_us(const struct histogram *histogram, double share);

/* Counters of a process; those that cannot be read are -1. */
struct process_sample {
	int64_t cpu_ns; /* user and system, all threads, ended ones included */
	int64_t rss_kib;
	int64_t rss_peak_kib;
	int64_t written_bytes; /* caused to be written to the disk */
};
struct process_sample process_sample(pid_t pid);

#endif
