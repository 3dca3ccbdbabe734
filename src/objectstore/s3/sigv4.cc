#include "objectstore/s3/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "base/percent_coding.h"

namespace millrace::objectstore::s3 {
namespace {

using Digest = std::array<unsigned char, 32>;

Digest Sha256(std::string_view bytes) {
  Digest digest{};
  MILLRACE_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return digest;
}

Digest HmacSha256(std::string_view key, std::string_view text) {
  Digest digest{};
  unsigned size = 0;
  MILLRACE_CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                      reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(),
                      &size) != nullptr);
  return digest;
}

std::string_view AsText(const Digest& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }

std::string Hex(const Digest& digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(digest.size() * 2);
  for (const unsigned char byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace

std::string Authorization(const SigningInput& input, const Credentials& credentials) {
  NameValues headers = input.headers;
  std::sort(headers.begin(), headers.end());
  std::string signed_names;
  std::string canonical_headers;
  for (const auto& [name, value] : headers) {
    if (!signed_names.empty()) signed_names += ';';
    signed_names += name;
    canonical_headers += name + ":" + value + "\n";
  }
  const std::string canonical =
      fmt::format("{}\n{}\n{}\n{}\n{}\n{}", input.method, input.path, CanonicalQuery(input.query), canonical_headers,
                  signed_names, input.payload_sha256);

  const std::string date_time = AmzDate(input.time);
  const std::string date = date_time.substr(0, 8);
  const std::string scope = fmt::format("{}/{}/{}/aws4_request", date, input.region, input.service);
  const std::string to_sign = fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", date_time, scope, Hex(Sha256(canonical)));

  Digest key = HmacSha256("AWS4" + credentials.secret_access_key, date);
  key = HmacSha256(AsText(key), input.region);
  key = HmacSha256(AsText(key), input.service);
  key = HmacSha256(AsText(key), "aws4_request");
  return fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}", credentials.access_key_id,
                     scope, signed_names, Hex(HmacSha256(AsText(key), to_sign)));
}

std::string AmzDate(UnixMicros time) {
  const std::time_t seconds = static_cast<std::time_t>(time / 1'000'000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  const std::size_t size = std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
  return {text, size};
}

std::string UriEncode(std::string_view text, bool keep_slash) {
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~' || (c == '/' && keep_slash);
    if (plain) {
      encoded += c;
    } else {
      AppendPercentEncoded(c, encoded);
    }
  }
  return encoded;
}

std::string CanonicalQuery(const NameValues& query) {
  NameValues encoded;
  for (const auto& [name, value] : query) encoded.emplace_back(UriEncode(name, false), UriEncode(value, false));
  std::sort(encoded.begin(), encoded.end());
  std::string text;
  for (const auto& [name, value] : encoded) {
    if (!text.empty()) text += '&';
    text += name + "=" + value;
  }
  return text;
}

std::string Sha256Hex(std::string_view bytes) { return Hex(Sha256(bytes)); }

std::string Md5Base64(std::string_view bytes) {
  std::array<unsigned char, 16> digest{};
  MILLRACE_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_md5(), nullptr) == 1);
  std::array<unsigned char, 25> text{};
  const int size = EVP_EncodeBlock(text.data(), digest.data(), static_cast<int>(digest.size()));
  return {reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(size)};
}

}  // namespace millrace::objectstore::s3
