/* SPDX-License-Identifier: Apache-2.0 */
/* rpc.h - the face of rpc: etcd's services, as a method table, over the store and the hub.
 *
 * Ownership: everything in the config must outlive the server; rpc_server_fini() after the loop has
 * ended, so that no call is left.
 * Threads: one rpc_server per loop (it holds that loop's reader); init and fini from anywhere while
 * the loop does not run, all else on the loop.
 * Errors: codes and texts are etcd's (shim/base/err.h).  Auth, Lock and Election answer
 * Unimplemented.  Snapshots and hashes run on pool threads with readers of their own.
 * Limits: see limits.h; RPC_JOBS_MAX hashes, snapshots at one time. */
#ifndef SHIM_RPC_RPC_H
#define SHIM_RPC_RPC_H

#include "shim/base/meter.h"
#include "shim/net/call.h"
#include "shim/store/store.h"
#include "shim/watch/hub.h"

/* What reads the whole database: a few at a time, so that nobody fills the pool or the disk. */
#define RPC_JOBS_MAX 4

struct rpc_config {
	struct store *store;
	struct hub *hub;
	const char *name;		/* --name: of the one member */
	const char *const *client_urls; /* advertised; NULL-terminated */
	const char *const *peer_urls;	/* as above; NULL: etcd's default.  Only ever told */
	const char *snapshot_dir;	/* where a snapshot is written before it is sent */
	size_t request_bytes_max;	/* --max-request-bytes, without the overhead */
	size_t txn_ops_max;		/* --max-txn-ops */
	int64_t progress_interval_ms;	/* --watch-progress-notify-interval */
};

/* Alarms that a client raised in the name of a member that does not exist, which etcd allows. */
#define RPC_FOREIGN_ALARMS_MAX 16

struct rpc_alarms {
	struct {
		enum alarm alarm;
		uint64_t member_id;
	} foreign[RPC_FOREIGN_ALARMS_MAX];
	size_t foreign_count;
	bool is_own[ALARM_CORRUPT + 1];
};

struct rpc_server {
	struct rpc_config config;
	struct store_identity identity;
	struct store_reader *reader;
	unsigned jobs;	      /* running */
	struct meter results; /* of writes, until they are answered */
	struct rpc_alarms alarms;

	/* Writes of this turn of the loop: they go to the writer together, so that one commit
	 * serves them and one wake-up starts it. */
	struct inbox_chain submitted;
	struct loop_task submit;
	bool is_submit_due;
	/* The writer's: calls whose ops are done, until rpc_server_answered(). */
	struct inbox_chain done;
	struct loop *done_loop;
};

enum err rpc_server_init(struct rpc_server *server, const struct rpc_config *config);
void rpc_server_fini(struct rpc_server *server);
/* The store's on_answered: wakes the loop once for all calls whose ops are done.  Writer's thread;
 * the server must be there before the writer starts. */
void rpc_server_answered(struct rpc_server *server);

/* For server_config, with the rpc_server as handler_context. */
extern const struct method rpc_methods[];
extern const size_t rpc_method_count;

#endif
