#include "pipeline/audit.h"

#include <arrow/array.h>
#include <arrow/scalar.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <limits>
#include <set>
#include <utility>

#include "delta/data/data_file.h"
#include "delta/table.h"
#include "model/event_batch.h"
#include "pipeline/final_table.h"
#include "pipeline/open_tables.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;

/// A dead letter's place and stage: enough to count by.
struct LetterKey {
  model::TopicPartition source;
  model::Offset offset;
  std::string stage;
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
    if (!from) {
      audit.findings.push_back(fmt::format("{}: an offset, but no books", model::ToString(source)));
      continue;
    }
    if (!totals.Balances()) {
      audit.findings.push_back(fmt::format(
          "{}: read {} is not written {} + dead-lettered {} + filtered {} + deduplicated {} + tombstones {}",
          model::ToString(source), totals.read, totals.written, totals.dead_lettered, totals.filtered,
          totals.deduplicated, totals.tombstones));
    }
    if (totals.read > next - *from) {
      audit.findings.push_back(fmt::format("{}: {} records read from the {} offsets [{}, {})", model::ToString(source),
                                           totals.read, next - *from, *from, next));
    }
  }
}

void CheckWritten(TableAudit& audit) {
  if (audit.rows != audit.totals.written) {
    audit.findings.push_back(
        fmt::format("the books say {} rows were written, the files hold {}", audit.totals.written, audit.rows));
  }
}

bool HasColumn(const delta::Snapshot& snapshot, std::string_view name) {
  return snapshot.schema->GetFieldByName(std::string(name)) != nullptr;
}

void AuditEvents(const OpenTable& opened, const delta::Snapshot& snapshot, TableAudit& audit) {
  const std::vector<std::string> provenance = {std::string(model::kTopicColumn), std::string(model::kPartitionColumn),
                                               std::string(model::kOffsetColumn)};
  const bool traceable =
      std::all_of(provenance.begin(), provenance.end(), [&](const auto& name) { return HasColumn(snapshot, name); });
  std::map<model::TopicPartition, std::vector<model::Offset>> offsets;
  const auto columns = traceable ? provenance : std::vector<std::string>{snapshot.schema->field(0)->name()};
  VisitFiles(*opened.table, snapshot, columns, audit, [&](const arrow::RecordBatch& batch) {
    audit.rows += batch.num_rows();
    if (!traceable) return;
    const auto& partition = static_cast<const arrow::Int32Array&>(*batch.column(1));
    const auto& offset = static_cast<const arrow::Int64Array&>(*batch.column(2));
    std::vector<model::Offset>* list = nullptr;
    model::TopicPartition current{"", -1};
    const auto& topics = static_cast<const arrow::StringArray&>(*batch.column(0));
    for (std::int64_t i = 0; i < batch.num_rows(); ++i) {
      const std::string_view topic = topics.GetView(i);
      if (list == nullptr || current.partition != partition.Value(i) || current.topic != topic) {
        current = {std::string(topic), partition.Value(i)};
        list = &offsets[current];
      }
      list->push_back(offset.Value(i));
    }
  });
  for (auto& [source, list] : offsets) {
    std::sort(list.begin(), list.end());
    const auto twice = std::adjacent_find(list.begin(), list.end());
    if (twice != list.end()) {
      audit.findings.push_back(
          fmt::format("{}: offset {} is in the table more than once", model::ToString(source), *twice));
    }
    const auto from = opened.progress.BooksBeginAt(snapshot, source).value_or(0);
    const auto it = audit.next.find(source);
    const auto next = it == audit.next.end() ? from : it->second;
    if (!list.empty() && (list.front() < from || list.back() >= next)) {
      audit.findings.push_back(fmt::format("{}: rows of offsets {} to {}, but [{}, {}) is covered",
                                           model::ToString(source), list.front(), list.back(), from, next));
    }
    const auto written = opened.progress.Totals(snapshot, source).written;
    if (written != static_cast<std::int64_t>(list.size())) {
      audit.findings.push_back(fmt::format("{}: the books say {} rows were written, the files hold {}",
                                           model::ToString(source), written, list.size()));
    }
  }
}

void AuditAggregate(const delta::Table& table, const delta::Snapshot& snapshot, TableAudit& audit) {
  VisitFiles(table, snapshot, {model::kPartialRows}, audit, [&](const arrow::RecordBatch& batch) {
    const auto& rows = static_cast<const arrow::Int64Array&>(*batch.column(0));
    for (std::int64_t i = 0; i < rows.length(); ++i) audit.rows += rows.Value(i);
  });
}

std::vector<LetterKey> AuditLetters(const delta::Table& table, const delta::Snapshot& snapshot, TableAudit& audit) {
  std::vector<LetterKey> letters;
  VisitFiles(table, snapshot, {"topic", "partition", "offset", "stage"}, audit, [&](const arrow::RecordBatch& batch) {
    const auto& partition = static_cast<const arrow::Int32Array&>(*batch.column(1));
    const auto& offset = static_cast<const arrow::Int64Array&>(*batch.column(2));
    for (std::int64_t i = 0; i < batch.num_rows(); ++i) {
      letters.push_back(
          {{TextAt(*batch.column(0), i), partition.Value(i)}, offset.Value(i), TextAt(*batch.column(3), i)});
    }
  });
  audit.rows = static_cast<std::int64_t>(letters.size());
  std::sort(letters.begin(), letters.end());
  const auto twice = std::adjacent_find(letters.begin(), letters.end());
  if (twice != letters.end()) {
    audit.findings.push_back(fmt::format("{}: offset {} ({}) is dead-lettered more than once",
                                         model::ToString(twice->source), twice->offset, twice->stage));
  }
  return letters;
}

/// A table's books against the dead letters of its own stages.
void CheckDeadLetters(const std::vector<std::string>& stages, const Progress& progress, const delta::Snapshot& snapshot,
                      const std::vector<LetterKey>& letters, TableAudit& audit) {
  // Records, and not letters: one whose transform was renamed before it was read again may have two.
  std::map<model::TopicPartition, std::set<model::Offset>> counted;
  for (const auto& letter : letters) {
    if (std::find(stages.begin(), stages.end(), letter.stage) == stages.end()) continue;
    const auto next = audit.next.find(letter.source);
    const auto from = progress.BooksBeginAt(snapshot, letter.source);
    if (next == audit.next.end() || !from || letter.offset < *from || letter.offset >= next->second) continue;
    counted[letter.source].insert(letter.offset);
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
    } else {
      CheckChain(history, audit);
      if (table_plan.kind == config::TableKind::kEvents) {
        AuditEvents(opened[t], *snapshot, audit);
      } else {
        AuditAggregate(table, *snapshot, audit);
        audit.rows += snapshot->TxnVersion(progress.ExpiredRowsId()).value_or(0);
      }
      auto stages = plan.StagesOf(t);
      for (auto& stage : progress.StagesOf(*snapshot)) stages.push_back(std::move(stage));
      CheckDeadLetters(stages, progress, *snapshot, letters, audit);
    }
    CheckWritten(audit);
  }
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
