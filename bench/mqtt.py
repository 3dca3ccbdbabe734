#!/usr/bin/env python3
"""What the MQTT listener costs, measured here and now; `make bench` calls this.

Devices publish messages of about 200 bytes with QoS 1 (bench/mqtt_load.cc: a thread that is quicker than the gateway, in a process of its own
whose CPU time does not count), into a real Kafka topic of 4 partitions and into the embedded log; PUBACK means that a message is durable
there. mqtt_load and log_benchmark are beside MILLRACE. For each number of connections: messages a second, CPU seconds (user and system) of the gateway's process per million messages, p50 and
p99 from PUBLISH to PUBACK, and how busy the load's own core was. At the end the log must hold each message. Load, broker and gateway share
this machine.

    mqtt.py MILLRACE [--seconds 5] [--connections 1,100,1000,10000] [--logs kafka,embedded] [--output build/mqtt.json]
"""

import argparse
import json
import pathlib
import resource
import signal
import subprocess
import tempfile

from gateway import ROOT, Broker, cpu_seconds, free_port, held, run

PIPELINE = """version: 1
pipeline: bench
source: {{{source}, topics: [events]}}
decode: {{format: json, columns: {{seq: int64}}}}
tables: [{{name: events}}]
lake: {{uri: lake}}
serve: {{listen: "127.0.0.1:{port}", limits: {{connections: 12000}}}}
gateway: {{{kafka}mqtt: {{listen: "127.0.0.1:{mqtt}", accept: [{{filter: "site/+/dev/+", topic: events, key: "{{2}}"}}]}}}}
log: {{level: warn}}
"""


def load(programs, port, connections, seconds):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([programs / "mqtt_load", str(port), str(connections), str(seconds)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    measured = json.loads(done.stdout)
    measured["load_cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return measured


def measure(name, process, port, arguments):
    """By connections; and how many messages were sent in all."""
    measured, sent = {}, load(arguments.millrace.parent, port, 4, 1)["messages"]  # Until all is warm.
    for connections in arguments.connections:
        before = cpu_seconds(process.pid)
        one = load(arguments.millrace.parent, port, connections, arguments.seconds)
        cpu, messages = cpu_seconds(process.pid) - before, one["messages"]
        sent += messages
        row = {"events_per_s": round(messages / one["seconds"]), "cpu_s_per_million": round(cpu / messages * 1e6, 2), "p50_ms": one["p50_ms"],
               "p99_ms": one["p99_ms"], "load_busy": round(one["load_cpu_s"] / one["seconds"], 2)}
        measured[str(connections)] = row
        print(json.dumps({"mqtt": name, "connections": connections, **row}), flush=True)
    return measured, sent


def held_embedded(programs, folder):
    """Once nobody has the log open."""
    done = subprocess.run([programs / "log_benchmark", "open", folder / "log", "events"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["records"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("millrace", type=lambda path: pathlib.Path(path).absolute())
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=lambda text: [int(part) for part in text.split(",")], default=[1, 100, 1000, 10_000])
    parser.add_argument("--logs", type=lambda text: text.split(","), default=["kafka", "embedded"])
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "mqtt.json")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # The gateway inherits it, and the load.
    results = {}
    with tempfile.TemporaryDirectory(prefix="millrace-bench-mqtt-") as temporary, Broker(lasting=True) as broker:
        broker.create_topic("events", partitions=4)
        for log in arguments.logs:
            port, mqtt, folder = free_port(), free_port(), pathlib.Path(temporary) / log
            folder.mkdir()
            source = f'kafka: {{"bootstrap.servers": "{broker.address}"}}' if log == "kafka" else "embedded: {path: log, partitions: 4}"
            kafka = "kafka: {linger.ms: 20}, " if log == "kafka" else ""
            (folder / "gateway.yaml").write_text(PIPELINE.format(source=source, port=port, mqtt=mqtt, kafka=kafka))
            process = run([arguments.millrace, "gateway", "-c", "gateway.yaml"], folder, port)
            try:
                results[log], sent = measure(log, process, mqtt, arguments)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(20)
            there = held(broker) if log == "kafka" else held_embedded(arguments.millrace.parent, folder)
            assert there == sent, f"{log} holds {there} messages of {sent} that were acknowledged"
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
