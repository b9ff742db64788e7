/* SPDX-License-Identifier: Apache-2.0 */
/* hlc.h - the hybrid logical clock: stamps that follow both the wall clock and causality.
 *
 * A stamp is 48 bits of wall milliseconds and 16 bits of counter.  Stamps only break ties between
 * writes that did not know of each other and that no rule ranks; they decide nothing else, so a
 * wrong clock costs a tie and never data.
 *
 * No clock is read here: the wall time is given, 0 where the device does not know it.
 * The ceiling is what the disk has promised: no stamp is above it, and after a restart the clock
 * starts at it.  So stamps never go back, even when the device wakes up in 1970.
 * Skew guard: a stamp from a peer more than HLC_SKEW_MS_MAX ahead of the wall is not adopted; its
 * data is, and the caller reports the peer's clock.  Where the wall is not known, or is so far
 * behind the last stamp that this device's clock must be the wrong one, nobody is judged and
 * nothing adopted: else a peer could push the clock on for ever, one allowed step at a time.
 * Values, no ownership; one thread at a time. */
#ifndef SYNC_CAUSAL_HLC_H
#define SYNC_CAUSAL_HLC_H

#include "sync/limits.h"

#include <stdbool.h>
#include <stdint.h>

#define HLC_COUNTER_BITS 16
#define HLC_WALL_MS_MAX ((INT64_C(1) << 48) - 1)

typedef uint64_t hlc_stamp;

struct hlc {
	hlc_stamp last;	    /* newest stamp given or adopted */
	int64_t ceiling_ms; /* stamps up to the end of this millisecond may be given; 0: none */
};

/* ceiling_ms: what was stored last, 0 at the first start. */
void hlc_init(struct hlc *hlc, int64_t ceiling_ms);

/* The ceiling to store next: what it is now while that is far enough away, else a higher one. */
int64_t hlc_ceiling_wanted(const struct hlc *hlc, int64_t wall_ms);
/* Called once the ceiling is durable, or in the transaction that makes it so. */
void hlc_ceiling_stored(struct hlc *hlc, int64_t ceiling_ms);

/* A stamp above all that were given or adopted.  false: a higher ceiling must be stored first. */
bool hlc_next(struct hlc *hlc, int64_t wall_ms, hlc_stamp *ret_stamp);
enum hlc_verdict {
	HLC_ADOPTED,  /* stamps given from now on are above it */
	HLC_AHEAD,    /* the peer's clock is wrong */
	HLC_UNJUDGED, /* ours may be */
};

/* Takes note of a peer's stamp. */
enum hlc_verdict hlc_receive(struct hlc *hlc, int64_t wall_ms, hlc_stamp stamp);

static inline int64_t hlc_wall_ms(hlc_stamp stamp)
{
	return (int64_t)(stamp >> HLC_COUNTER_BITS);
}

#endif
