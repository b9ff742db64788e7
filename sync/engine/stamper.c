/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/stamper.h"

#include "sync/engine/gate.h"
#include "sync/engine/journal.h"
#include "sync/engine/records.h"

#include <stdlib.h>

enum err stamper_state(const struct stamper *stamper, struct bytes meta, int64_t row_revision,
		       const struct shown *shown, struct arena *arena, struct row_meta *ret_meta,
		       struct state *ret_state)
{
	struct dot plain = {identity_actor_at(&stamper->identity, row_revision), row_revision};
	enum err e = row_meta_decode(meta, arena, ret_meta);

	if (!e && !ret_meta->state.size && (meta.size || !shown->present)) {
		*ret_state = (struct state){0}; /* deleted */
		return ERR_OK;
	}
	return e ? e : meta_decode(ret_meta->state, shown, &plain, arena, ret_state);
}

enum err stamper_stamp(struct stamper *stamper, struct apply *apply, hlc_stamp *ret_stamp)
{
	int64_t wall_ms = stamper->config.host.wall_ms(stamper->config.host.context);
	struct record_name name = record_stamp();
	int64_t ceiling_ms;
	enum err e;

	while (!hlc_next(&stamper->hlc, wall_ms, ret_stamp)) {
		ceiling_ms = hlc_ceiling_wanted(&stamper->hlc, wall_ms);
		e = apply_set_state(apply, record_bytes(&name),
				    bytes_of(&ceiling_ms, sizeof(ceiling_ms)));
		if (e)
			return e;
		/* Should the op fail after this, the ceiling is not on the disk, and a restart
		 * may give a stamp again: that decides a tie otherwise, and nothing else. */
		hlc_ceiling_stored(&stamper->hlc, ceiling_ms);
	}
	return ERR_OK;
}

enum err stamper_reserve(struct stamper *stamper, int64_t revision)
{
	const struct engine_config *config = &stamper->config;
	struct witness witness = {
		.self = identity_self(&stamper->identity),
		.from = revision,
		.end = revision + WITNESS_LEASE_REVISIONS,
		.disk_bytes = config->disk.size,
	};
	struct buffer buffer = BUFFER_INIT(WITNESS_BYTES_MAX);
	enum err e;

	if (revision >= stamper->reserved_from && revision < stamper->reserved_end)
		return ERR_OK;
	if (config->disk.size)
		memcpy(witness.disk, config->disk.data, config->disk.size);
	e = witness_encode(&witness, &buffer)
		    ? config->host.witness_write(config->host.context, buffer_bytes(&buffer))
		    : fault(ERR_NOMEM, "the witness");
	buffer_fini(&buffer);
	if (e)
		return e;
	stamper->reserved_from = witness.from;
	stamper->reserved_end = witness.end;
	return ERR_OK;
}

enum err stamper_row(struct stamper *stamper, struct row_meta *row, int64_t revision,
		     struct bytes key, struct bytes value, struct arena *arena,
		     struct bytes *ret_meta)
{
	stamper->tag = row_tag_next(stamper->tag, revision, key, value);
	row->tag = stamper->tag;
	return row_meta_encode(row, arena, ret_meta);
}

/* --- the hook -------------------------------------------------------------------------------- */

static bool in_scope(void *context, struct bytes key)
{
	const struct stamper *stamper = context;
	enum group group;

	return scope_has(stamper->scope, key, &group);
}

/* One write on its way; both values are split once, which is most of the work. */
struct stamping {
	struct stamper *stamper;
	struct apply *apply;
	const struct stamp_row *row;
	struct object old_object;
	struct object object;
	struct row_meta old_meta;
	struct state old;
	struct state new;
};

static enum err split_values(struct stamping *stamping)
{
	const struct stamp_row *row = stamping->row;
	struct arena *arena = &stamping->stamper->arena;
	enum err e = ERR_OK;

	if (row->old_present)
		e = object_split(row->old_value, arena, &stamping->old_object);
	if (!e && !row->tombstone)
		e = object_split(row->value, arena, &stamping->object);
	return e;
}

static enum err old_state(struct stamping *stamping)
{
	const struct stamp_row *row = stamping->row;
	struct shown shown = {row->old_present, row->old_value, &stamping->old_object};
	struct apply_row found = {.newest_revision = 0};
	enum err e = ERR_OK;

	if (!row->old_meta.size && row->old_present)
		e = apply_get(stamping->apply, row->key, &found);
	return e ? e
		 : stamper_state(stamping->stamper, row->old_meta, found.newest_revision, &shown,
				 &stamping->stamper->arena, &stamping->old_meta, &stamping->old);
}

static enum err write_state(struct stamping *stamping)
{
	struct stamper *stamper = stamping->stamper;
	const struct stamp_row *row = stamping->row;
	struct key_policy policy;
	struct write write = {
		.old = &stamping->old,
		.old_value = row->old_value,
		.old_present = row->old_present,
		.value = row->value,
		.deleted = row->tombstone,
		.old_object = &stamping->old_object,
		.object = &stamping->object,
		.dot = {identity_self(&stamper->identity), row->revision},
	};
	enum err e = stamper_stamp(stamper, stamping->apply, &write.stamp);

	scope_policy(stamper->scope, row->key, &policy);
	if (!e)
		e = state_write(&write, &policy.policy, &stamper->arena, &stamping->new);
	if (!e)
		e = journal_closed(stamper, stamping->apply, &write, row->key, &stamping->new);
	return e;
}

static enum err encode_row(struct stamping *stamping, struct bytes *ret_meta)
{
	const struct stamp_row *row = stamping->row;
	struct arena *arena = &stamping->stamper->arena;
	struct shown shown = {!row->tombstone, row->value, &stamping->object};
	struct row_meta meta = {
		.claims = stamping->old_meta.claims,
		.claim_count = stamping->old_meta.claim_count,
	};
	enum err e = meta_encode(&stamping->new, &shown, arena, &meta.state);

	return e ? e
		 : stamper_row(stamping->stamper, &meta, row->revision, row->key, row->value, arena,
			       ret_meta);
}

static enum err stamp(void *context, struct apply *apply, const struct stamp_row *row,
		      struct bytes *ret_meta)
{
	struct stamper *stamper = context;
	struct stamping stamping = {.stamper = stamper, .apply = apply, .row = row};
	enum group group;
	enum err e;

	arena_fini(&stamper->arena);
	arena_init(&stamper->arena, KEY_ARENA_BYTES);
	scope_has(stamper->scope, row->key, &group);
	atomic_store(&stamper->written[group], row->revision);
	e = stamper_reserve(stamper, row->revision);
	if (!e)
		e = split_values(&stamping);
	if (!e)
		e = old_state(&stamping);
	if (!e)
		e = write_state(&stamping);
	if (!e)
		e = gate_forget(stamper, apply, row->key, &stamper->arena);
	return e ? e : encode_row(&stamping, ret_meta);
}

struct store_stamp stamper_hook(struct stamper *stamper)
{
	return (struct store_stamp){.in_scope = in_scope, .stamp = stamp, .context = stamper};
}

/* --- life ------------------------------------------------------------------------------------ */

enum err stamper_new(const struct engine_config *config, struct stamper **ret_stamper)
{
	struct stamper *stamper = calloc(1, sizeof(*stamper));
	enum err e;

	if (!stamper)
		return fault(ERR_NOMEM, "the stamper");
	stamper->config = *config;
	arena_init(&stamper->arena, KEY_ARENA_BYTES);
	e = scope_new(config->rules, NULL, 0, &stamper->scope);
	if (e) {
		stamper_free(stamper);
		return e;
	}
	*ret_stamper = stamper;
	return ERR_OK;
}

void stamper_free(struct stamper *stamper)
{
	if (!stamper)
		return;
	scope_free(stamper->scope);
	arena_fini(&stamper->arena);
	free(stamper);
}
