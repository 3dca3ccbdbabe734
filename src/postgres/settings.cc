#include "postgres/settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/ascii_case.h"

namespace millrace::postgres {
namespace {

constexpr std::size_t kValueBytesMax = 256;
constexpr const char* kServerVersion = "15.0 (Millrace)";

struct Setting {
  std::string_view name;  // In lower case.
  std::string_view value;
  std::string_view reported{};  // As ParameterStatus names it; empty: clients are not told.
  bool is_fixed = false;        // Another value would change what is answered.
};

// What clients set when they connect, or ask for. Others are not there.
constexpr Setting kSettings[] = {
    {"application_name", "", "application_name"},
    {"block_size", "8192", "", true},
    {"bytea_output", "hex", "", true},
    {"client_encoding", "UTF8", "client_encoding", true},
    {"client_min_messages", "notice"},
    {"datestyle", "ISO, MDY", "DateStyle", true},
    {"default_tablespace", ""},
    {"default_transaction_deferrable", "off"},
    {"default_transaction_isolation", "read committed"},
    {"default_transaction_read_only", "on", "default_transaction_read_only", true},
    {"escape_string_warning", "on"},
    {"extra_float_digits", "1"},
    {"idle_in_transaction_session_timeout", "0"},
    {"in_hot_standby", "off", "in_hot_standby", true},
    {"integer_datetimes", "on", "integer_datetimes", true},
    {"intervalstyle", "postgres", "IntervalStyle", true},
    {"is_superuser", "off", "is_superuser", true},
    {"jit", "off"},
    {"lc_collate", "C", "", true},
    {"lc_ctype", "C", "", true},
    {"lc_messages", "C"},
    {"lc_monetary", "C"},
    {"lc_numeric", "C"},
    {"lc_time", "C"},
    {"lock_timeout", "0"},
    {"max_identifier_length", "63", "", true},
    {"max_index_keys", "32", "", true},
    {"millrace.as_of", "", "", true},  // Of the last answer.
    {"millrace.freshness", "hot"},
    {"millrace.partial", "[]", "", true},  // Likewise.
    {"row_security", "on"},
    {"search_path", "public"},
    {"server_encoding", "UTF8", "server_encoding", true},
    {"server_version", kServerVersion, "server_version", true},
    {"server_version_num", "150000", "", true},
    {"session_authorization", "", "session_authorization", true},
    {"standard_conforming_strings", "on", "standard_conforming_strings", true},
    {"statement_timeout", "0"},
    {"synchronous_commit", "on"},
    {"timezone", "UTC", "TimeZone", true},
    {"transaction_isolation", "read committed"},
    {"transaction_read_only", "on", "", true},
    {"work_mem", "4MB"},
};

const Setting* FindSetting(std::string_view name) {
  const auto found =
      std::find_if(std::begin(kSettings), std::end(kSettings), [&](const Setting& one) { return one.name == name; });
  return found == std::end(kSettings) ? nullptr : found;
}

// Of client_min_messages, ascending. The last two are of old clients and mean error.
constexpr std::string_view kMessageLevels[] = {"debug5", "debug4", "debug3",  "debug2", "debug1", "debug", "log",
                                               "info",   "notice", "warning", "error",  "fatal",  "panic"};
constexpr const auto* kAboveWarnings = std::end(kMessageLevels) - 3;
static_assert(*kAboveWarnings == "error");

bool IsMessageLevel(std::string_view level) {
  return std::find(std::begin(kMessageLevels), std::end(kMessageLevels), level) != std::end(kMessageLevels);
}

// Letters and digits in lower case: "UTF-8" and "utf8" are the same, "ISO" begins "ISO, MDY".
std::string Folded(std::string_view text) {
  std::string folded;
  for (const char c : AsciiLower(text)) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) folded += c;
  }
  return folded;
}

bool MeansTheSame(const Setting& setting, std::string_view value) {
  const std::string wanted = Folded(value);
  const std::string is = Folded(setting.value);
  if (setting.name == "datestyle") return wanted == "iso" || wanted == "isomdy";
  if (setting.name == "client_encoding") return wanted == "utf8" || wanted == "unicode";
  if (setting.name == "timezone") return wanted == "utc" || wanted == "etcutc" || wanted == "gmt" || wanted == "0";
  if (is == "on") return wanted == "on" || wanted == "true" || wanted == "1";
  return wanted == is;
}

// Of "5s", "250", "1min": milliseconds.
std::optional<std::int64_t> ReadTimeout(std::string_view text) {
  std::int64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0 || number > 1'000'000'000) return std::nullopt;
  const std::string unit = Folded({rest, static_cast<std::size_t>(text.data() + text.size() - rest)});
  if (unit.empty() || unit == "ms") return number;
  if (unit == "s") return number * 1000;
  if (unit == "min") return number * 60'000;
  if (unit == "h") return number * 3'600'000;
  return std::nullopt;
}

}  // namespace

Settings::Settings() { Reset(); }

void Settings::Reset() {
  for (const auto& setting : kSettings) {
    // These are not anybody's to set, so they stay.
    if (setting.name == "millrace.as_of" || setting.name == "millrace.partial" ||
        setting.name == "session_authorization") {
      values_.try_emplace(std::string(setting.name), setting.value);
    } else {
      values_.insert_or_assign(std::string(setting.name), std::string(setting.value));
    }
  }
}

bool Settings::Knows(std::string_view name) { return FindSetting(AsciiLower(name)) != nullptr; }

const std::string* Settings::Get(std::string_view name) const {
  const auto found = values_.find(AsciiLower(name));
  return found == values_.end() ? nullptr : &found->second;
}

std::vector<std::pair<std::string_view, std::string_view>> Settings::Reported() {
  std::vector<std::pair<std::string_view, std::string_view>> reported;
  for (const auto& setting : kSettings) {
    if (!setting.reported.empty()) reported.emplace_back(setting.reported, setting.name);
  }
  return reported;
}

void Settings::SetFixed(std::string_view name, std::string value) {
  values_.insert_or_assign(std::string(name), std::move(value));
}

std::optional<SqlError> Settings::Set(std::string_view name, std::string_view value) {
  const std::string lower = AsciiLower(name);
  const Setting* const setting = FindSetting(lower);
  if (setting == nullptr) {
    return SqlError{.code = sql_state::kUndefinedObject,
                    .message = fmt::format("unrecognized configuration parameter \"{}\"", name),
                    .hint = "SHOW ALL shows those that there are."};
  }
  if (AsciiLower(value) == "default") value = setting->value;
  const auto refuse = [&](std::string hint) {
    return SqlError{.code = sql_state::kInvalidParameterValue,
                    .message = fmt::format("invalid value for parameter \"{}\": \"{}\"", name, value),
                    .hint = std::move(hint)};
  };
  if (setting->is_fixed) {
    if (MeansTheSame(*setting, value)) return std::nullopt;
    return refuse(fmt::format("It is always \"{}\" here.", values_.find(lower)->second));
  }
  if (value.size() > kValueBytesMax) return refuse(fmt::format("At most {} bytes are kept.", kValueBytesMax));
  if (lower == "statement_timeout" && !ReadTimeout(value)) return refuse("Milliseconds, or 5s, 1min; 0: none.");
  if (lower == "millrace.freshness" && value != "hot" && value != "committed") return refuse("hot or committed.");
  if (lower == "client_min_messages" && !IsMessageLevel(AsciiLower(value))) {
    return refuse(fmt::format("One of {}.", fmt::join(kMessageLevels, ", ")));
  }
  values_.insert_or_assign(lower, std::string(value));
  return std::nullopt;
}

std::optional<std::chrono::milliseconds> Settings::timeout() const {
  const auto timeout = ReadTimeout(*Get("statement_timeout"));
  if (!timeout || *timeout == 0) return std::nullopt;
  return std::chrono::milliseconds(*timeout);
}

query::Freshness Settings::freshness() const {
  return *Get("millrace.freshness") == "committed" ? query::Freshness::kCommitted : query::Freshness::kHot;
}

bool Settings::hears_warnings() const {
  const std::string level = AsciiLower(*Get("client_min_messages"));
  return std::find(std::begin(kMessageLevels), kAboveWarnings, level) != kAboveWarnings;
}

std::vector<std::pair<std::string, std::string>> ReadOptions(std::string_view options) {
  std::vector<std::string> words(1);
  for (std::size_t i = 0; i < options.size(); ++i) {
    if (options[i] == '\\' && i + 1 < options.size()) {
      words.back() += options[++i];
    } else if (options[i] == ' ') {
      if (!words.back().empty()) words.emplace_back();
    } else {
      words.back() += options[i];
    }
  }
  std::vector<std::pair<std::string, std::string>> settings;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    if (word == "-c" && i + 1 < words.size()) {
      word = words[++i];
    } else if (word.starts_with("-c") || word.starts_with("--")) {
      word = word.substr(2);
    } else {
      continue;
    }
    const auto equals = word.find('=');
    if (equals != std::string::npos) settings.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return settings;
}

}  // namespace millrace::postgres
