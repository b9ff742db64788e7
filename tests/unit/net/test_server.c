/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/net/client.h"

#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <sys/resource.h>

static const struct bytes h2_hello = BYTES_LITERAL("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
						   "\0\0\0\4\0\0\0\0\0");

/* The server's first frame is its SETTINGS: type 4 on stream 0. */
static void expect_settings(int fd)
{
	uint8_t head[9];

	assert_int_equal(recv(fd, head, sizeof(head), MSG_WAITALL), sizeof(head));
	assert_int_equal(head[3], NGHTTP2_SETTINGS);
	assert_int_equal(head[8], 0);
}

/* --- protocols on one port -------------------------------------------------------------------- */

static void test_one_port_speaks_http1_and_http2(void **state)
{
	const char *url = fixture_start_plain(*state);
	char *answer = client_get(url, GO_ON_PATH "?a=b");
	int fd = client_connect(url);

	assert_contains(answer, "HTTP/1.1 200 OK\r\n");
	assert_contains(answer, "ok GET a=b from test\n");
	free(answer);
	client_send_bytes(fd, h2_hello);
	expect_settings(fd);
	close(fd);
}

static void test_preface_may_come_byte_by_byte(void **state)
{
	const char *url = fixture_start_plain(*state);
	int fd = client_connect(url);

	for (size_t i = 0; i < h2_hello.size; i++) {
		client_send_bytes(fd, bytes_of(h2_hello.data + i, 1));
		usleep(500);
	}
	expect_settings(fd);
	close(fd);
}

static void test_http1_keeps_alive_and_pipelines(void **state)
{
	const char *url = fixture_start_plain(*state);
	int fd = client_connect(url);
	char *answer;

	client_send(fd,
		    "GET /ok?1 HTTP/1.1\r\nHost: a\r\n\r\nGET /ok?2 HTTP/1.1\r\nHost: b\r\n\r\n");
	answer = client_read_until(fd, "ok GET 2 from b\n");
	assert_contains(answer, "ok GET 1 from a\n");
	free(answer);
	client_send(fd, "GET /ok?3 HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n");
	answer = client_read_until(fd, NULL);
	assert_contains(answer, "ok GET 3 from c\n");
	free(answer);
	close(fd);
}

static void test_client_may_close_its_side_and_wait(void **state)
{
	const char *url = fixture_start_plain(*state);
	int fd = client_connect(url);
	char *answer;

	client_send(fd, "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n");
	shutdown(fd, SHUT_WR);
	answer = client_read_until(fd, NULL);
	assert_contains(answer, "ok GET  from a\n");
	free(answer);
	close(fd);
}

static void test_garbage_is_answered_and_closed(void **state)
{
	const char *url = fixture_start_plain(*state);
	int fd = client_connect(url);
	char *answer;

	client_send(fd, "\x16\x03\x01 what is this?\r\n\r\n");
	answer = client_read_until(fd, NULL);
	assert_contains(answer, "HTTP/1.1 400 Bad Request\r\n");
	free(answer);
	close(fd);
}

/* A slow reader of a big answer gets all of it and holds up nobody. */
static void test_slow_reader_holds_up_nobody(void **state)
{
	const char *url = fixture_start_plain(*state);
	int fd = client_connect(url);
	char *answer;

	client_send(fd, "GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	usleep(20000);
	for (int i = 0; i < 20; i++)
		free(client_get(url, GO_ON_PATH));
	answer = client_read_until(fd, NULL);
	assert_true(strlen(answer) > BIG_BYTES);
	free(answer);
	close(fd);
}

/* Pipelining more big answers than may wait must not gather them all. */
static void test_pipelined_big_answers_all_come(void **state)
{
	const char *url = fixture_start_plain(*state);
	int fd = client_connect(url);
	char *answer;

	client_send(fd, "GET /big HTTP/1.1\r\nHost: a\r\n\r\nGET /big HTTP/1.1\r\nHost: a\r\n\r\n"
			"GET /ok?last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	answer = client_read_until(fd, NULL);
	assert_true(strlen(answer) > 2 * BIG_BYTES);
	assert_contains(answer + 2 * BIG_BYTES, "ok GET last from a\n");
	free(answer);
	close(fd);
}

static void test_peers_that_vanish_leave_nothing(void **state)
{
	struct fixture *fixture = *state;
	const char *url = fixture_start_plain(fixture);
	struct linger reset = {.l_onoff = 1};
	struct server_stats stats;

	for (int i = 0; i < 50; i++) {
		int fd = client_connect(url);

		if (i % 10 == 0)
			client_send(fd, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
		else if (i % 2)
			client_send_bytes(fd, h2_hello);
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fd);
	}
	free(client_get(url, GO_ON_PATH));
	fixture_stop(fixture, 0);
	server_stats(fixture->server, &stats);
	assert_int_equal(stats.connections, 0);
	assert_true(stats.connections_total >= 1);
}

/* --- gRPC over a real socket ------------------------------------------------------------------ */

struct grpc_client {
	int fd;
	nghttp2_session *session;
	struct buffer got; /* DATA of all streams */
	struct bytes unsent;
	uint32_t streams_open;
	bool is_status_ok;
};

static ssize_t on_client_send(nghttp2_session *session, const uint8_t *data, size_t size, int flags,
			      void *context)
{
	struct grpc_client *client = context;

	(void)session;
	(void)flags;
	client_send_bytes(client->fd, bytes_of(data, size));
	return (ssize_t)size;
}

static int on_client_data(nghttp2_session *session, uint8_t flags, int32_t stream,
			  const uint8_t *data, size_t size, void *context)
{
	struct grpc_client *client = context;

	(void)session;
	(void)flags;
	(void)stream;
	assert_true(buffer_append(&client->got, bytes_of(data, size)));
	return 0;
}

static int on_client_header(nghttp2_session *session, const nghttp2_frame *frame,
			    const uint8_t *name, size_t name_size, const uint8_t *value,
			    size_t value_size, uint8_t flags, void *context)
{
	struct grpc_client *client = context;

	(void)session;
	(void)frame;
	(void)flags;
	if (bytes_equal(bytes_of(name, name_size), BYTES_LITERAL("grpc-status")))
		client->is_status_ok = bytes_equal(bytes_of(value, value_size), BYTES_LITERAL("0"));
	return 0;
}

static int on_client_closed(nghttp2_session *session, int32_t stream, uint32_t error, void *context)
{
	struct grpc_client *client = context;

	(void)session;
	(void)stream;
	(void)error;
	client->streams_open--;
	return 0;
}

static void grpc_client_init(struct grpc_client *client, const char *url)
{
	nghttp2_session_callbacks *callbacks;

	*client = (struct grpc_client){.fd = client_connect(url), .got = BUFFER_INIT(64 * MIB)};
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_send_callback(callbacks, on_client_send);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_client_data);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_client_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_client_closed);
	assert_int_equal(nghttp2_session_client_new(&client->session, callbacks, client), 0);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0);
}

static void grpc_client_fini(struct grpc_client *client)
{
	nghttp2_session_del(client->session);
	buffer_fini(&client->got);
	close(client->fd);
}

static ssize_t on_client_read(nghttp2_session *session, int32_t stream, uint8_t *out, size_t max,
			      uint32_t *flags, nghttp2_data_source *source, void *context)
{
	struct grpc_client *client = context;
	size_t size = client->unsent.size < max ? client->unsent.size : max;

	(void)session;
	(void)stream;
	(void)source;
	memcpy(out, client->unsent.data, size);
	client->unsent = bytes_of(client->unsent.data + size, client->unsent.size - size);
	if (!client->unsent.size)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)size;
}

#define HEADER(n, v)                                                                               \
	{                                                                                          \
		(uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, strlen(v), 0                        \
	}

/* Opens a call; message NULL leaves it open. */
static void grpc_call(struct grpc_client *client, const char *path, const struct bytes *message)
{
	const nghttp2_nv headers[] = {
		HEADER(":method", "POST"), HEADER(":scheme", "http"),
		HEADER(":path", path),	   HEADER(":authority", "test"),
		HEADER("te", "trailers"),  HEADER("content-type", "application/grpc"),
	};
	nghttp2_data_provider body = {.read_callback = on_client_read};

	if (message) {
		client->unsent = *message;
		assert_true(nghttp2_submit_request(client->session, NULL, headers, 6, &body, NULL) >
			    0);
	} else {
		assert_true(nghttp2_submit_headers(client->session, NGHTTP2_FLAG_NONE, -1, NULL,
						   headers, 6, NULL) > 0);
	}
	client->streams_open++;
	assert_int_equal(nghttp2_session_send(client->session), 0);
}

/* Until all calls have ended or the server closes. */
static void grpc_run(struct grpc_client *client)
{
	uint8_t input[65536];

	while (client->streams_open) {
		ssize_t size = recv(client->fd, input, sizeof(input), 0);

		if (size == 0)
			return;
		assert_true(size > 0);
		assert_int_equal(nghttp2_session_mem_recv(client->session, input, (size_t)size),
				 size);
		assert_int_equal(nghttp2_session_send(client->session), 0);
	}
}

/* A gRPC message of the given size. */
static struct bytes make_message(size_t size)
{
	uint8_t *data = calloc(1, size + 5);

	assert_non_null(data);
	data[1] = (uint8_t)(size >> 24);
	data[2] = (uint8_t)(size >> 16);
	data[3] = (uint8_t)(size >> 8);
	data[4] = (uint8_t)size;
	for (size_t i = 0; i < size; i++)
		data[5 + i] = (uint8_t)(i * 7);
	return bytes_of(data, size + 5);
}

static void test_unary_call_is_answered(void **state)
{
	struct bytes message = make_message(1000);
	struct grpc_client client;

	grpc_client_init(&client, fixture_start_plain(*state));
	grpc_call(&client, "/test.Echo/Say", &message);
	grpc_run(&client);
	assert_true(client.is_status_ok);
	assert_true(bytes_equal(buffer_bytes(&client.got), message));
	grpc_client_fini(&client);
	free((void *)(uintptr_t)message.data);
}

/* Bigger than windows, socket buffers and one run of the session. */
static void test_big_message_passes_windows(void **state)
{
	struct bytes message = make_message(REQUEST_BYTES_DEFAULT - 100);
	struct grpc_client client;

	grpc_client_init(&client, fixture_start_plain(*state));
	for (int i = 0; i < 3; i++) {
		client.got.size = 0;
		grpc_call(&client, "/test.Echo/Say", &message);
		grpc_run(&client);
		assert_true(client.is_status_ok);
		assert_true(bytes_equal(buffer_bytes(&client.got), message));
	}
	grpc_client_fini(&client);
	free((void *)(uintptr_t)message.data);
}

static void test_stop_ends_streams_and_frees_the_port(void **state)
{
	struct fixture *fixture = *state;
	struct grpc_client client;
	char url[128];

	snprintf(url, sizeof(url), "%s", fixture_start_plain(fixture));
	grpc_client_init(&client, url);
	grpc_call(&client, "/test.Echo/Wait", NULL);
	free(client_get(url, GO_ON_PATH));
	server_stop(fixture->server, 5000);
	grpc_run(&client);
	assert_false(client.is_status_ok);
	grpc_client_fini(&client);
	fixture_stop(fixture, 5000);
	assert_true(client_try_connect(url) < 0);
}

/* Whoever does not take the hint is closed when the grace is over. */
static void test_stop_does_not_wait_for_ever(void **state)
{
	struct fixture *fixture = *state;
	const char *url = fixture_start_plain(fixture);
	int http = client_connect(url);
	int fd = client_connect(url);
	struct timespec before, after;

	client_send(http, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
	client_send_bytes(fd, h2_hello);
	expect_settings(fd);
	clock_gettime(CLOCK_MONOTONIC, &before);
	fixture_stop(fixture, 300);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(after.tv_sec - before.tv_sec < CLIENT_TIMEOUT_S);
	close(fd);
	close(http);
}

/* --- listening -------------------------------------------------------------------------------- */

static void test_busy_port_is_named(void **state)
{
	struct fixture *fixture = *state;
	const char *urls[] = {fixture_start_plain(fixture), NULL};
	struct server_config config = {.client_urls = urls};
	struct fixture second = {0};

	assert_int_equal(loop_new(&second.loop), ERR_OK);
	assert_int_not_equal(fixture_listen(&second, &config), ERR_OK);
	assert_contains(second.problem, "bind: address already in use");
	assert_contains(second.problem, urls[0]);
	assert_contains(second.problem, "choose another");
	server_free(second.server);
	loop_free(second.loop);
}

static void test_unix_socket_serves_and_is_removed(void **state)
{
	struct fixture *fixture = *state;
	char path[128];
	char url[160];
	const char *urls[] = {url, NULL};
	struct server_config config = {.client_urls = urls};
	struct stat status;
	char *answer;

	snprintf(url, sizeof(url), "unix://%s", fixture_path(fixture, "s.sock", path));
	fixture_start(fixture, &config);
	assert_string_equal(server_address(fixture->server, 0), url);
	answer = client_get(url, GO_ON_PATH);
	assert_contains(answer, "ok GET");
	free(answer);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07, 0);
	fixture_stop(fixture, 0);
	assert_int_equal(stat(path, &status), -1);
}

static void test_stale_unix_socket_is_replaced_but_nothing_else(void **state)
{
	struct fixture *fixture = *state;
	char path[128];
	char url[160];
	const char *urls[] = {url, NULL};
	struct server_config config = {.client_urls = urls};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct fixture second = {0};
	int fd;

	snprintf(url, sizeof(url), "unix://%s", fixture_path(fixture, "s.sock", path));
	memcpy(address.sun_path, path, sizeof(address.sun_path));
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd); /* the file stays */
	fixture_start(fixture, &config);

	/* Somebody listens on it now. */
	assert_int_equal(loop_new(&second.loop), ERR_OK);
	assert_int_not_equal(fixture_listen(&second, &config), ERR_OK);
	assert_contains(second.problem, "bind: address already in use");
	server_free(second.server);
	free(client_get(url, GO_ON_PATH));
	fixture_stop(fixture, 0);

	/* And here somebody keeps a letter. */
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_not_equal(fixture_listen(&second, &config), ERR_OK);
	assert_contains(second.problem, "is not a socket");
	assert_int_equal(access(path, F_OK), 0);
	server_free(second.server);
	loop_free(second.loop);
}

static void test_several_urls_and_ipv6(void **state)
{
	struct fixture *fixture = *state;
	char path[128];
	char unix_url[160];
	const char *urls[] = {"http://127.0.0.1:0", unix_url, "http://localhost:0",
			      "http://[::1]:0", NULL};
	struct server_config config = {.client_urls = urls};
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)))
		urls[3] = NULL; /* a machine without IPv6 */
	if (fd >= 0)
		close(fd);
	snprintf(unix_url, sizeof(unix_url), "unix://%s", fixture_path(fixture, "s.sock", path));
	fixture_start(fixture, &config);
	for (size_t i = 0; urls[i]; i++) {
		char *answer = client_get(server_address(fixture->server, i), GO_ON_PATH);

		assert_contains(answer, "200 OK");
		free(answer);
	}
	assert_null(server_address(fixture->server, 4));
}

static void test_empty_host_takes_both_families(void **state)
{
	struct fixture *fixture = *state;
	const char *urls[] = {"http://:0", NULL};
	struct server_config config = {.client_urls = urls};
	const char *port;
	char url[64];
	char *answer;

	fixture_start(fixture, &config);
	port = strrchr(server_address(fixture->server, 0), ':') + 1;
	snprintf(url, sizeof(url), "http://127.0.0.1:%s", port);
	answer = client_get(url, GO_ON_PATH);
	assert_contains(answer, "200 OK");
	free(answer);
}

static void test_http_urls_serve_only_http(void **state)
{
	struct fixture *fixture = *state;
	const char *urls[] = {"http://127.0.0.1:0", NULL};
	const char *http_urls[] = {"http://127.0.0.1:0", NULL};
	struct server_config config = {.client_urls = urls, .http_urls = http_urls};
	char *answer;
	int fd;

	fixture_start(fixture, &config);
	answer = client_get(server_address(fixture->server, 0), GO_ON_PATH);
	assert_contains(answer, "from test\n");
	free(answer);
	answer = client_get(server_address(fixture->server, 1), GO_ON_PATH);
	assert_contains(answer, "from test here\n");
	free(answer);
	fd = client_connect(server_address(fixture->server, 1));
	client_send_bytes(fd, h2_hello);
	answer = client_read_until(fd, NULL);
	assert_contains(answer, "400 Bad Request");
	free(answer);
	close(fd);
}

static void test_bad_urls_are_explained(void **state)
{
	static const struct {
		const char *url;
		const char *problem;
	} rows[] = {
		{"127.0.0.1:2379", "URL scheme must be http, https, unix, or unixs"},
		{"http://127.0.0.1", "does not have the form \"host:port\""},
		{"http://127.0.0.1:0/v3", "URL must not contain a path"},
		{"https://127.0.0.1:0", "TLS key/cert (--cert-file, --key-file) must be provided"},
		{"http://192.0.2.1:0", "cannot assign requested address"},
		{"http://no.such.host.invalid:0", "no address for host"},
		{"unix:///no/such/folder/s.sock", "no such file or directory"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *urls[] = {rows[i].url, NULL};
		struct server_config config = {.client_urls = urls};

		fixture->server = NULL;
		assert_int_not_equal(fixture_listen(fixture, &config), ERR_OK);
		assert_contains(fixture->problem, rows[i].problem);
		server_free(fixture->server);
	}
	fixture->server = NULL;
}

static void test_too_many_connections_are_refused_for_now(void **state)
{
	struct fixture *fixture = *state;
	const char *urls[] = {"http://127.0.0.1:0", NULL};
	struct server_config config = {.client_urls = urls, .connections_max = 2};
	int one, two, three;
	const char *url;
	char *answer;

	fixture_start(fixture, &config);
	url = server_address(fixture->server, 0);
	one = client_connect(url);
	two = client_connect(url);
	three = client_connect(url);
	assert_true(client_is_closed(three, CLIENT_TIMEOUT_S * 1000));
	client_send(two, "GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	answer = client_read_until(two, NULL);
	assert_contains(answer, "200 OK");
	free(answer);
	close(one);
	close(two);
	close(three);
	for (int i = 0; i < 100; i++) { /* until the server has seen them go */
		usleep(10000);
		answer = client_get(url, GO_ON_PATH);
		if (strstr(answer, "200 OK"))
			break;
		free(answer);
		answer = NULL;
	}
	assert_non_null(answer);
	free(answer);
}

/* Never started: everything is still closed and freed. */
static void test_server_that_never_ran_is_freed(void **state)
{
	struct fixture *fixture = *state;
	const char *urls[] = {"http://127.0.0.1:0", NULL};
	struct server_config config = {.client_urls = urls};

	assert_int_equal(fixture_listen(fixture, &config), ERR_OK);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		T(test_one_port_speaks_http1_and_http2),
		T(test_preface_may_come_byte_by_byte),
		T(test_http1_keeps_alive_and_pipelines),
		T(test_client_may_close_its_side_and_wait),
		T(test_garbage_is_answered_and_closed),
		T(test_slow_reader_holds_up_nobody),
		T(test_pipelined_big_answers_all_come),
		T(test_peers_that_vanish_leave_nothing),
		T(test_unary_call_is_answered),
		T(test_big_message_passes_windows),
		T(test_stop_ends_streams_and_frees_the_port),
		T(test_stop_does_not_wait_for_ever),
		T(test_busy_port_is_named),
		T(test_unix_socket_serves_and_is_removed),
		T(test_stale_unix_socket_is_replaced_but_nothing_else),
		T(test_several_urls_and_ipv6),
		T(test_empty_host_takes_both_families),
		T(test_http_urls_serve_only_http),
		T(test_bad_urls_are_explained),
		T(test_too_many_connections_are_refused_for_now),
		T(test_server_that_never_ran_is_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
