"""Structs, lists and maps within each other, from three topics of one pipeline: Avro and Protobuf, whose schemas are in a registry, and JSON.
Workers are killed at kill points and at random, the registry is killed and hangs, and the schemas change meanwhile: each record is there once,
none is a dead letter, and each value is what the producer meant, as pyarrow and DuckDB read the tables.

Usage: nested_test.py PATH_OF_millrace [--rounds N] [--records N] [--seed S]
"""
import argparse
import json
import pathlib
import random
import subprocess
import tempfile

import duckdb
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from deltalake import DeltaTable
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from millrace_runs import Broker, Pipeline, make_topics, send, wait_for
from registry_server import Registry

KILL_POINTS = ["poll.after", "upload.mid", "upload.finished", "epoch.sealed", "epoch.prepared", "commit.before_put", "commit.after_put", "columns.added"]
FORMATS = ("avro", "protobuf", "json")
PIPELINE = """version: 1
pipeline: nested
source:
  kafka: {{bootstrap.servers: "{brokers}", group.id: nested, session.timeout.ms: "6000"}}
  schema_registry: {{url: "{registry}"}}
inputs:
{inputs}
tables:
{tables}
lake: {{uri: {folder}/lake}}
serve: {{listen: "127.0.0.1:{port}"}}
"""
INPUT = """  - name: {format}
    topics: [{format}]
    decode:
      format: {format}{schema}
      unknown_fields: add
      columns:
        id: int64
        version: int32
        geo: "struct<city: string, at: struct<lat: double, zip: int64>>"
        items: {{type: list<struct>, fields: {{sku: string, n: int64, tags: list<string>, counts: "map<string, int64>"}}}}
        attrs: map<string, double>
        cents: int64
        words: string"""
PROTO = """syntax = "proto3";
message Order {{
  message At {{ double lat = 1; optional int64 zip = 2; }}
  message Geo {{ optional string city = 1; At at = 2; }}
  message Item {{ string sku = 1; optional int64 n = 2; repeated string tags = 3; map<string, int64> counts = 4;{note} }}
  int64 id = 1;
  int32 version = 2;
  Geo geo = 3;
  repeated Item items = 4;
  map<string, double> attrs = 5;
  oneof price {{ int64 cents = 6; string words = 7; }}
{more}
}}
"""
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def avro_schema(version):
    def optional(of):
        return ["null", of]

    def record(name, **fields):
        return {"type": "record", "name": name, "fields": [{"name": key, "type": of, **({"default": None} if isinstance(of, list) else {})}
                                                           for key, of in fields.items()]}

    note = {"note": optional("string")} if version else {}
    item = record("Item", sku="string", n=optional("long"), tags={"type": "array", "items": "string"}, counts={"type": "map", "values": "long"}, **note)
    order = record("Order", id="long", version="int",
                   geo=optional(record("Geo", city=optional("string"), at=optional(record("At", lat="double", zip=optional("long"))))),
                   items={"type": "array", "items": item}, attrs={"type": "map", "values": "double"}, cents=optional("long"), words=optional("string"),
                   **{f"f{i}": optional("long") for i in range(1, version + 1)})
    # Others order the fields otherwise.
    return {**order, "fields": order["fields"][::-1] if version % 2 else order["fields"]}


def proto_class(folder, version):
    text = PROTO.format(note=" optional string note = 5;" if version else "",
                        more="\n".join(f"  optional int64 f{i} = {10 + i};" for i in range(1, version + 1)))
    (folder / f"order{version}.proto").write_text(text)
    subprocess.run(["protoc", f"-I{folder}", f"--descriptor_set_out={folder}/order.desc", f"order{version}.proto"], check=True)
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString((folder / "order.desc").read_bytes()).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Order"))


class Topic:
    """Orders, each with an id that says all of its values, in versions of one schema: each has a field more, and all but the first a member more in
    the items, which no column has."""

    def __init__(self, name, folder, broker, registry, seed):
        self.name, self.folder, self.brokers, self.seed = name, folder, broker.address, seed
        self.client = SchemaRegistryClient({"url": registry.url})
        self.sent = {}  # Id: version.
        self.encoders = []
        make_topics(self.brokers, 3, name)
        self.add_version()

    def add_version(self):
        """While the registry answers: the serializers learn their ids now."""
        version = len(self.encoders)
        context = SerializationContext(self.name, MessageField.VALUE)
        if self.name == "avro":
            to_avro = AvroSerializer(self.client, json.dumps(avro_schema(version)))
            self.encoders.append(lambda order: to_avro(order, context))
        elif self.name == "protobuf":
            kind = proto_class(self.folder, version)
            to_protobuf = ProtobufSerializer(kind, self.client, {"use.deprecated.format": False})
            self.encoders.append(lambda order: to_protobuf(kind(**order), context))
        else:
            self.encoders.append(lambda order: json.dumps(order).encode())
        self.encoders[version](self.order(0, version))

    def order(self, number, version):
        chance = random.Random(f"{self.seed}/{number}")

        def maybe(value):
            return value if chance.random() < 0.8 else None

        items = [{"sku": f"s{chance.randrange(50)}", "n": maybe(chance.randrange(-10**15, 10**15)),
                  "tags": [chance.choice(["", "x", "Zürich" * 9]) for _ in range(chance.randrange(3))],
                  "counts": {f"k{i}": chance.randrange(-5, 100) for i in range(chance.randrange(3))},
                  **({"note": f"{number}/{i}"} if version else {})}
                 for i in range(chance.choice([0, 0, 1, 2, 12]))]
        at = maybe({"lat": chance.uniform(-90, 90), "zip": maybe(chance.randrange(10**5))})
        price = chance.choice([{"cents": chance.randrange(10**9)}, {"words": "a lot"}, {}])
        return {"id": number, "version": version, "geo": maybe({"city": maybe(chance.choice(["Lyon", "", "Pune"])), "at": at}), "items": items,
                "attrs": {key: chance.uniform(-1, 1) for key in chance.sample(["a", "b", "ü", ""], chance.randrange(4))}, **price,
                **{f"f{i}": number * i for i in range(1, version + 1)}}

    def send(self, count, version=None):
        version = len(self.encoders) - 1 if version is None else version
        numbers = range(len(self.sent), len(self.sent) + count)
        send(self.brokers, self.name, [self.encoders[version](self.order(number, version)) for number in numbers])
        self.sent.update(dict.fromkeys(numbers, version))

    def check(self, pipeline):
        rows = pipeline.rows_of(self.name)
        claim(sorted(row["id"] for row in rows) == sorted(self.sent), f"{self.name}: each record once",
              f"{len(rows)} rows, {len({row['id'] for row in rows})} ids of {len(self.sent)}")
        for row in rows:
            want = self.order(row["id"], self.sent[row["id"]])
            rest = json.loads(row["_rescued"] or "{}")
            # What no member takes keeps all of the field.
            notes = [item["note"] for item in want["items"] if "note" in item]
            assert [item["note"] for item in rest.get("items", [])] == notes, (self.name, want, rest)
            for item in want["items"]:
                item.pop("note", None)
            for key, value in want.items():
                got = dict(row[key]) if key == "attrs" else row.get(key)
                if got is None and key.startswith("f") and key in rest:
                    got = int(rest[key])
                assert plain(got) == value, f"{self.name}: {key} of {row['id']} is {got!r}, not {value!r}"
            for key in ("cents", "words"):
                assert key in want or row[key] is None, (self.name, key, row)
        claim(True, f"{self.name}: each value")
        orders = [self.order(number, version) for number, version in self.sent.items()]
        want = (len(orders), sum(len(order["items"]) for order in orders), sum(item["n"] or 0 for order in orders for item in order["items"]),
                sum(tag == "x" for order in orders for item in order["items"] for tag in item["tags"]),
                max(order["geo"]["at"]["lat"] for order in orders if order["geo"] and order["geo"]["at"]), sum("a" in order["attrs"] for order in orders))
        database = duckdb.connect()
        database.register("orders", DeltaTable(str(pipeline.folder / "lake" / self.name)).to_pyarrow_dataset())
        got = database.execute("""SELECT count(*), sum(len(items)), sum(list_sum([item.n FOR item IN items])),
            sum(len(list_filter(flatten([item.tags FOR item IN items]), tag -> tag = 'x'))), max(geo.at.lat), count(attrs['a']) FROM orders""").fetchone()
        claim(tuple(got) == want, f"{self.name}: DuckDB over the table", f"{got}, not {want}")


def plain(value):
    """As order() has it: pyarrow gives maps as lists of pairs."""
    if isinstance(value, list):
        return [plain(element) for element in value]
    if isinstance(value, dict):
        return {key: dict(member) if key == "counts" else plain(member) for key, member in value.items()}
    return value


def run(arguments, folder, broker, registry):
    chance = random.Random(arguments.seed)
    topics = [Topic(name, folder, broker, registry, arguments.seed) for name in FORMATS]
    pipeline = Pipeline(arguments.binary, folder, "nested", broker.address, registry.url, "{format: json}")
    schema = {"avro": "\n      schema: registry", "protobuf": "\n      schema: registry", "json": ""}
    pipeline.file.write_text(PIPELINE.format(
        brokers=broker.address, registry=registry.url, folder=pipeline.folder, port=pipeline.port,
        inputs="\n".join(INPUT.format(format=name, schema=schema[name]) for name in FORMATS),
        tables="\n".join(f"  - {{name: {name}, from: {name}, on_new_column: add, commit: {{interval: 100ms}}}}" for name in FORMATS)))
    pipeline.call("validate", str(pipeline.file))

    def is_complete():
        return all(len(pipeline.rows_of(topic.name, ["id"])) == len(topic.sent) for topic in topics)

    for number in range(arguments.rounds):
        # Each point in its turn, and now and then none.
        kill_at = f"{KILL_POINTS[number % len(KILL_POINTS)]}:{chance.randrange(1, 9)}" if chance.random() < 0.8 else None
        fate = chance.choice(["kill", "suspend", "none"])
        print(f"round {number}: kill_at={kill_at}, registry: {fate}", flush=True)
        pipeline.start(kill_at=kill_at)
        for topic in topics:
            topic.send(chance.randrange(1, arguments.records))
            if number < 6:
                topic.add_version()
        if fate == "kill":
            registry.kill()
        elif fate == "suspend":
            registry.suspend()
        for topic in topics:
            topic.send(chance.randrange(1, arguments.records))
            topic.send(chance.randrange(1, arguments.records), version=chance.randrange(len(topic.encoders)))
        if chance.random() < 0.5:
            pipeline.kill()
            pipeline.start(kill_at=f"{chance.choice(KILL_POINTS)}:{chance.randrange(1, 9)}")
        if fate == "kill":
            registry.start()
        elif fate == "suspend":
            registry.resume()
        if chance.random() < 0.5:
            wait_for("an end, or all rows", lambda: pipeline.process.poll() is not None or is_complete())
        pipeline.kill()
    pipeline.until_end()
    for topic in topics:
        topic.check(pipeline)
    claim(pipeline.letters() == [], "no dead letters", pipeline.letters()[:3])
    pipeline.call("audit", "-c", str(pipeline.file))
    print(f"{sum(len(topic.sent) for topic in topics)} records, {max(len(topic.encoders) for topic in topics)} versions of each schema")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--records", type=int, default=200, help="at most, of one send to one topic")
    parser.add_argument("--seed", type=int, default=18)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as temporary, Broker() as broker, Registry() as registry:
        run(arguments, pathlib.Path(temporary), broker, registry)
    print(f"nested columns: {passed} claims held")


main()
