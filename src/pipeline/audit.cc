#include "pipeline/audit.h"

#include <arrow/array.h>
#include <arrow/scalar.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "delta/data/data_file.h"
#include "delta/table.h"
#include "ingest/records/splitter.h"
#include "model/event_batch.h"
#include "pipeline/final_table.h"
#include "pipeline/letter_scan.h"
#include "pipeline/open_tables.h"
#include "pipeline/places.h"
#include "pipeline/replay_log.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;

/// A dead letter's place and stage: enough to count by.
struct LetterKey {
  model::TopicPartition source;
  model::DocumentPlace place;
  std::string stage;
  std::int64_t replay;  // That wrote it; 0: none, it is of reading.
  auto operator<=>(const LetterKey&) const = default;
};

std::string TextAt(const arrow::Array& column, std::int64_t row) {
  const auto scalar = column.GetScalar(row);
  return scalar.ok() ? (*scalar)->ToString() : "";
}

/// Reads every live file once; what is wrong with a file becomes a finding.
template <typename Visit>
void VisitFiles(const delta::Table& table, const delta::Snapshot& snapshot, const std::vector<std::string>& columns,
                TableAudit& audit, Visit visit) {
  for (const auto& [path, file] : snapshot.files) {
    const auto batches = delta::ReadDataFile(*table.store(), snapshot, file, columns);
    if (!batches.ok()) {
      audit.findings.push_back(batches.status().message());
      continue;
    }
    ++audit.num_files;
    for (const auto& batch : *batches) visit(*batch);
  }
}

/// begin == the previous end, for every commit that the log's JSON still holds.
void CheckChain(const std::vector<delta::Table::HistoryEntry>& history, TableAudit& audit) {
  std::map<model::TopicPartition, model::OffsetRange> newer;
  for (const auto& entry : history) {  // Newest first.
    boost::system::error_code ec;
    const auto info = json::parse(entry.commit_info_json, ec);
    if (ec || !info.is_object() || !info.as_object().contains("millrace")) continue;
    const auto& ours = info.at("millrace");
    const auto* partitions = ours.is_object() ? ours.as_object().if_contains("partitions") : nullptr;
    if (partitions == nullptr || !partitions->is_array()) continue;
    for (const auto& item : partitions->as_array()) {
      const auto& object = item.as_object();
      const model::TopicPartition source{json::value_to<std::string>(object.at("topic")),
                                         json::value_to<std::int32_t>(object.at("partition"))};
      const model::OffsetRange range{object.at("begin").to_number<std::int64_t>(),
                                     object.at("end").to_number<std::int64_t>()};
      const auto it = newer.find(source);
      if (it == newer.end() && audit.next.contains(source) && audit.next.at(source) != range.end) {
        audit.findings.push_back(fmt::format("{}: the newest commit's books end at offset {}, but {} comes next",
                                             model::ToString(source), range.end, audit.next.at(source)));
      }
      if (it != newer.end() && it->second.begin != range.end) {
        audit.findings.push_back(fmt::format("{}: version {} ends at offset {}, but the next commit begins at {}",
                                             model::ToString(source), entry.version, range.end, it->second.begin));
      }
      newer[source] = range;
    }
  }
}

void CheckTotals(const Progress& progress, const delta::Snapshot& snapshot, TableAudit& audit) {
  for (const auto& [source, next] : audit.next) {
    const auto totals = progress.Totals(snapshot, source);
    const auto from = progress.BooksBeginAt(snapshot, source);
    audit.totals += totals;
    const auto replays = progress.ReplayTotals(snapshot, source);
    audit.replays += replays;
    if (replays.failed() < 0) {
      audit.findings.push_back(fmt::format("{}: of {} records run again, {} were written and {} filtered",
                                           model::ToString(source), replays.replayed, replays.written,
                                           replays.filtered));
    }
    if (!from) {
      audit.findings.push_back(fmt::format("{}: an offset, but no books", model::ToString(source)));
      continue;
    }
    if (!totals.Balances()) {
      audit.findings.push_back(
          fmt::format("{}: read {} + further {} is not written {} + dead-lettered {} + filtered {} + deduplicated {} + "
                      "tombstones {}",
                      model::ToString(source), totals.read, totals.further, totals.written, totals.dead_lettered,
                      totals.filtered, totals.deduplicated, totals.tombstones));
    }
  }
}

// Not of dead letters: a record may have several, of its documents and of the stages that it does not fit.
void CheckReads(const Progress& progress, const delta::Snapshot& snapshot, TableAudit& audit) {
  for (const auto& [source, next] : audit.next) {
    const auto from = progress.BooksBeginAt(snapshot, source);
    const auto read = progress.Totals(snapshot, source).read;
    if (!from || read <= next - *from) continue;
    audit.findings.push_back(fmt::format("{}: {} records read from the {} offsets [{}, {})", model::ToString(source),
                                         read, next - *from, *from, next));
  }
}

void CheckWritten(TableAudit& audit) {
  const auto written = audit.totals.written + audit.replays.written;
  if (audit.rows != written) {
    audit.findings.push_back(fmt::format("the books say {} rows were written, the files hold {}", written, audit.rows));
  }
}

bool HasColumn(const delta::Snapshot& snapshot, std::string_view name) {
  return snapshot.schema->GetFieldByName(std::string(name)) != nullptr;
}

/// A place as one number, in the same order: eight bytes a row, where there may be a billion. No log has 2^46 records.
std::int64_t Packed(model::DocumentPlace place) { return place.offset << 17 | (place.index + 1); }
static_assert(ingest::kMaxDocuments < (1 << 17));
model::DocumentPlace Unpacked(std::int64_t packed) {
  return {packed >> 17, static_cast<std::int32_t>(packed & 0x1FFFF) - 1};
}

using PlacesBySource = std::map<model::TopicPartition, std::vector<std::int64_t>>;  // Packed.

/// Rows, and where each came from: sorted; nothing if the table does not keep it.
PlacesBySource ReadEvents(const delta::Table& table, const delta::Snapshot& snapshot, TableAudit& audit) {
  const std::vector<std::string> provenance = {std::string(model::kTopicColumn), std::string(model::kPartitionColumn),
                                               std::string(model::kOffsetColumn)};
  const bool traceable =
      std::all_of(provenance.begin(), provenance.end(), [&](const auto& name) { return HasColumn(snapshot, name); });
  PlacesBySource places;
  auto columns = traceable ? provenance : std::vector<std::string>{snapshot.schema->field(0)->name()};
  if (traceable && HasColumn(snapshot, model::kIndexColumn)) columns.emplace_back(model::kIndexColumn);
  VisitFiles(table, snapshot, columns, audit, [&](const arrow::RecordBatch& batch) {
    audit.rows += batch.num_rows();
    if (!traceable) return;
    const auto& partition = static_cast<const arrow::Int32Array&>(*batch.column(1));
    const Places place(batch, model::kOffsetColumn, model::kIndexColumn);
    std::vector<std::int64_t>* list = nullptr;
    model::TopicPartition current{"", -1};
    const auto& topics = static_cast<const arrow::StringArray&>(*batch.column(0));
    for (std::int64_t i = 0; i < batch.num_rows(); ++i) {
      const std::string_view topic = topics.GetView(i);
      if (list == nullptr || current.partition != partition.Value(i) || current.topic != topic) {
        current = {std::string(topic), partition.Value(i)};
        list = &places[current];
      }
      list->push_back(Packed(place.At(i)));
    }
  });
  for (auto& [source, list] : places) std::sort(list.begin(), list.end());
  return places;
}

/// `begun`, `next`: what is covered, of which a partition may be missing.
void CheckPlaces(const PlacesBySource& places, const Progress& progress, const delta::Snapshot& snapshot,
                 const model::OffsetVector& begun, const model::OffsetVector& next, TableAudit& audit) {
  for (const auto& [source, list] : places) {
    const auto twice = std::adjacent_find(list.begin(), list.end());
    if (twice != list.end()) {
      audit.findings.push_back(fmt::format("{}: {} is in the table more than once", model::ToString(source),
                                           model::ToString(Unpacked(*twice))));
    }
    const auto first = begun.find(source);
    const auto from = first == begun.end() ? 0 : first->second;
    const auto after = next.find(source);
    const auto end = after == next.end() ? from : after->second;
    if (!list.empty() && (Unpacked(list.front()).offset < from || Unpacked(list.back()).offset >= end)) {
      audit.findings.push_back(fmt::format("{}: rows of offsets {} to {}, but [{}, {}) is covered",
                                           model::ToString(source), Unpacked(list.front()).offset,
                                           Unpacked(list.back()).offset, from, end));
    }
    const auto written = progress.Totals(snapshot, source).written + progress.ReplayTotals(snapshot, source).written;
    if (written != static_cast<std::int64_t>(list.size())) {
      audit.findings.push_back(fmt::format("{}: the books say {} rows were written, the files hold {}",
                                           model::ToString(source), written, list.size()));
    }
  }
}

model::OffsetVector BegunIn(const Progress& progress, const delta::Snapshot& snapshot,
                            const model::OffsetVector& sources) {
  model::OffsetVector begun;
  for (const auto& [source, next] : sources) begun[source] = progress.BooksBeginAt(snapshot, source).value_or(0);
  return begun;
}

void AuditEvents(const OpenTable& opened, const delta::Snapshot& snapshot, TableAudit& audit) {
  const auto places = ReadEvents(*opened.table, snapshot, audit);
  CheckPlaces(places, opened.progress, snapshot, BegunIn(opened.progress, snapshot, audit.next), audit.next, audit);
}

/// Each table of a family, and all of them against the books of the index. A table may be ahead of it, at a commit that
/// is under way or that a death cut off: its rows from there on are not the index's yet.
Result<std::vector<TableAudit>> AuditFamily(const OpenTable& opened, const delta::Snapshot& index,
                                            std::int64_t last_replay, TableAudit& family) {
  std::vector<TableAudit> audits;
  const auto begun = BegunIn(opened.progress, index, family.next);
  PlacesBySource all;
  bool is_ahead = false;
  std::int64_t beyond = 0;  // Rows that are not the index's yet.
  for (const auto& route : opened.family->routes()) {
    if (route.table == nullptr) continue;
    const auto& progress = *route.progress;
    const auto snapshot = route.table->snapshot();
    auto& audit = audits.emplace_back(
        TableAudit{.name = route.name, .kind = config::TableKind::kEvents, .version = snapshot->version});
    audit.next = progress.NextOffsets(*snapshot);
    ASSIGN_OR_RETURN(const auto history, route.table->History(std::numeric_limits<std::int64_t>::max()));
    CheckChain(history, audit);
    CheckTotals(progress, *snapshot, audit);
    CheckReads(progress, *snapshot, audit);
    auto covered = family.next;
    for (const auto& [source, next] : audit.next) {
      auto& end = covered[source];
      is_ahead |= next > end;
      end = std::max(end, next);
    }
    for (const auto& [source, next] : family.next) {
      if (!audit.next.contains(source)) audit.replays += progress.ReplayTotals(*snapshot, source);
    }
    if (progress.LastReplay(*snapshot) > last_replay) {
      audit.findings.push_back(fmt::format("it has replay {}, but the log of replays ends at {}: it was moved away",
                                           progress.LastReplay(*snapshot), last_replay));
    }
    auto places = ReadEvents(*route.table, *snapshot, audit);
    CheckPlaces(places, progress, *snapshot, begun, covered, audit);
    CheckWritten(audit);
    family.rows += audit.rows;
    for (auto& [source, list] : places) {
      const auto end = family.next.find(source);
      const auto first_beyond =
          end == family.next.end() ? list.begin() : std::lower_bound(list.begin(), list.end(), Packed({end->second}));
      beyond += list.end() - first_beyond;
      auto& merged = all[source];
      merged.insert(merged.end(), list.begin(), list.end());
    }
  }
  family.rows -= beyond;
  for (auto& [source, list] : all) {
    std::sort(list.begin(), list.end());
    const auto twice = std::adjacent_find(list.begin(), list.end());
    if (twice == list.end()) continue;
    family.findings.push_back(fmt::format("{}: {} is in its tables more than once", model::ToString(source),
                                          model::ToString(Unpacked(*twice))));
  }
  // Without provenance nobody knows which rows of a table that is ahead are the index's.
  const bool is_known = !is_ahead || !all.empty();
  if (is_known) CheckWritten(family);
  return audits;
}

void AuditAggregate(const delta::Table& table, const delta::Snapshot& snapshot, TableAudit& audit) {
  VisitFiles(table, snapshot, {model::kPartialRows}, audit, [&](const arrow::RecordBatch& batch) {
    const auto& rows = static_cast<const arrow::Int64Array&>(*batch.column(0));
    for (std::int64_t i = 0; i < rows.length(); ++i) audit.rows += rows.Value(i);
  });
}

std::vector<LetterKey> AuditLetters(const delta::Table& table, const delta::Snapshot& snapshot, TableAudit& audit) {
  std::vector<LetterKey> letters;
  std::vector<std::string> columns = {"topic", "partition", "offset", "stage"};
  for (const char* column : {kReplayColumn, kLetterIndexColumn}) {
    if (HasColumn(snapshot, column)) columns.emplace_back(column);
  }
  VisitFiles(table, snapshot, columns, audit, [&](const arrow::RecordBatch& batch) {
    const auto replay_column = batch.GetColumnByName(kReplayColumn);
    const auto* const replay = static_cast<const arrow::Int64Array*>(replay_column.get());
    const auto& partition = static_cast<const arrow::Int32Array&>(*batch.column(1));
    const Places places(batch, "offset", kLetterIndexColumn);
    for (std::int64_t i = 0; i < batch.num_rows(); ++i) {
      letters.push_back({{TextAt(*batch.column(0), i), partition.Value(i)},
                         places.At(i),
                         TextAt(*batch.column(3), i),
                         replay != nullptr && replay->IsValid(i) ? replay->Value(i) : 0});
    }
  });
  audit.rows = static_cast<std::int64_t>(letters.size());
  std::sort(letters.begin(), letters.end());
  const auto twice = std::adjacent_find(letters.begin(), letters.end());
  if (twice != letters.end()) {
    audit.findings.push_back(fmt::format("{}: {} ({}) is dead-lettered more than once", model::ToString(twice->source),
                                         model::ToString(twice->place), twice->stage));
  }
  return letters;
}

/// A table's books against the dead letters of its own stages.
void CheckDeadLetters(const std::vector<std::string>& stages, const Progress& progress, const delta::Snapshot& snapshot,
                      const std::vector<LetterKey>& letters, TableAudit& audit) {
  // Records, or documents of them, and not letters: one whose transform was renamed before it was read again may have
  // two.
  std::map<model::TopicPartition, std::set<model::DocumentPlace>> counted;
  for (const auto& letter : letters) {
    // What a replay writes is of a record that has a letter of reading, perhaps of one document where that is of all.
    if (letter.replay != 0) continue;
    if (std::find(stages.begin(), stages.end(), letter.stage) == stages.end()) continue;
    const auto next = audit.next.find(letter.source);
    const auto from = progress.BooksBeginAt(snapshot, letter.source);
    if (next == audit.next.end() || !from || letter.place.offset < *from || letter.place.offset >= next->second) {
      continue;
    }
    counted[letter.source].insert(letter.place);
  }
  for (const auto& [source, next] : audit.next) {
    const auto expected = progress.Totals(snapshot, source).dead_lettered;
    const auto found = std::ssize(counted[source]);
    if (found != expected) {
      audit.findings.push_back(
          fmt::format("{}: the books say {} records were dead-lettered, the dead-letter table holds {}",
                      model::ToString(source), expected, found));
    }
  }
}

Result<TableAudit> AuditFinal(const Plan& plan, int index, const OpenTable& opened, sql::SqlSession& session) {
  const auto& table_plan = plan.tables[index];
  const auto snapshot = opened.final_table->snapshot();
  TableAudit audit{
      .name = table_plan.final_table->name, .kind = config::TableKind::kFinal, .version = snapshot->version};
  VisitFiles(*opened.final_table, *snapshot, {model::kRevision}, audit,
             [&](const arrow::RecordBatch& batch) { audit.rows += batch.num_rows(); });
  audit.totals.written = audit.rows;
  RETURN_NOT_OK(CheckFinalMeaning(table_plan, opened.table->snapshot().get(), *snapshot));
  ASSIGN_OR_RETURN(const auto table, FinalTable::Make(table_plan, plan.config.app_id, opened.progress.ExpiredBeforeId(),
                                                      opened.table, opened.final_table, session));
  std::optional<UnixMicros> forgotten_before;
  if (table_plan.retention) forgotten_before = SystemClock().Now() - table_plan.retention->count();
  auto findings = table->Check(forgotten_before);
  if (!findings.ok()) return findings.status();
  audit.findings.insert(audit.findings.end(), findings->begin(), findings->end());
  return audit;
}

struct ReplayedHere {
  std::int64_t replayed = 0;
  std::int64_t failed = 0;  ///< Of these, with a letter of that replay for the table's stages.
};
/// Records that replays sent to a table and which it has, by table and partition: those of replays that are void there,
/// or have not come yet, are not counted.
using ReplayedByTable = std::map<std::pair<int, model::TopicPartition>, ReplayedHere>;

std::vector<std::string> StagesOf(const Plan& plan, int index, const OpenTable& opened) {
  auto stages = plan.StagesOf(index);
  for (auto& stage : opened.progress.StagesOf(*opened.table->snapshot())) stages.push_back(std::move(stage));
  return stages;
}

/// `letters`: in order.
Result<ReplayedByTable> CountReplayed(const Plan& plan, const ReplayLog& log, const std::vector<OpenTable>& tables,
                                      const std::vector<LetterKey>& letters) {
  std::vector<std::int64_t> has;
  std::vector<std::vector<std::string>> stages;
  for (int t = 0; t < plan.num_data_tables(); ++t) {
    has.push_back(tables[t].progress.LastReplay(*tables[t].table->snapshot()));
    stages.push_back(StagesOf(plan, t, tables[t]));
  }
  ReplayedByTable counts;
  const auto count = [&](int table, const model::TopicPartition& source, model::DocumentPlace place,
                         std::int64_t replay) {
    if (replay > has[table]) return;
    auto& here = counts[{table, source}];
    ++here.replayed;
    // Of a whole record, each of its documents may have failed.
    std::optional<model::DocumentPlace> last;
    const auto is_of_it = [&](const LetterKey& letter) {
      return letter.source == source && letter.place.offset == place.offset &&
             (place.index == model::kWholeRecord || letter.place.index == place.index);
    };
    auto letter = std::lower_bound(letters.begin(), letters.end(), LetterKey{source, place, "", 0});
    for (; letter != letters.end() && is_of_it(*letter); ++letter) {
      const auto& own = stages[table];
      if (letter->replay != replay || std::find(own.begin(), own.end(), letter->stage) == own.end()) continue;
      if (last != letter->place) ++here.failed;
      last = letter->place;
    }
  };
  RETURN_NOT_OK(log.VisitRecords(tables, {}, count));
  return counts;
}

/// A table's books of replays against their log and against the letters that they wrote.
void CheckReplays(int index, const Progress& progress, const delta::Snapshot& snapshot, const ReplayedByTable& replayed,
                  std::int64_t last_replay, TableAudit& audit) {
  const auto has = progress.LastReplay(snapshot);
  if (has > last_replay) {
    audit.findings.push_back(
        fmt::format("it has replay {}, but the log of replays ends at {}: it was moved away", has, last_replay));
  }
  for (const auto& [source, next] : audit.next) {
    const auto totals = progress.ReplayTotals(snapshot, source);
    const auto at = replayed.find({index, source});
    const auto logged = at == replayed.end() ? ReplayedHere() : at->second;
    if (totals.replayed != logged.replayed) {
      audit.findings.push_back(fmt::format("{}: the books say {} records were run again, the log of replays {}",
                                           model::ToString(source), totals.replayed, logged.replayed));
    }
    if (totals.failed() != logged.failed) {
      audit.findings.push_back(
          fmt::format("{}: the books say {} records failed again, the dead-letter table has letters of {}",
                      model::ToString(source), totals.failed(), logged.failed));
    }
  }
}

}  // namespace

bool AuditReport::ok() const {
  return std::all_of(tables.begin(), tables.end(), [](const auto& table) { return table.findings.empty(); });
}

Result<AuditReport> Audit(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake) {
  AuditReport report;
  report.tables.resize(plan.tables.size());
  std::vector<LetterKey> letters;
  // The dead-letter table is opened last: no table runs ahead of its letters, so it holds all that the others count,
  // and what it holds beyond them is outside their ranges.
  ASSIGN_OR_RETURN(const auto opened, OpenTablesToRead(plan, lake));
  // And the log of replays after it, for the same reason.
  ASSIGN_OR_RETURN(const auto log, ReplayLog::Open(plan, lake));
  ReplayedByTable replayed;
  std::vector<TableAudit> route_tables;
  for (int t = static_cast<int>(plan.tables.size()) - 1; t >= 0; --t) {
    const auto& table_plan = plan.tables[t];
    const auto& table = *opened[t].table;
    const auto& progress = opened[t].progress;
    const auto snapshot = table.snapshot();
    auto& audit = report.tables[t];
    audit.name = table_plan.name;
    audit.kind = table_plan.kind;
    audit.version = snapshot->version;
    audit.next = progress.NextOffsets(*snapshot);
    ASSIGN_OR_RETURN(const auto history, table.History(std::numeric_limits<std::int64_t>::max()));
    CheckTotals(progress, *snapshot, audit);
    if (table_plan.kind == config::TableKind::kDeadLetters) {
      letters = AuditLetters(table, *snapshot, audit);
      ASSIGN_OR_RETURN(replayed, CountReplayed(plan, *log, opened, letters));
    } else {
      CheckReads(progress, *snapshot, audit);
      CheckChain(history, audit);
      if (table_plan.route) {
        auto routes = AuditFamily(opened[t], *snapshot, log->last(), audit);
        if (!routes.ok()) return WithContext(routes.status(), "table {}", table_plan.name);
        route_tables.insert(route_tables.begin(), routes->begin(), routes->end());
      } else if (table_plan.kind == config::TableKind::kEvents) {
        AuditEvents(opened[t], *snapshot, audit);
      } else {
        AuditAggregate(table, *snapshot, audit);
        audit.rows += snapshot->TxnVersion(progress.ExpiredRowsId()).value_or(0);
      }
      CheckDeadLetters(StagesOf(plan, t, opened[t]), progress, *snapshot, letters, audit);
      CheckReplays(t, progress, *snapshot, replayed, log->last(), audit);
    }
    if (!table_plan.route) CheckWritten(audit);
  }
  report.tables.insert(report.tables.end(), route_tables.begin(), route_tables.end());
  std::unique_ptr<sql::SqlSession> session;
  for (int t = 0; t < plan.num_tables(); ++t) {
    if (!plan.tables[t].final_table) continue;
    if (session == nullptr) {
      ASSIGN_OR_RETURN(session, sql::SqlSession::Make());
    }
    auto audit = AuditFinal(plan, t, opened[t], *session);
    if (!audit.ok()) return WithContext(audit.status(), "final table {}", plan.tables[t].final_table->name);
    report.tables.push_back(*std::move(audit));
  }
  return report;
}

}  // namespace millrace::pipeline
