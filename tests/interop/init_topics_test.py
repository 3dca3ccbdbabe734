"""Topics of different kinds, each as `millrace init` makes a pipeline of it: the file is accepted by `validate`, runs, and its rows are
those that were sent, as deltalake reads them; its first aggregate counts them all, as DuckDB reads it. One topic is in Kafka as well.

Usage: broker.py run -- init_topics_test.py PATH_OF_millrace PATH_OF_append_records
"""

import base64
import datetime
import decimal
import gzip
import io
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import uuid

import duckdb
import fastavro
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from deltalake import DeltaTable
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MILLRACE, APPEND = sys.argv[1:3]
BROKERS = os.environ["KAFKA_BROKERS"]
# The embedded log keeps records for a week.
START = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) - datetime.timedelta(days=2)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
COUNT = 500
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def micros(time):
    return (time - EPOCH) // datetime.timedelta(microseconds=1)


def at(i):
    return START + datetime.timedelta(seconds=i, milliseconds=i % 1000)


class Record:
    def __init__(self, payload, time, key=None, headers=(), partition=0):
        self.payload, self.time, self.key, self.headers, self.partition = payload, time, key, headers, partition


class Topic:
    """Records, and the rows and dead letters that they are to become, by the columns that are compared."""

    def __init__(self, name, records, rows, letters=0, said=(), schema=None, init=()):
        self.name, self.records, self.rows, self.letters, self.said, self.schema, self.init = \
            name, records, rows, letters, said, schema, init


def of_json(documents, **more):
    return [Record(json.dumps(document).encode(), at(i), partition=i % 4, **more) for i, document in enumerate(documents)]


def flat():
    rows = [{"event_id": f"e{i}", "ts": at(i), "country": ["DE", "FR", "IT"][i % 3], "clicks": i * 7 % 11, "amount": decimal.Decimal(i * 25).scaleb(-2),
             "active": i % 2 == 0, "day": at(i).date()} for i in range(COUNT)]
    documents = [{**row, "ts": row["ts"].isoformat(), "amount": float(row["amount"]), "day": row["day"].isoformat()} for row in rows]
    return Topic("flat", of_json(documents), rows,
                 said=["event_time: {column: ts}", "# dedupe: {by: [event_id]", "amount: decimal(18,2)", "day: date", "country, count(*)"])


def nested():
    rows = [{"id": i, "device_serial": f"s{i % 9}", "device_pos_lat": 45 + i / 1000, "device_pos_lon": -i / 8, "at": at(i)} for i in range(COUNT)]
    documents = [{"id": row["id"], "device": {"serial": row["device_serial"], "pos": {"lat": row["device_pos_lat"], "lon": row["device_pos_lon"]}},
                  "at": row["at"].isoformat().replace("+00:00", "Z")} for row in rows]
    return Topic("nested", of_json(documents), rows, said=["device_pos_lat: {type: double, path: device.pos.lat}"])


def mixed():
    """Numbers with and without a fraction; three texts among a thousand numbers; one field that no type takes; one always null."""
    documents, rows = [], []
    for i in range(1000):
        code = "n/a" if i in (100, 400, 700) else i
        either = i if i % 2 else f"t{i}"
        documents.append({"ts": at(i).isoformat(), "value": i if i % 3 else i / 4, "code": code, "either": either, "never": None})
        if code != "n/a":
            rows.append({"ts": at(i), "value": float(documents[-1]["value"]), "code": code, "_rescued": f'{{"either": {json.dumps(either)},"never": null}}'})
    return Topic("mixed", of_json(documents), rows, letters=3,
                 said=["3 of 1000 are no numbers: dead letters", "mixed: ", "mixed, and no type but json takes all: 500 numbers, 500 texts",
                       "null in all 1000 records"], init=["--sample", "1000"])


def epochs():
    """Four units; seconds with a fraction, too."""
    rows = [{"ts": at(i), "sent_at": at(i).replace(microsecond=0), "seen_at": at(i), "time_ns": at(i), "n": i} for i in range(COUNT)]
    documents = [{"ts": micros(row["ts"]) // 1000, "sent_at": micros(row["sent_at"]) // 1_000_000, "seen_at": micros(row["seen_at"]),
                  "time_ns": micros(row["time_ns"]) * 1000, "n": row["n"]} for row in rows]
    return Topic("epochs", of_json(documents), rows,
                 said=["ts: timestamp_ms", "sent_at: timestamp_s", "seen_at: timestamp_us", "time_ns: timestamp_ns", "also times: "])


def csv_with_header():
    rows = [{"sym": f"S{i % 5}", "px": None if i % 10 == 3 else i / 4, "qty": i, "text": 'say "hi"; now' if i % 7 == 0 else "x", "at": at(i)} for i in range(COUNT)]
    quoted = lambda text: '"' + text.replace('"', '""') + '"' if ";" in text else text  # noqa: E731
    lines = ["sym;px;qty;text;at"] + [
        ";".join([row["sym"], "NULL" if row["px"] is None else str(row["px"]), str(row["qty"]), quoted(row["text"]), str(micros(row["at"]) // 1000)])
        for row in rows]
    return Topic("csv_with_header", [Record(line.encode(), at(i)) for i, line in enumerate(lines)], rows, letters=1,
                 said=["header: [sym, px, qty, text, at]", "\"null\": \"NULL\"", "is in the log once and becomes a dead letter"])


def tsv():
    rows = [{"c1": at(i), "c2": f"{i:05}", "c3": i % 2 == 0, "c4": None if i % 4 == 0 else -i, "c5": at(i).date()} for i in range(COUNT)]
    lines = ["\t".join([row["c1"].isoformat(), row["c2"], str(row["c3"]).lower(), "" if row["c4"] is None else str(row["c4"]), row["c5"].isoformat()])
             for row in rows]
    return Topic("tsv", [Record(line.encode(), at(i), partition=i % 4) for i, line in enumerate(lines)], rows,
                 said=["there is no header line", "c2: string", "digits with leading zeros"])


def avro(folder):
    schema = {"type": "record", "name": "Reading", "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "sent_at", "type": "long"},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OK", "WARN"]}},
        {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 3}]},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "place", "type": {"type": "record", "name": "Place", "fields": [{"name": "lat", "type": "double"}]}}]}
    (folder / "reading.avsc").write_text(json.dumps(schema))
    parsed = fastavro.parse_schema(schema)
    records, rows = [], []
    for i in range(COUNT):
        row = {"event_id": f"e{i}", "ts": at(i), "state": ["OK", "WARN"][i % 2], "price": None if i % 3 == 0 else decimal.Decimal(i).scaleb(-3),
               "tags": ["a"] * (i % 3), "sent_at": at(i).replace(microsecond=0)}
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, {**row, "sent_at": micros(row["sent_at"]) // 1_000_000, "place": {"lat": i / 2}})
        records.append(Record(struct.pack(">bI", 0, 7) + out.getvalue(), at(i), partition=i % 4))
        rows.append({**row, "place": json.dumps({"lat": i / 2}).replace(" ", "")})
    return Topic("avro", records, rows, said=["format: avro", "framing: confluent", "price: decimal(10,3)", "sent_at: timestamp_s"],
                 init=["--schema", "reading.avsc"])


def protobuf(folder):
    proto = 'syntax = "proto3"; package shop; message Other {} message Order { string id = 1; int64 at_ms = 2; double amount = 3; repeated int32 lines = 4; }'
    (folder / "order.proto").write_text(proto)
    subprocess.run(["protoc", f"-I{folder}", f"--descriptor_set_out={folder / 'order.desc'}", "order.proto"], check=True)
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString((folder / "order.desc").read_bytes()).file:
        pool.Add(file)
    order = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))
    rows = [{"id": f"o{i}", "at_ms": at(i), "amount": i / 8, "lines": list(range(i % 3))} for i in range(COUNT)]
    records = [Record(order(**{**row, "at_ms": micros(row["at_ms"]) // 1000}).SerializeToString(), at(i)) for i, row in enumerate(rows)]
    return Topic("protobuf", records, rows, said=["message: shop.Order", "framing: none", "at_ms: timestamp_ms"],
                 init=["--schema", "order.proto", "--message", "shop.Order"])


def raw():
    rows = [{"payload": f"level={['info', 'warn'][i % 2]} request {i} took {i % 17} ms, and more"[:60 - i % 5]} for i in range(COUNT)]
    return Topic("raw", [Record(row["payload"].encode(), at(i), partition=i % 4) for i, row in enumerate(rows)], rows,
                 said=["format: raw", "event_time: {column: _timestamp}"])


def keys_and_headers():
    rows = [{"value": i / 2, "key": f"device-{i % 20}", "trace-id": f"t{i}", "attempt": i % 3} for i in range(COUNT)]
    records = [Record(json.dumps({"value": row["value"]}).encode(), at(i), key=row["key"].encode(), partition=i % 4,
                      headers=[("trace-id", row["trace-id"].encode()), ("attempt", str(row["attempt"]).encode()), ("authorization", b"Bearer hunter2")])
               for i, row in enumerate(rows)]
    return Topic("keys_and_headers", records, rows, said=["key: {type: string, from: key}", "{type: int64, from: header.attempt}",
                                                          "# authorization: {type: string, from: header.authorization}"])


def dirty():
    """Broken documents, tombstones, other documents, numbers in quotes, arrays of two kinds, a secret."""
    records, rows = [], []
    for i in range(COUNT):
        document = {"ts": at(i).isoformat(), "price": f"{i}.{i % 100:02}", "tags": ["a", "b"][:i % 3], "lines": [{"sku": i}], "password": f"hunter{i}",
                    "jwt": "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln"}
        records.append(Record(json.dumps(document).encode(), at(i), partition=i % 4))
        rows.append({"ts": at(i), "price": decimal.Decimal(document["price"]), "tags": document["tags"], "lines": document["lines"]})
    for payload in (b"{\"ts\": ", b"\xff\xfe", b"[]", b"", None, None):
        records.append(Record(payload, at(COUNT), partition=1))
    return Topic("dirty", records, rows, letters=4,
                 said=["tags: list<string>", "numbers in quotes", "lines: \"list<struct<sku: int64>>\"", "4 of 504 records are no JSON object",
                       "# password: string", "# jwt: string", "unknown_fields: ignore", "2 more are without a payload"])


def beyond_64_bits():
    """Numbers beyond 64 bits, beyond a decimal and beyond a double: none of them is a dead letter, and none loses a digit."""
    huge = lambda i: "9" * 77 + str(i)  # noqa: E731
    rows = [{"ts": at(i), "wei": decimal.Decimal(12345678901234567890123 + i), "most": decimal.Decimal("9" * 38), "rare": decimal.Decimal(2**64 if i == 7 else i),
             "hash": huge(i), "x": "1e400" if i == 9 else f"{i}.5"} for i in range(COUNT)]
    records = [Record(f'{{"ts": "{row["ts"].isoformat()}", "wei": {row["wei"]}, "most": {row["most"]}, "rare": {row["rare"]}, "hash": {row["hash"]}, "x": {row["x"]}}}'
                      .encode(), at(i), partition=i % 4) for i, row in enumerate(rows)]
    return Topic("beyond_64_bits", records, rows, said=["wei: decimal(38,0)", "rare: decimal(38,0)", "hash: json", "x: json", f"all {COUNT} become rows"],
                 init=["--sample", "1000"])


def late():
    """Events that come up to five minutes late."""
    source = random.Random(5)
    rows = [{"event_time": at(10 * i) - datetime.timedelta(seconds=source.randrange(300)), "n": i} for i in range(COUNT)]
    documents = [{"event_time": row["event_time"].isoformat(), "n": row["n"]} for row in rows]
    return Topic("late", [Record(json.dumps(d).encode(), at(10 * i)) for i, d in enumerate(documents)], rows, said=["watermark_delay: 5m"])


def shapes():
    """Identities, times of other shapes, objects in arrays, objects whose keys are data, bytes."""
    documents, rows = [], []
    for i in range(COUNT):
        local, counts = at(i).replace(microsecond=0), {f"k{i * 7 % 97}": i, f"k{i * 11 % 97}": i}
        documents.append({"event_id": str(uuid.UUID(int=i << 64)).upper(), "at": at(i).replace(microsecond=0).strftime("%d/%b/%Y:%H:%M:%S +0000"),
                          "local": local.strftime("%Y-%m-%d %H:%M:%S"), "lines": [{"sku": f"s{i}", "n": i, "at": {"x": i / 2}}] * (i % 3),
                          "counts": counts, "any": [1, "a"], "blob": base64.b64encode(bytes([i % 256] * 16)).decode()})
        rows.append({"event_id": str(uuid.UUID(int=i << 64)), "at": at(i).replace(microsecond=0), "local": documents[-1]["local"],
                     "lines": documents[-1]["lines"], "counts": list(counts.items()), "any": "[1, \"a\"]", "blob": documents[-1]["blob"]})
    return Topic("shapes", of_json(documents), rows,
                 said=["event_id: uuid", 'at: {type: timestamp, format: "%d/%b/%Y:%H:%M:%S %z"}', 'lines: "list<struct<sku: string, n: int64, at: struct<x: double>>>"',
                       "counts: map<string, int64>", "any: json", "could be bytes in base64", 'if they are UTC, {type: timestamp, format: "%Y-%m-%d %H:%M:%S"}',
                       "event_time: {column: at}", "# dedupe: {by: [event_id]"])


def batches():
    """Arrays of events, three a record, compressed; one record is no array."""
    rows = [{"n": i, "ts": at(i)} for i in range(3 * COUNT)]
    records = []
    for i in range(COUNT):
        text = json.dumps([{"n": row["n"], "ts": row["ts"].isoformat()} for row in rows[3 * i:3 * i + 3]]).encode()
        records.append(Record(gzip.compress(text) if i % 2 else text, at(3 * i), partition=i % 4))
    records.append(Record(b"{}", at(3 * COUNT)))
    return Topic("batches", records, rows, letters=1,
                 said=["records: array", "500 of 501 payloads are a JSON array", "compression: auto", "250 of 501 payloads are compressed"])


def lines():
    """Lines of JSON, as shippers of logs send them."""
    rows = [{"n": i, "ts": at(i)} for i in range(2 * COUNT)]
    text = [json.dumps({"n": row["n"], "ts": row["ts"].isoformat()}) for row in rows]
    records = [Record(f"{text[2 * i]}\n{text[2 * i + 1]}\n".encode(), at(2 * i), partition=i % 4) for i in range(COUNT)]
    return Topic("lines", records, rows, said=["records: lines", "500 of 500 payloads are several lines of JSON"])


def csv_lines():
    rows = [{"c1": f"S{i % 5}", "c2": i / 4} for i in range(2 * COUNT)]
    records = [Record(f"S{2 * i % 5},{i / 2}\nS{(2 * i + 1) % 5},{(2 * i + 1) / 4}\n".encode(), at(i), partition=i % 4) for i in range(COUNT)]
    return Topic("csv_lines", records, rows, said=["format: csv", "records: lines"])


def framed_json():
    rows = [{"id": f"e{i}", "ts": at(i)} for i in range(COUNT)]
    records = [Record(struct.pack(">bI", 0, 9) + json.dumps({"id": row["id"], "ts": row["ts"].isoformat()}).encode(), at(i)) for i, row in enumerate(rows)]
    return Topic("framed_json", records, rows, said=["framing: confluent", "a JSON object behind a registry's schema id"])


def containers(folder):
    schema = {"type": "record", "name": "Point", "fields": [{"name": "n", "type": "long"}, {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}
    (folder / "point.avsc").write_text(json.dumps(schema))
    rows = [{"n": i, "ts": at(i)} for i in range(4 * COUNT)]
    records = []
    for i in range(COUNT):
        out = io.BytesIO()
        fastavro.writer(out, fastavro.parse_schema(schema), rows[4 * i:4 * i + 4], codec="deflate")
        records.append(Record(out.getvalue(), at(4 * i), partition=i % 4))
    return Topic("containers", records, rows, said=["records: container", "schema: {file: point.avsc}", "framing: none"], init=["--schema", "point.avsc"])


def binary_keys():
    rows = [{"value": i / 2, "key": bytes([255, i % 256])} for i in range(COUNT)]
    return Topic("binary_keys", [Record(json.dumps({"value": row["value"]}).encode(), at(i), key=row["key"]) for i, row in enumerate(rows)], rows,
                 said=["key: {type: binary, from: key}", "500 of 500 are bytes that are not UTF-8"])


def millrace(folder, *arguments, code=0, stdin=None):
    done = subprocess.run([MILLRACE, *map(str, arguments)], cwd=folder, capture_output=True, timeout=240, input=stdin)
    said = done.stderr.decode()
    assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout.decode()}\n{said}"
    return done.stdout.decode(), said


def append(folder, topic):
    hexed = lambda value: None if value is None else value.hex()  # noqa: E731
    lines = [json.dumps({"topic": topic.name, "partition": r.partition, "timestamp": micros(r.time), "key": hexed(r.key), "payload": hexed(r.payload),
                         "headers": [[name, hexed(value)] for name, value in r.headers]}) for r in topic.records]
    subprocess.run([APPEND, folder / "log"], input="\n".join(lines).encode(), check=True, timeout=300)


def send(topic):
    admin = AdminClient({"bootstrap.servers": BROKERS})
    admin.create_topics([NewTopic(topic.name, 4, 1)])[topic.name].result(60)
    producer = Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True})
    for record in topic.records:
        producer.produce(topic.name, record.payload, key=record.key, partition=record.partition, headers=list(record.headers),
                         timestamp=micros(record.time) // 1000)
    assert producer.flush(60) == 0


def check(folder, topic, lake, config):
    """The pipeline runs, and what is in the lake is what was sent."""
    millrace(folder, "validate", config)
    millrace(folder, "run", "-c", config, "--until-end", "--set", f"lake.uri={lake}", "--set", "log.level=error")
    got = DeltaTable(str(folder / lake / topic.name)).to_pyarrow_table()
    columns = list(topic.rows[0])
    assert set(columns) <= set(got.column_names), f"{topic.name}: {got.column_names}\n{(folder / config).read_text()}"
    order = lambda row: json.dumps(row, default=str, sort_keys=True)  # noqa: E731
    rows = sorted(({c: row[c] for c in columns} for row in got.select(columns).to_pylist()), key=order)
    want = sorted(topic.rows, key=order)
    claim(len(rows) == len(want), f"{topic.name}: every record is a row, once", (len(rows), len(want)))
    different = [pair for pair in zip(rows, want) if pair[0] != pair[1]]
    claim(not different, f"{topic.name}: with its values", different[:2])
    letters = folder / lake / f"{topic.name}_dead_letters"
    count = DeltaTable(str(letters)).to_pyarrow_table().num_rows if any((letters / "_delta_log").glob("*.json")) else 0
    claim(count == topic.letters, f"{topic.name}: what is no row is a dead letter", count)
    files = DeltaTable(str(folder / lake / f"{topic.name}_1m")).file_uris()
    counted = duckdb.sql(f"SELECT sum(events) FROM read_parquet({files}, union_by_name = true)").fetchone()[0]
    claim(counted == len(want), f"{topic.name}: the aggregate counts each", counted)


def check_text(topic, text):
    for words in topic.said:
        claim(words in text, f"{topic.name}: says {words}", text)
    claim("hunter" not in text and "eyJ" not in text, f"{topic.name}: no value of a secret", text)
    records = sum(record.payload is not None for record in topic.records)
    claim(f"Guessed from {records} records" in text, f"{topic.name}: from all of them", text)


def of_embedded_logs(folder):
    topics = [flat(), nested(), mixed(), epochs(), csv_with_header(), tsv(), avro(folder), protobuf(folder), raw(), keys_and_headers(), dirty(), beyond_64_bits(), late(), shapes(), batches(), lines(),
              csv_lines(), framed_json(), containers(folder), binary_keys()]
    for topic in topics:
        append(folder, topic)
        config = f"{topic.name}.yaml"
        text, _ = millrace(folder, "init", "--from", f"embedded:log/{topic.name}", *topic.init)
        millrace(folder, "init", "--from", f"embedded:log/{topic.name}", *topic.init, "-o", config)
        claim((folder / config).read_text() == text, f"{topic.name}: -o FILE has what standard output has")
        check_text(topic, text)
        check(folder, topic, "lake", config)
    _, said = millrace(folder, "init", "--from", "embedded:log/flat", "-o", "flat.yaml", code=1)
    claim("is there already" in said, "a file that is there is not written over", said)


def of_kafka(folder):
    topic = keys_and_headers()
    send(topic)
    text, _ = millrace(folder, "init", "--from", f"kafka://{BROKERS}/{topic.name}", "-K", "client.id=init test")
    check_text(topic, text)
    claim(f'bootstrap.servers: "{BROKERS}"' in text and 'client.id: "init test"' in text, "the broker and its properties", text)
    (folder / "kafka.yaml").write_text(text)
    check(folder, topic, "kafka_lake", "kafka.yaml")
    _, said = millrace(folder, "init", "--from", f"kafka://{BROKERS}/nowhere", code=1)
    claim("nowhere" in said, "a topic that is not there", said)
    secret, _ = millrace(folder, "init", "--from", f"kafka://{BROKERS}/{topic.name}", "-K", "sasl.password=hunter2")
    claim("hunter2" not in secret and "${KAFKA_SASL_PASSWORD:?" in secret, "passwords are variables", secret)


def of_files(folder):
    topic = csv_with_header()
    lines = b"\n".join(record.payload for record in topic.records) + b"\n"
    text, _ = millrace(folder, "init", "--from", "-", stdin=lines)
    claim("px: double" in text and "header: [sym, px" in text and "topics: [events]" in text, "lines of standard input", text)
    (folder / "trades.csv").write_bytes(lines)
    text, _ = millrace(folder, "init", "--from", "trades.csv", "--sample", "100")
    claim("Guessed from 100 records of the file trades.csv" in text and "topics: [trades]" in text, "lines of a file", text)


def refusals(folder):
    for arguments, code, words in [
            (["--from", "embedded:log/avro"], 1, "schema ids 7): --registry names that registry, or --schema a file of the schema"),
            (["--from", "embedded:log/avro", "--schema", "nowhere.avsc"], 2, "--schema nowhere.avsc: cannot be read"),
            (["--from", "embedded:log/protobuf", "--schema", "order.proto"], 2, "--message names which message"),
            (["--from", "embedded:log/flat", "--message", "M"], 2, "--message M: it is of a schema, which --schema or --registry names"),
            (["--from", "embedded:log/containers"], 1, "are an Avro container file: --schema names the file"),
            ([], 2, "--from names a topic to look at, or --registry and --subject a schema to do without"),
            (["--registry", "http://127.0.0.1:1"], 2, "--from names a topic to look at"),
            (["--from", "embedded:log/flat", "--registry", "localhost"], 2, "--registry must be http:// or https://"),
            (["--from", "embedded:log/flat", "--registry", "http://u:hunter2@h"], 2, "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD"),
            (["--from", "embedded:log/protobuf", "--schema", "order.proto", "--message", "shop.Ordr"], 1, "shop.Order"),
            (["--from", "embedded:log/flat", "--schema", "reading.avsc"], 1, "none of the 500 payloads is of the schema reading.avsc"),
            (["--from", "embedded:log"], 2, "--from embedded:log: expected embedded:FOLDER/TOPIC"),
            (["--from", "kafka://broker"], 2, "expected kafka://BROKERS/TOPIC"),
            (["--from", "embedded:elsewhere/t"], 1, "elsewhere"),
            (["--from", "nowhere.jsonl"], 1, "nowhere.jsonl: cannot be read"),
            (["--from", "embedded:log/flat", "--sample", "0"], 2, "--sample"),
            (["--from", "embedded:log/empty"], 1, "no records to look at")]:
        out, said = millrace(folder, "init", *arguments, code=code)
        claim(words in said and out == "", f"init {' '.join(arguments)}: {words}", said)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        of_embedded_logs(folder)
        of_kafka(folder)
        of_files(folder)
        refusals(folder)
    print(f"{passed} passed, 0 failed")


main()
