#!/usr/bin/env python3
"""The whole product under load on S3 for long: Kafka, MinIO, maintenance on, a commit every 5 s, questions all the while.

    soak.py PATH_OF_millrace [--minutes 60] [--rate 20000] [--output FILE]

At the end memory, live files, freshness and the time of an answer are in the last third those of the middle third (the
first is warm-up), and the books hold: by `millrace audit`, by deltalake's count of rows, and every event is asked for once.
"""
import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kafka"))
from broker import Broker, free_port  # noqa: E402
from s3_server import Minio  # noqa: E402

PIPELINE = """version: 1
pipeline: soak
source:
  kafka: {bootstrap.servers: "${BROKERS}", group.id: soak}
  topics: [clicks]
decode:
  columns: {event_id: string, ts: timestamp, device_id: string, user_id: int64, session_id: string, country: string,
            page: string, action: string, latency_ms: double, amount: "decimal(12,2)"}
event_time: {column: ts}
tables:
  - name: clicks
    commit: {interval: 5s}
aggregates:
  - name: clicks_1m
    sql: |
      SELECT window_start, country, page, count(*) AS views, sum(amount) AS revenue, max(latency_ms) AS slowest
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
    commit: {interval: 5s}
lake:
  uri: s3://lake/soak
  s3: {endpoint: "${S3_ENDPOINT}", region: us-east-1, path_style: true}
maintenance: {interval: 30s, vacuum: {interval: 60s, retention: 1h}, log_cleanup: {interval: 60s}}
limits: {memory: 256MiB}
serve: {listen: "127.0.0.1:${PORT}"}
"""
QUESTION = "/v1/aggregates/clicks_1m?from=-5m&group_by=country"


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        return json.load(response)


def resident_mib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def observe(worker, port, end):
    """Every 2 s until `end`: (time, MiB, live files by table, freshness in ms of 10 looks, ms of one answer)."""
    samples = []
    while time.monotonic() < end:
        begun = time.monotonic()
        get(port, QUESTION)
        answer_ms = (time.monotonic() - begun) * 1000
        fresh = []
        for _ in range(10):
            fresh.append((get(port, "/v1/pipeline")["freshness_seconds"] or 0) * 1000)
            time.sleep(0.15)
        files = {table["name"]: table["files"] for table in get(port, "/v1/tables")["tables"]}
        samples.append((begun, resident_mib(worker.pid), files, fresh, answer_ms))
        if worker.poll() is not None:
            raise SystemExit(f"millrace ended with {worker.returncode}")
        time.sleep(max(0.0, begun + 2 - time.monotonic()))
    return samples


def thirds(samples):
    third = len(samples) // 3
    figures = []
    for part in (samples[:third], samples[third:2 * third], samples[2 * third:]):
        fresh = [ms for sample in part for ms in sample[3]]
        figures.append({
            "peak_mib": round(max(sample[1] for sample in part), 1),
            "files_max": {name: max(sample[2].get(name, 0) for sample in part) for name in part[-1][2]},
            "freshness_p50_ms": round(percentile(fresh, 0.5), 1),
            "freshness_p99_ms": round(percentile(fresh, 0.99), 1),
            "answer_p50_ms": round(percentile([sample[4] for sample in part], 0.5), 1),
        })
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    events = int(arguments.rate * arguments.minutes * 60)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, Minio() as store, Broker(data=pathlib.Path(folder) / "broker", lasting=True) as broker:
        store.create_bucket("lake")
        # The log is far larger than what is kept of it: we are never so far behind.
        broker.create_topic("clicks", partitions=4, config={"retention.bytes": str(256 << 20), "segment.bytes": str(64 << 20)})
        config = pathlib.Path(folder, "soak.yaml")
        config.write_text(PIPELINE)
        environment = {**os.environ, **store.environment(), "S3_ENDPOINT": store.endpoint, "BROKERS": broker.address,
                       "PORT": str(port)}
        log = open(pathlib.Path(folder, "millrace.log"), "w+")
        worker = subprocess.Popen([arguments.binary, "run", "-c", str(config)], env=environment, stdout=log, stderr=log)
        fleet = None
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            fleet = subprocess.Popen([arguments.binary, "simulate", "clickstream", "--rate", str(arguments.rate), "--count",
                                      str(events), "--late", "2%", "--malformed", "0.1%", "--to",
                                      f"kafka://{broker.address}/clicks"], stdout=subprocess.DEVNULL)
            samples = observe(worker, port, time.monotonic() + arguments.minutes * 60)
            assert fleet.wait(120) == 0, "simulate failed"
            worker.send_signal(signal.SIGTERM)
            code = worker.wait(60)
            log.seek(0)
            assert code == 0, f"millrace ended with {code}\n{log.read()[-3000:]}"
        finally:
            for process in (worker, fleet):
                if process is not None and process.poll() is None:
                    process.kill()
        audit = json.loads(subprocess.run([arguments.binary, "audit", "-c", str(config), "-o", "json"], env=environment,
                                          check=True, stdout=subprocess.PIPE).stdout)
        from deltalake import DeltaTable

        options = {"AWS_ENDPOINT_URL": store.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": store.access_key,
                   "AWS_SECRET_ACCESS_KEY": store.secret_key, "AWS_REGION": store.region}
        rows = DeltaTable("s3://lake/soak/clicks", storage_options=options).to_pyarrow_dataset().count_rows()
    figures = thirds(samples)
    result = {"events": events, "minutes": arguments.minutes, "rows": rows, "audit": audit, "thirds": figures,
              "samples": [(round(s[0] - samples[0][0]), round(s[1]), s[2]) for s in samples[::15]]}
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1))
    for name, part in zip(("first", "middle", "last"), figures):
        print(f"{name + ' third':14} {part}")
    books = next(table for table in audit["tables"] if table["name"] == "clicks")
    assert audit["ok"] and books["read"] == events and rows == books["written"], (audit, rows)
    _, middle, last = figures
    assert last["peak_mib"] <= middle["peak_mib"] * 1.1 + 8, "memory grows"
    for name, files in last["files_max"].items():
        assert files <= middle["files_max"][name] * 1.25 + 16, f"live files of {name} grow"
    assert last["freshness_p50_ms"] <= middle["freshness_p50_ms"] * 2 + 20, "answers get older"
    assert last["answer_p50_ms"] <= middle["answer_p50_ms"] * 2 + 20, "answers take longer"
    print(f"{events:,} events in {arguments.minutes:g} minutes, {rows:,} rows, {books['dead_lettered']:,} dead letters; books hold")


main()
