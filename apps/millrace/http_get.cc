#include "http_get.h"

#include <curl/curl.h>

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <cstdlib>
#include <memory>

namespace millrace::app {
namespace {

struct CurlDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

struct Body {
  std::string text;
  std::size_t bytes_max = 0;
};

std::size_t Append(char* data, std::size_t, std::size_t size, void* out) {
  auto& body = *static_cast<Body*>(out);
  if (body.text.size() + size > body.bytes_max) return 0;  // libcurl takes it for a write error, and stops.
  body.text.append(data, size);
  return size;
}

// `posted`: nullptr is a GET.
Result<std::string> Send(const std::string& url, const std::string& token, const std::string* posted,
                         std::int64_t bytes_max, const WantedHeaders& wanted) {
  const std::unique_ptr<CURL, CurlDeleter> curl(curl_easy_init());
  Body body{.text = {}, .bytes_max = static_cast<std::size_t>(bytes_max)};
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, token.empty() ? 1L : 0L);  // A token is for one host.
  curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT_MS, 3000L);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, 120'000L);
  curl_easy_setopt(curl.get(), CURLOPT_ACCEPT_ENCODING, "");
  // As curl's own command line has it: authorities in place of the system's.
  if (const char* const authorities = std::getenv("CURL_CA_BUNDLE"); authorities != nullptr && *authorities != '\0') {
    curl_easy_setopt(curl.get(), CURLOPT_CAINFO, authorities);
  }
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &body);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, &Append);
  std::unique_ptr<curl_slist, CurlDeleter> headers;
  const auto add_header = [&headers](const std::string& text) {
    headers.reset(curl_slist_append(headers.release(), text.c_str()));
  };
  if (!token.empty()) add_header("Authorization: Bearer " + token);
  if (posted != nullptr) {
    add_header("Content-Type: application/json");
    add_header("Expect:");
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(posted->size()));
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, posted->c_str());
  }
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) return Transient("{}: {}", url, curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status == 200) {
    for (const auto& [name, value] : wanted) {
      curl_header* found = nullptr;
      if (curl_easy_header(curl.get(), name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK) *value = found->value;
    }
    return std::move(body.text);
  }
  std::string detail;
  boost::system::error_code ec;
  const auto problem = boost::json::parse(body.text, ec);
  if (!ec && problem.is_object() && problem.as_object().contains("detail") && problem.at("detail").is_string()) {
    detail = ": " + boost::json::value_to<std::string>(problem.at("detail"));
  }
  if (status >= 500) return Transient("{} answered {}{}", url, status, detail);
  return InvalidInput("{} answered {}{}", url, status, detail);
}

}  // namespace

Result<std::string> HttpGet(const std::string& url, const std::string& token, std::int64_t bytes_max,
                            const WantedHeaders& headers) {
  return Send(url, token, nullptr, bytes_max, headers);
}

Result<std::string> HttpPost(const std::string& url, const std::string& token, const std::string& body,
                             std::int64_t bytes_max) {
  return Send(url, token, &body, bytes_max, {});
}

}  // namespace millrace::app
