#include "aggregate/partial_table.h"

#include <arrow/array/concatenate.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "aggregate/function.h"

namespace millrace::aggregate {
namespace {

// Rows that become arrays at a time.
constexpr std::size_t kExportRows = 16 * 1024;

std::vector<PhysicalType> KeyTypes(const model::AggregateDefinition& definition) {
  std::vector<PhysicalType> types;
  for (const auto& key : definition.keys) types.push_back(PhysicalTypeOf(*key.type));
  return types;
}

}  // namespace

std::vector<std::size_t> KeptKeys(const model::AggregateDefinition& definition,
                                  const model::AggregateDefinition& coarser) {
  std::vector<std::size_t> kept;
  for (std::size_t k = 0; k < definition.keys.size(); ++k) {
    const bool has = std::any_of(coarser.keys.begin(), coarser.keys.end(),
                                 [&](const auto& key) { return key.name == definition.keys[k].name; });
    if (has) kept.push_back(k);
  }
  return kept;
}

PartialTable::PartialTable(const model::AggregateDefinition& definition)
    : PartialTable(definition, MakeAccumulators(definition)) {}

PartialTable::PartialTable(const model::AggregateDefinition& definition,
                           std::vector<std::unique_ptr<Accumulator>> accumulators)
    : schema_(model::PartialSchema(definition)),
      window_(definition.window),
      key_types_(KeyTypes(definition)),
      table_(key_types_) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < definition.states.size(); ++i) {
    if (definition.states[i].part == 0) accumulators_.push_back({std::move(accumulators[next++]), i, {}});
    accumulators_.back().columns.emplace_back(*definition.states[i].type);
  }
}

void PartialTable::FindOrMake(std::int64_t num_rows, const std::int64_t* windows,
                              const std::vector<const ColumnView*>& keys, const std::uint8_t* ok,
                              std::uint32_t* groups) {
  table_.FindOrMake(num_rows, windows, keys, ok, groups);
  events_.resize(table_.size());
  for (auto& states : accumulators_) states.values->Resize(table_.size());
}

void PartialTable::AddEvents(const GroupedRows& rows, const std::int64_t* counts) {
  std::int64_t* events = events_.data();
  if (counts == nullptr) {
    ForRows(rows, [=](std::int64_t, std::uint32_t g) { ++events[g]; });
  } else {
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) { events[g] += counts[i]; });
  }
}

Status PartialTable::Merge(std::span<const std::shared_ptr<arrow::Array>> states, const GroupedRows& rows) {
  state_views_.resize(states.size());
  std::vector<const ColumnView*> columns;
  // Behind the states a partial row has its number of events.
  const int first_state = schema_->num_fields() - 1 - static_cast<int>(states.size());
  for (std::size_t i = 0; i < states.size(); ++i) {
    RETURN_NOT_OK(state_views_[i].Load(states[i]));
    const ColumnView& view = state_views_[i];
    const auto& type = *schema_->field(first_state + static_cast<int>(i))->type();
    const bool is_list = view.elements() != nullptr;
    if (is_list != (type.id() == arrow::Type::LIST) ||
        (is_list ? *view.elements() : view).physical() != PhysicalTypeOf(type)) {
      return Internal("a state of type {} instead of {}", states[i]->type()->ToString(), type.ToString());
    }
    columns.push_back(&view);
  }
  for (auto& [values, first, own] : accumulators_) {
    const std::uint8_t* const valid = columns[first]->valid();
    GroupedRows present = rows;
    if (valid != nullptr && rows.mask == nullptr) present.mask = valid;
    if (valid != nullptr && rows.mask != nullptr) {
      mask_.resize(static_cast<std::size_t>(rows.num_rows));
      for (std::size_t i = 0; i < mask_.size(); ++i) mask_[i] = static_cast<std::uint8_t>(valid[i] & rows.mask[i]);
      present.mask = mask_.data();
    }
    values->Merge(std::span(columns).subspan(first, own.size()), present);
    const Status merged = values->merge_status();
    if (!merged.ok())
      return WithContext(merged, "column {}", schema_->field(first_state + static_cast<int>(first))->name());
  }
  return Status::OK();
}

std::vector<PartialTable::Row> PartialTable::Rows(UnixMicros from, UnixMicros to) const {
  std::vector<Row> rows;
  const auto inside = [&](std::uint32_t group) {
    const UnixMicros window = table_.window(group);
    return from <= window && window < to;
  };
  for (std::uint32_t g = 0; g < table_.size(); ++g) {
    if (inside(g)) rows.push_back({g});
  }
  std::int32_t spilled = 0;
  for (const auto& states : accumulators_) {
    for (const std::uint32_t group : states.values->spilled()) {
      if (inside(group)) rows.push_back({group, spilled});
      ++spilled;
    }
  }
  return rows;
}

Result<std::shared_ptr<arrow::RecordBatch>> PartialTable::Export(UnixMicros from, UnixMicros to) const {
  return ToBatch(Rows(from, to));
}

std::int64_t PartialTable::ExportBytes(UnixMicros from, UnixMicros to) const {
  std::int64_t inside = 0;
  for (std::uint32_t g = 0; g < table_.size(); ++g) {
    const UnixMicros window = table_.window(g);
    if (from <= window && window < to) ++inside;
  }
  return inside == 0 ? 0 : bytes() / num_groups() * inside;
}

std::vector<PartialTable::Oversized> PartialTable::Settle() {
  std::vector<Oversized> oversized;
  for (auto& states : accumulators_) {
    for (const std::uint32_t group : states.values->Settle()) oversized.push_back({group, states.first});
  }
  std::sort(oversized.begin(), oversized.end(), [](const Oversized& a, const Oversized& b) {
    return std::tie(a.group, a.state) < std::tie(b.group, b.state);
  });
  return oversized;
}

Result<std::shared_ptr<arrow::RecordBatch>> PartialTable::ExportSorted() const {
  std::vector<Row> rows = Rows(std::numeric_limits<UnixMicros>::min(), std::numeric_limits<UnixMicros>::max());
  std::sort(rows.begin(), rows.end(), [this](const Row& a, const Row& b) {
    const int order = table_.Compare(a.group, b.group);
    return order != 0 ? order < 0 : a.spilled < b.spilled;
  });
  return ToBatch(rows);
}

std::int64_t PartialTable::bytes() const {
  std::int64_t total = table_.bytes() + static_cast<std::int64_t>(events_.capacity() * sizeof(std::int64_t));
  for (const auto& states : accumulators_) total += states.values->bytes();
  return total;
}

void PartialTable::FoldInto(PartialTable& coarser, const std::vector<std::size_t>& kept_keys, UnixMicros from,
                            UnixMicros to) const {
  const std::vector<Row> rows = Rows(from, to);
  std::vector<std::int64_t> windows;
  std::vector<std::int64_t> events;
  windows.reserve(rows.size());
  events.reserve(rows.size());
  for (const Row& row : rows) {
    windows.push_back(coarser.window_.StartOf(table_.window(row.group)));
    events.push_back(row.spilled < 0 ? events_[row.group] : 0);
  }
  const std::vector<ValueColumn> keys = KeyColumns(rows);
  std::vector<ColumnView> views(kept_keys.size());
  std::vector<const ColumnView*> kept;
  for (std::size_t k = 0; k < kept_keys.size(); ++k) {
    keys[kept_keys[k]].Show(&views[k]);
    kept.push_back(&views[k]);
  }
  std::vector<std::uint32_t> groups(rows.size());
  const std::int64_t num_rows = std::ssize(rows);
  coarser.FindOrMake(num_rows, windows.data(), kept, nullptr, groups.data());
  coarser.AddEvents({num_rows, groups.data(), nullptr}, events.data());
  for (std::size_t a = 0; a < accumulators_.size(); ++a) {
    const std::vector<ValueColumn> states = StateColumns(a, rows);
    views.resize(states.size());
    std::vector<const ColumnView*> columns;
    for (std::size_t i = 0; i < states.size(); ++i) {
      states[i].Show(&views[i]);
      columns.push_back(&views[i]);
    }
    coarser.accumulators_[a].values->Merge(columns, {num_rows, groups.data(), states.front().valid()});
    MILLRACE_DCHECK(coarser.accumulators_[a].values->merge_status().ok());  // They are our own.
  }
}

std::vector<ValueColumn> PartialTable::KeyColumns(std::span<const Row> rows) const {
  std::vector<ValueColumn> keys(key_types_.begin(), key_types_.end());
  for (ValueColumn& column : keys) column.Reserve(rows.size());
  for (const Row& row : rows) {
    auto reader = table_.keys(row.group);
    for (std::size_t k = 0; k < keys.size(); ++k) {
      if (!reader.NextIsValid()) {
        keys[k].AddNull();
        continue;
      }
      switch (key_types_[k]) {
        case PhysicalType::kInt64:
          keys[k].Add(reader.Next<std::int64_t>());
          break;
        case PhysicalType::kInt128:
          keys[k].Add(reader.Next<Int128>());
          break;
        case PhysicalType::kDouble:
          keys[k].Add(reader.Next<double>());
          break;
        case PhysicalType::kBytes:
          keys[k].Add(reader.NextBytes());
          break;
      }
    }
  }
  return keys;
}

std::vector<ValueColumn> PartialTable::StateColumns(std::size_t accumulator, std::span<const Row> rows) const {
  const States& states = accumulators_[accumulator];
  std::vector<ValueColumn> columns = states.columns;
  for (ValueColumn& column : columns) column.Reserve(rows.size());
  std::ptrdiff_t first_spilled = 0;
  for (std::size_t a = 0; a < accumulator; ++a) first_spilled += std::ssize(accumulators_[a].values->spilled());
  const std::ptrdiff_t num_spilled = std::ssize(states.values->spilled());
  std::vector<std::uint32_t> groups;  // A run of rows that are groups themselves.
  groups.reserve(rows.size());
  for (const Row& row : rows) {
    if (row.spilled < 0) {
      groups.push_back(row.group);
      continue;
    }
    states.values->Export(groups, columns);
    groups.clear();
    if (const auto own = row.spilled - first_spilled; 0 <= own && own < num_spilled) {
      states.values->ExportSpilled(static_cast<std::size_t>(own), columns);
    } else {
      for (ValueColumn& column : columns) column.AddNull();
    }
  }
  states.values->Export(groups, columns);
  return columns;
}

// A chunk of rows at a time: what stands between the groups and the batch would else take as much as both.
Result<std::shared_ptr<arrow::RecordBatch>> PartialTable::ToBatch(std::span<const Row> rows) const {
  std::vector<arrow::ArrayVector> chunks(static_cast<std::size_t>(schema_->num_fields()));
  const std::size_t num_rows = rows.size();
  do {
    const auto chunk = rows.first(std::min(rows.size(), kExportRows));
    rows = rows.subspan(chunk.size());
    ASSIGN_OR_RETURN(auto columns, ToColumns(chunk));
    for (std::size_t c = 0; c < chunks.size(); ++c) chunks[c].push_back(std::move(columns[c]));
  } while (!rows.empty());
  arrow::ArrayVector columns;
  for (auto& chunk : chunks) {
    ASSIGN_OR_RETURN(auto column, chunk.size() == 1 ? std::move(chunk.front()) : arrow::Concatenate(chunk));
    columns.push_back(std::move(column));
    chunk = {};
  }
  return arrow::RecordBatch::Make(schema_, static_cast<std::int64_t>(num_rows), std::move(columns));
}

Result<arrow::ArrayVector> PartialTable::ToColumns(std::span<const Row> rows) const {
  ValueColumn starts(PhysicalType::kInt64);
  ValueColumn ends(PhysicalType::kInt64);
  ValueColumn events(PhysicalType::kInt64);
  for (ValueColumn* column : {&starts, &ends, &events}) column->Reserve(rows.size());
  for (const Row& row : rows) {
    const UnixMicros window = table_.window(row.group);
    starts.Add(window);
    ends.Add(window_.EndOf(window));
    events.Add(row.spilled < 0 ? events_[row.group] : std::int64_t{0});
  }
  arrow::ArrayVector columns;
  const auto add = [&](const ValueColumn& column) -> Status {
    ASSIGN_OR_RETURN(columns.emplace_back(), column.ToArray(schema_->field(static_cast<int>(columns.size()))->type()));
    return Status::OK();
  };
  if (window_.has_windows()) {
    RETURN_NOT_OK(add(starts));
    RETURN_NOT_OK(add(ends));
  }
  for (const ValueColumn& key : KeyColumns(rows)) RETURN_NOT_OK(add(key));
  for (std::size_t a = 0; a < accumulators_.size(); ++a) {
    for (const ValueColumn& state : StateColumns(a, rows)) RETURN_NOT_OK(add(state));
  }
  RETURN_NOT_OK(add(events));
  return columns;
}

}  // namespace millrace::aggregate
