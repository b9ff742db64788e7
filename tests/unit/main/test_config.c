/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct config config;
	char problem[CONFIG_PROBLEM_BYTES];
	char path[64];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	if (!f || !config_init(&f->config))
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->path[0])
		unlink(f->path);
	config_fini(&f->config);
	free(f);
	return 0;
}

static char *no_environment[] = {NULL};

static bool load(struct fixture *f, char **args, char **environment)
{
	int count = 0;

	while (args[count])
		count++;
	return config_load(&f->config, count, args, environment, f->problem);
}

static void write_file(struct fixture *f, const char *text)
{
	int fd;

	snprintf(f->path, sizeof f->path, "%s", "/tmp/kedge-test-config-XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void test_defaults_are_etcds(void **state)
{
	struct fixture *f = *state;

	assert_true(load(f, (char **)(const char *[]){NULL}, no_environment));
	assert_string_equal(f->config.listen_client_urls, "http://localhost:2379");
	assert_string_equal(f->config.data_dir, "default.kedge");
	assert_int_equal(f->config.max_txn_ops, 128);
	assert_int_equal(f->config.max_request_bytes, 1572864);
	assert_int_equal(f->config.watch_progress_interval_ns, INT64_C(600000000000));
}

static void test_a_progress_interval_is_adjusted_as_etcd_does(void **state)
{
	struct fixture *f = *state;
	const char *zero[] = {"--watch-progress-notify-interval=0s", NULL};
	const char *negative[] = {"--watch-progress-notify-interval=-1s", NULL};
	const char *short_one[] = {"--watch-progress-notify-interval=1ms", NULL};

	assert_true(load(f, (char **)zero, no_environment));
	assert_int_equal(f->config.watch_progress_interval_ns, INT64_C(600000000000));
	assert_true(load(f, (char **)negative, no_environment));
	assert_int_equal(f->config.watch_progress_interval_ns, INT64_C(600000000000));
	assert_false(f->config.watch_progress_raised);
	assert_true(load(f, (char **)short_one, no_environment));
	assert_int_equal(f->config.watch_progress_interval_ns, 100000000);
	assert_true(f->config.watch_progress_raised);
}

static void test_flags_follow_gos_rules(void **state)
{
	struct fixture *f = *state;
	char **args = (char **)(const char *[]){"-data-dir",
						"/d",
						"--client-cert-auth",
						"--max-txn-ops=7",
						"--unsafe-no-fsync=false",
						"-quota-backend-bytes",
						"-1",
						NULL};

	assert_true(load(f, args, no_environment));
	assert_string_equal(f->config.data_dir, "/d");
	assert_true(f->config.client_cert_auth);
	assert_false(f->config.unsafe_no_fsync);
	assert_int_equal(f->config.max_txn_ops, 7);
	assert_int_equal(f->config.quota_backend_bytes, -1);
}

/* What kubeadm's static pod passes. */
static void test_flags_of_raft_and_peers_are_accepted_and_named(void **state)
{
	struct fixture *f = *state;
	char **args = (char **)(const char *[]){"--initial-cluster=a=https://10.0.0.1:2380",
						"--peer-client-cert-auth=true",
						"--snapshot-count=10000",
						"--strict-reconfig-check",
						"--listen-peer-urls",
						"https://10.0.0.1:2380",
						NULL};

	assert_true(load(f, args, no_environment));
	assert_string_equal(f->config.ignored, "initial-cluster,peer-client-cert-auth,"
					       "snapshot-count,strict-reconfig-check,"
					       "listen-peer-urls");
}

static void test_variables_count_unless_a_flag_says_otherwise(void **state)
{
	struct fixture *f = *state;
	char **environment = (char **)(const char *[]){"ETCD_NAME=from-variable",
						       "ETCD_DATA_DIR=/variable", NULL};
	char **args = (char **)(const char *[]){"--data-dir=/flag", NULL};

	assert_true(load(f, args, environment));
	assert_string_equal(f->config.name, "from-variable");
	assert_string_equal(f->config.data_dir, "/flag");
}

static void expect_problem(struct fixture *f, char **args, const char *part)
{
	config_fini(&f->config);
	assert_true(config_init(&f->config));
	assert_false(load(f, args, no_environment));
	if (!strstr(f->problem, part))
		fail_msg("\"%s\" does not say \"%s\"", f->problem, part);
}

static void test_bad_flags_are_named_with_their_mend(void **state)
{
	struct fixture *f = *state;

	expect_problem(f, (char **)(const char *[]){"--no-such-flag=1", NULL}, "no-such-flag");
	expect_problem(f, (char **)(const char *[]){"--data-dir", NULL}, "needs an argument");
	expect_problem(f, (char **)(const char *[]){"stray", NULL},
		       "\"stray\" is not a valid flag");
	expect_problem(f, (char **)(const char *[]){"--max-txn-ops=-1", NULL}, "0 to 4294967295");
	expect_problem(f, (char **)(const char *[]){"--client-cert-auth=maybe", NULL},
		       "true or false");
	expect_problem(f, (char **)(const char *[]){"--grpc-keepalive-timeout=soon", NULL},
		       "such as 5s");
	expect_problem(f, (char **)(const char *[]){"--auto-compaction-mode=daily", NULL},
		       "periodic or revision");
	expect_problem(f, (char **)(const char *[]){"--listen-client-urls=http://[::1]:1", NULL},
		       "--advertise-client-urls is required");
	expect_problem(f,
		       (char **)(const char *[]){"--cert-file=a",
						 "--advertise-client-urls=http://a:1", NULL},
		       "go together");
}

static void test_durations_are_gos(void **state)
{
	int64_t ns;

	(void)state;
	assert_true(duration_parse("1h30m", &ns));
	assert_int_equal(ns, INT64_C(5400000000000));
	assert_true(duration_parse("1.5s", &ns));
	assert_int_equal(ns, 1500000000);
	assert_true(duration_parse("0", &ns));
	assert_int_equal(ns, 0);
	assert_true(duration_parse("-2ms", &ns));
	assert_int_equal(ns, -2000000);
	assert_true(duration_parse("9223372036854775807ns", &ns));
	assert_true(ns == INT64_MAX);
	assert_true(duration_parse("1.5\xce\xbcs", &ns)); /* the Greek letter */
	assert_int_equal(ns, 1500);
	assert_false(duration_parse("9223372036854775808ns", &ns));
	assert_false(duration_parse("0x10s", &ns));
	assert_false(duration_parse("1e3s", &ns));
	assert_false(duration_parse("", &ns));
	assert_false(duration_parse("5", &ns));
	assert_false(duration_parse("5 s", &ns));
	assert_false(duration_parse("1e9h", &ns));
	assert_false(duration_parse("99999999999h", &ns));
}

static void test_a_file_alone_counts_when_given(void **state)
{
	struct fixture *f = *state;
	char flag[96];

	write_file(f, "name: site-a\n"
		      "data-dir: /from/file\n"
		      "listen-client-urls: [http://127.0.0.1:1, 'unix:///run/k.sock']\n"
		      "advertise-client-urls: http://127.0.0.1:1\n"
		      "watch-progress-notify-interval: 5000000000\n"
		      "wal-dir:\n"
		      "client-transport-security:\n"
		      "  cert-file: /c\n"
		      "  key-file: /k\n"
		      "  client-cert-auth: true\n"
		      "  allowed-hostname: [a.example, b.example]\n"
		      "peer-transport-security:\n"
		      "  cert-file: /p\n"
		      "initial-cluster: x=http://1\n");
	snprintf(flag, sizeof flag, "--config-file=%s", f->path);
	assert_true(load(f, (char **)(const char *[]){flag, "--name=flag", NULL}, no_environment));
	assert_string_equal(f->config.name, "site-a");
	assert_string_equal(f->config.listen_client_urls, "http://127.0.0.1:1,unix:///run/k.sock");
	assert_string_equal(f->config.cert_file, "/c");
	assert_true(f->config.client_cert_auth);
	assert_string_equal(f->config.client_cert_allowed_hostname, "a.example,b.example");
	assert_int_equal(f->config.watch_progress_interval_ns, INT64_C(5000000000));
	assert_string_equal(f->config.ignored, "initial-cluster");
}

static void expect_file_problem(struct fixture *f, const char *text, const char *part)
{
	char flag[96];

	write_file(f, text);
	snprintf(flag, sizeof flag, "--config-file=%s", f->path);
	expect_problem(f, (char **)(const char *[]){flag, NULL}, part);
	unlink(f->path);
}

static void test_a_wrong_file_is_named_with_its_line(void **state)
{
	struct fixture *f = *state;

	expect_file_problem(f, "name: a\nnoname: b\n", "line 2: unknown option \"noname\"");
	expect_file_problem(f, "name: a\nmax-txn-ops: many\n", "line 2: --max-txn-ops=many");
	expect_file_problem(f, "name: [a\n", "not valid YAML");
	expect_file_problem(f, "- a\n- b\n", "expected lines of the form");
	expect_file_problem(f, "extra-section:\n  a: b\n", "line 1: unknown section");
	expect_problem(f, (char **)(const char *[]){"--config-file=/nonexistent/file", NULL},
		       "cannot read");
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(test_defaults_are_etcds),
		WITH_FIXTURE(test_a_progress_interval_is_adjusted_as_etcd_does),
		WITH_FIXTURE(test_flags_follow_gos_rules),
		WITH_FIXTURE(test_flags_of_raft_and_peers_are_accepted_and_named),
		WITH_FIXTURE(test_variables_count_unless_a_flag_says_otherwise),
		WITH_FIXTURE(test_bad_flags_are_named_with_their_mend),
		WITH_FIXTURE(test_durations_are_gos),
		WITH_FIXTURE(test_a_file_alone_counts_when_given),
		WITH_FIXTURE(test_a_wrong_file_is_named_with_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
