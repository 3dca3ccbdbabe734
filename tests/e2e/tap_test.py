"""Goal: `millrace tap` shows what is in a log as the pipeline sees it, live and beside a pipeline that runs, and leaves no trace."""
import json
import pathlib
import signal
import subprocess
import tempfile
import time

import product
from product import BINARY, FOLDER, claim, end, millrace

PIPELINE = product.PIPELINE.replace("tables:", """transforms:
  - {name: big, sql: "SELECT event_id, amount * 2 AS twice, CAST(country AS INTEGER) AS number FROM input WHERE amount > 1"}
tables:""") + "limits: {memory: 256MiB}\nserve: {listen: \"127.0.0.1:0\"}\n"


def tap(*arguments, code=0):
    return millrace("tap", "-c", "clicks.yaml", *arguments, code=code)


def rows(*arguments):
    return [json.loads(line) for line in tap(*arguments).stdout.splitlines()]


def files(folder):
    return {path.relative_to(folder): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


def simulate(count, *arguments):
    millrace("simulate", "clickstream", "--count", str(count), "--rate", "0", "--to", "embedded:log/clicks", *arguments)


def wait_until(condition, what):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def live():
    """Beside `run`, which has the log: rows appear as they are sent; a signal ends it with 0."""
    run = subprocess.Popen([BINARY, "run", "-c", "clicks.yaml"], cwd=FOLDER, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: (FOLDER / "lake/clicks/_delta_log").exists() and run.poll() is None, "the pipeline runs")
        claim("in use" in millrace("simulate", "clickstream", "--count", "1", "--to", "embedded:log/clicks", code=1).stderr,
              "nobody else can open the log")
        claim(len(rows("--last", "3", "--until-end", "--limit", "5")) == 5, "and a tap reads beside it")
        run.send_signal(signal.SIGTERM)
        claim(run.wait(timeout=60) == 0, "the pipeline was not disturbed")
    finally:
        run.kill()
    seen = FOLDER / "seen"
    with open(seen, "w") as out:
        process = subprocess.Popen([BINARY, "tap", "-c", "clicks.yaml"], cwd=FOLDER, stdout=out, stderr=subprocess.PIPE, text=True)
        try:
            time.sleep(1)  # It begins at the end, wherever that is then.
            claim(seen.read_text() == "", "what was there before is not shown")
            wait_until(lambda: simulate(10) or seen.read_text().count("\n") >= 10, "rows appear as they are sent")
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=10)[1]
            claim(process.returncode == 0 and "dead letters" in said, "Ctrl-C ends it with a summary", said)
        finally:
            process.kill()


def main():
    (FOLDER / "clicks.yaml").write_text(PIPELINE)
    claim("no embedded log at log" in tap("--from-start", code=1).stderr and not (FOLDER / "log").exists(),
          "a log that is not there is not made")
    simulate(1000, "--malformed", "10%")
    before = files(FOLDER)
    temporary = set(pathlib.Path(tempfile.gettempdir()).glob("millrace-reader-*"))

    everything = tap("--from-start", "--until-end")
    shown = [json.loads(line) for line in everything.stdout.splitlines()]
    letters = rows("--from-start", "--until-end", "--dead-letters")
    claim(0 < len(letters) < 300 and len(shown) + len(letters) == 1000, "each record is a row or a dead letter", everything.stderr)
    claim(f"1000 records: {len(shown)} rows, {len(letters)} dead letters (--dead-letters shows them)" in everything.stderr,
          "which the summary says", everything.stderr)
    claim({"event_id", "ts", "amount", "_partition", "_offset"} <= shown[0].keys() and
          {row["_partition"] for row in shown} == {0, 1, 2, 3}, "rows say where they are from", shown[0])
    claim(all(letter["stage"] == "decode" and letter["reason"] and letter["detail"] for letter in letters), "letters say why", letters[0])
    reason = letters[0]["reason"]
    claim(len(rows("--from-start", "--until-end", "--dead-letters", "--where", f"reason = '{reason}'")) ==
          sum(letter["reason"] == reason for letter in letters), "--where is about what is shown")

    claim(len(rows("--from-start", "--until-end", "--where", "country = 'DE' AND _offset < 100")) ==
          sum(row["country"] == "DE" and row["_offset"] < 100 for row in shown), "--where takes an expression")
    claim(rows("--from-start", "--limit", "7") and len(rows("--from-start", "--limit", "7")) == 7, "--limit ends it")
    last = rows("--last", "2", "--until-end")
    last += rows("--last", "2", "--until-end", "--dead-letters")
    claim(len(last) == 8, "--last is by partition", last)
    claim(len(rows("--last", "999999", "--until-end")) == len(shown), "more than there is: all there is")
    begun = time.monotonic()
    claim(rows("--for", "1s") == [] and 1 <= time.monotonic() - begun < 15, "from the end on nothing comes; --for ends it")

    # The transform casts a text that is no number: all its rows are dead letters, those that it filters are not.
    of_big = tap("--transform", "big", "--from-start", "--until-end", "--dead-letters").stdout.splitlines()
    stages = {json.loads(line)["stage"] for line in of_big}
    claim(stages == {"decode", "transform:big"}, "dead letters of a transform", stages)
    (FOLDER / "clicks.yaml").write_text(PIPELINE.replace("CAST(country AS INTEGER)", "length(country)"))
    of_big = rows("--transform", "big", "--from-start", "--until-end")
    want = {row["event_id"]: row["amount"] for row in shown if row["amount"] is not None and row["amount"] > 1}
    claim(len(of_big) == sum(row["amount"] is not None and row["amount"] > 1 for row in shown) and
          all(abs(row["twice"] - 2 * want[row["event_id"]]) < 0.001 and row["number"] == 2 for row in of_big), "rows of a transform")
    table = tap("--input", "input", "--from-start", "--limit", "3", "-o", "table").stdout.splitlines()
    claim(len(table) == 4 and table[0].startswith("event_id") and table[0].rstrip().endswith("_timestamp"), "a table for people", table)

    for arguments, code, message in [
            (["--input", "inpt"], 2, "the pipeline has no input 'inpt'; did you mean 'input'?"),
            (["--transform", "other"], 2, "the pipeline has no transform 'other'; it has big"),
            (["--transform", "bigg"], 2, "did you mean 'big'?"),
            (["--where", "contry = 'DE'"], 2, "did you mean"),
            (["--for", "10"], 2, "expected a time such as 10s"),
            (["--last", "1", "--from-start"], 2, "excludes"),
            (["--limit", "0"], 2, "--limit"),
            (["--set", "decode.format=jsn"], 78, "json")]:
        wrong = tap(*arguments, code=code)
        claim(message in wrong.stderr and wrong.stdout == "", f"tap {' '.join(arguments)}", wrong.stderr)
    claim({path: size for path, size in files(FOLDER).items() if path.name != "clicks.yaml"} ==
          {path: size for path, size in before.items() if path.name != "clicks.yaml"}, "no file is made or changed")
    claim(set(pathlib.Path(tempfile.gettempdir()).glob("millrace-reader-*")) <= temporary, "nor left elsewhere")
    live()
    (FOLDER / "away.yaml").write_text(PIPELINE.replace("embedded: {path: log, partitions: 4}", 'kafka: {bootstrap.servers: "127.0.0.1:1"}'))
    process = subprocess.Popen([BINARY, "tap", "-c", "away.yaml"], cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    claim(process.wait(timeout=5) != 0, "Ctrl-C does not wait for a broker that is away")
    end()


main()
