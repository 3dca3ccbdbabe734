#include "query/merge_view.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>
#include <vector>

#include "aggregate/function.h"
#include "query/condition_tree_internal.h"
#include "query/where_expression.h"

namespace millrace::query {
namespace {

namespace json = boost::json;

// Says a measure's expression in another dialect: the constructs that the planner of aggregates writes, and the common
// arithmetic around them. Anything else is an error rather than a guess.
class Printer {
 public:
  explicit Printer(Dialect dialect) : dialect_(dialect) {}

  std::string Identifier(const std::string& name) const {
    const char quote = dialect_ == Dialect::kSpark ? '`' : '"';
    std::string out(1, quote);
    for (const char c : name) {
      if (c == quote) out += quote;
      out += c;
    }
    return out + quote;
  }

  Result<std::string> Type(const json::object& type) const {
    const std::string id(TextMember(type, "id"));
    if (id == "DECIMAL") {
      const auto* info = type.if_contains("type_info");
      if (info == nullptr || !info->is_object()) return std::string("DECIMAL(18,3)");
      return fmt::format("DECIMAL({},{})", info->get_object().at("width").to_number<int>(),
                         info->get_object().at("scale").to_number<int>());
    }
    if (dialect_ == Dialect::kDuckDb) return id == "TIMESTAMP WITH TIME ZONE" ? std::string("TIMESTAMPTZ") : id;
    const bool spark = dialect_ == Dialect::kSpark;
    if (id == "HUGEINT") return std::string("DECIMAL(38,0)");
    if (id == "VARCHAR") return std::string(spark ? "STRING" : "VARCHAR");
    if (id == "FLOAT") return std::string(spark ? "FLOAT" : "REAL");
    if (id == "TIMESTAMP WITH TIME ZONE") return std::string(spark ? "TIMESTAMP" : "TIMESTAMP(6) WITH TIME ZONE");
    if (id == "TIMESTAMP") return std::string(spark ? "TIMESTAMP_NTZ" : "TIMESTAMP(6)");
    // What has no sign there goes into the next larger type.
    if (id == "UTINYINT") return std::string("SMALLINT");
    if (id == "USMALLINT") return std::string("INTEGER");
    if (id == "UINTEGER") return std::string("BIGINT");
    if (id == "UBIGINT") return std::string("DECIMAL(20,0)");
    for (const char* same : {"BIGINT", "INTEGER", "SMALLINT", "TINYINT", "DOUBLE", "BOOLEAN", "DATE"}) {
      if (id == same) return id;
    }
    return Unsupported("the type {}", id);
  }

  Result<std::string> Expression(const json::value& value) const {
    const auto& node = value.as_object();
    const auto kind = TextMember(node, "class");
    if (kind == "COLUMN_REF") return Identifier(std::string(node.at("column_names").get_array().at(0).get_string()));
    if (kind == "CONSTANT") return Constant(node.at("value").get_object());
    if (kind == "CAST") {
      ASSIGN_OR_RETURN(const auto child, Expression(node.at("child")));
      ASSIGN_OR_RETURN(const auto type, Type(node.at("cast_type").get_object()));
      return fmt::format("CAST({} AS {})", child, type);
    }
    if (kind == "COMPARISON") {
      ASSIGN_OR_RETURN(const auto left, Expression(node.at("left")));
      ASSIGN_OR_RETURN(const auto right, Expression(node.at("right")));
      ASSIGN_OR_RETURN(const auto sign, Sign(TextMember(node, "type")));
      return fmt::format("({} {} {})", left, sign, right);
    }
    if (kind == "CONJUNCTION") {
      ASSIGN_OR_RETURN(const auto parts, List(node.at("children").get_array()));
      return fmt::format("({})", fmt::join(parts, TextMember(node, "type") == "CONJUNCTION_AND" ? " AND " : " OR "));
    }
    if (kind == "CASE") return Case(node);
    if (kind == "OPERATOR") return Operator(node);
    if (kind == "FUNCTION") return Function(node);
    return Unsupported("{} expressions", kind);
  }

  std::string AggregateFunction(std::string_view duckdb_name) const {
    if (dialect_ != Dialect::kTrino || !duckdb_name.starts_with("bit_")) return std::string(duckdb_name);
    return fmt::format("bitwise_{}_agg", duckdb_name.substr(4));
  }

 private:
  static Result<std::string> Sign(std::string_view type) {
    if (type == "COMPARE_EQUAL") return std::string("=");
    if (type == "COMPARE_NOTEQUAL") return std::string("<>");
    if (type == "COMPARE_LESSTHAN") return std::string("<");
    if (type == "COMPARE_LESSTHANOREQUALTO") return std::string("<=");
    if (type == "COMPARE_GREATERTHAN") return std::string(">");
    if (type == "COMPARE_GREATERTHANOREQUALTO") return std::string(">=");
    return Unsupported("the comparison {}", type);
  }

  // Spark takes '' for the end of one text and the begin of the next, and a backslash for the begin of an escape.
  std::string Text(const std::string& text) const {
    if (dialect_ != Dialect::kSpark) return sql::QuoteLiteral(text);
    std::string out = "'";
    for (const char c : text) {
      if (c == '\'' || c == '\\') out += '\\';
      out += c;
    }
    return out + "'";
  }

  Result<std::string> Constant(const json::object& constant) const {
    const auto* is_null = constant.if_contains("is_null");
    if (is_null != nullptr && is_null->is_bool() && is_null->get_bool()) return std::string("NULL");
    const auto& value = constant.at("value");
    const std::string type(TextMember(constant.at("type").get_object(), "id"));
    if (value.is_string()) return Text(std::string(value.get_string()));
    if (type == "DECIMAL") {
      // Unscaled, with the scale beside it.
      const int scale = constant.at("type").at("type_info").at("scale").to_number<int>();
      return fmt::format("({} / {})", json::serialize(value), "1" + std::string(static_cast<std::size_t>(scale), '0'));
    }
    return json::serialize(value);
  }

  Result<std::vector<std::string>> List(const json::array& items) const {
    std::vector<std::string> out;
    for (const auto& item : items) {
      ASSIGN_OR_RETURN(auto text, Expression(item));
      out.push_back(std::move(text));
    }
    return out;
  }

  Result<std::string> Case(const json::object& node) const {
    std::string out = "CASE";
    for (const auto& check : node.at("case_checks").get_array()) {
      ASSIGN_OR_RETURN(const auto when, Expression(check.at("when_expr")));
      ASSIGN_OR_RETURN(const auto then, Expression(check.at("then_expr")));
      out += fmt::format(" WHEN {} THEN {}", when, then);
    }
    ASSIGN_OR_RETURN(const auto otherwise, Expression(node.at("else_expr")));
    return fmt::format("{} ELSE {} END", out, otherwise);
  }

  Result<std::string> Operator(const json::object& node) const {
    const auto type = TextMember(node, "type");
    ASSIGN_OR_RETURN(const auto parts, List(node.at("children").get_array()));
    if (type == "OPERATOR_IS_NULL") return fmt::format("({} IS NULL)", parts.at(0));
    if (type == "OPERATOR_IS_NOT_NULL") return fmt::format("({} IS NOT NULL)", parts.at(0));
    if (type == "OPERATOR_NOT") return fmt::format("(NOT {})", parts.at(0));
    if (type == "OPERATOR_COALESCE") return fmt::format("coalesce({})", fmt::join(parts, ", "));
    return Unsupported("the operator {}", type);
  }

  Result<std::string> Function(const json::object& node) const {
    const std::string name(TextMember(node, "function_name"));
    ASSIGN_OR_RETURN(const auto arguments, List(node.at("children").get_array()));
    if (name == "millrace_avg") {
      return fmt::format(
          "CASE WHEN {1} > 0 THEN CAST({0} AS DOUBLE) / CAST({1} AS DOUBLE) / CAST('1e{2}' AS DOUBLE) END",
          arguments.at(0), arguments.at(1), arguments.at(2));
    }
    if (name == "millrace_hll_estimate" && dialect_ == Dialect::kSpark) {
      return fmt::format("hll_sketch_estimate({})", arguments.at(0));
    }
    if (arguments.size() == 2) {
      // DuckDB divides in double; the others divide integers as such, and decimals to a scale of their own.
      if (name == "/") return fmt::format("(CAST({} AS DOUBLE) / CAST({} AS DOUBLE))", arguments[0], arguments[1]);
      for (const char* same : {"+", "-", "*"}) {
        if (name == same) return fmt::format("({} {} {})", arguments[0], name, arguments[1]);
      }
    }
    if (name == "-" && arguments.size() == 1) return fmt::format("(-{})", arguments[0]);
    for (const char* same :
         {"replace", "round", "abs", "nullif", "coalesce", "greatest", "least", "floor", "exp", "sqrt"}) {
      if (name == same) return fmt::format("{}({})", name, fmt::join(arguments, ", "));
    }
    return Unsupported("the function {}()", name);
  }

  const Dialect dialect_;
};

// Arithmetic with times as microseconds since 1970, as the dialect says it.
class Micros {
 public:
  static constexpr const char* kNumber = "_number_of_window";

  explicit Micros(Dialect dialect) : dialect_(dialect) {}

  std::string Of(const std::string& time) const {
    if (dialect_ == Dialect::kSpark) return fmt::format("unix_micros({})", time);
    if (dialect_ == Dialect::kTrino) return fmt::format("CAST(round(to_unixtime({}) * 1000) AS BIGINT) * 1000", time);
    return fmt::format("epoch_us({})", time);
  }
  std::string ToTime(const std::string& micros) const {
    if (dialect_ == Dialect::kSpark) return fmt::format("timestamp_micros({})", micros);
    if (dialect_ == Dialect::kTrino) {
      return fmt::format("date_add('millisecond', ({}) / 1000, TIMESTAMP '1970-01-01 00:00:00.000000 UTC')", micros);
    }
    return fmt::format("TIMESTAMPTZ '1970-01-01 00:00:00+00' + to_microseconds({})", micros);
  }
  /// A relation with the one column kNumber: 0, 1, ... below `end`.
  std::string Numbers(std::int64_t end) const {
    if (dialect_ == Dialect::kSpark)
      return fmt::format("(SELECT explode(sequence(0, {})) AS {}) AS numbers", end - 1, kNumber);
    if (dialect_ == Dialect::kTrino) return fmt::format("UNNEST(sequence(0, {})) AS numbers({})", end - 1, kNumber);
    return fmt::format("range({}) AS numbers({})", end, kNumber);
  }

 private:
  const Dialect dialect_;
};

// Partial rows with their windows instead of their panes: each as often as there are windows that it is in.
Result<std::string> WindowsOfPanesSql(const model::AggregateDefinition& definition, Dialect dialect,
                                      const Printer& printer, const std::string& relation) {
  const model::Window& window = definition.window;
  if (dialect == Dialect::kTrino && window.pane_us % 1000 != 0) {
    return Unsupported("windows of {}, which are not whole milliseconds, cannot be said in that dialect",
                       window.ToText());
  }
  const Micros micros(dialect);
  const std::string pane = micros.Of(printer.Identifier(model::kWindowStart));
  std::string start = fmt::format("{} - {} * {}", pane, Micros::kNumber, window.pane_us);
  std::string end = fmt::format("{} + {}", start, window.size_us);
  std::string where;
  if (window.kind == model::Window::Kind::kCumulating) {
    start = fmt::format("{0} - ((({0}) % {1}) + {1}) % {1}", pane, window.size_us);
    end = fmt::format("{} + ({} + 1) * {}", pane, Micros::kNumber, window.pane_us);
    where = fmt::format("\n    WHERE {} <= {} + {}", end, start, window.size_us);
  }
  std::vector<std::string> columns = {
      fmt::format("{} AS {}", micros.ToTime(start), printer.Identifier(model::kWindowStart)),
      fmt::format("{} AS {}", micros.ToTime(end), printer.Identifier(model::kWindowEnd))};
  for (const auto& key : definition.keys) columns.push_back(printer.Identifier(key.name));
  for (const auto& state : definition.states) columns.push_back(printer.Identifier(state.name));
  return fmt::format("(\n    SELECT {}\n    FROM {} CROSS JOIN {}{}\n  ) AS windows",
                     fmt::join(columns, ",\n           "), relation, micros.Numbers(window.size_us / window.pane_us),
                     where);
}

// Which part of the SELECT an accumulator is for, as messages say it. `state`: its first column; a measure may look at
// another one.
Result<std::string> UserOf(sql::SqlSession& session, const model::AggregateDefinition& definition, std::size_t state) {
  const auto& states = definition.states;
  const auto first = states.begin() + static_cast<std::ptrdiff_t>(state);
  const auto end = std::find_if(first + 1, states.end(), [](const auto& other) { return other.part == 0; });
  for (const auto& measure : definition.measures) {
    ASSIGN_OR_RETURN(const auto columns, ColumnsOf(session, measure.sql));
    const bool looks_at_it = std::any_of(first, end, [&](const model::AggregateState& column) {
      return std::find(columns.begin(), columns.end(), column.name) != columns.end();
    });
    if (looks_at_it) return fmt::format("measure '{}'", measure.name);
  }
  return std::string("HAVING");
}

// How the state is merged; empty: not in that dialect.
std::string MergedState(const Printer& printer, Dialect dialect, const model::AggregateState& state) {
  const aggregate::Function& function = *aggregate::FindFunction(state.function);
  const bool own_of_spark = dialect == Dialect::kSpark && !function.merge_in_spark.empty();
  if (!own_of_spark && function.merge_in_sql.empty()) return "";
  const std::string column = printer.Identifier(state.name);
  const std::string merge = own_of_spark ? std::string(function.merge_in_spark)
                                         : std::string(printer.AggregateFunction(function.merge_in_sql));
  if (function.zero_if_none) return fmt::format("CAST(coalesce({0}({1}), 0) AS BIGINT) AS {1}", merge, column);
  return fmt::format("{0}({1}) AS {1}", merge, column);
}

Status NotMerged(sql::SqlSession& session, const model::AggregateDefinition& definition, std::size_t state) {
  ASSIGN_OR_RETURN(const auto user, UserOf(session, definition, state));
  const aggregate::Function& function = *aggregate::FindFunction(definition.states[state].function);
  if (function.merge_in_spark.empty()) return Unsupported("{} cannot be merged in SQL", user);
  return Unsupported("{} is a sketch of {}(), which of these dialects only Spark's can merge", user, function.name);
}

}  // namespace

Result<std::string> MergeViewSql(sql::SqlSession& session, const model::AggregateDefinition& definition,
                                 Dialect dialect, const std::string& relation) {
  const Printer printer(dialect);
  const auto translate = [&](const std::string& what, const std::string& sql) -> Result<std::string> {
    ASSIGN_OR_RETURN(const auto tree, ParseCondition(session, sql));
    auto text = printer.Expression(tree.condition());
    if (!text.ok()) return WithContext(text.status(), "{} cannot be said in that dialect", what);
    return text;
  };
  std::vector<std::string> groups;
  if (definition.window.has_windows()) {
    groups = {printer.Identifier(model::kWindowStart), printer.Identifier(model::kWindowEnd)};
  }
  for (const auto& key : definition.keys) groups.push_back(printer.Identifier(key.name));
  std::vector<std::string> merged = groups;
  for (std::size_t i = 0; i < definition.states.size(); ++i) {
    merged.push_back(MergedState(printer, dialect, definition.states[i]));
    if (merged.back().empty()) return NotMerged(session, definition, i);
  }

  std::vector<std::string> columns;
  for (const auto& name : definition.output_order) {
    const auto measure = std::find_if(definition.measures.begin(), definition.measures.end(),
                                      [&](const auto& m) { return m.name == name; });
    if (measure == definition.measures.end()) {
      columns.push_back(printer.Identifier(name));
      continue;
    }
    ASSIGN_OR_RETURN(const auto text, translate("measure '" + name + "'", measure->sql));
    columns.push_back(text + " AS " + printer.Identifier(name));
  }
  if (definition.window.kind == model::Window::Kind::kSession) {
    return Unsupported("the sessions of {} have no view: ask for them with millrace query, or over HTTP",
                       definition.name);
  }
  std::string rows = relation;
  if (definition.window.overlap()) {
    ASSIGN_OR_RETURN(rows, WindowsOfPanesSql(definition, dialect, printer, relation));
  }
  const std::string group_by = groups.empty() ? "" : fmt::format("\n  GROUP BY {}", fmt::join(groups, ", "));
  std::string sql = fmt::format("SELECT {}\nFROM (\n  SELECT {}\n  FROM {}{}\n) AS merged",
                                fmt::join(columns, ",\n       "), fmt::join(merged, ",\n         "), rows, group_by);
  if (!definition.having_sql.empty()) {
    ASSIGN_OR_RETURN(const auto having, translate("HAVING", definition.having_sql));
    sql += "\nWHERE " + having;
  }
  return sql;
}

}  // namespace millrace::query
