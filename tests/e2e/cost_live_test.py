"""Goal: an estimate made from a running instance has the quantities that the store and the log really counted.

Method: `millrace demo` runs for some time (600 s with the label soak, 60 s otherwise). `cost estimate --from-live` then gives
monthly quantities; scaled to the time measured they must equal what was counted: requests by the store's own counters,
and, independently of any counter, the objects and bytes that the lake's own log names, and the records in the event log.

The tolerance is 5 %. A short run adds what does not scale with time: the requests that open six tables, and one commit of
each that may fall on either side of the end.
"""
import datetime
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

BINARY, SECONDS = sys.argv[1], int(sys.argv[2])
SECONDS_PER_MONTH = 2_628_000
TABLES = 6
COMMITS_EVERY_S = 10


def get(url):
    with urllib.request.urlopen(url, timeout=60) as reply:
        return reply.read().decode()


def metric(text, name, **labels):
    """The sum over all series of this name that have these labels."""
    total = 0.0
    for line in text.splitlines():
        match = re.match(rf"{name}(?:{{(.*)}})? (\S+)$", line)
        if match and all(f'{key}="{value}"' in (match.group(1) or "") for key, value in labels.items()):
            total += float(match.group(2))
    return total


def commits(lake):
    """Every commit in the lake: its operation and its files with their sizes."""
    for path in lake.rglob("_delta_log/*.json"):
        actions = [json.loads(line) for line in path.read_text().splitlines()]
        operation = next((a["commitInfo"]["operation"] for a in actions if "commitInfo" in a), "")
        yield operation, {(str(path.parent), a["add"]["path"]): a["add"]["size"] for a in actions if "add" in a}


def commits_in(lake):
    return sum(operation == "STREAMING UPDATE" for operation, _ in commits(lake))


def objects_of(lake):
    """Files that ingest added, with their sizes; how many objects upkeep wrote; checkpoints.

    Upkeep (compaction, folding) comes in rounds of its own and is no part of what a commit costs."""
    adds, upkeep = {}, 0
    for operation, files in commits(lake):
        if operation == "STREAMING UPDATE":
            adds.update(files)
        elif operation != "CREATE TABLE":
            upkeep += len(files) + 1
    return adds, upkeep, len(list(lake.rglob("_delta_log/*.checkpoint*.parquet")))


def is_measured(pipeline):
    """For as long as the instance counts it, and no table's commit is overdue: this machine may be slow, or stand still."""
    last = [table["last_commit"] for table in pipeline["tables"]]
    if pipeline["uptime_seconds"] < SECONDS or None in last:
        return False
    oldest = min(datetime.datetime.fromisoformat(at.replace("Z", "+00:00")) for at in last)
    return datetime.datetime.now(datetime.timezone.utc) - oldest < datetime.timedelta(seconds=COMMITS_EVERY_S / 2)


def quantities(url):
    done = subprocess.run([BINARY, "cost", "estimate", "--from-live", url, "--provider", "aws", "--format", "json",
                           "--lake-retention", "30d"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    found = {}
    for resource in document["projects"][0]["breakdown"]["resources"]:
        for component in resource["costComponents"]:
            found[component["sku"]] = found.get(component["sku"], 0) + float(component["monthlyQuantity"])
    usage = {field["name"]: field for field in document["usage"]}
    return found, usage


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-cost-"))
    lake = folder / "demo" / "lake"
    demo = subprocess.Popen([BINARY, "demo", "--rate", "5000", "--dir", str(folder / "demo"), "--port", "0"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    threading.Thread(target=lambda: lines.extend(iter(demo.stdout.readline, "")), daemon=True).start()
    try:
        deadline = time.time() + 180
        while not any("v1/pipeline" in line for line in lines):
            assert time.time() < deadline and demo.poll() is None, "the demo did not start: " + "".join(lines)
            time.sleep(0.1)
        url = re.search(r"Page\s+(\S+?)/\n", "".join(lines)).group(1)
        deadline = time.time() + 10 * SECONDS
        while not is_measured(json.loads(get(url + "/v1/pipeline"))):
            assert time.time() < deadline, f"no commit of each table soon after {SECONDS} s"
            time.sleep(1)
        get(url + "/v1/aggregates/clicks_1m?from=-1h&group_by=country")

        monthly, usage = quantities(url)
        metrics = get(url + "/metrics")
        pipeline = json.loads(get(url + "/v1/pipeline"))
        elapsed = float(re.search(r"measured over (\d+)", usage["events_per_second"]["origin"]).group(1))
        adds, upkeep, checkpoints = objects_of(lake)
        scale = elapsed / SECONDS_PER_MONTH
        events = float(usage["events_per_second"]["value"]) * elapsed
        stored_gb = monthly["aws.s3.standard.storage"]  # Kept 30 days: what 30 days bring.

        # What has been read but waits for its commit is in no file yet.
        lag = sum(table["committed_lag_records"] for table in pipeline["tables"] if table["name"] in ("clicks", "readings"))
        stored = stored_gb * 1e9 * elapsed / (30 * 86_400) * (1 - lag / pipeline["totals"]["records"])

        edge = COMMITS_EVERY_S / elapsed
        lists = metric(metrics, "millrace_store_requests_total", kind="list")  # Billed as PUT requests are.
        checks = [
            ("PUT requests, by the store's counter", monthly["aws.s3.standard.put"] * scale,
             metric(metrics, "millrace_store_requests_total", kind="put") + lists - upkeep, 2 * TABLES),
            ("PUT requests, by the objects in the lake", monthly["aws.s3.standard.put"] * scale,
             len(adds) + commits_in(lake) + 2 * checkpoints + lists, 2 * TABLES),
            ("GET and HEAD requests", monthly["aws.s3.standard.get"] * scale,
             metric(metrics, "millrace_store_requests_total", kind="get")
             + metric(metrics, "millrace_store_requests_total", kind="head"), 2 * TABLES),
            ("bytes of data files, by the lake's log", stored, sum(adds.values()), 0),
            ("bytes of data files, by the worker", stored,
             metric(metrics, "millrace_file_bytes_committed_total"), 0),
            ("events, by the log's offsets", events, sum(p["end_offset"] for p in pipeline["source"]["partitions"]), 0),
            ("payload bytes", events * float(re.sub(r"[a-zA-Z]+$", "", usage["bytes_per_event"]["value"])),
             metric(metrics, "millrace_bytes_total"), 0),
        ]
        failed = []
        for name, modelled, counted, more in checks:
            deviation = abs(modelled - counted) / max(counted, 1)
            allowed = 0.05 + (edge if SECONDS < 600 else 0) + (more / max(counted, 1) if SECONDS < 600 else 0)
            print(f"{name}: modelled {modelled:,.0f}, counted {counted:,.0f}, {100 * deviation:.1f} % apart over {elapsed:.0f} s")
            if deviation > allowed:
                failed.append(f"{name}: {100 * deviation:.1f} % apart, {100 * allowed:.1f} % allowed")
        assert not failed, "; ".join(failed)
        print(f"{len(checks)} passed, 0 failed")
    finally:
        demo.kill()
        demo.wait()
    shutil.rmtree(folder)


main()
