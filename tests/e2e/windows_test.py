"""Goal: an aggregate of each kind of window, from the log through the lake to HTTP with a restart in between, half of its rows
committed and half of them in memory, says what Python makes of the raw events.
"""
import collections
import datetime
import json
import signal
import subprocess
import time
import urllib.parse
import urllib.request
import zoneinfo

from product import BINARY, FOLDER, PIPELINE, claim, end, free_port, millrace

UTC = datetime.timezone.utc
BERLIN = "Europe/Berlin"
EVENTS = 3000  # In each of the two runs.
AGGREGATES = f"""aggregates:
  - name: hops
    sql: SELECT window_start, window_end, country, count(*) AS n FROM HOP(input, ts, INTERVAL 2 SECOND, INTERVAL 12 SECOND) GROUP BY ALL
    commit: {{interval: 1h}}
  - name: so_far
    sql: SELECT window_start, window_end, country, count(*) AS n FROM CUMULATE(input, ts, INTERVAL 1 HOUR, INTERVAL 1 DAY) GROUP BY ALL
    commit: {{interval: 1h}}
  - name: days
    sql: SELECT window_start, window_end, country, count(*) AS n FROM TUMBLE(input, ts, INTERVAL 1 DAY, '{BERLIN}') GROUP BY ALL
    commit: {{interval: 1h}}
  - name: visits
    sql: SELECT window_start, window_end, country, count(*) AS n FROM SESSION(input, ts, INTERVAL '200 milliseconds') GROUP BY ALL
    commit: {{interval: 1h}}
  - name: for_ever
    sql: SELECT country, count(*) AS n FROM input GROUP BY ALL
    commit: {{interval: 1h}}
"""


def ask(port, aggregate, **parameters):
    query = urllib.parse.urlencode({**parameters, "limit": 100000})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/aggregates/{aggregate}?{query}", timeout=60) as response:
        return json.load(response)["data"]


def time_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def windows_of(aggregate, ts):
    """(start, end) of each window that an event is in."""
    def floor(step):
        return ts - (ts - datetime.datetime(1970, 1, 1, tzinfo=UTC)) % step

    if aggregate == "hops":
        slide = datetime.timedelta(seconds=2)
        return [(floor(slide) - i * slide, floor(slide) - i * slide + 6 * slide) for i in range(6)]
    if aggregate == "so_far":
        day, hour = floor(datetime.timedelta(days=1)), datetime.timedelta(hours=1)
        return [(day, day + (i + 1) * hour) for i in range(24) if ts < day + (i + 1) * hour]
    if aggregate == "days":
        zone = zoneinfo.ZoneInfo(BERLIN)
        date = ts.astimezone(zone).date()
        return [tuple(datetime.datetime.combine(d, datetime.time(), zone).astimezone(UTC)
                      for d in (date, date + datetime.timedelta(days=1)))]
    return [()]


def sessions(events, gap):
    times = collections.defaultdict(list)
    for ts, country in events:
        times[country].append(ts)
    found = collections.Counter()
    for country, all_times in times.items():
        all_times.sort()
        begins = [i for i, ts in enumerate(all_times) if i == 0 or ts - all_times[i - 1] >= gap] + [len(all_times)]
        for begin, end_ in zip(begins, begins[1:]):
            found[(all_times[begin], all_times[end_ - 1] + gap, country)] = end_ - begin
    return found


def counted(aggregate, events):
    if aggregate == "visits":
        return sessions(events, datetime.timedelta(milliseconds=200))
    return collections.Counter((*window, country) for ts, country in events for window in windows_of(aggregate, ts))


def answered(rows):
    counts = collections.Counter()
    for row in rows:
        window = (time_of(row["window_start"]), time_of(row["window_end"])) if "window_start" in row else ()
        counts[(*window, row["country"])] += row["n"]
    claim(len(counts) == len(rows), "a row a group", rows[:5])
    return counts


def until(what, condition):
    deadline = time.monotonic() + 180
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def main():
    port = free_port()
    (FOLDER / "p.yaml").write_text(PIPELINE + AGGREGATES + f'serve: {{listen: "127.0.0.1:{port}"}}\n')
    simulate = ("simulate", "clickstream", "--count", str(EVENTS), "--rate", "0", "--duplicates", "0%", "--malformed", "0%",
                "--late", "20%", "--to", "embedded:log/clicks")
    millrace(*simulate)
    millrace("run", "-c", "p.yaml", "--until-end")
    millrace(*simulate, "--seed", "2")
    running = subprocess.Popen([BINARY, "run", "-c", "p.yaml"], cwd=FOLDER)
    try:
        until("all events in the answers", lambda: sum(row["n"] for row in ask(port, "for_ever")) == 2 * EVENTS)
        hot = {name: answered(ask(port, name)) for name in ("hops", "so_far", "days", "visits", "for_ever")}
        committed = sum(row["n"] for row in ask(port, "for_ever", freshness="committed"))
        claim(committed == EVENTS, "half of the rows are only in memory", committed)
        first = min(key[0] for key in hot["hops"])
        edge = first + datetime.timedelta(seconds=4)
        part = answered(ask(port, "hops", **{"from": first.isoformat(), "to": edge.isoformat()}))
        middle = sorted(key[0] for key in hot["visits"])[len(hot["visits"]) // 2]
        later = answered(ask(port, "visits", **{"from": middle.isoformat()}))
        once = ask(port, "hops", step="0", group_by="country")
        listed = {a["name"]: a["window"] for a in json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/aggregates"))["aggregates"]}
    finally:
        running.send_signal(signal.SIGTERM)
        claim(running.wait(timeout=120) == 0, "it ends well")

    read = millrace("lake", "read", "lake/clicks", "-o", "ndjson").stdout
    events = [(time_of(row["ts"]), row["country"]) for row in map(json.loads, read.splitlines())]
    claim(len(events) == 2 * EVENTS, "all events are in the table", len(events))
    for name, got in hot.items():
        claim(got == counted(name, events), f"{name}: hot and committed together", (got, counted(name, events)))
    wanted = counted("hops", events)
    claim(part == collections.Counter({k: n for k, n in wanted.items() if first <= k[0] < edge}), "hops: at the edges", part)
    wanted = counted("visits", events)
    claim(1 < max(wanted.values()) and len(wanted) > 100, "visits: sessions of several events", wanted)
    claim(later == collections.Counter({k: n for k, n in wanted.items() if middle <= k[0]}), "visits: from one on", later)
    claim(sum(row["n"] for row in once) == 2 * EVENTS, "hops: each event once", once)
    claim(listed == {"hops": "12s every 2s", "so_far": "up to 1d every 1h", "visits": "sessions 200ms apart",
                     "days": f"1d {BERLIN}", "for_ever": "none"}, "the windows are listed", listed)
    for name in ("hops", "visits", "for_ever"):
        rows = json.loads(millrace("query", name, "-c", "p.yaml", "-o", "json").stdout)
        rows = rows["data"] if isinstance(rows, dict) else rows
        claim(answered(rows) == counted(name, events), f"{name}: from the lake alone", rows[:3])
    millrace("audit", "-c", "p.yaml")
    end()


main()
