// What needs several parts of the configuration: names, references, columns and SQL.
#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <regex>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "config/config_internal.h"
#include "delta/actions.h"
#include "delta/partition_values.h"
#include "delta/protocol_support.h"
#include "delta/table_properties.h"
#include "model/event_batch.h"
#include "process/aggregate_plan.h"
#include "process/transform.h"
#include "sql/error_place.h"

namespace millrace::config {
namespace {

using Schema = std::shared_ptr<arrow::Schema>;

int ToInt(const std::ssub_match& digits) {
  int number = 0;
  std::from_chars(&*digits.first, &*digits.first + digits.length(), number);
  return number;
}

// Takes the place in the SQL out of an error's message. A status carries it as text only, in one of two forms: ours,
// "at line 2 column 9", and DuckDB's.
std::optional<sql::ErrorPlace> TakePlace(std::string& message, const std::string& sql) {
  static const std::regex kOurs(R"( ?\(?(?:at )?line (\d+),? column (\d+)\)?)");
  if (const auto place = sql::TakeErrorPlace(message, sql)) return place;
  std::smatch match;
  if (!std::regex_search(message, match, kOurs)) return std::nullopt;
  const sql::ErrorPlace place{ToInt(match[1]), ToInt(match[2])};
  message = match.prefix().str() + match.suffix().str();
  return place;
}

class Checker {
 public:
  Checker(const PipelineConfig& config, const ConfigNodes& nodes, Findings& findings)
      : config_(config), nodes_(nodes), findings_(findings) {}

  void Run() {
    CheckUniqueNames();
    CheckEventTime();
    if (!config_.transforms.empty() || !config_.aggregates.empty()) {
      auto session = sql::SqlSession::Make();
      if (!session.ok()) return findings_.Add({}, session.status().message());
      session_ = *std::move(session);
    }
    for (const auto& transform : config_.transforms) relation_names_.push_back(transform.name);
    FindTransformInputs();
    if (nodes_.columns_are_good) {
      schemas_["input"] = ingest::EventSchema(config_.decode);
      PlanTransforms();
    }
    CheckTables();
    CheckAggregates();
    for (auto& overlap : OverlappingPlaces(config_)) {
      if (nodes_.embedded_path != nullptr) Add(*nodes_.embedded_path, std::move(overlap));
    }
  }

 private:
  void Add(const ConfigNode& node, std::string message) { findings_.Add(node.place, std::move(message)); }

  // SQL is folded to one case by DuckDB, and so are names on some file systems.
  void CheckUniqueNames() {
    std::map<std::string, std::string> seen = {{"input", "the decoded events"}};
    for (std::size_t i = 0; i < config_.transforms.size(); ++i) {
      ClaimName(seen, nodes_.transforms[i].name, config_.transforms[i].name, "a transform");
    }
    seen.clear();
    if (nodes_.pipeline != nullptr)
      seen[AsciiLower(config_.name + "_dead_letters")] = "the dead letters of this pipeline";
    for (std::size_t i = 0; i < config_.tables.size(); ++i) {
      ClaimName(seen, nodes_.tables[i].name, config_.tables[i].name, "a table");
    }
    for (std::size_t i = 0; i < config_.aggregates.size(); ++i) {
      ClaimName(seen, nodes_.aggregates[i].name, config_.aggregates[i].name, "an aggregate");
    }
  }

  void ClaimName(std::map<std::string, std::string>& seen, const ConfigNode* node, const std::string& name,
                 const std::string& what) {
    if (node == nullptr) return;
    const auto [it, fresh] = seen.emplace(AsciiLower(name), what);
    if (!fresh) Add(*node, fmt::format("the name '{}' is taken by {}", name, it->second));
  }

  void CheckEventTime() {
    if (nodes_.event_time_column == nullptr || !config_.event_time || !nodes_.columns_are_good) return;
    const auto& name = config_.event_time->column;
    if (name == model::kTimestampColumn) return;
    std::vector<std::string> timestamps = {std::string(model::kTimestampColumn)};
    for (const auto& column : config_.decode.columns) {
      if (column.type->id() == arrow::Type::TIMESTAMP) timestamps.push_back(column.name);
      if (column.name != name) continue;
      if (column.type->id() != arrow::Type::TIMESTAMP) {
        Add(*nodes_.event_time_column, fmt::format("event_time.column: '{}' is not a timestamp", name));
      }
      return;
    }
    Add(*nodes_.event_time_column, fmt::format("event_time.column: there is no column '{}' in decode.columns{}", name,
                                               DidYouMean(name, timestamps)));
  }

  void AddSqlFinding(const ConfigNode& node, const Status& status) {
    std::string message = status.message();
    const auto in_sql = TakePlace(message, node.text);
    std::replace(message.begin(), message.end(), '\n', ' ');
    if (!in_sql) {
      Add(node, std::move(message));
      return;
    }
    // With an exact place of its own the finding need not repeat that of the SQL.
    if (node.style == ConfigNode::Style::kUnknown || node.substituted) {
      message += fmt::format(" at line {} column {} of the SQL", in_sql->line, in_sql->column);
    }
    findings_.Add(node.PlaceInText(in_sql->line, in_sql->column), std::move(message));
  }

  bool IsRelation(const std::string& name) const {
    return name == "input" || std::find(relation_names_.begin(), relation_names_.end(), name) != relation_names_.end();
  }

  std::string UnknownRelation(const std::string& reader, const std::string& name) const {
    auto candidates = relation_names_;
    candidates.insert(candidates.begin(), "input");
    return fmt::format("{} reads from '{}', which is neither 'input' nor a transform{}", reader, name,
                       DidYouMean(name, candidates));
  }

  void FindTransformInputs() {
    inputs_.resize(config_.transforms.size());
    for (std::size_t i = 0; i < config_.transforms.size(); ++i) {
      const auto& at = nodes_.transforms[i];
      if (at.name == nullptr || at.sql == nullptr) continue;
      const auto& transform = config_.transforms[i];
      auto relation = process::Transform::RelationOf(*session_, transform.name, transform.sql);
      if (!relation.ok()) {
        AddSqlFinding(*at.sql, relation.status());
      } else if (!IsRelation(*relation)) {
        Add(*at.sql, UnknownRelation("transform '" + transform.name + "'", *relation));
      } else {
        inputs_[i] = *std::move(relation);
      }
    }
  }

  // Each transform is planned once its input is; those that remain wait for each other.
  void PlanTransforms() {
    std::vector<bool> planned(config_.transforms.size());
    for (bool progressed = true; progressed;) {
      progressed = false;
      for (std::size_t i = 0; i < config_.transforms.size(); ++i) {
        if (planned[i] || !inputs_[i]) continue;
        const auto input = schemas_.find(*inputs_[i]);
        if (input == schemas_.end()) continue;
        planned[i] = progressed = true;
        const auto& transform = config_.transforms[i];
        if (input->second == nullptr) {
          schemas_[transform.name] = nullptr;
          continue;
        }
        const auto made =
            process::Transform::Make(*session_, transform.name, transform.sql, *inputs_[i], input->second);
        if (!made.ok()) AddSqlFinding(*nodes_.transforms[i].sql, made.status());
        // A null schema: the transform is there, and what reads from it cannot be checked.
        schemas_[transform.name] = made.ok() ? (*made)->output_schema() : nullptr;
      }
    }
    for (std::size_t i = 0; i < config_.transforms.size(); ++i) {
      if (!planned[i] && inputs_[i] && IsInCircle(i)) {
        Add(*nodes_.transforms[i].sql, fmt::format("transform '{}' reads from '{}', which reads from it in turn",
                                                   config_.transforms[i].name, *inputs_[i]));
      }
    }
  }

  bool IsInCircle(std::size_t start) const {
    std::string at = *inputs_[start];
    for (std::size_t steps = 0; steps <= config_.transforms.size(); ++steps) {
      if (at == config_.transforms[start].name) return true;
      const auto next = std::find_if(config_.transforms.begin(), config_.transforms.end(),
                                     [&](const auto& transform) { return transform.name == at; });
      if (next == config_.transforms.end()) return false;
      const auto& input = inputs_[static_cast<std::size_t>(next - config_.transforms.begin())];
      if (!input) return false;
      at = *input;
    }
    return false;
  }

  void CheckTables() {
    for (std::size_t i = 0; i < config_.tables.size(); ++i) {
      const auto& table = config_.tables[i];
      const auto& at = nodes_.tables[i];
      if (at.from != nullptr && !IsRelation(table.from)) {
        Add(*at.from, UnknownRelation("table '" + table.name + "'", table.from));
        continue;
      }
      const auto schema = schemas_.find(table.from);
      if (schema != schemas_.end() && schema->second != nullptr) CheckPartitioning(table, at, *schema->second);
    }
  }

  // Whether a new table with these columns can be made.
  void CheckColumns(const ConfigNode& node, const std::string& what, const arrow::Schema& schema,
                    const std::map<std::string, std::string>& properties) {
    delta::Metadata metadata;
    // Else each has a finding of its own.
    if (delta::CheckTableProperties(properties).ok()) metadata.configuration = properties;
    const auto json = delta::SchemaToJson(schema);
    Status fits = json.status();
    if (json.ok()) {
      metadata.schema_string = *json;
      fits = delta::CheckWritable(delta::ProtocolFor(schema), metadata);
    }
    if (!fits.ok()) Add(node, fmt::format("{}: {}", what, fits.message()));
  }

  void CheckPartitioning(const TableConfig& table, const ConfigNodes::Table& at, const arrow::Schema& schema) {
    std::vector<std::string> columns;
    arrow::FieldVector kept;
    for (const auto& field : schema.fields()) {
      const bool provenance = field->name() == model::kTopicColumn || field->name() == model::kPartitionColumn ||
                              field->name() == model::kOffsetColumn || field->name() == model::kTimestampColumn;
      if (!table.metadata && provenance) continue;
      columns.push_back(field->name());
      kept.push_back(field);
    }
    std::vector<std::string> seen;
    for (std::size_t i = 0; i < at.partition_by.size(); ++i) {
      const auto& expression = table.partition_by[i];
      const auto refuse = [&](std::string message) {
        Add(*at.partition_by[i], fmt::format("table '{}': partition_by: {}", table.name, message));
      };
      if (std::find(seen.begin(), seen.end(), expression) != seen.end()) {
        refuse(fmt::format("'{}' is here twice", expression));
        continue;
      }
      seen.push_back(expression);
      const bool is_date = expression.starts_with("date(") && expression.ends_with(")");
      if (!is_date && expression.find('(') != std::string::npos) {
        refuse(fmt::format("'{}' is neither a column nor date(column)", expression));
        continue;
      }
      const auto column = is_date ? expression.substr(5, expression.size() - 6) : expression;
      // date(x) may use a column that the table itself leaves out.
      const auto field = schema.GetFieldByName(column);
      const bool there =
          field != nullptr && (is_date || std::find(columns.begin(), columns.end(), column) != columns.end());
      if (!there) {
        refuse(fmt::format("there is no column '{}'{}", column, DidYouMean(column, columns)));
      } else if (is_date && field->type()->id() != arrow::Type::TIMESTAMP) {
        refuse(fmt::format("date({}) needs a timestamp, and it is {}", column, field->type()->ToString()));
      } else if (is_date && schema.GetFieldByName(column + "_date") != nullptr) {
        refuse(fmt::format("date({}) adds the column {}_date, which is there already", column, column));
      } else if (!is_date && !delta::CanPartition(*field->type())) {
        refuse(fmt::format("'{}' is {}; a table cannot be partitioned by it", column, field->type()->ToString()));
      }
      if (there && is_date) kept.push_back(arrow::field(column + "_date", arrow::date32()));
    }
    const bool keeps_a_column = std::any_of(columns.begin(), columns.end(), [&](const auto& column) {
      return std::find(seen.begin(), seen.end(), column) == seen.end();
    });
    if (!keeps_a_column && !at.partition_by.empty()) {
      Add(*at.partition_by[0],
          fmt::format("table '{}': partition_by names every column; a file needs at least one", table.name));
    }
    if (at.name != nullptr) {
      CheckColumns(*at.name, "table '" + table.name + "'", *arrow::schema(std::move(kept)), table.properties);
    }
  }

  void CheckAggregates() {
    for (std::size_t i = 0; i < config_.aggregates.size(); ++i) {
      const auto& aggregate = config_.aggregates[i];
      const auto& at = nodes_.aggregates[i];
      if (at.name == nullptr || at.sql == nullptr) continue;
      const auto input = process::AggregateInputOf(*session_, aggregate.name, aggregate.sql);
      if (!input.ok()) {
        AddSqlFinding(*at.sql, input.status());
        continue;
      }
      if (!IsRelation(*input)) {
        Add(*at.sql, UnknownRelation("aggregate '" + aggregate.name + "'", *input));
        continue;
      }
      const auto schema = schemas_.find(*input);
      if (schema == schemas_.end() || schema->second == nullptr) continue;
      const auto plan = process::PlanAggregate(*session_, aggregate.name, aggregate.sql, schema->second);
      if (!plan.ok()) {
        AddSqlFinding(*at.sql, plan.status());
      } else {
        CheckColumns(*at.name, "aggregate '" + aggregate.name + "'", *model::PartialSchema(plan->definition),
                     aggregate.properties);
      }
    }
  }

  const PipelineConfig& config_;
  const ConfigNodes& nodes_;
  Findings& findings_;
  std::unique_ptr<sql::SqlSession> session_;  ///< Null if there is no SQL.
  std::vector<std::string> relation_names_;
  std::vector<std::optional<std::string>> inputs_;  ///< Of the transforms; nullopt: has a finding.
  std::map<std::string, Schema> schemas_;           ///< By relation; null: it is there, but it has a finding.
};

}  // namespace

void CheckReferences(const PipelineConfig& config, const ConfigNodes& nodes, Findings& findings) {
  Checker(config, nodes, findings).Run();
}

}  // namespace millrace::config
