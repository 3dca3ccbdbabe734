#include "aggregate/event_order.h"
#include "aggregate/function.h"
#include "aggregate/group_values.h"

namespace millrace::aggregate {
namespace {

// The value of the first or of the last event, and where that stands.
template <bool kIsFirst>
class EdgeAccumulator : public Accumulator {
 public:
  explicit EdgeAccumulator(PhysicalType physical) : values_(physical) {}

  void Resize(std::size_t num_groups) override {
    places_.Resize(num_groups);
    values_.Resize(num_groups);
  }
  void Update(Columns arguments, const GroupedRows& rows) override {
    Take(*arguments[0], arguments.subspan(1, kOrderColumns), rows);
  }
  void Merge(Columns states, const GroupedRows& rows) override {
    Take(*states[kOrderColumns], states.first(kOrderColumns), rows);
  }
  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    for (const std::uint32_t group : groups) {
      if (!places_.has(group)) {
        for (ValueColumn& state : states) state.AddNull();
        continue;
      }
      places_.AddTo(group, states.first(kOrderColumns));
      values_.AddTo(group, states[kOrderColumns]);
    }
  }
  std::int64_t bytes() const override { return places_.bytes() + values_.bytes(); }

 private:
  void Take(const ColumnView& values, Columns order, const GroupedRows& rows) {
    const GroupPlaces::Rows places(order);
    ForRows(rows, [&](std::int64_t i, std::uint32_t g) {
      if (places_.has(g) && !(kIsFirst ? places_.IsBefore(places, i, g) : places_.IsAfter(places, i, g))) return;
      places_.Set(g, places, i);
      values_.Set(g, values, i);
    });
  }

  GroupPlaces places_;
  GroupValues values_;
};

Result<std::vector<CallState>> EdgeStates(const Call& call) {
  const auto& type = call.arguments.front().type;
  if (!IsKeyType(*type)) return NotForItsTypes(call);
  CallState state{.function = call.function,
                  .columns = OrderStates(),
                  .takes_nulls = call.function != "any_value",
                  .by_event_order = true};
  state.columns.push_back({"value", type});
  return std::vector<CallState>{state};
}

std::string EdgeSql(const Call& call, std::span<const std::string> columns) {
  return OnlyState(call, columns.subspan(kOrderColumns));
}

template <bool kIsFirst>
std::unique_ptr<Accumulator> MakeEdge(std::span<const std::shared_ptr<arrow::DataType>> types) {
  return std::make_unique<EdgeAccumulator<kIsFirst>>(PhysicalTypeOf(*types.back()));
}

}  // namespace

std::vector<Function> FirstAndLast() {
  return {{.name = "first",
           .aliases = {"arbitrary"},
           .states = EdgeStates,
           .final_sql = EdgeSql,
           .make_accumulator = MakeEdge<true>,
           .ignores_duplicates = true},
          {.name = "last", .states = EdgeStates, .final_sql = EdgeSql, .make_accumulator = MakeEdge<false>},
          {.name = "any_value",
           .states = EdgeStates,
           .final_sql = EdgeSql,
           .make_accumulator = MakeEdge<true>,
           .ignores_duplicates = true}};
}

}  // namespace millrace::aggregate
