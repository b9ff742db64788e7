/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/keyrow.h"

/* The visible version is an older row than the newest: that one is an invisible merge. */
static enum err read_visible(struct conn *conn, const struct version *visible, bool with_value,
			     struct arena *arena, struct kv *kv)
{
	uint8_t *room;

	kv->value = bytes_of(NULL, visible->value_bytes);
	if (!with_value)
		return ERR_OK;
	room = arena_alloc(arena, visible->value_bytes + 1u);
	if (!room)
		return fault(ERR_NOMEM, "a value of %u bytes", visible->value_bytes);
	kv->value.data = room;
	return conn_value_read(conn, visible->row, visible->value_bytes, room);
}

enum err keyrow_read(struct conn *conn, const struct index_pair *pair, bool with_value,
		     struct arena *arena, struct apply_row *ret_row)
{
	const struct version *visible = &pair->visible;
	bool live = pair_is_live(pair);
	bool is_newest = live && visible->row == pair->newest.row;
	struct apply_row known = {.found = pair->newest.row, .live = live};
	struct row row;
	enum err e;

	if (!known.found) {
		*ret_row = known;
		return ERR_OK;
	}
	e = conn_row_at(conn, pair->newest.row, with_value && is_newest, arena, &row);
	if (e)
		return e;
	known.merged = row.flags & ROW_MERGED;
	known.meta = row.meta;
	known.newest_revision = row_main(row.rev);
	known.visible_revision = row_main(visible->row);
	if (live)
		known.kv = (struct kv){
			.key = row.key,
			.value = row.value,
			.create_revision = visible->create_revision,
			.mod_revision = row_main(visible->row),
			.version = visible->version,
			.lease = visible->lease,
		};
	if (live && !is_newest)
		e = read_visible(conn, visible, with_value, arena, &known.kv);
	if (!e)
		*ret_row = known;
	return e;
}
