#!/usr/bin/env python3
"""A restart costs seconds, whatever Kafka's session timeout is, and a stop says whether everything was done.

    restarts.py [NAME...]     all cases, or those whose names contain one of the words
"""

import re
import signal
import time

import pyarrow as pa
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from deltalake import DeltaTable

import cases
import harness
from cases import PARTITIONS, fails, fill, says, small_disk
from harness import Failure, Late, say, wait_for
from link import put_behind
from loading import LoadingLink

# Kafka's own session timeout, 45 s: what the group would wait for a member that died if it did not know it again.
DEFAULT_SESSION = {"session.timeout.ms": None, "heartbeat.interval.ms": None}
CAUGHT_UP_MAX_S = 15  # From the start of the process, on a busy machine; the aim is one second after it is up.


def read_up_to(workers):
    """The records that these workers answer for, from the topic's beginning; the feeder writes no transactions."""
    return sum(p["next_offset"] for worker in workers for p in (worker.pipeline() or {"source": {"partitions": []}})[
        "source"]["partitions"])


def wait_until_read(case, workers, timeout_s=180):
    wait_for(lambda: read_up_to(workers) == case.feeder.sent, f"{case.feeder.sent} records to be read", timeout_s, every_s=0.01)


def caught_up(case, workers, begun, what):
    """Waits until all records are read, says how long that took since `begun`, and fails if it is a session's time."""
    wait_for(lambda: all(w.get("/livez") or not w.alive() for w in workers), "the processes", 180, every_s=0.005)
    up = time.monotonic()
    for worker in workers:
        if not worker.alive():
            raise Failure(f"{worker.name} ended with status {worker.process.poll()}:\n{worker.tail()}")
    wait_until_read(case, workers)
    took = time.monotonic() - begun
    say(f"    {what}: up after {up - begun:.2f} s, caught up {took - (up - begun):.2f} s later")
    if took > CAUGHT_UP_MAX_S:
        raise Late(f"{what}: caught up after {took:.1f} s; {CAUGHT_UP_MAX_S} s are allowed")


def no_word_of_fencing(case):
    for worker in case.workers:
        lines = [line for line in worker.log().splitlines() if re.search("fenced|another worker has moved", line)]
        if lines:
            raise Failure(f"{worker.name}: {lines[0]}")


def finish(case, workers):
    for worker in workers:
        worker.stop()
    case.check_books(case.run_to_end(properties=DEFAULT_SESSION))


def one_killed(case):
    """kill -9 and a new start, under Kafka's default session timeout: it has caught up within seconds."""
    case.topic_with(1000)
    worker = case.run(properties=DEFAULT_SESSION)
    case.wait_for_rows(worker)
    for attempt in range(3):
        wait_until_read(case, [worker])
        worker.kill()
        case.feed(500)
        begun = time.monotonic()
        worker = case.run(properties=DEFAULT_SESSION)
        caught_up(case, [worker], begun, f"restart {attempt + 1}")
    no_word_of_fencing(case)
    finish(case, [worker])


def two_killed(case):
    """Two workers on one machine, both killed and started in the other order, together: no wait, none fences the other."""
    case.topic_with(1000)
    first, second = both = [case.run(properties=DEFAULT_SESSION) for _ in range(2)]
    for worker in both:
        worker.wait_for_partitions(lambda p: len(p) == 1, "its share")
    for one_after_another in (True, False):
        wait_until_read(case, both)
        first.kill()
        second.kill()
        case.feed(500)
        begun = time.monotonic()
        second = case.run(properties=DEFAULT_SESSION)
        if one_after_another:
            second.wait_for_partitions(lambda p: len(p) >= 1, "a share")
        first = case.run(properties=DEFAULT_SESSION)
        both = [second, first]
        caught_up(case, both, begun, "two, one after the other" if one_after_another else "two at once")
        for worker in both:
            worker.wait_for_partitions(lambda p: len(p) == 1, "its share")
    no_word_of_fencing(case)
    finish(case, both)


def one_of_two_killed(case):
    """One of two is killed and started again: it is given what it had, and the other one never loses its partition."""
    case.topic_with(1000)
    stays, dies = [case.run(properties=DEFAULT_SESSION) for _ in range(2)]
    for worker in (stays, dies):
        worker.wait_for_partitions(lambda p: len(p) == 1, "its share")
    wait_until_read(case, [stays, dies])
    kept, had = stays.partitions(), dies.partitions()
    revocations = stays.log().count("revoked partitions=")
    dies.kill()
    case.feed(500)
    begun = time.monotonic()
    again = case.run(properties=DEFAULT_SESSION)
    caught_up(case, [stays, again], begun, "one of two")
    if stays.partitions() != kept or again.partitions() != had:
        raise Failure(f"partitions {kept} and {had} became {stays.partitions()} and {again.partitions()}")
    if stays.log().count("revoked partitions=") != revocations:
        raise Failure(f"the one that stayed was disturbed:\n{stays.tail()}")
    no_word_of_fencing(case)
    finish(case, [stays, again])


def ingest_killed(case):
    """`millrace ingest` is killed and started again, under Kafka's default session timeout: its rows are there within seconds."""
    case.broker.create_topic(case.topic, PARTITIONS)
    table = str(case.lake / "t")
    case.lake.mkdir()
    DeltaTable.create(table, pa.schema([("id", pa.string())]))
    producer = Producer({"bootstrap.servers": case.broker.address, "enable.idempotence": True, "log_level": 2})
    for rows in range(1, 4):
        producer.produce(case.topic, b'{"id": "%d"}' % rows, partition=rows % PARTITIONS)
        producer.flush(30)
        begun = time.monotonic()
        with open(case.folder / "ingest.log", "ab") as log:
            process = harness.start([harness.binary(), "ingest", case.topic, table, "--kafka", case.broker.address,
                                     "--app_id", case.name, "--consumer_group", case.name, "--allowed_latency", "1"], log)
        try:
            wait_for(lambda: DeltaTable(table).count() == rows, f"{rows} rows", 180)
        finally:
            process.kill()
            process.wait()
        took = time.monotonic() - begun
        say(f"    row {rows}: {took:.1f} s after the start, one of them --allowed_latency")
        if took > CAUGHT_UP_MAX_S + 1:
            raise Late(f"a start took {took:.1f} s until the commit")


def clean_stop_leaves(case):
    """A worker that is stopped leaves the group: the other one has its partitions at once, not after its session."""
    case.topic_with(1000)
    stays, leaves = [case.run(properties=DEFAULT_SESSION) for _ in range(2)]
    for worker in (stays, leaves):
        worker.wait_for_partitions(lambda p: len(p) == 1, "its share")
    leaves.stop()
    # A member learns of a rebalance at its next heartbeat: 3 s by Kafka's default.
    begun = time.monotonic()
    stays.wait_for_partitions(lambda p: len(p) == PARTITIONS, "all partitions", 180)
    say(f"    all partitions {time.monotonic() - begun:.1f} s after the other one had left")
    if time.monotonic() - begun > 3 + CAUGHT_UP_MAX_S:
        raise Late("it waited for the session of the one that had left")
    case.feed(500)
    wait_until_read(case, [stays])
    finish(case, [stays])


def stopped_while_joining(case):
    """SIGTERM to a worker that is on its way into the group: it leaves no member behind that the others would wait for."""
    case.topic_with(1000)
    stays = case.run(properties=DEFAULT_SESSION)
    case.wait_for_rows(stays)
    for seconds in (0.2, 0.5, 1, 2):
        # The group lets it in when the other one has heard of it, at a heartbeat: every 3 s.
        joins = case.run(properties=DEFAULT_SESSION)
        wait_for(lambda: joins.get("/livez"), "the process", 180, every_s=0.01)
        time.sleep(seconds)
        joins.stop()
        stays.stop()
        case.feed(100)
        begun = time.monotonic()
        stays = case.run(properties=DEFAULT_SESSION)
        caught_up(case, [stays], begun, f"after a stop {seconds} s into joining")
    finish(case, [stays])


def stop_at(case, number):
    """Seconds that it took."""
    worker = case.run(properties=DEFAULT_SESSION)
    wait_for(lambda: worker.get("/livez"), "the process", 180, every_s=0.001)
    time.sleep(0.004 * number)
    begun = time.monotonic()
    worker.stop()
    took = time.monotonic() - begun
    if "call failed" in worker.log():
        raise Failure(f"stop {number}:\n{worker.tail()}")
    return took


def stopped_at_assignment(case):
    """SIGTERM around the moment at which the partitions come: it stops at once, and says nothing of librdkafka's errors."""
    case.topic_with(100)
    for number in range(30):
        slow = 0
        while (took := stop_at(case, number)) > 1.5:
            slow += 1
            if slow == 3:
                raise Late(f"stop {number} took {took:.1f} s, the third time:\n{case.workers[-1].tail()}")
    case.check_books(case.run_to_end(properties=DEFAULT_SESSION))


def same_instance_id(case):
    """Two workers are given one group.instance.id: the first is fenced, says so and ends with 1; the second works."""
    case.topic_with(1000)
    same = {**DEFAULT_SESSION, "group.instance.id": "the-same"}
    first = case.run(properties=same)
    case.wait_for_rows(first)
    second = case.run(properties=same)
    fails(first, 1, "^millrace: ", "group.instance.id 'the-same'", f"group '{case.name}'", "fenced us", "id of its own")
    case.feed(500)
    wait_until_read(case, [second])
    finish(case, [second])


def own_id_taken(case):
    """Somebody joins under the id that a worker has made for itself: the worker ends with 1 and says that a start again is what helps, and it is."""
    case.topic_with(1000)
    worker = case.run(properties=DEFAULT_SESSION)
    case.wait_for_rows(worker)
    admin = AdminClient({"bootstrap.servers": case.broker.address})
    described = admin.describe_consumer_groups([case.name])[case.name].result(60)
    usurper = Consumer({"bootstrap.servers": case.broker.address, "group.id": case.name, "group.instance.id": described.members[0].group_instance_id,
                        "partition.assignment.strategy": "cooperative-sticky", "enable.auto.commit": False})
    usurper.subscribe([case.topic])
    wait_for(lambda: usurper.poll(0.1) is None and not worker.alive(), "the worker to be fenced")
    fails(worker, 1, "^millrace: ", f"group '{case.name}'", "fenced us", "The id is our own", "Start this one again")
    case.feed(500)
    again = case.run(properties=DEFAULT_SESSION)
    wait_until_read(case, [again])
    usurper.close()
    finish(case, [again])


def late_heartbeats(case):
    """A session that ends just when the broker is back: heartbeats of the member before, sent again, do not end the one that has joined anew."""
    broker = harness.Broker(data=case.folder / "kafka")
    inner, outer = put_behind(broker)
    with broker:
        case.broker = broker
        case.topic_with(1000)
        link = LoadingLink(outer, inner)
        # Sent twice again, after a half and a whole second: a heartbeat is waiting at most moments at which a session may end.
        worker = case.run(brokers=f"127.0.0.1:{outer}", properties={
            "session.timeout.ms": 3000, "heartbeat.interval.ms": 500, "retry.backoff.ms": 500, "retry.backoff.max.ms": 1000})
        wait_until_read(case, [worker])
        sessions = 0
        while link.late < 2:
            sessions += 1
            if sessions > 10:
                raise RuntimeError("no heartbeat of before came late")
            link.load()
            wait_for(lambda: not link.is_loading or not worker.alive(), "the member to join anew")
            time.sleep(2)  # Longer than a heartbeat waits.
            case.feed(500)
            wait_for(lambda: read_up_to([worker]) == case.feeder.sent or not worker.alive(), "the records to be read")
            if not worker.alive():
                raise Failure(f"it ended with status {worker.process.poll()}:\n{worker.tail()}")
        say(f"    {link.late} late heartbeats in {sessions} sessions")
        says(worker, "warning", "session timed out")
        no_word_of_fencing(case)
        finish(case, [worker])
        case.new_producer()


def until_end_without_broker(case):
    """--until-end, SIGTERM, and the broker away: not 0, because the end was not reached; before the deadline."""
    with harness.Broker(data=case.folder / "kafka") as broker:
        case.broker = broker
        case.topic_with(1000)
        broker.stop()
        worker = case.run("--until-end", shutdown_timeout="5s")
        wait_for(lambda: re.search(rf"(warning|error) .*{broker.address}", worker.log()), "a warning that names the broker", 180)
        stop_and_expect(worker, 1, 5)
        says(worker, "^millrace: ", "before the end of the log was reached")
        broker.start()
        case.check_books(case.run_to_end())
        case.new_producer()


def broker_lost(case):
    """The broker is lost while a worker runs: SIGTERM commits what was read, in time, with 0: all is done that can be."""
    with harness.Broker(data=case.folder / "kafka") as broker:
        case.broker = broker
        case.topic_with(1000)
        worker = case.run(commit_interval="60s", shutdown_timeout="5s")
        wait_until_read(case, [worker])
        if case.rows() != 0:
            raise RuntimeError("the case needs that nothing is committed before SIGTERM")
        broker.kill()
        stop_and_expect(worker, 0, 5)
        if case.rows() == 0:
            raise Failure("nothing was committed on the way out")
        broker.start()
        case.check_books(worker)
        case.check_books(case.run_to_end())
        case.new_producer()


def stuck_store(case):
    """A store that takes nothing: SIGTERM gives up at shutdown_timeout, a second one leaves at once; 1 both times, nothing is lost."""
    case.lake.mkdir()
    with small_disk(case.lake, "size=3m"):
        case.topic_with(2000)
        case.run_to_end()
        for seconds, signals in ((3, 1), (60, 2)):
            case.feed(2000)
            worker = case.run(commit_interval="60s", shutdown_timeout=f"{seconds}s")
            wait_until_read(case, [worker])
            ballast = fill(case.lake)
            if signals == 1:
                stop_and_expect(worker, 1, seconds)
                says(worker, "shutdown_timeout is over")
                says(worker, "warning", re.escape(str(case.lake)), "No space left")
                says(worker, "^millrace: ", "what is not committed will be read again")
            else:
                worker.signal(signal.SIGTERM)
                wait_for(lambda: "committing and leaving" in worker.log(), "the first signal to be heard", 180)
                time.sleep(1)  # Long enough to leave, if it wanted to.
                if not worker.alive():
                    raise Failure(f"it ended with status {worker.process.poll()}:\n{worker.tail()}")
                stop_and_expect(worker, 1, 5)
                says(worker, "second signal", "leaving without a commit")
            ballast.unlink()
        case.check_books(case.run_to_end())


def stop_and_expect(worker, status, within_s):
    begun = time.monotonic()
    worker.signal(signal.SIGTERM)
    worker.expect_exit(status)
    took = time.monotonic() - begun
    say(f"    SIGTERM to the end: {took:.1f} s, status {status}")
    if took > within_s + 1:
        raise Late(f"it took {took:.1f} s, shutdown_timeout is {within_s} s")


def sigterm_after_failure(case):
    """A failure makes it leave, and then SIGTERM comes, the first: it is no second signal, all that was read is committed."""
    case.topic_with(60_000)
    worker = case.run(commit_interval="300s", commit_bytes="200MiB", properties={"group.instance.id": "the-same"})
    wait_until_read(case, [worker])
    if case.rows() != 0:
        raise RuntimeError("the case needs that nothing is committed before the failure")
    usurper = Consumer({"bootstrap.servers": case.broker.address, "group.id": case.name, "group.instance.id": "the-same",
                        "partition.assignment.strategy": "cooperative-sticky", "enable.auto.commit": False})
    try:
        usurper.subscribe([case.topic])
        leaving = wait_for(lambda: usurper.poll(0.005) is None and (worker.pipeline() or {"state": "gone"})["state"] != "running",
                           "the worker to be fenced", 180, every_s=0.001)
        if leaving and worker.alive():
            worker.signal(signal.SIGTERM)
        worker.expect_exit(1, 60)
        if f"signal {int(signal.SIGTERM)}:" not in worker.log():
            raise Late("the worker had left before the signal")
    finally:
        usurper.close()
    says(worker, "^millrace: ", "fenced us")
    says(worker, f"signal {int(signal.SIGTERM)}: leaving already")
    case.check_books(worker)


CASES = [one_killed, two_killed, one_of_two_killed, ingest_killed, clean_stop_leaves, stopped_while_joining, stopped_at_assignment,
         same_instance_id, own_id_taken, late_heartbeats, until_end_without_broker, broker_lost, stuck_store, sigterm_after_failure]

if __name__ == "__main__":
    cases.main("restarts", CASES)
