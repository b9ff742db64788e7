/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: a file to be restored, damaged.
 *
 * What must hold: a restore fails in words and leaves no database, or what it makes has every key
 * of the snapshot and nothing else; status and restore agree on whether the file is sound. */
#include "tests/fuzz/damage.h"
#include "tests/fuzz/fuzz.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TRAILER_BYTES SHA256_DIGEST_LENGTH

static char folder[FUZZ_PATH_BYTES];
static char path[FUZZ_PATH_BYTES + 32];
static char target[FUZZ_PATH_BYTES + 32];

static void folder_remove(void)
{
	fuzz_folder_remove(folder);
}

int LLVMFuzzerInitialize(int *arg_count, char ***args)
{
	(void)arg_count, (void)args;
	fuzz_folder_make(folder);
	atexit(folder_remove);
	snprintf(path, sizeof(path), "%s/snapshot", folder);
	snprintf(target, sizeof(target), "%s/restored", folder);
	damage_base();
	return 0;
}

static void file_write(struct fuzz_input *input)
{
	unsigned flags = fuzz_byte(input); /* see below */
	struct damage_file file;

	damage_copy(damage_base()->snapshot, &file);
	if (flags & 8) {
		struct bytes rest = fuzz_rest(input);

		if (rest.size)
			memcpy(file.data, rest.data, rest.size);
		file.size = flags & 16 ? rest.size : file.size;
	}
	if (flags & 4) {
		fuzz_file_write(path, bytes_of(file.data, file.size));
		for (unsigned i = 0; i < 3 && fuzz_more(input); i++)
			damage_sql(input, path);
		free(file.data);
		return;
	}
	if ((flags & 3) == 1) {
		SHA256(file.data, file.size, file.data + file.size);
		file.size += TRAILER_BYTES;
	}
	for (unsigned i = 0; i < 16 && fuzz_more(input); i++)
		damage_bytes(input, &file);
	if (flags & 32)
		damage_mend_pages(&file);
	if ((flags & 3) == 3 &&
	    file.size + TRAILER_BYTES < damage_base()->snapshot.size + DAMAGE_GROWTH) {
		SHA256(file.data, file.size, file.data + file.size);
		file.size += TRAILER_BYTES;
	}
	fuzz_file_write(path, bytes_of(file.data, file.size));
	free(file.data);
}

static void restored_check(void)
{
	const struct store_config config = {
		.data_dir = target, .clock = &clock_system, .no_fsync = true};
	char problem[STORE_PROBLEM_BYTES] = "";
	struct store *store;

	fuzz_must_say(!store_open(&config, &store, problem), problem);
	fuzz_must(damage_judge(store) == (int64_t)damage_base()->key_count);
	fuzz_must(store_head(store) == store_compacted(store));
	store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);
	char problem[STORE_PROBLEM_BYTES] = "", status_problem[STORE_PROBLEM_BYTES] = "";
	struct snapshot_status status;
	enum err e, status_e;

	file_write(&input);
	status_e = store_snapshot_status(path, &status, status_problem);
	e = store_snapshot_restore(path, target, 1000, problem);
	if (e) {
		fuzz_must(problem[0]);
		fuzz_must(access(target, F_OK) != 0);
	} else {
		fuzz_must(!status_e && status.total_keys > 0);
		restored_check();
	}
	fuzz_must(!status_e || status_problem[0]);
	fuzz_folder_empty(folder);
	return 0;
}
