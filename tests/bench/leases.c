/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <stdlib.h>

#define KEEP_ALIVE_PATH "/etcdserverpb.Lease/LeaseKeepAlive"

/* Every slot has a lease and a stream on which it renews it, one renewal outstanding. */

static void on_message(struct call *call, struct bytes message)
{
	struct slot *slot = call->owner;
	struct bench *bench = slot->bench;
	int64_t lease;
	const char *problem = check_lease(message, &lease);

	if (!problem && lease != slot->revision)
		problem = "the answer is for another lease";
	if (problem)
		bench_error(bench, problem);
	bench_record(bench, now_ns() - slot->begun_ns);
	slot->begun_ns = now_ns();
	if (bench->is_running)
		call_send(call);
	else
		bench->active--;
}

static void on_end(struct call *call)
{
	struct slot *slot = call->owner;

	bench_error(slot->bench, call->problem[0] ? call->problem : "a keep-alive stream ended");
	slot->bench->active--;
}

void leases_start(struct bench *bench)
{
	bench->active = bench->slot_count;
	for (unsigned i = 0; i < bench->slot_count; i++) {
		struct slot *slot = &bench->slots[i];

		slot->call.on_message = on_message;
		slot->call.on_end = on_end;
		slot->begun_ns = now_ns();
		wire_keep_alive(&slot->call.request, slot->revision);
		call_begin(&slot->call, links_get(bench->links, i), KEEP_ALIVE_PATH, true);
	}
}
