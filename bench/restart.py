#!/usr/bin/env python3
"""How long nobody is answered after a kill -9, with Kafka's own defaults; `make bench` calls this.

    restart.py [--binary PATH] [--rounds N] [--output FILE]

A pipeline (bench/clicks.yaml) has read 100,000 events and committed them. It is killed (SIGKILL), 5,000 more events are sent, and it is
started again; six times, the first is not counted. From the start of the process, medians:

up          Its port answers /livez: the process is loaded, the file is read, its SQL planned.
tables      The tables are open.
assigned    Its group has given it its partitions: a static member is taken back at once.
caught up   An answer has all events. The goal is one second.
"""
import argparse
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "kafka"))
from broker import Broker  # noqa: E402

GOAL_S = 1.0
PARTITIONS = 4
FIRST_EVENTS, MORE_EVENTS = 100_000, 5_000
ANSWER = "/v1/aggregates/clicks_1m?from=-7d&group_by=country"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, path):
    """(status, body); nothing while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return None, b""


def logged(log, word, begun):
    """Seconds after `begun` at which a line with the word was logged."""
    for line in log.read_text().splitlines():
        if word in line:
            return datetime.datetime.fromisoformat(line.split(" ")[0].replace("Z", "+00:00")).timestamp() - begun
    raise SystemExit(f"no line of the log has '{word}':\n{log.read_text()[-2000:]}")


def start_again(command, env, port, log, total):
    with open(log, "w") as output:
        begun = time.time()
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
    up = None
    while True:
        if process.poll() is not None:
            raise SystemExit(f"millrace ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        status, body = ask(port, ANSWER)
        now = time.time() - begun
        if status is not None and up is None:
            up = now
        if status == 200 and sum(json.loads(body)["as_of"]["offsets"].get("clicks", {}).values()) == total:
            break
        if now > 60:
            process.kill()
            raise SystemExit(f"not caught up after 60 s:\n{log.read_text()[-2000:]}")
        time.sleep(0.002)
    return process, {"up_s": up, "tables_s": logged(log, "serving url=", begun), "assigned_s": logged(log, "assigned", begun),
                     "caught_up_s": now}


def measure(arguments, folder):
    binary, port = str(arguments.binary), free_port()
    with Broker(data=folder / "broker", lasting=True) as broker:
        broker.create_topic("clicks", partitions=PARTITIONS)
        env = {**os.environ, "BROKERS": broker.address, "LAKE_URI": str(folder / "lake"), "PORT": str(port)}

        def send(count):
            subprocess.run([binary, "simulate", "clickstream", "--rate", "0", "--count", str(count), "--to",
                            f"kafka://{broker.address}/clicks"], check=True, stderr=subprocess.DEVNULL)

        command = [binary, "run", "-c", str(ROOT / "bench" / "clicks.yaml")]
        send(FIRST_EVENTS)
        total, rounds = FIRST_EVENTS, []
        for _ in range(arguments.rounds + 1):
            process, figures = start_again(command, env, port, folder / "log", total)
            rounds.append(figures)
            time.sleep(1)
            process.send_signal(signal.SIGKILL)
            process.wait()
            send(MORE_EVENTS)
            total += MORE_EVENTS
    return {name: statistics.median(figures[name] for figures in rounds[1:]) for name in rounds[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/release/bin/millrace")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build/restart.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments, pathlib.Path(folder))
    print("\nRestart after kill -9, from the start of the process: " + ", ".join(
        f"{name} {figures[key]:.2f} s" for name, key in [("up", "up_s"), ("tables", "tables_s"), ("assigned", "assigned_s"),
                                                         ("caught up", "caught_up_s")])
          + f"   (goal {GOAL_S:g} s: {'met' if figures['caught_up_s'] <= GOAL_S else 'NOT met'})")
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(figures, indent=1) + "\n")


main()
