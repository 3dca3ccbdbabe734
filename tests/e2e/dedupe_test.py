"""Goal: what was sent twice is in the tables once, whatever kills the process at whatever place of its work; and the audit says
how many repeats were left out.
"""
import json
import re
import signal

from product import FOLDER, PIPELINE, claim, end, millrace

# Two tables commit once a run each: between the first and the second they stand at different offsets.
KILLED_AT = ["poll.after", "upload.finished", "epoch.sealed", "epoch.prepared", "commit.before_put:2", "commit.after_put",
             "commit.after_put:2", "epoch.committed", "epoch.committed:2"]
COUNT = 3000


def send(seed):
    """Events of which a tenth are repeated; how many are."""
    said = millrace("simulate", "clickstream", "--count", str(COUNT), "--rate", "0", "--seed", str(seed), "--duplicates", "10%",
                    "--to", "embedded:log/clicks").stderr
    return int(re.search(r"([\d,]+) repeated", said)[1].replace(",", ""))


def audited():
    report = json.loads(millrace("audit", "-c", "p.yaml", "-o", "json").stdout)
    return {table["name"]: table for table in report["tables"]}


(FOLDER / "p.yaml").write_text(PIPELINE + """dedupe: {by: event_id, within: 7d}
aggregates:
  - name: clicks_1m
    sql: SELECT window_start, country, count(*) AS views FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
""")
millrace("validate", "p.yaml")

repeated = 0
for seed, place in enumerate(KILLED_AT):
    repeated += send(seed)
    millrace("run", "-c", "p.yaml", "--until-end", code=-signal.SIGKILL, env={"MILLRACE_KILL_AT": place})
repeated += send(len(KILLED_AT))
millrace("run", "-c", "p.yaml", "--until-end")
sent = COUNT * (len(KILLED_AT) + 1)
claim(repeated > sent * 0.08, "a tenth is repeated", repeated)
for name, table in audited().items():
    if table["kind"] == "dead_letters":
        continue
    claim(table["read"] == sent, f"{name} has read everything once", table)
    claim(table["deduplicated"] == repeated, f"{name} has left out what was repeated, {repeated}", table)
    claim(table["rows"] == sent - repeated, f"{name} has the others", table)

table = millrace("audit", "-c", "p.yaml").stdout
claim("repeats" in table and f"{repeated:,}" in table, "the audit's table shows them", table)
millrace("run", "-c", "p.yaml", "--until-end")
claim(audited()["clicks"]["deduplicated"] == repeated, "a run without anything new changes nothing")

# A producer that was not told that all had come through sends it again: the same ids, now.
send(0)
millrace("run", "-c", "p.yaml", "--until-end")
for name, table in audited().items():
    if table["kind"] != "dead_letters":
        claim(table["deduplicated"] == repeated + COUNT and table["rows"] == sent - repeated, f"{name} has none of it", table)
end()
