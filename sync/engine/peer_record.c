/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/peer_record.h"

#include "sync/wire.h"

#define POINTS_DENSE (POINTS_MAX / 2)

void peer_record_point(struct peer_record *record, struct chain_point point)
{
	size_t kept = POINTS_DENSE;

	if (record->point_count && record->points[0].revision >= point.revision)
		return;
	if (record->point_count ==
	    POINTS_MAX) { /* every second of the older half stays, the oldest too */
		for (size_t i = POINTS_DENSE + 1; i < POINTS_MAX; i += 2)
			record->points[kept++] = record->points[i];
		record->point_count = kept;
	}
	memmove(record->points + 1, record->points, record->point_count * sizeof(*record->points));
	record->points[0] = point;
	record->point_count++;
}

bool peer_record_encode(const struct peer_record *record, struct buffer *buffer)
{
	bool fits = buffer_append(buffer, bytes_of(record->site.bytes, SITE_BYTES)) &&
		    wire_put_number(buffer, record->incarnation);

	for (int group = 0; fits && group < GROUPS; group++)
		fits = wire_put_number(buffer, (uint64_t)record->cursors[group]) &&
		       wire_put_number(buffer, (uint64_t)record->acked[group]);
	for (size_t i = 0; fits && i < record->point_count; i++)
		fits = wire_put_number(buffer, (uint64_t)record->points[i].revision) &&
		       buffer_append(buffer, bytes_of(&record->points[i].hash, CHAIN_BYTES));
	return fits;
}

static bool take_revision(struct wire *wire, int64_t *ret_revision)
{
	uint64_t revision;

	if (!wire_take_number(wire, REV_MAIN_MAX, &revision))
		return false;
	*ret_revision = (int64_t)revision;
	return true;
}

bool peer_record_decode(struct bytes bytes, struct peer_record *ret_record)
{
	struct wire wire = wire_of(bytes);
	struct peer_record record = {.point_count = 0};
	struct bytes site, hash;
	uint64_t incarnation;

	if (!wire_take_fixed(&wire, SITE_BYTES, &site) ||
	    !wire_take_number(&wire, UINT32_MAX, &incarnation))
		return false;
	memcpy(record.site.bytes, site.data, SITE_BYTES);
	record.incarnation = (uint32_t)incarnation;
	for (int group = 0; group < GROUPS; group++)
		if (!take_revision(&wire, &record.cursors[group]) ||
		    !take_revision(&wire, &record.acked[group]))
			return false;
	while (wire_left(&wire)) {
		struct chain_point *point = &record.points[record.point_count];

		if (record.point_count == POINTS_MAX || !take_revision(&wire, &point->revision) ||
		    !wire_take_fixed(&wire, CHAIN_BYTES, &hash))
			return false;
		memcpy(&point->hash, hash.data, CHAIN_BYTES);
		record.point_count++;
	}
	*ret_record = record;
	return true;
}
