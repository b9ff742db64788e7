/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/wire.h"

#include "tests/bench/common.h"

#define WIRE_VARINT 0u
#define WIRE_BYTES 2u
#define COMPARE_MOD 2
#define LIST_LIMIT_NONE 0

/* --- keys -------------------------------------------------------------------------------- */

struct bytes key_make(uint8_t out[KEY_BYTES], uint64_t number)
{
	memcpy(out, KEY_PREFIX "pod-", KEY_BYTES - 8);
	for (size_t i = KEY_BYTES; i > KEY_BYTES - 8; i--) {
		out[i - 1] = (uint8_t)('0' + number % 10);
		number /= 10;
	}
	return bytes_of(out, KEY_BYTES);
}

int64_t key_number(struct bytes key)
{
	int64_t number = 0;

	if (key.size != KEY_BYTES || memcmp(key.data, KEY_PREFIX "pod-", KEY_BYTES - 8) != 0)
		return -1;
	for (size_t i = KEY_BYTES - 8; i < KEY_BYTES; i++) {
		if (key.data[i] < '0' || key.data[i] > '9')
			return -1;
		number = number * 10 + key.data[i] - '0';
	}
	return number;
}

/* --- writing ----------------------------------------------------------------------------- */

static void put_varint(struct buffer *out, uint64_t value)
{
	uint8_t raw[10];
	size_t size = 0;

	do {
		raw[size++] = (uint8_t)(value & 0x7f) | (value > 0x7f ? 0x80 : 0);
		value >>= 7;
	} while (value);
	if (!buffer_append(out, bytes_of(raw, size)))
		die("out of memory");
}

void wire_number(struct buffer *out, unsigned field, int64_t value)
{
	put_varint(out, field << 3 | WIRE_VARINT);
	put_varint(out, (uint64_t)value);
}

void wire_bytes(struct buffer *out, unsigned field, struct bytes value)
{
	put_varint(out, field << 3 | WIRE_BYTES);
	put_varint(out, value.size);
	if (!buffer_append(out, value))
		die("out of memory");
}

/* One level of nesting each; emptied when taken. */
static struct buffer *scratch(unsigned level)
{
	static struct buffer levels[2];

	levels[level].bytes_max = MESSAGE_BYTES_MAX;
	levels[level].size = 0;
	return &levels[level];
}

void wire_put(struct buffer *out, struct bytes key, struct bytes value)
{
	out->size = 0;
	wire_bytes(out, 1, key);
	wire_bytes(out, 2, value);
}

void wire_get(struct buffer *out, struct bytes key)
{
	out->size = 0;
	wire_bytes(out, 1, key);
}

void wire_list(struct buffer *out, struct bytes first, int64_t limit)
{
	out->size = 0;
	wire_bytes(out, 1, first);
	wire_bytes(out, 2, BYTES_LITERAL(KEY_PREFIX_END));
	if (limit != LIST_LIMIT_NONE)
		wire_number(out, 3, limit);
}

/* RequestOp.request_put */
static void put_put_op(struct buffer *out, struct bytes key, struct bytes value)
{
	struct buffer *put = scratch(0), *op = scratch(1);

	wire_bytes(put, 1, key);
	wire_bytes(put, 2, value);
	wire_bytes(op, 2, buffer_bytes(put));
	wire_bytes(out, 2, buffer_bytes(op));
}

void wire_update(struct buffer *out, struct bytes key, int64_t revision, struct bytes value)
{
	struct buffer *compare = scratch(0), *op;

	out->size = 0;
	wire_number(compare, 2, COMPARE_MOD);
	wire_bytes(compare, 3, key);
	wire_number(compare, 6, revision);
	wire_bytes(out, 1, buffer_bytes(compare));
	put_put_op(out, key, value);
	compare = scratch(0);
	op = scratch(1);
	wire_bytes(compare, 1, key);
	wire_bytes(op, 1, buffer_bytes(compare));
	wire_bytes(out, 3, buffer_bytes(op));
}

void wire_put_many(struct buffer *out, uint64_t first, unsigned count, struct bytes value)
{
	uint8_t key[KEY_BYTES];

	out->size = 0;
	for (unsigned i = 0; i < count; i++)
		put_put_op(out, key_make(key, first + i), value);
}

void wire_compact(struct buffer *out, int64_t revision)
{
	out->size = 0;
	wire_number(out, 1, revision);
}

void wire_lease_grant(struct buffer *out, int64_t ttl_seconds)
{
	out->size = 0;
	wire_number(out, 1, ttl_seconds);
}

void wire_keep_alive(struct buffer *out, int64_t lease)
{
	out->size = 0;
	wire_number(out, 1, lease);
}

/* As kube-apiserver watches: from a known revision on, previous values, progress when idle. */
void wire_watch(struct buffer *out, struct bytes prefix, struct bytes prefix_end, int64_t start)
{
	struct buffer *create = scratch(0);

	wire_bytes(create, 1, prefix);
	wire_bytes(create, 2, prefix_end);
	wire_number(create, 3, start);
	wire_number(create, 4, 1);
	wire_number(create, 6, 1);
	out->size = 0;
	wire_bytes(out, 1, buffer_bytes(create));
}

/* --- reading ----------------------------------------------------------------------------- */

static bool take_varint(struct bytes *from, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (size_t i = 0; i < from->size && i < 10; i++) {
		value |= (uint64_t)(from->data[i] & 0x7f) << (7 * i);
		if (from->data[i] < 0x80) {
			*ret_value = value;
			*from = bytes_of(from->data + i + 1, from->size - i - 1);
			return true;
		}
	}
	return false;
}

bool wire_next(struct bytes *message, struct wire_field *ret_field)
{
	uint64_t tag, size;

	if (!message->size || !take_varint(message, &tag))
		return false;
	ret_field->number = (unsigned)(tag >> 3);
	ret_field->bytes = bytes_of(NULL, 0);
	if ((tag & 7) == WIRE_VARINT)
		return take_varint(message, &ret_field->value);
	if ((tag & 7) != WIRE_BYTES || !take_varint(message, &size) || size > message->size)
		return false;
	ret_field->bytes = bytes_of(message->data, size);
	*message = bytes_of(message->data + size, message->size - size);
	return true;
}

static int64_t header_revision(struct bytes header)
{
	struct wire_field field;

	while (wire_next(&header, &field)) {
		if (field.number == 3)
			return (int64_t)field.value;
	}
	return 0;
}

const char *check_put(struct bytes message, int64_t *ret_revision)
{
	struct wire_field field;

	*ret_revision = 0;
	while (wire_next(&message, &field)) {
		if (field.number == 1)
			*ret_revision = header_revision(field.bytes);
	}
	if (message.size)
		return "the answer is malformed";
	return *ret_revision > 0 ? NULL : "a write without a revision";
}

const char *check_update(struct bytes message, int64_t *ret_revision)
{
	struct wire_field field;
	bool is_written = false;

	*ret_revision = 0;
	while (wire_next(&message, &field)) {
		if (field.number == 1)
			*ret_revision = header_revision(field.bytes);
		else if (field.number == 2)
			is_written = field.value;
	}
	if (message.size)
		return "the answer is malformed";
	if (!is_written)
		return "the revision of a key was not the one last answered";
	return *ret_revision > 0 ? NULL : "a write without a revision";
}

const char *check_lease(struct bytes message, int64_t *ret_lease)
{
	struct wire_field field;
	int64_t ttl = 0;

	*ret_lease = 0;
	while (wire_next(&message, &field)) {
		if (field.number == 2)
			*ret_lease = (int64_t)field.value;
		else if (field.number == 3)
			ttl = (int64_t)field.value;
	}
	return ttl > 0 && *ret_lease ? NULL : "the lease is gone";
}

static const char *check_pair(struct bytes pair, struct range_seen *seen)
{
	struct bytes key = {0}, value = {0};
	struct wire_field field;

	while (wire_next(&pair, &field)) {
		if (field.number == 1)
			key = field.bytes;
		else if (field.number == 3)
			seen->mod_revision = (int64_t)field.value;
		else if (field.number == 5)
			value = field.bytes;
	}
	if (key_number(key) != (int64_t)(seen->first + seen->kvs))
		return "a key is missing, foreign or out of order";
	if (value.size != seen->value_bytes)
		return "a value has the wrong size";
	seen->kvs++;
	return NULL;
}

const char *check_range(struct bytes message, bool is_stream, struct range_seen *seen)
{
	struct wire_field field;
	const char *problem;

	if (is_stream) {
		if (!wire_next(&message, &field) || field.number != 1 || message.size)
			return "not a message of RangeStream";
		message = field.bytes;
	}
	while (wire_next(&message, &field)) {
		problem = field.number == 2 ? check_pair(field.bytes, seen) : NULL;
		if (problem)
			return problem;
	}
	return message.size ? "the answer is malformed" : NULL;
}

static const char *check_event(struct bytes event, int64_t *ret_key, int64_t *ret_revision)
{
	struct bytes pair = {0};
	struct wire_field field;

	*ret_key = -1;
	*ret_revision = 0;
	while (wire_next(&event, &field)) {
		if (field.number == 2)
			pair = field.bytes;
	}
	while (wire_next(&pair, &field)) {
		if (field.number == 1)
			*ret_key = key_number(field.bytes);
		else if (field.number == 3)
			*ret_revision = (int64_t)field.value;
	}
	return *ret_key >= 0 && *ret_revision > 0 ? NULL : "an event of a foreign key";
}

const char *check_watch(struct bytes message, struct watch_seen *ret_seen,
			void (*on_event)(void *context, int64_t key, int64_t revision),
			void *context)
{
	struct wire_field field;

	*ret_seen = (struct watch_seen){0};
	while (wire_next(&message, &field)) {
		int64_t key, revision;
		const char *problem;

		if (field.number == 3)
			ret_seen->created = field.value;
		else if (field.number == 4)
			ret_seen->cancelled = field.value;
		if (field.number != 11)
			continue;
		problem = check_event(field.bytes, &key, &revision);
		if (problem)
			return problem;
		ret_seen->events++;
		on_event(context, key, revision);
	}
	return message.size ? "the answer is malformed" : NULL;
}
