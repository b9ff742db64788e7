/* SPDX-License-Identifier: Apache-2.0 */
/* wait.c - session tokens: a client that wrote at one site and reads at another waits here until
 * its write has come. */
#include "sync/engine/internal.h"

#include <stdlib.h>

struct waiter {
	struct list node;
	enum group group;
	struct vector token;
	int64_t deadline_ms;
	void (*on_done)(void *context, enum err e);
	void *context;
};

bool engine_has(const struct engine *engine, enum group group, const struct vector *token)
{
	struct vector now = {0};
	bool has = !engine_vector(engine, group, &now) && vector_covers(&now, token);

	vector_fini(&now);
	return has;
}

static void end(struct engine *engine, struct waiter *waiter, enum err e)
{
	list_remove(&waiter->node);
	engine->waiter_count--;
	waiter->on_done(waiter->context, e);
	vector_fini(&waiter->token);
	free(waiter);
}

enum err engine_wait(struct engine *engine, enum group group, const struct vector *token,
		     int64_t deadline_ms, void (*on_done)(void *context, enum err e), void *context)
{
	struct waiter *waiter;

	if (engine_has(engine, group, token)) {
		on_done(context, ERR_OK);
		return ERR_OK;
	}
	if (engine->waiter_count == WAITERS_MAX)
		return ERR_BUSY;
	waiter = calloc(1, sizeof(*waiter));
	if (!waiter || vector_copy(token, &waiter->token)) {
		free(waiter);
		return fault(ERR_NOMEM, "a client that waits");
	}
	waiter->group = group;
	waiter->deadline_ms = deadline_ms;
	waiter->on_done = on_done;
	waiter->context = context;
	list_append(&engine->waiters, &waiter->node);
	engine->waiter_count++;
	return ERR_OK;
}

void waiters_look(struct engine *engine)
{
	int64_t now_ms = engine_now(engine);

	list_for_each_safe (node, after, &engine->waiters) {
		struct waiter *waiter = container_of(node, struct waiter, node);

		if (engine_has(engine, waiter->group, &waiter->token))
			end(engine, waiter, ERR_OK);
		else if (now_ms >= waiter->deadline_ms)
			end(engine, waiter, ERR_TIMEOUT);
	}
}

void waiters_end(struct engine *engine)
{
	while (!list_is_empty(&engine->waiters))
		end(engine, container_of(engine->waiters.next, struct waiter, node), ERR_STOPPED);
}
