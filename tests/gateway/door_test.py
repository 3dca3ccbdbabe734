"""Goal: what docs/gateway.md says is answered, is; over the embedded log, with curl and by hand.

    door_test.py MILLRACE READ_LOG
"""
import contextlib
import gzip
import json
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from running import Gateway, records

BINARY, READER = sys.argv[1], sys.argv[2]
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="millrace-gateway-door-"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kafka"))
from broker import free_port  # noqa: E402

JSON = "application/json"
TOPICS = ("{clicks: {key: event_id, max_event: 64KiB}, checked: {}, few: {rate: 5/s}, counted: {quota: {events: 4, every: 1h}}, "
          "open: {anonymous: true}, strict: {key: event_id}}")
AUTH = """  auth:
    tokens:
      - {token: writer, scopes: ["write:clicks", "write:few", "write:counted"]}
      - {token: reader, scopes: [read]}
  cors: {origins: ["https://shop.example"]}
  limits: {connections: 12000}
"""
OTHERS = 3
_held = 0


def claim(condition, what, details=""):
    global _held
    assert condition, f"{what}\n{details}"
    _held += 1


def curl(port, *arguments, data=None):
    """(status, body)"""
    done = subprocess.run(["curl", "-sS", "-o", "-", "-w", "\n%{http_code}", *arguments, *(["--data-binary", "@-"] if data is not None else []),
                           f"http://127.0.0.1:{port}/v1/events/clicks"], input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body.decode()


def bodies(gateway):
    """What real clients send, and what of it is in the log: every byte."""
    odd = '{"event_id": "a",  "n":12345678901234567890.10, "t":"\\u00e9\U0001f600"}'
    status, body = curl(gateway.port, "-H", f"Content-Type: {JSON}", "-H", "Authorization: Bearer writer", data=odd.encode())
    claim(status == 202 and json.loads(body)["accepted"] == 1, "an object by curl", body)
    lines = "".join(json.dumps({"event_id": f"e{i}", "n": i}) + "\n" for i in range(500))
    for name, packed in (("gzip", gzip.compress(lines.encode())), ("zstd", subprocess.run(["zstd", "-q", "-c"], input=lines.encode(), capture_output=True).stdout)
                         if shutil.which("zstd") else ("gzip", gzip.compress(lines.encode()))):
        status, body = curl(gateway.port, "-H", "Content-Type: application/x-ndjson", "-H", f"Content-Encoding: {name}", "-H",
                            "Authorization: Bearer writer", "-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue", data=packed)
        claim(status == 202 and json.loads(body)["accepted"] == 500, f"{name}, in chunks", body)
    status, body = curl(gateway.port, "-H", "Content-Type: application/cloudevents+json", "-H", "Authorization: Bearer writer",
                        data=b'{"specversion":"1.0","id":"7","source":"/s","type":"t","data":{"n":1.10}}')
    claim(status == 202, "a CloudEvent", body)
    status, body = curl(gateway.port, "-H", "Ce-Specversion: 1.0", "-H", "Ce-Id: 8", "-H", "Ce-Source: /s", "-H", "Ce-Type: t", "-H",
                        "Content-Type: text/csv", "-H", "Authorization: Bearer writer", data=b"a,b\n")
    claim(status == 202, "a CloudEvent in binary mode", body)
    bomb = gzip.compress(b"[" + b" " * (1 << 28) + b"]")
    status, answer = gateway.send(bomb, JSON, Content_Encoding="gzip", Authorization="Bearer writer")
    claim(status == 413 and answer["code"] == "body_too_large", "256 MiB in 260 kB", answer)
    return [odd, *lines.splitlines() * 2, '{"n":1.10}', "a,b\n"]


def statuses(gateway):
    """Each refusal is a problem, and nothing of it is in the log."""
    token = {"Authorization": "Bearer writer"}
    for wanted, code, arguments, headers in [
            (400, "invalid_json", (b'{"a":', JSON), token), (400, "empty_body", (b"", JSON), token), (400, "unknown_parameter", (b"{}", JSON, "clicks", "?x=1"), token),
            (401, "unauthorized", (b"{}", JSON), {}), (401, "invalid_token", (b"{}", JSON), {"Authorization": "Bearer who"}),
            (403, "insufficient_scope", (b"{}", JSON), {"Authorization": "Bearer reader"}), (403, "insufficient_scope", (b"{}", JSON, "strict"), token),
            (403, "origin_not_allowed", (b"{}", JSON), {**token, "Origin": "https://evil.example"}),
            (415, "media_type", (b"a=1", "application/x-www-form-urlencoded"), token),
            (415, "content_encoding", (b"{}", JSON), {**token, "Content-Encoding": "br"}), (422, "invalid_events", (b"[1]", JSON), token),
            (422, "invalid_events", (b'[{},1]', JSON, "clicks", "?atomic=true"), token),
            (422, "invalid_events", (b'{"event_id":"' + b"x" * 65536 + b'"}', JSON), token)]:
        status, answer = gateway.send(*arguments, **headers)
        claim((status, answer["code"]) == (wanted, code), f"{wanted} {code}", (status, answer))
        claim(answer["status"] == wanted and answer["detail"], "as a problem", answer)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"POST /v1/events/clicks HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % ((8 << 20) + 1))
        answer = client.recv(65536)
        claim(answer.startswith(b"HTTP/1.1 413 ") and b'"code":"body_too_large"' in answer, "a body that would be too large", answer)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"POST /v1/events/clicks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer writer\r\nContent-Type: application/json\r\n"
                       b"Idempotency-Key: a\r\nIdempotency-Key: a\r\nContent-Length: 2\r\n\r\n{}")
        answer = client.recv(65536)
        claim(answer.startswith(b"HTTP/1.1 400 ") and b'"code":"invalid_idempotency_key"' in answer, "two keys are none", answer)
    bad = gateway.send(b"x\n" * 10_000, **token)[1]["rejected"]
    claim(len(bad) == 10_000 and [i for i, one in enumerate(bad) if "detail" in one] == list(range(100)), "each is named, the first hundred at length",
          bad[:2])
    status, headers, _ = gateway.ask("GET", "/v1/events/clicks")
    claim(status == 405 and headers["Allow"] == "POST", "POST alone")
    status, answer = gateway.send(b'{"event_id":"p"}\nx\n[]', **token)
    claim(status == 200 and answer["accepted"] == 1 and [(one["index"], one["code"]) for one in answer["rejected"]] ==
          [(1, "invalid_json"), (2, "not_an_object")], "the good ones of a batch", answer)
    claim(gateway.send(b"{}\n" * 24, topic="few", **token)[0] == 202, "a batch beyond the rate")
    status, headers, body = gateway.ask("POST", "/v1/events/few", b"{}", {"Content-Type": JSON, **token})
    claim(status == 429 and 1 <= int(headers["Retry-After"]) <= 4 and json.loads(body)["code"] == "too_many_events", "and one more", body)
    time.sleep(int(headers["Retry-After"]))
    claim(gateway.send(b"{}", topic="few", **token)[0] == 202, "after Retry-After")
    claim(gateway.send(b"{}\n" * 4, topic="counted", **token)[0] == 202, "a quota")
    status, answer = gateway.send(b"{}", topic="counted", **token)
    claim(status == 429 and answer["code"] == "quota_exceeded", "beyond it", answer)
    claim(gateway.send(b"{}", topic="open")[0] == 202, "a topic for everybody")
    return ['{"event_id":"p"}']


def repeats(gateway):
    body = b'{"event_id":"k1"}\n{"event_id":"k2"}\nx'
    ask = lambda token: gateway.ask("POST", "/v1/events/clicks", body, {"Content-Type": "application/x-ndjson", "Idempotency-Key": "one",
                                                                        "Authorization": f"Bearer {token}"})
    replayed = lambda answer: answer[1]["Idempotency-Replayed"] == "true"
    first = ask("writer")
    claim(first[0] == 200 and json.loads(first[2])["accepted"] == 2 and not replayed(first), "with a key", first)
    again = ask("writer")
    claim(again[::2] == first[::2] and replayed(again), "the same answer", again)

    def put_first(token):
        """Into the list of tokens, which makes all others stand elsewhere."""
        file = gateway.folder / "gateway.yaml"
        file.write_text(file.read_text().replace("    tokens:\n", f"    tokens:\n      - {{token: {token}, scopes: ['write:clicks']}}\n"))

    gateway.stop()
    put_first("second")
    gateway.start()
    second = ask("second")
    claim(second[0] == 200 and not replayed(second) and second[2] != first[2], "after a restart: a key is its token's own, wherever that stands", second)
    again = ask("writer")
    claim(again[::2] == first[::2] and replayed(again), "after a restart: the same answer", again)
    put_first("third")
    gateway.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 180
    while True:
        try:
            third = ask("third")
        except OSError:
            third = (503, None, b"between the two")
        if third[0] not in (401, 503):
            break
        assert time.monotonic() < deadline, third
        time.sleep(0.02)
    claim(third[0] == 200 and not replayed(third), "after a reload: a key is its token's own", third)
    for token, answer in (("writer", first), ("second", second)):
        again = ask(token)
        claim(again[::2] == answer[::2] and replayed(again), f"after a reload: the same answer to {token}", again)
    status, answer = gateway.send(b'{"event_id":"k3"}', Idempotency_Key="one", Authorization="Bearer writer")
    claim(status == 422 and answer["code"] == "idempotency_key_reused", "another body", answer)
    return ['{"event_id":"k1"}', '{"event_id":"k2"}'] * 3


def many(gateway):
    """Ten thousand connections, a thousand of them slow: memory stays, and others do not wait."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(10_000, hard // 2 - 500)
    rss = lambda: int(next(line for line in open(f"/proc/{gateway.process.pid}/status") if line.startswith("VmRSS")).split()[1]) * 1024
    body = b'{"event_id":"m"}'
    head = b"POST /v1/events/clicks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer writer\r\nContent-Type: application/json\r\n"
    request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    before, clients = rss(), []
    for i in range(count):
        client = socket.create_connection(("127.0.0.1", gateway.port), source_address=(f"127.0.0.{2 + i % 8}", 0))
        clients.append(client)
    begun = time.monotonic()
    for client in clients:
        client.sendall(request)
    for client in clients:
        client.settimeout(60)
        answer = client.recv(4096)
        claim(answer.startswith(b"HTTP/1.1 202 "), "each is answered", answer)
    took = time.monotonic() - begun
    # Each says that it will send 8 MiB, and sends a little of it.
    for client in clients[:1000]:
        client.sendall(head + b"Content-Length: %d\r\n\r\n" % (8 << 20) + b"[" * 1000)
    waits = []
    for _ in range(OTHERS):  # This machine may stand still now and then.
        begun = time.monotonic()
        claim(gateway.send(body, JSON, Authorization="Bearer writer")[0] == 202, "others are answered")
        waits.append(time.monotonic() - begun)
    waited, grown = min(waits), rss() - before
    print(f"{count} connections, an event each: {took:.1f} s; then {grown / 1048576:.0f} MiB more, and an answer in {waited * 1000:.0f} ms", flush=True)
    claim(grown < 200 << 20 and waited < 2, "in bounds", (grown, waited))
    for client in clients:
        client.close()
    return [body.decode()] * (count + OTHERS)


def full_disk():
    """A disk that fills: 503, and what was accepted is there."""
    folder = FOLDER / "full"
    folder.mkdir()
    # A bound on the size of a file is what a process without rights can have of a full disk.
    gateway = Gateway(BINARY, folder, free_port(), prefix=("bash", "-c", "trap '' XFSZ; ulimit -f 8000; exec \"$@\"", "bash")).start()
    accepted, refused = [], None
    for i in range(200):
        event = json.dumps({"event_id": f"f{i}", "pad": "x" * 500_000})
        status, answer = gateway.send(event.encode(), JSON)
        if status == 202:
            accepted.append(event)
        else:
            refused = (status, answer["code"], event)
            break
    claim(refused[:2] == (503, "log_unavailable"), "a full disk", refused and refused[:2])
    claim(gateway.answers("/livez"), "and the door is still there")
    gateway.kill()
    there = [record["payload"] for record in records(READER, "embedded:" + str(folder / "log"), "clicks")]
    # What a disk had of a write that failed may come to light after a death.
    claim(len(accepted) > 5 and accepted == sorted(set(there) - {refused[2]}, key=accepted.index) and len(set(there)) == len(there),
          "what was accepted is there", (len(there), len(accepted)))


def small_disk():
    """A file system without room, where RocksDB fails in its own ways: 503, the process lives, and with room again it goes on by itself."""
    folder = FOLDER / "small"
    (folder / "disk").mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", folder / "disk"], capture_output=True).returncode != 0:
        print("no tmpfs can be mounted here: a file system without room is not tried", flush=True)
        return
    try:
        gateway = Gateway(BINARY, folder, free_port(), source="embedded: {path: disk/log, partitions: 2}").start()
        accepted, refused = [], 0

        def send(count):
            nonlocal refused
            for _ in range(count):
                event = json.dumps({"event_id": f"s{len(accepted)}-{refused}", "pad": "x" * 100_000})
                status, answer = gateway.send(event.encode(), JSON)
                claim(status == 202 or (status, answer["code"]) == (503, "log_unavailable"), "accepted, or the log cannot", answer)
                accepted.extend([event] if status == 202 else [])
                refused += status != 202
        send(20)
        for round_ in range(3):
            with (folder / "disk" / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
                while ballast.write(bytes(1 << 16)):
                    pass
            before = refused
            for _ in range(60):  # RocksDB has reserved some room.
                if refused < before + 10:
                    send(10)
            claim(refused > before and gateway.process.poll() is None, "a file system without room", (round_, refused))
            (folder / "disk" / "ballast").unlink()
            before = len(accepted)
            deadline = time.monotonic() + 60
            while len(accepted) < before + 10:
                claim(time.monotonic() < deadline, "it goes on by itself", (round_, len(accepted), before))
                send(1)
        gateway.stop()
        there = [record["payload"] for record in records(READER, f"embedded:{folder}/disk/log", "clicks")]
        claim(len(set(there)) == len(there) and set(accepted) <= set(there), "what was accepted is there, once", (len(there), len(accepted)))
    finally:
        subprocess.run(["umount", "-l", folder / "disk"], check=False)


def main():
    folder = FOLDER / "door"
    folder.mkdir()
    gateway = Gateway(BINARY, folder, free_port(), topics=TOPICS, serve=AUTH).start()
    sent = bodies(gateway) + statuses(gateway) + repeats(gateway) + many(gateway)
    claim(gateway.metric("millrace_gateway_requests_total") > 20 and gateway.metric("millrace_gateway_repeated_total") == 2, "metrics")
    gateway.stop()
    there = records(READER, "embedded:" + str(folder / "log"), "clicks")
    claim(sorted(record["payload"] for record in there) == sorted(sent), "all that was accepted, and nothing else", (len(there), len(sent)))
    by_payload = {record["payload"]: record for record in there}
    claim(by_payload[sent[0]]["key"] == "a" and by_payload["a,b\n"]["headers"]["ce_type"] == "t", "keys and headers")
    full_disk()
    small_disk()
    print(f"{_held} passed, 0 failed")
    shutil.rmtree(FOLDER)


main()
