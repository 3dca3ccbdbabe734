"""Goal: the accounts of a fleet with every fault on are settled against the lake, whatever kills the process at whatever place of
its work; and what is missing, twice or of nobody is told.
"""
import json
import re
import shutil
import signal

import pyarrow.parquet as pq

from product import FOLDER, claim, end, millrace

SENSORS = ("--late", "5%", "--duplicates", "2%", "--malformed", "1%", "--sensor-faults", "2%", "--wrong-clocks", "5%")
VISITORS = ("--late", "2%", "--duplicates", "2%", "--malformed", "1%", "--robots", "10%", "--without-consent", "20%")
COUNT = 4000  # Of each sending.
KILLED_AT = ["poll.after", "epoch.prepared", "commit.after_put", "commit.after_put:2", "epoch.committed:2"]

PIPELINE = """version: 1
pipeline: fleet
source: {embedded: {path: log, partitions: 4}}
inputs:
  - name: clicks
    topics: [clicks]
    decode: {columns: {event_id: string, ts: timestamp, user_id: int64, country: string, page: string, latency_ms: double, amount: "decimal(12,2)"}}
    event_time: {column: ts}
    dedupe: {by: event_id, within: 7d}
  - name: readings
    topics: [readings]
    decode: READINGS
    event_time: {column: ts, max_future: 5m}
tables:
  - {name: clicks, from: clicks}
  - {name: readings, from: readings}
  - {name: again, from: readings, metadata: false}
  - {name: "of_{model}", from: readings, route: model, max: 3}
lake: {uri: lake}
log: {level: warn}
"""


def send(fleet, topic, seed, *flags):
    """Its truth's name, and what the simulator counted."""
    truth = f"{topic}-{seed}.parquet"
    (FOLDER / truth).unlink(missing_ok=True)  # Of another log.
    said = millrace("simulate", fleet, "--count", str(COUNT), "--rate", "0", "--seed", str(seed), *flags, "--to", f"embedded:log/{topic}",
                    "--truth", truth).stderr
    counts = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) (?:events sent|late|repeated|malformed|acknowledged)", said)]
    claim(counts[0] == COUNT and counts[4] == COUNT, "everything is acknowledged", said)
    return truth, counts


def named(*truths):
    return [flag for truth in truths for flag in ("--truth", truth)]


def audited(*truths, code=0):
    return json.loads(millrace("audit", "-c", "p.yaml", *named(*truths), "-o", "json", code=code).stdout)


def run(columns, extra=()):
    (FOLDER / "p.yaml").write_text(PIPELINE.replace("READINGS", columns))
    clicks, readings, counted = [], [], {}
    for seed, place in enumerate([*KILLED_AT, None], 1):
        for fleet, topic, truths, flags in (("clickstream", "clicks", clicks, VISITORS), ("iot", "readings", readings, (*SENSORS, *extra))):
            truth, counts = send(fleet, topic, seed, *flags)
            truths.append(truth)
            counted[topic] = [total + count for total, count in zip(counted.get(topic, [0] * len(counts)), counts)]
        killed = {"code": -signal.SIGKILL, "env": {"MILLRACE_KILL_AT": place}} if place else {}
        millrace("run", "-c", "p.yaml", "--until-end", **killed)
    report = audited(*clicks, *readings)
    claim(report["ok"], "all is settled", report["truth"])
    by_topic = {topic["topic"]: topic for topic in report["truth"]}
    for topic, counts in counted.items():
        told = by_topic[topic]
        claim([told["sent"], told["late"], told["duplicates"], told["malformed"]] == counts[:4], "the truth is what the simulator said",
              (told, counts))
        claim(told["late"] > 100 and told["duplicates"] > 100 and told["malformed"] > 50, "every fault is on", told)
    clicked = by_topic["clicks"]["tables"][0]
    claim(clicked["repeats_left_out"] > 100 and clicked["letters_of_malformed"] == counted["clicks"][3], "repeats are left out, broken ones are letters",
          clicked)
    claim([table["name"] for table in by_topic["readings"]["tables"]] == ["readings", "again", "of_{model}"], "each table of the topic", by_topic)
    read = by_topic["readings"]["tables"][0]
    claim(read["letters_of_future"] > 50 and read["rows"] + read["letters_of_future"] + read["letters_of_malformed"] == counted["readings"][0],
          "clocks that are far ahead are letters, all others rows", read)
    routed = by_topic["readings"]["tables"][2]
    claim(0 < routed["missing_rows"] < read["rows"] // 2 and routed["rows"] + routed["missing_rows"] == read["rows"],
          "of one model there is no table: its readings are letters", routed)
    text = millrace("audit", "-c", "p.yaml", *named(*clicks, *readings)).stdout
    claim(text.count("settled") == 4 and "NOT" not in text, "so says the table", text)
    return clicks


def damage(clicks):
    """What is not as the truth says."""
    rows = pq.read_table(FOLDER / clicks[0])
    fates = rows["fate"].to_pylist()
    ids = rows["event_id"].to_pylist()
    first = next(i for i, fate in enumerate(fates) if fate == "valid" and ids.count(ids[i]) == 1)
    kept = rows.filter([i != first for i in range(len(fates))])
    pq.write_table(kept.replace_schema_metadata(rows.schema.metadata), FOLDER / "less.parquet")
    report = audited("less.parquet", *clicks[1:], code=1)
    claim(report["truth"][0]["tables"][0]["surplus_rows"] == 1 and not report["ok"], "a row of an event that was not sent", report["truth"])
    # Sent, and not read yet.
    more, _ = send("clickstream", "clicks", 99)
    report = audited(*clicks, more, code=1)
    claim(report["truth"][0]["tables"][0]["missing_rows"] == COUNT, "rows are missing", report["truth"])
    text = millrace("audit", "-c", "p.yaml", *named(*clicks, more), code=1).stdout
    claim("NOT SETTLED" in text and f"clicks: {COUNT} rows of acknowledged events are missing" in text, "so says the table", text)
    millrace("run", "-c", "p.yaml", "--until-end")
    claim(audited(*clicks, more)["ok"], "until they are read")
    # Only half of the truth.
    claim(audited(*clicks, code=1)["truth"][0]["tables"][0]["surplus_rows"] == COUNT, "rows of nobody")


def refusals():
    claim("no table with a column event_id reads the topic 'other'" in refused("other"), "a topic that nobody reads")
    file = ("simulate", "iot", "--count", "5", "--rate", "0", "--to", "file:events.json", "--truth", "file.parquet")
    millrace(*file)
    had = {name: (FOLDER / name).read_bytes() for name in ("events.json", "file.parquet")}
    for again, said in ((file, "--truth file.parquet: there is a file already"), (file[:-2], "--to file:events.json")):
        told = millrace(*again, code=2).stderr
        claim(said.replace("file:", "") in told, "a file that is there is not written over", told)
    claim(all((FOLDER / name).read_bytes() == was for name, was in had.items()), "and is as it was")
    claim("went to a file" in millrace("audit", "-c", "p.yaml", "--truth", "file.parquet", code=2).stderr, "a truth of a file")
    claim("p.yaml is no truth" in millrace("audit", "-c", "p.yaml", "--truth", "p.yaml", code=2).stderr, "no truth")


def refused(topic):
    millrace("simulate", "iot", "--count", "5", "--rate", "0", "--to", f"embedded:otherlog/{topic}", "--truth", "other.parquet")
    return millrace("audit", "-c", "p.yaml", "--truth", "other.parquet", code=2).stderr


def in_avro():
    """The same in a binary format, whose dead letters are bytes."""
    for folder in ("log", "lake"):
        shutil.rmtree(FOLDER / folder)
    (FOLDER / "reading.avsc").write_text(millrace("simulate", "iot", "--format", "avro", "--print-schema").stdout)
    run("{format: avro, schema: {file: reading.avsc}}", ("--format", "avro"))


damage(run("{columns: {event_id: string, ts: timestamp, device_id: string, model: string, temperature_c: double, seq: int64}, unknown_fields: ignore}"))
refusals()
in_avro()
end()
