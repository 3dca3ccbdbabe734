#!/usr/bin/env python3
"""What Millrace costs and how fresh its answers are, measured here and now; `make bench` calls this.

cost        N JSON events (2,000,000) of about 280 bytes from a real Kafka topic with 4 partitions into a table of events and
            a one-minute aggregate by two keys (bench/clicks.yaml), and the same job in Python (bench/peers/python_job.py).
            Events a second over the whole run of the process, CPU seconds (user + system) per million events, peak
            memory. Before any figure is printed, the tables of both are read by independent readers (deltalake, DuckDB) and
            compared row by row; a difference is exit 1.
freshness   50,000 events a second for 60 s. Probe events are sent beside them; from the broker's acknowledgement of a probe
            to the arrival of the first answer whose as_of.offsets contain it. Answers are asked for 2 ms after the one
            before, over one kept connection: without that pause the asker and the answers alone take a core, and what
            is measured is two cores' queues. The first 10 s, in which the broker's Java code is still being compiled,
            are not counted.

The broker runs on this machine; its CPU is not counted, and it takes its share of the cores.
"""

import argparse
import dataclasses
import http.client
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "kafka"))
from broker import Broker  # noqa: E402

TOPIC = "clicks"
PARTITIONS = 4
CONFIG = ROOT / "bench" / "clicks.yaml"
COST_BOUNDS = {"cpu_s_per_million": 1.2, "peak_mib": 200}
ASK_PAUSE_S = 0.002
FRESHNESS_BOUNDS = {"p50_ms": 3, "p99_ms": 15}


class BenchError(RuntimeError):
    pass


@dataclasses.dataclass
class Usage:
    """Of one process, from start to end."""

    name: str
    wall_s: float
    cpu_s: float
    peak_mib: float
    events: int

    def figures(self) -> dict:
        return {
            "events_per_s": round(self.events / self.wall_s),
            "cpu_s_per_million": round(self.cpu_s / self.events * 1e6, 3),
            "peak_mib": round(self.peak_mib, 1),
            "wall_s": round(self.wall_s, 2),
            "cpu_s": round(self.cpu_s, 2),
        }


def run_measured(name: str, command: list, events: int, log: pathlib.Path, env: dict, timeout_s: float) -> Usage:
    """The kernel's own account of the process. A process starts with its parent's peak memory in its account, so this
    program must stay small until the last measurement: it imports readers only to verify."""
    with open(log, "wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=output, env=env)
        watchdog = threading.Timer(timeout_s, process.kill)
        watchdog.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            watchdog.cancel()
        wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        tail = "".join(log.read_text(errors="replace").splitlines(True)[-20:])
        raise BenchError(f"{name} ended with {process.returncode}:\n{tail}")
    return Usage(name, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, events)


def simulate(arguments, broker: Broker, log: pathlib.Path, *flags: str) -> list:
    return [
        str(arguments.binary), "simulate", "clickstream", *flags,
        "--late", "0", "--duplicates", "0", "--malformed", "0",
        "--seed", str(arguments.seed), "--to", f"kafka://{broker.address}/{TOPIC}",
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(broker: Broker, lake: pathlib.Path, port: int) -> dict:
    return {**os.environ, "BROKERS": broker.address, "LAKE_URI": str(lake), "PORT": str(port)}


def verify_cost(arguments, work: pathlib.Path, events: int, broker: Broker) -> dict:
    """Both lakes hold the same rows, each once, and the aggregates are those of DuckDB over the raw rows."""
    import duckdb
    from deltalake import DeltaTable

    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    columns = "event_id, ts, device_id, user_id, session_id, country, page, action, latency_ms, amount, _partition, _offset"

    def expect(what: str, got, want) -> None:
        if got != want:
            raise BenchError(f"wrong result: {what}: {got}, expected {want}")

    result = {}
    names = {"millrace": "millrace", **({} if arguments.no_peer else {"python": "python"})}
    for name in names:
        database.register(f"{name}_rows", DeltaTable(str(work / name / "clicks")).to_pyarrow_dataset())
        count, places, digest = database.execute(
            f"SELECT count(*), count(DISTINCT (_partition, _offset)), bit_xor(hash({columns})) FROM {name}_rows"
        ).fetchone()
        expect(f"{name}: rows", count, events)
        expect(f"{name}: distinct places in the log", places, events)
        result[name] = digest
    if not arguments.no_peer:
        expect("digest of the raw rows (millrace, Python)", result["millrace"], result["python"])

    truth = """SELECT time_bucket(INTERVAL 1 MINUTE, ts) AS window_start, country, page, count(*) AS views,
               sum(amount) AS revenue, max(latency_ms) AS slowest FROM millrace_rows GROUP BY ALL"""
    answer = work / "answer.csv"
    with open(answer, "wb") as output:
        subprocess.run(
            [str(arguments.binary), "query", "clicks_1m", "-c", str(CONFIG), "-o", "csv", "--limit", "100000000"],
            stdout=output, check=True, env=environment(broker, work / "millrace", 0),
        )
    database.execute(
        f"""CREATE TABLE millrace_answer AS SELECT window_start::TIMESTAMPTZ AS window_start, country, page,
            views::BIGINT AS views, revenue::DECIMAL(38,2) AS revenue, slowest::DOUBLE AS slowest
            FROM read_csv('{answer}', all_varchar = true)"""
    )
    answers = {"millrace": "SELECT * FROM millrace_answer"}
    if not arguments.no_peer:
        database.register("python_partials", DeltaTable(str(work / "python" / "clicks_1m")).to_pyarrow_dataset())
        answers["python"] = """SELECT window_start, country, page, sum(views)::BIGINT AS views, sum(revenue) AS revenue,
                               max(slowest) AS slowest FROM python_partials GROUP BY ALL"""
    groups = database.execute(f"SELECT count(*) FROM ({truth})").fetchone()[0]
    for name, sql in answers.items():
        expect(f"{name}: groups", database.execute(f"SELECT count(*) FROM ({sql})").fetchone()[0], groups)
        different = database.execute(
            f"""SELECT count(*) FROM ({truth}) t FULL JOIN ({sql}) a USING (window_start, country, page)
                WHERE (t.views, t.revenue, t.slowest) IS DISTINCT FROM (a.views, a.revenue, a.slowest)"""
        ).fetchone()[0]
        expect(f"{name}: aggregate rows that differ from DuckDB's over the raw rows", different, 0)
    return {"rows": events, "groups": groups}


def run_cost(arguments, work: pathlib.Path) -> dict:
    events = arguments.events
    with Broker(data=work / "broker", lasting=True) as broker:
        broker.create_topic(TOPIC, partitions=PARTITIONS)
        say(f"producing {events:,} events")
        run_measured("simulate", simulate(arguments, broker, work, "--rate", "0", "--count", str(events)), events,
                     work / "simulate.log", dict(os.environ), 1800)
        jobs = [("millrace", [str(arguments.binary), "run", "-c", str(CONFIG), "--until-end"])]
        if not arguments.no_peer:
            peer = ROOT / "bench" / "peers" / "python_job.py"
            jobs.append(("python", [sys.executable, str(peer), broker.address, TOPIC, str(work / "python")]))
        rounds = {name: [] for name, _ in jobs}
        for round_number in range(arguments.rounds):
            for name, command in jobs:
                say(f"running {name} ({round_number + 1} of {arguments.rounds})")
                shutil.rmtree(work / name, ignore_errors=True)
                usage = run_measured(name, command, events, work / f"{name}.log",
                                     environment(broker, work / name, free_port()), arguments.timeout)
                rounds[name].append(usage)
        say("comparing the tables")
        verified = verify_cost(arguments, work, events, broker)
    # The run in the middle, whole, so that its figures belong together; the largest peak of all.
    middle = {name: sorted(usages, key=lambda usage: usage.cpu_s)[len(usages) // 2].figures() for name, usages in rounds.items()}
    for name, usages in rounds.items():
        middle[name]["peak_mib"] = max(usage.figures()["peak_mib"] for usage in usages)
        middle[name]["cpu_s_per_million_of_rounds"] = [usage.figures()["cpu_s_per_million"] for usage in usages]
    return {"verified": verified, "rounds": arguments.rounds, **middle}


class Probes(threading.Thread):
    """Sends a probe event to each partition in turn and notes when the broker acknowledged it."""

    def __init__(self, brokers: str, per_second: int):
        super().__init__(daemon=True)
        from confluent_kafka import Producer

        self.producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 0, "acks": "all"})
        self.per_second = per_second
        self.lock = threading.Lock()
        self.waiting: dict[int, list[tuple[int, float]]] = {p: [] for p in range(PARTITIONS)}
        self.failed = 0
        self.ended = threading.Event()

    def acknowledged(self, error, message) -> None:
        now = time.monotonic()
        if error is not None:
            self.failed += 1
            return
        with self.lock:
            self.waiting[message.partition()].append((message.offset(), now))

    def take_covered(self, partition: int, next_offset: int) -> list[float]:
        with self.lock:
            waiting = self.waiting[partition]
            covered = [at for offset, at in waiting if offset < next_offset]
            self.waiting[partition] = [probe for probe in waiting if probe[0] >= next_offset]
        return covered

    def unanswered(self) -> int:
        with self.lock:
            return sum(len(waiting) for waiting in self.waiting.values())

    def run(self) -> None:
        due = time.monotonic()
        number = 0
        while not self.ended.is_set():
            stamp = time.time()
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(stamp)) + f".{int(stamp % 1 * 1e6):06d}Z"
            event = {"event_id": f"probe-{number}", "ts": text, "device_id": "probe", "user_id": 0, "session_id": "probe",
                     "country": "DE", "page": "/probe", "action": "view", "latency_ms": 1.0, "amount": 0.0}
            self.producer.produce(TOPIC, json.dumps(event).encode(), partition=number % PARTITIONS,
                                  on_delivery=self.acknowledged)
            number += 1
            due += 1 / self.per_second
            while (left := due - time.monotonic()) > 0:
                self.producer.poll(left)
        self.producer.flush(10)


def wait_until_ready(port: int, process: subprocess.Popen, log: pathlib.Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"millrace ended with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise BenchError("millrace was not ready within 30 s")


def stolen_seconds() -> float:
    """CPU time that the host gave to others while this machine wanted it."""
    with open("/proc/stat") as stat:
        return int(stat.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run_freshness(arguments, work: pathlib.Path) -> dict:
    port = free_port()
    log = work / "freshness.log"
    with Broker(data=work / "freshness-broker", lasting=True) as broker:
        broker.create_topic(TOPIC, partitions=PARTITIONS)
        lake = work / "freshness"
        with open(log, "wb") as output:
            millrace = subprocess.Popen([str(arguments.binary), "run", "-c", str(CONFIG)], stdout=output, stderr=output,
                                        env=environment(broker, lake, port))
        fleet = None
        probes = None
        try:
            wait_until_ready(port, millrace, log)
            count = arguments.rate * arguments.seconds
            say(f"{arguments.rate:,} events/s for {arguments.seconds} s")
            with open(work / "fleet.log", "wb") as output:
                fleet = subprocess.Popen(
                    simulate(arguments, broker, work, "--rate", str(arguments.rate), "--count", str(count)),
                    stdout=output, stderr=output)
            started = time.monotonic()
            probes = Probes(broker.address, arguments.probes)
            probes.start()
            latencies, answers, last_offsets = [], [], {}
            stolen_before, warm_at = stolen_seconds(), started + arguments.warm_up
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            path = "/v1/aggregates/clicks_1m?" + urllib.parse.urlencode({"from": "-5m", "group_by": "country"})
            stop_sending = started + arguments.seconds
            give_up = stop_sending + 30
            while True:
                now = time.monotonic()
                if now >= stop_sending and not probes.ended.is_set():
                    probes.ended.set()
                    probes.join()
                if probes.ended.is_set() and (probes.unanswered() == 0 or now >= give_up):
                    break
                time.sleep(ASK_PAUSE_S)
                asked = time.monotonic()
                connection.request("GET", path)
                response = connection.getresponse()
                body = response.read()
                arrived = time.monotonic()
                if response.status != 200:
                    raise BenchError(f"an answer had status {response.status}: {body[:500]!r}")
                counted = arrived >= warm_at
                if counted:
                    answers.append(arrived - asked)
                for partition, next_offset in json.loads(body)["as_of"]["offsets"].get(TOPIC, {}).items():
                    if next_offset < last_offsets.get(partition, 0):
                        raise BenchError(f"an answer went back: partition {partition}, {last_offsets[partition]} to "
                                         f"{next_offset}")
                    last_offsets[partition] = next_offset
                    covered = probes.take_covered(int(partition), next_offset)
                    if counted:
                        latencies += [(arrived - warm_at, arrived - at) for at in covered]
            if probes.unanswered() or probes.failed:
                raise BenchError(f"{probes.unanswered()} probes never appeared in an answer, {probes.failed} were not "
                                 "acknowledged")
            if fleet.wait(60) != 0:
                raise BenchError(f"simulate ended with {fleet.returncode}: {(work / 'fleet.log').read_text()}")
            sent_in = time.monotonic() - started
            millrace.send_signal(signal.SIGTERM)
            if millrace.wait(60) != 0:
                raise BenchError(f"millrace ended with {millrace.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
        finally:
            if probes is not None:
                probes.ended.set()
            for process in (fleet, millrace):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()
    stolen = stolen_seconds() - stolen_before
    # How much of the spread is the machine's: the same figures over each 10 s, the calmest by p99.
    by_ten_seconds: dict[int, list[float]] = {}
    for at, latency in latencies:
        by_ten_seconds.setdefault(int(at // 10), []).append(latency)
    calmest = min((sorted(part) for part in by_ten_seconds.values() if len(part) >= 5 * arguments.probes),
                  key=lambda part: percentile(part, 0.99), default=[0.0])
    latencies = sorted(latency for _, latency in latencies)
    answers.sort()
    return {
        "events_per_s": arguments.rate,
        "seconds": round(sent_in, 1),
        "warm_up_s": arguments.warm_up,
        "stolen_cpu_s": round(stolen, 2),
        "calmest_10s_p50_ms": round(percentile(calmest, 0.5) * 1000, 1),
        "calmest_10s_p99_ms": round(percentile(calmest, 0.99) * 1000, 1),
        "probes": len(latencies),
        "answers": len(answers),
        "p50_ms": round(percentile(latencies, 0.5) * 1000, 1),
        "p99_ms": round(percentile(latencies, 0.99) * 1000, 1),
        "max_ms": round(latencies[-1] * 1000, 1),
        "answer_p50_ms": round(percentile(answers, 0.5) * 1000, 1),
        "answer_p99_ms": round(percentile(answers, 0.99) * 1000, 1),
    }


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def bound_note(value: float, bound: float) -> str:
    return f"at most {bound:g}: {'met' if value <= bound else 'NOT met'}"


def print_cost(cost: dict) -> None:
    print(f"\nCost: {cost['verified']['rows']:,} events into a table of events and an aggregate of "
          f"{cost['verified']['groups']:,} groups; results equal")
    names = [name for name in ("millrace", "python") if name in cost]
    print(f"{'':28}" + "".join(f"{name:>14}" for name in names) + (f"{'ratio':>10}" if len(names) > 1 else ""))
    rows = [("events/s", "events_per_s", "{:,.0f}", False), ("CPU s per million events", "cpu_s_per_million", "{:.2f}", True),
            ("peak memory, MiB", "peak_mib", "{:,.0f}", True)]
    for title, key, form, less_is_better in rows:
        line = f"{title:28}" + "".join(f"{form.format(cost[name][key]):>14}" for name in names)
        if len(names) > 1:
            ours, theirs = cost["millrace"][key], cost["python"][key]
            line += f"{(theirs / ours if less_is_better else ours / theirs):>9.1f}x"
        if key in COST_BOUNDS:
            line += f"   ({bound_note(cost['millrace'][key], COST_BOUNDS[key])})"
        print(line)


def print_freshness(freshness: dict) -> None:
    print(f"\nFreshness at {freshness['events_per_s']:,} events/s, {freshness['probes']:,} probes, "
          f"{freshness['answers']:,} answers")
    for key in ("p50_ms", "p99_ms"):
        print(f"{'append to answer, ' + key[:3]:28}{freshness[key]:>11.1f} ms"
              f"   (on an idle machine {bound_note(freshness[key], FRESHNESS_BOUNDS[key])})")
    print(f"{'in the calmest 10 s':28}{freshness['calmest_10s_p50_ms']:>11.1f} ms p50, "
          f"{freshness['calmest_10s_p99_ms']:.1f} ms p99 (the host took {freshness['stolen_cpu_s']} CPU s meanwhile)")
    print(f"{'append to answer, max':28}{freshness['max_ms']:>11.1f} ms")
    print(f"{'one answer, p50 and p99':28}{freshness['answer_p50_ms']:>11.1f} ms {freshness['answer_p99_ms']:.1f} ms")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="cost,freshness", help="cost, freshness or both (default)")
    parser.add_argument("--events", type=int, default=2_000_000, help="of the cost part")
    parser.add_argument("--rounds", type=int, default=5, help="of the cost part, turn about; the one with the middle CPU counts")
    parser.add_argument("--no-peer", action="store_true", help="leave the Python job out")
    parser.add_argument("--rate", type=int, default=50_000, help="events a second of the freshness part")
    parser.add_argument("--seconds", type=int, default=60, help="of the freshness part")
    parser.add_argument("--warm-up", type=float, default=10, help="seconds of the freshness part that are not counted")
    parser.add_argument("--probes", type=int, default=100, help="probe events a second")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--timeout", type=float, default=900, help="seconds that one job of the cost part may take")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build" / "release" / "bin" / "millrace")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "bench.json")
    parser.add_argument("--keep", action="store_true", help="keep the lakes and logs, and say where they are")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if unknown := set(parts) - {"cost", "freshness"}:
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    if not arguments.binary.exists():
        parser.error(f"{arguments.binary} is not there; run make build")

    work = pathlib.Path(tempfile.mkdtemp(prefix="millrace-bench-"))
    load = os.getloadavg()[0]
    result = {
        "version": subprocess.run([arguments.binary, "version"], capture_output=True, text=True, check=True).stdout.strip(),
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "load_before": round(load, 2)},
    }
    if load > 0.5:
        say(f"note: the machine is not idle (load {load:.2f}); freshness will show that")
    try:
        # Freshness before cost: the readers that verify make this process large.
        if "freshness" in parts:
            result["freshness"] = run_freshness(arguments, work)
        if "cost" in parts:
            result["cost"] = run_cost(arguments, work)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        arguments.keep = True
        return 1
    finally:
        if arguments.keep:
            say(f"lakes and logs are in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    if "cost" in result:
        print_cost(result["cost"])
    if "freshness" in result:
        print_freshness(result["freshness"])
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\nAll figures: {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
