#include "serve/access.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <utility>

#include "base/nearest_name.h"

namespace millrace::serve {
namespace {

constexpr std::string_view kWrite = "write:";
// Another salt or count makes another name of each token: what gateways have answered would not be known any more.
constexpr std::string_view kNameSalt = "millrace token";
constexpr int kNameRounds = 4096;

}  // namespace

std::optional<std::string> FaultOfScope(const std::string& word) {
  static const std::vector<std::string> kWords = {"read", "sql", "admin"};
  if (std::find(kWords.begin(), kWords.end(), word) != kWords.end()) return std::nullopt;
  if (!word.starts_with(kWrite)) {
    return fmt::format("'{}' is not a scope; there are read, sql, admin and write:TOPIC{}", word,
                       DidYouMean(word, kWords));
  }
  // Of Kafka's topics, 249 characters at most.
  const std::string_view topic = std::string_view(word).substr(kWrite.size());
  const bool good = !topic.empty() && topic.size() <= 249 && std::all_of(topic.begin(), topic.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
  if (good) return std::nullopt;
  return fmt::format("'{}' does not name a topic; write:clicks is the scope for the topic clicks", word);
}

bool Caller::May(std::string_view scope) const {
  return std::find(scopes.begin(), scopes.end(), scope) != scopes.end();
}

std::string NameOfToken(std::string_view token) {
  std::array<unsigned char, 16> derived;
  const int ok = PKCS5_PBKDF2_HMAC(
      token.data(), static_cast<int>(token.size()), reinterpret_cast<const unsigned char*>(kNameSalt.data()),
      static_cast<int>(kNameSalt.size()), kNameRounds, EVP_sha256(), static_cast<int>(derived.size()), derived.data());
  MILLRACE_CHECK(ok == 1, "OpenSSL has no PBKDF2 with SHA-256");
  std::string name = "token ";
  for (const unsigned char byte : derived) name += fmt::format("{:02x}", byte);
  return name;
}

Access::Access(const std::vector<AccessToken>& tokens, JwtRules rules, std::shared_ptr<KeySource> keys)
    : rules_(std::move(rules)), keys_(std::move(keys)) {
  for (const auto& [token, scopes] : tokens) {
    known_.push_back({DigestOf(token), {NameOfToken(token), scopes, {}}});
  }
}

Access::Digest Access::DigestOf(std::string_view token) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
  return digest;
}

Result<Caller> Access::Judge(std::string_view token, UnixMicros now) const {
  const Digest digest = DigestOf(token);
  const Caller* caller = nullptr;
  for (const auto& known : known_) {  // All of them, whichever it is.
    if (CRYPTO_memcmp(known.digest.data(), digest.data(), digest.size()) == 0) caller = &known.caller;
  }
  if (caller != nullptr) return *caller;
  if (keys_ == nullptr) return InvalidInput("The token is not known.");

  const auto unknown_keys = [] { return Transient("The keys of the tokens' issuer are not to be had at the moment."); };
  const auto keys = keys_->Keys();
  if (keys == nullptr) return unknown_keys();
  auto claims = VerifyJwt(token, *keys, rules_, now);
  if (!claims.ok() && KindOf(claims.status()) == ErrorKind::kNotFound) {
    const auto newer = keys_->KeysAskedAnew();
    if (newer == nullptr) return unknown_keys();
    claims = VerifyJwt(token, *newer, rules_, now);
  }
  if (!claims.ok()) return InvalidInput("{}", claims.status().message());
  return Caller{claims->subject.empty() ? "" : "subject " + claims->subject, std::move(claims->scopes),
                claims->believed_until};
}

}  // namespace millrace::serve
