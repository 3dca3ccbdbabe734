// Any bytes as each of OpenTelemetry's signals, in Protobuf and JSON: events that are JSON objects, each at a place of
// its own, or a problem of a few kinds.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <cstdint>
#include <set>
#include <string>

#include "gateway/otlp_reader.h"
#include "ingest/json/field_scan.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using millrace::gateway::OtlpSignal;
  static millrace::gateway::OtlpReader reader;
  static millrace::ingest::FieldScan scan;
  const millrace::gateway::ReadRules rules{.key = "service_name", .event_bytes_max = 1000, .body_bytes_max = 10'000};
  millrace::http::Request request;
  request.body.assign(reinterpret_cast<const char*>(data), size);
  for (const char* type : {"application/x-protobuf", "application/json"}) {
    request.content_type = type;
    for (const OtlpSignal signal : {OtlpSignal::kLogs, OtlpSignal::kMetrics, OtlpSignal::kTraces}) {
      const auto read = reader.Read(request, signal, rules);
      if (const auto* problem = std::get_if<millrace::http::Problem>(&read)) {
        Require((problem->status == 400 || problem->status == 413) && !problem->detail.empty());
        continue;
      }
      const auto& batch = std::get<millrace::gateway::Batch>(read);
      std::set<std::size_t> places;
      std::size_t bytes = 0;
      for (const auto& event : batch.events) {
        Require(places.insert(event.index).second && event.bytes() <= rules.event_bytes_max);
        bytes += event.payload.size();
        std::string copy = event.payload;
        copy.append(millrace::ingest::FieldScan::kBytesBehind, '\0');
        millrace::ingest::FieldScan::Found found;
        Require(!scan.Scan({copy.data(), event.payload.size()}, "service_name", &found) && found.is_object);
      }
      Require(bytes <= millrace::gateway::kOtlpGrowthMax * rules.body_bytes_max);
      for (const auto& one : batch.rejected) {
        Require(places.insert(one.index).second && one.detail.size() <= millrace::gateway::kRejectionBytesMax);
      }
      Require(places.empty() || *places.rbegin() == places.size() - 1);
    }
  }
  return 0;
}
