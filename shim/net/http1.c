/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/http1.h"

#include <assert.h>
#include <ctype.h>
#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#define HEADER_NAME_BYTES 32   /* longest name looked at is "content-type" */
#define HEADER_VALUE_BYTES 256 /* longest value looked at is a host name */
#define PULL_BYTES_MAX (64 * 1024)

struct http1_session {
	struct http1_config config;
	http_parser parser;
	struct buffer output; /* answers; [output_sent, size) waits to be pulled */
	size_t output_sent;
	struct buffer stash; /* input that came while full */
	uint64_t request_count;
	bool is_draining;
	bool is_last;	 /* the answer that ends the connection is in output */
	bool in_request; /* between its first byte and its answer */

	/* The request under way. */
	char url[HTTP1_URL_BYTES_MAX + 1];
	size_t url_size;
	size_t header_bytes;
	size_t body_bytes;
	char name[HEADER_NAME_BYTES]; /* of the header being parsed, cut */
	size_t name_size;
	char value[HEADER_VALUE_BYTES];
	size_t value_size;
	bool value_begun;
	char host[HEADER_VALUE_BYTES];
	unsigned host_count;
	bool is_grpc;
	bool expects_continue;
	bool expects_other;
};

/* --- answers ---------------------------------------------------------------------------------- */

static const char *status_text(int status)
{
	switch (status) {
#define STATUS_TEXT(number, name, string)                                                          \
	case number:                                                                               \
		return #string;
		HTTP_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
	default:
		return "Unknown";
	}
}

static bool append_text(struct buffer *buffer, const char *text)
{
	return buffer_append(buffer, bytes_of_string(text));
}

/* Names come in lower case, for HTTP/2; here they get the capitals that people know. */
static bool append_header(struct buffer *buffer, const char *name, const char *value)
{
	size_t begin = buffer->size;
	size_t length = strlen(name);
	char *written;

	if (!buffer_append_format(buffer, "%s: %s\r\n", name, value))
		return false;
	written = (char *)buffer->data + BUFFER_HEADROOM + begin;
	for (size_t i = 0; i < length; i++)
		if (!i || written[i - 1] == '-')
			written[i] = (char)toupper((unsigned char)written[i]);
	return true;
}

static bool append_head(struct http1_session *session, const struct http_reply *reply)
{
	struct buffer *out = &session->output;
	char date[64];
	time_t now = time(NULL);
	struct tm utc;
	bool ok;

	gmtime_r(&now, &utc);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
	ok = buffer_append_format(out, "HTTP/1.1 %d %s\r\n", reply->status,
				  status_text(reply->status));
	for (const struct http_header *h = reply->headers; ok && h && h->name; h++)
		ok = append_header(out, h->name, h->value);
	if (ok && reply->allow)
		ok = append_header(out, "allow", reply->allow);
	if (ok && reply->content_type)
		ok = append_header(out, "content-type", reply->content_type);
	if (ok && session->is_last)
		ok = append_header(out, "connection", "close");
	else if (ok && session->parser.http_major == 1 && session->parser.http_minor == 0)
		ok = append_header(out, "connection", "keep-alive");
	return ok && buffer_append_format(out, "Date: %s\r\nContent-Length: %zu\r\n\r\n", date,
					  reply->body.size);
}

/* Queues the answer to the request under way; its body is freed here. */
static enum err answer(struct http1_session *session, struct http_reply *reply)
{
	bool is_head = session->parser.method == HTTP_HEAD;
	bool ok = append_head(session, reply) &&
		  (is_head || buffer_append(&session->output, buffer_bytes(&reply->body)));

	buffer_fini(&reply->body);
	session->request_count++;
	return ok ? ERR_OK : fault(ERR_NOMEM, "no memory for an HTTP answer");
}

/* The answer to a mistake, after which the bytes that follow mean nothing to us. */
static enum err refuse(struct http1_session *session, int status, const char *text)
{
	static const struct http_header nosniff[] = {{"x-content-type-options", "nosniff"}, {0}};
	struct http_reply reply = {
		.status = status,
		.content_type = "text/plain; charset=utf-8",
		.headers = nosniff,
		.body = BUFFER_INIT(4096),
	};

	assert(!session->is_last);
	session->is_last = true;
	session->in_request = false;
	if (!append_text(&reply.body, text)) {
		buffer_fini(&reply.body);
		return fault(ERR_NOMEM, "no memory for an HTTP answer");
	}
	return answer(session, &reply);
}

/* Splits what stands in url into path and query, also of the absolute form that proxies use. */
static void split_url(struct http1_session *session, struct http_request *request)
{
	struct http_parser_url parts;
	char *url = session->url;

	http_parser_url_init(&parts);
	request->path = url;
	request->query = "";
	if (session->parser.method == HTTP_CONNECT ||
	    http_parser_parse_url(url, session->url_size, 0, &parts))
		return; /* an unknown path like any other */
	request->path =
		parts.field_set & (1u << UF_PATH) ? url + parts.field_data[UF_PATH].off : "/";
	if (parts.field_set & (1u << UF_QUERY)) {
		request->query = url + parts.field_data[UF_QUERY].off;
		url[parts.field_data[UF_QUERY].off + parts.field_data[UF_QUERY].len] = 0;
	}
	if (parts.field_set & (1u << UF_PATH))
		url[parts.field_data[UF_PATH].off + parts.field_data[UF_PATH].len] = 0;
}

static enum err answer_request(struct http1_session *session)
{
	struct http_request request = {
		.method = http_method_str((enum http_method)session->parser.method),
		.host = session->host,
		.peer_address = session->config.peer_address,
	};
	struct http_reply reply = {.status = 500, .body = BUFFER_INIT(SIZE_MAX / 4)};

	if (session->is_draining || !http_should_keep_alive(&session->parser) ||
	    session->parser.method == HTTP_CONNECT)
		session->is_last = true;
	split_url(session, &request);
	session->config.on_request(session->config.context, &request, &reply);
	return answer(session, &reply);
}

/* --- the parser's events: non-zero stops it --------------------------------------------------- */

static struct http1_session *session_of(http_parser *parser)
{
	return parser->data;
}

static int on_message_begin(http_parser *parser)
{
	struct http1_session *session = session_of(parser);

	session->in_request = true;
	session->url_size = session->header_bytes = session->body_bytes = 0;
	session->name_size = session->value_size = 0;
	session->value_begun = false;
	session->host[0] = 0;
	session->host_count = 0;
	session->is_grpc = session->expects_continue = session->expects_other = false;
	return 0;
}

static bool count_header_bytes(struct http1_session *session, size_t size)
{
	session->header_bytes += size; /* cannot wrap: size is at most one read's */
	if (session->header_bytes <= HTTP1_HEADER_BYTES_MAX)
		return true;
	refuse(session, 431, "431 Request Header Fields Too Large\n");
	return false;
}

static int on_url(http_parser *parser, const char *at, size_t size)
{
	struct http1_session *session = session_of(parser);

	if (size > HTTP1_URL_BYTES_MAX - session->url_size) {
		refuse(session, 414, "414 URI Too Long\n");
		return 1;
	}
	memcpy(session->url + session->url_size, at, size);
	session->url_size += size;
	session->url[session->url_size] = 0;
	return !count_header_bytes(session, size);
}

static void append_cut(char *text, size_t *text_size, size_t text_max, const char *at, size_t size)
{
	size_t room = text_max - 1 - *text_size;
	size_t taken = size < room ? size : room;

	memcpy(text + *text_size, at, taken);
	*text_size += taken;
	text[*text_size] = 0;
}

/* A header has ended: keep what an answer depends on. */
static void note_header(struct http1_session *session)
{
	const char *value = session->value;

	if (!session->name_size || !session->value_begun)
		return;
	if (!strcasecmp(session->name, "host")) {
		session->host_count++;
		snprintf(session->host, sizeof(session->host), "%s", value);
	} else if (!strcasecmp(session->name, "content-type")) {
		session->is_grpc = !strncasecmp(value, "application/grpc", 16);
	} else if (!strcasecmp(session->name, "expect")) {
		session->expects_continue = !strcasecmp(value, "100-continue");
		session->expects_other = !session->expects_continue;
	}
}

static int on_header_field(http_parser *parser, const char *at, size_t size)
{
	struct http1_session *session = session_of(parser);

	if (session->value_begun) {
		note_header(session);
		session->name_size = session->value_size = 0;
		session->value_begun = false;
	}
	append_cut(session->name, &session->name_size, sizeof(session->name), at, size);
	return !count_header_bytes(session, size);
}

static int on_header_value(http_parser *parser, const char *at, size_t size)
{
	struct http1_session *session = session_of(parser);

	if (!session->value_begun)
		session->value[0] = 0;
	session->value_begun = true;
	append_cut(session->value, &session->value_size, sizeof(session->value), at, size);
	return !count_header_bytes(session, size);
}

static int on_headers_complete(http_parser *parser)
{
	struct http1_session *session = session_of(parser);
	bool has_body = (parser->content_length != ULLONG_MAX && parser->content_length) ||
			(parser->flags & F_CHUNKED);

	note_header(session);
	parser->upgrade = 0; /* h2c and websockets are not for us; the plain request is answered */
	if (parser->http_major != 1)
		refuse(session, 505, "505 HTTP Version Not Supported\n");
	else if (session->host_count > 1)
		refuse(session, 400, "400 Bad Request: too many Host headers\n");
	else if (!session->host_count && parser->http_minor >= 1)
		refuse(session, 400, "400 Bad Request: missing required Host header\n");
	else if (session->is_grpc)
		refuse(session, 505, "gRPC requires HTTP/2\n");
	else if (session->expects_other)
		refuse(session, 417, "417 Expectation Failed\n");
	else if (parser->content_length != ULLONG_MAX &&
		 parser->content_length > HTTP_BODY_BYTES_MAX)
		refuse(session, 413, "413 Request Entity Too Large\n");
	if (session->is_last)
		return 1;
	if (!has_body || !session->expects_continue)
		return 0;
	/* No request needs its body: the final answer instead of "100 Continue" spares sending it.
	 */
	session->is_last = true;
	return answer_request(session) ? 1 : 0;
}

static int on_body(http_parser *parser, const char *at, size_t size)
{
	struct http1_session *session = session_of(parser);

	(void)at;
	session->body_bytes += size;
	if (session->body_bytes <= HTTP_BODY_BYTES_MAX || session->is_last)
		return 0;
	refuse(session, 413, "413 Request Entity Too Large\n");
	return 1;
}

static int on_message_complete(http_parser *parser)
{
	struct http1_session *session = session_of(parser);
	size_t unsent;

	session->in_request = false;
	if (!session->is_last && answer_request(session))
		return 1;
	unsent = session->output.size - session->output_sent;
	if (session->is_last || unsent >= HTTP1_UNSENT_BYTES_MAX)
		http_parser_pause(parser, 1);
	return 0;
}

static const http_parser_settings settings = {
	.on_message_begin = on_message_begin,
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* --- the session ------------------------------------------------------------------------------ */

enum err http1_session_new(const struct http1_config *config, struct http1_session **ret_session)
{
	struct http1_session *session = calloc(1, sizeof(*session));

	if (!session)
		return fault(ERR_NOMEM, "no memory for an HTTP/1.1 session");
	session->config = *config;
	session->output = BUFFER_INIT(SIZE_MAX / 4); /* bounded by HTTP1_UNSENT_BYTES_MAX + one */
	session->stash = BUFFER_INIT(HTTP1_STASH_BYTES_MAX);
	http_parser_init(&session->parser, HTTP_REQUEST);
	session->parser.data = session;
	*ret_session = session;
	return ERR_OK;
}

void http1_session_free(struct http1_session *session)
{
	if (!session)
		return;
	buffer_fini(&session->output);
	buffer_fini(&session->stash);
	free(session);
}

bool http1_is_full(const struct http1_session *session)
{
	return HTTP_PARSER_ERRNO(&session->parser) == HPE_PAUSED || session->stash.size;
}

bool http1_is_idle(const struct http1_session *session)
{
	return !session->in_request && session->output.size == session->output_sent &&
	       !session->stash.size;
}

bool http1_is_done(const struct http1_session *session)
{
	return session->output.size == session->output_sent &&
	       (session->is_last || (session->is_draining && http1_is_idle(session)));
}

uint64_t http1_request_count(const struct http1_session *session)
{
	return session->request_count;
}

void http1_drain(struct http1_session *session)
{
	session->is_draining = true;
}

/* Parses until the input, the room for answers or the sense of the bytes ends. */
static enum err parse(struct http1_session *session, struct bytes input, size_t *ret_taken)
{
	size_t taken = http_parser_execute(&session->parser, &settings, (const char *)input.data,
					   input.size);
	enum http_errno problem = HTTP_PARSER_ERRNO(&session->parser);

	*ret_taken = taken;
	if (problem == HPE_OK || problem == HPE_PAUSED || session->is_last)
		return ERR_OK;
	*ret_taken = input.size;
	if (problem == HPE_HEADER_OVERFLOW)
		return refuse(session, 431, "431 Request Header Fields Too Large\n");
	if (problem == HPE_CB_headers_complete || problem == HPE_CB_message_complete)
		return ERR_NOMEM; /* logged where it arose */
	return refuse(session, 400, "400 Bad Request\n");
}

enum err http1_receive(struct http1_session *session, struct bytes input)
{
	size_t taken = 0;
	enum err e;

	if (session->is_last || !input.size)
		return ERR_OK;
	if (!http1_is_full(session)) {
		e = parse(session, input, &taken);
		if (e || session->is_last)
			return e;
	}
	if (!buffer_append(&session->stash, bytes_of(input.data + taken, input.size - taken)))
		return ERR_MALFORMED;
	return ERR_OK;
}

/* All answers were pulled: look at the requests that waited. */
static enum err resume(struct http1_session *session)
{
	struct bytes waiting = buffer_bytes(&session->stash);
	size_t taken = 0;
	uint8_t *begin;
	enum err e;

	session->output.size = session->output_sent = 0;
	if (session->output.capacity > PULL_BYTES_MAX)
		buffer_fini(&session->output); /* an idle connection keeps little */
	if (session->is_last || !http1_is_full(session))
		return ERR_OK;
	http_parser_pause(&session->parser, 0);
	if (!waiting.size)
		return ERR_OK; /* no input would mean the end of it to the parser */
	e = parse(session, waiting, &taken);
	if (e || session->is_last || taken >= waiting.size) {
		session->stash.size = 0;
		return e;
	}
	begin = session->stash.data + BUFFER_HEADROOM;
	memmove(begin, begin + taken, session->stash.size - taken);
	session->stash.size -= taken;
	return ERR_OK;
}

enum err http1_pull(struct http1_session *session, struct bytes *ret_output)
{
	struct bytes waiting = buffer_bytes(&session->output);
	size_t size;

	if (session->output_sent == waiting.size) {
		enum err e = resume(session);

		if (e)
			return e;
		waiting = buffer_bytes(&session->output);
	}
	size = waiting.size - session->output_sent;
	size = size < PULL_BYTES_MAX ? size : PULL_BYTES_MAX;
	*ret_output = bytes_of(waiting.data + session->output_sent, size);
	session->output_sent += size;
	return ERR_OK;
}
