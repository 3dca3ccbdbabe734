"""`millrace doctor` beside a real broker with logins and rights, a real bucket and a real schema registry, each made wrong in turn: the
verdict, its words and the exit code. It leaves nothing behind, also beside a pipeline that runs.

Usage: doctor_test.py PATH_OF_millrace
"""
import json
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

from confluent_kafka.admin import AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType

from product import BINARY, FOLDER, claim, end, millrace

TESTS = pathlib.Path(__file__).resolve().parents[1]
for folder in ("kafka", "s3", "registry"):
    sys.path.insert(0, str(TESTS / folder))
from broker import Broker, free_port  # noqa: E402
from registry_server import Registry  # noqa: E402
from s3_server import FaultProxy, Minio  # noqa: E402

COLUMNS = "columns: {id: int64, ts: timestamp}"


def write(name, text):
    (FOLDER / name).write_text(text)
    return name


def doctor(file, *more, code=0, env=None):
    """The checks by name, each a list."""
    done = millrace("doctor", "-c", file, "--format", "json", *more, code=code, env=env)
    report = json.loads(done.stdout)
    claim(report["ok"] == (code == 0), f"'ok' goes with the exit code {code}", done.stdout)
    found = {}
    for check in report["checks"]:
        found.setdefault(check["check"], []).append(check)
        claim(bool(check["mend"]) == (check["verdict"] in ("warning", "failed")), "what is wrong says how to mend it", check)
    return found


def wrong(found, name, *parts, verdict="failed"):
    """That check, and no other, has failed."""
    bad = [c for checks in found.values() for c in checks if c["verdict"] == "failed"]
    hits = [c for c in found.get(name, []) if c["verdict"] == verdict]
    claim(hits and (verdict != "failed" or bad == hits), f"{name} is {verdict}, and nothing else failed", json.dumps(found, indent=1))
    for part in parts:
        claim(part in hits[0]["found"] + hits[0]["mend"], f"{name} says '{part}'", hits[0])


def kafka_file(name, source, more="", topics="[clicks]", lake="lake", decode=f"{{format: json, {COLUMNS}}}", memory="1GiB"):
    return write(name, f"""version: 1
pipeline: clicks
source:
  kafka: {{{source}}}
  topics: {topics}
decode: {decode}
tables: [{{name: clicks}}]
lake: {{uri: "{lake}"}}
limits: {{memory: {memory}}}
log: {{level: warn}}
{more}""")


def local():
    """All that needs no other process."""
    text = """version: 1
pipeline: clicks
source: {embedded: {path: log}, topics: [clicks]}
decode: {format: json, columns: {id: int64, ts: timestamp}}
tables: [{name: clicks}]
lake: {uri: lake}
log: {level: warn}
"""
    good = write("local.yaml", text)
    found = doctor(good)
    claim(found["log"][0]["found"].endswith("makes it"), "a log that is not there yet is fine")
    claim(not (FOLDER / "log").exists() and not (FOLDER / "lake").exists(), "nothing is made")
    text_report = millrace("doctor", "-c", good).stdout
    claim("0 failed" in text_report and "config" in text_report, "a report for people", text_report)

    bad = write("bad.yaml", text.replace("decode:", "decoed:").replace("limits", "limit"))
    found = doctor(bad, code=78)
    claim(any("decoed" in c["found"] and "decode" in c["found"] for c in found["config"]), "the file's findings are told", found)
    claim("log" not in found, "and nothing is asked")
    claim(millrace("doctor", code=2).stderr, "a file is needed")

    wrong(doctor(good, "--set", "lake.uri=local.yaml", code=1), "lake.folder", "is not a folder")
    wrong(doctor(good, "--set", "limits.memory=64TiB", code=1), "limits.memory", "the kernel ends it", "limits.memory to ")
    (FOLDER / "broken").mkdir()
    (FOLDER / "broken" / "CURRENT").write_text("nonsense\n")
    wrong(doctor(good, "--set", "source.embedded.path=broken", code=1), "log", "docs/operating.md")

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        serving = write("serving.yaml", text + f"serve: {{listen: '127.0.0.1:{port}'}}\n")
        wrong(doctor(serving, code=1), "port.serve.listen", "another port for serve.listen")
    claim(doctor(serving)["port.serve.listen"][0]["found"].endswith("is free"), "a port that was let go of is free")

    few = subprocess.run([BINARY, "doctor", "-c", good, "-o", "json"], cwd=FOLDER, capture_output=True, text=True, timeout=60,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)))
    claim(few.returncode == 1 and "LimitNOFILE=512" in few.stdout, "too few descriptors", few.stdout + few.stderr)

    workers(text)
    gateway_state(text)

    # A lake that is there, its tables, and what no longer fits them.
    (FOLDER / "lake").mkdir()
    found = doctor(good)
    claim([c["verdict"] for c in found["lake.conditional_put"] + found["lake.delete"]] == ["ok", "ok"], "the store was tried", found)
    claim(not list((FOLDER / "lake").iterdir()), "and nothing is left")
    os.chmod(FOLDER / "lake", 0o500)
    if os.getuid() != 0:  # Root may write everywhere.
        wrong(doctor(good, code=1), "lake.folder", "no right to write")
    os.chmod(FOLDER / "lake", 0o700)
    millrace("lake", "create", "lake/clicks", "--column", "id:string")
    wrong(doctor(good, code=1), "lake.tables", "clicks", "new name")
    shutil.rmtree(FOLDER / "lake")


def answers(url, process):
    """Until it does."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            claim(process.poll() is None and time.monotonic() < deadline, f"{url} answers")
            time.sleep(0.1)


def workers(text):
    """The other processes of a pipeline: away, there, behind another token, of another pipeline."""
    port, away = free_port(), free_port()
    serve = "serve: {{listen: '127.0.0.1:{}', internal_token: {}, workers: ['http://127.0.0.1:{}', 'http://127.0.0.1:{}']}}\n"
    worker = write("worker.yaml", text.replace("path: log", "path: worker-log").replace("lake: {uri: lake}", "lake: {uri: worker-lake}")
                   + f"serve: {{listen: '127.0.0.1:{port}', internal_token: known}}\n")
    with subprocess.Popen([BINARY, "run", "--role", "worker", "-c", worker], cwd=FOLDER) as run:
        try:
            answers(f"http://127.0.0.1:{port}/readyz", run)
            asking = write("asking.yaml", text + serve.format(free_port(), "known", port, away))
            verdicts = {c["found"].split(":")[2].split(" ")[0]: c["verdict"] for c in doctor(asking)["serve.workers"]}
            claim(verdicts == {str(port): "ok", str(away): "warning"}, "the worker that is there answers, the other is named", verdicts)
            stranger = write("stranger.yaml", text + serve.format(free_port(), "unknown", port, port))
            wrong(doctor(stranger), "serve.workers", "401", "serve.internal_token", verdict="warning")
            wrong(doctor(asking, "--set", "pipeline=orders", code=1), "serve.workers", "of the pipeline 'clicks', and this is 'orders'")
            named = write("named.yaml", text + f"serve: {{listen: '127.0.0.1:{free_port()}', internal_token: known, "
                                               f"workers: {{dns: localhost, port: {port}}}}}\n")
            found = doctor(named)["serve.workers"]
            claim("stands for" in found[0]["found"] and any(c["verdict"] == "ok" and str(port) in c["found"] for c in found[1:]),
                  "a name's addresses are asked", found)
        finally:
            run.terminate()
    claim(run.returncode == 0, "the worker ends in order")
    wrong(doctor(write("named.yaml", text + "serve: {workers: {dns: no-such-name.invalid}}\n"), "--set", f"serve.listen=127.0.0.1:{free_port()}"),
          "serve.workers", "no-such-name.invalid", verdict="warning")


def gateway_state(text):
    """Its folder: not there yet, of the gateway that runs, of another one."""
    port = free_port()
    gateway = "serve: {{listen: '127.0.0.1:{}'}}\ngateway: {{http: {{topics: {{clicks: {{anonymous: true}}}}}}, state: state}}\n"
    file = write("gateway.yaml", text.replace("path: log", "path: gateway-log") + gateway.format(port))
    claim("made by the first run" in doctor(file)["gateway.state"][0]["found"], "a state that is not there yet is fine")
    claim(not (FOLDER / "state").exists(), "and is not made")
    wrong(doctor(file, "--set", "gateway.state=gateway.yaml", code=1), "gateway.state", "is not a folder")
    with subprocess.Popen([BINARY, "gateway", "-c", file], cwd=FOLDER) as run:
        try:
            answers(f"http://127.0.0.1:{port}/readyz", run)
            held = doctor(file)["gateway.state"]
            claim([c["verdict"] for c in held] == ["ok", "ok"] and f"process {run.pid} has it open" in held[1]["found"],
                  "the gateway that runs has its own", held)
            other = write("other-gateway.yaml", text + gateway.format(free_port()))
            wrong(doctor(other, code=1), "gateway.state", f"process {run.pid} has it open", "its own gateway.state")
        finally:
            run.terminate()
    claim(run.returncode == 0, "the gateway ends in order")
    claim(len(doctor(file)["gateway.state"]) == 1, "nobody has it then")
    few = subprocess.run([BINARY, "doctor", "-c", file, "-o", "json", "--set", "serve.limits.connections=50000"], cwd=FOLDER,
                         capture_output=True, text=True, timeout=60,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)))
    claim("with 50000 connections to serve.listen it should be 100000" in few.stdout, "devices want descriptors", few.stdout)


def kafka(broker, sasl_port):
    admin = AdminClient({"bootstrap.servers": broker.address})
    broker.create_topic("clicks", partitions=3)
    broker.create_topic("large", config={"max.message.bytes": "5000000"})
    broker.create_topic("huge", config={"max.message.bytes": "20000000"})
    broker.create_topic("hidden")

    def allow(user, kind, name, *operations):
        for future in admin.create_acls([AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation,
                                                    AclPermissionType.ALLOW) for operation in operations]).values():
            future.result(60)
        # The controller, which has answered, knows them before the broker asks them of itself.
        deadline = time.monotonic() + 60
        while {acl.operation for acl in admin.describe_acls(AclBindingFilter(
                kind, name, ResourcePatternType.LITERAL, f"User:{user}", None, AclOperation.ANY, AclPermissionType.ANY)).result(60)} != {*operations}:
            claim(time.monotonic() < deadline, "the broker has its rights")
            time.sleep(0.05)

    allow("reader", ResourceType.TOPIC, "clicks", AclOperation.READ, AclOperation.DESCRIBE)
    allow("reader", ResourceType.GROUP, "lake", AclOperation.READ, AclOperation.DESCRIBE)
    allow("reader", ResourceType.GROUP, "seen", AclOperation.DESCRIBE)
    allow("reader", ResourceType.TOPIC, "large", AclOperation.DESCRIBE)

    plain = f'bootstrap.servers: "{broker.address}", group.id: lake'
    found = doctor(kafka_file("kafka.yaml", plain))
    claim("3 partitions" in found["broker.topic"][0]["found"], "the topic's partitions", found)
    claim(found["broker.group"][0]["verdict"] == "ok", "a group that nobody has joined", found)
    claim(found["broker.message_size"][0]["verdict"] == "ok", "batches fit", found)

    wrong(doctor(kafka_file("a.yaml", plain, topics="[clicks, gone]"), code=1), "broker.topic", "gone", "--create --topic gone")
    found = doctor(kafka_file("b.yaml", plain, topics='["^none-.+"]'))
    claim(found["broker.topic"][0]["verdict"] == "warning", "a pattern without topics", found)
    gateway = f"serve: {{listen: '127.0.0.1:{free_port()}'}}\ngateway: {{state: state, http: {{topics: {{TOPIC: {{anonymous: true, max_event: 4MiB}}}}}}}}\n"
    wrong(doctor(kafka_file("m.yaml", plain, more=gateway.replace("TOPIC", "clicks"))), "gateway.topic", "max_event to", verdict="warning")
    claim(doctor(kafka_file("n.yaml", plain, more=gateway.replace("TOPIC", "large")))["gateway.topic"][0]["verdict"] == "ok",
          "a topic that takes the largest event")
    wrong(doctor(kafka_file("o.yaml", plain, more=gateway.replace("TOPIC", "gone")), code=1), "gateway.topic", "--create --topic gone")
    wrong(doctor(kafka_file("c.yaml", f'bootstrap.servers: "127.0.0.1:{free_port()}", group.id: lake'), code=1), "broker",
          "Connect", "bootstrap.servers")
    small = plain + ', fetch.max.bytes: "1000000", message.max.bytes: "1000000", receive.message.max.bytes: "1001000"'
    wrong(doctor(kafka_file("d.yaml", small, topics="[large]"), code=1), "broker.message_size", "receive.message.max.bytes to 5000512")
    wrong(doctor(kafka_file("e.yaml", plain, topics="[huge]", memory="64MiB")), "broker.message_size", "limits.memory",
          verdict="warning")

    def login(user, password, group="lake"):
        return (f'bootstrap.servers: "127.0.0.1:{sasl_port}", group.id: {group}, security.protocol: sasl_plaintext, '
                f'sasl.mechanism: PLAIN, sasl.username: {user}, sasl.password: {password}')

    found = doctor(kafka_file("f.yaml", login("reader", "right")))
    claim("may be read" in found["broker.topic"][0]["found"], "the right to read shows", found)
    claim(found["broker.message_size"][0]["verdict"] == "skipped", "no right to see settings", found)
    wrong(doctor(kafka_file("g.yaml", login("reader", "wrong")), code=1), "broker", "uthentication", "sasl.password")
    claim("wrong" not in str(doctor("g.yaml", code=1)["broker"][0]["found"]), "the password is not told")
    wrong(doctor(kafka_file("h.yaml", login("reader", "right"), topics="[large]"), code=1), "broker.topic", "not read",
          "--operation Read --topic large")
    wrong(doctor(kafka_file("i.yaml", login("reader", "right"), topics="[hidden]"), code=1), "broker.topic", "hidden",
          "--operation Describe")
    wrong(doctor(kafka_file("j.yaml", login("reader", "right", "other")), code=1), "broker.group", "--operation Read --group other")
    wrong(doctor(kafka_file("k.yaml", login("reader", "right", "seen")), code=1), "broker.group", "--operation Read --group seen")
    # A client that speaks TLS to a listener that does not.
    wrong(doctor(kafka_file("l.yaml", plain + ", security.protocol: ssl"), code=1), "broker")


def after_a_restart(broker):
    """A broker that takes requests already and whose leaders and coordinators are not there yet is not called broken."""
    for _ in range(3):
        broker.restart()
        found = doctor("kafka.yaml")
        claim("3 partitions" in found["broker.topic"][0]["found"], "the topic has its leaders", found)
        claim(found["broker.group"][0]["verdict"] == "ok", "the group has its coordinator", found)


def beside(broker):
    """A pipeline that runs is not disturbed, and its port is known as its own."""
    port = free_port()
    file = kafka_file("beside.yaml", f'bootstrap.servers: "{broker.address}", group.id: beside', lake="beside",
                      more=f'serve: {{listen: "127.0.0.1:{port}"}}\n')
    with subprocess.Popen([BINARY, "run", "-c", file], cwd=FOLDER) as run:
        try:
            deadline = time.monotonic() + 180
            while True:
                try:
                    lag = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/lag", timeout=60))
                    assert len(lag["partitions"]) == 3
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60).close()  # All is made that a start makes.
                    break
                except (OSError, AssertionError, KeyError):
                    claim(time.monotonic() < deadline, "the pipeline starts")
                    time.sleep(0.1)
            before = sorted(str(p) for p in (FOLDER / "beside").rglob("*"))
            metrics = lambda: [l for l in urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode().splitlines()
                               if "rebalance" in l or "assigned" in l or "generation" in l]
            had = metrics()
            found = doctor(file)
            claim("runs there already" in found["port.serve.listen"][0]["found"], "the port is the pipeline's", found)
            claim("1 members now" in found["broker.group"][0]["found"], "the group has one member", found)
            claim(metrics() == had, "and no rebalance", metrics())
            claim(sorted(str(p) for p in (FOLDER / "beside").rglob("*")) == before, "the lake is as it was")
        finally:
            run.terminate()
    claim(run.returncode == 0, "it ends in order")


def bucket(server):
    server.create_bucket("lake")
    text = """version: 1
pipeline: clicks
source: {embedded: {path: log}, topics: [clicks]}
decode: {format: json, columns: {id: int64, ts: timestamp}}
tables: [{name: clicks}]
lake: {uri: "s3://lake/below"}
log: {level: warn}
"""
    file = write("bucket.yaml", text)
    env = server.environment()
    found = doctor(file, env=env)
    claim(all(found[f"lake.{c}"][0]["verdict"] == "ok" for c in ("put", "conditional_put", "read", "list", "delete", "clock", "tables")),
          "a bucket passes", found)
    claim(server.keys("lake") == [], "and nothing is left in it", server.keys("lake"))
    wrong(doctor(file, code=1, env={**env, "AWS_SECRET_ACCESS_KEY": "of-somebody-else"}), "lake", "credentials")
    wrong(doctor(file, code=1, env={**env, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(FOLDER)}), "lake",
          "credentials")
    wrong(doctor(file, "--set", "lake.uri=s3://nobodys", code=1, env=env), "lake", "nobodys")
    started = time.monotonic()
    wrong(doctor(file, code=1, env={**env, "AWS_ENDPOINT_URL": f"http://localhost:{free_port()}"}), "lake", "lake.s3.endpoint")
    claim(time.monotonic() - started < 60, "a store that is away ends soon")
    with FaultProxy(server.endpoint) as proxy:
        env = server.environment(proxy.endpoint)
        proxy.always("error_501", method="PUT")
        wrong(doctor(file, code=1, env=env), "lake", "If-None-Match")
        proxy.quiet()
        doctor(file, env=env)
    claim(server.keys("lake") == [], "nothing is left in it", server.keys("lake"))


def registry(broker, server):
    decode = "{format: avro, schema: registry, framing: confluent}"
    source = f'bootstrap.servers: "{broker.address}", group.id: lake'

    def file(name, url):
        made = kafka_file(name, source, decode=decode)
        path = FOLDER / made
        path.write_text(path.read_text().replace("  topics:", f'  schema_registry: {{url: "{url}"}}\n  topics:', 1))
        return made

    good = file("registry.yaml", server.url)
    found = doctor(good, code=1)
    claim(found["registry"][0]["verdict"] == "ok", "the registry answers", found)
    wrong(found, "config", "clicks-value")
    body = json.dumps({"schema": json.dumps({"type": "record", "name": "C", "fields": [{"name": "id", "type": "long"}]})}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{server.url}/subjects/clicks-value/versions", body,
                                                  {"Content-Type": "application/json"}), timeout=60).read()
    claim(doctor(good)["lake.tables"][0]["verdict"] in ("ok", "skipped"), "with a schema all is well")
    wrong(doctor(file("path.yaml", server.url.replace("/apis/ccompat/v7", "/nowhere")), code=1), "registry", "ccompat")
    server.kill()
    wrong(doctor(good, code=1), "registry", "source.schema_registry")


SASL_PORT = free_port()
local()
with Minio() as s3:
    bucket(s3)
broker = Broker()
broker.extra_config = {
    "listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SASL://127.0.0.1:{SASL_PORT},CONTROLLER://127.0.0.1:{broker.controller_port}",
    "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SASL://127.0.0.1:{SASL_PORT}",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
    "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.sasl.plain.sasl.jaas.config":
        'org.apache.kafka.common.security.plain.PlainLoginModule required user_reader="right";',
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}
with broker:
    kafka(broker, SASL_PORT)
    beside(broker)
    after_a_restart(broker)
    with Registry() as schemas:
        registry(broker, schemas)
end()
