// What is said of columns that no record fills: once, whatever the number of decoders, and not of those that are met.
#include "ingest/field_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <memory>
#include <sstream>
#include <string>

#include "base/log.h"
#include "ingest/decoder_testing_internal.h"

namespace millrace::ingest {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class FieldWatchTest : public ::testing::Test {
 protected:
  FieldWatchTest() : before_(spdlog::default_logger()) {
    auto logger = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_));
    logger->set_pattern("%v");
    spdlog::set_default_logger(std::move(logger));
    spec_.columns = {{"s", arrow::utf8(), TimestampForm::kRfc3339, {}},
                     {"n", arrow::int64(), TimestampForm::kRfc3339, {}},
                     {"city", arrow::utf8(), TimestampForm::kRfc3339, {"geo", "city"}},
                     {"zip", arrow::utf8(), TimestampForm::kRfc3339, {"geo", "zip"}},
                     {"gone", arrow::utf8(), TimestampForm::kRfc3339, {}}};
    spec_.watch = MakeFieldWatch(spec_.columns);
  }
  ~FieldWatchTest() override { spdlog::set_default_logger(before_); }

  std::unique_ptr<EventDecoder> Decoder() { return EventDecoder::Make(spec_).ValueOrDie(); }

  static void Decode(EventDecoder& decoder, const std::string& document, std::int64_t times) {
    DecodeAll(decoder, std::vector<std::string>(static_cast<std::size_t>(times), document));
  }

  /// The warnings since the last call.
  std::vector<std::string> Warnings() {
    std::istringstream lines(log_.str());
    log_.str("");
    std::vector<std::string> warnings;
    for (std::string line; std::getline(lines, line);) warnings.push_back(line);
    return warnings;
  }

  std::ostringstream log_;
  std::shared_ptr<spdlog::logger> before_;
  DecodeSpec spec_;
};

TEST_F(FieldWatchTest, WarnsOnceWithTheNearestFieldAfterTheFirstRecords) {
  const auto decoder = Decoder();
  Decode(*decoder, R"({"S":"x","n":1,"geo":{"City":"y","zip":null}})", FieldWatch::kRecords - 1);
  EXPECT_THAT(Warnings(), IsEmpty());
  Decode(*decoder, R"({"S":"x","n":1})", 1);
  EXPECT_THAT(Warnings(),
              ElementsAre("decode.columns.s: none of the first 10000 records has a field 's'; they have 'S'",
                          "decode.columns.city: none of the first 10000 records has a field 'geo.city'; they have "
                          "'geo.City'",
                          "decode.columns.gone: none of the first 10000 records has a field 'gone'"));
  Decode(*decoder, R"({"S":"x"})", 20'000);
  EXPECT_THAT(Warnings(), IsEmpty());
}

TEST_F(FieldWatchTest, CountsTheRecordsAndFieldsOfAllDecoders) {
  const auto one = Decoder();
  const auto other = Decoder();
  Decode(*one, R"({"s":"x","n":1})", 5000);
  Decode(*other, R"({"gone":null,"geo":{"city":"a","zip":"b"}})", 4999);
  Decode(*other, "not json", 10);
  EXPECT_THAT(Warnings(), IsEmpty());
  Decode(*other, "{}", 1);
  EXPECT_THAT(Warnings(), IsEmpty());
  EXPECT_TRUE(spec_.watch->done());
}

TEST_F(FieldWatchTest, ColumnsOfOneFieldAndAParentThatIsSpeltOtherwise) {
  spec_.columns.push_back({"raw", arrow::int64(), TimestampForm::kRfc3339, {"n"}});
  spec_.watch = MakeFieldWatch(spec_.columns);
  const auto decoder = Decoder();
  Decode(*decoder, R"({"s":"","n":1,"Geo":{"city":"y"},"gone":""})", FieldWatch::kRecords);
  EXPECT_THAT(Warnings(),
              ElementsAre("decode.columns.city: none of the first 10000 records has a field 'geo.city'; they have "
                          "'Geo'",
                          "decode.columns.zip: none of the first 10000 records has a field 'geo.zip'; they have "
                          "'Geo'"));
}

TEST_F(FieldWatchTest, OfFewRecordsOnlyWhatIsNearlyThereIsSaid) {
  {
    auto decoder = Decoder();
    Decode(*decoder, R"({"S":"x"})", 3);
    decoder.reset();
    EXPECT_THAT(Warnings(), IsEmpty());
    spec_ = {};  // The last one goes.
  }
  EXPECT_THAT(Warnings(), ElementsAre("decode.columns.s: none of the first 3 records has a field 's'; they have 'S'"));
}

}  // namespace
}  // namespace millrace::ingest
