/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/clients.h"

#include <assert.h>
#include <stdlib.h>

#define CLIENT_ARENA_BYTES (4 * MIB)
#define TRIES 3
#define RETRY_MS 40
#define SHARED_NUMBER 1000000 /* contents that several sites write alike */

/* --- keys
 * -------------------------------------------------------------------------------------
 */

static const struct {
	const char *format;
	enum thing_kind kind;
	bool travels;
	bool is_event;
	unsigned weight;
} key_kinds[] = {
	{"/registry/configmaps/default/c-%u", THING_CONFIG, true, false, 5},
	{"/registry/deployments/default/d-%u", THING_DEPLOY, true, false, 5},
	{"/registry/minions/n-%u", THING_NODE, true, false, 3},
	{"/registry/example.com/widgets/default/w-%u", THING_WIDGET, true, false, 4},
	{"/registry/example.com/blobs/default/b-%u", THING_TEXT, true, false, 2},
	{"/registry/events/default/e-%u", THING_EVENT, true, true, 2},
	{"/registry/masterleases/10.0.0.%u", THING_TEXT, false, false, 1},
	{"/registry/leases/kube-system/l-%u", THING_TEXT, false, false, 1},
	{"/outside/%u", THING_TEXT, false, false, 1},
};

#define KEY_KINDS (sizeof(key_kinds) / sizeof(*key_kinds))

void clients_make_keys(struct world *world)
{
	struct chance chance = chance_of(world->plan->seed, 2);
	unsigned total = 0;

	for (size_t i = 0; i < KEY_KINDS; i++)
		total += key_kinds[i].weight;
	for (world->key_count = 0; world->key_count < world->plan->keys; world->key_count++) {
		struct sim_key *key = &world->keys[world->key_count];
		unsigned at = chance_below(&chance, total);
		size_t kind = 0;

		while (at >= key_kinds[kind].weight)
			at -= key_kinds[kind++].weight;
		*key = (struct sim_key){.kind = key_kinds[kind].kind,
					.travels = key_kinds[kind].travels,
					.is_event = key_kinds[kind].is_event};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(key->text, sizeof key->text, key_kinds[kind].format, world->key_count);
#pragma GCC diagnostic pop
	}
}

/* --- objects
 * ----------------------------------------------------------------------------------
 */

struct writing {
	struct sim_site *site;
	struct chance chance;
	uint32_t number; /* of what this write puts there */
};

static uint32_t now_seconds(const struct writing *writing)
{
	return (uint32_t)(1 + writing->site->world->now_ms / 1000);
}

static void create(struct writing *writing, unsigned key, struct thing *thing)
{
	struct chance *chance = &writing->chance;
	bool alike = chance_one_in(chance, 6); /* with what other sites create */
	uint32_t number = alike ? SHARED_NUMBER + key : writing->number;

	*thing = (struct thing){.kind = writing->site->world->keys[key].kind};
	if (thing->kind != THING_CONFIG)
		thing->spec = number;
	if (!thing_has_uid(thing->kind))
		return;
	thing->uid = chance_one_in(chance, 8) ? SHARED_NUMBER + key : writing->number;
	thing->generation = 1;
	thing->created = now_seconds(writing);
	if (thing->kind == THING_EVENT)
		return;
	thing->labels[0] = number;
	if (chance_one_in(chance, 3))
		thing->finalizers[chance_below(chance, THING_FINALIZERS)] = true;
	if (thing->kind == THING_CONFIG)
		thing->entries[0] = number;
	if (thing->kind == THING_DEPLOY)
		thing->replicas = 1 + chance_below(chance, 5);
}

static void change_spec(struct writing *writing, struct thing *thing)
{
	struct chance *chance = &writing->chance;

	if (thing->kind == THING_CONFIG) {
		thing->entries[chance_below(chance, THING_ENTRIES)] =
			chance_one_in(chance, 4) ? 0 : writing->number;
		return;
	}
	if (thing->kind == THING_DEPLOY && chance_one_in(chance, 2))
		thing->replicas = (thing->replicas + 1 + chance_below(chance, 4)) % 300;
	else
		thing->spec = writing->number;
	thing->generation++;
}

static void change_status(struct writing *writing, struct thing *thing)
{
	struct chance *chance = &writing->chance;

	if (thing->kind == THING_CONFIG)
		change_spec(writing, thing);
	else if (thing->kind == THING_NODE && chance_below(chance, 3))
		thing->conditions[chance_below(chance, THING_CONDITIONS)] = writing->number;
	else
		thing->status = writing->number;
}

/* As an apiserver does it; true: the object is to be deleted in this write. */
static bool change_deletion(struct writing *writing, struct thing *thing)
{
	struct chance *chance = &writing->chance;
	unsigned which = chance_below(chance, THING_FINALIZERS);

	if (!thing->deleted && (thing->finalizers[0] || thing->finalizers[1])) {
		thing->deleted = now_seconds(writing);
		thing->has_grace = true;
		thing->grace = chance_one_in(chance, 4) ? 30 : 0;
		thing->generation++;
		return false;
	}
	if (!thing->finalizers[which])
		which = !which;
	if (thing->finalizers[which])
		thing->finalizers[which] = false;
	else if (!thing->deleted)
		return true; /* nothing holds it */
	if (thing->deleted && thing->grace)
		thing->grace = 0;
	return thing->deleted && !thing->finalizers[0] && !thing->finalizers[1];
}

/* true: the object is to be deleted. */
static bool change(struct writing *writing, struct thing *thing)
{
	struct chance *chance = &writing->chance;

	if (thing->kind == THING_TEXT || thing->kind == THING_EVENT) {
		thing->spec = writing->number;
		return chance_one_in(chance, 8);
	}
	switch (chance_below(chance, 12)) {
	case 0:
	case 1:
	case 2:
		change_spec(writing, thing);
		return false;
	case 3:
	case 4:
	case 5:
		change_status(writing, thing);
		return false;
	case 6:
	case 7:
		thing->labels[chance_below(chance, THING_LABELS)] =
			chance_one_in(chance, 3) ? 0 : writing->number;
		return false;
	case 8:
		thing->notes[chance_below(chance, THING_NOTES)] =
			chance_one_in(chance, 3) ? 0 : writing->number;
		return false;
	case 9: /* several at once */
		change_spec(writing, thing);
		change_status(writing, thing);
		thing->labels[0] = writing->number;
		return false;
	default:
		return change_deletion(writing, thing);
	}
}

/* --- ops
 * --------------------------------------------------------------------------------------
 */

void client_op_free(struct client_op *client)
{
	arena_fini(&client->arena);
	free(client);
}

static struct bytes key_bytes(const struct sim_site *site, unsigned key)
{
	return bytes_of_string(site->world->keys[key].text);
}

static void put_value(struct client_op *client, unsigned at, const struct thing *thing)
{
	struct buffer buffer = BUFFER_INIT(THING_BYTES_MAX);
	bool ok;

	thing_put(thing, &buffer);
	ok = arena_copy(&client->arena, buffer_bytes(&buffer), &client->values[at]);
	assert(ok);
	buffer_fini(&buffer);
}

/* An event has one writer. */
static bool may_write_key(const struct sim_site *site, unsigned key)
{
	return !site->world->keys[key].is_event || key % site->world->plan->sites == site->number;
}

/* One more key, if it is in none of the requests yet. */
static void add_key(struct writing *writing, struct client_op *client, unsigned key)
{
	const struct held_key *held = &writing->site->now.held[key];
	unsigned at = client->key_count;
	struct thing thing;
	bool deletes = false;

	for (unsigned i = 0; i < at; i++)
		if (client->keys[i] == key)
			return;
	if (!may_write_key(writing->site, key))
		return;
	writing->number = writing->site->world->next_number++;
	if (!held->live) {
		create(writing, key, &thing);
	} else {
		if (!thing_read(writing->site->world->keys[key].kind, held->value, &thing))
			world_fail(writing->site->world, "I5", "%s cannot be read",
				   writing->site->world->keys[key].text);
		deletes = change(writing, &thing);
	}
	client->keys[at] = key;
	client->key_count++;
	client->compares[at] = (struct compare){.result = COMPARE_EQUAL,
						.target = COMPARE_MOD,
						.key = key_bytes(writing->site, key),
						.number = held->live ? held->mod_revision : 0};
	if (deletes) {
		client->requests[at].kind = REQUEST_DELETE;
		client->requests[at].as.delete_range.key = key_bytes(writing->site, key);
		return;
	}
	put_value(client, at, &thing);
	client->requests[at].kind = REQUEST_PUT;
	client->requests[at].as.put.key = key_bytes(writing->site, key);
	client->requests[at].as.put.value = client->values[at];
}

static void fill_txn(struct client_op *client)
{
	client->op.kind = OP_TXN;
	client->op.in.txn = (struct txn_op){.compares = client->compares,
					    .compare_count = client->key_count,
					    .success = client->requests,
					    .success_count = client->key_count};
}

/* As users without a CAS write. */
static void fill_blind(struct client_op *client)
{
	if (client->requests[0].kind == REQUEST_PUT) {
		client->op.kind = OP_PUT;
		client->op.in.put = client->requests[0].as.put;
	} else {
		client->op.kind = OP_DELETE;
		client->op.in.delete_range = client->requests[0].as.delete_range;
	}
}

static void write_keys(struct sim_site *site, uint64_t seed, unsigned first, unsigned tries)
{
	struct writing writing = {.site = site, .chance = chance_of(seed, tries)};
	struct client_op *client = calloc(1, sizeof(*client));
	unsigned more = chance_one_in(&writing.chance, 10)
				? 1 + chance_below(&writing.chance, WRITE_KEYS_MAX - 1)
				: 0;

	assert(client);
	arena_init(&client->arena, CLIENT_ARENA_BYTES);
	client->op.arena = &client->arena;
	client->site = site->number;
	client->chance = seed;
	client->tries = tries;
	add_key(&writing, client, first);
	for (; more; more--)
		add_key(&writing, client, chance_below(&writing.chance, site->world->key_count));
	if (!client->key_count) {
		client_op_free(client);
		return;
	}
	if (client->key_count == 1 && chance_one_in(&writing.chance, 12))
		fill_blind(client);
	else
		fill_txn(client);
	for (unsigned i = 0; i < client->key_count; i++)
		world_tell(site->world, "    %s %s %s (was %lld)", site_name(site),
			   client->values[i].data ? "puts" : "deletes",
			   site->world->keys[client->keys[i]].text,
			   (long long)client->compares[i].number);
	site_submit(site, &client->op, client);
}

/* A copy of another site must not write before it is told from it. */
static bool may_write(const struct sim_site *site)
{
	return site_is_ready(site) && !site->twin;
}

void client_write(struct sim_site *site, uint64_t seed)
{
	struct chance chance = chance_of(seed, 7);

	if (may_write(site) && site->world->oracle.count + WRITE_KEYS_MAX * 8 < WRITES_MAX)
		write_keys(site, seed, chance_below(&chance, site->world->key_count), TRIES);
}

void client_retry(struct sim_site *site, struct client_op *client)
{
	if (may_write(site))
		write_keys(site, client->chance, client->keys[0], client->tries - 1);
	client_op_free(client);
}

unsigned client_changed(const struct client_op *client)
{
	if (client->op.err)
		return 0;
	if (client->op.kind == OP_TXN)
		return client->op.out.txn.succeeded ? client->key_count : 0;
	if (client->op.kind == OP_DELETE)
		return (unsigned)client->op.out.delete_range.deleted;
	return client->op.kind == OP_PUT ? 1 : 0;
}

void client_done(struct sim_site *site, struct client_op *client)
{
	struct world *world = site->world;

	if (client->op.err == ERR_NO_SPACE)
		world_count(world, SEEN_DISK_FULL);
	else if (client->op.err && client->op.err != ERR_COMPACTED &&
		 client->op.err != ERR_FUTURE_REVISION)
		world_fail(world, "host", "%s: a write is answered %s", site_name(site),
			   err_name(client->op.err));
	if (client->op.kind == OP_TXN && !client->op.err && client->op.out.txn.succeeded &&
	    client->key_count > 1)
		world_count(world, SEEN_TXN_MULTI);
	if (client->op.kind != OP_TXN || client->op.err || client->op.out.txn.succeeded) {
		client_op_free(client);
		return;
	}
	world_count(world, SEEN_CAS_LOST);
	if (client->tries <= 1) {
		client_op_free(client);
		return;
	}
	client->tries--;
	queue_put(&world->queue, (struct sim_event){.at_ms = world->now_ms + RETRY_MS,
						    .kind = EVENT_RETRY,
						    .target = site->number,
						    .data = client});
}

/* --- maintenance
 * ------------------------------------------------------------------------------
 */

static struct client_op *new_op(struct sim_site *site, enum op_kind kind)
{
	struct client_op *client = calloc(1, sizeof(*client));

	assert(client);
	arena_init(&client->arena, CLIENT_ARENA_BYTES);
	client->op.kind = kind;
	client->site = site->number;
	return client;
}

void client_compact(struct sim_site *site, uint64_t seed)
{
	struct chance chance = chance_of(seed, 3);
	int64_t from = site_is_ready(site) ? store_compacted(site->store) : 0;
	struct client_op *client;

	/* What was not read yet must not be swept. */
	if (!site_is_ready(site) || site->now.head <= 1 || from >= site->now.head)
		return;
	client = new_op(site, OP_COMPACT);
	client->op.in.compact.revision =
		chance_one_in(&chance, 3)
			? site->now.head
			: chance_between(&chance, from < 1 ? 1 : from + 1, site->now.head);
	world_count(site->world, SEEN_PRUNED);
	world_tell(site->world, "    %s compacts at %lld", site_name(site),
		   (long long)client->op.in.compact.revision);
	site_submit(site, &client->op, client);
}

void client_clear_alarm(struct sim_site *site)
{
	struct client_op *client;

	if (!site->running)
		return;
	client = new_op(site, OP_ALARM_CLEAR);
	client->op.in.alarm = ALARM_NOSPACE;
	site_submit(site, &client->op, client);
}
