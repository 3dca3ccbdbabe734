"""Scan and open, side by side: `millrace lake read` against Polars, deltalake and DuckDB on the same table.

usage: scan.py MILLRACE [ROWS]; needs the private Python environment. Prints seconds of wall and CPU, the best of three.
"""
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import textwrap

MILLRACE = sys.argv[1]
ROWS = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000

MAKE = """
import pyarrow as pa, numpy as np, sys
from deltalake import write_deltalake
rows, path = int(sys.argv[2]), sys.argv[1]
rng, part = np.random.default_rng(1), 1_000_000
for begin in range(0, rows, part):
    n = min(part, rows - begin)
    ts = 1_700_000_000_000_000 + (begin + np.arange(n)) * 20_000 + rng.integers(0, 2_000_000, n)
    t = pa.table({
        "ts": pa.array(ts, pa.timestamp("us", "UTC")),
        "user_id": pa.array(rng.integers(0, 1_000_000, n)),
        "country": pa.array(np.array(["DE", "US", "FR", "GB", "JP", "BR", "IN", "CN", "AU", "CA"])[rng.integers(0, 10, n)]),
        "page": pa.array(np.char.add("/products/", rng.integers(0, 200, n).astype(str))),
        "latency_ms": pa.array(rng.random(n) * 1000),
        "amount": pa.array(rng.integers(0, 100_000, n)),
    })
    write_deltalake(path, t, mode="append")
"""
FILTER = "country = 'DE' AND latency_ms > 900"
READERS = {
    "millrace": None,
    "polars": """
import polars, sys
t = polars.scan_delta(sys.argv[1]).filter((polars.col("country") == "DE") & (polars.col("latency_ms") > 900)).select("ts", "user_id", "amount").collect()
print(t.height)
""",
    "deltalake": """
import sys, pyarrow.compute as pc
from deltalake import DeltaTable
t = DeltaTable(sys.argv[1]).to_pyarrow_table(columns=["ts", "user_id", "amount"], filters=(pc.field("country") == "DE") & (pc.field("latency_ms") > 900))
print(t.num_rows)
""",
    "duckdb": """
import duckdb, sys
print(duckdb.sql(f"SELECT ts, user_id, amount FROM read_parquet('{sys.argv[1]}/*.parquet') WHERE country = 'DE' AND latency_ms > 900").to_arrow_table().num_rows)
""",
}


def timed(arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = os.times().elapsed
    out = subprocess.run(arguments, check=True, stdout=subprocess.PIPE).stdout
    wall = os.times().elapsed - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, out


def main():
    with tempfile.TemporaryDirectory() as folder:
        table = str(pathlib.Path(folder, "t"))
        subprocess.run([sys.executable, "-c", MAKE, table, str(ROWS)], check=True)
        print(f"{ROWS:,} rows, 3 of 6 columns where {FILTER}; best of three, start of the process included")
        counts = set()
        for name, script in READERS.items():
            if script is None:
                arguments = [MILLRACE, "lake", "read", table, "--where", FILTER, "--columns", "ts,user_id,amount", "-o", "arrow"]
            else:
                arguments = [sys.executable, "-c", textwrap.dedent(script), table]
            runs = [timed(arguments) for _ in range(3)]
            if script is None:
                import pyarrow

                counts.add(pyarrow.ipc.open_stream(runs[0][2]).read_all().num_rows)
            else:
                counts.add(int(runs[0][2]))
            wall, cpu, _ = min(runs, key=lambda r: r[0])
            print(f"{name:10} wall {wall:6.3f} s   cpu {cpu:6.3f} s")
        assert len(counts) == 1, counts


main()
