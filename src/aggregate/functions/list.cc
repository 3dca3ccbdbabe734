#include <algorithm>

#include "aggregate/distinct_values.h"
#include "aggregate/event_order.h"
#include "aggregate/function.h"
#include "aggregate/group_values.h"
#include "aggregate/list_elements.h"

namespace millrace::aggregate {
namespace {

// All values of each group with the places of their events, up to a number of them: one with more is exceeded, as in
// distinct_values.h. State columns: whether it is, then a list for each column of the places, and the list of the
// values, in the order of events.
class ListAccumulator : public Accumulator {
 public:
  explicit ListAccumulator(PhysicalType physical) : values_(physical) {}

  void LimitValues(std::int64_t values_max) override { values_max_ = values_max; }
  void Resize(std::size_t num_groups) override { groups_.resize(num_groups); }

  void Update(Columns arguments, const GroupedRows& rows) override {
    Take(*arguments[0], arguments.subspan(1, kOrderColumns), rows);
  }
  void Merge(Columns states, const GroupedRows& rows) override {
    const std::int64_t* const exceeded = states[0]->int64s();
    const GroupedRows elements = elements_.Rows(
        states.subspan(1), rows,
        [&](std::int64_t i, std::uint32_t g, bool whole) { groups_[g].exceeded |= exceeded[i] != 0 || !whole; });
    Take(*elements_.columns()[kOrderColumns], elements_.columns().first(kOrderColumns), elements);
  }

  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    std::vector<std::uint32_t> elements;
    for (const std::uint32_t g : groups) {
      const Group& group = groups_[g];
      if (group.settled || (group.size == 0 && !group.exceeded)) {
        for (ValueColumn& state : states) state.AddNull();
        continue;
      }
      states[0].Add(std::int64_t{group.exceeded ? 1 : 0});
      elements.clear();
      for (std::uint32_t next = group.exceeded ? 0 : group.last; next != 0; next = previous_[next - 1]) {
        elements.push_back(next - 1);
      }
      std::reverse(elements.begin(), elements.end());
      const auto before = [this](std::uint32_t a, std::uint32_t b) { return places_.Compare(a, b) < 0; };
      if (!std::is_sorted(elements.begin(), elements.end(), before))
        std::sort(elements.begin(), elements.end(), before);
      for (const std::uint32_t element : elements) {
        places_.AddTo(element, states.subspan(1, kOrderColumns));
        values_.AddElementTo(element, states[1 + kOrderColumns]);
      }
      for (ValueColumn& list : states.subspan(1)) list.EndList();
    }
  }

  std::int64_t bytes() const override {
    return places_.bytes() + values_.bytes() +
           static_cast<std::int64_t>(previous_.capacity() * sizeof(std::uint32_t) + groups_.capacity() * sizeof(Group));
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
    std::uint32_t last = 0;  // Of its elements: 1 + its number; 0: none.
    std::int64_t size = 0;
    bool exceeded = false;
    bool settled = false;  // As exceeded, and nothing to be shown.
  };

  void Take(const ColumnView& values, Columns order, const GroupedRows& rows) {
    const GroupPlaces::Rows places(order);
    auto next = static_cast<std::uint32_t>(previous_.size());
    places_.Resize(next + static_cast<std::size_t>(rows.num_rows));
    values_.Resize(next + static_cast<std::size_t>(rows.num_rows));
    ForRows(rows, [&](std::int64_t i, std::uint32_t g) {
      Group& group = groups_[g];
      if (group.exceeded) return;
      places_.Set(next, places, i);
      values_.Set(next, values, i);
      previous_.push_back(group.last);
      group.last = ++next;
      if (++group.size > values_max_) group.exceeded = true;
    });
  }

  std::int64_t values_max_ = 0;
  GroupPlaces places_;                   // By element: a row that was taken. There is room for more at the end.
  GroupValues values_;                   // By element.
  std::vector<std::uint32_t> previous_;  // By element: 1 + the one before it of its group; 0: it is the first.
  std::vector<Group> groups_;

  ListElements elements_;  // Of the partial rows at hand.
};

Result<std::vector<CallState>> ListStates(const Call& call) {
  const bool is_text = call.function == "string_agg";
  const std::shared_ptr<arrow::DataType> type = is_text ? arrow::utf8() : call.arguments.front().type;
  if (!is_text && !IsKeyType(*type)) return NotForItsTypes(call);
  CallState state{.function = call.function,
                  .columns = {{"exceeded", arrow::boolean()}},
                  .cast = is_text ? "VARCHAR" : "",
                  .arguments = {0},
                  .takes_nulls = !is_text,
                  .by_event_order = true};
  for (const StateColumn& column : OrderStates()) {
    state.columns.push_back({column.name, arrow::list(arrow::field("element", column.type))});
  }
  state.columns.push_back({"values", arrow::list(arrow::field("element", type))});
  return std::vector<CallState>{state};
}

// Of each value the first event that has it.
Result<std::vector<CallState>> DistinctListStates(const Call& call) {
  const bool is_text = call.function.starts_with("string_agg");
  Call of = call;
  if (is_text) of.arguments.front() = {.duckdb_type = "VARCHAR", .type = arrow::utf8()};
  auto state = DistinctState(of, call.function, Beside::kPlaces);
  if (!state) return NotForItsTypes(call);
  if (is_text) state->cast = "VARCHAR";
  state->takes_nulls = !is_text;
  return std::vector<CallState>{*std::move(state)};
}

// DuckDB itself refuses a separator that is not a constant.
std::string ListSql(const Call& call, std::span<const std::string> columns) {
  const bool is_distinct = call.function.ends_with("(distinct)");
  const std::string& values = columns[is_distinct ? 1 : 1 + kOrderColumns];
  if (!call.function.starts_with("string_agg")) return fmt::format("CAST({} AS {})", values, call.result_type);
  return fmt::format("array_to_string({}, {})", values,
                     call.arguments.size() == 2 ? call.arguments[1].constant_sql : "','");
}

std::unique_ptr<Accumulator> MakeList(std::span<const std::shared_ptr<arrow::DataType>> types) {
  return std::make_unique<ListAccumulator>(PhysicalTypeOf(*types.back()));
}

std::unique_ptr<Accumulator> MakeDistinctList(std::span<const std::shared_ptr<arrow::DataType>> types) {
  return std::make_unique<DistinctAccumulator>(PhysicalTypeOf(*types[1]), Beside::kPlaces);
}

}  // namespace

std::vector<Function> Lists() {
  Function list{.name = "list",
                .aliases = {"array_agg"},
                .states = ListStates,
                .final_sql = ListSql,
                .make_accumulator = MakeList,
                .may_overflow = true,
                .oversized = kTooManyElements};
  Function texts = list;
  texts.name = "string_agg";
  texts.aliases = {"group_concat", "listagg"};
  texts.arguments_max = 2;
  Function distinct_list{.name = "list(distinct)",
                         .states = DistinctListStates,
                         .final_sql = ListSql,
                         .make_accumulator = MakeDistinctList,
                         .may_overflow = true,
                         .oversized = kTooManyValues};
  Function distinct_texts = distinct_list;
  distinct_texts.name = "string_agg(distinct)";
  distinct_texts.arguments_max = 2;
  return {list, texts, distinct_list, distinct_texts};
}

}  // namespace millrace::aggregate
