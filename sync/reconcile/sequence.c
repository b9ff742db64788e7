/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/reconcile/sequence.h"

#include "sync/limits.h"
#include "sync/reconcile/digest.h"

#include <assert.h>
#include <stdlib.h>

static uint64_t number_of(const uint8_t *bytes)
{
	uint64_t number = 0;

	for (int i = 0; i < 8; i++)
		number = number << 8 | bytes[i];
	return number;
}

static void put_number(uint8_t *bytes, uint64_t number)
{
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(number >> (56 - 8 * i));
}

struct state_hash state_hash_of(struct bytes key, struct bytes canonical)
{
	uint8_t size[8], digest[STATE_HASH_BYTES];
	struct bytes parts[] = {bytes_of(size, sizeof size), key, canonical};

	put_number(size, key.size); /* so that no byte can move from the key to the state */
	digest_of(parts, 3, sizeof digest, digest);
	return (struct state_hash){number_of(digest), number_of(digest + 8)};
}

void sequence_fini(struct sequence *sequence)
{
	free(sequence->keys);
	free(sequence->sums);
	*sequence = (struct sequence){0};
}

static enum err grow(struct sequence *sequence)
{
	size_t capacity = sequence->capacity ? sequence->capacity * 2 : 256;
	struct state_hash *sums;
	struct bytes *keys;

	if (sequence->count < sequence->capacity)
		return ERR_OK;
	if (sequence->count >= RECONCILE_KEYS_MAX)
		return ERR_REQUEST_TOO_LARGE;
	keys = reallocarray(sequence->keys, capacity, sizeof(*keys));
	if (keys)
		sequence->keys = keys;
	sums = keys ? reallocarray(sequence->sums, capacity, sizeof(*sums)) : NULL;
	if (!sums)
		return fault(ERR_NOMEM, "a sequence of %zu keys", capacity);
	sequence->sums = sums;
	sequence->capacity = capacity;
	return ERR_OK;
}

static struct state_hash add(struct state_hash a, struct state_hash b)
{
	struct state_hash sum = {a.high + b.high, a.low + b.low};

	sum.high += sum.low < a.low;
	return sum;
}

static struct state_hash subtract(struct state_hash a, struct state_hash b)
{
	return (struct state_hash){a.high - b.high - (a.low < b.low), a.low - b.low};
}

enum err sequence_add(struct sequence *sequence, struct bytes key, struct state_hash hash)
{
	size_t count = sequence->count;
	enum err e = grow(sequence);

	if (e)
		return e;
	assert(!count || bytes_compare(sequence->keys[count - 1], key) < 0);
	sequence->keys[count] = key;
	sequence->sums[count] = count ? add(sequence->sums[count - 1], hash) : hash;
	sequence->count++;
	return ERR_OK;
}

size_t sequence_find(const struct sequence *sequence, struct bytes key)
{
	size_t low = 0, high = sequence->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (bytes_compare(sequence->keys[middle], key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct state_hash sequence_sum(const struct sequence *sequence, size_t from, size_t to)
{
	struct state_hash none = {0, 0};

	assert(from <= to && to <= sequence->count);
	if (from == to)
		return none;
	return subtract(sequence->sums[to - 1], from ? sequence->sums[from - 1] : none);
}

void sequence_root(const struct sequence *sequence, uint8_t ret_root[STATE_HASH_BYTES])
{
	struct state_hash sum = sequence_sum(sequence, 0, sequence->count);
	uint8_t bytes[24];
	struct bytes part = bytes_of(bytes, sizeof bytes);

	put_number(bytes, sum.high);
	put_number(bytes + 8, sum.low);
	put_number(bytes + 16, sequence->count);
	digest_of(&part, 1, STATE_HASH_BYTES, ret_root);
}
