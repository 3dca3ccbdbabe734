/// Certificates for tests, made in the test: authorities, servers and clients, good for an hour. PEM texts.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

namespace millrace::http {

class TestCertificate {
 public:
  /// Signed by `issuer`; nullptr: by itself. An authority may sign others. `seconds_left` may be negative: expired.
  explicit TestCertificate(const std::string& name, const TestCertificate* issuer = nullptr, bool authority = false,
                           long seconds_left = 3600)
      : key_(EVP_EC_gen("P-256"), &EVP_PKEY_free), certificate_(X509_new(), &X509_free) {
    X509* const raw = certificate_.get();
    static long serial = 0;
    X509_set_version(raw, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(raw), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(raw), -7200);
    X509_gmtime_adj(X509_getm_notAfter(raw), seconds_left);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(raw), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509* const signer = issuer == nullptr ? raw : issuer->certificate_.get();
    X509_set_issuer_name(raw, X509_get_subject_name(signer));
    X509_set_pubkey(raw, key_.get());
    Extend(NID_basic_constraints, authority ? "critical,CA:TRUE" : "critical,CA:FALSE", signer);
    Extend(NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1", signer);
    X509_sign(raw, issuer == nullptr ? key_.get() : issuer->key_.get(), EVP_sha256());
  }

  std::string Pem() const {
    return Text([&](BIO* out) { PEM_write_bio_X509(out, certificate_.get()); });
  }
  /// With a passphrase unless that is empty.
  std::string KeyPem(const std::string& passphrase = "") const {
    return Text([&](BIO* out) {
      const auto* const bytes = reinterpret_cast<const unsigned char*>(passphrase.data());
      PEM_write_bio_PrivateKey(out, key_.get(), passphrase.empty() ? nullptr : EVP_aes_128_cbc(), bytes,
                               static_cast<int>(passphrase.size()), nullptr, nullptr);
    });
  }

 private:
  void Extend(int nid, const char* value, X509* issuer) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate_.get(), nullptr, nullptr, 0);
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    X509_add_ext(certificate_.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  template <typename Write>
  static std::string Text(const Write& write) {
    const std::unique_ptr<BIO, int (*)(BIO*)> bio(BIO_new(BIO_s_mem()), &BIO_free);
    write(bio.get());
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return std::string(data, static_cast<std::size_t>(size));
  }

  std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key_;
  std::unique_ptr<X509, void (*)(X509*)> certificate_;
};

}  // namespace millrace::http
