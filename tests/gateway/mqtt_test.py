"""Goal: what docs/gateway.md says of MQTT, with real clients and a real broker, and with packets by hand.

    mqtt_test.py MILLRACE READ_LOG
"""
import json
import pathlib
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import paho.mqtt.client as paho

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kafka"))
from broker import free_port  # noqa: E402
from mosquitto import Mosquitto  # noqa: E402
from running import Gateway, records  # noqa: E402

BINARY, READER = sys.argv[1], sys.argv[2]
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="millrace-gateway-mqtt-"))
_held = 0


def claim(condition, what, details=""):
    global _held
    assert condition, f"{what}\n{details}"
    _held += 1


def until(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], cwd=FOLDER, check=True, capture_output=True)


def certificates():
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=authority")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    (FOLDER / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem")


def pub(port, topic, payload, *arguments):
    """(exit code, stderr) of mosquitto_pub."""
    done = subprocess.run(["mosquitto_pub", "-h", "localhost", "-p", str(port), "-t", topic, "-s", *arguments], input=payload, capture_output=True, timeout=30)
    return done.returncode, done.stderr.decode()


def of_a_broker():
    """TLS, a password, a shared subscription; what is published while the gateway is away comes when it is back."""
    port, folder = free_port(), FOLDER / "broker"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(FOLDER / "passwords"), "ada", "secret"], check=True, capture_output=True)
    broker = Mosquitto(folder, port, more=f"cafile {FOLDER}/ca.pem\ncertfile {FOLDER}/server.pem\nkeyfile {FOLDER}/server.key\n"
                                          f"allow_anonymous false\npassword_file {FOLDER}/passwords").start()
    own = FOLDER / "client"
    own.mkdir()
    mqtt = (f'{{broker: "mqtts://localhost:{port}", username: ada, password: secret, tls: {{ca_file: {FOLDER}/ca.pem}}, '
            'subscribe: [{filter: "$share/millrace/site/+/dev/+", topic: clicks, key: "{2}", max_event: 64KiB}]}')
    gateway = Gateway(BINARY, own, free_port(), mqtt=mqtt).start()
    there = lambda: gateway.metric("millrace_gateway_mqtt_messages_total")  # noqa: E731
    until("the broker lets us in", lambda: gateway.metric("millrace_gateway_mqtt_connected") == 1)
    login = ("--cafile", f"{FOLDER}/ca.pem", "-u", "ada", "-P", "secret")
    odd, sent = b'{"event_id": "a",  "n":12345678901234567890.10}', []
    for version in ("mqttv311", "mqttv5"):
        for qos in ("0", "1", "2"):
            claim(pub(port, "site/berlin/dev/d7", odd, "-V", version, "-q", qos, *login)[0] == 0, f"{version} with QoS {qos}")
            sent.append(odd)
    claim(pub(port, "site/x/dev/d8", b"\x00\x01 raw", "-V", "mqttv5", "-q", "1", "-D", "publish", "user-property", "trace", "t1", *login)[0] == 0, "bytes")
    pub(port, "elsewhere", b"no", "-q", "1", *login)
    until("seven messages", lambda: there() == 7)
    claim(pub(port, "site/x/dev/d8", b"x" * 70_000, "-q", "1", *login)[0] == 0, "one that is too large")
    # Beyond what we said we take at most, the broker drops it (MQTT 5, 3.1.2.11.4); else we refuse it.
    gateway.stop()
    for i in range(50):
        claim(pub(port, "site/x/dev/away", b'{"n": %d}' % i, "-q", "1", *login)[0] == 0, "while the gateway is away")
    gateway.start()
    until("what came meanwhile", lambda: there() >= 50)
    gateway.stop()
    found = records(READER, "embedded:" + str(own / "log"), "clicks")
    payloads = [record["payload"] for record in found]
    claim(payloads.count(odd.decode()) == 6 and len(found) == 57, "each once", len(found))
    away = [json.loads(record["payload"])["n"] for record in found if record.get("key") == "away"]
    claim(away == list(range(50)), "in their order", away)
    first = next(record for record in found if record["payload"] == odd.decode())
    claim(first["key"] == "d7" and first["headers"]["mqtt_topic"] == "site/berlin/dev/d7", "a key and where it came from", first)
    claim(any(record["headers"].get("trace") == "t1" and record["key"] == "d8" for record in found), "user properties")
    # `doctor` asks it as the gateway does, and disturbs none that runs.
    gateway.start()
    until("the broker lets us in", lambda: gateway.metric("millrace_gateway_mqtt_connected") == 1)
    said = (own / "gateway.log").read_text()
    claim(doctor(own)["verdict"] == "ok", "doctor: the broker lets us in", doctor(own))
    claim(gateway.metric("millrace_gateway_mqtt_connected") == 1 and (own / "gateway.log").read_text() == said, "and lets the gateway alone")
    gateway.stop()
    for was, now, found, mend in (("password: secret", "password: wrong", "refuses us: not authorized", "password"),
                                  (f"{{ca_file: {FOLDER}/ca.pem}}", f"{{ca_file: {FOLDER}/server.pem}}", "certificate", "tls.ca_file"),
                                  (f"mqtts://localhost:{port}", f"mqtts://localhost:{free_port()}", "is not there", "start the broker")):
        claim(was in (own / "gateway.yaml").read_text(), "a setting", was)
        told = doctor(own, (was, now))
        claim(told["verdict"] == "failed" and found in told["found"] and mend in told["mend"], f"doctor: {found}", told)
    # A broker that refuses us is told of, and asked again.
    (own / "gateway.yaml").write_text((own / "gateway.yaml").read_text().replace("password: secret", "password: wrong"))
    gateway.start()
    until("a refusal is told", lambda: "refuses us: not authorized" in (own / "gateway.log").read_text())
    claim(gateway.answers("/readyz"), "and the rest goes on")
    gateway.stop()
    broker.stop()


def doctor(folder, change=("", "")):
    """What it says of the broker, of a file that is changed so."""
    (folder / "doctor.yaml").write_text((folder / "gateway.yaml").read_text().replace(*change))
    done = subprocess.run([BINARY, "doctor", "-c", "doctor.yaml", "-o", "json"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.stdout, done.stderr
    return next(check for check in json.loads(done.stdout)["checks"] if check["check"] == "gateway.mqtt.broker")


def filters_come_and_go():
    """What the broker keeps of a session: in 3.1.1 what is retained comes once, and a filter that is taken out is unsubscribed."""
    broker = Mosquitto(FOLDER / "plain-broker", free_port()).start()
    for protocol in ("3.1.1", "5"):
        own = FOLDER / f"filters-{protocol}"
        own.mkdir()
        mqtt = (f'{{broker: "mqtt://127.0.0.1:{broker.port}", protocol: "{protocol}", client_id: "filters-{protocol}", '
                f'subscribe: [{{filter: "f{protocol}/+", topic: clicks}}]}}')
        gateway = Gateway(BINARY, own, free_port(), mqtt=mqtt)
        there = lambda: gateway.metric("millrace_gateway_mqtt_messages_total")  # noqa: E731, B023
        pub(broker.port, f"f{protocol}/a", b"retained", "-q", "1", "-r")
        gateway.start()
        until("what is retained", lambda: there() == 1)
        gateway.stop()
        gateway.start()
        until("the broker lets us in", lambda: gateway.metric("millrace_gateway_mqtt_connected") == 1)
        pub(broker.port, f"f{protocol}/a", b"after a restart", "-q", "1")
        until("what comes after a restart", lambda: there() == 1)
        gateway.stop()
        (own / "gateway.yaml").write_text((own / "gateway.yaml").read_text().replace(f"f{protocol}/+", f"other{protocol}/+"))
        gateway.start()
        until("it is unsubscribed", lambda: f"sends 'f{protocol}/+' no more" in (own / "gateway.log").read_text())
        pub(broker.port, f"f{protocol}/a", b"nobody wants it", "-q", "1")
        pub(broker.port, f"other{protocol}/a", b"by the new filter", "-q", "1")
        until("what the new filter matches", lambda: there() == 1)
        gateway.stop()
        found = [record["payload"] for record in records(READER, "embedded:" + str(own / "log"), "clicks")]
        claim(found == ["retained", "after a restart", "by the new filter"], f"each once, in {protocol}", found)
        (own / "gateway-state" / "mqtt-session.json").write_text("not ours")
        done = subprocess.run([BINARY, "gateway", "-c", "gateway.yaml"], cwd=own, capture_output=True, text=True, timeout=60)
        claim(done.returncode != 0 and "mqtt-session.json is damaged; remove it" in done.stderr, "damage is told", done.stderr)
    broker.stop()


AUTH = """  auth:
    tokens:
      - {token: writer, scopes: ["write:clicks", "write:counted"]}
      - {token: reader, scopes: [read]}
"""


def of_devices():
    folder, port = FOLDER / "listener", free_port()
    folder.mkdir()
    mqtt = (f'{{listen: "127.0.0.1:{port}", accept: [{{filter: "site/+/dev/+", topic: clicks, key: "{{2}}", max_event: 64KiB}}, '
            '{filter: "counted/#", topic: counted, quota: {events: 3, every: 1h}}, {filter: "slow/#", topic: clicks, rate: 20/s}, '
            '{filter: "open/#", topic: clicks, anonymous: true}]}')
    gateway = Gateway(BINARY, folder, free_port(), topics="{clicks: {}, counted: {}, strict: {}}", mqtt=mqtt, serve=AUTH).start()
    writer = ("-u", "any", "-P", "writer")
    sent = 0
    for version in ("mqttv311", "mqttv5"):
        for qos in ("0", "1"):
            claim(pub(port, "site/berlin/dev/d7", b'{"n": 1}', "-V", version, "-q", qos, *writer)[0] == 0, f"{version} with QoS {qos}")
            sent += 1
        claim(pub(port, "open/x", b'{"n": 2}', "-V", version, "-q", "1")[0] == 0, "for everybody")
        sent += 1
        code, said = pub(port, "site/a/dev/b", b"{}", "-V", version, "-q", "1", "-u", "any", "-P", "who")
        claim(code != 0 and "bad user name or password" in said.lower(), "another token", said)
    refused = [("site/a/dev/b", "reader", "Not authorized"), ("nowhere", "writer", "Topic name invalid")]
    for topic, token, why in refused:
        outcome = publish_5(port, topic, b"{}", token)
        claim(outcome.getName() == why, f"{topic} by {token}", outcome)
    claim(publish_5(port, "site/a/dev/b", b"x" * 65_536, "writer").getName() == "Implementation specific error", "too large for the topic")
    for i in range(5):
        outcome = publish_5(port, "counted/x", b"{}", "writer").getName()
        claim(outcome == ("Success" if i < 3 else "Quota exceeded"), "a quota", (i, outcome))
    begun = time.monotonic()
    claim(all(code == 0 for code in many(port, "slow/x", 60, "writer")), "beyond the rate")
    claim(1.5 < time.monotonic() - begun < 60, "a device is slowed down", time.monotonic() - begun)
    sent += 60
    for version in ("mqttv311", "mqttv5"):
        done = subprocess.run(["mosquitto_sub", "-p", str(port), "-t", "#", "-V", version, "-q", "1", *writer], capture_output=True, timeout=20)
        claim(done.returncode == 0 or b"denied" in done.stderr or b"All subscription requests were denied" in done.stdout + done.stderr,
              "SUBSCRIBE is refused", done)
    done = subprocess.run([BINARY, "simulate", "iot", "--count", "3000", "--rate", "0", "--devices", "50", "--to", f"mqtt://127.0.0.1:{port}/open/clicks"],
                          capture_output=True, text=True, timeout=60)
    claim(done.returncode == 0 and "3,000" in done.stdout + done.stderr, "a fleet", done)
    sent += 3000
    sent += wills(port)
    takes_over(port)
    sent += malformed(port)
    until("all is counted", lambda: gateway.metric("millrace_gateway_mqtt_connections") == 0)
    gateway.stop()
    found = records(READER, "embedded:" + str(folder / "log"), "clicks")
    claim(len(found) == sent, "what was acknowledged, and nothing else", (len(found), sent))
    claim(sum(record.get("key") == "d7" for record in found) == 4, "keys")
    claim(len(records(READER, "embedded:" + str(folder / "log"), "counted")) == 3, "no more than the quota")


def connected(port, token, version=paho.MQTTv5, client_id="", **more):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version)
    client.username_pw_set("any", token)
    for name, value in more.items():
        setattr(client, name, value)
    client.connect("127.0.0.1", port)
    client.loop_start()
    until("connected", client.is_connected)
    return client


def publish_5(port, topic, payload, token):
    """The reason code of the PUBACK."""
    codes = []
    client = connected(port, token, on_publish=lambda _client, _data, _id, code, _properties: codes.append(code))
    client.publish(topic, payload, qos=1)
    until("a PUBACK", lambda: codes)
    client.disconnect()
    client.loop_stop()
    return codes[0]


def many(port, topic, count, token):
    codes = []
    client = connected(port, token, on_publish=lambda _client, _data, _id, code, _properties: codes.append(code.value))
    for i in range(count):
        client.publish(topic, json.dumps({"n": i}), qos=1)
    until("all PUBACKs", lambda: len(codes) == count, 20)
    client.disconnect()
    client.loop_stop()
    return codes


def text(value):
    return struct.pack(">H", len(value)) + value


def packet(first, body):
    size, head = len(body), b""
    while True:
        size, low = size >> 7, size & 127
        head += bytes([low | (128 if size else 0)])
        if not size:
            return bytes([first]) + head + body


def connect_311(client_id, keep_alive=60, will=None, token=b"writer"):
    flags = 0xC2 | (0x0C if will else 0)
    return packet(0x10, text(b"MQTT") + bytes([4, flags]) + struct.pack(">H", keep_alive) + text(client_id) +
                  (text(will[0]) + text(will[1]) if will else b"") + text(b"any") + text(token))


def by_hand(port, *packets):
    client = socket.create_connection(("127.0.0.1", port))
    client.settimeout(15)
    for one in packets:
        client.sendall(one)
    return client


def ends(client):
    """All that comes until the other side closes."""
    told = b""
    try:
        while piece := client.recv(4096):
            told += piece
    except ConnectionError:
        pass
    client.close()
    return told


def wills(port):
    """Sent when a device leaves without a word, and not when it says goodbye. How many were."""
    client = by_hand(port, connect_311(b"w1", will=(b"site/a/dev/will", b'{"gone": 1}')))
    claim(client.recv(4) == b"\x20\x02\x00\x00", "CONNACK")
    client.close()
    client = by_hand(port, connect_311(b"w2", will=(b"site/a/dev/will", b'{"gone": 2}')))
    client.recv(4)
    client.sendall(b"\xe0\x00")
    claim(ends(client) == b"", "goodbye")
    begun = time.monotonic()
    client = by_hand(port, connect_311(b"w3", keep_alive=1, will=(b"site/a/dev/will", b'{"gone": 3}')))
    ends(client)
    claim(1 < time.monotonic() - begun < 14, "one and a half times the keep alive", time.monotonic() - begun)
    return 2


def takes_over(port):
    first = by_hand(port, connect_311(b"same"))
    first.recv(4)
    second = by_hand(port, connect_311(b"same"))
    claim(second.recv(4) == b"\x20\x02\x00\x00" and ends(first) == b"", "the later one stays")
    second.sendall(b"\xc0\x00")
    claim(second.recv(2) == b"\xd0\x00", "and is there")
    second.sendall(b"\xe0\x00")
    ends(second)


def malformed(port):
    """Broken packets end their own connection; a device beside them loses nothing. How many it has sent."""
    stop, codes = threading.Event(), []
    client = connected(port, "writer", on_publish=lambda _client, _data, _id, code, _properties: codes.append(code.value))
    published = 0

    def go_on():
        nonlocal published
        while not stop.is_set():
            client.publish("site/a/dev/good", json.dumps({"n": published}), qos=1)
            published += 1
            time.sleep(0.005)

    sender = threading.Thread(target=go_on)
    sender.start()
    hello, good = connect_311(b"bad"), packet(0x32, text(b"site/a/dev/bad") + b"\x00\x01" + b"{}")
    for what, broken in [("not MQTT", b"GET / HTTP/1.1\r\n\r\n"), ("no CONNECT", good), ("another version", packet(0x10, text(b"MQTT") + bytes([9, 2, 0, 0]) + text(b"x"))),
                         ("CONNECT twice", hello + hello), ("a length without an end", hello + b"\x30\xff\xff\xff\xff\x7f"),
                         ("longer than may be", hello + b"\x30\xff\xff\xff\x7f"), ("a topic with a wildcard", hello + packet(0x30, text(b"a/#"))),
                         ("QoS 3", hello + packet(0x36, text(b"a") + b"\x00\x01")), ("identifier 0", hello + packet(0x32, text(b"a") + b"\x00\x00")),
                         ("no UTF-8", hello + packet(0x30, text(b"\xff\xfe"))), ("QoS 2", hello + packet(0x34, text(b"site/a/dev/x") + b"\x00\x01")),
                         ("a packet of a server", hello + b"\xd0\x00"), ("reserved", hello + b"\x00\x00")]:
        begun = time.monotonic()
        ends(by_hand(port, broken))
        claim(time.monotonic() - begun < 14, what + " ends the connection")
    rng = random.Random(7)
    for _ in range(300):
        noise = bytearray(hello + good.replace(b"site/", b"????/") * 2)
        for _ in range(rng.randrange(1, 6)):
            noise[rng.randrange(len(noise))] = rng.randrange(256)
        # What is good in it is under a topic that nobody accepts.
        one = by_hand(port, bytes(noise))
        one.close()
    until("the good one goes on", lambda: published > 20)
    stop.set()
    sender.join()
    until("all PUBACKs of the good one", lambda: len(codes) == published)
    claim(set(codes) == {0}, "nothing of it was lost", published)
    client.disconnect()
    client.loop_stop()
    return published


def over_tls():
    folder, port = FOLDER / "tls", free_port()
    folder.mkdir()
    serve = f"  tls: {{certificate_file: {FOLDER}/server.pem, key_file: {FOLDER}/server.key}}\n  health: {{listen: \"127.0.0.1:%d\"}}\n"
    health = free_port()
    gateway = Gateway(BINARY, folder, free_port(), serve=serve % health, mqtt=f'{{listen: "127.0.0.1:{port}", accept: [{{filter: "#", topic: clicks}}]}}')
    serving, gateway.port = gateway.port, health
    claim(serving != health, "two doors")
    gateway.start()
    claim(pub(port, "a", b"{}", "-q", "1", "--cafile", f"{FOLDER}/ca.pem")[0] == 0, "over TLS")
    claim(pub(port, "a", b"{}", "-q", "1")[0] != 0, "and in no other way")
    gateway.stop()
    claim(len(records(READER, "embedded:" + str(folder / "log"), "clicks")) == 1, "it is there")


def full_disk():
    """A message that the log does not take is not acknowledged."""
    folder, port = FOLDER / "full", free_port()
    folder.mkdir()
    # A bound on the size of a file is what a process without rights can have of a full disk.
    gateway = Gateway(BINARY, folder, free_port(), prefix=("bash", "-c", "trap '' XFSZ; ulimit -f 8000; exec \"$@\"", "bash"),
                      mqtt=f'{{listen: "127.0.0.1:{port}", accept: [{{filter: "#", topic: clicks}}]}}').start()
    acked, lost = [], threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    client.on_publish = lambda _client, _data, message, _code, _properties: acked.append(message)
    client.on_disconnect = lambda *_: lost.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    until("connected", client.is_connected)
    sent = {}
    while not lost.is_set() and len(sent) < 200:
        payload = json.dumps({"event_id": f"f{len(sent)}", "pad": "x" * 500_000})
        info = client.publish("a", payload, qos=1)
        sent[info.mid] = payload
        until("an answer", lambda mid=info.mid: mid in acked or lost.is_set())
    claim(lost.is_set() and len(acked) > 5, "the connection is closed instead of an acknowledgement", len(acked))
    claim(gateway.answers("/livez"), "and the gateway is still there")
    client.loop_stop()
    gateway.kill()
    there = {record["payload"] for record in records(READER, "embedded:" + str(folder / "log"), "clicks")}
    claim(all(sent[message] in there for message in acked), "what was acknowledged is there")


def main():
    certificates()
    of_a_broker()
    filters_come_and_go()
    of_devices()
    over_tls()
    full_disk()
    print(f"{_held} passed, 0 failed")
    shutil.rmtree(FOLDER)


main()
