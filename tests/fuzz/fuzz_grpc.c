/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC's framing and metadata: any bytes.
 *
 * What must hold: messages are the same however the bytes were cut, and those that a plain reading
 * of the bytes gives; no message is longer than the limit, compressed or not; what is unpacked is
 * what zlib unpacks; what is percent-encoded or quoted reads back as it was. */
#include "tests/fuzz/fuzz.h"

#include "api/reader.h"
#include "shim/net/grpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define OUT_BYTES_MAX ((size_t)1 << 24)

static void append(struct buffer *buffer, struct bytes bytes)
{
	fuzz_must(buffer_append(buffer, bytes));
}

/* --- messages --- */

struct reading {
	size_t bytes_max;
	enum grpc_encoding encoding;
	bool keep;
	uint8_t cuts[2];
};

/* All messages, each with its length in front, then how it ended. */
static struct buffer read_in_pieces(const struct reading *how, struct bytes input, bool whole)
{
	struct buffer out = BUFFER_INIT(OUT_BYTES_MAX);
	struct grpc_reader reader;
	enum grpc_read outcome = GRPC_READ_MORE;
	struct grpc_problem problem = {0};

	grpc_reader_init(&reader, how->bytes_max);
	reader.encoding = how->encoding;
	reader.keep = how->keep;
	for (size_t i = 0; input.size && outcome != GRPC_READ_FAILED; i++) {
		size_t size = whole ? input.size : (size_t)how->cuts[i % 2] + 1;
		struct bytes piece, message;

		size = size < input.size ? size : input.size;
		piece = bytes_of(input.data, size);
		input = bytes_of(input.data + size, input.size - size);
		while (piece.size && outcome != GRPC_READ_FAILED) {
			outcome = grpc_reader_step(&reader, &piece, &message, &problem);
			if (outcome != GRPC_READ_MESSAGE)
				continue;
			fuzz_must(message.size <= how->bytes_max);
			append(&out, bytes_of(&message.size, sizeof(message.size)));
			append(&out, message);
		}
	}
	fuzz_must(buffer_append_format(&out, "%d %d %s", outcome == GRPC_READ_FAILED,
				       grpc_reader_is_partial(&reader), problem.text));
	grpc_reader_fini(&reader);
	return out;
}

/* The uncompressed messages in front, as the specification says in one sentence. */
static struct buffer read_plainly(size_t bytes_max, struct bytes input)
{
	struct buffer out = BUFFER_INIT(OUT_BYTES_MAX);

	while (input.size >= GRPC_PREFIX_BYTES && !input.data[0]) {
		size_t size = (size_t)input.data[1] << 24 | (size_t)input.data[2] << 16 |
			      (size_t)input.data[3] << 8 | input.data[4];

		if (size > bytes_max || size > input.size - GRPC_PREFIX_BYTES)
			break;
		append(&out, bytes_of(&size, sizeof(size)));
		append(&out, bytes_of(input.data + GRPC_PREFIX_BYTES, size));
		size += GRPC_PREFIX_BYTES;
		input = bytes_of(input.data + size, input.size - size);
	}
	return out;
}

static void fuzz_messages(struct fuzz_input *input)
{
	struct reading how = {
		.bytes_max = (size_t)fuzz_byte(input) * 16,
		.encoding = fuzz_below(input, 2) ? GRPC_GZIP : GRPC_IDENTITY,
		.keep = fuzz_below(input, 2),
		.cuts = {fuzz_byte(input), fuzz_byte(input)},
	};
	struct bytes rest = fuzz_rest(input);
	struct buffer whole = read_in_pieces(&how, rest, true);
	struct buffer pieces = read_in_pieces(&how, rest, false);
	struct buffer plain = read_plainly(how.bytes_max, rest);

	fuzz_must(bytes_equal(buffer_bytes(&whole), buffer_bytes(&pieces)));
	fuzz_must(plain.size <= whole.size);
	fuzz_must(!plain.size ||
		  !memcmp(buffer_bytes(&plain).data, buffer_bytes(&whole).data, plain.size));
	buffer_fini(&whole);
	buffer_fini(&pieces);
	buffer_fini(&plain);
}

/* --- gzip --- */

/* zlib asked at one go, with more room than the limit. */
static bool gunzip_plainly(struct bytes input, size_t max, struct buffer *out)
{
	z_stream stream = {.avail_in = (uInt)input.size};
	int outcome;

	fuzz_must(inflateInit2(&stream, 16 + MAX_WBITS) == Z_OK);
	fuzz_must(buffer_reserve(out, max + 64));
	stream.next_in = (Bytef *)(uintptr_t)input.data;
	stream.next_out = buffer_end(out);
	stream.avail_out = (uInt)(max + 64);
	do {
		outcome = inflate(&stream, Z_NO_FLUSH);
		if (outcome == Z_STREAM_END && stream.avail_in)
			outcome = inflateReset(&stream) == Z_OK ? Z_OK : Z_DATA_ERROR;
	} while (outcome == Z_OK && stream.avail_out);
	out->size += max + 64 - stream.avail_out;
	inflateEnd(&stream);
	return outcome == Z_STREAM_END;
}

static void fuzz_gunzip(struct fuzz_input *input)
{
	size_t max = fuzz_number(input, 2);
	struct bytes rest = fuzz_rest(input);
	struct buffer ours = BUFFER_INIT(max + 1), plain = BUFFER_INIT(max + 64);
	struct grpc_problem problem;
	bool is_sound = gunzip_plainly(rest, max, &plain);

	if (grpc_gunzip(rest, max, &ours, &problem) == GRPC_READ_MESSAGE) {
		fuzz_must(is_sound && ours.size <= max);
		fuzz_must(bytes_equal(buffer_bytes(&ours), buffer_bytes(&plain)));
	} else {
		fuzz_must(!is_sound || plain.size > max);
		fuzz_must(problem.status != STATUS_OK && problem.text[0]);
	}
	buffer_fini(&ours);
	buffer_fini(&plain);
}

/* A message that unpacks to far more than it weighs. */
static void fuzz_bomb(struct fuzz_input *input)
{
	size_t max = fuzz_number(input, 2);
	size_t size = max + fuzz_below(input, 16) - 8 + (size_t)fuzz_byte(input) * 1000;
	struct buffer packed = BUFFER_INIT(OUT_BYTES_MAX), ours = BUFFER_INIT(max + 1);
	struct grpc_problem problem;
	z_stream stream = {0};
	uint8_t *zeros;

	size = size < OUT_BYTES_MAX ? size : 0;
	zeros = calloc(1, size + 1);
	fuzz_must(zeros && buffer_reserve(&packed, size / 2 + 1024));
	fuzz_must(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, 0) == Z_OK);
	stream.next_in = zeros;
	stream.avail_in = (uInt)size;
	stream.next_out = buffer_end(&packed);
	stream.avail_out = (uInt)(size / 2 + 1024);
	fuzz_must(deflate(&stream, Z_FINISH) == Z_STREAM_END);
	packed.size = size / 2 + 1024 - stream.avail_out;
	deflateEnd(&stream);
	fuzz_must((grpc_gunzip(buffer_bytes(&packed), max, &ours, &problem) == GRPC_READ_MESSAGE) ==
		  (size <= max));
	fuzz_must(ours.size <= max + 1);
	free(zeros);
	buffer_fini(&packed);
	buffer_fini(&ours);
}

/* --- metadata --- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void fuzz_message_encode(struct bytes text)
{
	char *out = malloc(text.size * GRPC_MESSAGE_GROWTH + 1);
	char *decoded = malloc(text.size * GRPC_MESSAGE_GROWTH + 1);
	size_t size, count = 0, at = 0, length, taken;

	fuzz_must(out && decoded);
	size = grpc_message_encode(text, out);
	fuzz_must(size <= text.size * GRPC_MESSAGE_GROWTH);
	for (size_t i = 0; i < size; i++) {
		fuzz_must(out[i] >= ' ' && out[i] <= '~');
		decoded[count++] = out[i];
		if (out[i] != '%')
			continue;
		fuzz_must(i + 2 < size && hex_digit(out[i + 1]) >= 0 && hex_digit(out[i + 2]) >= 0);
		decoded[count - 1] = (char)(hex_digit(out[i + 1]) * 16 + hex_digit(out[i + 2]));
		i += 2;
	}
	for (size_t i = 0; i < text.size; at += length, i += taken) {
		struct bytes want = BYTES_LITERAL("\xef\xbf\xbd"); /* for what is no UTF-8 */

		taken = 1;
		for (length = 1; length <= 4 && length <= text.size - i; length++)
			if (utf8_is_valid(bytes_of(text.data + i, length))) {
				want = bytes_of(text.data + i, length);
				taken = length;
				break;
			}
		length = want.size;
		fuzz_must(count - at >= length && !memcmp(decoded + at, want.data, length));
	}
	fuzz_must(at == count);
	fuzz_must(!grpc_message_is_plain(text) ||
		  (size == text.size && (!size || !memcmp(out, text.data, size))));
	free(out);
	free(decoded);
}

static void fuzz_timeout(struct bytes value)
{
	static const char units[] = "numSMH";
	static const double unit_ns[] = {1, 1e3, 1e6, 1e9, 6e10, 3.6e12};
	char problem[GRPC_TIMEOUT_PROBLEM_BYTES] = "";
	const char *unit = value.size ? strchr(units, value.data[value.size - 1]) : NULL;
	bool is_good = unit && *unit && value.size >= 2 && value.size <= 9;
	int64_t timeout_ns = -1;
	double expected = 0;

	for (size_t i = 0; is_good && i + 1 < value.size; i++) {
		is_good = value.data[i] >= '0' && value.data[i] <= '9';
		expected = expected * 10 + value.data[i] - '0';
	}
	fuzz_must(grpc_timeout_parse(value, &timeout_ns, problem) == is_good);
	if (!is_good) {
		fuzz_must(problem[0] && strlen(problem) < sizeof(problem));
		return;
	}
	expected *= unit_ns[unit - units];
	if (expected > 9.2e18)
		fuzz_must(timeout_ns > (int64_t)9e18);
	else
		fuzz_must((double)timeout_ns >= expected * 0.999 &&
			  (double)timeout_ns <= expected * 1.001);
}

static void fuzz_words(struct bytes value)
{
	struct bytes first = {0}, second = {0};
	char *quoted;

	if (grpc_content_type(value, &first))
		fuzz_must(value.size == 16 || first.size + 17 == value.size);
	if (grpc_path_split(value, &first, &second))
		fuzz_must(first.size + second.size + 2 == value.size &&
			  !memchr(second.data ? second.data : value.data, '/', second.size));
	(void)grpc_encoding_parse(value);
	for (size_t capacity = 3; capacity < 80; capacity += 7) {
		quoted = malloc(capacity);
		fuzz_must(quoted);
		grpc_quote(value, quoted, capacity);
		fuzz_must(strlen(quoted) < capacity && quoted[0] == '"' &&
			  quoted[strlen(quoted) - 1] == '"' && !strchr(quoted, '\n'));
		free(quoted);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);

	fuzz_quiet();
	switch (fuzz_below(&input, 6)) {
	case 0:
		fuzz_messages(&input);
		break;
	case 1:
		fuzz_gunzip(&input);
		break;
	case 2:
		fuzz_bomb(&input);
		break;
	case 3:
		fuzz_message_encode(fuzz_rest(&input));
		break;
	case 4:
		fuzz_timeout(fuzz_rest(&input));
		break;
	default:
		fuzz_words(fuzz_rest(&input));
		break;
	}
	return 0;
}
