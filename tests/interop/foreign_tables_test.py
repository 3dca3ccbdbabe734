"""`millrace lake` on tables as other writers leave them, each a small one that some tool got wrong: what they hold is read, upkeep
keeps it, and nothing is deleted that cannot be placed. And our own tables as Polars reads them, which goes by folders.

Usage: foreign_tables_test.py PATH_OF_millrace PATH_OF_write_table
"""

import csv
import io
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.parse

import polars
import pyarrow
from deltalake import DeltaTable, write_deltalake

from expected_rows import check_rows
from hand_table import OLD, HandTable, map_of, rows

MILLRACE, WRITE_TABLE = sys.argv[1:3]
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def millrace(*arguments, code=0, cwd=None):
    done = subprocess.run([MILLRACE, *map(str, arguments)], capture_output=True, timeout=300, cwd=cwd)
    assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout[:2000]}\n{done.stderr}"
    return done


def read(table, *arguments):
    return [json.loads(line) for line in millrace("lake", "read", table, *arguments).stdout.splitlines()]


def by_id(table, *arguments):
    return sorted(read(table, *arguments), key=lambda row: row["id"])


def check_kept(table, want, what):
    """Read as `want`, also after a vacuum that does find something to delete, and after optimize."""
    claim(by_id(table) == want, f"{what}: read", by_id(table))
    orphan = table / "orphan.parquet"
    orphan.write_bytes(b"x")
    os.utime(orphan, (OLD, OLD))
    gone = millrace("lake", "vacuum", table).stdout
    claim(gone == b"orphan.parquet\n", f"{what}: vacuum deletes nothing that is live", gone)
    claim(by_id(table) == want, f"{what}: read after vacuum", by_id(table))
    millrace("lake", "optimize", table)
    claim(by_id(table) == want, f"{what}: read after optimize", by_id(table))


def maps(folder):
    kinds = {
        "values that are never null": pyarrow.map_(pyarrow.string(), pyarrow.field("value", pyarrow.int64(), nullable=False)),
        "int32 values": pyarrow.map_(pyarrow.string(), pyarrow.int32()),
        "large keys": pyarrow.map_(pyarrow.large_string(), pyarrow.int64()),
    }
    for name, kind in kinds.items():
        values = pyarrow.array([[("a", 1), ("b", 2)], None, []], kind)
        table = HandTable(folder / f"map {name}", {"id": "long", "m": map_of("string", "long")})
        table.add("a.parquet", rows(id=[1, 2, 3], m=values))
        table.add("b.parquet", rows(id=[4], m=pyarrow.array([[("c", 3)]], kind)))
        check_kept(table.commit(), [{"id": 1, "m": {"a": 1, "b": 2}}, {"id": 2, "m": None}, {"id": 3, "m": {}}, {"id": 4, "m": {"c": 3}}],
                   f"map with {name}")


def paths(folder):
    table = folder / "colon"
    for i in (1, 2):
        write_deltalake(table, rows(id=[i], **{"a:b": ["1"]}), mode="append", partition_by=["a:b"])
    paths = DeltaTable(table).get_add_actions().column("path").to_pylist()
    claim(all(path.startswith("a:b=1/") for path in paths), "deltalake leaves the colon as it is", paths)
    for file in table.rglob("*.parquet"):
        os.utime(file, (OLD, OLD))
    check_kept(table, [{"id": 1, "a:b": "1"}, {"id": 2, "a:b": "1"}], "a colon in a column's name")

    for what, path in {"its own path": "file://{here}/{name}/b.parquet", "a link": "file://{here}/link/{name}/b.parquet",
                       "a link, without a host": "file:{here}/link/{name}/b.parquet", "a dot": "./b.parquet"}.items():
        name = f"path {what}"
        (folder / "link").unlink(missing_ok=True)
        (folder / "link").symlink_to(folder)
        path = path.format(here=folder, name=urllib.parse.quote(name))
        table = HandTable(folder / name, {"id": "long"}).add("b.parquet", rows(id=[1]), path=path)
        check_kept(table.add("a.parquet", rows(id=[0])).commit(), [{"id": 0}, {"id": 1}], f"a file by {what}")

    # Somebody else's, or nobody knows whose.
    other = HandTable(folder / "other", {"id": "long"}).add("c.parquet", rows(id=[9])).commit() / "c.parquet"
    for path in [f"file://{other}", "s3a://bucket/t/b.parquet", "../other/c.parquet", f"file://{folder}/away/../other/c.parquet",
                 "%2e%2e/other/c.parquet", "b%zz.parquet"]:
        table = HandTable(folder / f"elsewhere {passed}", {"id": "long"}).add("b.parquet", rows(id=[1]), path=path).commit()
        for verb in ["read", "vacuum"]:
            done = millrace("lake", verb, table, code=1)
            claim(path.encode() in done.stderr and done.stdout == b"", f"{verb} names a file that is elsewhere", done)
        claim((table / "b.parquet").exists() and other.exists(), "and nothing is deleted")


def cases(folder):
    inner = {"type": "struct", "fields": [{"name": "Xx", "type": "long", "nullable": True, "metadata": {}}]}
    table = HandTable(folder / "case", {"id": "long", "UserId": "long", "S": inner})
    table.add("a.parquet", rows(id=[1], UserId=[10], S=[{"Xx": 5}]))
    table.add("b.parquet", rows(ID=[2], userid=[20], s=[{"xX": 6}]), stats={"numRecords": 1, "minValues": {"userid": 20}})
    want = [{"id": 1, "UserId": 10, "S": {"Xx": 5}}, {"id": 2, "UserId": 20, "S": {"Xx": 6}}]
    table = table.commit()
    claim(read(table, "--where", "UserId = 20") == want[1:], "a filter finds the column")
    check_kept(table, want, "columns in another case")
    table = HandTable(folder / "two cases", {"UserId": "long"}).add("a.parquet", rows(UserId=[1], userid=[2])).commit()
    done = millrace("lake", "read", table, code=1)
    claim(b"'UserId'" in done.stderr and b"'userid'" in done.stderr and b"a.parquet" in done.stderr, "which of two is not guessed",
          done.stderr)


def commits(folder):
    for action in [{"newAction": ["x", 1]}, {"newAction": "x"}, {"newAction": 5}, {"commitInfo": "a text"}, {"commitInfo": ["a"]}]:
        table = HandTable(folder / f"action {passed}", {"id": "long"}).add("a.parquet", rows(id=[1])).action(action)
        table = table.add("b.parquet", rows(id=[2])).commit()
        check_kept(table, [{"id": 1}, {"id": 2}], f"{action} is ignored")
        claim(len(millrace("lake", "history", table, "-o", "json").stdout.splitlines()) == 2, "and the history is told")
    table = HandTable(folder / "mark", {"id": "long"}).add("a.parquet", rows(id=[1])).add("b.parquet", rows(id=[2]))
    check_kept(table.commit(before=b"\xef\xbb\xbf"), [{"id": 1}, {"id": 2}], "a byte order mark before a commit")


def warnings(folder):
    table = HandTable(folder / "warned", {"id": "long"}).add("a.parquet", rows(id=[1])).commit()
    (table / "_delta_log" / "_last_checkpoint").write_text('{"version":77,"size":1}')
    for verb in ["read", "describe", "files", "history", "optimize", "vacuum"]:
        done = millrace("lake", verb, table)
        claim(b"_last_checkpoint" in done.stderr and b"_last_checkpoint" not in done.stdout, f"{verb} warns on standard error", done)
    claim(read(table) == [{"id": 1}], "and only rows are on standard output")


def statistics(folder):
    moment = pyarrow.array([-3786825147000000], pyarrow.timestamp("us", "UTC"))  # 1850-01-01T00:07:33Z, in Berlin.
    stats = {"numRecords": 1, "minValues": {"ts": "1850-01-01T01:01:01.000+00:53"}, "maxValues": {"ts": "1850-01-01T01:01:01.000+00:53"}}
    table = HandTable(folder / "offset", {"ts": "timestamp"}).add("a.parquet", rows(ts=moment), stats=stats).commit()
    found = read(table, "--where", "ts = TIMESTAMPTZ '1850-01-01 00:07:33+00'")
    claim(found == [{"ts": "1850-01-01T00:07:33Z"}], "a row whose statistics have lost the seconds of an offset", found)


def intervals(folder):
    for interval in ["30 days", "1 week", "INTERVAL 720 HOURS", "interval 1 day 12 hours", "Interval 90 Minutes 1.5 Seconds"]:
        properties = {"delta.deletedFileRetentionDuration": interval, "delta.logRetentionDuration": interval}
        table = HandTable(folder / f"interval {interval}", {"id": "long"}, properties=properties).add("a.parquet", rows(id=[1])).commit()
        fresh, old = table / "fresh.parquet", table / "old.parquet"
        for file, age in [(fresh, 3600), (old, 31 * 86400)]:
            file.write_bytes(b"x")
            os.utime(file, (OLD + 30 * 86400 - age,) * 2)
        claim(millrace("lake", "vacuum", table).stdout == b"old.parquet\n", f"a retention of {interval}")
        millrace("lake", "cleanup", table)
    table = HandTable(folder / "a month", {"id": "long"}, properties={"delta.deletedFileRetentionDuration": "1 month"})
    done = millrace("lake", "vacuum", table.add("a.parquet", rows(id=[1])).commit(), code=1)
    claim(b"1 month" in done.stderr, "a month is of no length", done.stderr)


def numbers(folder):
    values = [1.5, math.nan, math.inf, -math.inf, None]
    table = HandTable(folder / "numbers", {"id": "long", "d": "double", "f": "float", "l": {"type": "array", "elementType": "double",
                                                                                             "containsNull": True}})
    table.add("a.parquet", rows(id=range(5), d=values, f=pyarrow.array(values, pyarrow.float32()), l=[[value] for value in values]))
    table = table.commit()
    want = [1.5, "nan", "inf", "-inf", None]
    claim(by_id(table) == [{"id": i, "d": v, "f": v, "l": [v]} for i, v in enumerate(want)], "NaN and infinity as NDJSON", read(table))
    text = list(csv.reader(io.StringIO(millrace("lake", "read", table, "-o", "csv", "--columns", "d,f").stdout.decode())))
    claim(text == [["d", "f"]] + [[v, v] for v in ["1.5", "nan", "inf", "-inf", ""]], "and as CSV", text)


def creation(folder):
    columns = ["--column", "a:long", "--column", "b:string", "--column", "c:binary"]
    for what, (arguments, words) in {
        "no such column": (["--not-null", "zz"], ["--not-null zz"]),
        "nearly one": (["--not-null", "A"], ["did you mean 'a'"]),
        "a partition column twice": (["--partition-by", "a", "--partition-by", "a"], ["'a'", "twice"]),
        "no such partition column": (["--partition-by", "zz"], ["'zz'"]),
        "all are partition columns": (["--partition-by", "a,b,c"], ["at least one"]),
        "a column twice": (["--column", "A:long"], ["'A'"]),
        "no boolean": (["--property", "delta.appendOnly=maybe"], ["delta.appendOnly", "'maybe'", "true or false"]),
        "no interval": (["--property", "delta.checkpointInterval=0"], ["delta.checkpointInterval", "'0'", "above 0"]),
        "no time": (["--property", "delta.logRetentionDuration=1 month"], ["delta.logRetentionDuration", "'1 month'", "7 days"]),
        "a feature": (["--property", "delta.enableDeletionVectors=true"], ["delta.enableDeletionVectors", "deletionVectors"]),
        "a property's case": (["--property", "delta.appendonly=true"], ["delta.appendOnly"]),
        "a property twice": (["--property", "x=1", "--property", "x=2"], ["x", "twice"]),
        "no property": (["--property", "x"], ["KEY=VALUE"]),
        "no column of the property": (["--property", "delta.dataSkippingStatsColumns=a,z"], ["'z'"]),
    }.items():
        done = millrace("lake", "create", folder / "not made", *columns, *arguments, code=1)
        claim(all(word in done.stderr.decode() for word in words) and done.stdout == b"", f"create: {what}", done.stderr)
        claim(not (folder / "not made").exists(), f"create: {what}: nothing is made")
    millrace("lake", "create", folder / "not made", "--schema", "{}", "--not-null", "a", code=2)
    millrace("lake", "create", folder / "made", *columns, "--not-null", "a", "--partition-by", "b", "--property",
             "delta.deletedFileRetentionDuration=INTERVAL 720 HOURS", "--property", "delta.appendOnly=TRUE")
    write_deltalake(folder / "made", rows(a=[1], b=["x"], c=[b"y"]).cast(pyarrow.schema(
        [pyarrow.field("a", pyarrow.int64(), False), ("b", pyarrow.string()), ("c", pyarrow.binary())])), mode="append")
    claim(read(folder / "made") == [{"a": 1, "b": "x", "c": "79"}], "a table that is made is a table")


def as_polars_reads_it(table, what):
    """Polars' rows are deltalake's, which goes by the log."""
    want = DeltaTable(table).to_pyarrow_table().to_pylist()
    got = polars.scan_delta(str(table)).collect().to_dicts()
    key = lambda row: json.dumps(row, default=str, sort_keys=True)  # noqa: E731
    claim(sorted(map(key, got)) == sorted(map(key, want)) and want, f"Polars reads {what}", (got[:2], want[:2]))


PIPELINE = """version: 1
pipeline: clicks
source:
  embedded: {path: log, partitions: 4}
  topics: [clicks]
decode:
  format: json
  columns: {event_id: string, ts: timestamp, country: string, page: string}
event_time: {column: ts}
transforms:
  - name: odd
    sql: >
      SELECT event_id, CASE WHEN country = 'US' THEN NULL ELSE 'a/b=' || country || ' % ü:"' END AS p, page FROM input
tables: [{name: odd, from: odd, partition_by: [p]}]
maintenance: {enabled: false}
lake: {uri: lake}
log: {level: warn}
"""


def folders(folder):
    # Each type that can partition a table, one column of it at a time and all at once. No row of these has a NaN.
    columns = ["s", "t", "i8", "i16", "i32", "f", "d", "amount", "huge", "ts", "day"]
    for partition_by in [*columns, ",".join(columns)]:
        table = folder / ("by_" + partition_by.replace(",", "_"))
        done = subprocess.run([WRITE_TABLE, "create", table, partition_by, "12"], capture_output=True)
        claim(done.returncode == 0, "write_table", done.stderr)
        for when in ["as written", "after optimize"]:
            for path in DeltaTable(table).get_add_actions().column("path").to_pylist():
                names = [part.split("=")[0] for part in path.split("/")[:-1]]
                claim(names == sorted(partition_by.split(",")), f"{table.name}: a folder for each column", path)
            check_rows(polars.scan_delta(str(table)).collect().to_dicts(), 0, 48, f"polars, {table.name}, {when}")
            packed = json.loads(millrace("lake", "optimize", table).stdout)
            claim(packed["version"] <= 5, "one commit for all partitions", packed)

    (folder / "clicks.yaml").write_text(PIPELINE)
    for seed in range(3):
        millrace("simulate", "clickstream", "--count", "500", "--rate", "0", "--seed", seed, "--to", "embedded:log/clicks", cwd=folder)
        millrace("run", "-c", "clicks.yaml", "--until-end", cwd=folder)
    table = folder / "lake" / "odd"
    claim(None in DeltaTable(table).to_pyarrow_table().column("p").to_pylist(), "some values are null")
    as_polars_reads_it(table, "what a pipeline writes")
    before = DeltaTable(table).version()
    packed = json.loads(millrace("lake", "optimize", table).stdout)
    claim(packed["files_removed"] > packed["files_added"] > 1 and packed["version"] == before + 1, "optimize is one commit", packed)
    as_polars_reads_it(table, "what optimize has packed")


AGGREGATE = PIPELINE[:PIPELINE.index("transforms:")] + """aggregates:
  - name: clicks_1m
    sql: >
      SELECT window_start, country, sum(CASE WHEN country = 'DE' THEN NULL ELSE length(page) END) AS total
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
lake: {uri: sums}
log: {level: warn}
"""


def columns_of_numbers(folder):
    (folder / "sums.yaml").write_text(AGGREGATE)
    millrace("simulate", "clickstream", "--count", "500", "--rate", "0", "--to", "embedded:log/clicks", cwd=folder)
    millrace("run", "-c", "sums.yaml", "--until-end", cwd=folder)
    text = millrace("query", "clicks_1m", "-c", "sums.yaml", "--step", "0", "--group-by", "country", cwd=folder).stdout.decode()
    lines = text.splitlines()
    claim(any(line.startswith("DE") and line.endswith("NULL") for line in lines), "a sum of nothing", text)
    claim(len({len(line) for line in lines}) == 1, "null does not make a column of numbers one of texts", text)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name).resolve()
        for check in [maps, paths, cases, commits, warnings, statistics, intervals, creation, folders, columns_of_numbers, numbers]:
            check(folder)
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
