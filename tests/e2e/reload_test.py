"""Goal: SIGHUP makes `millrace run` read its file again: what that says takes the place of what runs, in the same process, exactly once;
a file that cannot run changes nothing. BINARY is the program.
"""
import json
import pathlib
import shutil
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


def is_ready(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as answer:
        return answer.status == 200


def first_of_stream(port, last_id=None):
    """The first event, as a dictionary of its fields."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/aggregates/by_country/stream?group_by=",
                                     headers={"Last-Event-ID": last_id} if last_id else {})
    with urllib.request.urlopen(request, timeout=60) as stream:
        lines = iter(lambda: stream.readline().decode().rstrip("\n"), "")
        return dict(line.split(": ", 1) for line in lines if not line.startswith(":"))


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

    # What is found only when it begins to read.
    FILE.write_text(pipeline(other, more=BY_COUNTRY).replace("topics: [clicks]", "topics: [clicks, others]\n  start: {offsets: {others: {0: 99999}}}"))
    before = running.reload()
    running.wait_for("offsets that the log does not hold: it says so", lambda: "what ran before goes on" in running.log()[before:])
    claim("99999" in running.log()[before:], "and what it is", running.log()[before:])
    running.wait_for("and the old one answers", lambda: events(other) == 500)

    seen = first_of_stream(other)
    FILE.write_text(pipeline(other, more=BY_COUNTRY, level="error"))
    running.reload()
    send(700, 2)
    running.wait_for("what comes meanwhile is read once", lambda: events(other) == 1200)
    # Which of the two has answered is not known.
    running.wait_for("a stream of before begins again with a snapshot", lambda: first_of_stream(other, seen["id"]).get("event") == "snapshot")
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


def what_has_worked_and_fails_ends():
    """Nothing of before takes its place: nobody asked for that."""
    port, other = free_port(), free_port()
    FILE.write_text(pipeline(port).replace("uri: lake", "uri: well"))
    running = Running()
    state = lambda at: get(at, "/v1/pipeline")["state"]
    running.wait_for("it runs", lambda: state(port) == "running")
    FILE.write_text(FILE.read_text().replace(str(port), str(other)))
    running.reload()
    running.wait_for("and so does another file", lambda: state(other) == "running" and is_ready(other))
    shutil.rmtree(FOLDER / "well")
    send(100, 3)
    claim(running.process.wait(timeout=180) == 1 and "what ran before goes on" not in running.log(), "a lake that went away under it ends it", running.log())


def signals_of(process, kind):
    """SigBlk, SigIgn: a set of numbers; empty before it is the program, and when it has ended."""
    try:
        if not pathlib.Path(f"/proc/{process.pid}/exe").samefile(BINARY):
            return set()
        line = next(line for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith(kind))
    except (OSError, StopIteration):
        return set()
    mask = int(line.split()[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def as_soon_as_it_minds_the_signal():
    port = free_port()
    FILE.write_text(pipeline(port, more=BY_COUNTRY))
    running = Running()
    deadline = time.monotonic() + 180
    while signals_of(running.process, "SigBlk") != {signal.SIGHUP}:  # All of them: a thread is being made.
        assert running.process.poll() is None and time.monotonic() < deadline, running.log()
    running.process.send_signal(signal.SIGHUP)
    running.wait_for("a signal while it starts waits until it has", lambda: "reading the file again" in running.log())
    running.wait_for("and the file of now runs", lambda: running.log().count("serving url=") == 2 and events(port) == 1200)
    running.end()


def until_end_minds_none():
    FILE.write_text(pipeline(free_port(), more=BY_COUNTRY))
    running = Running("--until-end")
    minds = True
    while minds and running.process.poll() is None:
        minds = signal.SIGHUP not in signals_of(running.process, "SigIgn")
    claim(not minds, "SIGHUP is nothing to --until-end")
    running.process.send_signal(signal.SIGHUP)
    claim(running.process.wait(timeout=120) == 0, "so that it goes on to the end", running.log())


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
    broker.create_topic("others", 1)
    what_the_file_says_now_runs()
    a_signal_to_end_ends_it_whatever_is_being_read()
    as_soon_as_it_minds_the_signal()
    until_end_minds_none()
    a_process_that_only_answers()
    what_has_worked_and_fails_ends()
end()
