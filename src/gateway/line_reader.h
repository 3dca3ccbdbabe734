/// InfluxDB's line protocol: a line is a point, and a point is an event.
///
///     weather,site=berlin t=21.5,n=4i,ok=true 1795341600000000000
///     {"measurement":"weather","tags":{"site":"berlin"},"fields":{"t":21.5,"n":4,"ok":true},"time":1795341600000000000}
///
/// Numbers have the digits that were sent; a float that JSON writes otherwise (1., +1) is written so. `time` is
/// nanoseconds since 1970, whatever the precision of the request, and that of arrival where a line has none.
/// Spec: docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <variant>

#include "base/clock.h"
#include "gateway/batch.h"
#include "http/message.h"

namespace millrace::gateway {

/// Nanoseconds of one unit of the request's timestamps: ns (or n), us (u, µ), ms, s, m, h; empty: ns. nullopt: another
/// word.
std::optional<std::int64_t> PrecisionOf(std::string_view word);

/// Not thread-safe.
class LineReader {
 public:
  LineReader();
  ~LineReader();

  /// Or why it cannot be read: 400, 413 or 415, whatever its Content-Type. A line is rejected (invalid_line,
  /// invalid_utf8) with its number, counted from 1 with empty ones and comments, in the detail.
  std::variant<Batch, http::Problem> Read(const http::Request& request, std::int64_t precision, UnixMicros now,
                                          const ReadRules& rules);

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::gateway
