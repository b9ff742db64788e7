/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/metrics_page.h"

#include "shim/base/version.h"
#include "shim/version.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum type { COUNTER, GAUGE };

struct row {
	const char *name;
	enum type type;
	const char *help;
	double value;
};

static bool write_rows(const struct row *rows, size_t count, struct buffer *out)
{
	bool ok = true;

	for (size_t i = 0; ok && i < count; i++)
		ok = buffer_append_format(out, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n",
					  rows[i].name, rows[i].help, rows[i].name,
					  rows[i].type == COUNTER ? "counter" : "gauge",
					  rows[i].name, rows[i].value);
	return ok;
}

#define WRITE(rows, out) write_rows((rows), sizeof(rows) / sizeof *(rows), (out))

/* A single node is always its own leader; what speaks of peers is constant. */
static bool write_raft(const struct store_stats *stats, struct buffer *out)
{
	double writes = (double)(stats->puts + stats->deletes + stats->txns);
	const struct row rows[] = {
		{"etcd_server_has_leader", GAUGE, "Whether or not a leader exists. 1 is existence.",
		 1},
		{"etcd_server_is_leader", GAUGE, "Whether or not this member is a leader.", 1},
		{"etcd_server_is_learner", GAUGE, "Whether or not this member is a learner.", 0},
		{"etcd_server_leader_changes_seen_total", COUNTER,
		 "The number of leader changes seen.", 1},
		{"etcd_server_proposals_committed_total", GAUGE,
		 "The total number of consensus proposals committed: here, writes made durable.",
		 writes},
		{"etcd_server_proposals_applied_total", GAUGE,
		 "The total number of consensus proposals applied.", writes},
		{"etcd_server_proposals_pending", GAUGE,
		 "The current number of pending proposals to commit: writes queued for the writer.",
		 (double)stats->pending_ops},
		{"etcd_server_proposals_failed_total", COUNTER,
		 "The total number of failed proposals seen.", 0},
		{"etcd_server_slow_apply_total", COUNTER,
		 "The total number of slow apply requests: commits over 100 ms.",
		 (double)stats->slow_commits},
		{"etcd_server_slow_read_indexes_total", COUNTER,
		 "The total number of pending read indexes not in sync with leader's.", 0},
		{"etcd_server_read_indexes_failed_total", COUNTER,
		 "The total number of failed read indexes seen.", 0},
		{"etcd_server_heartbeat_send_failures_total", COUNTER,
		 "The total number of leader heartbeat send failures.", 0},
	};

	return WRITE(rows, out);
}

static bool write_server(const struct metrics_sources *sources, const struct store_stats *stats,
			 struct buffer *out)
{
	struct server_stats net;
	const struct health_counts *health = sources->health;

	server_stats(sources->server, &net);

	const struct row rows[] = {
		{"etcd_server_quota_backend_bytes", GAUGE,
		 "Current backend storage quota size in bytes.", (double)stats->quota_bytes},
		{"etcd_server_health_success", COUNTER,
		 "The total number of successful health checks.", (double)health->success},
		{"etcd_server_health_failures", COUNTER,
		 "The total number of failed health checks.", (double)health->failures},
		{"etcd_network_client_grpc_received_bytes_total", COUNTER,
		 "The total number of bytes received from grpc clients.",
		 (double)net.received_bytes},
		{"etcd_network_client_grpc_sent_bytes_total", COUNTER,
		 "The total number of bytes sent to grpc clients.", (double)net.sent_bytes},
		{"kedge_client_connections", GAUGE, "Open client connections.",
		 (double)net.connections},
		{"kedge_client_connections_total", COUNTER, "Client connections accepted.",
		 (double)net.connections_total},
		{"kedge_client_connections_refused_total", COUNTER,
		 "Client connections refused: TLS failures, or no room.",
		 (double)net.connections_refused},
		{"kedge_request_memory_bytes", GAUGE, "Memory of requests in progress.",
		 (double)net.memory_bytes},
		{"kedge_request_memory_closed_total", COUNTER,
		 "Connections closed because they held most of it.", (double)net.memory_closed},
		{"kedge_request_memory_refused_total", COUNTER,
		 "Requests refused after waiting for it.", (double)net.memory_refused},
	};

	return WRITE(rows, out);
}

struct label_row {
	const char *name;
	const char *label;
	const char *value;
	const char *help;
};

static bool write_versions(const struct store *store, struct buffer *out)
{
	char member[24];
	const struct label_row rows[] = {
		{"etcd_server_version", "server_version", ETCD_API_VERSION,
		 "Which version is running."},
		{"etcd_cluster_version", "cluster_version", "3.7", "Which version is running."},
		{"etcd_server_id", "server_id", member, "Member ID in hexadecimal format."},
		{"kedge_version", "version", KEDGE_VERSION, "Version of kedge."},
		{"kedge_commit", "commit", version_build(), "Commit that kedge was built from."},
	};
	bool ok = true;

	snprintf(member, sizeof member, "%llx",
		 (unsigned long long)store_identity(store).member_id);
	for (size_t i = 0; ok && i < sizeof rows / sizeof *rows; i++)
		ok = buffer_append_format(
			out, "# HELP %s %s 1 for '%s' label.\n# TYPE %s gauge\n%s{%s=\"%s\"} 1\n",
			rows[i].name, rows[i].help, rows[i].label, rows[i].name, rows[i].name,
			rows[i].label, rows[i].value);
	return ok;
}

static bool write_store(const struct store *store, const struct store_stats *stats,
			struct buffer *out)
{
	int64_t compacted = store_compacted(store);
	const struct row rows[] = {
		{"etcd_mvcc_db_total_size_in_bytes", GAUGE,
		 "Total size of the underlying database physically allocated in bytes.",
		 (double)stats->file_bytes},
		{"etcd_mvcc_db_total_size_in_use_in_bytes", GAUGE,
		 "Total size of the underlying database logically in use in bytes.",
		 (double)stats->in_use_bytes},
		{"etcd_mvcc_put_total", COUNTER, "Total number of puts seen by this member.",
		 (double)stats->puts},
		{"etcd_mvcc_delete_total", COUNTER, "Total number of deletes seen by this member.",
		 (double)stats->deletes},
		{"etcd_mvcc_txn_total", COUNTER, "Total number of txns seen by this member.",
		 (double)stats->txns},
		{"etcd_mvcc_range_total", COUNTER, "Total number of ranges seen by this member.",
		 (double)stats->ranges},
		{"etcd_debugging_mvcc_keys_total", GAUGE, "Total number of keys.",
		 (double)stats->key_count},
		{"etcd_debugging_mvcc_current_revision", GAUGE, "The current revision of store.",
		 (double)store_head(store)},
		{"etcd_debugging_mvcc_compact_revision", GAUGE,
		 "The revision of the last compaction in store.",
		 (double)(compacted > 0 ? compacted : 0)},
		{"etcd_debugging_mvcc_db_compaction_keys_total", COUNTER,
		 "Total number of db keys compacted.", (double)stats->compacted_rows},
		{"etcd_debugging_lease_granted_total", COUNTER,
		 "The total number of granted leases.", (double)stats->leases_granted},
		{"etcd_debugging_lease_revoked_total", COUNTER,
		 "The total number of revoked leases.", (double)stats->leases_revoked},
		{"etcd_debugging_lease_renewed_total", COUNTER,
		 "The number of renewed leases seen by the leader.", (double)stats->leases_renewed},
		{"etcd_debugging_server_lease_expired_total", COUNTER,
		 "The total number of expired leases.", (double)stats->leases_expired},
		{"kedge_value_cache_bytes", GAUGE, "Values kept in memory.",
		 (double)stats->value_cache_bytes},
		{"kedge_value_cache_hits_total", COUNTER, "Values found in memory.",
		 (double)stats->value_cache_hits},
		{"kedge_value_cache_misses_total", COUNTER, "Values read from the database.",
		 (double)stats->value_cache_misses},
		{"kedge_leases", GAUGE, "Leases that live.", (double)stats->lease_count},
		{"kedge_commits_total", COUNTER, "Group commits made durable.",
		 (double)stats->commits},
	};

	return WRITE(rows, out);
}

static bool write_commit_histogram(const struct store_stats *stats, const char *name,
				   const char *help, struct buffer *out)
{
	const size_t buckets =
		sizeof stats->commit_seconds_bucket / sizeof *stats->commit_seconds_bucket;
	uint64_t below = 0;
	double edge = 0.001;
	bool ok =
		buffer_append_format(out, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);

	for (size_t i = 0; ok && i < buckets; i++, edge *= 2) {
		below += stats->commit_seconds_bucket[i];
		ok = buffer_append_format(out, "%s_bucket{le=\"%g\"} %llu\n", name, edge,
					  (unsigned long long)below);
	}
	return ok && buffer_append_format(
			     out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %g\n%s_count %llu\n", name,
			     (unsigned long long)stats->commits, name, stats->commit_seconds_sum,
			     name, (unsigned long long)stats->commits);
}

static bool write_hub(struct hub *hub, struct buffer *out)
{
	struct hub_stats stats;

	hub_stats(hub, &stats);

	const struct row rows[] = {
		{"etcd_debugging_mvcc_watch_stream_total", GAUGE, "Total number of watch streams.",
		 (double)stats.streams},
		{"etcd_debugging_mvcc_watcher_total", GAUGE, "Total number of watchers.",
		 (double)stats.watchers},
		{"etcd_debugging_mvcc_slow_watcher_total", GAUGE,
		 "Total number of unsynced slow watchers.", (double)stats.slow_watchers},
		{"etcd_debugging_mvcc_events_total", COUNTER,
		 "Total number of events sent by this member.", (double)stats.events},
		{"etcd_debugging_mvcc_pending_events_total", GAUGE,
		 "Total number of pending events to be sent.", (double)stats.pending_events},
		{"kedge_watch_pending_bytes", GAUGE,
		 "Memory held by events waiting for slow clients.", (double)stats.pending_bytes},
	};

	return WRITE(rows, out);
}

/* Resident bytes from /proc/self/statm; 0 where that cannot be read. */
static double resident_bytes(void)
{
	long total = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%ld %ld", &total, &resident) != 2)
		resident = 0;
	fclose(file);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double open_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	double count = 0;

	if (!folder)
		return 0;
	while (readdir(folder))
		count++;
	closedir(folder);
	return count > 3 ? count - 3 : 0; /* ".", ".." and this folder itself */
}

/* Moves with the date: a machine that booted in 1970 tells the true time of it once its clock was
 * set. */
static double boot_seconds(void)
{
	FILE *file = fopen("/proc/stat", "re");
	char *line = NULL;
	size_t line_bytes = 0;
	double boot = 0;

	if (!file)
		return 0;
	while (getline(&line, &line_bytes, file) >= 0 && sscanf(line, "btime %lf", &boot) != 1)
		;
	free(line);
	fclose(file);
	return boot;
}

static double start_seconds(void)
{
	unsigned long long ticks = 0; /* from boot to our start */
	FILE *file = fopen("/proc/self/stat", "re");

	if (!file)
		return 0;
	if (fscanf(file,
		   "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
		   "%*d %*d %*d %*d %llu",
		   &ticks) != 1)
		ticks = 0;
	fclose(file);
	return boot_seconds() + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static bool write_process(struct buffer *out)
{
	struct rusage usage;
	struct rlimit limit;

	getrusage(RUSAGE_SELF, &usage);
	getrlimit(RLIMIT_NOFILE, &limit);

	double cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
			     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	double used = open_descriptors();
	const struct row rows[] = {
		{"process_cpu_seconds_total", COUNTER,
		 "Total user and system CPU time spent in seconds.", cpu_seconds},
		{"process_resident_memory_bytes", GAUGE, "Resident memory size in bytes.",
		 resident_bytes()},
		{"process_open_fds", GAUGE, "Number of open file descriptors.", used},
		{"process_max_fds", GAUGE, "Maximum number of open file descriptors.",
		 (double)limit.rlim_cur},
		{"process_start_time_seconds", GAUGE,
		 "Start time of the process since unix epoch in seconds.", start_seconds()},
		{"os_fd_used", GAUGE, "The number of used file descriptors.", used},
		{"os_fd_limit", GAUGE, "The file descriptor limit.", (double)limit.rlim_cur},
	};

	return WRITE(rows, out);
}

bool metrics_page_write(const struct metrics_sources *sources, struct buffer *out)
{
	struct store_stats stats;

	store_stats(sources->store, &stats);
	return write_raft(&stats, out) && write_server(sources, &stats, out) &&
	       write_versions(sources->store, out) && write_store(sources->store, &stats, out) &&
	       write_commit_histogram(&stats, "etcd_disk_wal_fsync_duration_seconds",
				      "The latency distributions of fsync: one per group commit.",
				      out) &&
	       write_commit_histogram(&stats, "etcd_disk_backend_commit_duration_seconds",
				      "The latency distributions of commit called by backend.",
				      out) &&
	       write_hub(sources->hub, out) && write_process(out) &&
	       call_metrics_write(sources->calls, sources->extensive, out);
}
