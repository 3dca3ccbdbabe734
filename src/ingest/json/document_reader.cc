#include <bitset>

#include "base/status.h"
#include "base/utf8.h"
#include "ingest/json/document_reader_internal.h"
#include "ingest/json/json_decoder.h"
#include "ingest/values/number_text_internal.h"

namespace millrace::ingest {
namespace {

// The value of four hexadecimal digits; above 0xFFFF if they are none.
std::uint32_t ReadHex4(const char* p) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = p[i];
    std::uint32_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<std::uint32_t>(c - '0');
    } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
      digit = static_cast<std::uint32_t>((c | 0x20) - 'a' + 10);
    } else {
      return 0x10000;
    }
    value = value << 4 | digit;
  }
  return value;
}

}  // namespace

std::string Printable(std::string_view text) {
  constexpr std::size_t kMax = 64;
  std::string result(text.substr(0, kMax));
  for (char& c : result) {
    if (c < 0x20 || c == 0x7F) c = '?';
  }
  if (text.size() > kMax) result += "...";
  return result;
}

const char* DocumentReader::Fail(std::string_view reason, const char* at, std::string detail) {
  failure_ = {reason, at == nullptr ? std::move(detail) : fmt::format("{} at byte {}", detail, at - begin_)};
  return nullptr;
}

const char* DocumentReader::FailSyntax(const char* at, std::string_view expected) {
  if (at >= end_) return Fail("bad_json", end_, fmt::format("expected {}, found the document's end", expected));
  const auto byte = static_cast<unsigned char>(*at);
  if (byte > 0x20 && byte < 0x7F) {
    return Fail("bad_json", at, fmt::format("expected {}, found '{}'", expected, static_cast<char>(byte)));
  }
  return Fail("bad_json", at, fmt::format("expected {}, found byte 0x{:02x}", expected, byte));
}

std::string_view DocumentReader::NameOf(const char* p) {
  switch (*p) {
    case '"':
      return "string";
    case '{':
      return "object";
    case '[':
      return "array";
    case 't':
    case 'f':
      return "boolean";
    case 'n':
      return "null";
    default:
      return "number";
  }
}

const char* DocumentReader::ReadEscape(const char* p, char** out) {
  if (*p != '\\') {
    if (p >= end_) return FailSyntax(p, "the end of a string");
    return FailSyntax(p, "an escape instead of a control character");
  }
  char plain = '\0';
  switch (p[1]) {
    case '"':
    case '\\':
    case '/':
      plain = p[1];
      break;
    case 'b':
      plain = '\b';
      break;
    case 'f':
      plain = '\f';
      break;
    case 'n':
      plain = '\n';
      break;
    case 'r':
      plain = '\r';
      break;
    case 't':
      plain = '\t';
      break;
    case 'u': {
      std::uint32_t code = ReadHex4(p + 2);
      if (code > 0xFFFF) return FailSyntax(p + 2, "four hexadecimal digits");
      const char* next = p + 6;
      if (code >= 0xD800 && code < 0xE000) {
        const std::uint32_t low = next[0] == '\\' && next[1] == 'u' ? ReadHex4(next + 2) : 0;
        if (code >= 0xDC00 || low < 0xDC00 || low >= 0xE000) {
          return Fail("bad_utf8", p, "an escape of half a surrogate pair");
        }
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        next += 6;
      }
      *out = PutUtf8(code, *out);
      return next;
    }
    default:
      return FailSyntax(p + 1, "an escape");
  }
  *(*out)++ = plain;
  return p + 2;
}

const char* DocumentReader::ReadEscapedText(const char* begin, const char* stop, std::string_view* text) {
  unescaped_.clear();
  while (*stop != '"') {
    unescaped_.append(begin, stop);
    char bytes[4];
    char* out = bytes;
    begin = ReadEscape(stop, &out);
    if (begin == nullptr) return nullptr;
    unescaped_.append(bytes, out);
    stop = FindStop(begin);
  }
  unescaped_.append(begin, stop);
  *text = unescaped_;
  return stop + 1;
}

const char* DocumentReader::SkipText(const char* p) {
  for (;;) {
    p = FindStop(p);
    if (*p == '"') return p + 1;
    char bytes[4];
    char* out = bytes;
    p = ReadEscape(p, &out);
    if (p == nullptr) return nullptr;
  }
}

const char* DocumentReader::SkipKey(const char* p) {
  if (*p != '"') return FailSyntax(p, "a key");
  p = SkipText(p + 1);
  if (p == nullptr) return nullptr;
  p = SkipSpace(p);
  if (*p != ':') return FailSyntax(p, "':'");
  return SkipSpace(p + 1);
}

const char* DocumentReader::SkipScalar(const char* p) {
  switch (*p) {
    case '"':
      return SkipText(p + 1);
    case 't':
      if (std::memcmp(p, "true", 4) == 0) return p + 4;
      break;
    case 'f':
      if (std::memcmp(p, "false", 5) == 0) return p + 5;
      break;
    case 'n':
      if (std::memcmp(p, "null", 4) == 0) return p + 4;
      break;
    default: {
      if (*p != '-' && (*p < '0' || *p > '9')) break;
      NumberText number;
      if (ScanNumber(p, &number)) return number.end;
      return FailSyntax(number.end, "a digit");
    }
  }
  return FailSyntax(p, "a value");
}

// Without recursion: a document chooses its depth, so it must not choose the depth of our stack.
const char* DocumentReader::SkipValue(const char* p, int depth) {
  if (*p != '{' && *p != '[') return SkipScalar(p);
  std::bitset<kMaxDepth + 1> is_object;
  const int around = depth;
  for (;;) {
    // At the first byte of a value.
    bool complete = true;
    if (*p == '{' || *p == '[') {
      if (++depth > kMaxDepth) {
        return Fail("too_deep", p, fmt::format("more than {} arrays and objects within each other", kMaxDepth));
      }
      is_object[static_cast<std::size_t>(depth)] = *p == '{';
      const char close = *p == '{' ? '}' : ']';
      p = SkipSpace(p + 1);
      if (*p == close) {
        ++p;
        --depth;
      } else {
        complete = false;
        if (close == '}') p = SkipKey(p);
      }
    } else {
      p = SkipScalar(p);
    }
    // Behind a value: close what ends here, up to the next value.
    while (p != nullptr && complete) {
      if (depth == around) return p;
      p = SkipSpace(p);
      const bool object = is_object[static_cast<std::size_t>(depth)];
      if (*p == ',') {
        p = SkipSpace(p + 1);
        if (object) p = SkipKey(p);
        complete = false;
      } else if (*p == (object ? '}' : ']')) {
        ++p;
        --depth;
      } else {
        return FailSyntax(p, object ? "',' or '}'" : "',' or ']'");
      }
    }
    if (p == nullptr) return nullptr;
  }
}

}  // namespace millrace::ingest
