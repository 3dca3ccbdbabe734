"""`millrace ingest` with kafka-delta-ingest's table of dead letters and its `--dlq_transform`: the table was made and filled as there, by deltalake, is
partitioned by a column that an expression computes, and goes on with each letter once, also through a kill.

Usage: broker.py run -- ingest_letters_test.py PATH_OF_millrace
"""

import base64
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import pyarrow
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from deltalake import DeltaTable, write_deltalake

MILLRACE = sys.argv[1]
BROKERS = os.environ["KAFKA_BROKERS"]
UTC = datetime.timezone.utc
TABLE = pyarrow.schema([("id", pyarrow.int64()), ("text", pyarrow.string())])
# As kafka-delta-ingest's documentation has it, and two columns more.
LETTERS = pyarrow.schema([("base64_bytes", pyarrow.string()), ("json_string", pyarrow.string()), ("error", pyarrow.string()),
                          ("timestamp", pyarrow.timestamp("us", "UTC")), ("date", pyarrow.string()), ("kafka_offset", pyarrow.int64()),
                          ("place", pyarrow.struct([("topic", pyarrow.string())]))])
DATE = "date: substr(epoch_micros_to_iso8601(timestamp),`0`,`10`)"
TRANSFORMS = ["--dlq_transform", DATE, "--dlq_transform", "kafka_offset: kafka.offset", "--dlq_transform", "place.topic: topic"]
OF_THE_PEER = {"base64_bytes": "ew==", "json_string": None, "error": "EOF while parsing", "timestamp": datetime.datetime(2026, 2, 1, tzinfo=UTC),
               "date": "2026-02-01", "kafka_offset": None, "place": None}
AT = datetime.datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def is_good(i):
    return i % 5 not in (1, 3)


def payload_of(i):
    if i % 5 == 1:
        return b'{"id": %d' % i
    return json.dumps({"id": f"number {i}" if i % 5 == 3 else i, "text": "x"}).encode()


def at_of(i):
    return AT + datetime.timedelta(seconds=20 * i)  # Some on each of two days.


def send(topic, numbers):
    producer = Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True})
    for i in numbers:
        producer.produce(topic, payload_of(i), partition=0, timestamp=int(at_of(i).timestamp() * 1000))
    assert producer.flush(60) == 0


def make_topic(topic):
    admin = AdminClient({"bootstrap.servers": BROKERS})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)


def ingest(folder, topic, *arguments, code=0, environment=None):
    done = subprocess.run([MILLRACE, "ingest", topic, topic, "-k", BROKERS, "-a", topic, "-l", "1", "-e", *arguments],
                          cwd=folder, capture_output=True, text=True, timeout=120, env={**os.environ, **(environment or {})})
    assert done.returncode == code, f"{topic}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done.stderr


def rows_of(path):
    return DeltaTable(str(path)).to_pyarrow_table().to_pylist()


def check(folder, topic, count):
    rows = sorted(row["id"] for row in rows_of(folder / topic))
    claim(rows == [i for i in range(count) if is_good(i)], f"{topic}: each good message is a row, once", rows)
    letters = rows_of(folder / "letters")
    before = [letter for letter in letters if letter["topic"] is None]
    claim([{name: letter[name] for name in LETTERS.names} for letter in before] == [OF_THE_PEER], "what was there before is as it was", before)
    ours = sorted((letter for letter in letters if letter["topic"] is not None), key=lambda letter: letter["offset"])
    claim([letter["offset"] for letter in ours] == [i for i in range(count) if not is_good(i)], "each other one is a letter, once", ours)
    for letter in ours:
        i = letter["offset"]
        is_json = i % 5 == 3
        claim(letter["payload"] == payload_of(i) and letter["topic"] == topic and letter["stage"] == "decode", "ours as ever", letter)
        claim(letter["json_string"] == (payload_of(i).decode() if is_json else None), "the text, if it is JSON", letter)
        claim(letter["base64_bytes"] == (None if is_json else base64.b64encode(payload_of(i)).decode()), "or its bytes", letter)
        claim(letter["error"] == f"{letter['reason']}: {letter['detail']}", "why", letter)
        claim(letter["timestamp"] == at_of(i) and letter["date"] == at_of(i).date().isoformat(), "computed of its time", letter)
        claim(letter["kafka_offset"] == i and letter["place"] == {"topic": topic}, "computed of its place", letter)
    days = {value["date"] for value in DeltaTable(str(folder / "letters")).partitions()}
    claim(days == {"2026-02-01"} | {at_of(i).date().isoformat() for i in range(count) if not is_good(i)}, "a partition for each day", days)


def goes_on_with_the_peers_table(folder):
    make_topic("clicks")
    DeltaTable.create(folder / "clicks", TABLE)
    write_deltalake(folder / "letters", pyarrow.Table.from_pylist([OF_THE_PEER], LETTERS), partition_by=["date"])
    flags = ["--dlq_table_location", "letters", *TRANSFORMS]
    send("clicks", range(20))
    said = ingest(folder, "clicks", *flags)
    check(folder, "clicks", 20)
    claim(said.count("dead letter") == 1 and "8 dead letters (bad_json 4, type_mismatch 4), the last of clicks[0] at offset 18: decode: field 'id'" in said
          and f"they are in file://{folder}/letters" in said, "the log tells of them once", said)
    # Letters are durable before the rows: what is read again makes none twice.
    send("clicks", range(20, 40))
    ingest(folder, "clicks", *flags, code=-9, environment={"MILLRACE_KILL_AT": "letters.committed"})
    ingest(folder, "clicks", *flags)
    check(folder, "clicks", 40)
    send("clicks", range(40, 50))
    ingest(folder, "clicks", environment={"DLQ_TABLE_LOCATION": "letters", "DLQ_TRANSFORMS": DATE})
    letters = [letter for letter in rows_of(folder / "letters") if (letter["offset"] or 0) >= 40]
    claim(len(letters) == 4 and all(letter["kafka_offset"] is None and letter["date"] for letter in letters),
          "a column that nothing fills is null", letters)


def one_that_fails_is_no_letter_less(folder):
    make_topic("failing")
    DeltaTable.create(folder / "failing", TABLE)
    DeltaTable.create(folder / "failing_letters", LETTERS)
    send("failing", range(10))
    said = ingest(folder, "failing", "--dlq_table_location", "failing_letters", "--dlq_transform", "date: substr(json_string, `0`, `3`)")
    letters = sorted(rows_of(folder / "failing_letters"), key=lambda letter: letter["offset"])
    claim([letter["date"] for letter in letters] == [None, '{"i', None, '{"i'], "what an expression cannot compute is null", letters)
    claim("2 of 4 have columns that stay null" in said, "and that is said", said)


def is_told(folder):
    DeltaTable.create(folder / "strict", pyarrow.schema([*LETTERS, pyarrow.field("must", pyarrow.string(), nullable=False)]))
    for arguments, words in [
            (["--dlq_transform", DATE], "there is no --dlq_table_location"),
            (["--dlq_table_location", "nowhere", "--dlq_transform", DATE], "there is no table at nowhere"),
            (["--dlq_table_location", "letters", "--dlq_transform", "dat: topic"], "has no column 'dat'; did you mean 'date'?"),
            (["--dlq_table_location", "letters", "--dlq_transform", "topic: stage"], "the column 'topic' is filled already"),
            (["--dlq_table_location", "letters", "--dlq_transform", "date: kafka.timestamp_type"], "a letter does not know kafka.timestamp_type"),
            (["--dlq_table_location", "letters", "--dlq_transform", "date: substr("], "--dlq_transform"),
            (["--dlq_table_location", "letters", "--dlq_transform", "date"], "expected 'PROPERTY: SOURCE'"),
            (["--dlq_table_location", "strict"], "the column 'must' must not be null")]:
        said = ingest(folder, "clicks", *arguments, code=78)
        claim(words in said, f"{arguments}: {words}", said)
    claim(not (folder / "nowhere").exists(), "nothing is made")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for test in (goes_on_with_the_peers_table, one_that_fails_is_no_letter_less, is_told):
            test(folder)
    print(f"{passed} passed, 0 failed")


main()
