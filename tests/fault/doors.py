"""The doors of a process, each asked at random by a thread of its own: aggregates, their streams, SQL, PostgreSQL's protocol.

A door keeps what it is told as an Answer, and what it is refused by the reason. Whether the answers are right is judge()'s to
say, later: it wants the records of the topic up to the offsets that they name.
"""

import collections
import csv
import dataclasses
import datetime
import http.client
import io
import json
import random
import threading
import time
import urllib.parse

import psycopg
import pyarrow as pa

import events
import oracle

PARTIAL = "millrace.partial"  # Settings of the Postgres door.
AS_OF = "millrace.as_of"
# What a process may say in place of an answer while it or others come and go: HTTP's `code`, and PostgreSQL's.
REFUSALS = {"starting", "unavailable", "overloaded", "57P01", "57P03"}
# What libpq says, without a code, when nobody is there, when the process ends in between, and when it has just begun.
UNREACHABLE = ("refused", "closed", "reset", "shutting down", "opening its log")
TIMEOUT_S = 60
EVENTS = ("snapshot", "upsert", "final", "watermark")


@dataclasses.dataclass
class Answer:
    door: str
    node: str
    phase: str
    question: object  # Parameters of the URL, or (sql, values, is ordered).
    as_of: dict
    partial: list  # Workers that are missing.
    columns: list
    rows: list
    how: str  # Format, or kind of event.

    def is_hot(self):
        """What workers have in memory belongs in it."""
        if isinstance(self.question, dict):
            return self.question.get("freshness") != "committed"
        return any(at["hot"] for at in self.as_of["tables"].values())

    def whole(self, checker):
        """The tables of which it has every record, the aggregate with what is in memory."""
        if isinstance(self.question, dict):
            return {"views_1m"} if self.is_hot() and checker.has_all_records(self.as_of["offsets"]) else set()
        return {name for name, at in self.as_of["tables"].items() if (
            checker.has_all_letters(at["version"]) if name == oracle.LETTERS else checker.has_all_records(at["offsets"]))
            and (name != "views_1m" or at["hot"])}


def check_json(checker, parameters, answer):
    """A JSON answer of GET /v1/aggregates/views_1m: None, or what is wrong."""
    columns = [column["name"] for column in answer["meta"]]
    return checker.check_aggregate(parameters, answer["as_of"]["offsets"].get(checker.topic, {}), columns,
                                   [[row[name] for name in columns] for row in answer["data"]])


def judge(checker, answer):
    """None if the answer is right, else what is wrong."""
    if isinstance(answer.question, dict):
        return checker.check_aggregate(answer.question, answer.as_of["offsets"].get(checker.topic, {}), answer.columns, answer.rows,
                                       ordered=answer.how not in EVENTS)
    sql, values, ordered = answer.question
    tables = answer.as_of["tables"]
    unnamed = [name for name in tables if name not in sql]
    if unnamed:
        return f"as_of names {unnamed}, which the statement does not"
    return checker.check_sql(sql, values, tables, answer.columns, answer.rows, ordered)


class Questions:
    """At random, about the events of `events.Generator` that began at `start_us`."""

    def __init__(self, seed, start_us):
        self.random = random.Random(seed)
        self.minute = start_us // 60_000_000

    def _time(self, least, most):
        return events.rfc3339((self.minute + self.random.randint(least, most)) * 60_000_000)[:19] + "Z"

    def aggregate(self):
        r = self.random
        kind = r.randrange(7)
        parameters = {"step": "0", "group_by": ""}
        if kind == 1:
            parameters["group_by"] = "cc,page"
        elif kind == 2:
            parameters.update(step="5m", group_by="cc")
        elif kind == 3:
            parameters.update(group_by="page", where=f"cc = '{r.choice(['de', 'fr', 'us'])}' AND page <> '/'")
        elif kind == 4:
            parameters.update(step="1m", group_by="")
        elif kind == 5:
            parameters.update(group_by="cc", **{"from": self._time(-6, 2), "to": self._time(3, 9)})
        elif kind == 6:
            parameters.update(group_by="cc,page", measures="views,revenue", order_by="views desc,cc,page", limit=str(r.randint(1, 9)))
        if r.random() < 0.2:
            parameters["freshness"] = "committed"
        return parameters

    def sql(self):
        """(statement, values, is ordered)"""
        r = self.random
        page = r.choice(events.PAGES)
        return r.choice([
            ("SELECT count(*) AS n, sum(amount) AS s, min(latency_ms) AS low, max(seq) AS high FROM events", [], False),
            ("SELECT country, page, count(*) AS n, sum(amount) AS s FROM events WHERE ts >= $1::TIMESTAMPTZ AND latency_ms < $2 GROUP BY ALL",
             [self._time(-90, 3), float(r.randint(100, 2000))], False),
            ("SELECT _partition, count(*) AS n, min(_offset) AS low, max(_offset) AS high, sum(crc) AS s FROM events GROUP BY ALL", [], False),
            ("SELECT event_id, _partition, _offset, ts, amount, city FROM events WHERE seq % 97 = $1 ORDER BY seq LIMIT 20",
             [r.randrange(97)], True),
            (f"SELECT ts, page, cc, stars FROM events WHERE page = '{page}' AND ts < '{self._time(-2, 2)}' AND stars IN (1, 4)", [], False),
            ("SELECT cc, sum(views) AS n, sum(revenue) AS s FROM views_1m WHERE page = $1 GROUP BY ALL", [page], False),
            ("SELECT window_start, cc, page, views, revenue, fastest, slowest, mean FROM views_1m WHERE window_start >= $1::TIMESTAMPTZ "
             "AND window_start < $2::TIMESTAMPTZ", [self._time(-40, 1), self._time(2, 4)], False),
            ("SELECT page, max(slowest) AS worst, sum(views) AS n FROM views_1m WHERE cc = 'de' OR cc IS NULL GROUP BY page "
             "HAVING sum(views) > 3 ORDER BY n DESC, page", [], True),
            (f"SELECT partition, stage, count(*) AS n, min(\"offset\") AS low, max(\"offset\") AS high, sum(octet_length(payload)) AS s "
             f"FROM {oracle.LETTERS} GROUP BY ALL", [], False),
            (f"SELECT partition, \"offset\", stage, md5(payload) AS digest FROM {oracle.LETTERS} WHERE partition = $1 AND stage = 'decode'",
             [r.randrange(4)], False),
            ("SELECT (SELECT sum(views) FROM views_1m) AS views, (SELECT count(*) FROM events) AS rows, "
             f"(SELECT count(*) FROM {oracle.LETTERS}) AS letters", [], False),
            ("SELECT e.cc, e.n, v.n AS views FROM (SELECT cc, count(*) AS n FROM events GROUP BY cc) e FULL JOIN "
             "(SELECT cc, sum(views) AS n FROM views_1m GROUP BY cc) v ON e.cc = v.cc", [], False),
        ])


class Refused(Exception):
    """No answer. `code`: why; of `REFUSALS`, or "unreachable"; whatever else should not have come."""

    def __init__(self, code, text=""):
        super().__init__(text or code)
        self.code = code


class Door(threading.Thread):
    """`nodes`: the processes to choose from, by name; may be changed at any time."""

    pause_s = (0.02, 0.08)

    def __init__(self, name, questions):
        super().__init__(daemon=True)
        self.name = name
        self.questions = questions
        self.nodes = {}
        self.asking = None  # The process that it waits for.
        self.phase = ""
        self.answers = []
        self.counts = collections.Counter()  # By phase, of answers.
        self.named = collections.Counter()  # By (phase, worker), of partial answers.
        self.down = frozenset()  # Workers that cannot answer: who asks meanwhile must be told.
        self.refusals = collections.Counter()  # By (phase, code).
        self.problems = []
        self.failure = None  # Of the test itself.
        self._ended = threading.Event()

    def run(self):
        try:
            while not self._ended.wait(self.questions.random.uniform(*self.pause_s)):
                nodes = [node for node in self.nodes.values() if node.alive()]
                if nodes:
                    self.asking = self.questions.random.choice(nodes)
                    if self.asking.name in self.nodes:  # Still.
                        self.one(self.asking)
                    self.asking = None
        except Exception as error:  # pylint: disable=broad-except  (told by close())
            self.failure = error

    def one(self, node):
        phase, down = self.phase, self.down
        try:
            answer = self.ask(node)
            unnamed = (down & self.down) - set(answer.partial) if answer.is_hot() else ()
            if unnamed:
                raise Refused("dishonest", f"{answer.question} names {answer.partial} as missing, {set(unnamed)} cannot have answered")
            self.keep(answer, phase)
        except Refused as refused:
            self.refusals[phase, refused.code] += 1
            if refused.code not in REFUSALS | {"unreachable", "ended"} and len(self.problems) < 5:
                self.problems.append(f"{self.name} of {node.name} in {phase}: {refused.code}: {refused}")

    def keep(self, answer, phase):
        answer.phase = phase
        self.answers.append(answer)
        self.counts[phase] += 1
        self.named.update((phase, worker) for worker in answer.partial)

    def take(self):
        """The answers so far, which it forgets."""
        answers, self.answers = self.answers, []
        return answers

    def close(self):
        self._ended.set()
        self.join(TIMEOUT_S)
        if self.failure is not None:
            raise self.failure


def _request(node, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response, response.read()
    except (ConnectionError, http.client.HTTPException) as error:
        raise Refused("unreachable", str(error)) from error
    finally:
        connection.close()


def _read(response, body, form):
    """(columns, rows, as_of, partial) of an answer over HTTP."""
    if response.status != 200:
        try:
            problem = json.loads(body)
        except ValueError:
            problem = {"code": f"status {response.status}", "detail": body[:200]}
        code = problem.get("code", "no code")
        raise Refused(code if response.status == 503 else f"{response.status} {code}", problem.get("detail", ""))
    named = json.loads(response.getheader("Millrace-Partial") or "[]")
    as_of = json.loads(response.getheader("Millrace-As-Of"))
    if form == "json":
        answer = json.loads(body, parse_float=str)
        if answer["as_of"] != as_of or (reasons := answer.get("partial_reasons", {})).keys() != set(answer.get("partial", [])) or not all(
                reasons.values()):
            raise Refused("dishonest", f"as_of {as_of} in the header, in the answer {answer['as_of']}, partial {answer.get('partial')}, {reasons}")
        columns = [column["name"] for column in answer["meta"]]
        return columns, [[row[name] for name in columns] for row in answer["data"]], as_of, answer.get("partial", [])
    if form == "csv":
        columns, *rows = csv.reader(io.StringIO(body.decode()))
        return columns, [[cell if cell else None for cell in row] for row in rows], as_of, named
    table = pa.ipc.open_stream(body).read_all()
    if json.loads(table.schema.metadata[b"millrace.as_of"]) != as_of:
        raise Refused("dishonest", f"as_of {as_of} in the header, in the metadata {table.schema.metadata}")
    return table.column_names, list(zip(*(column.to_pylist() for column in table.columns))), as_of, named


class Aggregates(Door):
    tables = {"views_1m"}

    def ask(self, node):
        parameters, form = self.questions.aggregate(), self.questions.random.choice(("json", "csv", "arrow"))
        response, body = _request(node, "GET", "/v1/aggregates/views_1m?" + urllib.parse.urlencode({**parameters, "format": form}))
        columns, rows, as_of, partial = _read(response, body, form)
        return Answer(self.name, node.name, "", parameters, as_of, partial, columns, rows, form)


class Sql(Door):
    tables = {"views_1m", "events", oracle.LETTERS}

    def ask(self, node):
        question, form = self.questions.sql(), self.questions.random.choice(("json", "csv", "arrow"))
        freshness = self.questions.random.choice(("hot", "hot", "hot", "committed"))
        response, body = _request(node, "POST", f"/v1/sql?format={form}",
                                  json.dumps({"sql": question[0], "params": question[1], "freshness": freshness}),
                                  {"Content-Type": "application/json"})
        columns, rows, as_of, partial = _read(response, body, form)
        return Answer(self.name, node.name, "", question, as_of, partial, columns, rows, f"{form}, {freshness}")


class Postgres(Door):
    """One connection to each process, as a pool would have it."""

    tables = Sql.tables

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._connections = {}

    def _connection(self, node):
        connection = self._connections.get(node.postgres)
        if connection is None or connection.closed:
            connection = psycopg.connect(host="127.0.0.1", port=node.postgres, user="anybody", dbname="fault", autocommit=True,
                                         connect_timeout=TIMEOUT_S, cursor_factory=psycopg.RawCursor)
            connection.said = []
            connection.add_notice_handler(lambda notice: connection.said.append(notice.message_primary))
            self._connections[node.postgres] = connection
        return connection

    def ask(self, node):
        question, r = self.questions.sql(), self.questions.random
        freshness, binary = r.choice(("hot", "hot", "hot", "committed")), r.random() < 0.5
        try:
            connection = self._connection(node)
            connection.execute(f"SET millrace.freshness = {freshness}")
            connection.said.clear()
            cursor = connection.cursor(binary=binary).execute(question[0], question[1], prepare=r.random() < 0.5)
            columns, rows = [column.name for column in cursor.description], cursor.fetchall()
            told = list(connection.said)
            as_of, partial = (json.loads(connection.execute(f"SHOW {name}").fetchone()[0]) for name in (AS_OF, PARTIAL))
        except psycopg.Error as error:
            # While it connects libpq tells no code.
            code = error.sqlstate or ("unreachable" if any(words in str(error) for words in UNREACHABLE) else "no code")
            raise Refused(code, str(error)) from error
        if any(not any(name in notice for notice in told) for name in partial) or bool(told) != bool(partial):
            raise Refused("dishonest", f"partial is {partial}, the notices are {told}")
        return Answer(self.name, node.name, "", question, as_of, partial, columns, rows, f"{'binary' if binary else 'text'}, {freshness}")


class Stream(Door):
    """Listens to one question of a process, holds the rows as its events say, and answers with what it holds. When the stream ends, or
    cut() ends it, it comes back with the last id: to the same process, or to another if that has gone."""

    KEPT = 0.3  # Of the states behind an event; the first after each connection always.

    def __init__(self, name, questions, parameters):
        super().__init__(name, questions)
        self.parameters = parameters
        self.keys = (["window_start"] if parameters["step"] != "0" else []) + [key for key in parameters["group_by"].split(",") if key]
        self.held = {}
        self.as_of = None
        self.partial_now = []
        self.last_id = None
        self.events = collections.Counter()
        self.resumed = 0  # Connections that went on without a snapshot.
        self.done = set()  # Windows that were complete in a snapshot, or in a `final` since.
        self.watermark = None  # The last that was told.
        self._socket = None
        self._node = None

    def one(self, node):
        # Who knows the last id goes on; another process begins with a snapshot.
        if self._node is not None and self._node.alive() and self.questions.random.random() < 0.8:
            node = self._node
        self._node = node
        super().one(node)

    def ask(self, node):
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/v1/aggregates/views_1m/stream?" + urllib.parse.urlencode(self.parameters),
                               headers={"Last-Event-ID": self.last_id} if self.last_id else {})
            self._socket = connection.sock
            response = connection.getresponse()
            if response.status != 200:
                _read(response, response.read(), "json")
            self._listen(node, response)
        except (ConnectionError, TimeoutError, http.client.HTTPException) as error:  # It may be paused: others are asked then.
            raise Refused("unreachable", str(error)) from error
        finally:
            self._socket = None
            connection.close()
        raise Refused("ended")

    def _listen(self, node, response):
        event, first = {}, True
        while not self._ended.is_set() and (line := response.readline()).endswith(b"\n"):
            if line := line.decode().rstrip("\n"):
                if not line.startswith(":"):
                    name, value = line.split(": ", 1)
                    event[name] = value
                continue
            if not event:
                continue
            kind, data = event["event"], json.loads(event["data"], parse_float=str)
            if kind == "error":
                raise Refused(data.get("code", "no code"), data.get("detail", ""))
            self.resumed += first and kind != "snapshot"
            self.hold(kind, data)
            self.last_id = event["id"]
            self.events[kind] += 1
            if kind != "watermark" and (first or self.questions.random.random() < self.KEPT):
                self.keep(Answer(self.name, node.name, "", self.parameters, self.as_of, self.partial_now, self.columns, self.rows(), kind),
                          self.phase)
            event, first = {}, False

    def hold(self, kind, data):
        if kind == "snapshot":
            self.held = {}
            self.columns = [column["name"] for column in data["meta"]]
        for group in data.get("removed", []):
            if self.held.pop(self._key(group), None) is None:
                raise Refused("dishonest", f"{group} is removed and was never there")
        for row in data.get("data", []):
            self.held[self._key(row)] = row
        if kind in ("snapshot", "upsert"):
            self.partial_now = data.get("partial", [])
        self.as_of = data.get("as_of", self.as_of)
        self.watermark = data["watermark"] if kind == "watermark" else self.as_of["watermark"] or self.watermark
        if kind == "snapshot":
            self.done = self.complete() if self.as_of["watermark"] else set()
        elif kind == "final":
            told = {window["window_start"] for window in data["windows"]}
            if told - self.complete():
                raise Refused("dishonest", f"windows {told} are final at {self.watermark}, complete are {self.complete()}")
            self.done |= told

    def complete(self):
        """The windows that it holds and the watermark has passed."""
        if "window_start" not in self.keys or self.watermark is None:
            return set()
        minutes = datetime.timedelta(minutes=int(self.parameters["step"].removesuffix("m")))
        watermark = datetime.datetime.fromisoformat(self.watermark)
        starts = {row["window_start"] for row in list(self.held.values())}
        return {start for start in starts if datetime.datetime.fromisoformat(start) + minutes <= watermark}

    def rows(self):
        """What it holds, in no order. Any thread."""
        return [[row[name] for name in self.columns] for row in list(self.held.values())]

    def _key(self, row):
        return tuple(row[name] for name in self.keys)

    def knows(self, down):
        """That these workers are missing; one of them need not."""
        return self._node is not None and (f"http://127.0.0.1:{self._node.port}" in down or down <= set(self.partial_now))

    def cut(self):
        """As a network that fails."""
        try:
            self._socket.shutdown(2)
        except (OSError, AttributeError):
            pass  # It was not connected.

    def close(self):
        self._ended.set()
        self.cut()
        super().close()
