/* SPDX-License-Identifier: Apache-2.0 */
/* hello.c - who is there, and whether the other side's memory of this log fits it.
 *
 *   A                                         B
 *   | -- introduction: who I am ------------> |
 *   | <------------ introduction ------------ |
 *   | -- answer: how far I am in your log, -> |  B looks whether it is still that log:
 *   |    points of it, my vector              |  goes on from the cursor, or says that states must
 *   | <--------------- answer --------------- |  be compared, or heals itself
 */
#include "sync/engine/internal.h"

#include <stdlib.h>

/* --- saying ----------------------------------------------------------------------------------- */

static void say_log(const struct engine *engine, const struct engine_peer *peer,
		    struct hello *hello)
{
	const struct peer_record *record =
		peer_record_of((struct engine *)engine, &peer->actor.site);

	hello->is_answer = true;
	if (!record)
		return;
	hello->cursor_incarnation = record->incarnation;
	memcpy(hello->cursors, record->cursors, sizeof(hello->cursors));
	hello->points = (struct chain_point *)record->points;
	hello->point_count = record->point_count;
}

static enum err say_vectors(struct engine *engine, struct engine_peer *peer, struct hello *hello)
{
	int64_t head = store_head(engine->store);
	enum err e = ERR_OK;

	for (int group = 0; !e && group < GROUPS; group++) {
		struct pull *pull = &peer->pulls[group];

		e = clock_at(&engine->clock, group, head, &hello->vectors[group]);
		vector_fini(&pull->ours);
		if (!e)
			e = vector_copy(&hello->vectors[group], &pull->ours);
	}
	return e;
}

static void say_hello(struct engine_peer *peer, bool is_answer)
{
	struct engine *engine = peer->engine;
	struct message message = {.kind = MESSAGE_HELLO};
	struct hello *hello = &message.as.hello;
	struct key_range everything = {bytes_of("\0", 1), bytes_of(NULL, 0)};
	enum err e;

	*hello = (struct hello){
		.protocol = SYNC_PROTOCOL,
		.layout = CODEC_LAYOUT,
		.cluster = engine->config.cluster,
		.self = engine->clock.self,
		.nonce = engine->nonce,
		.head = store_head(engine->store),
		.wall_ms = engine->config.host.wall_ms(engine->config.host.context),
		.coverage = &everything,
		.coverage_count = 1,
		.window_bytes_max = WINDOW_BYTES_DEFAULT,
		.is_hub = engine->config.is_hub,
		.clouds = engine->clouds,
		.cloud_count = engine->cloud_count,
	};
	rules_hash(engine->config.rules, hello->rules_hash);
	if (is_answer)
		say_log(engine, peer, hello);
	e = say_vectors(engine, peer, hello);
	if (e)
		engine_die(engine, e);
	else
		engine_send(peer, &message);
}

/* What a job has on the writer is not in the vector yet, and may be what the peer has forgotten. */
void hello_pump(struct engine_peer *peer)
{
	if (!peer->owes_answer || peer->engine->running || peer->engine->healing)
		return;
	peer->owes_answer = false;
	say_hello(peer, true);
}

void hello_introduce(struct engine_peer *peer)
{
	if (!peer->is_known) {
		say_hello(peer, false);
		return;
	}
	peer->owes_answer = true;
	hello_pump(peer);
}

/* --- who is there ----------------------------------------------------------------------------- */

static bool is_clone(const struct engine *engine, const struct engine_peer *peer,
		     const struct hello *hello)
{
	if (!memcmp(&hello->self.site, &engine->clock.self.site, SITE_BYTES))
		return true;
	list_for_each (node, (struct list *)&engine->peers) {
		const struct engine_peer *other = container_of(node, struct engine_peer, node);

		if (other != peer && other->is_known && other->nonce != hello->nonce &&
		    !memcmp(&other->actor.site, &hello->self.site, SITE_BYTES))
			return true;
	}
	return false;
}

static bool is_welcome(struct engine_peer *peer, const struct hello *hello)
{
	struct engine *engine = peer->engine;

	if (hello->protocol != SYNC_PROTOCOL)
		engine_refuse(peer, REFUSED_PROTOCOL,
			      "this site speaks another version of the sync protocol: bring both"
			      " sites to releases that overlap");
	else if (hello->layout != CODEC_LAYOUT)
		engine_refuse(peer, REFUSED_LAYOUT,
			      "this site cuts objects at other places: bring both sites to"
			      " releases with one layout");
	else if (memcmp(&hello->cluster, &engine->config.cluster, SITE_BYTES) != 0)
		engine_refuse(
			peer, REFUSED_CLUSTER,
			"this site belongs to another cluster: check the address of the peer");
	else if (is_clone(engine, peer, hello))
		engine_refuse_clone(peer, hello->nonce);
	else
		return true;
	return false;
}

static struct peer_record *record_for(struct engine *engine, const struct site *site)
{
	struct peer_record *record = peer_record_of(engine, site);
	struct peer_record *grown;

	if (record)
		return record;
	if (engine->record_count == PEERS_MAX)
		return NULL;
	grown = reallocarray(engine->records, engine->record_count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	engine->records = grown;
	record = &grown[engine->record_count++];
	*record = (struct peer_record){.site = *site};
	return record;
}

static enum err hear_vectors(struct engine_peer *peer, const struct hello *hello)
{
	enum err e = ERR_OK;

	for (int group = 0; !e && group < GROUPS; group++) {
		vector_fini(&peer->pushes[group].has);
		e = vector_copy(&hello->vectors[group], &peer->pushes[group].has);
	}
	return e;
}

/* --- whether the log is still the one --------------------------------------------------------- */

enum match { MATCH_UNKNOWN, MATCH_YES, MATCH_NO };

struct matching {
	uint64_t hash;
	enum match match;
	struct arena arena;
};

static enum err match_row(void *context, const struct log_row *row)
{
	struct matching *matching = context;
	struct row_meta meta;
	enum err e;

	arena_fini(&matching->arena);
	arena_init(&matching->arena, KEY_ARENA_BYTES);
	e = row_meta_decode(row->meta, &matching->arena, &meta);
	if (!e && row->meta.size && meta.tag == matching->hash)
		matching->match = MATCH_YES;
	return e;
}

static enum match match_point(struct engine *engine, const struct chain_point *point)
{
	struct log_op op = {.from = point->revision - 1, .to = point->revision, .rows_max = 1};
	struct matching matching = {.hash = point->hash, .match = MATCH_NO};
	int64_t to;
	enum err e;

	if (!point->hash || op.from < store_swept(engine->store))
		return MATCH_UNKNOWN;
	op.bytes_max = 1;
	arena_init(&matching.arena, KEY_ARENA_BYTES);
	e = store_log(engine->reader, &op, match_row, &matching, &to);
	arena_fini(&matching.arena);
	return e ? MATCH_UNKNOWN : matching.match;
}

/* How far the peer's memory of this site's log goes beyond what the log holds. */
struct memory {
	bool is_lost;
	int64_t common;
	int64_t seen;
};

static const struct incarnation *find_incarnation(const struct engine *engine, uint32_t number)
{
	const struct identity *identity = &engine->stamper->identity;

	for (size_t i = 0; i < identity->count; i++)
		if (identity->incarnations[i].number == number &&
		    !memcmp(&identity->incarnations[i].site, &identity->site, SITE_BYTES))
			return &identity->incarnations[i];
	return NULL;
}

/* One that is as old as the present one, or older, is a copy's, or was forgotten before this one
 * began: there is nothing to do about it. */
static bool is_newer(const struct engine *engine, uint32_t incarnation)
{
	return incarnation >> INCARNATION_CHANCE_BITS > engine->clock.self.incarnation >>
	       INCARNATION_CHANCE_BITS;
}

static void hear_incarnation(struct engine *engine, uint32_t incarnation)
{
	if (incarnation > engine->heard_incarnation)
		engine->heard_incarnation = incarnation;
}

/* What the peer has of this incarnation. */
static int64_t own_last(const struct engine *engine, const struct hello *hello)
{
	int64_t last = 0;

	for (int group = 0; group < GROUPS; group++) {
		int64_t in_group = vector_last(&hello->vectors[group], &engine->clock.self);

		if (in_group > last)
			last = in_group;
	}
	return last;
}

/* Up to where points from the peer's incarnation of this site speak of a log that still is. */
static int64_t points_end(struct engine *engine, const struct hello *hello, bool *ret_forgotten)
{
	const struct incarnation *incarnation = find_incarnation(engine, hello->cursor_incarnation);
	const struct identity *identity = &engine->stamper->identity;

	if (!incarnation && !is_newer(engine, hello->cursor_incarnation))
		return 0;
	if (!incarnation) {
		hear_incarnation(engine, hello->cursor_incarnation);
		*ret_forgotten = true;
		return INT64_MAX;
	}
	if (incarnation == &identity->incarnations[identity->count - 1])
		return INT64_MAX;
	return incarnation[1].begin; /* what came above it was forgotten, and is known to be */
}

/* What a peer acknowledged it has, as this site wrote it. */
static int64_t confirmed(const struct engine *engine)
{
	int64_t revision = 0;

	for (size_t i = 0; i < engine->record_count; i++)
		for (int group = 0; group < GROUPS; group++)
			if (engine->records[i].acked[group] > revision)
				revision = engine->records[i].acked[group];
	return revision;
}

static struct memory compare_memory(struct engine *engine, const struct hello *hello)
{
	int64_t head = store_head(engine->store);
	struct memory memory = {.is_lost = false};
	int64_t end = points_end(engine, hello, &memory.is_lost);
	enum match match = MATCH_NO;
	bool is_doubted;

	memory.seen = own_last(engine, hello);
	is_doubted = memory.seen > head;
	for (size_t i = 0; i < hello->point_count && match == MATCH_NO; i++) {
		const struct chain_point *point = &hello->points[i];

		if (point->revision > end)
			continue;
		if (point->revision > memory.seen)
			memory.seen = point->revision;
		if (point->revision <= head)
			match = match_point(engine, point);
		if (match == MATCH_NO)
			is_doubted = true;
		else if (match == MATCH_YES)
			memory.common = point->revision;
	}
	/* Where an incarnation is forgotten and nothing speaks against this one, no row of it was
	 * written twice. */
	if (!is_doubted)
		memory.common = head;
	memory.is_lost |= is_doubted;
	/* Better to write some rows anew than to leave one that somebody knows otherwise. */
	if (memory.common < confirmed(engine))
		memory.common = confirmed(engine);
	if (memory.common > head)
		memory.common = head;
	return memory;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void start_pulls(struct engine_peer *peer, const struct peer_record *record)
{
	for (int group = 0; group < GROUPS; group++) {
		struct pull *pull = &peer->pulls[group];

		/* Where another incarnation begins is the peer's to judge. */
		pull->next = record ? record->cursors[group] : 0;
		pull->on = pull->next > 0;
		pull->retrying = pull->is_told = false;
		pull->wanted = !pull->on;
		vector_fini(&pull->told);
	}
}

static void answer_came(struct engine_peer *peer, const struct hello *hello)
{
	struct engine *engine = peer->engine;
	struct memory memory = compare_memory(engine, hello);
	bool is_same = hello->cursor_incarnation == engine->clock.self.incarnation;

	if (memory.is_lost && !mistake(&engine->config, MISTAKE_NO_BUMP)) {
		heal_begin(engine, memory.common, memory.seen,
			   "a peer remembers writes that this site has forgotten");
		return;
	}
	peer->is_ready = true;
	for (int group = 0; group < GROUPS; group++) {
		int64_t cursor = hello->cursors[group];

		if (!is_same && cursor > engine->clock.begin)
			cursor = 0;
		push_start(peer, group, cursor);
	}
	engine_notice(engine, NOTICE_PEER_READY, peer, bytes_of(NULL, 0), "");
}

void hello_receive(struct engine_peer *peer, const struct hello *hello)
{
	struct engine *engine = peer->engine;
	bool is_new = !peer->is_known || hello->self.incarnation != peer->actor.incarnation ||
		      hello->nonce != peer->nonce;
	struct peer_record *record;
	enum err e;

	if (!is_welcome(peer, hello))
		return;
	record = record_for(engine, &hello->self.site);
	if (!record) {
		engine_refuse(peer, REFUSED_BUSY, "this site knows as many peers as it can");
		return;
	}
	peer->actor = hello->self;
	peer->nonce = hello->nonce;
	peer->is_hub = hello->is_hub;
	peer->is_known = true;
	peer->status.actor = hello->self;
	e = hear_vectors(peer, hello);
	if (!e)
		e = engine_hear_clouds(engine, hello);
	if (e) {
		engine_die(engine, e);
		return;
	}
	if (is_new) {
		peer->is_ready = false;
		start_pulls(peer, record);
	}
	if (hello->is_answer)
		answer_came(peer, hello);
	if (is_new || !hello->is_answer)
		peer->owes_answer = true;
	hello_pump(peer);
	engine_pump(engine);
}
