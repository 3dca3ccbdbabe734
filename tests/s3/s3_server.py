#!/usr/bin/env python3
"""Real S3 servers on loopback, for tests. Only the standard library.

    s3_server.py run [--server minio|versitygw] [--tls] [--proxy] -- COMMAND...
        runs COMMAND beside a server that has an empty bucket; the exit status is the command's. COMMAND finds in its
        environment S3_TEST_BUCKET, and AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION (with
        --tls AWS_CA_BUNDLE too). With --proxy the endpoint is that of a fault proxy (fault_proxy.py) before the server, which
        does nothing until it is told, and S3_TEST_DIRECT_ENDPOINT is the server's own.

As a class:

    with Minio() as server, FaultProxy(server.endpoint) as proxy:
        server.create_bucket("lake")
        server.keys("lake", "clicks/")     # every key, straight from the server
        subprocess.run(..., env={**os.environ, **server.environment(proxy.endpoint)})

The binaries are those in $MILLRACE_DEPS/s3/bin. Data lies in a temporary folder that goes with the server.
"""
import argparse
import datetime
import hashlib
import hmac
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse
import xml.etree.ElementTree
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ports import free_port  # noqa: E402

HERE = Path(__file__).resolve().parent
UNIX_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def default_binaries():
    deps = os.environ.get("MILLRACE_DEPS") or os.path.expanduser("~/.cache/millrace/deps")
    return Path(deps) / "s3" / "bin"


class ServerError(RuntimeError):
    pass


def wait_until_listening(port, process, what, log_path, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise ServerError(f"{what} does not listen on port {port}:\n{log_path.read_text(errors='replace')[-3000:]}")


class S3Server:
    """One server process. `endpoint` stays the same over stop() and start()."""

    region = "us-east-1"
    access_key = "millrace-test"
    secret_key = "not-a-secret-of-anyone"

    def __init__(self, tls=False):
        self.folder = Path(tempfile.mkdtemp(prefix="millrace-s3-"))
        self.port = free_port()
        self.tls = tls
        # Names below "localhost" resolve to loopback in libcurl, so the bucket can be one of them too.
        self.endpoint = f"http{'s' if tls else ''}://localhost:{self.port}"
        self.ca_file = self.folder / "certs" / "ca.pem"
        self.process = None
        (self.folder / "data").mkdir()
        if tls:
            self._make_certificates()

    def _make_certificates(self):
        """An authority of our own, and a certificate by it for localhost."""
        certs = self.ca_file.parent
        certs.mkdir()
        (certs / "ext").write_text("subjectAltName=DNS:localhost,DNS:lake.localhost,IP:127.0.0.1\n")

        def openssl(*arguments):
            done = subprocess.run(["openssl", *arguments], cwd=certs, capture_output=True, text=True)
            if done.returncode != 0:
                raise ServerError(f"openssl {arguments}: {done.stderr}")

        new_key = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl(*new_key, "-x509", "-days", "2", "-subj", "/CN=Millrace test authority", "-keyout", "ca.key", "-out", "ca.pem")
        openssl(*new_key, "-subj", "/CN=localhost", "-keyout", "private.key", "-out", "server.csr")
        openssl("x509", "-req", "-days", "2", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-extfile", "ext", "-out", "public.crt")

    def _command(self):
        raise NotImplementedError

    def _environment(self):
        raise NotImplementedError

    def start(self):
        binary = self._command()[0]
        if not Path(binary).exists():
            raise ServerError(f"no {binary}: run scripts/setup")
        log_path = self.folder / "server.log"
        with open(log_path, "ab") as log:
            self.process = subprocess.Popen(self._command(), env={**os.environ, **self._environment()}, stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        wait_until_listening(self.port, self.process, type(self).__name__, log_path)
        # The port is open before the server is ready to answer.
        deadline = time.monotonic() + 180
        while True:
            status = 503
            try:
                status, body = self.request("GET", "/")
            except (OSError, http.client.HTTPException) as error:
                body = str(error)
            if status == 200:
                return self
            if time.monotonic() > deadline:
                raise ServerError(f"{type(self).__name__} is not ready: {status} {body}\n{log_path.read_text()[-3000:]}")
            time.sleep(0.05)

    def stop(self, kill=False):
        if not self.process:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc):
        self.stop(kill=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self, endpoint=None):
        """What a client needs to know. Nothing of this machine's own AWS settings is left in it."""
        return {"AWS_ENDPOINT_URL": endpoint or self.endpoint, "AWS_ACCESS_KEY_ID": self.access_key,
                  "AWS_SECRET_ACCESS_KEY": self.secret_key, "AWS_REGION": self.region, "AWS_SESSION_TOKEN": "",
                  "AWS_ENDPOINT_URL_S3": "", "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true",
                  "AWS_CA_BUNDLE": str(self.ca_file) if self.tls else ""}

    # Requests of our own, straight to the server: an independent look at what is in it.

    def request(self, method, path, query=None, body=b""):
        """(status, body) of a signed request (AWS Signature Version 4)."""
        quote = lambda text: urllib.parse.quote(text, safe="-_.~")
        canonical_query = "&".join(f"{quote(k)}={quote(v)}" for k, v in sorted((query or {}).items()))
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        host = f"localhost:{self.port}"
        headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": now}
        names = ";".join(sorted(headers))
        canonical = "\n".join([method, urllib.parse.quote(path, safe="/-_.~"), canonical_query,
                               *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, digest])
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = ("AWS4" + self.secret_key).encode()
        for part in (now[:8], self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, "
                                    f"Signature={signature}")
        if self.tls:
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=300,
                                                     context=ssl.create_default_context(cafile=self.ca_file))
        else:
            connection = http.client.HTTPConnection("localhost", self.port, timeout=300)
        try:
            url = urllib.parse.quote(path, safe="/-_.~") + (f"?{canonical_query}" if canonical_query else "")
            connection.request(method, url, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def create_bucket(self, name):
        status, body = self.request("PUT", f"/{name}")
        if status != 200:
            raise ServerError(f"creating bucket {name}: {status} {body}")

    def put(self, bucket, key, content):
        status, body = self.request("PUT", f"/{bucket}/{key}", body=content)
        if status != 200:
            raise ServerError(f"writing {key}: {status} {body}")

    def get(self, bucket, key):
        status, body = self.request("GET", f"/{bucket}/{key}")
        if status != 200:
            raise ServerError(f"reading {key}: {status} {body}")
        return body

    def objects(self, bucket, prefix=""):
        """Key -> last change, in Unix milliseconds."""
        found, token = {}, None
        while True:
            query = {"list-type": "2", "prefix": prefix}
            if token:
                query["continuation-token"] = token
            status, body = self.request("GET", f"/{bucket}", query)
            if status != 200:
                raise ServerError(f"listing {bucket}: {status} {body}")
            root = xml.etree.ElementTree.fromstring(body)
            space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
            for entry in root.iter(f"{space}Contents"):
                modified = datetime.datetime.fromisoformat(entry.findtext(f"{space}LastModified").replace("Z", "+00:00"))
                found[entry.findtext(f"{space}Key")] = (modified - UNIX_EPOCH) // datetime.timedelta(milliseconds=1)
            token = root.findtext(f"{space}NextContinuationToken")
            if root.findtext(f"{space}IsTruncated") != "true":
                return found

    def keys(self, bucket, prefix=""):
        return list(self.objects(bucket, prefix))


class Minio(S3Server):
    def _command(self):
        command = [str(default_binaries() / "minio"), "server", "--quiet", "--address", f"127.0.0.1:{self.port}",
                   "--console-address", "127.0.0.1:0"]
        return command + ["--certs-dir", str(self.ca_file.parent)] * self.tls + [str(self.folder / "data")]

    def _environment(self):
        # MINIO_DOMAIN: buckets as host names, too. The drive is not slower because nobody syncs it, only less durable.
        return {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key, "MINIO_DOMAIN": "localhost",
                "MINIO_UPDATE": "off", "MINIO_BROWSER": "off", "MINIO_CALLHOME_ENABLE": "off"}


class Versitygw(S3Server):
    def _command(self):
        (self.folder / "meta").mkdir(exist_ok=True)
        command = [str(default_binaries() / "versitygw"), "--port", f"127.0.0.1:{self.port}", "--keep-alive", "--quiet",
                   "--virtual-domain", f"localhost:{self.port}"]
        if self.tls:
            command += ["--cert", str(self.ca_file.parent / "public.crt"), "--key", str(self.ca_file.parent / "private.key")]
        # Not every file system of a test machine has extended attributes: the metadata lies beside the data.
        return command + ["posix", "--sidecar", str(self.folder / "meta"), str(self.folder / "data")]

    def _environment(self):
        return {"ROOT_ACCESS_KEY_ID": self.access_key, "ROOT_SECRET_ACCESS_KEY": self.secret_key}


SERVERS = {"minio": Minio, "versitygw": Versitygw}


class FaultProxy:
    """fault_proxy.py before a server; see there for what it can do."""

    def __init__(self, upstream):
        self.upstream = urllib.parse.urlsplit(upstream)
        self.port = free_port()
        self.endpoint = f"http://localhost:{self.port}"
        self.process = None
        self.log = None

    def __enter__(self):
        self.log = tempfile.NamedTemporaryFile(prefix="millrace-proxy-", suffix=".log")
        self.process = subprocess.Popen([sys.executable, str(HERE / "fault_proxy.py"), "--port", str(self.port), "--upstream",
                                         str(self.upstream.port)], stdout=self.log, stderr=self.log, start_new_session=True)
        wait_until_listening(self.port, self.process, "the fault proxy", Path(self.log.name))
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def _control(self, path, value=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("PUT" if value is not None else "GET", f"/-proxy-/{path}",
                               json.dumps(value) if value is not None else None)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def random_faults(self, rate, seed, faults=None):
        self._control("random", {"rate": rate, "seed": seed, **({"faults": faults} if faults else {})})

    def always(self, fault, match="", method=""):
        self._control("plan", [{"fault": fault, "match": match, "method": method, "times": -1}])

    def delay(self, seconds):
        self._control("delay", {"seconds": seconds})

    def peak(self):
        """Requests under way at once since delay(), at most."""
        return self._control("peak")["requests"]

    def quiet(self):
        self._control("plan", [])
        self._control("random", {"rate": 0, "seed": 0})

    def counts(self):
        """Requests forwarded and faults made, by kind."""
        return self._control("counts")


def run_command(arguments, command):
    # SIGTERM (ctest's timeout) must not leave the server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with SERVERS[arguments.server](tls=arguments.tls) as server:
        server.create_bucket("lake")
        environment = {**os.environ, **server.environment(), "S3_TEST_BUCKET": "lake"}
        if not arguments.proxy:
            return run_child(command, environment)
        with FaultProxy(server.endpoint) as proxy:
            environment["S3_TEST_DIRECT_ENDPOINT"] = server.endpoint
            return run_child(command, {**environment, "AWS_ENDPOINT_URL": proxy.endpoint})


def run_child(command, environment):
    child = subprocess.Popen(command, env=environment)
    try:
        status = child.wait()
    except BaseException:
        child.kill()
        child.wait()
        raise
    return status if status >= 0 else 128 - status


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a command beside a server")
    run.add_argument("--server", choices=SERVERS, default="minio")
    run.add_argument("--tls", action="store_true")
    run.add_argument("--proxy", action="store_true")
    run.add_argument("argv", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    command = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    if not command:
        parser.error("run: no command given")
    try:
        return run_command(arguments, command)
    except ServerError as error:
        sys.stderr.write(f"s3_server.py: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
