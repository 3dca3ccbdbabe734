#include "aggregate/partial_table.h"

#include <arrow/array/concatenate.h>
#include <arrow/builder.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

namespace millrace::aggregate {
namespace {

constexpr Int128 PowerOfTen(int exponent) {
  Int128 power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}
// A DECIMAL(38, s) holds less than this in either direction.
constexpr Int128 kDecimalEnd = PowerOfTen(38);

// Rows that become arrays at a time.
constexpr std::size_t kExportRows = 16 * 1024;

bool FitsDecimal(Int128 value) { return value < kDecimalEnd && value > -kDecimalEnd; }

// DuckDB's order: NaN is the greatest.
bool Less(double a, double b) { return std::isnan(b) ? !std::isnan(a) : a < b; }
template <typename T>
bool Less(const T& a, const T& b) {
  return a < b;
}

template <typename Fold>
void ForRows(const GroupedRows& rows, Fold fold) {
  if (rows.mask == nullptr) {
    for (std::int64_t i = 0; i < rows.num_rows; ++i) fold(i, rows.groups[i]);
    return;
  }
  for (std::int64_t i = 0; i < rows.num_rows; ++i) {
    if (rows.mask[i] != 0) fold(i, rows.groups[i]);
  }
}

template <bool kIsMin, typename T>
void UpdateExtreme(const GroupedRows& rows, const T* values, std::vector<T>* extremes, std::vector<std::uint8_t>* has) {
  ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
    const bool better = kIsMin ? Less(values[i], (*extremes)[g]) : Less((*extremes)[g], values[i]);
    if ((*has)[g] != 0 && !better) return;
    (*extremes)[g] = values[i];
    (*has)[g] = 1;
  });
}

template <typename Builder, typename T>
Result<std::shared_ptr<arrow::Array>> Narrowed(Builder builder, const std::vector<T>& values,
                                               const std::vector<std::uint8_t>& valid) {
  RETURN_NOT_OK(builder.Reserve(std::ssize(values)));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (valid[i] != 0) {
      builder.UnsafeAppend(static_cast<typename Builder::value_type>(values[i]));
    } else {
      builder.UnsafeAppendNull();
    }
  }
  return builder.Finish();
}

template <typename Builder>
Result<std::shared_ptr<arrow::Array>> Texts(Builder builder, const std::vector<std::string_view>& texts,
                                            const std::vector<std::uint8_t>& valid) {
  std::int64_t total = 0;
  for (const std::string_view text : texts) total += std::ssize(text);
  RETURN_NOT_OK(builder.Reserve(std::ssize(texts)));
  RETURN_NOT_OK(builder.ReserveData(total));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (valid[i] != 0) {
      builder.UnsafeAppend(texts[i]);
    } else {
      builder.UnsafeAppendNull();
    }
  }
  return builder.Finish();
}

std::vector<PhysicalType> KeyTypes(const model::AggregateDefinition& definition) {
  std::vector<PhysicalType> types;
  for (const auto& key : definition.keys) types.push_back(PhysicalTypeOf(*key.type));
  return types;
}

}  // namespace

std::vector<AccumulatorKind> MergeKinds(const model::AggregateDefinition& definition) {
  std::vector<AccumulatorKind> kinds;
  for (const auto& state : definition.states) {
    switch (state.merge) {
      case model::MergeFunction::kMin:
        kinds.push_back(AccumulatorKind::kMin);
        break;
      case model::MergeFunction::kMax:
        kinds.push_back(AccumulatorKind::kMax);
        break;
      case model::MergeFunction::kSum:
        kinds.push_back(state.type->id() == arrow::Type::INT64    ? AccumulatorKind::kCountValues
                        : state.type->id() == arrow::Type::DOUBLE ? AccumulatorKind::kSumDouble
                                                                  : AccumulatorKind::kSumDecimal);
        break;
    }
  }
  return kinds;
}

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

bool PartialTable::Accumulator::is_count() const {
  return kind == AccumulatorKind::kCountRows || kind == AccumulatorKind::kCountValues;
}

void PartialTable::Accumulator::Resize(std::size_t num_groups) {
  if (is_count()) {
    int64s.resize(num_groups);
    return;
  }
  has.resize(num_groups);
  switch (physical) {
    case PhysicalType::kInt64:
      return int64s.resize(num_groups);
    case PhysicalType::kInt128:
      return int128s.resize(num_groups);
    case PhysicalType::kDouble:
      return doubles.resize(num_groups);
    case PhysicalType::kBytes:
      return texts.resize(num_groups);
  }
}

std::int64_t PartialTable::Accumulator::bytes() const {
  return static_cast<std::int64_t>(has.capacity() + int64s.capacity() * sizeof(std::int64_t) +
                                   int128s.capacity() * sizeof(Int128) + doubles.capacity() * sizeof(double) +
                                   texts.capacity() * sizeof(std::string)) +
         text_bytes;
}

PartialTable::PartialTable(const model::AggregateDefinition& definition, const std::vector<AccumulatorKind>& kinds)
    : schema_(model::PartialSchema(definition)),
      window_size_us_(definition.window_size_us),
      key_types_(KeyTypes(definition)),
      table_(key_types_) {
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    Accumulator accumulator;
    accumulator.kind = kinds[i];
    accumulator.type = definition.states[i].type;
    accumulator.physical = PhysicalTypeOf(*accumulator.type);
    accumulators_.push_back(std::move(accumulator));
  }
}

void PartialTable::FindOrMake(std::int64_t num_rows, const std::int64_t* windows,
                              const std::vector<const ColumnView*>& keys, const std::uint8_t* ok,
                              std::uint32_t* groups) {
  table_.FindOrMake(num_rows, windows, keys, ok, groups);
  events_.resize(table_.size());
  for (auto& accumulator : accumulators_) accumulator.Resize(table_.size());
}

void PartialTable::AddEvents(const GroupedRows& rows, const std::int64_t* counts) {
  std::int64_t* events = events_.data();
  if (counts == nullptr) {
    ForRows(rows, [=](std::int64_t, std::uint32_t g) { ++events[g]; });
  } else {
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) { events[g] += counts[i]; });
  }
}

void PartialTable::Update(std::size_t state, const ColumnView* argument, const GroupedRows& rows) {
  Accumulator& accumulator = accumulators_[state];
  switch (accumulator.kind) {
    case AccumulatorKind::kCountRows:
    case AccumulatorKind::kCountValues: {
      std::int64_t* counts = accumulator.int64s.data();
      ForRows(rows, [=](std::int64_t, std::uint32_t g) { ++counts[g]; });
      break;
    }
    case AccumulatorKind::kSumInt:
    case AccumulatorKind::kSumDecimal:
      AddToSums(state, *argument, rows);
      break;
    case AccumulatorKind::kSumDouble: {
      double* sums = accumulator.doubles.data();
      std::uint8_t* has = accumulator.has.data();
      const double* values = argument->doubles();
      ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
        sums[g] += values[i];
        has[g] = 1;
      });
      break;
    }
    case AccumulatorKind::kMin:
      UpdateExtremes<true>(&accumulator, *argument, rows);
      break;
    case AccumulatorKind::kMax:
      UpdateExtremes<false>(&accumulator, *argument, rows);
      break;
  }
}

void PartialTable::Merge(std::size_t state, const ColumnView& states, const GroupedRows& rows) {
  Accumulator& accumulator = accumulators_[state];
  if (!accumulator.is_count()) return Update(state, &states, rows);
  std::int64_t* sums = accumulator.int64s.data();
  const std::int64_t* counts = states.int64s();
  ForRows(rows, [=](std::int64_t i, std::uint32_t g) { sums[g] += counts[i]; });
}

void PartialTable::AddToSums(std::size_t state, const ColumnView& argument, const GroupedRows& rows) {
  Accumulator& accumulator = accumulators_[state];
  Int128* sums = accumulator.int128s.data();
  std::uint8_t* has = accumulator.has.data();
  if (argument.physical() == PhysicalType::kInt64) {
    // 2^63 times the rows that a process can read in its life stays far below 10^38.
    const std::int64_t* values = argument.int64s();
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
      sums[g] += values[i];
      has[g] = 1;
    });
    return;
  }
  const Int128* values = argument.int128s();
  ForRows(rows, [&](std::int64_t i, std::uint32_t g) {
    // Both are below 10^38 in size, so the sum fits 128 bits (1.7 * 10^38) or shows by wrapping.
    Int128 sum = 0;
    if (__builtin_add_overflow(sums[g], values[i], &sum) || !FitsDecimal(sum)) [[unlikely]] {
      overflowed_.push_back({g, state, sums[g]});
      sum = values[i];
    }
    sums[g] = sum;
    has[g] = 1;
  });
}

template <bool kIsMin>
void PartialTable::UpdateExtremes(Accumulator* accumulator, const ColumnView& argument, const GroupedRows& rows) {
  switch (accumulator->physical) {
    case PhysicalType::kInt64:
      UpdateExtreme<kIsMin>(rows, argument.int64s(), &accumulator->int64s, &accumulator->has);
      break;
    case PhysicalType::kInt128:
      UpdateExtreme<kIsMin>(rows, argument.int128s(), &accumulator->int128s, &accumulator->has);
      break;
    case PhysicalType::kDouble:
      UpdateExtreme<kIsMin>(rows, argument.doubles(), &accumulator->doubles, &accumulator->has);
      break;
    case PhysicalType::kBytes: {
      const std::string_view* values = argument.bytes();
      ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
        std::string& text = accumulator->texts[g];
        const bool better = kIsMin ? values[i] < text : text < values[i];
        if (accumulator->has[g] != 0 && !better) return;
        const std::size_t before = text.capacity();
        text.assign(values[i]);
        accumulator->has[g] = 1;
        // Up to 15 bytes live in the string itself.
        accumulator->text_bytes += static_cast<std::int64_t>(text.capacity() > 15 ? text.capacity() : 0) -
                                   static_cast<std::int64_t>(before > 15 ? before : 0);
      });
      break;
    }
  }
}

void PartialTable::Values::Reserve(PhysicalType physical, std::size_t n) {
  valid.reserve(n);
  switch (physical) {
    case PhysicalType::kInt64:
      return int64s.reserve(n);
    case PhysicalType::kInt128:
      return int128s.reserve(n);
    case PhysicalType::kDouble:
      return doubles.reserve(n);
    case PhysicalType::kBytes:
      return bytes.reserve(n);
  }
}

void PartialTable::Values::AddNull(PhysicalType physical) {
  valid.push_back(0);
  switch (physical) {
    case PhysicalType::kInt64:
      return int64s.push_back(0);
    case PhysicalType::kInt128:
      return int128s.push_back(0);
    case PhysicalType::kDouble:
      return doubles.push_back(0);
    case PhysicalType::kBytes:
      return bytes.push_back({});
  }
}

void PartialTable::Values::Show(PhysicalType physical, ColumnView* view) const {
  switch (physical) {
    case PhysicalType::kInt64:
      return view->Point(int64s.data(), valid.data());
    case PhysicalType::kInt128:
      return view->Point(int128s.data(), valid.data());
    case PhysicalType::kDouble:
      return view->Point(doubles.data(), valid.data());
    case PhysicalType::kBytes:
      return view->Point(bytes, valid.data());
  }
}

Result<std::shared_ptr<arrow::Array>> PartialTable::ToArray(const std::shared_ptr<arrow::DataType>& type,
                                                            const Values& values) {
  switch (type->id()) {
    case arrow::Type::BOOL:
      return Narrowed(arrow::BooleanBuilder(), values.int64s, values.valid);
    case arrow::Type::INT8:
      return Narrowed(arrow::Int8Builder(), values.int64s, values.valid);
    case arrow::Type::INT16:
      return Narrowed(arrow::Int16Builder(), values.int64s, values.valid);
    case arrow::Type::INT32:
      return Narrowed(arrow::Int32Builder(), values.int64s, values.valid);
    case arrow::Type::DATE32:
      return Narrowed(arrow::Date32Builder(), values.int64s, values.valid);
    case arrow::Type::INT64: {
      arrow::Int64Builder builder;
      RETURN_NOT_OK(builder.AppendValues(values.int64s.data(), std::ssize(values.int64s), values.valid.data()));
      return builder.Finish();
    }
    case arrow::Type::TIMESTAMP: {
      arrow::TimestampBuilder builder(type, arrow::default_memory_pool());
      RETURN_NOT_OK(builder.AppendValues(values.int64s.data(), std::ssize(values.int64s), values.valid.data()));
      return builder.Finish();
    }
    case arrow::Type::FLOAT:
      return Narrowed(arrow::FloatBuilder(), values.doubles, values.valid);
    case arrow::Type::DOUBLE: {
      arrow::DoubleBuilder builder;
      RETURN_NOT_OK(builder.AppendValues(values.doubles.data(), std::ssize(values.doubles), values.valid.data()));
      return builder.Finish();
    }
    case arrow::Type::DECIMAL128: {
      arrow::Decimal128Builder builder(type);
      RETURN_NOT_OK(builder.AppendValues(reinterpret_cast<const std::uint8_t*>(values.int128s.data()),
                                         std::ssize(values.int128s), values.valid.data()));
      return builder.Finish();
    }
    case arrow::Type::BINARY:
      return Texts(arrow::BinaryBuilder(), values.bytes, values.valid);
    case arrow::Type::STRING:
      return Texts(arrow::StringBuilder(), values.bytes, values.valid);
    default:
      return Internal("a partial row cannot hold a {}", type->ToString());
  }
}

Result<std::shared_ptr<arrow::RecordBatch>> PartialTable::Export(UnixMicros from, UnixMicros to) const {
  std::vector<Row> rows;
  const auto inside = [&](std::uint32_t group) {
    const UnixMicros window = table_.window(group);
    return from <= window && window < to;
  };
  for (std::uint32_t g = 0; g < table_.size(); ++g) {
    if (inside(g)) rows.push_back({g});
  }
  for (std::size_t i = 0; i < overflowed_.size(); ++i) {
    if (inside(overflowed_[i].group)) rows.push_back({overflowed_[i].group, static_cast<std::int32_t>(i)});
  }
  return ToBatch(rows);
}

std::int64_t PartialTable::ExportBytes(UnixMicros from, UnixMicros to) const {
  std::int64_t inside = 0;
  for (std::uint32_t g = 0; g < table_.size(); ++g) {
    const UnixMicros window = table_.window(g);
    if (from <= window && window < to) ++inside;
  }
  return inside == 0 ? 0 : bytes() / num_groups() * inside;
}

std::vector<PartialTable::OversizedSum> PartialTable::SettleSums() {
  // In two digits of base 10^19, whose sums stay far from the ends of their type.
  constexpr Int128 kBase = PowerOfTen(19);
  struct Total {
    Int128 high = 0;
    Int128 low = 0;
    void Add(Int128 value) {
      high += value / kBase;
      low += value % kBase;
    }
  };
  std::map<std::pair<std::uint32_t, std::size_t>, Total> totals;
  for (const auto& [group, state, value] : overflowed_) totals[{group, state}].Add(value);
  overflowed_.clear();
  std::vector<OversizedSum> oversized;
  for (auto& [place, total] : totals) {
    const auto [group, state] = place;
    Accumulator& accumulator = accumulators_[state];
    total.Add(accumulator.int128s[group]);
    total.high += total.low / kBase;
    total.low %= kBase;
    const bool near = -kBase <= total.high && total.high <= kBase;  // Then this does not wrap:
    const Int128 sum = near ? total.high * kBase + total.low : kDecimalEnd;
    if (FitsDecimal(sum)) {
      accumulator.int128s[group] = sum;
    } else {
      accumulator.has[group] = 0;
      oversized.push_back({group, state});
    }
  }
  return oversized;
}

Result<std::shared_ptr<arrow::RecordBatch>> PartialTable::ExportSorted() const {
  std::vector<Row> rows;
  rows.reserve(table_.size() + overflowed_.size());
  for (std::uint32_t g = 0; g < table_.size(); ++g) rows.push_back({g});
  for (std::size_t i = 0; i < overflowed_.size(); ++i) {
    rows.push_back({overflowed_[i].group, static_cast<std::int32_t>(i)});
  }
  std::sort(rows.begin(), rows.end(), [this](const Row& a, const Row& b) {
    const int order = table_.Compare(a.group, b.group);
    return order != 0 ? order < 0 : a.overflowed < b.overflowed;
  });
  return ToBatch(rows);
}

std::int64_t PartialTable::bytes() const {
  std::int64_t total = table_.bytes();
  total += static_cast<std::int64_t>(events_.capacity() * sizeof(std::int64_t) +
                                     overflowed_.capacity() * sizeof(Overflowed));
  for (const auto& accumulator : accumulators_) total += accumulator.bytes();
  return total;
}

std::vector<PartialTable::Values> PartialTable::KeysOf(const std::vector<std::uint32_t>& groups) const {
  std::vector<Values> keys(key_types_.size());
  for (std::size_t k = 0; k < keys.size(); ++k) keys[k].Reserve(key_types_[k], groups.size());
  for (const std::uint32_t group : groups) {
    auto reader = table_.keys(group);
    for (std::size_t k = 0; k < keys.size(); ++k) {
      if (!reader.NextIsValid()) {
        keys[k].AddNull(key_types_[k]);
        continue;
      }
      keys[k].valid.push_back(1);
      switch (key_types_[k]) {
        case PhysicalType::kInt64:
          keys[k].int64s.push_back(reader.Next<std::int64_t>());
          break;
        case PhysicalType::kInt128:
          keys[k].int128s.push_back(reader.Next<Int128>());
          break;
        case PhysicalType::kDouble:
          keys[k].doubles.push_back(reader.Next<double>());
          break;
        case PhysicalType::kBytes:
          keys[k].bytes.push_back(reader.NextBytes());
          break;
      }
    }
  }
  return keys;
}

void PartialTable::FoldInto(PartialTable& coarser, const std::vector<std::size_t>& kept_keys, UnixMicros from,
                            UnixMicros to) const {
  std::vector<std::uint32_t> inside;
  std::vector<std::int64_t> windows;
  std::vector<std::int64_t> events;
  for (std::uint32_t g = 0; g < table_.size(); ++g) {
    const UnixMicros window = table_.window(g);
    if (window < from || window >= to) continue;
    inside.push_back(g);
    windows.push_back(WindowStart(window, coarser.window_size_us_));
    events.push_back(events_[g]);
  }
  const std::vector<Values> keys = KeysOf(inside);
  std::vector<ColumnView> views(kept_keys.size());
  std::vector<const ColumnView*> kept;
  for (std::size_t k = 0; k < kept_keys.size(); ++k) {
    keys[kept_keys[k]].Show(key_types_[kept_keys[k]], &views[k]);
    kept.push_back(&views[k]);
  }
  std::vector<std::uint32_t> groups(inside.size());
  const std::int64_t num_rows = std::ssize(inside);
  coarser.FindOrMake(num_rows, windows.data(), kept, nullptr, groups.data());
  coarser.AddEvents({num_rows, groups.data(), nullptr}, events.data());
  std::vector<Row> rows;
  rows.reserve(inside.size());
  for (const std::uint32_t g : inside) rows.push_back({g});
  ColumnView view;
  for (std::size_t state = 0; state < accumulators_.size(); ++state) {
    const Values values = StateValues(state, rows);
    values.Show(accumulators_[state].physical, &view);
    coarser.Merge(state, view, {num_rows, groups.data(), values.valid.data()});
  }
  for (const Overflowed& overflowed : overflowed_) {
    const auto at = std::lower_bound(inside.begin(), inside.end(), overflowed.group);
    if (at == inside.end() || *at != overflowed.group) continue;
    view.Point(&overflowed.value, nullptr);
    coarser.Merge(overflowed.state, view, {1, &groups[at - inside.begin()], nullptr});
  }
}

PartialTable::Values PartialTable::StateValues(std::size_t state, std::span<const Row> rows) const {
  const Accumulator& accumulator = accumulators_[state];
  Values values;
  values.Reserve(accumulator.physical, rows.size());
  for (const Row& row : rows) {
    const std::uint32_t g = row.group;
    if (row.overflowed >= 0 && overflowed_[row.overflowed].state == state) {
      values.valid.push_back(1);
      values.int128s.push_back(overflowed_[row.overflowed].value);
      continue;
    }
    if (row.overflowed >= 0 || (!accumulator.is_count() && accumulator.has[g] == 0)) {
      values.AddNull(accumulator.physical);
      continue;
    }
    values.valid.push_back(1);
    switch (accumulator.physical) {
      case PhysicalType::kInt64:
        values.int64s.push_back(accumulator.int64s[g]);
        break;
      case PhysicalType::kInt128:
        values.int128s.push_back(accumulator.int128s[g]);
        break;
      case PhysicalType::kDouble:
        values.doubles.push_back(accumulator.doubles[g]);
        break;
      case PhysicalType::kBytes:
        values.bytes.push_back(accumulator.texts[g]);
        break;
    }
  }
  return values;
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
  Values starts;
  Values ends;
  Values events;
  for (Values* column : {&starts, &ends, &events}) {
    column->valid.assign(rows.size(), 1);
    column->int64s.reserve(rows.size());
  }
  for (const Row& row : rows) {
    const UnixMicros window = table_.window(row.group);
    starts.int64s.push_back(window);
    ends.int64s.push_back(window + window_size_us_);
    events.int64s.push_back(row.overflowed < 0 ? events_[row.group] : 0);
  }
  arrow::ArrayVector columns;
  for (const Values* times : {&starts, &ends}) {
    ASSIGN_OR_RETURN(auto column, ToArray(schema_->field(0)->type(), *times));
    columns.push_back(std::move(column));
  }
  std::vector<std::uint32_t> groups;
  groups.reserve(rows.size());
  for (const Row& row : rows) groups.push_back(row.group);
  const std::vector<Values> keys = KeysOf(groups);
  for (std::size_t k = 0; k < keys.size(); ++k) {
    ASSIGN_OR_RETURN(auto column, ToArray(schema_->field(static_cast<int>(2 + k))->type(), keys[k]));
    columns.push_back(std::move(column));
  }
  for (std::size_t i = 0; i < accumulators_.size(); ++i) {
    ASSIGN_OR_RETURN(auto column, ToArray(accumulators_[i].type, StateValues(i, rows)));
    columns.push_back(std::move(column));
  }
  ASSIGN_OR_RETURN(auto column, ToArray(arrow::int64(), events));
  columns.push_back(std::move(column));
  return columns;
}

}  // namespace millrace::aggregate
