#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/builder.h>
#include <arrow/compute/api.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <set>
#include <utility>

#include "aggregate/function.h"
#include "base/nearest_name.h"
#include "base/quantity_text.h"
#include "query/aggregate_query.h"
#include "query/lower_case_internal.h"
#include "query/where_expression.h"

namespace millrace::query {
namespace {

constexpr std::size_t kPlansMax = 256;

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// What the request asks for, in terms of the definition.
struct Plan {
  bool windows = false;           // window_start and window_end are columns of the merge.
  std::int64_t step_us = 0;       // Size of the answer's windows, if there are windows.
  std::vector<std::string> keys;  // In the definition's order.
  std::vector<const model::AggregateMeasure*> measures;
  std::vector<std::string> columns;  // Of the answer, in order.
};

// The column that the user means by `name`, or an error that names the parameter.
Result<std::string> Resolve(const std::string& parameter, const char* what, const std::string& name,
                            const std::vector<std::string>& known, const std::string& aggregate) {
  for (const auto& candidate : known) {
    if (Lower(candidate) == Lower(name)) return candidate;
  }
  return InvalidInput("{}: no {} '{}' in {}{}", parameter, what, name, aggregate, DidYouMean(name, known));
}

Status PlanGroups(const model::AggregateDefinition& definition, const AggregateRequest& request, Plan& plan) {
  std::vector<std::string> known = {model::kWindowStart};
  for (const auto& key : definition.keys) known.push_back(key.name);

  bool by_window = false;
  if (request.group_by) {
    std::set<std::string> wanted;
    for (const auto& name : *request.group_by) {
      ASSIGN_OR_RETURN(const std::string column, Resolve("group_by", "key", name, known, definition.name));
      if (!wanted.insert(column).second) return InvalidInput("group_by: '{}' is named twice", column);
    }
    by_window = wanted.count(model::kWindowStart) != 0;
    for (const auto& key : definition.keys) {
      if (wanted.count(key.name) != 0) plan.keys.push_back(key.name);
    }
  } else {
    for (const auto& key : definition.keys) plan.keys.push_back(key.name);
  }

  if (request.step_us) {
    if (*request.step_us < 0 || *request.step_us % definition.window.size_us != 0) {
      return InvalidInput("step: {} is not a multiple of the window of {}, which is {}",
                          DurationText(std::chrono::microseconds(*request.step_us)), definition.name,
                          DurationText(std::chrono::microseconds(definition.window.size_us)));
    }
    if (*request.step_us == 0 && by_window) {
      return InvalidInput("group_by: window_start cannot be a group when step is 0 (one window in all)");
    }
  }
  plan.step_us = request.step_us.value_or(definition.window.size_us);
  plan.windows = request.step_us ? *request.step_us > 0 : by_window || !request.group_by;
  return Status::OK();
}

Status PlanMeasures(const model::AggregateDefinition& definition, const AggregateRequest& request, Plan& plan) {
  std::vector<std::string> known;
  for (const auto& measure : definition.measures) known.push_back(measure.name);
  if (request.measures.empty()) {
    for (const auto& measure : definition.measures) plan.measures.push_back(&measure);
    return Status::OK();
  }
  for (const auto& name : request.measures) {
    ASSIGN_OR_RETURN(const std::string column, Resolve("measures", "measure", name, known, definition.name));
    const auto index = std::find(known.begin(), known.end(), column) - known.begin();
    const auto* measure = &definition.measures[static_cast<std::size_t>(index)];
    if (std::find(plan.measures.begin(), plan.measures.end(), measure) != plan.measures.end()) {
      return InvalidInput("measures: '{}' is named twice", column);
    }
    plan.measures.push_back(measure);
  }
  return Status::OK();
}

// Windows and keys that were asked for by name come first if the user's own SELECT leaves them out; then its order.
void PlanColumns(const model::AggregateDefinition& definition, const AggregateRequest& request, Plan& plan) {
  std::vector<std::string> groups;
  if (plan.windows) groups = {model::kWindowStart, model::kWindowEnd};
  groups.insert(groups.end(), plan.keys.begin(), plan.keys.end());
  for (const auto& name : groups) {
    if (Contains(definition.output_order, name)) continue;
    const bool window = name == model::kWindowStart;
    const bool asked = request.group_by ? name != model::kWindowEnd : window && request.step_us.has_value();
    if (asked) plan.columns.push_back(name);
  }
  const bool own_order = request.measures.empty();
  for (const auto& name : definition.output_order) {
    const bool measure =
        std::any_of(plan.measures.begin(), plan.measures.end(), [&](const auto* m) { return m->name == name; });
    if (Contains(groups, name) || (own_order && measure)) plan.columns.push_back(name);
  }
  if (own_order) return;
  for (const auto* measure : plan.measures) plan.columns.push_back(measure->name);
}

// An expression over merged rows may use a key only if the rows are still apart by it.
Status CheckUsesGroups(sql::SqlSession& session, const model::AggregateDefinition& definition, const Plan& plan,
                       const std::string& what, const std::string& expression) {
  if (plan.windows && plan.keys.size() == definition.keys.size()) return Status::OK();
  ASSIGN_OR_RETURN(const auto columns, ColumnsOf(session, expression));
  for (const auto& column : columns) {
    const bool window = !plan.windows && (column == model::kWindowStart || column == model::kWindowEnd);
    const bool key =
        std::any_of(definition.keys.begin(), definition.keys.end(), [&](const auto& k) { return k.name == column; }) &&
        !Contains(plan.keys, column);
    if (window || key) return InvalidInput("group_by: {} of {} needs '{}'", what, definition.name, column);
  }
  return Status::OK();
}

// A merged state as model/aggregate.h has it in the SQL of measures. Without groups there is one row of merged states,
// or none, and one of the answer.
std::string MergedStateSql(const model::AggregateState& state, bool has_groups) {
  const std::string name = sql::QuoteIdentifier(state.name);
  const std::string column = has_groups ? name : fmt::format("any_value({})", name);
  return aggregate::FindFunction(state.function)->zero_if_none ? fmt::format("coalesce({}, 0)", column) : column;
}

Result<std::string> OrderSql(const model::AggregateDefinition& definition, const AggregateRequest& request,
                             const Plan& plan) {
  std::vector<std::string> terms;
  std::set<std::string> ordered;
  for (const auto& item : request.order_by) {
    std::string name = item;
    std::string direction;
    const auto last = name.find_last_not_of(' ');
    name.erase(last == std::string::npos ? 0 : last + 1);
    name.erase(0, std::min(name.find_first_not_of(' '), name.size()));
    if (const auto blank = name.find_last_of(' '); blank != std::string::npos) {
      direction = Lower(name.substr(blank + 1));
      name.erase(name.find_last_not_of(' ', blank) + 1);
      if (direction != "asc" && direction != "desc") {
        return InvalidInput("order_by: '{}' must be a column, or a column and asc or desc", item);
      }
    }
    ASSIGN_OR_RETURN(const std::string column,
                     Resolve("order_by", "column", name, plan.columns, "the answer of " + definition.name));
    if (!ordered.insert(column).second) return InvalidInput("order_by: '{}' is named twice", column);
    terms.push_back(sql::QuoteIdentifier(column) + (direction == "desc" ? " DESC" : ""));
  }
  // Ties are broken by the groups, so that equal questions get equal answers.
  std::vector<std::string> groups;
  if (plan.windows) groups.push_back(model::kWindowStart);
  groups.insert(groups.end(), plan.keys.begin(), plan.keys.end());
  for (const auto& group : groups) {
    if (ordered.count(group) == 0) terms.push_back(sql::QuoteIdentifier(group));
  }
  return terms.empty() ? std::string() : fmt::format(" ORDER BY {}", fmt::join(terms, ", "));
}

// One row with all merged when the answer has no groups: there is one even if nothing was merged. Else the rows are the
// groups.
std::string MergedSql(const model::AggregateDefinition& definition, const Plan& plan, const std::string& relation) {
  const bool has_groups = plan.windows || !plan.keys.empty();
  std::vector<std::string> columns;
  if (plan.windows) columns.push_back("epoch_us(window_start) AS _start_us");
  for (const auto& key : plan.keys) columns.push_back(sql::QuoteIdentifier(key));
  for (const auto& state : definition.states) {
    columns.push_back(fmt::format("{} AS {}", MergedStateSql(state, has_groups), sql::QuoteIdentifier(state.name)));
  }
  // count(*) keeps the statement an aggregation when there is neither a group nor a state.
  if (!has_groups) columns.push_back("count(*) AS _merged_rows");
  return fmt::format("SELECT {} FROM {}", fmt::join(columns, ", "), sql::QuoteIdentifier(relation));
}

// The merged rows with window_start and window_end instead of _start_us.
std::string WindowedSql(const Plan& plan, const std::string& merged) {
  std::string sql = fmt::format("WITH merged AS ({}), windowed AS (SELECT *", merged);
  if (plan.windows) {
    sql += fmt::format(
        ", make_timestamp(_start_us)::TIMESTAMPTZ AS window_start, make_timestamp(_start_us + {})::TIMESTAMPTZ AS "
        "window_end",
        plan.step_us);
  }
  return sql + " FROM merged)";
}

// Windows and keys, as columns of every step of the final SQL.
std::vector<std::string> GroupColumns(const Plan& plan) {
  std::vector<std::string> columns;
  if (plan.windows) columns = {model::kWindowStart, model::kWindowEnd};
  for (const auto& key : plan.keys) columns.push_back(sql::QuoteIdentifier(key));
  return columns;
}

// The last step: the answer's columns in their order, and `more`.
Result<std::string> SelectSql(const model::AggregateDefinition& definition, const AggregateRequest& request,
                              const Plan& plan, const std::vector<std::string>& more) {
  std::vector<std::string> columns;
  for (const auto& column : plan.columns) columns.push_back(sql::QuoteIdentifier(column));
  columns.insert(columns.end(), more.begin(), more.end());
  ASSIGN_OR_RETURN(const std::string order, OrderSql(definition, request, plan));
  std::string sql = fmt::format(" SELECT {} FROM finalized{}", fmt::join(columns, ", "), order);
  // One more than there may be shows that there are too many.
  std::optional<std::int64_t> limit = request.limit;
  if (request.rows_max && (!limit || *limit > *request.rows_max)) limit = *request.rows_max + 1;
  if (limit) sql += fmt::format(" LIMIT {}", *limit);
  return sql;
}

// The answer out of merged rows. Has been checked for everything but the order.
Result<std::string> FinalSql(const model::AggregateDefinition& definition, const AggregateRequest& request,
                             const Plan& plan, const std::string& relation) {
  std::vector<std::string> finals = GroupColumns(plan);
  for (const auto* measure : plan.measures) {
    finals.push_back(fmt::format("({}) AS {}", measure->sql, sql::QuoteIdentifier(measure->name)));
  }
  std::string sql = WindowedSql(plan, MergedSql(definition, plan, relation));
  sql += fmt::format(", finalized AS (SELECT {} FROM windowed", fmt::join(finals, ", "));
  if (!definition.having_sql.empty()) sql += fmt::format(" WHERE ({})", definition.having_sql);
  ASSIGN_OR_RETURN(const auto select, SelectSql(definition, request, plan, {}));
  return sql + ")" + select;
}

constexpr const char* kHaving = "HAVING";

bool MayOverflow(const model::AggregateState& state) { return aggregate::FindFunction(state.function)->may_overflow; }

// Name of the column that says whether the value of this state fits its type.
std::string FitsColumn(std::size_t state) { return fmt::format("_fits_{}", state); }

// PartialSchema() and one boolean for each state that can leave its type; and one that is always true, which DuckDB
// cannot know.
std::shared_ptr<arrow::Schema> CarefulSchema(const model::AggregateDefinition& definition) {
  arrow::FieldVector fields = model::PartialSchema(definition)->fields();
  for (std::size_t i = 0; i < definition.states.size(); ++i) {
    if (MayOverflow(definition.states[i])) fields.push_back(arrow::field(FitsColumn(i), arrow::boolean()));
  }
  fields.push_back(arrow::field("_true", arrow::boolean()));
  return arrow::schema(std::move(fields));
}

// FinalSql() with each expression on its own, so that one that fails takes only its own value with it: as a struct,
// which is NULL then. TRY stands in a CASE because DuckDB moves expressions that two TRYs share out of them, and leaves
// those in a CASE alone.
Result<std::string> CarefulSql(sql::SqlSession& session, const model::AggregateDefinition& definition,
                               const AggregateRequest& request, const Plan& plan, const std::string& relation,
                               std::vector<std::string>* measures) {
  const auto carefully = [&](const std::string& expression) -> Result<std::string> {
    ASSIGN_OR_RETURN(const auto columns, ColumnsOf(session, expression));
    std::vector<std::string> conditions = {"_true"};
    for (std::size_t i = 0; i < definition.states.size(); ++i) {
      const auto& state = definition.states[i];
      if (MayOverflow(state) && Contains(columns, state.name)) conditions.push_back(FitsColumn(i));
    }
    return fmt::format("CASE WHEN {} THEN TRY({{'value': ({})}}) END", fmt::join(conditions, " AND "), expression);
  };
  const bool has_groups = plan.windows || !plan.keys.empty();
  const auto flag = [&](const std::string& name) {
    return has_groups ? name : fmt::format("coalesce(bool_and({0}), true) AS {0}", name);
  };
  std::vector<std::string> flags = {flag("_true")};
  for (std::size_t i = 0; i < definition.states.size(); ++i) {
    if (MayOverflow(definition.states[i])) flags.push_back(flag(FitsColumn(i)));
  }
  std::string merged = MergedSql(definition, plan, relation);
  merged.insert(std::string_view("SELECT ").size(), fmt::format("{}, ", fmt::join(flags, ", ")));

  const std::vector<std::string> groups = GroupColumns(plan);
  std::vector<std::string> tried = groups;
  std::vector<std::string> finals = groups;
  std::vector<std::string> failed;
  const auto add = [&](const std::string& name, const std::string& expression) -> Status {
    ASSIGN_OR_RETURN(const auto sql, carefully(expression));
    const std::string column = fmt::format("_tried_{}", measures->size());
    const std::string flag_column = fmt::format("_failed_{}", measures->size());
    tried.push_back(fmt::format("{} AS {}", sql, column));
    finals.push_back(fmt::format("{} IS NULL AS {}", column, flag_column));
    if (name != kHaving) finals.push_back(fmt::format("{}.value AS {}", column, sql::QuoteIdentifier(name)));
    failed.push_back(flag_column);
    measures->push_back(name);
    return Status::OK();
  };
  for (const auto* measure : plan.measures) RETURN_NOT_OK(add(measure->name, measure->sql));
  std::string where;
  if (!definition.having_sql.empty()) {
    const std::string column = fmt::format("_tried_{}", measures->size());
    RETURN_NOT_OK(add(kHaving, definition.having_sql));
    where = fmt::format(" WHERE {0} IS NULL OR {0}.value", column);
  }
  std::vector<std::string> more;
  for (const auto& group : groups) {
    if (group != model::kWindowEnd) more.push_back(group);
  }
  more.insert(more.end(), failed.begin(), failed.end());
  ASSIGN_OR_RETURN(const auto select, SelectSql(definition, request, plan, more));
  return fmt::format("{}, tried AS (SELECT {} FROM windowed), finalized AS (SELECT {} FROM tried{}){}",
                     WindowedSql(plan, merged), fmt::join(tried, ", "), fmt::join(finals, ", "), where, select);
}

Result<std::string> FilterSql(sql::SqlSession& session, const model::AggregateDefinition& definition,
                              const AggregateRequest& request, const std::string& relation) {
  std::vector<std::string> columns = {model::kWindowStart, model::kWindowEnd};
  for (const auto& key : definition.keys) columns.push_back(key.name);
  const auto checked = CheckWhere(session, request.where, columns, definition.name);
  if (!checked.ok()) return WithContext(checked.status(), "where");
  return fmt::format("SELECT coalesce(CAST({} AS BOOLEAN), false) AS keep FROM {}", *checked,
                     sql::QuoteIdentifier(relation));
}

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
  ASSIGN_OR_RETURN(const auto registered, Registered::Make(session, plan.folded_relation, rows));
  auto selected = session.Query(plan.filter_sql, stop);
  if (!selected.ok()) return WithContext(selected.status(), "where");
  if (rows->num_rows() == 0) return rows;
  ASSIGN_OR_RETURN(const auto keep, (*selected)->CombineChunksToBatch());
  ASSIGN_OR_RETURN(const auto kept, arrow::compute::Filter(rows, keep->column(0)));
  return kept.record_batch();
}

Result<std::shared_ptr<arrow::RecordBatch>> WithCarefulColumns(const model::AggregateDefinition& groups,
                                                               const Totals& totals) {
  const std::int64_t num_rows = totals.rows->num_rows();
  auto columns = totals.rows->columns();
  for (std::size_t i = 0; i < groups.states.size(); ++i) {
    if (!MayOverflow(groups.states[i])) continue;
    std::vector<bool> fits(static_cast<std::size_t>(num_rows), true);
    for (const auto& oversized : totals.oversized) {
      if (oversized.state == i) fits[static_cast<std::size_t>(oversized.row)] = false;
    }
    arrow::BooleanBuilder builder;
    RETURN_NOT_OK(builder.AppendValues(fits));
    ASSIGN_OR_RETURN(columns.emplace_back(), builder.Finish());
  }
  ASSIGN_OR_RETURN(columns.emplace_back(), arrow::MakeArrayFromScalar(arrow::BooleanScalar(true), num_rows));
  return arrow::RecordBatch::Make(CarefulSchema(groups), num_rows, std::move(columns));
}

// Takes the columns behind the answer's own off: who failed where.
Status TakeErrors(const MergePlan& plan, const arrow::Table& careful, const std::string& reason, Answer& answer) {
  const int num_columns = static_cast<int>(plan.columns.size());
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
  std::vector<int> indexes(static_cast<std::size_t>(num_columns));
  std::iota(indexes.begin(), indexes.end(), 0);
  ASSIGN_OR_RETURN(answer.rows, careful.SelectColumns(indexes));
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

// DuckDB's message without the SQL behind it, which is ours and not the user's.
std::string FirstLineOf(const Status& status) { return status.message().substr(0, status.message().find('\n')); }

}  // namespace

Result<std::shared_ptr<const MergePlan>> PlanMerge(sql::SqlSession& session,
                                                   const model::AggregateDefinition& definition,
                                                   const AggregateRequest& request) {
  if (request.limit && *request.limit < 0) return InvalidInput("limit: {} is negative", *request.limit);
  Plan plan;
  RETURN_NOT_OK(PlanGroups(definition, request, plan));
  RETURN_NOT_OK(PlanMeasures(definition, request, plan));
  PlanColumns(definition, request, plan);

  for (const auto* measure : plan.measures) {
    RETURN_NOT_OK(CheckUsesGroups(session, definition, plan, "measure '" + measure->name + "'", measure->sql));
  }
  if (!definition.having_sql.empty()) {
    RETURN_NOT_OK(CheckUsesGroups(session, definition, plan, kHaving, definition.having_sql));
  }

  auto merge = std::make_shared<MergePlan>();
  merge->rows_max = request.rows_max;
  merge->groups = std::make_shared<const model::AggregateDefinition>(
      Coarser(definition, plan.keys, plan.windows ? model::Window::Tumbling(plan.step_us) : model::Window::None()));
  merge->folded = merge->groups;
  const auto describe = [&](const std::string& sql) -> Result<std::vector<sql::ResultColumn>> {
    auto columns = session.Describe(sql);
    if (!columns.ok()) return WithContext(columns.status(), "aggregate {}", definition.name);
    return columns;
  };
  if (!request.where.empty()) {
    // A condition may look at each window and key.
    merge->folded = std::make_shared<const model::AggregateDefinition>(definition);
    merge->folded_relation = definition.name + " rows";
    ASSIGN_OR_RETURN(merge->filter_sql, FilterSql(session, definition, request, merge->folded_relation));
    RETURN_NOT_OK(session.Register(merge->folded_relation, model::PartialSchema(definition), {}));
    RETURN_NOT_OK(describe(merge->filter_sql).status());
  }
  std::vector<std::string> keys;
  for (const auto& key : merge->groups->keys) keys.push_back(key.name);
  merge->relation = fmt::format("{} by {}", definition.name, fmt::join(keys, ","));
  ASSIGN_OR_RETURN(merge->final_sql, FinalSql(definition, request, plan, merge->relation));
  ASSIGN_OR_RETURN(merge->careful_sql, CarefulSql(session, definition, request, plan, merge->relation + " carefully",
                                                  &merge->careful_measures));
  RETURN_NOT_OK(session.Register(merge->relation, model::PartialSchema(*merge->groups), {}));
  ASSIGN_OR_RETURN(merge->columns, describe(merge->final_sql));
  return merge;
}

Result<std::shared_ptr<const MergePlan>> MergePlans::Get(sql::SqlSession& session,
                                                         const model::AggregateDefinition& definition,
                                                         const AggregateRequest& request) {
  // Every part by its length, so that no two requests have the same text.
  std::string key =
      fmt::format("{}:{}:{};{};{};", definition.name.size(), definition.name, request.step_us.value_or(-1),
                  request.limit.value_or(-1), request.rows_max.value_or(-1));
  const auto add = [&key](const std::vector<std::string>& names) {
    key += fmt::format("{};", names.size());
    for (const auto& name : names) key += fmt::format("{}:{}", name.size(), name);
  };
  add({request.where});
  add(request.measures);
  add(request.order_by);
  if (request.group_by) add(*request.group_by);
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = plans_.find(key); found != plans_.end()) return found->second;
  }
  ASSIGN_OR_RETURN(auto plan, PlanMerge(session, definition, request));
  const std::lock_guard lock(mutex_);
  if (plans_.size() >= kPlansMax) plans_.clear();
  plans_[key] = plan;
  return plan;
}

Result<Answer> MergeAndFinalize(sql::SqlSession& session, const MergePlan& plan,
                                std::vector<std::shared_ptr<arrow::RecordBatch>> partial_rows,
                                const std::stop_token& stop) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string& name = plan.groups->name;
  Answer answer;
  for (const auto& batch : partial_rows) {
    answer.rows_read += batch->num_rows();
    RETURN_NOT_OK(CheckSchema(*model::PartialSchema(*plan.folded), *batch, name));
  }
  if (!plan.filter_sql.empty()) {
    ASSIGN_OR_RETURN(const auto all, Fold(*plan.folded, *plan.folded, {}, partial_rows, {.stop = stop}));
    ASSIGN_OR_RETURN(auto counting, Filtered(session, plan, all, stop));
    partial_rows = {std::move(counting)};
  }
  Totals totals;
  {
    Folding folding(*plan.folded, *plan.groups, {}, {.stop = stop});
    for (auto& batch : partial_rows) {
      RETURN_NOT_OK(folding.Add(*batch));
      batch.reset();  // The answer may need its memory.
    }
    ASSIGN_OR_RETURN(totals, folding.TakeTotals());
  }

  answer.columns = plan.columns;
  Result<std::shared_ptr<arrow::Table>> finalized = nullptr;
  if (totals.oversized.empty()) {
    ASSIGN_OR_RETURN(const auto registered, Registered::Make(session, plan.relation, totals.rows));
    finalized = session.Query(plan.final_sql, stop);
    if (finalized.ok()) answer.rows = *finalized;
  }
  // The SQL is right, or it would not have been planned: a value is at fault. Which one?
  if (!totals.oversized.empty() || (!finalized.ok() && KindOf(finalized.status()) == ErrorKind::kInvalidInput)) {
    const std::string reason = totals.oversized.empty()
                                   ? FirstLineOf(finalized.status())
                                   : "The sum has more digits than its type, or an expression over it fails.";
    ASSIGN_OR_RETURN(auto careful_rows, WithCarefulColumns(*plan.groups, totals));
    ASSIGN_OR_RETURN(const auto registered,
                     Registered::Make(session, plan.relation + " carefully", std::move(careful_rows)));
    finalized = session.Query(plan.careful_sql, stop);
    if (finalized.ok()) RETURN_NOT_OK(TakeErrors(plan, **finalized, reason, answer));
  }
  if (!finalized.ok()) {
    return WithContext(finalized.status().WithMessage(FirstLineOf(finalized.status())), "aggregate {}", name);
  }
  if (plan.rows_max && answer.rows->num_rows() > *plan.rows_max) {
    return TooLarge("aggregate {}: the answer has more than {} rows, which is the limit", name, *plan.rows_max);
  }
  answer.elapsed_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return answer;
}

}  // namespace millrace::query
