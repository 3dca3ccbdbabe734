"""Spark with Delta Lake's own connector beside us: it reads each kind of table that we write, then appends, packs, deletes,
changes and checkpoints them, and we go on with our transactions kept.

Usage: spark_test.py PATH_OF_write_table PATH_OF_millrace
Expected rows are those of expected_rows.py, or another engine's; what Spark changed must read the same with our program.
"""

import datetime
import glob
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import spark_session  # before anything of pyspark

import duckdb
import pyarrow
import pyarrow.parquet
from deltalake import DeltaTable

from expected_rows import check_rows, expected_row, timestamp_of
from hand_table import HandTable, map_of, rows
from table_properties import (deltalakes_properties, every_property_is_documented, statistics_as_spark_writes_them,
                              values_as_spark_takes_them)

KINDS = {"by_day": "day", "unpartitioned": "", "by_many": "s,t,i8,i16,i32,f,d,amount,huge,ts,day"}
ROWS_PER_COMMIT = {"by_day": 250, "unpartitioned": 100, "by_many": 12}
ALL_COLUMNS = list(expected_row(0))
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def run(*arguments, cwd=None):
    done = subprocess.run([*map(str, arguments)], capture_output=True, timeout=300, cwd=cwd)
    assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout[:2000]}\n{done.stderr}"
    return done.stdout


def write_table(*arguments):
    return run(WRITE_TABLE, *arguments).decode().strip()


def lake(verb, table, *arguments):
    return run(MILLRACE, "lake", verb, table, *arguments)


def commits(table):
    return sorted(glob.glob(f"{table}/_delta_log/{'[0-9]' * 20}.json"))


def as_log_cleanup_would(table):
    """Deletes the commits before the newest checkpoint."""
    checkpoint = max(glob.glob(f"{table}/_delta_log/*.checkpoint*.parquet"))
    version = int(os.path.basename(checkpoint)[:20])
    old = [path for path in commits(table) if int(os.path.basename(path)[:20]) < version]
    for path in old:
        os.remove(path)
    assert old and version > 0, f"{table}: nothing to clean before version {version}"
    return version


def text_of(value):
    """The same for equal values: NaN equals itself, a moment has one time zone, and fields have no order."""
    if isinstance(value, dict):
        return repr(sorted((name, text_of(item)) for name, item in value.items()))
    if isinstance(value, list):
        return repr([text_of(item) for item in value])
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return repr(value.astimezone(datetime.timezone.utc))
    return repr(value)


def sorted_rows(rows):
    """Of rows as dictionaries: comparable with ==."""
    return sorted(text_of(row) for row in rows)


def difference(rows, others):
    """One row of each that the other has not, for a message."""
    rows, others = ({text_of(row): row for row in side} for side in [rows, others])
    return [next((side[text] for text in sorted(side) if text not in other), None) for side, other in [(rows, others), (others, rows)]]


class Spark:
    def __init__(self, folder):
        self.session = spark_session.start(folder)

    def sql(self, text, **names):
        return self.session.sql(text.format(**{name: f"delta.`{path}`" for name, path in names.items()}))

    def table(self, path):
        return self.session.read.format("delta").load(str(path))

    def rows(self, table, where="true"):
        """From the files, as a new process would."""
        spark_session.forget_tables(self.session)
        return spark_session.rows_of(self.sql(f"SELECT * FROM {{t}} WHERE {where}", t=table))

    def files_read(self, table, where):
        """How many data files the scan opens after pruning."""
        frame = self.sql(f"SELECT id FROM {{t}} WHERE {where}", t=table)
        frame.collect()
        leaves = frame._jdf.queryExecution().executedPlan().collectLeaves()
        return leaves.head().metrics().apply("numFiles").value()

    def checkpoint(self, table):
        self.session._jvm.org.apache.spark.sql.delta.DeltaLog.forTable(self.session._jsparkSession, str(table)).checkpoint()


FILTERS = [
    ("id = 37", lambda i, null: i == 37),
    ("i32 = -33 OR i16 = 12", lambda i, null: not null and i in (33, 12)),
    ("s IS NULL", lambda i, null: null),
    ("s = '\"quoted\" straße 18'", lambda i, null: not null and i % 50 == 18),
    (f"uuid = '{expected_row(17)['uuid']}'", lambda i, null: i == 17),
    ("amount = -19.70BD OR amount < -49BD", lambda i, null: not null and (i == 30 or i * 101 - 5000 < -4900)),
    ("huge > 123456789012345678901234.567900", lambda i, null: not null and 890 + i > 900),
    ("day = DATE '2023-12-10'", lambda i, null: i % 2 == 1),
    (f"ts >= TIMESTAMP '{timestamp_of(21):%Y-%m-%d %H:%M:%S.%f}'", lambda i, null: not null and i >= 21),
    # NaN is the greatest double in Spark.
    ("d > 10.0D", lambda i, null: not null and (i % 100 == 50 or i / 3 > 10)),
    ("f < 2.5 AND t", lambda i, null: not null and i < 10 and i % 2 == 0),
    ("i8 = -128", lambda i, null: not null and i % 256 == 0),
    ("b = unhex('00FF35')", lambda i, null: i == 5),
    ("st.x = 5 OR size(list) = 2 AND id < 10", lambda i, null: not null and (i == 5 or i % 3 == 2 and i < 10)),
    ("_topic = 'clicks' AND id < 3", lambda i, null: i < 3),
    ("_topic = 'views'", lambda i, null: False),
]


def check_filters(spark, table, count):
    """All of them in one query, each a scan of its own: it is planning that takes Spark its time."""
    query = " UNION ALL ".join(f"SELECT {n} AS n, id FROM {{t}} WHERE {where}" for n, (where, _) in enumerate(FILTERS))
    found = [[] for _ in FILTERS]
    for row in spark.sql(query, t=table).collect():
        found[row.n].append(row.id)
    for got, (where, keep) in zip(found, FILTERS):
        want = [i for i in range(count) if keep(i, i % 7 == 3)]
        claim(sorted(got) == want, f"{table}: WHERE {where}", (sorted(got)[:20], want[:20], len(got), len(want)))


def spark_reads_what_we_write(spark, folder):
    for name, columns in KINDS.items():
        table, count = folder / name, 4 * ROWS_PER_COMMIT[name]
        write_table("create", table, columns, ROWS_PER_COMMIT[name])
        check_rows(spark.rows(table), 0, count, f"spark, {name}")
        as_log_cleanup_would(table)
        check_rows(spark.rows(table), 0, count, f"spark, {name} from its checkpoint")
        check_filters(spark, table, count)

    # Our statistics are good enough for Spark to leave files out. A commit is a file per day, so ids of one are 2 files.
    claim(spark.files_read(folder / "by_day", "id >= 0") == 8, "a filter that all files pass")
    for where, files in [("id = 999", 1), ("i32 < -800", 2), ("day = DATE '2023-12-10'", 4), ("uuid < '00'", 0)]:
        claim(spark.files_read(folder / "by_day", where) == files, f"files read for {where}")

    # A timestamp as a partition value is the same moment wherever the reader lives.
    spark.session.conf.set("spark.sql.session.timeZone", "America/New_York")
    got = spark.sql("SELECT id, unix_micros(ts) AS us FROM {t} WHERE id IN (0, 40)", t=folder / "by_many").collect()
    spark.session.conf.set("spark.sql.session.timeZone", "UTC")
    claim({row.id: row.us for row in got} == {0: 1_700_000_000_123_456, 40: 1_700_000_040_123_496}, "another time zone", got)


def compare(spark, table, what):
    """All rows, as Spark reads them and as our program does. The number of rows."""
    ours = pyarrow.ipc.open_stream(lake("read", table, "-o", "arrow")).read_all().to_pylist(maps_as_pydicts="strict")
    theirs = spark.rows(table)
    claim(sorted_rows(ours) == sorted_rows(theirs), f"{table}: the same rows after {what}",
          (len(ours), len(theirs), ours[:1], theirs[:1]))
    return len(theirs)


def txn_of(table):
    return json.loads(lake("describe", table, "-o", "json"))["txns"]["interop-0"]


def they_change_and_we_go_on(spark, table):
    columns = ", ".join(f"`{name}`" for name in ALL_COLUMNS if name != "id")

    def append(count):
        before = txn_of(table)
        write_table("append", table, count)
        claim(txn_of(table) == before + count, "our append goes on from our transaction")

    spark.sql("ALTER TABLE {t} SET TBLPROPERTIES ('delta.checkpointInterval' = '3')", t=table)
    spark.sql(f"INSERT INTO {{t}} (id, {columns}) SELECT id + 1000000, {columns} FROM {{t}} WHERE id % 2 = 0", t=table)
    count = compare(spark, table, "Spark's INSERT")
    append(50)
    claim(compare(spark, table, "our append after it") == count + 50, "50 more")

    metrics = spark.sql("OPTIMIZE {t}", t=table).collect()[0].metrics
    claim(metrics.numFilesRemoved > 0, "OPTIMIZE packs our files", metrics)
    claim(compare(spark, table, "OPTIMIZE") == count + 50, "as many rows as before")
    spark.sql("DELETE FROM {t} WHERE id % 5 = 0", t=table)
    spark.sql("UPDATE {t} SET s = 'changed' WHERE id % 5 = 1", t=table)
    count = compare(spark, table, "DELETE and UPDATE")
    append(50)
    claim(compare(spark, table, "our append after them") == count + 50, "50 more")

    # Their checkpoint keeps our transactions, and it is all that is left of what came before.
    theirs = max(glob.glob(f"{table}/_delta_log/*.checkpoint*.parquet"))
    claim(int(os.path.basename(theirs)[:20]) > 4, "Spark wrote checkpoints", os.listdir(table / "_delta_log"))
    before = txn_of(table)
    as_log_cleanup_would(table)
    claim(txn_of(table) == before, "our transaction is in Spark's checkpoint", txn_of(table))
    compare(spark, table, "Spark's checkpoint and a log cleanup")
    append(50)

    # A new column; our writer, which knows nothing of it, goes on, and its rows are null there.
    spark.sql("ALTER TABLE {t} ADD COLUMNS (note STRING)", t=table)
    spark.sql("UPDATE {t} SET note = 'seen' WHERE id < 100", t=table)
    append(50)
    compare(spark, table, "ADD COLUMNS")

    spark.sql("VACUUM {t} RETAIN 0 HOURS", t=table)
    count = compare(spark, table, "VACUUM")

    # Our own upkeep, on a log and beside files that are partly Spark's.
    lake("optimize", table)
    claim(compare(spark, table, "our compaction") == count, "as many rows as before")
    lake("checkpoint", table)
    as_log_cleanup_would(table)
    compare(spark, table, "our checkpoint")
    lake("vacuum", table, "--retention", "0", "--force")
    claim(compare(spark, table, "our vacuum") == count, "as many rows as before")
    spark.sql("INSERT INTO {t} (id, uuid, _topic) VALUES (-1, 'last', 'spark')", t=table)
    append(50)
    claim(compare(spark, table, "the last appends") == count + 51, "51 more")


def properties_that_others_set(spark, folder):
    table = folder / "properties"
    write_table("create", table, "day", 7)
    columns = ", ".join(f"`{name}`" for name in ALL_COLUMNS if name != "id")
    statistics_as_spark_writes_them(spark, table, lambda: write_table("append", table, 7), columns, claim)
    deltalakes_properties(table, WRITE_TABLE, claim)
    compare(spark, table, "changes of properties")
    values_as_spark_takes_them(spark, folder, MILLRACE, claim)
    every_property_is_documented(spark, claim)


def tables_that_spark_makes(spark, folder):
    """Features that Spark turns on by itself or on demand, which our tables do not have."""
    table = folder / "theirs"
    spark.sql("CREATE TABLE {t} (id BIGINT, local TIMESTAMP_NTZ, price DECIMAL(9, 3), day DATE) USING delta PARTITIONED BY (day) "
              "TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')", t=table)
    for part in range(3):
        spark.sql(f"INSERT INTO {{t}} SELECT id, TIMESTAMP_NTZ '2024-01-01 00:00:00.5' + make_dt_interval(0, INT(id)), id / 8BD, "
                  f"DATE '2024-01-01' + INT(id % 2) FROM range({part * 100}, {part * 100 + 100}, 1, 1)", t=table)
    claim(count_as(spark, table) == 300, "timestamps without time zone")
    spark.sql("DELETE FROM {t} WHERE id % 3 = 0", t=table)
    vectors = [line for path in commits(table) for line in open(path) if "deletionVector" in line and '"add"' in line]
    claim(vectors and count_as(spark, table) == 200, "deletion vectors", vectors)
    lake("optimize", table)
    claim(count_as(spark, table) == 200, "packed by us")


def tables_that_others_got_wrong(spark, folder):
    """Read as Spark reads them, which is what foreign_tables_test.py says is right; and so after our optimize."""
    inner = {"type": "struct", "fields": [{"name": "Xx", "type": "long", "nullable": True, "metadata": {}}]}
    tables = {
        "map": HandTable(folder / "map", {"m": map_of("string", "long")}).add("a.parquet", rows(m=pyarrow.array(
            [[("a", 1)], None], pyarrow.map_(pyarrow.string(), pyarrow.field("value", pyarrow.int64(), nullable=False))))),
        "case": HandTable(folder / "case", {"UserId": "long", "S": inner, "É": "string"})
        .add("a.parquet", rows(UserId=[1], S=[{"Xx": 1}])).add("b.parquet", rows(userid=[2], s=[{"xX": 2}], é=["x"])),
        "unknown": HandTable(folder / "unknown", {"id": "long"}).add("a.parquet", rows(id=[1])).action({"newAction": ["x", 1]}),
        "dot": HandTable(folder / "dot", {"id": "long"}).add("b.parquet", rows(id=[1]), path="./b.parquet"),
        "link": HandTable(folder / "linked", {"id": "long"}).add("b.parquet", rows(id=[1]), path=f"file://{folder}/a_link/b.parquet"),
    }
    (folder / "a_link").symlink_to(folder / "linked")
    for what, table in tables.items():
        # A second file, so that there is something to pack.
        table.add("z.parquet", pyarrow.parquet.read_table(next(table.folder.glob("*.parquet"))))
        path = table.commit(before=b"\xef\xbb\xbf" if what == "dot" else b"")
        count = compare(spark, path, f"what another wrote ({what})")
        lake("optimize", path)
        claim(compare(spark, path, f"our optimize ({what})") == count > 1, "as many rows")

    ambiguous = HandTable(folder / "ambiguous", {"UserId": "long"}).add("a.parquet", rows(UserId=[1], userid=[2])).commit()
    try:
        spark.rows(ambiguous)
        refused = False
    except Exception as error:
        refused = "duplicate" in str(error)
    claim(refused, "Spark does not guess which of two columns is meant")


def count_as(spark, table):
    """As compare(), where Spark's times without zone are naive on both sides."""
    ours = pyarrow.ipc.open_stream(lake("read", table, "-o", "arrow")).read_all().to_pylist()
    spark_session.forget_tables(spark.session)
    theirs = [row.asDict() for row in spark.sql("SELECT * FROM {t}", t=table).collect()]
    assert sorted_rows(ours) == sorted_rows(theirs), (ours[:2], theirs[:2])
    return len(theirs)


PIPELINE = """version: 1
pipeline: clicks
source:
  embedded: {path: log}
  topics: [clicks]
decode:
  format: json
  columns: {event_id: string, ts: timestamp, country: string, amount: "decimal(12,2)", user_id: int64}
event_time: {column: ts}
tables: [{name: clicks, partition_by: ["date(ts)"]}]
aggregates:
  - name: clicks_1m
    sql: >
      SELECT window_start, country, count(*) AS views, count(amount) AS sales, sum(amount) AS revenue, sum(user_id) AS ids,
        avg(amount) AS mean, min(ts) AS first, max(event_id) AS last, replace(max(country), 'D', 'it''s \\ a ') AS quoted
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
lake: {uri: lake}
log: {level: warn}
"""


def what_a_pipeline_writes(spark, folder):
    (folder / "clicks.yaml").write_text(PIPELINE)
    for seed in range(3):
        run(MILLRACE, "simulate", "clickstream", "--count", 2000, "--rate", 0, "--malformed", "2%", "--seed", seed, "--to",
            "embedded:log/clicks", cwd=folder)
        run(MILLRACE, "run", "-c", "clicks.yaml", "--until-end", cwd=folder)
    for table in sorted((folder / "lake").iterdir()):
        want = DeltaTable(table).to_pyarrow_table().to_pylist()
        got = spark.rows(table)
        claim(want and sorted_rows(got) == sorted_rows(want), f"{table.name}: rows as deltalake reads them",
              (len(got), len(want), difference(got, want)))

    # The view that merges partial rows, in Spark's words and in DuckDB's, and the same question to the rows themselves.
    view = run(MILLRACE, "lake", "view", "clicks_1m", "-c", "clicks.yaml", "--dialect", "spark", cwd=folder).decode()
    spark.session.sql(view)
    spark_rows = spark_session.rows_of(spark.session.sql("SELECT * FROM clicks_1m"))
    files = ", ".join(f"'{uri.removeprefix('file://')}'" for uri in DeltaTable(folder / "lake" / "clicks_1m").file_uris())
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(run(MILLRACE, "lake", "view", "clicks_1m", "-c", "clicks.yaml", "--from", f"read_parquet([{files}])",
                           cwd=folder).decode())
    duckdb_rows = connection.execute("SELECT * REPLACE (ids::DECIMAL(38,0) AS ids) FROM clicks_1m").to_arrow_table()
    claim(sorted_rows(spark_rows) == sorted_rows(duckdb_rows.to_pylist()), "the view says in Spark what it says in DuckDB",
          difference(spark_rows, duckdb_rows.to_pylist()))
    [counted] = spark.session.sql("SELECT sum(views) AS views, sum(revenue) AS revenue FROM clicks_1m").collect()
    [raw] = spark.sql("SELECT count(*) AS views, sum(amount) AS revenue FROM {t}", t=folder / "lake" / "clicks").collect()
    claim(counted == raw, "the aggregate's rows add up to the table of events", (counted, raw))


def main():
    global WRITE_TABLE, MILLRACE
    WRITE_TABLE, MILLRACE = sys.argv[1:3]
    started = time.monotonic()
    said = lambda what: print(f"[{time.monotonic() - started:5.1f}] {what}", flush=True)  # noqa: E731
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        spark = Spark(folder)
        try:
            spark_reads_what_we_write(spark, folder)
            said("Spark reads our tables")
            they_change_and_we_go_on(spark, folder / "by_day")
            said("Spark and we take turns")
            properties_that_others_set(spark, folder)
            said("properties that others set")
            tables_that_spark_makes(spark, folder)
            said("tables that Spark makes")
            tables_that_others_got_wrong(spark, folder)
            said("tables that others got wrong")
            what_a_pipeline_writes(spark, folder)
            said("what a pipeline writes")
        finally:
            spark.session.stop()
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
