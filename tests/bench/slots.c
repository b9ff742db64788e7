/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <stdlib.h>

#define MIX_PERIOD 20
#define LEASE_TTL_SECONDS 600

#define KV "/etcdserverpb.KV/"

static void encode(struct slot *slot);
static void slot_next(struct slot *slot);

static const char *const paths[] = {
	[OP_PUT] = KV "Put",	     [OP_GET] = KV "Range",
	[OP_LIST] = KV "Range",	     [OP_STREAM] = KV "RangeStream",
	[OP_UPDATE] = KV "Txn",	     [OP_CREATE] = KV "Txn",
	[OP_FILL] = KV "Txn",	     [OP_GRANT] = "/etcdserverpb.Lease/LeaseGrant",
	[OP_COMPACT] = KV "Compact",
};

/* --- one request ------------------------------------------------------------------------- */

static const char *check(struct slot *slot, struct bytes message)
{
	switch (slot->op) {
	case OP_PUT:
	case OP_COMPACT:
		return check_put(message, &slot->revision);
	case OP_UPDATE:
	case OP_CREATE:
	case OP_FILL:
		return check_update(message, &slot->revision);
	case OP_GET:
	case OP_LIST:
		return check_range(message, false, &slot->seen);
	case OP_STREAM:
		return check_range(message, true, &slot->seen);
	case OP_GRANT:
		return check_lease(message, &slot->revision);
	}
	return "no such operation";
}

static void on_message(struct call *call, struct bytes message)
{
	struct slot *slot = call->owner;
	const char *problem = check(slot, message);

	if (problem && !slot->problem)
		slot->problem = problem;
}

static uint64_t keys_expected(const struct slot *slot)
{
	const struct options *options = &slot->bench->options;
	uint64_t left = (uint64_t)options->keys - slot->key;

	if (slot->op == OP_GET)
		return 1;
	return options->limit && (uint64_t)options->limit < left ? (uint64_t)options->limit : left;
}

static bool is_read(enum op op)
{
	return op == OP_GET || op == OP_LIST || op == OP_STREAM;
}

static void note_answer(struct slot *slot)
{
	struct bench *bench = slot->bench;

	if (is_read(slot->op)) {
		if (slot->seen.kvs != keys_expected(slot))
			slot->problem = "a list has the wrong number of keys";
		else if (slot->op == OP_GET)
			bench->revisions[slot->key] = slot->seen.mod_revision;
		if (slot->seen.mod_revision > bench->head)
			bench->head = slot->seen.mod_revision;
		return;
	}
	if (slot->op == OP_UPDATE || slot->op == OP_CREATE)
		bench->revisions[slot->key] = slot->revision;
	if (slot->op == OP_UPDATE)
		bench->updates++;
	if (slot->op != OP_GRANT && slot->revision > bench->head)
		bench->head = slot->revision;
}

static void on_end(struct call *call)
{
	struct slot *slot = call->owner;
	struct bench *bench = slot->bench;

	if (call->problem[0])
		slot->problem = call->problem;
	if (!slot->problem)
		note_answer(slot);
	if (slot->problem) {
		bench_error(bench, slot->problem);
		slot->watchers_left = 0;
	}
	slot->is_answered = true;
	if (slot->watchers_left)
		return;
	bench_record(bench, now_ns() - slot->begun_ns);
	slot_next(slot);
}

/* A watcher was told of the update of key. */
void slot_heard(struct bench *bench, int64_t key, int64_t revision)
{
	struct slot *slot = &bench->slots[(uint64_t)key % bench->slot_count];

	(void)revision;
	if (!slot->watchers_left || --slot->watchers_left || !slot->is_answered)
		return;
	bench_record(bench, now_ns() - slot->begun_ns);
	slot_next(slot);
}

static void begin(struct slot *slot, enum op op, uint64_t key, int64_t due_ns)
{
	struct bench *bench = slot->bench;

	slot->op = op;
	slot->key = key;
	slot->begun_ns = due_ns;
	slot->problem = NULL;
	slot->is_answered = false;
	slot->seen = (struct range_seen){.first = key, .value_bytes = (size_t)bench->options.value};
	encode(slot);
	call_begin(&slot->call, links_get(bench->links, slot->number), paths[op], false);
}

static void encode(struct slot *slot)
{
	struct bench *bench = slot->bench;
	struct buffer *out = &slot->call.request;
	uint8_t raw[KEY_BYTES];
	struct bytes key = key_make(raw, slot->key);

	switch (slot->op) {
	case OP_PUT:
		wire_put(out, key, bench_value(bench));
		break;
	case OP_GET:
		wire_get(out, key);
		break;
	case OP_LIST:
	case OP_STREAM:
		wire_list(out, key, bench->options.limit);
		break;
	case OP_CREATE:
		wire_update(out, key, 0, bench_value(bench));
		break;
	case OP_UPDATE:
		wire_update(out, key, bench->revisions[slot->key], bench_value(bench));
		break;
	case OP_FILL:
		wire_put_many(out, slot->key, (unsigned)bench->options.batch, bench_value(bench));
		break;
	case OP_GRANT:
		wire_lease_grant(out, LEASE_TTL_SECONDS);
		break;
	case OP_COMPACT:
		wire_compact(out, slot->revision);
		break;
	}
}

/* --- which one is next ------------------------------------------------------------------- */

static enum op choose_op(struct slot *slot)
{
	const char *workload = slot->bench->options.workload;
	uint64_t turn;

	switch (workload[0]) {
	case 'p':
		return OP_PUT;
	case 'g':
		return OP_GET;
	case 'l':
		return OP_LIST;
	case 's':
		return OP_STREAM;
	case 'u':
	case 'w':
		return OP_UPDATE;
	default: /* mix: of 20 requests one is a page of a list, three are gets */
		turn = (slot->turn + slot->number) % MIX_PERIOD;
		return turn == 0 ? OP_LIST : turn < 4 ? OP_GET : OP_UPDATE;
	}
}

/* Updates of one key never overlap: each slot has keys of its own. */
static uint64_t choose_key(struct slot *slot, enum op op)
{
	struct bench *bench = slot->bench;
	uint64_t keys = (uint64_t)bench->options.keys, limit = (uint64_t)bench->options.limit;

	if (op == OP_UPDATE)
		return slot->number +
		       bench->slot_count * bench_random(bench, keys / bench->slot_count);
	if (op == OP_LIST || op == OP_STREAM)
		return limit && limit < keys ? bench_random(bench, keys - limit + 1) : 0;
	return bench_random(bench, keys);
}

static void begin_chosen(struct slot *slot, int64_t due_ns)
{
	enum op op = choose_op(slot);

	slot->turn++;
	slot->watchers_left =
		slot->bench->options.workload[0] == 'w' ? slot->bench->options.watchers : 0;
	begin(slot, op, choose_key(slot, op), due_ns);
}

static void slot_next(struct slot *slot)
{
	struct bench *bench = slot->bench;

	if (bench->is_sweep && bench->sweep_next < (uint64_t)bench->options.keys) {
		uint64_t step = bench->sweep_op == OP_FILL ? (uint64_t)bench->options.batch : 1;

		begin(slot, bench->sweep_op, bench->sweep_next, now_ns());
		bench->sweep_next += step;
	} else if (bench->is_running && !bench->options.rate) {
		begin_chosen(slot, now_ns());
	} else {
		bench->active--;
		bench->idle[bench->idle_count++] = slot;
	}
}

void slots_start(struct bench *bench)
{
	bench->idle_count = 0;
	bench->active = bench->slot_count;
	for (unsigned i = 0; i < bench->slot_count; i++)
		slot_next(&bench->slots[i]);
}

void slots_start_due(struct bench *bench, int64_t due_ns)
{
	struct slot *slot = bench->idle[--bench->idle_count];

	bench->active++;
	begin_chosen(slot, due_ns);
}

void slots_sweep(struct bench *bench, enum op op)
{
	bench->is_sweep = true;
	bench->sweep_op = op;
	bench->sweep_next = 0;
	slots_start(bench);
	while (bench->active)
		links_turn(bench->links, INT64_C(1000000000));
	bench->is_sweep = false;
}

/* --- their memory ------------------------------------------------------------------------ */

static void slot_init(struct bench *bench, struct slot *slot, unsigned number)
{
	call_init(&slot->call, slot);
	slot->call.on_message = on_message;
	slot->call.on_end = on_end;
	slot->bench = bench;
	slot->number = number;
}

void slots_open(struct bench *bench)
{
	bench->slot_count = (unsigned)bench->options.slots;
	bench->slots = calloc(bench->slot_count, sizeof *bench->slots);
	bench->idle = calloc(bench->slot_count, sizeof(struct slot *));
	bench->revisions = calloc((size_t)bench->options.keys, sizeof *bench->revisions);
	if (!bench->slots || !bench->idle || !bench->revisions)
		die("out of memory");
	for (unsigned i = 0; i < bench->slot_count; i++)
		slot_init(bench, &bench->slots[i], i);
}

void slots_close(struct bench *bench)
{
	for (unsigned i = 0; i < bench->slot_count; i++)
		call_fini(&bench->slots[i].call);
	free(bench->slots);
	free(bench->idle);
	free(bench->revisions);
}

static void on_compacted(struct call *call)
{
	struct slot *slot = call->owner;

	if (call->problem[0])
		bench_error(slot->bench, call->problem);
	slot->bench->active--;
}

void slots_compact(struct bench *bench, struct slot *slot, int64_t revision)
{
	if (slot->call.stream)
		return; /* the last one still runs */
	if (!slot->bench)
		slot_init(bench, slot, 0);
	slot->call.on_end = on_compacted;
	slot->revision = revision;
	bench->active++;
	begin(slot, OP_COMPACT, 0, now_ns());
}
