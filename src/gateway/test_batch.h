/// What a reader made of a body, in a form to compare.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "gateway/batch.h"

namespace millrace::gateway {

inline std::vector<std::string> Payloads(const Batch& batch) {
  std::vector<std::string> payloads;
  for (const auto& event : batch.events) payloads.push_back(event.payload);
  return payloads;
}

/// Of what was rejected: its index and why.
inline std::vector<std::pair<std::size_t, std::string>> Codes(const Batch& batch) {
  std::vector<std::pair<std::size_t, std::string>> codes;
  for (const auto& one : batch.rejected) codes.emplace_back(one.index, one.code);
  return codes;
}

}  // namespace millrace::gateway
