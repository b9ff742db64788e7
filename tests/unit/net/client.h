/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - what the tests of this folder share: a bounded client on loopback, and a server with
 * one gRPC method and one plain handler on a loop of its own.
 *
 * Every wait ends: sockets time out after CLIENT_TIMEOUT_S, so a hanging server fails the test. */
#ifndef TESTS_UNIT_NET_CLIENT_H
#define TESTS_UNIT_NET_CLIENT_H

#include "shim/base/limits.h"
#include "shim/base/log.h"
#include "shim/net/server.h"
#include "shim/net/url.h"

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define CLIENT_TIMEOUT_S 30 /* sanitizers on a loaded machine are slow */
#define GO_ON_PATH "/ok"    /* the plain handler answers 200 here */
#define BIG_PATH "/big"	    /* ... and BIG_BYTES here */
#define BIG_BYTES (8 * MIB)

struct fixture {
	struct loop *loop;
	struct server *server;
	bool is_running;
	char problem[SERVER_PROBLEM_BYTES];
	char folder[32]; /* for sockets and certificates, removed at the end */
};

/* --- the service ------------------------------------------------------------------------------ */

/* Sends the request back. */
static inline void on_echo(struct call *call, struct bytes message)
{
	struct buffer reply = BUFFER_INIT(REQUEST_BYTES_DEFAULT);

	if (buffer_append(&reply, message))
		call_reply(call, &reply);
	else
		call_fail(call, ERR_NOMEM);
}

static const struct method echo_methods[] = {
	{.service = "test.Echo", .name = "Say", .kind = METHOD_UNARY, .on_message = on_echo},
	{.service = "test.Echo", .name = "Wait", .kind = METHOD_BIDI_STREAM},
};

static inline void on_plain_http(void *context, const struct http_request *request,
				 struct http_reply *ret_reply)
{
	(void)context;
	ret_reply->status = 200;
	ret_reply->content_type = "text/plain";
	if (!strcmp(request->path, GO_ON_PATH)) {
		buffer_append_format(&ret_reply->body, "ok %s %s from %s%s\n", request->method,
				     request->query, request->host,
				     request->on_http_url ? " here" : "");
	} else if (!strcmp(request->path, BIG_PATH) &&
		   buffer_reserve(&ret_reply->body, BIG_BYTES)) {
		memset(buffer_end(&ret_reply->body), 'x', BIG_BYTES);
		ret_reply->body.size = BIG_BYTES;
	} else {
		ret_reply->status = 404;
		buffer_append(&ret_reply->body, BYTES_LITERAL("404 page not found\n"));
	}
}

/* --- fixture ---------------------------------------------------------------------------------- */

static inline int fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	if (!fixture)
		return -1;
	snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/kedge-net-");
	memset(fixture->folder + strlen(fixture->folder), 'X', 6); /* for mkdtemp to replace */
	if (!mkdtemp(fixture->folder) || loop_new(&fixture->loop))
		return -1;
	log_configure(LOG_ERROR, true);
	*state = fixture;
	return 0;
}

static inline const char *fixture_path(const struct fixture *fixture, const char *name,
				       char path[128])
{
	snprintf(path, 128, "%s/%s", fixture->folder, name);
	return path;
}

/* A server that listens, but whose loop does not run yet. */
static inline enum err fixture_listen(struct fixture *fixture, struct server_config *config)
{
	enum err e;

	config->methods = echo_methods;
	config->method_count = sizeof(echo_methods) / sizeof(echo_methods[0]);
	config->on_http = on_plain_http;
	config->concurrent_streams_max = 1000;
	config->message_bytes_max = REQUEST_BYTES_DEFAULT;
	e = server_new(fixture->loop, config, &fixture->server, fixture->problem);
	return e ? e : server_listen(fixture->server, fixture->problem);
}

static inline void fixture_start(struct fixture *fixture, struct server_config *config)
{
	enum err e = fixture_listen(fixture, config);

	if (e)
		fail_msg("%s", fixture->problem);
	assert_int_equal(loop_start(fixture->loop), ERR_OK);
	fixture->is_running = true;
}

/* One plaintext listener on a free port. */
static inline const char *fixture_start_plain(struct fixture *fixture)
{
	const char *urls[] = {"http://127.0.0.1:0", NULL};
	struct server_config config = {.client_urls = urls};

	fixture_start(fixture, &config);
	return server_address(fixture->server, 0);
}

static inline void fixture_stop(struct fixture *fixture, int64_t grace_ms)
{
	if (!fixture->is_running)
		return;
	fixture->is_running = false;
	server_stop(fixture->server, grace_ms);
	loop_join(fixture->loop);
}

static inline int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;
	char path[300];
	struct dirent *entry;
	DIR *folder;

	fixture_stop(fixture, 0);
	server_free(fixture->server);
	loop_free(fixture->loop);
	folder = opendir(fixture->folder);
	while (folder && (entry = readdir(folder))) {
		snprintf(path, sizeof(path), "%s/%s", fixture->folder, entry->d_name);
		remove(path);
	}
	if (folder)
		closedir(folder);
	rmdir(fixture->folder);
	free(fixture);
	return 0;
}

/* --- client ----------------------------------------------------------------------------------- */

static inline int client_try_connect(const char *text)
{
	struct timeval patience = {.tv_sec = CLIENT_TIMEOUT_S};
	struct sockaddr_storage address = {0};
	struct sockaddr_un *un = (struct sockaddr_un *)&address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address;
	struct sockaddr_in *in = (struct sockaddr_in *)&address;
	struct listen_url url;
	char problem[256];
	int fd;

	assert_int_equal(url_parse(text, &url, problem, sizeof(problem)), ERR_OK);
	if (url.is_unix) {
		un->sun_family = AF_UNIX;
		memcpy(un->sun_path, url.path, sizeof(url.path));
	} else if (inet_pton(AF_INET6, url.host, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(url.port);
	} else {
		in->sin_family = AF_INET;
		in->sin_port = htons(url.port);
		assert_int_equal(inet_pton(AF_INET, url.host, &in->sin_addr), 1);
	}
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!connect(fd, (struct sockaddr *)&address,
		     url.is_unix ? sizeof(*un) : (socklen_t)sizeof(*in6)))
		return fd;
	close(fd);
	return -1;
}

static inline int client_connect(const char *url)
{
	int fd = client_try_connect(url);

	assert_true(fd >= 0);
	return fd;
}

static inline void client_send_bytes(int fd, struct bytes bytes)
{
	while (bytes.size) {
		ssize_t sent = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);

		assert_true(sent > 0);
		bytes = bytes_of(bytes.data + sent, bytes.size - (size_t)sent);
	}
}

static inline void client_send(int fd, const char *text)
{
	client_send_bytes(fd, bytes_of_string(text));
}

/* Reads until `text` has come (NULL: until the peer closes); the result, with a NUL, is the
 * caller's to free. */
static inline char *client_read_until(int fd, const char *text)
{
	struct buffer all = BUFFER_INIT(64 * MIB);

	assert_true(buffer_append(&all, bytes_of("", 1)));
	all.size = 0;
	for (;;) {
		ssize_t size;

		assert_true(buffer_reserve(&all, 64 * KIB));
		size = recv(fd, buffer_end(&all), 64 * KIB - 1, 0);
		if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			fail_msg("the server was silent for %d s", CLIENT_TIMEOUT_S);
		all.size += size > 0 ? (size_t)size : 0;
		*buffer_end(&all) = 0;
		if (size <= 0 || (text && strstr((char *)buffer_bytes(&all).data, text))) {
			char *copy = strdup((const char *)buffer_bytes(&all).data);

			buffer_fini(&all);
			assert_non_null(copy);
			return copy;
		}
	}
}

/* Whether the peer closes within the time; what it still sends is dropped. */
static inline bool client_is_closed(int fd, int timeout_ms)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char dropped[4096];

	while (poll(&ready, 1, timeout_ms) > 0)
		if (recv(fd, dropped, sizeof(dropped), 0) <= 0)
			return true;
	return false;
}

/* One request on a connection of its own; the whole answer. */
static inline char *client_get(const char *url, const char *path)
{
	char request[256];
	char *answer;
	int fd = client_connect(url);

	snprintf(request, sizeof(request),
		 "GET %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", path);
	client_send(fd, request);
	answer = client_read_until(fd, NULL);
	close(fd);
	return answer;
}

#define assert_contains(text, part)                                                                \
	do {                                                                                       \
		if (!strstr((text), (part)))                                                       \
			fail_msg("\"%s\" is not in: %s", (part), (text));                          \
	} while (0)

#endif
