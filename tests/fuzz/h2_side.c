/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/h2_side.h"

#include "shim/base/clock.h"

#include <stdlib.h>

#define SOURCE_BYTES 300000

/* --- the service ------------------------------------------------------------------------------ */

static void on_open(struct call *call)
{
	((struct side *)call_context(call))->opened++;
}

static void on_end(struct call *call)
{
	struct side *side = call_context(call);

	side->ended++;
	fuzz_must(call_is_ended(call));
	for (size_t i = 0; i < SILENT_MAX; i++)
		if (side->silent[i] == call)
			side->silent[i] = NULL;
}

void side_send_zeros(struct call *call, size_t size, bool is_last)
{
	struct buffer answer = BUFFER_INIT((size_t)1 << 24);

	fuzz_must(buffer_reserve(&answer, size));
	if (size)
		memset(buffer_end(&answer), 0, size);
	answer.size = size;
	if (is_last)
		call_reply(call, &answer);
	else
		call_send(call, &answer);
	fuzz_must(!answer.data);
}

struct source {
	struct side *side;
	bool is_bad;
};

static enum err source_produce(void *context, struct buffer *out, size_t max)
{
	const struct source *source = context;

	if (source->is_bad)
		return ERR_CORRUPT;
	fuzz_must(max > 0 && buffer_reserve(out, max));
	memset(buffer_end(out), 's', max);
	out->size += max;
	return ERR_OK;
}

static void source_close(void *context)
{
	struct source *source = context;

	source->side->sources_closed++;
	free(source);
}

static void reply_source(struct call *call, bool is_bad)
{
	struct source *context = calloc(1, sizeof(*context));
	const struct call_source source = {source_produce, source_close, context};

	fuzz_must(context);
	*context = (struct source){call_context(call), is_bad};
	context->side->sources++;
	call_reply_source(call, SOURCE_BYTES, &source);
}

/* The first letter of a message says what to do with it. */
static void act(struct call *call, struct bytes message, bool is_single)
{
	struct side *side = call_context(call);

	switch (message.size ? message.data[0] : 0) {
	case 'f':
		call_fail(call, ERR_COMPACTED);
		break;
	case 'q':
		call_finish(call, STATUS_OK, "quoted \xff text\n");
		break;
	case 'z':
		side_send_zeros(call, (size_t)message.data[message.size - 1] * 1000, is_single);
		break;
	case 's':
		for (size_t i = 0; i < SILENT_MAX; i++)
			if (!side->silent[i]) {
				side->silent[i] = call;
				break;
			}
		break;
	case 'r':
	case 'b':
		if (is_single)
			reply_source(call, message.data[0] == 'b');
		break;
	default:
		side_send_zeros(call, message.size, is_single);
		break;
	}
}

static void single_message(struct call *call, struct bytes message)
{
	act(call, message, true);
}

static void stream_message(struct call *call, struct bytes message)
{
	fuzz_must(!call_is_full(call));
	act(call, message, false);
}

static void stream_half_close(struct call *call)
{
	call_finish(call, STATUS_OK, NULL);
}

static const struct method methods[] = {
	{"f.Z", "Unary", METHOD_UNARY, 16, on_open, single_message, NULL, NULL, on_end},
	{"f.Z", "Server", METHOD_SERVER_STREAM, 0, on_open, single_message, NULL, NULL, on_end},
	{"f.Z", "Client", METHOD_CLIENT_STREAM, 0, on_open, stream_message, stream_half_close, NULL,
	 on_end},
	{"f.Z", "Bidi", METHOD_BIDI_STREAM, 5000, on_open, stream_message, stream_half_close, NULL,
	 on_end},
};

static void call_started(void *context, const struct method *method)
{
	(void)method;
	((struct side *)context)->started++;
}

static void call_ended(void *context, const struct method *method, enum status status,
		       int64_t took_ns)
{
	(void)method;
	fuzz_must(status <= STATUS_UNAUTHENTICATED && took_ns >= 0);
	((struct side *)context)->finished++;
}

static void handle_http(void *context, const struct http_request *request,
			struct http_reply *ret_reply)
{
	(void)context;
	ret_reply->status = strcmp(request->method, "PUT") ? 200 : 405;
	ret_reply->body = BUFFER_INIT((size_t)1 << 20);
	fuzz_must(buffer_append(&ret_reply->body, bytes_of_string(request->path)));
}

static int64_t fake_now(void *context)
{
	return ((struct side *)context)->now_ns;
}

static void wants_send(void *context)
{
	(void)context;
}

void side_open(struct side *side, unsigned flags)
{
	struct h2_config config = {
		.server = &side->server,
		.plain_http = flags & 1,
		.enforce_keepalive = flags & 2,
		.peer_address = "192.0.2.1:1",
		.on_wants_send = wants_send,
		.context = side,
		.stats = &side->stats,
		.clock = &side->clock,
	};

	*side = (struct side){.now_ns = 1000 * NS_PER_SECOND, .next_id = 1, .window = 65535};
	side->stream_window = 65535;
	side->clock = (struct clock){fake_now, fake_now, side};
	side->server = (struct server_config){
		.methods = methods,
		.method_count = sizeof(methods) / sizeof(*methods),
		.handler_context = side,
		.on_http = handle_http,
		.concurrent_streams_max = flags & 4 ? 3 : UINT32_MAX,
		.message_bytes_max = 100 * 1000,
		.keepalive_min_time_ms = 5000,
		.keepalive_interval_ms = flags & 8 ? 10000 : 0,
		.keepalive_timeout_ms = 2000,
		.on_call_started = call_started,
		.on_call_ended = call_ended,
	};
	fuzz_must(!h2_session_new(&config, &side->session));
}

void side_close(struct side *side)
{
	h2_session_free(side->session);
	fuzz_must(side->ended == side->opened);
	fuzz_must(side->finished == side->started);
	fuzz_must(side->sources == side->sources_closed);
}
