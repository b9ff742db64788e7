/* SPDX-License-Identifier: Apache-2.0 */
/* limits.h - every maximum of sync, with its unit and its reason. */
#ifndef SYNC_LIMITS_H
#define SYNC_LIMITS_H

#include "shim/base/limits.h"

/* --- causality -------------------------------------------------------------------------------- */
#define SITE_BYTES 16
#define VECTOR_ACTORS_MAX 65536	   /* 10,000 sites and their restores, with room */
#define VECTOR_INTERVALS_MAX 65536 /* of one actor; steady state is one */
#define VECTOR_BYTES_MAX (4 * MIB) /* one encoded vector; steady state is some 25 B an actor */
#define HLC_SKEW_MS_MAX 60000 /* a stamp further ahead is not adopted; edges without NTP drift */
#define HLC_CEILING_STEP_MS 10000 /* stamps promised to the disk at a time: one write per 10 s */

/* --- objects ---------------------------------------------------------------------------------- */
#define CODEC_COLUMNS_MAX 4096 /* of one object; a value with more is one opaque column */
#define CODEC_ENTRIES_MAX 1024 /* of one map or list; one with more is one column */
#define CODEC_DEPTH_MAX 128    /* nested arrays and maps; apiservers allow 64 in CBOR */

/* --- states of keys --------------------------------------------------------------------------- */
#define META_BYTES_MAX (16 * MIB) /* siblings of one key with their bytes: ten full-sized ones */

/* --- rules ------------------------------------------------------------------------------------ */
#define RULES_HASH_BYTES 16
#define RULES_FILE_BYTES_MAX (256 * KIB) /* some thousand rows, written by hand */
#define RULES_ROWS_MAX 512		 /* each key is compared with all of them: 3 us */
#define RULES_COLUMNS_MAX 32		 /* of one row */
#define RULES_NAMESPACES_MAX 4096	 /* of one file */
#define RULES_TEXT_BYTES_MAX 1024	 /* a pattern, a name, a reason */
#define RULES_ARENA_BYTES (16 * MIB)	 /* a table with all of that */

/* --- the engine ------------------------------------------------------------------------------- */
#define CLAIMS_MAX 64	    /* comparisons under way at once, everywhere; of one key too */
#define PEERS_MAX 4096	    /* sites that a site has ever talked to itself */
#define POINTS_MAX 32	    /* remembered points of a peer's log; newest dense, then sparser */
#define WINDOW_KEYS_MAX 128 /* some 2 ms of the receiver's writer */
#define WINDOW_BYTES_DEFAULT (256 * KIB)
#define WINDOWS_AHEAD_MAX 4	      /* sent and not acknowledged */
#define PAGE_KEYS_MAX 128	      /* of a comparison: fetched and merged at a time */
#define SESSION_LATE_KEYS_MAX 65536   /* merged from others meanwhile; more start it anew */
#define CLOCK_STEPS_MAX 4096	      /* merges whose revisions a window may end at */
#define WAITERS_MAX 10000	      /* clients that wait for a token */
#define BREAKER_PERIOD_MS 600000      /* over which a peer's deletes are counted */
#define LOG_HOLD_REVISIONS_MAX 65536  /* kept for a peer: some 64 MiB of rows of 1 KB */
#define JOURNAL_BYTES_MAX (16 * MIB)  /* closed siblings; the oldest go first */
#define JOURNAL_ENTRY_BYTES 512	      /* what one counts for, on average */
#define WITNESS_LEASE_REVISIONS 10000 /* reserved at a time: one small file synced per so many */
#define INCARNATION_JUMP 1000	      /* revisions, beyond what any peer has seen */
#define KEY_ARENA_BYTES (64 * MIB)    /* of one key's merge: three states of META_BYTES_MAX */

/* --- comparing sites -------------------------------------------------------------------------- */
#define RECONCILE_KEYS_MAX 16777216	   /* of one range; keys apart they take 512 MB */
#define RECONCILE_BRANCHES 16		   /* parts that an unequal range is cut into */
#define RECONCILE_LEAF_KEYS 32		   /* a range with no more of them is sent as a list */
#define RECONCILE_MESSAGE_BYTES (64 * KIB) /* one message; what does not fit comes later */
#define RECONCILE_KEY_BYTES_MAX (2 * MIB)  /* above what a request may hold */

/* --- what sites say to each other ------------------------------------------------------------- */
#define MESSAGE_BYTES_MAX (4 * MIB) /* one message; some seconds of a slow uplink */
#define VALUE_BYTES_MAX (4 * MIB)   /* made from a delta; what a message could carry whole */
#define MESSAGE_ENTRIES_MAX 65536   /* of one window or page; real ones take 64 bytes at least */
#define MESSAGE_TOUCHES_MAX 262144  /* and claims, of all entries of one window: 8 MiB decoded */
#define MESSAGE_KEYS_MAX 65536	    /* asked for at a time */
#define MESSAGE_RANGES_MAX 65536    /* of coverage, or let go; a scope by content is single keys */
#define MESSAGE_POINTS_MAX 1024	    /* of a log; a newer site may remember more than POINTS_MAX */
#define MESSAGE_VERSIONS_MAX 4096   /* prefixes; one a resource, and a cluster has some hundreds */
#define MESSAGE_API_VERSIONS_MAX 64 /* of one prefix; resources have three at most */
#define MESSAGE_KEY_IDS_MAX 1024    /* one for each key that an apiserver may decrypt with */
#define MESSAGE_ARENA_BYTES_MAX (24 * MIB) /* decoded: entries, dots and actors, all at most */
#define MESSAGE_TEXT_BYTES_MAX 4096	   /* for people */

#endif
