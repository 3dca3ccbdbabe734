// Any bytes as a token are refused, for who makes them up has no key: also beside keys that are published, and with the
// signatures of tokens that were good once. Any bytes as a key set are refused, or become keys that can be asked.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "serve/jwt.h"

namespace {

using millrace::serve::JwkSet;
using millrace::serve::ParseJwkSet;
using millrace::serve::VerifyJwt;

// Of RFC 7517, appendix A.1, and RFC 8037, appendix A.2. What was signed with them is long over, or no claims.
constexpr std::string_view kPublished = R"({"keys":[
{"kty":"EC","crv":"P-256","kid":"1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
 "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"},
{"kty":"RSA","kid":"2011-04-29","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"},
{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr millrace::UnixMicros kNow = 1'795'341'600'000'000;
  static const JwkSet published = ParseJwkSet(kPublished).ValueOrDie();
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (VerifyJwt(bytes, published, {}, kNow).ok()) std::abort();
  const auto keys = ParseJwkSet(bytes);
  if (!keys.ok()) return 0;
  if (keys->keys.empty()) std::abort();
  if (VerifyJwt("eyJhbGciOiJFUzI1NiJ9.e30.AAAA", *keys, {}, kNow).ok()) std::abort();
  return 0;
}
