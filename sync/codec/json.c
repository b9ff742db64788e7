/* SPDX-License-Identifier: Apache-2.0 */
/* json.c - JSON as Go's encoder writes it: no white space.  Anything else is refused here, and the
 * value is opaque. */
#include "sync/codec/format.h"
#include "sync/limits.h"

static bool take_byte(struct wire *wire, uint8_t byte)
{
	if (wire->at == wire->end || *wire->at != byte)
		return false;
	wire->at++;
	return true;
}

/* Between the quotes, as written. */
static bool take_string(struct wire *wire, struct bytes *ret_text)
{
	const uint8_t *start;

	if (!take_byte(wire, '"'))
		return false;
	start = wire->at;
	for (; wire->at < wire->end && *wire->at != '"'; wire->at++) {
		if (*wire->at < 0x20)
			return false;
		if (*wire->at != '\\')
			continue;
		if (wire_left(wire) < 2 || !strchr("\"\\/bfnrtu", wire->at[1]) || !wire->at[1])
			return false;
		wire->at++;
	}
	*ret_text = bytes_of(start, (size_t)(wire->at - start));
	return take_byte(wire, '"');
}

static bool take_digits(struct wire *wire)
{
	const uint8_t *start = wire->at;

	while (wire->at < wire->end && *wire->at >= '0' && *wire->at <= '9')
		wire->at++;
	return wire->at > start;
}

static bool take_number(struct wire *wire)
{
	take_byte(wire, '-');
	if (!take_byte(wire, '0') && !take_digits(wire))
		return false;
	if (take_byte(wire, '.') && !take_digits(wire))
		return false;
	if (take_byte(wire, 'e') || take_byte(wire, 'E')) {
		if (!take_byte(wire, '+'))
			take_byte(wire, '-');
		return take_digits(wire);
	}
	return true;
}

static bool take_word(struct wire *wire, const char *word)
{
	struct bytes bytes;

	return wire_take_fixed(wire, strlen(word), &bytes) &&
	       bytes_equal(bytes, bytes_of_string(word));
}

/* A value that holds no others. */
static bool take_plain(struct wire *wire)
{
	struct bytes text;

	switch (wire->at == wire->end ? 0 : *wire->at) {
	case '"':
		return take_string(wire, &text);
	case 't':
		return take_word(wire, "true");
	case 'f':
		return take_word(wire, "false");
	case 'n':
		return take_word(wire, "null");
	default:
		return take_number(wire);
	}
}

struct nest { /* what is open: '{' or '[' */
	uint8_t open[CODEC_DEPTH_MAX];
	size_t depth;
};

/* Opens what begins here, or takes a plain value; false in ret_closed: something is open. */
static bool take_begin(struct wire *wire, struct nest *nest, bool *ret_closed)
{
	struct bytes name;
	uint8_t byte = wire->at == wire->end ? 0 : *wire->at;

	*ret_closed = true;
	if (byte != '{' && byte != '[')
		return take_plain(wire);
	wire->at++;
	if (take_byte(wire, byte == '{' ? '}' : ']'))
		return true;
	if (nest->depth == CODEC_DEPTH_MAX)
		return false;
	nest->open[nest->depth++] = byte;
	*ret_closed = false;
	return byte == '[' || (take_string(wire, &name) && take_byte(wire, ':'));
}

/* After a value: closes what ends, or stands before the next value. */
static bool take_after(struct wire *wire, struct nest *nest)
{
	while (nest->depth) {
		uint8_t open = nest->open[nest->depth - 1];
		struct bytes name;

		if (take_byte(wire, open == '{' ? '}' : ']')) {
			nest->depth--;
			continue;
		}
		if (!take_byte(wire, ','))
			return false;
		return open == '[' || (take_string(wire, &name) && take_byte(wire, ':'));
	}
	return true;
}

static bool take_value(struct wire *wire, struct bytes *ret_value)
{
	const uint8_t *start = wire->at;
	struct nest nest = {.depth = 0};
	bool closed;

	do {
		if (!take_begin(wire, &nest, &closed))
			return false;
		if (closed && !take_after(wire, &nest))
			return false;
	} while (nest.depth);
	*ret_value = bytes_of(start, (size_t)(wire->at - start));
	return true;
}

static bool take_member(struct wire *wire, struct item *ret_item)
{
	const uint8_t *start = wire->at;

	*ret_item = (struct item){0};
	if (!take_string(wire, &ret_item->name) || !take_byte(wire, ':') ||
	    !take_value(wire, &ret_item->value))
		return false;
	ret_item->whole = bytes_of(start, (size_t)(wire->at - start));
	return true;
}

static bool take_element(struct wire *wire, struct item *ret_item)
{
	*ret_item = (struct item){0};
	if (!take_value(wire, &ret_item->value))
		return false;
	ret_item->whole = ret_item->value;
	return true;
}

static bool read_all(struct work *work, struct bytes text, bool list, struct items *ret_items)
{
	struct wire wire = wire_of(text);
	uint8_t close = list ? ']' : '}';

	*ret_items = (struct items){0};
	if (!take_byte(&wire, list ? '[' : '{'))
		return false;
	if (take_byte(&wire, close))
		return !wire_left(&wire);
	for (;;) {
		struct item item;

		if (!(list ? take_element(&wire, &item) : take_member(&wire, &item)) ||
		    !items_add(work, ret_items, item))
			return false;
		if (take_byte(&wire, close))
			return !wire_left(&wire);
		if (!take_byte(&wire, ','))
			return false;
	}
}

static bool read_fields(struct work *work, struct bytes container, struct items *ret_items)
{
	return read_all(work, container, false, ret_items);
}

static bool read_map(struct work *work, const struct item *field, struct items *ret_items)
{
	return read_all(work, field->value, false, ret_items);
}

static bool read_list(struct work *work, const struct item *field, struct items *ret_items)
{
	return read_all(work, field->value, true, ret_items);
}

static bool read_text(struct bytes value, struct bytes *ret_text)
{
	struct wire wire = wire_of(value);

	return take_string(&wire, ret_text) && !wire_left(&wire);
}

static int compare_fields(const struct item *a, const struct item *b)
{
	return bytes_compare(a->name, b->name);
}

static bool put_joined(struct buffer *buffer, const char *brackets, const struct item *items,
		       size_t count)
{
	if (!buffer_append(buffer, bytes_of(brackets, 1)))
		return false;
	for (size_t i = 0; i < count; i++)
		if ((i && !buffer_append(buffer, BYTES_LITERAL(","))) ||
		    !buffer_append(buffer, items[i].whole))
			return false;
	return buffer_append(buffer, bytes_of(brackets + 1, 1));
}

static bool put_name(struct buffer *buffer, struct bytes name)
{
	return buffer_append(buffer, BYTES_LITERAL("\"")) && buffer_append(buffer, name) &&
	       buffer_append(buffer, BYTES_LITERAL("\":"));
}

static bool put_container(struct buffer *buffer, const struct item *items, size_t count)
{
	return put_joined(buffer, "{}", items, count);
}

static bool put_struct(struct buffer *buffer, struct frame frame, struct bytes container)
{
	return put_name(buffer, frame.name) && buffer_append(buffer, container);
}

static bool put_map(struct buffer *buffer, struct frame frame, const struct item *items,
		    size_t count)
{
	return put_name(buffer, frame.name) && put_joined(buffer, "{}", items, count);
}

static bool put_list(struct buffer *buffer, struct frame frame, const struct item *items,
		     size_t count)
{
	return put_name(buffer, frame.name) && put_joined(buffer, "[]", items, count);
}

const struct format format_json = {
	.format = OBJECT_JSON,
	.read_fields = read_fields,
	.read_map = read_map,
	.read_list = read_list,
	.read_text = read_text,
	.compare_fields = compare_fields,
	.compare_names = bytes_compare,
	.put_container = put_container,
	.put_struct = put_struct,
	.put_map = put_map,
	.put_list = put_list,
};
