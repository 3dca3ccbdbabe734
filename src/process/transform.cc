#include "process/transform.h"

#include <array>
#include <optional>
#include <set>
#include <utility>

#include "base/ascii_case.h"
#include "model/event_batch.h"
#include "process/batch_evaluator.h"
#include "process/lookup_join.h"
#include "process/select_statement.h"
#include "sql/sql_session.h"

namespace millrace::process {

namespace {

// Columns that are never null; the events' own may be, and one of them may have the last of these names.
constexpr std::array<std::string_view, 5> kProvenance = {
    model::kTopicColumn, model::kPartitionColumn, model::kOffsetColumn, model::kTimestampColumn, model::kIndexColumn};

// A column of the output: the input's own (`column` >= 0), or an expression.
struct Output {
  std::string name;
  int column = -1;
  ParseTree expression;
};

std::string What(const std::string& name) { return fmt::format("transform {}", name); }

// What Delta tables and our aggregates can hold.
bool IsOutputType(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BOOL:
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DATE32:
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return true;
    case arrow::Type::TIMESTAMP:
      return static_cast<const arrow::TimestampType&>(type).unit() == arrow::TimeUnit::MICRO;
    case arrow::Type::LIST:
    case arrow::Type::STRUCT:
    case arrow::Type::MAP:
      for (const auto& field : type.fields()) {
        if (!IsOutputType(*field->type())) return false;
      }
      return true;
    default:
      return false;
  }
}

// `*` with EXCLUDE, REPLACE and RENAME, one output per column.
Status ExpandStar(const SelectStatement& statement, const ParseTree& star,
                  const std::map<std::string, ParseTree>& aliases, std::vector<Output>* outputs) {
  if (star["columns"].text == "true" || star["expr"].kind != ParseTree::Kind::kNull) {
    return statement.NotYetAt(star, "COLUMNS(...)");
  }
  const std::string& qualifier = star["relation_name"].text;
  if (!qualifier.empty() && !statement.IsQualifier(qualifier)) {
    return statement.RefuseAt(star, fmt::format("{}.* names no relation of FROM", qualifier));
  }
  std::set<std::string> excluded;                                       // Columns of any relation,
  std::set<std::pair<std::string, std::string>> excluded_of_relations;  // and of a named one.
  for (const auto& name : star["exclude_list"].items) excluded.insert(AsciiLower(name.text));
  for (const auto& name : star["qualified_exclude_list"].items) {
    excluded_of_relations.emplace(AsciiLower(name["table"].text), AsciiLower(name["column"].text));
  }
  const std::string first = AsciiLower(statement.first_qualifier());
  std::map<std::string, const ParseTree*> replaced;
  for (const auto& entry : star["replace_list"].items) replaced[AsciiLower(entry["key"].text)] = &entry["value"];
  std::map<std::string, std::string> renamed;
  for (const auto& entry : star["rename_list"].items) {
    renamed[AsciiLower(entry["key"]["column"].text)] = entry["value"].text;
  }
  for (auto& column : statement.StarColumns(qualifier)) {
    const std::string folded = AsciiLower(column.name);
    const std::string relation = column.qualifier.empty() ? first : AsciiLower(column.qualifier);
    if (excluded.contains(folded) || excluded_of_relations.contains({relation, folded})) continue;
    Output output{std::move(column.name), column.column, {}};
    if (const auto to = renamed.find(folded); to != renamed.end()) output.name = to->second;
    if (const auto by = replaced.find(folded); by != replaced.end()) {
      output.expression = statement.Resolve(*by->second, aliases);
      output.column = statement.ColumnOf(output.expression);
    }
    outputs->push_back(std::move(output));
  }
  return Status::OK();
}

}  // namespace

class Transform::Impl {
 public:
  Status Init(sql::SqlSession& session, const std::string& name, const std::string& sql, const std::string& relation,
              std::shared_ptr<arrow::Schema> input_schema, std::span<const LookupShape> lookups,
              EvaluatorSessions& sessions) {
    name_ = name;
    input_schema_ = std::move(input_schema);
    ASSIGN_OR_RETURN(auto statement, SelectStatement::Parse(&session, What(name), sql));
    ASSIGN_OR_RETURN(const auto from, NamesInFrom(statement));
    if (!EqualsIgnoringAsciiCase(from.relation, relation)) {
      return statement.RefuseAt(statement.from(), fmt::format("FROM must be {}, not {}", relation, from.relation));
    }
    ASSIGN_OR_RETURN(auto join, LookupJoin::Make(statement, input_schema_, lookups));
    RETURN_NOT_OK(CheckClauses(statement));
    // DuckDB's own message shows the place of what it does not know.
    RETURN_NOT_OK(session.Register(relation, input_schema_, {}));
    for (const int lookup : join.lookups()) {
      RETURN_NOT_OK(session.Register(lookups[lookup].name, lookups[lookup].schema, {}));
    }
    const auto described = session.Describe(sql);
    if (!described.ok()) return WithContext(described.status(), "{}", What(name));
    RETURN_NOT_OK(join.ReadConditions(statement, lookups));

    ASSIGN_OR_RETURN(auto outputs, Outputs(statement));
    if (outputs.size() != described->size()) {
      return Internal("{}: {} columns instead of DuckDB's {}", What(name), outputs.size(), described->size());
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i].name = (*described)[i].name;
    RETURN_NOT_OK(AddProvenance(&outputs));
    std::vector<std::string> names;
    for (const auto& output : outputs) names.push_back(output.name);
    RETURN_NOT_OK(CheckUniqueNames(What(name), names));

    ParseTree where_tree;
    if (statement.node()["where_clause"].kind != ParseTree::Kind::kNull) {
      where_tree = statement.Resolve(statement.node()["where_clause"], aliases_);
    }
    std::vector<bool> used(statement.schema().num_fields());
    for (const auto& output : outputs) {
      if (output.column >= 0) used[output.column] = true;
      MarkColumns(statement, output.expression, &used);
    }
    MarkColumns(statement, where_tree, &used);
    const auto places = join.Narrow(std::move(used));
    for (auto& output : outputs) {
      if (output.column >= 0) output.column = places[output.column];
    }
    const auto joined_schema = join.schema();

    std::vector<std::string> expressions;
    for (const auto& output : outputs) {
      if (output.column >= 0) continue;
      ASSIGN_OR_RETURN(auto text, statement.ToSql(output.expression));
      expressions.push_back(std::move(text));
    }
    std::string where;
    if (where_tree.kind != ParseTree::Kind::kNull) {
      ASSIGN_OR_RETURN(where, statement.ToSql(where_tree));
    }
    where_ = where;
    for (std::size_t i = 0, computed = 0; i < outputs.size(); ++i) {
      const int column = outputs[i].column;
      output_sql_.push_back(column < 0 ? expressions[computed++]
                                       : sql::QuoteIdentifier(joined_schema->field(column)->name()));
    }
    ASSIGN_OR_RETURN(evaluator_,
                     BatchEvaluator::Make(sessions, joined_schema, std::move(expressions), std::move(where)));
    arrow::FieldVector fields;
    std::size_t computed = 0;
    for (const auto& output : outputs) {
      columns_.push_back(output.column);
      if (output.column >= 0 && output.column < input_schema_->num_fields()) {
        fields.push_back(input_schema_->field(output.column)->WithName(output.name));
        continue;
      }
      const auto& type =
          output.column >= 0 ? joined_schema->field(output.column)->type() : evaluator_->types()[computed++];
      if (!IsOutputType(*type)) {
        return InvalidInput("{}: column {} has type {}, which a table cannot hold; cast it", What(name), output.name,
                            TypeOf(*described, output.name));
      }
      fields.push_back(arrow::field(output.name, type));
    }
    output_schema_ = arrow::schema(std::move(fields));
    if (!join.empty()) join_ = std::move(join);
    return Status::OK();
  }

  Result<Transformed> Apply(const std::shared_ptr<arrow::RecordBatch>& input, const LookupVersions& versions) {
    if (!input->schema()->Equals(*input_schema_, false)) {
      return Internal("{}: a batch has schema {} instead of {}", What(name_), input->schema()->ToString(),
                      input_schema_->ToString());
    }
    LookupJoin::Joined joined{input, nullptr};
    if (join_) {
      ASSIGN_OR_RETURN(joined, join_->Apply(input, versions));
    }
    auto evaluated = evaluator_->Evaluate(joined.rows);
    if (!evaluated.ok()) return WithContext(evaluated.status(), "{}", What(name_));
    std::vector<std::shared_ptr<arrow::Array>> columns;
    std::size_t computed = 0;
    for (const int column : columns_) {
      if (column < 0) {
        columns.push_back(evaluated->values[computed++]);
        continue;
      }
      ASSIGN_OR_RETURN(auto passed, BatchEvaluator::Passed(joined.rows->column(column), *evaluated));
      columns.push_back(std::move(passed));
    }
    Transformed transformed;
    transformed.rows = arrow::RecordBatch::Make(output_schema_, evaluated->num_rows, std::move(columns));
    transformed.filtered = evaluated->filtered + input->num_rows() - joined.rows->num_rows();
    transformed.failed = std::move(evaluated->failed);
    if (joined.places != nullptr) {
      for (auto& failed : transformed.failed) failed.row = joined.places->Value(failed.row);
    }
    return transformed;
  }

  const std::string& name() const { return name_; }
  const std::shared_ptr<arrow::Schema>& output_schema() const { return output_schema_; }
  Result<RowOrigin> OriginOf(sql::SqlSession& session, const RowOrigin& input) const {
    if (!join_) return input.Through(session, input_schema_, output_sql_, where_);
    return join_->OriginOf(input).Through(session, join_->schema(), output_sql_, where_);
  }
  std::vector<int> lookups() const { return join_ ? join_->lookups() : std::vector<int>(); }

 private:
  static std::string TypeOf(const std::vector<sql::ResultColumn>& described, const std::string& name) {
    for (const auto& column : described) {
      if (column.name == name) return column.duckdb_type;
    }
    return "unknown";
  }

  static void MarkColumns(const SelectStatement& statement, const ParseTree& expression, std::vector<bool>* used) {
    if (expression.is_column()) {
      const int column = statement.ColumnNamed(expression["column_names"].items[0].text);
      if (column >= 0) (*used)[column] = true;
    }
    for (const auto& item : expression.items) MarkColumns(statement, item, used);
  }

  static Status CheckClauses(const SelectStatement& statement) {
    const ParseTree& node = statement.node();
    if (!node["group_expressions"].empty() || node["aggregate_handling"].text != "STANDARD_HANDLING" ||
        !node["group_sets"].empty()) {
      return statement.RefuseAt(statement.from(), "GROUP BY is not row-wise: declare an aggregate");
    }
    if (node["having"].kind != ParseTree::Kind::kNull) {
      return statement.RefuseAt(node["having"], "HAVING is not row-wise: declare an aggregate");
    }
    for (const auto& item : node["select_list"].items) {
      if (item.node_class() != "STAR") RETURN_NOT_OK(statement.CheckRowWise(item));
      for (const auto& entry : item["replace_list"].items) RETURN_NOT_OK(statement.CheckRowWise(entry["value"]));
    }
    return statement.CheckRowWise(node["where_clause"]);
  }

  Result<std::vector<Output>> Outputs(const SelectStatement& statement) {
    std::vector<Output> outputs;
    for (const auto& item : statement.node()["select_list"].items) {
      if (item.node_class() == "STAR") {
        RETURN_NOT_OK(ExpandStar(statement, item, aliases_, &outputs));
        continue;
      }
      ParseTree expression = statement.Resolve(item, aliases_);
      const int column = statement.ColumnOf(expression);
      if (!item.alias().empty()) aliases_.try_emplace(AsciiLower(item.alias()), expression);
      outputs.push_back({item.alias(), column, std::move(expression)});
    }
    return outputs;
  }

  // The dead-letter and exactly-once machinery goes by these columns: they are there, and they are the input's.
  Status AddProvenance(std::vector<Output>* outputs) const {
    for (const auto name : kProvenance) {
      const int column = input_schema_->GetFieldIndex(std::string(name));
      if (column < 0 || (name == model::kIndexColumn && input_schema_->field(column)->nullable())) continue;
      bool selected = false;
      for (const auto& output : *outputs) {
        if (AsciiLower(output.name) != name) continue;
        if (output.column != column) {
          return InvalidInput("{}: column {} tells where a row came from and cannot be another value", What(name_),
                              name);
        }
        selected = true;
      }
      if (!selected) outputs->push_back({std::string(name), column, {}});
    }
    return Status::OK();
  }

  std::string name_;
  std::shared_ptr<arrow::Schema> input_schema_;
  std::shared_ptr<arrow::Schema> output_schema_;
  std::map<std::string, ParseTree> aliases_;  // While it is made: what a name in SELECT stands for.
  std::vector<int> columns_;                  // Per output: the joined rows' column, or -1: the evaluator's next value.
  std::vector<std::string> output_sql_;       // Per output, over the joined rows.
  std::string where_;                         // Likewise; empty: none.
  std::optional<LookupJoin> join_;            // nullopt: no lookup is joined.
  std::unique_ptr<BatchEvaluator> evaluator_;
};

Transform::Transform(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Transform::~Transform() = default;

Result<std::unique_ptr<Transform>> Transform::Make(sql::SqlSession& session, const std::string& name,
                                                   const std::string& sql, const std::string& relation,
                                                   std::shared_ptr<arrow::Schema> input_schema,
                                                   std::span<const LookupShape> lookups, EvaluatorSessions* sessions) {
  auto impl = std::make_unique<Impl>();
  EvaluatorSessions own;
  RETURN_NOT_OK(impl->Init(session, name, sql, relation, std::move(input_schema), lookups,
                           sessions == nullptr ? own : *sessions));
  return std::unique_ptr<Transform>(new Transform(std::move(impl)));
}

const std::string& Transform::name() const { return impl_->name(); }
const std::shared_ptr<arrow::Schema>& Transform::output_schema() const { return impl_->output_schema(); }
Result<RowOrigin> Transform::OriginOf(sql::SqlSession& session, const RowOrigin& input) const {
  return impl_->OriginOf(session, input);
}
std::vector<int> Transform::lookups() const { return impl_->lookups(); }
Result<Transformed> Transform::Apply(const std::shared_ptr<arrow::RecordBatch>& input, const LookupVersions& versions) {
  return impl_->Apply(input, versions);
}

Result<Transform::Sources> Transform::SourcesOf(sql::SqlSession& session, const std::string& name,
                                                const std::string& sql) {
  ASSIGN_OR_RETURN(const auto statement, SelectStatement::Parse(&session, What(name), sql));
  ASSIGN_OR_RETURN(auto names, NamesInFrom(statement));
  return Sources{std::move(names.relation), std::move(names.lookups)};
}

}  // namespace millrace::process
