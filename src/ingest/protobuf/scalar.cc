#include <fmt/format.h>

#include "ingest/protobuf/scalar_internal.h"

namespace millrace::ingest::protobuf {
namespace {

constexpr std::int64_t kMinTimestampSeconds = -62'135'596'800;
constexpr std::int64_t kMaxTimestampSeconds = 253'402'300'799;
constexpr std::int64_t kMaxDurationSeconds = 315'576'000'000;
constexpr std::int32_t kNanosPerSecond = 1'000'000'000;

}  // namespace

const char* ReadMoment(WireReader& reader, std::string_view message, int depth, std::string_view field,
                       Moment* moment) {
  const char* p = message.data();
  const char* const end = p + message.size();
  while (p != end) {
    const char* const at = p;
    Tag tag;
    p = reader.ReadTag(p, end, &tag);
    if (p == nullptr) return nullptr;
    if (tag.number > 2) {
      WireValue unknown;
      p = reader.ReadValue(tag, p, end, depth, &unknown);
    } else if (tag.wire != Wire::kVarint) {
      return reader.Fail("type_mismatch", at,
                         fmt::format("field '{}.{}': expected a varint, found {}", field,
                                     tag.number == 1 ? "seconds" : "nanos", NameOf(tag.wire)));
    } else {
      std::uint64_t bits = 0;
      p = reader.ReadVarint(p, end, &bits);
      if (tag.number == 1) {
        moment->seconds = static_cast<std::int64_t>(bits);
      } else {
        moment->nanos = static_cast<std::int32_t>(bits);
      }
    }
    if (p == nullptr) return nullptr;
  }
  return end;
}

bool IsTimestamp(const Moment& moment) {
  return moment.seconds >= kMinTimestampSeconds && moment.seconds <= kMaxTimestampSeconds && moment.nanos >= 0 &&
         moment.nanos < kNanosPerSecond;
}

bool IsDuration(const Moment& moment) {
  return moment.seconds >= -kMaxDurationSeconds && moment.seconds <= kMaxDurationSeconds &&
         moment.nanos > -kNanosPerSecond && moment.nanos < kNanosPerSecond &&
         (moment.seconds == 0 || moment.nanos == 0 || (moment.seconds < 0) == (moment.nanos < 0));
}

}  // namespace millrace::ingest::protobuf
