// Settling a fleet's truth with what a lake holds: silent when each event is where it should be, and each way in which
// one is not is told. Method: relations written by hand, and truth files that are none.
#include "pipeline/truth_audit.h"

#include <arrow/io/file.h>
#include <arrow/table.h>
#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "model/truth.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

std::string Id(int number) { return fmt::format("00000000-0000-4000-a000-{:012}", number); }

/// What a simulator said, and what a lake holds.
class SettleTest : public ::testing::Test {
 protected:
  // One of `id` that was sent; `ahead_s`: how far its time is ahead. `bytes`: as the truth keeps them; empty: it does
  // not.
  void Sent(int id, const std::string& fate = "valid", const std::string& outcome = "acknowledged",
            const std::string& bytes = "", std::int64_t ahead_s = 0) {
    Append(truth_, fmt::format(R"([{}, "{}", "d", {}, 1000000, 0, {}, "{}", null, null, null, "{}", null, "{}", {}])",
                               count_++, Id(id), 1'000'000 + ahead_s * 1'000'000, ahead_s * 1'000'000, fate, outcome,
                               delivery_, bytes.empty() ? "null" : '"' + bytes + '"'));
  }
  // Of what is Sent() from here on.
  void MayBeTakenTwice() { delivery_ = "at_least_once"; }
  void Stored(const std::string& id) { Append(rows_, fmt::format(R"(["{}"])", id)); }
  void Stored(int id) { Stored(Id(id)); }
  void Letter(int offset, const std::string& bytes) {
    Append(letters_, fmt::format(R"([0, {}, "{}"])", offset, bytes));
  }

  TruthFound Settle(const TruthRule& rule = {.max_future = 5min}) {
    auto session = sql::SqlSession::Make().ValueOrDie();
    Register(*session, "truth", model::TruthSchema(), truth_);
    Register(*session, "stored", arrow::schema({arrow::field("event_id", arrow::utf8())}), rows_);
    Register(*session, "letters",
             arrow::schema({arrow::field("partition", arrow::int32()), arrow::field("offset", arrow::int64()),
                            arrow::field("payload", arrow::binary())}),
             letters_);
    auto found = SettleRows(*session, rule);
    EXPECT_TRUE(found.ok()) << found.status().ToString();
    return *found;
  }

  static void ExpectSettled(const TruthFound& found) {
    EXPECT_EQ(found.missing_rows, 0);
    EXPECT_EQ(found.surplus_rows, 0);
    EXPECT_EQ(found.missing_letters, 0);
    EXPECT_EQ(found.surplus_letters, 0);
  }

 private:
  static void Append(std::string& list, const std::string& item) { list += (list.empty() ? "" : ",") + item; }
  static void Register(sql::SqlSession& session, const std::string& name, std::shared_ptr<arrow::Schema> schema,
                       const std::string& list) {
    auto batch = testing::BatchFromJson(schema, "[" + list + "]");
    MILLRACE_ASSERT_OK(session.Register(name, std::move(schema), {std::move(batch)}));
  }

  std::string truth_, rows_, letters_;
  std::string delivery_ = "once";
  int count_ = 0;
};

TEST_F(SettleTest, NothingIsSettled) { ExpectSettled(Settle()); }

TEST_F(SettleTest, EachWhereItShouldBe) {
  Sent(1);
  Sent(2);
  Sent(2, "duplicate");
  Sent(3, "malformed", "acknowledged", "{");
  Sent(3, "duplicate");
  Sent(4, "malformed", "acknowledged", "<html>");
  Sent(5, "malformed", "acknowledged", "<html>");
  Sent(6, "valid", "acknowledged", "years ahead", 1'000'000);
  Sent(7, "valid", "refused");
  for (const int id : {1, 2, 2, 3}) Stored(id);
  Letter(3, "{");
  Letter(5, "<html>");
  Letter(6, "<html>");
  Letter(6, "<html>");  // Of a second stage: one record.
  Letter(7, "years ahead");
  const auto found = Settle();
  ExpectSettled(found);
  EXPECT_EQ(found.rows, 4);
  EXPECT_EQ(found.letters_of_malformed, 3);
  EXPECT_EQ(found.letters_of_future, 1);
  EXPECT_EQ(found.repeats_left_out, 0);
}

TEST_F(SettleTest, WithDedupeOneIsEnoughAndMoreIsTooMuch) {
  Sent(1);
  Sent(1, "duplicate");
  Stored(1);
  const TruthRule rule{.dedupes = true, .max_future = 5min};
  const auto found = Settle(rule);
  ExpectSettled(found);
  EXPECT_EQ(found.repeats_left_out, 1);
  EXPECT_EQ(Settle().missing_rows, 1) << "without it both must be there";
  Stored(1);
  EXPECT_EQ(Settle(rule).surplus_rows, 1);
  ExpectSettled(Settle());
}

TEST_F(SettleTest, WhatIsMissingIsTold) {
  Sent(1);
  Sent(2, "malformed", "acknowledged", "{");
  const auto found = Settle();
  EXPECT_EQ(found.missing_rows, 1);
  EXPECT_EQ(found.missing_letters, 1);
  EXPECT_EQ(found.surplus_rows + found.surplus_letters, 0);
}

TEST_F(SettleTest, WhatIsTooMuchIsTold) {
  Sent(1);
  Sent(2, "malformed", "acknowledged", "{");
  Sent(3, "valid", "refused");
  for (const int id : {1, 1, 2, 3, 4}) Stored(id);  // Twice; malformed; refused; never sent.
  Stored("not an id");
  Letter(1, "{");
  Letter(2, "{");
  Letter(3, "never sent");
  const auto found = Settle();
  EXPECT_EQ(found.surplus_rows, 5);
  EXPECT_EQ(found.surplus_letters, 2);
  EXPECT_EQ(found.missing_rows + found.missing_letters, 0);
}

TEST_F(SettleTest, OfTheUnknownEitherIsRight) {
  Sent(1, "valid", "unknown");
  Sent(2, "malformed", "unknown", "{");
  ExpectSettled(Settle());
  Stored(1);
  Letter(1, "{");
  ExpectSettled(Settle());
  Stored(1);
  Letter(2, "{");
  EXPECT_EQ(Settle().surplus_rows, 1);
  EXPECT_EQ(Settle().surplus_letters, 1);
}

TEST_F(SettleTest, OnlyAClockThatIsFarAheadExcusesALetter) {
  Sent(1, "valid", "acknowledged", "four minutes", 240);
  Letter(1, "four minutes");
  const auto found = Settle();
  EXPECT_EQ(found.missing_rows, 1);
  EXPECT_EQ(found.surplus_letters, 1);
  ExpectSettled(Settle({.max_future = 3min}));
  // A table without an event time takes any.
  EXPECT_EQ(Settle({}).surplus_letters, 1);
  Stored(1);
  EXPECT_EQ(Settle({.max_future = 3min}).surplus_rows, 1) << "in the table and in the letters";
}

TEST_F(SettleTest, TwoFutureEventsOfOneIdHaveALetterEach) {
  Sent(1, "valid", "acknowledged", "years ahead", 1'000'000);
  Sent(1, "valid", "acknowledged", "more years ahead", 2'000'000);
  Letter(1, "years ahead");
  EXPECT_EQ(Settle().missing_rows, 1);
  Letter(2, "more years ahead");
  ExpectSettled(Settle());
}

TEST_F(SettleTest, AFutureEventThatCameTwiceHasTwoLetters) {
  Sent(1, "valid", "acknowledged", "years ahead", 1'000'000);
  Sent(1, "duplicate", "acknowledged", "years ahead", 1'000'000);
  Letter(1, "years ahead");
  EXPECT_EQ(Settle().missing_rows, 1);
  Letter(2, "years ahead");
  ExpectSettled(Settle());
  ExpectSettled(Settle({.dedupes = true, .max_future = 5min}));
}

TEST_F(SettleTest, WhatMayBeTakenTwiceIsCountedAndNoMistake) {
  MayBeTakenTwice();
  Sent(1);
  Sent(2);
  Sent(2, "duplicate");
  Sent(3, "malformed", "acknowledged", "{");
  Sent(4, "valid", "acknowledged", "years ahead", 1'000'000);
  for (const int id : {1, 1, 1, 2, 2}) Stored(id);
  for (const int offset : {1, 2, 3}) Letter(offset, "{");
  for (const int offset : {4, 5}) Letter(offset, "years ahead");
  const auto found = Settle();
  ExpectSettled(found);
  EXPECT_EQ(found.rows, 3);
  EXPECT_EQ(found.letters_of_malformed, 1);
  EXPECT_EQ(found.taken_twice, 2 + 2 + 1);
  const TruthRule rule{.dedupes = true, .max_future = 5min};
  EXPECT_EQ(Settle(rule).surplus_rows, 3) << "dedupe makes them one";
  EXPECT_EQ(Settle(rule).taken_twice, 2 + 1) << "but not letters";
}

TEST_F(SettleTest, OnlyWhatWasTakenCanHaveBeenTakenTwice) {
  MayBeTakenTwice();
  Sent(1, "valid", "refused");
  Sent(2, "malformed", "refused", "{");
  Sent(3, "malformed", "acknowledged", "<html>");
  Sent(4);
  for (const int id : {1, 3, 5}) Stored(id);  // Refused; malformed; never sent.
  Letter(1, "{");
  Letter(2, "never sent");
  const auto found = Settle();
  EXPECT_EQ(found.surplus_rows, 3);
  EXPECT_EQ(found.surplus_letters, 2);
  EXPECT_EQ(found.missing_rows, 1);
  EXPECT_EQ(found.missing_letters, 1);
  EXPECT_EQ(found.taken_twice, 0);
}

class TruthFilesTest : public ::testing::Test {
 protected:
  ~TruthFilesTest() override { std::filesystem::remove_all(folder_); }

  std::string WriteTruth(const std::shared_ptr<arrow::Schema>& schema, const std::string& rows,
                         const std::optional<std::string>& topic) {
    const std::string path = folder_ / "truth.parquet";
    const auto file = arrow::io::FileOutputStream::Open(path).ValueOrDie();
    auto writer = parquet::arrow::FileWriter::Open(*schema, arrow::default_memory_pool(), file).ValueOrDie();
    if (topic) {
      const auto metadata = arrow::key_value_metadata({std::string(model::kTruthTopic)}, {*topic});
      EXPECT_TRUE(writer->AddKeyValueMetadata(metadata).ok());
    }
    EXPECT_TRUE(writer->WriteRecordBatch(*testing::BatchFromJson(schema, rows)).ok());
    EXPECT_TRUE(writer->Close().ok());
    EXPECT_TRUE(file->Close().ok());
    return path;
  }
  Status Audited(const std::string& path) {
    return AuditTruth(pipeline_.plan(), pipeline_.lake(), {}, {path}).status();
  }

  TestPipeline pipeline_;
  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("millrace-truths-" + std::to_string(::getpid()));
  const bool is_made_ = std::filesystem::create_directories(folder_);
};

TEST_F(TruthFilesTest, WhatIsNoTruthIsRefusedByName) {
  const auto refused = [&](const std::string& path, const std::string& why) {
    const Status status = Audited(path);
    EXPECT_EQ(KindOf(status), ErrorKind::kInvalidInput) << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(why));
    EXPECT_THAT(status.message(), HasSubstr(path));
  };
  refused(folder_ / "none.parquet", "the file cannot be read");
  const std::string text = folder_ / "text";
  std::ofstream(text) << "no parquet at all, and long enough";
  refused(text, "is no truth of 'millrace simulate --truth'");
  refused(WriteTruth(arrow::schema({arrow::field("x", arrow::int64())}), "[[1]]", "events"), "it has other columns");
  refused(WriteTruth(model::TruthSchema(), "[]", std::nullopt), "went to a file, not to a topic");
  refused(WriteTruth(model::TruthSchema(), "[]", "elsewhere"),
          "no table with a column event_id reads the topic 'elsewhere'");
  refused(WriteTruth(model::TruthSchema(), "[]", "events"), "no table with a column event_id reads the topic 'events'");
}

}  // namespace
}  // namespace millrace::pipeline
