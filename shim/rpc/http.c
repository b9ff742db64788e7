/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/rpc/http.h"

#include "shim/base/log.h"
#include "shim/base/version.h"

#include <assert.h>
#include <stdio.h>

#define PARAMETER_BYTES 256 /* of a name or value in a query; longer ones match nothing we know */

static const char text_plain[] = "text/plain; charset=utf-8";
static const char text_metrics[] = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

#define HEADER_NOSNIFF                                                                             \
	{                                                                                          \
		"x-content-type-options", "nosniff"                                                \
	}
#define HEADERS_CORS                                                                               \
	{"access-control-allow-headers", "accept, content-type, authorization"},                   \
		{"access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE"},               \
	{                                                                                          \
		"access-control-allow-origin", "*"                                                 \
	}

/* etcd lets any web page read the client port; its metrics port says nothing about that. */
static const struct http_header nosniff_only[] = {HEADER_NOSNIFF, {0}};
static const struct http_header cors_only[] = {HEADERS_CORS, {0}};
static const struct http_header cors_and_nosniff[] = {HEADERS_CORS, HEADER_NOSNIFF, {0}};

/* One request and what its answer needs. */
struct exchange {
	const struct http_endpoints *endpoints;
	const struct http_request *request;
	struct http_reply *reply;
	bool is_out_of_memory;
};

/* --- small tools ------------------------------------------------------------------------------ */

static void append(struct exchange *exchange, const char *text)
{
	if (!buffer_append(&exchange->reply->body, bytes_of_string(text)))
		exchange->is_out_of_memory = true;
}

static void set_nosniff(struct exchange *exchange)
{
	exchange->reply->content_type = text_plain;
	exchange->reply->headers = exchange->request->on_http_url ? nosniff_only : cors_and_nosniff;
}

/* As Go's http.Error: the caller's text and a newline. */
static void set_error(struct exchange *exchange, int status, const char *text)
{
	exchange->reply->status = status;
	set_nosniff(exchange);
	append(exchange, text);
	append(exchange, "\n");
}

static bool is_get(struct exchange *exchange)
{
	if (!strcmp(exchange->request->method, "GET"))
		return true;
	exchange->reply->allow = "GET";
	set_error(exchange, 405, "Method Not Allowed");
	return false;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes percent-encoding; false where it is wrong or the text too long. */
static bool decode(const char *text, size_t size, bool plus_is_space, char out[PARAMETER_BYTES])
{
	size_t used = 0;

	for (size_t i = 0; i < size; i++) {
		char c = text[i];

		if (c == '%') {
			int high = i + 1 < size ? hex_digit(text[i + 1]) : -1;
			int low = i + 2 < size ? hex_digit(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = (char)(high * 16 + low);
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		if (used == PARAMETER_BYTES - 1 || !c)
			return false;
		out[used++] = c;
	}
	out[used] = 0;
	return true;
}

/* Whether the query has the parameter, with the value (NULL: any); broken parts are skipped, as Go
 * skips them. */
static bool query_has(const char *query, const char *name, const char *value)
{
	char key[PARAMETER_BYTES];
	char word[PARAMETER_BYTES];

	while (*query) {
		size_t size = strcspn(query, "&");
		const char *equals = memchr(query, '=', size);
		size_t key_size = equals ? (size_t)(equals - query) : size;
		const char *rest = equals ? equals + 1 : query + size;
		bool is_sound = !memchr(query, ';', size) && decode(query, key_size, true, key) &&
				decode(rest, size - (size_t)(rest - query), true, word);

		if (size && is_sound && !strcmp(key, name) && (!value || !strcmp(word, value)))
			return true;
		query += size + (query[size] == '&');
	}
	return false;
}

/* --- /version --------------------------------------------------------------------------------- */

static void serve_version(struct exchange *exchange)
{
	if (!is_get(exchange))
		return;
	exchange->reply->content_type = "application/json";
	append(exchange,
	       "{\"etcdserver\":\"" ETCD_API_VERSION "\",\"etcdcluster\":\"" ETCD_CLUSTER_VERSION
	       "\",\"storage\":\"" ETCD_STORAGE_VERSION "\"}");
}

/* --- /health ---------------------------------------------------------------------------------- */

/* Why the server is not healthy, as JSON may carry it unchanged; "" when it is. */
static void find_illness(struct exchange *exchange, char *reason, size_t reason_bytes)
{
	const struct http_endpoints *endpoints = exchange->endpoints;
	const char *query = exchange->request->query;
	enum err e;

	reason[0] = 0;
	if (endpoints->has_alarm(endpoints->context, ALARM_NOSPACE) &&
	    !query_has(query, "exclude", "NOSPACE")) {
		snprintf(reason, reason_bytes, "ALARM NOSPACE");
	} else if (endpoints->has_alarm(endpoints->context, ALARM_CORRUPT) &&
		   !query_has(query, "exclude", "CORRUPT")) {
		snprintf(reason, reason_bytes, "ALARM CORRUPT");
	} else {
		e = endpoints->read(endpoints->context, query_has(query, "serializable", "true"));
		if (e)
			snprintf(reason, reason_bytes, "RANGE ERROR:%s", err_text(e));
	}
}

static void serve_health(struct exchange *exchange)
{
	const struct http_endpoints *endpoints = exchange->endpoints;
	char reason[256];
	char json[320];

	if (!is_get(exchange))
		return;
	find_illness(exchange, reason, sizeof(reason));
	if (endpoints->on_health)
		endpoints->on_health(endpoints->context, !reason[0]);
	/* The texts of the error table need no escapes. */
	snprintf(json, sizeof(json), "{\"health\":\"%s\",\"reason\":\"%s\"}",
		 reason[0] ? "false" : "true", reason);
	if (reason[0]) {
		set_error(exchange, 503, json);
		log_warn("/health error", LOG_STRING("output", json), LOG_INT("status-code", 503));
		return;
	}
	exchange->reply->content_type = text_plain;
	append(exchange, json);
}

/* --- /livez and /readyz ----------------------------------------------------------------------- */

struct check {
	const char *type; /* "livez" or "readyz" */
	const char *name;
	const char *(*run)(const struct http_endpoints *endpoints); /* what is wrong, or NULL */
};

static const char *check_corruption(const struct http_endpoints *endpoints)
{
	if (endpoints->has_alarm(endpoints->context, ALARM_CORRUPT))
		return "alarm activated: CORRUPT";
	return NULL;
}

static const char *check_serializable_read(const struct http_endpoints *endpoints)
{
	enum err e = endpoints->read(endpoints->context, true);

	return e ? err_text(e) : NULL;
}

static const char *check_linearizable_read(const struct http_endpoints *endpoints)
{
	enum err e = endpoints->read(endpoints->context, false);

	return e ? err_text(e) : NULL;
}

/* There are no learners here. */
static const char *check_non_learner(const struct http_endpoints *endpoints)
{
	(void)endpoints;
	return NULL;
}

static const struct check checks[] = {
	{"livez", "serializable_read", check_serializable_read},
	{"readyz", "data_corruption", check_corruption},
	{"readyz", "serializable_read", check_serializable_read},
	{"readyz", "linearizable_read", check_linearizable_read},
	{"readyz", "non_learner", check_non_learner},
};

#define CHECK_COUNT (sizeof(checks) / sizeof(checks[0]))

/* Appends the check's line to report; whether it passed. */
static bool run_check(struct exchange *exchange, const struct check *check, struct buffer *report)
{
	const struct http_endpoints *endpoints = exchange->endpoints;
	const char *problem = check->run(endpoints);
	bool ok;

	if (problem)
		ok = buffer_append_format(report, "[-]%s failed: %s\n", check->name, problem);
	else
		ok = buffer_append_format(report, "[+]%s ok\n", check->name);
	if (!ok)
		exchange->is_out_of_memory = true;
	if (endpoints->on_check)
		endpoints->on_check(endpoints->context, check->type, check->name, !problem);
	return !problem;
}

static void answer_well(struct exchange *exchange, const char *report)
{
	set_nosniff(exchange);
	if (query_has(exchange->request->query, "verbose", NULL))
		append(exchange, report);
	append(exchange, "ok\n");
}

/* Always with the reasons. */
static void answer_ill(struct exchange *exchange, const char *report)
{
	set_error(exchange, 503, report);
	log_error("Health check error", LOG_STRING("path", exchange->request->path),
		  LOG_STRING("reason", report), LOG_INT("status-code", 503));
}

/* All checks of the type but the excluded ones, or the one that is named. */
static void serve_checks(struct exchange *exchange, const char *type, const char *name)
{
	const char *query = exchange->request->query;
	struct buffer report = BUFFER_INIT(4096);
	bool is_well = true;

	if (!is_get(exchange))
		return;
	for (size_t i = 0; i < CHECK_COUNT; i++) {
		if (strcmp(checks[i].type, type) != 0)
			continue;
		if (name && strcmp(checks[i].name, name) != 0)
			continue;
		if (!name && query_has(query, "exclude", checks[i].name))
			continue;
		is_well &= run_check(exchange, &checks[i], &report);
	}
	if (!buffer_append(&report, bytes_of("", 1)))
		exchange->is_out_of_memory = true;
	else if (is_well)
		answer_well(exchange, (const char *)buffer_bytes(&report).data);
	else
		answer_ill(exchange, (const char *)buffer_bytes(&report).data);
	buffer_fini(&report);
}

/* Whether the path is /livez, /readyz or one of their checks; then it is served. */
static bool try_checks(struct exchange *exchange, const char *path)
{
	for (size_t i = 0; i < CHECK_COUNT; i++) {
		size_t size = strlen(checks[i].type);

		if (path[0] != '/' || strncmp(path + 1, checks[i].type, size) != 0)
			continue;
		if (!path[1 + size]) {
			serve_checks(exchange, checks[i].type, NULL);
			return true;
		}
		if (path[1 + size] == '/' && !strcmp(path + 2 + size, checks[i].name)) {
			serve_checks(exchange, checks[i].type, checks[i].name);
			return true;
		}
	}
	return false;
}

/* --- /metrics and the rest -------------------------------------------------------------------- */

static void serve_metrics(struct exchange *exchange)
{
	const struct http_endpoints *endpoints = exchange->endpoints;

	exchange->reply->content_type = text_metrics;
	if (!endpoints->write_metrics(endpoints->context, &exchange->reply->body))
		exchange->is_out_of_memory = true;
}

static void serve_path(struct exchange *exchange)
{
	const struct http_request *request = exchange->request;
	char path[PARAMETER_BYTES];

	if (!decode(request->path, strlen(request->path), false, path))
		path[0] = 0;
	/* A browser's question before it asks; on the client port any path will do. */
	if (!request->on_http_url && !strcmp(request->method, "OPTIONS"))
		return;
	if (!strcmp(path, "/version"))
		serve_version(exchange);
	else if (!strcmp(path, "/health"))
		serve_health(exchange);
	else if (!strcmp(path, "/metrics"))
		serve_metrics(exchange);
	else if (!try_checks(exchange, path))
		set_error(exchange, 404, "404 page not found");
}

void http_endpoints_serve(const struct http_endpoints *endpoints,
			  const struct http_request *request, struct http_reply *ret_reply)
{
	struct exchange exchange = {endpoints, request, ret_reply, false};

	assert(endpoints->has_alarm && endpoints->read && endpoints->write_metrics);
	ret_reply->status = 200;
	ret_reply->content_type = NULL;
	ret_reply->allow = NULL;
	ret_reply->headers = request->on_http_url ? NULL : cors_only;
	serve_path(&exchange);
	if (!exchange.is_out_of_memory)
		return;
	fault(ERR_NOMEM, "no memory for the answer to %s", request->path);
	buffer_fini(&ret_reply->body);
	ret_reply->status = 503;
	ret_reply->content_type = NULL;
}
