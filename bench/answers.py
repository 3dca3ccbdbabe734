#!/usr/bin/env python3
"""How fast questions to aggregates are answered, and what an answer costs; `make bench` calls this.

Under load  50,000 events a second come from a real Kafka for as long as this part takes. About 1,000 times a second (wrk, which pauses
            between two requests of a connection) the last five minutes by country are asked for: hot, so that an answer has what
            came some milliseconds before. p50 and p99 of what each client waits; and of /livez, which does nothing, in the same way: what
            a client of this machine waits at this moment whoever answers.
At rest     nothing comes any more. 8 connections ask as fast as they are answered: the same small question, small questions that are all
            different (in the minutes that they ask for), and one with a row for each second and country of a minute, some 2,400. Answers per
            second of the process's CPU (user and system, by the kernel's account), and per second of wall clock.

Beside each the same question to DuckDB over the same tables in a Python service (bench/peers/duckdb_service.py), which sees what is
committed; its answers at rest must equal ours, or there are no figures. Rounds alternate; printed are the medians. wrk, the broker, the events' sender and
both servers share this machine's cores, so latencies and answers per second of wall clock are of all of them together.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "kafka"))
from broker import Broker  # noqa: E402

GOALS = {"repeated": 20_000, "many rows": 2_000, "p99_ms": 2}
CONNECTIONS = 8
PAUSED_CONNECTIONS = 16
PIPELINE = """version: 1
pipeline: answers
source:
  kafka: {{bootstrap.servers: "{brokers}", group.id: answers}}
  topics: [clicks]
decode:
  columns: {{event_id: string, ts: timestamp, country: string, page: string, latency_ms: double, amount: "decimal(12,2)"}}
event_time: {{column: ts}}
aggregates:
  - name: clicks_1m
    sql: |
      SELECT window_start, country, page, count(*) AS views, sum(amount) AS revenue, max(latency_ms) AS slowest
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
  - name: clicks_1s
    sql: |
      SELECT window_start, country, count(*) AS views, sum(amount) AS revenue, max(latency_ms) AS slowest
      FROM TUMBLE(input, ts, INTERVAL 1 SECOND) GROUP BY ALL
lake: {{uri: ./lake}}
limits: {{memory: 256MiB}}
serve: {{listen: "127.0.0.1:{port}"}}
log: {{level: warn}}
"""
# Each range once: all of them hold the same minutes, and more and more that are empty.
DIFFERENT = """
local to = {to}
request = function()
  to = to + 60
  return wrk.format("GET", (({path!r}):gsub("FROM", {since}):gsub("TO", to)))
end
"""
PAUSED = f"function delay() return {PAUSED_CONNECTIONS} end"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_s(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for(url, process):
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url) as response:
                return response.read()
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


def wrk(base, path, seconds, folder, connections=CONNECTIONS, script=None):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "60s"]
    if script:
        (folder / "wrk.lua").write_text(script)
        command += ["-s", str(folder / "wrk.lua")]
    text = subprocess.run([*command, base + path], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"{base}{path}:\n{text}")

    def milliseconds(share):
        number, unit = re.search(rf"{share}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]

    return {"answers": int(re.search(r"(\d+) requests in", text).group(1)), "p50_ms": milliseconds(50), "p99_ms": milliseconds(99),
            "per_s": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))}


def at_rest(process, base, path, arguments, folder, script=None):
    before = cpu_s(process)
    figures = wrk(base, path, arguments.seconds, folder, script=script)
    figures["per_cpu_s"] = figures["answers"] / (cpu_s(process) - before)
    return figures


def medians(rounds):
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}


def rows_of(body):
    rows = []
    for row in json.loads(body)["data"]:
        at = row.get("window_start", "").replace("T", " ").removesuffix("Z").removesuffix("+00:00")
        rows.append((at, row["country"], int(row["views"]), float(row["revenue"]), row["slowest"]))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--rate", type=int, default=50_000, help="events a second of the part under load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument("--no-peer", action="store_true", help="leave DuckDB in Python out")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "answers.json")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not there: scripts/setup test")
    result = {"machine": {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}, "under_load": {}, "at_rest": {}}
    with tempfile.TemporaryDirectory(prefix="millrace-answers-") as name, Broker(lasting=True) as broker:
        folder = pathlib.Path(name)
        broker.create_topic("clicks", 4)
        port, peer_port = free_port(), free_port()
        (folder / "pipeline.yaml").write_text(PIPELINE.format(brokers=broker.address, port=port))
        processes = []

        def start(*command):
            with open(folder / "log", "ab") as log:
                processes.append(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log))
            return processes[-1]

        try:
            measure(arguments, folder, broker, start, port, peer_port, result)
        finally:
            for process in processes:
                process.kill()
                process.wait()
    print_result(result)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")


def measure(arguments, folder, broker, start, port, peer_port, result):
    ours, theirs = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    millrace = start(arguments.binary.resolve(), "run", "-c", "pipeline.yaml")
    wait_for(f"{ours}/readyz", millrace)
    first = int(time.time()) + 2
    fleet = start(arguments.binary.resolve(), "simulate", "clickstream", "--rate", str(arguments.rate), "--late", "0", "--duplicates", "0",
                  "--malformed", "0", "--to", f"kafka://{broker.address}/clicks")
    # A minute of seconds, and the first commits; the broker's Java code is compiled meanwhile.
    time.sleep(65)
    peer = None
    if not arguments.no_peer:
        peer = start(sys.executable, str(ROOT / "bench" / "peers" / "duckdb_service.py"), str(folder / "lake"), str(peer_port))
    last = first + 60
    hot = "/v1/aggregates/clicks_1m?" + urllib.parse.urlencode({"from": "-5m", "group_by": "country"})
    minutes = {"from": last - 300, "to": last + 3600}
    seconds = {"from": first, "to": last}
    small = {"group_by": "country", "order_by": "views desc", "limit": 10}
    asked = {
        "repeated": ("clicks_1m", "small", small, minutes, None),
        "different": ("clicks_1m", "small", small, {"from": "FROM", "to": "TO"}, minutes),
        "many rows": ("clicks_1s", "many", {"group_by": "window_start,country"}, seconds, None),
    }

    def our_path(question):
        aggregate, _, parameters, span, _ = asked[question]
        return f"/v1/aggregates/{aggregate}?" + urllib.parse.urlencode({**parameters, **span})

    def their_path(question):
        aggregate, kind, _, span, _ = asked[question]
        return f"/{aggregate}?" + urllib.parse.urlencode({"question": kind, **span})

    if peer:
        wait_for(theirs + their_path("many rows"), peer)
    rounds = {"millrace": [], "/livez": [], "python": []}
    for _ in range(arguments.rounds):
        rounds["millrace"].append(wrk(ours, hot, arguments.seconds, folder, PAUSED_CONNECTIONS, PAUSED))
        rounds["/livez"].append(wrk(ours, "/livez", arguments.seconds, folder, PAUSED_CONNECTIONS, PAUSED))
        if peer:
            rounds["python"].append(wrk(theirs, their_path("repeated"), arguments.seconds, folder, PAUSED_CONNECTIONS, PAUSED))
    result["under_load"] = {name: medians(figures) for name, figures in rounds.items() if figures}
    if fleet.poll() is not None:
        raise SystemExit("the fleet has ended")
    fleet.terminate()
    fleet.wait()
    # All is committed, and the list of files renewed.
    time.sleep(15)
    for question, (_, _, _, _, span) in asked.items():
        if peer and span is None:
            answers = [rows_of(wait_for(url, peer)) for url in (ours + our_path(question), theirs + their_path(question))]
            if answers[0] != answers[1] or not answers[0]:
                raise SystemExit(f"{question}: the answers differ:\n{answers[0][:3]}\n{answers[1][:3]}")
        rounds = {"millrace": [], "python": []}
        for number in range(arguments.rounds):
            for name, process, base, path in (("millrace", millrace, ours, our_path(question)), ("python", peer, theirs, their_path(question))):
                if process is None:
                    continue
                script = DIFFERENT.format(since=span["from"] - 60 * number, to=span["to"], path=path) if span else None
                rounds[name].append(at_rest(process, base, path, arguments, folder, script))
        result["at_rest"][question] = {name: medians(figures) for name, figures in rounds.items() if figures}


def print_result(result):
    def note(value, goal, less=False):
        return f"(goal {goal:,}: {'met' if (value <= goal if less else value >= goal) else 'NOT met'})"

    load = result["under_load"]
    print("\nAnswers while events come: a hot aggregate by country")
    for name, figures in load.items():
        goal = note(figures["p99_ms"], GOALS["p99_ms"], less=True) if name == "millrace" else ""
        print(f"  {name:10}{figures['per_s']:8,.0f} a second: p50 {figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f} ms   {goal}")
    print("Answers at rest, 8 connections")
    for question, by_name in result["at_rest"].items():
        for name, figures in by_name.items():
            goal = note(figures["per_cpu_s"], GOALS[question]) if name == "millrace" and question in GOALS else ""
            print(f"  {question:10}{name:10}{figures['per_cpu_s']:9,.0f} a CPU second, {figures['per_s']:8,.0f} a second, "
                  f"p99 {figures['p99_ms']:.2f} ms   {goal}")
    print(f"  load of the machine before: {result['machine']['load_before']} on {result['machine']['cores']} cores")


if __name__ == "__main__":
    main()
