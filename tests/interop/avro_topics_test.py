"""Topics of Avro records that fastavro encoded, through `millrace run` that is killed in the middle, read by deltalake and DuckDB:
with Confluent's framing and the columns of the schema, and as single objects with columns chosen and the rest rescued.

Usage: broker.py run -- avro_topics_test.py PATH_OF_millrace
"""

import datetime
import decimal
import io
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tempfile

import duckdb
import fastavro
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from deltalake import DeltaTable
from fastavro.schema import fingerprint, to_parsing_canonical_form

MILLRACE = sys.argv[1]
BROKERS = os.environ["KAFKA_BROKERS"]
RECORDS, PARTITIONS = 3000, 3
START = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.timezone.utc)
SCHEMA = {
    "type": "record", "name": "Reading", "namespace": "fleet.v1", "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "device", "type": {"type": "record", "name": "Device", "fields": [
            {"name": "id", "type": "long"}, {"name": "firmware", "type": ["null", "string"], "default": None}]}},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OK", "WARN", "FAIL"]}},
        {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}]},
        {"name": "celsius", "type": ["null", "double"]},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "labels", "type": {"type": "map", "values": "int"}}]}
PIPELINE = """version: 1
pipeline: NAME
source:
  kafka: {bootstrap.servers: "BROKERS"}
  topics: [NAME]
decode:
  format: avro
  schema: {file: reading.avsc}
DECODE
event_time: {column: ts}
tables:
  - {name: NAME, commit: {interval: 200ms, bytes: 100kB}}
lake: {uri: lake}
log: {level: warn}
"""
CHOSEN = """  framing: single_object
  columns:
    event_id: string
    ts: timestamp
    ts_ms: {type: int64, path: ts}
    device: {type: int64, path: device.id}
    cost: {type: "decimal(12,4)", path: price}
  unknown_fields: rescue"""
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def millrace(folder, *arguments, kill_at=None, code=0):
    environment = {**os.environ, **({"MILLRACE_KILL_AT": kill_at} if kill_at else {})}
    done = subprocess.run([MILLRACE, *arguments], cwd=folder, capture_output=True, text=True, timeout=240, env=environment)
    want = -signal.SIGKILL if kill_at else code
    assert done.returncode == want, f"{arguments} {kill_at}: exit {done.returncode}, not {want}\n{done.stdout}\n{done.stderr}"
    return done


def events():
    source = random.Random(18)
    for i in range(RECORDS):
        yield {"event_id": f"e{i:05}", "ts": START + datetime.timedelta(milliseconds=i * 37),
               "device": {"id": source.randrange(1 << 40), "firmware": source.choice([None, "1.2", "2.0-\u03b2"])},
               "state": source.choice(["OK", "WARN", "FAIL"]),
               "price": None if i % 7 == 0 else decimal.Decimal(source.randrange(-10**6, 10**6)).scaleb(-2),
               "celsius": None if i % 5 == 0 else source.uniform(-40, 90),
               "tags": source.sample(["a", "b", "\u00fc"], source.randrange(4)), "labels": {"n": i} if i % 2 else {}}


def send(topic, frame):
    admin = AdminClient({"bootstrap.servers": BROKERS})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(60)
    parsed = fastavro.parse_schema(SCHEMA)
    producer = Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True})
    for i, event in enumerate(events()):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, event)
        producer.produce(topic, frame + out.getvalue(), partition=i % PARTITIONS)
    for bad in (b'{"event_id": "x"}', frame + out.getvalue()[:-1], frame + out.getvalue() + b"x", frame + b"\xff" * 30):
        producer.produce(topic, bad, partition=0)
    assert producer.flush(60) == 0


def run(folder, name, decode):
    (folder / "reading.avsc").write_text(json.dumps(SCHEMA, indent=2))
    config = f"{name}.yaml"
    (folder / config).write_text(PIPELINE.replace("NAME", name).replace("BROKERS", BROKERS).replace("DECODE", decode))
    millrace(folder, "validate", config)
    for kill_at in ("epoch.prepared:1", "commit.after_put:1"):
        millrace(folder, "run", "-c", config, "--until-end", kill_at=kill_at)
    millrace(folder, "run", "-c", config, "--until-end")
    millrace(folder, "audit", "-c", config)
    rows = DeltaTable(str(folder / "lake" / name)).to_pyarrow_table().to_pylist()
    claim(len({row["event_id"] for row in rows}) == len(rows) == RECORDS, f"{name}: every record once", len(rows))
    letters = DeltaTable(str(folder / "lake" / f"{name}_dead_letters")).to_pyarrow_table().to_pylist()
    reasons = sorted(letter["reason"] for letter in letters)
    claim(reasons == ["bad_avro", "bad_avro", "bad_avro", "bad_framing"], f"{name}: the others are dead letters", letters)
    claim(all("at byte " in letter["detail"] or "begins with 7B" in letter["detail"] for letter in letters), "each says where", letters)
    return {row["event_id"]: row for row in rows}


def check_columns_of_schema(folder):
    send("readings", struct.pack(">bI", 0, 42))
    rows = run(folder, "readings", "  framing: confluent")
    for event in events():
        row = rows[event["event_id"]]
        for key in ("ts", "state", "price", "celsius", "tags"):
            assert row[key] == event[key], (key, row, event)
        assert json.loads(row["device"]) == event["device"] and json.loads(row["labels"]) == event["labels"], (row, event)
    claim(True, "rows say what the records said")
    files = ",".join(f"'{uri.removeprefix('file://')}'" for uri in DeltaTable(str(folder / "lake" / "readings")).file_uris())
    got = duckdb.sql(f"SELECT count(*), sum(price), max(ts)::VARCHAR, sum((device->>'$.id')::HUGEINT) FROM read_parquet([{files}])").fetchone()
    want = list(events())
    claim(got[:2] == (RECORDS, sum(event["price"] or 0 for event in want)) and got[3] == sum(event["device"]["id"] for event in want),
          "DuckDB reads the same", got)


def check_chosen_columns(folder):
    frame = b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(SCHEMA), "CRC-64-AVRO"))
    send("singles", frame)
    rows = run(folder, "singles", CHOSEN)
    for event in events():
        row = rows[event["event_id"]]
        ms = round(event["ts"].timestamp() * 1000)
        assert (row["ts"], row["ts_ms"], row["device"], row["cost"]) == (event["ts"], ms, event["device"]["id"], event["price"]), (row, event)
        rest = json.loads(row["_rescued"])
        want = {"state": event["state"], "celsius": event["celsius"], "tags": event["tags"], "labels": event["labels"]}
        want["device"] = {"firmware": event["device"]["firmware"]} if event["device"]["firmware"] else None
        assert rest == {key: value for key, value in want.items() if value is not None}, (rest, want)
    claim(True, "chosen columns and the rest say what the records said")


def check_findings(folder):
    config = (folder / "readings.yaml").read_text()
    for change, want in [(("file: reading.avsc", "file: readings.avsc"), "decode.schema.file: 'readings.avsc': cannot read the file"),
                         (("framing: confluent", "framing: confluent\n  columns: {i: {type: int64, path: device.idd}, ts: timestamp}"),
                          "the schema has no field 'device.idd'; did you mean 'device.id'?"),
                         (("framing: confluent", "framing: confluent\n  columns: {state: int64, ts: timestamp}"),
                          "column 'state': int64 cannot take the field 'state', which is enum fleet.v1.State")]:
        (folder / "wrong.yaml").write_text(config.replace(*change))
        said = millrace(folder, "validate", "wrong.yaml", code=78)
        claim(want in said.stdout + said.stderr, want, said.stdout + said.stderr)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        check_columns_of_schema(folder)
        check_chosen_columns(folder)
        check_findings(folder)
    print(f"avro_topics_test: {passed} claims hold")


if __name__ == "__main__":
    main()
