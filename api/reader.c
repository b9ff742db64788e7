/* SPDX-License-Identifier: Apache-2.0 */
#include "api/reader.h"

#define FIELD_NUMBER_MAX ((UINT64_C(1) << 29) - 1)

static bool take_varint(struct reader *reader, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 70 && reader->at < reader->end; shift += 7) {
		uint8_t byte = *reader->at++;

		/* The tenth byte has room for one bit. */
		if (shift == 63 && byte > 1)
			return false;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

static bool take_fixed(struct reader *reader, size_t size, uint64_t *ret_value)
{
	uint64_t value = 0;

	if ((size_t)(reader->end - reader->at) < size)
		return false;
	for (size_t i = 0; i < size; i++)
		value |= (uint64_t)reader->at[i] << (8 * i);
	reader->at += size;
	*ret_value = value;
	return true;
}

static bool take_bytes(struct reader *reader, struct bytes *ret_bytes)
{
	uint64_t size;

	if (!take_varint(reader, &size) || size > (uint64_t)(reader->end - reader->at))
		return false;
	*ret_bytes = bytes_of(reader->at, (size_t)size);
	reader->at += size;
	return true;
}

/* The tag and, but for groups, what follows it. */
static bool take_field(struct reader *reader, struct field *ret_field)
{
	uint64_t tag;

	if (!take_varint(reader, &tag) || tag >> 3 == 0 || tag >> 3 > FIELD_NUMBER_MAX)
		return false;
	*ret_field = (struct field){.number = (uint32_t)(tag >> 3)};
	switch (tag & 7) {
	case FIELD_VARINT:
		ret_field->type = FIELD_VARINT;
		return take_varint(reader, &ret_field->value);
	case FIELD_FIXED64:
		ret_field->type = FIELD_FIXED64;
		return take_fixed(reader, 8, &ret_field->value);
	case FIELD_BYTES:
		ret_field->type = FIELD_BYTES;
		return take_bytes(reader, &ret_field->bytes);
	case FIELD_GROUP:
		ret_field->type = FIELD_GROUP;
		return true;
	case FIELD_GROUP_END:
		ret_field->type = FIELD_GROUP_END;
		return true;
	case FIELD_FIXED32:
		ret_field->type = FIELD_FIXED32;
		return take_fixed(reader, 4, &ret_field->value);
	default:
		return false;
	}
}

/* Ends behind the end tag that belongs to `number`. */
static bool skip_group(struct reader *reader, uint32_t number)
{
	uint32_t open[GROUP_DEPTH_MAX];
	size_t depth = 0;

	open[depth++] = number;
	while (depth > 0) {
		struct field field;

		if (!take_field(reader, &field))
			return false;
		if (field.type == FIELD_GROUP_END) {
			if (field.number != open[--depth])
				return false;
		} else if (field.type == FIELD_GROUP) {
			if (depth == GROUP_DEPTH_MAX)
				return false;
			open[depth++] = field.number;
		}
	}
	return true;
}

bool reader_next(struct reader *reader, struct field *ret_field)
{
	if (reader->malformed || reader->at == reader->end)
		return false;
	if (!take_field(reader, ret_field) || ret_field->type == FIELD_GROUP_END ||
	    (ret_field->type == FIELD_GROUP && !skip_group(reader, ret_field->number))) {
		reader->malformed = true;
		return false;
	}
	return true;
}

/* How many bytes follow a lead byte, and what the first of them may be: this excludes overlong
 * forms, surrogates and what lies above U+10FFFF. */
static bool utf8_lead(uint8_t lead, size_t *ret_more, uint8_t *ret_low, uint8_t *ret_high)
{
	*ret_low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	*ret_high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
	*ret_more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
	return lead < 0x80 || (lead >= 0xc2 && lead <= 0xf4);
}

bool utf8_is_valid(struct bytes text)
{
	for (size_t i = 0; i < text.size;) {
		uint8_t low, high;
		size_t more;

		if (!utf8_lead(text.data[i++], &more, &low, &high) || text.size - i < more)
			return false;
		for (; more > 0; more--, low = 0x80, high = 0xbf) {
			uint8_t byte = text.data[i++];

			if (byte < low || byte > high)
				return false;
		}
	}
	return true;
}
