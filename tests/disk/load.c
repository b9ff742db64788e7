/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/disk/load.h"

#include "shim/store/internal.h"
#include "shim/store/writer.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECKPOINT_PAGES 30 /* many checkpoints in a short workload */
#define GROUP_OPS_MAX 6
#define LEASE_OF(bit) (BOOK_LEASE_FIRST + (bit))

struct load {
	const struct load_options *options;
	struct rig rig;
	struct rig_random random;
	char root[TRACE_PATH_BYTES];
	char path[2 * TRACE_PATH_BYTES];
	int site; /* of the open store */
	struct book *book;
	struct world world;
	unsigned snapshot_leases; /* at the first one */
	size_t doubt; /* events from here on: a revision may be there or not; 0: no doubt */
	struct trace *trace;
};

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "load: %s\n", what);
	abort();
}

static struct book *book_of(struct load *load)
{
	return &load->book[load->site];
}

static struct book_mark *mark_of(struct load *load)
{
	return &load->world.site[load->site];
}

static const char *below(struct load *load, const char *name)
{
	snprintf(load->path, sizeof(load->path), "%s/%s", load->root, name);
	return load->path;
}

static int chance(struct load *load, int below_number)
{
	return (int)rig_random(&load->random, (uint64_t)below_number);
}

static void acknowledge(struct load *load)
{
	mark_of(load)->head = store_head(load->rig.store);
	mark_of(load)->compacted = store_compacted(load->rig.store);
	mark_of(load)->alarms = store_alarms(load->rig.store);
	trace_mark(load->trace, &load->world);
}

/* --- open and close -------------------------------------------------------------------------- */

static void open_store(struct load *load)
{
	char problem[STORE_PROBLEM_BYTES];
	char pragmas[128];
	struct rig *rig = &load->rig;
	const char *synchronous = load->options->synchronous;

	if (store_open(&rig->config, &rig->store, problem))
		must(false, problem);
	snprintf(pragmas, sizeof(pragmas), "PRAGMA synchronous=%s",
		 synchronous ? synchronous : "FULL");
	rig->store->writer->checkpoint.fold_pages = CHECKPOINT_PAGES;
	must(!conn_exec(&rig->store->writer->conn, pragmas), "pragmas");
	must(!store_reader_new(rig->store, &rig->reader), "no reader");
	must(!store_start(rig->store), "no start");
	mark_of(load)->exists = true;
	mark_of(load)->term = store_identity(rig->store).term;
	mark_of(load)->cluster_id = store_identity(rig->store).cluster_id;
	/* What was tried in vain is there, or its revision is given out again. */
	for (size_t i = load->doubt; i && i < load->trace->count; i++)
		load->trace->events[i].world.unknown = store_head(rig->store) < book_of(load)->last;
	load->doubt = 0;
	mark_of(load)->head_max = 0;
	book_of(load)->last = store_head(rig->store);
	acknowledge(load);
}

/* --- ops, one by one or as a group ----------------------------------------------------------- */

struct step {
	struct rig_op rig_op;
	int key;
	int key_end;
	uint32_t value;
	int lease; /* bit; -1: none */
	struct request requests[2];
	char text[2][BOOK_KEY_BYTES];
	uint8_t *room;
};

static void make_put(struct load *load, struct step *step)
{
	unsigned leases = mark_of(load)->leases;

	step->key = chance(load, BOOK_KEYS);
	step->value = book_value_new(book_of(load));
	step->lease = chance(load, BOOK_LEASES);
	if (!(leases & 1u << step->lease) || chance(load, 2))
		step->lease = -1;
	step->room = malloc(BOOK_VALUE_BYTES_MAX);
	must(step->room, "out of memory");
	step->rig_op.op.kind = OP_PUT;
	step->rig_op.op.in.put = (struct put_op){
		.key = book_key(step->key, step->text[0]),
		.value = book_value(step->value, step->room),
		.lease = step->lease < 0 ? 0 : LEASE_OF(step->lease),
	};
}

static void make_delete(struct load *load, struct step *step)
{
	step->key = chance(load, BOOK_KEYS);
	step->key_end = step->key + 1 + chance(load, 3);
	step->rig_op.op.kind = OP_DELETE;
	step->rig_op.op.in.delete_range = (struct delete_op){
		.key = book_key(step->key, step->text[0]),
		.end = book_key(step->key_end, step->text[1]),
	};
}

/* A put and a deletion of other keys, in one revision. */
static void make_txn(struct load *load, struct step *step)
{
	struct step put = {0};

	make_put(load, &put);
	put.rig_op.op.in.put.key = book_key(put.key, step->text[0]);
	step->key = put.key;
	step->key_end = (put.key + 1 + chance(load, BOOK_KEYS - 1)) % BOOK_KEYS;
	step->value = put.value;
	step->lease = put.lease;
	step->room = put.room;
	step->requests[0] = (struct request){REQUEST_PUT, .as.put = put.rig_op.op.in.put};
	step->requests[1] = (struct request){
		REQUEST_DELETE, .as.delete_range = {.key = book_key(step->key_end, step->text[1])}};
	step->rig_op.op.kind = OP_TXN;
	step->rig_op.op.arena = &load->rig.arena;
	step->rig_op.op.in.txn.success = step->requests;
	step->rig_op.op.in.txn.success_count = 2;
}

static void make_step(struct load *load, struct step *step)
{
	int kind = chance(load, 10);

	*step = (struct step){.lease = -1};
	if (kind < 6)
		make_put(load, step);
	else if (kind < 8)
		make_delete(load, step);
	else
		make_txn(load, step);
}

static void note_step(struct load *load, struct step *step)
{
	struct op *op = &step->rig_op.op;
	struct book *book = book_of(load);
	int64_t lease = step->lease < 0 ? 0 : LEASE_OF(step->lease);

	must(!op->err, err_name(op->err));
	switch ((int)op->kind) {
	case OP_PUT:
		book_put(book, op->out.put.revision, step->key, step->value, lease);
		break;
	case OP_DELETE:
		for (int key = step->key; key < step->key_end && key < BOOK_KEYS; key++)
			if (op->out.delete_range.deleted)
				book_delete(book, op->out.delete_range.revision, key);
		break;
	case OP_TXN:
		book_put(book, op->out.txn.revision, step->key, step->value, lease);
		book_delete(book, op->out.txn.revision, step->key_end);
		break;
	default:
		must(false, "an op of no kind");
	}
	free(step->room);
}

static enum err wait_for(struct apply *apply, void *context)
{
	(void)apply;
	sem_wait(context);
	return ERR_OK;
}

/* Some ops in one commit for sure: an op ahead of them holds the writer until all are queued. */
static void do_group(struct load *load, int count)
{
	struct step steps[GROUP_OPS_MAX];
	struct rig_op gate = {.op = {.kind = OP_APPLY}};
	sem_t queued;

	sem_init(&queued, 0, 0);
	gate.op.in.apply.fn = wait_for;
	gate.op.in.apply.context = &queued;
	if (count > 1)
		must(!rig_submit(&load->rig, &gate), "submit");
	for (int i = 0; i < count; i++) {
		make_step(load, &steps[i]);
		must(!rig_submit(&load->rig, &steps[i].rig_op), "submit");
	}
	sem_post(&queued);
	if (count > 1)
		must(!rig_wait(&gate), "the gate");
	for (int i = 0; i < count; i++) {
		rig_wait(&steps[i].rig_op);
		note_step(load, &steps[i]);
	}
	sem_destroy(&queued);
	acknowledge(load);
	rig_forget(&load->rig);
}

static void do_lease(struct load *load)
{
	int bit = chance(load, BOOK_LEASES);
	struct book *book = book_of(load);
	struct op op = {.kind = OP_LEASE_REVOKE, .in.lease_revoke = {LEASE_OF(bit)}};
	bool lives = mark_of(load)->leases & 1u << bit;

	mark_of(load)->leases ^= 1u << bit;
	if (!lives) {
		must(!rig_grant(&load->rig, LEASE_OF(bit), BOOK_LEASE_TTL), "grant");
	} else {
		must(!rig_do(&load->rig, &op), "revoke");
		for (int key = 0; key < BOOK_KEYS; key++)
			if (book->cells[book->last - book->first][key].lease == LEASE_OF(bit))
				book_delete(book, op.revision, key);
	}
	acknowledge(load);
}

static void do_alarm(struct load *load)
{
	struct op op = {.kind = chance(load, 2) ? OP_ALARM_SET : OP_ALARM_CLEAR,
			.in.alarm = ALARM_NOSPACE};

	must(!rig_do(&load->rig, &op), "alarm");
	acknowledge(load);
	op.kind = OP_ALARM_CLEAR; /* puts are wanted */
	must(!rig_do(&load->rig, &op), "alarm");
	acknowledge(load);
}

static void do_compact(struct load *load)
{
	int64_t head = store_head(load->rig.store);
	int64_t from = store_compacted(load->rig.store);

	if (from < book_of(load)->first)
		from = book_of(load)->first;
	if (head - from < 4)
		return;
	must(!rig_compact(&load->rig, from + 1 + chance(load, (int)(head - from)), true),
	     "compact");
	acknowledge(load);
}

static void do_steps(struct load *load, int count)
{
	for (int i = 0; i < count; i++) {
		int kind = chance(load, 20);

		if (kind < 12)
			do_group(load, 1);
		else if (kind < 16)
			do_group(load, 2 + chance(load, GROUP_OPS_MAX - 1));
		else if (kind < 18)
			do_lease(load);
		else if (kind < 19)
			do_alarm(load);
		else
			do_compact(load);
	}
}

/* --- the big things -------------------------------------------------------------------------- */

static void do_defragment(struct load *load)
{
	struct op op = {.kind = OP_DEFRAGMENT};

	must(!rig_do(&load->rig, &op), "defragment");
	acknowledge(load);
}

static void do_restart(struct load *load)
{
	rig_down(&load->rig);
	open_store(load);
}

/* A sync fails: the store stops, and what it tried is not acknowledged. */
static void do_failed_sync(struct load *load)
{
	int64_t next = store_head(load->rig.store) + 1;
	struct step step;
	struct op *op = &step.rig_op.op;

	make_step(load, &step);
	load->doubt = load->trace->count;
	mark_of(load)->head_max = next;
	trace_mark(load->trace, &load->world);
	load->trace->sync_fails_in = 1;
	must(!rig_submit(&load->rig, &step.rig_op), "submit");
	rig_wait(&step.rig_op);
	if (load->trace->sync_fails_in) { /* a deletion of nothing */
		load->trace->sync_fails_in = 0;
		load->doubt = 0;
		mark_of(load)->head_max = 0;
		note_step(load, &step);
		acknowledge(load);
		return;
	}
	must(op->err == ERR_STOPPED, "a sync failed and the store went on");
	op->err = ERR_OK;
	if (op->kind == OP_PUT)
		op->out.put.revision = next;
	else if (op->kind == OP_DELETE)
		op->out.delete_range = (struct delete_result){.revision = next, .deleted = 1};
	else
		op->out.txn.revision = next;
	note_step(load, &step);
}

static void do_snapshots(struct load *load)
{
	char data_dir[2 * TRACE_PATH_BYTES], problem[STORE_PROBLEM_BYTES];

	must(!store_snapshot_write(load->rig.reader, below(load, "site/snapshot0")), "snapshot");
	load->world.snapshot_head[0] = store_head(load->rig.store);
	load->snapshot_leases = load->world.site[0].leases;
	acknowledge(load);
	do_steps(load, 3);
	snprintf(data_dir, sizeof(data_dir), "%s/%s", load->root, LOAD_DATA);
	if (store_snapshot_save(data_dir, below(load, "site/snapshot1"), problem))
		must(false, problem);
	load->world.snapshot_head[1] = store_head(load->rig.store);
	acknowledge(load);
}

/* The restored store keeps the rows of the snapshot and moves its head forward. */
static void do_restore(struct load *load)
{
	char data_dir[2 * TRACE_PATH_BYTES], problem[STORE_PROBLEM_BYTES];
	int64_t head = load->world.snapshot_head[0];
	const struct book *old = &load->book[0];
	struct book *book = &load->book[1];
	struct book_mark *mark = &load->world.site[1];

	snprintf(data_dir, sizeof(data_dir), "%s/%s", load->root, LOAD_RESTORED);
	if (store_snapshot_restore(below(load, "site/snapshot0"), data_dir, 1000, problem))
		must(false, problem);
	book_init(book, head + 1000);
	book->value_count = load->book[0].value_count;
	memcpy(book->cells[0], old->cells[head - old->first], sizeof(book->cells[0]));
	*mark = (struct book_mark){.exists = true,
				   .head = head + 1000,
				   .compacted = head + 1000,
				   .leases = load->snapshot_leases};
	trace_mark(load->trace, &load->world);
	load->site = 1;
	load->rig.config.data_dir = data_dir;
	open_store(load);
	do_steps(load, load->options->steps / 2);
	rig_down(&load->rig);
	load->site = 0;
}

/* --- lives of the server, a process each ------------------------------------------------------ */

static void first_life(struct load *load)
{
	int steps = load->options->steps;

	open_store(load);
	do_steps(load, 2 * steps);
	do_defragment(load);
	do_steps(load, steps);
	do_restart(load);
	do_steps(load, steps);
	do_failed_sync(load); /* and the process ends at once */
}

static void second_life(struct load *load)
{
	open_store(load);
	do_steps(load, load->options->steps);
	do_failed_sync(load);
	rig_down(&load->rig); /* in good order, as kedge does */
}

static void third_life(struct load *load)
{
	open_store(load);
	do_steps(load, load->options->steps); /* and the process ends at once */
}

static void last_life(struct load *load)
{
	open_store(load);
	do_snapshots(load);
	do_steps(load, 2);
	do_restart(load);
	do_steps(load, 2);
	rig_down(&load->rig);
	do_restore(load);
}

static void live(struct load *load, void (*life)(struct load *load))
{
	char data_dir[2 * TRACE_PATH_BYTES];

	rig_open(&load->rig); /* for its clock and arena */
	rig_down(&load->rig);
	rig_remove_folder(load->rig.dir);
	snprintf(data_dir, sizeof(data_dir), "%s/%s", load->root, LOAD_DATA);
	load->rig.config.data_dir = data_dir;
	load->rig.config.no_fsync = false;
	trace_start(load->trace, load->root);
	life(load);
	trace_stop();
	_exit(0);
}

void load_run(const struct load_options *options, const char *root, struct book *book,
	      struct trace *trace)
{
	static void (*const lives[])(struct load *) = {first_life, second_life, third_life,
						       last_life};
	struct load *load = trace_share(sizeof(*load));

	load->options = options;
	load->random.state = options->seed;
	load->book = book;
	load->trace = trace;
	strncpy(load->root, root, sizeof(load->root) - 1);
	book_init(&book[0], 1);
	for (int site = 0; site < TRACE_SITES; site++)
		load->world.site[site] = (struct book_mark){.head = 1, .compacted = -1};
	trace_mark(trace, &load->world);
	for (size_t i = 0; i < sizeof(lives) / sizeof(*lives); i++) {
		int status = 0;
		pid_t child = fork();

		must(child >= 0, "no process");
		if (!child)
			live(load, lives[i]);
		must(waitpid(child, &status, 0) == child && WIFEXITED(status) &&
			     !WEXITSTATUS(status),
		     "a life ended badly");
	}
}
