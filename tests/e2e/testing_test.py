"""Goal: `millrace test` as its guide says: what passes, what a failure prints, which exit code, and where a file is wrong."""
import json
import os
import pathlib
import pty
import re
import shutil
import subprocess
import time

from product import BINARY, FOLDER, claim, end, millrace

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/testing.md").read_text()


def on_a_terminal(env=None):
    """What the verb prints when standard output is a terminal."""
    ours, theirs = pty.openpty()
    subprocess.run([BINARY, "test", "wrong.test.yaml"], cwd=FOLDER, stdout=theirs, timeout=60, check=False,
                   env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, **(env or {})})
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 65536):
            said += chunk
    except OSError:  # Linux says so that the other end is closed.
        pass
    os.close(ours)
    return said.decode()


def main():
    shutil.copy(ROOT / "examples/clicks.yaml", FOLDER)
    tests = re.search(r"^```yaml\n(.*?)^```$", GUIDE, re.S | re.M).group(1)
    (FOLDER / "clicks.test.yaml").write_text(tests)
    took = []
    for _ in range(3):  # A busy machine may stand still now and then.
        begun = time.monotonic()
        good = millrace("test", "clicks.test.yaml")
        took.append(time.monotonic() - begun)
        claim("2 passed, 0 failed" in good.stdout and good.stderr == "", "the guide's example passes", good)
    claim(min(took) < 5, "in a moment", took)
    claim(sorted(path.name for path in FOLDER.iterdir()) == ["clicks.test.yaml", "clicks.yaml"], "nothing is left behind")

    (FOLDER / "wrong.test.yaml").write_text(tests.replace("revenue: 3.50", "revenue: 3.55"))
    wrong = millrace("test", "wrong.test.yaml", code=1)
    shown = re.search(r"^```\n(clicks.test.yaml\n.*?)^```$", GUIDE, re.S | re.M).group(1)
    claim(wrong.stdout == shown.replace("clicks.test", "wrong.test"), "a failure reads as the guide shows it", wrong.stdout)
    claim("\x1b[31mFAIL" in on_a_terminal() and "\x1b" not in on_a_terminal({"NO_COLOR": "1"}), "colours are for terminals")

    report = json.loads(millrace("test", "clicks.test.yaml", "wrong.test.yaml", "-o", "json", code=1).stdout)
    claim((report["passed"], report["failed"]) == (3, 1) and [file["file"] for file in report["files"]] ==
          ["clicks.test.yaml", "wrong.test.yaml"], "-o json has all files", report)
    difference = report["files"][1]["tests"][0]["differences"][0]
    claim({"name": "revenue", "expected": 3.55, "found": 3.5} in difference["columns"] and difference["line"] == 12,
          "and what differs, by column", difference)

    for change, message in [
            (("expect:", "expct:"), "bad.test.yaml:8:5: unknown key 'expct' in tests.events of a minute are added up"),
            (("event_id: e1, cc", "event_id: e1, cd"), "bad.test.yaml:10:37: tables.clicks has no column 'cd'; did you mean 'cc'?"),
            (("clicks_1m", "click_1m"), "bad.test.yaml:12:9: the pipeline has no aggregate 'click_1m'; did you mean 'clicks_1m'?"),
            (("views: 2", "views: two"), "aggregates.clicks_1m.views: 'two' is not a value of int64"),
            (("clicks.yaml", "click.yaml"), "click.yaml: cannot read the file")]:
        (FOLDER / "bad.test.yaml").write_text(tests.replace(*change))
        bad = millrace("test", "bad.test.yaml", "clicks.test.yaml", code=78)
        claim(message in bad.stderr, f"{change[1]} is found with its place", bad.stderr)
        claim("2 passed, 0 failed" in bad.stdout and "bad.test.yaml" not in bad.stdout, "the other file is run all the same", bad.stdout)
    claim(millrace("test", "none.yaml", code=78).stdout == "", "a file that is not there")
    (FOLDER / "broken.yaml").write_text((ROOT / "examples/clicks.yaml").read_text().replace("columns:", "colums:"))
    (FOLDER / "bad.test.yaml").write_text(tests.replace("clicks.yaml", "broken.yaml"))
    claim("broken.yaml:" in (said := millrace("test", "bad.test.yaml", code=78).stderr) and "colums" in said,
          "what is wrong with the pipeline is told with its own place", said)
    end()


main()
