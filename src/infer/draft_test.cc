// From a sample to a file: the whole of one, what each kind of stream comes to, and that all of them are valid.
#include "infer/draft.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/load.h"
#include "infer/pipeline_text.h"
#include "infer/rehearsal.h"
#include "testing/status_matchers.h"

namespace millrace::infer {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr UnixMicros kStart = 1'793'000'000'000'000;  // 2026-10-26T07:33:20Z

Sample SampleOf(const std::vector<std::string>& payloads) {
  Sample sample;
  sample.from_log = true;
  for (const auto& payload : payloads) {
    const auto offset = std::ssize(sample.records);
    sample.records.push_back({.payload = payload, .timestamp = kStart + offset * 1'000'000, .offset = offset});
  }
  return sample;
}

DraftOptions Topic(const std::string& topic) {
  return {.source = {.topic = topic, .embedded_path = "log", .sampled = "the topic " + topic}};
}

/// The text of a draft with its rehearsal, which the configuration accepts.
std::string TextOf(const Sample& sample, const DraftOptions& options = Topic("clicks")) {
  auto draft = MakeDraft(sample, options);
  EXPECT_TRUE(draft.ok()) << draft.status().message();
  if (!draft.ok()) return "";
  for (const bool again : {false, true}) {
    const auto text = PipelineText(*draft);
    const auto loaded = config::LoadConfigText(text, "pipeline.yaml", {.environment = false});
    for (const auto& finding : loaded.findings) ADD_FAILURE() << config::ToString(finding) << "\n" << text;
    if (again || !loaded.findings.empty()) return text;
    auto rehearsal = Rehearse(sample, loaded.config.inputs.front().decode, draft->event_time);
    EXPECT_TRUE(rehearsal.ok()) << rehearsal.status().message();
    draft->rehearsal = *std::move(rehearsal);
  }
  return "";
}

std::vector<std::string> Clicks(int count) {
  std::vector<std::string> clicks;
  for (int i = 0; i < count; ++i) {
    clicks.push_back(fmt::format(
        R"({{"event_id": "e{}", "ts": {}, "country": "{}", "user_id": {}, "amount": {}.5, "geo": {{"city": "x"}}, "note": null}})",
        i, kStart / 1000 + i * 1000, i % 3 == 0 ? "DE" : "FR", i % 5, i));
  }
  return clicks;
}

constexpr const char* kClicksFile =
    R"yaml(# Guessed from 21 records of the topic clicks. Read the comments before you rely on it.
# Read as below, 20 become rows and 1 dead letter: bad_json 1.
#
#   millrace validate FILE      says what is wrong with it
#   millrace run -c FILE        runs it
version: 1
pipeline: clicks
source:
  embedded: {path: log}                     # records go after 7 days: {path: …, retention: 30d} keeps them longer
  topics: [clicks]
decode:
  format: json                              # 1 of 21 records are no JSON object
  columns:
    event_id: string
    ts: timestamp_ms                        # numbers that are milliseconds since 1970 from 2000 on
    country: string
    user_id: int64
    amount: decimal(18,2)                   # money by its name: exact, and more than 2 digits after the point are dead letters
    geo_city: {type: string, path: geo.city}
    # note: {path: note}                    # null in all 20 records: its type is not known; _rescued keeps it
  unknown_fields: rescue                    # fields without a column are kept, as they came, in _rescued
event_time: {column: ts}
# dedupe: {by: [event_id], within: 24h}     # event_id is in every record, and never twice: if producers send again, this leaves the repeats out
tables:
  - name: clicks
    partition_by: ["date(ts)"]
aggregates:
  - name: clicks_1m                         # a first one: how many a minute, and what the columns seem to be for
    sql: |
      SELECT window_start, country, count(*) AS events, sum(amount) AS amount_sum, approx_count_distinct(user_id) AS user_id_distinct
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE)
      GROUP BY ALL
lake: {uri: ./lake}
serve: {listen: "127.0.0.1:8080"}
)yaml";

TEST(Draft, OfAStreamOfJson) {
  auto clicks = Clicks(20);
  clicks.emplace_back("not json");
  EXPECT_EQ(TextOf(SampleOf(clicks)), kClicksFile);
}

TEST(Draft, WithoutATimeGoesByTheLogs) {
  const auto text = TextOf(SampleOf({R"({"a": 1})", R"({"a": 2})"}));
  EXPECT_THAT(text, HasSubstr("event_time: {column: _timestamp}"));
  EXPECT_THAT(text, HasSubstr("no field is the time of each event"));
  EXPECT_THAT(text, HasSubstr("\"date(_timestamp)\""));
}

TEST(Draft, PrefersTheTimeOfTheEvent) {
  const auto text =
      TextOf(SampleOf({R"({"updated_at": "2026-10-26T07:00:00Z", "created_at": "2026-10-26T07:00:00Z"})"}));
  EXPECT_THAT(text, HasSubstr("event_time: {column: created_at}"));
  EXPECT_THAT(text, HasSubstr("also times: updated_at"));
}

TEST(Draft, LateEventsMakeTheWatermarkWait) {
  std::vector<std::string> events;
  for (int i = 0; i < 100; ++i) {
    events.push_back(fmt::format(R"({{"ts": {}}})", kStart / 1000 + i * 1000 - (i % 10 == 9 ? 45'000 : 0)));
  }
  EXPECT_THAT(TextOf(SampleOf(events)), HasSubstr("watermark_delay: 1m}"));
}

TEST(Draft, EventsFromTheFutureAreSaid) {
  EXPECT_THAT(TextOf(SampleOf({fmt::format(R"({{"ts": {}}})", kStart / 1000 + 3'600'000), R"({"ts": 1793000000000})"})),
              HasSubstr("1 are more than 5m ahead"));
}

TEST(Draft, OfCsvWithAHeader) {
  const auto text = TextOf(
      SampleOf({"sym;px;at", "A;1.5;2026-10-26T07:00:00Z", "B;-;2026-10-26T07:00:01Z", "C;2;2026-10-26T07:00:02Z"}));
  EXPECT_THAT(text, HasSubstr("delimiter: \";\""));
  EXPECT_THAT(text, HasSubstr("header: [sym, px, at]"));
  EXPECT_THAT(text, HasSubstr("\"null\": \"-\""));
  EXPECT_THAT(text, HasSubstr("px: double"));
  EXPECT_THAT(text, HasSubstr("3 become rows and 1 dead letter: type_mismatch 1"));
}

TEST(Draft, OfCsvWithoutAHeader) {
  const auto text = TextOf(SampleOf({"a\t1\t2026-10-26", "b\t2\t2026-10-27"}));
  EXPECT_THAT(text, HasSubstr("delimiter: \"\\t\""));
  EXPECT_THAT(text, HasSubstr("c3: date"));
  EXPECT_THAT(text, HasSubstr("there is no header line"));
}

TEST(Draft, OfOtherTextIsRaw) {
  EXPECT_THAT(TextOf(SampleOf({"GET /", "POST /login failed"})), HasSubstr("payload: string"));
}

TEST(Draft, OfAvroTakesTheFramingThatFits) {
  const auto schema = std::make_shared<const std::string>(R"({"type": "record", "name": "R", "fields": [
    {"name": "id", "type": "string"}, {"name": "at", "type": "long"},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}}]})");
  auto options = Topic("readings");
  options.schema = ingest::SchemaSpec{.file = "reading.avsc", .bytes = schema};
  options.schema_format = "avro";
  // "ab", 1793000000000 ms, 1.234
  const std::string record =
      "\x04"
      "ab"s +
      "\x80\xA8\x86\xF2\xAE\x68"s + "\x04\x04\xD2"s;
  auto draft = MakeDraft(SampleOf({"\0\0\0\0\x07"s + record, "\0\0\0\0\x07"s + record, "junk"}), options);
  MILLRACE_ASSERT_OK(draft.status());
  EXPECT_EQ(draft->framing, ingest::Framing::kConfluent);
  ASSERT_EQ(draft->columns.size(), 3U);
  EXPECT_EQ(draft->columns[1].type, "timestamp_ms");
  EXPECT_EQ(draft->columns[2].type, "decimal(9,3)");
  EXPECT_THAT(PipelineText(*draft), HasSubstr("schema: {file: reading.avsc}\n  framing: confluent"));

  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, MakeDraft(SampleOf({"junk"}), options));
}

TEST(Draft, OfArraysLinesAndFramesOfJson) {
  const auto arrays = TextOf(SampleOf({R"([{"a":1},{"a":2}])", R"([{"a":3}, "b"])"}));
  EXPECT_THAT(arrays, HasSubstr("format: json                              # 1 of 4 documents are no JSON object"));
  EXPECT_THAT(arrays, HasSubstr("records: array                            # 2 of 2 payloads are a JSON array"));
  EXPECT_THAT(arrays, HasSubstr("Read as below, 3 become rows and 1 dead letter: not_object 1"));
  const auto lines = TextOf(SampleOf({"{\"a\":1}\n{\"a\":2}"}));
  EXPECT_THAT(lines, HasSubstr("records: lines"));
  EXPECT_THAT(lines, HasSubstr("Read as below, all 2 become rows"));
  const auto csv = TextOf(SampleOf({"a;1\nb;2\n", "c;3\nd;4\n"}));
  EXPECT_THAT(csv, HasSubstr("records: lines"));
  EXPECT_THAT(csv, HasSubstr("Read as below, all 4 become rows"));
  const auto framed = TextOf(SampleOf({"\0\0\0\0\7{\"a\":1}"s}));
  EXPECT_THAT(framed,
              HasSubstr("framing: confluent                        # 1 of 1 payloads are a JSON object behind"));
  EXPECT_THAT(framed, HasSubstr("Read as below, all 1 become rows"));
  const auto packed = TextOf(
      SampleOf({"\x1F\x8B\x08\0\0\0\0\0\x02\x03\xAB\x56\x4A\x54\xB2\x52\x30\xAC\x05\0\x97\x8E\xA1\xFB\x08\0\0\0"s}));
  EXPECT_THAT(packed, HasSubstr("compression: auto                         # 1 of 1 payloads are compressed"));
  EXPECT_THAT(packed, HasSubstr("Read as below, all 1 become rows"));
}

// JSON has no largest number, and none of these is a dead letter.
TEST(Draft, OfNumbersBeyondAllTypes) {
  std::vector<std::string> payloads;
  for (int i = 0; i < 300; ++i) {
    const std::string rare = i % 50 == 0 ? "12345678901234567890123" : fmt::format("{}", i);
    payloads.push_back(fmt::format(
        R"({{"id": {}, "wei": {}, "rare": {}, "most": {}, "hash": {}, "x": {}, "in": {{"a": [{}]}}, "items": [{{"wei": {}}}]}})",
        i, "12345678901234567890123", rare, std::string(38, '9'), std::string(77, '9'), i % 2 == 0 ? "1e400" : "1.5",
        "1e400", std::string(39, '9')));
  }
  const auto text = TextOf(SampleOf(payloads));
  EXPECT_THAT(text, HasSubstr("Read as below, all 300 become rows"));
  EXPECT_THAT(text, Not(HasSubstr("no JSON object")));
  EXPECT_THAT(text, HasSubstr("wei: decimal(38,0)"));
  EXPECT_THAT(text, HasSubstr("rare: decimal(38,0)"));
  EXPECT_THAT(text, HasSubstr("most: decimal(38,0)"));
  EXPECT_THAT(text, HasSubstr("hash: json"));
  EXPECT_THAT(text, HasSubstr("x: json"));
  EXPECT_THAT(text, Not(HasSubstr("sum("))) << "which would have more digits than there are";
  const auto lines = TextOf(SampleOf({"1e400;12345678901234567890123", "2.5;1", "3;2"}));
  EXPECT_THAT(lines, HasSubstr("c1: string"));
  EXPECT_THAT(lines, HasSubstr("c2: decimal(38,0)"));
  EXPECT_THAT(lines, HasSubstr("Read as below, all 3 become rows"));
}

DraftOptions Registered(const std::string& format, const std::string& schema) {
  auto options = Topic("orders");
  options.schema = ingest::SchemaSpec{.file = "subject orders-value, version 3",
                                      .bytes = std::make_shared<const std::string>(schema),
                                      .is_registered = true};
  options.schema_format = format;
  options.source.registry = {.url = "http://registry:8081", .subject = "orders-value"};
  return options;
}

std::string TextOfSchema(const DraftOptions& options) {
  const auto draft = MakeDraft({}, options);
  EXPECT_TRUE(draft.ok()) << draft.status().message();
  if (!draft.ok()) return "";
  const auto text = PipelineText(*draft);
  const auto loaded = config::LoadConfigText(text, "pipeline.yaml", {.environment = false});
  for (const auto& finding : loaded.findings) ADD_FAILURE() << config::ToString(finding) << "\n" << text;
  return text;
}

TEST(Draft, OfARegistrysSchemaAlone) {
  auto options = Registered("avro", R"({"type": "record", "name": "R", "fields": [
      {"name": "id", "type": "string"}, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]})");
  const auto text = TextOfSchema(options);
  EXPECT_THAT(text, HasSubstr("# Made of a schema alone, without a record of the topic orders."));
  EXPECT_THAT(text, HasSubstr("  schema_registry:\n    url: \"http://registry:8081\"\n"));
  EXPECT_THAT(text, Not(HasSubstr("basic_auth")));
  EXPECT_THAT(text, HasSubstr("  schema: registry                          # the newest of the subject; now subject "
                              "orders-value, version 3\n  framing: confluent"));
  EXPECT_THAT(text, HasSubstr("event_time: {column: at}"));

  options.source.registry->has_login = true;
  options.source.registry->subject = "other-value";
  options.source.kafka = {{"bootstrap.servers", ""}};
  const auto other = TextOfSchema(options);
  EXPECT_THAT(other, HasSubstr("  schema: {subject: other-value}\n"));
  EXPECT_THAT(other, HasSubstr("basic_auth: {username: \"${SCHEMA_REGISTRY_USERNAME:?"));
  EXPECT_THAT(other, HasSubstr("bootstrap.servers: \"${KAFKA_BOOTSTRAP_SERVERS:?bootstrap.servers of the brokers}\""));
}

TEST(Draft, OfARegistrysProtobufAndJsonSchema) {
  auto protobuf = Registered("protobuf", "syntax = \"proto3\"; message A { string a = 1; } message B { int32 b = 1; }");
  protobuf.schema->message = "B";
  EXPECT_THAT(TextOfSchema(protobuf), HasSubstr("  schema: {subject: orders-value, message: B}\n"));

  const auto json = Registered("json", R"({"properties": {"id": {"type": "string", "format": "uuid"},
      "geo": {"type": "object"}, "at": {"type": "string", "format": "date-time"}}})");
  const auto text = TextOfSchema(json);
  EXPECT_THAT(text, HasSubstr("format: json                              # columns as in the subject orders-value"));
  EXPECT_THAT(text, HasSubstr("    id: uuid\n    geo: json\n    at: timestamp\n"));
  EXPECT_THAT(text, Not(HasSubstr("schema_registry"))) << "nothing is read with it";
  const auto unnamed =
      TextOfSchema(Registered("json", R"({"properties": {"": {"type": "string"}, "id": {"type": "string"}}})"));
  EXPECT_THAT(unnamed, HasSubstr("    # field: ")) << "no path says where it is";
  EXPECT_THAT(unnamed, HasSubstr("\n    id: string\n"));
  const auto sampled = TextOf(SampleOf({"\0\0\0\0\7{\"geo\": {\"a\": 1}}"s}), json);
  EXPECT_THAT(sampled, HasSubstr("framing: confluent"));
  EXPECT_THAT(sampled, HasSubstr("Read as below, all 1 become rows"));
}

TEST(Draft, OfAnotherMessageOfAProtobufSaysHowItIsNamed) {
  auto options = Registered("protobuf", "syntax = \"proto3\"; message A { string a = 1; } message B { int32 b = 1; }");
  // Message index [1], then B {b: 5}.
  const auto sample = SampleOf({"\0\0\0\0\7\2\2\x08\5"s});
  const auto first = MakeDraft(sample, options);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, first);
  EXPECT_THAT(first.status().message(), HasSubstr("read as its first message, and --message names another one"));
  options.schema->message = "A";
  EXPECT_THAT(MakeDraft(sample, options).status().message(), HasSubstr("read as its message A, and --message names"));
  options.schema->message = "B";
  MILLRACE_ASSERT_OK(MakeDraft(sample, options));

  const auto avro =
      Registered("avro", R"({"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}]})");
  EXPECT_THAT(MakeDraft(SampleOf({"\0\0\0\0\7\x7F"s}), avro).status().message(), Not(HasSubstr("--message")));
}

TEST(Draft, SaysWhatNoFormatReads) {
  const std::pair<Sample, const char*> cases[] = {
      {{}, "no records to look at"},
      {{.tombstones = 3}, "only 3 without a payload"},
      {SampleOf({"\0\0\0\0\7ab"s}), "schema ids 7): --registry names that registry, or --schema a file"},
      {SampleOf({"Obj\1..."s}), "are an Avro container file: --schema names the file"},
      {SampleOf({"\xC3\x01 12345678"s}), "--schema names the file"},
      {SampleOf({"\x1F\x8B..."s}), "are gzip, and cannot be unpacked"},
      {SampleOf({"[1]"}), "are a JSON array, which no format reads"},
      {SampleOf({"\x01\x02"s}), "are binary: if they are Avro or Protobuf"},
      {SampleOf({"{}"}), "no field of the 1 records can be a column"},
  };
  for (const auto& [sample, message] : cases) {
    const auto draft = MakeDraft(sample, Topic("clicks"));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, draft);
    EXPECT_THAT(draft.status().message(), HasSubstr(message));
  }
}

TEST(Draft, NamesOfAllKindsStayValid) {
  const auto text = TextOf(
      SampleOf({
          R"({"on": true, "null": "a", "a b": 1, "${HOME}": "x", "select": 1.5, "x: y": 2, "# c": 3, "line\nbreak": 4,
          "Geo": {"ci.ty": "a", "\"q\"": "b"}, "geo": 1, "_offset": 5, "ß": 6, "-": 7, "10": 8,
          "window_start": 1.5, "events": "a"})"}),
      Topic("2026.web-clicks"));
  EXPECT_THAT(text, HasSubstr("pipeline: t_2026_web_clicks"));
  EXPECT_THAT(text, HasSubstr("\"on\": bool"));
  EXPECT_THAT(text, HasSubstr("path: [Geo, ci.ty]"));
  EXPECT_THAT(text, HasSubstr("\"$${HOME}\""));
}

TEST(Draft, WordsOfSqlMayBeColumns) {
  for (const char* const word :
       {"at", "order", "group", "user", "table", "lambda", "binary", "window", "interval", "values"}) {
    const auto text =
        TextOf(SampleOf(std::vector<std::string>(8, fmt::format(R"({{"{}": 1.5, "select": "a"}})", word))));
    EXPECT_THAT(text, HasSubstr(fmt::format("avg(\"{}\")", word)));
  }
}

TEST(Draft, PrintsNoSecret) {
  auto options = Topic("clicks");
  options.source.kafka = {{"bootstrap.servers", "broker:9092"},
                          {"sasl.password", "hunter2"},
                          {"ssl.key.pem", "PEM"},
                          {"sasl.username", "me"},
                          {"client.id", "a b"}};
  const auto text = TextOf(SampleOf({R"({"a": 1, "password": "hunter2", "deep": [{"token": "hunter2"}]})"}), options);
  EXPECT_THAT(text, Not(HasSubstr("hunter2")));
  EXPECT_THAT(text, Not(HasSubstr("PEM\n")));
  EXPECT_THAT(text, HasSubstr("sasl.password: \"${KAFKA_SASL_PASSWORD:?sasl.password of the brokers}\""));
  EXPECT_THAT(text, HasSubstr("client.id: \"a b\""));
  EXPECT_THAT(text, HasSubstr("unknown_fields: ignore"));
  EXPECT_THAT(text, HasSubstr("# password:"));
}

TEST(Draft, RecordsThatAreNoTableAreNotTorn) {
  // Payloads of a thousand fields, of deep nesting, of one value: nothing but a valid file or an error.
  for (const auto& payload :
       {"{\"a\": {\"b\": {\"c\": {\"d\": [1, 2]}}}}"s, "{\"a\": 1e400}"s, "{\"a\": -0}"s, "{\"a\": \"\"}"s}) {
    TextOf(SampleOf({payload}));
  }
}

TEST(YamlText, IsReadBackAsItIs) {
  EXPECT_EQ(YamlText("log"), "log");
  EXPECT_EQ(YamlText("geo.city"), "geo.city");
  for (const char* const quoted : {"a b", "1", "no", "", "#", "a:", "-", "${X}"}) {
    EXPECT_EQ(YamlText(quoted).front(), '"') << quoted;
  }
}

}  // namespace
}  // namespace millrace::infer
