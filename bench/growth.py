"""Opening tables as they grow: `millrace lake describe` against deltalake, on synthetic logs.

usage: growth.py MILLRACE; needs the private Python environment. Each table has a checkpoint with its live files, as many
commits after it as stated, and the log before it cleaned up. Prints wall and CPU seconds and peak memory, the best of three.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import pyarrow as pa
import pyarrow.parquet as pq

MILLRACE = sys.argv[1]
SCHEMA = json.dumps({"type": "struct", "fields": [
    {"name": name, "type": kind, "nullable": True, "metadata": {}}
    for name, kind in [("id", "long"), ("ts", "timestamp"), ("country", "string"), ("page", "string"), ("amount", "decimal(12,2)")]
]})


def add(i):
    stats = json.dumps({
        "numRecords": 1000,
        "minValues": {"id": i * 1000, "ts": "2024-01-01T00:00:00.000Z", "country": "AU", "page": "/products/0", "amount": 0.01},
        "maxValues": {"id": i * 1000 + 999, "ts": "2024-01-01T00:10:00.000Z", "country": "US", "page": "/products/99", "amount": 999.99},
        "nullCount": {"id": 0, "ts": 0, "country": 0, "page": 0, "amount": 0}}, separators=(",", ":"))
    return {"path": f"part-{i:08d}-9f2c4e0a-7d1b-4f63-8a55-3f1b{i:08x}.zstd.parquet", "partitionValues": [], "size": 100_000 + i,
            "modificationTime": 1_700_000_000_000 + i, "dataChange": False, "stats": stats}


def make(path, version, files, commits_after):
    log = pathlib.Path(path, "_delta_log")
    log.mkdir(parents=True)
    text_map = pa.map_(pa.string(), pa.string())
    schema = pa.schema([
        ("txn", pa.struct([("appId", pa.string()), ("version", pa.int64()), ("lastUpdated", pa.int64())])),
        ("add", pa.struct([("path", pa.string()), ("partitionValues", text_map), ("size", pa.int64()),
                           ("modificationTime", pa.int64()), ("dataChange", pa.bool_()), ("stats", pa.string())])),
        ("metaData", pa.struct([("id", pa.string()), ("format", pa.struct([("provider", pa.string()), ("options", text_map)])),
                                ("schemaString", pa.string()), ("partitionColumns", pa.list_(pa.string())),
                                ("configuration", text_map), ("createdTime", pa.int64())])),
        ("protocol", pa.struct([("minReaderVersion", pa.int32()), ("minWriterVersion", pa.int32())])),
    ])
    rows = [{"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
            {"metaData": {"id": "t", "format": {"provider": "parquet", "options": []}, "schemaString": SCHEMA,
                          "partitionColumns": [], "configuration": [], "createdTime": 1}}]
    rows += [{"txn": {"appId": f"app-{p}", "version": version, "lastUpdated": 1}} for p in range(64)]
    rows += [{"add": add(i)} for i in range(files)]
    at = version - commits_after
    pq.write_table(pa.Table.from_pylist(rows, schema), log / f"{at:020d}.checkpoint.parquet", compression="zstd",
                   row_group_size=32_768)
    (log / "_last_checkpoint").write_text(json.dumps({"version": at, "size": len(rows)}))
    for v in range(at, version + 1):
        lines = [{"commitInfo": {"timestamp": v, "operation": "STREAMING UPDATE"}},
                 {"txn": {"appId": "app-0", "version": v, "lastUpdated": 1}}, {"add": {**add(10_000_000 + v), "partitionValues": {}, "dataChange": True}}]
        (log / f"{v:020d}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


def timed(arguments):
    begun = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, arguments
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    with tempfile.TemporaryDirectory() as folder:
        print("the process's start included; empty: a table with nothing in it")
        for name, version, files, after in [("empty", 10, 1, 5), ("100 commits", 100, 50, 50), ("10,000 commits", 10_000, 10_000, 50),
                                            ("1,000,000 commits", 1_000_000, 10_000, 99), ("100,000 files", 200_000, 100_000, 99)]:
            table = str(pathlib.Path(folder, name.replace(" ", "-").replace(",", "")))
            make(table, version, files, after)
            for reader, arguments in [
                ("millrace", [MILLRACE, "lake", "describe", table, "-o", "json"]),
                ("deltalake", [sys.executable, "-c", "import sys; from deltalake import DeltaTable; t = DeltaTable(sys.argv[1]); len(t.file_uris())", table]),
            ]:
                wall, cpu, rss = min(timed(arguments) for _ in range(3))
                print(f"{name:18} {reader:10} wall {wall:6.3f} s   cpu {cpu:6.3f} s   {rss:6.0f} MiB")


main()
