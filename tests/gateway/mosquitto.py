"""A broker of MQTT in a folder: mosquitto, whose sessions outlive an orderly restart. Only the standard library."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

CONFIG = """listener {port} 127.0.0.1
persistence true
persistence_location {folder}/
autosave_interval 1
max_queued_messages 0
max_inflight_messages 200
{more}
"""


class Mosquitto:
    def __init__(self, folder, port, more="allow_anonymous true"):
        self.folder, self.port, self.process = pathlib.Path(folder), port, None
        self.folder.mkdir(exist_ok=True)
        # As root it would become somebody else, who cannot write here.
        (self.folder / "mosquitto.conf").write_text(CONFIG.format(port=port, folder=self.folder, more=more) +
                                                    ("user root\n" if os.geteuid() == 0 else ""))

    def start(self):
        binary = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
        with (self.folder / "mosquitto.log").open("a") as log:
            self.process = subprocess.Popen([binary, "-c", str(self.folder / "mosquitto.conf")], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "mosquitto.log").read_text()
                time.sleep(0.02)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(20)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def suspend(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
