"""A PostgreSQL server of its own for a test: on a socket and a port of loopback, in a folder that goes with it."""
import os
import pathlib
import shutil
import subprocess
import tempfile

from product import free_port


class Postgres:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-postgres-"))
        # The server refuses to run as root; Debian's package brings the user.
        self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        if self._as_user:
            shutil.chown(self.folder, "postgres", "postgres")
        self.bin = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
        self.port = free_port()
        self._run("initdb", "-D", self.folder / "data", "-A", "trust", "-U", "test", "--no-sync")
        self._run_program("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                          "-keyout", self.folder / "data" / "server.key", "-out", self.folder / "data" / "server.crt")
        self.start()

    def _run(self, program, *arguments):
        return self._run_program(self.bin / program, *arguments)

    def _run_program(self, program, *arguments):
        done = subprocess.run([*self._as_user, *map(str, [program, *arguments])], capture_output=True, text=True,
                              cwd=self.folder, timeout=300)
        assert done.returncode == 0, f"{program}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self):
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.folder} -c fsync=off -c ssl=on"
        self._run("pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log", "-o", options, "-w", "start")

    def stop(self):
        self._run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "stop")

    def sql(self, text):
        return self._run("psql", "-h", "127.0.0.1", "-p", self.port, "-U", "test", "-d", "postgres", "-v",
                         "ON_ERROR_STOP=1", "-Atc", text)

    @property
    def connection(self):
        return f"host=127.0.0.1 port={self.port} user=test dbname=postgres"

    def end(self):
        subprocess.run([*self._as_user, str(self.bin / "pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate",
                        "stop"], capture_output=True, timeout=300, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
