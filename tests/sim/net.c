/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/net.h"

#include "tests/sim/site.h"

#include <assert.h>
#include <stdlib.h>

#define RETRY_MS_MAX 3000 /* until a link is tried again */
#define HOLD_MS 500	  /* until a message that is stuck is tried again */

static struct sim_site *end_site(const struct world *world, const struct link *link, unsigned end)
{
	return world->sites[link->ends[end]];
}

static bool is_open(const struct world *world, const struct link *link)
{
	return !link->cut && !link->blocked[0] && !link->blocked[1] &&
	       site_is_ready(end_site(world, link, 0)) && site_is_ready(end_site(world, link, 1));
}

static void forget_kept(struct link *link)
{
	for (unsigned end = 0; end < 2; end++) {
		for (unsigned i = 0; i < link->kept_count[end]; i++)
			free(link->kept[end][i]);
		link->kept_count[end] = 0;
	}
}

void net_fini(struct world *world)
{
	for (unsigned i = 0; i < world->link_count; i++)
		forget_kept(&world->links[i]);
}

/* --- connections
 * ------------------------------------------------------------------------------
 */

static void try_later(struct world *world, unsigned link)
{
	queue_put(&world->queue,
		  (struct sim_event){.at_ms = world->now_ms +
					      chance_between(&world->chance, 1, RETRY_MS_MAX),
				     .kind = EVENT_CONNECT,
				     .target = link,
				     .life = world->links[link].life});
}

void net_try(struct world *world, unsigned number)
{
	struct link *link = &world->links[number];

	if (link->up || !is_open(world, link))
		return;
	link->up = true;
	link->life++;
	link->under_way = 0;
	link->last_ms[0] = link->last_ms[1] = world->now_ms;
	world_tell(world, "    %s and %s are connected", site_name(end_site(world, link, 0)),
		   site_name(end_site(world, link, 1)));
	for (unsigned end = 0; end < 2 && link->up; end++)
		site_connect(end_site(world, link, end), number, end);
}

void net_break(struct world *world, unsigned number)
{
	struct link *link = &world->links[number];

	if (!link->up)
		return;
	link->up = false;
	world_count(world, SEEN_BROKEN);
	world->result->seen[SEEN_IN_FLIGHT_LOST] += link->under_way;
	for (unsigned end = 0; end < 2; end++)
		site_disconnect(end_site(world, link, end), number, end);
	try_later(world, number);
}

void net_stalled(struct world *world, unsigned number, uint64_t life)
{
	struct link *link = &world->links[number];

	if (link->up && link->life == life && (link->blocked[0] || link->blocked[1])) {
		world_count(world, SEEN_STALLED);
		net_break(world, number);
	}
}

void net_break_site(struct world *world, unsigned site)
{
	for (unsigned i = 0; i < world->link_count; i++)
		if (world->links[i].ends[0] == site || world->links[i].ends[1] == site)
			net_break(world, i);
}

void net_forget(struct world *world, unsigned site)
{
	for (unsigned i = 0; i < world->link_count; i++)
		if (world->links[i].ends[0] == site || world->links[i].ends[1] == site)
			forget_kept(&world->links[i]);
}

void net_try_site(struct world *world, unsigned site)
{
	for (unsigned i = 0; i < world->link_count; i++)
		if (world->links[i].ends[0] == site || world->links[i].ends[1] == site)
			try_later(world, i);
}

/* --- messages
 * ---------------------------------------------------------------------------------
 */

static struct parcel *parcel_of(unsigned from, struct bytes message)
{
	struct parcel *parcel = malloc(sizeof(*parcel) + message.size);

	assert(parcel);
	parcel->from = from;
	parcel->size = message.size;
	if (message.size)
		memcpy(parcel->bytes, message.data, message.size);
	return parcel;
}

/* A few messages are kept, for replays. */
static void keep(struct world *world, struct link *link, unsigned end, struct bytes message)
{
	unsigned at = link->kept_count[end];

	if (!chance_one_in(&world->chance, 5))
		return;
	if (at == REPLAYS_KEPT) {
		at = chance_below(&world->chance, REPLAYS_KEPT);
		free(link->kept[end][at]);
	} else {
		link->kept_count[end]++;
	}
	link->kept[end][at] = parcel_of(end, message);
}

static void put_under_way(struct world *world, unsigned number, unsigned end, struct bytes message)
{
	struct link *link = &world->links[number];
	int64_t at_ms = world->now_ms + chance_between(&world->chance, 1, link->delay_ms);

	if (!link->wild || chance_below(&world->chance, 4)) {
		if (at_ms < link->last_ms[end])
			at_ms = link->last_ms[end];
		link->last_ms[end] = at_ms;
	} else {
		world_count(world, SEEN_REORDERED);
	}
	link->under_way++;
	queue_put(&world->queue, (struct sim_event){.at_ms = at_ms,
						    .kind = EVENT_DELIVER,
						    .target = number,
						    .life = link->life,
						    .data = parcel_of(end, message)});
}

void net_send(struct world *world, unsigned number, unsigned end, struct bytes message)
{
	struct link *link = &world->links[number];

	if (!link->up)
		return;
	world_count(world, SEEN_MESSAGES);
	keep(world, link, end, message);
	if (link->wild && chance_one_in(&world->chance, 12)) {
		world_count(world, SEEN_DROPPED);
		return;
	}
	put_under_way(world, number, end, message);
	if (link->wild && chance_one_in(&world->chance, 6)) {
		world_count(world, SEEN_DUPLICATED);
		put_under_way(world, number, end, message);
	}
}

/* Waits for the link to carry this way again, behind what waits already. */
static void hold(struct world *world, struct link *link, const struct sim_event *event)
{
	const struct parcel *parcel = event->data;
	struct sim_event later = *event;

	later.at_ms = world->now_ms + HOLD_MS;
	if (link->last_ms[parcel->from] < later.at_ms)
		link->last_ms[parcel->from] = later.at_ms;
	queue_put(&world->queue, later);
}

void net_deliver(struct world *world, const struct sim_event *event)
{
	struct link *link = &world->links[event->target];
	struct parcel *parcel = event->data;
	unsigned end = !parcel->from;

	if (link->up && link->life == event->life) {
		if (link->blocked[parcel->from]) {
			hold(world, link, event);
			return;
		}
		link->under_way--;
		site_receive(end_site(world, link, end), event->target, end,
			     bytes_of(parcel->bytes, parcel->size));
	}
	free(parcel);
}

void net_replay(struct world *world, unsigned number, unsigned end, unsigned which)
{
	struct link *link = &world->links[number];
	const struct parcel *parcel;

	if (!link->up || !link->kept_count[end])
		return;
	parcel = link->kept[end][which % link->kept_count[end]];
	world_count(world, SEEN_REPLAYS);
	put_under_way(world, number, end, bytes_of(parcel->bytes, parcel->size));
}
