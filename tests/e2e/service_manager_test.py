"""Goal: `millrace run` is a service as systemd wants it (Type=notify): ready once it answers, alive as long as its control loop is,
stopping when it stops; and its log is fit for the journal. The manager is a socket of ours; BINARY is the program.
"""
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request

from product import BINARY, FOLDER, PIPELINE, claim, end, millrace

SERVED = PIPELINE.replace("level: warn", "level: info") + "serve: {listen: '127.0.0.1:0'}\n"


class Manager:
    """What systemd is to a service: a socket for what it tells, and its standard error."""

    def __init__(self, *arguments, watchdog=None, journal=True):
        self.path = str(FOLDER / "notify")
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(120)
        self.said = open(FOLDER / "said", "w+")
        at = os.fstat(self.said.fileno())
        environment = {**os.environ, "NOTIFY_SOCKET": self.path, "JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}" if journal else "1:1"}
        if watchdog:
            environment["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        self.process = subprocess.Popen([BINARY, "run", *arguments], cwd=FOLDER, env=environment, stderr=self.said)

    def next(self):
        return self.socket.recv(4096).decode()

    def until(self, wanted):
        """Everything that is told up to the datagram with `wanted`."""
        told = []
        while not told or wanted not in told[-1]:
            told.append(self.next())
        return told

    def log(self):
        return (FOLDER / "said").read_text()

    def wait_for_log(self, words):
        """The line that has them."""
        deadline = time.monotonic() + 180
        while True:
            # The last line may be in the midst of being written.
            if found := [line for line in self.log().split("\n")[:-1] if words in line]:
                return found[0]
            claim(self.process.poll() is None and time.monotonic() < deadline, words, self.log())
            time.sleep(0.05)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        code = self.process.wait(timeout=120)
        self.socket.settimeout(0.1)
        told = []
        try:
            while True:
                told.append(self.next())
        except TimeoutError:
            return code, told


def life():
    (FOLDER / "p.yaml").write_text(SERVED)
    millrace("simulate", "clickstream", "--count", "100", "--rate", "0", "--to", "embedded:log/clicks")
    service = Manager("-c", "p.yaml", watchdog=0.9)
    try:
        claim(service.next() == "READY=1", "the first thing told is that it is ready")
        url = service.wait_for_log("serving url=").split("url=")[1]
        with urllib.request.urlopen(url + "/livez", timeout=60) as answer:
            claim(answer.status == 200, "and then it answers")
        told = service.until("100 records read, 0 behind")
        claim("STATUS=running: 4 partitions" in told[-1], "the status line says what it does", told)
        claim(all("WATCHDOG=1" in state for state in told), "and all of it says that it is alive", told)
        took = []
        for _ in range(3):  # This machine may stand still now and then.
            begun = time.monotonic()
            for _ in range(6):
                service.until("WATCHDOG=1")
            took.append(time.monotonic() - begun)
        claim(min(took) < 6 * 0.9, "more often than the watchdog wants it", took)
        service.process.send_signal(signal.SIGSTOP)  # Nothing of it runs.
        service.socket.settimeout(0.2)
        try:
            while True:
                service.next()
        except TimeoutError:
            pass
        service.socket.settimeout(1)
        try:
            service.next()
            claim(False, "a process that does nothing is not alive")
        except TimeoutError:
            claim(True, "a process that does nothing is not alive")
        service.process.send_signal(signal.SIGCONT)
        service.socket.settimeout(120)
        service.until("WATCHDOG=1")
        code, told = service.end()
        claim(code == 0 and told[-1].startswith("STOPPING=1"), "the last is that it stops", (code, told))
        claim(sum("STOPPING=1" in state for state in told) == 1, "said once", told)
        lines = service.log().splitlines()
        claim(lines and all(line.startswith("<6>") for line in lines) and not any(re.match(r"<6>\d{4}-", line) for line in lines),
              "for the journal: a priority, and no time of its own", lines)
    finally:
        service.process.kill()


def reloads():
    """Also one whose file fails only when it reads: as long as something goes on, nothing says that it stops."""
    (FOLDER / "r.yaml").write_text(SERVED)
    service = Manager("-c", "r.yaml")
    try:
        service.until("STATUS=running: 4 partitions")
        (FOLDER / "r.yaml").write_text(SERVED.replace("path: log", "path: typo"))
        service.process.send_signal(signal.SIGHUP)
        told = service.until("RELOADING=1") + service.until("READY=1")
        service.wait_for_log("what ran before goes on")
        told += service.until("READY=1") + service.until("STATUS=running: 4 partitions")
        claim(not any("STOPPING=1" in state for state in told), "what does not come to work is not told to stop", told)
        code, told = service.end()
        claim(code == 0 and told[-1].startswith("STOPPING=1"), "the last is that it stops", (code, told))
    finally:
        service.process.kill()


def only_answering():
    (FOLDER / "s.yaml").write_text(SERVED)
    service = Manager("-c", "s.yaml", "--role", "serve", journal=False)
    try:
        told = service.until("STATUS=")
        claim(told[0] == "READY=1" and "STATUS=answering at http://127.0.0.1:" in told[-1], "a process that only answers", told)
        code, told = service.end()
        claim(code == 0 and told[-1].startswith("STOPPING=1"), "stops as well", (code, told))
        claim("Z info " in service.log(), "standard error that is not the journal's keeps its times", service.log())
    finally:
        service.process.kill()


def refusals():
    """What does not start is never ready."""
    (FOLDER / "bad.yaml").write_text("version: 1\n")
    service = Manager("-c", "bad.yaml")
    claim(service.process.wait(timeout=120) == 78, "a bad file")
    service.socket.settimeout(0.1)
    try:
        claim(False, "tells nothing", service.next())
    except TimeoutError:
        claim(True, "tells nothing")
    said = service.log().splitlines()
    claim(said and all(line.startswith("<3>") for line in said), "and in the journal all that is wrong is an error", said)
    service = Manager("-c", "bad.yaml", journal=False)
    claim(service.process.wait(timeout=120) == 78 and "<" not in service.log() and service.log().count("bad.yaml") == len(said),
          "elsewhere the same lines are as they are", service.log())
    (FOLDER / "lake.yaml").write_text(SERVED.replace("uri: lake", "uri: bad.yaml"))
    service = Manager("-c", "lake.yaml")
    claim(service.process.wait(timeout=120) == 78 and all(line.startswith("<3>millrace: ") for line in service.log().splitlines()),
          "what does not start says why as an error", service.log())
    (FOLDER / "p.yaml").write_text(SERVED.replace("log: {level: info}", "log: {level: info, format: json}"))
    service = Manager("-c", "p.yaml")
    try:
        os.unlink(service.path)  # A manager that went away.
        service.wait_for_log("NOTIFY_SOCKET=")
        code, _ = service.end()
        lines = [json.loads(line) for line in service.log().splitlines()]
        claim(code == 0 and any("NOTIFY_SOCKET=" in line["msg"] and line["level"] == "warning" for line in lines),
              "a manager that does not listen is no reason to stop; log.format json is JSON in the journal too", lines)
    finally:
        service.process.kill()


life()
reloads()
only_answering()
refusals()
end()
