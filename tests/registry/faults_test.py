"""A registry that is away, killed and hangs, schemas that change meanwhile, and workers that are killed: partitions that need a schema
wait, all others go on, and in the end each record is there once and none is a dead letter.

Usage: faults_test.py PATH_OF_millrace [ROUNDS [SEED]]
"""
import json
import pathlib
import random
import re
import signal
import sys
import tempfile
import time
import urllib.error

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from millrace_runs import Broker, Pipeline, free_port, make_topics, send, wait_for
from registry_server import Registry

BINARY = sys.argv[1]
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 8
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 18
KILL_POINTS = ["epoch.prepared", "epoch.sealed", "commit.after_put", "poll.after"]
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


class Source:
    """Records of a topic, each with an id, in versions of one schema: each version has a field more."""

    def __init__(self, brokers, registry, topic):
        self.brokers, self.topic, self.sent, self.versions = brokers, topic, 0, []
        self.client = SchemaRegistryClient({"url": registry.url})
        make_topics(brokers, 3, topic)
        self.add_version()

    def add_version(self):
        """While the registry answers: the serializer learns its id now."""
        fields = [{"name": "id", "type": "long"}, {"name": "version", "type": "int"}]
        fields += [{"name": f"f{i}", "type": ["null", "long"], "default": None} for i in range(1, len(self.versions) + 1)]
        to_bytes = AvroSerializer(self.client, json.dumps({"type": "record", "name": "R", "fields": fields}))
        self.versions.append(to_bytes)
        self.encode(len(self.versions) - 1, -1)

    def encode(self, version, number):
        event = {"id": number, "version": version, **{f"f{i}": number * i for i in range(1, version + 1)}}
        return self.versions[version](event, SerializationContext(self.topic, MessageField.VALUE))

    def send(self, count, version=None, partition=None):
        payloads = []
        for _ in range(count):
            payloads.append(self.encode(len(self.versions) - 1 if version is None else version, self.sent))
            self.sent += 1
        send(self.brokers, self.topic, payloads, partition)

    def check(self, pipeline):
        rows = pipeline.rows()
        claim(sorted(row["id"] for row in rows) == list(range(self.sent)), "each record once",
              f"{len(rows)} rows, {len({r['id'] for r in rows})} ids of {self.sent}")
        for row in rows:
            rest = json.loads(row.get("_rescued") or "{}")
            for i in range(1, row["version"] + 1):
                value = row.get(f"f{i}")
                assert (rest.get(f"f{i}") if value is None else value) == row["id"] * i, row
        claim(pipeline.letters() == [], "no dead letters", pipeline.letters()[:3])
        pipeline.call("audit", "-c", str(pipeline.file))


def count(pipeline):
    return len(pipeline.rows(["id"]))


def waiting(pipeline):
    return [p["partition"] for p in pipeline.lag()["partitions"] if p["waits_for"]]


def others_go_on(folder, brokers, registry, hang):
    """The registry is away (or hangs) as a schema comes that nobody has seen."""
    name = "hangs" if hang else "away"
    source = Source(brokers, registry, name)
    source.send(300)
    pipeline = Pipeline(BINARY, folder, name, brokers, registry.url, "{format: avro, schema: registry, unknown_fields: rescue}")
    pipeline.start()
    wait_for("the first rows", lambda: count(pipeline) == 300)
    source.add_version()
    if hang:
        registry.suspend()
    else:
        registry.kill()
    source.send(50, version=1, partition=0)
    source.send(200, version=0, partition=0)
    source.send(300, version=0, partition=1)
    source.send(300, version=0, partition=2)
    wait_for("the others' rows", lambda: count(pipeline) >= 900)
    wait_for("partition 0 waits", lambda: waiting(pipeline) == [0])

    def lags():
        return {p["partition"]: p for p in pipeline.lag()["partitions"]}
    wait_for("nothing else does", lambda: lags()[0]["lag"] >= 50 and lags()[1]["lag"] == lags()[2]["lag"] == 0)
    wait_for("the document says why", lambda: hang or "cannot be had from the schema registry" in lags()[0]["waits_for"])
    claim(lags()[0]["paused"] is False, "and does not call it paused", lags()[0])
    wait_for("a metric counts it", lambda: f'millrace_waiting_partitions{{topic="{name}"}} 1' in pipeline.get("/metrics"))

    def asked_in_vain():
        text = pipeline.get("/metrics")
        requests, failures = (int(re.search(rf"^millrace_registry_{kind}_total (\d+)$", text, re.M)[1]) for kind in ("requests", "failures"))
        return requests >= 1 and (hang or 1 <= failures <= requests)
    wait_for("metrics count what the registry was asked for, and in vain", asked_in_vain)
    wait_for("and what it has not answered", lambda: "\nmillrace_registry_wanted_ids 1\n" in pipeline.get("/metrics"))
    claim(pipeline.letters() == [], "no dead letters", pipeline.letters()[:3])
    source.send(100, version=0, partition=1)
    wait_for("the others go on", lambda: count(pipeline) >= 1000)
    if hang:
        registry.resume()
    else:
        # A stop does not wait for it, and a start does.
        pipeline.stop()
        claim(count(pipeline) >= 1000, "what was read is committed", count(pipeline))
        pipeline.start()
        wait_for("a start says what it waits for", lambda: "; waiting for it" in pipeline.log())
        waiting_start(pipeline)
        registry.restart()
    wait_for("all rows", lambda: count(pipeline) == source.sent)
    wait_for("nobody waits", lambda: waiting(pipeline) == [])
    wait_for("the metric says so", lambda: f'millrace_waiting_partitions{{topic="{name}"}} 0' in pipeline.get("/metrics"))
    pipeline.stop()
    source.check(pipeline)


def waiting_start(pipeline):
    """A process that waits for the registry at its start answers, minds its signals, and waits on."""
    wait_for("it answers", lambda: pipeline.get("/livez") == "ok\n")
    for path in ("/readyz", "/v1/tables"):
        try:
            pipeline.get(path)
            claim(False, f"{path} is not ready")
        except urllib.error.HTTPError as error:
            problem = json.loads(error.read())
            claim(error.code == 503 and problem["code"] == "waiting_for_registry", f"{path}: 503", problem)
            claim("cannot be had from the schema registry" in problem["detail"], f"{path} says for what", problem)
    metrics = pipeline.get("/metrics")
    claim("\nmillrace_waiting_for_registry 1\n" in metrics and "process_" in metrics, "and a metric does", metrics)
    pipeline.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    claim(pipeline.process.poll() is None and pipeline.get("/livez") == "ok\n", "SIGHUP does not end it")
    pipeline.stop()
    claim(True, "SIGTERM ends it in order")
    pipeline.start()
    wait_for("another start answers", lambda: pipeline.get("/livez") == "ok\n")
    good = pipeline.file.read_text()
    pipeline.file.write_text(good.replace("decode:", "decoed:"))
    wait_for("a file that is changed meanwhile and cannot run is told of", lambda: "; waiting for another file" in pipeline.log())
    claim("the key 'decode' is missing; waiting for another file" in pipeline.log() and pipeline.process.poll() is None, "and waited for", pipeline.log()[-2000:])
    pipeline.file.write_text(good)


def until_end(folder, brokers):
    """--until-end waits a minute. Gives what is to be asked for that once it is over."""
    pipeline = Pipeline(BINARY, folder, "until_end", brokers, f"http://127.0.0.1:{free_port()}", "{format: avro, schema: registry}")
    begun = time.monotonic()
    pipeline.start("--until-end")

    def gives_up():
        claim(pipeline.process.wait(300) == 1 and time.monotonic() - begun >= 60, "it gives up", pipeline.log())
        claim("--until-end waits 60 s for that" in pipeline.log(), "and says why", pipeline.log())
    return gives_up


def kills(folder, brokers, registry):
    """Workers and the registry die in turn, and schemas change in the middle."""
    chance = random.Random(SEED)
    source = Source(brokers, registry, "kills")
    pipeline = Pipeline(BINARY, folder, "kills", brokers, registry.url, "{format: avro, schema: registry, unknown_fields: add}", interval="100ms")
    for number in range(ROUNDS):
        point = chance.choice(KILL_POINTS)
        kill_at = f"{point}:{chance.randrange(1, 12)}" if chance.random() < 0.7 else None
        print(f"round {number}: kill_at={kill_at}", flush=True)
        pipeline.start(kill_at=kill_at)
        source.send(chance.randrange(100, 400))
        source.add_version()
        fate = chance.choice(["kill", "suspend", "none"])
        if fate == "kill":
            registry.kill()
        elif fate == "suspend":
            registry.suspend()
        source.send(chance.randrange(100, 400))
        source.send(chance.randrange(100, 400), version=chance.randrange(len(source.versions)))
        if chance.random() < 0.5 and pipeline.process.poll() is None:
            pipeline.kill()
            pipeline.start(kill_at=f"{chance.choice(KILL_POINTS)}:{chance.randrange(1, 12)}")
        if fate == "kill":
            registry.start()
        elif fate == "suspend":
            registry.resume()
        source.send(chance.randrange(50, 100))
        if chance.random() < 0.5:
            wait_for("an end, or all rows", lambda: pipeline.process.poll() is not None or count(pipeline) == source.sent)
        pipeline.kill()
    pipeline.until_end()
    source.check(pipeline)


def main():
    print(f"seed {SEED}", flush=True)
    with tempfile.TemporaryDirectory() as temporary, Broker() as broker, Registry() as registry:
        folder = pathlib.Path(temporary)
        gives_up = until_end(folder, broker.address)
        others_go_on(folder, broker.address, registry, hang=False)
        others_go_on(folder, broker.address, registry, hang=True)
        kills(folder, broker.address, registry)
        gives_up()
    print(f"registry faults: {passed} claims held")


main()
