# SPDX-License-Identifier: Apache-2.0
"""The pictures of docs/performance.md, from the results."""
import os
from statistics import median

import rows as plan
import svg

KINDS = ["kedge", "etcd", "kine"]
GROWTH = [
    ("grow_keys_put", "rate", "Puts, 10 x 10, by the number of keys", "keys", "puts/s"),
    ("grow_keys_get", "rate", "Gets, 10 x 10, by the number of keys", "keys", "gets/s"),
    ("grow_keys_list", "rate", "Pages of 500 x 256 B, by the number of keys", "keys", "pages/s"),
    ("grow_keys_rss", "rss_mib", "Memory after these, by the number of keys", "keys", "MiB"),
    ("grow_watchers", "events_rate", "Events to all watchers of one key space", "watchers",
     "events/s"),
    ("grow_values_update", "rate", "CAS updates, 10 connections, by size", "bytes of a value",
     "updates/s"),
    ("grow_values_get", "rate", "Gets, 10 connections, by size", "bytes of a value", "gets/s"),
]
STEADY = [
    ("p99_us", 1000, "p99 in each 10 s", "ms"),
    ("rss_kib", 1024, "Memory", "MiB"),
    ("data_bytes", 1 << 20, "Files of the database", "MiB"),
]


def spread(results, row, kind, metric):
    values, _ = results.of(row, kind, metric)
    return (median(values), min(values), max(values)) if values else None


def bar_rows(results, metric, names=None, kinds=KINDS):
    found = []
    for row in plan.ROWS:
        which = row.metric if metric == "rate" else metric
        values = {k: spread(results, row.name, k, which) for k in kinds}
        values = {k: v for k, v in values.items() if v and v[0] > 0}
        if values and (names is None or row.name in names):
            found.append((row.title, values))
    return found


def growth_series(results, name, metric):
    series = {}
    for kind in KINDS:
        xs = sorted({int(line["row"].split(":")[1]) for line in results.lines
                     if line["row"].startswith(name + ":") and line["server"] == kind})
        points = [(x, results.median(f"{name}:{x}", kind, metric)) for x in xs]
        points = [(x, y) for x, y in points if y]
        if points:
            series[kind] = points
    return series


def draw(results, folder):
    os.makedirs(folder, exist_ok=True)
    echo = [*KINDS, "echo"]
    for metric, file, title in (("rate", "rates", "Requests (or events) per second; more is better"),
                                ("p99_us", "p99", "p99 in us; less is better"),
                                ("cpu_us", "cpu", "Server CPU per request in us; less is better")):
        found = bar_rows(results, metric, kinds=echo if metric != "p99_us" else KINDS)
        if found:
            svg.bars(os.path.join(folder, f"{file}.svg"), title, found,
                     echo if metric != "p99_us" else KINDS)
    for name, metric, title, x_title, y_title in GROWTH:
        series = growth_series(results, name, metric)
        if series:
            svg.lines(os.path.join(folder, f"{name}.svg"), title, x_title, y_title, series)
    for metric, divisor, title, unit in STEADY:
        series = {}
        for kind in KINDS:
            points = [(line["at_s"], line[metric] / divisor) for line in results.lines
                      if line["row"] == "steady" and line["server"] == kind and metric in line]
            if points:
                series[kind] = points
        if series:
            svg.lines(os.path.join(folder, f"steady_{metric}.svg"),
                      f"{title}: 1,000 updates/s, compaction each minute", "seconds", unit, series,
                      (False, False))
