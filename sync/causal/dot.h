/* SPDX-License-Identifier: Apache-2.0 */
/* dot.h - who wrote what: the name of one client write.
 *
 * A site is 16 random bytes made at its first start.  Its incarnation grows when its history may
 * have been rolled back or copied, so that no number is given out twice.  Both together are an
 * actor.  The revision is the site's own etcd revision of the transaction that wrote; all keys of
 * one transaction share it, and (dot, key) is unique.  Merges take revisions of a site too, but are
 * no writes: what they bring in keeps the dots it came with.
 *
 * Values, no ownership.  The order is by site, incarnation, revision and is the same everywhere. */
#ifndef SYNC_CAUSAL_DOT_H
#define SYNC_CAUSAL_DOT_H

#include "shim/base/buffer.h"
#include "sync/limits.h"
#include "sync/wire.h"

struct site {
	uint8_t bytes[SITE_BYTES];
};

struct actor {
	struct site site;
	uint32_t incarnation;
};

struct dot {
	struct actor actor;
	int64_t revision; /* 1 .. REV_MAIN_MAX */
};

static inline int actor_compare(const struct actor *a, const struct actor *b)
{
	int order = memcmp(a->site.bytes, b->site.bytes, SITE_BYTES);

	if (order)
		return order;
	return a->incarnation < b->incarnation ? -1 : a->incarnation > b->incarnation;
}

static inline int dot_compare(const struct dot *a, const struct dot *b)
{
	int order = actor_compare(&a->actor, &b->actor);

	if (order)
		return order;
	return a->revision < b->revision ? -1 : a->revision > b->revision;
}

static inline bool dot_equal(const struct dot *a, const struct dot *b)
{
	return !dot_compare(a, b);
}

/* Site and incarnation in full: 17 bytes and more. */
bool actor_put(struct buffer *buffer, const struct actor *actor);
bool actor_take(struct wire *wire, struct actor *ret_actor);

#endif
