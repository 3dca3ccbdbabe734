"""`millrace lake` against tables that other writers made and change: the rows that it prints are theirs, and what its upkeep
leaves behind is read by them as before.

Usage: lake_verbs_test.py PATH_OF_millrace
"""

import csv
import datetime
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import duckdb
import pyarrow
import pyarrow.parquet
from deltalake import DeltaTable, write_deltalake

MILLRACE = sys.argv[1]
UTC = datetime.timezone.utc
passed = 0


def millrace(*arguments, code=0, cwd=None):
    done = subprocess.run([MILLRACE, *map(str, arguments)], capture_output=True, timeout=300, cwd=cwd)
    assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout[:2000]}\n{done.stderr}"
    return done


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def rows_of(begin, end):
    return pyarrow.table(
        {
            "id": pyarrow.array(range(begin, end), pyarrow.int64()),
            "name": pyarrow.array([None if i % 5 == 2 else f"n{i % 7}, \"q\"" for i in range(begin, end)], pyarrow.string()),
            "price": pyarrow.array([None if i % 6 == 1 else i / 4 for i in range(begin, end)], pyarrow.float64()),
            "ts": pyarrow.array(
                [datetime.datetime(2024, 1, 1, tzinfo=UTC) + datetime.timedelta(hours=i) for i in range(begin, end)],
                pyarrow.timestamp("us", "UTC"),
            ),
            "tags": pyarrow.array([[f"t{i % 3}"] * (i % 3) for i in range(begin, end)], pyarrow.list_(pyarrow.string())),
            "day": pyarrow.array([datetime.date(2024, 1, 1 + i % 3) for i in range(begin, end)], pyarrow.date32()),
        }
    )


def ids(output):
    return sorted(json.loads(line)["id"] for line in output.splitlines())


def check_read(table):
    everything = millrace("lake", "read", table).stdout.decode().splitlines()
    claim(len(everything) == 100, "every row")
    first = next(r for r in map(json.loads, everything) if r["id"] == 4)
    claim(
        first == {"id": 4, "name": 'n4, "q"', "price": 1.0, "ts": "2024-01-01T04:00:00Z", "tags": ["t1"], "day": "2024-01-02"},
        "values as JSON", first)

    text = millrace("lake", "read", table, "-o", "csv", "--columns", "name,id").stdout.decode()
    parsed = list(csv.reader(io.StringIO(text)))
    claim(parsed[0] == ["name", "id"] and len(parsed) == 101 and ['n4, "q"', "4"] in parsed, "CSV quotes", parsed[:3])

    want = DeltaTable(table).to_pyarrow_table().sort_by("id")
    stream = pyarrow.ipc.open_stream(millrace("lake", "read", table, "-o", "arrow").stdout).read_all()
    claim(stream.sort_by("id").select(want.column_names).to_pylist() == want.to_pylist(), "an Arrow stream")
    parquet = pyarrow.parquet.read_table(io.BytesIO(millrace("lake", "read", table, "-o", "parquet").stdout))
    claim(parquet.sort_by("id").select(want.column_names).to_pylist() == want.to_pylist(), "a Parquet file")

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("rows", want)
    for where in [
        "id >= 40 AND id < 43",
        "day = '2024-01-02' AND price > 10",
        "name IS NULL OR id = 3",
        "ts BETWEEN TIMESTAMPTZ '2024-01-02 00:00:00+00' AND '2024-01-02 05:00:00+00'",
        "length(name) > 3 AND id % 10 = 0",
        "id IN (1, 50, 1000)",
        "price < 0",
        "len(tags) = 2",
        "day < DATE '2024-01-02' + INTERVAL 1 DAY",
    ]:
        got = ids(millrace("lake", "read", table, "--where", where).stdout)
        expected = sorted(r[0] for r in connection.execute(f"SELECT id FROM rows WHERE {where}").fetchall())
        claim(got == expected, f"--where {where}", (got, expected))
    got = millrace("lake", "read", table, "--where", "length(name) > 0", "--columns", "price", "--limit", "3").stdout
    claim(len(got.splitlines()) == 3 and b"name" not in got, "a filter's own columns are not printed", got)
    claim(len(millrace("lake", "read", table, "--limit", "7").stdout.splitlines()) == 7, "--limit")
    claim(millrace("lake", "read", table, "--limit", "0", "-o", "csv").stdout.startswith(b"id,name"), "no rows, a header")

    wrong = millrace("lake", "read", table, "--where", "nmae = 'x'", code=1)
    claim(b"did you mean 'name'" in wrong.stderr and wrong.stdout == b"", "a wrong column is answered with the nearest")
    claim(b"idd" in millrace("lake", "read", table, "--columns", "idd", code=1).stderr, "a wrong column is named")


def check_versions(table):
    versions = [len(millrace("lake", "read", table, "--version", v).stdout.splitlines()) for v in range(3)]
    claim(versions == [0, 50, 100], "older versions", versions)
    missing = millrace("lake", "read", table, "--version", "99", code=1)
    claim(b"no version 99" in missing.stderr and missing.stdout == b"", "a version that does not exist", missing.stderr)
    commit = pathlib.Path(table, "_delta_log", "00000000000000000001.json")
    for version in range(3):
        path = commit.with_name(f"{version:020d}.json")
        os.utime(path, (1_700_000_000 + version * 3600,) * 2)
    at = lambda text, **kw: millrace("lake", "read", table, "--timestamp", text, **kw)  # noqa: E731
    claim(len(at("2023-11-14T23:30:00Z").stdout.splitlines()) == 50, "by time")
    claim(b"as old" in at("2020-01-01", code=1).stderr, "before the table")
    claim(b"--timestamp" in at("yesterdayish", code=1).stderr, "a time that is none")


def check_refusals(folder):
    table = str(folder / "refused")
    write_deltalake(table, rows_of(0, 10))
    path = pathlib.Path(table, "_delta_log", "00000000000000000001.json")
    path.write_text('{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["quantum"],"writerFeatures":["quantum"]}}\n')
    for verb in ["read", "describe", "files", "optimize", "vacuum", "checkpoint", "cleanup"]:
        done = millrace("lake", verb, table, code=1)
        claim(b"quantum" in done.stderr and done.stdout == b"", f"{verb} refuses an unknown feature by name", done)
    path.write_text('{"commitInfo":')
    done = millrace("lake", "read", table, code=1)
    claim(b"00000000000000000001.json" in done.stderr and done.stdout == b"", "a broken commit is named", done.stderr)
    path.unlink()
    data = next(pathlib.Path(table).glob("*.parquet"))
    data.rename(data.with_suffix(".away"))
    done = millrace("lake", "read", table, code=1)
    claim(data.name.encode() in done.stderr and done.stdout == b"", "a missing file is named", done.stderr)
    claim(b"nowhere" in millrace("lake", "read", folder / "nowhere", code=1).stderr, "a missing table is named")
    claim(not (folder / "nowhere").exists(), "and not made")


def check_upkeep(folder):
    table = str(folder / "upkeep")
    for i in range(12):
        write_deltalake(table, rows_of(i * 10, i * 10 + 10), mode="append", partition_by=["day"])
    before = DeltaTable(table).to_pyarrow_table().sort_by("id").to_pylist()
    result = json.loads(millrace("lake", "optimize", table).stdout)
    claim(result["files_removed"] == 36 and result["files_added"] == 3 and result["rows"] == 120, "optimize", result)
    claim(DeltaTable(table).to_pyarrow_table().sort_by("id").to_pylist() == before, "deltalake reads the packed rows")
    claim(len(DeltaTable(table).file_uris()) == 3, "three live files")
    millrace("lake", "checkpoint", table)
    claim(pathlib.Path(table, "_delta_log", "_last_checkpoint").exists(), "a checkpoint")

    orphan = pathlib.Path(table, "orphan.parquet")
    orphan.write_bytes(b"x")
    os.utime(orphan, (1_600_000_000,) * 2)
    dry = millrace("lake", "vacuum", table, "--dry-run")
    claim(dry.stdout == b"orphan.parquet\n" and orphan.exists(), "a dry run deletes nothing", dry)
    claim(b"--force" in millrace("lake", "vacuum", table, "--retention", "0", code=1).stderr, "a short retention needs a word")
    millrace("lake", "vacuum", table)
    claim(not orphan.exists(), "vacuum")
    files = len(list(pathlib.Path(table).glob("day=*/*.parquet")))
    millrace("lake", "vacuum", table, "--retention", "0", "--force")
    claim(files == 39 and len(list(pathlib.Path(table).glob("day=*/*.parquet"))) == 3, "only live files are left", files)
    claim(DeltaTable(table).to_pyarrow_table().sort_by("id").to_pylist() == before, "and every row")

    for commit in pathlib.Path(table, "_delta_log").glob("*.json"):
        os.utime(commit, (1_600_000_000,) * 2)
    claim(b"--force" in millrace("lake", "cleanup", table, "--retention", "1h", code=1).stderr, "so does a short memory")
    cleaned = json.loads(millrace("lake", "cleanup", table).stdout)
    claim(cleaned["files_deleted"] > 10, "cleanup", cleaned)
    claim(DeltaTable(table).to_pyarrow_table().sort_by("id").to_pylist() == before, "and every row is still there")
    write_deltalake(table, rows_of(120, 130), mode="append", partition_by=["day"])
    claim(len(millrace("lake", "read", table).stdout.splitlines()) == 130, "and it goes on")


def check_deletes(folder):
    """deltalake rewrites files at a DELETE; column and schema changes by it are read, too."""
    table = str(folder / "deleted")
    write_deltalake(table, rows_of(0, 100))
    DeltaTable(table).delete("id % 3 = 0")
    claim(ids(millrace("lake", "read", table).stdout) == [i for i in range(100) if i % 3 != 0], "after a DELETE")
    millrace("lake", "optimize", table)
    claim(DeltaTable(table).to_pyarrow_table().num_rows == 66, "and packed")


def check_create(folder):
    table = str(folder / "made")
    millrace("lake", "create", table, "--column", "id:long", "--column", "name:string", "--column", "price:double", "--column",
             "ts:timestamp", "--column", "day:date", "--not-null", "id", "--partition-by", "day", "--property",
             "delta.appendOnly=true")
    made = DeltaTable(table)
    claim(made.metadata().partition_columns == ["day"] and made.metadata().configuration == {"delta.appendOnly": "true"},
          "create", made.metadata())
    claim(not made.schema().fields[0].nullable and made.schema().fields[1].nullable, "nullability")
    write_deltalake(table, rows_of(0, 10).drop_columns(["tags"]).cast(pyarrow.schema(
        [pyarrow.field("id", pyarrow.int64(), False), ("name", pyarrow.string()), ("price", pyarrow.float64()),
         ("ts", pyarrow.timestamp("us", "UTC")), ("day", pyarrow.date32())])), mode="append")
    claim(len(millrace("lake", "read", table).stdout.splitlines()) == 10, "deltalake appends to it")
    claim(b"already" in millrace("lake", "create", table, "--column", "id:long", code=1).stderr, "not twice")
    claim(b"spatula" in millrace("lake", "create", folder / "bad", "--column", "x:spatula", code=1).stderr, "a wrong type")
    described = json.loads(millrace("lake", "describe", table, "-o", "json").stdout)
    claim(described["rows"] == 10 and described["properties"] == {"delta.appendOnly": "true"}, "describe", described)
    files = [json.loads(line) for line in millrace("lake", "files", table, "-o", "json").stdout.splitlines()]
    claim(sum(f["rows"] for f in files) == 10 and {f["partition"]["day"] for f in files} ==
          {"2024-01-01", "2024-01-02", "2024-01-03"}, "files", files)


PIPELINE = """version: 1
pipeline: clicks
source:
  embedded: {path: log, partitions: 4}
  topics: [clicks]
decode:
  format: json
  columns: {event_id: string, ts: timestamp, country: string, amount: "decimal(12,2)"}
event_time: {column: ts}
tables: [{name: clicks}]
aggregates:
  - name: clicks_1m
    sql: SELECT window_start, country, count(*) AS views, sum(amount) AS revenue, avg(amount) AS mean, max(event_id) AS last FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
lake: {uri: lake}
log: {level: warn}
"""


def check_view(folder):
    (folder / "clicks.yaml").write_text(PIPELINE)
    for _ in range(3):
        millrace("simulate", "clickstream", "--count", "2000", "--rate", "0", "--to", "embedded:log/clicks", cwd=folder)
        millrace("run", "-c", "clicks.yaml", "--until-end", cwd=folder)
    files = ",".join(f"'{uri.removeprefix('file://')}'" for uri in DeltaTable(str(folder / "lake" / "clicks_1m")).file_uris())
    sql = millrace("lake", "view", "clicks_1m", "-c", "clicks.yaml", "--from", f"read_parquet([{files}])", cwd=folder).stdout.decode()
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(sql)
    got = connection.execute("SELECT country, sum(views)::BIGINT, sum(revenue), max(last) FROM clicks_1m GROUP BY ALL ORDER BY ALL").fetchall()
    raw = ",".join(f"'{uri.removeprefix('file://')}'" for uri in DeltaTable(str(folder / "lake" / "clicks")).file_uris())
    want = connection.execute(f"SELECT country, count(*), sum(amount), max(event_id) FROM read_parquet([{raw}]) GROUP BY ALL ORDER BY ALL").fetchall()
    claim(got == want, "the view merges the partial rows", (got[:3], want[:3]))
    means = connection.execute(f"""SELECT max(abs(v.mean - r.mean)) FROM clicks_1m v JOIN (SELECT time_bucket(INTERVAL 1 MINUTE, ts)
        AS window_start, country, avg(amount) AS mean FROM read_parquet([{raw}]) GROUP BY ALL) r
        ON v.window_start = r.window_start AND v.country IS NOT DISTINCT FROM r.country""").fetchone()[0]
    claim(means is not None and means < 1e-9, "averages", means)
    for dialect, word in [("spark", "delta.`file://"), ("trino", "delta.default.clicks_1m")]:
        text = millrace("lake", "view", "clicks_1m", "-c", "clicks.yaml", "--dialect", dialect, cwd=folder).stdout.decode()
        claim(word in text and "millrace_avg" not in text and "HUGEINT" not in text, f"{dialect}'s words", text)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        table = str(folder / "t")
        write_deltalake(table, rows_of(0, 0), partition_by=["day"])
        write_deltalake(table, rows_of(0, 50), mode="append", partition_by=["day"])
        write_deltalake(table, rows_of(50, 100), mode="append", partition_by=["day"])
        check_read(table)
        check_versions(table)
        check_refusals(folder)
        check_upkeep(folder)
        check_deletes(folder)
        check_create(folder)
        check_view(folder)
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
