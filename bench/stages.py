#!/usr/bin/env python3
"""Where the CPU of an event goes: the client's edge beside librdkafka alone, each stage, and the threads of a whole run; `make bench`
calls this.

    stages.py [--build PATH] [--events N] [--output FILE]

edge     Our client, which hands over batches, and librdkafka alone with its own defaults, read the same N messages of some 250
         bytes from 4 partitions to the end: CPU seconds per million, of the whole process; the median of three, turn about.
stages   Nanoseconds of CPU per event of a stage alone, from its google-benchmark, in batches of 10,000.
threads  The same pipeline as `cost` of run.py reads N events: nanoseconds of CPU per event of the control thread (which polls,
         routes and commits), of the shards together, of librdkafka's, by the kernel's account, looked at every 10 ms.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "kafka"))
from broker import Broker  # noqa: E402

PER_MILLION = re.compile(r"([\d.]+) CPU s per million")
# Name, program, its benchmark.
STAGES = [("decode JSON", "ingest_benchmark", "Decode/compact/10000"),
          ("decode Avro", "ingest_benchmark", "DecodeAvro/clicks/10000"),
          ("decode Protobuf", "ingest_benchmark", "ProtobufDecode/10000"),
          ("DynamicMessage", "ingest_benchmark", "DynamicMessageToBuilders"),
          ("decode CSV", "ingest_benchmark", "DecodeCsv/10000"),
          ("aggregate columns", "process_benchmark", "DirectColumns/10000"),
          ("aggregate expressions, WHERE", "process_benchmark", "ExpressionsAndWhere/10000"),
          ("join a lookup", "process_benchmark", "JoinsALookup/10000")]


def edge(build, broker, events):
    out = subprocess.run([build / "bin/kafka_consumer_benchmark", str(events)], env={**os.environ, "KAFKA_BROKERS": broker.address},
                         check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = {"ours": "read ", "librdkafka": "librdkafka alone"}
    return {name: statistics.median(float(PER_MILLION.search(line)[1]) for line in out.splitlines() if line.startswith(begin))
            for name, begin in lines.items()}


def stages(build):
    figures = {}
    for name, program, benchmark in STAGES:
        out = subprocess.run([build / "bin" / program, f"--benchmark_filter=^{benchmark}$", "--benchmark_format=json"], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(out)["benchmarks"]
        if not found:
            raise SystemExit(f"{program} has no benchmark {benchmark}")
        figures[name] = 1e9 / found[0]["items_per_second"]
    return figures


def kind_of(thread):
    if thread.startswith("shard-"):
        return "shards"
    return "librdkafka" if thread.startswith("rdk:") else thread


def threads(build, broker, folder, events):
    binary = build / "bin/millrace"
    broker.create_topic("clicks", partitions=4)
    subprocess.run([binary, "simulate", "clickstream", "--rate", "0", "--count", str(events), "--late", "0", "--duplicates", "0",
                    "--malformed", "0", "--to", f"kafka://{broker.address}/clicks"], check=True, stderr=subprocess.DEVNULL)
    env = {**os.environ, "BROKERS": broker.address, "LAKE_URI": str(folder / "lake"), "PORT": "0"}
    process = subprocess.Popen([binary, "run", "-c", ROOT / "bench/clicks.yaml", "--until-end"], env=env,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    spent = {}
    while process.poll() is None:
        for task in pathlib.Path(f"/proc/{process.pid}/task").glob("*"):
            try:
                spent[task.name] = ((task / "comm").read_text().strip(), int((task / "schedstat").read_text().split()[0]))
            except OSError:
                continue
        time.sleep(0.01)
    if process.returncode != 0:
        raise SystemExit(f"millrace ended with {process.returncode}")
    sums = {"control": 0, "shards": 0, "librdkafka": 0, "others": 0}
    for number, (name, nanoseconds) in spent.items():
        kind = "control" if int(number) == process.pid else kind_of(name)
        sums[kind if kind in sums else "others"] += nanoseconds
    return {kind: nanoseconds / events for kind, nanoseconds in sums.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build/stages.json")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    with Broker(lasting=True) as broker, tempfile.TemporaryDirectory() as folder:
        figures = {"edge": edge(build, broker, arguments.events), "stages": stages(build),
                   "threads": threads(build, broker, pathlib.Path(folder), arguments.events)}
    print(f"\nThe client's edge: {figures['edge']['ours']:.3f} CPU s per million messages, librdkafka alone "
          f"{figures['edge']['librdkafka']:.3f}")
    print("Nanoseconds of CPU per event: " + ", ".join(f"{name} {ns:.0f}" for name, ns in figures["stages"].items()))
    print("of a whole run: " + ", ".join(f"{name} {ns:.0f}" for name, ns in figures["threads"].items()))
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(figures, indent=1) + "\n")


main()
