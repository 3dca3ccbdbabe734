#include "query/merge.h"

#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/builder.h>
#include <arrow/compute/api.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <arrow/util/byte_size.h>
#include <arrow/util/decimal.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <compare>
#include <functional>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "aggregate/function.h"
#include "query/careful_schema_internal.h"
#include "query/pane_windows.h"

namespace millrace::query {
namespace {

// Registers rows for one statement: a relation must not keep them alive until the next question.
class Registered {
 public:
  static Result<Registered> Make(sql::SqlSession& session, const std::string& relation,
                                 std::shared_ptr<arrow::RecordBatch> rows) {
    Registered registered(session, relation, rows->schema());
    RETURN_NOT_OK(session.Register(relation, registered.schema_, {std::move(rows)}));
    return registered;
  }
  Registered(Registered&& other) noexcept
      : session_(std::exchange(other.session_, nullptr)), relation_(other.relation_), schema_(other.schema_) {}
  Registered& operator=(Registered&&) = delete;
  ~Registered() {
    if (session_ == nullptr) return;
    const Status cleared = session_->Register(relation_, schema_, {});  // Of the schema that it has: nothing can fail.
    MILLRACE_DCHECK(cleared.ok());
  }

 private:
  Registered(sql::SqlSession& session, std::string relation, std::shared_ptr<arrow::Schema> schema)
      : session_(&session), relation_(std::move(relation)), schema_(std::move(schema)) {}
  sql::SqlSession* session_;
  std::string relation_;
  std::shared_ptr<arrow::Schema> schema_;
};

// Nullability may be lost on the way through a file or an engine; names and types must be right.
Status CheckSchema(const arrow::Schema& expected, const arrow::RecordBatch& rows, const std::string& aggregate) {
  bool same = rows.num_columns() == expected.num_fields();
  for (int i = 0; same && i < expected.num_fields(); ++i) {
    const auto& field = *rows.schema()->field(i);
    same = field.name() == expected.field(i)->name() && field.type()->Equals(expected.field(i)->type());
  }
  if (same) return Status::OK();
  return Internal("aggregate {}: partial rows of schema [{}], not [{}]", aggregate, rows.schema()->ToString(),
                  expected.ToString());
}

Result<std::shared_ptr<arrow::RecordBatch>> Filtered(sql::SqlSession& session, const MergePlan& plan,
                                                     const std::shared_ptr<arrow::RecordBatch>& rows,
                                                     const std::stop_token& stop) {
  auto windows = rows;
  if (plan.puts_panes_together) {
    ASSIGN_OR_RETURN(windows, WithWindowBounds(*plan.folded, rows));
  }
  ASSIGN_OR_RETURN(const auto registered, Registered::Make(session, plan.folded_relation, std::move(windows)));
  auto selected = session.Query(plan.filter_sql, stop);
  if (!selected.ok()) return WithContext(selected.status(), "where");
  if (rows->num_rows() == 0) return rows;
  ASSIGN_OR_RETURN(const auto keep, (*selected)->CombineChunksToBatch());
  ASSIGN_OR_RETURN(const auto kept, arrow::compute::Filter(rows, keep->column(0)));
  return kept.record_batch();
}

// The rows with the states of the question's sets: NULL where a row is not in the set.
Result<std::shared_ptr<arrow::RecordBatch>> WithSets(sql::SqlSession& session, const MergePlan& plan,
                                                     const std::shared_ptr<arrow::RecordBatch>& rows,
                                                     const std::stop_token& stop) {
  auto windows = rows;
  if (plan.puts_panes_together) {
    ASSIGN_OR_RETURN(windows, WithWindowBounds(*plan.folded, rows));
  }
  ASSIGN_OR_RETURN(const auto registered, Registered::Make(session, plan.folded_relation, std::move(windows)));
  ASSIGN_OR_RETURN(const auto sets, session.Query(plan.sets_sql, stop));
  ASSIGN_OR_RETURN(const auto states, sets->CombineChunksToBatch());
  arrow::ArrayVector columns = rows->columns();
  const auto own = states->columns();
  columns.insert(columns.end() - 1, own.begin(), own.end());  // Before the number of events.
  return arrow::RecordBatch::Make(model::PartialSchema(*plan.with_sets), rows->num_rows(), std::move(columns));
}

Result<std::shared_ptr<arrow::RecordBatch>> WithCarefulColumns(const model::AggregateDefinition& groups,
                                                               const Totals& totals) {
  const std::int64_t num_rows = totals.rows->num_rows();
  auto columns = totals.rows->columns();
  for (std::size_t i = 0; i < groups.states.size(); ++i) {
    if (!MayOverflow(groups.states[i])) continue;
    std::vector<bool> fits(static_cast<std::size_t>(num_rows), true);
    for (const auto& oversized : totals.oversized) {
      // They are named by the first of the state's columns.
      const std::size_t first = i - static_cast<std::size_t>(groups.states[i].part);
      if (oversized.state == first) fits[static_cast<std::size_t>(oversized.row)] = false;
    }
    arrow::BooleanBuilder builder;
    RETURN_NOT_OK(builder.AppendValues(fits));
    ASSIGN_OR_RETURN(columns.emplace_back(), builder.Finish());
  }
  ASSIGN_OR_RETURN(columns.emplace_back(), arrow::MakeArrayFromScalar(arrow::BooleanScalar(true), num_rows));
  return arrow::RecordBatch::Make(CarefulSchema(groups), num_rows, std::move(columns));
}

Result<std::shared_ptr<arrow::Table>> SomeColumns(const arrow::Table& table, int begin, int count) {
  std::vector<int> indexes(static_cast<std::size_t>(count));
  std::iota(indexes.begin(), indexes.end(), begin);
  ASSIGN_OR_RETURN(auto columns, table.SelectColumns(indexes));
  return columns;
}

// `finalized`: the answer's columns, then those of its groups, then others.
Status TakeRows(const MergePlan& plan, const arrow::Table& finalized, Answer& answer) {
  const int num_columns = static_cast<int>(plan.columns.size());
  if (plan.num_group_columns > 0) {
    ASSIGN_OR_RETURN(const auto groups, SomeColumns(finalized, num_columns, plan.num_group_columns));
    ASSIGN_OR_RETURN(answer.groups, groups->CombineChunksToBatch());
  }
  ASSIGN_OR_RETURN(answer.rows, SomeColumns(finalized, 0, num_columns));
  return Status::OK();
}

// Takes the columns behind the answer's own off: who failed where.
Status TakeErrors(const MergePlan& plan, const arrow::Table& careful, const std::string& reason, Answer& answer) {
  const int num_columns = static_cast<int>(plan.columns.size()) + plan.num_group_columns;
  const int num_measures = static_cast<int>(plan.careful_measures.size());
  const int num_groups = careful.num_columns() - num_columns - num_measures;
  ASSIGN_OR_RETURN(const auto rows, careful.CombineChunksToBatch());
  arrow::Int64Builder failed_rows;
  for (std::int64_t row = 0; row < rows->num_rows(); ++row) {
    bool failed = false;
    for (int m = 0; m < num_measures; ++m) {
      const auto& flags = static_cast<const arrow::BooleanArray&>(*rows->column(num_columns + num_groups + m));
      if (!flags.Value(row)) continue;
      failed = true;
      answer.errors.push_back({failed_rows.length(), plan.careful_measures[static_cast<std::size_t>(m)], reason});
    }
    if (failed) RETURN_NOT_OK(failed_rows.Append(row));
  }
  if (answer.errors.empty()) return Status::OK();
  std::vector<int> group_indexes(static_cast<std::size_t>(num_groups));
  std::iota(group_indexes.begin(), group_indexes.end(), num_columns);
  ASSIGN_OR_RETURN(const auto groups, rows->SelectColumns(group_indexes));
  ASSIGN_OR_RETURN(const auto which, failed_rows.Finish());
  if (num_groups == 0) {
    answer.error_groups = arrow::RecordBatch::Make(arrow::schema({}), which->length(), arrow::ArrayVector());
    return Status::OK();
  }
  ASSIGN_OR_RETURN(const auto taken, arrow::compute::Take(groups, which));
  answer.error_groups = taken.record_batch();
  return Status::OK();
}

// More are DuckDB's, which finds the first of many without sorting all.
constexpr std::int64_t kPlainRowsMax = 10'000;

// Two rows by one column, as DuckDB's ORDER BY has them: nulls are the last in either direction.
using ComparesRows = std::function<std::strong_ordering(std::int64_t a, std::int64_t b)>;

template <typename Value>
ComparesRows Comparison(const arrow::Array& array, bool descending, Value value) {
  return [&array, descending, value](std::int64_t a, std::int64_t b) -> std::strong_ordering {
    if (array.IsNull(a) || array.IsNull(b)) return array.IsNull(a) <=> array.IsNull(b);
    const auto first = value(a);
    const auto second = value(b);
    const auto ascending = first < second   ? std::strong_ordering::less
                           : second < first ? std::strong_ordering::greater
                                            : std::strong_ordering::equal;
    if (!descending) return ascending;
    return ascending < 0 ? std::strong_ordering::greater : ascending > 0 ? std::strong_ordering::less : ascending;
  };
}

template <typename ArrayType>
ComparesRows ViewComparison(const arrow::Array& array, bool descending) {
  return Comparison(array, descending,
                    [&typed = static_cast<const ArrayType&>(array)](std::int64_t row) { return typed.GetView(row); });
}

// Of the types that PlanMerge() takes for plain.
ComparesRows ComparisonOf(const arrow::Array& array, bool descending) {
  switch (array.type_id()) {
    case arrow::Type::STRING:
      return ViewComparison<arrow::StringArray>(array, descending);
    case arrow::Type::DECIMAL128:
      return Comparison(array, descending, [&decimals = static_cast<const arrow::Decimal128Array&>(array)](auto row) {
        return arrow::Decimal128(decimals.GetValue(row));
      });
    case arrow::Type::INT32:
      return ViewComparison<arrow::Int32Array>(array, descending);
    case arrow::Type::INT64:
      return ViewComparison<arrow::Int64Array>(array, descending);
    case arrow::Type::DATE32:
      return ViewComparison<arrow::Date32Array>(array, descending);
    case arrow::Type::TIMESTAMP:
      return ViewComparison<arrow::TimestampArray>(array, descending);
    default:
      MILLRACE_CHECK(array.type_id() == arrow::Type::BOOL, "no order of {}", array.type()->ToString());
      return ViewComparison<arrow::BooleanArray>(array, descending);
  }
}

// What final_sql gives of these rows; nullptr: only DuckDB can tell.
Result<std::shared_ptr<arrow::Table>> PlainRows(const PlainAnswer& plain,
                                                const std::shared_ptr<arrow::RecordBatch>& rows) {
  if (rows->num_rows() > kPlainRowsMax) return nullptr;
  for (const int column : plain.zero_if_null) {
    if (rows->column(column)->null_count() > 0) return nullptr;
  }
  std::vector<ComparesRows> comparisons;
  for (const auto& [column, descending] : plain.order) {
    comparisons.push_back(ComparisonOf(*rows->column(column), descending));
  }
  std::vector<std::int64_t> order(static_cast<std::size_t>(rows->num_rows()));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    for (const auto& comparison : comparisons) {
      if (const auto found = comparison(a, b); found != 0) return found < 0;
    }
    return false;
  });
  if (plain.limit && *plain.limit < std::ssize(order)) order.resize(static_cast<std::size_t>(*plain.limit));
  arrow::Int64Builder places_builder;
  RETURN_NOT_OK(places_builder.AppendValues(order));
  ASSIGN_OR_RETURN(const auto places, places_builder.Finish());
  arrow::ArrayVector columns;
  for (const int column : plain.columns) {
    ASSIGN_OR_RETURN(columns.emplace_back(), arrow::compute::Take(*rows->column(column), *places,
                                                                  arrow::compute::TakeOptions::NoBoundsCheck()));
  }
  return arrow::Table::Make(plain.schema, std::move(columns), places->length());
}

// What may be the matter with a group whose value has no place, or whose expression fails.
std::string Reason(const model::AggregateDefinition& groups, const Totals& totals) {
  std::set<std::string_view> reasons;
  for (const auto& oversized : totals.oversized) {
    reasons.insert(aggregate::FindFunction(groups.states[oversized.state].function)->oversized);
  }
  return fmt::format("{}, or an expression over it fails.", fmt::join(reasons, "; "));
}

// A table of groups and the rows that come of it, or DuckDB's sorting and its result, take some times the rows.
void MakeRoomForStepOver(const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows, const AnswerMemory* memory) {
  constexpr std::int64_t kStepFactor = 3;
  if (memory == nullptr) return;
  std::int64_t bytes = 0;
  for (const auto& batch : rows) bytes += arrow::util::TotalBufferSize(*batch);
  memory->MakeRoom(kStepFactor * bytes);
}

// Refuses more rows than may be, before they are made, and makes room for them.
Status CheckFilled(sql::SqlSession& session, const MergePlan& plan, const std::shared_ptr<arrow::RecordBatch>& totals,
                   std::int64_t num_windows, const std::stop_token& stop, const AnswerMemory* memory) {
  constexpr std::int64_t kRowBytesMin = 64;
  std::int64_t num_groups = 1;
  if (!plan.num_groups_sql.empty()) {
    ASSIGN_OR_RETURN(const auto registered, Registered::Make(session, plan.relation, totals));
    ASSIGN_OR_RETURN(const auto counted, session.Query(plan.num_groups_sql, stop));
    ASSIGN_OR_RETURN(const auto count, counted->column(0)->GetScalar(0));
    num_groups = static_cast<const arrow::Int64Scalar&>(*count).value;
  }
  const std::int64_t rows_max = std::min(plan.rows_max.value_or(kFilledRowsMax), kFilledRowsMax);
  // At most 1,000,000 windows of at most as many groups as fit in memory.
  if (num_windows * num_groups > rows_max) {
    return TooLarge("fill: {} windows of {} groups are more than {} rows, which is the limit", num_windows, num_groups,
                    rows_max);
  }
  if (memory != nullptr) {
    const std::int64_t row_bytes =
        std::max(kRowBytesMin, arrow::util::TotalBufferSize(*totals) / std::max<std::int64_t>(1, totals->num_rows()));
    memory->MakeRoom(3 * row_bytes * num_windows * num_groups);
  }
  return Status::OK();
}

// DuckDB's message without the SQL behind it, which is ours and not the user's.
std::string FirstLineOf(const Status& status) { return status.message().substr(0, status.message().find('\n')); }

}  // namespace

Result<Answer> MergeAndFinalize(sql::SqlSession& session, const MergePlan& plan,
                                std::vector<std::shared_ptr<arrow::RecordBatch>> partial_rows,
                                const std::stop_token& stop, const AnswerMemory* memory, std::int64_t rows_before,
                                const std::shared_ptr<arrow::RecordBatch>& windows) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string& name = plan.groups->name;
  Answer answer;
  for (const auto& batch : partial_rows) {
    answer.rows_read += batch->num_rows();
    RETURN_NOT_OK(CheckSchema(*model::PartialSchema(*plan.folded), *batch, name));
  }
  if (!plan.filter_sql.empty() || plan.with_sets != nullptr) {
    MakeRoomForStepOver(partial_rows, memory);
    ASSIGN_OR_RETURN(auto rows, Fold(*plan.folded, *plan.folded, {}, partial_rows, {.stop = stop}));
    if (!plan.filter_sql.empty()) {
      ASSIGN_OR_RETURN(rows, Filtered(session, plan, rows, stop));
    }
    if (plan.with_sets != nullptr) {
      ASSIGN_OR_RETURN(rows, WithSets(session, plan, rows, stop));
    }
    partial_rows = {std::move(rows)};
  }
  MakeRoomForStepOver(partial_rows, memory);
  Totals totals;
  {
    Folding folding(plan.with_sets != nullptr ? *plan.with_sets : *plan.folded, *plan.groups, {}, {.stop = stop});
    for (auto& batch : partial_rows) {
      RETURN_NOT_OK(folding.Add(*batch));
      batch.reset();  // The answer may need its memory.
    }
    ASSIGN_OR_RETURN(totals, folding.TakeTotals());
    if (plan.puts_panes_together) {
      ASSIGN_OR_RETURN(totals.rows, WithWindowBounds(*plan.groups, totals.rows));
    }
  }

  MakeRoomForStepOver({totals.rows}, memory);
  answer.columns = plan.columns;
  Result<std::shared_ptr<arrow::Table>> finalized = nullptr;
  std::optional<Registered> filled;
  if (!plan.windows_relation.empty()) {
    RETURN_NOT_OK(CheckFilled(session, plan, totals.rows, windows->num_rows(), stop, memory));
    ASSIGN_OR_RETURN(auto registered, Registered::Make(session, plan.windows_relation, windows));
    filled.emplace(std::move(registered));
  }
  const auto page_of = [&](const std::string& sql) -> Result<std::shared_ptr<arrow::Table>> {
    ASSIGN_OR_RETURN(auto rows,
                     session.Query(rows_before == 0 ? sql : fmt::format("{} OFFSET {}", sql, rows_before), stop));
    if (!plan.page_rows || rows->num_rows() <= *plan.page_rows) return rows;
    answer.next.emplace();
    return rows->Slice(0, *plan.page_rows);
  };
  if (totals.oversized.empty() && plan.plain) {
    ASSIGN_OR_RETURN(const auto rows, PlainRows(*plan.plain, totals.rows));
    if (rows != nullptr) {
      RETURN_NOT_OK(TakeRows(plan, *rows, answer));
      finalized = rows;
    }
  }
  if (totals.oversized.empty() && answer.rows == nullptr) {
    ASSIGN_OR_RETURN(const auto registered, Registered::Make(session, plan.relation, totals.rows));
    finalized = page_of(plan.final_sql);
    if (finalized.ok()) RETURN_NOT_OK(TakeRows(plan, **finalized, answer));
  }
  // The SQL is right, or it would not have been planned: a value is at fault. Which one?
  if (!totals.oversized.empty() || (!finalized.ok() && KindOf(finalized.status()) == ErrorKind::kInvalidInput)) {
    const std::string reason =
        totals.oversized.empty() ? FirstLineOf(finalized.status()) : Reason(*plan.groups, totals);
    ASSIGN_OR_RETURN(auto careful_rows, WithCarefulColumns(*plan.groups, totals));
    ASSIGN_OR_RETURN(const auto registered,
                     Registered::Make(session, plan.relation + " carefully", std::move(careful_rows)));
    finalized = page_of(plan.careful_sql);
    if (finalized.ok()) {
      RETURN_NOT_OK(TakeRows(plan, **finalized, answer));
      RETURN_NOT_OK(TakeErrors(plan, **finalized, reason, answer));
    }
  }
  if (!finalized.ok()) {
    return WithContext(finalized.status().WithMessage(FirstLineOf(finalized.status())), "aggregate {}", name);
  }
  if (!plan.page_rows && plan.rows_max && answer.rows->num_rows() > *plan.rows_max) {
    return TooLarge("aggregate {}: the answer has more than {} rows, which is the limit", name, *plan.rows_max);
  }
  answer.elapsed_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return answer;
}

}  // namespace millrace::query
