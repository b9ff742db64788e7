/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shim/base/clock.h"
#include "shim/net/grpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

static void test_content_type(void **unused)
{
	const struct {
		const char *value, *subtype; /* NULL: not gRPC */
	} rows[] = {
		{"application/grpc", ""},
		{"application/grpc+proto", "proto"},
		{"application/grpc;charset=utf-8", "charset=utf-8"},
		{"application/grpc+", ""},
		{"application/grpcx", NULL},
		{"application/grpc-web", NULL},
		{"application/json", NULL},
		{"application/grp", NULL},
		{"", NULL},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct bytes subtype = {0};
		bool is_grpc = grpc_content_type(bytes_of_string(rows[i].value), &subtype);

		assert_int_equal(is_grpc, rows[i].subtype != NULL);
		if (is_grpc)
			assert_true(bytes_equal(subtype, bytes_of_string(rows[i].subtype)));
	}
}

static void test_timeout(void **unused)
{
	const struct {
		const char *value;
		int64_t ns;
	} good[] = {
		{"1H", 3600 * NS_PER_SECOND},
		{"2M", 120 * NS_PER_SECOND},
		{"3S", 3 * NS_PER_SECOND},
		{"1999m", 1999 * NS_PER_MS},
		{"500u", 500000},
		{"0n", 0},
		{"99999999n", 99999999},
		{"99999999H", INT64_MAX},
	};
	const struct {
		const char *value, *problem;
	} bad[] = {
		{"", "transport: timeout string is too short: \"\""},
		{"S", "transport: timeout string is too short: \"S\""},
		{"123456789S", "transport: timeout string is too long: \"123456789S\""},
		{"1x", "transport: timeout unit is not recognized: \"1x\""},
		{"-1S", "strconv.ParseUint: parsing \"-1\": invalid syntax"},
		{"1 S", "strconv.ParseUint: parsing \"1 \": invalid syntax"},
	};
	char problem[GRPC_TIMEOUT_PROBLEM_BYTES];
	int64_t ns;

	(void)unused;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_true(grpc_timeout_parse(bytes_of_string(good[i].value), &ns, problem));
		assert_true(ns == good[i].ns);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_false(grpc_timeout_parse(bytes_of_string(bad[i].value), &ns, problem));
		assert_string_equal(problem, bad[i].problem);
	}
}

static void test_path(void **unused)
{
	struct bytes service, name;

	(void)unused;
	assert_true(grpc_path_split(BYTES_LITERAL("/a.B/C"), &service, &name));
	assert_true(bytes_equal(service, BYTES_LITERAL("a.B")));
	assert_true(bytes_equal(name, BYTES_LITERAL("C")));
	assert_true(grpc_path_split(BYTES_LITERAL("/a/b/C"), &service, &name));
	assert_true(bytes_equal(service, BYTES_LITERAL("a/b")));
	assert_true(grpc_path_split(BYTES_LITERAL("//"), &service, &name));
	assert_int_equal(service.size, 0);
	assert_int_equal(name.size, 0);
	assert_false(grpc_path_split(BYTES_LITERAL("a/b"), &service, &name));
	assert_false(grpc_path_split(BYTES_LITERAL("/ab"), &service, &name));
	assert_false(grpc_path_split(BYTES_LITERAL("/"), &service, &name));
	assert_false(grpc_path_split(bytes_of(NULL, 0), &service, &name));
}

static void test_quote(void **unused)
{
	char out[64], small[6];

	(void)unused;
	grpc_quote(BYTES_LITERAL("a\"b\\c\n\x01\x7f"), out, sizeof out);
	assert_string_equal(out, "\"a\\\"b\\\\c\\n\\x01\\x7f\"");
	grpc_quote(BYTES_LITERAL("\xc3\xa9 \xff"), out, sizeof out);
	assert_string_equal(out, "\"\xc3\xa9 \\xff\"");
	grpc_quote(BYTES_LITERAL("abcdefgh"), small, sizeof small);
	assert_string_equal(small, "\"abc\"");
}

static void assert_encoded(struct bytes text, const char *expected)
{
	char out[256];
	size_t size = grpc_message_encode(text, out);

	assert_int_equal(size, strlen(expected));
	assert_memory_equal(out, expected, size);
	assert_int_equal(grpc_message_is_plain(text), bytes_equal(text, bytes_of_string(expected)));
}

static void test_message(void **unused)
{
	(void)unused;
	assert_encoded(BYTES_LITERAL(""), "");
	assert_encoded(BYTES_LITERAL("plain ~text"), "plain ~text");
	assert_encoded(BYTES_LITERAL("100%\t"), "100%25%09");
	assert_encoded(BYTES_LITERAL("\xe2\x82\xac"), "%E2%82%AC");
	assert_encoded(BYTES_LITERAL("\xf0\x9f\x98\x88"), "%F0%9F%98%88");
	/* Not UTF-8: a stray byte, an overlong form, a surrogate, beyond the last, cut short. */
	assert_encoded(BYTES_LITERAL("\xff"), "%EF%BF%BD");
	assert_encoded(BYTES_LITERAL("\xc0\x80"), "%EF%BF%BD%EF%BF%BD");
	assert_encoded(BYTES_LITERAL("\xed\xa0\x80"), "%EF%BF%BD%EF%BF%BD%EF%BF%BD");
	assert_encoded(BYTES_LITERAL("\xf4\x90\x80\x80"), "%EF%BF%BD%EF%BF%BD%EF%BF%BD%EF%BF%BD");
	assert_encoded(BYTES_LITERAL("a\xe2\x82"), "a%EF%BF%BD%EF%BF%BD");
}

/* --- reading messages --- */

struct source {
	struct grpc_reader reader;
	struct bytes message;
	struct grpc_problem problem;
};

static enum grpc_read feed(struct source *s, const void *data, size_t size, size_t *ret_left)
{
	struct bytes input = bytes_of(data, size);
	enum grpc_read outcome = grpc_reader_step(&s->reader, &input, &s->message, &s->problem);

	*ret_left = input.size;
	return outcome;
}

static void test_reader_splits(void **unused)
{
	const char raw[] = "\0\0\0\0\2ab\0\0\0\0\0\0\0\0\0\3cde";
	const size_t size = sizeof raw - 1;
	const char *const expected[] = {"ab", "", "cde"};

	(void)unused;
	/* Cut at every place, kept or not. */
	for (size_t cut = 0; cut <= 2 * size; cut++) {
		struct source s;
		size_t seen = 0;

		grpc_reader_init(&s.reader, 100);
		s.reader.keep = cut % 2;
		for (int part = 0; part < 2; part++) {
			size_t from = part ? cut / 2 : 0, to = part ? size : cut / 2;
			struct bytes input = bytes_of(raw + from, to - from);

			while (input.size) {
				if (grpc_reader_step(&s.reader, &input, &s.message, &s.problem) !=
				    GRPC_READ_MESSAGE)
					continue;
				assert_true(seen < 3);
				assert_true(
					bytes_equal(s.message, bytes_of_string(expected[seen])));
				seen++;
			}
		}
		assert_int_equal(seen, 3);
		assert_false(grpc_reader_is_partial(&s.reader));
		grpc_reader_fini(&s.reader);
	}
}

static void test_reader_limits(void **unused)
{
	struct source s;
	size_t left;

	(void)unused;
	grpc_reader_init(&s.reader, 10);
	assert_int_equal(feed(&s, "\0\0\0\0\12", 5, &left), GRPC_READ_MORE);
	assert_true(grpc_reader_is_partial(&s.reader));
	assert_int_equal(feed(&s, "0123456789x", 11, &left), GRPC_READ_MESSAGE);
	assert_int_equal(left, 1);
	grpc_reader_reset(&s.reader);
	assert_int_equal(feed(&s, "\0\0\0\0\13", 5, &left), GRPC_READ_FAILED);
	assert_int_equal(s.problem.status, STATUS_RESOURCE_EXHAUSTED);
	assert_string_equal(s.problem.text, "grpc: received message larger than max (11 vs. 10)");
	grpc_reader_reset(&s.reader);
	assert_int_equal(feed(&s, "\0\377\377\377\377", 5, &left), GRPC_READ_FAILED);
	assert_string_equal(s.problem.text,
			    "grpc: received message larger than max (4294967295 vs. 10)");
	grpc_reader_reset(&s.reader);
	assert_int_equal(feed(&s, "\2\0\0\0\0", 5, &left), GRPC_READ_FAILED);
	assert_int_equal(s.problem.status, STATUS_INTERNAL);
	assert_string_equal(s.problem.text, "grpc: received unexpected payload format 2");
	grpc_reader_reset(&s.reader);
	assert_int_equal(feed(&s, "\1\0\0\0\1x", 6, &left), GRPC_READ_FAILED);
	assert_int_equal(s.problem.status, STATUS_INTERNAL);
	assert_string_equal(s.problem.text,
			    "grpc: compressed flag set with identity or empty encoding");
	grpc_reader_fini(&s.reader);
}

static struct buffer gzip(const void *data, size_t size)
{
	struct buffer out = BUFFER_INIT(1 << 24);
	z_stream stream = {0};
	bool is_reserved = buffer_reserve(&out, size + 1000);
	int outcome = deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);

	assert_true(is_reserved);
	assert_int_equal(outcome, Z_OK);
	stream.next_in = (Bytef *)(uintptr_t)data;
	stream.avail_in = (uInt)size;
	stream.next_out = buffer_end(&out);
	stream.avail_out = (uInt)(size + 1000);
	outcome = deflate(&stream, Z_FINISH);
	assert_int_equal(outcome, Z_STREAM_END);
	out.size = stream.total_out;
	deflateEnd(&stream);
	return out;
}

static void assert_gunzip_fails(struct bytes input, size_t max, enum status status,
				const char *text)
{
	struct buffer out = BUFFER_INIT(1 << 24);
	struct grpc_problem problem;

	assert_int_equal(grpc_gunzip(input, max, &out, &problem), GRPC_READ_FAILED);
	assert_int_equal(problem.status, status);
	assert_string_equal(problem.text, text);
	buffer_fini(&out);
}

static void test_gunzip(void **unused)
{
	const size_t size = 1000000;
	uint8_t *data = calloc(1, size);
	struct buffer packed = gzip(data, size), out = BUFFER_INIT(1 << 24);
	struct bytes input = buffer_bytes(&packed);
	struct grpc_problem problem;

	(void)unused;
	assert_int_equal(grpc_gunzip(input, size, &out, &problem), GRPC_READ_MESSAGE);
	assert_int_equal(out.size, size);
	assert_memory_equal(buffer_bytes(&out).data, data, size);
	/* A small message that grows big stops at the limit. */
	assert_gunzip_fails(input, size - 1, STATUS_RESOURCE_EXHAUSTED,
			    "grpc: received message after decompression larger than max 999999");
	assert_gunzip_fails(bytes_of(input.data, input.size - 9), size, STATUS_INTERNAL,
			    "grpc: failed to read decompressed data: unexpected EOF");
	assert_gunzip_fails(BYTES_LITERAL("no gzip"), size, STATUS_INTERNAL,
			    "grpc: failed to decompress the message: gzip: invalid header");
	buffer_fini(&out);
	buffer_fini(&packed);
	free(data);
}

static void test_reader_gzip(void **unused)
{
	struct buffer packed = gzip("hello", 5), framed = BUFFER_INIT(1000);
	struct source s;
	size_t left;
	uint8_t prefix[GRPC_PREFIX_BYTES];

	(void)unused;
	grpc_prefix_write(prefix, (uint32_t)packed.size);
	prefix[0] = 1;
	assert_true(buffer_append(&framed, bytes_of(prefix, sizeof prefix)));
	assert_true(buffer_append(&framed, buffer_bytes(&packed)));
	grpc_reader_init(&s.reader, 100);
	s.reader.encoding = grpc_encoding_parse(BYTES_LITERAL("gzip"));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(feed(&s, buffer_bytes(&framed).data, framed.size, &left),
				 GRPC_READ_MESSAGE);
		assert_true(bytes_equal(s.message, BYTES_LITERAL("hello")));
	}
	/* An uncompressed message in between is as legal. */
	assert_int_equal(feed(&s, "\0\0\0\0\1x", 6, &left), GRPC_READ_MESSAGE);
	assert_int_equal(grpc_encoding_parse(BYTES_LITERAL("identity")), GRPC_IDENTITY);
	assert_int_equal(grpc_encoding_parse(bytes_of(NULL, 0)), GRPC_IDENTITY);
	assert_int_equal(grpc_encoding_parse(BYTES_LITERAL("snappy")), GRPC_UNKNOWN_ENCODING);
	grpc_reader_fini(&s.reader);
	buffer_fini(&packed);
	buffer_fini(&framed);
}

/* Random bytes are messages, a need for more, or a named problem; never anything else. */
static void test_reader_noise(void **unused)
{
	unsigned seed = 1;

	(void)unused;
	for (int round = 0; round < 2000; round++) {
		struct source s;
		uint8_t noise[64];
		struct bytes input = bytes_of(noise, sizeof noise);
		enum grpc_read outcome = GRPC_READ_MORE;

		for (size_t i = 0; i < sizeof noise; i++) {
			seed = seed * 1103515245 + 12345;
			noise[i] = (uint8_t)(seed >> 16) & (i % 5 ? 0x0f : 0x01);
		}
		grpc_reader_init(&s.reader, 1000);
		s.reader.encoding = round % 2 ? GRPC_GZIP : GRPC_IDENTITY;
		while (input.size && outcome != GRPC_READ_FAILED)
			outcome = grpc_reader_step(&s.reader, &input, &s.message, &s.problem);
		if (outcome == GRPC_READ_FAILED)
			assert_non_null(strstr(s.problem.text, "grpc: "));
		grpc_reader_fini(&s.reader);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_content_type),  cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_path),	      cmocka_unit_test(test_quote),
		cmocka_unit_test(test_message),	      cmocka_unit_test(test_reader_splits),
		cmocka_unit_test(test_reader_limits), cmocka_unit_test(test_gunzip),
		cmocka_unit_test(test_reader_gzip),   cmocka_unit_test(test_reader_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
