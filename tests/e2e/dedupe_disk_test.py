"""Goal: more keys than memory has room for are remembered on the local disk, and the tables are the same: whatever kills the
process while it writes there, and whatever becomes of what it wrote.
"""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

from product import BINARY, FOLDER, PIPELINE, claim, end, millrace

# Half of the least limits.memory has room for about a million keys.
COUNT = 1_300_000
PARTITIONS = FOLDER / "state" / "clicks" / "dedupe"
KILLED_AT = ["dedupe.frame:40", "dedupe.run_written", "dedupe.base_written"]

(FOLDER / "p.yaml").write_text(PIPELINE.replace("log: {level: warn}", "log: {level: info}") +
                               "dedupe: {by: event_id, within: 7d}\nlimits: {memory: 64MiB, threads: 2}\n")


def send(seed, count):
    said = millrace("simulate", "clickstream", "--count", str(count), "--rate", "0", "--seed", str(seed), "--duplicates", "10%",
                    "--to", "embedded:log/clicks").stderr
    return int(re.search(r"([\d,]+) repeated", said)[1].replace(",", ""))


def files(prefix):
    return sorted(path for path in PARTITIONS.glob("*/*") if path.name.startswith(prefix))


def claim_books(what, read, repeats):
    report = json.loads(millrace("audit", "-c", "p.yaml", "-o", "json").stdout)
    table = next(table for table in report["tables"] if table["name"] == "clicks")
    claim((table["read"], table["deduplicated"], table["rows"]) == (read, repeats, read - repeats), what, table)


repeated = send(0, COUNT)
for place in KILLED_AT:
    millrace("run", "-c", "p.yaml", "--until-end", code=-signal.SIGKILL, env={"MILLRACE_KILL_AT": place})
millrace("run", "-c", "p.yaml", "--until-end")
claim(len(files("run-")) > 0, "keys are on the disk", files(""))
claim_books("each key is in the table once", COUNT, repeated)

# What was sent is sent again: keys that memory has, and those of the disk.
send(0, COUNT)
said = millrace("run", "-c", "p.yaml", "--until-end").stderr
claim("thrown away" not in said, "what it had kept was of use", said)
claim_books("all of it is known", 2 * COUNT, repeated + COUNT)

chance = random.Random(1)
for damage, at in [("a page of a run", 0.2), ("the end of a run", 0.999), ("a journal", 0.5)]:
    damaged = files("journal-" if "journal" in damage else "run-")[0]
    content = bytearray(damaged.read_bytes())
    content[int(len(content) * at)] ^= 1 << chance.randrange(8)
    damaged.write_bytes(content)
    # The same keys again: some are looked for in each page of a run.
    send(0, COUNT // 10)
    millrace("run", "-c", "p.yaml", "--until-end")
sent = 2 * COUNT + 3 * (COUNT // 10)
claim_books("damage changes nothing", sent, sent - (COUNT - repeated))

shutil.rmtree(FOLDER / "state")
send(0, COUNT // 10)
millrace("run", "-c", "p.yaml", "--until-end")
sent += COUNT // 10
claim_books("neither does its loss", sent, sent - (COUNT - repeated))

# A disk that is full: nothing is lost, and it goes on when there is room.
shutil.rmtree(FOLDER / "state")
(FOLDER / "state").mkdir()
mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(FOLDER / "state")],
                                               capture_output=True).returncode == 0
if mounted:
    send(1, COUNT // 10)
    with open(FOLDER / "run.log", "w+") as log:
        worker = subprocess.Popen([BINARY, "run", "-c", "p.yaml", "--until-end"], cwd=FOLDER, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 180
            while not re.search(r"dedupe: cannot write \S*state/clicks/dedupe/\S+: No space left on device",
                                (FOLDER / "run.log").read_text()):
                claim(time.monotonic() < deadline and worker.poll() is None, "it says which file had no room",
                      (FOLDER / "run.log").read_text())
                time.sleep(0.05)
        finally:
            subprocess.run(["umount", "-l", str(FOLDER / "state")], check=True)
        claim(worker.wait(120) == 0, "with room it goes on to the end", (FOLDER / "run.log").read_text())
    report = json.loads(millrace("audit", "-c", "p.yaml", "-o", "json").stdout)
    table = next(table for table in report["tables"] if table["name"] == "clicks")
    claim(table["read"] == sent + COUNT // 10 and table["rows"] > COUNT - repeated, "nothing is lost", table)
end()
