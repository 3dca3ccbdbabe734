#!/usr/bin/env python3
"""A running pipeline whose store goes away: it pauses, says so, stays idle, catches up by itself, and can be stopped while a
request hangs. Kafka, MinIO and the fault proxy are real processes.

    outage_test.py PATH_OF_millrace
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "kafka"))
from broker import Broker  # noqa: E402
from s3_server import FaultProxy, Minio, free_port  # noqa: E402

BINARY = sys.argv[1]
PIPELINE = """version: 1
pipeline: clicks
source:
  kafka: {{bootstrap.servers: "{broker}", group.id: {topic}, session.timeout.ms: 6000}}
  topics: [{topic}]
decode:
  format: json
  columns: {{event_id: string, ts: timestamp, country: string, amount: "decimal(12,2)"}}
event_time: {{column: ts}}
tables:
  - name: clicks
    commit: {{interval: 200ms}}
lake: {{uri: s3://lake/{topic}}}
limits: {{memory: 64MiB, threads: 1}}
serve: {{listen: "127.0.0.1:{port}"}}
shutdown_timeout: 4s
log: {{level: warn}}
"""
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


class Pipeline:
    """One pipeline file, and the worker that runs it."""

    def __init__(self, broker, server, proxy, topic):
        broker.create_topic(topic, partitions=2)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-outage-"))
        self.port = free_port()
        self.target = f"kafka://{broker.address}/{topic}"
        (self.folder / "clicks.yaml").write_text(PIPELINE.format(broker=broker.address, topic=topic, port=self.port))
        self.environment = {**os.environ, **server.environment(proxy.endpoint)}
        self.worker = None

    def start(self, *arguments):
        self.log = open(self.folder / "worker.log", "ab")
        self.worker = subprocess.Popen([BINARY, "run", "-c", "clicks.yaml", *arguments], cwd=self.folder, env=self.environment,
                                       stdout=self.log, stderr=self.log)

    def run(self, *arguments):
        done = subprocess.run([BINARY, *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True,
                              timeout=400)
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stderr}"
        return done.stdout

    def metric(self, name):
        """The sum over the series of that name; 0 while the worker does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as reply:
                text = reply.read().decode()
        except OSError:
            return 0
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))

    def errors(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/pipeline", timeout=60) as reply:
            return json.loads(reply.read())["errors"]

    def wait_until(self, condition, what, timeout_s=300):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.worker is None or self.worker.poll() is None, \
                f"the worker ended while waiting until {what}\n{(self.folder / 'worker.log').read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"not reached: {what}\n{(self.folder / 'worker.log').read_text()[-3000:]}"
            time.sleep(0.05)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.worker.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def check(self, events):
        self.run("run", "-c", "clicks.yaml", "--until-end")
        audit = json.loads(self.run("audit", "-c", "clicks.yaml", "-o", "json"))
        claim(audit["ok"] and audit["tables"][0]["read"] == events, f"{events} events, each once", audit)
        shutil.rmtree(self.folder)


def the_store_goes_away_and_comes_back(broker, server, proxy):
    pipeline = Pipeline(broker, server, proxy, "outage")
    pipeline.start()
    pipeline.run("simulate", "clickstream", "--count", "20000", "--rate", "0", "--to", pipeline.target)
    pipeline.wait_until(lambda: pipeline.metric("millrace_rows_committed_total") > 0, "the first commit")

    proxy.always("error_503")
    pipeline.run("simulate", "clickstream", "--count", "200000", "--rate", "0", "--seed", "8", "--to", pipeline.target)
    retries = pipeline.metric("millrace_store_retries_total")
    pipeline.wait_until(lambda: pipeline.metric("millrace_store_retries_total") > retries + 20, "requests are repeated")
    pipeline.wait_until(lambda: any("HTTP 503" in error for error in pipeline.errors()), "the error is named on the page")
    memory = pipeline.metric("millrace_memory_bytes")
    claim(memory <= 64 << 20, "buffers stay within limits.memory", memory)
    cpu, begun = pipeline.cpu_seconds(), time.monotonic()
    pipeline.wait_until(lambda: time.monotonic() - begun > 3, "three seconds of outage")
    busy = (pipeline.cpu_seconds() - cpu) / (time.monotonic() - begun)
    claim(busy < 0.5, "nobody spins while the store is away", busy)

    proxy.quiet()
    pipeline.wait_until(lambda: pipeline.metric("millrace_rows_committed_total") >= 220000, "all is committed, without help")
    pipeline.worker.send_signal(signal.SIGTERM)
    claim(pipeline.worker.wait(120) == 0, "it stops in peace", (pipeline.folder / "worker.log").read_text()[-2000:])
    pipeline.check(220000)


def it_can_be_stopped_while_the_store_hangs(broker, server, proxy):
    # A test machine may stand still for minutes; that it does three times just then is not to be expected.
    took = []
    for attempt in range(3):
        pipeline = Pipeline(broker, server, proxy, f"hang-{attempt}")
        pipeline.start()
        pipeline.run("simulate", "clickstream", "--count", "5000", "--rate", "0", "--to", pipeline.target)
        pipeline.wait_until(lambda: pipeline.metric("millrace_rows_committed_total") > 0, "the first commit")
        proxy.always("hang")
        hangs = proxy.counts().get("hang", 0)
        pipeline.run("simulate", "clickstream", "--count", "5000", "--rate", "0", "--seed", "8", "--to", pipeline.target)
        pipeline.wait_until(lambda: proxy.counts().get("hang", 0) > hangs, "a request hangs")
        begun = time.monotonic()
        pipeline.worker.send_signal(signal.SIGTERM)
        code = pipeline.worker.wait(300)
        took.append(time.monotonic() - begun)
        log = (pipeline.folder / "worker.log").read_text()
        proxy.quiet()
        claim(code == 1, "what was not committed is admitted", log[-2000:])
        claim("shutdown_timeout is over" in log, "and why", log[-2000:])
        pipeline.check(10000)
        if took[-1] <= 10:
            return
    claim(False, "a shutdown with the store hanging takes at most 10 s", took)


def upkeep_that_hangs_does_not_keep_it(broker, server, proxy):
    """Ingest writes data files, and upkeep alone reads them: it hangs, and the worker leaves in peace all the same."""
    pipeline = Pipeline(broker, server, proxy, "upkeep")
    proxy.always("hang", match="/part-", method="GET")
    hangs = proxy.counts().get("hang", 0)
    pipeline.start("--set", "maintenance.interval=1s", "--set", "maintenance.compaction.min_files=2")
    for seed in range(3):
        rows = pipeline.metric("millrace_rows_committed_total")
        pipeline.run("simulate", "clickstream", "--count", "1000", "--rate", "0", "--seed", str(seed), "--to", pipeline.target)
        pipeline.wait_until(lambda: pipeline.metric("millrace_rows_committed_total") >= rows + 1000, "a commit")
    pipeline.wait_until(lambda: proxy.counts().get("hang", 0) > hangs, "upkeep hangs")
    pipeline.worker.send_signal(signal.SIGTERM)
    code = pipeline.worker.wait(300)
    log = (pipeline.folder / "worker.log").read_text()
    claim(code == 0, "all that was read is committed", log[-2000:])
    claim("requests of maintenance to the store are given up" in log, "and upkeep was ended", log[-2000:])
    proxy.quiet()
    pipeline.check(3000)


def main():
    with Broker() as broker, Minio() as server, FaultProxy(server.endpoint) as proxy:
        server.create_bucket("lake")
        the_store_goes_away_and_comes_back(broker, server, proxy)
        it_can_be_stopped_while_the_store_hangs(broker, server, proxy)
        upkeep_that_hangs_does_not_keep_it(broker, server, proxy)
    print(f"{passed} passed, 0 failed")


main()
