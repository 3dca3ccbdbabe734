"""Goal: Protobuf records of other makers, through a real Kafka, are the rows that DuckDB reads. Python's protobuf and `protoc --encode`
make them, the same messages both, bare and in Confluent's framing; with kills in between, each is there once; what is no message is
a dead letter.
"""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile

import duckdb
from confluent_kafka import Producer
from deltalake import DeltaTable
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from broker import Broker

BINARY = sys.argv[1]
PROTO = pathlib.Path(__file__).resolve().parents[2] / "examples" / "fleet.proto"
COUNT = 2000
FRAMING = b"\0\0\0\0\7\2\4"  # Schema 7; one index, and it is 2: the third message. Both are zigzag.
PIPELINE = """version: 1
pipeline: fleet
source:
  kafka: {{bootstrap.servers: "{brokers}", group.id: fleet}}
  topics: [{topic}]
decode:
  format: protobuf
  schema: {{file: {schema}, message: fleet.v1.Reading}}
  framing: {framing}
{columns}
event_time: {{column: at, max_future: 36500d}}
tables:
  - {{name: readings}}
lake: {{uri: lake_{topic}}}
log: {{level: warn}}
"""
COLUMNS = """  columns:
    reading_id: string
    vehicle: string
    at: timestamp
    state: string
    state_number: {type: int32, path: state}
    lat: {type: double, path: position.lat}
    city: {type: string, path: position.city}
    speed_kmh: double
    battery: double
    idle_s: {type: "decimal(21,9)", path: idle}
    codes: {type: string, path: alarms}
    sensors: string
    toll: decimal(12,2)
"""


def run(folder, *arguments, code=0, env=None):
    done = subprocess.run([BINARY, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, env={**os.environ, **(env or {})})
    assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done


def readings(reading_class):
    """Messages, and the cells that they are."""
    chance = random.Random(18)
    for i in range(COUNT):
        reading = reading_class(reading_id=f"r{i}", vehicle=chance.choice(["v1", "Zürich", ""]), state=chance.randrange(4))
        reading.at.seconds = 1777636800 + i
        reading.at.nanos = chance.choice([0, 999_999_999, 123_456_000])
        if chance.random() < 0.7:
            reading.position.lat = chance.choice([0.0, -0.0, 52.5, chance.uniform(-90, 90)])
            reading.position.city = chance.choice(["", "Lyon", "東京"])
        reading.speed_kmh = chance.choice([0.0, 1e300, chance.random()])
        if chance.random() < 0.5:
            reading.battery = chance.choice([0.0, 0.1, 0.7])
        if chance.random() < 0.5:
            reading.idle.seconds, reading.idle.nanos = chance.randrange(10**9), chance.randrange(10**9)
        for _ in range(chance.randrange(3)):
            reading.alarms.add(code=chance.choice(["E7", 'quote"', ""]))
        for key in chance.sample(["oil", "water", ""], chance.randrange(3)):
            reading.sensors[key] = chance.choice([0.0, 91.5, float("inf")])
        reading.toll = chance.choice(["", "12.50", "0.01"])
        yield reading


def expected(reading):
    states = {0: "STATE_UNKNOWN", 1: "MOVING", 2: "PARKED", 3: "3"}
    there = reading.HasField("position")
    return {
        "reading_id": reading.reading_id, "vehicle": reading.vehicle,
        "at": reading.at.seconds * 1_000_000 + reading.at.nanos // 1000,
        "state": states[reading.state], "state_number": reading.state,
        "lat": reading.position.lat if there else None, "city": reading.position.city if there else None,
        "speed_kmh": reading.speed_kmh,
        "battery": reading.battery if reading.HasField("battery") else None,
        "idle": reading.idle.seconds * 10**9 + reading.idle.nanos if reading.HasField("idle") else None,
        "codes": [alarm.code for alarm in reading.alarms],
        "sensors": dict(sorted(reading.sensors.items())),
        "toll": int(reading.toll.replace(".", "")) if reading.toll else None,
    }


def as_duckdb_has_them(path):
    rows = duckdb.from_arrow(DeltaTable(str(path)).to_pyarrow_table()).query("t", """
        SELECT reading_id, vehicle, epoch_us("at") AS at, state, state_number, lat, city, speed_kmh, battery,
               CAST(idle_s * 1000000000 AS HUGEINT) AS idle, codes, sensors, CAST(toll * 100 AS BIGINT) AS toll
        FROM t""")
    names = [column[0] for column in rows.description]
    result = []
    for values in rows.fetchall():
        row = dict(zip(names, values))
        row["codes"] = [alarm.get("code", "") for alarm in json.loads(row["codes"])]
        row["sensors"] = {key: float(str(value).replace("Infinity", "inf")) for key, value in sorted(json.loads(row["sensors"]).items())}
        result.append(row)
    return result


def main():
    with tempfile.TemporaryDirectory() as name, Broker() as broker:
        folder = pathlib.Path(name)
        subprocess.run(["protoc", f"-I{PROTO.parent}", "--include_imports", f"--descriptor_set_out={folder}/fleet.desc", PROTO.name],
                       check=True, cwd=PROTO.parent)
        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString((folder / "fleet.desc").read_bytes()).file:
            pool.Add(file)
        reading_class = message_factory.GetMessageClass(pool.FindMessageTypeByName("fleet.v1.Reading"))
        sent = list(readings(reading_class))
        wanted = sorted((expected(reading) for reading in sent), key=lambda row: row["reading_id"])

        by_protoc = {}
        for i in range(0, COUNT, 100):
            done = subprocess.run(["protoc", f"-I{PROTO.parent}", "--encode=fleet.v1.Reading", PROTO.name], cwd=PROTO.parent,
                                  input=text_format.MessageToString(sent[i], as_utf8=True).encode(), capture_output=True, check=True)
            by_protoc[i] = done.stdout

        for topic, framing, schema in (("bare", "none", "fleet.desc"), ("framed", "confluent", str(PROTO))):
            broker.create_topic(topic, 3)
            producer = Producer({"bootstrap.servers": broker.address, "enable.idempotence": True})
            prefix = FRAMING if framing == "confluent" else b""
            for i, reading in enumerate(sent):
                payload = by_protoc.get(i, reading.SerializeToString())
                producer.produce(topic, prefix + payload, partition=i % 3)
            broken = [prefix + b"\x0a\xff\xff\xff\xff\x07", prefix + b"\x0a\x01\xff", b"{}"]
            if prefix:
                broken.append(b"\0\0\0\0\7\0" + sent[0].SerializeToString())
            for payload in broken:
                producer.produce(topic, payload, partition=0)
            assert producer.flush(30) == 0
            (folder / "p.yaml").write_text(PIPELINE.format(brokers=broker.address, topic=topic, schema=schema, framing=framing, columns=COLUMNS))
            run(folder, "validate", "p.yaml")
            for place in ("poll.after", "commit.before_put", "commit.after_put"):
                run(folder, "run", "-c", "p.yaml", "--until-end", code=-signal.SIGKILL, env={"MILLRACE_KILL_AT": place})
            run(folder, "run", "-c", "p.yaml", "--until-end")
            run(folder, "audit", "-c", "p.yaml")
            rows = sorted(as_duckdb_has_them(folder / f"lake_{topic}" / "readings"), key=lambda row: row["reading_id"])
            assert len(rows) == len(wanted), (topic, len(rows))
            for row, want in zip(rows, wanted):
                assert repr(row) == repr(want), f"{topic}:\n{row}\n{want}"
            letters = DeltaTable(str(folder / f"lake_{topic}" / "fleet_dead_letters")).to_pyarrow_table().to_pylist()
            reasons = sorted((letter["reason"], letter["payload"]) for letter in letters)
            what = ["bad_protobuf", "bad_utf8", "bad_framing" if prefix else "bad_protobuf"] + (["wrong_message"] if prefix else [])
            assert reasons == sorted(zip(what, broken)), letters

        # Without columns: those of the schema.
        (folder / "p.yaml").write_text(PIPELINE.format(brokers=broker.address, topic="bare", schema="fleet.desc", framing="none", columns="")
                                       .replace("lake_bare", "lake_all"))
        run(folder, "run", "-c", "p.yaml", "--until-end")
        table = DeltaTable(str(folder / "lake_all" / "readings")).to_pyarrow_table()
        assert table.num_rows == COUNT
        assert table.column_names[:11] == ["reading_id", "vehicle", "at", "state", "position", "speed_kmh", "battery", "idle", "alarms",
                                           "sensors", "toll"], table.column_names
        # What is wrong with a schema is told before anything is made.
        (folder / "p.yaml").write_text(PIPELINE.format(brokers=broker.address, topic="bare", schema="fleet.desc", framing="none", columns=COLUMNS)
                                       .replace("fleet.v1.Reading", "fleet.v1.Raeding"))
        told = run(folder, "validate", "p.yaml", code=78).stderr
        assert "there is no message 'fleet.v1.Raeding'; did you mean 'fleet.v1.Reading'?" in told, told
    print("Protobuf over Kafka: passed")


main()
