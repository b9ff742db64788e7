# SPDX-License-Identifier: Apache-2.0
"""Object writes through a real kube-apiserver, which is alone: no controllers compete with it."""
import json
import os
import subprocess

WORKERS = [8, 64]
START_S = 300


def find_programs(root):
    """The programs of tests/kube, or None when they cannot be built here."""
    built = subprocess.run([os.path.join(root, "tests/kube/build.sh")], stdout=subprocess.PIPE,
                           text=True, check=False)
    if built.returncode == 77:
        return None
    if built.returncode:
        raise RuntimeError("Kubernetes could not be built")
    return dict(line.split("=", 1) for line in built.stdout.splitlines() if "=" in line)


def measure(bench, server, programs, round_number):
    script = os.path.join(bench.root, "tests/kube/cluster.sh")
    folder = os.path.join(server.folder, "cluster")
    env = {**os.environ, **programs}
    subprocess.run([script, "apiserver", folder, server.url()], env=env, check=True,
                   timeout=START_S, stdout=subprocess.DEVNULL)
    try:
        with open(os.path.join(folder, "cluster.env"), encoding="utf-8") as settings:
            port = settings.readline().strip().split("=")[1]
        for workers in WORKERS:
            bench.wait_for_gate()
            before = server.cpu_s()
            client = subprocess.run(
                [os.path.join(programs["CLIENT_BIN"], "kubeload"), "rate",
                 "--server", f"https://127.0.0.1:{port}", "--pki", os.path.join(folder, "pki"),
                 "--workers", str(workers), "--seconds", str(5 if bench.quick else 15)],
                capture_output=True, text=True, check=False, timeout=START_S)
            if client.returncode:
                figures = {"problem": client.stderr.strip()}
            else:
                figures = json.loads(client.stdout)
                figures["cpu_us"] = (server.cpu_s() - before) * 1e6 / figures["made"]
            bench.record(f"kube_{workers}", server.kind, round_number, figures)
            bench.say(f"round {round_number} kube_{workers} {server.kind}: "
                      f"{figures.get('rate', 0):.0f}/s, p99 {figures.get('p99_us', 0):.0f} us")
    finally:
        subprocess.run([script, "stop", folder], env=env, check=False)


def run_round(bench, round_number):
    if not any(bench.wants(f"kube_{workers}") for workers in WORKERS):
        return
    programs = find_programs(bench.root)
    if not programs:
        bench.say("skipped: Kubernetes cannot be built here")
        return
    for kind in bench.kinds(round_number, with_echo=False):
        server = bench.server(kind, "kube")
        try:
            measure(bench, server.start(), programs, round_number)
        finally:
            server.remove()
