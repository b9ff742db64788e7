/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned slot_of(uint64_t ns)
{
	unsigned top;

	if (ns >= UINT64_C(1) << HISTOGRAM_BITS)
		return HISTOGRAM_SLOTS - 1;
	if (ns < 1u << HISTOGRAM_SUB_BITS)
		return (unsigned)ns;
	top = 63u - (unsigned)__builtin_clzll(ns);
	return ((top - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS) +
	       (unsigned)(ns >> (top - HISTOGRAM_SUB_BITS) & ((1u << HISTOGRAM_SUB_BITS) - 1));
}

static double middle_of(unsigned slot)
{
	unsigned row = slot >> HISTOGRAM_SUB_BITS;
	uint64_t low = slot & ((1u << HISTOGRAM_SUB_BITS) - 1);
	uint64_t width = 1;

	if (row) {
		width = UINT64_C(1) << (row - 1);
		low = (low + (1u << HISTOGRAM_SUB_BITS)) * width;
	}
	return (double)low + (double)width / 2;
}

void histogram_add(struct histogram *histogram, int64_t ns)
{
	histogram->slots[slot_of(ns > 0 ? (uint64_t)ns : 0)]++;
	histogram->count++;
}

double histogram_us(const struct histogram *histogram, double share)
{
	uint64_t wanted = (uint64_t)(share * (double)histogram->count), seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_SLOTS; i++) {
		seen += histogram->slots[i];
		if (histogram->slots[i] && seen > wanted)
			return middle_of(i) / 1000;
	}
	return 0;
}

/* The number behind "name" in a file of /proc. */
static int64_t proc_number(pid_t pid, const char *file, const char *name)
{
	char path[64], line[256];
	int64_t number = -1;
	FILE *in;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	in = fopen(path, "r");
	if (!in)
		return -1;
	while (number < 0 && fgets(line, sizeof line, in)) {
		if (!strncmp(line, name, strlen(name)))
			number = strtoll(line + strlen(name), NULL, 10);
	}
	fclose(in);
	return number;
}

struct process_sample process_sample(pid_t pid)
{
	struct process_sample sample = {-1, -1, -1, -1};
	struct timespec cpu;
	clockid_t clock;

	if (pid <= 0)
		return sample;
	if (!clock_getcpuclockid(pid, &clock) && !clock_gettime(clock, &cpu))
		sample.cpu_ns = cpu.tv_sec * INT64_C(1000000000) + cpu.tv_nsec;
	sample.rss_kib = proc_number(pid, "status", "VmRSS:");
	sample.rss_peak_kib = proc_number(pid, "status", "VmHWM:");
	sample.written_bytes = proc_number(pid, "io", "write_bytes:");
	return sample;
}
