#include "gateway/dialects.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <boost/json.hpp>
#include <string>
#include <string_view>

#include "base/json_text.h"

namespace millrace::gateway {
namespace {

namespace json = boost::json;

constexpr int kAllTaken = 202;
constexpr int kSomeTaken = 200;

/// What an answer says.
struct Told {
  int status = 0;  ///< Of the protocol: of those that a client sends again, or gives up.
  std::int64_t accepted = 0;
  std::int64_t rejected = 0;
  std::string message;
};

std::string TextOf(const json::object& object, std::string_view name) {
  const auto* text = object.if_contains(json::string_view(name.data(), name.size()));
  return text != nullptr && text->is_string() ? std::string(text->get_string()) : std::string();
}

// Of the first few, what is wrong with them.
std::string DetailsOf(const json::array& rejected) {
  constexpr std::size_t kShown = 3;
  std::string details;
  for (std::size_t i = 0; i < std::min(rejected.size(), kShown); ++i) {
    details += (i == 0 ? "" : "; ") + TextOf(rejected[i].get_object(), "detail");
  }
  if (rejected.size() > kShown) details += fmt::format("; and {} more", rejected.size() - kShown);
  return details;
}

Told ReadAnswer(const http::Response& answer) {
  Told told{.status = answer.status};
  json::error_code error;
  std::string text = answer.body.Text();
  // What a sender wrote may be in it, cut.
  const auto is_high = [](char c) { return static_cast<unsigned char>(c) >= 0x80; };
  if (!simdjson::validate_utf8(text)) std::ranges::replace_if(text, is_high, '?');
  const json::value parsed = json::parse(text, error);
  if (error || !parsed.is_object()) return told;
  const auto& object = parsed.get_object();
  told.message = TextOf(object, "detail");
  if (const std::string hint = TextOf(object, "hint"); !hint.empty()) told.message += " " + hint;
  if (const auto* accepted = object.if_contains("accepted")) told.accepted = accepted->to_number<std::int64_t>();
  const auto* rejected = object.if_contains("rejected");
  if (rejected == nullptr) return told;
  const auto& list = rejected->get_array();
  told.rejected = std::ssize(list);
  told.message += (told.message.empty() ? "" : " ") + DetailsOf(list);
  const bool may_come_again = std::any_of(list.begin(), list.end(), [](const json::value& one) {
    const std::string code = TextOf(one.get_object(), "code");
    return code == "unavailable" || code == "outcome_unknown";
  });
  if (may_come_again) {
    told.status = 503;
    told.message = fmt::format("The log has not taken {} of {} events: {}", told.rejected,
                               told.rejected + told.accepted, told.message);
  }
  return told;
}

http::Response With(http::Response answer, int status, std::string content_type, std::string body) {
  if (status == 503 && std::none_of(answer.headers.begin(), answer.headers.end(),
                                    [](const auto& header) { return header.first == "Retry-After"; })) {
    answer.headers.emplace_back("Retry-After", "1");
  }
  answer.status = status;
  answer.content_type = std::move(content_type);
  answer.body = http::Body(std::move(body));
  return answer;
}

// google.rpc.Code
int RpcCodeOf(int status) {
  switch (status) {
    case 401:
      return 16;  // UNAUTHENTICATED
    case 403:
      return 7;  // PERMISSION_DENIED
    case 404:
      return 5;  // NOT_FOUND
    case 405:
    case 501:
      return 12;  // UNIMPLEMENTED
    case 429:
      return 8;  // RESOURCE_EXHAUSTED
    case 503:
      return 14;  // UNAVAILABLE
    case 504:
      return 4;  // DEADLINE_EXCEEDED
    default:
      return status < 500 ? 3 : 13;  // INVALID_ARGUMENT, INTERNAL
  }
}

void PutVarint(std::uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

// In Protobuf, a field of bytes.
void PutBytes(int number, std::string_view bytes, std::string& out) {
  PutVarint(static_cast<std::uint64_t>(number << 3 | 2), out);
  PutVarint(bytes.size(), out);
  out += bytes;
}

// Field 1 a number and field 2 a text: a Status, and what all partial successes look like.
std::string NumberAndText(std::int64_t number, std::string_view text) {
  std::string out = "\x08";
  PutVarint(static_cast<std::uint64_t>(number), out);
  PutBytes(2, text, out);
  return out;
}

std::string_view RejectedNameOf(OtlpSignal signal) {
  switch (signal) {
    case OtlpSignal::kLogs:
      return "rejectedLogRecords";
    case OtlpSignal::kMetrics:
      return "rejectedDataPoints";
    case OtlpSignal::kTraces:
      break;
  }
  return "rejectedSpans";
}

std::string_view InfluxCodeOf(int status) {
  switch (status) {
    case 401:
      return "unauthorized";
    case 403:
      return "forbidden";
    case 404:
      return "not found";
    case 405:
      return "method not allowed";
    case 413:
      return "request too large";
    case 415:
      return "unsupported media type";
    case 429:
      return "too many requests";
    case 503:
    case 504:
      return "unavailable";
    default:
      return status < 500 ? "invalid" : "internal error";
  }
}

// One that clients know what to do with: 400 is never sent again, 503 is.
int PlainStatus(int status) {
  if (status == 422) return 400;
  return status == 409 ? 503 : status;
}

}  // namespace

http::Response InOtlpWords(http::Response answer, OtlpSignal signal, bool is_json) {
  const char* const type = is_json ? "application/json" : "application/x-protobuf";
  if (answer.status == kAllTaken) return With(std::move(answer), 200, type, is_json ? "{}" : "");
  Told told = ReadAnswer(answer);
  if (told.status == kSomeTaken) {
    std::string body;
    if (is_json) {
      body =
          fmt::format("{{\"partialSuccess\":{{\"{}\":\"{}\",\"errorMessage\":", RejectedNameOf(signal), told.rejected);
      AppendJsonString(told.message, body);
      body += "}}";
    } else {
      PutBytes(1, NumberAndText(told.rejected, told.message), body);
    }
    return With(std::move(answer), 200, type, std::move(body));
  }
  const int status = PlainStatus(told.status);
  std::string body;
  if (is_json) {
    body = fmt::format("{{\"code\":{},\"message\":", RpcCodeOf(status));
    AppendJsonString(told.message, body);
    body += '}';
  } else {
    body = NumberAndText(RpcCodeOf(status), told.message);
  }
  return With(std::move(answer), status, type, std::move(body));
}

http::Response InInfluxWords(http::Response answer) {
  if (answer.status == kAllTaken) return With(std::move(answer), 204, "", "");
  Told told = ReadAnswer(answer);
  if (told.status == kSomeTaken) {
    told.status = 400;
    told.message = fmt::format("partial write: {} of {} points were not accepted: {}", told.rejected,
                               told.rejected + told.accepted, told.message);
  }
  const int status = PlainStatus(told.status);
  std::string body = fmt::format("{{\"code\":\"{}\",\"message\":", InfluxCodeOf(status));
  AppendJsonString(told.message, body);
  body += '}';
  return With(std::move(answer), status, "application/json", std::move(body));
}

}  // namespace millrace::gateway
