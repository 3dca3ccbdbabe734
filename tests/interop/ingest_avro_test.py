"""`millrace ingest` on Avro topics, with kafka-delta-ingest's flags, as fastavro wrote them and deltalake reads them: two schemas of one
topic, transforms over times that are numbers, times in columns of their own, and messages that are of no schema.

Usage: broker.py run -- ingest_avro_test.py PATH_OF_millrace
"""

import datetime
import decimal
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
    producer = Producer({"bootstrap.servers": BROKERS})
    for payload in payloads:
        producer.produce(topic, payload, partition=0)
    assert producer.flush(60) == 0


def ingest(folder, topic, *arguments, code=0, environment=None):
    done = subprocess.run([MILLRACE, "ingest", topic, topic, "-k", BROKERS, "-a", topic, "-l", "1", "-e", "--dlq_table_location", f"{topic}_letters",
                           *[word for transform in TRANSFORMS for word in ("-t", transform)], *arguments],
                          cwd=folder, capture_output=True, text=True, timeout=120, env={**os.environ, **(environment or {})})
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


def main():
    with tempfile.TemporaryDirectory() as name:
        of_single_objects(pathlib.Path(name))
    print(f"{passed} passed, 0 failed")


main()
