/* SPDX-License-Identifier: Apache-2.0 */
/* apply.c - the batch of sync: a function that runs on the writer inside the transaction.
 *
 * All rows of one call share one revision.  A function that fails leaves nothing: its rows go back
 * with a savepoint, which also covers the state it set. */
#include "shim/store/batch.h"

struct apply {
	struct batch *batch;
};

enum err apply_get(struct apply *apply, struct bytes key, struct apply_row *ret_row)
{
	const struct version *newest = index_newest(apply->batch->store->index, key);

	if (!newest) {
		*ret_row = (struct apply_row){0};
		return ERR_OK;
	}
	return batch_row(apply->batch, newest->row, ret_row);
}

static enum err apply_write(struct apply *apply, struct row_write write)
{
	struct arena *scratch = &apply->batch->scratch;

	if (!arena_copy(scratch, write.key, &write.key) ||
	    !arena_copy(scratch, write.value, &write.value))
		return fault(ERR_NOMEM, "a row of %zu bytes", write.value.size);
	write.has_meta = true;
	return batch_write(apply->batch, &write);
}

enum err apply_put(struct apply *apply, const struct kv *kv, struct bytes meta, bool visible)
{
	return apply_write(apply, (struct row_write){.key = kv->key,
						     .value = kv->value,
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

enum err apply_set_state(struct apply *apply, struct bytes name, struct bytes value)
{
	struct conn *conn = apply->batch->conn;
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_STATE_SET);

	if (stmt) {
		sqlite3_bind_blob64(stmt, 1, name.size ? (const void *)name.data : "", name.size,
				    SQLITE_STATIC);
		sqlite3_bind_blob64(stmt, 2, value.size ? (const void *)value.data : "", value.size,
				    SQLITE_STATIC);
	}
	return batch_broken(apply->batch, conn_run(conn, stmt));
}

enum err batch_apply(struct batch *batch, apply_fn *fn, void *context)
{
	struct apply apply = {.batch = batch};
	enum err e = batch_broken(batch, conn_do(batch->conn, STMT_APPLY_BEGIN));

	if (e)
		return e;
	e = fn(&apply, context);
	if (batch->failed)
		return batch->failed;
	if (e)
		batch_broken(batch, conn_do(batch->conn, STMT_APPLY_UNDO));
	batch_broken(batch, conn_do(batch->conn, STMT_APPLY_END));
	return batch->failed ? batch->failed : e;
}
