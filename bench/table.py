#!/usr/bin/env python3
"""One table of what the benchmarks found: goal, now, before, and the peer's figure of the same run; the last step of `make bench`.

    table.py [--build FOLDER] [--runs FOLDER]

Reads what the others have left in build/, leaves out what is not there, and keeps the whole as a file of its own in bench/runs/ (which git
does not know): date, commit, machine, and each figure with its unit, for a chart over commits. "Before" is the newest earlier run on a machine of
as many cores that has the figure. What each row means: docs/benchmarks.md.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Row:
    """Where a figure is in which file. `path` and `peer` are keys on the way there; `goal` of the sort that `less` says is better. `per`: file and
    keys of what the figure is divided by."""

    def __init__(self, name, unit, source, path, goal=None, peer=None, less=True, per=None):
        self.name, self.unit, self.source, self.path = name, unit, source, path
        self.goal, self.peer, self.less, self.per = goal, peer, less, per


ROWS = [
    Row("CPU per million events", "s", "bench", "cost/millrace/cpu_s_per_million", 1.2, "cost/python/cpu_s_per_million"),
    Row("Python's CPU to ours", "times", "bench", "cost/python/cpu_s_per_million", 6, less=False, per=("bench", "cost/millrace/cpu_s_per_million")),
    Row("our CPU to that of librdkafka alone", "times", "bench", "cost/millrace/cpu_s_per_million", 1.6, per=("stages", "edge/librdkafka")),
    Row("events a second", "1/s", "bench", "cost/millrace/events_per_s", None, "cost/python/events_per_s", less=False),
    Row("peak memory", "MiB", "bench", "cost/millrace/peak_mib", 200, "cost/python/peak_mib"),
    Row("CPU per million, 20 million events", "s", "bench-long", "cost/millrace/cpu_s_per_million", 1.2),
    Row("peak memory, 20 million events", "MiB", "bench-long", "cost/millrace/peak_mib", 200),
    Row("client edge, per million (peer: librdkafka)", "s", "stages", "edge/ours", None, "edge/librdkafka"),
    Row("Avro's CPU to JSON's", "times", "formats", "avro/to_json", 0.85),
    Row("Protobuf's CPU to JSON's", "times", "formats", "protobuf/to_json", 0.85),
    Row("CSV's CPU to JSON's", "times", "formats", "csv/to_json"),
    Row("decode JSON, an event", "ns", "stages", "stages/decode JSON"),
    Row("decode Avro, an event", "ns", "stages", "stages/decode Avro"),
    Row("decode Protobuf, an event (peer: DynamicMessage)", "ns", "stages", "stages/decode Protobuf", None, "stages/DynamicMessage"),
    Row("decode CSV, an event", "ns", "stages", "stages/decode CSV"),
    Row("aggregate columns, an event", "ns", "stages", "stages/aggregate columns"),
    Row("aggregate expressions, an event", "ns", "stages", "stages/aggregate expressions, WHERE"),
    Row("join a lookup, an event", "ns", "stages", "stages/join a lookup"),
    Row("control thread, an event", "ns", "stages", "threads/control", 200),
    Row("shards, an event", "ns", "stages", "threads/shards"),
    Row("librdkafka's threads, an event", "ns", "stages", "threads/librdkafka"),
    Row("freshness at 50,000/s, p50", "ms", "bench", "freshness/p50_ms", 3),
    Row("freshness at 50,000/s, p99", "ms", "bench", "freshness/p99_ms", 15),
    Row("freshness at 200,000/s, p99", "ms", "bench-fast", "freshness/p99_ms", 50),
    Row("answers at rest, the same question", "1/CPU s", "answers", "at_rest/repeated/millrace/per_cpu_s", 15_000,
        "at_rest/repeated/python/per_cpu_s", less=False),
    Row("answers of 2,400 rows", "1/CPU s", "answers", "at_rest/many rows/millrace/per_cpu_s", 2_000,
        "at_rest/many rows/python/per_cpu_s", less=False),
    Row("answers under load, p99", "ms", "answers", "under_load/millrace/p99_ms", 2, "under_load/python/p99_ms"),
    Row("gateway, 500 a request, CPU per million", "s", "gateway", "kafka/100x500/cpu_s_per_million", None,
        "python/100x500/cpu_s_per_million"),
    Row("gateway, 500 a request: Python's CPU to ours", "times", "gateway", "python/100x500/cpu_s_per_million", 10, less=False,
        per=("gateway", "kafka/100x500/cpu_s_per_million")),
    Row("gateway, 1 a request, CPU per million", "s", "gateway", "kafka/100x1/cpu_s_per_million", None,
        "python/100x1/cpu_s_per_million"),
    Row("gateway, 1 a request: Python's CPU to ours", "times", "gateway", "python/100x1/cpu_s_per_million", 10, less=False,
        per=("gateway", "kafka/100x1/cpu_s_per_million")),
    Row("gateway, 10,000 connections, p99", "ms", "gateway", "kafka/10000x1/p99_ms", None, "python/10000x1/p99_ms"),
    Row("MQTT, 1,000 connections, CPU per million", "s", "mqtt", "kafka/1000/cpu_s_per_million"),
    Row("MQTT, 1,000 connections, messages a second", "1/s", "mqtt", "kafka/1000/events_per_s", less=False),
    Row("MQTT, 1,000 connections, p99 of PUBACK", "ms", "mqtt", "kafka/1000/p99_ms"),
    Row("embedded log, groups of 100 (peer: db_bench)", "1/s", "embedded_log", "groups/100/log/records_per_s", None,
        "groups/100/db_bench/records_per_s", less=False),
    Row("embedded log, kill -9 to open", "ms", "embedded_log", "recovery/open_ms_max"),
    Row("kill -9 to caught up", "s", "restart", "caught_up_s", 1),
    Row("1,000 partitions: start to caught up", "s", "partitions", "1000/start_to_read_s"),
    Row("1,000 partitions: a commit", "KiB", "partitions", "1000/commit_kib"),
    Row("1,000 partitions: a commit", "ms", "partitions", "1000/commit_ms"),
    Row("1,000 partitions: memory", "MiB", "partitions", "1000/memory_mib"),
    Row("1,000 partitions: /v1/lag", "ms", "partitions", "1000/lag_ms"),
    Row("opening 1,000,000 commits (peer: deltalake)", "ms", "growth", "1,000,000 commits/open_ms", 1000,
        "1,000,000 commits/deltalake/open_ms"),
]


def find(document, path):
    for key in path.split("/"):
        if not isinstance(document, dict) or key not in document:
            return None
        document = document[key]
    return document


def load(path):
    return json.loads(path.read_text()) if path.exists() else {}


def git(*command):
    done = subprocess.run(["git", "-C", ROOT, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def figures_of(build):
    sources = {row.source for row in ROWS} | {row.per[0] for row in ROWS if row.per}
    results = {source: load(build / f"{source}.json") for source in sources}
    found = []
    for row in ROWS:
        value = find(results[row.source], row.path)
        divisor = find(results[row.per[0]], row.per[1]) if row.per else 1
        if value is None or not divisor:
            continue
        value = value / divisor if row.per else value
        peer = find(results[row.source], row.peer) if row.peer else None
        found.append({"name": row.name, "unit": row.unit, "value": value, "goal": row.goal, "less_is_better": row.less, "peer": peer})
    return found


def before(run, runs):
    """By name and unit: the newest earlier figure on a like machine."""
    earlier = [load(path) for path in sorted(runs.glob("*.json"))]
    like = [other for other in earlier if other["machine"]["cores"] == run["machine"]["cores"] and other["date"] < run["date"]]
    return {(f["name"], f["unit"]): f["value"] for other in like for f in other["figures"]}


def text(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_table(run, earlier):
    print(f"\n{'':44}{'unit':>9}{'goal':>9}{'now':>10}{'before':>10}{'peer':>10}")
    for figure in run["figures"]:
        met = ""
        if figure["goal"] is not None:
            is_met = figure["value"] <= figure["goal"] if figure["less_is_better"] else figure["value"] >= figure["goal"]
            met = "" if is_met else "  NOT met"
        was = earlier.get((figure["name"], figure["unit"]))
        print(f"{figure['name']:44}{figure['unit']:>9}{text(figure['goal']):>9}{text(figure['value']):>10}{text(was):>10}"
              f"{text(figure['peer']):>10}{met}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "bench" / "runs")
    arguments = parser.parse_args()
    now = datetime.datetime.now(datetime.timezone.utc)
    commit = git("rev-parse", "--short=12", "HEAD")
    run = {
        "name": "bench",
        "date": now.isoformat(timespec="seconds"),
        "commit": commit + ("+" if git("status", "--porcelain", "--untracked-files=no") else ""),
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "load": round(os.getloadavg()[0], 2)},
        "figures": figures_of(arguments.build),
    }
    if not run["figures"]:
        raise SystemExit(f"{arguments.build} has no results: make bench writes them")
    print_table(run, before(run, arguments.runs))
    arguments.runs.mkdir(parents=True, exist_ok=True)
    path = arguments.runs / f"{now:%Y%m%dT%H%M%SZ}-{commit or 'unknown'}.json"
    path.write_text(json.dumps(run, indent=1) + "\n")
    print(f"\nThis run, for a chart over commits: {path}")


if __name__ == "__main__":
    main()
