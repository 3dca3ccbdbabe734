/// Who the other processes of a pipeline are, at this moment.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "query/hot_rows.h"

namespace millrace::peers {

struct PeerList {
  std::vector<std::string> urls{};              ///< "http://10.0.0.7:8080"
  std::vector<query::MissingSource> unknown{};  ///< Names that stand for others, which are not known yet.

  bool operator==(const PeerList&) const = default;
};

/// Any thread, without waiting.
using ListPeers = std::function<PeerList()>;

inline constexpr std::size_t kPeersMax = 256;

}  // namespace millrace::peers
