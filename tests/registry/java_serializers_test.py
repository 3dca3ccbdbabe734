"""What Java's Kafka producer sends with Apicurio's Avro serializer, in Confluent's framing and with ids of a real registry, is what the lake
holds: Java's Avro is the reference, and its registrations are not confluent-kafka's.

Usage: java_serializers_test.py PATH_OF_millrace

Confluent's own serializers for Java are not on Maven Central. Apicurio's of Protobuf writes a framing of its own.
"""
import datetime
import decimal
import json
import math
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import uuid

from millrace_runs import Broker, Pipeline, make_topics
from broker import default_libs
from children import die_with_parent
from registry_server import Registry

DEPS = pathlib.Path(os.environ.get("MILLRACE_DEPS") or os.path.expanduser("~/.cache/millrace/deps"))
# Python drives a Java process by what Spark brings for it.
sys.path[:0] = map(str, (DEPS / "spark" / "home" / "python" / "lib").glob("py4j-*.zip"))
from py4j.java_gateway import GatewayParameters, JavaGateway  # noqa: E402

BINARY = sys.argv[1]
COUNT = 1000
START = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.timezone.utc)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
GEO = {"type": "record", "name": "Geo", "fields": [{"name": "city", "type": ["null", "string"]}, {"name": "at", "type": {"type": "array", "items": "double"}}]}
READING = {"type": "record", "name": "Reading", "namespace": "fleet.v1", "fields": [
    {"name": "id", "type": "long"},
    {"name": "yes", "type": "boolean"},
    {"name": "small", "type": "int"},
    {"name": "real", "type": "float"},
    {"name": "wide", "type": "double"},
    {"name": "text", "type": "string"},
    {"name": "raw", "type": "bytes"},
    {"name": "four", "type": {"type": "fixed", "name": "Four", "size": 4}},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OK", "BAD"]}},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
    {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "note", "type": ["null", "string"], "default": None},
    {"name": "geo", "type": ["null", GEO]},
    {"name": "tags", "type": {"type": "array", "items": "string"}},
    {"name": "counts", "type": {"type": "map", "values": "long"}}]}
# Another order of fields, a field that is wider, and one more.
NEWER = {**READING, "fields": [{"name": "speed", "type": ["null", "double"], "default": None}] +
         [{**field, "type": "long"} if field["name"] == "small" else field for field in READING["fields"][::-1]]}
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def row_of(number):
    """What the lake should hold of it."""
    chance = random.Random(number)

    def float32(value):
        return struct.unpack("f", struct.pack("f", value))[0]

    city = chance.choice([None, "", "Zürich", "東京 " * 30])
    return {
        "id": chance.choice([number, -number, number << 50]) if number else -2**63,
        "yes": chance.random() < 0.5,
        "small": chance.choice([0, -1, 63, 64, -65, 2**31 - 1, -2**31]),
        "real": float32(chance.uniform(-1e6, 1e6)),
        "wide": chance.choice([chance.uniform(-1, 1), 5e-324, 1.7976931348623157e308, -0.0]),
        "text": chance.choice(["", "x", "😀é\"\\\n", "long " * 100]),
        "raw": chance.randbytes(chance.choice([0, 1, 200])),
        "four": chance.randbytes(4),
        "state": chance.choice(["OK", "BAD"]),
        "price": decimal.Decimal(chance.choice([0, -1, 127, 128, -129, chance.randrange(-10**12 + 1, 10**12)])).scaleb(-2),
        "ts": START + datetime.timedelta(microseconds=chance.randrange(10**12)),
        "day": datetime.date(1960, 1, 1) + datetime.timedelta(days=chance.randrange(40_000)),
        "key": str(uuid.UUID(int=chance.getrandbits(128))),
        "note": chance.choice([None, f"note {number}"]),
        # Java's Avro, as it reads JSON, rounds doubles within arrays to floats.
        "geo": chance.choice([None, {"city": city, "at": [float32(chance.uniform(-90, 90)) for _ in range(chance.randrange(3))]}]),
        "tags": [chance.choice(["a", "", "ü"]) for _ in range(chance.choice([0, 1, 70]))],
        "counts": {f"k{i}": chance.randrange(-2**63, 2**63) for i in range(chance.randrange(4))},
    }


def avro_json(row):
    """As Avro writes it in JSON: bytes as the characters of their numbers, unions with the name of the branch."""
    def characters(data):
        return data.decode("latin-1")

    def optional(value, branch):
        return None if value is None else {branch: value}

    unscaled = int(row["price"].scaleb(2))
    geo = row["geo"] and {"city": optional(row["geo"]["city"], "string"), "at": row["geo"]["at"]}
    written = {**row, "raw": characters(row["raw"]), "four": characters(row["four"]),
               "price": characters(unscaled.to_bytes((unscaled.bit_length() + 8) // 8, "big", signed=True)),
               "ts": (row["ts"] - EPOCH) // datetime.timedelta(microseconds=1), "day": (row["day"] - EPOCH.date()).days,
               "note": optional(row["note"], "string"), "geo": optional(geo, "fleet.v1.Geo"), "speed": optional(row.get("speed"), "double")}
    return json.dumps(written)


class Java:
    """A Java process with Kafka's producer and Apicurio's serializer."""

    def __enter__(self):
        jars = [*map(str, (DEPS / "spark" / "home" / "jars").glob("py4j-*.jar")), f"{DEPS}/java-serializers/libs/*", f"{default_libs()}/*"]
        self.process = subprocess.Popen(["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", ":".join(jars),
                                         "py4j.GatewayServer", "--die-on-broken-pipe", "0"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        self.gateway = JavaGateway(gateway_parameters=GatewayParameters(port=int(self.process.stdout.readline())))
        return self.gateway.jvm

    def __exit__(self, *exc):
        self.gateway.close()
        self.process.kill()
        self.process.wait()


def produce(jvm, broker, registry, topic, schema, rows):
    apache = jvm.org.apache
    properties = jvm.java.util.Properties()
    for name, value in {
        "bootstrap.servers": broker.address,
        "key.serializer": "org.apache.kafka.common.serialization.StringSerializer",
        "value.serializer": "io.apicurio.registry.serde.avro.AvroKafkaSerializer",
        "compression.type": "zstd",
        "apicurio.registry.url": registry.url.replace("ccompat/v7", "registry/v2"),
        "apicurio.registry.auto-register": "true",
        "apicurio.registry.headers.enabled": "false",
        "apicurio.registry.as-confluent": "true",
        "apicurio.registry.use-id": "contentId",
    }.items():
        properties.put(name, value)
    java_schema = apache.avro.Schema.Parser().parse(json.dumps(schema))
    reader = apache.avro.generic.GenericDatumReader(java_schema)
    producer = apache.kafka.clients.producer.KafkaProducer(properties)
    names = {field["name"] for field in schema["fields"]}
    for row in rows:
        text = json.dumps({name: value for name, value in json.loads(avro_json(row)).items() if name in names})
        record = reader.read(None, apache.avro.io.DecoderFactory.get().jsonDecoder(java_schema, text))
        producer.send(apache.kafka.clients.producer.ProducerRecord(topic, str(row["id"]), record))
    producer.close()


def main():
    with tempfile.TemporaryDirectory() as folder, Broker() as broker, Registry() as registry, Java() as jvm:
        make_topics(broker.address, 3, "java")
        first = [row_of(number) for number in range(COUNT)]
        produce(jvm, broker, registry, "java", READING, first)
        pipeline = Pipeline(BINARY, folder, "java", broker.address, registry.url,
                            "{format: avro, schema: registry, unknown_fields: add, columns: "
                            "{id: int64, yes: bool, small: int64, real: double, wide: double, text: string, raw: binary, four: binary, state: string, "
                            "price: 'decimal(12,2)', ts: timestamp, day: date, key: uuid, note: string, geo: {type: 'struct<city: string, at: list<double>>'}, "
                            "tags: {type: 'list<string>'}, counts: {type: 'map<string, int64>'}, who: {from: key, type: string}}}")
        pipeline.call("validate", str(pipeline.file))
        pipeline.until_end()
        second = [{**row_of(number), "speed": number / 8 if number % 2 else None} for number in range(COUNT, 2 * COUNT)]
        produce(jvm, broker, registry, "java", NEWER, second)
        pipeline.until_end()
        # The older again, which is read as the newest is.
        third = [row_of(number) for number in range(2 * COUNT, 3 * COUNT)]
        produce(jvm, broker, registry, "java", READING, third)
        pipeline.until_end()
        rows = pipeline.rows()
        want = {row["id"]: row for row in [*first, *second, *third]}
        claim(len(want) == len(rows) == 3 * COUNT and {row["id"] for row in rows} == set(want), "each record once", len(rows))
        for row in rows:
            expected = want[row["id"]]
            claim(row["who"] == str(row["id"]), "its key", row)
            for name, value in expected.items():
                got = dict(row[name]) if name == "counts" else row[name]
                # To the last bit: -0.0 is another zero.
                same_sign = not isinstance(value, float) or math.copysign(1, got) == math.copysign(1, value)
                claim(got == value and same_sign, f"{name} of {row['id']}", f"{got!r}, not {value!r}")
        claim(pipeline.letters() == [], "no dead letters", pipeline.letters()[:3])
        pipeline.call("audit", "-c", str(pipeline.file))
    print(f"Java's serializers: {passed} claims held")


main()
