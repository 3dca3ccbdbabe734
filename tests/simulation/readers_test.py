"""What a seed's world leaves, read by deltalake and DuckDB: each table has the rows that our reader finds.

Usage: readers_test.py PATH_OF_simulation PATH_OF_DEPENDENCIES SEED...
The worlds have been checked by their own books before; here other readers say what the files mean.
"""

import glob
import pathlib
import subprocess
import sys
import tempfile

import pyarrow
from deltalake import DeltaTable

SIMULATION, DEPENDENCIES, SEEDS = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]

# A process of its own: DuckDB with its Delta extension is another version than that of the other tests.
DUCKDB = """
import glob, sys
import duckdb
extension, = glob.glob(sys.argv[1] + "/**/delta.duckdb_extension", recursive=True)
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
connection.execute(f"LOAD '{extension}'")
for table in sys.argv[2:]:
    header = open(table + ".tsv").readline().rstrip("\\n").split("\\t")
    types = dict((name, kind) for name, kind, *_ in connection.execute(f"DESCRIBE FROM delta_scan('{table}')").fetchall())
    columns = [f'epoch_us("{c}")' if types[c].startswith("TIMESTAMP") else f'"{c}"' for c in header]
    for row in connection.execute(f"SELECT {', '.join(columns)} FROM delta_scan('{table}')").fetchall():
        print(table.rsplit("/", 1)[1], *("null" if v is None else v for v in row), sep="\\t")
"""


def text(value):
    return "null" if value is None else str(value)


def rows_of_deltalake(folder, header):
    """None: the table has deletion vectors, which deltalake does not read."""
    table = DeltaTable(folder)
    if "deletionVectors" in (table.protocol().reader_features or []):
        return None
    columns = []
    for name, column in zip(header, table.to_pyarrow_table(columns=header).select(header).columns, strict=True):
        if pyarrow.types.is_timestamp(column.type):
            column = column.cast(pyarrow.timestamp("us", column.type.tz)).cast(pyarrow.int64())
        columns.append([text(value) for value in column.to_pylist()])
    return sorted(zip(*columns, strict=True))


def rows_of_duckdb(folders):
    done = subprocess.run([sys.executable, "-c", DUCKDB, str(DEPENDENCIES / "duckdb-delta"), *map(str, folders)],
                          capture_output=True, text=True, timeout=300,
                          env={"PYTHONPATH": str(DEPENDENCIES / "duckdb-delta")})
    assert done.returncode == 0, done.stderr
    rows = {folder.name: [] for folder in folders}
    for line in done.stdout.splitlines():
        name, *values = line.split("\t")
        rows[name].append(tuple(values))
    return {name: sorted(values) for name, values in rows.items()}


def check(seed):
    """The number of tables and of rows, and how many tables deltalake has read."""
    with tempfile.TemporaryDirectory(prefix="millrace-worlds-") as lake:
        played = subprocess.run([SIMULATION, "--seed", seed, "--lake", lake], capture_output=True, text=True, timeout=300)
        assert played.returncode == 0, f"seed {seed}: {played.stdout}"
        files = sorted(map(pathlib.Path, glob.glob(lake + "/*.tsv")))
        by_duckdb = rows_of_duckdb([file.with_suffix("") for file in files])
        rows, by_deltalake = 0, 0
        for file in files:
            header, *lines = file.read_text().splitlines()
            wanted = sorted(tuple(line.split("\t")) for line in lines)
            rows += len(wanted)
            assert by_duckdb[file.stem] == wanted, f"seed {seed}: DuckDB reads other rows of {file.stem}"
            found = rows_of_deltalake(str(file.with_suffix("")), header.split("\t"))
            assert found in (None, wanted), f"seed {seed}: deltalake reads other rows of {file.stem}"
            by_deltalake += found is not None
        return len(files), rows, by_deltalake


def main():
    tables, rows, by_deltalake = (sum(each) for each in zip(*map(check, SEEDS), strict=True))
    assert tables >= 3 * len(SEEDS) and rows > 0 and by_deltalake > 0
    print(f"{len(SEEDS)} worlds, {tables} tables, {rows} rows; deltalake has read {by_deltalake} of the tables")


main()
