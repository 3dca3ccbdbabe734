"""Goal: over links of every kind between a broker and us, a topic is read whole, as over none: answers that come in dribbles, without their
last bytes for a while, cut off in their midst or standing still, into receive buffers of any size. It holds librdkafka to
third_party/librdkafka/receive.patch: who waits for most of an answer must not wait for more than comes.

    link_test.py [--seed N] KAFKA_DUMP_RECORDS
"""
import argparse
import random
import subprocess
import time

import confluent_kafka
from broker import Broker
from link import Link, put_behind

TOPIC = "linked"


class RoughLink(Link):
    """`pass_on(send, data)` sends what came from the broker, or raises to cut the connection."""

    def __init__(self, port, target):
        self.pass_on, self.cuts = None, 0
        super().__init__(port, target)

    def ways(self):
        return piecewise(lambda send, data: send(data)), piecewise(self.pass_on)


def piecewise(pass_on):
    def way(source, sink):
        while data := source.recv(1 << 20):
            pass_on(sink.sendall, data)
    return way


def plain(_):
    return lambda send, data: send(data)


def dribbles(rng):
    def pass_on(send, data):
        while data:
            size = rng.choice([1, 7, 100, 5_000, 65_535, 65_536, 65_537, 200_000])
            send(data[:size])
            data = data[size:]
            time.sleep(rng.choice([0, 0, 0.001]))
    return pass_on


def late_ends(rng):
    def pass_on(send, data):
        size = rng.choice([1, 3, 8, 1000, 70_000])
        send(data[:-size])
        time.sleep(0.02)
        send(data[-size:])
    return pass_on


def cuts(rng, link):
    left = 0

    def pass_on(send, data):
        nonlocal left
        left = left or rng.choice([500_000, 3_000_000, 12_000_000, 20_000_000])  # Some answers must come whole.
        if len(data) < left:
            left -= len(data)
            return send(data)
        send(data[:left])
        left, link.cuts = 0, link.cuts + 1
        raise OSError("cut")
    return pass_on


def stands_still(link):
    """Once, in the midst of an answer, for longer than the client waits for one."""
    def pass_on(send, data):
        if link.cuts == 0 and len(data) > 300_000:
            link.cuts = 1
            send(data[:200_000])
            time.sleep(5)
            send(data[200_000:])
        else:
            send(data)
    return pass_on


def dump(program, brokers, properties=()):
    done = subprocess.run([program, brokers, TOPIC, "batches", "0", *properties], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{properties}: exit {done.returncode}\n{done.stderr}"
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1, 10**6))
    parser.add_argument("program")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    rng = random.Random(arguments.seed)

    broker = Broker()
    inner, outer = put_behind(broker)
    with broker:
        broker.create_topic(TOPIC, 3)
        client = confluent_kafka.Producer({"bootstrap.servers": broker.address, "enable.idempotence": True, "batch.size": 1_000_000,
                                           "message.max.bytes": 1_000_000})
        for i in range(3_000):
            size = rng.choice([0, 10, 300, 5_000, 5_000, 20_000]) if i % 100 else 900_000
            client.produce(TOPIC, rng.randbytes(size), partition=rng.randrange(3))
            client.poll(0)
        assert client.flush(120) == 0
        want = dump(arguments.program, broker.address)
        assert want.count("\n") == 3_000 and len(want) > 60_000_000, "large answers were made"

        link = RoughLink(outer, inner)
        large = ["fetch.max.bytes=8000000", "max.partition.fetch.bytes=3000000", "receive.message.max.bytes=9000000"]
        cases = [(name, make, more)
                 for name, make in [("plain", plain), ("dribbles", dribbles), ("late ends", late_ends), ("cuts", lambda r: cuts(r, link))]
                 for more in (large, ["socket.receive.buffer.bytes=100000"])]
        cases += [("plain, a small buffer", plain, ["socket.receive.buffer.bytes=4096"]),
                  ("stands still", lambda _: stands_still(link), [*large, "socket.timeout.ms=2000", "fetch.wait.max.ms=500"])]
        for name, make, more in cases:
            link.cuts, link.pass_on = 0, make(rng)
            began = time.monotonic()
            got = dump(arguments.program, f"127.0.0.1:{outer}", [*more, "reconnect.backoff.max.ms=300"])
            assert got == want, f"{name} {more}: {len(got)} characters of records, not {len(want)}"
            assert link.cuts > 0 or not name.startswith(("cuts", "stands")), f"{name}: nothing was cut"
            print(f"{name} {more}: {time.monotonic() - began:.1f} s, {link.cuts} cuts", flush=True)
    print(f"{len(cases)} passed, 0 failed")


main()
