#!/usr/bin/env python3
"""SQL over committed rows beside DuckDB over the same files; `make bench` calls this.

Ten million events go through the pipeline into a table and, the purchases among them, into a second one. Five questions are
then asked in turn of a running pipeline (POST /v1/sql) and of DuckDB in this process, which is told the tables' files
(read_parquet), keeps its connection, has as many threads, and as much memory as it likes; a statement of ours has a sixteenth
of limits.memory for what it joins and groups: one run of each to warm up, then five, turn about. The answers must
be equal. Printed are the medians: seconds of wall clock, and of CPU (user and system, by the kernel's account of either
process, in its ticks of 10 ms, so over the five runs together). Other work on the machine makes both slower; CPU suffers less.
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import duckdb
from deltalake import DeltaTable

BOUND = 1.3  # Wall clock, of DuckDB's.
PIPELINE = """version: 1
pipeline: sql
source:
  embedded: {{path: log, partitions: 4}}
  topics: [clicks]
decode:
  columns: {{event_id: string, ts: timestamp, device_id: string, user_id: int64, session_id: string, country: string, page: string,
            action: string, latency_ms: double, amount: "decimal(12,2)"}}
event_time: {{column: ts}}
transforms:
  - name: bought
    sql: SELECT event_id, session_id, amount FROM input WHERE action = 'purchase'
tables:
  - name: clicks
  - {{name: purchases, from: bought}}
lake: {{uri: lake}}
limits: {{memory: 4GiB}}
serve: {{listen: "127.0.0.1:{port}"}}
log: {{level: warn}}
"""
QUESTIONS = {
    "filter": "SELECT count(*) AS n, sum(amount) AS s FROM clicks WHERE country = 'DE' AND latency_ms > 100",
    "group by": "SELECT country, page, count(*) AS n, sum(amount) AS s FROM clicks GROUP BY ALL ORDER BY n DESC, country, page LIMIT 20",
    "top-k": "SELECT event_id, user_id, latency_ms FROM clicks ORDER BY latency_ms DESC, event_id LIMIT 20",
    "join": "SELECT c.country, count(*) AS n, sum(p.amount) AS s FROM clicks c JOIN purchases p ON c.event_id = p.event_id "
            "WHERE c.action = 'purchase' GROUP BY ALL ORDER BY n DESC, country",
    "count distinct": "SELECT count(DISTINCT user_id) AS n FROM clicks",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Millrace:
    def __init__(self, binary, folder, port):
        self.url = f"http://127.0.0.1:{port}/v1/sql"
        self.process = subprocess.Popen([binary, "run", "-c", "p.yaml"], cwd=folder)
        self.pid = self.process.pid
        deadline = time.monotonic() + 60
        while True:
            try:
                self.ask("SELECT 1 AS one")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def ask(self, question):
        with urllib.request.urlopen(self.url, json.dumps({"sql": question}).encode()) as response:
            answer = json.load(response)
        names = [column["name"] for column in answer["meta"]]
        return [tuple(str(row[name]) for name in names) for row in answer["data"]]

    def end(self):
        self.process.terminate()
        self.process.wait(60)


class DuckDb:
    pid = "self"

    def __init__(self, folder, threads):
        self.connection = duckdb.connect()
        self.connection.execute(f"SET TimeZone = 'UTC'; SET threads = {threads}")
        for name in ("clicks", "purchases"):
            files = DeltaTable(str(folder / "lake" / name)).file_uris()
            self.connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({files})")

    def ask(self, question):
        return [tuple(str(value) for value in row) for row in self.connection.execute(question).fetchall()]


def as_numbers(rows):
    def value(text):
        try:
            return float(text)
        except ValueError:
            return text
    return [tuple(value(text) for text in row) for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=lambda path: str(pathlib.Path(path).resolve()))
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=pathlib.Path, help="keeps the lake there, for the next time")
    parser.add_argument("--json", type=pathlib.Path, help="writes the figures there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-sql-") as name:
        folder = (arguments.folder or pathlib.Path(name)).resolve()
        folder.mkdir(exist_ok=True)
        port = free_port()
        (folder / "p.yaml").write_text(PIPELINE.format(port=port))
        if not (folder / "lake").exists():
            subprocess.run([arguments.binary, "simulate", "clickstream", "--count", str(arguments.rows), "--rate", "0",
                            "--duplicates", "0%", "--malformed", "0%", "--late", "0%", "--to", "embedded:log/clicks"],
                           cwd=folder, check=True)
            subprocess.run([arguments.binary, "run", "-c", "p.yaml", "--until-end"], cwd=folder, check=True)
        threads = len(os.sched_getaffinity(0))
        millrace = Millrace(arguments.binary, folder, port)
        try:
            figures = measure(millrace, DuckDb(folder, threads), arguments)
        finally:
            millrace.end()
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(any(f["wall_times"] > BOUND for f in figures["questions"].values()))


def measure(millrace, peer, arguments):
    rows = int(millrace.ask("SELECT count(*) AS n FROM clicks")[0][0])
    print(f"{rows:,} rows; median of {arguments.runs} runs, turn about; CPU is the mean")
    print(f"{'question':16}{'Millrace':>10}{'DuckDB':>10}{'times':>7}{'CPU':>10}{'DuckDB':>10}{'times':>7}")
    figures = {"rows": rows, "questions": {}}
    for name, question in QUESTIONS.items():
        got, wanted = as_numbers(millrace.ask(question)), as_numbers(peer.ask(question))
        if got != wanted:
            raise SystemExit(f"{name}: {got[:3]}, DuckDB has {wanted[:3]}")
        walls, cpu = {millrace: [], peer: []}, {millrace: 0.0, peer: 0.0}
        for _ in range(arguments.runs):
            for one in (millrace, peer):
                cpu[one] -= cpu_s(one.pid)
                begun = time.perf_counter()
                one.ask(question)
                walls[one].append(time.perf_counter() - begun)
                cpu[one] += cpu_s(one.pid)
        wall, peer_wall = (statistics.median(walls[one]) for one in (millrace, peer))
        spent, peer_spent = (cpu[one] / arguments.runs for one in (millrace, peer))
        figures["questions"][name] = {
            "wall_s": round(wall, 4), "duckdb_wall_s": round(peer_wall, 4), "wall_times": round(wall / peer_wall, 2),
            "cpu_s": round(spent, 4), "duckdb_cpu_s": round(peer_spent, 4), "cpu_times": round(spent / max(peer_spent, 0.01), 2),
        }
        print(f"{name:16}{wall:9.3f}s{peer_wall:9.3f}s{wall / peer_wall:6.2f}x{spent:9.3f}s{peer_spent:9.3f}s"
              f"{spent / max(peer_spent, 0.01):6.2f}x")
    return figures


main()
