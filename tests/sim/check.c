/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - what a site says of itself (its vector, its cursors, what it sends)
 * against what it holds and what the oracle knows. */
#include "shim/base/crc32c.h"
#include "sync/engine/claims.h"
#include "tests/sim/site.h"

#include <assert.h>
#include <stdlib.h>

#define CHECK_ARENA_BYTES (64 * MIB)
#define HISTORY_BATCHES 4096

/* --- which writes a vector means
 * -------------------------------------------------------------- */

static struct dot dot_of(const struct sim_write *write)
{
	return (struct dot){write->actor, write->revision};
}

/* A site that was set back without knowing it has dots that were given out
 * before: until it is told, its vector means what it wrote since, and nobody
 * else's means that. */
static bool is_meant(const struct oracle *oracle, const struct sim_site *site, unsigned number)
{
	const struct sim_write *write = &oracle->writes[number];

	if (write->provisional)
		return write->site == site->number;
	return !site->may_reuse || !known_has(&site->forgotten, number);
}

/* Adds those of one group.  One that seemed lost was under way. */
static void add_known(const struct sim_site *site, const struct vector *vector, bool events,
		      struct known *known)
{
	struct world *world = site->world;

	for (unsigned i = 0; i < world->oracle.count; i++) {
		struct sim_write *write = &world->oracle.writes[i];
		struct dot dot = dot_of(write);

		if (write->dead || world->keys[write->key].is_event != events ||
		    !vector_has(vector, &dot) || !is_meant(&world->oracle, site, i))
			continue;
		write->lost = false;
		known_add(known, i);
	}
}

static void engine_known(const struct sim_site *site, struct known *ret_known)
{
	*ret_known = (struct known){0};
	for (int group = 0; group < GROUPS; group++) {
		struct vector vector = {0};
		enum err e = engine_vector(site->engine, (enum group)group, &vector);

		if (e)
			world_fail(site->world, "host", "engine_vector: %s", err_name(e));
		add_known(site, &vector, group == GROUP_EVENTS, ret_known);
		vector_fini(&vector);
	}
}

struct known known_in(const struct world *world, const struct known *known, bool events)
{
	struct known left = {0};

	for (unsigned i = 0; i < world->oracle.count; i++)
		if (known_has(known, i) &&
		    world->keys[world->oracle.writes[i].key].is_event == events)
			known_add(&left, i);
	return left;
}

/* --- what it has taken in
 * --------------------------------------------------------------------- */

static const char *words_of(const struct world *world, unsigned write, char words[128])
{
	const struct sim_write *w = &world->oracle.writes[write];

	snprintf(words, 128, "%s of %s at %s:%lld", w->deleted ? "delete" : "put",
		 world->keys[w->key].text, site_name(world->sites[w->site]),
		 (long long)w->revision);
	return words;
}

static void note_known(struct sim_site *site, unsigned number)
{
	struct world *world = site->world;
	struct sim_write *write = &world->oracle.writes[number];
	unsigned missing = known_lacks(&site->now.known, &write->context);
	char words[2][128];

	site->now.held[write->key].due = true;
	if (site->restarted && write->site != site->number)
		world_fail(world, "I20", "%s: after a restart it knows more: %s", site_name(site),
			   words_of(world, number, words[0]));
	if (missing != WRITES_MAX && !world->oracle.writes[missing].lost)
		world_fail(world, "I10", "%s knows the %s without the %s before it",
			   site_name(site), words_of(world, number, words[0]),
			   words_of(world, missing, words[1]));
}

/* What a comparison ends with can be known later than its rows: a cursor may be
 * older than that. */
static void note_moment(struct sim_site *site)
{
	struct history *now = &site->now;

	if (now->moment_count && now->moments[now->moment_count - 1].revision == now->head)
		return;
	now->moments = realloc(now->moments, (now->moment_count + 1) * sizeof(*now->moments));
	assert(now->moments);
	now->moments[now->moment_count++] = (struct moment){now->head, now->known};
}

static void check_known(struct sim_site *site)
{
	struct world *world = site->world;
	struct known before = site->now.known, known;
	unsigned number;
	char words[128];

	engine_known(site, &known);
	number = known_lacks(&known, &before);
	if (number != WRITES_MAX)
		world_fail(world, "I1", "%s no longer knows the %s", site_name(site),
			   words_of(world, number, words));
	site->now.known = known;
	while ((number = known_lacks(&before, &known)) != WRITES_MAX) {
		known_add(&before, number);
		note_known(site, number);
	}
	site->restarted = false;
	for (number = 0; number < world->oracle.count; number++)
		if (world->oracle.writes[number].site == site->number &&
		    !world->oracle.writes[number].lost && !known_has(&known, number) &&
		    !known_has(&site->forgotten, number))
			world_fail(world, "I1", "%s does not know its own %s", site_name(site),
				   words_of(world, number, words));
	note_moment(site);
}

/* --- states
 * -----------------------------------------------------------------------------------
 */

/* Who took it away, in words. */
static const char *taken_by(const struct sim_site *site, unsigned key, const struct fact *fact)
{
	static char text[200];
	const struct oracle *oracle = &site->world->oracle;
	const struct fact_set one = {(struct fact *)fact, 1};
	char words[128];

	for (unsigned i = 0; i < oracle->count; i++) {
		const struct sim_write *write = &oracle->writes[i];
		bool took = !facts_lack(&one, &write->taken);

		for (size_t j = 0; j < write->birth_count; j++)
			took |= write->births_taken[j] == fact->birth;
		if (write->key != key || !took || !known_has(&site->now.known, i))
			continue;
		snprintf(text, sizeof text, ", by the %s", words_of(site->world, i, words));
		return text;
	}
	return known_has(&site->now.known, fact->write) ? "" : ", and that it does not know";
}

static void fail_state(struct sim_site *site, unsigned key, const struct fact_set *expected)
{
	const struct fact_set *held = &site->now.held[key].facts;
	const struct fact *more = facts_lack(held, expected);
	const struct fact *less = facts_lack(expected, held);
	char words[2][128];
	const char *name = site->world->keys[key].text;

	if (less)
		world_fail(site->world, facts_have_birth(held, less->birth) ? "I3" : "I4",
			   "%s: of %s a value is lost that came with the %s, object of the %s",
			   site_name(site), name, words_of(site->world, less->write, words[0]),
			   words_of(site->world, less->birth, words[1]));
	world_fail(site->world, facts_have_birth(expected, more->birth) ? "I3" : "I4",
		   "%s: of %s a value is back that was superseded, of the %s, object of the "
		   "%s%s",
		   site_name(site), name, words_of(site->world, more->write, words[0]),
		   words_of(site->world, more->birth, words[1]), taken_by(site, key, more));
}

static void check_key(struct sim_site *site, unsigned key, const struct claims *claims)
{
	struct held_key *held = &site->now.held[key];
	struct known known = site->now.known;
	struct fact_set expected;

	held->due = false;
	for (size_t i = 0; i < held->claim_count; i++) {
		const struct claim *claim = claims_find(claims, held->claims[i]);

		if (!claim)
			continue;
		add_known(site, &claim->vector, site->world->keys[key].is_event, &known);
	}
	world_count(site->world, SEEN_CHECKS);
	oracle_expect(&site->world->oracle, key, &known, &expected);
	if (!facts_equal(&expected, &held->facts))
		fail_state(site, key, &expected);
	facts_fini(&expected);
}

static void check_states(struct sim_site *site)
{
	struct claims claims = {0};
	enum err e = claims_load(&claims, site->reader);

	if (e)
		world_fail(site->world, "I20", "%s: claims: %s", site_name(site), err_name(e));
	for (unsigned key = 0; key < site->world->key_count; key++)
		if (site->now.held[key].due && site->world->keys[key].travels)
			check_key(site, key, &claims);
	claims_fini(&claims);
}

/* --- cursors
 * ----------------------------------------------------------------------------------
 */

static void check_group_cursor(struct sim_site *site, const struct sim_site *other,
			       enum group group, int64_t cursor)
{
	struct known there =
		known_in(site->world, history_at(&other->now, cursor), group == GROUP_EVENTS);
	unsigned missing = known_lacks(&site->now.known, &there);
	char words[128];

	if (missing != WRITES_MAX && !site->world->oracle.writes[missing].lost)
		world_fail(site->world, "I11", "%s has %s's log up to %lld without the %s",
			   site_name(site), site_name(other), (long long)cursor,
			   words_of(site->world, missing, words));
}

static void check_cursor(struct sim_site *site, const struct link *link, unsigned end)
{
	const struct sim_site *other = site->world->sites[link->ends[!end]];
	struct peer_status status;

	if (!link->up || !link->peers[end] || other->may_reuse || site->may_reuse)
		return;
	engine_peer_status(link->peers[end], &status);
	if (!status.ready || actor_compare(&status.actor, &other->self))
		return;
	for (int group = 0; group < GROUPS; group++)
		check_group_cursor(site, other, (enum group)group, status.cursor[group]);
}

static void check_cursors(struct sim_site *site)
{
	for (unsigned i = 0; i < site->world->link_count; i++)
		for (unsigned end = 0; end < 2; end++)
			if (site->world->links[i].ends[end] == site->number)
				check_cursor(site, &site->world->links[i], end);
}

/* --- identity
 * ---------------------------------------------------------------------------------
 */

static bool is_held_elsewhere(const struct world *world, const struct sim_site *site,
			      unsigned number)
{
	for (unsigned i = 0; i < world->site_count; i++)
		if (world->sites[i] != site && !world->sites[i]->gone &&
		    known_has(&world->sites[i]->now.known, number))
			return true;
	return false;
}

/* The site tells a write again under another dot.  What others have of it under
 * the old one may come back. */
static void tell_again(struct sim_site *site, unsigned number, const struct actor *actor)
{
	struct sim_write *write = &site->world->oracle.writes[number];

	if (write->provisional) {
		write->actor = *actor;
		write->provisional = false;
		world_count(site->world, SEEN_RESTAMPED);
		return;
	}
	oracle_alias(&site->world->oracle, number, actor);
	known_remove(&site->now.known, number);
	for (size_t i = 0; i < site->now.moment_count; i++)
		known_remove(&site->now.moments[i].known, number);
	known_add(&site->forgotten, number);
	write->lost = !is_held_elsewhere(site->world, site, number);
	world_count(site->world, SEEN_TOLD_TWICE);
}

static bool is_by(const struct sim_write *write, const struct sim_site *site)
{
	return write->site == site->number && !write->lost &&
	       !actor_compare(&write->actor, &site->self);
}

bool site_restamp(struct sim_site *site, unsigned key, const struct dot *dot)
{
	struct oracle *oracle = &site->world->oracle;

	for (unsigned i = oracle->count; i-- > 0;) {
		const struct sim_write *write = &oracle->writes[i];

		if (is_by(write, site) && write->key == key && write->revision == dot->revision) {
			tell_again(site, i, &dot->actor);
			return true;
		}
	}
	return false;
}

static bool is_told(const struct sim_site *site)
{
	struct peer_status status;

	for (unsigned i = 0; i < site->world->link_count; i++)
		for (unsigned end = 0; end < 2; end++) {
			const struct link *link = &site->world->links[i];

			if (!link->up || link->ends[end] != site->number)
				continue;
			engine_peer_status(link->peers[end], &status);
			if (status.ready)
				return true;
		}
	return false;
}

/* Above which revision the present incarnation has all writes. */
static int64_t own_begin(const struct sim_site *site, const struct actor *self)
{
	struct vector vector = {0};
	int64_t begin = INT64_MAX;

	if (engine_vector(site->engine, GROUP_CORE, &vector))
		world_fail(site->world, "host", "engine_vector fails");
	for (size_t i = 0; i < vector.count; i++)
		if (!actor_compare(&vector.entries[i].actor, self))
			begin = vector.entries[i].revisions.intervals[0].first - 1;
	vector_fini(&vector);
	return begin;
}

/* What it wrote above the begin and was not seen in rows that were told again:
 * deletes. */
static void tell_rest_again(struct sim_site *site, const struct actor *self)
{
	const struct oracle *oracle = &site->world->oracle;
	int64_t begin = own_begin(site, self);
	unsigned count = oracle->count;

	for (unsigned i = 0; i < count; i++) {
		const struct sim_write *write = &oracle->writes[i];
		bool own = write->provisional || known_has(&site->now.known, i);

		if (is_by(write, site) && own && write->revision > begin)
			tell_again(site, i, self);
	}
}

/* Nobody had heard of them, and their dots are given out again. */
static void bury_lost(struct sim_site *site)
{
	struct oracle *oracle = &site->world->oracle;

	for (unsigned i = 0; i < oracle->count; i++)
		if (oracle->writes[i].lost && oracle->writes[i].site == site->number)
			oracle->writes[i].dead = true;
}

/* A site that was set back meets its peer.  Either it begins a new incarnation:
 * then what it wrote without knowing is the new one's, and what it had written
 * before may come back from others.  Or nobody had heard of what it forgot, and
 * its dots are as good as any. */
static void check_identity(struct sim_site *site)
{
	struct actor self = engine_self(site->engine);
	bool changed = actor_compare(&self, &site->self) != 0;
	struct oracle *oracle = &site->world->oracle;

	if (!changed && (!site->may_reuse || !is_told(site)))
		return;
	if (changed && site->self.incarnation)
		tell_rest_again(site, &self);
	else if (!changed)
		bury_lost(site);
	site->self = self;
	site->may_reuse = false;
	for (unsigned i = 0; i < oracle->count; i++)
		if (oracle->writes[i].site == site->number)
			oracle->writes[i].provisional = false;
}

void site_check(struct sim_site *site)
{
	if (!site->running || !engine_is_ready(site->engine))
		return;
	check_identity(site);
	check_known(site);
	check_states(site);
	check_cursors(site);
}

/* --- after a start
 * ----------------------------------------------------------------------------
 */

static void check_keys_row(struct sim_site *site, const struct keys_row *row)
{
	unsigned key = world_key_of(site->world, row->key);
	const struct held_key *held = key == KEYS_MAX ? NULL : &site->now.held[key];

	if (!held || !held->seen || held->live != row->live ||
	    (row->live && !bytes_equal(row->value, held->value)) ||
	    held->meta_bytes != row->meta.size)
		world_fail(site->world, "I20", "%s: after a start %.*s is not what it was",
			   site_name(site), (int)row->key.size, (const char *)row->key.data);
	site->world->keys[key].mark = true;
}

static void check_all_keys(struct sim_site *site)
{
	struct keys_op op = {BYTES_LITERAL("\0"), BYTES_LITERAL("\0"), true};
	struct world *world = site->world;
	struct store_keys *keys;
	struct keys_row row;
	int64_t revision;
	bool found = true;
	enum err e = store_keys_open(site->reader, &op, &keys, &revision);

	for (unsigned i = 0; i < world->key_count; i++)
		world->keys[i].mark = false;
	while (!e && found) {
		e = store_keys_next(keys, &row, &found);
		if (!e && found)
			check_keys_row(site, &row);
	}
	if (e)
		world_fail(world, "I20", "%s: keys: %s", site_name(site), err_name(e));
	store_keys_close(keys);
	for (unsigned i = 0; i < world->key_count; i++)
		if (!world->keys[i].mark && site->now.held[i].live)
			world_fail(world, "I20", "%s: after a start %s is gone", site_name(site),
				   world->keys[i].text);
}

static size_t first_event(const struct history *now, int64_t from)
{
	size_t i = 0;

	while (i < now->event_count && now->events[i].revision < from)
		i++;
	return i;
}

static void check_batch(struct sim_site *site, const struct event_batch *batch, size_t *at)
{
	for (size_t i = 0; i < event_batch_count(batch); i++, (*at)++) {
		const struct event *event = event_batch_at(batch, i);
		const struct seen_event *seen = &site->now.events[*at];

		if (*at == site->now.event_count || event->kv.mod_revision != seen->revision ||
		    (event->type == EVENT_DELETE) != seen->deleted ||
		    (!seen->deleted && seen->sum != crc32c(0, event->kv.value)))
			world_fail(site->world, "I8",
				   "%s: resumed, the watch stream differs at %lld", site_name(site),
				   (long long)event->kv.mod_revision);
	}
}

/* A watcher that comes back sees what the one before it saw. */
static void check_resumed(struct sim_site *site)
{
	struct event_batch **batches = calloc(HISTORY_BATCHES, sizeof(struct event_batch *));
	int64_t head = store_head(site->store), compacted = store_compacted(site->store);
	int64_t from = compacted < 1 ? 1 : compacted + 1;
	struct history_op op = {
		BYTES_LITERAL("\0"), BYTES_LITERAL("\0"), from, head, SIZE_MAX, SIZE_MAX};
	size_t at, count = 0;
	enum err e;

	assert(batches);
	op.from += (int64_t)(chance_next(&site->world->chance) % (uint64_t)(head - from + 2));
	at = first_event(&site->now, op.from);
	while (op.from <= head) {
		e = store_history(site->reader, &op, batches, HISTORY_BATCHES, &count, &op.from);
		if (e)
			world_fail(site->world, "I8", "%s: no history from %lld: %s",
				   site_name(site), (long long)op.from, err_name(e));
		for (size_t i = 0; i < count; i++) {
			check_batch(site, batches[i], &at);
			event_batch_unref(batches[i]);
		}
	}
	if (at != site->now.event_count)
		world_fail(site->world, "I8", "%s: resumed, the watch stream ends early",
			   site_name(site));
	free(batches);
}

void site_check_started(struct sim_site *site)
{
	if (store_head(site->store) < site->now.head)
		world_fail(site->world, "I7", "%s: acknowledged up to %lld, after a start at %lld",
			   site_name(site), (long long)site->now.head,
			   (long long)store_head(site->store));
	site->starting = site->jumps = true;
	site_observe(site);
	site->starting = site->jumps = false;
	/* A merge that was under way when it crashed may be on the disk. */
	site->restarted = !site->crashed;
	site->crashed = false;
	check_all_keys(site);
	check_resumed(site);
}

/* --- messages
 * ---------------------------------------------------------------------------------
 */

static void check_entries(struct sim_site *site, const struct entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		unsigned key = world_key_of(site->world, entries[i].key);

		if (key == KEYS_MAX || !site->world->keys[key].travels)
			world_fail(site->world, "I15", "%s sends %.*s", site_name(site),
				   (int)entries[i].key.size, (const char *)entries[i].key.data);
	}
}

static void tell_message(const struct sim_site *site, const struct message *message, size_t size)
{
	const struct window *window = &message->as.window;

	if (message->kind == MESSAGE_WINDOW)
		world_tell(
			site->world, "      %s says window (%lld, %lld], group %d, %zu keys%s%s%s",
			site_name(site), (long long)window->from, (long long)window->to,
			window->group, window->entry_count, window->delta_is_whole ? ", whole" : "",
			window->barrier ? ", barrier" : "", window->more ? ", more" : "");
	else if (message->kind == MESSAGE_ACK)
		world_tell(site->world, "      %s says ack %lld, group %d", site_name(site),
			   (long long)message->as.ack.cursor, message->as.ack.group);
	else if (message->kind == MESSAGE_SESSION_PAGE)
		world_tell(site->world, "      %s says page of %zu keys", site_name(site),
			   message->as.session_page.entry_count);
	else if (message->kind == MESSAGE_HELLO)
		world_tell(site->world, "      %s says hello, %s%zu hubs, %zu bytes",
			   site_name(site), message->as.hello.is_answer ? "answer, " : "",
			   message->as.hello.cloud_count, size);
	else
		world_tell(site->world, "      %s says %s, %zu bytes", site_name(site),
			   message_name(message->kind), size);
}

void site_check_sent(struct sim_site *site, struct bytes bytes)
{
	struct message message;
	struct arena arena;
	enum err e;

	arena_init(&arena, CHECK_ARENA_BYTES);
	e = message_decode(bytes, &arena, &message);
	if (e)
		world_fail(site->world, "I13", "%s sends what cannot be read: %s", site_name(site),
			   err_name(e));
	tell_message(site, &message, bytes.size);
	if (message.kind == MESSAGE_WINDOW) {
		const struct window *window = &message.as.window;

		check_entries(site, window->entries, window->entry_count);
		if (window->to > site->now.head)
			world_fail(site->world, "I7", "%s ships up to %lld, durable is %lld",
				   site_name(site), (long long)window->to,
				   (long long)site->now.head);
	}
	if (message.kind == MESSAGE_SESSION_PAGE)
		check_entries(site, message.as.session_page.entries,
			      message.as.session_page.entry_count);
	message_fini(&message);
	arena_fini(&arena);
}

void site_check_received(struct sim_site *site, struct bytes bytes)
{
	(void)bytes;
	world_count(site->world, SEEN_EVENTS);
}
