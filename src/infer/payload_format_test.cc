// What payloads are told to be, and which lines are CSV.
#include "infer/payload_format.h"

#include <gtest/gtest.h>

namespace millrace::infer {
namespace {

using namespace std::string_literals;

Sample PayloadsOf(const std::vector<std::string>& payloads) {
  Sample sample;
  for (const auto& payload : payloads) {
    sample.records.push_back({.payload = payload, .offset = std::ssize(sample.records)});
  }
  return sample;
}

TEST(PayloadShape, IsToldByThePayloadAlone) {
  const std::pair<std::string, PayloadShape> cases[] = {
      {"", PayloadShape::kEmpty},
      {R"({"a": 1})", PayloadShape::kJsonObject},
      {" \n{\"a\": 1}\n", PayloadShape::kJsonObject},
      {"[{\"a\": 1}]", PayloadShape::kJsonArray},
      {"{\"a\": 1}\n{\"a\": 2}\n", PayloadShape::kJsonLines},
      {R"({"wei": 12345678901234567890123})", PayloadShape::kJsonObject},  // JSON has no largest number.
      {R"({"x": [1e400, -1e400, 1e-400]})", PayloadShape::kJsonObject},
      {"[{\"wei\": 12345678901234567890123}]", PayloadShape::kJsonArray},
      {"{\"wei\": 12345678901234567890123}\n{\"x\": 1e400}\n", PayloadShape::kJsonLines},
      {"\0\0\0\0\7{\"wei\":12345678901234567890123}"s, PayloadShape::kConfluentJson},
      {R"({"a": 01})", PayloadShape::kText},
      {R"({"a": 1} 2)", PayloadShape::kText},
      {"{\"a\": 1", PayloadShape::kText},  // Cut off.
      {"[not json", PayloadShape::kText},
      {"a,b", PayloadShape::kText},
      {"\0\0\0\0\7\2x"s, PayloadShape::kConfluent},
      {"\0\0\0\0\7{\"a\":1}"s, PayloadShape::kConfluentJson},
      {"\xC3\x01 12345678"s, PayloadShape::kSingleObject},
      {"Obj\x01..."s, PayloadShape::kContainer},
      {"\x1F\x8B..."s, PayloadShape::kGzip},
      {"\x28\xB5\x2F\xFD..."s, PayloadShape::kZstd},
      {"\x01\x02\x03"s, PayloadShape::kBinary},
      {"caf\xE9"s, PayloadShape::kBinary},  // Latin-1.
  };
  for (const auto& [payload, shape] : cases) EXPECT_EQ(ShapeOf(payload), shape) << payload;
}

TEST(PayloadShape, OfASampleIsTheMostFrequent) {
  const auto shapes = ShapesOf(PayloadsOf({"{}", "{}", "x", "\0\0\0\1\2ab"s, "\0\0\0\1\2cd"s, "\0\0\0\0\3ef"s}));
  EXPECT_EQ(shapes.most(), PayloadShape::kConfluent);
  EXPECT_EQ(shapes.schema_ids, (std::vector<std::uint32_t>{258, 3}));
  EXPECT_EQ(ShapesOf({}).most(), PayloadShape::kEmpty);
}

TEST(Csv, FieldsAreSplitAsTheDecoderSplitsThem) {
  EXPECT_EQ(SplitCsv("a,b,c\r\n", ','), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(SplitCsv(R"("a,b","say ""hi""",)", ','), (std::vector<std::string>{"a,b", "say \"hi\"", ""}));
  EXPECT_EQ(SplitCsv("a\"b\tc", '\t'), (std::vector<std::string>{"a\"b", "c"}));
}

TEST(Csv, DelimiterIsTheOneThatCutsAllLinesAlike) {
  CsvShape shape;
  ASSERT_TRUE(GuessCsv(PayloadsOf({"1;2,5;a", "2;3,5;b", "3;4;c"}), &shape));
  EXPECT_EQ(shape.delimiter, ';');
  EXPECT_EQ(shape.num_fields, 3U);
  EXPECT_TRUE(shape.header.empty());
  CsvShape tabs;
  ASSERT_TRUE(GuessCsv(PayloadsOf({"1\ta,b", "2\tc,d"}), &tabs));
  EXPECT_EQ(tabs.delimiter, '\t');
  CsvShape prose;
  EXPECT_FALSE(GuessCsv(PayloadsOf({"Well, that is text", "and so is this", "and, this, too"}), &prose));
  EXPECT_FALSE(GuessCsv(PayloadsOf({"took 5 ms, done", "took 7 ms, done"}), &prose));
  EXPECT_FALSE(GuessCsv(PayloadsOf({"a,b\nc,d", "e,f\ng,h"}), &prose));
}

TEST(Csv, AHeaderHasTextsWhereOtherLinesHaveValues) {
  CsvShape shape;
  ASSERT_TRUE(GuessCsv(PayloadsOf({"sym,px\n", "A,1.5\n", "B,2.5\n"}), &shape));
  EXPECT_EQ(shape.header, (std::vector<std::string>{"sym", "px"}));
  EXPECT_TRUE(IsHeader("sym,px\r\n", shape));
  EXPECT_FALSE(IsHeader("A,1.5", shape));
  // Only texts: a header cannot be told from a row. Nor is there one that has a number in it.
  for (const auto& lines :
       {std::vector<std::string>{"name,city", "Ann,Rome", "Bob,Oslo"}, {"A,1.5", "B,2.5"}, {"sym,px"}}) {
    CsvShape none;
    ASSERT_TRUE(GuessCsv(PayloadsOf(lines), &none));
    EXPECT_TRUE(none.header.empty()) << lines.front();
  }
}

TEST(Csv, EachPartitionMayHaveItsHeader) {
  auto sample = PayloadsOf({"sym,px", "A,1", "sym,px", "B,2"});
  sample.records[2].partition = sample.records[3].partition = 1;
  CsvShape shape;
  ASSERT_TRUE(GuessCsv(sample, &shape));
  EXPECT_EQ(shape.header_line, "sym,px");
}

}  // namespace
}  // namespace millrace::infer
