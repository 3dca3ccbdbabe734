// What is the same for every format. Method: a decoder of one text column that refuses what it is told to.
#include "ingest/event_decoder.h"

#include <arrow/array/builder_binary.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ingest/decoder_testing_internal.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const DecodeSpec kText = {.columns = {{.name = "text", .type = arrow::utf8()}}};

// Each document is a row, unless it begins with "no".
class TextDecoder final : public Decoder {
 public:
  Result<DecodedDocuments> Decode(std::span<const Document> documents) override {
    DecodedDocuments decoded;
    arrow::StringBuilder text;
    for (std::size_t i = 0; i < documents.size(); ++i) {
      if (documents[i].bytes.starts_with("no")) {
        decoded.refused.push_back({i, "no", "it says no"});
      } else {
        RETURN_NOT_OK(text.Append(documents[i].bytes));
      }
    }
    if (loses_a_row_) decoded.refused.clear();
    ASSIGN_OR_RETURN(auto column, text.Finish());
    decoded.rows = arrow::RecordBatch::Make(DecodedSchema(kText), column->length(), {column});
    return decoded;
  }

  bool loses_a_row_ = false;
};

class Fetch {
 public:
  explicit Fetch(model::TopicPartition source) { fetched_.source = std::move(source); }

  /// At offset 100, 110, ... with timestamp 1000, 1001, ...; nullopt: a tombstone.
  Fetch& Add(std::optional<std::string> payload) {
    model::RawRecord& record = fetched_.records.emplace_back();
    record.offset = 90 + 10 * std::ssize(fetched_.records);
    record.timestamp = 999 + std::ssize(fetched_.records);
    if (payload) record.payload = payloads_.emplace_back(*std::move(payload));
    return *this;
  }
  const model::FetchedRecords& fetched() const { return fetched_; }

 private:
  model::FetchedRecords fetched_;
  std::deque<std::string> payloads_;
};

std::vector<std::string> LetterTexts(const Decoded& decoded) {
  std::vector<std::string> texts;
  for (const model::DeadLetter& letter : decoded.dead_letters) {
    texts.push_back(
        fmt::format("{}@{}: {}, {}", model::ToString(letter.source), letter.offset, letter.reason, letter.detail));
    EXPECT_EQ(letter.stage, "decode");
  }
  return texts;
}

TEST(EventDecoder, RecordsAddUpAndKeepTheirPlace) {
  EventDecoder decoder(kText, std::make_unique<TextDecoder>(), nullptr, RecordColumns::Make(kText).ValueOrDie());
  for (const model::TopicPartition& source : {model::TopicPartition{"clicks", 7}, {"clicks", 8}, {"views", 8}}) {
    Fetch records(source);
    records.Add("a").Add("no").Add(std::nullopt).Add("").Add("nor this").Add("b");
    MILLRACE_ASSERT_OK_AND_ASSIGN(const Decoded decoded, decoder.Decode(records.fetched()));
    EXPECT_EQ(decoded.tombstones, 1);
    const std::string name = model::ToString(source);
    EXPECT_THAT(LetterTexts(decoded), ElementsAre(name + "@110: no, it says no", name + "@140: no, it says no"));
    EXPECT_EQ(decoded.dead_letters[1].payload, "nor this");
    MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
    EXPECT_TRUE(decoded.rows->schema()->Equals(*EventSchema(kText)));
    const std::string from = fmt::format("|'{}'|{}|", source.topic, source.partition);
    EXPECT_THAT(RowTexts(*decoded.rows, 5),
                ElementsAre("'a'" + from + "100|1000", "''" + from + "130|1003", "'b'" + from + "150|1005"));
  }
}

TEST(EventDecoder, BatchesOfAnySizeFollowEachOther) {
  EventDecoder decoder(kText, std::make_unique<TextDecoder>(), nullptr, RecordColumns::Make(kText).ValueOrDie());
  std::vector<std::shared_ptr<arrow::RecordBatch>> kept;
  for (const int size : {0, 3, 1, 0, 40, 7}) {
    Fetch records({"t", 1});
    for (int i = 0; i < size; ++i) records.Add(std::to_string(i));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const Decoded decoded, decoder.Decode(records.fetched()));
    ASSERT_EQ(decoded.rows->num_rows(), size);
    kept.push_back(decoded.rows);
  }
  // What they share is never written again.
  for (const auto& rows : kept) {
    MILLRACE_ASSERT_OK(rows->ValidateFull());
    const auto texts = RowTexts(*rows, 5);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(texts[i], fmt::format("'{}'|'t'|1|{}|{}", i, 100 + 10 * i, 1000 + i));
    }
  }
}

TEST(EventDecoder, PayloadsThatAreTooLargeNeverReachTheFormat) {
  EventDecoder decoder(kText, std::make_unique<TextDecoder>(), nullptr, RecordColumns::Make(kText).ValueOrDie());
  Fetch records({"t", 0});
  records.Add("no").Add(std::string(kMaxPayloadBytes + 1, 'x')).Add("no").Add(std::string(kMaxPayloadBytes, 'x'));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const Decoded decoded, decoder.Decode(records.fetched()));
  EXPECT_EQ(decoded.rows->num_rows(), 1);
  EXPECT_THAT(
      LetterTexts(decoded),
      ElementsAre("t[0]@100: no, it says no", "t[0]@110: too_large, the payload has 16777217 bytes, more than 16777216",
                  "t[0]@120: no, it says no"));
  EXPECT_EQ(decoded.dead_letters[1].payload.size(), kMaxPayloadBytes + 1);
}

TEST(EventDecoder, ABatchIsWhatOneColumnHolds) {
  EventDecoder decoder(kText, std::make_unique<TextDecoder>(), nullptr, RecordColumns::Make(kText).ValueOrDie());
  const std::string payload(kMaxPayloadBytes, 'x');
  model::FetchedRecords records;
  records.source = {"clicks", 3};
  for (int i = 0; i < 128; ++i) records.records.emplace_back().payload = payload;
  const auto decoded = decoder.Decode(records);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, decoded);
  EXPECT_THAT(decoded.status().message(), HasSubstr("2147483648 bytes of payload in one batch of clicks[3]"));
}

TEST(EventDecoderDeathTest, ADecoderThatLosesADocumentIsADefectAndAborts) {
  auto losing = std::make_unique<TextDecoder>();
  losing->loses_a_row_ = true;
  EventDecoder decoder(kText, std::move(losing), nullptr, RecordColumns::Make(kText).ValueOrDie());
  Fetch records({"t", 0});
  records.Add("a").Add("no");
  EXPECT_DEATH(static_cast<void>(decoder.Decode(records.fetched())), "1 rows of 2 documents");
}

}  // namespace
}  // namespace millrace::ingest
