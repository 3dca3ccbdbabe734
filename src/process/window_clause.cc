#include "process/window_clause.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/table.h>

#include <algorithm>
#include <cctype>
#include <regex>
#include <string_view>
#include <utility>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "sql/time_zone_rules.h"

namespace millrace::process {
namespace {

constexpr std::int64_t kDayUs = std::int64_t{86'400} * 1'000'000;
constexpr std::int64_t kDaysMax = 366;
constexpr std::int64_t kMonthsMax = 1200;
// Of one window: what an answer puts together of each.
constexpr std::int64_t kPanesMax = 10'000;

struct Function {
  const char* name;
  const char* arguments;  // After the relation and the time.
  std::size_t arguments_min;
  std::size_t arguments_max;
};
constexpr Function kFunctions[] = {
    {"TUMBLE", "INTERVAL size[, 'time zone']", 1, 2},
    {"HOP", "INTERVAL slide, INTERVAL size", 2, 2},
    {"CUMULATE", "INTERVAL step, INTERVAL longest", 2, 2},
    {"SESSION", "INTERVAL gap", 1, 1},
};

std::string Usage(const Function& function) {
  return fmt::format("{}(relation, time, {})", function.name, function.arguments);
}

const Function* FunctionNamed(std::string_view name) {
  for (const Function& function : kFunctions) {
    if (AsciiLower(function.name) == AsciiLower(name)) return &function;
  }
  return nullptr;
}

std::string NotAsFlink(const Function& function, std::string_view relation, std::string_view time) {
  return fmt::format("a window is written without Flink's TABLE and DESCRIPTOR: {}({}, {}, {})", function.name,
                     relation, time, function.arguments);
}

Result<const Function*> FindFunction(const SelectStatement& statement, const std::string& name) {
  std::vector<std::string> names;
  std::string usages;
  if (const Function* const function = FunctionNamed(name)) return function;
  for (const Function& function : kFunctions) {
    names.emplace_back(function.name);
    usages += Usage(function) + ", ";
  }
  return statement.RefuseAt(
      statement.from(), fmt::format("FROM must be {}or a relation, not {}(){}", usages, name, DidYouMean(name, names)));
}

// A length as DuckDB keeps it: months and days have no fixed one.
struct Interval {
  std::int64_t months = 0;
  std::int64_t days = 0;
  std::int64_t us = 0;
};

Result<Interval> PlanInterval(sql::SqlSession& session, const SelectStatement& statement, const ParseTree& argument,
                              std::string_view what) {
  RETURN_NOT_OK(statement.CheckRowWise(argument));
  ASSIGN_OR_RETURN(const auto sql, statement.ToSql(argument));
  const auto evaluated = session.Query(
      fmt::format("SELECT typeof(i) = 'INTERVAL', CAST(datepart('year', i) * 12 + datepart('month', i) AS BIGINT), "
                  "CAST(datepart('day', i) AS BIGINT), CAST(epoch_us(i) AS BIGINT) FROM (SELECT {} AS i)",
                  sql));
  const auto refuse = [&](std::string_view problem) {
    return statement.RefuseAt(argument, fmt::format("the {} {}", what, problem));
  };
  constexpr std::string_view kConstant = "must be a constant INTERVAL";
  if (!evaluated.ok()) return refuse(kConstant);
  std::vector<std::shared_ptr<arrow::Scalar>> cells;
  for (const auto& column : (*evaluated)->columns()) {
    ASSIGN_OR_RETURN(cells.emplace_back(), column->GetScalar(0));
    if (!cells.back()->is_valid) return refuse(kConstant);
  }
  if (cells[0]->ToString() != "true") return refuse(kConstant);
  Interval interval;
  const auto number = [](const arrow::Scalar& cell) { return static_cast<const arrow::Int64Scalar&>(cell).value; };
  interval.months = number(*cells[1]);
  interval.days = number(*cells[2]);
  if (interval.months > kMonthsMax) return refuse(fmt::format("must be at most {} months", kMonthsMax));
  if (interval.days > kDaysMax) return refuse(fmt::format("must be at most {} days", kDaysMax));
  interval.us = number(*cells[3]) - (interval.months * 30 + interval.days) * kDayUs;
  if (interval.months < 0 || interval.days < 0 || interval.us < 0 ||
      interval.months + interval.days + interval.us == 0) {
    return refuse("must be more than zero");
  }
  if (interval.us > (kDaysMax - interval.days) * kDayUs)
    return refuse(fmt::format("must be at most {} days", kDaysMax));
  return interval;
}

Result<std::int64_t> PlanFixedLength(sql::SqlSession& session, const SelectStatement& statement,
                                     const ParseTree& argument, std::string_view what) {
  ASSIGN_OR_RETURN(const Interval interval, PlanInterval(session, statement, argument, what));
  if (interval.months > 0) {
    return statement.RefuseAt(argument,
                              fmt::format("months differ in length: the {} must be fixed, at most in days", what));
  }
  return interval.days * kDayUs + interval.us;
}

Result<std::shared_ptr<const TimeZone>> PlanZone(sql::SqlSession& session, const SelectStatement& statement,
                                                 const ParseTree& argument) {
  RETURN_NOT_OK(statement.CheckRowWise(argument));
  ASSIGN_OR_RETURN(const auto sql, statement.ToSql(argument));
  const auto evaluated = session.Query(fmt::format("SELECT {}", sql));
  const std::string constant = "the time zone must be a constant text, such as 'Europe/Berlin'";
  if (!evaluated.ok()) return statement.RefuseAt(argument, constant);
  ASSIGN_OR_RETURN(const auto cell, (*evaluated)->column(0)->GetScalar(0));
  if (!cell->is_valid || cell->type->id() != arrow::Type::STRING) return statement.RefuseAt(argument, constant);
  auto zone = sql::LoadTimeZone(session, cell->ToString());
  if (!zone.ok()) return statement.RefuseAt(argument, zone.status().message());
  return zone;
}

Result<model::Window> PlanTumble(sql::SqlSession& session, const SelectStatement& statement,
                                 const WindowClause& clause) {
  const ParseTree& size = clause.arguments[0];
  ASSIGN_OR_RETURN(const Interval interval, PlanInterval(session, statement, size, "window size"));
  const bool has_zone = clause.arguments.size() == 2;
  if (!has_zone && interval.months == 0) return model::Window::Tumbling(interval.days * kDayUs + interval.us);
  if (interval.months > 0 && (interval.days > 0 || interval.us > 0)) {
    return statement.RefuseAt(size, "the window size must be in months or in days, not in both");
  }
  if (interval.us > 0) {
    return statement.RefuseAt(size,
                              "the window size with a time zone must be in days, weeks, months or years: hours have "
                              "the same length everywhere");
  }
  std::shared_ptr<const TimeZone> zone = TimeZone::Utc();
  if (has_zone) {
    ASSIGN_OR_RETURN(zone, PlanZone(session, statement, clause.arguments[1]));
  }
  if (interval.months > 0) return model::Window::CalendarMonths(static_cast<int>(interval.months), std::move(zone));
  return model::Window::CalendarDays(static_cast<int>(interval.days), std::move(zone));
}

// The two lengths of a window that is put together of panes.
struct Overlap {
  std::int64_t pane_us = 0;
  std::int64_t size_us = 0;
};
Result<Overlap> PlanOverlap(sql::SqlSession& session, const SelectStatement& statement, const WindowClause& clause,
                            std::string_view pane, std::string_view size) {
  Overlap overlap;
  ASSIGN_OR_RETURN(overlap.pane_us, PlanFixedLength(session, statement, clause.arguments[0], pane));
  ASSIGN_OR_RETURN(overlap.size_us, PlanFixedLength(session, statement, clause.arguments[1], size));
  if (overlap.size_us % overlap.pane_us != 0) {
    return statement.RefuseAt(
        clause.arguments[1],
        fmt::format("the {} of {} must be a whole multiple of the {}, which comes first", size, clause.function, pane));
  }
  if (overlap.size_us / overlap.pane_us > kPanesMax) {
    return statement.RefuseAt(clause.arguments[1], fmt::format("the {} of {} must be at most {} times the {}", size,
                                                               clause.function, kPanesMax, pane));
  }
  return overlap;
}

constexpr std::string_view kInsteadOfOrder =
    "a table has no order, and an aggregate keeps all of its groups. Whoever asks may order and cut the answer "
    "(--order-by, --limit; order_by and limit over HTTP); of each group approx_top_k(x, k), max(x, n) and "
    "arg_max(x, y, n) keep the first few";

bool IsName(const ParseTree& tree) { return tree.is_column() && tree["column_names"].items.size() == 1; }

}  // namespace

Result<SelectStatement> ParseAggregate(sql::SqlSession& session, std::string what, const std::string& sql) {
  auto statement = SelectStatement::Parse(&session, what, sql, kInsteadOfOrder);
  if (statement.ok()) return statement;
  // TUMBLE(TABLE orders, DESCRIPTOR(ts), or by names: TUMBLE(DATA => TABLE orders, TIMECOL => DESCRIPTOR(ts), perhaps
  // with PARTITION BY between, and all of it in TABLE(...).
  static const std::regex kFlink(
      R"re(\b(\w+)\s*\(\s*(?:DATA\s*=>\s*)?TABLE\s+("[^"]+"|\w+)[^,;]*(?:,[^;]*?\bDESCRIPTOR\s*\(\s*("[^"]+"|\w+))?)re",
      std::regex::icase);
  std::smatch match;
  if (!std::regex_search(sql, match, kFlink)) return statement;
  const Function* const function = FunctionNamed(match[1].str());
  if (function == nullptr) return statement;
  const std::string time = match[3].matched ? match[3].str() : "time";
  return InvalidInput("{}: {} at {}", what, NotAsFlink(*function, match[2].str(), time),
                      sql::PlaceOf(sql, static_cast<std::size_t>(match.position(1))));
}

Result<WindowClause> ParseWindowClause(const SelectStatement& statement) {
  const ParseTree& from = statement.from();
  WindowClause clause;
  clause.place = from;
  clause.alias = from.alias();
  if (!from["column_name_alias"].empty()) {
    return statement.RefuseAt(from, "FROM cannot give other names to columns");
  }
  if (from.type() == "BASE_TABLE") {
    if (!from["schema_name"].text.empty() || !from["catalog_name"].text.empty()) {
      return statement.RefuseAt(from, "FROM takes the name of a relation, without a schema");
    }
    clause.relation = from["table_name"].text;
    return clause;
  }
  if (from.type() != "TABLE_FUNCTION") {
    return statement.RefuseAt(from,
                              "FROM must be one relation, or a window over one: TUMBLE(relation, time, INTERVAL "
                              "...)");
  }
  const ParseTree& call = from["function"];
  ASSIGN_OR_RETURN(const Function* const function, FindFunction(statement, call["function_name"].text));
  clause.function = function->name;
  const auto& children = call["children"].items;
  if (children.size() < 2 + function->arguments_min || children.size() > 2 + function->arguments_max) {
    const bool has_zone = children.size() == 3 + function->arguments_max && function->name != kFunctions[0].name;
    return statement.RefuseAt(
        from, fmt::format("{} takes {}, not {} things{}", function->name, Usage(*function), children.size(),
                          has_zone ? "; only TUMBLE goes by the clocks of a time zone" : ""));
  }
  if (!IsName(children[0])) {
    return statement.RefuseAt(children[0],
                              fmt::format("the first argument of {} must be the name of a relation", function->name));
  }
  clause.relation = children[0]["column_names"].items[0].text;
  clause.time = children[1];
  if (clause.time.is_function() && AsciiLower(clause.time["function_name"].text) == "descriptor") {
    const auto& described = clause.time["children"].items;
    const bool is_column = described.size() == 1 && IsName(described[0]);
    const std::string time = is_column ? described[0]["column_names"].items[0].text : "time";
    return statement.RefuseAt(children[1], NotAsFlink(*function, clause.relation, time));
  }
  clause.arguments.assign(children.begin() + 2, children.end());
  return clause;
}

Result<model::Window> PlanWindow(sql::SqlSession& session, const SelectStatement& statement,
                                 const WindowClause& clause) {
  if (clause.function == "TUMBLE") return PlanTumble(session, statement, clause);
  if (clause.function == "HOP") {
    ASSIGN_OR_RETURN(const Overlap hop, PlanOverlap(session, statement, clause, "slide", "window size"));
    return model::Window::Hopping(hop.pane_us, hop.size_us);
  }
  if (clause.function == "CUMULATE") {
    ASSIGN_OR_RETURN(const Overlap steps, PlanOverlap(session, statement, clause, "step", "longest window"));
    return model::Window::Cumulating(steps.pane_us, steps.size_us);
  }
  if (clause.function == "SESSION") {
    ASSIGN_OR_RETURN(const std::int64_t gap_us, PlanFixedLength(session, statement, clause.arguments[0], "gap"));
    return model::Window::Session(gap_us);
  }
  return model::Window::None();
}

Result<std::string> WithoutWindow(const SelectStatement& statement, const WindowClause& clause) {
  std::string sql = statement.sql();
  if (clause.function.empty()) return sql;
  const std::size_t begin = std::stoull(clause.place["query_location"].text);
  std::size_t end = begin;
  int depth = 0;
  for (; end < sql.size(); ++end) {
    const char c = sql[end];
    if (c == '\'' || c == '"') {
      end = sql.find(c, end + 1);  // A doubled quote opens the next literal at once.
      if (end == std::string::npos) break;
    } else if (c == '-' && sql.compare(end, 2, "--") == 0) {
      end = sql.find('\n', end);
      if (end == std::string::npos) break;
    } else if (c == '/' && sql.compare(end, 2, "/*") == 0) {
      end = sql.find("*/", end + 2);
      if (end == std::string::npos) break;
      ++end;
    } else if (c == '(') {
      ++depth;
    } else if (c == ')' && --depth == 0) {
      break;
    }
  }
  if (end >= sql.size()) return Internal("{}: no end of {}(...) found", statement.what(), clause.function);
  const std::string name = sql::QuoteIdentifier(clause.relation);
  const std::size_t length = end + 1 - begin;
  if (name.size() > length) return statement.RefuseAt(clause.place, "the relation's name has too many quotes");
  return sql.replace(begin, length, name + std::string(length - name.size(), ' '));
}

}  // namespace millrace::process
