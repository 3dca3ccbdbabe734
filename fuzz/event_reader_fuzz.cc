// Any bytes, as a body of each type and coding that the gateway reads: events and rejections that are each at a place
// of its own, within the bounds, or a problem of a few kinds. The events of JSON are slices of the body.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "gateway/event_reader.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static millrace::gateway::EventReader reader;
  const millrace::gateway::ReadRules rules{.key = "a.b", .event_bytes_max = 1000, .body_bytes_max = 10'000};
  millrace::http::Request request;
  request.body.assign(reinterpret_cast<const char*>(data), size);
  for (const char* type : {"application/json", "application/x-ndjson", "application/cloudevents+json",
                           "application/cloudevents-batch+json", "binary"}) {
    for (const char* coding : {"", "gzip", "zstd"}) {
      const bool is_binary = std::string_view(type) == "binary";
      request.content_type = type;
      request.content_encoding = coding;
      request.cloud_event.clear();
      if (is_binary) request.cloud_event = {{"specversion", "1.0"}, {"id", "1"}, {"source", "s"}, {"type", "t"}};
      const auto read = reader.Read(request, rules);
      if (const auto* problem = std::get_if<millrace::http::Problem>(&read)) {
        Require((problem->status == 400 || problem->status == 413) && !problem->detail.empty());
        continue;
      }
      const auto& batch = std::get<millrace::gateway::Batch>(read);
      std::set<std::size_t> places;
      const bool is_slice =
          std::string_view(coding).empty() && std::string_view(type).find("cloud") == std::string_view::npos;
      for (const auto& event : batch.events) {
        Require(places.insert(event.index).second && event.bytes() <= rules.event_bytes_max);
        if (is_slice) Require(request.body.find(event.payload) != std::string::npos);
      }
      for (const auto& one : batch.rejected) {
        Require(places.insert(one.index).second && one.detail.size() <= millrace::gateway::kRejectionBytesMax);
      }
      Require(places.empty() || *places.rbegin() == places.size() - 1);
    }
  }
  return 0;
}
