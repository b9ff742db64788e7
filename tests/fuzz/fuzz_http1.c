/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1: any bytes, in any pieces.
 *
 * What must hold: requests and answers are the same however the bytes were cut; answers are
 * well-formed, as many as were counted; after the last one nothing follows. */
#include "tests/fuzz/fuzz.h"

#include "shim/net/http1.h"

#include <stdio.h>
#include <stdlib.h>

#define SEEN_BYTES_MAX ((size_t)1 << 26)
#define BIG_BYTES ((size_t)100 * 1024)

struct run {
	struct http1_session *session;
	struct buffer seen;    /* the requests, one a line */
	struct buffer methods; /* one letter each: H for HEAD */
	struct buffer got;     /* the answers */
};

static void append(struct buffer *buffer, struct bytes bytes)
{
	fuzz_must(buffer_append(buffer, bytes));
}

static void on_request(void *context, const struct http_request *request,
		       struct http_reply *ret_reply)
{
	struct run *run = context;
	bool is_big = !strcmp(request->path, "/big");

	fuzz_must(buffer_append_format(&run->seen, "%s %s ?%s @%s\n", request->method,
				       request->path, request->query, request->host));
	append(&run->methods, bytes_of(strcmp(request->method, "HEAD") ? "x" : "H", 1));
	ret_reply->status = is_big ? 200 : 404;
	ret_reply->content_type = "text/plain";
	ret_reply->allow = strcmp(request->method, "PUT") ? NULL : "GET";
	if (!is_big) {
		append(&ret_reply->body, bytes_of_string(request->path));
		return;
	}
	fuzz_must(buffer_reserve(&ret_reply->body, BIG_BYTES));
	memset(buffer_end(&ret_reply->body), 'x', BIG_BYTES);
	ret_reply->body.size = BIG_BYTES;
}

static void run_open(struct run *run)
{
	const struct http1_config config = {on_request, run, "192.0.2.1:1"};

	*run = (struct run){.seen = BUFFER_INIT(SEEN_BYTES_MAX),
			    .methods = BUFFER_INIT(SEEN_BYTES_MAX),
			    .got = BUFFER_INIT(SEEN_BYTES_MAX)};
	fuzz_must(!http1_session_new(&config, &run->session));
}

static void run_close(struct run *run)
{
	http1_session_free(run->session);
	buffer_fini(&run->seen);
	buffer_fini(&run->methods);
	buffer_fini(&run->got);
}

static void pull(struct run *run)
{
	struct bytes piece;

	do {
		fuzz_must(!http1_pull(run->session, &piece));
		append(&run->got, piece);
	} while (piece.size);
}

static void feed(struct run *run, struct bytes input)
{
	if (http1_is_full(run->session))
		pull(run);
	fuzz_must(!http1_is_full(run->session) || http1_is_done(run->session));
	fuzz_must(!http1_receive(run->session, input));
}

/* --- what an answer looks like --- */

/* The text up to the next CRLF, as a string; false at the end. */
static bool line_take(struct bytes *rest, char line[512])
{
	const uint8_t *end = rest->size ? memmem(rest->data, rest->size, "\r\n", 2) : NULL;
	size_t size;

	if (!end)
		return false;
	size = (size_t)(end - rest->data);
	fuzz_must(size < 512);
	memcpy(line, rest->data, size);
	line[size] = 0;
	*rest = bytes_of(end + 2, rest->size - size - 2);
	return true;
}

/* One answer; returns whether it says that it is the last. */
static bool answer_take(struct bytes *rest, bool is_head)
{
	char line[512];
	size_t length = SIZE_MAX;
	bool is_last = false;

	fuzz_must(line_take(rest, line) && !strncmp(line, "HTTP/1.1 ", 9));
	fuzz_must(strtol(line + 9, NULL, 10) >= 200 && strtol(line + 9, NULL, 10) < 600);
	for (;;) {
		fuzz_must(line_take(rest, line));
		if (!line[0])
			break;
		fuzz_must(strchr(line, ':'));
		if (!strncmp(line, "Content-Length: ", 16))
			length = strtoul(line + 16, NULL, 10);
		is_last = is_last || !strcmp(line, "Connection: close");
	}
	fuzz_must(length != SIZE_MAX);
	if (is_head)
		return is_last;
	fuzz_must(rest->size >= length);
	*rest = bytes_of(rest->data + length, rest->size - length);
	return is_last;
}

static void answers_check(const struct run *run)
{
	struct bytes rest = buffer_bytes(&run->got);
	struct bytes methods = buffer_bytes(&run->methods);
	uint64_t count = 0;
	bool is_last = false;

	while (rest.size) {
		bool is_head = count < methods.size && methods.data[count] == 'H';
		const uint8_t *end;

		fuzz_must(!is_last);
		/* What is refused is refused before its method counts for us, and is the last. */
		end = count < methods.size ? NULL : rest.data + rest.size;
		if (end && memmem(rest.data, rest.size, "\r\n\r\n", 4) == end - 4)
			is_head = true;
		is_last = answer_take(&rest, is_head);
		count++;
	}
	fuzz_must(count == http1_request_count(run->session));
	fuzz_must(count == methods.size || (count == methods.size + 1 && is_last));
	fuzz_must(is_last == http1_is_done(run->session));
}

/* The second may change between the runs. */
static void dates_blank(struct buffer *got)
{
	uint8_t *at = got->data + BUFFER_HEADROOM;
	const uint8_t *end = at + got->size;

	while ((at = memmem(at, (size_t)(end - at), "\r\nDate: ", 8))) {
		fuzz_must((size_t)(end - at) > 8 + 29);
		memset(at + 8, ' ', 29);
		at += 8;
	}
}

/* The first bytes say where to cut; zero: one byte at a time. */
static void feed_in_pieces(struct run *run, struct bytes input, const uint8_t cuts[4])
{
	for (size_t i = 0, at = 0; at < input.size; i++) {
		size_t size = (size_t)cuts[i % 4] + 1;

		size = size < input.size - at ? size : input.size - at;
		feed(run, bytes_of(input.data + at, size));
		if (cuts[i % 4] & 1)
			pull(run);
		at += size;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run whole, pieces;

	if (size < 4)
		return 0;
	fuzz_quiet();
	run_open(&whole);
	run_open(&pieces);
	feed(&whole, bytes_of(data + 4, size - 4));
	feed_in_pieces(&pieces, bytes_of(data + 4, size - 4), data);
	pull(&whole);
	pull(&pieces);
	fuzz_must(bytes_equal(buffer_bytes(&whole.seen), buffer_bytes(&pieces.seen)));
	answers_check(&whole);
	if (whole.got.size)
		dates_blank(&whole.got);
	if (pieces.got.size)
		dates_blank(&pieces.got);
	fuzz_must(bytes_equal(buffer_bytes(&whole.got), buffer_bytes(&pieces.got)));
	run_close(&whole);
	run_close(&pieces);
	return 0;
}
