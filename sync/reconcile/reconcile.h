/* SPDX-License-Identifier: Apache-2.0 */
/* reconcile.h - finds the keys in which two sites differ, with few bytes, by comparing ranges.
 *
 * One side asks, the other answers; messages go back and forth until the asker has nothing more to
 * ask.  A message cuts the key space into ranges in order.  A range is agreed upon, or it carries a
 * fingerprint (the sum of its hashes and their number), which the receiver answers with the
 * fingerprints of its parts when it has another one; small ranges are sent as lists of keys with
 * short hashes; a list that reaches the answerer comes back as the list of what differs.
 *
 * The answerer keeps nothing between messages.  Both must keep their sequence, which stands for a
 * pinned revision.  The asker hears of each differing key, in any order, and for each whether the
 * key is at one side only; when it is told that it is done, it has heard of all.  It hears of a key
 * again only where a message was cut short behind it, because the fingerprint of what is left may
 * take in ranges that were looked at before; from left to right each message ends some of them.
 *
 * Fingerprints and hashes are 8 bytes on the wire and depend on a nonce of the session, so that a
 * coincidence (1 in 2^64) would not be there again at the next comparison.
 *
 * Ownership: everything is borrowed during the call.  Pure; the nonce is given.
 * Errors: MALFORMED for a message that no peer sends, such as one about keys outside the range;
 * NOMEM (a fault).
 * Limits: a message that has reached bytes_max ends there, with one fingerprint for all that is
 * left, so it is larger by one list or one range's parts at most. */
#ifndef SYNC_RECONCILE_RECONCILE_H
#define SYNC_RECONCILE_RECONCILE_H

#include "shim/base/buffer.h"
#include "sync/reconcile/sequence.h"

enum difference { DIFFERENCE_HERE_ONLY, DIFFERENCE_THERE_ONLY, DIFFERENCE_BOTH };

struct reconcile {
	const struct sequence *sequence;
	struct bytes low;  /* the range [low, high); both sides have the same */
	struct bytes high; /* empty: no end */
	uint64_t nonce;
	size_t bytes_max;
	bool asks;
	/* The key is valid during the call. */
	void (*on_difference)(void *context, struct bytes key, enum difference difference);
	void *context;
};

/* The first message, by the side that asks. */
enum err reconcile_start(const struct reconcile *reconcile, struct buffer *message);

/* What to send for a message; the asker is done when ret_done is set, and sends nothing. */
enum err reconcile_step(const struct reconcile *reconcile, struct bytes message,
			struct buffer *answer, bool *ret_done);

#endif
