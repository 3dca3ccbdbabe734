#include "ingest/raw/raw_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ingest/decoder_testing_internal.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const ColumnSpec kText{.name = "payload", .type = arrow::utf8()};

TEST(RawDecoder, ThePayloadIsTheColumn) {
  const auto decoder = EventDecoder::Make({.format = "raw", .columns = {kText}}).ValueOrDie();
  const Decoded decoded = DecodeAll(*decoder, {"{\"a\": 1}\n", "", "\xFF\xFEx", "\xC3\xA9"});
  EXPECT_THAT(RowTexts(*decoded.rows, 1), ElementsAre("'{\"a\": 1}\n'", "''", "'\xC3\xA9'"));
  ASSERT_EQ(decoded.dead_letters.size(), 1);
  EXPECT_EQ(decoded.dead_letters[0].reason, "bad_utf8");
  EXPECT_EQ(decoded.dead_letters[0].detail, "not UTF-8; it looks like UTF-16 text");
}

TEST(RawDecoder, BinaryIsWhateverItIs) {
  const auto decoder =
      EventDecoder::Make({.format = "raw", .columns = {{.name = "payload", .type = arrow::binary()}}}).ValueOrDie();
  const Decoded decoded = DecodeAll(*decoder, {"a", "", "\xFF\xFEx"});
  EXPECT_THAT(RowTexts(*decoded.rows, 1), ElementsAre("x61", "x", "xfffe78"));
}

TEST(RawDecoder, AnythingButOneTextIsRefused) {
  const DecodeSpec refused[] = {
      {.format = "raw", .columns = {}},
      {.format = "raw", .columns = {kText, {.name = "b", .type = arrow::utf8()}}},
      {.format = "raw", .columns = {{.name = "n", .type = arrow::int64()}}},
      {.format = "raw", .columns = {{.name = "n", .type = arrow::utf8(), .form = OfText(TextForm::kJson)}}},
      {.format = "raw", .columns = {{.name = "n", .type = arrow::utf8(), .path = {"a", "b"}}}},
      {.format = "raw", .columns = {kText}, .unknown_fields = UnknownFields::kReject},
  };
  for (const DecodeSpec& spec : refused) {
    const auto made = EventDecoder::Make(spec);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
    EXPECT_THAT(made.status().message(), HasSubstr("raw"));
  }
}

}  // namespace
}  // namespace millrace::ingest
