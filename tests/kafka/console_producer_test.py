"""What Java's console producer sends, with keys and headers, packed by each codec of Kafka's, is the rows that deltalake reads.

Usage: console_producer_test.py PATH_OF_millrace
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from deltalake import DeltaTable

from broker import Broker

MILLRACE = os.path.abspath(sys.argv[1])
COUNT = 300
PIPELINE = """version: 1
pipeline: console
source:
  kafka: {bootstrap.servers: "BROKERS"}
inputs:
  - name: events
    topics: ["^events-.+"]
    decode:
      columns:
        id: int64
        city: {type: string, path: geo.city}
        who: {from: key, type: string}
        attempt: {from: header.attempt, type: int32}
        note: {from: header.note, type: string}
  - name: trades
    topics: [trades]
    decode: {format: csv, csv: {header: [sym, px]}, columns: {sym: string, px: "decimal(12,2)", who: {from: key, type: string}}}
tables:
  - {name: events, from: events}
  - {name: trades, from: trades}
lake: {uri: lake}
log: {level: warn}
"""
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def produce(broker, topic, lines, codec="none"):
    broker.create_topic(topic, partitions=2)
    properties = {"parse.key": "true", "key.separator": "|", "parse.headers": "true", "null.marker": "NULL"}
    arguments = [part for name, value in properties.items() for part in ("--property", f"{name}={value}")]
    command = broker._java("org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", broker.address, "--topic", topic,
                           "--compression-codec", codec, "--request-timeout-ms", "60000", *arguments, heap="128m")
    done = subprocess.run(command, input="".join(line + "\n" for line in lines), capture_output=True, text=True, timeout=300)
    claim(done.returncode == 0, f"the producer of {topic}", done.stdout + done.stderr)


def rows(folder, table):
    return DeltaTable(str(folder / "lake" / table)).to_pyarrow_table().to_pylist()


def main():
    with tempfile.TemporaryDirectory(prefix="millrace-console-") as name, Broker() as broker:
        folder = Path(name)
        want = []
        for codec in CODECS:
            lines = []
            for i in range(COUNT):
                city, key = ["Zürich", "", "a|b"][i % 3], "NULL" if i % 7 == 0 else f"device {i % 5}"
                note = "" if i % 2 else ",note:x y"
                lines.append(f"attempt:{i % 3}{note}\t{key}|" + json.dumps({"id": i, "geo": {"city": city}}, ensure_ascii=False))
                want.append((f"events-{codec}", i, city, None if key == "NULL" else key, i % 3, None if i % 2 else "x y"))
            produce(broker, f"events-{codec}", lines, codec)
        produce(broker, "trades", ["NULL\tA|ab,1.50", "NULL\tB|\"c,d\",-2.25", "NULL\tB|e", "NULL\tA|NULL"])
        (folder / "p.yaml").write_text(PIPELINE.replace("BROKERS", broker.address))
        done = subprocess.run([MILLRACE, "run", "-c", "p.yaml", "--until-end"], cwd=folder, capture_output=True, text=True, timeout=300)
        claim(done.returncode == 0, "it runs", done.stdout + done.stderr)
        got = [(r["_topic"], r["id"], r["city"], r["who"], r["attempt"], r["note"]) for r in rows(folder, "events")]
        claim(sorted(got, key=str) == sorted(want, key=str), "each record is a row, with its key and headers", sorted(set(want) ^ set(got), key=str)[:5])
        trades = sorted((r["who"], r["sym"], str(r["px"])) for r in rows(folder, "trades"))
        claim(trades == [("A", "ab", "1.50"), ("B", "c,d", "-2.25")], "lines of CSV", trades)
        letters = [(r["topic"], r["payload"]) for r in rows(folder, "console_dead_letters")]
        claim(letters == [("trades", b"e")], "a line that is too short is a letter, and a null payload is none", letters)
    print(f"console producer: {passed} claims held")


main()
