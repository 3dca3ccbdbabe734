"""Lookups as a user meets them: every kind of file, findings before anything is made, what the commit and the page say.

usage: lookups_test.py MILLRACE
"""
import decimal
import json
import subprocess
import time
import urllib.request

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from postgres import Postgres
from product import BINARY, FOLDER, PIPELINE, claim, end, free_port, millrace

COUNTRIES = ["DE", "FR", "US"]


def pipeline(lookups, transform, name="enriched"):
    """A pipeline of its own, over the same log: with another name it reads from the beginning."""
    text = PIPELINE.replace("pipeline: clicks", f"pipeline: {name}")
    text = text[:text.index("tables:")] + f"""lookups:
{lookups}
transforms:
  - name: joined
    sql: {transform}
tables:
  - {{name: {name}, from: joined}}
lake: {{uri: lake}}
log: {{level: warn}}
"""
    (FOLDER / f"{name}.yaml").write_text(text)
    return f"{name}.yaml"


def rows(name):
    return DeltaTable(str(FOLDER / "lake" / name)).to_pyarrow_table().to_pylist()


def lookups_in_commits(name):
    found = []
    for path in sorted((FOLDER / "lake" / name / "_delta_log").glob("*.json")):
        for line in path.read_text().splitlines():
            info = json.loads(line).get("commitInfo", {})
            millrace_info = info.get("millrace")
            if isinstance(millrace_info, str):
                millrace_info = json.loads(millrace_info)
            if millrace_info and "lookups" in millrace_info:
                found.append(millrace_info["lookups"])
    return found


known = pa.table({"country": COUNTRIES, "zone": pa.array([1, 2, 3], pa.int32())})
pq.write_table(known, FOLDER / "zones.parquet")
write_deltalake(str(FOLDER / "zones"), known.slice(0, 1))
write_deltalake(str(FOLDER / "zones"), known.slice(1), mode="append")
(FOLDER / "zones.csv").write_text("country,zone\nDE,1\nFR,2\nUS,3\n")
(FOLDER / "zones.json").write_text('[{"country": "DE", "zone": 1}, {"country": "FR", "zone": 2},\n {"country": "US", "zone": 3}]')
(FOLDER / "log").mkdir(exist_ok=True)
millrace("simulate", "clickstream", "--to", "embedded:log/clicks", "--rate", "0", "--count", "2000", "--devices", "200")

WANTED = {"DE": 1, "FR": 2, "US": 3}
JOIN = "SELECT i.*, z.zone FROM input i LEFT JOIN zones z USING (country)"
KINDS = {"delta": ("{delta: zones}", ""), "parquet": ("{parquet: zones.parquet}", ""),
         "csv": ("{csv: zones.csv}", ", columns: {country: string, zone: int32}"),
         "json": ("{json: zones.json}", ", columns: {country: string, zone: int32}")}
for kind, (place, columns) in KINDS.items():
    config = pipeline(f"  - {{name: zones, from: {place}, key: country{columns}}}", JOIN, f"of_{kind}")
    millrace("validate", config)
    millrace("run", "-c", config, "--until-end")
    got = rows(f"of_{kind}")
    claim(len(got) == 2000, f"{kind}: LEFT JOIN keeps every row", len(got))
    claim(all(row["zone"] == WANTED.get(row["country"]) for row in got), f"{kind}: each row has its country's zone")
    claim(any(row["zone"] is not None for row in got), f"{kind}: some rows have a zone")
    named = lookups_in_commits(f"of_{kind}")
    prefix = "version 1" if kind == "delta" else "sha256 "
    claim(named and all(len(one["zones"]) == 1 and one["zones"][0].startswith(prefix) for one in named),
          f"{kind}: every commit of rows names the version", named)
    claim("balance" in millrace("audit", "-c", config).stdout, f"{kind}: the books balance")

# INNER JOIN: what is not found is filtered, in the books too.
config = pipeline("  - {name: zones, from: {parquet: zones.parquet}, key: country}",
                  "SELECT i.*, z.zone FROM input i JOIN zones z USING (country)", "inner")
millrace("run", "-c", config, "--until-end")
expected = [row for row in rows("of_csv") if row["country"] in WANTED]
claim(len(rows("inner")) == len(expected) < 2000, "INNER JOIN leaves out what has no country", len(rows("inner")))
millrace("audit", "-c", config)

# What does not fit is said with its place, by validate, and nothing is made by run.
for lookups, transform, message in [
        ("  - {name: zones, from: {parquet: gone.parquet}, key: country}", JOIN, "lookup zones: parquet gone.parquet"),
        ("  - {name: zones, from: {parquet: zones.parquet}, key: land}", JOIN, "there is no column land (key)"),
        ("  - {name: zones, from: {parquet: zones.parquet}, key: country}",
         "SELECT i.*, z.zone FROM input i JOIN zones z ON i.country > z.country", "joined by its whole key, (country)"),
        ("  - {name: zones, from: {parquet: zones.parquet}, key: zone}",
         "SELECT i.country FROM input i JOIN zones z ON i.country = z.zone", "zone is int32 in zones and country is string")]:
    config = pipeline(lookups, transform, "refused")
    for command in (["validate", config], ["run", "-c", config, "--until-end"]):
        done = millrace(*command, code=78)
        claim(message in done.stdout + done.stderr, f"{command[0]} says: {message}", done.stdout + done.stderr)
    claim(not (FOLDER / "lake" / "refused").exists(), "nothing was made")

# A key that is there twice is known once the rows are read: run refuses, before there is a table.
pq.write_table(pa.table({"country": ["DE", "DE"], "zone": [1, 2]}), FOLDER / "twice.parquet")
config = pipeline("  - {name: zones, from: {parquet: twice.parquet}, key: country}", JOIN, "twice")
millrace("validate", config)
done = millrace("run", "-c", config, "--until-end", code=78)
claim("lookup zones: two rows have the key country = DE" in done.stderr, "the key is named", done.stderr)
claim(not (FOLDER / "lake" / "twice").exists(), "nothing was made")

# PostgreSQL: every type, NULL; what cannot be a column is named; a server that goes away while the pipeline runs.
server = Postgres()
try:
    server.sql("""CREATE TABLE zones (country text, zone int, b boolean, i2 smallint, i8 bigint, f4 real, f8 double precision,
        n numeric(12,3), d date, tz timestamptz, t timestamp, u uuid, j jsonb, raw bytea, any_n numeric, e interval)""")
    server.sql("""INSERT INTO zones VALUES
        ('DE', 1, true, -7, 9007199254740993, 0.5, 0.1, -12.340, '2026-02-03', '2026-02-03 04:05:06.5+02', '1969-12-31 23:59:59',
         '6f1e5d0c-0000-4000-8000-000000000001', '{"a": 1}', '\\x00ff', 1.5, '1 day')""")
    server.sql("INSERT INTO zones (country, zone) VALUES ('FR', 2), ('US', 3), (NULL, 4)")

    # The program holds two copies of OpenSSL, one inside of Arrow's wheel: over TLS it shows that libpq has its own.
    def of(query):
        return f'  - {{name: zones, from: {{postgres: {{connection: "{server.connection} sslmode=require", query: "{query}"}}}}, key: country, refresh: 1s}}'

    wide = "SELECT country, zone, b, i2, i8, f4, f8, n, d, tz, t, u, j, raw FROM zones"
    config = pipeline(of(wide), "SELECT i.*, z.* EXCLUDE (country) FROM input i LEFT JOIN zones z USING (country)", "of_postgres")
    millrace("validate", config)
    millrace("run", "-c", config, "--until-end")
    got = rows("of_postgres")
    claim(len(got) == 2000 and all(row["zone"] == WANTED.get(row["country"]) for row in got), "postgres: each row has its zone")
    german = next(row for row in got if row["country"] == "DE")
    wanted = {"b": True, "i2": -7, "i8": 9007199254740993, "f4": 0.5, "f8": 0.1, "n": decimal.Decimal("-12.340"),
              "u": "6f1e5d0c-0000-4000-8000-000000000001", "j": '{"a": 1}', "raw": b"\x00\xff"}
    claim({key: german[key] for key in wanted} == wanted, "postgres: every type comes as it is", german)
    claim(str(german["d"]) == "2026-02-03" and german["tz"].timestamp() == 1770084306.5, "postgres: dates and times", german)
    claim(str(german["t"]) == "1969-12-31 23:59:59", "postgres: a timestamp without time zone", german["t"])
    french = next(row for row in got if row["country"] == "FR")
    claim(all(french[key] is None for key in wanted), "postgres: NULL is null", french)
    claim(all(one["zones"][0].startswith("sha256 ") for one in lookups_in_commits("of_postgres")), "postgres: a version")

    for query, message in [("SELECT country, any_n FROM zones", "column any_n has a type that a lookup cannot have; cast it"),
                           ("SELECT country, e FROM zones", "column e has a type"),
                           ("SELECT country, nothing FROM zones", 'column "nothing" does not exist'),
                           ("SELECT 'DE' AS country, timestamptz 'infinity' AS zone", "column zone has the value infinity"),
                           ("DELETE FROM zones RETURNING country, zone", "read-only transaction"),
                           ("SELECT 'DE' AS country, 1 AS zone FROM zones", "two rows have the key country = DE")]:
        config = pipeline(of(query), JOIN, "refused_by_postgres")
        done = millrace("run", "-c", config, "--until-end", code=78)
        claim(message in done.stderr, f"postgres: {query}", done.stderr)
        claim(not (FOLDER / "lake" / "refused_by_postgres").exists(), "nothing was made")

    down = of("SELECT 1").replace(f"port={server.port}", "port=1")
    done = millrace("run", "-c", pipeline(down, JOIN, "refused_by_postgres"), "--until-end", code=78)
    claim("lookup zones: postgres: connection to server" in done.stderr, "a server that is not there is named", done.stderr)
    claim(not (FOLDER / "lake" / "refused_by_postgres").exists(), "nothing was made")

    config = pipeline(of("SELECT country, zone FROM zones"), JOIN, "live")
    api = f"127.0.0.1:{free_port()}"
    with (FOLDER / config).open("a") as out:
        out.write(f"serve: {{listen: '{api}'}}\n")
    worker = subprocess.Popen([BINARY, "run", "-c", config], cwd=FOLDER)
    try:
        def lookup(condition, what):
            for _ in range(600):
                try:
                    with urllib.request.urlopen(f"http://{api}/v1/pipeline", timeout=60) as answer:
                        found = json.load(answer)["lookups"][0]
                    if condition(found):
                        return found
                except OSError:
                    found = "no answer"
                time.sleep(0.05)
            raise AssertionError(f"{what}: {found}")

        first = lookup(lambda found: found["rows"] == 4, "read at the start")
        server.sql("INSERT INTO zones (country, zone) VALUES ('PT', 5)")
        second = lookup(lambda found: found["rows"] == 5, "read again")
        claim(first["version"] != second["version"], "other rows are another version")
        server.stop()
        gone = lookup(lambda found: found["error"], "the page says that it is gone")
        claim(gone["rows"] == 5 and "lookup zones: postgres" in gone["error"], "the rows stay", gone)
        server.start()
        lookup(lambda found: found["error"] is None, "it is there again")
        with urllib.request.urlopen(f"http://{api}/metrics", timeout=60) as answer:
            claim('millrace_lookup_rows{lookup="zones"} 5' in answer.read().decode(), "the metrics have it")
        worker.terminate()
        claim(worker.wait(120) == 0, "it stops in order")
    finally:
        worker.kill()
        worker.wait()
finally:
    server.end()

end()
