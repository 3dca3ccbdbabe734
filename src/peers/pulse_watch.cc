#include "peers/pulse_watch.h"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>
#include <exception>
#include <utility>

#include "peers/hot_wire.h"

namespace millrace::peers {
namespace {

namespace json = boost::json;
using std::chrono::steady_clock;

}  // namespace

std::string ToJson(const Pulse& pulse) {
  return json::serialize(
      json::object{{"instance", pulse.instance},
                   {"changes", pulse.changes},
                   {"watermark", pulse.watermark ? json::value(*pulse.watermark) : json::value(nullptr)},
                   {"pipeline", pulse.pipeline}});
}

Result<Pulse> PulseFromJson(std::string_view text) {
  try {
    const auto value = json::parse(text);
    Pulse pulse{.instance = json::value_to<std::string>(value.at("instance")),
                .changes = value.at("changes").to_number<std::uint64_t>()};
    if (const auto* pipeline = value.as_object().if_contains("pipeline")) {
      pulse.pipeline = json::value_to<std::string>(*pipeline);
    }
    if (!value.at("watermark").is_null()) pulse.watermark = value.at("watermark").to_number<std::int64_t>();
    return pulse;
  } catch (const std::exception& error) {
    return InvalidInput("not a pulse: {}", error.what());
  }
}

PulseWatch::PulseWatch(PeerClient& client, ListPeers peers, Options options)
    : client_(client),
      peers_(std::move(peers)),
      options_(options),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

std::uint64_t PulseWatch::Changes() {
  {
    const std::scoped_lock lock(mutex_);
    asked_at_ = steady_clock::now();
  }
  wanted_.notify_all();
  return changes_;
}

void PulseWatch::Run(const std::stop_token& stop) {
  std::map<std::string, Pulse> seen;  // By url.
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      wanted_.wait(lock, stop, [this] { return steady_clock::now() - asked_at_ < options_.interest; });
      if (stop.stop_requested()) return;
    }
    std::map<std::string, Pulse> now;
    const auto take = [&now](const std::string& url, const std::string& body) -> Status {
      ASSIGN_OR_RETURN(now[url], PulseFromJson(body));
      return Status::OK();
    };
    const auto asked =
        client_.Ask(peers_().urls, {.path = kPulsePath, .body = {}, .bytes_max = kPulseBytesMax}, take, stop);
    if (asked.ok() && now != seen) {
      seen = std::move(now);
      ++changes_;
    }
    std::unique_lock lock(mutex_);
    wanted_.wait_for(lock, stop, options_.interval, [] { return false; });
  }
}

}  // namespace millrace::peers
