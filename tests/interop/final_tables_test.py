"""A final table over a real Kafka topic: late events, kills around its commits, and what other readers see of it.

Usage: broker.py run -- final_tables_test.py PATH_OF_millrace
The judge is DuckDB over the events that were sent; the table is read by deltalake and DuckDB.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile

import duckdb
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from deltalake import DeltaTable

MILLRACE = sys.argv[1]
BROKERS = os.environ["KAFKA_BROKERS"]
TOPIC, PARTITIONS = "views", 3
MINUTE = 60_000_000
START = 1_761_955_200_000_000  # 2025-11-01T00:00:00Z
PIPELINE = """version: 1
pipeline: views
source: {{kafka: {{bootstrap.servers: "{brokers}"}}, topics: [{topic}]}}
decode: {{format: json, columns: {{ts: timestamp_us, country: string, amount: "decimal(12,2)"}}}}
event_time: {{column: ts, watermark_delay: 60s}}
aggregates:
  - name: views_1m
    sql: |
      SELECT window_start, country, count(*) AS views, sum(amount) AS revenue, avg(amount) AS mean
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
    commit: {{interval: 200ms}}
    final: {{table: views_1m_final}}
lake: {{uri: "{lake}"}}
log: {{level: warn}}
"""
NEWEST = """SELECT * FROM rows
QUALIFY row_number() OVER (PARTITION BY window_start, country ORDER BY revision DESC) = 1"""
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


class Views:
    def __init__(self, folder):
        self.folder, self.lake = folder, folder / "lake"
        self.file = folder / "views.yaml"
        self.file.write_text(PIPELINE.format(brokers=BROKERS, topic=TOPIC, lake=self.lake))
        self.producer = Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True})
        self.events = []
        self.random = random.Random(1)

    def send(self, minutes):
        """An event in each of these minutes; each partition then has one of the last, which moves its watermark."""
        events = [(START + minute * MINUTE + self.random.randrange(MINUTE), self.random.choice(["de", "fr", None]),
                   self.random.randrange(1000) / 100) for minute in minutes]
        newest = max(event[0] for event in events)
        for number, event in enumerate(events + [(newest, "zz", 1.0)] * PARTITIONS):
            record = {"ts": event[0], "country": event[1], "amount": event[2]}
            self.producer.produce(TOPIC, json.dumps(record).encode(), partition=number % PARTITIONS, timestamp=event[0] // 1000)
            self.events.append(event)
        assert self.producer.flush(30) == 0
        return newest

    def run(self, kill_at=None):
        environment = {**os.environ, **({"MILLRACE_KILL_AT": kill_at} if kill_at else {})}
        done = subprocess.run([MILLRACE, "run", "-c", str(self.file), "--until-end", "--role", "ingest"], env=environment,
                              capture_output=True, text=True, timeout=300)
        assert done.returncode in ([0, -signal.SIGKILL] if kill_at else [0]), done.stderr
        return done.returncode

    def check(self, newest, what):
        """Every window that ended a minute before `newest`, and no other."""
        table = DeltaTable(str(self.lake / "views_1m_final"))
        rows = table.to_pyarrow_table()
        connection = duckdb.connect()
        connection.register("rows", rows)
        connection.execute("CREATE TABLE events (ts BIGINT, country VARCHAR, amount DECIMAL(12,2))")
        connection.executemany("INSERT INTO events VALUES (?, ?, ?)", self.events)
        columns = "epoch_us(window_start), epoch_us(window_end), country, views, revenue, mean"
        got = connection.execute(f"SELECT {columns} FROM ({NEWEST}) ORDER BY ALL").fetchall()
        want = connection.execute(
            "SELECT ts // 60000000 * 60000000 AS window_start, window_start + 60000000 AS window_end, country, count(*), "
            "sum(amount), avg(amount) FROM events "
            "WHERE ts // 60000000 * 60000000 + 120000000 <= ? GROUP BY ALL ORDER BY ALL", [newest]).fetchall()
        claim(got == want, f"{what}: the newest revisions are DuckDB's", f"{got}\n{want}")
        holes = connection.execute("SELECT epoch_us(window_start) AS start, country FROM rows GROUP BY ALL "
                                   "HAVING count(*) <> max(revision) + 1 OR count(DISTINCT revision) <> count(*)").fetchall()
        claim(not holes, f"{what}: revisions are 0, 1, … once each", holes)
        audit = subprocess.run([MILLRACE, "audit", "-c", str(self.file), "-o", "json"], capture_output=True, text=True)
        claim(audit.returncode == 0, f"{what}: the audit holds", audit.stdout + audit.stderr)
        [final] = [table for table in json.loads(audit.stdout)["tables"] if table["name"] == "views_1m_final"]
        claim((final["kind"], final["rows"]) == ("final", rows.num_rows), f"{what}: the audit lists it", final)
        return rows, connection


def main():
    admin = AdminClient({"bootstrap.servers": BROKERS})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS)])[TOPIC].result()
    with tempfile.TemporaryDirectory() as name:
        views = Views(pathlib.Path(name))
        newest = views.send([0, 0, 0, 1, 2, 3])
        claim(views.run() == 0, "the first run")
        rows, _ = views.check(newest, "complete windows")
        claim(rows.column("revision").to_pylist() == [0] * rows.num_rows, "all of revision 0")
        types = {field.name: str(field.type) for field in rows.schema}
        claim(types["views"] == "int64" and types["revenue"] == "decimal128(38, 2)" and types["revision"] == "int64", "plain types",
              types)
        claim(rows.schema.names == ["window_start", "window_end", "country", "views", "revenue", "mean", "revision", "final_at"],
              "its columns", rows.schema.names)

        newest = views.send([0, 1, 1, 4, 5, 6])
        claim(views.run() == 0, "late events")
        rows, connection = views.check(newest, "late events")
        claim(max(rows.column("revision").to_pylist()) == 1, "a late event is a further revision")
        before = rows.num_rows
        claim(views.run() == 0, "nothing new")
        rows, _ = views.check(newest, "nothing new")
        claim(rows.num_rows == before, "a run without events adds no row")

        # Killed around the commits of the final table, and of the aggregate's, with late events each time.
        kills = 0
        for round_, point in enumerate(["final.written:1", "final.committed:1", "final.written:2", "final.committed:2",
                                        "epoch.committed:1"] * 2):
            newest = views.send([round_, round_ + 1, 7 + 2 * round_, 8 + 2 * round_, 9 + 2 * round_])
            kills += views.run(kill_at=point) != 0
            views.run()
            rows, _ = views.check(newest, f"killed at {point}")
        claim(kills >= 6, "it was killed", kills)
        claim(max(rows.column("revision").to_pylist()) >= 2, "several revisions")

        # As any Delta table.
        shown = subprocess.run([MILLRACE, "lake", "optimize", str(views.lake / "views_1m_final")], capture_output=True, text=True)
        claim(shown.returncode == 0, "lake optimize", shown.stderr)
        views.run()
        views.check(newest, "packed")
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
