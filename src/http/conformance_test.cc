// RFC 9112 to the letter, over real sockets: what is not HTTP is refused, with the status that says what is wrong, and
// what comes behind it on the connection is not read as a request; what is HTTP, however odd, is served, and the
// connection goes on. Other clients are answered meanwhile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "http/server.h"
#include "http/test_client.h"

namespace millrace::http {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kBegun = "GET / HTTP/1.1\r\nHost: x\r\n";
const std::string kPost = "POST / HTTP/1.1\r\nHost: x\r\n";
const std::string kChunked = kPost + "Transfer-Encoding: chunked\r\n\r\n";

std::string Times(int count, const std::string& text) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

Response EchoAll(const Request& request) {
  return {200,
          "text/plain",
          request.method + " " + request.target + " " + request.body + "|" + request.authorization + request.origin,
          {}};
}

std::unique_ptr<Server> StartEcho(const ServerOptions& options = {}) {
  auto server = Server::Start(options, EchoAll);
  EXPECT_TRUE(server.ok()) << server.status().ToString();
  return *std::move(server);
}

// Fails if another's request is not answered.
void AskBeside(TestClient& other) {
  other.Send("GET /beside HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(other.ReadOne(), HasSubstr("GET /beside |"));
}

TEST(HttpConformance, RefusesWhatIsMalformedOrAmbiguous) {
  const auto server = StartEcho();
  TestClient other(server->port());
  const std::string host = "Host: x\r\n";
  struct Case {
    const char* name;
    std::string bytes;
    int want;
  };
  const std::vector<Case> cases = {
      {"no HTTP", "hello\r\n\r\n", 400},
      {"TLS hello", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15), 400},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
      {"length and chunks",
       "POST / HTTP/1.1\r\n" + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"chunks and length",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400},
      {"two lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400},
      {"a signed length", "POST / HTTP/1.1\r\n" + host + "Content-Length: +4\r\n\r\nabcd", 400},
      {"a negative length", "POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", 400},
      {"a list of two lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 4, 5\r\n\r\nabcd", 400},
      {"a blank before the colon", "POST / HTTP/1.1\r\n" + host + "Content-Length : 4\r\n\r\nabcd", 400},
      {"bare line feeds", "GET / HTTP/1.1\nHost: x\n\n", 400},
      {"a bare line feed in the headers", "GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400},
      {"a broken chunk size", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n",
       400},
      {"a chunk without its end", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2\r\nhixx0\r\n\r\n",
       400},
      {"a NUL in a header", "GET / HTTP/1.1\r\n" + host + std::string("X: a\0b\r\n\r\n", 10), 400},
      {"a control character in the URL", "GET /\x01 HTTP/1.1\r\n" + host + "\r\n", 400},
      {"chunks, then identity", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, identity\r\n\r\n", 501},
      {"gzip in chunks", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {"gzip in chunks, in two fields",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501},
      {"chunks twice", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501},
      {"chunks twice, in two fields",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"chunks and identity, in two fields",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
       400},
      {"something like chunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
      {"something like chunked, the other way",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", 501},
      {"chunks in quotes", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 501},
      {"chunks with a parameter", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
       501},
      {"chunks and nothing", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 501},
      {"no coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding:\r\n\r\n0\r\n\r\n", 501},
      {"identity", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n\r\n", 501},
      {"a vertical tab before the coding",
       "POST / HTTP/1.1\r\n" + host +
           "Transfer-Encoding: \x0b"
           "chunked\r\n\r\n0\r\n\r\n",
       400},
      {"a blank before the colon of the coding",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
      {"another coding beside a length",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\nabcd", 400},
      {"a coding in HTTP/1.0", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"a folded coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400},
      {"a folded header", "GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n", 400},
      {"a long URL", "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n" + host + "\r\n", 414},
      {"an endless URL", "GET /" + std::string(100000, 'a'), 414},
      {"long headers", "GET / HTTP/1.1\r\n" + host + "X: " + std::string(20000, 'a') + "\r\n\r\n", 431},
      {"many headers", "GET / HTTP/1.1\r\n" + host + Times(3000, "A: b\r\n") + "\r\n", 431},
      {"a long body", "POST / HTTP/1.1\r\n" + host + "Content-Length: 2000000\r\n\r\n" + std::string(2000000, 'a'),
       413},
      {"long chunks",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n200000\r\n" + std::string(0x200000, 'a') +
           "\r\n0\r\n\r\n",
       413},

      // Lengths.
      {"a length in hexadecimal", kPost + "Content-Length: 0x4\r\n\r\nabcd", 400},
      {"a length beyond 64 bits", kPost + "Content-Length: 18446744073709551617\r\n\r\nabcd", 400},
      {"the largest length of 64 bits", kPost + "Content-Length: 18446744073709551615\r\n\r\nabcd", 413},
      {"no length in its header", kPost + "Content-Length:\r\n\r\n", 400},
      {"a length with a blank in it", kPost + "Content-Length: 1 1\r\n\r\nabcd", 400},
      {"a length with a point", kPost + "Content-Length: 4.0\r\n\r\nabcd", 400},
      {"a length with an underscore", kPost + "Content-Length: 1_0\r\n\r\nabcd", 400},
      {"a length and a comma", kPost + "Content-Length: 4,\r\n\r\nabcd", 400},
      // Codings.
      {"a coding that goes on in a folded line", kPost + "Transfer-Encoding: chunked\r\n ,identity\r\n\r\n0\r\n\r\n",
       400},
      {"a coding with a blank that is none", kPost + "Transfer-Encoding: chunked\xa0\r\n\r\n0\r\n\r\n", 501},
      {"a coding behind a bare line feed", kPost + "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      // Chunks.
      {"a chunk size beyond 64 bits", kChunked + "10000000000000004\r\nabcd\r\n0\r\n\r\n", 400},
      {"the largest chunk size", kChunked + "ffffffffffffffff\r\nabcd\r\n0\r\n\r\n", 413},
      {"a chunk size with a prefix", kChunked + "0x4\r\nabcd\r\n0\r\n\r\n", 400},
      {"a chunk size with a plus", kChunked + "+4\r\nabcd\r\n0\r\n\r\n", 400},
      {"a chunk size with a minus", kChunked + "-1\r\nabcd\r\n0\r\n\r\n", 400},
      {"a chunk size with an underscore", kChunked + "1_0\r\nabcd\r\n0\r\n\r\n", 400},
      {"no chunk size", kChunked + "\r\nabcd\r\n0\r\n\r\n", 400},
      {"a blank before a chunk size", kChunked + " 4\r\nabcd\r\n0\r\n\r\n", 400},
      {"a blank after a chunk size", kChunked + "4 \r\nabcd\r\n0\r\n\r\n", 400},
      {"a bare line feed after a chunk size", kChunked + "4\nabcd\r\n0\r\n\r\n", 400},
      {"a bare line feed after a chunk", kChunked + "4\r\nabcd\n0\r\n\r\n", 400},
      {"bare line feeds after the last chunk", kChunked + "4\r\nabcd\r\n0\n\n", 400},
      {"a bare carriage return after a chunk size", kChunked + "4\rabcd\r\n0\r\n\r\n", 400},
      {"a line feed in an extension", kChunked + "4;a\nb\r\nabcd\r\n0\r\n\r\n", 400},
      {"a NUL in an extension", kChunked + "4;a" + std::string(1, '\0') + "\r\nabcd\r\n0\r\n\r\n", 400},
      {"a line's end in a quoted extension", kChunked + "4;a=\"x\r\ny\"\r\nabcd\r\n0\r\n\r\n", 400},
      {"a line feed in a quoted extension", kChunked + "4;a=\"x\ny\"\r\nabcd\r\n0\r\n\r\n", 400},
      {"a carriage return in a quoted extension", kChunked + "4;a=\"x\ry\"\r\nabcd\r\n0\r\n\r\n", 400},
      {"an extension without a name", kChunked + "4;\r\nabcd\r\n0\r\n\r\n", 400},
      {"a huge extension", kChunked + "4;a=" + std::string(2 << 20, 'b') + "\r\nabcd\r\n0\r\n\r\n", 413},
      {"many extensions", kChunked + Times(300, "1;" + std::string(1000, 'b') + "\r\na\r\n") + "0\r\n\r\n", 413},
      {"a huge trailer", kChunked + "0\r\nX: " + std::string(2 << 20, 'y') + "\r\n\r\n", 413},
      {"many trailers", kChunked + "0\r\n" + Times(5000, "X: y\r\n") + "\r\n", 413},
      {"a length as a trailer", kChunked + "0\r\nContent-Length: 5\r\n\r\n", 400},
      {"a coding as a trailer", kChunked + "0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"a trailer without a colon", kChunked + "0\r\nno colon\r\n\r\n", 400},
      {"a NUL in a trailer", kChunked + "0\r\nX: " + std::string(1, '\0') + "\r\n\r\n", 400},
      // The request line.
      {"a NUL in the method", std::string("GE\0T / HTTP/1.1\r\nHost: x\r\n\r\n", 28), 400},
      {"a NUL in the URL", std::string("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 28), 400},
      {"a carriage return in the URL", "GET /a\rb HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a method that is no word", "G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a blank before the method", " GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"two blanks", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"tabs", "GET\t/\tHTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a blank in the URL", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a blank after the version", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400},
      {"no version", "GET /\r\nHost: x\r\n\r\n", 400},
      {"HTTP/0.9", "GET / HTTP/0.9\r\nHost: x\r\n\r\n", 400},
      {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 400},
      {"HTTP/1.10", "GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400},
      {"HTTP/01.1", "GET / HTTP/01.1\r\nHost: x\r\n\r\n", 400},
      {"a version in small letters", "GET / http/1.1\r\nHost: x\r\n\r\n", 400},
      {"a bare line feed after the request line", "GET / HTTP/1.1\nHost: x\r\n\r\n", 400},
      {"bare carriage returns", "GET / HTTP/1.1\rHost: x\r\r", 400},
      {"an endless method", std::string(100000, 'A'), 414},
      {"two empty lines before it", "\r\n\r\n" + kBegun + "\r\n", 400},
      {"a bare line feed before it", "\n" + kBegun + "\r\n", 400},
      // Targets.
      {"all of the server, for GET", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"an authority", "GET x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a tunnel", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a path without its slash", "GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a URL of another scheme", "GET ftp://x/a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a URL without an authority", "GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a URL with a user", "GET http://u:p@x/a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a URL and no Host", "GET http://x/a HTTP/1.1\r\n\r\n", 400},
      // Host.
      {"Host twice, the same", kBegun + "Host: x\r\n\r\n", 400},
      {"Host twice in HTTP/1.0", "GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", 400},
      {"two hosts in one", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
      {"a host with a user", "GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", 400},
      {"a host with a path", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400},
      {"a host with a word as its port", "GET / HTTP/1.1\r\nHost: x:http\r\n\r\n", 400},
      {"an address without its brackets", "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400},
      {"half a bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
      {"Host only in the trailers", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: x\r\n\r\n", 400},
      // Headers.
      {"a header without a colon", kBegun + "abc\r\n\r\n", 400},
      {"a header without a name", kBegun + ": abc\r\n\r\n", 400},
      {"a name that is no word", kBegun + "X(y): abc\r\n\r\n", 400},
      {"a name beyond ASCII", kBegun + "X\xe4: abc\r\n\r\n", 400},
      {"a tab before the colon", kBegun + "X\t: a\r\n\r\n", 400},
      {"a NUL in a name", kBegun + "X" + std::string(1, '\0') + ": a\r\n\r\n", 400},
      {"a carriage return in a header", kBegun + "X: a\rb\r\n\r\n", 400},
      {"two carriage returns", kBegun + "X: a\r\r\n\r\n", 400},
      {"a control character in a header", kBegun + "X: a\x07\r\n\r\n", 400},
      {"a blank before the first header", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400},
      {"too much to go on with", kPost + "Expect: 100-continue\r\nContent-Length: 999999999\r\n\r\n", 413},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    TestClient client(server->port());
    // A request behind the broken one must not be served: that is what smuggling is.
    client.Send(c.bytes + "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n");
    AskBeside(other);
    const std::string response = client.ReadAll();
    EXPECT_EQ(StatusOf(response), c.want) << response.substr(0, 300);
    EXPECT_THAT(response, HasSubstr("application/problem+json"));
    EXPECT_THAT(response, HasSubstr("Connection: close\r\n"));
    EXPECT_THAT(response, Not(HasSubstr("smuggled")));
  }
}

TEST(HttpConformance, ServesWhatIsOddAndGoesOn) {
  const auto server = StartEcho();
  TestClient other(server->port());
  struct Case {
    const char* name;
    std::string bytes;
    std::string want;  // The body.
  };
  const std::vector<Case> cases = {
      {"two lengths that are the same", kPost + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "POST / hi|"},
      {"a length with zeros before it", kPost + "Content-Length: 002\r\n\r\nhi", "POST / hi|"},
      {"a body for GET", kBegun + "Content-Length: 2\r\n\r\nhi", "GET / hi|"},
      {"a body of NULs", kPost + "Content-Length: 2\r\n\r\n" + std::string(2, '\0'),
       "POST / " + std::string(2, '\0') + "|"},
      {"headers that look like others", kPost + "Content_Length: 4\r\nTransfer_Encoding: chunked\r\n\r\n", "POST / |"},
      {"a chunk size with zeros before it", kChunked + std::string(40, '0') + "2\r\nhi\r\n0\r\n\r\n", "POST / hi|"},
      {"a chunk size in both cases", kChunked + "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
       "POST / 01234567890123456789|"},
      {"extensions", kChunked + "2;a;b=c;d=\"e;f\"\r\nhi\r\n0;g\r\n\r\n", "POST / hi|"},
      {"an extension as long as may be", kChunked + "2;a=" + std::string(15000, 'b') + "\r\nhi\r\n0\r\n\r\n",
       "POST / hi|"},
      {"a chunk for each byte", kChunked + Times(10000, "1\r\na\r\n") + "0\r\n\r\n",
       "POST / " + std::string(10000, 'a') + "|"},
      {"trailers, which say nothing",
       kChunked + "2\r\nhi\r\n0\r\nHost: y\r\nAuthorization: Bearer t\r\nOrigin: z\r\nConnection: close\r\n\r\n",
       "POST / hi|"},
      {"an empty line before it", "\r\n" + kBegun + "\r\n", "GET / |"},
      {"a header without a value", kBegun + "X:\r\n\r\n", "GET / |"},
      {"a value beyond ASCII", kBegun + "X: \xe4\r\n\r\n", "GET / |"},
      {"many headers", kBegun + Times(1000, "A: b\r\n") + "\r\n", "GET / |"},
      {"a proxy's target", "GET http://y/a?b HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a?b |"},
      {"a proxy's target, the scheme in capitals", "GET HTTPS://[::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n", "GET / |"},
      {"a proxy's target without a path", "GET http://y?b HTTP/1.1\r\nHost: x\r\n\r\n", "GET /?b |"},
      {"a URL in the path", "GET /http://y HTTP/1.1\r\nHost: x\r\n\r\n", "GET /http://y |"},
      {"all of the server", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * |"},
      {"no host in Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / |"},
      {"a host and a port", "GET / HTTP/1.1\r\nHost: a_b.example:8080\r\n\r\n", "GET / |"},
      {"an address of IPv6", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "GET / |"},
      {"an unknown method", "FROB / HTTP/1.1\r\nHost: x\r\n\r\n", "FROB / |"},
      {"a method in small letters", "get / HTTP/1.1\r\nHost: x\r\n\r\n", "get / |"},
      {"HTTP/1.0 that keeps the connection", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET / |"},
      {"HTTP/2 offered", kBegun + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
       "GET / |"},
      {"an expectation and no body", kBegun + "Expect: 100-continue\r\n\r\n", "GET / |"},
      {"an expectation that nobody knows", kPost + "Expect: more\r\nContent-Length: 2\r\n\r\nhi", "POST / hi|"},
      {"an expectation in HTTP/1.0, which has none",
       "POST / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
       "POST / hi|"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    TestClient client(server->port());
    client.Send(c.bytes + "GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    AskBeside(other);
    const std::string response = client.ReadOne();
    EXPECT_EQ(StatusOf(response), 200) << response.substr(0, 300);
    EXPECT_EQ(response.substr(std::min(response.size(), response.find("\r\n\r\n") + 4)), c.want);
    EXPECT_THAT(client.ReadAll(), HasSubstr("GET /next |"));
  }
}

TEST(HttpConformance, TheSameInSingleBytes) {
  const auto server = StartEcho();
  for (const std::string& bytes : {"\r\n" + kBegun + "\r\n", kChunked + "0\r\n\r\n", kChunked + "0\r\nX: y\r\n\r\n",
                                   kChunked + "2;a=\"b\"\r\nhi\r\n0\r\nX: y\r\n\r\n"}) {
    TestClient client(server->port());
    for (const char c : bytes) ASSERT_TRUE(client.Send(std::string(1, c)));
    EXPECT_EQ(StatusOf(client.ReadOne()), 200);
  }
}

TEST(HttpConformance, SlowClientsKeepNobodyWaiting) {
  const auto server =
      Server::Start({.header_timeout = 1s, .body_timeout = 1s, .write_timeout = 1s}, [](const Request& request) {
        if (request.target != "/large") return EchoAll(request);
        return Response{200, "text/plain", std::string(64 << 20, 'a'), {}};
      });
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  struct Case {
    const char* name;
    std::string bytes;
    int want;
  };
  const std::vector<Case> cases = {
      {"half a head", "GET / HTTP/1.1\r\nHo", 408},
      {"an empty line", "\r\n", 408},
      {"half a body", kPost + "Content-Length: 10\r\n\r\nabc", 408},
      {"half a chunk", kChunked + "a\r\nabc", 408},
      {"half an extension", kChunked + "a;abc", 408},
      {"half a trailer", kChunked + "0\r\nX: y\r\n", 408},
  };
  std::vector<std::unique_ptr<TestClient>> clients;
  TestClient other((*server)->port());
  for (const auto& c : cases) {
    clients.push_back(std::make_unique<TestClient>((*server)->port()));
    clients.back()->Send(c.bytes);
    AskBeside(other);
  }
  for (std::size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(cases[i].name);
    AskBeside(other);
    EXPECT_EQ(StatusOf(clients[i]->ReadAll()), cases[i].want);
  }
  TestClient does_not_read((*server)->port());
  does_not_read.Send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
  AskBeside(other);
  EXPECT_TRUE(does_not_read.WaitUntilCutOff());
  AskBeside(other);
}

}  // namespace
}  // namespace millrace::http
