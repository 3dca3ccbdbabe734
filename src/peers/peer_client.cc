#include "peers/peer_client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <utility>

namespace millrace::peers {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t kIdleHandlesMax = 32;
constexpr auto kLookForStop = 20ms;

struct FreeEasy {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct FreeMulti {
  void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Multi = std::unique_ptr<CURLM, FreeMulti>;
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

// One peer's share of a question. What curl writes to, so it does not move.
struct Transfer {
  std::string url;
  std::unique_ptr<CURL, FreeEasy> handle;
  std::string body;
  std::size_t bytes_max = 0;
  bool is_too_large = false;
  char detail[CURL_ERROR_SIZE] = "";
};

std::size_t OnBody(char* data, std::size_t, std::size_t size, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  if (transfer.body.size() + size > transfer.bytes_max) {
    transfer.is_too_large = true;
    return 0;  // libcurl ends the transfer.
  }
  transfer.body.append(data, size);
  return size;
}

HeaderList HeadersOf(const std::string& token) {
  HeaderList list;
  const auto append = [&list](const std::string& line) {
    curl_slist* const longer = curl_slist_append(list.get(), line.c_str());
    MILLRACE_CHECK(longer != nullptr, "out of memory");
    static_cast<void>(list.release());
    list.reset(longer);
  };
  append("Expect:");  // Else libcurl waits a second for "100 Continue" before it sends a larger body.
  append("Content-Type: application/json");
  if (!token.empty()) append("Authorization: Bearer " + token);
  return list;
}

// "the detail", of a problem document.
std::string DetailOf(const std::string& body) {
  boost::system::error_code error;
  const auto problem = boost::json::parse(body, error);
  if (error || !problem.is_object()) return {};
  const auto* detail = problem.as_object().if_contains("detail");
  return detail != nullptr && detail->is_string() ? ": " + boost::json::value_to<std::string>(*detail) : std::string();
}

// OK: the body is the answer.
Status OutcomeOf(const Transfer& transfer, CURLcode code) {
  if (transfer.is_too_large) {
    return TooLarge("{}: its hot rows take more than the {} bytes that are left for them", transfer.url,
                    transfer.bytes_max);
  }
  if (code != CURLE_OK) return Transient("{}", transfer.detail[0] != '\0' ? transfer.detail : curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(transfer.handle.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status == 200) return Status::OK();
  if (status == 413) return TooLarge("{}{}", transfer.url, DetailOf(transfer.body));
  return Transient("it answered {}{}", status, DetailOf(transfer.body));
}

}  // namespace

// Multi handles that are not in use; each keeps its connections.
class PeerClient::Handles {
 public:
  Multi Take(long connections_max) {
    {
      const std::scoped_lock lock(mutex_);
      if (!idle_.empty()) {
        Multi handle = std::move(idle_.back());
        idle_.pop_back();
        return handle;
      }
    }
    Multi handle(curl_multi_init());
    MILLRACE_CHECK(handle != nullptr, "out of memory");
    curl_multi_setopt(handle.get(), CURLMOPT_MAXCONNECTS, connections_max);
    return handle;
  }
  void Give(Multi handle) {
    const std::scoped_lock lock(mutex_);
    if (idle_.size() < kIdleHandlesMax) idle_.push_back(std::move(handle));
  }

 private:
  std::mutex mutex_;
  std::vector<Multi> idle_;  // The last is the warmest.
};

PeerClient::PeerClient(Options options, const Clock& clock)
    : options_(std::move(options)), clock_(clock), handles_(std::make_unique<Handles>()) {
  static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  MILLRACE_CHECK(initialized == CURLE_OK);
}

PeerClient::~PeerClient() = default;

std::vector<std::string> PeerClient::Choose(const std::vector<std::string>& urls,
                                            std::vector<query::MissingSource>& missing) {
  const auto now = clock_.SteadyNow();
  std::vector<std::string> chosen;
  const std::scoped_lock lock(mutex_);
  std::erase_if(peers_,
                [&](const auto& known) { return std::find(urls.begin(), urls.end(), known.first) == urls.end(); });
  for (const auto& url : urls) {
    auto& [state, paused_until] = peers_[url];
    state.url = url;
    if (state.is_ourselves) continue;
    if (paused_until && now < *paused_until) {
      missing.push_back({url, state.error});
      continue;
    }
    // Others go on without it while this question finds out.
    if (paused_until) paused_until = now + options_.patience;
    if (std::find(chosen.begin(), chosen.end(), url) == chosen.end()) chosen.push_back(url);
  }
  return chosen;
}

void PeerClient::Note(const std::string& url, const Status& outcome, double seconds) {
  const std::scoped_lock lock(mutex_);
  const auto found = peers_.find(url);
  if (found == peers_.end()) return;
  auto& [state, paused_until] = found->second;
  if (outcome.ok()) {
    state.last_answer = clock_.Now();
    state.error.clear();
    state.failures = 0;
    ++state.num_answers;
    state.answer_durations.Observe(seconds);
    paused_until.reset();
    return;
  }
  state.error = outcome.message();
  ++state.failures;
  ++state.num_failures;
  if (state.failures >= options_.failures_max) {
    paused_until = clock_.SteadyNow() + EqualJitter(state.failures - options_.failures_max, options_.pause);
  }
}

Result<std::vector<query::MissingSource>> PeerClient::Ask(const std::vector<std::string>& urls,
                                                          const Question& question, const Take& take,
                                                          const std::stop_token& stop) {
  std::vector<query::MissingSource> missing;
  const auto chosen = Choose(urls, missing);
  if (chosen.empty()) return missing;
  const HeaderList headers = HeadersOf(options_.token);
  Multi multi = handles_->Take(options_.connections_max);
  std::vector<std::unique_ptr<Transfer>> transfers;
  for (const auto& url : chosen) {
    auto transfer = std::make_unique<Transfer>();
    transfer->url = url;
    transfer->handle.reset(curl_easy_init());
    transfer->bytes_max = static_cast<std::size_t>(std::max<std::int64_t>(0, question.bytes_max));
    CURL* const handle = transfer->handle.get();
    MILLRACE_CHECK(handle != nullptr, "out of memory");
    curl_easy_setopt(handle, CURLOPT_URL, (url + question.path).c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_PROXY, "");  // A peer is a neighbour.
    curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);  // A name server that hangs holds nobody.
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.patience.count()));
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, transfer->detail);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &OnBody);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, transfer.get());
    curl_easy_setopt(handle, CURLOPT_PRIVATE, transfer.get());
    curl_easy_setopt(handle, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    if (!options_.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, options_.ca_file.c_str());
    if (!options_.certificate_file.empty()) {
      curl_easy_setopt(handle, CURLOPT_SSLCERT, options_.certificate_file.c_str());
      curl_easy_setopt(handle, CURLOPT_SSLKEY, options_.key_file.c_str());
    }
    if (!question.body.empty()) {
      curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(question.body.size()));
      curl_easy_setopt(handle, CURLOPT_POSTFIELDS, question.body.c_str());
    }
    curl_multi_add_handle(multi.get(), handle);
    transfers.push_back(std::move(transfer));
  }

  Status ended = Status::OK();
  const auto begun = steady_clock::now();
  int running = static_cast<int>(transfers.size());
  while (running > 0 && ended.ok()) {
    curl_multi_perform(multi.get(), &running);
    int queued = 0;
    while (const CURLMsg* const message = curl_multi_info_read(multi.get(), &queued)) {
      if (message->msg != CURLMSG_DONE) continue;
      char* context = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &context);
      auto& transfer = *reinterpret_cast<Transfer*>(context);
      Status outcome = OutcomeOf(transfer, message->data.result);
      if (outcome.ok()) outcome = take(transfer.url, std::move(transfer.body));
      if (!outcome.ok() && KindOf(outcome) == ErrorKind::kTooLarge) {
        ended = std::exchange(outcome, Status::OK());  // It is there, and has answered in its way.
      } else if (!outcome.ok()) {
        missing.push_back({transfer.url, outcome.message()});
      }
      Note(transfer.url, outcome, std::chrono::duration<double>(steady_clock::now() - begun).count());
    }
    if (stop.stop_requested()) ended = Cancelled("nobody waits for the answer");
    if (running > 0 && ended.ok()) {
      curl_multi_poll(multi.get(), nullptr, 0, static_cast<int>(kLookForStop.count()), nullptr);
    }
  }
  for (const auto& transfer : transfers) curl_multi_remove_handle(multi.get(), transfer->handle.get());
  handles_->Give(std::move(multi));
  RETURN_NOT_OK(ended);
  std::sort(missing.begin(), missing.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return missing;
}

void PeerClient::SetOurselves(const std::string& url) {
  const std::scoped_lock lock(mutex_);
  auto& state = peers_[url].state;
  state.url = url;
  state.is_ourselves = true;
}

std::vector<PeerState> PeerClient::States() const {
  const auto now = clock_.SteadyNow();
  const std::scoped_lock lock(mutex_);
  std::vector<PeerState> states;
  for (const auto& [url, peer] : peers_) {
    states.push_back(peer.state);
    states.back().is_paused = peer.paused_until && now < *peer.paused_until;
  }
  return states;
}

}  // namespace millrace::peers
