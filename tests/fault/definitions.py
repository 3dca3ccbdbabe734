#!/usr/bin/env python3
"""Aggregates that are edited under their name, and rows that a table cannot take.

    definitions.py [NAME...]     all cases, or those whose names contain one of the words
"""

import re

import pyarrow as pa
from deltalake import DeltaTable, Field, Schema

import cases
import small
from harness import Failure, say

MINUTES = 6
BASE = "SELECT window_start, country, sum(a) AS s FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL"
# What is edited, to what, and what the message must name: the part, and both of its sides where it has two.
OTHER_MEANINGS = (
    ("window", BASE.replace("1 MINUTE", "5 MINUTE"), ("window", "tumbling 1m", "tumbling 5m")),
    ("measure", BASE.replace("sum(a)", "sum(a * 100)"), ("state s", "100")),
    ("function", BASE.replace("sum(a)", "max(a)"), ("state s", r"sum\(", r"max\(")),
    ("where", BASE.replace(" GROUP", " WHERE a > 0 GROUP"), ("where is new", "a")),
    ("new_measure", BASE.replace("sum(a) AS s", "sum(a) AS s, count(*) AS n"), ("state n is new",)),
    ("filter", BASE.replace("sum(a)", "sum(a) FILTER (WHERE a > 0)"), ("state s", "filter")),
    ("key_expression", BASE.replace("country,", "lower(country) AS country,"), ("key country", "lower")),
    ("new_key", BASE.replace("country,", "country, id,"), ("key id is new",)),
    ("key_less", BASE.replace("country, ", ""), ("key country is gone",)),
)
SAME_MEANING = (
    ("order", BASE.replace("country, sum(a) AS s", "sum(a) AS s, country")),
    ("wording", BASE.lower().replace("group by all", "group by window_start, country")),
    ("having", BASE + " HAVING sum(a) > 100"),
)


def records(a):
    return [{"id": f"e{minute}", "ts": f"2026-11-01T10:{minute:02}:00Z", "country": "DE", "a": a + minute} for minute in range(MINUTES)]


def sums(pipeline, table):
    merged = {}
    for row in pipeline.rows(table):
        minute = row["window_start"].minute
        merged[minute] = merged.get(minute, 0) + row["s"]
    return merged


def expect_sums(pipeline, table, wanted):
    got = sums(pipeline, table)
    if got != wanted:
        raise Failure(f"{pipeline.name}: {table} says {got}, right is {wanted}")


def started(case, name):
    pipeline = small.Small(case, name)
    pipeline.create_topics("a")
    pipeline.send("a", 0, *records(1))
    pipeline.run_to_end(topics=["a"], aggregates=[("sums", BASE)])
    pipeline.send("a", 0, *records(100))
    return pipeline


def edited_aggregate(case):
    """Any edit that gives the rows another meaning is refused, names what differs, writes nothing; undone, the sums are right."""
    both = {minute: 101 + 2 * minute for minute in range(MINUTES)}
    for name, sql, words in OTHER_MEANINGS:
        pipeline = started(case, name)
        before = pipeline.versions()
        for arguments in ((), ("--until-end",)):
            worker = pipeline.run(*arguments, topics=["a"], aggregates=[("sums", sql)])
            if worker.wait() not in (1, 78):
                raise Failure(f"{name}: status {worker.process.returncode}:\n{worker.tail()}")
            line = cases.says(worker, "^millrace: ", "table sums: ", *words, "new name")
            if re.search("on_new_column", line):
                raise Failure(f"{name}: advice that an aggregate cannot take: {line}")
        say(f"    {name}: {line[line.index('definition: ') + 12:][:150]}")
        if pipeline.versions() != before:
            raise Failure(f"{name}: versions {before} became {pipeline.versions()}")
        last = pipeline.run_to_end(topics=["a"], aggregates=[("sums", BASE)])
        expect_sums(pipeline, "sums", both)
        pipeline.check_audit(last)


def aggregate_of_a_new_name(case):
    """What the refusal advises: under a new name the table is made from what the log holds."""
    pipeline = started(case, "renamed")
    last = pipeline.run_to_end(topics=["a"], aggregates=[("hundreds", BASE.replace("sum(a)", "sum(a * 100)"))])
    expect_sums(pipeline, "hundreds", {minute: 100 * (101 + 2 * minute) for minute in range(MINUTES)})
    pipeline.check_audit(last)


def same_aggregate(case):
    """An edit that changes no row is accepted, and the sums go on."""
    for name, sql in SAME_MEANING:
        pipeline = started(case, name)
        last = pipeline.run_to_end(topics=["a"], aggregates=[("sums", sql)])
        expect_sums(pipeline, "sums", {minute: 101 + 2 * minute for minute in range(MINUTES)})
        pipeline.check_audit(last)


def check_letters(pipeline, wanted):
    """`wanted`: (offset, stage, reason) of each dead letter."""
    got = sorted((row["offset"], row["stage"], row["reason"]) for row in pipeline.rows(small.LETTERS))
    if got != sorted(wanted):
        raise Failure(f"{pipeline.name}: dead letters {got}, right is {sorted(wanted)}")


def renamed_transform(case):
    """A transform that makes dead letters is renamed, its runs killed: one letter for each record, under the name of its time."""
    pipeline = small.Small(case, "renamed-transform")
    pipeline.create_topics("a")
    cast = "SELECT *, CAST(country AS INTEGER) AS n FROM input"
    good = records(1)[0]
    killed, letters, rows = 0, [], []
    for name in ("x", "y", "x"):
        for partition in range(2):
            first = pipeline.sent["a", partition]
            pipeline.send("a", partition, {**good, "country": "1"}, {**good, "country": "one"}, {**good, "country": "2"})
            letters.append((first + 1, f"transform:{name}", "transform_error"))
            rows += [("a", partition, first), ("a", partition, first + 2)]
        settings = {"topics": ["a"], "transforms": [(name, cast)], "tables": {small.TABLE: f"from: {name}"}}
        for point in ("commit.after_put:1", "letters.committed:1", "epoch.prepared:1"):
            worker = pipeline.run("--until-end", kill_at=point, **settings)
            killed += worker.wait() == -9
        last = pipeline.run_to_end(**settings)
        pipeline.check_offsets(rows, f"as {name}")
        check_letters(pipeline, letters)
        pipeline.check_audit(last)
    if killed < 3:
        raise RuntimeError(f"only {killed} runs came to their kill points")


def not_null(case):
    """A table that deltalake made with NOT NULL columns: rows without a value are dead letters of that table, the rest is there."""
    pipeline = small.Small(case, "not-null")
    pipeline.create_topics("a", partitions=1)
    fields = [Field("id", "string", nullable=False), Field("ts", "timestamp"), Field("country", "string"),
              Field("a", "long", nullable=False), Field("_topic", "string", nullable=False), Field("_partition", "integer"),
              Field("_offset", "long"), Field("_timestamp", "timestamp")]
    pipeline.lake.mkdir()
    DeltaTable.create(str(pipeline.lake / small.TABLE), Schema(fields))
    good = records(1)[0]
    pipeline.send("a", 0, good, {**good, "id": None}, {k: v for k, v in good.items() if k != "a"}, {**good, "country": None}, good)
    tables = {small.TABLE: "", "copy": ""}
    for _ in range(2):  # A restart finds nothing to do.
        last = pipeline.run_to_end(topics=["a"], tables=tables)
        pipeline.check_offsets([("a", 0, offset) for offset in (0, 3, 4)], "NOT NULL")
        pipeline.check_offsets([("a", 0, offset) for offset in range(5)], "a table of our own", table="copy")
        check_letters(pipeline, [(offset, f"table:{small.TABLE}", "null_value") for offset in (1, 2)])
        pipeline.check_audit(last)
    nullable = {field.name: field.nullable for field in pa.schema(DeltaTable(str(pipeline.lake / small.TABLE)).schema().to_arrow())}
    if nullable["id"] or nullable["a"]:
        raise Failure(f"the table's columns are nullable now: {nullable}")


def partition_value(case):
    """A partition column that a transform makes NaN or infinite: dead letters of that table, and no start fails over them."""
    pipeline = small.Small(case, "ratio")
    pipeline.create_topics("a", partitions=1)
    transforms = [("ratios", "SELECT *, CASE WHEN a = 7 THEN 'NaN'::DOUBLE ELSE 1.0::DOUBLE / a END AS ratio FROM input"),
                  ("signed", "SELECT *, CASE WHEN a = 0 THEN '-Infinity'::DOUBLE WHEN a = 7 THEN 'Infinity'::DOUBLE ELSE 2.5 END AS ratio "
                             "FROM input")]
    tables = {small.TABLE: "from: ratios, partition_by: [ratio]", "signed_t": "from: signed, partition_by: [ratio]", "copy": ""}
    good = records(1)[0]
    pipeline.send("a", 0, *({**good, "a": a} for a in (1, 0, 2, 7)))
    letters = [(offset, f"table:{table}", "partition_value") for table in (small.TABLE, "signed_t") for offset in (1, 3)]
    for _ in range(2):
        last = pipeline.run_to_end(topics=["a"], transforms=transforms, tables=tables)
        for table in (small.TABLE, "signed_t"):
            pipeline.check_offsets([("a", 0, 0), ("a", 0, 2)], "partitioned", table=table)
        pipeline.check_offsets([("a", 0, offset) for offset in range(4)], "a table without partitions", table="copy")
        check_letters(pipeline, letters)
        pipeline.check_audit(last)


CASES = [edited_aggregate, aggregate_of_a_new_name, same_aggregate, renamed_transform, not_null, partition_value]

if __name__ == "__main__":
    cases.main("definitions", CASES)
