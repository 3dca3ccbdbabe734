#!/usr/bin/env python3
"""The answers of every door, of any process, while workers come and go: each equals DuckDB over the records up to its as_of.

    many_doors.py [--seed N] [--soak]

Three workers share a topic, a process only answers. Aggregates (JSON, CSV, Arrow), their streams, SQL and the PostgreSQL door are
asked at random all the time, in phases in each of which something happens to the processes. A phase ends when each door has
given enough answers in it; then every answer is compared with what `oracle.py` makes of the records that this test has produced.
"""

import argparse
import collections
import os
import random
import signal
import sys
import time

import books
import cases
import doors
import harness
import oracle
from group import Group
from harness import Failure, say, wait_for

PARTITIONS = 4
ROLES = ["all", "all", "worker", "all"]  # The last joins later.
STARTED = 3
ANSWERS_MIN = 12  # Of each door in each phase; of all streams together as many.
WHOLE_MIN = 2     # Of each door of each process about each table, at the end: answers that hold everything.
STREAMS = [{"step": "0", "group_by": ""}, {"step": "1m", "group_by": "cc"},
           {"step": "0", "group_by": "page", "where": "cc = 'de' AND page <> '/'"},
           {"step": "0", "group_by": "cc,page", "measures": "views,revenue", "order_by": "views desc,cc,page", "limit": "5"}]


class Test:
    def __init__(self, case, seed, events_per_phase):
        self.case, self.seed, self.events_per_phase = case, seed, events_per_phase
        self.dice = random.Random(seed)
        self.group = Group(case, PARTITIONS, ROLES, started=STARTED, seed=seed, keeps_records=True, commit_interval="700ms")
        self.feeder = case.feeder
        self.checker = oracle.Oracle(case.topic, lake=case.lake)
        self.judged = 0  # Records that the oracle has.
        self.compared = collections.Counter()
        start_us = self.feeder.generator.start_us
        self.askers = [kind(kind.__name__, doors.Questions(f"{seed}/{kind.__name__}", start_us))
                       for kind in (doors.Aggregates, doors.Sql, doors.Postgres)]
        self.streams = [doors.Stream(f"Stream {i}", doors.Questions(f"{seed}/stream {i}", start_us), question)
                        for i, question in enumerate(STREAMS)]
        self.doors = self.askers + self.streams
        self.show("start")
        for door in self.doors:
            door.start()

    def asked(self):
        """Those who have doors."""
        return [self.group.node] + [w for place, w in enumerate(self.group.workers) if w is not None and self.group.roles[place] == "all"]

    def show(self, phase=None):
        """The doors know who there is."""
        for door in self.doors:
            door.nodes = {process.name: process for process in self.asked()}
            door.phase = phase or door.phase

    def counts(self, phase):
        """Answers by door, all streams as one."""
        counts = collections.Counter()
        for door in self.doors:
            counts["Stream" if door in self.streams else door.name] += door.counts[phase]
        return counts

    def check_doors(self, phase):
        """A Failure if one has been told what it must not, or has ended."""
        for door in self.doors:
            if door.problems:
                raise Failure(f"{phase}: {door.problems}")
            if door.failure is not None:
                raise door.failure

    def trickle(self):
        """Streams say nothing while nothing comes."""
        if self.feeder.sent >= self.feeder.allowed:
            self.feeder.allow(100, over_s=1)

    def more(self, phase, count=2, down=()):
        """Waits until each asker has so many more answers in this phase, and of each of these workers each, and each stream, has been told
        that it is missing."""
        for door in self.askers:
            door.down = frozenset(self.group.urls[place] for place in down)
        before = {door: door.counts[phase] for door in self.askers}

        def enough():
            self.check_doors(phase)
            self.trickle()
            return all(door.counts[phase] >= before[door] + count and all(door.named[phase, worker] for worker in door.down)
                       for door in self.askers) and all(stream.knows(self.askers[0].down) for stream in self.streams)
        wait_for(enough, f"{count} more answers of each door in the phase {phase}", 180, every_s=0.1)
        for door in self.askers:
            door.down = frozenset()

    def take_truth(self):
        """The oracle knows every record of the topic, and no more come for the moment."""
        self.feeder.flush()
        truth = books.Truth(self.case.topic)
        records = self.feeder.records[self.judged:]
        self.judged += len(records)
        for record in records:
            truth.add(*record)
        self.checker.take(truth)

    def judge(self, door):
        """The answers that this door has got since; a Failure if one is wrong. After take_truth()."""
        answers = door.take()
        wrong = []
        for answer in answers:
            self.compared["Stream" if door in self.streams else door.name] += 1
            if strangers := set(answer.partial) - set(self.group.urls):
                wrong.append(f"{answer.door} of {answer.node} says that {strangers} are missing")
            difference = doors.judge(self.checker, answer)
            if difference is not None:
                wrong.append(f"{answer.door} of {answer.node} ({answer.how}) in {answer.phase}, {answer.question}: {difference}")
        if wrong:
            raise Failure("\n    ".join([f"{len(wrong)} of {len(answers)} answers of {door.name} are wrong", *wrong[:5]]))
        self.check_doors("judged")
        return answers

    def until_whole(self, processes, count, timeout_s):
        """Waits until each asker has so many answers with everything in them, about each table, of each of these processes and no worker
        missing; None: of any, and whoever is missing."""
        for door in self.askers:
            had = collections.Counter()

            def enough(door=door, had=had):
                for answer in self.judge(door):
                    if processes is None or not answer.partial:
                        had.update((answer.node if processes else "", table) for table in answer.whole(self.checker))
                names = [process.name for process in processes] if processes else [""]
                return all(had[name, table] >= count for name in names for table in door.tables)
            wait_for(enough, f"{count} answers of {door.name} with everything", timeout_s, every_s=0.1)

    def phase(self, name, fault):
        begun = time.monotonic()
        self.show(name)
        self.feeder.allow(self.events_per_phase, over_s=4)
        fault(name)
        self.group.wait_until_shared_out()
        self.show()

        def enough():
            self.check_doors(name)
            self.trickle()
            return all(n >= ANSWERS_MIN for n in self.counts(name).values())
        wait_for(enough, f"{ANSWERS_MIN} answers of each door in the phase {name}", 180, every_s=0.2)
        counts = self.counts(name)
        refused = sum((collections.Counter({code: n for (phase, code), n in door.refusals.items() if phase == name})
                       for door in self.askers), collections.Counter())
        if sum(refused.values()) > sum(counts[door.name] for door in self.askers):
            raise Failure(f"{name}: more refusals than answers: {dict(refused)}, {dict(counts)}")
        self.take_truth()
        for stream in self.streams:
            self.judge(stream)
        self.until_whole(None, 1, 120)
        say(f"    {name}: {dict(counts)}, refused {dict(refused)}, {time.monotonic() - begun:.1f} s")

    # What happens.

    def place(self):
        return self.dice.choice([place for place, worker in enumerate(self.group.workers) if worker is not None])

    def calm(self, phase):
        self.more(phase, 8)

    def _away(self, phase, *places):
        """With these gone; then they come back."""
        self.more(phase, 4, down=places)
        for place in places:
            self.group.start(place)
        self.show()

    def killed(self, phase):
        place = self.place()
        self.group.workers[place].kill()
        self._away(phase, place)

    def two_killed(self, phase):
        places = self.dice.sample(range(STARTED), 2)
        for place in places:
            self.group.workers[place].kill()
        self._away(phase, *places)

    def stopped(self, phase):
        place = self.place()
        self.group.workers[place].stop()
        self._away(phase, place)

    def paused(self, phase):
        """Until the others have its partitions; then it goes on as if it still had them."""
        place = self.place()
        worker = self.group.workers[place]
        for door in self.askers:
            door.nodes = {name: node for name, node in door.nodes.items() if node is not worker}
        wait_for(lambda: all(door.asking is not worker for door in self.askers), f"{worker.name} to have answered", 180)
        worker.signal(signal.SIGSTOP)
        self.group.paused.add(worker)
        try:
            self.more(phase, 4, down=[place])
            self.group.wait_until_shared_out()
        finally:
            worker.signal(signal.SIGCONT)
            self.group.paused.discard(worker)
        self.show()
        self.more(phase, 3)

    def hiccup(self, phase):
        """Too short for the group to notice, long enough for those who ask."""
        for _ in range(3):
            process = self.dice.choice([*self.group.workers[:STARTED], self.group.node])
            process.signal(signal.SIGSTOP)
            time.sleep(self.dice.uniform(0.3, 0.8))
            process.signal(signal.SIGCONT)
            self.more(phase, 1)

    def joined(self, phase):
        """Another comes, and stays; if it is there already, it goes first."""
        if self.group.workers[STARTED] is not None:
            self.group.workers[STARTED].stop()
        self._away(phase, STARTED)
        self.group.wait_until_shared_out()
        self.more(phase, 4)

    def node_restarted(self, phase):
        self.more(phase)
        if self.dice.random() < 0.5:
            self.group.node.kill()
        else:
            self.group.node.stop()
        self.group.start_node()
        self.show()
        self.group.wait_until_node_is_ready()

    def cut(self, phase):
        """Streams lose their connections, and a worker is killed meanwhile."""
        for _ in range(2):
            for stream in self.streams:
                stream.cut()
            self.more(phase)
        self.killed(phase)
        for stream in self.streams:
            stream.cut()

    def end(self):
        """With nothing more to come, each door of each process says everything, and the books hold."""
        self.show("end")
        self.take_truth()
        self.until_whole(self.asked(), WHOLE_MIN, 600)
        for stream in self.streams:
            def holds_everything(stream=stream):
                return self.checker.check_aggregate(stream.parameters, self.checker.ends, stream.columns, stream.rows(), ordered=False) is None
            wait_for(holds_everything, f"{stream.name} to hold everything: {stream.parameters}", 180, every_s=0.2)
            if late := stream.complete() - stream.done:
                raise Failure(f"{stream.name}: at {stream.watermark} nobody has said that the windows {late} are final")
        for door in self.doors:
            door.close()
            self.judge(door)
        resumed = sum(stream.resumed for stream in self.streams)
        events = sum((stream.events for stream in self.streams), collections.Counter())
        refusals = sum((collections.Counter({code: n}) for door in self.doors for (_, code), n in door.refusals.items()), collections.Counter())
        partial = sum(sum(door.named.values()) for door in self.askers)
        say(f"    {dict(self.compared)} answers compared, {partial} times a worker was named as missing; refused {dict(refusals)}; "
            f"of streams {dict(events)}, {resumed} times gone on with the last id")
        if not resumed or not events["final"] or not events["watermark"] or not partial:
            raise Failure("the test shows nothing: no stream went on, or no window was final, or no answer was partial")
        self.group.node.stop()
        for worker in self.group.running():
            worker.stop()
        truth = books.read_truth(self.case.broker.address, self.case.topic)
        if truth.ends != self.checker.ends or truth.table.num_rows != self.judged:
            raise RuntimeError(f"the topic has {truth.table.num_rows} records up to {truth.ends}, {self.judged} were produced")
        checked = self.case.check_books(self.group.workers[0], truth=truth)
        say(f"    the books hold: {checked.rows}")


FAST = ("calm", "joined", "killed", "paused", "cut", "node_restarted", "stopped")
SOAK = (*FAST, "hiccup", "two_killed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("MILLRACE_SEED", "0")) or random.randrange(1, 10**6))
    parser.add_argument("--soak", action="store_true", help="thirty phases in an order of the seed's")
    arguments = parser.parse_args()
    harness.die_on_signals()
    harness.binary()
    say(f"seed {arguments.seed}")
    phases = random.Random(arguments.seed).choices(SOAK, k=24) + list(SOAK) if arguments.soak else FAST
    with harness.Workspace("many-doors") as folder, harness.Broker(data=folder / "kafka") as broker:
        case = cases.Case("many_doors", folder, broker)
        try:
            test = Test(case, arguments.seed, 3000 if arguments.soak else 1200)
            for number, name in enumerate(phases, 1):
                test.phase(f"{number} {name}", getattr(test, name))
            test.end()
        finally:
            case.end()


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        print(f"FAILED: {failure}", flush=True)
        sys.exit(1)
