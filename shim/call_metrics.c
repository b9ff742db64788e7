/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/call_metrics.h"

#include "shim/base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const double bucket_seconds[CALL_SECONDS_BUCKETS] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
							    0.5,   1,	 2.5,	5,    10};

static const char *const status_words[CALL_STATUS_COUNT] = {
	"OK",
	"Canceled",
	"Unknown",
	"InvalidArgument",
	"DeadlineExceeded",
	"NotFound",
	"AlreadyExists",
	"PermissionDenied",
	"ResourceExhausted",
	"FailedPrecondition",
	"Aborted",
	"OutOfRange",
	"Unimplemented",
	"Internal",
	"Unavailable",
	"DataLoss",
	"Unauthenticated",
};

static const char *const kind_words[] = {"unary", "client_stream", "server_stream", "bidi_stream"};

enum err call_metrics_init(struct call_metrics *metrics, const struct method *methods,
			   size_t method_count)
{
	metrics->methods = methods;
	metrics->method_count = method_count;
	metrics->counts = calloc(method_count, sizeof *metrics->counts);
	return metrics->counts ? ERR_OK : fault(ERR_NOMEM, "call metrics");
}

void call_metrics_fini(struct call_metrics *metrics)
{
	free(metrics->counts);
	metrics->counts = NULL;
}

static struct call_counts *counts_of(struct call_metrics *metrics, const struct method *method)
{
	size_t index = (size_t)(method - metrics->methods);

	assert(index < metrics->method_count);
	return &metrics->counts[index];
}

void call_metrics_started(struct call_metrics *metrics, const struct method *method)
{
	counts_of(metrics, method)->started++;
}

void call_metrics_ended(struct call_metrics *metrics, const struct method *method,
			enum status status, int64_t took_ns)
{
	struct call_counts *counts = counts_of(metrics, method);
	double seconds = (double)took_ns / (double)NS_PER_SECOND;
	size_t bucket = 0;

	while (bucket < CALL_SECONDS_BUCKETS && seconds > bucket_seconds[bucket])
		bucket++;
	counts->seconds_bucket[bucket]++;
	counts->seconds_sum += seconds;
	counts->handled[status < CALL_STATUS_COUNT ? status : STATUS_UNKNOWN]++;
}

void call_metrics_message(struct call_metrics *metrics, const struct method *method, bool sent)
{
	struct call_counts *counts = counts_of(metrics, method);

	if (sent)
		counts->messages_sent++;
	else
		counts->messages_received++;
}

#define LABELS "grpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\""

static bool write_counter(const struct call_metrics *metrics, const char *name, const char *help,
			  size_t offset, struct buffer *out)
{
	bool ok = buffer_append_format(out, "# HELP %s %s\n# TYPE %s counter\n", name, help, name);

	for (size_t i = 0; ok && i < metrics->method_count; i++) {
		const struct method *m = &metrics->methods[i];
		const char *counts = (const char *)&metrics->counts[i];

		ok = buffer_append_format(
			out, "%s{" LABELS "} %llu\n", name, m->name, m->service,
			kind_words[m->kind],
			*(const unsigned long long *)(const void *)(counts + offset));
	}
	return ok;
}

static bool write_handled(const struct call_metrics *metrics, struct buffer *out)
{
	bool ok = buffer_append_format(
		out,
		"# HELP grpc_server_handled_total Total number of RPCs completed on the server, "
		"regardless of success or failure.\n# TYPE grpc_server_handled_total counter\n");

	for (size_t i = 0; i < metrics->method_count; i++) {
		const struct method *m = &metrics->methods[i];

		for (size_t code = 0; ok && code < CALL_STATUS_COUNT; code++) {
			uint64_t handled = metrics->counts[i].handled[code];

			/* OK is always there, so that rates have a first sample; the rest on use.
			 */
			if (handled || code == STATUS_OK)
				ok = buffer_append_format(
					out,
					"grpc_server_handled_total{grpc_code=\"%s\"," LABELS
					"} %llu\n",
					status_words[code], m->name, m->service,
					kind_words[m->kind], (unsigned long long)handled);
		}
	}
	return ok;
}

static bool write_histogram(const struct call_metrics *metrics, size_t index, struct buffer *out)
{
	const struct method *m = &metrics->methods[index];
	const struct call_counts *counts = &metrics->counts[index];
	const char *name = "grpc_server_handling_seconds";
	uint64_t below = 0;
	bool ok = true;

	for (size_t i = 0; ok && i <= CALL_SECONDS_BUCKETS; i++) {
		char edge[16] = "+Inf";

		below += counts->seconds_bucket[i];
		if (i < CALL_SECONDS_BUCKETS)
			snprintf(edge, sizeof edge, "%g", bucket_seconds[i]);
		ok = buffer_append_format(out, "%s_bucket{" LABELS ",le=\"%s\"} %llu\n", name,
					  m->name, m->service, kind_words[m->kind], edge,
					  (unsigned long long)below);
	}
	return ok && buffer_append_format(out, "%s_sum{" LABELS "} %g\n%s_count{" LABELS "} %llu\n",
					  name, m->name, m->service, kind_words[m->kind],
					  counts->seconds_sum, name, m->name, m->service,
					  kind_words[m->kind], (unsigned long long)below);
}

bool call_metrics_write(const struct call_metrics *metrics, bool extensive, struct buffer *out)
{
	bool ok = write_counter(metrics, "grpc_server_started_total",
				"Total number of RPCs started on the server.",
				offsetof(struct call_counts, started), out) &&
		  write_handled(metrics, out) &&
		  write_counter(metrics, "grpc_server_msg_received_total",
				"Total number of RPC stream messages received on the server.",
				offsetof(struct call_counts, messages_received), out) &&
		  write_counter(metrics, "grpc_server_msg_sent_total",
				"Total number of gRPC stream messages sent by the server.",
				offsetof(struct call_counts, messages_sent), out);

	if (ok && extensive) {
		ok = buffer_append_format(out,
					  "# HELP grpc_server_handling_seconds Response latency of "
					  "RPCs until the server finished with them.\n"
					  "# TYPE grpc_server_handling_seconds histogram\n");
		for (size_t i = 0; ok && i < metrics->method_count; i++)
			ok = write_histogram(metrics, i, out);
	}
	return ok;
}
