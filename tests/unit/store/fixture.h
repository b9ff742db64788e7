/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.h - a store's files and index without its writer: the test is the writer, so that it
 * decides which rows there are, visible or not, swept or not. */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include "shim/store/internal.h"
#include "shim/store/schema.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define FIXTURE_PATH_BYTES 256

struct fixture {
	struct store store;
	struct store_reader reader;
	struct conn writer;
	struct store_identity identity;
	char dir[FIXTURE_PATH_BYTES / 2];
	char db_path[FIXTURE_PATH_BYTES];
};

/* Removes a folder and the files in it. */
static inline void fixture_remove(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;

	if (!dir) {
		unlink(path);
		return;
	}
	while ((entry = readdir(dir))) {
		char *inner = NULL;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		assert_true(asprintf(&inner, "%s/%s", path, entry->d_name) > 0);
		fixture_remove(inner);
		free(inner);
	}
	closedir(dir);
	rmdir(path);
}

static inline int fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	snprintf(fixture->dir, sizeof(fixture->dir), "%s/kedge-store-%s",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
		 "XX"
		 "XX"
		 "XX"); /* for mkdtemp() to replace */
	assert_non_null(mkdtemp(fixture->dir));
	snprintf(fixture->db_path, sizeof(fixture->db_path), "%s/%s", fixture->dir, STORE_DB_NAME);
	assert_int_equal(schema_identity_new(&fixture->identity), ERR_OK);
	assert_int_equal(conn_open(&fixture->writer, fixture->db_path, CONN_WRITE, true), ERR_OK);
	assert_int_equal(schema_create(&fixture->writer, &fixture->identity), ERR_OK);
	assert_int_equal(conn_open(&fixture->reader.conn, fixture->db_path, CONN_READ, true),
			 ERR_OK);
	fixture->reader.store = &fixture->store;
	assert_int_equal(index_new(&fixture->store.index), ERR_OK);
	pthread_rwlock_init(&fixture->store.index_lock, NULL);
	pins_init(&fixture->store.pins, NEVER_COMPACTED);
	atomic_init(&fixture->store.head, 1);
	*state = fixture;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;

	conn_close(&fixture->reader.conn);
	conn_close(&fixture->writer);
	pins_fini(&fixture->store.pins);
	pthread_rwlock_destroy(&fixture->store.index_lock);
	index_free(fixture->store.index);
	fixture_remove(fixture->dir);
	free(fixture);
	return 0;
}

static inline void fixture_begin(struct fixture *fixture)
{
	assert_int_equal(conn_do(&fixture->writer, STMT_BEGIN), ERR_OK);
}

static inline void fixture_commit(struct fixture *fixture)
{
	assert_int_equal(conn_do(&fixture->writer, STMT_COMMIT), ERR_OK);
}

static inline void fixture_row(struct fixture *fixture, const struct row *row)
{
	struct version version = row_version(row);

	assert_int_equal(conn_row_insert(&fixture->writer, row), ERR_OK);
	pthread_rwlock_wrlock(&fixture->store.index_lock);
	assert_int_equal(index_add(fixture->store.index, row->key, &version), ERR_OK);
	pthread_rwlock_unlock(&fixture->store.index_lock);
}

/* A put as etcd does it, at sub-revision `sub` of the revision after the head; the caller moves the
 * head. */
static inline void fixture_put_at(struct fixture *fixture, int64_t sub, const char *key,
				  struct bytes value, int64_t lease)
{
	int64_t revision = atomic_load(&fixture->store.head) + 1;
	const struct version *old =
		index_get(fixture->store.index, bytes_of_string(key), INT64_MAX);
	bool lives = old && !old->tombstone;
	struct row row = {
		.rev = ROW_OF(revision, sub),
		.key = bytes_of_string(key),
		.create_revision = lives ? old->create_revision : revision,
		.version = lives ? old->version + 1 : 1,
		.lease = lease,
		.value = value,
	};

	fixture_row(fixture, &row);
}

static inline void fixture_delete_at(struct fixture *fixture, int64_t sub, const char *key)
{
	int64_t revision = atomic_load(&fixture->store.head) + 1;
	struct row row = {
		.rev = ROW_OF(revision, sub),
		.key = bytes_of_string(key),
		.flags = ROW_TOMBSTONE,
	};

	fixture_row(fixture, &row);
}

static inline bool fixture_lives(const struct fixture *fixture, const char *key)
{
	const struct version *version =
		index_get(fixture->store.index, bytes_of_string(key), INT64_MAX);

	return version && !version->tombstone;
}

static inline void fixture_advance(struct fixture *fixture)
{
	atomic_fetch_add(&fixture->store.head, 1);
}

static inline void fixture_put(struct fixture *fixture, const char *key, const char *value,
			       int64_t lease)
{
	fixture_put_at(fixture, 0, key, bytes_of_string(value), lease);
	fixture_advance(fixture);
}

/* As in etcd a deletion of nothing takes no revision. */
static inline void fixture_delete(struct fixture *fixture, const char *key)
{
	if (!fixture_lives(fixture, key))
		return;
	fixture_delete_at(fixture, 0, key);
	fixture_advance(fixture);
}

static inline void fixture_sweep(struct fixture *fixture)
{
	int64_t floor = pins_floor(&fixture->store.pins);
	struct index_sweep sweep = {0};
	int64_t rows[100];

	while (!sweep.done) {
		size_t count;

		pthread_rwlock_wrlock(&fixture->store.index_lock);
		count = index_sweep(fixture->store.index, &sweep, floor, rows, 100, 100);
		pthread_rwlock_unlock(&fixture->store.index_lock);
		for (size_t i = 0; i < count; i++) {
			sqlite3_stmt *stmt = conn_stmt(&fixture->writer, STMT_ROW_DELETE);

			assert_non_null(stmt);
			sqlite3_bind_int64(stmt, 1, rows[i]);
			assert_int_equal(conn_run(&fixture->writer, stmt), ERR_OK);
		}
	}
	index_sweep_fini(&sweep);
}

#endif
