// Any bytes, taken as a record of several documents of each kind, become rows and letters that add up, each at a place
// of its own; a letter of one document stands alone: run again it is the same letter.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <arrow/array.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/event_decoder.h"
#include "require.h"

namespace {

using millrace::ingest::DecodeSpec;
using millrace::ingest::EventDecoder;
using millrace::ingest::Records;

constexpr const char* kSchema = R"({"type":"record","name":"R","fields":[
  {"name":"a","type":"string"},{"name":"n","type":["null","long"],"default":null},
  {"name":"l","type":{"type":"array","items":"double"},"default":[]}]})";

std::vector<std::unique_ptr<EventDecoder>> Decoders() {
  std::vector<std::unique_ptr<EventDecoder>> decoders;
  const auto add = [&](DecodeSpec spec) {
    spec.columns = {{.name = "a", .type = arrow::utf8()}};
    spec.compression = millrace::ingest::Compression::kAuto;
    decoders.push_back(EventDecoder::Make(spec).ValueOrDie());
  };
  add({.records = Records::kOne});
  add({.records = Records::kArray});
  add({.records = Records::kLines});
  add({.format = "csv", .records = Records::kLines});
  add({.format = "raw", .records = Records::kLines});
  DecodeSpec avro{.format = "avro", .records = Records::kContainer};
  avro.schema = {.file = "fuzz.avsc", .bytes = std::make_shared<const std::string>(kSchema)};
  add(avro);
  return decoders;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto decoders = Decoders();
  millrace::model::FetchedRecords records;
  records.source = {"fuzz", 0};
  millrace::model::RawRecord& record = records.records.emplace_back();
  for (const auto& decoder : decoders) {
    const std::string_view payload(reinterpret_cast<const char*>(data), size);
    record.payload = payload;
    record.index = millrace::model::kWholeRecord;
    const auto decoded = decoder->Decode(records).ValueOrDie();
    Require(decoded.num_records == 1 && decoded.rows->ValidateFull().ok());
    Require(1 + decoded.further ==
            decoded.rows->num_rows() + static_cast<std::int64_t>(decoded.dead_letters.size()) + decoded.tombstones);
    std::set<std::int32_t> places;
    const auto index = decoded.rows->GetColumnByName("_index");
    for (std::int64_t row = 0; index != nullptr && row < index->length(); ++row) {
      Require(places.insert(static_cast<const arrow::Int32Array&>(*index).Value(row)).second);
    }
    for (const auto& letter : decoded.dead_letters) {
      Require(places.insert(letter.index).second && !letter.reason.empty() && !letter.detail.empty());
      if (letter.index == millrace::model::kWholeRecord) Require(letter.payload == payload);
      if (places.size() > 50) continue;  // They are alike.
      record.payload = letter.payload;
      record.index = letter.index;
      const auto alone = decoder->Decode(records).ValueOrDie();
      Require(alone.rows->num_rows() == 0 && alone.dead_letters.size() == 1);
      Require(alone.dead_letters[0].payload == letter.payload && alone.dead_letters[0].reason == letter.reason);
    }
  }
  return 0;
}
