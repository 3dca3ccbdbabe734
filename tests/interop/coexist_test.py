"""A writer of ours goes on while deltalake appends, compacts, deletes, changes the schema and writes checkpoints in the same
table. In the end every row of ours is there once, deltalake's rows are as it left them, and our offsets are kept.

Usage: coexist_test.py PATH_OF_write_table PATH_OF_millrace
"""

import json
import os
import subprocess
import sys
import tempfile

import pyarrow
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.schema import PrimitiveType

WRITE_TABLE, MILLRACE = sys.argv[1:3]
FOREIGN = 1_000_000
EPOCHS = 120


def run(*args):
    done = subprocess.run(args, capture_output=True, text=True)
    assert done.returncode == 0, f"{args}: {done.stderr}"
    return done.stdout.strip()


def patiently(action):
    """Another writer was first: deltalake gives up where its operation would have to be planned again."""
    for _ in range(50):
        try:
            return action()
        except DeltaError:
            continue
    raise AssertionError("lost fifty races in a row")


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "table")
        run(WRITE_TABLE, "create", path)
        template = DeltaTable(path).to_pyarrow_table().slice(0, 10)
        ingest = subprocess.Popen([WRITE_TABLE, "ingest", path, str(EPOCHS)], stderr=subprocess.PIPE, text=True)
        foreign, next_id, rounds, altered = set(), FOREIGN, 0, False
        while ingest.poll() is None or rounds < 3:
            ids = list(range(next_id, next_id + 10))
            rows = template.set_column(template.schema.get_field_index("id"), template.schema.field("id"),
                                       pyarrow.array(ids, pyarrow.int64()))
            patiently(lambda: write_deltalake(path, rows, mode="append", schema_mode="merge"))
            foreign.update(ids)
            next_id += 10
            patiently(lambda: DeltaTable(path).optimize.compact())
            gone = ids[0]
            patiently(lambda: DeltaTable(path).delete(f"id = {gone}"))
            foreign.discard(gone)
            DeltaTable(path).create_checkpoint()
            if not altered:
                patiently(lambda: DeltaTable(path).alter.add_columns([Field("later", PrimitiveType("string"))]))
                altered = True
            if rounds % 2 == 1:
                run(MILLRACE, "lake", "optimize", path)
            rounds += 1
        assert ingest.returncode == 0, ingest.stderr.read()

        ours = 4000 + 20 * EPOCHS
        table = DeltaTable(path)
        assert table.transaction_version("interop-0") == ours - 1
        got = sorted(table.to_pyarrow_table(columns=["id"]).column("id").to_pylist())
        want = sorted(list(range(ours)) + sorted(foreign))
        assert got == want, f"{len(got)} rows, expected {len(want)}"
        read = [json.loads(line)["id"] for line in run(MILLRACE, "lake", "read", path, "--columns", "id").splitlines()]
        assert sorted(read) == want
        described = json.loads(run(MILLRACE, "lake", "describe", path, "-o", "json"))
        assert described["columns"][-1]["name"] == "later"

        # Nobody is writing now: everything but the newest version may go, and we go on.
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        run(WRITE_TABLE, "append", path, "20")
        got = DeltaTable(path).to_pyarrow_table(columns=["id"]).num_rows
        assert got == len(want) + 20, got

        # A constraint that we do not verify: refused by name, and nothing is written.
        DeltaTable(path).alter.add_constraint({"positive": "id >= 0"})
        before = DeltaTable(path).version()
        done = subprocess.run([WRITE_TABLE, "append", path, "20"], capture_output=True, text=True)
        assert done.returncode == 1 and "positive" in done.stderr, done.stderr
        assert DeltaTable(path).version() == before
        print(f"coexist_test: {rounds} rounds beside {EPOCHS} commits of ours, every row once")


if __name__ == "__main__":
    main()
