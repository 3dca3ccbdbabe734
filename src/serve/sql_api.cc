#include "serve/sql_api.h"

#include <algorithm>
#include <boost/json.hpp>
#include <string_view>
#include <vector>

#include "base/nearest_name.h"

namespace millrace::serve {
namespace {

namespace json = boost::json;

constexpr std::size_t kParametersMax = 1000;

Result<sql::Parameter> ParameterOf(std::string name, const json::value& value) {
  sql::Parameter parameter{.name = std::move(name)};
  if (const auto* text = value.if_string()) {
    parameter.value = std::string(*text);
  } else if (const auto* flag = value.if_bool()) {
    parameter.value = *flag;
  } else if (const auto* number = value.if_int64()) {
    parameter.value = *number;
  } else if (const auto* real = value.if_double()) {
    parameter.value = *real;
  } else if (value.is_uint64()) {
    return InvalidInput("params: {} is beyond BIGINT: give it as a text", value.get_uint64());
  } else if (!value.is_null()) {
    return InvalidInput("params: ${} is a list or an object: texts, numbers, true, false and null can be given",
                        parameter.name);
  }
  return parameter;
}

Result<std::vector<sql::Parameter>> ParametersOf(const json::value& value) {
  std::vector<sql::Parameter> parameters;
  if (const auto* list = value.if_array()) {
    for (const auto& element : *list) {
      ASSIGN_OR_RETURN(parameters.emplace_back(), ParameterOf(std::to_string(parameters.size() + 1), element));
    }
  } else if (const auto* named = value.if_object()) {
    for (const auto& [key, element] : *named) {
      ASSIGN_OR_RETURN(parameters.emplace_back(), ParameterOf(std::string(key), element));
    }
  } else {
    return InvalidInput("params: a list is expected, or an object of names");
  }
  if (parameters.size() > kParametersMax) return InvalidInput("params: more than {}", kParametersMax);
  return parameters;
}

}  // namespace

Result<SqlCall> ParseSqlCall(const std::string& body) {
  boost::system::error_code error;
  const auto parsed = json::parse(body, error);
  if (error) return InvalidInput("the body is not JSON: {}", error.message());
  if (!parsed.is_object()) return InvalidInput("the body must be a JSON object, such as {{\"sql\": \"SELECT 1\"}}");
  static const std::vector<std::string> kMembers = {"sql", "params", "timeout_ms", "freshness"};
  SqlCall call;
  bool has_sql = false;
  for (const auto& [key, value] : parsed.get_object()) {
    const std::string name(key);
    if (name == "sql") {
      if (!value.is_string()) return InvalidInput("sql: a text is expected");
      call.request.sql = std::string(value.get_string());
      has_sql = true;
    } else if (name == "params") {
      ASSIGN_OR_RETURN(call.request.parameters, ParametersOf(value));
    } else if (name == "timeout_ms") {
      if (!value.is_int64() || value.get_int64() <= 0) {
        return InvalidInput("timeout_ms: a whole number of milliseconds above 0 is expected");
      }
      // A day is longer than any server waits.
      call.timeout =
          std::min<std::chrono::milliseconds>(std::chrono::milliseconds(value.get_int64()), std::chrono::hours(24));
    } else if (name == "freshness") {
      const std::string_view freshness = value.is_string() ? std::string_view(value.get_string()) : "";
      if (freshness != "hot" && freshness != "committed") {
        return InvalidInput("freshness: hot or committed is expected");
      }
      call.request.freshness = freshness == "hot" ? query::Freshness::kHot : query::Freshness::kCommitted;
    } else {
      return InvalidInput("unknown member '{}'{}", name, DidYouMean(name, kMembers));
    }
  }
  if (!has_sql) return InvalidInput("the member 'sql' is missing");
  return call;
}

Deadline::Deadline(const std::stop_token& outer, std::optional<std::chrono::milliseconds> timeout)
    : forward_(outer, [this] { stop_.request_stop(); }) {
  if (!timeout) return;
  timer_ = std::jthread([this, until = std::chrono::steady_clock::now() + *timeout](const std::stop_token& ended) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, ended, until, [] { return false; });
    if (ended.stop_requested() || stop_.stop_requested()) return;
    passed_ = true;
    stop_.request_stop();
  });
}

}  // namespace millrace::serve
