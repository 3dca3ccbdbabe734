#include "query/merge_plan.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <set>
#include <utility>

#include "aggregate/function.h"
#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "base/quantity_text.h"
#include "query/careful_schema_internal.h"
#include "query/set_measures_internal.h"
#include "query/where_expression.h"
#include "query/windows_in_range.h"

namespace millrace::query {
namespace {

constexpr std::size_t kPlansMax = 256;
constexpr std::int64_t kStepDaysMax = 1'000'000;

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Whether it is among what was asked for, in any case.
bool Names(const std::optional<std::vector<std::string>>& asked, const std::string& name) {
  return asked &&
         std::any_of(asked->begin(), asked->end(), [&](const std::string& other) { return AsciiLower(other) == name; });
}

// What the request asks for, in terms of the definition.
struct Shape {
  bool windows = false;           // window_start and window_end are columns of the merge.
  model::Window window;           // Of the answer; none if there are no windows.
  std::vector<std::string> keys;  // In the definition's order.
  std::vector<const model::AggregateMeasure*> measures;
  std::vector<std::string> columns;  // Of the answer, in order.
};

// The column that the user means by `name`, or an error that names the parameter.
Result<std::string> Resolve(const std::string& parameter, const char* what, const std::string& name,
                            const std::vector<std::string>& known, const std::string& aggregate) {
  for (const auto& candidate : known) {
    if (AsciiLower(candidate) == AsciiLower(name)) return candidate;
  }
  return InvalidInput("{}: no {} '{}' in {}{}", parameter, what, name, aggregate, NamesInstead(name, known));
}

// The windows of a step: of panes, so that each event is in one of them.
Result<model::Window> Stepped(const model::AggregateDefinition& definition, std::int64_t step_us) {
  constexpr std::int64_t kDayUs = std::int64_t{86'400} * 1'000'000;
  const model::Window& window = definition.window;
  const std::string step = DurationText(std::chrono::microseconds(step_us));
  if (!window.has_windows()) return InvalidInput("step: {} has no windows", definition.name);
  if (window.months > 0) {
    return InvalidInput("step: the windows of {} are of {}, which differ in length: only 0 (one in all) is a step",
                        definition.name, window.months == 1 ? "a month" : "months");
  }
  const bool in_days = window.kind == model::Window::Kind::kCalendar;
  const std::int64_t unit = in_days ? window.days * kDayUs : window.pane_us;
  if (step_us < 0 || step_us % unit != 0) {
    return InvalidInput("step: {} is not a multiple of the {} of {}, which is {}", step,
                        window.overlap() ? "panes" : "window", definition.name,
                        DurationText(std::chrono::microseconds(unit)));
  }
  if (!in_days) return model::Window::Tumbling(step_us);
  if (step_us / kDayUs > kStepDaysMax) return InvalidInput("step: {} is more than {} days", step, kStepDaysMax);
  return model::Window::CalendarDays(static_cast<int>(step_us / kDayUs), window.zone);
}

// Sessions are those of all keys: with fewer, other events would be apart.
Status CheckSessions(const model::AggregateDefinition& definition, const AggregateRequest& request,
                     const std::vector<std::string>& keys, bool by_window) {
  if (request.step_us) {
    return InvalidInput("step: the windows of {} are sessions, which have no common length: leave it out",
                        definition.name);
  }
  if (!request.group_by || (by_window && keys.size() == definition.keys.size())) return Status::OK();
  return InvalidInput(
      "group_by: the sessions of {} are those of all its keys: leave it out, or name window_start and every key; "
      "sessions of fewer keys are another aggregate",
      definition.name);
}

Status PlanGroups(const model::AggregateDefinition& definition, const AggregateRequest& request, Shape& shape) {
  std::vector<std::string> known;
  if (definition.window.has_windows()) known = {model::kWindowStart, model::kWindowEnd};
  for (const auto& key : definition.keys) known.push_back(key.name);

  bool by_window = false;
  if (request.group_by) {
    std::set<std::string> wanted;
    for (const auto& name : *request.group_by) {
      ASSIGN_OR_RETURN(const std::string column, Resolve("group_by", "key", name, known, definition.name));
      if (!wanted.insert(column).second) return InvalidInput("group_by: '{}' is named twice", column);
    }
    by_window = wanted.contains(model::kWindowStart) || wanted.contains(model::kWindowEnd);
    for (const auto& key : definition.keys) {
      if (wanted.count(key.name) != 0) shape.keys.push_back(key.name);
    }
  } else {
    for (const auto& key : definition.keys) shape.keys.push_back(key.name);
  }

  if (definition.window.kind == model::Window::Kind::kSession) {
    RETURN_NOT_OK(CheckSessions(definition, request, shape.keys, by_window));
  }
  if (request.step_us && *request.step_us == 0 && by_window) {
    return InvalidInput("group_by: the window cannot be a group when step is 0 (one window in all)");
  }
  shape.windows = request.step_us ? *request.step_us > 0 : by_window || !request.group_by;
  shape.windows = shape.windows && definition.window.has_windows();
  if (shape.windows) shape.window = definition.window;
  if (request.step_us && *request.step_us != 0) {
    ASSIGN_OR_RETURN(shape.window, Stepped(definition, *request.step_us));
  }
  return Status::OK();
}

Status CheckFill(const model::AggregateDefinition& definition, const AggregateRequest& request, const Shape& shape) {
  if (request.fill == Fill::kNone) return Status::OK();
  if (definition.window.kind == model::Window::Kind::kSession) {
    return InvalidInput("fill: the windows of {} are sessions: there is none where there are no events",
                        definition.name);
  }
  if (shape.windows) return Status::OK();
  return InvalidInput("fill: the answer has no windows that could be without rows: {}",
                      definition.window.has_windows() ? "ask for a step above 0, or name window_start in group_by"
                                                      : definition.name + " has none");
}

Status PlanMeasures(const model::AggregateDefinition& definition, const AggregateRequest& request, Shape& shape) {
  std::vector<std::string> known;
  for (const auto& measure : definition.measures) known.push_back(measure.name);
  if (request.measures.empty()) {
    for (const auto& measure : definition.measures) shape.measures.push_back(&measure);
    return Status::OK();
  }
  for (const auto& name : request.measures) {
    ASSIGN_OR_RETURN(const std::string column, Resolve("measures", "measure", name, known, definition.name));
    const auto index = std::find(known.begin(), known.end(), column) - known.begin();
    const auto* measure = &definition.measures[static_cast<std::size_t>(index)];
    if (std::find(shape.measures.begin(), shape.measures.end(), measure) != shape.measures.end()) {
      return InvalidInput("measures: '{}' is named twice", column);
    }
    shape.measures.push_back(measure);
  }
  return Status::OK();
}

// Windows and keys that were asked for by name come first if the user's own SELECT leaves them out; then its order.
void PlanColumns(const model::AggregateDefinition& definition, const AggregateRequest& request, Shape& shape) {
  std::vector<std::string> groups;
  if (shape.windows) groups = {model::kWindowStart, model::kWindowEnd};
  groups.insert(groups.end(), shape.keys.begin(), shape.keys.end());
  for (const auto& name : groups) {
    if (Contains(definition.output_order, name)) continue;
    const bool start = name == model::kWindowStart;
    const bool is_key = !start && name != model::kWindowEnd;
    // Windows of a step are told apart even if nobody named them.
    const bool asked =
        is_key ? request.group_by.has_value() : Names(request.group_by, name) || (start && request.step_us.has_value());
    if (asked) shape.columns.push_back(name);
  }
  const bool own_order = request.measures.empty();
  for (const auto& name : definition.output_order) {
    const bool measure =
        std::any_of(shape.measures.begin(), shape.measures.end(), [&](const auto* m) { return m->name == name; });
    if (Contains(groups, name) || (own_order && measure)) shape.columns.push_back(name);
  }
  if (own_order) return;
  for (const auto* measure : shape.measures) shape.columns.push_back(measure->name);
}

// An expression over merged rows may use a key only if the rows are still apart by it.
Status CheckUsesGroups(sql::SqlSession& session, const model::AggregateDefinition& definition, const Shape& shape,
                       const std::string& what, const std::string& expression) {
  if (shape.windows && shape.keys.size() == definition.keys.size()) return Status::OK();
  ASSIGN_OR_RETURN(const auto columns, ColumnsOf(session, expression));
  for (const auto& column : columns) {
    const bool window = !shape.windows && (column == model::kWindowStart || column == model::kWindowEnd);
    const bool key =
        std::any_of(definition.keys.begin(), definition.keys.end(), [&](const auto& k) { return k.name == column; }) &&
        !Contains(shape.keys, column);
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

struct OrderTerm {
  std::string column;
  bool descending = false;
};

Result<std::vector<OrderTerm>> OrderOf(const model::AggregateDefinition& definition, const AggregateRequest& request,
                                       const Shape& shape) {
  std::vector<OrderTerm> terms;
  std::set<std::string> ordered;
  for (const auto& item : request.order_by) {
    std::string name = item;
    std::string direction;
    const auto last = name.find_last_not_of(' ');
    name.erase(last == std::string::npos ? 0 : last + 1);
    name.erase(0, std::min(name.find_first_not_of(' '), name.size()));
    if (const auto blank = name.find_last_of(' '); blank != std::string::npos) {
      direction = AsciiLower(name.substr(blank + 1));
      name.erase(name.find_last_not_of(' ', blank) + 1);
      if (direction != "asc" && direction != "desc") {
        return InvalidInput("order_by: '{}' must be a column, or a column and asc or desc", item);
      }
    }
    ASSIGN_OR_RETURN(const std::string column,
                     Resolve("order_by", "column", name, shape.columns, "the answer of " + definition.name));
    if (!ordered.insert(column).second) return InvalidInput("order_by: '{}' is named twice", column);
    terms.push_back({column, direction == "desc"});
  }
  // Ties are broken by the groups, so that equal questions get equal answers.
  std::vector<std::string> groups;
  if (shape.windows) groups.push_back(model::kWindowStart);
  // The only windows of which several have the same start.
  if (shape.window.kind == model::Window::Kind::kCumulating) groups.push_back(model::kWindowEnd);
  groups.insert(groups.end(), shape.keys.begin(), shape.keys.end());
  for (const auto& group : groups) {
    if (ordered.count(group) == 0) terms.push_back({group});
  }
  return terms;
}

std::int64_t PageRows(const AggregateRequest& request) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() - 1;
  return std::min({request.limit.value_or(kMost), request.rows_max.value_or(kMost), kMost});
}

// One more than there may be shows that there are too many, and one more than a page has that there is another.
std::optional<std::int64_t> LimitOf(const AggregateRequest& request) {
  if (request.is_page) return PageRows(request) + 1;
  const bool is_bounded = request.rows_max && (!request.limit || *request.limit > *request.rows_max);
  return is_bounded ? *request.rows_max + 1 : request.limit;
}

// One row with all merged when the answer has no groups: there is one even if nothing was merged. Else the rows are the
// groups.
std::string MergedSql(const model::AggregateDefinition& definition, const Shape& shape, const std::string& relation) {
  const bool has_groups = shape.windows || !shape.keys.empty();
  std::vector<std::string> columns;
  if (shape.windows) columns = {model::kWindowStart, model::kWindowEnd};
  for (const auto& key : shape.keys) columns.push_back(sql::QuoteIdentifier(key));
  for (const auto& state : definition.states) {
    columns.push_back(fmt::format("{} AS {}", MergedStateSql(state, has_groups), sql::QuoteIdentifier(state.name)));
  }
  // count(*) keeps the statement an aggregation when there is neither a group nor a state.
  if (!has_groups) columns.push_back("count(*) AS _merged_rows");
  return fmt::format("SELECT {} FROM {}", fmt::join(columns, ", "), sql::QuoteIdentifier(relation));
}

// Windows and keys, as columns of every step of the final SQL.
std::vector<std::string> GroupColumns(const Shape& shape) {
  std::vector<std::string> columns;
  if (shape.windows) columns = {model::kWindowStart, model::kWindowEnd};
  for (const auto& key : shape.keys) columns.push_back(sql::QuoteIdentifier(key));
  return columns;
}

// The last step: the answer's columns in their order, and `more`.
Result<std::string> SelectSql(const model::AggregateDefinition& definition, const AggregateRequest& request,
                              const Shape& shape, const std::vector<std::string>& more) {
  std::vector<std::string> columns;
  for (const auto& column : shape.columns) columns.push_back(sql::QuoteIdentifier(column));
  columns.insert(columns.end(), more.begin(), more.end());
  ASSIGN_OR_RETURN(const auto order, OrderOf(definition, request, shape));
  std::vector<std::string> terms;
  for (const auto& [column, descending] : order) {
    terms.push_back(sql::QuoteIdentifier(column) + (descending ? " DESC" : ""));
  }
  std::string sql =
      fmt::format(" SELECT {} FROM {}", fmt::join(columns, ", "), request.fill == Fill::kNone ? "finalized" : "filled");
  if (!terms.empty()) sql += fmt::format(" ORDER BY {}", fmt::join(terms, ", "));
  if (const auto limit = LimitOf(request)) sql += fmt::format(" LIMIT {}", *limit);
  return sql;
}

std::string WindowsRelation(const model::AggregateDefinition& definition) { return definition.name + " windows"; }

// What stands in the place of the measure where no row is.
std::string EmptyMeasureSql(const model::AggregateMeasure& measure, Fill fill) {
  if (fill == Fill::kNull) return "NULL";
  const std::string value = fmt::format("TRY(CAST(({}) AS {}))", measure.sql, measure.duckdb_type);
  if (measure.duckdb_type != "DOUBLE" && measure.duckdb_type != "FLOAT") return value;
  return fmt::format("CASE WHEN isfinite({0}) THEN {0} END", value);  // A mean of nothing is 0 / 0.
}

// Of the steps `merged` and `finalized`: the windows and groups that no row is in, with states that nothing was merged
// into, and, as the step `filled`, these and the finalized rows. `values`: of such rows, in the place of the finalized
// columns after the groups. A row that HAVING leaves out is one: its window has nothing to be filled.
std::string FillSql(const model::AggregateDefinition& definition, const Shape& shape, Fill fill,
                    const std::vector<std::string>& values) {
  std::vector<std::string> columns = {"w.window_start", "w.window_end"};
  std::vector<std::string> keys;
  std::vector<std::string> same = {"m.window_start = w.window_start", "m.window_end = w.window_end"};
  for (const auto& name : shape.keys) {
    const std::string key = sql::QuoteIdentifier(name);
    keys.push_back(key);
    columns.push_back("g." + key);
    same.push_back(fmt::format("m.{0} IS NOT DISTINCT FROM g.{0}", key));
  }
  const std::string each =
      keys.empty() ? "" : fmt::format(" CROSS JOIN (SELECT DISTINCT {} FROM finalized) g", fmt::join(keys, ", "));
  std::vector<std::string> states;
  std::vector<std::string> nothing;
  for (const auto& state : definition.states) {
    const std::string name = sql::QuoteIdentifier(state.name);
    const bool is_zero =
        fill == Fill::kZero && (state.function == "sum" || aggregate::FindFunction(state.function)->zero_if_none);
    states.push_back(is_zero ? fmt::format("coalesce({0}, 0) AS {0}", name) : name);
    nothing.push_back("NULL");
  }
  std::vector<std::string> groups = GroupColumns(shape);
  // The first of the two gives the states their types.
  const auto and_then = [](const std::vector<std::string>& more) {
    return more.empty() ? "" : fmt::format(", {}", fmt::join(more, ", "));
  };
  std::vector<std::string> named;
  for (const auto& state : definition.states) named.push_back(sql::QuoteIdentifier(state.name));
  return fmt::format(
      ", vacant AS (SELECT {0}{1} FROM merged WHERE false UNION ALL SELECT {2}{3} FROM {4} w{5} WHERE NOT EXISTS "
      "(SELECT 1 "
      "FROM merged m WHERE {6})), empty AS (SELECT {0}{7} FROM vacant), filled AS (SELECT * FROM finalized UNION ALL "
      "SELECT {0}{8} FROM empty)",
      fmt::join(groups, ", "), and_then(named), fmt::join(columns, ", "), and_then(nothing),
      sql::QuoteIdentifier(WindowsRelation(definition)), each, fmt::join(same, " AND "), and_then(states),
      and_then(values));
}

// The answer out of merged rows. Has been checked for everything but the order.
Result<std::string> FinalSql(const model::AggregateDefinition& definition, const AggregateRequest& request,
                             const Shape& shape, const std::string& relation) {
  std::vector<std::string> finals = GroupColumns(shape);
  for (const auto* measure : shape.measures) {
    finals.push_back(fmt::format("({}) AS {}", measure->sql, sql::QuoteIdentifier(measure->name)));
  }
  std::string sql = fmt::format("WITH merged AS ({}), finalized AS (SELECT {} FROM merged",
                                MergedSql(definition, shape, relation), fmt::join(finals, ", "));
  if (!definition.having_sql.empty()) sql += fmt::format(" WHERE ({})", definition.having_sql);
  const auto named = request.name_groups ? GroupColumns(shape) : std::vector<std::string>{};
  ASSIGN_OR_RETURN(const auto select, SelectSql(definition, request, shape, named));
  sql += ")";
  if (request.fill != Fill::kNone) {
    std::vector<std::string> values;
    for (const auto* measure : shape.measures) values.push_back(EmptyMeasureSql(*measure, request.fill));
    sql += FillSql(definition, shape, request.fill, values);
  }
  return sql + select;
}

// The state that a measure shows as it is; nullptr: it computes something. A cast to the type that a state has changes
// nothing; that it is this one is seen by the answer's type.
const model::AggregateState* StateShown(const model::AggregateDefinition& definition,
                                        const model::AggregateMeasure& measure) {
  for (const auto& state : definition.states) {
    for (const auto& name : {state.name, sql::QuoteIdentifier(state.name)}) {
      if (measure.sql == name || measure.sql == fmt::format("CAST({} AS {})", name, measure.duckdb_type)) return &state;
    }
  }
  return nullptr;
}

// Whether rows are put in order by it without DuckDB. Not by doubles, whose order has its own rules for NaN.
bool HasPlainOrder(const arrow::DataType& type) {
  return type.id() == arrow::Type::STRING || type.id() == arrow::Type::DECIMAL128 || type.id() == arrow::Type::INT32 ||
         type.id() == arrow::Type::INT64 || type.id() == arrow::Type::DATE32 || type.id() == arrow::Type::TIMESTAMP ||
         type.id() == arrow::Type::BOOL;
}

// `schema`: of what FinalSql() gives. nullopt: there is something to compute.
Result<std::optional<PlainAnswer>> PlanPlainly(const model::AggregateDefinition& definition,
                                               const AggregateRequest& request, const Shape& shape,
                                               const model::AggregateDefinition& groups,
                                               std::shared_ptr<arrow::Schema> schema) {
  const bool has_groups = shape.windows || !shape.keys.empty();
  if (!has_groups || !definition.having_sql.empty() || request.is_page || request.fill != Fill::kNone) {
    return std::nullopt;
  }
  const auto rows = model::PartialSchema(groups);
  PlainAnswer plain{.schema = std::move(schema), .limit = LimitOf(request)};
  std::set<std::string> zero_if_null;
  const auto column_of = [&](const std::string& name) {
    const auto measure =
        std::find_if(shape.measures.begin(), shape.measures.end(), [&](const auto* m) { return m->name == name; });
    if (measure == shape.measures.end()) return rows->GetFieldIndex(name);
    const auto* const state = StateShown(definition, **measure);
    if (state == nullptr) return -1;
    if (aggregate::FindFunction(state->function)->zero_if_none) zero_if_null.insert(state->name);
    return rows->GetFieldIndex(state->name);
  };
  for (const auto& name : shape.columns) plain.columns.push_back(column_of(name));
  if (request.name_groups) {
    if (shape.windows) plain.columns.insert(plain.columns.end(), {0, 1});
    for (const auto& key : shape.keys) plain.columns.push_back(rows->GetFieldIndex(key));
  }
  if (std::ssize(plain.columns) != plain.schema->num_fields()) return std::nullopt;
  for (std::size_t i = 0; i < plain.columns.size(); ++i) {
    if (plain.columns[i] < 0) return std::nullopt;
    const auto& type = *plain.schema->field(static_cast<int>(i))->type();
    if (!rows->field(plain.columns[i])->type()->Equals(type)) return std::nullopt;
  }
  ASSIGN_OR_RETURN(const auto order, OrderOf(definition, request, shape));
  for (const auto& [name, descending] : order) {
    const int column = column_of(name);
    if (column < 0 || !HasPlainOrder(*rows->field(column)->type())) return std::nullopt;
    plain.order.push_back({column, descending});
  }
  for (const auto& name : zero_if_null) plain.zero_if_null.push_back(rows->GetFieldIndex(name));
  return plain;
}

constexpr const char* kHaving = "HAVING";

// FinalSql() with each expression on its own, so that one that fails takes only its own value with it: as a struct,
// which is NULL then. TRY stands in a CASE because DuckDB moves expressions that two TRYs share out of them, and leaves
// those in a CASE alone.
Result<std::string> CarefulSql(sql::SqlSession& session, const model::AggregateDefinition& definition,
                               const AggregateRequest& request, const Shape& shape, const std::string& relation,
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
  const bool has_groups = shape.windows || !shape.keys.empty();
  const auto flag = [&](const std::string& name) {
    return has_groups ? name : fmt::format("coalesce(bool_and({0}), true) AS {0}", name);
  };
  std::vector<std::string> flags = {flag("_true")};
  for (std::size_t i = 0; i < definition.states.size(); ++i) {
    if (MayOverflow(definition.states[i])) flags.push_back(flag(FitsColumn(i)));
  }
  std::string merged = MergedSql(definition, shape, relation);
  merged.insert(std::string_view("SELECT ").size(), fmt::format("{}, ", fmt::join(flags, ", ")));

  const std::vector<std::string> groups = GroupColumns(shape);
  std::vector<std::string> tried = groups;
  std::vector<std::string> finals = groups;
  std::vector<std::string> failed;
  std::vector<std::string> empty;  // Of rows that are filled in, as `finals` has them.
  const auto add = [&](const std::string& name, const std::string& expression) -> Status {
    ASSIGN_OR_RETURN(const auto sql, carefully(expression));
    const std::string column = fmt::format("_tried_{}", measures->size());
    const std::string flag_column = fmt::format("_failed_{}", measures->size());
    tried.push_back(fmt::format("{} AS {}", sql, column));
    finals.push_back(fmt::format("{} IS NULL AS {}", column, flag_column));
    if (name != kHaving) finals.push_back(fmt::format("{}.value AS {}", column, sql::QuoteIdentifier(name)));
    empty.push_back("false");
    failed.push_back(flag_column);
    measures->push_back(name);
    return Status::OK();
  };
  for (const auto* measure : shape.measures) {
    RETURN_NOT_OK(add(measure->name, measure->sql));
    empty.push_back(EmptyMeasureSql(*measure, request.fill));
  }
  std::string where;
  if (!definition.having_sql.empty()) {
    const std::string column = fmt::format("_tried_{}", measures->size());
    RETURN_NOT_OK(add(kHaving, definition.having_sql));
    where = fmt::format(" WHERE {0} IS NULL OR {0}.value", column);
  }
  std::vector<std::string> more = request.name_groups ? groups : std::vector<std::string>{};
  for (const auto& group : groups) {
    if (group != model::kWindowEnd || shape.window.kind == model::Window::Kind::kCumulating) more.push_back(group);
  }
  more.insert(more.end(), failed.begin(), failed.end());
  ASSIGN_OR_RETURN(const auto select, SelectSql(definition, request, shape, more));
  const std::string fill = request.fill == Fill::kNone ? "" : FillSql(definition, shape, request.fill, empty);
  return fmt::format("WITH merged AS ({}), tried AS (SELECT {} FROM merged), finalized AS (SELECT {} FROM tried{}){}{}",
                     merged, fmt::join(tried, ", "), fmt::join(finals, ", "), where, fill, select);
}

Result<std::string> FilterSql(sql::SqlSession& session, const model::AggregateDefinition& definition,
                              const AggregateRequest& request, const std::string& relation) {
  std::vector<std::string> columns;
  if (definition.window.has_windows()) columns = {model::kWindowStart, model::kWindowEnd};
  for (const auto& key : definition.keys) columns.push_back(key.name);
  const auto checked = CheckWhere(session, request.where, columns, definition.name);
  if (!checked.ok()) return WithContext(checked.status(), "where");
  return fmt::format("SELECT coalesce(CAST({} AS BOOLEAN), false) AS keep FROM {}", *checked,
                     sql::QuoteIdentifier(relation));
}

// The coarsest rows that conditions can be asked of and the answer's groups can be made of: apart by the keys of
// either, and by the aggregate's own windows only if a condition looks at one.
Result<model::AggregateDefinition> FoldedForCondition(sql::SqlSession& session,
                                                      const model::AggregateDefinition& definition,
                                                      const model::AggregateDefinition& groups,
                                                      const std::vector<std::string>& conditions) {
  std::vector<std::string> named;
  for (const auto& condition : conditions) {
    const auto columns = ColumnsOf(session, condition);
    if (!columns.ok()) return WithContext(columns.status(), "where");
    named.insert(named.end(), columns->begin(), columns->end());
  }
  const auto looks_at = [&](const std::string& column) {
    return std::any_of(named.begin(), named.end(),
                       [&](const std::string& name) { return AsciiLower(name) == AsciiLower(column); });
  };
  std::vector<std::string> keys;
  for (const auto& key : groups.keys) keys.push_back(key.name);
  for (const auto& key : definition.keys) {
    if (looks_at(key.name)) keys.push_back(key.name);
  }
  const bool windows = looks_at(model::kWindowStart) || looks_at(model::kWindowEnd);
  return Coarser(definition, keys, windows ? definition.window : groups.window);
}

// Sessions keep relations by name, and which columns one has follows from its keys.
std::string RelationName(const char* what, const model::AggregateDefinition& rows) {
  std::vector<std::string> keys;
  for (const auto& key : rows.keys) keys.push_back(sql::QuoteIdentifier(key.name));
  return fmt::format("{} {} by {}", rows.name, what, fmt::join(keys, ","));
}

}  // namespace

Result<std::shared_ptr<const MergePlan>> PlanMerge(sql::SqlSession& session, const model::AggregateDefinition& own,
                                                   const AggregateRequest& asked) {
  // From here on the question's sets are states, and what it makes of them are measures, as if they were the
  // aggregate's; only the rows that are fetched are without them.
  ASSIGN_OR_RETURN(const auto read, ReadSetMeasures(session, own, asked.measures));
  const model::AggregateDefinition& definition = read.definition;
  AggregateRequest request = asked;
  request.measures = read.measures;
  if (request.limit && *request.limit < 0) return InvalidInput("limit: {} is negative", *request.limit);
  Shape shape;
  RETURN_NOT_OK(PlanGroups(definition, request, shape));
  RETURN_NOT_OK(PlanMeasures(definition, request, shape));
  PlanColumns(definition, request, shape);

  RETURN_NOT_OK(CheckFill(definition, request, shape));
  for (const auto* measure : shape.measures) {
    RETURN_NOT_OK(CheckUsesGroups(session, definition, shape, "measure '" + measure->name + "'", measure->sql));
  }
  if (!definition.having_sql.empty()) {
    RETURN_NOT_OK(CheckUsesGroups(session, definition, shape, kHaving, definition.having_sql));
  }

  auto merge = std::make_shared<MergePlan>();
  merge->rows_max = request.rows_max;
  if (request.is_page) merge->page_rows = PageRows(request);
  merge->groups = std::make_shared<const model::AggregateDefinition>(Coarser(definition, shape.keys, shape.window));
  merge->folded = merge->groups;
  merge->puts_panes_together = shape.window.of_panes();
  const auto describe = [&](const std::string& sql) -> Result<std::vector<sql::ResultColumn>> {
    auto columns = session.Describe(sql);
    if (!columns.ok()) return WithContext(columns.status(), "aggregate {}", definition.name);
    return columns;
  };
  std::vector<std::string> conditions;
  if (!request.where.empty()) conditions.push_back(request.where);
  for (const auto& set : read.sets) conditions.push_back(set.condition);
  if (!conditions.empty()) {
    ASSIGN_OR_RETURN(auto folded, FoldedForCondition(session, own, *merge->groups, conditions));
    merge->folded = std::make_shared<const model::AggregateDefinition>(std::move(folded));
    merge->folded_relation = RelationName("rows", *merge->folded);
    RETURN_NOT_OK(session.Register(merge->folded_relation, model::PartialSchema(*merge->folded), {}));
  }
  if (!request.where.empty()) {
    ASSIGN_OR_RETURN(const auto columns, ColumnsOf(session, request.where));
    const auto is_window = [](const std::string& column) {
      return AsciiLower(column) == model::kWindowStart || AsciiLower(column) == model::kWindowEnd;
    };
    if (std::none_of(columns.begin(), columns.end(), is_window)) {
      merge->where_keys = request.where;
    } else if (request.fill != Fill::kNone) {
      return InvalidInput(
          "fill: where chooses windows, so it is not known which of the others to fill: use from and to");
    }
    ASSIGN_OR_RETURN(merge->filter_sql, FilterSql(session, own, request, merge->folded_relation));
    RETURN_NOT_OK(describe(merge->filter_sql).status());
  }
  if (!read.sets.empty()) {
    std::vector<std::string> keys;
    for (const auto& key : merge->folded->keys) keys.push_back(key.name);
    merge->with_sets =
        std::make_shared<const model::AggregateDefinition>(Coarser(definition, keys, merge->folded->window));
    std::vector<std::string> columns;
    for (const auto& set : read.sets) {
      columns.push_back(fmt::format("CASE WHEN {} THEN {} END", set.condition, sql::QuoteIdentifier(set.of)));
    }
    merge->sets_sql =
        fmt::format("SELECT {} FROM {}", fmt::join(columns, ", "), sql::QuoteIdentifier(merge->folded_relation));
    RETURN_NOT_OK(describe(merge->sets_sql).status());
  }
  merge->relation = RelationName("groups", *merge->groups);
  ASSIGN_OR_RETURN(merge->final_sql, FinalSql(definition, request, shape, merge->relation));
  ASSIGN_OR_RETURN(merge->careful_sql, CarefulSql(session, definition, request, shape, merge->relation + " carefully",
                                                  &merge->careful_measures));
  RETURN_NOT_OK(session.Register(merge->relation, model::PartialSchema(*merge->groups), {}));
  if (request.fill != Fill::kNone) {
    merge->windows_relation = WindowsRelation(definition);
    RETURN_NOT_OK(session.Register(merge->windows_relation, WindowsSchema(), {}));
    std::vector<std::string> keys;
    for (const auto& key : shape.keys) keys.push_back(sql::QuoteIdentifier(key));
    if (!keys.empty()) {
      merge->num_groups_sql = fmt::format("SELECT count(*) FROM (SELECT DISTINCT {} FROM {})", fmt::join(keys, ", "),
                                          sql::QuoteIdentifier(merge->relation));
    }
  }
  ASSIGN_OR_RETURN(merge->columns, describe(merge->final_sql));
  if (request.name_groups) merge->num_group_columns = static_cast<int>(GroupColumns(shape).size());
  merge->columns.resize(merge->columns.size() - static_cast<std::size_t>(merge->num_group_columns));
  // Of no rows.
  const auto nothing = session.Query(merge->final_sql);
  if (!nothing.ok()) return WithContext(nothing.status(), "aggregate {}", definition.name);
  ASSIGN_OR_RETURN(merge->plain, PlanPlainly(definition, request, shape, *merge->groups, (*nothing)->schema()));
  return merge;
}

Result<std::shared_ptr<const MergePlan>> MergePlans::Get(sql::SqlSession& session,
                                                         const model::AggregateDefinition& definition,
                                                         const AggregateRequest& request) {
  const std::string key = fmt::format("{}:{}{}", definition.name.size(), definition.name, PlanText(request));
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

}  // namespace millrace::query
