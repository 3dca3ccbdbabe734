#!/usr/bin/env python3
"""What the same events cost as JSON, Avro, Protobuf and CSV; `make bench` calls this.

    formats.py [--binary PATH] [--events N] [--rounds N] [--output FILE]

N events of the job of run.py (bench/clicks.yaml) are read from their topic and sent to four others, one for each format, by one producer with
one setting: the same keys, partitions, order and times. Each job is that of clicks.yaml with another topic and decoder, and reads its topic
to the end, turn about; CPU seconds (user + system) per million events of the whole process, of which the run in the middle counts. Before any
figure is printed, the four tables of events and the four aggregates are compared with each other: a difference is exit 1.

Avro and Protobuf carry the id of no registry. Protobuf's `amount` is a text, for it has no decimals.
"""

import argparse
import datetime
import decimal
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from run import CONFIG, PARTITIONS, ROOT, BenchError, environment, free_port, run_measured, say, simulate

sys.path.insert(0, str(ROOT / "tests" / "kafka"))
from broker import Broker  # noqa: E402

BENCH = ROOT / "bench"
FORMATS = ("json", "avro", "protobuf", "csv")
GOAL = 0.85  # Of JSON's CPU, for Avro and Protobuf.
COPY_SECONDS_MAX = 900
COLUMNS = ("event_id", "ts", "device_id", "user_id", "session_id", "country", "page", "action", "latency_ms", "amount")
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def micros(text: str) -> int:
    return (datetime.datetime.fromisoformat(text) - EPOCH) // datetime.timedelta(microseconds=1)


def avro_encoder():
    import fastavro

    schema = fastavro.parse_schema(json.loads((BENCH / "clicks.avsc").read_text()))

    def encode(event: dict) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, {**event, "ts": micros(event["ts"])})
        return out.getvalue()

    return encode


def protobuf_encoder(folder: pathlib.Path):
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    compiled = folder / "clicks.desc"
    subprocess.run(["protoc", "--include_imports", f"--descriptor_set_out={compiled}", f"-I{BENCH}", "clicks.proto"], check=True)
    files = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    click = message_factory.GetMessageClass(pool.FindMessageTypeByName("Click"))

    def encode(event: dict) -> bytes:
        message = click(**{name: event[name] for name in COLUMNS if name not in ("ts", "amount")}, amount=str(event["amount"]))
        message.ts.seconds, rest = divmod(micros(event["ts"]), 1_000_000)
        message.ts.nanos = rest * 1000
        return message.SerializeToString()

    return encode


def csv_line(event: dict) -> bytes:
    """No text of these events has a delimiter, a quote or a line break; the comparison of the tables would tell."""
    return ",".join(str(event[name]) for name in COLUMNS).encode()


def copy_topic(broker: Broker, folder: pathlib.Path, events: int) -> dict:
    """From the topic of run.py to one of each format. Returns the mean size of a payload of each."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    avro, protobuf = avro_encoder(), protobuf_encoder(folder)
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "copy", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.assign([TopicPartition("clicks", partition, 0) for partition in range(PARTITIONS)])
    producer = Producer({"bootstrap.servers": broker.address, "enable.idempotence": True, "linger.ms": 20,
                         "queue.buffering.max.messages": 400_000, "queue.buffering.max.kbytes": 1 << 20})
    sizes = dict.fromkeys(FORMATS, 0)
    copied = 0
    deadline = time.monotonic() + COPY_SECONDS_MAX
    while copied < events:
        if time.monotonic() > deadline:
            raise BenchError(f"{copied:,} of {events:,} events were copied in {COPY_SECONDS_MAX} s")
        for message in consumer.consume(5000, 1.0):
            if message.error():
                raise BenchError(str(message.error()))
            text = message.value()
            event = json.loads(text, parse_float=decimal.Decimal)
            event["amount"] = decimal.Decimal(event["amount"])
            line = csv_line(event)
            event["latency_ms"] = float(event["latency_ms"])
            for name, payload in zip(FORMATS, (text, avro(event), protobuf(event), line)):
                producer.produce(name, payload, message.key(), message.partition(), timestamp=message.timestamp()[1])
                sizes[name] += len(payload)
            copied += 1
        while len(producer) > 200_000:
            producer.poll(0.1)
    consumer.close()
    if producer.flush(60) != 0:
        raise BenchError("not all events reached the broker within 60 s")
    return {name: round(size / events) for name, size in sizes.items()}


def pipeline_of(name: str, folder: pathlib.Path) -> pathlib.Path:
    """clicks.yaml with the format's topic and decoder."""
    decoder = {"json": "", "csv": "  format: csv\n",
               "avro": f"  format: avro\n  schema: {{file: {BENCH}/clicks.avsc}}\n",
               "protobuf": f"  format: protobuf\n  schema: {{file: {BENCH}/clicks.proto, message: Click}}\n"}[name]
    text = CONFIG.read_text()
    for old, new in (("topics: [clicks]", f"topics: [{name}]"), ("decode:\n", f"decode:\n{decoder}")):
        if text.count(old) != 1:
            raise BenchError(f"{CONFIG} does not have {old!r} once")
        text = text.replace(old, new)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def compare(binary, broker: Broker, folder: pathlib.Path, events: int) -> int:
    """All formats gave the same rows, and the same answers; how many groups these have."""
    import duckdb
    from deltalake import DeltaTable

    database = duckdb.connect()
    columns = ", ".join(COLUMNS)
    wanted = None
    for name in FORMATS:
        database.register(f"{name}_rows", DeltaTable(str(folder / name / "clicks")).to_pyarrow_dataset())
        rows = database.execute(f"""SELECT count(*), count(DISTINCT (_partition, _offset)), bit_xor(hash({columns}, _partition, _offset))
                                    FROM {name}_rows""").fetchone()
        answer = subprocess.run([str(binary), "query", "clicks_1m", "-c", str(folder / f"{name}.yaml"), "-o", "csv", "--limit", "100000000"],
                                stdout=subprocess.PIPE, check=True, env=environment(broker, folder / name, 0), text=True).stdout
        found = (rows, sorted(answer.splitlines()))
        wanted = wanted or found
        if rows[:2] != (events, events) or found != wanted:
            raise BenchError(f"{name}: rows, distinct places and their digest are {rows}, those of {FORMATS[0]} {wanted[0]}; "
                             f"the answers are {'equal' if found[1] == wanted[1] else 'not equal'}")
    return len(wanted[1]) - 1


def measure(arguments, folder: pathlib.Path) -> dict:
    with Broker(data=folder / "broker", lasting=True) as broker:
        for name in ("clicks", *FORMATS):
            broker.create_topic(name, partitions=PARTITIONS)
        say(f"producing {arguments.events:,} events in {len(FORMATS)} formats")
        run_measured("simulate", simulate(arguments, broker, folder, "--rate", "0", "--count", str(arguments.events)), arguments.events,
                     folder / "simulate.log", dict(os.environ), 600)
        sizes = copy_topic(broker, folder, arguments.events)
        pipelines = {name: pipeline_of(name, folder) for name in FORMATS}
        spent = {name: [] for name in FORMATS}
        for number in range(arguments.rounds):
            say(f"round {number + 1} of {arguments.rounds}")
            for name in FORMATS:
                subprocess.run(["rm", "-rf", folder / name], check=True)
                usage = run_measured(name, [str(arguments.binary), "run", "-c", str(pipelines[name]), "--until-end"], arguments.events,
                                     folder / f"{name}.log", environment(broker, folder / name, free_port()), 600)
                spent[name].append(usage.figures()["cpu_s_per_million"])
        say("comparing the tables")
        groups = compare(arguments.binary, broker, folder, arguments.events)
    middle = {name: sorted(values)[len(values) // 2] for name, values in spent.items()}
    return {"events": arguments.events, "groups": groups, "rounds": arguments.rounds,
            **{name: {"cpu_s_per_million": middle[name], "to_json": round(middle[name] / middle["json"], 3),
                      "payload_bytes": sizes[name], "cpu_s_per_million_of_rounds": spent[name]} for name in FORMATS}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build" / "release" / "bin" / "millrace")
    parser.add_argument("--events", type=int, default=2_000_000, help="as many as those of the cost part of run.py")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "formats.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-formats-") as folder:
        try:
            result = measure(arguments, pathlib.Path(folder))
        except BenchError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    print(f"\nFormats: {result['events']:,} events of each into a table of events and an aggregate of {result['groups']:,} groups; results equal")
    print(f"{'':12}{'CPU s per million':>18}{'to JSON':>9}{'bytes':>7}")
    for name in FORMATS:
        figures = result[name]
        goal = f"   (at most {GOAL}: {'met' if figures['to_json'] <= GOAL else 'NOT met'})" if name in ("avro", "protobuf") else ""
        print(f"{name:12}{figures['cpu_s_per_million']:>18.3f}{figures['to_json']:>9.2f}{figures['payload_bytes']:>7}{goal}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
