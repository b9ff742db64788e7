/* SPDX-License-Identifier: Apache-2.0 */
/* power.c - cuts the power at every point of a workload and looks at every state in which the disk
 * may be: the store opens it, has all that was acknowledged, nothing half, and goes on.
 *
 *	power [--seed N] [--steps N] [--rounds N] [--only EVENT.ROUND] [--keep FOLDER]
 *	      [--near-failed-syncs] [--quiet]
 *	      [--synchronous OFF|NORMAL] [--drop-syncs] [--drop-folder-syncs] [--drop-syncs-of END]
 *
 * The last line but for counts is "N passed, N failed"; N are states of the disk. */
#include "tests/disk/load.h"
#include "tests/disk/states.h"

#include "shim/store/internal.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAILURES_SHOWN 20
#define NEAR_EVENTS 60
#define SEEN_BITS 20 /* of the table of states that were looked at */

struct power {
	struct load_options load;
	int rounds;
	long only_event; /* < 0: all */
	long only_round;
	const char *keep;
	bool quiet;
	bool near_failed_syncs; /* cut the power only soon after these */

	struct trace *trace; /* shared, like the books */
	struct book *book;
	struct disk_model *model;
	struct rig rig; /* opens the states */
	char folder[TRACE_PATH_BYTES];
	uint64_t *seen;
	size_t kinds[CHOICE_KIND_COUNT]; /* states looked at, of each kind */
	size_t passed, failed, again;
};

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "power: %s\n", what);
	abort();
}

/* --- one state ------------------------------------------------------------------------------- */

/* It takes part in life again: a put, a lease, a deletion, a compaction, and all of it stays. */
static bool goes_on(struct power *power, int64_t head, char *why)
{
	struct rig *rig = &power->rig;
	struct op put = {.kind = OP_PUT, .in.put = {BYTES_LITERAL("z"), BYTES_LITERAL("1")}};
	struct op clear = {.kind = OP_ALARM_CLEAR, .in.alarm = ALARM_NOSPACE};
	struct op drop = {.kind = OP_DELETE, .in.delete_range = {.key = BYTES_LITERAL("key00")}};
	char problem[STORE_PROBLEM_BYTES];
	const struct kv *kv;
	enum err e = rig_do(rig, &clear);

	if (!e)
		e = rig_do(rig, &put);
	if (!e && put.out.put.revision != head + 1) {
		snprintf(why, BOOK_WHY_BYTES, "the next revision is %lld after %lld",
			 (long long)put.out.put.revision, (long long)head);
		return false;
	}
	if (!e)
		e = rig_grant(rig, 999, 100);
	if (!e)
		e = rig_do(rig, &drop);
	if (!e)
		e = rig_compact(rig, head + 1, true);
	if (e) {
		snprintf(why, BOOK_WHY_BYTES, "it does not go on: %s", err_name(e));
		return false;
	}
	rig_down(rig);
	e = rig_up(rig, problem);
	if (e) {
		snprintf(why, BOOK_WHY_BYTES, "it does not open again: %.400s", problem);
		return false;
	}
	kv = rig_get(rig, "z", 0);
	snprintf(why, BOOK_WHY_BYTES, "what was written after it is not there");
	return kv && kv->mod_revision == head + 1 && store_compacted(rig->store) == head + 1;
}

static bool check_site(struct power *power, int site, const struct world *before,
		       const struct world *after, char *why)
{
	static const char *const names[TRACE_SITES] = {LOAD_DATA, LOAD_RESTORED};
	struct rig *rig = &power->rig;
	char path[4 * TRACE_PATH_BYTES], problem[STORE_PROBLEM_BYTES];
	struct stat status;
	bool good;

	snprintf(path, sizeof(path), "%s/%s/" STORE_DB_NAME, power->folder, names[site]);
	if (site && !before->site[site].exists && stat(path, &status))
		return true; /* the restore was not through */
	path[strlen(path) - strlen("/" STORE_DB_NAME)] = 0;
	rig->config.data_dir = path;
	if (rig_up(rig, problem)) {
		snprintf(why, BOOK_WHY_BYTES, "%s does not open: %.400s", names[site], problem);
		return false;
	}
	good = book_check(&power->book[site], &before->site[site], &after->site[site], rig, why) &&
	       goes_on(power, store_head(rig->store), why);
	rig_down(rig);
	rig_forget(rig);
	return good;
}

static bool check_snapshot(struct power *power, int number, const struct world *before, char *why)
{
	char path[2 * TRACE_PATH_BYTES], problem[STORE_PROBLEM_BYTES];
	struct snapshot_status found;
	struct stat status;

	snprintf(path, sizeof(path), "%s/site/snapshot%d", power->folder, number);
	if (!before->snapshot_head[number] && stat(path, &status))
		return true;
	if (store_snapshot_status(path, &found, problem)) {
		snprintf(why, BOOK_WHY_BYTES, "snapshot %d: %.400s", number, problem);
		return false;
	}
	if (!before->snapshot_head[number] || found.revision == before->snapshot_head[number])
		return true;
	snprintf(why, BOOK_WHY_BYTES, "snapshot %d is of revision %lld, not %lld", number,
		 (long long)found.revision, (long long)before->snapshot_head[number]);
	return false;
}

static void make_folder(const char *path)
{
	rig_remove_folder(path);
	must(!mkdir(path, 0700), path);
}

static bool check_state(struct power *power, const struct choice *choice,
			const struct world *before, const struct world *after, char *why)
{
	bool good = true;

	make_folder(power->folder);
	disk_write(power->model, choice, power->folder);
	for (int number = 0; number < TRACE_SNAPSHOTS && good; number++)
		good = check_snapshot(power, number, before, why);
	for (int site = 0; site < TRACE_SITES && good; site++)
		good = check_site(power, site, before, after, why);
	if (!good && power->keep) { /* as it was found */
		make_folder(power->keep);
		disk_write(power->model, choice, power->keep);
	}
	return good;
}

/* --- all states ------------------------------------------------------------------------------ */

/* False when the state was looked at before, between the same marks. */
static bool is_new(struct power *power, uint64_t hash)
{
	size_t mask = ((size_t)1 << SEEN_BITS) - 1;

	hash |= !hash;
	for (size_t i = hash & mask, tries = 0; tries < 64; i = (i + 1) & mask, tries++) {
		if (power->seen[i] == hash)
			return false;
		if (!power->seen[i]) {
			power->seen[i] = hash;
			return true;
		}
	}
	return true; /* the table is full there: looked at once more */
}

static struct choice choose(struct power *power, size_t event, long round)
{
	struct rig_random random = {power->load.seed ^ event << 20 ^ (uint64_t)round};
	size_t pending = disk_pending(power->model);
	struct choice choice = {.seed = rig_random(&random, 0)};

	if (round < 2) {
		choice.kind = round ? CHOICE_ALL : CHOICE_NONE;
	} else if (pending <= 4 && round - 2 < 1l << pending) {
		choice.kind = CHOICE_SUBSET_NUMBER;
		choice.number = (uint64_t)round - 2;
	} else {
		choice.kind = CHOICE_PREFIX + (enum choice_kind)rig_random(&random, 5);
		choice.number = rig_random(&random, pending + 1);
		if (round == 2) { /* the newest write is torn */
			choice.kind = CHOICE_PREFIX;
			choice.number = pending - 1;
		}
	}
	return choice;
}

static void cut_power(struct power *power, size_t event, const struct world *before,
		      const struct world *after)
{
	for (long round = 0; round < power->rounds; round++) {
		struct choice choice = choose(power, event, round);
		char why[BOOK_WHY_BYTES] = "";

		if (power->only_round >= 0 && round != power->only_round)
			continue;
		if (!is_new(power, disk_hash(power->model, &choice) + before->site[0].head)) {
			power->again++;
			continue;
		}
		power->kinds[choice.kind]++;
		if (check_state(power, &choice, before, after, why)) {
			power->passed++;
			continue;
		}
		if (power->failed++ < FAILURES_SHOWN && !power->quiet)
			printf("event %zu of %zu, %s of %zu pending: %s\n"
			       "  again: --seed %llu --steps %d --only %zu.%ld\n",
			       event, power->trace->count, choice_name(choice.kind),
			       disk_pending(power->model), why,
			       (unsigned long long)power->load.seed, power->load.steps, event,
			       round);
	}
}

static const struct world *next_mark(const struct trace *trace, size_t from)
{
	while (from < trace->count && !trace->events[from].is_mark)
		from++;
	return from < trace->count ? &trace->events[from].world : NULL;
}

static void replay(struct power *power)
{
	const struct trace *trace = power->trace;
	const struct world *before = next_mark(trace, 0);
	size_t failed_sync = 0;

	for (size_t i = 0; i < trace->count; i++) {
		const struct trace_event *event = &trace->events[i];
		const struct world *after = next_mark(trace, i + 1);

		if (event->is_mark)
			before = &event->world;
		else
			disk_apply(power->model, event);
		if (!event->is_mark && event->failed)
			failed_sync = i;
		if (before->unknown)
			continue;
		if (power->near_failed_syncs && i > failed_sync + NEAR_EVENTS)
			continue;
		if (power->only_event < 0 || (size_t)power->only_event == i)
			cut_power(power, i, before, after ? after : before);
	}
}

/* --- the program ----------------------------------------------------------------------------- */

static bool parse(struct power *power, int count, char **args)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},
		{"steps", required_argument, NULL, 'n'},
		{"rounds", required_argument, NULL, 'r'},
		{"only", required_argument, NULL, 'o'},
		{"keep", required_argument, NULL, 'k'},
		{"synchronous", required_argument, NULL, 'y'},
		{"drop-syncs", no_argument, NULL, 'd'},
		{"drop-folder-syncs", no_argument, NULL, 'f'},
		{"drop-syncs-of", required_argument, NULL, 'e'},
		{"quiet", no_argument, NULL, 'q'},
		{"near-failed-syncs", no_argument, NULL, 'a'},
		{0},
	};
	int option;

	while ((option = getopt_long(count, args, "", options, NULL)) >= 0) {
		if (option == 's')
			power->load.seed = strtoull(optarg, NULL, 0);
		else if (option == 'n')
			power->load.steps = (int)strtol(optarg, NULL, 0);
		else if (option == 'r')
			power->rounds = (int)strtol(optarg, NULL, 0);
		else if (option == 'o' &&
			 sscanf(optarg, "%ld.%ld", &power->only_event, &power->only_round) == 2)
			continue;
		else if (option == 'k')
			power->keep = optarg;
		else if (option == 'y')
			power->load.synchronous = optarg;
		else if (option == 'd')
			power->trace->drop_syncs = true;
		else if (option == 'f')
			power->trace->drop_folder_syncs = true;
		else if (option == 'e')
			power->trace->drop_syncs_of = optarg;
		else if (option == 'q')
			power->quiet = true;
		else if (option == 'a')
			power->near_failed_syncs = true;
		else
			return false;
	}
	if (power->only_round >= power->rounds)
		power->rounds = (int)power->only_round + 1;
	return optind == count;
}

static void report(const struct power *power)
{
	size_t writes = 0, syncs = 0, marks = 0;

	for (size_t i = 0; i < power->trace->count; i++) {
		const struct trace_event *event = &power->trace->events[i];

		marks += event->is_mark;
		writes += !event->is_mark && event->op == TAP_WRITE;
		syncs += !event->is_mark && (event->op == TAP_SYNC || event->op == TAP_SYNC_FOLDER);
	}
	printf("%zu writes, %zu syncs, %zu acknowledgements, %lld revisions; states:", writes,
	       syncs, marks, (long long)power->book[0].last);
	for (int kind = 0; kind < CHOICE_KIND_COUNT; kind++)
		printf(" %s %zu%s", choice_name((enum choice_kind)kind), power->kinds[kind],
		       kind + 1 < CHOICE_KIND_COUNT ? "," : "");
	printf("; %zu were the same as another\n", power->again);
	printf("%zu passed, %zu failed\n", power->passed, power->failed);
}

int main(int count, char **args)
{
	struct power *power = calloc(1, sizeof(*power));
	char root[TRACE_PATH_BYTES];
	const char *base = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
	bool good;

	must(power, "out of memory");
	power->trace = trace_share(sizeof(*power->trace));
	power->book = trace_share(TRACE_SITES * sizeof(*power->book));
	trace_init(power->trace);
	power->load.steps = 30;
	power->rounds = 4;
	power->only_event = power->only_round = -1;
	if (!parse(power, count, args)) {
		fprintf(stderr, "power: see the head of tests/disk/power.c for its options\n");
		return 2;
	}
	if (!power->load.seed)
		power->load.seed = rig_seed();
	snprintf(root, sizeof(root), "%s/kedge-power-XXXXXX", base);
	must(mkdtemp(root), "no temporary folder");
	snprintf(power->folder, sizeof(power->folder), "%.80s.state", root);
	power->seen = calloc((size_t)1 << SEEN_BITS, sizeof(*power->seen));
	power->model = disk_new();
	must(power->seen && power->model, "out of memory");
	tap_install(); /* before the VFS of the store, which stands on the default one */
	load_run(&power->load, root, power->book, power->trace);
	rig_open(&power->rig); /* for its clock */
	rig_down(&power->rig);
	rig_remove_folder(power->rig.dir);
	replay(power);
	report(power);
	good = !power->failed;
	disk_free(power->model);
	trace_fini(power->trace);
	arena_fini(&power->rig.arena);
	rig_remove_folder(power->folder);
	rig_remove_folder(root);
	free(power->seen);
	free(power);
	return good ? 0 : 1;
}
