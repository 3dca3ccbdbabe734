// The wheel's libparquet exports an OpenSSL libcrypto of its own. If a program's TLS symbols bound to it, Debian's
// libssl would run on another version's structures and crash. The link order in cmake/Arrow.cmake prevents that; here
// it is looked at in a program that links everything, by asking the loader which file each symbol came from.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <parquet/properties.h>

#include <string>

namespace millrace {
namespace {

std::string FileOf(void* address) {
  Dl_info info{};
  return dladdr(address, &info) == 0 || info.dli_fname == nullptr ? std::string() : std::string(info.dli_fname);
}

/// The file that the loader binds `name` to when the program or a library of it asks, as libssl itself does.
std::string FileOfSymbol(const char* name) {
  void* address = dlsym(RTLD_DEFAULT, name);
  return address == nullptr ? std::string() : FileOf(address);
}

TEST(OpensslBinding, TheProgramUsesParquet) {
  // Without this the linker could leave libparquet out and the test below would show nothing.
  EXPECT_NE(FileOf(reinterpret_cast<void*>(&parquet::default_writer_properties)).find("libparquet"), std::string::npos);
}

TEST(OpensslBinding, SslSymbolsAreTheSystems) {
  for (const char* name : {"SSL_CTX_new", "SSL_connect", "SSL_read", "TLS_client_method"}) {
    SCOPED_TRACE(name);
    EXPECT_NE(FileOfSymbol(name).find("/libssl.so.3"), std::string::npos) << FileOfSymbol(name);
  }
}

TEST(OpensslBinding, CryptoSymbolsAreTheSystems) {
  for (const char* name : {"EVP_sha256", "EVP_DigestInit_ex", "CRYPTO_malloc", "OPENSSL_init_crypto", "RAND_bytes",
                           "X509_verify_cert", "BIO_new", "ERR_get_error"}) {
    SCOPED_TRACE(name);
    EXPECT_NE(FileOfSymbol(name).find("/libcrypto.so.3"), std::string::npos) << FileOfSymbol(name);
  }
  EXPECT_NE(FileOf(reinterpret_cast<void*>(&EVP_sha256)).find("/libcrypto.so.3"), std::string::npos);
}

TEST(OpensslBinding, AContextCanBeMadeAndTheVersionsAgree) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  ASSERT_NE(context, nullptr);
  SSL_CTX_free(context);
  EXPECT_STREQ(OpenSSL_version(OPENSSL_FULL_VERSION_STRING), OPENSSL_FULL_VERSION_STR);
}

}  // namespace
}  // namespace millrace
