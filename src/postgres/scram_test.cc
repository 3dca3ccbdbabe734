// The server's side of SCRAM against a client written here from RFC 5802.
#include "postgres/scram.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "testing/status_matchers.h"

namespace millrace::postgres {
namespace {

std::string Hmac(const std::string& key, const std::string& data) {
  std::string mac(32, '\0');
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(data.data()),
       data.size(), reinterpret_cast<unsigned char*>(mac.data()), &size);
  return mac;
}

std::string Sha(const std::string& data) {
  std::string digest(32, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

std::string Attribute(const std::string& message, const std::string& name) {
  const auto at = message.find(name + "=");
  return message.substr(at + 2, message.find(',', at) - at - 2);
}

struct Client {
  std::string password;
  std::string header = "n,,";
  std::string binding{};  // After the header, in the final message.
  std::string mechanism = kScramMechanism;

  std::string first() const { return header + "n=,r=clientnonce"; }

  struct Proof {
    std::string message;
    std::string server_signature;
  };
  Proof Final(const std::string& server_first) const {
    std::string salted(32, '\0');
    const std::string salt = *FromBase64(Attribute(server_first, "s"));
    PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()),
                      reinterpret_cast<const unsigned char*>(salt.data()), static_cast<int>(salt.size()),
                      std::stoi(Attribute(server_first, "i")), EVP_sha256(), 32,
                      reinterpret_cast<unsigned char*>(salted.data()));
    const std::string key = Hmac(salted, "Client Key");
    const std::string without_proof = "c=" + ToBase64(header + binding) + ",r=" + Attribute(server_first, "r");
    const std::string auth = first().substr(header.size()) + "," + server_first + "," + without_proof;
    std::string proof = Hmac(Sha(key), auth);
    for (std::size_t i = 0; i < proof.size(); ++i) proof[i] = static_cast<char>(proof[i] ^ key[i]);
    return {without_proof + ",p=" + ToBase64(proof), "v=" + ToBase64(Hmac(Hmac(salted, "Server Key"), auth))};
  }
};

TEST(PostgresScram, AnyOfTheTokensOpensTheDoorAndTheServerProvesItself) {
  const ScramSecrets secrets({"alpha", "beta", "gamma"});
  for (std::size_t i = 0; i < 3; ++i) {
    const Client client{.password = std::vector<std::string>{"alpha", "beta", "gamma"}[i]};
    ScramExchange exchange(secrets, "");
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first, exchange.First(client.mechanism, client.first()));
    const auto proof = client.Final(first);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto done, exchange.Final(proof.message));
    ASSERT_TRUE(done);
    EXPECT_EQ(done->password, i);
    EXPECT_EQ(done->server_final, proof.server_signature);
  }
}

TEST(PostgresScram, AnotherPasswordDoesNot) {
  const ScramSecrets secrets({"alpha"});
  const Client client{.password = "alphb"};
  ScramExchange exchange(secrets, "");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first, exchange.First(client.mechanism, client.first()));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto done, exchange.Final(client.Final(first).message));
  EXPECT_FALSE(done);
}

TEST(PostgresScram, PlusBindsTheConnection) {
  const ScramSecrets secrets({"alpha"});
  for (const std::string end_point : {"this", "other"}) {
    const Client client{.password = "alpha",
                        .header = "p=tls-server-end-point,,",
                        .binding = end_point,
                        .mechanism = kScramPlusMechanism};
    ScramExchange exchange(secrets, "this");
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first, exchange.First(client.mechanism, client.first()));
    const auto done = exchange.Final(client.Final(first).message);
    EXPECT_EQ(done.ok() && done->has_value(), end_point == "this");
  }
}

TEST(PostgresScram, WhatIsNotOfItsFormIsRefused) {
  struct Case {
    const char* name;
    const char* mechanism;
    const char* first;
  };
  const Case cases[] = {
      {"another mechanism", "SCRAM-SHA-1", "n,,n=,r=x"},
      {"plus without TLS", kScramPlusMechanism, "p=tls-server-end-point,,n=,r=x"},
      {"bound without plus", kScramMechanism, "p=tls-server-end-point,,n=,r=x"},
      {"an identity", kScramMechanism, "n,a=root,n=,r=x"},
      {"no nonce", kScramMechanism, "n,,n=,r="},
      {"an extension that must be known", kScramMechanism, "n,,m=x,n=,r=x"},
      {"nothing", kScramMechanism, ""},
  };
  const ScramSecrets secrets({"alpha"});
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    ScramExchange exchange(secrets, "");
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, exchange.First(c.mechanism, c.first).status());
  }
  // A client that was told that nothing can be bound, which is not true.
  ScramExchange downgraded(secrets, "this");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, downgraded.First(kScramMechanism, "y,,n=,r=x").status());
}

TEST(PostgresScram, AFinalMessageOfAnotherExchangeIsRefused) {
  const ScramSecrets secrets({"alpha"});
  const Client client{.password = "alpha"};
  ScramExchange one(secrets, "", "one");
  ScramExchange other(secrets, "", "other");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first, one.First(client.mechanism, client.first()));
  ASSERT_TRUE(other.First(client.mechanism, client.first()).ok());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, other.Final(client.Final(first).message).status());
  ScramExchange early(secrets, "");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, early.Final(client.Final(first).message).status());
  const auto whole = client.Final(first).message;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, one.Final(whole.substr(0, size)).status());
  }
}

TEST(PostgresBase64, OnlyTheOneFormReads) {
  for (const char* text : {"", "AA==", "AAA=", "AAAA"}) EXPECT_EQ(ToBase64(*FromBase64(text)), text);
  for (const char* text : {"A", "AB==", "A===", "====", "AA= ", "AAAA ", "!!!!"})
    EXPECT_FALSE(FromBase64(text)) << text;
}

}  // namespace
}  // namespace millrace::postgres
