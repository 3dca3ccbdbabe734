"""The program as the tests of its commands use it: in a folder of its own, which is gone at the end if every claim held."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from ports import free_port  # noqa: E402,F401  (for the tests that import this)

BINARY = sys.argv[1]
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix=f"millrace-{pathlib.Path(sys.argv[0]).stem}-"))
PIPELINE = """version: 1
pipeline: clicks
source:
  embedded: {path: log, partitions: 4}
  topics: [clicks]
decode:
  format: json
  columns: {event_id: string, ts: timestamp, country: string, amount: "decimal(12,2)"}
event_time: {column: ts}
tables:
  - name: clicks
    partition_by: ["date(ts)"]
lake: {uri: lake}
log: {level: warn}
"""
_held = 0


def millrace(*arguments, code=0, env=None):
    """Runs a command to its end, which comes, and with this exit code."""
    done = subprocess.run([BINARY, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=300,
                          env={**os.environ, **(env or {})})
    assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done


def claim(condition, what, details=""):
    global _held
    assert condition, f"{what}\n{details}"
    _held += 1


def end():
    """To be called last."""
    print(f"{_held} passed, 0 failed")
    shutil.rmtree(FOLDER)
