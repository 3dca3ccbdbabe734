"""Goal: whoever takes the changes of a stream holds, at each of its offsets, the answer to the same question at these offsets: also
after being cut off and coming back, and while windows move out of the question.
"""
import http.client
import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request

from product import BINARY, FOLDER, claim, end

QUESTIONS = {
    "all windows": {"group_by": "window_start,country"},
    "the last seconds": {"from": "-3s", "group_by": "window_start,country", "step": "1s"},
    "the first five": {"group_by": "country", "measures": "views", "order_by": "views desc", "limit": "5"},
    "one row": {"group_by": ""},
}


class Stream(threading.Thread):
    """Holds the rows that the events of a stream say, and what they were at each offsets."""

    def __init__(self, port, parameters):
        super().__init__(daemon=True)
        self.port, self.parameters = port, parameters
        self.last_id = None
        self.held = {}
        self.at = {}  # By offsets: when it came, the rows.
        self.events = []
        self.connection = None
        self.lock = threading.Lock()
        self.start()

    def run(self):
        while True:
            try:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
                self.connection.request("GET", f"/v1/aggregates/clicks_1s/stream?{urllib.parse.urlencode(self.parameters)}",
                                        headers=headers)
                response = self.connection.getresponse()
                assert response.status == 200 and response.getheader("Content-Type") == "text/event-stream", response.read()
                self.take(response)
            except (OSError, http.client.HTTPException, ValueError, AttributeError):
                time.sleep(0.05)  # Cut off, as the test wants it, or the process has ended.

    def take(self, response):
        event = {}
        while line := response.readline():
            line = line.decode().rstrip("\n")
            if line:
                if not line.startswith(":"):
                    name, value = line.split(": ", 1)
                    event[name] = value
                continue
            if event:
                self.hold(event["event"], json.loads(event["data"]))
                self.last_id = event["id"]
            event = {}

    def key(self, row):
        # What the question groups by, as rows and removed groups both have it.
        return tuple(str(row[name]) for name in self.parameters["group_by"].split(",") if name)

    def hold(self, event, data):
        with self.lock:
            self.events.append(event)
            if event == "snapshot":
                self.held = {}
            for group in data.get("removed", []):
                del self.held[self.key(group)]
            for row in data.get("data", []):
                self.held[self.key(row)] = row
            if event in ("snapshot", "upsert"):
                self.at[json.dumps(data["as_of"]["offsets"])] = (time.monotonic(), dict(self.held))

    def cut(self):
        self.connection.sock.shutdown(2)


def answer(port, parameters):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/aggregates/clicks_1s?{urllib.parse.urlencode(parameters)}",
                                timeout=60) as response:
        return json.load(response)


def main():
    (FOLDER / "pipeline.yaml").write_text("")
    port = 0
    log = open(FOLDER / "demo.log", "w")
    demo = subprocess.Popen([BINARY, "demo", "--rate", "40", "--dir", "demo", "--port", "0", "--for", "900s"], cwd=FOLDER,
                            stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 180
        while not port:
            claim(time.monotonic() < deadline, "the demo says where it serves", (FOLDER / "demo.log").read_text())
            for word in (FOLDER / "demo.log").read_text().split():
                if "http://127.0.0.1:" in word:
                    port = int(word.split("127.0.0.1:")[1].split("/")[0])
            time.sleep(0.05)
        while not answer(port, {"group_by": ""})["data"]:
            time.sleep(0.1)
        streams = {name: Stream(port, parameters) for name, parameters in QUESTIONS.items()}
        compared = dict.fromkeys(QUESTIONS, 0)
        delays = []
        deadline = time.monotonic() + 180
        cuts = 0
        while min(compared.values()) < 25:
            claim(time.monotonic() < deadline, "answers and streams meet at the same offsets", str(compared))
            for name, parameters in QUESTIONS.items():
                whole = answer(port, parameters)
                asked_at = time.monotonic()
                stream = streams[name]
                time.sleep(0.03)
                with stream.lock:
                    met = stream.at.get(json.dumps(whole["as_of"]["offsets"]))
                # Windows may have left the question between the two at the same offsets.
                if met is None or (name == "the last seconds" and time.monotonic() - asked_at > 0.2):
                    continue
                rows = {stream.key(row): row for row in whole["data"]}
                if name == "the last seconds":
                    common = rows.keys() & met[1].keys()
                    if not common:
                        continue
                    same = all(rows[key] == met[1][key] for key in common)
                else:
                    same = rows == met[1]
                claim(same, f"{name}: the stream holds the answer at {whole['as_of']['offsets']}",
                      f"answer {rows}\nstream {met[1]}\nevents {stream.events[-20:]}")
                compared[name] += 1
                delays.append(max(0.0, met[0] - asked_at))
            if min(compared.values()) >= 8 * (cuts + 1):
                cuts += 1
                for stream in streams.values():
                    stream.cut()
                time.sleep(0.3)
        for name, stream in streams.items():
            snapshots = stream.events.count("snapshot")
            claim(snapshots == 1, f"{name}: one snapshot, and after being cut off {cuts} times what came since", str(snapshots))
        claim("final" in streams["all windows"].events, "windows are said to be complete")
        claim("watermark" in streams["one row"].events, "the watermark is told")
        removed = max(len(rows) for _, rows in streams["the last seconds"].at.values())
        claim(removed < 4 * 60, "windows leave the question", str(removed))
        delays.sort()
        print(f"an answer's offsets were in the stream {1000 * delays[len(delays) // 2]:.0f} ms (median), "
              f"{1000 * delays[-1]:.0f} ms (most) after it")

        begun = time.monotonic()
        demo.terminate()
        demo.wait(120)
        claim(time.monotonic() - begun < 20, "streams do not hold up the end until shutdown_timeout, 25 s", f"{time.monotonic() - begun:.1f} s")
    finally:
        demo.kill()
    end()


main()
