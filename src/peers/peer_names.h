/// Processes behind one name, as a headless service in a cluster has it: looked up again and again, because they come
/// and go.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "peers/peer_list.h"

namespace millrace::peers {

/// The addresses of a name, "10.0.0.7" or "fd00::7". Blocks, for as long as name servers take.
using Lookup = std::function<Result<std::vector<std::string>>(const std::string& name)>;
Result<std::vector<std::string>> LookUpBySystem(const std::string& name);
/// "http://10.0.0.7:8080", "http://[fd00::7]:8080"
std::string UrlOf(const std::string& address, std::uint16_t port);

/// Any thread.
class PeerNames {
 public:
  struct Options {
    std::string name;
    std::uint16_t port = 8080;
    std::chrono::milliseconds interval{5000};  ///< From one lookup to the next.
    Lookup lookup = LookUpBySystem;
  };
  explicit PeerNames(Options options);
  /// A lookup that hangs is left to end by itself.
  ~PeerNames();

  /// As the last lookup that worked found them, at most kPeersMax. Until there is one, the name itself is missing.
  /// Without waiting.
  PeerList Known() const;

 private:
  struct Shared;
  const std::shared_ptr<Shared> shared_;  // With the thread that looks up.
};

}  // namespace millrace::peers
