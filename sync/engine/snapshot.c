/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/snapshot.h"

#include <stdlib.h>

#define SNAPSHOT_BYTES_MAX (512 * MIB) /* of the keys alone */

static enum err add_key(struct snapshot *snapshot, const struct keys_row *row)
{
	struct key_state key = {
		.key = row->key,
		.meta = row->meta,
		.newest_revision = row->newest_revision,
		.live = row->live,
		.value = row->value,
	};
	struct state_hash hash;
	struct row_meta meta;
	struct arena arena;
	struct bytes kept;
	enum group group;
	bool is_empty;
	enum err e;

	if (!scope_has(snapshot->engine->stamper->scope, row->key, &group) ||
	    group != snapshot->group)
		return ERR_OK;
	arena_init(&arena, KEY_ARENA_BYTES);
	e = row_meta_decode(row->meta, &arena, &meta);
	is_empty = !e && !row->live && !meta.state.size; /* deleted, and told so */
	arena_fini(&arena);
	if (e || is_empty)
		return e;
	e = entry_hash(snapshot->engine, &key, &hash);
	if (!e && !arena_copy(&snapshot->arena, row->key, &kept))
		e = fault(ERR_NOMEM, "the keys of a comparison");
	return e ? e : sequence_add(&snapshot->sequence, kept, hash);
}

static enum err read_keys(struct snapshot *snapshot)
{
	struct keys_row row;
	bool found = true;
	enum err e = ERR_OK;

	while (!e && found) {
		e = store_keys_next(snapshot->pinned, &row, &found);
		if (!e && found)
			e = add_key(snapshot, &row);
	}
	return e;
}

enum err snapshot_new(struct engine *engine, enum group group, const struct key_range *range,
		      struct snapshot **ret_snapshot)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
	struct keys_op op = {
		.key = range->key,
		.end = range->end.size ? range->end : bytes_of("\0", 1),
		.values = true,
	};
	enum err e;

	if (!snapshot)
		return fault(ERR_NOMEM, "a snapshot");
	snapshot->engine = engine;
	snapshot->group = group;
	arena_init(&snapshot->arena, SNAPSHOT_BYTES_MAX);
	e = store_keys_open(engine->reader, &op, &snapshot->pinned, &snapshot->revision);
	if (!e)
		e = clock_at(&engine->clock, group, snapshot->revision, &snapshot->vector);
	if (!e)
		e = claims_copy(&engine->claims, &snapshot->claims);
	if (!e)
		e = read_keys(snapshot);
	if (e)
		snapshot_free(snapshot);
	else
		*ret_snapshot = snapshot;
	return e;
}

void snapshot_free(struct snapshot *snapshot)
{
	if (!snapshot)
		return;
	store_keys_close(snapshot->pinned);
	sequence_fini(&snapshot->sequence);
	vector_fini(&snapshot->vector);
	claims_fini(&snapshot->claims);
	arena_fini(&snapshot->arena);
	free(snapshot);
}

enum err snapshot_key(struct snapshot *snapshot, struct bytes key, struct arena *arena,
		      struct key_state *ret_key)
{
	struct keys_row row;
	bool found = false;
	enum err e = store_keys_get(snapshot->pinned, key, &row, &found);

	if (e)
		return e;
	*ret_key = (struct key_state){.key = key};
	if (!found)
		return ERR_OK;
	ret_key->newest_revision = row.newest_revision;
	ret_key->live = row.live;
	if (arena_copy(arena, row.meta, &ret_key->meta) &&
	    (!row.live || arena_copy(arena, row.value, &ret_key->value)))
		return ERR_OK;
	return fault(ERR_NOMEM, "a key of %zu bytes", row.value.size);
}
