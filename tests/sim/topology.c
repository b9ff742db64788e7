/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/topology.h"

#define DELAY_MS_MAX 400

static bool are_linked(const struct world *world, unsigned a, unsigned b)
{
	for (unsigned i = 0; i < world->link_count; i++) {
		const unsigned *ends = world->links[i].ends;

		if ((ends[0] == a && ends[1] == b) || (ends[0] == b && ends[1] == a))
			return true;
	}
	return false;
}

static void join(struct world *world, struct chance *chance, unsigned a, unsigned b)
{
	struct link *link = &world->links[world->link_count];

	if (a == b || are_linked(world, a, b) || world->link_count == LINKS_MAX)
		return;
	*link = (struct link){.ends = {a, b},
			      .delay_ms = chance_one_in(chance, 4)
						  ? chance_between(chance, 1, DELAY_MS_MAX)
						  : chance_between(chance, 1, 20)};
	world->link_count++;
}

static void make_random(struct world *world, struct chance *chance)
{
	unsigned count = world->site_count;

	for (unsigned i = 1; i < count; i++)
		join(world, chance, i, chance_below(chance, i));
	for (unsigned more = chance_below(chance, count); more; more--)
		join(world, chance, chance_below(chance, count), chance_below(chance, count));
	for (unsigned i = 0; i < count; i++)
		world->sites[i]->is_hub = chance_one_in(chance, 3);
}

/* Edges have one of the two hubs, or both. */
static void make_pair(struct world *world, struct chance *chance)
{
	join(world, chance, 0, 1);
	for (unsigned i = 2; i < world->site_count; i++) {
		unsigned which = chance_below(chance, 3);

		if (which != 1)
			join(world, chance, i, 0);
		if (which != 0)
			join(world, chance, i, 1);
	}
	world->sites[0]->is_hub = world->sites[1]->is_hub = true;
}

static void make_tree(struct world *world, struct chance *chance)
{
	join(world, chance, 0, 1);
	join(world, chance, 0, 2);
	for (unsigned i = 3; i < world->site_count; i++)
		join(world, chance, i, 1 + i % 2);
	world->sites[0]->is_hub = world->sites[1]->is_hub = world->sites[2]->is_hub = true;
}

unsigned topology_only_peer(const struct world *world, unsigned site)
{
	unsigned found = SITES_MAX, count = 0;

	for (unsigned i = 0; i < world->link_count; i++)
		for (unsigned end = 0; end < 2; end++)
			if (world->links[i].ends[end] == site) {
				found = world->links[i].ends[!end];
				count++;
			}
	return count == 1 ? found : SITES_MAX;
}

void topology_make(struct world *world)
{
	struct chance chance = chance_of(world->plan->seed, 1);
	enum topology topology = world->plan->topology;

	switch (topology) {
	case TOPOLOGY_PAIR:
		make_pair(world, &chance);
		break;
	case TOPOLOGY_TREE:
		make_tree(world, &chance);
		break;
	case TOPOLOGY_RANDOM:
		make_random(world, &chance);
		break;
	case TOPOLOGY_STAR:
	case TOPOLOGY_MESH:
	case TOPOLOGIES:
		for (unsigned i = 0; i < world->site_count; i++)
			for (unsigned j = i + 1; j < world->site_count; j++)
				if (!i || topology == TOPOLOGY_MESH)
					join(world, &chance, i, j);
		world->sites[0]->is_hub = topology == TOPOLOGY_STAR || chance_one_in(&chance, 2);
		break;
	}
	for (unsigned i = 0; i < world->site_count; i++)
		world->sites[i]->star = (topology == TOPOLOGY_STAR && i == 0) ||
					topology_only_peer(world, i) != SITES_MAX;
}

void topology_add_like(struct world *world, unsigned site, unsigned like)
{
	struct chance chance = chance_of(world->plan->seed, 100 + site);
	unsigned count = world->link_count;

	for (unsigned i = 0; i < count; i++)
		for (unsigned end = 0; end < 2; end++)
			if (world->links[i].ends[end] == like)
				join(world, &chance, site, world->links[i].ends[!end]);
	world->sites[site]->star = world->sites[like]->star;
}
