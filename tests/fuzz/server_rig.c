/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/server_rig.h"

#include "shim/base/limits.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STREAM_TURNS 5
#define PAUSE_NS 100000

static void on_commit(void *context, const struct store_commit *commit)
{
	hub_on_commit(((struct server_rig *)context)->hub, commit);
}

static void on_compact(void *context, int64_t revision)
{
	hub_on_compact(((struct server_rig *)context)->hub, revision);
}

static void on_answered(void *context)
{
	rpc_server_answered(&((struct server_rig *)context)->rpc);
}

static void on_fault(void *context, enum err e)
{
	(void)context;
	fuzz_must_say(false, err_text(e));
}

static void tick(struct loop_timer *timer)
{
	(void)timer;
}

static void wants_send(void *context)
{
	(void)context; /* turn() exchanges anyway */
}

static void http(void *context, const struct http_request *request, struct http_reply *ret_reply)
{
	(void)context, (void)request;
	ret_reply->status = 404;
}

static void connect_peer(struct server_rig *rig)
{
	const struct h2_peer_options options = {0};
	const struct h2_config config = {
		.server = &rig->server,
		.loop = rig->loop,
		.peer_address = "192.0.2.1:999",
		.on_wants_send = wants_send,
		.context = rig,
		.stats = &rig->stats,
		.clock = &clock_system,
	};

	fuzz_must(!h2_session_new(&config, &rig->session));
	h2_peer_init(&rig->peer, rig->session, &options);
	h2_peer_exchange(&rig->peer);
}

struct server_rig *server_rig_open(void)
{
	static const char *const urls[] = {"http://127.0.0.1:2379", NULL};
	struct server_rig *rig = calloc(1, sizeof(*rig));
	struct rpc_config config;

	fuzz_must(rig && !setenv("TMPDIR", "/dev/shm", 0));
	rig->store.config.listener = (struct store_listener){
		.on_commit = on_commit,
		.on_compact = on_compact,
		.on_answered = on_answered,
		.on_fault = on_fault,
		.context = rig,
	};
	rig_open(&rig->store);
	fuzz_must(!hub_new(rig->store.store, &rig->hub) && !loop_new(&rig->loop));
	rig->ticker.fn = tick;
	loop_timer_start(rig->loop, &rig->ticker, 1, 1);
	config = (struct rpc_config){
		.store = rig->store.store,
		.hub = rig->hub,
		.name = "one",
		.client_urls = urls,
		.snapshot_dir = rig->store.dir,
		.request_bytes_max = REQUEST_BYTES_DEFAULT,
		.txn_ops_max = TXN_OPS_DEFAULT,
	};
	fuzz_must(!rpc_server_init(&rig->rpc, &config));
	rig->server = (struct server_config){
		.methods = rpc_methods,
		.method_count = rpc_method_count,
		.handler_context = &rig->rpc,
		.on_http = http,
		.concurrent_streams_max = UINT32_MAX,
		.message_bytes_max = REQUEST_BYTES_DEFAULT + REQUEST_OVERHEAD_BYTES,
	};
	rig->model = model_new(LEASE_TTL_SECONDS_MIN, LEASE_TTL_SECONDS_MAX);
	connect_peer(rig);
	return rig;
}

void server_rig_close(struct server_rig *rig)
{
	h2_session_free(rig->session);
	h2_peer_fini(&rig->peer);
	store_stop(rig->store.store);
	loop_timer_stop(&rig->ticker);
	loop_free(rig->loop);
	rpc_server_fini(&rig->rpc);
	hub_free(rig->hub);
	model_free(rig->model);
	rig_close(&rig->store);
	free(rig);
}

static void turn(struct server_rig *rig)
{
	uv_run(loop_uv(rig->loop), UV_RUN_NOWAIT);
	h2_peer_exchange(&rig->peer);
}

const struct method *server_rig_method(const char *name)
{
	for (size_t i = 0; i < rpc_method_count; i++)
		if (!strcmp(rpc_methods[i].name, name))
			return &rpc_methods[i];
	fuzz_must_say(false, name);
	return NULL;
}

struct peer_stream *server_rig_call(struct server_rig *rig, const struct method *method,
				    struct bytes message)
{
	unsigned turns = method->kind == METHOD_UNARY
				 ? SERVER_RIG_WAIT_MS * (unsigned)(NS_PER_MS / PAUSE_NS)
				 : STREAM_TURNS;
	struct peer_stream *stream;
	char path[128];
	int32_t id;

	snprintf(path, sizeof(path), "/%s/%s", method->service, method->name);
	id = h2_peer_call(&rig->peer, path, NULL);
	h2_peer_message(&rig->peer, id, message, true);
	stream = h2_peer_stream(&rig->peer, id);
	for (; turns; turns--) {
		turn(rig);
		if (stream->is_ended)
			break;
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
	}
	fuzz_must_say(stream->is_ended || method->kind != METHOD_UNARY, path);
	fuzz_must(!stream->is_ended || (stream->http_status == 200 && stream->grpc_status >= 0 &&
					stream->grpc_status <= STATUS_UNAUTHENTICATED));
	return stream;
}

void server_rig_watch(struct server_rig *rig, struct bytes message)
{
	struct bytes answer;

	if (!rig->watch_id)
		rig->watch_id = h2_peer_call(&rig->peer, "/etcdserverpb.Watch/Watch", NULL);
	h2_peer_message(&rig->peer, rig->watch_id, message, false);
	for (unsigned i = 0; i < STREAM_TURNS; i++)
		turn(rig);
	while (h2_peer_next(&rig->peer, rig->watch_id, &rig->watch_offset, &answer)) {
		Etcdserverpb__WatchResponse *response =
			etcdserverpb__watch_response__unpack(NULL, answer.size, answer.data);

		fuzz_must(response && response->header);
		fuzz_must(response->header->revision <= store_head(rig->store.store));
		etcdserverpb__watch_response__free_unpacked(response, NULL);
	}
	/* A message that is none ends the call; the next one opens another. */
	if (h2_peer_stream(&rig->peer, rig->watch_id)->is_ended) {
		rig->watch_id = 0;
		rig->watch_offset = 0;
	}
}
