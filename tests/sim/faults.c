/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/faults.h"

#include "tests/sim/clients.h"
#include "tests/sim/topology.h"

#include <assert.h>
#include <stdlib.h>

#define DAY_MS INT64_C(86400000)
#define YEAR_MS (365 * DAY_MS)
#define KILL_WITHIN 60 /* operations of the disk */
#define SLOW_MS_MAX 900
#define BURST_MAX 12

static const char *const names[STEP_KINDS] = {
	[STEP_WRITE] = "write",	    [STEP_BURST] = "burst",	 [STEP_CUT] = "cut",
	[STEP_HEAL] = "heal",	    [STEP_ONE_WAY] = "one way",	 [STEP_FLAP] = "flap",
	[STEP_WILD] = "wild",	    [STEP_REPLAY] = "replay",	 [STEP_STOP] = "stop",
	[STEP_START] = "start",	    [STEP_CRASH] = "crash",	 [STEP_SLOW] = "slow disk",
	[STEP_FULL] = "full disk",  [STEP_BACKUP] = "backup",	 [STEP_RESTORE] = "restore",
	[STEP_CLONE] = "clone",	    [STEP_PRUNE] = "prune",	 [STEP_RULES] = "rules",
	[STEP_CLOCK] = "clock",	    [STEP_LEAP] = "months pass", [STEP_COMPARE] = "compare",
	[STEP_RESTART] = "restart",
};

const char *step_name(enum step_kind kind)
{
	return names[kind];
}

struct doing {
	struct world *world;
	struct sim_site *site;
	struct link *link;
	unsigned link_number;
	struct chance chance;
	uint64_t seed;
};

/* --- network
 * ----------------------------------------------------------------------------------
 */

static void do_cut(struct doing *doing)
{
	doing->link->cut = true;
	net_break(doing->world, doing->link_number);
}

static void do_heal(struct doing *doing)
{
	struct link *link = doing->link;

	link->cut = link->blocked[0] = link->blocked[1] = link->wild = false;
	net_try(doing->world, doing->link_number);
}

static void do_one_way(struct doing *doing)
{
	doing->link->blocked[chance_below(&doing->chance, 2)] = true;
	queue_put(&doing->world->queue,
		  (struct sim_event){.at_ms = doing->world->now_ms + LINK_STALL_MS,
				     .kind = EVENT_STALLED,
				     .target = doing->link_number,
				     .life = doing->link->life});
}

static void do_flap(struct doing *doing)
{
	for (unsigned times = 2 + chance_below(&doing->chance, 6); times; times--) {
		net_break(doing->world, doing->link_number);
		world_pass(doing->world, chance_between(&doing->chance, 0, 60));
		net_try(doing->world, doing->link_number);
		world_pass(doing->world, chance_between(&doing->chance, 0, 60));
	}
}

static void do_wild(struct doing *doing)
{
	doing->link->wild = !doing->link->wild;
}

static void do_replay(struct doing *doing)
{
	unsigned end = chance_below(&doing->chance, 2);

	net_replay(doing->world, doing->link_number, end, chance_below(&doing->chance, 100));
}

static void do_compare(struct doing *doing)
{
	unsigned end = chance_below(&doing->chance, 2);
	struct sim_site *site = doing->world->sites[doing->link->ends[end]];

	if (doing->link->up && site_is_ready(site)) {
		engine_compare(site->engine, doing->link->peers[end]);
		site_after_input(site);
	}
}

/* --- sites
 * ------------------------------------------------------------------------------------
 */

static void do_write(struct doing *doing)
{
	client_write(doing->site, doing->seed);
}

static void do_burst(struct doing *doing)
{
	for (unsigned count = 2 + chance_below(&doing->chance, BURST_MAX); count; count--)
		client_write(doing->site, chance_next(&doing->chance));
}

static void do_stop(struct doing *doing)
{
	site_stop(doing->site);
}

static void do_start(struct doing *doing)
{
	site_start(doing->site);
}

static void do_restart(struct doing *doing)
{
	if (!doing->site->running)
		return;
	site_stop(doing->site);
	site_start(doing->site);
}

/* At once, or at some operation of the disk to come. */
static void do_crash(struct doing *doing)
{
	if (!doing->site->running)
		return;
	if (chance_one_in(&doing->chance, 4))
		site_crash(doing->site);
	else
		sim_disk_kill_after(doing->site->disk,
				    1 + chance_below(&doing->chance, KILL_WITHIN));
}

static void do_slow(struct doing *doing)
{
	doing->site->slow_ms =
		doing->site->slow_ms ? 0 : chance_between(&doing->chance, 1, SLOW_MS_MAX);
}

static void do_full(struct doing *doing)
{
	doing->site->full = !doing->site->full;
	sim_disk_full(doing->site->disk,
		      doing->site->full ? chance_between(&doing->chance, 0, 40000) : -1);
	if (!doing->site->full)
		client_clear_alarm(doing->site);
}

static void do_prune(struct doing *doing)
{
	client_compact(doing->site, doing->seed);
}

static void do_rules(struct doing *doing)
{
	struct sim_site *site = doing->site;

	site->rule_set = chance_below(&doing->chance, RULE_SETS);
	world_count(doing->world, SEEN_RULES);
	site_set_rules(site);
}

static void do_clock(struct doing *doing)
{
	static const int64_t jumps_ms[] = {-40,	   3000,    -3000,    90000,
					   -90000, YEAR_MS, -YEAR_MS, -60 * YEAR_MS};
	struct sim_site *site = doing->site;

	world_count(doing->world, SEEN_CLOCKS);
	site->clock_dead = chance_one_in(&doing->chance, 4);
	site->skew_ms = chance_one_in(&doing->chance, 3)
				? 0
				: jumps_ms[chance_below(&doing->chance,
							sizeof(jumps_ms) / sizeof(*jumps_ms))];
}

/* Months go by in which nobody says anything. */
static void do_leap(struct doing *doing)
{
	doing->world->now_ms += chance_between(&doing->chance, 1, 100) * DAY_MS;
	world_count(doing->world, SEEN_LEAPS);
}

/* --- copies of disks
 * -------------------------------------------------------------------------- */

static void do_backup(struct doing *doing)
{
	struct sim_site *site = doing->site;

	if (site->backup)
		sim_disk_free(site->backup);
	history_fini(&site->backup_history);
	site->backup = sim_disk_copy(site->disk, doing->seed);
	history_copy(&site->now, &site->backup_history);
	site->backup_self = site->self;
}

void find_lost(struct world *world)
{
	for (unsigned i = 0; i < world->oracle.count; i++) {
		struct sim_write *write = &world->oracle.writes[i];
		bool held = false;

		for (unsigned s = 0; s < world->site_count && !held; s++)
			held = !world->sites[s]->gone && known_has(&world->sites[s]->now.known, i);
		if (!held && !write->lost)
			world_count(world, SEEN_LOST_WRITES);
		write->lost = !held;
	}
}

/* Which of its writes the site has forgotten. */
static void forget(struct sim_site *site)
{
	const struct oracle *oracle = &site->world->oracle;
	struct known forgotten = {0};

	for (unsigned i = 0; i < oracle->count; i++)
		if (oracle->writes[i].site == site->number && !known_has(&site->now.known, i))
			known_add(&forgotten, i);
	site->forgotten = forgotten;
}

static void set_back(struct sim_site *site, bool new_identity)
{
	struct bytes witness = {0};
	bool keep = new_identity && chance_one_in(&site->world->chance, 2) &&
		    sim_disk_read_file(site->disk, WITNESS_NAME, &witness);
	struct buffer kept = BUFFER_INIT(64 * KIB);
	bool ok = !keep || buffer_append(&kept, witness);

	assert(ok);
	sim_disk_full(site->disk, -1);
	site->full = false;
	sim_disk_kill_after(site->disk, 0);
	sim_disk_restore(site->disk, site->backup, new_identity);
	if (new_identity)
		site->disk_id = sim_disk_identity(site->disk);
	if (keep)
		ok = sim_disk_write_file(site->disk, WITNESS_NAME, buffer_bytes(&kept));
	else if (new_identity && chance_one_in(&site->world->chance, 3))
		sim_disk_remove_file(site->disk, WITNESS_NAME);
	assert(ok);
	buffer_fini(&kept);
	history_fini(&site->now);
	history_copy(&site->backup_history, &site->now);
	site->seen_events = site->now.event_count;
	site->self = site->backup_self;
}

/* Whether the site can be set back with its witness: then only its peers can
 * tell, so its one peer must know all that anybody has heard of it, and must
 * not have been set back itself. */
static bool may_roll_back(const struct sim_site *site)
{
	const struct world *world = site->world;
	unsigned peer = topology_only_peer(world, site->number);

	if (peer == SITES_MAX || world->sites[peer]->gone || world->sites[peer]->may_reuse ||
	    site->may_reuse || world->sites[peer]->waiting_count ||
	    world->plan->topology != TOPOLOGY_STAR)
		return false;
	for (unsigned i = 0; i < world->oracle.count; i++) {
		const struct sim_write *write = &world->oracle.writes[i];

		for (unsigned s = 0; s < world->site_count && write->site == site->number; s++)
			if (s != site->number && known_has(&world->sites[s]->now.known, i) &&
			    !known_has(&world->sites[peer]->now.known, i))
				return false;
	}
	return true;
}

/* A site that others wait for to tell them what they forgot. */
static bool is_needed(const struct sim_site *site)
{
	for (unsigned i = 0; i < site->world->site_count; i++)
		if (site->world->sites[i]->may_reuse)
			return true;
	return false;
}

static void do_restore(struct doing *doing)
{
	struct sim_site *site = doing->site;
	bool roll_back = chance_one_in(&doing->chance, 3) && may_roll_back(site);

	if (!site->backup || is_needed(site))
		return;
	site_stop(site);
	site_drop_maybes(site);
	net_forget(doing->world, site->number);
	set_back(site, !roll_back);
	find_lost(doing->world);
	forget(site);
	site->may_reuse = roll_back;
	world_count(doing->world, roll_back ? SEEN_ROLLED_BACK : SEEN_RESTORED);
	world_tell(doing->world, "    %s is set back to %lld%s", site_name(site),
		   (long long)site->now.head, roll_back ? ", with its witness" : "");
	if (chance_below(&doing->chance, 3))
		site_start(site);
}

/* A copy of the disk becomes a site. */
static void do_clone(struct doing *doing)
{
	struct world *world = doing->world;
	struct sim_site *site = doing->site, *clone;

	if (world->site_count == SITES_MAX || site->may_reuse || !site->was_ready ||
	    (world->plan->topology != TOPOLOGY_STAR && world->plan->topology != TOPOLOGY_MESH) ||
	    (world->plan->topology == TOPOLOGY_STAR && !site->number) || world->plan->sites < 3)
		return;
	clone = site_new(world, world->site_count);
	clone->disk = sim_disk_copy(site->disk, doing->seed);
	clone->disk_id = sim_disk_identity(clone->disk);
	clone->self = site->self;
	clone->rule_set = site->rule_set;
	history_copy(&site->now, &clone->now);
	clone->seen_events = clone->now.event_count;
	clone->clone = true;
	world->sites[world->site_count++] = clone;
	topology_add_like(world, clone->number, site->number);
	world_count(world, SEEN_CLONE);
	world_tell(world, "    %s is a copy of %s", site_name(clone), site_name(site));
	site_start(clone);
}

/* --- all of them
 * ------------------------------------------------------------------------------
 */

void step_do(struct world *world, const struct step *step)
{
	static void (*const doers[STEP_KINDS])(struct doing * doing) = {
		[STEP_WRITE] = do_write,     [STEP_BURST] = do_burst,
		[STEP_CUT] = do_cut,	     [STEP_HEAL] = do_heal,
		[STEP_ONE_WAY] = do_one_way, [STEP_FLAP] = do_flap,
		[STEP_WILD] = do_wild,	     [STEP_REPLAY] = do_replay,
		[STEP_STOP] = do_stop,	     [STEP_START] = do_start,
		[STEP_CRASH] = do_crash,     [STEP_SLOW] = do_slow,
		[STEP_FULL] = do_full,	     [STEP_BACKUP] = do_backup,
		[STEP_RESTORE] = do_restore, [STEP_CLONE] = do_clone,
		[STEP_PRUNE] = do_prune,     [STEP_RULES] = do_rules,
		[STEP_CLOCK] = do_clock,     [STEP_LEAP] = do_leap,
		[STEP_COMPARE] = do_compare, [STEP_RESTART] = do_restart,
	};
	struct doing doing = {.world = world,
			      .site = world->sites[step->target % world->site_count],
			      .link_number = step->target % world->link_count,
			      .chance = chance_of(step->chance, 0),
			      .seed = step->chance};

	doing.link = &world->links[doing.link_number];
	if (step->kind >= STEP_CUT && step->kind <= STEP_REPLAY)
		world_tell(world, "%3u %s %s-%s", world->step, names[step->kind],
			   site_name(world->sites[doing.link->ends[0]]),
			   site_name(world->sites[doing.link->ends[1]]));
	else
		world_tell(world, "%3u %s %s", world->step, names[step->kind],
			   site_name(doing.site));
	doers[step->kind](&doing);
}
