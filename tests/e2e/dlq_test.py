"""Goal: dead letters are found, looked at, mended by an edit of the file and run again; every error says what to do."""
import json
import subprocess

import product
from product import BINARY, FOLDER, claim, end, millrace

PIPELINE = product.PIPELINE.replace("tables:\n", """transforms:
  - name: clean
    sql: SELECT *, CAST(CASE WHEN country = 'DE' THEN country ELSE '0' END AS INTEGER) AS code FROM input
tables:
  - name: coded
    from: clean
""") + """aggregates:
  - name: views
    sql: SELECT window_start, country, count(*) AS n FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) GROUP BY ALL
"""
# Of the German events those of no amount are taken now; the others still fail.
MENDED = PIPELINE.replace("country = 'DE' THEN", "country = 'DE' AND amount > 0 THEN")


def read(table, *arguments):
    return [json.loads(line) for line in millrace("lake", "read", f"lake/{table}", *arguments).stdout.splitlines()]


def count(table):
    return len(read(table, "--columns", "_offset"))


def letters(*arguments):
    return json.loads(millrace("dlq", "list", "-c", "dlq.yaml", "-o", "json", *arguments).stdout)


def states():
    found = {}
    for group in letters():
        key = group["state"], group["stage"].split(":")[0]
        found[key] = found.get(key, 0) + group["letters"]
    return found


def replay(*arguments, config="mended.yaml"):
    return json.loads(millrace("dlq", "replay", "-c", config, "-o", "json", *arguments).stdout)


def audit_holds():
    return json.loads(millrace("audit", "-c", "dlq.yaml", "-o", "json").stdout)["ok"]


def place(where):
    """The arguments that name the record of one letter that satisfies this."""
    found = read("clicks_dead_letters", "--where", where, "--columns", "topic,partition,offset", "--limit", "1")[0]
    return [found["topic"], str(found["partition"]), str(found["offset"])]


def listing(broken, german):
    claim(states() == {("open", "decode"): broken, ("open", "transform"): german}, "letters by state and stage", letters())
    group = letters("--where", "reason = 'transform_error'")
    claim(len(group) == 1 and group[0]["topics"] == ["clicks"] and group[0]["first"] <= group[0]["last"], "--where", group)
    table = millrace("dlq", "list", "-c", "dlq.yaml").stdout
    claim("transform:clean" in table and table.split()[:3] == ["state", "stage", "reason"], "a table for people", table)
    csv = millrace("dlq", "list", "-c", "dlq.yaml", "-o", "csv").stdout.splitlines()
    claim(csv[0] == "state,stage,reason,letters,first,last,topics" and len(csv) == 1 + len(letters()), "and CSV", csv)
    claim(millrace("dlq", "list", "-c", "dlq.yaml", "--where", "partition = 77").stdout == "no dead letters\n", "none is said so")


def showing():
    broken = place("stage = 'decode' AND NOT contains(payload::VARCHAR, '\\x')")  # One that is text.
    raw = subprocess.run([BINARY, "dlq", "show", "-c", "dlq.yaml", "--raw", *broken], cwd=FOLDER, capture_output=True, timeout=60, check=True).stdout
    found = json.loads(millrace("dlq", "show", "-c", "dlq.yaml", "-o", "json", *broken).stdout)
    claim(len(found) == 1 and found[0]["payload"].encode() == raw and raw and found[0]["replay"] is None, "its bytes, raw and as JSON", found)
    text = millrace("dlq", "show", "-c", "dlq.yaml", *broken).stdout
    claim(raw.decode().strip() in text and f"reason     {found[0]['reason']}" in text and "key        " in text, "and as text", text)
    claim("has no letter of clicks[0] offset 9999" in
          millrace("dlq", "show", "-c", "dlq.yaml", "clicks", "0", "9999", code=1).stderr, "none there")


def replaying(broken, german, paid):
    before = count("clicks"), count("coded")
    dry = replay("--dry-run")
    claim((count("clicks"), count("coded")) == before and not (FOLDER / "lake/clicks_replays").exists(), "a dry run writes nothing")
    wet = replay()
    same = ("letters", "tables", "failed", "left_out")
    claim({k: wet[k] for k in same} == {k: dry[k] for k in same} and wet["letters"] == broken + german, "and tells the future", (dry, wet))
    tables = {t["name"]: (t["written"], t["failed"]) for t in wet["tables"]}
    claim(tables == {"clicks": (0, broken), "coded": (german - paid, broken + paid), "views": (german - paid, broken + paid)},
          "where they went", wet)
    claim((count("clicks"), count("coded")) == (before[0], before[1] + german - paid), "to the tables that lacked them alone")
    claim(audit_holds(), "the books hold")
    claim(states() == {("replayed", "decode"): broken, ("replayed", "transform"): german, ("open", "decode"): broken,
                       ("open", "transform"): paid}, "replayed ones apart; what failed again is open", letters())

    text = millrace("dlq", "replay", "-c", "mended.yaml", "--where", "stage = 'transform:clean'").stdout
    claim(f"ran again {paid} letters in 1 replays" in text and f"left out: {german} replayed" in text and "failed again at" in text,
          "a second time only what failed again", text)
    shown = millrace("dlq", "show", "-c", "dlq.yaml", *place("replay = 2")).stdout
    claim(shown.count("reason  ") == 3 and "replay     2" in shown, "every letter of a record", shown)
    millrace("run", "-c", "mended.yaml", "--until-end")
    claim((count("clicks"), count("coded")) == (before[0], before[1] + german - paid) and audit_holds(), "nothing came twice")
    answer = json.loads(millrace("query", "views", "-c", "dlq.yaml", "--step", "0", "-o", "json").stdout)
    claim(sum(row["n"] for row in answer["data"]) == count("coded"), "the aggregate has them as late rows", answer)


def later():
    """The pipeline has read on, and one of its tables is new: it has to read first, and then gets the old letters too."""
    (FOLDER / "grown.yaml").write_text(MENDED.replace("  - name: clicks\n", "  - name: later\n  - name: clicks\n"))
    waiting = millrace("dlq", "replay", "-c", "grown.yaml", "--where", "stage = 'decode'").stdout
    claim("waiting: table later has not read as far; run the pipeline first" in waiting, "a new table reads first", waiting)
    millrace("run", "-c", "grown.yaml", "--until-end")
    went = replay("--where", "stage = 'decode'", config="grown.yaml")
    claim("later" in [table["name"] for table in went["tables"]], "then it gets them", went)
    claim(json.loads(millrace("audit", "-c", "grown.yaml", "-o", "json").stdout)["ok"], "the books hold")


def errors():
    for verb in ("list", "replay"):
        claim("did you mean 'reason'" in millrace("dlq", verb, "-c", "dlq.yaml", "--where", "reson = 'x'", code=1).stderr, "the nearest column")
    millrace("dlq", code=2)
    millrace("dlq", "list", code=2)
    millrace("dlq", "show", "-c", "dlq.yaml", "clicks", "-1", "0", code=2)
    millrace("dlq", "replay", "-c", "dlq.yaml", "-o", "csv", code=2)
    (FOLDER / "bad.yaml").write_text(PIPELINE.replace("tables:", "tabels:"))
    claim("tabels" in millrace("dlq", "list", "-c", "bad.yaml", code=78).stderr, "a bad file is 78")
    (FOLDER / "nowhere.yaml").write_text(PIPELINE.replace("uri: lake", "uri: nowhere"))
    for verb in (["list"], ["replay"], ["replay", "--dry-run"], ["show", "clicks", "0", "0"]):
        claim("nowhere" in millrace("dlq", verb[0], "-c", "nowhere.yaml", *verb[1:], code=1).stderr, "a lake that is not there")
    (FOLDER / "edited.yaml").write_text(PIPELINE.replace("count(*) AS n", "count(*) AS n, max(code) AS most"))
    claim("table views" in millrace("dlq", "replay", "-c", "edited.yaml", code=1).stderr, "tables that do not fit the file")
    claim("exit code is 0" in " ".join(millrace("dlq", "replay", "--help").stdout.split()), "--help says how it exits")
    (FOLDER / "lake/clicks_replays").rename(FOLDER / "moved")
    claim("Bring it back" in millrace("dlq", "replay", "-c", "dlq.yaml", code=1).stderr, "without its log nothing is run again")
    (FOLDER / "moved").rename(FOLDER / "lake/clicks_replays")


(FOLDER / "dlq.yaml").write_text(PIPELINE)
(FOLDER / "mended.yaml").write_text(MENDED)
millrace("simulate", "clickstream", "--count", "2000", "--rate", "0", "--malformed", "2%", "--seed", "3", "--to", "embedded:log/clicks")
millrace("run", "-c", "dlq.yaml", "--until-end")
germans = read("clicks", "--where", "country = 'DE'", "--columns", "amount")
counts = 2000 - count("clicks"), len(germans), sum(float(row["amount"]) > 0 for row in germans)
claim(all(counts) and counts[1] > counts[2], "there is something of each kind", counts)
listing(*counts[:2])
showing()
replaying(*counts)
later()
errors()
end()
