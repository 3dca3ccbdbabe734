#include "http/problem.h"

#include <boost/beast/http/status.hpp>
#include <boost/json.hpp>

namespace millrace::http {

std::string ToJson(const Problem& problem) {
  boost::json::object body;
  body["type"] = "urn:millrace:problem:" + problem.code;
  body["title"] =
      std::string(boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(problem.status)));
  body["status"] = problem.status;
  body["detail"] = problem.detail;
  body["code"] = problem.code;
  if (!problem.hint.empty()) body["hint"] = problem.hint;
  return boost::json::serialize(body);
}

Response ToResponse(const Problem& problem) {
  Response response;
  response.status = problem.status;
  response.content_type = "application/problem+json";
  response.body = ToJson(problem) + "\n";
  if (problem.status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

}  // namespace millrace::http
