/// An HTTP server on loopback that answers what a test says, for replies that no real server can be brought to give.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace millrace::testing {

struct StubRequest {
  std::string method;
  std::string target;                          ///< "/path?query"
  std::map<std::string, std::string> headers;  ///< Names in lower case.
  std::string body;
};

struct StubReply {
  int status = 200;
  std::string body = {};
  std::map<std::string, std::string> headers = {};
  bool drop = false;   ///< Close the connection instead.
  bool stall = false;  ///< Send nothing until the server ends.
};

/// One connection at a time, closed after each reply. Any thread.
class StubHttpServer {
 public:
  using Handler = std::function<StubReply(const StubRequest&)>;

  /// Listens on a free port until it is destroyed. `handler` runs on the server's thread.
  explicit StubHttpServer(Handler handler);
  ~StubHttpServer();

  /// "http://127.0.0.1:PORT"
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  /// Everything that was asked so far.
  std::vector<StubRequest> requests() const;

 private:
  void Serve();
  void ServeOne(int connection);

  const Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::vector<StubRequest> requests_;
  std::vector<int> stalled_;  // Server thread only.
  std::thread thread_;        // Last: uses all of the above.
};

}  // namespace millrace::testing
