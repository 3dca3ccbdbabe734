#include "gateway/packed_body.h"

#include <fmt/format.h>

#include <string>

#include "base/ascii_case.h"

namespace millrace::gateway {

using http::Problem;

std::optional<Problem> PackedBody::Unpack(std::string_view encoding, std::size_t bytes_max, std::string_view* body) {
  std::optional<ingest::Packing> packing;
  if (!encoding.empty()) {
    const std::string coding = AsciiLower(encoding);
    if (coding == "gzip" || coding == "x-gzip") packing = ingest::Packing::kGzip;
    if (coding == "zstd") packing = ingest::Packing::kZstd;
    if (!packing && coding != "identity") {
      return Problem{415, "content_encoding", fmt::format("A body with the coding '{}' is not read here.", coding),
                     "Send it plain, or as gzip or zstd alone."};
    }
  }
  if (!packing) {
    if (body->size() <= bytes_max) return std::nullopt;
    return Problem{413, "body_too_large", fmt::format("The body exceeds {} bytes.", bytes_max), {}};
  }
  const auto problem = unpacker_.Unpack(*packing, *body, bytes_max, body);
  if (!problem) return std::nullopt;
  unpacker_.Clear();
  if (problem->reason == "too_large") {
    return Problem{413, "body_too_large", fmt::format("{}.", problem->detail), "Send it in several requests."};
  }
  return Problem{400, "bad_compression", fmt::format("{}.", problem->detail), {}};
}

}  // namespace millrace::gateway
