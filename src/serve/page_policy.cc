#include "serve/page_policy.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <array>

namespace millrace::serve {
namespace {

// " 'sha256-...'" for each element of this name.
std::string HashesOf(std::string_view html, const std::string& element) {
  const std::string begin = "<" + element + ">";
  const std::string end = "</" + element + ">";
  std::string hashes;
  for (auto at = html.find(begin); at != std::string_view::npos; at = html.find(begin, at)) {
    at += begin.size();
    const std::string_view text = html.substr(at, html.find(end, at) - at);
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
    std::array<unsigned char, 4 * ((SHA256_DIGEST_LENGTH + 2) / 3) + 1> base64{};
    const int size = EVP_EncodeBlock(base64.data(), digest.data(), static_cast<int>(digest.size()));
    hashes += fmt::format(
        " 'sha256-{}'", std::string_view(reinterpret_cast<const char*>(base64.data()), static_cast<std::size_t>(size)));
    at += text.size();
  }
  return hashes.empty() ? " 'none'" : hashes;
}

}  // namespace

std::string PagePolicy(std::string_view html) {
  return fmt::format(
      "default-src 'none'; script-src{}; style-src{}; connect-src 'self'; img-src data:; base-uri 'none'; "
      "form-action 'none'; frame-ancestors 'none'",
      HashesOf(html, "script"), HashesOf(html, "style"));
}

}  // namespace millrace::serve
