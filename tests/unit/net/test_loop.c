/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/loop.h"

#include "shim/base/list.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define POSTERS 4
#define POSTS 2000
#define TIMERS 500

/* --- tasks ------------------------------------------------------------------------------------ */

struct posts {
	struct loop *loop;
	struct loop_timer keep; /* keeps the loop alive until all have come */
	int came;		/* loop thread only */
};

struct post {
	struct loop_task task;
	struct posts *posts;
};

static void on_keep(struct loop_timer *timer)
{
	(void)timer;
}

static void on_post(struct loop_task *task)
{
	struct post *post = container_of(task, struct post, task);
	struct posts *posts = post->posts;

	assert_true(loop_is_current(posts->loop));
	free(post);
	if (++posts->came == POSTERS * POSTS)
		loop_timer_stop(&posts->keep);
}

static void *poster(void *argument)
{
	struct posts *posts = argument;

	for (int i = 0; i < POSTS; i++) {
		struct post *post = calloc(1, sizeof(*post));

		if (!post)
			abort();
		post->task.fn = on_post;
		post->posts = posts;
		loop_post(posts->loop, &post->task);
	}
	return NULL;
}

static void test_every_post_runs_on_the_loop(void **state)
{
	struct posts posts = {.keep.fn = on_keep};
	pthread_t threads[POSTERS];

	(void)state;
	assert_int_equal(loop_new(&posts.loop), ERR_OK);
	loop_timer_start(posts.loop, &posts.keep, 50, 50);
	assert_int_equal(loop_start(posts.loop), ERR_OK);
	assert_false(loop_is_current(posts.loop));
	for (int i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, poster, &posts), 0);
	for (int i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
	loop_join(posts.loop);
	assert_int_equal(posts.came, POSTERS * POSTS);
	loop_free(posts.loop);
}

struct flagged_task {
	struct loop_task task;
	int runs;
};

static void on_flagged(struct loop_task *task)
{
	container_of(task, struct flagged_task, task)->runs++;
}

/* A thread that hands back its work after the loop has ended must not lose it. */
static void test_post_after_the_end_runs_at_free(void **state)
{
	struct flagged_task late = {.task.fn = on_flagged};
	struct loop *loop;

	(void)state;
	assert_int_equal(loop_new(&loop), ERR_OK);
	assert_int_equal(loop_start(loop), ERR_OK);
	loop_join(loop);
	loop_post(loop, &late.task);
	loop_free(loop);
	assert_int_equal(late.runs, 1);
}

struct sliced_task {
	struct loop_task task;
	struct loop *loop;
	int slices_left;
	int *other_left;
	int widest_gap;
};

/* Two that go on in slices take turns. */
static void on_slice(struct loop_task *task)
{
	struct sliced_task *sliced = container_of(task, struct sliced_task, task);
	int gap = *sliced->other_left - --sliced->slices_left;

	sliced->widest_gap = gap > sliced->widest_gap ? gap : sliced->widest_gap;
	if (sliced->slices_left)
		loop_later(sliced->loop, task);
}

static void test_later_tasks_take_turns(void **state)
{
	struct sliced_task a = {.task.fn = on_slice, .slices_left = 100};
	struct sliced_task b = {.task.fn = on_slice, .slices_left = 100};

	(void)state;
	a.other_left = &b.slices_left;
	b.other_left = &a.slices_left;
	assert_int_equal(loop_new(&a.loop), ERR_OK);
	b.loop = a.loop;
	loop_later(a.loop, &a.task);
	loop_later(a.loop, &b.task);
	assert_int_equal(loop_start(a.loop), ERR_OK);
	loop_join(a.loop);
	assert_int_equal(a.slices_left + b.slices_left, 0);
	assert_true(a.widest_gap <= 1 && b.widest_gap <= 1);
	loop_free(a.loop);
}

/* --- timers ----------------------------------------------------------------------------------- */

struct timed {
	struct loop_timer timer;
	struct loop *loop;
	uint64_t wanted_ms;
	int runs;
	uint64_t *last_due_ms;
	struct timed *victim; /* stopped and freed when this one fires */
};

static void on_timed(struct loop_timer *timer)
{
	struct timed *timed = container_of(timer, struct timed, timer);

	timed->runs++;
	/* In the order of their times, never before. */
	assert_true(uv_now(loop_uv(timed->loop)) >= timed->wanted_ms);
	assert_true(timed->wanted_ms >= *timed->last_due_ms);
	*timed->last_due_ms = timed->wanted_ms;
	if (timed->victim) {
		loop_timer_stop(&timed->victim->timer);
		free(timed->victim);
		timed->victim = NULL;
	}
}

static void test_timers_fire_once_in_order(void **state)
{
	static struct timed timers[TIMERS];
	uint64_t last_due_ms = 0;
	unsigned random = 12345;
	struct loop *loop;

	(void)state;
	assert_int_equal(loop_new(&loop), ERR_OK);
	for (int i = 0; i < TIMERS; i++) {
		struct timed *timed = &timers[i];
		uint64_t wait_ms = 1 + (random >> 16) % 50;

		random = random * 1103515245 + 12345;
		timed->timer.fn = on_timed;
		timed->loop = loop;
		timed->last_due_ms = &last_due_ms;
		timed->wanted_ms = uv_now(loop_uv(loop)) + wait_ms;
		loop_timer_start(loop, &timed->timer, 1000 + wait_ms, 0);
		loop_timer_start(loop, &timed->timer, wait_ms, 0); /* set anew */
		if (i % 5 == 0)
			loop_timer_stop(&timed->timer);
	}
	assert_int_equal(loop_start(loop), ERR_OK);
	loop_join(loop);
	for (int i = 0; i < TIMERS; i++)
		assert_int_equal(timers[i].runs, i % 5 != 0);
	loop_free(loop);
}

static void test_a_stopped_timer_may_be_freed_at_once(void **state)
{
	struct timed *victim = calloc(1, sizeof(*victim));
	uint64_t last_due_ms = 0;
	struct timed first = {.timer.fn = on_timed, .victim = victim, .last_due_ms = &last_due_ms};

	(void)state;
	assert_non_null(victim);
	assert_int_equal(loop_new(&first.loop), ERR_OK);
	victim->timer.fn = on_timed;
	loop_timer_start(first.loop, &first.timer, 1, 0);
	loop_timer_start(first.loop, &victim->timer, 2, 0);
	assert_int_equal(loop_start(first.loop), ERR_OK);
	loop_join(first.loop);
	assert_int_equal(first.runs, 1);
	loop_timer_stop(&first.timer); /* twice is harmless */
	loop_free(first.loop);
}

struct repeating {
	struct loop_timer timer;
	int runs;
};

static void on_repeat(struct loop_timer *timer)
{
	struct repeating *repeating = container_of(timer, struct repeating, timer);

	if (++repeating->runs == 5)
		loop_timer_stop(timer);
}

static void test_repeating_timer_runs_until_stopped(void **state)
{
	struct repeating repeating = {.timer.fn = on_repeat};
	struct loop *loop;

	(void)state;
	assert_int_equal(loop_new(&loop), ERR_OK);
	loop_timer_start(loop, &repeating.timer, 0, 2);
	assert_int_equal(loop_start(loop), ERR_OK);
	loop_join(loop);
	assert_int_equal(repeating.runs, 5);
	loop_free(loop);
}

/* --- jobs ------------------------------------------------------------------------------------- */

struct counted_job {
	struct loop_job job;
	struct loop *loop;
	bool worked_elsewhere;
	bool is_done;
};

static void on_job(struct loop_job *job)
{
	struct counted_job *counted = container_of(job, struct counted_job, job);

	counted->worked_elsewhere = !loop_is_current(counted->loop);
}

static void on_job_done(struct loop_job *job)
{
	struct counted_job *counted = container_of(job, struct counted_job, job);

	counted->is_done = loop_is_current(counted->loop);
}

struct offloader {
	struct loop_task task;
	struct counted_job counted;
};

static void on_offload(struct loop_task *task)
{
	struct offloader *offloader = container_of(task, struct offloader, task);

	assert_int_equal(loop_offload(offloader->counted.loop, &offloader->counted.job), ERR_OK);
}

static void test_job_runs_elsewhere_and_comes_back(void **state)
{
	struct offloader offloader = {
		.task.fn = on_offload,
		.counted.job = {.work = on_job, .done = on_job_done},
	};
	struct loop *loop;

	(void)state;
	assert_int_equal(loop_new(&loop), ERR_OK);
	offloader.counted.loop = loop;
	loop_later(loop, &offloader.task);
	assert_int_equal(loop_start(loop), ERR_OK);
	loop_join(loop);
	assert_true(offloader.counted.worked_elsewhere);
	assert_true(offloader.counted.is_done);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_post_runs_on_the_loop),
		cmocka_unit_test(test_post_after_the_end_runs_at_free),
		cmocka_unit_test(test_later_tasks_take_turns),
		cmocka_unit_test(test_timers_fire_once_in_order),
		cmocka_unit_test(test_a_stopped_timer_may_be_freed_at_once),
		cmocka_unit_test(test_repeating_timer_runs_until_stopped),
		cmocka_unit_test(test_job_runs_elsewhere_and_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
