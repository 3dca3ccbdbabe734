#include "aggregate/function.h"
#include "aggregate/functions/value_order.h"
#include "aggregate/scalar_accumulator.h"

namespace millrace::aggregate {
namespace {

template <bool kIsMin, typename T>
class Extreme : public ScalarAccumulator<T> {
 public:
  void Update(Columns arguments, const GroupedRows& rows) override {
    T* const extremes = this->values_.data();
    std::uint8_t* const has = this->has_.data();
    const T* const values = arguments.front()->template values<T>();
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
      const bool better = kIsMin ? Less(values[i], extremes[g]) : Less(extremes[g], values[i]);
      if (has[g] != 0 && !better) return;
      extremes[g] = values[i];
      has[g] = 1;
    });
  }
};

// By their bytes.
template <bool kIsMin>
class ExtremeText : public Accumulator {
 public:
  void Resize(std::size_t num_groups) override {
    texts_.resize(num_groups);
    has_.resize(num_groups);
  }
  void Update(Columns arguments, const GroupedRows& rows) override {
    const std::string_view* const values = arguments.front()->bytes();
    ForRows(rows, [=, this](std::int64_t i, std::uint32_t g) {
      std::string& text = texts_[g];
      const bool better = kIsMin ? values[i] < text : text < values[i];
      if (has_[g] != 0 && !better) return;
      const std::size_t before = text.capacity();
      text.assign(values[i]);
      has_[g] = 1;
      // Up to 15 bytes live in the string itself.
      text_bytes_ += static_cast<std::int64_t>(text.capacity() > 15 ? text.capacity() : 0) -
                     static_cast<std::int64_t>(before > 15 ? before : 0);
    });
  }
  void Merge(Columns states, const GroupedRows& rows) override { Update(states, rows); }
  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    for (const std::uint32_t group : groups) {
      if (has_[group] != 0) {
        states.front().Add(std::string_view(texts_[group]));
      } else {
        states.front().AddNull();
      }
    }
  }
  std::int64_t bytes() const override {
    return static_cast<std::int64_t>(texts_.capacity() * sizeof(std::string) + has_.capacity()) + text_bytes_;
  }

 private:
  std::vector<std::string> texts_;  // By group.
  std::vector<std::uint8_t> has_;
  std::int64_t text_bytes_ = 0;  // On the heap, by texts_.
};

template <bool kIsMin>
std::unique_ptr<Accumulator> MakeExtreme(std::span<const std::shared_ptr<arrow::DataType>> types) {
  switch (PhysicalTypeOf(*types.front())) {
    case PhysicalType::kInt64:
      return std::make_unique<Extreme<kIsMin, std::int64_t>>();
    case PhysicalType::kInt128:
      return std::make_unique<Extreme<kIsMin, Int128>>();
    case PhysicalType::kDouble:
      return std::make_unique<Extreme<kIsMin, double>>();
    case PhysicalType::kBytes:
      return std::make_unique<ExtremeText<kIsMin>>();
  }
  return nullptr;
}

Result<std::vector<CallState>> ExtremeStates(const Call& call) {
  const auto& type = call.arguments.front().type;
  if (!IsKeyType(*type)) return NotForItsTypes(call);
  return std::vector<CallState>{{.function = call.function, .columns = {{call.function, type}}}};
}

}  // namespace

Function Min() {
  return {.name = "min",
          .states = ExtremeStates,
          .final_sql = OnlyState,
          .make_accumulator = MakeExtreme<true>,
          .merge_in_sql = "min",
          .ignores_duplicates = true};
}

Function Max() {
  return {.name = "max",
          .states = ExtremeStates,
          .final_sql = OnlyState,
          .make_accumulator = MakeExtreme<false>,
          .merge_in_sql = "max",
          .ignores_duplicates = true};
}

}  // namespace millrace::aggregate
