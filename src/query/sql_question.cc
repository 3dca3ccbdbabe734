#include "query/sql_question.h"

#include <arrow/scalar.h>
#include <arrow/table.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>
#include <utility>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "query/condition_tree_internal.h"
#include "query/scan_conditions_internal.h"

namespace millrace::query {
namespace {

namespace json = boost::json;

constexpr std::size_t kSqlTreeDepthMax = 2000;
constexpr int kTablesMax = 64;  // Each scan has buffers.
constexpr std::ptrdiff_t kNamedMax = 30;

// Without effects by DuckDB's account, and yet not for everybody: they look at the process or the catalog, take SQL as
// text, are DuckDB's own innards, or make a value of any size of a few bytes.
bool IsRefused(const std::string& name) {
  static const std::set<std::string> kNames = {"array_resize",
                                               "bar",
                                               "bitstring_agg",
                                               "combine",
                                               "constant_or_null",
                                               "create_sort_key",
                                               "current_query",
                                               "current_schemas",
                                               "current_setting",
                                               "equi_width_bins",
                                               "finalize",
                                               "format",
                                               "format_type",
                                               "generate_series",
                                               "generate_subscripts",
                                               "get_block_size",
                                               "getvariable",
                                               "list_resize",
                                               "lpad",
                                               "make_type",
                                               "parse_duckdb_log_message",
                                               "printf",
                                               "range",
                                               "remap_struct",
                                               "repeat",
                                               "replace_type",
                                               "rpad",
                                               "vector_type"};
  static constexpr std::string_view kPrefixes[] = {"__internal",     "json_deserialize", "json_execute",
                                                   "json_serialize", "millrace_",        "pg_"};
  return kNames.contains(name) || std::any_of(std::begin(kPrefixes), std::end(kPrefixes),
                                              [&](std::string_view prefix) { return name.starts_with(prefix); });
}

// Not the same at each call, and harmless.
constexpr const char* kAlsoAllowed[] = {"gen_random_uuid",
                                        "get_current_time",
                                        "get_current_timestamp",
                                        "now",
                                        "random",
                                        "today",
                                        "transaction_timestamp",
                                        "uuid",
                                        "uuidv4",
                                        "uuidv7"};

constexpr std::string_view kBlanks = " \t\r\n\f\v";

// Takes blanks and comments off the front.
std::string_view SkipBlanks(std::string_view text) {
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
    if (text.starts_with("--")) {
      text.remove_prefix(std::min(text.find('\n'), text.size()));
    } else if (text.starts_with("/*")) {
      const auto end = text.find("*/", 2);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
    } else {
      return text;
    }
  }
}

// Takes `word` off the front, if a word of this name is there.
bool TakeWord(std::string_view& text, std::string_view word) {
  const std::string_view rest = SkipBlanks(text);
  if (!EqualsIgnoringAsciiCase(rest.substr(0, word.size()), word)) return false;
  const std::string_view after = rest.substr(word.size());
  if (!after.empty() && kBlanks.find(after.front()) == std::string_view::npos && !after.starts_with("/*") &&
      !after.starts_with("--") && after.front() != '(') {
    return false;
  }
  text = after;
  return true;
}

const json::object* ObjectMember(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value == nullptr ? nullptr : value->if_object();
}

bool IsEmptyMember(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value == nullptr || value->is_null() || (value->is_array() && value->get_array().empty());
}

std::string PlaceSuffix(const json::object& node, std::string_view text) {
  const auto* place = node.if_contains("query_location");
  if (place == nullptr || !place->is_number()) return "";
  boost::system::error_code error;
  const auto at = place->to_number<std::uint64_t>(error);
  if (error || at >= text.size()) return "";
  return fmt::format(" at {}", sql::PlaceOf(text, static_cast<std::size_t>(at)));
}

// Calls `visit` with every object in the tree.
template <typename Visit>
Status ForEachObject(const json::value& value, const Visit& visit) {
  if (const auto* array = value.if_array()) {
    for (const auto& element : *array) RETURN_NOT_OK(ForEachObject(element, visit));
  } else if (const auto* object = value.if_object()) {
    RETURN_NOT_OK(visit(*object));
    for (const auto& member : *object) RETURN_NOT_OK(ForEachObject(member.value(), visit));
  }
  return Status::OK();
}

std::set<std::string> CteNames(const json::value& tree) {
  std::set<std::string> names;
  static_cast<void>(ForEachObject(tree, [&](const json::object& object) {
    if (const auto* map = ObjectMember(object, "cte_map")) {
      if (const auto* entries = map->if_contains("map"); entries != nullptr && entries->is_array()) {
        for (const auto& entry : entries->get_array()) {
          if (entry.is_object()) names.insert(AsciiLower(TextMember(entry.get_object(), "key")));
        }
      }
    }
    return Status::OK();
  }));
  return names;
}

// For a message: routes can have made a thousand.
std::string Listed(const std::vector<std::string>& names) {
  if (std::ssize(names) <= kNamedMax) return fmt::format("{}", fmt::join(names, ", "));
  return fmt::format("{} and {} more", fmt::join(names.begin(), names.begin() + kNamedMax, ", "),
                     std::ssize(names) - kNamedMax);
}

// What the tree may hold, and what it names.
class Gate {
 public:
  Gate(SqlQuestion& question, const std::vector<std::string>& known, const std::set<std::string>& functions,
       std::set<std::string> ctes)
      : question_(question), known_(known), functions_(functions), ctes_(std::move(ctes)) {}

  Status Check(const json::object& object) {
    if (const auto* from = object.if_contains("from_table")) {
      if (!from->is_object()) return InvalidInput("a FROM of this kind is not allowed");
      RETURN_NOT_OK(CheckRelation(from->get_object()));
    }
    const auto kind = TextMember(object, "class");
    if (kind == "FUNCTION" || kind == "WINDOW") return CheckFunction(object);
    if (kind == "STAR") question_.has_star = true;
    if (kind == "COLUMN_REF") {
      if (const auto* names = object.if_contains("column_names"); names != nullptr && names->is_array()) {
        for (const auto& name : names->get_array()) {
          if (name.is_string()) question_.columns.insert(AsciiLower(std::string_view(name.get_string())));
        }
        const auto& first = names->get_array();
        if (first.size() == 1 && first[0].is_string()) {
          unqualified_.insert(AsciiLower(std::string_view(first[0].get_string())));
        }
      }
    }
    if (const auto* columns = object.if_contains("using_columns"); columns != nullptr && columns->is_array()) {
      for (const auto& name : columns->get_array()) {
        if (name.is_string()) question_.columns.insert(AsciiLower(std::string_view(name.get_string())));
      }
    }
    return Status::OK();
  }

  /// To be called last. The name of a relation where a column may stand is its row, as a struct.
  void Finish() {
    question_.has_star |= std::any_of(relations_.begin(), relations_.end(),
                                      [&](const std::string& name) { return unqualified_.contains(name); });
  }

 private:
  Status CheckRelation(const json::object& relation) {
    const auto type = TextMember(relation, "type");
    if (type == "BASE_TABLE") return CheckTable(relation);
    if (type == "JOIN") {
      if (TextMember(relation, "ref_type") == "NATURAL") question_.has_star = true;
      for (const char* side : {"left", "right"}) {
        const auto* child = ObjectMember(relation, side);
        if (child == nullptr) return InvalidInput("a join of this kind is not allowed");
        RETURN_NOT_OK(CheckRelation(*child));
      }
      return Status::OK();
    }
    if (type == "TABLE_FUNCTION") {
      const auto* function = ObjectMember(relation, "function");
      const std::string name = function == nullptr ? "" : AsciiLower(TextMember(*function, "function_name"));
      if (name == "range" || name == "generate_series" || name == "unnest") {
        makes_rows_.insert(function);
        return Status::OK();
      }
      return InvalidInput("the table function {}() is not allowed{}: tables are {}", name,
                          PlaceSuffix(relation, question_.select), Listed(known_));
    }
    if (type == "SUBQUERY" || type == "EXPRESSION_LIST" || type == "EMPTY") return Status::OK();
    if (type == "SHOW_REF") {
      const auto show = TextMember(relation, "show_type");
      if (ObjectMember(relation, "query") != nullptr && (show == "DESCRIBE" || show == "SUMMARY")) return Status::OK();
      return InvalidInput("SHOW is not allowed: tables are {}", Listed(known_));
    }
    return InvalidInput("{} in FROM is not allowed{}", AsciiLower(type), PlaceSuffix(relation, question_.select));
  }

  Status CheckTable(const json::object& table) {
    const std::string name(TextMember(table, "table_name"));
    const auto alias = TextMember(table, "alias");
    relations_.insert(AsciiLower(alias.empty() ? name : alias));
    const std::string place = PlaceSuffix(table, question_.select);
    for (const char* qualifier : {"catalog_name", "schema_name"}) {
      if (const auto text = TextMember(table, qualifier); !text.empty()) {
        return InvalidInput("'{}' before the table '{}' is not allowed{}: there is one schema, write the name alone",
                            text, name, place);
      }
    }
    if (!IsEmptyMember(table, "at_clause")) return InvalidInput("AT of the table '{}' is not allowed{}", name, place);
    const auto known = std::find_if(known_.begin(), known_.end(), [&](const std::string& candidate) {
      return EqualsIgnoringAsciiCase(candidate, name);
    });
    if (known == known_.end()) {
      if (ctes_.contains(AsciiLower(name))) return Status::OK();
      return NotFound("there is no table '{}'{}{}; there are: {}", name, place, DidYouMean(name, known_),
                      Listed(known_));
    }
    if (++num_tables_ > kTablesMax) return InvalidInput("more than {} tables in one statement", kTablesMax);
    auto& tables = question_.tables;
    if (std::find(tables.begin(), tables.end(), *known) == tables.end()) tables.push_back(*known);
    return Status::OK();
  }

  Status CheckFunction(const json::object& node) {
    const std::string name = AsciiLower(TextMember(node, "function_name"));
    const auto schema = TextMember(node, "schema");  // The parser itself writes extract() as main.date_part().
    const bool is_own = (schema.empty() || schema == "main") && TextMember(node, "catalog").empty();
    if (is_own && (functions_.contains(name) || name == "unnest")) return Status::OK();
    if (is_own && makes_rows_.contains(&node)) return Status::OK();
    return InvalidInput("the function {}() is not allowed{}", name, PlaceSuffix(node, question_.select));
  }

  SqlQuestion& question_;
  const std::vector<std::string>& known_;
  const std::set<std::string>& functions_;
  const std::set<std::string> ctes_;
  int num_tables_ = 0;
  std::set<std::string> unqualified_;         // Columns that stand alone, in lower case.
  std::set<std::string> relations_;           // Names that tables have in the statement, in lower case.
  std::set<const json::object*> makes_rows_;  // Calls in a FROM: of rows one after the other, not of a list in memory.
};

}  // namespace

Result<std::set<std::string>> SqlQuestion::AllowedFunctions(sql::SqlSession& session) {
  ASSIGN_OR_RETURN(const auto table,
                   session.Query("SELECT DISTINCT lower(function_name) AS name FROM duckdb_functions() "
                                 "WHERE database_name = 'system' AND (stability = 'CONSISTENT' AND function_type IN "
                                 "('scalar', 'aggregate') OR function_type = 'macro' AND macro_definition NOT ILIKE "
                                 "'%select%')"));
  std::set<std::string> names;
  for (std::int64_t row = 0; row < table->num_rows(); ++row) {
    ASSIGN_OR_RETURN(const auto cell, table->column(0)->GetScalar(row));
    std::string name = cell->ToString();
    if (!IsRefused(name)) names.insert(std::move(name));
  }
  names.insert(std::begin(kAlsoAllowed), std::end(kAlsoAllowed));
  return names;
}

bool SqlQuestion::MayUse(std::string_view column) const { return has_star || columns.contains(AsciiLower(column)); }

Result<SqlQuestion> SqlQuestion::Read(sql::SqlSession& session, std::string_view text,
                                      const std::vector<std::string>& known, const std::set<std::string>& functions) {
  if (text.size() > kSqlBytesMax) {
    return InvalidInput("the SQL has {} bytes, at most {} are taken", text.size(), kSqlBytesMax);
  }
  if (text.find('\0') != std::string_view::npos) return InvalidInput("the SQL has a NUL");
  SqlQuestion question;
  std::string_view rest = text;
  if (TakeWord(rest, "explain")) question.explain = TakeWord(rest, "analyze") ? Explain::kAnalyze : Explain::kPlan;
  question.select = std::string(rest);
  if (SkipBlanks(rest).empty()) return InvalidInput("there is no SQL");
  const auto parsed = session.ParseToJson(question.select);
  if (!parsed.ok()) {
    const std::string& message = parsed.status().message();
    if (message.find("Only SELECT statements") != std::string::npos) {
      return InvalidInput("only SELECT is answered, and EXPLAIN of one: nothing can be changed or set here");
    }
    return parsed.status();
  }
  json::parse_options options;
  options.max_depth = kSqlTreeDepthMax;
  json::error_code error;
  json::value tree = json::parse(*parsed, error, {}, options);
  if (error == json::error::too_deep) return InvalidInput("the SQL is nested too deeply");
  if (error || !tree.is_object()) return Internal("DuckDB's parse tree: {}", error.message());
  auto ctes = CteNames(tree);
  // Where DuckDB does not see the CTE, the name would be that of a view of its catalog.
  for (const auto& name : ctes) {
    for (const std::string_view prefix : {"duckdb_", "pg_", "pragma_", "sqlite_"}) {
      if (name.starts_with(prefix)) return InvalidInput("a CTE may not be called '{}': {}… is DuckDB's", name, prefix);
    }
  }
  Gate gate(question, known, functions, std::move(ctes));
  RETURN_NOT_OK(ForEachObject(tree, [&](const json::object& object) { return gate.Check(object); }));
  gate.Finish();
  question.tree = std::move(tree.get_object());
  return question;
}

namespace {

using Schemas = std::map<std::string, std::shared_ptr<arrow::Schema>>;

std::shared_ptr<arrow::Field> FindField(const arrow::Schema& schema, std::string_view name) {
  for (const auto& field : schema.fields()) {
    if (EqualsIgnoringAsciiCase(field->name(), name)) return field;
  }
  return nullptr;
}

// A table in a FROM.
struct Named {
  Schemas::const_iterator table;
  std::string alias;
  bool filters = false;  // A row that fails a condition of the WHERE is lost to the answer.
};

void CollectTables(const json::object& relation, const Schemas& schemas, bool filters, std::vector<Named>& out) {
  const auto type = TextMember(relation, "type");
  if (type == "BASE_TABLE") {
    const auto name = TextMember(relation, "table_name");
    const auto table = std::find_if(schemas.begin(), schemas.end(),
                                    [&](const auto& entry) { return EqualsIgnoringAsciiCase(entry.first, name); });
    if (table == schemas.end()) return;
    const auto alias = TextMember(relation, "alias");
    const bool plain = IsEmptyMember(relation, "sample") && IsEmptyMember(relation, "column_name_alias");
    out.push_back({table, std::string(alias.empty() ? name : alias), filters && plain});
  } else if (type == "JOIN") {
    const auto join = TextMember(relation, "join_type");
    const auto form = TextMember(relation, "ref_type");
    const bool plain = filters && form != "POSITIONAL" && IsEmptyMember(relation, "sample");
    const bool left = plain && (join == "INNER" || join == "LEFT" || join == "SEMI" || join == "ANTI");
    const bool right = plain && join == "INNER" && form != "ASOF";
    CollectTables(relation.at("left").get_object(), schemas, left, out);
    CollectTables(relation.at("right").get_object(), schemas, right, out);
  }
}

void CollectConjuncts(const json::value& expression, std::vector<const json::value*>& out) {
  const auto* node = expression.if_object();
  if (node != nullptr && TextMember(*node, "type") == "CONJUNCTION_AND") {
    for (const auto& child : node->at("children").get_array()) CollectConjuncts(child, out);
  } else {
    out.push_back(&expression);
  }
}

// The same expression with values where parameters were.
json::value WithValues(const json::value& expression, const std::vector<sql::Parameter>& parameters) {
  if (const auto* array = expression.if_array()) {
    json::array copy;
    for (const auto& element : *array) copy.push_back(WithValues(element, parameters));
    return copy;
  }
  const auto* object = expression.if_object();
  if (object == nullptr) return expression;
  if (TextMember(*object, "class") == "PARAMETER") {
    const auto name = TextMember(*object, "identifier");
    for (const auto& parameter : parameters) {
      if (!EqualsIgnoringAsciiCase(parameter.name, name)) continue;
      json::object constant = {{"class", "CONSTANT"}, {"type", "VALUE_CONSTANT"}, {"alias", ""}};
      const auto typed = [&](const char* type, json::value value) {
        constant["value"] = {{"type", {{"id", type}, {"type_info", nullptr}}}, {"is_null", false}, {"value", value}};
        return constant;
      };
      if (const auto* flag = std::get_if<bool>(&parameter.value)) return typed("BOOLEAN", *flag);
      if (const auto* number = std::get_if<std::int64_t>(&parameter.value)) return typed("BIGINT", *number);
      if (const auto* number = std::get_if<double>(&parameter.value)) return typed("DOUBLE", *number);
      if (const auto* content = std::get_if<std::string>(&parameter.value))
        return typed("VARCHAR", json::string(*content));
    }
    return expression;
  }
  json::object copy;
  for (const auto& member : *object) copy[member.key()] = WithValues(member.value(), parameters);
  return copy;
}

// The condition as DuckDB spells it.
Result<std::string> TextOf(sql::SqlSession& session, const json::value& condition) {
  ASSIGN_OR_RETURN(auto statement, ParseCondition(session, "true"));
  auto& select = statement.statement.at("statements").get_array().at(0).get_object().at("node").get_object();
  select["where_clause"] = condition;
  ASSIGN_OR_RETURN(std::string text, session.JsonToSql(json::serialize(statement.statement)));
  constexpr std::string_view kPrefix = "SELECT 1 WHERE ";
  return text.starts_with(kPrefix) ? text.substr(kPrefix.size()) : text;
}

}  // namespace

Result<std::map<std::string, ScanNeed>> ScanNeeds(sql::SqlSession& session, const SqlQuestion& question,
                                                  const Schemas& schemas,
                                                  const std::vector<sql::Parameter>& parameters) {
  std::map<std::string, ScanNeed> needs;
  std::map<std::string, int> times;
  RETURN_NOT_OK(ForEachObject(question.tree, [&](const json::object& object) {
    if (TextMember(object, "type") != "BASE_TABLE") return Status::OK();
    ++times[AsciiLower(TextMember(object, "table_name"))];
    return Status::OK();
  }));
  const auto ctes = CteNames(question.tree);
  RETURN_NOT_OK(ForEachObject(question.tree, [&](const json::object& node) -> Status {
    const auto* from = ObjectMember(node, "from_table");
    const auto* where = node.if_contains("where_clause");
    if (from == nullptr || where == nullptr || !where->is_object() || !IsEmptyMember(node, "sample")) {
      return Status::OK();
    }
    std::vector<Named> named;
    CollectTables(*from, schemas, true, named);
    std::vector<const json::value*> conjuncts;
    CollectConjuncts(*where, conjuncts);
    for (const auto& one : named) {
      const auto& [name, schema] = *one.table;
      const std::string folded = AsciiLower(name);
      if (!one.filters || times[folded] != 1 || ctes.contains(folded)) continue;
      const auto find = [&, table = schema](const json::array& parts) -> std::shared_ptr<arrow::Field> {
        for (const auto& part : parts) {
          if (!part.is_string()) return nullptr;
        }
        if (parts.size() == 2) {
          const bool is_ours = EqualsIgnoringAsciiCase(std::string_view(parts[0].get_string()), one.alias);
          return is_ours ? FindField(*table, std::string_view(parts[1].get_string())) : nullptr;
        }
        if (parts.size() != 1) return nullptr;
        const std::string_view column(parts[0].get_string());
        // With another table's column of the same name it is ambiguous, or what USING joins.
        for (const auto& other : named) {
          if (&other != &one && FindField(*other.table->second, column) != nullptr) return nullptr;
        }
        return FindField(*table, column);
      };
      ASSIGN_OR_RETURN(auto conditions, ScanConditions::Make(session, find));
      for (const auto* conjunct : conjuncts) {
        ScanNeed& need = needs[name];
        const auto before = need.where.size();
        conditions.Extract(WithValues(*conjunct, parameters), need.where);
        if (need.where.size() == before) continue;
        ASSIGN_OR_RETURN(const auto text, TextOf(session, *conjunct));
        need.sql += (need.sql.empty() ? "" : " AND ") + text;
      }
    }
    return Status::OK();
  }));
  return needs;
}

}  // namespace millrace::query
