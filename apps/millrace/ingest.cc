/// `millrace ingest`: the command line and environment of kafka-delta-ingest v0.4.0, onto our pipeline.
///
/// The table keeps its transaction ids (`<app_id>-<partition>`), so a deployment changes one word and goes on where it
/// was.

#include <arrow/type_traits.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "base/log.h"
#include "base/nearest_name.h"
#include "commands.h"
#include "delta/table.h"
#include "flag_checks.h"
#include "ingest/avro/schema_files.h"
#include "ingest/formats.h"
#include "model/dead_letters.h"
#include "objectstore/object_store.h"
#include "pipeline/progress.h"
#include "registry/registry_schemas.h"
#include "registry_flag.h"
#include "service.h"

namespace millrace::app {
namespace {

namespace json = boost::json;

struct IngestFlags {
  std::string topic;
  std::string table_location;
  std::string kafka = "localhost:9092";
  std::string consumer_group = "kafka_delta_ingest";
  std::string app_id = "kafka_delta_ingest";
  std::string seek_offsets;
  std::string auto_offset_reset = "earliest";
  std::int64_t allowed_latency = 300;
  std::int64_t max_messages_per_batch = 5000;
  std::int64_t min_bytes_per_file = 134217728;
  std::vector<std::string> transforms;
  std::string dlq_table_location;
  std::vector<std::string> dlq_transforms;
  bool checkpoints = false;
  std::vector<std::string> kafka_settings;
  std::string statsd_endpoint;
  std::string json;
  std::string avro;
  bool is_avro = false;
  std::string soe_avro;
  bool ends_at_latest_offsets = false;
  bool decompress_gzip = false;
};

Status NotYet(const std::string& what) {
  return Unsupported("{} is not supported yet in this version of millrace ingest", what);
}

/// As there: what else --avro and --json may be is a file or nothing.
bool IsRegistry(const std::string& value) { return value.starts_with("http"); }

Result<std::shared_ptr<ingest::WriterSchemas>> RegistryOf(const std::string& url, const std::string& flag) {
  ASSIGN_OR_RETURN(auto spec, RegistryAt(url, flag));
  return std::make_shared<registry::RegistrySchemas>(std::move(spec));
}

/// Container files, which are read as `schema` (empty: as they say themselves), or records behind a registry's id.
Status SetAvro(const std::string& schema, ingest::DecodeSpec& decode) {
  if (IsRegistry(schema)) {
    decode.framing = ingest::Framing::kConfluent;
    ASSIGN_OR_RETURN(decode.writer_schemas, RegistryOf(schema, "--avro"));
    return Status::OK();
  }
  decode.records = ingest::Records::kContainer;
  if (schema.empty()) return Status::OK();
  auto bytes = ingest::ReadSchemaFile(schema);
  if (!bytes.ok()) return WithContext(bytes.status(), "--avro");
  decode.schema = ingest::SchemaSpec{.file = schema, .bytes = std::make_shared<const std::string>(*std::move(bytes))};
  return Status::OK();
}

/// What the messages are: JSON, or records that become JSON by the schemas that they were written with.
Status SetFormat(const IngestFlags& options, ingest::DecodeSpec& decode) {
  if (!options.soe_avro.empty()) {
    decode.format = "avro";
    decode.through_json = true;
    decode.framing = ingest::Framing::kSingleObject;
    auto schemas = ingest::ReadSchemaFiles(options.soe_avro);
    if (!schemas.ok()) return WithContext(schemas.status(), "--soe-avro");
    decode.writer_schemas = *std::move(schemas);
  } else if (options.is_avro) {
    decode.format = "avro";
    decode.through_json = true;
    RETURN_NOT_OK(SetAvro(options.avro, decode));
  } else if (IsRegistry(options.json)) {
    // Its id says the schema, of which a document of JSON needs nothing to be read.
    RETURN_NOT_OK(RegistryAt(options.json, "--json").status());
    decode.framing = ingest::Framing::kConfluent;
  } else if (options.decompress_gzip) {
    decode.compression = ingest::Compression::kAuto;
  }
  return Status::OK();
}

/// What --transform says, sorted by how it is done.
struct Transforms {
  std::map<std::string, ingest::RecordPlace> from;  ///< By column, which has it as it is.
  std::vector<ingest::ComputedField> computed;      ///< In the document, before columns are read from it.
};

std::string Trimmed(std::string text) {
  text.erase(0, text.find_first_not_of(' '));
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

/// 'PROPERTY: SOURCE', see kafka-delta-ingest's README. A PROPERTY with dots is in an object.
struct Transform {
  std::vector<std::string> path;
  std::string source;
  std::shared_ptr<arrow::Field> field;  ///< The column that it is, or is in.
};

Result<Transform> ParseTransform(const std::string& flag, const std::string& text, const arrow::Schema& schema) {
  const auto colon = text.find(':');
  if (colon == std::string::npos) return InvalidInput("{} '{}': expected 'PROPERTY: SOURCE'", flag, text);
  Transform transform{.source = Trimmed(text.substr(colon + 1))};
  std::istringstream names(Trimmed(text.substr(0, colon)));
  for (std::string name; std::getline(names, name, '.');) transform.path.push_back(name);
  const std::string column = transform.path.empty() ? "" : transform.path.front();
  transform.field = schema.GetFieldByName(column);
  if (transform.field == nullptr) {
    return InvalidInput("{} '{}': the table has no column '{}'{}", flag, text, column,
                        DidYouMean(column, schema.field_names()));
  }
  return transform;
}

/// What is wrong with an expression is told now, with its place.
Status CheckExpressions(const std::string& flag, const std::vector<ingest::ComputedField>& computed) {
  for (const auto& field : computed) {
    const auto decoder = ingest::MakeDecoder({.computed = {field}});
    if (!decoder.ok()) return WithContext(decoder.status(), "{}", flag);
  }
  return Status::OK();
}

/// What a column can have of the record without its document; nullopt: an expression, a member, or another type.
std::optional<ingest::RecordPlace> PlaceOf(const Transform& transform) {
  using ingest::RecordPart;
  static const std::map<std::string, std::pair<RecordPart, std::set<arrow::Type::type>>> kParts = {
      {"kafka.topic", {RecordPart::kTopic, {arrow::Type::STRING}}},
      {"kafka.partition", {RecordPart::kPartition, {arrow::Type::INT32, arrow::Type::INT64}}},
      {"kafka.offset", {RecordPart::kOffset, {arrow::Type::INT64}}},
      {"kafka.timestamp", {RecordPart::kTimestamp, {arrow::Type::TIMESTAMP}}}};
  const auto part = kParts.find(transform.source);
  const bool is_so =
      part != kParts.end() && transform.path.size() == 1 && part->second.second.contains(transform.field->type()->id());
  return is_so ? std::optional(ingest::RecordPlace{.part = part->second.first}) : std::nullopt;
}

Result<Transforms> ParseTransforms(const std::vector<std::string>& texts, const arrow::Schema& schema) {
  Transforms transforms;
  for (const auto& text : texts) {
    ASSIGN_OR_RETURN(const auto transform, ParseTransform("--transform", text, schema));
    if (const auto place = PlaceOf(transform)) {
      transforms.from[transform.path.front()] = *place;
    } else {
      transforms.computed.push_back({.path = transform.path, .expression = transform.source});
    }
  }
  RETURN_NOT_OK(CheckExpressions("--transform", transforms.computed));
  return transforms;
}

bool CanBeRead(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::LIST:
      return CanBeRead(*type.field(0)->type());
    case arrow::Type::STRUCT:
      return std::all_of(type.fields().begin(), type.fields().end(),
                         [](const auto& member) { return CanBeRead(*member->type()); });
    case arrow::Type::MAP: {
      const auto& map = static_cast<const arrow::MapType&>(type);
      return map.key_type()->id() == arrow::Type::STRING && CanBeRead(*map.item_type());
    }
    case arrow::Type::STRING:
    case arrow::Type::BOOL:
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DATE32:
    case arrow::Type::TIMESTAMP:
      return true;
    default:
      return false;
  }
}

/// As there: a text that says a number is that number, whatever is no text is its JSON in a column of texts, and a
/// number counts microseconds in one of timestamps.
ingest::ValueForm FormOf(const arrow::DataType& type) {
  if (type.id() == arrow::Type::LIST) return FormOf(*type.field(0)->type());
  if (type.id() == arrow::Type::MAP) return FormOf(*static_cast<const arrow::MapType&>(type).item_type());
  ingest::ValueForm form(ingest::TimestampForm::kRfc3339OrMicros);
  form.coerce =
      type.id() == arrow::Type::STRING || arrow::is_numeric(type.id()) || type.id() == arrow::Type::DECIMAL128;
  for (const auto& member : type.fields()) form.members.push_back(FormOf(*member->type()));
  return form;
}

/// kafka-delta-ingest has no schema of its own: the table's decides what is read from a message.
Result<ingest::ColumnSpec> ColumnFor(const arrow::Field& field) {
  if (CanBeRead(*field.type())) {
    return ingest::ColumnSpec{
        .name = field.name(), .type = field.type(), .form = FormOf(*field.type()), .path = {field.name()}};
  }
  return NotYet(fmt::format("column '{}' of type {}", field.name(), field.type()->ToString()));
}

/// A letter is a document of its own, and has what the record is called by there: see pipeline/letter_rows.h.
Result<ingest::ComputedField> LetterFieldOf(const std::string& text, const arrow::Schema& schema) {
  ASSIGN_OR_RETURN(auto transform, ParseTransform("--dlq_transform", text, schema));
  if (model::DeadLetterSchema()->GetFieldByName(transform.path.front()) != nullptr) {
    return InvalidInput("--dlq_transform '{}': the column '{}' is filled already", text, transform.path.front());
  }
  constexpr std::string_view kOfRecord = "kafka.";
  if (transform.source == ingest::kTimestampType) {
    return InvalidInput("--dlq_transform '{}': a letter does not know {}", text, transform.source);
  }
  if (transform.source.starts_with(kOfRecord)) transform.source.erase(0, kOfRecord.size());
  return ingest::ComputedField{.path = std::move(transform.path), .expression = std::move(transform.source)};
}

/// What the table of dead letters has beside our columns. It is as it was made, as there.
Result<config::LetterColumns> LetterColumnsOf(const IngestFlags& options) {
  config::LetterColumns others;
  const std::string& location = options.dlq_table_location;
  if (location.empty()) {
    if (options.dlq_transforms.empty()) return others;
    return InvalidInput("--dlq_transform: there is no --dlq_table_location, whose table has the columns that it fills");
  }
  ASSIGN_OR_RETURN(const auto store, objectstore::OpenStore(location, objectstore::IfMissing::kCreateAtFirstWrite));
  const auto table = delta::Table::Open(store);
  if (!table.ok() && KindOf(table.status()) == ErrorKind::kNotFound) {
    if (options.dlq_transforms.empty()) return others;
    return InvalidInput(
        "--dlq_transform: there is no table at {}: make one first with the columns that the transforms fill ('millrace "
        "lake create'); the others are added",
        location);
  }
  if (!table.ok()) return WithContext(table.status(), "--dlq_table_location {}", location);
  const auto& schema = *(*table)->snapshot()->schema;
  for (const auto& text : options.dlq_transforms) {
    ASSIGN_OR_RETURN(others.computed.emplace_back(), LetterFieldOf(text, schema));
  }
  RETURN_NOT_OK(CheckExpressions("--dlq_transform", others.computed));
  others.partition_by = (*table)->snapshot()->metadata.partition_columns;
  const auto is_needed = [&](const std::string& name) {
    return std::find(others.partition_by.begin(), others.partition_by.end(), name) != others.partition_by.end() ||
           std::any_of(others.computed.begin(), others.computed.end(),
                       [&](const auto& field) { return field.path.front() == name; });
  };
  for (const auto& field : schema.fields()) {
    if (model::DeadLetterSchema()->GetFieldByName(field->name()) != nullptr) continue;
    if (!field->nullable()) {
      return InvalidInput(
          "--dlq_table_location {}: the column '{}' must not be null, and a letter may have nothing for it", location,
          field->name());
    }
    auto column = ColumnFor(*field);
    if (column.ok()) {
      others.columns.push_back(*std::move(column));
    } else if (is_needed(field->name())) {
      return WithContext(column.status(), "--dlq_table_location {}", location);
    }
  }
  return others;
}

Result<std::string> ReadEnvironmentFile(const char* variable) {
  const char* const value = std::getenv(variable);
  if (value == nullptr) return "";
  const std::string text = value;
  if (text.starts_with("-----BEGIN")) return text;
  std::ifstream file(text);
  if (!file) return InvalidInput("{}={}: neither PEM nor a file that can be read", variable, text);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

Status AddSecurity(std::map<std::string, std::string>& properties) {
  const std::pair<const char*, const char*> files[] = {{"KAFKA_DELTA_INGEST_CERT", "ssl.certificate.pem"},
                                                       {"KAFKA_DELTA_INGEST_KEY", "ssl.key.pem"},
                                                       {"KAFKA_DELTA_INGEST_CA", "ssl.ca.pem"}};
  for (const auto& [variable, property] : files) {
    ASSIGN_OR_RETURN(auto pem, ReadEnvironmentFile(variable));
    if (pem.empty()) continue;
    properties[property] = std::move(pem);
    properties.try_emplace("security.protocol", "ssl");
  }
  if (const char* const scram = std::getenv("KAFKA_DELTA_INGEST_SCRAM_JSON"); scram != nullptr) {
    boost::system::error_code ec;
    const auto parsed = json::parse(scram, ec);
    if (ec || !parsed.is_object() || !parsed.as_object().contains("username") ||
        !parsed.as_object().contains("password")) {
      return InvalidInput("KAFKA_DELTA_INGEST_SCRAM_JSON: expected {{\"username\": …, \"password\": …}}");
    }
    properties["security.protocol"] = "sasl_ssl";
    properties.try_emplace("sasl.mechanism", "SCRAM-SHA-512");
    properties["sasl.username"] = json::value_to<std::string>(parsed.at("username"));
    properties["sasl.password"] = json::value_to<std::string>(parsed.at("password"));
  }
  return Status::OK();
}

Result<config::StartPosition> StartPositionOf(const IngestFlags& options, const delta::Table& table) {
  if (options.seek_offsets.empty()) {
    if (options.auto_offset_reset == "latest") return config::StartLatest{};
    return config::StartEarliest{};
  }
  boost::system::error_code ec;
  const auto parsed = json::parse(options.seek_offsets, ec);
  if (ec || !parsed.is_object()) return InvalidInput("--seek_offsets: expected JSON such as {{\"0\":123}}");
  config::StartOffsets start;
  ASSIGN_OR_RETURN(const auto progress,
                   pipeline::Progress::Of(table, options.app_id, {options.topic}, config::TxnIdForm::kShort));
  for (const auto& [key, value] : parsed.as_object()) {
    std::int32_t partition = 0;
    const auto end = key.data() + key.size();
    const auto parsed_key = std::from_chars(key.data(), end, partition);
    if (parsed_key.ec != std::errc() || parsed_key.ptr != end || !value.is_int64()) {
      return InvalidInput("--seek_offsets: expected JSON such as {{\"0\":123}}");
    }
    if (value.as_int64() < 0) {
      return InvalidInput("--seek_offsets: partition {}: {} is not an offset", partition, value.as_int64());
    }
    // As there: the offset given counts as processed.
    const model::Offset next = value.as_int64() + 1;
    const auto stored = progress.NextOffset(*table.snapshot(), {options.topic, partition});
    if (stored && *stored < next) {
      return InvalidInput(
          "--seek_offsets: partition {} is stored at offset {}, which is before {} (InconsistentStoredOffsets)",
          partition, *stored - 1, next - 1);
    }
    start.next[{options.topic, partition}] = next;
  }
  return start;
}

Result<config::PipelineConfig> BuildConfig(const IngestFlags& options) {
  std::string location = options.table_location;
  while (location.size() > 1 && location.ends_with('/')) location.pop_back();
  const auto slash = location.find_last_of('/');
  const std::string name = slash == std::string::npos ? location : location.substr(slash + 1);
  const std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : location.substr(0, slash);
  if (parent.ends_with(":/")) {
    return InvalidInput("the table cannot be at the root of a bucket: '{}'; move it below a prefix", location);
  }

  ASSIGN_OR_RETURN(const auto store, objectstore::OpenStore(location, objectstore::IfMissing::kRefuse));
  const auto table = delta::Table::Open(store);
  if (!table.ok()) return WithContext(table.status(), "{}", location);
  const auto snapshot = (*table)->snapshot();

  config::PipelineConfig config;
  config.name = name;
  config.app_id = options.app_id;
  config.txn_ids = config::TxnIdForm::kShort;
  config.inputs[0].topics = {options.topic};
  RETURN_NOT_OK(SetFormat(options, config.inputs[0].decode));
  ASSIGN_OR_RETURN(config.source.start, StartPositionOf(options, **table));
  config.source.start_key = "--seek_offsets (the next to read)";
  config::KafkaSource kafka;
  for (const auto& setting : options.kafka_settings) {
    const auto equals = setting.find('=');
    if (equals == std::string::npos) return InvalidInput("--kafka_setting '{}': expected key=value", setting);
    kafka.properties[setting.substr(0, equals)] = setting.substr(equals + 1);
  }
  RETURN_NOT_OK(AddSecurity(kafka.properties));
  kafka.properties["bootstrap.servers"] = options.kafka;
  kafka.properties["group.id"] = options.consumer_group;
  config.source.log = std::move(kafka);

  ASSIGN_OR_RETURN(auto transforms, ParseTransforms(options.transforms, *snapshot->schema));
  config.inputs[0].decode.computed = std::move(transforms.computed);
  for (const auto& field : snapshot->schema->fields()) {
    ASSIGN_OR_RETURN(auto column, ColumnFor(*field));
    if (const auto from = transforms.from.find(field->name()); from != transforms.from.end()) {
      column.path.clear();
      column.from = from->second;
    }
    config.inputs[0].decode.columns.push_back(std::move(column));
  }
  config::TableConfig table_config;
  table_config.name = name;
  table_config.metadata = false;
  table_config.partition_by = snapshot->metadata.partition_columns;
  table_config.commit.interval = std::chrono::seconds(options.allowed_latency);
  table_config.commit.bytes = options.min_bytes_per_file;
  table_config.planned_schema = snapshot->schema;
  config.tables.push_back(std::move(table_config));
  config.lake.uri = parent;
  if (!options.dlq_table_location.empty()) config.dead_letters_uri = options.dlq_table_location;
  ASSIGN_OR_RETURN(config.letter_columns, LetterColumnsOf(options));
  return config;
}

/// What is wrong with the command line, or only with the world around it.
int CodeOf(const Status& status) {
  const auto kind = KindOf(status);
  return kind == ErrorKind::kUnsupported || kind == ErrorKind::kInvalidInput ? kBadConfiguration : kFailed;
}

struct Ended {
  int code = kOk;
  bool has_new_schema = false;  // The table: what is not committed is read again, into the columns that it has now.
};

Ended RunOnce(const IngestFlags& options) {
  auto config = BuildConfig(options);
  if (!config.ok()) return {Complain(config.status(), CodeOf(config.status()))};
  auto plan = pipeline::MakePlan(*std::move(config));
  if (!plan.ok()) return {Complain(plan.status(), CodeOf(plan.status()))};
  const auto service = Service::Start(*std::move(plan), {.until_end = options.ends_at_latest_offsets});
  if (!service.ok()) return {Complain(service.status(), CodeOf(service.status()))};
  const Status done = (*service)->Run();
  if (done.ok()) return {};
  if (KindOf(done) != ErrorKind::kConflict || (*service)->interrupted()) return {Complain(done)};
  EndAtSignals(options.ends_at_latest_offsets);
  spdlog::info("{}: reading them, and the messages, again", done.message());
  return {.code = kFailed, .has_new_schema = true};
}

int RunIngest(const IngestFlags& options) {
  // Somebody who adds columns one by one is within this; what goes on for ever is not.
  constexpr std::size_t kNewSchemasMax = 10;
  constexpr std::chrono::minutes kNewSchemasWithin(10);
  InitLogging("info", LogFormat::kText);
  EndAtSignals(options.ends_at_latest_offsets);
  std::deque<std::chrono::steady_clock::time_point> changes;  // The last of them.
  for (;;) {
    const Ended ended = RunOnce(options);
    if (!ended.has_new_schema) return ended.code;
    changes.push_back(std::chrono::steady_clock::now());
    if (changes.size() <= kNewSchemasMax) continue;
    if (changes.back() - changes.front() < kNewSchemasWithin) {
      return Complain(
          Conflict("{}: the table's columns have changed {} times within {} minutes; what is not committed "
                   "is read again by the next start",
                   options.table_location, changes.size(), kNewSchemasWithin.count()));
    }
    changes.pop_front();
  }
}

}  // namespace

Run AddIngest(CLI::App& app) {
  auto options = std::make_shared<IngestFlags>();
  app.add_option("topic", options->topic, "Kafka topic")->required()->envname("KAFKA_TOPIC");
  app.add_option("table_location", options->table_location, "The Delta table, which must exist")
      ->required()
      ->envname("TABLE_LOCATION");
  app.add_option("-k,--kafka", options->kafka, "Bootstrap servers")->envname("KAFKA_BROKERS")->capture_default_str();
  app.add_option("-g,--consumer_group", options->consumer_group, "Kafka's group.id")
      ->envname("KAFKA_CONSUMER_GROUP")
      ->capture_default_str();
  app.add_option("-a,--app_id", options->app_id, "Prefix of the table's transaction ids")
      ->envname("APP_ID")
      ->capture_default_str();
  app.add_option("--seek_offsets", options->seek_offsets, "JSON, partition to last offset: {\"0\":123}")
      ->envname("KAFKA_SEEK_OFFSETS");
  app.add_option("-o,--auto_offset_reset", options->auto_offset_reset,
                 "Where to begin a partition that the table does not know")
      ->envname("KAFKA_AUTO_OFFSET_RESET")
      ->check(CLI::IsMember({"earliest", "latest"}))
      ->capture_default_str();
  app.add_option("-l,--allowed_latency", options->allowed_latency, "Seconds between commits")
      ->envname("ALLOWED_LATENCY")
      ->check(WholeNumber(1))
      ->capture_default_str();
  app.add_option("-m,--max_messages_per_batch", options->max_messages_per_batch,
                 "Accepted; row groups are sized by themselves here")
      ->envname("MAX_MESSAGES_PER_BATCH");
  app.add_option("-b,--min_bytes_per_file", options->min_bytes_per_file, "Of rows in memory that start a commit sooner")
      ->envname("MIN_BYTES_PER_FILE")
      ->check(WholeNumber(1))
      ->capture_default_str();
  app.add_option("-t,--transform", options->transforms,
                 "'PROPERTY: SOURCE'; the source is JMESPath, or kafka.topic, .partition, .offset, .timestamp or "
                 ".timestamp_type")
      ->envname("TRANSFORMS")
      ->allow_extra_args(false);
  app.add_option("--dlq_table_location", options->dlq_table_location,
                 "The table of dead letters, ours or kafka-delta-ingest's; made if it is not there")
      ->envname("DLQ_TABLE_LOCATION");
  app.add_flag("-c,--checkpoints", options->checkpoints, "Accepted; checkpoints are always written here")
      ->envname("WRITE_CHECKPOINTS");
  app.add_option("-K,--kafka_setting", options->kafka_settings, "librdkafka property, key=value")
      ->allow_extra_args(false)
      ->check(CheckKeyValue);
  app.add_option("-s,--statsd_endpoint", options->statsd_endpoint,
                 "Accepted; figures are at /metrics of 'millrace run'")
      ->envname("STATSD_ENDPOINT");
  auto* const json = app.add_option("--json", options->json,
                                    "JSON behind a schema registry's id, if it is the registry's URL; else plain JSON")
                         ->envname("JSON_REGISTRY");
  auto* const avro =
      app.add_option("--avro", options->avro,
                     "Avro: the URL of the schema registry by whose ids messages are read, or container "
                     "files, read as the schema of this file; with an empty value as they say themselves")
          ->envname("AVRO_REGISTRY")
          ->excludes(json);
  app.add_option("--soe-avro", options->soe_avro,
                 "Avro's single-object encoding, with the schema of this file, or those of this folder")
      ->excludes(json)
      ->excludes(avro);
  app.add_option("--dlq_transform", options->dlq_transforms,
                 "'PROPERTY: SOURCE' of a dead letter, for a column that its table has beside ours")
      ->envname("DLQ_TRANSFORMS")
      ->allow_extra_args(false);
  app.add_flag("-e,--ends_at_latest_offsets", options->ends_at_latest_offsets,
               "Stop, all committed, at the end offsets seen at the start")
      ->envname("ENDS_AT_LATEST_OFFSETS");
  app.add_flag("--decompress_gzip", options->decompress_gzip, "Plain JSON is unpacked where it is gzip (or zstd)")
      ->envname("DECOMPRESS_GZIP");
  return [options, avro] {
    options->is_avro = avro->count() > 0;
    return RunIngest(*options);
  };
}

}  // namespace millrace::app
