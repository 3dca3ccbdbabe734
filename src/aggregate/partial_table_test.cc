// The interface of accumulators: whatever the arguments, the state columns and their types, rows that are split over
// tables, exported, folded and merged in any order stand for the same. The functions' own values are compared with
// DuckDB's in process/.
#include "aggregate/partial_table.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <memory>
#include <random>

#include "aggregate/function.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::aggregate {
namespace {

constexpr std::int64_t kMinute = 60'000'000;
constexpr UnixMicros kFirst = std::numeric_limits<UnixMicros>::min();
constexpr UnixMicros kEnd = std::numeric_limits<UnixMicros>::max();

// What arg_max(text, number) keeps: two arguments, two state columns, one of them serialized bytes.
class LastText : public Accumulator {
 public:
  void Resize(std::size_t num_groups) override { values_.resize(num_groups); }
  void Update(Columns arguments, const GroupedRows& rows) override {
    ForRows(rows, [&](std::int64_t i, std::uint32_t g) {
      Take(g, arguments[1]->int64s()[i], std::string(arguments[0]->bytes()[i]));
    });
  }
  void Merge(Columns states, const GroupedRows& rows) override {
    ForRows(rows, [&](std::int64_t i, std::uint32_t g) {
      const std::string_view bytes = states[1]->bytes()[i];
      Take(g, states[0]->int64s()[i], std::string(bytes.substr(0, bytes.size() - 1)));
    });
  }
  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    for (const std::uint32_t g : groups) {
      if (values_[g].number < 0) {
        states[0].AddNull();
        states[1].AddNull();
        continue;
      }
      states[0].Add(values_[g].number);
      states[1].AddOwned(values_[g].text + '\0');
    }
  }
  std::int64_t bytes() const override { return static_cast<std::int64_t>(values_.capacity() * sizeof(Value)); }

 private:
  struct Value {
    std::int64_t number = -1;
    std::string text;
  };
  void Take(std::uint32_t group, std::int64_t number, std::string text) {
    if (values_[group].number < number) values_[group] = {number, std::move(text)};
  }
  std::vector<Value> values_;
};

model::AggregateDefinition LastTexts() {
  model::AggregateDefinition d;
  d.name = "last_texts";
  d.window = model::Window::Tumbling(kMinute);
  d.keys = {{"k", arrow::int64()}, {"j", arrow::int64()}};
  d.states = {{"n", arrow::int64(), "count"},
              {"last__number", arrow::int64(), "last_text", 0},
              {"last__text", arrow::binary(), "last_text", 1},
              {"total", arrow::float64(), "sum"}};
  return d;
}

PartialTable TableOf(const model::AggregateDefinition& definition) {
  std::vector<std::unique_ptr<Accumulator>> accumulators;
  const std::vector<std::shared_ptr<arrow::DataType>> doubles = {arrow::float64()};
  accumulators.push_back(FindFunction("count")->make_accumulator({}));
  accumulators.push_back(std::make_unique<LastText>());
  accumulators.push_back(FindFunction("sum")->make_accumulator(doubles));
  return PartialTable(definition, std::move(accumulators));
}

// Folds partial rows into a table, as query/ does.
void MergeRows(const arrow::RecordBatch& rows, std::size_t num_keys, PartialTable* table) {
  ColumnView starts;
  ColumnView events;
  std::vector<ColumnView> keys(num_keys);
  std::vector<const ColumnView*> views;
  MILLRACE_ASSERT_OK(starts.Load(rows.column(0)));
  MILLRACE_ASSERT_OK(events.Load(rows.column(rows.num_columns() - 1)));
  for (std::size_t k = 0; k < num_keys; ++k) {
    MILLRACE_ASSERT_OK(keys[k].Load(rows.column(2 + static_cast<int>(k))));
    views.push_back(&keys[k]);
  }
  std::vector<std::uint32_t> groups(static_cast<std::size_t>(rows.num_rows()));
  table->FindOrMake(rows.num_rows(), starts.int64s(), views, nullptr, groups.data());
  const GroupedRows grouped{rows.num_rows(), groups.data(), nullptr};
  table->AddEvents(grouped, events.int64s());
  const auto columns = rows.columns();
  const std::size_t num_states = columns.size() - 3 - num_keys;
  MILLRACE_ASSERT_OK(table->Merge(std::span(columns).subspan(2 + num_keys, num_states), grouped));
}

TEST(PartialTable, StatesOfSeveralColumnsMergeFromAnySplit) {
  const auto definition = LastTexts();
  auto by_first_key = definition;
  by_first_key.keys.pop_back();
  by_first_key.window = model::Window::Tumbling(2 * kMinute);
  std::mt19937 random(14);
  const auto below = [&](unsigned n) { return static_cast<std::int64_t>(random() % n); };
  for (int round = 0; round < 30; ++round) {
    SCOPED_TRACE(round);
    constexpr std::int64_t kRows = 200;
    std::vector<std::int64_t> windows, k, j, numbers;
    std::vector<std::string> owned;
    std::vector<double> doubles;
    std::vector<std::uint8_t> has_text;
    for (std::int64_t i = 0; i < kRows; ++i) {
      windows.push_back((below(5) - 2) * kMinute);
      k.push_back(below(3));
      j.push_back(below(3));
      numbers.push_back(i * 7 % kRows);  // Each once: there is one last.
      owned.push_back(std::string(static_cast<std::size_t>(below(40)), 'x') + std::to_string(i));
      doubles.push_back(static_cast<double>(below(1000)));
      has_text.push_back(below(4) == 0 ? 0 : 1);
    }
    const std::vector<std::string_view> texts(owned.begin(), owned.end());
    // Slices of the rows go to one of the tables, which are exported now and then.
    PartialTable whole = TableOf(definition);
    std::vector<std::unique_ptr<PartialTable>> parts;
    for (int i = 0; i < 3; ++i) parts.push_back(std::make_unique<PartialTable>(TableOf(definition)));
    for (std::int64_t begin = 0; begin < kRows;) {
      const std::int64_t count = std::min<std::int64_t>(1 + below(60), kRows - begin);
      for (PartialTable* table : {&whole, parts[static_cast<std::size_t>(below(3))].get()}) {
        ColumnView k_view, j_view, text_view, number_view, double_view;
        k_view.Point(&k[begin], nullptr);
        j_view.Point(&j[begin], nullptr);
        text_view.Point(std::vector(texts.begin() + begin, texts.begin() + begin + count), nullptr);
        number_view.Point(&numbers[begin], nullptr);
        double_view.Point(&doubles[begin], nullptr);
        std::vector<std::uint32_t> groups(static_cast<std::size_t>(count));
        table->FindOrMake(count, &windows[begin], {&k_view, &j_view}, nullptr, groups.data());
        table->AddEvents({count, groups.data(), nullptr}, nullptr);
        table->Update(0, {}, {count, groups.data(), nullptr});
        const std::vector<const ColumnView*> arguments = {&text_view, &number_view};
        table->Update(1, arguments, {count, groups.data(), &has_text[begin]});
        const std::vector<const ColumnView*> argument = {&double_view};
        table->Update(2, argument, {count, groups.data(), nullptr});
      }
      begin += count;
    }
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto want, whole.ExportSorted());
    PartialTable merged = TableOf(definition);
    PartialTable merged_by_first_key = TableOf(by_first_key);
    std::shuffle(parts.begin(), parts.end(), random);
    for (const auto& part : parts) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rows, part->Export(kFirst, kEnd));
      MILLRACE_ASSERT_OK(rows->ValidateFull());
      MergeRows(*rows, 2, &merged);
      part->FoldInto(merged_by_first_key, {0}, kFirst, kEnd);
    }
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got, merged.ExportSorted());
    EXPECT_TRUE(got->Equals(*want)) << got->ToString() << want->ToString();

    PartialTable whole_by_first_key = TableOf(by_first_key);
    whole.FoldInto(whole_by_first_key, {0}, kFirst, kEnd);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto want_folded, whole_by_first_key.ExportSorted());
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got_folded, merged_by_first_key.ExportSorted());
    EXPECT_TRUE(got_folded->Equals(*want_folded)) << got_folded->ToString() << want_folded->ToString();
    EXPECT_LT(got_folded->num_rows(), got->num_rows());

    // By hand: the last text of all rows that have one.
    std::map<std::pair<std::int64_t, std::int64_t>, std::pair<std::int64_t, std::string>> last;
    for (std::int64_t i = 0; i < kRows; ++i) {
      auto& [number, text] = last.try_emplace({by_first_key.window.StartOf(windows[i]), k[i]}, -1, "").first->second;
      if (has_text[i] != 0 && numbers[i] > number) std::tie(number, text) = std::pair(numbers[i], owned[i]);
    }
    ASSERT_EQ(static_cast<std::size_t>(got_folded->num_rows()), last.size());
    const auto& numbers_got = static_cast<const arrow::Int64Array&>(*got_folded->column(4));
    const auto& texts_got = static_cast<const arrow::BinaryArray&>(*got_folded->column(5));
    std::int64_t row = 0;
    for (const auto& [group, value] : last) {
      EXPECT_EQ(numbers_got.IsNull(row), value.first < 0);
      if (value.first >= 0) {
        EXPECT_EQ(numbers_got.Value(row), value.first);
        EXPECT_EQ(texts_got.GetString(row), value.second + '\0');
      }
      ++row;
    }
  }
}

TEST(PartialTable, SpilledSumsAreRowsOfTheirOwnUntilTheyAreSettled) {
  model::AggregateDefinition d;
  d.name = "a";
  d.window = model::Window::Tumbling(kMinute);
  d.keys = {{"k", arrow::utf8()}};
  d.states = {{"n", arrow::int64(), "count"},
              {"money", arrow::decimal128(38, 0), "sum"},
              {"debt", arrow::decimal128(38, 0), "sum"}};
  const std::string most(38, '9');
  PartialTable table(d);
  const auto rows = millrace::testing::BatchFromJson(
      model::PartialSchema(d), "[[0, 60000000, \"b\", 1, \"" + most + "\", \"-" + most +
                                   "\", 1],"
                                   " [0, 60000000, \"a\", 1, \"1\", null, 1],"
                                   " [0, 60000000, \"b\", 1, \"" +
                                   most + "\", \"-7\", 1], [0, 60000000, \"b\", 1, \"-" + most + "\", null, 1]]");
  MergeRows(*rows, 1, &table);
  ASSERT_EQ(table.num_groups(), 2);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sorted, table.ExportSorted());
  // Group b: what its sums hold now, then what the one and the other held until they left the type. Zeroes of money are
  // what the last row took away.
  const auto want = millrace::testing::BatchFromJson(
      model::PartialSchema(d),
      "[[0, 60000000, \"a\", 1, \"1\", null, 1], [0, 60000000, \"b\", 3, \"0\", \"-7\", 3],"
      " [0, 60000000, \"b\", null, \"" +
          most + "\", null, 0], [0, 60000000, \"b\", null, null, \"-" + most + "\", 0]]");
  EXPECT_TRUE(sorted->Equals(*want)) << sorted->ToString();

  // The same when it comes back: from rows, and from a table.
  PartialTable again(d);
  MergeRows(*sorted, 1, &again);
  PartialTable folded(d);
  table.FoldInto(folded, {0}, kFirst, kEnd);
  for (PartialTable* settled : {&table, &again, &folded}) {
    const auto oversized = settled->Settle();
    ASSERT_EQ(oversized.size(), 1u);
    EXPECT_EQ(oversized[0].state, 2u);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto values, settled->ExportSorted());
    const auto want_values = millrace::testing::BatchFromJson(
        model::PartialSchema(d),
        "[[0, 60000000, \"a\", 1, \"1\", null, 1], [0, 60000000, \"b\", 3, \"" + most + "\", null, 3]]");
    EXPECT_TRUE(values->Equals(*want_values)) << values->ToString();
    EXPECT_TRUE(settled->Settle().empty());
  }
}

TEST(PartialTable, AStateOfNoSuchTypeIsRefused) {
  model::AggregateDefinition d;
  d.name = "a";
  d.states = {{"n", arrow::int64(), "count"}};
  PartialTable table(d);
  const std::uint32_t group = 0;
  for (const auto& [type, value] :
       {std::pair{arrow::list(arrow::int64()), "[[[1]]]"},
        std::pair{arrow::list(arrow::list(arrow::int64())), "[[[[1]]]]"}, std::pair{arrow::utf8(), "[[\"1\"]]"}}) {
    SCOPED_TRACE(type->ToString());
    const std::vector<std::shared_ptr<arrow::Array>> states = {
        millrace::testing::BatchFromJson(arrow::schema({arrow::field("n", type)}), value)->column(0)};
    MILLRACE_ASSERT_KIND(ErrorKind::kInternal, table.Merge(states, {1, &group, nullptr}));
  }
}

// What another writer left there is not read beyond its end, and is no value.
TEST(PartialTable, ListsOfUnequalLengthAreAGroupWithoutAValue) {
  model::AggregateDefinition d;
  d.name = "a";
  const auto list = arrow::list(arrow::field("element", arrow::int64()));
  d.states = {{"h__exceeded", arrow::boolean(), "histogram", 0},
              {"h__values", list, "histogram", 1},
              {"h__counts", list, "histogram", 2}};
  PartialTable table(d);
  const std::int64_t windows[] = {0, 0};
  std::uint32_t groups[] = {0, 0};
  table.FindOrMake(1, windows, {}, nullptr, groups);
  const auto rows = millrace::testing::BatchFromJson(
      arrow::schema({arrow::field("e", arrow::boolean()), arrow::field("v", list), arrow::field("c", list)}),
      "[[false, [1, 2, 3], [7]], [false, [4], [1, 1]]]");
  MILLRACE_ASSERT_OK(table.Merge(rows->columns(), {2, groups, nullptr}));
  const auto oversized = table.Settle();
  ASSERT_EQ(oversized.size(), 1u);
  EXPECT_EQ(oversized[0].group, 0u);
  EXPECT_EQ(oversized[0].state, 0u);
}

TEST(Functions, AreFoundByNameAndAlias) {
  ASSERT_NE(FindFunction("avg"), nullptr);
  EXPECT_EQ(FindFunction("mean"), FindFunction("avg"));
  EXPECT_EQ(FindFunction("sum")->name, "sum");
  EXPECT_EQ(FindFunction("median"), nullptr);
  EXPECT_EQ(FindFunction(""), nullptr);
}

TEST(Functions, SayWhatTheyKeepByTheTypesOfTheirArguments) {
  struct Case {
    const char* function;
    Call::Argument argument;
    const char* result_type;
    std::vector<std::string> states;  // Empty: refused.
  };
  const auto bigint = arrow::int64();
  const Case cases[] = {
      {"count", {"VARCHAR[]", arrow::list(arrow::utf8())}, "BIGINT", {"count int64"}},
      {"sum", {"BOOLEAN", arrow::boolean()}, "HUGEINT", {"sum decimal128(38, 0)"}},
      {"sum", {"UBIGINT", arrow::uint64()}, "HUGEINT", {"sum decimal128(38, 0) of HUGEINT"}},
      {"sum", {"DECIMAL(12,2)", arrow::decimal128(12, 2)}, "DECIMAL(38,2)", {"sum decimal128(38, 2)"}},
      {"sum", {"FLOAT", arrow::float32()}, "DOUBLE", {"sum double"}},
      {"sum", {"UHUGEINT", arrow::decimal128(38, 0)}, "DOUBLE", {}},
      {"sum", {"INTERVAL", arrow::month_day_nano_interval()}, "INTERVAL", {}},
      {"avg", {"BIGINT", bigint}, "DOUBLE", {"sum decimal128(38, 0)", "count int64"}},
      {"avg", {"USMALLINT", arrow::uint16()}, "DOUBLE", {"sum decimal128(38, 0) of HUGEINT", "count int64"}},
      {"avg", {"TIMESTAMP", arrow::timestamp(arrow::TimeUnit::MICRO)}, "TIMESTAMP", {}},
      {"min", {"VARCHAR", arrow::utf8()}, "VARCHAR", {"min string"}},
      {"max", {"DATE", arrow::date32()}, "DATE", {"max date32[day]"}},
      {"max", {"UBIGINT", arrow::uint64()}, "UBIGINT", {}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.function) + " of " + c.argument.duckdb_type);
    const auto states = FindFunction(c.function)->states({c.function, {c.argument}, c.result_type});
    if (c.states.empty()) {
      MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, states);
      EXPECT_EQ(states.status().message(), std::string(c.function) + "() of " + c.argument.duckdb_type);
      continue;
    }
    MILLRACE_ASSERT_OK(states);
    std::vector<std::string> got;
    for (const auto& state : *states) {
      ASSERT_EQ(state.columns.size(), 1u);
      EXPECT_EQ(state.columns[0].name, state.function);
      got.push_back(state.function + " " + state.columns[0].type->ToString() +
                    (state.cast.empty() ? "" : " of " + state.cast));
    }
    EXPECT_EQ(got, c.states);
  }
}

TEST(Functions, ADefinitionMakesAnAccumulatorOfEachState) {
  model::AggregateDefinition d;
  d.states = {{"n", arrow::int64(), "count"}, {"s", arrow::float64(), "sum"}, {"t", arrow::utf8(), "min"}};
  EXPECT_EQ(MakeAccumulators(d).size(), 3u);
  d.states.push_back({"a", arrow::float64(), "avg"});
  EXPECT_DEATH(MakeAccumulators(d), "no accumulator of avg");
}

}  // namespace
}  // namespace millrace::aggregate
