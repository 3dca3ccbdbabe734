#include <arrow/array.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <set>

#include "base/nearest_name.h"
#include "base/quantity_text.h"
#include "query/aggregate_query.h"
#include "query/where_expression.h"

namespace millrace::query {
namespace {

constexpr std::size_t kPlansMax = 256;

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

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
    if (*request.step_us < 0 || *request.step_us % definition.window_size_us != 0) {
      return InvalidInput("step: {} is not a multiple of the window of {}, which is {}",
                          DurationText(std::chrono::microseconds(*request.step_us)), definition.name,
                          DurationText(std::chrono::microseconds(definition.window_size_us)));
    }
    if (*request.step_us == 0 && by_window) {
      return InvalidInput("group_by: window_start cannot be a group when step is 0 (one window in all)");
    }
  }
  plan.step_us = request.step_us.value_or(definition.window_size_us);
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

// The rule of model/aggregate.h: which type a merged state has in the SQL of a measure.
std::string MergedStateSql(const model::AggregateState& state) {
  const std::string column = sql::QuoteIdentifier(state.name);
  switch (state.merge) {
    case model::MergeFunction::kMin:
      return fmt::format("min({})", column);
    case model::MergeFunction::kMax:
      return fmt::format("max({})", column);
    case model::MergeFunction::kSum:
      break;
  }
  if (state.type->id() == arrow::Type::INT64) return fmt::format("coalesce(sum({}), 0)::BIGINT", column);
  if (state.type->id() == arrow::Type::DECIMAL128 &&
      static_cast<const arrow::Decimal128Type&>(*state.type).scale() == 0) {
    return fmt::format("sum({})::HUGEINT", column);
  }
  return fmt::format("sum({})", column);
}

// The same for a state that is merged already.
std::string MergedStateTypeSql(const model::AggregateState& state) {
  const std::string column = sql::QuoteIdentifier(state.name);
  if (state.merge != model::MergeFunction::kSum) return column;
  if (state.type->id() == arrow::Type::INT64) return fmt::format("coalesce({}, 0)::BIGINT", column);
  if (state.type->id() == arrow::Type::DECIMAL128 &&
      static_cast<const arrow::Decimal128Type&>(*state.type).scale() == 0) {
    return fmt::format("{}::HUGEINT", column);
  }
  return column;
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

// Rows of the relation merged by group: _start_us, the keys and the states.
Result<std::string> MergingSql(sql::SqlSession& session, const model::AggregateDefinition& definition,
                               const AggregateRequest& request, const Plan& plan, const std::string& relation) {
  std::string where;
  if (!request.where.empty()) {
    std::vector<std::string> columns = {model::kWindowStart, model::kWindowEnd};
    for (const auto& key : definition.keys) columns.push_back(key.name);
    auto checked = CheckWhere(session, request.where, columns, definition.name);
    if (!checked.ok()) return WithContext(checked.status(), "where");
    where = " WHERE " + *checked;
  }
  // Windows are aligned to 1970; `%` keeps the sign of the dividend, hence the second one.
  std::vector<std::string> merged;
  std::size_t num_groups = plan.keys.size();
  if (plan.windows) {
    ++num_groups;
    const std::string start =
        fmt::format("epoch_us(window_start) - ((epoch_us(window_start) % {0}) + {0}) % {0}", plan.step_us);
    merged.push_back(fmt::format("{} AS _start_us", start));
  }
  for (const auto& key : plan.keys) merged.push_back(sql::QuoteIdentifier(key));
  for (const auto& state : definition.states) {
    merged.push_back(fmt::format("{} AS {}", MergedStateSql(state), sql::QuoteIdentifier(state.name)));
  }
  // count(*) keeps the statement an aggregation when there is neither a group nor a state.
  merged.push_back("count(*) AS _merged_rows");
  std::vector<std::string> positions;
  for (std::size_t i = 1; i <= num_groups; ++i) positions.push_back(std::to_string(i));
  return fmt::format("SELECT {} FROM {}{}{}", fmt::join(merged, ", "), sql::QuoteIdentifier(relation), where,
                     num_groups > 0 ? fmt::format(" GROUP BY {}", fmt::join(positions, ", ")) : "");
}

// The same when each group has one row, whose window is the answer's.
std::string PlainSql(const model::AggregateDefinition& definition, const Plan& plan, const std::string& relation) {
  std::vector<std::string> columns;
  if (plan.windows) columns.push_back("epoch_us(window_start) AS _start_us");
  for (const auto& key : plan.keys) columns.push_back(sql::QuoteIdentifier(key));
  for (const auto& state : definition.states) {
    columns.push_back(fmt::format("{} AS {}", MergedStateTypeSql(state), sql::QuoteIdentifier(state.name)));
  }
  return fmt::format("SELECT {} FROM {}", fmt::join(columns, ", "), sql::QuoteIdentifier(relation));
}

// The answer out of merged rows. Has been checked for everything but the order.
Result<std::string> FinalSql(const model::AggregateDefinition& definition, const AggregateRequest& request,
                             const Plan& plan, const std::string& merged) {
  std::string sql = fmt::format("WITH merged AS ({}), windowed AS (SELECT *", merged);
  if (plan.windows) {
    sql += fmt::format(
        ", make_timestamp(_start_us)::TIMESTAMPTZ AS window_start, make_timestamp(_start_us + {})::TIMESTAMPTZ AS "
        "window_end",
        plan.step_us);
  }
  sql += " FROM merged), finalized AS (SELECT ";
  std::vector<std::string> finals;
  if (plan.windows) finals = {model::kWindowStart, model::kWindowEnd};
  for (const auto& key : plan.keys) finals.push_back(sql::QuoteIdentifier(key));
  for (const auto* measure : plan.measures) {
    finals.push_back(fmt::format("({}) AS {}", measure->sql, sql::QuoteIdentifier(measure->name)));
  }
  sql += fmt::format("{} FROM windowed", fmt::join(finals, ", "));
  if (!definition.having_sql.empty()) sql += fmt::format(" WHERE ({})", definition.having_sql);

  std::vector<std::string> columns;
  for (const auto& column : plan.columns) columns.push_back(sql::QuoteIdentifier(column));
  sql += fmt::format(") SELECT {} FROM finalized", fmt::join(columns, ", "));
  ASSIGN_OR_RETURN(const std::string order, OrderSql(definition, request, plan));
  sql += order;
  if (request.limit) sql += fmt::format(" LIMIT {}", *request.limit);
  return sql;
}

// Fold() puts what left its type on the way into rows of no events, after all others.
bool HasOneRowPerGroup(const arrow::RecordBatch& folded) {
  if (folded.num_rows() == 0) return true;
  const auto& events = static_cast<const arrow::Int64Array&>(*folded.column(folded.num_columns() - 1));
  return events.Value(folded.num_rows() - 1) > 0;
}

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
    RETURN_NOT_OK(CheckUsesGroups(session, definition, plan, "HAVING", definition.having_sql));
  }

  auto merge = std::make_shared<MergePlan>();
  // A condition may look at each window and key.
  merge->folded = std::make_shared<const model::AggregateDefinition>(
      request.where.empty() ? Coarser(definition, plan.keys, plan.windows ? plan.step_us : 0) : definition);
  std::vector<std::string> keys;
  for (const auto& key : merge->folded->keys) keys.push_back(key.name);
  merge->relation = fmt::format("{} by {}", definition.name, fmt::join(keys, ","));
  ASSIGN_OR_RETURN(const auto merging, MergingSql(session, definition, request, plan, merge->relation));
  ASSIGN_OR_RETURN(merge->merging_sql, FinalSql(definition, request, plan, merging));
  const bool has_groups = plan.windows || !plan.keys.empty();
  if (request.where.empty() && has_groups) {
    ASSIGN_OR_RETURN(merge->plain_sql,
                     FinalSql(definition, request, plan, PlainSql(definition, plan, merge->relation)));
  }
  RETURN_NOT_OK(session.Register(merge->relation, model::PartialSchema(*merge->folded), {}));
  auto columns = session.Describe(merge->merging_sql);
  if (!columns.ok()) return WithContext(columns.status(), "aggregate {}", definition.name);
  merge->columns = std::move(columns).ValueUnsafe();
  return merge;
}

Result<std::shared_ptr<const MergePlan>> MergePlans::Get(sql::SqlSession& session,
                                                         const model::AggregateDefinition& definition,
                                                         const AggregateRequest& request) {
  // Every part by its length, so that no two requests have the same text.
  std::string key = fmt::format("{}:{}:{};{};", definition.name.size(), definition.name, request.step_us.value_or(-1),
                                request.limit.value_or(-1));
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
                                std::vector<std::shared_ptr<arrow::RecordBatch>> partial_rows) {
  const auto begin = std::chrono::steady_clock::now();
  const auto schema = model::PartialSchema(*plan.folded);
  Answer answer;
  for (const auto& batch : partial_rows) {
    answer.rows_read += batch->num_rows();
    // Nullability may be lost on the way through a file or an engine; names and types must be right.
    bool same = batch->num_columns() == schema->num_fields();
    for (int i = 0; same && i < schema->num_fields(); ++i) {
      const auto& field = *batch->schema()->field(i);
      same = field.name() == schema->field(i)->name() && field.type()->Equals(schema->field(i)->type());
    }
    if (!same) {
      return Internal("aggregate {}: partial rows of schema [{}], not [{}]", plan.folded->name,
                      batch->schema()->ToString(), schema->ToString());
    }
  }

  ASSIGN_OR_RETURN(auto folded, Fold(*plan.folded, *plan.folded, {}, partial_rows));
  const bool plain = !plan.plain_sql.empty() && HasOneRowPerGroup(*folded);
  RETURN_NOT_OK(session.Register(plan.relation, schema, {std::move(folded)}));
  answer.columns = plan.columns;
  auto finalized = session.Query(plain ? plan.plain_sql : plan.merging_sql);
  // The relation must not keep the rows alive until the next question.
  RETURN_NOT_OK(session.Register(plan.relation, schema, {}));
  if (!finalized.ok()) return WithContext(finalized.status(), "aggregate {}", plan.folded->name);
  answer.rows = std::move(finalized).ValueUnsafe();
  answer.elapsed_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return answer;
}

}  // namespace millrace::query
