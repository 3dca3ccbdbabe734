// The server over TLS: requests, clients that are slow or have no certificate, and files that change meanwhile. A real
// TLS client over real sockets, certificates made here.
#include "http/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>

#include "http/server.h"
#include "http/test_certificates.h"
#include "http/test_client.h"
#include "testing/status_matchers.h"

namespace millrace::http {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
namespace ssl = asio::ssl;
using asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

void Write(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

class TlsClient {
 public:
  struct Options {
    const TestCertificate* certificate = nullptr;  // None is sent.
    int version_max = TLS1_3_VERSION;
    std::string protocols;  // As ALPN has them: "\x02h2".
  };
  explicit TlsClient(std::uint16_t port) : TlsClient(port, Options{}) {}
  TlsClient(std::uint16_t port, const Options& options) {
    if (options.certificate != nullptr) {
      context_.use_certificate(asio::buffer(options.certificate->Pem()), ssl::context::pem);
      context_.use_private_key(asio::buffer(options.certificate->KeyPem()), ssl::context::pem);
    }
    SSL_CTX_set_min_proto_version(context_.native_handle(), 0);
    SSL_CTX_set_max_proto_version(context_.native_handle(), options.version_max);
    SSL_CTX_set_security_level(context_.native_handle(), 0);  // Offers what is out of date, too.
    stream_.emplace(io_, context_);
    if (!options.protocols.empty()) {
      SSL_set_alpn_protos(stream_->native_handle(), reinterpret_cast<const unsigned char*>(options.protocols.data()),
                          static_cast<unsigned>(options.protocols.size()));
    }
    stream_->next_layer().connect({asio::ip::make_address("127.0.0.1"), port});
    stream_->handshake(ssl::stream_base::client, error_);
  }
  bool connected() const { return !error_; }
  std::string WhyNot() const { return error_.message(); }
  std::string version() { return SSL_get_version(stream_->native_handle()); }
  std::string ServerName() {
    X509* const certificate = SSL_get1_peer_certificate(stream_->native_handle());
    if (certificate == nullptr) return "";
    char name[64] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
    X509_free(certificate);
    return name;
  }
  // nullptr: none.
  SSL_SESSION* session() { return SSL_get_session(stream_->native_handle()); }
  bool Send(const std::string& bytes) {
    error_code error;
    asio::write(*stream_, asio::buffer(bytes), error);
    return !error;
  }
  // Until the end of the body that Content-Length announces.
  std::string ReadOne() {
    std::string out;
    char chunk[65536];
    for (std::size_t size = std::string::npos; out.size() < size;) {
      error_code error;
      out.append(chunk, stream_->read_some(asio::buffer(chunk), error));
      if (error) return out;
      const auto end = out.find("\r\n\r\n");
      const auto length = out.find("Content-Length: ");
      if (end != std::string::npos) size = end + 4 + std::stoul(out.substr(length + 16));
    }
    return out;
  }
  std::string Get(const std::string& target = "/") {
    Send("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
    return ReadOne();
  }
  // What ends the connection; nothing may be left to read.
  error_code ReadEnd() {
    char byte;
    error_code error;
    EXPECT_EQ(stream_->read_some(asio::buffer(&byte, 1), error), 0u);
    return error;
  }

 private:
  asio::io_context io_;
  ssl::context context_{ssl::context::tls_client};
  std::optional<ssl::stream<tcp::socket>> stream_;
  error_code error_;
};

Response Repeat(const Request& request) {
  return {200, "text/plain", request.method + " " + request.target + " " + request.body, {}};
}

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() {
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
    Store(first_, first_);
  }
  ~TlsTest() override { fs::remove_all(folder_); }

  std::string Path(const char* name) const { return folder_ + "/" + name; }
  TlsFiles Files(bool want_clients = false) const {
    return {Path("tls.crt"), Path("tls.key"), want_clients ? Path("ca.crt") : ""};
  }
  void Store(const TestCertificate& certificate, const TestCertificate& key) {
    Write(Path("tls.crt"), certificate.Pem());
    Write(Path("tls.key"), key.KeyPem());
  }
  std::unique_ptr<Server> Start(ServerOptions options = {}, Handler handler = Repeat, bool want_clients = false) {
    auto made = TlsTransports::Make(Files(want_clients), 0ms);
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    tls_ = *made;
    options.transports = tls_;
    auto server = Server::Start(options, std::move(handler));
    EXPECT_TRUE(server.ok()) << server.status().ToString();
    return *std::move(server);
  }

  std::string folder_ = ::testing::TempDir() + "tls_XXXXXX";
  const TestCertificate first_{"first"};
  const TestCertificate second_{"second"};
  std::shared_ptr<TlsTransports> tls_;
};

TEST_F(TlsTest, AnswersOneRequestAfterTheOther) {
  const auto server = Start();
  TlsClient client(server->port());
  // More than a TLS record and than what is read at once.
  const std::string body(100'000, 'b');
  client.Send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + body);
  EXPECT_THAT(client.ReadOne(), HasSubstr("POST /a " + body));
  // In one record: what was decrypted and not read yet is not seen by who looks at the socket.
  client.Send("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n" + std::string(10'000, 'b'));
  EXPECT_THAT(client.ReadOne(), HasSubstr("POST /b bbb"));
  client.Send("GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.ReadOne(), HasSubstr("GET /c "));
  EXPECT_EQ(client.ReadEnd(), asio::error::eof) << "it says good-bye: nothing was cut off";
}

TEST_F(TlsTest, ARefusalReachesAClientThatIsStillSending) {
  const auto server = Start({.body_bytes_max = 1000});
  TlsClient client(server->port());
  client.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
  for (int i = 0; i < 10; ++i) client.Send(std::string(20'000, 'b'));
  EXPECT_EQ(StatusOf(client.ReadOne()), 413);
}

TEST_F(TlsTest, AClientIsWatchedWhileItWaitsAndGoesOnAfterwards) {
  std::mutex mutex;
  std::condition_variable_any changed;
  bool entered = false;
  bool stopped = false;
  const auto server = Start({.lane = [](const Request&) { return Lane::kLong; }}, [&](const Request& request) {
    if (request.target != "/wait") return Repeat(request);
    std::unique_lock lock(mutex);
    entered = true;
    changed.notify_all();
    stopped = !changed.wait(lock, request.stop, [] { return false; });
    changed.notify_all();
    return Repeat(request);
  });
  {
    TlsClient client(server->port());
    for (const char* target : {"/a", "/b", "/c"}) {
      EXPECT_THAT(client.Get(target), HasSubstr(std::string("GET ") + target));
    }
    client.Send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return entered; });
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return stopped; });
}

TEST_F(TlsTest, WhoDoesNotShakeHandsIsCutOffAndHoldsUpNobody) {
  const auto server = Start({.header_timeout = 1s});
  TestClient silent(server->port());
  TestClient slow(server->port());
  slow.Send("\x16\x03\x01\x02");  // A handshake that begins, and does not go on.
  TlsClient client(server->port());
  EXPECT_THAT(client.Get(), HasSubstr("GET / ")) << "while the others are still there";
  EXPECT_EQ(silent.ReadAll(), "");
  EXPECT_EQ(StatusOf(slow.ReadAll()), 0);
  TestClient plain(server->port());
  plain.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(StatusOf(plain.ReadAll()), 0) << "a request in the clear gets no answer";
  EXPECT_THAT(client.Get(), HasSubstr("GET / "));
}

TEST_F(TlsTest, HandshakesGiveWayWhenThereAreTooManyConnections) {
  const auto server = Start({.connections_max = 2});
  TestClient first(server->port());
  TestClient second(server->port());
  TlsClient client(server->port());
  EXPECT_THAT(client.Get(), HasSubstr("GET / "));
  EXPECT_EQ(first.ReadAll(), "") << "the oldest without a request";
}

TEST_F(TlsTest, StopClosesIdleConnections) {
  const auto server = Start();
  TlsClient client(server->port());
  EXPECT_THAT(client.Get(), HasSubstr("GET / "));
  server->Stop(std::chrono::steady_clock::now() + 30s);
  EXPECT_TRUE(client.ReadEnd());
}

TEST_F(TlsTest, OnlyVersionsAndProtocolsThatAreStillSafe) {
  const auto server = Start();
  EXPECT_EQ(TlsClient(server->port()).version(), "TLSv1.3");
  TlsClient older(server->port(), {.version_max = TLS1_2_VERSION});
  EXPECT_EQ(older.version(), "TLSv1.2");
  EXPECT_THAT(older.Get(), HasSubstr("GET / "));
  EXPECT_THAT(TlsClient(server->port(), {.version_max = TLS1_1_VERSION}).WhyNot(), HasSubstr("alert protocol version"))
      << "it is the server that refuses";
  EXPECT_TRUE(TlsClient(server->port(), {.protocols = "\x02h2\x08http/1.1"}).connected());
  EXPECT_THAT(TlsClient(server->port(), {.protocols = "\x02h2"}).WhyNot(), HasSubstr("alert no application protocol"))
      << "rather than HTTP/1.1 read as HTTP/2";
}

TEST_F(TlsTest, AClientWantsACertificateOfTheAuthority) {
  const TestCertificate authority("authority", nullptr, true);
  Write(Path("ca.crt"), authority.Pem());
  const auto server = Start({}, Repeat, true);
  // In TLS 1.3 a client is through with the handshake before it has been judged: what counts is an answer.
  const auto answered = [&](const TestCertificate* certificate, int version = TLS1_3_VERSION) {
    TlsClient client(server->port(), {.certificate = certificate, .version_max = version});
    return client.connected() && StatusOf(client.Get()) == 200;
  };
  const TestCertificate known("known", &authority);
  EXPECT_TRUE(answered(&known));
  EXPECT_TRUE(answered(&known, TLS1_2_VERSION));
  EXPECT_FALSE(answered(nullptr));
  EXPECT_FALSE(answered(nullptr, TLS1_2_VERSION));
  const TestCertificate other_authority("authority", nullptr, true);
  const TestCertificate foreign("known", &other_authority);
  EXPECT_FALSE(answered(&foreign)) << "the same names, another key";
  const TestCertificate expired("known", &authority, false, -60);
  EXPECT_FALSE(answered(&expired));
  const TestCertificate own("known");
  EXPECT_FALSE(answered(&own));

  TlsClient client(server->port(), {.certificate = &known});
  EXPECT_EQ(StatusOf(client.Get()), 200);
  EXPECT_FALSE(SSL_SESSION_is_resumable(client.session())) << "each connection shows its certificate";
}

TEST_F(TlsTest, ARenewedCertificateIsServedToNewConnections) {
  const auto server = Start();
  TlsClient before(server->port());
  EXPECT_EQ(before.ServerName(), "first");
  tls_->Look();
  EXPECT_EQ(TlsClient(server->port()).ServerName(), "first") << "nothing has changed";
  Store(second_, second_);
  EXPECT_EQ(TlsClient(server->port()).ServerName(), "first") << "nobody has looked";
  tls_->Look();
  EXPECT_EQ(TlsClient(server->port()).ServerName(), "second");
  EXPECT_THAT(before.Get(), HasSubstr("GET / ")) << "who is there goes on";
}

// Kubernetes mounts a folder with ..data -> ..2026_1, and tls.crt -> ..data/tls.crt; a renewal renames a new ..data
// over the old one.
TEST_F(TlsTest, ALinkThatIsSwappedIsARenewal) {
  const fs::path mount = Path("mount");
  const auto put = [&](const char* version, const TestCertificate& certificate) {
    fs::create_directories(mount / version);
    Write(mount / version / "tls.crt", certificate.Pem());
    Write(mount / version / "tls.key", certificate.KeyPem());
    fs::create_directory_symlink(version, mount / "..new");
    fs::rename(mount / "..new", mount / "..data");
  };
  put("..1", first_);
  for (const char* file : {"tls.crt", "tls.key"}) {
    fs::remove(Path(file));
    fs::create_symlink(mount / "..data" / file, Path(file));
  }
  const auto server = Start();
  EXPECT_EQ(TlsClient(server->port()).ServerName(), "first");
  put("..2", second_);
  fs::remove_all(mount / "..1");
  tls_->Look();
  EXPECT_EQ(TlsClient(server->port()).ServerName(), "second");
}

TEST_F(TlsTest, ABrokenRenewalKeepsTheOneBefore) {
  const auto server = Start();
  const auto serves = [&](const char* name) {
    tls_->Look();
    EXPECT_EQ(TlsClient(server->port()).ServerName(), name);
  };
  Store(second_, first_);
  serves("first");
  Write(Path("tls.crt"), second_.Pem().substr(0, 200));
  serves("first");
  fs::remove(Path("tls.crt"));
  serves("first");
  Store(second_, second_);
  serves("second");
}

TEST_F(TlsTest, TheWatcherLooksByItself) {
  std::atomic<UnixMicros> not_after = 0;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto tls, TlsTransports::Make(Files(), 1ms, [&](const TlsIdentity& served) {
                                  not_after = served.not_after;
                                }));
  const UnixMicros before = not_after;
  const TestCertificate longer("longer", nullptr, false, 7200);
  Store(longer, longer);
  const auto deadline = std::chrono::steady_clock::now() + 120s;
  while (not_after == before && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_NEAR(static_cast<double>(not_after - before), 3600e6, 10e6);
}

TEST_F(TlsTest, AnIntermediateIsSentAlong) {
  const TestCertificate root("root", nullptr, true);
  const TestCertificate middle("middle", &root, true);
  const TestCertificate leaf("leaf", &middle);
  Write(Path("tls.crt"), leaf.Pem() + middle.Pem());
  Write(Path("tls.key"), leaf.KeyPem());
  const auto server = Start();
  ssl::context context(ssl::context::tls_client);
  context.add_certificate_authority(asio::buffer(root.Pem()));
  context.set_verify_mode(ssl::verify_peer);
  asio::io_context io;
  ssl::stream<tcp::socket> stream(io, context);
  stream.next_layer().connect({asio::ip::make_address("127.0.0.1"), server->port()});
  error_code error;
  stream.handshake(ssl::stream_base::client, error);
  EXPECT_FALSE(error) << error.message();
}

TEST_F(TlsTest, WhatIsWrongWithTheFilesIsSaidOfEach) {
  const std::string nothing;
  const std::string certificate = first_.Pem();
  const std::string key = first_.KeyPem();
  struct Case {
    const char* name;
    std::string certificate;
    std::string key;
    std::string client_ca;
    std::string TlsFiles::*file;
    const char* said;
  };
  const Case cases[] = {
      {"empty", nothing, key, certificate, &TlsFiles::certificate_file, "tls.crt' holds no certificate in PEM"},
      {"a key in its place", key, key, certificate, &TlsFiles::certificate_file, "holds no certificate"},
      {"cut off", certificate.substr(0, 200), key, certificate, &TlsFiles::certificate_file, "or a broken one"},
      {"second cut off", certificate + certificate.substr(0, 200), key, certificate, &TlsFiles::certificate_file,
       "or a broken one"},
      {"no key", certificate, certificate, certificate, &TlsFiles::key_file, "tls.key' holds no private key in PEM"},
      {"key cut off", certificate, key.substr(0, 100), certificate, &TlsFiles::key_file, "or a broken one"},
      {"key of another", certificate, second_.KeyPem(), certificate, &TlsFiles::key_file,
       "holds another key than that of the first certificate in '"},
      {"passphrase", certificate, first_.KeyPem("geheim"), certificate, &TlsFiles::key_file, "wants a passphrase"},
      {"authority", certificate, key, "nothing here", &TlsFiles::client_ca_file, "ca.crt' holds no certificate"},
      {"too large", certificate + std::string(2 << 20, '\n'), key, certificate, &TlsFiles::certificate_file,
       "cannot read '"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Write(Path("tls.crt"), c.certificate);
    Write(Path("tls.key"), c.key);
    Write(Path("ca.crt"), c.client_ca);
    const auto faults = CheckTlsFiles(Files(true));
    ASSERT_EQ(faults.size(), 1u);
    EXPECT_EQ(faults[0].file, c.file);
    EXPECT_THAT(faults[0].message, HasSubstr(c.said));
    EXPECT_THAT(faults[0].message, Not(HasSubstr("PRIVATE KEY")));
    const auto made = TlsTransports::Make(Files(true), 0ms);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(KindOf(made.status()), ErrorKind::kInvalidInput);
    EXPECT_EQ(made.status().message(), faults[0].message);
  }
  for (const char* file : {"tls.crt", "tls.key", "ca.crt"}) fs::remove(Path(file));
  fs::create_directory(Path("tls.key"));
  const auto faults = CheckTlsFiles(Files(true));
  ASSERT_EQ(faults.size(), 3u) << "all in one go";
  EXPECT_THAT(faults[0].message, HasSubstr("tls.crt': No such file or directory"));
  EXPECT_THAT(faults[1].message, HasSubstr("tls.key': Is a directory"));
}

TEST_F(TlsTest, AnExpiredCertificateIsServedAllTheSame) {
  const TestCertificate expired("expired", nullptr, false, -60);
  Store(expired, expired);
  EXPECT_THAT(CheckTlsFiles(Files()), IsEmpty());
  const auto server = Start();
  EXPECT_EQ(TlsClient(server->port()).ServerName(), "expired") << "whether to trust it is the client's affair";
  const auto tls = TlsTransports::Make(Files(), 0ms, [&](const TlsIdentity& served) {
    EXPECT_NEAR(static_cast<double>(served.not_after - SystemClock().Now()), -60e6, 10e6);
    EXPECT_EQ(served.subject, "CN = expired");
  });
  MILLRACE_ASSERT_OK(tls);
}

}  // namespace
}  // namespace millrace::http
