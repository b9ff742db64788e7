/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/message/encode.h"

#include <assert.h>
#include <stdlib.h>

static int actor_order(const void *a, const void *b)
{
	return actor_compare(a, b);
}

/* All actors of the touches; neighbours with the same one, which is most of them, count once. */
static size_t gather_actors(const struct window *window, struct actor *actors)
{
	const struct actor *last = NULL;
	size_t count = 0;

	for (size_t i = 0; i < window->entry_count; i++)
		for (size_t j = 0; j < window->entries[i].touch_count; j++) {
			const struct actor *actor = &window->entries[i].touches[j].actor;

			if (last && !actor_compare(last, actor))
				continue;
			last = actor;
			if (actors)
				actors[count] = *actor;
			count++;
		}
	return count;
}

static void make_actors(struct encoding *encoding, const struct window *window)
{
	size_t count = gather_actors(window, NULL);
	struct actor *actors = count ? room(encoding, count, sizeof(*actors)) : NULL;

	if (!actors)
		return;
	gather_actors(window, actors);
	qsort(actors, count, sizeof(*actors), actor_order);
	encoding->actors = actors;
	for (size_t i = 0; i < count; i++)
		if (!i || actor_compare(&actors[encoding->actor_count - 1], &actors[i]) != 0)
			actors[encoding->actor_count++] = actors[i];
}

static void put_actors(struct encoding *encoding, V1(Window) * out)
{
	if (!list_of(encoding, encoding->actor_count, VECTOR_ACTORS_MAX, sizeof(**out->actors),
		     &out->actors))
		return;
	out->n_actors = encoding->actor_count;
	for (size_t i = 0; i < out->n_actors; i++)
		actor_of(&encoding->actors[i], out->actors[i]);
}

static size_t actor_number(const struct encoding *encoding, const struct actor *actor)
{
	const struct actor *found = bsearch(actor, encoding->actors, encoding->actor_count,
					    sizeof(*actor), actor_order);

	assert(found);
	return (size_t)(found - encoding->actors);
}

static ProtobufCBinaryData touches_of(struct encoding *encoding, const struct entry *entry)
{
	struct buffer buffer = BUFFER_INIT(MESSAGE_BYTES_MAX);
	int64_t before = entry->revision;
	bool fits = true;

	if (!entry->touch_count)
		return data_of(bytes_of(NULL, 0));
	for (size_t i = 0; fits && i < entry->touch_count; i++) {
		const struct dot *dot = &entry->touches[i];
		int64_t step = dot->revision - before;

		fits = wire_put_number(&buffer, actor_number(encoding, &dot->actor)) &&
		       wire_put_number(&buffer,
				       step < 0 ? ~((uint64_t)step << 1) : (uint64_t)step << 1);
		before = dot->revision;
	}
	return buffer_kept(encoding, &buffer, fits);
}

static ProtobufCBinaryData claims_of(struct encoding *encoding, const struct entry *entry)
{
	struct buffer buffer = BUFFER_INIT(MESSAGE_BYTES_MAX);
	bool fits = true;

	if (!entry->claim_count)
		return data_of(bytes_of(NULL, 0));
	for (size_t i = 0; fits && i < entry->claim_count; i++) {
		size_t at = 0; /* a sound message has it */

		while (encoding->claims[at].id != entry->claims[i])
			at++;
		fits = wire_put_number(&buffer, at);
	}
	return buffer_kept(encoding, &buffer, fits);
}

static void put_value(struct encoding *encoding, const struct entry *entry, V1(Entry) * out)
{
	if (!entry->is_delta) {
		out->value_case = KEDGE__SYNC__V1__ENTRY__VALUE_WHOLE;
		out->whole = data_of(entry->value);
		return;
	}
	out->delta = room(encoding, 1, sizeof(*out->delta));
	if (!out->delta)
		return;
	kedge__sync__v1__delta__init(out->delta);
	out->value_case = KEDGE__SYNC__V1__ENTRY__VALUE_DELTA;
	out->delta->base_digest = entry->base_digest;
	out->delta->bytes = data_of(entry->value);
}

static void put_entry(struct encoding *encoding, const struct entry *entry, V1(Entry) * out)
{
	kedge__sync__v1__entry__init(out);
	out->key = data_of(entry->key);
	out->live = entry->live;
	out->meta = data_of(entry->meta);
	if (entry->live)
		put_value(encoding, entry, out);
	out->value_digest = entry->value_digest;
	out->revision = (uint64_t)entry->revision;
	out->wildcard = entry->wildcard;
	out->touches = touches_of(encoding, entry);
	out->claims = claims_of(encoding, entry);
}

/* Dots and claims. */
static bool has_too_many(const struct entry *entries, size_t count)
{
	size_t left = MESSAGE_TOUCHES_MAX;

	for (size_t i = 0; i < count; i++) {
		const struct entry *entry = &entries[i];

		if (entry->touch_count > left || entry->claim_count > left - entry->touch_count)
			return true;
		left -= entry->touch_count + entry->claim_count;
	}
	return false;
}

static V1(Entry) * *entries_of(struct encoding *encoding, const struct entry *entries, size_t count)
{
	V1(Entry) * *list;

	if (!list_of(encoding, count, MESSAGE_ENTRIES_MAX, sizeof(**list), &list))
		return NULL;
	for (size_t i = 0; !encoding->err && i < count; i++)
		put_entry(encoding, &entries[i], list[i]);
	return list;
}

static V1(Claim) * *table_of(struct encoding *encoding, const struct claim *claims, size_t count)
{
	V1(Claim) * *list;

	encoding->claims = claims;
	encoding->claim_count = count;
	if (!list_of(encoding, count, CLAIMS_MAX, sizeof(**list), &list))
		return NULL;
	for (size_t i = 0; i < count; i++) {
		kedge__sync__v1__claim__init(list[i]);
		list[i]->id = claims[i].id;
		list[i]->vector = vector_of(encoding, &claims[i].vector);
	}
	return list;
}

void put_window(struct encoding *encoding, const struct window *window, V1(Window) * out)
{
	if (has_too_many(window->entries, window->entry_count))
		encode_failed(encoding, ERR_REQUEST_TOO_LARGE);
	kedge__sync__v1__window__init(out);
	out->group = (V1(Group))window->group;
	out->incarnation = window->incarnation;
	out->from = (uint64_t)window->from;
	out->to = (uint64_t)window->to;
	out->delta = vector_of(encoding, &window->delta);
	out->delta_is_whole = window->delta_is_whole;
	out->chain = window->chain;
	out->more = window->more;
	out->part = window->part;
	out->barrier = (uint64_t)window->barrier;
	make_actors(encoding, window);
	put_actors(encoding, out);
	out->n_claims = window->claim_count;
	out->claims = table_of(encoding, window->claims, window->claim_count);
	out->n_entries = window->entry_count;
	out->entries = entries_of(encoding, window->entries, window->entry_count);
}

void put_session_page(struct encoding *encoding, const struct session_page *page,
		      V1(SessionPage) * out)
{
	if (has_too_many(page->entries, page->entry_count))
		encode_failed(encoding, ERR_REQUEST_TOO_LARGE);
	kedge__sync__v1__session_page__init(out);
	out->session = page->session;
	out->n_claims = page->claim_count;
	out->claims = table_of(encoding, page->claims, page->claim_count);
	out->n_entries = page->entry_count;
	out->entries = entries_of(encoding, page->entries, page->entry_count);
}
