#!/usr/bin/env python3
"""Plants defects in a copy of the tree, one at a time, and says how many seeds the simulator needs to find each.

    tests/simulation/defects.py --copy FOLDER [--seeds 2000] [--only NAME...] [--build COMMAND]

FOLDER becomes a copy of the tracked files. Every defect of the list is written into it beside the right code, behind a
switch that the environment turns (MILLRACE_PLANTED=name), so that one build serves all. The tree itself is never touched.
Exit 1: a defect was not found, or the copy fails without any.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

SWITCH = """/// Whether the defect of this name is planted. Of defects.py only.
#pragma once
#include <cstdlib>
#include <cstring>
namespace millrace {
inline bool Planted(const char* name) {
  static const char* const planted = std::getenv("MILLRACE_PLANTED");
  return planted != nullptr && std::strcmp(planted, name) == 0;
}
}  // namespace millrace
"""

# name, what it is, [(file, the right code, the same with the defect)]. The right code is there exactly once.
DEFECTS = [
    ("no_fence", "a commit goes through though another worker has moved the offsets",
     [("src/delta/table.cc",
       "if (auto fenced = FindFence(request, base)) return *std::move(fenced);",
       'if (auto fenced = FindFence(request, base); fenced && !Planted("no_fence")) return *std::move(fenced);')]),
    ("fence_by_snapshot", "an epoch is fenced by what the table says now, not by what it was planned from",
     [("src/pipeline/epoch_commit.cc",
       "request.fence[progress.AppId(source)] = part.fence;",
       'request.fence[progress.AppId(source)] = Planted("fence_by_snapshot") ? progress.Fence(*snapshot, source) '
       ': part.fence;')]),
    ("unknown_is_done", "a PUT without a reply counts as a commit",
     [("src/delta/table.cc",
       "    if (put.ok() && *put == objectstore::PutOutcome::kCreated) {",
       '    const bool unknown = !put.ok() && KindOf(put.status()) == ErrorKind::kUnknownOutcome;\n'
       '    if ((put.ok() && (*put == objectstore::PutOutcome::kCreated || Planted("exists_is_ours"))) ||\n'
       '        (unknown && Planted("unknown_is_done"))) {')]),
    ("exists_is_ours", "a version that is there counts as ours", []),  # In the same place as the one before.
    ("freed_name", "a commit counts under a name that the log's cleanup had freed",
     [("src/delta/table.cc", "  if (anchor) {\n", '  if (anchor || Planted("freed_name")) {\n'),
      ("src/delta/table.cc", "      if (looked.Holds(clock_)) {",
       '      if (Planted("freed_name") || looked.Holds(clock_)) {')]),
    ("letters_late", "dead letters are written after the table's commit",
     [("src/pipeline/worker_epochs.cc",
       "  const Status flushed = co_await FlushLetters();\n",
       '  Status flushed;\n  if (!Planted("letters_late")) flushed = co_await FlushLetters();\n'),
      ("src/pipeline/worker_epochs.cc",
       "  failed_resets_ = 0;\n  state.status.rows_rescued",
       '  if (Planted("letters_late")) co_await FlushLetters();\n  failed_resets_ = 0;\n  state.status.rows_rescued')]),
    ("letters_unfenced", "dead letters are written though another worker has written them",
     [("src/pipeline/epoch_commit.cc",
       "    if (fence != epoch.fence.end()) request.fence[txn.app_id] = fence->second;",
       '    if (fence != epoch.fence.end() && !Planted("letters_unfenced")) request.fence[txn.app_id] = fence->second;')]),
    ("letters_again", "letters that are durable are written again after a death",
     [("src/pipeline/shard.cc",
       "if (durable != partition.letter_stages.end() && letter.offset < durable->second) return;",
       'if (durable != partition.letter_stages.end() && letter.offset < durable->second && '
       '!Planted("letters_again")) return;'),
      ("src/pipeline/shard.cc",
       "if (partition.earlier != nullptr && letter.offset < partition.earlier->end) {",
       'if (partition.earlier != nullptr && letter.offset < partition.earlier->end && !Planted("letters_again")) {')]),
    ("letters_kept", "a reset keeps letters that are read again",
     [("src/pipeline/letter_book.cc",
       "void LetterBook::Discard() {\n",
       'void LetterBook::Discard() {\n  if (Planted("letters_kept")) return;\n')]),
    ("letters_twice", "dead letters count twice in limits.memory while they are taken for their commit",
     [("src/pipeline/worker_epochs.cc",
       "  const auto epoch = std::make_shared<const LetterEpoch>(letters_.Take());",
       '  if (Planted("letters_twice")) letters_memory_.Set(letters_.bytes());\n'
       '  const auto epoch = std::make_shared<const LetterEpoch>(letters_.Take());')]),
    ("upload_unchecked", "a data file whose upload failed is committed",
     [("src/delta/data/data_file_writer.cc",
       'RETURN_NOT_OK(WithContext(upload_->Finish(), "finishing data file {}", key_));',
       'const Status finished = WithContext(upload_->Finish(), "finishing data file {}", key_);\n'
       '    if (!Planted("upload_unchecked")) RETURN_NOT_OK(finished);')]),
    ("vacuum_young", "vacuum takes files that are on their way to a commit",
     [("src/delta/upkeep/vacuum.cc",
       "    if (object.modified / 1000 >= cutoff_ms) {",
       '    if (object.modified / 1000 >= cutoff_ms && !Planted("vacuum_young")) {')]),
    ("compact_the_gone", "compaction replaces files that another commit has replaced",
     [("src/delta/table.cc",
       "    if (base.files.Find(FileKey(remove.path, remove.deletion_vector)) == nullptr) {",
       '    if (base.files.Find(FileKey(remove.path, remove.deletion_vector)) == nullptr && '
       '!Planted("compact_the_gone")) {')]),
    ("files_wait", "files wait for their commit for longer than a vacuum waits for them",
     [("src/pipeline/worker_epochs.cc",
       "    if (valid_until && begun > *valid_until) {",
       '    if (valid_until && begun > *valid_until && !Planted("files_wait")) {')]),
    ("blind_after_cleanup", "a commit does not look whether the log's cleanup has passed it",
     [("src/delta/table.cc",
       "        confirmed = own->has_value();",
       '        confirmed = own->has_value() || Planted("blind_after_cleanup");')]),
    ("revoke_without_release", "partitions that are taken away are never given up",
     [("src/pipeline/worker.cc",
       "  co_return co_await AskLog(release);",
       '  if (Planted("revoke_without_release")) co_return Status::OK();\n  co_return co_await AskLog(release);')]),
    ("stale_taken", "records of before a seek are taken",
     [("src/pipeline/worker.cc",
       "  if (it == owned_.end() || it->second.generation != records.generation) return;",
       '  if (it == owned_.end() || (it->second.generation != records.generation && !Planted("stale_taken"))) return;'),
      ("src/pipeline/shard.cc",
       "it->second.generation != records.generation) return std::nullopt;",
       '(it->second.generation != records.generation && !Planted("stale_taken"))) return std::nullopt;')]),
    ("tombstones_uncounted", "tombstones are not in the ledger",
     [("src/pipeline/sink.cc",
       ".tombstones = counts.tombstones};",
       '.tombstones = Planted("tombstones_uncounted") ? 0 : counts.tombstones};')]),
    ("vacuum_by_own_clock", "upkeep judges by the worker's clock what is old",
     [("src/delta/upkeep/store_clock.cc",
       "  return (*written)->modified;",
       '  return Planted("vacuum_by_own_clock") ? SystemClock().Now() : (*written)->modified;')]),
    ("removed_by_own_clock", "what compaction and folding remove bears the worker's time, not the store's",
     [("src/delta/upkeep/compaction.cc",
       ".deletion_timestamp_ms = store_now / 1000,",
       '.deletion_timestamp_ms = Planted("removed_by_own_clock") ? SystemClock().Now() / 1000 : store_now / 1000,')]),
    ("tombstones_by_own_clock", "a checkpoint leaves out what was removed long ago by the worker's clock",
     [("src/delta/table.cc",
       "std::min(NowMillis(impl_->clock()), commit->modified / 1000)",
       'Planted("tombstones_by_own_clock") ? NowMillis(impl_->clock())\n'
       '                             : std::min(NowMillis(impl_->clock()), commit->modified / 1000)')]),
    ("expire_by_own_clock", "windows are removed by the worker's clock alone",
     [("src/pipeline/window_upkeep.cc",
       "std::min(cutoff, store_now - retention.count())",
       'Planted("expire_by_own_clock") ? cutoff : std::min(cutoff, store_now - retention.count())')]),
    ("expire_uncounted", "records of removed windows are not counted",
     [("src/pipeline/window_upkeep.cc",
       "{{ids.rows, rows_before.value_or(0) + result.rows, std::nullopt},",
       '{{ids.rows, rows_before.value_or(0) + (Planted("expire_uncounted") ? 0 : result.rows), std::nullopt},')]),
    ("hot_kept", "hot rows stay when they are committed, and look as if they were not",
     [("src/query/join_at_offsets.cc",
       "  if (placed.place == Place::kNext && !next) return {Place::kBelow};",
       '  if (placed.place == Place::kNext && !next) '
       'return {Planted("hot_kept") ? Place::kNext : Place::kBelow};')]),
    ("join_older", "hot rows are joined with a table that is older than they are",
     [("src/query/aggregate_reader.cc",
       "const bool is_older = look.snapshot->version < hot.version;",
       'const bool is_older = look.snapshot->version < hot.version && !Planted("join_older");'),
      ("src/query/aggregate_reader.cc",
       "first ? options_.table->Newest(at_least, limits.stop)",
       'first ? options_.table->Newest(Planted("join_older") ? -1 : at_least, limits.stop)')]),
    ("epochs_kept", "a reset keeps open epochs, and their records are read again",
     [("src/pipeline/shard.cc",
       "  for (auto& sink : sinks_) sink->Discard();",
       '  if (Planted("epochs_kept")) return;\n  for (auto& sink : sinks_) sink->Discard();')]),
    ("start_at_end", "a partition that a table does not know is read from its end",
     [("src/pipeline/start_plan.cc",
       "FirstStart(source, partition, positions, position, bounds, resolved);",
       'Planted("start_at_end") ? bounds.end : FirstStart(source, partition, positions, position, bounds, resolved);')]),
    ("start_in_memory", "a table is taken to stand where the table that is furthest behind does",
     [("src/pipeline/start_plan.cc",
       "  plan.read_from = plan.lowest;\n",
       '  if (Planted("start_in_memory")) {\n'
       '    for (auto& start : plan.tables) start.next = start.covered_from = plan.lowest;\n  }\n'
       '  plan.read_from = plan.lowest;\n')]),
    ("gap_uncovered", "a gap of the log is left out of what is covered",
     [("src/pipeline/start_plan.cc",
       "      start.next = bounds.begin;\n",
       '      start.next = bounds.begin;\n      if (Planted("gap_uncovered")) start.covered_from = start.next;\n')]),
    ("gap_unseen", "records that retention has taken are passed over though the file says stop",
     [("src/pipeline/start_plan.cc",
       "      if (source.on_retention_gap == config::OnRetentionGap::kStop) return BeforeTheLog(position, partition, bounds);",
       '      if (source.on_retention_gap == config::OnRetentionGap::kStop && !Planted("gap_unseen")) {\n'
       '        return BeforeTheLog(position, partition, bounds);\n      }')]),
    ("shorter_log", "a log that ends before a table's offset is read on from its end",
     [("src/pipeline/start_plan.cc",
       "    if (start.next > bounds.end) return BeyondTheLog(position, partition, bounds);",
       '    if (start.next > bounds.end && Planted("shorter_log")) start.next = start.covered_from = bounds.end;\n'
       '    if (start.next > bounds.end) return BeyondTheLog(position, partition, bounds);')]),
    ("no_fingerprint", "a log that has other records at a table's offset is not noticed",
     [("src/pipeline/start_sequence.cc",
       "    if (!fingerprint || *fingerprint == expected.fingerprint) continue;",
       '    if (!fingerprint || *fingerprint == expected.fingerprint || Planted("no_fingerprint")) continue;')]),
    ("cleanup_too_far", "the log's cleanup deletes the commit of the checkpoint that the log begins with, and the next",
     [("src/delta/upkeep/vacuum.cc",
       "    if (version && *version < begins_at) expired.push_back(object.key);",
       '    if (version && *version < begins_at + (Planted("cleanup_too_far") ? 2 : 0)) expired.push_back(object.key);')]),
    ("busy_wait", "the control loop does not wait for work",
     [("src/pipeline/worker.cc",
       "wake_.expires_after(is_short ? steady_clock::duration(20ms) : steady_clock::duration(500ms));",
       'wake_.expires_after(Planted("busy_wait") ? steady_clock::duration(10us)\n'
       '                      : is_short         ? steady_clock::duration(20ms)\n'
       '                                         : steady_clock::duration(500ms));')]),
    ("never_resumed", "partitions that were paused for want of memory stay so",
     [("src/pipeline/worker.cc",
       "resumed.empty() ? Status::OK() : consumer_->Resume(resumed)}",
       'resumed.empty() || Planted("never_resumed") ? Status::OK() : consumer_->Resume(resumed)}')]),
    ("stop_waits_for_store", "who leaves tries to commit for as long as the store is away",
     # Each of the three alone is made up for by the other two.
     [("src/pipeline/worker.cc",
       "    const bool all = co_await CutAllUntil(StopDeadline());",
       '    const bool all = co_await CutAllUntil(Planted("stop_waits_for_store") ? steady_clock::now() + 1h '
       ': StopDeadline());'),
      ("src/pipeline/worker.cc",
       "  for (const auto& table : tables_) table->table->store()->Interrupt();",
       '  if (Planted("stop_waits_for_store")) co_return;\n'
       '  for (const auto& table : tables_) table->table->store()->Interrupt();'),
      ("src/pipeline/worker_epochs.cc",
       "    if (stopping_) give_up = std::min(give_up.value_or(StopDeadline()), StopDeadline());",
       '    if (stopping_ && !Planted("stop_waits_for_store")) {\n'
       '      give_up = std::min(give_up.value_or(StopDeadline()), StopDeadline());\n    }')]),
    ("own_commit_unseen", "a commit whose reply was lost is not recognised",
     [("src/delta/table.cc",
       "if (!txn_id.empty() && TxnIdOf(actions) == txn_id) ours = version;",
       'if (!txn_id.empty() && TxnIdOf(actions) == txn_id && !Planted("own_commit_unseen")) ours = version;'),
      ("src/pipeline/epoch_commit.cc",
       "  if (epoch.files.empty()) return false;",
       '  if (epoch.files.empty() || Planted("own_commit_unseen")) return false;')]),
]


def run(command: list[str], **more) -> subprocess.CompletedProcess:
    return subprocess.run(command, text=True, capture_output=True, **more)


def copy_tree(copy: pathlib.Path, planted: set[str]) -> None:
    copy.mkdir(parents=True, exist_ok=True)
    files = run(["git", "ls-files", "-z"], cwd=ROOT, check=True).stdout.split("\0")
    for name in filter(None, files):
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # What is the same keeps its time, so that a second run builds little.
        if name in planted and target.exists():
            continue
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)


def plant(copy: pathlib.Path, defects) -> None:
    switch = copy / "src/base/planted.h"
    if not switch.exists():
        switch.write_text(SWITCH)
    texts: dict[str, str] = {}
    for name, _, places in defects:
        for file, right, wrong in places:
            text = texts.setdefault(file, (ROOT / file).read_text())
            if text.count(right) != 1:
                sys.exit(f"defect {name}: its place in {file} is there {text.count(right)} times")
            texts[file] = text.replace(right, wrong)
    for file, text in texts.items():
        text = re.sub(r'(#include ")', r'#include "base/planted.h"\n\1', text, count=1)
        target = copy / file
        if target.read_text() != text:
            target.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copy", required=True, type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=10_000, help="tried at most for each")
    parser.add_argument("--only", nargs="*", help="these alone")
    parser.add_argument("--build", default="cmake --preset dev && cmake --build --preset dev --target simulation",
                        help="run in the copy; makes build/dev/bin/simulation")
    parser.add_argument("--program", type=pathlib.Path, default=pathlib.Path("build/dev/bin/simulation"),
                        help="what the build makes, in the copy")
    parser.add_argument("--no-build", action="store_true", help="the copy is built already")
    arguments = parser.parse_args()
    copy = arguments.copy.resolve()
    if copy == ROOT or ROOT in copy.parents and not str(copy).startswith(str(ROOT / "build")):
        sys.exit("the copy must be outside of the tree")
    if not arguments.no_build:
        copy_tree(copy, {file for _, _, places in DEFECTS for file, _, _ in places})
        plant(copy, DEFECTS)
        built = subprocess.run(arguments.build, shell=True, cwd=copy)
        if built.returncode != 0:
            return 1
    program = copy / arguments.program
    chosen = [d for d in DEFECTS if not arguments.only or d[0] in arguments.only]
    sound = run([program, "--seeds", "50"])
    if sound.returncode != 0:
        print(sound.stdout[-3000:])
        sys.exit("without a defect the copy fails")
    print("| defect | what it is | seeds | found by |\n|---|---|---|---|", flush=True)
    missed = 0
    for name, what, _ in chosen:
        begun = time.monotonic()
        result = run([program, "--seeds", str(arguments.seeds)], env=os.environ | {"MILLRACE_PLANTED": name})
        found = re.search(r"^seed (\d+) failed", result.stdout, re.M)
        why = re.search(r"^seed \d+: at .*? happenings: (.*)$", result.stdout, re.M)
        if found is None:
            missed += 1
        text = why.group(1) if why else "-"
        print(f"| `{name}` | {what} | {found.group(1) if found else 'not in ' + str(arguments.seeds)} | "
              f"{text[:140].replace('|', '/')} |", flush=True)
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
