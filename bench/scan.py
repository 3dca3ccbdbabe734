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
import polars, sys
from deltalake import write_deltalake
rows, path = int(sys.argv[2]), sys.argv[1]
part = 1_000_000
for begin in range(0, rows, part):
    n = min(part, rows - begin)
    drawn = lambda below, seed: polars.int_range(n, eager=True).hash(seed + begin) % below
    t = polars.DataFrame({
        "ts": ((1_700_000_000_000_000 + (begin + polars.int_range(n, eager=True)) * 20_000 + drawn(2_000_000, 1).cast(polars.Int64))
               .cast(polars.Datetime("us", "UTC"))),
        "user_id": drawn(1_000_000, 2).cast(polars.Int64),
        "country": polars.Series(["DE", "US", "FR", "GB", "JP", "BR", "IN", "CN", "AU", "CA"]).gather(drawn(10, 3)),
        "page": polars.select("/products/" + drawn(200, 4).cast(polars.String)).to_series(),
        "latency_ms": drawn(1_000_000, 5).cast(polars.Float64) / 1000,
        "amount": drawn(100_000, 6).cast(polars.Int64),
    })
    write_deltalake(path, t.to_arrow(), mode="append")
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
import os, sys, pyarrow.compute as pc
from deltalake import DeltaTable
wanted = (pc.field("country") == "DE") & (pc.field("latency_ms") > 900)
t = DeltaTable(sys.argv[1]).to_pyarrow_dataset().to_table(columns=["ts", "user_id", "amount"], filter=wanted)
print(t.num_rows, flush=True)
os._exit(0)  # Ending in order, its readers' threads abort the process now and then.
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
