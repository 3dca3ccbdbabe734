/// A server's certificate and key as files: read, judged, and made into what OpenSSL serves with. No sockets here.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

struct ssl_ctx_st;  // SSL_CTX of OpenSSL.

namespace millrace::http {

/// What is spoken over TLS, as clients may ask for it by ALPN.
enum class AppProtocol { kHttp11, kPostgres, kMqtt };

/// PEM files.
struct TlsFiles {
  std::string certificate_file;  ///< The server's certificate, then those between it and its root, if there are any.
  std::string key_file;          ///< Its private key, not encrypted.
  /// Authorities: a client must have a certificate of one of them. Empty: clients need none.
  std::string client_ca_file;
};

/// What is wrong with one of them, as a sentence that names the file. Never shows what a key file holds.
struct TlsFault {
  std::string TlsFiles::*file;
  std::string message;
};

/// What the files hold, read at one moment.
struct TlsContent {
  std::string certificate;
  std::string key;
  std::string client_ca;
  friend bool operator==(const TlsContent&, const TlsContent&) = default;
};

/// What connections are served with.
struct TlsIdentity {
  std::shared_ptr<ssl_ctx_st> context;
  std::string subject;       ///< Of the certificate: "CN = api.example".
  UnixMicros not_after = 0;  ///< From then on clients refuse it.
};

/// nullopt, and why: a file cannot be read, or has more than 1 MiB.
std::optional<TlsContent> ReadTlsFiles(const TlsFiles& files, std::vector<TlsFault>& faults);

/// TLS 1.2 and 1.3 with ciphers that keep old recordings secret when the key is lost (ECDHE, AEAD); `protocol` by ALPN.
/// With authorities, every connection shows its certificate anew: none is resumed.
/// nullopt, and why: no certificate or key in a file, a key that needs a passphrase, one of another certificate, or one
/// that OpenSSL deems too weak. A certificate that has expired is taken: whether to go on without is not known here.
std::optional<TlsIdentity> MakeTlsIdentity(const TlsFiles& files, const TlsContent& content,
                                           std::vector<TlsFault>& faults, AppProtocol protocol = AppProtocol::kHttp11);

/// Both, for who wants to know whether it would work.
std::vector<TlsFault> CheckTlsFiles(const TlsFiles& files);

/// What is wrong with a PEM file of authorities to trust; nullopt: nothing.
std::optional<std::string> FaultOfAuthorities(const std::string& file);

}  // namespace millrace::http
