#include "pipeline/route_splitter.h"

#include <arrow/array.h>
#include <arrow/builder.h>

#include <algorithm>
#include <utility>

#include "delta/data/partition_values.h"
#include "model/event_batch.h"

namespace millrace::pipeline {
namespace {

bool ForbidsNulls(const arrow::Schema& schema) {
  return std::any_of(schema.fields().begin(), schema.fields().end(),
                     [](const auto& field) { return !field->nullable() || field->type()->num_fields() > 0; });
}

/// By group; nullopt: null, or an empty text.
Result<std::vector<std::optional<std::string>>> RouteValuesOf(const arrow::Array& column,
                                                              const delta::PartitionGroups& groups,
                                                              const std::string& name) {
  std::vector<std::optional<std::string>> values(groups.size());
  std::size_t seen = 0;  // Groups are numbered in the order of their first rows.
  for (std::int64_t row = 0; row < column.length() && seen < groups.size(); ++row) {
    if (groups.of_row()[static_cast<std::size_t>(row)] != seen) continue;
    auto& value = values[seen++];
    if (column.type_id() != arrow::Type::DICTIONARY) {
      ASSIGN_OR_RETURN(value, delta::PartitionValueText(column, row, name));
    } else if (column.IsValid(row)) {
      const auto& encoded = static_cast<const arrow::DictionaryArray&>(column);
      ASSIGN_OR_RETURN(value, delta::PartitionValueText(*encoded.dictionary(), encoded.GetValueIndex(row), name));
    }
  }
  return values;
}

const arrow::Int64Array& OffsetsOf(const arrow::RecordBatch& rows) {
  return static_cast<const arrow::Int64Array&>(*rows.GetColumnByName(std::string(model::kOffsetColumn)));
}

}  // namespace

RouteSplitter::RouteSplitter(const config::TablePlan& plan, std::shared_ptr<RouteFamily> family)
    : plan_(plan), family_(std::move(family)) {
  auto fields = plan_.schema->fields();
  fields.push_back(arrow::field(kNumberColumn, arrow::int32(), false));
  schema_ = arrow::schema(std::move(fields));
}

std::vector<std::string> RouteSplitter::partition_columns() const {
  std::vector<std::string> columns = {kNumberColumn};
  columns.insert(columns.end(), plan_.partition_columns.begin(), plan_.partition_columns.end());
  return columns;
}

int RouteSplitter::TakeRoute(delta::AddFile& file) {
  const auto number = file.partition_values.extract(kNumberColumn);
  MILLRACE_CHECK(!number.empty() && number.mapped().has_value(), "{}: a file of no route", file.path);
  return std::stoi(*number.mapped());
}

void RouteSplitter::Start(const model::TopicPartition& source, const std::vector<RouteStart>& routes,
                          model::Offset new_from) {
  Stop(source);
  new_from_[source] = new_from;
  for (const auto& start : routes) {
    auto& table = tables_[start.route];
    table.positions[source] = {start.next, start.covered_from, start.fence};
    auto& ahead_to = ahead_to_[source];
    ahead_to = std::max(ahead_to, start.next);
    if (start.table_schema == nullptr || !ForbidsNulls(*start.table_schema)) continue;
    table.stricter.emplace(plan_);
    table.stricter->SetTableSchema(*start.table_schema);
  }
}

void RouteSplitter::Stop(const model::TopicPartition& source) {
  new_from_.erase(source);
  ahead_to_.erase(source);
  for (auto& [route, table] : tables_) table.positions.erase(source);
}

void RouteSplitter::Discard() {
  tables_.clear();
  new_from_.clear();
  ahead_to_.clear();
}

RouteSplitter::Position& RouteSplitter::PositionOf(Table& table, const model::TopicPartition& source) {
  return table.positions.try_emplace(source, Position{0, new_from_.at(source), std::nullopt}).first->second;
}

Result<RouteSplitter::Rows> RouteSplitter::Split(const model::TopicPartition& source, model::OffsetRange range,
                                                 const arrow::RecordBatch& rows,
                                                 const std::shared_ptr<arrow::RecordBatch>& taken,
                                                 const RowCheck& check) {
  const auto column = rows.column(plan_.route->column);
  const std::string& name = plan_.route->pattern.column;
  ASSIGN_OR_RETURN(const auto groups, delta::PartitionGroups::Make(rows, {name}));
  const auto& group_of = groups.of_row();
  ASSIGN_OR_RETURN(const auto values, RouteValuesOf(*column, groups, name));
  const auto num_rows = static_cast<std::size_t>(rows.num_rows());
  std::vector<Fate> fates(num_rows, Fate::kWritten);

  Rows result;
  result.held = FindHeld(source, range, rows, group_of, values, fates);
  for (auto& refused : check.Find(*taken)) {
    auto& fate = fates[static_cast<std::size_t>(refused.row)];
    if (fate == Fate::kHeld) continue;
    fate = Fate::kRefused;
    result.refused.push_back(std::move(refused));
  }
  // A value of which no row is left gets no table.
  std::vector<bool> has_rows(groups.size(), false);
  for (std::size_t row = 0; row < num_rows; ++row) {
    if (fates[row] == Fate::kWritten) has_rows[group_of[row]] = true;
  }
  std::vector<Admission> admissions(groups.size());
  std::map<int, std::vector<std::int64_t>> to_check;  // By route whose table forbids nulls.
  for (std::size_t group = 0; group < groups.size(); ++group) {
    if (!has_rows[group]) continue;
    auto& admission = admissions[group];
    admission =
        values[group] ? family_->Admit(*values[group]) : Admission{.reason = kRouteNull, .why = "is null or empty"};
    const auto table = tables_.find(admission.route);
    if (table != tables_.end() && table->second.stricter) to_check[admission.route];
  }
  for (std::size_t row = 0; row < num_rows; ++row) {
    if (fates[row] != Fate::kWritten) continue;
    const auto& admission = admissions[group_of[row]];
    if (admission.route < 0) {
      result.refused.push_back(
          {static_cast<std::int64_t>(row), admission.reason, fmt::format("'{}' {}", name, admission.why)});
      fates[row] = Fate::kRefused;
    } else if (!to_check.empty()) {
      const auto checked = to_check.find(admission.route);
      if (checked != to_check.end()) checked->second.push_back(static_cast<std::int64_t>(row));
    }
  }
  for (const auto& [route, indexes] : to_check) {
    ASSIGN_OR_RETURN(const auto some, delta::TakeRows(taken, indexes));
    for (auto& refused : tables_.at(route).stricter->Find(*some)) {
      refused.row = indexes[static_cast<std::size_t>(refused.row)];
      fates[static_cast<std::size_t>(refused.row)] = Fate::kRefused;
      result.refused.push_back(std::move(refused));
    }
  }
  std::stable_sort(result.refused.begin(), result.refused.end(),
                   [](const auto& a, const auto& b) { return a.row < b.row; });

  arrow::Int32Builder numbers;
  RETURN_NOT_OK(numbers.Reserve(rows.num_rows()));
  std::vector<std::int64_t> dropped;
  std::vector<Table::Open> open_of_group(groups.size());
  std::vector<model::Offset> last_of_group(groups.size(), -1);
  const auto& offsets = OffsetsOf(rows);
  for (std::size_t row = 0; row < num_rows; ++row) {
    if (fates[row] != Fate::kWritten) {
      dropped.push_back(static_cast<std::int64_t>(row));
      continue;
    }
    numbers.UnsafeAppend(admissions[group_of[row]].route);
    // Rows of one record are all in one batch.
    auto& open = open_of_group[group_of[row]];
    const model::Offset offset = offsets.Value(static_cast<std::int64_t>(row));
    ++open.rows;
    open.records += std::exchange(last_of_group[group_of[row]], offset) == offset ? 0 : 1;
  }
  for (std::size_t group = 0; group < groups.size(); ++group) {
    if (open_of_group[group].rows == 0) continue;
    auto& open = tables_[admissions[group].route].open[source];
    open.rows += open_of_group[group].rows;
    open.records += open_of_group[group].records;
  }
  auto kept = taken;
  if (!dropped.empty()) {
    ASSIGN_OR_RETURN(kept, Without(taken, dropped));
  }
  auto columns = kept->columns();
  ASSIGN_OR_RETURN(auto number_column, numbers.Finish());
  columns.push_back(std::move(number_column));
  result.rows = arrow::RecordBatch::Make(schema_, kept->num_rows(), std::move(columns));
  return result;
}

/// Only after a recovery is a table ahead of where the family is read.
std::int64_t RouteSplitter::FindHeld(const model::TopicPartition& source, model::OffsetRange range,
                                     const arrow::RecordBatch& rows, const std::vector<std::uint32_t>& group_of,
                                     const std::vector<std::optional<std::string>>& values,
                                     std::vector<Fate>& fates) const {
  const auto ahead_to = ahead_to_.find(source);
  if (ahead_to == ahead_to_.end() || ahead_to->second <= range.begin) return 0;
  std::vector<model::Offset> held_before(values.size(), 0);
  for (const auto& route : family_->routes()) {
    const auto table = tables_.find(route.number);
    if (table == tables_.end()) continue;
    const auto position = table->second.positions.find(source);
    if (position == table->second.positions.end()) continue;
    const auto group = std::find(values.begin(), values.end(), route.value);
    if (group != values.end()) held_before[static_cast<std::size_t>(group - values.begin())] = position->second.next;
  }
  const auto& offsets = OffsetsOf(rows);
  std::int64_t held = 0;
  for (std::size_t row = 0; row < fates.size(); ++row) {
    if (offsets.Value(static_cast<std::int64_t>(row)) >= held_before[group_of[row]]) continue;
    fates[row] = Fate::kHeld;
    ++held;
  }
  return held;
}

RouteParts RouteSplitter::Seal(const std::map<model::TopicPartition, PartitionPart>& partitions) {
  RouteParts parts;
  for (auto& [route, table] : tables_) {
    for (const auto& [source, open] : std::exchange(table.open, {})) {
      const auto& whole = partitions.at(source);
      auto& position = PositionOf(table, source);
      parts[route][source] = {
          .range = {position.covered_from, whole.range.end},
          .ledger = {.read = open.records, .further = open.rows - open.records, .written = open.rows},
          .fingerprint = whole.fingerprint,
          .fence = position.fence};
      position = {whole.range.end, whole.range.end, whole.range.end - 1};
    }
  }
  return parts;
}

}  // namespace millrace::pipeline
