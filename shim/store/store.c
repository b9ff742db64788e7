/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/store.h"

#include "shim/store/datadir.h"
#include "shim/store/load.h"
#include "shim/store/schema.h"
#include "shim/store/wal.h"
#include "shim/store/writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- open ------------------------------------------------------------------------------------ */

/* The database holds secrets.  SQLite gives its other files the mode of this one. */
static enum err make_private(const char *db_path, char *problem)
{
	int fd = open(db_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return schema_problem(problem, ERR_STORAGE,
				      "%s cannot be made (%s): check owner and mode of the folder",
				      db_path, strerror(errno));
	close(fd);
	return ERR_OK;
}

static enum err open_database(struct store *store, struct conn *conn,
			      struct schema_numbers *numbers, char *problem)
{
	struct store_identity identity;
	bool fresh = false;
	enum err e = wal_check(store->db_path, problem);

	if (!e)
		e = wal_rewrite(store->db_path, problem);
	if (!e)
		e = schema_probe(store->db_path, &fresh, problem);
	if (!e && fresh)
		e = make_private(store->db_path, problem);
	/* Before there is anything in it: a database that is not fresh has a durable name. */
	if (!e && fresh)
		e = datadir_sync(store->data_dir, problem);
	if (e)
		return e;
	e = conn_open(conn, store->db_path, CONN_WRITE, store->config.no_fsync);
	if (!e && fresh)
		e = schema_identity_new(&identity);
	if (!e && fresh)
		e = schema_create(conn, &identity);
	if (!e)
		e = schema_start(conn, numbers);
	/* The WAL is a new file now; SQLite does not look whether its sync of the folder failed. */
	if (!e)
		return datadir_sync(store->data_dir, problem);
	if (e == ERR_NO_SPACE)
		return schema_problem(problem, e, "%s cannot be written: the disk is full",
				      store->db_path);
	if (e)
		return schema_problem(problem, e,
				      "%s cannot be opened (%s), see the log: check the disk, or"
				      " restore a snapshot into a fresh --data-dir",
				      store->db_path, err_text(e));
	return ERR_OK;
}

static int64_t highest(int64_t a, int64_t b, int64_t c)
{
	int64_t ab = a > b ? a : b;

	return ab > c ? ab : c;
}

static enum err open_rest(struct store *store, struct conn *conn, char *problem)
{
	struct schema_numbers numbers = {0};
	int64_t newest = 0;
	enum err e = open_database(store, conn, &numbers, problem);

	if (e)
		return e;
	store->identity = numbers.identity;
	e = load_all(store, conn, &newest, problem);
	if (e)
		return e;
	/* The scan went through every page once; the writer needs the last ones only. */
	sqlite3_db_release_memory(conn->db);
	malloc_trim(0);
	atomic_store(&store->pins.compacted, numbers.compacted);
	atomic_store(&store->pins.swept,
		     numbers.swept > numbers.sweeping ? numbers.swept : numbers.sweeping);
	atomic_store(&store->alarms, numbers.alarms);
	/* Never back, though the newest rows may have been swept. */
	atomic_store(&store->head, highest(newest, numbers.head, numbers.compacted));
	conn->values = store->values;
	e = writer_new(store, conn, numbers.swept, &store->writer);
	if (!e)
		e = writer_measure(store->writer);
	return e ? schema_problem(problem, e, "%s, see the log", err_text(e)) : ERR_OK;
}

static void init_locks(struct store *store)
{
	pthread_rwlockattr_t attributes;

	/* Readers come in slices all the time; the writer must not wait for a gap between them. */
	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&store->index_lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
	pthread_mutex_init(&store->lease_lock, NULL);
	pins_init(&store->pins, NEVER_COMPACTED);
	inbox_init(&store->inbox, WRITER_INBOX_OPS_MAX);
}

static enum err fill_paths(struct store *store, const struct store_config *config)
{
	store->data_dir = strdup(config->data_dir);
	store->db_path = datadir_path(config->data_dir, STORE_DB_NAME);
	if (!store->data_dir || !store->db_path)
		return fault(ERR_NOMEM, "paths");
	store->config.data_dir = store->data_dir;
	return ERR_OK;
}

enum err store_open(const struct store_config *config, struct store **ret_store,
		    char problem[STORE_PROBLEM_BYTES])
{
	struct store *store = calloc(1, sizeof(*store));
	struct conn conn = {0};
	enum err e;

	assert(config->data_dir && config->clock);
	if (!store)
		return schema_problem(problem, fault(ERR_NOMEM, "the store"), "out of memory");
	store->config = *config;
	store->quota_bytes = config->quota_bytes ? config->quota_bytes : QUOTA_BYTES_DEFAULT;
	store->lock_fd = -1;
	init_locks(store);
	schema_problem(problem, ERR_OK,
		       "out of memory, see the log"); /* unless something else is */
	e = fill_paths(store, config);
	if (!e)
		e = value_cache_new(VALUE_CACHE_BYTES, &store->values);
	if (!e)
		e = index_new(&store->index);
	if (!e)
		e = lessor_new(&store->lessor);
	if (!e)
		e = datadir_lock(store->data_dir, &store->lock_fd, problem);
	if (!e)
		e = open_rest(store, &conn, problem);
	if (e) {
		conn_close(&conn);
		store_close(store);
		return e;
	}
	*ret_store = store;
	return ERR_OK;
}

/* --- start, stop, close ---------------------------------------------------------------------- */

enum err store_start(struct store *store)
{
	return writer_start(store->writer);
}

enum err store_turn(struct store *store)
{
	writer_turn(store->writer);
	return atomic_load(&store->stopped) ? ERR_STOPPED : ERR_OK;
}

void store_stop(struct store *store)
{
	inbox_close(&store->inbox);
	writer_join(store->writer);
}

void store_close(struct store *store)
{
	if (!store)
		return;
	writer_free(store->writer); /* the last connection: folds the WAL into the database */
	index_free(store->index);
	value_cache_free(store->values);
	lessor_free(store->lessor);
	inbox_fini(&store->inbox);
	pins_fini(&store->pins);
	pthread_mutex_destroy(&store->lease_lock);
	pthread_rwlock_destroy(&store->index_lock);
	datadir_unlock(store->lock_fd);
	free(store->data_dir);
	free(store->db_path);
	free(store);
}

/* --- writes ---------------------------------------------------------------------------------- */

enum err store_submit_chain(struct store *store, struct inbox_chain *ops)
{
	const size_t count = ops->count;
	enum err e;

	if (atomic_load_explicit(&store->stopped, memory_order_relaxed))
		return ERR_STOPPED;
	for (struct inbox_node *node = ops->first; node; node = node->next) {
		struct op *op = container_of(node, struct op, node);

		assert(op->on_done);
		op->err = ERR_OK;
	}
	/* The writer empties its inbox at once: what it has taken counts, too. */
	if (atomic_fetch_add_explicit(&store->counters.pending_ops, count, memory_order_relaxed) +
		    count >
	    WRITER_INBOX_OPS_MAX)
		e = ERR_BUSY;
	else
		e = inbox_put_chain(&store->inbox, ops, NULL);
	if (e)
		atomic_fetch_sub_explicit(&store->counters.pending_ops, count,
					  memory_order_relaxed);
	return e;
}

enum err store_submit(struct store *store, struct op *op)
{
	struct inbox_chain one = {0};

	inbox_chain_add(&one, &op->node);
	return store_submit_chain(store, &one);
}

static void alarm_done(struct op *op)
{
	free(op);
}

void store_raise_alarm(struct store *store, enum alarm alarm)
{
	struct op *op;

	if (atomic_fetch_or(&store->alarms, 1u << alarm) & 1u << alarm)
		return; /* whoever raised it first makes it durable */
	op = calloc(1, sizeof(*op));
	if (!op)
		return; /* it holds until a restart, which will find the cause again */
	op->kind = OP_ALARM_SET;
	op->in.alarm = alarm;
	op->on_done = alarm_done;
	if (store_submit(store, op))
		free(op);
}

enum err store_quota_check(struct store *store, int64_t cost_bytes)
{
	int64_t file_bytes = atomic_load_explicit(&store->file_bytes, memory_order_relaxed);

	if (store->quota_bytes < 0 || cost_bytes <= 0)
		return ERR_OK;
	if (file_bytes < store->quota_bytes && cost_bytes < store->quota_bytes - file_bytes)
		return ERR_OK;
	store_raise_alarm(store, ALARM_NOSPACE);
	return ERR_NO_SPACE;
}

/* --- readers --------------------------------------------------------------------------------- */

enum err store_reader_new(struct store *store, struct store_reader **ret_reader)
{
	struct store_reader *reader = calloc(1, sizeof(*reader));
	enum err e;

	if (!reader)
		return fault(ERR_NOMEM, "a reader");
	reader->store = store;
	e = conn_open(&reader->conn, store->db_path, CONN_READ, store->config.no_fsync);
	if (e) {
		free(reader);
		return e;
	}
	reader->conn.values = store->values;
	reader->conn.keeps_values = true;
	*ret_reader = reader;
	return ERR_OK;
}

void store_reader_free(struct store_reader *reader)
{
	if (!reader)
		return;
	conn_close(&reader->conn);
	free(reader);
}

int64_t store_head(const struct store *store)
{
	return atomic_load_explicit(&store->head, memory_order_acquire);
}

int64_t store_compacted(const struct store *store)
{
	return atomic_load_explicit(&store->pins.compacted, memory_order_acquire);
}
