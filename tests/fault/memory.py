#!/usr/bin/env python3
"""What a worker takes, against what it was given: peak RSS at limits.memory 128 MiB, and descriptors under a small ulimit -n.

    memory.py [NAME...]     all cases, or those whose names contain one of the words; --soak: the long ones

Each case reads a log of clickstream events to its end with the real program and prints its peak. Nothing is killed here; the
books are checked all the same, because a limit that loses rows is none. MILLRACE_AWAY_SECONDS: how long a store is away (15).
"""

import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

from deltalake import DeltaTable

import harness
from harness import Failure, Workspace, binary, say, wait_for

sys.path.insert(0, str(harness.ROOT / "tests" / "s3"))
from s3_server import FaultProxy, Minio  # noqa: E402  (the path is set just above)

LIMIT_MIB = 128
PEAK_MIB = 256
EVENTS = 2_000_000
TEN_MILLION = 10_000_000
DESCRIPTORS = 256
QUESTIONS = 64
AWAY_SECONDS = float(os.environ.get("MILLRACE_AWAY_SECONDS", "15"))

SOURCE = """version: 1
pipeline: clicks
source:
  embedded: {path: ./log}
  topics: [clicks]
decode:
  format: json
  columns: {event_id: string, ts: timestamp, device_id: string, country: string, page: string, amount: "decimal(12,2)"}
event_time: {column: ts}
lake: {uri: ./lake}
"""
LIMITS = f"limits: {{memory: {LIMIT_MIB}MiB}}\n"
GROUP_PER_EVENT = """aggregates:
  - name: per_event
    sql: |
      SELECT window_start, event_id, count(*) AS n, sum(amount) AS total
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
"""
PARTITION_PER_DEVICE = "tables:\n  - {name: clicks, partition_by: [device_id]}\n"


def simulate(folder, events, devices, *more):
    subprocess.run([binary(), "simulate", "clickstream", "--count", str(events), "--rate", "0", "--devices", str(devices),
                    "--to", "embedded:./log/clicks", *more], cwd=folder, check=True, capture_output=True,
                   timeout=max(600, events // 50_000))


class Worker:
    """`millrace run` in a folder, watched from its start to its end."""

    def __init__(self, folder, config, *arguments, environment=None, preexec=None):
        (folder / "pipeline.yaml").write_text(config)
        self.folder, self.environment, self.port = folder, environment, harness.free_port()
        self.peak_mib = self.descriptors = 0
        with open(folder / "run.log", "wb") as log:
            self.process = subprocess.Popen([binary(), "run", "-c", "pipeline.yaml", *arguments, "--set",
                                             f"serve.listen=127.0.0.1:{self.port}"], cwd=folder, env=environment,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=preexec)
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def _watch(self):
        while self.process.poll() is None:
            try:
                status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
                self.descriptors = max(self.descriptors, len(os.listdir(f"/proc/{self.process.pid}/fd")))
            except OSError:
                continue
            peak = re.search(r"VmHWM:\s+(\d+)", status)
            if peak:
                self.peak_mib = int(peak.group(1)) / 1024
            time.sleep(0.01)

    def log(self):
        return (self.folder / "run.log").read_text()

    def get(self, target):
        """(status, body)"""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{target}", timeout=120) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def metric(self, name):
        try:
            text = self.get("/metrics")[1].decode()
        except OSError:
            return 0
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))

    def end(self, timeout_s=900):
        """Waits for its end, which must be in order and with the books balanced."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure(f"no end within {timeout_s} s:\n{self.log()[-2000:]}") from None
        self.watcher.join()
        if self.process.returncode != 0:
            raise Failure(f"ended with status {self.process.returncode}:\n{self.log()[-2000:]}")
        audit = subprocess.run([binary(), "audit", "-c", "pipeline.yaml"], cwd=self.folder, env=self.environment,
                               capture_output=True, text=True)
        if audit.returncode != 0:
            raise Failure(f"the books do not balance:\n{audit.stdout}{audit.stderr}")

    def stop(self):
        self.process.terminate()
        self.end(60)


def run_to_end(folder, config, preexec=None):
    """(peak RSS in MiB, most descriptors seen) of a run that must end with status 0."""
    worker = Worker(folder, config, "--until-end", preexec=preexec)
    worker.end()
    return worker.peak_mib, worker.descriptors


def files_of(folder, table):
    """Rows, and partition values, of the table's live files, by another reader."""
    actions = DeltaTable(str(folder / "lake" / table)).get_add_actions(flatten=True)
    columns = {name: actions.column(name).to_pylist() for name in actions.schema.names}
    return sum(columns["num_records"]), set(columns.get("partition.device_id", []))


def expect(what, got, want):
    if got != want:
        raise Failure(f"{what}: {got}, not {want}")


def expect_peak(peak_mib):
    say(f"peak RSS {peak_mib:.0f} MiB at limits.memory {LIMIT_MIB} MiB")
    if peak_mib > PEAK_MIB:
        raise Failure(f"peak RSS {peak_mib:.0f} MiB, at most {PEAK_MIB} at limits.memory {LIMIT_MIB} MiB")


def two_million_events(folder):
    """Two million events of 1,500 devices, each a group of its own; asked for all at once; in a partition for each device; and with as many
    again, to be remembered."""
    simulate(folder, EVENTS, 1500)
    unique_keys(folder)
    questions_too_large(folder)
    partitions_1500(forget(folder))
    dedupe_on_disk(forget(folder))


def forget(folder):
    """The same log, for a pipeline that has not been here."""
    for part in ("lake", "state"):
        shutil.rmtree(folder / part, ignore_errors=True)
    return folder


def unique_keys(folder):
    peak_mib, _ = run_to_end(folder, SOURCE + GROUP_PER_EVENT + LIMITS)
    expect("partial rows", files_of(folder, "per_event")[0], EVENTS)
    expect_peak(peak_mib)


def partitions_1500(folder):
    peak_mib, descriptors = run_to_end(folder, SOURCE + PARTITION_PER_DEVICE + LIMITS)
    rows, values = files_of(folder, "clicks")
    expect("rows", rows, EVENTS)
    expect("partition values", len(values), 1500)
    say(f"{descriptors} descriptors at most")
    expect_peak(peak_mib)


def partitions_10000(folder):
    """Ten thousand partition values under ulimit -n 256: the run ends, and nothing is read twice on the way."""
    simulate(folder, 120_000, 15_000)  # Of whom ten thousand come.
    peak_mib, descriptors = run_to_end(
        folder, SOURCE + PARTITION_PER_DEVICE + LIMITS,
        preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS)))
    rows, values = files_of(folder, "clicks")
    expect("rows", rows, 120_000)
    if len(values) < 9_990:
        raise Failure(f"{len(values)} partition values: the case is not what it says")
    if "reading again" in (folder / "run.log").read_text():
        raise Failure("records were read again")
    say(f"{len(values):,} partition values, {descriptors} descriptors at most")
    expect_peak(peak_mib)


def aggregates_100(folder):
    """A hundred aggregates, each with an expression of its own: DuckDB is not there a hundred times for each shard."""
    simulate(folder, 20_000, 100)
    aggregates = "".join(f"""  - {{name: a{i}, sql: "SELECT window_start, country, sum(amount + {i}) AS s FROM TUMBLE(input, ts, INTERVAL 1 HOUR) GROUP BY ALL"}}
""" for i in range(100))
    peak_mib, _ = run_to_end(folder, SOURCE + "aggregates:\n" + aggregates + LIMITS)
    expect_peak(peak_mib)


def ask_all_at_once(worker, target):
    """The statuses of QUESTIONS answers, by how often; each answer is whole."""
    answers = [None] * QUESTIONS

    def ask(i):
        answers[i] = worker.get(target)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(QUESTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for status, body in answers:
        document = json.loads(body)
        if status == 200 and document["rows"] != len(document["data"]):
            raise Failure(f"{len(document['data'])} rows of {document['rows']}")
    statuses = [status for status, _ in answers]
    return {status: statuses.count(status) for status in set(statuses)}


def questions_200000_groups(folder):
    """64 questions at once that merge and sort 200,000 groups each."""
    simulate(folder, 200_000, 1000)
    worker = Worker(folder, SOURCE + GROUP_PER_EVENT + LIMITS)
    wait_for(lambda: worker.metric("millrace_rows_committed_total") >= 200_000, "all rows are committed", 180)
    statuses = ask_all_at_once(worker, "/v1/aggregates/per_event?order_by=event_id")
    say(f"{QUESTIONS} questions: {statuses}")
    if not statuses.get(200) or set(statuses) - {200, 503, 504}:
        raise Failure(f"answers of status {statuses}")
    worker.stop()
    expect_peak(worker.peak_mib)


def questions_too_large(folder):
    """After unique_keys: 64 questions at once for two million groups, refused without their memory being taken first."""
    worker = Worker(folder, SOURCE + GROUP_PER_EVENT + LIMITS)
    wait_for(lambda: worker.metric("millrace_memory_bytes") > 0, "it runs", 180)
    statuses = ask_all_at_once(worker, "/v1/aggregates/per_event?order_by=event_id")
    say(f"{QUESTIONS} questions: {statuses}")
    expect("answers", statuses, {413: QUESTIONS})
    status, body = worker.get("/v1/aggregates/per_event?step=0&group_by=")
    expect("a question of one group afterwards", (status, json.loads(body)["data"][0]["n"]), (200, EVENTS))
    worker.stop()
    expect_peak(worker.peak_mib)


def letters_store_away(folder):
    """Half of two million events are dead letters, and the store takes nothing for their table for a while."""
    simulate(folder, EVENTS, 1000, "--malformed", "50%")
    with Minio() as server, FaultProxy(server.endpoint) as proxy:
        server.create_bucket("lake")
        environment = {**os.environ, **server.environment(proxy.endpoint)}
        config = SOURCE.replace("uri: ./lake", "uri: s3://lake/x") + "tables: [{name: clicks}]\n" + LIMITS
        worker = Worker(folder, config, "--until-end", "--role", "all", environment=environment)
        wait_for(lambda: worker.metric("millrace_rows_committed_total") > 0, "the first commit", 180)
        proxy.always("error_503", match="clicks_dead_letters/")
        time.sleep(AWAY_SECONDS)
        refused = proxy.counts().get("error_503", 0)
        if worker.process.poll() is not None or not refused:
            raise Failure(f"it ended, or never wrote letters, while their store was away: {refused} requests refused")
        away_peak = worker.peak_mib
        proxy.quiet()
        worker.end()
        say(f"away for {AWAY_SECONDS:.0f} s, {refused} requests refused, peak until then {away_peak:.0f} MiB")
        expect_peak(worker.peak_mib)


def ten_million(folder, sql, rows):
    """A run to the end of ten million events for one aggregate of so many partial rows, and a start after it: gives the worker."""
    simulate(folder, TEN_MILLION, 1000)
    config = SOURCE + f"aggregates:\n  - name: asked\n    sql: {sql}\n" + LIMITS
    peak_mib, _ = run_to_end(folder, config)
    say(f"peak while it read them {peak_mib:.0f} MiB")
    expect_peak(peak_mib)
    if rows is not None:
        expect("partial rows", files_of(folder, "asked")[0], rows)
    return Worker(folder, config)


def answer_after_start(worker, target):
    """The rows of the first answer of a worker that was just started."""
    started = time.monotonic()
    wait_for(lambda: "serving url=" in worker.log(), "it serves", 60, 0.01)
    status, body = worker.get(target)
    took_s = time.monotonic() - started
    expect("status", (status, body[:500]) if status != 200 else status, 200)
    worker.stop()
    say(f"answered {took_s:.1f} s after its start")
    expect_peak(worker.peak_mib)
    if took_s > 10:
        raise Failure(f"{took_s:.1f} s from the start to the answer, at most 10")
    return json.loads(body)["data"]


def ten_million_sessions(folder):
    """A session of its own for each of ten million events."""
    worker = ten_million(folder, "SELECT window_start, window_end, event_id, count(*) AS n "
                         "FROM SESSION(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL", TEN_MILLION)
    tapped = subprocess.run([binary(), "tap", "-c", "pipeline.yaml", "--from-start", "--limit", "1"], cwd=folder, check=True,
                            capture_output=True, text=True)
    event_id = json.loads(tapped.stdout)["event_id"]
    rows = answer_after_start(worker, "/v1/aggregates/asked?" + urllib.parse.urlencode({"where": f"event_id = '{event_id}'"}))
    expect("sessions of an event", [(row["event_id"], row["n"]) for row in rows], [(event_id, 1)])


def ten_million_users(folder):
    """Ten million values of one approx_count_distinct."""
    worker = ten_million(folder, "SELECT approx_count_distinct(event_id) AS users FROM input", None)
    users = answer_after_start(worker, "/v1/aggregates/asked")[0]["users"]
    say(f"{users:,} users")
    if abs(users / TEN_MILLION - 1) > 0.049:
        raise Failure(f"{users:,} of {TEN_MILLION:,}, by a sketch whose error is below 4.9 % in 997 of 1,000 cases")


def dedupe_on_disk(folder):
    """Four million keys to remember, of which memory has room for half."""
    simulate(folder, EVENTS, 1500, "--seed", "2")
    peak_mib, _ = run_to_end(folder, SOURCE + "dedupe: {by: event_id, within: 7d}\ntables: [{name: clicks}]\n" + LIMITS)
    expect("rows", files_of(folder, "clicks")[0], 2 * EVENTS)
    if not list((folder / "state").rglob("run-*")):
        raise Failure("no keys are on the disk: the case is not what it says")
    expect_peak(peak_mib)


SOAK_CASES = [ten_million_sessions, ten_million_users]
CASES = [two_million_events, partitions_10000, aggregates_100, questions_200000_groups, letters_store_away]


def main():
    harness.die_on_signals()
    words = [word for word in sys.argv[1:] if word != "--soak"]
    cases = SOAK_CASES if "--soak" in sys.argv else CASES
    wanted = [case for case in cases if not words or any(word in case.__name__ for word in words)]
    failed = []
    for case in wanted:
        say(f"{case.__name__}: {case.__doc__}")
        try:
            with Workspace(f"memory-{case.__name__}") as folder:
                case(folder)
        except Exception as error:  # The other cases are wanted all the same.
            say(f"FAILED {case.__name__}: {error}")
            if not isinstance(error, Failure):
                traceback.print_exc()
            failed.append(case.__name__)
    if failed or not wanted:
        sys.exit(f"failed: {', '.join(failed) or 'no such case'}")


if __name__ == "__main__":
    main()
