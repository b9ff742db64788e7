/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/h2_echo.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define PATTERN_MAX (256u * 1024 * 1024)

static uint8_t pattern_byte(size_t at)
{
	return (uint8_t)(at * 7 + (at >> 8));
}

struct buffer h2_pattern(size_t size)
{
	struct buffer buffer = BUFFER_INIT(PATTERN_MAX);
	bool is_reserved = buffer_reserve(&buffer, size);

	assert(is_reserved);
	for (size_t i = 0; i < size; i++)
		buffer_end(&buffer)[i] = pattern_byte(i);
	buffer.size = size;
	return buffer;
}

bool h2_is_pattern(struct bytes bytes)
{
	for (size_t i = 0; i < bytes.size; i++) {
		if (bytes.data[i] != pattern_byte(i))
			return false;
	}
	return true;
}

void h2_send_pattern(struct call *call, size_t size)
{
	struct buffer message = h2_pattern(size);

	call_send(call, &message);
}

/* --- sources --- */

struct echo_source {
	struct echo_log *log;
	size_t produced;
	size_t fails_at;
};

static enum err source_produce(void *context, struct buffer *out, size_t max)
{
	struct echo_source *source = context;
	bool is_reserved = buffer_reserve(out, max);

	assert(is_reserved);
	source->log->source_slices++;
	if (max > source->log->source_slice_max)
		source->log->source_slice_max = max;
	if (source->produced >= source->fails_at)
		return ERR_CORRUPT;
	for (size_t i = 0; i < max; i++)
		buffer_end(out)[i] = pattern_byte(source->produced + i);
	out->size += max;
	source->produced += max;
	return ERR_OK;
}

static void source_close(void *context)
{
	struct echo_source *source = context;

	source->log->sources_closed++;
	free(source);
}

static void reply_source(struct call *call, struct echo_log *log, size_t size, size_t fails_at)
{
	struct echo_source *context = calloc(1, sizeof *context);
	struct call_source source = {source_produce, source_close, context};

	assert(context);
	*context = (struct echo_source){.log = log, .fails_at = fails_at};
	call_reply_source(call, size, &source);
}

/* --- handlers --- */

static struct echo_log *log_of(struct call *call)
{
	return &((struct h2_fixture *)call_context(call))->log;
}

static void on_open(struct call *call)
{
	log_of(call)->opened++;
	log_of(call)->last_call = call;
}

static void on_end(struct call *call)
{
	log_of(call)->ends++;
	assert(call_is_ended(call));
}

static void on_writable(struct call *call)
{
	log_of(call)->writables++;
}

static void echo(struct call *call, struct bytes message, bool is_last)
{
	struct buffer answer = BUFFER_INIT(PATTERN_MAX);
	bool is_kept = buffer_append(&answer, message);

	assert(is_kept);
	if (is_last)
		call_reply(call, &answer);
	else
		call_send(call, &answer);
	assert(!answer.data && !answer.size);
}

/* "word N" */
static bool has_number(struct bytes message, const char *word, size_t *ret_number)
{
	char text[64] = "";
	size_t length = strlen(word);

	if (message.size >= sizeof text || message.size <= length)
		return false;
	memcpy(text, message.data, message.size);
	if (strncmp(text, word, length) != 0 || text[length] != ' ')
		return false;
	*ret_number = strtoul(text + length + 1, NULL, 10);
	return true;
}

static void unary_message(struct call *call, struct bytes message)
{
	struct echo_log *log = log_of(call);
	struct buffer big;
	size_t number;

	log->messages++;
	log->last_message_bytes = message.size;
	if (bytes_equal(message, BYTES_LITERAL("fail"))) {
		call_fail(call, ERR_COMPACTED);
	} else if (bytes_equal(message, BYTES_LITERAL("silent"))) {
		log->last_unary = message;
	} else if (has_number(message, "big", &number)) {
		big = h2_pattern(number);
		call_reply(call, &big);
	} else if (has_number(message, "source", &number)) {
		reply_source(call, log, number, SIZE_MAX);
	} else if (has_number(message, "badsource", &number)) {
		reply_source(call, log, number, 1);
	} else {
		echo(call, message, true);
	}
}

static void server_message(struct call *call, struct bytes message)
{
	char text[16] = "";

	log_of(call)->messages++;
	memcpy(text, message.data, message.size < sizeof text ? message.size : sizeof text - 1);
	for (long i = strtol(text, NULL, 10); i > 0; i--)
		h2_send_pattern(call, 1000);
	call_finish(call, STATUS_OK, NULL);
}

static void client_message(struct call *call, struct bytes message)
{
	size_t *total = call_state(call);

	log_of(call)->messages++;
	*total += message.size;
}

static void client_half_close(struct call *call)
{
	struct buffer answer = BUFFER_INIT(64);
	bool is_kept = buffer_append_format(&answer, "%zu", *(size_t *)call_state(call));

	assert(is_kept);
	log_of(call)->half_closes++;
	call_reply(call, &answer);
}

static void bidi_message(struct call *call, struct bytes message)
{
	log_of(call)->messages++;
	echo(call, message, false);
}

static void bidi_half_close(struct call *call)
{
	log_of(call)->half_closes++;
	call_finish(call, STATUS_OK, NULL);
}

static void watch_message(struct call *call, struct bytes message)
{
	(void)message;
	log_of(call)->messages++;
}

static void watch_half_close(struct call *call)
{
	log_of(call)->half_closes++;
}

static const struct method methods[] = {
	{"test.Echo", "Unary", METHOD_UNARY, 16, on_open, unary_message, NULL, on_writable, on_end},
	{"test.Echo", "Client", METHOD_CLIENT_STREAM, sizeof(size_t), on_open, client_message,
	 client_half_close, on_writable, on_end},
	{"test.Echo", "Server", METHOD_SERVER_STREAM, 0, on_open, server_message, NULL, on_writable,
	 on_end},
	{"test.Echo", "Bidi", METHOD_BIDI_STREAM, 0, on_open, bidi_message, bidi_half_close,
	 on_writable, on_end},
	{"test.Echo", "Watch", METHOD_BIDI_STREAM, 5000, on_open, watch_message, watch_half_close,
	 on_writable, on_end},
};

/* --- around it --- */

static void hook_started(void *context, const struct method *method)
{
	struct h2_fixture *f = context;

	assert(method);
	f->log.hook_started++;
}

static void hook_ended(void *context, const struct method *method, enum status status,
		       int64_t took_ns)
{
	struct h2_fixture *f = context;

	assert(method);
	f->log.hook_ended++;
	f->log.last_status = status;
	f->log.last_took_ns = took_ns;
}

static void hook_message(void *context, const struct method *method, bool sent)
{
	struct h2_fixture *f = context;

	assert(method);
	if (sent)
		f->log.hook_sent++;
	else
		f->log.hook_received++;
}

static void handle_http(void *context, const struct http_request *request,
			struct http_reply *ret_reply)
{
	struct h2_fixture *f = context;

	f->log.http_requests++;
	ret_reply->status = strcmp(request->method, "PUT") ? 200 : 405;
	ret_reply->allow = strcmp(request->method, "PUT") ? NULL : "GET";
	ret_reply->content_type = "text/plain";
	ret_reply->body = BUFFER_INIT(4096);
	buffer_append_format(&ret_reply->body, "%s %s ?%s at %s from %s", request->method,
			     request->path, request->query, request->host, request->peer_address);
}

static int64_t fake_now(void *context)
{
	return ((struct h2_fixture *)context)->now_ns;
}

static void wants_send(void *context)
{
	((struct h2_fixture *)context)->wants_send++;
}

void h2_fixture_open(struct h2_fixture *f, const struct h2_peer_options *options,
		     void (*change)(struct h2_fixture *f))
{
	const struct h2_peer_options defaults = {0};
	enum err e;

	*f = (struct h2_fixture){.now_ns = 1000 * NS_PER_SECOND};
	f->clock = (struct clock){fake_now, fake_now, f};
	f->server = (struct server_config){
		.methods = methods,
		.method_count = sizeof methods / sizeof *methods,
		.handler_context = f,
		.on_http = handle_http,
		.concurrent_streams_max = UINT32_MAX,
		.message_bytes_max = 2 * 1024 * 1024,
		.keepalive_min_time_ms = 5000,
		.on_call_started = hook_started,
		.on_call_ended = hook_ended,
		.on_message = hook_message,
	};
	f->config = (struct h2_config){
		.server = &f->server,
		.peer_address = "192.0.2.1:999",
		.peer_common_name = "tester",
		.on_wants_send = wants_send,
		.context = f,
		.stats = &f->stats,
		.clock = &f->clock,
	};
	if (change)
		change(f);
	e = h2_session_new(&f->config, &f->session);
	assert(!e);
	h2_peer_init(&f->peer, f->session, options ? options : &defaults);
	h2_peer_exchange(&f->peer);
}

void h2_fixture_close(struct h2_fixture *f)
{
	h2_session_free(f->session);
	h2_peer_fini(&f->peer);
	assert(f->log.ends == f->log.opened);
	assert(f->log.hook_ended == f->log.hook_started);
}

struct peer_stream *h2_fixture_unary(struct h2_fixture *f, const char *text)
{
	int32_t id = h2_peer_call(&f->peer, ECHO_PATH("Unary"), NULL);

	h2_peer_message(&f->peer, id, bytes_of_string(text), true);
	h2_peer_exchange(&f->peer);
	return h2_peer_stream(&f->peer, id);
}
