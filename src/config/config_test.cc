// The configuration: what good files mean, what each mistake is answered with and where, and that the reference, the
// examples and the editors' schema say the same as the loader. SQL findings are in sql_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>

#include "base/quantity_text.h"
#include "config/config_internal.h"
#include "config/load.h"
#include "ingest/formats.h"
#include "testing/status_matchers.h"

namespace millrace::config {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::StartsWith;

constexpr const char* kSmall = R"(version: 1
pipeline: clicks
source:
  embedded: {path: ./log}
  topics: [clicks]
decode:
  columns:
    ts: timestamp
    country: string
tables:
  - name: clicks
)";

std::vector<std::string> Messages(const LoadedConfig& loaded) {
  std::vector<std::string> messages;
  for (const auto& finding : loaded.findings) messages.push_back(ToString(finding));
  return messages;
}

std::vector<std::string> FindingsOf(const std::string& text, const LoadOptions& options = {}) {
  return Messages(LoadConfigText(text, "p.yaml", options));
}

/// kSmall with one piece replaced.
std::string With(const std::string& piece, const std::string& replacement) {
  std::string text = kSmall;
  const auto at = text.find(piece);
  EXPECT_NE(at, std::string::npos) << piece;
  return text.replace(at, piece.size(), replacement);
}

/// "json, ..."
std::string FormatNames() {
  std::string names;
  for (const auto& format : ingest::Formats()) names.append(names.empty() ? "" : ", ").append(format.name);
  return names;
}

/// A file of a schema while it lives.
class SchemaFile {
 public:
  explicit SchemaFile(const std::string& text)
      : path_(std::filesystem::temp_directory_path() / fmt::format("millrace_config_test_{}.avsc", getpid())) {
    std::ofstream(path_) << text;
  }
  ~SchemaFile() { std::filesystem::remove(path_); }
  SchemaFile(const SchemaFile&) = delete;
  SchemaFile& operator=(const SchemaFile&) = delete;
  std::string path() const { return path_.string(); }

 private:
  const std::filesystem::path path_;
};

/// Sets an environment variable while it lives.
class Variable {
 public:
  Variable(std::string name, const char* value) : name_(std::move(name)) { setenv(name_.c_str(), value, 1); }
  ~Variable() { unsetenv(name_.c_str()); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const std::string name_;
};

TEST(ConfigLoad, ASmallFileGetsTheDefaults) {
  const auto loaded = LoadConfigText(kSmall, "p.yaml");
  ASSERT_THAT(Messages(loaded), IsEmpty());
  const auto& config = loaded.config;
  EXPECT_EQ(config.name, "clicks");
  EXPECT_EQ(config.app_id, "clicks");
  EXPECT_EQ(std::get<EmbeddedSource>(config.source.log).path, "./log");
  EXPECT_EQ(std::get<EmbeddedSource>(config.source.log).partitions, 4);
  EXPECT_EQ(std::get<EmbeddedSource>(config.source.log).retention, std::chrono::hours(168));
  EXPECT_TRUE(std::holds_alternative<StartEarliest>(config.source.start));
  EXPECT_EQ(config.tables[0].from, "input");
  EXPECT_EQ(config.tables[0].commit.interval, std::chrono::seconds(10));
  EXPECT_EQ(config.tables[0].commit.bytes, 256 << 20);
  EXPECT_TRUE(config.tables[0].metadata);
  EXPECT_EQ(config.lake.uri, "./lake");
  EXPECT_EQ(config.limits.memory, 1 << 30);
  EXPECT_EQ(config.limits.disk, std::int64_t{16} << 30);
  EXPECT_FALSE(config.inputs[0].event_time.has_value());
  EXPECT_FALSE(config.inputs[0].dedupe.has_value());
  EXPECT_FALSE(config.serve.has_value());
  EXPECT_EQ(config.shutdown_timeout, std::chrono::seconds(25));
}

TEST(ConfigLoad, EveryKeyArrives) {
  const auto loaded = LoadConfigText(R"yaml(version: 1
pipeline: web-clicks
app_id: lake
source:
  kafka: {bootstrap.servers: "a:1,b:2", fetch.min.bytes: 100, enable.ssl.certificate.verification: false}
  topics: [clicks, views]
  start: {timestamp: 2026-11-01T02:00:00.5+02:00}
  on_gap: record
decode:
  format: json
  columns:
    ts: timestamp_ms
    tags: list<timestamp_s>
    amount: {type: "decimal(12, 2)", path: [pay.load, amount], round: half_even, coerce: true}
    city: {type: string, path: geo.city}
    id: uuid
    body: json
    blob: binary
    day: {type: timestamp, format: "%d/%b/%Y"}
    items: {type: list<struct>, fields: {sku: string, n: {type: int64, round: down}, at: timestamp_ms}, coerce: true}
    attrs: map<string, list<int64>>
    place: "struct<lat: double, tags map<string, uuid>>"
  unknown_fields: reject
  on_error: fail
event_time: {column: ts, watermark_delay: 1m, idle_timeout: 2m, max_future: 0}
dedupe: {by: [city, amount], within: 2h, path: /var/lib/millrace}
tables:
  - name: raw
    from: input
    partition_by: ["date(ts)", city]
    commit: {interval: 500ms, bytes: 1kB}
    properties: {delta.logRetentionDuration: interval 30 days, x: 7}
    metadata: false
  - {name: "in_{city}", route: city, max: 7}
lake:
  uri: "s3://bucket/lake"
  s3: {endpoint: "https://store:9000", region: eu-west-1, path_style: false, ca_file: /dev/null}
limits: {memory: 512MiB, threads: 3, disk: 2GiB}
serve: {listen: "[::1]:0", workers: ["http://w:1", "https://[::1]:2"], internal_token: inner, auth: {bearer: secret}, limits: {query_timeout: 1500ms, rows: 10, concurrent_queries: 3, connections: 20000}}
shutdown_timeout: 1m
log: {level: debug, format: json}
)yaml",
                                     "p.yaml");
  ASSERT_THAT(Messages(loaded), IsEmpty());
  const auto& config = loaded.config;
  EXPECT_EQ(config.app_id, "lake");
  EXPECT_EQ(config.lake.uri, "s3://bucket/lake");
  EXPECT_EQ(config.lake.s3_endpoint, "https://store:9000");
  EXPECT_EQ(config.lake.s3_region, "eu-west-1");
  EXPECT_EQ(config.lake.s3_path_style, false);
  EXPECT_EQ(config.lake.s3_ca_file, "/dev/null");
  EXPECT_THAT(std::get<KafkaSource>(config.source.log).properties,
              ElementsAre(Pair("bootstrap.servers", "a:1,b:2"), Pair("enable.ssl.certificate.verification", "false"),
                          Pair("fetch.min.bytes", "100"), Pair("group.id", "web-clicks")));
  EXPECT_EQ(std::get<StartTimestamp>(config.source.start).time, 1793491200500000);
  EXPECT_EQ(config.source.on_retention_gap, OnRetentionGap::kRecord);
  EXPECT_EQ(config.inputs[0].decode.unknown_fields, ingest::UnknownFields::kReject);
  EXPECT_EQ(config.inputs[0].on_decode_error, OnDecodeError::kFail);
  const auto& columns = config.inputs[0].decode.columns;
  EXPECT_EQ(columns[0].form.timestamp, ingest::TimestampForm::kMillis);
  EXPECT_EQ(columns[1].type->ToString(), "list<element: timestamp[us, tz=UTC]>");
  EXPECT_EQ(columns[1].form.timestamp, ingest::TimestampForm::kSeconds);
  EXPECT_EQ(columns[2].type->ToString(), "decimal128(12, 2)");
  EXPECT_THAT(columns[2].path, ElementsAre("pay.load", "amount"));
  EXPECT_THAT(columns[3].path, ElementsAre("geo", "city"));
  EXPECT_EQ(columns[2].form.rounding, ingest::Rounding::kHalfEven);
  EXPECT_TRUE(columns[2].form.coerce);
  EXPECT_FALSE(columns[3].form.coerce);
  EXPECT_EQ(columns[4].form.text, ingest::TextForm::kUuid);
  EXPECT_EQ(columns[5].form.text, ingest::TextForm::kJson);
  EXPECT_EQ(columns[6].type->ToString(), "binary");
  EXPECT_EQ(columns[7].form.timestamp, ingest::TimestampForm::kFormat);
  EXPECT_EQ(ingest::TextOf(*columns[7].form.time_format), "%d/%b/%Y");
  EXPECT_EQ(columns[8].type->ToString(), "list<element: struct<sku: string, n: int64, at: timestamp[us, tz=UTC]>>");
  ASSERT_EQ(columns[8].form.members.size(), 3u);
  EXPECT_TRUE(columns[8].form.members[0].coerce);
  EXPECT_EQ(columns[8].form.members[1].rounding, ingest::Rounding::kDown);
  EXPECT_EQ(columns[8].form.members[2].timestamp, ingest::TimestampForm::kMillis);
  EXPECT_EQ(columns[9].type->ToString(), "map<string, list<element: int64>>");
  EXPECT_EQ(columns[10].type->ToString(), "struct<lat: double, tags: map<string, string>>");
  EXPECT_EQ(columns[10].form.members[1].text, ingest::TextForm::kUuid);
  EXPECT_EQ(config.inputs[0].event_time->max_future.count(), 0);
  EXPECT_THAT(config.inputs[0].dedupe->by, ElementsAre("city", "amount"));
  EXPECT_EQ(config.inputs[0].dedupe->within, std::chrono::hours(2));
  EXPECT_EQ(config.inputs[0].dedupe->path, "/var/lib/millrace");
  EXPECT_EQ(config.tables[0].commit.interval, std::chrono::milliseconds(500));
  EXPECT_EQ(config.tables[0].commit.bytes, 1000);
  EXPECT_EQ(config.tables[0].properties.at("x"), "7");
  EXPECT_FALSE(config.tables[0].metadata);
  EXPECT_EQ(config.tables[1].route, "city");
  EXPECT_EQ(config.tables[1].route_max, 7);
  EXPECT_EQ(config.limits.threads, 3);
  EXPECT_EQ(config.limits.disk, std::int64_t{2} << 30);
  EXPECT_EQ(config.serve->listen.address, "::1");
  EXPECT_EQ(config.serve->listen.port, 0);
  ASSERT_EQ(config.serve->auth->tokens.size(), 1u);
  EXPECT_EQ(config.serve->auth->tokens[0].token, "secret");
  EXPECT_THAT(config.serve->auth->tokens[0].scopes, ElementsAre("read", "sql"));
  EXPECT_THAT(config.serve->workers, ElementsAre("http://w:1", "https://[::1]:2"));
  EXPECT_EQ(config.serve->internal_token, "inner");
  EXPECT_EQ(config.serve->query_timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(config.serve->answer_rows_max, 10);
  EXPECT_EQ(config.serve->concurrent_queries, 3);
  EXPECT_EQ(config.serve->connections, 20000);
  EXPECT_EQ(config.log.format, "json");
}

TEST(ConfigLoad, ColumnsOfASchemaAreThoseOfItsFieldsWhereverItsFileIsRead) {
  const auto load = [](const std::string& file, const std::string& message, LoadOptions options) {
    return LoadConfigText(fmt::format(R"(version: 1
pipeline: fleet
source: {{embedded: {{path: ./log}}, topics: [readings]}}
decode: {{format: protobuf, framing: confluent, schema: {{file: "{}", message: {}}}}}
event_time: {{column: at}}
tables: [{{name: readings}}]
)",
                                      file, message),
                          "p.yaml", options);
  };
  const std::string file = std::string(MILLRACE_SOURCE_DIR) + "/examples/fleet.proto";
  for (const bool files : {true, false}) {
    const auto loaded = load(file, "fleet.v1.Reading", {.files = files});
    EXPECT_THAT(Messages(loaded), IsEmpty());
    ASSERT_EQ(loaded.config.inputs[0].decode.columns.size(), 11u);
    EXPECT_EQ(loaded.config.inputs[0].decode.columns[2].name, "at");
    EXPECT_EQ(loaded.config.inputs[0].decode.framing, ingest::Framing::kConfluent);
    EXPECT_THAT(Messages(load(file, "fleet.v1.Raeding", {.files = files})),
                ElementsAre(HasSubstr("there is no message 'fleet.v1.Raeding'; did you mean 'fleet.v1.Reading'?")));
  }
  EXPECT_THAT(Messages(load("no.desc", "M", {})), ElementsAre(HasSubstr("decode.schema.file: 'no.desc': cannot read")));
  EXPECT_THAT(Messages(load("no.desc", "M", {.files = false})), IsEmpty());
}

TEST(ConfigLoad, TheFormatsAreThoseThatThereAreDecodersOf) {
  const SchemaFile schema(R"({"type":"record","name":"C","fields":[
      {"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"country","type":"string"}]})");
  for (const auto& format : ingest::Formats()) {
    const std::string file = format.schema == ingest::SchemaUse::kMessage
                                 ? std::string(MILLRACE_SOURCE_DIR) + "/examples/fleet.proto, message: fleet.v1.Reading"
                                 : schema.path();
    std::string decode = fmt::format("decode:\n  format: {}\n", format.name);
    if (format.schema != ingest::SchemaUse::kNone) decode += fmt::format("  schema: {{file: {}}}\n", file);
    const auto loaded = LoadConfigText(With("decode:\n", decode), "p.yaml");
    for (const auto& message : Messages(loaded)) EXPECT_THAT(message, Not(HasSubstr("decode.format"))) << format.name;
    EXPECT_EQ(loaded.config.inputs[0].decode.format, format.name);
  }
}

TEST(ConfigLoad, ColumnsMayBeThoseOfASchema) {
  const SchemaFile schema(R"({"type":"record","name":"C","fields":[
      {"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"country","type":["null","string"]},
      {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}}]})");
  const std::string decode =
      fmt::format("decode:\n  format: avro\n  schema: {{file: {}}}\n  framing: confluent\n", schema.path());
  const std::string columns = "decode:\n  columns:\n    ts: timestamp\n    country: string\n";
  const std::string more = "event_time: {column: ts}\ndedupe: {by: country}\n";
  const auto loaded = LoadConfigText(With(columns, decode + more), "p.yaml");
  ASSERT_THAT(Messages(loaded), IsEmpty());
  EXPECT_EQ(loaded.config.inputs[0].decode.framing, ingest::Framing::kConfluent);
  EXPECT_EQ(*loaded.config.inputs[0].decode.schema->bytes, *loaded.flow.inputs[0].decode.schema->bytes);
  const auto& events = *loaded.flow.relations[0].schema;
  EXPECT_EQ(events.field(0)->ToString(), "ts: timestamp[us, tz=UTC]");
  EXPECT_EQ(events.field(1)->ToString(), "country: string");
  EXPECT_EQ(events.field(2)->ToString(), "amount: decimal128(12, 2)");
  // Some of them, with other names.
  const auto chosen = LoadConfigText(
      With(columns, decode + "  columns: {at: {type: timestamp, path: ts}, amount: double2}\n"), "p.yaml");
  EXPECT_THAT(Messages(chosen), ElementsAre(HasSubstr("decode.columns.amount: unknown type 'double2'")));
  const auto renamed = LoadConfigText(
      With(columns, decode + "  columns: {at: {type: timestamp, path: ts}, amount: 'decimal(20,4)'}\n"), "p.yaml");
  ASSERT_THAT(Messages(renamed), IsEmpty());
  EXPECT_EQ(renamed.flow.relations[0].schema->field(1)->name(), "amount");
}

TEST(ConfigFindings, OfSchemas) {
  const SchemaFile schema(R"({"type":"record","name":"C","fields":[
      {"name":"ts","type":"string"},{"name":"TS","type":"string"},{"name":"_offset","type":"long"}]})");
  const std::string columns = "decode:\n  columns:\n    ts: timestamp\n    country: string\n";
  const auto findings = [&](const std::string& lines, const LoadOptions& options = {}) {
    return FindingsOf(With(columns, "decode:\n  format: avro\n" + lines), options);
  };
  const std::string here = fmt::format("  schema: {{file: {}}}\n", schema.path());
  EXPECT_THAT(findings(""), ElementsAre(HasSubstr("decode: the key 'schema' is missing")));
  EXPECT_THAT(findings("  schema: {}\n"), ElementsAre(HasSubstr("decode.schema: the key 'file' is missing")));
  EXPECT_THAT(findings("  schema: [a]\n"), ElementsAre(HasSubstr("decode.schema must be a mapping")));
  EXPECT_THAT(findings("  schema: registry\n"),
              ElementsAre(HasSubstr("decode.schema: there is no registry; give source.schema_registry: {url: ...}")));
  EXPECT_THAT(findings("  schema: {file: /nowhere/a.avsc}\n"),
              ElementsAre("p.yaml:8:18: decode.schema.file: '/nowhere/a.avsc': cannot read the file: No such file or "
                          "directory"));
  EXPECT_THAT(findings("  schema: {file: /tmp}\n"), ElementsAre(HasSubstr("'/tmp': this is a folder, not a file")));
  EXPECT_THAT(findings(fmt::format("  schema: {{file: {}, message: m}}\n", schema.path())),
              ElementsAre(HasSubstr("decode.schema.message: avro has none; a file is one schema")));
  EXPECT_THAT(findings(here + "  framing: raw\n  columns: {a: {type: string, path: ts}}\n"),
              ElementsAre(HasSubstr("decode.framing must be one of none, confluent, single_object, not 'raw'")));
  EXPECT_THAT(findings(here), ElementsAre(HasSubstr("decode.schema: 'ts' and 'TS' differ only in case; SQL could not "
                                                    "tell them apart; name the columns yourself, in decode.columns"),
                                          HasSubstr("decode.schema: the name '_offset' is reserved")));
  EXPECT_THAT(findings(here + "  columns: {a: {type: string, path: tss}}\n"),
              ElementsAre(HasSubstr("decode.columns: column 'a': the schema has no field 'tss'; did you mean 'ts'?")));
  // Where files are not looked for, what depends on them is not judged.
  EXPECT_THAT(findings("  schema: {file: /nowhere/a.avsc}\n", {.files = false}), IsEmpty());
  EXPECT_THAT(findings("  schema: {file: /nowhere/a.avsc}\n  columns: {a: string}\n", {.files = false}), IsEmpty());
}

TEST(ConfigLoad, LinesOfCsvAsTheUserWritesThem) {
  const auto csv = [](const std::string& text) {
    const auto loaded = LoadConfigText(With("decode:\n", "decode:\n  format: csv\n  csv: {" + text + "}\n"), "p.yaml");
    EXPECT_THAT(Messages(loaded), IsEmpty()) << text;
    return loaded.config.inputs[0].decode.csv;
  };
  auto read = csv(R"(delimiter: "\t", quote: "", header: [country, ts, more], "null": "-", missing_fields: "null")");
  EXPECT_EQ(read.delimiter, '\t');
  EXPECT_EQ(read.quote, std::nullopt);
  EXPECT_THAT(read.header, ElementsAre("country", "ts", "more"));
  EXPECT_EQ(read.null_text, "-");
  EXPECT_TRUE(read.missing_is_null);
  read = csv(R"(quote: "'", "null": "")");
  EXPECT_EQ(read.quote, '\'');
  EXPECT_EQ(read.escape, '\'') << "as the quote";
  EXPECT_EQ(read.null_text, "");
  EXPECT_EQ(csv(R"(escape: "\\")").escape, '\\');
}

TEST(ConfigLoad, OffsetsToStartFrom) {
  const auto loaded =
      LoadConfigText(With("topics: [clicks]", "topics: clicks\n  start: {offsets: {0: 123, 2: 0}}"), "p.yaml");
  ASSERT_THAT(Messages(loaded), IsEmpty());
  using Source = model::TopicPartition;
  EXPECT_THAT(std::get<StartOffsets>(loaded.config.source.start).next,
              ElementsAre(Pair(Source{"clicks", 0}, 123), Pair(Source{"clicks", 2}, 0)));
  const auto by_topic = LoadConfigText(
      With("topics: [clicks]", "topics: [a, '^b.+']\n  start: {offsets: {b2: {1: 5}, a: {0: 7, 1: 8}}}"), "p.yaml");
  ASSERT_THAT(Messages(by_topic), IsEmpty());
  EXPECT_THAT(std::get<StartOffsets>(by_topic.config.source.start).next,
              ElementsAre(Pair(Source{"a", 0}, 7), Pair(Source{"a", 1}, 8), Pair(Source{"b2", 1}, 5)));
}

// One mistake each: the piece of kSmall, what stands there instead, and what the only finding says.
TEST(ConfigFindings, EachMistakeIsNamedWithItsPlace) {
  struct Case {
    const char* piece;
    const char* replacement;
    std::string want;
  };
  const Case cases[] = {
      // The document.
      {"version: 1", "version: 2", "p.yaml:1:10: version '2' is not known"},
      {"version: 1\n", "", "p.yaml:1:1: the key 'version' is missing"},
      {"pipeline: clicks\n", "", "p.yaml:1:1: the key 'pipeline' is missing"},
      {"pipeline: clicks", "pipeline: 9lives", "p.yaml:2:11: pipeline '9lives' must begin with a letter"},
      {"pipeline: clicks", "pipeline:", "p.yaml:2:1: pipeline has no value"},
      {"pipeline: clicks", "pipeline: ''", "p.yaml:2:11: pipeline is empty"},
      {"pipeline: clicks", "pipeline: [a]", "p.yaml:2:11: pipeline must be a single value, not a list"},
      {"pipeline: clicks", "pipeline: clicks\napp_id: a b", "p.yaml:3:9: app_id must not hold white space"},
      {"version: 1", "version: 1\nversion: 1", "p.yaml:2:1: key 'version' is here twice"},
      {"version: 1", "version: 1\nsorce: 1", "p.yaml:2:1: unknown key 'sorce'; did you mean 'source'?"},
      {"version: 1", "version: 1\nmaintenance: {vacuum: {retention: 1m}}",
       "maintenance.vacuum.retention must be at least"},
      {"version: 1", "version: 1\nmaintenance: {compaction: {min_files: 1}}", "maintenance.compaction.min_files"},
      {"version: 1", "version: 1\nmaintenance: {compact: {}}", "unknown key 'compact' in maintenance"},
      {"version: 1", "version: 1\n? [a]\n: b", "p.yaml:2:3: a key must be a plain word"},
      {"version: 1", "version: 1\nshutdown_timeout: 5", "shutdown_timeout: '5' is not a duration"},
      {"version: 1", "version: 1\nshutdown_timeout: 0", "shutdown_timeout must be at least 1ms, not 0"},
      {"version: 1", "version: 1\nlog: {level: warning}",
       "log.level must be one of trace, debug, info, warn, error, off, "
       "not 'warning'"},
      {"version: 1", "version: 1\nlimits: {memory: 1Gb}", "limits.memory: '1Gb' is not a size"},
      {"version: 1", "version: 1\nlimits: {memory: 1MiB}", "limits.memory must be at least 64MiB, not 1MiB"},
      {"version: 1", "version: 1\nlimits: {disk: 1MiB}", "limits.disk must be at least 64MiB, not 1MiB"},
      {"version: 1", "version: 1\nlimits: {threads: many}", "limits.threads must be a whole number from 0 to 1024"},
      {"version: 1", "version: 1\nlimits: {threads: -1}", "limits.threads must be a whole number from 0 to 1024"},
      {"version: 1", "version: 1\nlimits: [1]", "p.yaml:2:9: limits must be a mapping"},
      // The source.
      {"  embedded: {path: ./log}\n", "", "p.yaml:4:3: source: one of the keys 'kafka' and 'embedded' is missing"},
      {"  embedded:", "  kafka: {bootstrap.servers: a}\n  embedded:", "choose one of 'kafka' and 'embedded', not both"},
      {"embedded: {path: ./log}", "kafka: {client.id: a}",
       "p.yaml:4:10: source.kafka: the key 'bootstrap.servers' is missing"},
      {"embedded: {path: ./log}", "kafka: {bootstrap.servers: a, enable.auto.commit: true}",
       "p.yaml:4:33: source.kafka: 'enable.auto.commit' cannot be set: offsets are kept in the tables"},
      {"embedded: {path: ./log}", "kafka: {bootstrap.servers: a, sasl: {user: b}}",
       "source.kafka: 'sasl' must be a single value, not a mapping"},
      {"embedded: {path: ./log}", "kafka: a:9092", "p.yaml:4:10: source.kafka must be a mapping"},
      {"embedded: {path: ./log}", "kafka: {bootstrap.servers: a, bootstrap.serverz: b}",
       "p.yaml:4:33: source.kafka: 'bootstrap.serverz' is not a property of librdkafka; did you mean "
       "'bootstrap.servers'?"},
      {"embedded: {path: ./log}", "kafka: {bootstrap.servers: a, session.timeout.ms: abc}",
       "p.yaml:4:33: source.kafka: Invalid value for configuration property \"session.timeout.ms\": 'abc'"},
      {"embedded: {path: ./log}", "kafka: {bootstrap.servers: a, fetch.max.bytes: -1}", "is outside allowed range"},
      {"embedded: {path: ./log}",
       "kafka: {bootstrap.servers: a, security.protocol: sasl_ssl, sasl.username: u, sasl.password: p}",
       "p.yaml:4:33: source.kafka: security.protocol is sasl_ssl, and sasl.mechanism is not set: set it to PLAIN,"},
      {"embedded: {path: ./log}",
       "kafka: {bootstrap.servers: a, security.protocol: ssl, ssl.ca.location: /nowhere/ca.pem}",
       "p.yaml:4:57: source.kafka: ssl.ca.location: cannot read '/nowhere/ca.pem': No such file or directory"},
      {"embedded: {path: ./log}", "kafka: {bootstrap.servers: a, max.poll.interval.ms: 1000}",
       "p.yaml:4:33: source.kafka: Kafka client: `max.poll.interval.ms`must be >= `session.timeout.ms`"},
      {"{path: ./log}", "{}", "source.embedded: the key 'path' is missing"},
      {"{path: ./log}", "{path: ./log, partitions: 0}",
       "p.yaml:4:39: source.embedded.partitions must be a whole number"},
      {"{path: ./log}", "{path: ./log, retention: 1w}", "source.embedded.retention: '1w' is not a duration"},
      {"{path: ./log}", "{path: ./log, partition: 1}",
       "unknown key 'partition' in source.embedded; did you mean 'partitions'?"},
      {"  topics: [clicks]\n", "", "p.yaml:4:3: source: the key 'topics' is missing"},
      {"topics: [clicks]", "topics: []", "source.topics names no topic"},
      {"topics: [clicks]", "topics: [a, b, a]", "p.yaml:5:18: source.topics: 'a' is here twice"},
      {"topics: [clicks]", "topics: [a.*]", "p.yaml:5:12: source.topics: 'a.*' is not the name of a topic"},
      {"topics: [clicks]", "topics: [a, '^b(']", "p.yaml:5:15: source.topics: '^b(' is not a regular expression"},
      {"topics: [clicks]", "topics: ['^b\\d']",
       "'^b\\d' has '\\d', which POSIX's regular expressions do not know; "
       "write [0-9]"},
      {"topics: [clicks]", "topics: [{a: b}]", "source.topics must be a single value, not a mapping"},
      {"topics: [clicks]", "topics: [clicks]\n  start: begin",
       "source.start must be one of earliest, latest, not 'begin'"},
      {"topics: [clicks]", "topics: [clicks]\n  start: {timestamp: 2026-11-01}",
       "'2026-11-01' is not an RFC 3339 time"},
      {"topics: [clicks]", "topics: [clicks]\n  start: {timestamp: 2026-11-01T00:00:00Z, offsets: {0: 1}}",
       "source.start must be earliest, latest, {timestamp: ...} or {offsets: {...}}"},
      {"topics: [clicks]", "topics: [clicks]\n  start: {}", "source.start must be earliest, latest,"},
      {"topics: [clicks]", "topics: [clicks]\n  start: {offsets: {0: -1}}",
       "p.yaml:6:21: source.start.offsets: '0: -1' is not a partition and the offset to begin with, both from 0"},
      {"topics: [clicks]", "topics: [clicks]\n  start: {offsets: {a: 1}}", "'a: 1' is not a partition and the offset"},
      {"topics: [clicks]", "topics: [clicks]\n  start: {offsets: {0: 1.5}}", "'0: 1.5' is not a partition"},
      {"topics: [clicks]", "topics: [clicks]\n  start: {offsets: {4: 1}}",
       "p.yaml:6:21: source.start.offsets: there is no partition 4; source.embedded.partitions is 4"},
      {"topics: [clicks]", "topics: [clicks]\n  start: {offsets: {1: 1, 01: 2}}",
       "p.yaml:6:27: source.start.offsets: partition 1 is here twice"},
      {"topics: [clicks]", "topics: [clicks]\n  start: {offsets: {}}", "source.start.offsets names no partition"},
      {"topics: [clicks]", "topics: [a, b]\n  start: {offsets: {0: 1}}",
       "p.yaml:6:20: source.start.offsets names partitions of one topic, and source.topics has several; write them by "
       "topic: {a: {0: 123}}"},
      {"topics: [clicks]", "topics: ['^a']\n  start: {offsets: {0: 1}}", "write them by topic: {TOPIC: {0: 123}}"},
      {"topics: [clicks]", "topics: [a, views]\n  start: {offsets: {a: {0: 1}, view: {0: 1}}}",
       "p.yaml:6:32: source.start.offsets: the pipeline reads no topic 'view'; did you mean 'views'?"},
      {"topics: [clicks]", "topics: [a, b]\n  start: {offsets: {a: {x: 1}}}",
       "p.yaml:6:25: source.start.offsets.a: 'x: 1' is not a partition and the offset to begin with"},
      {"topics: [clicks]", "topics: [clicks]\n  on_gap: skip", "source.on_gap must be one of stop, record, not 'skip'"},
      // Decoding.
      {"decode:\n", "decode:\n  csv: {delimiter: ';'}\n",
       "p.yaml:7:8: decode.csv is for format: csv, and the format is json"},
      {"decode:\n", "decode:\n  format: csv\n  csv: {delimiter: ';;'}\n",
       "p.yaml:8:20: decode.csv.delimiter must be one ASCII character, not ';;'"},
      {"decode:\n", "decode:\n  format: csv\n  csv: {delimiter: ''}\n", "decode.csv.delimiter is empty"},
      {"decode:\n", "decode:\n  format: csv\n  csv: {quote: ','}\n",
       "p.yaml:8:8: decode.csv.delimiter and csv.quote are both ','"},
      {"decode:\n", "decode:\n  format: csv\n  csv: {header: [ts, ts]}\n", "decode.csv.header: 'ts' is there twice"},
      {"decode:\n", "decode:\n  format: csv\n  csv: {header: [ts, cuntry]}\n",
       "decode.columns: column 'country': csv.header has no field 'country' (it has ts, cuntry); did you mean "
       "'cuntry'?"},
      {"decode:\n", "decode:\n  format: csv\n  csv: {missing_fields: skip}\n",
       "decode.csv.missing_fields must be one of reject, null, not 'skip'"},
      {"country: string", "country: {type: string, from: keys}",
       "decode.columns.country.from must be one of key, header.NAME, topic, partition, offset, timestamp, not 'keys'"},
      {"country: string", "country: {type: string, from: key, path: a}",
       "decode.columns.country: a path is of the payload; one of 'from' and 'path' must go"},
      {"country: string", "country: {type: int32, from: topic}",
       "decode.columns: column 'country': topic is a string, not int32"},
      {"decode:\n", "decode:\n  format: csv\n  schema: {file: a.avsc}\n", "p.yaml:8:11: decode.schema: csv has none"},
      {"decode:\n", "decode:\n  format: csv\n  schema: registry\n", "p.yaml:8:11: decode.schema: csv has none"},
      {"decode:\n", "decode:\n  schema: {file: a.json}\n",
       "p.yaml:7:11: decode.schema: of json it says what the columns are, and decode.columns says that already; one of "
       "the two must go"},
      {"decode:\n", "decode:\n  format: avro\n  schema: a.avsc\n",
       "p.yaml:8:11: decode.schema must be registry, or a mapping as {file: reading.avsc}, not 'a.avsc'"},
      {"decode:\n", "decode:\n  framing: single_object\n",
       "decode.framing must be one of none, confluent, not 'single_object'"},
      {"decode:\n", "decode:\n  records: container\n",
       "decode.records must be one of one, array, lines, not 'container'"},
      {"decode:\n", "decode:\n  format: csv\n  records: array\n",
       "decode.records must be one of one, lines, not 'array'"},
      {"    country: string\n", "    _Index: int32\n  records: lines\n",
       "the name '_Index' is that of the column of documents, which decode.records asks for"},
      {"decode:\n", "decode:\n  compression: gzip\n", "decode.compression must be one of none, auto, not 'gzip'"},
      {"decode:\n", "decode:\n  framing: kafka\n", "decode.framing must be one of none, confluent, not 'kafka'"},
      {"decode:\n", "decode:\n  format: xml\n", "decode.format must be one of " + FormatNames() + ", not 'xml'"},
      {"decode:\n", "decode:\n  unknown_fields: keep\n",
       "decode.unknown_fields must be one of ignore, reject, rescue, add, not 'keep'"},
      {"  columns:\n", "  unknown_fields: rescue\n  columns:\n    _Rescued: string\n",
       "decode.columns: the name '_Rescued' is that of the column of unknown fields"},
      {"decode:\n", "decode:\n  on_error: skip\n", "decode.on_error must be one of dead_letter, fail, not 'skip'"},
      {"country: string", "country: {type: string, coerce: maybe}", "decode.columns.country.coerce must be"},
      {"country: string", "country: {type: int64, round: up}",
       "decode.columns.country.round must be one of half_up, half_even, down, not 'up'"},
      {"country: string", "country: {type: double, round: down}",
       "decode.columns.country.round is for int32, int64 and decimal"},
      {"country: string", "country: {type: string, format: '%F'}",
       "decode.columns.country.format is for the type timestamp"},
      {"country: string", "country: {type: timestamp_ms, format: '%F'}",
       "decode.columns.country.format is for the type timestamp"},
      {"country: string", "country: {type: timestamp, format: '%F %Q'}",
       "decode.columns.country.format: '%F %Q': there is no directive '%Q' (at character 4)"},
      {"country: string", "country: strng",
       "p.yaml:9:14: decode.columns.country: unknown type 'strng'; did you mean "
       "'string'?"},
      {"country: string", "country: decimal(39,2)", "'decimal(39,2)': a decimal is decimal(precision, scale)"},
      {"country: string", "country: decimal(4,5)", "'decimal(4,5)': a decimal is decimal(precision, scale)"},
      {"country: string", "country: list<strng>", "unknown type 'strng'; did you mean 'string'?"},
      {"country: string", "country: list<string", "'list<string' ends in the middle of a type"},
      {"country: string", "country: list<string>>", "'list<string>>': '>' does not belong there"},
      {"country: string", "country: 'map<int64, string>'", "the keys of a map are strings: map<string, T>"},
      {"country: string", "country: struct", "a struct is struct<name: type, ...>, or has 'fields'"},
      {"country: string", "country: 'struct<>'", "'struct<>': '>' does not belong there"},
      {"country: string", "country: 'struct<a: int64, A: string>'", "the members 'a' and 'A' differ only in case"},
      {"country: string", "country: {type: string, fields: {a: int64}}",
       "decode.columns.country: 'string': 'fields' are those of a type with 'struct' in it"},
      {"country: string", "country: {type: struct, fields: {a: {type: strng}}}",
       "decode.columns.country.fields.a: unknown type 'strng'"},
      {"country: string", "country: {type: struct, fields: {a: {type: string, pth: x}}}",
       "unknown key 'pth' in decode.columns.country.fields.a"},
      {"country: string", "country: {type: struct, fields: [a]}",
       "decode.columns.country.fields must be a mapping of names to types"},
      {"country: string", "country: {type: struct, fields: {'a b': int64}}", "a struct's member cannot be 'a b'"},
      {"country: string", "country: {path: a}", "decode.columns.country: the key 'type' is missing"},
      {"country: string", "country: {type: string, path: a..b}",
       "decode.columns.country.path: 'a..b' has an empty part"},
      {"country: string", "country: {type: string, pth: a}",
       "unknown key 'pth' in decode.columns.country; did you mean "
       "'path'?"},
      {"country: string", "country: {type: string, path: ts.zone}",
       "p.yaml:9:5: decode.columns.country: the path ts.zone goes through the field ts of another column; one of 'ts' "
       "and 'country' must go"},
      {"country: string", "a: {type: string, path: x.y}\n    x: string",
       "p.yaml:10:5: decode.columns.x: the path x.y goes through the field x of another column; one of 'a' and 'x'"},
      {"country: string", "country: [string]", "must be a type or {type: ..., path: ...}, not a list"},
      {"country: string", "TS: string", "'ts' and 'TS' differ only in case"},
      {"country: string", "_offset: int64", "the name '_offset' is reserved"},
      {"country: string", "a b: string", "'a b' holds a character that Delta tables do not allow"},
      {"    ts: timestamp\n    country: string\n", "    {}\n", "decode.columns names no column"},
      // Event time.
      {"tables:", "event_time: {column: country}\ntables:", "event_time.column: 'country' is not a timestamp"},
      {"tables:", "event_time: {column: tss}\ntables:",
       "there is no column 'tss' in decode.columns; did you mean 'ts'?"},
      {"tables:", "event_time: {}\ntables:", "event_time: the key 'column' is missing"},
      {"tables:", "event_time: {column: ts, idle_timeout: 0}\ntables:", "event_time.idle_timeout must be at least"},
      // Dedupe.
      {"tables:", "event_time: {column: ts}\ndedupe: {by: [contry]}\ntables:",
       "p.yaml:11:15: dedupe.by: there is no column 'contry' in decode.columns; did you mean 'country'?"},
      {"tables:", "event_time: {column: ts}\ndedupe: {by: [country, country]}\ntables:",
       "dedupe.by: 'country' is here twice"},
      {"tables:", "event_time: {column: ts}\ndedupe: {by: _offset}\ntables:",
       "dedupe.by: there is no column '_offset' in decode.columns"},
      {"country: string\ntables:", "tags: list<string>\nevent_time: {column: ts}\ndedupe: {by: tags}\ntables:",
       "dedupe.by: 'tags' is a list, which cannot be a key"},
      {"tables:", "event_time: {column: ts}\ndedupe: {within: 1h}\ntables:", "dedupe: the key 'by' is missing"},
      {"tables:", "event_time: {column: ts}\ndedupe: {by: []}\ntables:", "dedupe.by names no column"},
      {"tables:", "event_time: {column: ts}\ndedupe: {by: country, within: 1ms}\ntables:",
       "dedupe.within must be at least"},
      {"tables:", "lake: {uri: .}\nevent_time: {column: ts}\ndedupe: {by: country, path: .}\ntables:",
       "dedupe.path: the keys below ./clicks and the table 'clicks' at ./clicks are in one folder"},
      {"tables:", "event_time: {column: ts}\ndedupe: {by: country, path: \"\"}\ntables:", "dedupe.path is empty"},
      {"tables:", "dedupe: {by: country}\ntables:", "dedupe: 'within' is of event time, and there is no event_time"},
      // Tables.
      {"tables:\n  - name: clicks\n", "", "nothing to write: give 'tables' or 'aggregates'"},
      {"tables:\n  - name: clicks\n", "tables: []\n", "nothing to write: 'tables' and 'aggregates' are empty"},
      {"tables:\n  - name: clicks\n", "tables: {name: clicks}\n", "tables must be a list"},
      {"tables:\n  - name: clicks\n",
       "aggregates:\n  - {name: a, sql: 'SELECT window_start, count(*) AS n FROM TUMBLE(input, ts, INTERVAL 1 DAY) "
       "GROUP "
       "BY ALL', group_values_max: 0}\n",
       "aggregates.a.group_values_max must be a whole number from 1 to 1000000, not '0'"},
      {"- name: clicks", "- from: input", "tables[0]: the key 'name' is missing"},
      {"- name: clicks", "- name: _delta_log", "a table's name '_delta_log' must begin with a letter"},
      {"- name: clicks", "- name: a\n  - name: A", "p.yaml:12:11: the name 'A' is taken by a table"},
      {"- name: clicks", "- name: PG_class", "p.yaml:11:11: the name 'PG_class' is taken by a view of DuckDB's"},
      {"- name: clicks", "- name: clicks_dead_letters", "is taken by the dead letters of this pipeline"},
      {"- name: clicks", "- name: clicks_replays", "is taken by the replays of this pipeline's dead letters"},
      {"- name: clicks", "- name: clicks\n    from: inptu",
       "p.yaml:12:11: table 'clicks' reads from 'inptu', which is neither 'input' nor a transform; did you mean "
       "'input'?"},
      {"- name: clicks", "- name: clicks\n    partition_by: [contry]",
       "p.yaml:12:20: table 'clicks': partition_by: there is no column 'contry'; did you mean 'country'?"},
      {"- name: clicks", "- name: clicks\n    partition_by: [date(country)]", "date(country) needs a timestamp"},
      // Routes.
      {"- name: clicks", "- name: \"ev_{country}\"\n    route: contry",
       "p.yaml:12:12: tables.ev_{country}: the name has the column 'country', and route is 'contry'"},
      {"- name: clicks", "- name: \"ev_{contry}\"\n    route: contry",
       "p.yaml:12:12: table 'ev_{contry}': route: there is no column 'contry'; did you mean 'country'?"},
      {"- name: clicks", "- name: \"ev_{ts}\"\n    route: ts",
       "table 'ev_{ts}': route: 'ts' is timestamp[us, tz=UTC]; it must be text, whole numbers or booleans"},
      {"- name: clicks", "- name: \"ev_{country}\"",
       "p.yaml:11:11: a table's name 'ev_{country}' has a column in it, and the table has no route; give it 'route: "
       "country'"},
      {"- name: clicks", "- name: clicks\n    route: country",
       "p.yaml:11:11: a table's name 'clicks' must have the column of its route in braces, as in 'events_{country}'"},
      {"- name: clicks", "- name: \"9_{country}\"\n    route: country", "must have the column of its route in braces"},
      {"- name: clicks", "- name: \"ev_{country}\"\n    route: country\n    max: 1001",
       "tables.ev_{country}.max must be a whole number from 1 to 1000, not '1001'"},
      {"- name: clicks", "- name: clicks\n    max: 3", "p.yaml:12:10: tables.clicks: max is of a table with 'route'"},
      {"- name: clicks", "- name: \"ev_{country}\"\n    route: country\n  - name: EV_routes",
       "p.yaml:11:11: the name 'ev_routes' is taken by a table"},
      {"- name: clicks", "- {name: \"ev_{country}\", route: country}\n  - {name: \"ev_{_topic}\", route: _topic}",
       "p.yaml:12:12: the name 'ev_routes' is taken by the index of the tables 'ev_{country}'"},
      {"- name: clicks", "- {name: \"ev_{country}\", route: country}\n  - {name: \"ev_x_{_topic}\", route: _topic}",
       "p.yaml:12:12: 'ev_{country}' and 'ev_x_{_topic}' could give two tables one name"},
      {"country: string\ntables:\n  - name: clicks",
       "ts_date: date\ntables:\n  - name: clicks\n    partition_by: [\"date(ts)\"]",
       "p.yaml:12:20: table 'clicks': partition_by: date(ts) adds the column ts_date, which is there already"},
      {"- name: clicks", "- name: clicks\n    partition_by: [year(ts)]",
       "'year(ts)' is neither a column nor date(column)"},
      {"- name: clicks", "- name: clicks\n    partition_by: [ts, ts]", "'ts' is here twice"},
      {"- name: clicks", "- name: clicks\n    metadata: false\n    partition_by: [ts, country]",
       "partition_by names every column"},
      {"- name: clicks", "- name: clicks\n    metadata: false\n    partition_by: [_topic]",
       "there is no column '_topic'"},
      {"- name: clicks", "- name: clicks\n    metadata: nope",
       "tables.clicks.metadata must be true or false, not 'nope'"},
      {"- name: clicks", "- name: clicks\n    commit: {intervall: 1s}",
       "p.yaml:12:14: unknown key 'intervall' in tables.clicks.commit; did you mean 'interval'?"},
      {"- name: clicks", "- name: clicks\n    commit: {bytes: 0}",
       "tables.clicks.commit.bytes must be at least 1B, not 0"},
      {"- name: clicks", "- name: clicks\n    properties: {delta.setTransactionRetentionDuration: interval 1 day}",
       "'delta.setTransactionRetentionDuration' cannot be set"},
      {"- name: clicks", "- name: clicks\n    properties: {delta.checkpointInterval: 0}",
       "p.yaml:12:18: tables.clicks.properties: the property delta.checkpointInterval = '0' must be a whole number"},
      {"- name: clicks", "- name: clicks\n    properties: {delta.enableDeletionVectors: true}",
       "p.yaml:12:18: tables.clicks.properties: the property delta.enableDeletionVectors = true"},
      {"- name: clicks", "- name: clicks\n    properties: {delta.appendOnly: maybe}",
       "tables.clicks.properties: the property delta.appendOnly"},
      {"- name: clicks", "- name: clicks\n    properties: {delta.dataSkippingStatsColumns: contry}", "contry"},
      {"tables:", "lake: {uri: ./log}\ntables:",
       "p.yaml:4:20: source.embedded.path: the log at ./log and the table 'clicks' at ./log/clicks are in one folder"},
      // The lake and the API.
      {"tables:", "lake: {uri: \"gs://b/p\"}\ntables:", "lake.uri: gs:// is not yet supported in this version"},
      {"tables:", "lake: {uri: \"ftp://b/p\"}\ntables:",
       "lake.uri: 'ftp://b/p' is neither a folder nor file:// nor s3://"},
      {"tables:", "lake: {uri: \"s3:///p\"}\ntables:", "lake.uri: 's3:///p' is not s3://bucket/prefix"},
      {"tables:", "lake: {uri: \"s3://Bucket/p\"}\ntables:", "lake.uri: 's3://Bucket/p' is not s3://bucket/prefix"},
      {"tables:", "lake: {s3: {endpoint: minio}}\ntables:", "lake.s3.endpoint must be http:// or https://"},
      {"tables:", "lake: {s3: {endpoint: \"http://h/path\"}}\ntables:", "lake.s3.endpoint must be http:// or https://"},
      {"tables:", "lake: {s3: {endpont: x}}\ntables:", "unknown key 'endpont' in lake.s3; did you mean 'endpoint'?"},
      {"tables:", "serve: {listen: 8080}\ntables:", "serve.listen must be an address and a port"},
      {"tables:", "serve: {listen: \"::1:80\"}\ntables:", "serve.listen must be an address and a port"},
      {"tables:", "serve: {listen: \"a:70000\"}\ntables:", "serve.listen must be an address and a port"},
      {"tables:", "serve: {listen: \"localhost:80\"}\ntables:", "'localhost' is not an IP address; write 127.0.0.1"},
      {"tables:", "serve: {limits: {query_timeout: 0s}}\ntables:", "serve.limits.query_timeout must be at least"},
      {"tables:", "serve: {limits: {rows: 0}}\ntables:", "serve.limits.rows must be"},
      {"tables:", "serve: {limits: {concurrent_queries: 0}}\ntables:", "serve.limits.concurrent_queries must be"},
      {"tables:", "serve: {limits: {connections: 15}}\ntables:", "serve.limits.connections must be"},
      {"tables:", "serve: {limits: {concurrent_queries: 2000}}\ntables:", "serve.limits.concurrent_queries must be"},
      {"tables:", "serve: {limits: {row: 5}}\ntables:", "did you mean 'rows'"},
      {"tables:", "serve: {auth: {}}\ntables:", "serve.auth lets nobody in; give it 'bearer', 'tokens' or 'jwt'"},
      {"tables:", "serve: {workers: [worker-1]}\ntables:", "'worker-1' is not the address of a worker, such as"},
      {"tables:", "serve: {workers: [\"http://w:1/path\"]}\ntables:",
       "'http://w:1/path' is not the address of a worker"},
      {"tables:", "serve: {workers: [\"http://\"]}\ntables:", "'http://' is not the address of a worker"},
      {"tables:", "serve: {workers: {port: 80}}\ntables:", "serve.workers: the key 'dns' is missing"},
      {"tables:", "serve: {workers: {dns: \"a b\"}}\ntables:", "serve.workers.dns: 'a b' is not a name such as"},
      {"tables:", "serve: {workers: {dns: w, port: 0}}\ntables:", "serve.workers.port"},
      {"tables:", "serve: {listen: \"0.0.0.0:80\", workers: {dns: w}}\ntables:",
       "serve.workers: without serve.internal_token workers answer each other only"},
      {"tables:", "serve: {listen: \"0.0.0.0:80\", workers: [\"http://w:1\"]}\ntables:",
       "serve.workers: without serve.internal_token workers answer each other only where serve.listen is a loopback"},
      {"tables:", "serve: {auth: {bearer: x}, workers: [\"http://w:1\"]}\ntables:",
       "serve.workers: without serve.internal_token workers answer each other only where"},
      {"tables:", "lake: {uri: \"s3://bucket\", s3: {ca_file: /nowhere/ca.pem}}\ntables:",
       "p.yaml:10:42: lake.s3.ca_file: cannot read '/nowhere/ca.pem': No such file or directory"},
      // A space that YAML wants.
      {"country: string", "country:string", "p.yaml:9:13: not valid YAML; a space is missing after 'country:'"},
      {"    ts: timestamp\n    country: string\n", "    country:string\n",
       "p.yaml:8:5: decode.columns must be a mapping of names to types, not a value; a space is missing after "
       "'country:'"},
      {"  columns:\n    ts: timestamp\n    country: string\n", "  columns: {ts: timestamp, country:string}\n",
       "not nothing; a space is missing after 'country:'"},
      {"pipeline: clicks", "pipeline: clicks\nlimits: {threads:2}",
       "unknown key 'threads:2' in limits; a space is missing after 'threads:'"},
      {"pipeline: clicks", "pipeline:clicks", "p.yaml:2:10: not valid YAML; a space is missing after 'pipeline:'"},
      {"country: string", "country:string # the user's\n\n  # more\n  format: json",
       "p.yaml:9:13: not valid YAML; a space is missing after 'country:'"},
      {"- name: clicks", "- name:clicks",
       "p.yaml:11:5: tables[0] must be a mapping (keys with values), not a value; a space is missing after 'name:'"},
      // Tabs.
      {"    country: string", "\tcountry: string",
       "p.yaml:9:1: not valid YAML: a tab in the indentation, where only spaces are allowed"},
      {"    country: string", "  \tcountry: string", "p.yaml:9:3: not valid YAML: a tab in the indentation"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.replacement);
    EXPECT_THAT(FindingsOf(With(c.piece, c.replacement)), ElementsAre(HasSubstr(c.want)));
  }
}

TEST(ConfigFindings, WhatTheDecoderCannotTakeHasAPlaceToo) {
  std::string path = "a";
  for (int depth = 0; depth < 1100; ++depth) path += ".a";
  EXPECT_THAT(FindingsOf(With("country: string", "country: {type: string, path: " + path + "}")),
              ElementsAre(AllOf(StartsWith("p.yaml:8:5: decode.columns: column 'country'"), HasSubstr("too long"))));
}

TEST(ConfigFindings, AllOfThemInOnePassInTheOrderOfTheFile) {
  EXPECT_THAT(FindingsOf(R"(version: 1
pipeline: clicks
source:
  embedded: {path: "${MILLRACE_TEST_UNSET}"}
  topics: [clicks]
  strat: latest
decode:
  columns: {ts: timestmp}
tables:
  - name: clicks
    from: claen
    commit: {interval: 10}
lake: {uri: "s3:bucket://x"}
)"),
              ElementsAre(StartsWith("p.yaml:4:21: the environment variable MILLRACE_TEST_UNSET is not set"),
                          StartsWith("p.yaml:6:3: unknown key 'strat' in source; did you mean 'start'?"),
                          StartsWith("p.yaml:8:17: decode.columns.ts: unknown type 'timestmp'"),
                          StartsWith("p.yaml:11:11: table 'clicks' reads from 'claen'"),
                          StartsWith("p.yaml:12:24: tables.clicks.commit.interval: '10' is not a duration"),
                          StartsWith("p.yaml:13:13: lake.uri: 's3:bucket://x' is neither a folder nor")));
}

TEST(ConfigFindings, TextThatIsNoConfiguration) {
  EXPECT_THAT(FindingsOf(""), ElementsAre("p.yaml:1:1: the file holds no document"));
  EXPECT_THAT(FindingsOf("# nothing\n"), ElementsAre("p.yaml:1:1: the file holds no document"));
  EXPECT_THAT(FindingsOf("a: 1\n---\nb: 2\n"), ElementsAre(HasSubstr("holds 2 documents; one is expected")));
  EXPECT_THAT(FindingsOf("a: [1\nb: 2\n"), ElementsAre(AllOf(StartsWith("p.yaml:2:"), HasSubstr("not valid YAML"))));
  EXPECT_THAT(FindingsOf("- a\n"),
              ElementsAre(HasSubstr("the document must be a mapping (keys with values), not a list")));
  EXPECT_THAT(FindingsOf("hello\n"), ElementsAre(HasSubstr("the document must be a mapping")));
}

TEST(ConfigFindings, AliasesCannotMakeAnEndlessTree) {
  EXPECT_THAT(FindingsOf("a: &a [*a]\n"), Contains(HasSubstr("nested too deeply, or an alias names itself")));
  std::string bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n";
  for (int i = 1; i < 9; ++i) {
    bomb += fmt::format("a{}: &a{} [", i, i);
    for (int k = 0; k < 10; ++k) bomb += fmt::format("{}*a{}", k == 0 ? "" : ",", i - 1);
    bomb += "]\n";
  }
  EXPECT_THAT(FindingsOf(bomb), Contains(HasSubstr("too many values once its aliases are expanded")));
}

TEST(ConfigFindings, FilesThatCannotBeRead) {
  EXPECT_THAT(Messages(LoadConfigFile("/nonexistent/p.yaml")),
              ElementsAre("/nonexistent/p.yaml: cannot read the file: No such file or directory"));
  EXPECT_THAT(Messages(LoadConfigFile("/tmp")), ElementsAre("/tmp: this is a folder, not a file"));
}

TEST(ConfigVariables, AreReplacedInValues) {
  const Variable name("MILLRACE_TEST_A", "events");
  const Variable empty("MILLRACE_TEST_EMPTY", "");
  const auto path = std::filesystem::temp_directory_path() / fmt::format("millrace_config_test_{}", getpid());
  std::ofstream(path) << "s3cret\n";
  const auto text = With("tables:\n  - name: clicks\n", fmt::format(R"(lake:
  uri: "./${{MILLRACE_TEST_A}}/${{MILLRACE_TEST_EMPTY:-lake}}/${{MILLRACE_TEST_UNSET:-x y}}/$${{HOME}}"
serve: {{listen: "127.0.0.1:${{MILLRACE_TEST_UNSET:-81}}", auth: {{bearer: "${{file:{}}}"}}}}
limits: {{threads: "${{MILLRACE_TEST_UNSET:-2}}"}}
tables:
  - name: ${{MILLRACE_TEST_A:?}}
)",
                                                                    path.string()));
  const auto loaded = LoadConfigText(text, "p.yaml");
  std::filesystem::remove(path);
  ASSERT_THAT(Messages(loaded), IsEmpty());
  EXPECT_EQ(loaded.config.lake.uri, "./events/lake/x y/${HOME}");
  EXPECT_EQ(loaded.config.serve->listen.port, 81);
  EXPECT_EQ(loaded.config.serve->auth->tokens.at(0).token, "s3cret");
  EXPECT_EQ(loaded.config.limits.threads, 2);
  EXPECT_EQ(loaded.config.tables[0].name, "events");
}

TEST(ConfigFindings, EachLineWithoutItsSpaceOrWithATab) {
  EXPECT_THAT(FindingsOf("version: 1\ndecode:\n\tcolumns:\n\t\tts: timestamp\n"),
              Contains(HasSubstr("p.yaml:3:1: not valid YAML: a tab in the indentation")));
  EXPECT_THAT(FindingsOf("version: 1\na:b\nc:d\ne: f\n"),
              ElementsAre(HasSubstr("p.yaml:2:3: not valid YAML; a space is missing after 'a:'"),
                          HasSubstr("p.yaml:3:3: not valid YAML; a space is missing after 'c:'")));
  // These are as they should be: the parser's own words stay.
  EXPECT_THAT(FindingsOf("version: 1\nbrokers:\n  - broker:9092\n  x: y\n"),
              ElementsAre(AllOf(HasSubstr("not valid YAML: "), Not(HasSubstr("space")))));
  EXPECT_THAT(FindingsOf("version: 1\nlake: s3://bucket\n  x: y\n"),
              ElementsAre(AllOf(HasSubstr("not valid YAML: "), Not(HasSubstr("space")))));
}

TEST(ConfigFindings, FilesNeedNotBeThereWhereNobodyReadsThem) {
  const auto text = With("embedded: {path: ./log}",
                         "kafka: {bootstrap.servers: a, security.protocol: ssl, ssl.ca.location: /nowhere/ca.pem}");
  EXPECT_EQ(FindingsOf(text).size(), 1u);
  EXPECT_THAT(FindingsOf(text, {.environment = true, .files = false, .overrides = {}}), IsEmpty());
  EXPECT_THAT(FindingsOf(text, {.environment = false, .overrides = {}}), IsEmpty());
  // With a value that is not known, only what the others are by themselves is said.
  const auto unknown = With("embedded: {path: ./log}",
                            "kafka: {bootstrap.servers: a, security.protocol: sasl_ssl, "
                            "sasl.mechanism: \"${MILLRACE_TEST_UNSET}\", fetch.max.bytes: x}");
  EXPECT_THAT(FindingsOf(unknown, {.environment = false, .overrides = {}}), ElementsAre(HasSubstr("fetch.max.bytes")));
}

TEST(ConfigFindings, PlacesWithinEachOther) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("millrace_places_test_{}", getpid());
  std::filesystem::create_directories(folder / "real");
  std::filesystem::create_directory_symlink(folder / "real", folder / "link");
  PipelineConfig config;
  config.name = "p";
  config.tables = {{.name = "t"}};
  const auto overlaps = [&](const std::string& lake, const std::string& log, std::optional<std::string> letters = {}) {
    config.lake.uri = lake;
    config.source.log = EmbeddedSource{.path = log};
    config.dead_letters_uri = std::move(letters);
    return OverlappingPlaces(config).size();
  };
  const std::string real = (folder / "real").string();
  const std::string link = (folder / "link").string();
  EXPECT_EQ(overlaps(real, real + "/log"), 0u);
  EXPECT_EQ(overlaps(real, real + "/t2"), 0u);
  EXPECT_EQ(overlaps(real, real + "/t"), 1u);
  EXPECT_EQ(overlaps(real, real + "/t/log"), 1u);
  EXPECT_EQ(overlaps(real, real + "/p_dead_letters/"), 1u);
  EXPECT_EQ(overlaps(real, real), 1u);
  EXPECT_EQ(overlaps("file://" + real, link + "/x/../t"), 1u);
  EXPECT_EQ(overlaps("lake", "./lake//t"), 1u);
  EXPECT_EQ(overlaps("s3://bucket/lake", "/bucket/lake/t"), 0u);
  EXPECT_EQ(overlaps(real, "log", real + "/t"), 1u);
  EXPECT_EQ(overlaps(real, "log", link + "/t/letters"), 1u);
  EXPECT_EQ(overlaps(real, "log", real + "/letters"), 0u);
  EXPECT_EQ(overlaps("s3://bucket/lake", "log", "s3a://bucket//lake/t/"), 1u);
  EXPECT_EQ(overlaps("s3://bucket/lake", "log", "s3://other/lake/t/"), 0u);
  std::filesystem::remove_all(folder);
}

TEST(ConfigVariables, CannotInjectStructure) {
  const Variable value("MILLRACE_TEST_A", "x, retention: 1d}\n  topics: [other]\n#");
  const auto loaded = LoadConfigText(With("{path: ./log}", "{path: \"${MILLRACE_TEST_A}\"}"), "p.yaml");
  ASSERT_THAT(Messages(loaded), IsEmpty());
  EXPECT_EQ(std::get<EmbeddedSource>(loaded.config.source.log).path, "x, retention: 1d}\n  topics: [other]\n#");
  EXPECT_THAT(loaded.config.inputs[0].topics, ElementsAre("clicks"));
}

TEST(ConfigVariables, MistakesAreNamedWithTheirPlace) {
  struct Case {
    const char* value;
    const char* want;
  };
  const Case cases[] = {
      {"./${MILLRACE_TEST_UNSET}", "p.yaml:4:23: the environment variable MILLRACE_TEST_UNSET is not set"},
      {"${MILLRACE_TEST_UNSET:?name the log}", "the environment variable MILLRACE_TEST_UNSET is not set: name the log"},
      {"${MILLRACE_TEST_UNSET:?}", "MILLRACE_TEST_UNSET is not set: it is required"},
      {"${file:/nonexistent/token}", "cannot read the file '/nonexistent/token'"},
      {"${file:}", "${file:} names no file"},
      {"${A", "p.yaml:4:21: '${' has no closing '}'"},
      {"${1A}", "'${1A}' is not a variable; write ${NAME}"},
      {"${}", "'${}' is not a variable"},
      {"${A:=b}", "'${A:=b}': after the name of a variable only :- or :? may follow"},
      {"${MILLRACE_TEST_UNSET:-${B}}", "a variable inside another one's default is not supported"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.value);
    EXPECT_THAT(FindingsOf(With("./log", fmt::format("'{}'", c.value))), ElementsAre(HasSubstr(c.want)));
  }
}

TEST(ConfigVariables, NeedNoValueWithoutAnEnvironment) {
  const LoadOptions without{.environment = false, .overrides = {}};
  const auto text = std::string(kSmall) +
                    "limits: {memory: \"${MILLRACE_TEST_UNSET}\"}\n"
                    "serve: {listen: \"${MILLRACE_TEST_UNSET:?no}\", auth: {bearer: \"${file:/nonexistent}\"}}\n";
  EXPECT_THAT(FindingsOf(text, without), IsEmpty());
  EXPECT_EQ(FindingsOf(text).size(), 3u);
  // Nothing is said of the columns of a relation that is not known.
  EXPECT_THAT(FindingsOf(With("- name: clicks",
                              "- name: clicks\n    from: \"${MILLRACE_TEST_UNSET}\"\n    partition_by: [site]"),
                         without),
              IsEmpty());
  // What is wrong whatever the environment holds is still found.
  EXPECT_THAT(FindingsOf(With("./log", "'${1}'"), without), ElementsAre(HasSubstr("is not a variable")));
}

TEST(ConfigOverrides, ReachEveryPart) {
  const auto loaded = LoadConfigText(With("embedded: {path: ./log}", "kafka: {bootstrap.servers: a}"), "p.yaml",
                                     {.environment = true,
                                      .overrides = {{"source.kafka.bootstrap.servers", "b:9092"},
                                                    {"source.topics", "[x, y]"},
                                                    {"tables.clicks.commit.interval", "1s"},
                                                    {"tables.0.properties.delta.appendOnly", "true"},
                                                    {"limits.memory", "128MiB"}}});
  ASSERT_THAT(Messages(loaded), IsEmpty());
  EXPECT_EQ(std::get<KafkaSource>(loaded.config.source.log).properties.at("bootstrap.servers"), "b:9092");
  EXPECT_THAT(loaded.config.inputs[0].topics, ElementsAre("x", "y"));
  EXPECT_EQ(loaded.config.tables[0].commit.interval, std::chrono::seconds(1));
  EXPECT_EQ(loaded.config.tables[0].properties.at("delta.appendOnly"), "true");
  EXPECT_EQ(loaded.config.limits.memory, 128 << 20);
}

TEST(ConfigOverrides, MistakesNameTheOption) {
  struct Case {
    const char* key;
    const char* value;
    const char* want;
  };
  const Case cases[] = {
      {"limits.memroy", "1GiB", "--set limits.memroy: unknown key 'memroy' in limits; did you mean 'memory'?"},
      {"limits.memory", "much", "--set limits.memory: limits.memory: 'much' is not a size"},
      {"limits.memory", "", "--set limits.memory: limits.memory is empty"},
      {"tables.nope.from", "input", "--set tables.nope.from: the list has no element 'nope'"},
      {"pipeline.name", "x", "--set pipeline.name: there is no key 'name' below a plain value"},
      {"limits..memory", "1GiB", "--set limits..memory: not a dotted key"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.key);
    EXPECT_THAT(FindingsOf(kSmall, {.environment = true, .overrides = {{c.key, c.value}}}),
                ElementsAre(StartsWith(c.want)));
  }
  EXPECT_THAT(FindingsOf(kSmall, {.environment = true, .overrides = {{"limits.memory", "[1"}}}),
              ElementsAre(AllOf(StartsWith("--set limits.memory"), HasSubstr("not valid YAML"))));
}

}  // namespace
}  // namespace millrace::config
