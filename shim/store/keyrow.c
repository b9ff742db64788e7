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
	bool same = visible->row == pair->newest.row; /* else an invisible merge came later */
	struct row row = {.value = bytes_of(NULL, visible->value_bytes)};
	enum err e = ERR_OK;

	if (pair->newest.has_meta)
		e = conn_row_at(conn, pair->newest.row, with_value && same, arena, &row);
	if (!e && known.live && with_value && !(pair->newest.has_meta && same))
		e = read_value(conn, visible, arena, &row.value);
	if (e)
		return e;
	known.meta = row.meta;
	if (known.live)
		known.kv = (struct kv){
			.value = with_value ? row.value : bytes_of(NULL, visible->value_bytes),
			.create_revision = visible->create_revision,
			.mod_revision = row_main(visible->row),
			.version = visible->version,
			.lease = visible->lease,
		};
	*ret_row = known;
	return ERR_OK;
}
