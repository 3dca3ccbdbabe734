#include "infer/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "ingest/event_decoder.h"
#include "ingest/framed_decoder.h"
#include "ingest/records/splitter.h"
#include "ingest/records/unpacker.h"

namespace millrace::infer {
namespace {

constexpr std::size_t kIdBytes = 5;

std::string ShareNote(std::int64_t part, std::int64_t all, std::string_view what) {
  return fmt::format("{} of {} payloads are {}", part, all, what);
}

bool IsOneOf(PayloadShape shape, std::initializer_list<PayloadShape> shapes) {
  return std::find(shapes.begin(), shapes.end(), shape) != shapes.end();
}

// The documents of those payloads that are of `shapes`; a payload that the splitter refuses has none.
Documents Split(const Sample& sample, ingest::Records records, std::initializer_list<PayloadShape> shapes) {
  Documents documents{.records = records};
  documents.sample.from_log = sample.from_log;
  const auto splitter = ingest::MakeSplitter({.format = "json", .records = records});
  std::size_t bytes = 0;
  for (const auto& record : sample.records) {
    if (!IsOneOf(ShapeOf(record.payload), shapes)) continue;
    std::vector<ingest::Document> parts;
    if ((*splitter)->Split(record.payload, &parts)) continue;
    for (const auto& part : parts) {
      bytes += part.bytes.size() + record.key.value_or("").size();
      if (std::ssize(documents.sample.records) >= kSampleRecordsMax || bytes > kSampleBytesMax) return documents;
      auto& document = documents.sample.records.emplace_back(record);
      document.payload = std::string(part.bytes);
    }
    (*splitter)->Clear();
  }
  return documents;
}

bool AreObjects(const Sample& documents) {
  return 2 * ShapesOf(documents).count(PayloadShape::kJsonObject) > std::ssize(documents.records);
}

bool HasLineBreak(const SampledRecord& record) {
  const auto end = record.payload.find('\n');
  return end != std::string::npos && record.payload.find_first_not_of("\r\n", end) != std::string::npos;
}

}  // namespace

Unpacked Unpack(const Sample& sample) {
  Unpacked unpacked;
  unpacked.sample.from_log = sample.from_log;
  unpacked.sample.tombstones = sample.tombstones;
  ingest::Unpacker unpacker;
  std::size_t bytes = 0;
  std::int64_t packed = 0;
  for (const auto& record : sample.records) {
    std::string_view payload = record.payload;
    if (const auto packing = ingest::PackingOf(payload)) {
      std::string_view content;
      if (!unpacker.Unpack(*packing, payload, ingest::kMaxPayloadBytes, &content)) {
        payload = content;
        ++packed;
      }
    }
    bytes += payload.size();
    if (bytes > kSampleBytesMax) break;
    auto& copy = unpacked.sample.records.emplace_back(record);
    if (payload.data() != record.payload.data()) copy.payload = std::string(payload);
    unpacker.Clear();
  }
  if (packed > 0) {
    unpacked.compression = ingest::Compression::kAuto;
    unpacked.note = ShareNote(packed, std::ssize(unpacked.sample.records), "compressed");
  }
  return unpacked;
}

Documents TakeApart(const Sample& sample, const PayloadShapes& shapes) {
  const auto all = std::ssize(sample.records);
  const auto framed = shapes.count(PayloadShape::kConfluentJson);
  const auto arrays = shapes.count(PayloadShape::kJsonArray);
  const auto lines = shapes.count(PayloadShape::kJsonLines);
  const auto objects = shapes.count(PayloadShape::kJsonObject);
  if (2 * framed > all) {
    Documents documents{.framing = ingest::Framing::kConfluent};
    documents.sample.from_log = sample.from_log;
    for (const auto& record : sample.records) {
      if (ShapeOf(record.payload) != PayloadShape::kConfluentJson) continue;
      documents.sample.records.push_back(record);
      documents.sample.records.back().payload.erase(0, kIdBytes);
    }
    documents.note = ShareNote(framed, all, "a JSON object behind a registry's schema id");
    return documents;
  }
  if (2 * arrays > all) {
    auto documents = Split(sample, ingest::Records::kArray, {PayloadShape::kJsonArray});
    documents.note = ShareNote(arrays, all, "a JSON array");
    if (AreObjects(documents.sample)) return documents;
  }
  // An object over several lines, which is none of lines, is a sign against them.
  const auto tall = std::count_if(sample.records.begin(), sample.records.end(), [](const auto& record) {
    return HasLineBreak(record) && ShapeOf(record.payload) == PayloadShape::kJsonObject;
  });
  if (lines > tall && 2 * (lines + objects) > all) {
    auto documents = Split(sample, ingest::Records::kLines, {PayloadShape::kJsonLines, PayloadShape::kJsonObject});
    documents.note = ShareNote(lines, all, "several lines of JSON");
    if (AreObjects(documents.sample)) return documents;
  }
  return {.sample = sample};
}

Documents LinesOf(const Sample& sample) {
  auto documents = Split(sample, ingest::Records::kLines, {PayloadShape::kText});
  const auto several = std::count_if(sample.records.begin(), sample.records.end(), HasLineBreak);
  documents.note = ShareNote(several, std::ssize(sample.records), "several lines");
  return documents;
}

}  // namespace millrace::infer
