#include "text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>

#include "trial/value_text.h"

namespace millrace::app {
namespace {

// Or what stands in a column of numbers for a value that is none.
bool IsNumber(const std::string& text) {
  for (const char* const other : {"", "NULL", "inf", "-inf", "nan"}) {
    if (text == other) return true;
  }
  return text.find_first_not_of("0123456789.,-+eE") == std::string::npos;
}

/// Columns on a terminal: code points, which is right for the names and numbers that we print.
std::size_t Width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// To so many code points, the last an ellipsis; on one line.
void Shorten(std::string& text, std::size_t letters_max) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  if (Width(text) <= letters_max) return;
  std::size_t letters = 0;
  std::size_t end = 0;
  for (; end < text.size(); ++end) {
    if ((static_cast<unsigned char>(text[end]) & 0xC0) != 0x80 && letters++ == letters_max - 1) break;
  }
  text.resize(end);
  text += "…";
}

}  // namespace

std::string RenderTable(const std::vector<std::vector<std::string>>& rows) {
  if (rows.empty()) return "";
  const std::size_t columns = rows.front().size();
  std::vector<std::size_t> widths(columns, 0);
  std::vector<bool> numeric(columns, true);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      widths[c] = std::max(widths[c], Width(rows[r][c]));
      if (r > 0) numeric[c] = numeric[c] && IsNumber(rows[r][c]);
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < columns; ++c) {
      const std::string padding(widths[c] - Width(row[c]), ' ');
      if (c > 0) line += "  ";
      line += numeric[c] ? padding + row[c] : row[c] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

Result<std::string> RunningTable::Render(const arrow::RecordBatch& rows) {
  constexpr std::size_t kCellLettersMax = 60;
  std::vector<std::vector<std::string>> cells(1, rows.schema()->field_names());
  cells.resize(1 + static_cast<std::size_t>(rows.num_rows()));
  for (const auto& column : rows.columns()) {
    ASSIGN_OR_RETURN(const auto texts, trial::ValueTexts(column));
    for (std::size_t r = 0; r < texts.size(); ++r) {
      cells[r + 1].push_back(texts[r].starts_with('"')
                                 ? boost::json::value_to<std::string>(boost::json::parse(texts[r]))
                             : texts[r] == "null" ? "NULL"
                                                  : texts[r]);
    }
  }
  bool wider = widths_.empty();
  widths_.resize(cells.front().size(), 0);
  for (auto& line : cells) {
    for (std::size_t c = 0; c < line.size(); ++c) {
      Shorten(line[c], kCellLettersMax);
      if (Width(line[c]) > widths_[c]) wider = true;
      widths_[c] = std::max(widths_[c], Width(line[c]));
    }
  }
  std::string text;
  for (std::size_t r = wider ? 0 : 1; r < cells.size(); ++r) {
    std::string line;
    for (std::size_t c = 0; c < cells[r].size(); ++c) {
      line += (c > 0 ? "  " : "") + cells[r][c] + std::string(widths_[c] - Width(cells[r][c]), ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string WithThousands(long long value) {
  std::string digits = std::to_string(value);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

std::string HumanBytes(long long bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace millrace::app
