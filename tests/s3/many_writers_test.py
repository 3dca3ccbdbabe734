#!/usr/bin/env python3
"""Eight processes append to one table on MinIO while 30 % of all requests fail and some of the processes are killed: every
row exactly once, versions without a gap, read by deltalake.

    many_writers_test.py PATH_OF_append_rows [--commits N] [--seed N]
"""
import argparse
import collections
import json
import os
import random
import subprocess

import deltalake

from s3_server import FaultProxy, Minio

PROCESSES = 8
ROWS_PER_COMMIT = 3
URI = "s3://lake/shared/table"


def start(binary, producer, commits, environment):
    return subprocess.Popen([binary, URI, str(producer), str(commits), str(ROWS_PER_COMMIT)], env=environment,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def append_with_kills(binary, commits, environment, proxy, choose):
    """Runs all to their end; kills some on the way, after as many forwarded requests as chance says, and starts them again."""
    running = {producer: start(binary, producer, commits, environment) for producer in range(PROCESSES)}
    kills = 0
    next_kill = proxy.counts()["forwarded"] + choose.randrange(20, 200)
    while running:
        for producer, process in list(running.items()):
            try:
                _, errors = process.communicate(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
            assert process.returncode == 0, f"producer {producer}: exit {process.returncode}\n{errors[-3000:]}"
            del running[producer]
        if running and proxy.counts()["forwarded"] > next_kill:
            producer = choose.choice(list(running))
            running[producer].kill()
            running[producer].communicate()
            running[producer] = start(binary, producer, commits, environment)
            kills += 1
            next_kill = proxy.counts()["forwarded"] + choose.randrange(50, 300)
    return kills


def check(server, commits):
    options = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": server.access_key,
               "AWS_SECRET_ACCESS_KEY": server.secret_key, "AWS_REGION": server.region}
    table = deltalake.DeltaTable(URI, storage_options=options)
    rows = table.to_pyarrow_table().to_pydict()
    found = collections.Counter(zip(rows["producer"], rows["seq"]))
    wanted = {(p, s) for p in range(PROCESSES) for s in range(1, commits * ROWS_PER_COMMIT + 1)}
    lost, doubled = wanted - set(found), [row for row, times in found.items() if times > 1]
    assert not lost and not doubled and set(found) == wanted, f"lost {sorted(lost)[:5]}, doubled {doubled[:5]}"

    keys = server.keys("lake", "shared/table/")
    versions = sorted(int(key.split("/")[-1][:20]) for key in keys if key.endswith(".json") and "_delta_log/0" in key)
    assert versions == list(range(PROCESSES * commits + 1)), f"{len(versions)} versions, the last is {versions[-1]}"
    txn_ids = [json.loads(server.get("lake", f"shared/table/_delta_log/{v:020}.json").split(b"\n")[0])["commitInfo"]["txnId"]
               for v in versions]
    assert len(set(txn_ids)) == len(txn_ids), "a transaction id is there twice"
    live = {uri.rsplit("/", 1)[1] for uri in table.file_uris()}
    stored = {key.rsplit("/", 1)[1] for key in keys if key.endswith(".parquet") and "_delta_log" not in key}
    assert live <= stored, f"live files are missing: {live - stored}"
    return len(stored - live), sum("checkpoint.parquet" in key for key in keys)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--commits", type=int, default=12, help="of each process")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with Minio() as server, FaultProxy(server.endpoint) as proxy:
        server.create_bucket("lake")
        proxy.random_faults(0.3, arguments.seed)
        environment = {**os.environ, **server.environment(proxy.endpoint)}
        kills = append_with_kills(arguments.binary, arguments.commits, environment, proxy, random.Random(arguments.seed))
        orphans, checkpoints = check(server, arguments.commits)
        counts = proxy.counts()
        faults = sum(counts.values()) - counts["forwarded"]
        print(f"{PROCESSES} processes, {PROCESSES * arguments.commits} commits, each row once; {counts['forwarded']} requests, "
              f"{faults} faults, {kills} kills, {checkpoints} checkpoints, {orphans} orphans, seed {arguments.seed}")


main()
