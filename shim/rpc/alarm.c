/* SPDX-License-Identifier: Apache-2.0 */
/* alarm.c - Maintenance.Alarm, and how Status tells of alarms.
 *
 * In etcd an alarm belongs to a member, and a client may raise one in the name of a member that
 * does not exist, 0 included; it then works like any other until it is lowered in the same name.
 * The store knows one flag per alarm: the flag is set while anybody's alarm is up.  Whose it is is
 * kept here, in memory: after a restart every alarm is the server's own. */
#include "shim/rpc/rpc_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum alarm_action { ALARM_GET, ALARM_ACTIVATE, ALARM_DEACTIVATE };
enum alarm_field { ALARM_HEADER = 1, ALARM_ALARMS };
enum member_field { MEMBER_ID = 1, MEMBER_ALARM };

struct alarm_call {
	struct rpc_write write; /* first: the state of a write's call begins with it */
	enum alarm_action action;
	enum alarm alarm;
	uint64_t member_id;
};

static_assert(sizeof(struct alarm_call) <= ALARM_STATE_BYTES, "room of the call");

/* --- who raised what --- */

static size_t find_foreign(const struct rpc_alarms *alarms, enum alarm alarm, uint64_t member_id)
{
	size_t i = 0;

	while (i < alarms->foreign_count &&
	       (alarms->foreign[i].alarm != alarm || alarms->foreign[i].member_id != member_id))
		i++;
	return i;
}

static bool has_foreign(const struct rpc_alarms *alarms, enum alarm alarm)
{
	for (size_t i = 0; i < alarms->foreign_count; i++) {
		if (alarms->foreign[i].alarm == alarm)
			return true;
	}
	return false;
}

static void remove_foreign(struct rpc_alarms *alarms, size_t index)
{
	alarms->foreign[index] = alarms->foreign[--alarms->foreign_count];
}

/* Brings what is kept here in line with the flags: what the store raised by itself is its own. */
static void settle(struct rpc_server *server)
{
	struct rpc_alarms *alarms = &server->alarms;
	unsigned raised = store_alarms(server->config.store);

	for (size_t i = alarms->foreign_count; i-- > 0;) {
		if (!(raised & 1u << alarms->foreign[i].alarm))
			remove_foreign(alarms, i);
	}
	for (enum alarm alarm = ALARM_NOSPACE; alarm <= ALARM_CORRUPT; alarm++) {
		if (!(raised & 1u << alarm))
			alarms->is_own[alarm] = false;
		else if (!has_foreign(alarms, alarm))
			alarms->is_own[alarm] = true;
	}
}

static bool is_up(const struct rpc_server *server, enum alarm alarm, uint64_t member_id)
{
	const struct rpc_alarms *alarms = &server->alarms;

	if (member_id == server->identity.member_id)
		return alarms->is_own[alarm];
	return find_foreign(alarms, alarm, member_id) < alarms->foreign_count;
}

static void set_up(struct rpc_server *server, enum alarm alarm, uint64_t member_id)
{
	struct rpc_alarms *alarms = &server->alarms;

	if (is_up(server, alarm, member_id))
		return;
	if (member_id == server->identity.member_id) {
		alarms->is_own[alarm] = true;
	} else if (alarms->foreign_count < RPC_FOREIGN_ALARMS_MAX) {
		alarms->foreign[alarms->foreign_count].alarm = alarm;
		alarms->foreign[alarms->foreign_count++].member_id = member_id;
	}
}

static void set_down(struct rpc_server *server, enum alarm alarm, uint64_t member_id)
{
	struct rpc_alarms *alarms = &server->alarms;

	if (member_id == server->identity.member_id)
		alarms->is_own[alarm] = false;
	else if (is_up(server, alarm, member_id))
		remove_foreign(alarms, find_foreign(alarms, alarm, member_id));
}

size_t rpc_alarm_list(struct rpc_server *server, struct rpc_alarm *list)
{
	size_t count = 0;

	settle(server);
	for (enum alarm alarm = ALARM_NOSPACE; alarm <= ALARM_CORRUPT; alarm++) {
		if (server->alarms.is_own[alarm])
			list[count++] = (struct rpc_alarm){alarm, server->identity.member_id};
		for (size_t i = 0; i < server->alarms.foreign_count; i++) {
			if (server->alarms.foreign[i].alarm == alarm)
				list[count++] = (struct rpc_alarm){
					alarm, server->alarms.foreign[i].member_id};
		}
	}
	return count;
}

void rpc_alarm_text(const struct rpc_alarm *alarm, char text[RPC_ALARM_TEXT_BYTES])
{
	const char *name = alarm->alarm == ALARM_NOSPACE ? "NOSPACE" : "CORRUPT";

	if (alarm->member_id)
		snprintf(text, RPC_ALARM_TEXT_BYTES, "memberID:%" PRIu64 " alarm:%s",
			 alarm->member_id, name);
	else
		snprintf(text, RPC_ALARM_TEXT_BYTES, "alarm:%s", name);
}

/* --- the call --- */

static size_t member_size(const struct rpc_alarm *alarm)
{
	return wire_uint_size(MEMBER_ID, alarm->member_id) +
	       wire_uint_size(MEMBER_ALARM, alarm->alarm);
}

static void reply_alarms(struct call *call, const struct rpc_alarm *list, size_t count)
{
	struct rpc_server *server = rpc_of(call);
	struct wire_header header = rpc_header(server, store_head(server->config.store));
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);
	size_t size = wire_message_size(ALARM_HEADER, wire_header_size(&header));
	uint8_t *to;

	for (size_t i = 0; i < count; i++)
		size += wire_message_size(ALARM_ALARMS, member_size(&list[i]));
	if (!buffer_reserve(&out, size)) {
		call_fail(call, fault(ERR_NOMEM, "a list of %zu alarms", count));
		return;
	}
	to = wire_put_message(buffer_end(&out), ALARM_HEADER, wire_header_size(&header));
	to = wire_put_header(to, &header);
	for (size_t i = 0; i < count; i++) {
		to = wire_put_message(to, ALARM_ALARMS, member_size(&list[i]));
		to = wire_put_uint(to, MEMBER_ID, list[i].member_id);
		to = wire_put_uint(to, MEMBER_ALARM, list[i].alarm);
	}
	out.size = size;
	call_reply(call, &out);
}

static void reply_changed(struct call *call)
{
	struct alarm_call *state = call_state(call);
	struct rpc_alarm alarm = {state->alarm, state->member_id};

	if (state->action == ALARM_ACTIVATE)
		set_up(rpc_of(call), state->alarm, state->member_id);
	else
		set_down(rpc_of(call), state->alarm, state->member_id);
	reply_alarms(call, &alarm, 1);
}

static void alarm_written(struct call *call, const struct op *op)
{
	(void)op;
	reply_changed(call);
}

/* The flag goes up with the first of its alarms and down with the last. */
static void change(struct call *call)
{
	struct rpc_server *server = rpc_of(call);
	struct alarm_call *state = call_state(call);
	bool activate = state->action == ALARM_ACTIVATE;
	bool is_flag_up = store_alarms(server->config.store) & 1u << state->alarm;
	bool is_last;

	if (!activate && !is_up(server, state->alarm, state->member_id)) {
		reply_alarms(call, NULL, 0);
		return;
	}
	if (activate && server->alarms.foreign_count == RPC_FOREIGN_ALARMS_MAX &&
	    !is_up(server, state->alarm, state->member_id)) {
		call_fail(call, ERR_TOO_MANY_REQUESTS);
		return;
	}
	if (!activate)
		set_down(server, state->alarm, state->member_id);
	is_last =
		!server->alarms.is_own[state->alarm] && !has_foreign(&server->alarms, state->alarm);
	if (activate ? is_flag_up : !is_last) {
		reply_changed(call);
		return;
	}
	rpc_op(call, activate ? OP_ALARM_SET : OP_ALARM_CLEAR)->in.alarm = state->alarm;
	rpc_submit(call, alarm_written);
}

static void get(struct call *call, uint64_t wanted)
{
	struct rpc_alarm all[RPC_ALARMS_MAX];
	size_t count = rpc_alarm_list(rpc_of(call), all);
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (wanted == ALARM_NONE || all[i].alarm == wanted)
			all[kept++] = all[i];
	}
	reply_alarms(call, all, kept);
}

void maintenance_alarm(struct call *call, struct bytes message)
{
	struct alarm_call *state = call_state(call);
	uint64_t numbers[3];
	enum err e;

	if (!rpc_take_numbers(call, message, numbers, 3))
		return;
	e = rpc_check_size(rpc_of(call), message);
	if (!e && numbers[0] > ALARM_DEACTIVATE)
		e = ERR_UNKNOWN_METHOD;
	if (e) {
		call_fail(call, e);
		return;
	}
	if (numbers[0] == ALARM_GET) {
		get(call, numbers[2]);
		return;
	}
	settle(rpc_of(call));
	state->action = (enum alarm_action)numbers[0];
	state->member_id = numbers[1];
	if (numbers[2] < ALARM_NOSPACE || numbers[2] > ALARM_CORRUPT) {
		reply_alarms(call, NULL, 0); /* NONE, or what does not exist: nothing happens */
		return;
	}
	state->alarm = (enum alarm)numbers[2];
	change(call);
}
