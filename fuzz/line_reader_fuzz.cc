// Any bytes as line protocol, plain and as gzip: events that are JSON, each at a place of its own, or a problem of a
// few kinds. JSON that the decoder of events would not read is a defect.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <cstdint>
#include <set>
#include <string>

#include "gateway/line_reader.h"
#include "ingest/json/field_scan.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static millrace::gateway::LineReader reader;
  static millrace::ingest::FieldScan scan;
  const millrace::gateway::ReadRules rules{.key = "tags.a", .event_bytes_max = 1000, .body_bytes_max = 10'000};
  millrace::http::Request request;
  request.body.assign(reinterpret_cast<const char*>(data), size);
  for (const char* coding : {"", "gzip"}) {
    request.content_encoding = coding;
    for (const std::int64_t precision : {std::int64_t{1}, std::int64_t{1'000'000'000}}) {
      const auto read = reader.Read(request, precision, 1, rules);
      if (const auto* problem = std::get_if<millrace::http::Problem>(&read)) {
        Require((problem->status == 400 || problem->status == 413) && !problem->detail.empty());
        continue;
      }
      const auto& batch = std::get<millrace::gateway::Batch>(read);
      std::set<std::size_t> places;
      for (const auto& event : batch.events) {
        Require(places.insert(event.index).second && event.bytes() <= rules.event_bytes_max);
        std::string copy = event.payload;
        copy.append(millrace::ingest::FieldScan::kBytesBehind, '\0');
        millrace::ingest::FieldScan::Found found;
        Require(!scan.Scan({copy.data(), event.payload.size()}, "time", &found) && found.is_object && found.text);
      }
      for (const auto& one : batch.rejected) {
        Require(places.insert(one.index).second && one.detail.size() <= millrace::gateway::kRejectionBytesMax);
      }
      Require(places.empty() || *places.rbegin() == places.size() - 1);
    }
  }
  return 0;
}
