// source.schema_registry and schemas from it: what each key may be, and what comes of the registry's answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "config/load.h"
#include "ingest/writer_schemas.h"
#include "testing/stub_http_server.h"

namespace millrace::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::StubHttpServer;
using testing::StubReply;
using testing::StubRequest;

constexpr const char* kAvro =
    R"({"id":7,"version":3,"schema":"{\"type\":\"record\",\"name\":\"C\",\"fields\":[{\"name\":\"n\",\"type\":\"long\"},)"
    R"({\"name\":\"at\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}}]}"})";
constexpr const char* kProtobuf =
    R"({"id":8,"version":1,"schemaType":"PROTOBUF","schema":"syntax = \"proto3\"; message A { string a = 1; } message B { int32 b = 1; }"})";

constexpr const char* kJson =
    R"({"id":9,"version":4,"schemaType":"JSON","schema":"{\"properties\":{\"n\":{\"type\":\"integer\"},\"geo\":{\"type\":\"object\"}}}"})";
constexpr const char* kShapes =
    R"({"id":10,"version":2,"schemaType":"JSON","schema":"{\"oneOf\":[{\"type\":\"object\"},{\"type\":\"object\"}]}"})";

class ConfigRegistry : public ::testing::Test {
 protected:
  // `registry` is the value of source.schema_registry, `decode` that of decode.
  LoadedConfig Load(const std::string& registry, const std::string& decode, const std::string& topics = "[clicks]",
                    LookupAccess access = LookupAccess::kAll) const {
    return LoadConfigText("version: 1\npipeline: p\nsource:\n  embedded: {path: ./log}\n  topics: " + topics + "\n" +
                              (registry.empty() ? "" : "  schema_registry: " + registry + "\n") + "decode: " + decode +
                              "\ntables:\n  - {name: t}\n",
                          "p.yaml", {.lookups = access});
  }
  static std::vector<std::string> Messages(const LoadedConfig& loaded) {
    std::vector<std::string> messages;
    for (const auto& finding : loaded.findings) messages.push_back(ToString(finding));
    return messages;
  }
  std::string here() const { return "{url: \"" + server_.url() + "/\"}"; }

  std::atomic<bool> server_is_down_{false};
  StubHttpServer server_{[this](const StubRequest& request) -> StubReply {
    if (server_is_down_) return {503, ""};
    if (request.target == "/subjects/clicks-value/versions/latest") return {200, kAvro};
    if (request.target == "/subjects/proto/versions/latest") return {200, kProtobuf};
    if (request.target == "/subjects/json/versions/latest") return {200, kJson};
    if (request.target == "/subjects/shapes/versions/latest") return {200, kShapes};
    return {404, R"({"error_code":40401,"message":"Subject not found"})"};
  }};
};

TEST_F(ConfigRegistry, ColumnsComeFromTheLatestVersionOfTheTopicsSubject) {
  const auto loaded = Load(here(), "{format: avro, schema: registry}");
  ASSERT_THAT(Messages(loaded), IsEmpty());
  EXPECT_EQ(loaded.flow.inputs[0].decode.schema->file, "subject clicks-value, version 3");
  EXPECT_EQ(loaded.flow.inputs[0].decode.framing, ingest::Framing::kConfluent);
  EXPECT_NE(loaded.flow.inputs[0].decode.writer_schemas, nullptr);
  const auto& schema = *loaded.flow.relations[0].schema;
  EXPECT_EQ(schema.field(0)->ToString(), "n: int64");
  EXPECT_EQ(schema.field(1)->ToString(), "at: timestamp[us, tz=UTC]");
}

TEST_F(ConfigRegistry, ASubjectAndAMessageMayBeNamed) {
  const auto first = Load(here(), "{format: protobuf, schema: {subject: proto}}", "[\"^c.*\"]");
  ASSERT_THAT(Messages(first), IsEmpty());
  EXPECT_EQ(first.flow.relations[0].schema->field(0)->name(), "a") << "the file's first message";
  const auto second = Load(here(), "{format: protobuf, schema: {subject: proto, message: B}, framing: none}");
  ASSERT_THAT(Messages(second), IsEmpty());
  EXPECT_EQ(second.flow.relations[0].schema->field(0)->name(), "b");
  EXPECT_EQ(second.flow.inputs[0].decode.framing, ingest::Framing::kNone);
  EXPECT_EQ(second.flow.inputs[0].decode.writer_schemas, nullptr) << "there are no ids";
}

TEST_F(ConfigRegistry, AJsonSchemaSaysTheColumns) {
  const auto loaded = Load(here(), "{schema: {subject: json}}");
  ASSERT_THAT(Messages(loaded), IsEmpty());
  const auto& decode = loaded.flow.inputs[0].decode;
  EXPECT_EQ(decode.framing, ingest::Framing::kConfluent);
  EXPECT_EQ(decode.writer_schemas, nullptr) << "no record waits for the schema of its id";
  ASSERT_EQ(decode.columns.size(), 2u);
  EXPECT_EQ(decode.columns[1].form.text, ingest::TextForm::kJson);
  EXPECT_EQ(loaded.flow.relations[0].schema->field(0)->ToString(), "n: int64");
  EXPECT_EQ(Load(here(), "{schema: {subject: json}, framing: none}").flow.inputs[0].decode.framing,
            ingest::Framing::kNone);
}

TEST_F(ConfigRegistry, StandInsTakeItsPlace) {
  const auto load = [](const std::string& decode, std::vector<StandInSchema> schemas) {
    LoadOptions options{.lookups = LookupAccess::kAll};
    options.schemas = std::move(schemas);
    return LoadConfigText(
        "version: 1\npipeline: p\nsource:\n  embedded: {path: ./log}\n  topics: [a]\n  schema_registry: {url: "
        "\"http://nowhere.invalid\"}\ndecode: " +
            decode + "\ntables: [{name: t}]\n",
        "p.yaml", options);
  };
  const auto text = [](const char* field) {
    return std::string(R"({"type":"record","name":"C","fields":[{"name":")") + field + R"(","type":"long"}]})";
  };
  const std::vector<StandInSchema> schemas = {{"a-value", 1, {.text = text("n")}}, {"older", 2, {.text = text("m")}}};
  const auto loaded = load("{format: avro, schema: registry}", schemas);
  ASSERT_THAT(Messages(loaded), IsEmpty());
  EXPECT_EQ(loaded.flow.relations[0].schema->field(0)->name(), "n");
  const auto& by_id = loaded.flow.inputs[0].decode.writer_schemas;
  ASSERT_NE(by_id, nullptr);
  EXPECT_EQ((*by_id->Find(2))->text, text("m"));
  EXPECT_EQ(*by_id->Find(3), nullptr);
  EXPECT_THAT(Messages(load("{format: avro, schema: registry}", {})),
              ElementsAre(HasSubstr("decode.schema: no schema takes the place of the subject a-value; the test file's "
                                    "'schemas' names one: {a-value: FILE}")));
}

TEST_F(ConfigRegistry, WithoutTheNetworkItIsNotAsked) {
  for (const auto access : {LookupAccess::kNone, LookupAccess::kLocal}) {
    const auto of_schema = Load("{url: \"http://nowhere.invalid\"}", "{format: avro, schema: registry}", "[a]", access);
    EXPECT_THAT(Messages(of_schema), IsEmpty());
    EXPECT_THAT(of_schema.flow.relations, IsEmpty()) << "its columns are not known";
    const auto declared = Load("{url: \"http://nowhere.invalid\"}",
                               "{format: avro, schema: registry, columns: {n: int64}}", "[a]", access);
    EXPECT_THAT(Messages(declared), IsEmpty());
    EXPECT_EQ(declared.flow.relations.size(), 1u);
  }
  EXPECT_THAT(server_.requests(), IsEmpty());
}

TEST_F(ConfigRegistry, Findings) {
  struct Case {
    const char* registry;
    const char* decode;
    const char* message;
    const char* topics = "[clicks]";
  };
  const Case cases[] = {
      {"", "{format: avro, schema: registry}",
       "p.yaml:6:32: decode.schema: there is no registry; give source.schema_registry: {url: ...}"},
      {"{}", "{format: avro, schema: registry}", "source.schema_registry: the key 'url' is missing"},
      {"{url: []}", "{format: avro, schema: registry}", "source.schema_registry.url names no URL"},
      {"{url: \"localhost:8081\"}", "{columns: {a: string}}",
       "p.yaml:6:26: source.schema_registry.url must be http:// or https://, a host and perhaps a port and a path, not "
       "'localhost:8081'"},
      {"{url: [\"http://a\", \"http://u:p@b\"]}", "{columns: {a: string}}",
       "source.schema_registry.url has a user in it, and such secrets end in logs"},
      {"{url: \"http://a\", basic_auth: {username: u}}", "{columns: {a: string}}",
       "source.schema_registry.basic_auth: the key 'password' is missing"},
      {"{url: \"http://a\", basic_auth: {username: u, password: p}, bearer: t}", "{columns: {a: string}}",
       "source.schema_registry: give one of 'basic_auth' and 'bearer', not both"},
      {"{url: \"https://a\", ca_file: /nowhere/ca.pem}", "{columns: {a: string}}",
       "source.schema_registry.ca_file: cannot read '/nowhere/ca.pem': No such file or directory"},
      {"{url: \"https://a\", key_file: /dev/null}", "{columns: {a: string}}",
       "source.schema_registry: 'certificate_file' and 'key_file' belong together, and one is missing"},
      {"{url: \"http://a\", ulr: b}", "{columns: {a: string}}", "unknown key 'ulr' in source.schema_registry"},
      {"HERE", "{schema: registry, columns: {a: string}}",
       "decode.schema: of json it says what the columns are, and decode.columns says that already"},
      {"HERE", "{schema: {subject: json, message: M}}", "decode.schema.message: json has none"},
      {"HERE", "{schema: registry}", "decode.schema: the subject clicks-value holds Avro, and the format is json"},
      {"HERE", "{format: avro, schema: {subject: json}}",
       "decode.schema: the subject json holds JSON Schema, and the format is avro"},
      {"HERE", "{schema: {subject: shapes}}",
       "decode.schema: 'subject shapes, version 2': the schema has several shapes"},
      {"HERE", "{format: avro, schema: {subject: x, message: M}}", "decode.schema.message: avro has none"},
      {"HERE", "{format: avro, schema: {subject: clicks-value, file: y}}", "unknown key 'file' in decode.schema"},
      {"HERE", "{format: avro, schema: registry}",
       "decode.schema: the topics are patterns, so the subject must be named: {subject: NAME-value}", "[\"^a.*\"]"},
      {"HERE", "{format: avro, schema: registry}",
       "p.yaml:7:32: decode.schema: the registry URL has no subject orders-value: Subject not found", "[orders]"},
      {"HERE", "{format: protobuf, schema: registry}",
       "decode.schema: the subject clicks-value holds Avro, and the format is protobuf"},
      {"HERE", "{format: protobuf, schema: {subject: proto, message: Aa}}",
       "decode.schema: 'subject proto, version 1': there is no message 'Aa'; there are A, B"},
      {"HERE", "{format: avro, schema: registry, columns: {aat: int64}}",
       "decode.columns: column 'aat': the schema has no field 'aat'; did you mean 'at'?"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.message);
    std::string message = c.message;
    if (const auto at = message.find("URL has no"); at != std::string::npos) message.replace(at, 3, server_.url());
    const bool is_here = std::string_view(c.registry) == "HERE";
    EXPECT_THAT(Messages(Load(is_here ? here() : c.registry, c.decode, c.topics)), ElementsAre(HasSubstr(message)));
  }
}

TEST_F(ConfigRegistry, OneThatDoesNotAnswerMayDoSoLater) {
  server_is_down_ = true;
  const auto loaded = Load(here(), "{format: avro, schema: registry}");
  EXPECT_THAT(Messages(loaded), ElementsAre(HasSubstr("decode.schema: subject clicks-value cannot be had from the "
                                                      "schema registry " +
                                                      server_.url() + ": it answered 503")));
  EXPECT_TRUE(loaded.may_pass);
  const auto also_wrong = Load(here(), "{format: avro, schema: registry, on_error: skip}");
  EXPECT_EQ(also_wrong.findings.size(), 2u);
  EXPECT_FALSE(also_wrong.may_pass);
  server_is_down_ = false;
  EXPECT_FALSE(Load(here(), "{format: avro, schema: registry}").may_pass);
  EXPECT_FALSE(Load(here(), "{format: avro, schema: registry}", "[orders]").may_pass) << "a no is an answer";
}

TEST_F(ConfigRegistry, SecretsAreNotShown) {
  const auto loaded = Load("{url: \"http://127.0.0.1:1\", basic_auth: {username: u, password: hush}}",
                           "{format: avro, schema: registry}", "[a]", LookupAccess::kLocal);
  EXPECT_EQ(loaded.config.source.schema_registry->password, "hush");
  for (const auto& message : Messages(loaded)) EXPECT_THAT(message, ::testing::Not(HasSubstr("hush")));
}

}  // namespace
}  // namespace millrace::config
