#!/usr/bin/env python3
"""Eight processes append to one table on MinIO while others compact it, write checkpoints, clean its log up and vacuum it, 30 %
of all requests fail and some of the processes are killed: every row exactly once, versions without a gap, and vacuum deletes
the files that nobody needs any more and no other, as this test finds them itself in the log. Read by deltalake.

    many_writers_test.py PATH_OF_append_rows PATH_OF_maintain_table [--commits N] [--seed N]
"""
import argparse
import collections
import io
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import deltalake
import pyarrow.parquet

from s3_server import FaultProxy, Minio

PROCESSES = 8
ROWS_PER_COMMIT = 3
BUCKET, TABLE = "lake", "shared/table"
URI = f"s3://{BUCKET}/{TABLE}"
# The promise that makes a vacuum with a short retention fair: an append is committed so soon or not at all. Between the two
# is room for the one request that was sent in time.
COMMIT_WITHIN_MS = 2_000
RETENTION_MS = 6_000
CLOCK_PREFIX = "_millrace_clock_"
# Only one process compacts, the one that vacuums: its own unfinished work is never in its own way.
# What they must have done beside the appends, or else this test shows nothing: kept_young are files that were spared.
UPKEEP_DONE = ["compacted", "checkpoints", "log_files", "vacuums", "vacuumed", "kept_young"]
UPKEEP = [["optimize", "checkpoint", "cleanup", "vacuum"], ["checkpoint", "cleanup"]]


class Processes:
    """Some of them are killed on the way, after as many forwarded requests as chance says, and started again."""

    def __init__(self, arguments, environment, proxy):
        self.append_rows, self.maintain_table = arguments.append_rows, arguments.maintain_table
        self.commits, self.environment, self.proxy = arguments.commits, environment, proxy
        self.choose = random.Random(arguments.seed)
        self.running, self.ended, self.rows = {}, [], {}
        self.kills = collections.Counter()

    def command(self, name):
        kind, number = name
        if kind == "append":
            return [self.append_rows, URI, number, self.commits, ROWS_PER_COMMIT, COMMIT_WITHIN_MS]
        return [self.maintain_table, URI, "run", RETENTION_MS, self.choose.randrange(1 << 30), *UPKEEP[number]]

    def start(self, name):
        output = tempfile.NamedTemporaryFile()
        process = subprocess.Popen([*map(str, self.command(name))], env=self.environment, stdin=subprocess.PIPE, stdout=output,
                                   stderr=output)
        self.running[name] = process, output

    def end(self, name, expect):
        process, output = self.running.pop(name)
        process.stdin.close()
        code = process.wait(300)
        text = pathlib.Path(output.name).read_text()
        assert code == expect, f"{name}: exit {code}\n{text[-3000:]}"
        self.ended += said(text)
        if name[0] == "append" and code == 0:
            [line] = said(text)
            self.rows[name[1]] = line["rows"]

    def run(self):
        """Until each appender has done its share, and upkeep has."""
        appenders = [("append", number) for number in range(PROCESSES)]
        for name in appenders + [("upkeep", number) for number in range(len(UPKEEP))]:
            self.start(name)
        enough = False
        next_kill = self.proxy.counts()["forwarded"] + self.choose.randrange(20, 200)
        while any(name in self.running for name in appenders):
            time.sleep(0.05)
            for name in list(self.running):
                if self.running[name][0].poll() is not None:
                    self.end(name, 0)
                    assert name in appenders, f"{name} stopped by itself"
            victims = [name for name in self.running if name in appenders or self.has_deleted(name)]
            if victims and self.proxy.counts()["forwarded"] > next_kill:
                name = self.choose.choice(victims)
                self.running[name][0].kill()
                if self.running[name][0].wait(300) == 0:
                    continue  # It was done before it could be killed.
                self.end(name, -signal.SIGKILL)
                self.start(name)
                self.kills[name[0]] += 1
                next_kill = self.proxy.counts()["forwarded"] + self.choose.randrange(50, 300)
            done = self.upkeep_done()
            enough = enough or all(done[what] > 0 for what in UPKEEP_DONE)
            for name in self.running if enough else []:
                if name in appenders:
                    self.running[name][0].stdin.close()
        for name in list(self.running):
            self.end(name, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process, _ in self.running.values():
            process.kill()
            process.wait()

    def has_deleted(self, name):
        """Upkeep is killed only after that, or on a busy machine it would never get so far."""
        return any("vacuums" in line or "log_files" in line for line in said(pathlib.Path(self.running[name][1].name).read_text()))

    def upkeep_done(self):
        """By its kind, how much."""
        done = collections.Counter()
        outputs = [said(pathlib.Path(output.name).read_text()) for _, output in self.running.values()]
        for line in self.ended + sum(outputs, []):
            done.update({what: count for what, count in line.items() if what != "rows"})
        return done


def said(text):
    """The lines that are JSON; the last one of a process that was killed may be half of one."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


class Lake:
    """The table as it lies on the server, read without our code and without faults."""

    def __init__(self, server):
        self.server = server
        self.options = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": server.access_key,
                        "AWS_SECRET_ACCESS_KEY": server.secret_key, "AWS_REGION": server.region}

    def objects(self):
        """Name in the table -> last change, in Unix milliseconds."""
        return {key.removeprefix(TABLE + "/"): modified for key, modified in self.server.objects(BUCKET, TABLE + "/").items()}

    def read(self, name):
        return self.server.get(BUCKET, f"{TABLE}/{name}")

    def versions(self, ending):
        names = (name.removeprefix("_delta_log/") for name in self.objects())
        return sorted(int(name[:20]) for name in names if name[20:] == ending)

    def files(self):
        """The live files, and those removed with the time of it."""
        first = self.versions(".checkpoint.parquet")[-1]
        rows = pyarrow.parquet.read_table(io.BytesIO(self.read(f"_delta_log/{first:020}.checkpoint.parquet"))).to_pylist()
        for version in self.versions(".json"):
            if version > first:
                rows += map(json.loads, self.read(f"_delta_log/{version:020}.json").splitlines())
        live, removed = set(), {}
        for row in rows:
            if add := row.get("add"):
                live.add(add["path"])
                removed.pop(add["path"], None)
            if remove := row.get("remove"):
                live.discard(remove["path"])
                removed[remove["path"]] = remove["deletionTimestamp"]
        return live, removed

    def data_files(self):
        """Names that begin with '_' or '.' are not the table's: the log, and what a killed process has left of its probe."""
        return {name: modified for name, modified in self.objects().items() if name[0] not in "_."}

    def clocks(self):
        """Left by processes that were killed between the writing and the deletion of one."""
        return {name: modified for name, modified in self.objects().items() if name.startswith(CLOCK_PREFIX)}

    def check_rows(self, appended):
        """`appended`: as each process says of itself."""
        table = deltalake.DeltaTable(URI, storage_options=self.options)
        rows = table.to_pyarrow_table().to_pydict()
        found = collections.Counter(zip(rows["producer"], rows["seq"]))
        wanted = {(producer, seq) for producer, count in appended.items() for seq in range(1, count + 1)}
        lost, doubled = wanted - set(found), [row for row, times in found.items() if times > 1]
        assert not lost and not doubled and set(found) == wanted, f"lost {sorted(lost)[:5]}, doubled {doubled[:5]}"
        for producer, count in appended.items():
            assert table.transaction_version(f"producer-{producer}") == count
        assert {uri.removeprefix(URI + "/") for uri in table.file_uris()} == self.files()[0], "deltalake sees other files"
        return table.version()

    def check_log(self, last):
        versions, checkpoints = self.versions(".json"), self.versions(".checkpoint.parquet")
        assert versions == list(range(versions[0], last + 1)), f"the log has a gap: {versions}"
        assert versions[0] <= checkpoints[-1], f"the log begins at {versions[0]}, without what was before: {checkpoints}"
        infos = [json.loads(self.read(f"_delta_log/{v:020}.json").splitlines()[0])["commitInfo"]["txnId"] for v in versions]
        assert len(set(infos)) == len(infos), "a transaction id is there twice"
        return versions[0]


def maintain(arguments, environment, *task):
    done = subprocess.run([arguments.maintain_table, URI, *map(str, task)], env=environment, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout or "{}")


def check_vacuum(lake, arguments, environment):
    """Two of them, to the millisecond: one between the files that may go, one after all. What each deleted is what it should."""
    live, removed = lake.files()
    before = lake.objects()
    files = lake.data_files()
    assert live <= set(files), f"live files are missing: {sorted(live - set(files))[:5]}"
    # A file may go once it is older than the cutoff, and so is its removal if there was one.
    free_since = {name: max(modified, removed.get(name, 0)) for name, modified in files.items() if name not in live}
    orphans = [name for name in free_since if name not in removed]
    files_removed = len(free_since) - len(orphans)
    assert orphans and files_removed, f"{len(free_since)} files to vacuum, {len(orphans)} of them orphans"
    free_since |= lake.clocks()
    middle = sorted(free_since.values())[len(free_since) // 2]
    for cutoff in [middle, int(time.time() * 1000) + 3_600_000]:
        gone = {name for name, since in free_since.items() if since < cutoff}
        maintain(arguments, environment, "vacuum", cutoff)
        left = lake.objects()
        assert set(left) == set(before) - gone, f"deleted {sorted(set(before) - set(left) - gone)[:5]} which it must not, " \
                                                f"left {sorted(set(left) & gone)[:5]}"
    assert set(lake.data_files()) == live
    return len(orphans), files_removed


def die_with_a_file(arguments, environment):
    """An append whose process dies between its file and its commit."""
    died = subprocess.run([arguments.append_rows, URI, "99", "1", str(ROWS_PER_COMMIT), str(COMMIT_WITHIN_MS)],
                          env={**environment, "MILLRACE_KILL_AT": "commit.before_put"}, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=300)
    assert died.returncode == -signal.SIGKILL, died


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("append_rows")
    parser.add_argument("maintain_table")
    parser.add_argument("--commits", type=int, default=25, help="of each process, at least")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    # The end of a test's time must not leave the server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Minio() as server, FaultProxy(server.endpoint) as proxy:
        server.create_bucket(BUCKET)
        environment = {**os.environ, **server.environment(proxy.endpoint)}
        subprocess.run([arguments.append_rows, URI, "0", "0", "1", str(COMMIT_WITHIN_MS)], env=environment, check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        lake = Lake(server)
        die_with_a_file(arguments, environment)
        [early] = lake.data_files()
        proxy.random_faults(0.3, arguments.seed)
        started = time.monotonic()
        with Processes(arguments, environment, proxy) as processes:
            processes.run()
        seconds = time.monotonic() - started
        counts = proxy.counts()
        proxy.quiet()

        last = lake.check_rows(processes.rows)
        first = lake.check_log(last)
        assert min(processes.rows.values()) >= arguments.commits * ROWS_PER_COMMIT
        assert first > 0 and early not in lake.data_files(), "an orphan older than the retention is still there"
        die_with_a_file(arguments, environment)
        server.put(BUCKET, f"{TABLE}/{CLOCK_PREFIX}of-one-that-died", b"what time is it?")
        maintain(arguments, environment, "optimize")
        orphans, removed = check_vacuum(lake, arguments, environment)
        lake.check_rows(processes.rows)
        faults = sum(counts.values()) - counts["forwarded"]
        print(f"{PROCESSES} processes, {sum(processes.rows.values()) // ROWS_PER_COMMIT} appends, each row once; log of versions {first} to {last}; "
              f"upkeep beside them {dict(processes.upkeep_done())}; then {orphans} orphans and {removed} removed files vacuumed; "
              f"{seconds:.0f} s, {counts['forwarded']} requests, {faults} faults, kills {dict(processes.kills)}, seed {arguments.seed}")


main()
