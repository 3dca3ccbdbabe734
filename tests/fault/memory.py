#!/usr/bin/env python3
"""What a worker takes, against what it was given: peak RSS at limits.memory 128 MiB, and descriptors under a small ulimit -n.

    memory.py [NAME...]     all cases, or those whose names contain one of the words

Each case reads a log of clickstream events to its end with the real program and prints its peak. Nothing is killed here; the
books are checked all the same, because a limit that loses rows is none.
"""

import os
import pathlib
import re
import resource
import subprocess
import sys
import time
import traceback

from deltalake import DeltaTable

import harness
from harness import Failure, Workspace, binary, say

LIMIT_MIB = 128
PEAK_MIB = 256
EVENTS = 2_000_000
DESCRIPTORS = 256

SOURCE = """version: 1
pipeline: clicks
source:
  embedded: {path: ./log}
  topics: [clicks]
decode:
  format: json
  columns: {event_id: string, ts: timestamp, device_id: string, country: string, page: string, amount: "decimal(12,2)"}
event_time: {column: ts}
lake: {uri: ./lake}
"""
LIMITS = f"limits: {{memory: {LIMIT_MIB}MiB}}\n"
GROUP_PER_EVENT = """aggregates:
  - name: per_event
    sql: |
      SELECT window_start, event_id, count(*) AS n, sum(amount) AS total
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
"""
PARTITION_PER_DEVICE = "tables:\n  - {name: clicks, partition_by: [device_id]}\n"


def simulate(folder, events, devices):
    subprocess.run([binary(), "simulate", "clickstream", "--count", str(events), "--rate", "0", "--devices", str(devices),
                    "--to", "embedded:./log/clicks"], cwd=folder, check=True, capture_output=True, timeout=600)


def run_to_end(folder, config, preexec=None, timeout_s=900):
    """(peak RSS in MiB, most descriptors seen) of a run that must end with status 0."""
    (folder / "pipeline.yaml").write_text(config)
    log_path = folder / "run.log"
    with open(log_path, "wb") as log:
        process = subprocess.Popen([binary(), "run", "-c", "pipeline.yaml", "--until-end", "--set",
                                    f"serve.listen=127.0.0.1:{harness.free_port()}"],
                                   cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=preexec)
    peak_kib = descriptors = 0
    deadline = time.monotonic() + timeout_s
    while process.poll() is None:
        try:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            descriptors = max(descriptors, len(os.listdir(f"/proc/{process.pid}/fd")))
        except OSError:
            continue
        peak = re.search(r"VmHWM:\s+(\d+)", status)
        if peak:
            peak_kib = int(peak.group(1))
        if time.monotonic() > deadline:
            process.kill()
            raise Failure(f"no end within {timeout_s} s:\n{log_path.read_text()[-2000:]}")
        time.sleep(0.01)
    if process.returncode != 0:
        raise Failure(f"ended with status {process.returncode}:\n{log_path.read_text()[-2000:]}")
    audit = subprocess.run([binary(), "audit", "-c", "pipeline.yaml"], cwd=folder, capture_output=True, text=True)
    if audit.returncode != 0:
        raise Failure(f"the books do not balance:\n{audit.stdout}{audit.stderr}")
    return peak_kib / 1024, descriptors


def files_of(folder, table):
    """Rows, and partition values, of the table's live files, by another reader."""
    actions = DeltaTable(str(folder / "lake" / table)).get_add_actions(flatten=True)
    columns = {name: actions.column(name).to_pylist() for name in actions.schema.names}
    return sum(columns["num_records"]), set(columns.get("partition.device_id", []))


def expect(what, got, want):
    if got != want:
        raise Failure(f"{what}: {got}, not {want}")


def expect_peak(peak_mib):
    say(f"peak RSS {peak_mib:.0f} MiB at limits.memory {LIMIT_MIB} MiB")
    if peak_mib > PEAK_MIB:
        raise Failure(f"peak RSS {peak_mib:.0f} MiB, at most {PEAK_MIB} at limits.memory {LIMIT_MIB} MiB")


def unique_keys(folder):
    """An aggregate with a group for each of two million events."""
    simulate(folder, EVENTS, 1000)
    peak_mib, _ = run_to_end(folder, SOURCE + GROUP_PER_EVENT + LIMITS)
    expect("partial rows", files_of(folder, "per_event")[0], EVENTS)
    expect_peak(peak_mib)


def partitions_1500(folder):
    """Two million events in 1,500 partitions."""
    simulate(folder, EVENTS, 1500)
    peak_mib, descriptors = run_to_end(folder, SOURCE + PARTITION_PER_DEVICE + LIMITS)
    rows, values = files_of(folder, "clicks")
    expect("rows", rows, EVENTS)
    expect("partition values", len(values), 1500)
    say(f"{descriptors} descriptors at most")
    expect_peak(peak_mib)


def partitions_10000(folder):
    """Ten thousand partition values under ulimit -n 256: the run ends, and nothing is read twice on the way."""
    simulate(folder, 120_000, 10_000)
    peak_mib, descriptors = run_to_end(
        folder, SOURCE + PARTITION_PER_DEVICE + LIMITS,
        preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS)))
    rows, values = files_of(folder, "clicks")
    expect("rows", rows, 120_000)
    if len(values) < 9_990:
        raise Failure(f"{len(values)} partition values: the case is not what it says")
    if "reading again" in (folder / "run.log").read_text():
        raise Failure("records were read again")
    say(f"{len(values):,} partition values, {descriptors} descriptors at most")
    expect_peak(peak_mib)


CASES = [unique_keys, partitions_1500, partitions_10000]


def main():
    harness.die_on_signals()
    wanted = [case for case in CASES if not sys.argv[1:] or any(word in case.__name__ for word in sys.argv[1:])]
    failed = []
    for case in wanted:
        say(f"{case.__name__}: {case.__doc__}")
        try:
            with Workspace(f"memory-{case.__name__}") as folder:
                case(folder)
        except Exception as error:  # The other cases are wanted all the same.
            say(f"FAILED {case.__name__}: {error}")
            if not isinstance(error, Failure):
                traceback.print_exc()
            failed.append(case.__name__)
    if failed or not wanted:
        sys.exit(f"failed: {', '.join(failed) or 'no such case'}")


if __name__ == "__main__":
    main()
