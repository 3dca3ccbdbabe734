"""Goal: with `route` each record is in the table of its value once, whatever kills the process at whatever place of its work; the
tables and their index are what any reader of Delta tables finds; and what has no table is a dead letter that can be run again.
"""
import json
import signal
import subprocess
import time
import urllib.error
import urllib.request

import duckdb
from deltalake import DeltaTable

from product import BINARY, FOLDER, PIPELINE, claim, end, free_port, millrace

# Each place is passed once a run or more; new values come in the second run.
KILLED_AT = ["epoch.sealed", "route.claimed", "route.made", "route.made:3", "upload.finished", "epoch.prepared", "commit.before_put:2",
             "commit.after_put:3", "route.committed", "route.committed:3", "routes.committed", "commit.after_put:9", "epoch.committed:6"]
COUNT = 2000


def pipeline(most):
    return PIPELINE.replace("  - name: clicks\n", f'  - name: "in_{{country}}"\n    route: country\n    max: {most}\n')


def send(seed):
    millrace("simulate", "clickstream", "--count", str(COUNT), "--rate", "0", "--seed", str(seed), "--to", "embedded:log/clicks")


def tables():
    return sorted(path.name for path in (FOLDER / "lake").glob("in_*") if any((path / "_delta_log").glob("*.json")))


def index():
    return {row["value"]: row["table"] for row in DeltaTable(FOLDER / "lake/in_routes").to_pyarrow_table().to_pylist()}


def records():
    """(partition, offset) -> where it is, of every record; each is there once."""
    found = {}
    for name in tables():
        if name == "in_routes":
            continue
        table = DeltaTable(FOLDER / "lake" / name).to_pyarrow_table(columns=["_partition", "_offset", "country"]).to_pylist()
        for row in table:
            claim(f"in_{row['country']}" == name, f"{name} has rows of its value alone", row)
            place = row["_partition"], row["_offset"]
            claim(place not in found, "no record is in two places", (place, name, found.get(place)))
            found[place] = name
    letters = FOLDER / "lake/clicks_dead_letters"
    if any((letters / "_delta_log").glob("*.json")):
        for row in DeltaTable(letters).to_pyarrow_table(columns=["partition", "offset", "stage", "reason"]).to_pylist():
            claim((row["stage"], row["reason"]) == ("table:in_{country}", "route_limit"), "only the limit makes letters", row)
            found[row["partition"], row["offset"]] = "letters"
    return found


def audited(code=0):
    report = json.loads(millrace("audit", "-c", "p.yaml", "-o", "json", code=code).stdout)
    return {table["name"]: table for table in report["tables"]}


(FOLDER / "p.yaml").write_text(pipeline(100))
millrace("validate", "p.yaml")
sent = 0
for seed, place in enumerate(KILLED_AT):
    send(seed)
    sent += COUNT
    millrace("run", "-c", "p.yaml", "--until-end", code=-signal.SIGKILL, env={"MILLRACE_KILL_AT": place})
    if (FOLDER / "lake/in_routes").exists() and (FOLDER / "lake/clicks_dead_letters").exists():
        audited()
send(len(KILLED_AT))
sent += COUNT
millrace("run", "-c", "p.yaml", "--until-end")
claim(len(records()) == sent, "every record is somewhere", (len(records()), sent))
report = audited()
claim(report["in_{country}"]["rows"] == sent == report["in_{country}"]["written"], "the books of all say so", report)
values = index()
claim(len(values) > 3 and set(values.values()) == set(tables()) - {"in_routes"}, "the index names the tables", values)

# Another engine, by the index alone.
db = duckdb.connect()
rows = 0
for value, name in values.items():
    files = DeltaTable(FOLDER / "lake" / name).file_uris()
    rows += db.execute("SELECT count(*) FROM read_parquet(?)", [files]).fetchone()[0]
    claim(DeltaTable(FOLDER / "lake" / name).metadata().configuration["millrace.route.value"] == value, "a table says whose it is")
claim(rows == sent, "DuckDB finds the same rows", rows)

# In SQL each has its name, and the index tells the names.
def asked(question):
    return json.loads(millrace("sql", "-c", "p.yaml", "-o", "json", question).stdout)


for value, name in values.items():
    answer = asked(f"SELECT count(*) AS n, count(DISTINCT country) AS c, min(country) AS v FROM {name}")
    claim(answer["data"] == [{"n": DeltaTable(FOLDER / "lake" / name).count(), "c": 1, "v": value}], name, answer)
    claim(answer["as_of"]["tables"][name]["offsets"], "up to which offsets", answer["as_of"])
claim({row["table"] for row in asked("FROM in_routes")["data"]} == set(values.values()), "the index is a table")
missing = millrace("sql", "-c", "p.yaml", "SELECT 1 FROM in_nowhere", code=1)
claim("there is no table 'in_nowhere'" in missing.stderr and any(name in missing.stderr for name in values.values()), "the others are named", missing.stderr)

# Over the limit.
first = sorted(values)[0]
(FOLDER / "lake").rename(FOLDER / "lake-before")
(FOLDER / "p.yaml").write_text(pipeline(2))
millrace("run", "-c", "p.yaml", "--until-end")
claim(len(tables()) == 3, "two tables and the index", tables())
found = records()
letters = sum(where == "letters" for where in found.values())
claim(len(found) == sent and letters > 0, "the others are dead letters", letters)
report = audited()
claim(report["in_{country}"]["dead_lettered"] == letters, "which the books count", report)
(FOLDER / "p.yaml").write_text(pipeline(100))
replayed = json.loads(millrace("dlq", "replay", "-c", "p.yaml", "-o", "json").stdout)
claim(replayed["letters"] == letters, "run again with room for all", replayed)
millrace("dlq", "replay", "-c", "p.yaml")
rows = sum(DeltaTable(FOLDER / "lake" / name).count() for name in tables() if name != "in_routes")
claim(rows == sent, "all are rows now, once", rows)
audited()

# The commands know the tables.
millrace("lake", "describe", "lake/" + values[first])
refused = millrace("run", "-c", "p.yaml", "--until-end", "--set", "tables=[{name: 'in_{event_id}', route: event_id}]", code=78)
claim("the pipeline asks for 'event_id'" in refused.stderr, "another column is refused by name", refused.stderr)

# A table that comes while the pipeline runs is there for the next question.
(FOLDER / "lake").rename(FOLDER / "lake-of-replays")
port = free_port()
running = subprocess.Popen([BINARY, "run", "-c", "p.yaml", "--set", f"serve.listen=127.0.0.1:{port}"], cwd=FOLDER)
try:
    questions = json.dumps({"sql": f"SELECT count(*) AS n FROM {values[first]}"}).encode()
    wanted = DeltaTable(FOLDER / "lake-before" / values[first]).count()
    deadline = time.monotonic() + 180
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/sql", questions) as response:
                if json.load(response)["data"][0]["n"] == wanted:
                    break
        except urllib.error.HTTPError as error:
            said = json.load(error)
            assert said["code"] in ("starting", "unknown_table"), said
        except OSError:
            pass
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/tables/{values[first]}/rows?limit=2") as response:
        claim(len(json.load(response)["data"]) == 2, "its rows, in pages")
finally:
    running.send_signal(signal.SIGTERM)
    claim(running.wait(timeout=120) == 0, "it ends well")
end()
