// Any bytes, read as a line of CSV written in each of several ways, or as many lines, decode to sound rows or to dead
// letters that hold them, whatever was decoded before.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <arrow/array.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fetched.h"
#include "ingest/event_decoder.h"
#include "require.h"

namespace {

using millrace::ingest::CsvSpec;
using millrace::ingest::DecodeSpec;
using millrace::ingest::EventDecoder;
using millrace::ingest::Records;
using millrace::ingest::UnknownFields;

DecodeSpec AllTypes(CsvSpec csv, Records records) {
  const auto utc_micros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  DecodeSpec spec{.format = "csv", .records = records, .csv = std::move(csv), .unknown_fields = UnknownFields::kRescue};
  spec.csv.header = {"s", "b", "i", "l", "f", "m", "d", "t", "rest"};
  spec.columns = {{.name = "s", .type = arrow::utf8()},
                  {.name = "b", .type = arrow::boolean()},
                  {.name = "i", .type = arrow::int32()},
                  {.name = "l", .type = arrow::int64()},
                  {.name = "f", .type = arrow::float64()},
                  {.name = "m", .type = arrow::decimal128(12, 2)},
                  {.name = "d", .type = arrow::date32()},
                  {.name = "t", .type = utc_micros},
                  {.name = "again", .type = arrow::utf8(), .path = {"s"}}};
  return spec;
}

std::vector<std::unique_ptr<EventDecoder>> Decoders() {
  std::vector<std::unique_ptr<EventDecoder>> decoders;
  const auto add = [&](CsvSpec csv, Records records = Records::kOne) {
    decoders.push_back(EventDecoder::Make(AllTypes(std::move(csv), records)).ValueOrDie());
  };
  add({.missing_is_null = true});
  add({.delimiter = '\t', .quote = std::nullopt, .null_text = "\\N", .missing_is_null = true});
  add({.delimiter = ';', .quote = '\'', .escape = '\\', .null_text = "NULL"});
  add({.missing_is_null = true}, Records::kLines);
  return decoders;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto decoders = Decoders();
  static const auto json = EventDecoder::Make({.columns = {}}).ValueOrDie();
  const std::string_view payload(reinterpret_cast<const char*>(data), size);
  const auto records = FetchedOf({payload, payload});
  for (const auto& decoder : decoders) {
    const auto decoded = decoder->Decode(records).ValueOrDie();
    const arrow::RecordBatch& rows = *decoded.rows;
    Require(rows.ValidateFull().ok());
    const auto letters = static_cast<std::int64_t>(decoded.dead_letters.size());
    Require(2 + decoded.further == rows.num_rows() + letters + decoded.tombstones);
    // The second record is the first again.
    Require(rows.num_rows() % 2 == 0 && letters % 2 == 0);
    const std::int64_t half = rows.num_rows() / 2;
    const auto equal = arrow::EqualOptions::Defaults().nans_equal(true);
    for (int column = 0; column < 10; ++column) {
      const auto& values = *rows.column(column);
      Require(values.Slice(0, half)->Equals(values.Slice(half), equal));
    }
    Require(rows.GetColumnByName("s")->Equals(rows.GetColumnByName("again")));
    for (const millrace::model::DeadLetter& letter : decoded.dead_letters) {
      Require(!letter.reason.empty() && !letter.detail.empty());
      Require(letter.index != millrace::model::kWholeRecord || letter.payload == payload);
    }
    const auto rescued = rows.GetColumnByName(std::string(millrace::ingest::kRescuedColumn));
    if (rescued->length() == 0 || rescued->IsNull(0)) continue;
    millrace::model::FetchedRecords text;
    text.source = {"fuzz", 0};
    text.records.emplace_back().payload = static_cast<const arrow::StringArray&>(*rescued).GetView(0);
    Require(json->Decode(text).ValueOrDie().rows->num_rows() == 1);
  }
  return 0;
}
