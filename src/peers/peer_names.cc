#include "peers/peer_names.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace millrace::peers {
Result<std::vector<std::string>> LookUpBySystem(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(name.c_str(), nullptr, &hints, &found);
  if (error != 0) return Transient("the name {} cannot be looked up: {}", name, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(found, &::freeaddrinfo);
  std::vector<std::string> addresses;
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    char text[INET6_ADDRSTRLEN] = "";
    const void* const address =
        entry->ai_family == AF_INET
            ? static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(entry->ai_addr)->sin_addr)
            : &reinterpret_cast<sockaddr_in6*>(entry->ai_addr)->sin6_addr;
    if (::inet_ntop(entry->ai_family, address, text, sizeof(text)) != nullptr) addresses.emplace_back(text);
  }
  return addresses;
}

std::string UrlOf(const std::string& address, std::uint16_t port) {
  const bool is_v6 = address.find(':') != std::string::npos;
  return is_v6 ? fmt::format("http://[{}]:{}", address, port) : fmt::format("http://{}:{}", address, port);
}

struct PeerNames::Shared {
  explicit Shared(Options all) : options(std::move(all)) {
    known.unknown = {{options.name, "its name has not been looked up yet"}};
  }

  void LookUp() {
    auto found = options.lookup(options.name);
    const std::scoped_lock lock(mutex);
    // A lookup may end while the process does, when there is no log any more.
    if (stop) return;
    if (!found.ok() || found->empty()) {
      const std::string reason = found.ok() ? "the name stands for no address" : found.status().message();
      if (std::exchange(error, reason) != reason) spdlog::warn("serve.workers: {}", reason);
      if (known.urls.empty()) known.unknown = {{options.name, reason}};
      return;
    }
    std::sort(found->begin(), found->end());
    found->erase(std::unique(found->begin(), found->end()), found->end());
    if (found->size() > kPeersMax) {
      spdlog::warn("serve.workers: {} stands for {} addresses, {} are asked", options.name, found->size(), kPeersMax);
      found->resize(kPeersMax);
    }
    error.clear();
    known = {};
    for (const auto& address : *found) known.urls.push_back(UrlOf(address, options.port));
  }

  const Options options;
  std::mutex mutex;
  std::condition_variable stopped;
  bool stop = false;  // Guarded by mutex, as what follows.
  PeerList known;
  std::string error;
};

PeerNames::PeerNames(Options options) : shared_(std::make_shared<Shared>(std::move(options))) {
  // Detached: the system's lookup can neither be stopped nor waited for. What it touches, it owns too.
  std::thread([shared = shared_] {
    for (;;) {
      shared->LookUp();
      std::unique_lock lock(shared->mutex);
      if (shared->stopped.wait_for(lock, shared->options.interval, [&] { return shared->stop; })) return;
    }
  }).detach();
}

PeerNames::~PeerNames() {
  {
    const std::scoped_lock lock(shared_->mutex);
    shared_->stop = true;
  }
  shared_->stopped.notify_all();
}

PeerList PeerNames::Known() const {
  const std::scoped_lock lock(shared_->mutex);
  return shared_->known;
}

}  // namespace millrace::peers
