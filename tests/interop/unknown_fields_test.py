"""`decode.unknown_fields: rescue` and `add`, through `millrace run` that is killed in the middle, as other readers see it: columns
and `_rescued` together say what each record said, number for number as it was written, and every record is there once.

Usage: unknown_fields_test.py PATH_OF_millrace
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import duckdb
from deltalake import DeltaTable

MILLRACE = sys.argv[1]
passed = 0

PIPELINE = """version: 1
pipeline: clicks
source:
  embedded: {path: log, partitions: 4}
  topics: [clicks]
decode:
  format: json
  columns: {event_id: string, ts: timestamp, country: string}
  unknown_fields: MODE
event_time: {column: ts}
tables:
  - {name: raw, commit: {interval: 200ms, bytes: 300kB}, on_new_column: add}
MORElake: {uri: lake}
serve: {listen: "127.0.0.1:0"}
log: {level: warn}
"""
TRANSFORMED = """  - {name: kept, from: kept}
  - {name: dropped, from: dropped}
transforms:
  - {name: kept, sql: "SELECT event_id, _rescued->>'$.page' AS page, _rescued FROM input WHERE country <> 'US'"}
  - {name: dropped, sql: "SELECT event_id, country FROM input"}
"""
DECLARED = ["event_id", "ts", "country"]
ADDED = {"device_id": "string", "user_id": "long", "session_id": "string", "page": "string", "action": "string",
         "latency_ms": "double", "amount": "double", "user_agent": "string", "referrer": "string", "campaign": "string"}


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def millrace(folder, *arguments, kill_at=None):
    environment = {**os.environ, **({"MILLRACE_KILL_AT": kill_at} if kill_at else {})}
    done = subprocess.run([MILLRACE, *arguments], cwd=folder, capture_output=True, text=True, timeout=240, env=environment)
    want = -signal.SIGKILL if kill_at else 0
    assert done.returncode == want, f"{arguments} {kill_at}: exit {done.returncode}, not {want}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def spelled(text):
    """JSON with each number as the text that it is; of two equal keys the last counts."""
    return json.loads(text, parse_float=lambda number: ("number", number), parse_int=lambda number: ("number", number))


def send(folder, events, count, seed):
    """Appends events, and notes what they say but for the time, which is the clock's."""
    for line in millrace(folder, "simulate", "clickstream", "--count", str(count), "--rate", "0", "--seed", str(seed)).splitlines():
        event = spelled(line)
        events[event.pop("event_id")] = event
        del event["ts"]
    millrace(folder, "simulate", "clickstream", "--count", str(count), "--rate", "0", "--seed", str(seed), "--to", "embedded:log/clicks")


def run(folder, mode, kill_points=()):
    more = TRANSFORMED if mode == "rescue" else ""
    (folder / "clicks.yaml").write_text(PIPELINE.replace("MODE", mode).replace("MORE", more))
    for kill_at in kill_points:
        millrace(folder, "run", "-c", "clicks.yaml", "--until-end", kill_at=kill_at)
    millrace(folder, "run", "-c", "clicks.yaml", "--until-end")
    millrace(folder, "audit", "-c", "clicks.yaml")


def rows_of(folder, table):
    rows = DeltaTable(str(folder / "lake" / table)).to_pyarrow_table().to_pylist()
    by_id = {row["event_id"]: row for row in rows}
    claim(len(by_id) == len(rows), f"{table}: every record once", (len(by_id), len(rows)))
    return by_id


def said(row):
    """What the row says of its record. Numbers of columns are compared as numbers, those in `_rescued` as text."""
    event = {key: value for key, value in row.items() if value is not None and not key.startswith("_") and key not in ("ts", "event_id")}
    for key, value in spelled(row["_rescued"] or "{}").items():
        assert key not in event, f"'{key}' is in a column and in _rescued: {row}"
        event[key] = value
    return event


def equal(event, want):
    if event.keys() != want.keys():
        return False
    return all(value == want[key] or (isinstance(value, (int, float)) and want[key] == ("number", want[key][1]) and
                                      value == float(want[key][1])) for key, value in event.items())


def check_rows(folder, events, mode):
    rows = rows_of(folder, "raw")
    claim(rows.keys() == events.keys(), f"{mode}: the records are there", (len(rows), len(events)))
    wrong = [(row, events[key]) for key, row in rows.items() if not equal(said(row), events[key])]
    claim(not wrong, f"{mode}: rows say what the records said", wrong[:2])
    return rows


def check_duckdb(folder, events):
    """The files of the log as DuckDB reads them, whichever columns each has."""
    files = DeltaTable(str(folder / "lake" / "raw")).file_uris()
    listed = ",".join(f"'{uri.removeprefix('file://')}'" for uri in files)
    got = duckdb.sql(f"""SELECT count(*), count(DISTINCT event_id),
        sum(coalesce(user_id, CAST(_rescued->>'$.user_id' AS BIGINT)))::BIGINT,
        count(coalesce(page, _rescued->>'$.page'))
        FROM read_parquet([{listed}], union_by_name = true)""").fetchone()
    users = sum(int(event["user_id"][1]) for event in events.values())
    claim(got == (len(events), len(events), users, len(events)), "DuckDB reads the same", (got, len(events), users))


def check_transforms(folder, events):
    """`_rescued` is a column of `input`: a transform reads it, passes it on, or leaves it out."""
    kept = rows_of(folder, "kept")
    want = {key: event for key, event in events.items() if event.get("country") not in (None, "US")}
    claim(kept.keys() == want.keys(), "the transform's rows", (len(kept), len(want)))
    claim(all(row["page"] == want[key]["page"] for key, row in kept.items()), "SQL reads rescued fields")
    dropped = DeltaTable(str(folder / "lake" / "dropped")).schema()
    claim([field.name for field in dropped.fields][:2] == ["event_id", "country"] and "_rescued" not in
          [field.name for field in dropped.fields], "what SQL leaves out is out", dropped)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        events = {}
        send(folder, events, 3000, 7)
        # A table from before, without the column: it grows it.
        run(folder, "ignore")
        claim("_rescued" not in [field.name for field in DeltaTable(str(folder / "lake" / "raw")).schema().fields], "ignore")
        before = set(events)
        send(folder, events, 6000, 8)
        # Tables commit side by side: after the third kill all of them may be at the end, so the last gets records of its own.
        run(folder, "rescue", ["epoch.sealed:1", "commit.before_put:2", "commit.after_put:1"])
        send(folder, events, 500, 11)
        run(folder, "rescue", ["epoch.committed:1"])
        rows = rows_of(folder, "raw")
        claim(all(rows[key]["_rescued"] is None for key in before), "older rows have none")
        after = {key: event for key, event in events.items() if key not in before}
        wrong = [key for key in after if said(rows[key]) != after[key]]
        claim(not wrong, "rescued: number for number as written", [(rows[key], after[key]) for key in wrong[:2]])
        check_transforms(folder, events)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        events = {}
        send(folder, events, 3000, 7)
        run(folder, "rescue", ["epoch.prepared:1"])
        check_rows(folder, events, "rescue")
        send(folder, events, 6000, 8)
        run(folder, "add", ["columns.added:1", "epoch.sealed:1", "commit.before_put:1", "commit.after_put:1"])
        send(folder, events, 3000, 9)
        run(folder, "add", ["epoch.prepared:1"])
        rows = check_rows(folder, events, "add")
        fields = {field.name: field.type.type for field in DeltaTable(str(folder / "lake" / "raw")).schema().fields}
        claim({key: fields.get(key) for key in ADDED} == ADDED, "the columns that were added", fields)
        claim(sum(row["_rescued"] is None for row in rows.values()) == 9000, "from then on nothing is rescued")
        check_duckdb(folder, events)
        read = millrace(folder, "lake", "read", "lake/raw", "--columns", "event_id,user_id,page").splitlines()
        claim(len(read) == 12000, "lake read", len(read))
        # Back to ignore: the columns stay, and are null.
        send(folder, events, 1000, 10)
        run(folder, "ignore")
        claim(DeltaTable(str(folder / "lake" / "raw")).to_pyarrow_table()["user_id"].null_count == 4000, "ignore again")
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
