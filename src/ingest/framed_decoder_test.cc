// JSON behind a registry's id: what is not framed so is a dead letter that says what it looks like.
#include "ingest/framed_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ingest/decoder_testing_internal.h"
#include "ingest/event_decoder.h"

namespace millrace::ingest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::string_literals;

TEST(FramedDecoder, ReadsJsonBehindAnId) {
  const DecodeSpec spec{.columns = {{.name = "a", .type = arrow::int64()}}, .framing = Framing::kConfluent};
  const auto decoder = EventDecoder::Make(spec).ValueOrDie();
  const Decoded decoded = DecodeAll(*decoder, {"\0\0\0\0\7{\"a\":1}"s, R"({"a":2})", "\0\0\0\0\7{\"a\":"s,
                                               "\0\0\0\0\x8{\"a\":3}"s, "", "\0\0\0\0"s, "\0\0\0\0\7"s});
  ASSERT_EQ(decoded.rows->num_rows(), 2);
  EXPECT_EQ(CellText(*decoded.rows->column(0), 0), "1");
  EXPECT_EQ(CellText(*decoded.rows->column(0), 1), "3");
  std::vector<std::string> letters;
  for (const auto& letter : decoded.dead_letters)
    letters.push_back(std::to_string(letter.offset) + " " + letter.reason);
  EXPECT_THAT(letters, ElementsAre("1 bad_framing", "2 bad_json", "4 bad_framing", "5 bad_framing", "6 empty_payload"));
  EXPECT_EQ(decoded.dead_letters[0].detail,
            "confluent framing begins with 00 and has 5 bytes; the payload of 7 bytes begins with 7B");
  EXPECT_THAT(decoded.dead_letters[2].detail, HasSubstr("0 bytes begins with nothing"));
}

TEST(FramedDecoder, FindsTheId) {
  EXPECT_EQ(ConfluentId("\0\x12\x34\x56\x78"s), 0x12345678u);
  EXPECT_EQ(ConfluentId("\0\xFF\xFF\xFF\xFFx"s), 0xFFFFFFFFu);
  EXPECT_EQ(ConfluentId("\1\0\0\0\0"s), std::nullopt);
  EXPECT_EQ(ConfluentId("\0\0\0\0"s), std::nullopt);
}

}  // namespace
}  // namespace millrace::ingest
