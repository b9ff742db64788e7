/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/keyrow.h"

static enum err read_value(struct conn *conn, const struct version *version, struct arena *arena,
			   struct bytes *ret_value)
{
	uint8_t *room = arena_alloc(arena, version->value_bytes + 1u);
	enum err e;

	if (!room)
		return fault(ERR_NOMEM, "a value of %u bytes", version->value_bytes);
	e = conn_value_read(conn, version->row, version->value_bytes, room);
	if (!e)
		*ret_value = bytes_of(room, version->value_bytes);
	return e;
}

/* The meta, and maybe the value with it, which costs little beside; data is NULL where not. */
static enum err read_meta(struct conn *conn, const struct version *version, bool with_value,
			  struct arena *arena, struct row *row)
{
	if (conn->values && value_cache_copy(conn->values, ~version->row, arena, &row->meta))
		return ERR_OK;
	return conn_row_at(conn, version->row, with_value, arena, row);
}

/* A row without meta, of a key that is not alive, is not looked at: it may have been swept. */
enum err keyrow_read(struct conn *conn, const struct index_pair *pair, bool with_value,
		     struct arena *arena, struct apply_row *ret_row)
{
	const struct version *visible = &pair->visible;
	struct apply_row known = {
		.found = pair->newest.row,
		.merged = pair->newest.merged,
		.live = pair_is_live(pair),
		.newest_revision = row_main(pair->newest.row),
		.visible_revision = row_main(visible->row),
	};
	/* Else an invisible merge came later, which has the meta and no value. */
	bool same = known.live && visible->row == pair->newest.row;
	struct row row = {0};
	enum err e = ERR_OK;

	if (pair->newest.has_meta)
		e = read_meta(conn, &pair->newest, with_value && same, arena, &row);
	known.meta = row.meta;
	if (known.live)
		known.kv = (struct kv){
			.value = bytes_of(same ? row.value.data : NULL, visible->value_bytes),
			.create_revision = visible->create_revision,
			.mod_revision = row_main(visible->row),
			.version = visible->version,
			.lease = visible->lease,
		};
	if (!e && known.live && with_value && !known.kv.value.data)
		e = read_value(conn, visible, arena, &known.kv.value);
	if (!e)
		*ret_row = known;
	return e;
}
