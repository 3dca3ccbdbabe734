#!/usr/bin/env python3
"""Clocks that are wrong, and event time that must never go back.

    clocks.py [NAME...]     all cases, or those whose names contain one of the words
"""

import re
import time

import cases
import events
import small
from harness import Failure, say, wait_for

MINUTE_US = 60 * 1_000_000
CREATE_TIME, LOG_APPEND_TIME = ({"message.timestamp.type": kind} for kind in ("CreateTime", "LogAppendTime"))
# Minutes from now: of the payload and of the record's timestamp; whether a row comes of it. The watermark is never past the clock.
DEVICES = (
    ("fast in both", CREATE_TIME, 50, 50, True),
    ("fast in the payload", CREATE_TIME, 50, 0, False),
    ("fast in the record only", CREATE_TIME, 0, 50, True),
    ("a little fast", CREATE_TIME, 2, 2, True),
    ("old record", CREATE_TIME, 0, -60, True),
    ("offline for an hour", CREATE_TIME, -60, -60, True),
    ("old record, fast payload", CREATE_TIME, 50, -60, False),
    ("fast, the broker's time", LOG_APPEND_TIME, 50, 50, False),
    ("right, the broker's time", LOG_APPEND_TIME, 0, -60, True),
)


def micros_now():
    return int(time.time() * 1e6)


def event(name, at_us):
    return {"id": name, "ts": events.rfc3339(at_us), "country": "DE", "a": 1}


def watermark(worker):
    """(of the status, of the metrics) in microseconds; each None while there is none."""
    status = worker.pipeline()
    text = status["watermark"] if status else None
    metrics = worker.get("/metrics")
    found = re.search(r"^millrace_watermark_timestamp_seconds (\S+)$", metrics[1] if metrics else "", re.MULTILINE)
    return events.micros(text.replace("Z", "+00:00")) if text else None, round(float(found.group(1)) * 1e6) if found else None


def devices(case):
    """A device's clock, fast or slow, in the payload, the record or both: a row or a dead letter, and no watermark ahead of the clock."""
    for name, config, payload, record, is_row in DEVICES:
        pipeline = small.Small(case, re.sub(r"\W+", "-", name))
        pipeline.create_topics("a", partitions=1, config=config)
        worker = pipeline.run(topics=["a"], event_time="{column: ts, watermark_delay: 1s, max_future: 5m}")
        small.wait_until_ready(worker)
        now_us = micros_now()
        pipeline.send("a", 0, event("device", now_us + payload * MINUTE_US), times_ms=[now_us // 1000 + record * 60_000])
        pipeline.send("a", 0, event("right", now_us - 20 * MINUTE_US), times_ms=[now_us // 1000])
        wait_for(lambda: len(pipeline.rows()) + len(pipeline.rows(small.LETTERS)) == 2, "both records", 180)
        seen_us = micros_now()
        marks = wait_for(lambda: all(watermark(worker)) and watermark(worker), "the watermark", 180)
        worker.stop()
        pipeline.check_offsets([("a", 0, offset) for offset in ((0, 1) if is_row else (1,))], name)
        letters = [(row["offset"], row["stage"], row["reason"]) for row in pipeline.rows(small.LETTERS)]
        if letters != ([] if is_row else [(0, "event_time", "future_timestamp")]):
            raise Failure(f"{name}: dead letters {letters}")
        for mark in marks:
            # What is ahead of the clock by less than max_future counts as now; further ahead, it says nothing.
            latest = min(payload, 0) if payload <= 5 else -20
            wanted_us = max(now_us + latest * MINUTE_US, now_us - 20 * MINUTE_US) - 1_000_000
            # Now is when the record was looked at.
            most_us = seen_us - 1_000_000 if payload in range(1, 6) else wanted_us + 1
            if not wanted_us - 1 <= mark <= most_us:
                raise Failure(f"{name}: the watermark is {(mark - now_us) / 1e6:.1f} s from now, "
                              f"right is {(wanted_us - now_us) / 1e6:.1f} s")
        say(f"    {name}: {'a row' if is_row else 'a dead letter'}, watermark {(marks[0] - now_us) / 1e6:.1f} s from now")
        pipeline.check_audit(worker)


def idle(case):
    """All partitions idle, then an old event on another one, then a restart: the watermark stays known and never goes back."""
    pipeline = small.Small(case, "idle")
    pipeline.create_topics("a")
    settings = {"topics": ["a"], "event_time": "{column: ts, watermark_delay: 1s, idle_timeout: 1s}"}
    worker = pipeline.run(**settings)
    small.wait_until_ready(worker)
    now_us = micros_now()
    pipeline.send("a", 0, event("now", now_us))
    wanted = (now_us - 1_000_000,) * 2
    wait_for(lambda: watermark(worker) == wanted, "the watermark of the first event", 180)

    def stays(what, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if watermark(worker) != wanted:
                raise Failure(f"{what}: the watermark went from {wanted} to {watermark(worker)}")
            time.sleep(0.02)
    stays("all idle", 2.5)
    pipeline.send("a", 1, event("two hours old", now_us - 120 * MINUTE_US))
    wait_for(lambda: len(pipeline.rows()) == 2, "the old event, which is a row", 180)
    stays("an old event", 1.5)
    worker.stop()
    worker = pipeline.run(**settings)
    wait_for(lambda: worker.pipeline() and worker.partitions(), "the partitions", 180)
    wait_for(lambda: watermark(worker)[0] is not None, "the watermark after the restart, without a record", 180)
    stays("after the restart", 1)
    worker.kill()
    worker = pipeline.run(**settings)
    wait_for(lambda: worker.pipeline() and worker.partitions(), "the partitions", 180)
    pipeline.send("a", 1, event("an hour old", now_us - 60 * MINUTE_US))
    wait_for(lambda: len(pipeline.rows()) == 3, "the third event", 180)
    stays("an old event after a kill", 1)
    worker.stop()
    pipeline.check_offsets([("a", 0, 0), ("a", 1, 0), ("a", 1, 1)], "idle")
    pipeline.check_audit(worker)


CASES = [devices, idle]

if __name__ == "__main__":
    cases.main("clocks", CASES)
