// Appends records to the embedded log at argv[1], for tests whose records are not of our simulator's. Standard input
// has one a line, as JSON: {"topic", "partition", "timestamp" (microseconds), "key", "payload", "headers": [[name,
// value]]}; key, payload and the values of headers are in hexadecimal, or null.
#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <charconv>
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>

#include "eventlog/embedded/embedded_log.h"

namespace {

using namespace millrace;
namespace json = boost::json;

std::optional<std::string> FromHex(const json::value& value) {
  if (value.is_null()) return std::nullopt;
  const std::string_view hex = value.as_string();
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    unsigned byte = 0;
    std::from_chars(hex.data() + i, hex.data() + i + 2, byte, 16);
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

Status Append(const std::string& path) {
  ASSIGN_OR_RETURN(const auto log, eventlog::EmbeddedLog::Open({.path = path}));
  const auto producer = log->NewProducer();
  for (std::string line; std::getline(std::cin, line);) {
    const json::value record = json::parse(line);
    eventlog::OutgoingRecord out;
    out.topic = json::value_to<std::string>(record.at("topic"));
    out.partition = json::value_to<std::int32_t>(record.at("partition"));
    out.timestamp = json::value_to<std::int64_t>(record.at("timestamp"));
    out.key = FromHex(record.at("key"));
    out.payload = FromHex(record.at("payload"));
    for (const auto& header : record.at("headers").as_array()) {
      out.headers.emplace_back(json::value_to<std::string>(header.at(0)), FromHex(header.at(1)));
    }
    RETURN_NOT_OK(producer->Append(std::move(out)));
  }
  return producer->Flush(std::chrono::seconds(30));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || argv[1][0] == '-') {
    std::fputs("usage: append_records FOLDER_OF_THE_LOG < RECORDS\n", stderr);
    return 2;
  }
  const Status done = Append(argv[1]);
  if (!done.ok()) std::fprintf(stderr, "append_records: %s\n", done.message().c_str());
  return done.ok() ? 0 : 1;
}
