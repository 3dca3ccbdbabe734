"""Goal: ten thousand connections that say nothing cost at most 100 MiB, over TLS twice that, and keep nobody waiting who asks.

Method: the program with `serve.limits.connections: 10000`; as many clients as descriptors allow (half of what a process may have is
for connections), each of which has had one answer. What the resident memory has grown by is counted by connection. Of TLS it is a
fifth of them: handshakes take a client's time. 14 kB of each are OpenSSL's: the state of a connection without any buffer.
"""
import itertools
import re
import resource
import signal
import socket
import ssl
import statistics
import subprocess
import time

from credentials import Authority
from product import BINARY, FOLDER, PIPELINE, claim, end

CONNECTIONS = 10_000
BYTES_MAX = 100 * 1024 * 1024 / CONNECTIONS
TLS_BYTES_MAX = 2 * BYTES_MAX
PROBES = 50
PROBE_SECONDS_MAX = 0.1
REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
_address = itertools.cycle(range(2, 10))


def serve(name, more):
    """The process, and its port."""
    (FOLDER / f"{name}.yaml").write_text(f"{PIPELINE}serve:\n  listen: 127.0.0.1:0\n  limits: {{connections: {CONNECTIONS}}}\n{more}")
    path = FOLDER / f"{name}.log"
    with path.open("w") as log:
        process = subprocess.Popen([BINARY, "run", "-c", f"{name}.yaml", "--set", "log.level=info"], cwd=FOLDER, stdout=log, stderr=log)
    deadline = time.monotonic() + 180
    while not (found := re.search(r"serving url=\S+:(\d+)", path.read_text())):
        claim(process.poll() is None and time.monotonic() < deadline, "it serves", path.read_text())
        time.sleep(0.05)
    return process, int(found[1])


def resident_bytes(process):
    with open(f"/proc/{process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) * 1024


def answered(client):
    """Seconds to an answer of 200."""
    begun = time.monotonic()
    client.sendall(REQUEST)
    claim(client.recv(4096).startswith(b"HTTP/1.1 200 "), "an answer")
    return time.monotonic() - begun


def connect(port, context):
    # Of several addresses, because a pair of them has 28,000 ports only, and those of a run before may be waiting.
    client = socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.0.{next(_address)}", 0))
    return client if context is None else context.wrap_socket(client)


def measure(name, wanted, bytes_max, more="", context=None):
    process, port = serve(name, more)
    try:
        for _ in range(100):  # What is made once is made.
            answered(connect(port, context))
        before = resident_bytes(process)
        clients = []
        for _ in range(wanted):
            clients.append(connect(port, context))
            answered(clients[-1])
        grown = resident_bytes(process) - before
        claim(clients[0].fileno() >= 0 and answered(clients[0]) < 10, "the oldest is still open")
        others = [answered(connect(port, context)) for _ in range(PROBES)]
        per_connection = grown / wanted
        print(f"{name}: {wanted:,} idle connections, {grown / 1024 / 1024:.1f} MiB, {per_connection:,.0f} bytes each; others are answered "
              f"in {statistics.median(others) * 1000:.2f} ms", flush=True)
        claim(per_connection <= bytes_max, f"{name}: at most {bytes_max:,.0f} bytes each", f"{per_connection:,.0f}")
        claim(statistics.median(others) < PROBE_SECONDS_MAX, f"{name}: others do not wait", str(others))
    finally:
        process.send_signal(signal.SIGTERM)
        claim(process.wait(timeout=120) == 0, "it ends in order")


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # The server keeps half of its own descriptors for files; the probes are connections too.
    wanted = min(CONNECTIONS, hard // 2) - 200
    claim(wanted >= 1000, "enough descriptors for a figure", f"ulimit -n is {hard}")
    measure("plain", wanted, BYTES_MAX)
    certificate, key = Authority(FOLDER / "ca", "authority").sign("server")
    measure("tls", wanted // 5, TLS_BYTES_MAX, f"  tls: {{certificate_file: {certificate}, key_file: {key}}}\n",
            ssl._create_unverified_context())
    end()


main()
