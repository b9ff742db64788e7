/* SPDX-License-Identifier: Apache-2.0 */
/* The opener: a database and its WAL, damaged.
 *
 * What must hold: opening answers or fails in words, soon; tables that `kedge check` finds sound
 * open; what an opened store says is true, byte for byte; it takes a write or stops; and it can be
 * opened again. */
#include "tests/fuzz/damage.h"
#include "tests/fuzz/fuzz.h"

#include "shim/store/check.h"
#include "tests/harness/store_rig.h"

#include <stdio.h>
#include <stdlib.h>

static char folder[FUZZ_PATH_BYTES];
static char db_path[FUZZ_PATH_BYTES + 32];
static char wal_path[FUZZ_PATH_BYTES + 32];

static void folder_remove(void)
{
	fuzz_folder_remove(folder);
}

int LLVMFuzzerInitialize(int *arg_count, char ***args)
{
	(void)arg_count, (void)args;
	fuzz_folder_make(folder);
	atexit(folder_remove);
	snprintf(db_path, sizeof(db_path), "%s/kedge.db", folder);
	snprintf(wal_path, sizeof(wal_path), "%s/kedge.db-wal", folder);
	damage_base();
	return 0;
}

/* Whether the damage is in what the tables say, not in their pages. */
static bool files_write(struct fuzz_input *input)
{
	const struct damage_base *base = damage_base();
	unsigned flags = fuzz_byte(input); /* no WAL, mended WAL, through SQLite, mended */
	struct damage_file db, wal;

	damage_copy(base->db, &db);
	damage_copy(base->wal, &wal);
	for (unsigned i = 0; i < 16 && fuzz_more(input) && !(flags & 4); i++)
		damage_bytes(input, fuzz_byte(input) % 2 ? &wal : &db);
	if (flags & 2)
		damage_mend_wal(&wal);
	if (flags & 8)
		damage_mend_pages(&db);
	fuzz_file_write(db_path, bytes_of(db.data, db.size));
	if (!(flags & 1))
		fuzz_file_write(wal_path, bytes_of(wal.data, wal.size));
	free(db.data);
	free(wal.data);
	for (unsigned i = 0; i < 4 && fuzz_more(input) && (flags & 4); i++)
		damage_sql(input, db_path);
	return flags & 4;
}

/* A write is taken and read again, or the store has stopped. */
static void use(struct rig *rig)
{
	struct op op = {.kind = OP_PUT,
			.in.put = {.key = BYTES_LITERAL("new"), .value = BYTES_LITERAL("value")}};
	struct op compact = {.kind = OP_COMPACT, .in.compact = {store_head(rig->store), true}};
	const struct range_op range = {.key = BYTES_LITERAL("new")};
	struct range_result result;

	if (!rig_do(rig, &op) && !store_range(rig->reader, &range, &rig->arena, &result)) {
		fuzz_must(result.kv_count == 1);
		fuzz_must(bytes_equal(result.kvs[0].value, BYTES_LITERAL("value")));
		fuzz_must(result.kvs[0].mod_revision == op.out.put.revision);
	}
	(void)rig_do(rig, &compact);
}

/* A folder that rig_open() did not make. */
static void rig_set(struct rig *rig)
{
	*rig = (struct rig){
		.config = {.data_dir = folder, .clock = &clock_system, .no_fsync = true}};
	arena_init(&rig->arena, (size_t)1 << 26);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);
	char problem[STORE_PROBLEM_BYTES] = "";
	struct check_report report = {0};
	struct rig rig;
	enum err found;
	bool is_sql;

	rig_set(&rig);
	is_sql = files_write(&input);
	found = store_check(folder, &report, problem);
	fuzz_must(!found || problem[0] || report.findings);
	problem[0] = 0;
	if (store_open(&rig.config, &rig.store, problem)) {
		fuzz_must(problem[0]);
		fuzz_must_say(found || !is_sql, problem);
	} else {
		damage_judge(rig.store);
		store_close(rig.store);
		rig.store = NULL;
		if (!rig_up(&rig, problem)) {
			use(&rig);
			rig_down(&rig);
			if (!store_open(&rig.config, &rig.store, problem))
				store_close(rig.store);
		}
	}
	arena_fini(&rig.arena);
	fuzz_folder_empty(folder);
	return 0;
}
