/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC's own test service (grpc.testing.TestService) over kedge's net layer, for the interop client
 * of grpc-go:
 *
 *	interop_server --port N
 *
 * Intervals between streamed responses are not kept, and metadata is not echoed: no etcd method
 * sends any, so call.h has no way to. */
#include "shim/net/server.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_BYTES_MAX (4 * 1024 * 1024)
#define PARAMETERS_MAX 64
#define STATUS_TEXT_MAX 512

/* --- just enough of protobuf --- */

struct field {
	uint32_t number;
	uint64_t value;	    /* of a varint */
	struct bytes bytes; /* of a length-delimited field */
};

static bool varint_read(struct bytes *input, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && input->size; shift += 7) {
		uint8_t byte = *input->data;

		*input = bytes_of(input->data + 1, input->size - 1);
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

static bool field_read(struct bytes *input, struct field *ret_field)
{
	uint64_t key, size;

	if (!input->size || !varint_read(input, &key))
		return false;
	*ret_field = (struct field){.number = (uint32_t)(key >> 3)};
	if ((key & 7) == 0)
		return varint_read(input, &ret_field->value);
	if ((key & 7) != 2 || !varint_read(input, &size) || size > input->size)
		return false;
	ret_field->bytes = bytes_of(input->data, size);
	*input = bytes_of(input->data + size, input->size - size);
	return true;
}

static void varint_write(struct buffer *out, uint64_t value)
{
	bool is_kept = buffer_reserve(out, 10);

	assert(is_kept);
	for (; value >= 0x80; value >>= 7)
		out->data[BUFFER_HEADROOM + out->size++] = (uint8_t)(value | 0x80);
	out->data[BUFFER_HEADROOM + out->size++] = (uint8_t)value;
}

static size_t varint_size(uint64_t value)
{
	size_t size = 1;

	while (value >>= 7)
		size++;
	return size;
}

/* What all requests of the service have in common, whichever numbers they use. */
struct test_request {
	size_t response_size;
	size_t payload_size;
	size_t sizes[PARAMETERS_MAX];
	size_t size_count;
	uint64_t status;
	char status_text[STATUS_TEXT_MAX];
};

static size_t payload_size(struct bytes payload)
{
	struct field field;

	while (field_read(&payload, &field)) {
		if (field.number == 2)
			return field.bytes.size;
	}
	return 0;
}

static void read_parameters(struct test_request *request, struct bytes parameters)
{
	struct field field;
	size_t size = 0;

	while (field_read(&parameters, &field)) {
		if (field.number == 1)
			size = (size_t)field.value;
	}
	if (request->size_count < PARAMETERS_MAX && size <= MESSAGE_BYTES_MAX)
		request->sizes[request->size_count++] = size;
}

static void read_status(struct test_request *request, struct bytes status)
{
	struct field field;

	while (field_read(&status, &field)) {
		if (field.number == 1)
			request->status = field.value;
		else if (field.number == 2 && field.bytes.size < STATUS_TEXT_MAX)
			memcpy(request->status_text, field.bytes.data, field.bytes.size);
	}
}

/* SimpleRequest */
static struct test_request read_simple(struct bytes message)
{
	struct test_request request = {0};
	struct field field;

	while (field_read(&message, &field)) {
		if (field.number == 2 && field.value <= MESSAGE_BYTES_MAX)
			request.response_size = (size_t)field.value;
		else if (field.number == 7)
			read_status(&request, field.bytes);
	}
	return request;
}

/* StreamingOutputCallRequest */
static struct test_request read_streaming(struct bytes message)
{
	struct test_request request = {0};
	struct field field;

	while (field_read(&message, &field)) {
		if (field.number == 2)
			read_parameters(&request, field.bytes);
		else if (field.number == 7)
			read_status(&request, field.bytes);
	}
	return request;
}

/* A response whose field 1 is a payload of so many zeros. */
static struct buffer payload_response(size_t size)
{
	struct buffer out = BUFFER_INIT(MESSAGE_BYTES_MAX + 64);
	bool is_kept;

	varint_write(&out, 1 << 3 | 2);
	varint_write(&out, 1 + varint_size(size) + size);
	varint_write(&out, 2 << 3 | 2);
	varint_write(&out, size);
	is_kept = buffer_reserve(&out, size);
	assert(is_kept);
	memset(buffer_end(&out), 0, size);
	out.size += size;
	return out;
}

/* --- the service --- */

static void empty_call(struct call *call, struct bytes message)
{
	struct buffer empty = BUFFER_INIT(0);

	(void)message;
	call_reply(call, &empty);
}

static bool fails(struct call *call, const struct test_request *request)
{
	if (!request->status)
		return false;
	call_finish(call,
		    request->status <= STATUS_UNAUTHENTICATED ? (enum status)request->status
							      : STATUS_UNKNOWN,
		    request->status_text);
	return true;
}

static void unary_call(struct call *call, struct bytes message)
{
	struct test_request request = read_simple(message);
	struct buffer answer;

	if (fails(call, &request))
		return;
	answer = payload_response(request.response_size);
	call_reply(call, &answer);
}

static void streaming_input(struct call *call, struct bytes message)
{
	uint64_t *total = call_state(call);
	struct field field;

	while (field_read(&message, &field)) {
		if (field.number == 1)
			*total += payload_size(field.bytes);
	}
}

static void streaming_input_end(struct call *call)
{
	struct buffer answer = BUFFER_INIT(64);

	varint_write(&answer, 1 << 3 | 0);
	varint_write(&answer, *(uint64_t *)call_state(call));
	call_reply(call, &answer);
}

static void full_duplex(struct call *call, struct bytes message)
{
	struct test_request request = read_streaming(message);

	if (fails(call, &request))
		return;
	for (size_t i = 0; i < request.size_count; i++) {
		struct buffer answer = payload_response(request.sizes[i]);

		call_send(call, &answer);
	}
}

static void full_duplex_end(struct call *call)
{
	call_finish(call, STATUS_OK, NULL);
}

static void streaming_output(struct call *call, struct bytes message)
{
	full_duplex(call, message);
	call_finish(call, STATUS_OK, NULL);
}

#define SERVICE "grpc.testing.TestService"

static const struct method methods[] = {
	{.service = SERVICE, .name = "EmptyCall", .kind = METHOD_UNARY, .on_message = empty_call},
	{.service = SERVICE, .name = "UnaryCall", .kind = METHOD_UNARY, .on_message = unary_call},
	{.service = SERVICE,
	 .name = "StreamingInputCall",
	 .kind = METHOD_CLIENT_STREAM,
	 .state_bytes = sizeof(uint64_t),
	 .on_message = streaming_input,
	 .on_half_close = streaming_input_end},
	{.service = SERVICE,
	 .name = "StreamingOutputCall",
	 .kind = METHOD_SERVER_STREAM,
	 .on_message = streaming_output},
	{.service = SERVICE,
	 .name = "FullDuplexCall",
	 .kind = METHOD_BIDI_STREAM,
	 .on_message = full_duplex,
	 .on_half_close = full_duplex_end},
};

static void on_http(void *context, const struct http_request *request, struct http_reply *ret_reply)
{
	(void)context, (void)request;
	ret_reply->status = 404;
	ret_reply->content_type = "text/plain";
}

/* --- the program --- */

static int port_from(int argc, char **argv)
{
	char *end;
	long port;

	if (argc != 3 || strcmp(argv[1], "--port") != 0)
		return -1;
	port = strtol(argv[2], &end, 10);
	return *end || port < 0 || port > 65535 ? -1 : (int)port;
}

static void wait_for_signal(const sigset_t *signals)
{
	int number;

	while (sigwait(signals, &number) == EINTR)
		continue;
}

int main(int argc, char **argv)
{
	char url[64], problem[SERVER_PROBLEM_BYTES];
	const char *const urls[] = {url, NULL};
	const struct server_config config = {
		.client_urls = urls,
		.methods = methods,
		.method_count = sizeof methods / sizeof *methods,
		.on_http = on_http,
		.concurrent_streams_max = UINT32_MAX,
		.message_bytes_max = MESSAGE_BYTES_MAX,
		.keepalive_min_time_ms = 5000,
	};
	struct loop *loop;
	struct server *server;
	sigset_t signals;
	int port = port_from(argc, argv);

	if (port < 0) {
		fprintf(stderr, "usage: interop_server --port N\n");
		return 2;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
	if (loop_new(&loop))
		return 1;
	if (server_new(loop, &config, &server, problem) || server_listen(server, problem)) {
		fprintf(stderr, "interop_server: %s\n", problem);
		return 1;
	}
	if (loop_start(loop))
		return 1;
	printf("serving on %s\n", server_address(server, 0));
	fflush(stdout);
	wait_for_signal(&signals);
	server_stop(server, 1000);
	loop_join(loop);
	server_free(server);
	loop_free(loop);
	return 0;
}
