"""A fresh Debian in a folder, and systemd as process 1 of it. Needs root, mmdebstrap and Debian's mirror."""

import os
import pathlib
import shutil
import subprocess
import time

ENVIRONMENT = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]


def run(*command, code=0, cwd=None, env=None):
    """What it says, on both of its outputs."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd, env={**os.environ, **(env or {})})
    assert code is None or done.returncode == code, f"{command}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def in_folder(folder, command):
    return ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", folder, *command]


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

    def run(self, *command, network=False, code=0, folder="/"):
        """With processes of its own, and without `network` a loopback of its own."""
        setup = 'mount --bind /dev "$0/dev"; [ -n "$1" ] || ip link set lo up; shift; exec chroot "$@"'
        return run("unshare", "--mount", "--pid", "--fork", f"--mount-proc={self.folder}/proc", *([] if network else ["--net"]),
                   "sh", "-ec", setup, self.folder, "yes" if network else "", self.folder, *ENVIRONMENT, *in_folder(folder, command), code=code)


# $1: the root. As a container: what is mounted is its own, the old root is gone (a chroot may have no users of its own, which PrivateUsers=
# asks for), and so are processes, network and control groups.
BOOT = """
mount --make-rprivate /
mount --rbind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
ip link set lo up
mkdir -p mnt/old
pivot_root . mnt/old
exec chroot . sh -c 'umount -l /mnt/old; exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal --unit=multi-user.target'
"""


class Machine:
    """A root that systemd has started, as long as the context lasts. systemd and dbus are to be installed in it."""

    def __init__(self, root):
        self.root = root.folder
        self.log = open(self.root.with_suffix(".boot"), "w+")
        # A control group beside the others, of which the machine sees nothing else.
        version_2 = [line.split()[1] for line in open("/proc/mounts") if line.split()[2] == "cgroup2"]
        assert version_2, "no cgroup2 is mounted here, and systemd cannot be tried without"
        self.group = pathlib.Path(version_2[0]) / f"millrace-dist-test-{os.getpid()}"

    def __enter__(self):
        self.group.mkdir()
        join = 'echo $$ > "$0/cgroup.procs"; exec "$@"'
        self.process = subprocess.Popen(["sh", "-ec", join, str(self.group), "unshare", "--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--net",
                                         "--uts", "--ipc", "sh", "-ec", BOOT, "sh", str(self.root)], stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 120
        while not self.first() or self.run("systemctl", "is-active", "multi-user.target", code=None).strip() != "active":
            assert self.process.poll() is None and time.monotonic() < deadline, f"systemd does not start: {pathlib.Path(self.log.name).read_text()}"
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.process.kill()  # And with it process 1, and all that are below it.
        self.process.wait()
        self.log.close()
        deadline = time.monotonic() + 60
        while "populated 1" in (self.group / "cgroup.events").read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        for group in sorted((p for p in self.group.rglob("*") if p.is_dir()), reverse=True):
            group.rmdir()
        self.group.rmdir()

    def first(self):
        """Process 1, by its number outside."""
        return subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.strip()

    def run(self, *command, user=None, network=False, code=0, folder="/"):
        """`network`: that of this machine."""
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        return run("nsenter", f"--target={self.first()}", "--mount", "--pid", "--cgroup", "--uts", "--ipc", *([] if network else ["--net"]), "--root", "--wd",
                   *ENVIRONMENT, *as_user, *in_folder(folder, command), code=code)

    def shown(self, unit, what):
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", what, unit).strip()

    def wait_for(self, what, condition, seconds=120):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what}\n{self.run('systemctl', 'status', 'millrace', '--no-pager', '-l', code=None)}"
            time.sleep(0.1)
        return found
