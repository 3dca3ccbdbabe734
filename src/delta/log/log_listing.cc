#include "delta/log/log_listing.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

namespace millrace::delta {
namespace {

constexpr std::size_t kVersionDigits = 20;

// Digits only, as many as `text` has.
std::optional<std::int64_t> ParseDigits(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text.front() == '-' || error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

// Parts of multi-part checkpoints: (version, number of parts) -> part -> key.
using Parts = std::map<std::pair<TableVersion, std::int64_t>, std::map<std::int64_t, std::string>>;

void AddWhole(LogListing& listing, const Parts& parts) {
  for (const auto& [id, keys] : parts) {
    const auto& [version, total] = id;
    if (total < 1 || std::ssize(keys) != total || keys.begin()->first != 1 || keys.rbegin()->first != total) {
      continue;  // Incomplete: its writer died.
    }
    LogListing::Checkpoint checkpoint{version, {}};
    for (const auto& [part, key] : keys) checkpoint.keys.push_back(key);
    listing.checkpoints.insert(listing.checkpoints.begin(), std::move(checkpoint));
  }
}

}  // namespace

std::string CommitKey(TableVersion version) { return fmt::format("{}{:020d}.json", kLogPrefix, version); }

std::string CheckpointKey(TableVersion version) {
  return fmt::format("{}{:020d}.checkpoint.parquet", kLogPrefix, version);
}

std::optional<TableVersion> LogListing::Latest() const {
  std::optional<TableVersion> latest;
  if (!commits.empty()) latest = commits.back().version;
  if (!checkpoints.empty()) latest = std::max(latest.value_or(-1), checkpoints.back().version);
  return latest;
}

bool LogListing::HasCommit(TableVersion version) const {
  const auto it = std::lower_bound(commits.begin(), commits.end(), version,
                                   [](const Commit& commit, TableVersion wanted) { return commit.version < wanted; });
  return it != commits.end() && it->version == version;
}

Result<LogListing> ListLog(objectstore::ObjectStore& store, const std::string& start_after) {
  ASSIGN_OR_RETURN(const auto objects, store.List(kLogPrefix, start_after));
  LogListing listing;
  Parts parts;
  for (const auto& object : objects) {
    const std::string_view name = std::string_view(object.key).substr(std::string_view(kLogPrefix).size());
    if (name.find('/') != std::string_view::npos || name.size() <= kVersionDigits) continue;
    const auto version = ParseDigits(name.substr(0, kVersionDigits));
    if (!version) continue;
    std::string_view rest = name.substr(kVersionDigits);
    if (rest == ".json") {
      listing.commits.push_back({*version, object.modified});
    } else if (rest == ".checkpoint.parquet") {
      listing.checkpoints.push_back({*version, {object.key}});
    } else if (rest.starts_with(".checkpoint.")) {
      rest.remove_prefix(std::string_view(".checkpoint.").size());
      // 10 digits, '.', 10 digits, ".parquet": part and number of parts. Anything else is the unique name of a v2 one.
      const auto part =
          rest.size() == 29 && rest.ends_with(".parquet") ? ParseDigits(rest.substr(0, 10)) : std::nullopt;
      const auto total = part ? ParseDigits(rest.substr(11, 10)) : std::nullopt;
      if (part && total) {
        parts[{*version, *total}][*part] = object.key;
      } else if (rest.ends_with(".json") || rest.ends_with(".parquet")) {
        listing.checkpoints.push_back({*version, {object.key}});
      }
    } else if (rest.ends_with(".compacted.json") && rest.size() == 36 && rest.front() == '.') {
      const auto last = ParseDigits(rest.substr(1, kVersionDigits));
      if (last && *last >= *version) listing.compactions.push_back({*version, *last, object.key});
    }
  }
  AddWhole(listing, parts);
  std::stable_sort(listing.checkpoints.begin(), listing.checkpoints.end(),
                   [](const auto& a, const auto& b) { return a.version < b.version; });
  return listing;
}

}  // namespace millrace::delta
