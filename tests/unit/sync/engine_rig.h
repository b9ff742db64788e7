/* SPDX-License-Identifier: Apache-2.0 */
/* engine_rig.h - whole sites in one process: the real store, its writer on this thread, the engine,
 * and links that deliver in order.  Faults are the simulator's (tests/sim). */
#ifndef TESTS_UNIT_SYNC_ENGINE_RIG_H
#define TESTS_UNIT_SYNC_ENGINE_RIG_H

#include "sync/engine/engine.h"

#define RIG_SITES_MAX 6
#define RIG_LINKS_MAX 16

struct rig_message {
	struct rig_message *next;
	size_t size;
	uint8_t bytes[];
};

struct rig_site {
	struct engine_rig *rig;
	size_t number;
	char dir[256];
	bool is_synced;
	struct engine_config config;
	struct store *store;
	struct store_reader *reader;
	struct stamper *stamper;
	struct engine *engine;
	struct op *done[64]; /* ops of the engine that the store has finished */
	size_t done_count;
	uint8_t witness[256];
	size_t witness_bytes;
	unsigned notices[NOTICE_KINDS];
	char disk[32];
};

struct rig_link { /* one direction of a connection */
	struct rig_site *from;
	struct rig_site *to;
	struct engine_peer *peer; /* as the sender knows the receiver */
	struct rig_link *back;
	struct rig_message *first;
	struct rig_message **last;
	bool up;
};

struct engine_rig {
	struct rules *rules;
	struct rig_site sites[RIG_SITES_MAX];
	size_t site_count;
	struct rig_link links[RIG_LINKS_MAX];
	size_t link_count;
	int64_t now_ms;
	uint64_t bytes; /* on all links */
	uint64_t messages;
};

void rig_new(struct engine_rig *rig, size_t sites, bool star); /* in memory */
/* On a folder's disk, with fsync. */
void rig_new_in(struct engine_rig *rig, size_t sites, bool star, const char *folder);
void rig_free(struct engine_rig *rig);
void rig_stop(struct rig_site *site);
void rig_start(struct rig_site *site);
void rig_connect(struct engine_rig *rig, size_t a, size_t b);
void rig_disconnect(struct engine_rig *rig, size_t a, size_t b);
/* Until nobody has anything to say; fails the test when that does not come. */
void rig_settle(struct engine_rig *rig);
/* A client's writes, unconditional. */
void rig_put(struct rig_site *site, const char *key, const char *value);
void rig_delete(struct rig_site *site, const char *key);
/* The value that a client reads; NULL: none.  Valid until the next call. */
const char *rig_get(struct rig_site *site, const char *key);
void rig_compact(struct rig_site *site);
/* All sites show the same, and their states are the same. */
void rig_expect_equal(struct engine_rig *rig);

#endif
