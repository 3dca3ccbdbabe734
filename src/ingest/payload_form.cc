#include "ingest/payload_form.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>

namespace millrace::ingest {
namespace {

using namespace std::string_view_literals;

struct Form {
  std::string_view begin;
  std::string_view name;
};

// The longer beginning first where one is a part of the other.
constexpr std::array kForms = {
    Form{"\x1F\x8B"sv, "gzip"},
    Form{"\x28\xB5\x2F\xFD"sv, "zstd"},
    Form{"\x04\x22\x4D\x18"sv, "LZ4"},
    Form{"\x82SNAPPY\0"sv, "Snappy (Xerial framing)"},
    Form{"\xFF\x06\0\0sNaPpY"sv, "Snappy"},
    Form{"\x78\x01"sv, "zlib"},
    Form{"\x78\x5E"sv, "zlib"},
    Form{"\x78\x9C"sv, "zlib"},
    Form{"\x78\xDA"sv, "zlib"},
    Form{"BZh"sv, "bzip2"},
    Form{"Obj\x01"sv, "an Avro container file"},
    Form{"\xC3\x01"sv, "Avro's single object encoding"},
    Form{"PAR1"sv, "Parquet"},
    Form{"\xFF\xFE"sv, "UTF-16 text"},
    Form{"\xFE\xFF"sv, "UTF-16 text"},
    Form{"{\0"sv, "UTF-16 text"},
    Form{"\0{\0"sv, "UTF-16 text"},
    Form{"<?xml"sv, "XML"},
};

}  // namespace

std::string FormOfPayload(std::string_view payload) {
  for (const Form& form : kForms) {
    if (payload.starts_with(form.begin)) return std::string(form.name);
  }
  // A zero byte, the schema's id in four bytes, high ones first, then the record.
  if (payload.size() > 5 && payload[0] == '\0') {
    std::uint32_t id = 0;
    for (const char byte : payload.substr(1, 4)) id = id << 8 | static_cast<unsigned char>(byte);
    return fmt::format("Confluent's schema registry framing (schema id {})", id);
  }
  return "";
}

}  // namespace millrace::ingest
