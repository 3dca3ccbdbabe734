#!/usr/bin/env python3
"""The embedded log beside RocksDB's own benchmark, db_bench, measured here and now; `make bench` calls this.

Both append records of the same size (a key of 16 bytes, a value of 200, half of it random), and both sync each group of them before they call
it done: db_bench's `fillseq` of as many records with --sync and --batch_size, the log with as many records on their way at a time (bench/log_benchmark.cc), which
it writes as they come. The log also writes for each its place, time and size, and counts; db_bench takes its options from RocksDB.
What the machine's disk makes of a sync is the first line.

Recovery: a process that appends is killed with kill -9 at a random moment, and the log is opened again: how long that takes, and that all that
was acknowledged is there.

Without db_bench (Debian: rocksdb-tools) its lines are left out, and said to be.

    embedded_log.py LOG_BENCHMARK [--seconds 5] [--groups 1,10,100,1000] [--kills 10] [--output build/embedded_log.json]
"""

import argparse
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
VALUE = 200


def children_cpu_s():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def sync_ms(folder):
    """Median of writing 4 KiB to a file and syncing it."""
    times = []
    with open(folder / "sync", "wb") as file:
        for _ in range(200):
            begun = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return sorted(times)[len(times) // 2] * 1e3


def of_log(program, folder, group, seconds):
    done = subprocess.run([program, "append", folder, str(VALUE), str(group), str(seconds)], capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout)


def of_db_bench(folder, group, records):
    before = children_cpu_s()
    done = subprocess.run(["db_bench", "--benchmarks=fillseq", "--sync=1", "--key_size=16", f"--value_size={VALUE}", f"--batch_size={group}",
                           f"--num={records}", f"--db={folder}", "--compression_ratio=0.5", "--histogram=0"],
                          capture_output=True, text=True, timeout=300, check=True)
    found = re.search(r"fillseq\s*:.*?([\d.]+) seconds (\d+) operations", done.stdout)
    assert found, done.stdout + done.stderr
    return {"records": int(found.group(2)), "seconds": float(found.group(1)), "cpu_s": children_cpu_s() - before}


def recover(program, folder, rng):
    """Of one kill: (seconds that opening took, how many records were there, how many had been acknowledged at least)."""
    process = subprocess.Popen([program, "until-killed", folder, str(VALUE), "100"], stdout=subprocess.PIPE, text=True)
    until, acknowledged = time.monotonic() + rng.uniform(0.3, 3), 0
    for line in process.stdout:
        acknowledged = int(line)
        if time.monotonic() > until:
            break
    process.send_signal(signal.SIGKILL)
    for line in process.stdout:  # What it had said before it died.
        acknowledged = int(line) if line.endswith("\n") else acknowledged
    process.wait()
    done = subprocess.run([program, "open", folder, "bench"], capture_output=True, text=True, timeout=120, check=True)
    told = json.loads(done.stdout)
    return told["open_s"], told["records"], acknowledged


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=lambda path: str(pathlib.Path(path).resolve()))
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--groups", type=lambda text: [int(part) for part in text.split(",")], default=[1, 10, 100, 1000])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "embedded_log.json")
    arguments = parser.parse_args()
    rng, results = random.Random(arguments.seed), {"groups": {}}
    has_peer = shutil.which("db_bench") is not None
    if not has_peer:
        print("embedded log: db_bench is not installed (Debian: rocksdb-tools), so there is nothing beside it")
    with tempfile.TemporaryDirectory(prefix="millrace-bench-log-", dir=ROOT / "build") as temporary:
        folder = pathlib.Path(temporary)
        results["sync_ms"] = round(sync_ms(folder), 3)
        print(json.dumps({"sync_ms": results["sync_ms"]}), flush=True)
        for group in arguments.groups:
            told = {"log": of_log(arguments.program, folder / "log", group, arguments.seconds)}
            if has_peer:
                told["db_bench"] = of_db_bench(folder / "db", group, told["log"]["records"])
            row = {name: {"records_per_s": round(one["records"] / one["seconds"]), "cpu_s_per_million": round(one["cpu_s"] / one["records"] * 1e6, 2)}
                   for name, one in told.items()}
            for name in ("log", "db"):
                shutil.rmtree(folder / name, ignore_errors=True)
            results["groups"][group] = row
            print(json.dumps({"group": group, **row}), flush=True)
        opened = [recover(arguments.program, folder / "killed", rng) for _ in range(arguments.kills)]
    lost = [(there, acknowledged) for _, there, acknowledged in opened if there < acknowledged]
    assert not lost, f"records that were acknowledged are gone: {lost} (seed {arguments.seed})"
    results["recovery"] = {"kills": len(opened), "records": opened[-1][1] if opened else 0,
                           "open_ms_median": round(sorted(one[0] for one in opened)[len(opened) // 2] * 1e3, 1),
                           "open_ms_max": round(max(one[0] for one in opened) * 1e3, 1)}
    print(json.dumps({"recovery": results["recovery"]}))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
