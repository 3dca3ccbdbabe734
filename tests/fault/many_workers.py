#!/usr/bin/env python3
"""Any process answers for all: three workers share a topic, others answer with the rows that these have in memory.

    many_workers.py [NAME...]     all cases, or those whose names contain one of the words
"""

import random
import subprocess
import time

import books
import cases
import doors
import harness
import oracle
from group import Group, pipeline
from harness import Failure, say, wait_for

PARTITIONS = 6
WORKERS = 3
ALL = ["all"] * WORKERS


def check(case, answers):
    checker = oracle.Oracle(case.topic, books.read_truth(case.broker.address, case.topic))
    wrong = [(parameters, difference) for parameters, answer in answers
             if (difference := doors.check_json(checker, parameters, answer))]
    if wrong:
        raise Failure(f"{len(wrong)} of {len(answers)} answers are wrong; the first: {wrong[0]}")
    say(f"    {len(answers)} answers equal the truth up to their offsets")


def everything_in_memory(case):
    """With no commit in sight, a process that only answers has every record of every partition, and so has each worker."""
    group = Group(case, PARTITIONS, ALL, commit_interval="10m")
    case.feed(3000)
    for process in (group.node, group.workers[0], group.workers[1]):
        answer = wait_for(lambda p=process: group.covers_all(p), f"{process.name} to answer for all", 180)
        if "partial" in answer:
            raise Failure(f"{process.name}: partial: {answer['partial_reasons']}")
        check(case, [({"step": "0", "group_by": ""}, answer)])
    committed = group.total(group.node, freshness="committed")["as_of"]["offsets"].get(case.topic, {})
    if sum(committed.values()) > case.feeder.sent / 2:
        raise Failure(f"{committed} are committed; the case shows nothing")
    status = group.node.pipeline()
    if status["source"]["partitions"] or [w["state"] for w in status["workers"]] != ["answering"] * WORKERS:
        raise Failure(f"/v1/pipeline of the node: {status}")
    # A worker that is gone is named, and its partitions are what is committed of them: nothing.
    group.workers[1].kill()
    # On a busy machine another may be late once, and is named too.
    answer = wait_for(lambda: (a := group.total(group.node)) and a.get("partial") == [group.urls[1]] and a,
                      "the killed worker to be named, and it alone", 180)
    check(case, [({"step": "0", "group_by": ""}, answer)])
    told = subprocess.run([harness.binary(), "query", "views_1m", "--url", f"http://127.0.0.1:{group.node.port}", "-o", "csv"],
                          capture_output=True, text=True, timeout=300)
    if told.returncode or group.urls[1] not in told.stderr:
        raise Failure(f"millrace query does not name the killed worker: {told}")
    # Others take its partitions over and read them again.
    answer = wait_for(lambda: group.covers_all(group.node), "the others to take over", 180)
    check(case, [({"step": "0", "group_by": ""}, answer)])
    group.node.stop()


def kills_and_rebalances(case):
    """Workers are killed, stopped and started while questions come: each answer is right up to the offsets that it states."""
    group = Group(case, PARTITIONS, ALL, commit_interval="700ms")
    sampler = harness.Sampler(7, 400)
    sampler.pause_s = (0.01, 0.08)
    sampler.watch(group.node, group.workers[0])
    dice = random.Random(7)
    for round_number in range(6):
        case.feeder.allow(2500, over_s=3)
        time.sleep(1.5)
        victim = dice.randrange(1, WORKERS)  # The first answers questions too.
        say(f"    round {round_number}: worker {victim} is {'killed' if round_number % 2 == 0 else 'stopped'}")
        if round_number % 2 == 0:
            group.workers[victim].kill()
        else:
            group.workers[victim].stop()
        time.sleep(dice.uniform(0.0, 2.5))
        group.start(victim)
        time.sleep(1)
    case.feeder.flush()
    answer = wait_for(lambda: (a := group.covers_all(group.node)) and "partial" not in a and a, "the last answer", 180)
    sampler.close()
    if sampler.problems:
        raise Failure(f"answers that are neither right nor 503: {sampler.problems}")
    partial = sum("partial" in a for _, a in sampler.answers)
    say(f"    {len(sampler.answers)} answers, {partial} of them partial, statuses {dict(sampler.statuses)}")
    if not partial or partial == len(sampler.answers):
        raise Failure("the case shows nothing: no answer was partial, or all were")
    check(case, [*sampler.answers, ({"step": "0", "group_by": ""}, answer)])
    group.node.stop()
    for worker in group.workers:
        worker.stop()
    case.check_books(group.workers[0])


def nothing_but_the_lake(case):
    """A process that only answers starts before there is a lake, is ready when there is one, and writes nothing to it."""
    node = case.run("--role", "serve", pipeline=pipeline, workers=[])
    wait_for(lambda: node.get("/livez"), "the node")
    if (status := node.get("/readyz")[0]) != 503:
        raise Failure(f"/readyz is {status} without a lake")
    if (status := node.get("/v1/aggregates/views_1m")[0]) != 503:
        raise Failure(f"a question without a lake: {status}")
    if case.lake.exists():
        raise Failure("the node has made a lake")
    case.topic_with(500)
    case.run_to_end()
    wait_for(lambda: node.get("/readyz")[0] == 200, "the node to be ready", 180)
    before = sorted(p for p in case.lake.rglob("*") if p.is_file())

    def whole():
        got = node.get("/v1/aggregates/views_1m?step=0&group_by=")
        return got[1] if got[0] == 200 and sum(got[1]["as_of"]["offsets"].get(case.topic, {}).values()) == 500 else None

    check(case, [({"step": "0", "group_by": ""}, wait_for(whole, "what was committed last to be seen", 180))])
    for path in ("/v1/tables", "/v1/pipeline", "/metrics", "/v1/aggregates"):
        if node.get(path)[0] != 200:
            raise Failure(f"{path}: {node.get(path)}")
    node.stop()
    if sorted(p for p in case.lake.rglob("*") if p.is_file()) != before:
        raise Failure("the node has written to the lake")


CASES = [everything_in_memory, kills_and_rebalances, nothing_but_the_lake]

if __name__ == "__main__":
    cases.main("many_workers", CASES)
