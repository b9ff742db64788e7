/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c - a comparison of states that a peer asks for. */
#include "sync/engine/snapshot.h"

#include <stdlib.h>

struct answering {
	uint64_t session;
	uint64_t nonce;
	struct snapshot *snapshot;
	struct bytes low;
	struct bytes high;
	struct arena arena;
};

void answer_close(struct engine_peer *peer)
{
	struct answering *answering = peer->answering;

	peer->answering = NULL;
	peer->has_open = false;
	if (!answering)
		return;
	snapshot_free(answering->snapshot);
	arena_fini(&answering->arena);
	free(answering);
}

static void no_session(struct engine_peer *peer)
{
	engine_refuse(peer, REFUSED_SESSION, "this site knows nothing of that comparison");
}

void answer_open(struct engine_peer *peer, const struct session_open *open)
{
	answer_close(peer);
	peer->open = *open;
	peer->open.range = (struct key_range){bytes_of("\0", 1), bytes_of(NULL, 0)};
	peer->has_open = true;
}

static enum err say_opened(struct engine_peer *peer)
{
	struct answering *answering = peer->answering;
	struct engine *engine = peer->engine;
	struct message message = {.kind = MESSAGE_SESSION_OPENED};
	struct session_opened *opened = &message.as.session_opened;
	enum err e;

	*opened = (struct session_opened){
		.session = answering->session,
		.incarnation = engine->clock.self.incarnation,
		.revision = answering->snapshot->revision,
		.key_count = answering->snapshot->sequence.count,
	};
	sequence_root(&answering->snapshot->sequence, opened->root);
	e = vector_copy(&answering->snapshot->vector, &opened->vector);
	return e ? e : engine_send(peer, &message);
}

static enum err open_now(struct engine_peer *peer)
{
	struct answering *answering = calloc(1, sizeof(*answering));
	enum err e;

	if (!answering)
		return fault(ERR_NOMEM, "a comparison");
	arena_init(&answering->arena, MIB);
	answering->session = peer->open.session;
	answering->nonce = peer->open.nonce;
	answering->low = peer->open.range.key;
	answering->high = peer->open.range.end;
	peer->answering = answering;
	peer->has_open = false;
	e = snapshot_new(peer->engine, peer->open.group, &peer->open.range, &answering->snapshot);
	return e ? e : say_opened(peer);
}

void answer_pump(struct engine_peer *peer)
{
	enum err e;

	if (!peer->has_open || peer->engine->running || peer->engine->healing || peer->engine->dead)
		return;
	e = open_now(peer);
	if (e)
		engine_die(peer->engine, e);
}

void answer_compare(struct engine_peer *peer, const struct session_compare *compare)
{
	struct answering *answering = peer->answering;
	struct message message = {.kind = MESSAGE_SESSION_COMPARE};
	struct buffer body = BUFFER_INIT(2 * MIB);
	struct reconcile reconcile;
	bool done = false;
	enum err e;

	if (!answering || answering->session != compare->session) {
		no_session(peer);
		return;
	}
	reconcile = (struct reconcile){
		.sequence = &answering->snapshot->sequence,
		.low = answering->low,
		.high = answering->high,
		.nonce = answering->nonce,
		.bytes_max = RECONCILE_MESSAGE_BYTES,
	};
	e = reconcile_step(&reconcile, compare->body, &body, &done);
	message.as.session_compare =
		(struct session_compare){compare->session, buffer_bytes(&body)};
	if (e == ERR_MALFORMED)
		engine_refuse(peer, REFUSED_PROTOCOL, "a comparison that cannot be read");
	else if (e)
		engine_die(peer->engine, e);
	else
		engine_send(peer, &message);
	buffer_fini(&body);
}

static enum err make_page(struct answering *answering, const struct session_fetch *fetch,
			  struct arena *arena, struct session_page *page)
{
	struct engine *engine = answering->snapshot->engine;
	const struct claims *claims = &answering->snapshot->claims;
	struct key_state key;
	size_t bytes = 0;
	enum err e = ERR_OK;

	page->session = fetch->session;
	page->entries = arena_calloc(arena, fetch->key_count + 1, sizeof(*page->entries));
	if (!page->entries)
		return fault(ERR_NOMEM, "a page of %zu keys", fetch->key_count);
	/* What does not fit is asked for again. */
	while (!e && page->entry_count < fetch->key_count && bytes < WINDOW_BYTES_DEFAULT) {
		struct entry *entry = &page->entries[page->entry_count];

		e = snapshot_key(answering->snapshot, fetch->keys[page->entry_count], arena, &key);
		if (!e)
			e = entry_make(engine, claims, &key, arena, entry);
		bytes += entry->value.size + entry->meta.size + entry->key.size;
		page->entry_count++;
	}
	return e ? e
		 : entry_claims(claims, page->entries, page->entry_count, arena, &page->claims,
				&page->claim_count);
}

void answer_fetch(struct engine_peer *peer, const struct session_fetch *fetch)
{
	struct answering *answering = peer->answering;
	struct message message = {.kind = MESSAGE_SESSION_PAGE};
	struct arena arena;
	enum err e;

	if (!answering || answering->session != fetch->session) {
		no_session(peer);
		return;
	}
	arena_init(&arena, 4 * KEY_ARENA_BYTES);
	e = make_page(answering, fetch, &arena, &message.as.session_page);
	if (e)
		engine_die(peer->engine, e);
	else
		engine_send(peer, &message);
	arena_fini(&arena);
}
