#!/usr/bin/env python3
"""A table that has grown: opening it, committing to it, answering from it; and deltalake opening the same one.

    growth.py [--binary PATH_OF_table_growth] [--output FILE]

Tables of 100, 10,000 and 1,000,000 commits and of 100,000 live files, each with a checkpoint and 99 commits after it, on a
local disk. Opening means that the live files are known. Each opening is a process of its own, the least of three counts,
without the start of the process; the same for deltalake, whose peak memory is its process's, with Python. "Parquet" is
what reading the checkpoint's columns with Arrow takes. A commit includes the Parquet file that it adds; an answer is of
the newest windows, once after every commit.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
CASES = [("100 commits", 100, 50), ("10,000 commits", 10_000, 10_000), ("1,000,000 commits", 1_000_000, 10_000),
         ("100,000 files", 200_000, 100_000)]
OPEN_MS_MAX, OPEN_MIB_MAX, TIMES_FASTER_MIN = 1000, 500, 3
DELTALAKE = """
import json, resource, sys, time
from deltalake import DeltaTable
begun = time.perf_counter()
files = len(DeltaTable(sys.argv[1]).file_uris())
print(json.dumps({"files": files, "open_ms": (time.perf_counter() - begun) * 1000,
                  "open_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(binary, table):
    """Opens first, all that changes the table last."""
    theirs = [json.loads(run(sys.executable, "-c", DELTALAKE, table)) for _ in range(3)]
    ours = [json.loads(run(binary, "open", table)) for _ in range(3)]
    if theirs[0]["files"] != ours[0]["files"]:
        raise SystemExit(f"{table}: {ours[0]['files']} files, but deltalake sees {theirs[0]['files']}")
    least = lambda runs: min(runs, key=lambda figures: figures["open_ms"])  # noqa: E731
    return {**least(ours), **json.loads(run(binary, "use", table)), "deltalake": least(theirs)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "build/release/bin/table_growth"))
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build/growth.json")
    arguments = parser.parse_args()
    figures = {}
    print(f"{'Growth':20}{'open':>9}{'memory':>10}{'Parquet':>10}{'commit':>10}{'answer':>10}{'first':>10}"
          f"{'deltalake':>22}{'ratio':>8}")
    for name, commits, files in CASES:
        with tempfile.TemporaryDirectory() as folder:
            run(arguments.binary, "make", folder, str(commits), str(files))
            of = figures[name] = measure(arguments.binary, folder)
        peer = of["deltalake"]
        print(f"{name:20}{of['open_ms']:6.0f} ms{of['open_mib']:6.0f} MiB{of['parquet_ms']:7.0f} ms{of['commit_ms']:7.1f} ms"
              f"{of['answer_ms']:7.2f} ms{of['first_answer_ms']:7.0f} ms{peer['open_ms']:11.0f} ms {peer['open_mib']:3.0f} MiB"
              f"{peer['open_ms'] / of['open_ms']:7.1f}x")
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(figures, indent=1) + "\n")
    worst_ms = max(of["open_ms"] for of in figures.values())
    worst_mib = max(of["open_mib"] for of in figures.values())
    ratio = min(of["deltalake"]["open_ms"] / of["open_ms"] for of in figures.values())
    for what, value, bound, met in [("open, at most ms", worst_ms, OPEN_MS_MAX, worst_ms <= OPEN_MS_MAX),
                                    ("peak memory, at most MiB", worst_mib, OPEN_MIB_MAX, worst_mib <= OPEN_MIB_MAX),
                                    ("times as fast as deltalake, at least", ratio, TIMES_FASTER_MIN,
                                     ratio >= TIMES_FASTER_MIN)]:
        print(f"{what} {bound}: {value:.1f}, {'met' if met else 'NOT met'}")


main()
