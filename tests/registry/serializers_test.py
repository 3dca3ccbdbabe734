"""What confluent-kafka's serializers send through a real registry and a real broker is what the lake holds: Avro, Protobuf and JSON Schema,
with references, schemas that change, logins; and what is no record of theirs is a dead letter that says why.

Usage: serializers_test.py PATH_OF_millrace
"""
import base64
import datetime
import decimal
import http.server
import json
import pathlib
import random
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.request

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from forwarding import Forwarding
from millrace_runs import Broker, Pipeline, make_topics, send, wait_for
from registry_server import Registry

BINARY = sys.argv[1]
COUNT = 600
START = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.timezone.utc)
GEO = {"type": "record", "name": "Geo", "namespace": "fleet.v1", "fields": [
    {"name": "lat", "type": "double"}, {"name": "city", "type": ["null", "string"], "default": None}]}
READING = {"type": "record", "name": "Reading", "namespace": "fleet.v1", "fields": [
    {"name": "event_id", "type": "string"},
    {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    {"name": "geo", "type": "fleet.v1.Geo"}]}
GEO_PROTO = """syntax = "proto3";
package fleet.v1;
message Position { double lat = 1; string city = 2; }
"""
READING_PROTO = """syntax = "proto3";
package fleet.v1;
import "geo.proto";
import "google/protobuf/timestamp.proto";
message Other { int32 x = 1; }
message Reading {
  string event_id = 1;
  google.protobuf.Timestamp ts = 2;
  Position position = 3;
  message Inner { int32 n = 1; }
  enum State { OK = 0; BAD = 1; }
  State state = 4;%s
}
"""
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def context(topic):
    return SerializationContext(topic, MessageField.VALUE)


def latest_id(payload):
    return struct.unpack(">I", payload[1:5])[0]


def avro(folder, brokers, registry):
    client = SchemaRegistryClient({"url": registry.url})
    client.register_schema("geo", Schema(json.dumps(GEO), "AVRO"))
    make_topics(brokers, 3, "avro")
    chance = random.Random(18)

    def events(first, more):
        for i in range(first, first + COUNT):
            yield {"event_id": f"e{i:05}", "ts": START + datetime.timedelta(milliseconds=i), "price": decimal.Decimal(chance.randrange(10**9)).scaleb(-2),
                   "geo": {"lat": chance.uniform(-90, 90), "city": chance.choice([None, "Zürich"])}, **more(i)}

    def serializer(schema):
        return AvroSerializer(client, Schema(json.dumps(schema), "AVRO", [SchemaReference("fleet.v1.Geo", "geo", 1)]))

    # Two schemas: the second has a field more, and sends its fields in another order.
    newer = {**READING, "fields": [{"name": "speed", "type": ["null", "double"], "default": None}, *READING["fields"][::-1]]}
    first = [(event, serializer(READING)(event, context("avro"))) for event in events(0, lambda i: {})]
    pipeline = Pipeline(BINARY, folder, "avro", brokers, registry.url, "{format: avro, schema: registry, unknown_fields: add}")
    send(brokers, "avro", [payload for _, payload in first])
    pipeline.call("validate", str(pipeline.file))
    pipeline.until_end()
    columns = list(pipeline.rows()[0])
    claim(columns[:4] == ["event_id", "ts", "price", "geo"], "columns come from the schema alone", columns)
    # While it runs, the schema changes.
    pipeline.start()
    second = [(event, serializer(newer)(event, context("avro"))) for event in events(COUNT, lambda i: {"speed": float(i)})]
    send(brokers, "avro", [payload for _, payload in second])
    none = b"\0" + struct.pack(">I", 999_999) + first[0][1][5:]
    send(brokers, "avro", [none, b"{}", first[0][1][:-1]], partition=0)
    wait_for("all rows and letters", lambda: len(pipeline.rows(["event_id"])) == 2 * COUNT and len(pipeline.letters()) == 3)
    pipeline.stop()
    want = {e["event_id"]: (e["ts"], e["price"], e["geo"]["lat"], e["geo"]["city"], e.get("speed")) for e, _ in first + second}
    rows = pipeline.rows()
    got = {r["event_id"]: (r["ts"], r["price"], json.loads(r["geo"])["lat"], json.loads(r["geo"]).get("city"), r["speed"]) for r in rows}
    claim(got == want and len(rows) == len(want), "every record once, to the last bit, the new field in a column of its own")
    reasons = sorted(letter["reason"] for letter in pipeline.letters())
    claim(reasons == ["bad_avro", "bad_framing", "unknown_schema"], "the others are dead letters", pipeline.letters())
    unknown = [letter for letter in pipeline.letters() if letter["reason"] == "unknown_schema"]
    claim("there is no schema with the id 999999" in unknown[0]["detail"] and unknown[0]["topic"] == "avro", "they say why", unknown)
    # The next start reads the newest: its new field is a column, which the table has.
    send(brokers, "avro", [serializer(newer)(event, context("avro")) for event in events(2 * COUNT, lambda i: {"speed": 0.5})])
    pipeline.until_end()
    claim(sum(r["speed"] == 0.5 for r in pipeline.rows(["speed"])) == COUNT, "after a start the new field is a column of the schema")
    # A schema that cannot be read as the newest.
    other = {**READING, "fields": [f for f in READING["fields"] if f["name"] != "price"] + [{"name": "price", "type": "boolean"}]}
    old = [serializer(READING)(next(iter(events(3 * COUNT, lambda i: {}))), context("avro"))]
    wrong = serializer(other)({"event_id": "x", "ts": START, "geo": {"lat": 1.0, "city": None}, "price": True}, context("avro"))
    file_text = pipeline.file.read_text()
    client.register_schema("pinned-value", Schema(json.dumps(newer), "AVRO", [SchemaReference("fleet.v1.Geo", "geo", 1)]))
    pipeline.file.write_text(file_text.replace("schema: registry", "schema: {subject: pinned-value}"))
    send(brokers, "avro", [*old, wrong], partition=1)
    pipeline.until_end()
    last = [letter for letter in pipeline.letters() if letter["reason"] == "incompatible_schema"]
    claim(len(last) == 1 and f"schema id {latest_id(wrong)}: field 'price': the writer's boolean cannot be read as" in last[0]["detail"], "incompatible", last)
    pipeline.call("audit", "-c", str(pipeline.file))


def messages(folder, more=""):
    """The class of Reading, made of the texts."""
    (folder / "geo.proto").write_text(GEO_PROTO)
    (folder / "reading.proto").write_text(READING_PROTO % more)
    subprocess.run(["protoc", f"-I{folder}", "--include_imports", f"--descriptor_set_out={folder}/all.desc", "reading.proto"], check=True)
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString((folder / "all.desc").read_bytes()).file:
        pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"fleet.v1.{name}")) for name in ("Reading", "Other")}


def protobuf(folder, brokers, registry):
    client = SchemaRegistryClient({"url": registry.url})
    make_topics(brokers, 3, "proto")
    classes = messages(folder)
    newer = messages(folder, "\n  double speed = 7;")
    chance = random.Random(19)

    def serialize(kind):
        return ProtobufSerializer(kind, client, {"use.deprecated.format": False})

    def readings(kind, first, **more):
        for i in range(first, first + COUNT):
            reading = kind(event_id=f"r{i:05}", state=chance.randrange(2), **more)
            reading.ts.seconds, reading.ts.nanos = int(START.timestamp()) + i, 5000
            reading.position.lat, reading.position.city = chance.uniform(-90, 90), chance.choice(["", "Lyon"])
            yield reading

    first = list(readings(classes["Reading"], 0))
    second = list(readings(newer["Reading"], COUNT, speed=2.5))
    to_bytes = serialize(classes["Reading"])
    send(brokers, "proto", [to_bytes(reading, context("proto")) for reading in first])
    stored = json.loads(urllib.request.urlopen(f"{registry.url}/subjects/proto-value/versions/latest").read())
    claim(base64.b64decode(stored["schema"]) and stored["references"], "the registry gives a descriptor in base64, with references", stored)
    pipeline = Pipeline(BINARY, folder, "proto", brokers, registry.url,
                        "{format: protobuf, schema: {subject: proto-value, message: fleet.v1.Reading}, unknown_fields: add}")
    pipeline.start()
    wait_for("the first half", lambda: len(pipeline.rows(["event_id"])) == COUNT)
    to_bytes = serialize(newer["Reading"])
    send(brokers, "proto", [to_bytes(reading, context("proto")) for reading in second])
    other = serialize(classes["Other"])(classes["Other"](x=1), SerializationContext("others", MessageField.VALUE))
    send(brokers, "proto", [other, b"\0" + struct.pack(">I", 999_999) + b"\0"], partition=2)
    wait_for("the rest", lambda: len(pipeline.rows(["event_id"])) == 2 * COUNT and len(pipeline.letters()) == 2)
    pipeline.stop()
    want = {r.event_id: (START + datetime.timedelta(seconds=int(r.event_id[1:]), microseconds=5), ["OK", "BAD"][r.state],
                         json.dumps({"lat": r.position.lat, "city": r.position.city}), getattr(r, "speed", None)) for r in first + second}
    got = {r["event_id"]: (r["ts"], r["state"], json.dumps({"lat": 0.0, "city": "", **json.loads(r["position"])}), r["speed"]) for r in pipeline.rows()}
    claim(got == want, "every message once, and a field that is newer than the schema under its name", [item for item in got.items() if want[item[0]] != item[1]][:3])
    reasons = sorted(letter["reason"] for letter in pipeline.letters())
    claim(reasons == ["unknown_schema", "wrong_message"], "the others are dead letters", pipeline.letters())
    # A `.proto` as text, whose first message it is.
    make_topics(brokers, 3, "text")
    client.register_schema("geo-text", Schema(GEO_PROTO, "PROTOBUF"))
    number = client.register_schema("text-value", Schema(READING_PROTO % "", "PROTOBUF", [SchemaReference("geo.proto", "geo-text", 1)]))
    frame = b"\0" + struct.pack(">I", number)
    send(brokers, "text", [frame + b"\0" + classes["Other"](x=i).SerializeToString() for i in range(9)])
    text = Pipeline(BINARY, folder, "text", brokers, registry.url, "{format: protobuf, schema: registry}")
    text.until_end()
    claim(sorted(row["x"] for row in text.rows()) == list(range(9)), "a .proto text, its first message", text.rows())
    told = Pipeline(BINARY, folder, "told", brokers, registry.url, "{format: protobuf, schema: {subject: text-value, message: fleet.v1.Raeding}}", topics="text")
    stderr = told.call("run", "-c", str(told.file), "--until-end", code=78).stderr
    claim("there is no message 'fleet.v1.Raeding'; did you mean 'fleet.v1.Reading'?" in stderr, "the nearest message is named", stderr)


def json_schema(folder, brokers, registry):
    client = SchemaRegistryClient({"url": registry.url})
    make_topics(brokers, 3, "json")
    schema = {"title": "Reading", "type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}}
    to_bytes = JSONSerializer(json.dumps(schema), client)
    send(brokers, "json", [to_bytes({"id": i, "name": f"n{i}"}, context("json")) for i in range(COUNT)] + [b'{"id": 1}'])
    pipeline = Pipeline(BINARY, folder, "json", brokers, registry.url, "{format: json, framing: confluent, columns: {id: int64, name: string}}")
    pipeline.until_end()
    claim(sorted((row["id"], row["name"]) for row in pipeline.rows()) == [(i, f"n{i}") for i in range(COUNT)], "JSON behind an id")
    claim([letter["reason"] for letter in pipeline.letters()] == ["bad_framing"], "JSON without one is a dead letter", pipeline.letters())
    # Columns of the schema alone, with a reference to another subject.
    geo = {"type": "object", "properties": {"lat": {"type": "number"}}}
    client.register_schema("geo-json", Schema(json.dumps(geo), "JSON"))
    order = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Order", "type": "object", "properties": {
        "id": {"type": "string", "format": "uuid"}, "at": {"type": "string", "format": "date-time"}, "n": {"type": ["null", "integer"]},
        "lat": {"$ref": "geo.json#/properties/lat"}, "geo": {"$ref": "geo.json"}, "tags": {"type": "array", "items": {"type": "string"}}}}
    number = client.register_schema("orders-value", Schema(json.dumps(order), "JSON", [SchemaReference("geo.json", "geo-json", 1)]))
    make_topics(brokers, 3, "orders")
    events = [{"id": f"00000000-0000-4000-8000-{i:012x}", "at": (START + datetime.timedelta(seconds=i)).isoformat(), "n": None if i % 3 else i,
               "lat": i / 4, "geo": {"lat": i / 2}, "tags": ["a", "b"][:i % 3]} for i in range(COUNT)]
    frame = b"\0" + struct.pack(">I", number)
    send(brokers, "orders", [frame + json.dumps(event).encode() for event in events])
    orders = Pipeline(BINARY, folder, "orders", brokers, registry.url, "{format: json, schema: registry}")
    orders.until_end()
    want = [{**event, "at": datetime.datetime.fromisoformat(event["at"]), "geo": json.dumps(event["geo"])} for event in events]
    got = sorted(({name: row[name] for name in want[0]} for row in orders.rows()), key=lambda row: row["id"])
    claim(got == want, "columns of a JSON Schema alone", [pair for pair in zip(got, want) if pair[0] != pair[1]][:2])
    claim(list(orders.rows()[0])[:6] == list(want[0]), "in its order", list(orders.rows()[0]))


class Door(Forwarding):
    """The registry behind a login."""
    target, wanted = "", ""

    def do_GET(self):
        if self.headers.get("Authorization") != self.wanted:
            self.send_error(401)
            return
        self.forward(self.target + self.path)


def logins(folder, brokers, registry):
    secret = base64.b64encode(b"reader:p@ss:w").decode()
    for name, wanted, login in (("basic", f"Basic {secret}", ', basic_auth: {username: reader, password: "p@ss:w"}'),
                                ("bearer", "Bearer t0ken", ", bearer: t0ken")):
        door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("D", (Door,), {"target": registry.url, "wanted": wanted}))
        threading.Thread(target=door.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{door.server_address[1]}"
        pipeline = Pipeline(BINARY, folder, name, brokers, url, "{format: protobuf, schema: registry}", topics="text", registry_more=login)
        pipeline.until_end()
        claim(len(pipeline.rows()) == 9, f"{name}: through the door", pipeline.rows())
        refused = Pipeline(BINARY, folder, f"{name}_refused", brokers, url, "{format: protobuf, schema: registry}", topics="text")
        stderr = refused.call("audit", "-c", str(refused.file), code=78).stderr
        claim(f"cannot be had from the schema registry {url}: it answered 401" in stderr and "t0ken" not in stderr, f"{name}: a closed door", stderr)
        door.shutdown()


def certificate(folder, name):
    """Of 127.0.0.1, and its own authority."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"],
                   check=True, capture_output=True)


def mutual_tls(folder, brokers, registry):
    for name in ("door", "visitor", "stranger"):
        certificate(folder, name)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f"{folder}/door.pem", f"{folder}/door.key")
    tls.load_verify_locations(f"{folder}/visitor.pem")
    tls.verify_mode = ssl.CERT_REQUIRED
    door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("D", (Door,), {"target": registry.url, "wanted": None}))
    door.socket = tls.wrap_socket(door.socket, server_side=True)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    url = f"https://127.0.0.1:{door.server_address[1]}"
    decode = "{format: protobuf, schema: registry}"
    ours = f", ca_file: {folder}/door.pem, certificate_file: {folder}/visitor.pem, key_file: {folder}/visitor.key"
    pipeline = Pipeline(BINARY, folder, "tls", brokers, url, decode, topics="text", registry_more=ours)
    pipeline.until_end()
    claim(len(pipeline.rows()) == 9, "with a certificate of ours", pipeline.rows())
    for name, login in (("untrusted", ""), ("unknown", ours.replace("visitor", "stranger")), ("none", f", ca_file: {folder}/door.pem")):
        refused = Pipeline(BINARY, folder, f"tls_{name}", brokers, url, decode, topics="text", registry_more=login)
        stderr = refused.call("audit", "-c", str(refused.file), code=78).stderr
        claim(f"cannot be had from the schema registry {url}: " in stderr, f"TLS, {name}", stderr)
    door.shutdown()


def main():
    with tempfile.TemporaryDirectory() as temporary, Broker() as broker, Registry() as registry:
        for test in (avro, protobuf, json_schema, logins, mutual_tls):
            test(pathlib.Path(temporary), broker.address, registry)
    print(f"serializers through a registry: {passed} claims held")


main()
