#include "process/windowed_aggregator.h"

#include <arrow/builder.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "process/batch_evaluator.h"
#include "process/column_view.h"
#include "process/group_table.h"

namespace millrace::process {

namespace {

// Windows lie within the years 0001 to 9999, which every reader of the tables can show.
constexpr UnixMicros kTimeMin = -62135596800000000;
constexpr UnixMicros kTimeEnd = 253402300800000000;

constexpr Int128 PowerOfTen(int exponent) {
  Int128 power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}
// A DECIMAL(38, s) holds less than this in either direction.
constexpr Int128 kDecimalEnd = PowerOfTen(38);

inline bool FitsDecimal(Int128 value) { return value < kDecimalEnd && value > -kDecimalEnd; }

// A sum that left DECIMAL(38, s): what its group had until then, kept as a partial row of its own. Merging adds them up
// again, where the reader can see that the total is too large.
struct Overflowed {
  std::uint32_t group;
  std::size_t accumulator;
  Int128 value;
};

// The values of one accumulator, by group. Only the vectors of its form are used.
struct Accumulator {
  AccumulatorKind kind = AccumulatorKind::kCountRows;
  PhysicalType physical = PhysicalType::kInt64;
  std::shared_ptr<arrow::DataType> type;
  std::vector<std::uint8_t> has;  // Not for counts: 0 until there is a value.
  std::vector<std::int64_t> int64s;
  std::vector<Int128> int128s;
  std::vector<double> doubles;
  std::vector<std::string> texts;
  std::int64_t text_bytes = 0;  // On the heap, by texts.

  bool is_count() const { return kind == AccumulatorKind::kCountRows || kind == AccumulatorKind::kCountValues; }

  void Resize(std::size_t num_groups) {
    if (is_count()) {
      int64s.resize(num_groups);
      return;
    }
    has.resize(num_groups);
    switch (physical) {
      case PhysicalType::kInt64:
        int64s.resize(num_groups);
        break;
      case PhysicalType::kInt128:
        int128s.resize(num_groups);
        break;
      case PhysicalType::kDouble:
        doubles.resize(num_groups);
        break;
      case PhysicalType::kBytes:
        texts.resize(num_groups);
        break;
    }
  }

  std::int64_t bytes() const {
    return static_cast<std::int64_t>(has.capacity() + int64s.capacity() * sizeof(std::int64_t) +
                                     int128s.capacity() * sizeof(Int128) + doubles.capacity() * sizeof(double) +
                                     texts.capacity() * sizeof(std::string)) +
           text_bytes;
  }
};

// DuckDB's order: NaN is the greatest.
inline bool Less(double a, double b) { return std::isnan(b) ? !std::isnan(a) : a < b; }
template <typename T>
bool Less(const T& a, const T& b) {
  return a < b;
}

template <typename Update>
void ForRows(std::int64_t num_rows, const std::uint8_t* mask, const std::uint32_t* groups, Update update) {
  if (mask == nullptr) {
    for (std::int64_t i = 0; i < num_rows; ++i) update(i, groups[i]);
    return;
  }
  for (std::int64_t i = 0; i < num_rows; ++i) {
    if (mask[i] != 0) update(i, groups[i]);
  }
}

template <bool kIsMin, typename T>
void UpdateExtreme(std::int64_t num_rows, const std::uint8_t* mask, const std::uint32_t* groups, const T* values,
                   std::vector<T>* extremes, std::vector<std::uint8_t>* has) {
  ForRows(num_rows, mask, groups, [=](std::int64_t i, std::uint32_t g) {
    const bool better = kIsMin ? Less(values[i], (*extremes)[g]) : Less((*extremes)[g], values[i]);
    if ((*has)[g] != 0 && !better) return;
    (*extremes)[g] = values[i];
    (*has)[g] = 1;
  });
}

// The groups and their accumulators, from one Seal() to the next.
struct State {
  explicit State(const AggregatePlan& plan, const std::vector<PhysicalType>& key_types) : table(key_types) {
    for (std::size_t i = 0; i < plan.accumulators.size(); ++i) {
      Accumulator accumulator;
      accumulator.kind = plan.accumulators[i].kind;
      accumulator.type = plan.definition.states[i].type;
      accumulator.physical = PhysicalTypeOf(*accumulator.type);
      accumulators.push_back(std::move(accumulator));
    }
  }

  GroupTable table;
  std::vector<std::int64_t> rows;  // By group: how many were folded in.
  std::vector<Accumulator> accumulators;
  std::vector<Overflowed> overflowed;
};

// A row of the output: a group, or one of its overflowed sums.
struct PartialRow {
  std::uint32_t group;
  const Overflowed* overflowed = nullptr;
};

arrow::Decimal128 ToDecimal(Int128 value) {
  return {static_cast<std::int64_t>(value >> 64), static_cast<std::uint64_t>(value)};
}

// One value of physical form int64 into a builder of its logical type.
Status AppendInt64(arrow::ArrayBuilder* builder, std::int64_t value) {
  switch (builder->type()->id()) {
    case arrow::Type::BOOL:
      return static_cast<arrow::BooleanBuilder*>(builder)->Append(value != 0);
    case arrow::Type::INT8:
      return static_cast<arrow::Int8Builder*>(builder)->Append(static_cast<std::int8_t>(value));
    case arrow::Type::INT16:
      return static_cast<arrow::Int16Builder*>(builder)->Append(static_cast<std::int16_t>(value));
    case arrow::Type::INT32:
      return static_cast<arrow::Int32Builder*>(builder)->Append(static_cast<std::int32_t>(value));
    case arrow::Type::DATE32:
      return static_cast<arrow::Date32Builder*>(builder)->Append(static_cast<std::int32_t>(value));
    case arrow::Type::TIMESTAMP:
      return static_cast<arrow::TimestampBuilder*>(builder)->Append(value);
    default:
      return static_cast<arrow::Int64Builder*>(builder)->Append(value);
  }
}

Status AppendDouble(arrow::ArrayBuilder* builder, double value) {
  if (builder->type()->id() == arrow::Type::FLOAT) {
    return static_cast<arrow::FloatBuilder*>(builder)->Append(static_cast<float>(value));
  }
  return static_cast<arrow::DoubleBuilder*>(builder)->Append(value);
}

Status AppendInt128(arrow::ArrayBuilder* builder, Int128 value) {
  return static_cast<arrow::Decimal128Builder*>(builder)->Append(ToDecimal(value));
}

// Text and binary share a builder's base.
Status AppendBytes(arrow::ArrayBuilder* builder, std::string_view value) {
  return static_cast<arrow::BinaryBuilder*>(builder)->Append(value);
}

Status AppendState(const Accumulator& accumulator, std::size_t index, const PartialRow& row,
                   arrow::ArrayBuilder* builder) {
  if (row.overflowed != nullptr) {
    if (row.overflowed->accumulator != index) return builder->AppendNull();
    return AppendInt128(builder, row.overflowed->value);
  }
  const std::uint32_t g = row.group;
  if (accumulator.is_count()) return AppendInt64(builder, accumulator.int64s[g]);
  if (accumulator.has[g] == 0) return builder->AppendNull();
  switch (accumulator.physical) {
    case PhysicalType::kInt64:
      return AppendInt64(builder, accumulator.int64s[g]);
    case PhysicalType::kInt128:
      return AppendInt128(builder, accumulator.int128s[g]);
    case PhysicalType::kDouble:
      return AppendDouble(builder, accumulator.doubles[g]);
    case PhysicalType::kBytes:
      return AppendBytes(builder, accumulator.texts[g]);
  }
  return Status::OK();
}

Status AppendKey(PhysicalType type, GroupTable::KeyReader* reader, arrow::ArrayBuilder* builder) {
  if (!reader->NextIsValid()) return builder->AppendNull();
  switch (type) {
    case PhysicalType::kInt64:
      return AppendInt64(builder, reader->Next<std::int64_t>());
    case PhysicalType::kInt128:
      return AppendInt128(builder, reader->Next<Int128>());
    case PhysicalType::kDouble:
      return AppendDouble(builder, reader->Next<double>());
    case PhysicalType::kBytes:
      return AppendBytes(builder, reader->NextBytes());
  }
  return Status::OK();
}

}  // namespace

class WindowedAggregator::Impl {
 public:
  Status Init(AggregatePlan plan) {
    plan_ = std::move(plan);
    for (const auto& key : plan_.definition.keys) key_types_.push_back(PhysicalTypeOf(*key.type));
    partial_schema_ = model::PartialSchema(plan_.definition);
    std::vector<std::string> expressions;
    for (const auto& input : plan_.inputs) {
      if (input.column < 0) expressions.push_back(input.sql);
    }
    auto evaluator = BatchEvaluator::Make(plan_.input_schema, std::move(expressions), plan_.where_sql);
    if (!evaluator.ok()) return WithContext(evaluator.status(), "aggregate {}", plan_.definition.name);
    evaluator_ = std::move(evaluator).ValueUnsafe();
    views_.resize(plan_.inputs.size());
    state_ = std::make_unique<State>(plan_, key_types_);
    return Status::OK();
  }

  Result<Aggregated> Add(const std::shared_ptr<arrow::RecordBatch>& input) {
    if (!input->schema()->Equals(*plan_.input_schema, false)) {
      return Internal("aggregate {}: a batch has schema {} instead of {}", plan_.definition.name,
                      input->schema()->ToString(), plan_.input_schema->ToString());
    }
    auto result = evaluator_->Evaluate(input);
    if (!result.ok()) return WithContext(result.status(), "aggregate {}", plan_.definition.name);
    Evaluated evaluated = std::move(result).ValueUnsafe();
    RETURN_NOT_OK(LoadViews(*input, evaluated));

    // Nothing fails from here on: a batch is folded in whole or not at all.
    Aggregated aggregated;
    aggregated.filtered = evaluated.filtered;
    aggregated.failed = std::move(evaluated.failed);
    const std::int64_t num_rows = evaluated.num_rows;
    const std::size_t num_failed_before = aggregated.failed.size();
    AssignWindows(num_rows, evaluated.rows.get(), &aggregated.failed);
    CheckDecimals(num_rows, evaluated.rows.get(), &aggregated.failed);
    const std::uint8_t* ok = bad_.empty() ? nullptr : ok_.data();
    if (aggregated.failed.size() != num_failed_before) {
      std::sort(aggregated.failed.begin(), aggregated.failed.end(),
                [](const FailedRow& a, const FailedRow& b) { return a.row < b.row; });
    }
    aggregated.aggregated = num_rows - static_cast<std::int64_t>(bad_.size());

    std::vector<const ColumnView*> keys;
    for (std::size_t k = 0; k < key_types_.size(); ++k) keys.push_back(&views_[1 + k]);
    groups_.resize(static_cast<std::size_t>(num_rows));
    State& state = *state_;
    state.table.FindOrMake(num_rows, windows_.data(), keys, ok, groups_.data());
    state.rows.resize(state.table.size());
    ForRows(num_rows, ok, groups_.data(), [&](std::int64_t, std::uint32_t g) { ++state.rows[g]; });
    for (std::size_t i = 0; i < state.accumulators.size(); ++i) Update(i, num_rows, ok);
    return aggregated;
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Export(UnixMicros from, UnixMicros to) const {
    std::vector<PartialRow> rows;
    const auto inside = [&](std::uint32_t group) {
      const UnixMicros window = state_->table.window(group);
      return from <= window && window < to;
    };
    for (std::uint32_t g = 0; g < state_->table.size(); ++g) {
      if (inside(g)) rows.push_back({g});
    }
    for (const auto& overflowed : state_->overflowed) {
      if (inside(overflowed.group)) rows.push_back({overflowed.group, &overflowed});
    }
    return ToBatch(rows);
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Seal() {
    std::vector<std::uint32_t> order(state_->table.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [this](std::uint32_t a, std::uint32_t b) { return state_->table.Compare(a, b) < 0; });
    std::vector<std::vector<const Overflowed*>> overflowed_of;
    if (!state_->overflowed.empty()) overflowed_of.resize(state_->table.size());
    for (const auto& overflowed : state_->overflowed) overflowed_of[overflowed.group].push_back(&overflowed);
    std::vector<PartialRow> rows;
    rows.reserve(order.size() + state_->overflowed.size());
    for (const std::uint32_t g : order) {
      rows.push_back({g});
      if (overflowed_of.empty()) continue;
      for (const Overflowed* overflowed : overflowed_of[g]) rows.push_back({g, overflowed});
    }
    ASSIGN_OR_RETURN(auto batch, ToBatch(rows));
    state_ = std::make_unique<State>(plan_, key_types_);
    return batch;
  }

  std::int64_t num_groups() const { return state_->table.size(); }

  std::int64_t bytes() const {
    std::int64_t total = state_->table.bytes();
    total += static_cast<std::int64_t>(state_->rows.capacity() * sizeof(std::int64_t) +
                                       state_->overflowed.capacity() * sizeof(Overflowed));
    for (const auto& accumulator : state_->accumulators) total += accumulator.bytes();
    return total;
  }

 private:
  Status LoadViews(const arrow::RecordBatch& input, const Evaluated& evaluated) {
    std::size_t computed = 0;
    for (std::size_t i = 0; i < plan_.inputs.size(); ++i) {
      std::shared_ptr<arrow::Array> array;
      if (plan_.inputs[i].column < 0) {
        array = evaluated.values[computed++];
      } else {
        ASSIGN_OR_RETURN(array, BatchEvaluator::Passed(input.column(plan_.inputs[i].column), evaluated));
      }
      // count() takes any type and looks only at what is null.
      if (!IsViewed(i)) {
        ASSIGN_OR_RETURN(array, Presence(*array));
      }
      RETURN_NOT_OK(views_[i].Load(std::move(array)));
    }
    return Status::OK();
  }

  bool IsViewed(std::size_t input) const {
    const auto& type = *plan_.inputs[input].type;
    return IsKeyType(type) || type.id() == arrow::Type::DICTIONARY;
  }

  static Result<std::shared_ptr<arrow::Array>> Presence(const arrow::Array& array) {
    arrow::BooleanBuilder builder;
    RETURN_NOT_OK(builder.Reserve(array.length()));
    for (std::int64_t i = 0; i < array.length(); ++i) {
      if (array.IsValid(i)) {
        builder.UnsafeAppend(true);
      } else {
        builder.UnsafeAppendNull();
      }
    }
    return builder.Finish();
  }

  void MarkBad(std::int64_t row, const arrow::Int64Array* rows, std::int64_t num_rows, const char* message,
               std::vector<FailedRow>* failed) {
    if (bad_.empty()) ok_.assign(static_cast<std::size_t>(num_rows), 1);
    ok_[row] = 0;
    bad_.push_back(row);
    failed->push_back({rows == nullptr ? row : rows->Value(row), message});
  }

  // windows_[i]: the start of row i's window. Rows without one go to bad_ and failed.
  void AssignWindows(std::int64_t num_rows, const arrow::Int64Array* rows, std::vector<FailedRow>* failed) {
    const std::int64_t* times = views_[0].int64s();
    const std::uint8_t* valid = views_[0].valid();
    const std::int64_t size = plan_.definition.window_size_us;
    windows_.resize(static_cast<std::size_t>(num_rows));
    bad_.clear();
    // Events come nearly in order: most rows fall into the window of the row before.
    std::int64_t start = 0;
    for (std::int64_t i = 0; i < num_rows; ++i) {
      const std::int64_t time = times[i];
      if (valid != nullptr && valid[i] == 0) {
        windows_[i] = 0;
        MarkBad(i, rows, num_rows, "event time is null", failed);
        continue;
      }
      if (static_cast<std::uint64_t>(time) - static_cast<std::uint64_t>(start) >= static_cast<std::uint64_t>(size)) {
        const bool in_range = time >= kTimeMin && time < kTimeEnd;
        const std::int64_t remainder = time % size;
        const std::int64_t floor = in_range ? time - (remainder < 0 ? remainder + size : remainder) : 0;
        if (!in_range || floor < kTimeMin || floor + size > kTimeEnd) {
          windows_[i] = 0;
          MarkBad(i, rows, num_rows, "the window of the event time is not within the years 0001 to 9999", failed);
          continue;
        }
        start = floor;
      }
      windows_[i] = start;
    }
  }

  // DuckDB's HUGEINT goes beyond the 38 digits that a table can hold.
  void CheckDecimals(std::int64_t num_rows, const arrow::Int64Array* rows, std::vector<FailedRow>* failed) {
    for (std::size_t k = 0; k < plan_.inputs.size(); ++k) {
      if (plan_.inputs[k].column >= 0 || views_[k].physical() != PhysicalType::kInt128) continue;
      const Int128* values = views_[k].int128s();
      const std::uint8_t* valid = views_[k].valid();
      for (std::int64_t i = 0; i < num_rows; ++i) {
        if (FitsDecimal(values[i]) || (valid != nullptr && valid[i] == 0)) continue;
        if (!bad_.empty() && ok_[i] == 0) continue;
        MarkBad(i, rows, num_rows, "an integer has more than 38 digits", failed);
      }
    }
  }

  // The rows that the accumulator counts; nullptr: all of them.
  const std::uint8_t* Mask(const AccumulatorPlan& plan, std::int64_t num_rows, const std::uint8_t* ok) {
    const std::uint8_t* valid = plan.argument < 0 ? nullptr : views_[plan.argument].valid();
    if (plan.filter < 0 && ok == nullptr) return valid;
    if (plan.filter < 0 && valid == nullptr) return ok;
    mask_.assign(static_cast<std::size_t>(num_rows), 1);
    const auto keep = [&](const std::uint8_t* which) {
      if (which == nullptr) return;
      for (std::int64_t i = 0; i < num_rows; ++i) mask_[i] &= which[i];
    };
    keep(ok);
    keep(valid);
    if (plan.filter >= 0) {
      keep(views_[plan.filter].valid());
      const std::int64_t* conditions = views_[plan.filter].int64s();
      for (std::int64_t i = 0; i < num_rows; ++i) mask_[i] &= static_cast<std::uint8_t>(conditions[i]);
    }
    return mask_.data();
  }

  void Update(std::size_t index, std::int64_t num_rows, const std::uint8_t* ok) {
    const AccumulatorPlan& plan = plan_.accumulators[index];
    Accumulator& accumulator = state_->accumulators[index];
    accumulator.Resize(state_->table.size());
    const std::uint8_t* mask = Mask(plan, num_rows, ok);
    const std::uint32_t* groups = groups_.data();
    switch (plan.kind) {
      case AccumulatorKind::kCountRows:
      case AccumulatorKind::kCountValues: {
        std::int64_t* counts = accumulator.int64s.data();
        ForRows(num_rows, mask, groups, [=](std::int64_t, std::uint32_t g) { ++counts[g]; });
        break;
      }
      case AccumulatorKind::kSumInt:
      case AccumulatorKind::kSumDecimal:
        UpdateSum(index, views_[plan.argument], num_rows, mask);
        break;
      case AccumulatorKind::kSumDouble: {
        double* sums = accumulator.doubles.data();
        std::uint8_t* has = accumulator.has.data();
        const double* values = views_[plan.argument].doubles();
        ForRows(num_rows, mask, groups, [=](std::int64_t i, std::uint32_t g) {
          sums[g] += values[i];
          has[g] = 1;
        });
        break;
      }
      case AccumulatorKind::kMin:
        UpdateExtremes<true>(&accumulator, views_[plan.argument], num_rows, mask);
        break;
      case AccumulatorKind::kMax:
        UpdateExtremes<false>(&accumulator, views_[plan.argument], num_rows, mask);
        break;
    }
  }

  void UpdateSum(std::size_t index, const ColumnView& argument, std::int64_t num_rows, const std::uint8_t* mask) {
    Accumulator& accumulator = state_->accumulators[index];
    Int128* sums = accumulator.int128s.data();
    std::uint8_t* has = accumulator.has.data();
    const std::uint32_t* groups = groups_.data();
    if (argument.physical() == PhysicalType::kInt64) {
      // 2^63 times the rows that a process can read in its life stays far below 10^38.
      const std::int64_t* values = argument.int64s();
      ForRows(num_rows, mask, groups, [=](std::int64_t i, std::uint32_t g) {
        sums[g] += values[i];
        has[g] = 1;
      });
      return;
    }
    const Int128* values = argument.int128s();
    ForRows(num_rows, mask, groups, [&](std::int64_t i, std::uint32_t g) {
      // Both are below 10^38 in size, so the sum fits 128 bits (1.7 * 10^38) or shows by wrapping.
      Int128 sum = 0;
      if (__builtin_add_overflow(sums[g], values[i], &sum) || !FitsDecimal(sum)) [[unlikely]] {
        state_->overflowed.push_back({g, index, sums[g]});
        sum = values[i];
      }
      sums[g] = sum;
      has[g] = 1;
    });
  }

  template <bool kIsMin>
  void UpdateExtremes(Accumulator* accumulator, const ColumnView& argument, std::int64_t num_rows,
                      const std::uint8_t* mask) {
    const std::uint32_t* groups = groups_.data();
    switch (accumulator->physical) {
      case PhysicalType::kInt64:
        UpdateExtreme<kIsMin>(num_rows, mask, groups, argument.int64s(), &accumulator->int64s, &accumulator->has);
        break;
      case PhysicalType::kInt128:
        UpdateExtreme<kIsMin>(num_rows, mask, groups, argument.int128s(), &accumulator->int128s, &accumulator->has);
        break;
      case PhysicalType::kDouble:
        UpdateExtreme<kIsMin>(num_rows, mask, groups, argument.doubles(), &accumulator->doubles, &accumulator->has);
        break;
      case PhysicalType::kBytes: {
        const std::string_view* values = argument.bytes();
        ForRows(num_rows, mask, groups, [=](std::int64_t i, std::uint32_t g) {
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

  Result<std::shared_ptr<arrow::RecordBatch>> ToBatch(const std::vector<PartialRow>& rows) const {
    std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders;
    for (const auto& field : partial_schema_->fields()) {
      ASSIGN_OR_RETURN(auto builder, arrow::MakeBuilder(field->type()));
      RETURN_NOT_OK(builder->Reserve(static_cast<std::int64_t>(rows.size())));
      builders.push_back(std::move(builder));
    }
    const State& state = *state_;
    const std::size_t num_keys = key_types_.size();
    for (const PartialRow& row : rows) {
      const UnixMicros window = state.table.window(row.group);
      RETURN_NOT_OK(AppendInt64(builders[0].get(), window));
      RETURN_NOT_OK(AppendInt64(builders[1].get(), window + plan_.definition.window_size_us));
      auto reader = state.table.keys(row.group);
      for (std::size_t k = 0; k < num_keys; ++k) {
        RETURN_NOT_OK(AppendKey(key_types_[k], &reader, builders[2 + k].get()));
      }
    }
    for (std::size_t i = 0; i < state.accumulators.size(); ++i) {
      for (const PartialRow& row : rows) {
        RETURN_NOT_OK(AppendState(state.accumulators[i], i, row, builders[2 + num_keys + i].get()));
      }
    }
    for (const PartialRow& row : rows) {
      RETURN_NOT_OK(AppendInt64(builders.back().get(), row.overflowed == nullptr ? state.rows[row.group] : 0));
    }
    std::vector<std::shared_ptr<arrow::Array>> columns;
    for (auto& builder : builders) {
      ASSIGN_OR_RETURN(auto column, builder->Finish());
      columns.push_back(std::move(column));
    }
    return arrow::RecordBatch::Make(partial_schema_, static_cast<std::int64_t>(rows.size()), std::move(columns));
  }

  // Constant after Init().
  AggregatePlan plan_;
  std::vector<PhysicalType> key_types_;
  std::shared_ptr<arrow::Schema> partial_schema_;
  std::unique_ptr<BatchEvaluator> evaluator_;

  std::unique_ptr<State> state_;

  // Of the batch at hand; kept for their memory.
  std::vector<ColumnView> views_;
  std::vector<std::int64_t> windows_;
  std::vector<std::uint32_t> groups_;
  std::vector<std::int64_t> bad_;  // Rows that are not aggregated, and as a mask (valid if bad_ is not empty).
  std::vector<std::uint8_t> ok_;
  std::vector<std::uint8_t> mask_;
};

WindowedAggregator::WindowedAggregator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WindowedAggregator::~WindowedAggregator() = default;

Result<std::unique_ptr<WindowedAggregator>> WindowedAggregator::Make(AggregatePlan plan) {
  auto impl = std::make_unique<Impl>();
  RETURN_NOT_OK(impl->Init(std::move(plan)));
  return std::unique_ptr<WindowedAggregator>(new WindowedAggregator(std::move(impl)));
}

Result<Aggregated> WindowedAggregator::Add(const std::shared_ptr<arrow::RecordBatch>& input) {
  return impl_->Add(input);
}
Result<std::shared_ptr<arrow::RecordBatch>> WindowedAggregator::Export(UnixMicros from, UnixMicros to) const {
  return impl_->Export(from, to);
}
Result<std::shared_ptr<arrow::RecordBatch>> WindowedAggregator::Seal() { return impl_->Seal(); }
std::int64_t WindowedAggregator::num_groups() const { return impl_->num_groups(); }
std::int64_t WindowedAggregator::bytes() const { return impl_->bytes(); }

}  // namespace millrace::process
