"""What `make dist` made, as an operator meets it: in a fresh Debian, whose packages are all that it has, and in a fresh virtual
environment. Needs root (for the root file system) and Debian's mirror; everything else stays on this machine.

Not shown here: systemd as process 1. The service is started by hand, as its unit says.

Usage: dist_test.py BUILD_FOLDER DIST_FOLDER
"""

import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import venv

BUILD, DIST = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
HERE = pathlib.Path(__file__).resolve().parent
PACKAGING = HERE.parents[1] / "packaging"
SECURITY_SCORE_MAX = 2.0  # Of systemd-analyze: 0 is closed, 10 open.
HELP_SECONDS_MAX = 0.05

passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1
    print(f"  ok  {what}", flush=True)


def run(*command, code=0, cwd=None, env=None):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd, env={**os.environ, **(env or {})})
    assert code is None or done.returncode == code, f"{command}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def one(pattern):
    found = list(DIST.glob(pattern))
    assert len(found) == 1, f"{DIST}: {pattern} is {found}; run make dist"
    return found[0]


class Root:
    """A fresh root file system."""

    def __init__(self, folder):
        self.folder = folder
        sources = [p for p in [pathlib.Path("/etc/apt/sources.list.d/debian.sources"), pathlib.Path("/etc/apt/sources.list")] if p.exists()]
        archive = folder.with_suffix(".tar")
        run("mmdebstrap", "--variant=apt", "--include=ca-certificates", "bookworm", archive, *sources[:1])
        folder.mkdir()
        run("tar", "--numeric-owner", "-xf", archive, "-C", folder)
        # The machine's way to the mirror: its certificates and apt's settings.
        shutil.copytree("/etc/apt/apt.conf.d", folder / "etc/apt/apt.conf.d", dirs_exist_ok=True)
        shutil.copyfile("/etc/ssl/certs/ca-certificates.crt", folder / "etc/ssl/certs/ca-certificates.crt")
        shutil.copyfile("/etc/resolv.conf", folder / "etc/resolv.conf")
        shutil.copyfile("/etc/hosts", folder / "etc/hosts")

    def run(self, *command, user="root", network=False, code=0, folder="/"):
        """With processes of its own, and without `network` a loopback of its own."""
        inside = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8",
                  "sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", folder, *command]
        setup = 'mount --bind /dev "$0/dev"; [ -n "$1" ] || ip link set lo up; shift; exec chroot "$@"'
        return run("unshare", "--mount", "--pid", "--fork", f"--mount-proc={self.folder}/proc", *([] if network else ["--net"]),
                   "sh", "-ec", setup, self.folder, "yes" if network else "", f"--userspec={user}", self.folder, *inside, code=code)


def reproducible(folder):
    again = folder / "again"
    run(sys.executable, PACKAGING / "dist.py", BUILD, again)
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
    claim("millrace " in root.run("/srv/elsewhere/bin/millrace", "version"), "and from another folder")
    libraries = run("sh", "-c", f"for f in {root.folder}/srv/elsewhere/lib/millrace/*; do readelf -d $f; done")
    claim("RUNPATH" in libraries and str(pathlib.Path.home()) not in libraries and str(BUILD) not in libraries, "no folder of the build in it")
    document = json.loads((root.folder / "srv/elsewhere/share/doc/millrace/sbom.spdx.json").read_text())
    names = {package["name"] for package in document["packages"]}
    texts = {p.stem for p in (root.folder / "srv/elsewhere/share/doc/millrace/licenses").iterdir()}
    claim({"arrow", "duckdb", "openssl", "gcc-12", "preact"} <= names and len(texts) == len(names), "an SBOM and a licence for each part of it",
          names ^ texts)
    run("rm", "-r", root.folder / "srv/elsewhere")


def image(folder):
    """No container engine is needed: the Containerfile's own commands, in a folder, and a program that sees nothing else."""
    steps = re.search(r"^RUN (set -eu;.*?[^\\])$", (PACKAGING / "Containerfile").read_text(), re.M | re.S)[1].replace("\\\n", "")
    run("sh", "-c", steps.replace("/tmp/millrace-", f"{DIST}/millrace-").replace("root=/image", f"root={folder}"))
    claim(not (folder / "bin").exists() and not (folder / "usr/bin/sh").exists(), "the image has no shell")
    setup = 'mount --rbind "$0" "$0"; mount -o remount,bind,ro "$0"; ip link set lo up; exec chroot "$@"'
    (folder / "proc").mkdir()
    said = run("unshare", "--mount", "--pid", "--fork", "--net", f"--mount-proc={folder}/proc", "sh", "-ec", setup, folder, "--userspec=65532:65532",
               folder, "/usr/bin/millrace", "version")
    claim("millrace " in said and "duckdb" in said, "and runs in it, as nobody, with everything read-only", said)


def again_as(deb, version, folder):
    """The package with another version."""
    tree = folder / "upgrade"
    run("dpkg-deb", "-R", deb, tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*", f"Version: {version}", control.read_text(), flags=re.M))
    newer = folder / f"millrace_{version}_amd64.deb"
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", tree, newer)
    return newer


def installed(root, deb, folder):
    unit = (PACKAGING / "millrace.service").read_text()
    said = {key: re.search(rf"^{key}=(.*)$", unit, re.M)[1] for key in ("User", "Group", "ExecStart", "WorkingDirectory")}
    user = f"{said['User']}:{said['Group']}"

    def install(package):
        shutil.copyfile(package, root.folder / "tmp" / package.name)
        root.run("apt-get", "install", "-y", "--no-install-recommends", f"/tmp/{package.name}", network=True)

    root.run("apt-get", "update", network=True)
    install(deb)
    claim("millrace:x:" in (root.folder / "etc/passwd").read_text(), "the package installs, with its user")
    claim(not (root.folder / "usr/lib/millrace/libssl.so.3").exists() and (root.folder / "usr/lib/millrace/libduckdb.so").exists(),
          "Debian's libraries are Debian's")
    verified = run("systemd-analyze", f"--root={root.folder}", "verify", "millrace.service", code=None)
    of_an_empty_root = ("sysinit.target not found", "man millrace(1)")  # It has neither systemd's own units nor man.
    claim(not [line for line in verified.splitlines() if not any(text in line for text in of_an_empty_root)], "systemd-analyze verify", verified)
    claim("ok" in root.run("millrace", "validate", "/etc/millrace/pipeline.yaml"), "the example is a valid pipeline")
    claim(root.run("stat", "-c", "%a %U:%G", "/etc/millrace").strip() == "750 root:millrace", "the pipeline's folder is the service's alone")

    shutil.copyfile(HERE / "service_life.sh", root.folder / "tmp/service_life.sh")
    root.run("install", "-d", "-o", said["User"], "-g", said["Group"], "-m", "0750", said["WorkingDirectory"])  # StateDirectory=

    def a_day(today, after):
        return root.run("sh", "/tmp/service_life.sh", said["ExecStart"], today, after, user=user, folder=said["WorkingDirectory"])

    life = a_day("20000", "20000")
    claim("stored 20000" in life, "as the service's user it reads the log, survives kill -9, and each event is in the table once", life)
    file = root.folder / "etc/millrace/pipeline.yaml"
    file.write_text(file.read_text() + "# Edited.\n")
    install(again_as(deb, "9.9.9", folder))
    claim(file.read_text().endswith("# Edited.\n"), "an upgrade keeps the file as it was edited")
    life = a_day("5000", "25000")
    claim("stored 25000" in life, "and goes on with log and lake", life)

    lake = run("find", root.folder / "var/lib/millrace", "-type", "f")
    root.run("apt-get", "remove", "-y", "millrace", network=True)
    claim(file.exists() and not (root.folder / "usr/bin/millrace").exists(), "removed, its file stays")
    root.run("apt-get", "purge", "-y", "millrace", network=True)
    claim(not file.exists() and not (root.folder / "etc/millrace").exists(), "purged, it does not")
    claim(run("find", root.folder / "var/lib/millrace", "-type", "f") == lake and "lake/clicks/_delta_log" in lake, "log and lake do", lake)


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
        installed(root, deb, folder)
        image(folder / "image")
        reproducible(folder)
    for path in sorted(DIST.iterdir()):
        print(f"  {path.stat().st_size / 1e6:7.1f} MB  {path.name}")
    print(f"{passed} passed, 0 failed")


main()
