/* SPDX-License-Identifier: Apache-2.0 */
/* faults.c - every operation on files of a short workload fails once: the first, the second, and so
 * on, each with every error it can have, once or from then on.
 *
 *	faults [--seed N] [--every N] [--only OP.VERDICT.STICKY.NUMBER]
 *
 * What must hold: a failing call is answered with an error that says so; what was acknowledged is
 * there after a restart on a sound disk; what was refused for want of space is not; the restart
 * works and the store goes on. */
#include "tests/disk/load.h"

#include "shim/store/internal.h"
#include "shim/store/writer.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAILURES_SHOWN 20
#define FOLD_PAGES 12
#define FIRST_RUNS 20 /* from here on every so many calls */

static const struct {
	enum tap_op op;
	int verdict;
} plans[] = {
	{TAP_READ, EIO},     {TAP_READ, TAP_SHORT}, {TAP_WRITE, EIO},	    {TAP_WRITE, ENOSPC},
	{TAP_TRUNCATE, EIO}, {TAP_SYNC, EIO},	    {TAP_SYNC_FOLDER, EIO}, {TAP_OPEN, EIO},
	{TAP_SHM, EIO},	     {TAP_SIZE, EIO},	    {TAP_CREATE, ENOSPC},   {TAP_CREATE, EROFS},
	{TAP_MKDIR, ENOSPC}, {TAP_RENAME, EIO},	    {TAP_UNLINK, EIO},
};

#define PLAN_COUNT (sizeof(plans) / sizeof(*plans))

struct faults {
	size_t plan;
	bool is_sticky;
	long at;    /* the call that fails */
	long calls; /* of the kind so far */
	long hits;
	long every;
	long only[4]; /* < 0: all */
	struct rig rig;
	struct book *book;
	char root[64];
	char dir[96];
	struct book_mark acked, tried;
	size_t passed, failed;
	size_t refused_open, stopped, no_space, unhurt; /* how runs ended */
};

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "faults: %s\n", what);
	abort();
}

static int decide(void *context, const struct tap_call *call)
{
	struct faults *faults = context;

	if (call->op != plans[faults->plan].op)
		return TAP_DO;
	faults->calls++;
	if (faults->calls < faults->at || (faults->calls > faults->at && !faults->is_sticky))
		return TAP_DO;
	faults->hits++;
	return plans[faults->plan].verdict;
}

/* --- the workload ----------------------------------------------------------------------------- */

/* One op; false when the store is of no use any more. */
static bool attempt(struct faults *faults, struct op *op, char *why)
{
	struct op clear = {.kind = OP_ALARM_CLEAR, .in.alarm = ALARM_NOSPACE};
	int64_t head = store_head(faults->rig.store);
	enum err e = rig_do(&faults->rig, op);

	if (!e) {
		faults->acked = faults->tried;
		return true;
	}
	if (e == ERR_STOPPED || (err_is_fault(e) && atomic_load(&faults->rig.store->stopped))) {
		faults->stopped++;
		return false;
	}
	if (store_head(faults->rig.store) != head)
		snprintf(why, BOOK_WHY_BYTES, "an op is answered %s and has moved the head",
			 err_name(e));
	if (e != ERR_NO_SPACE && !err_is_fault(e))
		snprintf(why, BOOK_WHY_BYTES, "an op is answered %s", err_name(e));
	/* A compaction may be in force though its rows could not be swept. */
	if (op->kind != OP_COMPACT)
		faults->tried = faults->acked;
	faults->book->last = head;
	faults->no_space += e == ERR_NO_SPACE;
	return !rig_do(&faults->rig, &clear) && !*why;
}

static bool put(struct faults *faults, int key, int64_t lease, char *why)
{
	char room[BOOK_KEY_BYTES];
	uint8_t *value = malloc(BOOK_VALUE_BYTES_MAX);
	uint32_t number = book_value_new(faults->book);
	struct op op = {.kind = OP_PUT, .in.put = {.key = book_key(key, room), .lease = lease}};
	int64_t revision = store_head(faults->rig.store) + 1;
	bool good;

	must(value, "out of memory");
	op.in.put.value = book_value(number, value);
	if (lease && !(faults->acked.leases & 1u << (lease - BOOK_LEASE_FIRST)))
		op.in.put.lease = lease = 0;
	book_put(faults->book, revision, key, number, lease);
	faults->tried.head = revision;
	good = attempt(faults, &op, why);
	free(value);
	return good;
}

static bool grant(struct faults *faults, int bit, char *why)
{
	struct op op = {.kind = OP_LEASE_GRANT,
			.in.lease_grant = {BOOK_LEASE_FIRST + bit, BOOK_LEASE_TTL}};

	faults->tried.leases |= 1u << bit;
	return attempt(faults, &op, why);
}

static bool compact(struct faults *faults, char *why)
{
	int64_t revision = store_head(faults->rig.store) - 3;
	struct op op = {.kind = OP_COMPACT, .in.compact = {revision, true}};

	if (revision <= store_compacted(faults->rig.store))
		return true;
	faults->tried.compacted = revision;
	return attempt(faults, &op, why);
}

static bool some_puts(struct faults *faults, int first, int count, char *why)
{
	for (int i = 0; i < count; i++)
		if (!put(faults, (first + i) % 12, i % 3 ? 0 : BOOK_LEASE_FIRST, why))
			return false;
	return true;
}

/* A snapshot that fails is refused, and leaves nothing behind. */
static bool snapshot(struct faults *faults, char *why)
{
	char path[128], problem[STORE_PROBLEM_BYTES];
	struct snapshot_status status;
	enum err e;

	snprintf(path, sizeof(path), "%s/snapshot", faults->root);
	e = store_snapshot_write(faults->rig.reader, path);
	tap_set(NULL, NULL);
	if (!e && store_snapshot_status(path, &status, problem))
		snprintf(why, BOOK_WHY_BYTES, "a snapshot that was saved is: %.300s", problem);
	return !*why;
}

static bool open_store(struct faults *faults, char *problem)
{
	struct rig *rig = &faults->rig;

	if (store_open(&rig->config, &rig->store, problem))
		return false;
	rig->store->writer->checkpoint.fold_pages = FOLD_PAGES;
	if (store_reader_new(rig->store, &rig->reader) || store_start(rig->store)) {
		store_close(rig->store);
		rig->store = NULL;
		snprintf(problem, STORE_PROBLEM_BYTES, "no reader");
		return false;
	}
	faults->acked.cluster_id = faults->tried.cluster_id = store_identity(rig->store).cluster_id;
	faults->acked.term = faults->tried.term = store_identity(rig->store).term;
	return true;
}

static void run(struct faults *faults, char *why)
{
	struct op defragment = {.kind = OP_DEFRAGMENT};
	char problem[STORE_PROBLEM_BYTES] = "";
	const struct tap tap = {.before = decide, .context = faults};

	tap_set(&tap, faults->root);
	for (int life = 0; life < 2; life++) {
		if (!open_store(faults, problem)) {
			faults->refused_open++;
			if (!problem[0])
				snprintf(why, BOOK_WHY_BYTES,
					 "it does not say why it does not open");
			break;
		}
		if (!some_puts(faults, 0, 14, why) || !grant(faults, life, why) ||
		    !some_puts(faults, 3, 10, why) || !compact(faults, why) ||
		    !attempt(faults, &defragment, why) || !some_puts(faults, 6, 8, why))
			break;
		if (life && !snapshot(faults, why))
			break;
		if (!life)
			rig_down(&faults->rig);
	}
	tap_set(NULL, NULL);
	if (faults->rig.store)
		rig_down(&faults->rig);
}

/* --- one fault -------------------------------------------------------------------------------- */

static void after_repair(struct faults *faults, char *why)
{
	char problem[STORE_PROBLEM_BYTES] = "";
	struct op put = {.kind = OP_PUT, .in.put = {BYTES_LITERAL("z"), BYTES_LITERAL("1")}};
	struct rig *rig = &faults->rig;

	if (rig_up(rig, problem)) {
		snprintf(why, BOOK_WHY_BYTES, "on a sound disk it does not open: %.400s", problem);
		return;
	}
	if (book_check(faults->book, &faults->acked, &faults->tried, rig, why) &&
	    (rig_do(rig, &put) || rig_compact(rig, put.out.put.revision, true)))
		snprintf(why, BOOK_WHY_BYTES, "on a sound disk it does not go on");
	rig_down(rig);
	rig_forget(rig);
}

static bool one_fault(struct faults *faults, size_t plan, bool is_sticky, long at)
{
	char why[BOOK_WHY_BYTES] = "";

	rig_remove_folder(faults->root);
	must(!mkdir(faults->root, 0700), faults->root);
	book_init(faults->book, 1);
	faults->acked = faults->tried = (struct book_mark){.head = 1, .compacted = -1};
	faults->plan = plan;
	faults->is_sticky = is_sticky;
	faults->at = at;
	faults->calls = faults->hits = 0;
	run(faults, why);
	if (!*why)
		after_repair(faults, why);
	if (!*why) {
		faults->passed++;
		return faults->hits > 0;
	}
	if (faults->failed++ < FAILURES_SHOWN)
		printf("%s, verdict %d, %s, call %ld: %s\n  again: --only %zu.%d.%d.%ld\n",
		       tap_op_name(plans[plan].op), plans[plan].verdict,
		       is_sticky ? "from then on" : "once", at, why, plan, plans[plan].verdict,
		       is_sticky, at);
	return faults->hits > 0;
}

static void one_plan(struct faults *faults, size_t plan, bool is_sticky)
{
	long runs = 0, start_failed = (long)faults->failed;
	bool hit = true;

	/* Up to the first call that the workload does not make. */
	for (long at = 1; hit; at += runs < FIRST_RUNS ? 1 : faults->every) {
		hit = one_fault(faults, plan, is_sticky, at);
		runs++;
	}
	printf("%-12s %4d %-12s: %ld runs, %ld failed\n", tap_op_name(plans[plan].op),
	       plans[plan].verdict, is_sticky ? "from then on" : "once", runs,
	       (long)faults->failed - start_failed);
}

/* --- the program ------------------------------------------------------------------------------ */

static bool parse(struct faults *faults, int count, char **args)
{
	static const struct option options[] = {
		{"every", required_argument, NULL, 'e'},
		{"only", required_argument, NULL, 'o'},
		{0},
	};
	int option;

	while ((option = getopt_long(count, args, "", options, NULL)) >= 0) {
		if (option == 'e')
			faults->every = strtol(optarg, NULL, 0);
		else if (option != 'o' ||
			 sscanf(optarg, "%ld.%ld.%ld.%ld", &faults->only[0], &faults->only[1],
				&faults->only[2], &faults->only[3]) != 4)
			return false;
	}
	return optind == count && faults->every > 0;
}

int main(int count, char **args)
{
	struct faults *faults = calloc(1, sizeof(*faults));
	int status;

	must(faults, "out of memory");
	faults->every = 9;
	faults->only[0] = -1;
	if (!parse(faults, count, args)) {
		fprintf(stderr, "faults: see the head of tests/disk/faults.c for its options\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	tap_install();
	faults->book = calloc(1, sizeof(*faults->book));
	must(faults->book, "out of memory");
	rig_open(&faults->rig); /* for its clock and arena */
	rig_down(&faults->rig);
	rig_remove_folder(faults->rig.dir);
	snprintf(faults->root, sizeof(faults->root), "%.60s", faults->rig.dir);
	snprintf(faults->dir, sizeof(faults->dir), "%s/data", faults->root);
	faults->rig.config.data_dir = faults->dir;
	faults->rig.config.no_fsync = false;
	faults->rig.config.clock = &clock_system; /* pauses of the writer are to pass */
	if (faults->only[0] >= 0)
		one_fault(faults, (size_t)faults->only[0], faults->only[2], faults->only[3]);
	for (size_t plan = 0; plan < PLAN_COUNT && faults->only[0] < 0; plan++) {
		one_plan(faults, plan, false);
		one_plan(faults, plan, true);
	}
	printf("refused to open %zu, stopped %zu, ops without space %zu\n", faults->refused_open,
	       faults->stopped, faults->no_space);
	printf("%zu passed, %zu failed\n", faults->passed, faults->failed);
	status = faults->failed ? 1 : 0;
	rig_remove_folder(faults->root);
	arena_fini(&faults->rig.arena);
	free(faults->book);
	free(faults);
	return status;
}
