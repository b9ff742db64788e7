/* SPDX-License-Identifier: Apache-2.0 */
/* apply.c - what a function of sync may do on the writer; state.c has the state records. */
#include "shim/store/batch.h"

#include "shim/store/keyrow.h"

#include <assert.h>

enum err apply_get(struct apply *apply, struct bytes key, struct apply_row *ret_row)
{
	struct batch *batch = apply->batch;
	struct index_pair pair = index_pair(batch->store->index, key, INT64_MAX);

	struct apply_row row;
	enum err e = keyrow_read(batch->conn, &pair, true, &batch->reads, &row);

	if (!e && row.live && !arena_copy(&batch->reads, key, &row.kv.key))
		e = fault(ERR_NOMEM, "a key of %zu bytes", key.size);
	if (!e)
		*ret_row = row;
	return e;
}

static enum err apply_write(struct apply *apply, struct row_write write)
{
	struct arena *scratch = &apply->batch->scratch;

	assert(!apply->in_hook);
	if (!arena_copy(scratch, write.key, &write.key) ||
	    !arena_copy(scratch, write.value, &write.value))
		return fault(ERR_NOMEM, "a row of %zu bytes", write.value.size);
	write.merged = true;
	write.has_meta = true;
	return batch_write(apply->batch, &write);
}

enum err apply_put(struct apply *apply, const struct kv *kv, struct bytes meta, bool visible)
{
	return apply_write(apply,
			   (struct row_write){.key = kv->key,
					      .value = visible ? kv->value : bytes_of(NULL, 0),
					      .lease = kv->lease,
					      .invisible = !visible,
					      .meta = meta});
}

enum err apply_delete(struct apply *apply, struct bytes key, struct bytes meta, bool visible)
{
	return apply_write(
		apply, (struct row_write){
			       .key = key, .tombstone = true, .invisible = !visible, .meta = meta});
}

int64_t apply_revision(const struct apply *apply)
{
	return apply->batch->head + 1;
}

enum err apply_next_revision(struct apply *apply)
{
	assert(!apply->in_hook);
	return batch_end_revision(apply->batch);
}

enum err batch_apply(struct batch *batch, apply_fn *fn, void *context)
{
	struct apply apply = {.batch = batch};
	enum err e = fn(&apply, context);

	batch_forget_reads(batch);
	return batch->failed ? batch->failed : e;
}
