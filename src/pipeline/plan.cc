#include "pipeline/plan.h"

#include <algorithm>
#include <utility>

#include "delta/table.h"
#include "ingest/formats.h"
#include "ingest/provenance.h"
#include "model/dead_letters.h"
#include "process/transform.h"

namespace millrace::pipeline {
namespace {

constexpr const char* kOnlyInput = "input";

/// What `source.topics`, `decode` and `event_time` of the file's top level say: the only input.
Result<InputPlan> PlanInput(const PipelineConfig& config) {
  InputPlan input{.name = kOnlyInput,
                  .topics = config.source.topics,
                  .decode = config.decode,
                  .on_decode_error = config.on_decode_error,
                  .event_time = config.event_time};
  RETURN_NOT_OK(ingest::MakeDecoder(input.decode).status());
  input.decode.watch = ingest::MakeFieldWatch(input.decode.columns);
  if (!input.event_time) return input;
  const auto events = ingest::EventSchema(input.decode);
  input.event_time_column = events->GetFieldIndex(input.event_time->column);
  if (input.event_time_column < 0) {
    return InvalidInput("event_time.column: no column '{}' in decode.columns", input.event_time->column);
  }
  if (events->field(input.event_time_column)->type()->id() != arrow::Type::TIMESTAMP) {
    return InvalidInput("event_time.column: '{}' is not a timestamp", input.event_time->column);
  }
  return input;
}

Result<int> FindRelation(const std::vector<RelationPlan>& relations, const std::string& name,
                         const std::string& wanted_by) {
  for (std::size_t i = 0; i < relations.size(); ++i) {
    if (relations[i].name == name) return static_cast<int>(i);
  }
  return InvalidInput("{} reads from '{}', which is neither 'input' nor a transform", wanted_by, name);
}

/// Transforms may be written in any order; each is made once its input is.
Status AddTransforms(const PipelineConfig& config, sql::SqlSession* session, std::vector<RelationPlan>& relations) {
  std::vector<const TransformConfig*> waiting;
  for (const auto& transform : config.transforms) waiting.push_back(&transform);
  while (!waiting.empty()) {
    bool progressed = false;
    for (auto it = waiting.begin(); it != waiting.end();) {
      const auto& transform = **it;
      ASSIGN_OR_RETURN(const auto from, process::Transform::RelationOf(*session, transform.name, transform.sql));
      const auto parent =
          std::find_if(relations.begin(), relations.end(), [&](const auto& r) { return r.name == from; });
      if (parent == relations.end()) {
        ++it;
        continue;
      }
      const int parent_index = static_cast<int>(parent - relations.begin());
      ASSIGN_OR_RETURN(const auto made,
                       process::Transform::Make(*session, transform.name, transform.sql, from, parent->schema));
      relations.push_back({.name = transform.name,
                           .input = parent->input,
                           .parent = parent_index,
                           .sql = transform.sql,
                           .schema = made->output_schema()});
      it = waiting.erase(it);
      progressed = true;
    }
    if (!progressed) {
      ASSIGN_OR_RETURN(const auto from,
                       process::Transform::RelationOf(*session, waiting.front()->name, waiting.front()->sql));
      return InvalidInput("transform '{}' reads from '{}', which is not there or reads from it in turn",
                          waiting.front()->name, from);
    }
  }
  return Status::OK();
}

/// "date(ts)" -> "ts"; nullopt for a plain column.
std::optional<std::string> DateArgument(const std::string& expression) {
  if (!expression.starts_with("date(") || !expression.ends_with(")")) return std::nullopt;
  return expression.substr(5, expression.size() - 6);
}

/// A transform may pass the rescued column on, drop it, or make something else of that name.
void PlanRescued(const ingest::DecodeSpec& decode, TablePlan& table) {
  if (!decode.has_rescued_column()) return;
  const int column = table.schema->GetFieldIndex(std::string(ingest::kRescuedColumn));
  if (column < 0 || table.schema->field(column)->type()->id() != arrow::Type::STRING) return;
  table.rescued_column = column;
  table.adds_columns = decode.unknown_fields == ingest::UnknownFields::kAdd;
  for (const auto& declared : decode.columns) {
    if (declared.path.size() > 1) table.object_keys.push_back(declared.path.front());
  }
}

Result<TablePlan> PlanEventTable(const TableConfig& config, const std::vector<InputPlan>& inputs,
                                 const std::vector<RelationPlan>& relations) {
  TablePlan table;
  table.name = config.name;
  table.commit = config.commit;
  table.properties = config.properties;
  table.on_new_column = config.on_new_column;
  ASSIGN_OR_RETURN(table.relation, FindRelation(relations, config.from, "table '" + config.name + "'"));
  const auto& source = *relations[table.relation].schema;
  const auto is_provenance = [](const std::string& name) {
    return std::find(ingest::kProvenanceColumns.begin(), ingest::kProvenanceColumns.end(), name) !=
           ingest::kProvenanceColumns.end();
  };
  arrow::FieldVector fields;
  for (int i = 0; i < source.num_fields(); ++i) {
    const auto& name = source.field(i)->name();
    if (!config.metadata && is_provenance(name)) continue;
    table.columns.push_back(i);
    fields.push_back(source.field(i));
  }
  for (const auto& expression : config.partition_by) {
    if (const auto argument = DateArgument(expression)) {
      const auto field = source.GetFieldByName(*argument);
      if (field == nullptr || field->type()->id() != arrow::Type::TIMESTAMP) {
        return InvalidInput("table '{}': partition_by {}: no timestamp column '{}'", config.name, expression,
                            *argument);
      }
      table.derived_dates.push_back(*argument);
      table.partition_columns.push_back(*argument + "_date");
      fields.push_back(arrow::field(*argument + "_date", arrow::date32()));
    } else {
      const auto field = arrow::schema(fields)->GetFieldByName(expression);
      if (field == nullptr) return InvalidInput("table '{}': partition_by: no column '{}'", config.name, expression);
      table.partition_columns.push_back(expression);
    }
  }
  table.schema = arrow::schema(std::move(fields));
  PlanRescued(inputs[relations[table.relation].input].decode, table);
  ASSIGN_OR_RETURN(const auto checked, delta::SchemaToJson(*table.schema));
  static_cast<void>(checked);
  return table;
}

Result<TablePlan> PlanAggregateTable(const AggregateConfig& config, sql::SqlSession& session,
                                     const std::vector<RelationPlan>& relations) {
  TablePlan table;
  table.name = config.name;
  table.kind = TableKind::kAggregate;
  table.commit = config.commit;
  table.properties = config.properties;
  table.retention = config.retention;
  ASSIGN_OR_RETURN(const auto from, process::AggregateInputOf(session, config.name, config.sql));
  ASSIGN_OR_RETURN(table.relation, FindRelation(relations, from, "aggregate '" + config.name + "'"));
  ASSIGN_OR_RETURN(table.aggregate,
                   process::PlanAggregate(session, config.name, config.sql, relations[table.relation].schema));
  table.schema = model::PartialSchema(table.aggregate->definition);
  return table;
}

}  // namespace

std::string_view ToString(TableKind kind) {
  switch (kind) {
    case TableKind::kEvents:
      return "events";
    case TableKind::kAggregate:
      return "aggregate";
    case TableKind::kDeadLetters:
      return "dead_letters";
  }
  return "events";
}

int Plan::InputOf(const std::string& topic) const {
  const auto reads = [&](const InputPlan& input) {
    return std::find(input.topics.begin(), input.topics.end(), topic) != input.topics.end();
  };
  const auto input = std::find_if(inputs.begin(), inputs.end(), reads);
  MILLRACE_CHECK(input != inputs.end(), "no input reads topic {}", topic);
  return static_cast<int>(input - inputs.begin());
}

std::vector<std::string> Plan::topics() const {
  std::vector<std::string> all;
  for (const auto& input : inputs) all.insert(all.end(), input.topics.begin(), input.topics.end());
  return all;
}

std::vector<std::string> Plan::StagesOf(int table) const {
  std::vector<std::string> stages = {"decode", "event_time"};
  const auto& plan = tables[table];
  for (int r = plan.relation; relations[r].parent >= 0; r = relations[r].parent) {
    stages.push_back("transform:" + relations[r].name);
  }
  if (plan.kind == TableKind::kAggregate) stages.push_back("aggregate:" + plan.name);
  if (plan.kind == TableKind::kEvents) stages.push_back("table:" + plan.name);
  return stages;
}

Result<std::shared_ptr<objectstore::ObjectStore>> OpenLake(const LakeConfig& lake, objectstore::IfMissing if_missing) {
  return objectstore::OpenStore(lake.uri, if_missing,
                                {.endpoint = lake.s3_endpoint,
                                 .region = lake.s3_region,
                                 .path_style = lake.s3_path_style,
                                 .ca_file = lake.s3_ca_file});
}

Result<std::shared_ptr<objectstore::ObjectStore>> OpenTableStore(
    const Plan& plan, int table, const std::shared_ptr<objectstore::ObjectStore>& lake) {
  if (table == plan.dead_letters() && plan.config.dead_letters_uri) {
    return objectstore::OpenStore(*plan.config.dead_letters_uri);
  }
  return objectstore::Below(lake, plan.tables[table].name);
}

Result<std::shared_ptr<const Plan>> MakePlan(PipelineConfig config) {
  std::vector<InputPlan> inputs;
  ASSIGN_OR_RETURN(inputs.emplace_back(), PlanInput(config));
  if (const auto overlaps = OverlappingPlaces(config); !overlaps.empty()) {
    return InvalidInput("{}", overlaps.front());
  }
  std::vector<RelationPlan> relations;
  for (const auto& input : inputs) {
    relations.push_back(
        {.name = input.name, .input = static_cast<int>(relations.size()), .schema = ingest::EventSchema(input.decode)});
  }
  std::unique_ptr<sql::SqlSession> session;
  if (!config.transforms.empty() || !config.aggregates.empty()) {
    ASSIGN_OR_RETURN(session, sql::SqlSession::Make());
  }
  RETURN_NOT_OK(AddTransforms(config, session.get(), relations));

  std::vector<TablePlan> tables;
  for (const auto& table : config.tables) {
    ASSIGN_OR_RETURN(auto planned, PlanEventTable(table, inputs, relations));
    tables.push_back(std::move(planned));
  }
  for (const auto& aggregate : config.aggregates) {
    ASSIGN_OR_RETURN(auto planned, PlanAggregateTable(aggregate, *session, relations));
    tables.push_back(std::move(planned));
  }
  TablePlan letters;
  letters.name = config.name + "_dead_letters";
  letters.kind = TableKind::kDeadLetters;
  letters.schema = model::DeadLetterSchema();
  tables.push_back(std::move(letters));

  return std::make_shared<const Plan>(Plan{.config = std::move(config),
                                           .inputs = std::move(inputs),
                                           .relations = std::move(relations),
                                           .tables = std::move(tables)});
}

}  // namespace millrace::pipeline
