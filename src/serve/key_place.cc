#include "serve/key_place.h"

#include <curl/curl.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <system_error>

namespace millrace::serve {
namespace {

constexpr std::size_t kDocumentBytesMax = 1 << 20;
constexpr long kConnectMs = 3'000;
constexpr long kReadMs = 10'000;

bool IsUrl(const std::string& jwks) { return jwks.find("://") != std::string::npos; }

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
struct FreeHandle {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};

std::string PartOf(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return {};
  std::string copy(text);
  curl_free(text);
  return copy;
}

Result<std::string> ReadFile(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kDocumentBytesMax + 1, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(text.size())) && !file.eof()) {
    return Transient("cannot read '{}': {}", path,
                     errno != 0 ? std::generic_category().message(errno) : "it is not a file");
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kDocumentBytesMax) return Transient("'{}' has more than {} bytes", path, kDocumentBytesMax);
  return text;
}

std::size_t Append(char* data, std::size_t, std::size_t size, void* out) {
  auto& text = *static_cast<std::string*>(out);
  if (text.size() + size > kDocumentBytesMax) return 0;  // libcurl takes it for a write error, and stops.
  text.append(data, size);
  return size;
}

int StopIfRequested(void* stop, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const std::stop_token*>(stop)->stop_requested() ? 1 : 0;
}

Result<std::string> ReadUrl(const KeyPlace& place, const std::stop_token& stop) {
  static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  MILLRACE_CHECK(initialized == CURLE_OK);
  const std::unique_ptr<CURL, FreeHandle> curl(curl_easy_init());
  std::string text;
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl.get(), CURLOPT_URL, place.jwks.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl.get(), CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
  if (!place.ca_file.empty()) curl_easy_setopt(curl.get(), CURLOPT_CAINFO, place.ca_file.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT_MS, kConnectMs);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, kReadMs);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, &StopIfRequested);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &stop);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, &Append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &text);
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) return Transient("{}", detail[0] != '\0' ? detail : curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) return Transient("it answered {}", status);
  return text;
}

}  // namespace

std::optional<std::string> FaultOfKeyPlace(const KeyPlace& place, bool look_at_files) {
  if (!IsUrl(place.jwks)) {
    if (!look_at_files) return std::nullopt;
    const auto text = ReadFile(place.jwks);
    if (!text.ok()) return text.status().message();
    const auto keys = ParseJwkSet(*text);
    if (keys.ok()) return std::nullopt;
    return fmt::format("'{}' cannot be used: {}", place.jwks, keys.status().message());
  }
  const std::unique_ptr<CURLU, FreeUrl> url(curl_url());
  const bool parsed = curl_url_set(url.get(), CURLUPART_URL, place.jwks.c_str(), 0) == CURLUE_OK;
  const std::string scheme = parsed ? PartOf(url.get(), CURLUPART_SCHEME) : "";
  if (scheme != "https" && scheme != "http") return "it is neither a file nor an https:// URL";
  if (!PartOf(url.get(), CURLUPART_USER).empty() || !PartOf(url.get(), CURLUPART_PASSWORD).empty()) {
    return "a URL with a user or a password in it is not taken: such secrets end in logs, and keys are public";
  }
  const std::string host = PartOf(url.get(), CURLUPART_HOST);
  const bool loopback = host == "localhost" || host == "[::1]" || host == "127.0.0.1";
  if (scheme == "http" && !loopback) {
    return "http:// is for 127.0.0.1, [::1] and localhost alone: on the way from elsewhere somebody could put keys of "
           "their own in place of these; use https://";
  }
  return std::nullopt;
}

KeyCacheTimes TimesFor(const KeyPlace& place) {
  KeyCacheTimes times;
  if (!IsUrl(place.jwks)) times.refresh = times.pause;
  return times;
}

Result<std::string> ReadKeyDocument(const KeyPlace& place, const std::stop_token& stop) {
  return IsUrl(place.jwks) ? ReadUrl(place, stop) : ReadFile(place.jwks);
}

}  // namespace millrace::serve
