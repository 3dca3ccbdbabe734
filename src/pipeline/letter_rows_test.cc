// Dead letters in a table with columns of its own: what they hold, and that none is lost for them.
#include "pipeline/letter_rows.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/util/base64.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "model/dead_letters.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::ElementsAre;

ingest::ColumnSpec Column(const std::string& name, std::shared_ptr<arrow::DataType> type = arrow::utf8()) {
  return {.name = name, .type = std::move(type), .path = {name}};
}

// Those of kafka-delta-ingest, and some that are computed.
config::LetterColumns Columns(std::vector<ingest::ComputedField> computed) {
  return {.columns = {Column("base64_bytes"), Column("json_string"), Column("error"), Column("date"),
                      Column("n", arrow::int64())},
          .computed = std::move(computed),
          .partition_by = {}};
}

model::DeadLetter Letter(std::string payload) {
  return {.source = {"t", 3},
          .offset = 7,
          .timestamp = 1'772'366'400'000'000,
          .payload = std::move(payload),
          .stage = "decode",
          .reason = "bad_json",
          .detail = "at \"byte\" 1"};
}

std::vector<std::string> Texts(const arrow::RecordBatch& rows, const std::string& column) {
  std::vector<std::string> texts;
  for (std::int64_t i = 0; i < rows.num_rows(); ++i) {
    const auto value = rows.GetColumnByName(column)->GetScalar(i).ValueOrDie();
    texts.push_back(value->is_valid ? value->ToString() : "null");
  }
  return texts;
}

TEST(LetterRows, AreOursWhereTheTableIs) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto rows, LetterRows::Make({}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto batch, rows.Of(std::vector{Letter("{")}));
  EXPECT_TRUE(batch->schema()->Equals(*model::DeadLetterSchema()));
}

TEST(LetterRows, HaveThePayloadAsTextOrInBase64) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      auto rows, LetterRows::Make(Columns(
                     {{{"date"}, "substr(epoch_micros_to_iso8601(timestamp), `0`, `10`)"}, {{"n"}, "offset"}})));
  const std::string bytes("\x00\xFF{", 3);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto batch,
                                rows.Of(std::vector{Letter(R"({"a": "é"})"), Letter(bytes), Letter("")}));
  EXPECT_THAT(Texts(*batch, "json_string"), ElementsAre(R"({"a": "é"})", "null", "null"));
  EXPECT_THAT(Texts(*batch, "base64_bytes"), ElementsAre("null", arrow::util::base64_encode(bytes), ""));
  EXPECT_THAT(Texts(*batch, "error"), ::testing::Each("bad_json: at \"byte\" 1"));
  EXPECT_THAT(Texts(*batch, "date"), ::testing::Each("2026-03-01"));
  EXPECT_THAT(Texts(*batch, "n"), ::testing::Each("7"));
  EXPECT_THAT(Texts(*batch, "topic"), ::testing::Each("t"));
  EXPECT_THAT(Texts(*batch, "reason"), ::testing::Each("bad_json"));
  MILLRACE_ASSERT_OK(batch->ValidateFull());
}

TEST(LetterRows, APayloadThatIsTooLongIsInOurColumnAlone) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto rows, LetterRows::Make(Columns({})));
  const std::string long_text = "\"" + std::string(kLetterTextMax - 2, 'x') + "\"";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto batch,
                                rows.Of(std::vector{Letter(long_text), Letter(long_text + " "), Letter("{")}));
  EXPECT_EQ(Texts(*batch, "json_string")[0], long_text);
  EXPECT_THAT(Texts(*batch, "json_string")[1], "null");
  EXPECT_THAT(Texts(*batch, "base64_bytes"), ElementsAre("null", "null", "ew=="));
  const auto& payloads = static_cast<const arrow::BinaryArray&>(*batch->GetColumnByName("payload"));
  EXPECT_EQ(payloads.GetView(1), long_text + " ");
}

// The second letter's expression fails, and so does the type of the third's; the others have theirs all the same.
TEST(LetterRows, NoneIsLostForAnExpressionThatFails) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      auto rows, LetterRows::Make(Columns({{{"date"}, "substr(json_string, `1`, `2`)"},
                                           {{"n"}, "json_string == '\"text\"' && 'no number' || offset"}})));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto batch,
                                rows.Of(std::vector{Letter("12345"), Letter("{"), Letter("\"text\""), Letter("678")}));
  EXPECT_THAT(Texts(*batch, "date"), ElementsAre("23", "null", "null", "78"));
  EXPECT_THAT(Texts(*batch, "n"), ElementsAre("7", "null", "null", "7"));
  EXPECT_THAT(Texts(*batch, "json_string"), ElementsAre("12345", "null", "\"text\"", "678"));
  EXPECT_THAT(Texts(*batch, "base64_bytes")[1], "ew==");
  EXPECT_EQ(batch->num_rows(), 4);
}

TEST(LetterRows, NorForAColumnThatCannotHoldWhatItShould) {
  config::LetterColumns columns = Columns({});
  columns.columns[2] = Column("error", arrow::int64());
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto rows, LetterRows::Make(columns));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto batch, rows.Of(std::vector{Letter("1"), Letter("2")}));
  EXPECT_THAT(Texts(*batch, "error"), ElementsAre("null", "null"));
  EXPECT_THAT(Texts(*batch, "offset"), ElementsAre("7", "7"));
}

TEST(LetterRows, AWrongExpressionIsToldWhenTheyAreMade) {
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, LetterRows::Make(Columns({{{"date"}, "substr("}})).status());
}

}  // namespace
}  // namespace millrace::pipeline
