"""What `make dist` made, as an operator meets it: in a fresh Debian, whose packages are all that it has, and in a fresh virtual
environment. Needs root (for the root file system) and Debian's mirror; everything else stays on this machine.

Usage: dist_test.py BUILD_FOLDER DIST_FOLDER
"""

import datetime
import json
import pathlib
import re
import resource
import shutil
import sys
import tempfile
import time
import venv

from debian_root import Machine, Root, run

BUILD, DIST = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
PACKAGING = pathlib.Path(__file__).resolve().parents[2] / "packaging"
SECURITY_SCORE_MAX = 2.0  # Of systemd-analyze: 0 is closed, 10 open.
HELP_SECONDS_MAX = 0.05
FILE, STATE = "/etc/millrace/pipeline.yaml", "/var/lib/millrace"  # Of the service.

passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1
    print(f"  ok  {what}", flush=True)


def one(pattern):
    found = list(DIST.glob(pattern))
    assert len(found) == 1, f"{DIST}: {pattern} is {found}; run make dist"
    return found[0]


def reproducible(folder):
    again = folder / "again"
    created = json.loads(one("*.spdx.json").read_text())["creationInfo"]["created"]  # There may have been a commit since.
    epoch = int(datetime.datetime.fromisoformat(created.replace("Z", "+00:00")).timestamp())
    run(sys.executable, PACKAGING / "dist.py", BUILD, again, env={"SOURCE_DATE_EPOCH": str(epoch)})
    claim((again / "SHA256SUMS").read_text() == (DIST / "SHA256SUMS").read_text(), "packages made again have the same bytes")
    run("sha256sum", "-c", "--strict", "SHA256SUMS", cwd=DIST)


def judged_by_debian(deb):
    errors = [line for line in run("lintian", "--fail-on", "none", deb, code=None).splitlines() if line.startswith("E:")]
    claim(not errors, "lintian has no errors", errors)
    score = run("systemd-analyze", "security", "--offline=true", "--no-pager", PACKAGING / "millrace.service")
    level = float(re.search(r"Overall exposure level for .*: ([0-9.]+)", score)[1])
    claim(level <= SECURITY_SCORE_MAX, f"systemd-analyze security: {level}", score)


def portable(root):
    """Before anything is installed: the archive alone."""
    run("tar", "--zstd", "-xf", one("millrace-*-x86_64.tar.zst"), "-C", root.folder / "opt")
    folder = next((root.folder / "opt").glob("millrace-*")).name
    claim("millrace " in root.run(f"/opt/{folder}/bin/millrace", "version"), "the archive runs where nothing is installed")
    run("mv", root.folder / "opt" / folder, root.folder / "srv/elsewhere")
    said = root.run("/srv/elsewhere/bin/millrace", "demo", "--for", "5s", "--dir", "/tmp/demo")
    claim("every event is in its table, once" in said, "and from another folder, with the demo", said)
    run("rm", "-r", root.folder / "tmp/demo")
    libraries = run("sh", "-c", f"for f in {root.folder}/srv/elsewhere/lib/millrace/*; do readelf -d $f; done")
    claim("RUNPATH" in libraries and str(pathlib.Path.home()) not in libraries and str(BUILD) not in libraries, "no folder of the build in it")
    document = json.loads((root.folder / "srv/elsewhere/share/doc/millrace/sbom.spdx.json").read_text())
    names = {package["name"] for package in document["packages"]}
    texts = {p.stem for p in (root.folder / "srv/elsewhere/share/doc/millrace/licenses").iterdir()}
    claim({"arrow", "duckdb", "openssl", "gcc-12", "preact"} <= names and len(texts) == len(names), "an SBOM and a licence for each part of it",
          names ^ texts)
    run("rm", "-r", root.folder / "srv/elsewhere")


def image(root, folder):
    """The Containerfile as it is, by buildah. No registry is asked: the fresh root stands for Debian's base image, which has little more."""
    context = folder / "context"
    (context / "dist").mkdir(parents=True)
    shutil.copy(one("millrace-*-x86_64.tar.zst"), context / "dist")
    tool = ["buildah", "--root", folder / "images", "--runroot", folder / "containers", "--storage-driver", "vfs"]
    base = run(*tool, "from", "scratch").strip()
    run(*tool, "copy", base, root.folder, "/")
    run(*tool, "commit", "--rm", base, "docker.io/library/debian:12-slim")
    run(*tool, "bud", "--isolation", "chroot", "--pull-never", "-f", PACKAGING / "Containerfile", "-t", "millrace", context)
    container = run(*tool, "from", "--pull-never", "localhost/millrace").strip()
    config = json.loads(run(*tool, "inspect", container))["OCIv1"]["config"]
    tree = pathlib.Path(run(*tool, "mount", container).strip())
    claim(not any((tree / name).exists() for name in ("bin/sh", "usr/bin/sh", "usr/bin/env")) and config["User"] == "65532:65532",
          "the Containerfile makes an image without a shell, whose user is nobody", config)
    # What an engine does with `--read-only` and two volumes.
    setup = """cd "$0"; mkdir -p proc dev; mount --rbind . "$0"; cd "$0"; mount -o remount,bind,ro "$0"; ip link set lo up
        mount -t proc proc proc; mount --bind /dev dev; mount -t tmpfs tmpfs tmp
        mount -t tmpfs -o uid=65532,gid=65532,mode=755 tmpfs var/lib/millrace; exec env -i "$@\""""
    said = run("unshare", "--mount", "--pid", "--fork", "--net", "sh", "-ec", setup, tree, *config["Env"], "/usr/sbin/chroot",
               f"--userspec={config['User']}", tree, *config["Entrypoint"], "demo", "--for", "5s", "--dir", f"{config['WorkingDir']}/demo")
    claim("every event is in its table, once" in said, "and runs the demo in it, with everything else read-only", said)


def again_as(deb, version, folder):
    """The package with another version."""
    tree = folder / "upgrade"
    run("dpkg-deb", "-R", deb, tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*", f"Version: {version}", control.read_text(), flags=re.M))
    newer = folder / f"millrace_{version}_amd64.deb"
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", tree, newer)
    return newer


def install(machine, package):
    shutil.copyfile(package, machine.root / "tmp" / package.name)
    machine.run("apt-get", "install", "-y", "--no-install-recommends", f"/tmp/{package.name}", network=True)
    return package


def rows(machine):
    said = machine.run("millrace", "sql", "SELECT count(*) AS n FROM clicks", "-o", "csv", code=None).split()
    return int(said[-1]) if said and said[-1].isdigit() else None


def ends_and_comes_back(machine, signal):
    had, pid = int(machine.shown("millrace", "NRestarts")), machine.shown("millrace", "MainPID")
    machine.run("systemctl", "kill", "--kill-whom=main", f"--signal={signal}", "millrace")
    machine.wait_for(f"it comes back after {signal}",
                     lambda: int(machine.shown("millrace", "NRestarts")) > had and machine.shown("millrace", "ActiveState") == "active")
    assert machine.shown("millrace", "MainPID") != pid


def a_day(machine, today, after):
    """So many rows come, then there are so many; it is killed before they are stored and after."""
    machine.run("systemctl", "stop", "millrace")
    machine.run("millrace", "simulate", "clickstream", "--count", str(today), "--rate", "0", "--seed", str(after), "--to", f"embedded:{STATE}/log/clicks",
                user="millrace")
    machine.run("systemctl", "start", "millrace")
    ends_and_comes_back(machine, "KILL")
    machine.wait_for(f"{after} rows", lambda: rows(machine) == after)
    ends_and_comes_back(machine, "KILL")
    machine.wait_for(f"{after} rows after a kill", lambda: rows(machine) == after)
    machine.run("millrace", "audit", "-c", FILE)
    ids = machine.run("millrace", "lake", "read", f"{STATE}/lake/clicks", "--columns", "event_id").splitlines()
    claim(len(ids) == len(set(ids)) == after, f"killed twice by -9, it has each of {after} events in its table once", len(set(ids)))


def lives(machine, file):
    """A day, by systemd and its unit."""
    claim("ok" in machine.run("millrace", "validate", FILE), "the example is a valid pipeline")
    doctor = machine.run("millrace", "doctor", "-c", FILE, user="millrace")
    claim("0 warnings, 0 failed" in doctor and f"{STATE}/lake (made by the first run)" in doctor, "and millrace doctor has nothing to say against it", doctor)
    claim(machine.shown("millrace", "ActiveState") == "inactive", "nothing runs before somebody says so")
    machine.run("systemctl", "enable", "--now", "millrace")
    claim(machine.shown("millrace", "ActiveState") == "active" and machine.shown("millrace", "Type") == "notify", "systemctl enable --now: it is ready")
    machine.wait_for("a status line", lambda: "0 records read, 0 behind" in machine.shown("millrace", "StatusText"))
    a_day(machine, 20000, 20000)
    machine.wait_for("its figures in the status line", lambda: "behind" in machine.shown("millrace", "StatusText"))

    first = machine.shown("millrace", "MainPID")
    as_it_was = file.read_text()
    file.write_text(as_it_was + "# Edited.\nlog: {level: debug}\n")
    machine.run("systemctl", "reload", "millrace")
    machine.wait_for("it reads its file", lambda: "reading the file again" in journal(machine))
    machine.wait_for("and goes on", lambda: rows(machine) == 20000 and "running" in machine.shown("millrace", "StatusText"))
    file.write_text(as_it_was + "colour: green\n")
    machine.run("systemctl", "reload", "millrace")
    machine.wait_for("it says what is wrong with it", lambda: "unknown key 'colour'" in journal(machine, "-p", "err"))
    claim(machine.shown("millrace", "MainPID") == first and rows(machine) == 20000, "systemctl reload takes a file, and a wrong one changes nothing")
    claim("serving" not in journal(machine, "-p", "err"), "in the journal what is wrong has a priority of its own")

    machine.run("systemctl", "stop", "millrace")
    claim(machine.shown("millrace", "Result") == "success", "it stops in order")
    machine.run("systemctl", "start", "millrace", code=1)
    time.sleep(6)  # RestartSec=5s: another try would have been made.
    claim((machine.shown("millrace", "ExecMainStatus"), machine.shown("millrace", "ActiveState")) == ("78", "failed"), "a wrong file is not tried again")

    # As `systemctl edit` does: the watchdog in a shorter time, the lake in another folder.
    file.write_text(as_it_was.replace(f"{STATE}/lake", "/srv/lake") + "# Edited.\n")
    machine.run("install", "-d", "-o", "millrace", "-g", "millrace", "/srv/lake")
    machine.run("systemctl", "start", "millrace", code=1)
    claim("/srv/lake" in journal(machine, "-p", "err"), "a folder that is not the service's is refused by name", journal(machine))
    edited = machine.root / "etc/systemd/system/millrace.service.d/override.conf"
    edited.parent.mkdir()
    edited.write_text("[Service]\nReadWritePaths=/srv/lake\nWatchdogSec=10s\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed", "millrace")
    machine.run("systemctl", "start", "millrace")
    machine.wait_for("the same rows in another lake", lambda: rows(machine) == 20000)
    claim(True, "with ReadWritePaths= the lake may be elsewhere")
    ends_and_comes_back(machine, "STOP")
    claim("watchdog" in machine.run("journalctl", "--no-pager", "-u", "millrace").lower(), "what no longer answers is ended by the watchdog, and comes back")
    shutil.rmtree(edited.parent)
    machine.run("systemctl", "daemon-reload")
    file.write_text(as_it_was + "# Edited.\n")
    machine.run("systemctl", "restart", "millrace")


def journal(machine, *flags):
    return machine.run("journalctl", "--no-pager", "-u", "millrace", *flags)


def installed(root, deb, folder):
    file, state = root.folder / FILE[1:], root.folder / STATE[1:]
    root.run("apt-get", "update", network=True)
    root.run("apt-get", "install", "-y", "--no-install-recommends", "systemd", "dbus", network=True)
    with Machine(root) as machine:
        install(machine, deb)
        claim("millrace:x:" in (root.folder / "etc/passwd").read_text(), "the package installs, with its user")
        claim(not (root.folder / "usr/lib/millrace/libssl.so.3").exists() and (root.folder / "usr/lib/millrace/libduckdb.so").exists(),
              "Debian's libraries are Debian's")
        claim(all((root.folder / "usr/share" / name).exists() for name in ("man/man1/millrace.1.gz", "bash-completion/completions/millrace",
                  "zsh/vendor-completions/_millrace", "fish/vendor_completions.d/millrace.fish")), "manual and completions are where Debian looks for them")
        verified = [line for line in machine.run("systemd-analyze", "verify", "millrace.service", code=None).splitlines() if "man millrace(1)" not in line]
        claim(not verified, "systemd-analyze verify", verified)  # It has no man, which would look for the page.
        claim(machine.run("stat", "-c", "%a %U:%G", "/etc/millrace").strip() == "750 root:millrace", "the pipeline's folder is the service's alone")
        lives(machine, file)

        running = machine.shown("millrace", "MainPID")
        install(machine, again_as(deb, "9.9.9", folder))
        claim(file.read_text().endswith("# Edited.\n"), "an upgrade keeps the file as it was edited")
        claim(machine.shown("millrace", "MainPID") not in ("0", running) and machine.shown("millrace", "ActiveState") == "active", "and restarts the service")
        a_day(machine, 5000, 25000)

        had = run("find", state, "-type", "f", "-name", "*.parquet")
        machine.run("apt-get", "remove", "-y", "millrace", network=True)
        claim(file.exists() and not (root.folder / "usr/bin/millrace").exists(), "removed, its file stays")
        claim(machine.shown("millrace", "ActiveState") == "inactive", "and nothing runs")
        machine.run("apt-get", "purge", "-y", "millrace", network=True)
        claim(not file.exists() and not (root.folder / "etc/millrace").exists(), "purged, the file is gone")
        links = run("find", root.folder / "etc/systemd", "-name", "millrace*")
        claim(not links, "and what enabled it", links)
        claim(run("find", state, "-type", "f", "-name", "*.parquet") == had and "lake/clicks/" in had, "log and lake stay", had)
        install(machine, deb)
        machine.run("systemctl", "start", "millrace")
        machine.wait_for("the rows of before", lambda: rows(machine) == 25000)
        claim(True, "installed again, it goes on with them")


def help_seconds(program):
    """Of processor time, at best of 20: a busy machine's clock says more about the machine."""
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime
    seconds = []
    for _ in range(20):
        before = used()
        run(program, "--help")
        seconds.append(used() - before)
    return min(seconds)


def virtual_environment(folder):
    venv.create(folder, with_pip=True)
    wheel = one("millrace-*.whl")
    begun = time.monotonic()
    run(folder / "bin/pip", "install", "--no-index", "--disable-pip-version-check", wheel)
    took = time.monotonic() - begun
    claim("millrace " in run(folder / "bin/millrace", "version"), f"the wheel gives the command, in {took:.1f} s")
    said = run(folder / "bin/millrace", "demo", "--for", "20s", "--port", "0", "--dir", folder / "demo")
    claim("every event is in its table, once" in said, "and runs the demo", said)
    claim(help_seconds(folder / "bin/millrace") < HELP_SECONDS_MAX, f"--help takes less than {1000 * HELP_SECONDS_MAX:.0f} ms")
    run(folder / "bin/pip", "uninstall", "-y", "millrace")
    claim(not (folder / "bin/millrace").exists() and not (folder / "lib/millrace").exists(), "uninstalled, nothing is left")


def main():
    deb = one("*.deb")
    with tempfile.TemporaryDirectory(prefix="millrace-dist-") as name:
        folder = pathlib.Path(name)
        virtual_environment(folder / "venv")
        judged_by_debian(deb)
        root = Root(folder / "root")
        portable(root)
        image(root, folder / "image")
        installed(root, deb, folder)
        reproducible(folder)
    for path in sorted(DIST.iterdir()):
        print(f"  {path.stat().st_size / 1e6:7.1f} MB  {path.name}")
    print(f"{passed} passed, 0 failed")


main()
