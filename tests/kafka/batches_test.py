"""Goal: the batches that our librdkafka hands over are, record by record, what it hands over as messages, and what
Python's own client reads, from topics of every kind: transactions, all codecs, compaction, both kinds of time, old formats, damage.

    batches_test.py [--seed N] [--libs FOLDER] KAFKA_DUMP_RECORDS [messages] [batches]

A build without batches has messages alone. FOLDER: the jars of another Kafka than the one of scripts/setup.
"""
import argparse
import concurrent.futures
import contextlib
import random
import struct
import subprocess
import time
import zlib

import confluent_kafka
from broker import Broker

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1, 10**6))
    parser.add_argument("--libs")
    parser.add_argument("dump")
    parser.add_argument("deliveries", nargs="*", default=["messages", "batches"])
    return parser.parse_args()


ARGUMENTS = arguments()
DUMP = ARGUMENTS.dump
DELIVERIES = ARGUMENTS.deliveries


def dump(broker, topic, delivery, seed=0, fails=None, **properties):
    """The lines of kafka_dump_records; with `fails`, which it must say, its complaint."""
    command = [DUMP, broker.address, topic, delivery, str(seed)]
    command += [f"{name.replace('_', '.')}={value}" for name, value in properties.items()]
    deadline = time.monotonic() + 180
    while True:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        # A broker that has just started may not know yet that it leads.
        if "Detail: transient" not in done.stderr or time.monotonic() > deadline:
            break
    if fails is not None:
        assert done.returncode == 1 and fails in done.stderr, f"{command}: {done.returncode}, {done.stderr}"
        return done.stderr
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stderr}"
    return done.stdout.splitlines()


def hexed(value):
    if value is None:
        return "-"
    return "x" + (value.encode() if isinstance(value, str) else value).hex()


def python_reads(broker, topic, isolation):
    """The same lines by another client: a librdkafka of another version, without our patch."""
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": broker.address, "group.id": "oracle", "enable.auto.commit": False,
        "enable.partition.eof": True, "isolation.level": isolation, "auto.offset.reset": "error"})
    partitions = consumer.list_topics(topic, 30).topics[topic].partitions
    consumer.assign([confluent_kafka.TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in partitions])
    lines, left = [], set(partitions)
    while left:
        message = consumer.poll(30)
        assert message is not None, "Python's client got nothing within 30 s"
        if message.error():
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
            left.discard(message.partition())
            continue
        kind, at = message.timestamp()
        line = (f"{message.partition()} {message.offset()} {max(at, 0) * 1000} "
                f"{'LOG' if kind == confluent_kafka.TIMESTAMP_LOG_APPEND_TIME else 'PRODUCER'} "
                f"{hexed(message.key())} {hexed(message.value())}")
        lines.append((message.partition(), message.offset(),
                      line + "".join(f" {hexed(n)}={hexed(v)}" for n, v in message.headers() or [])))
    consumer.close()
    return [line for _, _, line in sorted(lines)]


def same(name, want, got):
    if want == got:
        return
    at = next((i for i, pair in enumerate(zip(want, got)) if pair[0] != pair[1]), min(len(want), len(got)))
    raise AssertionError(f"{name}: {len(got)} records, not {len(want)}; first difference at {at}:\n"
                         f"  want {want[at][:300] if at < len(want) else '(none)'}\n"
                         f"  got  {got[at][:300] if at < len(got) else '(none)'}")


def compare(broker, topic, seed, **properties):
    """Once as it comes, and once moved about and with small answers, which end in the midst of a batch."""
    isolation = properties.get("isolation_level", "read_committed")
    small = {"fetch_message_max_bytes": 3000, "queued_min_messages": 50, "queued_max_messages_kbytes": 16}
    with concurrent.futures.ThreadPoolExecutor() as readers:  # Each mostly waits for the broker.
        want = readers.submit(python_reads, broker, topic, isolation)
        got = {}
        for delivery in DELIVERIES:
            got[delivery] = readers.submit(dump, broker, topic, delivery, **properties)
            got[f"{delivery}, moved about"] = readers.submit(dump, broker, topic, delivery, seed, **properties, **small)
        for name, lines in got.items():
            same(f"{topic}, {name}", want.result(), lines.result())
        return want.result()


def content(rng):
    """Of a record: nulls, empty ones, large ones, headers."""
    key = rng.choice([None, b"", b"k%d" % rng.randrange(20)])
    size = rng.choice([0, 1, 10, 60, 64, 200, 5000]) if rng.random() > 0.01 else 50_000
    value = None if rng.random() < 0.1 else (rng.randbytes(size) if rng.random() < 0.5 else b"abc" * (size // 3))
    headers = [(rng.choice(["a", "b", "name"]), rng.choice([None, b"", b"1", rng.randbytes(100)]))
               for _ in range(rng.choice([0, 0, 0, 1, 3]))]
    return {"key": key, "value": value, "headers": headers, "timestamp": rng.randrange(1, 1_700_000_000_000)}


def producer(broker, rng, **properties):
    return confluent_kafka.Producer({
        "bootstrap.servers": broker.address, "enable.idempotence": "transactional.id" in properties or rng.random() < 0.5,
        "compression.type": rng.choice(CODECS), "linger.ms": 50,
        "batch.num.messages": rng.choice([1, 3, 100, 10_000]), "batch.size": rng.choice([1_000, 100_000, 1_000_000]),
        "topic.metadata.propagation.max.ms": 1000, "message.max.bytes": 1_000_000, **properties})


def delivered(error, _):
    assert error is None, error


def produce(client, topic, rng, count, partitions):
    for _ in range(count):
        client.produce(topic, partition=rng.randrange(partitions), on_delivery=delivered, **content(rng))
        client.poll(0)
    assert client.flush(60) == 0


def test_all_codecs_and_sizes(broker, rng):
    for codec in CODECS:
        broker.create_topic(f"codec-{codec}", 1)
        client = producer(broker, rng, **{"compression.type": codec, "batch.num.messages": 500,
                                          "batch.size": 1_000_000})
        produce(client, f"codec-{codec}", rng, 700, 1)
    seeds = [rng.randrange(1, 1000) for _ in CODECS]
    with concurrent.futures.ThreadPoolExecutor() as each:
        for lines in each.map(lambda codec, seed: compare(broker, f"codec-{codec}", seed), CODECS, seeds):
            assert len(lines) == 700
    broker.create_topic("random", 3)
    for _ in range(8):
        produce(producer(broker, rng), "random", rng, rng.randrange(1, 400), 3)
    compare(broker, "random", rng.randrange(1, 1000))
    # A batch is as large as its makers allow, and what it decompresses to larger than any answer.
    broker.create_topic("huge", 1, {"max.message.bytes": 20_000_000})
    client = producer(broker, rng, **{"compression.type": "zstd", "batch.num.messages": 1_000_000, "linger.ms": 2000,
                                      "batch.size": 50_000_000, "message.max.bytes": 60_000_000,
                                      "queue.buffering.max.kbytes": 200_000, "queue.buffering.max.messages": 1_000_000})
    for i in range(100_000):
        client.produce("huge", value=b"%d" % i * 20, key=b"k")
    assert client.flush(120) == 0
    assert len(compare(broker, "huge", rng.randrange(1, 1000))) == 100_000
    broker.create_topic("empty", 2)
    assert compare(broker, "empty", 3) == []


def test_transactions(broker, rng):
    """Several producers whose transactions lie between one another, half of them aborted."""
    broker.create_topic("transactions", 2)
    clients = []
    for i in range(4):
        clients.append(producer(broker, rng, **{"transactional.id": f"t{i}", "linger.ms": 5}))
        clients[-1].init_transactions(30)
    plain = producer(broker, rng)
    aborted = 0
    for _ in range(15):
        begun = rng.sample(clients, rng.randrange(1, 4))
        for client in begun:
            client.begin_transaction()
        for _ in range(rng.randrange(1, 5)):
            produce(rng.choice([*begun, plain]), "transactions", rng, rng.randrange(1, 40), 2)
        for client in begun:
            if rng.random() < 0.5:
                client.abort_transaction(30)
                aborted += 1
            else:
                client.commit_transaction(30)
    assert aborted > 0
    # What ends the log is a marker, or records that nobody sees.
    clients[0].begin_transaction()
    produce(clients[0], "transactions", rng, 20, 2)
    clients[0].abort_transaction(30)
    committed = compare(broker, "transactions", rng.randrange(1, 1000))
    everything = compare(broker, "transactions", rng.randrange(1, 1000), isolation_level="read_uncommitted")
    assert len(committed) < len(everything)


def batches_in(log):
    """Base offset, last offset, number of records and place of each batch in these bytes of a log."""
    found, at = [], 0
    while at + 61 <= len(log):
        base, length = struct.unpack_from(">qi", log, at)
        last_delta, = struct.unpack_from(">i", log, at + 23)
        count, = struct.unpack_from(">i", log, at + 57)
        found.append((base, base + last_delta, count, at))
        at += 12 + length
    return found


def batches_of(broker, topic):
    """Those in the broker's files."""
    logs = sorted((broker.data / "log" / f"{topic}-0").glob("*.log"))
    return [batch for log in logs for batch in batches_in(log.read_bytes())]


def test_compaction(broker, rng):
    """Batches with holes at their beginning, in the middle and at their end, and batches of which nothing is left."""
    broker.create_topic("compacted", 1, {
        "cleanup.policy": "compact", "segment.ms": 200, "min.cleanable.dirty.ratio": 0.01, "min.compaction.lag.ms": 0,
        "max.compaction.lag.ms": 500, "delete.retention.ms": 100, "file.delete.delay.ms": 100})
    written = 0
    for round_number in range(6):
        # A producer's last batch stays, emptied, so that the broker knows its sequence: all of it is overwritten later.
        client = producer(broker, rng, **{"enable.idempotence": True, "batch.num.messages": 10, "linger.ms": 100})
        for i in range(40):
            once = i < 30 and rng.random() < 0.1
            key = b"once-%d-%d" % (round_number, i) if once else b"k%d" % rng.randrange(15)
            client.produce("compacted", key=key, value=None if rng.random() < 0.1 else b"v%d" % written, partition=0)
            written += 1
        assert client.flush(30) == 0
        time.sleep(0.3)
    deadline = time.monotonic() + 180
    while True:
        # Segments roll when something is appended.
        client = producer(broker, rng)
        client.produce("compacted", key=b"roll", value=b"x", partition=0)
        assert client.flush(30) == 0
        written += 1
        left = len(dump(broker, "compacted", "messages"))
        if left < written / 2:
            break
        assert time.monotonic() < deadline, f"{left} of {written} records are left: no compaction within 60 s"
        time.sleep(0.5)
    # Nothing rolls a segment any more: what there is to compact comes to an end.
    before, same = None, 0
    while same < 2:
        now = dump(broker, "compacted", "messages")
        same = same + 1 if now == before else 0
        assert time.monotonic() < deadline + 60, "compaction goes on and on"
        before = now
        time.sleep(3)
    counts = batches_of(broker, "compacted")
    assert any(0 < count < last - base + 1 for base, last, count, _ in counts), f"no batch with holes: {counts}"
    assert any(count == 0 for _, _, count, _ in counts), f"no batch of which nothing is left: {counts}"
    lines = compare(broker, "compacted", rng.randrange(1, 1000))
    assert len(lines) == sum(count for _, _, count, _ in counts)


def test_both_kinds_of_time(broker, rng):
    broker.create_topic("append-time", 1, {"message.timestamp.type": "LogAppendTime"})
    produce(producer(broker, rng, **{"batch.num.messages": 50}), "append-time", rng, 500, 1)
    lines = compare(broker, "append-time", rng.randrange(1, 1000))
    assert len(lines) == 500 and all(line.split()[3] == "LOG" for line in lines)
    broker.create_topic("create-time", 1, {"message.timestamp.type": "CreateTime"})
    produce(producer(broker, rng, **{"batch.num.messages": 50}), "create-time", rng, 500, 1)
    assert all(line.split()[3] == "PRODUCER" for line in compare(broker, "create-time", 1))


def log_file(broker, topic):
    return broker.data / "log" / f"{topic}-0" / "00000000000000000000.log"


@contextlib.contextmanager
def stopped(broker):
    broker.stop()
    yield
    broker.start()


def old_message(offset, magic, key, value, attributes=0):
    """Of format 0 or 1."""
    def sized(part):
        return struct.pack(">i", -1) if part is None else struct.pack(">i", len(part)) + part

    body = struct.pack(">bb", magic, attributes) + (struct.pack(">q", 1_600_000_000_000 + offset) if magic else b"")
    body += sized(key) + sized(value)
    return struct.pack(">qiI", offset, len(body) + 4, zlib.crc32(body)) + body


def start_with(broker, logs):
    """Restarts the broker with these bytes as the logs of these topics, which are empty."""
    with stopped(broker):
        for topic, log in logs.items():
            log_file(broker, topic).write_bytes(log)
            # As after a crash: the broker reads the log through and makes its indexes anew.
            for path in log_file(broker, topic).parent.iterdir():
                if path.suffix in (".index", ".timeindex", ".snapshot"):
                    path.unlink()
        for path in (broker.data / "log").glob("*checkpoint"):
            path.unlink()
        (broker.data / "log" / ".kafka_cleanshutdown").unlink(missing_ok=True)


def test_what_old_brokers_and_bad_disks_leave(broker, rng):
    """Restarts are what takes time: one brings all logs of old formats, one finds all that was damaged meanwhile."""
    damages = {"damaged-value": damaged_value, "damaged-length": damaged_length, "damaged-count": damaged_count}
    for topic in ("old", "old-damaged", *damages):
        broker.create_topic(topic, 1)
    for topic in damages:
        client = producer(broker, rng, **{"compression.type": "none", "enable.idempotence": True, "batch.num.messages": 10,
                                          "batch.size": 1_000_000, "linger.ms": 200})
        for i in range(50):
            client.produce(topic, value=b"value-%02d" % i, partition=0)
        assert client.flush(30) == 0
    start_with(broker, {"old": log_of_old_formats(), "old-damaged": b"".join(old_message(i, 1, b"k", b"value-%02d" % i) for i in range(20))})
    old_formats_come_as_messages(broker, rng)
    with stopped(broker):
        path = log_file(broker, "old-damaged")
        path.write_bytes(path.read_bytes().replace(b"value-07", b"value-77"))
        good = {}
        for topic, damaged in damages.items():
            path = log_file(broker, topic)
            good[topic] = path.read_bytes()
            path.write_bytes(damaged(good[topic]))
    damage_among_old_messages_ends_reading(broker)
    damage_is_told(broker, good)


def log_of_old_formats():
    """Records of formats 0 and 1, plain and wrapped."""
    def gzipped(data):
        pack = zlib.compressobj(wbits=31)
        return pack.compress(data) + pack.flush()

    inner = b"".join(old_message(i, 1, b"in", b"wrapped-%d" % i) for i in range(5))
    log = b"".join(old_message(i, 0, None, b"zero-%d" % i) for i in range(3))
    log += b"".join(old_message(i, 1, b"k", b"one-%d" % i) for i in range(3, 6))
    return log + old_message(10, 1, None, gzipped(inner), attributes=1)


def old_formats_come_as_messages(broker, rng):
    """With new ones behind them."""
    produce(producer(broker, rng), "old", rng, 100, 1)
    lines = compare(broker, "old", rng.randrange(1, 1000))
    assert len(lines) == 11 + 100, len(lines)


def damage_among_old_messages_ends_reading(broker):
    """librdkafka goes on behind a message whose checksum is wrong. Nobody may take that for a hole in the log."""
    for delivery in DELIVERIES:
        assert len(dump(broker, "old-damaged", delivery)) == 20
        said = dump(broker, "old-damaged", delivery, check_crcs="true", fails="failed CRC32 check")
        assert "old-damaged[0] is read up to 7\n" in said, said


def changed(log, at, byte):
    return log[:at] + bytes([byte]) + log[at + 1:]


def batch_of_value_25(log):
    """Base offset, and place."""
    return next((base, at) for base, last, _, at in batches_in(log) if base <= 25 <= last)


def damaged_value(log):
    """Only the checksum can tell."""
    return changed(log, log.index(b"value-25"), ord("V"))


def damaged_length(log):
    """The length of a record stands six bytes before its value, then varints of one byte: no key, and 8 bytes of value."""
    value = log.index(b"value-25")
    assert log[value - 5] == 0 and log[value - 2:value] == bytes([1, 16]), log[value - 6:value]
    return changed(log, value - 6, 0x7E)


def damaged_count(log):
    """The number of records is the header's last: one that the batch has not must not be missed."""
    _, at = batch_of_value_25(log)
    return changed(log, at + 60, log[at + 60] + 1)


def damage_is_told(broker, good):
    """What the broker's disk has changed: the checksum tells, or what is read of it; nothing is left out in silence."""
    begin, _ = batch_of_value_25(good["damaged-value"])
    for delivery in DELIVERIES:
        assert len(dump(broker, "damaged-value", delivery)) == 50
        said = dump(broker, "damaged-value", delivery, check_crcs="true", fails="failed CRC32C check")
        assert f"damaged-value[0] is read up to {begin}\n" in said, said
    if "batches" not in DELIVERIES:
        return
    dump(broker, "damaged-length", "batches", fails="cannot be read")
    dump(broker, "damaged-length", "batches", check_crcs="true", fails="failed CRC32C check")
    dump(broker, "damaged-count", "batches", fails="it has fewer records than its header says")


def main():
    print(f"seed {ARGUMENTS.seed}")
    rng = random.Random(ARGUMENTS.seed)
    tests = [value for name, value in sorted(globals().items()) if name.startswith("test_")]
    # The records' times are random: none is too old to be kept, and a segment need not end for them.
    config = {"log.cleaner.backoff.ms": 200, "message.max.bytes": 20_000_000, "log.retention.ms": -1,
              "log.roll.ms": 2**62}
    with Broker(libs=ARGUMENTS.libs, config=config) as broker:
        for test in tests:
            begun = time.monotonic()
            test(broker, rng)
            print(f"{test.__name__}: {time.monotonic() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main()
