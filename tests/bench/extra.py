# SPDX-License-Identifier: Apache-2.0
"""Measurements that are not one run of the load client: disk, start, idle, growth, steady load."""
import json
import subprocess
import time

IDLE_SECONDS = 10
GROWTH_KEYS = [1000, 10000, 100000, 1000000]
GROWTH_WATCHERS = [1, 10, 100, 1000, 10000]
GROWTH_VALUES = [100, 1000, 10000, 100000, 1000000]
STEADY_RATE = 1000
STEADY_INTERVAL_S = 10
STEADY_COMPACT_S = 60


def peak_rss_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return -1


# --- every round ---------------------------------------------------------------------------

def run_round(bench, round_number):
    if bench.wants("disk", True):
        run_disk(bench, round_number)
    if bench.wants("start_10000", True) or bench.wants("idle", True):
        run_start(bench, round_number, 10000)
    if bench.wants("start_1000000"):
        run_start(bench, round_number, 1000000)


def run_disk(bench, round_number):
    bench.wait_for_gate()
    answer = subprocess.run([bench.machine_program, "disk", bench.data], stdout=subprocess.PIPE,
                            text=True, check=True)
    for line in answer.stdout.splitlines():
        figures = json.loads(line)
        bench.record("disk_" + figures.pop("disk"), "disk", round_number, figures)


def run_start(bench, round_number, keys):
    """Stopped and started again with its data; then left alone."""
    for kind in bench.kinds(round_number, with_echo=False):
        if kind == "kine" and keys > 10000:
            continue  # creating them takes it longer than all other rows together
        server = bench.server(kind, "start", keys=keys, value=256)
        try:
            bench.fill(server.start())
            server.stop()
            bench.wait_for_gate()
            server.start()
            bench.record(f"start_{keys}", kind, round_number,
                         {"start_ms": server.start_ms, "rss_mib": server.rss_kib() / 1024})
            bench.say(f"round {round_number} start_{keys} {kind}: {server.start_ms:.0f} ms")
            if keys == 10000 and bench.wants("idle", True):
                run_idle(bench, server, round_number)
        finally:
            server.remove()


def run_idle(bench, server, round_number):
    time.sleep(1 if bench.quick else 3)
    seconds = 3 if bench.quick else IDLE_SECONDS
    before = server.cpu_s()
    time.sleep(seconds)
    bench.record("idle", server.kind, round_number,
                 {"rss_mib": server.rss_kib() / 1024,
                  "cpu_ms_per_s": (server.cpu_s() - before) * 1000 / seconds})


# --- once ----------------------------------------------------------------------------------

def run_once(bench):
    if bench.wants("grow_keys"):
        grow_keys(bench)
    if bench.wants("grow_watchers"):
        grow_watchers(bench)
    if bench.wants("grow_values"):
        grow_values(bench)
    if bench.wants("steady"):
        steady(bench)


def grow(bench, name, x, server, workload, **options):
    bench.wait_for_gate()
    figures = bench.load(server, workload, seconds=3, **options)
    bench.record(f"{name}:{x}", server.kind, 1, figures)
    bench.say(f"{name} {x} {server.kind}: {figures.get('rate', 0):.0f}/s, "
              f"{figures.get('cpu_us', 0):.1f} us CPU")


def grow_keys(bench):
    for keys in GROWTH_KEYS:
        for kind in bench.kinds(0, with_echo=False):
            if kind == "kine" and keys > 10000:
                continue
            server = bench.server(kind, "grow", keys=keys, value=256)
            try:
                bench.fill(server.start())
                if kind != "kine":
                    grow(bench, "grow_keys_put", keys, server, "put", conns=10, streams=10)
                grow(bench, "grow_keys_get", keys, server, "get", conns=10, streams=10)
                grow(bench, "grow_keys_list", keys, server, "list", limit=500)
                bench.record(f"grow_keys_rss:{keys}", kind, 1,
                             {"rss_mib": server.rss_kib() / 1024})
            finally:
                server.remove()


def grow_watchers(bench):
    for kind in bench.kinds(0, with_echo=False):
        server = bench.server(kind, "grow", keys=1000, value=256)
        try:
            bench.fill(server.start())
            for watchers in GROWTH_WATCHERS:
                grow(bench, "grow_watchers", watchers, server, "watch", conns=10, slots=1,
                     watchers=watchers)
        finally:
            server.remove()


def grow_values(bench):
    for value in GROWTH_VALUES:
        for kind in bench.kinds(0, with_echo=False):
            # 100 MB at most: what is compared is the cost of a value, not of a large database.
            server = bench.server(kind, "grow", keys=100, value=value)
            try:
                server.start()
                options = {"conns": 4, "streams": 4, "warmup_ms": 0, "seconds": 0}
                made = bench.load(server, "create", **options)
                if made["problem"]:
                    bench.record(f"grow_values_update:{value}", kind, 1, made)
                    continue
                grow(bench, "grow_values_update", value, server, "update", conns=10)
                grow(bench, "grow_values_get", value, server, "get", conns=10)
            finally:
                server.remove()


def steady(bench):
    """The same load for minutes, with a compaction each minute: nothing may drift."""
    for kind in bench.kinds(0, with_echo=False):
        server = bench.server(kind, "steady", keys=10000, value=256)
        begun = time.monotonic()

        def note(figures, kind=kind, server=server, begun=begun):
            if figures["seconds"] != STEADY_INTERVAL_S:
                return  # the summary at the end
            figures["at_s"] = round(time.monotonic() - begun)
            figures["data_bytes"] = server.data_bytes()
            bench.record("steady", kind, 1, figures)

        try:
            bench.fill(server.start())
            bench.wait_for_gate()
            figures = bench.load(server, "update", on_line=note, conns=10, streams=10,
                                 rate=STEADY_RATE, seconds=bench.minutes * 60,
                                 interval=STEADY_INTERVAL_S, compact=STEADY_COMPACT_S)
            bench.record("steady_whole", kind, 1, figures)
        finally:
            server.remove()
