/// What tests have shown: for people, and for programs.
#pragma once

#include <span>
#include <string>

#include "trial/trial.h"

namespace millrace::trial {

/// Of one test, in the text for people; there may be as many as rows.
inline constexpr std::size_t kShownDifferencesMax = 20;

/// A line a test; below one that failed, each difference as in a diff: `-` was expected, `+` was found. Ends with the
/// sum. `colors`: for a terminal.
std::string ReportText(std::span<const Trial> trials, bool colors);

/// {"files": [{"file", "tests": [{"name", "line", "passed", "differences": [{"kind": differs | missing | unexpected |
/// other, "where", "line", "columns": [{"name", "expected", "found"}], "detail"}]}]}], "passed", "failed"}, whole.
std::string ReportJson(std::span<const Trial> trials);

}  // namespace millrace::trial
