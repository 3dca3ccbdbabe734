"""Structs, maps and lists of structs as columns, of JSON and of Avro, in Delta tables: pyarrow, DuckDB, Polars and Spark read what the
records said.

Usage: nested_columns_test.py PATH_OF_decode_rows
"""

import datetime
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import spark_session

import duckdb
import fastavro
import polars
from deltalake import DeltaTable

DECODE = sys.argv[1]
RECORDS = 2000
START = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.timezone.utc)
PIPELINE = """version: 1
pipeline: orders
source: {embedded: {path: log}, topics: [orders]}
decode:
DECODE
  columns:
    event_id: string
    ts: timestamp
    geo: {type: struct, fields: {lat: double, at: {type: struct, fields: {city: string, zip: {type: int64, coerce: true}}}}}
    items: {type: list<struct>, fields: {sku: string, n: int64, tags: list<string>}}
    attrs: map<string, int64>
    sizes: map<string, list<double>>
tables: [{name: orders}]
lake: {uri: lake}
"""
SCHEMA = {
    "type": "record", "name": "Order", "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "geo", "type": ["null", {"type": "record", "name": "Geo", "fields": [
            {"name": "extra", "type": "int"},
            {"name": "at", "type": ["null", {"type": "record", "name": "At", "fields": [
                {"name": "city", "type": ["null", "string"]}, {"name": "zip", "type": ["null", "string"]}]}]},
            {"name": "lat", "type": ["null", "double"]}]}]},
        {"name": "items", "type": ["null", {"type": "array", "items": ["null", {"type": "record", "name": "Item", "fields": [
            {"name": "sku", "type": ["null", "string"]}, {"name": "n", "type": ["null", "long"]},
            {"name": "tags", "type": ["null", {"type": "array", "items": ["null", "string"]}]}]}]}]},
        {"name": "attrs", "type": ["null", {"type": "map", "values": ["null", "long"]}]},
        {"name": "sizes", "type": ["null", {"type": "map", "values": ["null", {"type": "array", "items": "double"}]}]}]}
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def events():
    source = random.Random(33)

    def maybe(value):
        return value if source.random() < 0.8 else None

    for i in range(RECORDS):
        at = maybe({"city": maybe(source.choice(["Lyon", "Pune", "Z\u00fcrich", ""])), "zip": maybe(source.randrange(10**5))})
        items = [maybe({"sku": maybe(f"s{source.randrange(50)}"), "n": maybe(source.randrange(-10**15, 10**15)),
                        "tags": maybe([maybe(f"t{source.randrange(9)}") for _ in range(source.randrange(3))])})
                 for _ in range(source.choice([0, 0, 1, 2, 5]))]
        yield {"event_id": f"e{i:05}", "ts": START + datetime.timedelta(milliseconds=i * 37),
               "geo": maybe({"lat": maybe(source.uniform(-90, 90)), "at": at}), "items": maybe(items),
               "attrs": maybe({key: maybe(source.randrange(-5, 100)) for key in source.sample(["a", "b", "\u00fc", ""], source.randrange(4))}),
               "sizes": maybe({f"k{j}": maybe([source.random() for _ in range(source.randrange(3))]) for j in range(source.randrange(3))})}


def as_json(event):
    event = json.loads(json.dumps({**event, "ts": event["ts"].isoformat()}))
    if event["geo"]:
        event["geo"]["extra"] = 7
        if event["geo"]["at"] and event["geo"]["at"]["zip"] is not None:
            event["geo"]["at"]["zip"] = str(event["geo"]["at"]["zip"])
    for key in list(event):
        if event[key] is None and len(key) % 2:
            del event[key]
    text = json.dumps(event)
    # Of a key that comes twice the last counts.
    return text.replace('"attrs": {"a": ', '"attrs": {"a": 1, "a": ').encode()


def as_avro(event):
    zip_of = event["geo"]["at"]["zip"] if event["geo"] and event["geo"]["at"] else None
    geo = event["geo"] and {**event["geo"], "extra": 7, "at": event["geo"]["at"] and {
        **event["geo"]["at"], "zip": None if zip_of is None else str(zip_of)}}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), {**event, "geo": geo})
    return out.getvalue()


def plain(value):
    """Maps as dicts, whatever the reader makes of them."""
    if isinstance(value, list) and value and all(isinstance(entry, tuple) and len(entry) == 2 for entry in value):
        return {key: plain(item) for key, item in value}
    if isinstance(value, list) and value and all(isinstance(entry, dict) and entry.keys() == {"key", "value"} for entry in value):
        return {entry["key"]: plain(entry["value"]) for entry in value}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, datetime.datetime) and value.tzinfo is None:
        return value.replace(tzinfo=datetime.timezone.utc)
    return value


def same(got, want):
    if isinstance(want, dict) and got == []:  # An empty map as a list of no entries.
        return want == {}
    if isinstance(want, dict):
        return isinstance(got, dict) and got.keys() == want.keys() and all(same(got[key], want[key]) for key in want)
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(same, got, want))
    return got == want and (got is None) == (want is None)


def compare(reader, rows, wanted):
    rows = {row["event_id"]: plain(row) for row in rows}
    claim(len(rows) == RECORDS, f"{reader}: every record once", len(rows))
    for want in wanted:
        got = rows[want["event_id"]]
        for key, value in want.items():
            assert same(got[key], value), f"{reader}: {want['event_id']}.{key} is {got[key]!r}, not {value!r}"
    claim(True, f"{reader} reads what the records said")


def check(folder, spark, name, decode, encode):
    config = folder / f"{name}.yaml"
    config.write_text(PIPELINE.replace("DECODE", decode))
    table = folder / name
    wanted = list(events())
    for begin in range(0, RECORDS, RECORDS // 4):  # Four commits.
        documents = "".join(encode(event).hex() + "\n" for event in wanted[begin:begin + RECORDS // 4])
        done = subprocess.run([DECODE, config.name, table], cwd=folder, input=documents, capture_output=True, text=True, timeout=120)
        claim(done.returncode == 0 and len(done.stdout.splitlines()) == 1, f"{name}: every record is a row", done.stderr + done.stdout[-2000:])
    path = str(table)
    delta = DeltaTable(path)
    compare(f"pyarrow, {name}", delta.to_pyarrow_table().to_pylist(), wanted)
    compare(f"polars, {name}", polars.scan_delta(path).collect().to_dicts(), wanted)
    files = ",".join(f"'{uri.removeprefix('file://')}'" for uri in delta.file_uris())
    duck = duckdb.connect()
    duck.execute("SET TimeZone = 'UTC'")
    rows = duck.execute(f"SELECT * FROM read_parquet([{files}])").to_arrow_table()
    compare(f"duckdb, {name}", rows.to_pylist(), wanted)
    compare(f"spark, {name}", map(spark_session.plain, spark.read.format("delta").load(path).collect()), wanted)
    check_statistics(table, wanted)


def check_statistics(table, events):
    """Of members of structs, as the protocol nests them; of lists and maps there are none."""
    wanted = [event["geo"]["lat"] for event in events if event["geo"] and event["geo"]["lat"] is not None]
    stats = []
    for log in sorted((table / "_delta_log").glob("*.json")):
        actions = map(json.loads, log.read_text().splitlines())
        stats += [json.loads(action["add"]["stats"]) for action in actions if "add" in action]
    lows = [each["minValues"]["geo"]["lat"] for each in stats if "geo" in each["minValues"]]
    highs = [each["maxValues"]["geo"]["lat"] for each in stats if "geo" in each["maxValues"]]
    claim((min(lows), max(highs)) == (min(wanted), max(wanted)), "bounds of a struct's member", (lows, highs))
    nulls = sum(each["nullCount"]["geo"]["lat"] for each in stats)
    claim(nulls == RECORDS - len(wanted), "nulls of a struct's member", nulls)
    claim(not any({"items", "attrs", "sizes"} & set(each["minValues"]) for each in stats), "none of lists and maps", stats[0])


WITH_SQL = """event_time: {column: ts}
transforms:
  - name: cut
    sql: |
      SELECT event_id, ts, geo, geo['at'].city AS city, geo.lat AS lat, list_transform(items, lambda i: {'sku': i.sku, 'n': i.n}) AS items,
        map_from_entries(list_filter(map_entries(attrs), lambda e: e.value > 0)) AS attrs, len(items) AS num_items FROM input
aggregates:
  - name: orders_1m
    sql: SELECT window_start, geo['at'].city AS city, sum(len(items)) AS n, sum(attrs['a']) AS a FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
tables: [{name: orders}, {name: orders_cut, from: cut}]
"""


def check_findings(folder):
    """SQL reads what is nested; what cannot be is refused by name."""
    config = PIPELINE.replace("DECODE", "  format: json").replace("tables: [{name: orders}]\n", WITH_SQL)
    nested = "struct<lat: double, at: struct<city: string, zip: int64>>"
    for change, want in [
            (("", ""), None),
            (("SELECT window_start, geo['at'].city AS city", "SELECT window_start, geo"), f"key geo of type {nested} is not supported yet"),
            (("SELECT window_start, geo['at'].city AS city", "SELECT window_start, attrs AS m"), "key m of type map<string, int64> is not supported yet"),
            (("{name: orders}", "{name: orders, partition_by: [geo]}"), f"'geo' is {nested}; a table cannot be partitioned by it"),
            (("{column: ts}", "{column: ts}\ndedupe: {by: [geo], within: 1h}"), "dedupe.by: 'geo' is a struct, which cannot be a key"),
            (("{column: ts}", "{column: geo}"), "event_time.column: 'geo' is not a timestamp"),
            (("attrs: map<string, int64>", "attrs: {type: \"map<string, int64>\", from: key}"), "key is a text, which is no list, struct or map")]:
        (folder / "changed.yaml").write_text(config.replace(*change, 1))
        done = subprocess.run([DECODE, "changed.yaml"], cwd=folder, input="", capture_output=True, text=True, timeout=60)
        claim(done.returncode == (0 if want is None else 1) and (want or "") in done.stderr, f"{change}: {want}", done.stderr)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        spark = spark_session.start(folder / "spark")
        (folder / "order.avsc").write_text(json.dumps(SCHEMA))
        check(folder, spark, "orders", "  format: json", as_json)
        check(folder, spark, "orders_avro", "  format: avro\n  schema: {file: order.avsc}", as_avro)
        check_findings(folder)
        spark.stop()
    print(f"nested_columns_test: {passed} claims hold")


if __name__ == "__main__":
    main()
