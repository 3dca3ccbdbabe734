"""Goal: whatever dies, an answer of 202 holds: each event of it is in the log once, as it was sent, if it had an Idempotency-Key; and at least
once if it had none. What was sent again with the same key until it was answered is there once.

Method: clients send batches, with and without keys, while the gateway is killed (and Kafka's broker too); a client that gets no answer, or is told to come
back, sends the same again. At the end the log is read.

    kills_test.py MILLRACE READ_LOG embedded|kafka [SECONDS]
"""
import collections
import json
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kafka"))
from broker import Broker, free_port  # noqa: E402
from running import Gateway, records  # noqa: E402

BINARY, READER, KIND = sys.argv[1:4]
SECONDS = int(sys.argv[4]) if len(sys.argv) > 4 else 20
CLIENTS = 8
ANSWERED_MIN = 20  # Batches of each client.
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix=f"millrace-gateway-kills-{KIND}-"))


class Client(threading.Thread):
    """Sends one batch after the other, each until it is answered for good."""

    def __init__(self, gateway, number, stop):
        super().__init__(daemon=True)  # So that a failure elsewhere ends the test.
        self.gateway, self.number, self.stop = gateway, number, stop
        self.random = random.Random(number)
        self.keyed = number % 4 != 0
        self.answered, self.again, self.answers = [], 0, collections.Counter()
        self.failure = None

    def run(self):
        try:
            self.send_batches()
        except Exception as error:  # Of this thread: told by the one that waits for it.
            self.failure = error

    def send_batches(self):
        batch = 0
        while not self.stop.is_set():
            events = [json.dumps({"event_id": f"{self.number}-{batch}-{i}", "n": self.random.randrange(1 << 40)}) for i in
                      range(self.random.choice([1, 1, 3, 200]))]
            headers = {"Idempotency_Key": f"{self.number}-{batch}"} if self.keyed else {}
            while True:
                try:
                    status, answer = self.gateway.send("\n".join(events).encode(), **headers)
                except (OSError, ValueError):
                    status, answer = 0, {}
                self.answers[status] += 1
                if status == 202:
                    assert answer["accepted"] == len(events), answer
                    break
                assert status in (0, 409, 429, 503, 504), (status, answer)
                self.again += 1
                if not self.keyed:
                    events = [event.replace(f"{self.number}-{batch}-", f"{self.number}-{batch}-again{self.again}-") for event in events]
                time.sleep(0.05)
            self.answered.append((headers, events))
            batch += 1
            time.sleep(0.01)


def kill_at_random(gateway, broker, seconds):
    """For so long, and until it was killed often enough; how often the gateway was killed."""
    end, kills, rng = time.monotonic() + seconds, 0, random.Random(7)
    while time.monotonic() < end or kills < SECONDS // 8:
        time.sleep(rng.uniform(0.3, 2.5))
        what = rng.random()
        if broker is not None and what < 0.2:
            broker.kill()
            time.sleep(rng.uniform(0, 1))
            broker.restart()
        elif broker is not None and what < 0.4:
            broker.suspend()
            time.sleep(rng.uniform(0.5, 2))
            if rng.random() < 0.5:
                gateway.kill()
                broker.resume()
                gateway.start(ready=False)
                kills += 1
            else:
                broker.resume()
        else:
            gateway.kill()
            gateway.start(ready=False)
            kills += 1
    return kills


def run(gateway, broker, where):
    stop = threading.Event()
    clients = [Client(gateway, number, stop) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    kills = kill_at_random(gateway, broker, SECONDS)
    deadline = time.monotonic() + 180
    while any(client.failure is None and len(client.answered) < ANSWERED_MIN for client in clients):
        assert time.monotonic() < deadline, "clients are not answered any more"
        time.sleep(0.05)
    stop.set()
    for client in clients:
        client.join(180)
        assert not client.is_alive(), "a client is never answered"
        assert client.failure is None, client.failure
    gateway.stop()

    there = collections.Counter(record["payload"] for record in records(READER, where, "clicks"))
    keyed = [event for client in clients if client.keyed for _, events in client.answered for event in events]
    plain = [event for client in clients if not client.keyed for _, events in client.answered for event in events]
    lost = [event for event in keyed + plain if there[event] == 0]
    doubled = [event for event in keyed if there[event] > 1] + [event for event in plain if there[event] > 1]
    answers = sum((client.answers for client in clients), collections.Counter())
    print(f"{KIND}: {kills} kills in {SECONDS} s, {len(keyed)} events with keys and {len(plain)} without, answers {dict(answers)}", flush=True)
    assert kills >= SECONDS // 8 and len(keyed) > 100 and len(plain) > 20, "too little happened"
    assert sum(client.again for client in clients if client.keyed) > kills, "nothing was sent again"
    assert not lost, f"{len(lost)} events were answered and are not there: {lost[:3]}"
    assert not doubled, f"{len(doubled)} events are there twice: {doubled[:3]}"
    answered, plain_clients = set(keyed), {client.number for client in clients if not client.keyed}
    # What nobody was told of, of a client with keys, would be a request that was cut off and not taken up again.
    unknown = [payload for payload in there if payload not in answered and int(json.loads(payload)["event_id"].split("-")[0]) not in plain_clients]
    assert not unknown, f"{len(unknown)} events of keys that were never answered: {unknown[:3]}"


def main():
    if KIND == "embedded":
        run(Gateway(BINARY, FOLDER, free_port()).start(), None, "embedded:" + str(FOLDER / "log"))
    else:
        with Broker() as broker:
            broker.create_topic("clicks", partitions=3)
            source = f'kafka: {{bootstrap.servers: "{broker.address}"}}'
            run(Gateway(BINARY, FOLDER, free_port(), source=source).start(), broker, "kafka:" + broker.address)
    shutil.rmtree(FOLDER)
    print("passed")


main()
