"""Goal: what each earlier release has left behind, this program goes on with exactly once: offsets, aggregates, final and routed tables,
dead letters, remembered keys, the embedded log.

Method: the fixture of a release has read a part of its log. This program reads the rest, and what it appends itself; then it reads
the whole log again into a lake of its own. Both must be the same, and their events those that were sent, once each.

Usage: upgrade_test.py PATH_OF_millrace PATH_OF_append_records
"""
import json
import pathlib
import sys
import tarfile
import tempfile
import time

from deltalake import DeltaTable

import pipeline_of_all as of_all

BINARY, APPEND_RECORDS = sys.argv[1:3]
HERE = pathlib.Path(__file__).resolve().parent
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def rows(table, *columns):
    got = DeltaTable(str(table)).to_pyarrow_table()
    return sorted(map(str, got.select(list(columns) or sorted(got.column_names)).to_pylist()))


def answer(folder, aggregate, file):
    """As an aggregate's table and its revisions are folded differently, what it says."""
    measures = {"minutes": "n, amount, ids, middle, top, least, often", "sessions": "n", "totals": "n, mean"}[aggregate]
    keys = "country" if aggregate == "totals" else "window_start, country"
    said = of_all.run(BINARY, folder, "sql", "-c", f"{file}.yaml", "-o", "json",
                      f"SELECT {keys}, {measures} FROM {aggregate} ORDER BY ALL")
    return json.loads(said.stdout)["data"]


def newest_revisions(table):
    newest = {}
    for row in DeltaTable(str(table)).to_pyarrow_table().to_pylist():
        key = (row["window_start"], row["country"])
        if key not in newest or newest[key]["revision"] < row["revision"]:
            newest[key] = row
    return sorted(str({k: v for k, v in row.items() if k not in ("revision", "final_at")}) for row in newest.values())


def next_version(table, change):
    """Commits metaData once more, changed."""
    commits = sorted((table / "_delta_log").glob("*.json"))
    for commit in reversed(commits):
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            if "metaData" in action:
                change(action["metaData"])
                number = int(commits[-1].name.split(".")[0]) + 1
                (table / "_delta_log" / f"{number:020}.json").write_text(json.dumps(action) + "\n")
                return
    raise AssertionError(f"no metaData in {table}")


def goes_on(fixture, folder):
    with tarfile.open(fixture) as archive:
        for member in archive:
            member.mtime = time.time()  # State that is old is removed as of nobody's use.
            archive.extract(member, folder, filter="data")
    read_before = sum(t["read"] for t in json.loads(of_all.run(BINARY, folder, "audit", "-c", "p.yaml", "-o", "json").stdout)["tables"]
                      if t["name"] == "clicks")
    sent = [len(list(of_all.records(stage))) for stage in range(len(of_all.STAGES))]
    claim(read_before == sent[0] + sent[1], "the release has read two stages", read_before)

    journals = {path: path.read_bytes() for path in folder.glob("state/upgrade/dedupe/*/journal-*")}
    said = of_all.run(BINARY, folder, "run", "-c", "p.yaml", "--until-end").stderr
    claim(len(journals) == 4 and all(path.read_bytes().startswith(was) and path.stat().st_size > len(was) for path, was in journals.items()),
          "the local state is gone on with", said)
    of_all.append(APPEND_RECORDS, folder, 3)
    of_all.run(BINARY, folder, "run", "-c", "p.yaml", "--until-end")
    report = json.loads(of_all.run(BINARY, folder, "audit", "-c", "p.yaml", "-o", "json").stdout)
    claim(report["ok"], "the books balance", report)
    clicks = next(t for t in report["tables"] if t["name"] == "clicks")
    repeats = sum(len(again) for _, again, _ in of_all.STAGES)
    claim((clicks["read"], clicks["deduplicated"]) == (sum(sent), repeats), "each record was read once, each repeat known", clicks)

    lake = folder / "lake"
    good = [n for new, _, _ in of_all.STAGES for n in new if float(of_all.event(n)["amount"]) >= 0]
    ids = sorted(row["id"] for row in DeltaTable(str(lake / "clicks")).to_pyarrow_table(columns=["id"]).to_pylist())
    claim(ids == sorted(f"e{n}" for n in good), "each event is in its table once", len(ids))
    broken = sum(len(b) for _, _, b in of_all.STAGES)
    letters = rows(lake / "upgrade_dead_letters", "partition", "offset")
    claim(len(letters) == len(set(letters)) == broken, "each broken one is a dead letter once", letters)

    file = (folder / "p.yaml").read_text()
    (folder / "fresh.yaml").write_text(file.replace("uri: lake", "uri: fresh").replace("path: state", "path: fresh-state"))
    of_all.run(BINARY, folder, "run", "-c", "fresh.yaml", "--until-end")
    fresh = folder / "fresh"
    claim({p.name for p in lake.iterdir()} == {p.name for p in fresh.iterdir()}, "the same tables", list(fresh.iterdir()))
    for table in ["clicks", "upgrade_dead_letters", *(f"of_{c}" for c in of_all.COUNTRIES)]:
        claim(rows(lake / table) == rows(fresh / table), f"{table} is as if this version had made it")
    for aggregate in ("minutes", "sessions", "totals"):
        ours, anew = answer(folder, aggregate, "p"), answer(folder, aggregate, "fresh")
        claim(ours and ours == anew, f"{aggregate} answers the same", (ours, anew))
    claim(newest_revisions(lake / "minutes_final") == newest_revisions(fresh / "minutes_final"), "so do final rows")


def kept_is_documented(folder):
    """docs/formats.md has every id and property that is in the tables."""
    page = (HERE.parents[1] / "docs" / "formats.md").read_text()
    for log in sorted((folder / "lake").glob("*/_delta_log/*.json")):
        for action in map(json.loads, log.read_text().splitlines()):
            if "txn" in action:
                mark = action["txn"]["appId"].rpartition("#")[1:]
                claim(mark[0] == "" or "#" + mark[1].split(":")[0] in page, "an id is documented", action)
            for name in action.get("metaData", {}).get("configuration", {}):
                part = name.rpartition(".")[2]
                claim(name.startswith("delta.") or f"`{name}`" in page or f"`.{part}`" in page, "a property is documented", name)


def newer_is_refused(folder):
    """What a later version may have changed is named, and left alone."""
    for table, name in [("clicks", "clicks"), ("minutes", "minutes"), ("of_routes", "of_{country}"), ("minutes_final", "minutes_final")]:
        next_version(folder / "lake" / table, lambda metadata: metadata["configuration"].update({"millrace.format": "2"}))
        before = sorted(str(p) for p in (folder / "lake").rglob("*"))
        said = of_all.run(BINARY, folder, "run", "-c", "p.yaml", "--until-end", code=1).stderr
        claim(f"table {name}: " in said and "format 2" in said, f"a newer format of {table} is refused by name", said)
        claim(sorted(str(p) for p in (folder / "lake").rglob("*")) == before, "and nothing is changed")
        sorted((folder / "lake" / table / "_delta_log").glob("*.json"))[-1].unlink()
    protocol = folder / "lake" / "clicks" / "_delta_log"
    number = int(sorted(protocol.glob("*.json"))[-1].name.split(".")[0]) + 1
    (protocol / f"{number:020}.json").write_text('{"protocol":{"minReaderVersion":4,"minWriterVersion":8}}\n')
    said = of_all.run(BINARY, folder, "run", "-c", "p.yaml", "--until-end", code=1).stderr
    claim("clicks" in said and "version 4" in said, "a newer Delta protocol is refused by name", said)


fixtures = sorted(HERE.glob("*.tar.xz"))
claim(fixtures, "there is a fixture")
for one in fixtures:
    with tempfile.TemporaryDirectory(prefix="millrace-upgrade-") as place:
        goes_on(one, pathlib.Path(place))
        kept_is_documented(pathlib.Path(place))
        newer_is_refused(pathlib.Path(place))
print(f"{passed} passed, 0 failed")
