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
  std::string last_event_id{};    ///< Of a stream of events that was cut; empty: none.
  std::string accept_encoding{};  ///< All Accept-Encoding headers, joined by ", "; empty: none.
  std::string if_none_match{};    ///< All If-None-Match headers, joined by ", "; empty: none.
  /// Requested when nobody waits for the response any more: at the deadline, when the client has left (which is noticed
  /// on Lane::kLong and kStream, and while a BodySource is asked), or when it has been sent.
  std::stop_token stop{};
  std::string origin{};            ///< Of the page that asks, as browsers say it: "https://bi.example"; empty: none.
  std::string asks_to_send{};      ///< Of a browser's preflight: the method that it wants to use; empty: it is none.
  std::string client_address{};    ///< "192.0.2.7", "2001:db8::7"; empty: not known.
  std::string content_type{};      ///< Of the body; empty: none.
  std::string content_encoding{};  ///< Of the body, as sent; all such headers, joined by ", "; empty: none.
  std::string idempotency_key{};   ///< Empty: none. Of several headers "a, b".
  /// What begins with "ce-", of CloudEvents in HTTP's binary mode: names in lower case without that, and values.
  std::vector<std::pair<std::string, std::string>> cloud_event{};
  std::shared_ptr<void> prepared{};  ///< What AtOnce (server.h) leaves to the handler; nullptr: nothing.
};

struct Response {
  int status = 200;
  std::string content_type;
  /// With a Content-Length, or, if it has a source, in chunks (HTTP/1.1) or up to the connection's end (1.0). In answer
  /// to HEAD the headers alone are sent, and a source is not asked.
  Body body;
  std::vector<std::pair<std::string, std::string>> headers;  ///< More; values must be free of line breaks.
  std::shared_ptr<void> held{};  ///< Released when the body has been sent or dropped: what it draws its memory from.

  /// Another one of the same body, which is not copied. Not of a body with a source. `held` stays with this one: what
  /// waits for that memory must not wait for everybody who reads the body.
  Response Share() const { return {status, content_type, body.Share(), headers}; }
};

}  // namespace millrace::http
