/* SPDX-License-Identifier: Apache-2.0 */
/* peer_record.h - what a site durably knows of another: how far into its log it is, and points of
 * that log by which it recognises it again.
 *
 * A cursor of 0 says that states must be compared.  Points are newest first; older ones are kept
 * ever more thinly.  Values. */
#ifndef SYNC_ENGINE_PEER_RECORD_H
#define SYNC_ENGINE_PEER_RECORD_H

#include "shim/base/buffer.h"
#include "sync/message/message.h"

struct peer_record {
	struct site site;
	uint32_t incarnation; /* of the peer, when the cursors were taken */
	int64_t cursors[GROUPS];
	int64_t acked[GROUPS]; /* how far it is into our log; a hint for what may be swept */
	struct chain_point points[POINTS_MAX];
	size_t point_count;
};

void peer_record_point(struct peer_record *record, struct chain_point point);
bool peer_record_encode(const struct peer_record *record, struct buffer *buffer);
bool peer_record_decode(struct bytes bytes, struct peer_record *ret_record);

#endif
