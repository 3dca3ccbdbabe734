#include "trial/report.h"

#include <algorithm>
#include <string_view>

#include "base/json_text.h"
#include "model/event_batch.h"

namespace millrace::trial {
namespace {

using Kind = Difference::Kind;

// Of one value, in the text for people.
constexpr std::size_t kShownBytesMax = 400;

std::string Shown(const std::string& text) {
  if (text.size() <= kShownBytesMax) return text;
  std::size_t end = kShownBytesMax;
  while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // Never within a code point.
  return text.substr(0, end) + "…";
}

std::string_view NameOf(Kind kind) {
  switch (kind) {
    case Kind::kDiffers:
      return "differs";
    case Kind::kMissing:
      return "missing";
    case Kind::kUnexpected:
      return "unexpected";
    case Kind::kOther:
      return "other";
  }
  return "other";
}

std::string Headline(const Difference& difference) {
  switch (difference.kind) {
    case Kind::kDiffers:
      return fmt::format("{}: the row of line {} differs", difference.where, difference.place.line);
    case Kind::kMissing:
      return fmt::format("{}: the row of line {} is missing", difference.where, difference.place.line);
    case Kind::kUnexpected:
      return fmt::format("{}: a row that is not expected", difference.where);
    case Kind::kOther:
      return fmt::format("{}: {}", difference.where, difference.detail);
  }
  return difference.where;
}

// Where a row came from says little once its offset does.
bool IsShown(const Difference& difference, const Difference::Cell& cell) {
  return difference.kind != Kind::kUnexpected ||
         (cell.column != model::kTopicColumn && cell.column != model::kTimestampColumn);
}

class TextReport {
 public:
  explicit TextReport(bool colors) : colors_(colors) {}

  void Add(const Trial& trial) {
    out_ += trial.file + "\n";
    for (const auto& verdict : trial.verdicts) {
      const bool passed = verdict.differences.empty();
      ++(passed ? passed_ : failed_);
      if (passed) {
        out_ += "  " + Colored("32", "ok") + "    " + verdict.test + "\n";
        continue;
      }
      out_ += "  " + Colored("31", "FAIL") + "  " + verdict.test + fmt::format(" (line {})\n", verdict.place.line);
      const std::size_t shown = std::min(verdict.differences.size(), kShownDifferencesMax);
      for (std::size_t i = 0; i < shown; ++i) AddDifference(verdict.differences[i]);
      if (shown < verdict.differences.size()) {
        out_ += fmt::format("        … and {} more\n", verdict.differences.size() - shown);
      }
    }
  }

  std::string Finish() && {
    out_ += fmt::format("{} passed, {} failed\n", passed_, failed_);
    return std::move(out_);
  }

 private:
  std::string Colored(std::string_view code, std::string_view text) const {
    return colors_ ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : std::string(text);
  }

  void AddDifference(const Difference& difference) {
    out_ += "        " + Headline(difference) + "\n";
    std::size_t width = 0;
    for (const auto& cell : difference.cells) {
      if (IsShown(difference, cell)) width = std::max(width, cell.column.size());
    }
    const auto line = [&](std::string_view color, char mark, const std::string& column, const std::string& value) {
      const std::string text = fmt::format("{} {:<{}}  {}", mark, column, width, Shown(value));
      out_ += "          " + (color.empty() ? text : Colored(color, text)) + "\n";
    };
    for (const auto& cell : difference.cells) {
      if (!IsShown(difference, cell)) continue;
      if (cell.fits) {
        line("", ' ', cell.column, *cell.found);
        continue;
      }
      if (cell.expected) line("31", '-', cell.column, *cell.expected);
      if (cell.found) line("32", '+', cell.column, *cell.found);
    }
  }

  const bool colors_;
  std::string out_;
  int passed_ = 0;
  int failed_ = 0;
};

void AppendDifference(const Difference& difference, std::string& out) {
  out += fmt::format(R"({{"kind":"{}","where":)", NameOf(difference.kind));
  AppendJsonString(difference.where, out);
  out += fmt::format(R"(,"line":{})", difference.place.line);
  if (!difference.cells.empty()) out += R"(,"columns":[)";
  for (const auto& cell : difference.cells) {
    if (&cell != &difference.cells.front()) out += ',';
    out += R"({"name":)";
    AppendJsonString(cell.column, out);
    if (cell.expected) out += R"(,"expected":)" + *cell.expected;
    if (cell.found) out += R"(,"found":)" + *cell.found;
    out += '}';
  }
  if (!difference.cells.empty()) out += ']';
  if (!difference.detail.empty()) {
    out += R"(,"detail":)";
    AppendJsonString(difference.detail, out);
  }
  out += '}';
}

}  // namespace

std::string ReportText(std::span<const Trial> trials, bool colors) {
  TextReport report(colors);
  for (const auto& trial : trials) report.Add(trial);
  return std::move(report).Finish();
}

std::string ReportJson(std::span<const Trial> trials) {
  std::string out = R"({"files":[)";
  int passed = 0;
  int failed = 0;
  for (const auto& trial : trials) {
    if (&trial != &trials.front()) out += ',';
    out += R"({"file":)";
    AppendJsonString(trial.file, out);
    out += R"(,"tests":[)";
    for (const auto& verdict : trial.verdicts) {
      const bool fits = verdict.differences.empty();
      ++(fits ? passed : failed);
      if (&verdict != &trial.verdicts.front()) out += ',';
      out += R"({"name":)";
      AppendJsonString(verdict.test, out);
      out += fmt::format(R"(,"line":{},"passed":{},"differences":[)", verdict.place.line, fits);
      for (const auto& difference : verdict.differences) {
        if (&difference != &verdict.differences.front()) out += ',';
        AppendDifference(difference, out);
      }
      out += "]}";
    }
    out += "]}";
  }
  return out + fmt::format(R"(],"passed":{},"failed":{}}})", passed, failed) + "\n";
}

}  // namespace millrace::trial
