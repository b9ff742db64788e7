/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2: a program of frames, or any bytes, and a clock, against a small gRPC service.
 *
 * What must hold: what the server sends is whole frames, for streams that the client opened, in an
 * order that HTTP/2 allows and within the windows; every call that began ends once; what is unsent
 * stays within its limits. */
#include "tests/fuzz/h2_side.h"

#include "shim/base/limits.h"

#include <stdlib.h>

#define FRAME_HEADER_BYTES 9

/* --- what the server says --------------------------------------------------------------------- */

static struct seen_stream *seen_stream(struct side *side, uint32_t id)
{
	fuzz_must(id % 2 == 1 && (int32_t)id < side->next_id);
	return (id - 1) / 2 < STREAMS_MAX ? &side->seen[(id - 1) / 2] : NULL;
}

static void see_data(struct side *side, struct seen_stream *stream, size_t size)
{
	fuzz_must(!stream || stream->has_headers);
	side->seen_bytes += (int64_t)size;
	if (stream)
		stream->data_bytes += (int64_t)size;
	if (!side->is_predicted)
		return;
	fuzz_must(side->seen_bytes <= side->window);
	fuzz_must(!stream || stream->data_bytes <= stream->window);
}

static void see_frame(struct side *side, const uint8_t *header, size_t size)
{
	uint8_t type = header[3], flags = header[4];
	uint32_t id = (uint32_t)(header[5] & 0x7f) << 24 | (uint32_t)header[6] << 16 |
		      (uint32_t)header[7] << 8 | header[8];
	struct seen_stream *stream;

	fuzz_must(!side->has_settings ? type == NGHTTP2_SETTINGS : true);
	fuzz_must((type == NGHTTP2_CONTINUATION) == side->is_continued);
	side->has_settings = true;
	if (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION)
		side->is_continued = !(flags & NGHTTP2_FLAG_END_HEADERS);
	if (type == NGHTTP2_GOAWAY)
		side->has_goaway = true;
	if (!id || !side->is_preface)
		return;
	stream = seen_stream(side, id);
	if (!stream)
		return;
	/* After its end a stream may still get credit or a reset, but nothing of an answer. */
	if (type == NGHTTP2_HEADERS || type == NGHTTP2_DATA || type == NGHTTP2_CONTINUATION)
		fuzz_must(!stream->is_ended || type == NGHTTP2_CONTINUATION);
	if (type == NGHTTP2_DATA)
		see_data(side, stream, size);
	stream->has_headers = stream->has_headers || type == NGHTTP2_HEADERS;
	if (type == NGHTTP2_RST_STREAM ||
	    ((type == NGHTTP2_HEADERS || type == NGHTTP2_DATA) && flags & NGHTTP2_FLAG_END_STREAM))
		stream->is_ended = true;
}

static void see(struct side *side, struct bytes output)
{
	while (output.size) {
		size_t size;

		fuzz_must(output.size >= FRAME_HEADER_BYTES);
		size = (size_t)output.data[0] << 16 | (size_t)output.data[1] << 8 | output.data[2];
		fuzz_must(output.size >= FRAME_HEADER_BYTES + size);
		see_frame(side, output.data, size);
		size += FRAME_HEADER_BYTES;
		output = bytes_of(output.data + size, output.size - size);
	}
}

static void pull(struct side *side)
{
	struct bytes output;

	do {
		fuzz_must(!h2_pull(side->session, &output));
		fuzz_must(output.size <= 4 * (size_t)H2_OUTPUT_RUN_BYTES);
		see(side, output);
	} while (output.size);
	fuzz_must(side->session->unsent_bytes <=
		  H2_UNSENT_BYTES_MAX + (size_t)H2_CONNECTION_WINDOW_BYTES + 255000);
}

static void feed(struct side *side, struct bytes input)
{
	if (!side->is_over && input.size)
		side->is_over = h2_receive(side->session, input) != ERR_OK;
	fuzz_must(h2_next_tick_ns(side->session) > 0);
}

/* --- frames of the client --------------------------------------------------------------------- */

static void send_frame(struct side *side, unsigned type_flags, uint32_t id, struct bytes payload)
{
	struct buffer frame = BUFFER_INIT((size_t)1 << 20);
	uint8_t header[FRAME_HEADER_BYTES] = {
		(uint8_t)(payload.size >> 16), (uint8_t)(payload.size >> 8), (uint8_t)payload.size,
		(uint8_t)(type_flags >> 8),    (uint8_t)type_flags,	     (uint8_t)(id >> 24),
		(uint8_t)(id >> 16),	       (uint8_t)(id >> 8),	     (uint8_t)id};

	fuzz_must(buffer_append(&frame, bytes_of(header, sizeof(header))));
	fuzz_must(buffer_append(&frame, payload));
	feed(side, buffer_bytes(&frame));
	buffer_fini(&frame);
}

#define FRAME(type, flags) ((unsigned)(type) << 8 | (unsigned)(flags))

/* A literal that enters no table; name and value shorter than 127 bytes. */
static void add_header(struct buffer *block, const char *name, struct bytes value)
{
	uint8_t lengths[2] = {0, (uint8_t)strlen(name)};
	uint8_t value_length = (uint8_t)value.size;

	fuzz_must(value.size < 127);
	fuzz_must(buffer_append(block, bytes_of(lengths, 2)));
	fuzz_must(buffer_append(block, bytes_of_string(name)));
	fuzz_must(buffer_append(block, bytes_of(&value_length, 1)));
	fuzz_must(buffer_append(block, value));
}

static struct bytes choose(struct fuzz_input *input, const char *const *words, unsigned count)
{
	unsigned choice = fuzz_byte(input);

	return choice < 224 ? bytes_of_string(words[choice % count]) : fuzz_bytes(input, 60);
}

static void add_call_headers(struct fuzz_input *input, struct buffer *block)
{
	static const char *const paths[] = {"/f.Z/Unary",  "/f.Z/Bidi", "/f.Z/Server",
					    "/f.Z/Client", "/f.Z/None", "/health"};
	static const char *const types[] = {"application/grpc", "application/grpc+proto",
					    "application/grpc;x", "text/plain"};
	static const char *const methods_[] = {"POST", "POST", "POST", "GET", "PUT", "HEAD"};
	static const char *const timeouts[] = {"1S", "10m", "99999999H", "1n", "x"};
	static const char *const encodings[] = {"gzip", "identity", "snappy"};
	unsigned flags = fuzz_byte(input);

	add_header(block, ":method", choose(input, methods_, 6));
	add_header(block, ":scheme", BYTES_LITERAL("http"));
	add_header(block, ":path", choose(input, paths, 6));
	if (!(flags & 1))
		add_header(block, ":authority", BYTES_LITERAL("h"));
	if (!(flags & 2))
		add_header(block, "content-type", choose(input, types, 4));
	if (!(flags & 4))
		add_header(block, "te", BYTES_LITERAL("trailers"));
	if (flags & 8)
		add_header(block, "grpc-timeout", choose(input, timeouts, 5));
	if (flags & 16)
		add_header(block, "grpc-encoding", choose(input, encodings, 3));
	if (flags & 32)
		add_header(block, "x-metadata-bin", fuzz_bytes(input, 100));
	if (flags & 64)
		add_header(block, "host", fuzz_bytes(input, 20));
}

static uint32_t open_stream(struct side *side, struct fuzz_input *input, bool is_ended)
{
	struct buffer block = BUFFER_INIT((size_t)1 << 16);
	uint32_t id = (uint32_t)side->next_id;

	if ((id - 1) / 2 < STREAMS_MAX)
		side->seen[(id - 1) / 2].window = side->stream_window;
	side->next_id += 2;
	add_call_headers(input, &block);
	send_frame(side,
		   FRAME(NGHTTP2_HEADERS,
			 NGHTTP2_FLAG_END_HEADERS | (is_ended ? NGHTTP2_FLAG_END_STREAM : 0)),
		   id, buffer_bytes(&block));
	buffer_fini(&block);
	return id;
}

static void send_message(struct side *side, uint32_t id, struct bytes message, bool is_ended)
{
	uint8_t prefix[GRPC_PREFIX_BYTES];
	struct buffer data = BUFFER_INIT((size_t)1 << 16);

	grpc_prefix_write(prefix, (uint32_t)message.size);
	fuzz_must(buffer_append(&data, bytes_of(prefix, sizeof(prefix))));
	fuzz_must(buffer_append(&data, message));
	send_frame(side, FRAME(NGHTTP2_DATA, is_ended ? NGHTTP2_FLAG_END_STREAM : 0), id,
		   buffer_bytes(&data));
	buffer_fini(&data);
}

static uint32_t pick(const struct side *side, struct fuzz_input *input)
{
	return 2 * (uint32_t)fuzz_below(input, (unsigned)(side->next_id / 2 + 1)) + 1;
}

static void send_credit(struct side *side, struct fuzz_input *input)
{
	uint32_t more = (uint32_t)fuzz_number(input, 3) % 1000000 + 1;
	uint32_t id = fuzz_below(input, 2) ? pick(side, input) : 0;
	uint8_t payload[4] = {0, (uint8_t)(more >> 16), (uint8_t)(more >> 8), (uint8_t)more};

	if (!id)
		side->window += more;
	else if ((id - 1) / 2 < STREAMS_MAX)
		side->seen[(id - 1) / 2].window += more;
	send_frame(side, FRAME(NGHTTP2_WINDOW_UPDATE, 0), id, bytes_of(payload, 4));
}

static void answer_silent(struct side *side, struct fuzz_input *input)
{
	struct call *call = side->silent[fuzz_below(input, SILENT_MAX)];

	if (!call)
		return;
	if (fuzz_below(input, 2))
		side_send_zeros(call, (size_t)fuzz_byte(input) * 300, false);
	else
		call_finish(call, STATUS_OK, NULL);
}

static void step_control(struct side *side, struct fuzz_input *input, unsigned choice)
{
	uint32_t id;

	switch (choice) {
	case 0:
		send_frame(side, FRAME(NGHTTP2_PING, fuzz_below(input, 2)), 0,
			   BYTES_LITERAL("\1\6\1\10\0\3\3\11"));
		break;
	case 1:
		id = pick(side, input);
		send_frame(side, FRAME(NGHTTP2_RST_STREAM, 0), id, BYTES_LITERAL("\0\0\0\10"));
		break;
	case 2:
		send_credit(side, input);
		break;
	case 3: /* settings of any kind: windows are no longer known */
		side->is_predicted = false;
		send_frame(side, FRAME(NGHTTP2_SETTINGS, 0), 0, fuzz_bytes(input, 36));
		break;
	case 4: /* any frame */
		side->is_predicted = false;
		id = pick(side, input);
		side->is_preface = false;
		send_frame(side, (unsigned)fuzz_number(input, 2), id, fuzz_bytes(input, 255));
		break;
	case 5:
		side->now_ns += (int64_t)fuzz_number(input, 2) * NS_PER_MS;
		h2_tick(side->session, side->now_ns);
		break;
	case 6:
		answer_silent(side, input);
		break;
	case 7:
		if (fuzz_below(input, 8) == 0)
			h2_drain(side->session);
		break;
	default:
		pull(side);
		break;
	}
}

static void step(struct side *side, struct fuzz_input *input)
{
	unsigned choice = fuzz_byte(input);
	bool is_ended = choice & 0x80;
	uint32_t id;

	switch (choice % 16) {
	case 0:
	case 1:
	case 2: /* a whole call with one message */
		id = open_stream(side, input, false);
		send_message(side, id, fuzz_bytes(input, 40), true);
		break;
	case 3:
		open_stream(side, input, is_ended);
		break;
	case 4:
	case 5:
		id = pick(side, input);
		send_message(side, id, fuzz_bytes(input, 40), is_ended);
		break;
	case 6:
		id = pick(side, input);
		send_frame(side, FRAME(NGHTTP2_DATA, is_ended ? NGHTTP2_FLAG_END_STREAM : 0), id,
			   fuzz_bytes(input, 200));
		break;
	default:
		step_control(side, input, choice % 16 - 7);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);
	struct side *side = calloc(1, sizeof(*side));
	unsigned flags = fuzz_byte(&input);

	fuzz_must(side);
	fuzz_quiet();
	side_open(side, flags);
	if (flags & 16) { /* any bytes, in two pieces */
		struct bytes rest = fuzz_rest(&input);
		size_t half = rest.size / 2;

		feed(side, bytes_of(rest.data, half));
		pull(side);
		feed(side, bytes_of(rest.data + half, rest.size - half));
	} else {
		side->is_preface = side->is_predicted = true;
		feed(side, BYTES_LITERAL(NGHTTP2_CLIENT_MAGIC));
		send_frame(side, FRAME(NGHTTP2_SETTINGS, 0), 0, bytes_of("", 0));
	}
	while (fuzz_more(&input) && !side->is_over)
		step(side, &input);
	pull(side);
	side_close(side);
	free(side);
	return 0;
}
