/// A fetch as a log delivers it that leaves its records packed.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "model/event_batch.h"

namespace millrace::testing {

class PackedRecords final : public model::PackedRecords {
 public:
  PackedRecords(model::FetchedRecords whole, model::Offset corrupt_at)
      : whole_(std::move(whole)), corrupt_at_(corrupt_at), next_(whole_.range.begin) {}

  Result<bool> ReadOn(std::size_t max_records, std::size_t max_bytes, model::FetchedRecords* piece) override {
    piece->records.clear();
    piece->bytes = 0;
    piece->append_time = whole_.append_time;
    piece->range = {next_, next_};
    for (; read_ < whole_.records.size(); ++read_) {
      const model::RawRecord& record = whole_.records[read_];
      const std::size_t bytes = record.payload.value_or("").size() + record.key.value_or("").size();
      if (piece->records.size() >= max_records) break;
      if (!piece->records.empty() && piece->bytes + bytes > max_bytes) break;
      if (record.offset >= corrupt_at_) return Corrupt("offset {} cannot be read", record.offset);
      piece->records.push_back(record);
      piece->bytes += bytes;
      piece->range.end = record.offset + 1;
    }
    const bool more = read_ < whole_.records.size();
    if (!more) piece->range.end = whole_.range.end;
    next_ = piece->range.end;
    return more;
  }

 private:
  const model::FetchedRecords whole_;
  const model::Offset corrupt_at_;
  std::size_t read_ = 0;
  model::Offset next_;
};

/// `whole`, packed. From the record at `corrupt_at` on nothing can be read.
inline model::FetchedRecords Packed(model::FetchedRecords whole, model::Offset corrupt_at = INT64_MAX) {
  model::FetchedRecords packed{.source = whole.source, .range = whole.range, .generation = whole.generation};
  packed.bytes = whole.bytes;
  packed.packed = std::make_shared<PackedRecords>(std::move(whole), corrupt_at);
  return packed;
}

}  // namespace millrace::testing
