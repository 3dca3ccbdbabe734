/// The head of a request, judged, and that of a response, written. Nothing here waits or reads.
#pragma once

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "http/problem.h"
#include "http/server.h"

namespace millrace::http {

using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

/// Looks for a line of the head that begins with white space: in a request it makes the field before it go on (RFC
/// 9112, 5.2), which each server on the way may read in its own way. Beast joins such lines in silence.
class FoldedLines {
 public:
  /// False: there is one. What follows the head is not looked at.
  bool Take(std::string_view bytes);

 private:
  bool seen_a_line_ = false;
  bool line_is_empty_ = true;
  bool done_ = false;
};

/// What reading failed with as an answer, after which the connection's bytes mean nothing more. nullopt: nobody is
/// listening.
std::optional<Problem> ProblemOf(boost::system::error_code error, const Parser& parser, const ServerOptions& options);

/// The answer to a head that did not come in time; `part`: "head" or "body".
Problem TooSlow(const char* part, std::chrono::milliseconds timeout);

/// What is wrong with a head that the parser has let pass; after it, too, the connection's bytes mean nothing more.
std::optional<Problem> CheckHead(const Parser::value_type& message, const ServerOptions& options);

/// The answer to a chunked body with more around its bytes than a body needs.
Problem TooMuchAroundChunks(const ServerOptions& options);

/// A request without its body. To be called before the body is read: the parser puts trailers among the headers, and
/// what stands there must not count as said in the head (RFC 9110, 6.5.1).
Request RequestOf(const Parser::value_type& message);

/// All of a response but the body, whose source is still in it. `version` is the request's: 10 or 11.
std::string HeadOf(const Response& response, bool keep_alive, unsigned version);

}  // namespace millrace::http
