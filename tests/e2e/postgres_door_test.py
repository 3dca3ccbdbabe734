"""Goal: psql and psycopg see through serve.postgres what DuckDB makes of the same rows: every type in text and in binary, parameters,
errors with their codes, transactions that are none; nobody without a token or without TLS is let in; everything ends.
"""
import concurrent.futures
import datetime
import decimal
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.request
import uuid

import duckdb
import psycopg

from credentials import Authority
from product import BINARY, FOLDER, PIPELINE, claim, end, free_port, millrace

EVENTS = 3000
AGGREGATES = """aggregates:
  - name: clicks_1m
    sql: SELECT window_start, country, count(*) AS views, sum(amount) AS revenue FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
    commit: {interval: 1h}
"""
# An expression of each type that an answer may have, and NULL beside it.
TYPES = {
    "bool": "true", "int2": "(-300)::SMALLINT", "int1": "(-3)::TINYINT", "int4": "70000", "int8": "(-5000000000)::BIGINT",
    "u1": "200::UTINYINT", "u2": "60000::USMALLINT", "u4": "4000000000::UINTEGER", "u8": "18446744073709551615::UBIGINT",
    "huge": "170141183460469231731687303715884105727::HUGEINT", "f4": "0.1::FLOAT", "f8": "1e300::DOUBLE", "nan": "'nan'::DOUBLE",
    "dec": "(-12.50)::DECIMAL(12,2)", "wide": "12345678901234567890.123456789::DECIMAL(38,9)", "zero": "0.00::DECIMAL(4,2)",
    "text": "'Grüße, \"you\"\\n'", "empty": "''", "day": "DATE '1969-12-31'", "clock": "TIME '23:59:59.000001'",
    "at": "TIMESTAMP '2026-01-02 03:04:05.678901'", "attz": "TIMESTAMPTZ '1999-12-31 23:59:59.5+00'",
    "bytes": "'\\x00\\xFFa'::BLOB", "id": "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::UUID",
    "ints": "[1, NULL, -3]", "words": "['a,b', NULL, '\"', '']", "days": "[DATE '2026-01-01']", "decs": "[1.50::DECIMAL(5,2), -2]",
    "none": "NULL", "mood": "'sad'::ENUM('happy', 'sad')",
}


class Running:
    """The pipeline with these lines below `serve`, until its two doors are open."""

    def __init__(self, serve=""):
        self.http, self.port = free_port(), free_port()
        (FOLDER / "p.yaml").write_text(PIPELINE.replace("log: {level: warn}", "limits: {memory: 256MiB}\nlog: {level: warn}") + AGGREGATES +
                                       f'serve:\n  listen: "127.0.0.1:{self.http}"\n  postgres: "127.0.0.1:{self.port}"\n{serve}')
        self.process = subprocess.Popen([BINARY, "run", "-c", "p.yaml"], cwd=FOLDER)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=120)
        if kind is None:
            claim(code == 0, "it ends well", code)

    def connect(self, **more):
        return psycopg.connect(**{"host": "127.0.0.1", "port": self.port, "user": "anybody", "dbname": "clicks", "autocommit": True,
                                  "connect_timeout": 60, **more})

    def until_open(self, **more):
        deadline = time.monotonic() + 180
        while True:
            try:
                return self.connect(**more)
            except psycopg.OperationalError as error:
                known = "refused" in str(error) or "opening its log" in str(error)
                assert known and time.monotonic() < deadline, error
                time.sleep(0.1)

    def psql(self, *arguments, env=None):
        return subprocess.run(["psql", "-X", "-h", "127.0.0.1", "-p", str(self.port), "-U", "anybody", "-d", "clicks", *arguments], cwd=FOLDER,
                              capture_output=True, text=True, timeout=180, env={**os.environ, **(env or {})})


def refused(connect, state, words=""):
    try:
        connect()
    except psycopg.Error as error:
        # While it connects libpq tells no code.
        claim(error.sqlstate in (state, None) and words in str(error), f"refused with {state} {words}", (error.sqlstate, str(error)))
        return
    claim(False, f"refused: {words}")


def fails(connection, question, state, words, values=None, **more):
    try:
        connection.execute(question, values, **more)
    except psycopg.Error as error:
        claim(error.sqlstate == state and words in str(error), question, (error.sqlstate, str(error)))
        return error
    claim(False, f"fails: {question}")


def types(door):
    """Values of every type are DuckDB's, in text and in binary."""
    listed = ", ".join(f"{expression} AS {name}" for name, expression in TYPES.items())
    oracle = duckdb.connect()
    oracle.execute("SET TimeZone = 'UTC'")
    relation = oracle.sql(f"SELECT * REPLACE (attz::TIMESTAMP AS attz) FROM (SELECT {listed})")  # DuckDB needs pytz else.
    wanted = dict(zip(relation.columns, relation.fetchone()))
    wanted["attz"] = wanted["attz"].replace(tzinfo=datetime.timezone.utc)
    for binary in (False, True):
        with door.connect() as connection:
            cursor = connection.cursor(binary=binary)
            row = cursor.execute(f"SELECT {listed}").fetchone()
            for column, got in zip(cursor.description, row):
                want = wanted[column.name]
                if isinstance(want, int) and isinstance(got, decimal.Decimal):
                    want = decimal.Decimal(want)
                if isinstance(want, datetime.datetime) and want.tzinfo:
                    want, got = want.astimezone(datetime.timezone.utc), got.astimezone(datetime.timezone.utc)
                if isinstance(want, float) and column.name == "f4":
                    want, got = struct.pack("f", want), struct.pack("f", got)
                same = str(got) == str(want) if column.name == "nan" else got == want
                claim(same and (type(got) is type(want) or isinstance(got, decimal.Decimal)), f"{column.name}, binary {binary}", (got, want))
            nulls = ", ".join(f"CASE WHEN false THEN {e} END AS {n}" for n, e in TYPES.items())
            claim(set(cursor.execute(f"SELECT {nulls}").fetchone()) == {None}, "NULLs")
            nested = cursor.execute("SELECT {'a': 1, 'b': [1, 2]} AS s, MAP {'k': 2} AS m").fetchone()
            claim(nested[0] == {"a": 1, "b": [1, 2]}, "a STRUCT is json", nested)
            claim(cursor.execute("SELECT INTERVAL '1 day 02:00:00' AS i").fetchone()[0] == datetime.timedelta(days=1, hours=2), "an interval")


def parameters(door):
    """What a client sends is what it gets back, in text and in binary, prepared or not."""
    values = [True, -7, 5_000_000_000, 1.5, decimal.Decimal("-3.25"), "Grüße '; --", "", b"\x00\xff", datetime.date(2026, 1, 2),
              datetime.datetime(2026, 1, 2, 3, 4, 5, 678901), datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
              uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), [1, 2, None], datetime.timedelta(days=3, seconds=4), None]
    with door.connect() as connection:
        for placeholder in ("%s", "%t", "%b"):
            for prepare in (False, True):
                for value in values:
                    if placeholder == "%b" and value is None:
                        continue
                    try:
                        got = connection.execute(f"SELECT {placeholder} AS v", [value], prepare=prepare, binary=placeholder == "%b").fetchone()[0]
                    except psycopg.NotSupportedError:
                        raise
                    same = got == value or (isinstance(value, datetime.datetime) and value.tzinfo and got.astimezone(datetime.timezone.utc) == value)
                    claim(same, f"{placeholder} {value!r} prepared {prepare}", got)
        got = connection.execute("SELECT count(*) FROM clicks WHERE country = %s AND amount > %s AND ts > %s",
                                 ["DE", 2.5, datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)]).fetchone()
        want = connection.execute("SELECT count(*) FROM clicks WHERE country = 'DE' AND amount > 2.5").fetchone()
        claim(got == want and got[0] > 0, "beside columns", (got, want))
        fails(connection, "SELECT %s::INTEGER + 1", "22P02", "", ["x"])


def transactions(door):
    with door.connect(autocommit=False) as connection:
        claim(connection.execute("SELECT 1").fetchone() == (1,), "in a transaction")
        claim(connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS, "which is open")
        fails(connection, "SELECT nothing", "42703", "nothing")
        fails(connection, "SELECT 1", "25P02", "current transaction is aborted")
        connection.rollback()
        with connection.transaction():
            try:
                with connection.transaction():
                    fails(connection, "SELECT nothing", "42703", "nothing")
                    raise RuntimeError
            except RuntimeError:
                pass
            claim(connection.execute("SELECT 2").fetchone() == (2,), "after going back to a savepoint")
        connection.commit()
        claim(connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE, "which is over")


def mistakes(door):
    with door.connect() as connection:
        place = fails(connection, "SELECT contry FROM clicks", "42703", "contry")
        claim(place.diag.statement_position == "8", "a mistake has a place", place.diag.statement_position)
        fails(connection, "SELEC 1", "42601", "syntax error")
        fails(connection, "SELECT * FROM clickz", "42P01", "did you mean 'clicks'?")
        fails(connection, "SELECT * FROM read_csv('/etc/passwd')", "42000", "not allowed")
        fails(connection, "INSERT INTO clicks VALUES (1)", "25006", "cannot execute INSERT in a read-only transaction")
        fails(connection, "COPY clicks TO STDOUT", "0A000", "COPY")
        fails(connection, "SET TimeZone = 'Asia/Tokyo'", "22023", "It is always")
        fails(connection, "SET nothing = 1", "42704", "nothing")
        claim(connection.execute("SHOW server_version").fetchone()[0].startswith("15"), "a version that drivers read")
        connection.execute("SET application_name = 'a b'")
        claim(connection.execute("SHOW application_name").fetchone() == ("a b",), "a setting is kept")
        claim(connection.info.parameter_status("TimeZone") == "UTC", "times are in UTC")
        claim(connection.execute("").statusmessage is None, "nothing is a statement too")
        many = door.psql("-c", "SELECT 1 AS a; SELECT contry FROM clicks; SELECT 3", "-At")
        claim(many.returncode == 1 and many.stdout == "1\n" and "LINE 1: SELECT 1 AS a; SELECT contry FROM clicks; SELECT 3" in many.stderr and
              "\n                              ^" in many.stderr, "a place in the second of three statements", many)


def is_cancelled(connection, statement):
    """Asked for again and again: a session that runs nothing yet takes no notice."""
    ended = threading.Event()

    def cancel():
        while not ended.wait(0.5):
            connection.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    fails(connection, statement, "57014", "user request")
    ended.set()
    canceller.join()


def ends(door):
    """What runs for too long, is cancelled or has lost its client, ends."""
    for_ever = "SELECT sum(range) FROM range(1000000000000000)"
    with door.connect() as connection:
        begun = time.monotonic()
        connection.execute("SET statement_timeout = '300ms'")
        fails(connection, for_ever, "57014", "statement timeout")
        connection.execute("RESET statement_timeout")
        is_cancelled(connection, for_ever)
        claim(connection.execute("SELECT 1").fetchone() == (1,), "and the connection goes on")
        claim(time.monotonic() - begun < 60, "both soon")
    for _ in range(6):
        with socket.create_connection(("127.0.0.1", door.port)) as client:
            startup = b"user\0x\0\0"
            client.sendall(struct.pack("!II", 8 + len(startup), 3 << 16) + startup)
            query = for_ever.encode() + b"\0"
            client.sendall(b"Q" + struct.pack("!I", 4 + len(query)) + query)
            time.sleep(0.2)
    with door.connect() as connection:
        claim(connection.execute("SELECT 1").fetchone() == (1,), "statements of clients that left have ended")
        rows = connection.execute(f"SELECT i, '{'x' * 100}' AS x FROM range(40000) t(i)").fetchall()
        claim(len(rows) == 40000 and rows[-1] == (39999, "x" * 100), "a large answer")
        with connection.cursor(name=None) as cursor:
            claim(sum(1 for _ in cursor.stream("SELECT i FROM range(5000) t(i)")) == 5000, "row by row")


def many_clients(door):
    def ask(i):
        with door.connect() as connection:
            return connection.execute("SELECT count(*) + %s FROM clicks", [i]).fetchone()[0]
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(ask, range(100)))
    claim(answers == [EVENTS + i for i in range(100)], "100 clients at once", answers[:3])
    kept = [door.connect() for _ in range(100)]
    claim(all(c.execute("SELECT 1").fetchone() == (1,) for c in kept), "100 connections that stay")
    for connection in kept:
        connection.close()


def broken_clients(door):
    """Whatever comes, the door stays open to others."""
    for first in (b"GET / HTTP/1.1\r\n\r\n", struct.pack("!II", 0xFFFFFFFF, 3 << 16), struct.pack("!II", 8, 2 << 16), b"\0", b"\x16\x03\x01\x02\x00"):
        with socket.create_connection(("127.0.0.1", door.port)) as client:
            client.sendall(first)
            client.shutdown(socket.SHUT_WR)
            client.settimeout(60)
            try:
                while client.recv(4096):
                    pass
            except ConnectionResetError:
                pass  # It has closed before it read all of that.
    with socket.create_connection(("127.0.0.1", door.port)) as client:
        client.sendall(struct.pack("!II", 9 + 7, 3 << 16) + b"user\0x\0\0" + b"Q" + struct.pack("!I", 300 << 20))
        client.settimeout(60)
        said = b""
        while piece := client.recv(4096):
            said += piece
        claim(b"C54000" in said, "a message that is too large", said[-200:])
    with door.connect() as connection:
        claim(connection.execute("SELECT 1").fetchone() == (1,), "after broken clients")


def open_to_all():
    with Running() as door:
        with door.until_open() as connection:
            deadline = time.monotonic() + 180
            while connection.execute("SELECT sum(views) FROM clicks_1m").fetchone() != (EVENTS,):
                assert time.monotonic() < deadline, "all events in the aggregate"
                time.sleep(0.1)
            as_of = json.loads(connection.execute("SHOW millrace.as_of").fetchone()[0])
            claim(sum(as_of["tables"]["clicks_1m"]["offsets"]["clicks"].values()) == EVENTS, "an answer says up to where it is", as_of)
            while connection.execute("SELECT count(*) FROM clicks").fetchone() != (EVENTS,):
                assert time.monotonic() < deadline, "all events in the table"
                time.sleep(0.1)
            question = "SELECT country, count(*) AS n, sum(amount) AS s FROM clicks GROUP BY ALL ORDER BY country"
            asked = urllib.request.Request(f"http://127.0.0.1:{door.http}/v1/sql", json.dumps({"sql": question}).encode(),
                                           {"Content-Type": "application/json"})
            there = json.loads(urllib.request.urlopen(asked, timeout=60).read(), parse_float=decimal.Decimal)
            claim([tuple(map(str, row.values())) for row in there["data"]] ==
                  [tuple(map(str, row)) for row in connection.execute(question).fetchall()], "the same answer through both doors")
            said = door.psql("-At", "-F,", "-c", question)
            claim([line.split(",")[0] for line in said.stdout.splitlines()] == [row["country"] for row in there["data"]], "psql", said)
        types(door)
        parameters(door)
        transactions(door)
        mistakes(door)
        ends(door)
        many_clients(door)
        broken_clients(door)
        deadline = time.monotonic() + 60  # The door hears of a client that has left when it has its turn.
        while True:
            metrics = urllib.request.urlopen(f"http://127.0.0.1:{door.http}/metrics", timeout=60).read().decode()
            if "millrace_postgres_connections 0" in metrics or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        claim(re.search(r'millrace_postgres_statements_total\{outcome="answered"\} \d', metrics) and "millrace_postgres_connections 0" in metrics,
              "metrics", [line for line in metrics.splitlines() if "postgres" in line])
        idle = door.connect()
    refused(lambda: idle.execute("SELECT 1"), "57P01", "shutting down")


def with_tokens_and_tls():
    authority = Authority(FOLDER / "ca", "authority")
    authority.sign("server")
    auth = '  auth:\n    tokens: [{token: secret-one, scopes: [sql]}, {token: secret-two, scopes: [read]}]\n'
    with Running(auth) as door:
        with door.until_open(password="secret-one") as connection:
            claim(connection.execute("SELECT 1").fetchone() == (1,), "a token is a password")
        refused(lambda: door.connect(password="wrong"), "28P01", "password authentication failed")
        refused(lambda: door.connect(password="secret-two"), "42501", "does not have the scope 'sql'")
        refused(lambda: door.connect(), None, "no password supplied")
        claim(door.psql("-Atc", "SELECT 7", env={"PGPASSWORD": "secret-one"}).stdout == "7\n", "psql has one too")
    tls = "  tls: {certificate_file: ca/server.crt, key_file: ca/server.key}\n"
    with Running(tls + auth) as door:
        trusted = {"sslmode": "verify-full", "sslrootcert": str(authority.certificate), "password": "secret-one"}
        with door.until_open(**trusted) as connection:
            claim(connection.pgconn.ssl_in_use and connection.execute("SELECT 1").fetchone() == (1,), "over TLS")
            is_cancelled(connection, "SELECT sum(range) FROM range(1000000000000000)")
        refused(lambda: door.connect(sslmode="disable", password="secret-one"), "28000", "TLS only")
        said = door.psql("-Atc", "SELECT 7", env={"PGPASSWORD": "secret-one", "PGSSLMODE": "require"})
        claim(said.stdout == "7\n", "psql over TLS", said)


def main():
    millrace("simulate", "clickstream", "--count", str(EVENTS), "--rate", "0", "--duplicates", "0%", "--malformed", "0%", "--late", "5%",
             "--to", "embedded:log/clicks")
    open_to_all()
    with_tokens_and_tls()
    end()


if __name__ == "__main__":
    main()
