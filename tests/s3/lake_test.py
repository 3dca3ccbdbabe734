#!/usr/bin/env python3
"""Every verb of `millrace lake` on a table in a bucket, beside deltalake; and how a table that is far away is read.

    lake_test.py PATH_OF_millrace
"""
import csv
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import pyarrow
import pyarrow.parquet
from deltalake import DeltaTable, write_deltalake

from s3_server import FaultProxy, Minio

BINARY = sys.argv[1]
TABLE = "s3://lake/tables/trips"
PIPELINE = """version: 1
pipeline: clicks
source:
  embedded: {path: log, partitions: 4}
  topics: [clicks]
decode:
  format: json
  columns: {event_id: string, ts: timestamp, country: string}
event_time: {column: ts}
aggregates:
  - name: clicks_1m
    sql: SELECT window_start, country, count(*) AS views FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
lake: {uri: "s3://lake/prod"}
log: {level: warn}
"""
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


class Lake:
    """`millrace lake`, told by the environment where the store is."""

    def __init__(self, server, endpoint, folder):
        self.folder = folder
        self.environment = {**os.environ, **server.environment(endpoint)}

    def __call__(self, verb, *arguments, code=0):
        done = subprocess.run([BINARY, "lake", verb, *map(str, arguments)], cwd=self.folder, capture_output=True, timeout=500,
                              env=self.environment)
        assert done.returncode == code, f"{verb} {arguments}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, verb, *arguments):
        return json.loads(self(verb, *arguments).stdout)

    def lines(self, verb, *arguments):
        return [json.loads(line) for line in self(verb, *arguments).stdout.splitlines()]


def storage_options(server):
    known = {name: value for name, value in server.environment().items() if value}
    return {**known, "AWS_ALLOW_HTTP": "true", "aws_conditional_put": "etag"}


def rows_of(begin, end):
    return pyarrow.table({"id": pyarrow.array(range(begin, end), pyarrow.int64()),
                          "city": pyarrow.array([f"c{i % 3}, \"x\"" for i in range(begin, end)], pyarrow.string()),
                          "km": pyarrow.array([None if i % 5 == 0 else i / 2 for i in range(begin, end)], pyarrow.float64()),
                          "zone": pyarrow.array([i % 2 for i in range(begin, end)], pyarrow.int32())})


def check_create(lake, options):
    lake("create", TABLE, "--column", "id:long", "--column", "city:string", "--column", "km:double", "--column", "zone:integer",
         "--partition-by", "zone")
    claim(b"already" in lake("create", TABLE, "--column", "id:long", code=1).stderr, "a table is not made twice")
    for i in range(10):
        write_deltalake(TABLE, rows_of(i * 10, i * 10 + 10), mode="append", storage_options=options)
    described = lake.json("describe", TABLE, "-o", "json")
    claim((described["version"], described["rows"], described["files"]) == (10, 100, 20), "describe", described)
    claim(described["partition_by"] == ["zone"] and described["uri"] == TABLE, "describe", described)
    history = lake.lines("history", TABLE, "-o", "json")
    claim([entry["version"] for entry in history] == list(range(10, -1, -1)), "history, newest first", history)
    claim(len(lake.lines("history", TABLE, "-o", "json", "--limit", "3")) == 3, "history --limit")
    files = lake.lines("files", TABLE, "-o", "json")
    claim(len(files) == 20 and sum(f["rows"] for f in files) == 100, "files", files)


def check_read(lake, options):
    want = DeltaTable(TABLE, storage_options=options).to_pyarrow_table().sort_by("id")
    names = want.column_names
    claim(sorted(lake.lines("read", TABLE), key=lambda row: row["id"]) == want.to_pylist(), "read as NDJSON")
    text = list(csv.DictReader(io.StringIO(lake("read", TABLE, "-o", "csv").stdout.decode())))
    claim(sorted((int(row["id"]), row["city"]) for row in text) ==
          list(zip(want["id"].to_pylist(), want["city"].to_pylist())), "read as CSV", text[:2])
    arrow = pyarrow.ipc.open_stream(lake("read", TABLE, "-o", "arrow").stdout).read_all()
    claim(arrow.sort_by("id").select(names).to_pylist() == want.to_pylist(), "read as an Arrow stream")
    parquet = pyarrow.parquet.read_table(io.BytesIO(lake("read", TABLE, "-o", "parquet").stdout))
    claim(parquet.sort_by("id").select(names).to_pylist() == want.to_pylist(), "read as Parquet")

    some = lake.lines("read", TABLE, "--where", "zone = 1 AND id > 90 AND length(city) > 3", "--columns", "id")
    claim(sorted(row["id"] for row in some) == [91, 93, 95, 97, 99] and list(some[0]) == ["id"], "read --where --columns", some)
    claim(len(lake.lines("read", TABLE, "--limit", "7")) == 7, "read --limit")
    claim(len(lake.lines("read", TABLE, "--version", "4")) == 40, "read --version")
    claim(len(lake.lines("read", TABLE, "--timestamp", "now")) == 100, "read --timestamp")
    claim(b"as old" in lake("read", TABLE, "--timestamp", "2020-01-01", code=1).stderr, "read before the table")
    claim(b"s3://lake/nowhere" in lake("read", "s3://lake/nowhere", code=1).stderr, "a missing table is named")


def check_upkeep(lake, server, options):
    before = DeltaTable(TABLE, storage_options=options).to_pyarrow_table().sort_by("id").to_pylist()

    def check_rows(after):
        claim(DeltaTable(TABLE, storage_options=options).to_pyarrow_table().sort_by("id").to_pylist() == before,
              f"deltalake reads the same rows after {after}")

    packed = lake.json("optimize", TABLE)
    claim((packed["files_removed"], packed["files_added"], packed["rows"]) == (20, 2, 100), "optimize", packed)
    check_rows("optimize")
    data_keys = lambda: [key for key in server.keys("lake", "tables/trips/") if "_delta_log" not in key]  # noqa: E731
    claim(len(data_keys()) == 22, "the packed files are still there")
    dry = lake("vacuum", TABLE, "--dry-run", "--retention", "0", "--force").stdout.decode().split()
    claim(len(dry) == 20 and len(data_keys()) == 22, "vacuum --dry-run only names them", dry)
    gone = lake("vacuum", TABLE, "--retention", "0", "--force").stdout.decode().split()
    claim(gone == dry and len(data_keys()) == 2, "vacuum deletes what the dry run named", gone)
    check_rows("vacuum")
    claim(lake.json("checkpoint", TABLE)["version"] == 11, "checkpoint")
    claim(any("_last_checkpoint" in key for key in server.keys("lake", "tables/trips/_delta_log/")), "_last_checkpoint")
    check_rows("checkpoint")
    # The log is younger than a day, which is as fine as its cut gets.
    claim(lake.json("cleanup", TABLE)["files_deleted"] == 0, "cleanup keeps a young log")
    write_deltalake(TABLE, rows_of(100, 110), mode="append", storage_options=options)
    claim(len(lake.lines("read", TABLE)) == 110, "and deltalake goes on")
    for verb in ("optimize", "vacuum", "checkpoint", "cleanup", "describe", "history", "files"):
        missing = lake(verb, "s3://lake/nowhere", code=1)
        claim(b"s3://lake/nowhere" in missing.stderr and missing.stdout == b"", f"{verb} names a missing table", missing)


def check_names_of_the_bucket(lake, server, options):
    """Absolute paths in the log, as Hadoop's clients spell the table's own bucket; and those of another."""
    for name, readable in [("s3", True), ("s3a", True), ("s3n", True), ("s3a-elsewhere", False)]:
        table = f"s3://lake/tables/{name}"
        write_deltalake(table, rows_of(0, 10), storage_options=options)
        [path] = DeltaTable(table, storage_options=options).get_add_actions().column("path").to_pylist()
        commit = f"tables/{name}/_delta_log/{0:020}.json"
        absolute = f"{name}://lake/tables/{name}/{path}" if readable else f"s3a://elsewhere/tables/{path}"
        text = server.get("lake", commit).replace(f'"path":"{path}"'.encode(), f'"path":"{absolute}"'.encode())
        claim(absolute.encode() in text and server.request("PUT", f"/lake/{commit}", body=text)[0] == 200, "the log is edited")
        if readable:
            claim(len(lake.lines("read", table)) == 10, f"{name}:// is the same bucket")
            claim(lake("vacuum", table, "--retention", "0", "--force").stdout == b"", "and its file is no garbage")
        else:
            for verb in [["read"], ["vacuum", "--retention", "0", "--force"]]:
                done = lake(verb[0], table, *verb[1:], code=1)
                claim(absolute.encode() in done.stderr and done.stdout == b"", f"{verb[0]} names a file of another bucket", done)
        claim(f"tables/{name}/{path}" in server.keys("lake", f"tables/{name}/"), "the file is there")


def check_view(lake):
    (lake.folder / "clicks.yaml").write_text(PIPELINE)
    for command in (["simulate", "clickstream", "--count", "100", "--rate", "0", "--to", "embedded:log/clicks"],
                    ["run", "-c", "clicks.yaml", "--until-end"]):
        subprocess.run([BINARY, *command], cwd=lake.folder, env=lake.environment, check=True, capture_output=True, timeout=300)
    for dialect, place in (("duckdb", "delta_scan('s3://lake/prod/clicks_1m')"), ("spark", "delta.`s3://lake/prod/clicks_1m`"),
                           ("trino", "delta.default.clicks_1m")):
        sql = lake("view", "clicks_1m", "-c", "clicks.yaml", "--dialect", dialect).stdout.decode()
        claim(place in sql, f"view for {dialect}", sql)


def check_far_away(server, folder, options):
    """Many commits after a checkpoint and many files, each request slow: as many at once as are worth it, and no more."""
    table = "s3://lake/tables/far"
    for i in range(60):
        write_deltalake(table, rows_of(i, i + 1), mode="append", storage_options=options)
    with FaultProxy(server.endpoint) as proxy:
        lake = Lake(server, proxy.endpoint, folder)
        proxy.delay(0.05)
        claim(lake.json("describe", table, "-o", "json")["rows"] == 60, "60 commits are read")
        claim(4 <= proxy.peak() <= 16, "several at once", proxy.peak())
        lake("checkpoint", table)
        proxy.delay(0.05)
        claim([row["id"] for row in sorted(lake.lines("read", table), key=lambda row: row["id"])] == list(range(60)), "60 files")
        claim(4 <= proxy.peak() <= 17, "several files are opened at once", proxy.peak())
        proxy.delay(0.05)
        claim(len(lake.lines("history", table, "-o", "json", "--limit", "1000")) == 60, "the whole history")
        claim(4 <= proxy.peak() <= 16, "several commits at once", proxy.peak())


def main():
    with Minio() as server, tempfile.TemporaryDirectory(prefix="millrace-lake-") as name:
        server.create_bucket("lake")
        options = storage_options(server)
        lake = Lake(server, server.endpoint, pathlib.Path(name))
        check_create(lake, options)
        check_read(lake, options)
        check_upkeep(lake, server, options)
        check_names_of_the_bucket(lake, server, options)
        check_view(lake)
        check_far_away(server, pathlib.Path(name), options)
    print(f"{passed} passed, 0 failed")


main()
