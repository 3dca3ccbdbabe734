#!/usr/bin/env python3
"""A real schema registry (Apicurio, one process, its schemas in a file) on loopback, for tests. Only the standard library.

    with Registry() as registry:
        registry.url       # of its API in Confluent's protocol
        registry.kill()    # SIGKILL, as a crash
        registry.restart() # the same port, and the schemas that it had
        registry.suspend(); registry.resume()

Its jars are those in $MILLRACE_DEPS/registry.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from children import die_with_parent  # noqa: E402
from ports import free_port  # noqa: E402


class RegistryError(RuntimeError):
    pass


class Registry:
    HEAP = "192m"
    START_TIMEOUT_S = 180

    def __init__(self):
        deps = os.environ.get("MILLRACE_DEPS") or os.path.expanduser("~/.cache/millrace/deps")
        jars = list((Path(deps) / "registry").glob("*-runner.jar"))
        if len(jars) != 1:
            raise RegistryError(f"no schema registry in {deps}/registry: run scripts/setup")
        self.jar = jars[0]
        self.port = free_port()
        self.data = Path(tempfile.mkdtemp(prefix="millrace-registry-"))
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def start(self):
        environment = {**os.environ, "QUARKUS_HTTP_HOST": "127.0.0.1", "QUARKUS_HTTP_PORT": str(self.port),
                       "REGISTRY_DATASOURCE_URL": f"jdbc:h2:file:{self.data}/schemas;DB_CLOSE_ON_EXIT=FALSE;WRITE_DELAY=0"}
        with open(self.data / "registry.log", "ab") as log:
            self.process = subprocess.Popen(
                ["java", f"-Xmx{self.HEAP}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", str(self.jar)],
                env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=die_with_parent)
        deadline = time.monotonic() + self.START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RegistryError(f"the registry ended with status {self.process.returncode}:\n{self._log_tail()}")
            try:
                with urllib.request.urlopen(f"{self.url}/subjects", timeout=10):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RegistryError(f"the registry did not answer within {self.START_TIMEOUT_S} s:\n{self._log_tail()}")

    def _log_tail(self):
        return "".join((self.data / "registry.log").read_text(errors="replace").splitlines(True)[-30:])

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self):
        self.kill()
        return self.start()

    def suspend(self):
        """SIGSTOP: connections stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc):
        self.close()
