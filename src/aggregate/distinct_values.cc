#include "aggregate/distinct_values.h"

#include <algorithm>
#include <utility>

#include "aggregate/functions/number_type.h"

namespace millrace::aggregate {

std::optional<CallState> DistinctState(const Call& call, const std::string& function, Beside beside) {
  std::shared_ptr<arrow::DataType> type = call.arguments.front().type;
  CallState state{.function = function,
                  .columns = {{"exceeded", arrow::boolean()}},
                  .arguments = {0},
                  .by_event_order = beside == Beside::kPlaces};
  const auto number = ParseNumberType(call.arguments.front().duckdb_type);
  if (number && number->is_unsigned) {
    // Tables have signed integers only.
    state.cast = number->bits == 64 ? "HUGEINT" : "BIGINT";
    type = number->bits == 64 ? arrow::decimal128(38, 0) : arrow::int64();
  }
  if (!IsKeyType(*type)) return std::nullopt;
  std::vector<StateColumn> elements = {{"values", type}};
  if (beside == Beside::kCounts) elements.push_back({"counts", arrow::int64()});
  if (beside == Beside::kPlaces) {
    for (StateColumn& column : OrderStates()) elements.push_back(std::move(column));
  }
  for (const auto& column : elements) {
    state.columns.push_back({column.name, arrow::list(arrow::field("element", column.type))});
  }
  return state;
}

void DistinctAccumulator::Update(Columns arguments, const GroupedRows& rows) {
  Take(*arguments.front(), rows, arguments.subspan(1));
}

void DistinctAccumulator::Merge(Columns states, const GroupedRows& rows) {
  const std::int64_t* const exceeded = states[0]->int64s();
  const GroupedRows elements = elements_.Rows(
      states.subspan(1), rows,
      [&](std::int64_t i, std::uint32_t g, bool whole) { groups_[g].exceeded |= exceeded[i] != 0 || !whole; });
  Take(*elements_.columns()[0], elements, elements_.columns().subspan(1));
}

void DistinctAccumulator::Take(const ColumnView& values, const GroupedRows& rows, Columns beside) {
  const auto num_rows = static_cast<std::size_t>(rows.num_rows);
  row_groups_.resize(num_rows);
  ok_.assign(num_rows, 0);
  row_values_.resize(num_rows);
  ForRows(rows, [&](std::int64_t i, std::uint32_t g) {
    row_groups_[static_cast<std::size_t>(i)] = g;
    ok_[static_cast<std::size_t>(i)] = groups_[g].exceeded ? 0 : 1;
  });
  values_.FindOrMake(rows.num_rows, row_groups_.data(), {&values}, ok_.data(), row_values_.data());
  const std::int64_t* counts = nullptr;
  std::optional<GroupPlaces::Rows> places;
  if (beside_ == Beside::kCounts) {
    num_events_.resize(values_.size());
    if (!beside.empty()) counts = beside.front()->int64s();
  }
  if (beside_ == Beside::kPlaces) {
    places_.Resize(values_.size());
    places.emplace(beside);
  }
  ForRows({rows.num_rows, rows.groups, ok_.data()}, [&](std::int64_t i, std::uint32_t g) {
    const std::uint32_t value = row_values_[static_cast<std::size_t>(i)];
    // New ones are numbered in the order of their rows.
    if (value == previous_.size()) {
      Group& group = groups_[g];
      previous_.push_back(group.last);
      group.last = value + 1;
      if (++group.size > values_max_) group.exceeded = true;
    }
    if (beside_ == Beside::kCounts) num_events_[value] += counts == nullptr ? 1 : counts[i];
    if (places && (!places_.has(value) || places_.IsBefore(*places, i, value))) places_.Set(value, *places, i);
  });
}

void DistinctAccumulator::AddValue(std::uint32_t value, ValueColumn& column) const {
  auto reader = values_.keys(value);
  if (!reader.NextIsValid()) return column.AddNullElement();
  switch (physical_) {
    case PhysicalType::kInt64:
      return column.Add(reader.Next<std::int64_t>());
    case PhysicalType::kInt128:
      return column.Add(reader.Next<Int128>());
    case PhysicalType::kDouble:
      return column.Add(reader.Next<double>());
    case PhysicalType::kBytes:
      return column.Add(reader.NextBytes());
  }
}

void DistinctAccumulator::Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const {
  std::vector<std::uint32_t> values;
  for (const std::uint32_t g : groups) {
    const Group& group = groups_[g];
    if (group.settled || (group.size == 0 && !group.exceeded)) {
      for (ValueColumn& state : states) state.AddNull();
      continue;
    }
    states[0].Add(std::int64_t{group.exceeded ? 1 : 0});
    values.clear();
    for (std::uint32_t next = group.exceeded ? 0 : group.last; next != 0; next = previous_[next - 1]) {
      values.push_back(next - 1);
    }
    if (beside_ == Beside::kPlaces) {
      std::sort(values.begin(), values.end(),
                [this](std::uint32_t a, std::uint32_t b) { return places_.Compare(a, b) < 0; });
    }
    for (const std::uint32_t value : values) {
      AddValue(value, states[1]);
      if (beside_ == Beside::kCounts) states[2].Add(num_events_[value]);
      if (beside_ == Beside::kPlaces) places_.AddTo(value, states.subspan(2, kOrderColumns));
    }
    for (ValueColumn& list : states.subspan(1)) list.EndList();
  }
}

std::int64_t DistinctAccumulator::bytes() const {
  return values_.bytes() + places_.bytes() +
         static_cast<std::int64_t>(previous_.capacity() * sizeof(std::uint32_t) +
                                   num_events_.capacity() * sizeof(std::int64_t) + groups_.capacity() * sizeof(Group));
}

std::vector<std::uint32_t> DistinctAccumulator::Settle() {
  std::vector<std::uint32_t> exceeded;
  for (std::uint32_t g = 0; g < groups_.size(); ++g) {
    if (!groups_[g].exceeded) continue;
    groups_[g].settled = true;
    exceeded.push_back(g);
  }
  return exceeded;
}

}  // namespace millrace::aggregate
