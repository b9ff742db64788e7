/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/loop.h"

#include "shim/base/limits.h"
#include "shim/base/list.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

struct loop {
	uv_loop_t uv;
	uv_async_t wake;  /* posted tasks wait in the inbox */
	uv_idle_t slices; /* runs while `later` is not empty, so that polling does not block */
	uv_timer_t clock; /* set to the first due timer */
	struct inbox inbox;
	struct inbox_node *later; /* tasks of the next turn, oldest first */
	struct inbox_node **later_last;
	struct loop_timer *timers; /* root of the heap */
	pthread_t thread;
	atomic_bool is_started; /* and not joined yet */
};

/* The loop whose thread this is, so that asserting it needs no lock. */
static _Thread_local const struct loop *loop_of_thread;

/* --- timers: a pairing heap, because it needs no memory and forgets a timer at once ----------- */

static struct loop_timer *heap_meld(struct loop_timer *a, struct loop_timer *b)
{
	if (!a || !b)
		return a ? a : b;
	if (b->due_ms < a->due_ms) {
		struct loop_timer *first = b;

		b = a;
		a = first;
	}
	b->previous = a;
	b->next = a->child;
	if (a->child)
		a->child->previous = b;
	a->child = b;
	return a;
}

/* Two passes over the siblings: pair them from the left, then join the pairs from the right. */
static struct loop_timer *heap_meld_siblings(struct loop_timer *first)
{
	struct loop_timer *pairs = NULL;
	struct loop_timer *root = NULL;

	while (first) {
		struct loop_timer *a = first;
		struct loop_timer *b = a->next;

		first = b ? b->next : NULL;
		a->next = a->previous = NULL;
		if (b)
			b->next = b->previous = NULL;
		a = heap_meld(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs) {
		struct loop_timer *pair = pairs;

		pairs = pair->next;
		pair->next = NULL;
		root = heap_meld(root, pair);
	}
	return root;
}

static void heap_remove(struct loop *loop, struct loop_timer *timer)
{
	struct loop_timer *below = heap_meld_siblings(timer->child);

	if (timer == loop->timers) {
		loop->timers = below;
	} else {
		if (timer->previous->child == timer)
			timer->previous->child = timer->next;
		else
			timer->previous->next = timer->next;
		if (timer->next)
			timer->next->previous = timer->previous;
		loop->timers = heap_meld(loop->timers, below);
	}
	timer->child = timer->next = timer->previous = NULL;
}

static void on_clock(uv_timer_t *clock);

/* Sets libuv's timer to the first of ours; without one it is stopped and holds nothing alive. */
static void clock_set(struct loop *loop)
{
	uint64_t now_ms = uv_now(&loop->uv);
	struct loop_timer *first = loop->timers;
	int result;

	if (!first) {
		uv_timer_stop(&loop->clock);
		return;
	}
	result = uv_timer_start(&loop->clock, on_clock,
				first->due_ms > now_ms ? first->due_ms - now_ms : 0, 0);
	assert(result == 0);
}

static void timer_insert(struct loop *loop, struct loop_timer *timer, uint64_t wait_ms)
{
	uint64_t now_ms = uv_now(&loop->uv);

	wait_ms = wait_ms ? wait_ms : 1;
	timer->due_ms = wait_ms > UINT64_MAX - now_ms ? UINT64_MAX : now_ms + wait_ms;
	timer->loop = loop;
	loop->timers = heap_meld(loop->timers, timer);
}

static void on_clock(uv_timer_t *clock)
{
	struct loop *loop = clock->data;
	uint64_t now_ms = uv_now(&loop->uv);

	/* Ends, because whatever is started meanwhile is due after now_ms. */
	while (loop->timers && loop->timers->due_ms <= now_ms) {
		struct loop_timer *timer = loop->timers;

		heap_remove(loop, timer);
		timer->loop = NULL;
		if (timer->repeat_ms)
			timer_insert(loop, timer, timer->repeat_ms);
		timer->fn(timer);
	}
	clock_set(loop);
}

void loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t first_ms,
		      uint64_t repeat_ms)
{
	struct loop_timer *first;

	assert(loop_is_current(loop));
	assert(timer->fn);
	if (timer->loop)
		heap_remove(timer->loop, timer);
	first = loop->timers;
	timer->repeat_ms = repeat_ms;
	timer_insert(loop, timer, first_ms);
	if (loop->timers != first || timer == first)
		clock_set(loop);
}

void loop_timer_stop(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;

	if (!loop)
		return;
	assert(loop_is_current(loop));
	heap_remove(loop, timer);
	timer->loop = NULL;
	/* A clock set too early only wakes up once for nothing, but the last one must let go. */
	if (!loop->timers)
		clock_set(loop);
}

/* --- tasks ------------------------------------------------------------------------------------ */

static void run_tasks(struct inbox_node *node)
{
	while (node) {
		struct loop_task *task = container_of(node, struct loop_task, node);

		node = node->next; /* the task may be posted again or freed by its function */
		task->fn(task);
	}
}

static void on_wake(uv_async_t *wake)
{
	struct loop *loop = wake->data;

	run_tasks(inbox_take(&loop->inbox));
}

/* What was due when the turn began, as far as LOOP_SLICES_NS allow; the rest keeps its place, so
 * that a thousand streams with history to read do not keep the sockets waiting. */
static void on_slices(uv_idle_t *slices)
{
	struct loop *loop = slices->data;
	struct inbox_node **end_of_turn = loop->later_last;
	uint64_t end_ns = uv_hrtime() + LOOP_SLICES_NS;
	bool is_last = !loop->later;

	while (!is_last && uv_hrtime() < end_ns) {
		struct inbox_node *node = loop->later;

		assert(node);
		is_last = end_of_turn == &node->next;
		loop->later = node->next;
		if (!loop->later)
			loop->later_last = &loop->later;
		node->next = NULL;
		run_tasks(node);
	}
	if (!loop->later)
		uv_idle_stop(slices);
}

void loop_post_chain(struct loop *loop, struct inbox_chain *tasks)
{
	bool was_empty = false;
	enum err e = inbox_put_chain(&loop->inbox, tasks, &was_empty);

	assert(e == ERR_OK);
	if (was_empty)
		uv_async_send(&loop->wake);
}

void loop_post(struct loop *loop, struct loop_task *task)
{
	struct inbox_chain one = {0};

	inbox_chain_add(&one, &task->node);
	loop_post_chain(loop, &one);
}

void loop_later(struct loop *loop, struct loop_task *task)
{
	assert(loop_is_current(loop));
	if (!loop->later)
		uv_idle_start(&loop->slices, on_slices);
	task->node.next = NULL;
	*loop->later_last = &task->node;
	loop->later_last = &task->node.next;
}

/* --- jobs ------------------------------------------------------------------------------------- */

static void on_work(uv_work_t *request)
{
	struct loop_job *job = container_of(request, struct loop_job, request);

	job->work(job);
}

static void on_work_done(uv_work_t *request, int status)
{
	struct loop_job *job = container_of(request, struct loop_job, request);

	assert(status == 0); /* nobody cancels */
	job->done(job);
}

enum err loop_offload(struct loop *loop, struct loop_job *job)
{
	int result;

	assert(loop_is_current(loop));
	result = uv_queue_work(&loop->uv, &job->request, on_work, on_work_done);
	if (result)
		return fault(ERR_NOMEM, "cannot queue work: %s", uv_strerror(result));
	return ERR_OK;
}

/* --- life ------------------------------------------------------------------------------------- */

uv_loop_t *loop_uv(struct loop *loop)
{
	return &loop->uv;
}

bool loop_is_current(const struct loop *loop)
{
	return !atomic_load_explicit(&loop->is_started, memory_order_acquire) ||
	       loop_of_thread == loop;
}

enum err loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int result;

	if (!loop)
		return fault(ERR_NOMEM, "no memory for an event loop");
	result = uv_loop_init(&loop->uv);
	if (result) {
		free(loop);
		return fault(ERR_NOMEM, "cannot make an event loop: %s", uv_strerror(result));
	}
	result = uv_async_init(&loop->uv, &loop->wake, on_wake);
	if (result) {
		uv_loop_close(&loop->uv);
		free(loop);
		return fault(ERR_NOMEM, "cannot make a wake-up handle: %s", uv_strerror(result));
	}
	uv_idle_init(&loop->uv, &loop->slices);
	uv_timer_init(&loop->uv, &loop->clock);
	loop->wake.data = loop->slices.data = loop->clock.data = loop;
	/* Being reachable is no reason to live: the loop ends when sockets, timers and tasks have.
	 */
	uv_unref((uv_handle_t *)&loop->wake);
	inbox_init(&loop->inbox, LOOP_INBOX_TASKS_MAX);
	loop->later_last = &loop->later;
	*ret_loop = loop;
	return ERR_OK;
}

static void *loop_main(void *argument)
{
	struct loop *loop = argument;

	loop_of_thread = loop;
	pthread_setname_np(pthread_self(), "kedge-loop");
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	return NULL;
}

enum err loop_start(struct loop *loop)
{
	sigset_t all;
	sigset_t before;
	int result;

	assert(!atomic_load(&loop->is_started));
	/* Signals are the main thread's; SIGPIPE blocked here turns into EPIPE. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	atomic_store_explicit(&loop->is_started, true, memory_order_release);
	result = pthread_create(&loop->thread, NULL, loop_main, loop);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!result)
		return ERR_OK;
	atomic_store(&loop->is_started, false);
	return fault(ERR_NOMEM, "cannot start the loop's thread: %s", uv_strerror(-result));
}

void loop_join(struct loop *loop)
{
	if (!atomic_load(&loop->is_started))
		return;
	assert(!loop_is_current(loop));
	pthread_join(loop->thread, NULL);
	atomic_store_explicit(&loop->is_started, false, memory_order_release);
}

bool loop_turn(struct loop *loop)
{
	struct inbox_node *posted;

	assert(!atomic_load(&loop->is_started));
	posted = inbox_take(&loop->inbox);
	run_tasks(posted);
	return uv_run(&loop->uv, UV_RUN_ONCE) || posted;
}

void loop_free(struct loop *loop)
{
	int result;

	if (!loop)
		return;
	while (loop_turn(loop))
		continue;
	uv_close((uv_handle_t *)&loop->wake, NULL);
	uv_close((uv_handle_t *)&loop->slices, NULL);
	uv_close((uv_handle_t *)&loop->clock, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	result = uv_loop_close(&loop->uv);
	assert(result == 0);
	inbox_fini(&loop->inbox);
	free(loop);
}
