# SPDX-License-Identifier: Apache-2.0
"""Starts and stops the servers that are compared, each fresh, on the same disk, with fsync on."""
import os
import shutil
import signal
import socket
import subprocess
import time

QUOTA_BYTES = 16 << 30  # the same for all: no row may end at a quota
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60


class ServerError(Exception):
    pass


def free_port():
    # Below the kernel's own range, as tests/lib.sh does: the load client opens a thousand connections.
    for port in range(31000 + os.getpid() % 900, 32700):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in free_port.given:
            free_port.given.add(port)
            return port
    raise ServerError("no free port")


free_port.given = set()


class Server:
    """One server process: kedge, etcd, kine or echo (no store)."""

    def __init__(self, kind, programs, folder, keys=10000, value=256):
        self.kind = kind
        self.programs = programs
        self.folder = folder
        self.keys = keys
        self.value = value
        self.port = free_port()
        self.peer_port = free_port()
        self.process = None
        self.start_ms = None
        self.starts = 0
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)

    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def data_folder(self):
        return os.path.join(self.folder, "data")

    def command(self):
        program = self.programs[self.kind]
        common = ["--data-dir", self.data_folder(), "--listen-client-urls", self.url(),
                  "--advertise-client-urls", self.url(), "--quota-backend-bytes", str(QUOTA_BYTES)]
        if self.kind == "kedge":
            return [program, "serve", *common]
        if self.kind == "etcd":
            peer = f"http://127.0.0.1:{self.peer_port}"
            return [program, *common, "--name", "default", "--listen-peer-urls", peer,
                    "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
        if self.kind == "kine":
            os.makedirs(self.data_folder(), exist_ok=True)
            # kine's own parameters but for synchronous, which it sets to NORMAL: no sync per commit.
            store = (f"sqlite://{self.data_folder()}/state.db?_journal_mode=WAL&_busy_timeout=30000"
                     "&_synchronous=FULL&_txlock=immediate&_stmt_cache_size=20&cache=shared")
            return [program, "--endpoint", store, "--listen-address", f"127.0.0.1:{self.port}",
                    "--metrics-bind-address", "0"]
        return [program, "echo", str(self.port), str(self.keys), str(self.value)]

    def start(self):
        self.starts += 1
        self.log = os.path.join(self.folder, f"log.{self.starts}")
        begun = time.monotonic()
        with open(self.log, "wb") as log:
            # The environment goes: etcd and kedge read ETCD_* variables.
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env={"PATH": os.environ["PATH"]})
        while not self._serves():
            if self.process.poll() is not None:
                raise ServerError(f"{self.kind} ended at its start; see {self.log}")
            if time.monotonic() - begun > START_TIMEOUT_S:
                raise ServerError(f"{self.kind} does not serve; see {self.log}")
            time.sleep(0.0005)
        self.start_ms = (time.monotonic() - begun) * 1000
        return self

    def _serves(self):
        if self.kind == "echo":
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0
        mark = b"Kine available at" if self.kind == "kine" else b"ready to serve client requests"
        with open(self.log, "rb") as log:
            return mark in log.read()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pid(self):
        return self.process.pid

    def rss_kib(self):
        with open(f"/proc/{self.pid()}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return -1

    def cpu_s(self):
        """User and system time of all threads; the kernel's accounting of run time, not ticks."""
        return time.clock_gettime(process_clock(self.pid()))

    def data_bytes(self):
        total = 0
        for folder, _, names in os.walk(self.data_folder()):
            for name in names:
                try:
                    total += os.stat(os.path.join(folder, name)).st_size
                except FileNotFoundError:
                    pass
        return total


def process_clock(pid):
    # What clock_getcpuclockid() computes: CPUCLOCK_SCHED of a process.
    return (~pid << 3) | 2
