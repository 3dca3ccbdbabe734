#include "base/backoff.h"

#include <algorithm>
#include <cstdint>
#include <random>

namespace millrace {
namespace {

std::chrono::milliseconds Between(std::chrono::milliseconds low, std::chrono::milliseconds high) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  return std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(low.count(), high.count())(random));
}

}  // namespace

std::chrono::milliseconds BackoffCeiling(int attempt, BackoffRange range) {
  auto ceiling = range.min;
  for (; attempt > 0 && ceiling.count() > 0 && ceiling < range.max; --attempt) ceiling *= 2;
  return std::min(ceiling, range.max);
}

std::chrono::milliseconds FullJitter(int attempt, BackoffRange range) {
  return Between(std::chrono::milliseconds(0), BackoffCeiling(attempt, range));
}

std::chrono::milliseconds EqualJitter(int attempt, BackoffRange range) {
  const auto ceiling = BackoffCeiling(attempt, range);
  return Between(ceiling / 2, ceiling);
}

}  // namespace millrace
