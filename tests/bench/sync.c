/* SPDX-License-Identifier: Apache-2.0 */
/* sync.c - what sync costs: a client's write with and without the stamp, merges at the other site,
 * bytes on the link and in the log.
 *
 *   sync DIRECTORY [KEYS]
 *
 * Two sites in one process over real stores (on the folder that is named, with fsync), no network
 * between them.  Prints `name value unit` a line. */
#include "tests/unit/sync/engine_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define VALUE_BYTES 1024
#define BIG_BYTES 5120

static int64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int64_t wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static const char *widget(size_t bytes, unsigned spec, unsigned status)
{
	static char text[2 * BIG_BYTES], filling[BIG_BYTES + 1];

	memset(filling, 'x', sizeof(filling) - 1);
	for (size_t i = 0; i < BIG_BYTES; i += 7)
		filling[i] = (char)('a' + i * 31 % 23);
	snprintf(text, sizeof(text),
		 "{\"apiVersion\":\"example.com/v1\",\"kind\":\"Widget\",\"metadata\":{"
		 "\"creationTimestamp\":\"2026-01-01T00:00:00Z\",\"generation\":1,"
		 "\"labels\":{\"app\":\"a\",\"tier\":\"b\"},\"name\":\"w\","
		 "\"namespace\":\"default\",\"uid\":\"00000000-0000-0000-0000-000000000001\"},"
		 "\"spec\":{\"filling\":\"%.*s\",\"text\":\"%u\"},"
		 "\"status\":{\"text\":\"%u\"}}\n",
		 (int)(bytes - 300), filling, spec, status);
	return text;
}

static const char *key_of(const char *folder, unsigned number)
{
	static char key[128];

	snprintf(key, sizeof(key), "%s/default/w%06u", folder, number);
	return key;
}

#define IN_SCOPE "/registry/example.com/widgets"
#define OUT_OF_SCOPE "/other/example.com/widgets"

static double put_all(struct rig_site *site, const char *folder, unsigned keys, unsigned round)
{
	int64_t start = cpu_ns();

	for (unsigned i = 0; i < keys; i++)
		rig_put(site, key_of(folder, i), widget(VALUE_BYTES, 1, round));
	return (double)(cpu_ns() - start) / keys / 1000;
}

static void measure_stamp(struct rig_site *site, unsigned keys)
{
	put_all(site, OUT_OF_SCOPE, keys, 0);
	printf("put_plain_cpu %.2f us\n", put_all(site, OUT_OF_SCOPE, keys, 1));
	put_all(site, IN_SCOPE, keys, 0);
	printf("put_stamped_cpu %.2f us\n", put_all(site, IN_SCOPE, keys, 1));
}

static void measure_merges(struct engine_rig *rig, unsigned keys)
{
	int64_t cpu = cpu_ns(), wall = wall_ns();
	uint64_t bytes = rig->bytes;

	rig_connect(rig, 0, 1);
	rig_settle(rig);
	printf("first_sync %.0f keys/s\n", keys * 1e9 / (double)(wall_ns() - wall));
	printf("first_sync_cpu %.2f us/key\n", (double)(cpu_ns() - cpu) / keys / 1000);
	printf("first_sync_bytes %.0f B/key\n", (double)(rig->bytes - bytes) / keys);
	rig_disconnect(rig, 0, 1);
	put_all(&rig->sites[0], IN_SCOPE, keys, 2);
	cpu = cpu_ns();
	wall = wall_ns();
	bytes = rig->bytes;
	rig_connect(rig, 0, 1);
	rig_settle(rig);
	printf("heal %.0f keys/s\n", keys * 1e9 / (double)(wall_ns() - wall));
	printf("heal_cpu %.2f us/key\n", (double)(cpu_ns() - cpu) / keys / 1000);
	printf("heal_bytes %.0f B/key\n", (double)(rig->bytes - bytes) / keys);
}

static void measure_one_change(struct engine_rig *rig)
{
	uint64_t bytes;

	rig_put(&rig->sites[0], key_of(IN_SCOPE, 0), widget(BIG_BYTES, 1, 1));
	rig_settle(rig);
	bytes = rig->bytes;
	rig_put(&rig->sites[0], key_of(IN_SCOPE, 0), widget(BIG_BYTES, 1, 2));
	rig_settle(rig);
	printf("status_change_bytes %llu B\n", (unsigned long long)(rig->bytes - bytes));
}

int main(int argc, char **argv)
{
	unsigned keys = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 10000;
	struct engine_rig rig;

	if (argc < 2) {
		fprintf(stderr, "usage: sync DIRECTORY [KEYS]\n");
		return 2;
	}
	rig_new_in(&rig, 2, true, argv[1]);
	measure_stamp(&rig.sites[0], keys);
	measure_merges(&rig, keys);
	measure_one_change(&rig);
	rig_free(&rig);
	return 0;
}
