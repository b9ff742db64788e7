/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/net/client.h"

#include "shim/net/tls.h"
#include "tests/unit/net/certs.h"

#include <openssl/err.h>
#include <signal.h>

#define SERVER_NAMES "DNS:localhost,IP:127.0.0.1"

/* A CA with a server and a client below it, as files in the fixture's folder. */
struct world {
	struct fixture *fixture;
	struct identity ca;
	struct identity server;
	struct identity client;
	char ca_file[128];
	char cert_file[128];
	char key_file[128];
	char crl_file[128];
	struct server_config config;
	const char *urls[4];
};

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	void *fixture = NULL;

	if (!world || fixture_setup(&fixture))
		return -1;
	world->fixture = fixture;
	world->ca = identity_new("test CA", NULL, 1, NULL);
	world->server = identity_new("server", SERVER_NAMES, 2, &world->ca);
	world->client = identity_new("root", "DNS:client.test,IP:192.0.2.7", 3, &world->ca);
	fixture_path(fixture, "ca.pem", world->ca_file);
	fixture_path(fixture, "cert.pem", world->cert_file);
	fixture_path(fixture, "key.pem", world->key_file);
	fixture_path(fixture, "crl.pem", world->crl_file);
	identity_write(&world->ca, world->ca_file, NULL);
	identity_write(&world->server, world->cert_file, world->key_file);
	world->urls[0] = "https://127.0.0.1:0";
	world->config.client_urls = world->urls;
	world->config.tls.cert_file = world->cert_file;
	world->config.tls.key_file = world->key_file;
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;
	void *fixture = world->fixture;

	identity_free(&world->ca);
	identity_free(&world->server);
	identity_free(&world->client);
	free(world);
	return fixture_teardown(&fixture);
}

/* --- client ----------------------------------------------------------------------------------- */

struct tls_client {
	int fd;
	SSL_CTX *context;
	SSL *ssl;
	bool is_connected;
};

struct tls_options {
	const struct identity *identity; /* client certificate, or NULL */
	const char *alpn;		 /* wire form, or NULL */
	int max_version;
};

/* Over TLS 1.3 a refused client learns of it at its first read. */
static struct tls_client tls_client_open(const char *url, const struct identity *ca,
					 struct tls_options options)
{
	struct tls_client client = {.fd = client_connect(url)};

	client.context = SSL_CTX_new(TLS_client_method());
	assert_true(X509_STORE_add_cert(SSL_CTX_get_cert_store(client.context), ca->certificate));
	SSL_CTX_set_verify(client.context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_max_proto_version(client.context, options.max_version);
	if (options.identity) {
		SSL_CTX_use_certificate(client.context, options.identity->certificate);
		SSL_CTX_use_PrivateKey(client.context, options.identity->key);
	}
	if (options.alpn)
		SSL_CTX_set_alpn_protos(client.context, (const uint8_t *)options.alpn,
					(unsigned)strlen(options.alpn));
	client.ssl = SSL_new(client.context);
	SSL_set_fd(client.ssl, client.fd);
	SSL_set_tlsext_host_name(client.ssl, "localhost");
	client.is_connected = SSL_connect(client.ssl) == 1;
	return client;
}

static void tls_client_close(struct tls_client *client)
{
	SSL_free(client->ssl);
	SSL_CTX_free(client->context);
	close(client->fd);
	ERR_clear_error();
}

/* Everything that comes, with a NUL. */
static char *tls_client_read(struct tls_client *client)
{
	struct buffer all = BUFFER_INIT(64 * MIB);
	char *copy;
	int size;

	do {
		assert_true(buffer_reserve(&all, 64 * KIB));
		size = SSL_read(client->ssl, buffer_end(&all), 64 * KIB);
		all.size += size > 0 ? (size_t)size : 0;
	} while (size > 0);
	assert_true(buffer_append(&all, bytes_of("", 1)));
	copy = malloc(all.size);
	assert_non_null(copy);
	memcpy(copy, buffer_bytes(&all).data, all.size);
	buffer_fini(&all);
	return copy;
}

/* Whether a request gets through with these options. */
static bool is_served(struct world *world, const struct identity *ca, struct tls_options options)
{
	struct tls_client client =
		tls_client_open(server_address(world->fixture->server, 0), ca, options);
	const char request[] = "GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
	bool is_ok = false;

	if (client.is_connected && SSL_write(client.ssl, request, sizeof(request) - 1) > 0) {
		char *answer = tls_client_read(&client);

		is_ok = strstr(answer, "ok GET");
		free(answer);
	}
	tls_client_close(&client);
	return is_ok;
}

static bool is_served_to(struct world *world, const struct identity *identity)
{
	return is_served(world, &world->ca, (struct tls_options){.identity = identity});
}

static void wait_for_new_time_stamp(void)
{
	usleep(20000); /* coarser than any file system's clock tick */
}

/* --- protocol --------------------------------------------------------------------------------- */

static void test_alpn_prefers_h2_and_takes_what_there_is(void **state)
{
	static const struct {
		const char *offer;
		const char *agreed;
	} rows[] = {
		{"\x08http/1.1\x02h2", "h2"},
		{"\x02h2", "h2"},
		{"\x08http/1.1", "http/1.1"},
		{NULL, ""},
	};
	struct world *world = *state;
	const char *url;

	fixture_start(world->fixture, &world->config);
	url = server_address(world->fixture->server, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_client client = tls_client_open(
			url, &world->ca, (struct tls_options){.alpn = rows[i].offer});
		const uint8_t *name = NULL;
		unsigned size = 0;

		assert_true(client.is_connected);
		SSL_get0_alpn_selected(client.ssl, &name, &size);
		assert_true(bytes_equal(bytes_of(name, size), bytes_of_string(rows[i].agreed)));
		tls_client_close(&client);
	}
}

static void test_unknown_alpn_is_refused(void **state)
{
	struct world *world = *state;
	struct tls_client client;

	fixture_start(world->fixture, &world->config);
	client = tls_client_open(server_address(world->fixture->server, 0), &world->ca,
				 (struct tls_options){.alpn = "\x04smtp"});
	assert_false(client.is_connected);
	tls_client_close(&client);
}

static void test_http1_and_h2_over_tls(void **state)
{
	static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	struct world *world = *state;
	struct tls_client client;
	uint8_t head[9];

	fixture_start(world->fixture, &world->config);
	assert_true(is_served_to(world, NULL));
	assert_true(is_served(world, &world->ca, (struct tls_options){.alpn = "\x08http/1.1"}));
	client = tls_client_open(server_address(world->fixture->server, 0), &world->ca,
				 (struct tls_options){.alpn = "\x02h2"});
	assert_true(client.is_connected);
	assert_true(SSL_write(client.ssl, hello, sizeof(hello) - 1) > 0);
	assert_int_equal(SSL_read(client.ssl, head, sizeof(head)), sizeof(head));
	assert_int_equal(head[3], 4); /* SETTINGS */
	tls_client_close(&client);
}

static void test_big_answer_over_tls(void **state)
{
	const char request[] = "GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
	struct world *world = *state;
	struct tls_client client;
	char *answer;

	fixture_start(world->fixture, &world->config);
	client = tls_client_open(server_address(world->fixture->server, 0), &world->ca,
				 (struct tls_options){0});
	assert_true(SSL_write(client.ssl, request, sizeof(request) - 1) > 0);
	usleep(20000);
	assert_true(is_served_to(world, NULL));
	answer = tls_client_read(&client);
	assert_true(strlen(answer) > BIG_BYTES);
	free(answer);
	tls_client_close(&client);
}

static void test_versions_are_limited(void **state)
{
	struct world *world = *state;

	world->config.tls.min_version = "TLS1.3";
	fixture_start(world->fixture, &world->config);
	assert_true(is_served_to(world, NULL));
	assert_false(
		is_served(world, &world->ca, (struct tls_options){.max_version = TLS1_2_VERSION}));
}

static void test_cipher_suites_go_by_iana_names(void **state)
{
	struct world *world = *state;
	struct tls_client client;

	world->config.tls.cipher_suites = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,"
					  "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305";
	fixture_start(world->fixture, &world->config);
	client = tls_client_open(server_address(world->fixture->server, 0), &world->ca,
				 (struct tls_options){.max_version = TLS1_2_VERSION});
	assert_true(client.is_connected);
	assert_string_equal(SSL_CIPHER_standard_name(SSL_get_current_cipher(client.ssl)),
			    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
	tls_client_close(&client);
}

/* --- bad clients ------------------------------------------------------------------------------ */

static void test_half_a_hello_holds_up_nobody(void **state)
{
	static const char half[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
	struct world *world = *state;
	const char *url;
	int fd[5];

	fixture_start(world->fixture, &world->config);
	url = server_address(world->fixture->server, 0);
	for (int i = 0; i < 5; i++) {
		fd[i] = client_connect(url);
		client_send_bytes(fd[i], bytes_of(half, sizeof(half) - 1));
	}
	assert_true(is_served_to(world, NULL));
	for (int i = 1; i < 5; i++)
		close(fd[i]);
	/* The one that stays is closed by the handshake's time limit. */
	assert_false(client_is_closed(fd[0], 100));
	assert_true(client_is_closed(fd[0], CLIENT_TIMEOUT_S * 1000));
	close(fd[0]);
}

static void test_plain_http_on_the_tls_port_is_told(void **state)
{
	struct world *world = *state;
	char *answer;

	fixture_start(world->fixture, &world->config);
	answer = client_get(server_address(world->fixture->server, 0), "/ok");
	assert_contains(answer, "Client sent an HTTP request to an HTTPS server.");
	free(answer);
}

static void test_garbage_after_the_handshake_record_is_closed(void **state)
{
	struct world *world = *state;
	struct server_stats stats;
	int fd;

	fixture_start(world->fixture, &world->config);
	fd = client_connect(server_address(world->fixture->server, 0));
	client_send_bytes(fd, bytes_of("\x16\x03\x01\x00\x05hello and nothing else", 26));
	assert_true(client_is_closed(fd, CLIENT_TIMEOUT_S * 1000));
	close(fd);
	fixture_stop(world->fixture, 0);
	server_stats(world->fixture->server, &stats);
	assert_int_equal(stats.connections_refused, 1);
}

/* --- client certificates ---------------------------------------------------------------------- */

static void test_client_certificate_is_required_and_verified(void **state)
{
	struct world *world = *state;
	struct identity other_ca = identity_new("other CA", NULL, 1, NULL);
	struct identity stranger = identity_new("root", NULL, 3, &other_ca);

	world->config.tls.client_cert_auth = true;
	world->config.tls.trusted_ca_file = world->ca_file;
	fixture_start(world->fixture, &world->config);
	assert_true(is_served_to(world, &world->client));
	assert_true(is_served(
		world, &world->ca,
		(struct tls_options){.identity = &world->client, .max_version = TLS1_2_VERSION}));
	assert_false(is_served_to(world, NULL));
	assert_false(is_served_to(world, &stranger));
	identity_free(&stranger);
	identity_free(&other_ca);
}

/* Hands bytes between a session and an OpenSSL client until neither has any. */
static enum tls_state shake_hands(struct tls_session *session, SSL *client)
{
	struct buffer out = BUFFER_INIT(MIB);
	enum tls_state state = TLS_WANTS_INPUT;
	uint8_t bytes[16 * KIB];
	int size;

	for (int i = 0; i < 10 && state == TLS_WANTS_INPUT; i++) {
		SSL_do_handshake(client);
		size = BIO_read(SSL_get_wbio(client), bytes, sizeof(bytes));
		tls_feed(session, bytes_of(bytes, size > 0 ? (size_t)size : 0));
		state = tls_handshake(session, &out);
		BIO_write(SSL_get_rbio(client), buffer_bytes(&out).data, (int)out.size);
		out.size = 0;
	}
	buffer_fini(&out);
	return state;
}

/* Bytes in, bytes out, no socket: whom the handlers will see. */
static void test_common_name_is_taken_from_the_certificate(void **state)
{
	struct world *world = *state;
	const char *no_hosts[] = {NULL};
	struct tls_context *context;
	struct tls_session *session;
	SSL_CTX *client_context = SSL_CTX_new(TLS_client_method());
	SSL *client = SSL_new(client_context);

	world->config.tls.trusted_ca_file = world->ca_file;
	assert_int_equal(
		tls_context_new(&world->config.tls, no_hosts, &context, world->fixture->problem),
		ERR_OK);
	assert_int_equal(tls_session_new(context, &session), ERR_OK);
	SSL_use_certificate(client, world->client.certificate);
	SSL_use_PrivateKey(client, world->client.key);
	SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(client);
	assert_null(tls_common_name(session));
	assert_int_equal(shake_hands(session, client), TLS_READY);
	assert_string_equal(tls_common_name(session), "root");
	SSL_free(client);
	SSL_CTX_free(client_context);
	tls_session_free(session);
	tls_context_free(context);
}

/* What stands in the log when somebody is turned away. */
static void test_failure_names_reason_and_client(void **state)
{
	struct world *world = *state;
	struct identity other_ca = identity_new("other CA", NULL, 1, NULL);
	struct identity stranger =
		identity_new("root", "DNS:strange.test,IP:192.0.2.9", 3, &other_ca);
	const char *no_hosts[] = {NULL};
	struct tls_context *context;
	struct tls_session *session;
	struct tls_failure failure;
	SSL_CTX *client_context = SSL_CTX_new(TLS_client_method());
	SSL *client = SSL_new(client_context);

	world->config.tls.trusted_ca_file = world->ca_file;
	assert_int_equal(
		tls_context_new(&world->config.tls, no_hosts, &context, world->fixture->problem),
		ERR_OK);
	assert_int_equal(tls_session_new(context, &session), ERR_OK);
	SSL_use_certificate(client, stranger.certificate);
	SSL_use_PrivateKey(client, stranger.key);
	SSL_set_tlsext_host_name(client, "etcd.test");
	SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(client);
	assert_int_equal(shake_hands(session, client), TLS_FAILED);
	tls_failure(session, &failure);
	assert_contains(failure.reason, "tls: failed to verify certificate: ");
	assert_string_equal(failure.server_name, "etcd.test");
	assert_string_equal(failure.dns_names, "strange.test");
	assert_string_equal(failure.ip_addresses, "192.0.2.9");
	SSL_free(client);
	SSL_CTX_free(client_context);
	tls_session_free(session);
	tls_context_free(context);
	identity_free(&stranger);
	identity_free(&other_ca);
}

static void test_trusted_ca_alone_asks_for_a_certificate(void **state)
{
	struct world *world = *state;

	world->config.tls.trusted_ca_file = world->ca_file;
	fixture_start(world->fixture, &world->config);
	assert_true(is_served_to(world, &world->client));
	assert_false(is_served_to(world, NULL));
}

static void test_revocation_list_is_read_again(void **state)
{
	struct world *world = *state;
	FILE *file;

	world->config.tls.trusted_ca_file = world->ca_file;
	world->config.tls.crl_file = world->crl_file;
	revocations_write(&world->ca, -1, world->crl_file);
	fixture_start(world->fixture, &world->config);
	assert_true(is_served_to(world, &world->client));
	wait_for_new_time_stamp();
	revocations_write(&world->ca, 3, world->crl_file);
	assert_false(is_served_to(world, &world->client));
	wait_for_new_time_stamp();
	revocations_write(&world->ca, 4, world->crl_file);
	assert_true(is_served_to(world, &world->client));
	/* Without a list nobody can be let in. */
	wait_for_new_time_stamp();
	file = fopen(world->crl_file, "w");
	fputs("nonsense", file);
	fclose(file);
	assert_false(is_served_to(world, &world->client));
}

static void test_allowed_hostnames(void **state)
{
	struct world *world = *state;
	struct identity other = identity_new("client.test", "DNS:other.test", 9, &world->ca);

	world->config.tls.trusted_ca_file = world->ca_file;
	world->config.tls.allowed_hostnames = "no.test, client.test";
	fixture_start(world->fixture, &world->config);
	assert_true(is_served_to(world, &world->client));
	assert_false(is_served_to(world, &other)); /* its common name does not count */
	identity_free(&other);
}

static void test_allowed_hostname_may_be_an_address(void **state)
{
	struct world *world = *state;

	world->config.tls.trusted_ca_file = world->ca_file;
	world->config.tls.allowed_hostnames = "192.0.2.7";
	fixture_start(world->fixture, &world->config);
	assert_true(is_served_to(world, &world->client));
}

/* --- renewal ---------------------------------------------------------------------------------- */

static void test_certificate_is_renewed_without_restart(void **state)
{
	struct world *world = *state;
	struct identity ca = identity_new("next CA", NULL, 1, NULL);
	struct identity server = identity_new("server", SERVER_NAMES, 2, &ca);
	struct tls_client old;
	char dropped[16];
	FILE *file;

	fixture_start(world->fixture, &world->config);
	old = tls_client_open(server_address(world->fixture->server, 0), &world->ca,
			      (struct tls_options){0});
	assert_true(old.is_connected);

	/* First only the key: the pair does not fit, the former one stays in service. */
	wait_for_new_time_stamp();
	file = fopen(world->key_file, "w");
	assert_true(PEM_write_PrivateKey(file, server.key, NULL, NULL, 0, NULL, NULL));
	fclose(file);
	assert_true(is_served_to(world, NULL));

	wait_for_new_time_stamp();
	identity_write(&server, world->cert_file, world->key_file);
	assert_false(is_served_to(world, NULL));
	assert_true(is_served(world, &ca, (struct tls_options){0}));

	/* Gone altogether: the last good one stays. */
	unlink(world->cert_file);
	assert_true(is_served(world, &ca, (struct tls_options){0}));

	/* Whoever was connected before still is. */
	assert_true(SSL_write(old.ssl, "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n", 29) > 0);
	assert_true(SSL_read(old.ssl, dropped, sizeof(dropped)) > 0);
	tls_client_close(&old);
	identity_free(&server);
	identity_free(&ca);
}

/* --- auto TLS --------------------------------------------------------------------------------- */

static void test_auto_tls_makes_a_certificate_once(void **state)
{
	struct world *world = *state;
	char folder[128], cert[160], key[160];
	struct stat first, again;
	struct identity self = {0};
	FILE *file;

	fixture_path(world->fixture, "auto", folder);
	snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
	snprintf(key, sizeof(key), "%s/key.pem", folder);
	world->config.tls = (struct tls_config){
		.auto_tls = true, .auto_tls_dir = folder, .self_signed_years = 1};
	fixture_start(world->fixture, &world->config);
	assert_int_equal(stat(key, &first), 0);
	assert_int_equal(first.st_mode & 0777, 0600);
	file = fopen(cert, "r");
	assert_non_null(file);
	self.certificate = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	assert_int_equal(X509_check_ip_asc(self.certificate, "127.0.0.1", 0), 1);
	assert_true(is_served(world, &self, (struct tls_options){0}));
	fixture_stop(world->fixture, 0);
	server_free(world->fixture->server);
	assert_int_equal(fixture_listen(world->fixture, &world->config), ERR_OK);
	assert_int_equal(stat(key, &again), 0);
	assert_int_equal(first.st_ino, again.st_ino);
	X509_free(self.certificate);
	unlink(cert);
	unlink(key);
	rmdir(folder);
}

/* --- mixed ------------------------------------------------------------------------------------ */

static void test_one_port_for_tls_and_plaintext(void **state)
{
	struct world *world = *state;
	char http[64], https[64];
	const char *port;
	char *answer;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(0x7f000001)}};
	socklen_t size = sizeof(address);

	/* A free port, because the same one must stand in both URLs. */
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	getsockname(fd, (struct sockaddr *)&address, &size);
	close(fd);
	snprintf(http, sizeof(http), "http://127.0.0.1:%u", ntohs(address.sin_port));
	snprintf(https, sizeof(https), "https://127.0.0.1:%u", ntohs(address.sin_port));
	world->urls[0] = https;
	world->urls[1] = http;
	fixture_start(world->fixture, &world->config);
	port = server_address(world->fixture->server, 0);
	assert_non_null(port);
	assert_null(server_address(world->fixture->server, 1));
	assert_true(is_served_to(world, NULL));
	answer = client_get(http, "/ok");
	assert_contains(answer, "ok GET");
	free(answer);
}

static void test_tls_over_a_unix_socket(void **state)
{
	struct world *world = *state;
	char path[128], url[160];

	snprintf(url, sizeof(url), "unixs://%s", fixture_path(world->fixture, "s.sock", path));
	world->urls[0] = url;
	fixture_start(world->fixture, &world->config);
	assert_true(is_served_to(world, NULL));
}

static void test_configuration_mistakes_are_explained(void **state)
{
	struct world *world = *state;
	const struct tls_config good = world->config.tls;
	const struct {
		struct tls_config tls;
		const char *problem;
	} rows[] = {
		{{.cert_file = good.cert_file}, "--cert-file and --key-file must both be given"},
		{{.cert_file = "/no/such.pem", .key_file = good.key_file}, "/no/such.pem"},
		{{.cert_file = good.cert_file, .key_file = world->ca_file}, "--key-file"},
		{{.cert_file = good.cert_file,
		  .key_file = good.key_file,
		  .trusted_ca_file = "/no/ca.pem"},
		 "/no/ca.pem"},
		{{.cert_file = good.cert_file, .key_file = good.key_file, .min_version = "SSL3"},
		 "unexpected TLS version \"SSL3\""},
		{{.cert_file = good.cert_file,
		  .key_file = good.key_file,
		  .cipher_suites = "TLS_NO_SUCH_SUITE"},
		 "unexpected TLS cipher suite \"TLS_NO_SUCH_SUITE\""},
		{{.cert_file = good.cert_file,
		  .key_file = good.key_file,
		  .min_version = "TLS1.3",
		  .cipher_suites = "TLS_AES_128_GCM_SHA256"},
		 "cipher suites cannot be configured when only TLS1.3"},
		{{.cert_file = good.cert_file,
		  .key_file = good.key_file,
		  .crl_file = "/no/crl.pem"},
		 "/no/crl.pem"},
		{{.auto_tls = true, .auto_tls_dir = "/proc/no", .self_signed_years = 1}, "/proc"},
		{{.auto_tls = true, .auto_tls_dir = "/proc/no"}, "--self-signed-cert-validity"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		world->config.tls = rows[i].tls;
		assert_int_not_equal(fixture_listen(world->fixture, &world->config), ERR_OK);
		assert_null(world->fixture->server);
		assert_contains(world->fixture->problem, rows[i].problem);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_alpn_prefers_h2_and_takes_what_there_is),
		T(test_unknown_alpn_is_refused),
		T(test_http1_and_h2_over_tls),
		T(test_big_answer_over_tls),
		T(test_versions_are_limited),
		T(test_cipher_suites_go_by_iana_names),
		T(test_half_a_hello_holds_up_nobody),
		T(test_plain_http_on_the_tls_port_is_told),
		T(test_garbage_after_the_handshake_record_is_closed),
		T(test_client_certificate_is_required_and_verified),
		T(test_common_name_is_taken_from_the_certificate),
		T(test_failure_names_reason_and_client),
		T(test_trusted_ca_alone_asks_for_a_certificate),
		T(test_revocation_list_is_read_again),
		T(test_allowed_hostnames),
		T(test_allowed_hostname_may_be_an_address),
		T(test_certificate_is_renewed_without_restart),
		T(test_auto_tls_makes_a_certificate_once),
		T(test_one_port_for_tls_and_plaintext),
		T(test_tls_over_a_unix_socket),
		T(test_configuration_mistakes_are_explained),
	};

	/* The client writes to sockets that the server has closed. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
