/* SPDX-License-Identifier: Apache-2.0 */
/* push.c - windows of this site's log on their way to a peer.
 *
 * A window is (from, to] of the log: of each key that a row in it touched, the state at `to`; what
 * the vector gained; and nothing of keys whose touches the peer is known to have.  A prefix of the
 * log is a causal cut, so the receiver's state is always one that this site had. */
#include "sync/engine/internal.h"

#include <stdlib.h>

#define EMPTY_WINDOW_REVISIONS 1000
#define PUSH_PATIENCE_MS 10000 /* until what nobody acknowledged is sent again */

/* A key that rows of the window touched. */
struct touched {
	struct bytes key;
	struct dot *touches;
	size_t count;
	size_t capacity;
	bool wildcard;
	int64_t revision; /* of the newest row */
	uint64_t tag;
};

struct cutting {
	struct engine_peer *peer;
	struct engine *engine;
	enum group group;
	struct arena arena;
	struct touched *keys;
	size_t count;
	size_t capacity;
	int64_t from;
	int64_t scanned; /* nothing to tell up to here */
	int64_t to;
	struct window window;
};

/* --- reading the log -------------------------------------------------------------------------- */

/* Keys are few, and one that was touched before was most likely touched last. */
static struct touched *find_key(struct cutting *cutting, struct bytes key)
{
	for (size_t i = cutting->count; i-- > 0;)
		if (bytes_equal(cutting->keys[i].key, key))
			return &cutting->keys[i];
	return NULL;
}

static struct touched *add_key(struct cutting *cutting, struct bytes key)
{
	struct touched *grown;

	if (cutting->count == cutting->capacity) {
		size_t wanted = cutting->capacity ? cutting->capacity * 2 : WINDOW_KEYS_MAX;

		grown = reallocarray(cutting->keys, wanted, sizeof(*grown));
		if (!grown)
			return NULL;
		cutting->keys = grown;
		cutting->capacity = wanted;
	}
	cutting->keys[cutting->count] = (struct touched){.key = key};
	if (!arena_copy(&cutting->arena, key, &cutting->keys[cutting->count].key))
		return NULL;
	return &cutting->keys[cutting->count++];
}

static bool add_touch(struct cutting *cutting, struct touched *touched, const struct dot *dot)
{
	for (size_t i = 0; i < touched->count; i++)
		if (dot_equal(&touched->touches[i], dot))
			return true;
	if (touched->count == touched->capacity) {
		size_t wanted = touched->capacity ? touched->capacity * 2 : 4;
		struct dot *grown = arena_calloc(&cutting->arena, wanted, sizeof(*grown));

		if (!grown)
			return false;
		if (touched->count)
			memcpy(grown, touched->touches, touched->count * sizeof(*grown));
		touched->touches = grown;
		touched->capacity = wanted;
	}
	touched->touches[touched->count++] = *dot;
	return true;
}

static bool add_row(struct cutting *cutting, const struct log_row *row, const struct row_meta *meta)
{
	struct dot own = {identity_actor_at(&cutting->engine->stamper->identity, row->revision),
			  row->revision};
	struct touched *touched = find_key(cutting, row->key);
	bool fits = true;

	if (!touched)
		touched = add_key(cutting, row->key);
	if (!touched)
		return false;
	touched->revision = row->revision;
	touched->tag = meta->tag;
	touched->wildcard |= meta->wildcard;
	if (!row->merged)
		return add_touch(cutting, touched, &own);
	for (size_t i = 0; fits && i < meta->touch_count; i++)
		fits = add_touch(cutting, touched, &meta->touches[i]);
	return fits;
}

static enum err visit_row(void *context, const struct log_row *row)
{
	struct cutting *cutting = context;
	struct row_meta meta;
	enum group group;
	enum err e;

	if (!scope_has(cutting->engine->stamper->scope, row->key, &group) ||
	    group != cutting->group)
		return ERR_OK;
	e = row_meta_decode(row->meta, &cutting->arena, &meta);
	if (e || add_row(cutting, row, &meta))
		return e;
	return fault(ERR_NOMEM, "%zu keys of a window", cutting->count);
}

static enum err read_log(struct cutting *cutting, int64_t from, int64_t to, int64_t *ret_to)
{
	struct engine *engine = cutting->engine;
	struct log_op op = {
		.from = from,
		.to = to,
		.rows_max = WINDOW_KEYS_MAX,
		.bytes_max = engine->config.window_bytes ? engine->config.window_bytes
							 : WINDOW_BYTES_DEFAULT,
	};

	return store_log(engine->reader, &op, visit_row, cutting, ret_to);
}

/* Reads on to where a window may end. */
static enum err read_to_cut(struct cutting *cutting)
{
	int64_t head = engine_cut_head(cutting->engine);
	int64_t end;
	enum err e;

	if (cutting->scanned == head) {
		cutting->to = head;
		return ERR_OK;
	}
	e = read_log(cutting, cutting->scanned, head, &cutting->to);
	while (!e) {
		end = clock_cut(&cutting->engine->clock, cutting->group, cutting->to);
		if (mistake(&cutting->engine->config, MISTAKE_CUT_INSIDE) || end <= cutting->to)
			return ERR_OK;
		e = read_log(cutting, cutting->to, end, &cutting->to);
	}
	return e;
}

/* --- entries ---------------------------------------------------------------------------------- */

static bool is_known(const struct cutting *cutting, const struct touched *touched)
{
	const struct vector *has = &cutting->peer->pushes[cutting->group].has;

	if (touched->wildcard)
		return false;
	for (size_t i = 0; i < touched->count; i++)
		if (!vector_has(has, &touched->touches[i]))
			return false;
	return true;
}

static enum err key_at(struct cutting *cutting, struct bytes key, int64_t revision,
		       struct key_state *ret_key)
{
	struct apply_row row;
	enum err e = store_key_at(cutting->engine->reader, key, revision, &cutting->arena, &row);

	if (e)
		return e;
	*ret_key = (struct key_state){
		.key = key,
		.meta = row.meta,
		.newest_revision = row.newest_revision,
		.live = row.live,
		.value = row.live ? row.kv.value : bytes_of(NULL, 0),
	};
	return ERR_OK;
}

/* Against what the peer shows if it showed what this site did. */
static enum err make_delta(struct cutting *cutting, struct entry *entry)
{
	const struct push *push = &cutting->peer->pushes[cutting->group];
	struct engine *engine = cutting->engine;
	struct key_state before;
	struct bytes delta;
	enum err e;

	if (!entry->live || push->no_deltas || cutting->from < store_swept(engine->store))
		return ERR_OK;
	e = key_at(cutting, entry->key, cutting->from, &before);
	if (e || !before.live)
		return e == ERR_COMPACTED ? ERR_OK : e;
	e = delta_make(engine->deltas, before.value, entry->value, &cutting->arena, &delta);
	if (e || !delta.size)
		return e;
	entry->is_delta = true;
	entry->base_digest = value_digest(before.value);
	entry->value = delta;
	return ERR_OK;
}

static enum err add_entry(struct cutting *cutting, const struct touched *touched)
{
	struct entry *entry = &cutting->window.entries[cutting->window.entry_count];
	struct key_state key;
	enum err e = key_at(cutting, touched->key, cutting->to, &key);

	if (!e)
		e = entry_make(cutting->engine, &cutting->engine->claims, &key, &cutting->arena,
			       entry);
	if (!e)
		e = make_delta(cutting, entry);
	if (e)
		return e;
	entry->wildcard = touched->wildcard;
	entry->touches = touched->touches;
	entry->touch_count = touched->count;
	entry->revision = touched->revision;
	cutting->window.chain = touched->tag;
	cutting->window.entry_count++;
	return ERR_OK;
}

static int by_revision(const void *a, const void *b)
{
	int64_t x = ((const struct touched *)a)->revision,
		y = ((const struct touched *)b)->revision;

	return x < y ? -1 : x > y;
}

static enum err add_entries(struct cutting *cutting)
{
	enum err e = ERR_OK;

	cutting->window.entries =
		arena_calloc(&cutting->arena, cutting->count + 1, sizeof(struct entry));
	if (!cutting->window.entries)
		return fault(ERR_NOMEM, "%zu entries of a window", cutting->count);
	if (cutting->count)
		qsort(cutting->keys, cutting->count, sizeof(*cutting->keys), by_revision);
	for (size_t i = 0; !e && i < cutting->count; i++)
		if (!is_known(cutting, &cutting->keys[i]))
			e = add_entry(cutting, &cutting->keys[i]);
	if (!e)
		e = entry_claims(&cutting->engine->claims, cutting->window.entries,
				 cutting->window.entry_count, &cutting->arena,
				 &cutting->window.claims, &cutting->window.claim_count);
	return e;
}

static enum err add_vector(struct cutting *cutting)
{
	struct push *push = &cutting->peer->pushes[cutting->group];
	struct vector now = {0};
	enum err e = clock_at(&cutting->engine->clock, cutting->group, cutting->to, &now);

	if (!e)
		e = vector_copy(&now, &cutting->window.delta);
	if (!e && !push->is_whole)
		e = vector_subtract(&cutting->window.delta, &push->told);
	if (e) {
		vector_fini(&now);
		return e;
	}
	cutting->window.delta_is_whole = push->is_whole;
	vector_fini(&push->told);
	push->told = now;
	return ERR_OK;
}

/* --- one window ------------------------------------------------------------------------------- */

static void send_window(struct cutting *cutting)
{
	struct push *push = &cutting->peer->pushes[cutting->group];
	struct message message = {.kind = MESSAGE_WINDOW};

	cutting->window.group = cutting->group;
	cutting->window.incarnation = cutting->engine->clock.self.incarnation;
	cutting->window.from = cutting->from;
	cutting->window.to = cutting->to;
	message.as.window = cutting->window;
	push->sent = push->scanned = cutting->to;
	push->is_whole = false;
	push->ahead++;
	push->moved_ms = engine_now(cutting->engine);
	cutting->window = (struct window){0};
	cutting->peer->status.windows_sent++;
	/* One transaction that no message can hold comes with a comparison. */
	if (engine_send(cutting->peer, &message) == ERR_REQUEST_TOO_LARGE)
		push_barrier(cutting->peer, cutting->group);
}

/* A window with nothing in it is put off, so that a group that is still costs nothing; but the peer
 * should not hold back the sweep for ever. */
static bool is_worth_it(const struct cutting *cutting)
{
	const struct window *window = &cutting->window;

	return window->entry_count || window->delta.count || window->delta_is_whole ||
	       cutting->to - cutting->from > EMPTY_WINDOW_REVISIONS;
}

static enum err cut(struct cutting *cutting)
{
	struct push *push = &cutting->peer->pushes[cutting->group];
	enum err e = read_to_cut(cutting);

	if (!e)
		e = add_entries(cutting);
	if (!e)
		e = add_vector(cutting);
	if (!e && is_worth_it(cutting))
		send_window(cutting);
	else if (!e)
		push->scanned = cutting->to;
	return e;
}

static void push_one(struct engine_peer *peer, enum group group)
{
	struct cutting cutting = {
		.peer = peer,
		.engine = peer->engine,
		.group = group,
		.from = peer->pushes[group].sent,
		.scanned = peer->pushes[group].scanned,
	};
	enum err e;

	arena_init(&cutting.arena, 2 * KEY_ARENA_BYTES);
	e = cut(&cutting);
	if (e == ERR_COMPACTED)
		push_barrier(peer, group);
	else if (e)
		engine_die(peer->engine, e);
	if (cutting.window.claims || cutting.window.delta.count) {
		struct message message = {.kind = MESSAGE_WINDOW, .as.window = cutting.window};

		message_fini(&message);
	}
	free(cutting.keys);
	arena_fini(&cutting.arena);
}

/* Whether this site's vector has what the peer is not known to have. */
static bool lacks(struct engine_peer *peer, enum group group)
{
	struct engine *engine = peer->engine;
	const struct push *push = &peer->pushes[group];
	struct vector now = {0};
	enum err e = clock_at(&engine->clock, group, push->scanned, &now);
	bool lacking = false;

	if (!e)
		e = vector_subtract(&now, &push->told);
	if (e)
		engine_die(engine, e);
	else
		lacking = !vector_covers(&push->has, &now);
	vector_fini(&now);
	return lacking;
}

void push_pump(struct engine_peer *peer, enum group group)
{
	struct push *push = &peer->pushes[group];

	if (push->on && push->acked < push->sent &&
	    engine_now(peer->engine) - push->moved_ms > PUSH_PATIENCE_MS)
		push_start(peer, group, push->acked);

	while (push->on && !peer->engine->dead && push->ahead < WINDOWS_AHEAD_MAX &&
	       push->scanned < engine_cut_head(peer->engine))
		push_one(peer, group);
	/* The vector may grow without a row. */
	if (push->on && !peer->engine->running && push->scanned == engine_cut_head(peer->engine) &&
	    push->version != peer->engine->clock_versions[group] && lacks(peer, group))
		push_one(peer, group);
	if (push->on && push->scanned == engine_cut_head(peer->engine))
		push->version = peer->engine->clock_versions[group];
}

/* --- what the peer says ----------------------------------------------------------------------- */

static int64_t lowest_cursor(const struct engine *engine, enum group group)
{
	int64_t swept = store_swept(engine->store);
	int64_t lowest = swept > engine->barriers[group] ? swept : engine->barriers[group];

	return lowest > 1 ? lowest : 1;
}

void push_barrier(struct engine_peer *peer, enum group group)
{
	struct engine *engine = peer->engine;
	struct message message = {.kind = MESSAGE_WINDOW};
	struct push *push = &peer->pushes[group];

	push->on = false;
	message.as.window = (struct window){
		.group = group,
		.incarnation = engine->clock.self.incarnation,
		.barrier = lowest_cursor(engine, group),
	};
	engine_send(peer, &message);
}

static bool is_valid(const struct engine *engine, enum group group, int64_t cursor)
{
	return cursor >= lowest_cursor(engine, group) && cursor <= store_head(engine->store);
}

void push_check(struct engine_peer *peer, enum group group)
{
	struct push *push = &peer->pushes[group];

	if (push->on && push->acked < peer->engine->barriers[group])
		push_barrier(peer, group);
}

void push_start(struct engine_peer *peer, enum group group, int64_t cursor)
{
	struct push *push = &peer->pushes[group];

	if (!is_valid(peer->engine, group, cursor)) {
		push_barrier(peer, group);
		return;
	}
	push->on = true;
	push->is_whole = true;
	vector_fini(&push->told);
	push->version = 0;
	push->ahead = 0;
	push->sent = push->scanned = push->acked = cursor;
	push->moved_ms = engine_now(peer->engine);
}

void push_ack(struct engine_peer *peer, const struct ack *ack)
{
	struct push *push = &peer->pushes[ack->group];
	enum err e = vector_merge(&push->has, &ack->delta);
	struct peer_record *record = peer_record_of(peer->engine, &peer->actor.site);

	if (e) {
		engine_die(peer->engine, e);
		return;
	}
	if (ack->incarnation != peer->engine->clock.self.incarnation)
		return;
	push->moved_ms = engine_now(peer->engine);
	if (!push->on) {
		push_start(peer, ack->group, ack->cursor);
	} else if (ack->cursor > push->acked) {
		push->acked = ack->cursor;
		push->ahead = push->ahead ? push->ahead - 1 : 0;
		push->no_deltas = false;
	}
	if (push->on && ack->cursor >= push->sent) {
		push->sent = ack->cursor;
		push->ahead = 0;
		if (push->scanned < push->sent)
			push->scanned = push->sent;
	}
	if (record && push->acked > record->acked[ack->group])
		record->acked[ack->group] = push->acked;
	peer->status.acked[ack->group] = push->acked;
}

void push_retry(struct engine_peer *peer, const struct retry *retry)
{
	struct push *push = &peer->pushes[retry->group];

	push_start(peer, retry->group, retry->cursor);
	push->no_deltas = retry->reason == RETRY_BASE_UNKNOWN;
}
