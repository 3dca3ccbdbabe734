#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cctype>
#include <utility>

#include "aggregate/function.h"
#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "query/condition_tree_internal.h"
#include "query/set_measures_internal.h"
#include "query/where_expression.h"

namespace millrace::query {
namespace {

namespace json = boost::json;

constexpr std::size_t kSetsMax = 16;
constexpr const char* kSketch = "theta_sketch";
constexpr std::array<std::string_view, 3> kOperations = {"theta_union", "theta_intersect", "theta_difference"};
const std::vector<std::string>& AroundSets() {
  static const std::vector<std::string> kNames = {
      "theta_union", "theta_intersect", "theta_difference", "theta_estimate", kSketch, "+", "-", "*", "/", "round"};
  return kNames;
}

json::value& ConditionOf(json::object& statement) {
  return statement.at("statements").get_array().at(0).get_object().at("node").get_object().at("where_clause");
}

// The text of an expression: DuckDB prints statements, so the smallest one around it is taken off again.
Result<std::string> Printed(sql::SqlSession& session, json::value expression) {
  ASSIGN_OR_RETURN(auto tree, ParseCondition(session, "true"));
  ConditionOf(tree.statement) = std::move(expression);
  ASSIGN_OR_RETURN(const auto sql, session.JsonToSql(json::serialize(tree.statement)));
  constexpr std::string_view kPrefix = "SELECT 1 WHERE ";
  if (!sql.starts_with(kPrefix)) return Internal("DuckDB printed the expression as: {}", sql);
  return sql.substr(kPrefix.size());
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

// "expression AS name" without the AS; else the text is its own name.
std::pair<std::string, std::string> SplitAlias(std::string_view measure) {
  const std::string_view text = Trimmed(measure);
  std::string_view name;
  if (text.ends_with('"')) {
    const std::size_t open = text.substr(0, text.size() - 1).rfind('"');
    if (open != std::string_view::npos) name = text.substr(open);
  } else {
    const auto is_of_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
    const auto end = std::find_if_not(text.rbegin(), text.rend(), is_of_name);
    name = text.substr(static_cast<std::size_t>(text.rend() - end));
  }
  const std::string_view before = text.substr(0, text.size() - name.size());
  const std::string_view as = Trimmed(before);
  const bool has_alias = !name.empty() && before.size() > as.size() && as.size() > 3 &&
                         AsciiLower(as.substr(as.size() - 2)) == "as" &&
                         Trimmed(as.substr(0, as.size() - 2)).size() < as.size() - 2;
  if (!has_alias) return {std::string(text), std::string(text)};
  if (name.front() == '"') name = name.substr(1, name.size() - 2);
  return {std::string(Trimmed(as.substr(0, as.size() - 2))), std::string(name)};
}

class Reader {
 public:
  Reader(sql::SqlSession& session, const model::AggregateDefinition& definition)
      : session_(session), own_(definition), read_{.definition = definition, .measures = {}, .sets = {}} {
    if (own_.window.has_windows()) columns_ = {model::kWindowStart, model::kWindowEnd};
    for (const auto& key : own_.keys) columns_.push_back(key.name);
  }

  Status Add(const std::string& measure) {
    const bool is_name = std::any_of(own_.measures.begin(), own_.measures.end(),
                                     [&](const auto& known) { return AsciiLower(known.name) == AsciiLower(measure); });
    if (is_name || measure.find('(') == std::string::npos) {
      read_.measures.push_back(measure);
      return Status::OK();
    }
    auto [text, name] = SplitAlias(measure);
    const auto is_taken = [&](const std::string& column) { return AsciiLower(column) == AsciiLower(name); };
    if (std::any_of(columns_.begin(), columns_.end(), is_taken) ||
        std::any_of(read_.definition.measures.begin(), read_.definition.measures.end(),
                    [&](const auto& other) { return is_taken(other.name); })) {
      return InvalidInput("there is a '{}' already", name);
    }
    ASSIGN_OR_RETURN(auto tree, ParseCondition(session_, text));
    json::value& root = ConditionOf(tree.statement);
    const std::size_t sets_before = read_.sets.size();
    const std::string function = root.is_object() ? AsciiLower(TextMember(root.get_object(), "function_name")) : "";
    RETURN_NOT_OK(Rewrite(root));
    if (read_.sets.size() == sets_before) {
      return InvalidInput("'{}' has no theta_sketch(measure); other measures are named, and computed in the aggregate",
                          text);
    }
    ASSIGN_OR_RETURN(auto sql, Printed(session_, root));
    const bool is_set =
        function == kSketch || std::find(kOperations.begin(), kOperations.end(), function) != kOperations.end();
    if (is_set) sql = fmt::format("theta_estimate({})", sql);
    read_.definition.measures.push_back({name, std::move(sql), ""});
    read_.measures.push_back(name);
    return Status::OK();
  }

  SetMeasures Take() { return std::move(read_); }

 private:
  // All of the call is looked at: its arguments, and the FILTER of a theta_sketch().
  static bool IsPlainCall(const json::object& node, std::string_view name) {
    const bool has_filter = !node.at("filter").is_null();
    const bool has_order = !node.at("order_bys").get_object().at("orders").get_array().empty();
    return !has_order && !node.at("distinct").get_bool() && (!has_filter || name == kSketch);
  }

  // Puts the column of its set into the place of each theta_sketch().
  Status Rewrite(json::value& value) {
    auto& node = value.get_object();
    const std::string_view kind = TextMember(node, "class");
    if (kind == "CONSTANT") return Status::OK();
    if (kind == "COLUMN_REF") {
      return InvalidInput("'{}' must be within theta_sketch()",
                          std::string_view(node.at("column_names").get_array().at(0).get_string()));
    }
    if (kind != "FUNCTION") return InvalidInput("{} expressions are not allowed over sets", AsciiLower(kind));
    const std::string name = AsciiLower(TextMember(node, "function_name"));
    if (!IsPlainCall(node, name))
      return InvalidInput("{}() takes no DISTINCT and no ORDER BY, and FILTER stands behind theta_sketch()", name);
    if (name == kSketch) return ReplaceSet(value);
    if (!std::any_of(AroundSets().begin(), AroundSets().end(), [&](const auto& known) { return known == name; })) {
      return InvalidInput("the function {}() is not allowed over sets{}", name, NamesInstead(name, AroundSets()));
    }
    for (auto& child : node.at("children").get_array()) RETURN_NOT_OK(Rewrite(child));
    return Status::OK();
  }

  Status ReplaceSet(json::value& call) {
    const auto& node = call.get_object();
    const auto& children = node.at("children").get_array();
    if (children.size() != 1 || TextMember(children[0].get_object(), "class") != "COLUMN_REF") {
      return InvalidInput("theta_sketch() takes a measure of {}", own_.name);
    }
    const auto& names = children[0].at("column_names").get_array();
    ASSIGN_OR_RETURN(auto of, StateOf(std::string(names.at(names.size() - 1).get_string())));
    SetMeasures::Set set{std::move(of), "true"};
    if (const auto& filter = node.at("filter"); !filter.is_null()) {
      ASSIGN_OR_RETURN(const auto text, Printed(session_, filter));
      const auto checked = CheckWhere(session_, text, columns_, own_.name);
      if (!checked.ok()) return WithContext(checked.status(), "FILTER");
      set.condition = *checked;
    }
    if (read_.sets.size() == kSetsMax) return InvalidInput("there are more than {} sets", kSetsMax);
    std::string column = fmt::format("_set_{}", read_.sets.size());
    auto& states = read_.definition.states;
    const auto is_state = [&](const auto& state) { return state.name == column; };
    while (std::any_of(states.begin(), states.end(), is_state)) column += '_';
    states.push_back({column, arrow::binary(), kSketch});
    read_.sets.push_back(std::move(set));
    const std::vector<std::string> columns = {sql::QuoteIdentifier(column)};
    ASSIGN_OR_RETURN(const auto tree,
                     ParseCondition(session_, aggregate::FindFunction(kSketch)->final_sql({}, columns)));
    call = tree.condition();
    return Status::OK();
  }

  // The state that the measure is the set of.
  Result<std::string> StateOf(const std::string& name) const {
    std::vector<std::string> known;
    for (const auto& measure : own_.measures) {
      ASSIGN_OR_RETURN(const auto columns, ColumnsOf(session_, measure.sql));
      const auto state = columns.size() != 1
                             ? own_.states.end()
                             : std::find_if(own_.states.begin(), own_.states.end(), [&](const auto& candidate) {
                                 return candidate.name == columns.front() && candidate.function == kSketch;
                               });
      if (state == own_.states.end()) continue;
      if (AsciiLower(measure.name) == AsciiLower(name)) return state->name;
      known.push_back(measure.name);
    }
    return InvalidInput("no measure '{}' that is a theta_sketch() in {}{}", name, own_.name, NamesInstead(name, known));
  }

  sql::SqlSession& session_;
  const model::AggregateDefinition& own_;
  std::vector<std::string> columns_;  // What conditions may look at.
  SetMeasures read_;
};

}  // namespace

Result<SetMeasures> ReadSetMeasures(sql::SqlSession& session, const model::AggregateDefinition& definition,
                                    const std::vector<std::string>& measures) {
  Reader reader(session, definition);
  for (const auto& measure : measures) {
    const Status added = reader.Add(measure);
    if (!added.ok()) return WithContext(added, "measures");
  }
  return reader.Take();
}

}  // namespace millrace::query
