#include "serve/answer_digest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/evp.h>

#include <array>
#include <span>

#include "base/status.h"

namespace millrace::serve {

AnswerDigest::AnswerDigest() : context_(EVP_MD_CTX_new()) {
  const bool begun = context_ != nullptr && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1;
  MILLRACE_CHECK(begun, "OpenSSL has no SHA-256");
}

AnswerDigest::~AnswerDigest() { EVP_MD_CTX_free(context_); }

void AnswerDigest::Add(std::string_view bytes) { EVP_DigestUpdate(context_, bytes.data(), bytes.size()); }

std::string AnswerDigest::Text() {
  constexpr std::size_t kBytes = 16;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  EVP_DigestFinal_ex(context_, digest.data(), nullptr);
  return fmt::format("{:02x}", fmt::join(std::span(digest).first<kBytes>(), ""));
}

std::string EntityTag(std::string_view digest, bool is_strong) {
  return fmt::format("{}\"{}\"", is_strong ? "" : "W/", digest);
}

bool NamesTag(std::string_view if_none_match, std::string_view tag) {
  // Compared weakly: with W/ or without. A digest has no quotes in it, so it is nowhere but between those of a tag.
  const std::string_view quoted = tag.substr(tag.find('"'));
  return if_none_match == "*" || if_none_match.find(quoted) != std::string_view::npos;
}

}  // namespace millrace::serve
