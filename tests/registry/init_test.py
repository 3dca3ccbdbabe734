"""`millrace init` with a real registry: from a topic and its subject, from a subject alone, in Avro, Protobuf and JSON Schema. Each file is
accepted by `validate`, and run as it is it gives the rows that confluent-kafka's serializers sent.

Usage: init_test.py PATH_OF_millrace
"""
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from deltalake import DeltaTable
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from millrace_runs import Broker, make_topics, send
from registry_server import Registry

BINARY = os.path.abspath(sys.argv[1])
COUNT = 200
START = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) - datetime.timedelta(days=1)
AVRO = {"type": "record", "name": "Reading", "fields": [
    {"name": "id", "type": "string"}, {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OK", "WARN"]}}]}
NEWER = {**AVRO, "fields": [*AVRO["fields"], {"name": "speed", "type": ["null", "double"], "default": None}]}
PROTO = 'syntax = "proto3"; package shop; message Other {} message Order { string id = 1; int64 at_ms = 2; double amount = 3; }'
JSON = {"title": "Click", "type": "object", "properties": {
    "id": {"type": "string"}, "ts": {"type": "string", "format": "date-time"}, "geo": {"type": "object"}, "n": {"type": "integer"}}}
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def at(i):
    return START + datetime.timedelta(seconds=i)


def context(topic):
    return SerializationContext(topic, MessageField.VALUE)


def millrace(folder, *arguments, code=0, **environment):
    done = subprocess.run([BINARY, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, env={**os.environ, **environment})
    assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


def check(folder, name, text, want, **environment):
    """The file is valid, and runs to these rows."""
    folder = folder / name
    folder.mkdir()
    (folder / "p.yaml").write_text(text)
    millrace(folder, "validate", "p.yaml", **environment)
    millrace(folder, "run", "-c", "p.yaml", "--until-end", "--set", "log.level=error", **environment)
    [table] = [path.parent for path in (folder / "lake").glob("*/_delta_log") if not path.parent.name.endswith(("_1m", "_dead_letters"))]
    columns = list(want[0])
    got = DeltaTable(str(table)).to_pyarrow_table().to_pylist()
    rows = sorted(({column: row[column] for column in columns} for row in got), key=lambda row: row["id"])
    claim(rows == want, f"{name}: every record is a row, with its values", [pair for pair in zip(rows, want) if pair[0] != pair[1]][:2] or len(rows))


def avro(folder, brokers, registry):
    client = SchemaRegistryClient({"url": registry.url})
    rows = [{"id": f"r{i:04}", "ts": at(i), "state": ["OK", "WARN"][i % 2], "speed": None if i < 100 else i / 4} for i in range(COUNT)]
    make_topics(brokers, 3, "readings")
    # Half of them by an older schema, whose id is another.
    old, new = AvroSerializer(client, json.dumps(AVRO)), AvroSerializer(client, json.dumps(NEWER))
    payloads = [old({k: v for k, v in row.items() if k != "speed"}, context("readings")) for row in rows[:100]]
    send(brokers, "readings", payloads + [new(row, context("readings")) for row in rows[100:]])
    source = ("--from", f"kafka://{brokers}/readings", "--registry", registry.url)
    text, _ = millrace(folder, "init", *source)
    for words in ("schema: registry", "version 2", "framing: confluent", "ts: timestamp", "speed: double", f'url: "{registry.url}"', "all 200 become rows"):
        claim(words in text, f"avro: says {words}", text)
    check(folder, "avro", text, rows)
    # From the schema alone, with a login and brokers that are variables.
    login = {"SCHEMA_REGISTRY_USERNAME": "reader", "SCHEMA_REGISTRY_PASSWORD": "hunter2"}
    alone, _ = millrace(folder, "init", "--registry", registry.url + "/", "--subject", "readings-value", **login)
    for words in ("Made of a schema alone", "topics: [readings]", "${KAFKA_BOOTSTRAP_SERVERS:?", "${SCHEMA_REGISTRY_USERNAME:?", "event_time: {column: ts}"):
        claim(words in alone, f"avro, alone: says {words}", alone)
    claim("hunter2" not in alone and "reader" not in alone.replace("readings", ""), "and not the login", alone)
    check(folder, "avro_alone", alone, rows, **login, KAFKA_BOOTSTRAP_SERVERS=brokers)
    # Another subject, and a topic that is empty.
    make_topics(brokers, 1, "readings.copy")
    named, _ = millrace(folder, "init", "--from", f"kafka://{brokers}/readings.copy", "--registry", registry.url, "--subject", "readings-value")
    claim("schema: {subject: readings-value}" in named and "Made of a schema alone" in named, "a subject that is named", named)
    for arguments, code, words in [
            (source[:2], 1, "--registry names that registry, or --schema a file"),
            (("--from", f"kafka://{brokers}/readings.copy", "--registry", registry.url), 1, "has no subject readings.copy-value"),
            (("--from", f"kafka://{brokers}/readings.copy", "--registry", registry.url), 1, "--subject names another one"),
            ((*source, "--message", "M"), 2, "the subject readings-value holds Avro, which has no messages"),
            ((*source, "--schema", "x.avsc"), 2, "--schema")]:
        out, said = millrace(folder, "init", *arguments, code=code)
        claim(words in said and out == "", f"init {arguments}: {words}", said)


def protobuf(folder, brokers, registry):
    client = SchemaRegistryClient({"url": registry.url})
    (folder / "order.proto").write_text(PROTO)
    subprocess.run(["protoc", f"-I{folder}", f"--descriptor_set_out={folder}/order.desc", "order.proto"], check=True)
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString((folder / "order.desc").read_bytes()).file:
        pool.Add(file)
    order = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))
    rows = [{"id": f"o{i:04}", "at_ms": at(i), "amount": i / 8} for i in range(COUNT)]
    to_bytes = ProtobufSerializer(order, client, {"use.deprecated.format": False})
    make_topics(brokers, 3, "orders")
    send(brokers, "orders", [to_bytes(order(id=row["id"], at_ms=int(row["at_ms"].timestamp()) * 1000, amount=row["amount"]), context("orders")) for row in rows])
    source = ("--from", f"kafka://{brokers}/orders", "--registry", registry.url)
    text, _ = millrace(folder, "init", *source, "--message", "shop.Order")
    for words in ("schema: {subject: orders-value, message: shop.Order}", "at_ms: timestamp_ms", "all 200 become rows"):
        claim(words in text, f"protobuf: says {words}", text)
    check(folder, "protobuf", text, rows)
    _, said = millrace(folder, "init", *source, "--message", "shop.Ordre", code=1)
    claim("did you mean 'shop.Order'?" in said, "the nearest message is named", said)


def json_schema(folder, brokers, registry):
    client = SchemaRegistryClient({"url": registry.url})
    rows = [{"id": f"c{i:04}", "ts": at(i), "geo": json.dumps({"lat": i / 2}, separators=(",", ":")), "n": i} for i in range(COUNT)]
    to_bytes = JSONSerializer(json.dumps(JSON), client)
    make_topics(brokers, 3, "clicks")
    send(brokers, "clicks", [to_bytes({**row, "ts": row["ts"].isoformat(), "geo": json.loads(row["geo"])}, context("clicks")) for row in rows])
    text, _ = millrace(folder, "init", "--from", f"kafka://{brokers}/clicks", "--registry", registry.url)
    for words in ("columns as in the subject clicks-value, version 1", "framing: confluent", "geo: json", "ts: timestamp"):
        claim(words in text, f"json: says {words}", text)
    claim("schema_registry" not in text, "json: nothing is read with the registry", text)
    check(folder, "json", text, rows)


def away(folder, registry):
    registry.kill()
    out, said = millrace(folder, "init", "--registry", registry.url, "--subject", "readings-value", code=1)
    claim(f"cannot be had from the schema registry {registry.url}" in said and out == "", "a registry that is away", said)


def main():
    with tempfile.TemporaryDirectory() as temporary, Broker() as broker, Registry() as registry:
        folder = pathlib.Path(temporary)
        for test in (avro, protobuf, json_schema):
            test(folder, broker.address, registry)
        away(folder, registry)
    print(f"init with a registry: {passed} claims held")


main()
