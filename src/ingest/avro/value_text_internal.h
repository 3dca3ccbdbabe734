/// Values that no column takes as they are: left out, or written as text.
///
/// As JSON:
/// | Avro                     | JSON                                                                                |
/// |--------------------------|-------------------------------------------------------------------------------------|
/// | null, boolean, int, long | the same                                                                            |
/// | float, double            | the shortest number that is this one; "NaN", "Infinity", "-Infinity"                |
/// | string, enum             | a text                                                                              |
/// | bytes, fixed             | a text whose characters U+0000 to U+00FF are the bytes, as Avro's own JSON has them |
/// | record, map, array       | an object, an object, an array                                                      |
/// | union                    | the value, without the name of its branch                                           |
/// | decimal                  | a number with all digits of its scale                                               |
/// | uuid, duration           | "6d9c…-…", ISO 8601 such as "P1M2DT3.004S"                                          |
/// | date, time-*             | "2026-11-01", "12:00:00.000" with the digits of its unit                            |
/// | timestamp-*              | "2026-11-01T12:00:00.000Z"; local-timestamp-* without the Z                         |
///
/// A date or time that is none of the years 0001 to 9999, or of the day, stays the number that it is; so do decimals
/// of more than 16 bytes stay bytes.
#pragma once

#include <algorithm>
#include <string>

#include "ingest/avro/schema.h"
#include "ingest/avro/wire_internal.h"
#include "ingest/values/number_text_internal.h"

namespace millrace::ingest::avro {

/// Checks no more than it must to find the value's end.
Bytes SkipValue(Wire& wire, const Schema& schema, Bytes p);

/// What the texts in JSON of a payload of so many bytes may take: names stand before each value there.
inline std::size_t JsonBytesMax(std::size_t payload_bytes) {
  constexpr std::size_t kPerByte = 32;
  constexpr std::size_t kAtLeast = std::size_t{64} << 10;
  constexpr std::size_t kAtMost = std::size_t{64} << 20;
  return std::min(kAtLeast + kPerByte * payload_bytes, kAtMost);
}

/// Appends. Fails with bad_utf8 for a text that is none, and with too_large when `out` has more than `limit` bytes.
Bytes AppendJson(Wire& wire, const Schema& schema, Bytes p, std::size_t limit, std::string& out);

/// As AppendJson(), but a value that is a text there comes without quotes and escapes, and what could not be one is
/// out_of_range. Bytes are UTF-8, or the failure is bad_utf8.
Bytes AppendPlain(Wire& wire, const Schema& schema, Bytes p, std::size_t limit, std::string& out);

/// Big-endian two's complement. False: more than 16 bytes count.
bool ReadInt128(Bytes p, std::int64_t size, Int128* value);

bool IsUtf8(Bytes p, std::int64_t size);

}  // namespace millrace::ingest::avro
