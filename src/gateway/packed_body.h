/// Bodies with a Content-Encoding: gzip, zstd, or none.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "http/problem.h"
#include "ingest/records/unpacker.h"

namespace millrace::gateway {

/// Not thread-safe.
class PackedBody {
 public:
  /// `*body` becomes what it unpacks to, in memory that lives until Clear(). 413: that is more than `bytes_max`. 415,
  /// content_encoding: of another coding. 400: damaged.
  std::optional<http::Problem> Unpack(std::string_view encoding, std::size_t bytes_max, std::string_view* body);
  void Clear() { unpacker_.Clear(); }

 private:
  ingest::Unpacker unpacker_;
};

}  // namespace millrace::gateway
