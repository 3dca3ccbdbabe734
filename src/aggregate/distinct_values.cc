#include "aggregate/distinct_values.h"

#include "aggregate/functions/number_type.h"

namespace millrace::aggregate {

std::optional<CallState> DistinctState(const Call& call, const std::string& function, bool with_counts) {
  std::shared_ptr<arrow::DataType> type = call.arguments.front().type;
  CallState state{.function = function, .columns = {{"exceeded", arrow::boolean()}}};
  const auto number = ParseNumberType(call.arguments.front().duckdb_type);
  if (number && number->is_unsigned) {
    // Tables have signed integers only.
    state.cast = number->bits == 64 ? "HUGEINT" : "BIGINT";
    type = number->bits == 64 ? arrow::decimal128(38, 0) : arrow::int64();
  }
  if (!IsKeyType(*type)) return std::nullopt;
  state.columns.push_back({"values", arrow::list(arrow::field("element", type))});
  if (with_counts) state.columns.push_back({"counts", arrow::list(arrow::field("element", arrow::int64()))});
  return state;
}

void DistinctAccumulator::Update(Columns arguments, const GroupedRows& rows) {
  Take(*arguments.front(), rows, nullptr);
}

void DistinctAccumulator::Merge(Columns states, const GroupedRows& rows) {
  const std::int64_t* const exceeded = states[0]->int64s();
  const std::int32_t* const begins = states[1]->list_offsets();
  const std::int32_t* const count_begins =
      states.back()->list_offsets();  // Those of the values if there are no counts.
  // Each element of the lists becomes a row.
  const auto num_elements = static_cast<std::size_t>(begins[rows.num_rows]);
  element_groups_.resize(num_elements);
  element_ok_.assign(num_elements, 0);
  ForRows(rows, [&](std::int64_t i, std::uint32_t g) {
    // Lists of unequal length are none of ours: what they stand for is not known.
    const bool whole = count_begins[i] == begins[i] && count_begins[i + 1] == begins[i + 1];
    groups_[g].exceeded |= exceeded[i] != 0 || !whole;
    if (!whole) return;
    for (auto e = static_cast<std::size_t>(begins[i]); e < static_cast<std::size_t>(begins[i + 1]); ++e) {
      element_groups_[e] = g;
      element_ok_[e] = 1;
    }
  });
  Take(*states[1]->elements(), {begins[rows.num_rows], element_groups_.data(), element_ok_.data()},
       with_counts_ ? states[2]->elements()->int64s() : nullptr);
}

void DistinctAccumulator::Take(const ColumnView& values, const GroupedRows& rows, const std::int64_t* counts) {
  const auto num_rows = static_cast<std::size_t>(rows.num_rows);
  row_groups_.resize(num_rows);
  ok_.assign(num_rows, 0);
  row_values_.resize(num_rows);
  ForRows(rows, [&](std::int64_t i, std::uint32_t g) {
    row_groups_[static_cast<std::size_t>(i)] = g;
    ok_[static_cast<std::size_t>(i)] = groups_[g].exceeded ? 0 : 1;
  });
  values_.FindOrMake(rows.num_rows, row_groups_.data(), {&values}, ok_.data(), row_values_.data());
  if (with_counts_) num_events_.resize(values_.size());
  ForRows({rows.num_rows, rows.groups, ok_.data()}, [&](std::int64_t i, std::uint32_t g) {
    const std::uint32_t value = row_values_[static_cast<std::size_t>(i)];
    // New ones are numbered in the order of their rows.
    if (value == previous_.size()) {
      Group& group = groups_[g];
      previous_.push_back(group.last);
      group.last = value + 1;
      if (++group.size > values_max_) group.exceeded = true;
    }
    if (with_counts_) num_events_[value] += counts == nullptr ? 1 : counts[i];
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
  for (const std::uint32_t g : groups) {
    const Group& group = groups_[g];
    if (group.settled || (group.size == 0 && !group.exceeded)) {
      for (ValueColumn& state : states) state.AddNull();
      continue;
    }
    states[0].Add(std::int64_t{group.exceeded ? 1 : 0});
    for (std::uint32_t next = group.exceeded ? 0 : group.last; next != 0; next = previous_[next - 1]) {
      AddValue(next - 1, states[1]);
      if (with_counts_) states[2].Add(num_events_[next - 1]);
    }
    for (ValueColumn& list : states.subspan(1)) list.EndList();
  }
}

std::int64_t DistinctAccumulator::bytes() const {
  return values_.bytes() +
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
