#include "aggregate/event_order.h"
#include "aggregate/function.h"
#include "aggregate/functions/value_order.h"
#include "aggregate/group_values.h"

namespace millrace::aggregate {
namespace {

// The value beside the smallest or largest key; of several that are equal, that of the first event.
template <bool kIsMin, typename Key>
class ArgumentAccumulator : public Accumulator {
 public:
  ArgumentAccumulator(PhysicalType value, PhysicalType key) : values_(value), keys_(key) {}

  void Resize(std::size_t num_groups) override {
    places_.Resize(num_groups);
    values_.Resize(num_groups);
    keys_.Resize(num_groups);
  }
  void Update(Columns arguments, const GroupedRows& rows) override {
    Take(*arguments[0], *arguments[1], arguments.subspan(2, kOrderColumns), rows);
  }
  void Merge(Columns states, const GroupedRows& rows) override {
    Take(*states[kOrderColumns + 1], *states[kOrderColumns], states.first(kOrderColumns), rows);
  }
  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    for (const std::uint32_t group : groups) {
      if (!places_.has(group)) {
        for (ValueColumn& state : states) state.AddNull();
        continue;
      }
      places_.AddTo(group, states.first(kOrderColumns));
      keys_.AddTo(group, states[kOrderColumns]);
      values_.AddTo(group, states[kOrderColumns + 1]);
    }
  }
  std::int64_t bytes() const override { return places_.bytes() + values_.bytes() + keys_.bytes(); }

 private:
  void Take(const ColumnView& values, const ColumnView& keys, Columns order, const GroupedRows& rows) {
    const GroupPlaces::Rows places(order);
    const Key* const new_keys = keys.values<Key>();
    ForRows(rows, [&](std::int64_t i, std::uint32_t g) {
      if (places_.has(g)) {
        const Key best = keys_.Get<Key>(g);
        const Key& key = new_keys[i];
        const bool better = kIsMin ? Less(key, best) : Less(best, key);
        if (!better) {
          const bool worse = kIsMin ? Less(best, key) : Less(key, best);
          if (worse || !places_.IsBefore(places, i, g)) return;
        }
      }
      places_.Set(g, places, i);
      keys_.Set(g, keys, i);
      values_.Set(g, values, i);
    });
  }

  GroupPlaces places_;
  GroupValues values_;
  GroupValues keys_;
};

Result<std::vector<CallState>> ArgumentStates(const Call& call) {
  for (const auto& argument : call.arguments) {
    if (!IsKeyType(*argument.type)) return NotForItsTypes(call);
  }
  CallState state{.function = call.function,
                  .columns = OrderStates(),
                  .takes_nulls = call.function.ends_with("_null"),
                  .by_event_order = true};
  state.columns.push_back({"key", call.arguments[1].type});
  state.columns.push_back({"value", call.arguments[0].type});
  return std::vector<CallState>{state};
}

std::string ArgumentSql(const Call& call, std::span<const std::string> columns) {
  return OnlyState(call, columns.subspan(kOrderColumns + 1));
}

template <bool kIsMin>
std::unique_ptr<Accumulator> MakeArgument(std::span<const std::shared_ptr<arrow::DataType>> types) {
  const PhysicalType key = PhysicalTypeOf(*types[kOrderColumns]);
  const PhysicalType value = PhysicalTypeOf(*types[kOrderColumns + 1]);
  switch (key) {
    case PhysicalType::kInt64:
      return std::make_unique<ArgumentAccumulator<kIsMin, std::int64_t>>(value, key);
    case PhysicalType::kInt128:
      return std::make_unique<ArgumentAccumulator<kIsMin, Int128>>(value, key);
    case PhysicalType::kDouble:
      return std::make_unique<ArgumentAccumulator<kIsMin, double>>(value, key);
    case PhysicalType::kBytes:
      return std::make_unique<ArgumentAccumulator<kIsMin, std::string_view>>(value, key);
  }
  return nullptr;
}

}  // namespace

std::vector<Function> ArgMinAndMax() {
  std::vector<Function> functions;
  const auto add = [&](std::string_view name, std::vector<std::string_view> aliases, auto make_accumulator) {
    functions.push_back({.name = name,
                         .aliases = std::move(aliases),
                         .arguments_min = 2,
                         .arguments_max = 2,
                         .states = ArgumentStates,
                         .final_sql = ArgumentSql,
                         .make_accumulator = make_accumulator,
                         .ignores_duplicates = true});
  };
  add("arg_min", {"argmin", "min_by"}, MakeArgument<true>);
  add("arg_max", {"argmax", "max_by"}, MakeArgument<false>);
  add("arg_min_null", {}, MakeArgument<true>);
  add("arg_max_null", {}, MakeArgument<false>);
  return functions;
}

}  // namespace millrace::aggregate
