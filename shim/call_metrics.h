/* SPDX-License-Identifier: Apache-2.0 */
/* call_metrics.h - counts of gRPC calls by method, in the names of grpc-go's Prometheus
 * interceptor, which etcd's dashboards and alerts use.
 *
 * Threads: the loop's.  Ownership: the table of methods must outlive it. */
#ifndef SHIM_CALL_METRICS_H
#define SHIM_CALL_METRICS_H

#include "shim/net/call.h"

#define CALL_STATUS_COUNT 17
#define CALL_SECONDS_BUCKETS 11 /* Prometheus' default buckets, 5 ms to 10 s */

struct call_counts {
	uint64_t started;
	uint64_t handled[CALL_STATUS_COUNT];
	uint64_t messages_received;
	uint64_t messages_sent;
	uint64_t seconds_bucket[CALL_SECONDS_BUCKETS + 1];
	double seconds_sum;
};

struct call_metrics {
	const struct method *methods;
	size_t method_count;
	struct call_counts *counts; /* one per method */
};

enum err call_metrics_init(struct call_metrics *metrics, const struct method *methods,
			   size_t method_count);
void call_metrics_fini(struct call_metrics *metrics);

void call_metrics_started(struct call_metrics *metrics, const struct method *method);
void call_metrics_ended(struct call_metrics *metrics, const struct method *method,
			enum status status, int64_t took_ns);
void call_metrics_message(struct call_metrics *metrics, const struct method *method, bool sent);

/* Appends the Prometheus text; histograms only when extensive. */
bool call_metrics_write(const struct call_metrics *metrics, bool extensive, struct buffer *out);

#endif
