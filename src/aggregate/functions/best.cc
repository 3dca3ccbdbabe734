#include <algorithm>
#include <charconv>
#include <optional>

#include "aggregate/event_order.h"
#include "aggregate/function.h"
#include "aggregate/functions/value_order.h"
#include "aggregate/group_values.h"
#include "aggregate/list_elements.h"

namespace millrace::aggregate {
namespace {

// A state in a partial row is up to so many values.
constexpr int kBestMax = 10'000;

// The n smallest or largest keys of each group, perhaps each with a value beside it; of those with equal keys the
// values of the first events. A group that keeps more than group_values_max is exceeded, as in distinct_values.h. State
// columns: whether it is; with values a list for each column of the places, and one of the keys; the list of what the
// answer has, best first.
template <bool kIsMin, typename Key>
class BestAccumulator : public Accumulator {
 public:
  BestAccumulator(PhysicalType key, std::optional<PhysicalType> value) : keys_(key) {
    if (value) values_.emplace(*value);
  }

  void LimitValues(std::int64_t values_max) override { values_max_ = values_max; }
  void KeepBest(std::int64_t n) override { n_ = n; }
  void Resize(std::size_t num_groups) override { groups_.resize(num_groups); }

  void Update(Columns arguments, const GroupedRows& rows) override {
    if (values_) return Take(*arguments[1], arguments[0], arguments.subspan(2, kOrderColumns), rows);
    Take(*arguments[0], nullptr, {}, rows);
  }
  void Merge(Columns states, const GroupedRows& rows) override {
    const std::int64_t* const exceeded = states[0]->int64s();
    const GroupedRows elements =
        elements_.Rows(states.subspan(1), rows, [&](std::int64_t i, std::uint32_t g, bool whole) {
          if (exceeded[i] != 0 || !whole) Exceed(groups_[g]);
        });
    const Columns columns = elements_.columns();
    if (values_) return Take(*columns[kOrderColumns], columns[kOrderColumns + 1], columns, elements);
    Take(*columns[0], nullptr, {}, elements);
  }

  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    std::vector<std::uint32_t> best;
    for (const std::uint32_t g : groups) {
      const Group& group = groups_[g];
      if (group.settled || (group.heap.empty() && !group.exceeded)) {
        for (ValueColumn& state : states) state.AddNull();
        continue;
      }
      states[0].Add(std::int64_t{group.exceeded ? 1 : 0});
      best = group.heap;
      std::sort(best.begin(), best.end(), [this](std::uint32_t a, std::uint32_t b) { return IsBetter(a, b); });
      for (const std::uint32_t element : best) {
        if (values_) {
          places_.AddTo(element, states.subspan(1, kOrderColumns));
          values_->AddElementTo(element, states.back());
        }
        keys_.AddElementTo(element, states[values_ ? 1 + kOrderColumns : 1]);
      }
      for (ValueColumn& list : states.subspan(1)) list.EndList();
    }
  }

  std::int64_t bytes() const override {
    return places_.bytes() + keys_.bytes() + (values_ ? values_->bytes() : 0) + heap_bytes_ +
           static_cast<std::int64_t>(groups_.capacity() * sizeof(Group) + free_.capacity() * sizeof(std::uint32_t));
  }

  std::vector<std::uint32_t> Settle() override {
    std::vector<std::uint32_t> exceeded;
    for (std::uint32_t g = 0; g < groups_.size(); ++g) {
      if (!groups_[g].exceeded) continue;
      groups_[g].settled = true;
      exceeded.push_back(g);
    }
    return exceeded;
  }

 private:
  struct Group {
    std::vector<std::uint32_t> heap;  // Numbers of its elements, the worst first.
    bool exceeded = false;
    bool settled = false;  // As exceeded, and nothing to be shown.
  };

  static bool IsBetterKey(const Key& a, const Key& b) { return kIsMin ? Less(a, b) : Less(b, a); }
  bool IsBetter(std::uint32_t a, std::uint32_t b) const {
    const Key left = keys_.Get<Key>(a);
    const Key right = keys_.Get<Key>(b);
    if (IsBetterKey(left, right)) return true;
    return values_ && !IsBetterKey(right, left) && places_.Compare(a, b) < 0;
  }

  void Take(const ColumnView& keys, const ColumnView* values, Columns order, const GroupedRows& rows) {
    const Key* const new_keys = keys.values<Key>();
    std::optional<GroupPlaces::Rows> places;
    if (values != nullptr) places.emplace(order);
    const auto is_better = [this](std::uint32_t a, std::uint32_t b) { return IsBetter(a, b); };
    ForRows(rows, [&](std::int64_t i, std::uint32_t g) {
      Group& group = groups_[g];
      if (group.exceeded) return;
      std::uint32_t element = 0;
      if (std::ssize(group.heap) < n_) {
        element = NewElement();
        const std::size_t before = group.heap.capacity();
        group.heap.push_back(element);
        heap_bytes_ += static_cast<std::int64_t>((group.heap.capacity() - before) * sizeof(std::uint32_t));
      } else {
        const std::uint32_t worst = group.heap.front();
        const Key worst_key = keys_.Get<Key>(worst);
        if (!IsBetterKey(new_keys[i], worst_key)) {
          const bool is_equal = !IsBetterKey(worst_key, new_keys[i]);
          if (!is_equal || !places || !places_.IsBefore(*places, i, worst)) return;
        }
        std::pop_heap(group.heap.begin(), group.heap.end(), is_better);
        element = group.heap.back();
      }
      keys_.Set(element, keys, i);
      if (places) {
        places_.Set(element, *places, i);
        values_->Set(element, *values, i);
      }
      std::push_heap(group.heap.begin(), group.heap.end(), is_better);
      if (std::ssize(group.heap) > values_max_) Exceed(group);
    });
  }

  std::uint32_t NewElement() {
    if (!free_.empty()) {
      const std::uint32_t element = free_.back();
      free_.pop_back();
      return element;
    }
    keys_.Resize(num_elements_ + 1);
    if (values_) {
      values_->Resize(num_elements_ + 1);
      places_.Resize(num_elements_ + 1);
    }
    return num_elements_++;
  }

  void Exceed(Group& group) {
    group.exceeded = true;
    free_.insert(free_.end(), group.heap.begin(), group.heap.end());
    heap_bytes_ -= static_cast<std::int64_t>(group.heap.capacity() * sizeof(std::uint32_t));
    group.heap = std::vector<std::uint32_t>();
  }

  std::int64_t values_max_ = 0;
  std::int64_t n_ = 0;
  std::vector<Group> groups_;
  std::int64_t heap_bytes_ = 0;  // Of all groups.

  std::uint32_t num_elements_ = 0;
  GroupValues keys_;                   // By element, as the following.
  std::optional<GroupValues> values_;  // Absent: keys are all, and have no places.
  GroupPlaces places_;
  std::vector<std::uint32_t> free_;  // Elements that no group has any more.

  ListElements elements_;  // Of the partial rows at hand.
};

Result<std::vector<CallState>> BestStates(const Call& call) {
  const std::size_t num_columns = call.arguments.size() - 1;
  for (std::size_t i = 0; i < num_columns; ++i) {
    if (!IsKeyType(*call.arguments[i].type)) return NotForItsTypes(call);
  }
  const std::string& text = call.arguments.back().constant_sql;
  int n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n < 1 || n > kBestMax) {
    return Unsupported("{} of an n that is not a number from 1 to {}", AsWritten(call.function), kBestMax);
  }
  CallState state{.function = call.function,
                  .columns = {{"exceeded", arrow::boolean()}},
                  .arguments = {0},
                  .by_event_order = num_columns == 2,
                  .keeps = n};
  std::vector<StateColumn> elements;
  if (num_columns == 2) {
    state.arguments.push_back(1);
    elements = OrderStates();
    elements.push_back({"keys", call.arguments[1].type});
  }
  elements.push_back({"values", call.arguments[0].type});
  for (const auto& column : elements) {
    state.columns.push_back({column.name, arrow::list(arrow::field("element", column.type))});
  }
  return std::vector<CallState>{state};
}

std::string BestSql(const Call& call, std::span<const std::string> columns) {
  return fmt::format("CAST({} AS {})", columns.back(), call.result_type);
}

template <bool kIsMin>
std::unique_ptr<Accumulator> MakeBest(std::span<const std::shared_ptr<arrow::DataType>> types) {
  const bool has_values = types.size() > 2;
  const PhysicalType key = PhysicalTypeOf(*types[has_values ? 1 + kOrderColumns : 1]);
  const auto value = has_values ? std::optional(PhysicalTypeOf(*types.back())) : std::nullopt;
  switch (key) {
    case PhysicalType::kInt64:
      return std::make_unique<BestAccumulator<kIsMin, std::int64_t>>(key, value);
    case PhysicalType::kInt128:
      return std::make_unique<BestAccumulator<kIsMin, Int128>>(key, value);
    case PhysicalType::kDouble:
      return std::make_unique<BestAccumulator<kIsMin, double>>(key, value);
    case PhysicalType::kBytes:
      return std::make_unique<BestAccumulator<kIsMin, std::string_view>>(key, value);
  }
  return nullptr;
}

}  // namespace

std::vector<Function> Best() {
  std::vector<Function> functions;
  const auto add = [&](std::string_view name, std::size_t arguments, auto make_accumulator) {
    functions.push_back({.name = name,
                         .arguments_min = arguments,
                         .arguments_max = arguments,
                         .states = BestStates,
                         .final_sql = BestSql,
                         .make_accumulator = make_accumulator,
                         .may_overflow = true,
                         .oversized = kTooManyElements});
  };
  add("min(n)", 2, MakeBest<true>);
  add("max(n)", 2, MakeBest<false>);
  add("arg_min(n)", 3, MakeBest<true>);
  add("arg_max(n)", 3, MakeBest<false>);
  return functions;
}

}  // namespace millrace::aggregate
