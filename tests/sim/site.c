/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/site.h"

#include "shim/base/crc32c.h"
#include "sync/engine/mistakes.h"
#include "tests/sim/clients.h"

#include <assert.h>
#include <stdlib.h>

#define WALL_BASE_MS INT64_C(1790000000000) /* 2026 */

static struct sim_site *turning; /* whose ops are being done: one thread, one at a time */

const char *site_name(const struct sim_site *site)
{
	static const char *const names[SITES_MAX] = {"A", "B", "C", "D", "E", "F", "G", "H"};

	return names[site->number];
}

/* --- what the site's past is known by
 * --------------------------------------------------------- */

void history_fini(struct history *history)
{
	for (unsigned i = 0; i < KEYS_MAX; i++) {
		free((void *)history->held[i].value.data);
		facts_fini(&history->held[i].facts);
	}
	free(history->moments);
	free(history->events);
	*history = (struct history){0};
}

static void *copy_of(const void *data, size_t size)
{
	void *copy = malloc(size ? size : 1);

	assert(copy);
	if (size)
		memcpy(copy, data, size);
	return copy;
}

void history_copy(const struct history *history, struct history *ret_copy)
{
	*ret_copy = *history;
	ret_copy->moments =
		copy_of(history->moments, history->moment_count * sizeof(*history->moments));
	ret_copy->events =
		copy_of(history->events, history->event_count * sizeof(*history->events));
	for (unsigned i = 0; i < KEYS_MAX; i++) {
		struct held_key *held = &ret_copy->held[i];

		held->value.data = copy_of(held->value.data, held->value.size);
		facts_copy(&history->held[i].facts, &held->facts);
	}
}

const struct known *history_at(const struct history *history, int64_t revision)
{
	static const struct known nothing;
	const struct known *found = &nothing;

	for (size_t i = 0; i < history->moment_count; i++)
		if (history->moments[i].revision <= revision)
			found = &history->moments[i].known;
	return found;
}

/* --- the host of the engine
 * ------------------------------------------------------------------- */

static void host_send(void *context, struct engine_peer *peer, struct bytes message)
{
	struct sim_site *site = context;
	struct world *world = site->world;

	for (unsigned i = 0; i < world->link_count; i++)
		for (unsigned end = 0; end < 2; end++)
			if (world->links[i].ends[end] == site->number && world->links[i].up &&
			    (world->links[i].peers[end] == peer ||
			     (site->connecting && site->connecting_link == i))) {
				site_check_sent(site, message);
				net_send(world, i, end, message);
				return;
			}
}

static void op_done(struct op *op)
{
	assert(turning);
	turning->done = realloc(turning->done, (turning->done_count + 1) * sizeof(op));
	assert(turning->done);
	turning->done[turning->done_count++] = op;
}

static void plan_turn(struct sim_site *site)
{
	if (site->turn_due)
		return;
	site->turn_due = true;
	queue_put(&site->world->queue,
		  (struct sim_event){.at_ms = site->world->now_ms + site->slow_ms,
				     .kind = EVENT_TURN,
				     .target = site->number,
				     .life = site->life});
}

void site_submit(struct sim_site *site, struct op *op, struct client_op *client)
{
	op->on_done = op_done;
	site->waiting = realloc(site->waiting, (site->waiting_count + 1) * sizeof(*site->waiting));
	assert(site->waiting);
	site->waiting[site->waiting_count++] = (struct waiting){op, client};
	plan_turn(site);
}

static enum err host_submit(void *context, struct op *op)
{
	site_submit(context, op, NULL);
	return ERR_OK;
}

static int64_t host_wall_ms(void *context)
{
	const struct sim_site *site = context;
	int64_t wall_ms = WALL_BASE_MS + site->world->now_ms + site->skew_ms;

	return site->clock_dead ? 0 : wall_ms < 1 ? 1 : wall_ms;
}

static int64_t host_now_ms(void *context)
{
	const struct sim_site *site = context;

	return site->world->now_ms;
}

static uint64_t host_random(void *context)
{
	struct sim_site *site = context;

	return chance_next(&site->chance);
}

static enum err host_witness_write(void *context, struct bytes witness)
{
	struct sim_site *site = context;

	if (sim_disk_write_file(site->disk, WITNESS_NAME, witness))
		return ERR_OK;
	return sim_disk_is_dead(site->disk) ? ERR_STORAGE : ERR_NO_SPACE;
}

static void host_notice(void *context, const struct notice *notice)
{
	static const enum seen seen[NOTICE_KINDS] = {
		[NOTICE_PEER_REFUSED] = SEEN_REFUSED,
		[NOTICE_INCARNATION] = SEEN_INCARNATION,
		[NOTICE_CLOCK_AHEAD] = SEEN_CLOCK_AHEAD,
		[NOTICE_SESSION_DONE] = SEEN_SESSION,
		[NOTICE_BARRIER] = SEEN_BARRIER,
		[NOTICE_WILDCARD_RELAYED] = SEEN_WILDCARD,
		[NOTICE_SIBLINGS] = SEEN_SIBLINGS,
		[NOTICE_CLOSED] = SEEN_CLOSED,
		[NOTICE_UID_CONFLICT] = SEEN_UID_CONFLICT,
		[NOTICE_ADOPTED] = SEEN_ADOPTED,
		[NOTICE_HELD] = SEEN_HELD,
		[NOTICE_DELETION_DUE] = SEEN_DELETION_DUE,
		[NOTICE_BAD_MESSAGE] = SEEN_BAD_MESSAGE,
		[NOTICE_BASE_UNKNOWN] = SEEN_BASE_UNKNOWN,
	};
	struct sim_site *site = context;

	if (seen[notice->kind])
		world_count(site->world, seen[notice->kind]);
	if (notice->text)
		world_tell(site->world, "    %s: %.*s %s", site_name(site), (int)notice->key.size,
			   (const char *)notice->key.data, notice->text);
}

/* --- life
 * -------------------------------------------------------------------------------------
 */

static int64_t clock_ns(void *context)
{
	return host_now_ms(context) * NS_PER_MS;
}

struct sim_site *site_new(struct world *world, unsigned number)
{
	struct sim_site *site = calloc(1, sizeof(*site));

	assert(site);
	site->world = world;
	site->number = number;
	site->chance = chance_of(world->plan->seed, 1000 + number);
	site->clock = (struct clock){clock_ns, clock_ns, site};
	return site;
}

void site_drop_maybes(struct sim_site *site)
{
	while (site->maybes) {
		struct client_op *op = site->maybes;

		site->maybes = op->next;
		client_op_free(op);
	}
}

void site_free(struct sim_site *site)
{
	if (!site)
		return;
	site_stop(site);
	site_drop_maybes(site);
	history_fini(&site->now);
	history_fini(&site->backup_history);
	if (site->disk)
		sim_disk_free(site->disk);
	if (site->backup)
		sim_disk_free(site->backup);
	free(site->waiting);
	free(site->done);
	free(site);
}

void site_add_event(struct sim_site *site, int64_t revision, struct bytes key, bool deleted,
		    struct bytes value)
{
	struct history *now = &site->now;

	now->events = realloc(now->events, (now->event_count + 1) * sizeof(*now->events));
	assert(now->events);
	now->events[now->event_count++] = (struct seen_event){
		.revision = revision,
		.key = world_key_of(site->world, key),
		.deleted = deleted,
		.sum = crc32c(0, value),
	};
}

static void on_commit(void *context, const struct store_commit *commit)
{
	for (size_t i = 0; i < commit->batch_count; i++)
		for (size_t j = 0; j < event_batch_count(commit->batches[i]); j++) {
			const struct event *event = event_batch_at(commit->batches[i], j);

			site_add_event(context, event->kv.mod_revision, event->kv.key,
				       event->type == EVENT_DELETE, event->kv.value);
		}
	store_commit_publish(commit);
}

static struct engine_config config_of(struct sim_site *site)
{
	struct bytes witness = {0};

	sim_disk_read_file(site->disk, WITNESS_NAME, &witness);
	return (struct engine_config){
		.host =
			{
				.context = site,
				.send = host_send,
				.submit = host_submit,
				.wall_ms = host_wall_ms,
				.now_ms = host_now_ms,
				.random = host_random,
				.witness_write = host_witness_write,
				.notice = host_notice,
			},
		.rules = site->world->rules[site->rule_set],
		.cluster = {{7}},
		.is_hub = site->is_hub,
		.star = site->star,
		.witness = witness,
		.disk = bytes_of(&site->disk_id, sizeof(site->disk_id)),
		.compare_every_ms = site->compare_every_ms,
		.mistakes = site->world->plan->mistakes,
	};
}

/* The tick that the engine wants, unless one is under way that comes before it.
 */
static void plan_tick(struct sim_site *site)
{
	int64_t next_ms = engine_next_ms(site->engine);

	if (next_ms <= site->world->now_ms)
		next_ms = site->world->now_ms + 1;
	if (next_ms >= site->next_tick_ms || next_ms == INT64_MAX)
		return;
	site->next_tick_ms = next_ms;
	queue_put(&site->world->queue, (struct sim_event){.at_ms = next_ms,
							  .kind = EVENT_TICK,
							  .target = site->number,
							  .life = site->life});
}

static enum err open_parts(struct sim_site *site, char problem[STORE_PROBLEM_BYTES])
{
	struct engine_config config = config_of(site);
	struct store_config store = {
		.data_dir = sim_disk_path(site->disk),
		.quota_bytes = -1,
		.clock = &site->clock,
		.listener = {.on_commit = on_commit, .context = site},
	};
	enum err e = stamper_new(&config, &site->stamper);

	if (!e) {
		store.stamp = stamper_hook(site->stamper);
		e = store_open(&store, &site->store, problem);
	}
	if (!e)
		e = store_reader_new(site->store, &site->reader);
	if (!e)
		e = engine_open(&config, site->store, site->stamper, &site->engine);
	return e ? e : engine_start(site->engine);
}

void site_set_rules(struct sim_site *site)
{
	enum err e = ERR_OK;

	if (site->running)
		e = engine_set_rules(site->engine, site->world->rules[site->rule_set]);
	if (e)
		world_fail(site->world, "host", "engine_set_rules: %s", err_name(e));
	if (site->running)
		site_after_input(site);
}

/* Nobody hears what became of it; it may be on the disk. */
static void drop_waiting(struct sim_site *site)
{
	for (size_t i = 0; i < site->waiting_count; i++) {
		struct client_op *client = site->waiting[i].client;

		if (!client)
			continue;
		client->next = site->maybes;
		site->maybes = client;
	}
	site->waiting_count = 0;
	site->done_count = 0;
}

static void close_parts(struct sim_site *site)
{
	site->running = false;
	site->life++;
	net_break_site(site->world, site->number);
	if (site->engine)
		engine_close(site->engine);
	if (site->reader)
		store_reader_free(site->reader);
	if (site->store)
		store_close(site->store);
	stamper_free(site->stamper);
	site->engine = NULL;
	site->reader = NULL;
	site->store = NULL;
	site->stamper = NULL;
	drop_waiting(site);
}

static void crash_disk(struct sim_site *site)
{
	enum sim_crash how = sim_disk_crash(site->disk);

	site->crashed = true;
	world_count(site->world, SEEN_CRASHES);
	if (how != SIM_CRASH_KEEPS)
		world_count(site->world, SEEN_UNSYNCED_LOST);
	world_tell(site->world, "    %s crashes (%s)", site_name(site),
		   how == SIM_CRASH_KEEPS ? "the process dies" : "the power goes");
}

void site_start(struct sim_site *site)
{
	char problem[STORE_PROBLEM_BYTES] = "";
	enum err e;

	if (site->running || site->gone)
		return;
	site->life++;
	site->turn_due = false;
	site->next_tick_ms = INT64_MAX;
	site->was_ready = false;
	site->running = true;
	/* As if each window went out before the disk had it. */
	sim_disk_lose_syncs(site->disk, site->world->plan->mistakes & MISTAKE_NOT_DURABLE);
	world_tell(site->world, "    %s starts", site_name(site));
	e = open_parts(site, problem);
	if (e) {
		close_parts(site);
		if (sim_disk_is_dead(site->disk))
			crash_disk(site);
		else if (!site->full)
			world_fail(site->world, "I20", "%s does not start: %s %s", site_name(site),
				   err_name(e), problem);
		return;
	}
	site_check_started(site);
	plan_tick(site);
}

void site_stop(struct sim_site *site)
{
	if (!site->running)
		return;
	world_tell(site->world, "    %s stops", site_name(site));
	net_break_site(site->world, site->number);
	close_parts(site);
	if (sim_disk_is_dead(site->disk)) /* of its last operations */
		crash_disk(site);
}

void site_crash(struct sim_site *site)
{
	if (!site->running)
		return;
	for (size_t i = 0; i < site->waiting_count; i++)
		if (!site->waiting[i].client && sim_disk_is_dead(site->disk)) {
			world_count(site->world, SEEN_CRASH_IN_APPLY);
			break;
		}
	close_parts(site);
	crash_disk(site);
}

bool site_is_ready(const struct sim_site *site)
{
	return site->running && engine_is_ready(site->engine);
}

/* --- input
 * ------------------------------------------------------------------------------------
 */

static void became_ready(struct sim_site *site)
{
	if (site->was_ready || !site_is_ready(site))
		return;
	site->was_ready = true;
	net_try_site(site->world, site->number);
}

void site_after_input(struct sim_site *site)
{
	became_ready(site);
	plan_tick(site);
	site_check(site);
}

void site_connect(struct sim_site *site, unsigned number, unsigned end)
{
	struct link *link = &site->world->links[number];
	enum err e;

	site->connecting = true;
	site->connecting_link = number;
	e = engine_connected(site->engine, &link->peers[end]);
	site->connecting = false;
	if (e)
		world_fail(site->world, "host", "engine_connected: %s", err_name(e));
	site_after_input(site);
}

void site_disconnect(struct sim_site *site, unsigned number, unsigned end)
{
	struct link *link = &site->world->links[number];

	if (site->running && link->peers[end])
		engine_disconnected(site->engine, link->peers[end]);
	link->peers[end] = NULL;
	if (site->running)
		site_after_input(site);
}

void site_receive(struct sim_site *site, unsigned link, unsigned end, struct bytes message)
{
	struct engine_peer *peer = site->world->links[link].peers[end];

	if (!peer || !site->running)
		return;
	site_check_received(site, message);
	engine_receive(site->engine, peer, message);
	site_after_input(site);
}

void site_tick(struct sim_site *site)
{
	site->next_tick_ms = INT64_MAX;
	engine_tick(site->engine);
	site_after_input(site);
}

/* Hands back what the turn did; what came too late for it waits for the next
 * one. */
static void hand_back(struct sim_site *site, size_t count)
{
	struct waiting *waiting = site->waiting;
	size_t late = site->waiting_count - count;
	struct client_op *client;

	site->waiting = calloc(late + 1, sizeof(*waiting));
	assert(site->waiting);
	memcpy(site->waiting, waiting + count, late * sizeof(*waiting));
	site->waiting_count = late;
	if (late)
		plan_turn(site);
	for (size_t i = 0; i < site->done_count; i++) {
		client = NULL;
		for (size_t j = 0; j < count; j++)
			if (waiting[j].op == site->done[i])
				client = waiting[j].client;
		if (client)
			client_done(site, client);
		else
			engine_done(site->engine, site->done[i]);
	}
	free(waiting);
	site->done_count = 0;
}

/* A jump of the revisions sweeps what was before it: that must have been read,
 * so it goes alone. */
static size_t ops_of_turn(const struct sim_site *site)
{
	for (size_t i = 0; i < site->waiting_count; i++)
		if (site->waiting[i].op->kind == OP_JUMP)
			return i ? i : 1;
	return site->waiting_count;
}

void site_turn(struct sim_site *site)
{
	int64_t head = store_head(site->store);
	size_t count = ops_of_turn(site);
	enum err e = ERR_OK;

	site->turn_due = false;
	site->jumps = count && site->waiting[0].op->kind == OP_JUMP;
	turning = site;
	for (size_t i = 0; i < count && !e; i++)
		e = store_submit(site->store, site->waiting[i].op);
	if (!e)
		e = store_turn(site->store);
	turning = NULL;
	site_observe(site);
	if (sim_disk_is_dead(site->disk)) {
		site_crash(site);
		return;
	}
	if (e)
		world_fail(site->world, "host", "%s: the store stops: %s", site_name(site),
			   err_name(e));
	hand_back(site, count);
	if (store_head(site->store) != head)
		engine_head_moved(site->engine);
	site_after_input(site);
}
