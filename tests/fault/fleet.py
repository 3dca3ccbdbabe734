#!/usr/bin/env python3
"""A fleet with every fault comes in by every door while everything dies; each event that was acknowledged is where its truth says.

    fleet.py [--events N] [--rate R] [--seed S] [--soak]

Four parts of a fleet of sensors send at once, each with its own truth and into a topic of its own: to Kafka itself, to the gateway over HTTP,
to its MQTT listener, and to mosquitto, whose client the gateway is. Meanwhile the gateway and the worker are killed with kill -9, and so is
Kafka, which keeps what it has acknowledged when its process dies (only a power loss could take it); mosquitto, which may lose what it has
acknowledged when it is killed, is restarted in order, with its store. Both brokers are also frozen for a while.

Kafka's producer is idempotent and HTTP has Idempotency-Keys: those two topics hold each event once, and their table is without `dedupe`. MQTT
delivers at least once: of what those topics hold twice `dedupe` leaves one row. What decides is `millrace audit --truth`; beside it
  - DuckDB compares the rows of the tables with the truths, with nothing of ours in between;
  - the records of the topics are counted: what exceeds the acknowledged events is exactly what audit says was left out or taken twice.
"""

import argparse
import collections
import json
import pathlib
import random
import subprocess
import sys
import time

import duckdb
from confluent_kafka import Consumer, TopicPartition
from deltalake import DeltaTable

import harness
from harness import Failure, Worker, say, wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "gateway"))
from mosquitto import Mosquitto  # noqa: E402
from running import Gateway  # noqa: E402

PARTITIONS = 4
ONCE, AT_LEAST_ONCE = ("direct", "web"), ("listened", "brokered")  # Topics, by how they are delivered.
FAULTS = ("--devices", "5000", "--late", "5%", "--duplicates", "2%", "--malformed", "1%", "--sensor-faults", "2%", "--wrong-clocks", "5%")
MAX_FUTURE_S = 300

PIPELINE = """version: 1
pipeline: fleet
source: {{kafka: {{bootstrap.servers: "{brokers}", session.timeout.ms: 6000, heartbeat.interval.ms: 1000, reconnect.backoff.max.ms: 1000}}}}
inputs:
  - name: once
    topics: [direct, web]
    decode: &reading
      columns: {{event_id: string, ts: timestamp, device_id: string, temperature_c: double, seq: int64}}
      unknown_fields: ignore
    event_time: {{column: ts, max_future: 5m}}
  - name: repeated
    topics: [listened, brokered]
    decode: *reading
    event_time: {{column: ts, max_future: 5m}}
    dedupe: {{by: event_id, within: 7d, path: {folder}/state}}
tables:
  - {{name: once, from: once, commit: {{interval: 1s}}}}
  - {{name: repeated, from: repeated, commit: {{interval: 1s}}}}
lake: {{uri: {folder}/lake}}
limits: {{memory: 512MiB}}
serve: {{listen: "127.0.0.1:{port}"}}
log: {{level: info}}
"""
DOORS = """gateway:
  http: {{topics: {{web: {{key: device_id}}}}}}
  mqtt:
    broker: mqtt://127.0.0.1:{mqtt_broker}
    subscribe: [{{filter: fleet/brokered/+, topic: brokered, key: "{{1}}"}}]
    listen: 127.0.0.1:{mqtt_listen}
    accept: [{{filter: fleet/listened/+, topic: listened, key: "{{1}}"}}]
"""


class Simulator:
    """A part of the fleet on its way to one topic."""

    def __init__(self, folder, topic, to, count, rate, seed):
        self.topic, self.count = topic, count
        self.truth, self.log_path = folder / f"{topic}.parquet", folder / f"simulate-{topic}.log"
        command = [harness.binary(), "simulate", "iot", "--count", str(count), "--rate", str(rate), "--seed", str(seed), *FAULTS, "--to", to,
                   "--truth", str(self.truth)]
        with self.log_path.open("w") as log:
            self.process = harness.start(command, log)

    def is_sending(self):
        status = self.process.poll()
        if status not in (None, 0):
            raise Failure(f"simulate to {self.topic} ended with status {status}:\n{self.log_path.read_text()}")
        return status is None


class Fleet:
    def __init__(self, arguments, folder, broker):
        self.random = random.Random(arguments.seed)
        self.arguments, self.folder, self.broker = arguments, folder, broker
        self.happened = collections.Counter()
        self.mosquitto = Mosquitto(folder / "mosquitto", harness.free_port())
        self.listen = harness.free_port()
        doors = DOORS.format(mqtt_broker=self.mosquitto.port, mqtt_listen=self.listen)
        port = harness.free_port()
        self.gateway = Gateway(harness.binary(), folder, port, configuration=self.pipeline(port) + doors)

    def __enter__(self):
        for topic in (*ONCE, *AT_LEAST_ONCE):
            self.broker.create_topic(topic, partitions=PARTITIONS)
        self.mosquitto.start()
        self.gateway.start()
        wait_for(self.is_subscribed, "mosquitto to let the gateway in")
        self.worker = self.start_worker()
        return self

    def __exit__(self, *_error):
        if self.gateway.process is not None:
            self.gateway.kill()
        self.mosquitto.stop()

    def pipeline(self, port):
        return PIPELINE.format(brokers=self.broker.address, folder=self.folder, port=port)

    def start_worker(self, *arguments):
        self.happened["starts"] += 1
        return Worker(self.folder, f"worker-{self.happened['starts']:03}", pipeline=self.pipeline, arguments=arguments)

    def is_subscribed(self):
        return self.gateway.metric("millrace_gateway_mqtt_connected") == 1

    def send(self):
        """Until everything is acknowledged, whatever dies."""
        each = self.arguments.events // 4
        places = {"direct": f"kafka://{self.broker.address}/direct", "web": f"http://127.0.0.1:{self.gateway.port}/web",
                  "listened": f"mqtt://127.0.0.1:{self.listen}/fleet/listened", "brokered": f"mqtt://127.0.0.1:{self.mosquitto.port}/fleet/brokered"}
        simulators = [Simulator(self.folder, topic, to, each, self.arguments.rate / 4, self.arguments.seed * 10 + i)
                      for i, (topic, to) in enumerate(places.items())]
        while any([simulator.is_sending() for simulator in simulators]):
            # A deck, so that each thing happens as often as planned while there is time.
            deck = ["gateway"] * 3 + ["worker"] * 3 + ["kafka", "freeze kafka", "mosquitto", "freeze mosquitto"]
            self.random.shuffle(deck)
            for what in deck:
                time.sleep(self.random.uniform(0.3, 2))
                if not any([simulator.is_sending() for simulator in simulators]):
                    break
                self.disturb(what)
                self.happened[what] += 1
        return simulators

    def disturb(self, what):
        if what == "gateway":
            self.gateway.kill()
            self.gateway.start(ready=False)
        elif what == "worker":
            self.worker.kill()
            self.worker = self.start_worker()
        elif what == "kafka":
            self.broker.kill()
            self.broker.start()
        elif what == "mosquitto":
            self.mosquitto.stop()
            self.mosquitto.start()
        else:
            broker = self.broker if what == "freeze kafka" else self.mosquitto
            broker.suspend()
            time.sleep(self.random.uniform(0.2, 1.5))
            broker.resume()

    def finish(self):
        """Everything that mosquitto has is in the log, and everything there is in the lake."""
        last = [None, 0]

        def is_quiet():
            now = (self.is_subscribed(), self.gateway.metric("millrace_gateway_mqtt_messages_total"))
            last[:] = (now, last[1] + 1) if now == last[0] and now[0] else (now, 0)
            return last[1] == 6
        wait_for(is_quiet, "the last messages of mosquitto", every_s=0.5)
        self.gateway.stop()
        self.mosquitto.stop()
        self.worker.stop()
        self.start_worker("--until-end").expect_exit(0, 600)

    def records(self, topic):
        consumer = Consumer({"bootstrap.servers": self.broker.address, "group.id": "count"})
        count = 0
        for partition in range(PARTITIONS):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            count += high - low
        consumer.close()
        return count

    def audit(self, simulators):
        truths = [flag for simulator in simulators for flag in ("--truth", str(simulator.truth))]
        command = [harness.binary(), "audit", "-c", str(self.worker.config), *truths, "-o", "json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise Failure(f"audit ends with {done.returncode}: {done.stderr or json.dumps([json.loads(done.stdout)[k] for k in ('tables', 'truth')])}")
        return json.loads(done.stdout)


def check_accounts(fleet, report):
    """What audit says was sent, found and left out is what lies in the topics."""
    truth = {topic["topic"]: topic for topic in report["truth"]}
    books = {table["name"]: table for table in report["tables"]}
    for table, topics in (("once", ONCE), ("repeated", AT_LEAST_ONCE)):
        acknowledged = {topic: truth[topic]["acknowledged"] for topic in topics}
        records = {topic: fleet.records(topic) for topic in topics}
        found = [truth[topic]["tables"][0] for topic in topics]
        unknown = sum(truth[topic]["unknown"] for topic in topics)
        if unknown:
            raise Failure(f"{unknown} events of {topics} were sent, and nobody said what became of them")
        if table == "once" and records != acknowledged:
            raise Failure(f"the topics hold {records} records of {acknowledged} acknowledged events")
        repeats = sum(records.values()) - sum(acknowledged.values())
        told = sum(one["taken_twice"] - one["repeats_left_out"] for one in found) + books[table]["deduplicated"]
        if repeats != told:
            raise Failure(f"{table}: {repeats} records beyond the acknowledged events, and audit knows of {told}")
        if books[table]["read"] != sum(records.values()):
            raise Failure(f"{table}: {books[table]['read']} records read of {sum(records.values())}")
        fleet.happened[f"repeats of {table}"] = repeats
    for topic in truth.values():
        kinds = {kind: topic[kind] for kind in ("late", "duplicates", "malformed")}
        if min(kinds.values()) < topic["sent"] // 200 or topic["tables"][0]["letters_of_future"] == 0:
            raise Failure(f"not every fault is on: {topic}")
    if sum(truth["web"]["tables"][0][letters] for letters in ("letters_of_malformed", "letters_of_future")) == 0 or truth["web"]["refused"] == 0:
        raise Failure(f"the gateway has not refused what is no JSON: {truth['web']}")


def check_rows(fleet, simulators):
    """As audit does, by other means: each id as often as it was acknowledged, or once; only clocks that are ahead excuse an absence."""
    for table, topics in (("once", ONCE), ("repeated", AT_LEAST_ONCE)):
        lake = DeltaTable(str(fleet.folder / "lake" / table)).to_pyarrow_dataset()  # noqa: F841  (DuckDB finds it by its name)
        for simulator in (simulator for simulator in simulators if simulator.topic in topics):
            must = "least(n, 1)" if table == "repeated" else "n"
            wrong, rows = duckdb.execute(f"""
                WITH sent AS (SELECT event_id, count(*) AS n, bool_or(epoch(event_time) > epoch(sent_at) + {MAX_FUTURE_S - 1}) AS is_ahead
                              FROM read_parquet('{simulator.truth}') WHERE fate <> 'malformed' AND outcome = 'acknowledged' GROUP BY ALL),
                     stored AS (SELECT event_id, count(*) AS m FROM lake WHERE _topic = '{simulator.topic}' GROUP BY ALL)
                SELECT count(*) FILTER (coalesce(m, 0) <> coalesce({must}, 0) AND NOT (coalesce(is_ahead, false) AND coalesce(m, 0) < n)),
                       coalesce(sum(m), 0) FROM sent FULL JOIN stored USING (event_id)""").fetchone()
            if wrong or rows < simulator.count * 0.9:
                raise Failure(f"{simulator.topic}: {wrong} ids are not as often in {table} as they should be, of {rows} rows")


def run(arguments, folder):
    with harness.Broker() as broker, Fleet(arguments, folder, broker) as fleet:
        begun = time.monotonic()
        simulators = fleet.send()
        sent_s = time.monotonic() - begun
        fleet.finish()
        settled_s = time.monotonic() - begun
        report = fleet.audit(simulators)
        check_accounts(fleet, report)
        check_rows(fleet, simulators)
    for topic in report["truth"]:
        table = topic["tables"][0]
        say(f"{topic['topic']}: {topic['sent']} sent ({topic['late']} late, {topic['duplicates']} duplicates, {topic['malformed']} malformed), "
            f"{topic['acknowledged']} acknowledged, {topic['refused']} refused; {table['rows']} rows, {table['letters_of_malformed']} letters of "
            f"malformed, {table['letters_of_future']} of clocks ahead, {table['taken_twice']} taken twice: settled")
    say(f"{arguments.events} events sent in {sent_s:.0f} s, settled after {settled_s:.0f} s: {dict(fleet.happened)}")
    few = [what for what, least in (("gateway", 3), ("worker", 3), ("kafka", 1), ("mosquitto", 1)) if fleet.happened[what] < least]
    if few:
        raise Failure(f"too little happened to {few}: {dict(fleet.happened)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int)
    parser.add_argument("--rate", type=int, help="events a second through all doors together")
    parser.add_argument("--seed", type=int, default=random.randrange(1, 1 << 30))
    parser.add_argument("--soak", action="store_true", help="5 million events")
    arguments = parser.parse_args()
    arguments.events = arguments.events or (5_000_000 if arguments.soak else 200_000)
    arguments.rate = arguments.rate or (32_000 if arguments.soak else 8_000)
    harness.die_on_signals()
    say(f"seed {arguments.seed}")
    with harness.Workspace("fleet") as folder:
        run(arguments, folder)
    say("passed")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        say(f"FAILED: {failure}")
        sys.exit(1)
