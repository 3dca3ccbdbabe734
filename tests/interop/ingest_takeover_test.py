"""`millrace ingest` in the place of kafka-delta-ingest: a table that another writer filled up to some offsets of a real Kafka
topic is continued at exactly the next ones, with the same command line or environment; a table whose columns change under it.

Usage: broker.py run -- ingest_takeover_test.py PATH_OF_millrace

The table before us is laid out as kafka-delta-ingest v0.4.0 does it, from a reading of its source (writer.rs, delta_helpers.rs;
the program itself is written in Rust, which a machine that runs these tests need not have): snappy files that hold the
partition column too, its naive statistics (dates and decimals as the bare integers of Parquet), commits with a txn
`<app_id>-<partition>` for each assigned partition that has rows, the last offset inclusive, a checkpoint at each tenth version,
the log before it cleaned up. It stores nothing in Kafka's consumer group. The user made the table, here with deltalake.
"""

import datetime
import decimal
import glob
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import uuid

import pyarrow
import pyarrow.parquet
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from deltalake import DeltaTable, write_deltalake
from deltalake.schema import Field, PrimitiveType, StructType

MILLRACE = sys.argv[1]
BROKERS = os.environ["KAFKA_BROKERS"]
TOPIC = "web_requests"
APP = "web-requests"
START = datetime.datetime(2024, 3, 1, 22, tzinfo=datetime.timezone.utc)
SCHEMA = pyarrow.schema([
    ("request_id", pyarrow.string()),
    ("status", pyarrow.int32()),
    ("bytes", pyarrow.int64()),
    ("seconds", pyarrow.float64()),
    ("cached", pyarrow.bool_()),
    ("price", pyarrow.decimal128(10, 2)),
    ("ts", pyarrow.timestamp("us", "UTC")),
    ("tags", pyarrow.list_(pyarrow.string())),
    ("kafka_topic", pyarrow.string()),
    ("kafka_partition", pyarrow.int32()),
    ("kafka_offset", pyarrow.int64()),
    ("kafka_timestamp", pyarrow.timestamp("us", "UTC")),
    ("due", pyarrow.date32()),
    ("date", pyarrow.string()),
])
TRANSFORMS = [f"kafka_{name}: kafka.{name}" for name in ("topic", "partition", "offset", "timestamp")]
# The message has a day with a time, or none.
TRANSFORMS.append("date: day && substr(day, `0`, `10`)")
TOMBSTONE, MALFORMED = 7, 11  # Offsets of partition 1, behind what the table has, where the messages are no rows.
FOR_EVER = {"retention.ms": "-1"}  # The messages are of long ago.
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def row_of(partition, offset):
    at = START + datetime.timedelta(minutes=offset, seconds=partition)
    return {
        "request_id": f"{partition}/{offset}",
        "status": None if offset % 5 == 4 else 200 + offset % 3,
        "bytes": offset << 33,
        "seconds": offset / 8,
        "cached": offset % 2 == 0,
        "price": decimal.Decimal(offset * 7).scaleb(-2),
        "ts": at,
        "tags": ["a"] * (offset % 3),
        "kafka_topic": TOPIC,
        "kafka_partition": partition,
        "kafka_offset": offset,
        "kafka_timestamp": at + datetime.timedelta(milliseconds=250),
        "due": at.date() + datetime.timedelta(days=offset % 4),
        "date": None if offset % 50 == 2 else at.date().isoformat(),
    }


def message_of(partition, offset):
    row = {key: value for key, value in row_of(partition, offset).items() if not key.startswith("kafka_")}
    date = row.pop("date")
    row.update(ts=row["ts"].isoformat(), due=row["due"].isoformat(), price=str(row["price"]),
               day=f"{date}T{row['ts'].time()}" if date else None)
    return json.dumps({key: value for key, value in row.items() if value is not None}).encode()


class Topic:
    """What was sent, so what the table must hold in the end."""

    def __init__(self, partitions):
        self.admin = AdminClient({"bootstrap.servers": BROKERS})
        self.admin.create_topics([NewTopic(TOPIC, partitions, 1, config=FOR_EVER)])[TOPIC].result()
        self.ends = [0] * partitions
        self.no_rows = {(1, TOMBSTONE), (1, MALFORMED)}

    def send(self, partition, count):
        producer = Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True})
        for offset in range(self.ends[partition], self.ends[partition] + count):
            value = message_of(partition, offset)
            if (partition, offset) == (1, TOMBSTONE):
                value = None
            if (partition, offset) == (1, MALFORMED):
                value = b'{"request_id": "cut off'
            time = int(row_of(partition, offset)["kafka_timestamp"].timestamp() * 1000)
            producer.produce(TOPIC, value, partition=partition, timestamp=time, key=b"k")
        assert producer.flush(60) == 0
        self.ends[partition] += count

    def add_partition(self):
        self.ends.append(0)
        self.admin.create_partitions([NewPartitions(TOPIC, len(self.ends))])[TOPIC].result()

    def rows(self):
        return [row_of(p, o) for p, end in enumerate(self.ends) for o in range(end) if (p, o) not in self.no_rows]


class KafkaDeltaIngest:
    """What it writes, without Kafka."""

    def __init__(self, table):
        self.table = pathlib.Path(table)
        self.offsets = {}

    def _stats(self, path):
        """It takes the bounds from the footer and knows texts and timestamps; all else is the number that Parquet stores."""
        file = pyarrow.parquet.ParquetFile(path)
        low, high, nulls = {}, {}, {}
        for index, field in enumerate(file.schema_arrow):
            if field.name == "date":
                continue
            column = file.read(columns=[field.name]).column(0)
            nulls[field.name] = column.null_count
            if pyarrow.types.is_list(field.type):
                continue
            statistics = file.metadata.row_group(0).column(index).statistics
            assert file.metadata.row_group(0).column(index).path_in_schema == field.name and file.num_row_groups == 1
            if not statistics.has_min_max:
                continue
            for bounds, raw, value in [(low, statistics.min_raw, statistics.min), (high, statistics.max_raw, statistics.max)]:
                if pyarrow.types.is_timestamp(field.type):
                    bounds[field.name] = f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03}Z"
                else:
                    bounds[field.name] = value if isinstance(value, str) else raw
        return {"numRecords": file.metadata.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}

    def _file(self, date, rows):
        path = f"date={date or '__HIVE_DEFAULT_PARTITION__'}/part-00000-{uuid.uuid4()}-c000.snappy.parquet"
        (self.table / path).parent.mkdir(exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, SCHEMA), self.table / path, compression="snappy",
                                    store_decimal_as_integer=True)
        return {"path": path, "partitionValues": {"date": date}, "size": (self.table / path).stat().st_size,
                "modificationTime": int(time.time() * 1000), "dataChange": True,
                "stats": json.dumps(self._stats(self.table / path), separators=(",", ":")), "tags": None,
                "deletionVector": None, "baseRowId": None, "defaultRowCommitVersion": None, "clusteringProvider": None}

    def commit(self, ranges):
        """`ranges`: by partition the offsets that become rows, exclusive end."""
        rows = [row_of(partition, offset) for partition, offsets in ranges.items() for offset in offsets]
        self.offsets.update({partition: offsets[-1] for partition, offsets in ranges.items() if offsets})
        now = int(time.time() * 1000)
        actions = [{"commitInfo": {
            "timestamp": now, "operation": "STREAMING UPDATE", "clientVersion": "delta-rs.0.26.2",
            "operationParameters": {"outputMode": "Append", "queryId": APP, "epochId": str(now)}}}]
        actions += [{"txn": {"appId": f"{APP}-{partition}", "version": last, "lastUpdated": now}}
                    for partition, last in self.offsets.items()]
        actions += [{"add": self._file(date, [row for row in rows if row["date"] == date])}
                    for date in {row["date"] for row in rows}]
        version = DeltaTable(self.table).version() + 1
        with open(self.table / "_delta_log" / f"{version:020}.json", "x") as file:
            file.write("\n".join(json.dumps(action, separators=(",", ":")) for action in actions))
        if version % 10 == 0:
            DeltaTable(self.table).create_checkpoint()


def as_kafka_delta_ingest_leaves_it(table, lasts):
    """Rows up to and including the last offset of each partition, in twelve commits."""
    DeltaTable.create(table, SCHEMA, partition_by=["date"])
    writer, commits = KafkaDeltaIngest(table), 12
    for commit in range(commits):
        writer.commit({partition: range((last + 1) * commit // commits, (last + 1) * (commit + 1) // commits)
                       for partition, last in lasts.items()})
    # The table's commits are young, so the thirty days of its cleanup are passed over here.
    for path in glob.glob(f"{table}/_delta_log/*.json"):
        if int(os.path.basename(path)[:20]) < 10:
            os.remove(path)
    return writer


def ingest(*arguments, code=0, environment=None):
    done = subprocess.run([MILLRACE, "ingest", *map(str, arguments)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, **(environment or {})})
    assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done.stderr


def check(table, topic, what):
    key = lambda row: (row["kafka_partition"], row["kafka_offset"])  # noqa: E731
    delta = DeltaTable(table)
    got = sorted(delta.to_pyarrow_table().to_pylist(), key=key)
    want = sorted(topic.rows(), key=key)
    claim([key(row) for row in got] == [key(row) for row in want], f"{what}: every message is a row, once",
          (len(got), len(want), set(map(key, want)) ^ set(map(key, got))))
    for row, expected in zip(got, want):
        assert row == expected, f"{what}: {row}, expected {expected}"
    lasts = [delta.transaction_version(f"{APP}-{partition}") for partition in range(len(topic.ends))]
    claim(lasts == [end - 1 for end in topic.ends], f"{what}: the last offsets are in the table", (lasts, topic.ends))


class Running:
    """`millrace ingest` into a table of a topic with one partition, with messages that never stop; others change the table meanwhile."""

    def __init__(self, folder, name, schema, *options):
        self.name, self.table, self.log, self.sent = name, str(pathlib.Path(folder, name)), pathlib.Path(folder, f"{name}.log"), []
        admin = AdminClient({"bootstrap.servers": BROKERS})
        admin.create_topics([NewTopic(name, 1, 1)])[name].result()
        DeltaTable.create(self.table, schema)
        self.producer = Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True})
        self.command = [MILLRACE, "ingest", name, self.table, "-k", BROKERS, "-a", name, "-g", name, *options]
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen([*self.command, "-l", "1"], stderr=open(self.log, "w"))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def send(self, **members):
        self.sent.append({"id": len(self.sent), **members})
        self.producer.produce(self.name, json.dumps(self.sent[-1]))
        self.producer.flush(60)

    def version(self):
        return DeltaTable(self.table).version()

    def rows(self):
        return sorted(DeltaTable(self.table).to_pyarrow_table().to_pylist(), key=lambda row: row["id"])

    def letters(self):
        path = self.table + "_dead_letters"
        return DeltaTable(path).to_pyarrow_table().to_pylist() if glob.glob(f"{path}/*.parquet") else []

    def last(self):
        return DeltaTable(self.table).transaction_version(f"{self.name}-0")

    def until(self, condition, what, **members):
        """With a message every now and then."""
        end = time.time() + 90
        while not condition():
            assert self.process.poll() is None, f"{what}: exit {self.process.poll()}\n{self.log.read_text()}"
            assert time.time() < end, f"{what}\n{self.log.read_text()}"
            self.send(**members)
            time.sleep(0.02)

    def committed(self, **members):
        """All that has been sent, by a commit of its own."""
        self.send(**members)
        last = len(self.sent) - 1
        self.until(lambda: (self.last() or -1) >= last, f"{self.name}: a commit of offset {last}", **members)

    def restarts(self):
        return self.log.read_text().count("reading them, and the messages, again")

    def starts(self):
        return self.log.read_text().count("assigned partitions=")

    def stop(self):
        self.process.terminate()
        claim(self.process.wait(60) == 0, f"{self.name}: a stop in order", self.log.read_text())


def added_files(table, version):
    with open(f"{table}/_delta_log/{version:020}.json") as log:
        actions = [json.loads(line) for line in log]
    return [action["add"]["path"] for action in actions if "add" in action]


def check_members(running, known_from, what):
    """`known_from`: by member, the first version of the table that has it as a column. Commits of it or later have the value."""
    rows = running.rows()
    claim([row["id"] for row in rows] == list(range(len(running.sent))), f"{what}: each message is a row, once", len(rows))
    claim(running.letters() == [], f"{what}: and none is a dead letter", running.letters()[:2])
    for version in range(running.version() + 1):
        for path in added_files(running.table, version):
            for row in pyarrow.parquet.read_table(f"{running.table}/{path}").to_pylist():
                for member, first in known_from.items():
                    want = running.sent[row["id"]][member] if version > first else None
                    assert row.get(member) == want, f"{what}: version {version} has {row}, and {member} came with {first}"
    values = {member: [row["id"] for row in rows if row[member] is not None] for member in known_from}
    claim(all(values.values()), f"{what}: values of the new columns", {m: len(v) for m, v in values.items()})


def columns_that_come(folder):
    """kafka-delta-ingest's tests/schema_update_tests.rs: from the first commit behind the change on, values are in their columns."""
    members = {"b": "y", "c": {"d": 1}, "e": 5}
    with Running(folder, "columns", pyarrow.schema([("id", pyarrow.int64())])) as running:
        running.committed(**members)
        DeltaTable(running.table).alter.add_columns([Field("b", PrimitiveType("string"))])
        running.committed(**members)
        claim(running.restarts() == 1, "a new column is told of once", running.log.read_text())

        # What is no other column ends nothing.
        DeltaTable(running.table).alter.set_table_properties({"delta.logRetentionDuration": "interval 60 days"})
        running.committed(**members)
        claim(running.restarts() == 1, "a property ends nothing", running.log.read_text())

        # Two at once, one of them within the other's commit.
        for name, kind in [("c", StructType([Field("d", PrimitiveType("long"))])), ("e", PrimitiveType("integer"))]:
            DeltaTable(running.table).alter.add_columns([Field(name, kind)])
        running.committed(**members)
        known_from = {}
        for version in range(running.version() + 1):
            names = {field.name for field in DeltaTable(running.table, version=version).schema().fields}
            for name in names & {"b", "c", "e"}:
                known_from[name] = min(known_from.get(name, version), version)
        running.stop()
    check_members(running, known_from, "columns that come")


def columns_that_go(folder):
    """Another table in its place: a column is gone, one must not be null, and there is a new one."""
    with Running(folder, "columns_gone", pyarrow.schema([("id", pyarrow.int64()), ("old", pyarrow.string())])) as running:
        running.committed(old="x", new="y", must=1)
        new = pyarrow.schema([("id", pyarrow.int64()), ("new", pyarrow.string()), pyarrow.field("must", pyarrow.int64(), nullable=False)])
        write_deltalake(running.table, new.empty_table(), mode="overwrite", schema_mode="overwrite")
        begin = running.last() + 1
        running.committed(old="x", new="y", must=1)
        # Now one without what must be there.
        running.send(new="z")
        bad = len(running.sent) - 1
        running.committed(old="x", new="y", must=1)
        running.stop()
    rows = running.rows()
    claim(all(row == {"id": row["id"], "new": "y", "must": 1} for row in rows), "rows of the new columns", rows[:3])
    claim([row["id"] for row in rows if row["id"] >= begin] == [i for i in range(begin, len(running.sent)) if i != bad], "each once", len(rows))
    letters = running.letters()
    claim([(letter["offset"], letter["reason"]) for letter in letters] == [(bad, "null_value")], "and what may not be null is a letter", letters)


def columns_without_end(folder):
    """It does not begin again for ever. Where the command line does not fit the columns any more, that is said."""
    with Running(folder, "columns_many", pyarrow.schema([("id", pyarrow.int64())])) as running:
        running.committed()
        for change in range(11):
            DeltaTable(running.table).alter.add_columns([Field(f"more_{change}", PrimitiveType("string"))])
            end = time.time() + 60
            # It says so before it looks at the table again: until then another change would be of the same restart.
            while (running.restarts() <= change or running.starts() <= change + 1) and running.process.poll() is None:
                assert time.time() < end, running.log.read_text()
                running.send()
                time.sleep(0.1)
        claim(running.process.wait(60) == 1, "the eleventh ends it", running.log.read_text())
        claim("columns have changed 11 times within 10 minutes" in running.log.read_text(), "and says why", running.log.read_text())
    ingest(running.name, running.table, "-k", BROKERS, "-a", running.name, "-g", running.name, "-l", 1, "-e")
    claim([row["id"] for row in running.rows()] == list(range(len(running.sent))), "the next start has them all, once")

    with Running(folder, "columns_named", pyarrow.schema([("id", pyarrow.int64()), ("old", pyarrow.string())]), "-t", "old: id && 'x'") as running:
        running.committed()
        write_deltalake(running.table, pyarrow.schema([("id", pyarrow.int64())]).empty_table(), mode="overwrite", schema_mode="overwrite")
        running.send()
        claim(running.process.wait(60) == 78, "a transform into a column that is gone ends it", running.log.read_text())
        claim("the table has no column 'old'" in running.log.read_text(), "and is named", running.log.read_text())


UTC = datetime.timezone.utc
MOMENT = datetime.datetime(2021, 11, 11, 22, 11, 58, tzinfo=UTC)
TIME = pyarrow.timestamp("us", "UTC")
META = pyarrow.struct([("kafka", pyarrow.struct([("offset", pyarrow.int64()), ("partition", pyarrow.int32()), ("topic", pyarrow.string()),
                                                ("timestamp", TIME), ("timestamp_type", pyarrow.int32())])), ("other", pyarrow.string())])
# What kafka-delta-ingest takes: columns, messages, transforms, rows; of the messages of offset 0, 1 …, at MOMENT.
VALUES = {
    "any_in_text": (
        [("id", pyarrow.int64()), ("body", pyarrow.string())],
        ['{"id": 1, "body": {"a": 1, "b": [1,2]}}', '{"id": 2, "body": 7.50}', '{"id": 3, "body": "text"}', '{"id": 4, "body": false}',
         '{"id": 5, "body": [{}]}', '{"id": 6, "body": null}'], [],
        [{"id": 1, "body": '{"a": 1, "b": [1,2]}'}, {"id": 2, "body": "7.50"}, {"id": 3, "body": "text"}, {"id": 4, "body": "false"},
         {"id": 5, "body": "[{}]"}, {"id": 6, "body": None}]),
    "any_in_texts_within": (
        [("tags", pyarrow.list_(pyarrow.string())), ("at", pyarrow.struct([("name", pyarrow.string())])), ("of", pyarrow.map_(pyarrow.string(), pyarrow.string()))],
        ['{"tags": ["a", {"a":1}, 5], "at": {"name": [true]}, "of": {"k": {"x":1}, "l": "text"}}'], [],
        [{"tags": ["a", '{"a":1}', "5"], "at": {"name": "[true]"}, "of": [("k", '{"x":1}'), ("l", "text")]}]),
    "numbers_in_texts": (
        [("a", pyarrow.int32()), ("b", pyarrow.float64()), ("c", pyarrow.decimal128(10, 2)), ("d", pyarrow.list_(pyarrow.int64()))],
        ['{"a": "5", "b": "1.5", "c": "7.25", "d": ["9"]}'], [],
        [{"a": 5, "b": 1.5, "c": decimal.Decimal("7.25"), "d": [9]}]),
    "small_numbers": (
        [("a", pyarrow.int8()), ("b", pyarrow.int16()), ("c", pyarrow.float32()), ("d", pyarrow.list_(pyarrow.int8()))],
        ['{"a": -128, "b": 32767, "c": 1.5, "d": [1, null]}', '{"a": "7", "c": 3e38}'], [],
        [{"a": -128, "b": 32767, "c": 1.5, "d": [1, None]}, {"a": 7, "b": None, "c": 3.0000000054977558e38, "d": None}]),
    "micros": (
        [("ts", TIME), ("more", pyarrow.list_(TIME))],
        ['{"ts": 1636668718000000, "more": [1636668718000000, "2021-11-11T22:11:58Z"]}', '{"ts": "2021-11-11T23:11:58+01:00"}'], [],
        [{"ts": MOMENT, "more": [MOMENT, MOMENT]}, {"ts": MOMENT, "more": None}]),
    "millis_to_micro": ([("ts", TIME)], ['{"at": 1636668718000}'], ["ts: epoch_millis_to_micro(at)"], [{"ts": MOMENT}]),
    "computed_texts": (
        [("a", pyarrow.string()), ("b", pyarrow.string())], ['{"x": {"y": 1}, "n": 5}'], ["a: x", "b: n"], [{"a": '{"y":1}', "b": "5"}]),
    # Its quickstart.
    "dotted": (
        [("id", pyarrow.int64()), ("meta", META)], ['{"id": 1, "meta": {"other": "o"}}', '{"id": 2}'],
        [f"meta.kafka.{name}: kafka.{name}" for name in ("offset", "partition", "topic", "timestamp", "timestamp_type")],
        [{"id": i + 1, "meta": {"kafka": {"offset": i, "partition": 0, "topic": "dotted", "timestamp": MOMENT, "timestamp_type": 0},
                                "other": None if i else "o"}} for i in range(2)]),
    "of_the_record": (
        [("partition_long", pyarrow.int64()), ("partition_int", pyarrow.int32()), ("partition_text", pyarrow.string()), ("offset_int", pyarrow.int32()),
         ("offset_text", pyarrow.string()), ("timestamp_text", pyarrow.string()), ("timestamp_long", pyarrow.int64()), ("timestamp", TIME),
         ("topic", pyarrow.string()), ("kind_text", pyarrow.string())],
        ["{}", '{"topic": "another", "partition_long": "x"}'],
        ["partition_long: kafka.partition", "partition_int: kafka.partition", "partition_text: kafka.partition", "offset_int: kafka.offset",
         "offset_text: kafka.offset", "timestamp_text: kafka.timestamp", "timestamp_long: kafka.timestamp", "timestamp: kafka.timestamp",
         "topic: kafka.topic", "kind_text: kafka.timestamp_type"],
        [{"partition_long": 0, "partition_int": 0, "partition_text": "0", "offset_int": i, "offset_text": str(i), "timestamp_text": "1636668718000000",
          "timestamp_long": 1636668718000000, "timestamp": MOMENT, "topic": "of_the_record", "kind_text": "0"} for i in range(2)]),
}


def values_as_there(folder):
    admin, producer = AdminClient({"bootstrap.servers": BROKERS}), Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True})
    for name, (columns, messages, transforms, want) in VALUES.items():
        admin.create_topics([NewTopic(name, 1, 1, config=FOR_EVER)])[name].result()
        table = str(pathlib.Path(folder, name))
        DeltaTable.create(table, pyarrow.schema(columns))
        for message in messages:
            producer.produce(name, message, partition=0, timestamp=int(MOMENT.timestamp() * 1000))
        assert producer.flush(60) == 0
        said = ingest(name, table, "-k", BROKERS, "-a", name, "-g", name, "-l", 1, "-e", *[word for text in transforms for word in ("-t", text)])
        rows = DeltaTable(table).to_pyarrow_table().to_pylist()
        claim(rows == want, f"{name}: values as there", f"{rows}\n{want}\n{said}")


def main():
    with tempfile.TemporaryDirectory() as name:
        table = str(pathlib.Path(name, "web_requests"))
        topic = Topic(4)
        # Partition 3 has messages that the table knows nothing of; 2 has none beyond the table's.
        for partition, count in enumerate([400, 37, 25, 60]):
            topic.send(partition, count)
        lasts = {0: 299, 1: 5, 2: 24}
        other = as_kafka_delta_ingest_leaves_it(table, lasts)
        before = DeltaTable(table)
        claim([before.transaction_version(f"{APP}-{p}") for p in range(4)] == [299, 5, 24, None], "the table before us")
        claim(before.to_pyarrow_table().num_rows == 300 + 6 + 25, "its rows before us")

        options = ["-k", BROKERS, "-a", APP, "-g", "web_requests_group", "-o", "earliest", "-l", 1, "-m", 100, "-b", 1 << 20, "-c"]
        options += [word for transform in TRANSFORMS for word in ("-t", transform)]
        options += ["-K", "fetch.wait.max.ms=50", "-e"]

        # Offsets given by hand do not move what is stored: behind it they are ignored, before it they are refused.
        refused = ingest(TOPIC, table, *options, "--seek_offsets", '{"0": 350}', code=78)
        claim("stored at offset 299" in refused and "InconsistentStoredOffsets" in refused, "a jump ahead is refused", refused)
        claim(DeltaTable(table).version() == before.version(), "and nothing is written")
        ingest(TOPIC, table, *options, "--seek_offsets", '{"0": 100}')
        check(table, topic, "taken over")
        version = DeltaTable(table).version()
        ingest(TOPIC, table, *options)
        check(table, topic, "nothing new")
        claim(DeltaTable(table).version() == version, "no commit without messages")

        # The same by environment, with a partition that is new to all.
        topic.add_partition()
        for partition, count in enumerate([5, 90, 1, 0, 12]):
            topic.send(partition, count)
        ingest(*[word for transform in TRANSFORMS for word in ("-t", transform)], environment={
            "KAFKA_TOPIC": TOPIC, "TABLE_LOCATION": table, "APP_ID": APP, "KAFKA_CONSUMER_GROUP": "web_requests_group",
            "ALLOWED_LATENCY": "1", "ENDS_AT_LATEST_OFFSETS": "true"})
        check(table, topic, "by environment")

        # Back again: the other writer goes on from our offsets, and after it we from its.
        begin = topic.ends[2]
        topic.send(2, 10)
        other.offsets = {partition: end - 1 for partition, end in enumerate(topic.ends)}
        other.commit({2: range(begin, begin + 10)})
        topic.send(2, 10)
        topic.send(0, 3)
        ingest(TOPIC, table, *options)
        check(table, topic, "back and forth")
        for test in (values_as_there, columns_that_come, columns_that_go, columns_without_end):
            test(name)
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
