/* SPDX-License-Identifier: Apache-2.0 */
/* random_message.h - sound messages of every kind, in an arena but for their vectors, and whether
 * two are the same. */
#ifndef TESTS_UNIT_SYNC_RANDOM_MESSAGE_H
#define TESTS_UNIT_SYNC_RANDOM_MESSAGE_H

#include "sync/message/message.h"
#include "tests/unit/sync/random.h"

#include <assert.h>

static inline void *random_room(struct arena *arena, size_t count, size_t size)
{
	void *memory = count ? arena_calloc(arena, count, size) : NULL;

	assert(memory || !count);
	return memory;
}

static inline struct bytes random_run(struct arena *arena, unsigned least, unsigned most)
{
	size_t size = least + random_below(most - least + 1);
	uint8_t *data = random_room(arena, size, 1);

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)random_next();
	return bytes_of(data, size);
}

/* Small and large ones alike. */
static inline uint64_t random_number(unsigned bits)
{
	return (random_next() & ((UINT64_C(1) << bits) - 1)) >> random_below(bits);
}

static inline struct actor random_actor(void)
{
	struct actor actor = {.incarnation = (uint32_t)random_number(32)};

	memset(actor.site.bytes, (int)random_below(3), SITE_BYTES);
	return actor;
}

static inline void random_vector(struct vector *vector)
{
	for (unsigned i = random_below(4); i > 0; i--) {
		struct actor actor = random_actor();
		int64_t first = 1 + (int64_t)random_number(30);
		enum err e = vector_add(vector, &actor, first, first + (int64_t)random_number(20));

		assert(!e);
	}
}

/* A and A followed by something. */
static inline struct key_range random_range(struct arena *arena)
{
	struct key_range range = {.key = random_run(arena, 0, 20)};
	struct bytes more = random_run(arena, 1, 20);

	if (!random_below(3))
		return range;
	range.end = bytes_of(random_room(arena, range.key.size + more.size, 1),
			     range.key.size + more.size);
	if (range.key.size)
		memcpy((uint8_t *)range.end.data, range.key.data, range.key.size);
	memcpy((uint8_t *)range.end.data + range.key.size, more.data, more.size);
	return range;
}

static inline void random_runs_of(struct arena *arena, unsigned most, struct bytes **ret_runs,
				  size_t *ret_count)
{
	*ret_count = random_below(most + 1);
	*ret_runs = random_room(arena, *ret_count, sizeof(**ret_runs));
	for (size_t i = 0; i < *ret_count; i++)
		(*ret_runs)[i] = random_run(arena, 0, 12);
}

static inline void random_ranges(struct arena *arena, struct key_range **ret_ranges,
				 size_t *ret_count)
{
	*ret_count = random_below(5);
	*ret_ranges = random_room(arena, *ret_count, sizeof(**ret_ranges));
	for (size_t i = 0; i < *ret_count; i++)
		(*ret_ranges)[i] = random_range(arena);
}

static inline struct entry random_entry(struct arena *arena, bool touched)
{
	struct entry entry = {
		.key = random_run(arena, 1, 60),
		.live = random_below(4),
		.meta = random_run(arena, 0, 90),
		.value_digest = random_number(63),
		.revision = (int64_t)random_number(40),
		.wildcard = !random_below(4),
	};

	if (entry.live) {
		entry.value = random_run(arena, 0, 200);
		entry.is_delta = random_below(2);
		entry.base_digest = entry.is_delta ? random_number(63) : 0;
	}
	entry.touch_count = touched ? random_below(6) : 0;
	entry.touches = random_room(arena, entry.touch_count, sizeof(*entry.touches));
	for (size_t i = 0; i < entry.touch_count; i++)
		entry.touches[i] = (struct dot){random_actor(), 1 + (int64_t)random_number(39)};
	return entry;
}

static inline void random_hello(struct arena *arena, struct hello *hello)
{
	hello->protocol = (uint32_t)random_number(32);
	hello->layout = (uint32_t)random_number(32);
	hello->cluster = random_actor().site;
	hello->self = random_actor();
	hello->nonce = random_next();
	hello->head = (int64_t)random_number(40);
	hello->wall_ms = (int64_t)random_number(63);
	hello->cursor_incarnation = (uint32_t)random_number(32);
	for (size_t i = 0; i < GROUPS; i++) {
		random_vector(&hello->vectors[i]);
		hello->cursors[i] = (int64_t)random_number(40);
	}
	hello->point_count = random_below(4);
	hello->points = random_room(arena, hello->point_count, sizeof(*hello->points));
	for (size_t i = 0; i < hello->point_count; i++)
		hello->points[i] = (struct chain_point){
			(int64_t)((4 - i) << 20 | random_number(20)), random_next()};
	random_ranges(arena, &hello->coverage, &hello->coverage_count);
	memset(hello->rules_hash, (int)random_below(256), RULES_HASH_BYTES);
	hello->version_count = random_below(4);
	hello->versions = random_room(arena, hello->version_count, sizeof(*hello->versions));
	for (size_t i = 0; i < hello->version_count; i++) {
		hello->versions[i].prefix = random_run(arena, 0, 20);
		random_runs_of(arena, 3, &hello->versions[i].api_versions,
			       &hello->versions[i].count);
	}
	random_runs_of(arena, 3, &hello->key_ids, &hello->key_id_count);
	hello->window_bytes_max = (uint32_t)random_number(32);
	hello->is_hub = random_below(2);
	hello->is_answer = random_below(2);
	hello->cloud_count = random_below(3);
	hello->clouds = random_room(arena, hello->cloud_count, sizeof(*hello->clouds));
	for (size_t i = 0; i < hello->cloud_count; i++)
		hello->clouds[i] = random_actor().site;
}

static inline int random_entry_order(const void *a, const void *b)
{
	int64_t left = ((const struct entry *)a)->revision;
	int64_t right = ((const struct entry *)b)->revision;

	return left < right ? -1 : left > right;
}

static inline void random_claims(struct arena *arena, struct claim **ret_claims, size_t *ret_count)
{
	*ret_count = random_below(4);
	*ret_claims = random_room(arena, *ret_count, sizeof(**ret_claims));
	for (size_t i = 0; i < *ret_count; i++) {
		(*ret_claims)[i].id = random_next();
		random_vector(&(*ret_claims)[i].vector);
	}
}

static inline void random_claimed(struct arena *arena, struct entry *entry,
				  const struct claim *claims, size_t count)
{
	entry->claim_count = count ? random_below(4) : 0;
	entry->claims = random_room(arena, entry->claim_count, sizeof(*entry->claims));
	for (size_t i = 0; i < entry->claim_count; i++)
		entry->claims[i] = claims[random_below((unsigned)count)].id;
}

static inline void random_window(struct arena *arena, struct window *window)
{
	*window = (struct window){
		.group = (enum group)random_below(GROUPS),
		.incarnation = (uint32_t)random_number(32),
		.to = REV_MAIN_MAX,
		.delta_is_whole = random_below(2),
		.chain = random_next(),
		.more = random_below(2),
		.part = (uint32_t)random_number(32),
		.barrier = (int64_t)random_number(40),
		.entry_count = random_below(6),
	};
	random_vector(&window->delta);
	window->entries = random_room(arena, window->entry_count, sizeof(*window->entries));
	for (size_t i = 0; i < window->entry_count; i++) {
		window->entries[i] = random_entry(arena, true);
		window->entries[i].revision += !window->entries[i].revision;
	}
	random_claims(arena, &window->claims, &window->claim_count);
	for (size_t i = 0; i < window->entry_count; i++)
		random_claimed(arena, &window->entries[i], window->claims, window->claim_count);
	if (!window->entry_count)
		return;
	qsort(window->entries, window->entry_count, sizeof(*window->entries), random_entry_order);
	window->from = window->entries[0].revision - 1;
}

static inline int random_key_order(const void *a, const void *b)
{
	return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

static inline void random_fetch(struct arena *arena, struct session_fetch *fetch)
{
	size_t count = random_below(6), kept = 0;

	fetch->session = random_number(63);
	fetch->keys = random_room(arena, count, sizeof(*fetch->keys));
	for (size_t i = 0; i < count; i++)
		fetch->keys[i] = random_run(arena, 1, 30);
	if (count)
		qsort(fetch->keys, count, sizeof(*fetch->keys), random_key_order);
	for (size_t i = 0; i < count; i++)
		if (!kept || !bytes_equal(fetch->keys[kept - 1], fetch->keys[i]))
			fetch->keys[kept++] = fetch->keys[i];
	fetch->key_count = kept;
}

static inline void random_page(struct arena *arena, struct session_page *page)
{
	page->session = random_number(63);
	page->entry_count = random_below(6);
	page->entries = random_room(arena, page->entry_count, sizeof(*page->entries));
	for (size_t i = 0; i < page->entry_count; i++)
		page->entries[i] = random_entry(arena, false);
	random_claims(arena, &page->claims, &page->claim_count);
	for (size_t i = 0; i < page->entry_count; i++)
		random_claimed(arena, &page->entries[i], page->claims, page->claim_count);
}

static inline void random_opened(struct session_opened *opened)
{
	*opened = (struct session_opened){
		.session = random_number(63),
		.incarnation = (uint32_t)random_number(32),
		.revision = (int64_t)random_number(40),
		.chain = random_next(),
		.key_count = random_number(63),
	};
	random_vector(&opened->vector);
	memset(opened->root, (int)random_below(256), STATE_HASH_BYTES);
}

static inline void random_message(struct arena *arena, enum message_kind kind,
				  struct message *message)
{
	memset(message, 0, sizeof(*message));
	message->kind = kind;
	switch (kind) {
	case MESSAGE_HELLO:
		random_hello(arena, &message->as.hello);
		break;
	case MESSAGE_WINDOW:
		random_window(arena, &message->as.window);
		break;
	case MESSAGE_ACK:
		message->as.ack = (struct ack){
			.group = (enum group)random_below(GROUPS),
			.incarnation = (uint32_t)random_number(32),
			.cursor = (int64_t)random_number(40),
			.credit_bytes = random_number(63),
		};
		random_vector(&message->as.ack.delta);
		break;
	case MESSAGE_RETRY:
		message->as.retry = (struct retry){(enum group)random_below(GROUPS),
						   (enum retry_reason)random_below(2),
						   (int64_t)random_number(40)};
		break;
	case MESSAGE_SESSION_OPEN:
		message->as.session_open =
			(struct session_open){random_number(63), (enum group)random_below(GROUPS),
					      random_next(), random_range(arena)};
		break;
	case MESSAGE_SESSION_OPENED:
		random_opened(&message->as.session_opened);
		break;
	case MESSAGE_SESSION_COMPARE:
		message->as.session_compare.session = random_number(63);
		message->as.session_compare.body = random_run(arena, 0, 300);
		break;
	case MESSAGE_SESSION_FETCH:
		random_fetch(arena, &message->as.session_fetch);
		break;
	case MESSAGE_SESSION_PAGE:
		random_page(arena, &message->as.session_page);
		break;
	case MESSAGE_SESSION_CLOSE:
		message->as.session_close.session = random_number(63);
		break;
	case MESSAGE_EVICT:
		random_ranges(arena, &message->as.evict.ranges, &message->as.evict.range_count);
		break;
	case MESSAGE_REFUSE:
		message->as.refuse = (struct refuse){
			.why = (enum refusal)random_below(REFUSED_OTHER),
			.retry_after_ms = (int64_t)random_number(63),
			.common = {(int64_t)random_number(40), random_next()},
			.seen = (int64_t)random_number(40),
			.text = random_run(arena, 0, 80),
		};
		break;
	case MESSAGE_KINDS:
		assert(!"a kind");
	}
}

/* --- equality --------------------------------------------------------------------------------- */

static inline bool same_ranges(const struct key_range *a, const struct key_range *b, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!bytes_equal(a[i].key, b[i].key) || !bytes_equal(a[i].end, b[i].end))
			return false;
	return true;
}

static inline bool same_runs(const struct bytes *a, const struct bytes *b, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!bytes_equal(a[i], b[i]))
			return false;
	return true;
}

static inline bool same_entry(const struct entry *a, const struct entry *b)
{
	for (size_t i = 0; i < a->touch_count && i < b->touch_count; i++)
		if (!dot_equal(&a->touches[i], &b->touches[i]))
			return false;
	for (size_t i = 0; i < a->claim_count && i < b->claim_count; i++)
		if (a->claims[i] != b->claims[i])
			return false;
	return bytes_equal(a->key, b->key) && a->claim_count == b->claim_count &&
	       a->live == b->live && bytes_equal(a->meta, b->meta) && a->is_delta == b->is_delta &&
	       a->base_digest == b->base_digest && bytes_equal(a->value, b->value) &&
	       a->value_digest == b->value_digest && a->wildcard == b->wildcard &&
	       a->touch_count == b->touch_count && a->revision == b->revision;
}

static inline bool same_entries(const struct entry *a, const struct entry *b, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!same_entry(&a[i], &b[i]))
			return false;
	return true;
}

static inline bool same_hello(const struct hello *a, const struct hello *b)
{
	if (a->point_count != b->point_count || a->coverage_count != b->coverage_count ||
	    a->version_count != b->version_count || a->cloud_count != b->cloud_count ||
	    a->key_id_count != b->key_id_count)
		return false;
	for (size_t i = 0; i < GROUPS; i++)
		if (!vector_equal(&a->vectors[i], &b->vectors[i]) || a->cursors[i] != b->cursors[i])
			return false;
	for (size_t i = 0; i < a->point_count; i++)
		if (a->points[i].revision != b->points[i].revision ||
		    a->points[i].hash != b->points[i].hash)
			return false;
	for (size_t i = 0; i < a->cloud_count; i++)
		if (memcmp(&a->clouds[i], &b->clouds[i], SITE_BYTES) != 0)
			return false;
	for (size_t i = 0; i < a->version_count; i++)
		if (!bytes_equal(a->versions[i].prefix, b->versions[i].prefix) ||
		    a->versions[i].count != b->versions[i].count ||
		    !same_runs(a->versions[i].api_versions, b->versions[i].api_versions,
			       a->versions[i].count))
			return false;
	return a->protocol == b->protocol && a->layout == b->layout &&
	       !memcmp(&a->cluster, &b->cluster, SITE_BYTES) &&
	       !actor_compare(&a->self, &b->self) && a->nonce == b->nonce && a->head == b->head &&
	       a->wall_ms == b->wall_ms && a->cursor_incarnation == b->cursor_incarnation &&
	       same_ranges(a->coverage, b->coverage, a->coverage_count) &&
	       !memcmp(a->rules_hash, b->rules_hash, RULES_HASH_BYTES) &&
	       same_runs(a->key_ids, b->key_ids, a->key_id_count) &&
	       a->window_bytes_max == b->window_bytes_max && a->is_hub == b->is_hub &&
	       a->is_answer == b->is_answer;
}

static inline bool same_claims(const struct claim *a, const struct claim *b, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (a[i].id != b[i].id || !vector_equal(&a[i].vector, &b[i].vector))
			return false;
	return true;
}

static inline bool same_window(const struct window *a, const struct window *b)
{
	if (a->claim_count != b->claim_count || !same_claims(a->claims, b->claims, a->claim_count))
		return false;
	return a->group == b->group && a->incarnation == b->incarnation && a->from == b->from &&
	       a->to == b->to && vector_equal(&a->delta, &b->delta) &&
	       a->delta_is_whole == b->delta_is_whole && a->chain == b->chain &&
	       a->more == b->more && a->part == b->part && a->barrier == b->barrier &&
	       a->entry_count == b->entry_count &&
	       same_entries(a->entries, b->entries, a->entry_count);
}

static inline bool same_opened(const struct session_opened *a, const struct session_opened *b)
{
	return a->session == b->session && a->incarnation == b->incarnation &&
	       a->revision == b->revision && vector_equal(&a->vector, &b->vector) &&
	       a->chain == b->chain && a->key_count == b->key_count &&
	       !memcmp(a->root, b->root, STATE_HASH_BYTES);
}

static inline bool same_refuse(const struct refuse *a, const struct refuse *b)
{
	return a->why == b->why && a->retry_after_ms == b->retry_after_ms &&
	       a->common.revision == b->common.revision && a->common.hash == b->common.hash &&
	       a->seen == b->seen && bytes_equal(a->text, b->text);
}

static inline bool same_message(const struct message *a, const struct message *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case MESSAGE_HELLO:
		return same_hello(&a->as.hello, &b->as.hello);
	case MESSAGE_WINDOW:
		return same_window(&a->as.window, &b->as.window);
	case MESSAGE_ACK:
		return a->as.ack.group == b->as.ack.group &&
		       a->as.ack.incarnation == b->as.ack.incarnation &&
		       a->as.ack.cursor == b->as.ack.cursor &&
		       vector_equal(&a->as.ack.delta, &b->as.ack.delta) &&
		       a->as.ack.credit_bytes == b->as.ack.credit_bytes;
	case MESSAGE_RETRY:
		return a->as.retry.group == b->as.retry.group &&
		       a->as.retry.reason == b->as.retry.reason &&
		       a->as.retry.cursor == b->as.retry.cursor;
	case MESSAGE_SESSION_OPEN:
		return a->as.session_open.session == b->as.session_open.session &&
		       a->as.session_open.group == b->as.session_open.group &&
		       a->as.session_open.nonce == b->as.session_open.nonce &&
		       same_ranges(&a->as.session_open.range, &b->as.session_open.range, 1);
	case MESSAGE_SESSION_OPENED:
		return same_opened(&a->as.session_opened, &b->as.session_opened);
	case MESSAGE_SESSION_COMPARE:
		return a->as.session_compare.session == b->as.session_compare.session &&
		       bytes_equal(a->as.session_compare.body, b->as.session_compare.body);
	case MESSAGE_SESSION_FETCH:
		return a->as.session_fetch.session == b->as.session_fetch.session &&
		       a->as.session_fetch.key_count == b->as.session_fetch.key_count &&
		       same_runs(a->as.session_fetch.keys, b->as.session_fetch.keys,
				 a->as.session_fetch.key_count);
	case MESSAGE_SESSION_PAGE:
		return a->as.session_page.session == b->as.session_page.session &&
		       a->as.session_page.claim_count == b->as.session_page.claim_count &&
		       same_claims(a->as.session_page.claims, b->as.session_page.claims,
				   a->as.session_page.claim_count) &&
		       a->as.session_page.entry_count == b->as.session_page.entry_count &&
		       same_entries(a->as.session_page.entries, b->as.session_page.entries,
				    a->as.session_page.entry_count);
	case MESSAGE_SESSION_CLOSE:
		return a->as.session_close.session == b->as.session_close.session;
	case MESSAGE_EVICT:
		return a->as.evict.range_count == b->as.evict.range_count &&
		       same_ranges(a->as.evict.ranges, b->as.evict.ranges, a->as.evict.range_count);
	case MESSAGE_REFUSE:
		return same_refuse(&a->as.refuse, &b->as.refuse);
	case MESSAGE_KINDS:
		break;
	}
	return false;
}

#endif
