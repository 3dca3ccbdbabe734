#include "ingest/protobuf/wire.h"

#include <fmt/format.h>

#include <array>

namespace millrace::ingest::protobuf {
namespace {

constexpr int kMaxVarintBytes = 10;
constexpr std::string_view kBadProtobuf = "bad_protobuf";

}  // namespace

std::string_view NameOf(Wire wire) {
  switch (wire) {
    case Wire::kVarint:
      return "a varint";
    case Wire::kFixed64:
      return "8 fixed bytes";
    case Wire::kBytes:
      return "bytes with a length";
    case Wire::kGroup:
      return "a group";
    case Wire::kGroupEnd:
      return "the end of a group";
    case Wire::kFixed32:
      return "4 fixed bytes";
  }
  return "nothing";
}

const char* WireReader::ReadLongVarint(const char* p, const char* end, std::uint64_t* value) {
  return ReadLargeVarint(p, end, value);
}

const char* WireReader::ReadVarintByBytes(const char* p, const char* end, std::uint64_t* value) {
  std::uint64_t bits = 0;
  for (int i = 0; i < kMaxVarintBytes; ++i) {
    if (p + i == end) return Fail(kBadProtobuf, end, "the message ends within a varint");
    const auto byte = static_cast<unsigned char>(p[i]);
    bits |= static_cast<std::uint64_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) {
      *value = bits;
      return p + i + 1;
    }
  }
  return Fail(kBadProtobuf, p, "a varint of more than 10 bytes");
}

const char* WireReader::ReadValue(Tag tag, const char* p, const char* end, int depth, WireValue* value) {
  value->number = tag.number;
  value->wire = tag.wire;
  value->begin = p;
  std::uint64_t bits = 0;
  switch (tag.wire) {
    case Wire::kVarint:
      value->end = ReadVarint(p, end, &bits);
      return value->end;
    case Wire::kFixed64:
      value->end = ReadFixed<std::uint64_t>(p, end, &bits);
      return value->end;
    case Wire::kFixed32:
      value->end = ReadFixed<std::uint32_t>(p, end, &bits);
      return value->end;
    case Wire::kBytes: {
      std::string_view bytes;
      const char* const behind = ReadBytes(p, end, &bytes);
      value->begin = bytes.data();
      value->end = behind;
      return behind;
    }
    case Wire::kGroup:
      return ReadGroup(tag, p, end, depth, value);
    case Wire::kGroupEnd:
      break;
  }
  return Fail(kBadProtobuf, p, fmt::format("the end of group {}, which did not begin", tag.number));
}

const char* WireReader::ReadGroup(Tag tag, const char* p, const char* end, int depth, WireValue* value) {
  std::array<std::uint32_t, kMaxMessageDepth> open;
  int num_open = 0;
  open[static_cast<std::size_t>(num_open++)] = tag.number;
  while (num_open > 0) {
    if (depth + num_open > kMaxMessageDepth) {
      return Fail("too_deep", p, fmt::format("messages nest deeper than {}", kMaxMessageDepth));
    }
    if (p == end) return Fail(kBadProtobuf, p, fmt::format("group {} does not end", open[num_open - 1]));
    const char* const at = p;
    Tag inner;
    p = ReadTag(p, end, &inner);
    if (p == nullptr) return nullptr;
    if (inner.wire == Wire::kGroupEnd) {
      if (inner.number != open[num_open - 1]) {
        return Fail(kBadProtobuf, at,
                    fmt::format("the end of group {} within group {}", inner.number, open[num_open - 1]));
      }
      --num_open;
      value->end = at;
    } else if (inner.wire == Wire::kGroup) {
      if (num_open < kMaxMessageDepth) open[num_open] = inner.number;
      ++num_open;
    } else {
      WireValue skipped;
      p = ReadValue(inner, p, end, depth, &skipped);
      if (p == nullptr) return nullptr;
    }
  }
  return p;
}

void WireReader::FailUtf8(std::string_view text, std::string_view field) {
  Fail("bad_utf8", text.data() + FirstInvalidUtf8(text), fmt::format("field '{}': not UTF-8", field));
}

std::nullptr_t WireReader::Fail(std::string_view reason, const char* at, std::string_view detail) {
  // A place in a copy is none of the record.
  const std::less_equal<const char*> before;
  const bool in_record = before(record_.data(), at) && before(at, record_.data() + record_.size());
  if (!in_record) at = anchor_;
  failure_ = {reason, at == nullptr ? std::string(detail) : fmt::format("{} at byte {}", detail, at - record_.data())};
  return nullptr;
}

std::nullptr_t WireReader::FailTag(const char* at, std::uint64_t bits) {
  if (bits > 0xFFFF'FFFF) return Fail(kBadProtobuf, at, fmt::format("field number {}", bits >> 3));
  if ((bits >> 3) == 0) return Fail(kBadProtobuf, at, "field number 0");
  if ((bits & 7) > 5) return Fail(kBadProtobuf, at, fmt::format("wire type {} of field {}", bits & 7, bits >> 3));
  return Fail(kBadProtobuf, at, "a tag of more than 5 bytes");
}

std::nullptr_t WireReader::FailLength(const char* at, std::uint64_t length, std::ptrdiff_t left) {
  if (length <= static_cast<std::uint64_t>(left)) return Fail(kBadProtobuf, at, "a length of more than 5 bytes");
  return Fail(kBadProtobuf, at, fmt::format("a length of {}, and the message has {} bytes more", length, left));
}

std::nullptr_t WireReader::FailEnd(const char* at, std::size_t needed) {
  return Fail(kBadProtobuf, at, fmt::format("the message ends within {} fixed bytes", needed));
}

}  // namespace millrace::ingest::protobuf
