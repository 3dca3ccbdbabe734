#!/usr/bin/env python3
"""A real Kafka broker (KRaft, one node) on loopback, for tests and benchmarks. Only the standard library.

    broker.py run -- COMMAND...                     runs COMMAND with KAFKA_BROKERS set, stops the broker afterwards;
                                                   the exit status is the command's
    broker.py serve [--port P] [--data DIR]        runs the broker until interrupted, prints its address
    broker.py archive                              writes the archive of classes with which later brokers start in half the time

As a class:

    with Broker() as broker:
        broker.create_topic("clicks", partitions=4, config={"retention.ms": "60000"})
        broker.kill()      # SIGKILL, as a crash
        broker.restart()   # the same port and data
        broker.suspend(); broker.resume()

The jars are those in $MILLRACE_DEPS/kafka/libs, and the archive of their classes lies beside them (scripts/setup makes it; Java leaves one
that it cannot use alone). Ports are free ones; the data lies in a temporary folder that goes with
the broker, unless a folder is given. The broker never creates a topic by itself.
"""
import argparse
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from children import die_with_parent  # noqa: E402
from ports import free_port  # noqa: E402


def default_libs():
    deps = os.environ.get("MILLRACE_DEPS") or os.path.expanduser("~/.cache/millrace/deps")
    return Path(deps) / "kafka" / "libs"


class BrokerError(RuntimeError):
    pass


class Broker:
    """One broker. `port` and `data` stay the same over kill() and restart()."""

    HEAP = "512m"
    START_TIMEOUT_S = 180

    def __init__(self, port=None, data=None, libs=None, config=None, lasting=False):
        """`lasting`: compiled by Java for long runs, which costs a short one more than all its work; benchmarks and soaks want that."""
        self.compiler = "-XX:TieredStopAtLevel=4" if lasting else "-XX:TieredStopAtLevel=1"
        self.libs = Path(libs) if libs else default_libs()
        if not list(self.libs.glob("kafka_*.jar")):
            raise BrokerError(f"no Kafka in {self.libs}: run scripts/setup")
        self.archive_to_write = None
        self.port = port or free_port()
        self.controller_port = free_port()
        self._own_data = data is None
        self.data = Path(data) if data else Path(tempfile.mkdtemp(prefix="millrace-kafka-"))
        self.data.mkdir(parents=True, exist_ok=True)
        self.extra_config = dict(config or {})
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def log_path(self):
        return self.data / "broker.log"

    def _properties(self):
        properties = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.data / "log",
            "auto.create.topics.enable": "false",
            "num.partitions": 1,
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            # After kill() the controller refuses the new broker until the session of the old one has ended: 9 s by default.
            "broker.session.timeout.ms": 1500,
            "broker.heartbeat.interval.ms": 300,
            # Tests write records of the past, which the default of seven days would delete under their readers.
            "log.retention.ms": -1,
            # So that tests of retention and compaction need not wait for minutes.
            "log.retention.check.interval.ms": 1000,
            "log.segment.delete.delay.ms": 1000,
            "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
            "num.network.threads": 2,
            "num.io.threads": 4,
        }
        properties.update(self.extra_config)
        return "".join(f"{k}={v}\n" for k, v in properties.items())

    def _java(self, *args, heap):
        log4j = self.data / "log4j2.properties"
        log4j.write_text(
            "rootLogger.level=WARN\nrootLogger.appenderRef.out.ref=out\n"
            "appender.out.type=Console\nappender.out.name=out\n"
            "appender.out.layout.type=PatternLayout\nappender.out.layout.pattern=%d %p %c %m%n\n"
        )
        return ["java", f"-Xmx{heap}", "-XX:+UseSerialGC", self.compiler, "-Xshare:auto", *self._archive_options(),
                f"-Dlog4j2.configurationFile={log4j}", "-cp", f"{self.libs}/*", *args]

    @property
    def archive(self):
        return self.libs.parent / "classes.jsa"

    def _archive_options(self):
        if self.archive_to_write:
            return [f"-XX:ArchiveClassesAtExit={self.archive_to_write}"]
        return [f"-XX:SharedArchiveFile={self.archive}"] if self.archive.exists() else []

    def start(self):
        if self.process:
            raise BrokerError("the broker is running already")
        config = self.data / "server.properties"
        config.write_text(self._properties())
        with open(self.log_path, "ab") as log:
            if not (self.data / "log" / "meta.properties").exists():
                done = subprocess.run(
                    self._java("kafka.tools.StorageTool", "format", "-t", "bWlsbHJhY2UtdGVzdHMtMQ", "-c", str(config),
                               heap="128m"), stdout=log, stderr=log)
                if done.returncode != 0:
                    raise BrokerError(f"formatting the storage failed:\n{self._log_tail()}")
            self.process = subprocess.Popen(self._java("kafka.Kafka", str(config), heap=self.HEAP), stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                            preexec_fn=die_with_parent)
        self._wait_until_ready()
        return self

    def _wait_until_ready(self):
        # The port opens when the broker has registered itself; before that nothing listens on it.
        deadline = time.monotonic() + self.START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                code, self.process = self.process.returncode, None
                raise BrokerError(f"the broker ended with status {code}:\n{self._log_tail()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise BrokerError(f"the broker did not listen on {self.address} within {self.START_TIMEOUT_S} s:\n"
                          f"{self._log_tail()}")

    def _log_tail(self):
        return "".join(self.log_path.read_text(errors="replace").splitlines(True)[-30:])

    def stop(self, timeout_s=60):
        """A clean end; SIGKILL if that takes too long."""
        if not self.process:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill(self):
        """SIGKILL, as a crash. The data stays."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self):
        self.stop()
        return self.start()

    def suspend(self):
        """SIGSTOP: connections stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        self.stop()
        if self._own_data:
            shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc):
        self.close()

    def _request(self, api_key, api_version, body):
        """One request of Kafka's protocol, with the old, not flexible, header; returns a reader of the answer's body.

        The tools of Kafka would do as well, and take a second and a JVM for each topic.
        """
        message = struct.pack(">hhi", api_key, api_version, 1) + _string("millrace-tests") + body
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            connection.sendall(struct.pack(">i", len(message)) + message)
            stream = connection.makefile("rb")
            size = struct.unpack(">i", stream.read(4))[0]
            return _Reader(stream.read(size)[4:])

    def create_topic(self, name, partitions=1, config=None):
        configs = list((config or {}).items())
        body = struct.pack(">i", 1) + _string(name) + struct.pack(">ihii", partitions, 1, 0, len(configs))
        body += b"".join(_string(k) + _string(str(v)) for k, v in configs) + struct.pack(">i?", 30000, False)
        reader = self._request(19, 2, body)
        reader.skip(4 + 4)
        reader.string()
        code, message = reader.int16(), reader.string()
        if code != 0:
            raise BrokerError(f"creating topic {name} failed: error {code} {message or ''}")
        self.wait_for_topic(name, partitions)

    def wait_for_topic(self, name, partitions):
        """Until the broker tells clients of it: the controller, which has answered, knows a topic before it."""
        deadline = time.monotonic() + 60
        while self._leaders(name) < partitions:
            if time.monotonic() > deadline:
                raise BrokerError(f"topic {name} has not all of its {partitions} partitions after 60 s")
            time.sleep(0.01)

    def _leaders(self, name):
        """How many partitions of the topic have one, as the broker tells clients."""
        reader = self._request(3, 1, struct.pack(">i", 1) + _string(name))
        for _ in range(reader.int32()):
            reader.skip(4)
            reader.string()
            reader.skip(4)
            reader.string()
        reader.skip(4)  # The controller.
        found = 0
        for _ in range(reader.int32()):
            reader.skip(2)
            reader.string()
            reader.skip(1)
            for _ in range(reader.int32()):
                error, _, leader = reader.int16(), reader.int32(), reader.int32()
                found += error == 0 and leader >= 0
                for _ in range(2):  # Replicas, and those in sync.
                    reader.skip(4 * reader.int32())
        return found

    def delete_topic(self, name):
        reader = self._request(20, 1, struct.pack(">i", 1) + _string(name) + struct.pack(">i", 30000))
        reader.skip(4 + 4)
        reader.string()
        code = reader.int16()
        if code != 0:
            raise BrokerError(f"deleting topic {name} failed: error {code}")

    def add_partitions(self, name, partitions):
        """`partitions`: how many the topic has afterwards."""
        body = struct.pack(">i", 1) + _string(name) + struct.pack(">iii?", partitions, -1, 30000, False)
        reader = self._request(37, 0, body)
        reader.skip(4 + 4)
        reader.string()
        code, message = reader.int16(), reader.string()
        if code != 0:
            raise BrokerError(f"adding partitions to {name} failed: error {code} {message or ''}")
        self.wait_for_topic(name, partitions)


def _string(text):
    data = text.encode()
    return struct.pack(">h", len(data)) + data


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def skip(self, count):
        self.at += count

    def int16(self):
        self.at += 2
        return struct.unpack_from(">h", self.data, self.at - 2)[0]

    def int32(self):
        self.at += 4
        return struct.unpack_from(">i", self.data, self.at - 4)[0]

    def string(self):
        length = self.int16()
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length:self.at].decode()


def run_command(command):
    # SIGTERM (ctest's timeout) must not leave the broker behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Broker() as broker:
        child = subprocess.Popen(command, env={**os.environ, "KAFKA_BROKERS": broker.address})
        try:
            status = child.wait()
        except BaseException:
            child.kill()
            child.wait()
            raise
        if status != 0:
            sys.stderr.write(f"--- the broker's log ends with\n{broker._log_tail()}")
        return status if status >= 0 else 128 - status


def write_archive():
    """Of the classes that a broker has used when it ends. A Java that writes none is no failure."""
    broker = Broker()
    broker.archive.unlink(missing_ok=True)
    partial = broker.archive.with_suffix(".partial")
    broker.archive_to_write = partial
    with broker:
        broker.create_topic("classes")
    if partial.exists():
        partial.rename(broker.archive)
    else:
        print("broker.py: this Java has written no archive; brokers start without")
    return 0


def serve(port, data):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Broker(port=port, data=data, lasting=True) as broker:
        print(broker.address, flush=True)
        try:
            return broker.process.wait()
        except KeyboardInterrupt:
            return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a command beside a broker")
    run.add_argument("argv", nargs=argparse.REMAINDER)
    serve_parser = commands.add_parser("serve", help="run a broker until interrupted")
    serve_parser.add_argument("--port", type=int)
    serve_parser.add_argument("--data")
    commands.add_parser("archive", help="write the archive of classes")
    arguments = parser.parse_args()
    try:
        if arguments.command == "serve":
            return serve(arguments.port, arguments.data)
        if arguments.command == "archive":
            return write_archive()
        command = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
        if not command:
            parser.error("run: no command given")
        return run_command(command)
    except BrokerError as error:
        sys.stderr.write(f"broker.py: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
