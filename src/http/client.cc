#include "http/client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <mutex>

#include "base/ascii_case.h"

namespace millrace::http {
namespace {

constexpr std::size_t kIdleHandlesMax = 32;
/// A reply larger than this is not reserved for at once, whatever its Content-Length says.
constexpr std::size_t kReserveMax = std::size_t{64} << 20;

// State of one call, for the callbacks of C.
struct Transfer {
  ClientReply* reply;
  std::string_view unsent;
  const std::atomic<bool>* interrupted;
  bool reserve;  // The reply's Content-Length announces a body (after HEAD it does not).
  std::size_t bytes_max;
  bool is_too_large = false;
};

std::size_t OnBody(char* data, std::size_t, std::size_t size, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  if (size > transfer.bytes_max - transfer.reply->body.size()) {
    transfer.is_too_large = true;
    return 0;  // libcurl ends the transfer.
  }
  transfer.reply->body.append(data, size);
  return size;
}

std::size_t OnHeader(char* data, std::size_t, std::size_t size, void* context) {
  ClientReply& reply = *static_cast<Transfer*>(context)->reply;
  const std::string_view line(data, size);
  if (line.starts_with("HTTP/")) {
    // A new reply begins: what came before was interim (100 Continue).
    reply.headers.clear();
    reply.body.clear();
    return size;
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return size;
  std::string name = AsciiLower(line.substr(0, colon));
  std::string_view value = line.substr(colon + 1);
  value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
  const auto last = value.find_last_not_of(" \t\r\n");
  value = value.substr(0, last == std::string_view::npos ? 0 : last + 1);
  if (name == "content-length" && static_cast<Transfer*>(context)->reserve) {
    std::size_t length = 0;
    std::from_chars(value.data(), value.data() + value.size(), length);
    reply.body.reserve(std::min({length, kReserveMax, static_cast<Transfer*>(context)->bytes_max}));
  }
  reply.headers[std::move(name)] = std::string(value);
  return size;
}

std::size_t OnUpload(char* out, std::size_t, std::size_t size, void* context) {
  std::string_view& unsent = static_cast<Transfer*>(context)->unsent;
  const std::size_t n = std::min(size, unsent.size());
  std::memcpy(out, unsent.data(), n);
  unsent.remove_prefix(n);
  return n;
}

int OnProgress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(context)->interrupted->load() ? 1 : 0;
}

ClientFailure FailureOf(CURLcode code, CURL* handle) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return ClientFailure::kNotSent;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return ClientFailure::kUntrusted;
    case CURLE_ABORTED_BY_CALLBACK:
      return ClientFailure::kCancelled;
    case CURLE_OPERATION_TIMEDOUT: {
      // Time spent before the request could go out: the connection was never made.
      curl_off_t sent_at = 0;
      curl_easy_getinfo(handle, CURLINFO_PRETRANSFER_TIME_T, &sent_at);
      return sent_at == 0 ? ClientFailure::kNotSent : ClientFailure::kLost;
    }
    default:
      return ClientFailure::kLost;
  }
}

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

HeaderList MakeHeaderList(const ClientRequest& request) {
  HeaderList list;
  const auto append = [&list](const std::string& line) {
    curl_slist* const longer = curl_slist_append(list.get(), line.c_str());
    MILLRACE_CHECK(longer != nullptr, "out of memory");
    static_cast<void>(list.release());
    list.reset(longer);
  };
  for (const auto& [name, value] : request.headers) append(name + ": " + value);
  // Without this libcurl would wait a second for "100 Continue" before it sends a body.
  append("Expect:");
  return list;
}

}  // namespace

const std::string& ClientReply::Header(const std::string& name) const {
  static const std::string kNone;
  const auto found = headers.find(name);
  return found == headers.end() ? kNone : found->second;
}

// Handles not in use; each keeps its connections open. The one used last is taken first: its connection is the warmest.
class Client::Pool {
 public:
  ~Pool() {
    for (CURL* handle : idle_) curl_easy_cleanup(handle);
  }
  CURL* Take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        CURL* const handle = idle_.back();
        idle_.pop_back();
        return handle;
      }
    }
    CURL* const handle = curl_easy_init();
    MILLRACE_CHECK(handle != nullptr, "out of memory");
    return handle;
  }
  void Give(CURL* handle) {
    curl_easy_reset(handle);
    {
      const std::lock_guard lock(mutex_);
      if (idle_.size() < kIdleHandlesMax) {
        idle_.push_back(handle);
        return;
      }
    }
    curl_easy_cleanup(handle);
  }

 private:
  std::mutex mutex_;
  std::vector<CURL*> idle_;
};

Client::Client(ClientOptions options) : options_(std::move(options)), pool_(std::make_unique<Pool>()) {
  static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  MILLRACE_CHECK(initialized == CURLE_OK);
}

Client::~Client() = default;

void Client::Interrupt() { interrupted_ = true; }

bool Client::Send(const ClientRequest& request, ClientReply& reply, ClientError& error) {
  reply = {};
  if (interrupted_) {
    error = {ClientFailure::kCancelled, "cancelled"};
    return false;
  }
  CURL* const handle = pool_->Take();
  Transfer transfer{&reply, request.body, &interrupted_, request.method != "HEAD", options_.reply_bytes_max};
  const HeaderList headers = MakeHeaderList(request);
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(handle, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.timeouts.connect.count()));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeouts.whole.count()));
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.timeouts.stall.count()));
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 128L);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(handle, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &OnBody);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &OnHeader);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, &OnProgress);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
  if (!options_.proxy.empty()) curl_easy_setopt(handle, CURLOPT_PROXY, options_.proxy.c_str());
  if (!options_.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, options_.ca_file.c_str());
  if (!options_.certificate_file.empty()) {
    curl_easy_setopt(handle, CURLOPT_SSLCERT, options_.certificate_file.c_str());
    curl_easy_setopt(handle, CURLOPT_SSLKEY, options_.key_file.c_str());
  }
  if (request.method == "HEAD") {
    curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
  } else if (request.method == "PUT" || request.method == "POST") {
    // No seek function: libcurl then cannot send a body again by itself when a kept connection breaks under it. Whether
    // a request may be repeated is not its decision.
    curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    curl_easy_setopt(handle, CURLOPT_READFUNCTION, &OnUpload);
    curl_easy_setopt(handle, CURLOPT_READDATA, &transfer);
    curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  } else if (request.method != "GET") {
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }

  const CURLcode code = curl_easy_perform(handle);
  if (code == CURLE_OK) {
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    reply.status = static_cast<int>(status);
  } else if (transfer.is_too_large) {
    error = {ClientFailure::kTooLarge, fmt::format("the reply has more than {} bytes", options_.reply_bytes_max)};
  } else {
    error = {FailureOf(code, handle), detail[0] != '\0' ? detail : curl_easy_strerror(code)};
  }
  pool_->Give(handle);
  return code == CURLE_OK;
}

}  // namespace millrace::http
