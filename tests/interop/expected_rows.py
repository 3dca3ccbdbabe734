"""The rows that write_table writes, by the same rule as in write_table.cc: so no reader is the judge of another."""

import datetime
import decimal
import math

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
START_US = 1_700_000_000_123_456


def timestamp_of(i):
    return EPOCH + datetime.timedelta(microseconds=START_US + i * 1_000_001)


def expected_row(i):
    null = i % 7 == 3
    row = {
        "s": f'"quoted" straße {i % 50}',
        "b": b"\x00\xff" + str(i).encode(),
        "t": i % 2 == 0,
        "i8": i % 256 - 128,
        "i16": i,
        "i32": -i,
        "f": i / 4,
        "d": math.nan if i % 100 == 50 else i / 3,
        "amount": decimal.Decimal(i * 101 - 5000).scaleb(-2),
        "huge": decimal.Decimal(123456789012345678901234567890 + i).scaleb(-6, decimal.Context(prec=38)),
        "ts": timestamp_of(i),
        "list": [i + n for n in range(i % 3)],
        "st": {"x": i, "y": str(i)},
    }
    if null:
        row = dict.fromkeys(row)
    row["id"] = i
    row["uuid"] = f"{i * 2654435761:08x}-a-rather-long-text-that-is-cut-in-statistics"
    row["_topic"] = "clicks"
    row["day"] = datetime.date(1970, 1, 1) + datetime.timedelta(days=19_700 + i % 2)
    return row


def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    return a == b


def check_rows(rows, begin, end, reader):
    rows = sorted(rows, key=lambda r: r["id"])
    assert len(rows) == end - begin, f"{reader}: {len(rows)} rows, expected {end - begin}"
    for got, i in zip(rows, range(begin, end)):
        for name, want in expected_row(i).items():
            assert same(got[name], want), f"{reader}: row {i} column {name}: {got[name]!r}, expected {want!r}"
