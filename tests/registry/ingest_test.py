"""`millrace ingest` with kafka-delta-ingest's --avro URL and --json URL, on what confluent-kafka's serializers sent: transforms over the
records, two schemas of one topic, ids that nobody knows, a proxy, and a registry that is away for a while.

Usage: ingest_test.py PATH_OF_millrace
"""
import datetime
import http.server
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import threading

import pyarrow
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from deltalake import DeltaTable

from forwarding import Forwarding
from millrace_runs import Broker, make_topics, send, wait_for
from registry_server import Registry

BINARY = os.path.abspath(sys.argv[1])
COUNT = 300
START = datetime.datetime(2026, 3, 1, 22, tzinfo=datetime.timezone.utc)
AVRO = {"type": "record", "name": "Reading", "fields": [
    {"name": "id", "type": "long"}, {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}
NEWER = {**AVRO, "fields": [{"name": "speed", "type": ["null", "double"], "default": None}, *AVRO["fields"]]}
JSON = {"title": "Reading", "type": "object", "properties": {"id": {"type": "integer"}, "ts": {"type": "integer"}, "speed": {"type": "number"}}}
TABLE = pyarrow.schema([("id", pyarrow.int64()), ("speed", pyarrow.float64()), ("date", pyarrow.string()), ("millis", pyarrow.int64())])
TRANSFORMS = ["-t", "date: substr(epoch_millis_to_iso8601(ts), `0`, `10`)", "-t", "millis: ts"]
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def millis(i):
    return int((START + datetime.timedelta(minutes=i)).timestamp()) * 1000


def row_of(i):
    return {"id": i, "speed": None if i % 2 else i / 4, "date": (START + datetime.timedelta(minutes=i)).date().isoformat(), "millis": millis(i)}


def context(topic):
    return SerializationContext(topic, MessageField.VALUE)


class Ingest:
    def __init__(self, folder, brokers, topic):
        self.folder, self.topic = folder, topic
        self.command = [BINARY, "ingest", topic, topic, "-k", brokers, "-a", topic, "-g", topic, "-l", "1", "--dlq_table_location", f"{topic}_letters", *TRANSFORMS]
        DeltaTable.create(folder / topic, TABLE, partition_by=["date"])

    def run(self, *arguments, **environment):
        done = subprocess.run([*self.command, "-e", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=300, env={**os.environ, **environment})
        assert done.returncode == 0, f"{self.topic}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"

    def start(self, *arguments):
        return subprocess.Popen([*self.command, *arguments], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def rows(self):
        return sorted(DeltaTable(str(self.folder / self.topic)).to_pyarrow_table().to_pylist(), key=lambda row: row["id"])

    def letters(self):
        log = self.folder / f"{self.topic}_letters" / "_delta_log"
        return DeltaTable(str(log.parent)).to_pyarrow_table().to_pylist() if any(log.glob("*.json")) else []

    def check(self, count, reasons):
        want = [row_of(i) for i in range(count)]
        rows = self.rows()
        claim(rows == want, f"{self.topic}: each message is a row, once", [pair for pair in zip(rows, want) if pair[0] != pair[1]][:2] or len(rows))
        claim(sorted(letter["reason"] for letter in self.letters()) == reasons, f"{self.topic}: the others are dead letters", self.letters())


def avro(folder, brokers, registry):
    client = SchemaRegistryClient({"url": registry.url})
    make_topics(brokers, 3, "avro")
    old, new = AvroSerializer(client, json.dumps(AVRO)), AvroSerializer(client, json.dumps(NEWER))

    def payload(i):
        event = {"id": i, "ts": START + datetime.timedelta(minutes=i)}
        return old(event, context("avro")) if i % 2 else new({**event, "speed": i / 4}, context("avro"))

    ingest = Ingest(folder, brokers, "avro")
    send(brokers, "avro", [payload(i) for i in range(COUNT)] + [b"{}", b"\0" + struct.pack(">I", 999_999) + payload(1)[5:], payload(1)[:-1]])
    ingest.run("--avro", registry.url + "/")
    ingest.check(COUNT, ["bad_avro", "bad_framing", "unknown_schema"])
    # A registry that is away makes the messages wait, and no dead letters of them.
    more = [payload(i) for i in range(COUNT, COUNT + 50)]
    registry.kill()
    process = ingest.start("--avro", registry.url)
    try:
        send(brokers, "avro", more)
        registry.restart()
        wait_for("the rows that waited", lambda: len(ingest.rows()) == COUNT + 50)
        process.terminate()
        claim(process.wait(120) == 0, "a stop in order")
    finally:
        process.kill()
    ingest.check(COUNT + 50, ["bad_avro", "bad_framing", "unknown_schema"])


class Proxy(Forwarding):
    asked = []

    def do_GET(self):
        self.asked.append(self.path)
        self.forward(self.path)


def proxied(folder, brokers, registry):
    door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    (folder / "proxied").mkdir()
    ingest = Ingest(folder / "proxied", brokers, "avro")
    ingest.run("--avro", registry.url, SCHEMA_REGISTRY_PROXY=f"http://127.0.0.1:{door.server_address[1]}")
    ingest.check(COUNT + 50, ["bad_avro", "bad_framing", "unknown_schema"])
    claim(any(path.startswith(f"{registry.url}/schemas/ids/") for path in Proxy.asked), "the registry is asked through the proxy", Proxy.asked)
    door.shutdown()


def json_schema(folder, brokers, registry):
    client = SchemaRegistryClient({"url": registry.url})
    make_topics(brokers, 3, "json")
    to_bytes = JSONSerializer(json.dumps(JSON), client)
    events = [{"id": i, "ts": millis(i), **({} if i % 2 else {"speed": i / 4})} for i in range(COUNT)]
    ingest = Ingest(folder, brokers, "json")
    send(brokers, "json", [to_bytes(event, context("json")) for event in events] + [b"{}"])
    ingest.run(JSON_REGISTRY=registry.url)
    ingest.check(COUNT, ["bad_framing"])
    # Without a registry it is plain JSON.
    make_topics(brokers, 3, "plain")
    plain = Ingest(folder, brokers, "plain")
    send(brokers, "plain", [json.dumps(event).encode() for event in events])
    plain.run("--json", "")
    plain.check(COUNT, [])


def main():
    with tempfile.TemporaryDirectory() as temporary, Broker() as broker, Registry() as registry:
        folder = pathlib.Path(temporary)
        for test in (avro, proxied, json_schema):
            test(folder, broker.address, registry)
    print(f"ingest with a registry: {passed} claims held")


main()
