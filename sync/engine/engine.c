/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/snapshot.h"

#include <stdlib.h>

#define TICK_MS 1000
#define RETRY_PATIENCE_MS 5000 /* until a window that was asked for is asked for again */

/* --- what comes out --------------------------------------------------------------------------- */

int64_t engine_now(const struct engine *engine)
{
	return engine->config.host.now_ms(engine->config.host.context);
}

void engine_die(struct engine *engine, enum err e)
{
	(void)e;
	engine->dead = true;
}

void engine_notice(struct engine *engine, enum notice_kind kind, struct engine_peer *peer,
		   struct bytes key, const char *text)
{
	struct notice notice = {kind, peer, key, text};

	if (engine->config.host.notice)
		engine->config.host.notice(engine->config.host.context, &notice);
}

enum err engine_send(struct engine_peer *peer, struct message *message)
{
	struct engine *engine = peer->engine;
	struct buffer buffer = BUFFER_INIT(MESSAGE_BYTES_MAX);
	enum err e = message_encode(message, &buffer);

	if (!e) {
		peer->status.bytes_sent += buffer.size;
		engine->config.host.send(engine->config.host.context, peer, buffer_bytes(&buffer));
	} else if (e != ERR_REQUEST_TOO_LARGE) {
		engine_die(engine, e);
	}
	buffer_fini(&buffer);
	message_fini(message);
	return e;
}

void engine_refuse(struct engine_peer *peer, enum refusal why, const char *text)
{
	struct message message = {.kind = MESSAGE_REFUSE};

	if (why != REFUSED_SESSION)
		engine_notice(peer->engine, NOTICE_PEER_REFUSED, peer, bytes_of(NULL, 0), text);
	message.as.refuse = (struct refuse){.why = why, .text = bytes_of_string(text)};
	engine_send(peer, &message);
}

/* The nonce says which hello is meant, so that a site that heeded it does not heed it again. */
void engine_refuse_clone(struct engine_peer *peer, uint64_t nonce)
{
	static const char text[] = "another running server has this site's identity: one of them is"
				   " a copy, and goes on as a site of its own";
	struct message message = {.kind = MESSAGE_REFUSE};

	engine_notice(peer->engine, NOTICE_PEER_REFUSED, peer, bytes_of(NULL, 0), text);
	message.as.refuse = (struct refuse){
		.why = REFUSED_CLONE, .common = {.hash = nonce}, .text = BYTES_LITERAL(text)};
	engine_send(peer, &message);
}

/* --- what goes on ----------------------------------------------------------------------------- */

int64_t engine_cut_head(const struct engine *engine)
{
	if (engine->healing || !engine->ready)
		return 0;
	return engine->running ? engine->cut_max : store_head(engine->store);
}

void engine_pump(struct engine *engine)
{
	if (engine->dead || !engine->ready)
		return;
	list_for_each (node, &engine->peers) {
		struct engine_peer *peer = container_of(node, struct engine_peer, node);

		hello_pump(peer);
		answer_pump(peer);
		for (int group = 0; peer->is_ready && group < GROUPS; group++)
			push_pump(peer, group);
	}
	ask_pump(engine);
}

void engine_head_moved(struct engine *engine)
{
	engine_pump(engine);
}

static void tell_closed(struct engine *engine)
{
	uint64_t closed = atomic_load(&engine->stamper->closed_siblings);

	if (closed != engine->closed_told)
		engine_notice(engine, NOTICE_CLOSED, NULL, bytes_of(NULL, 0), "");
	engine->closed_told = closed;
}

static void tick_peer(struct engine_peer *peer, int64_t now_ms)
{
	struct engine *engine = peer->engine;
	int64_t every_ms = engine->config.compare_every_ms;

	for (int group = 0; group < GROUPS; group++) {
		struct pull *pull = &peer->pulls[group];

		if (pull->on && pull->retrying && !pull->pending &&
		    now_ms - pull->retried_ms > RETRY_PATIENCE_MS)
			pull_retry(peer, group, RETRY_OUT_OF_ORDER);
		if (!peer->is_ready || !every_ms || pull->wanted ||
		    now_ms - peer->compared_ms < every_ms)
			continue;
		pull->wanted = pull->is_periodic = true;
		peer->compared_ms = now_ms;
	}
}

void engine_tick(struct engine *engine)
{
	int64_t now_ms = engine_now(engine);

	if (engine->dead || !engine->ready)
		return;
	tell_closed(engine);
	keep_tick(engine);
	waiters_look(engine);
	list_for_each (node, &engine->peers)
		tick_peer(container_of(node, struct engine_peer, node), now_ms);
	engine_pump(engine);
}

int64_t engine_next_ms(const struct engine *engine)
{
	return engine_now(engine) + TICK_MS;
}

void engine_compare(struct engine *engine, struct engine_peer *peer)
{
	for (int group = 0; group < GROUPS; group++)
		peer->pulls[group].wanted = true;
	engine_pump(engine);
}

/* --- hubs and rules --------------------------------------------------------------------------- */

static bool knows_cloud(const struct engine *engine, const struct site *site)
{
	for (size_t i = 0; i < engine->cloud_count; i++)
		if (!memcmp(&engine->clouds[i], site, sizeof(*site)))
			return true;
	return false;
}

static int compare_sites(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct site));
}

enum err engine_add_cloud(struct engine *engine, const struct site *site, bool *ret_grew)
{
	struct site *grown;

	if (knows_cloud(engine, site) || engine->cloud_count == PEERS_MAX)
		return ERR_OK;
	grown = reallocarray(engine->clouds, engine->cloud_count + 1, sizeof(*grown));
	if (!grown)
		return fault(ERR_NOMEM, "hubs");
	engine->clouds = grown;
	grown[engine->cloud_count++] = *site;
	qsort(grown, engine->cloud_count, sizeof(*grown), compare_sites);
	*ret_grew = true;
	return ERR_OK;
}

enum err engine_hear_clouds(struct engine *engine, const struct hello *hello)
{
	bool grew = false;
	enum err e = ERR_OK;

	if (hello->is_hub)
		e = engine_add_cloud(engine, &hello->self.site, &grew);
	for (size_t i = 0; !e && i < hello->cloud_count; i++)
		e = engine_add_cloud(engine, &hello->clouds[i], &grew);
	if (e || !grew)
		return e;
	list_for_each (node, &engine->peers) {
		struct engine_peer *peer = container_of(node, struct engine_peer, node);

		if (peer->is_known)
			hello_introduce(peer); /* it may not know the hub yet */
	}
	return show_all(engine);
}

enum err engine_set_rules(struct engine *engine, const struct rules *rules)
{
	engine->config.rules = rules;
	return show_all(engine);
}

/* --- links ------------------------------------------------------------------------------------ */

enum err engine_connected(struct engine *engine, struct engine_peer **ret_peer)
{
	struct engine_peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return fault(ERR_NOMEM, "a peer");
	peer->engine = engine;
	peer->compared_ms = engine_now(engine);
	list_append(&engine->peers, &peer->node);
	*ret_peer = peer;
	if (engine->ready && !engine->dead)
		hello_introduce(peer);
	return ERR_OK;
}

void engine_disconnected(struct engine *engine, struct engine_peer *peer)
{
	list_remove(&peer->node);
	jobs_forget_peer(engine, peer);
	answer_close(peer);
	if (ask_is_for(engine, peer))
		ask_lost(engine);
	for (int group = 0; group < GROUPS; group++) {
		vector_fini(&peer->pulls[group].told);
		vector_fini(&peer->pulls[group].ours);
		vector_fini(&peer->pushes[group].told);
		vector_fini(&peer->pushes[group].has);
	}
	free(peer);
	engine_pump(engine);
}

/* --- life ------------------------------------------------------------------------------------- */

static bool load_peer(void *context, struct bytes name, struct bytes value)
{
	struct engine *engine = context;
	struct peer_record *grown;

	(void)name;
	grown = reallocarray(engine->records, engine->record_count + 1, sizeof(*grown));
	if (!grown || !peer_record_decode(value, &grown[engine->record_count])) {
		engine->records = grown ? grown : engine->records;
		engine->dead = true;
		return false;
	}
	engine->records = grown;
	engine->record_count++;
	return true;
}

static enum err load_peers(struct engine *engine)
{
	struct record_name from, end;
	enum err e;

	record_range(RECORD_PEERS, &from, &end);
	e = store_state_scan(engine->reader, record_bytes(&from), record_bytes(&end), load_peer,
			     engine);
	if (!e && engine->dead)
		e = fault(ERR_DAMAGED, "the record of a peer cannot be read");
	return e;
}

static enum err load_number(struct engine *engine, const struct record_name *name, int64_t *number)
{
	struct arena arena;
	struct bytes value = {0};
	bool found = false;
	enum err e;

	arena_init(&arena, KIB);
	e = store_state_get(engine->reader, record_bytes(name), &arena, &found, &value);
	if (!e && found && value.size != sizeof(*number))
		e = fault(ERR_DAMAGED, "a record of sync has another size");
	if (!e && found)
		memcpy(number, value.data, sizeof(*number));
	arena_fini(&arena);
	return e;
}

static bool decode_healing(struct bytes value, struct healing *ret_heal)
{
	struct wire wire = wire_of(value);
	uint64_t common, end;

	if (!actor_take(&wire, &ret_heal->old) || !wire_take_number(&wire, REV_MAIN_MAX, &common) ||
	    !wire_take_number(&wire, REV_MAIN_MAX, &end))
		return false;
	ret_heal->common = (int64_t)common;
	ret_heal->end = (int64_t)end;
	return !wire_left(&wire);
}

static enum err load_identity(struct engine *engine)
{
	struct record_name name = record_identity(), healing = record_healing();
	struct stamper *stamper = engine->stamper;
	struct arena arena;
	struct bytes value = {0};
	enum err e;

	arena_init(&arena, 64 * KIB);
	e = store_state_get(engine->reader, record_bytes(&name), &arena, &stamper->has_identity,
			    &value);
	if (!e && stamper->has_identity && !identity_decode(value, &stamper->identity))
		e = fault(ERR_DAMAGED, "the record of this site's identity cannot be read");
	if (!e)
		e = store_state_get(engine->reader, record_bytes(&healing), &arena,
				    &engine->healing, &value);
	if (!e && engine->healing && !decode_healing(value, &engine->heal))
		e = fault(ERR_DAMAGED, "the record of an incarnation cannot be read");
	arena_fini(&arena);
	if (e || !stamper->has_identity)
		return e;
	engine->clock.self = identity_self(&stamper->identity);
	engine->clock.begin = identity_begin(&stamper->identity);
	return ERR_OK;
}

static enum err load(struct engine *engine)
{
	struct record_name stamp = record_stamp();
	int64_t ceiling_ms = 0;
	enum err e = load_identity(engine);

	if (!e)
		e = clock_load(&engine->clock, engine->reader);
	if (!e)
		e = claims_load(&engine->claims, engine->reader);
	if (!e)
		e = load_peers(engine);
	if (!e)
		e = load_number(engine, &stamp, &ceiling_ms);
	for (int group = 0; !e && group < GROUPS; group++) {
		struct record_name barrier = record_barrier(group);

		e = load_number(engine, &barrier, &engine->barriers[group]);
	}
	hlc_init(&engine->stamper->hlc, ceiling_ms);
	if (!e)
		e = keep_load(engine);
	return e ? e : shown_load(engine);
}

enum err engine_open(const struct engine_config *config, struct store *store,
		     struct stamper *stamper, struct engine **ret_engine)
{
	struct engine *engine = calloc(1, sizeof(*engine));
	enum err e;

	if (!engine)
		return fault(ERR_NOMEM, "the engine");
	engine->config = *config;
	engine->store = store;
	engine->stamper = stamper;
	list_init(&engine->peers);
	list_init(&engine->jobs);
	list_init(&engine->waiters);
	engine->clock.written = stamper->written;
	for (int group = 0; group < GROUPS; group++)
		engine->clock_versions[group] = 1;
	e = store_reader_new(store, &engine->reader);
	if (!e)
		e = delta_context_new(&engine->deltas);
	if (!e)
		e = delta_context_new(&engine->writer_deltas);
	if (!e)
		e = load(engine);
	if (e) {
		engine_close(engine);
		return e;
	}
	for (int group = 0; group < GROUPS; group++)
		atomic_store(&stamper->written[group], store_head(store));
	engine->nonce = config->host.random(config->host.context);
	stamper->tag = config->host.random(config->host.context);
	*ret_engine = engine;
	return ERR_OK;
}

enum err engine_start(struct engine *engine)
{
	heal_start(engine);
	return engine->dead ? ERR_STORAGE : ERR_OK;
}

bool engine_is_ready(const struct engine *engine)
{
	return engine->ready && !engine->healing && !engine->dead;
}

void engine_close(struct engine *engine)
{
	if (!engine)
		return;
	engine->dead = true;
	waiters_end(engine);
	while (!list_is_empty(&engine->peers))
		engine_disconnected(engine,
				    container_of(engine->peers.next, struct engine_peer, node));
	while (!list_is_empty(&engine->jobs)) {
		struct job *job = container_of(engine->jobs.next, struct job, node);

		list_remove(&job->node);
		job_free(job);
	}
	clock_fini(&engine->clock);
	claims_fini(&engine->claims);
	delta_context_free(engine->deltas);
	delta_context_free(engine->writer_deltas);
	store_reader_free(engine->reader);
	free(engine->records);
	free(engine->clouds);
	free(engine);
}

/* --- what it knows ---------------------------------------------------------------------------- */

struct actor engine_self(const struct engine *engine)
{
	return engine->clock.self;
}

enum err engine_vector(const struct engine *engine, enum group group, struct vector *ret_vector)
{
	return clock_at(&engine->clock, group, store_head(engine->store), ret_vector);
}

enum err engine_root(struct engine *engine, enum group group, uint8_t ret_root[STATE_HASH_BYTES])
{
	struct key_range everything = {bytes_of("\0", 1), bytes_of(NULL, 0)};
	struct snapshot *snapshot;
	enum err e;

	if (engine->running)
		return ERR_BUSY;
	e = snapshot_new(engine, group, &everything, &snapshot);
	if (e)
		return e;
	sequence_root(&snapshot->sequence, ret_root);
	snapshot_free(snapshot);
	return ERR_OK;
}

static bool is_at_rest(const struct engine_peer *peer)
{
	for (int group = 0; group < GROUPS; group++) {
		const struct pull *pull = &peer->pulls[group];
		const struct push *push = &peer->pushes[group];

		if (!peer->is_ready || pull->pending || pull->wanted || !push->on ||
		    push->acked < push->sent || push->scanned < store_head(peer->engine->store))
			return false;
	}
	return true;
}

bool engine_is_silent(const struct engine *engine)
{
	if (engine->running || !list_is_empty((struct list *)&engine->jobs) || engine->asking ||
	    !engine_is_ready(engine))
		return false;
	list_for_each (node, (struct list *)&engine->peers)
		if (!is_at_rest(container_of(node, struct engine_peer, node)))
			return false;
	return true;
}

void engine_peer_status(const struct engine_peer *peer, struct peer_status *ret_status)
{
	*ret_status = peer->status;
	ret_status->actor = peer->actor;
	ret_status->ready = peer->is_ready;
}
