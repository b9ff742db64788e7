/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/message/decode.h"

#include <assert.h>

/* --- plain fields ----------------------------------------------------------------------------- */

static_assert(sizeof(enum group) == sizeof(unsigned), "enums are stored as unsigned");

static enum field_type wire_type(enum plain_type type)
{
	if (type == PLAIN_FIXED64)
		return FIELD_FIXED64;
	return type == PLAIN_BYTES || type == PLAIN_ARRAY ? FIELD_BYTES : FIELD_VARINT;
}

/* What a varint of the type may be at most. */
static uint64_t most_of(const struct plain *plain)
{
	switch (plain->type) {
	case PLAIN_U32:
		return UINT32_MAX;
	case PLAIN_I64:
		return INT64_MAX;
	case PLAIN_REVISION:
		return REV_MAIN_MAX;
	case PLAIN_ENUM:
		return plain->most;
	case PLAIN_NONE:
	case PLAIN_U64:
	case PLAIN_BOOL:
	case PLAIN_ENUM_OPEN:
	case PLAIN_FIXED64:
	case PLAIN_BYTES:
	case PLAIN_ARRAY:
		break;
	}
	return UINT64_MAX;
}

static bool store_number(const struct plain *plain, uint64_t value, uint8_t *to)
{
	bool is_true = value;
	uint32_t small;

	if (value > most_of(plain))
		return false;
	if (plain->type == PLAIN_ENUM_OPEN && value > plain->most)
		value = plain->most;
	small = (uint32_t)value;
	if (plain->type == PLAIN_BOOL)
		memcpy(to, &is_true, sizeof(is_true));
	else if (plain->type == PLAIN_U32 || plain->type == PLAIN_ENUM ||
		 plain->type == PLAIN_ENUM_OPEN)
		memcpy(to, &small, sizeof(small));
	else
		memcpy(to, &value, sizeof(value));
	return true;
}

static bool store_plain(const struct plain *plain, const struct field *field, void *into)
{
	uint8_t *to = (uint8_t *)into + plain->offset;

	if (field->type != FIELD_BYTES)
		return store_number(plain, field->value, to);
	if (plain->type == PLAIN_BYTES) {
		memcpy(to, &field->bytes, sizeof(field->bytes));
		return true;
	}
	if (field->bytes.size != plain->most)
		return false;
	memcpy(to, field->bytes.data, field->bytes.size);
	return true;
}

bool take_plain(struct decoding *decoding, struct bytes message, const struct plain *table,
		size_t count, void *into)
{
	struct reader reader = reader_of(message);
	struct field field;

	while (reader_next(&reader, &field)) {
		const struct plain *plain = field.number < count ? &table[field.number] : NULL;

		if (!plain || plain->type == PLAIN_NONE || wire_type(plain->type) != field.type)
			continue;
		if (!store_plain(plain, &field, into))
			return decode_malformed(decoding);
	}
	return !reader.malformed || decode_malformed(decoding);
}

/* --- what repeats, and what has parts --------------------------------------------------------- */

bool next_run(struct reader *reader, uint32_t number, struct bytes *ret_run)
{
	struct field field;

	while (reader_next(reader, &field)) {
		if (field.number != number || field.type != FIELD_BYTES)
			continue;
		*ret_run = field.bytes;
		return true;
	}
	return false;
}

struct bytes last_run(struct bytes message, uint32_t number)
{
	struct reader reader = reader_of(message);
	struct bytes run = {0};

	while (next_run(&reader, number, &run))
		;
	return run;
}

bool take_repeated(struct decoding *decoding, struct bytes message, const struct repeated *repeated,
		   void *ret_array, size_t *ret_count)
{
	struct reader reader = reader_of(message);
	size_t count = 0, at = 0;
	struct bytes run;
	uint8_t *array;

	while (next_run(&reader, repeated->number, &run) && count <= repeated->max)
		count++;
	if (reader.malformed || count > repeated->max)
		return decode_malformed(decoding);
	if (!count)
		return true;
	array = arena_calloc(decoding->arena, count, repeated->size);
	if (!array)
		return decode_failed(decoding, fault(ERR_NOMEM, "%zu parts of a message", count));
	/* Before they are read, for an error in the middle: some own memory. */
	memcpy(ret_array, &array, sizeof(array));
	*ret_count = count;
	for (reader = reader_of(message); next_run(&reader, repeated->number, &run); at++)
		if (!repeated->take(decoding, run, array + at * repeated->size))
			return false;
	return true;
}

bool take_run(struct decoding *decoding, struct bytes run, void *into)
{
	(void)decoding;
	memcpy(into, &run, sizeof(run));
	return true;
}

bool take_site(struct decoding *decoding, struct bytes run, void *into)
{
	if (run.size != SITE_BYTES)
		return decode_malformed(decoding);
	memcpy(into, run.data, SITE_BYTES);
	return true;
}

bool take_vector(struct decoding *decoding, struct bytes run, struct vector *ret_vector)
{
	struct wire wire = wire_of(run);
	enum err e = run.size ? vector_decode(&wire, ret_vector) : ERR_OK;

	if (e)
		return decode_failed(decoding, e);
	return !wire_left(&wire) || decode_malformed(decoding);
}

bool take_actor(struct decoding *decoding, struct bytes run, void *into)
{
	static const struct plain table[] = {
		[1] = {PLAIN_ARRAY, AT(actor, site), SITE_BYTES},
		[2] = {PLAIN_U32, AT(actor, incarnation), 0},
	};

	return TAKE_PLAIN(decoding, run, table, into);
}

bool take_point(struct decoding *decoding, struct bytes run, void *into)
{
	static const struct plain table[] = {
		[1] = {PLAIN_REVISION, AT(chain_point, revision), 0},
		[2] = {PLAIN_FIXED64, AT(chain_point, hash), 0},
	};

	return TAKE_PLAIN(decoding, run, table, into);
}

bool take_range(struct decoding *decoding, struct bytes run, void *into)
{
	static const struct plain table[] = {
		[1] = {PLAIN_BYTES, AT(key_range, key), 0},
		[2] = {PLAIN_BYTES, AT(key_range, end), 0},
	};

	return TAKE_PLAIN(decoding, run, table, into);
}
