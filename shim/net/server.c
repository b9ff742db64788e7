/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/server.h"

#include "shim/base/log.h"
#include "shim/net/listen.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define RESERVED_FDS 150 /* kept for the database, logs and pipes; etcd's number */

struct server {
	struct conn_host host;
	struct server_config config;
	struct server_config http_config; /* for http_urls */
	struct listener *listeners;
	size_t listener_count;
	size_t open_count; /* listeners whose handles libuv still knows */
	struct loop_task stop_task;
	struct loop_timer grace_timer;
	int64_t grace_ms;
	atomic_bool is_stopping; /* server_stop() was called */
	bool has_stopped;	 /* ... and its task has run */
};

/* --- configuration ---------------------------------------------------------------------------- */

static size_t count_strings(const char *const *strings)
{
	size_t count = 0;

	while (strings && strings[count])
		count++;
	return count;
}

static bool is_same_place(const struct listen_url *a, const struct listen_url *b)
{
	if (a->is_unix != b->is_unix)
		return false;
	if (a->is_unix)
		return !strcmp(a->path, b->path);
	return a->port && a->port == b->port && !strcmp(a->host, b->host);
}

static void on_conn_closed(struct conn_host *host);
static void on_listener_closed(struct listener *listener);

/* One address may stand there as http and as https: one listener tells them apart by first byte. */
static enum err add_listener(struct server *server, const char *text, bool is_http_only,
			     char *problem)
{
	struct listener *listener = &server->listeners[server->listener_count];
	struct listen_url url;
	enum err e = url_parse(text, &url, problem, SERVER_PROBLEM_BYTES);

	if (e)
		return e;
	for (size_t i = 0; i < server->listener_count; i++) {
		struct listener *other = &server->listeners[i];

		if (!is_same_place(&other->url, &url) || other->origin.is_http_only != is_http_only)
			continue;
		other->origin.is_secure |= url.is_secure;
		other->origin.is_insecure |= !url.is_secure;
		return ERR_OK;
	}
	listener->url = url;
	listener->on_closed = on_listener_closed;
	listener->origin = (struct conn_origin){
		.host = &server->host,
		.is_unix = url.is_unix,
		.is_secure = url.is_secure,
		.is_insecure = !url.is_secure,
		.is_http_only = is_http_only,
	};
	server->listener_count++;
	return ERR_OK;
}

static enum err add_listeners(struct server *server, char *problem)
{
	const struct server_config *config = &server->config;
	size_t client_count = count_strings(config->client_urls);
	size_t http_count = count_strings(config->http_urls);
	enum err e = ERR_OK;

	server->listeners = calloc(client_count + http_count + 1, sizeof(*server->listeners));
	if (!server->listeners)
		return fault(ERR_NOMEM, "no memory for listeners");
	for (size_t i = 0; !e && i < client_count; i++)
		e = add_listener(server, config->client_urls[i], false, problem);
	for (size_t i = 0; !e && i < http_count; i++)
		e = add_listener(server, config->http_urls[i], true, problem);
	return e;
}

static void warn_of_unused_tls(const struct tls_config *tls, const char *url)
{
	if (tls->cert_file)
		log_warn(
			"scheme is http or unix while key and cert files are present; ignoring key "
			"and cert files",
			LOG_STRING("client-url", url));
	if (tls->client_cert_auth)
		log_warn("scheme is http or unix while --client-cert-auth is enabled; ignoring "
			 "client "
			 "cert auth for this URL",
			 LOG_STRING("client-url", url));
}

/* TLS is set up only where a URL asks for it. */
static enum err prepare_tls(struct server *server, char *problem)
{
	const struct tls_config *tls = &server->config.tls;
	const char **hosts = calloc(server->listener_count + 1, sizeof(*hosts));
	bool is_needed = false;
	enum err e = ERR_OK;

	if (!hosts)
		return fault(ERR_NOMEM, "no memory for host names");
	for (size_t i = 0; !e && i < server->listener_count; i++) {
		const struct listener *listener = &server->listeners[i];
		const struct listen_url *url = &listener->url;
		const char *name = url->is_unix ? url->path : url->host;

		hosts[i] = url->is_unix ? "localhost" : url->host;
		if (listener->origin.is_insecure)
			warn_of_unused_tls(tls, name);
		if (!listener->origin.is_secure)
			continue;
		is_needed = true;
		if (tls->cert_file || tls->auto_tls)
			continue;
		snprintf(
			problem, SERVER_PROBLEM_BYTES,
			"TLS key/cert (--cert-file, --key-file) must be provided for client url %s "
			"with HTTPS scheme",
			name);
		e = ERR_BAD_MEMBER_URLS;
	}
	if (!e && is_needed)
		e = tls_context_new(tls, hosts, &server->host.tls, problem);
	free(hosts);
	return e;
}

static enum err limit_connections(struct server *server, char *problem)
{
	struct rlimit files;
	uint64_t most = UINT32_MAX;

	if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur != RLIM_INFINITY)
		most = files.rlim_cur;
	if (most <= RESERVED_FDS) {
		snprintf(problem, SERVER_PROBLEM_BYTES,
			 "the limit of open files is %llu, too low to serve; set it above %d "
			 "(ulimit -n, or LimitNOFILE= of the service)",
			 (unsigned long long)most, RESERVED_FDS);
		return ERR_BAD_MEMBER_URLS;
	}
	most -= RESERVED_FDS;
	if (server->config.connections_max && server->config.connections_max < most)
		most = server->config.connections_max;
	server->host.conns_max = most;
	return ERR_OK;
}

/* Requests of http_urls are marked, since not every path is served there. */
static void on_http_url_request(void *context, const struct http_request *request,
				struct http_reply *ret_reply)
{
	const struct server *server = context;
	struct http_request marked = *request;

	marked.on_http_url = true;
	server->config.on_http(server->config.handler_context, &marked, ret_reply);
}

/* Options that nobody set may come as empty strings. */
static const char *none_if_empty(const char *text)
{
	return text && text[0] ? text : NULL;
}

static void tidy_tls(struct tls_config *tls)
{
	tls->cert_file = none_if_empty(tls->cert_file);
	tls->key_file = none_if_empty(tls->key_file);
	tls->trusted_ca_file = none_if_empty(tls->trusted_ca_file);
	tls->crl_file = none_if_empty(tls->crl_file);
	tls->auto_tls_dir = none_if_empty(tls->auto_tls_dir);
	tls->allowed_hostnames = none_if_empty(tls->allowed_hostnames);
	tls->min_version = none_if_empty(tls->min_version);
	tls->max_version = none_if_empty(tls->max_version);
	tls->cipher_suites = none_if_empty(tls->cipher_suites);
}

static void on_stop_task(struct loop_task *task);
static void on_grace_over(struct loop_timer *timer);

enum err server_new(struct loop *loop, const struct server_config *config,
		    struct server **ret_server, char problem[SERVER_PROBLEM_BYTES])
{
	struct server *server = calloc(1, sizeof(*server));
	enum err e;

	snprintf(problem, SERVER_PROBLEM_BYTES, "out of memory");
	if (!server)
		return fault(ERR_NOMEM, "no memory for a server");
	conn_host_init(&server->host);
	server->config = *config;
	tidy_tls(&server->config.tls);
	server->http_config = server->config;
	server->http_config.methods = NULL;
	server->http_config.method_count = 0;
	server->http_config.on_http = on_http_url_request;
	server->http_config.handler_context = server;
	server->host.loop = loop;
	server->host.config = &server->config;
	server->host.http_config = &server->http_config;
	server->host.on_conn_closed = on_conn_closed;
	server->stop_task.fn = on_stop_task;
	server->grace_timer.fn = on_grace_over;
	e = add_listeners(server, problem);
	if (!e)
		e = limit_connections(server, problem);
	if (!e)
		e = prepare_tls(server, problem);
	if (e) {
		server_free(server);
		return e;
	}
	/* The caller's strings need not live on. */
	server->config.client_urls = server->config.http_urls = NULL;
	server->config.tls = (struct tls_config){0};
	*ret_server = server;
	return ERR_OK;
}

/* --- start ------------------------------------------------------------------------------------ */

static void log_listener(const struct listener *listener)
{
	const char *traffic = listener->origin.is_http_only ? "http" : "grpc+http";

	if (listener->origin.is_http_only)
		log_info("serving metrics", LOG_STRING("address", listener->text));
	if (listener->origin.is_insecure && !listener->origin.is_http_only)
		log_info("serving client traffic insecurely; this is strongly discouraged!",
			 LOG_STRING("traffic", traffic), LOG_STRING("address", listener->text));
	if (listener->origin.is_secure && !listener->origin.is_http_only)
		log_info("serving client traffic securely", LOG_STRING("traffic", traffic),
			 LOG_STRING("address", listener->text));
}

enum err server_listen(struct server *server, char problem[SERVER_PROBLEM_BYTES])
{
	enum err e = ERR_OK;

	snprintf(problem, SERVER_PROBLEM_BYTES, "out of memory");
	for (size_t i = 0; !e && i < server->listener_count; i++) {
		struct listener *listener = &server->listeners[i];

		e = listener_open(listener, problem);
		server->open_count += listener->is_open;
	}
	for (size_t i = 0; i < server->listener_count; i++) {
		if (e)
			listener_close(&server->listeners[i]);
		else
			log_listener(&server->listeners[i]);
	}
	return e;
}

const char *server_address(const struct server *server, size_t index)
{
	return index < server->listener_count ? server->listeners[index].text : NULL;
}

/* --- stop ------------------------------------------------------------------------------------- */

static void on_listener_closed(struct listener *listener)
{
	struct server *server = container_of(listener->origin.host, struct server, host);

	server->open_count--;
}

static void on_conn_closed(struct conn_host *host)
{
	struct server *server = container_of(host, struct server, host);

	for (size_t i = 0; i < server->listener_count; i++)
		listener_retry(&server->listeners[i]);
	if (host->is_draining && !host->stats.connections)
		loop_timer_stop(&server->grace_timer);
}

static void on_grace_over(struct loop_timer *timer)
{
	struct server *server = container_of(timer, struct server, grace_timer);

	conn_close_all(&server->host);
}

static void on_stop_task(struct loop_task *task)
{
	struct server *server = container_of(task, struct server, stop_task);

	server->has_stopped = true;
	for (size_t i = 0; i < server->listener_count; i++)
		listener_close(&server->listeners[i]);
	conn_drain_all(&server->host);
	if (!server->host.stats.connections)
		return;
	if (server->grace_ms > 0)
		loop_timer_start(server->host.loop, &server->grace_timer,
				 (uint64_t)server->grace_ms, 0);
	else
		conn_close_all(&server->host);
}

void server_stop(struct server *server, int64_t grace_ms)
{
	if (atomic_exchange(&server->is_stopping, true))
		return; /* once is enough, and the task may be under way */
	server->grace_ms = grace_ms;
	loop_post(server->host.loop, &server->stop_task);
}

void server_free(struct server *server)
{
	if (!server)
		return;
	assert(loop_is_current(server->host.loop));
	/* Only a server whose loop never ran still has something open. */
	for (size_t i = 0; i < server->listener_count; i++)
		listener_close(&server->listeners[i]);
	conn_close_all(&server->host);
	while (server->open_count || server->host.stats.connections ||
	       server->has_stopped != server->is_stopping)
		loop_turn(server->host.loop);
	conn_host_fini(&server->host);
	tls_context_free(server->host.tls);
	free(server->listeners);
	free(server);
}

void server_stats(const struct server *server, struct server_stats *ret_stats)
{
	const struct net_memory *memory = server->config.memory;

	*ret_stats = server->host.stats;
	if (!memory)
		return;
	ret_stats->memory_bytes = memory->used_bytes;
	ret_stats->memory_closed = memory->closed;
	ret_stats->memory_refused = memory->refused;
}
