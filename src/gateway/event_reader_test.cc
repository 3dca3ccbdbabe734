// Bodies to events: what each form becomes, to the byte, and what cannot be one.
#include "gateway/event_reader.h"

#include <arrow/util/compression.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/test_batch.h"

namespace millrace::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

http::Request Post(const std::string& type, const std::string& body, const std::string& encoding = "") {
  http::Request request;
  request.method = "POST";
  request.content_type = type;
  request.content_encoding = encoding;
  request.body = body;
  return request;
}

Batch Read(const http::Request& request, const ReadRules& rules = {}) {
  EventReader reader;
  auto read = reader.Read(request, rules);
  if (auto* problem = std::get_if<http::Problem>(&read)) {
    ADD_FAILURE() << problem->detail;
    return {};
  }
  return std::get<Batch>(std::move(read));
}
http::Problem Refused(const http::Request& request, const ReadRules& rules = {}) {
  EventReader reader;
  auto read = reader.Read(request, rules);
  EXPECT_TRUE(std::holds_alternative<http::Problem>(read));
  auto* problem = std::get_if<http::Problem>(&read);
  return problem == nullptr ? http::Problem{} : *problem;
}

std::string Packed(arrow::Compression::type type, const std::string& text) {
  const auto codec = arrow::util::Codec::Create(type).ValueOrDie();
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  std::string out(static_cast<std::size_t>(codec->MaxCompressedLen(std::ssize(text), bytes)), '\0');
  out.resize(static_cast<std::size_t>(
      codec->Compress(std::ssize(text), bytes, std::ssize(out), reinterpret_cast<std::uint8_t*>(out.data()))
          .ValueOrDie()));
  return out;
}

TEST(EventReader, AnObjectIsOneEventByteForByte) {
  const std::string odd = R"({ "a" : 1.10, "b":"\u00e9",  "n": 123456789012345678901234567890.123456789 })";
  EXPECT_THAT(Payloads(Read(Post("application/json", "\r\n " + odd + "\n"))), ElementsAre(odd));
  EXPECT_THAT(Payloads(Read(Post("Application/JSON; charset=utf-8", "{}"))), ElementsAre("{}"));
}

TEST(EventReader, AnArrayIsAnEventForEachElement) {
  const auto batch = Read(Post("application/json", R"([ {"a":1.10} ,{"b":[1, 2]}, 3, "x", {"c":{}}])"));
  EXPECT_THAT(Payloads(batch), ElementsAre(R"({"a":1.10})", R"({"b":[1, 2]})", R"({"c":{}})"));
  EXPECT_EQ(batch.events[2].index, 4U);
  EXPECT_THAT(Codes(batch), ElementsAre(Pair(2, "not_an_object"), Pair(3, "not_an_object")));
  EXPECT_THAT(Payloads(Read(Post("application/json", "[]"))), IsEmpty());
}

TEST(EventReader, EachLineStandsForItself) {
  for (const char* type : {"application/x-ndjson", "application/jsonl", "text/plain;charset=UTF-8"}) {
    const auto batch = Read(Post(type, "{\"a\":1}\r\n\n  {\"b\":2}\n{\"c\":\nnull\n{\"d\":\"\xff\"}\n{\"e\":5}"));
    EXPECT_THAT(Payloads(batch), ElementsAre(R"({"a":1})", R"({"b":2})", R"({"e":5})"));
    EXPECT_THAT(Codes(batch), ElementsAre(Pair(2, "invalid_json"), Pair(3, "not_an_object"), Pair(4, "invalid_json")));
    EXPECT_EQ(batch.events[2].index, 5U);
  }
}

TEST(EventReader, TheKeyIsAFieldOfTheEvent) {
  const auto batch = Read(Post("application/x-ndjson", R"({"d":{"id":"a"}}
{"d":{"id":17}}
{"d":{"id":1.5}}
{"d":{"id":true}}
{"d":{"id":null}}
{"d":3}
{"d":{"id":[1]}}
{"d":{"id":"\u00e9"}})"),
                          {.key = "d.id"});
  std::vector<std::optional<std::string>> keys;
  for (const auto& event : batch.events) keys.push_back(event.key);
  EXPECT_THAT(keys, ElementsAre("a", "17", "1.5", "true", std::nullopt, std::nullopt, "\u00e9"));
  EXPECT_THAT(Codes(batch), ElementsAre(Pair(6, "invalid_key")));
}

TEST(EventReader, TheKeyIsWhatTheDecoderReadsOfTheField) {
  const auto key_of = [](const std::string& event, const char* field) {
    const auto batch = Read(Post("application/json", event), {.key = field});
    return batch.events.empty() ? std::optional<std::string>("rejected") : batch.events[0].key;
  };
  EXPECT_EQ(key_of(R"({"device\u005fid":"a"})", "device_id"), "a");
  EXPECT_EQ(key_of(R"({"device_id":"a","x":[{}],"device_id":"b"})", "device_id"), "b");
  EXPECT_EQ(key_of(R"({"device_id":{},"device_id":"b"})", "device_id"), "b");
  EXPECT_EQ(key_of(R"({"device_id":"b","device_id":{}})", "device_id"), "rejected");
  EXPECT_EQ(key_of(R"({"device_id":"b","device_id":null})", "device_id"), std::nullopt);
  EXPECT_EQ(key_of(R"({"d":{"id":"a","id":"b"},"d":{"\u0069d":"c"}})", "d.id"), "c");
  EXPECT_EQ(key_of(R"({"d":{"id":"a"},"d":7})", "d.id"), std::nullopt);
}

TEST(EventReader, AnEventHasABoundWithItsKeyAndHeaders) {
  const ReadRules rules{.key = "k", .event_bytes_max = 20};
  const auto batch = Read(Post("application/x-ndjson", R"({"k":"aaa","b":"12"}
{"k":"a","b":"12345"}
{"k":"","b":"1234567"}
{"k":"aa","b":"1"}
)"),
                          rules);
  EXPECT_THAT(Payloads(batch), ElementsAre(R"({"k":"aa","b":"1"})"));
  EXPECT_THAT(Codes(batch),
              ElementsAre(Pair(0, "event_too_large"), Pair(1, "event_too_large"), Pair(2, "event_too_large")));
}

TEST(EventReader, BodiesArePlainGzipOrZstdWithinTheBound) {
  const std::string text = "{\"a\":\"" + std::string(500, 'x') + "\"}";
  const ReadRules enough{.body_bytes_max = text.size()};
  const ReadRules less{.body_bytes_max = text.size() - 1};
  for (const auto& [coding, body] :
       {std::pair<std::string, std::string>{"gzip", Packed(arrow::Compression::GZIP, text)},
        {"X-GZIP", Packed(arrow::Compression::GZIP, text)},
        {"zstd", Packed(arrow::Compression::ZSTD, text)},
        {"identity", text},
        {"", text}}) {
    SCOPED_TRACE(coding);
    EXPECT_THAT(Payloads(Read(Post("application/json", body, coding), enough)), ElementsAre(text));
    EXPECT_EQ(Refused(Post("application/json", body, coding), less).status, 413);
  }
  // A gigabyte in a megabyte.
  const std::string bomb = Packed(arrow::Compression::GZIP, std::string(std::size_t{100} << 20, '{'));
  EXPECT_EQ(Refused(Post("application/json", bomb, "gzip")).status, 413);
  EXPECT_EQ(Refused(Post("application/json", "not gzip", "gzip")).code, "bad_compression");
  EXPECT_EQ(Refused(Post("application/json", Packed(arrow::Compression::GZIP, text).substr(0, 20), "gzip")).status,
            400);
  EXPECT_EQ(Refused(Post("application/json", text, "br")).status, 415);
  EXPECT_EQ(Refused(Post("application/json", text, "gzip, zstd")).status, 415);
}

TEST(EventReader, WhatIsNoBodyOfEventsIsRefusedWhole) {
  EXPECT_EQ(Refused(Post("application/json", "{\"a\":")).status, 400);
  EXPECT_EQ(Refused(Post("application/json", "[{\"a\":1},")).status, 400);
  EXPECT_EQ(Refused(Post("application/json", "")).code, "empty_body");
  EXPECT_EQ(Refused(Post("application/json", " \n")).code, "empty_body");
  EXPECT_EQ(Refused(Post("application/x-www-form-urlencoded", "{}")).status, 415);
  EXPECT_EQ(Refused(Post("", "{}")).code, "media_type");
  EXPECT_THAT(Refused(Post("application/xml", "{}")).hint, HasSubstr("application/x-ndjson"));
  std::string lines, array = "[";
  for (std::size_t i = 0; i < kEventsMax; ++i) lines += "{}\n";
  for (std::size_t i = 0; i < kEventsMax; ++i) array += "{},";
  EXPECT_EQ(Read(Post("application/x-ndjson", lines)).events.size(), kEventsMax);
  EXPECT_EQ(Refused(Post("application/x-ndjson", lines + "{}")).code, "too_many_events");
  EXPECT_EQ(Refused(Post("application/json", array + "{}]")).code, "too_many_events");
}

TEST(EventReader, ADeepDocumentIsAnEventThatIsRejectedAndNoMore) {
  const std::string deep = "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  EXPECT_THAT(Codes(Read(Post("application/x-ndjson", deep + "\n{}"))), ElementsAre(Pair(0, "invalid_json")));
  EXPECT_EQ(Refused(Post("application/json", deep)).status, 400);
  EXPECT_EQ(Refused(Post("application/json", "[" + deep + "]")).status, 400);
}

TEST(EventReader, ACloudEventIsItsDataAndItsAttributesAreHeaders) {
  const auto batch = Read(Post("application/cloudevents+json",
                               R"({"specversion":"1.0","id":"A1","source":"/site/7","type":"reading","seq":12,
      "partitionkey":"dev-9","subject":null,"data": {"t": 21.50,  "big": 123456789012345678901234567890}})"));
  EXPECT_THAT(Payloads(batch), ElementsAre(R"({"t": 21.50,  "big": 123456789012345678901234567890})"));
  ASSERT_EQ(batch.events.size(), 1U);
  EXPECT_EQ(batch.events[0].key, "dev-9");
  EXPECT_THAT(batch.events[0].headers,
              UnorderedElementsAre(Pair("ce_specversion", "1.0"), Pair("ce_id", "A1"), Pair("ce_source", "/site/7"),
                                   Pair("ce_type", "reading"), Pair("ce_seq", "12"), Pair("ce_partitionkey", "dev-9")));
  const std::string head = R"({"specversion":"1.0","id":"1","source":"s","type":"t",)";
  EXPECT_THAT(Payloads(Read(Post("application/cloudevents+json", head + R"("data_base64":"AAECaGk="})"))),
              ElementsAre(std::string("\0\1\2hi", 5)));
  EXPECT_THAT(
      Payloads(Read(Post("application/cloudevents+json", head + R"("datacontenttype":"text/csv","data":"a,\"b\""})"))),
      ElementsAre("a,\"b\""));
  EXPECT_THAT(Payloads(Read(Post("application/cloudevents+json", head + R"("data":"a"})"))), ElementsAre("\"a\""));
  const auto keyed = Read(Post("application/cloudevents+json", head + R"("data":{"dev":"x"}})"), {.key = "dev"});
  EXPECT_EQ(keyed.events[0].key, "x");
}

TEST(EventReader, CloudEventsComeInBatchesToo) {
  const auto batch = Read(Post("application/cloudevents-batch+json",
                               R"([{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"a":1}},
      {"specversion":"1.0","id":"2","source":"s","data":{}}, {"specversion":"0.3","id":"1","source":"s","type":"t"},
      {"specversion":"1.0","id":"4","source":"s","type":"t","Bad":1},
      {"specversion":"1.0","id":"5","source":"s","type":"t","data":1,"data_base64":"aa"},
      {"specversion":"1.0","id":"6","source":"s","type":"t","data_base64":"?"}])"));
  EXPECT_THAT(Payloads(batch), ElementsAre(R"({"a":1})"));
  for (const auto& one : batch.rejected) EXPECT_EQ(one.code, "invalid_cloudevent") << one.detail;
  EXPECT_EQ(batch.rejected.size(), 5U);
  EXPECT_THAT(batch.rejected[0].detail, HasSubstr("'type' is missing"));
}

TEST(EventReader, InBinaryModeTheBodyIsTheDataWhateverItIs) {
  auto request = Post("application/octet-stream", std::string("\0\xff", 2));
  request.cloud_event = {{"specversion", "1.0"}, {"id", "a%20b"}, {"source", "s"}, {"type", "t"}};
  const auto batch = Read(request);
  EXPECT_THAT(Payloads(batch), ElementsAre(std::string("\0\xff", 2)));
  EXPECT_THAT(batch.events[0].headers,
              UnorderedElementsAre(Pair("ce_specversion", "1.0"), Pair("ce_id", "a b"), Pair("ce_source", "s"),
                                   Pair("ce_type", "t"), Pair("content-type", "application/octet-stream")));
  request.cloud_event.pop_back();
  EXPECT_THAT(Codes(Read(request)), ElementsAre(Pair(0, "invalid_cloudevent")));
}

}  // namespace
}  // namespace millrace::gateway
