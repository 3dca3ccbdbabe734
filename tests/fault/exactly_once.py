#!/usr/bin/env python3
"""Exactly once under kills: a real Kafka, real workers, kill -9, rebalances and a zombie, then the books.

    exactly_once.py [--fast] [--events N] [--kills K] [--seed S]

Events flow into 4 partitions while workers are killed at every named kill point and at random moments, join and leave
the group (cooperative and eager), and one is stopped past its session, replaced, and continued. A sampler asks the API
all the time. At the end a worker runs to the topic's end, and books.py proves that the tables hold exactly the topic
(B1-B5) and that each answer was right up to the offsets that it stated (B6).
"""

import argparse
import collections
import os
import random
import signal
import sys
import time

import books
import doors
import harness
import oracle
from harness import Failure, Worker, say, wait_for

TOPIC = "faults"
PARTITIONS = 4

# Name -> the most times that a fresh worker passes it within seconds: it is killed at a random one of these.
KILL_POINTS = {
    "poll.after": 60,
    "upload.mid": 40,
    "upload.finished": 6,
    "epoch.sealed": 5,
    "epoch.prepared": 5,
    "commit.before_put": 8,
    "commit.after_put": 8,
    "letters.committed": 3,
    "epoch.committed": 6,
    "checkpoint.mid": 2,
    "checkpoint.before_last": 2,
}


class Run:
    def __init__(self, arguments, folder, broker):
        self.random = random.Random(arguments.seed)
        self.folder, self.broker = folder, broker
        self.session_ms = 2000 if arguments.fast else 6000
        self.interval = "400ms" if arguments.fast else "1s"
        self.kills = collections.Counter()
        self.starts = 0
        self.workers = []
        self.feeder = harness.Feeder(broker.address, TOPIC, arguments.seed, PARTITIONS)
        self.sampler = harness.Sampler(arguments.seed, 400 if arguments.fast else 3000)
        random_kills = max(0, arguments.kills - len(KILL_POINTS))
        if arguments.fast:
            self.plan = list(KILL_POINTS) + [None] * random_kills
        else:  # Half at named points, half at random moments.
            rounds = max(1, (arguments.kills // 2) // len(KILL_POINTS))
            self.plan = list(KILL_POINTS) * rounds
            self.plan += [None] * max(0, arguments.kills - len(self.plan))
        self.random.shuffle(self.plan)
        # Kills, two phases of two workers, the zombie, and the end.
        self.share = arguments.events // (len(self.plan) + 9)

    def start(self, *, kill_at=None, group="fault", strategy="cooperative-sticky", arguments=(), session_ms=None):
        self.starts += 1
        worker = Worker(
            self.folder, f"worker-{self.starts:03}", kill_at=kill_at, arguments=arguments, brokers=self.broker.address,
            topic=TOPIC, lake=self.folder / "lake", group=group, commit_interval=self.interval, commit_bytes="512KiB",
            properties={"partition.assignment.strategy": strategy, "session.timeout.ms": session_ms or 2000,
                        "heartbeat.interval.ms": 500})
        self.workers.append(worker)
        return worker

    def feed(self, over_s=0.0):
        self.feeder.allow(self.share, over_s)

    def kill_at(self, point):
        worker = self.start(kill_at=f"{point}:{self.random.randint(1, KILL_POINTS[point])}")
        self.sampler.watch(worker)
        self.feed(over_s=3)
        deadline = time.monotonic() + 90
        while worker.alive():
            if time.monotonic() > deadline:
                raise Failure(f"{worker.name} never came to the kill point {point}:\n{worker.tail()}")
            if self.feeder.sent >= self.feeder.allowed:
                self.feeder.allow(200, over_s=1)  # Without records there is no commit to be killed in.
            time.sleep(0.05)
        worker.expect_exit(-signal.SIGKILL)
        self.kills[point] += 1

    def kill_at_random(self):
        worker = self.start()
        self.sampler.watch(worker)
        self.feed(over_s=2)
        time.sleep(self.random.choice([0.05, 0.3, 1, 2, 4]) * self.random.uniform(0.5, 1.5))
        worker.kill()
        self.kills["random"] += 1

    def two_workers(self, strategy):
        """Join, leave, join, die: a group of its own, because offsets come from the tables and not from the group."""
        group = f"fault-{strategy}"
        say(f"two workers, {strategy}")
        first = self.start(group=group, strategy=strategy)
        self.sampler.watch(first)
        self.feed(over_s=6)
        first.wait_for_partitions(lambda p: len(p) == PARTITIONS, "all partitions")
        second = self.start(group=group, strategy=strategy)
        self.sampler.watch(first, second)
        second.wait_for_partitions(lambda p: 0 < len(p) < PARTITIONS, "a share of the partitions")
        self.feed(over_s=4)
        time.sleep(self.random.uniform(0.5, 2))
        first.stop()
        third = self.start(group=group, strategy=strategy)
        self.sampler.watch(second, third)
        third.wait_for_partitions(lambda p: 0 < len(p) < PARTITIONS, "a share of the partitions")
        self.feed(over_s=4)
        time.sleep(self.random.uniform(0.5, 2))
        second.kill()
        self.kills["of two"] += 1
        third.wait_for_partitions(lambda p: len(p) == PARTITIONS, "the partitions of the one that was killed")
        third.stop()

    def zombie(self):
        say(f"a zombie: stopped past its session of {self.session_ms} ms")
        zombie = self.start(group="fault-zombie", session_ms=self.session_ms)
        self.sampler.watch(zombie)
        self.feed(over_s=3)
        zombie.wait_for_partitions(lambda p: len(p) == PARTITIONS, "all partitions")
        time.sleep(self.random.uniform(0.5, 1.5))  # So that it holds rows that are not committed.
        zombie.signal(signal.SIGSTOP)
        heir = self.start(group="fault-zombie", session_ms=self.session_ms)
        self.sampler.watch(heir)
        self.feed(over_s=2)
        heir.wait_for_partitions(lambda p: len(p) == PARTITIONS, "the zombie's partitions")
        wait_for(lambda: "committed table=" in heir.log(), "a commit of the heir")
        zombie.signal(signal.SIGCONT)
        self.sampler.watch(zombie, heir)
        self.feed(over_s=2)
        both = [zombie, heir]
        zombie.wait_for_partitions(lambda p: 0 < len(p) < PARTITIONS and sum(len(w.partitions()) for w in both) == PARTITIONS,
                                   "the zombie to be one of two again")
        fenced = sum(line.count("another worker has moved") for line in zombie.log().splitlines())
        say(f"the zombie is back; epochs that it had to drop: {fenced}")
        zombie.stop()
        heir.stop()
        return fenced

    def finish(self, total):
        say("to the end")
        if total > self.feeder.allowed:
            self.feeder.allow(total - self.feeder.allowed)
        self.feeder.close()
        worker = self.start(arguments=["--until-end", "--role", "all"])
        self.sampler.watch(worker)
        worker.expect_exit(0, 600)
        self.sampler.close()
        return worker


def check(run, last, folder, broker):
    say("reading the topic")
    truth = books.read_truth(broker.address, TOPIC)
    kinds = collections.Counter(truth.table["outcome"].to_pylist())
    say(f"the topic: {truth.table.num_rows} records, {dict(sorted(kinds.items()))}")
    if truth.table.num_rows < run.feeder.sent:
        raise RuntimeError(f"{run.feeder.sent} events were produced, the topic holds {truth.table.num_rows}")
    checked = books.Books(folder / "lake", truth)
    findings = checked.run()
    checked.check_audit(harness.binary(), last.config)
    say(f"the tables: {checked.rows}")
    checker = oracle.Oracle(TOPIC, truth)
    wrong = []
    for parameters, answer in run.sampler.answers:
        difference = doors.check_json(checker, parameters, answer)
        if difference is not None:
            wrong.append(f"B6 {parameters}: {difference}")
    findings += wrong[:5] + [f"B6 an error: {problem}" for problem in run.sampler.problems]
    if len(wrong) > 5:
        findings.append(f"B6 {len(wrong)} wrong answers in all")
    if not run.sampler.answers:
        findings.append("B6 not one question was answered")
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="60,000 events, 14 kills, a short session")
    parser.add_argument("--events", type=int)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("MILLRACE_SEED", "0")) or random.randrange(1, 10**6))
    arguments = parser.parse_args()
    arguments.events = arguments.events or (60_000 if arguments.fast else 2_000_000)
    arguments.kills = arguments.kills or (14 if arguments.fast else 110)
    harness.die_on_signals()
    harness.binary()
    say(f"seed {arguments.seed}, {arguments.events} events, {arguments.kills} kills")
    with harness.Workspace("exactly-once") as folder, harness.Broker(data=folder / "kafka") as broker:
        broker.create_topic(TOPIC, PARTITIONS)
        run = Run(arguments, folder, broker)
        for number, point in enumerate(run.plan, 1):
            say(f"kill {number} of {len(run.plan)}: {point or 'at random'}")
            run.kill_at(point) if point else run.kill_at_random()
        run.two_workers("cooperative-sticky")
        run.two_workers("range")
        dropped = run.zombie()
        last = run.finish(arguments.events)
        findings = check(run, last, folder, broker)
        logs = [worker.log() for worker in run.workers]
        assigned = sum(log.count("assigned partitions=") for log in logs)
        revoked = sum(log.count("revoked partitions=") for log in logs)
        fenced = sum(log.count("another worker has moved") for log in logs)
        for finding in findings:
            print(finding)
        print(f"exactly_once: {'FAILED' if findings else 'ok'} seed={arguments.seed} events={run.feeder.sent} "
              f"kills={sum(run.kills.values())} ({', '.join(f'{k} {n}' for k, n in sorted(run.kills.items()))}) "
              f"workers={run.starts} assignments={assigned} revocations={revoked} fenced={fenced} (zombie {dropped}) "
              f"answers={len(run.sampler.answers)} statuses={dict(run.sampler.statuses)} "
              f"peak_rss={Worker.peak_rss_kib // 1024} MiB", flush=True)
        if findings:
            raise Failure(f"{len(findings)} findings")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"FAILED: {failure}", flush=True)
        sys.exit(1)
