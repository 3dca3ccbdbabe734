/// What SET, SHOW and a client's startup message speak of: the settings of PostgreSQL that drivers know, most of which
/// change nothing here, and a few of our own.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "postgres/sql_state.h"
#include "query/aggregate_query.h"

namespace millrace::postgres {

/// Of one connection. One thread.
class Settings {
 public:
  Settings();

  /// `name` in any case. A failure if there is no such setting, or the value is none that it can have: what answers
  /// look like (DateStyle, TimeZone, client_encoding, …) is fixed. "default" is what it was at first.
  std::optional<SqlError> Set(std::string_view name, std::string_view value);
  void Reset();

  static bool Knows(std::string_view name);
  /// nullptr: there is none. Of a name in any case.
  const std::string* Get(std::string_view name) const;
  /// All of them, by name.
  const std::map<std::string, std::string, std::less<>>& values() const { return values_; }
  /// Those that clients are told of on their own, as ParameterStatus names them.
  static std::vector<std::pair<std::string_view, std::string_view>> Reported();

  /// What nobody may set: session_authorization, millrace.as_of, millrace.partial.
  void SetFixed(std::string_view name, std::string value);

  /// statement_timeout; nullopt: none.
  std::optional<std::chrono::milliseconds> timeout() const;
  query::Freshness freshness() const;
  /// Whether client_min_messages lets warnings through.
  bool hears_warnings() const;

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

/// What -c and -- set in the startup message's "options": "-c statement_timeout=5s"; a backslash stands before a blank
/// that is one.
std::vector<std::pair<std::string, std::string>> ReadOptions(std::string_view options);

}  // namespace millrace::postgres
