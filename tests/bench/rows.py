# SPDX-License-Identifier: Apache-2.0
"""What is measured, and the bars: a floor must hold, a target is wanted (ratios to etcd)."""
from dataclasses import dataclass, field


@dataclass
class Row:
    name: str
    title: str
    args: dict  # of the load client
    workload: str
    group: str = "small"
    floor: float = 0.0  # of the rate
    target: float = 0.0
    skip: dict = field(default_factory=dict)  # server -> why it has no figure
    quick: bool = False
    metric: str = "rate"


NO_PUT = {"kine": "kine has no Put: kube-apiserver does not need it"}
NO_STREAM = {"kine": "kine has no RangeStream", "echo": "one message only"}
NO_KEEPALIVE = {"kine": "kine has no keepalive of leases"}
NO_WATCH = {"echo": "no watches"}

# The objects of each group, made before its rows run; the order of rows is fixed, because a
# thousand connections leave etcd with a larger heap.
GROUPS = {"small": {"keys": 10000, "value": 256}, "large": {"keys": 10000, "value": 1024},
          "watch": {"keys": 1000, "value": 256}}

ROWS = [
    Row("put_1x1", "put, 1 client", {"conns": 1}, "put", floor=1.5, target=2.5, skip=NO_PUT,
        quick=True),
    Row("put_10x1", "put, 10 connections", {"conns": 10}, "put", skip=NO_PUT),
    Row("put_100x1", "put, 100 connections", {"conns": 100}, "put", floor=2, target=3.5,
        skip=NO_PUT, quick=True),
    Row("put_10x100", "put, 10 connections x 100 streams", {"conns": 10, "streams": 100}, "put",
        floor=3, target=6, skip=NO_PUT, quick=True),
    Row("update_10x10", "CAS update as an apiserver sends it, 10 x 10",
        {"conns": 10, "streams": 10}, "update", floor=2, target=4, quick=True),
    Row("get_1x1", "get, 1 client", {"conns": 1}, "get", floor=1.4, target=1.8, quick=True),
    Row("get_10x10", "get, 10 x 10", {"conns": 10, "streams": 10}, "get", floor=2.5, target=4,
        quick=True),
    Row("get_100x1", "get, 100 connections", {"conns": 100}, "get", floor=1.8, target=3,
        quick=True),
    Row("keepalive_10x10", "lease keepalive, 10 x 10 streams", {"conns": 10, "streams": 10},
        "keepalive", floor=2, target=4, skip=NO_KEEPALIVE, quick=True),
    Row("mix_10x10", "mix: 80 % CAS, 15 % gets, 5 % pages of 500, 64 watches",
        {"conns": 10, "streams": 10, "limit": 500, "watchers": 4, "idle_watchers": 60}, "mix",
        skip=NO_WATCH),
    Row("put_1000x1", "put, 1,000 connections", {"conns": 1000}, "put", floor=2, target=3.5,
        skip=NO_PUT, quick=True),
    Row("list_500", "list of 500 x 1 KB, 1 client", {"limit": 500}, "list", group="large", floor=4,
        target=7, quick=True),
    Row("list_10000", "list of 10,000 x 1 KB, 1 client", {"limit": 0}, "list", group="large",
        floor=1.5, target=3, quick=True),
    Row("stream_10000", "RangeStream of 10,000 x 1 KB", {"limit": 0}, "stream", group="large",
        skip=NO_STREAM),
    Row("watch_1000", "watch fan-out, 1 update to 1,000 watchers",
        {"conns": 10, "slots": 1, "watchers": 1000}, "watch", group="watch", floor=2, target=5,
        skip=NO_WATCH, quick=True, metric="events_rate"),
]

# Bars that are not rates: (name, title, metric, rows, floor, target); kedge may need at most
# floor times what etcd needs.
SHARES = [
    ("p99", "p99", "p99_us", ["put_1x1", "put_10x1", "put_100x1", "put_10x100", "put_1000x1"],
     0.7, 0.4),
    ("cpu", "CPU per request", "cpu_us", ["put_1x1", "put_10x1", "put_100x1", "put_10x100",
                                          "put_1000x1"], 0.4, 0.15),
    ("cpu", "CPU per request", "cpu_us", ["get_1x1", "get_10x10", "get_100x1"], 0.4, 0.2),
    ("written", "bytes written per put", "written_bytes", ["put_1x1"], 1.6, 1.2),
    ("written", "bytes written per put", "written_bytes", ["put_10x100"], 1.05, 0.85),
]

# Bars of single figures: (row, title, metric, unit, floor, target, is a share of etcd's figure)
FIGURES = [
    ("start_10000", "start with 10,000 keys", "start_ms", "ms", 50, 50, False),
    ("start_1000000", "start with 1,000,000 keys", "start_ms", "ms", None, None, False),
    ("idle", "idle RSS, 10,000 keys", "rss_mib", "MiB", 8, 5, False),
    ("idle", "idle CPU", "cpu_ms_per_s", "ms/s", 0.5, 0.5, False),
    ("peak_small", "peak RSS after the rows on 10,000 x 256 B", "rss_peak_mib", "MiB", 0.35, 0.2,
     True),
    ("peak_large", "peak RSS after the lists of 1 KB values", "rss_peak_mib", "MiB", 0.35, 0.2,
     True),
]

# Through kube-apiserver: (row, title); its own cost is most of it, so there is no bar.
KUBE = [("kube_8", "object writes through kube-apiserver, 8 workers"),
        ("kube_64", "object writes through kube-apiserver, 64 workers")]
