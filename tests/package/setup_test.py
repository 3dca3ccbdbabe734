"""Goal: whatever happens to `scripts/setup build`, it says what, and the next run mends it: two runs side by side, a download that breaks,
a full disk, a kill, a changed pin, no right to install.

Method: the script itself, over folders of this test's own; what is large is copied from what this machine has, its Python environment, which
stays as it is, is lent, and one library is made anew, from the package index.

Usage: setup_test.py SOURCE_FOLDER
"""
import http.server
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(sys.argv[1]).resolve()
HAVE = pathlib.Path(os.environ.get("MILLRACE_DEPS") or os.path.expanduser("~/.cache/millrace/deps"))
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="millrace-setup-"))
DEPS = FOLDER / "deps"
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def command(deps=DEPS, **env):
    return {"args": [str(FOLDER / "source/scripts/setup"), "build"], "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT,
            "env": {**os.environ, "MILLRACE_DEPS": str(deps), **env}}


def setup(code=0, deps=DEPS, **env):
    done = subprocess.run(**command(deps, **env), timeout=600)
    claim(done.returncode == code, f"exit {code}", f"{done.returncode}\n{done.stdout}")
    return done.stdout


def forget():
    shutil.rmtree(DEPS / "datasketches")


def is_whole(deps=DEPS):
    left = [p.name for p in deps.glob(".work*")]
    return (deps / "datasketches/include/hll.hpp").exists() and (deps / "datasketches/version").exists() and left == []


def change(old, new):
    script = FOLDER / "source/scripts/setup"
    text = script.read_text()
    assert old in text, old
    script.write_text(text.replace(old, new, 1))


class CutOff(http.server.BaseHTTPRequestHandler):
    """A package index whose archives end in the middle."""

    def do_GET(self):
        page = b'<a href="/datasketches-4.1.0.tar.gz#sha256=' + b"0" * 64 + b'">datasketches-4.1.0.tar.gz</a>'
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/gzip")
        self.send_header("Content-Length", str(len(page) if self.path.endswith("/") else 1_000_000))
        self.end_headers()
        self.wfile.write(page if self.path.endswith("/") else b"half of it")

    def log_message(self, *_):
        pass


def broken_downloads():
    forget()
    said = setup(code=1, PIP_INDEX_URL=f"file://{FOLDER}/nowhere", PIP_FIND_LINKS="", PIP_NO_INDEX="")
    claim("no source package of datasketches 4.1.0 in the Python index, or it does not answer" in said and "run it again" in said,
          "an index that does not answer", said)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), CutOff) as index:
        threading.Thread(target=index.serve_forever, daemon=True).start()
        said = setup(code=1, PIP_INDEX_URL=f"http://127.0.0.1:{index.server_port}/simple", PIP_FIND_LINKS="", PIP_NO_INDEX="")
        index.shutdown()
    claim("datasketches 4.1.0: the archive's hash is not the one that the index names" in said, "an archive that is cut off", said)
    claim(not (DEPS / "datasketches").exists(), "nothing of it is put in place")
    setup()
    claim(is_whole(), "the next run mends it")

    (DEPS / "duckdb").rename(FOLDER / "duckdb")
    said = setup(code=1, npm_config_registry="http://127.0.0.1:9/", npm_config_fetch_retries="0")
    claim("ECONNREFUSED" in said and "npm pack" in said, "a registry of npm that does not answer", said)
    claim(not (DEPS / "duckdb").exists(), "nothing of it is put in place")
    (FOLDER / "duckdb").rename(DEPS / "duckdb")


def main():
    for part in ("scripts", "third_party/librdkafka"):
        shutil.copytree(SOURCE / part, FOLDER / "source" / part)
    (FOLDER / "source/src/dashboard").mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCE / "src/dashboard" / name, FOLDER / "source/src/dashboard")
    DEPS.mkdir()
    for part in ("duckdb", "librdkafka", "dashboard"):
        shutil.copytree(HAVE / part, DEPS / part, symlinks=True)
    (DEPS / "venv").symlink_to(HAVE / "venv")

    # Two at once: one waits, both end well.
    runs = [subprocess.Popen(**command()) for _ in range(2)]
    said = [run.communicate(timeout=600)[0] for run in runs]
    claim([run.returncode for run in runs] == [0, 0], "two runs side by side end well", said)
    claim(sum("waiting for another setup" in text for text in said) == 1, "one waits for the other", said)
    claim(sum("nothing to do" in text for text in said) == 1, "and has nothing to do then", said)
    claim(is_whole(), "all is there")
    claim("nothing to do" in setup(), "nor has the next one")

    broken_downloads()

    forget()
    pin = next(line.split("=")[1] for line in (FOLDER / "source/scripts/setup").read_text().splitlines()
               if line.startswith("datasketches_sdist_sha256="))
    change(pin, "0" * 64)
    said = setup(code=1)
    claim(f"sha256 is {pin}, expected {'0' * 64}" in said, "an archive that is another", said)
    claim(not (DEPS / "datasketches").exists() and not list(DEPS.glob(".work*")), "nothing of it is put in place")
    change("0" * 64, pin)
    setup()
    claim(is_whole(), "the next run mends it")

    # A pin that changes: what is there is replaced, also the way back. What a package's version file says counts.
    (DEPS / "datasketches/version").write_text("another\n")
    (DEPS / "datasketches/include/of_another.hpp").write_text("")
    change("jdbc_sha256=", "jdbc_sha256=0")
    claim("nothing to do" not in setup(), "a changed pin is something to do")
    claim(is_whole() and not (DEPS / "datasketches/include/of_another.hpp").exists(), "no file of the version before is left")

    # Killed while it works.
    forget()
    (DEPS / ".setup-build").unlink()
    with subprocess.Popen(**command(), start_new_session=True) as run:
        while not list(DEPS.glob(".work*")):
            claim(run.poll() is None, "it works")
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL)
    claim(list(DEPS.glob(".work*")), "a kill leaves something")
    setup()
    claim(is_whole(), "the next run clears it away")

    if os.geteuid() == 0:
        full_disk()
        no_such_package()
        no_right()
    shutil.rmtree(FOLDER)
    print(f"{passed} passed, 0 failed")


def full_disk():
    small = FOLDER / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode != 0:
        print("no tmpfs can be mounted here: the full disk is not tried")
        return
    try:
        said = setup(code=1, deps=small)
        claim(f"{small} is full" in said and "make room" in said, "a full disk is named", said)
        claim(not list(small.glob(".work*")), "and nothing half made is left")
        subprocess.run(["mount", "-o", "remount,size=2g", str(small)], check=True)
        for part in ("duckdb", "librdkafka", "dashboard", "datasketches"):
            shutil.copytree(DEPS / part, small / part, symlinks=True)
        shutil.rmtree(small / "venv", ignore_errors=True)
        (small / "venv").symlink_to(HAVE / "venv")
        setup(deps=small)
        claim(is_whole(small), "with room the next run mends it")
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def no_such_package():
    """As root, of a distribution that lacks something. apt itself stays as it is."""
    tools = FOLDER / "apt"
    tools.mkdir()
    for name, does in [("apt-get", f'echo "$@" >>{tools}/asked'), ("apt-cache", "echo millrace-there:; echo '  Candidate: 1'; echo millrace-no-such:; echo '  Candidate: (none)'")]:
        (tools / name).write_text(f"#!/bin/sh\n{does}\n")
        (tools / name).chmod(0o755)
    names = FOLDER / "source/scripts/apt.txt"
    had = names.read_text()
    names.write_text(had + "build millrace-no-such 1\nbuild millrace-there 1\nbuild millrace-unknown 1\n")
    said = setup(code=1, PATH=f"{tools}:{os.environ['PATH']}")
    claim("this distribution has no package millrace-no-such millrace-unknown;" in said, "what cannot be had is named", said)
    claim((tools / "asked").read_text().splitlines()[-1].endswith(" update"), "and nothing is installed")
    names.write_text(had)


def no_right():
    """As a user who may not install, with a package that is missing."""
    (FOLDER / "bin").mkdir()
    for tool in pathlib.Path("/usr/bin").iterdir():
        if tool.name != "sudo":
            (FOLDER / "bin" / tool.name).symlink_to(tool)
    # What stands for what: the first of the names that can be had, however much there is to say about it.
    (FOLDER / "bin/apt-cache").unlink(missing_ok=True)
    (FOLDER / "bin/apt-cache").write_text("""#!/bin/sh
case $2 in
  *no-such) echo "$2:"; echo "  Candidate: (none)" ;;
  *) echo "$2:"; echo "  Candidate: 1"; i=0; while [ $i -lt 20000 ]; do echo "  Version table:"; i=$((i + 1)); done ;;
esac
""")
    (FOLDER / "bin/apt-cache").chmod(0o755)
    theirs = FOLDER / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    FOLDER.chmod(0o755)
    names = FOLDER / "source/scripts/apt.txt"
    names.write_text(names.read_text() + "build millrace-no-such|cowsay|fortune 1\n")
    done = subprocess.run(**{**command(theirs, PATH=f"{FOLDER}/bin", HOME=str(theirs)), "user": 65534, "group": 65534}, timeout=600)
    claim(done.returncode == 1 and "not root, and no sudo" in done.stdout, "who may not install is told so", done.stdout)
    claim("apt-get install --no-install-recommends" in done.stdout and "cowsay" in done.stdout, "and what to ask for", done.stdout)
    claim("no-such" not in done.stdout and "fortune" not in done.stdout, "of names for one thing the first that can be had", done.stdout)


main()
