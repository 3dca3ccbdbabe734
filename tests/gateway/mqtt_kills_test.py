"""Goal: whatever dies, what was acknowledged over MQTT is in the log: to a device by the gateway's own door, and to a device by a broker that keeps
what it has acknowledged until we acknowledge it.

Method: devices (paho, QoS 1) publish to both doors while the gateway is killed with kill -9, and the broker is restarted in order, frozen and resumed;
what is not acknowledged they send again. At the end the log is read. The subscription is not a shared one: those mosquitto 2.0.11 forgets when it is
restarted. mosquitto that is killed with kill -9 may lose what it has acknowledged, whoever its
clients are; so that is done once, after all has been counted: the gateway must find its way back.

    mqtt_kills_test.py MILLRACE READ_LOG [SECONDS]
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

import paho.mqtt.client as paho

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kafka"))
from broker import free_port  # noqa: E402
from mosquitto import Mosquitto  # noqa: E402
from running import Gateway, records  # noqa: E402

BINARY, READER = sys.argv[1:3]
SECONDS = int(sys.argv[3]) if len(sys.argv) > 3 else 25
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="millrace-gateway-mqtt-kills-"))


class Device(threading.Thread):
    """Publishes one message after the other, each until it is acknowledged; paho connects again and sends again.

    paho calls on_publish with its own lock held, which publish() takes too: so no lock of ours is held at either, and what is acknowledged goes by a
    queue to the one thread that has `waiting`.
    """

    def __init__(self, port, number, stop, version):
        super().__init__(daemon=True)
        self.port, self.number, self.stop = port, number, stop
        self.acked, self.waiting, self.acknowledged = [], {}, collections.deque()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"device-{number}", protocol=version)
        self.client.reconnect_delay_set(0.05, 0.5)
        self.client.on_publish = self.on_publish

    def on_publish(self, _client, _data, message, code, _properties):
        assert not code.is_failure, code
        self.acknowledged.append(message)

    def run(self):
        self.client.connect_async("127.0.0.1", self.port, keepalive=5)
        self.client.loop_start()
        i = 0
        while not self.stop.is_set() or self.waiting:
            while self.acknowledged:
                self.acked.append(self.waiting.pop(self.acknowledged.popleft()))
            # Without a connection it is sent later.
            if not self.stop.is_set() and len(self.waiting) < 10:
                event = json.dumps({"event_id": f"{self.number}-{i}"})
                self.waiting[self.client.publish(f"site/x/dev/{self.number}", event, qos=1).mid] = event
                i += 1
            time.sleep(0.005)
        self.client.disconnect()
        self.client.loop_stop()


def disturb(gateway, broker, seconds):
    end, kills, restarts, rng = time.monotonic() + seconds, 0, 0, random.Random(7)
    while time.monotonic() < end or kills <= 5 or restarts <= 1:
        time.sleep(rng.uniform(0.3, 2))
        what = rng.random()
        if what < 0.25:
            broker.stop()
            time.sleep(rng.uniform(0, 0.5))
            broker.start()
            restarts += 1
        elif what < 0.45:
            broker.suspend()
            time.sleep(rng.uniform(0.2, 1))
            if rng.random() < 0.5:
                gateway.kill()
                kills += 1
            broker.resume()
            if gateway.process.poll() is not None:
                gateway.start(ready=False)
        else:
            gateway.kill()
            gateway.start(ready=False)
            kills += 1
    return kills, restarts


def until(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def settled(gateway):
    """Nothing has come for two seconds while the broker has us."""
    last = None
    for _ in range(60):
        now = (gateway.metric("millrace_gateway_mqtt_connected"), gateway.metric("millrace_gateway_mqtt_messages_total"))
        if now == last and now[0] == 1:
            return
        last = now
        time.sleep(2)
    raise AssertionError("messages do not end")


def main():
    broker = Mosquitto(FOLDER / "broker", free_port()).start()
    port = free_port()
    mqtt = (f'{{broker: "mqtt://127.0.0.1:{broker.port}", subscribe: [{{filter: "site/+/dev/+", topic: clicks, key: "{{2}}"}}], '
            f'listen: "127.0.0.1:{port}", accept: [{{filter: "site/+/dev/+", topic: clicks, key: "{{2}}"}}]}}')
    gateway = Gateway(BINARY, FOLDER, free_port(), mqtt=mqtt).start()
    until("the broker lets us in", lambda: gateway.metric("millrace_gateway_mqtt_connected") == 1)
    stop = threading.Event()
    devices = [Device(broker.port if number % 2 else port, number, stop, paho.MQTTv5 if number % 3 else paho.MQTTv311) for number in range(8)]
    for device in devices:
        device.start()
    kills, restarts = disturb(gateway, broker, SECONDS)
    stop.set()
    for device in devices:
        device.join(60)
        assert not device.is_alive(), f"device {device.number} waits for acknowledgements"
    settled(gateway)
    gateway.stop()
    where = "embedded:" + str(FOLDER / "log")
    found = collections.Counter(record["payload"] for record in records(READER, where, "clicks"))
    for door, mine in (("broker", [d for d in devices if d.number % 2]), ("listener", [d for d in devices if not d.number % 2])):
        acked = [event for device in mine for event in device.acked]
        lost = [event for event in acked if event not in found]
        assert not lost and len(acked) > 200, (door, len(lost), len(acked), lost[:5])
        print(f"{door}: {len(acked)} acknowledged, none lost, {sum(found[event] - 1 for event in acked)} repeated")
    assert set(found) == {event for device in devices for event in device.acked}, "nothing that nobody sent"
    gateway.start()
    until("the broker lets us in", lambda: gateway.metric("millrace_gateway_mqtt_connected") == 1)
    broker.kill()
    broker.start()
    until("it is noticed", lambda: "again in" in (FOLDER / "gateway.log").read_text())
    until("the broker lets us in again", lambda: gateway.metric("millrace_gateway_mqtt_connected") == 1)
    last = paho.Client(paho.CallbackAPIVersion.VERSION2)
    last.connect("127.0.0.1", broker.port)
    last.loop_start()
    time.sleep(0.5)  # The subscription has to come before it.
    last.publish("site/x/dev/last", "{}", qos=1).wait_for_publish(10)
    until("and sends what is published", lambda: gateway.metric("millrace_gateway_mqtt_messages_total") >= 1)
    last.loop_stop()
    gateway.stop()
    broker.stop()
    print(f"{kills} kills, {restarts} restarts of the broker: passed")
    shutil.rmtree(FOLDER)


main()
