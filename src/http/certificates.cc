#include "http/certificates.h"

#include <fmt/format.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <fstream>
#include <iterator>
#include <system_error>

#include "http/tls_error_internal.h"

namespace millrace::http {
namespace {

// Certificates of a whole chain, or of all authorities of a country, are some hundred kilobytes.
constexpr std::size_t kFileBytesMax = 1 << 20;
constexpr const char* kNoCertificate = "holds no certificate in PEM, or a broken one";

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, Free>;
using Certificate = std::unique_ptr<X509, Free>;
using Key = std::unique_ptr<EVP_PKEY, Free>;

Bio Read(const std::string& pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

// Instead of asking for a passphrase on the terminal; says that one is needed.
int NoPassphrase(char*, int, int, void* asked) {
  if (asked != nullptr) *static_cast<bool*>(asked) = true;
  return -1;
}

std::vector<Certificate> CertificatesIn(const std::string& pem) {
  std::vector<Certificate> certificates;
  const Bio bio = Read(pem);
  while (X509* const next = PEM_read_bio_X509_AUX(bio.get(), nullptr, &NoPassphrase, nullptr)) {
    certificates.emplace_back(next);
  }
  // The last try fails, at best because there is nothing more; but one that is broken must not be passed over.
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!at_end) certificates.clear();
  ERR_clear_error();
  return certificates;
}

std::optional<std::string> ReadWhole(const std::string& path, std::string* why) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kFileBytesMax + 1, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(text.size())) && !file.eof()) {
    *why = errno != 0 ? std::generic_category().message(errno) : "it is not a file";
    return std::nullopt;
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  text.shrink_to_fit();
  if (text.size() <= kFileBytesMax) return text;
  *why = fmt::format("it has more than {} bytes", kFileBytesMax);
  return std::nullopt;
}

std::string CannotRead(const std::string& path, const std::string& why) {
  return fmt::format("cannot read '{}': {}", path, why);
}

std::string SubjectOf(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate), 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<std::size_t>(size));
}

UnixMicros NotAfter(X509* certificate) {
  std::tm time{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) != 1) return 0;
  return static_cast<UnixMicros>(::timegm(&time)) * 1'000'000;
}

// As ALPN has its name: after its length.
const std::vector<unsigned char>& WireName(AppProtocol protocol) {
  static const std::vector<unsigned char> kHttp11 = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  static const std::vector<unsigned char> kPostgres = {10, 'p', 'o', 's', 't', 'g', 'r', 'e', 's', 'q', 'l'};
  static const std::vector<unsigned char> kMqtt = {4, 'm', 'q', 't', 't'};
  switch (protocol) {
    case AppProtocol::kHttp11:
      return kHttp11;
    case AppProtocol::kPostgres:
      return kPostgres;
    case AppProtocol::kMqtt:
      break;
  }
  return kMqtt;
}

// Ours, of the protocols that a client offers. If it is not among them there is no connection: what comes would not be
// what is spoken here.
int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size, const unsigned char* offered,
                   unsigned offered_size, void* wire_name) {
  const auto& ours = *static_cast<const std::vector<unsigned char>*>(wire_name);
  unsigned char* match = nullptr;
  const int found = SSL_select_next_proto(&match, chosen_size, ours.data(), static_cast<unsigned>(ours.size()), offered,
                                          offered_size);
  if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = match;
  return SSL_TLSEXT_ERR_OK;
}

std::shared_ptr<SSL_CTX> MakeContext(AppProtocol protocol) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  SSL_CTX* const raw = context.get();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(raw, "ECDHE+AESGCM:ECDHE+CHACHA20");  // Of TLS 1.2; those of 1.3 are all of this kind.
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                               SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS);          // An idle connection keeps none.
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);  // Tickets are with the clients.
  SSL_CTX_set_alpn_select_cb(raw, &ChooseProtocol, const_cast<std::vector<unsigned char>*>(&WireName(protocol)));
  return context;
}

// The server's own, and those that a client needs to get from it to a root that it knows.
bool UseCertificates(SSL_CTX* context, const std::vector<Certificate>& certificates) {
  if (SSL_CTX_use_certificate(context, certificates[0].get()) != 1) return false;
  for (std::size_t i = 1; i < certificates.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, certificates[i].get()) != 1) return false;
  }
  return true;
}

bool WantClientsOf(SSL_CTX* context, const std::vector<Certificate>& authorities) {
  for (const auto& authority : authorities) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1) return false;
    if (SSL_CTX_add_client_CA(context, authority.get()) != 1) return false;
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  // A session that is resumed has not shown its certificate, which may have expired or lost its authority meanwhile.
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context, 0);
  return true;
}

}  // namespace

std::optional<TlsContent> ReadTlsFiles(const TlsFiles& files, std::vector<TlsFault>& faults) {
  TlsContent content;
  bool whole = true;
  const auto read = [&](std::string TlsFiles::*file, std::string& out) {
    std::string why;
    auto text = ReadWhole(files.*file, &why);
    if (!text) faults.push_back({file, CannotRead(files.*file, why)});
    whole &= text.has_value();
    if (text) out = *std::move(text);
  };
  read(&TlsFiles::certificate_file, content.certificate);
  read(&TlsFiles::key_file, content.key);
  if (!files.client_ca_file.empty()) read(&TlsFiles::client_ca_file, content.client_ca);
  return whole ? std::optional(std::move(content)) : std::nullopt;
}

std::optional<TlsIdentity> MakeTlsIdentity(const TlsFiles& files, const TlsContent& content,
                                           std::vector<TlsFault>& faults, AppProtocol protocol) {
  const std::size_t faults_before = faults.size();
  const auto fault = [&](std::string TlsFiles::*file, std::string what) {
    faults.push_back({file, fmt::format("'{}' {}", files.*file, what)});
  };
  ERR_clear_error();
  const auto certificates = CertificatesIn(content.certificate);
  if (certificates.empty()) fault(&TlsFiles::certificate_file, kNoCertificate);
  bool wants_passphrase = false;
  const Key key(PEM_read_bio_PrivateKey(Read(content.key).get(), nullptr, &NoPassphrase, &wants_passphrase));
  ERR_clear_error();
  if (key == nullptr) {
    fault(&TlsFiles::key_file, wants_passphrase ? "wants a passphrase; store the key without one, readable only to "
                                                  "whom this program runs as"
                                                : "holds no private key in PEM, or a broken one");
  }
  const auto authorities = CertificatesIn(content.client_ca);
  if (!files.client_ca_file.empty() && authorities.empty()) {
    fault(&TlsFiles::client_ca_file, kNoCertificate);
  }
  if (faults.size() > faults_before) return std::nullopt;

  TlsIdentity identity{MakeContext(protocol), SubjectOf(certificates[0].get()), NotAfter(certificates[0].get())};
  SSL_CTX* const context = identity.context.get();
  if (X509_check_private_key(certificates[0].get(), key.get()) != 1) {
    ERR_clear_error();
    fault(&TlsFiles::key_file, fmt::format("holds another key than that of the first certificate in '{}' ({})",
                                           files.certificate_file, identity.subject));
    return std::nullopt;
  }
  if (!UseCertificates(context, certificates)) {
    fault(&TlsFiles::certificate_file, fmt::format("cannot be used: {}", TakeTlsError()));
  } else if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    fault(&TlsFiles::key_file, fmt::format("cannot be used: {}", TakeTlsError()));
  } else if (!authorities.empty() && !WantClientsOf(context, authorities)) {
    fault(&TlsFiles::client_ca_file, fmt::format("cannot be used: {}", TakeTlsError()));
  }
  if (faults.size() > faults_before) return std::nullopt;
  return identity;
}

std::vector<TlsFault> CheckTlsFiles(const TlsFiles& files) {
  std::vector<TlsFault> faults;
  if (const auto content = ReadTlsFiles(files, faults)) MakeTlsIdentity(files, *content, faults);
  return faults;
}

std::optional<std::string> FaultOfAuthorities(const std::string& file) {
  std::string why;
  const auto text = ReadWhole(file, &why);
  if (!text) return CannotRead(file, why);
  if (CertificatesIn(*text).empty()) return fmt::format("'{}' {}", file, kNoCertificate);
  return std::nullopt;
}

}  // namespace millrace::http
