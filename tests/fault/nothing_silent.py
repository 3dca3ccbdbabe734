#!/usr/bin/env python3
"""Nothing silent: each fault gives a message that names the thing, the right exit status, and right books afterwards.

    nothing_silent.py [NAME...]     all cases, or those whose names contain one of the words

A case is a function of the table at the end; its docstring says what is promised. Exit status 77 if cases were skipped
(each with its reason) and all others passed, so that a skip is seen.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pyarrow as pa
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from deltalake import DeltaTable, write_deltalake

import books
import cases
import events
import harness
from cases import PARTITIONS, fails, fill, says, small_disk
from harness import Failure, Late, say, wait_for


def unknown_key(case):
    """An unknown key: 78, the file, the line, the column, and the name that was meant."""
    worker = case.run()
    worker.kill()
    text = worker.config.read_text().replace("  format: json", "  formt: json")
    path = case.folder / "typo.yaml"
    path.write_text(text)
    line = next(n for n, t in enumerate(text.splitlines(), 1) if "formt" in t)
    for command in (["run", "-c"], ["validate"]):
        done = subprocess.run([harness.binary(), *command, str(path)], capture_output=True, text=True, timeout=300)
        if done.returncode != 78:
            raise Failure(f"{command[0]}: status {done.returncode}, not 78: {done.stderr}")
        output = done.stdout + done.stderr
        if not re.search(rf"{re.escape(str(path))}:{line}:3: .*'formt'.*'format'", output):
            raise Failure(f"{command[0]}: no finding with the place and the suggestion: {output}")
    say(f"    {output.splitlines()[0][-120:]}")


def missing_topic(case):
    """A topic that does not exist: named, exit 1, and no table."""
    case.broker.create_topic("another", 1)
    fails(case.run(), 1, "missing_topic", "does not exist")


def broker_down(case):
    """No broker: goes on trying, the message names it, SIGTERM ends it within 10 s; when the broker comes, work begins."""
    with harness.Broker(data=case.folder / "kafka") as broker:
        case.broker = broker
        case.topic_with(500)
        broker.stop()
        worker, patient = case.run(), case.run()
        for one in (worker, patient):
            wait_for(lambda: re.search(rf"(warning|error) .*{broker.address}", one.log()) or not one.alive(),
                     "a warning that names the broker", 180)
            if not one.alive():
                raise Failure(f"it gave up:\n{one.tail()}")
        begun = time.monotonic()
        worker.signal(signal.SIGTERM)
        worker.expect_exit(0)
        took = time.monotonic() - begun
        say(f"    SIGTERM without a broker: {took:.1f} s")
        if took > 10:
            raise Late(f"SIGTERM took {took:.1f} s")
        broker.start()
        case.wait_for_rows(patient, 400, 120)
        patient.stop()
        case.check_books(case.run_to_end())
        case.new_producer()


def broker_crash(case):
    """The broker is killed and restarted under load: the worker pauses, does not exit, and goes on."""
    with harness.Broker(data=case.folder / "kafka") as broker:
        case.broker = broker
        case.topic_with(2000)
        # A restarted broker sometimes waits this long for the member that it remembers, before it lets the worker in again.
        worker = case.run(properties={"max.poll.interval.ms": 10_000})
        case.wait_for_rows(worker)
        broker.kill()
        wait_for(lambda: re.search(rf"{broker.port}.*(refused|failed|[Cc]onnect|down)", worker.log()), "a message that names the broker", 180)
        broker.restart()
        case.feed(2000)
        case.wait_for_rows(worker, 3000, 120)
        worker.stop()
        last = case.run_to_end()
        case.check_books(last)
        case.new_producer()


def port_in_use(case):
    """The port is taken: exit 1, the message names it."""
    case.topic_with(10)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        fails(case.run(port=port), 1, f"127.0.0.1:{port}", "in use")


def lake_not_writable(case):
    """A lake that cannot be written: the message names the path; a path through a file is a mistake in the configuration."""
    case.topic_with(10)
    blocked = case.folder / "file"
    blocked.write_text("not a folder")
    fails(case.run(lake=blocked / "lake"), 78, re.escape(str(blocked)), "is not a folder")
    locked = case.folder / "locked"
    locked.mkdir(mode=0o555)
    if os.geteuid() != 0:
        fails(case.run(lake=locked / "lake"), 78, re.escape(str(locked)), "Permission denied")
        return
    with small_disk(locked, "ro,size=1m"):
        fails(case.run(lake=locked / "lake"), 78, re.escape(str(locked)), "Read-only file system")


def disk_full(case):
    """A full disk: the message names a path and the reason; with space again it goes on, and the books hold."""
    case.lake.mkdir()
    with small_disk(case.lake, "size=3m"):
        case.topic_with(2000)
        worker = case.run()
        case.wait_for_rows(worker)
        ballast = fill(case.lake)
        rows = case.rows()
        case.feed(4000)
        wait_for(lambda: "No space left" in worker.log(), "the message", 180)
        say(f"    {says(worker, re.escape(str(case.lake)), 'No space left')[:200]}")
        time.sleep(2)  # Long enough to do harm if it went on.
        if not worker.alive():
            raise Failure(f"it ended with status {worker.process.poll()}:\n{worker.tail()}")
        case.check_books(worker, partial=True)
        ballast.unlink()
        case.wait_for_rows(worker, rows + 2000, 120)
        worker.stop()
        case.check_books(case.run_to_end())


def ingested(case, count=1000):
    case.topic_with(count)
    case.run_to_end()
    case.feed(count)


def newest_entry(case):
    return case.lake / "events" / "_delta_log" / f"{case.version():020}.json"


def refuses_entry(case, change, *words):
    """Refuses a table whose newest log entry was changed so, names the file, and writes nothing to it."""
    ingested(case)
    entry = newest_entry(case)
    good = entry.read_bytes()
    change(entry, good)
    broken = entry.read_bytes()
    before = sorted(p.name for p in entry.parent.iterdir())
    for worker in (case.run(), case.run("--until-end")):
        fails(worker, 1, entry.name, *words)
    if sorted(p.name for p in entry.parent.iterdir()) != before or entry.read_bytes() != broken:
        raise Failure("the log was written to")
    entry.write_bytes(good)
    case.check_books(case.run_to_end())


def corrupt_entry(case):
    """A log entry that was cut off: refused by name, exit 1."""
    refuses_entry(case, lambda entry, good: entry.write_bytes(good[:len(good) - len(good.splitlines()[-1]) // 2]), "events")


def empty_entry(case):
    """A log entry of no bytes: refused by name, exit 1."""
    refuses_entry(case, lambda entry, _: entry.write_bytes(b""), "empty")


def garbage_entry(case):
    """A log entry that is not text: refused by name, exit 1."""
    refuses_entry(case, lambda entry, _: entry.write_bytes(b"\xff\xfe\x00garbage\n"))


def log_gap(case):
    """A version in the middle is missing, and no checkpoint covers it: refused by name, exit 1."""
    case.topic_with(300)
    for _ in range(3):
        case.run_to_end(checkpoint_interval=1000)
        case.feed(300)
    log = case.lake / "events" / "_delta_log"
    if case.version() < 3 or list(log.glob("*.checkpoint*")):
        raise RuntimeError("the case needs versions 0 to 3 and no checkpoint")
    entry = log / f"{2:020}.json"
    good = entry.read_bytes()
    entry.unlink()
    fails(case.run("--until-end"), 1, entry.name, "missing|gap")
    entry.write_bytes(good)
    case.check_books(case.run_to_end())


def delete_records(case, partition, before):
    admin = AdminClient({"bootstrap.servers": case.broker.address})
    for future in admin.delete_records([TopicPartition(case.topic, partition, before)]).values():
        future.result(30)


def retention(case):
    """Retention took records that were never read: stops naming partition and offsets; `on_gap: record` goes on."""
    case.topic_with(1000)
    case.run_to_end()
    next_offset = books.Log(case.lake / "events").next_offsets(f"{events.PIPELINE}-{case.topic}")[0]
    case.feed(1000)
    truth = books.read_truth(case.broker.address, case.topic)
    first = next_offset + 100
    delete_records(case, 0, first)
    for arguments in ((), ("--until-end",)):
        fails(case.run(*arguments), 1, rf"{case.topic}.0", str(next_offset), str(first), "retention", "on_gap")
    worker = case.run_to_end(on_gap="record")
    says(worker, rf"{case.topic}.0", str(next_offset), f"{first - 1}|{first}")
    truth.forget(0, next_offset, first)
    case.check_books(worker, truth=truth)


def topic_recreated_shorter(case):
    """The topic was deleted and made anew, and is shorter than what was read: stops, names the partition."""
    ingested(case, 600)
    case.run_to_end()
    version = case.version()
    case.new_producer()
    recreate(case)
    case.feed(100, seed=2)
    fails(case.run("--until-end"), 1, rf"{case.topic}.[01]", "the topic was recreated or truncated")
    if case.version() != version:
        raise Failure(f"it committed version {case.version()}")


def topic_recreated_longer(case):
    """The topic was made anew and is longer than what was read: the fingerprint tells, it stops, names the partition."""
    case.topic_with(600)
    case.run_to_end()
    version = case.version()
    case.new_producer()
    recreate(case)
    case.feed(3000, seed=2)
    fails(case.run("--until-end"), 1, rf"{case.topic}.[01]. offset", "is not the one that was read there: the topic was recreated")
    if case.version() != version:
        raise Failure(f"it committed version {case.version()}")


def recreate(case):
    case.broker.delete_topic(case.topic)

    def created():
        try:
            case.broker.create_topic(case.topic, PARTITIONS)
            return True
        except Exception as error:  # Deleting goes on after the answer.
            if "36" not in str(error) and "exist" not in str(error):
                raise
            return False
    wait_for(created, "the topic to be gone", 180, every_s=0.3)


def sigterm_under_load(case):
    """SIGTERM under load: commits what was read, leaves, exits 0; nothing is read twice or lost afterwards."""
    case.topic_with(1000)
    worker = case.run(commit_interval="60s", commit_bytes="200MiB")
    case.feeder.allow(20_000, over_s=4)
    wait_for(lambda: worker.alive() and sum(p["next_offset"] for p in (worker.pipeline() or {"source": {"partitions": []}})[
        "source"]["partitions"]) > 2000, "records", 180)
    if case.rows() != 0:
        raise RuntimeError("the case needs that nothing is committed before SIGTERM")
    worker.stop()
    if case.rows() < 1000:
        raise Failure(f"only {case.rows()} rows were committed on the way out")
    case.check_books(worker, partial=True)
    case.feeder.flush()
    case.check_books(case.run_to_end())


def double_sigterm(case):
    """A second SIGTERM while the first is being obeyed: leaves at once, not 0; nothing is lost or doubled."""
    case.topic_with(2000)
    worker = case.run(commit_interval="60s")
    worker.wait_for_partitions(lambda p: len(p) == PARTITIONS, "the partitions")
    wait_for(lambda: (worker.pipeline() or {"totals": {"records": 0}})["totals"]["records"] > 0, "records", 180)
    begun = time.monotonic()
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGTERM)
    status = worker.wait(120)
    say(f"    status {status} after {time.monotonic() - begun:.1f} s")
    if time.monotonic() - begun > 10:
        raise Late("it was not prompt")
    if status not in (0, 1):  # 0: both signals came as one, or it was through already.
        raise Failure(f"status {status}")
    case.check_books(case.run_to_end())


def foreign_writer(case):
    """Another writer appends, compacts, checkpoints and vacuums during ingest: it goes on, and the offsets stay."""
    case.topic_with(3000)
    worker = case.run(commit_interval="200ms")
    case.feeder.allow(9000, over_s=6)
    case.wait_for_rows(worker)
    table = DeltaTable(str(case.lake / "events"))
    schema = pa.schema(table.schema().to_arrow())
    foreign_rows = 0
    for number in range(3):
        table.update_incremental()
        row = {name: None for name in schema.names}
        row.update(event_id=f"foreign-{number}", _topic="foreign", _partition=-1, _offset=number, _timestamp=0, ts=0, ts_date=0)
        write_deltalake(str(case.lake / "events"), pa.Table.from_pylist([row], schema=schema), mode="append")
        foreign_rows += 1
        for attempt in range(20):  # Ours commits all the time: the other one has to try again.
            table.update_incremental()
            try:
                table.optimize.compact()
                break
            except Exception as error:
                if attempt == 19:
                    raise
                say(f"    the foreign compaction lost a race: {str(error)[:80]}")
        table.update_incremental()
        table.create_checkpoint()
    if not worker.alive():
        raise Failure(f"it ended with status {worker.process.poll()}:\n{worker.tail()}")
    worker.stop()
    case.feeder.flush()
    last = case.run_to_end()
    DeltaTable(str(case.lake / "events")).delete("_partition = -1")
    case.check_books(last)
    say(f"    {foreign_rows} foreign appends and as many compactions and checkpoints; version {case.version()}, {case.rows()} rows")


def commit_protocol(case, protocol):
    """A foreign commit that raises the table's protocol."""
    log = books.Log(case.lake / "events")
    for version in range(log.version + 1, log.version + 50):
        path = case.lake / "events" / "_delta_log" / f"{version:020}.json"
        draft = case.folder / "draft.json"
        draft.write_text(json.dumps({"protocol": protocol}) + "\n")
        try:
            os.link(draft, path)
            return version
        except FileExistsError:
            continue
        finally:
            draft.unlink()
    raise RuntimeError("the worker was faster each time")


def unknown_feature(case):
    """A table that needs a writer feature that we do not know: refused by its name before anything is written."""
    ingested(case, 300)
    commit_protocol(case, {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["appendOnly", "timeTravelToMars"]})
    version = case.version()
    fails(case.run(), 1, "timeTravelToMars", "events")
    if case.version() != version:
        raise Failure(f"it committed version {case.version()}")


def protocol_raised(case):
    """The protocol is raised while it runs: the next commit is refused and it stops; nothing is written after."""
    case.topic_with(1000)
    worker = case.run()
    case.feeder.allow(10_000, over_s=10)
    case.wait_for_rows(worker)
    raised = commit_protocol(case, {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["timeTravelToMars"]})
    fails(worker, 1, "timeTravelToMars", "events")
    if case.version() != raised:
        raise Failure(f"the protocol was raised in version {raised}, the log ends at {case.version()}")


def poison(case):
    """Records that are made to break parsers: each a dead letter with its bytes, and the rows around them live."""
    case.broker.create_topic(case.topic, 1)
    case.feeder = None
    good = json.loads(next(v for v in (events.Generator(3, "g", int(time.time() - 3600) * 1_000_000).make()[1] for _ in range(99))
                           if v and events.judge(v, 2**62)[0] == "row"))
    payloads = [b"", b" ", b"null", b"[]", b"1", b'"x"', b"{", b"}", b"{}x", b"\xef\xbb\xbf{}", b'{"seq": 1e400}', b'{"seq": 1.5}',
                b'{"event_id": "\\ud800"}', b'{"event_id": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
                b'{"seq": 9223372036854775808}', b'{"amount": "NaN"}', b'{"latency_ms": NaN}', b'{"ts": "yesterday"}',
                b'{"event_id": "a\x00b"}', b"\x00" * 1000, b'{"geo": {"city": []}}', b"x" * 900_000]
    producer = Producer({"bootstrap.servers": case.broker.address, "enable.idempotence": True})
    for number, payload in enumerate(payloads):
        producer.produce(case.topic, value=payload, partition=0)
        producer.produce(case.topic, value=json.dumps({**good, "seq": number, "event_id": f"good-{number}"}).encode(), partition=0)
    producer.flush(30)
    worker = case.run_to_end()
    letters = DeltaTable(str(case.lake / "fault_dead_letters")).to_pyarrow_table().sort_by("offset")
    if letters["payload"].to_pylist() != payloads or letters["offset"].to_pylist() != list(range(0, 2 * len(payloads), 2)):
        got = dict(zip(letters["offset"].to_pylist(), letters["payload"].to_pylist()))
        wrong = [p[:40] for n, p in enumerate(payloads) if got.get(2 * n) != p]
        raise Failure(f"not dead letters with their bytes: {wrong}, {letters.num_rows} letters of {len(payloads)}")
    if case.rows() != len(payloads):
        raise Failure(f"{case.rows()} rows of {len(payloads)} good ones")
    audit = subprocess.run([harness.binary(), "audit", "-c", str(worker.config)], capture_output=True, text=True, timeout=300)
    if audit.returncode != 0:
        raise Failure(f"audit: {audit.stdout}{audit.stderr}")


def transactions(case):
    """Aborted records are never seen, markers at the end count as covered: it reaches the end, and the books hold."""
    case.broker.create_topic(case.topic, PARTITIONS)
    producer = Producer({"bootstrap.servers": case.broker.address, "transactional.id": case.name, "log_level": 2})
    generator = events.Generator(5, "t", int(time.time() - 3600) * 1_000_000)
    producer.init_transactions(60)
    for commits in (True, False, False, True, False):
        producer.begin_transaction()
        for number in range(400):
            key, value, headers = generator.make()
            producer.produce(case.topic, value=value, key=key, headers=headers, partition=number % PARTITIONS)
        producer.flush(60)
        (producer.commit_transaction if commits else producer.abort_transaction)(60)
    last = case.run_to_end()
    truth = books.read_truth(case.broker.address, case.topic)
    if truth.table.num_rows != 800 or sum(truth.ends.values()) < 2000:
        raise RuntimeError(f"the case needs 800 committed records among 2000, not {truth.table.num_rows} of {truth.ends}")
    case.check_books(last, truth=truth)


def more_partitions(case):
    """The topic gets more partitions while it runs: they are read from their beginning."""
    case.topic_with(500)
    worker = case.run(properties={"topic.metadata.refresh.interval.ms": 500})
    case.wait_for_rows(worker)
    case.new_producer()
    case.broker.add_partitions(case.topic, 2 * PARTITIONS)
    case.feeder = harness.Feeder(case.broker.address, case.topic, 2, 2 * PARTITIONS, name="p2")
    case.feed(1000)
    worker.wait_for_partitions(lambda p: len(p) == 2 * PARTITIONS, "the new partitions", 180)
    case.wait_for_rows(worker, 1200)
    worker.stop()
    case.check_books(case.run_to_end())


def topic_deleted(case):
    """The topic is deleted while it runs: a warning or its last words name the topic; what was read is committed."""
    case.topic_with(500)
    worker = case.run(properties={"topic.metadata.refresh.interval.ms": 500})
    case.wait_for_rows(worker, 400)
    truth = books.read_truth(case.broker.address, case.topic)
    before = len(worker.log())
    case.new_producer()
    case.broker.delete_topic(case.topic)
    wait_for(lambda: not worker.alive() or re.search(rf"(warning|error) .*{case.topic}", worker.log()[before:]),
             "a message that names the topic", 180)
    if not worker.alive() and (worker.process.returncode != 1 or not re.search(f"millrace: .*{case.topic}", worker.log())):
        raise Failure(f"it ended with status {worker.process.returncode} and does not say why:\n{worker.tail()}")
    say(f"    {worker.log()[before:].strip().splitlines()[-1][:200]}")
    if worker.alive():
        worker.signal(signal.SIGTERM)
        worker.wait()
    case.check_books(worker, truth=truth)


CASES = [unknown_key, missing_topic, broker_down, broker_crash, port_in_use, lake_not_writable, disk_full, corrupt_entry,
         empty_entry, garbage_entry, log_gap, retention, topic_recreated_shorter, topic_recreated_longer, sigterm_under_load,
         double_sigterm, foreign_writer, unknown_feature, protocol_raised,
         transactions, more_partitions, topic_deleted, poison]


if __name__ == "__main__":
    cases.main("nothing-silent", CASES)
