"""The events of the fault tests, and what must become of each of them.

`make()` writes them: good ones, late ones, ones that a WHERE removes, tombstones, and a dozen kinds of malformed ones.
`judge()` says what a record is, from its bytes alone and independently of the generator and of Millrace: a row, a dead
letter of a stage and a reason, filtered, or a tombstone. Numbers are chosen so that sums of doubles are exact in any order
(latencies are quarters), hence every comparison of the books is exact.
"""

import datetime
import decimal
import json
import random
import zlib

PIPELINE = "fault"
TRANSFORM = "SELECT *, lower(country) AS cc, CAST(rating AS INTEGER) AS stars FROM input WHERE latency_ms >= 0"
# As somebody mends it: it takes the ratings that were letters.
MENDED_TRANSFORM = TRANSFORM.replace("CAST(rating AS INTEGER)", "coalesce(TRY_CAST(rating AS INTEGER), -1)")
AGGREGATE = (
    "SELECT window_start, cc, page, count(*) AS views, sum(amount) AS revenue, min(latency_ms) AS fastest, "
    "max(latency_ms) AS slowest, avg(latency_ms) AS mean FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) GROUP BY ALL"
)
MAX_FUTURE_US = 5 * 60 * 1_000_000

COUNTRIES = ["DE", "de", "Fr", "us", "JP", None]
PAGES = ["/", "/cart", "/item", "/search", "/héllo", "/pay"]

_UTC = datetime.timezone.utc
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=_UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


def micros(text):
    return (datetime.datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND


def rfc3339(time_us):
    return (_EPOCH + time_us * _MICROSECOND).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Generator:
    """Events 0, 1, 2 … of one producer; the same seed gives the same events."""

    # Event time passes at this rate; with 60,000 events it covers ten minutes.
    US_PER_EVENT = 10_000

    def __init__(self, seed, producer, start_us):
        self.random = random.Random(f"{seed}/{producer}")
        self.producer = producer
        self.start_us = start_us
        self.seq = 0

    def make(self):
        """The next event: (key, value, headers); any of them may be None."""
        r, seq = self.random, self.seq
        self.seq += 1
        key = f"{self.producer}-{seq % 997}".encode() if r.random() < 0.9 else None
        headers = [("producer", self.producer.encode()), ("seq", b"%d" % seq)] if r.random() < 0.5 else None
        dice = r.random()
        if dice < 0.005:
            return key or b"deleted", None, headers
        ts = self.start_us + (seq % 180_000) * self.US_PER_EVENT + r.randrange(self.US_PER_EVENT)
        event = {
            "event_id": f"{self.producer}-{seq}",
            "producer": self.producer,
            "seq": seq,
            "ts": "",
            "country": r.choice(COUNTRIES),
            "page": r.choice(PAGES),
            "latency_ms": r.randrange(8000) / 4,
            "amount": f"{r.randrange(1_000_000) / 100:.2f}",
            "rating": str(r.randrange(6)),
            "geo": {"city": f"city {seq % 50}"},
            "extra": [1, {"deep": None}],
        }
        if dice < 0.025:  # Late: minutes mostly, sometimes a day, which is another partition of the table.
            ts -= r.choice([5, 15, 40, 60, 24 * 60]) * 60_000_000
        elif dice < 0.045:
            event["latency_ms"] = -1.0
        elif dice < 0.055:
            event["latency_ms"] = None
        elif dice < 0.058:
            event["rating"] = "five"
        elif dice < 0.059:
            ts += 200 * 365 * 86_400_000_000
        event["ts"] = rfc3339(ts)
        event["crc"] = zlib.crc32(f"{event['event_id']}|{event['ts']}|{event['amount']}".encode())
        if dice >= 0.99:
            return key, self._malformed(event), (headers or []) + [("raw", b"\x00\xff"), ("raw", b"again")]
        return key, json.dumps(event, ensure_ascii=seq % 2 == 0).encode(), headers

    def _malformed(self, event):
        kind = self.random.randrange(10)
        if kind == 0:
            return b""
        if kind == 1:
            return json.dumps(event).encode()[:-7]
        if kind == 2:
            return json.dumps([event]).encode()
        if kind == 3:
            return json.dumps(event, ensure_ascii=False).encode().replace(b"city ", b"c\xc3\x28ty ")
        if kind == 4:
            return b"\x00\x01not json " + str(event["seq"]).encode()
        changed = dict(event)
        if kind == 5:
            changed["seq"] = f"no. {event['seq']}"
        elif kind == 6:
            changed["crc"] = 2**63 + event["seq"]
        elif kind == 7:
            changed["ts"] = "2026-02-30T12:00:00Z"
        elif kind == 8:
            changed["amount"] = "12345678901.00"
        else:
            changed["geo"] = {"city": 7}
        return json.dumps(changed).encode()


_COLUMNS = (("event_id", str), ("producer", str), ("seq", int), ("crc", int), ("country", str), ("page", str), ("rating", str))


def judge(value, log_us, mended=False):
    """("row", columns), ("filtered",), ("tombstone",) or ("dead", stage, reason). `mended`: by MENDED_TRANSFORM."""
    if value is None:
        return ("tombstone",)
    if not value:
        return "dead", "decode", "empty_payload"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "dead", "decode", "bad_utf8"
    try:
        event = json.loads(text)
    except ValueError:
        return "dead", "decode", "bad_json"
    if not isinstance(event, dict):
        return "dead", "decode", "not_object"
    row = {}
    for name, kind in _COLUMNS:
        cell = event.get(name)
        if cell is not None and type(cell) is not kind:
            return "dead", "decode", "type_mismatch"
        if kind is int and cell is not None and not -(2**63) <= cell < 2**63:
            return "dead", "decode", "out_of_range"
        row[name] = cell
    city = event.get("geo", {}).get("city")
    if city is not None and type(city) is not str:
        return "dead", "decode", "type_mismatch"
    row["city"] = city
    try:
        row["ts"] = micros(event["ts"])
    except ValueError:
        return "dead", "decode", "out_of_range"
    row["amount"] = decimal.Decimal(event["amount"])
    if abs(row["amount"]) >= 10**10:
        return "dead", "decode", "out_of_range"
    row["latency_ms"] = event["latency_ms"]
    if row["ts"] - log_us > MAX_FUTURE_US:
        return "dead", "event_time", "future_timestamp"
    if row["latency_ms"] is None or row["latency_ms"] < 0:
        return ("filtered",)
    if not row["rating"].isdigit() and not mended:
        return "dead", "transform:clean", None  # The reason is the product's word; the stage is what must be right.
    row["cc"] = row["country"].lower() if row["country"] is not None else None
    row["stars"] = int(row["rating"]) if row["rating"].isdigit() else -1
    return "row", row


def pipeline_yaml(*, brokers, topic, lake, port, group="fault", properties=None, commit_interval="1s",
                  commit_bytes="1MiB", checkpoint_interval=3, on_gap=None, app_id=None, memory="256MiB",
                  shutdown_timeout="20s", transform=TRANSFORM):
    kafka = {"bootstrap.servers": brokers, "group.id": group, "session.timeout.ms": 2000,
             "heartbeat.interval.ms": 500, "partition.assignment.strategy": "cooperative-sticky",
             "reconnect.backoff.max.ms": 1000, **(properties or {})}  # None: as the client has it.
    kafka_lines = "\n".join(f"    {name}: {json.dumps(value)}" for name, value in kafka.items() if value is not None)
    commit = f"{{interval: {commit_interval}, bytes: {commit_bytes}}}"
    table_properties = f'{{delta.checkpointInterval: "{checkpoint_interval}"}}'
    return f"""version: 1
pipeline: {PIPELINE}
{f"app_id: {app_id}" if app_id else ""}
source:
  kafka:
{kafka_lines}
  topics: [{topic}]
  start: earliest
{f"  on_gap: {on_gap}" if on_gap else ""}
decode:
  format: json
  columns:
    event_id: string
    producer: string
    seq: int64
    crc: int64
    ts: timestamp
    country: string
    page: string
    latency_ms: double
    amount: decimal(12,2)
    rating: string
    city: {{type: string, path: geo.city}}
event_time: {{column: ts, watermark_delay: 10s, idle_timeout: 5s, max_future: 5m}}
transforms:
  - name: clean
    sql: {transform}
tables:
  - name: events
    from: clean
    partition_by: ["date(ts)"]
    commit: {commit}
    properties: {table_properties}
aggregates:
  - name: views_1m
    sql: {AGGREGATE}
    commit: {commit}
    properties: {table_properties}
lake: {{uri: {json.dumps(str(lake))}}}
limits: {{memory: {memory}, threads: 2}}
serve: {{listen: "127.0.0.1:{port}"}}
shutdown_timeout: {shutdown_timeout}
log: {{level: debug}}
"""
