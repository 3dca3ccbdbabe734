/// Pieces that the worker's files, start_sequence.cc and maintainer.cc share. Of the folder only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>

#include "base/status.h"
#include "config/config.h"
#include "delta/table.h"

namespace millrace::pipeline {

/// What one question to the log may take.
inline constexpr auto kLogTimeout = std::chrono::seconds(5);

boost::asio::awaitable<void> Sleep(std::chrono::steady_clock::duration duration);

/// Trying again may help.
inline bool MayPass(const Status& failure) {
  return KindOf(failure) == ErrorKind::kTransient || KindOf(failure) == ErrorKind::kUnknownOutcome;
}

/// 100 ms, 200 ms … 5 s, each somewhere in its upper half.
std::chrono::steady_clock::duration Backoff(int attempt);

/// How long files may wait for their commit: half of the shortest retention that a vacuum of this table goes by. After
/// that they are written again, because a commit must not name files that another worker may be deleting.
std::chrono::milliseconds FilesKeepFor(const delta::Snapshot& snapshot, const config::MaintenanceConfig& config);

}  // namespace millrace::pipeline
