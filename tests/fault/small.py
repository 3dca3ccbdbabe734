"""A small pipeline for cases of a handful of records, and whose definition changes from run to run."""

import json
import subprocess

from confluent_kafka import Producer
from deltalake import DeltaTable

import books
import harness
from harness import Failure, Worker, wait_for

PIPELINE = "small"
COLUMNS = "{id: string, ts: timestamp, country: string, a: int64}"
TABLE = "t"
LETTERS = f"{PIPELINE}_dead_letters"


def pipeline_yaml(*, brokers, lake, port, group, topics=(), inputs=None, start="earliest", event_time="{column: ts}", transforms=(),
                  tables=None, aggregates=(), commit_interval="100ms", properties=()):
    """`transforms`, `aggregates`: pairs of a name and its SQL. `tables`: name -> further keys; one of the input by default.
    `inputs`: name -> (topics, columns), instead of the short form."""
    commit = f"commit: {{interval: {commit_interval}}}"
    kafka = {"bootstrap.servers": brokers, "group.id": group, **dict(properties)}
    lines = [f"version: 1\npipeline: {PIPELINE}\nsource:", f"  kafka: {json.dumps(kafka)}", f"  start: {start}"]
    if inputs is None:
        lines += [f"  topics: [{', '.join(topics)}]", f"decode: {{format: json, columns: {COLUMNS}}}", f"event_time: {event_time}"]
    else:
        lines += ["inputs:", *(f"  - {{name: {name}, topics: {json.dumps(of)}, decode: {{columns: {columns}}}, event_time: {event_time}}}"
                               for name, (of, columns) in inputs.items())]
    if transforms:
        lines += ["transforms:", *(f"  - {{name: {name}, sql: {json.dumps(sql)}}}" for name, sql in transforms)]
    lines += ["tables:", *(f"  - {{name: {name}, {more + ', ' if more else ''}{commit}}}"
                           for name, more in ({TABLE: ""} if tables is None else tables).items())]
    if aggregates:
        lines += ["aggregates:", *(f"  - {{name: {name}, sql: {json.dumps(sql)}, {commit}}}" for name, sql in aggregates)]
    return "\n".join([*lines, f"lake: {{uri: {json.dumps(str(lake))}}}", f'serve: {{listen: "127.0.0.1:{port}"}}',
                      "log: {level: debug}", ""])


class Small:
    """The topics, the lake and the runs of one small pipeline within a case; several may share the case."""

    def __init__(self, case, name):
        self.case, self.name = case, name
        self.folder = case.folder / name
        self.folder.mkdir()
        self.lake = self.folder / "lake"
        self.producer = Producer({"bootstrap.servers": case.broker.address, "enable.idempotence": True, "linger.ms": 0, "log_level": 2})
        self.sent = {}  # (topic, partition) -> records

    def topic(self, short):
        return f"{self.case.name}-{self.name}-{short}"

    def create_topics(self, *shorts, partitions=2, config=None):
        for short in shorts:
            self.case.broker.create_topic(self.topic(short), partitions, config)
            self.sent.update({(short, partition): 0 for partition in range(partitions)})

    def send(self, short, partition, *records, times_ms=None):
        """Records are dicts. `times_ms`: their record timestamps; the clock's by default."""
        for number, record in enumerate(records):
            more = {} if times_ms is None else {"timestamp": times_ms[number]}
            self.producer.produce(self.topic(short), json.dumps(record).encode(), partition=partition, **more)
        if self.producer.flush(30):
            raise RuntimeError(f"producing to {self.topic(short)} failed")
        self.sent[short, partition] += len(records)

    def run(self, *arguments, topics=(), inputs=None, kill_at=None, **settings):
        """`inputs`: name -> (topics, columns). A topic from ^ on is a pattern, its topics named as all are."""
        def whole(shorts):
            return ["^" + self.topic(short[1:]) if short.startswith("^") else self.topic(short) for short in shorts]
        if inputs is not None:
            inputs = {name: (whole(shorts), columns) for name, (shorts, columns) in inputs.items()}
        worker = Worker(self.folder, f"run-{len(self.case.workers) + 1}", arguments=arguments, kill_at=kill_at, pipeline=pipeline_yaml,
                        brokers=self.case.broker.address, lake=self.lake, group=f"{self.case.name}-{self.name}",
                        topics=whole(topics), inputs=inputs, **settings)
        self.case.workers.append(worker)
        return worker

    def run_to_end(self, **settings):
        worker = self.run("--until-end", **settings)
        worker.expect_exit(0)
        return worker

    def run_and_stop(self, **settings):
        """Until it has its partitions, and knows where to begin; then SIGTERM."""
        worker = self.run(**settings)
        wait_until_ready(worker)
        worker.stop()
        return worker

    def has(self, table):
        return any((self.lake / table / "_delta_log").glob("*.json"))

    def rows(self, table=TABLE):
        return DeltaTable(str(self.lake / table)).to_pyarrow_table().to_pylist() if self.has(table) else []

    def offsets(self, table=TABLE):
        """(topic, partition, offset) of each row, sorted; topics as this class names them."""
        prefix = self.topic("")
        return sorted((row["_topic"].removeprefix(prefix), row["_partition"], row["_offset"]) for row in self.rows(table))

    def versions(self):
        return {path.name: books.Log(path).version for path in self.lake.iterdir() if (path / "_delta_log").is_dir()}

    def check_audit(self, worker):
        done = subprocess.run([harness.binary(), "audit", "-c", str(worker.config)], capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise Failure(f"{self.name}: audit: {done.stdout}{done.stderr}")

    def check_offsets(self, wanted, what, table=TABLE):
        got, wanted = self.offsets(table), sorted(wanted)
        if got != wanted:
            lost = [offset for offset in wanted if offset not in got]
            extra = [offset for n, offset in enumerate(got) if offset not in wanted or offset in got[:n]]
            raise Failure(f"{self.name}, {what}: {len(got)} rows, {len(wanted)} are right; missing {lost[:9]}, too many {extra[:9]}")


def wait_until_ready(worker):
    def ready():
        if not worker.alive():
            raise Failure(f"{worker.name} ended with status {worker.process.poll()}:\n{worker.tail()}")
        got = worker.get("/readyz")
        return got and got[0] == 200
    wait_for(ready, f"{worker.name} to be ready", 180, every_s=0.02)
