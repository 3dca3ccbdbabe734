/// A request as a handler gets it, and its response.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "http/body.h"

namespace millrace::http {

struct Request {
  std::string method;         ///< "GET"; any token.
  std::string target;         ///< As sent, without scheme and authority: "/v1/tables?x=1".
  std::string accept;         ///< All Accept headers, joined by ", "; empty: none.
  std::string authorization;  ///< Empty: none.
  std::string body;
  /// Requested when nobody waits for the response any more: at the deadline, or when the client has left.
  std::stop_token stop{};
};

struct Response {
  int status = 200;
  std::string content_type;
  Body body;  ///< Sent without its bytes in answer to HEAD, Content-Length kept.
  std::vector<std::pair<std::string, std::string>> headers;  ///< More; values must be free of line breaks.
  std::shared_ptr<void> held{};  ///< Released when the body has been sent or dropped: what it draws its memory from.
};

}  // namespace millrace::http
