"""Goal: `millrace tap` over a real Kafka: from the end, from the start, the last of each partition; what is not there is told."""
import json
import pathlib
import subprocess
import sys
import tempfile

from broker import Broker

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
    done = subprocess.run([BINARY, *arguments], cwd=folder, capture_output=True, text=True, timeout=90)
    assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done


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
        # A broker that is away: the reason, and an end.
        (folder / "clicks.yaml").write_text(PIPELINE.format(brokers="127.0.0.1:1", topic="tapped"))
        away = millrace(folder, "tap", "-c", "clicks.yaml", code=1).stderr
        assert "127.0.0.1:1" in away, away
    print("tap over Kafka: passed")


main()
