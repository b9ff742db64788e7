/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c - order of one turn: ops that wait, leases that are due, COMMIT, publish (head, then
 * alarms and compaction), answers, one slice of the sweep. */
#include "shim/store/writer.h"

#include "shim/base/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define SLOW_COMMIT_NS (100 * NS_PER_MS)
#define SWEEP_BUSY_PAUSE_NS                                                                        \
	(10 * NS_PER_MS)		      /* between slices while writes wait, as etcd's pause \
					       */
#define SWEEP_HELD_PAUSE_NS (100 * NS_PER_MS) /* until pins are looked at again */
#define SWEEP_FULL_PAUSE_NS NS_PER_SECOND     /* ... and a full disk */

static int64_t now_ns(const struct writer *writer)
{
	return clock_now_ns(writer->store->config.clock);
}

/* --- answers --------------------------------------------------------------------------------- */

static struct op *op_of(struct inbox_node *node)
{
	return container_of(node, struct op, node);
}

static void answer(struct writer *writer, struct op *op)
{
	atomic_fetch_sub_explicit(&writer->store->counters.pending_ops, 1, memory_order_relaxed);
	writer->has_answered = true;
	op->on_done(op);
}

static void tell_answered(struct writer *writer)
{
	const struct store_listener *listener = &writer->store->config.listener;

	if (writer->has_answered && listener->on_answered)
		listener->on_answered(listener->context);
	writer->has_answered = false;
}

/* Answers all with one outcome, or each with its own where e is OK. */
static void answer_all(struct writer *writer, struct inbox_node *ops, enum err e)
{
	while (ops) {
		struct op *op = op_of(ops);

		ops = ops->next; /* the op is its owner's again after the call */
		if (e) {
			op->err = e;
			op->revision = store_head(writer->store);
		}
		if (!op->err && op->kind == OP_COMPACT && op->in.compact.physical) {
			op->node.next = writer->physical;
			writer->physical = &op->node;
			continue;
		}
		answer(writer, op);
	}
}

static void answer_physical(struct writer *writer, enum err e)
{
	struct inbox_node *node = writer->physical;

	writer->physical = NULL;
	while (node) {
		struct op *op = op_of(node);

		node = node->next;
		op->err = e;
		answer(writer, op);
	}
}

/* Only a restart knows what is on disk now. */
static void stop_with_fault(struct writer *writer, enum err e)
{
	struct store *store = writer->store;

	if (atomic_exchange(&store->stopped, true))
		return;
	log_error("the store stops: a commit failed", LOG_STRING("error", err_text(e)));
	if (store->config.listener.on_fault)
		store->config.listener.on_fault(store->config.listener.context, e);
}

/* --- the batch ------------------------------------------------------------------------------- */

static size_t requests_bytes(const struct request *requests, size_t count)
{
	size_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		if (requests[i].kind == REQUEST_PUT)
			bytes += requests[i].as.put.value.size;
	return bytes;
}

static size_t op_bytes(const struct op *op)
{
	if (op->kind == OP_PUT)
		return op->in.put.value.size;
	if (op->kind == OP_TXN)
		return requests_bytes(op->in.txn.success, op->in.txn.success_count) +
		       requests_bytes(op->in.txn.failure, op->in.txn.failure_count);
	return 0;
}

/* Cuts the next batch off what waits: a defragmentation goes alone. */
static struct inbox_node *take_batch(struct writer *writer)
{
	struct inbox_node *first = writer->waiting;
	struct inbox_node *last = NULL;
	size_t count = 0, bytes = 0;

	for (struct inbox_node *node = first; node; node = node->next) {
		const struct op *op = op_of(node);

		if (count && op->kind == OP_DEFRAGMENT)
			break;
		last = node;
		count++;
		bytes += op_bytes(op);
		if (op->kind == OP_DEFRAGMENT || count == WRITER_BATCH_OPS_MAX ||
		    bytes >= WRITER_BATCH_BYTES_MAX)
			break;
	}
	if (last) {
		writer->waiting = last->next;
		last->next = NULL;
	}
	return first;
}

enum err writer_measure(struct writer *writer)
{
	struct conn *conn = &writer->conn;
	int64_t pages = 0, free_pages = 0;
	enum err e = conn_number(conn, conn_stmt(conn, STMT_PAGE_COUNT), 0, &pages);

	if (!e)
		e = conn_number(conn, conn_stmt(conn, STMT_FREE_COUNT), 0, &free_pages);
	if (e)
		return e;
	atomic_store(&writer->store->file_bytes, pages * DB_PAGE_BYTES);
	atomic_store(&writer->store->in_use_bytes, (pages - free_pages) * DB_PAGE_BYTES);
	return ERR_OK;
}

static enum err timed_commit(struct writer *writer)
{
	struct counters *counters = &writer->store->counters;
	int64_t start_ns = clock_now_ns(&clock_system);
	enum err e = batch_commit(&writer->batch);
	int64_t took_ns = clock_now_ns(&clock_system) - start_ns;
	int64_t bound_ns = NS_PER_MS;

	if (e)
		return e;
	count_up(&counters->commits, 1);
	count_up(&counters->commit_ns, (uint64_t)took_ns);
	count_up(&counters->slow_commits, took_ns > SLOW_COMMIT_NS);
	for (size_t i = 0; i < STORE_COMMIT_BUCKETS; i++, bound_ns *= 2) {
		if (took_ns <= bound_ns) {
			count_up(&counters->commit_bucket[i], 1);
			break;
		}
	}
	return ERR_OK;
}

static void expire_leases(struct writer *writer, size_t due_count)
{
	for (size_t i = 0; i < due_count && !writer->batch.failed; i++) {
		enum err e = batch_expire(&writer->batch, writer->due[i]);

		/* An op of this batch may have revoked it; another error is tried again. */
		if (!e)
			count_up(&writer->store->counters.leases_expired, 1);
	}
}

/* What comes after `node` waits for the next batch. */
static void put_back(struct writer *writer, struct inbox_node *node)
{
	struct inbox_node *last = node->next;

	if (!last)
		return;
	while (last->next)
		last = last->next;
	last->next = writer->waiting;
	writer->waiting = node->next;
	node->next = NULL;
}

/* Results stay until their calls are answered: that must catch up first.  What functions of sync
 * wrote stays until the commit. */
static bool is_full(const struct writer *writer, const struct op *op)
{
	return writer->batch.scratch.used_bytes > WRITER_BATCH_BYTES_MAX ||
	       (op->arena && op->arena->meter &&
		meter_bytes(op->arena->meter) > WRITER_RESULTS_BYTES_MAX);
}

static enum err run_batch(struct writer *writer, struct inbox_node *ops, size_t due_count)
{
	struct batch *batch = &writer->batch;

	batch_begin(batch);
	for (struct inbox_node *node = ops; node && !batch->failed; node = node->next) {
		batch_run(batch, op_of(node));
		if (is_full(writer, op_of(node)))
			put_back(writer, node);
	}
	if (!batch->failed)
		expire_leases(writer, due_count);
	if (!batch->failed)
		batch_broken(batch, writer_measure(writer));
	if (!batch->failed)
		timed_commit(writer);
	return batch->failed;
}

static void disk_is_full(struct writer *writer)
{
	if (atomic_fetch_or(&writer->store->alarms, 1u << ALARM_NOSPACE) & 1u << ALARM_NOSPACE)
		return;
	log_error("the disk is full: writes are refused until the NOSPACE alarm is"
		  " cleared; make room, then compact, defragment and disarm");
}

/* Takes back what a batch did when nothing of it came to the disk, and says so to its ops. */
static void give_back(struct writer *writer, struct inbox_node *ops, enum err e)
{
	enum err undo = batch_abort(&writer->batch);

	if (undo) {
		stop_with_fault(writer, undo);
		answer_all(writer, ops, ERR_STOPPED);
		return;
	}
	if (e == ERR_NO_SPACE)
		disk_is_full(writer);
	answer_all(writer, ops, e);
}

/* What a checkpoint came to that a commit set off; the commit itself is durable in the WAL. */
static void heed_checkpoint(struct writer *writer)
{
	enum err e = checkpoint_failure(&writer->checkpoint);

	if (e == ERR_NO_SPACE)
		disk_is_full(writer);
	else if (e && e != ERR_NOMEM)
		stop_with_fault(writer, e);
}

static void do_batch(struct writer *writer, struct inbox_node *ops, size_t due_count)
{
	enum err e = run_batch(writer, ops, due_count);

	if (!e) {
		writer_publish(writer);
		answer_all(writer, ops, ERR_OK);
	} else if (e == ERR_NO_SPACE || e == ERR_NOMEM) {
		give_back(writer, ops, e);
	} else {
		stop_with_fault(writer, e);
		answer_all(writer, ops, ERR_STOPPED);
	}
}

/* --- defragmentation ------------------------------------------------------------------------- */

static void do_defragment(struct writer *writer, struct op *op)
{
	op->err = checkpoint_vacuum(&writer->checkpoint, writer->store->data_dir);
	if (!op->err)
		op->err = writer_measure(writer);
	op->revision = store_head(writer->store);
	op->node.next = NULL;
	answer(writer, op);
}

/* --- the loop -------------------------------------------------------------------------------- */

static size_t leases_due(struct writer *writer)
{
	struct store *store = writer->store;
	int64_t now = now_ns(writer);
	size_t count;

	if (now < writer->expire_from_ns || atomic_load(&store->stopped) ||
	    (atomic_load(&store->alarms) & 1u << ALARM_CORRUPT))
		return 0;
	pthread_mutex_lock(&store->lease_lock);
	count = lessor_due(store->lessor, now, writer->due, LEASE_EXPIRE_PER_TICK);
	pthread_mutex_unlock(&store->lease_lock);
	if (count)
		writer->expire_from_ns = now + LEASE_TICK_MS * NS_PER_MS;
	return count;
}

static void do_sweep(struct writer *writer)
{
	bool worked = false;
	enum err e;

	if (atomic_load(&writer->store->stopped) || !sweeper_pending(&writer->sweeper) ||
	    now_ns(writer) < writer->sweep_from_ns)
		return;
	e = checkpoint_is_full(&writer->checkpoint) ? ERR_NO_SPACE
						    : sweeper_step(&writer->sweeper, &worked);
	if (e == ERR_NO_SPACE || e == ERR_NOMEM)
		writer->sweep_from_ns = now_ns(writer) + SWEEP_FULL_PAUSE_NS;
	else if (e)
		stop_with_fault(writer, e);
	else if (!worked)
		writer->sweep_from_ns = now_ns(writer) + SWEEP_HELD_PAUSE_NS;
	else if (writer->waiting)
		writer->sweep_from_ns = now_ns(writer) + SWEEP_BUSY_PAUSE_NS;
	else
		writer->sweep_from_ns = 0;
	if (writer->physical && !e && sweeper_settled(&writer->sweeper))
		answer_physical(writer, ERR_OK);
}

/* How long to wait for ops; negative: for ever. */
static int64_t wait_ns(struct writer *writer)
{
	struct store *store = writer->store;
	int64_t next = INT64_MAX;
	int64_t wait;

	if (atomic_load(&store->stopped))
		return -1;
	if (!(atomic_load(&store->alarms) & 1u << ALARM_CORRUPT)) {
		pthread_mutex_lock(&store->lease_lock);
		next = lessor_next_due_ns(store->lessor);
		pthread_mutex_unlock(&store->lease_lock);
		if (next < writer->expire_from_ns)
			next = writer->expire_from_ns;
	}
	if (sweeper_pending(&writer->sweeper) && writer->sweep_from_ns < next)
		next = writer->sweep_from_ns;
	if (next == INT64_MAX)
		return -1;
	wait = next - now_ns(writer);
	return wait > 0 ? wait : 0;
}

static void turn(struct writer *writer)
{
	struct inbox_node *ops = take_batch(writer);
	size_t due_count = leases_due(writer);

	if (atomic_load(&writer->store->stopped)) {
		answer_all(writer, ops, ERR_STOPPED);
		answer_physical(writer, ERR_STOPPED);
		tell_answered(writer);
		return;
	}
	if (ops && op_of(ops)->kind == OP_DEFRAGMENT) {
		do_defragment(writer, op_of(ops));
		ops = NULL;
	}
	if ((ops || due_count) && checkpoint_is_full(&writer->checkpoint))
		answer_all(writer, ops, ERR_NO_SPACE);
	else if (ops || due_count)
		do_batch(writer, ops, due_count);
	tell_answered(writer);
	heed_checkpoint(writer);
	do_sweep(writer);
	if (atomic_load(&writer->store->stopped))
		answer_physical(writer, ERR_STOPPED); /* nothing else will wake us */
	tell_answered(writer);
}

/* When nothing will wake the writer again. */
static void leave(struct writer *writer)
{
	answer_physical(writer, ERR_STOPPED);
	tell_answered(writer);
}

static void *writer_main(void *context)
{
	struct writer *writer = context;
	bool closed = false;

	pthread_setname_np(pthread_self(), "kedge-writer");
	while (!closed) {
		if (!writer->waiting)
			writer->waiting =
				inbox_wait(&writer->store->inbox, wait_ns(writer), &closed);
		turn(writer);
	}
	leave(writer);
	return NULL;
}

void writer_turn(struct writer *writer)
{
	assert(!writer->started);
	if (!writer->waiting)
		writer->waiting = inbox_take(&writer->store->inbox);
	do {
		turn(writer);
		if (!writer->waiting)
			writer->waiting = inbox_take(&writer->store->inbox);
	} while (writer->waiting || wait_ns(writer) == 0);
}

/* --- life ------------------------------------------------------------------------------------ */

enum err writer_new(struct store *store, struct conn *conn, int64_t swept,
		    struct writer **ret_writer)
{
	struct writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return fault(ERR_NOMEM, "the writer");
	writer->store = store;
	writer->conn = *conn;
	*conn = (struct conn){0};
	checkpoint_init(&writer->checkpoint, &writer->conn);
	batch_init(&writer->batch, store, &writer->conn);
	sweeper_init(&writer->sweeper, store, &writer->conn, swept);
	*ret_writer = writer;
	return ERR_OK;
}

void writer_free(struct writer *writer)
{
	if (!writer)
		return;
	assert(!writer->started && !writer->waiting && !writer->physical);
	batch_fini(&writer->batch);
	sweeper_fini(&writer->sweeper);
	conn_close(&writer->conn);
	free(writer);
}

enum err writer_start(struct writer *writer)
{
	if (pthread_create(&writer->thread, NULL, writer_main, writer))
		return fault(ERR_NOMEM, "the writer's thread");
	writer->started = true;
	return ERR_OK;
}

void writer_join(struct writer *writer)
{
	if (writer->started) {
		pthread_join(writer->thread, NULL);
	} else {
		writer_turn(writer);
		leave(writer);
	}
	writer->started = false;
}
