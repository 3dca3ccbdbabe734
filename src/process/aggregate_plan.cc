#include "process/aggregate_plan.h"

#include <arrow/table.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "aggregate/column_view.h"
#include "aggregate/function.h"
#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "model/event_batch.h"
#include "process/aggregate_call.h"
#include "process/select_statement.h"
#include "process/window_clause.h"
#include "sql/error_place.h"
#include "sql/sql_session.h"

namespace millrace::process {

namespace {

using aggregate::IsKeyType;

std::string What(const std::string& name) { return fmt::format("aggregate {}", name); }

bool IsNull(const ParseTree& tree) { return tree.kind == ParseTree::Kind::kNull; }

// Letters, digits and underscores: a column name that every reader of the table takes.
std::string Sanitized(std::string_view name) {
  std::string sanitized;
  for (const char c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
    if (plain || !sanitized.empty()) sanitized.push_back(plain ? c : '_');
  }
  while (!sanitized.empty() && sanitized.back() == '_') sanitized.pop_back();
  return sanitized.empty() ? "measure" : sanitized;
}

class Planner {
 public:
  Planner(sql::SqlSession& session, const std::string& name, const std::string& sql,
          std::shared_ptr<arrow::Schema> input_schema, const std::optional<EventTimeColumn>& event_time)
      : session_(session), name_(name), sql_(sql), input_schema_(std::move(input_schema)), event_time_(event_time) {}

  Result<AggregatePlan> Plan() {
    ASSIGN_OR_RETURN(statement_, ParseAggregate(session_, What(name_), sql_));
    auto& definition = plan_.definition;
    definition.name = name_;
    definition.sql = sql_;
    plan_.input_schema = input_schema_;
    ASSIGN_OR_RETURN(const auto clause, ParseWindowClause(statement_));
    definition.input = clause.relation;
    statement_.SetScope(input_schema_, {clause.alias.empty() ? clause.relation : clause.alias});
    RETURN_NOT_OK(CheckReserved());
    ASSIGN_OR_RETURN(definition.window, PlanWindow(session_, statement_, clause));
    if (definition.window.has_windows()) RETURN_NOT_OK(PlanTime(clause));
    RETURN_NOT_OK(Bind(clause));
    RETURN_NOT_OK(PlanWhere());
    RETURN_NOT_OK(Classify());
    RETURN_NOT_OK(PlanKeys());
    if (definition.window.kind == model::Window::Kind::kSession) RETURN_NOT_OK(AddSessionBounds());
    RETURN_NOT_OK(PlanCalls());
    RETURN_NOT_OK(PlanMeasures());
    RETURN_NOT_OK(PlanHaving());
    RETURN_NOT_OK(CheckAnswer());
    return std::move(plan_);
  }

 private:
  enum class ItemKind { kWindow, kKey, kMeasure };
  struct Item {
    ItemKind kind = ItemKind::kKey;
    std::string name;
    std::string duckdb_type;
    const ParseTree* original = nullptr;
    ParseTree expression;  // Resolved.
    std::vector<ParseTree> calls;
  };

  Status CheckReserved() const {
    for (const char* reserved : {model::kWindowStart, model::kWindowEnd, model::kPartialRows}) {
      if (statement_.ColumnNamed(reserved) >= 0) {
        return statement_.RefuseAt(statement_.from(),
                                   fmt::format("the input has a column {}, which is the window's", reserved));
      }
    }
    return Status::OK();
  }

  // The first of the inputs: the time that puts a row into its window.
  Status PlanTime(const WindowClause& clause) {
    const ParseTree time = statement_.Resolve(clause.time, {});
    const int column = statement_.ColumnOf(time);
    if (time.is_column() && column < 0) {
      const std::string& name = time["column_names"].items.back().text;
      return statement_.RefuseAt(clause.time, fmt::format("the input has no column {}{}", name,
                                                          DidYouMean(name, input_schema_->field_names())));
    }
    RETURN_NOT_OK(statement_.CheckRowWise(time));
    RETURN_NOT_OK(session_.Register(kInput, input_schema_, {}));
    // A column under its own name, whatever the case in which it is written: tables that exist have it so.
    const std::string name = column < 0 ? "" : input_schema_->field(column)->name();
    AggregatePlan::Input input{.sql = sql::QuoteIdentifier(name), .column = column, .type = nullptr};
    if (column < 0) {
      ASSIGN_OR_RETURN(input.sql, statement_.ToSql(time));
    }
    ASSIGN_OR_RETURN(input.type, calls_.ArrowTypeOf(time, clause.time));
    if (!input.type->Equals(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"))) {
      return statement_.RefuseAt(clause.time, NoTimeOf(clause.function, name, *input.type));
    }
    plan_.inputs.push_back(std::move(input));
    return Status::OK();
  }

  // What to do with what is no time for a window. `column`: its name, empty for an expression.
  static std::string NoTimeOf(const std::string& function, const std::string& column, const arrow::DataType& type) {
    const std::string needs = fmt::format("{} needs a TIMESTAMP WITH TIME ZONE, and {}", function,
                                          column.empty() ? "this expression" : column);
    if (type.id() == arrow::Type::TIMESTAMP) {
      return fmt::format("{} is a TIMESTAMP without one: write AT TIME ZONE 'UTC' behind it", needs);
    }
    if (column.empty()) return fmt::format("{} is {}", needs, type.ToString());
    if (arrow::is_numeric(type.id())) {
      return fmt::format(
          "{} is a number: declare it as timestamp_s, timestamp_ms, timestamp_us or timestamp_ns in "
          "decode.columns, or write to_timestamp(seconds)",
          needs);
    }
    return fmt::format("{} is {}: declare it as timestamp in decode.columns", needs, type.ToString());
  }

  // DuckDB binds the user's own text over an empty relation: its messages, its types.
  Status Bind(const WindowClause& clause) {
    auto fields = input_schema_->fields();
    if (plan_.definition.window.has_windows()) {
      const auto utc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
      fields.push_back(arrow::field(model::kWindowStart, utc));
      fields.push_back(arrow::field(model::kWindowEnd, utc));
    }
    for (const auto& item : statement_.node()["select_list"].items) {
      if (item.node_class() == "STAR") return statement_.RefuseAt(item, "name the columns: * cannot be aggregated");
    }
    RETURN_NOT_OK(session_.Register(clause.relation, arrow::schema(std::move(fields)), {}));
    ASSIGN_OR_RETURN(const auto bound, WithoutWindow(statement_, clause));
    auto described = session_.Describe(bound);
    if (!described.ok()) {
      std::string message = described.status().message();
      const auto place = sql::TakeErrorPlace(message, bound);
      if (place) message += fmt::format(" at line {} column {}", place->line, place->column);
      return MakeStatus(KindOf(described.status()), fmt::format("{}: {}", What(name_), message));
    }
    described_ = std::move(described).ValueUnsafe();
    RETURN_NOT_OK(session_.Register(kInput, input_schema_, {}));
    return Status::OK();
  }

  Status PlanWhere() {
    ParseTree where = statement_.node()["where_clause"];
    if (IsNull(where)) return Status::OK();
    for (const auto& item : statement_.node()["select_list"].items) {
      if (!item.alias().empty()) where_aliases_.try_emplace(AsciiLower(item.alias()), item);
    }
    where = statement_.Resolve(where, where_aliases_);
    RETURN_NOT_OK(statement_.CheckRowWise(where));
    if (NamesWindow(where)) return statement_.NotYetAt(statement_.node()["where_clause"], "the window in WHERE");
    ASSIGN_OR_RETURN(plan_.where_sql, statement_.ToSql(where));
    return Status::OK();
  }

  static bool NamesWindow(const ParseTree& tree) {
    if (tree.is_column()) {
      const std::string name = AsciiLower(tree["column_names"].items.back().text);
      return name == model::kWindowStart || name == model::kWindowEnd;
    }
    return std::any_of(tree.items.begin(), tree.items.end(), [](const ParseTree& item) { return NamesWindow(item); });
  }

  static bool IsWindowColumn(const ParseTree& tree) { return tree.is_column() && NamesWindow(tree); }

  // Every item of SELECT is the window, a key or a measure.
  Status Classify() {
    const auto& list = statement_.node()["select_list"].items;
    if (list.size() != described_.size()) {
      return Internal("{}: {} columns instead of DuckDB's {}", What(name_), list.size(), described_.size());
    }
    for (std::size_t i = 0; i < list.size(); ++i) {
      Item item;
      item.original = &list[i];
      item.duckdb_type = described_[i].duckdb_type;
      item.name = described_[i].name;
      ASSIGN_OR_RETURN(item.expression, statement_.WithoutAggregateMacros(statement_.Resolve(list[i], aliases_)));
      RETURN_NOT_OK(statement_.CheckRowWise(item.expression, &item.calls));
      if (!list[i].alias().empty()) aliases_.try_emplace(AsciiLower(list[i].alias()), item.expression);
      if (IsWindowColumn(item.expression)) {
        item.kind = ItemKind::kWindow;
        if (AsciiLower(item.name) != AsciiLower(item.expression["column_names"].items.back().text)) {
          return statement_.NotYetAt(list[i], "another name for window_start or window_end");
        }
        item.name = AsciiLower(item.name);
      } else if (NamesWindow(item.expression)) {
        return statement_.NotYetAt(list[i], "an expression over the window");
      } else if (!item.calls.empty()) {
        item.kind = ItemKind::kMeasure;
      }
      plan_.definition.output_order.push_back(item.name);
      items_.push_back(std::move(item));
    }
    return CheckUniqueNames(What(name_), plan_.definition.output_order);
  }

  Status PlanKeys() {
    RETURN_NOT_OK(CheckGroupBy());
    for (auto& item : items_) {
      if (item.kind != ItemKind::kKey) continue;
      if (IsConstant(item.expression)) {
        item.kind = ItemKind::kMeasure;  // The same in every row of the answer: nothing to group by.
        continue;
      }
      RETURN_NOT_OK(AddKey(item.name, item.expression, *item.original));
    }
    for (const auto& [name, expression, place] : hidden_keys_) RETURN_NOT_OK(AddKey(name, expression, place));
    return Status::OK();
  }

  Status AddKey(const std::string& name, const ParseTree& expression, const ParseTree& place) {
    if (name.find_first_of(" ,;{}()\n\t=\"'") != std::string::npos) {
      return statement_.RefuseAt(place, fmt::format("key {} needs a name: write AS and one after it", name));
    }
    if (AsciiLower(name) == model::kPartialRows || AsciiLower(name) == model::kWindowStart ||
        AsciiLower(name) == model::kWindowEnd) {
      return statement_.RefuseAt(place, fmt::format("{} cannot be the name of a key", name));
    }
    ASSIGN_OR_RETURN(const int input, AddInput(expression, place));
    const auto& type = plan_.inputs[input].type;
    const auto value_type = ValueType(type);
    if (!IsKeyType(*value_type)) {
      return statement_.NotYetAt(place, fmt::format("key {} of type {}", name, value_type->ToString()));
    }
    if (input != static_cast<int>(plan_.first_key() + plan_.definition.keys.size())) {
      return statement_.RefuseAt(place, fmt::format("key {} is already grouped by under another name", name));
    }
    plan_.definition.keys.push_back({name, value_type});
    keys_by_canonical_[Canonical(expression)] = name;
    taken_names_.insert(AsciiLower(name));
    return Status::OK();
  }

  // GROUP BY ALL, or a list that holds window_start if there are windows; DuckDB has checked already that it covers the
  // SELECT.
  Status CheckGroupBy() {
    const ParseTree& node = statement_.node();
    const bool has_windows = plan_.definition.window.has_windows();
    const bool window_selected = std::any_of(items_.begin(), items_.end(), [](const Item& item) {
      return item.kind == ItemKind::kWindow && item.name == model::kWindowStart;
    });
    const std::string needed = "an aggregate is per window: GROUP BY must hold window_start";
    if (node["aggregate_handling"].text == "FORCE_AGGREGATES") {
      if (has_windows && !window_selected) return statement_.RefuseAt(statement_.from(), needed);
      return Status::OK();
    }
    if (node["group_sets"].items.size() > 1) {
      return statement_.RefuseAt(statement_.from(), "GROUPING SETS, ROLLUP and CUBE are not supported");
    }
    const bool aggregates =
        !node["group_expressions"].empty() ||
        std::any_of(items_.begin(), items_.end(), [](const Item& item) { return !item.calls.empty(); });
    if (!has_windows && !aggregates) {
      return statement_.RefuseAt(statement_.from(), "an aggregate needs GROUP BY or an aggregate function");
    }
    bool window_grouped = false;
    for (const auto& group : node["group_expressions"].items) {
      ParseTree expression = statement_.Resolve(group, aliases_);
      if (expression.node_class() == "CONSTANT") {
        std::size_t position = 0;
        const std::string& text = expression["value"]["value"].text;
        if (text.find_first_not_of("0123456789") == std::string::npos && !text.empty()) position = std::stoul(text);
        if (position < 1 || position > items_.size()) {
          return statement_.RefuseAt(group, "GROUP BY takes columns, names and positions of SELECT");
        }
        expression = items_[position - 1].expression;
      }
      RETURN_NOT_OK(statement_.CheckRowWise(expression));
      if (IsWindowColumn(expression)) {
        window_grouped =
            window_grouped || AsciiLower(expression["column_names"].items.back().text) == model::kWindowStart;
        continue;
      }
      if (NamesWindow(expression)) return statement_.NotYetAt(group, "an expression over the window");
      const std::string canonical = Canonical(expression);
      const bool selected = std::any_of(items_.begin(), items_.end(), [&](const Item& item) {
        return item.kind == ItemKind::kKey && Canonical(item.expression) == canonical;
      });
      if (selected) continue;
      const int column = statement_.ColumnOf(expression);
      if (column < 0) {
        return statement_.RefuseAt(group, "an expression in GROUP BY must be in SELECT too, so that it has a name");
      }
      hidden_keys_.push_back({input_schema_->field(column)->name(), expression, group});
    }
    if (has_windows && !window_grouped) return statement_.RefuseAt(statement_.from(), needed);
    return Status::OK();
  }

  // The index of the expression among the inputs, each once.
  Result<int> AddInput(const ParseTree& expression, const ParseTree& place) {
    const std::string canonical = Canonical(expression);
    const auto found = inputs_by_canonical_.find(canonical);
    if (found != inputs_by_canonical_.end()) return found->second;
    AggregatePlan::Input input;
    ASSIGN_OR_RETURN(input.sql, statement_.ToSql(expression));
    input.column = statement_.ColumnOf(expression);
    ASSIGN_OR_RETURN(input.type, calls_.ArrowTypeOf(expression, place));
    const int index = static_cast<int>(plan_.inputs.size());
    plan_.inputs.push_back(std::move(input));
    inputs_by_canonical_[canonical] = index;
    return index;
  }

  // The index of the accumulator, each (function, arguments, filter) once. Its columns are called `base`, or `base` and
  // their own name, or like it.
  Result<std::size_t> AddAccumulator(const AggregateCall& call, const aggregate::CallState& state,
                                     const std::string& base, bool is_base) {
    AccumulatorPlan accumulator;
    std::vector<std::size_t> taken = state.arguments;
    if (taken.empty()) {
      taken.resize(call.arguments.size());
      std::iota(taken.begin(), taken.end(), 0);
    }
    for (const std::size_t which : taken) {
      ParseTree argument = call.arguments[which];
      if (!state.cast.empty() && call.typed.arguments[which].duckdb_type != state.cast) {
        ASSIGN_OR_RETURN(const auto sql, statement_.ToSql(argument));
        ASSIGN_OR_RETURN(argument, statement_.ParseExpression(fmt::format("CAST(({}) AS {})", sql, state.cast)));
      }
      ASSIGN_OR_RETURN(accumulator.arguments.emplace_back(), AddInput(argument, call.call));
    }
    if (state.by_event_order) RETURN_NOT_OK(AddEventOrder(call, accumulator));
    accumulator.takes_nulls = state.takes_nulls;
    if (!IsNull(call.filter)) {
      ASSIGN_OR_RETURN(accumulator.filter, AddInput(call.filter, call.call));
      if (plan_.inputs[accumulator.filter].type->id() != arrow::Type::BOOL) {
        return statement_.RefuseAt(call.call, "the condition of FILTER must be a boolean");
      }
    }
    auto& states = plan_.definition.states;
    for (std::size_t i = 0; i < plan_.accumulators.size(); ++i) {
      const auto& other = plan_.accumulators[i];
      const auto& first = states[other.states.front()];
      if (first.function == state.function && first.keeps == state.keeps && other.arguments == accumulator.arguments &&
          other.filter == accumulator.filter) {
        return i;
      }
    }
    for (const auto& column : state.columns) {
      const std::string wanted = Sanitized(is_base ? base : fmt::format("{}__{}", base, column.name));
      std::string name = wanted;
      for (int i = 2; taken_names_.contains(AsciiLower(name)); ++i) name = fmt::format("{}_{}", wanted, i);
      taken_names_.insert(AsciiLower(name));
      const int part = static_cast<int>(accumulator.states.size());
      accumulator.states.push_back(states.size());
      states.push_back({name, column.type, state.function, part, state.keeps});
    }
    plan_.accumulators.push_back(std::move(accumulator));
    return plan_.accumulators.size() - 1;
  }

  // Of each pane its first and last event.
  Status AddSessionBounds() {
    for (const auto& [name, function] : {std::pair(model::kFirstEvent, "min"), std::pair(model::kLastEvent, "max")}) {
      if (!taken_names_.insert(name).second) {
        return statement_.RefuseAt(statement_.from(), fmt::format("a key is called {}, as what sessions keep", name));
      }
      plan_.accumulators.push_back({.arguments = {0}, .states = {plan_.definition.states.size()}});
      plan_.definition.states.push_back({name, plan_.inputs.front().type, function});
    }
    return Status::OK();
  }

  // The arguments of aggregate/event_order.h.
  Status AddEventOrder(const AggregateCall& call, AccumulatorPlan& accumulator) {
    int time = 0;  // That of the windows is the first of the inputs.
    if (!plan_.definition.window.has_windows()) {
      ASSIGN_OR_RETURN(time, AddTimeOfEvents(call));
    }
    accumulator.arguments.push_back(time);
    for (const std::string_view name : {model::kTopicColumn, model::kPartitionColumn, model::kOffsetColumn}) {
      ASSIGN_OR_RETURN(accumulator.arguments.emplace_back(), AddPlaceInLog(call, name));
    }
    return Status::OK();
  }

  Result<int> AddPlaceInLog(const AggregateCall& call, std::string_view name) {
    if (statement_.ColumnNamed(name) < 0) {
      return statement_.RefuseAt(
          call.call,
          fmt::format("{}() needs the column {}, which says where an event is in the log", call.function->name, name));
    }
    return AddInput(ColumnReference(std::string(name)), call.call);
  }

  // What orders events where there are no windows.
  Result<int> AddTimeOfEvents(const AggregateCall& call) {
    if (!event_time_) return AddPlaceInLog(call, model::kTimestampColumn);
    if (event_time_->column < 0) {
      return statement_.RefuseAt(
          call.call, fmt::format("{}() goes by the time of events, and {} does not pass event_time.column '{}' on as "
                                 "it is: add it to the SELECT of the transform, under any name",
                                 call.function->name, plan_.definition.input, event_time_->name));
    }
    const auto& field = *input_schema_->field(event_time_->column);
    if (!field.nullable()) return AddInput(ColumnReference(field.name()), call.call);
    const std::string known = fmt::format("coalesce({}, {})", sql::QuoteIdentifier(field.name()),
                                          sql::QuoteIdentifier(std::string(model::kTimestampColumn)));
    ASSIGN_OR_RETURN(const auto expression, statement_.ParseExpression(known));
    return AddInput(expression, call.call);
  }

  // States of measures that are one call come first, so that they get the plain names; then the rest.
  Status PlanCalls() {
    struct Measured {
      AggregateCall call;
      const std::string* measure;
      bool takes_its_name;
    };
    std::vector<Measured> all;
    for (const auto& item : items_) {
      for (const auto& call : item.calls) {
        if (NamesWindow(call)) return statement_.NotYetAt(call, "an expression over the window");
        ASSIGN_OR_RETURN(auto understood, calls_.Understand(call));
        const bool alone = Canonical(call) == Canonical(item.expression) && understood.is_one_column();
        all.push_back({std::move(understood), &item.name, alone});
      }
    }
    for (const bool names : {true, false}) {
      for (const auto& [call, measure, takes_its_name] : all) {
        if (takes_its_name == names) RETURN_NOT_OK(AddCall(call, *measure, takes_its_name));
      }
    }
    const ParseTree& having = statement_.node()["having"];
    if (IsNull(having)) return Status::OK();
    ASSIGN_OR_RETURN(having_, statement_.WithoutAggregateMacros(statement_.Resolve(having, aliases_)));
    std::vector<ParseTree> calls;
    RETURN_NOT_OK(statement_.CheckRowWise(having_, &calls));
    if (NamesWindow(having_)) return statement_.NotYetAt(having, "the window in HAVING");
    for (const auto& call : calls) {
      ASSIGN_OR_RETURN(const auto understood, calls_.Understand(call));
      RETURN_NOT_OK(AddCall(understood, "having", false));
    }
    return Status::OK();
  }

  // Adds the call's states, and what computes its value from them.
  Status AddCall(const AggregateCall& call, const std::string& base, bool is_base) {
    const std::string canonical = Canonical(call.call);
    if (calls_by_canonical_.contains(canonical)) return Status::OK();
    std::vector<std::string> columns;
    for (const auto& state : call.states) {
      ASSIGN_OR_RETURN(const std::size_t index, AddAccumulator(call, state, Sanitized(base), is_base));
      for (const std::size_t column : plan_.accumulators[index].states) {
        columns.push_back(sql::QuoteIdentifier(plan_.definition.states[column].name));
      }
    }
    ASSIGN_OR_RETURN(auto tree, statement_.ParseExpression(call.function->final_sql(call.typed, columns)));
    calls_by_canonical_.emplace(canonical, std::move(tree));
    return Status::OK();
  }

  // The expression with its aggregates computed from states and its keys by their names.
  ParseTree OverStates(const ParseTree& expression) const {
    const std::string canonical = Canonical(expression);
    if (const auto call = calls_by_canonical_.find(canonical); call != calls_by_canonical_.end()) return call->second;
    if (const auto key = keys_by_canonical_.find(canonical); key != keys_by_canonical_.end()) {
      return ColumnReference(key->second);
    }
    ParseTree rewritten = expression;
    for (auto& item : rewritten.items) {
      if (!item.items.empty()) item = OverStates(item);
    }
    return rewritten;
  }

  static ParseTree ColumnReference(const std::string& name) {
    ParseTree names;
    names.kind = ParseTree::Kind::kArray;
    names.items.push_back(ParseTree::String(name));
    ParseTree column;
    column.kind = ParseTree::Kind::kObject;
    column.Set("class", ParseTree::String("COLUMN_REF"));
    column.Set("type", ParseTree::String("COLUMN_REF"));
    column.Set("alias", ParseTree::String(""));
    column.Set("column_names", std::move(names));
    return column;
  }

  // A set as a measure is how many it has: nobody reads the bytes of its sketch.
  static bool IsSet(const ParseTree& expression) {
    static const std::set<std::string, std::less<>> kSets = {"theta_sketch", "theta_union", "theta_intersect",
                                                             "theta_difference"};
    return expression.is_function() && kSets.contains(AsciiLower(expression["function_name"].text));
  }

  Status PlanMeasures() {
    for (const auto& item : items_) {
      if (item.kind != ItemKind::kMeasure) continue;
      ASSIGN_OR_RETURN(auto sql, statement_.ToSql(OverStates(item.expression)));
      if (IsSet(item.expression)) {
        plan_.definition.measures.push_back({item.name, fmt::format("theta_estimate({})", sql), "BIGINT"});
      } else {
        plan_.definition.measures.push_back({item.name, std::move(sql), item.duckdb_type});
      }
    }
    return Status::OK();
  }

  Status PlanHaving() {
    if (IsNull(having_)) return Status::OK();
    ASSIGN_OR_RETURN(plan_.definition.having_sql, statement_.ToSql(OverStates(having_)));
    return Status::OK();
  }

  // What we wrote must mean what the user wrote: the same types over merged states as over the raw rows.
  Status CheckAnswer() {
    const auto& definition = plan_.definition;
    RETURN_NOT_OK(session_.Register("merged", model::PartialSchema(definition), {}));
    std::string sql = fmt::format("SELECT {}", model::kPartialRows);
    for (const auto& measure : definition.measures) sql += ", " + measure.sql;
    sql += " FROM merged";
    if (!definition.having_sql.empty()) sql += " WHERE " + definition.having_sql;
    const auto described = session_.Describe(sql);
    if (!described.ok()) return Internal("{}: {}: {}", What(name_), sql, described.status().message());
    for (std::size_t i = 0; i < definition.measures.size(); ++i) {
      if ((*described)[i + 1].duckdb_type != definition.measures[i].duckdb_type) {
        return Internal("{}: measure {} is {} over states and {} over rows", What(name_), definition.measures[i].name,
                        (*described)[i + 1].duckdb_type, definition.measures[i].duckdb_type);
      }
    }
    return Status::OK();
  }

  static constexpr const char* kInput = "_millrace_input";
  struct HiddenKey {
    std::string name;
    ParseTree expression;
    ParseTree place;
  };

  sql::SqlSession& session_;
  const std::string& name_;
  const std::string& sql_;
  const std::shared_ptr<arrow::Schema> input_schema_;
  const std::optional<EventTimeColumn>& event_time_;
  SelectStatement statement_;
  const CallReader calls_{session_, statement_, kInput};
  AggregatePlan plan_;
  std::vector<sql::ResultColumn> described_;
  std::vector<Item> items_;
  std::vector<HiddenKey> hidden_keys_;
  ParseTree having_;
  std::map<std::string, ParseTree> aliases_;
  std::map<std::string, ParseTree> where_aliases_;
  std::map<std::string, std::string> keys_by_canonical_;
  std::map<std::string, ParseTree> calls_by_canonical_;
  std::map<std::string, int> inputs_by_canonical_;
  std::set<std::string> taken_names_ = {model::kWindowStart, model::kWindowEnd, model::kPartialRows};
};

}  // namespace

bool AggregatePlan::needs_sql() const {
  return !where_sql.empty() || std::any_of(inputs.begin(), inputs.end(), [](const Input& i) { return i.column < 0; });
}

Result<AggregatePlan> PlanAggregate(sql::SqlSession& session, const std::string& name, const std::string& sql,
                                    const std::shared_ptr<arrow::Schema>& input_schema,
                                    const std::optional<EventTimeColumn>& event_time) {
  return Planner(session, name, sql, input_schema, event_time).Plan();
}

Result<std::string> AggregateInputOf(sql::SqlSession& session, const std::string& name, const std::string& sql) {
  ASSIGN_OR_RETURN(const auto statement, ParseAggregate(session, What(name), sql));
  ASSIGN_OR_RETURN(const auto clause, ParseWindowClause(statement));
  return clause.relation;
}

}  // namespace millrace::process
