"""Goal: a signal ends every command that goes on by itself, in the time that it says, also when what it waits for never comes:
a broker that is away, a reader that does not read, SQL that does not return.
"""
import pathlib
import re
import signal
import socket
import subprocess
import time

import pyarrow.parquet as pq

from product import BINARY, FOLDER, PIPELINE, claim, end, free_port, millrace

SLACK = 2  # Seconds for a busy machine.
ATTEMPTS = 3  # One may stand still just then; that it does so each time is not to be expected.


def takes_sigterm(pid):
    """It catches the signal, or waits for it; before that it ends as every process does."""
    masks = re.findall(r"^Sig(?:Cgt|Blk):\s*(\w+)$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)
    return any(int(mask, 16) >> (signal.SIGTERM - 1) & 1 for mask in masks)


def stopped(*arguments, within, after, signals=1, stdout=subprocess.DEVNULL):
    """Starts the command, signals it once after()() is true; (seconds until it ended, exit code, what it said), of the first time that it ended
    within so many seconds, or of the last."""
    for _ in range(ATTEMPTS):
        seconds, code, said = stopped_once(*arguments, after=after(), signals=signals, stdout=stdout)
        if seconds < within:
            break
    return seconds, code, said


def stopped_once(*arguments, after, signals, stdout):
    with open(FOLDER / "said", "w+") as said:
        process = subprocess.Popen([BINARY, *arguments], cwd=FOLDER, stdout=stdout, stderr=said)
        try:
            deadline = time.monotonic() + 180
            while not (takes_sigterm(process.pid) and after()):
                assert time.monotonic() < deadline and process.poll() is None, (FOLDER / "said").read_text()
                time.sleep(0.05)
            begun = time.monotonic()
            for i in range(signals):
                time.sleep(0.3 if i else 0)
                process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=120)
            return time.monotonic() - begun, code, (FOLDER / "said").read_text()
        finally:
            process.kill()
            if process.stdout:
                process.stdout.close()


def passes(seconds):
    """Makes a condition that is true so many seconds after it was first asked."""
    def make():
        at = []

        def asked():
            at.append(time.monotonic())
            return at[-1] - at[0] >= seconds
        return asked
    return make


def simulate():
    lost = "some of what was sent last is lost"
    broker = f"127.0.0.1:{free_port()}"
    away = ("simulate", "clickstream", "--rate", "100", "--to", f"kafka://{broker}/clicks")
    seconds, code, said = stopped(*away, within=2 + SLACK, after=passes(1))
    claim(code == 1 and seconds < 2 + SLACK and lost in said, "a broker that is away", (seconds, code, said))
    for place in (away[-1], f"http://{broker}/clicks"):
        _, code, said = stopped("simulate", "clickstream", "--count", "1", "--to", place, within=120,
                                after=lambda: lambda: "trying on" in (FOLDER / "said").read_text())
        claim(code == 1 and said.count(f"millrace: {place} has acknowledged nothing for 3 s; trying on\n") == 1, "which is told meanwhile, once", said)
    # The producer's buffer is full.
    seconds, code, said = stopped(*away[:3], "0", *away[4:], within=2 + SLACK, after=passes(3))
    claim(code == 1 and seconds < 2 + SLACK and lost in said, "a full buffer", (seconds, code, said))
    seconds, code, said = stopped(*away, within=0.3 + SLACK / 2, after=passes(1), signals=2)
    claim(code == 1 and seconds < 0.3 + SLACK / 2 and lost in said, "a second signal", (seconds, code, said))
    seconds, code, said = stopped("simulate", "clickstream", "--rate", "0", within=5 + SLACK, after=passes(1), stdout=subprocess.PIPE)
    claim(code == 1 and seconds < 5 + SLACK and lost in said, "a pipe that nobody reads", (seconds, code, said))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("kafka", "http", "mqtt"):
            truth = FOLDER / f"{scheme}.parquet"

            def sending():
                truth.unlink(missing_ok=True)
                return passes(2.65)()  # A request is given up with the next full second of its life: that is far when patience is over.
            to = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/clicks"
            seconds, code, said = stopped(*away[:-1], to, "--truth", truth.name, within=5 + SLACK, after=sending)
            claim(code == 1 and seconds < 5 + SLACK and lost in said, f"{scheme}: one that takes connections and says nothing", (seconds, code, said))
            counts = re.search(r"([\d,]+) events sent: .*; 0 acknowledged, ([\d,]+) unknown", said)
            claim(counts, f"{scheme}: and how much that was", said)
            sent, unknown = counts.groups()
            claim(sent == unknown and pq.read_table(truth).column("outcome").to_pylist() == ["unknown"] * int(sent.replace(",", "")),
                  f"{scheme}: and the truth says that nobody knows", said)
    seconds, code, said = stopped("simulate", "clickstream", "--rate", "100", "--to", "embedded:other/clicks", within=1 + SLACK, after=passes(1))
    claim(code == 0 and seconds < 1 + SLACK and "events sent" in said, "a log that is there takes everything", (seconds, code, said))


def run():
    """A statement that computes for minutes cannot be told to end: the process ends 3 s after shutdown_timeout."""
    slow = "SELECT *, levenshtein(repeat(event_id, 4000), repeat(country, 70000)) AS d FROM input"
    (FOLDER / "p.yaml").write_text(PIPELINE.replace("- name: clicks", "- name: clicks\n    from: slow").replace("level: warn", "level: info") +
                                   f'transforms: [{{name: slow, sql: "{slow}"}}]\nshutdown_timeout: 1s\n')
    millrace("simulate", "clickstream", "--count", "100", "--rate", "0", "--to", "embedded:log/clicks")

    def reading():
        taken = passes(1)()
        return lambda: "assigned partitions" in (FOLDER / "said").read_text() and taken()
    seconds, code, said = stopped("run", "-c", "p.yaml", within=1 + 3 + SLACK, after=reading)
    claim(code == 1 and 1 + 3 <= seconds < 1 + 3 + SLACK, "3 s after shutdown_timeout", (seconds, code, said))
    claim("shutdown_timeout is over and something does not end" in said, "and it says so", said)
    seconds, code, said = stopped("run", "-c", "p.yaml", within=0.3 + SLACK / 2, after=reading, signals=2)
    claim(code == 1 and seconds < 0.3 + SLACK / 2 and "second signal" in said, "a second signal", (seconds, code, said))


simulate()
run()
end()
