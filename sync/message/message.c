/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/message/message.h"

void message_fini(struct message *message)
{
	switch (message->kind) {
	case MESSAGE_HELLO:
		for (size_t i = 0; i < GROUPS; i++)
			vector_fini(&message->as.hello.vectors[i]);
		break;
	case MESSAGE_WINDOW:
		vector_fini(&message->as.window.delta);
		for (size_t i = 0; i < message->as.window.claim_count; i++)
			vector_fini(&message->as.window.claims[i].vector);
		break;
	case MESSAGE_SESSION_PAGE:
		for (size_t i = 0; i < message->as.session_page.claim_count; i++)
			vector_fini(&message->as.session_page.claims[i].vector);
		break;
	case MESSAGE_ACK:
		vector_fini(&message->as.ack.delta);
		break;
	case MESSAGE_SESSION_OPENED:
		vector_fini(&message->as.session_opened.vector);
		break;
	case MESSAGE_RETRY:
	case MESSAGE_SESSION_OPEN:
	case MESSAGE_SESSION_COMPARE:
	case MESSAGE_SESSION_FETCH:
	case MESSAGE_SESSION_CLOSE:
	case MESSAGE_EVICT:
	case MESSAGE_REFUSE:
	case MESSAGE_KINDS:
		break;
	}
}

const char *message_name(enum message_kind kind)
{
	static const char *const names[MESSAGE_KINDS] = {
		[MESSAGE_HELLO] = "hello",
		[MESSAGE_WINDOW] = "window",
		[MESSAGE_ACK] = "ack",
		[MESSAGE_RETRY] = "retry",
		[MESSAGE_SESSION_OPEN] = "session_open",
		[MESSAGE_SESSION_OPENED] = "session_opened",
		[MESSAGE_SESSION_COMPARE] = "session_compare",
		[MESSAGE_SESSION_FETCH] = "session_fetch",
		[MESSAGE_SESSION_PAGE] = "session_page",
		[MESSAGE_SESSION_CLOSE] = "session_close",
		[MESSAGE_EVICT] = "evict",
		[MESSAGE_REFUSE] = "refuse",
	};

	return kind < MESSAGE_KINDS ? names[kind] : "unknown";
}

/* --- soundness -------------------------------------------------------------------------------- */

static bool is_revision(int64_t revision) /* or none */
{
	return revision >= 0 && revision <= REV_MAIN_MAX;
}

static bool is_key(struct bytes key)
{
	return key.size > 0 && key.size <= RECONCILE_KEY_BYTES_MAX;
}

static bool ranges_are_sound(const struct key_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ranges[i].end.size && bytes_compare(ranges[i].key, ranges[i].end) >= 0)
			return false;
	return true;
}

static bool entry_is_sound(const struct entry *entry)
{
	if (!is_key(entry->key) || !is_revision(entry->revision))
		return false;
	if (!entry->live && (entry->is_delta || entry->value.size))
		return false;
	for (size_t i = 0; i < entry->touch_count; i++)
		if (entry->touches[i].revision < 1 || !is_revision(entry->touches[i].revision))
			return false;
	return true;
}

static bool hello_is_sound(const struct hello *hello)
{
	if (!is_revision(hello->head) || hello->wall_ms < 0)
		return false;
	for (size_t i = 0; i < GROUPS; i++)
		if (!is_revision(hello->cursors[i]))
			return false;
	for (size_t i = 0; i < hello->point_count; i++)
		if (!is_revision(hello->points[i].revision) ||
		    (i && hello->points[i].revision >= hello->points[i - 1].revision))
			return false;
	return ranges_are_sound(hello->coverage, hello->coverage_count);
}

/* Each once. */
static bool claims_are_sound(const struct claim *claims, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			if (claims[i].id == claims[j].id)
				return false;
	return true;
}

static bool claims_are_known(const struct claim *claims, size_t count, const struct entry *entry)
{
	for (size_t i = 0; i < entry->claim_count; i++) {
		size_t j = 0;

		while (j < count && claims[j].id != entry->claims[i])
			j++;
		if (j == count)
			return false;
	}
	return true;
}

static bool window_is_sound(const struct window *window)
{
	int64_t low = window->from + 1;

	if (!is_revision(window->from) || !is_revision(window->to) || window->from > window->to ||
	    !is_revision(window->barrier) || !claims_are_sound(window->claims, window->claim_count))
		return false;
	for (size_t i = 0; i < window->entry_count; i++) {
		const struct entry *entry = &window->entries[i];

		if (!entry_is_sound(entry) ||
		    !claims_are_known(window->claims, window->claim_count, entry) ||
		    entry->revision < low || entry->revision > window->to)
			return false;
		low = entry->revision;
	}
	return true;
}

static bool fetch_is_sound(const struct session_fetch *fetch)
{
	for (size_t i = 0; i < fetch->key_count; i++)
		if (!is_key(fetch->keys[i]) ||
		    (i && bytes_compare(fetch->keys[i - 1], fetch->keys[i]) >= 0))
			return false;
	return true;
}

static bool page_is_sound(const struct session_page *page)
{
	for (size_t i = 0; i < page->entry_count; i++)
		if (!entry_is_sound(&page->entries[i]) || page->entries[i].touch_count ||
		    !claims_are_known(page->claims, page->claim_count, &page->entries[i]))
			return false;
	return claims_are_sound(page->claims, page->claim_count);
}

bool message_is_sound(const struct message *message)
{
	switch (message->kind) {
	case MESSAGE_HELLO:
		return hello_is_sound(&message->as.hello);
	case MESSAGE_WINDOW:
		return window_is_sound(&message->as.window);
	case MESSAGE_ACK:
		return is_revision(message->as.ack.cursor);
	case MESSAGE_RETRY:
		return is_revision(message->as.retry.cursor);
	case MESSAGE_SESSION_OPEN:
		return ranges_are_sound(&message->as.session_open.range, 1);
	case MESSAGE_SESSION_OPENED:
		return is_revision(message->as.session_opened.revision);
	case MESSAGE_SESSION_FETCH:
		return fetch_is_sound(&message->as.session_fetch);
	case MESSAGE_SESSION_PAGE:
		return page_is_sound(&message->as.session_page);
	case MESSAGE_EVICT:
		return ranges_are_sound(message->as.evict.ranges, message->as.evict.range_count);
	case MESSAGE_REFUSE:
		return message->as.refuse.retry_after_ms >= 0 &&
		       is_revision(message->as.refuse.common.revision) &&
		       is_revision(message->as.refuse.seen) &&
		       message->as.refuse.text.size <= MESSAGE_TEXT_BYTES_MAX;
	case MESSAGE_SESSION_COMPARE:
	case MESSAGE_SESSION_CLOSE:
		return true;
	case MESSAGE_KINDS:
		break;
	}
	return false;
}
