/* SPDX-License-Identifier: Apache-2.0 */
/* HashKV against values that etcd itself gave, and Hash. */
#include "shim/base/crc32c.h"
#include "tests/unit/store/fixture.h"

/* --- the histories of etcd's own test (server/storage/mvcc/hash_test.go, Apache-2.0) --- */

#define CYCLE 71
#define TOTAL 1210

static const char *pick_key(int64_t i)
{
	static const char *const names[] = {"alice", "bob",	  "celine", "dominik",
					    "eve",   "frederica", "gorge"};

	if (i % (CYCLE * 2) == 30)
		return "zenek";
	if (i % CYCLE == 30)
		return "xavery";
	return names[i % 7];
}

static void put_many(struct fixture *fixture, int64_t from, int64_t count)
{
	fixture_begin(fixture);
	for (int64_t i = from; i <= from + count; i++) {
		char value[24];

		snprintf(value, sizeof(value), "%lld", (long long)i);
		fixture_put(fixture, pick_key(i), value, 0);
	}
	fixture_commit(fixture);
}

static void check_hash(struct fixture *fixture, int64_t asked, const struct store_hash *expected)
{
	struct store_hash found = {0};

	assert_int_equal(store_hash_kv(&fixture->reader, asked, &found), ERR_OK);
	assert_int_equal(found.hash_revision, expected->hash_revision);
	assert_int_equal(found.compact_revision, expected->compact_revision);
	assert_int_equal(found.hash, expected->hash);
}

static void check_history(struct fixture *fixture, const struct store_hash *expected, bool newest)
{
	int64_t from = 0;

	for (; from < TOTAL; from += CYCLE, expected++) {
		put_many(fixture, from, CYCLE);
		check_hash(fixture, newest ? 0 : from + CYCLE / 2, expected);
		pins_compact(&fixture->store.pins, expected->hash_revision);
		/* A hash does not depend on how far the sweep has come. */
		if (from % 2)
			fixture_sweep(fixture);
	}
	put_many(fixture, from, TOTAL);
	check_hash(fixture, newest ? 0 : from + TOTAL / 2, expected);
}

static void hash_kv_is_etcds(void **state)
{
	static const struct store_hash expected[] = {
		{4082599214, 35, -1},	  {2279933401, 106, 35},    {3284231217, 177, 106},
		{126286495, 248, 177},	  {900108730, 319, 248},    {2475485232, 390, 319},
		{1226296507, 461, 390},	  {2503661030, 532, 461},   {4155130747, 603, 532},
		{106915399, 674, 603},	  {406914006, 745, 674},    {1882211381, 816, 745},
		{806177088, 887, 816},	  {664311366, 958, 887},    {1496914449, 1029, 958},
		{2434525091, 1100, 1029}, {3988652253, 1171, 1100}, {1122462288, 1242, 1171},
		{724436716, 1883, 1242},
	};

	check_history(*state, expected, false);
}

static void hash_kv_of_the_newest_is_etcds(void **state)
{
	static const struct store_hash expected[] = {
		{1913897190, 73, -1},	  {224860069, 145, 73},	    {1565167519, 217, 145},
		{1566261620, 289, 217},	  {2037173024, 361, 289},   {691659396, 433, 361},
		{2713730748, 505, 433},	  {3919322507, 577, 505},   {769967540, 649, 577},
		{2909194793, 721, 649},	  {1576921157, 793, 721},   {4067701532, 865, 793},
		{2226384237, 937, 865},	  {2923408134, 1009, 937},  {2680329256, 1081, 1009},
		{1546717673, 1153, 1081}, {2713657846, 1225, 1153}, {1046575299, 1297, 1225},
		{2017735779, 2508, 1297},
	};

	check_history(*state, expected, true);
}

/* --- a random history, run through etcd 3.7.3's mvcc store as well --- */

#define RANDOM_KEYS 40
#define RANDOM_VALUE_BYTES 300

/* What etcd answered, in the order in which the program below asks. */
static const struct store_hash random_expected[] = {
	{3382156910, 178, -1},	  {277708094, 186, -1},	    {959005200, 46, 45},
	{1684907821, 141, 45},	  {2453102581, 378, 45},    {3353228357, 215, 214},
	{2365187239, 434, 214},	  {2199626313, 569, 214},   {2552684752, 231, 230},
	{644782210, 729, 230},	  {2930794436, 764, 230},   {2915831346, 543, 542},
	{903128323, 613, 542},	  {3615329700, 946, 542},   {3112963163, 748, 747},
	{2227699631, 861, 747},	  {2302727391, 1134, 747},  {1276353999, 820, 819},
	{904444826, 846, 819},	  {1869884064, 1329, 819},  {2817192893, 1245, 1244},
	{3311395509, 1339, 1244}, {1408007817, 1523, 1244}, {2000348312, 1361, 1360},
	{3880382927, 1402, 1360}, {1961318262, 1718, 1360}, {3121275316, 1579, 1578},
	{438619014, 1610, 1578},  {1638915370, 1902, 1578}, {734018574, 1747, 1746},
	{3067606610, 1930, 1746}, {3190065858, 2090, 1746}, {1536578135, 2000, 1999},
	{3384072388, 2051, 1999}, {611195011, 2276, 1999},  {3333746549, 2188, 2187},
	{3428747609, 2460, 2187}, {3868452682, 2464, 2187}, {1963108939, 2426, 2425},
	{3236207721, 2623, 2425}, {385841041, 2651, 2425},  {1986036200, 2547, 2546},
	{3824922316, 2716, 2546}, {2802232829, 2843, 2546}, {4140723682, 2601, 2600},
	{4018967132, 2844, 2600}, {492874702, 2846, 2844},
};

struct program {
	struct fixture *fixture;
	uint64_t random;
	size_t asked;
};

static uint64_t random_below(struct program *program, uint64_t bound)
{
	program->random =
		program->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (program->random >> 33) % bound;
}

static void random_op(struct program *program, uint64_t step, int64_t *sub, bool *used)
{
	uint64_t number = random_below(program, RANDOM_KEYS);
	uint64_t kind = random_below(program, 10);
	uint64_t size = random_below(program, RANDOM_VALUE_BYTES);
	uint64_t lease = random_below(program, 4);
	uint8_t value[RANDOM_VALUE_BYTES];
	char key[16];

	if (used[number])
		return;
	used[number] = true;
	snprintf(key, sizeof(key), "key-%02d", (int)number);
	if (kind < 4) {
		if (fixture_lives(program->fixture, key))
			fixture_delete_at(program->fixture, (*sub)++, key);
		return;
	}
	size = kind == 4 ? 0 : size;
	for (uint64_t i = 0; i < size; i++)
		value[i] = (uint8_t)(step + i * size);
	fixture_put_at(program->fixture, (*sub)++, key, bytes_of(value, size),
		       lease == 3 ? INT64_C(1) << 62 : (int64_t)lease);
}

static void random_txn(struct program *program, uint64_t step)
{
	bool used[RANDOM_KEYS] = {false};
	uint64_t count = random_below(program, 4) + 1;
	int64_t sub = 0;

	for (uint64_t i = 0; i < count; i++)
		random_op(program, step, &sub, used);
	if (sub)
		fixture_advance(program->fixture);
}

static void random_ask(struct program *program, int64_t revision)
{
	check_hash(program->fixture, revision, &random_expected[program->asked++]);
}

static void random_compact(struct program *program, bool sweep)
{
	struct store *store = &program->fixture->store;
	int64_t head = atomic_load(&store->head);
	int64_t low = atomic_load(&store->pins.compacted);

	low = low < 1 ? 1 : low;
	random_ask(program, low + 1 + (int64_t)random_below(program, (uint64_t)(head - low)));
	random_ask(program, 0);
	low += 1 + (int64_t)random_below(program, (uint64_t)(head - low));
	pins_compact(&store->pins, low);
	if (sweep)
		fixture_sweep(program->fixture);
	if (low < head)
		random_ask(program, low + 1);
}

/* With no key alive etcd's filter is off, and what the compaction left over is hashed. */
static void random_end(struct program *program)
{
	struct fixture *fixture = program->fixture;
	int64_t sub = 0;

	for (int number = 0; number < RANDOM_KEYS; number++) {
		char key[16];

		snprintf(key, sizeof(key), "key-%02d", number);
		if (fixture_lives(fixture, key))
			fixture_delete_at(fixture, sub++, key);
	}
	fixture_advance(fixture);
	random_ask(program, 0);
	fixture_put(fixture, "one", "1", 0);
	pins_compact(&fixture->store.pins, atomic_load(&fixture->store.head) - 1);
	fixture_sweep(fixture);
	fixture_delete(fixture, "one");
	random_ask(program, 0);
}

static void hash_kv_of_a_random_history_is_etcds(void **state)
{
	struct program program = {.fixture = *state, .random = 2026};

	fixture_begin(program.fixture);
	for (uint64_t step = 0; step < 3000; step++) {
		random_txn(&program, step);
		if (step % 200 != 199)
			continue;
		fixture_commit(program.fixture);
		random_compact(&program, step % 400 == 199);
		fixture_begin(program.fixture);
	}
	fixture_commit(program.fixture);
	random_end(&program);
	assert_int_equal(program.asked, sizeof(random_expected) / sizeof(random_expected[0]));
}

/* --- single cases --- */

static void revisions_are_checked_as_in_etcd(void **state)
{
	struct fixture *fixture = *state;
	struct store_hash hash = {.hash = 7};

	assert_int_equal(store_hash_kv(&fixture->reader, 0, &hash), ERR_OK);
	assert_int_equal(hash.hash_revision, 1);
	assert_int_equal(hash.hash, crc32c(0, BYTES_LITERAL("key")));
	for (int i = 0; i < 5; i++)
		fixture_put(fixture, "a", "b", 0);
	hash.hash = 7;
	assert_int_equal(store_hash_kv(&fixture->reader, 7, &hash), ERR_FUTURE_REVISION);
	pins_compact(&fixture->store.pins, 4);
	assert_int_equal(store_hash_kv(&fixture->reader, 3, &hash), ERR_COMPACTED);
	assert_int_equal(hash.hash, 7);
	assert_int_equal(store_hash_kv(&fixture->reader, 4, &hash), ERR_OK);
	/* Not an error there, so not one here. */
	assert_int_equal(store_hash_kv(&fixture->reader, -3, &hash), ERR_OK);
	assert_int_equal(hash.hash_revision, -3);
	assert_int_equal(hash.compact_revision, 4);
	assert_int_equal(hash.hash, crc32c(0, BYTES_LITERAL("key")));
	assert_true(list_is_empty(&fixture->store.pins.all));
}

static void invisible_rows_do_not_count(void **state)
{
	struct fixture *fixture = *state;
	struct row row = {.rev = ROW_OF(3, 0),
			  .key = BYTES_LITERAL("a"),
			  .flags = ROW_INVISIBLE,
			  .meta = BYTES_LITERAL("stamp"),
			  .value = BYTES_LITERAL("hidden")};
	struct store_hash before;
	struct store_hash after;

	fixture_put(fixture, "a", "b", 0);
	assert_int_equal(store_hash_kv(&fixture->reader, 0, &before), ERR_OK);
	fixture_row(fixture, &row);
	fixture_advance(fixture);
	assert_int_equal(store_hash_kv(&fixture->reader, 0, &after), ERR_OK);
	assert_int_equal(after.hash_revision, 3);
	assert_int_equal(after.hash, before.hash);
}

static void a_damaged_row_is_noticed(void **state)
{
	struct fixture *fixture = *state;
	struct store_hash kv_hash;
	uint32_t hash;

	fixture_put(fixture, "a", "some value", 0);
	assert_int_equal(conn_exec(&fixture->writer, "UPDATE log SET value = x'00112233445566'"),
			 ERR_OK);
	assert_int_equal(store_hash_kv(&fixture->reader, 0, &kv_hash), ERR_DAMAGED);
	assert_int_equal(store_hash(&fixture->reader, &hash), ERR_DAMAGED);
	assert_true(list_is_empty(&fixture->store.pins.all));
}

/* Whatever changes in rows, leases or alarms changes it; asking twice does not. */
static void hash_covers_everything(void **state)
{
	static const char *const changes[] = {
		"INSERT INTO leases(id, ttl) VALUES(7, 60)",
		"UPDATE leases SET ttl = 61",
		"INSERT INTO alarms(alarm) VALUES(1)",
		"DELETE FROM alarms",
		"DELETE FROM log",
	};
	struct fixture *fixture = *state;
	uint32_t last;
	uint32_t hash;

	assert_int_equal(store_hash(&fixture->reader, &last), ERR_OK);
	fixture_put(fixture, "a", "b", 0);
	assert_int_equal(store_hash(&fixture->reader, &hash), ERR_OK);
	assert_int_not_equal(hash, last);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		last = hash;
		assert_int_equal(store_hash(&fixture->reader, &hash), ERR_OK);
		assert_int_equal(hash, last);
		assert_int_equal(conn_exec(&fixture->writer, changes[i]), ERR_OK);
		assert_int_equal(store_hash(&fixture->reader, &hash), ERR_OK);
		assert_int_not_equal(hash, last);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(hash_kv_is_etcds, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(hash_kv_of_the_newest_is_etcds, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(hash_kv_of_a_random_history_is_etcds, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(revisions_are_checked_as_in_etcd, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(invisible_rows_do_not_count, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(a_damaged_row_is_noticed, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(hash_covers_everything, fixture_setup,
						fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
