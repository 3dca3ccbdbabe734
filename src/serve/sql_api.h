/// POST /v1/sql: a statement and its parameters, as JSON.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "base/status.h"
#include "query/sql_engine.h"

namespace millrace::serve {

struct SqlCall {
  query::SqlRequest request;
  std::optional<std::chrono::milliseconds> timeout{};  ///< Beside the server's own.
};

/// `body`: {"sql": "SELECT …", "params": [1, "de", null] or {"country": "de"}, "timeout_ms": 5000, "freshness": "hot"};
/// all but "sql" may be left out. Numbers are BIGINT or DOUBLE, texts are cast to what they stand beside.
/// kInvalidInput names the member. Any thread.
Result<SqlCall> ParseSqlCall(const std::string& body);

/// A stop that is requested when another is, or when the time is over.
class Deadline {
 public:
  Deadline(const std::stop_token& outer, std::optional<std::chrono::milliseconds> timeout);

  std::stop_token token() const { return stop_.get_token(); }
  /// The time was over before the other stop was requested.
  bool passed() const { return passed_; }

 private:
  std::stop_source stop_;
  std::atomic<bool> passed_ = false;
  std::stop_callback<std::function<void()>> forward_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::jthread timer_;  // The first to go.
};

}  // namespace millrace::serve
