/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/causal/hlc.h"

#include <assert.h>

#define COUNTER_MAX ((UINT64_C(1) << HLC_COUNTER_BITS) - 1)

static hlc_stamp first_of(int64_t wall_ms)
{
	return (hlc_stamp)wall_ms << HLC_COUNTER_BITS;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t legal(int64_t wall_ms)
{
	if (wall_ms < 0)
		return 0;
	return wall_ms > HLC_WALL_MS_MAX ? HLC_WALL_MS_MAX : wall_ms;
}

void hlc_init(struct hlc *hlc, int64_t ceiling_ms)
{
	/* Every stamp up to the ceiling may have been given before the restart. */
	*hlc = (struct hlc){
		.last = ceiling_ms ? first_of(legal(ceiling_ms)) | COUNTER_MAX : 0,
		.ceiling_ms = legal(ceiling_ms),
	};
}

int64_t hlc_ceiling_wanted(const struct hlc *hlc, int64_t wall_ms)
{
	int64_t now = larger(legal(wall_ms), hlc_wall_ms(hlc->last));

	if (hlc->ceiling_ms - now > HLC_CEILING_STEP_MS / 2)
		return hlc->ceiling_ms;
	return legal(now + HLC_CEILING_STEP_MS);
}

void hlc_ceiling_stored(struct hlc *hlc, int64_t ceiling_ms)
{
	assert(ceiling_ms >= hlc->ceiling_ms);
	hlc->ceiling_ms = legal(ceiling_ms);
}

bool hlc_next(struct hlc *hlc, int64_t wall_ms, hlc_stamp *ret_stamp)
{
	hlc_stamp next = first_of(legal(wall_ms));

	/* One more than the last carries from a full counter into the milliseconds by itself. */
	if (next <= hlc->last)
		next = hlc->last + 1;
	/* At the end of time (next is 0) there is no higher stamp to give. */
	if (next <= hlc->last || !hlc->ceiling_ms || hlc_wall_ms(next) > hlc->ceiling_ms)
		return false;
	hlc->last = next;
	*ret_stamp = next;
	return true;
}

enum hlc_verdict hlc_receive(struct hlc *hlc, int64_t wall_ms, hlc_stamp stamp)
{
	int64_t wall = legal(wall_ms);

	if (stamp <= hlc->last)
		return HLC_ADOPTED;
	if (!wall || hlc_wall_ms(hlc->last) - wall > HLC_SKEW_MS_MAX)
		return HLC_UNJUDGED;
	if (hlc_wall_ms(stamp) - wall > HLC_SKEW_MS_MAX)
		return HLC_AHEAD;
	hlc->last = stamp;
	return HLC_ADOPTED;
}
