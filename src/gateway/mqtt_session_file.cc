#include "gateway/mqtt_session_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <boost/json/value_to.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "mqtt/topic_filter.h"

namespace millrace::gateway {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

bool Sync(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool is_synced = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  return is_synced;
}

}  // namespace

MqttSessionFile::MqttSessionFile(std::string path, std::string session)
    : path_(std::move(path)), session_(std::move(session)) {}

Result<MqttSubscriptions> MqttSessionFile::Read() const {
  MqttSubscriptions known;
  if (path_.empty() || !fs::exists(path_)) return known;
  bool is_whole = true;
  try {
    std::ifstream file(path_, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const json::value document = json::parse(text);
    if (document.at("session").as_string() != session_) return known;
    known = {.asked = json::value_to<std::set<std::string>>(document.at("asked")),
             .granted = json::value_to<std::set<std::string>>(document.at("granted"))};
    is_whole = std::ranges::all_of(known.asked, [](const auto& one) { return mqtt::TopicFilter::Parse(one).ok(); });
  } catch (const std::exception&) {
    is_whole = false;
  }
  if (is_whole) return known;
  return InvalidInput(
      "gateway.state: {} is damaged; remove it: filters that were taken out of gateway.mqtt.subscribe are then no "
      "longer known, and stay subscribed",
      path_);
}

Status MqttSessionFile::Write(const MqttSubscriptions& subscriptions) const {
  if (path_.empty()) return Status::OK();
  const fs::path path = path_, unfinished = path_ + ".new";
  std::error_code ignored;
  fs::create_directories(path.parent_path(), ignored);
  std::ofstream file(unfinished, std::ios::binary | std::ios::trunc);
  file << json::serialize(json::object{{"session", session_},
                                       {"asked", json::value_from(subscriptions.asked)},
                                       {"granted", json::value_from(subscriptions.granted)}})
       << '\n';
  file.close();
  if (!file || !Sync(unfinished) || std::rename(unfinished.c_str(), path.c_str()) != 0 || !Sync(path.parent_path())) {
    return Transient("gateway.state: {} cannot be written: {}", path_, std::strerror(errno));
  }
  return Status::OK();
}

}  // namespace millrace::gateway
