/* SPDX-License-Identifier: Apache-2.0 */
/* test_disk.c - the simulated disk keeps what was synced, loses what was not, and the store on it
 * keeps what it acknowledged. */
#include "tests/harness/store_rig.h"
#include "tests/sim/disk.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define KEYS 8
#define SEEDS 25
#define CRASHES 6
#define OPERATIONS_MAX 300

/* --- a store on a disk ------------------------------------------------------------------------ */

/* Of each key the number that its value begins with: acknowledged, and asked for. */
struct site {
	struct rig rig;
	struct rig_random random;
	struct sim_disk *disk;
	unsigned acknowledged[KEYS];
	unsigned asked[KEYS];
	unsigned next;
	int64_t revision; /* of the newest acknowledged */
};

static int64_t still(void *context)
{
	(void)context;
	return 1000 * NS_PER_SECOND;
}

static void site_up(struct site *site)
{
	char problem[STORE_PROBLEM_BYTES];

	if (rig_up(&site->rig, problem))
		fail_msg("%s", problem);
}

static void site_open(struct site *site, uint64_t seed)
{
	*site = (struct site){.random.state = seed};
	site->disk = sim_disk_new(seed);
	site->rig.clock = (struct clock){still, still, NULL};
	site->rig.config.data_dir = sim_disk_path(site->disk);
	site->rig.config.clock = &site->rig.clock;
	arena_init(&site->rig.arena, (size_t)1 << 24);
	site_up(site);
}

static void site_close(struct site *site)
{
	rig_down(&site->rig);
	arena_fini(&site->rig.arena);
	sim_disk_free(site->disk);
}

static void key_of(unsigned key, char text[8])
{
	snprintf(text, 8, "key-%u", key);
}

static enum err site_put(struct site *site)
{
	static char value[8192];
	unsigned key = (unsigned)rig_random(&site->random, KEYS);
	size_t size = 16 + rig_random(&site->random, sizeof(value) - 16);
	char name[8];
	struct op op = {.kind = OP_PUT};
	enum err e;

	key_of(key, name);
	memset(value, 'v', sizeof(value));
	snprintf(value, 16, "%u", ++site->next);
	op.in.put.key = bytes_of_string(name);
	op.in.put.value = bytes_of((uint8_t *)value, size);
	site->asked[key] = site->next;
	e = rig_do(&site->rig, &op);
	if (e)
		return e;
	site->acknowledged[key] = site->next;
	site->revision = op.out.put.revision;
	return ERR_OK;
}

static enum err site_put_until(struct site *site, uint64_t operations)
{
	enum err e = ERR_OK;

	sim_disk_kill_after(site->disk, operations);
	while (!e)
		e = site_put(site);
	return e;
}

/* How many acknowledged puts are gone.  What was asked for and not answered may be there. */
static unsigned site_missing(struct site *site)
{
	unsigned missing = store_head(site->rig.store) < site->revision;

	for (unsigned key = 0; key < KEYS; key++) {
		const struct kv *kv;
		unsigned found = 0;
		char name[8];

		key_of(key, name);
		kv = rig_get(&site->rig, name, 0);
		if (kv)
			found = (unsigned)strtoul((const char *)kv->value.data, NULL, 10);
		if (found != site->acknowledged[key] && found != site->asked[key])
			missing++;
		site->acknowledged[key] = site->asked[key] = found;
	}
	site->revision = store_head(site->rig.store);
	rig_forget(&site->rig);
	return missing;
}

static void site_crash(struct site *site)
{
	rig_down(&site->rig);
	sim_disk_crash(site->disk);
	site_up(site);
}

/* --- with a store ----------------------------------------------------------------------------- */

static void test_what_was_acknowledged_is_there_after_every_crash(void **state)
{
	uint64_t seed = rig_seed();

	(void)state;
	for (uint64_t run = 0; run < SEEDS; run++) {
		struct site site;

		sim_disk_begin(seed + run);
		site_open(&site, seed + run);
		for (int crash = 0; crash < CRASHES; crash++) {
			uint64_t operations = 1 + rig_random(&site.random, OPERATIONS_MAX);

			assert_int_not_equal(site_put_until(&site, operations), ERR_OK);
			assert_true(sim_disk_is_dead(site.disk));
			site_crash(&site);
			assert_int_equal(site_missing(&site), 0);
		}
		site_close(&site);
	}
}

static void test_lost_syncs_are_seen_as_lost_puts(void **state)
{
	uint64_t seed = rig_seed();
	unsigned missing = 0;

	(void)state;
	for (uint64_t run = 0; run < SEEDS; run++) {
		struct site site;

		sim_disk_begin(seed + run);
		site_open(&site, seed + run);
		sim_disk_lose_syncs(site.disk, true);
		for (int crash = 0; crash < CRASHES; crash++) {
			site_put_until(&site, 1 + rig_random(&site.random, OPERATIONS_MAX));
			site_crash(&site); /* it opens: the database is sound */
			missing += site_missing(&site);
		}
		site_close(&site);
	}
	assert_true(missing > SEEDS);
}

static void test_a_store_can_be_killed_while_it_opens(void **state)
{
	uint64_t seed = rig_seed();
	struct site site;

	(void)state;
	sim_disk_begin(seed);
	site_open(&site, seed);
	for (uint64_t operations = 1; operations < 30; operations++) {
		char problem[STORE_PROBLEM_BYTES];
		struct store *store = NULL;
		enum err e;

		site_put_until(&site, 100);
		rig_down(&site.rig);
		sim_disk_crash(site.disk);
		sim_disk_kill_after(site.disk, operations);
		e = store_open(&site.rig.config, &store, problem);
		assert_true(!e || sim_disk_is_dead(site.disk));
		if (!e)
			store_close(store);
		sim_disk_crash(site.disk);
		site_up(&site);
		assert_int_equal(site_missing(&site), 0);
	}
	site_close(&site);
}

static void test_a_first_start_can_be_killed_anywhere(void **state)
{
	uint64_t seed = rig_seed();

	(void)state;
	for (uint64_t operations = 1; operations < 60; operations++) {
		struct site site;
		char problem[STORE_PROBLEM_BYTES];
		struct store *store = NULL;

		sim_disk_begin(seed);
		site_open(&site, seed);
		rig_down(&site.rig);
		sim_disk_free(site.disk);
		site.disk = sim_disk_new(seed);
		site.rig.config.data_dir = sim_disk_path(site.disk);
		sim_disk_kill_after(site.disk, operations);
		if (!store_open(&site.rig.config, &store, problem))
			store_close(store);
		sim_disk_crash(site.disk);
		site_up(&site);
		assert_int_equal(site_put(&site), ERR_OK);
		site_close(&site);
	}
}

static void test_a_full_disk_is_an_answer_and_room_mends_it(void **state)
{
	struct op clear = {.kind = OP_ALARM_CLEAR, .in.alarm = ALARM_NOSPACE};
	struct site site;
	enum err e = ERR_OK;

	(void)state;
	sim_disk_begin(1);
	site_open(&site, 1);
	sim_disk_full(site.disk, 100000);
	for (int i = 0; !e && i < 1000; i++)
		e = site_put(&site);
	assert_int_equal(e, ERR_NO_SPACE);
	assert_int_equal(site_missing(&site), 0);
	sim_disk_full(site.disk, -1);
	assert_int_equal(rig_do(&site.rig, &clear), ERR_OK);
	assert_int_equal(site_put(&site), ERR_OK);
	assert_int_equal(site_missing(&site), 0);
	site_close(&site);
}

static void run_once(uint64_t seed, uint32_t *ret_sum, uint64_t *ret_operations)
{
	struct site site;

	sim_disk_begin(seed);
	site_open(&site, seed);
	for (int crash = 0; crash < 3; crash++) {
		site_put_until(&site, 200);
		site_crash(&site);
		site_missing(&site);
	}
	rig_down(&site.rig);
	*ret_sum = sim_disk_sum(site.disk);
	*ret_operations = sim_disk_operations(site.disk);
	site_close(&site);
}

static void test_the_same_seed_gives_the_same_bytes(void **state)
{
	uint64_t operations[3];
	uint32_t sums[3];

	(void)state;
	run_once(7, &sums[0], &operations[0]);
	run_once(7, &sums[1], &operations[1]);
	run_once(8, &sums[2], &operations[2]);
	assert_int_equal(sums[0], sums[1]);
	assert_int_equal(operations[0], operations[1]);
	assert_int_not_equal(sums[0], sums[2]);
}

static void test_a_backup_holds_what_was_synced_and_has_its_own_identity(void **state)
{
	struct sim_disk *backup;
	uint64_t identity;
	struct site site;
	int64_t revision;

	(void)state;
	sim_disk_begin(3);
	site_open(&site, 3);
	for (int i = 0; i < 20; i++)
		assert_int_equal(site_put(&site), ERR_OK);
	revision = site.revision;
	backup = sim_disk_copy(site.disk, 4); /* of a store that runs */
	identity = sim_disk_identity(site.disk);
	assert_int_not_equal(sim_disk_identity(backup), identity);
	for (int i = 0; i < 20; i++)
		assert_int_equal(site_put(&site), ERR_OK);
	rig_down(&site.rig);
	sim_disk_restore(site.disk, backup, false);
	assert_int_equal(sim_disk_identity(site.disk), identity);
	sim_disk_restore(site.disk, backup, true);
	assert_int_not_equal(sim_disk_identity(site.disk), identity);
	site_up(&site);
	assert_int_equal(store_head(site.rig.store), revision);
	assert_true(site_missing(&site) > 0);
	sim_disk_free(backup);
	site_close(&site);
}

static void test_defragment_and_a_second_start_work(void **state)
{
	struct op defragment = {.kind = OP_DEFRAGMENT};
	struct site site;

	(void)state;
	sim_disk_begin(5);
	site_open(&site, 5);
	for (int i = 0; i < 50; i++)
		assert_int_equal(site_put(&site), ERR_OK);
	assert_int_equal(rig_do(&site.rig, &defragment), ERR_OK);
	rig_down(&site.rig);
	site_up(&site);
	assert_int_equal(site_missing(&site), 0);
	site_close(&site);
}

static void test_a_put_takes_microseconds(void **state)
{
	enum { PUTS = 20000 };
	struct timespec start, end;
	struct site site;
	double us;

	(void)state;
	sim_disk_begin(1);
	site_open(&site, 1);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
	for (int i = 0; i < PUTS; i++)
		rig_put(&site.rig, "key", "value");
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	us = ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) /
	     1e3 / PUTS;
	printf("%.1f us of CPU per put, with two switches of threads\n", us);
	assert_true(us < 1000); /* no bar: sanitizers and other load are slow */
	site_close(&site);
}

/* --- without one ------------------------------------------------------------------------------ */

struct raw {
	struct sim_disk *disk;
	sqlite3_file *file;
};

static void raw_open(struct raw *raw, const char *name)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
	char *path = sqlite3_mprintf("%s/%s", sim_disk_path(raw->disk), name);
	int flags = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;

	raw->file = calloc(1, (size_t)vfs->szOsFile);
	assert_int_equal(vfs->xOpen(vfs, path, raw->file, flags, &flags), SQLITE_OK);
	sqlite3_free(path);
}

static void raw_close(struct raw *raw)
{
	raw->file->pMethods->xClose(raw->file);
	free(raw->file);
}

static void raw_fill(struct raw *raw, char letter, int size, int64_t offset)
{
	char text[4096];

	memset(text, letter, sizeof(text));
	assert_int_equal(raw->file->pMethods->xWrite(raw->file, text, size, offset), SQLITE_OK);
}

static void raw_sync(struct raw *raw)
{
	assert_int_equal(raw->file->pMethods->xSync(raw->file, SQLITE_SYNC_NORMAL), SQLITE_OK);
}

/* A file of two letters: what was synced, and what was not. */
static struct bytes crashed(struct raw *raw, uint64_t seed, enum sim_crash how)
{
	struct bytes content = {0};

	sim_disk_begin(seed);
	raw->disk = sim_disk_new(seed);
	raw_open(raw, "file");
	raw_fill(raw, 'a', 4096, 0);
	raw_sync(raw);
	raw_fill(raw, 'b', 1500, 700);
	raw_fill(raw, 'c', 1024, 4096);
	raw_fill(raw, 'd', 1024, 1024);
	raw_close(raw);
	sim_disk_crash_as(raw->disk, how);
	assert_true(sim_disk_read_file(raw->disk, "file", &content));
	return content;
}

static void test_a_crash_by_sectors_leaves_each_sector_at_one_moment(void **state)
{
	uint64_t seed = rig_seed();
	unsigned seen[256] = {0};
	struct raw raw;

	(void)state;
	for (uint64_t run = 0; run < 200; run++) {
		struct bytes content = crashed(&raw, seed + run, SIM_CRASH_SECTORS);

		assert_true(content.size == 4096 || content.size == 5120);
		for (size_t sector = 2; sector < 4; sector++) { /* written as a whole */
			const uint8_t *at = content.data + sector * 512;

			for (size_t i = 1; i < 512; i++)
				assert_int_equal(at[i], at[0]);
			seen[at[0]]++;
		}
		for (size_t i = 0; i < 700; i++)
			assert_int_equal(content.data[i], 'a');
		sim_disk_free(raw.disk);
	}
	assert_true(seen['a'] > 20 && seen['b'] > 20 && seen['d'] > 20);
	assert_int_equal(seen['a'] + seen['b'] + seen['d'], 400);
}

static void test_crashes_that_keep_and_lose_all_do_so(void **state)
{
	struct bytes content;
	struct raw raw;

	(void)state;
	content = crashed(&raw, 1, SIM_CRASH_LOSES);
	assert_int_equal(content.size, 4096);
	for (size_t i = 0; i < content.size; i++)
		assert_int_equal(content.data[i], 'a');
	sim_disk_free(raw.disk);
	content = crashed(&raw, 1, SIM_CRASH_KEEPS);
	assert_int_equal(content.size, 5120);
	assert_int_equal(content.data[1024], 'd');
	assert_int_equal(content.data[700], 'b');
	assert_int_equal(content.data[5119], 'c');
	sim_disk_free(raw.disk);
}

static void test_names_that_were_not_synced_may_be_lost(void **state)
{
	struct bytes content;
	struct raw raw;
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
	char path[64];

	(void)state;
	raw.disk = sim_disk_new(1);
	raw_open(&raw, "new");
	raw_fill(&raw, 'a', 100, 0);
	raw_close(&raw);
	sim_disk_crash_as(raw.disk, SIM_CRASH_LOSES);
	assert_false(sim_disk_read_file(raw.disk, "new", &content));
	raw_open(&raw, "new");
	raw_fill(&raw, 'a', 100, 0);
	raw_sync(&raw);
	raw_close(&raw);
	snprintf(path, sizeof(path), "%s/new", sim_disk_path(raw.disk));
	assert_int_equal(vfs->xDelete(vfs, path, 0), SQLITE_OK);
	assert_false(sim_disk_read_file(raw.disk, "new", &content));
	sim_disk_crash_as(raw.disk, SIM_CRASH_LOSES);
	assert_true(sim_disk_read_file(raw.disk, "new", &content)); /* it came back */
	assert_int_equal(content.size, 100);
	assert_int_equal(vfs->xDelete(vfs, path, 1), SQLITE_OK);
	sim_disk_crash_as(raw.disk, SIM_CRASH_LOSES);
	assert_false(sim_disk_read_file(raw.disk, "new", &content));
	assert_int_equal(sim_disk_bytes(raw.disk), 0);
	sim_disk_free(raw.disk);
}

static void test_small_files_are_written_whole_or_not_at_all(void **state)
{
	struct sim_disk *disk = sim_disk_new(1);
	struct bytes content;

	(void)state;
	assert_true(sim_disk_write_file(disk, "witness", bytes_of_string("one")));
	sim_disk_crash_as(disk, SIM_CRASH_LOSES);
	assert_true(sim_disk_read_file(disk, "witness", &content));
	assert_int_equal(content.size, 3);
	sim_disk_kill_after(disk, 1);
	assert_false(sim_disk_write_file(disk, "witness", bytes_of_string("second")));
	sim_disk_crash(disk);
	assert_true(sim_disk_read_file(disk, "witness", &content));
	assert_memory_equal(content.data, "one", 3);
	sim_disk_full(disk, 2);
	assert_false(sim_disk_write_file(disk, "witness", bytes_of_string("second")));
	sim_disk_full(disk, -1);
	sim_disk_remove_file(disk, "witness");
	assert_false(sim_disk_read_file(disk, "witness", &content));
	assert_int_equal(sim_disk_bytes(disk), 0);
	sim_disk_free(disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_crash_by_sectors_leaves_each_sector_at_one_moment),
		cmocka_unit_test(test_crashes_that_keep_and_lose_all_do_so),
		cmocka_unit_test(test_names_that_were_not_synced_may_be_lost),
		cmocka_unit_test(test_small_files_are_written_whole_or_not_at_all),
		cmocka_unit_test(test_what_was_acknowledged_is_there_after_every_crash),
		cmocka_unit_test(test_lost_syncs_are_seen_as_lost_puts),
		cmocka_unit_test(test_a_store_can_be_killed_while_it_opens),
		cmocka_unit_test(test_a_first_start_can_be_killed_anywhere),
		cmocka_unit_test(test_a_full_disk_is_an_answer_and_room_mends_it),
		cmocka_unit_test(test_the_same_seed_gives_the_same_bytes),
		cmocka_unit_test(test_a_backup_holds_what_was_synced_and_has_its_own_identity),
		cmocka_unit_test(test_defragment_and_a_second_start_work),
		cmocka_unit_test(test_a_put_takes_microseconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
