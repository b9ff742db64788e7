/* SPDX-License-Identifier: Apache-2.0 */
/* ask.c - a comparison of states that this site asks a peer for.
 *
 *   pin both sides -> compare ranges -> fetch what differs, page by page -> take over the vector
 *
 * Each page is a job whose rows carry the comparison's claim.  Keys that other merges write
 * meanwhile are fetched too, at the peer's pinned moment, before the vector is taken over: else a
 * key that the peer had deleted could have come in unseen.  One comparison at a time; one that
 * breaks off leaves nothing to undo, and the next finds only what is left. */
#include "sync/engine/asking.h"

#include <stdlib.h>

bool ask_is_for(const struct engine *engine, const struct engine_peer *peer)
{
	return engine->asking && engine->asking->peer == peer;
}

bool ask_has(const struct engine *engine, uint64_t session)
{
	return engine->asking && engine->asking->session == session;
}

void ask_lost(struct engine *engine)
{
	engine->asking->peer = NULL;
	ask_end(engine);
}

void ask_end(struct engine *engine)
{
	struct asking *asking = engine->asking;

	engine->asking = NULL;
	if (!asking)
		return;
	if (asking->peer) {
		struct message message = {.kind = MESSAGE_SESSION_CLOSE};

		message.as.session_close.session = asking->session;
		engine_send(asking->peer, &message);
		asking->peer->status.is_comparing = false;
	}
	snapshot_free(asking->mine);
	vector_fini(&asking->theirs);
	arena_fini(&asking->arena);
	free(asking->keys);
	free(asking);
}

/* Tries again from the start; a fault ends the engine. */
void asking_give_up(struct engine *engine, enum err e)
{
	if (e && err_is_fault(e))
		engine_die(engine, e);
	ask_end(engine);
}

/* --- opening ---------------------------------------------------------------------------------- */

static void say_open(struct asking *asking)
{
	struct message message = {.kind = MESSAGE_SESSION_OPEN};

	message.as.session_open = (struct session_open){
		.session = asking->session,
		.group = asking->group,
		.nonce = asking->nonce,
		.range = {bytes_of("\0", 1), bytes_of(NULL, 0)},
	};
	engine_send(asking->peer, &message);
}

static void start(struct engine_peer *peer, enum group group)
{
	struct engine *engine = peer->engine;
	struct asking *asking = calloc(1, sizeof(*asking));

	if (!asking) {
		engine_die(engine, fault(ERR_NOMEM, "a comparison"));
		return;
	}
	*asking = (struct asking){
		.engine = engine,
		.peer = peer,
		.group = group,
		.session = claim_number(engine->config.host.random(engine->config.host.context),
					group),
		.nonce = engine->config.host.random(engine->config.host.context),
		.moved_ms = engine_now(engine),
	};
	arena_init(&asking->arena, RECONCILE_KEYS_MAX * (size_t)16);
	engine->asking = asking;
	peer->status.is_comparing = true;
	peer->status.sessions++;
	say_open(asking);
}

#define ASK_PATIENCE_MS 30000 /* without an answer a comparison starts over */

void ask_pump(struct engine *engine)
{
	if (engine->asking && !engine->asking->is_ending &&
	    engine_now(engine) - engine->asking->moved_ms > ASK_PATIENCE_MS)
		ask_end(engine);
	if (engine->asking || engine->healing || engine->dead)
		return;
	list_for_each (node, &engine->peers) {
		struct engine_peer *peer = container_of(node, struct engine_peer, node);

		for (int group = 0; peer->is_ready && !peer->status.is_stopped && group < GROUPS;
		     group++) {
			if (peer->pulls[group].wanted && !peer->pulls[group].pending) {
				start(peer, group);
				return;
			}
		}
	}
}

/* --- what differs ----------------------------------------------------------------------------- */

enum err asking_want(struct asking *asking, struct bytes key)
{
	struct bytes *grown;

	if (asking->count == asking->capacity) {
		size_t wanted = asking->capacity ? asking->capacity * 2 : 256;

		grown = reallocarray(asking->keys, wanted, sizeof(*grown));
		if (!grown)
			return fault(ERR_NOMEM, "%zu keys that differ", wanted);
		asking->keys = grown;
		asking->capacity = wanted;
	}
	if (!arena_copy(&asking->arena, key, &asking->keys[asking->count]))
		return fault(ERR_NOMEM, "keys that differ");
	asking->count++;
	return ERR_OK;
}

static void on_difference(void *context, struct bytes key, enum difference difference)
{
	struct asking *asking = context;
	enum err e = asking_want(asking, key);

	(void)difference;
	if (e)
		engine_die(asking->engine, e);
}

static struct reconcile compare_as_asker(struct asking *asking)
{
	return (struct reconcile){
		.sequence = &asking->mine->sequence,
		.low = bytes_of("\0", 1),
		.nonce = asking->nonce,
		.bytes_max = RECONCILE_MESSAGE_BYTES,
		.asks = true,
		.on_difference = on_difference,
		.context = asking,
	};
}

static void say_compare(struct asking *asking, struct buffer *body)
{
	struct message message = {.kind = MESSAGE_SESSION_COMPARE};

	message.as.session_compare = (struct session_compare){asking->session, buffer_bytes(body)};
	engine_send(asking->peer, &message);
}

static void compared(struct asking *asking)
{
	asking->is_compared = true;
	asking_go_on(asking);
}

void ask_compare(struct engine_peer *peer, const struct session_compare *compare)
{
	struct asking *asking = peer->engine->asking;
	struct buffer body = BUFFER_INIT(2 * MIB);
	struct reconcile reconcile;
	bool done = false;
	enum err e;

	if (!ask_is_for(peer->engine, peer) || asking->session != compare->session ||
	    !asking->mine || asking->is_compared)
		return;
	asking->moved_ms = engine_now(peer->engine);
	reconcile = compare_as_asker(asking);
	e = reconcile_step(&reconcile, compare->body, &body, &done);
	if (e)
		asking_give_up(peer->engine, e);
	else if (done)
		compared(asking);
	else
		say_compare(asking, &body);
	buffer_fini(&body);
}

static enum err pin(struct asking *asking, const struct session_opened *opened)
{
	struct key_range everything = {bytes_of("\0", 1), bytes_of(NULL, 0)};
	uint8_t root[STATE_HASH_BYTES];
	struct reconcile reconcile;
	struct buffer body = BUFFER_INIT(2 * MIB);
	enum err e = snapshot_new(asking->engine, asking->group, &everything, &asking->mine);

	if (e)
		return e;
	sequence_root(&asking->mine->sequence, root);
	if (!memcmp(root, opened->root, sizeof(root))) {
		compared(asking);
		return ERR_OK;
	}
	reconcile = compare_as_asker(asking);
	e = reconcile_start(&reconcile, &body);
	if (!e)
		say_compare(asking, &body);
	buffer_fini(&body);
	return e;
}

/* A comparison that nothing but the time called for waits while the log has more to tell. */
static bool is_premature(struct asking *asking)
{
	struct vector gain = {0};
	bool premature;

	if (!asking->peer->pulls[asking->group].is_periodic)
		return false;
	premature = pull_gain(asking->engine, asking->group, &asking->theirs, &gain) || gain.count;
	vector_fini(&gain);
	return premature;
}

void ask_opened(struct engine_peer *peer, const struct session_opened *opened)
{
	struct engine *engine = peer->engine;
	struct asking *asking = engine->asking;
	enum err e;

	if (!ask_is_for(engine, peer) || asking->session != opened->session || asking->mine)
		return;
	asking->moved_ms = engine_now(engine);
	asking->revision = opened->revision;
	asking->incarnation = opened->incarnation;
	e = vector_copy(&opened->vector, &asking->theirs);
	if (!e && is_premature(asking)) {
		peer->pulls[asking->group].wanted = false;
		ask_end(engine);
		return;
	}
	if (!e)
		e = pin(asking, opened);
	if (e)
		asking_give_up(engine, e);
}

void ask_late(struct engine *engine, struct bytes key)
{
	struct asking *asking = engine->asking;
	enum err e;

	if (!asking || !asking->mine)
		return;
	if (++asking->late > SESSION_LATE_KEYS_MAX) {
		ask_end(engine); /* too much goes on: once more, later */
		return;
	}
	e = asking_want(asking, key);
	if (e)
		engine_die(engine, e);
}

void ask_refused(struct engine_peer *peer)
{
	if (ask_is_for(peer->engine, peer))
		ask_end(peer->engine);
}
