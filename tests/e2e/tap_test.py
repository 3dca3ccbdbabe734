"""Goal: `millrace tap` shows what is in a log as the pipeline sees it, live and beside a pipeline that runs, and leaves no trace;
and so does GET /v1/tap of a pipeline that runs."""
import datetime
import json
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import product
from event_stream import EventStream
from product import BINARY, FOLDER, claim, end, millrace

PIPELINE = product.PIPELINE.replace("tables:", """transforms:
  - {name: big, sql: "SELECT event_id, amount * 2 AS twice, CAST(country AS INTEGER) AS number FROM input WHERE amount > 1"}
tables:""") + "limits: {memory: 256MiB}\nserve: {listen: \"127.0.0.1:0\"}\n"


SHOWN_PER_SECOND = 200  # At most, of each tap.


TEMPORARY = tempfile.TemporaryDirectory(prefix="millrace-tap-")  # Not the one where others leave and make theirs.


def tap(*arguments, code=0):
    return millrace("tap", "-c", "clicks.yaml", *arguments, code=code, env={"TMPDIR": TEMPORARY.name})


def rows(*arguments):
    return [json.loads(line) for line in tap(*arguments).stdout.splitlines()]


def files(folder):
    return {path.relative_to(folder): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


def simulate(count, *arguments):
    millrace("simulate", "clickstream", "--count", str(count), "--rate", "0", "--to", "embedded:log/clicks", *arguments)


def wait_until(condition, what):
    deadline = time.monotonic() + 180
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
        claim(run.wait(timeout=120) == 0, "the pipeline was not disturbed")
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
            said = process.communicate(timeout=120)[1]
            claim(process.returncode == 0 and "dead letters" in said, "Ctrl-C ends it with a summary", said)
        finally:
            process.kill()


def run(*arguments):
    """`millrace run` and its port."""
    log = open(FOLDER / "run.log", "w+")
    process = subprocess.Popen([BINARY, "run", "-c", "clicks.yaml", "--set", "log.level=info", *arguments], cwd=FOLDER, stderr=log)
    port = lambda: re.search(r"serving url=http://127\.0\.0\.1:(\d+)", (FOLDER / "run.log").read_text())
    wait_until(lambda: port() or process.poll() is not None, "it serves")
    claim(process.poll() is None, "it runs", (FOLDER / "run.log").read_text())
    return process, int(port()[1])


def is_ready(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60).status == 200
    except (urllib.error.URLError, OSError):
        return False


def open_taps(port):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode()
    return int(re.search(r"^millrace_taps (\d+)", text, re.M)[1])


def over_http():
    """What a running pipeline shows of its own log, which has some thousand records, a tenth of them malformed."""
    process, port = run()
    streams = []

    def tap_of(**parameters):
        streams.append(EventStream(port, "/v1/tap", parameters))
        return streams[-1]

    def refused(status, words, **parameters):
        stream = tap_of(**parameters)
        claim(stream.status == status and words in stream.problem["detail"] + stream.problem.get("hint", ""),
              f"{parameters}: {status}", f"{stream.status} {stream.problem}")
        return stream

    try:
        wait_until(lambda: is_ready(port), "the pipeline is ready")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/pipeline", timeout=60) as answer:
            document = json.load(answer)
        claim([i["name"] for i in document["inputs"]] == ["input"] and document["transforms"] == ["big"], "what there is to be watched", document)
        records = sum(partition["end_offset"] for partition in document["source"]["partitions"])
        opened = time.time()
        everything = tap_of(last=1000)
        name, start, _ = everything.next()
        claim(name == "start" and set(start["from"]["clicks"]) == {"0", "1", "2", "3"} and
              start["columns"] == ["event_id", "ts", "country", "amount", "_topic", "_partition", "_offset", "_timestamp"],
              "it says what it shows, and from where on", start)
        seen = everything.until(lambda seen: sum(data["records"] if name == "skipped" else 1 for name, data, _ in seen) >= records)
        took = seen[-1][2] - opened
        seen += everything.until_quiet()
        rows = [data for name, data, _ in seen if name == "row"]
        letters = [data for name, data, _ in seen if name == "dead_letter"]
        skipped = sum(data["records"] for name, data, _ in seen if name == "skipped")
        claim(0 < len(rows) and 0 < len(letters) and len(rows) + len(letters) <= SHOWN_PER_SECOND * (1.5 + took) and
              len(rows) + len(letters) + skipped == records >= 1000,
              "what is not shown of a flood is counted", f"{len(rows)} + {len(letters)} + {skipped}, not {records}, in {took:.1f} s")
        claim(set(rows[0]) == set(start["columns"]) and rows[0]["_topic"] == "clicks", "a row", rows[0])
        claim(letters[0]["stage"] == "decode" and letters[0]["reason"] and letters[0]["detail"] and letters[0]["payload"], "a letter", letters[0])
        claim(len({(row["_partition"], row["_offset"]) for row in rows}) == len(rows), "none twice")

        some = tap_of(input="input", where="country = 'DE' AND _partition = 1", last=1000)
        shown = [data for name, data, _ in [some.next("row"), *some.until_quiet()] if name == "row"]
        claim(shown and {(row["country"], row["_partition"]) for row in shown} == {("DE", 1)}, "where", shown[:3])
        of_big = tap_of(transform="big", last=20)
        big = [data for name, data, _ in [of_big.next("row"), *of_big.until_quiet()] if name == "row"]
        claim(big and all(row["twice"] > 2 and "_offset" in row for row in big), "a transform", big[:1])

        refused(400, "the pipeline has no input 'inptu'; did you mean 'input'?", input="inptu")
        refused(400, "the pipeline has no transform 'bigg'; did you mean 'big'?", transform="bigg")
        refused(400, "where: the table has no column 'contry'; did you mean 'country'?", where="contry = 'DE'")
        refused(400, "where", where="country =")
        refused(400, "where: subqueries are not allowed", where="country IN (SELECT 1)")
        refused(400, "Did you mean 'input'?", inputs="input")
        while open_taps(port) < 8:
            claim(tap_of().status == 200, "one more")
        busy = refused(503, "8 taps are open, which is the limit")
        claim(busy.headers["Retry-After"] == "1", "come back soon")
        everything.close()
        some.close()
        wait_until(lambda: open_taps(port) == 6, "whoever leaves makes room")
        claim(tap_of().status == 200, "for others")

        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        claim(process.wait(timeout=120) == 0 and time.monotonic() - begun < 20, "open taps do not keep it until shutdown_timeout, 25 s")
        claim(streams[-1].ended.wait(60), "which ends them")
    finally:
        process.kill()
        for stream in streams:
            stream.close()
    process, port = run("--role", "serve")
    try:
        claim("this process reads no log" in EventStream(port, "/v1/tap", {}).problem["detail"], "a process that only answers says so")
    finally:
        process.kill()
        process.wait()


def as_they_come():
    """An event is shown within a second of being in the log, and the pipeline does not fall behind for it."""
    log = FOLDER / "demo.log"
    demo = subprocess.Popen([BINARY, "demo", "--rate", "50", "--dir", "demo", "--port", "0", "--for", "600s"], cwd=FOLDER,
                            stdout=open(log, "w"), stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "http://127.0.0.1:" in log.read_text(), "the demo serves")
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())[1])
        wait_until(lambda: is_ready(port), "and is ready")
        for attempt in range(5):  # This machine may stand still now and then.
            stream = EventStream(port, "/v1/tap", {"input": "clicks"})
            late = []
            for _ in range(100):
                _, row, when = stream.next("row")
                late.append(when - datetime.datetime.fromisoformat(row["_timestamp"].replace("Z", "+00:00")).timestamp())
            stream.close()
            if soon := sorted(late)[len(late) // 2] < 0.5 and max(late) < 1.5:
                break
        claim(soon, "within a second", sorted(late)[-5:])
    finally:
        demo.kill()
        demo.wait()


def main():
    (FOLDER / "clicks.yaml").write_text(PIPELINE)
    claim("no embedded log at log" in tap("--from-start", code=1).stderr and not (FOLDER / "log").exists(),
          "a log that is not there is not made")
    simulate(1000, "--malformed", "10%")
    before = files(FOLDER)

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
    claim(list(pathlib.Path(TEMPORARY.name).iterdir()) == [], "nor left elsewhere")
    live()
    over_http()
    as_they_come()
    (FOLDER / "away.yaml").write_text(PIPELINE.replace("embedded: {path: log, partitions: 4}", 'kafka: {bootstrap.servers: "127.0.0.1:1"}'))
    process = subprocess.Popen([BINARY, "tap", "-c", "away.yaml"], cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    claim(process.wait(timeout=60) != 0, "Ctrl-C does not wait for a broker that is away")
    end()


main()
