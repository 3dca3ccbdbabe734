// Prints each record of some topics as a line of JSON: read_log embedded:PATH|kafka:BROKERS TOPIC...
#include <poll.h>

#include <boost/json.hpp>
#include <cstdio>
#include <set>
#include <string>

#include "eventlog/embedded/embedded_log.h"
#include "eventlog/kafka/kafka_log.h"

namespace {

using namespace millrace;

Result<std::unique_ptr<eventlog::Consumer>> Open(const std::string& where) {
  const auto colon = where.find(':');
  const std::string rest = where.substr(colon + 1);
  if (where.substr(0, colon) == "kafka") return eventlog::MakeKafkaReader({{"bootstrap.servers", rest}});
  ASSIGN_OR_RETURN(const auto log, eventlog::EmbeddedLog::OpenToRead(rest));
  return log->NewConsumer();
}

void Print(const model::FetchedRecords& fetched) {
  for (const auto& record : fetched.records) {
    boost::json::object line{{"topic", fetched.source.topic},
                             {"partition", fetched.source.partition},
                             {"offset", record.offset},
                             {"payload", record.payload.value_or("")}};
    if (record.key) line["key"] = *record.key;
    boost::json::object headers;
    for (const auto& [name, value] : record.Headers()) headers[name] = value.value_or("");
    line["headers"] = headers;
    std::printf("%s\n", boost::json::serialize(line).c_str());
  }
}

Status Read(const std::string& where, const std::vector<std::string>& topics) {
  constexpr std::chrono::seconds kTimeout{30};
  ASSIGN_OR_RETURN(const auto log, Open(where));
  RETURN_NOT_OK(log->Subscribe(topics, kTimeout));
  ASSIGN_OR_RETURN(const auto partitions, log->Partitions(topics, kTimeout));
  ASSIGN_OR_RETURN(const auto bounds, log->Bounds(partitions, kTimeout));
  eventlog::OffsetVector start;
  std::set<model::TopicPartition> open;
  for (const auto& [source, range] : bounds) {
    start[source] = range.begin;
    if (!range.empty()) open.insert(source);
  }
  static_cast<void>(log->Poll(1));
  RETURN_NOT_OK(log->Start(start).status());
  model::FetchedRecords unpacked;
  while (!open.empty()) {
    pollfd wake{log->wake_fd(), POLLIN, 0};
    static_cast<void>(::poll(&wake, 1, 100));
    for (const auto& event : log->Poll(10'000)) {
      if (const auto* failed = std::get_if<eventlog::Failed>(&event)) return failed->status;
      if (const auto* fetched = std::get_if<model::FetchedRecords>(&event)) {
        RETURN_NOT_OK(model::ForEachPiece(*fetched, 10'000, eventlog::kPollBytesMax, &unpacked, [](const auto& piece) {
          Print(piece);
          return Status::OK();
        }));
        if (fetched->range.end >= bounds.at(fetched->source).end) open.erase(fetched->source);
      }
      if (const auto* end = std::get_if<eventlog::ReachedEnd>(&event)) open.erase(end->source);
    }
  }
  return Status::OK();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const Status status = Read(argv[1], {argv + 2, argv + argc});
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
