#include "postgres/scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>

namespace millrace::postgres {
namespace {

constexpr int kIterations = 4096;  // RFC 7677 wants no fewer; PostgreSQL's own default.
constexpr std::size_t kSaltBytes = 16;
constexpr std::size_t kNonceBytes = 18;

using Key = std::array<unsigned char, 32>;

Key Hmac(const unsigned char* key, std::size_t key_size, std::string_view data) {
  Key mac{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key, static_cast<int>(key_size), reinterpret_cast<const unsigned char*>(data.data()), data.size(),
       mac.data(), &size);
  return mac;
}

Key Sha256(const Key& key) {
  Key digest{};
  SHA256(key.data(), key.size(), digest.data());
  return digest;
}

std::string RandomBytes(std::size_t size) {
  std::string bytes(size, '\0');
  MILLRACE_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(size)) == 1,
                 "OpenSSL has no random bytes");
  return bytes;
}

// The value of "c=value" at the front, which it takes with the comma after it.
std::optional<std::string_view> TakeAttribute(std::string_view& text, char name) {
  if (text.size() < 2 || text[0] != name || text[1] != '=') return std::nullopt;
  const auto end = std::min(text.find(','), text.size());
  const std::string_view value = text.substr(2, end - 2);
  text.remove_prefix(std::min(end + 1, text.size()));
  return value;
}

Status NotScram(const char* what) { return InvalidInput("the client's SCRAM message {}", what); }

}  // namespace

std::string ToBase64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::optional<std::string> FromBase64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  const auto padding = static_cast<std::size_t>(text.size() - std::min(text.find('='), text.size()));
  if (padding > 2) return std::nullopt;
  std::string bytes(3 * (text.size() / 4), '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  // OpenSSL passes over blanks and is content with other bits after the end.
  if (size < 0) return std::nullopt;
  bytes.resize(static_cast<std::size_t>(size) - padding);
  if (ToBase64(bytes) != text) return std::nullopt;
  return bytes;
}

ScramSecrets::ScramSecrets(const std::vector<std::string>& passwords) {
  const std::string salt = RandomBytes(kSaltBytes);
  salt_ = ToBase64(salt);
  for (const auto& password : passwords) {
    Key salted{};
    PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()),
                      reinterpret_cast<const unsigned char*>(salt.data()), static_cast<int>(salt.size()), kIterations,
                      EVP_sha256(), static_cast<int>(salted.size()), salted.data());
    secrets_.push_back(
        {Sha256(Hmac(salted.data(), salted.size(), "Client Key")), Hmac(salted.data(), salted.size(), "Server Key")});
    OPENSSL_cleanse(salted.data(), salted.size());
  }
}

ScramExchange::ScramExchange(const ScramSecrets& secrets, std::string end_point, std::string nonce)
    : secrets_(secrets), end_point_(std::move(end_point)), nonce_(std::move(nonce)) {}

std::string ScramExchange::RandomNonce() { return ToBase64(RandomBytes(kNonceBytes)); }

Result<std::string> ScramExchange::First(std::string_view mechanism, std::string_view client_first) {
  const bool is_plus = mechanism == kScramPlusMechanism;
  if (!is_plus && mechanism != kScramMechanism) return NotScram("names another mechanism");
  if (is_plus && end_point_.empty()) return NotScram("binds a channel that there is not");
  // gs2-header = ("n" | "y" | "p=" name) "," [authzid] ","
  const auto flag_end = client_first.find(',');
  if (flag_end == std::string_view::npos) return NotScram("has no header");
  const auto header_end = client_first.find(',', flag_end + 1);
  if (header_end == std::string_view::npos) return NotScram("has no header");
  const std::string_view flag = client_first.substr(0, flag_end);
  if (header_end != flag_end + 1) return NotScram("asks for another's identity");
  if (is_plus ? flag != "p=tls-server-end-point" : (flag != "n" && flag != "y")) {
    return NotScram("does not bind the channel as its mechanism does");
  }
  // A client that could bind and believes that we cannot was lied to in between.
  if (flag == "y" && !end_point_.empty()) {
    return NotScram("says that the server cannot bind the channel, which it can: somebody is in between");
  }
  gs2_header_ = client_first.substr(0, header_end + 1);
  client_first_bare_ = client_first.substr(header_end + 1);
  std::string_view rest = client_first_bare_;
  if (!TakeAttribute(rest, 'n')) return NotScram("has no user name");  // Any: PostgreSQL's clients leave it empty.
  const auto client_nonce = TakeAttribute(rest, 'r');
  const bool printable =
      client_nonce && !client_nonce->empty() &&
      std::all_of(client_nonce->begin(), client_nonce->end(), [](char c) { return c > ' ' && c <= '~'; });
  if (!printable) return NotScram("has no nonce");
  nonce_ = std::string(*client_nonce) + nonce_;
  server_first_ = fmt::format("r={},s={},i={}", nonce_, secrets_.salt_, kIterations);
  return server_first_;
}

Result<std::optional<ScramExchange::Done>> ScramExchange::Final(std::string_view client_final) {
  const auto proof_at = client_final.rfind(",p=");
  if (server_first_.empty() || proof_at == std::string_view::npos) return NotScram("has no proof");
  const std::string_view without_proof = client_final.substr(0, proof_at);
  std::string_view rest = without_proof;
  const auto binding = TakeAttribute(rest, 'c');
  const auto nonce = TakeAttribute(rest, 'r');
  const bool binds = gs2_header_.starts_with("p=");
  if (!binding || *binding != ToBase64(gs2_header_ + (binds ? end_point_ : ""))) {
    return NotScram("is bound to another connection");
  }
  if (!nonce || *nonce != nonce_) return NotScram("has another nonce");
  const auto proof = FromBase64(client_final.substr(proof_at + 3));
  if (!proof || proof->size() != std::tuple_size_v<Key>) return NotScram("has no proof");
  const std::string auth = fmt::format("{},{},{}", client_first_bare_, server_first_, without_proof);
  std::optional<Done> done;
  for (std::size_t i = 0; i < secrets_.secrets_.size(); ++i) {  // All of them, whichever it is.
    const auto& secret = secrets_.secrets_[i];
    Key client_key = Hmac(secret.stored_key.data(), secret.stored_key.size(), auth);
    for (std::size_t at = 0; at < client_key.size(); ++at) client_key[at] ^= static_cast<unsigned char>((*proof)[at]);
    const Key stored = Sha256(client_key);
    const Key signature = Hmac(secret.server_key.data(), secret.server_key.size(), auth);
    if (CRYPTO_memcmp(stored.data(), secret.stored_key.data(), stored.size()) == 0) {
      done = Done{i, "v=" + ToBase64({reinterpret_cast<const char*>(signature.data()), signature.size()})};
    }
  }
  return done;
}

}  // namespace millrace::postgres
