/* SPDX-License-Identifier: Apache-2.0 */
/* load WORKLOAD port=N [name=value ...] : loads one server from one thread; one line of JSON.
 *
 * put, get, list (one page), stream (RangeStream), update (compare-and-swap as kube-apiserver sends
 * it), keepalive, watch (updates, each waits until all watchers heard of it), mix (16 updates, 3
 * gets, 1 page of a list), fill (creates the keys), create (the same, one by one, as an apiserver).
 * Every answer is checked; one wrong answer makes the exit status 1. */
#include "tests/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VALUE_POOL_BYTES (64u * 1024)
#define DRAIN_NS INT64_C(60000000000)
#define TURN_NS INT64_C(20000000)
#define SECOND_NS INT64_C(1000000000)

/* --- what everybody needs ---------------------------------------------------------------- */

uint64_t bench_random(struct bench *bench, uint64_t below)
{
	bench->random ^= bench->random << 13;
	bench->random ^= bench->random >> 7;
	bench->random ^= bench->random << 17;
	return bench->random % below;
}

struct bytes bench_value(struct bench *bench)
{
	return bytes_of(bench->values + bench_random(bench, VALUE_POOL_BYTES),
			(size_t)bench->options.value);
}

void bench_error(struct bench *bench, const char *problem)
{
	if (!bench->errors++)
		snprintf(bench->first_problem, sizeof bench->first_problem, "%s", problem);
}

void bench_record(struct bench *bench, int64_t ns)
{
	if (!bench->is_measuring)
		return;
	histogram_add(&bench->total.latency, ns);
	histogram_add(&bench->interval.latency, ns);
	bench->total.requests++;
	bench->interval.requests++;
}

/* --- options ----------------------------------------------------------------------------- */

#define OPTION(name)                                                                               \
	{                                                                                          \
#name, offsetof(struct options, name)                                              \
	}
static const struct {
	const char *name;
	size_t offset;
} option_names[] = {
	OPTION(port),	       OPTION(pid),   OPTION(conns),	OPTION(streams), OPTION(seconds),
	OPTION(warmup_ms),     OPTION(keys),  OPTION(value),	OPTION(limit),	 OPTION(watchers),
	OPTION(idle_watchers), OPTION(rate),  OPTION(interval), OPTION(compact), OPTION(batch),
	OPTION(seed),	       OPTION(slots),
};

static void set_option(struct options *options, const char *text)
{
	const char *equals = strchr(text, '=');
	char *end;

	for (size_t i = 0; equals && i < sizeof option_names / sizeof option_names[0]; i++) {
		const char *name = option_names[i].name;
		int64_t value = strtoll(equals + 1, &end, 10);

		if (strlen(name) != (size_t)(equals - text) || strncmp(name, text, strlen(name)))
			continue;
		if (end == equals + 1 || *end || value < 0)
			break;
		memcpy((char *)options + option_names[i].offset, &value, sizeof value);
		return;
	}
	die("no such option: %s", text);
}

static struct options parse(int argc, char **argv)
{
	static const char *const workloads[] = {"put",	 "get", "list", "stream", "update",
						"watch", "mix", "fill", "create", "keepalive"};
	struct options options = {.conns = 1,
				  .streams = 1,
				  .seconds = 5,
				  .warmup_ms = 1000,
				  .keys = 10000,
				  .value = 256,
				  .batch = 100,
				  .seed = 1};

	for (size_t i = 0; argc > 1 && i < sizeof workloads / sizeof workloads[0]; i++) {
		if (!strcmp(workloads[i], argv[1]))
			options.workload = workloads[i];
	}
	if (!options.workload)
		die("usage: load put|get|list|stream|update|watch|mix|keepalive|fill|create "
		    "port=N [name=value ...]");
	for (int i = 2; i < argc; i++)
		set_option(&options, argv[i]);
	if (options.port < 1 || options.port > 65535 || !options.conns || !options.streams)
		die("port=, and at least one connection and stream, are needed");
	if (!options.slots)
		options.slots = options.conns * options.streams;
	if (options.keys < options.slots && options.workload[0] != 'k')
		die("there must be as many keys as requests outstanding");
	if (options.workload[0] == 'f' && (!options.batch || options.keys % options.batch))
		die("keys must be a multiple of batch");
	return options;
}

/* --- the timed part ---------------------------------------------------------------------- */

struct clockwork {
	int64_t begin_ns, end_ns; /* of what is measured */
	int64_t due_ns;		  /* next request of a paced run */
	int64_t line_ns;	  /* next interval line */
	int64_t compact_ns;
	int64_t compact_revision; /* the head at the last compaction */
	struct slot compactor;
	struct process_sample server[2], client[2];
};

static void print_line(const struct bench *bench, const struct tally *tally, double seconds,
		       const struct clockwork *work)
{
	const struct options *o = &bench->options;
	double requests = tally->requests ? (double)tally->requests : 1;
	const struct process_sample *server = work->server, *client = work->client;

	printf("{\"workload\": \"%s\", \"conns\": %ld, \"streams\": %ld, \"keys\": %ld, "
	       "\"value\": %ld, \"seconds\": %.3f, \"requests\": %lu, \"rate\": %.1f, "
	       "\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"events_rate\": %.1f, "
	       "\"cpu_us\": %.3f, \"client_cpu_us\": %.3f, \"written_bytes\": %.1f, "
	       "\"rss_kib\": %ld, \"rss_peak_kib\": %ld, \"errors\": %lu, \"problem\": \"%s\"}\n",
	       o->workload, o->conns, o->streams, o->keys, o->value, seconds, tally->requests,
	       (double)tally->requests / seconds, histogram_us(&tally->latency, 0.5),
	       histogram_us(&tally->latency, 0.99), histogram_us(&tally->latency, 0.999),
	       (double)tally->events / seconds,
	       (double)(server[1].cpu_ns - server[0].cpu_ns) / 1000 / requests,
	       (double)(client[1].cpu_ns - client[0].cpu_ns) / 1000 / requests,
	       (double)(server[1].written_bytes - server[0].written_bytes) / requests,
	       server[1].rss_kib, server[1].rss_peak_kib, bench->errors, bench->first_problem);
	fflush(stdout);
}

static void sample(struct bench *bench, struct clockwork *work, unsigned which)
{
	work->server[which] = process_sample((pid_t)bench->options.pid);
	work->client[which] = process_sample(getpid());
}

static void interval_line(struct bench *bench, struct clockwork *work)
{
	struct clockwork copy = *work;

	sample(bench, &copy, 1);
	copy.server[0] = copy.server[1]; /* a line has no differences, only levels */
	copy.client[0] = copy.client[1];
	print_line(bench, &bench->interval, (double)bench->options.interval, &copy);
	memset(&bench->interval, 0, sizeof bench->interval);
	work->line_ns += bench->options.interval * SECOND_NS;
}

/* Starts what is due; when the next thing is. */
static int64_t tick(struct bench *bench, struct clockwork *work, int64_t now)
{
	const struct options *options = &bench->options;
	int64_t next = now + TURN_NS;

	if (options->rate) {
		while (work->due_ns <= now && bench->idle_count) {
			slots_start_due(bench, work->due_ns);
			work->due_ns += SECOND_NS / options->rate;
		}
		next = work->due_ns > now && work->due_ns < next ? work->due_ns : next;
	}
	if (options->interval && bench->is_measuring && now >= work->line_ns)
		interval_line(bench, work);
	if (options->compact && now >= work->compact_ns) {
		if (work->compact_revision)
			slots_compact(bench, &work->compactor, work->compact_revision);
		work->compact_revision = bench->head;
		work->compact_ns += options->compact * SECOND_NS;
	}
	return next;
}

static void drain(struct bench *bench)
{
	int64_t deadline = now_ns() + DRAIN_NS;

	bench->is_running = false;
	while (bench->active && !bench->errors) {
		links_turn(bench->links, TURN_NS);
		if (now_ns() > deadline)
			bench_error(bench, "requests were never answered");
	}
}

static void begin_measuring(struct bench *bench, struct clockwork *work, int64_t now)
{
	memset(&bench->total, 0, sizeof bench->total);
	memset(&bench->interval, 0, sizeof bench->interval);
	bench->is_measuring = true;
	work->begin_ns = now;
	work->end_ns = now + bench->options.seconds * SECOND_NS;
	work->line_ns = now + bench->options.interval * SECOND_NS;
	sample(bench, work, 0);
}

static void run_timed(struct bench *bench)
{
	const struct options *options = &bench->options;
	struct clockwork *work = calloc(1, sizeof *work);
	int64_t now = now_ns();

	if (!work)
		die("out of memory");
	work->begin_ns = now + options->warmup_ms * 1000000;
	work->due_ns = work->compact_ns = now;
	bench->is_running = true;
	if (options->workload[0] == 'k')
		leases_start(bench);
	else
		slots_start(bench);
	while (!bench->is_measuring || now < work->end_ns) {
		links_turn(bench->links, tick(bench, work, now) - now);
		now = now_ns();
		if (!bench->is_measuring && now >= work->begin_ns)
			begin_measuring(bench, work, now);
	}
	bench->is_measuring = false;
	sample(bench, work, 1);
	drain(bench);
	if (bench->watchers)
		watchers_check(bench);
	print_line(bench, &bench->total, (double)(now - work->begin_ns) / 1e9, work);
	call_fini(&work->compactor.call);
	free(work);
}

/* Fills are timed as a whole. */
static void run_fill(struct bench *bench, enum op op)
{
	struct clockwork *work = calloc(1, sizeof *work);
	int64_t begun = now_ns();

	if (!work)
		die("out of memory");
	bench->is_measuring = true;
	sample(bench, work, 0);
	slots_sweep(bench, op);
	sample(bench, work, 1);
	print_line(bench, &bench->total, (double)(now_ns() - begun) / 1e9, work);
	free(work);
}

static void run(struct bench *bench)
{
	const char *workload = bench->options.workload;

	if (!strcmp(workload, "fill")) {
		run_fill(bench, OP_FILL);
		return;
	}
	if (!strcmp(workload, "create")) {
		run_fill(bench, OP_CREATE);
		return;
	}
	if (workload[0] == 'u' || workload[0] == 'w' || workload[0] == 'm')
		slots_sweep(bench, OP_GET); /* their revisions */
	if (workload[0] == 'k') {
		bench->options.keys = bench->slot_count;
		slots_sweep(bench, OP_GRANT);
	}
	if (bench->options.watchers || bench->options.idle_watchers)
		watchers_open(bench);
	if (!bench->errors)
		run_timed(bench);
}

int main(int argc, char **argv)
{
	struct bench *bench = calloc(1, sizeof *bench);
	int status;

	if (!bench)
		die("out of memory");
	bench->options = parse(argc, argv);
	bench->random = UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)(bench->options.seed + 1);
	bench->values = malloc((size_t)bench->options.value + VALUE_POOL_BYTES);
	if (!bench->values)
		die("out of memory");
	for (size_t i = 0; i < (size_t)bench->options.value + VALUE_POOL_BYTES; i++)
		bench->values[i] = (uint8_t)bench_random(bench, 256);
	slots_open(bench);
	bench->links = links_open((uint16_t)bench->options.port, (unsigned)bench->options.conns);
	run(bench);
	if (bench->errors)
		fprintf(stderr, "load: %lu errors, the first: %s\n", bench->errors,
			bench->first_problem);
	if (bench->watchers)
		watchers_close(bench);
	links_close(bench->links);
	slots_close(bench);
	status = bench->errors ? 1 : 0;
	free(bench->values);
	free(bench);
	return status;
}
