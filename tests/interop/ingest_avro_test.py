"""`millrace ingest` on topics of Avro and of packed JSON, with kafka-delta-ingest's flags, as fastavro wrote them and deltalake reads them: two schemas of one
topic, transforms over times that are numbers, times in columns of their own, and messages that are of no schema.

Usage: broker.py run -- ingest_avro_test.py PATH_OF_millrace
"""

import datetime
import decimal
import gzip
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import fastavro
import pyarrow
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from deltalake import DeltaTable
from fastavro.schema import fingerprint, to_parsing_canonical_form

MILLRACE = sys.argv[1]
BROKERS = os.environ["KAFKA_BROKERS"]
START = datetime.datetime(2026, 3, 1, 22, tzinfo=datetime.timezone.utc)
COUNT = 200
FIELDS = [
    {"name": "id", "type": "string"},
    {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "due", "type": ["null", {"type": "int", "logicalType": "date"}]},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OK", "WARN"]}},
    {"name": "tags", "type": {"type": "array", "items": "string"}}]
OLD = {"type": "record", "name": "Order", "fields": FIELDS}
NEW = {"type": "record", "name": "Order", "fields": FIELDS + [{"name": "count", "type": "long"}]}
TABLE = pyarrow.schema([
    ("id", pyarrow.string()), ("ts", pyarrow.timestamp("us", "UTC")), ("due", pyarrow.date32()), ("price", pyarrow.decimal128(10, 2)),
    ("state", pyarrow.string()), ("tags", pyarrow.list_(pyarrow.string())), ("count", pyarrow.int64()), ("millis", pyarrow.int64()),
    ("date", pyarrow.string()), ("kafka_offset", pyarrow.int64())])
TRANSFORMS = ["date: substr(epoch_millis_to_iso8601(ts), `0`, `10`)", "millis: ts", "kafka_offset: kafka.offset"]
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def is_new(i):
    return i % 3 == 0


def message_of(i):
    at = START + datetime.timedelta(minutes=i, milliseconds=i)
    return {"id": f"o{i}", "ts": at, "due": None if i % 4 == 0 else at.date(), "price": decimal.Decimal(i * 7).scaleb(-2), "state": ["OK", "WARN"][i % 2],
            "tags": ["a", "b"][:i % 3], **({"count": i << 33} if is_new(i) else {})}


def row_of(i):
    message = message_of(i)
    millis = (message["ts"] - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(milliseconds=1)
    return {**message, "count": message.get("count"), "millis": millis, "date": message["ts"].date().isoformat(), "kafka_offset": i}


def encoded(schema, message):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), message)
    return out.getvalue()


def single_object(schema, message):
    mark = bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
    return b"\xc3\x01" + mark + encoded(schema, message)


def send(topic, payloads):
    admin = AdminClient({"bootstrap.servers": BROKERS})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
    producer = Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True})
    for payload in payloads:
        producer.produce(topic, payload, partition=0)
    assert producer.flush(60) == 0


def ingest(folder, topic, *arguments, code=0, environment=None, transforms=TRANSFORMS):
    done = subprocess.run([MILLRACE, "ingest", topic, topic, "-k", BROKERS, "-a", topic, "-l", "1", "-e", "--dlq_table_location", f"{topic}_letters",
                           *[word for transform in transforms for word in ("-t", transform)], *arguments],
                          cwd=folder, capture_output=True, text=True, timeout=300, env={**os.environ, **(environment or {})})
    assert done.returncode == code, f"{topic}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done.stderr


def check(folder, topic, reasons):
    rows = sorted(DeltaTable(str(folder / topic)).to_pyarrow_table().to_pylist(), key=lambda row: row["kafka_offset"])
    want = [row_of(i) for i in range(COUNT)]
    claim(len(rows) == COUNT, f"{topic}: each message is a row, once", len(rows))
    claim(rows == want, f"{topic}: with its values", [pair for pair in zip(rows, want) if pair[0] != pair[1]][:2])
    letters = DeltaTable(str(folder / f"{topic}_letters")).to_pyarrow_table().to_pylist()
    claim(sorted(letter["reason"] for letter in letters) == reasons, f"{topic}: the others are dead letters", letters)


def of_single_objects(folder):
    (folder / "schemas").mkdir()
    (folder / "schemas" / "old.avsc").write_text(json.dumps(OLD))
    (folder / "schemas" / "new.avsc").write_text(json.dumps(NEW))
    other = {"type": "record", "name": "Other", "fields": []}
    payloads = [single_object(NEW if is_new(i) else OLD, message_of(i)) for i in range(COUNT)]
    send("single_objects", payloads + [payloads[0][:-1], b"{}", single_object(other, {})])
    DeltaTable.create(folder / "single_objects", TABLE, partition_by=["date"])
    ingest(folder, "single_objects", "--soe-avro", "schemas")
    check(folder, "single_objects", ["bad_avro", "bad_framing", "unknown_schema"])

    said = ingest(folder, "single_objects", "--soe-avro", "nowhere", code=1)
    claim("--soe-avro: nowhere: there is no such file or folder" in said, "a schema that is not there", said)
    (folder / "schemas" / "wrong.avsc").write_text("{}")
    said = ingest(folder, "single_objects", "--soe-avro", "schemas", code=78)
    claim("wrong.avsc" in said, "a file that is no schema", said)


def container(schema, *messages):
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(schema), messages, codec="deflate")
    return out.getvalue()


def of_containers(folder):
    """Each message a file: of one value as kafka-delta-ingest takes them, and of several, all of which are rows."""
    payloads = [container(NEW if is_new(i) else OLD, message_of(i)) for i in range(COUNT)]
    for topic, arguments, environment in [("containers", ["--avro", ""], {}), ("containers_by_variable", [], {"AVRO_REGISTRY": ""})]:
        send(topic, payloads + [payloads[0][:-1], b"{}"])
        DeltaTable.create(folder / topic, TABLE, partition_by=["date"])
        if environment:  # A variable without a value is none, so these are no JSON.
            ingest(folder, topic, *arguments, environment=environment)
            claim(DeltaTable(str(folder / topic)).to_pyarrow_table().num_rows == 0, "an empty variable asks for nothing")
            continue
        ingest(folder, topic, *arguments)
        check(folder, topic, ["bad_container", "bad_container"])
    send("several", [container(OLD, *[{**message_of(i), "tags": []} for i in range(3)]), container(OLD)])
    DeltaTable.create(folder / "several", TABLE, partition_by=["date"])
    ingest(folder, "several", "--avro", "")
    rows = DeltaTable(str(folder / "several")).to_pyarrow_table().to_pylist()
    claim(sorted(row["id"] for row in rows) == ["o0", "o1", "o2"], "every value of a container is a row", rows)


def of_numbers_that_are_none(folder):
    """NaN and the infinities, which JSON does not have, through it."""
    schema = {"type": "record", "name": "R", "fields": [{"name": "d", "type": "double"}, {"name": "e", "type": {"type": "array", "items": "float"}}]}
    numbers = [1.5, float("nan"), float("inf"), float("-inf")]
    send("not_finite", [container(schema, {"d": d, "e": [d]}) for d in numbers])
    table = pyarrow.schema([("d", pyarrow.float64()), ("e", pyarrow.list_(pyarrow.float64())), ("copy", pyarrow.float64()), ("kafka_offset", pyarrow.int64())])
    DeltaTable.create(folder / "not_finite", table)
    ingest(folder, "not_finite", "--avro", "", "-t", "copy: d", transforms=["kafka_offset: kafka.offset"])
    rows = sorted(DeltaTable(str(folder / "not_finite")).to_pyarrow_table().to_pylist(), key=lambda row: row["kafka_offset"])
    claim([repr([row["d"], row["e"], row["copy"]]) for row in rows] == [repr([d, [d], d]) for d in numbers], "NaN and the infinities are rows", rows)


def of_containers_and_a_schema(folder):
    """Read as the schema of a file: what a writer had not has its default, names are those of the reader."""
    writer = {"type": "record", "name": "Order", "fields": [*[{**f, "name": "number"} if f["name"] == "id" else f for f in FIELDS],
                                                            {"name": "more", "type": {"type": "map", "values": "long"}}]}
    reader = {"type": "record", "name": "Order", "fields": [*[{**f, "aliases": ["number"]} if f["name"] == "id" else f for f in FIELDS],
                                                            {"name": "count", "type": "long", "default": 7}]}
    (folder / "reader.avsc").write_text(json.dumps(reader))
    without = {**reader, "fields": [f for f in reader["fields"] if f["name"] != "due"]}

    def payload(i):
        message = {k: v for k, v in message_of(i).items() if k != "count"}
        return container(writer, {**message, "number": message.pop("id"), "more": {"x": i}})

    send("resolved", [payload(i) for i in range(COUNT)] + [container(without, {**message_of(0), "count": 1})])
    DeltaTable.create(folder / "resolved", TABLE, partition_by=["date"])
    ingest(folder, "resolved", "--avro", "reader.avsc")
    rows = sorted(DeltaTable(str(folder / "resolved")).to_pyarrow_table().to_pylist(), key=lambda row: row["kafka_offset"])
    want = [{**row_of(i), "count": 7} for i in range(COUNT)]
    claim(rows == want, "resolved: each message as the schema of the file reads it", [pair for pair in zip(rows, want) if pair[0] != pair[1]][:2])
    [letter] = DeltaTable(str(folder / "resolved_letters")).to_pyarrow_table().to_pylist()
    claim(letter["reason"] == "incompatible_schema" and "'due', for which there is no default" in letter["detail"], "or says why not", letter)
    said = ingest(folder, "resolved", "--avro", "nowhere.avsc", code=1)
    claim("--avro: nowhere.avsc: it cannot be read" in said, "a schema that is not there", said)
    (folder / "no.avsc").write_text("{}")
    said = ingest(folder, "resolved", "--avro", "no.avsc", code=78)
    claim("no.avsc" in said, "a file that is no schema", said)


def of_packed_json(folder):
    def document(i):
        return json.dumps({**{k: v for k, v in row_of(i).items() if k not in ("millis", "date", "kafka_offset")}, "ts": row_of(i)["millis"],
                           "due": None if row_of(i)["due"] is None else row_of(i)["due"].isoformat(), "price": str(row_of(i)["price"])}).encode()

    table = pyarrow.schema([pyarrow.field(f.name, pyarrow.int64()) if f.name == "ts" else f for f in TABLE])
    packed = [gzip.compress(document(i)) if i % 2 else document(i) for i in range(COUNT)]
    send("packed", packed + [gzip.compress(document(0))[:-4], gzip.compress(b"{")])
    DeltaTable.create(folder / "packed", table, partition_by=["date"])
    ingest(folder, "packed", "--decompress_gzip")
    rows = sorted(DeltaTable(str(folder / "packed")).to_pyarrow_table().to_pylist(), key=lambda row: row["kafka_offset"])
    want = [{**row_of(i), "ts": row_of(i)["millis"]} for i in range(COUNT)]
    claim(rows == want, "packed: each message is a row, with its values", [pair for pair in zip(rows, want) if pair[0] != pair[1]][:2])
    letters = DeltaTable(str(folder / "packed_letters")).to_pyarrow_table().to_pylist()
    claim(sorted(letter["reason"] for letter in letters) == ["bad_compression", "bad_json"], "packed: the others are dead letters", letters)


def of_flags(folder):
    for arguments, words in [(["--avro", "", "--json", ""], "excludes"), (["--avro", "", "--soe-avro", "schemas"], "excludes"),
                             (["--json", "http://u:hunter2@h"], "--json has a user in its URL"), (["--avro", "http://"], "--avro must be http:// or https://")]:
        said = ingest(folder, "packed", *arguments, code=2 if words == "excludes" else 78)
        claim(words in said and "hunter2" not in said, f"{arguments}: {words}", said)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for test in (of_single_objects, of_containers, of_numbers_that_are_none, of_containers_and_a_schema, of_packed_json, of_flags):
            test(folder)
    print(f"{passed} passed, 0 failed")


main()
