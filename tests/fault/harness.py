"""Processes, files and ports of a fault test: Millrace workers that can be killed, an events feeder, an API sampler.

Everything started here dies with the test: children get SIGKILL when this process ends in whatever way.
"""

import atexit
import collections
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import events

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "kafka"))

from broker import Broker, free_port  # noqa: E402  (the path is set just above)
from children import die_with_parent  # noqa: E402  (by broker)

SKIPPED = 77  # ctest's SKIP_RETURN_CODE.


class Failure(Exception):
    """The product did something that it must not."""


class Late(Failure):
    """It did that, and not as soon as it must: what a machine that stands still for a moment looks like too."""


def binary():
    path = os.environ.get("MILLRACE_BIN") or str(ROOT / "build" / "release" / "bin" / "millrace")
    if not os.access(path, os.X_OK):
        raise Failure(f"no program at {path}; set MILLRACE_BIN or run `make build`")
    return path


_started = time.monotonic()


def say(message):
    print(f"[{time.monotonic() - _started:6.1f}] {message}", flush=True)


def wait_for(condition, what, timeout_s=180, every_s=0.05):
    """The first true value of `condition`; a Failure names `what` was waited for."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"waited {timeout_s} s for {what}")
        time.sleep(every_s)


class Workspace:
    """A temporary folder that stays, and is named, when the test fails."""

    def __init__(self, name):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=f"millrace-{name}-"))
        self.failed = False

    def __enter__(self):
        return self.path

    def __exit__(self, kind, error, trace):
        if kind is None:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            say(f"kept for a look: {self.path}")


def start(command, log, environment=None):
    """A process that writes to the open file `log` and dies with this one. From the main thread only: the kernel ties the
    child's life to the thread that forks."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, preexec_fn=die_with_parent)


class Worker:
    """One `millrace run`."""

    running = set()
    peak_rss_kib = 0

    def __init__(self, folder, name, *, arguments=(), kill_at=None, environment=None, pipeline=events.pipeline_yaml, **settings):
        """`pipeline`: makes the configuration's text from `port` and the other settings."""
        self.name = name
        self.port = settings.setdefault("port", free_port())
        self.config = pathlib.Path(folder) / f"{name}.yaml"
        self.config.write_text(pipeline(**settings))
        self.log_path = pathlib.Path(folder) / f"{name}.log"
        env = {**os.environ, **(environment or {})}
        env.pop("MILLRACE_KILL_AT", None)
        if kill_at:
            env["MILLRACE_KILL_AT"] = kill_at
        with open(self.log_path, "ab") as log:
            self.process = start([binary(), "run", "-c", str(self.config), *arguments], log, env)
        Worker.running.add(self)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def tail(self, lines=25):
        return "\n".join(self.log().splitlines()[-lines:])

    def alive(self):
        return self.process.poll() is None

    def signal(self, number):
        self._note_rss()
        self.process.send_signal(number)

    def _note_rss(self):
        try:
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return
        peak = re.search(r"VmHWM:\s+(\d+)", status)
        if peak:
            Worker.peak_rss_kib = max(Worker.peak_rss_kib, int(peak.group(1)))

    def wait(self, timeout_s=180):
        """The exit status; minus the signal if one killed it."""
        deadline = time.monotonic() + timeout_s
        while self.alive():
            self._note_rss()
            if time.monotonic() > deadline:
                raise Failure(f"{self.name} did not end within {timeout_s} s:\n{self.tail()}")
            time.sleep(0.02)
        Worker.running.discard(self)
        return self.process.returncode

    def kill(self):
        self.signal(signal.SIGKILL)
        status = self.wait()
        if status != -signal.SIGKILL:
            raise Failure(f"{self.name} had ended with status {status} before it was killed:\n{self.tail()}")

    def stop(self, timeout_s=180):
        """SIGTERM; must end with status 0."""
        self.signal(signal.SIGTERM)
        self.expect_exit(0, timeout_s)

    def expect_exit(self, status, timeout_s=180):
        got = self.wait(timeout_s)
        if got != status:
            raise Failure(f"{self.name} ended with status {got}, not {status}:\n{self.tail()}")

    def get(self, path, timeout_s=60):
        """(status, body as JSON or text); None while nobody answers. Numbers with a point come as text, with all digits."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            if "json" in (response.getheader("Content-Type") or ""):
                return response.status, json.loads(body, parse_float=str)
            return response.status, body.decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def pipeline(self):
        """The body of /v1/pipeline; None while there is none."""
        got = self.get("/v1/pipeline")
        return got[1] if got and got[0] == 200 else None

    def partitions(self):
        status = self.pipeline()
        return [p["partition"] for p in status["source"]["partitions"]] if status else []

    def wait_for_partitions(self, condition, what, timeout_s=180):
        def check():
            if not self.alive():
                raise Failure(f"{self.name} ended with status {self.process.poll()} while waiting for {what}:\n{self.tail()}")
            return condition(self.partitions())
        wait_for(check, f"{self.name}: {what}", timeout_s)


@atexit.register
def _kill_all():
    for worker in list(Worker.running):
        if worker.alive():
            worker.process.kill()


def die_on_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))


class Feeder:
    """Produces events on a thread of its own, as far as the test has allowed."""

    CHUNK = 100

    def __init__(self, brokers, topic, seed, partitions, name="p1", keeps_records=False):
        from confluent_kafka import Producer
        self.producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 5, "log_level": 2,
                                  "queue.buffering.max.messages": 200_000})
        self.topic, self.partitions = topic, partitions
        start_us = int((time.time() - 3600) * 1_000_000)
        self.generator = events.Generator(seed, name, start_us)
        self.random = random.Random(seed)
        self.allowed = 0
        self.sent = 0
        self.keeps_records = keeps_records
        self.records = []  # What the broker has: (partition, offset, its time in us, key, value, headers).
        self.failure = None
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def allow(self, count, over_s=0.0):
        """`count` more events, spread over about this long."""
        with self._wake:
            self.allowed += count
            self._pause_s = over_s * self.CHUNK / max(1, count)
            self._wake.notify()

    def _send(self, count):
        for _ in range(count):
            key, value, headers = self.generator.make()
            while True:
                try:
                    self.producer.produce(self.topic, value=value, key=key, headers=headers, partition=self.random.randrange(self.partitions),
                                          on_delivery=lambda error, message, h=headers: self._delivered(error, message, h))
                    break
                except BufferError:
                    self.producer.poll(0.1)
        self.producer.poll(0)
        self.sent += count

    def _delivered(self, error, message, headers):
        if error is not None:
            self.failure = str(error)
        elif self.keeps_records:
            self.records.append((message.partition(), message.offset(), message.timestamp()[1] * 1000, message.key(), message.value(), headers))

    def _run(self):
        while True:
            with self._wake:
                while not self._closed and self.sent >= self.allowed:
                    self._wake.wait()
                if self.sent >= self.allowed:
                    return
                count = min(self.CHUNK, self.allowed - self.sent)
                pause_s = self._pause_s
            self._send(count)
            if pause_s > 0:
                time.sleep(pause_s * self.random.uniform(0.2, 1.8))

    def flush(self):
        """Everything allowed so far is in the topic."""
        wait_for(lambda: self.sent >= self.allowed, "the producer", 600)
        if self.producer.flush(120) or self.failure:
            raise RuntimeError(f"producing to {self.topic} failed: {self.failure or 'timeout'}")

    def close(self):
        self.flush()
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()


class Sampler:
    """Asks the running workers questions at random moments and keeps the answers."""

    def __init__(self, seed, answers_max):
        self.random = random.Random(f"{seed}/sampler")
        self.answers_max = answers_max
        self.answers = []  # (parameters, answer)
        self.statuses = collections.Counter()
        self.problems = []
        self.pause_s = (0.02, 0.2)
        self._workers = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def watch(self, *workers):
        self._workers = list(workers)

    def _question(self):
        r = self.random
        kind = r.randrange(6)
        parameters = {"step": "0", "group_by": ""}
        if kind == 1:
            parameters["group_by"] = "cc,page"
        elif kind == 2:
            parameters.update(step="5m", group_by="cc")
        elif kind == 3:
            parameters.update(group_by="page", where="cc = 'de' AND page <> '/'")
        elif kind == 4:
            parameters.update(step="1m", group_by="")
        elif kind == 5:
            middle = (int(time.time()) // 60 - 55) * 60
            parameters.update(group_by="cc", **{"from": events.rfc3339(middle * 1_000_000)[:19] + "Z",
                                                "to": events.rfc3339((middle + 180) * 1_000_000)[:19] + "Z"})
        if r.random() < 0.25:
            parameters["freshness"] = "committed"
        return parameters

    def _run(self):
        while not self._stop.wait(self.random.uniform(*self.pause_s)):
            workers = [w for w in self._workers if w.alive()]
            if not workers or len(self.answers) >= self.answers_max:
                continue
            parameters = self._question()
            got = self.random.choice(workers).get("/v1/aggregates/views_1m?" + urllib.parse.urlencode(parameters), 10)
            if got is None:
                self.statuses["none"] += 1
                continue
            self.statuses[got[0]] += 1
            if got[0] == 200:
                self.answers.append((parameters, got[1]))
            elif got[0] != 503 and len(self.problems) < 5:
                self.problems.append(f"{parameters}: {got[0]} {got[1]}")

    def close(self):
        self._stop.set()
        self._thread.join()
