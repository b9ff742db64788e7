/* SPDX-License-Identifier: Apache-2.0 */
/* server_rig.h - the services over a real store in memory, an HTTP/2 session and a client, with the
 * naive model beside them.
 *
 * Ownership: server_rig_open() .. server_rig_close().
 * Threads: the caller's is the loop's; the store has its writer.
 * Errors: an answer that does not come within SERVER_RIG_WAIT_MS fails. */
#ifndef TESTS_FUZZ_SERVER_RIG_H
#define TESTS_FUZZ_SERVER_RIG_H

#include "api/proto/rpc.pb-c.h"
#include "shim/rpc/rpc.h"
#include "tests/harness/h2_peer.h"
#include "tests/harness/model.h"
#include "tests/harness/store_rig.h"

#define SERVER_RIG_WAIT_MS 20000

struct server_rig {
	struct rig store;
	struct model *model;
	struct hub *hub;
	struct loop *loop;
	struct loop_timer ticker; /* keeps the loop turning while it has no sockets */
	struct rpc_server rpc;
	struct server_config server;
	struct server_stats stats;
	struct h2_session *session;
	struct h2_peer peer;
	int32_t watch_id;    /* the stream of the one Watch call, 0: none */
	size_t watch_offset; /* looked at so far */
	bool is_alarmed;
};

struct server_rig *server_rig_open(void);
void server_rig_close(struct server_rig *rig);

const struct method *server_rig_method(const char *name);
/* Waits for the end of a unary call; a stream gets a few turns, and its messages are looked at. */
struct peer_stream *server_rig_call(struct server_rig *rig, const struct method *method,
				    struct bytes message);
/* One more message on the Watch call; what comes back must be WatchResponses. */
void server_rig_watch(struct server_rig *rig, struct bytes message);

#endif
