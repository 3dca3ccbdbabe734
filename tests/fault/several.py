#!/usr/bin/env python3
"""Records that hold several documents: each document is in the tables once, as a row or as a letter, whatever kills the process or a
replay; the books count both.

    several.py [NAME...]     all cases, or those whose names contain one of the words

What must become of each document is said here, in Python, when its record is made. Records are lines of JSON, some of them packed as gzip or
zstd, and Avro container files that fastavro writes.
"""

import gzip
import io
import json
import os
import random
import signal
import subprocess
import time

import fastavro
import pyarrow as pa
from confluent_kafka import Producer
from deltalake import DeltaTable

import cases
import events
import harness
from harness import Failure, Worker, say

PARTITIONS = 2
PIPELINE = "several"
LETTERS = f"{PIPELINE}_dead_letters"
SCHEMA = {"type": "record", "name": "Reading", "fields": [{"name": "id", "type": "string"}, {"name": "n", "type": "long"}]}
WRITERS = [SCHEMA,
           {"type": "record", "name": "Reading", "fields": [{"name": "extra", "type": ["null", "double"]}, {"name": "n", "type": "int"},
                                                            {"name": "id", "type": "string"}]},
           # A reader of `id` cannot read this one: each value is a letter.
           {"type": "record", "name": "Reading", "fields": [{"name": "id", "type": "bytes"}, {"name": "n", "type": "double"}]}]
STRICT = "SELECT *, CAST(rating AS INTEGER) AS stars FROM lines WHERE n % 10 <> 3"
MENDED = "SELECT *, TRY_CAST(rating AS INTEGER) AS stars FROM lines WHERE n % 10 <> 3"
KILL_POINTS = ["commit.before_put:1", "commit.after_put:1", "commit.after_put:2", "commit.after_put:3", "epoch.sealed:1",
               "epoch.prepared:1", "epoch.committed:1", "upload.finished:1"]
REPLAY_KILL_POINTS = ["commit.before_put:1", "commit.after_put:1", "commit.after_put:2", "epoch.prepared:1", "replay.decided:1",
                      "replay.applied:1", "replay.applied:2"]


def pipeline_yaml(*, brokers, group, lines, files, lake, port, schemas, transform=STRICT):
    return f"""version: 1
pipeline: {PIPELINE}
source:
  kafka: {{bootstrap.servers: "{brokers}", group.id: "{group}"}}
inputs:
  - name: lines
    topics: ["{lines}"]
    decode:
      records: lines
      compression: auto
      columns: {{id: string, ts: timestamp, n: int64, rating: string, who: {{type: string, from: key}}}}
    event_time: {{column: ts}}
    dedupe: {{by: [id], within: 1h}}
  - name: files
    topics: ["{files}"]
    decode: {{format: avro, records: container, schema: {{file: "{schemas}/reading.avsc"}}}}
transforms:
  - {{name: rated, sql: {json.dumps(transform)}}}
tables:
  - {{name: raw, from: lines, commit: {{interval: 100ms}}}}
  - {{name: rated, from: rated, commit: {{interval: 250ms}}}}
  - {{name: files, from: files, commit: {{interval: 100ms}}}}
aggregates:
  - name: by_minute
    sql: SELECT window_start, count(*) AS c, sum(n) AS s FROM TUMBLE(rated, ts, INTERVAL 1 MINUTE) GROUP BY ALL
    commit: {{interval: 150ms}}
lake: {{uri: "{lake}"}}
serve: {{listen: "127.0.0.1:{port}"}}
log: {{level: debug}}
"""


class Topics:
    """Two topics, what was sent to them, and what must have become of it."""

    def __init__(self, case):
        self.case = case
        self.random = random.Random(case.name)
        self.names = {"lines": case.name + "-lines", "files": case.name + "-files"}
        for name in self.names.values():
            case.broker.create_topic(name, PARTITIONS)
        (case.folder / "reading.avsc").write_text(json.dumps(SCHEMA))
        self.producer = Producer({"bootstrap.servers": case.broker.address, "enable.idempotence": True, "linger.ms": 0, "log_level": 2})
        self.next = {(short, partition): 0 for short in self.names for partition in range(PARTITIONS)}
        self.number = 0
        self.good = {partition: [] for partition in range(PARTITIONS)}  # Documents that others may repeat.
        self.rows = {"raw": {}, "rated": {}, "files": {}}  # (partition, offset, index) -> id
        self.late = {}  # Rows of `rated` once its transform is mended.
        self.letters = {}  # (topic, partition, offset, index, stage) -> bytes; None: of a container
        self.filtered = self.repeats = self.empty = 0
        self.records = {"lines": 0, "files": 0}
        self.further = {"lines": 0, "files": 0}

    def send(self, count):
        for _ in range(count):
            short = "files" if self.random.random() < 0.3 else "lines"
            partition = self.random.randrange(PARTITIONS)
            offset = self.next[short, partition]
            self.next[short, partition] += 1
            self.records[short] += 1
            payload, documents = self.lines(partition, offset) if short == "lines" else self.container(partition, offset)
            self.further[short] += max(0, documents - 1)
            self.producer.produce(self.names[short], payload, key=b"k%d" % offset, partition=partition)
        if self.producer.flush(30):
            raise RuntimeError("producing failed")

    def lines(self, partition, offset):
        kind = self.random.random()
        if kind < 0.04:
            self.empty += 1
            return self.random.choice([b"\n\r\n", b"\n", gzip.compress(b"\n\n")]), 0
        lines, kept = [], {}
        for _ in range(self.random.choice([1, 2, 5, 40])):
            if self.random.random() < 0.1:
                lines.append(b"")
            kept[len([line for line in lines if line])] = self.document(partition)
            lines.append(kept[len(kept) - 1][0])
        payload = b"\n".join(lines) + self.random.choice([b"", b"\n", b"\r\n"])
        packing = self.random.random()
        if packing < 0.25:
            payload = b"".join(gzip.compress(part) for part in (payload[:7], payload[7:]))
        elif packing < 0.5:
            payload = pa.compress(payload, codec="zstd", asbytes=True)
        if packing < 0.5 and kind > 0.9:
            # As a whole, with the bytes that it came in.
            payload = payload[:-3] if kind > 0.93 else gzip.compress(b" " * ((16 << 20) + 1))
            self.letters[self.names["lines"], partition, offset, None, "decode"] = payload
            return payload, 1
        for index, (line, fate, event) in kept.items():
            place = partition, offset, index
            if fate == "bad":
                self.letters[self.names["lines"], *place, "decode"] = line
                continue
            if any(event["id"] == other["id"] for other in self.good[partition]):
                self.repeats += 1
                continue
            self.good[partition].append(event)
            self.rows["raw"][place] = event["id"]
            if event["n"] % 10 == 3:
                self.filtered += 1
            elif event["rating"] == "many":
                self.letters[self.names["lines"], *place, "transform:rated"] = line
                self.late[place] = event["id"]
            else:
                self.rows["rated"][place] = event["id"]
        return payload, len(kept)

    def document(self, partition):
        """A line, its fate, and the event."""
        kind = self.random.random()
        if kind < 0.1 and self.good[partition]:
            event = self.random.choice(self.good[partition])
            return json.dumps(event).encode(), "good", event
        self.number += 1
        event = {"id": f"e{self.number}", "ts": events.rfc3339(int(time.time() * 1e6)), "n": self.number,
                 "rating": "many" if kind > 0.9 else str(self.number % 6)}
        if kind < 0.2:
            return self.random.choice([b"{", b'{"n":"x"}', b"[]", b'{"id":"\xff"}', b"\x00", b'"a', b"\r x"]), "bad", None
        return json.dumps(event).encode(), "good", event

    def container(self, partition, offset):
        if self.random.random() < 0.1:
            payload = b"Obj\x01" + self.random.randbytes(40)
            self.letters[self.names["files"], partition, offset, None, "decode"] = payload
            return payload, 1
        writer = self.random.choice(WRITERS)
        values = []
        for index in range(self.random.choice([0, 1, 3, 100])):
            self.number += 1
            name = f"f{self.number}"
            is_readable = writer is not WRITERS[2]
            values.append({"id": name if is_readable else name.encode(), "n": self.number, "extra": None})
            if is_readable:
                self.rows["files"][partition, offset, index] = name
            else:
                self.letters[self.names["files"], partition, offset, index, "decode"] = None
        self.empty += not values
        out = io.BytesIO()
        fastavro.writer(out, writer, values, codec=self.random.choice(["null", "deflate"]), sync_interval=200)
        return out.getvalue(), len(values)

    # ---- what there is ----

    def run(self, *arguments, kill_at=None, **settings):
        worker = Worker(self.case.folder, f"run-{len(self.case.workers) + 1}", arguments=arguments, kill_at=kill_at,
                        pipeline=pipeline_yaml, brokers=self.case.broker.address, group=self.case.name, lake=self.case.lake,
                        schemas=self.case.folder, **self.names, **settings)
        self.case.workers.append(worker)
        return worker

    def run_to_end(self):
        worker = self.run("--until-end")
        worker.expect_exit(0)
        return worker

    def table(self, name):
        return DeltaTable(str(self.case.lake / name)).to_pyarrow_table().to_pylist()

    def check(self, worker, what, replayed=False):
        for name, wanted in self.rows.items():
            wanted = {**wanted, **self.late} if replayed and name == "rated" else wanted
            got = [((row["_partition"], row["_offset"], row["_index"]), row["id"]) for row in self.table(name)]
            if len(got) != len(wanted) or dict(got) != wanted:
                raise Failure(f"{what}: table {name}: {len(got)} rows, {len(wanted)} are right; missing "
                              f"{sorted(wanted.items() - set(got))[:3]}, wrong {sorted(set(got) - wanted.items())[:3]}")
        letters = [row for row in self.table(LETTERS) if row.get("replay") is None]
        got = {(row["topic"], row["partition"], row["offset"], row["index"], row["stage"]): row["payload"] for row in letters}
        if len(got) != len(letters) or got.keys() != self.letters.keys():
            raise Failure(f"{what}: {len(letters)} letters, {len(self.letters)} are right; missing {list(self.letters.keys() - got.keys())[:3]}, "
                          f"wrong {list(got.keys() - self.letters.keys())[:3]}")
        for place, payload in self.letters.items():
            if payload is None:
                (value,) = fastavro.reader(io.BytesIO(got[place]))
                if not value["id"].startswith(b"f"):
                    raise Failure(f"{what}: the letter {place} holds {value}")
            elif got[place] != payload:
                raise Failure(f"{what}: the letter {place} holds {got[place][:99]}, not {payload[:99]}")
        if any(row["key"] != b"k%d" % row["offset"] for row in letters):
            raise Failure(f"{what}: a letter without its record's key")
        if any(row["who"] != f"k{row['_offset']}" for row in self.table("raw")):
            raise Failure(f"{what}: a row without its record's key")
        self.check_books(worker, what)

    def check_books(self, worker, what):
        done = subprocess.run([harness.binary(), "audit", "-c", str(worker.config), "-o", "json"], capture_output=True, text=True, timeout=300)
        report = json.loads(done.stdout)
        for table in report["tables"]:
            if table["findings"]:
                raise Failure(f"{what}: audit: {table['name']}: {table['findings']}")
            short = {"raw": "lines", "rated": "lines", "by_minute": "lines", "files": "files"}.get(table["name"])
            if short is None:
                continue
            wanted = self.records[short], self.further[short]
            if (table["read"], table["further"]) != wanted:
                raise Failure(f"{what}: audit: {table['name']}: {table['read']} records, {table['further']} further, not {wanted}")
        rated = next(table for table in report["tables"] if table["name"] == "rated")
        if (rated["filtered"], rated["deduplicated"]) != (self.filtered, self.repeats):
            raise Failure(f"{what}: audit: {rated}, not {self.filtered} filtered, {self.repeats} repeats")


def killed(case):
    """Killed at each step between and beside, with documents of all fates; each is there once."""
    topics = Topics(case)
    kills = 0
    for round_number in range(2):
        for point in KILL_POINTS:
            topics.send(60)
            worker = topics.run("--until-end", kill_at=point)
            if worker.wait() not in (0, -signal.SIGKILL):
                raise Failure(f"killed at {point}: status {worker.process.returncode}:\n{worker.tail()}")
            kills += worker.process.returncode == -signal.SIGKILL
            if round_number == 0:
                topics.check(topics.run_to_end(), f"killed at {point}")
    topics.check(topics.run_to_end(), "killed again and again")
    if kills < len(KILL_POINTS):
        raise Failure(f"only {kills} of {2 * len(KILL_POINTS)} runs came to their kill points")
    say(f"    {kills} kills; {sum(topics.records.values())} records, {sum(topics.further.values())} further documents, "
        f"{len(topics.letters)} letters, {topics.repeats} repeats")


def killed_while_it_runs(case):
    """Killed at random while records come; each document is there once."""
    topics = Topics(case)
    for _ in range(8):
        worker = topics.run()
        for _ in range(4):
            topics.send(40)
            time.sleep(topics.random.random() * 0.4)
        worker.kill()
    topics.check(topics.run_to_end(), "killed at random")
    say(f"    {sum(topics.records.values())} records, {sum(topics.further.values())} further documents")


def replayed_and_killed(case):
    """Letters of documents are run again by a mended transform, killed at each step: those documents alone come, once."""
    topics = Topics(case)
    topics.send(80)
    topics.check(topics.run_to_end(), "before any replay")
    for point in REPLAY_KILL_POINTS:
        topics.send(80)
        worker = topics.run_to_end()
        replay(case, topics, kill_at=point)
        topics.check_books(worker, f"a replay killed at {point}")
        replay(case, topics)
        topics.check(worker, f"replayed after {point}", replayed=True)
    if not topics.late:
        raise RuntimeError("no document was left to be mended")
    say(f"    {len(topics.late)} documents came by replays")


def replay(case, topics, kill_at=None):
    config = case.folder / "mended.yaml"
    config.write_text(pipeline_yaml(brokers=case.broker.address, group=case.name, lake=case.lake, port=0, schemas=case.folder,
                                    transform=MENDED, **topics.names))
    environment = {**os.environ, **({"MILLRACE_KILL_AT": kill_at} if kill_at else {})}
    done = subprocess.run([harness.binary(), "dlq", "replay", "-c", str(config)], capture_output=True, text=True, timeout=300, env=environment)
    if done.returncode != (-signal.SIGKILL if kill_at else 0):
        raise Failure(f"dlq replay, to be killed at {kill_at}, ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def one_table_behind(case):
    """A table that is made anew reads all again: its rows are those of the first time, and letters stay what they were."""
    topics = Topics(case)
    topics.send(150)
    topics.check(topics.run_to_end(), "at first")
    for name in ("raw", "rated"):
        (case.lake / name).rename(case.folder / f"away-{name}")
        topics.send(20)
        topics.check(topics.run_to_end(), f"with {name} made anew")


CASES = [killed, killed_while_it_runs, replayed_and_killed, one_table_behind]

if __name__ == "__main__":
    cases.main("several", CASES)
