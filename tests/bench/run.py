#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make bench: kedge, etcd and kine side by side on one machine and one disk.

run.py [--rows a,b*] [--rounds N] [--quick] [--keep] [--docs] [--report-only]

Every round starts each server fresh, with fsync on, makes the objects, and then takes the servers
in turn, row by row. Before each run two threads must be at least 1.7 times as fast as one and have
their cores for themselves: virtual machines lose a core for a while, and figures taken then compare
nothing. A run whose gate stayed shut is marked. Results are lines of JSON in build/bench/results.jsonl; --keep adds rounds to them.
"""
import argparse
import fnmatch
import json
import os
import signal
import subprocess
import sys
import time

import extra
import kube
import plots
import report
import rows as plan
from servers import Server, ServerError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "build", "bench")
GATE_RATIO = 1.7
GATE_SHARE = 0.9  # of a core, for the worse of two threads: nobody else is busy here
GRACE_S = 240  # beyond its own seconds, until a run of the client counts as hung


def parse_arguments():
    env = os.environ
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default=env.get("ROWS", ""))
    parser.add_argument("--rounds", type=int, default=int(env.get("ROUNDS", "3")))
    parser.add_argument("--quick", action="store_true", default=env.get("QUICK", "") == "1")
    parser.add_argument("--keep", action="store_true", default=env.get("KEEP", "") == "1")
    parser.add_argument("--minutes", type=int, default=int(env.get("MINUTES", "10")),
                        help="of the steady load")
    parser.add_argument("--docs", action="store_true", default=env.get("DOCS", "") == "1",
                        help="put table and pictures into docs/")
    parser.add_argument("--report-only", action="store_true")
    return parser.parse_args()


class Bench:
    def __init__(self, arguments):
        self.root = ROOT
        self.quick = arguments.quick
        self.minutes = arguments.minutes
        self.rounds = arguments.rounds
        self.patterns = [p for p in arguments.rows.split(",") if p]
        self.seconds = 1 if self.quick else 5
        self.warmup_ms = 200 if self.quick else 1000
        self.gate_tries = 3 if self.quick else 10
        self.programs = {"kedge": os.path.join(ROOT, "build", "kedge")}
        self.load_program = os.path.join(ROOT, "build/release/tests/bench/load")
        self.machine_program = os.path.join(ROOT, "build/release/tests/bench/machine")
        self.programs["echo"] = self.machine_program
        self.results_file = os.path.join(OUT, "results.jsonl")
        self.data = os.environ.get("BENCH_DATA", os.path.join(OUT, "data"))
        self.failures = 0
        self.gate = (0.0, False)
        os.makedirs(self.data, exist_ok=True)

    def wants(self, name, in_quick=False):
        if self.patterns:
            return any(fnmatch.fnmatch(name, p) for p in self.patterns)
        return in_quick or not self.quick

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def find_programs(self):
        built = subprocess.run([os.path.join(ROOT, "tests/bench/build.sh")], stdout=subprocess.PIPE,
                               text=True, check=False)
        if built.returncode == 77:
            self.say("etcd cannot be had here: kedge is measured alone")
            return
        if built.returncode:
            sys.exit("etcd could not be built")
        for line in built.stdout.splitlines():
            name, _, value = line.partition("=")
            if name in ("ETCD", "KINE"):
                self.programs[name.lower()] = value
            elif name == "KINE_SKIPPED":
                self.say(f"skipped: {value}")

    def wait_for_gate(self):
        for attempt in range(self.gate_tries):
            answer = subprocess.run([self.machine_program, "spin"], stdout=subprocess.PIPE,
                                    text=True, check=True)
            ratio, share = map(float, answer.stdout.split())
            self.gate = (ratio, ratio >= GATE_RATIO and share >= GATE_SHARE)
            if self.gate[1]:
                return
            time.sleep(0.2 * (attempt + 1))

    def record(self, row, server, round_number, figures):
        line = {"row": row, "server": server, "round": round_number, "gate": self.gate[0],
                "gated": self.gate[1], "quick": self.quick, **figures}
        with open(self.results_file, "a", encoding="ascii") as out:
            out.write(json.dumps(line) + "\n")
        if line.get("problem"):
            self.failures += server == "kedge"
            self.say(f"{row} on {server} FAILED: {line['problem']}")

    def load(self, server, workload, on_line=None, **options):
        """One run of the client; its figures, with "problem" set when anything was wrong."""
        options.setdefault("seconds", self.seconds)
        options.setdefault("warmup_ms", self.warmup_ms)
        options.setdefault("keys", server.keys)
        options.setdefault("value", server.value)
        command = [self.load_program, workload, f"port={server.port}", f"pid={server.pid()}",
                   *(f"{name}={value}" for name, value in options.items())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as client:
            try:
                if on_line:
                    lines = []
                    for line in client.stdout:
                        lines.append(line)
                        on_line(json.loads(line))
                    errors = client.stderr.read()
                    client.wait()
                else:
                    out, errors = client.communicate(timeout=options["seconds"] + GRACE_S)
                    lines = out.splitlines()
            except subprocess.TimeoutExpired:
                client.kill()
                return {"problem": "the client hung"}
        if not lines:
            return {"problem": errors.strip() or "the client said nothing"}
        figures = json.loads(lines[-1])
        if client.returncode and not figures["problem"]:
            figures["problem"] = errors.strip()
        return figures

    def fill(self, server):
        if server.kind == "echo":
            return
        options = {"conns": 4, "streams": 4, "warmup_ms": 0}
        if server.kind == "kine":  # it knows only the transactions that kube-apiserver sends
            figures = self.load(server, "create", **options)
        else:
            figures = self.load(server, "fill", batch=min(100, server.keys), **options)
        if figures["problem"]:
            raise ServerError(f"{server.kind} could not be filled: {figures['problem']}")

    def server(self, kind, name, **size):
        return Server(kind, self.programs, os.path.join(self.data, f"{name}-{kind}"), **size)

    def kinds(self, round_number, with_echo=True):
        """The order of the servers moves on with each round."""
        kinds = [k for k in ("kedge", "etcd", "kine", "echo") if k in self.programs]
        if not with_echo:
            kinds.remove("echo")
        if self.quick and round_number > 1:  # slow, and nothing is compared with its spread
            kinds = [k for k in kinds if k in ("kedge", "etcd")]
        turn = round_number % len(kinds)
        return kinds[turn:] + kinds[:turn]

    # --- rows of the load client -----------------------------------------------------------

    def run_row(self, row, servers, round_number):
        for server in servers:
            if server.kind in row.skip:
                continue
            self.wait_for_gate()
            figures = self.load(server, row.workload, **row.args)
            self.record(row.name, server.kind, round_number, figures)
            self.say(f"round {round_number} {row.name} {server.kind}: "
                     f"{figures.get(row.metric, 0):.0f}/s, p99 {figures.get('p99_us', 0):.0f} us, "
                     f"{figures.get('cpu_us', 0):.1f} us CPU"
                     + ("" if self.gate[1] else f" (gate shut: {self.gate[0]})"))

    def run_group(self, group, round_number):
        chosen = [r for r in plan.ROWS if r.group == group and self.wants(r.name, r.quick)]
        if not chosen:
            return
        servers = [self.server(kind, group, **plan.GROUPS[group])
                   for kind in self.kinds(round_number)]
        try:
            for server in servers:
                server.start()
                self.fill(server)
            for row in chosen:
                self.run_row(row, servers, round_number)
            for server in servers:
                # The peak of some rows is no peak of all.
                if server.kind != "echo" and not self.patterns:
                    peak = extra.peak_rss_mib(server.pid())
                    self.record(f"peak_{group}", server.kind, round_number,
                                {"rss_peak_mib": peak})
        finally:
            for server in servers:
                server.remove()

    def run(self):
        for round_number in range(1, self.rounds + 1):
            for group in plan.GROUPS:
                self.run_group(group, round_number)
            extra.run_round(self, round_number)
            kube.run_round(self, round_number)
        extra.run_once(self)


def main():
    # Servers are stopped when a run is: an ended bench leaves nothing behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = parse_arguments()
    bench = Bench(arguments)
    if not arguments.report_only:
        if not arguments.keep and os.path.exists(bench.results_file):
            os.remove(bench.results_file)
        bench.find_programs()
        begun = time.monotonic()
        bench.run()
        bench.say(f"measured for {time.monotonic() - begun:.0f} s")
    missed = report.write(OUT, bench.results_file)
    plots.draw(report.Results(bench.results_file), os.path.join(OUT, "img"))
    if arguments.docs:
        report.publish(OUT, os.path.join(ROOT, "docs"))
    if bench.failures:
        sys.exit(f"{bench.failures} runs on kedge failed")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
