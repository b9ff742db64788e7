/* SPDX-License-Identifier: Apache-2.0 */
/* net.h - links between sites: ordered streams while they are up, as gRPC's
 * are.
 *
 * A connection that breaks loses what is under way.  A link may be cut, may
 * carry one way only (then the connection is given up after a while, as a
 * keepalive does), and may be wild: messages come twice, out of order, or not
 * at all inside a connection, which no stream does and an engine must survive.
 *
 * Ownership: what is under way is freed with the queue, the rest by net_fini().
 */
#ifndef TESTS_SIM_NET_H
#define TESTS_SIM_NET_H

#include "shim/base/bytes.h"

struct world;
struct engine_peer;
struct sim_event;

#define LINK_STALL_MS 15000 /* as long as a dead connection takes to be noticed */
#define REPLAYS_KEPT 4

struct parcel {
	unsigned from; /* which end: 0 or 1 */
	size_t size;
	uint8_t bytes[];
};

struct link {
	unsigned ends[2]; /* sites */
	bool cut;
	bool blocked[2]; /* what this end sends */
	bool wild;
	int64_t delay_ms; /* at most */
	/* The connection. */
	bool up;
	uint64_t life; /* grows with each connection */
	struct engine_peer *peers[2];
	int64_t last_ms[2]; /* when the newest message arrives */
	unsigned under_way;
	struct parcel *kept[2][REPLAYS_KEPT]; /* old messages, for replays */
	unsigned kept_count[2];
};

void net_fini(struct world *world);

void net_send(struct world *world, unsigned link, unsigned end, struct bytes message);
void net_deliver(struct world *world, const struct sim_event *event);
/* Connects where both sites run and nothing is in the way. */
void net_try(struct world *world, unsigned link);
void net_break(struct world *world, unsigned link);
void net_stalled(struct world *world, unsigned link, uint64_t life);
/* Of all links of a site: the connections, the messages kept for replays,
 * trying again. */
void net_break_site(struct world *world, unsigned site);
void net_forget(struct world *world, unsigned site);
void net_try_site(struct world *world, unsigned site);
/* Sends an old message of that end once more. */
void net_replay(struct world *world, unsigned link, unsigned end, unsigned which);

#endif
