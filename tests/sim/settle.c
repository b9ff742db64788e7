/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/settle.h"

#include "tests/sim/clients.h"
#include "tests/sim/faults.h"

#include <stdlib.h>

#define ROUND_MS 1000
#define ROUNDS_MAX 240	 /* until silence: four minutes */
#define MESSAGES_EACH 60 /* of each link, and a few for each write */
#define MESSAGES_PER_WRITE 12
#define QUIET_MS 90000
#define META_BYTES_BASE 80 /* of a key without siblings */
#define META_BYTES_FACT 40 /* ... and for each column, if a site of its own wrote it */

static bool is_silent(const struct world *world)
{
	for (unsigned i = 0; i < world->link_count; i++)
		if (!world->links[i].up || world->links[i].under_way)
			return false;
	for (unsigned i = 0; i < world->site_count; i++) {
		const struct sim_site *site = world->sites[i];

		if (site->gone)
			continue;
		if (!site_is_ready(site) || site->waiting_count || !engine_is_silent(site->engine))
			return false;
	}
	return true;
}

static void stop_faults(struct world *world)
{
	world->settling = true;
	for (unsigned i = 0; i < world->link_count; i++) {
		struct link *link = &world->links[i];

		net_break(world, i);
		link->cut = link->blocked[0] = link->blocked[1] = link->wild = false;
	}
	for (unsigned i = 0; i < world->site_count; i++) {
		struct sim_site *site = world->sites[i];

		site->slow_ms = 0;
		site->rule_set = 0;
		sim_disk_kill_after(site->disk, 0);
		if (site->full)
			sim_disk_full(site->disk, -1);
		site->full = false;
		site_set_rules(site);
		site_start(site);
		client_clear_alarm(site);
		net_try_site(world, i);
	}
}

static uint64_t messages(const struct world *world)
{
	return world->result->seen[SEEN_MESSAGES];
}

static void fail_loud(struct world *world, const char *what)
{
	for (unsigned i = 0; i < world->link_count; i++)
		if (!world->links[i].up || world->links[i].under_way)
			world_fail(world, "I13", "%s: the link %s-%s is %s", what,
				   site_name(world->sites[world->links[i].ends[0]]),
				   site_name(world->sites[world->links[i].ends[1]]),
				   world->links[i].up ? "busy" : "down");
	for (unsigned i = 0; i < world->site_count; i++) {
		const struct sim_site *site = world->sites[i];

		if (!site_is_ready(site) || site->waiting_count || !engine_is_silent(site->engine))
			world_fail(world, "I13", "%s: %s is %s", what, site_name(site),
				   !site_is_ready(site)	 ? "not ready"
				   : site->waiting_count ? "waiting for its disk"
							 : "not silent");
	}
	world_fail(world, "I13", "%s", what);
}

static void wait_for_silence(struct world *world)
{
	uint64_t before = messages(world);
	uint64_t allowed = (uint64_t)world->link_count * MESSAGES_EACH +
			   (uint64_t)world->oracle.count * world->link_count * MESSAGES_PER_WRITE;
	unsigned rounds = 0;

	do {
		world_pass(world, ROUND_MS);
		if (++rounds > ROUNDS_MAX)
			fail_loud(world, "no silence after four minutes");
		if (messages(world) - before > allowed)
			world_fail(world, "I13", "%llu messages, and no silence",
				   (unsigned long long)(messages(world) - before));
	} while (!is_silent(world));
}

/* --- equal and complete
 * ----------------------------------------------------------------------- */

static void check_complete(struct world *world, const struct sim_site *site)
{
	for (unsigned i = 0; i < world->oracle.count; i++) {
		const struct sim_write *write = &world->oracle.writes[i];

		if (!write->lost && !known_has(&site->now.known, i))
			world_fail(world, "I13", "silent, but %s never heard of %s at %s:%lld",
				   site_name(site), world->keys[write->key].text,
				   site_name(world->sites[write->site]),
				   (long long)write->revision);
	}
}

static void check_pair(struct world *world, const struct sim_site *a, const struct sim_site *b)
{
	for (unsigned key = 0; key < world->key_count; key++) {
		const struct held_key *left = &a->now.held[key], *right = &b->now.held[key];

		if (!world->keys[key].travels)
			continue;
		if (!facts_equal(&left->facts, &right->facts))
			world_fail(world, "I2", "%s and %s know the same and hold %s otherwise",
				   site_name(a), site_name(b), world->keys[key].text);
		if (left->live != right->live ||
		    (left->live && !bytes_equal(left->value, right->value)))
			world_fail(world, "I2", "%s and %s hold the same and show %s otherwise",
				   site_name(a), site_name(b), world->keys[key].text);
	}
}

static size_t siblings(const struct fact_set *facts)
{
	size_t count = 0;

	for (size_t i = 0; i < facts->count; i++)
		for (size_t j = 0; j < i; j++)
			count += facts->list[i].column == facts->list[j].column;
	return count;
}

static void check_sizes(struct world *world, const struct sim_site *site)
{
	for (unsigned key = 0; key < world->key_count; key++) {
		const struct held_key *held = &site->now.held[key];

		if (held->seen && !siblings(&held->facts) &&
		    held->state_bytes > META_BYTES_BASE + held->facts.count * META_BYTES_FACT)
			world_fail(world, "I18", "%s: %zu bytes of state for %zu values of %s",
				   site_name(site), held->state_bytes, held->facts.count,
				   world->keys[key].text);
	}
}

static void check_equal(struct world *world)
{
	for (unsigned i = 0; i < world->site_count; i++) {
		check_complete(world, world->sites[i]);
		check_sizes(world, world->sites[i]);
		for (unsigned key = 0; key < world->key_count; key++)
			world->sites[i]->now.held[key].due = true;
		site_check(world->sites[i]);
		if (i)
			check_pair(world, world->sites[0], world->sites[i]);
	}
}

/* --- nothing more happens
 * --------------------------------------------------------------------- */

static void note_heads(const struct world *world, int64_t heads[SITES_MAX])
{
	for (unsigned i = 0; i < world->site_count; i++)
		heads[i] = world->sites[i]->now.head;
}

static void check_heads(struct world *world, const int64_t heads[SITES_MAX], const char *after)
{
	for (unsigned i = 0; i < world->site_count; i++)
		if (world->sites[i]->now.head != heads[i])
			world_fail(world, "I13", "%s: %s went from %lld to %lld", after,
				   site_name(world->sites[i]), (long long)heads[i],
				   (long long)world->sites[i]->now.head);
}

static void check_quiet(struct world *world)
{
	uint64_t before = messages(world);
	int64_t heads[SITES_MAX];

	note_heads(world, heads);
	world_pass(world, QUIET_MS);
	check_heads(world, heads, "silent");
	if (messages(world) != before)
		world_fail(world, "I13", "silent, but %llu messages in %d s",
			   (unsigned long long)(messages(world) - before), QUIET_MS / 1000);
}

/* Equal sites find nothing, and say little. */
static void check_comparing(struct world *world)
{
	int64_t heads[SITES_MAX];

	note_heads(world, heads);
	for (unsigned i = 0; i < world->link_count; i++) {
		struct sim_site *site = world->sites[world->links[i].ends[0]];

		engine_compare(site->engine, world->links[i].peers[0]);
		site_after_input(site);
	}
	wait_for_silence(world);
	check_heads(world, heads, "equal sites compared");
}

/* What was in memory was on the disk. */
static void check_restarts(struct world *world)
{
	int64_t heads[SITES_MAX];

	note_heads(world, heads);
	for (unsigned i = 0; i < world->site_count; i++) {
		site_stop(world->sites[i]);
		site_start(world->sites[i]);
	}
	wait_for_silence(world);
	check_heads(world, heads, "after a restart");
}

void world_settle(struct world *world)
{
	world_tell(world, "faults stop");
	stop_faults(world);
	wait_for_silence(world);
	world_tell(world, "silence");
	check_equal(world);
	check_quiet(world);
	check_comparing(world);
	check_restarts(world);
	check_equal(world);
	world_count(world, SEEN_QUIET);
}
