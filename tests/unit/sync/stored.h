/* SPDX-License-Identifier: Apache-2.0 */
/* stored.h - one object of every resource that a v1.37.2 control plane had stored (stored.txt, made
 * by stored.sh beside it). */
#ifndef TESTS_UNIT_SYNC_STORED_H
#define TESTS_UNIT_SYNC_STORED_H

#include "shim/base/bytes.h"
#include "shim/base/limits.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>

#define STORED "tests/unit/sync/stored.txt"

struct stored {
	FILE *file;
	char resource[128];
	char line[512 * KIB];
	uint8_t memory[512 * KIB];
};

/* Zeroed before the first one, and after the last; the value is valid until the next call. */
static inline bool stored_next(struct stored *stored, struct bytes *ret_value)
{
	size_t size;
	int got;

	if (!stored->file)
		stored->file = fopen(STORED, "r");
	assert(stored->file);
	if (fscanf(stored->file, "%127s %524287s", stored->resource, stored->line) != 2) {
		fclose(stored->file);
		stored->file = NULL;
		return false;
	}
	size = strlen(stored->line);
	got = EVP_DecodeBlock(stored->memory, (const unsigned char *)stored->line, (int)size);
	assert(got > 0);
	/* It counts what only fills the last group as bytes. */
	while (size && stored->line[--size] == '=')
		got--;
	*ret_value = bytes_of(stored->memory, (size_t)got);
	return true;
}

/* The value of a resource that is there. */
static inline struct bytes stored_find(struct stored *stored, const char *resource)
{
	struct bytes value = {0}, found = {0};

	while (!found.data && stored_next(stored, &value))
		if (!strcmp(stored->resource, resource))
			found = value;
	assert(found.data);
	fclose(stored->file);
	stored->file = NULL;
	return found;
}

#endif
