"""Goal: SQL over a pipeline, over HTTP and over the lake, says what DuckDB makes of the raw rows up to what the answer says it
has: tables, aggregates hot and committed, joins, parameters; and nothing gets out, and everything ends.
"""
import decimal
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import duckdb

from product import BINARY, FOLDER, PIPELINE, claim, end, free_port, millrace

EVENTS = 3000  # In each of the two runs.
MINUTES = "SELECT window_start, country, count(*) AS views, sum(amount) AS revenue FROM {} GROUP BY ALL"
SPEC = PIPELINE.replace('partition_by: ["date(ts)"]', 'partition_by: ["country"]').replace(
    "log: {level: warn}", "limits: {memory: 256MiB}\nlog: {level: warn}")
AGGREGATES = f"""aggregates:
  - name: clicks_1m
    sql: {MINUTES.format("TUMBLE(input, ts, INTERVAL 1 MINUTE)")}
    commit: {{interval: 1h}}
"""
QUESTIONS = [
    "SELECT count(*) AS n, min(ts) AS a, max(ts) AS b, sum(amount) AS s FROM clicks",
    "SELECT country, count(*) AS n, avg(amount) AS a FROM clicks GROUP BY country ORDER BY n DESC, country LIMIT 3",
    "SELECT event_id, amount FROM clicks WHERE country = 'DE' AND amount > 3 ORDER BY event_id",
    "SELECT event_id FROM clicks WHERE country IN ('DE', 'FR') AND ts >= (SELECT max(ts) - INTERVAL 1 SECOND FROM clicks) ORDER BY 1",
    "SELECT count(DISTINCT event_id) AS d, count(*) FILTER (WHERE amount IS NULL) AS n FROM clicks WHERE country <> 'DE'",
    "SELECT a.country, count(*) AS n FROM clicks a JOIN clicks b ON a._partition = b._partition AND a._offset = b._offset + 1 GROUP BY ALL ORDER BY ALL",
    "SELECT country, ts, row_number() OVER (PARTITION BY country ORDER BY ts, event_id) AS r FROM clicks QUALIFY r <= 2 ORDER BY ALL",
    "WITH big AS (SELECT * FROM clicks WHERE amount > 2) SELECT country, median(amount) AS m FROM big GROUP BY ALL ORDER BY ALL",
    "SELECT _partition, max(_offset) AS last FROM clicks GROUP BY ALL UNION ALL SELECT -1, count(*) FROM clicks ORDER BY 1",
    "SELECT time_bucket(INTERVAL 1 SECOND, ts) AS t, list(DISTINCT country ORDER BY country) AS l FROM clicks GROUP BY ALL ORDER BY ALL LIMIT 5",
]
MERGED = [
    "SELECT * FROM clicks_1m ORDER BY ALL",
    "SELECT country, sum(views) AS v, sum(revenue) AS r FROM clicks_1m GROUP BY ALL ORDER BY v DESC, country",
    "SELECT count(*) AS n FROM clicks_1m WHERE country = 'DE' AND window_start >= '2020-01-01'",
]
JOINED = ("SELECT a.country, a.v, b.n FROM (SELECT country, sum(views) AS v FROM clicks_1m GROUP BY ALL) a "
          "JOIN (SELECT country, count(*) AS n FROM clicks GROUP BY ALL) b USING (country) ORDER BY ALL")


def post(port, document):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/sql", json.dumps(document).encode(),
                                     {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read(), parse_float=decimal.Decimal)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def get(port, path, **parameters):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(parameters)}", timeout=60) as response:
        return json.loads(response.read(), parse_float=decimal.Decimal)


def in_pages(port, oracle):
    """All pages of a table are its rows, each once, at one version."""
    for parameters in ({"limit": 700}, {"limit": 333, "order_by": "amount desc", "where": "country <> 'DE'"}):
        asked = {"columns": "event_id,amount", **parameters}
        rows, pages = [], 0
        while True:
            page = get(port, "/v1/tables/clicks/rows", **asked)
            rows += [(row["event_id"], row["amount"]) for row in page["data"]]
            pages += 1
            if page["next"] is None:
                break
            asked["cursor"] = page["next"]
        offsets = {int(p): o for p, o in page["as_of"]["offsets"]["clicks"].items()}
        wanted = oracle.rows(f"SELECT event_id, amount FROM clicks WHERE {parameters.get('where', 'true')}", offsets, {})
        claim(sorted(plain(rows), key=str) == sorted(wanted, key=str) and pages > 3, f"pages: {parameters}", (len(rows), len(wanted), pages))
        if "order_by" in parameters:
            amounts = [amount for _, amount in rows if amount is not None]
            claim(amounts == sorted(amounts, reverse=True), "in their order over all pages")
    for _ in range(20):  # Of one version: the table is committed every 10 s.
        files = get(port, "/v1/tables/clicks/files", limit=2)
        claim(len(files["files"]) == 2 and files["next"], "files come in pages too", files)
        more = get(port, "/v1/tables/clicks/files", after=files["next"])
        history = get(port, "/v1/tables/clicks/history")["history"]
        listed, logged = of_lake("files"), of_lake("history")
        if history == get(port, "/v1/tables/clicks/history")["history"]:
            break
    claim(files["files"] + more["files"] == listed and more["next"] is None, "and are those of millrace lake files")
    claim(history == logged and history[0]["version"] > history[-1]["version"], "so is the history")
    claim(get(port, "/v1/tables/clicks/rows", version=1, limit=1)["as_of"]["version"] == 1, "an older version")


def of_lake(what):
    return [json.loads(line) for line in millrace("lake", what, "lake/clicks", "-o", "json").stdout.splitlines()]


def sql(*arguments, code=0):
    return millrace("sql", *arguments, code=code)


def from_lake(question):
    return json.loads(sql(question, "-c", "p.yaml", "-o", "json").stdout, parse_float=decimal.Decimal)


def plain(rows):
    """Rows as DuckDB's and as JSON's: times as text in UTC, numbers as numbers."""
    def value(v):
        if hasattr(v, "isoformat"):
            return v.isoformat().replace("+00:00", "Z").removesuffix("Z")
        if isinstance(v, str):
            return v.removesuffix("Z")
        if isinstance(v, list):
            return [value(x) for x in v]
        if isinstance(v, (float, decimal.Decimal)):
            return round(float(v), 9)
        return v
    return [tuple(value(v) for v in row) for row in rows]


def trimmed(rows):
    """Python writes microseconds when there are some, always six of them."""
    def value(v):
        return v.rstrip("0") if isinstance(v, str) and "T" in v and "." in v else v
    return [tuple(value(v) if not isinstance(v, list) else v for v in row) for row in rows]


class Oracle:
    """DuckDB over the events as a tap of the log shows them."""

    def __init__(self):
        (FOLDER / "raw.ndjson").write_text(millrace("tap", "-c", "p.yaml", "--from-start", "--until-end").stdout)
        self.duckdb = duckdb.connect()
        self.duckdb.execute("SET TimeZone = 'UTC'")
        self.duckdb.execute(f"""CREATE TABLE raw AS SELECT * FROM read_json('{FOLDER}/raw.ndjson', format='newline_delimited', columns={{
            event_id: 'VARCHAR', ts: 'TIMESTAMPTZ', country: 'VARCHAR', amount: 'DECIMAL(12,2)', _partition: 'INTEGER', _offset: 'BIGINT'}})""")
        self.offsets = dict(self.duckdb.execute("SELECT _partition, max(_offset) + 1 FROM raw GROUP BY ALL").fetchall())

    def rows(self, question, clicks, clicks_1m):
        """`clicks`, `clicks_1m`: offsets by partition up to which each has its rows."""
        for name, offsets in (("clicks", clicks), ("of_clicks_1m", clicks_1m)):
            upto = " OR ".join(f"_partition = {p} AND _offset < {o}" for p, o in offsets.items()) or "false"
            self.duckdb.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM raw WHERE {upto}")
        self.duckdb.execute("CREATE OR REPLACE TEMP VIEW clicks_1m AS " + MINUTES.format(
            "(SELECT *, time_bucket(INTERVAL 1 MINUTE, ts) AS window_start FROM of_clicks_1m)"))
        answer = self.duckdb.sql(question).to_arrow_table()  # Its own way to Python's times wants another package.
        return trimmed(plain(tuple(row.values()) for row in answer.to_pylist()))


def offsets_in(answer, table):
    return {int(p): o for p, o in answer["as_of"]["tables"][table]["offsets"].get("clicks", {}).items()}


def held(oracle, answer, question, name):
    tables = answer["as_of"]["tables"]
    wanted = oracle.rows(question, *(offsets_in(answer, t) if t in tables else {} for t in ("clicks", "clicks_1m")))
    names = [column["name"] for column in answer["meta"]]
    got = trimmed(plain([tuple(row[n] for n in names) for row in answer["data"]]))
    claim(got == wanted, f"{name}: {question}", (got[:3], wanted[:3], answer["as_of"]))
    return wanted


def over_the_lake(oracle):
    for question in [*QUESTIONS, *MERGED, JOINED]:
        answer = from_lake(question)
        claim(held(oracle, answer, question, "lake") or "DE" in question, "and there is something", question)
        claim(all(not table["hot"] for table in answer["as_of"]["tables"].values()), "the lake has nothing hot")
    claim(sum(offsets_in(from_lake("SELECT 1 FROM clicks LIMIT 1"), "clicks").values()) >= EVENTS, "the offsets are those of the table")
    table = sql("SELECT country, sum(amount) AS s, NULL AS nothing FROM clicks WHERE country = 'DE' GROUP BY 1", "-c", "p.yaml").stdout
    claim(table.splitlines()[0].split() == ["country", "s", "nothing"] and "NULL" in table, "a table for people", table)
    claim(sql("SELECT 1 AS a, 'x,y' AS b", "-c", "p.yaml", "-o", "csv").stdout == 'a,b\n1,"x,y"\n', "csv")
    piped = subprocess.run([BINARY, "sql", "-c", "p.yaml", "-o", "csv"], cwd=FOLDER, input="SELECT 2 AS two", capture_output=True, text=True)
    claim(piped.stdout == "two\n2\n", "a statement from standard input", piped.stderr)
    plan = from_lake("EXPLAIN ANALYZE SELECT event_id FROM clicks WHERE country = 'DE'")["data"][0]
    claim(plan["files"] > plan["files_read"] >= 1 and plan["columns"] in ("country, event_id", "event_id"), "only a partition is read", plan)
    letters = from_lake("SELECT count(*) AS n FROM clicks_dead_letters")
    claim(letters["data"] == [{"n": 0}], "dead letters are a table", letters)
    for question, message in [
            ("SELECT * FROM clickz", "there is no table 'clickz' at line 1 column 15; did you mean 'clicks'?"),
            ("SELECT contry FROM clicks", 'Referenced column "contry" not found'),
            ("SELECT * FROM read_csv('/etc/passwd')", "the table function read_csv() is not allowed"),
            ("SELECT * FROM millrace_parquet('clicks')", "the table function millrace_parquet() is not allowed"),
            ("SELECT * FROM 'millrace://0/0'", "there is no table 'millrace://0/0'"),
            ("SELECT filename, file_row_number FROM clicks", 'Referenced column "filename" not found'),
            ("COPY clicks TO 'x.csv'", "only SELECT is answered"),
            ("SELECT * FROM clicks_replays", "clicks_replays")]:
        wrong = sql(question, "-c", "p.yaml", code=1)
        claim(message in wrong.stderr and wrong.stdout == "", question, wrong.stderr)


def shell(*arguments):
    """On a terminal, which a test has none of: a pseudo one."""
    import os
    import pty
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(FOLDER)
        os.execv(BINARY, [BINARY, "sql", *arguments])
    os.write(terminal, b"SELECT count(*) AS n\nFROM clicks;\nSELECT nothing FROM clicks;\n\\d\n\\d clicks\n\\q\n")
    said = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            break
        if not chunk:
            break
        said += chunk
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, said.decode()


def main():
    port = free_port()
    (FOLDER / "p.yaml").write_text(SPEC + AGGREGATES + f'serve: {{listen: "127.0.0.1:{port}"}}\n')
    simulate = ("simulate", "clickstream", "--count", str(EVENTS), "--rate", "0", "--duplicates", "0%", "--malformed", "0%",
                "--late", "5%", "--to", "embedded:log/clicks")
    millrace(*simulate)
    claim("the first 'millrace run -c p.yaml' makes the lake" in sql("SELECT 1 FROM clicks", "-c", "p.yaml", code=1).stderr,
          "before the first run")
    millrace("run", "-c", "p.yaml", "--until-end")
    over_the_lake(Oracle())
    code, said = shell("-c", "p.yaml")
    claim(code == 0 and str(EVENTS) in said and "clicks_1m" in said and "DECIMAL(12,2)" in said and 'column "nothing" not found' in said,
          "the shell answers, and goes on after a mistake", said)

    millrace(*simulate, "--seed", "2")
    running = subprocess.Popen([BINARY, "run", "-c", "p.yaml"], cwd=FOLDER)
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                status, answer = post(port, {"sql": "SELECT sum(views) AS n FROM clicks_1m"})
                if status == 200 and answer["data"][0]["n"] == 2 * EVENTS:
                    break
            except OSError:
                pass
            assert time.monotonic() < deadline, "all events in the aggregate"
            time.sleep(0.1)
        oracle = Oracle()
        for question in [*QUESTIONS, *MERGED, JOINED]:
            status, answer = post(port, {"sql": question})
            claim(status == 200, question, answer)
            held(oracle, answer, question, "http")
        for freshness, hot in (("hot", True), ("committed", False)):
            answer = post(port, {"sql": MERGED[1], "freshness": freshness})[1]
            held(oracle, answer, MERGED[1], freshness)
            claim(answer["as_of"]["tables"]["clicks_1m"]["hot"] is hot and
                  (sum(offsets_in(answer, "clicks_1m").values()) == (2 if hot else 1) * EVENTS), f"{freshness} says so", answer["as_of"])
        with_values = post(port, {"sql": "SELECT count(*) AS n FROM clicks WHERE country = $1 AND amount > $2", "params": ["DE", 2.5]})[1]
        held(oracle, {**with_values}, "SELECT count(*) FROM clicks WHERE country = 'DE' AND amount > 2.5", "parameters")
        in_pages(port, oracle)
        took = []
        for _ in range(3):  # This machine may stand still now and then.
            begin = time.monotonic()
            late = post(port, {"sql": "SELECT sum(range) FROM range(1000000000000000)", "timeout_ms": 200})
            took.append(time.monotonic() - begin)
            claim(late[0] == 504, "a deadline", late)
        claim(min(took) < 5, "which holds", took)
        # Who leaves ends the statement: there are two at a time, and these would never end.
        for _ in range(4):
            client = socket.create_connection(("127.0.0.1", port))
            body = json.dumps({"sql": "SELECT sum(range) FROM range(1000000000000000)"}).encode()
            client.sendall(b"POST /v1/sql HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            time.sleep(0.2)
            client.close()
        claim(post(port, {"sql": "SELECT 1 AS one"})[1]["data"] == [{"one": 1}], "statements of clients that left have ended")
        too_much = post(port, {"sql": "SELECT i::VARCHAR || 'some more text' AS t, count(*) FROM range(20000000) t(i) GROUP BY ALL"})
        claim(too_much[0] == 413 and too_much[1]["code"] == "answer_too_large", "memory has a limit", too_much)
        wrong = post(port, {"sql": "SELECT contry FROM clicks"})
        claim(wrong[0] == 400 and "at line 1 column 8" in wrong[1]["detail"], "a mistake has a place", wrong)
        claim(post(port, {"sql": "SELECT * FROM duckdb_settings()"})[0] == 400, "no settings")
        there = sql("SELECT sum(views) AS n FROM clicks_1m", "--url", f"http://127.0.0.1:{port}", "-o", "csv").stdout
        claim(there == f"n\n{2 * EVENTS}\n", "the command asks a running pipeline", there)
        refused = sql("SELECT 1 FROM nowhere", "--url", f"http://127.0.0.1:{port}", code=1)
        claim("there is no table 'nowhere'" in refused.stderr, "and says what it is told", refused.stderr)
        code, said = shell("--url", f"http://127.0.0.1:{port}")
        claim(code == 0 and "clicks_dead_letters" in said, "a shell over HTTP", said)
    finally:
        running.send_signal(signal.SIGTERM)
        claim(running.wait(timeout=120) == 0, "it ends well")
    claim("Is 'millrace run' or 'millrace demo' up?" in sql("SELECT 1", "--url", f"http://127.0.0.1:{port}", code=1).stderr, "nobody is there")
    end()


if __name__ == "__main__":
    main()
