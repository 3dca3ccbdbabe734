#include "infer/rehearsal.h"

#include <arrow/array.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "ingest/event_decoder.h"
#include "ingest/writer_schemas.h"
#include "model/event_batch.h"

namespace millrace::infer {
namespace {

constexpr std::int64_t kMaxFuture = 300'000'000;  // Microseconds: the default of event_time.max_future.

std::map<std::int32_t, std::vector<const SampledRecord*>> ByPartition(const Sample& sample) {
  std::map<std::int32_t, std::vector<const SampledRecord*>> partitions;
  for (const auto& record : sample.records) partitions[record.partition].push_back(&record);
  return partitions;
}

model::FetchedRecords ToFetched(std::int32_t partition, const std::vector<const SampledRecord*>& records) {
  model::FetchedRecords fetched;
  fetched.source = {"sample", partition};
  for (const auto* const record : records) {
    model::RawRecord raw;
    raw.offset = record->offset;
    raw.timestamp = record->timestamp;
    raw.payload = record->payload;
    if (record->key) raw.key = *record->key;
    raw.SetHeaders(&record->headers);
    fetched.records.push_back(raw);
  }
  fetched.range = {records.front()->offset, records.back()->offset + 1};
  return fetched;
}

// `schemas` may be null.
Result<ingest::Decoded> DecodePatiently(ingest::EventDecoder& decoder, const model::FetchedRecords& records,
                                        const ingest::WriterSchemas* schemas) {
  for (;;) {
    const std::uint64_t answers = schemas == nullptr ? 0 : schemas->answers();
    auto decoded = decoder.Decode(records);
    if (decoded.ok() || schemas == nullptr || KindOf(decoded.status()) != ErrorKind::kTransient) return decoded;
    if (!ingest::AwaitOtherAnswers(*schemas, answers, ingest::kSchemaPatience)) return decoded;
  }
}

const std::int64_t* Micros(const arrow::RecordBatch& batch, const std::string& column) {
  const auto array = batch.GetColumnByName(column);
  if (array == nullptr || array->type_id() != arrow::Type::TIMESTAMP) return nullptr;
  return static_cast<const arrow::TimestampArray&>(*array).raw_values();
}

}  // namespace

std::int64_t Decoded::num_rows() const {
  std::int64_t count = 0;
  for (const auto& batch : rows) count += batch->num_rows();
  return count;
}

Result<Decoded> Decode(const Sample& sample, const ingest::DecodeSpec& spec) {
  ASSIGN_OR_RETURN(const auto decoder, ingest::EventDecoder::Make(spec));
  Decoded all;
  for (const auto& [partition, records] : ByPartition(sample)) {
    ASSIGN_OR_RETURN(auto decoded, DecodePatiently(*decoder, ToFetched(partition, records), spec.writer_schemas.get()));
    for (const auto& letter : decoded.dead_letters) ++all.dead_letters[letter.reason];
    all.rows.push_back(std::move(decoded.rows));
  }
  return all;
}

Result<Rehearsal> Rehearse(const Sample& sample, const ingest::DecodeSpec& spec, const std::string& event_time) {
  ASSIGN_OR_RETURN(auto decoded, Decode(sample, spec));
  Rehearsal rehearsal{.rows = decoded.num_rows(), .dead_letters = std::move(decoded.dead_letters)};
  std::vector<std::int64_t> lateness;
  for (const auto& batch : decoded.rows) {
    const auto* const events = Micros(*batch, event_time);
    const auto* const records = Micros(*batch, std::string(model::kTimestampColumn));
    if (events == nullptr || records == nullptr) continue;
    const auto column = batch->GetColumnByName(event_time);
    std::int64_t newest = std::numeric_limits<std::int64_t>::min();
    for (std::int64_t row = 0; row < batch->num_rows(); ++row) {
      if (column->IsNull(row)) continue;
      if (sample.from_log && events[row] - records[row] > kMaxFuture) {
        ++rehearsal.ahead;
        continue;
      }
      newest = std::max(newest, events[row]);
      lateness.push_back(newest - events[row]);
    }
  }
  if (!lateness.empty()) {
    const auto at = lateness.begin() + static_cast<std::ptrdiff_t>((lateness.size() - 1) * 99 / 100);
    std::nth_element(lateness.begin(), at, lateness.end());
    rehearsal.lateness = std::chrono::microseconds(*at);
  }
  return rehearsal;
}

std::string ReasonsText(const std::map<std::string, std::int64_t>& reasons) {
  std::vector<std::string> texts;
  for (const auto& [reason, count] : reasons) texts.push_back(fmt::format("{} {}", reason, count));
  return fmt::format("{}", fmt::join(texts, ", "));
}

}  // namespace millrace::infer
