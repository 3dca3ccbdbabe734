"""One pipeline with all that is kept from run to run, and its records, which are the same at any time and in every release."""
import datetime
import json
import pathlib
import subprocess

FIRST = datetime.datetime(2026, 1, 5, 8, tzinfo=datetime.timezone.utc)
PARTITIONS = 4  # Of an embedded log, where nobody says another number.
COUNTRIES = ["DE", "FR", "IT"]

PIPELINE = """version: 1
pipeline: upgrade
source:
  embedded: {path: log, retention: 36500d}
  topics: [clicks]
decode:
  format: json
  columns: {id: string, ts: timestamp, country: string, amount: "decimal(12,2)", tags: list<string>, "where": "struct<lat: double>"}
event_time: {column: ts}
dedupe: {by: [id], within: 7d, path: state}
transforms:
  - {name: clean, sql: "SELECT * FROM input WHERE amount >= 0"}
tables:
  - {name: clicks, from: clean, partition_by: ["date(ts)"]}
  - {name: "of_{country}", from: input, route: country}
aggregates:
  - name: minutes
    sql: |
      SELECT window_start, country, count(*) AS n, sum(amount) AS amount, approx_count_distinct(id) AS ids,
             approx_quantile(amount, 0.5) AS middle, approx_top_k(country, 2) AS top, min(amount) AS least, mode(country) AS often
      FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) GROUP BY ALL
    final: {table: minutes_final}
  - {name: sessions, sql: "SELECT window_start, country, count(*) AS n FROM SESSION(clean, ts, INTERVAL 20 SECOND) GROUP BY ALL"}
  - {name: totals, sql: "SELECT country, count(*) AS n, avg(amount) AS mean FROM clean GROUP BY ALL"}
lake: {uri: lake}
limits: {memory: 64MiB, threads: 2}
log: {level: info}
"""


def event(number):
    at = FIRST + datetime.timedelta(seconds=3 * number, microseconds=number)
    return {"id": f"e{number}", "ts": at.isoformat().replace("+00:00", "Z"), "country": COUNTRIES[number * 7 % 3],
            "amount": f"{(number * 37) % 1000 / 100 - 0.5:.2f}", "tags": ["a"] * (number % 3), "where": {"lat": number / 8}}


# Each stage: new events, then repeats of these earlier ones, then documents that are dead letters.
STAGES = [(range(0, 200), range(0, 0), ["{", '{"id": 1, "ts": "no time"}']),
          (range(200, 400), range(50, 90), ["[1]"]),
          (range(400, 500), range(150, 250), ["nothing"]),
          (range(500, 600), list(range(0, 40)) + list(range(380, 440)), ['{"id": "e", "ts": "2026-01-05T08:00:00Z", "amount": "much"}'])]


def records(stage):
    new, again, broken = STAGES[stage]
    payloads = [json.dumps(event(n)) for n in [*new, *again]] + broken
    for i, payload in enumerate(payloads):
        # An event and its repeat are in one partition.
        number = [*new, *again][i] if i < len(new) + len(again) else i
        yield {"topic": "clicks", "partition": number % PARTITIONS, "timestamp": int((FIRST.timestamp() + 3 * new[0] + i) * 1e6),
               "key": f"k{number}".encode().hex(), "payload": payload.encode().hex(), "headers": [["stage", str(stage).encode().hex()]]}


def append(append_records, folder, stage):
    done = subprocess.run([append_records, "log"], cwd=folder, input="".join(json.dumps(r) + "\n" for r in records(stage)), text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr


def run(binary, folder, *arguments, code=0):
    done = subprocess.run([binary, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done


def write_pipeline(folder):
    (pathlib.Path(folder) / "p.yaml").write_text(PIPELINE)
