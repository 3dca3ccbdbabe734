"""Goal: SIGHUP makes `millrace run` read its file again: what that says takes the place of what runs, in the same process, exactly once;
a file that cannot run changes nothing. BINARY is the program.
"""
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from product import BINARY, FOLDER, PIPELINE, claim, end, free_port, millrace

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kafka"))
from broker import Broker  # noqa: E402  (the path is set just above)

FILE = FOLDER / "p.yaml"
BY_COUNTRY = """aggregates:
  - {name: by_country, sql: "SELECT country, count(*) AS n FROM input GROUP BY ALL"}
"""


def pipeline(port, *, more="", level="info"):
    kafka = PIPELINE.replace("embedded: {path: log, partitions: 4}", f"kafka: {{bootstrap.servers: '{broker.address}'}}")
    return kafka.replace("level: warn", f"level: {level}") + f"serve: {{listen: '127.0.0.1:{port}'}}\n" + more


class Running:
    def __init__(self, *arguments):
        self.log_file = open(FOLDER / "said", "w+")
        self.process = subprocess.Popen([BINARY, "run", "-c", str(FILE), *arguments], cwd=FOLDER, stderr=self.log_file,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def log(self):
        return pathlib.Path(self.log_file.name).read_text()

    def wait_for(self, what, condition):
        """Until condition() holds; errors of HTTP count as not yet."""
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"{what}: it has ended\n{self.log()}"
            try:
                if condition():
                    return claim(True, what)
            except OSError:
                pass
            time.sleep(0.05)
        return claim(False, what, self.log())

    def reload(self):
        """Returns the log's length before."""
        before = len(self.log())
        self.process.send_signal(signal.SIGHUP)
        return before

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        claim(self.process.wait(timeout=120) == 0, "it ends in order", self.log())


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return json.load(answer)


def send(count, seed):
    millrace("simulate", "clickstream", "--count", str(count), "--rate", "0", "--late", "0", "--duplicates", "0", "--malformed", "0",
             "--seed", str(seed), "--to", f"kafka://{broker.address}/clicks")


def events(port):
    return get(port, "/v1/aggregates/by_country?group_by=")["data"][0]["n"]


def what_the_file_says_now_runs():
    port, other = free_port(), free_port()
    FILE.write_text(pipeline(port))
    send(500, 1)
    running = Running()
    running.wait_for("the first file runs", lambda: get(port, "/v1/pipeline"))
    FILE.write_text(pipeline(other, more=BY_COUNTRY))
    running.reload()
    running.wait_for("an aggregate that was added, at another address, with what came before", lambda: events(other) == 500)
    with socket.socket() as gone:
        claim(gone.connect_ex(("127.0.0.1", port)) != 0, "nobody listens at the old one")

    broken = FILE.read_text().replace("country: string", "country: strnig")
    for what, text, says in [
        ("an unknown type", broken, "strnig"),
        ("no YAML", "version: [", "cannot run"),
        ("an aggregate that means something else", FILE.read_text().replace("count(*) AS n", "sum(amount) AS n"), "by_country"),
    ]:
        FILE.write_text(text)
        before = running.reload()
        running.wait_for(f"{what}: it says so", lambda: "what runs goes on" in running.log()[before:])
        claim(says in running.log()[before:], f"{what}: and what it is", running.log()[before:])
        claim(events(other) == 500, f"{what}: the old one answers")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        FILE.write_text(pipeline(taken.getsockname()[1], more=BY_COUNTRY))
        before = running.reload()
        running.wait_for("a port that is taken: it says so", lambda: "what ran before goes on" in running.log()[before:])
        running.wait_for("and the old one answers", lambda: events(other) == 500)

    FILE.write_text(pipeline(other, more=BY_COUNTRY, level="error"))
    running.reload()
    send(700, 2)
    running.wait_for("what comes meanwhile is read once", lambda: events(other) == 1200)
    for _ in range(5):
        running.process.send_signal(signal.SIGHUP)
    running.wait_for("many at once are as one", lambda: events(other) == 1200)
    running.end()
    millrace("audit", "-c", str(FILE))


def a_signal_to_end_ends_it_whatever_is_being_read():
    port = free_port()
    FILE.write_text(pipeline(port, more=BY_COUNTRY))
    running = Running()
    running.wait_for("it runs", lambda: events(port) == 1200)
    running.process.send_signal(signal.SIGHUP)
    running.end()


def a_process_that_only_answers():
    port, other = free_port(), free_port()
    FILE.write_text(pipeline(port, more=BY_COUNTRY))
    running = Running("--role", "serve")
    running.wait_for("it answers", lambda: events(port) == 1200)
    FILE.write_text(pipeline(other, more=BY_COUNTRY))
    running.reload()
    running.wait_for("and elsewhere, when the file says so", lambda: events(other) == 1200)
    running.end()


with Broker() as broker:
    broker.create_topic("clicks", 4)
    what_the_file_says_now_runs()
    a_signal_to_end_ends_it_whatever_is_being_read()
    a_process_that_only_answers()
end()
