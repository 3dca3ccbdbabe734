#include "sample_records.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <set>
#include <utility>
#include <variant>

namespace millrace::app {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kTimeout{30'000};
constexpr milliseconds kPoll{100};
constexpr std::size_t kRecordsAtOnce = 1000;

class TopicSampler {
 public:
  TopicSampler(eventlog::Consumer& log, infer::Sample& sample) : log_(log), sample_(sample) {}

  // In the order of the offsets of each partition. Ends when all is read, at `deadline`, or when the bytes are spent.
  Status Read(const eventlog::OffsetRanges& ranges, steady_clock::time_point deadline) {
    eventlog::OffsetVector next;
    std::set<model::TopicPartition> open;
    for (const auto& [partition, range] : ranges) {
      if (range.begin >= range.end) continue;
      next[partition] = range.begin;
      open.insert(partition);
    }
    if (open.empty()) return Status::OK();
    ASSIGN_OR_RETURN(const std::int64_t generation, log_.Start(next));
    const auto note_reached = [&](const model::TopicPartition& source, model::Offset at) {
      if (const auto range = ranges.find(source); range != ranges.end() && at >= range->second.end) open.erase(source);
    };
    Status trouble;
    while (!open.empty() && bytes_ < infer::kSampleBytesMax && steady_clock::now() < deadline) {
      pollfd wake{log_.wake_fd(), POLLIN, 0};
      static_cast<void>(::poll(&wake, 1, static_cast<int>(kPoll.count())));
      for (const auto& event : log_.Poll(kRecordsAtOnce)) {
        if (const auto* failed = std::get_if<eventlog::Failed>(&event)) {
          if (KindOf(failed->status) != ErrorKind::kTransient) return failed->status;
          trouble = failed->status;
        } else if (const auto* end = std::get_if<eventlog::ReachedEnd>(&event)) {
          if (end->generation >= generation) note_reached(end->source, end->end);
        } else if (const auto* fetched = std::get_if<model::FetchedRecords>(&event)) {
          if (fetched->generation < generation) continue;
          const auto range = ranges.find(fetched->source);
          if (range == ranges.end()) continue;
          RETURN_NOT_OK(model::ForEachPiece(*fetched, kRecordsAtOnce, eventlog::kPollBytesMax, &unpacked_,
                                            [&](const model::FetchedRecords& piece) {
                                              for (const auto& record : piece.records) {
                                                Take(fetched->source.partition, record, range->second);
                                              }
                                              return Status::OK();
                                            }));
          note_reached(fetched->source, fetched->range.end);
        }
      }
    }
    const bool nothing_came = !open.empty() && sample_.records.empty() && sample_.tombstones == 0;
    return nothing_came && !trouble.ok() ? trouble : Status::OK();
  }

 private:
  void Take(std::int32_t partition, const model::RawRecord& record, const model::OffsetRange& range) {
    if (record.offset < range.begin || record.offset >= range.end || bytes_ >= infer::kSampleBytesMax) return;
    if (!record.payload) {
      ++sample_.tombstones;
      return;
    }
    infer::SampledRecord copy{.payload = std::string(*record.payload),
                              .timestamp = record.timestamp,
                              .partition = partition,
                              .offset = record.offset};
    if (record.key) copy.key = std::string(*record.key);
    bytes_ += copy.payload.size() + copy.key.value_or("").size();
    for (const auto& [name, value] : record.Headers()) {
      copy.headers.emplace_back(name, value ? std::optional<std::string>(*value) : std::nullopt);
      bytes_ += name.size() + copy.headers.back().second.value_or("").size();
    }
    sample_.records.push_back(std::move(copy));
  }

  eventlog::Consumer& log_;
  infer::Sample& sample_;
  model::FetchedRecords unpacked_;
  std::size_t bytes_ = 0;
};

bool IsText(std::string_view bytes) {
  return std::none_of(bytes.begin(), bytes.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r';
  });
}

std::string ReadAll(std::istream& in, std::size_t bytes_max) {
  std::string bytes(bytes_max, '\0');
  in.read(bytes.data(), static_cast<std::streamsize>(bytes_max));
  bytes.resize(static_cast<std::size_t>(in.gcount()));
  return bytes;
}

}  // namespace

Result<infer::Sample> SampleTopic(eventlog::Consumer& log, const std::string& topic, std::int64_t records) {
  const auto deadline = steady_clock::now() + kTimeout;
  RETURN_NOT_OK(log.Subscribe({topic}, kTimeout));
  ASSIGN_OR_RETURN(const auto partitions, log.Partitions({topic}, kTimeout));
  ASSIGN_OR_RETURN(const auto bounds, log.Bounds(partitions, kTimeout));
  static_cast<void>(log.Poll(1));  // The assignment.
  const auto count =
      std::count_if(bounds.begin(), bounds.end(), [](const auto& one) { return one.second.begin < one.second.end; });
  infer::Sample sample;
  sample.from_log = true;
  if (count == 0) return sample;
  const std::int64_t share = std::max<std::int64_t>(4, std::min(records, infer::kSampleRecordsMax) / count);
  eventlog::OffsetRanges first;
  eventlog::OffsetRanges last;
  for (const auto& [partition, range] : bounds) {
    const bool whole = range.end - range.begin <= share;
    first[partition] = {range.begin, whole ? range.end : range.begin + share / 4};
    last[partition] = {whole ? range.end : range.end - (share - share / 4), range.end};
  }
  TopicSampler sampler(log, sample);
  RETURN_NOT_OK(sampler.Read(first, deadline));
  RETURN_NOT_OK(sampler.Read(last, deadline));
  return sample;
}

Result<infer::Sample> SampleFile(const std::string& path, std::int64_t records) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) return NotFound("{}: cannot be read", path);
  }
  const std::string bytes = ReadAll(path == "-" ? std::cin : file, infer::kSampleBytesMax);
  infer::Sample sample;
  if (!IsText(bytes)) {
    sample.records.push_back({.payload = bytes});
    return sample;
  }
  std::string_view rest = bytes;
  while (!rest.empty() && std::ssize(sample.records) < std::min(records, infer::kSampleRecordsMax)) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    sample.records.push_back({.payload = std::string(line), .offset = std::ssize(sample.records)});
  }
  return sample;
}

}  // namespace millrace::app
