#!/usr/bin/env python3
"""How late a change is that 10,000 clients follow, and what they cost; `make bench` calls this.

All of them listen to the stream of one aggregate (the highest of the numbers that came). Ten events a second are sent to a
real Kafka; from the broker's acknowledgement of each to its arrival at each client. Clients, broker and Millrace share this
machine's cores, and the clients are counted in: one thread that takes what the sockets have and looks for the number.
"""

import argparse
import pathlib
import re
import resource
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "kafka"))
from broker import Broker  # noqa: E402

BOUNDS = {"p99_ms": 250, "peak_mib": 1024}
PIPELINE = """version: 1
pipeline: listeners
source:
  kafka: {{bootstrap.servers: "{brokers}", group.id: listeners}}
  topics: [numbers]
decode: {{columns: {{n: int64}}}}
aggregates:
  - name: highest
    sql: SELECT max(n) AS n FROM input
lake: {{uri: ./lake}}
limits: {{memory: 256MiB}}
serve: {{listen: "127.0.0.1:{port}", limits: {{connections: 20000}}}}
log: {{level: warn}}
"""
NUMBER = re.compile(rb'"data":\[\{"n":(\d+)\}\]')


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def peak_mib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024


def cpu_s(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Numbers(threading.Thread):
    """Sends 1, 2, 3, … and notes when each was acknowledged."""

    def __init__(self, brokers, count, per_second):
        super().__init__(daemon=True)
        from confluent_kafka import Producer

        self.producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 0})
        self.count, self.per_second = count, per_second
        self.acknowledged_at = {}

    def run(self):
        due = time.monotonic()
        for number in range(1, self.count + 1):
            def note(error, message, number=number):
                if error is None:
                    self.acknowledged_at[number] = time.monotonic()
            self.producer.produce("numbers", f'{{"n": {number}}}'.encode(), on_delivery=note)
            due += 1 / self.per_second
            while (left := due - time.monotonic()) > 0:
                self.producer.poll(left)
        self.producer.flush(10)


def wait_until_ready(port, process):
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if client.recv(64).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("it does not get ready")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--listeners", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=20)
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < arguments.listeners * 2 + 1000:
        # Half of what the process may have is for connections.
        arguments.listeners = hard // 2 - 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    with tempfile.TemporaryDirectory(prefix="millrace-listeners-") as name, Broker(lasting=True) as broker:
        folder = pathlib.Path(name)
        broker.create_topic("numbers", 1)
        port = free_port()
        (folder / "pipeline.yaml").write_text(PIPELINE.format(brokers=broker.address, port=port))
        with open(folder / "run.log", "wb") as log:
            process = subprocess.Popen([arguments.binary.resolve(), "run", "-c", "pipeline.yaml"], cwd=folder, stdout=log,
                                       stderr=log)
        try:
            wait_until_ready(port, process)
            before_mib = peak_mib(process)
            poll = select.epoll()
            clients = {}
            for _ in range(arguments.listeners):
                client = socket.create_connection(("127.0.0.1", port))
                client.sendall(b"GET /v1/aggregates/highest/stream HTTP/1.1\r\nHost: x\r\n\r\n")
                client.setblocking(False)
                poll.register(client, select.EPOLLIN)
                clients[client.fileno()] = client
            snapshots = set()
            deadline = time.monotonic() + 60
            while len(snapshots) < len(clients) and time.monotonic() < deadline:
                for fd, _ in poll.poll(1):
                    if b"event: snapshot" in clients[fd].recv(65536):
                        snapshots.add(fd)
            if len(snapshots) < len(clients):
                raise SystemExit(f"{len(snapshots)} of {len(clients)} clients have a snapshot")
            cpu_before = cpu_s(process)
            begun = time.monotonic()
            numbers = Numbers(broker.address, arguments.seconds * 10, 10)
            numbers.start()
            arrivals = []
            last = dict.fromkeys(clients, 0)
            while (numbers.is_alive() or min(last.values()) < numbers.count) and time.monotonic() < begun + arguments.seconds + 30:
                for fd, _ in poll.poll(1):
                    text = clients[fd].recv(65536)
                    now = time.monotonic()
                    for found in NUMBER.finditer(text):
                        number = int(found.group(1))
                        if number <= last[fd]:
                            raise SystemExit(f"a client was told {number} after {last[fd]}")
                        last[fd] = number
                        arrivals.append((number, now))
            if min(last.values()) < numbers.count:
                raise SystemExit(f"a client has {min(last.values())} of {numbers.count}")
            took = time.monotonic() - begun
            # The first second warms up the broker.
            delays = sorted(1000 * max(0.0, at - numbers.acknowledged_at[number]) for number, at in arrivals if number > 10)
            figures = {"p50_ms": delays[len(delays) // 2], "p99_ms": delays[len(delays) * 99 // 100], "most_ms": delays[-1],
                       "peak_mib": peak_mib(process)}
            print(f"{len(clients):,} listeners of one aggregate, 10 changes a second for {arguments.seconds} s: a change arrives after "
                  f"{figures['p50_ms']:.0f} ms (p50), {figures['p99_ms']:.0f} ms (p99), {figures['most_ms']:.0f} ms (most); "
                  f"{100 * (cpu_s(process) - cpu_before) / took:.0f} % of a core; peak {figures['peak_mib']:.0f} MiB "
                  f"({before_mib:.0f} MiB without listeners)")
            for figure, bound in BOUNDS.items():
                if figures[figure] > bound:
                    print(f"  above the goal: {figure} {figures[figure]:.0f}, goal {bound}")
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
