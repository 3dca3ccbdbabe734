"""Goal: who asks again what was asked before gets the same bytes while nothing is new, and, with its ETag, 304 for as long as the
answer says the same: after a restart, after events of other windows, until a late one. What is kept says so in the metrics.
"""
import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from product import BINARY, FOLDER, PIPELINE, claim, end, free_port, millrace

AGGREGATE = """aggregates:
  - name: windows
    sql: SELECT window_start, country, count(*) AS n, sum(amount) AS s FROM TUMBLE(input, ts, INTERVAL 10 SECOND) GROUP BY ALL
"""
WINDOW_S = 10
PORT = free_port()


def get(target, **headers):
    """Status, headers, body."""
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{target}", headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def metric(name):
    return float(re.search(rf"^{name} (\S+)$", get("/metrics")[2].decode(), re.MULTILINE).group(1))


class Run:
    """From its start, and that it has seen all records, to its end."""

    def __init__(self, records):
        self.records = records

    def __enter__(self):
        self.process = subprocess.Popen([BINARY, "run", "-c", "p.yaml"], cwd=FOLDER)
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                status, _, body = get("/v1/aggregates/windows?step=0&group_by=&measures=n")
                if status == 200 and json.loads(body)["data"][0]["n"] == self.records:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError("it has not seen all records")

    def __exit__(self, *_):
        self.process.terminate()
        claim(self.process.wait(120) == 0, "it stops in order")


def send(count, seed, late="0%"):
    millrace("simulate", "clickstream", "--count", str(count), "--rate", "0", "--seed", str(seed), "--late", late, "--to",
             "embedded:log/clicks")


def offsets(as_of):
    return sum(as_of["offsets"]["clicks"].values())


(FOLDER / "p.yaml").write_text(PIPELINE + AGGREGATE + f'serve: {{listen: "127.0.0.1:{PORT}"}}\n')
send(3000, 1)
# The windows up to the one that is next: what is sent from then on is of others.
bound = (int(time.time()) // WINDOW_S + 1) * WINDOW_S
question = "/v1/aggregates/windows?" + urllib.parse.urlencode({"group_by": "country", "to": bound})
with Run(3000):
    status, headers, first = get(question)
    tag = headers["ETag"]
    claim(status == 200 and tag.startswith('W/"') and headers["Cache-Control"] == "private, no-cache", "an answer has an ETag", headers)
    hits = metric("millrace_answer_cache_hits_total")
    deadline = time.monotonic() + 180
    while metric("millrace_answer_cache_hits_total") < hits + 3 and time.monotonic() < deadline:
        status, headers, again = get(question)
        claim(status == 200 and headers["ETag"] == tag, "an answer that says the same has the same ETag", headers)
    claim(metric("millrace_answer_cache_hits_total") >= hits + 3, "what was asked is kept")
    claim(metric("millrace_answer_cache_bytes") > 1000, "what is kept is counted")
    claim(get(question)[2] == again, "the same question gets the same bytes")
    status, headers, body = get(question, If_None_Match=tag)
    claim(status == 304 and body == b"" and headers["ETag"] == tag, "a client that has it is not sent it again", (status, headers))
    claim("Content-Length" not in headers and offsets(json.loads(headers["Millrace-As-Of"])) == 3000, "but told of what moment it is")
    coded = get(question, If_None_Match=tag, Accept_Encoding="gzip")
    claim(coded[0] == 304, "the compression is none of a weak tag's business")
    claim(get(question + "&format=csv", If_None_Match=tag)[0] == 200, "another format is another answer")
    claim(get("/v1/tables/clicks/rows?version=0", If_None_Match=get("/v1/tables/clicks/rows?version=0")[1]["ETag"])[0] == 304,
          "rows of one version have one too")

while time.time() < bound:
    time.sleep(0.1)
send(2000, 2)
with Run(5000):
    status, headers, _ = get(question, If_None_Match=tag)
    claim(status == 304, "the tag holds after a restart and more events, of other windows", (status, headers))
    claim(offsets(json.loads(headers["Millrace-As-Of"])) == 5000, "as of all of them")
    long_ago = f"/v1/aggregates/windows?from={bound - 7200}&to={bound - 3600}&fill=zero&step=1m&group_by="
    closed = get(long_ago)[1]["ETag"]
    claim(closed.startswith('"') and get(long_ago, If_None_Match=closed)[0] == 304, "of closed windows it is a strong one", closed)
    coded = get(long_ago, Accept_Encoding="gzip")[1]
    claim(coded["Content-Encoding"] == "gzip" and coded["ETag"] == closed[:-1] + '-gzip"', "which tells compressions apart", coded)
    claim(get(long_ago, If_None_Match=closed, Accept_Encoding="gzip")[0] == 200, "so that one is not taken for the other")
    claim(get(question.replace(f"to={bound}", f"to={bound + 86400}"))[1]["ETag"].startswith("W/"), "and of open ones a weak one")

send(2000, 3, late="100%")
with Run(7000):
    status, headers, body = get(question, If_None_Match=tag)
    claim(status == 200 and headers["ETag"] != tag, "late events make it another answer", (status, headers))
    claim(json.loads(body)["data"] != json.loads(first)["data"], "which it is")
end()
