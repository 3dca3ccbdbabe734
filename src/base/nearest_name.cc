#include "base/nearest_name.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/ascii_case.h"

namespace millrace {
namespace {

// Optimal string alignment distance (Damerau-Levenshtein without editing a substring twice).
std::size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> two_back(b.size() + 1), back(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::swap(two_back, back);
    std::swap(back, row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = AsciiLower(a[i - 1]) == AsciiLower(b[j - 1]) ? 0 : 1;
      row[j] = std::min({back[j] + 1, row[j - 1] + 1, back[j - 1] + change});
      if (i > 1 && j > 1 && AsciiLower(a[i - 1]) == AsciiLower(b[j - 2]) &&
          AsciiLower(a[i - 2]) == AsciiLower(b[j - 1])) {
        row[j] = std::min(row[j], two_back[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

}  // namespace

std::optional<std::string> NearestName(std::string_view name, const std::vector<std::string>& candidates) {
  constexpr std::size_t kLongestName = 128;  // Longer input is not a misspelt name, and would cost time to compare.
  if (name.size() > kLongestName) return std::nullopt;
  std::optional<std::string> nearest;
  std::size_t fewest = 0;
  for (const auto& candidate : candidates) {
    if (candidate.size() > kLongestName) continue;
    const std::size_t edits = Distance(name, candidate);
    if (edits > std::max<std::size_t>(1, std::max(name.size(), candidate.size()) / 3)) continue;
    if (edits >= candidate.size() || (nearest && edits >= fewest)) continue;
    nearest = candidate;
    fewest = edits;
  }
  return nearest;
}

std::string DidYouMean(std::string_view name, const std::vector<std::string>& candidates) {
  const auto nearest = NearestName(name, candidates);
  return nearest ? "; did you mean '" + *nearest + "'?" : std::string();
}

std::string NamesInstead(std::string_view name, const std::vector<std::string>& candidates) {
  if (candidates.empty()) return "; there are none";
  std::string nearest = DidYouMean(name, candidates);
  return nearest.empty() ? fmt::format("; there are: {}", fmt::join(candidates, ", ")) : nearest;
}

}  // namespace millrace
