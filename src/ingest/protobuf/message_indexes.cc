#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "ingest/protobuf/message_indexes_internal.h"

namespace millrace::ingest::protobuf {
namespace {

constexpr std::size_t kHeaderBytes = 5;
constexpr std::int64_t kMaxIndexes = kMaxMessageDepth;

std::int64_t Zigzag(std::uint64_t bits) { return static_cast<std::int64_t>((bits >> 1) ^ (0ULL - (bits & 1))); }

}  // namespace

MessageIndexes::MessageIndexes(const google::protobuf::Descriptor& message) : message_(&message) {
  for (const auto* at = &message; at != nullptr; at = at->containing_type()) expected_.push_back(at->index());
  std::reverse(expected_.begin(), expected_.end());
}

bool MessageIndexes::ReadFraming(WireReader& reader, std::string_view payload, std::string_view* body) const {
  const char* const end = payload.data() + payload.size();
  if (payload.size() < kHeaderBytes || payload[0] != '\0') {
    reader.Fail("bad_framing", payload.data(),
                payload.empty() || payload[0] == '\0'
                    ? fmt::format("{} bytes, and Confluent's framing has 6 at least", payload.size())
                    : fmt::format("expected Confluent's framing, which begins with a zero byte, found byte 0x{:02x}",
                                  static_cast<unsigned char>(payload[0])));
    return false;
  }
  const char* const first = payload.data() + kHeaderBytes;
  std::uint64_t bits = 0;
  const char* p = reader.ReadVarint(first, end, &bits);
  if (p == nullptr) {
    reader.Fail("bad_framing", first, "expected the number of message indexes");
    return false;
  }
  const std::int64_t count = Zigzag(bits);
  if (count < 0 || count > kMaxIndexes) {
    reader.Fail("bad_framing", first, fmt::format("{} message indexes", count));
    return false;
  }
  bool same =
      count == 0 ? expected_.size() == 1 && expected_[0] == 0 : count == static_cast<std::int64_t>(expected_.size());
  std::vector<int> others;
  for (std::int64_t i = 0; i < count; ++i) {
    const char* const at = p;
    p = reader.ReadVarint(p, end, &bits);
    const std::int64_t index = p == nullptr ? -1 : Zigzag(bits);
    if (index < 0 || index > 0x7FFF'FFFF) {
      reader.Fail("bad_framing", at, fmt::format("expected message index {} of {}", i + 1, count));
      return false;
    }
    if (same) {
      same = index == expected_[static_cast<std::size_t>(i)];
      if (!same) others.assign(expected_.begin(), expected_.begin() + i);
    } else if (i == 0) {
      others.clear();
    }
    if (!same) others.push_back(static_cast<int>(index));
  }
  if (!same) return FailMessage(reader, first, count == 0 ? std::vector<int>{0} : others);
  *body = {p, static_cast<std::size_t>(end - p)};
  return true;
}

bool MessageIndexes::FailMessage(WireReader& reader, const char* at, const std::vector<int>& indexes) const {
  const google::protobuf::Descriptor* found = nullptr;
  for (std::size_t i = 0; i < indexes.size(); ++i) {
    const int size = i == 0 ? message_->file()->message_type_count() : found->nested_type_count();
    if (indexes[i] >= size) {
      found = nullptr;
      break;
    }
    found = i == 0 ? message_->file()->message_type(indexes[i]) : found->nested_type(indexes[i]);
  }
  reader.Fail("wrong_message", at,
              fmt::format("message [{}] of {}, {}, where {} is expected, which is [{}]", fmt::join(indexes, ","),
                          message_->file()->name(), found == nullptr ? "which there is not" : found->full_name(),
                          message_->full_name(), fmt::join(expected_, ",")));
  return false;
}

}  // namespace millrace::ingest::protobuf
