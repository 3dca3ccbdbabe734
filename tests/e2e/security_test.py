"""Goal: the API keeps its doors, as clients of others see it: TLS and its renewal, client certificates, tokens and JWT of an issuer
whose keys change, rates; and no secret is in a log, a metric or an answer.

Method: the program with an embedded log; certificates and tokens by OpenSSL's command line; the clients are Python's ssl, curl and the
program's own `query`; the issuer is an HTTPS server in this file.
"""
import http.client
import http.server
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from credentials import Authority, Signer
from product import BINARY, FOLDER, PIPELINE, claim, end, millrace

PLAIN = PIPELINE.replace("log: {level: warn}", "log: {level: debug}")
READER, ANALYST = "reader-t0ken-Wx8", "analyst-t0ken-Qz3"


class Issuer:
    """Publishes keys over HTTPS, and counts who asks."""

    def __init__(self, certificate, key):
        self.keys, self.asked, self.status = [], 0, 200
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                body = json.dumps({"keys": issuer.keys}).encode()
                self.send_response(issuer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}/jwks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Program:
    """`millrace run` of a pipeline with this `serve:`; its log is at hand."""

    def __init__(self, name: str, serve: str):
        (FOLDER / f"{name}.yaml").write_text(PLAIN + serve)
        self.log_file = FOLDER / f"{name}.log"
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen([BINARY, "run", "-c", f"{name}.yaml"], cwd=FOLDER, stderr=log, stdout=log)
        self.port = self.port_after("serving url=")
        self.health = self.port_after("serving health url=") if "health:" in serve else None

    def log(self):
        return self.log_file.read_text()

    def wait_for(self, condition, what, seconds=180):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            assert self.process.poll() is None, f"{what}: the program has ended\n{self.log()}"
            time.sleep(0.1)
        raise AssertionError(f"{what}: not within {seconds} s\n{self.log()}")

    def port_after(self, words):
        return int(self.wait_for(lambda: re.search(re.escape(words) + r"\S+:(\d+)", self.log()), words)[1])

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        claim(self.process.wait(timeout=120) == 0, "it ends in order", self.log())


def ask(port, target, token=None, context=None, headers=()):
    """(status, headers, body); status None: there was no answer."""
    make = http.client.HTTPConnection if context is None else lambda *a, **k: http.client.HTTPSConnection(*a, context=context, **k)
    connection = make("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", target, headers=dict(headers) | ({"Authorization": f"Bearer {token}"} if token else {}))
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return None, {}, str(error)
    finally:
        connection.close()


def trusting(certificate=None):
    return ssl.create_default_context(cafile=certificate)


def claims(**more):
    now = int(time.time())
    return {"iss": "https://idp.example/", "aud": "lake", "sub": "alice", "scope": "openid read", "exp": now + 600} | more


def served(port):
    """The common name of the certificate that a new connection gets."""
    context = ssl._create_unverified_context()  # Which certificate it is is looked at below.
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain) as connection:
        der = connection.getpeercert(binary_form=True)
    text = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-subject"], input=der, capture_output=True, check=True).stdout
    return text.decode().strip().split("CN = ")[1]


def tls_and_tokens():
    authority = Authority(FOLDER / "ca", "authority")
    first, second = authority.sign("first"), authority.sign("second")
    # As Kubernetes mounts a secret: tls.crt -> ..data/tls.crt, ..data -> ..1
    mount = FOLDER / "mount"
    mount.mkdir()

    def put(version, pair):
        (mount / version).mkdir()
        for name, path in zip(("tls.crt", "tls.key"), pair):
            shutil.copy(path, mount / version / name)
        (mount / "..new").symlink_to(version)
        (mount / "..new").rename(mount / "..data")

    put("..1", first)
    for name in ("tls.crt", "tls.key"):
        (mount / name).symlink_to(f"..data/{name}")
    issuer = Issuer(*authority.sign("idp"))
    rsa, ec, ed = (Signer(FOLDER / "keys", kid, algorithm) for kid, algorithm in (("r1", "RS256"), ("e1", "ES256"), ("d1", "EdDSA")))
    issuer.keys = [rsa.jwk(), ec.jwk()]
    (FOLDER / "reader").write_text(READER + "\n")
    program = Program("tls", f"""serve:
  listen: 127.0.0.1:0
  health: {{listen: "127.0.0.1:0"}}
  tls: {{certificate_file: mount/tls.crt, key_file: mount/tls.key}}
  auth:
    tokens:
      - {{token: "${{file:reader}}", scopes: [read]}}
      - {{token: "{ANALYST}", scopes: [sql]}}
    jwt: {{jwks: "{issuer.url}", ca_file: ca/authority.crt, issuer: "https://idp.example/", audience: lake}}
  cors: {{origins: ["https://bi.example"]}}
""")
    port, context = program.port, trusting(authority.certificate)
    program.wait_for(lambda: ask(program.health, "/readyz")[0] == 200, "ready")
    program.wait_for(lambda: issuer.asked > 0, "the issuer is asked")

    claim(ask(port, "/v1/tables", READER, context)[0] == 200, "a token opens")
    status, headers, body = ask(port, "/v1/tables", None, context)
    claim(status == 401 and headers["WWW-Authenticate"] == 'Bearer realm="millrace"' and json.loads(body)["code"] == "unauthorized",
          "without one it is 401", (status, headers, body))
    status, headers, _ = ask(port, "/v1/tables", ANALYST, context)
    claim(status == 403 and 'scope="read"' in headers["WWW-Authenticate"], "without the scope it is 403", (status, headers))
    for signer in (rsa, ec):
        claim(ask(port, "/v1/tables", signer.token(claims()), context)[0] == 200, f"a JWT with {signer.algorithm} opens", program.log())
    for wrong in ({"exp": int(time.time()) - 120}, {"aud": "sea"}, {"iss": "https://other/"}, {"nbf": int(time.time()) + 300}):
        status, headers, _ = ask(port, "/v1/tables", rsa.token(claims(**wrong)), context)
        claim(status == 401 and 'error="invalid_token"' in headers["WWW-Authenticate"], f"a JWT with {wrong} does not", headers)
    claim(ask(port, "/v1/tables", rsa.token(claims(scope="openid")), context)[0] == 403, "nor one without the scope")
    claim(ask(port, f"/v1/tables?access_token={READER}", None, context)[0] == 400, "nor a token in the URL")
    claim(ask(port, "/v1/tables", READER, context, [("Origin", "https://bi.example")])[1].get("Access-Control-Allow-Origin") ==
          "https://bi.example", "a listed page may read")
    claim(ask(port, "/cost", None, context)[0] == 200, "the pages are open")

    claim(ask(port, "/v1/tables", READER, trusting())[0] is None, "who does not know the authority does not connect")
    claim(ask(port, "/v1/tables", READER)[0] is None, "plain HTTP gets no answer")
    old = subprocess.run(["openssl", "s_client", "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0", "-connect", f"127.0.0.1:{port}"],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    claim(old.returncode != 0 and "alert protocol version" in old.stderr, "TLS 1.1 is refused, by the server", old.stderr)
    curl = subprocess.run(["curl", "-sS", "--http2", "--cacert", authority.certificate, "-H", f"Authorization: Bearer {READER}",
                           "-o", "/dev/null", "-w", "%{http_code} %{http_version}", f"https://127.0.0.1:{port}/v1/tables"], capture_output=True, text=True)
    claim(curl.stdout == "200 1.1", "curl is answered in HTTP/1.1", curl)
    asked = millrace("query", "nothing", "--url", f"https://127.0.0.1:{port}", "--token", READER, code=1,
                     env={"CURL_CA_BUNDLE": str(authority.certificate)})
    claim("There is no aggregate 'nothing'" in asked.stderr, "the program's own client asks over TLS", asked.stderr)
    metrics = ask(program.health, "/metrics")[2]
    expiry = float(re.search(r"^millrace_tls_certificate_expiry_timestamp_seconds (\S+)", metrics, re.M)[1])
    claim(80_000 < expiry - time.time() < 90_000, "a metric says when the certificate expires", expiry)
    claim(ask(port, "/metrics", None, context)[0] == 404 and ask(program.health, "/v1/tables", READER)[0] == 404, "each door has its own")

    # Clients that do not shake hands.
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    waited = []
    for _ in range(3):  # This machine may stand still now and then.
        began = time.monotonic()
        claim(ask(port, "/v1/tables", READER, context)[0] == 200, "while others shake hands slowly there are answers")
        waited.append(time.monotonic() - began)
    claim(min(waited) < 2, "slow handshakes hold up nobody", waited)
    for one in silent:
        one.close()

    # A key that is new, and one that was taken back; then a certificate, while the issuer is away.
    issuer.keys = [ed.jwk(), rsa.jwk()]
    put("..2", second)
    asked_before = issuer.asked
    program.wait_for(lambda: ask(port, "/v1/tables", ed.token(claims()), context)[0] == 200, "a new key is known")
    claim(issuer.asked == asked_before + 1, "the issuer was asked once, however often somebody came with the key", issuer.asked)
    claim(ask(port, "/v1/tables", ec.token(claims()), context)[0] == 401, "the old one is not believed any more")
    issuer.status = 500
    program.wait_for(lambda: served(port) == "second", "a renewed certificate is served")
    claim(ask(port, "/v1/tables", READER, context)[0] == 200, "and trusted")
    put("..3", (first[0], second[1]))
    program.wait_for(lambda: "the one before is still served" in program.log(), "a broken renewal is logged")
    claim(served(port) == "second" and program.log().count("the one before is still served") == 1, "once, and the one before served")
    program.wait_for(lambda: ask(port, "/v1/tables", ec.token(claims()), context)[0] == 401 and "answered 500" in program.log(),
                     "the log says that the issuer does not answer")
    claim(ask(port, "/v1/tables", rsa.token(claims()), context)[0] == 200, "while it does not, known keys go on")
    claim(program.log().count("cannot be read") == 1, "and that is said once", program.log())

    text = program.log() + ask(program.health, "/metrics")[2] + ask(port, "/v1/pipeline", READER, context)[2]
    for secret in (READER, ANALYST, "eyJ", "PRIVATE KEY"):
        claim(secret not in text, f"no {secret} in a log, a metric or an answer", text)
    program.end()


def client_certificates_and_rates():
    authority, stranger = Authority(FOLDER / "ca", "authority"), Authority(FOLDER / "other", "authority")
    certificate, key = authority.sign("server")
    (FOLDER / "keys.json").write_text(json.dumps({"keys": [Signer(FOLDER / "keys", "f1", "RS256").jwk()]}))
    program = Program("mutual", f"""serve:
  listen: 127.0.0.1:0
  health: {{listen: "127.0.0.1:0"}}
  tls: {{certificate_file: {certificate}, key_file: {key}, client_ca_file: ca/authority.crt}}
  auth:
    bearer: {READER}
    jwt: {{jwks: keys.json}}
  limits: {{rate: 5/m}}
""")
    port = program.port

    def known_by(signer, name, usage):
        context = trusting(authority.certificate)
        if signer is not None:
            context.load_cert_chain(*signer.sign(name, usage))
        return context

    def answer(signer, name, usage, token=None):
        return ask(port, "/v1/tables", token, known_by(signer, name, usage))

    program.wait_for(lambda: ask(program.health, "/readyz")[0] == 200, "ready")
    claim(answer(None, "", "")[0] is None, "without a certificate there is no answer")
    claim(answer(stranger, "client", "clientAuth")[0] is None, "nor with one of another authority")
    claim(answer(authority, "client", "serverAuth")[0] is None, "nor with one that is for servers")
    claim(answer(authority, "client", "clientAuth")[0] == 401, "with one of the authority there is HTTP, and it wants a token")
    client = known_by(authority, "client", "clientAuth")
    statuses = [ask(port, "/v1/tables", READER, client) for _ in range(6)]
    claim([status for status, _, _ in statuses] == [200] * 5 + [429], "a token has its rate", statuses)
    claim(1 <= int(statuses[-1][1]["Retry-After"]) <= 12, "and is told when to come again", statuses[-1][1])
    own = Signer(FOLDER / "keys", "f1", "RS256")  # Another key of the same name.
    claim(answer(authority, "client", "clientAuth", own.token(claims()))[0] == 401, "a forged JWT is not believed")
    (FOLDER / "keys.json").write_text(json.dumps({"keys": [own.jwk()]}))
    program.wait_for(lambda: answer(authority, "client", "clientAuth", own.token(claims()))[0] == 200, "a file of keys is read again")
    program.end()


def what_run_would_refuse():
    authority = Authority(FOLDER / "ca", "authority")
    (certificate, key), (_, other) = authority.sign("server"), authority.sign("client")
    cases = [
        (f"tls: {{certificate_file: {certificate}, key_file: {other}}}", "holds another key"),
        (f"tls: {{certificate_file: /nowhere/tls.crt, key_file: {key}}}", "cannot read '/nowhere/tls.crt': No such file"),
        (f"auth: {{tokens: [{{token: {READER}, scopes: [read]}}, {{token: {READER}, scopes: [sql]}}]}}", "the same token as that of line 15"),
        (f"auth: {{tokens: [{{token: {READER}, scopes: [raed]}}]}}", "did you mean 'read'?"),
        ("auth: {jwt: {jwks: 'http://idp.example/jwks'}}", "use https://"),
        ("auth: {jwt: {jwks: p.yaml}}", "cannot be used: it is not JSON"),
        ("limits: {rate: 5/day}", "is not a rate"),
    ]
    for serve, said in cases:
        (FOLDER / "p.yaml").write_text(PIPELINE + "serve: {" + serve + "}\n")
        found = millrace("validate", "p.yaml", code=78).stderr
        claim(said in found and re.match(r"p\.yaml:15:\d+: ", found) and READER not in found, f"validate: {serve}", found)
        claim(millrace("run", "-c", "p.yaml", "--until-end", code=78).stderr == found, "run says the same")


what_run_would_refuse()
tls_and_tokens()
client_certificates_and_rates()
end()
