/* SPDX-License-Identifier: Apache-2.0 */
/* asking.h - a comparison that this site asks for, as its two files know it: ask.c opens it and
 * finds what differs, ask_pages.c fetches that and ends it. */
#ifndef SYNC_ENGINE_ASKING_H
#define SYNC_ENGINE_ASKING_H

#include "sync/engine/snapshot.h"

struct asking {
	struct engine *engine;
	struct engine_peer *peer;
	enum group group;
	uint64_t session;
	uint64_t nonce;
	struct snapshot *mine;
	struct vector theirs; /* pinned */
	int64_t revision;     /* of the peer's log */
	uint32_t incarnation;
	bool is_compared;
	bool is_ending;
	struct arena arena; /* of the keys */
	struct bytes *keys; /* to be fetched; ascending up to `sorted` */
	size_t count;
	size_t capacity;
	size_t asked;
	unsigned pages; /* asked for or in jobs */
	size_t late;
	int64_t moved_ms;
};

/* Fetches what is left, or ends the comparison. */
void asking_go_on(struct asking *asking);
/* Lets go of it, to try again from the start; a fault ends the engine. */
void asking_give_up(struct engine *engine, enum err e);
enum err asking_want(struct asking *asking, struct bytes key);

#endif
