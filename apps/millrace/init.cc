// millrace init: a pipeline.yaml from what is in a topic or a file.
#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "commands.h"
#include "config/load.h"
#include "eventlog/embedded/embedded_log.h"
#include "eventlog/kafka/kafka_log.h"
#include "flag_checks.h"
#include "infer/draft.h"
#include "infer/pipeline_text.h"
#include "infer/rehearsal.h"
#include "ingest/formats.h"
#include "registry/registry_schemas.h"
#include "registry_flag.h"
#include "sample_records.h"

namespace millrace::app {
namespace {

constexpr std::int64_t kSampleDefault = 1000;

struct InitFlags {
  std::string from;
  std::int64_t sample = kSampleDefault;
  std::string schema;
  std::string registry;
  std::string subject;
  std::string message;
  std::vector<std::string> kafka_settings;
  std::string output;
};

enum class Kind { kKafka, kEmbedded, kFile, kNothing };

// What --from names.
struct From {
  Kind kind = Kind::kFile;
  std::string place;  // Brokers, a folder, or a file's path.
  std::string topic;  // Of a file what its pipeline calls it.
};

struct Source {
  infer::DraftSource draft;
  infer::Sample sample;
};

// What subjects of values are called behind their topic.
constexpr std::string_view kValueSuffix = "-value";
// A registry that is restarting is waited for; one that is not there is told of.
constexpr std::chrono::seconds kRegistryPatience{5};

// Without --from: of the registry's schema alone, whose subject says the topic.
Result<From> FromSubject(const InitFlags& flags) {
  if (flags.subject.empty()) {
    return InvalidInput("--from names a topic to look at, or --registry and --subject a schema to do without");
  }
  std::string topic = flags.subject;
  if (topic.ends_with(kValueSuffix) && topic.size() > kValueSuffix.size()) {
    topic.resize(topic.size() - kValueSuffix.size());
  }
  return From{.kind = Kind::kNothing, .place = {}, .topic = topic};
}

Result<From> ParseFrom(const InitFlags& flags) {
  const std::string& text = flags.from;
  if (text.empty()) return FromSubject(flags);
  for (const auto& [scheme, kind] : {std::pair{"kafka://", Kind::kKafka}, std::pair{"embedded:", Kind::kEmbedded}}) {
    if (!text.starts_with(scheme)) continue;
    const std::string rest = text.substr(std::strlen(scheme));
    const auto slash = rest.rfind('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == rest.size()) {
      return InvalidInput("--from {}: expected {}{}/TOPIC", text, scheme, kind == Kind::kKafka ? "BROKERS" : "FOLDER");
    }
    return From{kind, rest.substr(0, slash), rest.substr(slash + 1)};
  }
  return From{.place = text,
              .topic = infer::TableName(text == "-" ? "events" : std::filesystem::path(text).stem().string())};
}

Result<Source> SampleOfKafka(const From& from, const InitFlags& flags) {
  std::map<std::string, std::string> properties = {{"bootstrap.servers", from.place}};
  for (const auto& setting : flags.kafka_settings) {
    const auto equals = setting.find('=');
    properties[setting.substr(0, equals)] = setting.substr(equals + 1);
  }
  ASSIGN_OR_RETURN(const auto log, eventlog::MakeKafkaReader(properties));
  Source source;
  source.draft = {
      .topic = from.topic, .kafka = properties, .sampled = fmt::format("the topic {} of {}", from.topic, from.place)};
  ASSIGN_OR_RETURN(source.sample, SampleTopic(*log, from.topic, flags.sample));
  return source;
}

Result<Source> SampleOfEmbeddedLog(const From& from, const InitFlags& flags) {
  ASSIGN_OR_RETURN(const auto log, eventlog::EmbeddedLog::OpenToRead(from.place));
  Source source;
  source.draft = {.topic = from.topic,
                  .embedded_path = from.place,
                  .sampled = fmt::format("the topic {} of the embedded log at {}", from.topic, from.place)};
  ASSIGN_OR_RETURN(source.sample, SampleTopic(*log->NewConsumer(), from.topic, flags.sample));
  return source;
}

Result<Source> SampleOfFile(const From& from, const InitFlags& flags) {
  Source source;
  const bool is_input = from.place == "-";
  source.draft = {.topic = from.topic, .sampled = is_input ? "standard input" : "the file " + from.place};
  ASSIGN_OR_RETURN(source.sample, SampleFile(from.place, flags.sample));
  return source;
}

Result<Source> TakeSample(const From& from, const InitFlags& flags) {
  switch (from.kind) {
    case Kind::kKafka:
      return SampleOfKafka(from, flags);
    case Kind::kEmbedded:
      return SampleOfEmbeddedLog(from, flags);
    case Kind::kNothing: {
      Source source;
      source.draft = {.topic = from.topic, .kafka = {{"bootstrap.servers", ""}}, .sampled = "the topic " + from.topic};
      return source;
    }
    case Kind::kFile:
      break;
  }
  return SampleOfFile(from, flags);
}

// By its name: Avro's are JSON, Protobuf's are .proto texts and descriptor sets.
Status ReadSchema(const InitFlags& flags, infer::DraftOptions& options) {
  if (flags.schema.empty()) {
    if (flags.message.empty() || !flags.registry.empty()) return Status::OK();
    return InvalidInput("--message {}: it is of a schema, which --schema or --registry names", flags.message);
  }
  std::error_code error;
  const auto size = std::filesystem::file_size(flags.schema, error);
  std::ifstream file(flags.schema, std::ios::binary);
  if (error || !file) return NotFound("--schema {}: cannot be read", flags.schema);
  if (size > ingest::kMaxSchemaBytes) {
    return InvalidInput("--schema {}: it has {} bytes, more than {}", flags.schema, size, ingest::kMaxSchemaBytes);
  }
  std::stringstream bytes;
  bytes << file.rdbuf();
  const auto extension = std::filesystem::path(flags.schema).extension();
  options.schema_format = extension == ".avsc" || extension == ".json" ? "avro" : "protobuf";
  const bool needs_message = options.schema_format == "protobuf";
  if (needs_message && flags.message.empty()) {
    return InvalidInput("--schema {}: --message names which message of it the events are", flags.schema);
  }
  if (!needs_message && !flags.message.empty()) {
    return InvalidInput("--message {}: an Avro schema has no messages", flags.message);
  }
  options.schema = ingest::SchemaSpec{
      .file = flags.schema, .message = flags.message, .bytes = std::make_shared<const std::string>(bytes.str())};
  return Status::OK();
}

// The newest of the subject.
Status AskRegistry(const From& from, const InitFlags& flags, infer::DraftOptions& options) {
  if (flags.registry.empty()) return Status::OK();
  ASSIGN_OR_RETURN(auto spec, RegistryAt(flags.registry, "--registry"));
  const bool has_login = !spec.username.empty();
  const std::string url = spec.urls.front();
  const auto schemas = std::make_shared<registry::RegistrySchemas>(std::move(spec));
  const std::string subject = flags.subject.empty() ? from.topic + std::string(kValueSuffix) : flags.subject;
  auto latest = schemas->Latest(subject, kRegistryPatience);
  if (!latest.ok()) {
    const bool is_unknown = KindOf(latest.status()) == ErrorKind::kNotFound;
    return is_unknown ? NotFound("{}; --subject names another one", latest.status().message()) : latest.status();
  }
  switch (latest->schema.language) {
    case ingest::SchemaLanguage::kAvro:
      options.schema_format = "avro";
      break;
    case ingest::SchemaLanguage::kProtobuf:
      options.schema_format = "protobuf";
      break;
    case ingest::SchemaLanguage::kJson:
      options.schema_format = "json";
      break;
  }
  if (options.schema_format != "protobuf" && !flags.message.empty()) {
    return InvalidInput("--message {}: the subject {} holds {}, which has no messages", flags.message, subject,
                        ingest::LanguageName(latest->schema.language));
  }
  options.schema = ingest::SchemaSpec{.file = fmt::format("subject {}, version {}", subject, latest->version),
                                      .message = flags.message,
                                      .bytes = std::make_shared<const std::string>(std::move(latest->schema.text)),
                                      .is_registered = true,
                                      .references = std::move(latest->schema.references)};
  options.source.registry = {.url = url, .subject = subject, .has_login = has_login};
  options.writer_schemas = schemas;
  return Status::OK();
}

// As `validate --no-environment` reads it: what is printed is what that accepts.
Result<config::LoadedConfig> LoadOwn(const std::string& text) {
  auto loaded = config::LoadConfigText(text, "pipeline.yaml", {.environment = false});
  if (loaded.findings.empty()) return loaded;
  return InvalidInput("the file that was guessed is not valid, which is a fault of this program: {}",
                      config::ToString(loaded.findings.front()));
}

Result<std::string> MakePipeline(const From& from, infer::DraftOptions options, const InitFlags& flags) {
  ASSIGN_OR_RETURN(auto source, TakeSample(from, flags));
  source.draft.registry = std::move(options.source.registry);
  options.source = std::move(source.draft);
  auto draft = infer::MakeDraft(source.sample, options);
  if (!draft.ok()) return WithContext(draft.status(), "{}", options.source.sampled);
  ASSIGN_OR_RETURN(const auto loaded, LoadOwn(infer::PipelineText(*draft)));
  if (source.sample.records.empty()) return infer::PipelineText(*draft);
  auto decode = loaded.config.inputs.front().decode;
  decode.schema = draft->schema;  // A registry's is not asked for again.
  if (draft->schema && draft->framing == ingest::Framing::kConfluent) decode.writer_schemas = options.writer_schemas;
  ASSIGN_OR_RETURN(draft->rehearsal, infer::Rehearse(source.sample, decode, draft->event_time));
  const auto text = infer::PipelineText(*draft);
  RETURN_NOT_OK(LoadOwn(text).status());
  return text;
}

Status Write(const std::string& text, const std::string& path) {
  const bool to_file = !path.empty();
  std::FILE* const file = to_file ? std::fopen(path.c_str(), "wx") : stdout;
  if (file == nullptr) {
    return errno == EEXIST ? InvalidInput("--output {}: the file is there already, and is left as it is", path)
                           : Transient("--output {}: cannot be made: {}", path, std::strerror(errno));
  }
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size() && std::fflush(file) == 0;
  const bool closed = !to_file || std::fclose(file) == 0;
  return written && closed ? Status::OK() : Transient("cannot write to {}", to_file ? path : "standard output");
}

}  // namespace

Run AddInit(CLI::App& app) {
  auto options = std::make_shared<InitFlags>();
  app.add_option("--from", options->from,
                 "kafka://BROKERS/TOPIC, embedded:FOLDER/TOPIC, a file with a record a line, or - for standard input");
  app.add_option("--sample", options->sample, "Look at about so many records")
      ->check(WholeNumber(1, infer::kSampleRecordsMax))
      ->capture_default_str();
  auto* const schema = app.add_option("--schema", options->schema,
                                      "The events' schema: .avsc of Avro; .proto or a descriptor set of Protobuf")
                           ->type_name("FILE");
  auto* const registry = app.add_option("--registry", options->registry,
                                        "Of this schema registry the events' schema; SCHEMA_REGISTRY_USERNAME and "
                                        "_PASSWORD are a login to it")
                             ->type_name("URL")
                             ->excludes(schema);
  app.add_option("--subject", options->subject, "Of the registry this subject, instead of TOPIC-value")
      ->needs(registry);
  app.add_option("--message", options->message, "The message of a Protobuf schema that events are");
  app.add_option("-K,--kafka_setting", options->kafka_settings, "librdkafka property, key=value")
      ->allow_extra_args(false)
      ->check(CheckKeyValue);
  app.add_option("-o,--output", options->output, "Write to this file, which must not be there yet")->type_name("FILE");
  return [options] {
    const auto from = ParseFrom(*options);
    if (!from.ok()) return Complain(from.status(), kUsage);
    infer::DraftOptions draft;
    if (const auto status = ReadSchema(*options, draft); !status.ok()) return Complain(status, kUsage);
    if (const auto status = AskRegistry(*from, *options, draft); !status.ok()) {
      return Complain(status, KindOf(status) == ErrorKind::kInvalidInput ? kUsage : kFailed);
    }
    const auto text = MakePipeline(*from, std::move(draft), *options);
    if (!text.ok()) return Complain(text.status());
    const Status written = Write(*text, options->output);
    return written.ok() ? kOk : Complain(written);
  };
}

}  // namespace millrace::app
