/* SPDX-License-Identifier: Apache-2.0 */
/* Life of a call:
 *
 *	open --> messages, wake-ups, ticks, room to write: each ends in pump() --> end
 *
 * The call's memory is held until nothing is on its way any more: neither a wake-up from the writer
 * nor a later turn of the loop. */
#include "shim/rpc/watch.h"

#include "shim/base/limits.h"
#include "shim/base/list.h"
#include "shim/rpc/rpc.h"
#include "shim/rpc/watch_request.h"
#include "shim/rpc/watch_response.h"

#include <assert.h>
#include <stdatomic.h>

struct watch_call {
	struct call *call;
	struct hub_stream *stream; /* NULL when over */
	struct watch_voice voice;
	struct loop_timer ticker;
	struct loop_task turn; /* goes on with what did not fit into one turn */
	bool is_turn_due;
	bool is_in_message; /* pump() follows anyway, no wake-up is needed */
	atomic_bool is_posted;

	struct hub_item item; /* the one being sent */
	bool has_item;
	struct watch_cursor cursor;
};

static_assert(sizeof(struct watch_call) <= WATCH_STATE_BYTES, "it must fit into the call's state");

static struct watch_call *watch_of(struct call *call)
{
	return call_state(call);
}

static void item_end(struct watch_call *watch)
{
	if (watch->has_item)
		hub_item_done(&watch->item);
	watch->has_item = false;
}

static void release_if_over(struct watch_call *watch)
{
	if (!watch->stream && !watch->is_turn_due && !atomic_load(&watch->is_posted))
		call_release(watch->call);
}

/* --- out -------------------------------------------------------------------------------------- */

/* One message of the current item.  An error has ended the call. */
static enum err send_message(struct watch_call *watch)
{
	struct buffer message;
	bool is_done = false;
	enum err e = watch_response_next(&watch->voice, &watch->item, &watch->cursor, &message,
					 &is_done);

	if (e) {
		call_fail(watch->call, e);
		return e;
	}
	if (is_done)
		item_end(watch);
	call_send(watch->call, &message);
	return ERR_OK;
}

/* The next item, if there is one.  ret_more_now as hub_stream_next() says. */
static enum err take_item(struct watch_call *watch, bool *ret_more_now)
{
	enum err e =
		hub_stream_next(watch->stream, watch->voice.reader, &watch->item, ret_more_now);

	if (e == ERR_AGAIN)
		return e;
	if (e) {
		call_fail(watch->call, e);
		return e;
	}
	watch->has_item = true;
	watch->cursor = (struct watch_cursor){0};
	return ERR_OK;
}

static void go_on_later(struct watch_call *watch)
{
	if (watch->is_turn_due)
		return;
	watch->is_turn_due = true;
	loop_later(call_loop(watch->call), &watch->turn);
}

/* Sends what there is and what fits; somebody will call again when there is more or room for it.
 * One slice of history is enough for one turn: it may have cost much and said little. */
static void pump(struct watch_call *watch)
{
	unsigned items = 0;
	bool may_take = true;

	while (watch->stream && !call_is_ended(watch->call) && !call_is_full(watch->call)) {
		if (!watch->has_item) {
			bool more_now = true;
			enum err e = ERR_AGAIN;

			if (may_take && items++ < WATCH_TURN_ITEMS)
				e = take_item(watch, &more_now);
			if (e == ERR_AGAIN && more_now)
				go_on_later(watch);
			if (e)
				return;
			may_take = !watch->item.from_history;
		}
		if (send_message(watch))
			return;
	}
}

/* --- wake-ups --------------------------------------------------------------------------------- */

static void watch_posted(struct call *call)
{
	struct watch_call *watch = watch_of(call);

	atomic_store(&watch->is_posted, false);
	if (watch->stream)
		pump(watch);
	else
		release_if_over(watch);
}

static void watch_turn(struct loop_task *task)
{
	struct watch_call *watch = container_of(task, struct watch_call, turn);

	watch->is_turn_due = false;
	if (watch->stream)
		pump(watch);
	else
		release_if_over(watch);
}

/* Any thread, under the hub's lock.  A message of this call wakes nobody: its handler pumps. */
static void watch_ready(void *context)
{
	struct watch_call *watch = context;

	if (loop_is_current(call_loop(watch->call)) && watch->is_in_message)
		return;
	if (!atomic_exchange(&watch->is_posted, true))
		call_post(watch->call, watch_posted);
}

static void watch_ticked(struct loop_timer *timer)
{
	struct watch_call *watch = container_of(timer, struct watch_call, ticker);

	hub_tick(watch->stream);
}

/* Up to a tenth is added, so that watchers which came together are not told together. */
static void start_ticker(struct watch_call *watch, int64_t interval_ms)
{
	uint64_t period_ms;

	if (interval_ms <= 0)
		return;
	period_ms = (uint64_t)interval_ms;
	period_ms += uv_hrtime() % (period_ms / 10 + 1);
	loop_timer_start(call_loop(watch->call), &watch->ticker, period_ms, period_ms);
}

/* --- the call --------------------------------------------------------------------------------- */

void watch_open(struct call *call)
{
	const struct rpc_server *server = call_context(call);
	struct watch_call *watch = watch_of(call);
	enum err e;

	watch->call = call;
	watch->ticker.fn = watch_ticked;
	watch->turn.fn = watch_turn;
	watch->voice = (struct watch_voice){
		.reader = server->reader,
		.identity = server->identity,
		.fragment_bytes = server->config.request_bytes_max + REQUEST_OVERHEAD_BYTES,
	};
	e = hub_stream_open(server->config.hub, watch_ready, watch, &watch->stream);
	if (e) {
		call_fail(call, e);
		return;
	}
	call_hold(call);
	start_ticker(watch, server->config.progress_interval_ms);
}

static enum err obey(struct watch_call *watch, const struct watch_request *request)
{
	switch (request->kind) {
	case WATCH_CREATE:
		return hub_watch(watch->stream, &request->spec);
	case WATCH_CANCEL:
		hub_cancel(watch->stream, request->watch_id);
		return ERR_OK;
	case WATCH_PROGRESS:
		hub_progress(watch->stream);
		return ERR_OK;
	case WATCH_NOTHING:
		break; /* etcd ignores it, too */
	}
	return ERR_OK;
}

void watch_message(struct call *call, struct bytes message)
{
	struct watch_call *watch = watch_of(call);
	struct watch_request request;
	enum err e;

	if (!watch->stream)
		return;
	if (watch_request_read(message, &request)) {
		/* grpc-go's words for a message of a stream. */
		call_finish(call, STATUS_INTERNAL,
			    "grpc: failed to unmarshal the received message: proto: cannot parse "
			    "invalid wire-format data");
		return;
	}
	watch->is_in_message = true;
	e = obey(watch, &request);
	watch->is_in_message = false;
	call_set_held(call, hub_stream_bytes(watch->stream));
	if (e)
		call_fail(call, e);
	else
		pump(watch);
}

void watch_writable(struct call *call)
{
	pump(watch_of(call));
}

void watch_end(struct call *call)
{
	struct watch_call *watch = watch_of(call);

	if (!watch->stream)
		return; /* it never began */
	loop_timer_stop(&watch->ticker);
	item_end(watch);
	hub_stream_close(watch->stream); /* no wake-up comes after this */
	watch->stream = NULL;
	release_if_over(watch);
}
