/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/sync/engine_rig.h"

#include "tests/unit/sync/random.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SETTLE_ROUNDS_MAX 2000

/* --- the host --------------------------------------------------------------------------------- */

static struct rig_link *link_of(struct rig_site *site, const struct engine_peer *peer)
{
	struct engine_rig *rig = site->rig;

	for (size_t i = 0; i < rig->link_count; i++)
		if (rig->links[i].from == site && rig->links[i].peer == peer && rig->links[i].up)
			return &rig->links[i];
	return NULL;
}

static void host_send(void *context, struct engine_peer *peer, struct bytes bytes)
{
	struct rig_site *site = context;
	struct rig_link *link = link_of(site, peer);
	struct rig_message *message = malloc(sizeof(*message) + bytes.size);

	assert_non_null(link);
	assert_non_null(message);
	message->next = NULL;
	message->size = bytes.size;
	memcpy(message->bytes, bytes.data, bytes.size);
	*link->last = message;
	link->last = &message->next;
	site->rig->bytes += bytes.size;
	site->rig->messages++;
}

static struct rig_site *current; /* whose store turns */

static void op_done(struct op *op)
{
	assert_true(current->done_count < 64);
	current->done[current->done_count++] = op;
}

static enum err host_submit(void *context, struct op *op)
{
	struct rig_site *site = context;

	op->on_done = op_done;
	return store_submit(site->store, op);
}

static int64_t host_wall(void *context)
{
	struct rig_site *site = context;

	return 1700000000000 + site->rig->now_ms;
}

static int64_t host_now(void *context)
{
	struct rig_site *site = context;

	return site->rig->now_ms;
}

static uint64_t host_random(void *context)
{
	(void)context;
	return random_next();
}

static enum err host_witness(void *context, struct bytes witness)
{
	struct rig_site *site = context;

	memcpy(site->witness, witness.data, witness.size);
	site->witness_bytes = witness.size;
	return ERR_OK;
}

static void host_notice(void *context, const struct notice *notice)
{
	struct rig_site *site = context;

	site->notices[notice->kind]++;
	if (getenv("RIG_VERBOSE"))
		printf("site %zu: notice %d %s\n", site->number, (int)notice->kind, notice->text);
}

/* --- sites ------------------------------------------------------------------------------------ */

static void turn(struct rig_site *site)
{
	current = site;
	store_turn(site->store);
	while (site->done_count) {
		struct op *op = site->done[0];

		site->done_count--;
		memmove(site->done, site->done + 1, site->done_count * sizeof(*site->done));
		engine_done(site->engine, op);
		current = site;
		store_turn(site->store);
	}
}

void rig_start(struct rig_site *site)
{
	struct store_config config = {
		.data_dir = site->dir, .no_fsync = !site->is_synced, .clock = &clock_system};
	char problem[STORE_PROBLEM_BYTES];

	site->config.witness = bytes_of(site->witness, site->witness_bytes);
	assert_int_equal(stamper_new(&site->config, &site->stamper), ERR_OK);
	config.stamp = stamper_hook(site->stamper);
	if (store_open(&config, &site->store, problem))
		fail_msg("%s", problem);
	assert_int_equal(store_reader_new(site->store, &site->reader), ERR_OK);
	assert_int_equal(engine_open(&site->config, site->store, site->stamper, &site->engine),
			 ERR_OK);
	assert_int_equal(engine_start(site->engine), ERR_OK);
	turn(site);
	assert_true(engine_is_ready(site->engine));
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat;
	(void)type;
	(void)ftw;
	return remove(path);
}

void rig_stop(struct rig_site *site)
{
	engine_close(site->engine);
	store_reader_free(site->reader);
	store_stop(site->store);
	store_close(site->store);
	stamper_free(site->stamper);
	site->engine = NULL;
	site->store = NULL;
	site->reader = NULL;
	site->stamper = NULL;
}

void rig_new(struct engine_rig *rig, size_t sites, bool star)
{
	rig_new_in(rig, sites, star, NULL);
}

void rig_new_in(struct engine_rig *rig, size_t sites, bool star, const char *folder)
{
	*rig = (struct engine_rig){.site_count = sites};
	assert_int_equal(rules_builtin(PROFILE_TWIN, &rig->rules), ERR_OK);
	for (size_t i = 0; i < sites; i++) {
		struct rig_site *site = &rig->sites[i];

		*site = (struct rig_site){.rig = rig, .number = i};
		site->is_synced = folder != NULL;
		snprintf(site->dir, sizeof(site->dir), "%s/kedge-engine.XXXXXX",
			 folder ? folder : "/dev/shm");
		assert_non_null(mkdtemp(site->dir));
		snprintf(site->disk, sizeof(site->disk), "disk %zu", i);
		site->config = (struct engine_config){
			.host = {.context = site,
				 .send = host_send,
				 .submit = host_submit,
				 .wall_ms = host_wall,
				 .now_ms = host_now,
				 .random = host_random,
				 .witness_write = host_witness,
				 .notice = host_notice},
			.rules = rig->rules,
			.is_hub = star && i == 0,
			.star = star,
			.disk = bytes_of_string(site->disk),
		};
		rig_start(site);
	}
}

void rig_free(struct engine_rig *rig)
{
	for (size_t i = 0; i < rig->link_count; i++)
		if (rig->links[i].up)
			rig_disconnect(rig, rig->links[i].from->number, rig->links[i].to->number);
	for (size_t i = 0; i < rig->site_count; i++) {
		rig_stop(&rig->sites[i]);
		nftw(rig->sites[i].dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	}
	rules_free(rig->rules);
}

/* --- links ------------------------------------------------------------------------------------ */

void rig_connect(struct engine_rig *rig, size_t a, size_t b)
{
	struct rig_link *there = &rig->links[rig->link_count++];
	struct rig_link *back = &rig->links[rig->link_count++];

	assert_true(rig->link_count <= RIG_LINKS_MAX);
	*there = (struct rig_link){.from = &rig->sites[a], .to = &rig->sites[b], .back = back};
	*back = (struct rig_link){.from = &rig->sites[b], .to = &rig->sites[a], .back = there};
	there->last = &there->first;
	back->last = &back->first;
	there->up = back->up = true;
	/* The peer is not known yet when the engine introduces itself. */
	assert_int_equal(engine_connected(there->from->engine, &there->peer), ERR_OK);
	assert_int_equal(engine_connected(back->from->engine, &back->peer), ERR_OK);
	engine_tick(there->from->engine);
	engine_tick(back->from->engine);
}

static void drop_messages(struct rig_link *link)
{
	while (link->first) {
		struct rig_message *message = link->first;

		link->first = message->next;
		free(message);
	}
	link->last = &link->first;
}

void rig_disconnect(struct engine_rig *rig, size_t a, size_t b)
{
	for (size_t i = 0; i < rig->link_count; i++) {
		struct rig_link *link = &rig->links[i];

		if (!link->up || link->from != &rig->sites[a] || link->to != &rig->sites[b])
			continue;
		link->up = link->back->up = false;
		drop_messages(link);
		drop_messages(link->back);
		engine_disconnected(link->from->engine, link->peer);
		engine_disconnected(link->back->from->engine, link->back->peer);
		return;
	}
}

static bool deliver(struct rig_link *link)
{
	struct rig_message *message = link->first;

	if (!message)
		return false;
	link->first = message->next;
	if (!link->first)
		link->last = &link->first;
	engine_receive(link->to->engine, link->back->peer, bytes_of(message->bytes, message->size));
	free(message);
	turn(link->to);
	return true;
}

static bool is_silent(const struct engine_rig *rig)
{
	for (size_t i = 0; i < rig->site_count; i++)
		if (!engine_is_silent(rig->sites[i].engine))
			return false;
	return true;
}

void rig_settle(struct engine_rig *rig)
{
	for (unsigned round = 0; round < SETTLE_ROUNDS_MAX; round++) {
		bool any = false;

		for (size_t i = 0; i < rig->site_count; i++) {
			turn(&rig->sites[i]);
			engine_head_moved(rig->sites[i].engine);
			turn(&rig->sites[i]);
		}
		for (size_t i = 0; i < rig->link_count; i++)
			while (rig->links[i].up && deliver(&rig->links[i]))
				any = true;
		if (any)
			continue;
		if (is_silent(rig))
			return;
		rig->now_ms += 1000;
		for (size_t i = 0; i < rig->site_count; i++)
			engine_tick(rig->sites[i].engine);
	}
	for (size_t i = 0; i < rig->link_count; i++) {
		struct peer_status status;

		if (!rig->links[i].up)
			continue;
		engine_peer_status(rig->links[i].peer, &status);
		printf("%zu -> %zu: ready %d, comparing %d, cursor %lld of %lld, acked %lld of "
		       "%lld, "
		       "windows %llu/%llu, sessions %llu\n",
		       rig->links[i].from->number, rig->links[i].to->number, status.ready,
		       status.is_comparing, (long long)status.cursor[0],
		       (long long)store_head(rig->links[i].to->store), (long long)status.acked[0],
		       (long long)store_head(rig->links[i].from->store),
		       (unsigned long long)status.windows_sent,
		       (unsigned long long)status.windows_received,
		       (unsigned long long)status.sessions);
	}
	fail_msg("the sites do not come to rest");
}

/* --- clients ---------------------------------------------------------------------------------- */

static bool client_done;

static void on_client_done(struct op *op)
{
	assert_int_equal(op->err, ERR_OK);
	client_done = true;
}

static void run_client(struct rig_site *site, struct op *op)
{
	op->on_done = on_client_done;
	client_done = false;
	assert_int_equal(store_submit(site->store, op), ERR_OK);
	turn(site);
	assert_true(client_done);
	engine_head_moved(site->engine);
}

void rig_put(struct rig_site *site, const char *key, const char *value)
{
	struct op op = {.kind = OP_PUT,
			.in.put = {.key = bytes_of_string(key), .value = bytes_of_string(value)}};

	run_client(site, &op);
}

void rig_delete(struct rig_site *site, const char *key)
{
	struct op op = {.kind = OP_DELETE, .in.delete_range = {.key = bytes_of_string(key)}};

	run_client(site, &op);
}

void rig_compact(struct rig_site *site)
{
	struct op op = {.kind = OP_COMPACT,
			.in.compact = {.revision = store_head(site->store), .physical = true}};

	run_client(site, &op);
}

const char *rig_get(struct rig_site *site, const char *key)
{
	static char value[65536];
	struct range_op range = {.key = bytes_of_string(key)};
	struct range_result result;
	struct arena arena;
	bool found;

	arena_init(&arena, MIB);
	assert_int_equal(store_range(site->reader, &range, &arena, &result), ERR_OK);
	found = result.kv_count;
	if (found) {
		assert_true(result.kvs[0].value.size < sizeof(value));
		memcpy(value, result.kvs[0].value.data, result.kvs[0].value.size);
		value[result.kvs[0].value.size] = 0;
	}
	arena_fini(&arena);
	return found ? value : NULL;
}

/* --- comparing -------------------------------------------------------------------------------- */

static void expect_same(struct rig_site *a, struct rig_site *b)
{
	struct range_op range = {.key = BYTES_LITERAL("/registry/"),
				 .end = BYTES_LITERAL("/registry0")};
	struct range_result x, y;
	struct arena arena;

	arena_init(&arena, 64 * MIB);
	assert_int_equal(store_range(a->reader, &range, &arena, &x), ERR_OK);
	assert_int_equal(store_range(b->reader, &range, &arena, &y), ERR_OK);
	assert_int_equal(x.kv_count, y.kv_count);
	for (size_t i = 0; i < x.kv_count; i++) {
		assert_true(bytes_equal(x.kvs[i].key, y.kvs[i].key));
		assert_true(bytes_equal(x.kvs[i].value, y.kvs[i].value));
	}
	arena_fini(&arena);
}

void rig_expect_equal(struct engine_rig *rig)
{
	for (size_t i = 1; i < rig->site_count; i++)
		expect_same(&rig->sites[0], &rig->sites[i]);
}
