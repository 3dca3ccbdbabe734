"""A fleet whose schema the simulator registers itself, through a real registry and a real broker: what arrives is what its truth says.

Usage: fleet_test.py PATH_OF_millrace
"""
import json
import sys
import tempfile

from millrace_runs import Broker, Pipeline, make_topics
from registry_server import Registry

BINARY = sys.argv[1]
COUNT = 5000
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def main():
    with tempfile.TemporaryDirectory(prefix="millrace-fleet-") as folder, Broker() as broker, Registry() as registry:
        brokers = broker.address
        make_topics(brokers, 3, "avro", "protobuf")
        for wire in ("avro", "protobuf"):
            pipeline = Pipeline(BINARY, folder, wire, brokers, registry.url, f"{{format: {wire}, schema: registry}}",
                                more="event_time: {column: ts}\n")
            send = ("simulate", "iot", "--format", wire, "--registry", registry.url, "--rate", "0", "--count", str(COUNT), "--late", "5%",
                    "--duplicates", "2%", "--malformed", "1%", "--to", f"kafka://{brokers}/{wire}")
            said = pipeline.call(*send, "--truth", "first.parquet").stderr
            claim(f"{COUNT:,} acknowledged" in said, "the broker has everything", said)
            # The same schema again: the registry has it already.
            pipeline.call(*send, "--seed", "8", "--truth", "second.parquet")
            pipeline.until_end()
            audit = json.loads(pipeline.call("audit", "-c", str(pipeline.file), "--truth", "first.parquet", "--truth", "second.parquet", "-o",
                                             "json").stdout)
            table = audit["truth"][0]["tables"][0]
            claim(audit["ok"] and audit["truth"][0]["sent"] == 2 * COUNT, "all is settled", audit)
            claim(table["letters_of_malformed"] > COUNT / 100 and table["rows"] + table["letters_of_malformed"] == 2 * COUNT, "rows and letters", table)
            rows = pipeline.rows(["device_id", "seq", "temperature_c"])
            claim(all(row["device_id"].startswith("sensor-") for row in rows), "columns of the schema", rows[:2])
    print(f"{passed} passed, 0 failed")


main()
