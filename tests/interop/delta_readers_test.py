"""What our code writes, read by deltalake, DuckDB and Polars; what deltalake writes, continued by our code.

Usage: delta_readers_test.py PATH_OF_write_table
The expected rows are those of expected_rows.py, so no reader is the judge of another.
"""

import datetime
import decimal
import glob
import os
import subprocess
import sys
import tempfile

import duckdb
import polars
import pyarrow
import pyarrow.compute
from deltalake import DeltaTable, write_deltalake

from expected_rows import check_rows, expected_row, timestamp_of

WRITE_TABLE = sys.argv[1]


def run(*args):
    done = subprocess.run([WRITE_TABLE, *args], capture_output=True, text=True)
    assert done.returncode == 0, f"{args}: {done.stderr}"
    return done.stdout.strip()


def add_actions(table):
    return pyarrow.table(table.get_add_actions(flatten=True)).to_pydict()


def live_files(table, path):
    return [os.path.join(path, p) for p in add_actions(table)["path"]]


def check_readers(path, count):
    table = DeltaTable(path)
    check_rows(table.to_pyarrow_table().to_pylist(), 0, count, "deltalake")

    # Filters make readers use the statistics. NaN in d: its bounds must not hide rows.
    scan = polars.scan_delta(path)
    check_rows(scan.collect().to_dicts(), 0, count, "polars")
    after = timestamp_of(2500)
    got = scan.filter(polars.col("ts") >= after).select("id").collect()["id"].to_list()
    assert sorted(got) == [i for i in range(2500, count) if i % 7 != 3], "polars: filter on ts"
    got = scan.filter(polars.col("d") > 900.0).select("id").collect()["id"].to_list()
    want = [i for i in range(count) if i % 7 != 3 and (i % 100 == 50 or i / 3 > 900)]
    assert sorted(got) == want, "polars: filter on d"
    dataset = table.to_pyarrow_dataset()
    for column, value, predicate in [
        ("id", 3999, lambda i: i == 3999),
        ("amount", decimal.Decimal("2.75"), lambda i: i % 7 != 3 and i * 101 - 5000 == 275),
        ("uuid", expected_row(17)["uuid"], lambda i: i == 17),
        ("day", datetime.date(1970, 1, 1) + datetime.timedelta(days=19_701), lambda i: i % 2 == 1),
        ("i32", -1234, lambda i: i % 7 != 3 and i == 1234),
    ]:
        got = dataset.to_table(filter=pyarrow.compute.field(column) == value).column("id").to_pylist()
        assert sorted(got) == [i for i in range(count) if predicate(i)], f"deltalake: filter on {column}"

    # DuckDB reads the live files themselves: encodings, types and Parquet statistics.
    files = live_files(table, path)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    count_, total, low = connection.execute(
        "SELECT count(*), sum(id), count(*) FILTER (WHERE amount = 2.75) FROM read_parquet(?, hive_partitioning = true)",
        [files],
    ).fetchone()
    assert (count_, total) == (count, sum(range(count))), "duckdb: count and sum"
    rows = connection.execute(
        "SELECT * FROM read_parquet(?, hive_partitioning = true) WHERE id >= 1500 AND id < 1600", [files]
    ).to_arrow_table()
    check_rows(rows.to_pylist(), 1500, 1600, "duckdb")
    types = dict(zip(rows.column_names, [str(t) for t in rows.schema.types]))
    assert types["amount"] == "decimal128(12, 2)" and types["ts"].startswith("timestamp[us, tz="), types


def check_statistics(path, count):
    adds = add_actions(DeltaTable(path))
    assert sum(adds["num_records"]) == count
    for i, size in enumerate(adds["size_bytes"]):
        assert size == os.path.getsize(os.path.join(path, adds["path"][i]))
    assert min(adds["min.id"]) == 0 and max(adds["max.id"]) == count - 1
    # NaN is in the files of even rows only.
    for day, low in zip(adds["partition.day"], adds["min.d"]):
        assert (low is None) == (day == expected_row(0)["day"]), "a column with NaN has no bounds, one without has"


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "table")
        run("create", path)
        assert run("show", path) == "version=4 files=8 rows=4000 sum=7998000 txn=3999"
        check_readers(path, 4000)
        check_statistics(path, 4000)
        table = DeltaTable(path)
        assert table.version() == 4
        assert table.protocol().min_reader_version == 1 and table.protocol().min_writer_version == 2
        assert table.transaction_version("interop-0") == 3999
        info = table.history(1)[0]
        assert info["operation"] == "STREAMING UPDATE" and info["txnId"], info

        # Our checkpoint alone, without any JSON, is a whole table.
        hidden = os.path.join(folder, "hidden")
        os.mkdir(hidden)
        commits = sorted(glob.glob(os.path.join(path, "_delta_log", "*.json")))
        for commit in commits:
            os.rename(commit, os.path.join(hidden, os.path.basename(commit)))
        table = DeltaTable(path)
        assert table.version() == 4 and table.transaction_version("interop-0") == 3999
        check_rows(table.to_pyarrow_table().to_pylist(), 0, 4000, "deltalake from the checkpoint")
        assert run("show", path) == "version=4 files=8 rows=4000 sum=7998000 txn=3999"
        for commit in commits:
            os.rename(os.path.join(hidden, os.path.basename(commit)), commit)

        # deltalake appends, compacts and writes a checkpoint; we go on, with our transaction kept.
        batch = DeltaTable(path).to_pyarrow_table().slice(0, 10)
        write_deltalake(path, batch, mode="append")
        run("append", path, "500")
        extra = sum(batch.column("id").to_pylist())
        assert run("show", path).endswith(f"rows=4510 sum={sum(range(4500)) + extra} txn=4499")
        table = DeltaTable(path)
        metrics = table.optimize.compact()
        assert metrics["numFilesRemoved"] > 0, metrics
        table.create_checkpoint()
        for commit in glob.glob(os.path.join(path, "_delta_log", "*.json")):
            if int(os.path.basename(commit)[:20]) < table.version():
                os.remove(commit)
        run("append", path, "500")
        shown = run("show", path)
        assert shown.endswith(f"rows=5010 sum={sum(range(5000)) + extra} txn=4999"), shown
        table = DeltaTable(path)
        assert table.transaction_version("interop-0") == 4999
        assert table.to_pyarrow_table().num_rows == 5010

        # A retention of transactions on the table: we refuse to write rather than lose offsets.
        table.alter.set_table_properties({"delta.setTransactionRetentionDuration": "interval 1 days"})
        done = subprocess.run([WRITE_TABLE, "append", path, "1"], capture_output=True, text=True)
        assert done.returncode == 1 and "setTransactionRetentionDuration" in done.stderr, done.stderr
    print("delta_readers_test: deltalake, duckdb and polars agree")


if __name__ == "__main__":
    main()
