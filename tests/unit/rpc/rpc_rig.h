/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_rig.h - the services over a real store and a real HTTP/2 session, without sockets.
 *
 * Threads: the test's thread is the loop's; the store has its writer. */
#ifndef TESTS_UNIT_RPC_RPC_RIG_H
#define TESTS_UNIT_RPC_RPC_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/proto/rpc.pb-c.h"
#include "shim/base/limits.h"
#include "shim/rpc/rpc.h"
#include "tests/harness/h2_peer.h"
#include "tests/harness/store_rig.h"

#include <stdlib.h>
#include <time.h>

#define RPC_WAIT_MS 20000 /* then a test fails instead of hanging */

struct rpc_rig {
	struct rig store;
	struct hub *hub;
	struct loop *loop;
	struct loop_timer ticker; /* keeps the loop turning while it has no sockets */
	struct rpc_server rpc;
	struct server_config server;
	struct server_stats stats;
	struct h2_session *session;
	struct h2_peer peer;
	uint8_t *room;
};

#define RPC_ROOM_BYTES (4 * MIB)

static inline void rpc_rig_on_commit(void *context, const struct store_commit *commit)
{
	struct rpc_rig *rig = context;

	hub_on_commit(rig->hub, commit);
}

static inline void rpc_rig_on_compact(void *context, int64_t revision)
{
	struct rpc_rig *rig = context;

	hub_on_compact(rig->hub, revision);
}

static inline void rpc_rig_on_answered(void *context)
{
	struct rpc_rig *rig = context;

	rpc_server_answered(&rig->rpc);
}

static inline void rpc_rig_on_fault(void *context, enum err e)
{
	(void)context;
	(void)e;
}

static inline void rpc_rig_tick(struct loop_timer *timer)
{
	(void)timer;
}

static inline void rpc_rig_wants_send(void *context)
{
	(void)context; /* rpc_rig_turn() exchanges anyway */
}

static inline void rpc_rig_connect(struct rpc_rig *rig, const struct h2_peer_options *options)
{
	const struct h2_peer_options defaults = {0};
	const struct h2_config config = {
		.server = &rig->server,
		.loop = rig->loop,
		.peer_address = "192.0.2.1:999",
		.on_wants_send = rpc_rig_wants_send,
		.context = rig,
		.stats = &rig->stats,
		.clock = &clock_system,
	};

	assert_int_equal(h2_session_new(&config, &rig->session), ERR_OK);
	h2_peer_init(&rig->peer, rig->session, options ? options : &defaults);
	h2_peer_exchange(&rig->peer);
}

static inline struct rpc_rig *rpc_rig_new(const struct h2_peer_options *options)
{
	static const char *const urls[] = {"http://127.0.0.1:2379", NULL};
	struct rpc_rig *rig = calloc(1, sizeof(*rig));
	struct rpc_config config;

	assert_non_null(rig);
	rig->store.config.listener = (struct store_listener){
		.on_commit = rpc_rig_on_commit,
		.on_compact = rpc_rig_on_compact,
		.on_answered = rpc_rig_on_answered,
		.on_fault = rpc_rig_on_fault,
		.context = rig,
	};
	rig_open(&rig->store);
	assert_int_equal(hub_new(rig->store.store, &rig->hub), ERR_OK);
	assert_int_equal(loop_new(&rig->loop), ERR_OK);
	rig->ticker.fn = rpc_rig_tick;
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
	assert_int_equal(rpc_server_init(&rig->rpc, &config), ERR_OK);
	rig->server = (struct server_config){
		.methods = rpc_methods,
		.method_count = rpc_method_count,
		.handler_context = &rig->rpc,
		.concurrent_streams_max = UINT32_MAX,
		.message_bytes_max = REQUEST_BYTES_DEFAULT + REQUEST_OVERHEAD_BYTES,
	};
	rig->room = malloc(RPC_ROOM_BYTES);
	assert_non_null(rig->room);
	rpc_rig_connect(rig, options);
	return rig;
}

/* One round of loop and connection. */
static inline void rpc_rig_turn(struct rpc_rig *rig)
{
	uv_run(loop_uv(rig->loop), UV_RUN_NOWAIT);
	h2_peer_exchange(&rig->peer);
}

static inline void rpc_rig_disconnect(struct rpc_rig *rig)
{
	h2_session_free(rig->session);
	h2_peer_fini(&rig->peer);
	rig->session = NULL;
}

static inline void rpc_rig_free(struct rpc_rig *rig)
{
	if (rig->session)
		rpc_rig_disconnect(rig);
	/* What is held until the writer or a job gives it back. */
	store_stop(rig->store.store);
	loop_timer_stop(&rig->ticker);
	loop_free(rig->loop);
	rpc_server_fini(&rig->rpc);
	hub_free(rig->hub);
	rig_close(&rig->store);
	free(rig->room);
	free(rig);
}

static inline struct bytes rpc_rig_pack(struct rpc_rig *rig, const ProtobufCMessage *message)
{
	assert_true(protobuf_c_message_get_packed_size(message) <= RPC_ROOM_BYTES);
	return bytes_of(rig->room, protobuf_c_message_pack(message, rig->room));
}

static inline void rpc_rig_pause(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

/* Goes on until the stream has ended. */
static inline struct peer_stream *rpc_rig_finish(struct rpc_rig *rig, int32_t id)
{
	for (unsigned left = RPC_WAIT_MS * 5; left; left--) {
		rpc_rig_turn(rig);
		if (h2_peer_stream(&rig->peer, id)->is_ended)
			return h2_peer_stream(&rig->peer, id);
		rpc_rig_pause();
	}
	fail_msg("no answer");
	return NULL;
}

static inline int32_t rpc_rig_start(struct rpc_rig *rig, const char *path,
				    const ProtobufCMessage *message)
{
	int32_t id = h2_peer_call(&rig->peer, path, NULL);

	h2_peer_message(&rig->peer, id, rpc_rig_pack(rig, message), true);
	return id;
}

static inline struct peer_stream *rpc_rig_call(struct rpc_rig *rig, const char *path,
					       const ProtobufCMessage *message)
{
	return rpc_rig_finish(rig, rpc_rig_start(rig, path, message));
}

static inline void assert_answer(const struct peer_stream *stream, enum err e)
{
	assert_int_equal(stream->http_status, 200);
	assert_string_equal(stream->grpc_message, err_text(e));
	assert_int_equal(stream->grpc_status, (int)err_status(e));
}

static inline struct bytes rpc_rig_message(struct rpc_rig *rig, int32_t id, size_t *offset)
{
	struct bytes message;

	assert_true(h2_peer_next(&rig->peer, id, offset, &message));
	return message;
}

/* A call whose one answer is unpacked into `var`, to be freed with protobuf-c. */
#define RPC_ANSWER(rig, path, request, unpack, var)                                                \
	do {                                                                                       \
		struct peer_stream *stream_ = rpc_rig_call((rig), (path), &(request)->base);       \
		size_t offset_ = 0;                                                                \
		struct bytes message_;                                                             \
                                                                                                   \
		assert_answer(stream_, ERR_OK);                                                    \
		message_ = rpc_rig_message((rig), stream_->id, &offset_);                          \
		(var) = unpack(NULL, message_.size, message_.data);                                \
		assert_non_null(var);                                                              \
	} while (0)

static inline ProtobufCBinaryData binary(const char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static inline void assert_binary(ProtobufCBinaryData got, const char *text)
{
	assert_int_equal(got.len, strlen(text));
	if (got.len)
		assert_memory_equal(got.data, text, got.len);
}

#define KV_PATH(name) "/etcdserverpb.KV/" name
#define LEASE_PATH(name) "/etcdserverpb.Lease/" name
#define CLUSTER_PATH(name) "/etcdserverpb.Cluster/" name
#define MAINTENANCE_PATH(name) "/etcdserverpb.Maintenance/" name

#endif
