/* SPDX-License-Identifier: Apache-2.0 */
/* Which watchers a key concerns: a program of adds, removes and visits.
 *
 * What must hold: a visit finds exactly the entries whose range contains the key, each once; and
 * range_contains() is what etcd's words say. */
#include "tests/fuzz/fuzz.h"

#include "shim/watch/match.h"

#include <stdlib.h>

#define ENTRIES 64

struct entry {
	struct match_entry entry;
	bool is_in;
	unsigned visits;
};

static void visit(void *context, struct match_entry *entry)
{
	(void)context;
	container_of(entry, struct entry, entry)->visits++;
}

/* "a" < "a\0" < "b": byte for byte, and what ends first is less. */
static bool is_less(struct bytes a, struct bytes b)
{
	for (size_t i = 0; i < a.size && i < b.size; i++)
		if (a.data[i] != b.data[i])
			return a.data[i] < b.data[i];
	return a.size < b.size;
}

static bool is_meant(struct bytes key, struct bytes end, struct bytes candidate)
{
	if (!end.size)
		return !is_less(key, candidate) && !is_less(candidate, key);
	if (end.size == 1 && !end.data[0])
		return !is_less(candidate, key);
	return !is_less(candidate, key) && is_less(candidate, end);
}

static void look(const struct match *match, struct entry *entries, struct bytes key)
{
	match_visit(match, key, visit, NULL);
	for (size_t i = 0; i < ENTRIES; i++) {
		struct entry *entry = &entries[i];
		bool wanted = entry->is_in && is_meant(entry->entry.key, entry->entry.end, key);

		if (entry->is_in)
			fuzz_must(range_contains(entry->entry.key, entry->entry.end, key) ==
				  is_meant(entry->entry.key, entry->entry.end, key));
		fuzz_must(entry->visits == (wanted ? 1 : 0));
		entry->visits = 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);
	struct entry *entries = calloc(ENTRIES, sizeof(*entries));
	struct match match;

	fuzz_must(entries && !match_init(&match, fuzz_byte(&input)));
	while (fuzz_more(&input)) {
		unsigned choice = fuzz_byte(&input);
		struct entry *entry = &entries[choice % ENTRIES];

		if (choice >= 192) {
			look(&match, entries, fuzz_key(&input));
		} else if (entry->is_in) {
			match_remove(&match, &entry->entry);
			entry->is_in = false;
		} else {
			entry->entry.key = fuzz_key(&input);
			entry->entry.end = fuzz_range_end(&input);
			match_add(&match, &entry->entry);
			entry->is_in = true;
		}
	}
	look(&match, entries, BYTES_LITERAL("a"));
	for (size_t i = 0; i < ENTRIES; i++)
		if (entries[i].is_in)
			match_remove(&match, &entries[i].entry);
	fuzz_must(!match.root && !match.single_count);
	match_fini(&match);
	free(entries);
	return 0;
}
