// Payloads to documents: packed ones, framed ones, arrays and lines, and what is left as it is.
#include "infer/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace millrace::infer {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;

Sample Records(const std::vector<std::string>& payloads) {
  Sample sample;
  for (const auto& payload : payloads) {
    sample.records.push_back({.payload = payload, .key = "k", .offset = std::ssize(sample.records)});
  }
  return sample;
}

std::vector<std::string> Payloads(const Sample& sample) {
  std::vector<std::string> payloads;
  for (const auto& record : sample.records) payloads.push_back(record.payload);
  return payloads;
}

Documents DocumentsOf(const std::vector<std::string>& payloads) {
  const auto sample = Records(payloads);
  return TakeApart(sample, ShapesOf(sample));
}

// {"a": 1}, by Python's gzip.
const std::string kPacked =
    "\x1F\x8B\x08\0\0\0\0\0\x02\x03\xAB\x56\x4A\x54\xB2\x52\x30\xAC\x05\0\x97\x8E\xA1\xFB\x08\0\0\0"s;

TEST(Documents, PackedPayloadsAreUnpacked) {
  const auto unpacked = Unpack(Records({kPacked, "{}", kPacked.substr(0, 20)}));
  EXPECT_EQ(unpacked.compression, ingest::Compression::kAuto);
  EXPECT_EQ(unpacked.note, "1 of 3 payloads are compressed");
  EXPECT_THAT(Payloads(unpacked.sample), ElementsAre("{\"a\": 1}", "{}", kPacked.substr(0, 20)));
  EXPECT_EQ(unpacked.sample.records[0].key, "k");

  const auto plain = Unpack(Records({"{}", kPacked.substr(0, 20)}));
  EXPECT_EQ(plain.compression, ingest::Compression::kNone);
  EXPECT_EQ(plain.note, "");
}

TEST(Documents, WhatIsUnpackedIsBounded) {
  // Eight MiB each, of which all but the first eight would be more than a sample has.
  const auto big = std::string(kSampleBytesMax / 8, 'a');
  EXPECT_EQ(Unpack(Records(std::vector<std::string>(10, big))).sample.records.size(), 8U);
}

TEST(Documents, ArraysAreTakenApart) {
  const auto documents = DocumentsOf({R"([{"a":1},{"a":2}])", "[]", "junk", R"([{"a":3}])"});
  EXPECT_EQ(documents.records, ingest::Records::kArray);
  EXPECT_EQ(documents.note, "3 of 4 payloads are a JSON array");
  EXPECT_THAT(Payloads(documents.sample), ElementsAre(R"({"a":1})", R"({"a":2})", R"({"a":3})"));
  EXPECT_EQ(documents.sample.records[1].offset, 0);
  // Of what are no objects they are left as they are.
  const auto numbers = DocumentsOf({"[1, 2]", "[3]"});
  EXPECT_EQ(numbers.records, ingest::Records::kOne);
  EXPECT_THAT(Payloads(numbers.sample), ElementsAre("[1, 2]", "[3]"));
}

TEST(Documents, LinesAreTakenApart) {
  const auto documents = DocumentsOf({"{\"a\":1}\n{\"a\":2}\n", "{\"a\":3}", "{\"a\":4}"});
  EXPECT_EQ(documents.records, ingest::Records::kLines);
  EXPECT_EQ(documents.note, "1 of 3 payloads are several lines of JSON");
  EXPECT_EQ(documents.sample.records.size(), 4U);
  // An object over several lines would be torn.
  EXPECT_EQ(DocumentsOf({"{\"a\":1}\n{\"a\":2}\n", "{\n\"a\":3}", "{\"a\":4}"}).records, ingest::Records::kOne);
  EXPECT_EQ(DocumentsOf({"{\"a\":1}\n", "{\"a\":2}\n"}).records, ingest::Records::kOne);
}

TEST(Documents, ARegistrysFramingIsTakenOff) {
  const auto documents = DocumentsOf({"\0\0\0\0\7{\"a\":1}"s, "\0\0\0\0\7{\"a\":2}"s, "{}"});
  EXPECT_EQ(documents.framing, ingest::Framing::kConfluent);
  EXPECT_EQ(documents.note, "2 of 3 payloads are a JSON object behind a registry's schema id");
  EXPECT_THAT(Payloads(documents.sample), ElementsAre("{\"a\":1}", "{\"a\":2}"));
}

TEST(Documents, OthersAreAsTheyAre) {
  const auto documents = DocumentsOf({"a;b", "c;d", "[1"});
  EXPECT_EQ(documents.records, ingest::Records::kOne);
  EXPECT_EQ(documents.framing, ingest::Framing::kNone);
  EXPECT_EQ(documents.note, "");
  EXPECT_THAT(Payloads(documents.sample), ElementsAre("a;b", "c;d", "[1"));
}

TEST(Documents, LinesOfText) {
  const auto lines = LinesOf(Records({"a;1\nb;2\n", "c;3\r\n", "\x01"}));
  EXPECT_EQ(lines.records, ingest::Records::kLines);
  EXPECT_EQ(lines.note, "1 of 3 payloads are several lines");
  EXPECT_THAT(Payloads(lines.sample), ElementsAre("a;1", "b;2", "c;3"));
}

}  // namespace
}  // namespace millrace::infer
