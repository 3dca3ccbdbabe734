#!/usr/bin/env python3
"""Several inputs in one pipeline, and topics by patterns: each record is in the tables of its own input once, however the file is edited
and whatever kills the process.

    inputs.py [NAME...]     all cases, or those whose names contain one of the words
"""

import random
import time

import cases
import events
import small
from harness import Failure, say, wait_for
from small import COLUMNS

OTHER = "{name: {type: string, path: id}, ts: timestamp, n: {type: int64, path: a}}"
KILL_POINTS = ("commit.before_put:1", "commit.after_put:1", "commit.after_put:2", "epoch.sealed:1", "epoch.prepared:1", "epoch.committed:1")
# As one is edited into the next. The tables of each, and what feeds them.
ONE = {"topics": ["a"], "tables": {"t": ""}}
NAMED = {"inputs": {"first": (["a"], COLUMNS)}, "tables": {"t": "from: first"}}
TWO = {"inputs": {"first": (["a"], COLUMNS), "second": (["b"], OTHER)}, "tables": {"t": "from: first", "u": "from: second"}}
TURNED = {"inputs": {"second": (["b"], OTHER), "renamed": (["a"], COLUMNS)}, "tables": {"u": "from: second", "t": "from: renamed"}}
EDITS = (ONE, NAMED, TWO, TURNED, ONE, TWO)
TABLE_OF = {"a": "t", "b": "u"}


def records(short, count):
    now = events.rfc3339(int(time.time() * 1e6))
    return [{"id": f"{short}{n}", "ts": now, "country": short, "a": n} for n in range(count)]


def edit(pipeline, start, kills=None):
    """Runs the edits with new records of both topics before each; those of `b` begin when its table does."""
    starts, ends, killed = {}, {}, 0
    for number, settings in enumerate(EDITS):
        for short in "ab":
            for partition in range(2):
                pipeline.send(short, partition, *records(short, 2 + partition))
        for short, table in TABLE_OF.items():
            for partition in range(2):
                key = short, partition
                if table in settings["tables"]:
                    starts.setdefault(key, pipeline.sent[key] if start == "latest" else 0)
                    ends[key] = pipeline.sent[key]
        if kills:
            worker = pipeline.run("--until-end", start=start, kill_at=kills.choice(KILL_POINTS), **settings)
            if worker.wait() not in (0, -9):
                raise Failure(f"{pipeline.name}: status {worker.process.returncode}:\n{worker.tail()}")
            killed += worker.process.returncode == -9
        worker = pipeline.run_to_end(start=start, **settings)
        for short, table in TABLE_OF.items():
            pipeline.check_offsets([(topic, partition, offset) for (topic, partition), first in starts.items() if topic == short
                                    for offset in range(first, ends[topic, partition])], f"edit {number + 1}", table=table)
        pipeline.check_audit(worker)
    return killed


def edited(case):
    """The short form, the same stream under a name, beside another, in another order and under another name, and back."""
    for start in ("earliest", "latest"):
        pipeline = small.Small(case, start)
        pipeline.create_topics("a", "b")
        edit(pipeline, start)


def edited_and_killed(case):
    """The same, and each run is killed once before it may finish."""
    kills = random.Random(7)
    for start in ("earliest", "latest"):
        pipeline = small.Small(case, start)
        pipeline.create_topics("a", "b")
        killed = edit(pipeline, start, kills)
        if killed < len(EDITS) // 2:
            raise RuntimeError(f"only {killed} runs came to their kill points")
        say(f"    {start}: {killed} of {len(EDITS)} runs killed")


def garbage_beside(case):
    """One topic holds nothing that decodes: the rows of the other are there as ever, each within a moment."""
    pipeline = small.Small(case, "garbage")
    pipeline.create_topics("a", "b")
    worker = pipeline.run(**TWO)
    small.wait_until_ready(worker)
    for round_number in range(1, 4):
        pipeline.send("b", 0, *[{"id": 5, "ts": "never"}] * 2000)
        pipeline.send("a", 0, *records("a", 10))
        wait_for(lambda: len(pipeline.rows("t")) == 10 * round_number, "the rows beside", 180)
    wait_for(lambda: len(pipeline.rows(small.LETTERS)) == 6000, "the letters", 180)
    worker.stop()
    pipeline.check_offsets([("a", 0, offset) for offset in range(30)], "beside garbage")
    pipeline.check_audit(worker)
    if {row["topic"] for row in pipeline.rows(small.LETTERS)} != {pipeline.topic("b")}:
        raise Failure("a letter is of the other topic")


def topics_that_come(case):
    """`start: latest` with a pattern: a topic that is made while it runs, or while it is down, is read from its beginning."""
    pipeline = small.Small(case, "pattern")
    settings = {"inputs": {"sites": (["^site-[a-z]+"], COLUMNS), "others": (["b"], OTHER)},
                "tables": {"t": "from: sites", "u": "from: others"}, "start": "latest"}
    pipeline.create_topics("b", "site-a", "site-9")
    pipeline.send("site-a", 0, *records("a", 3))
    worker = pipeline.run(**settings)
    small.wait_until_ready(worker)
    worker.wait_for_partitions(lambda p: len(p) == 4, "what is there")
    pipeline.send("site-a", 0, *records("a", 2))
    pipeline.create_topics("site-b")
    pipeline.send("site-b", 1, *records("b", 4))
    wanted = [("site-a", 0, 3), ("site-a", 0, 4)] + [("site-b", 1, offset) for offset in range(4)]
    wait_for(lambda: len(pipeline.rows()) == len(wanted), "the new topic", 180)
    pipeline.check_offsets(wanted, "a topic that was made while it ran")
    worker.stop()
    pipeline.create_topics("site-c")
    pipeline.send("site-c", 0, *records("c", 5))
    wanted += [("site-c", 0, offset) for offset in range(5)]
    last = pipeline.run_to_end(**settings)
    pipeline.check_offsets(wanted, "a topic that was made while it was down")
    pipeline.check_audit(last)


def topics_that_come_to_two_workers(case):
    """Two workers of a group, and topics that are made one after the other: each record is there once."""
    pipeline = small.Small(case, "group")
    settings = {"inputs": {"sites": (["^site-.+"], COLUMNS)}, "tables": {"t": "from: sites"}, "start": "latest"}
    pipeline.create_topics("site-0")
    workers = [pipeline.run(**settings) for _ in range(2)]
    for worker in workers:
        small.wait_until_ready(worker)
    wanted = []
    for number in range(1, 4):
        pipeline.create_topics(f"site-{number}")
        for partition in range(2):
            pipeline.send(f"site-{number}", partition, *records("s", 5))
            wanted += [(f"site-{number}", partition, offset) for offset in range(5)]
        wait_for(lambda: len(pipeline.rows()) == len(wanted), f"site-{number}", 180)
    pipeline.check_offsets(wanted, "with two workers")
    for worker in workers:
        worker.stop()
    pipeline.check_audit(pipeline.run_to_end(**settings))
    pipeline.check_offsets(wanted, "afterwards")


def a_topic_of_two_inputs(case):
    """Patterns of two inputs take a topic that is made while it runs: it stops and names both; named by one, it goes on."""
    pipeline = small.Small(case, "both")
    inputs = {"first": (["^x-.+"], COLUMNS), "second": (["^.*-y"], OTHER)}
    settings = {"inputs": inputs, "tables": {"t": "from: first", "u": "from: second"}}
    pipeline.create_topics("x-a")
    pipeline.send("x-a", 0, *records("a", 3))
    worker = pipeline.run(**settings)
    wait_for(lambda: len(pipeline.rows()) == 3, "the rows", 180)
    pipeline.create_topics("x-y")
    pipeline.send("x-y", 0, *records("y", 2))
    cases.fails(worker, 1, f"the topic {pipeline.topic('x-y')} is taken by", "of the input first", "of the input second")
    settings["inputs"] = {**inputs, "second": (["^.*-y", "x-y"], OTHER)}
    last = pipeline.run_to_end(**settings)
    pipeline.check_offsets([("x-a", 0, offset) for offset in range(3)], "the other input")
    pipeline.check_offsets([("x-y", 0, offset) for offset in range(2)], "named by one", table="u")
    pipeline.check_audit(last)


CASES = [edited, edited_and_killed, garbage_beside, topics_that_come, topics_that_come_to_two_workers, a_topic_of_two_inputs]

if __name__ == "__main__":
    cases.main("inputs", CASES)
