#!/usr/bin/env python3
"""The questions of bench/answers.py as a small Python service would answer them: http.server and DuckDB over the aggregate's files.

What it is spared: it asks the minutes and seconds that Millrace has aggregated already and not the events, the list of files is
renewed by a thread of its own once a second, each connection keeps its DuckDB cursor, and Parquet metadata is cached. It
sees what is committed, and nothing newer.
"""

import http.server
import json
import os
import sys
import threading
import time
import urllib.parse

import duckdb
from deltalake import DeltaTable

LAKE, PORT = sys.argv[1], int(sys.argv[2])
MEASURES = "sum(views)::BIGINT AS views, sum(revenue) AS revenue, max(slowest) AS slowest"
QUESTIONS = {
    "small": f"SELECT country, {MEASURES} FROM rows WHERE window_start >= to_timestamp(?) AND window_start < to_timestamp(?) "
             "GROUP BY country ORDER BY views DESC, country LIMIT 10",
    "many": f"SELECT window_start::TIMESTAMP AS window_start, country, {MEASURES} FROM rows WHERE window_start >= to_timestamp(?) AND window_start < to_timestamp(?) "
            "GROUP BY ALL ORDER BY window_start, country",
}
connection = duckdb.connect()
connection.execute(f"SET TimeZone = 'UTC'; SET enable_object_cache = true; SET threads = {len(os.sched_getaffinity(0))}")
files = {}


def list_files():
    tables = {name: DeltaTable(f"{LAKE}/{name}") for name in ("clicks_1m", "clicks_1s")}
    while True:
        for name, table in tables.items():
            table.update_incremental()
            files[name] = table.file_uris()
        time.sleep(1)


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cursor = None

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        self.cursor = self.cursor or connection.cursor()
        sql = QUESTIONS[asked["question"]].replace("FROM rows", f"FROM read_parquet({files[url.path[1:]]})")
        answer = self.cursor.execute(sql, [float(asked["from"]), float(asked["to"])])
        names = [column[0] for column in answer.description]
        body = json.dumps({"data": [dict(zip(names, row)) for row in answer.fetchall()]}, default=str).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


threading.Thread(target=list_files, daemon=True).start()
while len(files) < 2:
    time.sleep(0.05)
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Service).serve_forever()
