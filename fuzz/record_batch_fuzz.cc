// Any bytes as a batch of Kafka records are refused, or are records in order whose views lie in those bytes; and read
// in pieces they are the same records.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "eventlog/kafka/record_batch.h"
#include "require.h"

namespace {

using millrace::eventlog::ReadRecords;
using millrace::eventlog::RecordBatch;
using millrace::model::FetchedRecords;
using millrace::model::Offset;

constexpr Offset kBase = 1000;
constexpr Offset kLast = 1'000'000;

RecordBatch BatchOf(std::string_view bytes, std::int64_t records) {
  return {.left = bytes,
          .records_left = records,
          .base_offset = kBase,
          .last_offset = kLast,
          .base_time_ms = 1,
          .max_time_ms = 2};
}

bool Lies(std::string_view view, std::string_view in) {
  return view.empty() || (view.data() >= in.data() && view.data() + view.size() <= in.data() + in.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Buffers are exactly as long as they may be used: AddressSanitizer sees a byte too many.
  const std::vector<char> input(data, data + size);
  const std::string_view bytes(input.data(), input.size());
  constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
  // As many as there are: more than can be is refused in the end, whatever the bytes.
  const auto most = static_cast<std::int64_t>(size + 1);
  RecordBatch batch = BatchOf(bytes, most);
  FetchedRecords whole{.range = {kBase, kBase}};
  Require(!ReadRecords(&batch, kAll, kAll, &whole).ok());
  const std::int64_t count = most - batch.records_left;
  const bool is_good = batch.left.empty();
  Offset before = kBase - 1;
  for (const auto& record : whole.records) {
    Require(record.offset > before && record.offset <= kLast);
    before = record.offset;
    Require(Lies(record.key.value_or(""), bytes) && Lies(record.payload.value_or(""), bytes));
    for (const auto& [name, value] : record.Headers()) Require(Lies(name, bytes) && Lies(value.value_or(""), bytes));
  }
  if (!is_good) return 0;

  batch = BatchOf(bytes, count);
  std::size_t read = 0;
  for (Offset next = kBase; !batch.left.empty();) {
    FetchedRecords piece{.range = {next, next}};
    Require(ReadRecords(&batch, 3, 100, &piece).ok() && !piece.records.empty());
    for (const auto& record : piece.records) {
      Require(read < whole.records.size());
      const auto& same = whole.records[read++];
      Require(record.offset == same.offset && record.key == same.key && record.payload == same.payload);
    }
    next = piece.range.end;
  }
  Require(read == whole.records.size());
  return 0;
}
