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


# Spelling -> milliseconds; None: Spark refuses it as a retention. The same as in interval_text_test.cc.
INTERVALS = {"interval 7 days": 604_800_000, "30 days": 2_592_000_000, "1 week": 604_800_000, "INTERVAL 720 HOURS": 2_592_000_000,
             "Interval 1 Day": 86_400_000, "interval 1 week 12 hours": 648_000_000, "  2  weeks ": 1_209_600_000,
             "3 minutes 2 seconds 1 millisecond": 182_001, "1500 microseconds": 1, "1.5 seconds": 1500, ".25 second": 250,
             "1. second": 1000, "0.123456789 seconds": 123, "+1 day": 86_400_000, "+ 1 day": 86_400_000, "2 days -1 day": 86_400_000,
             "2 days - 12 hours": 129_600_000, "1 second -.5 seconds": 500, "0 days": 0,
             **dict.fromkeys(["", "interval", "interval interval 1 day", "7", "days", "7days", "interval7 days", "1 month",
                              "1 year 2 days", "1 dayss", "1 d", "1.5 days", "1.5 milliseconds", ". seconds",
                              "0.1234567890 seconds", "-1 day", "1 day -2 days", "- - 1 day", "-+1 day", "1e3 days", "1 day 2",
                              "1 day and 2 hours", "99999999999999999999 days", "1,000 days"])}
# Property -> values that Delta takes, and values that it does not.
VALUES = {"delta.appendOnly": (["true", "FALSE"], ["maybe", "", "1"]),
          "delta.autoOptimize.autoCompact": (["true", "false"], ["auto"]),
          "delta.checkpointInterval": (["1", "10"], ["0", "-1", "often", "1.5"]),
          "delta.checkpointPolicy": (["classic"], ["v3", "CLASSIC"]),
          "delta.columnMapping.mode": (["none"], ["names"]),
          "delta.dataSkippingNumIndexedCols": (["-1", "0"], ["-2", "all"]),
          "delta.dataSkippingStatsColumns": (["a", "`a`,b"], ["a,", "`a"]),
          "delta.deletedFileRetentionDuration": (["1 week"], ["1 month", "-1 day", "7d"]),
          "delta.enableExpiredLogCleanup": (["true"], ["maybe"]),
          "delta.isolationLevel": (["Serializable", "serializable"], ["WriteSerializable", "SnapshotIsolation", "x"]),
          "delta.logRetentionDuration": (["INTERVAL 720 HOURS"], ["forever"]),
          "delta.randomPrefixLength": (["3"], ["0"])}


def values_as_spark_takes_them(spark, folder, millrace, claim):
    """`lake create` takes the values that Spark's CREATE TABLE takes, and vacuum understands each interval that it does."""
    configs = spark.session._jvm.org.apache.spark.sql.delta.DeltaConfigs
    member = lambda value, name: spark.session._sc._gateway.jvm.java.lang.Long.valueOf(  # noqa: E731
        str(value.getClass().getField(name).get(value)))

    def millis_of(text):
        try:
            interval = configs.parseCalendarInterval(text)
        except Exception:
            return None
        days, micros = member(interval, "days"), member(interval, "microseconds")
        return (days * 86_400_000_000 + micros) // 1000 if configs.isValidIntervalConfigValue(interval) else None

    def created(key, value):
        table = folder / f"valued {created.count}"
        created.count += 1
        done = subprocess.run([millrace, "lake", "create", table, "--column", "a:long", "--column", "b:long", "--property",
                               f"{key}={value}"], capture_output=True, text=True)
        claim(done.returncode == 0 or (done.returncode == 1 and key in done.stderr), f"{key} = '{value}' is taken or refused", done)
        return done.returncode == 0

    created.count = 0
    for text, millis in INTERVALS.items():
        claim(millis_of(text) == millis, f"Spark's reading of '{text}'", (millis_of(text), millis))
        claim(created("delta.deletedFileRetentionDuration", text) == (millis is not None), f"our reading of '{text}'")
    for key, (good, bad) in VALUES.items():
        for value in [*bad, *good]:  # A Spark that fails at everything fails at the good ones, which come last.
            try:
                spark.sql(f"CREATE TABLE {{t}} (a BIGINT, b BIGINT) USING delta TBLPROPERTIES ('{key}' = '{value}')",
                          t=folder / f"spark valued {key} {value}".replace("`", "'"))
                taken = True
            except Exception:
                taken = False
            claim(taken == (value in good), f"Spark takes {key} = '{value}'", taken)
            claim(created(key, value) == (value in good), f"we take {key} = '{value}'")
