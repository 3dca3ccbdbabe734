"""Goal: every command answers as documented: exit codes, stdout for data, stderr for messages, errors that name the place."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

BINARY = sys.argv[1]
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="millrace-commands-"))
PIPELINE = """version: 1
pipeline: clicks
source:
  embedded: {path: log, partitions: 4}
  topics: [clicks]
decode:
  format: json
  columns: {event_id: string, ts: timestamp, country: string, amount: "decimal(12,2)"}
event_time: {column: ts}
tables:
  - name: clicks
    partition_by: ["date(ts)"]
aggregates:
  - name: clicks_1m
    sql: SELECT window_start, country, count(*) AS views, sum(amount) AS revenue FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
lake: {uri: lake}
log: {level: warn}
"""
passed = 0


def millrace(*arguments, code=0, env=None):
    done = subprocess.run([BINARY, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60,
                          env={**os.environ, **(env or {})})
    assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def main():
    (FOLDER / "clicks.yaml").write_text(PIPELINE)
    claim("0.1.0" in millrace("version").stdout, "version prints itself")
    claim("--help" in millrace(code=2).stderr, "no verb is a usage error that points to the help")
    claim("--nonsense" in millrace("version", "--nonsense", code=2).stderr, "an unknown option is named")
    claim("ok" in millrace("validate", "clicks.yaml").stderr, "a valid file is ok")

    (FOLDER / "wrong.yaml").write_text(PIPELINE.replace("columns:", "colums:"))
    wrong = millrace("validate", "wrong.yaml", code=78).stderr
    claim("wrong.yaml:8" in wrong and "columns" in wrong, "a typo is found with its line and the nearest name", wrong)

    # Two columns of lines go to stdout, the count to stderr.
    simulated = millrace("simulate", "clickstream", "--count", "20", "--rate", "0")
    events = [json.loads(line) for line in simulated.stdout.splitlines()]
    claim(len(events) == 20 and len(events[0]) == 10, "simulate writes an event a line", simulated.stdout[:300])
    claim("20 events sent" in simulated.stderr, "simulate counts on stderr", simulated.stderr)

    millrace("simulate", "clickstream", "--count", "5000", "--rate", "0", "--malformed", "1%", "--to", "embedded:log/clicks")
    millrace("run", "-c", "clicks.yaml", "--until-end")
    audit = json.loads(millrace("audit", "-c", "clicks.yaml", "-o", "json").stdout)
    clicks = next(t for t in audit["tables"] if t["name"] == "clicks")
    claim(audit["ok"] and clicks["read"] == 5000 and clicks["written"] + clicks["dead_lettered"] == 5000,
          "everything sent is read, once", audit)
    claim(clicks["dead_lettered"] > 0, "broken events are dead letters", audit)
    millrace("run", "-c", "clicks.yaml", "--until-end")
    again = json.loads(millrace("audit", "-c", "clicks.yaml", "-o", "json").stdout)
    claim(again["tables"][0]["read"] == 5000, "a second run reads nothing twice", again)

    answer = json.loads(millrace("query", "clicks_1m", "-c", "clicks.yaml", "--step", "0", "--group-by", "country",
                                 "--order-by", "views desc", "-o", "json").stdout)
    claim(sum(row["views"] for row in answer["data"]) == clicks["written"], "the aggregate counts what the table holds", answer)
    table = millrace("query", "clicks_1m", "-c", "clicks.yaml", "--step", "0", "--group-by", "country", "--limit", "3").stdout
    claim(table.splitlines()[0].split() == ["country", "views", "revenue"] and len(table.splitlines()) == 4,
          "a table has a header and the rows asked for", table)
    claim("did you mean 'country'" in millrace("query", "clicks_1m", "-c", "clicks.yaml", "--group-by", "contry", code=1).stderr,
          "a wrong key is answered with the nearest")
    claim("clicks_2m" in millrace("query", "clicks_2m", "-c", "clicks.yaml", code=1).stderr, "an unknown aggregate is named")
    unreachable = millrace("query", "clicks_1m", "--url", "http://127.0.0.1:9", code=1).stderr
    claim("http://127.0.0.1:9" in unreachable and "-c FILE" in unreachable, "no server: says where and what else", unreachable)
    described = json.loads(millrace("lake", "describe", "lake/clicks", "-o", "json").stdout)
    claim(described["rows"] == clicks["written"] and described["partition_by"] == ["ts_date"], "describe", described)
    history = millrace("lake", "history", "lake/clicks").stdout.splitlines()
    claim(len(history) >= 3 and "CREATE TABLE" in history[-1], "history, newest first", history)
    missing = millrace("lake", "describe", "nowhere", code=1)
    claim("nowhere" in missing.stderr and not (FOLDER / "nowhere").exists(), "a missing table is named, not made", missing.stderr)
    claim(missing.stdout == "", "an error leaves stdout empty")

    ingest = millrace("ingest", "clicks", "lake/clicks", "--avro", "x", code=78).stderr
    claim("--avro" in ingest and "not supported yet" in ingest, "what ingest cannot do yet is said", ingest)
    jmespath = millrace("ingest", "clicks", "lake/clicks", "-t", "country: substr(ts, 0, 4)", code=78).stderr
    claim("JMESPath" in jmespath, "a JMESPath transform is refused by name", jmespath)
    claim("nowhere" in millrace("ingest", "clicks", "nowhere", code=1).stderr, "ingest needs its table")
    print(f"{passed} passed, 0 failed")


main()
shutil.rmtree(FOLDER)
