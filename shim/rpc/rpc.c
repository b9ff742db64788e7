/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/rpc/rpc_internal.h"

#include "shim/base/limits.h"

#include <assert.h>
#include <stdio.h>

/* --- answers --- */

struct wire_header rpc_header(const struct rpc_server *server, int64_t revision)
{
	return (struct wire_header){
		.cluster_id = server->identity.cluster_id,
		.member_id = server->identity.member_id,
		.revision = revision,
		.raft_term = server->identity.term,
	};
}

Etcdserverpb__ResponseHeader rpc_pb_header(const struct rpc_server *server, int64_t revision)
{
	Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;

	header.cluster_id = server->identity.cluster_id;
	header.member_id = server->identity.member_id;
	header.revision = revision;
	header.raft_term = server->identity.term;
	return header;
}

void rpc_fail_decode(struct call *call, const struct codec *codec, enum err e)
{
	/* grpc-go has one text for the request of a unary method and another for what it receives
	 * on a stream. */
	const char *what = call_method(call)->kind == METHOD_UNARY
				   ? "grpc: error unmarshalling request"
				   : "grpc: failed to unmarshal the received message";
	char text[256];

	if (e != ERR_MALFORMED) {
		call_fail(call, e);
		return;
	}
	snprintf(text, sizeof(text), "%s: %s", what, codec->problem);
	call_finish(call, STATUS_INTERNAL, text);
}

void rpc_reply_packed(struct call *call, const ProtobufCMessage *message)
{
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);
	size_t size = protobuf_c_message_get_packed_size(message);

	if (!buffer_reserve(&out, size)) {
		call_fail(call, fault(ERR_NOMEM, "an answer of %zu bytes", size));
		return;
	}
	out.size = protobuf_c_message_pack(message, buffer_end(&out));
	assert(out.size == size);
	call_reply(call, &out);
}

void rpc_reply_header(struct call *call, int64_t revision)
{
	struct wire_header header = rpc_header(rpc_of(call), revision);
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);
	size_t size = wire_header_size(&header);
	uint8_t *to;

	if (!buffer_reserve(&out, wire_message_size(1, size))) {
		call_fail(call, fault(ERR_NOMEM, "an answer's header"));
		return;
	}
	to = wire_put_message(buffer_end(&out), 1, size);
	to = wire_put_header(to, &header);
	out.size = (size_t)(to - buffer_end(&out));
	call_reply(call, &out);
}

bool rpc_take_numbers(struct call *call, struct bytes message, uint64_t *ret_numbers, size_t count)
{
	struct codec codec = CODEC_INIT(call_arena(call));
	enum err e = codec_numbers(&codec, message, ret_numbers, count);

	if (e)
		rpc_fail_decode(call, &codec, e);
	return !e;
}

enum err rpc_check_size(const struct rpc_server *server, struct bytes message)
{
	return check_size(message.size, server->identity.member_id,
			  server->config.request_bytes_max);
}

/* --- a write to the store and back --- */

static void write_back(struct call *call) /* loop */
{
	struct rpc_write *write = call_state(call);

	if (!call_is_ended(call)) {
		if (write->op.err)
			call_fail(call, write->op.err);
		else
			write->reply(call, &write->op);
	}
	arena_fini(&write->results);
	call_release(call);
}

static void write_done(struct op *op) /* writer: hand back, nothing else */
{
	struct rpc_write *write = container_of(op, struct rpc_write, op);
	struct rpc_server *server = rpc_of(write->call);

	server->done_loop = call_loop(write->call);
	call_post_later(write->call, write_back, &server->done);
}

void rpc_server_answered(struct rpc_server *server) /* writer */
{
	if (server->done.first)
		loop_post_chain(server->done_loop, &server->done);
}

struct op *rpc_op(struct call *call, enum op_kind kind)
{
	struct rpc_write *write = call_state(call);

	write->call = call;
	write->op.kind = kind;
	write->op.arena = &write->results;
	write->op.on_done = write_done;
	return &write->op;
}

static void submit_all(struct rpc_server *server)
{
	struct inbox_node *node = server->submitted.first;
	enum err e = node ? store_submit_chain(server->config.store, &server->submitted) : ERR_OK;

	if (!e)
		return;
	server->submitted = (struct inbox_chain){0};
	while (node) {
		struct op *op = container_of(node, struct op, node);

		node = node->next;
		op->err = e;
		write_back(container_of(op, struct rpc_write, op)->call);
	}
}

static void on_submit(struct loop_task *task)
{
	struct rpc_server *server = container_of(task, struct rpc_server, submit);

	server->is_submit_due = false;
	submit_all(server);
}

void rpc_submit(struct call *call, void (*reply)(struct call *call, const struct op *op))
{
	struct rpc_write *write = call_state(call);
	struct rpc_server *server = rpc_of(call);

	write->reply = reply;
	arena_init(&write->results, CALL_ARENA_BYTES_MAX);
	write->results.meter = &rpc_of(call)->results;
	call_hold(call);
	if (!server->is_submit_due)
		loop_later(call_loop(call), &server->submit);
	server->is_submit_due = true;
	inbox_chain_add(&server->submitted, &write->op.node);
	if (server->submitted.count == WRITER_CHAIN_OPS_MAX)
		submit_all(server);
}

/* --- jobs that read everything --- */

static void job_work(struct loop_job *loop_job) /* pool thread */
{
	struct rpc_job *job = container_of(loop_job, struct rpc_job, job);

	job->err = store_reader_new(job->store, &job->reader);
	if (!job->err)
		job->work(job);
	store_reader_free(job->reader);
	job->reader = NULL;
}

static void job_done(struct loop_job *loop_job)
{
	struct rpc_job *job = container_of(loop_job, struct rpc_job, job);
	struct call *call = job->call;

	job->reply(job);
	call_release(call);
}

bool rpc_job_take(struct rpc_server *server)
{
	if (server->jobs == RPC_JOBS_MAX)
		return false;
	server->jobs++;
	return true;
}

void rpc_job_give(struct rpc_server *server)
{
	assert(server->jobs > 0);
	server->jobs--;
}

enum err rpc_start_job(struct call *call, void (*work)(struct rpc_job *job),
		       void (*reply)(struct rpc_job *job))
{
	struct rpc_server *server = rpc_of(call);
	struct rpc_job *job = call_state(call);
	enum err e;

	if (!rpc_job_take(server))
		return ERR_TOO_MANY_REQUESTS;
	*job = (struct rpc_job){
		.job = {.work = job_work, .done = job_done},
		.call = call,
		.store = server->config.store,
		.work = work,
		.reply = reply,
	};
	call_hold(call);
	e = loop_offload(call_loop(call), &job->job);
	if (e) {
		call_release(call);
		rpc_job_give(server);
	}
	return e;
}

/* --- life --- */

enum err rpc_server_init(struct rpc_server *server, const struct rpc_config *config)
{
	struct store_reader *reader;
	enum err e = store_reader_new(config->store, &reader);

	if (e)
		return e;
	*server = (struct rpc_server){
		.config = *config,
		.identity = store_identity(config->store),
		.reader = reader,
		.submit = {.fn = on_submit},
	};
	snapshot_sweep(config->snapshot_dir);
	return ERR_OK;
}

void rpc_server_fini(struct rpc_server *server)
{
	if (!server)
		return;
	assert(server->jobs == 0 && !server->submitted.first && !server->done.first);
	store_reader_free(server->reader);
	server->reader = NULL;
}
