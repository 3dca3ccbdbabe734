#!/usr/bin/env python3
"""The books must be able to fail: a right lake balances, and each of many ways to break it is noticed, by its own check.

The lake is written here by hand, with pyarrow and json, from generated events; no broker and no Millrace are needed.
"""

import datetime
import json
import pathlib
import shutil
import sys
import tempfile
import unittest
import uuid

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import books
import events
import oracle

LETTERS = pa.schema([("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()),
                     ("timestamp", pa.timestamp("us", "UTC")), ("key", pa.binary()), ("payload", pa.binary()),
                     ("headers", pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))), ("stage", pa.string()),
                     ("reason", pa.string()), ("detail", pa.string())])
REPLAYS = pa.schema([("replay", pa.int64()), ("table", pa.string()), ("topic", pa.string()), ("partition", pa.int32()),
                     ("offset", pa.int64()), ("commit", pa.string())])
TOPIC = "selftest"
FAMILY = f"{events.PIPELINE}-{TOPIC}"
NAME = {"events": "events", "aggregate": "views_1m", "letters": "fault_dead_letters"}


def delta_type(kind):
    if pa.types.is_list(kind):
        return {"type": "array", "elementType": delta_type(kind.value_type), "containsNull": True}
    if pa.types.is_struct(kind):
        return {"type": "struct", "fields": [{"name": f.name, "type": delta_type(f.type), "nullable": True, "metadata": {}}
                                             for f in kind]}
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return {pa.int32(): "integer", pa.int64(): "long", pa.float64(): "double", pa.string(): "string", pa.binary(): "binary",
            pa.date32(): "date"}.get(kind) or "timestamp"


class TableWriter:
    """The least of a Delta writer: one JSON file per commit."""

    def __init__(self, folder, schema, partition_by=()):
        self.folder, self.version, self.ends, self.totals = folder, -1, {}, {f"{events.PIPELINE}#topic:{TOPIC}": 0}
        (folder / "_delta_log").mkdir(parents=True)
        fields = [{"name": f.name, "type": delta_type(f.type), "nullable": True, "metadata": {}} for f in schema]
        self.commit([{"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
                     {"metaData": {"id": str(uuid.uuid4()), "format": {"provider": "parquet", "options": {}},
                                   "schemaString": json.dumps({"type": "struct", "fields": fields}),
                                   "partitionColumns": list(partition_by), "configuration": {}}}], {})

    def commit(self, actions, ranges):
        self.version += 1
        info = {"timestamp": 0, "operation": "WRITE", "txnId": str(uuid.uuid4()),
                "millrace": {"partitions": [{"topic": TOPIC, "partition": p, "begin": b, "end": e} for p, (b, e) in ranges.items()]}}
        lines = [{"commitInfo": info}, *actions]
        path = self.folder / "_delta_log" / f"{self.version:020}.json"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def append(self, table, ranges, ledgers=None, partition_values=None):
        name = "".join(f"{k}={v}/" for k, v in (partition_values or {}).items()) + f"{uuid.uuid4()}.parquet"
        (self.folder / name).parent.mkdir(exist_ok=True)
        pq.write_table(table, self.folder / name)
        actions = [{"add": {"path": name, "partitionValues": partition_values or {}, "modificationTime": 0, "dataChange": True,
                            "size": (self.folder / name).stat().st_size,
                            "stats": json.dumps({"numRecords": table.num_rows})}}]
        for partition, (_, end) in ranges.items():
            self.totals[f"{FAMILY}-{partition}"] = end - 1
            for field, count in (ledgers or {}).get(partition, {}).items():
                key = f"{FAMILY}-{partition}#{field}"
                self.totals[key] = self.totals.get(key, 0) + count
        actions += [{"txn": {"appId": k, "version": v}} for k, v in self.totals.items()]
        self.commit(actions, ranges)


def write_lake(folder, truth):
    """Three commits per table, each a third of every partition."""
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    db.register("truth", truth.table)
    rows_schema = pa.schema(list(books.COLUMNS.items()) + [
        ("_topic", pa.string()), ("_partition", pa.int32()), ("_offset", pa.int64()), ("_timestamp", pa.timestamp("us", "UTC"))])
    table = TableWriter(folder / NAME["events"], pa.schema(list(rows_schema) + [pa.field("ts_date", pa.date32())]), ["ts_date"])
    letters = TableWriter(folder / NAME["letters"], LETTERS)
    aggregate = None
    ends = truth.ends
    for third in range(3):
        ranges = {p: (end * third // 3, end * (third + 1) // 3) for p, end in ends.items()}
        inside = "(" + " OR ".join(f"(_partition = {p} AND _offset >= {b} AND _offset < {e})" for p, (b, e) in ranges.items()) + ")"
        ledgers = {p: dict(zip(("read", "written", "dead_lettered", "filtered", "tombstones"), counts)) for p, *counts in db.execute(
            "SELECT _partition, count(*), count(*) FILTER (outcome = 'row'), count(*) FILTER (outcome = 'dead'), count(*) FILTER "
            f"(outcome = 'filtered'), count(*) FILTER (outcome = 'tombstone') FROM truth WHERE {inside} GROUP BY 1").fetchall()}
        rows = db.execute(f"SELECT {', '.join(books.COLUMNS)}, '{TOPIC}' AS _topic, _partition, _offset, "
                          f"make_timestamptz(log_us) AS _timestamp FROM truth WHERE outcome = 'row' AND {inside}").to_arrow_table()
        table.append(rows.cast(rows_schema), ranges, ledgers, {"ts_date": "2026-11-20"})
        partial = db.execute(
            "SELECT time_bucket(INTERVAL 1 MINUTE, ts) AS window_start, time_bucket(INTERVAL 1 MINUTE, ts) + INTERVAL 1 MINUTE AS "
            "window_end, cc, page, count(*) AS views, sum(amount) AS revenue, min(latency_ms) AS fastest, max(latency_ms) AS slowest, "
            "sum(latency_ms) AS mean__sum, count(latency_ms) AS mean__count, count(*) AS _rows FROM truth WHERE outcome = 'row' AND "
            f"{inside} GROUP BY ALL").to_arrow_table()
        if aggregate is None:
            aggregate = TableWriter(folder / NAME["aggregate"], partial.schema)
        aggregate.append(partial, ranges, ledgers)
        dead = [r for r in truth.table.filter(pc.equal(truth.table["outcome"], "dead")).to_pylist()
                if ranges[r["_partition"]][0] <= r["_offset"] < ranges[r["_partition"]][1]]
        letters.append(pa.Table.from_pylist([{
            "topic": TOPIC, "partition": r["_partition"], "offset": r["_offset"], "timestamp": r["log_us"], "key": r["key"],
            "payload": r["value"], "headers": [{"key": k, "value": bytes.fromhex(v)} for k, v in json.loads(r["headers"])],
            "stage": r["stage"], "reason": r["reason"] or "bad_cast", "detail": ""} for r in dead], LETTERS), ranges)


class BooksSelfTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-books-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        start = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.timezone.utc)
        generator = events.Generator(7, "p", int(start.timestamp()) * 1_000_000)
        cls.truth = books.Truth(TOPIC)
        offsets = [0, 0]
        for number in range(3000):
            key, value, headers = generator.make()
            # A late event may be of the day before; this lake has one partition only.
            verdict = events.judge(value, 2**60)
            if verdict[0] == "row" and verdict[1]["ts"] < int(start.timestamp() - 7200) * 1_000_000:
                continue
            partition = number % 2
            cls.truth.add(partition, offsets[partition], int(start.timestamp() + number) * 1_000_000, key, value, headers)
            offsets[partition] += 1
        cls.truth.ends = dict(enumerate(offsets))
        write_lake(cls.folder / "good", cls.truth)

    def broken(self):
        lake = pathlib.Path(tempfile.mkdtemp(dir=self.folder)) / "lake"
        shutil.copytree(self.folder / "good", lake)
        return lake

    def expect(self, lake, check, text, truth=None):
        findings = books.Books(lake, truth or self.truth).run()
        self.assertTrue(any(check in f and text in f for f in findings), f"no {check} finding with '{text}' in {findings}")

    def entry(self, lake, table, version):
        return lake / NAME[table] / "_delta_log" / f"{version:020}.json"

    def edit(self, path, change):
        actions = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(a) + "\n" for a in change(actions) or actions))

    def add_of(self, lake, table, version):
        for line in self.entry(lake, table, version).read_text().splitlines():
            if "add" in json.loads(line):
                return json.loads(line)["add"]
        raise AssertionError("no add action")

    def rewrite(self, lake, table, version, change):
        """Changes a data file's rows and keeps the log right about it, but for the row's content."""
        add = self.add_of(lake, table, version)
        path = lake / NAME[table] / add["path"]
        pq.write_table(change(pq.read_table(path, partitioning=None)), path)

        def fix(actions):
            for action in actions:
                if "add" in action:
                    action["add"]["size"] = path.stat().st_size
                    action["add"]["stats"] = json.dumps({"numRecords": pq.read_metadata(path).num_rows})
        self.edit(self.entry(lake, table, version), fix)

    def test_a_right_lake_balances(self):
        self.assertEqual(books.Books(self.folder / "good", self.truth).run(), [])
        kinds = set(self.truth.table["outcome"].to_pylist())
        self.assertEqual(kinds, {"row", "dead", "filtered", "tombstone"})
        stages = set(self.truth.table["stage"].to_pylist()) - {None}
        self.assertEqual(stages, {"decode", "event_time", "transform:clean"})

    def test_a_lost_data_file(self):
        lake = self.broken()
        (lake / NAME["events"] / self.add_of(lake, "events", 2)["path"]).unlink()
        self.expect(lake, "B4", "does not exist")

    def test_a_file_of_another_size(self):
        lake = self.broken()
        with open(lake / NAME["events"] / self.add_of(lake, "events", 2)["path"], "ab") as f:
            f.write(b"x")
        self.expect(lake, "B4", "its add action says")

    def test_a_row_less(self):
        lake = self.broken()
        self.rewrite(lake, "events", 2, lambda t: t.slice(1))
        self.expect(lake, "B1", "not in the table")

    def test_a_row_twice(self):
        lake = self.broken()
        self.rewrite(lake, "events", 2, lambda t: pa.concat_tables([t, t.slice(5, 1)]))
        self.expect(lake, "B1", "more than once")

    def test_a_row_of_no_record(self):
        lake = self.broken()
        index = pa.array([10**9], pa.int64())
        self.rewrite(lake, "events", 2, lambda t: pa.concat_tables([t, t.slice(0, 1).set_column(
            t.schema.get_field_index("_offset"), "_offset", index)]))
        self.expect(lake, "B1", "not rows of the topic")

    def test_another_value(self):
        lake = self.broken()
        for column, change in (("stars", lambda c: pc.add(c, 1).cast(pa.int32())), ("cc", pc.utf8_upper)):
            self.rewrite(lake, "events", 3, lambda t: t.set_column(t.schema.get_field_index(column), column, change(t[column])))
            self.expect(lake, "B1", f"{column}: ")

    def test_the_same_commit_twice(self):
        lake = self.broken()
        shutil.copy(self.entry(lake, "events", 3), self.entry(lake, "events", 4))
        for check, text in (("B4", "same txnId"), ("B4", "live already"), ("B3", "begins at offset")):
            self.expect(lake, check, text)

    def test_the_same_rows_in_two_files(self):
        lake = self.broken()
        folder = lake / NAME["events"]
        path = self.add_of(lake, "events", 3)["path"]
        shutil.copy(folder / path, folder / path.replace(".parquet", "-2.parquet"))

        def again(actions):
            for action in list(actions):
                if "add" in action:
                    actions.append({"add": {**action["add"], "path": path.replace(".parquet", "-2.parquet")}})
        self.edit(self.entry(lake, "events", 3), again)
        self.expect(lake, "B1", "more than once")

    def test_a_missing_version(self):
        lake = self.broken()
        self.entry(lake, "events", 2).unlink()
        self.expect(lake, "B4", "missing between")

    def test_a_range_with_a_gap(self):
        lake = self.broken()

        def shift(actions):
            actions[0]["commitInfo"]["millrace"]["partitions"][0]["begin"] += 1
        self.edit(self.entry(lake, "aggregate", 2), shift)
        self.expect(lake, "B3", "the commit before ended")

    def test_a_txn_that_the_ranges_do_not_reach(self):
        lake = self.broken()

        def shift(actions):
            for action in actions:
                if action.get("txn", {}).get("appId") == f"{FAMILY}-0":
                    action["txn"]["version"] -= 1
        self.edit(self.entry(lake, "events", 3), shift)
        self.expect(lake, "B3", f"txn {FAMILY}-0 says")
        self.expect(lake, "B1", "the topic ends at")

    def test_ids_of_another_form_or_topic(self):
        def rename(id_of_ours):
            def change(actions):
                for action in actions:
                    if "txn" in action:
                        action["txn"]["appId"] = id_of_ours(action["txn"]["appId"])
            return change
        lake = self.broken()
        for version in (1, 2, 3):
            self.edit(self.entry(lake, "events", version), rename(lambda name: name.replace(f"{FAMILY}-", f"{events.PIPELINE}-")))
        self.expect(lake, "B3", f"txn {FAMILY}-0 says None")
        lake = self.broken()
        for version in (1, 2, 3):
            self.edit(self.entry(lake, "events", version), rename(lambda name: name.replace("#topic:", "#topik:")))
        self.expect(lake, "B3", f"#topic:{TOPIC} is None, not 0")

    def test_a_range_of_another_topic(self):
        lake = self.broken()

        def rename(actions):
            actions[0]["commitInfo"]["millrace"]["partitions"][0]["topic"] = "another"
        self.edit(self.entry(lake, "aggregate", 2), rename)
        self.expect(lake, "B3", "of the topic another")

    def test_a_ledger_that_counts_wrong(self):
        for field in ("read", "written", "dead_lettered", "filtered", "tombstones"):
            lake = self.broken()

            def shift(actions):
                for action in actions:
                    if action.get("txn", {}).get("appId") == f"{FAMILY}-1#{field}":
                        action["txn"]["version"] += 1
            self.edit(self.entry(lake, "aggregate", 3), shift)
            self.expect(lake, "B1", f"{field} in the ledger")

    def test_a_wrong_aggregate(self):
        for column in ("views", "revenue", "mean__sum", "slowest"):
            lake = self.broken()
            self.rewrite(lake, "aggregate", 2, lambda t: t.set_column(
                t.schema.get_field_index(column), t.schema.field(column),
                pa.array([value + 10_000 for value in t[column].to_pylist()], t.schema.field(column).type)))
            self.expect(lake, "B2", "not over the topic")

    def test_a_partial_row_less(self):
        lake = self.broken()
        self.rewrite(lake, "aggregate", 1, lambda t: t.slice(1))
        self.expect(lake, "B2", "not in the table")

    def test_dead_letters(self):
        for change, text in ((lambda t: t.slice(1), "without a dead letter"),
                             (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "more than once"),
                             (lambda t: t.set_column(5, "payload", pa.array([b"x"] * t.num_rows)), "other bytes"),
                             (lambda t: t.set_column(4, "key", pa.array([b"x"] * t.num_rows)), "other bytes"),
                             (lambda t: t.set_column(6, "headers", pa.nulls(t.num_rows, t.schema.field(6).type)), "other bytes"),
                             (lambda t: t.set_column(8, "reason", pa.array(["other"] * t.num_rows)), "other bytes")):
            lake = self.broken()
            self.rewrite(lake, "letters", 2, change)
            self.expect(lake, "B1", text)

    def test_a_letter_of_a_good_record(self):
        lake = self.broken()
        good = self.truth.table.filter(pc.equal(self.truth.table["outcome"], "row"))["_offset"][0].as_py()
        self.rewrite(lake, "letters", 2, lambda t: pa.concat_tables(
            [t, t.slice(0, 1).set_column(2, "offset", pa.array([good])).set_column(1, "partition", pa.array([0], pa.int32()))]))
        self.expect(lake, "B1", "not malformed")

    def test_letters_that_were_not_run_again(self):
        findings = books.Books(self.broken(), self.truth, replayed=True).run()
        for text in ("B7 letters that were not run again", "B7 partition 0: replays wrote 0", "B1 rows of the topic that are not in"):
            self.assertTrue(any(text in finding for finding in findings), f"no '{text}' in {findings}")

    def test_books_of_replays_without_replays(self):
        for field, text in (("replayed_written", "replays wrote 1"), ("replayed", "1 replayed in the ledger, 0 in the log"),
                            ("replayed_filtered", "-1 failed again, 0 letters say so")):
            lake = self.broken()
            self.edit(self.entry(lake, "events", 3), lambda actions: actions.append(
                {"txn": {"appId": f"{FAMILY}-1#{field}", "version": 1}}))
            self.expect(lake, "B7", text)

    def test_a_record_that_was_run_again_though_it_was_taken(self):
        lake = self.broken()
        log = TableWriter(lake / f"{events.PIPELINE}_replays", REPLAYS)
        log.append(pa.Table.from_pylist([{"replay": replay, "table": NAME["events"], "topic": TOPIC, "partition": 0, "offset": 7}
                                         for replay in (1, 2)], REPLAYS), {})
        self.expect(lake, "B7", "sent twice without a letter in between: 1 in all")
        self.expect(lake, "B7", "partition 0: 0 replayed in the ledger, 2 in the log")

    def test_statistics_that_count_wrong(self):
        lake = self.broken()

        def lie(actions):
            for action in actions:
                if "add" in action:
                    action["add"]["stats"] = json.dumps({"numRecords": 1, "minValues": {"seq": 10**9}, "maxValues": {"seq": 10**9},
                                                         "nullCount": {"seq": 0}})
        self.edit(self.entry(lake, "events", 2), lie)
        self.expect(lake, "B5", "statistics say 1")
        self.expect(lake, "B5", "with a filter")

    def test_answers(self):
        checker = oracle.Oracle(TOPIC, self.truth)
        offsets = {"0": 700, "1": 500}
        rows = [r for r in self.truth.table.to_pylist() if r["outcome"] == "row" and r["_offset"] < offsets[str(r["_partition"])]]
        right = {"views": len(rows), "revenue": str(sum(r["amount"] for r in rows)), "fastest": min(r["latency_ms"] for r in rows),
                 "slowest": max(r["latency_ms"] for r in rows), "mean": sum(r["latency_ms"] for r in rows) / len(rows)}
        parameters = {"step": "0", "group_by": ""}

        def ask(row, at=offsets):
            return checker.check_aggregate(parameters, at, list(row), [list(row.values())])
        self.assertIsNone(ask(right))
        for name, value in (("views", len(rows) + 1), ("revenue", "0.00"), ("slowest", 0.0), ("mean", 1.0)):
            self.assertIn("over the topic", ask({**right, name: value}))
        self.assertIn("over the topic", ask(right, {"0": 750, "1": 500}))
        self.assertIn("over the topic", ask(right, {"0": 700}))

    def test_answers_of_sql(self):
        """The oracle notices a row too many, too few and another, an offset beside the right one, and another order."""
        lake = self.broken()
        checker = oracle.Oracle(TOPIC, self.truth, lake)
        rows = [r for r in self.truth.table.to_pylist() if r["outcome"] == "row" and r["_partition"] == 0]
        at = {"events": {"offsets": {TOPIC: {"0": rows[9]["_offset"] + 1}}}}
        sql, columns = "SELECT seq, ts, amount, cc FROM events ORDER BY _offset", ["seq", "ts", "amount", "cc"]
        right = [[row[name] for name in columns] for row in rows[:10]]

        def ask(got, as_of=at, ordered=True):
            return checker.check_sql(sql, [], as_of, columns, got, ordered)
        self.assertIsNone(ask(right))
        self.assertIsNone(ask([[str(seq), events.rfc3339(events.micros(ts.isoformat())), str(amount), cc] for seq, ts, amount, cc in right]))
        self.assertIsNone(ask(right[::-1], ordered=False))
        other = [right[0][:2] + [right[0][2] + 1, right[0][3]], *right[1:]]
        for wrong in (right[:-1], right + right[:1], other, right[::-1]):
            self.assertIn("over the topic", ask(wrong))
        self.assertIn("over the topic", ask(right, {"events": {"offsets": {TOPIC: {"0": rows[9]["_offset"]}}}}))
        self.assertIn("not in the answer", checker.check_sql(sql, [], at, columns[1:], [row[1:] for row in right]))
        letters = f"SELECT partition, \"offset\" FROM {oracle.LETTERS}"
        version = {oracle.LETTERS: {"version": books.Log(lake / oracle.LETTERS).version}}
        dead = [[r["_partition"], r["_offset"]] for r in self.truth.table.to_pylist() if r["outcome"] == "dead"]
        self.assertIsNone(checker.check_sql(letters, [], version, ["partition", "offset"], dead))
        self.assertIn("over the topic", checker.check_sql(letters, [], version, ["partition", "offset"], dead[1:]))
        self.assertIn("over the topic", checker.check_sql(letters, [], {oracle.LETTERS: {"version": 0}}, ["partition", "offset"], dead))


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    unittest.main()
