"""Goal: `millrace tap` over a real Kafka: from the end, from the start, the last of each partition; what is not there is told.
And GET /v1/tap likewise."""
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from broker import Broker

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from event_stream import EventStream  # noqa: E402

BINARY = sys.argv[1]
PIPELINE = """version: 1
pipeline: clicks
source:
  kafka: {{bootstrap.servers: "{brokers}"}}
  topics: [{topic}]
decode:
  columns: {{event_id: string, ts: timestamp, country: string}}
transforms:
  - {{name: upper, sql: "SELECT upper(country) AS country FROM input"}}
tables:
  - {{name: clicks}}
"""


def millrace(folder, *arguments, code=0):
    done = subprocess.run([BINARY, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done


def over_http(folder, brokers):
    """GET /v1/tap of a pipeline that runs: soon, in bounds, and of no group."""
    log = folder / "run.log"
    run = subprocess.Popen([BINARY, "run", "-c", "clicks.yaml", "--set", "serve.listen=127.0.0.1:0", "--set", "lake.uri=lake"],
                           cwd=folder, stdout=subprocess.DEVNULL, stderr=open(log, "w"))
    send = lambda *arguments: millrace(folder, "simulate", "clickstream", "--rate", "0", *arguments, "--to", f"kafka://{brokers}/tapped")
    try:
        deadline = time.monotonic() + 180
        while not (port := re.search(r"serving url=http://127\.0\.0\.1:(\d+)", log.read_text())):
            assert run.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        port = int(port[1])
        while True:
            stream = EventStream(port, "/v1/tap", {})
            if stream.status == 200:
                break
            assert stream.status == 503 and time.monotonic() < deadline, stream.problem
            time.sleep(0.1)
        start = stream.next()[1]
        assert sum(start["from"]["tapped"].values()) >= 200 and len(start["from"]["tapped"]) == 3, start
        assert EventStream(port, "/v1/tap", {"where": "x = 1"}).status == 400
        for attempt in range(5):  # This machine may stand still now and then.
            send("--count", "5")
            sent = time.time()
            shown = [stream.next("row") for _ in range(5)]
            assert all(row["_topic"] == "tapped" for _, row, _ in shown), shown
            if soon := shown[-1][2] - sent < 1:
                break
        assert soon, shown[-1][2] - sent
        send("--count", "30000", "--malformed", "5%")
        seen = stream.until(lambda seen: sum(data["records"] if event == "skipped" else 1 for event, data, _ in seen) >= 30000)
        seen += stream.until_quiet()
        count = lambda name: sum(event == name for event, _, _ in seen)
        skipped = sum(data["records"] for event, data, _ in seen if event == "skipped")
        assert count("row") > 0 and count("dead_letter") > 0 and skipped > 10000, (count("row"), count("dead_letter"), skipped)
        assert count("row") + count("dead_letter") + skipped == 30000, (count("row"), count("dead_letter"), skipped)
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=300) == 0, log.read_text()
        assert stream.ended.wait(60)
    finally:
        run.kill()


def main():
    with tempfile.TemporaryDirectory() as name, Broker() as broker:
        brokers = broker.address
        folder = pathlib.Path(name)
        (folder / "clicks.yaml").write_text(PIPELINE.format(brokers=brokers, topic="tapped"))
        missing = millrace(folder, "tap", "-c", "clicks.yaml", "--for", "1s", code=1).stderr
        assert "topic tapped does not exist" in missing, missing
        broker.create_topic("tapped", 3)
        millrace(folder, "simulate", "clickstream", "--count", "200", "--rate", "0", "--malformed", "5%", "--to", f"kafka://{brokers}/tapped")

        def rows(*arguments):
            return [json.loads(line) for line in millrace(folder, "tap", "-c", "clicks.yaml", *arguments).stdout.splitlines()]
        shown = rows("--from-start", "--until-end")
        letters = rows("--from-start", "--until-end", "--dead-letters")
        assert letters and len(shown) + len(letters) == 200, (len(shown), len(letters))
        partitions = {row["_partition"] for row in shown + [{"_partition": letter["partition"]} for letter in letters]}
        last = rows("--last", "1", "--until-end") + rows("--last", "1", "--until-end", "--dead-letters")
        assert len(last) == len(partitions), last
        assert len(rows("--transform", "upper", "--from-start", "--limit", "3")) == 3
        assert rows("--for", "1s") == [], "it begins at the end"
        over_http(folder, brokers)
        # A broker that is away: the reason, and an end.
        (folder / "clicks.yaml").write_text(PIPELINE.format(brokers="127.0.0.1:1", topic="tapped"))
        away = millrace(folder, "tap", "-c", "clicks.yaml", code=1).stderr
        assert "127.0.0.1:1" in away, away
    print("tap over Kafka: passed")


main()
