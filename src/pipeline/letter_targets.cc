#include "pipeline/letter_targets.h"

#include <algorithm>

namespace millrace::pipeline {

std::string_view ToString(LetterState state) {
  switch (state) {
    case LetterState::kOpen:
      return "open";
    case LetterState::kReplayed:
      return "replayed";
    case LetterState::kWaiting:
      return "waiting";
    case LetterState::kUnplaced:
      return "unplaced";
  }
  return "";
}

namespace {

bool IsNameOfATransform(const Plan& plan, const std::string& stage) {
  return std::any_of(plan.relations.begin(), plan.relations.end(), [&stage](const auto& relation) {
    return relation.parent >= 0 && stage == "transform:" + relation.name;
  });
}

}  // namespace

LetterTargets::LetterTargets(const Plan& plan, const std::vector<OpenTable>& tables) : plan_(plan) {
  for (int t = 0; t < plan.num_data_tables(); ++t) {
    auto& table = tables_.emplace_back(Table{.opened = &tables[t],
                                             .snapshot = tables[t].table->snapshot(),
                                             .stages = plan.StagesOf(t),
                                             .input = plan.relations[plan.tables[t].relation].input});
    for (auto& stage : table.opened->progress.StagesOf(*table.snapshot)) {
      if (!IsNameOfATransform(plan, stage)) table.stages.push_back(std::move(stage));
    }
  }
}

const std::vector<LetterTargets::Concerned>& LetterTargets::ConcernedBy(const model::TopicPartition& source,
                                                                        const std::string& stage) {
  const auto [at, is_new] = concerned_.try_emplace({source, stage});
  if (!is_new) return at->second;
  const auto input = plan_.FindInput(source.topic);
  if (!input) return at->second;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    const auto& table = tables_[t];
    if (table.input != input || std::find(table.stages.begin(), table.stages.end(), stage) == table.stages.end()) {
      continue;
    }
    const auto next = table.opened->progress.NextOffset(*table.snapshot, source);
    // Without books the table was another writer's so far: no letter is of its records.
    const auto from = table.opened->progress.BooksBeginAt(*table.snapshot, source);
    at->second.push_back({.table = static_cast<int>(t), .from = from ? from : next, .next = next});
  }
  return at->second;
}

LetterTarget LetterTargets::Of(const StoredLetter& stored, const ReplayedRecords& replayed) {
  LetterTarget target;
  const auto& letter = stored.letter;
  for (const auto& concerned : ConcernedBy(letter.source, letter.stage)) {
    if (concerned.from && letter.offset < *concerned.from) continue;
    if (!concerned.next || letter.offset >= *concerned.next) {
      return {.state = LetterState::kWaiting, .tables = {}, .waits_for = concerned.table};
    }
    if (target.state == LetterState::kUnplaced) target.state = LetterState::kReplayed;
    if (replayed.Last(concerned.table, letter.source, letter.place()) > stored.replay) continue;
    // The letter of a document that a replay found in a whole record is of the tables that the record was sent to then:
    // others get the document with the record.
    const bool is_found = letter.index != model::kWholeRecord && stored.replay > 0;
    if (is_found && !replayed.WentWith(concerned.table, letter.source, letter.place(), stored.replay)) continue;
    target.state = LetterState::kOpen;
    target.tables.push_back(concerned.table);
  }
  return target;
}

}  // namespace millrace::pipeline
