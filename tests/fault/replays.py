#!/usr/bin/env python3
"""Dead letters that are run again: each record comes into each table once, whatever kills a replay or runs beside it.

    replays.py [NAME...]     all cases, or those whose names contain one of the words

The transform of the workers cannot take some ratings, that of the replays can (events.MENDED_TRANSFORM).
"""

import json
import os
import signal
import subprocess
import time

import books
import cases
import events
import harness
from harness import Failure, say

# Where a replay is killed, and how often it passes there when all of it is yet to be done.
KILL_POINTS = [("commit.before_put", 4), ("commit.after_put", 4), ("upload.finished", 3), ("epoch.prepared", 2), ("replay.decided", 1),
               ("replay.applied", 3)]


def mended_config(case):
    path = case.folder / "mended.yaml"
    if not path.exists():  # Another replay may be reading it.
        path.write_text(events.pipeline_yaml(brokers=case.broker.address, topic=case.topic, lake=case.lake, port=0,
                                             transform=events.MENDED_TRANSFORM))
    return path


def start_replay(case, *arguments, kill_at=None):
    environment = {**os.environ, **({"MILLRACE_KILL_AT": kill_at} if kill_at else {})}
    return subprocess.Popen([harness.binary(), "dlq", "replay", "-c", str(mended_config(case)), "-o", "json", *arguments],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def replay(case, *arguments, kill_at=None):
    """The report; None if it was killed, as it must be with `kill_at`."""
    process = start_replay(case, *arguments, kill_at=kill_at)
    out, error = process.communicate(timeout=300)
    wanted = -signal.SIGKILL if kill_at else 0
    if process.returncode != wanted:
        raise Failure(f"dlq replay, to be killed at {kill_at}, ended with {process.returncode}, not {wanted}:\n{out}{error}")
    return None if kill_at else json.loads(out)


def check_audit(worker, what):
    done = subprocess.run([harness.binary(), "audit", "-c", str(worker.config)], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise Failure(f"{what}: audit: {done.stdout}{done.stderr}")


def killed_at_each_step(case):
    """Killed at each commit, upload and step between; the next replay goes on; nothing is lost or there twice."""
    case.topic_with(1500)
    finished = 0
    for point, times in KILL_POINTS:
        for nth in range(1, times + 1):
            worker = case.run_to_end()
            replay(case, kill_at=f"{point}:{nth}")
            check_audit(worker, f"killed at {point}:{nth}")
            report = replay(case)
            finished += report["finished_parts"]
            if report["lost_parts"]:
                raise Failure(f"after {point}:{nth}: {report}")
            case.feed(500)
    worker = case.run_to_end()
    replay(case)
    case.check_books(worker, replayed=True)
    if finished == 0:
        raise Failure("no replay had anything to finish: none was killed after it had decided")
    say(f"    {sum(times for _, times in KILL_POINTS)} kills, {finished} parts finished by the next")


def killed_while_finishing(case):
    """One that finishes another's work is killed at it too, again and again."""
    case.topic_with(3000)
    worker = case.run_to_end()
    replay(case, kill_at="replay.decided:1")
    for _ in range(3):
        replay(case, kill_at="commit.before_put:1")
    for _ in range(3):  # The letters, the events, the aggregate.
        replay(case, kill_at="replay.applied:1")
        check_audit(worker, "killed while it finished")
    replay(case)
    case.check_books(worker, replayed=True)


def several_at_once(case):
    """Four at the same moment, of the same letters and of others."""
    case.topic_with(6000)
    worker = case.run_to_end()
    running = [start_replay(case, *where) for where in ((), (), ("--where", "\"offset\" % 2 = 0"), ("--where", "partition = 1"))]
    reports = []
    for process in running:
        out, error = process.communicate(timeout=300)
        if process.returncode != 0:
            raise Failure(f"dlq replay ended with {process.returncode}:\n{out}{error}")
        reports.append(json.loads(out))
    say(f"    {[report['letters'] for report in reports]} letters, {[report['replays'] for report in reports]} replays")
    case.check_books(worker, replayed=True)


def beside_a_worker(case):
    """A worker reads and commits, and replays come and are killed beside it; both books hold."""
    case.topic_with(2000)
    worker = case.run()
    case.wait_for_rows(worker)
    deadline = time.monotonic() + 12
    runs = kills = 0
    while time.monotonic() < deadline:
        case.feed(300)
        if runs % 3 == 2:
            process = start_replay(case)
            time.sleep(0.05 + 0.07 * (runs % 5))
            process.kill()
            process.communicate()
            kills += 1
        else:
            replay(case)
        runs += 1
    worker.stop()
    worker = case.run_to_end()
    replay(case)
    case.check_books(worker, replayed=True)
    say(f"    {runs} replays, {kills} of them killed")


def bytes_of_strangers(case):
    """What is shown of a letter has no control characters, and its raw bytes are the record's."""
    case.topic_with(3000)
    worker = case.run_to_end()
    truth = books.read_truth(case.broker.address, case.topic)
    shown = 0
    for row in truth.table.to_pylist():
        if row["outcome"] != "dead":
            continue
        command = [harness.binary(), "dlq", "show", "-c", str(worker.config), case.topic, str(row["_partition"]), str(row["_offset"])]
        text = subprocess.run(command, capture_output=True, timeout=300, check=True).stdout
        if any(byte < 32 and byte not in b"\t\n\r" or byte == 127 for byte in text):
            raise Failure(f"control characters in {text!r}")
        text.decode()
        raw = subprocess.run([*command, "--raw"], capture_output=True, timeout=300, check=True).stdout
        if raw != row["value"]:
            raise Failure(f"offset {row['_offset']}: {raw!r} is not {row['value']!r}")
        found = json.loads(subprocess.run([*command, "-o", "json"], capture_output=True, timeout=300, check=True).stdout)[0]
        if found.get("payload", "").encode() != row["value"] and bytes.fromhex(found.get("payload_hex", "")) != row["value"]:
            raise Failure(f"offset {row['_offset']}: {found}")
        shown += 1
    if shown < 10:
        raise Failure(f"{shown} letters in the topic: too few to show anything")


CASES = [killed_at_each_step, killed_while_finishing, several_at_once, beside_a_worker, bytes_of_strangers]

if __name__ == "__main__":
    cases.main("replays", CASES)
