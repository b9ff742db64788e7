/* SPDX-License-Identifier: Apache-2.0 */
/* reconcile.c - reading a message and answering it, range by range.
 *
 * A range on the wire: its mode, what the mode carries, and its upper bound; its lower one is where
 * the range before ended.  A bound is 0 for the end of everything, else one more than the number of
 * bytes it shares with the bound before, and the rest of it.  Keys in lists share with the key
 * before likewise.  What is behind the last range is agreed upon. */
#include "sync/reconcile/reconcile.h"

#include "sync/limits.h"
#include "sync/reconcile/digest.h"
#include "sync/wire.h"

#define SHORT_BYTES 8 /* of fingerprints and hashes on the wire */

enum mode { MODE_AGREED, MODE_FINGERPRINT, MODE_LIST, MODE_DIFFERENCES, MODES };

struct text { /* a bound or a key, put together from what it shares and the rest */
	struct buffer buffer;
	bool end; /* of everything */
};

struct step {
	const struct reconcile *reconcile;
	struct wire wire;
	struct text from; /* the range that is being answered: [from, to) */
	struct text to;
	struct buffer *out;
	struct text said; /* the bound up to which the answer goes */
	bool said_agreed; /* from there to `from` is agreed upon and not written yet */
	bool full;	  /* all that is left is in one fingerprint */
	bool no_memory;
};

static struct bytes text_of(const struct text *text)
{
	return buffer_bytes(&text->buffer);
}

static bool text_set(struct step *step, struct text *text, struct bytes bytes, bool end)
{
	text->buffer.size = 0;
	text->end = end;
	if (end || buffer_append(&text->buffer, bytes))
		return true;
	step->no_memory = true;
	return false;
}

/* Where a bound is in our own sequence, within the range that is compared. */
static size_t position(const struct step *step, const struct text *bound)
{
	const struct reconcile *reconcile = step->reconcile;

	if (!bound->end)
		return sequence_find(reconcile->sequence, text_of(bound));
	return reconcile->high.size ? sequence_find(reconcile->sequence, reconcile->high)
				    : reconcile->sequence->count;
}

/* --- short hashes ----------------------------------------------------------------------------- */

static void shorten(const struct step *step, struct state_hash hash, uint64_t count,
		    uint8_t ret_short[SHORT_BYTES])
{
	uint64_t numbers[] = {step->reconcile->nonce, hash.high, hash.low, count};
	uint8_t bytes[sizeof numbers];
	struct bytes part = bytes_of(bytes, sizeof bytes);

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(numbers[i / 8] >> (8 * (i % 8)));
	digest_of(&part, 1, SHORT_BYTES, ret_short);
}

static void fingerprint(const struct step *step, size_t from, size_t to,
			uint8_t ret_short[SHORT_BYTES])
{
	shorten(step, sequence_sum(step->reconcile->sequence, from, to), to - from, ret_short);
}

static void item_hash(const struct step *step, size_t index, uint8_t ret_short[SHORT_BYTES])
{
	/* Not the number of a fingerprint's keys, so that a list is never taken for one. */
	shorten(step, sequence_sum(step->reconcile->sequence, index, index + 1), UINT64_MAX,
		ret_short);
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool put(struct step *step, bool ok)
{
	step->no_memory |= !ok; /* the answer has no other limit than memory */
	return ok;
}

static bool put_shared(struct step *step, struct bytes before, struct bytes text, size_t more)
{
	size_t shared = 0;

	while (shared < before.size && shared < text.size &&
	       before.data[shared] == text.data[shared])
		shared++;
	return put(step, wire_put_number(step->out, shared + more) &&
				 wire_put_bytes(step->out,
						bytes_of(text.data + shared, text.size - shared)));
}

/* Ends a range of the answer. */
static bool put_bound(struct step *step, struct bytes bound, bool end)
{
	bool ok = end ? put(step, wire_put_number(step->out, 0))
		      : put_shared(step, text_of(&step->said), bound, 1);

	return ok && text_set(step, &step->said, bound, end);
}

/* Begins a range at step->from, or where the one before ended; ranges agreed upon are caught up. */
static bool put_mode(struct step *step, enum mode mode)
{
	if (step->said_agreed) {
		step->said_agreed = false;
		if (!put(step, wire_put_number(step->out, MODE_AGREED)) ||
		    !put_bound(step, text_of(&step->from), false))
			return false;
	}
	return put(step, wire_put_number(step->out, mode));
}

static bool put_fingerprint(struct step *step, size_t from, size_t to)
{
	uint8_t bytes[SHORT_BYTES];

	fingerprint(step, from, to, bytes);
	return put_mode(step, MODE_FINGERPRINT) &&
	       put(step, buffer_append(step->out, bytes_of(bytes, sizeof bytes)));
}

static bool put_list(struct step *step, size_t from, size_t to)
{
	const struct sequence *sequence = step->reconcile->sequence;
	struct bytes before = {0};

	if (!put_mode(step, MODE_LIST) || !put(step, wire_put_number(step->out, to - from)))
		return false;
	for (size_t i = from; i < to; i++) {
		uint8_t bytes[SHORT_BYTES];

		item_hash(step, i, bytes);
		if (!put_shared(step, before, sequence->keys[i], 0) ||
		    !put(step, buffer_append(step->out, bytes_of(bytes, sizeof bytes))))
			return false;
		before = sequence->keys[i];
	}
	return true;
}

/* The shortest text that is behind the key before and not behind this one. */
static struct bytes border(const struct sequence *sequence, size_t index)
{
	struct bytes before = sequence->keys[index - 1], key = sequence->keys[index];
	size_t shared = 0;

	while (shared < before.size && before.data[shared] == key.data[shared])
		shared++;
	return bytes_of(key.data, shared + 1);
}

/* Our own view of a range in which we differ: as a list when it is small, else its parts. */
static bool put_view(struct step *step, size_t from, size_t to)
{
	size_t count = to - from, begin = from;

	if (count <= RECONCILE_LEAF_KEYS)
		return put_list(step, from, to) &&
		       put_bound(step, text_of(&step->to), step->to.end);
	for (size_t part = 1; part <= RECONCILE_BRANCHES; part++) {
		size_t end = from + count * part / RECONCILE_BRANCHES;
		bool last = part == RECONCILE_BRANCHES;

		if (!put_fingerprint(step, begin, end) ||
		    !put_bound(step,
			       last ? text_of(&step->to) : border(step->reconcile->sequence, end),
			       last && step->to.end))
			return false;
		begin = end;
	}
	return true;
}

/* One fingerprint for all from a bound on, when the message is full. */
static bool put_rest(struct step *step, const struct text *from)
{
	struct text end = {.end = true};

	step->full = true;
	return put_fingerprint(step, position(step, from), position(step, &end)) &&
	       put_bound(step, bytes_of(NULL, 0), true);
}

static bool is_full(const struct step *step)
{
	return step->out->size >= step->reconcile->bytes_max;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Whether a peer may speak of a key, or of a bound, behind where the range began. */
static bool is_inside(const struct step *step, struct bytes key)
{
	return bytes_compare(text_of(&step->from), key) <= 0 &&
	       (!step->reconcile->high.size || bytes_compare(key, step->reconcile->high) < 0);
}

/* Replaces the end of a text, keeping what is shared. */
static bool take_rest(struct step *step, struct text *text, uint64_t shared)
{
	struct bytes rest;

	if (text->end || shared > text->buffer.size ||
	    !wire_take_bytes(&step->wire, RECONCILE_KEY_BYTES_MAX - (size_t)shared, &rest))
		return false;
	text->buffer.size = (size_t)shared;
	return put(step, buffer_append(&text->buffer, rest));
}

static bool take_bound(struct step *step)
{
	struct bytes from = text_of(&step->from);
	uint64_t shared;

	if (!wire_take_number(&step->wire, from.size + 1, &shared))
		return false;
	if (!shared)
		return text_set(step, &step->to, bytes_of(NULL, 0), true);
	return text_set(step, &step->to, from, false) && take_rest(step, &step->to, shared - 1) &&
	       bytes_compare(from, text_of(&step->to)) < 0 && is_inside(step, text_of(&step->to));
}

static bool take_key(struct step *step, struct text *key)
{
	uint64_t shared;

	return wire_take_number(&step->wire, key->buffer.size, &shared) &&
	       take_rest(step, key, shared);
}

/* --- differences ------------------------------------------------------------------------------ */

struct listed { /* the peer's list of one range */
	struct text keys[RECONCILE_LEAF_KEYS];
	uint8_t hashes[RECONCILE_LEAF_KEYS][SHORT_BYTES];
	size_t count;
};

static void listed_fini(struct listed *listed)
{
	for (size_t i = 0; i < RECONCILE_LEAF_KEYS; i++)
		buffer_fini(&listed->keys[i].buffer);
}

static bool take_list(struct step *step, struct listed *listed)
{
	uint64_t count;

	*listed = (struct listed){0};
	for (size_t i = 0; i < RECONCILE_LEAF_KEYS; i++)
		listed->keys[i].buffer = BUFFER_INIT(RECONCILE_KEY_BYTES_MAX);
	if (!wire_take_number(&step->wire, RECONCILE_LEAF_KEYS, &count))
		return false;
	for (; listed->count < count; listed->count++) {
		struct text *key = &listed->keys[listed->count];
		struct bytes before = {0}, hash;

		if (listed->count)
			before = text_of(key - 1);
		if (!text_set(step, key, before, false) || !take_key(step, key) ||
		    !is_inside(step, text_of(key)) ||
		    !wire_take_fixed(&step->wire, SHORT_BYTES, &hash) ||
		    (listed->count && bytes_compare(before, text_of(key)) >= 0))
			return false;
		memcpy(listed->hashes[listed->count], hash.data, SHORT_BYTES);
	}
	return true;
}

/* What the comparison of a list with our own keys has come to. */
struct compared {
	struct bytes key;
	enum difference difference; /* as the asker sees it */
	bool differs;
};

static struct compared compare_next(const struct step *step, const struct listed *listed,
				    size_t *own, size_t to, size_t *theirs)
{
	const struct sequence *sequence = step->reconcile->sequence;
	bool asks = step->reconcile->asks;
	int order = *own == to ? 1
		    : *theirs == listed->count
			    ? -1
			    : bytes_compare(sequence->keys[*own], text_of(&listed->keys[*theirs]));
	struct compared result = {.differs = true, .difference = DIFFERENCE_BOTH};
	uint8_t hash[SHORT_BYTES];

	result.key = order <= 0 ? sequence->keys[*own] : text_of(&listed->keys[*theirs]);
	if (order)
		result.difference =
			(order < 0) == asks ? DIFFERENCE_HERE_ONLY : DIFFERENCE_THERE_ONLY;
	if (!order) {
		item_hash(step, *own, hash);
		result.differs = memcmp(hash, listed->hashes[*theirs], SHORT_BYTES) != 0;
	}
	*own += order <= 0;
	*theirs += order >= 0;
	return result;
}

static void report_list(struct step *step, const struct listed *listed, size_t from, size_t to)
{
	const struct reconcile *reconcile = step->reconcile;

	for (size_t own = from, theirs = 0; own < to || theirs < listed->count;) {
		struct compared next = compare_next(step, listed, &own, to, &theirs);

		if (next.differs)
			reconcile->on_difference(reconcile->context, next.key, next.difference);
	}
}

/* Ends a list of differences before its range does: the message is full. */
static bool cut_differences(struct step *step, const struct listed *listed, size_t own, size_t to,
			    size_t theirs)
{
	const struct sequence *sequence = step->reconcile->sequence;
	struct text next = {.buffer = BUFFER_INIT(RECONCILE_KEY_BYTES_MAX)};
	struct bytes key = own < to ? sequence->keys[own] : text_of(&listed->keys[theirs]);
	bool ok;

	if (own < to && theirs < listed->count &&
	    bytes_compare(text_of(&listed->keys[theirs]), key) < 0)
		key = text_of(&listed->keys[theirs]);
	ok = put(step, wire_put_number(step->out, 0)) && put_bound(step, key, false) &&
	     text_set(step, &next, key, false) && put_rest(step, &next);
	buffer_fini(&next.buffer);
	return ok;
}

/* Each is its kind and one more, and its key; ended by a zero. */
static bool put_differences(struct step *step, const struct listed *listed, size_t from, size_t to)
{
	struct bytes before = {0};

	if (!put_mode(step, MODE_DIFFERENCES))
		return false;
	for (size_t own = from, theirs = 0; own < to || theirs < listed->count;) {
		struct compared next;

		if (is_full(step) && before.data) /* one at least, so that it goes on */
			return cut_differences(step, listed, own, to, theirs);
		next = compare_next(step, listed, &own, to, &theirs);
		if (!next.differs)
			continue;
		if (!put(step, wire_put_number(step->out, next.difference + 1)) ||
		    !put_shared(step, before, next.key, 0))
			return false;
		before = next.key;
	}
	return put(step, wire_put_number(step->out, 0)) &&
	       put_bound(step, text_of(&step->to), step->to.end);
}

static bool take_differences(struct step *step)
{
	const struct reconcile *reconcile = step->reconcile;
	struct text key = {.buffer = BUFFER_INIT(RECONCILE_KEY_BYTES_MAX)};
	uint64_t kind;
	bool ok;

	for (;;) {
		ok = wire_take_number(&step->wire, DIFFERENCE_BOTH + 1, &kind) &&
		     (!kind ||
		      (reconcile->asks && take_key(step, &key) && is_inside(step, text_of(&key))));
		if (!ok || !kind)
			break;
		reconcile->on_difference(reconcile->context, text_of(&key),
					 (enum difference)(kind - 1));
	}
	buffer_fini(&key.buffer);
	return ok;
}

/* --- one range -------------------------------------------------------------------------------- */

static bool answer_fingerprint(struct step *step, struct bytes theirs)
{
	size_t from = position(step, &step->from), to = position(step, &step->to);
	uint8_t own[SHORT_BYTES];

	if (from > to)
		return false;
	fingerprint(step, from, to, own);
	if (bytes_equal(theirs, bytes_of(own, sizeof own)))
		return true;
	return is_full(step) ? put_rest(step, &step->from) : put_view(step, from, to);
}

static bool answer_list(struct step *step, const struct listed *listed)
{
	size_t from = position(step, &step->from), to = position(step, &step->to);
	const struct text *last = listed->count ? &listed->keys[listed->count - 1] : NULL;

	if (from > to ||
	    (last && !step->to.end && bytes_compare(text_of(last), text_of(&step->to)) >= 0))
		return false;
	if (step->reconcile->asks) {
		report_list(step, listed, from, to);
		return true;
	}
	return is_full(step) ? put_rest(step, &step->from)
			     : put_differences(step, listed, from, to);
}

static bool answer_range(struct step *step)
{
	struct listed listed;
	struct bytes theirs;
	uint64_t mode;
	bool ok;

	if (!wire_take_number(&step->wire, MODES - 1, &mode))
		return false;
	switch ((enum mode)mode) {
	case MODE_FINGERPRINT:
		return wire_take_fixed(&step->wire, SHORT_BYTES, &theirs) && take_bound(step) &&
		       answer_fingerprint(step, theirs);
	case MODE_LIST:
		ok = take_list(step, &listed) && take_bound(step) && answer_list(step, &listed);
		listed_fini(&listed);
		return ok;
	case MODE_DIFFERENCES:
		return take_differences(step) && take_bound(step);
	case MODE_AGREED:
	case MODES:
		break;
	}
	return take_bound(step);
}

/* --- messages --------------------------------------------------------------------------------- */

static enum err finish(struct step *step, bool ok)
{
	buffer_fini(&step->from.buffer);
	buffer_fini(&step->to.buffer);
	buffer_fini(&step->said.buffer);
	if (ok)
		return ERR_OK;
	return step->no_memory ? fault(ERR_NOMEM, "a comparison message") : ERR_MALFORMED;
}

static bool begin(struct step *step, const struct reconcile *reconcile, struct bytes message,
		  struct buffer *out)
{
	*step = (struct step){.reconcile = reconcile, .wire = wire_of(message), .out = out};
	step->from.buffer = BUFFER_INIT(RECONCILE_KEY_BYTES_MAX);
	step->to.buffer = BUFFER_INIT(RECONCILE_KEY_BYTES_MAX);
	step->said.buffer = BUFFER_INIT(RECONCILE_KEY_BYTES_MAX);
	return text_set(step, &step->from, reconcile->low, false) &&
	       text_set(step, &step->said, reconcile->low, false);
}

enum err reconcile_start(const struct reconcile *reconcile, struct buffer *message)
{
	struct step step;
	bool ok =
		begin(&step, reconcile, bytes_of(NULL, 0), message) && put_rest(&step, &step.from);

	return finish(&step, ok);
}

enum err reconcile_step(const struct reconcile *reconcile, struct bytes message,
			struct buffer *answer, bool *ret_done)
{
	struct step step;
	bool ok = begin(&step, reconcile, message, answer);

	*ret_done = false;
	while (ok && wire_left(&step.wire) && !step.full && !step.from.end) {
		size_t before = answer->size;

		ok = answer_range(&step);
		if (ok && answer->size == before)
			step.said_agreed = true;
		ok = ok && text_set(&step, &step.from, text_of(&step.to), step.to.end);
	}
	/* Behind the end of everything there is nothing. */
	ok = ok && (step.full || !wire_left(&step.wire));
	*ret_done = ok && reconcile->asks && !answer->size;
	return finish(&step, ok);
}
