#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/status.hpp>
#include <iterator>

#include "base/ascii_case.h"
#include "http/head_internal.h"

namespace millrace::http {
namespace {

namespace beast = boost::beast;
using boost::system::error_code;

constexpr std::size_t kHeadBytes = 512;  // Of a response, mostly.

std::string_view ViewOf(beast::string_view text) { return {text.data(), text.size()}; }

// Of several headers of one name.
void Join(std::string_view value, std::string& joined) {
  if (!joined.empty()) joined += ", ";
  joined += value;
}

// Where a header belongs that Beast has a number for; nullptr: nobody wants it.
std::string* PlaceOf(beast::http::field field, Request& request) {
  switch (field) {
    case beast::http::field::accept:
      return &request.accept;
    case beast::http::field::accept_encoding:
      return &request.accept_encoding;
    case beast::http::field::access_control_request_method:
      return &request.asks_to_send;
    case beast::http::field::authorization:
      return &request.authorization;
    case beast::http::field::content_encoding:
      return &request.content_encoding;
    case beast::http::field::content_type:
      return &request.content_type;
    case beast::http::field::if_none_match:
      return &request.if_none_match;
    case beast::http::field::origin:
      return &request.origin;
    default:
      return nullptr;
  }
}

Problem UrlTooLong(const ServerOptions& options) {
  return {414, "uri_too_long", fmt::format("The URL is longer than {} bytes.", options.target_bytes_max), {}};
}

// What follows "http://" or "https://"; empty: the target does not begin so.
std::string_view AfterScheme(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (beast::iequals(target.substr(0, scheme.size()), scheme)) return target.substr(scheme.size());
  }
  return {};
}

// "http://host/path" is what a proxy sends (RFC 9112, 3.2.2); which host is not ours to judge.
std::string OriginForm(std::string_view target) {
  const std::string_view rest = AfterScheme(target);
  if (rest.empty()) return std::string(target);
  const auto path = rest.find_first_of("/?");
  if (path == std::string_view::npos) return "/";
  return (rest[path] == '?' ? "/" : "") + std::string(rest.substr(path));
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// uri-host [":" port] of RFC 3986, 3.2.2, which may be empty; what is in brackets is an address of IPv6 or later.
bool IsHost(std::string_view text) {
  const auto in_name = [](char c) {
    return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("-._~%!$&'()*+,;=").find(c) != std::string_view::npos;
  };
  const bool bracketed = text.starts_with('[');
  const auto end = bracketed ? text.find(']') : text.find(':');
  if (bracketed && end == std::string_view::npos) return false;
  const std::string_view name = bracketed ? text.substr(1, end - 1) : text.substr(0, end);
  const std::string_view after = end == std::string_view::npos ? std::string_view() : text.substr(end + bracketed);
  return std::all_of(name.begin(), name.end(), [&](char c) { return in_name(c) || (bracketed && c == ':'); }) &&
         (after.empty() || (after[0] == ':' && std::all_of(after.begin() + 1, after.end(), IsDigit)));
}

// A path, what a proxy sends, or the whole server (RFC 9112, 3.2).
bool IsTarget(std::string_view target, beast::http::verb method) {
  if (target.find('#') != std::string_view::npos) return false;
  if (target.starts_with('/')) return true;
  if (target == "*") return method == beast::http::verb::options;
  const std::string_view rest = AfterScheme(target);
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
  return !authority.empty() && IsHost(authority);
}

// Where the body ends must not be a matter of taste (RFC 9112, 6.1 and 6.3): whoever stands before us and takes another
// coding, or a length beside one, for something else would see other requests on this connection than we do.
std::optional<Problem> CheckTransferCoding(const Parser::value_type& message) {
  if (message.count(beast::http::field::transfer_encoding) == 0) return std::nullopt;
  if (message.version() < 11 || message.count(beast::http::field::content_length) != 0) {
    return Problem{
        400, "malformed_request", "Transfer-Encoding is not for HTTP/1.0, and not beside Content-Length.", {}};
  }
  const auto [coding, end] = message.equal_range(beast::http::field::transfer_encoding);
  if (std::next(coding) == end && beast::iequals(coding->value(), "chunked")) return std::nullopt;
  return Problem{501, "transfer_coding", "The only transfer coding that is understood is 'chunked', alone.", {}};
}

}  // namespace

bool FoldedLines::Take(std::string_view bytes) {
  while (!bytes.empty() && !done_) {
    if (!line_is_empty_) {
      const auto end = bytes.find('\n');
      if (end == std::string_view::npos) return true;
      bytes.remove_prefix(end + 1);
      line_is_empty_ = true;
      continue;
    }
    const char c = bytes.front();
    bytes.remove_prefix(1);
    if (seen_a_line_ && (c == ' ' || c == '\t')) return false;
    if (c == '\n') {
      done_ = seen_a_line_;
    } else if (c != '\r') {
      line_is_empty_ = false;
      seen_a_line_ = true;
    }
  }
  return true;
}

std::optional<Problem> ProblemOf(error_code error, const Parser& parser, const ServerOptions& options) {
  if (error == beast::http::error::header_limit || error == beast::http::error::buffer_overflow) {
    if (parser.get().target().empty()) return UrlTooLong(options);  // The request line has no end yet.
    return Problem{431, "headers_too_large", fmt::format("The headers exceed {} bytes.", options.header_bytes_max), {}};
  }
  if (error == beast::http::error::body_limit) {
    return Problem{413, "body_too_large", fmt::format("The body exceeds {} bytes.", options.body_bytes_max), {}};
  }
  // beast::http::error covers every violation of the grammar; the rest are errors of the socket, and nobody is
  // listening.
  if (error.category() != beast::http::make_error_code(beast::http::error::bad_method).category()) return std::nullopt;
  if (error == beast::http::error::end_of_stream || error == beast::http::error::partial_message) return std::nullopt;
  return Problem{400,
                 "malformed_request",
                 fmt::format("The request's {} is not valid HTTP/1.1: {}.", parser.is_header_done() ? "body" : "head",
                             error.message()),
                 {}};
}

Problem TooSlow(const char* part, std::chrono::milliseconds timeout) {
  return Problem{
      408, "too_slow", fmt::format("The request's {} did not arrive within {} ms.", part, timeout.count()), {}};
}

std::optional<Problem> CheckHead(const Parser::value_type& message, const ServerOptions& options) {
  if (message.target().size() > options.target_bytes_max) return UrlTooLong(options);
  const auto [begin, end] = message.equal_range(beast::http::field::host);
  const auto hosts = std::distance(begin, end);
  if (hosts > 1 || (hosts == 0 && message.version() == 11)) {
    return Problem{400, "malformed_request", "HTTP/1.1 wants exactly one Host header.", {}};
  }
  if (hosts == 1 && !IsHost(ViewOf(begin->value()))) {
    return Problem{400, "malformed_request", "The Host header is not a host and, perhaps, a port.", {}};
  }
  if (!IsTarget(ViewOf(message.target()), message.method())) {
    return Problem{400, "malformed_request", "The request's target is neither a path nor a URL of http or https.", {}};
  }
  return CheckTransferCoding(message);
}

Problem TooMuchAroundChunks(const ServerOptions& options) {
  return {413,
          "body_too_large",
          fmt::format("The lines of the body's chunks, or its trailers, exceed {} bytes.", options.header_bytes_max),
          {}};
}

Request RequestOf(const Parser::value_type& message) {
  Request request;
  request.method = ViewOf(message.method_string());
  request.target = OriginForm(ViewOf(message.target()));
  for (const auto& header : message) {
    const std::string_view value = ViewOf(header.value());
    if (header.name() != beast::http::field::unknown) {
      if (std::string* const place = PlaceOf(header.name(), request)) Join(value, *place);
      continue;
    }
    const std::string name = AsciiLower(ViewOf(header.name_string()));
    if (name == "idempotency-key") Join(value, request.idempotency_key);
    if (name == "last-event-id" && request.last_event_id.empty()) request.last_event_id = value;
    if (name.starts_with("ce-")) request.cloud_event.emplace_back(name.substr(3), value);
  }
  return request;
}

std::string HeadOf(const Response& response, bool keep_alive, unsigned version) {
  const auto reason = beast::http::obsolete_reason(static_cast<beast::http::status>(response.status));
  std::string out;
  out.reserve(kHeadBytes);
  const auto add = [&out](auto... parts) { (out.append(parts), ...); };
  add("HTTP/1.1 ", std::to_string(response.status), " ", ViewOf(reason), "\r\nServer: millrace\r\n");
  if (response.status == 204 || response.status == 304) {
    // Neither a coding nor a length, which of a 304 would be that of the answer that is not sent: RFC 9110, 8.6.
  } else if (!response.body.has_source()) {
    add("Content-Length: ", std::to_string(response.body.bytes()), "\r\n");
  } else if (version > 10) {
    out += "Transfer-Encoding: chunked\r\n";
  }
  if (!response.content_type.empty()) add("Content-Type: ", std::string_view(response.content_type), "\r\n");
  const bool says_how_to_cache = std::any_of(response.headers.begin(), response.headers.end(),
                                             [](const auto& header) { return header.first == "Cache-Control"; });
  if (!says_how_to_cache) out += "Cache-Control: no-cache\r\n";
  out += "X-Content-Type-Options: nosniff\r\n";
  if (!keep_alive) out += "Connection: close\r\n";
  if (keep_alive && version == 10) out += "Connection: keep-alive\r\n";
  for (const auto& [name, value] : response.headers) add(std::string_view(name), ": ", std::string_view(value), "\r\n");
  out += "\r\n";
  return out;
}

}  // namespace millrace::http
