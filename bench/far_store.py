"""Reading a table that is far away: `millrace lake` on MinIO behind a proxy that makes every request take 20 ms longer.

usage: far_store.py MILLRACE...; needs the private Python environment. The table has a checkpoint, 1,000 commits after it
and a file for each. Prints wall seconds for each binary, the best of two: describe (replays the log), history of 1,000
commits, and read of all rows.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import pyarrow
import pyarrow.parquet

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "s3"))
from s3_server import FaultProxy, Minio  # noqa: E402

COMMITS = 1000
DELAY_S = 0.02
TABLE = "s3://lake/far"


def seconds(binary, environment, *arguments, lines):
    best = None
    for _ in range(2):
        begun = time.monotonic()
        done = subprocess.run([binary, "lake", *arguments], env=environment, capture_output=True, check=True)
        took = time.monotonic() - begun
        assert len(done.stdout.splitlines()) == lines, done
        best = took if best is None else min(best, took)
    return best


def make(server, folder):
    """Version 0 and its checkpoint by the program, and then a file of one row and the commit that adds it, 1,000 times."""
    table = folder / "far"
    run = lambda *arguments: subprocess.run([sys.argv[1], "lake", *arguments], check=True, capture_output=True)  # noqa: E731
    run("create", str(table), "--column", "id:long")
    run("checkpoint", str(table))
    for i in range(1, COMMITS + 1):
        path = table / f"part-{i:05d}.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"id": [i]}), path)
        add = {"path": path.name, "partitionValues": {}, "size": path.stat().st_size, "modificationTime": i, "dataChange": True,
               "stats": json.dumps({"numRecords": 1, "minValues": {"id": i}, "maxValues": {"id": i}, "nullCount": {"id": 0}})}
        lines = [{"commitInfo": {"timestamp": i, "operation": "WRITE"}}, {"add": add}]
        commit = table / "_delta_log" / f"{i:020d}.json"
        commit.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for path in sorted(p for p in table.rglob("*") if p.is_file()):
        status, body = server.request("PUT", f"/lake/far/{path.relative_to(table)}", body=path.read_bytes())
        assert status == 200, body


def main():
    with Minio() as server, FaultProxy(server.endpoint) as proxy, tempfile.TemporaryDirectory() as name:
        server.create_bucket("lake")
        make(server, pathlib.Path(name))
        environment = {**os.environ, **server.environment(proxy.endpoint)}
        proxy.delay(DELAY_S)
        print(f"{'':50} {'describe':>9} {'history':>9} {'read':>9}", flush=True)
        for binary in sys.argv[1:]:
            describe = seconds(binary, environment, "describe", TABLE, "-o", "json", lines=1)
            history = seconds(binary, environment, "history", TABLE, "--limit", str(COMMITS), "-o", "json", lines=COMMITS)
            read = seconds(binary, environment, "read", TABLE, lines=COMMITS)
            print(f"{binary[-50:]:50} {describe:9.2f} {history:9.2f} {read:9.2f}", flush=True)


main()
