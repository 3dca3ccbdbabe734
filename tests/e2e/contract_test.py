"""Goal: the API does what /openapi.json says: whatever fits the document is answered as it says, whatever does not is refused, and every
answer, of success or not, is of the types, the content type and the fields that are written there.

Method: Schemathesis asks a running pipeline with all kinds of tables, with the words of contract_hooks.py; the seed is fixed, so that
each run asks the same. Once as a client that may, once as one without a token.
"""
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from product import BINARY, FOLDER, PIPELINE, claim, end, millrace

TOKEN = "c0ntract-reader-t0ken"
PIPELINE = PIPELINE.replace("tables:\n", """tables:
  - name: "of_{country}"
    route: country
    max: 100
""").replace("log: {level: warn}", f"""aggregates:
  - name: clicks_1m
    sql: |
      SELECT window_start, country, count(*) AS views, sum(amount) AS revenue, avg(amount) AS mean
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
  - name: clicks_hop
    sql: |
      SELECT window_start, window_end, country, count(*) AS views
      FROM HOP(input, ts, INTERVAL 1 MINUTE, INTERVAL 5 MINUTE) GROUP BY ALL
  - name: visits
    sql: |
      SELECT window_start, country, count(*) AS views FROM SESSION(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
  - name: countries
    sql: "SELECT country, count(*) AS views, approx_count_distinct(event_id) AS events FROM input GROUP BY ALL"
serve:
  listen: "127.0.0.1:0"
  auth: {{tokens: [{{token: {TOKEN}, scopes: [read, sql]}}]}}
log: {{level: info}}""")
SECONDS_MAX = 400


def ask(*arguments):
    return json.loads(millrace("query", "clicks_1m", "-c", "p.yaml", "--group-by", "window_start", "--measures", "views", "-o", "json",
                               *arguments).stdout)["data"]


def fill():
    """The command line asks for windows without rows as the API does."""
    rows = ask()
    begin = datetime.datetime.fromisoformat(rows[0]["window_start"].replace("Z", "+00:00")) - datetime.timedelta(minutes=3)
    end = datetime.datetime.fromisoformat(rows[-1]["window_start"].replace("Z", "+00:00")) + datetime.timedelta(minutes=2)
    filled = ask("--from", begin.isoformat(), "--to", end.isoformat(), "--fill", "zero")
    claim(len(filled) == (end - begin) / datetime.timedelta(minutes=1) and [row["views"] for row in filled[:3]] == [0, 0, 0] and
          filled[-1]["views"] == 0 and [row for row in filled if row["views"]] == rows, "windows without rows", filled)


def pages(server):
    """A walk over HTTP is the whole answer, in each format that has a cursor."""
    question = "/v1/aggregates/clicks_1m?from=-1d&freshness=committed&order_by=views%20desc"
    whole = server.get(question)
    walked, cursor, pages_read = [], None, 0
    while pages_read == 0 or cursor:
        page = server.get(f"{question}&limit=7" + (f"&cursor={cursor}" if cursor else ""))
        walked += page["data"]
        cursor = page["next"]
        pages_read += 1
        claim(page["as_of"] == server.get(f"{question}&limit=7")["as_of"], "of one version", page["as_of"])
    claim(walked == whole["data"] and pages_read == -(-len(walked) // 7) > 1 and whole["next"] is None, "pages", (pages_read, len(walked)))


class Server:
    def __init__(self):
        self.log = FOLDER / "run.log"
        with self.log.open("w") as out:
            self.process = subprocess.Popen([BINARY, "run", "-c", "p.yaml"], cwd=FOLDER, stdout=out, stderr=out)
        self.url = self.wait_for(lambda: re.search(r"serving url=(\S+?)/?\s", self.log.read_text()), "it serves")[1]

    def wait_for(self, condition, what):
        deadline = time.monotonic() + 180
        while not (value := condition()):
            assert time.monotonic() < deadline and self.process.poll() is None, f"{what}\n{self.log.read_text()}"
            time.sleep(0.05)
        return value

    def get(self, path):
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {TOKEN}"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            return json.load(error)


def ask_everything(server, names, token, name, **settings):
    """Runs Schemathesis; its report is in the message if something is not as the document says."""
    config = FOLDER / f"{name}.toml"
    lines = ["seed = 20261129", "continue-on-failure = true", "request-timeout = 20", "max-stream-events = 1", "warnings = false",
             "color = false", "", "[cache]", "enabled = false", "", "[generation]", "deterministic = false", 'database = "none"',
             f"max-examples = {settings['examples']}", "allow-x00 = false", "", "[phases.stateful]", "enabled = false"]
    for check in settings.get("without", []):
        lines += ["", f"[checks.{check}]", "enabled = false"]
    if token:
        lines[6:6] = ["[headers]", f'Authorization = "Bearer {token}"', ""]
    config.write_text("\n".join(lines) + "\n")
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{server.url}/openapi.json"],
                          cwd=FOLDER, capture_output=True, text=True, timeout=SECONDS_MAX,
                          env={**os.environ, "SCHEMATHESIS_HOOKS": "contract_hooks", "CONTRACT_NAMES": json.dumps(names),
                               "PYTHONPATH": str(pathlib.Path(__file__).parent), "COLUMNS": "160"})
    claim(done.returncode == 0, f"{name}: all is as the document says", done.stdout + done.stderr)
    generated = re.search(r"(\d+) generated", done.stdout)
    claim(generated and int(generated[1]) >= settings["at_least"], f"{name}: many requests were made", done.stdout)
    print(f"{name}: {generated[1]} requests in {time.monotonic() - begun:.0f} s")


def main():
    (FOLDER / "p.yaml").write_text(PIPELINE)
    millrace("simulate", "clickstream", "--count", "2000", "--rate", "0", "--malformed", "5%", "--seed", "7", "--to", "embedded:log/clicks")
    server = Server()
    try:
        server.wait_for(lambda: server.get("/v1/tables/of_DE").get("rows"), "there are rows")
        server.wait_for(lambda: server.get("/v1/tables/clicks_dead_letters").get("rows"), "and dead letters")
        names = {"table": [table["name"] for table in server.get("/v1/tables")["tables"] if table["name"] != "of_{country}"],
                 "aggregate": [aggregate["name"] for aggregate in server.get("/v1/aggregates")["aggregates"]]}
        claim({"clicks", "of_DE", "clicks_dead_letters", "clicks_1m"} <= set(names["table"]) and len(names["aggregate"]) == 4,
              "there is one of each kind", names)
        letters = server.get("/v1/dead-letters?limit=3")
        counted = server.get("/v1/tables/clicks_dead_letters")["rows"]
        claim(letters["letters"] >= counted > 0 and len(letters["samples"]) == 3 and any(sample.get("payload") for sample in letters["samples"]), "dead letters are told", letters)
        lag = server.wait_for(lambda: (found := server.get("/v1/lag"))["lag"] == 0 and
                              all(partition["committed_lag"] == 0 for partition in found["partitions"]) and found, "all is committed")
        claim(sum(partition["position"] for partition in lag["partitions"]) == 2000 and len(lag["partitions"]) == 4, "and how far", lag)
        pages(server)
        ask_everything(server, names, TOKEN, "a client that may", examples=50, at_least=300)
        ask_everything(server, names, None, "a client without a token", examples=2, at_least=100,
                       without=["positive_data_acceptance", "negative_data_rejection"])
        claim(server.process.poll() is None and server.get("/v1/pipeline")["errors"] == [], "and the pipeline was not disturbed")
        server.process.send_signal(signal.SIGTERM)
        claim(server.process.wait(timeout=120) == 0, "it ends as it should", server.log.read_text())
    finally:
        server.process.kill()
    fill()
    end()


main()
