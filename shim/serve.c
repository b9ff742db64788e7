/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/serve.h"

#include "shim/base/limits.h"
#include "shim/base/list.h"
#include "shim/base/log.h"
#include "shim/base/version.h"
#include "shim/call_metrics.h"
#include "shim/compactor.h"
#include "shim/config.h"
#include "shim/metrics_page.h"
#include "shim/rpc/http.h"
#include "shim/rpc/rpc.h"
#include "shim/url_list.h"
#include "shim/version.h"
#include "shim/watch/hub.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STOP_GRACE_MS 5000
#define PROBLEM_BYTES 512

struct program {
	struct config config;
	struct url_list client_urls;
	struct url_list http_urls;
	struct url_list advertise_urls;
	struct store *store;
	struct hub *hub;
	struct loop *loop;
	struct rpc_server rpc;
	struct net_memory memory;
	struct server *server;
	struct call_metrics calls;
	struct compactor *compactor;
	struct loop_task stop_compactor;
	struct health_counts health;
	bool rpc_ready;
	bool store_started;
	bool loop_started;
	enum err open_error; /* of the store */
	atomic_int fault;    /* enum err of the fault that stopped the store */
	char problem[PROBLEM_BYTES];
};

/* --- what the layers below call back --- */

static void on_commit(void *context, const struct store_commit *commit)
{
	struct program *program = context;

	hub_on_commit(program->hub, commit);
}

static void on_compact(void *context, int64_t revision)
{
	struct program *program = context;

	hub_on_compact(program->hub, revision);
}

static void on_answered(void *context)
{
	struct program *program = context;

	rpc_server_answered(&program->rpc);
}

static void on_fault(void *context, enum err e)
{
	struct program *program = context;

	atomic_store(&program->fault, (int)e);
	kill(getpid(), SIGTERM);
}

/* net hands its hooks the context of the handlers, which is the rpc_server. */
static struct program *program_of(void *handler_context)
{
	return container_of(handler_context, struct program, rpc);
}

static void on_call_started(void *context, const struct method *method)
{
	call_metrics_started(&program_of(context)->calls, method);
}

static void on_call_ended(void *context, const struct method *method, enum status status,
			  int64_t took_ns)
{
	call_metrics_ended(&program_of(context)->calls, method, status, took_ns);
}

static void on_message(void *context, const struct method *method, bool sent)
{
	call_metrics_message(&program_of(context)->calls, method, sent);
}

static bool write_metrics(void *context, struct buffer *out)
{
	struct program *program = context;
	const struct metrics_sources sources = {
		.store = program->store,
		.hub = program->hub,
		.server = program->server,
		.calls = &program->calls,
		.health = &program->health,
		.extensive = !strcmp(program->config.metrics, "extensive"),
	};

	return metrics_page_write(&sources, out);
}

/* --- what HTTP's paths ask --- */

static bool has_alarm(void *context, enum alarm alarm)
{
	const struct program *program = context;

	return store_alarms(program->store) & 1u << alarm;
}

/* etcd's own probe: a read of one key that need not exist. */
static enum err read_one(void *context, bool is_serializable)
{
	struct program *program = context;
	const struct range_op op = {.key = BYTES_LITERAL("a"), .limit = 1};
	struct range_result result;
	struct arena arena;
	enum err e;

	(void)is_serializable; /* one node: the same read */
	arena_init(&arena, REQUEST_BYTES_DEFAULT + REQUEST_OVERHEAD_BYTES);
	e = store_range(program->rpc.reader, &op, &arena, &result);
	arena_fini(&arena);
	return e;
}

static void on_health(void *context, bool is_healthy)
{
	struct program *program = context;

	if (is_healthy)
		program->health.success++;
	else
		program->health.failures++;
}

static void on_http(void *context, const struct http_request *request, struct http_reply *ret_reply)
{
	const struct http_endpoints endpoints = {
		.has_alarm = has_alarm,
		.read = read_one,
		.write_metrics = write_metrics,
		.on_health = on_health,
		.context = program_of(context),
	};

	http_endpoints_serve(&endpoints, request, ret_reply);
}

/* --- up --- */

static bool say(struct program *program, const char *text)
{
	if (!program->problem[0])
		snprintf(program->problem, sizeof program->problem, "%s", text);
	return false;
}

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

static bool parse_urls(struct program *program)
{
	const struct config *config = &program->config;
	char http[4096];

	snprintf(http, sizeof http, "%s,%s", config->listen_metrics_urls,
		 config->listen_client_http_urls);
	if (url_list_init(&program->client_urls, config->listen_client_urls) &&
	    url_list_init(&program->http_urls, http) &&
	    url_list_init(&program->advertise_urls, config->advertise_client_urls))
		return true;
	return say(program, "too many listen URLs: 64 of a kind at most");
}

static bool open_store(struct program *program)
{
	const struct store_config config = {
		.data_dir = program->config.data_dir,
		.quota_bytes = program->config.quota_backend_bytes,
		.no_fsync = program->config.unsafe_no_fsync,
		.clock = &clock_system,
		.listener = {.on_commit = on_commit,
			     .on_compact = on_compact,
			     .on_answered = on_answered,
			     .on_fault = on_fault,
			     .context = program},
	};
	enum err e = store_open(&config, &program->store, program->problem);

	if (!e)
		e = hub_new(program->store, &program->hub);
	program->open_error = e;
	return e ? say(program, err_text(e)) : true;
}

static bool open_rpc(struct program *program)
{
	const struct config *config = &program->config;
	const struct rpc_config rpc = {
		.store = program->store,
		.hub = program->hub,
		.name = config->name,
		.client_urls = program->advertise_urls.urls,
		.snapshot_dir = config->data_dir,
		.request_bytes_max = config->max_request_bytes,
		.txn_ops_max = config->max_txn_ops,
		.progress_interval_ms = config->watch_progress_interval_ns / NS_PER_MS,
	};
	enum err e = rpc_server_init(&program->rpc, &rpc);

	if (e)
		return say(program, err_text(e));
	program->rpc_ready = true;
	e = call_metrics_init(&program->calls, rpc_methods, rpc_method_count);
	if (!e)
		e = store_start(program->store); /* its writer answers through rpc */
	program->open_error = e;
	if (e)
		return say(program, err_text(e));
	program->store_started = true;
	return true;
}

static struct tls_config tls_of(const struct config *config, const char *auto_tls_dir)
{
	return (struct tls_config){
		.cert_file = or_null(config->cert_file),
		.key_file = or_null(config->key_file),
		.trusted_ca_file = or_null(config->trusted_ca_file),
		.crl_file = or_null(config->client_crl_file),
		.client_cert_auth = config->client_cert_auth,
		.auto_tls = config->auto_tls,
		.auto_tls_dir = auto_tls_dir,
		.self_signed_years = (int)config->self_signed_years,
		.allowed_hostnames = or_null(config->client_cert_allowed_hostname),
		.min_version = or_null(config->tls_min_version),
		.max_version = or_null(config->tls_max_version),
		.cipher_suites = or_null(config->cipher_suites),
	};
}

static bool open_port(struct program *program)
{
	const struct config *config = &program->config;
	const struct server_config server = {
		.client_urls = program->client_urls.urls,
		.http_urls = program->http_urls.urls,
		.tls = tls_of(config, config->data_dir),
		.methods = rpc_methods,
		.method_count = rpc_method_count,
		.handler_context = &program->rpc,
		.on_http = on_http,
		.concurrent_streams_max = config->max_concurrent_streams,
		.message_bytes_max = (size_t)config->max_request_bytes + REQUEST_OVERHEAD_BYTES,
		.memory = &program->memory,
		.keepalive_min_time_ms = config->keepalive_min_time_ns / NS_PER_MS,
		.keepalive_interval_ms = config->keepalive_interval_ns / NS_PER_MS,
		.keepalive_timeout_ms = config->keepalive_timeout_ns / NS_PER_MS,
		.on_call_started = on_call_started,
		.on_call_ended = on_call_ended,
		.on_message = on_message,
	};
	enum err e = loop_new(&program->loop);

	net_memory_init(&program->memory, config->request_memory_bytes
						  ? (size_t)config->request_memory_bytes
						  : net_memory_default());

	if (!e)
		e = server_new(program->loop, &server, &program->server, program->problem);
	if (!e)
		e = server_listen(program->server, program->problem);
	return e ? say(program, err_text(e)) : true;
}

static bool start_all(struct program *program)
{
	const struct config *config = &program->config;
	enum err e;

	if (!parse_urls(program) || !open_store(program) || !open_rpc(program) ||
	    !open_port(program))
		return false;
	e = compactor_new(program->store, config->auto_compaction_mode,
			  config->auto_compaction_retention, &program->compactor, program->problem,
			  sizeof program->problem);
	if (e)
		return say(program, err_text(e));
	compactor_start(program->compactor, program->loop);
	e = loop_start(program->loop);
	if (e)
		return say(program, err_text(e));
	program->loop_started = true;
	return true;
}

/* --- down --- */

static void stop_compactor(struct loop_task *task)
{
	compactor_stop(container_of(task, struct program, stop_compactor)->compactor);
}

/* Calls get their grace first; then the writer finishes what is queued, so that every call that
 * waits for it is answered before the loop ends. */
static void stop_all(struct program *program)
{
	if (program->loop_started) {
		program->stop_compactor.fn = stop_compactor;
		loop_post(program->loop, &program->stop_compactor);
		server_stop(program->server, STOP_GRACE_MS);
		loop_join(program->loop);
	}
	if (program->store_started)
		store_stop(program->store);
	if (!program->loop_started)
		compactor_stop(program->compactor);
	server_free(program->server);
	loop_free(program->loop);
	if (program->rpc_ready)
		rpc_server_fini(&program->rpc);
	call_metrics_fini(&program->calls);
	compactor_free(program->compactor);
	hub_free(program->hub);
	store_close(program->store);
	url_list_fini(&program->client_urls);
	url_list_fini(&program->http_urls);
	url_list_fini(&program->advertise_urls);
}

/* --- run --- */

static void log_ready(const struct program *program)
{
	struct store_stats stats;

	store_stats(program->store, &stats);
	if (program->config.ignored[0])
		log_info("flags of etcd's raft and peers are accepted and have no effect",
			 LOG_STRING("flags", program->config.ignored));
	if (program->config.unsafe_no_fsync)
		log_warn("--unsafe-no-fsync is set: a power cut loses acknowledged writes");
	if (program->config.watch_progress_raised)
		log_warn("--watch-progress-notify-interval is below 100ms: 100ms is used");
	log_info("serving", LOG_STRING("version", KEDGE_VERSION),
		 LOG_STRING("git-sha", version_build()),
		 LOG_STRING("etcd-version", ETCD_API_VERSION),
		 LOG_STRING("listen-client-urls", program->config.listen_client_urls),
		 LOG_STRING("data-dir", program->config.data_dir),
		 LOG_INT("revision", store_head(program->store)), LOG_INT("keys", stats.key_count));
	log_info("ready to serve client requests");
}

/* Launchers that ask for few words still wait for one of these lines, see docs/compatibility.md. */
static void log_ready_quietly(const struct program *program)
{
	enum log_level level;

	if (log_level_parse(program->config.log_level, &level) && level > LOG_INFO)
		log_warn("simple token is not cryptographically signed");
}

static int stopped_by_fault(enum err e)
{
	if (e == ERR_DAMAGED) {
		log_error("stopped by damage in the data: see `kedge check`, then `kedge repair` or"
			  " restore a snapshot into a fresh --data-dir",
			  LOG_STRING("error", err_text(e)));
		return EXIT_DAMAGED;
	}
	log_error("stopped by a fault of the store; restart serves what is on the disk",
		  LOG_STRING("error", err_text(e)));
	return EXIT_FAULT;
}

static int run(struct program *program, const sigset_t *signals)
{
	int number;

	if (!start_all(program)) {
		log_error("failed to start etcd", LOG_STRING("error", program->problem));
		stop_all(program);
		return program->open_error == ERR_DAMAGED ? EXIT_DAMAGED : EXIT_FAILED;
	}
	log_ready(program);
	log_ready_quietly(program);
	do {
		sigwait(signals, &number);
		if (number == SIGHUP)
			log_info("certificates are re-read when they change; nothing to reload");
	} while (number == SIGHUP);
	log_info("received signal; shutting down", LOG_STRING("signal", strsignal(number)));
	stop_all(program);
	if (atomic_load(&program->fault)) {
		return stopped_by_fault((enum err)atomic_load(&program->fault));
	}
	return EXIT_OK;
}

/* Large blocks go back to the system when they are freed, so that one rush of big requests does not
 * decide how much memory the process keeps.  (glibc would learn to keep blocks of up to 32 MiB.) */
static void tune_malloc(void)
{
	mallopt(M_MMAP_THRESHOLD, MALLOC_LARGE_BYTES);
	mallopt(M_TRIM_THRESHOLD, MALLOC_KEPT_BYTES);
}

/* Every thread inherits the mask, so that signals reach sigwait alone. */
static void block_signals(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, signals, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static bool configure_log(struct program *program)
{
	const struct config *config = &program->config;
	enum log_level level;

	if (!log_level_parse(config->log_level, &level)) {
		snprintf(program->problem, sizeof program->problem,
			 "--log-level=%.40s: say debug, info, warn, error, panic or fatal",
			 config->log_level);
		return false;
	}
	log_configure(level, !strcmp(config->log_format, "console"));
	return true;
}

int serve_main(int arg_count, char **args)
{
	struct program *program = calloc(1, sizeof *program);
	sigset_t signals;
	int status;

	if (!program || !config_init(&program->config)) {
		fprintf(stderr, "kedge: out of memory\n");
		free(program);
		return EXIT_FAILED;
	}
	if (!config_load(&program->config, arg_count, args, environ, program->problem) ||
	    !configure_log(program)) {
		fprintf(stderr, "kedge: %s\n", program->problem);
		status = EXIT_USAGE;
	} else if (program->config.show_help) {
		config_print_help("kedge");
		status = EXIT_OK;
	} else if (program->config.show_version) {
		version_print(true);
		status = EXIT_OK;
	} else {
		tune_malloc();
		block_signals(&signals);
		status = run(program, &signals);
	}
	config_fini(&program->config);
	free(program);
	return status;
}
