#!/usr/bin/env python3
"""The whole product on S3: simulate, run, audit, and three independent readers, with nothing on the local disk but the log.

    pipeline_test.py PATH_OF_millrace
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import deltalake
import polars
import pyarrow

from s3_server import FaultProxy, Minio, default_binaries

BINARY = sys.argv[1]
EVENTS = 20000
PIPELINE = """version: 1
pipeline: clicks
source:
  embedded: {path: log, partitions: 4}
  topics: [clicks]
decode:
  format: json
  columns: {event_id: string, ts: timestamp, country: string, amount: "decimal(12,2)"}
event_time: {column: ts}
tables:
  - name: clicks
    partition_by: ["date(ts)"]
    commit: {interval: 200ms}
aggregates:
  - name: clicks_1m
    sql: SELECT window_start, country, count(*) AS views, sum(amount) AS revenue FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
    commit: {interval: 200ms}
lake:
  uri: s3://lake/prod/events
  s3: {endpoint: "${S3_ENDPOINT}", region: us-east-1, path_style: true}
log: {level: warn}
"""
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


class Product:
    """The program in a folder of its own, told where the store is."""

    def __init__(self, server, endpoint):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-on-s3-"))
        (self.folder / "clicks.yaml").write_text(PIPELINE)
        # The verbs on a table's URI know the endpoint from the environment, those on the file from the file.
        self.environment = {**os.environ, **server.environment(endpoint), "S3_ENDPOINT": endpoint}

    def __call__(self, *arguments, code=0, env=None):
        done = subprocess.run([BINARY, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=400,
                              env={**self.environment, **(env or {})})
        assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        secret = self.environment["AWS_SECRET_ACCESS_KEY"]
        assert secret not in done.stdout + done.stderr, f"{arguments}: the secret is in the output"
        return done


def duckdb_rows(server, sql):
    """DuckDB with its own delta and S3 code, in a process of its own: it is another version than the venv's."""
    library = default_binaries().parent.parent / "duckdb-delta"
    script = """
import glob, json, os, sys
import duckdb
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
for name in ("httpfs", "delta"):
    connection.execute(f"LOAD '{glob.glob(sys.argv[1] + '/**/' + name + '.duckdb_extension', recursive=True)[0]}'")
connection.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', "
                   f"SECRET '{os.environ['AWS_SECRET_ACCESS_KEY']}', REGION 'us-east-1', URL_STYLE 'path', USE_SSL false, "
                   f"ENDPOINT '{os.environ['AWS_ENDPOINT_URL'].removeprefix('http://')}')")
print(json.dumps(connection.execute(sys.argv[2]).fetchall()))
"""
    done = subprocess.run([sys.executable, "-c", script, str(library), sql], capture_output=True, text=True, timeout=300,
                          env={**os.environ, **server.environment(), "PYTHONPATH": str(library)})
    assert done.returncode == 0, done.stderr
    return [tuple(row) for row in json.loads(done.stdout)]


def storage_options(server):
    return {"AWS_ENDPOINT_URL": server.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key, "AWS_REGION": server.region, "aws_conditional_put": "etag"}


def check_whole(product, events):
    """The books balance and hold every event; the number of rows of the table of events."""
    audit = json.loads(product("audit", "-c", "clicks.yaml", "-o", "json").stdout)
    claim(audit["ok"], "the books balance", audit)
    clicks = next(t for t in audit["tables"] if t["name"] == "clicks")
    claim(clicks["read"] == events, f"{events} events are read, each once", audit)
    claim(clicks["written"] + clicks["dead_lettered"] == events, "and each is a row or a dead letter", audit)
    return clicks["written"]


def on_a_good_store(server):
    product = Product(server, server.endpoint)
    product("validate", "clicks.yaml")
    product("simulate", "clickstream", "--count", str(EVENTS), "--rate", "0", "--malformed", "1%", "--to",
            "embedded:log/clicks")
    product("run", "-c", "clicks.yaml", "--until-end")
    rows = check_whole(product, EVENTS)
    product("run", "-c", "clicks.yaml", "--until-end")
    claim(check_whole(product, EVENTS) == rows, "a second run writes nothing twice")
    product("simulate", "clickstream", "--count", str(EVENTS), "--rate", "0", "--seed", "8", "--to", "embedded:log/clicks")
    product("run", "-c", "clicks.yaml", "--until-end")
    rows = check_whole(product, 2 * EVENTS)

    uri = "s3://lake/prod/events/clicks"
    keys = server.keys("lake", "prod/events/")
    claim(not [key for key in keys if "probe" in key], "no probe is left", keys)
    claim(not list(product.folder.glob("lake*")), "nothing of the lake is on the local disk")

    # Three readers that share no code with us; two of them with a filter, which makes them use the statistics.
    table = deltalake.DeltaTable(uri, storage_options=storage_options(server))
    ids = table.to_pyarrow_table(columns=["event_id"])["event_id"].to_pylist()
    claim(len(ids) == rows, "deltalake reads as many rows as the audit counts", len(ids))
    country = "SELECT count(*), count(DISTINCT (_partition, _offset)) FROM delta_scan('{}') WHERE country = 'DE'"
    duck = duckdb_rows(server, country.format(uri))[0]
    scan = polars.scan_delta(uri, storage_options=storage_options(server))
    pole = scan.filter(polars.col("country") == "DE").select(polars.len()).collect().item()
    claim(duck[0] == duck[1] == pole > 0, "DuckDB and Polars agree on a filter, and no row is there twice", (duck, pole))

    answer = json.loads(product("query", "clicks_1m", "-c", "clicks.yaml", "--step", "0", "--group-by", "country",
                                "--where", "country = 'DE'", "-o", "json").stdout)
    claim(answer["data"][0]["views"] == pole, "and so does the aggregate", answer)
    described = json.loads(product("lake", "describe", uri, "-o", "json").stdout)
    claim(described["rows"] == rows and described["uri"] == uri, "describe", described)
    claim("CREATE TABLE" in product("lake", "history", uri).stdout.splitlines()[-1], "history reaches the creation")
    missing = product("lake", "describe", "s3://lake/nowhere", code=1)
    claim("s3://lake/nowhere" in missing.stderr and missing.stdout == "", "a missing table is named", missing.stderr)

    # A foreign writer appends, and we go on from there with our offsets.
    deltalake.write_deltalake(table, table.to_pyarrow_table().slice(0, 3), mode="append")
    product("simulate", "clickstream", "--count", "1000", "--rate", "0", "--seed", "9", "--to", "embedded:log/clicks")
    product("run", "-c", "clicks.yaml", "--until-end")
    after = duckdb_rows(server, f"SELECT count(*) FROM delta_scan('{uri}')")[0][0]
    claim(after == rows + 3 + 1000, "beside deltalake's rows there are ours, once", after)
    shutil.rmtree(product.folder)


def lookups_in_the_bucket(server):
    """A Delta table that deltalake wrote, and a Parquet file, both beside the lake."""
    zones = pyarrow.table({"country": ["DE", "US"], "zone": [1, 2]})
    deltalake.write_deltalake("s3://lake/lookups/zones", zones, storage_options=storage_options(server))
    (part,) = [key for key in server.keys("lake", "lookups/zones/") if key.endswith(".parquet")]
    product = Product(server, server.endpoint)
    text = PIPELINE.replace("prod/events", "prod/joined")
    (product.folder / "clicks.yaml").write_text(text[:text.index("tables:")] + f"""lookups:
  - {{name: zones, from: {{delta: "s3://lake/lookups/zones"}}, key: country}}
  - {{name: same, from: {{parquet: "s3://lake/{part}"}}, key: country}}
transforms:
  - name: joined
    sql: SELECT i.*, z.zone, s.zone AS same FROM input i LEFT JOIN zones z USING (country) LEFT JOIN same s USING (country)
tables:
  - {{name: clicks, from: joined}}
""" + text[text.index("lake:"):])
    product("validate", "clicks.yaml")
    product("simulate", "clickstream", "--count", "2000", "--rate", "0", "--to", "embedded:log/clicks")
    product("run", "-c", "clicks.yaml", "--until-end")
    table = deltalake.DeltaTable("s3://lake/prod/joined/clicks", storage_options=storage_options(server)).to_pyarrow_table()
    wrong = [row for row in table.select(["country", "zone", "same"]).to_pylist()
             if not row["zone"] == row["same"] == {"DE": 1, "US": 2}.get(row["country"])]
    claim(table.num_rows == 2000 and not wrong, "every row has its zone from the bucket", wrong[:3])
    claim(table["zone"].null_count < 2000, "some have one")
    gone = product("run", "-c", "clicks.yaml", "--until-end", "--set", "lookups.zones.from.delta=s3://lake/nowhere", code=78)
    claim("lookup zones: delta s3://lake/nowhere" in gone.stderr, "one that is not there is named", gone.stderr)
    shutil.rmtree(product.folder)


def dead_letters_in_the_bucket(server):
    """Listed, looked at, and run again through a mended file, each once, with nothing of it on the local disk."""
    product = Product(server, server.endpoint)
    text = PIPELINE.replace("prod/events", "prod/letters")
    failing = text.replace("tables:", """transforms:
  - name: clean
    sql: SELECT *, CAST(CASE WHEN country = 'DE' THEN country ELSE '0' END AS INTEGER) AS code FROM input
tables:""").replace("  - name: clicks\n", "  - name: clicks\n    from: clean\n")
    (product.folder / "clicks.yaml").write_text(failing)
    before = "the first 'millrace run -c clicks.yaml' makes the lake and its tables"
    for verb in (["list"], ["show", "clicks", "0", "0"], ["replay"], ["replay", "--dry-run"]):
        claim(before in product("dlq", *verb, "-c", "clicks.yaml", code=1).stderr, f"dlq {verb[0]} before there are tables")
    claim(not server.keys("lake", "prod/letters/"), "and none is made")
    product("simulate", "clickstream", "--count", "3000", "--rate", "0", "--malformed", "1%", "--to", "embedded:log/clicks")
    product("run", "-c", "clicks.yaml", "--until-end")

    def listed():
        groups = json.loads(product("dlq", "list", "-c", "clicks.yaml", "-o", "json").stdout)
        return {(state, stage): sum(g["letters"] for g in groups if (g["state"], g["stage"]) == (state, stage))
                for state, stage in {(g["state"], g["stage"]) for g in groups}}

    def rows():
        return deltalake.DeltaTable("s3://lake/prod/letters/clicks", storage_options=storage_options(server)).to_pyarrow_table()

    letters, at_first = listed(), rows()
    german = letters["open", "transform:clean"]
    claim(german > 0 and letters["open", "decode"] > 0 and at_first.num_rows + sum(letters.values()) == 3000, "all are listed", letters)
    letter = json.loads(product("lake", "read", "s3://lake/prod/letters/clicks_dead_letters", "--where", "stage = 'transform:clean'",
                                "--columns", "partition,offset", "--limit", "1").stdout)
    shown = product("dlq", "show", "-c", "clicks.yaml", "clicks", str(letter["partition"]), str(letter["offset"])).stdout
    claim("stage      transform:clean" in shown and '"country":"DE"' in shown.replace(" ", ""), "one with its bytes", shown)

    (product.folder / "mended.yaml").write_text(failing.replace("THEN country ELSE", "THEN '49' ELSE"))
    mended = ["dlq", "replay", "-c", "mended.yaml", "--where", "stage = 'transform:clean'", "-o", "json"]
    told = json.loads(product(*mended, "--dry-run").stdout)
    claim(told["letters"] == german and rows().num_rows == at_first.num_rows, "a dry run tells and writes nothing", told)
    for point in ("replay.decided", "replay.applied"):
        product(*mended, code=-9, env={"MILLRACE_KILL_AT": point})
    done = json.loads(product(*mended).stdout)
    claim(not done["failed"], "what was mended does not fail again", done)
    claim(rows().num_rows == at_first.num_rows + german, "each is a row, once, whatever died", done)
    claim(listed() == {("replayed", "transform:clean"): german, ("open", "decode"): letters["open", "decode"]}, "and is listed so", listed())
    product("run", "-c", "mended.yaml", "--until-end")
    claim(json.loads(product("audit", "-c", "mended.yaml", "-o", "json").stdout)["ok"], "the books hold")
    claim(rows().num_rows == at_first.num_rows + german and not list(product.folder.glob("lake*")), "nothing came twice, or to the local disk")
    shutil.rmtree(product.folder)


def refusals(server):
    product = Product(server, server.endpoint)
    wrong = product("run", "-c", "clicks.yaml", "--until-end", code=78, env={"AWS_SECRET_ACCESS_KEY": "wrong"}).stderr
    claim("SignatureDoesNotMatch" in wrong, "a wrong key is named", wrong)
    none = product("run", "-c", "clicks.yaml", "--until-end", code=78, env={"AWS_ACCESS_KEY_ID": "", "HOME": "/nonexistent"})
    claim("no credentials for S3" in none.stderr, "no credentials: says where they were looked for", none.stderr)
    bucket = product("run", "-c", "clicks.yaml", "--until-end", "--set", "lake.uri=s3://nobodys/x", code=78).stderr
    claim("nobodys" in bucket, "a missing bucket is named", bucket)
    shutil.rmtree(product.folder)


def over_tls():
    """The program holds two copies of OpenSSL, one inside of Arrow's wheel: here it shows which one libcurl got."""
    with Minio(tls=True) as server:
        server.create_bucket("lake")
        product = Product(server, server.endpoint)
        product.environment["AWS_CA_BUNDLE"] = ""
        product("simulate", "clickstream", "--count", "2000", "--rate", "0", "--to", "embedded:log/clicks")
        untrusted = product("run", "-c", "clicks.yaml", "--until-end", code=78).stderr
        claim("lake.s3.ca_file" in untrusted, "an unknown authority is refused with what to do", untrusted)
        trusted = ("--set", f"lake.s3.ca_file={server.ca_file}")
        product("run", "-c", "clicks.yaml", "--until-end", *trusted)
        audit = json.loads(product("audit", "-c", "clicks.yaml", "-o", "json", *trusted).stdout)
        claim(audit["ok"] and audit["tables"][0]["read"] == 2000, "the product works over TLS", audit)
        shutil.rmtree(product.folder)


def through_faults(server, seed):
    """30 % of all requests fail in every way that the proxy knows; the product neither loses nor doubles anything."""
    with FaultProxy(server.endpoint) as proxy:
        proxy.random_faults(0.3, seed)
        product = Product(server, proxy.endpoint)
        place = ("--set", f"lake.uri=s3://lake/faulty-{seed}")
        for part in range(4):
            product("simulate", "clickstream", "--count", str(EVENTS // 4), "--rate", "0", "--malformed", "1%", "--seed",
                    str(part), "--to", "embedded:log/clicks")
            product("run", "-c", "clicks.yaml", "--until-end", *place)
        counts = proxy.counts()
        proxy.quiet()
        audit = json.loads(product("audit", "-c", "clicks.yaml", "-o", "json", *place).stdout)
        clicks = audit["tables"][0]
        claim(audit["ok"] and clicks["read"] == EVENTS, f"seed {seed}: the books hold", audit)
        claim(sum(counts.values()) - counts["forwarded"] > 20, "there were faults", counts)
        rows = duckdb_rows(server, "SELECT count(*), count(DISTINCT (_partition, _offset)) FROM "
                                   f"delta_scan('s3://lake/faulty-{seed}/clicks')")[0]
        claim(rows == (clicks["written"], clicks["written"]), f"seed {seed}: every row once", rows)
        shutil.rmtree(product.folder)


def main():
    with Minio() as server:
        server.create_bucket("lake")
        on_a_good_store(server)
        lookups_in_the_bucket(server)
        dead_letters_in_the_bucket(server)
        refusals(server)
        over_tls()
        for seed in (1, 2, 3):
            through_faults(server, seed)
    print(f"{passed} passed, 0 failed")


main()
