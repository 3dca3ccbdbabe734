"""Cases that share a broker: each a function that takes a Case, whose docstring says what is promised."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import traceback

from deltalake import DeltaTable

import books
import events
import harness
from harness import Failure, Late, Worker, say, wait_for

PARTITIONS = 2
ATTEMPTS = 3  # Of a case in which something came late. That a machine stands still each time is not to be expected.


class Skip(Exception):
    """The machine cannot do this case; the reason."""


class Case:
    """One case's topic, lake and workers."""

    def __init__(self, name, folder, broker):
        self.name, self.folder, self.broker = name, folder / name, broker
        self.folder.mkdir()
        self.topic = name
        self.lake = self.folder / "lake"
        self.starts = 0
        self.sent = 0
        self.feeder = None
        self.workers = []

    def topic_with(self, count, seed=1):
        self.broker.create_topic(self.topic, PARTITIONS)
        self.feed(count, seed)

    def feed(self, count, seed=1):
        if self.feeder is None:
            self.feeder = harness.Feeder(self.broker.address, self.topic, seed, PARTITIONS, name=f"p{seed}")
        self.feeder.allow(count)
        self.feeder.flush()

    def new_producer(self):
        self.feeder.close()
        self.feeder = None

    def run(self, *arguments, **settings):
        self.starts += 1
        settings = {"brokers": self.broker.address, "topic": self.topic, "lake": self.lake, "group": self.name,
                    "commit_interval": "300ms", "checkpoint_interval": 10, **settings}
        worker = Worker(self.folder, f"worker-{self.starts}", arguments=arguments, **settings)
        self.workers.append(worker)
        return worker

    def run_to_end(self, **settings):
        worker = self.run("--until-end", **settings)
        worker.expect_exit(0)
        return worker

    def rows(self, table="events"):
        log = self.lake / table / "_delta_log"
        return DeltaTable(str(self.lake / table)).count() if any(log.glob("*.json")) else 0

    def version(self, table="events"):
        return books.Log(self.lake / table).version

    def wait_for_rows(self, worker, rows=1, timeout_s=180):
        def check():
            if not worker.alive():
                raise Failure(f"{worker.name} ended with status {worker.process.poll()}:\n{worker.tail()}")
            return self.rows() >= rows
        wait_for(check, f"{rows} rows", timeout_s, every_s=0.2)

    def check_books(self, worker, *, partial=False, truth=None, app_id=events.PIPELINE, replayed=False):
        truth = truth or books.read_truth(self.broker.address, self.topic)
        checked = books.Books(self.lake, truth, partial=partial, app_id=app_id, replayed=replayed)
        checked.run()
        checked.check_audit(harness.binary(), worker.config)
        if checked.findings:
            raise Failure("the books do not hold:\n  " + "\n  ".join(checked.findings))
        return checked

    def end(self):
        if self.feeder is not None:
            self.feeder.close()
        for worker in self.workers:
            if worker.alive():
                worker.kill()


def says(worker, *words):
    """All of these are in one line of the worker's messages."""
    log = worker.log()
    for line in log.splitlines():
        if all(re.search(word, line) for word in words):
            return line
    raise Failure(f"{worker.name}: no message with {words}:\n{worker.tail()}")


def fails(worker, status, *words, timeout_s=180):
    worker.expect_exit(status, timeout_s)
    line = says(worker, *words)
    say(f"    {line[:200]}")


@contextlib.contextmanager
def small_disk(path, options):
    """A tmpfs at `path`; Skip where the machine does not allow it."""
    if os.geteuid() != 0:
        raise Skip("mounting a small disk needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True)
    if mounted.returncode != 0:
        raise Skip(f"no tmpfs here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)


def fill(folder):
    """A file that takes all the space there is."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def _run(name, functions):
    """The exit status: 77 if cases were skipped and all others passed, so that a skip is seen."""
    words = sys.argv[1:]
    chosen = [case for case in functions if not words or any(word in case.__name__ for word in words)]
    harness.die_on_signals()
    harness.binary()
    results = {"passed": [], "skipped": [], "FAILED": []}
    with harness.Workspace(name) as folder, harness.Broker(data=folder / "kafka") as broker:
        for function in chosen:
            say(f"{function.__name__}: {function.__doc__.splitlines()[0]}")
            case = None
            try:
                for attempt in range(1, ATTEMPTS + 1):
                    case = Case(function.__name__ + (f"_{attempt}" if attempt > 1 else ""), folder, broker)
                    try:
                        function(case)
                        break
                    except Late as late:
                        if attempt == ATTEMPTS:
                            raise
                        say(f"    once more: {late}")
                        case.end()
                results["passed"].append(function.__name__)
            except Skip as reason:
                say(f"    SKIPPED: {reason}")
                results["skipped"].append(f"{function.__name__} ({reason})")
            except Failure as failure:
                say(f"    FAILED: {failure}")
                results["FAILED"].append(function.__name__)
            except Exception:
                say(f"    FAILED: {traceback.format_exc()}")
                results["FAILED"].append(function.__name__)
            finally:
                if case is not None:
                    case.end()
            if case is not None and function.__name__ not in results["FAILED"]:
                shutil.rmtree(case.folder, ignore_errors=True)
        print(f"{name}: " + "; ".join(f"{len(names)} {kind}" + (f": {', '.join(names)}" if kind != "passed" and names else "")
                                             for kind, names in results.items()), flush=True)
        if results["FAILED"]:
            raise Failure(f"{len(results['FAILED'])} cases")
    return harness.SKIPPED if results["skipped"] else 0


def main(name, functions):
    """Runs all, or those whose names contain one of the command line's words, and ends the process."""
    try:
        sys.exit(_run(name, functions))
    except Failure as failure:
        print(f"FAILED: {failure}", flush=True)
        sys.exit(1)
