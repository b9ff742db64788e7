/* SPDX-License-Identifier: Apache-2.0 */
/* scalar.h - the few numbers and times of the metadata that merging must compare or count.
 *
 * Columns are WHOLE ones of the metadata; their layout tells the encoding.  Pure. */
#ifndef SYNC_CODEC_SCALAR_H
#define SYNC_CODEC_SCALAR_H

#include "sync/codec/object.h"

/* A number, as itself; a time, as seconds in protobuf and as its text (RFC 3339 in UTC, which is
 * ordered like time) elsewhere, in which case ret_text is not empty.  false: something else. */
bool scalar_read(const struct column_id *id, struct bytes column, int64_t *ret_number,
		 struct bytes *ret_text);

/* Orders two values of one column by what they say; 0 when either says nothing. */
int scalar_compare(const struct column_id *id, struct bytes a, struct bytes b);

/* A metadata.generation column with this number, in the encoding of the id's layout. */
bool scalar_put_generation(const struct column_id *id, int64_t generation, struct arena *arena,
			   struct bytes *ret_column);

#endif
