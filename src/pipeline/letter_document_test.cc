// Goal: the counts are of all letters, the samples are the newest with their bytes as they came, within their bounds.
#include "pipeline/letter_document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <vector>

#include "delta/data/data_file.h"
#include "model/dead_letters.h"
#include "objectstore/object_store.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;

class LetterDocumentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(::testing::TempDir()) / ("letter_document_" + std::to_string(::getpid()) + "_" +
                                                       ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore(folder_.string()));
    delta::CreateOptions options;
    options.schema = model::DeadLetterSchema();
    MILLRACE_ASSERT_OK_AND_ASSIGN(table_, delta::Table::OpenOrCreate(store_, options));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static model::DeadLetter Letter(model::Offset offset, UnixMicros seconds, std::string reason, std::string payload) {
    model::DeadLetter letter;
    letter.source = {"clicks", 0};
    letter.offset = offset;
    letter.timestamp = seconds * 1'000'000;
    letter.stage = "decode";
    letter.reason = std::move(reason);
    letter.payload = std::move(payload);
    return letter;
  }
  void Commit(const std::vector<model::DeadLetter>& letters) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto writer, delta::DataFileWriter::Make(store_, model::DeadLetterSchema(), {}));
    MILLRACE_ASSERT_OK(writer->Append(*model::ToRecordBatch(letters)));
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto file, writer->Finish());
    delta::CommitRequest request;
    request.adds = {file};
    MILLRACE_ASSERT_OK(table_->Commit(request));
  }
  json::object Document(const std::string& reason, std::int64_t limit) {
    return LettersDocument(*table_, reason, limit, {}).ValueOrDie();
  }
  static std::vector<std::int64_t> OffsetsOf(const json::object& document) {
    std::vector<std::int64_t> offsets;
    for (const auto& sample : document.at("samples").as_array()) offsets.push_back(sample.at("offset").as_int64());
    return offsets;
  }

  std::filesystem::path folder_;
  std::shared_ptr<objectstore::ObjectStore> store_;
  std::shared_ptr<delta::Table> table_;
};

TEST_F(LetterDocumentTest, WithoutLettersThereIsNothing) {
  EXPECT_EQ(json::serialize(Document("", 10)), R"({"version":0,"letters":0,"reasons":[],"samples":[]})");
}

TEST_F(LetterDocumentTest, CountsAllAndShowsTheNewest) {
  Commit({Letter(1, 10, "bad_json", "{"), Letter(2, 30, "no_time", "a"), Letter(3, 20, "bad_json", "\xff{")});
  Commit({Letter(4, 20, "bad_json", "b"), Letter(5, 5, "bad_json", "c")});
  const auto all = Document("", 3);
  EXPECT_EQ(all.at("letters"), 5);
  EXPECT_EQ(json::serialize(all.at("reasons")),
            R"([{"stage":"decode","reason":"bad_json","letters":4,"first":"1970-01-01T00:00:05Z",)"
            R"("last":"1970-01-01T00:00:20Z"},{"stage":"decode","reason":"no_time","letters":1,)"
            R"("first":"1970-01-01T00:00:30Z","last":"1970-01-01T00:00:30Z"}])");
  EXPECT_THAT(OffsetsOf(all), ElementsAre(2, 4, 3)) << "of the same time the later offset is the newer";
  EXPECT_EQ(all.at("samples").at(0).at("payload"), "a");
  EXPECT_EQ(all.at("samples").at(2).at("payload_hex"), "ff7b");
  const auto some = Document("bad_json", 2);
  EXPECT_EQ(some.at("letters"), 4);
  EXPECT_EQ(some.at("reasons").as_array().size(), 1u);
  EXPECT_THAT(OffsetsOf(some), ElementsAre(4, 3));
  EXPECT_THAT(OffsetsOf(Document("", 0)), ElementsAre());
  EXPECT_EQ(Document("other", 10).at("letters"), 0);
}

TEST_F(LetterDocumentTest, SamplesTakeNoMoreBytesThanTheyMay) {
  const std::string large(kSampleBytesMax / 2 - 1000, 'x');
  Commit({Letter(1, 1, "r", large), Letter(2, 2, "r", large), Letter(3, 3, "r", large)});
  EXPECT_THAT(OffsetsOf(Document("", 10)), ElementsAre(3, 2)) << "the oldest is left out";
  Commit({Letter(4, 4, "r", std::string(kSampleBytesMax + 1, 'y'))});
  EXPECT_THAT(OffsetsOf(Document("", 10)), ElementsAre(4)) << "one is always shown";
}

TEST_F(LetterDocumentTest, EndsWhenNobodyWaits) {
  Commit({Letter(1, 10, "bad_json", "{")});
  std::stop_source stop;
  stop.request_stop();
  const auto document = LettersDocument(*table_, "", 10, stop.get_token());
  ASSERT_FALSE(document.ok());
  EXPECT_EQ(KindOf(document.status()), ErrorKind::kCancelled);
}

TEST_F(LetterDocumentTest, ALetterOfOneDocumentSaysWhich) {
  auto third = Letter(1, 10, "bad_json", "{");
  third.index = 3;
  Commit({third, Letter(1, 10, "bad_json", "[")});
  const auto document = Document("", 10);
  const auto& samples = document.at("samples").as_array();
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].at("index"), json::value(3));
  EXPECT_EQ(samples[1].at("index"), json::value(nullptr));
}

}  // namespace
}  // namespace millrace::pipeline
