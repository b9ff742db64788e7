# SPDX-License-Identifier: Apache-2.0
"""The table of results, with the bars and whether they hold."""
import json
import os
import shutil
from statistics import median

import rows as plan


class Results:
    def __init__(self, path):
        self.lines = []
        if os.path.exists(path):
            with open(path, encoding="ascii") as lines:
                self.lines = [json.loads(line) for line in lines]

    def of(self, row, server, metric):
        """All rounds of one figure; those whose gate was open, if there are any."""
        found = [r for r in self.lines if r["row"] == row and r["server"] == server
                 and metric in r and not r.get("problem")]
        open_gate = [r for r in found if r["gated"]]
        return [r[metric] for r in open_gate or found], bool(open_gate) or not found

    def median(self, row, server, metric):
        values, _ = self.of(row, server, metric)
        return median(values) if values else None

    def problem(self, row, server):
        for line in self.lines:
            if line["row"] == row and line["server"] == server and line.get("problem"):
                return line["problem"]
        return None


def number(value):
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(results, row, server, metric):
    values, is_gated = results.of(row, server, metric)
    if results.problem(row, server):
        return "FAILED"
    if not values:
        return "-"
    text = number(median(values))
    if len(values) > 1:
        text += f" [{number(min(values))}-{number(max(values))}]"
    return text if is_gated else text + " *"


def verdict(value, floor, target, is_share):
    """"target", "floor" or "MISSED"; nothing where there is no bar."""
    if value is None or not floor:
        return ""
    if (value <= target) if is_share else (value >= target):
        return "target"
    return "floor" if ((value <= floor) if is_share else (value >= floor)) else "MISSED"


class Table:
    def __init__(self, results):
        self.results = results
        self.lines = []
        self.missed = []

    def add(self, title, row, metric, floor, target, is_share, against_etcd=True, unit=""):
        results = self.results
        own = results.median(row, "kedge", metric)
        other = results.median(row, "etcd", metric)
        if own is None and other is None and not results.problem(row, "kedge"):
            return
        value = own
        if against_etcd:
            value = own / other if own is not None and other else None
        said = verdict(value, floor, target, is_share)
        if results.problem(row, "kedge"):
            said = "FAILED"
        if said in ("MISSED", "FAILED"):
            self.missed.append(title)
        bar = f"{floor:g} / {target:g}" if floor else ""
        ratio = f"{value:.2f}x" if against_etcd and value is not None else ""
        self.lines.append([title + (f", {unit}" if unit else ""),
                           *(cell(results, row, kind, metric)
                             for kind in ("kedge", "etcd", "kine", "echo")), ratio, bar, said])

    def build(self):
        for row in plan.ROWS:
            self.add(row.title, row.name, row.metric, row.floor, row.target, False,
                     unit="events/s" if row.metric == "events_rate" else "/s")
        for row in plan.ROWS:
            if not any(row.name in share[3] and share[0] == "p99" for share in plan.SHARES):
                self.add(f"{row.title}: p99", row.name, "p99_us", 0, 0, True, unit="us")
        for _, title, metric, names, floor, target in plan.SHARES:
            for row in plan.ROWS:
                if row.name in names:
                    unit = "B" if metric == "written_bytes" else "us"
                    self.add(f"{row.title}: {title}", row.name, metric, floor, target, True,
                             unit=unit)
        barred = {(name, s[2]) for s in plan.SHARES for name in s[3]}
        for row in plan.ROWS:
            if (row.name, "cpu_us") not in barred:
                self.add(f"{row.title}: CPU per request", row.name, "cpu_us", 0, 0, True, unit="us")
        for row, title in plan.KUBE:
            self.add(title, row, "rate", 0, 0, False, unit="/s")
            self.add(f"{title}: p99", row, "p99_us", 0, 0, True, unit="us")
            self.add(f"{title}: the store's CPU per write", row, "cpu_us", 0, 0, True, unit="us")
        for row, title, metric, unit, floor, target, is_ratio in plan.FIGURES:
            self.add(title, row, metric, floor or 0, target or 0, True, is_ratio, unit)
        return self

    def text(self):
        header = ["row", "kedge", "etcd", "kine", "no store", "kedge / etcd", "floor / target",
                  "reached"]
        lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        lines += ["| " + " | ".join(line) + " |" for line in self.lines]
        return "\n".join(lines)


def notes(results):
    disk = [f"- the disk alone: write and fdatasync of 4 KiB, {what}: "
            f"{cell(results, 'disk_' + name, 'disk', 'rate')}/s, p50 "
            f"{cell(results, 'disk_' + name, 'disk', 'p50_us')} us, p99 "
            f"{cell(results, 'disk_' + name, 'disk', 'p99_us')} us"
            for name, what in (("overwrite", "over the same 8 MiB"), ("append", "growing a file"))
            if results.median("disk_" + name, "disk", "rate")]
    shut = sum(not line["gated"] for line in results.lines)
    gate = f"- the gate stayed shut before {shut} of {len(results.lines)} measurements"
    return "\n".join([*disk, gate + " (left out, or marked * where there is no other)"])


def client_share(results):
    """Where the client, not the server, may have set the pace."""
    said = []
    for row in plan.ROWS:
        rate = results.median(row.name, "kedge", "rate")
        cost = results.median(row.name, "kedge", "client_cpu_us")
        if rate and cost and rate * cost > 0.8e6:
            said.append(f"{row.title} ({rate * cost / 1e4:.0f} % of a core)")
    return "- the client itself was nearly busy in: " + ("; ".join(said) if said else "no row")


def write(out, results_file):
    """Writes build/bench/table.md and prints it; the titles of rows that miss a floor."""
    results = Results(results_file)
    table = Table(results).build()
    text = "\n".join([table.text(), "", notes(results), client_share(results), ""])
    with open(os.path.join(out, "table.md"), "w", encoding="ascii") as file:
        file.write(text)
    print(text)
    if table.missed:
        print("below the floor: " + "; ".join(table.missed))
    return table.missed


def publish(out, docs):
    """Puts the table between its marks in docs/performance.md, and the pictures into docs/img."""
    page = os.path.join(docs, "performance.md")
    with open(page, encoding="utf-8") as file:
        head, _, rest = file.read().partition("<!-- table -->\n")
    _, _, tail = rest.partition("<!-- end of table -->\n")
    with open(os.path.join(out, "table.md"), encoding="ascii") as file:
        table = file.read()
    with open(page, "w", encoding="utf-8") as file:
        file.write(f"{head}<!-- table -->\n{table}<!-- end of table -->\n{tail}")
    shutil.copytree(os.path.join(out, "img"), os.path.join(docs, "img"), dirs_exist_ok=True)
