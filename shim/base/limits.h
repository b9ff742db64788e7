/* SPDX-License-Identifier: Apache-2.0 */
/* limits.h - every maximum of the server, with its unit and its reason.
 *
 * What a flag can change is named *_DEFAULT. */
#ifndef SHIM_BASE_LIMITS_H
#define SHIM_BASE_LIMITS_H

#include <assert.h>

#define KIB 1024
#define MIB (1024 * 1024)

/* --- requests: etcd's own numbers ------------------------------------------------------------ */
#define REQUEST_BYTES_DEFAULT (3 * MIB / 2) /* --max-request-bytes */
#define REQUEST_OVERHEAD_BYTES (512 * KIB)  /* what gRPC may take above it */
#define TXN_OPS_DEFAULT 128		    /* --max-txn-ops, per level, shrinking downwards */
#define TXN_DEPTH_MAX 200 /* nested Txn levels; 129 are legal with the default --max-txn-ops */
#define LEASE_TTL_SECONDS_MAX 9000000000LL /* above: "too large lease TTL" */
#define LEASE_TTL_SECONDS_MIN 2		   /* etcd's minTTL with its default election timeout */

/* --- revisions: one 64-bit row number is main << 23 | sub ------------------------------------ */
#define REV_SUB_BITS 23
#define REV_SUB_MAX ((1LL << REV_SUB_BITS) - 1) /* rows one transaction may write */
#define REV_MAIN_MAX ((1LL << 40) - 1)
#define JUMP_REVISION_MAX (REV_MAIN_MAX / 2) /* after a jump there are as many left for writes */

/* --- memory that one party may hold ----------------------------------------------------------- */
#define MEMORY_CALLS_BYTES_MIN (64 * MIB)   /* --request-memory-bytes, all calls together, is a */
#define MEMORY_CALLS_BYTES_MAX (1024 * MIB) /* quarter of the machine's memory within these */
#define NET_SMALL_MESSAGE_BYTES (64 * KIB)  /* a request up to this never waits for memory */
#define NET_STALL_NS (5LL * 1000 * 1000 * 1000) /* a connection that moved nothing for so long */
#define NET_WAIT_NS (30LL * 1000 * 1000 * 1000) /* longest wait of a request for memory */
#define CALL_ARENA_BYTES_MAX (256 * MIB)	/* decoded request and results of one call */
#define WRITER_RESULTS_BYTES_MAX (64 * MIB)  /* results not yet answered; beyond, one op a commit */
#define WATCH_OUTBOXES_BYTES_MAX (128 * MIB) /* events queued for all watch streams together */
#define CALL_SEND_HIGH_BYTES (256 * KIB)     /* a stream with more unsent stops being filled */
#define CALL_SEND_LOW_BYTES (64 * KIB)	     /* ... until it has drained to this */
#define SOURCE_SLICE_BYTES (128 * KIB)	     /* a big answer is produced in pieces of this size */
#define WATCH_OUTBOX_BYTES_MAX                                                                     \
	(4 * MIB)		      /* events queued for one watch stream before it is BEHIND */
#define WATCH_CONTROL_ITEMS_MAX 65536 /* created/cancelled/progress items queued for one stream */
#define WATCH_PROGRESS_MIN_NS (100LL * 1000 * 1000)	       /* etcd's least time between two */
#define WATCH_PROGRESS_DEFAULT_NS (600LL * 1000 * 1000 * 1000) /* etcd's, when none is asked for */
#define CATCHUP_SLICE_BYTES (1 * MIB) /* history read at one go for one BEHIND watcher */
#define CATCHUP_SLICE_ROWS 2000	      /* ... and rows looked at */
#define WRITER_CHAIN_OPS_MAX 1024     /* writes of one loop turn that go to the writer together */
#define WRITER_INBOX_OPS_MAX 65536    /* writes waiting for the writer */
#define WRITER_BATCH_OPS_MAX 4096     /* writes in one group commit */
#define WRITER_BATCH_BYTES_MAX (16 * MIB) /* value bytes in one group commit */
#define LOOP_SLICES_NS (5 * 1000 * 1000)  /* sliced work in one turn before sockets are looked at */
#define LOOP_INBOX_TASKS_MAX 1048576	  /* completions on their way to a loop */
#define LOG_LINE_BYTES_MAX 8192
#define MALLOC_LARGE_BYTES (1 * MIB) /* blocks from here on go back to the system at once */
#define MALLOC_KEPT_BYTES (16 * MIB) /* free memory at the end of a heap that may stay */

/* --- compaction and leases -------------------------------------------------------------------- */
#define SWEEP_SLICE_ROWS 1000	  /* rows removed in one go, between commits */
#define LEASE_EXPIRE_PER_TICK 500 /* leases revoked per tick, as etcd */
#define LEASE_TICK_MS 500

/* --- sync's records in the store -------------------------------------------------------------- */
#define STATE_NAME_BYTES_MAX (64 * KIB)	 /* names are searched by; a longer one is a mistake */
#define STATE_VALUE_BYTES_MAX (32 * MIB) /* the biggest meta of a key (16 MiB), and room */
#define STATE_SLICE_ROWS 256		 /* records read in one transaction of a scan ... */
#define KEYS_SLICE_KEYS 256		 /* keys that a scan of all keys has ready ... */
#define KEYS_SLICE_BYTES (1 * MIB)	 /* ... and bytes of them, and one row more */
#define KEYS_LOOKED_AT_MAX 4096		 /* by it under one lock of the index, about 0.5 ms */
#define STATE_SLICE_BYTES (1 * MIB)	 /* ... and bytes of them, and one record more */

/* --- database --------------------------------------------------------------------------------- */
#define QUOTA_BYTES_DEFAULT (2LL * 1024 * MIB)	      /* --quota-backend-bytes 0 */
#define DB_PAGE_BYTES 2048			      /* fewest bytes written per small put */
#define WAL_AUTOCHECKPOINT_PAGES 4000		      /* 8 MiB of WAL, reused in place */
#define WAL_SIZE_LIMIT_BYTES (16 * MIB)		      /* a WAL that was bigger is cut to this */
#define WAL_PAGES_MAX (16 * WAL_AUTOCHECKPOINT_PAGES) /* 128 MiB: writes are refused */
#define DB_CACHE_KIB 4000 /* pages of the writer; values have a cache of their own */
#define VALUE_CACHE_BYTES ((size_t)16 * MIB) /* values written or read lately, of all connections */

/* --- net: one HTTP/2 connection --------------------------------------------------------------- */
#define H2_STREAM_WINDOW_BYTES (256 * KIB)   /* of a request that nobody has looked at yet */
#define H2_CONNECTION_WINDOW_BYTES (4 * MIB) /* several such at once */
#define H2_OUTPUT_RUN_BYTES (64 * KIB)	     /* frames gathered for one send */
#define H2_UNSENT_BYTES_MAX (16 * MIB)	     /* answers not taken; beyond, no call is begun */
#define H2_TURN_NS (2 * 1000 * 1000) /* calls begun for one connection before others get theirs */
#define H2_CALLS_MAX 65536	     /* calls whose memory is in use; beyond: REFUSED_STREAM */
#define H2_CALLS_POOLED_MAX 32	     /* finished calls kept for the next ones */
#define H2_HEADER_LIST_BYTES_MAX (64 * KIB) /* request headers, counted as in RFC 9113 6.5.2 */
#define H2_RESETS_BURST 2000		    /* resets by the peer or its mistakes (rapid reset) */
#define H2_RESETS_PER_SECOND 200	    /* ... and how fast the allowance comes back */
#define H2_USELESS_BURST 1000 /* frames that carry nothing: empty DATA, PRIORITY, ... */
#define H2_USELESS_PER_SECOND 100
#define H2_PING_STRIKES_MAX 2 /* as grpc-go */
#define H2_DRAIN_WAIT_MS 1000 /* for the peer's answer to the first GOAWAY */

static_assert(CALL_SEND_LOW_BYTES < CALL_SEND_HIGH_BYTES, "hysteresis");
static_assert(WATCH_OUTBOX_BYTES_MAX > REQUEST_BYTES_DEFAULT, "one event must fit");

#endif
