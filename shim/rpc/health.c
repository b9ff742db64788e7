/* SPDX-License-Identifier: Apache-2.0 */
/* health.c - the service grpc.health.v1.Health.  As in etcd only "", the server as a whole, is
 * registered; whoever gets an answer at all may take it that the server serves. */
#include "shim/rpc/rpc_internal.h"

#include "api/proto/health.pb-c.h"

/* Gives whether the request is sound; is_known: whether it names what is registered. */
static bool take_request(struct call *call, struct bytes message, bool *ret_is_known)
{
	struct codec codec = CODEC_INIT(call_arena(call));
	ProtobufCMessage *request;
	enum err e = codec_unpack(&codec, &grpc__health__v1__health_check_request__descriptor,
				  message, &request);

	if (e) {
		rpc_fail_decode(call, &codec, e);
		return false;
	}
	*ret_is_known = !((Grpc__Health__V1__HealthCheckRequest *)request)->service[0];
	return true;
}

void health_check(struct call *call, struct bytes message)
{
	Grpc__Health__V1__HealthCheckResponse response =
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	bool is_known;

	if (!take_request(call, message, &is_known))
		return;
	if (!is_known) {
		call_finish(call, STATUS_NOT_FOUND, "unknown service");
		return;
	}
	response.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	rpc_reply_packed(call, &response.base);
}

/* The status, and then silence, for it does not change while the server lives. */
void health_watch(struct call *call, struct bytes message)
{
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);
	bool is_known;
	uint8_t *to;

	if (!take_request(call, message, &is_known))
		return;
	if (!buffer_reserve(&out, 2)) {
		call_fail(call, fault(ERR_NOMEM, "a health answer"));
		return;
	}
	to = wire_put_uint(
		buffer_end(&out), 1,
		is_known
			? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
			: GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN);
	out.size = (size_t)(to - buffer_end(&out));
	call_send(call, &out);
}

/* One entry: the name "" and its status. */
void health_list(struct call *call, struct bytes message)
{
	static const uint8_t statuses[] = {0x0a, 6, 0x0a, 0, 0x12, 2, 0x08, 1};
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);

	(void)message; /* has no fields */
	if (!buffer_append(&out, bytes_of(statuses, sizeof(statuses))))
		call_fail(call, fault(ERR_NOMEM, "a health answer"));
	else
		call_reply(call, &out);
}
