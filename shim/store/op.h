/* SPDX-License-Identifier: Apache-2.0 */
/* op.h - what can be asked of the store and what it answers, as plain structs.
 *
 * Ownership: requests point into memory of the caller that must stay until the op is done; results
 * live in the op's arena.  Threads: an op belongs to whoever holds it: store_submit() gives it to
 * the writer, on_done gives it back.
 * Source of the rules: etcd's Range, Put, DeleteRange, Txn (server/etcdserver/txn). */
#ifndef SHIM_STORE_OP_H
#define SHIM_STORE_OP_H

#include "shim/base/arena.h"
#include "shim/base/bytes.h"
#include "shim/base/err.h"
#include "shim/base/inbox.h"

/* One version of one key.  value.data is NULL where only its size is known (see range_ref). */
struct kv {
	struct bytes key;
	struct bytes value;
	int64_t create_revision;
	int64_t mod_revision;
	int64_t version;
	int64_t lease;
};

enum sort_order { SORT_NONE, SORT_ASCEND, SORT_DESCEND };
enum sort_target { SORT_KEY, SORT_VERSION, SORT_CREATE, SORT_MOD, SORT_VALUE };

struct range_op {
	struct bytes key;
	struct bytes end; /* see range_contains() */
	int64_t limit;	  /* <= 0: none */
	int64_t revision; /* <= 0: the newest */
	enum sort_order order;
	enum sort_target target;
	bool keys_only;
	bool count_only;
	int64_t min_mod_revision; /* 0: off, like the next three */
	int64_t max_mod_revision;
	int64_t min_create_revision;
	int64_t max_create_revision;
};

struct put_op {
	struct bytes key;
	struct bytes value;
	int64_t lease;
	bool prev_kv;
	bool ignore_value;
	bool ignore_lease;
};

struct delete_op {
	struct bytes key;
	struct bytes end;
	bool prev_kv;
};

/* Values outside these enums are legal on the wire: an unknown result is true, an unknown target
 * compares as equal (etcd's applyCompare), so both are kept as plain integers. */
enum compare_result { COMPARE_EQUAL, COMPARE_GREATER, COMPARE_LESS, COMPARE_NOT_EQUAL };
enum compare_target { COMPARE_VERSION, COMPARE_CREATE, COMPARE_MOD, COMPARE_VALUE, COMPARE_LEASE };

struct compare {
	int result;
	int target;
	struct bytes key;
	struct bytes end;
	int64_t number;	    /* for all targets but VALUE */
	struct bytes value; /* for VALUE */
};

enum request_kind { REQUEST_RANGE, REQUEST_PUT, REQUEST_DELETE, REQUEST_TXN };

struct txn_op;

struct request {
	enum request_kind kind;
	union {
		struct range_op range;
		struct put_op put;
		struct delete_op delete_range;
		struct txn_op *txn;
	} as;
};

struct txn_op {
	struct compare *compares;
	size_t compare_count;
	struct request *success;
	size_t success_count;
	struct request *failure;
	size_t failure_count;
};

struct range_result {
	int64_t revision; /* header: the state it was read from, not the one asked for */
	struct kv *kvs;
	size_t kv_count;
	int64_t count; /* live keys in the range at that revision, whatever limit and filters say */
	bool more;
};

struct put_result {
	int64_t revision;
	bool has_prev;
	struct kv prev;
};

struct delete_result {
	int64_t revision;
	int64_t deleted;
	struct kv *prevs; /* when asked for */
	size_t prev_count;
};

struct response;

struct txn_result {
	int64_t revision; /* R+1 when a key changed, else R */
	bool succeeded;
	struct response *responses;
	size_t response_count;
};

struct response {
	enum request_kind kind;
	union {
		struct range_result range;
		struct put_result put;
		struct delete_result delete_range;
		struct txn_result txn;
	} as;
};

/* What sync runs on the writer, inside the transaction: see sync.h.  When the function returns an
 * error nothing of it stays, and that is the op's answer. */
struct apply;
typedef enum err apply_fn(struct apply *apply, void *context);

/* --- what goes to the writer ------------------------------------------------------------------ */

enum op_kind {
	OP_PUT,
	OP_DELETE,
	OP_TXN,
	OP_COMPACT,
	OP_LEASE_GRANT,
	OP_LEASE_REVOKE,
	OP_ALARM_SET,
	OP_ALARM_CLEAR,
	OP_DEFRAGMENT,
	OP_APPLY,
	OP_JUMP, /* sync: the head moves forward, all before it counts as compacted */
};

enum alarm { ALARM_NONE, ALARM_NOSPACE, ALARM_CORRUPT }; /* numbers are the wire's */

struct op {
	struct inbox_node node; /* the store's while submitted */
	enum op_kind kind;
	struct arena *arena; /* for results; NULL: no memory wanted (no prev_kv, no OP_TXN) */
	union {
		struct put_op put;
		struct delete_op delete_range;
		struct txn_op txn;
		struct {
			int64_t revision;
			bool physical; /* done only when the rows are gone */
		} compact;
		struct {
			int64_t id; /* 0: the store chooses */
			int64_t ttl_seconds;
		} lease_grant;
		struct {
			int64_t id;
		} lease_revoke;
		enum alarm alarm;
		struct {
			apply_fn *fn;
			void *context;
		} apply;
		struct {
			int64_t revision; /* the new head: above the old, <= JUMP_REVISION_MAX */
		} jump;
	} in;

	/* Filled by the writer. */
	enum err err;
	int64_t revision; /* the head when it was done: the header's revision */
	union {
		struct put_result put;
		struct delete_result delete_range;
		struct txn_result txn;
		struct {
			int64_t id;
			int64_t ttl_seconds; /* as granted */
		} lease;
		bool alarm_changed;
	} out;

	/* Called on the writer's thread, after what it did is durable and visible to readers.  It
	 * must only hand the op back to its owner's thread. */
	void (*on_done)(struct op *op);
};

#endif
