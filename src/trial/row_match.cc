#include "trial/row_match.h"

#include <algorithm>
#include <utility>

#include "base/json_text.h"
#include "base/nearest_name.h"
#include "trial/value_text.h"

namespace millrace::trial {
namespace {

constexpr std::size_t kNobody = SIZE_MAX;

struct ExpectedCell {
  std::size_t column;
  std::string text;
};
using ExpectedRow = std::vector<ExpectedCell>;

bool Fits(const std::string& expected, const std::string& found, const TextRows::Column& column) {
  if (!column.by_part || expected.front() != '"' || found.front() != '"') return expected == found;
  // Both are JSON texts, which are escaped alike.
  return found.find(std::string_view(expected).substr(1, expected.size() - 2)) != std::string::npos;
}

std::size_t NumFitting(const ExpectedRow& expected, const std::vector<std::string>& found, const TextRows& rows) {
  return static_cast<std::size_t>(std::count_if(expected.begin(), expected.end(), [&](const auto& cell) {
    return Fits(cell.text, found[cell.column], rows.columns[cell.column]);
  }));
}

ExpectedRow ToExpectedRow(const config::TestValue& row, const TextRows& found, const std::string& where,
                          std::vector<Misfit>& misfits) {
  std::vector<std::string> names;
  for (const auto& column : found.columns) names.push_back(column.name);
  ExpectedRow expected;
  for (const auto& [name, value] : row.entries) {
    const auto at = static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
    if (at == names.size()) {
      misfits.push_back({value.place, fmt::format("{} has no column '{}'{}", where, name, DidYouMean(name, names))});
      continue;
    }
    auto text = ExpectedText(value, *found.columns[at].type);
    if (text.ok()) {
      expected.push_back({at, *std::move(text)});
    } else {
      misfits.push_back({value.place, fmt::format("{}.{}: {}", where, name, text.status().message())});
    }
  }
  return expected;
}

// A largest matching of expected rows to found ones (Kuhn's algorithm): for each expected row, a chain of others that
// step aside.
class Matching {
 public:
  Matching(const std::vector<ExpectedRow>& expected, const TextRows& found)
      : fitting_(expected.size()), found_of_(expected.size(), kNobody), expected_of_(found.rows.size(), kNobody) {
    for (std::size_t e = 0; e < expected.size(); ++e) {
      for (std::size_t f = 0; f < found.rows.size(); ++f) {
        if (NumFitting(expected[e], found.rows[f], found) == expected[e].size()) fitting_[e].push_back(f);
      }
    }
    for (std::size_t e = 0; e < expected.size(); ++e) {
      std::vector<bool> asked(found.rows.size(), false);
      Place(e, asked);
    }
  }

  const std::vector<std::size_t>& found_of() const { return found_of_; }
  const std::vector<std::size_t>& expected_of() const { return expected_of_; }

 private:
  // As deep as there are expected rows: kTestRowsMax.
  bool Place(std::size_t expected, std::vector<bool>& asked) {
    for (const std::size_t found : fitting_[expected]) {
      if (asked[found]) continue;
      asked[found] = true;
      if (expected_of_[found] != kNobody && !Place(expected_of_[found], asked)) continue;
      expected_of_[found] = expected;
      found_of_[expected] = found;
      return true;
    }
    return false;
  }

  std::vector<std::vector<std::size_t>> fitting_;  // By expected row: the found ones that it may stand for.
  std::vector<std::size_t> found_of_;
  std::vector<std::size_t> expected_of_;
};

}  // namespace

std::vector<Difference> MatchRows(const config::ExpectedRows& expected, const TextRows& found, const std::string& where,
                                  std::vector<Misfit>& misfits) {
  const std::size_t misfits_before = misfits.size();
  std::vector<ExpectedRow> rows;
  for (const auto& row : expected.rows) rows.push_back(ToExpectedRow(row, found, where, misfits));
  if (misfits.size() > misfits_before) return {};

  const Matching matching(rows, found);
  std::vector<bool> taken(found.rows.size());
  for (std::size_t f = 0; f < taken.size(); ++f) taken[f] = matching.expected_of()[f] != kNobody;
  std::vector<Difference> differences;
  for (std::size_t e = 0; e < rows.size(); ++e) {
    if (matching.found_of()[e] != kNobody) continue;
    std::size_t nearest = kNobody;
    std::size_t most = 0;
    for (std::size_t f = 0; f < taken.size(); ++f) {
      const std::size_t fitting = taken[f] ? 0 : NumFitting(rows[e], found.rows[f], found);
      if (fitting > most) {
        nearest = f;
        most = fitting;
      }
    }
    Difference difference{.kind = nearest == kNobody ? Difference::Kind::kMissing : Difference::Kind::kDiffers,
                          .where = where,
                          .place = expected.rows[e].place,
                          .cells = {},
                          .detail = {}};
    for (const auto& cell : rows[e]) {
      const auto& column = found.columns[cell.column];
      Difference::Cell shown{.column = column.name, .expected = cell.text, .found = std::nullopt, .fits = false};
      if (nearest != kNobody) {
        shown.found = found.rows[nearest][cell.column];
        shown.fits = Fits(cell.text, *shown.found, column);
      }
      difference.cells.push_back(std::move(shown));
    }
    if (nearest != kNobody) taken[nearest] = true;
    differences.push_back(std::move(difference));
  }
  if (expected.contains) return differences;
  for (std::size_t f = 0; f < taken.size(); ++f) {
    if (taken[f]) continue;
    Difference difference{
        .kind = Difference::Kind::kUnexpected, .where = where, .place = expected.place, .cells = {}, .detail = {}};
    for (std::size_t c = 0; c < found.columns.size(); ++c) {
      difference.cells.push_back({found.columns[c].name, std::nullopt, found.rows[f][c], false});
    }
    differences.push_back(std::move(difference));
  }
  return differences;
}

}  // namespace millrace::trial
