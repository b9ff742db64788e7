/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/row_meta.h"

#include "shim/base/crc32c.h"
#include "sync/wire.h"

#include <stdlib.h>

#define FLAG_MERGED 1
#define FLAG_WILDCARD 2
#define FLAG_TOUCHES 4
#define FLAG_CLAIMS 8
#define FLAGS_ALL 15
#define TAG_BYTES 8

/* From one dot to the next: each actor once, its revisions as steps. */
static size_t run_of(const struct dot *touches, size_t count)
{
	size_t run = 1;

	while (run < count && !actor_compare(&touches[run].actor, &touches[0].actor))
		run++;
	return run;
}

static int compare_dots(const void *a, const void *b)
{
	return dot_compare(a, b);
}

/* In order, and each once; how many there are. */
static size_t order_touches(const struct row_meta *row)
{
	size_t kept = 0;

	qsort(row->touches, row->touch_count, sizeof(*row->touches), compare_dots);
	for (size_t i = 0; i < row->touch_count; i++)
		if (!kept || dot_compare(&row->touches[i], &row->touches[kept - 1]))
			row->touches[kept++] = row->touches[i];
	return kept;
}

static bool put_touches(struct buffer *buffer, const struct row_meta *row)
{
	size_t count = order_touches(row);
	bool fits = wire_put_number(buffer, count);

	for (size_t at = 0; fits && at < count;) {
		size_t run = run_of(row->touches + at, count - at);
		int64_t before = 0;

		fits = actor_put(buffer, &row->touches[at].actor) && wire_put_number(buffer, run);
		for (; fits && run; run--, at++) {
			fits = wire_put_number(buffer,
					       (uint64_t)(row->touches[at].revision - before));
			before = row->touches[at].revision;
		}
	}
	return fits;
}

static bool put_claims(struct buffer *buffer, const struct row_meta *row)
{
	return wire_put_number(buffer, row->claim_count) &&
	       buffer_append(buffer,
			     bytes_of(row->claims, row->claim_count * sizeof(*row->claims)));
}

enum err row_meta_encode(const struct row_meta *row, struct arena *arena, struct bytes *ret_bytes)
{
	struct buffer buffer = BUFFER_INIT(META_BYTES_MAX);
	uint8_t flags = (row->merged ? FLAG_MERGED : 0) | (row->wildcard ? FLAG_WILDCARD : 0) |
			(row->touch_count ? FLAG_TOUCHES : 0) |
			(row->claim_count ? FLAG_CLAIMS : 0);
	bool fits = buffer_append(&buffer, bytes_of(&flags, 1)) &&
		    buffer_append(&buffer, bytes_of(&row->tag, TAG_BYTES)) &&
		    (!row->touch_count || put_touches(&buffer, row)) &&
		    (!row->claim_count || put_claims(&buffer, row)) &&
		    buffer_append(&buffer, row->state) &&
		    arena_copy(arena, buffer_bytes(&buffer), ret_bytes);

	buffer_fini(&buffer);
	return fits ? ERR_OK : fault(ERR_NOMEM, "the meta of a row");
}

static bool take_run(struct wire *wire, uint64_t count_max, struct row_meta *row)
{
	struct actor actor;
	uint64_t run, step, revision = 0;

	if (!actor_take(wire, &actor) || !wire_take_number(wire, count_max, &run) || !run)
		return false;
	for (; run; run--) {
		if (!wire_take_number(wire, REV_MAIN_MAX - revision, &step) || !step)
			return false;
		revision += step;
		row->touches[row->touch_count++] = (struct dot){actor, (int64_t)revision};
	}
	return true;
}

static bool take_touches(struct wire *wire, struct arena *arena, struct row_meta *row)
{
	uint64_t count;

	if (!wire_take_number(wire, wire_left(wire), &count) || !count)
		return false;
	row->touches = arena_calloc(arena, count, sizeof(*row->touches));
	if (!row->touches)
		return false;
	while (row->touch_count < count)
		if (!take_run(wire, count - row->touch_count, row))
			return false;
	return true;
}

static bool take_claims(struct wire *wire, struct arena *arena, struct row_meta *row)
{
	struct bytes ids;
	uint64_t count;

	if (!wire_take_number(wire, CLAIMS_MAX, &count) || !count ||
	    !wire_take_fixed(wire, count * sizeof(*row->claims), &ids))
		return false;
	row->claims = arena_calloc(arena, count, sizeof(*row->claims));
	if (!row->claims)
		return false;
	memcpy(row->claims, ids.data, ids.size);
	row->claim_count = count;
	return true;
}

enum err row_meta_decode(struct bytes bytes, struct arena *arena, struct row_meta *ret_row)
{
	struct wire wire = wire_of(bytes);
	struct row_meta row = {0};
	struct bytes flags, tag;

	if (!bytes.size) {
		*ret_row = row;
		return ERR_OK;
	}
	if (!wire_take_fixed(&wire, 1, &flags) || !wire_take_fixed(&wire, TAG_BYTES, &tag) ||
	    (flags.data[0] & ~FLAGS_ALL))
		return fault(ERR_DAMAGED, "the meta of a row has an unknown form");
	memcpy(&row.tag, tag.data, TAG_BYTES);
	row.merged = flags.data[0] & FLAG_MERGED;
	row.wildcard = flags.data[0] & FLAG_WILDCARD;
	if ((flags.data[0] & FLAG_TOUCHES) && !take_touches(&wire, arena, &row))
		return fault(ERR_DAMAGED, "the touches of a row cannot be read");
	if ((flags.data[0] & FLAG_CLAIMS) && !take_claims(&wire, arena, &row))
		return fault(ERR_DAMAGED, "the claims of a row cannot be read");
	row.state = bytes_of(wire.at, wire_left(&wire));
	*ret_row = row;
	return ERR_OK;
}

/* splitmix64's mixer. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

uint64_t row_tag_next(uint64_t before, int64_t revision, struct bytes key, struct bytes value)
{
	uint64_t sums = (uint64_t)crc32c(0, key) << 32 | crc32c(0, value);

	return mix(mix(before + (uint64_t)revision) ^ sums);
}
