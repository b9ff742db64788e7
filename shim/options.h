/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - every option of `kedge serve`: flag, field of struct config, kind, default, help.
 *
 * Names and meanings are etcd's 3.7 where kedge does the same.  IGNORED_OPTIONS are accepted so
 * that launchers written for etcd work; those that are set are named in one log line at start. */
#ifndef SHIM_OPTIONS_H
#define SHIM_OPTIONS_H

/* X(flag, field, kind, default, help) */
#define SERVE_OPTIONS(X)                                                                           \
	X("name", name, STRING, "default", "Human-readable name for this member.")                 \
	X("data-dir", data_dir, STRING, "", "Folder for the data; default ${name}.kedge.")         \
	X("listen-client-urls", listen_client_urls, STRING, "http://localhost:2379",               \
	  "Where to serve clients: http, https, unix or unixs URLs, comma-separated.")             \
	X("listen-client-http-urls", listen_client_http_urls, STRING, "",                          \
	  "Further URLs that serve only HTTP (/version, /health, /metrics).")                      \
	X("advertise-client-urls", advertise_client_urls, STRING, "http://localhost:2379",         \
	  "Client URLs told to others; must be reachable by clients that sync their endpoints.")   \
	X("listen-metrics-urls", listen_metrics_urls, STRING, "",                                  \
	  "URLs that serve /metrics, /health, /livez and /readyz besides the client port.")        \
	X("quota-backend-bytes", quota_backend_bytes, INT, "0",                                    \
	  "Database size in bytes that raises the NOSPACE alarm; 0: 2 GiB, negative: no quota.")   \
	X("max-txn-ops", max_txn_ops, UINT, "128", "Operations permitted in a transaction.")       \
	X("max-request-bytes", max_request_bytes, UINT, "1572864",                                 \
	  "Largest client request in bytes.")                                                      \
	X("max-concurrent-streams", max_concurrent_streams, UINT, "4294967295",                    \
	  "Concurrent calls per client connection.")                                               \
	X("request-memory-bytes", request_memory_bytes, UINT, "0",                                 \
	  "Memory for all requests in progress; 0: a quarter of the machine's, 1 GiB at most.")    \
	X("grpc-keepalive-min-time", keepalive_min_time_ns, DURATION, "5s",                        \
	  "Shortest time between pings of a client.")                                              \
	X("grpc-keepalive-interval", keepalive_interval_ns, DURATION, "2h",                        \
	  "How often an idle connection is pinged, 0 to disable.")                                 \
	X("grpc-keepalive-timeout", keepalive_timeout_ns, DURATION, "20s",                         \
	  "How long to wait for the answer to such a ping, 0 to disable.")                         \
	X("auto-compaction-retention", auto_compaction_retention, STRING, "0",                     \
	  "History kept by automatic compaction, 0: off.  kube-apiserver compacts by itself.")     \
	X("auto-compaction-mode", auto_compaction_mode, STRING, "periodic",                        \
	  "periodic (retention is a time, hours without a unit) or revision (a count).")           \
	X("watch-progress-notify-interval", watch_progress_interval_ns, DURATION, "10m",           \
	  "How often a watch that asked for it is told of progress.")                              \
	X("cert-file", cert_file, STRING, "",                                                      \
	  "Server certificate (PEM); re-read when it changes.")                                    \
	X("key-file", key_file, STRING, "", "Key of that certificate (PEM).")                      \
	X("client-cert-auth", client_cert_auth, BOOL, "false",                                     \
	  "Only admit clients with a certificate signed by --trusted-ca-file.")                    \
	X("trusted-ca-file", trusted_ca_file, STRING, "", "CA of client certificates (PEM).")      \
	X("client-crl-file", client_crl_file, STRING, "", "Revocation list for them (PEM).")       \
	X("client-cert-allowed-hostname", client_cert_allowed_hostname, STRING, "",                \
	  "Names (SAN) of which a client certificate must hold one, comma-separated.")             \
	X("auto-tls", auto_tls, BOOL, "false",                                                     \
	  "Serve TLS with a certificate made at first start.")                                     \
	X("self-signed-cert-validity", self_signed_years, UINT, "1", "Its validity in years.")     \
	X("cipher-suites", cipher_suites, STRING, "", "TLS cipher suites, comma-separated.")       \
	X("tls-min-version", tls_min_version, STRING, "TLS1.2", "TLS1.2 or TLS1.3.")               \
	X("tls-max-version", tls_max_version, STRING, "", "TLS1.2 or TLS1.3; empty: the newest.")  \
	X("log-level", log_level, STRING, "info", "debug, info, warn, error, panic or fatal.")     \
	X("log-format", log_format, STRING, "json", "json or console.")                            \
	X("log-outputs", log_outputs, STRING, "default", "stderr or default.")                     \
	X("metrics", metrics, STRING, "basic", "basic, or extensive: with call time histograms.")  \
	X("unsafe-no-fsync", unsafe_no_fsync, BOOL, "false",                                       \
	  "Do not sync writes to disk: a power cut loses acknowledged writes.  For tests only.")   \
	X("config-file", config_file, STRING, "",                                                  \
	  "YAML file with these options; flags and variables are then ignored, as etcd does.")

/* X(flag, is_bool) */
#define IGNORED_OPTIONS(X)                                                                         \
	X("wal-dir", false)                                                                        \
	X("snapshot-count", false)                                                                 \
	X("heartbeat-interval", false)                                                             \
	X("election-timeout", false)                                                               \
	X("initial-election-tick-advance", true)                                                   \
	X("listen-peer-urls", false)                                                               \
	X("max-snapshots", false)                                                                  \
	X("max-wals", false)                                                                       \
	X("memory-mlock", true)                                                                    \
	X("backend-bbolt-freelist-type", false)                                                    \
	X("backend-batch-interval", false)                                                         \
	X("backend-batch-limit", false)                                                            \
	X("socket-reuse-port", true)                                                               \
	X("socket-reuse-address", true)                                                            \
	X("enable-grpc-gateway", true)                                                             \
	X("raft-read-timeout", false)                                                              \
	X("raft-write-timeout", false)                                                             \
	X("feature-gates", false)                                                                  \
	X("initial-advertise-peer-urls", false)                                                    \
	X("initial-cluster", false)                                                                \
	X("initial-cluster-state", false)                                                          \
	X("initial-cluster-token", false)                                                          \
	X("discovery", false)                                                                      \
	X("discovery-token", false)                                                                \
	X("discovery-endpoints", false)                                                            \
	X("discovery-dial-timeout", false)                                                         \
	X("discovery-request-timeout", false)                                                      \
	X("discovery-keepalive-time", false)                                                       \
	X("discovery-keepalive-timeout", false)                                                    \
	X("discovery-insecure-transport", true)                                                    \
	X("discovery-insecure-skip-tls-verify", true)                                              \
	X("discovery-cert", false)                                                                 \
	X("discovery-key", false)                                                                  \
	X("discovery-cacert", false)                                                               \
	X("discovery-user", false)                                                                 \
	X("discovery-password", false)                                                             \
	X("discovery-fallback", false)                                                             \
	X("discovery-proxy", false)                                                                \
	X("discovery-srv", false)                                                                  \
	X("discovery-srv-name", false)                                                             \
	X("strict-reconfig-check", true)                                                           \
	X("pre-vote", true)                                                                        \
	X("v2-deprecation", false)                                                                 \
	X("client-cert-file", false)                                                               \
	X("client-key-file", false)                                                                \
	X("peer-cert-file", false)                                                                 \
	X("peer-key-file", false)                                                                  \
	X("peer-client-cert-auth", true)                                                           \
	X("peer-client-cert-file", false)                                                          \
	X("peer-client-key-file", false)                                                           \
	X("peer-trusted-ca-file", false)                                                           \
	X("peer-cert-allowed-cn", false)                                                           \
	X("peer-cert-allowed-hostname", false)                                                     \
	X("peer-auto-tls", true)                                                                   \
	X("peer-crl-file", false)                                                                  \
	X("peer-skip-client-san-verification", true)                                               \
	X("cors", false)                                                                           \
	X("host-whitelist", false)                                                                 \
	X("auth-token", false)                                                                     \
	X("bcrypt-cost", false)                                                                    \
	X("auth-token-ttl", false)                                                                 \
	X("enable-pprof", true)                                                                    \
	X("logger", false)                                                                         \
	X("enable-log-rotation", true)                                                             \
	X("log-rotation-config-json", false)                                                       \
	X("warning-unary-request-duration", false)                                                 \
	X("enable-distributed-tracing", true)                                                      \
	X("distributed-tracing-address", false)                                                    \
	X("distributed-tracing-service-name", false)                                               \
	X("distributed-tracing-instance-id", false)                                                \
	X("distributed-tracing-sampling-rate", false)                                              \
	X("corrupt-check-time", false)                                                             \
	X("compact-hash-check-time", false)                                                        \
	X("compaction-batch-limit", false)                                                         \
	X("compaction-sleep-interval", false)                                                      \
	X("warning-apply-duration", false)                                                         \
	X("bootstrap-defrag-threshold-megabytes", false)                                           \
	X("max-learners", false)                                                                   \
	X("downgrade-check-time", false)                                                           \
	X("snapshot-catchup-entries", false)                                                       \
	X("force-new-cluster", true)                                                               \
	X("experimental-initial-corrupt-check", true)                                              \
	X("experimental-watch-progress-notify-interval", false)                                    \
	X("experimental-corrupt-check-time", false)                                                \
	X("experimental-compact-hash-check-enabled", true)                                         \
	X("experimental-compact-hash-check-time", false)                                           \
	X("experimental-compaction-batch-limit", false)                                            \
	X("experimental-peer-skip-client-san-verification", true)                                  \
	X("experimental-warning-apply-duration", false)                                            \
	X("experimental-enable-distributed-tracing", true)                                         \
	X("experimental-enable-lease-checkpoint", true)                                            \
	X("experimental-max-learners", false)

#endif
