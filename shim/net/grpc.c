/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/grpc.h"

#include "shim/base/clock.h"

#include <assert.h>
#include <stdio.h>

#define CONTENT_TYPE "application/grpc"
#define TIMEOUT_CHARS_MAX 9 /* eight digits and a unit */

bool grpc_content_type(struct bytes value, struct bytes *ret_subtype)
{
	const size_t base = sizeof(CONTENT_TYPE) - 1;

	if (value.size < base || memcmp(value.data, CONTENT_TYPE, base) != 0)
		return false;
	if (value.size == base) {
		*ret_subtype = bytes_of(NULL, 0);
		return true;
	}
	if (value.data[base] != '+' && value.data[base] != ';')
		return false;
	*ret_subtype = bytes_of(value.data + base + 1, value.size - base - 1);
	return true;
}

static int64_t timeout_unit_ns(uint8_t unit)
{
	switch (unit) {
	case 'H':
		return 3600 * NS_PER_SECOND;
	case 'M':
		return 60 * NS_PER_SECOND;
	case 'S':
		return NS_PER_SECOND;
	case 'm':
		return NS_PER_MS;
	case 'u':
		return 1000;
	case 'n':
		return 1;
	default:
		return 0;
	}
}

static bool timeout_problem(struct bytes value, const char *what,
			    char problem[GRPC_TIMEOUT_PROBLEM_BYTES])
{
	char quoted[64];

	grpc_quote(value, quoted, sizeof quoted);
	snprintf(problem, GRPC_TIMEOUT_PROBLEM_BYTES, "transport: timeout %s: %s", what, quoted);
	return false;
}

bool grpc_timeout_parse(struct bytes value, int64_t *ret_timeout_ns,
			char problem[GRPC_TIMEOUT_PROBLEM_BYTES])
{
	struct bytes digits = value;
	int64_t unit_ns, count = 0;

	if (value.size < 2)
		return timeout_problem(value, "string is too short", problem);
	if (value.size > TIMEOUT_CHARS_MAX)
		return timeout_problem(value, "string is too long", problem);
	unit_ns = timeout_unit_ns(value.data[--digits.size]);
	if (!unit_ns)
		return timeout_problem(value, "unit is not recognized", problem);
	for (size_t i = 0; i < digits.size; i++) {
		if (digits.data[i] < '0' || digits.data[i] > '9') {
			char quoted[64];

			grpc_quote(digits, quoted, sizeof quoted);
			snprintf(problem, GRPC_TIMEOUT_PROBLEM_BYTES,
				 "strconv.ParseUint: parsing %s: invalid syntax", quoted);
			return false;
		}
		count = count * 10 + (digits.data[i] - '0');
	}
	if (__builtin_mul_overflow(count, unit_ns, ret_timeout_ns))
		*ret_timeout_ns = INT64_MAX;
	return true;
}

bool grpc_path_split(struct bytes path, struct bytes *ret_service, struct bytes *ret_name)
{
	const uint8_t *slash;

	if (!path.size || path.data[0] != '/')
		return false;
	slash = memrchr(path.data + 1, '/', path.size - 1);
	if (!slash)
		return false;
	*ret_service = bytes_of(path.data + 1, (size_t)(slash - path.data) - 1);
	*ret_name = bytes_of(slash + 1, path.size - (size_t)(slash + 1 - path.data));
	return true;
}

/* Bytes of the UTF-8 sequence in front, 0 when it is not one (overlong forms, surrogates and what
 * lies beyond U+10FFFF are none, as in Go). */
static size_t utf8_sequence(struct bytes text)
{
	const uint8_t *b = text.data;
	uint8_t low = 0x80, high = 0xbf;
	size_t length;

	if (b[0] < 0x80)
		return 1;
	if (b[0] >= 0xc2 && b[0] <= 0xdf)
		length = 2;
	else if ((b[0] & 0xf0) == 0xe0)
		length = 3;
	else if (b[0] >= 0xf0 && b[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (b[0] == 0xe0)
		low = 0xa0;
	else if (b[0] == 0xed)
		high = 0x9f;
	else if (b[0] == 0xf0)
		low = 0x90;
	else if (b[0] == 0xf4)
		high = 0x8f;
	if (text.size < length || b[1] < low || b[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	}
	return length;
}

/* One character of grpc_quote(); gives how many bytes of the value it stands for. */
static size_t quote_one(struct bytes rest, char out[8])
{
	static const char names[] = "abtnvfr"; /* 7..13 */
	size_t length = utf8_sequence(rest);
	uint8_t c = rest.data[0];

	if (c == '"' || c == '\\') {
		snprintf(out, 8, "\\%c", c);
	} else if (c >= 7 && c <= 13) {
		snprintf(out, 8, "\\%c", names[c - 7]);
	} else if (c < ' ' || c == 0x7f || !length) {
		snprintf(out, 8, "\\x%02x", c);
	} else {
		memcpy(out, rest.data, length);
		out[length] = '\0';
		return length;
	}
	return 1;
}

void grpc_quote(struct bytes value, char *out, size_t capacity)
{
	size_t used = 0;

	assert(capacity >= 3);
	out[used++] = '"';
	while (value.size) {
		char piece[8];
		size_t taken = quote_one(value, piece);
		size_t length = strlen(piece);

		if (used + length + 2 > capacity)
			break;
		memcpy(out + used, piece, length);
		used += length;
		value = bytes_of(value.data + taken, value.size - taken);
	}
	out[used++] = '"';
	out[used] = '\0';
}

static bool message_byte_is_plain(uint8_t c)
{
	return c >= ' ' && c <= '~' && c != '%';
}

bool grpc_message_is_plain(struct bytes text)
{
	for (size_t i = 0; i < text.size; i++) {
		if (!message_byte_is_plain(text.data[i]))
			return false;
	}
	return true;
}

static char *percent_write(char *out, const uint8_t *data, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < size; i++) {
		*out++ = '%';
		*out++ = hex[data[i] >> 4];
		*out++ = hex[data[i] & 0xf];
	}
	return out;
}

size_t grpc_message_encode(struct bytes text, char *out)
{
	static const uint8_t replacement[] = {0xef, 0xbf, 0xbd};
	char *end = out;

	while (text.size) {
		size_t length = utf8_sequence(text);

		if (!length)
			end = percent_write(end, replacement, sizeof replacement);
		else if (length == 1 && message_byte_is_plain(text.data[0]))
			*end++ = (char)text.data[0];
		else
			end = percent_write(end, text.data, length);
		length = length ? length : 1;
		text = bytes_of(text.data + length, text.size - length);
	}
	return (size_t)(end - out);
}

enum grpc_encoding grpc_encoding_parse(struct bytes value)
{
	if (!value.size || bytes_equal(value, BYTES_LITERAL("identity")))
		return GRPC_IDENTITY;
	return bytes_equal(value, BYTES_LITERAL("gzip")) ? GRPC_GZIP : GRPC_UNKNOWN_ENCODING;
}

void grpc_prefix_write(uint8_t prefix[GRPC_PREFIX_BYTES], uint32_t message_bytes)
{
	prefix[0] = 0;
	prefix[1] = (uint8_t)(message_bytes >> 24);
	prefix[2] = (uint8_t)(message_bytes >> 16);
	prefix[3] = (uint8_t)(message_bytes >> 8);
	prefix[4] = (uint8_t)message_bytes;
}
