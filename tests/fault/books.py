#!/usr/bin/env python3
"""The books: an independent check that the tables hold exactly what the topic holds.

    books.py --brokers B --topic T --lake DIR [--binary millrace --config pipeline.yaml] [--partial]

The truth is every record of the topic, read by a plain read_committed consumer and judged in Python (events.py). The
tables are read with deltalake and with DuckDB, the log also line by line. What is checked:

  B1  rows, dead letters, filtered and tombstones together are the truth, each (partition, offset) exactly once, with
      equal contents; dead letters keep the original bytes, key and headers; the txn ledger counts the same
  B2  the merged aggregate equals the same SQL over the truth, computed by DuckDB
  B3  per table and partition the commits' ranges form one chain that ends where the txn says, under the topic's name
  B4  versions without a hole, every live file there with its exact size, every txnId once
  B5  deltalake, DuckDB (with filters, so that statistics are used) and `millrace audit` agree
  B7  with --replayed, every dead letter was run again by the mended transform: what it takes is a row, once, and still the letter
      that it was; the others have a letter of each replay; the books of replays and their log say the same

`--partial`: the tables need not reach the topic's end; they must be right as far as they say they are.
Exit status 1 if anything differs; the first differences of each kind are printed.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.parse

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

import events

FIRST = 3  # Differences printed of each kind.

COLUMNS = {"event_id": pa.string(), "producer": pa.string(), "seq": pa.int64(), "crc": pa.int64(),
           "ts": pa.timestamp("us", "UTC"), "country": pa.string(), "page": pa.string(), "latency_ms": pa.float64(),
           "amount": pa.decimal128(12, 2), "rating": pa.string(), "city": pa.string(), "cc": pa.string(),
           "stars": pa.int32()}
TRUTH_SCHEMA = pa.schema(
    [("_partition", pa.int32()), ("_offset", pa.int64()), ("log_us", pa.int64()), ("outcome", pa.string()),
     ("stage", pa.string()), ("reason", pa.string()), ("key", pa.binary()), ("value", pa.binary()),
     ("headers", pa.string()), ("again", pa.string())] + list(COLUMNS.items()))


def headers_text(headers):
    """Headers in one comparable form: order and repeats count."""
    return json.dumps([[name, (value or b"").hex()] for name, value in headers or []])


class Truth:
    """Every record of one topic. `ends`: per partition the offset after its last record (or marker)."""

    BATCH = 50_000

    def __init__(self, topic):
        self.topic = topic
        self.ends = {}
        self._rows = []
        self._batches = []
        self._table = None

    def add(self, partition, offset, log_us, key, value, headers):
        verdict = events.judge(value, log_us)
        row = {"_partition": partition, "_offset": offset, "log_us": log_us, "outcome": verdict[0]}
        if verdict[0] == "row":
            row.update(verdict[1])
        elif verdict[0] == "dead":
            row.update(stage=verdict[1], reason=verdict[2], key=key, value=value, headers=headers_text(headers))
            again = events.judge(value, log_us, mended=True)
            row["again"] = again[0]
            if again[0] == "row":
                row.update(again[1])
        self._rows.append(row)
        if len(self._rows) >= self.BATCH:
            self._flush()

    def _flush(self):
        self._batches.append(pa.RecordBatch.from_pylist(self._rows, schema=TRUTH_SCHEMA))
        self._rows = []

    @property
    def table(self):
        if self._table is None:
            self._flush()
            self._table = pa.Table.from_batches(self._batches, schema=TRUTH_SCHEMA)
        return self._table

    def forget(self, partition, begin, end):
        """Takes the records of a recorded gap out: no table may hold them."""
        inside = pc.and_(pc.equal(self.table["_partition"], partition),
                         pc.and_(pc.greater_equal(self.table["_offset"], begin), pc.less(self.table["_offset"], end)))
        self._table = self.table.filter(pc.invert(inside))


def read_truth(brokers, topic, timeout_s=60):
    """The whole topic up to its ends now."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

    truth = Truth(topic)
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "books", "enable.auto.commit": False,
                         "isolation.level": "read_committed", "enable.partition.eof": True,
                         "auto.offset.reset": "error"})
    try:
        partitions = consumer.list_topics(topic, timeout_s).topics[topic].partitions
        for partition in partitions:
            _, truth.ends[partition] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout_s)
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        reading = set(partitions)
        last = time.monotonic()
        while reading:
            messages = consumer.consume(10_000, 0.2)
            if messages:
                last = time.monotonic()
            elif time.monotonic() - last > timeout_s:
                raise RuntimeError(f"the topic {topic} gave nothing for {timeout_s} s; still reading {sorted(reading)}")
            for message in messages:
                error = message.error()
                if error is not None:
                    if error.code() != KafkaError._PARTITION_EOF:
                        raise RuntimeError(f"reading {topic}: {error}")
                    reading.discard(message.partition())
                elif message.offset() < truth.ends[message.partition()]:
                    truth.add(message.partition(), message.offset(), message.timestamp()[1] * 1000, message.key(),
                              message.value(), message.headers())
    finally:
        consumer.close()
    return truth


class Log:
    """One table's Delta log, read line by line, with nothing but JSON. `until`: the last version that counts; None: the newest."""

    def __init__(self, path, until=None):
        self.path = pathlib.Path(path)
        self.findings = []
        self.live = {}
        self.txns = {}
        self.commits = []  # (version, commitInfo)
        txn_ids = {}
        versions = sorted(int(p.stem) for p in (self.path / "_delta_log").glob("*.json"))
        versions = [version for version in versions if until is None or version <= until]
        self.version = versions[-1] if versions else -1
        if versions != list(range(len(versions))):
            missing = sorted(set(range(self.version + 1)) - set(versions))
            self.findings.append(f"B4 versions {missing[:FIRST]} are missing between 0 and {self.version}")
        for version in versions:
            entry = self.path / "_delta_log" / f"{version:020}.json"
            for number, line in enumerate(entry.read_text().splitlines(), 1):
                try:
                    action = json.loads(line)
                except ValueError as error:
                    self.findings.append(f"B4 {entry.name}:{number}: not JSON: {error}")
                    continue
                if "add" in action:
                    add = action["add"]
                    if add["path"] in self.live:
                        self.findings.append(f"B4 version {version} adds {add['path']}, which is live already")
                    self.live[add["path"]] = add
                elif "remove" in action:
                    self.live.pop(action["remove"]["path"], None)
                elif "txn" in action:
                    self.txns[action["txn"]["appId"]] = action["txn"]["version"]
                elif "commitInfo" in action:
                    info = action["commitInfo"]
                    self.commits.append((version, info))
                    txn_id = info.get("txnId")
                    if txn_id is not None and txn_id in txn_ids:
                        self.findings.append(f"B4 versions {txn_ids[txn_id]} and {version} have the same txnId {txn_id}")
                    txn_ids[txn_id] = version

    def file(self, add_path):
        return self.path / urllib.parse.unquote(add_path)

    def check_files(self):
        for path, add in self.live.items():
            file = self.file(path)
            if not file.exists():
                yield f"B4 live file {path} does not exist"
            elif file.stat().st_size != add["size"]:
                yield f"B4 live file {path} has {file.stat().st_size} bytes, its add action says {add['size']}"

    def check_chain(self, family):
        """begin == the end before; the last end == txn version + 1. `family`: "<app_id>-<topic>"."""
        ends = {}
        for version, info in self.commits:
            for part in (info.get("millrace") or {}).get("partitions", []):
                if not family.endswith(f"-{part['topic']}"):
                    yield f"B3 version {version} covers offsets of the topic {part['topic']}, which the pipeline does not read"
                    continue
                partition, begin, end = part["partition"], part["begin"], part["end"]
                if partition in ends and begin != ends[partition]:
                    yield (f"B3 partition {partition}: version {version} begins at offset {begin}, the commit before "
                           f"ended at {ends[partition]}")
                if begin > end:
                    yield f"B3 partition {partition}: version {version} covers [{begin}, {end})"
                ends[partition] = end
        for partition, end in ends.items():
            txn = self.txns.get(f"{family}-{partition}")
            if txn is None or txn + 1 != end:
                yield f"B3 partition {partition}: the commits end at offset {end}, txn {family}-{partition} says {txn}"

    def check_marker(self, app_id, topic):
        """The table says whose offsets it holds, and that their ids have the topic's name."""
        marker = f"{app_id}#topic:{topic}"
        if self.next_offsets(f"{app_id}-{topic}") and self.txns.get(marker) != 0:
            yield f"B3 txn {marker} is {self.txns.get(marker)}, not 0"

    def next_offsets(self, family):
        prefix = f"{family}-"
        return {int(name[len(prefix):]): version + 1 for name, version in self.txns.items()
                if name.startswith(prefix) and name[len(prefix):].isdigit()}


class Books:
    """Checks one lake; `findings` is empty when everything holds. `replayed`: all of its dead letters were run again, by the
    mended transform, after they were read."""

    def __init__(self, lake, truth, *, app_id=events.PIPELINE, partial=False, replayed=False):
        self.lake = pathlib.Path(lake)
        self.truth = truth
        self.app_id = app_id
        self.family = f"{app_id}-{truth.topic}"  # Of transaction ids: one per partition, and their books.
        self.partial = partial
        self.replayed = replayed
        self.has_letters = False  # The view `letters` is there.
        self.taken = "(outcome = 'row' OR again = 'row')" if replayed else "(outcome = 'row')"  # Of the truth: a row by now.
        self.findings = []
        self.rows = {}  # By table: rows as this check counts them.
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")
        self.db.register("truth", truth.table)

    def add(self, table, message):
        self.findings.append(f"{table}: {message}")

    def differences(self, table, message, sql):
        """`sql` selects what differs: each row is a finding's place."""
        rows = self.db.execute(f"SELECT COLUMNS(*)::VARCHAR, count(*) OVER () FROM ({sql}) LIMIT {FIRST}").fetchall()
        if rows:
            self.add(table, f"{message}: {rows[0][-1]} in all, first {', '.join(str(row[:-1]) for row in rows)}")

    def covered(self, offsets):
        """A condition over the truth: records that a table with these next offsets must have dealt with."""
        parts = [f"(_partition = {p} AND _offset < {end})" for p, end in offsets.items()]
        return "(" + (" OR ".join(parts) or "false") + ")"

    def run(self):
        for name, check in (("events", self.check_events), ("views_1m", self.check_aggregate),
                            (f"{events.PIPELINE}_dead_letters", self.check_dead_letters)):
            path = self.lake / name
            if not any((path / "_delta_log").glob("*.json")):
                self.add(name, f"B4 no table at {path}")
                continue
            log = Log(path)
            for finding in [*log.findings, *log.check_files(), *log.check_chain(self.family),
                            *log.check_marker(self.app_id, self.truth.topic)]:
                self.add(name, finding)
            try:
                reader = DeltaTable(str(path))
                self.check_readers_agree(name, log, reader)
                check(name, log, reader)
            except Exception as error:  # A reader that refuses a table is a finding like any other.
                self.add(name, f"B5 reading it failed: {type(error).__name__}: {error}")
        if self.has_letters:
            for name in ("events", "views_1m"):
                self.check_replays(name)
        return self.findings

    def check_readers_agree(self, name, log, reader):
        """deltalake starts from the checkpoint, Log from version 0."""
        if reader.version() != log.version:
            self.add(name, f"B5 deltalake is at version {reader.version()}, the log ends at {log.version}")
        theirs = {urllib.parse.unquote(pathlib.Path(uri.removeprefix("file://")).relative_to(self.lake / name).as_posix())
                  for uri in reader.file_uris()}
        ours = {urllib.parse.unquote(path) for path in log.live}
        if theirs != ours:
            self.add(name, f"B5 live files: only in the log {sorted(ours - theirs)[:FIRST]}, only for deltalake "
                           f"{sorted(theirs - ours)[:FIRST]}")
        for app_id, version in log.txns.items():
            if reader.transaction_version(app_id) != version:
                self.add(name, f"B5 txn {app_id} is {version} in the log, {reader.transaction_version(app_id)} for deltalake")
                break

    def register(self, name, log, reader):
        """Views NAME_duckdb and NAME_deltalake; false if there is no file."""
        if not log.live:
            empty = reader.to_pyarrow_table()
            for engine in ("duckdb", "deltalake"):
                self.db.register(f"{name}_{engine}", empty)
            return empty
        files = [str(log.file(path)) for path in log.live]
        self.db.execute(f"CREATE OR REPLACE VIEW {name}_duckdb AS SELECT * FROM read_parquet({files!r}, "
                        "hive_partitioning = false, union_by_name = true)")
        table = reader.to_pyarrow_table()
        self.db.register(f"{name}_deltalake", table)
        return table

    def check_complete(self, name, offsets):
        for partition, end in self.truth.ends.items():
            got = offsets.get(partition, 0)
            if got > end or (got < end and not self.partial):
                self.add(name, f"B1 partition {partition} is covered up to offset {got}, the topic ends at {end}")

    def check_ledger(self, name, log, offsets, dead_stages):
        """The totals in txn actions against the truth, kind by kind."""
        stages = ", ".join(f"'{stage}'" for stage in dead_stages)
        rows = self.db.execute(
            f"SELECT _partition, count(*), count(*) FILTER (outcome = 'row'), count(*) FILTER (outcome = 'dead' AND stage "
            f"IN ({stages})), count(*) FILTER (outcome = 'filtered'), count(*) FILTER (outcome = 'tombstone') FROM truth "
            f"WHERE {self.covered(offsets)} GROUP BY 1").fetchall()
        for partition, *want in rows:
            fields = ("read", "written", "dead_lettered", "filtered", "tombstones")
            got = [log.txns.get(f"{self.family}-{partition}#{field}", 0) for field in fields]
            for field, w, g in zip(fields, want, got):
                if w != g:
                    self.add(name, f"B1 partition {partition}: {g} {field} in the ledger, {w} in the topic")

    def check_events(self, name, log, reader):
        offsets = log.next_offsets(self.family)
        self.check_complete(name, offsets)
        self.check_ledger(name, log, offsets, ("decode", "event_time", "transform:clean"))
        table = self.register(name, log, reader)
        self.rows[name] = table.num_rows
        covered = self.covered(offsets)
        columns = list(COLUMNS)
        for engine in ("duckdb", "deltalake"):
            view = f"{name}_{engine}"
            self.differences(name, f"B1 offsets more than once ({engine})",
                             f"SELECT _partition, _offset, count(*) FROM {view} GROUP BY 1, 2 HAVING count(*) > 1 ORDER BY 1, 2")
            self.differences(name, f"B1 rows of the topic that are not in the table ({engine})",
                             f"SELECT _partition, _offset FROM truth t ANTI JOIN {view} v USING (_partition, _offset) "
                             f"WHERE {self.taken} AND {covered} ORDER BY 1, 2")
            self.differences(name, f"B1 rows of the table that are not rows of the topic ({engine})",
                             f"SELECT _partition, _offset FROM {view} v ANTI JOIN (SELECT * FROM truth WHERE {self.taken} "
                             f"AND {covered}) t USING (_partition, _offset) ORDER BY 1, 2")
            equal = " AND ".join(f"t.{c} IS NOT DISTINCT FROM v.{c}" for c in columns)
            named = ", ".join(f"CASE WHEN t.{c} IS DISTINCT FROM v.{c} THEN '{c}: ' || coalesce(v.{c}::VARCHAR, 'null') || "
                              f"' is not ' || coalesce(t.{c}::VARCHAR, 'null') END" for c in columns)
            self.differences(name, f"B1 rows with other contents ({engine})",
                             f"SELECT t._partition, t._offset, concat_ws('; ', {named}) FROM truth t JOIN {view} v "
                             f"USING (_partition, _offset) WHERE {self.taken} AND NOT ({equal}) ORDER BY 1, 2")
        self.differences(name, "B1 events that occur twice",
                         f"SELECT event_id, count(*) FROM {name}_duckdb GROUP BY 1 HAVING count(*) > 1 ORDER BY 1")
        if table.num_rows:
            self.differences(name, "B1 rows in another date's partition",
                             f"SELECT _partition, _offset, ts_date, ts FROM {name}_deltalake WHERE ts_date <> ts::DATE")
            self.differences(name, "B1 rows with another topic or log time",
                             f"SELECT v._partition, v._offset, v._topic, v._timestamp FROM {name}_duckdb v JOIN truth t "
                             f"USING (_partition, _offset) WHERE v._topic <> '{self.truth.topic}' "
                             f"OR epoch_us(v._timestamp) <> t.log_us")
            self.check_filters(name, log, reader, table)

    def check_filters(self, name, log, reader, table):
        """Readers that skip by statistics must find what a full scan finds."""
        dataset = reader.to_pyarrow_dataset()
        for column in ("seq", "_offset", "ts", "latency_ms", "event_id", "amount", "cc"):
            values = pc.unique(table[column].drop_null()).sort()
            if len(values) == 0:
                continue
            for value in {values[len(values) // 7], values[len(values) // 2], values[-1]}:
                want = pc.sum(pc.equal(table[column], value)).as_py(), pc.sum(pc.greater(table[column], value)).as_py() or 0
                field = pc.field(column)
                lake = dataset.count_rows(filter=field == value), dataset.count_rows(filter=field > value)
                literal = f"'{value.as_py()}'::{'TIMESTAMPTZ' if column == 'ts' else 'VARCHAR'}" if column in (
                    "ts", "event_id", "cc") else str(value.as_py())
                duck = tuple(self.db.execute(f"SELECT count(*) FROM {name}_duckdb WHERE {column} {op} {literal}").fetchone()[0]
                             for op in ("=", ">"))
                for engine, got in (("deltalake", lake), ("duckdb", duck)):
                    if got != want:
                        self.add(name, f"B5 {engine} with a filter finds {got} rows with {column} =, > {literal}, a full scan {want}")
        for path, add in log.live.items():
            stats = json.loads(add.get("stats") or "{}")
            rows = self.db.execute("SELECT num_rows FROM parquet_file_metadata(?)", [str(log.file(path))]).fetchone()[0]
            if stats.get("numRecords") != rows:
                self.add(name, f"B5 {path} has {rows} rows, its statistics say {stats.get('numRecords')}")

    AGGREGATES = ("count(*)::BIGINT AS views, sum(amount) AS revenue, min(latency_ms) AS fastest, max(latency_ms) AS slowest, "
                  "avg(latency_ms) AS mean")

    def check_aggregate(self, name, log, reader):
        offsets = log.next_offsets(self.family)
        self.check_complete(name, offsets)
        self.check_ledger(name, log, offsets, ("decode", "event_time", "transform:clean"))
        self.register(name, log, reader)
        for engine in ("duckdb", "deltalake"):
            merged = (f"SELECT window_start, cc, page, sum(views)::BIGINT AS views, sum(revenue) AS revenue, min(fastest) AS fastest,"
                      f" max(slowest) AS slowest, sum(mean__sum) / sum(mean__count) AS mean FROM {name}_{engine} GROUP BY ALL")
            wanted = (f"SELECT time_bucket(INTERVAL 1 MINUTE, ts) AS window_start, cc, page, {self.AGGREGATES} FROM truth "
                      f"WHERE {self.taken} AND {self.covered(offsets)} GROUP BY ALL")
            for left, right, what in ((merged, wanted, "in the table, not over the topic"),
                                      (wanted, merged, "over the topic, not in the table")):
                self.differences(name, f"B2 merged rows {what} ({engine})",
                                 f"SELECT * FROM (({left}) EXCEPT ALL ({right})) ORDER BY ALL")
        rows, window = self.db.execute(f"SELECT coalesce(sum(_rows), 0)::BIGINT, count(*) FILTER (window_end <> window_start + "
                                       f"INTERVAL 1 MINUTE) FROM {name}_duckdb").fetchone()
        self.rows[name] = rows
        if window:
            self.add(name, f"B2 {window} partial rows do not end a minute after they begin")

    def check_dead_letters(self, name, log, reader):
        table = self.register(name, log, reader)
        self.rows[name] = table.num_rows
        if self.db.execute(f"SELECT count(*) FROM {name}_duckdb").fetchone()[0] != table.num_rows:
            self.add(name, f"B5 DuckDB and deltalake count different rows; deltalake {table.num_rows}")
        covered = self.covered(self.lowest_offsets())
        self.db.register("letters", pa.table({
            "_partition": table["partition"], "_offset": table["offset"], "topic": table["topic"], "stage": table["stage"],
            "reason": table["reason"], "key": table["key"], "value": table["payload"], "log_us": table["timestamp"].cast(pa.int64()),
            "replay": table["replay"] if "replay" in table.column_names else pa.nulls(table.num_rows, pa.int64()),
            "headers": pa.array([headers_text([(h["key"], h["value"]) for h in cell] if cell is not None else [])
                                 for cell in table["headers"].to_pylist()], pa.string())}))
        self.has_letters = True
        self.differences(name, "B1 dead letters more than once",
                         "SELECT _partition, _offset, replay, count(*) FROM letters GROUP BY 1, 2, 3 HAVING count(*) > 1 ORDER BY 1, 2")
        self.differences(name, "B1 malformed records without a dead letter",
                         f"SELECT _partition, _offset, stage, reason FROM truth t ANTI JOIN (SELECT * FROM letters WHERE replay IS NULL) l "
                         f"USING (_partition, _offset) WHERE outcome = 'dead' AND {covered} ORDER BY 1, 2")
        # A table may lag behind the letters: those beyond its offsets are right too, but each must be of a malformed record.
        self.differences(name, "B1 dead letters of records that are not malformed",
                         "SELECT _partition, _offset, stage, reason FROM letters ANTI JOIN (SELECT * FROM truth WHERE outcome = "
                         "'dead') t USING (_partition, _offset) ORDER BY 1, 2")
        fields = ("value", "key", "headers", "log_us", "stage", "reason")
        wanted = {field: f"t.{field}" for field in fields} | {"reason": "coalesce(t.reason, l.reason)"}
        differs = {field: f"l.{field} IS DISTINCT FROM {wanted[field]}" for field in fields}
        named = ", ".join(f"CASE WHEN {differs[field]} THEN '{field}: ' || coalesce(l.{field}::VARCHAR, 'null') || ' is not ' || "
                          f"coalesce({wanted[field]}::VARCHAR, 'null') END" for field in fields)
        self.differences(name, "B1 dead letters with other bytes, key, headers, time, stage or reason",
                         f"SELECT t._partition, t._offset, concat_ws('; ', {named}) FROM truth t JOIN letters l USING (_partition, "
                         f"_offset) WHERE t.outcome = 'dead' AND ({' OR '.join(differs.values())}) ORDER BY 1, 2")
        self.differences(name, "B1 dead letters of another topic",
                         f"SELECT _partition, _offset, topic FROM letters WHERE topic <> '{self.truth.topic}' ORDER BY 1, 2")

    def check_replays(self, name):
        """The books of replays in one table against their log, the letters that they wrote, and the truth."""
        log = Log(self.lake / name)
        self.db.execute(self.replay_log())
        for partition in self.truth.ends:
            replayed, written, filtered = (log.txns.get(f"{self.family}-{partition}#{field}", 0)
                                           for field in ("replayed", "replayed_written", "replayed_filtered"))
            logged, failed = self.db.execute(
                "SELECT (SELECT count(*) FROM replay_log WHERE \"table\" = $1 AND partition = $2 AND \"offset\" IS NOT NULL), "
                "(SELECT count(*) FROM letters WHERE _partition = $2 AND replay IS NOT NULL)", [name, partition]).fetchone()
            if replayed != logged:
                self.add(name, f"B7 partition {partition}: {replayed} replayed in the ledger, {logged} in the log of replays")
            if replayed - written - filtered != failed:
                self.add(name, f"B7 partition {partition}: {replayed - written - filtered} failed again, {failed} letters say so")
            want = self.db.execute("SELECT count(*) FILTER (again = 'row'), count(*) FILTER (again = 'filtered') FROM truth "
                                   "WHERE _partition = $1", [partition]).fetchone()
            if (written, filtered) != (want if self.replayed else (0, 0)):
                self.add(name, f"B7 partition {partition}: replays wrote {written} and filtered {filtered}, {want} are in the topic")
        self.differences(name, "B7 records sent twice without a letter in between",
                         f"SELECT partition, \"offset\" FROM replay_log r WHERE \"table\" = '{name}' AND EXISTS (FROM replay_log n WHERE "
                         "n.\"table\" = r.\"table\" AND n.partition = r.partition AND n.\"offset\" = r.\"offset\" AND n.replay > r.replay) "
                         "AND NOT EXISTS (FROM letters l WHERE l._partition = r.partition AND l._offset = r.\"offset\" AND "
                         "l.replay = r.replay)")
        if self.replayed:
            self.differences(name, "B7 letters that were not run again",
                             f"SELECT _partition, _offset FROM truth WHERE outcome = 'dead' AND NOT EXISTS (FROM replay_log WHERE "
                             f"\"table\" = '{name}' AND partition = _partition AND \"offset\" = _offset)")
            self.differences(name, "B7 letters of replays whose records were taken",
                             "SELECT _partition, _offset FROM letters JOIN truth USING (_partition, _offset) WHERE replay IS NOT NULL "
                             "AND again <> 'dead'")

    def replay_log(self):
        path = self.lake / f"{events.PIPELINE}_replays"
        log = Log(path) if any((path / "_delta_log").glob("*.json")) else None
        if log is None or not log.live:
            return ("CREATE OR REPLACE VIEW replay_log AS SELECT 0::BIGINT AS replay, '' AS \"table\", 0 AS partition, "
                    "0::BIGINT AS \"offset\" WHERE false")
        for finding in [*log.findings, *log.check_files()]:
            self.add(path.name, finding)
        files = [str(log.file(name)) for name in log.live]
        return f"CREATE OR REPLACE VIEW replay_log AS SELECT * FROM read_parquet({files!r}, hive_partitioning = false)"

    def lowest_offsets(self):
        lowest = {}
        for name in ("events", "views_1m"):
            offsets = Log(self.lake / name).next_offsets(self.family)
            for partition in self.truth.ends:
                lowest[partition] = min(lowest.get(partition, 2**62), offsets.get(partition, 0))
        return lowest

    def check_audit(self, binary, config):
        """`millrace audit` must balance, and count what we count."""
        done = subprocess.run([binary, "audit", "-c", str(config), "-o", "json"], capture_output=True, text=True, timeout=600)
        try:
            report = json.loads(done.stdout)
        except ValueError:
            self.findings.append(f"audit: B5 exit {done.returncode} without a report: {done.stderr.strip()[-2000:]}")
            return
        for table in report["tables"]:
            for finding in table["findings"][:FIRST]:
                self.add(table["name"], f"B5 millrace audit: {finding}")
            ours = self.rows.get(table["name"])
            if ours is not None and table["rows"] != ours:
                self.add(table["name"], f"B5 millrace audit counts {table['rows']} rows, this check {ours}")
        if (done.returncode == 0) != bool(report["ok"]):
            self.findings.append(f"audit: B5 exit status {done.returncode}, but ok is {report['ok']}")
        if len(report["tables"]) != 3:
            self.findings.append(f"audit: B5 {len(report['tables'])} tables in the report, 3 in the pipeline")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--lake", required=True)
    parser.add_argument("--app-id", default=events.PIPELINE)
    parser.add_argument("--binary", default=os.environ.get("MILLRACE_BIN"))
    parser.add_argument("--config", help="pipeline.yaml, for millrace audit")
    parser.add_argument("--partial", action="store_true")
    parser.add_argument("--replayed", action="store_true", help="all dead letters were run again by the mended transform")
    arguments = parser.parse_args()
    books = Books(arguments.lake, read_truth(arguments.brokers, arguments.topic), app_id=arguments.app_id,
                  partial=arguments.partial, replayed=arguments.replayed)
    books.run()
    if arguments.binary and arguments.config:
        books.check_audit(arguments.binary, arguments.config)
    for finding in books.findings:
        print(finding)
    counts = ", ".join(f"{name} {rows}" for name, rows in books.rows.items())
    print(f"books of {arguments.lake}: {'DO NOT BALANCE' if books.findings else 'balance'}; {counts}")
    return 1 if books.findings else 0


if __name__ == "__main__":
    sys.exit(main())
