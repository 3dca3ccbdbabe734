#!/usr/bin/env python3
"""A dedupe horizon of a hundred million keys: peak RSS within limits.memory (1 GiB) plus 128 MiB, and a restart that serves within
10 s. The books are exact, and a record of the very beginning that comes again is known as a repeat.

MILLRACE_DEDUPE_KEYS: another number of keys; limits.memory is then in proportion, and 128 MiB at least.
"""

import json
import os
import re
import subprocess
import sys
import time

from harness import Failure, Workspace, binary, say
from memory import Worker, expect, simulate

KEYS = int(os.environ.get("MILLRACE_DEDUPE_KEYS", "100000000"))
LIMIT_MIB = max(128, 1024 * KEYS // 100_000_000)
PEAK_MIB = LIMIT_MIB + 128
RESTART_SECONDS = 10
AGAIN = 10_000

CONFIG = f"""version: 1
pipeline: clicks
source:
  embedded: {{path: ./log}}
  topics: [clicks]
decode:
  format: json
  columns: {{event_id: string, ts: timestamp}}
event_time: {{column: ts}}
dedupe: {{by: event_id, within: 30d}}
tables: [{{name: clicks}}]
lake: {{uri: ./lake}}
limits: {{memory: {LIMIT_MIB}MiB, disk: 64GiB}}
log: {{level: info}}
"""


def expect_peak(what, worker):
    say(f"{what}: peak RSS {worker.peak_mib:.0f} MiB at limits.memory {LIMIT_MIB} MiB")
    if worker.peak_mib > PEAK_MIB:
        raise Failure(f"{what}: peak RSS {worker.peak_mib:.0f} MiB, at most {PEAK_MIB}")


def books(folder):
    report = json.loads(subprocess.run([binary(), "audit", "-c", "pipeline.yaml", "-o", "json"], cwd=folder, check=True,
                                       capture_output=True, text=True).stdout)
    return next(table for table in report["tables"] if table["name"] == "clicks")


def horizon(folder):
    began = time.monotonic()
    simulate(folder, KEYS, 1000)
    say(f"{KEYS:,} events in {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    worker = Worker(folder, CONFIG, "--until-end")
    worker.end(7200)
    say(f"read in {time.monotonic() - began:.0f} s")
    expect_peak("reading", worker)
    state = [path for path in (folder / "state").rglob("*") if path.is_file()]
    say(f"{sum(path.stat().st_size for path in state) / KEYS:.1f} bytes a key in {len(state)} files")
    if not any(path.name.startswith("run-") for path in state):
        raise Failure("no keys went to the disk: the case is not what it says")
    expect("rows", books(folder)["rows"], KEYS)

    simulate(folder, AGAIN, 1000)  # The same seed: the first events once more.
    began = time.monotonic()
    worker = Worker(folder, CONFIG)
    while not is_ready(worker):
        if time.monotonic() - began > 20 * RESTART_SECONDS:
            raise Failure(f"not ready after {time.monotonic() - began:.0f} s:\n{worker.log()[-2000:]}")
        time.sleep(0.02)
    ready_s = time.monotonic() - began
    while worker.metric("millrace_records_total") < AGAIN or worker.metric("millrace_lag_records") > 0:
        time.sleep(0.05)
    say(f"ready after {ready_s:.1f} s, the new records were judged after {time.monotonic() - began:.1f} s")
    worker.stop()
    if re.search("thrown away|not whole", worker.log()):
        raise Failure(f"the state was of no use:\n{worker.log()[-2000:]}")
    expect_peak("restart", worker)
    if ready_s > RESTART_SECONDS:
        raise Failure(f"ready after {ready_s:.1f} s, at most {RESTART_SECONDS}")
    table = books(folder)
    expect("rows after the restart", table["rows"], KEYS)
    expect("repeats", table["deduplicated"], AGAIN)


def is_ready(worker):
    try:
        return worker.get("/readyz")[0] == 200
    except OSError:
        return False


def main():
    with Workspace("dedupe-horizon") as folder:
        horizon(folder)
    say("the horizon holds")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        say(f"FAILED: {failure}")
        sys.exit(1)
