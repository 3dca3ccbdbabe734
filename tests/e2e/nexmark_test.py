"""Goal: the queries of examples/nexmark over generated events give what DuckDB gives over the same events: those that make rows as
deltalake reads their tables, those that aggregate as `millrace query` answers from the lake, and where `lake view` has SQL for it as
DuckDB merges their tables. The events are read in two runs.

What each query means is written here a second time, over the JSON and in DuckDB's SQL alone: windows are made by arithmetic, and what
comes first is by event time, partition and offset.

usage: nexmark_test.py MILLRACE
"""
import datetime
import json
import pathlib
import subprocess
import sys

import duckdb
from confluent_kafka import Producer
from deltalake import DeltaTable

from product import FOLDER, claim, end, millrace

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/kafka"))
from broker import Broker  # noqa: E402  (the path is set just above)

EXAMPLE = ROOT / "examples/nexmark"
EVENTS, PARTITIONS = 30000, 3
# From ten minutes before midnight to ten after, so that there are two days.
GENERATE = ["events", "--count", str(EVENTS), "--seed", "7", "--start", "2025-12-31T23:50:00", "--per-second", "25"]

RANK1, RANK2, RANK3 = "price < 10000", "price BETWEEN 10000 AND 999999", "price >= 1000000"
RANKS = ", ".join(f"count(CASE WHEN {rank} THEN 1 END)" for rank in (RANK1, RANK2, RANK3))
WHO_AND_WHAT = ", ".join(f"count(DISTINCT CASE WHEN {rank} THEN {column} END)" for column in ("bidder", "auction")
                         for rank in ("true", RANK1, RANK2, RANK3))
TEN_SECONDS = "make_timestamp(epoch_us({}) // 10000000 * 10000000)"
DAY = "date_trunc('day', date_time)"
PLACE = "date_time, part, off"
HOPS = """SELECT make_timestamp(s * 2000000) AS window_start,
    make_timestamp(s * 2000000 + 10000000) AS window_end, auction, count(*) AS bids
  FROM (SELECT auction, unnest(range(epoch_us(date_time) // 2000000 - 4, epoch_us(date_time) // 2000000 + 1)) AS s FROM bid)
  GROUP BY ALL"""

ROWS = {
    "q0": "SELECT auction, bidder, price, channel, url, date_time, extra FROM bid",
    "q1": "SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bid",
    "q2": "SELECT auction, price FROM bid WHERE auction % 123 = 0",
    "q10": "SELECT auction, bidder, price, channel, url, date_time, extra, CAST(date_time AS DATE) AS date_time_date FROM bid",
    "q13": "SELECT auction, bidder, price, date_time, 'value ' || auction % 100 AS value FROM bid",
    "q14": """SELECT auction, bidder, 0.908 * price AS price,
        CASE WHEN date_part('hour', date_time) IN (8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18) THEN 'dayTime'
             WHEN date_part('hour', date_time) IN (7, 19) THEN 'otherTime' ELSE 'nightTime' END AS bid_time_type,
        date_time, extra, len(list_filter(string_split(extra, ''), lambda letter: letter = 'c')) AS c_counts
      FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000""",
    "q21": """SELECT * FROM (SELECT auction, bidder, price, channel,
        coalesce(MAP {'Apple': '0', 'Google': '1', 'Facebook': '2', 'Baidu': '3'}[channel],
                 CASE WHEN contains(url, '&channel_id=') THEN string_split(url, '&channel_id=')[2] END) AS channel_id FROM bid)
      WHERE channel_id IS NOT NULL""",
    "q22": """SELECT auction, bidder, price, channel, parts[4] AS dir1, parts[5] AS dir2, parts[6] AS dir3
      FROM (SELECT *, string_split(url, '/') AS parts FROM bid)""",
}
AGGREGATES = {
    "q5_bids": HOPS,
    "q5": f"""SELECT window_start, any_value(window_end), max(auction), any_value(bids)
      FROM (SELECT *, rank() OVER (PARTITION BY window_start ORDER BY bids DESC) AS place FROM ({HOPS})) WHERE place = 1 GROUP BY window_start""",
    "q7": f"""SELECT window_start, price, auction, bidder
      FROM (SELECT *, row_number() OVER (PARTITION BY window_start ORDER BY price DESC, {PLACE}) AS place
            FROM (SELECT *, {TEN_SECONDS.format("date_time")} AS window_start FROM bid)) WHERE place = 1""",
    "q11": """SELECT min(date_time), max(date_time) + INTERVAL 10 SECOND, bidder, count(*)
      FROM (SELECT *, count(*) FILTER (WHERE before IS NULL OR date_time - before >= INTERVAL 10 SECOND) OVER (
              PARTITION BY bidder ORDER BY date_time ROWS UNBOUNDED PRECEDING) AS session
            FROM (SELECT *, lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time) AS before FROM bid))
      GROUP BY bidder, session""",
    "q12": f"SELECT {TEN_SECONDS.format('arrived')}, bidder, count(*) FROM bid GROUP BY ALL",
    "q15": f"SELECT {DAY}, count(*), {RANKS}, {WHO_AND_WHAT} FROM bid GROUP BY ALL",
    "q16": f"""SELECT {DAY}, channel, strftime(max(date_time), '%H:%M'), count(*), {RANKS}, {WHO_AND_WHAT}
      FROM bid GROUP BY {DAY}, channel""",
    "q17": f"SELECT {DAY}, auction, count(*), {RANKS}, min(price), max(price), avg(price), sum(price) FROM bid GROUP BY {DAY}, auction",
    "q18": f"""SELECT bidder, auction, price, channel, url, date_time
      FROM (SELECT *, row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC, part, off) AS place FROM bid)
      WHERE place = 1""",
}


def generated(*arguments):
    return subprocess.run([sys.executable, EXAMPLE / "generator.py", *arguments], capture_output=True, text=True, check=True).stdout


def send(broker, events):
    """Each partition in the order of `events`, with the time of the log that they say."""
    producer = Producer({"bootstrap.servers": broker.address, "enable.idempotence": True, "linger.ms": 5})
    failures = []
    for event in events:
        producer.produce("nexmark", event["line"], partition=event["part"], timestamp=event["arrived_ms"],
                         on_delivery=lambda error, _: error and failures.append(error))
        producer.poll(0)
    claim(producer.flush(30) == 0 and not failures, "everything is in the log", failures[:3])


def as_duckdb_has_it(events):
    """A table `bid`, with each bid's place in the log, read from the JSON by DuckDB; times are those of UTC."""
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    file = FOLDER / "events.ndjson"
    file.write_text("".join(json.dumps({**event, "event": json.loads(event["line"])}) + "\n" for event in events))
    database.execute(f"""CREATE TABLE bid AS
        SELECT unnest(event.bid), event.date_time AS date_time, part, off, make_timestamp(arrived_ms * 1000) AS arrived
        FROM read_json('{file}', format = 'newline_delimited', columns = {{
          event: 'STRUCT(event_type VARCHAR, date_time TIMESTAMP, bid STRUCT(auction BIGINT, bidder BIGINT, price BIGINT,
                  channel VARCHAR, url VARCHAR, extra VARCHAR))', part: 'BIGINT', off: 'BIGINT', arrived_ms: 'BIGINT'}})
        WHERE event.event_type = 'bid'""")
    return database


def examples_of(database, rows):
    """A few rows, as text: Python's duckdb needs one more package for times with a zone."""
    return database.execute(f"SELECT COLUMNS(*)::VARCHAR FROM ({rows}) LIMIT 3").fetchall()


def compare_rows(database, name):
    got = DeltaTable(FOLDER / "lake" / name).to_pyarrow_table()
    database.register("got", got)
    columns = [column[0] for column in database.execute(f"DESCRIBE {ROWS[name]}").fetchall()]
    listed = ", ".join(columns)
    count = database.execute(f"SELECT count(*) FROM ({ROWS[name]})").fetchone()[0]
    claim(got.num_rows == count > 0, f"{name}: as many rows", (got.num_rows, count))
    for one, other, what in [(f"SELECT {listed} FROM got", ROWS[name], "no other row"), (ROWS[name], f"SELECT {listed} FROM got", "every row")]:
        differ = examples_of(database, f"({one}) EXCEPT ALL ({other})")
        claim(not differ, f"{name}: {what}", differ)
    return count


def compare_aggregate(database, name):
    answer = json.loads(millrace("query", name, "-c", "aggregates.yaml", "-o", "json").stdout)
    names, types = zip(*((column["name"], column["type"]) for column in answer["meta"]))
    times = [name for name, type_name in zip(names, types) if type_name.startswith("TIMESTAMP")]
    for row in answer["data"]:
        row.update({name: datetime.datetime.fromisoformat(row[name]).replace(tzinfo=None) for name in times})
    got = sorted(tuple(row[name] for name in names) for row in answer["data"])
    want = sorted(database.execute(AGGREGATES[name]).fetchall())
    claim(want and "errors" not in answer, f"{name}: has a value for each group", answer.get("errors"))
    different = [pair for pair in zip(got, want) if pair[0] != pair[1]]
    claim(got == want, f"{name}: DuckDB's answer", (len(got), len(want), len(different), different[:3]))
    return len(want)


def compare_view(database, name):
    """The partial rows, as deltalake reads them and as `lake view` says to merge them."""
    database.register("partial", DeltaTable(FOLDER / "lake" / name).to_pyarrow_table())
    view = millrace("lake", "view", name, "-c", "aggregates.yaml", "--from", "partial").stdout
    select = view.removeprefix(f"CREATE OR REPLACE VIEW {name} AS").rstrip().rstrip(";")
    differ = examples_of(database, f"({AGGREGATES[name]} EXCEPT ALL {select}) UNION ALL ({select} EXCEPT ALL {AGGREGATES[name]})")
    claim(not differ, f"{name}: merged by DuckDB", differ)


def main():
    for name in ("rows.yaml", "aggregates.yaml"):
        (FOLDER / name).write_text((EXAMPLE / name).read_text())
    (FOLDER / "side_input.csv").write_text(generated("side-input"))
    lines = generated(*GENERATE).splitlines()
    claim(lines == generated(*GENERATE).splitlines() and len(lines) == EVENTS, "the generator gives the same again")
    arrived = datetime.datetime(2026, 1, 1, 0, 30, tzinfo=datetime.timezone.utc).timestamp() * 1000
    events = [{"line": line, "part": number % PARTITIONS, "off": number // PARTITIONS, "arrived_ms": int(arrived) + number * 7}
              for number, line in enumerate(lines)]
    with Broker() as broker:
        broker.create_topic("nexmark", PARTITIONS, {"retention.ms": "-1"})
        environment = {"BROKERS": broker.address}
        for part in (events[:EVENTS // 3], events[EVENTS // 3:]):
            send(broker, part)
            for name in ("rows.yaml", "aggregates.yaml"):
                millrace("run", "-c", name, "--until-end", "--set", "serve.listen=127.0.0.1:0", "--set", "log.level=warn", env=environment)
        for name in ("rows.yaml", "aggregates.yaml"):
            claim("balance" in millrace("audit", "-c", name, env=environment).stdout, f"{name}: the books balance")
    database = as_duckdb_has_it(events)
    claim(database.execute("SELECT count(*) FROM bid").fetchone()[0] == EVENTS * 46 // 50, "46 of 50 are bids")
    print({name: compare_rows(database, name) for name in ROWS}, {name: compare_aggregate(database, name) for name in AGGREGATES})
    for name in ("q5_bids", "q12", "q17"):
        compare_view(database, name)
    end()


main()
