/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/compactor.h"

#include "shim/base/list.h"
#include "shim/base/log.h"
#include "shim/config.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES_PER_RETENTION 10
#define REVISION_MODE_PERIOD_MS (5 * 60 * 1000)
#define HOUR_NS (3600 * NS_PER_SECOND)

struct compactor {
	struct store *store;
	struct loop *loop;
	struct loop_timer timer;
	struct op op;
	atomic_bool op_busy; /* the writer has it */
	bool periodic;
	int64_t keep_revisions;
	uint64_t period_ms;
	int ticks; /* since the last compaction */
	size_t samples_wanted;
	size_t sample_count;
	int64_t *samples; /* heads, oldest first; samples_wanted of them */
};

static void compacted(struct op *op)
{
	struct compactor *compactor = container_of(op, struct compactor, op);

	if (!op->err)
		log_info("completed auto compaction", LOG_INT("revision", op->in.compact.revision));
	else if (op->err != ERR_COMPACTED)
		log_warn("failed auto compaction", LOG_INT("revision", op->in.compact.revision),
			 LOG_STRING("error", err_text(op->err)));
	atomic_store(&compactor->op_busy, false);
}

static void compact_to(struct compactor *compactor, int64_t revision)
{
	if (revision <= store_compacted(compactor->store) || revision <= 1 ||
	    atomic_exchange(&compactor->op_busy, true))
		return;
	compactor->op = (struct op){
		.kind = OP_COMPACT,
		.in.compact.revision = revision,
		.on_done = compacted,
	};
	if (store_submit(compactor->store, &compactor->op))
		atomic_store(&compactor->op_busy, false);
}

static void remember(struct compactor *compactor, int64_t head)
{
	if (compactor->sample_count == compactor->samples_wanted) {
		memmove(compactor->samples, compactor->samples + 1,
			(compactor->sample_count - 1) * sizeof *compactor->samples);
		compactor->sample_count--;
	}
	compactor->samples[compactor->sample_count++] = head;
}

static void on_tick(struct loop_timer *timer)
{
	struct compactor *compactor = container_of(timer, struct compactor, timer);
	int64_t head = store_head(compactor->store);

	if (!compactor->periodic) {
		compact_to(compactor, head - compactor->keep_revisions);
		return;
	}
	remember(compactor, head);
	compactor->ticks++;
	if (compactor->sample_count < compactor->samples_wanted ||
	    compactor->ticks < SAMPLES_PER_RETENTION)
		return;
	compactor->ticks = 0;
	compact_to(compactor, compactor->samples[0]);
}

/* "30" is hours in periodic mode, as etcd reads it. */
static bool parse_retention(struct compactor *compactor, const char *retention)
{
	int64_t period_ns, retention_ns;
	char *end;
	long long number = strtoll(retention, &end, 10);

	if (!compactor->periodic) {
		compactor->keep_revisions = number;
		compactor->period_ms = REVISION_MODE_PERIOD_MS;
		return !*end && number > 0;
	}
	if (!*end && number > 0 && number < 1000000)
		retention_ns = number * HOUR_NS;
	else if (!duration_parse(retention, &retention_ns) || retention_ns <= 0)
		return false;
	/* As etcd: retention up to an hour is looked at ten times, a longer one ten times an hour.
	 */
	period_ns = (retention_ns > HOUR_NS ? HOUR_NS : retention_ns) / SAMPLES_PER_RETENTION;
	compactor->period_ms = (uint64_t)(period_ns / NS_PER_MS) + !(period_ns / NS_PER_MS);
	/* One more, so that the oldest is a whole retention old. */
	compactor->samples_wanted = (size_t)(retention_ns / period_ns) + 1;
	return compactor->samples_wanted <= COMPACTOR_SAMPLES_MAX;
}

enum err compactor_new(struct store *store, const char *mode, const char *retention,
		       struct compactor **ret_compactor, char *problem, size_t problem_bytes)
{
	struct compactor *compactor;

	if (!retention[0] || !strcmp(retention, "0")) {
		*ret_compactor = NULL;
		return ERR_OK;
	}
	compactor = calloc(1, sizeof *compactor);
	if (!compactor)
		return fault(ERR_NOMEM, "auto compaction");
	compactor->store = store;
	compactor->periodic = !strcmp(mode, "periodic");
	if (!parse_retention(compactor, retention)) {
		snprintf(problem, problem_bytes,
			 "--auto-compaction-retention=%s does not fit mode %s: say %s", retention,
			 mode,
			 compactor->periodic ? "a time such as 30m or 8h" : "a count above 0");
		free(compactor);
		return ERR_MALFORMED;
	}
	if (compactor->periodic) {
		compactor->samples = calloc(compactor->samples_wanted, sizeof *compactor->samples);
		if (!compactor->samples) {
			free(compactor);
			return fault(ERR_NOMEM, "auto compaction");
		}
	}
	*ret_compactor = compactor;
	return ERR_OK;
}

void compactor_start(struct compactor *compactor, struct loop *loop)
{
	if (!compactor)
		return;
	compactor->loop = loop;
	compactor->timer.fn = on_tick;
	loop_timer_start(loop, &compactor->timer, compactor->period_ms, compactor->period_ms);
}

void compactor_stop(struct compactor *compactor)
{
	if (compactor && compactor->loop)
		loop_timer_stop(&compactor->timer);
}

void compactor_free(struct compactor *compactor)
{
	if (!compactor)
		return;
	free(compactor->samples);
	free(compactor);
}
