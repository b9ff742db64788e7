/* SPDX-License-Identifier: Apache-2.0 */
/* decode.c - from the wire without copies.  Plain fields stand in tables by their number in
 * api/proto/sync.proto; what repeats is counted before memory is taken. */
#include "sync/message/decode.h"

/* --- hello ------------------------------------------------------------------------------------ */

static bool take_versions(struct decoding *decoding, struct bytes run, void *into)
{
	static const struct plain table[] = {
		[1] = {PLAIN_BYTES, AT(storage_versions, prefix), 0},
	};
	static const struct repeated api_versions = {2, MESSAGE_API_VERSIONS_MAX,
						     sizeof(struct bytes), take_run};
	struct storage_versions *versions = into;

	return TAKE_PLAIN(decoding, run, table, versions) &&
	       take_repeated(decoding, run, &api_versions, &versions->api_versions,
			     &versions->count);
}

struct group_state {
	unsigned group;
	struct bytes vector;
	int64_t cursor;
};

/* Groups that only a newer site knows are skipped: it hears that this one has nothing of them. */
static bool take_groups(struct decoding *decoding, struct bytes message, struct hello *hello)
{
	static const struct plain table[] = {
		[1] = {PLAIN_ENUM_OPEN, AT(group_state, group), GROUPS},
		[2] = {PLAIN_BYTES, AT(group_state, vector), 0},
		[3] = {PLAIN_REVISION, AT(group_state, cursor), 0},
	};
	struct reader reader = reader_of(message);
	bool seen[GROUPS] = {false};
	struct bytes run;

	while (next_run(&reader, 8, &run)) {
		struct group_state state = {0};

		if (!TAKE_PLAIN(decoding, run, table, &state))
			return false;
		if (state.group == GROUPS)
			continue;
		if (seen[state.group])
			return decode_malformed(decoding);
		seen[state.group] = true;
		hello->cursors[state.group] = state.cursor;
		if (!take_vector(decoding, state.vector, &hello->vectors[state.group]))
			return false;
	}
	return true;
}

static bool take_hello(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct plain table[] = {
		[1] = {PLAIN_U32, AT(hello, protocol), 0},
		[2] = {PLAIN_U32, AT(hello, layout), 0},
		[3] = {PLAIN_ARRAY, AT(hello, cluster), SITE_BYTES},
		[5] = {PLAIN_FIXED64, AT(hello, nonce), 0},
		[6] = {PLAIN_REVISION, AT(hello, head), 0},
		[7] = {PLAIN_I64, AT(hello, wall_ms), 0},
		[9] = {PLAIN_U32, AT(hello, cursor_incarnation), 0},
		[12] = {PLAIN_ARRAY, AT(hello, rules_hash), RULES_HASH_BYTES},
		[15] = {PLAIN_U32, AT(hello, window_bytes_max), 0},
		[16] = {PLAIN_BOOL, AT(hello, is_hub), 0},
		[18] = {PLAIN_BOOL, AT(hello, is_answer), 0},
	};
	static const struct repeated points = {10, MESSAGE_POINTS_MAX, sizeof(struct chain_point),
					       take_point};
	static const struct repeated coverage = {11, MESSAGE_RANGES_MAX, sizeof(struct key_range),
						 take_range};
	static const struct repeated versions = {13, MESSAGE_VERSIONS_MAX,
						 sizeof(struct storage_versions), take_versions};
	static const struct repeated key_ids = {14, MESSAGE_KEY_IDS_MAX, sizeof(struct bytes),
						take_run};
	static const struct repeated clouds = {17, PEERS_MAX, sizeof(struct site), take_site};
	struct hello *hello = into;

	return TAKE_PLAIN(decoding, message, table, hello) &&
	       take_actor(decoding, last_run(message, 4), &hello->self) &&
	       take_groups(decoding, message, hello) &&
	       take_repeated(decoding, message, &points, &hello->points, &hello->point_count) &&
	       take_repeated(decoding, message, &coverage, &hello->coverage,
			     &hello->coverage_count) &&
	       take_repeated(decoding, message, &versions, &hello->versions,
			     &hello->version_count) &&
	       take_repeated(decoding, message, &key_ids, &hello->key_ids, &hello->key_id_count) &&
	       take_repeated(decoding, message, &clouds, &hello->clouds, &hello->cloud_count);
}

/* --- entries ---------------------------------------------------------------------------------- */

/* A varint ends with a byte below 0x80. */
static size_t count_varints(struct bytes run)
{
	size_t count = 0;

	for (size_t i = 0; i < run.size; i++)
		count += run.data[i] < 0x80;
	return count;
}

static bool take_touch(struct decoding *decoding, struct wire *wire, int64_t *before,
		       struct dot *ret_dot)
{
	uint64_t actor, step;

	if (!wire_take_number(wire, decoding->actor_count - 1, &actor) ||
	    !wire_take_number(wire, 2 * (uint64_t)REV_MAIN_MAX + 1, &step))
		return decode_malformed(decoding);
	*before += (int64_t)(step >> 1) ^ -(int64_t)(step & 1);
	if (*before < 1 || *before > REV_MAIN_MAX)
		return decode_malformed(decoding);
	*ret_dot = (struct dot){decoding->actors[actor], *before};
	return true;
}

static bool take_touches(struct decoding *decoding, struct bytes run, struct entry *entry)
{
	size_t numbers = count_varints(run);
	struct wire wire = wire_of(run);
	int64_t before = entry->revision;

	if (!run.size)
		return true;
	if (numbers % 2 || numbers / 2 > decoding->touches_left || !decoding->actor_count)
		return decode_malformed(decoding);
	entry->touch_count = numbers / 2;
	decoding->touches_left -= entry->touch_count;
	entry->touches = arena_calloc(decoding->arena, entry->touch_count, sizeof(*entry->touches));
	if (!entry->touches)
		return decode_failed(decoding,
				     fault(ERR_NOMEM, "%zu dots of a message", entry->touch_count));
	for (size_t i = 0; i < entry->touch_count; i++)
		if (!take_touch(decoding, &wire, &before, &entry->touches[i]))
			return false;
	return !wire_left(&wire) || decode_malformed(decoding);
}

static bool take_claims(struct decoding *decoding, struct bytes run, struct entry *entry)
{
	size_t count = count_varints(run);
	struct wire wire = wire_of(run);
	uint64_t number;

	if (!run.size)
		return true;
	if (count > decoding->touches_left || !decoding->claim_count)
		return decode_malformed(decoding);
	decoding->touches_left -= count;
	entry->claims = arena_calloc(decoding->arena, count, sizeof(*entry->claims));
	if (!entry->claims)
		return decode_failed(decoding, fault(ERR_NOMEM, "%zu claims of a message", count));
	while (entry->claim_count < count) {
		if (!wire_take_number(&wire, decoding->claim_count - 1, &number))
			return decode_malformed(decoding);
		entry->claims[entry->claim_count++] = decoding->claims[number].id;
	}
	return !wire_left(&wire) || decode_malformed(decoding);
}

/* The value in its one form: live keys have one, others none. */
static bool take_value(struct decoding *decoding, struct bytes message, struct entry *entry)
{
	static const struct plain table[] = {
		[1] = {PLAIN_FIXED64, AT(entry, base_digest), 0},
		[2] = {PLAIN_BYTES, AT(entry, value), 0},
	};
	struct reader reader = reader_of(message);
	struct bytes delta = {0};
	struct field field;
	unsigned forms = 0;

	while (reader_next(&reader, &field)) {
		if ((field.number != 4 && field.number != 5) || field.type != FIELD_BYTES)
			continue;
		forms++;
		entry->is_delta = field.number == 5;
		*(entry->is_delta ? &delta : &entry->value) = field.bytes;
	}
	if (forms != entry->live)
		return decode_malformed(decoding);
	return !entry->is_delta || TAKE_PLAIN(decoding, delta, table, entry);
}

static bool take_entry(struct decoding *decoding, struct bytes message, void *into)
{
	struct wire_entry {
		struct entry entry;
		struct bytes touches;
		struct bytes claims;
	} wire_entry = {0};
	static const struct plain table[] = {
		[1] = {PLAIN_BYTES, AT(entry, key), 0},
		[2] = {PLAIN_BOOL, AT(entry, live), 0},
		[3] = {PLAIN_BYTES, AT(entry, meta), 0},
		[6] = {PLAIN_FIXED64, AT(entry, value_digest), 0},
		[7] = {PLAIN_REVISION, AT(entry, revision), 0},
		[8] = {PLAIN_BOOL, AT(entry, wildcard), 0},
		[9] = {PLAIN_BYTES, AT(wire_entry, touches), 0},
		[10] = {PLAIN_BYTES, AT(wire_entry, claims), 0},
	};

	if (!TAKE_PLAIN(decoding, message, table, &wire_entry) ||
	    !take_value(decoding, message, &wire_entry.entry) ||
	    !take_touches(decoding, wire_entry.touches, &wire_entry.entry) ||
	    !take_claims(decoding, wire_entry.claims, &wire_entry.entry))
		return false;
	memcpy(into, &wire_entry.entry, sizeof(wire_entry.entry));
	return true;
}

/* --- windows ---------------------------------------------------------------------------------- */

static bool take_claim(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct plain table[] = {[1] = {PLAIN_FIXED64, AT(claim, id), 0}};
	struct claim *claim = into;

	return TAKE_PLAIN(decoding, message, table, claim) &&
	       take_vector(decoding, last_run(message, 2), &claim->vector);
}

/* For the entries, which name them. */
static bool take_table(struct decoding *decoding, struct bytes message, unsigned number,
		       struct claim **ret_claims, size_t *ret_count)
{
	const struct repeated claims = {number, CLAIMS_MAX, sizeof(struct claim), take_claim};
	bool taken = take_repeated(decoding, message, &claims, ret_claims, ret_count);

	decoding->claims = *ret_claims;
	decoding->claim_count = *ret_count;
	return taken;
}

static bool take_window(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct plain table[] = {
		[1] = {PLAIN_ENUM, AT(window, group), GROUPS - 1},
		[2] = {PLAIN_U32, AT(window, incarnation), 0},
		[3] = {PLAIN_REVISION, AT(window, from), 0},
		[4] = {PLAIN_REVISION, AT(window, to), 0},
		[6] = {PLAIN_BOOL, AT(window, delta_is_whole), 0},
		[7] = {PLAIN_FIXED64, AT(window, chain), 0},
		[8] = {PLAIN_BOOL, AT(window, more), 0},
		[9] = {PLAIN_U32, AT(window, part), 0},
		[10] = {PLAIN_REVISION, AT(window, barrier), 0},
	};
	static const struct repeated actors = {11, VECTOR_ACTORS_MAX, sizeof(struct actor),
					       take_actor};
	static const struct repeated entries = {12, MESSAGE_ENTRIES_MAX, sizeof(struct entry),
						take_entry};
	struct window *window = into;

	return TAKE_PLAIN(decoding, message, table, window) &&
	       take_vector(decoding, last_run(message, 5), &window->delta) &&
	       take_repeated(decoding, message, &actors, &decoding->actors,
			     &decoding->actor_count) &&
	       take_table(decoding, message, 13, &window->claims, &window->claim_count) &&
	       take_repeated(decoding, message, &entries, &window->entries, &window->entry_count);
}

static bool take_ack(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct plain table[] = {
		[1] = {PLAIN_ENUM, AT(ack, group), GROUPS - 1},
		[2] = {PLAIN_U32, AT(ack, incarnation), 0},
		[3] = {PLAIN_REVISION, AT(ack, cursor), 0},
		[5] = {PLAIN_U64, AT(ack, credit_bytes), 0},
	};
	struct ack *ack = into;

	return TAKE_PLAIN(decoding, message, table, ack) &&
	       take_vector(decoding, last_run(message, 4), &ack->delta);
}

/* --- the rest --------------------------------------------------------------------------------- */

static bool take_retry(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct plain table[] = {
		[1] = {PLAIN_ENUM, AT(retry, group), GROUPS - 1},
		[2] = {PLAIN_ENUM, AT(retry, reason), RETRY_OUT_OF_ORDER},
		[3] = {PLAIN_REVISION, AT(retry, cursor), 0},
	};

	return TAKE_PLAIN(decoding, message, table, into);
}

static bool take_session_open(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct plain table[] = {
		[1] = {PLAIN_U64, AT(session_open, session), 0},
		[2] = {PLAIN_ENUM, AT(session_open, group), GROUPS - 1},
		[3] = {PLAIN_FIXED64, AT(session_open, nonce), 0},
	};
	struct session_open *open = into;

	return TAKE_PLAIN(decoding, message, table, open) &&
	       take_range(decoding, last_run(message, 4), &open->range);
}

static bool take_session_opened(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct plain table[] = {
		[1] = {PLAIN_U64, AT(session_opened, session), 0},
		[2] = {PLAIN_U32, AT(session_opened, incarnation), 0},
		[3] = {PLAIN_REVISION, AT(session_opened, revision), 0},
		[5] = {PLAIN_FIXED64, AT(session_opened, chain), 0},
		[6] = {PLAIN_U64, AT(session_opened, key_count), 0},
		[7] = {PLAIN_ARRAY, AT(session_opened, root), STATE_HASH_BYTES},
	};
	struct session_opened *opened = into;

	return TAKE_PLAIN(decoding, message, table, opened) &&
	       take_vector(decoding, last_run(message, 4), &opened->vector);
}

static bool take_session_compare(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct plain table[] = {
		[1] = {PLAIN_U64, AT(session_compare, session), 0},
		[2] = {PLAIN_BYTES, AT(session_compare, body), 0},
	};

	return TAKE_PLAIN(decoding, message, table, into);
}

static bool take_session_fetch(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct plain table[] = {[1] = {PLAIN_U64, AT(session_fetch, session), 0}};
	static const struct repeated keys = {2, MESSAGE_KEYS_MAX, sizeof(struct bytes), take_run};
	struct session_fetch *fetch = into;

	return TAKE_PLAIN(decoding, message, table, fetch) &&
	       take_repeated(decoding, message, &keys, &fetch->keys, &fetch->key_count);
}

static bool take_session_page(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct plain table[] = {[1] = {PLAIN_U64, AT(session_page, session), 0}};
	static const struct repeated entries = {2, MESSAGE_ENTRIES_MAX, sizeof(struct entry),
						take_entry};
	struct session_page *page = into;

	return TAKE_PLAIN(decoding, message, table, page) &&
	       take_table(decoding, message, 3, &page->claims, &page->claim_count) &&
	       take_repeated(decoding, message, &entries, &page->entries, &page->entry_count);
}

static bool take_session_close(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct plain table[] = {[1] = {PLAIN_U64, AT(session_close, session), 0}};

	return TAKE_PLAIN(decoding, message, table, into);
}

static bool take_evict(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct repeated ranges = {1, MESSAGE_RANGES_MAX, sizeof(struct key_range),
					       take_range};
	struct evict *evict = into;

	return take_repeated(decoding, message, &ranges, &evict->ranges, &evict->range_count);
}

static bool take_refuse(struct decoding *decoding, struct bytes message, void *into)
{
	static const struct plain table[] = {
		[1] = {PLAIN_ENUM_OPEN, AT(refuse, why), REFUSED_OTHER},
		[2] = {PLAIN_I64, AT(refuse, retry_after_ms), 0},
		[4] = {PLAIN_REVISION, AT(refuse, seen), 0},
		[5] = {PLAIN_BYTES, AT(refuse, text), 0},
	};
	struct refuse *refuse = into;

	return TAKE_PLAIN(decoding, message, table, refuse) &&
	       take_point(decoding, last_run(message, 3), &refuse->common);
}

/* --- the envelope ----------------------------------------------------------------------------- */

static bool take_message(struct decoding *decoding, struct bytes bytes, struct message *message)
{
	static bool (*const takers[MESSAGE_KINDS])(struct decoding *, struct bytes, void *) = {
		[MESSAGE_HELLO] = take_hello,
		[MESSAGE_WINDOW] = take_window,
		[MESSAGE_ACK] = take_ack,
		[MESSAGE_RETRY] = take_retry,
		[MESSAGE_SESSION_OPEN] = take_session_open,
		[MESSAGE_SESSION_OPENED] = take_session_opened,
		[MESSAGE_SESSION_COMPARE] = take_session_compare,
		[MESSAGE_SESSION_FETCH] = take_session_fetch,
		[MESSAGE_SESSION_PAGE] = take_session_page,
		[MESSAGE_SESSION_CLOSE] = take_session_close,
		[MESSAGE_EVICT] = take_evict,
		[MESSAGE_REFUSE] = take_refuse,
	};
	struct reader reader = reader_of(bytes);
	struct bytes body = {0};
	struct field field;

	message->kind = MESSAGE_KINDS;
	while (reader_next(&reader, &field)) {
		if (field.type != FIELD_BYTES || field.number < 1 || field.number > MESSAGE_KINDS)
			continue;
		if (message->kind != MESSAGE_KINDS)
			return decode_malformed(decoding);
		message->kind = (enum message_kind)(field.number - 1);
		body = field.bytes;
	}
	if (reader.malformed || message->kind == MESSAGE_KINDS)
		return decode_malformed(decoding);
	return takers[message->kind](decoding, body, &message->as) &&
	       (message_is_sound(message) || decode_malformed(decoding));
}

enum err message_decode(struct bytes bytes, struct arena *arena, struct message *ret_message)
{
	struct decoding decoding = {.arena = arena, .touches_left = MESSAGE_TOUCHES_MAX};
	struct message message;

	/* Not by an initializer, which need not reach all of a union. */
	memset(&message, 0, sizeof(message));
	if (bytes.size > MESSAGE_BYTES_MAX)
		return ERR_MALFORMED;
	if (!take_message(&decoding, bytes, &message)) {
		message_fini(&message);
		return decoding.err;
	}
	*ret_message = message;
	return ERR_OK;
}
