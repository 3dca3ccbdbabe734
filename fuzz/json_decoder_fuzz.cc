// Any bytes decode to a sound row or to a dead letter that holds them, whatever was decoded before.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ingest/json_decoder.h"

namespace {

using millrace::ingest::ColumnSpec;
using millrace::ingest::DecodeSpec;
using millrace::ingest::TimestampForm;

DecodeSpec AllTypes() {
  const auto utc_micros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const auto list = arrow::list(arrow::field("element", arrow::utf8()));
  DecodeSpec spec;
  spec.columns = {{"s", arrow::utf8(), TimestampForm::kRfc3339, {}},
                  {"b", arrow::boolean(), TimestampForm::kRfc3339, {}},
                  {"i", arrow::int32(), TimestampForm::kRfc3339, {}},
                  {"l", arrow::int64(), TimestampForm::kRfc3339, {}},
                  {"f", arrow::float64(), TimestampForm::kRfc3339, {}},
                  {"m", arrow::decimal128(12, 2), TimestampForm::kRfc3339, {}},
                  {"d", arrow::date32(), TimestampForm::kRfc3339, {}},
                  {"t", utc_micros, TimestampForm::kRfc3339, {}},
                  {"ts", utc_micros, TimestampForm::kSeconds, {}},
                  {"tm", utc_micros, TimestampForm::kMillis, {}},
                  {"tags", list, TimestampForm::kRfc3339, {}},
                  {"city", arrow::utf8(), TimestampForm::kRfc3339, {"geo", "city"}}};
  return spec;
}

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto decoder = millrace::ingest::JsonDecoder::Make(AllTypes()).ValueOrDie();
  const std::string_view payload(reinterpret_cast<const char*>(data), size);
  millrace::model::FetchedRecords records;
  records.source = {"fuzz", 0};
  for (int i = 0; i < 2; ++i) {
    // Twice: the second time its keys have been learned.
    millrace::model::RawRecord& record = records.records.emplace_back();
    record.offset = i;
    record.payload = payload;
  }
  const auto decoded = decoder->Decode(records).ValueOrDie();
  Require(decoded.rows->ValidateFull().ok());
  Require(decoded.rows->num_rows() + static_cast<std::int64_t>(decoded.dead_letters.size()) == 2);
  Require(decoded.rows->num_rows() != 1);
  for (const millrace::model::DeadLetter& letter : decoded.dead_letters) {
    Require(letter.payload == payload && !letter.reason.empty() && !letter.detail.empty());
  }
  return 0;
}
