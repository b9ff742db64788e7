/* SPDX-License-Identifier: Apache-2.0 */
/* observe.c - reads what is new in a site's log, row by row: tells the oracle
 * of clients' writes, and checks what needs the row alone: the watch stream,
 * revisions, values, keys that stay. */
#include "shim/base/crc32c.h"
#include "tests/sim/clients.h"
#include "tests/sim/reading.h"

#include <assert.h>
#include <stdlib.h>

struct observing {
	struct sim_site *site;
	size_t next_event; /* of the watch stream */
	int64_t revision;
	int64_t sub;
};

/* --- clients' writes
 * -------------------------------------------------------------------------- */

static bool writes(const struct client_op *client, unsigned key, const struct log_row *row)
{
	for (unsigned i = 0; i < client->key_count; i++)
		if (client->keys[i] == key &&
		    (row->tombstone ? !client->values[i].data
				    : client->values[i].data &&
					      bytes_equal(client->values[i], row->value)))
			return true;
	return false;
}

static bool is_done(const struct sim_site *site, const struct op *op)
{
	for (size_t i = 0; i < site->done_count; i++)
		if (site->done[i] == op)
			return true;
	return false;
}

/* Whether some client asked for what the row is. */
static bool is_asked_for(struct sim_site *site, unsigned key, const struct log_row *row)
{
	for (size_t i = 0; i < site->waiting_count; i++) {
		struct client_op *client = site->waiting[i].client;

		if (client && is_done(site, &client->op) &&
		    client->found < client_changed(client) && writes(client, key, row)) {
			client->found++;
			return true;
		}
	}
	for (struct client_op *maybe = site->maybes; maybe; maybe = maybe->next)
		if (writes(maybe, key, row)) {
			world_count(site->world, SEEN_MAYBE_KEPT);
			return true;
		}
	return false;
}

/* The engine deletes what no apiserver will: an object whose last finalizers
 * went at two sites. */
static bool is_completion(struct sim_site *site, unsigned key, const struct log_row *row)
{
	const struct held_key *held = &site->now.held[key];
	struct thing thing;

	return row->tombstone && held->live &&
	       thing_read(site->world->keys[key].kind, held->value, &thing) && thing.deleted &&
	       !thing.finalizers[0] && !thing.finalizers[1] && !thing.grace;
}

static void note_write(struct sim_site *site, unsigned key, const struct log_row *row,
		       const struct reading *reading)
{
	const struct held_key *held = &site->now.held[key];
	struct sim_write write = {
		.key = key,
		.site = site->number,
		.actor = reading->writer,
		.revision = row->revision,
		.deleted = row->tombstone,
		.provisional = site->may_reuse,
		.context = known_in(site->world, &site->now.known, site->world->keys[key].is_event),
	};
	struct written written = {
		.seen = held->value,
		.was_live = held->live,
		.value = row->value,
		.deleted = row->tombstone,
		.number = site->world->oracle.count,
	};
	const char *wrong = check_write(&written, &held->facts, &reading->facts);
	struct dot dot = {write.actor, write.revision};

	if (wrong)
		world_fail(site->world, "I3", "%s: write %lld of %s: %s", site_name(site),
			   (long long)row->revision, site->world->keys[key].text, wrong);
	if (!write.provisional &&
	    oracle_find(&site->world->oracle, site->number, key, &dot) != WRITES_MAX)
		world_fail(site->world, "I6", "%s: revision %lld is given out twice for %s",
			   site_name(site), (long long)row->revision, site->world->keys[key].text);
	oracle_add(&site->world->oracle, &write, &held->facts, &reading->facts);
	world_count(site->world, SEEN_WRITES);
}

/* --- the watch stream
 * ------------------------------------------------------------------------- */

static void check_event(struct observing *observing, unsigned key, const struct log_row *row)
{
	struct sim_site *site = observing->site;
	const struct history *now = &site->now;
	const struct seen_event *event;

	if (row->invisible)
		return;
	if (site->starting)
		site_add_event(site, row->revision, row->key, row->tombstone, row->value);
	event = &now->events[observing->next_event];
	if (observing->next_event == now->event_count || event->revision != row->revision ||
	    event->key != key || event->deleted != row->tombstone ||
	    (!row->tombstone && event->sum != crc32c(0, row->value)))
		world_fail(site->world, "I8", "%s: no event for the visible row %lld of %s",
			   site_name(site), (long long)row->revision, site->world->keys[key].text);
	observing->next_event++;
}

static void check_merge(struct observing *observing, unsigned key, const struct log_row *row)
{
	struct sim_site *site = observing->site;
	const struct held_key *held = &site->now.held[key];

	world_count(site->world, row->invisible ? SEEN_INVISIBLE : SEEN_MERGES);
	if (!site->world->keys[key].travels)
		world_fail(site->world, "I15", "%s: %s came from another site", site_name(site),
			   site->world->keys[key].text);
	if (row->invisible)
		return;
	if (row->tombstone ? !held->live : held->live && bytes_equal(held->value, row->value))
		world_fail(site->world, "I14", "%s: row %lld of %s is an event without a change",
			   site_name(site), (long long)row->revision, site->world->keys[key].text);
}

/* --- rows
 * -------------------------------------------------------------------------------------
 */

static void hold(struct held_key *held, const struct log_row *row, const struct reading *reading)
{
	held->seen = true;
	held->due = true;
	held->meta_bytes = row->meta.size;
	held->state_bytes = reading->state_bytes;
	if (!row->invisible) {
		free((void *)held->value.data);
		held->live = !row->tombstone;
		held->mod_revision = row->revision;
		held->value.data = malloc(row->value.size + 1);
		held->value.size = row->value.size;
		assert(held->value.data);
		if (row->value.size)
			memcpy((void *)held->value.data, row->value.data, row->value.size);
	}
	facts_fini(&held->facts);
	held->facts = reading->facts;
	memcpy(held->claims, reading->claims, sizeof held->claims);
	held->claim_count = reading->claim_count;
}

static void check_order(struct observing *observing, const struct log_row *row)
{
	if (row->revision < observing->revision ||
	    (row->revision == observing->revision && row->sub <= observing->sub))
		world_fail(observing->site->world, "I7", "%s: revision %lld comes after %lld",
			   site_name(observing->site), (long long)row->revision,
			   (long long)observing->revision);
	observing->revision = row->revision;
	observing->sub = row->sub;
}

static void tell_row(const struct sim_site *site, unsigned key, const struct log_row *row,
		     const struct reading *reading, const struct bytes *shown)
{
	const struct world *world = site->world;
	struct thing thing = {.uid = 0};
	char text[400] = "nothing";
	size_t size = 0;
	unsigned last = WRITES_MAX;

	for (size_t i = 0; i < reading->facts.count && world->trace; i++) {
		unsigned write = reading->facts.list[i].write;

		if (write == last || write >= world->oracle.count || size > sizeof text - 64)
			continue;
		last = write;
		size += (size_t)snprintf(text + size, sizeof text - size, "%s%s:%lld",
					 size ? " " : "",
					 site_name(world->sites[world->oracle.writes[write].site]),
					 (long long)world->oracle.writes[write].revision);
	}
	if (shown)
		thing_read(world->keys[key].kind, *shown, &thing);
	world_tell(world, "      %s:%lld %s %s%s%s holds %s; shows uid %u, spec %u, status %u",
		   site_name(site), (long long)row->revision, world->keys[key].text,
		   row->merged ? "merged" : "written", row->invisible ? ", not seen" : "",
		   reading->claim_count ? ", claimed" : "", text, thing.uid, thing.spec,
		   thing.status);
}

static void observe_core(struct observing *observing, unsigned key, const struct log_row *row)
{
	struct sim_site *site = observing->site;
	const struct held_key *held = &site->now.held[key];
	struct reading reading;
	const struct bytes *shown = row->invisible   ? held->live ? &held->value : NULL
				    : row->tombstone ? NULL
						     : &row->value;
	const char *wrong;

	read_state(site, key, row, shown, !row->merged, &reading);
	if (!row->merged)
		note_write(site, key, row, &reading);
	tell_row(site, key, row, &reading, shown);
	if (reading.claim_count)
		world_count(site->world, SEEN_CLAIMED);
	wrong = shown ? check_shown(site->world->keys[key].kind, *shown, &reading.facts) : NULL;
	if (wrong)
		world_fail(site->world, "I5", "%s: what row %lld of %s shows: %s", site_name(site),
			   (long long)row->revision, site->world->keys[key].text, wrong);
	hold(&site->now.held[key], row, &reading);
}

static enum err observe_row(void *context, const struct log_row *row)
{
	struct observing *observing = context;
	struct sim_site *site = observing->site;
	unsigned key = world_key_of(site->world, row->key);
	struct reading nothing = {0};

	check_order(observing, row);
	/* The revision of a barrier. */
	if (row->merged && row->invisible && row->key.size == 1 && !row->key.data[0])
		return ERR_OK;
	if (key == KEYS_MAX)
		world_fail(site->world, "I15", "%s: a key that nobody wrote: %.*s", site_name(site),
			   (int)row->key.size, (const char *)row->key.data);
	check_event(observing, key, row);
	if (row->merged)
		check_merge(observing, key, row);
	else if (!is_asked_for(site, key, row) && !is_completion(site, key, row))
		world_fail(site->world, "I15", "%s: row %lld of %s is no client's", site_name(site),
			   (long long)row->revision, site->world->keys[key].text);
	if (site->world->keys[key].travels)
		observe_core(observing, key, row);
	else
		hold(&site->now.held[key], row, &nothing);
	return ERR_OK;
}

/* An acknowledged write is in the log. */
static void check_answers(struct sim_site *site)
{
	for (size_t i = 0; i < site->waiting_count; i++) {
		const struct client_op *client = site->waiting[i].client;

		if (client && is_done(site, &client->op) && client_changed(client) > client->found)
			world_fail(site->world, "I3", "%s: an acknowledged write is not in the log",
				   site_name(site));
	}
}

void site_observe(struct sim_site *site)
{
	struct observing observing = {.site = site,
				      .next_event = site->seen_events,
				      .revision = site->now.head,
				      .sub = INT64_MAX};
	struct log_op op = {.from = site->now.head,
			    .to = store_head(site->store),
			    .rows_max = SIZE_MAX,
			    .bytes_max = SIZE_MAX};
	enum err e = ERR_OK;

	/* A jump wrote nothing and took away what was read before it. */
	if (site->jumps && store_swept(site->store) > op.from)
		op.from = store_swept(site->store);
	for (size_t i = 0; i < site->waiting_count; i++)
		if (site->waiting[i].client)
			site->waiting[i].client->found = 0;
	while (!e && op.from < op.to)
		e = store_log(site->reader, &op, observe_row, &observing, &op.from);
	if (e)
		world_fail(site->world, "host", "%s: its log cannot be read: %s", site_name(site),
			   err_name(e));
	if (observing.next_event != site->now.event_count)
		world_fail(site->world, "I8", "%s: an event at %lld without a visible row",
			   site_name(site),
			   (long long)site->now.events[observing.next_event].revision);
	site->seen_events = observing.next_event;
	site->now.head = op.to;
	check_answers(site);
}
