/* SPDX-License-Identifier: Apache-2.0 */
/* entry.c - a key's state on its way out of the log. */
#include "sync/engine/internal.h"

static enum err read_key(const struct engine *engine, const struct key_state *key,
			 struct arena *arena, struct row_meta *ret_meta, struct state *ret_state)
{
	struct shown shown = {key->live, key->value, NULL};

	return stamper_state(engine->stamper, key->meta, key->newest_revision, &shown, arena,
			     ret_meta, ret_state);
}

/* A claim that nobody knows any more is covered by the site's vector. */
static void keep_known(const struct claims *claims, struct row_meta *meta)
{
	size_t kept = 0;

	for (size_t i = 0; i < meta->claim_count; i++)
		if (claims_find(claims, meta->claims[i]))
			meta->claims[kept++] = meta->claims[i];
	meta->claim_count = kept;
}

enum err entry_make(const struct engine *engine, const struct claims *claims,
		    const struct key_state *key, struct arena *arena, struct entry *ret_entry)
{
	struct shown shown = {key->live, key->value, NULL};
	struct row_meta meta;
	struct state state;
	enum err e = row_meta_decode(key->meta, arena, &meta);

	/* A row from before sync was on gets the meta of the one write that it is. */
	if (!e && !meta.state.size && key->live) {
		e = read_key(engine, key, arena, &meta, &state);
		if (!e)
			e = meta_encode(&state, &shown, arena, &meta.state);
	}
	if (e)
		return e;
	keep_known(claims, &meta);
	*ret_entry = (struct entry){
		.key = key->key,
		.live = key->live,
		.meta = meta.state,
		.value = key->value,
		.value_digest = key->live ? value_digest(key->value) : 0,
		.claims = meta.claims,
		.claim_count = meta.claim_count,
		.revision = key->newest_revision,
	};
	return ERR_OK;
}

static bool is_in(const struct claim *claims, size_t count, uint64_t id)
{
	for (size_t i = 0; i < count; i++)
		if (claims[i].id == id)
			return true;
	return false;
}

enum err entry_claims(const struct claims *known, const struct entry *entries, size_t count,
		      struct arena *arena, struct claim **ret_claims, size_t *ret_count)
{
	struct claim *claims = arena_calloc(arena, CLAIMS_MAX, sizeof(*claims));
	size_t found = 0;
	enum err e = ERR_OK;

	if (!claims)
		return fault(ERR_NOMEM, "claims of a message");
	for (size_t i = 0; !e && i < count; i++) {
		for (size_t j = 0; !e && j < entries[i].claim_count; j++) {
			uint64_t id = entries[i].claims[j];
			const struct claim *claim = claims_find(known, id);

			if (!claim || is_in(claims, found, id))
				continue;
			claims[found].id = id;
			e = vector_copy(&claim->vector, &claims[found].vector);
			found += !e;
		}
	}
	*ret_claims = claims;
	*ret_count = found;
	return e;
}

enum err entry_hash(const struct engine *engine, const struct key_state *key,
		    struct state_hash *ret_hash)
{
	struct buffer canonical = BUFFER_INIT(META_BYTES_MAX);
	struct row_meta meta;
	struct state state;
	struct arena arena;
	enum err e;

	arena_init(&arena, KEY_ARENA_BYTES);
	e = read_key(engine, key, &arena, &meta, &state);
	if (!e && !state_put_canonical(&state, &canonical))
		e = fault(ERR_NOMEM, "the form of a state");
	if (!e)
		*ret_hash = state_hash_of(key->key, buffer_bytes(&canonical));
	buffer_fini(&canonical);
	arena_fini(&arena);
	return e;
}
