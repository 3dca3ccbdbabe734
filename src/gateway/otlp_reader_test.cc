// Requests of OpenTelemetry to events: every field of the protocol, both encodings, and what is none.
#include "gateway/otlp_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gateway/test_batch.h"
#include "gateway/test_wire.h"

namespace millrace::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr const char* kJson = "application/json";
constexpr const char* kProtobuf = "application/x-protobuf";

std::variant<Batch, http::Problem> ReadBody(OtlpSignal signal, const std::string& type, const std::string& body,
                                            const ReadRules& rules = {}) {
  OtlpReader reader;
  http::Request request;
  request.content_type = type;
  request.body = body;
  return reader.Read(request, signal, rules);
}
Batch Read(OtlpSignal signal, const std::string& type, const std::string& body, const ReadRules& rules = {}) {
  auto read = ReadBody(signal, type, body, rules);
  if (auto* problem = std::get_if<http::Problem>(&read)) {
    ADD_FAILURE() << problem->detail;
    return {};
  }
  return std::get<Batch>(std::move(read));
}
http::Problem Refused(OtlpSignal signal, const std::string& type, const std::string& body,
                      const ReadRules& rules = {}) {
  auto read = ReadBody(signal, type, body, rules);
  auto* problem = std::get_if<http::Problem>(&read);
  EXPECT_NE(problem, nullptr) << body;
  return problem == nullptr ? http::Problem{} : *problem;
}

std::string Text(std::string_view text) { return BytesField(1, text); }  // An AnyValue.
std::string Attribute(std::string_view key, const std::string& any) { return BytesField(1, key) + BytesField(2, any); }
// The request of one scope of one resource.
std::string Request(const std::string& records, const std::string& resource = "", const std::string& scope = "") {
  return BytesField(1, BytesField(1, resource) + BytesField(2, BytesField(1, scope) + records));
}

TEST(OtlpReader, ALogRecordIsAnEventWithWhatIsAroundIt) {
  const std::string record =
      FixedField(1, 1'795'341'600'000'000'001) + VarintField(2, 17) + BytesField(3, "ERROR") +
      BytesField(5, Text("a \"b\"\n")) + BytesField(6, Attribute("http.status", VarintField(3, 503))) +
      VarintField(7, 2) + TagOf(8, 5) + std::string("\1\0\0\0", 4) + BytesField(9, std::string("\x5b\x8e\0\xff", 4)) +
      BytesField(10, "\xee\xe1") + FixedField(11, 5) + BytesField(12, "printed");
  const std::string resource =
      BytesField(1, Attribute("service.name", Text("printer"))) + BytesField(1, Attribute("host", Text("p7")));
  const std::string scope = BytesField(1, "printing") + BytesField(2, "1.0") + BytesField(3, Attribute("a", Text("b")));
  EXPECT_THAT(
      Payloads(Read(OtlpSignal::kLogs, kProtobuf,
                    Request(BytesField(2, record) + BytesField(3, "http://s"), resource, scope))),
      ElementsAre(
          R"({"time_unix_nano":1795341600000000001,"observed_time_unix_nano":5,"severity_number":17,"severity_text":"ERROR",)"
          R"("event_name":"printed","body":"a \"b\"\n","attributes":{"http.status":503},"dropped_attributes_count":2,)"
          R"("flags":1,"trace_id":"5b8e00ff","span_id":"eee1",)"
          R"("resource_attributes":{"service.name":"printer","host":"p7"},"service_name":"printer",)"
          R"("scope_name":"printing","scope_version":"1.0","scope_attributes":{"a":"b"},"scope_schema_url":"http://s"})"));
}

TEST(OtlpReader, EveryKindOfValueIsTheJsonThatItStandsFor) {
  const auto body_of = [](const std::string& any) {
    const auto events = Payloads(Read(OtlpSignal::kLogs, kProtobuf, Request(BytesField(2, BytesField(5, any)))));
    return events.size() == 1 ? events[0] : "";
  };
  EXPECT_EQ(body_of(Text("")), R"({"body":""})");
  EXPECT_EQ(body_of(VarintField(2, 1)), R"({"body":true})");
  EXPECT_EQ(body_of(VarintField(2, 0)), R"({"body":false})");
  EXPECT_EQ(body_of(VarintField(3, static_cast<std::uint64_t>(-7))), R"({"body":-7})");
  EXPECT_EQ(body_of(VarintField(3, 0)), R"({"body":0})");
  EXPECT_EQ(body_of(DoubleField(4, 5000.5)), R"({"body":5000.5})");
  EXPECT_EQ(body_of(DoubleField(4, -HUGE_VAL)), R"({"body":"-inf"})");
  EXPECT_EQ(body_of(DoubleField(4, std::nan(""))), R"({"body":"nan"})");
  EXPECT_EQ(body_of(BytesField(7, std::string("\0\1\2hi", 5))), R"({"body":"AAECaGk="})");
  EXPECT_EQ(body_of(""), R"({"body":null})");
  EXPECT_EQ(body_of(BytesField(5, "")), R"({"body":[]})");
  EXPECT_EQ(body_of(BytesField(5, BytesField(1, Text("x")) + BytesField(1, "") + BytesField(1, VarintField(3, 4)))),
            R"({"body":["x",null,4]})");
  EXPECT_EQ(body_of(BytesField(6, BytesField(1, Attribute("k", BytesField(6, "")) + VarintField(77, 1)))),
            R"({"body":{"k":{}}})");
  EXPECT_EQ(body_of(Text("x") + VarintField(3, 4)), R"({"body":4})") << "of several the last one counts";
}

TEST(OtlpReader, APointOfAnyMetricIsAnEvent) {
  const auto metric = [](int kind, const std::string& data) {
    return BytesField(2, BytesField(1, "m") + BytesField(2, "d") + BytesField(3, "ms") + BytesField(kind, data));
  };
  const auto point = [](const std::string& fields) { return BytesField(1, fields); };
  const std::string packed_counts = BytesField(6, std::string("\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 16));
  const std::string request = Request(
      metric(5, point(FixedField(3, 7) + DoubleField(4, 0)) + point(FixedField(6, static_cast<std::uint64_t>(-3)))) +
      metric(7, VarintField(2, 2) + VarintField(3, 1) +
                    point(FixedField(2, 1) + FixedField(3, 2) + FixedField(6, 5) +
                          BytesField(7, Attribute("a", Text("b"))) + VarintField(8, 1) +
                          BytesField(5, FixedField(2, 9) + DoubleField(3, 1.5)))) +
      metric(9,
             point(FixedField(4, 3) + DoubleField(5, 6) + packed_counts + DoubleField(7, 2.5) + DoubleField(11, 0))) +
      metric(10,
             point(FixedField(4, 0) + VarintField(6, 3) + BytesField(8, VarintField(1, 4) + BytesField(2, "\1\2")))) +
      metric(11, point(FixedField(4, 2) + DoubleField(5, 3) + BytesField(6, DoubleField(1, 0.5) + DoubleField(2, 1)))));
  const std::string head = R"({"name":"m","description":"d","unit":"ms","type":)";
  EXPECT_THAT(
      Payloads(Read(OtlpSignal::kMetrics, kProtobuf, request)),
      ElementsAre(
          head + R"("gauge","time_unix_nano":7,"value":0})", head + R"("gauge","value":-3})",
          head + R"("sum","aggregation_temporality":2,"is_monotonic":true,"start_time_unix_nano":1,"time_unix_nano":2,)"
                 R"("value":5,"attributes":{"a":"b"},"flags":1,"exemplars":[{"time_unix_nano":9,"value":1.5}]})",
          head + R"("histogram","count":3,"sum":6,"min":0,"bucket_counts":[1,2],"explicit_bounds":[2.5]})",
          head +
              R"("exponential_histogram","count":0,"scale":-2,"zero_count":0,"positive":{"offset":2,"bucket_counts":[1,2]}})",
          head + R"("summary","count":2,"sum":3,"quantile_values":[{"quantile":0.5,"value":1}]})"));
}

TEST(OtlpReader, ASpanIsAnEventWithItsEventsAndLinks) {
  const std::string span =
      BytesField(1, "\x01") + BytesField(2, "\x02") + BytesField(3, "k=v") + BytesField(4, "\x03") +
      BytesField(5, "GET") + VarintField(6, 2) + FixedField(7, 10) + FixedField(8, 20) +
      BytesField(11, FixedField(1, 11) + BytesField(2, "e") + BytesField(3, Attribute("a", Text("b")))) +
      BytesField(13, BytesField(1, "\x04") + BytesField(2, "\x05")) +
      BytesField(15, BytesField(2, "bad") + VarintField(3, 2));
  EXPECT_THAT(
      Payloads(Read(OtlpSignal::kTraces, kProtobuf, Request(BytesField(2, span)))),
      ElementsAre(R"({"trace_id":"01","span_id":"02","parent_span_id":"03","trace_state":"k=v","name":"GET","kind":2,)"
                  R"("start_time_unix_nano":10,"end_time_unix_nano":20,)"
                  R"("events":[{"time_unix_nano":11,"name":"e","attributes":{"a":"b"}}],)"
                  R"("links":[{"trace_id":"04","span_id":"05"}],"status":{"message":"bad","code":2}})"));
}

TEST(OtlpReader, JsonAndProtobufAreTheSameEvents) {
  const std::string json =
      R"({"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"é"}}]},
    "schemaUrl":null,"unheardOf":{"a":[{"b":1}]},
    "scopeMetrics":[{"metrics":[{"name":"m","histogram":{"aggregationTemporality":1,"dataPoints":[
      {"timeUnixNano":"1795341600000000001","count":"3","sum":1e1,"bucketCounts":["1",2,"0"],"explicitBounds":[0.1,"Infinity"],
       "attributes":[{"key":"n","value":{"intValue":"-5"}},{"key":"l","value":{"arrayValue":{"values":[{"boolValue":true},{"bytesValue":"AAE="}]}}},
                     {"key":"d","value":{"doubleValue":"NaN"}}],
       "exemplars":[{"traceId":"5B8EFFF798038103","asInt":"-9"}]}]}},
      {"name":"g","gauge":{"dataPoints":[{"asDouble":0.1,"timeUnixNano":1.5e3}]}}]}]}]})";
  const std::string counts = FixedField(6, 1) + FixedField(6, 2) + FixedField(6, 0);
  const std::string point =
      FixedField(3, 1'795'341'600'000'000'001) + FixedField(4, 3) + DoubleField(5, 10) + counts + DoubleField(7, 0.1) +
      DoubleField(7, HUGE_VAL) + BytesField(9, Attribute("n", VarintField(3, static_cast<std::uint64_t>(-5)))) +
      BytesField(9, Attribute("l", BytesField(5, BytesField(1, VarintField(2, 1)) +
                                                     BytesField(1, BytesField(7, std::string("\0\1", 2)))))) +
      BytesField(9, Attribute("d", DoubleField(4, std::nan("")))) +
      BytesField(8, BytesField(5, "\x5b\x8e\xff\xf7\x98\x03\x81\x03") + FixedField(6, static_cast<std::uint64_t>(-9)));
  const std::string protobuf = Request(
      BytesField(2, BytesField(1, "m") + BytesField(9, VarintField(2, 1) + BytesField(1, point))) +
          BytesField(2, BytesField(1, "g") + BytesField(5, BytesField(1, DoubleField(4, 0.1) + FixedField(3, 1500)))),
      BytesField(1, Attribute("service.name", Text("\u00e9"))));
  const auto of_json = Payloads(Read(OtlpSignal::kMetrics, kJson, json));
  EXPECT_EQ(of_json.size(), 2U);
  EXPECT_EQ(of_json, Payloads(Read(OtlpSignal::kMetrics, kProtobuf, protobuf)));
}

TEST(OtlpReader, WhatIsNoRequestIsRefusedWholeWithItsPlace) {
  const auto refused = [](const std::string& json) { return Refused(OtlpSignal::kLogs, kJson, json).detail; };
  EXPECT_THAT(refused(R"({"resourceLogs":{}})"), HasSubstr("resourceLogs has an object where an array is wanted"));
  EXPECT_THAT(refused(R"({"resourceLogs":[3]})"), HasSubstr("resourceLogs has the number 3 where an object is wanted"));
  EXPECT_THAT(refused(R"({"resourceLogs":[null]})"), HasSubstr("resourceLogs has null"));
  EXPECT_THAT(refused("[]"), HasSubstr("the body has an array where an object is wanted"));
  EXPECT_THAT(refused("null"), HasSubstr("the body has null"));
  for (const char* broken : {"", "{", "{}x", "{\"a\":tru}", "{\"a\":\"\xff\"}"})
    EXPECT_EQ(Refused(OtlpSignal::kLogs, kJson, broken).code, "invalid_json") << broken;
  const auto record = [&](const std::string& fields) {
    return refused(R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{)" + fields + "}]}]}]}");
  };
  EXPECT_THAT(record(R"("timeUnixNano":"-1")"),
              HasSubstr("resourceLogs.scopeLogs.logRecords.timeUnixNano has the string '-1' where "
                        "a whole number that is not negative is wanted"));
  EXPECT_THAT(record(R"("timeUnixNano":1.5)"), HasSubstr("the number 1.5"));
  EXPECT_THAT(record(R"("timeUnixNano":1e-400)"), HasSubstr("the number 1e-400"));
  EXPECT_THAT(record(R"("body":{"doubleValue":1e400})"), HasSubstr("the number 1e400"));
  EXPECT_THAT(record(R"("timeUnixNano":1e300)"), HasSubstr("the number 1e300"));
  EXPECT_THAT(record(R"("severityNumber":"SEVERITY_NUMBER_INFO")"), HasSubstr("a whole number is wanted"));
  EXPECT_THAT(record(R"("severityText":7)"), HasSubstr("a string is wanted"));
  EXPECT_THAT(record(R"("traceId":"xy")"), HasSubstr("hexadecimal"));
  EXPECT_THAT(record(R"("traceId":"abc")"), HasSubstr("hexadecimal"));
  EXPECT_THAT(record(R"("flags":4294967296)"), HasSubstr("flags"));
  EXPECT_THAT(record(R"("body":{"bytesValue":"?"})"), HasSubstr("Base64"));
  EXPECT_THAT(record(R"("body":{"boolValue":1})"), HasSubstr("a boolean is wanted"));
  EXPECT_THAT(record(R"("body":"text")"), HasSubstr("an object is wanted"));
  EXPECT_THAT(record(R"("attributes":[[]])"), HasSubstr("an array where an object is wanted"));

  const auto wire = [](const std::string& bytes) { return Refused(OtlpSignal::kLogs, kProtobuf, bytes); };
  EXPECT_THAT(wire(BytesField(1, BytesField(2, BytesField(2, FixedField(1, 7)))).substr(0, 9)).detail,
              HasSubstr("at byte"));
  EXPECT_EQ(wire("{}").code, "invalid_protobuf");
  EXPECT_EQ(wire(Request(BytesField(2, "\x0a\xff"))).status, 400);
  EXPECT_EQ(Refused(OtlpSignal::kLogs, "text/plain", "").status, 415);
  EXPECT_EQ(Refused(OtlpSignal::kLogs, "", "").code, "media_type");
}

TEST(OtlpReader, WhatIsTooSmallForADoubleIsZero) {
  for (const char* number : {"1e-400", "\"1e-400\"", "0.1e-323"}) {
    const std::string body =
        R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"doubleValue":)" + std::string(number) + "}}]}]}]}";
    EXPECT_THAT(Payloads(Read(OtlpSignal::kLogs, kJson, body)), ElementsAre(R"({"body":0})")) << number;
  }
}

TEST(OtlpReader, AnEmptyRequestHasNoEvents) {
  EXPECT_THAT(Read(OtlpSignal::kLogs, kProtobuf, "").events, IsEmpty());
  EXPECT_THAT(Read(OtlpSignal::kTraces, "application/json; charset=utf-8", "{}").events, IsEmpty());
  EXPECT_THAT(Payloads(Read(OtlpSignal::kLogs, kProtobuf, Request(BytesField(2, "")))), ElementsAre("{}"));
}

TEST(OtlpReader, TextThatIsNotUtf8CostsTheEventsThatItIsIn) {
  const std::string good = BytesField(2, BytesField(3, "good"));
  const std::string bad = BytesField(2, BytesField(3, "\xff"));
  const auto some = Read(OtlpSignal::kLogs, kProtobuf, Request(good + bad + good));
  EXPECT_EQ(some.events.size(), 2U);
  EXPECT_THAT(Codes(some), ElementsAre(Pair(1, "invalid_utf8")));
  EXPECT_THAT(some.rejected[0].detail, HasSubstr("severity_text"));
  const std::string bad_scope = BytesField(2, BytesField(1, BytesField(1, "\xff")) + good);
  const std::string one_bad = BytesField(1, BytesField(2, good) + bad_scope + BytesField(2, good));
  EXPECT_THAT(Codes(Read(OtlpSignal::kLogs, kProtobuf, one_bad)), ElementsAre(Pair(1, "invalid_utf8")));
  EXPECT_THAT(Codes(Read(OtlpSignal::kLogs, kProtobuf, Request(good + good, BytesField(1, Attribute("\xff", ""))))),
              ElementsAre(Pair(0, "invalid_utf8"), Pair(1, "invalid_utf8")));
  // Of a value in an attribute, in a list of one, and in the body: whose it is.
  const auto detail = [](const std::string& record, const std::string& resource = "") {
    return Read(OtlpSignal::kLogs, kProtobuf, Request(BytesField(2, record), resource)).rejected.at(0).detail;
  };
  EXPECT_EQ(detail(BytesField(6, Attribute("user", Text("\xff")))), "The text of 'user' is not UTF-8.");
  const std::string list = BytesField(5, BytesField(1, Text("a")) + BytesField(1, Text("\xc3")));
  EXPECT_EQ(detail(BytesField(6, Attribute("tags", list))), "The text of 'tags' is not UTF-8.");
  EXPECT_EQ(detail(BytesField(5, Text("\xff"))), "The text of 'body' is not UTF-8.");
  EXPECT_EQ(detail("", BytesField(1, Attribute("host", Text("\xff")))), "The text of 'host' is not UTF-8.");
  EXPECT_EQ(Refused(OtlpSignal::kLogs, kJson,
                    "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"severityText\":\"\xff\"}]}]}]}")
                .code,
            "invalid_json");
  const std::string metric = BytesField(2, BytesField(1, "\xff") + BytesField(5, BytesField(1, "")));
  const std::string other = BytesField(2, BytesField(1, "m") + BytesField(5, BytesField(1, "")));
  EXPECT_THAT(Codes(Read(OtlpSignal::kMetrics, kProtobuf, Request(metric + other))),
              ElementsAre(Pair(0, "invalid_utf8")));
}

TEST(OtlpReader, EventsAndRequestsHaveBounds) {
  std::string many;
  for (std::size_t i = 0; i < kEventsMax; ++i) many += BytesField(2, "");
  EXPECT_EQ(Read(OtlpSignal::kLogs, kProtobuf, Request(many)).events.size(), kEventsMax);
  EXPECT_EQ(Refused(OtlpSignal::kLogs, kProtobuf, Request(many + BytesField(2, ""))).code, "too_many_events");
  const std::string large = BytesField(2, BytesField(3, std::string(2000, 'x')));
  EXPECT_THAT(Codes(Read(OtlpSignal::kLogs, kProtobuf, Request(large + BytesField(2, "")), {.event_bytes_max = 1000})),
              ElementsAre(Pair(0, "event_too_large")));
  EXPECT_EQ(Refused(OtlpSignal::kLogs, kProtobuf, Request(large), {.body_bytes_max = 1000}).status, 413);
  // A resource of 500 bytes in each of a hundred events.
  std::string hundred;
  for (int i = 0; i < 100; ++i) hundred += BytesField(2, "");
  const std::string resource = BytesField(1, Attribute("a", Text(std::string(500, 'x'))));
  const auto grown = Refused(OtlpSignal::kLogs, kProtobuf, Request(hundred, resource), {.body_bytes_max = 2000});
  EXPECT_EQ(grown.status, 413);
  EXPECT_THAT(grown.detail, HasSubstr("more than 8000 bytes"));
}

TEST(OtlpReader, DepthHasABoundInBothEncodings) {
  std::string wire = Text("x");
  std::string json = R"({"stringValue":"x"})";
  for (int i = 0; i < 40; ++i) {
    wire = BytesField(5, BytesField(1, wire));
    json = R"({"arrayValue":{"values":[)" + json + "]}}";
  }
  const auto whole = [](const std::string& body) {
    return R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":)" + body + "}]}]}]}";
  };
  EXPECT_EQ(Payloads(Read(OtlpSignal::kLogs, kProtobuf, Request(BytesField(2, BytesField(5, wire))))),
            Payloads(Read(OtlpSignal::kLogs, kJson, whole(json))));
  for (int i = 0; i < 20; ++i) wire = BytesField(5, BytesField(1, wire));
  EXPECT_THAT(Refused(OtlpSignal::kLogs, kProtobuf, Request(BytesField(2, BytesField(5, wire)))).detail,
              HasSubstr("too deep"));
  for (int i = 0; i < 100'000; ++i) json = "[" + json + "]";
  EXPECT_EQ(Refused(OtlpSignal::kLogs, kJson, whole(json)).status, 400);
}

TEST(OtlpReader, TheKeyIsAFieldOfTheEvent) {
  const std::string resource = BytesField(1, Attribute("service.name", Text("printer")));
  const auto batch = Read(OtlpSignal::kLogs, kProtobuf, Request(BytesField(2, ""), resource), {.key = "service_name"});
  EXPECT_EQ(batch.events.at(0).key, "printer");
  EXPECT_EQ(Read(OtlpSignal::kLogs, kProtobuf, Request(BytesField(2, "")), {.key = "service_name"}).events.at(0).key,
            std::nullopt);
  EXPECT_THAT(
      Codes(Read(OtlpSignal::kLogs, kProtobuf, Request(BytesField(2, ""), resource), {.key = "resource_attributes"})),
      ElementsAre(Pair(0, "invalid_key")));
}

}  // namespace
}  // namespace millrace::gateway
