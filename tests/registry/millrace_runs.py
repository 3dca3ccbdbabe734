"""Pipelines of this folder's tests: one folder each, with its file and its lake."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.request

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from deltalake import DeltaTable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kafka"))
from broker import Broker, free_port  # noqa: E402,F401
from children import die_with_parent  # noqa: E402  (by broker)


class Pipeline:
    """`decode` is the value of decode: in one line; `more` are further lines of the file."""

    def __init__(self, binary, folder, name, brokers, registry_url, decode, more="", topics=None, registry_more="", interval="200ms"):
        self.binary, self.folder, self.name = binary, pathlib.Path(folder) / name, name
        self.folder.mkdir()
        self.file = self.folder / "p.yaml"
        self.port = free_port()
        self.process = None
        self.file.write_text(f"""version: 1
pipeline: {name}
source:
  kafka: {{bootstrap.servers: "{brokers}", group.id: {name}, session.timeout.ms: "6000"}}
  schema_registry: {{url: "{registry_url}"{registry_more}}}
  topics: [{topics or name}]
decode: {decode}
tables:
  - {{name: {name}, on_new_column: add, commit: {{interval: {interval}}}}}
lake: {{uri: {self.folder}/lake}}
serve: {{listen: "127.0.0.1:{self.port}"}}
log: {{level: info}}
{more}""")

    def call(self, *arguments, code=0, env=None, timeout=300):
        done = subprocess.run([self.binary, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=timeout,
                              env={**os.environ, **(env or {})})
        assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        return done

    def until_end(self, kill_at=None):
        env = {"MILLRACE_KILL_AT": kill_at} if kill_at else {}
        return self.call("run", "-c", str(self.file), "--until-end", code=-signal.SIGKILL if kill_at else 0, env=env)

    def start(self, *arguments, kill_at=None):
        env = {**os.environ, **({"MILLRACE_KILL_AT": kill_at} if kill_at else {})}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([self.binary, "run", "-c", str(self.file), *arguments], cwd=self.folder, env=env, stdout=log, stderr=log,
                                            preexec_fn=die_with_parent)

    def stop(self, timeout=120):
        self.process.terminate()
        assert self.process.wait(timeout) == 0, self.log()[-3000:]
        self.process = None

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as reply:
            return reply.read().decode()

    def lag(self):
        return json.loads(self.get("/v1/lag"))

    def rows(self, columns=None):
        return self.rows_of(self.name, columns)

    def letters(self):
        return self.rows_of(f"{self.name}_dead_letters")

    def rows_of(self, name, columns=None):
        """None of a table whose first commit is still to come, though its folder may be there."""
        table = self.folder / "lake" / name
        if not any((table / "_delta_log").glob("*.json")):
            return []
        return DeltaTable(str(table)).to_pyarrow_table(columns=columns).to_pylist()


def wait_for(what, condition, timeout=180):
    deadline = time.monotonic() + timeout
    failure = None
    while time.monotonic() < deadline:
        try:
            if condition():
                return
            failure = None
        except OSError as error:
            failure = error
        time.sleep(0.1)
    raise AssertionError(f"waited {timeout} s for: {what} ({failure})")


def make_topics(brokers, partitions, *names):
    admin = AdminClient({"bootstrap.servers": brokers})
    for future in admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        future.result(60)
    # The controller, which has answered, knows a topic before the broker tells clients of it.
    def known():
        topics = admin.list_topics(timeout=60).topics
        return all(name in topics and len(topics[name].partitions) == partitions and
                   all(partition.leader >= 0 for partition in topics[name].partitions.values()) for name in names)
    wait_for(f"topics {names}", known)


def send(brokers, topic, payloads, partition=None):
    """In their order; to one partition, or to all of three in turn."""
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 1})
    for i, payload in enumerate(payloads):
        producer.produce(topic, payload, partition=i % 3 if partition is None else partition)
    assert producer.flush(60) == 0
