// Any bytes decode to a sound row or to a dead letter that holds them, whatever was decoded before.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <arrow/array.h>

#include <cstdint>
#include <string_view>

#include "fetched.h"
#include "ingest/added_columns.h"
#include "ingest/event_decoder.h"
#include "require.h"

namespace {

using millrace::ingest::ColumnSpec;
using millrace::ingest::DecodeSpec;
using millrace::ingest::TimestampForm;
using millrace::ingest::UnknownFields;

DecodeSpec AllTypes(UnknownFields unknown_fields) {
  const auto utc_micros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const auto list = arrow::list(arrow::field("element", arrow::utf8()));
  DecodeSpec spec;
  spec.unknown_fields = unknown_fields;
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
                  {"tm_raw", arrow::int64(), TimestampForm::kRfc3339, {"tm"}},
                  {"tn", utc_micros, TimestampForm::kNanos, {}},
                  {"tags", list, TimestampForm::kRfc3339, {}},
                  {"city", arrow::utf8(), TimestampForm::kRfc3339, {"geo", "city"}}};
  return spec;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto ignoring = millrace::ingest::EventDecoder::Make(AllTypes(UnknownFields::kIgnore)).ValueOrDie();
  static const auto rescuing = millrace::ingest::EventDecoder::Make(AllTypes(UnknownFields::kRescue)).ValueOrDie();
  static const auto any =
      millrace::ingest::EventDecoder::Make({.columns = {}, .unknown_fields = UnknownFields::kIgnore}).ValueOrDie();
  const std::string_view payload(reinterpret_cast<const char*>(data), size);
  // Twice: the second time its keys have been learned.
  auto records = FetchedOf({payload, payload});
  for (const auto* decoder : {&ignoring, &rescuing}) {
    const auto decoded = (*decoder)->Decode(records).ValueOrDie();
    Require(decoded.rows->ValidateFull().ok());
    Require(decoded.rows->num_rows() + static_cast<std::int64_t>(decoded.dead_letters.size()) == 2);
    Require(decoded.rows->num_rows() != 1);
    for (const millrace::model::DeadLetter& letter : decoded.dead_letters) {
      Require(letter.payload == payload && !letter.reason.empty() && !letter.detail.empty());
    }
    const auto rescued = decoded.rows->GetColumnByName(std::string(millrace::ingest::kRescuedColumn));
    if (rescued == nullptr || rescued->length() == 0 || rescued->IsNull(0)) continue;
    // What was rescued is a document again, and no longer than the first.
    const std::string_view text = static_cast<const arrow::StringArray&>(*rescued).GetView(0);
    Require(text.size() <= size && text == static_cast<const arrow::StringArray&>(*rescued).GetView(1));
    // Columns for all of it: what they take and what is left, as often as one asks.
    millrace::ingest::RescuedFields fields;
    const auto& texts = static_cast<const arrow::StringArray&>(*rescued);
    const auto columns = fields.FindNew(texts);
    fields.SetColumns(columns, {});
    Require(fields.columns() == columns && fields.FindNew(texts).empty());
    const auto parts = fields.Split(texts).ValueOrDie();
    Require(parts.columns.size() == columns.size() && parts.rescued->ValidateFull().ok());
    for (const auto& column : parts.columns) Require(column->ValidateFull().ok() && column->length() == texts.length());
    records.records.resize(1);
    records.records[0].payload = text;
    Require(any->Decode(records).ValueOrDie().rows->num_rows() == 1);
  }
  return 0;
}
