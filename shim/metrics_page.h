/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_page.h - the body of /metrics: Prometheus text, etcd's names for what etcd measures too.
 *
 * Threads: the loop's (it reads snapshots of counters; nothing blocks).
 * Source of the names: etcd's metrics tests and the etcd-mixin's dashboards and alerts. */
#ifndef SHIM_METRICS_PAGE_H
#define SHIM_METRICS_PAGE_H

#include "shim/call_metrics.h"
#include "shim/net/server.h"
#include "shim/store/store.h"
#include "shim/watch/hub.h"

struct health_counts {
	uint64_t success;
	uint64_t failures;
};

struct metrics_sources {
	const struct store *store;
	struct hub *hub;
	const struct server *server;
	const struct call_metrics *calls;
	const struct health_counts *health;
	bool extensive;
};

/* false: the page would pass the buffer's maximum, or memory is out. */
bool metrics_page_write(const struct metrics_sources *sources, struct buffer *out);

#endif
