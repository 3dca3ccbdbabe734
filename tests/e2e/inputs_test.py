"""Goal: several inputs in one pipeline on the embedded log, as a user meets them: each record is in the tables of its own input once,
whatever kills the process and however the file is edited between the short form and `inputs`; the commands that name inputs.
"""
import json
import signal

from deltalake import DeltaTable

from product import FOLDER, PIPELINE, claim, end, millrace

KILLED_AT = ["starts.committed", "epoch.sealed", "epoch.prepared", "commit.before_put:5", "commit.after_put:5", "commit.after_put:3",
             "epoch.committed:2"]
COUNT = 500
DECODE = 'decode: {columns: {event_id: string, ts: timestamp, country: string, amount: "decimal(12,2)"}}'
CLICKS = f"""  - name: CLICKS
    topics: [clicks, "^clicks-.+"]
    {DECODE}
    event_time: {{column: ts}}
"""
READINGS = """  - name: readings
    topics: [readings]
    decode: {columns: {device_id: string, seen: {type: timestamp, path: ts}, ms: {type: double, path: latency_ms}}}
    event_time: {column: seen}
"""


def several(clicks="clicks", readings=True, start="latest"):
    """The stream of clicks by this name, and perhaps that of readings."""
    text = f"""version: 1
pipeline: clicks
source: {{embedded: {{path: log, partitions: 4}}, start: {start}}}
inputs:
{CLICKS.replace("CLICKS", clicks)}{READINGS if readings else ""}tables:
  - {{name: clicks, from: {clicks}, partition_by: ["date(ts)"]}}
"""
    if readings:
        text += "  - {name: readings, from: readings}\n"
    return text + f"""aggregates:
  - {{name: by_country, sql: "SELECT country, count(*) AS n FROM {clicks} GROUP BY ALL"}}
lake: {{uri: lake}}
log: {{level: warn}}
"""


def send(topic, seed, count=COUNT, *arguments):
    millrace("simulate", "clickstream", "--count", str(count), "--rate", "0", "--seed", str(seed), "--to", f"embedded:log/{topic}", *arguments)


def run(text, code=0, **env):
    (FOLDER / "p.yaml").write_text(text)
    return millrace("run", "-c", "p.yaml", "--until-end", code=code, env=env)


def topics(table):
    """Topic -> its rows, each of another place."""
    rows = DeltaTable(FOLDER / "lake" / table).to_pyarrow_table(columns=["_topic", "_partition", "_offset"]).to_pylist()
    places = {(row["_topic"], row["_partition"], row["_offset"]) for row in rows}
    claim(len(places) == len(rows), f"{table}: no record is there twice", len(rows))
    counts = {}
    for topic, _, _ in places:
        counts[topic] = counts.get(topic, 0) + 1
    return counts


def audited():
    for table in json.loads(millrace("audit", "-c", "p.yaml", "-o", "json").stdout)["tables"]:
        claim(table["findings"] == [], f"{table['name']}: the books balance", table["findings"])


def counted():
    rows = json.loads(millrace("query", "by_country", "-c", "p.yaml", "-o", "json").stdout)
    return sum(row["n"] for row in (rows["data"] if isinstance(rows, dict) else rows))


# From the short form to several inputs and back, and under other names.
send("clicks", 1)
run(PIPELINE.replace("lake:", 'aggregates:\n  - {name: by_country, sql: "SELECT country, count(*) AS n FROM input GROUP BY ALL"}\nlake:'))
clicks = COUNT
claim(topics("clicks") == {"clicks": clicks}, "the short form")
for name, readings in (("input", False), ("visits", False), ("clicks", True)):
    send("clicks", clicks, 100)
    clicks += 100
    if readings:
        send("readings", 5, 40)
    run(several(name, readings, start="earliest"))
    claim(topics("clicks") == {"clicks": clicks}, f"as {name}", topics("clicks"))
    claim(counted() == clicks, f"as {name}: the aggregate goes on", counted())
    audited()
claim(topics("readings") == {"readings": 40}, "the other input has its own")

# Killed everywhere, while topics come: what comes after the first start is read as a whole.
run(several())
wanted, readings = {"clicks": clicks}, 40
for seed, place in enumerate(KILLED_AT):
    send("clicks", 100 + seed, 50)
    wanted["clicks"] += 50
    send(f"clicks-{seed}", 200 + seed, 30)
    wanted[f"clicks-{seed}"] = 30
    send("readings", 300 + seed, 20)
    readings += 20
    run(several(), code=-signal.SIGKILL, MILLRACE_KILL_AT=place)
    run(several())
    claim(topics("clicks") == wanted, f"killed at {place}", topics("clicks"))
    claim(topics("readings") == {"readings": readings}, f"killed at {place}", topics("readings"))
    claim(counted() == sum(wanted.values()), f"killed at {place}: the aggregate", counted())
    audited()

# What does not decode in one input is nothing to the other.
send("readings", 400, 25, "--malformed", "100%")
send("clicks", 401, 10)
wanted["clicks"] += 10
run(several())
claim(topics("clicks") == wanted, "beside letters", topics("clicks"))
claim(topics("readings") == {"readings": readings}, "letters are no rows")
letters = DeltaTable(FOLDER / "lake/clicks_dead_letters").to_pyarrow_table(columns=["topic"]).to_pylist()
claim([row["topic"] for row in letters] == ["readings"] * 25, "they are all of the one topic", letters)
audited()

# Patterns of two inputs that take one topic, and the way out.
both = several().replace("topics: [readings]", 'topics: [readings, "^.+-6"]')
said = run(both, code=78).stderr
claim("the topic clicks-6 is taken by '^clicks-.+' of the input clicks and by '^.+-6' of the input readings" in said, "both are named", said)

# Commands that name inputs.
claim("input: there are several, name one: clicks, readings" in millrace("tap", "-c", "p.yaml", code=2).stderr, "tap asks which")
(FOLDER / "p.yaml").write_text(several())
shown = [json.loads(line) for line in millrace("tap", "-c", "p.yaml", "--input", "clicks", "--from-start", "--until-end").stdout.splitlines()]
claim(len(shown) == sum(wanted.values()), "tap shows the topics of its input, those of the pattern too", len(shown))
millrace("validate", "p.yaml")
(FOLDER / "p.yaml").write_text(several() + DECODE + "\n")
said = millrace("validate", "p.yaml", code=78)
claim("decode is of the only stream of a file without 'inputs'" in said.stdout + said.stderr, "both forms at once are refused", said)
end()
