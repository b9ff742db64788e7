/* SPDX-License-Identifier: Apache-2.0 */
/* The Watch call against a fake call and a fake store; what it sends is read with protobuf-c.  As
 * with the store, the functions of the call get other names here. */
#include "tests/unit/watch/fake_history.h"

#define call_state fake_call_state
#define call_context fake_call_context
#define call_loop fake_call_loop
#define call_is_ended fake_call_is_ended
#define call_is_full fake_call_is_full
#define call_send fake_call_send
#define call_finish fake_call_finish
#define call_fail fake_call_fail
#define call_hold fake_call_hold
#define call_release fake_call_release
#define call_post fake_call_post

#include "shim/rpc/watch.c"
#include "shim/rpc/watch_response.c"

#include "api/proto/rpc.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- the fake call --- */

#define SENT_MAX 64

struct call {
	_Alignas(16) uint8_t state[WATCH_STATE_BYTES];
	struct rpc_server server;
	struct loop *loop;
	Etcdserverpb__WatchResponse *sent[SENT_MAX];
	size_t sizes[SENT_MAX];
	size_t sent_count;
	size_t read_count;
	size_t full_after; /* full from so many messages on */
	bool is_ended;
	enum status status;
	const char *text;
	unsigned holds;
	unsigned posts;
	struct loop_task task;
	void (*posted)(struct call *call);
};

void *call_state(struct call *call)
{
	return call->state;
}

void *call_context(struct call *call)
{
	return &call->server;
}

struct loop *call_loop(struct call *call)
{
	return call->loop;
}

bool call_is_ended(const struct call *call)
{
	return call->is_ended;
}

bool call_is_full(const struct call *call)
{
	return call->sent_count >= call->full_after;
}

void call_send(struct call *call, struct buffer *message)
{
	struct bytes bytes = buffer_bytes(message);

	assert_true(call->sent_count < SENT_MAX);
	call->sizes[call->sent_count] = bytes.size;
	call->sent[call->sent_count] =
		etcdserverpb__watch_response__unpack(NULL, bytes.size, bytes.data);
	assert_non_null(call->sent[call->sent_count]);
	call->sent_count++;
	buffer_fini(message);
}

void call_finish(struct call *call, enum status status, const char *text)
{
	assert_false(call->is_ended);
	call->is_ended = true;
	call->status = status;
	call->text = text;
}

void call_fail(struct call *call, enum err e)
{
	call_finish(call, err_status(e), err_text(e));
}

void call_hold(struct call *call)
{
	call->holds++;
}

void call_release(struct call *call)
{
	assert_true(call->holds > 0);
	call->holds--;
}

static void run_posted(struct loop_task *task)
{
	struct call *call = container_of(task, struct call, task);

	call->posted(call);
}

void call_post(struct call *call, void (*fn)(struct call *call))
{
	call->posts++;
	call->posted = fn;
	call->task.fn = run_posted;
	loop_post(call->loop, &call->task);
}

/* --- the fixture --- */

static int setup(void **state)
{
	struct call *call = calloc(1, sizeof(*call));

	assert_non_null(call);
	fake_init();
	assert_int_equal(loop_new(&call->loop), ERR_OK);
	assert_int_equal(hub_new(&fake, &call->server.config.hub), ERR_OK);
	call->server.identity = (struct store_identity){11, 12, 13};
	call->server.config.request_bytes_max = 100 * KIB;
	call->full_after = SIZE_MAX;
	watch_open(call);
	assert_int_equal(call->holds, 1);
	*state = call;
	return 0;
}

static int teardown(void **state)
{
	struct call *call = *state;

	call->is_ended = true;
	watch_end(call);
	loop_free(call->loop);
	assert_int_equal(call->holds, 0);
	for (size_t i = 0; i < call->sent_count; i++)
		etcdserverpb__watch_response__free_unpacked(call->sent[i], NULL);
	hub_free(call->server.config.hub);
	fake_fini();
	free(call);
	return 0;
}

static void say(struct call *call, const Etcdserverpb__WatchRequest *request)
{
	uint8_t bytes[1024];

	watch_message(call, bytes_of(bytes, etcdserverpb__watch_request__pack(request, bytes)));
}

static void create(struct call *call, Etcdserverpb__WatchCreateRequest *create, const char *key)
{
	Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;

	create->key.data = (uint8_t *)(uintptr_t)key;
	create->key.len = strlen(key);
	request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
	request.create_request = create;
	say(call, &request);
}

static void create_plain(struct call *call, const char *key, int64_t start)
{
	Etcdserverpb__WatchCreateRequest spec = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;

	spec.start_revision = start;
	create(call, &spec, key);
}

static void cancel(struct call *call, int64_t watch_id)
{
	Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
	Etcdserverpb__WatchCancelRequest spec = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;

	spec.watch_id = watch_id;
	request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
	request.cancel_request = &spec;
	say(call, &request);
}

static void ask_progress(struct call *call)
{
	Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
	Etcdserverpb__WatchProgressRequest spec = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;

	request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
	request.progress_request = &spec;
	say(call, &request);
}

static char big[200 * KIB];

/* One revision of puts with values of that size, each with a previous value; the loop is not
 * turned. */
static void put(struct call *call, const char *key, size_t count, size_t value_bytes)
{
	struct event_batch *batch = batch_new(fake.head + 1);

	for (size_t i = 0; i < count; i++) {
		struct event *event = &batch->events[i];

		batch_add(batch, EVENT_PUT, key);
		event->kv.value = bytes_of(big, value_bytes);
		event->kv.create_revision = 1;
		event->kv.version = 7;
		event->kv.lease = -1;
		event->has_prev = true;
		event->prev = event->kv;
		event->prev.mod_revision = 1;
		event->prev.value = BYTES_LITERAL("old");
	}
	fake_commit(&batch, 1, hub_on_commit, call->server.config.hub);
}

static void turn(struct call *call)
{
	while (loop_turn(call->loop))
		continue;
}

static const Etcdserverpb__WatchResponse *next(struct call *call)
{
	const Etcdserverpb__WatchResponse *response;

	if (call->read_count == call->sent_count)
		turn(call);
	assert_true(call->read_count < call->sent_count);
	response = call->sent[call->read_count++];
	assert_int_equal(response->header->cluster_id, 11);
	assert_int_equal(response->header->member_id, 12);
	assert_int_equal(response->header->raft_term, 13);
	return response;
}

static void expect_nothing(struct call *call)
{
	turn(call);
	assert_int_equal(call->read_count, call->sent_count);
}

/* --- tests --- */

static void test_a_put_is_told_in_full(void **state)
{
	Etcdserverpb__WatchCreateRequest spec = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
	const Etcdserverpb__WatchResponse *response;
	struct call *call = *state;
	Mvccpb__Event *event;

	spec.prev_kv = true;
	spec.watch_id = 5;
	create(call, &spec, "a");
	response = next(call);
	assert_true(response->created && !response->canceled);
	assert_int_equal(response->watch_id, 5);
	assert_int_equal(response->header->revision, 1);
	assert_int_equal(call->posts, 0); /* the handler itself looks after its own */
	put(call, "a", 2, 3);
	response = next(call);
	assert_int_equal(call->posts, 1);
	assert_int_equal(response->watch_id, 5);
	assert_int_equal(response->header->revision, 2);
	assert_false(response->created || response->canceled || response->fragment);
	assert_int_equal(response->n_events, 2);
	event = response->events[1];
	assert_int_equal(event->type, MVCCPB__EVENT__EVENT_TYPE__PUT);
	assert_memory_equal(event->kv->key.data, "a", 1);
	assert_int_equal(event->kv->value.len, 3);
	assert_int_equal(event->kv->create_revision, 1);
	assert_int_equal(event->kv->mod_revision, 2);
	assert_int_equal(event->kv->version, 7);
	assert_int_equal(event->kv->lease, -1);
	assert_memory_equal(event->prev_kv->value.data, "old", 3);
	expect_nothing(call);
}

static void test_without_prev_kv_there_is_none(void **state)
{
	struct call *call = *state;

	create_plain(call, "a", 0);
	assert_true(next(call)->created);
	put(call, "a", 1, 3);
	assert_null(next(call)->events[0]->prev_kv);
}

static void test_refusals_and_cancels(void **state)
{
	const Etcdserverpb__WatchResponse *response;
	struct call *call = *state;

	create_plain(call, "a", -3);
	response = next(call);
	assert_true(response->created && response->canceled);
	assert_int_equal(response->watch_id, -1);
	assert_int_equal(response->compact_revision, 0);
	assert_string_equal(response->cancel_reason,
			    "etcdserver: mvcc: required revision has been compacted");
	cancel(call, 0);
	create_plain(call, "a", 0);
	assert_true(next(call)->created);
	cancel(call, 0);
	response = next(call);
	assert_true(response->canceled && !response->created);
	assert_int_equal(response->header->revision, 1);
	assert_string_equal(response->cancel_reason, "");
	expect_nothing(call);
}

static void test_a_compacted_start_tells_the_compact_revision(void **state)
{
	const Etcdserverpb__WatchResponse *response;
	struct call *call = *state;

	for (int i = 0; i < 5; i++)
		put(call, "a", 1, 1);
	fake_compact(4);
	create_plain(call, "a", 2);
	assert_true(next(call)->created);
	response = next(call);
	assert_true(response->canceled && !response->created);
	assert_int_equal(response->watch_id, 0);
	assert_int_equal(response->compact_revision, 4);
	assert_int_equal(response->header->revision, 0);
	expect_nothing(call);
}

static void test_progress_is_answered_with_id_minus_one(void **state)
{
	const Etcdserverpb__WatchResponse *response;
	struct call *call = *state;

	ask_progress(call);
	expect_nothing(call);
	create_plain(call, "a", 0);
	assert_true(next(call)->created);
	put(call, "b", 1, 1);
	ask_progress(call);
	response = next(call);
	assert_int_equal(response->watch_id, -1);
	assert_int_equal(response->header->revision, 2);
	assert_int_equal(response->n_events, 0);
	expect_nothing(call);
}

static void test_large_responses_are_cut_where_asked(void **state)
{
	Etcdserverpb__WatchCreateRequest spec = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
	const Etcdserverpb__WatchResponse *response;
	struct call *call = *state;

	spec.fragment = true;
	create(call, &spec, "a");
	create_plain(call, "a", 0);
	assert_true(next(call)->created);
	assert_true(next(call)->created);
	call->full_after = 4; /* in the middle of the fragments */
	put(call, "a", 7, sizeof(big));
	put(call, "a", 1, sizeof(big));
	for (int i = 0; i < 3; i++) {
		response = next(call);
		assert_int_equal(response->watch_id, 0);
		assert_int_equal(response->header->revision, 2);
		assert_int_equal(response->n_events, i < 2 ? 3 : 1);
		assert_int_equal(response->fragment, i < 2);
		assert_true(call->sizes[call->read_count - 1] < (100 + 512) * KIB);
		if (i == 1) {
			expect_nothing(call);
			call->full_after = SIZE_MAX;
			watch_writable(call);
		}
	}
	response = next(call);
	assert_int_equal(response->watch_id, 1);
	assert_int_equal(response->n_events, 7);
	assert_false(response->fragment);
	assert_int_equal(next(call)->watch_id, 0);
	assert_int_equal(next(call)->watch_id, 1);
	expect_nothing(call);
}

static void test_one_large_event_is_never_cut(void **state)
{
	Etcdserverpb__WatchCreateRequest spec = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
	const Etcdserverpb__WatchResponse *response;
	static char huge[700 * KIB];
	struct call *call = *state;
	struct event_batch *batch = batch_new(2);

	spec.fragment = true;
	create(call, &spec, "a");
	assert_true(next(call)->created);
	for (int i = 0; i < 2; i++) {
		batch_add(batch, EVENT_PUT, "a");
		batch->events[i].kv.value = bytes_of(huge, sizeof(huge));
	}
	fake_commit(&batch, 1, hub_on_commit, call->server.config.hub);
	response = next(call);
	assert_int_equal(response->n_events, 1);
	assert_true(response->fragment);
	response = next(call);
	assert_int_equal(response->n_events, 1);
	assert_false(response->fragment);
	expect_nothing(call);
}

static void test_a_full_call_takes_nothing(void **state)
{
	struct call *call = *state;

	create_plain(call, "a", 0);
	assert_true(next(call)->created);
	call->full_after = 1;
	for (int i = 0; i < 10; i++)
		put(call, "a", 1, 1);
	expect_nothing(call);
	assert_int_equal(call->posts, 1); /* and wakes are not repeated */
	call->full_after = SIZE_MAX;
	watch_writable(call);
	for (int i = 0; i < 10; i++)
		assert_int_equal(next(call)->header->revision, 2 + i);
	expect_nothing(call);
}

static void test_history_comes_in_one_response(void **state)
{
	const Etcdserverpb__WatchResponse *response;
	struct call *call = *state;

	for (int i = 0; i < 10; i++)
		put(call, i % 2 ? "a" : "b", 1, 1);
	create_plain(call, "a", 3);
	assert_true(next(call)->created);
	response = next(call);
	assert_int_equal(response->n_events, 5);
	assert_int_equal(response->header->revision, 11);
	expect_nothing(call);
}

static void test_history_is_read_one_slice_per_turn(void **state)
{
	struct call *call = *state;

	fake.rows_max = 1;
	for (int i = 0; i < 4; i++)
		put(call, "a", 1, 1);
	create_plain(call, "a", 2);
	assert_int_equal(call->sent_count, 2); /* created, and one event */
	loop_turn(call->loop);
	assert_int_equal(call->sent_count, 3);
	loop_turn(call->loop);
	assert_int_equal(call->sent_count, 4);
	turn(call);
	assert_int_equal(call->sent_count, 5);
}

static void test_a_failing_read_ends_the_call(void **state)
{
	struct call *call = *state;

	put(call, "a", 1, 1);
	fake.next_error = ERR_STORAGE;
	create_plain(call, "a", 2);
	turn(call);
	assert_true(call->is_ended);
	assert_int_equal(call->status, STATUS_INTERNAL);
}

static void test_malformed_requests_end_the_call(void **state)
{
	static const char *const bad[] = {"\x0a",	 "\x0a\x05\x0a",	 "\x0a\x02\x0a\x7f",
					  "\xff\xff",	 "\x0a\x03\x2a\x01\xff", "\x12\x01\x08",
					  "\x1a\x01\x08"};
	struct call *call = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		watch_message(call, bytes_of_string(bad[i]));
		assert_true(call->is_ended);
		assert_int_equal(call->status, STATUS_INTERNAL);
		call->is_ended = false;
	}
	watch_message(call, bytes_of(NULL, 0)); /* nothing asked is nothing wrong */
	watch_message(call, bytes_of_string("\xf2\x01\x01\x41")); /* an unknown field */
	assert_false(call->is_ended);
	expect_nothing(call);
}

static void test_filters_may_be_packed_or_not(void **state)
{
	static const char *const creates[] = {"\x0a\x07\x0a\x01\x61\x2a\x02\x05\x01",
					      "\x0a\x07\x0a\x01\x61\x28\x01\x28\x05"};
	struct event_batch *batches[2] = {batch_new(2), batch_new(3)};
	struct call *call = *state;

	for (int i = 0; i < 2; i++) {
		watch_message(call, bytes_of_string(creates[i]));
		assert_true(next(call)->created);
	}
	batch_add(batches[0], EVENT_DELETE, "a");
	batch_add(batches[1], EVENT_PUT, "a");
	fake_commit(batches, 2, hub_on_commit, call->server.config.hub);
	assert_int_equal(next(call)->header->revision, 3); /* NODELETE, in both */
	assert_int_equal(next(call)->header->revision, 3);
	expect_nothing(call);
}

static void test_the_last_member_of_the_oneof_counts(void **state)
{
	struct call *call = *state;

	/* A create of "a", then a cancel of 3 in one message. */
	watch_message(call, bytes_of_string("\x0a\x03\x0a\x01\x61\x12\x02\x08\x03"));
	expect_nothing(call);
	/* The other way round. */
	watch_message(call, bytes_of_string("\x12\x02\x08\x03\x0a\x03\x0a\x01\x61"));
	assert_true(next(call)->created);
}

static void test_a_wake_up_under_way_keeps_an_ended_call(void **state)
{
	struct call *call = *state;

	create_plain(call, "a", 0);
	put(call, "a", 1, 1);
	assert_int_equal(call->posts, 1);
	call->is_ended = true;
	watch_end(call);
	assert_int_equal(call->holds, 1);
	turn(call);
	assert_int_equal(call->holds, 0);
	watch_end(call); /* as the teardown does; harmless */
}

static void test_the_ticker_tells_progress(void **state)
{
	Etcdserverpb__WatchCreateRequest spec = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
	const Etcdserverpb__WatchResponse *response;
	struct call *call = *state;

	watch_end(call);
	assert_int_equal(call->holds, 0);
	memset(call->state, 0, sizeof(call->state));
	call->server.config.progress_interval_ms = 20;
	watch_open(call);
	spec.progress_notify = true;
	create(call, &spec, "a");
	assert_true(next(call)->created);
	while (call->read_count == call->sent_count)
		loop_turn(call->loop);
	response = next(call);
	assert_int_equal(response->watch_id, 0);
	assert_int_equal(response->n_events, 0);
	assert_int_equal(response->header->revision, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_put_is_told_in_full),
		TEST(test_without_prev_kv_there_is_none),
		TEST(test_refusals_and_cancels),
		TEST(test_a_compacted_start_tells_the_compact_revision),
		TEST(test_progress_is_answered_with_id_minus_one),
		TEST(test_large_responses_are_cut_where_asked),
		TEST(test_one_large_event_is_never_cut),
		TEST(test_a_full_call_takes_nothing),
		TEST(test_history_comes_in_one_response),
		TEST(test_history_is_read_one_slice_per_turn),
		TEST(test_a_failing_read_ends_the_call),
		TEST(test_malformed_requests_end_the_call),
		TEST(test_filters_may_be_packed_or_not),
		TEST(test_the_last_member_of_the_oneof_counts),
		TEST(test_a_wake_up_under_way_keeps_an_ended_call),
		TEST(test_the_ticker_tells_progress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
