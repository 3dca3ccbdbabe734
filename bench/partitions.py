#!/usr/bin/env python3
"""What 1,000 partitions of the log cost, beside 4 of them; `make bench` calls this.

    partitions.py [--binary PATH] [--partitions N,N] [--output FILE]

The same events lie in a Kafka topic of N partitions, and go into a table of events and an aggregate of one minute, a commit of each
every second, while 5,000 more come each second. Then the process is killed (SIGKILL) and started again, and the books are audited.

commit      The largest commit of the table of events: KiB of its JSON; the median time from its cut until it is in the lake.
start       From the start of the process after the kill until it has all its partitions and reads, and until all is read.
memory      Of its own, resident, after the start.
documents   /v1/pipeline, /v1/lag, /metrics, and an answer about the aggregate by country: median of 20 questions.
"""
import argparse
import contextlib
import http.client
import json
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "kafka"))
from broker import Broker  # noqa: E402

TOPIC = "clicks"
EVENTS = 100_000
SECOND_EVENTS = 5_000
SECONDS = 6
ROWS = [("commit, KiB", "commit_kib"), ("commit, ms", "commit_ms"), ("start to reading, s", "start_to_assigned_s"),
        ("start to caught up, s", "start_to_read_s"), ("memory, MiB", "memory_mib"), ("/v1/pipeline, ms", "pipeline_ms"),
        ("/v1/lag, ms", "lag_ms"), ("/metrics, ms", "metrics_ms"), ("an answer, ms", "answer_ms")]
PIPELINE = """version: 1
pipeline: partitions
source:
  {log}
  topics: [clicks]
decode:
  columns: {{event_id: string, ts: timestamp, country: string, page: string, latency_ms: double, amount: "decimal(12,2)"}}
event_time: {{column: ts}}
tables:
  - {{name: clicks, commit: {{interval: 1s}}}}
aggregates:
  - name: clicks_1m
    sql: |
      SELECT window_start, country, count(*) AS views, sum(amount) AS revenue
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
    commit: {{interval: 1s}}
lake: {{uri: ./lake}}
limits: {{memory: 256MiB}}
serve: {{listen: "127.0.0.1:{port}"}}
log: {{level: info}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tail(path):
    return "\n".join(line[:200] for line in path.read_text(errors="replace").splitlines()[-10:])


class Pipeline:
    def __init__(self, binary, folder, log):
        self.binary, self.folder, self.port = binary, folder, free_port()
        (folder / "p.yaml").write_text(PIPELINE.format(log=log, port=self.port))
        self.process = None

    def start(self):
        with open(self.folder / "log", "ab") as output:
            self.process = subprocess.Popen([self.binary, "run", "-c", "p.yaml"], cwd=self.folder, stdout=output, stderr=output)

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            return body if response.status == 200 else None

    def document(self, path):
        try:
            body = self.get(path)
        except OSError:
            body = None
        if self.process.poll() is not None:
            raise SystemExit(f"millrace ended with {self.process.returncode}:\n{tail(self.folder / 'log')}")
        return None if body is None else json.loads(body)

    def wait_until(self, condition, what, timeout_s=120):
        begun = time.monotonic()
        while not condition(self.document("/v1/pipeline")):
            if time.monotonic() - begun > timeout_s:
                raise SystemExit(f"not within {timeout_s} s: {what}\n{tail(self.folder / 'log')}")
            time.sleep(0.01)
        return time.monotonic()

    def resident_mib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
        raise SystemExit("the kernel says nothing of memory")

    def median_ms(self, path):
        times = []
        for _ in range(20):
            begun = time.monotonic()
            if self.get(path) is None:
                raise SystemExit(f"{path} was not answered")
            times.append((time.monotonic() - begun) * 1000)
        return statistics.median(times)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) != 0:
            raise SystemExit(f"millrace ended with {self.process.returncode}:\n{tail(self.folder / 'log')}")


def read_count(document):
    return sum(p["next_offset"] for p in document["source"]["partitions"])


def measure(binary, folder, partitions, log, simulate, total):
    """`simulate(count, rate)` sends events; `total()` are in the log."""
    pipeline = Pipeline(binary, folder, log)
    commit_s = []
    try:
        simulate(EVENTS, 0)
        pipeline.start()
        is_read = lambda d: d is not None and len(d["source"]["partitions"]) == partitions and read_count(d) == total()  # noqa: E731
        pipeline.wait_until(is_read, "all is read")
        sender = simulate(SECOND_EVENTS * SECONDS, SECOND_EVENTS, wait=False)
        while sender.poll() is None:
            document = pipeline.document("/v1/pipeline")
            commit_s.append(next(t["commit_seconds"] for t in document["tables"] if t["name"] == "clicks"))
            time.sleep(0.2)
        pipeline.wait_until(is_read, "all is read")
        time.sleep(1.5)
        pipeline.kill()
        before = total()
        simulate(2 * partitions, 0)
        begun = time.monotonic()
        pipeline.start()
        assigned = pipeline.wait_until(lambda d: d is not None and len(d["source"]["partitions"]) == partitions
                                       and d["state"] == "running" and read_count(d) >= before, "its partitions")
        read = pipeline.wait_until(is_read, "all is read after the kill")
        figures = {"partitions": partitions, "start_to_assigned_s": assigned - begun, "start_to_read_s": read - begun}
        time.sleep(2)
        for name, path in [("pipeline_ms", "/v1/pipeline"), ("lag_ms", "/v1/lag"), ("metrics_ms", "/metrics"),
                           ("answer_ms", "/v1/aggregates/clicks_1m?from=-5m&group_by=country")]:
            figures[name] = pipeline.median_ms(path)
        figures["memory_mib"] = pipeline.resident_mib()
        pipeline.stop()
    finally:
        if pipeline.process is not None:
            pipeline.kill()
    log_folder = folder / "lake" / "clicks" / "_delta_log"
    figures["commit_kib"] = max(path.stat().st_size for path in log_folder.glob("*.json")) / 1024
    figures["commit_ms"] = statistics.median(commit_s) * 1000
    audit = subprocess.run([binary, "audit", "-c", "p.yaml"], cwd=folder, capture_output=True, text=True)
    if audit.returncode != 0:
        raise SystemExit(f"the books do not balance:\n{audit.stdout}{audit.stderr}")
    return figures


def of_partitions(binary, partitions):
    """In a folder and with a broker of its own."""
    sent = []
    with tempfile.TemporaryDirectory() as name, Broker(lasting=True) as broker:
        folder = pathlib.Path(name)
        broker.create_topic(TOPIC, partitions=partitions)

        def simulate(events, rate, wait=True):
            sent.append(events)
            # A request of the client has one partition: with a thousand of them each must wait for more than a few records.
            command = [binary, "simulate", "clickstream", "--rate", str(rate), "--count", str(events), "--seed", str(len(sent)),
                       "--to", f"kafka://{broker.address}/{TOPIC}", "-K", "linger.ms=1000"]
            with open(folder / "simulate.log", "ab") as output:
                process = subprocess.Popen(command, stdout=output, stderr=output)
            if wait and process.wait() != 0:
                raise SystemExit(f"simulate ended with {process.returncode}:\n{tail(folder / 'simulate.log')}")
            return process

        log = f'kafka: {{bootstrap.servers: "{broker.address}", group.id: partitions}}'
        return measure(binary, folder, partitions, log, simulate, lambda: sum(sent))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/release/bin/millrace")
    parser.add_argument("--partitions", default="4,1000")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build/partitions.json")
    arguments = parser.parse_args()
    numbers = [int(number) for number in arguments.partitions.split(",")]
    figures = {}
    for partitions in numbers:
        figures[str(partitions)] = of_partitions(arguments.binary.resolve(), partitions)
    print(f"\n{'Partitions':24}" + "".join(f"{number:>12,}" for number in numbers))
    for title, key in ROWS:
        print(f"{title:24}" + "".join(f"{figures[str(number)][key]:12,.2f}" for number in numbers))
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(figures, indent=1) + "\n")


main()
