// One field of a document, and whether it is one.
#include "ingest/json/field_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace::ingest {
namespace {

using ::testing::HasSubstr;

struct Scanned {
  std::optional<RecordProblem> problem;
  FieldScan::Found found;
};

// What stands behind the document must not matter.
Scanned Scan(const std::string& document, std::string_view path) {
  FieldScan scan;
  Scanned scanned;
  for (const char behind : {'\0', '}', '"', '7'}) {
    std::string copy = document + '\0' + std::string(FieldScan::kBytesBehind, behind);
    scanned.problem = scan.Scan({copy.data(), document.size()}, path, &scanned.found);
  }
  return scanned;
}
std::optional<std::string> TextOf(const std::string& document, std::string_view path) {
  const auto scanned = Scan(document, path);
  EXPECT_FALSE(scanned.problem) << document << ": " << scanned.problem->detail;
  return scanned.found.text;
}

TEST(FieldScan, AFieldIsItsTextOrItsNumberAsItIsWritten) {
  EXPECT_EQ(TextOf(R"( { "a" : "x\n\u00e9" , "b":1 } )", "a"), "x\n\u00e9");
  EXPECT_EQ(TextOf(R"({"a":-1.50e+1})", "a"), "-1.50e+1");
  EXPECT_EQ(TextOf(R"({"a":true})", "a"), "true");
  EXPECT_EQ(TextOf(R"({"a":null})", "a"), std::nullopt);
  EXPECT_EQ(TextOf(R"({"b":1})", "a"), std::nullopt);
  EXPECT_EQ(TextOf("{}", "a"), std::nullopt);
  EXPECT_EQ(TextOf(R"(["a"])", "a"), std::nullopt);
  EXPECT_EQ(TextOf(R"({"a":{"b":{"c":"x"}}})", "a.b.c"), "x");
  EXPECT_EQ(TextOf(R"({"a":7})", "a.b"), std::nullopt);
  EXPECT_EQ(TextOf(R"({"a":"x"})", ""), std::nullopt);
}

TEST(FieldScan, OfFieldsOfOneNameTheLastCounts) {
  EXPECT_EQ(TextOf(R"({"a":"x","\u0061":"y"})", "a"), "y");
  EXPECT_EQ(TextOf(R"({"a":"x","a":null})", "a"), std::nullopt);
  EXPECT_TRUE(Scan(R"({"a":"x","a":[1]})", "a").found.is_composite);
  EXPECT_FALSE(Scan(R"({"a":[1],"a":"x"})", "a").found.is_composite);
  EXPECT_EQ(TextOf(R"({"a":{"b":"x"},"a":{}})", "a.b"), std::nullopt);
}

TEST(FieldScan, ADocumentIsOneToTheLastLetter) {
  for (const char* path : {"", "a", "a.b"}) {
    for (const char* wrong : {"", "{", "{}}", "{} {}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{\"a\":01}",
                              "{\"a\":tru}", "{\"a\":\"x}", "{\"a\":{\"b\":1}", "{\"a\":{\"b\"}}", "{\"a\":{,}}",
                              "{\"a\":\"\\x\"}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\n\"}"}) {
      EXPECT_TRUE(Scan(wrong, path).problem) << path << " of " << wrong;
    }
    EXPECT_EQ(Scan("{\"a\":\"\xff\"}", path).problem->reason, "bad_utf8");
    EXPECT_EQ(Scan("{\"\xc3\":1}", path).problem->reason, "bad_utf8");
    const std::string deep = "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
    EXPECT_EQ(Scan(deep, path).problem->reason, "too_deep");
  }
  EXPECT_THAT(Scan("{\"a\":1 2}", "a").problem->detail, HasSubstr("at byte 7"));
  EXPECT_TRUE(Scan("{\"a\":1}", "a").found.is_object);
  EXPECT_FALSE(Scan("17", "a").found.is_object);
}

}  // namespace
}  // namespace millrace::ingest
