/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_sync_threads.c - merges, compactions and moving holds, while others scan all keys,
 * read the log and list records; of use with SAN=thread above all.
 *
 * Every merge writes all keys in one revision, with the number of the merge in values and metas and
 * in a state record.  So whoever looks at one moment or one revision must find one number. */
#include "shim/store/sync.h"
#include "tests/harness/store_rig.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MERGES 300
#define KEYS 400 /* more than one slice */

static struct {
	struct rig *rig;
	_Atomic bool stop;
	_Atomic int scans;
	_Atomic int readings;
} shared;

/* Threads other than the test's must not use cmocka's assertions. */
static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "test_store_sync_threads: %s\n", what);
	abort();
}

/* --- the writer ------------------------------------------------------------------------------ */

static enum err merge(struct apply *apply, void *context)
{
	char number[16], key[16];
	enum err e;

	snprintf(number, sizeof(number), "%d", *(int *)context);
	for (int i = 0; i < KEYS; i++) {
		struct kv kv = {.value = bytes_of_string(number)};

		snprintf(key, sizeof(key), "k%03d", i);
		kv.key = bytes_of_string(key);
		/* Every other key is hidden; the visible version stays the first. */
		e = apply_put(apply, &kv, bytes_of_string(number), i % 2 || *(int *)context == 0);
		if (e)
			return e;
	}
	return apply_set_state(apply, BYTES_LITERAL("number"), bytes_of_string(number));
}

static void write_all(struct rig *rig)
{
	for (int number = 0; number < MERGES; number++) {
		struct op op = {.kind = OP_APPLY, .in.apply = {merge, &number}};

		assert_int_equal(rig_do(rig, &op), ERR_OK);
		if (number % 20 == 19) {
			store_log_hold(rig->store, store_head(rig->store) - 10);
			assert_int_equal(rig_compact(rig, store_head(rig->store), false), ERR_OK);
			/* Time is the rig's; the sweep looks again when it moves. */
			atomic_fetch_add(&rig->now_ns, NS_PER_SECOND);
		}
	}
}

/* --- all keys -------------------------------------------------------------------------------- */

static void scan_once(struct store_reader *reader, bool values)
{
	struct keys_op op = {BYTES_LITERAL("k"), BYTES_LITERAL("l"), values};
	struct store_keys *keys;
	struct keys_row row;
	char number[16];
	int64_t revision;
	bool found = true;
	int count = 0;

	must(!store_keys_open(reader, &op, &keys, &revision), "no scan");
	snprintf(number, sizeof(number), "%d", (int)revision - 2);
	while (!store_keys_next(keys, &row, &found) && found) {
		must(row.newest_revision == revision, "not of the moment");
		must(bytes_equal(row.meta, bytes_of_string(number)), "another meta");
		must(row.live && row.visible_revision == (count % 2 ? revision : 2), "not shown");
		must(!values || count % 2 == 0 || bytes_equal(row.value, bytes_of_string(number)),
		     "another value");
		count++;
	}
	must(!found && (revision == 1 ? count == 0 : count == KEYS), "not all keys");
	store_keys_close(keys);
	atomic_fetch_add(&shared.scans, 1);
}

static void *scanner(void *context)
{
	struct store_reader *reader;

	(void)context;
	must(!store_reader_new(shared.rig->store, &reader), "no reader");
	for (int i = 0; !atomic_load(&shared.stop); i++)
		scan_once(reader, i % 2);
	store_reader_free(reader);
	return NULL;
}

/* --- the log --------------------------------------------------------------------------------- */

struct reading {
	int64_t revision;
	int rows; /* of it */
};

static enum err read_row(void *context, const struct log_row *row)
{
	struct reading *reading = context;
	char number[16];

	must(row->merged && row->revision >= reading->revision, "out of order");
	if (row->revision != reading->revision) {
		must(!reading->revision ||
			     (row->revision == reading->revision + 1 && reading->rows == KEYS),
		     "half a revision");
		*reading = (struct reading){.revision = row->revision};
	}
	must(row->sub == reading->rows++, "a row is missing");
	snprintf(number, sizeof(number), "%d", (int)row->revision - 2);
	must(bytes_equal(row->meta, bytes_of_string(number)), "another meta");
	must(row->invisible == (row->sub % 2 == 0 && row->revision != 2), "another kind");
	must(row->invisible ? !row->value.size : bytes_equal(row->value, bytes_of_string(number)),
	     "another value");
	return ERR_OK;
}

static bool read_state(void *context, struct bytes name, struct bytes value)
{
	must(bytes_equal(name, BYTES_LITERAL("number")) && value.size < 16, "another record");
	memcpy(context, value.data, value.size);
	return true;
}

static void *reader_of_log(void *context)
{
	struct store *store = shared.rig->store;
	struct store_reader *reader;

	(void)context;
	must(!store_reader_new(store, &reader), "no reader");
	while (!atomic_load(&shared.stop)) {
		char number[16] = "-1";
		int64_t head = store_head(store), to = 0;
		struct reading reading = {0};
		struct log_op op = {.from = store_swept(store),
				    .to = head,
				    .rows_max = 1000,
				    .bytes_max = 1 << 20};
		enum err e = store_log(reader, &op, read_row, &reading, &to);

		must(!e || e == ERR_COMPACTED, "the log cannot be read");
		must(e || to == head || (reading.revision == to && reading.rows == KEYS),
		     "not whole");
		must(!store_state_scan(reader, bytes_of(NULL, 0), bytes_of(NULL, 0), read_state,
				       number),
		     "no records");
		must(strtol(number, NULL, 10) >= (int)head - 2, "an old record");
		atomic_fetch_add(&shared.readings, !e);
	}
	store_reader_free(reader);
	return NULL;
}

static void test_merges_while_others_read(void **state)
{
	struct rig rig = {0};
	pthread_t threads[3];

	(void)state;
	rig_open(&rig);
	shared.rig = &rig;
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, i ? scanner : reader_of_log, NULL), 0);
	write_all(&rig);
	atomic_store(&shared.stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(store_head(rig.store), MERGES + 1);
	store_log_hold(rig.store, INT64_MAX);
	rig_put(&rig, "other", "v");
	assert_int_equal(rig_compact(&rig, MERGES + 2, true), ERR_OK);
	assert_int_equal(store_swept(rig.store), MERGES + 2);
	fprintf(stderr, "%d scans, %d readings of the log\n", shared.scans, shared.readings);
	assert_true(shared.scans > 0 && shared.readings > 0);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merges_while_others_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
