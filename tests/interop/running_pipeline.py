"""A running `millrace run` on short epochs, with a real Kafka, while Spark and deltalake append to its tables, pack them, delete,
add columns, set properties, write checkpoints and vacuum: `running_pipeline.py PATH_OF_millrace [ROUNDS]`, among the long tests.

The books hold whatever the others do to the files. Rows that they add are found by the audit, which says so with exit 1; once
these are deleted, by Spark, it is content: no row of the pipeline's is lost or doubled.
"""

import collections
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import spark_test

import pyarrow
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.schema import PrimitiveType

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kafka"))
from broker import Broker  # noqa: E402  (the path is set just above)

EVENTS_AT_ONCE, EVENTS_PER_SECOND = 500, 250
# Rows of others are in a partition of their own: under Delta's serializable isolation a DELETE loses to every append to the
# partitions that it looks into, and here one comes twice a second.
PARTITION, OLD_DAY = "ts_date", datetime.date(2020, 1, 1)
OF_OTHERS = f"{PARTITION} = '{OLD_DAY}'"
PIPELINE = """version: 1
pipeline: beside
source:
  kafka: {{bootstrap.servers: "{brokers}"}}
  topics: [clicks]
decode:
  format: json
  columns: {{event_id: string, ts: timestamp, country: string, amount: "decimal(12,2)"}}
event_time: {{column: ts}}
tables: [{{name: clicks, partition_by: ["date(ts)"], commit: {{interval: 500ms}}}}]
aggregates:
  - name: clicks_1m
    sql: SELECT window_start, country, count(*) AS views, sum(amount) AS revenue FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
    commit: {{interval: 500ms}}
lake: {{uri: "{lake}"}}
maintenance: {{interval: 20s, compaction: {{min_files: 12}}}}
log: {{level: warn}}
"""


class Others:
    """What they do to the two tables, and the rows of theirs that are in the table of events."""

    def __init__(self, spark, lake):
        self.spark, self.events, self.views = spark, str(lake / "clicks"), str(lake / "clicks_1m")
        self.rows, self.next_id = set(), 0
        self.lost_races = collections.Counter()
        self.altered = set()

    def patiently(self, action):
        """As another writer was first, an operation has to be planned again: both engines leave that to their user."""
        for _ in range(50):
            try:
                return action()
            except DeltaError:
                self.lost_races["deltalake"] += 1
            except Exception as error:  # Spark's come through a bridge and have no common class.
                if "oncurrent" not in str(error) and "CONCURRENT" not in str(error):
                    raise
                self.lost_races["spark"] += 1
        raise AssertionError("lost fifty races in a row")

    def new_ids(self):
        begin, self.next_id = self.next_id, self.next_id + 10
        return [f"foreign-{number}" for number in range(begin, begin + 10)]

    def append_with_deltalake(self):
        ids = self.new_ids()

        def append():
            rows = DeltaTable(self.events).to_pyarrow_table().slice(0, len(ids))
            for name, values in [("event_id", ids), (PARTITION, [OLD_DAY] * len(ids))]:
                at = rows.schema.get_field_index(name)
                rows = rows.set_column(at, rows.schema.field(at), pyarrow.array(values, rows.schema.field(at).type))
            write_deltalake(self.events, rows, mode="append", schema_mode="merge")

        self.patiently(append)
        self.rows.update(ids)

    def append_with_spark(self):
        ids = self.new_ids()
        row = DeltaTable(self.events).to_pyarrow_table().slice(0, 1).to_pylist()[0]
        columns = [(field.name, field.dataType.simpleString()) for field in self.spark.table(self.events).schema]

        def text_of(name, type_name):
            if name == PARTITION:
                return f"DATE '{OLD_DAY}'"
            return "NULL" if row.get(name) is None else f"CAST('{row[name]}' AS {type_name})"

        # Constants: an INSERT that read the table would lose to every commit of the pipeline's.
        values = ", ".join("id" if name == "event_id" else text_of(name, type_name) for name, type_name in columns)
        self.patiently(lambda: self.spark.sql(
            f"INSERT INTO {{t}} ({', '.join(name for name, _ in columns)}) "
            f"SELECT {values} FROM (SELECT explode(array({', '.join(map(repr, ids))})) AS id)", t=self.events))
        self.rows.update(ids)

    def delete_some(self):
        by_spark, by_deltalake = sorted(self.rows)[0], sorted(self.rows)[-1]
        self.patiently(lambda: self.spark.sql(f"DELETE FROM {{t}} WHERE {OF_OTHERS} AND event_id = '{by_spark}'", t=self.events))
        self.patiently(lambda: DeltaTable(self.events).delete(f"{OF_OTHERS} AND event_id = '{by_deltalake}'"))
        self.rows -= {by_spark, by_deltalake}

    def alter(self):
        for table in [self.events, self.views]:
            name = f"later_{len(self.altered)}"
            if len(self.altered) % 4 < 2:
                self.patiently(lambda: self.spark.sql(f"ALTER TABLE {{t}} ADD COLUMNS ({name} STRING)", t=table))
            else:
                self.patiently(lambda: DeltaTable(table).alter.add_columns([Field(name, PrimitiveType("string"))]))
            self.altered.add(name)

    def pack_and_checkpoint(self):
        for table in [self.events, self.views]:
            self.patiently(lambda: self.spark.sql("OPTIMIZE {t}", t=table))
            self.patiently(lambda: DeltaTable(table).optimize.compact())
            self.spark.checkpoint(table)
            DeltaTable(table).create_checkpoint()

    def set_properties(self):
        """Of the first columns alone there shall be statistics; statistics_are_as_set() looks for it."""
        self.patiently(lambda: self.spark.sql(
            "ALTER TABLE {t} SET TBLPROPERTIES ('delta.dataSkippingStatsColumns' = 'event_id')", t=self.events))
        self.patiently(lambda: DeltaTable(self.views).alter.set_table_properties({"delta.dataSkippingNumIndexedCols": "0"}))

    def vacuum(self):
        """Files of nobody, of two hours ago, go; an hour is more than any commit takes."""
        for table, by_spark in [(self.events, True), (self.views, False)]:
            live = pathlib.Path(DeltaTable(table).file_uris()[0].removeprefix("file://"))
            orphan = live.with_name(f"part-00000-{os.urandom(8).hex()}.parquet")
            shutil.copy(live, orphan)
            os.utime(orphan, (time.time() - 7200,) * 2)
            if by_spark:
                self.spark.sql("VACUUM {t} RETAIN 1 HOURS", t=table)
            else:
                DeltaTable(table).vacuum(retention_hours=1, enforce_retention_duration=False, dry_run=False, full=True)
            assert not orphan.exists(), f"{table}: not vacuumed"

    def round(self):
        self.append_with_deltalake()
        self.append_with_spark()
        self.pack_and_checkpoint()
        self.delete_some()
        self.alter()
        self.set_properties()
        self.vacuum()


class Devices(threading.Thread):
    """Sends events, fleet after fleet, until it is told to end."""

    def __init__(self, millrace, broker):
        super().__init__()
        self.command = [millrace, "simulate", "clickstream", "--malformed", "1%", "--late", "2%", "--to",
                        f"kafka://{broker.address}/clicks"]
        self.sent, self.fleets, self.failed, self.ending = 0, 0, False, threading.Event()

    def send(self, count, rate):
        done = subprocess.run([*self.command, "--count", str(count), "--rate", str(rate), "--seed", str(self.fleets)],
                              stderr=subprocess.DEVNULL, timeout=300)
        self.fleets += 1
        self.sent += count
        self.failed |= done.returncode != 0

    def run(self):
        while not self.ending.is_set() and not self.failed:
            self.send(EVENTS_AT_ONCE, EVENTS_PER_SECOND)

    def end(self):
        self.ending.set()
        self.join()


def statistics_are_as_set(table, columns):
    """The newest file that the pipeline wrote has statistics of these columns."""
    log = pathlib.Path(table) / "_delta_log"
    for version in range(DeltaTable(table).version(), 0, -1):
        lines = [json.loads(line) for line in open(log / f"{version:020}.json")]
        adds = [line["add"] for line in lines if "add" in line]
        if adds and lines[0]["commitInfo"]["operation"] == "STREAMING UPDATE":
            return set(json.loads(adds[0]["stats"])["nullCount"]) == columns
    return False


def wait_until(condition, what, process):
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, f"{what}: the process ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{what}: not within five minutes"
        time.sleep(0.05)


def beside_a_running_pipeline(spark, folder, millrace, claim, rounds):
    lake, config = folder / "lake", folder / "beside.yaml"
    folder.mkdir()
    with Broker() as broker:
        broker.create_topic("clicks", 2)
        config.write_text(PIPELINE.format(brokers=broker.address, lake=lake))

        def audit(code, what):
            done = subprocess.run([millrace, "audit", "-c", str(config)], capture_output=True, text=True, timeout=300)
            claim(done.returncode == code, f"{what}: audit", done.stdout + done.stderr)
            return done.stdout

        others, devices = Others(spark, lake), Devices(millrace, broker)
        offsets = []  # Of the table of events, as deltalake knows them, before and after each round.

        def offsets_in():
            told = subprocess.run([millrace, "lake", "describe", others.events, "-o", "json"], capture_output=True, timeout=300)
            table = DeltaTable(others.events)
            return {name: table.transaction_version(name) for name in json.loads(told.stdout)["txns"]}

        with open(folder / "run.log", "w+") as log:
            run = subprocess.Popen([millrace, "run", "-c", str(config)], stdout=log, stderr=log)
            devices.start()
            try:
                for table in ["clicks", "clicks_1m"]:
                    wait_until(lambda: (lake / table / "_delta_log" / f"{3:020}.json").exists(), "first commits", run)
                for _ in range(rounds):
                    offsets.append(offsets_in())
                    others.round()
                    assert run.poll() is None, "the pipeline ended"
                offsets.append(offsets_in())
                devices.end()
                claim(not devices.failed, "events were sent")
                run.send_signal(signal.SIGTERM)
                claim(run.wait(300) == 0, "the pipeline ends cleanly")
            except BaseException:
                log.seek(0)
                print(log.read()[-5000:])
                raise
            finally:
                devices.end()
                run.kill()
                run.wait()
        for before, after in zip(offsets, offsets[1:]):
            claim(before != after and all(after[name] >= version for name, version in before.items()),
                  "offsets are kept and advance in every round", (before, after))

        def finish(what):
            done = subprocess.run([millrace, "run", "-c", str(config), "--until-end"], capture_output=True, text=True, timeout=300)
            claim(done.returncode == 0, what, done.stderr)

        finish("what was still in the log")
        # What they added is there but for what they deleted, and the audit counts it.
        names = DeltaTable(others.events).to_pyarrow_table(columns=["event_id"])["event_id"].to_pylist()
        claim({name for name in names if name.startswith("foreign-")} == others.rows and len(names) == len(set(names)),
              "rows of others: as they left them", len(others.rows))
        said = audit(1, "with rows of others")
        claim("the books say" in said, "and says which", said)
        spark.sql("DELETE FROM {t} WHERE event_id LIKE 'foreign-%'", t=others.events)
        audit(0, "without them")
        letters = DeltaTable(lake / "beside_dead_letters").to_pyarrow_table().num_rows
        own = len(names) - len(others.rows)
        claim(letters > 0 and own + letters == devices.sent, "every event is a row or a dead letter", (own, letters, devices.sent))

        # Nobody is writing: what no current version needs goes, by both, and the pipeline goes on.
        spark.sql("VACUUM {t} RETAIN 0 HOURS", t=others.events)
        DeltaTable(others.views).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
        devices.send(500, 0)
        claim(not devices.failed, "more events")
        finish("it goes on")
        audit(0, "after all")
        claim(statistics_are_as_set(others.events, {"event_id"}), "statistics as Spark wants them")
        claim(statistics_are_as_set(others.views, {"window_start"}), "statistics as deltalake wants them, and what we need")
        [counted] = spark.sql("SELECT sum(views) AS views, sum(revenue) AS revenue FROM {t}", t=others.views).collect()
        [raw] = spark.sql("SELECT count(*) AS views, sum(amount) AS revenue FROM {t}", t=others.events).collect()
        claim(counted == raw, "the aggregate's rows add up to the table of events", (counted, raw))
        names = DeltaTable(others.events).schema().to_arrow().names
        claim({name for name in names if name.startswith("later_")} and len(others.altered) == 2 * rounds, "columns were added")
        return (f"{rounds} rounds; {devices.sent} events; {DeltaTable(others.events).version()} versions; "
                f"races lost by others {dict(others.lost_races)}")


def main():
    with tempfile.TemporaryDirectory() as name:
        spark = spark_test.Spark(pathlib.Path(name))
        try:
            print(beside_a_running_pipeline(spark, pathlib.Path(name) / "beside", sys.argv[1], spark_test.claim,
                                            rounds=int(sys.argv[2]) if len(sys.argv) > 2 else 5))
        finally:
            spark.session.stop()


if __name__ == "__main__":
    main()
