#!/usr/bin/env python3
"""What the HTTP gateway costs beside one in Python (bench/peers/fastapi_gateway.py) and one of Benthos, of which Bento is a fork
(bench/peers/benthos: its http_server input, with franz-go), measured here and now; `make bench` calls this. Benthos is built at the first run,
which wants Go and a network; where that fails it is left out, and said to be.

All take lines of JSON of about 200 bytes, with a key, to a real Kafka topic of 4 partitions, and answer when they are durable there; Millrace
to its embedded log too. The clients keep their connections and send one request after the other; at most 1,000 requests and 50,000 events are on
their way at a time: of 10,000 connections each waits for its turn, as a fleet of devices does. For each number of connections and size of batch: events a second, CPU seconds (user and
system) of the gateway's process per million events, and p50 and p99 of an answer. Every answer is checked, and at the end the topic must hold
each event. Clients, broker and gateway share this machine.

    gateway.py MILLRACE [--seconds 3] [--connections 1,100,10000] [--batches 1,500] [--logs kafka,embedded,python,benthos] [--output build/gateway.json]
"""

import argparse
import asyncio
import collections
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "kafka"))
from broker import Broker, free_port  # noqa: E402
from confluent_kafka import Consumer, TopicPartition  # noqa: E402

PIPELINE = """version: 1
pipeline: bench
source: {{{source}, topics: [events]}}
decode: {{format: json, columns: {{device_id: string}}}}
tables: [{{name: events}}]
lake: {{uri: lake}}
serve: {{listen: "127.0.0.1:{port}", limits: {{connections: 12000}}}}
gateway: {{{kafka}http: {{topics: {{events: {{key: device_id}}}}}}}}
log: {{level: warn}}
"""
TICKS = os.sysconf("SC_CLK_TCK")
REQUESTS_MAX, EVENTS_MAX = 1_000, 50_000  # On their way at a time.


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def wait_for(port, process):
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None and time.monotonic() < deadline, "the gateway does not start"
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as client:
                client.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
                if client.recv(100).split()[1] in (b"200", b"404"):  # The Python one has no such route.
                    return
        except OSError:
            pass
        time.sleep(0.05)


class Load:
    """Who waits for a turn to send, and the time of each answer."""

    def __init__(self, events, until, answer):
        self.events, self.until, self.answer = events, until, answer
        self.times, self.idle, self.sending = [], collections.deque(), 0
        self.done = asyncio.get_running_loop().create_future()

    def go_on(self):
        while self.idle and self.sending < min(REQUESTS_MAX, EVENTS_MAX // self.events) and time.perf_counter() < self.until:
            self.sending += 1
            self.idle.popleft().send()
        if self.sending == 0 and not self.done.done():
            self.done.set_result(None)

    def answered(self, client, head, body):
        if not self.answer(self.events, head.split()[1], body):
            return self.fail(AssertionError(head + body))
        self.times.append(time.perf_counter() - client.begun)
        self.sending -= 1
        self.idle.append(client)
        self.go_on()

    def fail(self, error):
        if not self.done.done():
            self.done.set_exception(error)


def accepted(events, status, body):
    return status == b"202" and json.loads(body)["accepted"] == events


def just_ok(_events, status, _body):
    """Benthos's, which sends the request's body back and says nothing of it."""
    return status == b"200"


class Client(asyncio.Protocol):
    def __init__(self, request, load):
        self.request, self.load = request, load
        self.buffer = b""

    def connection_made(self, transport):
        self.transport = transport

    def send(self):
        self.begun = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data):
        self.buffer += data
        head, blank, body = self.buffer.partition(b"\r\n\r\n")
        if not blank or len(body) < int(head.lower().partition(b"content-length:")[2].split()[0]):
            return
        self.buffer = b""
        self.load.answered(self, head, body)

    def connection_lost(self, error):
        self.load.fail(ConnectionError(str(error)))


async def load(port, connections, batch, seconds, answer):
    """The time of each answer, and from the first request to the last answer."""
    line = json.dumps({"device_id": "device-%04d", "ts": "2026-11-29T10:00:00.000Z", "page": "/products/a-long-name-of-a-page", "action": "view",
                       "session_id": "3f2b8c1d9e0a4756", "country": "DE", "amount": 12.5, "latency_ms": 13.25})
    requests = []
    for i in range(min(connections, 100)):
        body = "\n".join(line % ((i * batch + n) % 10_000) for n in range(batch)).encode()
        requests.append((b"POST /v1/events/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n" % len(body)) + body)
    all_of = Load(batch, 0, answer)
    for i in range(connections):
        _, client = await asyncio.get_running_loop().create_connection(lambda: Client(requests[i % len(requests)], all_of), "127.0.0.1", port)
        all_of.idle.append(client)
    begun = time.perf_counter()
    all_of.until = begun + seconds
    all_of.go_on()
    await all_of.done
    wall = time.perf_counter() - begun
    for client in all_of.idle:
        client.transport.close()
    return all_of.times, wall


def held(broker):
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "bench"})
    ends = [consumer.get_watermark_offsets(TopicPartition("events", partition), timeout=10)[1] for partition in range(4)]
    consumer.close()
    return sum(ends)


def measure(name, process, port, arguments):
    """By connections and batch; and how many events were sent in all."""
    answer = just_ok if name == "benthos" else accepted
    measured, sent = {}, 10 * len(asyncio.run(load(port, 4, 10, 1, answer))[0])  # Until all is warm.
    for batch in arguments.batches:
        for connections in arguments.connections:
            before = cpu_seconds(process.pid)
            times, wall = asyncio.run(load(port, connections, batch, arguments.seconds, answer))
            cpu, events, times = cpu_seconds(process.pid) - before, len(times) * batch, sorted(times)
            sent += events
            row = {"events_per_s": round(events / wall), "cpu_s_per_million": round(cpu / events * 1e6, 2),
                   "events_per_cpu_s": round(events / max(cpu, 1 / TICKS)), "p50_ms": round(times[len(times) // 2] * 1e3, 2),
                   "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 2)}
            measured[f"{connections}x{batch}"] = row
            print(json.dumps({"gateway": name, "connections": connections, "batch": batch, **row}), flush=True)
    return measured, sent


def run(command, folder, port, environment=None):
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **(environment or {})})
    wait_for(port, process)
    return process


def built_benthos():
    """The program; None, and a line that says why, where it cannot be built."""
    program = ROOT / "build" / "benthos_gateway"
    try:
        subprocess.run(["go", "build", "-trimpath", "-o", program, "."], cwd=ROOT / "bench" / "peers" / "benthos", check=True, capture_output=True,
                       text=True, timeout=1200)
        return program
    except FileNotFoundError:
        print("gateway: Benthos is left out: there is no Go")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"gateway: Benthos is left out: it cannot be built: {error}: {(error.stderr or '')[-300:]}")
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(part) for part in text.split(",")]
    parser.add_argument("millrace", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=numbers, default=[1, 100, 10_000])
    parser.add_argument("--batches", type=numbers, default=[1, 500])
    parser.add_argument("--logs", type=lambda text: text.split(","), default=["kafka", "embedded", "python", "benthos"])
    parser.add_argument("--linger-ms", type=int, default=20)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "gateway.json")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # The gateway inherits it.
    benthos = built_benthos() if "benthos" in arguments.logs else None
    arguments.logs = [log for log in arguments.logs if log != "benthos" or benthos]
    results = {}
    with tempfile.TemporaryDirectory(prefix="millrace-bench-gateway-") as temporary, Broker(lasting=True) as broker:
        broker.create_topic("events", partitions=4)
        for log in arguments.logs:
            port, folder = free_port(), pathlib.Path(temporary) / log
            folder.mkdir()
            if log == "python":
                process = run([sys.executable, "-m", "uvicorn", "fastapi_gateway:app", "--port", str(port), "--log-level", "warning", "--no-access-log"],
                              ROOT / "bench" / "peers", port,
                              {"BROKERS": broker.address, "TOPIC": "events", "LINGER_MS": str(arguments.linger_ms)})
            elif log == "benthos":
                process = run([benthos, "run", ROOT / "bench" / "peers" / "benthos" / "gateway.yaml"], folder, port,
                              {"BROKERS": broker.address, "TOPIC": "events", "PORT": str(port), "LINGER_MS": str(arguments.linger_ms)})
            else:
                is_kafka = log == "kafka"
                source = f'kafka: {{"bootstrap.servers": "{broker.address}"}}' if is_kafka else "embedded: {path: log, partitions: 4}"
                kafka = f"kafka: {{linger.ms: {arguments.linger_ms}}}, " if is_kafka else ""
                (folder / "gateway.yaml").write_text(PIPELINE.format(source=source, port=port, kafka=kafka))
                process = run([arguments.millrace.resolve(), "gateway", "-c", "gateway.yaml"], folder, port)
            try:
                before = held(broker)
                results[log], sent = measure(log, process, port, arguments)
                assert log == "embedded" or held(broker) - before == sent, "the topic does not hold what was answered"
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(20)
    for place, row in results.get("kafka", {}).items():
        connections, batch = place.split("x")
        for peer, name in (("python", "the Python gateway's"), ("benthos", "Benthos's")):
            if other := results.get(peer, {}).get(place):
                print(f"{connections} connections, batches of {batch}: {row['events_per_cpu_s'] / other['events_per_cpu_s']:.1f} times {name} events "
                      f"per CPU second")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
