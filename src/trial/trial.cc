#include "trial/trial.h"

#include <arrow/record_batch.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <span>
#include <utility>

#include "base/nearest_name.h"
#include "model/readable_letters.h"
#include "trial/rehearsal.h"
#include "trial/value_text.h"

namespace millrace::trial {
namespace {

using model::TopicPartition;

// The records of a test as the log would give them: what stands in a row for one partition is one fetch.
std::vector<model::FetchedRecords> ToFetches(const config::PipelineTest& test, const config::Dataflow& plan,
                                             UnixMicros now, std::vector<Misfit>& misfits) {
  const auto topics = plan.topics();
  auto reads = topics;
  for (const auto& input : plan.inputs) {
    for (const auto& pattern : input.patterns) reads.push_back(pattern.text());
  }
  std::map<TopicPartition, model::Offset> next;
  std::vector<model::FetchedRecords> fetches;
  for (const auto& record : test.records) {
    if (!record.topic && (topics.size() != 1 || plan.has_patterns())) {
      misfits.push_back(
          {record.place, fmt::format("the record names no topic; the pipeline reads {}", fmt::join(reads, ", "))});
      continue;
    }
    const TopicPartition source{record.topic ? *record.topic : topics.front(), record.partition};
    if (!plan.FindInput(source.topic)) {
      std::string instead = DidYouMean(source.topic, topics);
      if (instead.empty()) instead = fmt::format("; it reads {}", fmt::join(reads, ", "));
      misfits.push_back(
          {record.topic_place, fmt::format("the pipeline does not read the topic '{}'{}", source.topic, instead)});
      continue;
    }
    auto& end = next[source];
    const model::Offset offset = record.offset.value_or(end);
    if (offset < end) {
      misfits.push_back({record.place, fmt::format("offset {} of {} comes after offset {}: offsets rise within a "
                                                   "partition",
                                                   offset, model::ToString(source), end - 1)});
      continue;
    }
    if (fetches.empty() || fetches.back().source != source) {
      fetches.push_back({.source = source, .range = {end, end}, .append_time = true, .owner = {}});
    }
    auto& fetch = fetches.back();
    model::RawRecord raw{.offset = offset, .timestamp = record.time.value_or(now)};
    raw.key = record.key;
    raw.payload = record.payload;
    raw.SetHeaders(&record.headers);
    fetch.bytes += record.payload.value_or("").size() + record.key.value_or("").size();
    fetch.records.push_back(raw);
    fetch.range.end = end = offset + 1;
  }
  return fetches;
}

Result<TextRows> ToTextRows(const arrow::Table& table) {
  TextRows rows;
  rows.rows.resize(static_cast<std::size_t>(table.num_rows()));
  for (int c = 0; c < table.num_columns(); ++c) {
    rows.columns.push_back({table.field(c)->name(), table.field(c)->type()});
    std::size_t row = 0;
    for (const auto& chunk : table.column(c)->chunks()) {
      ASSIGN_OR_RETURN(auto texts, ValueTexts(chunk));
      for (auto& text : texts) rows.rows[row++].push_back(std::move(text));
    }
  }
  return rows;
}

Result<TextRows> ToTextRows(std::span<const model::DeadLetter> letters) {
  ASSIGN_OR_RETURN(const auto table, arrow::Table::FromRecordBatches({model::ToReadableBatch(letters)}));
  ASSIGN_OR_RETURN(auto rows, ToTextRows(*table));
  for (auto& column : rows.columns) column.by_part = column.name == "reason" || column.name == "detail";
  return rows;
}

class Judge {
 public:
  Judge(const pipeline::Plan& plan, const Outcome& outcome, std::vector<Misfit>& misfits)
      : plan_(plan), outcome_(outcome), misfits_(misfits) {}

  Result<std::vector<Difference>> Compare(const config::PipelineTest& test) {
    if (!outcome_.stopped.ok() || test.error) {
      CompareStop(test);
      return std::move(differences_);
    }
    for (const auto& expected : test.tables) RETURN_NOT_OK(CompareTable(expected, config::TableKind::kEvents));
    for (const auto& expected : test.aggregates) RETURN_NOT_OK(CompareTable(expected, config::TableKind::kAggregate));
    ASSIGN_OR_RETURN(const auto letters, ToTextRows(outcome_.letters));
    Add(MatchRows(test.dead_letters, letters, "dead_letters", misfits_));
    return std::move(differences_);
  }

 private:
  void CompareStop(const config::PipelineTest& test) {
    const std::string& message = outcome_.stopped.message();
    if (test.error && !outcome_.stopped.ok() && message.find(*test.error) != std::string::npos) return;
    Say("error", test.place,
        outcome_.stopped.ok() ? fmt::format("the pipeline does not stop; expected: '{}'", *test.error)
        : test.error          ? fmt::format("the pipeline stops: {}; expected: '{}'", message, *test.error)
                              : fmt::format("the pipeline stops: {}", message));
  }

  Status CompareTable(const config::ExpectedRows& expected, config::TableKind kind) {
    const bool is_events = kind == config::TableKind::kEvents;
    const std::string where = (is_events ? "tables." : "aggregates.") + expected.name;
    std::vector<std::string> names;
    for (int t = 0; t < plan_.num_data_tables(); ++t) {
      if (plan_.tables[t].kind != kind) continue;
      names.push_back(plan_.tables[t].name);
      if (names.back() != expected.name) continue;
      const auto& rows = outcome_.tables[t];
      ASSIGN_OR_RETURN(const auto texts, ToTextRows(*rows.rows));
      Add(MatchRows(expected, texts, where, misfits_));
      for (const auto& error : rows.errors) Say(where, expected.place, error);
      return Status::OK();
    }
    if (is_events) {
      ASSIGN_OR_RETURN(const auto texts, RouteRows(expected.name));
      if (texts) {
        Add(MatchRows(expected, *texts, where, misfits_));
        return Status::OK();
      }
    }
    std::string instead = DidYouMean(expected.name, names);
    if (instead.empty()) {
      instead = names.empty() ? "; it has none" : fmt::format("; there are {}", fmt::join(names, ", "));
    }
    misfits_.push_back({expected.place, fmt::format("the pipeline has no {} '{}'{}", is_events ? "table" : "aggregate",
                                                    expected.name, instead)});
    return Status::OK();
  }

  // Of a family's table, which is empty if no value made it; nullopt: there is no family with such a table.
  Result<std::optional<TextRows>> RouteRows(const std::string& name) const {
    for (const auto& table : plan_.tables) {
      if (!table.route || !table.route->pattern.CanName(name) || name == table.route->pattern.IndexTable()) continue;
      const auto made = outcome_.routes.find(name);
      if (made != outcome_.routes.end()) return ToTextRows(*made->second.rows);
      ASSIGN_OR_RETURN(const auto none, arrow::Table::MakeEmpty(table.schema));
      return ToTextRows(*none);
    }
    return std::nullopt;
  }

  void Add(std::vector<Difference> differences) {
    std::move(differences.begin(), differences.end(), std::back_inserter(differences_));
  }
  void Say(const std::string& where, config::TestPlace place, std::string detail) {
    differences_.push_back({Difference::Kind::kOther, where, place, {}, std::move(detail)});
  }

  const pipeline::Plan& plan_;
  const Outcome& outcome_;
  std::vector<Misfit>& misfits_;
  std::vector<Difference> differences_;
};

}  // namespace

Result<Trial> RunTests(const config::TestFile& file, std::shared_ptr<const pipeline::Plan> plan) {
  Trial trial{.file = file.path, .verdicts = {}, .findings = {}};
  ASSIGN_OR_RETURN(const auto rehearsal, Rehearsal::Make(plan));
  const UnixMicros now = SystemClock().Now();
  std::vector<Misfit> misfits;
  for (const auto& test : file.tests) {
    const std::size_t misfits_before = misfits.size();
    const auto fetches = ToFetches(test, *plan, now, misfits);
    if (misfits.size() > misfits_before) continue;
    ASSIGN_OR_RETURN(const auto outcome, rehearsal->Run(fetches));
    ASSIGN_OR_RETURN(auto differences, Judge(*plan, outcome, misfits).Compare(test));
    trial.verdicts.push_back({test.name, test.place, std::move(differences)});
  }
  std::stable_sort(misfits.begin(), misfits.end(), [](const auto& a, const auto& b) {
    return std::pair(a.place.line, a.place.column) < std::pair(b.place.line, b.place.column);
  });
  for (auto& misfit : misfits) {
    trial.findings.push_back({file.path, misfit.place.line, misfit.place.column, std::move(misfit.message)});
  }
  return trial;
}

}  // namespace millrace::trial
