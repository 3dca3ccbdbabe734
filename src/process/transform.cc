#include "process/transform.h"

#include <array>
#include <utility>

#include "base/ascii_case.h"
#include "model/event_batch.h"
#include "process/batch_evaluator.h"
#include "process/select_statement.h"
#include "sql/sql_session.h"

namespace millrace::process {

namespace {

constexpr std::array<std::string_view, 4> kProvenance = {model::kTopicColumn, model::kPartitionColumn,
                                                         model::kOffsetColumn, model::kTimestampColumn};

// A column of the output: the input's own (`column` >= 0), or an expression.
struct Output {
  std::string name;
  int column = -1;
  ParseTree expression;
};

std::string What(const std::string& name) { return fmt::format("transform {}", name); }

Result<std::string> RelationName(const SelectStatement& statement) {
  const ParseTree& from = statement.from();
  if (from.type() == "BASE_TABLE") {
    if (!from["schema_name"].text.empty() || !from["catalog_name"].text.empty() ||
        from["at_clause"].kind != ParseTree::Kind::kNull || !from["column_name_alias"].empty()) {
      return statement.RefuseAt(from, "FROM must be a plain name");
    }
    return from["table_name"].text;
  }
  if (from.type() == "JOIN") return statement.RefuseAt(from, "a join is not row-wise");
  if (from.type() == "EMPTY") return statement.RefuseAt(from, "there is no FROM");
  return statement.RefuseAt(from, "FROM must be one name, of the input or of a transform");
}

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
  std::map<std::string, bool> excluded;
  for (const auto& name : star["exclude_list"].items) excluded[AsciiLower(name.text)] = true;
  for (const auto& name : star["qualified_exclude_list"].items) excluded[AsciiLower(name["column"].text)] = true;
  std::map<std::string, const ParseTree*> replaced;
  for (const auto& entry : star["replace_list"].items) replaced[AsciiLower(entry["key"].text)] = &entry["value"];
  std::map<std::string, std::string> renamed;
  for (const auto& entry : star["rename_list"].items) {
    renamed[AsciiLower(entry["key"]["column"].text)] = entry["value"].text;
  }
  for (int i = 0; i < statement.schema().num_fields(); ++i) {
    const std::string& name = statement.schema().field(i)->name();
    const std::string folded = AsciiLower(name);
    if (excluded.contains(folded)) continue;
    Output output{name, i, {}};
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
              std::shared_ptr<arrow::Schema> input_schema) {
    name_ = name;
    input_schema_ = std::move(input_schema);
    ASSIGN_OR_RETURN(auto statement, SelectStatement::Parse(&session, What(name), sql));
    ASSIGN_OR_RETURN(const auto from, RelationName(statement));
    if (from != relation) {
      return statement.RefuseAt(statement.from(), fmt::format("FROM must be {}, not {}", relation, from));
    }
    const std::string& alias = statement.from().alias();
    statement.SetScope(input_schema_, {alias.empty() ? relation : alias});
    RETURN_NOT_OK(CheckClauses(statement));
    // DuckDB's own message shows the place of what it does not know.
    RETURN_NOT_OK(session.Register(relation, input_schema_, {}));
    const auto described = session.Describe(sql);
    if (!described.ok()) return WithContext(described.status(), "{}", What(name));

    ASSIGN_OR_RETURN(auto outputs, Outputs(statement));
    if (outputs.size() != described->size()) {
      return Internal("{}: {} columns instead of DuckDB's {}", What(name), outputs.size(), described->size());
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i].name = (*described)[i].name;
    RETURN_NOT_OK(AddProvenance(&outputs));
    std::vector<std::string> names;
    for (const auto& output : outputs) names.push_back(output.name);
    RETURN_NOT_OK(CheckUniqueNames(What(name), names));

    std::vector<std::string> expressions;
    for (const auto& output : outputs) {
      if (output.column >= 0) continue;
      ASSIGN_OR_RETURN(auto text, statement.ToSql(output.expression));
      expressions.push_back(std::move(text));
    }
    std::string where;
    if (statement.node()["where_clause"].kind != ParseTree::Kind::kNull) {
      ASSIGN_OR_RETURN(where, statement.ToSql(statement.Resolve(statement.node()["where_clause"], aliases_)));
    }
    where_ = where;
    for (std::size_t i = 0, computed = 0; i < outputs.size(); ++i) {
      const int column = outputs[i].column;
      output_sql_.push_back(column < 0 ? expressions[computed++]
                                       : sql::QuoteIdentifier(input_schema_->field(column)->name()));
    }
    ASSIGN_OR_RETURN(evaluator_, BatchEvaluator::Make(input_schema_, std::move(expressions), std::move(where)));
    arrow::FieldVector fields;
    std::size_t computed = 0;
    for (const auto& output : outputs) {
      columns_.push_back(output.column);
      if (output.column >= 0) {
        fields.push_back(input_schema_->field(output.column)->WithName(output.name));
        continue;
      }
      const auto& type = evaluator_->types()[computed++];
      if (!IsOutputType(*type)) {
        return InvalidInput("{}: column {} has type {}, which a table cannot hold; cast it", What(name), output.name,
                            TypeOf(*described, output.name));
      }
      fields.push_back(arrow::field(output.name, type));
    }
    output_schema_ = arrow::schema(std::move(fields));
    return Status::OK();
  }

  Result<Transformed> Apply(const std::shared_ptr<arrow::RecordBatch>& input) {
    if (!input->schema()->Equals(*input_schema_, false)) {
      return Internal("{}: a batch has schema {} instead of {}", What(name_), input->schema()->ToString(),
                      input_schema_->ToString());
    }
    auto evaluated = evaluator_->Evaluate(input);
    if (!evaluated.ok()) return WithContext(evaluated.status(), "{}", What(name_));
    std::vector<std::shared_ptr<arrow::Array>> columns;
    std::size_t computed = 0;
    for (const int column : columns_) {
      if (column < 0) {
        columns.push_back(evaluated->values[computed++]);
        continue;
      }
      ASSIGN_OR_RETURN(auto passed, BatchEvaluator::Passed(input->column(column), *evaluated));
      columns.push_back(std::move(passed));
    }
    Transformed transformed;
    transformed.rows = arrow::RecordBatch::Make(output_schema_, evaluated->num_rows, std::move(columns));
    transformed.filtered = evaluated->filtered;
    transformed.failed = std::move(evaluated->failed);
    return transformed;
  }

  const std::string& name() const { return name_; }
  const std::shared_ptr<arrow::Schema>& output_schema() const { return output_schema_; }
  Result<RowOrigin> OriginOf(sql::SqlSession& session, const RowOrigin& input) const {
    return input.Through(session, input_schema_, output_sql_, where_);
  }

 private:
  static std::string TypeOf(const std::vector<sql::ResultColumn>& described, const std::string& name) {
    for (const auto& column : described) {
      if (column.name == name) return column.duckdb_type;
    }
    return "unknown";
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
      if (column < 0) continue;
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
  std::vector<int> columns_;                  // Per output: the input's column, or -1 for the evaluator's next value.
  std::vector<std::string> output_sql_;       // Per output, over input_schema_.
  std::string where_;                         // Over input_schema_; empty: none.
  std::unique_ptr<BatchEvaluator> evaluator_;
};

Transform::Transform(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Transform::~Transform() = default;

Result<std::unique_ptr<Transform>> Transform::Make(sql::SqlSession& session, const std::string& name,
                                                   const std::string& sql, const std::string& relation,
                                                   std::shared_ptr<arrow::Schema> input_schema) {
  auto impl = std::make_unique<Impl>();
  RETURN_NOT_OK(impl->Init(session, name, sql, relation, std::move(input_schema)));
  return std::unique_ptr<Transform>(new Transform(std::move(impl)));
}

const std::string& Transform::name() const { return impl_->name(); }
const std::shared_ptr<arrow::Schema>& Transform::output_schema() const { return impl_->output_schema(); }
Result<RowOrigin> Transform::OriginOf(sql::SqlSession& session, const RowOrigin& input) const {
  return impl_->OriginOf(session, input);
}
Result<Transformed> Transform::Apply(const std::shared_ptr<arrow::RecordBatch>& input) { return impl_->Apply(input); }

Result<std::string> Transform::RelationOf(sql::SqlSession& session, const std::string& name, const std::string& sql) {
  ASSIGN_OR_RETURN(const auto statement, SelectStatement::Parse(&session, What(name), sql));
  return RelationName(statement);
}

}  // namespace millrace::process
