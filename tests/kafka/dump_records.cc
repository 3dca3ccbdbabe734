// What a consumer of ours has of a topic, a line for each record, so that batches_test.py can compare:
//
//   kafka_dump_records BROKERS TOPIC batches|messages SEED [PROPERTY=VALUE...]
//
// SEED 0 reads each partition once, from its beginning to its end. Another reads as it says: pieces of other sizes, in
// the midst of it moved to other offsets, paused and resumed, until each partition has been read to its end from its
// beginning. A record that is read again must be the same. Ranges must be contiguous, and each must begin where it was
// moved to. Then
//
//   PARTITION OFFSET TIMESTAMP_US LOG|PRODUCER KEY PAYLOAD NAME=VALUE...      each in hexadecimal, null as '-'
//
// by partition and offset. A failure, of the log or of what is read of it, ends it with exit 1, the message and how far
// each partition was read.
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>

#include "base/status.h"
#include "eventlog/kafka/kafka_log.h"

namespace millrace::eventlog {
namespace {

using namespace std::chrono_literals;

std::string Hex(std::optional<std::string_view> bytes) {
  if (!bytes) return "-";
  std::string text = "x";
  for (const char c : *bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

std::string Line(const model::RawRecord& record, bool append_time) {
  std::string line = fmt::format("{} {} {} {}", record.timestamp, append_time ? "LOG" : "PRODUCER", Hex(record.key),
                                 Hex(record.payload));
  for (const auto& [name, value] : record.Headers()) line += fmt::format(" {}={}", Hex(name), Hex(value));
  return line;
}

class Dump {
 public:
  explicit Dump(unsigned seed) : random_(seed), moves_(seed == 0 ? 0 : 20) {}

  Status Run(const std::string& topic, std::map<std::string, std::string> properties, KafkaDelivery delivery) {
    ASSIGN_OR_RETURN(consumer_, MakeKafkaReader(std::move(properties), delivery));
    RETURN_NOT_OK(consumer_->Subscribe({topic}, 30s));
    static_cast<void>(consumer_->Poll(1));  // The assignment.
    ASSIGN_OR_RETURN(const auto partitions, consumer_->Partitions({topic}, 30s));
    ASSIGN_OR_RETURN(bounds_, consumer_->Bounds(partitions, 30s));
    for (const auto& [tp, bounds] : bounds_) next_[tp] = bounds.begin;
    RETURN_NOT_OK(Move(next_));
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (!IsDone() || moves_ > 0) {
      if (std::chrono::steady_clock::now() > deadline) return Transient("the end was not reached within 60 s");
      pollfd wake{consumer_->wake_fd(), POLLIN, 0};
      ::poll(&wake, 1, 50);
      for (Event& event : consumer_->Poll(moves_ > 0 ? Random(1, 2000) : 8192)) {
        if (auto* fetched = std::get_if<FetchedRecords>(&event)) RETURN_NOT_OK(Take(*fetched));
        const auto* failed = std::get_if<Failed>(&event);
        // A connection that is gone comes again, or the end is not reached in time.
        if (failed != nullptr && KindOf(failed->status) != ErrorKind::kTransient) return failed->status;
      }
      if (moves_ > 0 && Random(0, 3) == 0) RETURN_NOT_OK(Disturb());
    }
    return Status::OK();
  }

  std::string Progress() const {
    std::string text;
    for (const auto& [tp, next] : next_) text += fmt::format("{} is read up to {}\n", model::ToString(tp), next);
    return text;
  }

  void Print() const {
    for (const auto& [tp, lines] : lines_) {
      for (const auto& [offset, line] : lines) fmt::print("{} {} {}\n", tp.partition, offset, line);
    }
  }

 private:
  std::size_t Random(std::size_t low, std::size_t high) {
    return std::uniform_int_distribution<std::size_t>(low, high)(random_);
  }

  bool IsDone() const {
    return std::ranges::all_of(bounds_,
                               [this](const auto& entry) { return next_.at(entry.first) >= entry.second.end; });
  }

  Status Move(const OffsetVector& to) {
    ASSIGN_OR_RETURN(const auto generation, consumer_->Start(to));
    for (const auto& [tp, offset] : to) {
      next_[tp] = offset;
      generations_[tp] = generation;
    }
    return Status::OK();
  }

  // The last one moves everything to its beginning, and nothing stays paused.
  Status Disturb() {
    OffsetVector to;
    std::vector<TopicPartition> paused;
    --moves_;
    for (const auto& [tp, bounds] : bounds_) {
      if (moves_ > 0 && Random(0, 1) == 0) paused.push_back(tp);
      if (moves_ == 0 || Random(0, 1) == 0) {
        to[tp] = moves_ == 0 ? bounds.begin
                             : static_cast<Offset>(Random(static_cast<std::size_t>(bounds.begin),
                                                          static_cast<std::size_t>(bounds.end)));
      }
    }
    RETURN_NOT_OK(consumer_->Resume(paused_));
    paused_ = paused;
    RETURN_NOT_OK(consumer_->Pause(paused_));
    return to.empty() ? Status::OK() : Move(to);
  }

  Status Take(const FetchedRecords& fetched) {
    if (fetched.generation != generations_.at(fetched.source)) return Status::OK();
    const std::size_t records_max = moves_ > 0 ? Random(1, 500) : 8192;
    const std::size_t bytes_max = moves_ > 0 ? Random(1, 100'000) : 8 << 20;
    const auto take = [this](const FetchedRecords& piece) { return TakePiece(piece); };
    RETURN_NOT_OK(model::ForEachPiece(fetched, records_max, bytes_max, &piece_, take));
    if (next_.at(fetched.source) != fetched.range.end) {
      return Internal("the pieces end at {}, the fetch at {}", next_.at(fetched.source), fetched.range.end);
    }
    return Status::OK();
  }

  Status TakePiece(const FetchedRecords& piece) {
    Offset& next = next_.at(piece.source);
    if (piece.range.begin != next) return Internal("a piece begins at {}, not at {}", piece.range.begin, next);
    for (const auto& record : piece.records) {
      if (record.offset < next || record.offset >= piece.range.end) {
        return Internal("offset {} is not in [{}, {})", record.offset, next, piece.range.end);
      }
      next = record.offset + 1;
      // Whose time it is is said of a whole piece: the topics have one kind each.
      const std::string line = Line(record, piece.append_time);
      const auto [at, is_new] = lines_[piece.source].emplace(record.offset, line);
      if (!is_new && at->second != line) {
        return Internal("offset {} was {} and is {}", record.offset, at->second, line);
      }
    }
    next = piece.range.end;
    return Status::OK();
  }

  std::mt19937 random_;
  int moves_;
  std::unique_ptr<Consumer> consumer_;
  OffsetRanges bounds_;
  OffsetVector next_;
  std::map<TopicPartition, std::int64_t> generations_;
  std::vector<TopicPartition> paused_;
  FetchedRecords piece_;
  std::map<TopicPartition, std::map<Offset, std::string>> lines_;
};

}  // namespace
}  // namespace millrace::eventlog

int main(int argc, char** argv) {
  using namespace millrace::eventlog;
  if (argc < 5) {
    std::fprintf(stderr, "usage: kafka_dump_records BROKERS TOPIC batches|messages SEED [PROPERTY=VALUE...]\n");
    return 2;
  }
  std::map<std::string, std::string> properties{{"bootstrap.servers", argv[1]}};
  for (int i = 5; i < argc; ++i) {
    const std::string_view property = argv[i];
    const std::size_t equals = property.find('=');
    properties[std::string(property.substr(0, equals))] = property.substr(equals + 1);
  }
  Dump dump(static_cast<unsigned>(std::atoi(argv[4])));
  const bool is_batches = std::string_view(argv[3]) == "batches";
  const auto status =
      dump.Run(argv[2], std::move(properties), is_batches ? KafkaDelivery::kBatches : KafkaDelivery::kMessages);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n%s", status.ToString().c_str(), dump.Progress().c_str());
    return 1;
  }
  dump.Print();
  return 0;
}
