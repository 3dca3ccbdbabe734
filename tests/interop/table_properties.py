"""Properties that Spark and deltalake set on a table of ours: which columns our files then have statistics of, beside those that
Spark's have, and whether docs/lake.md says something of every property that Spark's connector knows. Part of spark_test.py.
"""

import json
import pathlib
import re
import subprocess

from deltalake import DeltaTable

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "lake.md"
COUNT, NAMES = "delta.dataSkippingNumIndexedCols", "delta.dataSkippingStatsColumns"
EACH = ["0", "3", "14", "15", "100", "-1"]  # 14 is the list, 15 the struct's first member.
LISTS = ["id", "st, amount,TS", "`st`.`y`,uuid"]


def leaves(counts, before=()):
    """{"a": 0, "st": {"x": 0}} as {("a",), ("st", "x")}."""
    paths = set()
    for name, value in counts.items():
        paths |= leaves(value, (*before, name)) if isinstance(value, dict) else {(*before, name)}
    return paths


def statistics_of_last_commit(table):
    """Of its first file: which columns have a count of nulls, and which have bounds."""
    version = DeltaTable(table).version()
    lines = map(json.loads, open(pathlib.Path(table) / "_delta_log" / f"{version:020}.json"))
    stats = json.loads(next(line["add"]["stats"] for line in lines if "add" in line))
    # Spark counts nulls of lists too, which no filter of ours asks for; d has a NaN here and there, and then no bounds.
    bounds = [leaves(stats.get(part, {})) - {("d",)} for part in ["minValues", "maxValues"]]
    return [leaves(stats.get("nullCount", {})) - {("list",)}, *bounds]


def statistics_as_spark_writes_them(spark, table, append, columns, claim):
    def compare(key, value):
        spark.sql(f"ALTER TABLE {{t}} SET TBLPROPERTIES ('{key}' = '{value}')", t=table)
        # A row without nulls, since nulls have no bounds.
        spark.sql(f"INSERT INTO {{t}} (id, {columns}) SELECT 20000, {columns} FROM {{t}} WHERE id = 0", t=table)
        theirs = statistics_of_last_commit(table)
        append()
        ours = statistics_of_last_commit(table)
        claim(ours == theirs, f"{key} = {value}: statistics of the columns that Spark has them of", (ours, theirs))
        return ours

    sizes = [len(compare(COUNT, number)[0]) for number in EACH]
    claim(sizes == sorted(sizes) and sizes[0] == 0 < sizes[1] < sizes[-1], "more columns, more statistics", sizes)
    for names in LISTS:
        compare(NAMES, names)
    spark.sql(f"ALTER TABLE {{t}} UNSET TBLPROPERTIES ('{NAMES}', '{COUNT}')", t=table)


def deltalakes_properties(table, write_table, claim):
    """deltalake sets what it is told, sense or not."""
    def set_and_append(properties):
        DeltaTable(table).alter.set_table_properties(properties)
        return subprocess.run([write_table, "append", str(table), "7"], capture_output=True, text=True, timeout=300)

    done = set_and_append({NAMES: "st.x,id"})
    claim(done.returncode == 0 and statistics_of_last_commit(table)[0] == {("id",), ("st", "x")}, "deltalake's list", done.stderr)
    done = set_and_append({NAMES: "id,nobody"})
    claim(done.returncode == 1 and "'nobody'" in done.stderr and NAMES in done.stderr, "a column that is not there", done.stderr)
    done = set_and_append({NAMES: "id"})
    claim(done.returncode == 0, "and one that is", done.stderr)


def every_property_is_documented(spark, claim):
    text = DOCUMENT.read_text()
    table = text[text.index("## Table properties"):]
    told = {name.lower() for name in re.findall(r"`(delta\.[\w.-]+)`", table)}
    known = set()
    configs = spark.session._jvm.org.apache.spark.sql.delta.DeltaConfigs.getAllConfigs().valuesIterator()
    while configs.hasNext():
        known.add(configs.next().key().lower())
    claim(len(known) > 30, "Spark's connector tells its properties", known)
    claim(known <= told, "docs/lake.md says what each means to us", sorted(known - told))
