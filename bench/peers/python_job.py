#!/usr/bin/env python3
"""The job of bench/clicks.yaml in Python: Kafka to a Delta table of events and one of one-minute partial aggregates.

Written as a careful Python engineer would: records are fetched in large batches, decoded and aggregated by Polars, and
written by delta-rs; each commit carries the offsets as transaction identifiers, so that a restart goes on exactly where the
table ends. A commit every 10 s or 500,000 events. Ends at the end offsets seen at the start.

    python_job.py BROKERS TOPIC LAKE_FOLDER
"""

import pathlib
import sys
import time

import polars as pl
from confluent_kafka import Consumer, TopicPartition
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake

COMMIT_SECONDS = 10.0
COMMIT_EVENTS = 500_000
FETCH_EVENTS = 20_000
APP_ID = "python-job"

# A double holds every amount of twelve digits; the cast to decimal below gives back the digits that were written.
JSON_SCHEMA = {
    "event_id": pl.String,
    "ts": pl.String,
    "device_id": pl.String,
    "user_id": pl.Int64,
    "session_id": pl.String,
    "country": pl.String,
    "page": pl.String,
    "action": pl.String,
    "latency_ms": pl.Float64,
    "amount": pl.Float64,
}


def decode(messages) -> pl.DataFrame:
    values = [message.value() for message in messages]
    events = pl.read_ndjson(b"\n".join(values), schema=JSON_SCHEMA)
    if events.height != len(values):
        raise ValueError(f"{len(values)} records decoded to {events.height} rows")
    return events.with_columns(
        pl.col("ts").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC"),
        pl.col("amount").cast(pl.Decimal(12, 2)),
        pl.lit(messages[0].topic()).alias("_topic"),
        pl.Series("_partition", [message.partition() for message in messages], pl.Int32),
        pl.Series("_offset", [message.offset() for message in messages], pl.Int64),
        pl.Series("_timestamp", [message.timestamp()[1] for message in messages], pl.Int64).cast(pl.Datetime("ms", "UTC")),
    )


def aggregate(events: pl.DataFrame) -> pl.DataFrame:
    return (
        events.lazy()
        .group_by(pl.col("ts").dt.truncate("1m").alias("window_start"), "country", "page")
        .agg(
            pl.len().cast(pl.Int64).alias("views"),
            pl.col("amount").cast(pl.Decimal(38, 2)).sum().alias("revenue"),
            pl.col("latency_ms").max().alias("slowest"),
        )
        .collect()
    )


def commit(lake: pathlib.Path, table: str, rows: pl.DataFrame, next_offsets: dict[int, int]) -> None:
    transactions = [Transaction(f"{APP_ID}-{partition}", offset - 1) for partition, offset in next_offsets.items()]
    write_deltalake(
        str(lake / table),
        rows,
        mode="append",
        writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
        commit_properties=CommitProperties(app_transactions=transactions),
    )


def stored_offset(lake: pathlib.Path, table: str, partition: int) -> int:
    if not DeltaTable.is_deltatable(str(lake / table)):
        return 0
    last = DeltaTable(str(lake / table)).transaction_version(f"{APP_ID}-{partition}")
    return 0 if last is None else last + 1


def main() -> None:
    brokers, topic, folder = sys.argv[1:]
    lake = pathlib.Path(folder)
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": APP_ID,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.min.bytes": 65536,
            "queued.max.messages.kbytes": 65536,
        }
    )
    partitions = sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
    tables = ("clicks", "clicks_1m")
    stored = {p: {table: stored_offset(lake, table, p) for table in tables} for p in partitions}
    next_offsets = {p: min(stored[p].values()) for p in partitions}
    if any(len(set(offsets.values())) > 1 for offsets in stored.values()):
        sys.exit("the tables are at different offsets; this job does not repair that")
    consumer.assign([TopicPartition(topic, p, next_offsets[p]) for p in partitions])

    frames, events, last_commit = [], 0, time.monotonic()
    while True:
        messages = [m for m in consumer.consume(FETCH_EVENTS, timeout=0.5) if m.error() is None]
        if messages:
            frames.append(decode(messages))
            events += len(messages)
            for message in messages:
                next_offsets[message.partition()] = message.offset() + 1
        done = all(next_offsets[p] >= ends[p] for p in partitions)
        if frames and (done or events >= COMMIT_EVENTS or time.monotonic() - last_commit >= COMMIT_SECONDS):
            rows = pl.concat(frames, rechunk=False)
            commit(lake, "clicks", rows, next_offsets)
            commit(lake, "clicks_1m", aggregate(rows), next_offsets)
            frames, events, last_commit = [], 0, time.monotonic()
        if done:
            break
    consumer.close()


main()
