#!/usr/bin/env python3
"""Which records a pipeline reads when its topics change from run to run, and when it begins somewhere else than at the beginning.

    topics.py [NAME...]     all cases, or those whose names contain one of the words
"""

import random
import re
import time

import cases
import events
import small
from harness import Failure, say, wait_for

EDITS = (["a"], ["a", "b"], ["b"], ["a"], ["b", "a"])
COUNTS = ("counts", "SELECT window_start, country, count(*) AS n FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL")
# Where a run may die around the commit that says where reading begins, and around those with rows.
KILL_POINTS = ("commit.before_put:1", "commit.after_put:1", "commit.before_put:4", "commit.after_put:4", "epoch.sealed:1",
               "epoch.prepared:1", "epoch.committed:1")


def records(short, count):
    now = events.rfc3339(int(time.time() * 1e6))
    return [{"id": f"{short}{n}", "ts": now, "country": short, "a": n} for n in range(count)]


def all_from(starts, ends):
    return [(topic, partition, offset) for (topic, partition), start in starts.items()
            for offset in range(start, ends[topic, partition])]


def edit_topics(pipeline, start, *, kills=None, between=None, steps=EDITS):
    """Runs the steps, with new records for all topics before each, read or not; each is in the tables once when its topic was read."""
    starts, ends = {}, {}
    killed = 0
    for number, topics in enumerate(steps):
        for short in "ab":
            for partition in range(2):
                pipeline.send(short, partition, *records(short, 3 + partition))
        for short in topics:
            for partition in range(2):
                key = short, partition
                ends[key] = pipeline.sent[key]
                starts.setdefault(key, ends[key] if start == "latest" else 0)
        if kills:
            worker = pipeline.run("--until-end", topics=topics, start=start, aggregates=[COUNTS], kill_at=kills.choice(KILL_POINTS))
            if worker.wait() not in (0, -9):  # 0: it had less to do than the kill point counts.
                raise Failure(f"{pipeline.name}: status {worker.process.returncode}:\n{worker.tail()}")
            killed += worker.process.returncode == -9
        worker = pipeline.run_to_end(topics=topics, start=start, aggregates=[COUNTS])
        what = f"step {number + 1}, {topics}"
        pipeline.check_offsets(all_from(starts, ends), what)
        counted = {short: sum(row["n"] for row in pipeline.rows("counts") if row["country"] == short) for short in "ab"}
        wanted = {short: sum(ends[k] - starts[k] for k in starts if k[0] == short) for short in "ab"}
        if counted != wanted:
            raise Failure(f"{pipeline.name}, {what}: the aggregate counts {counted}, right is {wanted}")
        pipeline.check_audit(worker)
        if between:
            between(pipeline, number)
    return killed


def topics_edited(case):
    """[a], [a, b], [b], [a], [b, a], with records for both before each run: each is there once, from the beginning or from the end on."""
    for start in ("earliest", "latest"):
        pipeline = small.Small(case, start)
        pipeline.create_topics("a", "b")
        edit_topics(pipeline, start)


def topics_edited_and_killed(case):
    """The same, and each run is killed once at a commit before it may finish."""
    kills = random.Random(5)
    for start in ("earliest", "latest"):
        pipeline = small.Small(case, start)
        pipeline.create_topics("a", "b")
        killed = edit_topics(pipeline, start, kills=kills)
        if killed < len(EDITS) // 2:
            raise RuntimeError(f"only {killed} runs came to their kill points")
        say(f"    {start}: {killed} of {len(EDITS)} runs killed")


def short_ids(case):
    """Tables from the time when ids had no topic's name: a topic goes on where it was, and another one is told apart."""
    pipeline = small.Small(case, "short")
    pipeline.create_topics("a", "b")
    family, marker = f"{small.PIPELINE}-{pipeline.topic('a')}-", f"{small.PIPELINE}#topic:{pipeline.topic('a')}"

    def shorten(pipeline, number):
        if number != 0:
            return
        for entry in pipeline.lake.glob("*/_delta_log/*.json"):
            lines = [line for line in entry.read_text().splitlines(True) if f'"{marker}"' not in line]
            entry.write_text("".join(lines).replace(f'"{family}', f'"{small.PIPELINE}-'))
        if list(pipeline.lake.glob("*/_delta_log/*checkpoint*")):
            raise RuntimeError("the case needs tables without a checkpoint")
    edit_topics(pipeline, "earliest", between=shorten)
    for entry in sorted((pipeline.lake / small.TABLE / "_delta_log").glob("*.json")):
        if f'"{family}' in entry.read_text():
            raise Failure(f"{entry.name} has ids {family}… beside the short ones")


def topics_of_similar_names(case):
    """Topics whose names, with a partition's number, read like one another's transaction ids are told apart."""
    pipeline = small.Small(case, "names")
    names = ("a", "a-1", "a-1-0")
    pipeline.create_topics(*names)
    for topics in (names[:1], names[:2], names[:0:-1], names):
        for short in names:
            for partition in range(2):
                pipeline.send(short, partition, *records("a", 2))
        last = pipeline.run_to_end(topics=topics)
        pipeline.check_audit(last)
    pipeline.check_offsets(all_from(dict.fromkeys(pipeline.sent, 0), pipeline.sent), "all three")


def tables_that_come_and_go(case):
    """A table is taken out of the file and comes back: it has all records, and no dead letter is written twice."""
    pipeline = small.Small(case, "tables")
    pipeline.create_topics("a")
    good, bad = [], []
    for tables in (("t", "u"), ("t",), ("t", "u"), ("u",), ("t", "u")):
        first = pipeline.sent["a", 0]
        pipeline.send("a", 0, *records("a", 3), {"id": 5})
        good += [("a", 0, first + n) for n in range(3)]
        bad.append(first + 3)
        last = pipeline.run_to_end(topics=["a"], tables=dict.fromkeys(tables, ""))
        for table in tables:
            pipeline.check_offsets(good, f"tables {tables}", table=table)
        letters = sorted(row["offset"] for row in pipeline.rows(small.LETTERS))
        if letters != bad:
            raise Failure(f"tables {tables}: dead letters of the offsets {letters}, right is {bad}")
        pipeline.check_audit(last)


def starts(case):
    """A quiet first run writes down where it begins: the records that come before the next one are read, none is twice."""
    first_s = int(time.time()) - 3600
    for name, start, before in (
            ("latest", "latest", lambda partition, offset: False),
            ("past", f"{{timestamp: {events.rfc3339((first_s + 3) * 1_000_000)}}}", lambda partition, offset: offset >= 3),
            ("future", f"{{timestamp: {events.rfc3339((first_s + 7200) * 1_000_000)}}}", lambda partition, offset: False),
            ("offsets", "{offsets: {0: 2, 1: 5}}", lambda partition, offset: partition == 0 and offset >= 2),
            ("one-offset", "{offsets: {1: 4}}", lambda partition, offset: partition == 0 or offset >= 4)):
        pipeline = small.Small(case, name)
        pipeline.create_topics("a")
        for partition in range(2):
            pipeline.send("a", partition, *records("a", 5), times_ms=[(first_s + n) * 1000 for n in range(5)])
        pipeline.run_and_stop(topics=["a"], start=start)
        pipeline.send("a", 0, *records("a", 10))
        worker = pipeline.run_to_end(topics=["a"], start=start)
        pipeline.check_offsets([("a", partition, offset) for partition in range(2) for offset in range(pipeline.sent["a", partition])
                                if offset >= 5 or before(partition, offset)], start)
        pipeline.check_audit(worker)


def latest_crash(case):
    """`start: latest`, records are read, kill -9 before the first commit of rows: they are read again."""
    pipeline = small.Small(case, "crash")
    pipeline.create_topics("a")
    pipeline.send("a", 0, *records("a", 3))
    worker = pipeline.run(topics=["a"], start="latest", commit_interval="300s")
    small.wait_until_ready(worker)
    pipeline.send("a", 0, *records("a", 5))
    wait_for(lambda: worker.pipeline()["totals"]["records"] == 5, "the records to be read", 180)
    worker.kill()
    if pipeline.rows():
        raise RuntimeError("the case needs that no row is committed")
    last = pipeline.run_to_end(topics=["a"], start="latest")
    pipeline.check_offsets([("a", 0, offset) for offset in range(3, 8)], "after the crash")
    pipeline.check_audit(last)


def latest_rolling_restart(case):
    """`start: latest`, a partition that was quiet gets its first record between a stop and a start: it is read."""
    pipeline = small.Small(case, "rolling")
    pipeline.create_topics("a")
    worker = pipeline.run(topics=["a"], start="latest")
    small.wait_until_ready(worker)
    pipeline.send("a", 0, *records("a", 5))
    wait_for(lambda: len(pipeline.rows()) == 5, "the rows", 180)
    worker.stop()
    pipeline.send("a", 1, *records("a", 1))
    last = pipeline.run_to_end(topics=["a"], start="latest")
    pipeline.check_offsets([("a", 0, offset) for offset in range(5)] + [("a", 1, 0)], "after the restart")
    pipeline.check_audit(last)


def latest_new_partitions(case):
    """`start: latest` is about the partitions that were there: one that is added later is read from its beginning."""
    for name, is_running in (("stopped", False), ("running", True)):
        pipeline = small.Small(case, name)
        pipeline.create_topics("a")
        pipeline.send("a", 0, *records("a", 3))
        settings = {"topics": ["a"], "start": "latest", "properties": {"topic.metadata.refresh.interval.ms": 3000}}
        worker = pipeline.run(**settings)
        small.wait_until_ready(worker)
        if not is_running:
            worker.stop()
        case.broker.add_partitions(pipeline.topic("a"), 3)
        pipeline.sent["a", 2] = 0
        wait_for(lambda: len(pipeline.producer.list_topics(pipeline.topic("a"), 5).topics[pipeline.topic("a")].partitions) == 3,
                 "the partition", 180)
        pipeline.send("a", 2, *records("a", 5))
        if is_running:
            worker.wait_for_partitions(lambda p: len(p) == 3, "the new partition")
            worker.stop()
        last = pipeline.run_to_end(**settings)
        pipeline.check_offsets([("a", 2, offset) for offset in range(5)], f"a partition added while it was {name}")
        pipeline.check_audit(last)


def start_that_is_not_there(case):
    """`start.offsets` beyond the log or of no partition: the message names the key, nothing is made, and the mended file works."""
    pipeline = small.Small(case, "offsets")
    pipeline.create_topics("a")
    pipeline.send("a", 0, *records("a", 5))
    for start, *words in (("{offsets: {0: 100}}", "source.start.offsets", r"\b100\b", r"\b5\b"),
                          ("{offsets: {0: 3, 7: 0}}", "source.start.offsets", r"no partition 7\b")):
        for arguments in ((), ("--until-end",)):
            worker = pipeline.run(*arguments, topics=["a"], start=start)
            if worker.wait() not in (1, 78):
                raise Failure(f"{start}: status {worker.process.returncode}:\n{worker.tail()}")
            line = cases.says(worker, "^millrace: ", *words)
            say(f"    {line[:200]}")
            if re.search("recreated|app_id", line):
                raise Failure(f"{start}: misleading: {line}")
    last = pipeline.run_to_end(topics=["a"], start="{offsets: {0: 3}}")
    pipeline.check_offsets([("a", 0, 3), ("a", 0, 4)], "the mended file")
    pipeline.check_audit(last)


CASES = [topics_edited, topics_edited_and_killed, short_ids, topics_of_similar_names, tables_that_come_and_go, starts,
         latest_crash, latest_rolling_restart, latest_new_partitions, start_that_is_not_there]

if __name__ == "__main__":
    cases.main("topics", CASES)
