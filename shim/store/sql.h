/* SPDX-License-Identifier: Apache-2.0 */
/* sql.h - every statement that runs more than once, one row each.
 *
 * A statement is prepared by conn_stmt() when it is first needed and reset on every way out,
 * because an open one pins the WAL. */
#ifndef SHIM_STORE_SQL_H
#define SHIM_STORE_SQL_H

#define STORE_SQL(X)                                                                               \
	X(BEGIN, "BEGIN IMMEDIATE")                                                                \
	X(COMMIT, "COMMIT")                                                                        \
	X(ROLLBACK, "ROLLBACK")                                                                    \
	X(READ_BEGIN, "BEGIN")                                                                     \
	X(OP_BEGIN, "SAVEPOINT op")                                                                \
	X(OP_UNDO, "ROLLBACK TO op")                                                               \
	X(OP_KEEP, "RELEASE op")                                                                   \
	X(ROW_INSERT,                                                                              \
	  "INSERT INTO log(rev, key, create_rev, version, lease, flags, crc, meta, value)"         \
	  " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")                                           \
	X(ROW_DELETE, "DELETE FROM log WHERE rev = ?1")                                            \
	X(ROWS_UNDO, "DELETE FROM log WHERE rev > ?1")                                             \
	X(VALUE_AT, "SELECT value FROM log WHERE rev = ?1")                                        \
	X(ROW_AT,                                                                                  \
	  "SELECT rev, key, create_rev, version, lease, flags, crc, meta, length(value), value"    \
	  " FROM log WHERE rev = ?1")                                                              \
	X(ROW_SCAN,                                                                                \
	  "SELECT rev, key, create_rev, version, lease, flags, crc, meta, length(value), value"    \
	  " FROM log WHERE rev >= ?1 AND rev <= ?2 ORDER BY rev")                                  \
	X(HEADER_SCAN,                                                                             \
	  "SELECT rev, key, create_rev, version, lease, flags, crc, meta, length(value)"           \
	  " FROM log WHERE rev >= ?1 AND rev <= ?2 ORDER BY rev")                                  \
	X(SETTING_GET, "SELECT value FROM settings WHERE name = ?1")                               \
	X(SETTING_SET, "INSERT OR REPLACE INTO settings(name, value) VALUES(?1, ?2)")              \
	X(LEASE_SCAN, "SELECT id, ttl FROM leases ORDER BY id")                                    \
	X(LEASE_SET, "INSERT OR REPLACE INTO leases(id, ttl) VALUES(?1, ?2)")                      \
	X(LEASE_DELETE, "DELETE FROM leases WHERE id = ?1")                                        \
	X(ALARM_SCAN, "SELECT alarm FROM alarms ORDER BY alarm")                                   \
	X(ALARM_SET, "INSERT OR IGNORE INTO alarms(alarm) VALUES(?1)")                             \
	X(ALARM_DELETE, "DELETE FROM alarms WHERE alarm = ?1")                                     \
	X(STATE_SCAN, "SELECT name, value FROM state ORDER BY name")                               \
	X(STATE_SET, "INSERT OR REPLACE INTO state(name, value) VALUES(?1, ?2)")                   \
	X(STATE_GET, "SELECT value FROM state WHERE name = ?1")                                    \
	X(STATE_SLICE,                                                                             \
	  "SELECT name, value FROM state WHERE name >= ?1 AND (?2 OR name < ?3) ORDER BY name"     \
	  " LIMIT ?4")                                                                             \
	X(STATE_DELETE, "DELETE FROM state WHERE name = ?1")                                       \
	X(STATE_DELETE_SLICE,                                                                      \
	  "DELETE FROM state WHERE name IN (SELECT name FROM state WHERE name >= ?1 AND"           \
	  " (?2 OR name < ?3) ORDER BY name LIMIT ?4)")                                            \
	X(PAGE_COUNT, "PRAGMA page_count")                                                         \
	X(FREE_COUNT, "PRAGMA freelist_count")

enum stmt {
#define STMT_ENUM(name, sql) STMT_##name,
	STORE_SQL(STMT_ENUM)
#undef STMT_ENUM
		STMT_COUNT
};

/* What settings hold, by name. */
#define SETTING_CLUSTER_ID "cluster_id"
#define SETTING_MEMBER_ID "member_id"
#define SETTING_TERM "term"
#define SETTING_HEAD "head_revision"	     /* the head is never below it */
#define SETTING_COMPACTED "compact_revision" /* absent: never compacted */
#define SETTING_SWEPT "swept_revision"	     /* rows not needed at it are gone */
#define SETTING_SWEEPING "sweep_revision"    /* ... may be gone; rows above it are there */

#endif
