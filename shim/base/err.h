/* SPDX-License-Identifier: Apache-2.0 */
/* err.h - every outcome of the server, in one table.
 *
 * Errors: an ANSWER is part of etcd's API: it is returned, travels to the client with the code and
 * the text below, byte for byte, and is never logged.  A FAULT is disk, memory or corruption:
 * fault() logs it once, where it is born, and everyone else returns it unchanged.  A bug is an
 * assertion.  Source of codes and texts: etcd api/v3rpc/rpctypes/error.go and
 * server/etcdserver/api/v3rpc/util.go; clients compare the texts, so they must stay exact. */
#ifndef SHIM_BASE_ERR_H
#define SHIM_BASE_ERR_H

#ifdef NDEBUG
#error "kedge keeps its assertions: do not define NDEBUG"
#endif

#include <stdbool.h>

/* gRPC status codes, as on the wire. */
enum status {
	STATUS_OK = 0,
	STATUS_CANCELLED = 1,
	STATUS_UNKNOWN = 2,
	STATUS_INVALID_ARGUMENT = 3,
	STATUS_DEADLINE_EXCEEDED = 4,
	STATUS_NOT_FOUND = 5,
	STATUS_ALREADY_EXISTS = 6,
	STATUS_PERMISSION_DENIED = 7,
	STATUS_RESOURCE_EXHAUSTED = 8,
	STATUS_FAILED_PRECONDITION = 9,
	STATUS_ABORTED = 10,
	STATUS_OUT_OF_RANGE = 11,
	STATUS_UNIMPLEMENTED = 12,
	STATUS_INTERNAL = 13,
	STATUS_UNAVAILABLE = 14,
	STATUS_DATA_LOSS = 15,
	STATUS_UNAUTHENTICATED = 16,
};

#define ERR_TABLE(X)                                                                               \
	X(OK, ANSWER, STATUS_OK, "")                                                               \
	X(EMPTY_KEY, ANSWER, STATUS_INVALID_ARGUMENT, "etcdserver: key is not provided")           \
	X(KEY_NOT_FOUND, ANSWER, STATUS_INVALID_ARGUMENT, "etcdserver: key not found")             \
	X(VALUE_PROVIDED, ANSWER, STATUS_INVALID_ARGUMENT, "etcdserver: value is provided")        \
	X(LEASE_PROVIDED, ANSWER, STATUS_INVALID_ARGUMENT, "etcdserver: lease is provided")        \
	X(TOO_MANY_OPS, ANSWER, STATUS_INVALID_ARGUMENT,                                           \
	  "etcdserver: too many operations in txn request")                                        \
	X(DUPLICATE_KEY, ANSWER, STATUS_INVALID_ARGUMENT,                                          \
	  "etcdserver: duplicate key given in txn request")                                        \
	X(INVALID_SORT, ANSWER, STATUS_INVALID_ARGUMENT, "etcdserver: invalid sort option")        \
	X(REQUEST_TOO_LARGE, ANSWER, STATUS_INVALID_ARGUMENT, "etcdserver: request is too large")  \
	X(BAD_MEMBER_URLS, ANSWER, STATUS_INVALID_ARGUMENT,                                        \
	  "etcdserver: given member URLs are invalid")                                             \
	X(COMPACTED, ANSWER, STATUS_OUT_OF_RANGE,                                                  \
	  "etcdserver: mvcc: required revision has been compacted")                                \
	X(FUTURE_REVISION, ANSWER, STATUS_OUT_OF_RANGE,                                            \
	  "etcdserver: mvcc: required revision is a future revision")                              \
	X(LEASE_TTL_TOO_LARGE, ANSWER, STATUS_OUT_OF_RANGE, "etcdserver: too large lease TTL")     \
	X(NO_SPACE, ANSWER, STATUS_RESOURCE_EXHAUSTED,                                             \
	  "etcdserver: mvcc: database space exceeded")                                             \
	X(TOO_MANY_REQUESTS, ANSWER, STATUS_UNKNOWN, "etcdserver: too many requests")              \
	X(LEASE_NOT_FOUND, ANSWER, STATUS_NOT_FOUND, "etcdserver: requested lease not found")      \
	X(MEMBER_NOT_FOUND, ANSWER, STATUS_NOT_FOUND, "etcdserver: member not found")              \
	X(LEASE_EXISTS, ANSWER, STATUS_FAILED_PRECONDITION, "etcdserver: lease already exists")    \
	X(PEER_URL_EXISTS, ANSWER, STATUS_FAILED_PRECONDITION,                                     \
	  "etcdserver: Peer URLs already exists")                                                  \
	X(NOT_ENOUGH_MEMBERS, ANSWER, STATUS_UNKNOWN,                                              \
	  "etcdserver: re-configuration failed due to not enough started members")                 \
	X(NOT_LEARNER, ANSWER, STATUS_FAILED_PRECONDITION,                                         \
	  "etcdserver: can only promote a learner member")                                         \
	X(BAD_LEADER_TRANSFEREE, ANSWER, STATUS_FAILED_PRECONDITION,                               \
	  "etcdserver: bad leader transferee")                                                     \
	X(DOWNGRADE_FORMAT, ANSWER, STATUS_INVALID_ARGUMENT,                                       \
	  "etcdserver: wrong downgrade target version format")                                     \
	X(DOWNGRADE_TARGET, ANSWER, STATUS_INVALID_ARGUMENT,                                       \
	  "etcdserver: invalid downgrade target version")                                          \
	X(UNKNOWN_METHOD, ANSWER, STATUS_UNKNOWN, "etcdserver: unknown method")                    \
	X(STOPPED, ANSWER, STATUS_UNAVAILABLE, "etcdserver: server stopped")                       \
	X(TIMEOUT, ANSWER, STATUS_UNAVAILABLE, "etcdserver: request timed out")                    \
	X(CORRUPT, ANSWER, STATUS_DATA_LOSS, "etcdserver: corrupt cluster")                        \
	X(STREAM_SORT, ANSWER, STATUS_UNIMPLEMENTED,                                               \
	  "RangeStream does not support custom sort orders")                                       \
	X(STREAM_FILTER, ANSWER, STATUS_UNIMPLEMENTED,                                             \
	  "RangeStream does not support revision filters")                                         \
	X(WATCH_EMPTY_RANGE, ANSWER, STATUS_UNKNOWN, "mvcc: watcher range is empty")               \
	X(WATCH_DUPLICATE_ID, ANSWER, STATUS_UNKNOWN,                                              \
	  "mvcc: duplicate watch ID provided on the WatchStream")                                  \
	X(MALFORMED, ANSWER, STATUS_INTERNAL, "grpc: error unmarshalling request")                 \
	X(BUSY, ANSWER, STATUS_UNKNOWN, "etcdserver: too many requests")                           \
	X(AGAIN, ANSWER, STATUS_OK, "more to come")                                                \
	X(NOMEM, FAULT, STATUS_RESOURCE_EXHAUSTED, "kedge: out of memory")                         \
	X(STORAGE, FAULT, STATUS_INTERNAL, "kedge: storage fault, see the server's log")           \
	X(DAMAGED, FAULT, STATUS_DATA_LOSS,                                                        \
	  "kedge: a stored row fails its checksum, see the server's log")

enum err {
#define ERR_ENUM(name, kind, status, text) ERR_##name,
	ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
		ERR_COUNT
};

enum status err_status(enum err e);
const char *err_text(enum err e);
const char *err_name(enum err e); /* "COMPACTED", for logs and tests */
bool err_is_fault(enum err e);

/* Logs a fault where it is born, with the place and a reason in words, and returns it. */
#define fault(e, ...) (fault_at((e), __FILE__, __LINE__, __VA_ARGS__), fault_same(e))

/* In the header, so that compiler and analyser see that a fault is never ERR_OK. */
static inline enum err fault_same(enum err e)
{
	return e;
}

void fault_at(enum err e, const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
