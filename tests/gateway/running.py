"""The program with a gateway, and what lies in its log. Only the standard library."""
import http.client
import json
import pathlib
import re
import signal
import subprocess
import time

PIPELINE = """version: 1
pipeline: clicks
source:
  {source}
  topics: [clicks]
decode: {{format: json, columns: {{event_id: string, n: int64}}}}
tables: [{{name: clicks}}]
lake: {{uri: lake}}
limits: {{memory: 256MiB}}
serve:
  listen: 127.0.0.1:{port}
{serve}
gateway:
  http:
    topics: {topics}
{mqtt}
log: {{level: info}}
"""


class Gateway:
    """A process of `millrace gateway` (or another verb) in a folder; `port` stays the same over restarts. `configuration`: instead of what the
    other words make of PIPELINE."""

    def __init__(self, binary, folder, port, source="embedded: {path: log, partitions: 2}", topics="{clicks: {}}", serve="", mqtt="",
                 verb=("gateway",), prefix=(), configuration=None):
        self.folder, self.port, self.process = pathlib.Path(folder), port, None
        self.command = [*prefix, binary, *verb, "-c", "gateway.yaml"]
        (self.folder / "gateway.yaml").write_text(configuration or PIPELINE.format(source=source, port=port, topics=topics, serve=serve,
                                                                                   mqtt=mqtt and "  mqtt: " + mqtt))

    def start(self, ready=True):
        with (self.folder / "gateway.log").open("a") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 180
        while not self.answers("/readyz" if ready else "/livez"):
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "gateway.log").read_text()
            time.sleep(0.02)
        return self

    def answers(self, path):
        try:
            return self.ask("GET", path)[0] == 200
        except OSError:
            return False

    def ask(self, method, path, body=b"", headers=None, timeout=60):
        """(status, headers, body)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def send(self, body, content_type="application/x-ndjson", topic="clicks", query="", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, answer = self.ask("POST", f"/v1/events/{topic}{query}", body, {"Content-Type": content_type, **headers})
        return status, json.loads(answer)

    def metric(self, name):
        text = self.ask("GET", "/metrics")[2].decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*?}})? (\S+)$", text, re.M))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(120) == 0, (self.folder / "gateway.log").read_text()


def records(reader, where, *topics):
    done = subprocess.run([reader, where, *topics], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
